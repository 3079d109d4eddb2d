/**
 * Runs a network layer by layer from a checkpoint's own tensors, batch norm unfolded: slow, and independent of the graph, so that it
 * can vouch for it. On whichever backend is active.
 */
import * as tf from '@tensorflow/tfjs-core';
import {applyActivation, LINEAR} from '../ops/index.js';
import {definitionOf, type SimpleStage} from '../ops/stages/index.js';
import type {Network} from './network.js';
import {checkpointValues, type TensorSource} from './tensors.js';
import {type TracedLayer, traceNetwork} from './trace.js';

/**
 * @param image `[N, H, W, 3]`, float32, prepared. @returns Logits `[N, classes]`, or features `[N, C]`; the caller disposes of them.
 */
export async function runNetwork(
  network: Network,
  source: TensorSource,
  image: tf.Tensor4D,
  onUnit?: (done: number, total: number, name: string) => void,
): Promise<tf.Tensor2D> {
  const units = traceNetwork(network, image.shape);
  let x = tf.clone(image);
  for (const [i, {unit, layers}] of units.entries()) {
    onUnit?.(i, units.length, unit.name);
    const input = x;
    let [main, shortcut] = [tf.clone(input), tf.clone(input)];
    for (const traced of layers) {
      const values = await checkpointValues(traced, source);
      if (traced.inShortcut) shortcut = replace(shortcut, () => runLayer(traced, shortcut, input, values));
      else if (traced.layer.stage.op === 'residual')
        main = replace(main, () => addResidual(traced, main, shortcut));
      else main = replace(main, () => runLayer(traced, main, input, values));
    }
    tf.dispose([input, shortcut]);
    x = main;
  }
  return replace(x, () => tf.reshape(x, [image.shape[0], -1])) as unknown as tf.Tensor2D; // By that reshape.
}

function replace<T extends tf.Tensor>(old: tf.Tensor, make: () => T): T {
  const made = tf.tidy(make);
  old.dispose();
  return made;
}

const addResidual = ({layer: {stage}}: TracedLayer, x: tf.Tensor4D, y: tf.Tensor4D): tf.Tensor4D =>
  applyActivation(stage.op === 'residual' ? stage.activation : LINEAR, tf.add(x, y));

function runLayer(
  {layer: {stage, norm}, weights, output}: TracedLayer,
  x: tf.Tensor4D,
  unitInput: tf.Tensor4D,
  values: ReadonlyMap<string, Float32Array>,
): tf.Tensor4D {
  if (stage.op === 'zeropad') {
    const [top, bottom, left, right] = stage.pad;
    return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]]); // prettier-ignore
  }
  const own: Record<string, tf.Tensor> = {};
  for (const {suffix, shape} of weights) {
    const data = values.get(suffix);
    if (data) own[suffix] = tf.tensor(data, [...shape]);
  }
  const apply = (plain: SimpleStage): tf.Tensor4D =>
    definitionOf(plain).apply(plain, x, own, unitInput, {differentiable: false});
  if (!norm || (stage.op !== 'spatial' && stage.op !== 'pointwise')) return apply(stage as SimpleStage);
  const convolved = apply({...stage, bias: norm.convBias, activation: LINEAR});
  const channel = (name: string): tf.Tensor1D => tf.tensor1d(values.get(name) ?? new Float32Array(output[3]));
  const [mean, variance, offset, gain] = ['mean', 'variance', 'normOffset', 'normGain'].map(channel) as [
    tf.Tensor1D,
    tf.Tensor1D,
    tf.Tensor1D,
    tf.Tensor1D,
  ];
  const normal = tf.mul(tf.sub(convolved, mean), tf.rsqrt(tf.add(variance, norm.epsilon)));
  const shifted: tf.Tensor4D = tf.add(tf.mul(normal, gain), offset);
  return applyActivation(stage.activation, shifted);
}
