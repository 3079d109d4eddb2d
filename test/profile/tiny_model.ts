/** A stem, two MBConv blocks (the second with squeeze-and-excite), and a softmax: as ops, and with the blocks fused by hand. */
import * as tf from '@tensorflow/tfjs-core';
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import {encodeStages, type Stage} from '../../ops/index.js';
import {registerBlockKernels} from '../../src/register.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../../ops/stages/make.js';
import {seededTensors} from '../support/random.js';

interface NodeJSON {
  readonly name: string;
  readonly op: string;
  readonly input: readonly string[];
  readonly attr: Readonly<Record<string, unknown>>;
}

const KIND = 'BlockMBConv';
const text = (value: string): {s: string} => ({s: btoa(value)});
const ints = (...values: readonly number[]): {list: {i: string[]}} => ({list: {i: values.map(String)}});
const FLOAT = {T: {type: 'DT_FLOAT'}};

const node = (
  name: string,
  op: string,
  input: readonly string[],
  attr: Record<string, unknown> = {},
): NodeJSON => ({
  name,
  op,
  input,
  attr: {...FLOAT, ...attr},
});

const convolution = (stride: number): Record<string, unknown> => ({
  strides: ints(1, stride, stride, 1),
  dilations: ints(1, 1, 1, 1),
  padding: text('SAME'),
  data_format: text('NHWC'),
});

/** Input `[N, 8, 8, 3]`; 4 channels after the stem. Const nodes hold their shape here and their values in the weights. */
const WEIGHTS: Readonly<Record<string, readonly number[]>> = {
  stem_w: [3, 3, 3, 4],
  expand_w: [1, 1, 4, 8],
  expand_b: [8],
  depthwise_w: [3, 3, 8, 1],
  project_w: [1, 1, 8, 4],
  gate_depthwise_w: [3, 3, 4, 1],
  reduce_w: [1, 1, 4, 2],
  excite_w: [1, 1, 2, 4],
  gate_project_w: [1, 1, 4, 6],
  dense_w: [6, 12],
};

const stem = node('stem', 'Conv2D', ['x', 'stem_w'], convolution(1));
const head = [
  node('pooled', 'Mean', ['gated', 'spatial_axes'], {keep_dims: {b: false}}),
  node('logits', 'MatMul', ['pooled', 'dense_w'], {transpose_a: {b: false}, transpose_b: {b: false}}),
  node('scores', 'Softmax', ['logits']),
];

const BEFORE: readonly NodeJSON[] = [
  stem,
  node('expand_conv', 'Conv2D', ['stem', 'expand_w'], convolution(1)),
  node('expand_bias', 'BiasAdd', ['expand_conv', 'expand_b']),
  node('expand', 'Relu6', ['expand_bias']),
  node('depthwise_conv', 'DepthwiseConv2dNative', ['expand', 'depthwise_w'], convolution(1)),
  node('depthwise', 'Relu6', ['depthwise_conv']),
  node('project', 'Conv2D', ['depthwise', 'project_w'], convolution(1)),
  node('added', 'AddV2', ['project', 'stem']),
  node('gate_conv', 'DepthwiseConv2dNative', ['added', 'gate_depthwise_w'], convolution(2)),
  node('squeezed', 'Mean', ['gate_conv', 'spatial_axes'], {keep_dims: {b: true}}),
  node('reduce_conv', 'Conv2D', ['squeezed', 'reduce_w'], convolution(1)),
  node('reduce', 'Relu', ['reduce_conv']),
  node('excite_conv', 'Conv2D', ['reduce', 'excite_w'], convolution(1)),
  node('gate', 'Sigmoid', ['excite_conv']),
  node('scaled', 'Mul', ['gate_conv', 'gate']),
  node('gated', 'Conv2D', ['scaled', 'gate_project_w'], convolution(1)),
  ...head,
];

