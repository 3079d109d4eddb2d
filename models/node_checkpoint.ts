/** Opens a checkpoint file in Node, by what is in it and not by its name. */
import {mkdtemp, open, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {type ByteSource, type Checkpoint, CheckpointError} from './checkpoint/checkpoint.js';
import {readKerasFile} from './checkpoint/keras_h5.js';
import {openSafetensors} from './checkpoint/safetensors.js';
import {extractEntry} from './node_zip.js';

const HDF5 = [0x89, 0x48, 0x44, 0x46];
const ZIP = [0x50, 0x4b, 0x03, 0x04];
const PICKLE = 0x80;
const BRACE = 0x7b;
const HEAD_BYTES = 9;
const WEIGHTS_IN_ZIP = 'model.weights.h5';

/** @throws {CheckpointError} for a file that is missing or of a format that is not read. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const source = await openBytes(path);
  try {
    const head = await source.read(0, Math.min(source.size, HEAD_BYTES));
    const starts = (magic: readonly number[]): boolean => magic.every((byte, i) => head[i] === byte);
    if (starts(HDF5)) return await openKeras(path, path, () => source.close());
    if (starts(ZIP)) return await openZip(path, source);
    // The length of a safetensors header may begin with this byte too, but then a brace follows it.
    if (head[0] === PICKLE && head[HEAD_BYTES - 1] !== BRACE)
      throw new CheckpointError(
        `'${path}' is a Python pickle, which is not read; save the tensors with safetensors.`,
      );
    return await openSafetensors(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

export async function openBytes(path: string): Promise<ByteSource> {
  const file = await open(path).catch((error: unknown) => {
    throw new CheckpointError(
      `'${path}' cannot be opened (${(error as Error).message}); give the path of a checkpoint.`,
    );
  });
  const {size} = await file.stat();
  let isOpen = true;
  return {
    path,
    size,
    async read(start, end) {
      const bytes = new Uint8Array(end - start);
      for (let at = 0; at < bytes.length;) {
        const {bytesRead} = await file.read(bytes, at, Math.min(bytes.length - at, MAX_READ), start + at);
        if (bytesRead === 0)
          throw new CheckpointError(`'${path}' ends at byte ${start + at}, before ${end}; fetch it again.`);
        at += bytesRead;
      }
      return bytes;
    },
    async close() {
      if (isOpen) await file.close();
      isOpen = false;
    },
  };
}

/** One read call takes at most 2 GiB. */
const MAX_READ = 2 ** 30;

/** @param shown For messages. @param close Called when the checkpoint is closed. */
async function openKeras(path: string, shown: string, close: () => Promise<void>): Promise<Checkpoint> {
  const {File, ready} = await import('h5wasm/node');
  await ready;
  let file: InstanceType<typeof File>;
  try {
    file = new File(path, 'r');
    file.keys();
  } catch (error) {
    throw new CheckpointError(`'${shown}' is damaged: HDF5 cannot read it (${(error as Error).message}).`);
  }
  return readKerasFile(shown, file, async () => {
    file.close();
    await close();
  });
}

/** A `.keras` file is a zip with the weights as HDF5, which is unpacked beside nothing: into a folder of its own. */
async function openZip(path: string, source: ByteSource): Promise<Checkpoint> {
  const folder = await mkdtemp(join(tmpdir(), 'block-fusion-'));
  const remove = (): Promise<void> => rm(folder, {recursive: true, force: true});
  try {
    const unpacked = join(folder, WEIGHTS_IN_ZIP);
    if (!(await extractEntry(source, WEIGHTS_IN_ZIP, unpacked)))
      throw new CheckpointError(
        `'${path}' is a zip without ${WEIGHTS_IN_ZIP}; a PyTorch file must be saved with safetensors, a Keras model with model.save.`,
      );
    await source.close();
    return await openKeras(unpacked, path, remove);
  } catch (error) {
    await remove();
    throw error;
  }
}
