/**
 * Full 3×3 convolution of stride 1 by Winograd's minimal filtering F(2×2, 3×3), as in Lavin and Gray 2015 (arXiv 1509.09308, section
 * 4.1): Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A for each 4×4 input tile d, of which neighbours overlap by two, and the 2×2 output tile Y, with
 *
 *        1  0 −1  0        1   0   0        1  1  1  0
 *   Bᵀ = 0  1  1  0    G = ½   ½   ½   Aᵀ = 0  1 −1 −1
 *        0 −1  1  0        ½  −½   ½
 *        0  1  0 −1        0   0   1
 *
 * Summed over channels ⊙ is sixteen matrix products, one a component (i, j) of the transformed tiles: [tiles × C] by [C × N]. They
 * are one dispatch of wgsl/matmul.ts, whose rows are those of all components behind each other, padded to whole tiles of TILE_M
 * so that a workgroup has one component. G g Gᵀ is made when the weights are packed. 16 multiplications give four outputs, where the
 * convolution takes 36.
 *
 * The transforms only add; each thread does a tile of four channels, so that reads and writes of neighbouring threads are contiguous.
 *
 * Rounding: V grows up to fourfold and cancels out again, but each sum is C deep and not 9·C. Simulated in float32 with 8 to 1024
 * channels, the largest error is a quarter to two thirds of that of the convolution summed directly, so the bound of the specs
 * (which grows with √(9·C)) holds for both. F(4×4, 3×3), with constants from 1/24 to 8, would not do so well.
 */

/** V[i·4 + j][tile][c] = Bᵀ d B, zeros around the map included. */
export const winogradInputText = /* wgsl */ `
const C4 = OUT_CHANNELS / 4u;

// A column of Bᵀ d, or a row of (Bᵀ d) B.
fn transformed(d: array<vec4f, 4>) -> array<vec4f, 4> {
  return array<vec4f, 4>(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= TILES * C4) { return; }
  let tile = at / C4;
  let c4 = at % C4;
  let left = i32(tile % TILES_W * 2u) - PAD_LEFT;
  let top = i32(tile / TILES_W % TILES_H * 2u) - PAD_TOP;
  let image = i32(tile / (TILES_W * TILES_H));
  var columns: array<array<vec4f, 4>, 4>;  // [j][i] of Bᵀ d
  // unroll j < 4
  {
    var d: array<vec4f, 4>;
    // unroll i < 4
    {
      let y = top + i32(i);
      let x = left + i32(j);
      let isInside = (u32(y) < IN_HEIGHT) & (u32(x) < IN_WIDTH);
      let pixel = select(0, (image * i32(IN_HEIGHT) + y) * i32(IN_WIDTH) + x, isInside);
      d[i] = select(vec4f(0.0), readX(u32(pixel), c4), isInside);
    }
    columns[j] = transformed(d);
  }
  // unroll i < 4
  {
    let v = transformed(array<vec4f, 4>(columns[0][i], columns[1][i], columns[2][i], columns[3][i]));
    // unroll j < 4
    {
      writeOut((i * 4u + j) * COMPONENT_ROWS + tile, c4, v[j]);
    }
  }
}
`;

/** Y = Aᵀ M A of the products M[part][i·4 + j][tile][n], the parts added, then what a convolution ends with; the edge of odd maps cut. */
export const winogradOutputText = /* wgsl */ `
const N4 = X_CHANNELS / 4u;

// A column of Aᵀ M, or a row of (Aᵀ M) A.
fn transformed(m: array<vec4f, 4>) -> array<vec4f, 2> {
  return array<vec4f, 2>(m[0] + m[1] + m[2], m[1] - m[2] - m[3]);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= TILES * N4) { return; }
  let tile = at / N4;
  let n4 = at % N4;
  let left = tile % TILES_W * 2u;
  let top = tile / TILES_W % TILES_H * 2u;
  let image = tile / (TILES_W * TILES_H);
  var columns: array<array<vec4f, 2>, 4>;  // [j][i] of Aᵀ M
  // unroll j < 4
  {
    var m: array<vec4f, 4>;
    // unroll i < 4
    {
      m[i] = vec4f(0.0);  // Where the loop around is one, SwiftShader has the last column's sums in here.
      // unroll part < PARTS
      {
        m[i] += readX(part * ROWS + (i * 4u + j) * COMPONENT_ROWS + tile, n4);
      }
    }
    columns[j] = transformed(m);
  }
  // unroll i < 2
  {
    let y = transformed(array<vec4f, 4>(columns[0][i], columns[1][i], columns[2][i], columns[3][i]));
    // unroll j < 2
    {
      if (top + i < OUT_HEIGHT && left + j < OUT_WIDTH) {
        let row = (image * OUT_HEIGHT + top + i) * OUT_WIDTH + left + j;
        writeOut(row, n4, finish(row, n4, y[j]));
      }
    }
  }
}
`;
