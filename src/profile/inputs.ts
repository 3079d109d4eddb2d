/** Inputs made up for a model that is profiled without data. */
import * as tf from '@tensorflow/tfjs-core';
import type {ProgramInput} from './program.js';
import {type ProfiledModel, programOf} from './model.js';
import {seededRandom} from './statistics.js';

export interface InputOptions {
  /** Size of the first axis where the model leaves it open; 1 unless given. */
  readonly batch?: number;
  /** Whole shapes by input name, for models that leave more open. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  readonly seed?: number;
}

/**
 * One tensor per input by name, the same in every run: uniform in [0, 1), whole numbers below 256 for int32.
 * @throws for an input whose size is open and not given, and for a shape that names no input.
 */
export async function seededInputs(
  model: ProfiledModel,
  options: InputOptions = {},
): Promise<tf.NamedTensorMap> {
  const {inputs} = await programOf(model);
  const unknown = Object.keys(options.shapes ?? {}).find(
    (name) => !inputs.some((input) => input.name === name),
  );
  if (unknown !== undefined) {
    const names = inputs.map(({name}) => `'${name}'`).join(', ');
    throw new Error(
      `A shape was given for '${unknown}', but the model's inputs are ${names}; use one of these names.`,
    );
  }
  const random = seededRandom(options.seed ?? 1);
  const shapes = inputs.map((input) => shapeOf(input, options)); // before any tensor is made: it may throw
  return Object.fromEntries(
    inputs.map((input, i) => [input.name, makeTensor(input, shapes[i] ?? [], random)]),
  );
}

function shapeOf({name, shape}: ProgramInput, {batch = 1, shapes = {}}: InputOptions): number[] {
  const given = shapes[name];
  if (given) return [...given];
  const sizes = shape.map((size, axis) => size ?? (axis === 0 ? batch : null));
  const text = `[${shape.map((size) => size ?? '?').join(', ')}]`;
  if (sizes.length === 0 || sizes.includes(null)) {
    throw new Error(`The input '${name}' is ${text}, open in more than its batch; give its shape.`);
  }
  if (batch !== 1 && sizes[0] !== batch) {
    throw new Error(
      `The input '${name}' is ${text}, so a batch of ${batch} does not fit; leave the batch at ${sizes[0] ?? 1}.`,
    );
  }
  return sizes.map((size) => size ?? 1); // none is null here
}

function makeTensor({dtype}: ProgramInput, shape: number[], random: () => number): tf.Tensor {
  const size = tf.util.sizeFromShape(shape);
  if (dtype === 'int32')
    return tf.tensor(
      Int32Array.from({length: size}, () => Math.floor(random() * 256)),
      shape,
    );
  return tf.tensor(Float32Array.from({length: size}, random), shape, 'float32');
}
