/** The forms in which a caller may pass inputs, brought to one list in the model's order. */
import * as tf from '@tensorflow/tfjs-core';
import type {DeclaredInput} from './source.js';
import {
  type CaptureInput,
  type HostValues,
  type InputDType,
  type InputSpec,
  isArrayInput,
  isSpec,
  type NamedSpec,
} from './values.js';

/** One input, a list in the model's order, or a map by name. */
export type Inputs = CaptureInput | readonly CaptureInput[] | Readonly<Record<string, CaptureInput>>;

type Example = CaptureInput | InputSpec;

/** As `Inputs`; `{shape, dtype}` stands for any values of that shape. */
export type ExampleInputs = Example | readonly Example[] | Readonly<Record<string, Example>>;

interface Named {
  readonly name: string;
}

/** @throws where names or the number of inputs do not fit. */
export function inputList(inputs: Inputs, known: readonly Named[]): CaptureInput[];
export function inputList(inputs: ExampleInputs, known: readonly Named[] | undefined): Example[];
export function inputList(inputs: ExampleInputs, known: readonly Named[] | undefined): Example[] {
  const list = isList(inputs) ? [...inputs] : isMap(inputs) ? listOf(inputs, known) : [inputs];
  if (known && list.length !== known.length) {
    const names = known.map(({name}) => `'${name}'`).join(', ');
    throw new Error(
      `Capture: the model takes ${known.length} inputs (${names}), but ${list.length} are given.`,
    );
  }
  return list;
}

const isList = (inputs: ExampleInputs): inputs is readonly Example[] => Array.isArray(inputs);

/** A plain object whose values are inputs; images, buffers, tensors and specs are objects of other kinds. */
function isMap(
  inputs: Exclude<ExampleInputs, readonly Example[]>,
): inputs is Readonly<Record<string, Example>> {
  return Object.getPrototypeOf(inputs) === Object.prototype && !isSpec(inputs) && !('width' in inputs);
}

function listOf(map: Readonly<Record<string, Example>>, known: readonly Named[] | undefined): Example[] {
  if (!known) return Object.values(map);
  return known.map(({name}) => {
    const found = map[name] ?? map[name.replace(/:0$/, '')] ?? map[`${name}:0`];
    if (found === undefined) {
      throw new Error(`Capture: input '${name}' is missing; given are '${Object.keys(map).join("', '")}'.`);
    }
    return found;
  });
}

/** @throws where neither the example nor the model tells an input's shape. */
export function namedSpecs(
  list: readonly Example[],
  declared: readonly DeclaredInput[] | undefined,
): NamedSpec[] {
  return list.map((example, i) => {
    const model = declared?.[i];
    const name = model?.name ?? `input${i}`;
    if (example instanceof tf.Tensor)
      return {name, shape: example.shape, dtype: checkedDType(name, example.dtype)};
    if (isSpec(example)) return {name, shape: [...example.shape], dtype: example.dtype};
    // A batch that the model leaves open is one; nothing else can be guessed.
    const shape = model?.shape?.map((size, axis) => (axis === 0 && (size ?? -1) < 0 ? 1 : (size ?? -1)));
    if (!model || !shape || shape.some((size) => size < 0)) {
      throw new Error(
        `Capture: the shape of input '${name}' is unknown. Give a tensor, or {shape, dtype}, as example.`,
      );
    }
    return {name, shape, dtype: model.dtype};
  });
}

function checkedDType(name: string, dtype: tf.DataType): InputDType {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw new Error(`Capture: input '${name}' is ${dtype}; only float32, int32 and bool can be captured.`);
}

/** Values to record with: the example's own, or some of the right kind. */
export async function exampleValues(spec: NamedSpec, example: Example | undefined): Promise<HostValues> {
  const {shape, dtype} = spec;
  const size = tf.util.sizeFromShape([...shape]);
  if (example instanceof tf.Tensor) return {values: (await example.data()).slice(), shape, dtype};
  if (isArrayInput(example) && example.length === size) {
    return {
      values: dtype === 'float32' ? Float32Array.from(example) : Int32Array.from(example),
      shape,
      dtype,
    };
  }
  const spread = (i: number): number => ((i * 7919) % 251) / 251;
  if (dtype === 'float32')
    return {values: Float32Array.from({length: size}, (_, i) => spread(i)), shape, dtype};
  const most = dtype === 'bool' ? 2 : 256;
  return {values: Int32Array.from({length: size}, (_, i) => Math.floor(most * spread(i))), shape, dtype};
}
