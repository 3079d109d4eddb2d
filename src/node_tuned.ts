/** Tuned files in Node. */
import {readFile} from 'node:fs/promises';
import {tunedOf} from '../kernels/webgpu/index.js';
import type {LoadOutcome} from '../kernels/webgpu/tuned.js';
import {writeWhole} from './cli/write_file.js';
import {currentWebGPU} from './tune/measure_device.js';
import {loadTuned} from './tune/store.js';

/** As loadTuned of the file's text; a file that is not there or cannot be read is ignored with a warning like any other. */
export async function readTuned(path: string): Promise<LoadOutcome> {
  try {
    return await loadTuned(await readFile(path, 'utf8'));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    const reason = `'${path}' cannot be read (${error.message})`;
    console.warn(`readTuned: ${reason}; blocks are planned by estimate.`);
    return {kind: 'ignored', reason};
  }
}

/** What is known of the current device, as JSON. The file appears whole or not at all. @throws where it cannot be written. */
export async function writeTuned(path: string): Promise<void> {
  const {device} = currentWebGPU('writeTuned');
  await writeWhole(path, `${JSON.stringify(tunedOf(device), undefined, 1)}\n`);
}
