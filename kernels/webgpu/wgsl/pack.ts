/**
 * Copies up to seven filters or vectors into the packed weights, a thread an element, with zeros where rows and columns are padded: what
 * is left of WebGPU's eight storage buffers beside the packed ones. Section i is the elements from START_i to END_i.
 */
export const PACKED_SECTIONS = 7;

export const packText = /* wgsl */ `
// Where the element of a section comes from; beyond the last one for a zero that pads.
fn sourceOf(element: u32, rows: u32, rowStride: u32, columns: u32, stride: u32) -> u32 {
  let row = element / stride % rowStride;
  let column = element % stride;
  if (row >= rows || column >= columns) { return PADDING; }
  return (element / stride / rowStride * rows + row) * columns + column;
}

const PADDING = 0xffffffffu;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let element = START_0 + id.y * grid.x * WORKGROUP + id.x;
  if (element < END_0) {
    let at = sourceOf(element - START_0, ROWS_0, ROW_STRIDE_0, COLUMNS_0, STRIDE_0);
    if (at == PADDING) { outScalars[element] = 0.0; } else { outScalars[element] = w0Scalars[at]; }
  } else if (element < END_1) {
    let at = sourceOf(element - START_1, ROWS_1, ROW_STRIDE_1, COLUMNS_1, STRIDE_1);
    if (at == PADDING) { outScalars[element] = 0.0; } else { outScalars[element] = w1Scalars[at]; }
  } else if (element < END_2) {
    let at = sourceOf(element - START_2, ROWS_2, ROW_STRIDE_2, COLUMNS_2, STRIDE_2);
    if (at == PADDING) { outScalars[element] = 0.0; } else { outScalars[element] = w2Scalars[at]; }
  } else if (element < END_3) {
    let at = sourceOf(element - START_3, ROWS_3, ROW_STRIDE_3, COLUMNS_3, STRIDE_3);
    if (at == PADDING) { outScalars[element] = 0.0; } else { outScalars[element] = w3Scalars[at]; }
  } else if (element < END_4) {
    let at = sourceOf(element - START_4, ROWS_4, ROW_STRIDE_4, COLUMNS_4, STRIDE_4);
    if (at == PADDING) { outScalars[element] = 0.0; } else { outScalars[element] = w4Scalars[at]; }
  } else if (element < END_5) {
    let at = sourceOf(element - START_5, ROWS_5, ROW_STRIDE_5, COLUMNS_5, STRIDE_5);
    if (at == PADDING) { outScalars[element] = 0.0; } else { outScalars[element] = w5Scalars[at]; }
  } else if (element < END_6) {
    let at = sourceOf(element - START_6, ROWS_6, ROW_STRIDE_6, COLUMNS_6, STRIDE_6);
    if (at == PADDING) { outScalars[element] = 0.0; } else { outScalars[element] = w6Scalars[at]; }
  }
}
`;
