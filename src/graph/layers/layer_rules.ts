/** What each Keras layer is as TensorFlow ops: a row a layer class. */
import {type AttrDef, textDef} from '../attrs.js';
import type {Shape} from '../infer.js';
import {makeWeight, sizeOf, type Weight, withShape} from '../weights.js';
import {activate} from './activation_rules.js';
import type {GraphBuilder} from './builder.js';
import {type Config, edgesOf, flagOf, numberOf, pairOf, sizesOf, textOf} from './config.js';
import {LayersError} from './layers_error.js';

/** One call of a layer. */
export interface LayerCall {
  readonly name: string;
  readonly config: Config;
  readonly inputs: readonly string[];
  readonly graph: GraphBuilder;
  /** By its name within the layer. @throws {LayersError} where it is missing. */
  weight(name: string): Weight;
}

/** Adds the layer's nodes; the value it returns is the layer's output. */
export type LayerRule = (call: LayerCall) => string;

const list = (values: readonly number[]): AttrDef => ({list: {i: values.map(String)}});
const NHWC = {data_format: textDef('NHWC')};

const input = ({name, inputs}: LayerCall, i = 0): string => {
  const found = inputs[i];
  if (found === undefined) throw new LayersError(`the layer '${name}' has no input ${i}`);
  return found;
};

function shapeOf(call: LayerCall): Shape {
  const shape = call.graph.shape(input(call));
  if (!shape) throw new LayersError(`the layer '${call.name}' has an input of unknown rank`);
  return shape;
}

function needLast(call: LayerCall): void {
  const format = textOf(call.config, 'data_format', 'channels_last');
  if (format !== 'channels_last')
    throw new LayersError(`the layer '${call.name}' is ${format}; only channels_last is read`);
}

const emit = (
  {graph, name}: LayerCall,
  op: string,
  inputs: readonly string[],
  attrs: Readonly<Record<string, AttrDef>> = {},
): string => graph.add(`${name}/${op}`, op, inputs, attrs);

const window = ({config}: LayerCall): Readonly<Record<string, AttrDef>> => ({
  strides: list([1, ...(pairOf(config, 'strides') ?? [1, 1]), 1]),
  dilations: list([1, ...(pairOf(config, 'dilation_rate') ?? [1, 1]), 1]),
  padding: textDef(textOf(config, 'padding', 'valid').toUpperCase()),
  ...NHWC,
});

/** Bias and activation behind a convolution or a dense layer. */
function finish(call: LayerCall, value: string): string {
  const {config, graph} = call;
  const biased = flagOf(config, 'use_bias', true)
    ? emit(call, 'BiasAdd', [value, graph.weight(call.weight('bias'))], NHWC)
    : value;
  return activate(call, biased, textOf(config, 'activation', 'linear'));
}

function conv(call: LayerCall): string {
  needLast(call);
  return finish(
    call,
    emit(call, 'Conv2D', [input(call), call.graph.weight(call.weight('kernel'))], window(call)),
  );
}

function depthwise(
  call: LayerCall,
  then: (value: string) => string = (value) => finish(call, value),
): string {
  needLast(call);
  const kernel = call.graph.weight(call.weight('depthwise_kernel'));
  return then(emit(call, 'DepthwiseConv2dNative', [input(call), kernel], window(call)));
}

const separable: LayerRule = (call) =>
  depthwise(call, (value) => {
    const kernel = call.graph.weight(call.weight('pointwise_kernel'));
    const once = {
      strides: list([1, 1, 1, 1]),
      dilations: list([1, 1, 1, 1]),
      padding: textDef('VALID'),
      ...NHWC,
    };
    return finish(call, emit(call, 'Conv2D', [value, kernel], once));
  });

/** On a map it is a 1×1 convolution. */
function dense(call: LayerCall): string {
  const kernel = call.weight('kernel');
  const rank = shapeOf(call).length;
  if (rank === 2)
    return finish(
      call,
      emit(call, 'MatMul', [input(call), call.graph.weight(kernel)], {
        transpose_a: {b: false},
        transpose_b: {b: false},
      }),
    );
  if (rank !== 4)
    throw new LayersError(
      `the dense layer '${call.name}' takes a tensor of rank ${rank}; only 2 and 4 are read`,
    );
  const filter = call.graph.weight(withShape(kernel, [1, 1, ...kernel.shape]));
  return finish(
    call,
    emit(call, 'Conv2D', [input(call), filter], {
      strides: list([1, 1, 1, 1]),
      dilations: list([1, 1, 1, 1]),
      padding: textDef('VALID'),
      ...NHWC,
    }),
  );
}

