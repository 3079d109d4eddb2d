/** What a file of results has to say of where it was made: commit, machine and versions. */
import {spawnSync} from 'node:child_process';
import {existsSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {cpus} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';

export interface About {
  readonly at: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
}

/** @param commit where the program does not run in its repository. */
export const about = (commit = commitHere()): About => ({
  at: new Date().toISOString(),
  commit,
  machine: machine(),
  versions: versions(),
});

/** In one piece, so that whoever stops the program finds all that was there until then. */
export function writeResults(path: string, results: object): void {
  writeFileSync(`${path}.part`, `${textOf(results)}\n`);
  renameSync(`${path}.part`, path);
}

/** JSON with a line for each object that holds none. Strings have no line ends of their own. */
const textOf = (results: object): string =>
  JSON.stringify(results, null, 1).replace(/\{[^{}]*\}|\[[^[\]{}]*\]/g, (leaf) =>
    leaf.replace(/\n\s*/g, ' '),
  );

/** What a command prints, or '' where there is none such. */
const printed = (file: string, args: readonly string[]): string => {
  const {status, stdout} = spawnSync(file, [...args], {encoding: 'utf8'});
  return status === 0 ? stdout.trim() : '';
};

function commitHere(): string {
  const root = fileURLToPath(new URL('../..', import.meta.url)); // From dist/benchmarks.
  const git = (...args: string[]): string => printed('git', ['-C', root, ...args]);
  return `${git('rev-parse', 'HEAD') || 'unknown'}${git('status', '--porcelain') ? ', with changes' : ''}`;
}

function versions(): Record<string, string> {
  const names = ['webgpu', '@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgpu'];
  const known = names.flatMap((name) => {
    const folders = createRequire(import.meta.url).resolve.paths(name) ?? [];
    const file = folders.map((folder) => join(folder, name, 'package.json')).find((path) => existsSync(path));
    return file ? [[name, (JSON.parse(readFileSync(file, 'utf8')) as {version: string}).version]] : [];
  });
  return {node: process.versions.node, ...(Object.fromEntries(known) as Record<string, string>)};
}

const machine = (): Record<string, string> => ({
  platform: `${process.platform} ${process.arch}`,
  cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
  gpuAndDriver: printed('nvidia-smi', ['--query-gpu=name,driver_version', '--format=csv,noheader']) || 'no nvidia-smi',
}); // prettier-ignore
