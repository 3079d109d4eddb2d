/** Activations in the ops TensorFlow's converter leaves of them. */
import type {Activation} from '../../ops/index.js';
import type {GraphWriter} from './writer.js';

/** What a fused convolution op does by itself. */
export const FUSABLE: Readonly<Partial<Record<Activation['fn'], string>>> = {relu: 'Relu', relu6: 'Relu6'};

/** @param at Prefix for the names of the nodes. @returns The name of the activated value. */
export function emitActivation(graph: GraphWriter, at: string, x: string, activation: Activation): string {
  switch (activation.fn) {
    case 'linear':
      return x;
    case 'relu':
      return graph.op(`${at}/relu`, 'Relu', [x]);
    case 'relu6':
      return graph.op(`${at}/relu6`, 'Relu6', [x]);
    case 'sigmoid':
      return graph.op(`${at}/sigmoid`, 'Sigmoid', [x]);
    case 'swish':
      return graph.op(`${at}/swish`, 'Mul', [x, graph.op(`${at}/sigmoid`, 'Sigmoid', [x])]);
    case 'gelu':
      return emitGelu(graph, at, x);
    case 'hardsigmoid':
      return graph.op(`${at}/hardsigmoid`, 'Mul', [emitRamp(graph, at, x, activation), graph.scalar(1 / 6)]);
    case 'hardswish': {
      const product = graph.op(`${at}/product`, 'Mul', [x, emitRamp(graph, at, x, activation)]);
      return graph.op(`${at}/hardswish`, 'Mul', [product, graph.scalar(1 / 6)]);
    }
    default:
      throw new Error(`No network of this package has the activation '${activation.fn}'.`);
  }
}

/** relu6(x + 3), which is six times the hard sigmoid. */
function emitRamp(
  graph: GraphWriter,
  at: string,
  x: string,
  {slope, offset}: {readonly slope: number; readonly offset: number},
): string {
  if (slope !== 1 / 6 || offset !== 0.5)
    throw new Error(`A hard sigmoid of slope ${slope} is not relu6(x + 3) / 6.`);
  const shifted = graph.op(`${at}/shifted`, 'AddV2', [x, graph.scalar(3)]);
  return graph.op(`${at}/ramp`, 'Relu6', [shifted]);
}

/** x · (1 + erf(x / √2)) / 2. */
function emitGelu(graph: GraphWriter, at: string, x: string): string {
  const scaled = graph.op(`${at}/scaled`, 'Mul', [x, graph.scalar(Math.fround(Math.SQRT1_2))]);
  const erf = graph.op(`${at}/erf`, 'Erf', [scaled]);
  const shifted = graph.op(`${at}/shifted`, 'AddV2', [erf, graph.scalar(1)]);
  const half = graph.op(`${at}/half`, 'Mul', [x, graph.scalar(0.5)]);
  return graph.op(`${at}/gelu`, 'Mul', [half, shifted]);
}
