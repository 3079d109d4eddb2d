/**
 * The gradient of a block, stage by stage. The forward pass is run again by fused ops, as far as the gradients need it, so
 * that only x and the weights are kept between the passes (gradient checkpointing by block). Convolutions, their biases and
 * the usual activations have gradients of their own; TF.js differentiates every other stage.
 */
import * as tf from '@tensorflow/tfjs-core';
import {applyActivation} from './activation.js';
import {
  type Activation,
  type Block,
  LINEAR,
  type PointwiseStage,
  type ResidualStage,
  type SpatialStage,
  type Stage,
} from './block.js';
import {isDifferentiated, nestedGrads} from './nested_grads.js';
import {type BlockWeights, reference} from './reference.js';
import {convolveGroups, pointwiseGradient, spatialGradient} from './stages/conv_gradient.js';
import {activate, activationGradient} from './stages/gradient_kernels.js';
import {definitionOf, type SimpleStage} from './stages/index.js';
import {type Trace, traceBlock, weightName} from './trace.js';

/** A value that is made when it is first asked for. */
type Lazy = () => tf.Tensor4D;

function lazily(make: Lazy): Lazy {
  let value: tf.Tensor4D | undefined;
  return () => (value ??= make());
}

/** A stage with its values in the forward pass. */
interface Step<S extends Stage = Stage> {
  readonly stage: S;
  readonly input: Lazy;
  readonly output: Lazy;
  /** Before the activation, of a convolution or an add. */
  readonly linear: Lazy;
  /** Of a residual. */
  readonly shortcut?: readonly Step[];
}

/** What a walk over the stages needs to know. */
interface Pass {
  readonly x: tf.Tensor4D;
  readonly weights: BlockWeights;
  /** Of each stage's weights, by the stage's name: `Filter`, `Bias`, … */
  readonly suffixes: ReadonlyMap<string, readonly string[]>;
  /** Of the weights, by name; filled on the way back. */
  readonly found: Map<string, tf.Tensor>;
  /** Parts of x's own gradient that do not come down the main path. */
  readonly besides: Pending[];
}

/** A gradient that is made when it is asked for, from tensors that are held for it. */
interface Pending {
  readonly held: readonly tf.Tensor[];
  readonly make: Lazy;
}

const made = (value: tf.Tensor4D): Pending => ({held: [value], make: () => value});

export interface BlockGradients {
  /** Asked for once, or not at all: the first block of a network has no use for it. */
  readonly x: () => tf.Tensor;
  /** In the order of traceBlock's `weights`. */
  readonly weights: readonly tf.Tensor[];
}

/** @param weights By name. @param dy Of the block's output. Call inside a tidy. */
export function gradientsOf(
  block: Block,
  x: tf.Tensor4D,
  weights: BlockWeights,
  dy: tf.Tensor,
): BlockGradients {
  const trace = traceBlock(block, x.shape);
  const names = trace.weights.map(({name}) => name);
  if (isDifferentiated()) {
    const forward = (input: tf.Tensor, ...values: tf.Tensor[]): tf.Tensor =>
      reference(block, input, Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor])), {
        differentiable: true,
      });
    const [slope, ...found] = nestedGrads(
      forward,
      [x, ...names.map((name) => weights[name] as tf.Tensor)],
      dy,
    );
    return {x: () => slope as tf.Tensor, weights: found};
  }
  const pass: Pass = {x, weights, suffixes: suffixesOf(trace), found: new Map(), besides: []};
  const found = tf.tidy(() => {
    const stages = block.stages.filter(({op}) => op !== 'flatten');
    // A vector has the values of its 1×1 map.
    const slope = dy.rank === 2 ? tf.reshape(dy, [dy.shape[0], 1, 1, dy.shape[1] ?? 1]) : dy;
    const main = goBack(
      pass,
      stepsOf(pass, stages, () => x),
      slope as tf.Tensor4D,
    );
    pass.besides.push(main);
    // What came from outside is not ours to keep or to dispose.
    const held = pass.besides.flatMap((part) => part.held).filter((tensor) => tensor !== dy);
    return {weights: names.map((name) => pass.found.get(name) as tf.Tensor), held};
  });
  return {x: () => sumOf(pass.besides, found.held), weights: found.weights};
}

