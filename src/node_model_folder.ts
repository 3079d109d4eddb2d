/** Writes a model's folder piece by piece, so that it appears whole or not at all, and need not fit into memory. */
import {randomUUID} from 'node:crypto';
import {appendFile, mkdir, rename, rm, writeFile} from 'node:fs/promises';
import {basename, dirname, join, resolve} from 'node:path';

export const MANIFEST = 'model.json';
/** As tensorflowjs_converter cuts them: small enough for a browser's cache. */
const SHARD_BYTES = 4 * 1024 * 1024;

export interface ModelFolder {
  /** Where the files are until `finish`: what was written can be read there. */
  readonly draft: string;
  /** Bytes of weights, in the order of the manifest. */
  append(bytes: Uint8Array): Promise<void>;
  /** Writes model.json, given the names of the shards in order; nothing may be appended after that. */
  writeManifest(make: (paths: readonly string[]) => object): Promise<void>;
  /** Puts the folder in its place, replacing what is there. */
  finish(): Promise<void>;
  /** Leaves nothing behind. */
  discard(): Promise<void>;
}

/** Drafts are beside the target, where a rename puts them in place at once. */
export async function createModelFolder(folder: string): Promise<ModelFolder> {
  const target = resolve(folder);
  await mkdir(dirname(target), {recursive: true});
  // Not mkdtemp: that closes the folder to other users, and a model is for all.
  const draft = join(dirname(target), `.${basename(target)}-${randomUUID()}`);
  await mkdir(draft);
  // The number of shards is part of their names, and known at the end.
  const shardAt = (index: number): string => join(draft, `shard${index}`);
  let total = 0;
  return {
    draft,
    async append(bytes) {
      for (let at = 0; at < bytes.length;) {
        const room = SHARD_BYTES - (total % SHARD_BYTES);
        const piece = bytes.subarray(at, at + room);
        await appendFile(shardAt(Math.floor(total / SHARD_BYTES)), piece);
        total += piece.length;
        at += piece.length;
      }
    },
    async writeManifest(make) {
      if (total === 0) await writeFile(shardAt(0), '');
      const count = Math.max(1, Math.ceil(total / SHARD_BYTES));
      const paths = Array.from({length: count}, (_, i) => `group1-shard${i + 1}of${count}.bin`);
      for (const [i, path] of paths.entries()) await rename(shardAt(i), join(draft, path));
      await writeFile(join(draft, MANIFEST), JSON.stringify(make(paths)));
    },
    finish: () => replaceFolder(draft, target),
    discard: () => rm(draft, {recursive: true, force: true}),
  };
}

/** A folder cannot be renamed over a full one, so the old one steps aside first, and comes back if that fails. */
async function replaceFolder(draft: string, target: string): Promise<void> {
  const old = `${draft}-old`;
  const hadOld = await rename(target, old).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    },
  );
  try {
    await rename(draft, target);
  } catch (error) {
    if (hadOld) await rename(old, target);
    throw error;
  }
  if (hadOld) await rm(old, {recursive: true, force: true});
}
