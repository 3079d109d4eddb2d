/** Output files that appear whole or not at all. */
import {randomUUID} from 'node:crypto';
import {rename, rm, stat, writeFile} from 'node:fs/promises';
import {dirname, resolve} from 'node:path';

/** @throws where the folder does not exist or cannot be written; no part of the file is left behind. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, text);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, {force: true});
    const message = `Cannot write '${path}' (${(error as Error).message}); give a path in an existing folder.`;
    throw new Error(message, {cause: error});
  }
}

/** Before work of minutes whose result would have no place. @throws where the file's folder does not exist. */
export async function needFolder(path: string): Promise<void> {
  const folder = dirname(resolve(path));
  const there = await stat(folder).catch(() => undefined);
  if (!there?.isDirectory())
    throw new Error(`Cannot write '${path}': there is no folder '${folder}'; create it first.`);
}
