/**
 * Bodies of If and While as graphs of their own. Freezing a model hands the weights of a loop in as operands that each turn gives
 * back as they came; such an argument is a constant of the body, else no convolution in there would have a filter that is known.
 */
import {bodyRef, type FunctionDef, inlineCalls} from './calls.js';
import {
  type Graph,
  makeNode,
  type Node,
  type NodeDef,
  parseRef,
  type Ref,
  refKey,
  sortNodes,
} from './graph.js';
import {isSameWeight, type Weight} from './weights.js';

/** A function that a node runs. */
export interface Call {
  readonly name: string;
  readonly args: readonly Ref[];
}

const BRANCHES: Readonly<Record<string, readonly string[] | undefined>> = {
  If: ['then_branch', 'else_branch'],
  StatelessIf: ['then_branch', 'else_branch'],
  While: ['cond', 'body'],
  StatelessWhile: ['cond', 'body'],
};

export const isLoop = ({op}: Node): boolean => op.endsWith('While');

/** The two functions of a node of control flow, in the order above; none for every other node. */
export function callsOf(node: Node): readonly Call[] {
  const args = isLoop(node) ? node.inputs : node.inputs.slice(1);
  return (BRANCHES[node.op] ?? []).map((attr) => ({name: node.attrs[attr]?.func?.name ?? '', args}));
}

/**
 * The functions that control flow in `nodes` runs, and those that they run, callers first. None of a model in which one runs
 * itself: nothing is known of its arguments.
 * @param weights By name of the Const nodes of all functions; names of constants that calls bring in are added.
 */
export function readFunctions(
  nodes: ReadonlyMap<string, Node>,
  library: readonly FunctionDef[],
  weights: Map<string, Weight>,
): ReadonlyMap<string, Graph> {
  const defs = new Map(library.map((def) => [def.signature?.name ?? '', def]));
  const done = new Map<string, Graph>();
  /** @returns Whether a function runs itself. */
  const visit = (caller: ReadonlyMap<string, Node>, open: readonly string[]): boolean =>
    [...caller.values()].flatMap(callsOf).some(({name}) => {
      if (open.includes(name)) return true;
      const def = defs.get(name);
      if (!def || done.has(name)) return false;
      const body = readFunction(def, library, weights);
      const isRecursive = visit(body.nodes, [...open, name]);
      done.set(name, body);
      return isRecursive;
    });
  return visit(nodes, []) ? new Map() : new Map([...done].reverse());
}

function readFunction(
  {signature = {}, nodeDef = [], ret = {}}: FunctionDef,
  library: readonly FunctionDef[],
  weights: Map<string, Weight>,
): Graph {
  const ops = new Map(nodeDef.map(({name, op}) => [name, op]));
  const flat = (text: string): string => (text.startsWith('^') ? text : refKey(bodyRef(text, ops)));
  const own = nodeDef.map((def) => ({...def, input: (def.input ?? []).map(flat)}));
  const {nodes: written, constants} = inlineCalls(own, library);
  const renamed = new Map<string, string>();
  for (const [to, from] of constants) {
    // Constants of all functions share one space of names.
    const name = weights.has(to) ? `${signature.name ?? ''}/${to}` : to;
    const weight = weights.get(from);
    if (weight) weights.set(name, {...weight, name});
    if (name !== to) renamed.set(to, name);
  }
  const args = (signature.inputArg ?? []).map(({name, type = 'DT_FLOAT'}): NodeDef => {
    return {name, op: 'Placeholder', input: [], attr: {dtype: {type}}};
  });
  const nodes = [...args, ...withNames(written, renamed)].map((def) => [def.name, makeNode(def)] as const);
  return {
    nodes: sortNodes(new Map(nodes)),
    weights: new Map(nodes.flatMap(([name, {op}]) => constantOf(weights, name, op))),
    inputs: args.map(({name}) => name),
    outputs: (signature.outputArg ?? []).map(({name}) => bodyRef(ret[name] ?? '', ops)),
  };
}

const constantOf = (
  weights: ReadonlyMap<string, Weight>,
  name: string,
  op: string,
): readonly (readonly [string, Weight])[] => {
  const weight = op === 'Const' ? weights.get(name) : undefined;
  return weight ? [[name, weight]] : [];
};

