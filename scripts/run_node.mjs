/** Runs the compiled suites in this process with jasmine, and reports the counts to its parent. */
import {createRequire} from 'node:module';
import {SEED, SPEC_TIMEOUT_MS, testFiles} from './suites.mjs';

const Jasmine = createRequire(import.meta.url)('jasmine');
const counts = {passed: 0, failed: 0, skipped: 0};
const countKey = {passed: 'passed', failed: 'failed', pending: 'skipped'};

const files = testFiles({inBrowser: false});
const jasmine = new Jasmine();
jasmine.exitOnCompletion = false;
jasmine.loadConfig({
  spec_files: files,
  helpers: ['dist/test/support/node_setup.js'],
});
jasmine.randomizeTests(true);
jasmine.seed(SEED);
jasmine.jasmine.DEFAULT_TIMEOUT_INTERVAL = SPEC_TIMEOUT_MS;
jasmine.addReporter({
  specDone({status, fullName, duration, filename}) {
    const key = countKey[status];
    if (key) counts[key]++;
    seconds.set(filename, (seconds.get(filename) ?? 0) + duration / 1000);
    if (status === 'failed') console.log(`failed: ${fullName}`);
    if (duration > 10_000) console.log(`slow: ${(duration / 1000).toFixed(1)} s ${fullName}`);
  },
});

/** By test file. */
const seconds = new Map();

console.log(`${files.length} files, seed ${SEED}`);
const {overallStatus} = files.length ? await jasmine.execute() : {overallStatus: 'passed'};
// Errors outside of specs (a file that does not load, an afterAll) fail the run without failing a spec.
if (overallStatus !== 'passed' && counts.failed === 0) counts.failed = 1;
const slowest = [...seconds].sort(([, a], [, b]) => b - a).slice(0, 12);
for (const [file, time] of slowest)
  console.log(`${time.toFixed(0).padStart(4)} s ${file?.split('/dist/').at(-1)}`);
process.exitCode = counts.failed ? 1 : 0;
if (process.send) process.send(counts, () => process.exit());
