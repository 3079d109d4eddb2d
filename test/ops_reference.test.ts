/** The reference by stock ops against float64 loops that share no code with it: each stage, each activation, whole blocks. */
import * as tf from '@tensorflow/tfjs-core';
import {
  type Activation,
  ACTIVATION_NAMES,
  activationOf,
  applyActivation,
  type Block,
  BLOCK_SPECS,
  reference,
  type Shape4D,
  type Stage,
  traceBlock,
} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {drawBlock, disposeDrawn, oracleInputs} from './support/draw.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';
import {oracleBlock} from './support/oracle.js';
import {activate, erf} from './support/oracle_activation.js';
import {smallCases} from './support/small_cases.js';

/** float32 sums of some hundred terms, and TF.js's erf, which is good to 1.5e-7 (Abramowitz and Stegun 7.1.26). */
const TOLERANCE = 4e-6;

async function expectOracle(block: Block, input: Shape4D, seed: number): Promise<void> {
  const drawn = drawBlock(block, input, seed);
  const inputs = await oracleInputs(drawn);
  const expected = oracleBlock(block.stages, inputs.x, inputs.weights);
  for (const differentiable of [false, true]) {
    const actual = reference(block, drawn.x, drawn.weights, {differentiable});
    const [n, , , c] = expected.shape;
    const shape = block.stages.at(-1)?.op === 'flatten' ? [n, c] : expected.shape;
    expect(actual.shape as readonly number[]).toEqual(shape);
    expect(traceBlock(block, input).output).toEqual(shape);
    await expectClose(actual, expected.data, {tolerance: TOLERANCE, name: block.kind});
    actual.dispose();
  }
  disposeDrawn(drawn);
}

const spatial = (
  options: Omit<Parameters<typeof spatialStage>[1], 'channels'> & {channels?: number},
): Stage => spatialStage('spatial', {channels: 12, ...options});

/** `[name, stages, input]`. */
// prettier-ignore
const STAGES: readonly (readonly [string, readonly Stage[], Shape4D])[] = [
  ['depth-wise', [spatial({kernel: 3, group: 1})], [2, 5, 6, 12]],
  ['depth-wise with a multiplier of 3', [spatial({kernel: [2, 3], group: 1})], [1, 5, 6, 4]],
  ['one channel to many', [spatial({kernel: 3, group: 1})], [1, 5, 6, 1]],
  ['full', [spatial({kernel: 3, group: 8})], [2, 5, 6, 8]],
  ['full, asymmetric', [spatial({kernel: [1, 4], group: 3, stride: 2})], [1, 6, 7, 3]],
  ['few wide groups', [spatial({kernel: 3, group: 6})], [2, 5, 6, 12]],
  ['many narrow groups', [spatial({kernel: 3, group: 2})], [2, 5, 6, 12]],
  ['groups that widen', [spatial({kernel: 3, group: 2, channels: 18})], [1, 5, 6, 12]],
  ['groups that narrow', [spatial({kernel: 3, group: 4, channels: 6})], [1, 5, 6, 12]],
  ['groups, dilated, explicit padding', [spatial({kernel: 3, group: 2, dilation: [2, 1], pad: [2, 1, 0, 1]})], [1, 6, 5, 6]],
  ['groups, stride 2, same', [spatial({kernel: 5, group: 6, stride: 2})], [1, 8, 7, 12]],
  ['even kernel, same', [spatial({kernel: 4, group: 1})], [1, 6, 5, 12]],
  ['stride over the kernel', [spatial({kernel: 2, group: 1, stride: 3})], [1, 8, 7, 12]],
  ['stride 2, one-sided padding', [spatial({kernel: 3, group: 1, stride: 2, pad: [0, 1, 0, 1]})], [1, 8, 7, 12]],
  ['dilation, same', [spatial({kernel: 3, group: 1, dilation: 3})], [1, 8, 7, 12]],
  ['dilation, valid', [spatial({kernel: 3, group: 4, dilation: [1, 2], pad: 'valid'})], [1, 6, 7, 4]],
  ['no bias, prelu', [spatial({kernel: 3, group: 1, bias: false, activation: 'prelu'})], [1, 5, 6, 12]],
  ['pointwise', [pointwiseStage('expand', 9, 'leakyrelu')], [2, 3, 4, 5]],
  ['pointwise without bias', [pointwiseStage('expand', 9, 'linear', false)], [1, 1, 1, 5]],
  ['layernorm', [{op: 'layernorm', name: 'norm', epsilon: 1e-3, affine: true}], [2, 3, 4, 6]],
  ['plain layernorm', [{op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: false}], [2, 3, 4, 6]],
  ['GRN', [{op: 'grn', name: 'grn', epsilon: 1e-3}], [2, 3, 4, 6]],
  ['gate', [gateStage(3, 'swish')], [2, 3, 4, 6]],
  ['gate, hard, no bias', [gateStage(3, 'prelu', 'hardsigmoid', false)], [2, 3, 4, 6]],
  ['scale', [{op: 'scale', name: 'scale'}], [2, 3, 4, 6]],
  ['blur, reflected', [{op: 'blurpool', name: 'blur', taps: 3, stride: 2, mode: 'reflect'}], [2, 5, 6, 3]],
  ['blur of 5, reflected', [{op: 'blurpool', name: 'blur', taps: 5, stride: 2, mode: 'reflect'}], [1, 7, 4, 3]],
  ['blur of 5, zeros', [{op: 'blurpool', name: 'blur', taps: 5, stride: 1, mode: 'zero'}], [1, 2, 3, 3]],
  ['concat', [pointwiseStage('expand', 2), {op: 'concat', name: 'concat'}], [2, 3, 4, 5]],
  ['max pool', [{op: 'pool', name: 'pool', mode: 'max', kernel: [3, 2], stride: [2, 1], pad: 'same'}], [2, 5, 4, 3]],
  ['average pool, same', [{op: 'pool', name: 'pool', mode: 'avg', kernel: [3, 3], stride: [2, 2], pad: 'same'}], [2, 6, 5, 3]],
  ['average pool, valid', [{op: 'pool', name: 'pool', mode: 'avg', kernel: [2, 2], stride: [2, 2], pad: 'valid'}], [1, 5, 5, 3]],
  ['padchannels', [{op: 'padchannels', name: 'widen', channels: 7}], [2, 3, 4, 5]],
  ['shuffle', [{op: 'shuffle', name: 'shuffle', groups: 3}], [2, 3, 4, 12]],
  ['spread', [{op: 'spread', name: 'spread', from: 1, every: 2, count: 2, at: 1, step: 3, channels: 6}], [2, 3, 4, 5]],
  ['residual, identity', [pointwiseStage('expand', 5), residualStage([], 'prelu')], [2, 3, 4, 5]],
  [
    'residual, projected',
    [pointwiseStage('expand', 9), residualStage([spatialStage('shortcut', {kernel: 1, group: 5, channels: 9})], 'relu')],
    [2, 3, 4, 5],
  ],
];

