/** Rows as a profiler could have measured them, for the outputs that are pure functions of rows. */
import type {
  BlockComparison,
  Comparison,
  OpRow,
  Peaks,
  Profile,
  SideTiming,
} from '../../src/profile/index.js';
import {totalsOf} from '../../src/profile/profile.js';

const span = (start: number, duration: number): {start: number; duration: number} => ({start, duration});

export function row(name: string, op: string, changes: Partial<OpRow> = {}): OpRow {
  const {macs = 1000, bytes = 500} = changes;
  return {
    name,
    op,
    isBlock: false,
    inputShapes: [[1, 8, 8, 4]],
    weightShapes: [],
    outputShapes: [[1, 8, 8, 4]],
    dispatches: 1,
    gpuMs: 0.5,
    wallMs: 0.9,
    hostMs: 0.2,
    macs,
    bytes,
    intensity: (2 * macs) / bytes,
    cpu: span(10, 0.2),
    gpu: span(10.25, 0.5),
    ...changes,
  };
}

/** 1 Gop/s and 0.1 GB/s: the waterline is at 10 operations per byte. */
export const PEAKS: Peaks = {
  operationsPerSecond: 1e9,
  bytesPerSecond: 1e8,
  waterline: 10,
  timer: 'timestamp-query',
  timestampStepNs: 1,
  compute: [],
  copy: [],
};

export function makeProfile(model: string, rows: readonly OpRow[], changes: Partial<Profile> = {}): Profile {
  const adapter = {backend: 'webgpu', name: 'acme gpu', isSoftware: false, timer: 'timestamp-query'} as const;
  return {
    model,
    adapter,
    repeats: 5,
    warmup: 1,
    rows,
    totals: totalsOf(rows),
    peaks: PEAKS,
    warnings: [],
    ...changes,
  };
}

const side = (dispatches: number, ms: number): SideTiming => ({
  dispatches,
  gpu: {median: ms, low: ms * 0.9, high: ms * 1.1},
  wall: {median: ms * 2, low: ms, high: ms * 3},
});

export const BLOCK: BlockComparison = {
  name: 'stage/block_1/add',
  kind: 'BlockMBConv',
  input: 'stem',
  inputShape: [1, 8, 8, 4],
  outputShape: [1, 8, 8, 4],
  replaced: ['expand', 'depthwise', 'project'],
  before: side(3, 1.5),
  after: side(1, 0.5),
  speedup: {median: 3, low: 2.5, high: 3.5},
  macs: 123_456,
  bytesByStage: 20_000,
  bytesFused: 5000,
  difference: {name: 'stage/block_1/add', shape: [1, 8, 8, 4], absolute: 1.5e-6, relative: 3e-7},
};

export function makeComparison(changes: Partial<Comparison> = {}): Comparison {
  const before = makeProfile('net, op by op', [
    row('stem', 'Conv2D'),
    row('expand', 'Conv2D', {macs: 5000}),
    row('depthwise', 'DepthwiseConv2dNative'),
    row('project', 'Conv2D'),
  ]);
  const after = makeProfile('net, fused', [
    row('stem', 'Conv2D'),
    row('stage/block_1/add', 'BlockMBConv', {isBlock: true, macs: 7000}),
  ]);
  return {
    model: 'net',
    adapter: before.adapter,
    repeats: 5,
    before,
    after,
    blocks: [BLOCK],
    total: {before: side(4, 2), after: side(2, 1), speedup: {median: 2, low: 1.8, high: 2.2}},
    outputs: [{name: 'scores', shape: [1, 5], absolute: 1e-7, relative: 2e-7}],
    classes: {before: [{label: 'cat', score: 0.75}], after: [{label: 'cat', score: 0.7501}]},
    warnings: [],
    ...changes,
  };
}
