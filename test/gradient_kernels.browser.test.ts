/** The steps of a block's gradient that have kernels of their own, against float64 loops and against TF.js's gradients. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import {ACTIVATION_NAMES, activationOf, applyActivation} from '../ops/activation.js';
import type {Shape4D, SpatialStage} from '../ops/index.js';
import {resolvePad, slideWindow} from '../ops/shapes.js';
import {
  ACTIVATION,
  activate,
  activationGradient,
  FILTER_GRADIENT,
  filterGradient,
  isRegistered,
} from '../ops/stages/gradient_kernels.js';
import {type SpatialOptions, spatialStage} from '../ops/stages/make.js';
import {shaderOf} from '../kernels/webgpu/compile.js';
import {lowerFilterGradient} from '../kernels/webgpu/lower_gradients.js';
import {registerBlockKernels} from '../src/register.js';
import {eachBackend, onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';
import {seededTensors} from './support/random.js';

interface Case {
  readonly name: string;
  readonly input: Shape4D;
  readonly stage: SpatialStage;
  /** Pixels shared among workgroups, whose sums another dispatch adds. */
  readonly inParts?: boolean;
}

const makeCase = (name: string, input: Shape4D, options: SpatialOptions, inParts = false): Case => ({
  name,
  input,
  stage: spatialStage('spatial', options),
  inParts,
});

const CASES: readonly Case[] = [
  makeCase('depth-wise', [2, 7, 6, 8], {kernel: 3, group: 1, channels: 8}),
  makeCase('depth-wise, one channel', [1, 5, 5, 1], {kernel: 3, group: 1, channels: 1}),
  makeCase('depth-wise, odd channels', [1, 6, 9, 13], {kernel: 5, group: 1, channels: 13}),
  makeCase('depth-wise, more channels than lanes', [1, 5, 5, 72], {kernel: 3, group: 1, channels: 72}),
  makeCase('depth-wise, stride 2', [2, 9, 8, 12], {kernel: 3, group: 1, channels: 12, stride: 2}),
  makeCase('depth-wise, dilated', [1, 9, 8, 4], {kernel: 3, group: 1, channels: 4, dilation: 2}),
  makeCase('depth-wise, valid, no bias', [1, 9, 8, 4], {kernel: [1, 7], group: 1, channels: 4, pad: 'valid', bias: false}), // prettier-ignore
  makeCase('depth-wise, padded unevenly', [1, 6, 7, 8], {kernel: 5, group: 1, channels: 8, stride: 2, pad: [0, 3, 2, 1]}), // prettier-ignore
  makeCase('depth multiplier', [1, 6, 7, 3], {kernel: 3, group: 1, channels: 6}),
  makeCase('depth multiplier, vectors', [1, 6, 7, 4], {kernel: 3, group: 1, channels: 12}),
  makeCase('depth-wise, in parts', [9, 22, 22, 6], {kernel: 3, group: 1, channels: 6}, true),
  makeCase('depth-wise, in parts, vectors', [2, 24, 24, 40], {kernel: 3, group: 1, channels: 40, bias: false}, true), // prettier-ignore
  makeCase('grouped by 8', [1, 6, 5, 24], {kernel: 3, group: 8, channels: 24}),
  makeCase('grouped by 3, stride 2', [2, 7, 5, 6], {kernel: 3, group: 3, channels: 10, stride: 2}),
  makeCase('grouped by 4, dilated, outputs of a group no vector', [1, 8, 7, 8], {kernel: 3, group: 4, channels: 6, dilation: [2, 1]}), // prettier-ignore
  makeCase('stem', [2, 17, 16, 3], {kernel: 3, group: 3, channels: 16, stride: 2}, true),
  makeCase('stem, padded', [1, 16, 17, 3], {kernel: 7, group: 3, channels: 7, stride: 2, pad: [3, 2, 3, 3]}),
  makeCase('patches', [2, 8, 8, 4], {kernel: 2, group: 4, channels: 8, stride: 2, pad: 'valid'}),
  makeCase('full', [2, 6, 5, 12], {kernel: 3, group: 12, channels: 20}),
  makeCase('full, dilated', [1, 9, 9, 4], {kernel: 3, group: 4, channels: 4, dilation: 3, bias: false}),
  makeCase('1×1', [6, 5, 5, 20], {kernel: 1, group: 20, channels: 36}, true),
  makeCase('1×1, more than a tile', [1, 3, 3, 136], {kernel: 1, group: 136, channels: 68}),
  makeCase('1×1, one pixel an image', [5, 1, 1, 17], {kernel: 1, group: 17, channels: 10}),
];

const outputOf = ({stage, input}: Case): Shape4D => [
  input[0],
  ...slideWindow(stage, input, 'test'),
  stage.channels,
];

