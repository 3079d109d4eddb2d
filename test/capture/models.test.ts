/** Models, captured: graph models with and without ops on the CPU, layers models, blocks, trained models. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {layers, sequential} from '@tensorflow/tfjs-layers';
import type {GraphModel} from '@tensorflow/tfjs-converter';
import {runBlock, traceBlock, type Block, BLOCK_SPECS} from '../../ops/index.js';
import {capture, type Capture} from '../../src/capture/index.js';
import {FusedModel} from '../../src/fused_model.js';
import {fuse} from '../../src/fuse.js';
import {registerBlockKernels} from '../../src/register.js';
import {onBackend} from '../support/environment.js';
import {measureMemory} from '../support/expect_no_leak.js';
import {loadFixture, loadHumanModel} from '../support/model_files.js';
import {seededTensors} from '../support/random.js';
import {loadSmallGraph, placeholder} from '../support/small_graphs.js';
import {BOXES, detector, expectReplayEquals, expectSameBits, valuesOf} from './support.js';

const FLOATS = {T: {type: 'DT_FLOAT'}};

/** Only on a GPU are pipelines compiled ahead. Undone by the returned function. */
function pretendHardware(device: GPUDevice): () => void {
  const value = {vendor: 'nvidia', architecture: '', device: '', description: ''};
  const own = Object.getOwnPropertyDescriptor(device, 'adapterInfo'); // In Node; in a browser it is the prototype's.
  Object.defineProperty(device, 'adapterInfo', {value, configurable: true});
  return () => {
    Reflect.deleteProperty(device, 'adapterInfo');
    if (own) Object.defineProperty(device, 'adapterInfo', own);
  };
}