function batchNorm(call: LayerCall): string {
  const {config, graph} = call;
  const shape = shapeOf(call);
  const axis = sizesOf(config, 'axis')?.[0] ?? numberOf(config, 'axis', -1);
  if (axis !== -1 && axis !== shape.length - 1)
    throw new LayersError(`the layer '${call.name}' normalises axis ${axis}; only the last is read`);
  const mean = call.weight('moving_mean');
  const filled = (value: number, what: string): Weight =>
    makeWeight(`${call.name}/${what}`, mean.shape, new Float32Array(sizeOf(mean.shape)).fill(value));
  const gain = flagOf(config, 'scale', true) ? call.weight('gamma') : filled(1, 'gamma');
  const offset = flagOf(config, 'center', true) ? call.weight('beta') : filled(0, 'beta');
  const parts = [gain, offset, mean, call.weight('moving_variance')].map((weight) => graph.weight(weight));
  const attrs = {epsilon: {f: numberOf(config, 'epsilon', 1e-3)}, is_training: {b: false}, ...NHWC};
  if (shape.length === 4) return emit(call, 'FusedBatchNormV3', [input(call), ...parts], attrs);
  // Batch norm of TF.js takes maps only; a vector is seen as one of 1×1 pixels.
  const map = emit(call, 'Reshape', [
    input(call),
    graph.integers(`${call.name}/map`, [-1, 1, 1, sizeOf(mean.shape)]),
  ]);
  const normal = emit(call, 'FusedBatchNormV3', [map, ...parts], attrs);
  return emit(call, 'Reshape', [normal, graph.integers(`${call.name}/vector`, [-1, sizeOf(mean.shape)])]);
}

function layerNorm(call: LayerCall): string {
  const {config, graph, name} = call;
  const shape = shapeOf(call);
  const axis = sizesOf(config, 'axis')?.[0] ?? numberOf(config, 'axis', -1);
  if (axis !== -1 && axis !== shape.length - 1)
    throw new LayersError(`the layer '${name}' normalises axis ${axis}; only the last is read`);
  const axes = graph.integers(`${name}/axes`, [-1]);
  const keep = {keep_dims: {b: true}};
  const mean = emit(call, 'Mean', [input(call), axes], keep);
  const centred = emit(call, 'Sub', [input(call), mean]);
  const variance = graph.add(`${name}/Variance`, 'Mean', [emit(call, 'Square', [centred]), axes], keep);
  const deviation = emit(call, 'Rsqrt', [
    graph.add(`${name}/AddEpsilon`, 'AddV2', [
      variance,
      graph.number(`${name}/epsilon`, numberOf(config, 'epsilon', 1e-3)),
    ]),
  ]);
  let value = graph.add(`${name}/Normal`, 'Mul', [centred, deviation]);
  if (flagOf(config, 'scale', true))
    value = graph.add(`${name}/Gain`, 'Mul', [value, graph.weight(call.weight('gamma'))]);
  if (flagOf(config, 'center', true))
    value = graph.add(`${name}/Offset`, 'AddV2', [value, graph.weight(call.weight('beta'))]);
  return value;
}

const pool =
  (op: string): LayerRule =>
  (call) => {
    needLast(call);
    const size = pairOf(call.config, 'pool_size') ?? [2, 2];
    const strides = pairOf(call.config, 'strides') ?? size;
    const padding = textOf(call.config, 'padding', 'valid').toUpperCase();
    return emit(call, op, [input(call)], {
      ksize: list([1, ...size, 1]),
      strides: list([1, ...strides, 1]),
      padding: textDef(padding),
      ...NHWC,
    });
  };

const globalPool =
  (op: string): LayerRule =>
  (call) => {
    needLast(call);
    const keep = flagOf(call.config, 'keepdims', false);
    return emit(call, op, [input(call), call.graph.integers(`${call.name}/axes`, [1, 2])], {
      keep_dims: {b: keep},
    });
  };

const join =
  (op: string): LayerRule =>
  (call) =>
    call.inputs.slice(1).reduce((value, other) => emit(call, op, [value, other]), input(call));

function concatenate(call: LayerCall): string {
  const axis = call.graph.integers(`${call.name}/axis`, [numberOf(call.config, 'axis', -1)], []);
  // TF.js joins N inputs, two unless told, and drops the others.
  return emit(call, 'ConcatV2', [...call.inputs, axis], {N: {i: String(call.inputs.length)}});
}

function pad(call: LayerCall): string {
  needLast(call);
  const amounts = [0, 0, ...edgesOf(call.config, 'padding'), 0, 0];
  return emit(call, 'Pad', [input(call), call.graph.integers(`${call.name}/paddings`, amounts, [4, 2])]);
}

function crop(call: LayerCall): string {
  needLast(call);
  const [top, bottom, left, right] = edgesOf(call.config, 'cropping');
  const [, h = -1, w = -1] = shapeOf(call);
  if (h < 0 || w < 0) throw new LayersError(`the layer '${call.name}' crops a map of unknown size`);
  const begin = call.graph.integers(`${call.name}/begin`, [0, top, left, 0]);
  return emit(call, 'Slice', [
    input(call),
    begin,
    call.graph.integers(`${call.name}/size`, [-1, h - top - bottom, w - left - right, -1]),
  ]);
}

const resizeTo = (call: LayerCall, height: number, width: number, how: string): string =>
  emit(
    call,
    how === 'bilinear' ? 'ResizeBilinear' : 'ResizeNearestNeighbor',
    [input(call), call.graph.integers(`${call.name}/size`, [height, width])],
    {
      align_corners: {b: false},
      half_pixel_centers: {b: false},
    },
  );

