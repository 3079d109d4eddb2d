/** What the profiler takes for a model, and how it is run as a whole and step by step. */
import type * as tf from '@tensorflow/tfjs-core';
import type {LayersModel} from '@tensorflow/tfjs-layers';
import {graphProgram, type NodeModel} from './graph_program.js';
import {layersProgram} from './layers_program.js';
import type {Program} from './program.js';

/** A GraphModel, a FusedModel (which has its methods) or a LayersModel. */
export type ProfiledModel = NodeModel | LayersModel;

export type ModelInputs = tf.Tensor | readonly tf.Tensor[] | tf.NamedTensorMap;

/** A model with what is known about it. */
export interface Side {
  readonly model: ProfiledModel;
  readonly program: Program;
  /** By name; they belong to the caller. */
  readonly feeds: tf.NamedTensorMap;
}

export const isLayersModel = (model: ProfiledModel): model is LayersModel => 'layers' in model;

export async function programOf(model: ProfiledModel): Promise<Program> {
  return isLayersModel(model) ? layersProgram(model) : graphProgram(model);
}

/** The whole model at once, as a user runs it. @param feeds as `feedsOf` gives them. */
export async function runWhole(
  model: ProfiledModel,
  program: Program,
  feeds: tf.NamedTensorMap,
): Promise<tf.Tensor[]> {
  if (isLayersModel(model)) {
    const result = model.predict(program.inputs.map(({name}) => feeds[name] as tf.Tensor));
    return [result].flat();
  }
  const outputs = [...program.outputs];
  if (program.whole !== undefined) return [await model.executeAsync(feeds, outputs)].flat();
  try {
    return [model.execute(feeds, outputs)].flat();
  } catch (error) {
    // TF.js's own words for a graph with a node of value-dependent size.
    if (error instanceof Error && error.message.includes('executeAsync')) {
      return [await model.executeAsync(feeds, outputs)].flat();
    }
    throw error;
  }
}

/** The inputs by the names of the program. @throws where their number or a shape differs from what the model takes. */
export function feedsOf(program: Program, inputs: ModelInputs): tf.NamedTensorMap {
  const given = byName(program, inputs);
  for (const {name, shape} of program.inputs) {
    const tensor = given[name];
    if (!tensor) {
      const names = program.inputs.map((input) => `'${input.name}'`).join(', ');
      throw new Error(`profile: the model's input '${name}' was not given; it takes ${names}.`);
    }
    const fits =
      shape.length === 0 ||
      (tensor.rank === shape.length &&
        shape.every((size, axis) => size === null || size === tensor.shape[axis]));
    if (!fits) {
      const wanted = shape.map((size) => size ?? '?').join(', ');
      throw new Error(
        `profile: the input '${name}' is [${tensor.shape.join(', ')}] but the model takes [${wanted}]; reshape or resize it.`,
      );
    }
  }
  return given;
}

function byName(program: Program, inputs: ModelInputs): tf.NamedTensorMap {
  const list = isTensor(inputs) ? [inputs] : Array.isArray(inputs) ? (inputs as readonly tf.Tensor[]) : null;
  if (!list) {
    const named = inputs as tf.NamedTensorMap;
    return Object.fromEntries(
      Object.entries(named).map(([name, tensor]) => [name.replace(/:0$/, ''), tensor]),
    );
  }
  if (list.length !== program.inputs.length) {
    throw new Error(
      `profile: ${list.length} input tensors were given but the model takes ${program.inputs.length}; pass one for each.`,
    );
  }
  return Object.fromEntries(program.inputs.map(({name}, i) => [name, list[i] as tf.Tensor]));
}

const isTensor = (inputs: ModelInputs): inputs is tf.Tensor => 'dataId' in inputs;
