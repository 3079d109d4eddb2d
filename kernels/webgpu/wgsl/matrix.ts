/**
 * Pointwise and full convolution on subgroup matrices: out[row, n] = Σ_k source[row, k] · filter[k, n], operands f16, sums f32.
 *
 * A workgroup makes a TILE_M × TILE_N tile, SUBGROUPS_M × SUBGROUPS_N subgroups an equal part of it each, in fragments of the
 * device's own size FRAGMENT_M × FRAGMENT_N × FRAGMENT_K. Both operands go through workgroup memory in steps of TILE_K, the next
 * step's loads already in flight to registers. Rows there are padded by eight halves: without that all rows of a fragment begin
 * in the same bank, which halved the speed on an H200 (and two stages, or more subgroups a tile, were slower too).
 *
 * What stands before the product (LayerNorm, gate) is applied in f32 as the source is staged, and only then rounded to f16: that
 * cancels nothing, where taking the mean from a finished f16 product would. What stands behind it takes the sums from workgroup
 * memory, where they are f32 as well.
 *
 * A vec4u is eight halves. Channels of source and output are multiples of eight. source8(origin, k8) comes from one of the two
 * sources below, load8 and staged from one of the two kinds of rows.
 */
export const matrixText = /* wgsl */ `
const TILE_K8 = TILE_K / 8u;
const TILE_N8 = TILE_N / 8u;
const X_STRIDE = TILE_K8 + 1u;
const W_STRIDE = TILE_N8 + 1u;
const FRAGMENTS_M = TILE_M / SUBGROUPS_M / FRAGMENT_M;
const FRAGMENTS_N = TILE_N / SUBGROUPS_N / FRAGMENT_N;
const STEPS = (K + TILE_K - 1u) / TILE_K;
// Fragments of a row that are finished together, so that their stores make long runs.
const STORE_N4 = STORE_FRAGMENTS * FRAGMENT_N / 4u;
const STORE_STRIDE = STORE_N4 + 1u;

alias Left = subgroup_matrix_left<f16, FRAGMENT_K, FRAGMENT_M>;
alias Right = subgroup_matrix_right<f16, FRAGMENT_N, FRAGMENT_K>;
alias Sums = subgroup_matrix_result<f32, FRAGMENT_N, FRAGMENT_M>;

// Halves of the source, [TILE_M][TILE_K / 8 + 1], then of the filter, [TILE_K][TILE_N / 8 + 1]; when those are used up, sums in
// f32, [subgroup][FRAGMENT_M][STORE_N4 + 1].
const W_START = TILE_M * X_STRIDE;
const STAGED = W_START + TILE_K * W_STRIDE;
const STORED = SUBGROUPS_M * SUBGROUPS_N * FRAGMENT_M * STORE_STRIDE;
var<workgroup> tile: array<vec4u, max(STAGED, STORED)>;

fn filter8(k: u32, n8: u32) -> vec4u {
  if (K % TILE_K != 0u && k >= K) { return vec4u(0u); }
  return filters[FILTER / 4u + k * (N / 8u) + select(n8, min(n8, N / 8u - 1u), N % TILE_N != 0u)];
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  // More rows of tiles than one axis of the grid holds continue on z.
  let rowOrigin = (group.z * grid.x + group.x) * TILE_M;
  if (rowOrigin >= M) { return; }
  let nOrigin = group.y * TILE_N;
  let subgroup = local / SUBGROUP_SIZE;
  let lane = local % SUBGROUP_SIZE;
  let fragmentM = subgroup / SUBGROUPS_N * FRAGMENTS_M;
  let fragmentN = subgroup % SUBGROUPS_N * FRAGMENTS_N;

  var acc: array<Sums, FRAGMENTS_M * FRAGMENTS_N>;  // [FRAGMENTS_M][FRAGMENTS_N]
  var origin: array<Origin, X_UNITS>;
  var xNext: array<Loaded, X_UNITS>;
  var wNext: array<vec4u, W_UNITS>;
  // unroll u < X_UNITS
  {
    let row = rowOrigin + (local + u * WORKGROUP) / TILE_K8;
    origin[u] = originOf(select(row, min(row, M - 1u), M % TILE_M != 0u));
  }

  for (var step = 0u; step <= STEPS; step++) {
    if (step > 0u) {
      // unroll u < X_UNITS
      {
        let at = local + u * WORKGROUP;
        tile[at / TILE_K8 * X_STRIDE + at % TILE_K8] = staged(xNext[u]);
      }
      // unroll u < W_UNITS
      {
        let at = local + u * WORKGROUP;
        tile[W_START + at / TILE_N8 * W_STRIDE + at % TILE_N8] = wNext[u];
      }
      workgroupBarrier();
    }
    if (step < STEPS) {
      // unroll u < X_UNITS
      {
        xNext[u] = source8(origin[u], step * TILE_K8 + (local + u * WORKGROUP) % TILE_K8);
      }
      // unroll u < W_UNITS
      {
        let at = local + u * WORKGROUP;
        wNext[u] = filter8(step * TILE_K + at / TILE_N8, nOrigin / 8u + at % TILE_N8);
      }
    }
    if (step > 0u) {
      // unroll k < TILE_K / FRAGMENT_K
      {
        var left: array<Left, FRAGMENTS_M>;
        // unroll i < TILE_M / SUBGROUPS_M / FRAGMENT_M
        {
          let place = (fragmentM + i) * FRAGMENT_M * X_STRIDE + k * (FRAGMENT_K / 8u);
          left[i] = subgroupMatrixLoad<Left, row_major>(&tile, place, X_STRIDE);
        }
        // unroll j < TILE_N / SUBGROUPS_N / FRAGMENT_N
        {
          let place = W_START + k * FRAGMENT_K * W_STRIDE + (fragmentN + j) * (FRAGMENT_N / 8u);
          let right = subgroupMatrixLoad<Right, row_major>(&tile, place, W_STRIDE);
          // unroll i < TILE_M / SUBGROUPS_M / FRAGMENT_M
          {
            acc[i * FRAGMENTS_N + j] = subgroupMatrixMultiplyAccumulate(left[i], right, acc[i * FRAGMENTS_N + j]);
          }
        }
      }
      workgroupBarrier();
    }
  }

  let sumBase = subgroup * FRAGMENT_M * STORE_STRIDE;
  var ending: array<Ending, STORE_UNITS>;
  // unroll i < TILE_M / SUBGROUPS_M / FRAGMENT_M
  {
    // unroll part < TILE_N / SUBGROUPS_N / FRAGMENT_N / STORE_FRAGMENTS
    {
      let firstRow = rowOrigin + (fragmentM + i) * FRAGMENT_M;
      let firstN4 = (nOrigin + (fragmentN + part * STORE_FRAGMENTS) * FRAGMENT_N) / 4u;
      // unroll u < STORE_UNITS
      {
        let at = lane + u * SUBGROUP_SIZE;
        ending[u] = endingOf(min(firstRow + at / STORE_N4, M - 1u), min(firstN4 + at % STORE_N4, N / 4u - 1u));
      }
      // unroll j < STORE_FRAGMENTS
      {
        subgroupMatrixStore<row_major>(&tile, sumBase + j * (FRAGMENT_N / 4u), acc[i * FRAGMENTS_N + part * STORE_FRAGMENTS + j], STORE_STRIDE);
      }
      workgroupBarrier();
      // unroll u < STORE_UNITS
      {
        let at = lane + u * SUBGROUP_SIZE;
        let row = firstRow + at / STORE_N4;
        let n4 = firstN4 + at % STORE_N4;
        let isWhole = FRAGMENT_M * STORE_N4 % SUBGROUP_SIZE == 0u || at < FRAGMENT_M * STORE_N4;
        if (isWhole && (M % TILE_M == 0u || row < M) && (N % TILE_N == 0u || n4 < N / 4u)) {
          var sum = bitcast<vec4f>(tile[sumBase + at / STORE_N4 * STORE_STRIDE + at % STORE_N4]);
          if (HAS_COLUMN_SCALE) { sum *= weight4(COLUMN_SCALE, n4); }
          writeOut(row, n4, finishBy(ending[u], sum));
        }
      }
      workgroupBarrier();
    }
  }
}
`;

