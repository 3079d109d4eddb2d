/** Winograd's F(2×2, 3×3) and F(4×4, 3×3): every case of the specs that they can take, forced on them; their tiles; when the planner takes them. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../kernels/plan.js';
import {lowerWithChoices} from '../kernels/webgpu/choices.js';
import {keyOf, shaderOf} from '../kernels/webgpu/compile.js';
import {
  CONVOLUTION_RATES,
  convolutionCandidates,
  type ConvolutionProblem,
  type ConvolutionTile,
  convolutionTile,
  estimateConvolution,
  isWinograd,
  WINOGRAD_SIDES,
  winogradIsLegal,
  type WinogradSide,
} from '../kernels/webgpu/convolution_tiling.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {explainBlock} from '../kernels/webgpu/explain.js';
import {limitsOf} from '../kernels/webgpu/index.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {withHalf} from '../kernels/webgpu/matrix_tiling.js';
import {
  type DeviceLimits,
  MATMUL_TILES,
  matmulIsLegal,
  type MatmulTile,
  matmulTileOf,
  stockLimits,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import {packOnDevice, packOnHost} from '../kernels/webgpu/weights.js';
import {Explanation} from '../src/tune/explanation.js';
import {type Block, type BlockCase, BLOCK_SPECS, reference, type Shape4D} from '../ops/index.js';
import {pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {toleranceOf} from './support/block_cases.js';
import {disposeDrawn, drawBlock} from './support/draw.js';
import {onBackend, useBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';
import {runPlan} from './support/run_plan.js';

const PLAIN: MatmulTile = {TILE_M: 32, TILE_N: 32, TILE_K: 16, THREAD_M: 4, THREAD_N: 4, SPLIT_K: 1, PARTS: 1}; // prettier-ignore

/** The plan of `block` with Winograd's transforms wherever they are legal. */
function forced(
  block: Block,
  input: readonly number[],
  limits: DeviceLimits,
  {side = 2, tile = PLAIN}: {side?: WinogradSide; tile?: MatmulTile} = {},
): Plan {
  const tiling = tilingFor(limits);
  const own = {...tile, WINOGRAD: side};
  return lowerBlock(block, input, {
    ...tiling,
    convolution: (problem) => (winogradIsLegal(problem, own, limits) ? own : tiling.convolution(problem)),
  });
}

const usesWinograd = ({dispatches}: Plan): boolean =>
  dispatches.some(({kernel}) => kernel.startsWith('winogradProduct'));

async function compare(block: Block, example: BlockCase, plan: Plan): Promise<void> {
  await useBackend('cpu');
  const drawn = drawBlock(block, example.input, 7);
  const expected = reference(block, drawn.x, drawn.weights);
  const values = await expected.data();
  await useBackend('webgpu');
  const actual = await runPlan(plan, drawn);
  expect(actual.shape).toEqual(expected.shape);
  await expectClose(actual, values, {name: example.name, tolerance: toleranceOf(block, example)});
  tf.dispose([expected, actual]);
  disposeDrawn(drawn);
}

const deviceLimits = (): DeviceLimits => limitsOf((tf.backend() as WebGPUBackend).device);

onBackend('webgpu', "Winograd's convolution equals the reference", () => {
  const kinds: string[] = [];
  for (const spec of BLOCK_SPECS) {
    const cases = spec.cases.filter(({stages, input}) =>
      usesWinograd(forced({kind: spec.kind, stages}, input, stockLimits)),
    );
    if (cases.length > 0) kinds.push(spec.kind);
    for (const example of cases)
      for (const side of WINOGRAD_SIDES)
        it(`${spec.kind}: ${example.name}, in tiles of ${side}×${side}`, async () => {
          const block = {kind: spec.kind, stages: example.stages};
          await compare(block, example, forced(block, example.input, deviceLimits(), {side}));
        });
  }

  it('in blocks of every kind that has full 3×3 convolutions', () => {
    expect(kinds.sort()).toEqual(['BlockBasic', 'BlockBottleneck', 'BlockConv', 'BlockFusedMBConv', 'BlockSeparable']); // prettier-ignore
  });

  // Channels that no step and no tile divides, a map of odd sides in front of which padding is uneven, more tiles than rows of one.
  const stages = [
    spatialStage('first', {kernel: 3, group: 13, channels: 34, pad: [2, 0, 0, 2], activation: 'swish'}),
    spatialStage('second', {kernel: 3, group: 34, channels: 22, activation: 'linear'}),
    residualStage([pointwiseStage('shortcut', 22, 'linear')], 'relu'),
  ];
  const block: Block = {kind: 'BlockBasic', stages};
  for (const rated of MATMUL_TILES.filter(({DIRECT}) => !DIRECT)) {
    for (const PARTS of [1, 3]) {
      const tile = {...matmulTileOf(rated), PARTS};
      it(`in tiles ${Object.values(tile).join('.')}`, async () => {
        if (!matmulIsLegal(tile, deviceLimits())) return pending('beyond the limits of this device');
        const example = {name: 'tile', stages, input: [2, 11, 9, 13] as const};
        const plan = forced(block, example.input, deviceLimits(), {side: PARTS === 1 ? 2 : 4, tile});
        expect(plan.dispatches.filter(({kernel}) => kernel.startsWith('winogradProduct')).length).toBe(2);
        await expectNoLeak(() => compare(block, example, plan));
      });
    }
  }

  it('has texts that are valid written out as on a GPU, not only as loops', async () => {
    const {device} = tf.backend() as WebGPUBackend;
    const dispatches = WINOGRAD_SIDES.flatMap((side) => forced(block, [2, 11, 9, 13], deviceLimits(), {side}).dispatches); // prettier-ignore
    for (const dispatch of new Map(dispatches.map((one) => [keyOf(one), one])).values()) {
      device.pushErrorScope('validation');
      device.createShaderModule({code: shaderOf(dispatch)});
      expect((await device.popErrorScope())?.message)
        .withContext(dispatch.kernel)
        .toBeUndefined();
    }
  });
});

