/** A file of named tensors, whatever its format, and where its bytes come from. */

export interface CheckpointEntry {
  readonly shape: readonly number[];
  /** As the format calls it. */
  readonly dtype: string;
}

export interface Checkpoint {
  /** For messages. */
  readonly path: string;
  readonly format: 'safetensors' | 'keras' | 'tfjs';
  readonly entries: ReadonlyMap<string, CheckpointEntry>;
  /** Values as float32, in the file's layout. @throws {CheckpointError} for a dtype that has no float32 reading. */
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Bytes that are read piece by piece, so that a file may be larger than memory: a file in Node, a Blob in a browser. */
export interface ByteSource {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** @returns Exactly the bytes from `start` to before `end`. */
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Thrown for a checkpoint that is damaged, or that does not fit the architecture. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
}

export function blobSource(blob: Blob, path: string): ByteSource {
  return {
    path,
    size: blob.size,
    read: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
    close: () => Promise.resolve(),
  };
}

export const sizeOf = (shape: readonly number[]): number =>
  shape.reduce((product, size) => product * size, 1);
