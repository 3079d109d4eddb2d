/** `block-fusion profile` as a user runs it. */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {writeModel} from '../src/node_models.js';
import type {Comparison, Trace} from '../src/profile/index.js';
import {TestGraph} from './support/test_graph.js';

const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

function run(...args: readonly string[]): {status: number | null; out: string; err: string} {
  const options = {encoding: 'utf8', timeout: 100_000} as const;
  const {status, stdout, stderr} = spawnSync(process.execPath, [MAIN, 'profile', ...args], options);
  return {status, out: stdout, err: stderr};
}

describe('block-fusion profile', () => {
  let folder = '';
  let model = '';

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'profile-'));
    model = join(folder, 'small');
    const g = new TestGraph();
    g.input('x', [-1, 6, 6, 8]);
    await writeModel(model, g.artifacts([g.pointwise('project', g.depthwise('dw', 'x', 8), 8, 4)]));
  });
  afterAll(() => rmSync(folder, {recursive: true}));

  it('writes the page, the trace and the CSV, and the comparison as JSON on stdout', () => {
    const [page, trace, csv] = ['out.html', 'out.json', 'out.csv'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const files = ['--report', page, '--trace', trace, '--csv', csv];
    const {status, out, err} = run(model, '--batch', '2', '--repeats', '2', '--json', ...files);
    expect(status).withContext(err).toBe(0);
    const comparison = JSON.parse(out) as Comparison;
    expect(comparison.model).toBe('small');
    expect(comparison.blocks.map(({inputShape}) => inputShape)).toEqual([[2, 6, 6, 8]]);
    const kind = comparison.blocks[0]?.kind ?? 'none';
    expect(comparison.blocks[0]?.difference.relative).toBeLessThan(1e-5);
    expect(comparison.before.peaks?.waterline).toBeGreaterThan(0);
    expect(readFileSync(page, 'utf8')).toContain('<title>Profile of small</title>');
    const {traceEvents} = JSON.parse(readFileSync(trace, 'utf8')) as Trace;
    expect(traceEvents.some(({ph, cat}) => ph === 'X' && cat === 'block')).toBeTrue();
    expect(readFileSync(csv, 'utf8')).toContain(`${kind},true,2x6x6x8`);
    expect(readdirSync(folder).sort()).toEqual(['out.csv', 'out.html', 'out.json', 'small']);
  });

  it('prints a table with the adapter, and progress on stderr alone', () => {
    const {status, out, err} = run(model);
    expect(status).withContext(err).toBe(0);
    expect(out).toMatch(/^project +\w+ +1×6×6×8 +2 /m);
    expect(out).toContain('measured peaks, f32');
    expect(err).toContain('1 blocks fused');
  });

  it('ends in one clear line for what it cannot do', () => {
    for (const [args, status, says] of [
      [[model, '--batch', 'x'], 2, /--batch x is no whole number of at least 1/],
      [[], 2, /profile takes one MODEL/],
      [[join(folder, 'none')], 1, /There is no file/],
      [[model, '--report', join(folder, 'none', 'out.html')], 1, /there is no folder/],
      [[model, '--shape', 'y=1,6,6,8'], 1, /given for 'y'/],
    ] as const) {
      const result = run(...args);
      expect(result.status).withContext(result.err).toBe(status);
      expect(result.err.trim().split('\n').at(-1)).toMatch(says);
    }
  });
});
