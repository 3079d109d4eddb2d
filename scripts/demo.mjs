/** `npm run demo`, from a bare clone: installs what is missing, builds, and runs the compiled benchmarks/demo.ts. */
import {spawnSync} from 'node:child_process';
import {build, hasGPU, installChromium, installPackages} from './setup.mjs';

const ready = installPackages() && (hasGPU() || installChromium()) && build();
const demo = ['--enable-source-maps', 'dist/benchmarks/demo.js', ...process.argv.slice(2)];
process.exitCode = ready ? (spawnSync(process.execPath, demo, {stdio: 'inherit'}).status ?? 1) : 1;
