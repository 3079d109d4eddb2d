/** Output files that appear whole or not at all. */
import {randomUUID} from 'node:crypto';
import {rename, rm, writeFile} from 'node:fs/promises';

/** @throws where the folder does not exist or cannot be written; no part of the file is left behind. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, text);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, {force: true});
    throw new Error(
      `Cannot write '${path}' (${(error as Error).message}); give a path in an existing folder.`,
    );
  }
}
