/** Everything a caller can get wrong about a block: the message names the block, both values and the fix, and nothing leaks. */
import * as tf from '@tensorflow/tfjs-core';
import {
  activationOf,
  type ActivationLike,
  type Block,
  BlockError,
  convNext,
  decodeStages,
  encodeStages,
  mbConv,
  reference,
  runBlock,
  runOrdered,
  type Stage,
  traceBlock,
} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {registerBlockKernels} from '../src/register.js';
import {onBackend} from './support/environment.js';

const KIND = 'BlockMBConv';
const blockOf = (...stages: readonly Stage[]): Block => ({kind: KIND, stages});
/** A stage with fields that its type forbids, as a model file or a JavaScript caller may bring it. */
const broken = (stage: Stage, changes: Readonly<Record<string, unknown>>): Stage => ({...stage, ...changes});

const spatial = spatialStage('spatial', {kernel: 3, group: 1, channels: 8});
const project = pointwiseStage('project', 8);
const blur: Stage = {op: 'blurpool', name: 'blur', taps: 3, stride: 2, mode: 'reflect'};
const at = (shape: readonly number[], ...stages: readonly Stage[]): (() => unknown) => {
  return () => traceBlock(blockOf(...stages), shape);
};

/** `[what is wrong, the call, what the message must contain]`. */
type Row = readonly [string, () => unknown, readonly string[]];

// prettier-ignore
const SHAPES: readonly Row[] = [
  ['an input of rank 3', at([4, 4, 8], project), [KIND, 'rank 3', '[4, 4, 8]', '[N, H, W, C]', 'expandDims']],
  ['an open axis', at([-1, 4, 4, 8], project), [KIND, '[-1, 4, 4, 8]', 'concrete sizes']],
  ['a fractional axis', at([1, 4.5, 4, 8], project), [KIND, '4.5', 'concrete sizes']],
  ['groups that do not divide the input', at([1, 4, 4, 8], {...spatial, group: 3}), [`${KIND}.spatial`, '8 channels', 'groups of 3', 'filter is for other channels']],
  ['groups that do not divide the output', at([1, 4, 4, 8], {...spatial, group: 2, channels: 6}), [`${KIND}.spatial`, '6 output channels', '4 groups', 'make them a multiple']],
  ['a window larger than the map', at([1, 4, 2, 8], {...spatial, pad: 'valid'}), [`${KIND}.spatial`, '3×3 window', '4×2 map', '[0, 0, 0, 0]', 'pad more or feed a larger map']],
  ['a pool with windows beyond the map', at([1, 4, 4, 8], {op: 'pool', name: 'pool', mode: 'max', kernel: [2, 2], stride: [1, 1], pad: [0, 0, 2, 0]}), [`${KIND}.pool`, '2×2 pool', '[0, 0, 2, 0]', 'pad less']],
  ['a dilated window larger than the map', at([1, 4, 4, 8], {...spatial, pad: 'valid', dilation: [2, 2]}), [`${KIND}.spatial`, 'dilation 2×2', '4×4 map', 'pad more']],
  ['stride and dilation', at([1, 4, 4, 8], {...spatial, stride: [2, 2], dilation: [1, 2]}), [`${KIND}.spatial`, 'stride 2×2', 'dilation 1×2', 'set one to 1']],
  ['unequal strides', at([1, 4, 4, 8], {...spatial, stride: [2, 1]}), [`${KIND}.spatial`, '2 and 1', 'equal strides']],
  ['a residual of other channels', at([1, 4, 4, 4], project, residualStage()), [`${KIND}.residual`, '[1, 4, 4, 8]', '[1, 4, 4, 4]', 'drop the residual', 'projection']],
  ['a residual of another size', at([1, 4, 4, 8], {...spatial, stride: [2, 2]}, residualStage()), [`${KIND}.residual`, '[1, 2, 2, 8]', '[1, 4, 4, 8]', 'drop the residual']],
  ['a projected residual that does not fit', at([1, 4, 4, 4], project, residualStage([pointwiseStage('shortcut', 6)])), [`${KIND}.residual`, '[1, 4, 4, 8]', '[1, 4, 4, 6]']],
  ['a given map with a shortcut', at([1, 4, 4, 8], project, {...residualStage([pointwiseStage('shortcut', 8)]), given: true}), [`${KIND}.residual`, 'no shortcut', '1 stages', 'in front of the block']],
  ['a concat behind a stride', at([1, 4, 4, 8], {...spatial, stride: [2, 2]}, {op: 'concat', name: 'concat'}), [`${KIND}.concat`, '2×2 map', '4×4', 'subsample after the concat']],
  ['a blur without centre', at([1, 4, 4, 8], broken(blur, {taps: 4})), [`${KIND}.blur`, '4 taps', 'odd number']],
  ['a map too small to reflect', at([1, 4, 1, 8], blur), [`${KIND}.blur`, '4×1 map', 'by 1', "mode 'zero'"]],
  ['a shortcut padded to fewer channels', at([1, 4, 4, 8], project, residualStage([{op: 'padchannels', name: 'widen', channels: 6}])), [`${KIND}.widen`, '8 channels', 'to 6']],
];

