/** Trained models as people have them: every block and every output must be the original's. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
import {loadLayersModel, model, type SymbolicTensor} from '@tensorflow/tfjs-layers';
import {fuse} from '../../src/fuse.js';
import {expectSame} from '../support/compare_models.js';
import {expectClose} from '../support/expect_close.js';
import {expectNoLeak} from '../support/expect_no_leak.js';
import {seededTensors} from '../support/random.js';
import {efficientNetModel, HUMAN_MODELS, humanModel, nsfwModel} from '../support/real_models.js';

/** What must be in blocks at least: all depth-wise convolutions, and the share of MACs; what is left is listed in the report. */
const EXPECTED: Readonly<
  Record<string, {readonly depthwise: number; readonly blocks: number; readonly macs: number}>
> = {
  antispoof: {depthwise: 0, blocks: 3, macs: 0},
  blazeface: {depthwise: 32, blocks: 37, macs: 1},
  centernet: {depthwise: 26, blocks: 28, macs: 1},
  emotion: {depthwise: 4, blocks: 9, macs: 1},
  facemesh: {depthwise: 24, blocks: 31, macs: 1},
  faceres: {depthwise: 13, blocks: 14, macs: 1},
  'handlandmark-lite': {depthwise: 16, blocks: 17, macs: 1},
  handtrack: {depthwise: 51, blocks: 54, macs: 1},
  iris: {depthwise: 26, blocks: 29, macs: 1},
  liveness: {depthwise: 0, blocks: 8, macs: 0},
  'movenet-lightning': {depthwise: 24, blocks: 29, macs: 1},
};

describe('real models', () => {
  beforeAll(async () => {
    await tf.setBackend('wasm');
    await tf.ready();
  });

  it('are all known', () => {
    expect(Object.keys(EXPECTED).sort()).toEqual([...HUMAN_MODELS].sort());
  });

  for (const [name, {depthwise, blocks, macs}] of Object.entries(EXPECTED)) {
    it(`human ${name}`, async () => {
      const artifacts = await humanModel(name);
      const report = await expectSame(artifacts, {tolerance: 1e-4, feed: await oneImage(artifacts)});
      expect(report.blocks.length).toBe(blocks);
      expect(report.depthwise.fused).toBe(depthwise);
      expect(report.macs.fused).toBeGreaterThanOrEqual(macs * report.macs.total);
      // A block of one op leaves as many nodes as there were.
      if (depthwise > 0) expect(report.nodes.after).toBeLessThan(report.nodes.before);
    });
  }

  it('EfficientNet-B0', async () => {
    // The network wants bytes. On numbers near 0 its random weights turn a last bit of the input into 4e-5 of the output.
    const report = await expectSame(efficientNetModel(), {
      tolerance: 1e-5,
      scale: 255,
      feed: {image_input: [2, 64, 96, 3]},
    });
    expect(report.depthwise).toEqual({total: 16, fused: 16});
    const kinds = report.blocks.map(({block}) => block);
    const mbConvs = Array<string>(16).fill('BlockMBConv');
    expect(kinds).toEqual(['BlockConv', 'BlockConv', ...mbConvs, 'BlockHead']);
    expect(
      report.blocks.slice(2, -1).every(({stages}) => stages.some((stage) => stage.startsWith('gate'))),
    ).toBe(true);
  });

  it('nsfwjs MobileNetV2 1.4, a graph model', async () => {
    const report = await expectSame(nsfwModel('mobilenet_v2_mid'), {
      tolerance: 1e-4,
      feed: {input: [1, 224, 224, 3]},
    });
    expect(report.depthwise).toEqual({total: 17, fused: 17});
    expect(report.blocks.length).toBe(19);
    expect(report.macs.fused).toBe(report.macs.total);
  });

  it('nsfwjs InceptionV3, a layers model', async () => {
    const original = await loadLayersModel(tf.io.fromMemory(nsfwModel('inception_v3')));
    const fused = await fuse(original);
    const x = seededTensors(3)([1, 299, 299, 3]);
    const [expected, actual] = [original.predict(x) as tf.Tensor, fused.predict(x) as tf.Tensor];
    await expectClose(actual, expected, {tolerance: 1e-5});
    expect(fused.report.macs.fused).toBe(fused.report.macs.total);
    expect(fused.report.dispatches.after).toBeLessThan(fused.report.dispatches.before / 2);
    tf.dispose([x, expected, actual]);
    original.dispose();
    fused.dispose();
  });

  it('nsfwjs MobileNetV2, a layers model', async () => {
    const original = await loadLayersModel(tf.io.fromMemory(nsfwModel()));
    const fused = await fuse(original);
    const x = seededTensors(3)([2, 224, 224, 3]);
    const [expected, actual] = [original.predict(x) as tf.Tensor, fused.predict(x) as tf.Tensor];
    await expectClose(actual, expected, {tolerance: 1e-5});
    // A block is named after its last layer, so each can be compared with that layer.
    const layersByName = new Set(original.layers.map(({name}) => name));
    const [head, ...more] = fused.report.blocks.filter(({at}) => !layersByName.has(at));
    // The head ends inside the last layer, in front of its softmax, which was compared.
    expect([head?.block, head?.output, more.length]).toEqual(['BlockHead', [1, 5], 0]);
    expect(head?.stages.map((stage) => stage.split(' ')[0])).toEqual(
      ['conv', 'mean', 'hidden', 'hidden2', 'dense', 'flatten'], // prettier-ignore
    );
    const names = fused.report.blocks.map(({at}) => at).filter((at) => layersByName.has(at));
    const layers = model({
      inputs: original.inputs,
      outputs: names.map((name) => original.getLayer(name).output as SymbolicTensor),
    });
    const [wanted, found] = [layers.predict(x) as tf.Tensor[], fused.execute(x, names) as tf.Tensor[]];
    for (const [i, name] of names.entries())
      await expectClose(found[i] as tf.Tensor, wanted[i] as tf.Tensor, {tolerance: 2e-5, name});
    expect(names.length).toBeGreaterThan(16);
    tf.dispose([wanted, found]);
    expect(fused.report.depthwise).toEqual({total: 17, fused: 17});
    tf.dispose([x, expected, actual]);
    await expectNoLeak(() => {
      const image = seededTensors(4)([1, 224, 224, 3]);
      tf.dispose([image, fused.predict(image)]);
    });
    original.dispose();
    fused.dispose();
  });
});

/** Shapes to feed: one image where the batch is open, and 320 pixels where the size is. */
async function oneImage(artifacts: tf.io.ModelArtifacts): Promise<Record<string, readonly number[]>> {
  const model = await loadGraphModel(tf.io.fromMemory(artifacts));
  const shapes = model.inputs.map(
    ({name, shape = []}) =>
      [name, shape.map((size, axis) => (size > 0 ? size : axis === 0 ? 1 : 320))] as const,
  );
  model.dispose();
  return Object.fromEntries(shapes);
}
