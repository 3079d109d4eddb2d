/**
 * After warmup() the first prediction takes no longer than three times the median of those that follow. Timed, so several
 * models have a try and the best counts; each has channels of its own, so that none finds the pipelines of another. That a
 * model without warmup fails the same test is tested too.
 */
import {layers, sequential} from '@tensorflow/tfjs-layers';
import type * as tf from '@tensorflow/tfjs-core';
import {fuse, type FusedModel} from '../src/index.js';
import {onBackend} from './support/environment.js';
import {seededTensors} from './support/random.js';

const TRIES = 4;
const FOLLOWING = 9;
const SIZE = 12;
/** So small that what a prediction computes is little beside what the first one compiles, on a busy machine too. */
const SMALL_SIZE = 4;

async function modelOf(channels: number, size: number): Promise<FusedModel> {
  const model = sequential({
    layers: [
      layers.conv2d({inputShape: [size, size, channels], filters: 4 * channels, kernelSize: 1, activation: 'relu6'}),
      layers.depthwiseConv2d({kernelSize: 3, padding: 'same', activation: 'relu6'}),
      layers.conv2d({filters: channels, kernelSize: 1}),
      layers.maxPooling2d({poolSize: 2}),
      layers.conv2d({filters: channels, kernelSize: 3, padding: 'same', activation: 'relu'}),
      layers.globalAveragePooling2d({}),
    ],
  }); // prettier-ignore
  const fused = await fuse(model);
  model.dispose();
  return fused;
}

/** Time of the first prediction over the median of the following ones. */
async function ratioOf(
  channels: number,
  size: number,
  warmup: (model: FusedModel) => Promise<void>,
): Promise<number> {
  const fused = await modelOf(channels, size);
  const x = seededTensors(channels)([1, size, size, channels]);
  const predict = async (): Promise<number> => {
    const start = performance.now();
    const y = fused.predict(x) as tf.Tensor;
    await y.data();
    const time = performance.now() - start;
    y.dispose();
    return time;
  };
  await warmup(fused);
  const first = await predict();
  const following: number[] = [];
  for (let i = 0; i < FOLLOWING; i++) following.push(await predict());
  following.sort((a, b) => a - b);
  x.dispose();
  fused.dispose();
  return first / (following[FOLLOWING >> 1] ?? NaN);
}

const bestOf = async (
  channels: number,
  size: number,
  warmup: (model: FusedModel) => Promise<void>,
): Promise<number> => {
  let best = Infinity;
  for (let i = 0; i < TRIES && best > 3; i++)
    best = Math.min(best, await ratioOf(channels + 4 * i, size, warmup));
  return best;
};

onBackend('webgpu', 'the first prediction', () => {
  it('takes at most three times the median after warmup()', async () => {
    expect(await bestOf(8, SIZE, (model) => model.warmup())).toBeLessThanOrEqual(3);
  });

  it('takes longer without it, so that the test above can fail', async () => {
    expect(await bestOf(40, SMALL_SIZE, () => Promise.resolve())).toBeGreaterThan(3);
  });
});
