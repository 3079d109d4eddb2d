/**
 * Where wgsl/matmul.ts takes its rows from. Each source has originOf(row), what of a row serves every step along K;
 * tapOf(first4, lane), what of the group of four k at first4 + lane serves every row, where a step begins at first4;
 * readSource(origin, tap), the four values, zero beyond K; scaleOf(origin, tap), what a gate multiplies them by; and filterOrigin(rowOrigin), where the filter of a tile's rows begins.
 * A source that MAKES_SCALES for its workgroup's part of K does so in makeScales; then madeScale(at) has those of its at'th vector.
 */

const noScales = /* wgsl */ `
const MAKES_SCALES = false;
fn makeScales(rowOrigin: u32, part: u32, local: u32) {}
fn madeScale(at: u32) -> vec4f { return vec4f(1.0); }
`;

const oneFilter = /* wgsl */ `
fn filterOrigin(rowOrigin: u32) -> u32 { return FILTER / 4u; }
`;

const pixels = /* wgsl */ `
alias Origin = u32;
alias Tap = u32;

fn originOf(row: u32) -> Origin { return row; }

fn tapOf(first4: u32, lane: u32) -> Tap { return first4 + lane; }

fn readSource(row: Origin, k4: Tap) -> vec4f {
  if (COVERED_K > K && k4 * 4u >= K) { return vec4f(0.0); }
  return readX(row, k4);
}

fn scaleOf(row: Origin, k4: Tap) -> vec4f {
  let image = select(row / PIXELS, 0u, M == PIXELS);
  return scales[image * (K / 4u) + min(k4, K / 4u - 1u)];
}
`;

/** A pointwise stage: a row is a pixel. */
export const pixelSource = noScales + pixels + oneFilter;

/** The same behind a gate whose scales each workgroup makes for itself (squeeze.ts): all rows of its tile are of one image. */
export const gatedSource =
  pixels +
  oneFilter +
  /* wgsl */ `
const MAKES_SCALES = true;
const SHARE = TEAM_STEPS * SPLIT_K * TILE_K4;

var<workgroup> scaleTile: array<vec4f, SHARE>;

// Not scales, but what they are made of.
fn partAt(at: u32) -> vec4f { return scales[at]; }

fn makeScales(rowOrigin: u32, part: u32, local: u32) {
  let value = gateScales(rowOrigin / PIXELS, part * SHARE, local);
  if (local < SHARE) { scaleTile[local] = value; }
  workgroupBarrier();
}

fn madeScale(at: u32) -> vec4f { return scaleTile[at]; }
`;

/** Winograd's products: a row is a transformed tile's component, of which each has a filter of its own. */
export const componentSource =
  noScales +
  pixels +
  /* wgsl */ `
fn filterOrigin(rowOrigin: u32) -> u32 { return FILTER / 4u + rowOrigin / COMPONENT_ROWS * (K * N4); }
`;

/** The origin of a row whose window may reach over the edges of the map; behind a gate there is always a pointwise stage. */
const windowOrigin =
  noScales +
  /* wgsl */ `
fn scaleOf(origin: Origin, tap: Tap) -> vec4f { return vec4f(1.0); }

struct Origin {
  base: i32,  // address of the window's first cell, which may lie before the map
  y: i32,
  x: i32,
}

// What a tap beyond K has for a y: no map reaches there from any origin.
const BEYOND = -0x40000000i;

fn originAt(row: u32, cellSize: u32) -> Origin {
  let y = i32(row / OUT_WIDTH % OUT_HEIGHT * STRIDE_H) - PAD_TOP;
  let x = i32(row % OUT_WIDTH * STRIDE_W) - PAD_LEFT;
  let image = i32(row / (OUT_WIDTH * OUT_HEIGHT));
  return Origin(((image * i32(IN_HEIGHT) + y) * i32(IN_WIDTH) + x) * i32(cellSize), y, x);
}
`;

/**
 * A full convolution whose channels are a multiple of four, gathered from the window of each output pixel (implicit im2col):
 * k = (ky, kx, c). Per load there are only two additions, two comparisons (negative numbers are large ones without a sign)
 * and an address; a step that lies within one tap, as where channels are a multiple of TILE_K, finds that tap once. Zeros around
 * the map come by a mask: whoever is outside loads the first cell and drops it.
 */
export const windowSource =
  windowOrigin +
  oneFilter +
  /* wgsl */ `
const CELL4 = X_CHANNELS / 4u;

struct Tap {
  offset: i32,  // from the window's first cell, in groups of four channels
  y: i32,
  x: i32,
}

fn originOf(row: u32) -> Origin { return originAt(row, CELL4); }

fn tapOf(first4: u32, lane: u32) -> Tap {
  let k4 = first4 + lane;
  let tap = select(k4, first4, CELL4 % TILE_K4 == 0u) / CELL4;
  let y = i32(tap / KERNEL_W * DILATION_H);
  let x = i32(tap % KERNEL_W * DILATION_W);
  let offset = (y * i32(IN_WIDTH) + x) * i32(CELL4) + i32(k4 - tap * CELL4);
  return Tap(offset, select(y, BEYOND, COVERED_K > K && k4 * 4u >= K), x);
}

fn readSource(origin: Origin, tap: Tap) -> vec4f {
  let isInside = (u32(origin.y + tap.y) < IN_HEIGHT) & (u32(origin.x + tap.x) < IN_WIDTH);
  let value = loadX(u32(select(0, origin.base + tap.offset, isInside)));
  return select(vec4f(0.0), value, isInside);
}
`;

/**
 * A full convolution of any other number of channels, such as a stem's three: k = (ky, kx, c) without gaps, so that the four k of
 * a group may lie in different taps, each found by itself and loaded as a scalar. A 7×7 stem has 148 rows of filter here instead
 * of the 196 that three channels padded to four would give it.
 */
export const packedSource =
  windowOrigin +
  oneFilter +
  /* wgsl */ `
const TRUE_K = KERNEL_H * KERNEL_W * X_CHANNELS;

struct Tap {
  offset: vec4i,  // from the window's first cell, in channels
  y: vec4i,
  x: vec4i,
}

fn originOf(row: u32) -> Origin { return originAt(row, X_CHANNELS); }

fn tapOf(first4: u32, lane: u32) -> Tap {
  let k = (first4 + lane) * 4u + vec4u(0u, 1u, 2u, 3u);
  let tap = k / X_CHANNELS;
  let y = vec4i(tap / KERNEL_W * DILATION_H);
  let x = vec4i(tap % KERNEL_W * DILATION_W);
  let offset = (y * i32(IN_WIDTH) + x) * i32(X_CHANNELS) + vec4i(k - tap * X_CHANNELS);
  return Tap(offset, select(y, vec4i(BEYOND), k >= vec4u(TRUE_K)), x);
}

fn readSource(origin: Origin, tap: Tap) -> vec4f {
  let isInside = (vec4u(origin.y + tap.y) < vec4u(IN_HEIGHT)) & (vec4u(origin.x + tap.x) < vec4u(IN_WIDTH));
  let at = select(vec4i(0), origin.base + tap.offset, isInside);
  let value = vec4f(f32(xScalars[at.x]), f32(xScalars[at.y]), f32(xScalars[at.z]), f32(xScalars[at.w]));
  return select(vec4f(0.0), value, isInside);
}
`;
