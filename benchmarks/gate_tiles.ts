/**
 * Squeeze-and-excite gates in each form and tile (kernels/webgpu/gate_tiling.ts): GPU time from the depth-wise convolution
 * to the end of the block, for the gated blocks of EfficientNet-B0 and MobileNetV3-L; the outputs are compared.
 *   node dist/benchmarks/gate_tiles.js [--batches=1,8,32] [--blocks=TEXT] [--every=1] [--seconds=50] [--out=FILE]
 * --blocks: only those with TEXT in their name. --every: of the tiles, each so many'th. No block is begun after --seconds.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import type {Dispatch, Plan} from '../kernels/plan.js';
import {sameTile} from '../kernels/webgpu/candidates.js';
import {
  formOfGate,
  gateCost,
  gateCandidates,
  type GateProblem,
  type GateTile,
  isInProduct,
} from '../kernels/webgpu/gate_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {tilingFor} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {type Block, type Shape4D, traceBlock} from '../ops/index.js';
import {gateStage, pointwiseStage, spatialStage} from '../ops/stages/make.js';
import {seededRandom} from '../test/support/random.js';
import {atBatch, type NetworkBlock, NETWORKS} from './networks.js';
import {differenceOf, openBench, outputOf} from './tile_bench.js';
import {PlanBuffers, recordedOf} from './timing.js';

const {values} = parseArgs({
  options: {
    batches: {type: 'string', default: '1,8,32'},
    blocks: {type: 'string', default: ''},
    every: {type: 'string', default: '1'},
    seconds: {type: 'string', default: '50'},
    out: {type: 'string'},
  },
});
const deadline = performance.now() + 1000 * Number(values.seconds);
const {adapter, device, limits, pipelines, timer} = await openBench();
const base = tilingFor(limits);

/** Map, channels, squeezed channels, kernel, stride. */
const MOBILENET_V3_L = [[56, 72, 24, 5, 2], [28, 120, 32, 5, 1], [14, 480, 120, 3, 1], [14, 672, 168, 3, 1], [14, 672, 168, 5, 2], [7, 960, 240, 5, 1]] as const; // prettier-ignore

const gated: readonly NetworkBlock[] = [
  ...(NETWORKS['efficientnet_b0'] ?? []),
  ...MOBILENET_V3_L.map(([size, channels, reduced, kernel, stride]): NetworkBlock => {
    const spatial = spatialStage('spatial', {kernel, stride, group: 1, channels, activation: 'hardswish'});
    const stages = [spatial, gateStage(reduced, 'relu', 'hardsigmoid'), pointwiseStage('project', 40)];
    const block: Block = {kind: 'BlockMBConv', stages};
    return {name: `v3 ${size}² ${channels} k${kernel}s${stride}`, block, input: [1, size, size, channels], count: 1}; // prettier-ignore
  }),
];

interface Row {
  readonly block: string;
  readonly problem: GateProblem;
  readonly tile: GateTile;
  readonly chosen: boolean;
  readonly microseconds: number;
  /** Of the gate by itself; 0 where it is no dispatch. */
  readonly gateMicroseconds: number;
  readonly estimate: number;
  /** Largest difference of the outputs from those of the first tile, relative to the largest. */
  readonly difference: number;
}

interface Candidate {
  readonly tile: GateTile;
  readonly plan: Plan;
  /** From the depth-wise convolution on. */
  readonly dispatches: readonly Dispatch[];
}

function planWith(
  block: Block,
  input: Shape4D,
  tile?: GateTile,
): {plan: Plan; problem: GateProblem; tile: GateTile} {
  let posed: GateProblem | undefined;
  let used: GateTile | undefined;
  const gate = (problem: GateProblem): GateTile => {
    posed = problem;
    return (used = tile ?? base.gate(problem));
  };
  const plan = lowerBlock(block, input, {...base, gate});
  if (!posed || !used) throw new Error('The block has no gate.');
  return {plan, problem: posed, tile: used};
}

function candidatesFor(
  block: Block,
  input: Shape4D,
): {problem: GateProblem; candidates: readonly Candidate[]} {
  const {problem, tile: chosen} = planWith(block, input);
  const others = gateCandidates(problem, limits).filter((tile) => !sameTile({...tile}, {...chosen}));
  const every = Number(values.every);
  const tiles = [chosen, ...others.filter((tile, at) => at % every === 0 || isInProduct(tile))];
  const candidates = tiles.map((tile) => {
    const {plan} = planWith(block, input, tile);
    const at = plan.dispatches.findIndex(({constants}) => constants['HAS_SUMS'] === true);
    return {tile, plan, dispatches: plan.dispatches.slice(at)};
  });
  return {problem, candidates};
}

async function measure(block: NetworkBlock, input: Shape4D): Promise<readonly Row[]> {
  const {problem, candidates} = candidatesFor(block.block, input);
  await pipelines.prepare(candidates.flatMap(({dispatches}) => dispatches));
  const next = seededRandom(3);
  const weights = new Map(
    traceBlock(block.block, input).weights.map(({name, shape}) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, Float32Array.from({length: size}, () => next() - 0.5)] as const;
    }),
  );
  let expected: Float32Array | undefined;
  const rows: Row[] = [];
  for (const [at, {tile, plan, dispatches}] of candidates.entries()) {
    const buffers = new PlanBuffers(device, plan, {weights: packOnHost(plan.weights, weights)});
    const sequence = dispatches.map((dispatch) => recordedOf(device, pipelines, dispatch, buffers));
    if (at === 0) await timer.microseconds(sequence, {samples: 3, milliseconds: 40});
    const microseconds = await timer.microseconds(sequence, {samples: 5, milliseconds: 1});
    const gate = isInProduct(tile) ? [] : sequence.slice(1, 2);
    const gateMicroseconds =
      gate.length > 0 ? await timer.microseconds(gate, {samples: 3, milliseconds: 0.5}) : 0;
    const out = await outputOf(device, [], buffers.get('out'));
    expected ??= out;
    const difference = differenceOf(expected, out);
    const estimate = gateCost(tile, problem, limits.processors);
    rows.push({block: block.name, problem, tile, chosen: at === 0, microseconds, gateMicroseconds, estimate, difference}); // prettier-ignore
    buffers.destroy();
  }
  return rows;
}

const textOf = ({tile, microseconds, gateMicroseconds, chosen}: Row): string =>
  `${chosen ? '*' : ''}${formOfGate(tile)} ${isInProduct(tile) ? '' : `${tile.WORKGROUP}×${tile.SHARES} `}${microseconds.toFixed(2)} (${gateMicroseconds.toFixed(2)})`; // prettier-ignore

const all: Row[] = [];
for (const batch of values.batches.split(',').map(Number)) {
  for (const block of gated) {
    if (!block.name.includes(values.blocks) || performance.now() > deadline) continue;
    const rows = [...(await measure(block, atBatch(block.input, batch)))].sort(
      (a, b) => a.microseconds - b.microseconds,
    );
    all.push(...rows);
    const worst = Math.max(...rows.map(({difference}) => difference));
    const shown = rows.filter(({chosen, tile}, at) => at < 4 || chosen || tile === rows.find((one) => formOfGate(one.tile) === formOfGate(tile))?.tile); // prettier-ignore
    console.log(
      `b${batch} ${block.name}: ${shown.map(textOf).join(' | ')} | difference ${worst.toExponential(1)}`,
    );
    if (values.out) writeFileSync(values.out, JSON.stringify({adapter, limits, rows: all}));
  }
}
adapter.dispose();
process.exit(0);
