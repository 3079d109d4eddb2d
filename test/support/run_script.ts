/** A script of this project in a process of its own, which Dawn needs for other flags than the tests'. */
import {spawnSync} from 'node:child_process';
import {fileURLToPath} from 'node:url';

/** Shaders are written out by the megabyte. */
const MOST_OUTPUT = 2 ** 28;

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  /** stdout and stderr. */
  readonly output: string;
}

/** @param script its path from dist/test. */
export function runScript(script: string, args: readonly string[] = []): Ended {
  const path = fileURLToPath(new URL(`../${script}`, import.meta.url)); // From dist/test/support.
  const {status, stdout, stderr} = spawnSync(process.execPath, [path, ...args], {
    encoding: 'utf8',
    timeout: 300_000,
    maxBuffer: MOST_OUTPUT,
  });
  return {status, stdout, output: stdout + stderr};
}