/** In float64, by the definition. */
function expectedOf(
  {stage, input, ...rest}: Case,
  x: Float32Array,
  dy: Float32Array,
): {filter: number[]; bias: number[]} {
  const [n, h, w, c] = outputOf({stage, input, ...rest});
  const [kh, kw] = stage.kernel;
  const [top, , left] = resolvePad(stage, input);
  const filter = new Array<number>(kh * kw * stage.group * c).fill(0);
  const bias = new Array<number>(c).fill(0);
  const outputs = c / (input[3] / stage.group);
  for (let at = 0; at < n * h * w * c; at++) {
    const [o, ox, oy, image] = [at % c, Math.floor(at / c) % w, Math.floor(at / c / w) % h, Math.floor(at / c / w / h)]; // prettier-ignore
    const slope = dy[at] ?? NaN;
    bias[o] = (bias[o] ?? NaN) + slope;
    for (let k = 0; k < kh * kw * stage.group; k++) {
      const [i, tap] = [k % stage.group, Math.floor(k / stage.group)];
      const iy = oy * stage.stride[0] + Math.floor(tap / kw) * stage.dilation[0] - top;
      const ix = ox * stage.stride[1] + (tap % kw) * stage.dilation[1] - left;
      if (iy < 0 || ix < 0 || iy >= input[1] || ix >= input[2]) continue;
      const channel = Math.floor(o / outputs) * stage.group + i;
      const value = x[((image * input[1] + iy) * input[2] + ix) * input[3] + channel] ?? NaN;
      filter[k * c + o] = (filter[k * c + o] ?? NaN) + slope * value;
    }
  }
  return {filter, bias};
}

eachBackend('the gradient of a convolution by its filter and bias', (backend) => {
  beforeAll(() => registerBlockKernels());

  it('is made by a kernel on WebGPU', () => {
    expect(isRegistered(FILTER_GRADIENT)).toBe(backend === 'webgpu');
    expect(isRegistered(ACTIVATION)).toBe(backend === 'webgpu');
  });

  for (const example of CASES) {
    it(example.name, async () => {
      const {stage, input, inParts = false} = example;
      const output = outputOf(example);
      expect(lowerFilterGradient({stage, input, output}).dispatches.length).toBe(inParts ? 2 : 1);
      const draw = seededTensors(21);
      const [x, dy] = [draw(input) as tf.Tensor4D, draw(output) as tf.Tensor4D];
      const expected = expectedOf(example, await x.data<'float32'>(), await dy.data<'float32'>());
      await expectNoLeak(async () => {
        const {filter, bias} = tf.tidy(() => ({...filterGradient(stage, x, dy)}));
        expect(filter.shape).toEqual([...stage.kernel, stage.group, stage.channels]);
        await expectClose(filter, expected.filter, {name: 'filter', tolerance: 2e-6});
        expect(bias?.shape).toEqual(stage.bias ? [stage.channels] : undefined);
        if (bias) await expectClose(bias, expected.bias, {name: 'bias', tolerance: 2e-6});
        const again = tf.tidy(() => ({...filterGradient(stage, x, dy)}));
        await expectClose(again.filter, filter, {name: 'filter, again', tolerance: 0});
        tf.dispose([filter, bias ?? [], again.filter, again.bias ?? []]);
      });
      tf.dispose([x, dy]);
    });
  }
});

onBackend('webgpu', 'the gradient of a convolution, its loops written out', () => {
  it('is a valid shader', async () => {
    const {device} = tf.backend() as WebGPUBackend;
    for (const example of CASES) {
      const {stage, input, name} = example;
      for (const dispatch of lowerFilterGradient({stage, input, output: outputOf(example)}).dispatches) {
        device.pushErrorScope('validation');
        device.createShaderModule({code: shaderOf(dispatch)});
        expect((await device.popErrorScope())?.message)
          .withContext(`${name}: ${dispatch.kernel}`)
          .toBeUndefined();
      }
    }
  });
});

eachBackend('activations and their derivatives', () => {
  beforeAll(() => registerBlockKernels());

  for (const name of ACTIVATION_NAMES.filter((one) => one !== 'linear')) {
    it(name, async () => {
      const activation = activationOf(name);
      // Sizes that are whole vectors, and one that is not; far out, where exponentials overflow.
      for (const [scale, shape] of [
        [8, [3, 5, 7, 4]],
        [8, [1, 3, 3, 7]],
        [200, [2, 14]],
      ] as const) {
        const draw = seededTensors(22);
        const [x, dy] = [draw(shape, scale), draw(shape)];
        const alpha = tf.linspace(0.1, 0.4, shape[shape.length - 1] ?? 1);
        await expectNoLeak(async () => {
          const y = tf.tidy(() => activate(activation, x, alpha));
          const expected = tf.tidy(() => applyActivation(activation, x, alpha));
          await expectClose(y, expected, {name: `${name} of ${shape.join('×')}`, tolerance: 2e-6});
          const from = name === 'relu' || name === 'relu6' ? y : x;
          const slope = tf.tidy(() => activationGradient(activation, from, dy) ?? tf.scalar(NaN));
          const wanted = tf.grad((value: tf.Tensor) => applyActivation(activation, value, alpha))(x, dy);
          if (name === 'prelu') expect(slope.shape).toEqual([]);
          else await expectClose(slope, wanted, {name: `derivative of ${name}`, tolerance: 3e-6});
          tf.dispose([y, expected, slope, wanted]);
        });
        tf.dispose([dy, x, alpha]);
      }
    });
  }
});
