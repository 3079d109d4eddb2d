/** IEEE 754 binary16, which no browser before 2025 has an array type for. */

const word = new DataView(new ArrayBuffer(4));

/** The bits of the binary16 nearest to `value`, ties to even; beyond ±65504 infinity. */
export function halfBits(value: number): number {
  word.setFloat32(0, value);
  const float = word.getUint32(0);
  const sign = (float >>> 16) & 0x8000;
  const magnitude = float & 0x7fffffff;
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (magnitude >= 0x38800000) {
    // Normal: a float32 has 13 bits more, and an exponent 112 larger. A carry may run into the exponent, and on to infinity.
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000;
    return sign | Math.min(0x7c00, rounded >>> 13);
  }
  // Subnormal: multiples of 2^-24. Adding 0.5 puts them at the end of a float32's mantissa, rounded to even.
  word.setFloat32(0, Math.abs(word.getFloat32(0)) + 0.5);
  return sign | (word.getUint32(0) - 0x3f000000);
}

/** The number that the bits of a binary16 stand for. */
export function halfValue(half: number): number {
  const exponent = (half >>> 10) & 31;
  const mantissa = half & 1023;
  const magnitude =
    exponent === 31
      ? mantissa > 0
        ? NaN
        : Infinity
      : exponent > 0
        ? 2 ** (exponent - 25) * (1024 + mantissa)
        : 2 ** -24 * mantissa;
  return half & 0x8000 ? -magnitude : magnitude;
}
