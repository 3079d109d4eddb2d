/** Collects the nodes and weights of a TF.js graph model, in the form its loader reads. Knows no layer. */
import type * as tf from '@tensorflow/tfjs-core';

/** An attribute of a node, as the JSON form of a GraphDef has it. */
export type AttrValue =
  | {readonly s: string}
  | {readonly i: string}
  | {readonly f: number}
  | {readonly b: boolean}
  | {readonly type: 'DT_FLOAT' | 'DT_INT32'}
  | {readonly shape: {readonly dim: readonly {readonly size: string}[]}}
  | {readonly list: {readonly s: readonly string[]} | {readonly i: readonly string[]}};
export type Attrs = Readonly<Record<string, AttrValue>>;

export interface NodeDef {
  readonly name: string;
  readonly op: string;
  readonly input: readonly string[];
  readonly attr: Attrs;
}

/** A float32 tensor of the graph, or int32 for axes and paddings. */
export interface GraphWeightData {
  readonly spec: tf.io.WeightsManifestEntry;
  readonly data: Float32Array | Int32Array;
}

const FLOAT: AttrValue = {type: 'DT_FLOAT'};

/** Strings are base64 in the JSON form. */
export const text = (value: string): AttrValue => ({s: btoa(value)});
export const texts = (values: readonly string[]): AttrValue => ({
  list: {s: values.map((value) => btoa(value))},
});
export const numbers = (values: readonly number[]): AttrValue => ({list: {i: values.map(String)}});
export const flag = (value: boolean): AttrValue => ({b: value});
export const number = (value: number): AttrValue => ({i: String(value)});
export const shapeAttr = (sizes: readonly number[]): AttrValue => ({
  shape: {dim: sizes.map((size) => ({size: String(size)}))},
});

export class GraphWriter {
  readonly nodes: NodeDef[] = [];
  #weights: GraphWeightData[] = [];
  readonly #names = new Set<string>();

  /** @returns `name`, which further nodes read the value by. */
  op(name: string, op: string, input: readonly string[], attr: Attrs = {}): string {
    if (this.#names.has(name)) throw new Error(`Two nodes of the graph are named '${name}'.`);
    this.#names.add(name);
    this.nodes.push({name, op, input, attr: {T: FLOAT, ...attr}});
    return name;
  }

  placeholder(name: string, shape: readonly number[]): string {
    this.op(name, 'Placeholder', []);
    this.nodes[this.nodes.length - 1] = {
      name,
      op: 'Placeholder',
      input: [],
      attr: {dtype: FLOAT, shape: shapeAttr(shape)},
    };
    return name;
  }

  weight(name: string, shape: readonly number[], data: Float32Array | Int32Array): string {
    const isFloat = data instanceof Float32Array;
    this.#names.add(name);
    this.nodes.push({name, op: 'Const', input: [], attr: {dtype: {type: isFloat ? 'DT_FLOAT' : 'DT_INT32'}}});
    this.#weights.push({spec: {name, shape: [...shape], dtype: isFloat ? 'float32' : 'int32'}, data});
    return name;
  }

  /** The weights written since the last call. */
  takeWeights(): readonly GraphWeightData[] {
    const taken = this.#weights;
    this.#weights = [];
    return taken;
  }

  /** A constant that many nodes share. */
  scalar(value: number): string {
    const name = `constant/${value}`;
    return this.#names.has(name) ? name : this.weight(name, [], Float32Array.of(value));
  }

  /** A shared int32 vector: axes, or rows of paddings. */
  integers(values: readonly number[], shape: readonly number[] = [values.length]): string {
    const name = `constant/${shape.length === 0 ? 'axis' : 'axes'}_${values.join('_').replaceAll('-', 'm')}`;
    return this.#names.has(name) ? name : this.weight(name, shape, Int32Array.from(values));
  }

  /** Renames the latest node, which nothing reads yet. */
  renameLast(from: string, to: string): string {
    const last = this.nodes.at(-1);
    if (last?.name !== from) throw new Error(`The latest node is not '${from}'.`);
    this.nodes[this.nodes.length - 1] = {...last, name: to};
    this.#names.add(to);
    return to;
  }
}
