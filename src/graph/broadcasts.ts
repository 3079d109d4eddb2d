/**
 * Drops a `BroadcastTo` in front of an op that broadcasts by itself. Stock TF.js expands such a constant on the CPU and uploads
 * it at each call: for an image of normalisation constants that is more time than the network behind it.
 */
import {childless, type Graph, makeNode, type Node, type Ref, refKey, withoutDead} from './graph.js';
import type {Inference} from './infer.js';
import {broadcast} from './known.js';

/** Ops of two operands that TF.js broadcasts. */
const BROADCASTING: ReadonlySet<string> = new Set([
  ...['Add', 'AddV2', 'Sub', 'Mul', 'Div', 'RealDiv', 'DivNoNan', 'FloorDiv', 'Maximum', 'Minimum', 'Pow'],
  ...['SquaredDifference', 'Mod', 'FloorMod', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'Equal'],
  'NotEqual',
]);

/** Ops whose output has their input's shape, whatever it is. */
const KEEPS_SHAPE: ReadonlySet<string> = new Set([
  ...['Identity', 'StopGradient', 'Cast', 'Relu', 'Relu6', 'Sigmoid', 'Tanh', 'Neg', 'Abs', 'Sqrt', 'Rsqrt'],
  ...['Square', 'Exp', 'Elu', 'LeakyRelu', 'ClipByValue'],
]);

/** @param keep Nodes that must stay, besides inputs and outputs. */
export function dropBroadcasts(graph: Graph, inference: Inference, keep: ReadonlySet<string>): Graph {
  const like = new ShapeOrigins(graph);
  const nodes = new Map<string, Node>();
  for (const node of graph.nodes.values()) {
    const lighter = BROADCASTING.has(node.op) ? withoutBroadcast(graph, inference, like, node) : undefined;
    nodes.set(node.name, lighter ?? node);
    like.add(node);
  }
  return withoutDead({...graph, nodes}, [...childless(graph), ...keep]);
}

function withoutBroadcast(
  graph: Graph,
  inference: Inference,
  like: ShapeOrigins,
  node: Node,
): Node | undefined {
  const [a, b] = node.inputs;
  if (!a || !b || node.inputs.length !== 2) return undefined;
  for (const [position, wide, other] of [
    [1, b, a],
    [0, a, b],
  ] as const) {
    const expansion = wide.index === 0 ? graph.nodes.get(wide.node) : undefined;
    const [narrow, target] = expansion?.inputs ?? [];
    if (expansion?.op !== 'BroadcastTo' || expansion.controls.length > 0 || !narrow || !target) continue;
    const isShapeOfOther = refKey(like.ofTarget(target) ?? target) === refKey(like.of(other));
    if (!isShapeOfOther && !addsNothing(inference, wide, narrow, other)) continue;
    const inputs = (node.def.input ?? []).map((text, i) => (i === position ? refKey(narrow) : text));
    return makeNode({...node.def, input: inputs});
  }
  return undefined;
}

/** Every size is known, and the operands give the same shape without the expansion. */
function addsNothing(inference: Inference, wide: Ref, narrow: Ref, other: Ref): boolean {
  const [expanded, small, beside] = [wide, narrow, other].map((ref) => inference.shape(ref));
  if (!expanded || !small || !beside || [...expanded, ...small, ...beside].some((size) => size < 0))
    return false;
  const [before, after] = [broadcast(expanded, beside), broadcast(small, beside)];
  return before !== undefined && after !== undefined && before.join() === after.join();
}

/** For each value an earlier one that has the same shape at every call; itself where none is known. */
class ShapeOrigins {
  readonly #graph: Graph;
  readonly #origins = new Map<string, Ref>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  of(ref: Ref): Ref {
    return this.#origins.get(refKey(ref)) ?? ref;
  }

  /** The value whose shape `target` is. */
  ofTarget(target: Ref): Ref | undefined {
    const node = this.#graph.nodes.get(target.node);
    const [measured] = node?.inputs ?? [];
    return node?.op === 'Shape' && measured ? this.of(measured) : undefined;
  }

  add({name, op, inputs}: Node): void {
    const [a, b] = inputs;
    if (a && KEEPS_SHAPE.has(op)) this.#origins.set(name, this.of(a));
    if (!a || !b || !BROADCASTING.has(op)) return;
    // A scalar beside it, or an expansion to its shape, changes no shape.
    if (this.#isNoWider(b, a)) this.#origins.set(name, this.of(a));
    else if (this.#isNoWider(a, b)) this.#origins.set(name, this.of(b));
  }

  #isNoWider(operand: Ref, beside: Ref): boolean {
    const node = this.#graph.nodes.get(operand.node);
    if (node?.op === 'Const') return this.#graph.weights.get(node.name)?.shape.length === 0;
    const target = node?.op === 'BroadcastTo' ? node.inputs[1] : undefined;
    const origin = target && this.ofTarget(target);
    return origin !== undefined && refKey(origin) === refKey(this.of(beside));
  }
}