/** Every activation with its usual numbers, and some with others. */
const ACTIVATIONS: readonly Activation[] = [
  ...ACTIVATION_NAMES.map((name) => activationOf(name)),
  {fn: 'elu', alpha: 0.3},
  {fn: 'leakyrelu', alpha: 0.01},
  {fn: 'hardsigmoid', slope: 0.2, offset: 0.5},
  {fn: 'hardswish', slope: 0.2, offset: 0.4},
  {fn: 'clamp', min: -Infinity, max: 1.5},
];

describe('erf of the oracle', () => {
  it('has the tabulated values', () => {
    expect(erf(0)).toBe(0);
    expect(erf(0.5)).toBeCloseTo(0.5204998778130465, 14);
    expect(erf(-1)).toBeCloseTo(-0.8427007929497149, 14);
    expect(erf(3)).toBeCloseTo(0.9999779095030014, 14);
    expect(erf(7)).toBe(1);
  });
});

onBackend('cpu', 'reference', () => {
  for (const activation of ACTIVATIONS) {
    it(`has the activation ${JSON.stringify(activation)}, far from 0 too`, async () => {
      const inputs = [
        -1e4, -90, -20, -6, -3.01, -3, -2.99, -1, -1e-3, -0, 0, 1e-3, 0.7, 1, 3, 3.5, 6, 7, 20, 90, 1e4,
      ];
      const rows = inputs.map((value) => [value, value]);
      const slopes = [0.25, -0.5];
      const expected = rows.flat().map((value, i) => activate(activation, value, slopes[i % 2]));
      const actual = tf.tidy(() => applyActivation(activation, tf.tensor2d(rows), tf.tensor1d(slopes)));
      const values = await actual.data();
      // Each value by itself: at the scale of 1e4 an error around 0 would not show.
      values.forEach((value, i) => {
        const wanted = expected[i] ?? NaN;
        expect(Math.abs(value - wanted))
          .withContext(`at ${rows.flat()[i]}: ${value}, not ${wanted}`)
          .toBeLessThanOrEqual(TOLERANCE * Math.max(1, Math.abs(wanted)));
      });
      actual.dispose();
    });
  }

  STAGES.forEach(([name, stages, input], index) => {
    it(`computes ${name}`, () => expectOracle({kind: 'BlockTest', stages}, input, index + 1));
  });

  for (const {kind, cases} of BLOCK_SPECS) {
    it(`computes the cases of ${kind}`, async () => {
      const small = smallCases({kind, cases}, 250_000);
      expect(small.length).toBeGreaterThan(cases.length / 2);
      for (const [index, {stages, input}] of small.entries())
        await expectOracle({kind, stages}, input, index + 1);
    });
  }

  it('shows what each main-path stage gave, and leaves nothing behind', async () => {
    const block: Block = {
      kind: 'BlockTest',
      stages: [pointwiseStage('expand', 6, 'relu'), pointwiseStage('project', 4), residualStage()],
    };
    const drawn = drawBlock(block, [1, 3, 3, 4], 7);
    await expectNoLeak(() => {
      const seen: [string, number[]][] = [];
      const observe = (stage: Stage, {shape}: tf.Tensor): void => void seen.push([stage.name, shape]);
      reference(block, drawn.x, drawn.weights, {observe}).dispose();
      expect(seen).toEqual([
        ['expand', [1, 3, 3, 6]],
        ['project', [1, 3, 3, 4]],
        ['residual', [1, 3, 3, 4]],
      ]);
    });
    disposeDrawn(drawn);
  });

  it('gives a tensor of its own where the stages change nothing', () => {
    const x = tf.ones([1, 2, 2, 3]);
    const out = reference({kind: 'BlockTest', stages: []}, x, {});
    out.dispose();
    expect(x.isDisposed).toBeFalse();
    x.dispose();
  });
});
