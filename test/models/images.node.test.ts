/** Preparing images as PIL does, and what classify makes of it. */
import {fileURLToPath} from 'node:url';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {
  buildGraphModel,
  type Interpolation,
  makeNetwork,
  type ModelMetadata,
  type Preprocessing,
  randomWeights,
} from '../../models/index.js';
import {openCheckpoint} from '../../models/node_checkpoint.js';
import {classify} from '../../src/classify.js';
import {fuse} from '../../src/fuse.js';
import {type ImageBytes, prepareImage} from '../../src/prepare_image.js';
import {eachBackend} from '../support/environment.js';
import {expectNoLeak} from '../support/expect_no_leak.js';
import {TIMM_MOBILE} from './tiny_architectures.js';

const fixture = fileURLToPath(
  new URL('../../../test/fixtures/checkpoints/images.safetensors', import.meta.url),
);
const PLAIN: Preprocessing = {
  size: [22, 22],
  crop: 0.875,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  interpolation: 'bicubic',
  channels: 'rgb',
  fit: 'crop',
};

/** PIL rounds to bytes between its two passes, so a byte may be off by one. */
const LEVEL = 1 / 255 + 1e-6;

async function readFixture(name: string): Promise<Float32Array> {
  const file = await openCheckpoint(fixture);
  return file.read(name).finally(() => file.close());
}

async function image(): Promise<ImageBytes> {
  return {data: Uint8Array.from(await readFixture('image')), width: 61, height: 40};
}

eachBackend('prepareImage', () => {
  for (const interpolation of [
    'nearest',
    'bilinear',
    'bicubic',
  ] as const satisfies readonly Interpolation[]) {
    for (const fit of ['crop', 'squash'] as const) {
      it(`resizes as PIL: ${interpolation}, ${fit}`, async () => {
        const expected = await readFixture(`${interpolation}.${fit}`);
        const prepared = prepareImage(await image(), {...PLAIN, interpolation, fit});
        expect(prepared.shape).toEqual([1, 22, 22, 3]);
        const values = await prepared.data();
        prepared.dispose();
        const worst = Math.max(...values.map((value, i) => Math.abs(value - (expected[i] ?? NaN) / 255)));
        expect(worst).toBeLessThan(LEVEL);
      });
    }
  }

  it('normalises each channel, in the order asked for, and leaves opacity out', async () => {
    const data = Uint8Array.from([255, 0, 51, 7]);
    const preprocessing = {
      ...PLAIN,
      size: [1, 1],
      crop: 1,
      channels: 'bgr',
      mean: [0.1, 0.2, 0.3],
      std: [1, 2, 0.5],
    } as const;
    const prepared = prepareImage({data, width: 1, height: 1}, preprocessing);
    const values = await prepared.data();
    prepared.dispose();
    [(51 / 255 - 0.1) / 1, -0.2 / 2, 0.7 / 0.5].forEach((value, i) =>
      expect(values[i]).toBeCloseTo(value, 5),
    );
  });

  it('refuses bytes that are no image', () => {
    expect(() => prepareImage({data: new Uint8Array(7), width: 2, height: 2}, PLAIN)).toThrowError(
      /has 7 bytes/,
    );
  });
});

eachBackend('classify', () => {
  const network = makeNetwork(TIMM_MOBILE, {classes: 4});
  const metadata: ModelMetadata = {
    architecture: TIMM_MOBILE.name,
    source: 'timm',
    classes: 4,
    preprocessing: {...PLAIN, size: [32, 32]},
    labels: ['a', 'b', 'c', 'd'],
  };

  it('gives the likeliest classes by the metadata, the same from a fused model', async () => {
    const artifacts = {
      ...(await buildGraphModel(network, randomWeights(2))),
      userDefinedMetadata: {...metadata},
    };
    const model = await loadGraphModel(tf.io.fromMemory(artifacts));
    const fused = await fuse(model);
    const picture = await image();
    const classes = await classify(model, picture, {top: 4});
    expect(classes.map(({label, index}) => label === metadata.labels?.[index])).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(classes.reduce((sum, {probability}) => sum + probability, 0)).toBeCloseTo(1, 4);
    expect(classes[0]?.probability ?? 0).toBeGreaterThanOrEqual(classes[1]?.probability ?? 1);
    const again = await classify(fused, picture);
    expect(again.map(({index}) => index)).toEqual(classes.map(({index}) => index));
    await expectNoLeak(async () => {
      await classify(fused, picture);
    });
    fused.dispose();
    model.dispose();
  });

  it('says that a model without metadata cannot be asked', async () => {
    const model = await loadGraphModel(tf.io.fromMemory(await buildGraphModel(network, randomWeights(2))));
    await expectAsync(classify(model, await image())).toBeRejectedWithError(
      /do not say how an image is prepared/,
    );
    model.dispose();
  });
});
