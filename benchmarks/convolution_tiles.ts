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
import type {Plan} from '../kernels/plan.js';
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
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {tilingFor} from '../kernels/webgpu/tiling.js';
import type {Shape4D, SpatialStage} from '../ops/index.js';
import {resolvePad} from '../ops/shapes.js';
import {atBatch} from './networks.js';
import {
  differencesFrom,
  drawn,
  type Measured,
  type NetworkConvolution,
  networkConvolutions,
  openBench,
  sweepJobs,
} from './tile_bench.js';
import {tileText} from './tile_text.js';

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
const bench = await openBench();
const {adapter, backend, limits} = bench;

interface Job {
  readonly network: string;
  readonly stage: SpatialStage;
  readonly problem: ConvolutionProblem;
  readonly tiles: readonly ConvolutionTile[];
  readonly plans: readonly Plan[];
}

const isFull = (stage: SpatialStage, input: Shape4D): boolean =>
  stage.group === input[3] && stage.kernel.some((side) => side > 1);

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

function jobOf({network, stage, input, output}: NetworkConvolution, batch: number): Job {
  const {kernel, stride, dilation} = stage;
  const problem = {input: atBatch(input, batch), shape: atBatch(output, batch), kernel, stride, dilation, isHalf: false}; // prettier-ignore
  const tiles = [
    ...tilesToTry(problem, 0, Number(values.implicit)),
    ...WINOGRAD_SIDES.flatMap((side) => tilesToTry(problem, side, Number(values.winograd))),
  ];
  const block = {kind: 'BlockConv', stages: [stage]};
  const plans = tiles.map((tile) =>
    lowerBlock(block, problem.input, {...tilingFor(limits), convolution: () => tile}),
  );
  return {network, stage, problem, tiles, plans};
}

/** From tf.conv2d. */
async function differences({stage, problem: {input}, plans}: Job): Promise<number[]> {
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
  const found = await differencesFrom(expected, plans, {backend, x, weights});
  tf.dispose([x, expected]);
  return found;
}

const rows: Record<string, unknown>[] = [];

function report({network, stage, problem, tiles}: Job, {timed, differences: apart}: Measured): void {
  const {input, shape, kernel, stride} = problem;
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
      `${network} [${input.join(', ')}] → [${shape.join(', ')}] ${kernel.join('×')} stride ${stage.stride[0]}: worst difference ${worst.toExponential(1)}, chosen ${chosen}`,
      ...['implicit', 'winograd 2', 'winograd 4'].flatMap(lineOf),
    ].join('\n'),
  );
}

const convolutions = networkConvolutions(values.networks, Number(values.size), isFull);
const batches = values.batches.split(',').map(Number);
const jobs = convolutions.flatMap((one) => batches.map((batch) => jobOf(one, batch)));
const worst = await sweepJobs(jobs, bench, {differences, report, minutes: Number(values.most), checksOnly: values.check}); // prettier-ignore
if (values.out) writeFileSync(values.out, JSON.stringify({adapter, limits, rows}));
adapter.dispose();
process.exit(worst < 1e-4 ? 0 : 1);
