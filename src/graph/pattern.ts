/**
 * Patterns over canonical nodes, with named captures. A node inside a match is swallowed by the rewrite, so the matcher itself
 * checks that no one else needs its value, unless the pattern shares it.
 */
import type {CanonicalNode, Form} from './forms.js';
import {type Ref, refKey} from './graph.js';
import type {Overlay} from './overlay.js';
import type {Weight} from './weights.js';

/** Any value; under the same name twice, the same value. */
interface AnyPattern {
  readonly kind: 'any';
  readonly as: string;
}

interface ConstantPattern {
  readonly kind: 'constant';
  readonly as: string;
}

export interface OpPattern {
  readonly kind: 'op';
  readonly ops: readonly string[];
  /** Of the first inputs; further inputs are not looked at. */
  readonly inputs: readonly Pattern[];
  readonly as?: string;
  /** Others may read it too: the root is a function of what lies below, and where others do, it stays. */
  readonly shared?: true;
}

export type Pattern = AnyPattern | ConstantPattern | OpPattern;

export const any = (as: string): Pattern => ({kind: 'any', as});
export const constant = (as: string): Pattern => ({kind: 'constant', as});
export const op = (
  ops: string | readonly string[],
  inputs: readonly Pattern[] = [],
  as?: string,
): OpPattern => ({
  kind: 'op',
  ops: typeof ops === 'string' ? [ops] : ops,
  inputs,
  ...(as === undefined ? {} : {as}),
});

/** An op whose value may also be read outside the match. */
export const shared = (...args: Parameters<typeof op>): OpPattern => ({...op(...args), shared: true});

export const ADD = ['Add', 'AddV2', 'AddN'] as const;
const COMMUTATIVE: ReadonlySet<string> = new Set([
  ...ADD,
  'Mul',
  'Maximum',
  'Minimum',
  'SquaredDifference',
  'add',
]);

interface Captures {
  readonly refs: ReadonlyMap<string, Ref>;
  readonly nodes: ReadonlyMap<string, CanonicalNode>;
  /** Matched below the root. */
  readonly inner: readonly CanonicalNode[];
  /** Those of them that may stay. */
  readonly shared: ReadonlySet<CanonicalNode>;
}

/** What a pattern found. Asking for a name the pattern does not have is a fault of the rule. */
export class Match {
  readonly overlay: Overlay;
  readonly root: CanonicalNode;
  readonly inner: readonly CanonicalNode[];
  readonly #captures: Captures;

  constructor(overlay: Overlay, root: CanonicalNode, captures: Captures) {
    this.overlay = overlay;
    this.root = root;
    this.inner = captures.inner;
    this.#captures = captures;
  }

  ref(name: string): Ref {
    return this.#need(this.#captures.refs.get(name), name);
  }

  node(name: string): CanonicalNode {
    return this.#need(this.#captures.nodes.get(name), name);
  }

  /** The form of a captured node whose pattern names one canonical op. */
  form<Op extends Form['op']>(name: string, op: Op): Extract<Form, {op: Op}> {
    const {form} = this.node(name);
    if (form?.op !== op) throw new Error(`'${name}' is ${String(form?.op)}, not ${op}.`);
    return form as Extract<Form, {op: Op}>;
  }

  constant(name: string): Weight {
    return this.#need(this.overlay.constant(this.ref(name)), name);
  }

  shape(name: string): readonly number[] | undefined {
    return this.overlay.shape(this.ref(name));
  }

  get outShape(): readonly number[] | undefined {
    return this.overlay.shape({node: this.root.name, index: 0});
  }

  #need<T>(value: T | undefined, name: string): T {
    if (value === undefined) throw new Error(`The pattern has no capture '${name}'.`);
    return value;
  }
}

/** Every way in which the pattern fits at `root`: commutative ops are tried in both orders. */
export function* matchesOf(overlay: Overlay, pattern: OpPattern, root: CanonicalNode): Generator<Match> {
  const empty: Captures = {refs: new Map(), nodes: new Map(), inner: [], shared: new Set()};
  for (const captures of matchNode(overlay, pattern, root, empty, true)) {
    const owned = captures.inner.filter((node) => !captures.shared.has(node));
    if (owned.every((node) => isSwallowable(overlay, node, root, captures.inner)))
      yield new Match(overlay, root, captures);
  }
}

function isSwallowable(
  overlay: Overlay,
  node: CanonicalNode,
  root: CanonicalNode,
  inner: readonly CanonicalNode[],
): boolean {
  if (overlay.isKept(node.name)) return false;
  const insiders = new Set([root.name, ...inner.map(({name}) => name)]);
  return [...overlay.consumers(node.name)].every((reader) => insiders.has(reader));
}

function* matchNode(
  overlay: Overlay,
  pattern: OpPattern,
  node: CanonicalNode,
  captures: Captures,
  isRoot: boolean,
): Generator<Captures> {
  if (!pattern.ops.includes(node.op) || node.inputs.length < pattern.inputs.length) return;
  const found: Captures = {
    refs: captures.refs,
    nodes: pattern.as === undefined ? captures.nodes : new Map(captures.nodes).set(pattern.as, node),
    inner: isRoot || captures.inner.includes(node) ? captures.inner : [...captures.inner, node],
    shared: pattern.shared ? new Set(captures.shared).add(node) : captures.shared,
  };
  yield* matchInputs(overlay, pattern.inputs, node.inputs, found);
  const [a, b] = node.inputs;
  if (COMMUTATIVE.has(node.op) && pattern.inputs.length === 2 && a && b) {
    yield* matchInputs(overlay, pattern.inputs, [b, a], found);
  }
}

function* matchInputs(
  overlay: Overlay,
  patterns: readonly Pattern[],
  inputs: readonly Ref[],
  captures: Captures,
): Generator<Captures> {
  const [pattern, ...rest] = patterns;
  const [ref, ...others] = inputs;
  if (!pattern) {
    yield captures;
  } else if (ref) {
    for (const found of matchRef(overlay, pattern, ref, captures))
      yield* matchInputs(overlay, rest, others, found);
  }
}

function* matchRef(overlay: Overlay, pattern: Pattern, ref: Ref, captures: Captures): Generator<Captures> {
  if (pattern.kind === 'op') {
    const node = overlay.node(ref);
    if (node) yield* matchNode(overlay, pattern, node, captures, false);
    return;
  }
  const seen = captures.refs.get(pattern.as);
  if (seen && refKey(seen) !== refKey(ref)) return;
  const isConstant = overlay.constant(ref) !== undefined;
  if (isConstant !== (pattern.kind === 'constant')) return;
  yield {...captures, refs: new Map(captures.refs).set(pattern.as, ref)};
}