const problemOf = (
  input: Shape4D,
  channels: number,
  change: Partial<ConvolutionProblem> = {},
): ConvolutionProblem => ({
  input,
  shape: [input[0], input[1], input[2], channels],
  kernel: [3, 3],
  stride: [1, 1],
  dilation: [1, 1],
  isHalf: false,
  ...change,
});

describe("Winograd's convolution", () => {
  const limits = {...H200.limits, maxStorageBufferBindingSize: 2 ** 31};
  const deep = problemOf([32, 14, 14, 256], 256);
  const leastOf = (problem: ConvolutionProblem, isOurs: (tile: ConvolutionTile) => boolean): number =>
    Math.min(
      ...convolutionCandidates(problem, limits)
        .filter(isOurs)
        .map((tile) => estimateConvolution(tile, problem, limits)),
    );

  it('is chosen exactly where it is estimated to save what it must', () => {
    const chosen: boolean[] = [];
    for (const batch of [1, 8, 32]) {
      for (const [size, channels] of [
        [112, 24],
        [56, 64],
        [28, 128],
        [14, 256],
        [7, 512],
      ] as const) {
        // prettier-ignore
        const problem = problemOf([batch, size, size, channels], channels);
        const implicit = leastOf(problem, (tile) => !isWinograd(tile));
        const winograd = leastOf(problem, isWinograd);
        const tile = convolutionTile(problem, limits);
        expect(isWinograd(tile))
          .withContext(`batch ${batch}, ${size}², ${channels}`)
          .toBe(winograd + 2 * CONVOLUTION_RATES.encode <= CONVOLUTION_RATES.most * implicit);
        expect(estimateConvolution(tile, problem, limits)).toBe(isWinograd(tile) ? winograd : implicit);
        chosen.push(isWinograd(tile));
      }
    }
    expect(new Set(chosen).size).toBe(2);
  });

  it('is no candidate for other windows, for f16 between dispatches, or where a buffer would be too large', () => {
    const isCandidate = (problem: ConvolutionProblem, within: DeviceLimits = limits): boolean =>
      convolutionCandidates(problem, within).some(isWinograd);
    expect(isCandidate(deep)).toBe(true);
    for (const change of [
      {kernel: [5, 5]},
      {kernel: [3, 1]},
      {stride: [2, 2]},
      {dilation: [1, 2]},
      {isHalf: true},
    ] as const)
      expect(isCandidate({...deep, ...change}))
        .withContext(JSON.stringify(change))
        .toBe(false);
    // 36 components of 32 · 56² / 16 tiles of 192 channels are 165 MiB, and 16 of 32 · 56² / 4 more.
    const large = problemOf([32, 56, 56, 192], 192);
    expect(isCandidate(large)).toBe(true);
    expect(isCandidate(large, {...limits, maxStorageBufferBindingSize: 2 ** 27})).toBe(false);
    expect(isCandidate(large, stockLimits)).toBe(false);
  });

  it('is left alone by plans in f16', () => {
    const stages = [spatialStage('spatial', {kernel: 3, group: 256, channels: 256})];
    const plan = (half: boolean): Plan => {
      const tiling = tilingFor(limits);
      return lowerBlock(
        {kind: 'BlockConv', stages},
        deep.input,
        half ? withHalf(tiling, limits, {matrices: []}) : tiling,
      );
    };
    expect(usesWinograd(plan(false))).toBe(true);
    expect(usesWinograd(plan(true))).toBe(false);
  });

  it('is named by explain, with its three dispatches and the other forms among the tiles not chosen', () => {
    const stages = [spatialStage('spatial', {kernel: 3, group: 256, channels: 256, activation: 'relu'})];
    const block: Block = {kind: 'BlockConv', stages};
    const plan = explainBlock(block, deep.input, {device: {...H200, limits}, others: 500});
    expect(plan.dispatches.map(({kernel}) => kernel)).toEqual([
      'winogradInput4.vector',
      'winogradProduct.vector',
      'winogradOutput4.vector',
    ]);
    const [input, product, output] = plan.dispatches;
    if (product?.choice.by !== 'planner') throw new Error('The product has a tile.');
    expect(product.choice.tile['WINOGRAD']).toBe(4);
    const {others} = product.choice;
    expect(new Set(others.map(({tile}) => tile['WINOGRAD']))).toEqual(new Set([0, 2, 4]));
    // The total of a tile not chosen is that of all its dispatches.
    const cheapest = Math.min(...others.filter(({tile}) => tile['WINOGRAD'] === 4).map(({estimate}) => estimate.total)); // prettier-ignore
    expect(cheapest).toBeGreaterThan(product.estimate.total);
    expect([input?.bound, output?.bound]).toEqual(['memory', 'memory']);
    const direct = 2 * 32 * 14 * 14 * 256 * 256 * 9;
    // 16 tiles cover the 14² pixels of an image, so 36 · 16 products are made where the convolution takes 9 · 14².
    expect(product.operations).toBeCloseTo((direct * 36 * 16) / (9 * 14 ** 2), -3);
    const text = new Explanation({...H200, limits}, [{plan}]).toString();
    expect(text).toContain('winogradProduct.vector  TILE_M=');
    expect(text).toContain('WINOGRAD=4');
  });

  it('is one choice of a plan, which tune finds by its key', () => {
    const stages = [spatialStage('spatial', {kernel: 3, group: 256, channels: 256})];
    const {choices} = lowerWithChoices({kind: 'BlockConv', stages}, deep.input, tilingFor(limits));
    expect(choices.map(({kernel}) => kernel)).toEqual(['convolution']);
    expect(choices[0]?.tile['WINOGRAD']).toBe(4);
  });
});

