/** Small graph models written down op by op, with seeded weights. */
import type * as tf from '@tensorflow/tfjs-core';
import type {AttrDef} from '../../src/graph/attrs.js';
import type {FunctionDef} from '../../src/graph/calls.js';
import type {NodeDef} from '../../src/graph/graph.js';
import {entryOf, makeWeight, type Weight} from '../../src/graph/weights.js';
import {seededRandom} from './random.js';

interface FuncDef {
  readonly func: {readonly name: string};
}

type Attr = number | boolean | string | readonly number[] | readonly string[] | FuncDef;

/** Numbers are ints, or floats where the name says so; strings are text; lists of either. */
function attrDef(name: string, value: Attr): AttrDef {
  if (typeof value === 'number')
    return name === 'alpha' || name === 'epsilon' || name === 'leakyrelu_alpha'
      ? {f: value}
      : {i: String(value)};
  if (typeof value === 'boolean') return {b: value};
  if (typeof value === 'object' && 'func' in value) return value;
  if (typeof value === 'string') return value.startsWith('DT_') ? {type: value} : {s: btoa(value)};
  if (name === 'shape')
    return {shape: {dim: (value as readonly number[]).map((size) => ({size: String(size)}))}};
  return typeof value[0] === 'string'
    ? {list: {s: (value as readonly string[]).map((text) => btoa(text))}}
    : {list: {i: (value as readonly number[]).map(String)}};
}

export class TestGraph {
  readonly #defs: NodeDef[] = [];
  readonly #weights: Weight[];
  readonly #functions: FunctionDef[] = [];
  readonly #next: () => number;

  /** @param weights Of the model of which it is a function. */
  constructor(seed = 1, weights: Weight[] = []) {
    this.#next = seededRandom(seed);
    this.#weights = weights;
  }

  /**
   * A function of the library, for `StatelessIf` and the like.
   * @param args By name, with the type where it is no float.
   * @param build Gives the names of the function's values; constants need names that the whole model does not have.
   */
  body(
    name: string,
    args: readonly (string | readonly [name: string, type: string])[],
    build: (g: TestGraph) => readonly string[],
  ): FuncDef {
    const inside = new TestGraph(this.#functions.length + 2, this.#weights);
    const values = build(inside);
    const inputArg = args.map((arg) =>
      typeof arg === 'string' ? {name: arg, type: 'DT_FLOAT'} : {name: arg[0], type: arg[1]},
    );
    const given = new Set(inputArg.map((arg) => arg.name));
    const typeOf = (value: string): string => inputArg.find((arg) => arg.name === value)?.type ?? 'DT_FLOAT';
    // As TensorFlow writes it: by output argument and number.
    const text = (input: string): string => {
      const [node = '', index = '0'] = input.split(':');
      return given.has(node) || input.startsWith('^') ? input : `${node}:output:${index}`;
    };
    this.#functions.push({
      signature: {
        name,
        inputArg,
        outputArg: values.map((value, i) => ({name: `r${i}`, type: typeOf(value)})),
      },
      nodeDef: inside.#defs.map((def) => ({...def, input: (def.input ?? []).map(text)})),
      ret: Object.fromEntries(values.map((value, i) => [`r${i}`, text(value)])),
    });
    this.#functions.push(...inside.#functions);
    return {func: {name}};
  }

  input(name: string, shape: readonly number[]): string {
    return this.op(name, 'Placeholder', [], {shape, dtype: 'DT_FLOAT'});
  }

  op(name: string, op: string, input: readonly string[], attrs: Readonly<Record<string, Attr>> = {}): string {
    this.#defs.push({
      name,
      op,
      input,
      attr: Object.fromEntries(Object.entries(attrs).map(([key, value]) => [key, attrDef(key, value)])),
    });
    return name;
  }

  /** Uniform in [-scale, scale). */
  weight(name: string, shape: readonly number[], scale = 0.5): string {
    const size = shape.reduce((a, b) => a * b, 1);
    return this.constant(
      name,
      Float32Array.from({length: size}, () => scale * (2 * this.#next() - 1)),
      shape,
    );
  }

  constant(
    name: string,
    values: number | readonly number[] | Float32Array | Int32Array,
    shape?: readonly number[],
  ): string {
    const data =
      typeof values === 'number'
        ? Float32Array.of(values)
        : Array.isArray(values)
          ? Float32Array.from(values)
          : (values as Float32Array | Int32Array);
    return this.add(makeWeight(name, shape ?? (typeof values === 'number' ? [] : [data.length]), data));
  }

  integers(name: string, values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.constant(name, Int32Array.from(values), shape);
  }

  add(weight: Weight): string {
    this.#weights.push(weight);
    return this.op(weight.name, 'Const', [], {dtype: weight.dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT'});
  }

  conv(
    name: string,
    x: string,
    filter: readonly number[],
    {stride = 1, padding = 'SAME', dilation = 1} = {},
  ): string {
    return this.op(
      name,
      'Conv2D',
      [x, this.weight(`${name}/filter`, filter)],
      window(stride, padding, dilation),
    );
  }

  depthwise(
    name: string,
    x: string,
    channels: number,
    {stride = 1, padding = 'SAME', kernel = 3, dilation = 1} = {},
  ): string {
    return this.op(
      name,
      'DepthwiseConv2dNative',
      [x, this.weight(`${name}/filter`, [kernel, kernel, channels, 1])],
      window(stride, padding, dilation),
    );
  }

  /** 1×1, no bias. */
  pointwise(name: string, x: string, from: number, to: number): string {
    return this.conv(name, x, [1, 1, from, to]);
  }

  artifacts(outputs: readonly string[], more: Partial<tf.io.ModelArtifacts> = {}): tf.io.ModelArtifacts {
    const placeholders = this.#defs.filter(({op}) => op === 'Placeholder');
    const entry = (name: string): object => ({name: `${name}:0`, dtype: 'DT_FLOAT'});
    const data = new Uint8Array(this.#weights.reduce((length, {bytes}) => length + bytes.length, 0));
    let at = 0;
    for (const {bytes} of this.#weights) {
      data.set(bytes, at);
      at += bytes.length;
    }
    return {
      format: 'graph-model',
      modelTopology: {
        ...{node: this.#defs, versions: {producer: 1}},
        ...(this.#functions.length > 0 ? {library: {function: this.#functions}} : {}),
      },
      signature: {
        inputs: Object.fromEntries(
          placeholders.map(({name, attr}) => [name, {...entry(name), tensorShape: attr?.['shape']?.shape}]),
        ),
        outputs: Object.fromEntries(outputs.map((name) => [name, entry(name)])),
      },
      weightSpecs: this.#weights.map((weight) => entryOf(weight, weight.name)),
      weightData: data.buffer,
      ...more,
    };
  }
}

const window = (stride: number, padding: string, dilation: number): Readonly<Record<string, Attr>> => ({
  strides: [1, stride, stride, 1],
  dilations: [1, dilation, dilation, 1],
  padding,
  data_format: 'NHWC',
});