onBackend('webgpu', 'capture of models', () => {
  let make: ReturnType<typeof seededTensors>;
  let captured: Capture | undefined;

  beforeEach(() => {
    make = seededTensors(3);
  });
  afterEach(() => {
    captured?.dispose();
    captured = undefined;
  });

  it('compiles all pipelines side by side before it records, stock and fused', async () => {
    const shape = [1, 10, 12, 4]; // a size that no other spec compiles for
    const stock = sequential({
      layers: [
        layers.depthwiseConv2d({
          inputShape: shape.slice(1),
          kernelSize: 3,
          padding: 'same',
          activation: 'relu6',
        }),
        layers.conv2d({filters: 20, kernelSize: 1, activation: 'relu'}),
        layers.globalAveragePooling2d({}),
      ],
    });
    const fused = await fuse(stock);
    const {device} = tf.backend() as WebGPUBackend;
    const restore = pretendHardware(device);
    const oneByOne = spyOn(device, 'createComputePipeline').and.callThrough();
    const aside = spyOn(device, 'createComputePipelineAsync').and.callThrough();
    const x = make(shape);
    const records = {
      stock: () => capture(stock, {shape, dtype: 'float32'}),
      fused: () => fused.capture({shape, dtype: 'float32'}),
    };
    for (const [name, record] of Object.entries(records)) {
      for (const spy of [aside, oneByOne]) spy.calls.reset();
      const one = await record();
      expect(one.mode).withContext(name).toBe('replay');
      expect(aside).withContext(name).toHaveBeenCalled();
      expect(oneByOne.calls.allArgs().map(([{label}]) => label))
        .withContext(name)
        .toEqual([]);
      await expectReplayEquals(
        one,
        (input) => [(name === 'stock' ? stock : fused).predict(input)].flat() as tf.Tensor[],
        [x],
      );
      one.dispose();
    }
    restore();
    x.dispose();
    fused.dispose();
    stock.dispose();
  });

  it('compiles ahead what stands before ops on the CPU', async () => {
    const {device} = tf.backend() as WebGPUBackend;
    const model = await loadSmallGraph(detector());
    const specs = {
      boxes: {shape: [BOXES, 4], dtype: 'float32'},
      scores: {shape: [BOXES], dtype: 'float32'},
    } as const;
    const restore = pretendHardware(device);
    const {before, after} = await measureMemory(async () => {
      const one = await capture(model, specs);
      expect(one.mode).toBe('segments');
      one.dispose();
    });
    expect(after).toEqual(before);
    restore();
    model.dispose();
  });

  it('splits a graph at an op on the CPU', async () => {
    const model = await loadSmallGraph(detector());
    captured = await capture(model, {
      boxes: {shape: [BOXES, 4], dtype: 'float32'},
      scores: {shape: [BOXES], dtype: 'float32'},
    });
    expect(captured.mode).toBe('segments');
    expect(captured.reason).toContain("NonMaxSuppressionV3 ('chosen')");
    expect(captured.segments).toEqual([
      {kind: 'replay', dispatches: 2},
      {kind: 'plain', hostOps: ['NonMaxSuppressionV3']},
    ]);
    for (let i = 0; i < 3; i++) {
      const feeds = {boxes: make([BOXES, 4]), scores: make([BOXES], 4)};
      const expected = await valuesOf([await model.executeAsync(feeds, ['result', 'sure'])].flat());
      expectSameBits(await captured.predictAsync(feeds), expected);
      expectSameBits(await valuesOf(await captured.executeAsync(feeds)), expected);
      tf.dispose(feeds);
    }
    model.dispose();
  });

  it('leaves nothing behind of a split graph', async () => {
    const model = await loadSmallGraph(detector());
    const feeds = {boxes: make([BOXES, 4]), scores: make([BOXES], 4)};
    const {before, after} = await measureMemory(async () => {
      const one = await capture(model, feeds);
      for (let i = 0; i < 5; i++) await one.predictAsync(feeds);
      one.dispose();
    });
    expect(after).toEqual(before);
    tf.dispose(feeds);
    model.dispose();
  });

  it('freezes shape arithmetic', async () => {
    const model = await loadSmallGraph({
      nodes: [
        placeholder('x', [-1, 4, 4]),
        {name: 'shape', op: 'Shape', input: ['x'], attr: {out_type: {type: 'DT_INT32'}}},
        {
          ...{name: 'batch', op: 'StridedSlice', input: ['shape', 'begin', 'end', 'strides']},
          attr: {shrink_axis_mask: {i: '1'}},
        },
        {name: 'target', op: 'Pack', input: ['batch', 'rest'], attr: {axis: {i: '0'}}},
        {name: 'flat', op: 'Reshape', input: ['x', 'target']},
        {name: 'y', op: 'Square', input: ['flat']},
      ],
      weights: {
        begin: tf.tensor1d([0], 'int32'),
        end: tf.tensor1d([1], 'int32'),
        strides: tf.tensor1d([1], 'int32'),
        rest: tf.scalar(16, 'int32'),
      },
      outputs: ['y'],
    });
    captured = await capture(model, {shape: [2, 4, 4], dtype: 'float32'});
    expect(captured.mode).toBe('replay');
    expect(captured.dispatches).toBe(1);
    expect(captured.outputs[0]?.shape).toEqual([2, 16]);
    expect((await captured.predictAsync(new Float32Array(32).fill(3)))[0]).toEqual(
      new Float32Array(32).fill(9),
    );
    model.dispose();
  });

  it('returns weights and inputs of a graph, and leaves them to their owner', async () => {
    const model = await loadSmallGraph({
      nodes: [placeholder('x', [2, 3]), {name: 'y', op: 'Mul', input: ['x', 'scale'], attr: FLOATS}],
      weights: {scale: tf.tensor1d([1, 2, 3]), shape: tf.tensor1d([2, 3], 'int32')},
      outputs: ['shape', 'scale', 'x', 'y'],
    });
    const expected = [
      ...[new Int32Array([2, 3]), new Float32Array([1, 2, 3]), new Float32Array([1, 1, 1, 2, 2, 2])],
      new Float32Array([1, 2, 3, 2, 4, 6]),
    ];
    const input = expected[2] as Float32Array;
    const {before, after} = await measureMemory(async () => {
      const one = await capture(model, {shape: [2, 3], dtype: 'float32'});
      expect(one.mode)
        .withContext(one.reason ?? '')
        .toBe('replay');
      for (let i = 0; i < 2; i++) {
        expectSameBits(await one.predictAsync(input), expected);
        expectSameBits(await valuesOf(one.predict(input)), expected);
      }
      one.dispose();
    });
    expect(after).toEqual(before);
    const x = tf.tensor2d(input, [2, 3]);
    const [shape, scale, same, y] = model.execute(x, ['shape', 'scale', 'x', 'y']) as tf.Tensor[];
    expectSameBits(
      await Promise.all([shape, scale, same, y].map((tensor) => (tensor as tf.Tensor).data())),
      expected,
    );
    tf.dispose([x, y]);
    model.dispose();
  });

  for (const variant of ['stock', 'fused']) {
    it(`replays a converted graph among whose outputs are constants, ${variant}`, async () => {
      registerBlockKernels();
      const stock = await loadFixture('tf1_mobilenet_v2');
      const model = variant === 'fused' ? await fuse(stock) : stock;
      const shape = [1, 64, 64, 3];
      captured = await (model instanceof FusedModel
        ? model.capture({shape, dtype: 'float32'})
        : capture(model, {shape, dtype: 'float32'}));
      expect(captured.mode)
        .withContext(captured.reason ?? '')
        .toBe('replay');
      const inputs = [make(shape), make(shape)];
      const run = (x: tf.Tensor): tf.Tensor[] => [model.execute(x, model.outputNodes)].flat();
      await expectReplayEquals(captured, run, inputs);
      tf.dispose(inputs);
      model.dispose();
      if (model !== stock) stock.dispose();
    });
  }

  it('replays a layers model', async () => {
    const model = sequential({
      layers: [
        layers.conv2d({inputShape: [8, 8, 3], filters: 4, kernelSize: 3, activation: 'relu'}),
        layers.batchNormalization(),
        layers.flatten(),
        layers.dense({units: 5, activation: 'softmax'}),
      ],
    });
    const image = make([1, 8, 8, 3]);
    captured = await capture(model, image);
    expect(captured.mode).toBe('replay');
    await expectReplayEquals(captured, (x) => [model.predict(x) as tf.Tensor], [image]);
    image.dispose();
    model.dispose();
  });

  it('replays the kernels of blocks', async () => {
    registerBlockKernels();
    const spec = BLOCK_SPECS.find(({kind}) => kind === 'BlockMBConv');
    const example = spec?.cases[0];
    if (!spec || !example) throw new Error('There is no case of BlockMBConv.');
    const block: Block = {kind: spec.kind, stages: example.stages};
    const entries = traceBlock(block, example.input).weights.map(
      ({name, shape}) => [name, make(shape)] as const,
    );
    const weights = Object.fromEntries(entries);
    const run = (x: tf.Tensor): tf.Tensor => runBlock(block, x, weights);
    captured = await capture(run, {shape: example.input, dtype: 'float32'});
    expect(captured.mode)
      .withContext(captured.reason ?? '')
      .toBe('replay');
    const inputs = [make(example.input), make(example.input)];
    await expectReplayEquals(captured, (x) => [run(x)], inputs);
    tf.dispose([weights, inputs]);
  });

  for (const name of ['liveness']) {
    it(`replays the trained model ${name}`, async () => {
      const model: GraphModel = await loadHumanModel(name);
      const shape = (model.inputs[0]?.shape ?? []).map((size) => (size < 0 ? 1 : size));
      captured = await capture(model, {shape, dtype: 'float32'});
      expect(captured.mode)
        .withContext(captured.reason ?? '')
        .toBe('replay');
      const inputs = [make(shape), make(shape)];
      await expectReplayEquals(captured, (x) => [model.predict(x)].flat() as tf.Tensor[], inputs);
      tf.dispose(inputs);
      model.dispose();
    });
  }
});