/** Disposes what was held for the parts. */
function sumOf(parts: readonly Pending[], held: readonly tf.Tensor[]): tf.Tensor {
  const sum = tf.tidy(() => {
    const all = parts.map(({make}) => make());
    return all.length > 1 ? tf.addN(all) : (all[0] as tf.Tensor);
  });
  tf.dispose(held.filter((tensor) => tensor !== sum));
  return sum;
}

const suffixesOf = ({stages}: Trace): Pass['suffixes'] =>
  new Map(
    stages.map(({stage, weights}) => [stage.name, weights.map(({name}) => name.slice(stage.name.length))]),
  );

function stepsOf(pass: Pass, stages: readonly Stage[], first: Lazy): readonly Step[] {
  let input = first;
  return stages.map((stage) => {
    const step = stage.op === 'residual' ? residualStep(pass, stage, input) : simpleStep(pass, stage, input);
    input = step.output;
    return step;
  });
}

function residualStep(pass: Pass, stage: ResidualStage, input: Lazy): Step {
  const start = stage.given ? (pass.weights[weightName(stage, 'Map')] as tf.Tensor4D) : pass.x;
  const shortcut = stepsOf(pass, stage.shortcut, () => start);
  const linear = lazily(() => tf.add(input(), shortcut.at(-1)?.output() ?? start));
  return {stage, input, linear, output: activated(pass, stage, linear), shortcut};
}

const isConvolution = (stage: Stage): stage is PointwiseStage | SpatialStage =>
  stage.op === 'pointwise' || stage.op === 'spatial';

function simpleStep(pass: Pass, stage: SimpleStage, input: Lazy): Step {
  if (!isConvolution(stage)) {
    const output = lazily(() => run(pass, stage, input()));
    return {stage, input, output, linear: output};
  }
  const linear = lazily(() => run(pass, {...stage, activation: LINEAR}, input()));
  // Where the gradient can be told from the output, the convolution does its activation itself.
  const output = isTold(stage.activation)
    ? lazily(() => run(pass, stage, input()))
    : activated(pass, stage, linear);
  return {stage, input, output, linear};
}

const activated = (pass: Pass, stage: Stage & {readonly activation: Activation}, linear: Lazy): Lazy =>
  stage.activation.fn === 'linear'
    ? linear
    : lazily(() => activate(stage.activation, linear(), pass.weights[weightName(stage, 'Alpha')]));

function run(pass: Pass, stage: SimpleStage, x: tf.Tensor4D): tf.Tensor4D {
  const own = Object.fromEntries(ownWeights(pass, stage));
  if (stage.op === 'spatial' && stage.group > 1 && stage.group < x.shape[3])
    return convolveGroups(stage, x, own);
  return definitionOf(stage).apply(stage, x, own, pass.x, {differentiable: false});
}

/** By suffix; prelu's slopes only where the stage still has its activation. */
function ownWeights(
  {weights, suffixes}: Pass,
  stage: SimpleStage,
): readonly (readonly [string, tf.Tensor])[] {
  const isLinear = isConvolution(stage) && stage.activation.fn === 'linear';
  const own = (suffixes.get(stage.name) ?? []).filter((suffix) => suffix !== 'Alpha' || !isLinear);
  return own.map((suffix) => [suffix, weights[weightName(stage, suffix)] as tf.Tensor]);
}

