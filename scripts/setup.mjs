/**
 * What a bare clone lacks before anything of it can run: packages, a browser, the build. Only `node:` imports here: nothing
 * else exists yet. Importing it makes the repository's root the current folder.
 */
import {spawnSync} from 'node:child_process';
import {existsSync, readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
process.env.DEBIAN_FRONTEND ??= 'noninteractive';

/** Runs a command, its output on stderr so that stdout holds results alone. @returns whether it succeeded. */
export function step(name, command, args) {
  console.error(`\n== ${name}`);
  const ok = spawnSync(command, args, {stdio: ['inherit', 2, 2]}).status === 0;
  if (!ok) console.error(`== ${name} failed`);
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

export function installPackages() {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  return isInstalled() || step('npm ci', npm, ['ci', '--no-audit', '--no-fund']);
}

export const build = () => step('build', process.execPath, ['node_modules/typescript/bin/tsc', '--build']);

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

/**
 * Chromium is both the browser of the browser suites and, through its SwiftShader, the GPU of a machine without one. Sets
 * CHROME_BIN. @returns whether there is one now.
 */
export function installChromium() {
  if (!findChromium()) {
    const apt = spawnSync('apt-get', ['--version']).status === 0 && process.getuid?.() === 0;
    if (!apt) {
      console.error('No Chromium or Chrome found. Install one, or set CHROME_BIN to its executable.');
      return false;
    }
    const install = ['install', '-qq', '-y', '--no-install-recommends', 'chromium'];
    if (!step('apt-get update', 'apt-get', ['update', '-qq'])) return false;
    if (!step('apt-get install chromium', 'apt-get', install)) return false;
  }
  process.env.CHROME_BIN = findChromium();
  return process.env.CHROME_BIN !== undefined;
}

/** On Linux a GPU shows as a device node; macOS and Windows bring a driver of their own. */
export const hasGPU = () =>
  process.platform !== 'linux' || ['/dev/dri', '/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg'].some(existsSync);
