/**
 * Full 3×3 convolution of stride 1 by Winograd's minimal filtering F(2×2, 3×3) or F(4×4, 3×3), as in Lavin and Gray 2015 (arXiv
 * 1509.09308, section 4): Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A for each 4×4 or 6×6 input tile d, of which neighbours overlap by two,
 * and the 2×2 or 4×4 output tile Y. For F(2×2, 3×3)
 *
 *        1  0 −1  0        1   0   0        1  1  1  0
 *   Bᵀ = 0  1  1  0    G = ½   ½   ½   Aᵀ = 0  1 −1 −1
 *        0 −1  1  0        ½  −½   ½
 *        0  1  0 −1        0   0   1
 *
 * and for F(4×4, 3×3) below. Summed over channels ⊙ is 16 or 36 matrix products, one a component (i, j) of the transformed tiles:
 * [tiles × C] by [C × N]. They are one dispatch of wgsl/matmul.ts, whose rows are those of all components behind each other, padded to
 * whole tiles of TILE_M so that a workgroup has one component. G g Gᵀ is made when the weights are packed. 16 multiplications give four
 * outputs, and 36 sixteen, where the convolution takes 36 and 144.
 *
 * The transforms only add and scale; each thread does a tile of four channels, so that reads and writes of neighbouring threads are
 * contiguous.
 *
 * Rounding: V grows and cancels out again, but each sum is C deep and not 9·C. Simulated in float32 with 8 to 512 channels, the
 * largest error is a quarter to two thirds of that of the convolution summed directly with F(2×2, 3×3), and three to seven times it
 * with F(4×4, 3×3). The bound of the specs, which grows with √(9·C), holds for all three as it is.
 */

/** A column of Bᵀ d or a row of (Bᵀ d) B, and a column of Aᵀ M or a row of (Aᵀ M) A. */
export const winogradTwo = /* wgsl */ `
fn transformedInput(d: array<vec4f, 4>) -> array<vec4f, 4> {
  return array<vec4f, 4>(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]);
}

fn transformedOutput(m: array<vec4f, 4>) -> array<vec4f, 2> {
  return array<vec4f, 2>(m[0] + m[1] + m[2], m[1] - m[2] - m[3]);
}
`;

/**
 * The same with
 *
 *        4   0  −5   0  1  0         6   0  0
 *        0  −4  −4   1  1  0        −4  −4 −4         1  1  1  1  1  0
 *   Bᵀ = 0   4  −4  −1  1  0   24·G = −4   4 −4    Aᵀ = 0  1 −1  2 −2  0
 *        0  −2  −1   2  1  0         1   2  4         0  1  1  4  4  0
 *        0   2  −1  −2  1  0         1  −2  4         0  1 −1  8 −8  1
 *        0   4   0  −5  0  1         0   0 24
 */
export const winogradFour = /* wgsl */ `
fn transformedInput(d: array<vec4f, 6>) -> array<vec4f, 6> {
  let a = d[4] - 4.0 * d[2];
  let b = d[3] - 4.0 * d[1];
  let c = d[4] - d[2];
  let e = 2.0 * (d[3] - d[1]);
  return array<vec4f, 6>(4.0 * d[0] - 5.0 * d[2] + d[4], a + b, a - b, c + e, c - e, 4.0 * d[1] - 5.0 * d[3] + d[5]);
}

fn transformedOutput(m: array<vec4f, 6>) -> array<vec4f, 4> {
  let a = m[1] + m[2];
  let b = m[1] - m[2];
  let c = m[3] + m[4];
  let e = m[3] - m[4];
  return array<vec4f, 4>(m[0] + a + c, b + 2.0 * e, a + 4.0 * c, b + 8.0 * e + m[5]);
}
`;

/** V[i·INPUT_SIDE + j][tile][c] = Bᵀ d B, zeros around the map included. */
export const winogradInputText = /* wgsl */ `
const C4 = OUT_CHANNELS / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= TILES * C4) { return; }
  let tile = at / C4;
  let c4 = at % C4;
  let left = i32(tile % TILES_W * OUTPUT_SIDE) - PAD_LEFT;
  let top = i32(tile / TILES_W % TILES_H * OUTPUT_SIDE) - PAD_TOP;
  let image = i32(tile / (TILES_W * TILES_H));
  var columns: array<array<vec4f, INPUT_SIDE>, INPUT_SIDE>;  // [j][i] of Bᵀ d
  // unroll j < INPUT_SIDE
  {
    var d: array<vec4f, INPUT_SIDE>;
    // unroll i < INPUT_SIDE
    {
      let y = top + i32(i);
      let x = left + i32(j);
      let isInside = (u32(y) < IN_HEIGHT) & (u32(x) < IN_WIDTH);
      let pixel = select(0, (image * i32(IN_HEIGHT) + y) * i32(IN_WIDTH) + x, isInside);
      d[i] = select(vec4f(0.0), readX(u32(pixel), c4), isInside);
    }
    columns[j] = transformedInput(d);
  }
  // unroll i < INPUT_SIDE
  {
    var across: array<vec4f, INPUT_SIDE>;
    // unroll j < INPUT_SIDE
    {
      across[j] = columns[j][i];
    }
    let v = transformedInput(across);
    // unroll j < INPUT_SIDE
    {
      writeOut((i * INPUT_SIDE + j) * COMPONENT_ROWS + tile, c4, v[j]);
    }
  }
}
`;

/** Y = Aᵀ M A of the products M[part][i·INPUT_SIDE + j][tile][n], the parts added, then what a convolution ends with; the edge of odd maps cut. */
export const winogradOutputText = /* wgsl */ `
const N4 = X_CHANNELS / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= TILES * N4) { return; }
  let tile = at / N4;
  let n4 = at % N4;
  let left = tile % TILES_W * OUTPUT_SIDE;
  let top = tile / TILES_W % TILES_H * OUTPUT_SIDE;
  let image = tile / (TILES_W * TILES_H);
  var columns: array<array<vec4f, OUTPUT_SIDE>, INPUT_SIDE>;  // [j][i] of Aᵀ M
  // unroll j < INPUT_SIDE
  {
    var m: array<vec4f, INPUT_SIDE>;
    // unroll i < INPUT_SIDE
    {
      m[i] = vec4f(0.0);  // Where the loop around is one, SwiftShader has the last column's sums in here.
      // unroll part < PARTS
      {
        m[i] += readX(part * ROWS + (i * INPUT_SIDE + j) * COMPONENT_ROWS + tile, n4);
      }
    }
    columns[j] = transformedOutput(m);
  }
  // unroll i < OUTPUT_SIDE
  {
    var across: array<vec4f, INPUT_SIDE>;
    // unroll j < INPUT_SIDE
    {
      across[j] = columns[j][i];
    }
    let y = transformedOutput(across);
    // unroll j < OUTPUT_SIDE
    {
      if (top + i < OUT_HEIGHT && left + j < OUT_WIDTH) {
        let row = (image * OUT_HEIGHT + top + i) * OUT_WIDTH + left + j;
        writeOut(row, n4, finish(row, n4, y[j]));
      }
    }
  }
}
`;
