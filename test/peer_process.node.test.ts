import {type Outcome, reasonIn, runBatches, type Values} from '../benchmarks/peer_process.js';
import {type PeerRow, peerTable} from '../benchmarks/peer_table.js';

/** Gives a row for each batch, dies at 2, is silent at 3. */
const PROGRAM = `
  console.log(JSON.stringify({about: {device: 'none'}}));
  const next = ([batch, ...rest]) => {
    if (batch === 2) throw new RangeError('two is too many');
    if (batch === 3) return setInterval(() => {}, 1000);
    console.log('not a row');
    console.log(JSON.stringify({batch, wallMs: 10 * batch}));
    if (rest.length > 0) next(rest);
  };
  next(process.argv[1].split(',').map(Number));
`;

describe('Programs that time a peer', () => {
  it('lose no row to a batch that fails or hangs', async () => {
    const outcomes: Outcome[] = [];
    const abouts: Values[] = [];
    await runBatches({
      batches: [1, 2, 3, 4],
      limitSeconds: 2,
      command: (batches) => ({file: process.execPath, args: ['-e', PROGRAM, batches.join()]}),
      onAbout: (about) => abouts.push(about),
      onOutcome: (outcome) => outcomes.push(outcome),
    });
    expect(outcomes).toEqual([
      {batch: 1, values: {wallMs: 10}},
      {batch: 2, failure: 'RangeError: two is too many'},
      {batch: 3, failure: 'no row within 2 s'},
      {batch: 4, values: {wallMs: 40}},
    ]);
    expect(abouts).toEqual([{device: 'none'}, {device: 'none'}, {device: 'none'}]);
  }, 30_000);

  it('say why they cannot start', async () => {
    const outcomes: Outcome[] = [];
    await runBatches({
      batches: [8],
      limitSeconds: 10,
      command: () => ({file: '/nowhere/python3', args: []}),
      onAbout: () => undefined,
      onOutcome: (outcome) => outcomes.push(outcome),
    });
    expect(outcomes[0]?.failure).toContain('ENOENT');
  });

  it('give the line that names the error', () => {
    expect(reasonIn('Traceback\n  File "x"\ntorch.OutOfMemoryError: CUDA out of memory\n\n')).toBe(
      'torch.OutOfMemoryError: CUDA out of memory',
    );
    expect(reasonIn('    throw new Error(x)\nError: no GPU\n    at main\n}\n\nNode.js v20\n')).toBe(
      'Error: no GPU',
    );
    expect(reasonIn('\n')).toBeUndefined();
  });

  it('leave n/a and a reason in the table', () => {
    const rows: PeerRow[] = [1, 8].map((batch) => ({
      network: 'net',
      batch,
      values: {ours: {fusedReplayMs: 1.234, fusedGpuMs: 123.4, stockError: 'grouped'}},
      failures: {ort: 'not installed'},
    }));
    const table = peerTable(rows);
    expect(table).toMatch(/\| net +\| 1 +\| n\/a +\| n\/a +\| 1\.23 \/ 123 +\| n\/a/);
    expect(table).toContain('n/a net 1, net 8 — ort: not installed');
    expect(table).toContain('n/a net 1, net 8 — stock: grouped');
    expect(table).not.toContain('fused f16'); // Nobody asked for it.
  });
});