onBackend('cpu', 'filters transformed for Winograd', () => {
  const scaled: Block = {
    kind: 'BlockConv',
    stages: [spatialStage('spatial', {kernel: 3, group: 5, channels: 6}), {op: 'scale', name: 'scale'}],
  };
  const plain: Block = {kind: 'BlockConv', stages: scaled.stages.slice(0, 1)};

  for (const [name, block] of Object.entries({'as they are': plain, 'with a layer scale': scaled})) {
    for (const side of WINOGRAD_SIDES) {
      it(`are the same by loops in main memory as by stock ops: ${name}, ${side}×${side}`, async () => {
        const input: Shape4D = [1, 6, 6, 5];
        const plan = forced(block, input, stockLimits, {side});
        expect(plan.weights.sections.map(({value}) => value.form)).toContain('winograd');
        const {x, weights} = drawBlock(block, input, 3);
        const values = new Map<string, Float32Array>();
        for (const [key, tensor] of Object.entries(weights))
          values.set(key, (await tensor.data()) as Float32Array);
        const device = tf.tidy(() => packOnDevice(plan.weights, new Map(Object.entries(weights))));
        await expectClose(device, packOnHost(plan.weights, values), {tolerance: 1e-6});
        tf.dispose([x, weights, device]);
      });
    }
  }

  for (const [side, middle] of [
    [2, [0, 1 / 2, -1 / 2, 0]],
    [4, [0, -1 / 6, 1 / 6, 1 / 12, -1 / 12, 0]],
  ] as const) {
    it(`are G g Gᵀ, for tiles of ${side}×${side}`, () => {
      const layout = forced(plain, [1, 6, 6, 5], stockLimits, {side}).weights;
      const section = layout.sections.find(({value}) => value.form === 'winograd');
      if (!section) throw new Error('The plan has a transformed filter.');
      // Of the filter whose only tap is the middle one: the middle column of G times itself.
      const filter = new Float32Array(9 * 5 * 6);
      filter[4 * 5 * 6] = 1;
      const packed = packOnHost(layout, new Map([['spatialFilter', filter], ['spatialBias', new Float32Array(6)]])); // prettier-ignore
      const expected = middle.flatMap((a) => middle.map((b) => a * b));
      expect(section.taps).toBe(expected.length);
      for (const [component, value] of expected.entries())
        expect(packed[section.offset + component * section.rowStride * section.stride]).toBeCloseTo(value, 7);
    });
  }
});