export const PLAIN_STAGES: readonly Stage[] = [
  pointwiseStage('expand', 8, 'relu6', true),
  spatialStage('spatial', {kernel: [3, 3], group: 1, channels: 8, bias: false, activation: 'relu6'}),
  pointwiseStage('project', 4, 'linear', false),
  residualStage(),
];
const GATED_STAGES: readonly Stage[] = [
  spatialStage('spatial', {
    kernel: [3, 3],
    stride: 2,
    group: 1,
    channels: 4,
    bias: false,
    activation: 'linear',
  }),
  gateStage(2, 'relu', 'sigmoid', false),
  pointwiseStage('project', 6, 'linear', false),
];

const AFTER: readonly NodeJSON[] = [
  stem,
  node('added', KIND, ['stem', 'expand_f', 'expand_b', 'depthwise_f', 'project_f'], {
    stages: text(encodeStages(PLAIN_STAGES)),
  }),
  node('gated', KIND, ['added', 'gate_depthwise_f', 'reduce_f', 'excite_f', 'gate_project_f'], {
    stages: text(encodeStages(GATED_STAGES)),
  }),
  ...head,
];

/** The block's shapes of the same bytes: `[kh, kw, 1, C]` and `[C, K]`. */
const BLOCK_WEIGHTS: Readonly<Record<string, readonly [string, readonly number[]]>> = {
  expand_f: ['expand_w', [4, 8]],
  depthwise_f: ['depthwise_w', [3, 3, 1, 8]],
  project_f: ['project_w', [8, 4]],
  gate_depthwise_f: ['gate_depthwise_w', [3, 3, 1, 4]],
  reduce_f: ['reduce_w', [4, 2]],
  excite_f: ['excite_w', [2, 4]],
  gate_project_f: ['gate_project_w', [4, 6]],
};

export interface TinyModels {
  readonly before: GraphModel;
  readonly after: GraphModel;
  readonly dispose: () => void;
}

/** Both models, with the same seeded weights, for the current backend. */
export async function tinyModels({seed = 7}: {readonly seed?: number} = {}): Promise<TinyModels> {
  registerBlockKernels();
  const make = seededTensors(seed);
  const values: Record<string, Float32Array> = {};
  for (const [name, shape] of Object.entries(WEIGHTS)) {
    const tensor = make(shape);
    values[name] = (await tensor.data()) as Float32Array; // seededTensors makes float32
    tensor.dispose();
  }
  const before = await load(BEFORE, WEIGHTS, values);
  const shapes = Object.fromEntries(Object.entries(BLOCK_WEIGHTS).map(([name, [, shape]]) => [name, shape]));
  const shared = Object.fromEntries(
    Object.entries(BLOCK_WEIGHTS).map(([name, [source]]) => [name, values[source] as Float32Array]),
  );
  const after = await load(AFTER, {...WEIGHTS, ...shapes}, {...values, ...shared});
  return {
    before,
    after,
    dispose: () => {
      before.dispose();
      after.dispose();
    },
  };
}

async function load(
  nodes: readonly NodeJSON[],
  shapes: Readonly<Record<string, readonly number[]>>,
  values: Readonly<Record<string, Float32Array>>,
): Promise<GraphModel> {
  const specs = Object.entries(shapes).map(([name, shape]) => ({
    name,
    shape: [...shape],
    dtype: 'float32' as const,
  }));
  const axes = {name: 'spatial_axes', shape: [2], dtype: 'int32' as const};
  const constants = [...specs, axes].map(({name, dtype}) =>
    node(name, 'Const', [], {dtype: {type: dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT'}}),
  );
  const input = node('x', 'Placeholder', [], {dtype: {type: 'DT_FLOAT'}, shape: {shape: dims(-1, 8, 8, 3)}});
  const data = [...specs.map(({name}) => values[name] as Float32Array), Int32Array.from([1, 2])];
  return loadGraphModel(
    tf.io.fromMemory({
      format: 'graph-model',
      modelTopology: {node: [input, ...constants, ...nodes], versions: {producer: 1}},
      weightSpecs: [...specs, axes],
      weightData: tf.io.CompositeArrayBuffer.join(data.map(({buffer}) => buffer as ArrayBuffer)),
    }),
  );
}

const dims = (...sizes: readonly number[]): {dim: {size: string}[]} => ({
  dim: sizes.map((size) => ({size: String(size)})),
});