/** From the last step to the first. @returns The gradient of what went into the first. */
function goBack(pass: Pass, [first, ...rest]: readonly Step[], dy: tf.Tensor4D): Pending {
  const slope = rest.reduceRight((next, step) => backThrough(pass, step, next).make(), dy);
  return first ? backThrough(pass, first, slope) : made(slope);
}

function backThrough(pass: Pass, step: Step, dy: tf.Tensor4D): Pending {
  const {stage} = step;
  if (stage.op === 'residual') {
    const slope = backThroughActivation(pass, step, stage, dy);
    // A tensor of its own, as TF.js disposes gradients that it has summed.
    if (stage.given) pass.found.set(weightName(stage, 'Map'), tf.clone(slope));
    else pass.besides.push(goBack(pass, step.shortcut ?? [], slope));
    return made(slope);
  }
  return isConvolution(stage)
    ? backThroughConvolution(pass, step, stage, dy)
    : made(backThroughOther(pass, step, stage, dy));
}

function backThroughConvolution(
  pass: Pass,
  step: Step,
  stage: PointwiseStage | SpatialStage,
  dy: tf.Tensor4D,
): Pending {
  const slope = backThroughActivation(pass, step, stage, dy);
  const {input} = step;
  const weight = (suffix: string): tf.Tensor => pass.weights[weightName(stage, suffix)] as tf.Tensor;
  const found =
    stage.op === 'pointwise'
      ? pointwiseGradient(stage, input(), weight('Filter') as tf.Tensor2D, slope)
      : spatialGradient(stage, input(), weight('Filter') as tf.Tensor4D, slope);
  if (!found) return made(backThroughOther(pass, step, {...stage, activation: LINEAR}, slope));
  pass.found.set(weightName(stage, 'Filter'), found.filter);
  if (found.bias) pass.found.set(weightName(stage, 'Bias'), found.bias);
  return {held: [slope], make: found.x};
}

/** Activations whose slope is 0 or 1, as their value tells. */
const isTold = ({fn}: Activation): boolean => fn === 'linear' || fn === 'relu' || fn === 'relu6';

function backThroughActivation(
  pass: Pass,
  {output, linear}: Step,
  stage: Stage & {readonly activation: Activation},
  dy: tf.Tensor4D,
): tf.Tensor4D {
  const {activation} = stage;
  if (activation.fn === 'linear') return dy;
  const plain = activationGradient(activation, isTold(activation) ? output() : linear(), dy);
  if (plain) return plain;
  const name = weightName(stage, 'Alpha');
  const alpha = pass.weights[name];
  const [slope, dAlpha] = nestedGrads(
    (value, own) => applyActivation(activation, value, own),
    [linear(), ...(alpha ? [alpha] : [])],
    dy,
  );
  if (dAlpha) pass.found.set(name, dAlpha);
  return slope as tf.Tensor4D;
}

/** As TF.js differentiates the stage's ops; a concat reads the block's input besides its own. */
function backThroughOther(pass: Pass, {input}: Step, stage: SimpleStage, dy: tf.Tensor4D): tf.Tensor4D {
  const own = ownWeights(pass, stage);
  const reads = stage.op === 'concat' ? [input(), pass.x] : [input()];
  const forward = (x: tf.Tensor, ...rest: tf.Tensor[]): tf.Tensor => {
    const blockInput = (stage.op === 'concat' ? rest.shift() : pass.x) as tf.Tensor4D;
    const values = Object.fromEntries(own.map(([suffix], i) => [suffix, rest[i] as tf.Tensor]));
    return definitionOf(stage).apply(stage, x as tf.Tensor4D, values, blockInput, {differentiable: true});
  };
  const [slope, ...rest] = nestedGrads(forward, [...reads, ...own.map(([, value]) => value)], dy);
  if (stage.op === 'concat') pass.besides.push(made(rest.shift() as tf.Tensor4D));
  own.forEach(([suffix], i) => pass.found.set(weightName(stage, suffix), rest[i] as tf.Tensor));
  return slope as tf.Tensor4D;
}
