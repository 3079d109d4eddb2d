/**
 * Lets a device without f16 run the f16 plans: rewrites their shaders so that f16 in memory is packed words, and a subgroup's
 * matrices are arrays its lanes share. It rounds where f16 does and keeps every index, edge and barrier of the kernels, so it
 * tests those, the packing and the plans; what a driver makes of the real types only a device that has them can show.
 */

const DIRECTIVES = /^(?:enable|diagnostic)\b.*;\n/gm;

const PACKING = /* wgsl */ `
fn packHalf(v: vec4f) -> vec2u { return vec2u(pack2x16float(v.xy), pack2x16float(v.zw)); }
fn unpackHalf(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }
`;

/** One half of a word is another thread's. */
const SCALAR_STORE = /* wgsl */ `
fn storeHalf(at: u32, v: f32) {
  let shift = at % 2u * 16u;
  let half = pack2x16float(vec2f(v, 0.0)) & 0xffffu;
  atomicAnd(&outScalars[at / 2u], ~(0xffffu << shift));
  atomicOr(&outScalars[at / 2u], half << shift);
}
`;

/** A fragment of operands is where it lies in workgroup memory; of sums a lane has every element (lane + i · SUBGROUP_SIZE). */
const MATRICES = /* wgsl */ `
struct Left { place: u32, stride: u32 }
struct Right { place: u32, stride: u32 }
const FRAGMENT_VECTORS = FRAGMENT_M * FRAGMENT_N / 4u;
const EMULATED_SUMS = (FRAGMENT_VECTORS + SUBGROUP_SIZE - 1u) / SUBGROUP_SIZE;
struct Sums { values: array<vec4f, EMULATED_SUMS> }
var<private> emulatedLane: u32;

fn multiplyAccumulate(left: Left, right: Right, sums: Sums) -> Sums {
  var result = sums;
  for (var i = 0u; i < EMULATED_SUMS; i++) {
    let at = emulatedLane + i * SUBGROUP_SIZE;
    if (at >= FRAGMENT_VECTORS) { continue; }
    let row = at / (FRAGMENT_N / 4u);
    let n4 = at % (FRAGMENT_N / 4u);
    for (var k = 0u; k < FRAGMENT_K; k++) {
      let pair = tile[left.place + row * left.stride + k / 8u][k % 8u / 2u];
      let a = unpack2x16float(pair)[k % 2u];
      let eight = tile[right.place + k * right.stride + n4 / 2u];
      result.values[i] += a * unpackHalf(select(eight.xy, eight.zw, n4 % 2u == 1u));
    }
  }
  return result;
}

fn storeSums(place: u32, sums: Sums, stride: u32) {
  for (var i = 0u; i < EMULATED_SUMS; i++) {
    let at = emulatedLane + i * SUBGROUP_SIZE;
    if (at >= FRAGMENT_VECTORS) { continue; }
    tile[place + at / (FRAGMENT_N / 4u) * stride + at % (FRAGMENT_N / 4u)] = bitcast<vec4u>(sums.values[i]);
  }
}
`;

/** The shader without f16 and subgroup matrices. @throws where some are left, since then a kernel's text has changed. */
export function emulated(code: string): string {
  if (!code.startsWith('enable f16;')) return code;
  const halves = [...code.matchAll(/> (\w+): array<(?:vec4<)?f16>/g)].map(([, name = '']) => name);
  let text = code
    .replace(DIRECTIVES, '')
    .replace(/alias OutVector = vec4<f16>;/, 'alias OutVector = vec4f;')
    .replace(/alias OutScalar = f16;/, 'alias OutScalar = f32;')
    .replace(/array<vec4<f16>>/g, 'array<vec2u>')
    .replace(/(outScalars): array<f16>/, '$1: array<atomic<u32>>')
    .replace(/array<f16>/g, 'array<u32>')
    .replace(/bitcast<vec2u>\(vec4<f16>\((\w+)\)\)/g, 'packHalf($1)')
    .replace(/vec4f\(bitcast<vec4<f16>>\(([\w.]+)\)\)/g, 'unpackHalf($1)');
  for (const name of halves) {
    text = text
      .replace(new RegExp(`vec4f\\(${name}\\[`, 'g'), `unpackHalf(${name}[`)
      .replace(
        new RegExp(`f32\\(${name}\\[([^\\]]*)\\]\\)`, 'g'),
        `unpack2x16float(${name}[($1) / 2u])[($1) % 2u]`,
      )
      .replace(/(out\[[^\]]*\] = )OutVector\(value\)/, name === 'out' ? '$1packHalf(value)' : '$&')
      .replace(
        /outScalars\[([^\]]*)\] = OutScalar\(([^)]*)\);/,
        name === 'outScalars' ? 'storeHalf($1, $2);' : '$&',
      );
  }
  const isMatrix = text.includes('subgroup_matrix');
  text = text
    .replace(/alias \w+ = subgroup_matrix_.*\n/g, '')
    .replace(/subgroupMatrixLoad<(\w+), row_major>\(&\w+, /g, '$1(')
    .replace(/subgroupMatrixMultiplyAccumulate/g, 'multiplyAccumulate')
    .replace(/subgroupMatrixStore<row_major>\(&tile, /g, 'storeSums(')
    .replace(/(let lane = local % SUBGROUP_SIZE;)/, '$1 emulatedLane = lane;');
  const scalarStore = halves.includes('outScalars') ? SCALAR_STORE : '';
  const whole = text + PACKING + scalarStore + (isMatrix ? MATRICES : '');
  if (/\bf16\b|subgroupMatrix/.test(whole)) throw new Error(`Not emulated:\n${whole}`);
  return whole;
}

export interface EmulatedFragment {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Of a subgroup. */
  readonly lanes: number;
}

/** `M.N.K.LANES`; anything else is none. */
export function fragmentOf(text: string): EmulatedFragment | undefined {
  const [M = NaN, N = NaN, K = NaN, lanes = NaN] = text.split('.').map(Number);
  return Number.isNaN(lanes) ? undefined : {M, N, K, lanes};
}

/** From now on `device` says that it has f16, and subgroup matrices of `fragment` where given. */
export function emulateHalf(device: GPUDevice, fragment?: EmulatedFragment): void {
  const createShaderModule = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) =>
    createShaderModule({...descriptor, code: emulated(descriptor.code)});
  const extra = fragment ? ['subgroups', 'chromium-experimental-subgroup-matrix'] : [];
  const features = new Set<string>([...device.features, 'shader-f16', ...extra]);
  const {architecture, description} = device.adapterInfo;
  const adapterInfo = {
    architecture,
    device: device.adapterInfo.device,
    description,
    subgroupMinSize: fragment?.lanes,
    subgroupMaxSize: fragment?.lanes,
    subgroupMatrixConfigs: fragment ? [{componentType: 'f16', resultComponentType: 'f32', ...fragment}] : [],
  };
  Object.defineProperty(device, 'features', {value: features});
  Object.defineProperty(device, 'adapterInfo', {value: adapterInfo});
}