// prettier-ignore
const STAGES: readonly Row[] = [
  ['an unknown stage', at([1, 4, 4, 8], broken(project, {op: 'attention'})), [`${KIND}.project`, "'attention'", 'update tfjs-block-fusion']],
  ['a stage named like a property of every object', at([1, 4, 4, 8], broken(project, {op: 'constructor'})), ["'constructor'", 'update']],
  ['no list of stages', () => traceBlock({kind: KIND} as Block, [1, 4, 4, 8]), [KIND, 'undefined', 'must be a list']],
  ['a stage that is null', () => traceBlock(blockOf(...decodeStages('[null]')), [1, 4, 4, 8]), [KIND, 'null', 'Was the model file edited?']],
  ['a missing field', at([1, 4, 4, 8], broken(spatial, {stride: undefined})), [`${KIND}.spatial`, 'stride is missing', 'two positive integers']],
  ['a stride of 0', at([1, 4, 4, 8], {...spatial, stride: [0, 0]}), ['stride is [0,0]', 'two positive integers']],
  ['a fractional group', at([1, 4, 4, 8], {...spatial, group: 1.5}), ['group is 1.5', 'a positive integer']],
  ['channels that are text', at([1, 4, 4, 8], broken(project, {channels: '8'})), ['channels is "8"', 'a positive integer']],
  ['a negative padding', at([1, 4, 4, 8], {...spatial, pad: [-1, 0, 0, 0]}), ['pad is [-1,0,0,0]', "'same' or 'valid' or [top, bottom, left, right]"]],
  ['an unknown padding', at([1, 4, 4, 8], broken(spatial, {pad: 'full'})), ['pad is "full"', "'same' or 'valid'"]],
  ['an epsilon that is no number', at([1, 4, 4, 8], {op: 'grn', name: 'grn', epsilon: NaN}), [`${KIND}.grn`, 'epsilon is NaN', 'at least 0']],
  ['an unknown pool', at([1, 4, 4, 8], {op: 'pool', name: 'pool', kernel: [2, 2], stride: [2, 2], pad: 'same', mode: 'min' as 'max'}), ['mode is "min"', "'max' or 'avg'"]],
  ['an unknown activation', at([1, 4, 4, 8], broken(project, {activation: {fn: 'mish'}})), [`${KIND}.project`, 'activation is {"fn":"mish"}', 'relu6', 'gelutanh']],
  ['an activation by name alone', at([1, 4, 4, 8], broken(project, {activation: 'relu'})), ['activation is "relu"', '{fn, …}']],
  ['an activation without its number', at([1, 4, 4, 8], broken(project, {activation: {fn: 'leakyrelu'}})), ['activation is {"fn":"leakyrelu"}', 'with its numbers']],
  ['a prelu where no slopes are', at([1, 4, 4, 8], gateStage(2, 'relu', 'prelu')), [`${KIND}.gate`, 'gate is {"fn":"prelu"}', 'no slopes here']],
  ['a name that lower-casing changes', at([1, 4, 4, 8], {...project, name: 'projectOut'}), ['"projectOut"', 'lower-case word', 'Rename']],
  ['a weight name taken twice', at([1, 4, 4, 8], project, residualStage([{...project}])), [KIND, "'projectFilter'", 'a name of its own']],
  ['a given map that is neither there nor absent', at([1, 4, 4, 8], project, broken(residualStage(), {given: 'yes'})), [`${KIND}.residual`, 'given is "yes"', 'true or absent']],
  ['a gate in a shortcut', at([1, 4, 4, 8], project, residualStage([gateStage(2) as never])), [`${KIND}.gate`, 'cannot be in a shortcut', 'main path']],
  ['a broken shortcut', at([1, 4, 4, 8], project, residualStage([{...project, name: 'shortcut', channels: 0}])), [`${KIND}.shortcut`, 'channels is 0']],
  ['stages that are no JSON', () => decodeStages('[{"op":'), ['not JSON', 'was the model file edited?']],
  ['stages that are no list', () => decodeStages('{"op":"pointwise"}'), ['{"op":"pointwise"}', 'must be a list']],
  ['an activation name unknown to typed ops', () => activationOf('mish' as ActivationLike), ["'mish'", 'use one of', 'hardswish']],
  ['the name of an object property as activation', () => activationOf('toString' as ActivationLike), ["'toString'"]],
];

