/** Bundles the compiled suites that a browser can run, runs them in headless Chromium, and reports the counts. */
import {resolve} from 'node:path';
import {build} from 'esbuild';
import karma from 'karma';
import {BUNDLE} from '../karma.conf.js';
import {SEED, testFiles} from './suites.mjs';

const SETUP = 'dist/test/support/browser_setup.js';

async function bundle(files) {
  const {metafile} = await build({
    stdin: {contents: [SETUP, ...files].map((file) => `import './${file}';`).join('\n'), resolveDir: '.'},
    outfile: BUNDLE,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'chrome120',
    sourcemap: 'inline',
    metafile: true,
    logLevel: 'warning',
  });
  // Two copies of tfjs-core have two engines: a tensor of one is unknown to the other.
  const cores = Object.keys(metafile.inputs).filter((path) =>
    /tfjs-core\/dist\/(index|tf-core[^/]*)\.js$/.test(path),
  );
  if (cores.length > 1) throw new Error(`The bundle holds tfjs-core more than once: ${cores.join(', ')}`);
}

/** @returns {Promise<{passed: number, failed: number, skipped: number}>} */
async function runKarma() {
  const file = resolve('karma.conf.js');
  const config = await karma.config.parseConfig(file, {}, {promiseConfig: true, throwErrors: true});
  return new Promise((settle) => {
    const counts = {passed: 0, failed: 0, skipped: 0};
    const server = new karma.Server(config, (exitCode) => {
      // A crash, a timeout or an error outside of specs fails the run without failing a spec.
      if (exitCode !== 0 && counts.failed === 0) counts.failed = 1;
      settle(counts);
    });
    server.on('spec_complete', (_browser, {success, skipped}) => {
      counts[skipped ? 'skipped' : success ? 'passed' : 'failed']++;
    });
    void server.start();
  });
}

const files = testFiles({inBrowser: true});
console.log(`${files.length} files, seed ${SEED}`);
let counts = {passed: 0, failed: 0, skipped: 0};
if (files.length) {
  await bundle(files);
  counts = await runKarma();
}
process.exitCode = counts.failed ? 1 : 0;
if (process.send) process.send(counts, () => process.exit());
