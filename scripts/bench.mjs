/** `npm run bench -- NAME …`: installs what is missing, builds, and runs the compiled benchmarks/NAME.ts. */
import {spawnSync} from 'node:child_process';
import {existsSync} from 'node:fs';
import {build, hasGPU, installChromium, installPackages} from './setup.mjs';

const [name = 'peers', ...rest] = process.argv.slice(2);
const program = `dist/benchmarks/${name}.js`;
const ready = installPackages() && (hasGPU() || installChromium()) && build();
if (ready && !existsSync(program)) console.error(`There is no benchmarks/${name}.ts.`);
const run = ['--enable-source-maps', program, ...rest];
process.exitCode =
  ready && existsSync(program) ? (spawnSync(process.execPath, run, {stdio: 'inherit'}).status ?? 1) : 1;
