/** How the threads of a workgroup share a tile of a matrix product, staged (matmul.ts) or straight from memory (direct.ts). */
export const teamsText = /* wgsl */ `
// A workgroup makes TILE_M × TILE_N sums. Each of its SPLIT_K teams adds up its own share of K for all of them, in threads of
// THREAD_M × THREAD_N sums.
const THREADS_M = TILE_M / THREAD_M;
const THREADS_N = TILE_N / THREAD_N;
const TEAM = THREADS_M * THREADS_N;
const WORKGROUP = TEAM * SPLIT_K;
// In vectors of four.
const TILE_K4 = TILE_K / 4u;
const TILE_N4 = TILE_N / 4u;
const THREAD_N4 = THREAD_N / 4u;
const N4 = (N + 3u) / 4u;

// The tile's first row. More rows of tiles than one axis of the grid holds continue on z.
fn tileRow(group: vec3u, grid: vec3u) -> u32 { return (group.z * grid.x + group.x) * TILE_M; }

// Rows of a tile that are beyond the last are loaded from that.
fn loadedRow(row: u32) -> u32 { return select(row, min(row, M - 1u), M % TILE_M != 0u); }

// LayerNorm in front of the filter W, from sums of raw rows: (x − mean) / σ · W = (x · W − mean · column sums of W) / σ.
fn normed(sum: vec4f, moments: vec2f, n4: u32) -> vec4f { return moments.y * (sum - moments.x * weight4(COLUMN_SUMS, n4)); }
`;
