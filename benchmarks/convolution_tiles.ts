/**
 * Full convolutions of networks in every form, in a few tiles each: checks each result against tf.conv2d on the same device, then
 * times it by timestamps.
 *   node dist/benchmarks/convolution_tiles.js [--batches=1,8,32] [--networks=a,b] [--size=224] [--implicit=5] [--winograd=3]
 *     [--out=FILE] [--check]
 * --implicit and --winograd say how many tiles of each form are tried, those of least estimate first; --most=MINUTES ends it early;
 * --check compares and times nothing, which a CPU that plays the GPU would take hours for.
 * TFLOP/s are those of the convolution as defined, 2 · taps · C · N a pixel, for every form. --out has
 * {form, input, shape, kernel, stride, m, n, k, tile, us, parts, estimate, difference} a row, which fit_tiles.py reads: `us` of all
 * dispatches, `parts` of each, `difference` the largest over the largest value of tf.conv2d.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Plan} from '../kernels/plan.js';
import {executePlan, pipelinesOf} from '../kernels/webgpu/execute.js';
import {
  convolutionCandidates,
  type ConvolutionProblem,
  type ConvolutionTile,
  convolutionTile,
  estimateConvolution,
  implicitProduct,
  isWinograd,
  WINOGRAD_SIDES,
  winogradProduct,
} from '../kernels/webgpu/convolution_tiling.js';
import {limitsOf} from '../kernels/webgpu/index.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {tilingFor} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {findArchitecture, makeNetwork} from '../models/index.js';
import {traceNetwork} from '../models/trace.js';
import {LINEAR, type Shape4D, type SpatialStage} from '../ops/index.js';
import {resolvePad} from '../ops/shapes.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {drawn, largestOf, timesOf, warmUp} from './timed_plans.js';
import {EXACT_TIMESTAMPS, GpuTimer} from './timing.js';

const {values} = parseArgs({
  options: {
    batches: {type: 'string', default: '1,8,32'},
    networks: {type: 'string', default: 'resnet50,resnet18,efficientnetv2_s,mobilenetv2'},
    size: {type: 'string', default: '224'},
    implicit: {type: 'string', default: '5'},
    winograd: {type: 'string', default: '3'},
    most: {type: 'string', default: '3.5'},
    out: {type: 'string'},
    check: {type: 'boolean', default: false},
  },
});
const started = performance.now();
const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1);
const adapter = await useNodeWebGPU({
  flags: EXACT_TIMESTAMPS,
});
// Small tensors would otherwise be computed on the CPU.
tf.env().set('WEBGPU_CPU_FORWARD', false);
const backend = tf.backend() as WebGPUBackend;
const {device} = backend;
const limits = limitsOf(device);
console.log(JSON.stringify({adapter, ...limits}));
const pipelines = pipelinesOf(device);
const timer = new GpuTimer(device);

interface Convolution {
  readonly name: string;
  readonly stage: SpatialStage;
  readonly input: Shape4D;
  readonly problem: ConvolutionProblem;
}

interface Job extends Convolution {
  readonly tiles: readonly ConvolutionTile[];
  readonly plans: readonly Plan[];
}

/** The distinct full convolutions of a window, each by the first network that has it. */
function convolutions(): Convolution[] {
  const size = Number(values.size);
  const found = new Map<string, Convolution>();
  for (const network of values.networks.split(',')) {
    const units = traceNetwork(makeNetwork(findArchitecture(network)), [1, size, size, 3]);
    for (const {layer, input, output} of units.flatMap(({layers}) => layers)) {
      const {stage} = layer;
      if (stage.op !== 'spatial' || stage.group !== input[3] || stage.kernel.every((side) => side === 1)) continue; // prettier-ignore
      for (const batch of values.batches.split(',').map(Number)) {
        const atBatch = ([, h, w, c]: Shape4D): Shape4D => [batch, h, w, c];
        const {kernel, stride, dilation} = stage;
        const problem = {input: atBatch(input), shape: atBatch(output), kernel, stride, dilation, isHalf: false}; // prettier-ignore
        const key = JSON.stringify([problem, resolvePad(stage, input)]);
        if (!found.has(key)) found.set(key, {name: network, stage, input: problem.input, problem});
      }
    }
  }
  return [...found.values()];
}

const tileText = ({TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS}: ConvolutionTile): string =>
  [TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS].join('.');

/** `winograd 4` is F(4×4, 3×3). */
const formOf = ({WINOGRAD}: ConvolutionTile): string => (WINOGRAD ? `winograd ${WINOGRAD}` : 'implicit');

/** The tiles of least estimate of one form; of those that differ in PARTS alone only the first. */
function tilesToTry(
  problem: ConvolutionProblem,
  side: ConvolutionTile['WINOGRAD'],
  count: number,
): ConvolutionTile[] {
  const sizesOf = (tile: ConvolutionTile): string => tileText({...tile, PARTS: 1});
  const ranked = convolutionCandidates(problem, limits)
    .filter(({WINOGRAD}) => WINOGRAD === side)
    .map((tile) => ({tile, estimate: estimateConvolution(tile, problem, limits)}))
    .sort((a, b) => a.estimate - b.estimate)
    .map(({tile}) => tile);
  return ranked
    .filter((tile, at) => ranked.findIndex((other) => sizesOf(other) === sizesOf(tile)) === at)
    .slice(0, count);
}