function upSample(call: LayerCall): string {
  needLast(call);
  const [, h = -1, w = -1] = shapeOf(call);
  const [down, across] = pairOf(call.config, 'size') ?? [2, 2];
  if (h < 0 || w < 0) throw new LayersError(`the layer '${call.name}' enlarges a map of unknown size`);
  return resizeTo(call, h * down, w * across, textOf(call.config, 'interpolation', 'nearest'));
}

function flatten(call: LayerCall): string {
  const sizes = shapeOf(call).slice(1);
  if (sizes.includes(-1)) throw new LayersError(`the layer '${call.name}' flattens a tensor of unknown size`);
  return emit(call, 'Reshape', [input(call), call.graph.integers(`${call.name}/shape`, [-1, sizeOf(sizes)])]);
}

function reshape(call: LayerCall): string {
  const target = sizesOf(call.config, 'target_shape') ?? [];
  const open = target.includes(-1) || target.includes(null);
  const whole = shapeOf(call).slice(1);
  if (open && whole.includes(-1))
    throw new LayersError(`the layer '${call.name}' reshapes a tensor of unknown size`);
  const given = target.filter((size): size is number => size !== null && size >= 0);
  const sizes = target.map((size) => (size === null || size < 0 ? sizeOf(whole) / sizeOf(given) : size));
  return emit(call, 'Reshape', [input(call), call.graph.integers(`${call.name}/shape`, [-1, ...sizes])]);
}

function relu(call: LayerCall): string {
  const {config, graph, name} = call;
  const [max, slope, threshold] = [
    config['max_value'],
    numberOf(config, 'negative_slope', 0),
    numberOf(config, 'threshold', 0),
  ];
  if (slope !== 0 || threshold !== 0)
    throw new LayersError(`the layer '${name}' has a slope or threshold; use LeakyReLU`);
  if (max === 6) return emit(call, 'Relu6', [input(call)]);
  const value = emit(call, 'Relu', [input(call)]);
  return typeof max === 'number' ? emit(call, 'Minimum', [value, graph.number(`${name}/max`, max)]) : value;
}

/** Slopes shared over the map, `[1, 1, C]`; others have no stage, but run all the same. */
const prelu: LayerRule = (call) =>
  emit(call, 'Prelu', [input(call), call.graph.weight(call.weight('alpha'))]);

function rescale(call: LayerCall): string {
  const {config, graph, name} = call;
  const scaled = emit(call, 'Mul', [
    input(call),
    graph.number(`${name}/scale`, numberOf(config, 'scale', 1)),
  ]);
  return emit(call, 'AddV2', [scaled, graph.number(`${name}/offset`, numberOf(config, 'offset', 0))]);
}

const passOn: LayerRule = (call) => emit(call, 'Identity', [input(call)]);

export const LAYER_RULES: Readonly<Record<string, LayerRule | undefined>> = {
  Conv2D: conv,
  DepthwiseConv2D: (call) => depthwise(call),
  SeparableConv2D: separable,
  Dense: dense,
  BatchNormalization: batchNorm,
  LayerNormalization: layerNorm,
  Activation: (call) => activate(call, input(call), textOf(call.config, 'activation', 'linear')),
  ReLU: relu,
  LeakyReLU: (call) =>
    emit(call, 'LeakyRelu', [input(call)], {alpha: {f: numberOf(call.config, 'alpha', 0.3)}}),
  PReLU: prelu,
  ELU: (call) => {
    if (numberOf(call.config, 'alpha', 1) !== 1)
      throw new LayersError(`the layer '${call.name}' is an ELU whose alpha is not 1`);
    return emit(call, 'Elu', [input(call)]);
  },
  Softmax: (call) => {
    const axis = numberOf(call.config, 'axis', -1);
    if (axis !== -1 && axis !== shapeOf(call).length - 1)
      throw new LayersError(
        `the layer '${call.name}' takes its softmax over axis ${axis}; only the last is read`,
      );
    return activate(call, input(call), 'softmax');
  },
  MaxPooling2D: pool('MaxPool'),
  AveragePooling2D: pool('AvgPool'),
  GlobalAveragePooling2D: globalPool('Mean'),
  GlobalMaxPooling2D: globalPool('Max'),
  Add: join('AddV2'),
  Multiply: join('Mul'),
  Subtract: join('Sub'),
  Maximum: join('Maximum'),
  Minimum: join('Minimum'),
  Concatenate: concatenate,
  ZeroPadding2D: pad,
  Cropping2D: crop,
  UpSampling2D: upSample,
  Resizing: (call) =>
    resizeTo(
      call,
      numberOf(call.config, 'height', 0),
      numberOf(call.config, 'width', 0),
      textOf(call.config, 'interpolation', 'bilinear'),
    ),
  Flatten: flatten,
  Reshape: reshape,
  Rescaling: rescale,
  Dropout: passOn,
  SpatialDropout2D: passOn,
  GaussianNoise: passOn,
  GaussianDropout: passOn,
  AlphaDropout: passOn,
};