/** From channels as loaded to operands. */
const operandsText = /* wgsl */ `
// Eight channels of a pixel, as loaded, to what the product takes. The conversion waits until the values are put into workgroup
// memory: made at the load, it would wait for it, and nothing would be in flight during the products.
fn halvesOf(low: vec4f, high: vec4f, factors: Factors) -> vec4u {
  var a = low;
  var b = high;
  if (HAS_NORM) {
    a = (a - factors.moments.x) * factors.moments.y;
    b = (b - factors.moments.x) * factors.moments.y;
  }
  if (HAS_SCALES) {
    a *= factors.low;
    b *= factors.high;
  }
  return vec4u(bitcast<vec2u>(vec4<f16>(a)), bitcast<vec2u>(vec4<f16>(b)));
}

struct Factors {
  moments: vec2f,
  low: vec4f,
  high: vec4f,
}

fn factorsOf(image: u32, c8: u32, moments: vec2f) -> Factors {
  var factors: Factors;
  if (HAS_NORM) { factors.moments = moments; }
  if (HAS_SCALES) {
    let at = image * (X_CHANNELS / 4u) + c8 * 2u;
    factors.low = scales[at];
    factors.high = scales[at + 1u];
  }
  return factors;
}
`;

/** Rows of x in f32. */
export const floatRows =
  operandsText +
  /* wgsl */ `
struct Loaded {
  low: vec4f,
  high: vec4f,
  factors: Factors,
}

fn load8(pixel: u32, image: u32, c8: u32, moments: vec2f) -> Loaded {
  let at = pixel * (X_CHANNELS / 4u) + c8 * 2u;
  return Loaded(x[at], x[at + 1u], factorsOf(image, c8, moments));
}

fn staged(loaded: Loaded) -> vec4u { return halvesOf(loaded.low, loaded.high, loaded.factors); }
`;