/** The nodes under other names, also where they are read. */
export function withNames(
  defs: readonly NodeDef[],
  renamed: ReadonlyMap<string, string>,
): readonly NodeDef[] {
  if (renamed.size === 0) return defs;
  const text = (input: string): string => {
    const [, hat = '', node = '', rest = ''] = /^(\^?)([^:]*)(.*)$/.exec(input) ?? [];
    return `${hat}${renamed.get(node) ?? node}${rest}`;
  };
  return defs.map((def) => ({
    ...def,
    name: renamed.get(def.name) ?? def.name,
    ...(def.input ? {input: def.input.map(text)} : {}),
  }));
}

const PASSES_ON: ReadonlySet<string> = new Set(['Identity', 'StopGradient', 'Snapshot', 'PreventGradient']);

/** Where a value comes from, through nodes that hand it on. */
function sourceOf(graph: Graph, ref: Ref): Ref {
  const node = ref.index === 0 ? graph.nodes.get(ref.node) : undefined;
  const [from] = node?.inputs ?? [];
  return node && from && PASSES_ON.has(node.op) ? sourceOf(graph, from) : ref;
}

/** Puts a constant in the place of each argument that is the same one at every call. @returns The bodies, callers first. */
export function bindConstants(
  main: Graph,
  functions: ReadonlyMap<string, Graph>,
): ReadonlyMap<string, Graph> {
  const bound = new Map<string, Graph>();
  const given = new Map<string, (Weight | undefined)[]>();
  const collect = (caller: Graph): void => {
    for (const node of caller.nodes.values()) {
      const calls = callsOf(node);
      const body = isLoop(node) ? functions.get(calls[1]?.name ?? '') : undefined;
      const operands = (calls[0]?.args ?? []).map((ref, i) =>
        body && !isGivenBack(body, i) ? undefined : constantAt(caller, ref),
      );
      for (const {name} of calls) {
        const before = given.get(name);
        given.set(name, before ? before.map((weight, i) => agreed(weight, operands[i])) : operands);
      }
    }
  };
  collect(main);
  for (const [name, body] of functions) {
    const whole = bind(body, given.get(name) ?? []);
    bound.set(name, whole);
    collect(whole);
  }
  return bound;
}

const agreed = (a: Weight | undefined, b: Weight | undefined): Weight | undefined =>
  a && b && isSameWeight(a, b) ? a : undefined;

function constantAt(graph: Graph, ref: Ref): Weight | undefined {
  const {node, index} = sourceOf(graph, ref);
  return index === 0 && graph.nodes.get(node)?.op === 'Const' ? graph.weights.get(node) : undefined;
}

/** Whether a turn of the loop gives its i-th argument back as it came. */
function isGivenBack(body: Graph, i: number): boolean {
  const output = body.outputs[i];
  return output !== undefined && refKey(sourceOf(body, output)) === body.inputs[i];
}

/** What the function gives stays the argument: TF.js disposes of the value of a turn, which a weight must outlive. */
function bind(body: Graph, constants: readonly (Weight | undefined)[]): Graph {
  const handedOn = new Set<string>();
  for (let at of body.outputs) {
    const end = refKey(sourceOf(body, at));
    for (; refKey(at) !== end; at = body.nodes.get(at.node)?.inputs[0] ?? at) handedOn.add(at.node);
  }
  const nodes = new Map(body.nodes);
  const weights = new Map(body.weights);
  const names = new Map<string, string>();
  body.inputs.forEach((argument, i) => {
    const weight = constants[i];
    if (!weight) return;
    let {name} = weight;
    for (let n = 1; nodes.has(name); n++) name = `${weight.name}_${n}`;
    nodes.set(name, makeNode({name, op: 'Const', attr: {dtype: {type: DTYPES[weight.dtype] ?? 'DT_FLOAT'}}}));
    weights.set(name, {...weight, name});
    names.set(argument, name);
  });
  if (names.size === 0) return body;
  for (const [name, node] of nodes) {
    if (handedOn.has(name)) continue;
    const constantIn = (text: string): string | undefined =>
      text.startsWith('^') ? undefined : names.get(refKey(sourceOf(body, parseRef(text))));
    const input = node.def.input?.map((text) => constantIn(text) ?? text);
    if (input?.some((text, at) => text !== node.def.input?.[at]))
      nodes.set(name, makeNode({...node.def, input}));
  }
  return {...body, nodes: sortNodes(nodes), weights};
}

const DTYPES: Readonly<Record<string, string | undefined>> = {
  int32: 'DT_INT32',
  bool: 'DT_BOOL',
  string: 'DT_STRING',
  complex64: 'DT_COMPLEX64',
};
