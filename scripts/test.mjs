/**
 * The whole check, from a bare clone: installs what is missing, builds, lints, runs the suites in Node and in headless
 * Chromium, and closes with `N passed, N failed`. Only `node:` imports here: on a bare clone nothing else exists yet.
 *   --only=node|browser   one runner, no lint      --filter=TEXT   only test files whose path contains TEXT
 *   --seed=N              another order
 */
import {fork, spawnSync} from 'node:child_process';
import {existsSync, readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const flags = process.argv.slice(2);
const only = flags.find((flag) => flag.startsWith('--only='))?.slice('--only='.length);
process.env.DEBIAN_FRONTEND ??= 'noninteractive';
const total = {passed: 0, failed: 0, skipped: 0};

function step(name, command, args) {
  console.log(`\n== ${name}`);
  const ok = spawnSync(command, args, {stdio: 'inherit'}).status === 0;
  if (!ok) {
    console.error(`== ${name} failed`);
    total.failed++;
  }
  return ok;
}

/** node_modules as npm left it, against what the lock file wants; packages for other platforms are optional. */
function isInstalled() {
  const installed = 'node_modules/.package-lock.json';
  if (!existsSync(installed)) return false;
  const [want, have] = ['package-lock.json', installed].map(
    (file) => JSON.parse(readFileSync(file, 'utf8')).packages,
  );
  return Object.entries(want).every(
    ([path, {version, optional}]) => path === '' || optional || have[path]?.version === version,
  );
}

function findChromium() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const folders = (process.env.PATH ?? '').split(':');
  const candidates = [
    process.env.CHROME_BIN,
    ...names.flatMap((name) => folders.map((folder) => `${folder}/${name}`)),
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ];
  return candidates.find((path) => path && existsSync(path));
}

/** Chromium is both the browser of the browser suites and, through its SwiftShader, the GPU of a machine without one. */
function installChromium() {
  const apt = spawnSync('apt-get', ['--version']).status === 0 && process.getuid?.() === 0;
  if (!apt) {
    console.error('No Chromium or Chrome found. Install one, or set CHROME_BIN to its executable.');
    total.failed++;
    return false;
  }
  return (
    step('apt-get update', 'apt-get', ['update', '-qq']) &&
    step('apt-get install chromium', 'apt-get', [
      'install',
      '-qq',
      '-y',
      '--no-install-recommends',
      'chromium',
    ])
  );
}

/** A runner reports {passed, failed, skipped} as its one message; without it, it died. */
async function runSuites(script) {
  console.log(`\n== ${script}`);
  const child = fork(`scripts/${script}`, flags, {execArgv: ['--enable-source-maps']});
  let counts;
  child.on('message', (message) => (counts = message));
  const code = await new Promise((resolve) => child.on('close', resolve));
  for (const key of Object.keys(total)) total[key] += counts?.[key] ?? 0;
  if (!counts || (code !== 0 && counts.failed === 0)) {
    console.error(`== ${script} ended with exit code ${code} before it was done`);
    total.failed++;
  }
}

async function main() {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  if (!isInstalled() && !step('npm ci', npm, ['ci', '--no-audit', '--no-fund'])) return;
  if (!findChromium() && !installChromium()) return;
  process.env.CHROME_BIN = findChromium();
  if (!step('build', process.execPath, ['node_modules/typescript/bin/tsc', '--build'])) return;
  if (!only) {
    step('eslint', process.execPath, ['node_modules/eslint/bin/eslint.js', '.']);
    step('prettier', process.execPath, ['node_modules/prettier/bin/prettier.cjs', '--check', '.']);
  }
  if (only !== 'browser') await runSuites('run_node.mjs');
  if (only !== 'node') await runSuites('run_browser.mjs');
}

await main();
const skipped = total.skipped ? `, ${total.skipped} skipped` : '';
console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed ? 1 : 0;