/** Rows of x in f16, eight halves a vector; they pass as they are where nothing stands before the product. */
export const halfRows =
  operandsText +
  /* wgsl */ `
struct Loaded {
  halves: vec4u,
  factors: Factors,
}

fn load8(pixel: u32, image: u32, c8: u32, moments: vec2f) -> Loaded {
  return Loaded(x[pixel * (X_CHANNELS / 8u) + c8], factorsOf(image, c8, moments));
}

fn staged(loaded: Loaded) -> vec4u {
  if (!HAS_NORM && !HAS_SCALES) { return loaded.halves; }
  let low = vec4f(bitcast<vec4<f16>>(loaded.halves.xy));
  let high = vec4f(bitcast<vec4<f16>>(loaded.halves.zw));
  return halvesOf(low, high, loaded.factors);
}
`;

/** The source of a pointwise stage: a row is a pixel, whose moments serve every step. */
export const pixelOrigin = /* wgsl */ `
struct Origin {
  pixel: u32,
  moments: vec2f,
}

fn originOf(row: u32) -> Origin {
  var moments = vec2f(0.0, 1.0);
  if (HAS_NORM) { moments = momentsOf(row); }
  return Origin(row, moments);
}

fn source8(origin: Origin, k8: u32) -> Loaded {
  if (K % TILE_K != 0u && k8 * 8u >= K) { return Loaded(); }
  return load8(origin.pixel, origin.pixel / PIXELS, k8, origin.moments);
}
`;

/**
 * The source of a full convolution, gathered from the window of each output pixel (implicit im2col): k = (ky, kx, c). Beyond the
 * edge all is zero, the moments too, so that a norm leaves zero there.
 */
export const windowOrigin = /* wgsl */ `
struct Origin {
  image: u32,
  y: i32,
  x: i32,
}

fn originOf(row: u32) -> Origin {
  let ox = row % OUT_WIDTH;
  let oy = (row / OUT_WIDTH) % OUT_HEIGHT;
  return Origin(row / (OUT_WIDTH * OUT_HEIGHT), i32(oy * STRIDE_H) - PAD_TOP, i32(ox * STRIDE_W) - PAD_LEFT);
}

fn source8(origin: Origin, k8: u32) -> Loaded {
  let tap = k8 / (X_CHANNELS / 8u);
  let iy = origin.y + i32((tap / KERNEL_W) * DILATION_H);
  let ix = origin.x + i32((tap % KERNEL_W) * DILATION_W);
  let isBeyond = K % TILE_K != 0u && k8 * 8u >= K;
  if (isBeyond || iy < 0 || ix < 0 || iy >= i32(IN_HEIGHT) || ix >= i32(IN_WIDTH)) { return Loaded(); }
  let pixel = (origin.image * IN_HEIGHT + u32(iy)) * IN_WIDTH + u32(ix);
  var moments = vec2f(0.0, 1.0);
  if (HAS_NORM) { moments = momentsOf(pixel); }
  return load8(pixel, origin.image, k8 % (X_CHANNELS / 8u), moments);
}
`;
