/** A LayersModel as steps: one call of a layer each, nested models opened up. */
import * as tf from '@tensorflow/tfjs-core';
import type {LayersModel, SymbolicTensor} from '@tensorflow/tfjs-layers';
import type {Program, Step} from './program.js';

type Layer = LayersModel['layers'][number];

export function layersProgram(model: LayersModel): Program {
  const steps: Step[] = [];
  const inputs = model.inputs.map((input) => ({name: nameOf(input), shape: input.shape, dtype: input.dtype}));
  const outputs = addSteps(
    model,
    '',
    inputs.map(({name}) => name),
    steps,
  );
  return {inputs, outputs, steps};
}

/** A layer called several times, or with several outputs, adds numbers to its name. */
function nameOf({sourceLayer, nodeIndex, tensorIndex}: SymbolicTensor): string {
  return (
    sourceLayer.name + (nodeIndex > 0 ? `@${nodeIndex}` : '') + (tensorIndex > 0 ? `:${tensorIndex}` : '')
  );
}

const isModel = (layer: Layer): layer is Layer & LayersModel => 'layers' in layer && 'inputs' in layer;

/** Appends the steps of `model` fed from the tensors `sources`. @returns the names of its outputs. */
function addSteps(model: LayersModel, prefix: string, sources: readonly string[], steps: Step[]): string[] {
  const names = new Map(model.inputs.map((input, i) => [input.id, sources[i] as string]));
  const visit = (tensor: SymbolicTensor): string => {
    const known = names.get(tensor.id);
    if (known !== undefined) return known;
    const layer = tensor.sourceLayer;
    const node = layer.inboundNodes[tensor.nodeIndex];
    const outputTensors = node?.outputTensors ?? [tensor];
    const from = (node?.inputTensors ?? []).map(visit);
    let outputs = outputTensors.map((output) => prefix + nameOf(output));
    if (isModel(layer)) outputs = addSteps(layer, `${prefix}${layer.name}/`, from, steps);
    else steps.push(makeStep(layer, from, outputs));
    outputTensors.forEach((output, i) => names.set(output.id, outputs[i] as string));
    return names.get(tensor.id) as string; // it is one of its node's outputs
  };
  return model.outputs.map(visit);
}

function makeStep(layer: Layer, inputs: readonly string[], outputs: readonly string[]): Step {
  const tensors = inputs.map((name) => ({is: 'tensor', name}) as const);
  const weights = layer.weights.map(
    ({shape}) => ({is: 'weight', shape: shape.map((size) => size ?? 0)}) as const,
  );
  return {
    name: outputs[0] as string, // a layer has at least one output
    op: layer.getClassName(),
    operands: [...tensors, ...weights],
    outputs,
    run: (given) =>
      tf.tidy(() => {
        const values = inputs.map((name) => given.get(name) as tf.Tensor);
        const result = layer.apply(values.length === 1 ? (values[0] as tf.Tensor) : values) as
          tf.Tensor | tf.Tensor[];
        // Some layers (Dropout when predicting) return their input itself.
        return [result].flat().map((tensor) => (values.includes(tensor) ? tf.clone(tensor) : tensor));
      }),
  };
}
