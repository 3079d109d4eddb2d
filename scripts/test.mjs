/**
 * The whole check, from a bare clone: installs what is missing, builds, lints, runs the suites in Node and in headless
 * Chromium, and closes with `N passed, N failed`. Only `node:` imports here: on a bare clone nothing else exists yet.
 *   --only=node|browser   one runner, no lint      --filter=TEXT   only test files whose path contains TEXT
 *   --seed=N              another order
 */
import {Buffer} from 'node:buffer';
import {fork} from 'node:child_process';
import {build, installChromium, installPackages, step} from './setup.mjs';

const flags = process.argv.slice(2);
const only = flags.find((flag) => flag.startsWith('--only='))?.slice('--only='.length);
const total = {passed: 0, failed: 0, skipped: 0};

/** A step that failed counts as one failure. */
function need(ok) {
  if (!ok) total.failed++;
  return ok;
}

/** A runner reports {passed, failed, skipped} as its one message; without it, it died. */
async function runSuites(script, {later} = {}) {
  const child = fork(`scripts/${script}`, flags, {execArgv: ['--enable-source-maps'], silent: later});
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => output.push(chunk));
  if (!later) console.log(`\n== ${script}`);
  let counts;
  child.on('message', (message) => (counts = message));
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (later) console.log(`\n== ${script}\n${Buffer.concat(output).toString()}`);
  for (const key of Object.keys(total)) total[key] += counts?.[key] ?? 0;
  if (!counts || (code !== 0 && counts.failed === 0)) {
    console.error(`== ${script} ended with exit code ${code} before it was done`);
    total.failed++;
  }
}

async function main() {
  if (!need(installPackages() && installChromium() && build())) return;
  if (!only) {
    need(step('eslint', process.execPath, ['node_modules/eslint/bin/eslint.js', '.']));
    need(step('prettier', process.execPath, ['node_modules/prettier/bin/prettier.cjs', '--check', '.']));
  }
  // At the same time: either mostly waits for one core, which compiles shaders. The browser's output follows as a whole.
  await Promise.all([
    only === 'browser' ? undefined : runSuites('run_node.mjs'),
    only === 'node' ? undefined : runSuites('run_browser.mjs', {later: only !== 'browser'}),
  ]);
}

await main();
const skipped = total.skipped ? `, ${total.skipped} skipped` : '';
console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed ? 1 : 0;