function jobOf(convolution: Convolution): Job {
  const {stage, input, problem} = convolution;
  const tiles = [
    ...tilesToTry(problem, 0, Number(values.implicit)),
    ...WINOGRAD_SIDES.flatMap((side) => tilesToTry(problem, side, Number(values.winograd))),
  ];
  const block = {kind: 'BlockConv', stages: [{...stage, name: 'spatial', bias: true, activation: LINEAR}]};
  const plans = tiles.map((tile) =>
    lowerBlock(block, input, {...tilingFor(limits), convolution: () => tile}),
  );
  return {...convolution, tiles, plans};
}

/** Largest difference of each plan's output from tf.conv2d, over the largest value there. */
async function differences({stage, input, plans}: Job): Promise<number[]> {
  const [kh, kw] = stage.kernel;
  const filterShape: [number, number, number, number] = [kh, kw, input[3], stage.channels];
  const filter = drawn(filterShape, 1, Math.sqrt(3 / (kh * kw * input[3])));
  const bias = drawn([stage.channels], 2, 1);
  const weights = new Map([['spatialFilter', filter], ['spatialBias', bias]]); // prettier-ignore
  const x = tf.tensor4d(drawn(input, 3, 1), [...input]);
  const [top, bottom, left, right] = resolvePad(stage, input);
  const expected = tf.tidy(() => {
    const padding: [[number, number], [number, number], [number, number], [number, number]] = [[0, 0], [top, bottom], [left, right], [0, 0]]; // prettier-ignore
    const sums = tf.conv2d(x, tf.tensor4d(filter, filterShape), [...stage.stride], padding);
    return tf.add(sums, tf.tensor1d(bias));
  });
  const scale = await largestOf(expected);
  const packed = new Map<string, tf.Tensor>();
  // Kept to the end, so that none gets a buffer in which the right answer already is.
  const outputs: tf.Tensor[] = [];
  const found: number[] = [];
  for (const plan of plans) {
    const key = JSON.stringify(plan.weights);
    const own = packed.get(key) ?? tf.tensor1d(packOnHost(plan.weights, weights));
    packed.set(key, own);
    const y = tf.engine().makeTensorFromTensorInfo(executePlan(backend, plan, {x, weights: own}));
    outputs.push(y);
    const apart = tf.sub(y, expected);
    found.push((await largestOf(apart)) / scale);
    apart.dispose();
  }
  tf.dispose([x, expected, ...outputs, ...packed.values()]);
  return found;
}

const rows: Record<string, unknown>[] = [];

async function measure(job: Job): Promise<number> {
  const {name, problem, stage, tiles} = job;
  const {input, shape, kernel, stride} = problem;
  const apart = await differences(job);
  const timed = values.check ? [] : await timesOf(job.plans, {device, pipelines, timer});
  const operations = 2 * shape[0] * shape[1] * shape[2] * shape[3] * kernel[0] * kernel[1] * input[3];
  const measured = tiles.map((tile, at) => {
    const {us, parts} = timed[at] ?? {us: NaN, parts: []};
    const difference = apart[at] ?? Infinity;
    const product = isWinograd(tile) ? winogradProduct(problem, tile) : implicitProduct(problem);
    const estimate = estimateConvolution(tile, problem, limits);
    const form = formOf(tile);
    rows.push({form, input, shape, kernel, stride, ...product, tile: tileText(tile), us, parts, estimate, difference}); // prettier-ignore
    return {tile, us, parts, difference, rate: operations / us / 1e6};
  });
  const lineOf = (form: string): string[] => {
    const own = measured.filter(({tile}) => formOf(tile) === form).sort((a, b) => a.us - b.us);
    const shown = own.map(({tile, us, parts, rate}) => {
      if (values.check) return tileText(tile);
      const each = parts.length > 1 ? ` (${parts.map((part) => part.toFixed(1)).join(' + ')})` : '';
      return `${tileText(tile)} ${us.toFixed(1)}us${each} ${rate.toFixed(1)}T`;
    });
    return own.length > 0 ? [`  ${form}: ${shown.join(' | ')}`] : [];
  };
  const worst = Math.max(...apart);
  const chosen = formOf(convolutionTile(problem, limits));
  console.log(
    [
      `${name} [${input.join(', ')}] → [${shape.join(', ')}] ${kernel.join('×')} stride ${stage.stride[0]}: worst difference ${worst.toExponential(1)}, chosen ${chosen}`,
      ...['implicit', 'winograd 2', 'winograd 4'].flatMap(lineOf),
    ].join('\n'),
  );
  return worst;
}

const jobs = convolutions().map(jobOf);
await pipelines.prepare(jobs.flatMap(({plans}) => plans.flatMap(({dispatches}) => dispatches)));
console.log(`${jobs.length} convolutions, compiled after ${seconds()} s`);
const [first] = jobs;
if (!first) throw new Error('The networks have no full convolution.');
if (!values.check) await warmUp(first.plans[0], {device, pipelines, timer});
let worst = 0;
let done = 0;
for (const job of jobs) {
  if (performance.now() - started > 60_000 * Number(values.most)) break;
  worst = Math.max(worst, await measure(job));
  done++;
}
console.log(`${done} of ${jobs.length} after ${seconds()} s; largest difference from tf.conv2d ${worst.toExponential(2)}`); // prettier-ignore
if (values.out) writeFileSync(values.out, JSON.stringify({adapter, limits, rows}));
adapter.dispose();
process.exit(worst < 1e-4 ? 0 : 1);