function expectError(call: () => unknown, parts: readonly string[]): void {
  let caught: unknown;
  try {
    call();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(BlockError);
  for (const part of parts) expect((caught as Error | undefined)?.message).toContain(part);
}

describe('a block that cannot be', () => {
  for (const [name, call, parts] of [...SHAPES, ...STAGES]) {
    it(`is refused for ${name}`, () => expectError(call, parts));
  }
});

onBackend('cpu', 'a block call that cannot be', () => {
  beforeAll(() => registerBlockKernels());

  const block = blockOf(spatial, project);
  const text = encodeStages(block.stages);
  const good = (): {x: tf.Tensor4D; weights: Record<string, tf.Tensor>} => ({
    x: tf.zeros([1, 4, 4, 8]),
    weights: {
      spatialFilter: tf.zeros([3, 3, 1, 8]),
      spatialBias: tf.zeros([8]),
      projectFilter: tf.zeros([8, 8]),
      projectBias: tf.zeros([8]),
    },
  });

  type Call = (x: tf.Tensor4D, weights: Record<string, tf.Tensor>) => unknown;
  const without = (name: string, all: Record<string, tf.Tensor>): Record<string, tf.Tensor> =>
    Object.fromEntries(Object.entries(all).filter(([key]) => key !== name));

  // prettier-ignore
  const CALLS: readonly (readonly [string, Call, readonly string[]])[] = [
    ['an int32 input', (x, w) => runBlock(block, tf.cast(x, 'int32'), w), [KIND, 'x is int32', 'float32', 'cast it']],
    ['a map without batch', (x, w) => runBlock(block, tf.squeeze(x, [0]), w), ['rank 3', 'expandDims']],
    ['other channels than the filters', (_x, w) => runBlock(block, tf.zeros([1, 4, 4, 3]), w), [`${KIND}.spatial`, '8 output channels', '3 groups']],
    ['a missing weight', (x, w) => runBlock(block, x, without('projectBias', w)), [KIND, "'projectBias' [8] is missing", 'pass it']],
    ['an extra weight', (x, w) => runBlock(block, x, {...w, gateAlpha: tf.zeros([2])}), [KIND, "no weight 'gateAlpha'", 'it takes spatialFilter']],
    ['a weight of another shape', (x, w) => runBlock(block, x, {...w, projectFilter: tf.zeros([8, 9])}), ["'projectFilter' is [8, 9]", 'must be [8, 8]', '[1, 4, 4, 8]']],
    ['an int32 weight', (x, w) => runBlock(block, x, {...w, projectBias: tf.zeros([8], 'int32')}), ["'projectBias' is int32", 'float32', 'cast it']],
    ['a bad weight of the reference', (x, w) => reference(block, x, {...w, spatialBias: tf.zeros([7])}), ["'spatialBias' is [7]", 'must be [8]']],
    ['too few inputs in graph order', (x, w) => runOrdered(KIND, text, [x, ...Object.values(w).slice(1)]), [KIND, 'it takes 4 weights', 'was given 3']],
    ['inputs in another order', (x, w) => runOrdered(KIND, text, [x, ...Object.values(w).reverse()]), ["'spatialFilter' is [8]", 'must be [3, 3, 1, 8]']],
    ['no inputs at all', () => runOrdered(KIND, text, []), [KIND, 'pass x']],
    ['stages that are no JSON', (x) => runOrdered(KIND, '[', [x]), ['not JSON']],
    ['a kernel call without stages', (x) => tf.engine().runKernel(KIND, [x] as unknown as tf.NamedTensorMap, {}), [KIND, "'stages'", 'runBlock']],
    ['a typed op without its filter', (x) => mbConv(x, {} as Parameters<typeof mbConv>[1]), [KIND, "'spatialFilter' is missing"]],
    ['a typed op with a filter of another rank', (x, w) => mbConv(x, {spatialFilter: w['projectFilter'] as tf.Tensor4D, projectFilter: w['projectFilter'] as tf.Tensor2D}), ["'spatialFilter' is of rank 2", 'rank 4', 'reshape']],
    ['a typed op of another kind of convolution', (x, w) => mbConv(x, {spatialFilter: tf.zeros([3, 3, 8, 8]), projectFilter: w['projectFilter'] as tf.Tensor2D}), [`${KIND}.spatial`, 'found full', 'needed depthwise or grouped']],
    ['a typed op with an offset and no gain', (x, w) => convNext(x, {spatialFilter: w['spatialFilter'] as tf.Tensor4D, normOffset: w['spatialBias'] as tf.Tensor1D, expandFilter: tf.zeros([8, 16]), projectFilter: tf.zeros([16, 8])}), ['BlockConvNeXt', "no weight 'normOffset'"]],
  ];

  for (const [name, call, parts] of CALLS) {
    it(`is refused for ${name}, and leaves nothing behind`, () => {
      const before = tf.memory().numTensors;
      tf.tidy(() => {
        const {x, weights} = good();
        expectError(() => tf.tidy(() => void call(x, weights)), parts);
      });
      expect(tf.memory().numTensors).toBe(before);
    });
  }

  it('does not stop the next one', async () => {
    const {x, weights} = good();
    expectError(() => runBlock(block, x, {}), ['missing']);
    const out = runBlock(block, x, weights);
    expect((await out.data()).every((value) => value === 0)).toBeTrue();
    tf.dispose([x, weights, out]);
  });
});
