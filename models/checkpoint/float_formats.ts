/** Numbers of other widths as float32. All of these bytes are little-endian. */

export type Decode = (bytes: Uint8Array<ArrayBuffer>) => Float32Array;

/** The top half of a float32. */
function fromBfloat16(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) words[i] = (halves[i] as number) << 16;
  return new Float32Array(words.buffer);
}

const EXPONENT_BIAS = 15;
const FRACTION_BITS = 10;

/** Every float16 by its bits: 65,536 of them are sooner looked up than computed. */
let halfTable: Float32Array | undefined;

function makeHalfTable(): Float32Array {
  return Float32Array.from({length: 1 << 16}, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> FRACTION_BITS) & 0x1f;
    const fraction = (bits & 0x3ff) / (1 << FRACTION_BITS);
    if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
    return exponent === 0
      ? sign * fraction * 2 ** (1 - EXPONENT_BIAS)
      : sign * (1 + fraction) * 2 ** (exponent - EXPONENT_BIAS);
  });
}

function fromFloat16(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const table = (halfTable ??= makeHalfTable());
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = table[halves[i] as number] as number;
  return values;
}

export interface FloatFormat {
  /** An element. */
  readonly bytes: number;
  readonly decode: Decode;
}

/** By the name safetensors gives the dtype. */
export const FLOAT_FORMATS: Readonly<Record<string, FloatFormat>> = {
  F64: {
    bytes: 8,
    decode: (bytes) =>
      Float32Array.from(new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8)),
  },
  F32: {bytes: 4, decode: (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)},
  F16: {bytes: 2, decode: fromFloat16},
  BF16: {bytes: 2, decode: fromBfloat16},
};

/** What else a file may list, such as the step counters of batch norm; nothing reads them. */
export const OTHER_BYTES: Readonly<Record<string, number>> = {
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
};

/** The nearest float16 of a float32, ties to even, as its bits. */
export function toFloat16Bits(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity.
  if (magnitude < 0x38800000) return sign | roundEven(Math.abs(value) * 2 ** 24); // Subnormal in float16.
  const shifted = magnitude - 0x38000000;
  const kept = shifted >>> 13;
  const rest = shifted & 0x1fff;
  return sign | (rest > 0x1000 || (rest === 0x1000 && (kept & 1) === 1) ? kept + 1 : kept);
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
