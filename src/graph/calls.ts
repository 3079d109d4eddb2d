/**
 * Calls of library functions written out in the graph itself. TF.js has no PartitionedCall, and a block may stand in a function or
 * across its edge. Bodies of If and While stay functions (functions.ts): how often they run is not known.
 */
import type {AttrDef} from './attrs.js';
import {type NodeDef, parseRef, type Ref} from './graph.js';
import {ModelError} from './model_error.js';

interface Argument {
  readonly name: string;
  readonly type?: string | number;
}

export interface FunctionDef {
  readonly signature?: {
    readonly name?: string;
    readonly inputArg?: readonly Argument[];
    readonly outputArg?: readonly Argument[];
  };
  readonly nodeDef?: readonly NodeDef[];
  /** The value of each output argument: `node:output argument:index`. */
  readonly ret?: Readonly<Record<string, string>>;
  /** Nodes that must have run before the function returns. */
  readonly controlRet?: Readonly<Record<string, string>>;
}

export interface Inlined {
  readonly nodes: readonly NodeDef[];
  /** Constants that came out of functions: their new name, and that of their weight. */
  readonly constants: ReadonlyMap<string, string>;
}

const CALLS: ReadonlySet<string> = new Set(['PartitionedCall', 'StatefulPartitionedCall']);

/** Output arguments of ops that have several; in a function a value is named by argument, in a graph by number. */
const OUTPUTS: Readonly<Record<string, readonly string[] | undefined>> = Object.fromEntries([
  ...['FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3'].map((op) => [
    op,
    ['y', 'batch_mean', 'batch_variance', 'reserve_space_1', 'reserve_space_2', 'reserve_space_3'],
  ]),
  ['TopKV2', ['values', 'indices']],
  ['Unique', ['y', 'idx']],
  ['NonMaxSuppressionV4', ['selected_indices', 'valid_outputs']],
  ['NonMaxSuppressionV5', ['selected_indices', 'selected_scores', 'valid_outputs']],
]) as Readonly<Record<string, readonly string[] | undefined>>;

/** A value as a function's body names it. @param ops The body's ops by name. */
export function bodyRef(text: string, ops: ReadonlyMap<string, string>): Ref {
  const {node, index} = parseRef(text);
  const named = OUTPUTS[ops.get(node) ?? '']?.indexOf(text.split(':')[1] ?? '') ?? -1;
  return {node, index: named >= 0 ? named : index};
}

/** @throws {ModelError} for a function that calls itself. */
export function inlineCalls(nodes: readonly NodeDef[], library: readonly FunctionDef[]): Inlined {
  const functions = new Map(library.map((def) => [def.signature?.name ?? '', def]));
  const constants = new Map<string, string>();
  const expand = (node: NodeDef, inside: readonly string[]): readonly NodeDef[] => {
    const name = CALLS.has(node.op) ? (node.attr?.['f']?.func?.name ?? '') : '';
    const body = functions.get(name);
    if (!body) return [node];
    if (inside.includes(name))
      throw new ModelError(`The function '${name}' calls itself; the model file is damaged.`);
    const written = writeOut(node, body);
    for (const [i, {name: to, op}] of written.slice(0, -1).entries()) {
      const from = body.nodeDef?.[i]?.name ?? '';
      if (op === 'Const') constants.set(to, from);
    }
    return written.flatMap((inner) => expand(inner, [...inside, name]));
  };
  return {nodes: nodes.flatMap((node) => expand(node, [])), constants};
}

/** The body's nodes behind the call's name, and last one under that name that gives the call's values. */
function writeOut(call: NodeDef, {signature, nodeDef = [], ret = {}}: FunctionDef): readonly NodeDef[] {
  const given = (call.input ?? []).filter((input) => !input.startsWith('^'));
  const controls = (call.input ?? []).filter((input) => input.startsWith('^'));
  const args = new Map((signature?.inputArg ?? []).map(({name}, i) => [name, given[i] ?? '']));
  const ops = new Map(nodeDef.map(({name, op}) => [name, op]));
  const inner = (name: string): string => `${call.name}/${name}`;
  const outer = (ref: string): string => {
    if (ref.startsWith('^')) return `^${inner(ref.slice(1))}`;
    const {node, index} = bodyRef(ref, ops);
    return args.get(node) ?? `${inner(node)}:${index}`;
  };
  const values = (signature?.outputArg ?? []).map(({name}) => outer(ret[name] ?? ''));
  const body = nodeDef.map((def) => ({
    ...def,
    name: inner(def.name),
    input: [...(def.input ?? []).map(outer), ...controls],
  }));
  const T: AttrDef = {list: {type: values.map(() => 'DT_FLOAT')}};
  return [...body, {name: call.name, op: 'IdentityN', input: values, attr: {T}}];
}
