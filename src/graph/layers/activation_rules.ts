/** Keras's activation functions by name, as TensorFlow ops in the words TF.js's own layers use. */
import type {LayerCall} from './layer_rules.js';
import {LayersError} from './layers_error.js';

type ActivationRule = (call: LayerCall, x: string) => string;

const single =
  (op: string): ActivationRule =>
  ({graph, name}, x) =>
    graph.add(`${name}/${op}`, op, [x]);

const swish: ActivationRule = (call, x) =>
  call.graph.add(`${call.name}/Swish`, 'Mul', [x, single('Sigmoid')(call, x)]);

/** TF.js clips 0.2·x + 0.5, as Keras 2 did. */
const hardSigmoid: ActivationRule = ({graph, name}, x) => {
  const scaled = graph.add(`${name}/Mul`, 'Mul', [x, graph.number(`${name}/slope`, 0.2)]);
  const shifted = graph.add(`${name}/Add`, 'AddV2', [scaled, graph.number(`${name}/half`, 0.5)]);
  const [zero, one] = [graph.number(`${name}/zero`, 0), graph.number(`${name}/one`, 1)];
  return graph.add(`${name}/Clip`, 'ClipByValue', [shifted, zero, one]);
};

const gelu: ActivationRule = ({graph, name}, x) => {
  const scaled = graph.add(`${name}/Mul`, 'Mul', [x, graph.number(`${name}/sqrthalf`, Math.SQRT1_2)]);
  const erf = graph.add(`${name}/Erf`, 'Erf', [scaled]);
  const shifted = graph.add(`${name}/Add`, 'AddV2', [erf, graph.number(`${name}/one`, 1)]);
  const halved = graph.add(`${name}/Mul`, 'Mul', [shifted, graph.number(`${name}/half`, 0.5)]);
  return graph.add(`${name}/Gelu`, 'Mul', [x, halved]);
};

const RULES: Readonly<Record<string, ActivationRule | undefined>> = {
  linear: (_call, x) => x,
  relu: single('Relu'),
  relu6: single('Relu6'),
  elu: single('Elu'),
  selu: single('Selu'),
  sigmoid: single('Sigmoid'),
  tanh: single('Tanh'),
  softmax: single('Softmax'),
  softplus: single('Softplus'),
  swish,
  silu: swish,
  gelu,
  hard_sigmoid: hardSigmoid,
  hardSigmoid,
};

/** @throws {LayersError} for an activation that is not in the table. */
export function activate(call: LayerCall, x: string, activation: string): string {
  const rule = RULES[activation];
  if (!rule)
    throw new LayersError(`the layer '${call.name}' has the activation '${activation}', which is not read`);
  return rule(call, x);
}
