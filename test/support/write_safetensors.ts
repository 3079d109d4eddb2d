/** Writes a safetensors file's bytes, whole or with a header of the caller's own making. */

export interface WrittenTensor {
  readonly dtype: 'F32' | 'F16' | 'BF16' | 'I64' | 'F64';
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export const f32 = (shape: readonly number[], values: ArrayLike<number>): WrittenTensor => ({
  dtype: 'F32',
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

export function writeSafetensors(tensors: Readonly<Record<string, WrittenTensor>>): Uint8Array<ArrayBuffer> {
  let at = 0;
  const header: Record<string, object> = {__metadata__: {format: 'pt'}};
  for (const [name, {dtype, shape, bytes}] of Object.entries(tensors)) {
    header[name] = {dtype, shape, data_offsets: [at, at + bytes.length]};
    at += bytes.length;
  }
  return joinSafetensors(
    JSON.stringify(header),
    Object.values(tensors).map(({bytes}) => bytes),
  );
}

/** @param length What the file says the header's length is; the truth unless given. */
export function joinSafetensors(
  header: string,
  parts: readonly Uint8Array[],
  length?: bigint,
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const prefix = new DataView(new ArrayBuffer(8));
  prefix.setBigUint64(0, length ?? BigInt(text.length), true);
  const pieces = [new Uint8Array(prefix.buffer), text, ...parts];
  const file = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    file.set(piece, at);
    at += piece.length;
  }
  return file;
}
