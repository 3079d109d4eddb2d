/** What the rewriter did, as data, and as text for a person. */
import {type Block, costOf} from '../../ops/index.js';
import {numbersAttr} from './attrs.js';
import type {Candidate} from './candidates.js';
import {allDispatches, type BlockDispatches} from './dispatches.js';
import type {Graph, Node} from './graph.js';
import {valueOf} from './graph.js';
import type {Inference} from './infer.js';
import type {Miss} from './misses.js';
import {sizeOf} from './weights.js';

export interface Counted {
  readonly total: number;
  readonly fused: number;
}

export interface BlockReport {
  /** The kind of block, e.g. `BlockMBConv`. */
  readonly block: string;
  /** Name of its node: that of the last node it replaces; behind the function's name and a slash where it is in one. */
  readonly at: string;
  /** Of the library, which control flow runs and whose values cannot be fetched. */
  readonly function?: string;
  /** In a loop or a branch between Enter or Switch and what closes it, so that its value cannot be fetched. */
  readonly isFramed?: true;
  /** `expand pointwise 16→96 relu6` and so on. */
  readonly stages: readonly string[];
  /** Names of the nodes it replaces. */
  readonly nodes: readonly string[];
  /** `[N, H, W, C]`, with assumed sizes where the model leaves them open; the output may be `[N, C]`. */
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly macs: number;
  /** How many of each op it replaces, constants apart. */
  readonly ops: Readonly<Record<string, number>>;
  /** Estimated for the WebGPU backend. */
  readonly dispatches: {readonly before: number; readonly after: number};
  /** Weights whose values changed (batch norm folded in), which makes them float32. */
  readonly folded: readonly string[];
}

/** A run of the network at one resolution. */
export interface StageReport {
  /** In whose body; the model's own graph where absent. */
  readonly function?: string;
  /** Height and width of the values it gives; none for vectors. */
  readonly resolution: readonly number[];
  /** The `at` of blocks and of misses, in the order of the graph. */
  readonly parts: readonly string[];
}

export interface ReportData {
  /** Nodes that are executed: constants and inputs do not count. A function of control flow counts once, here and below. */
  readonly nodes: {readonly before: number; readonly after: number};
  /** Depth-wise convolutions. */
  readonly depthwise: Counted;
  /** Multiply-accumulates in depth-wise and pointwise convolutions, batch 1. */
  readonly macs: Counted;
  /** GPU dispatches, estimated for the WebGPU backend. */
  readonly dispatches: {readonly before: number; readonly after: number};
  readonly blocks: readonly BlockReport[];
  /** Convolutions in no block, and those alone in a block of their name that nearly were in a larger one. */
  readonly misses: readonly Miss[];
  readonly stages: readonly StageReport[];
  /** What a user should know besides: an assumption, a layer that could not be read. */
  readonly notes: readonly string[];
}

const DEPTHWISE: ReadonlySet<string> = new Set([
  'DepthwiseConv2dNative',
  'DepthwiseConv2d',
  'FusedDepthwiseConv2dNative',
]);
const CONV: ReadonlySet<string> = new Set(['Conv2D', '_FusedConv2D']);

export const executedNodes = (graph: Graph): number =>
  [...graph.nodes.values()].filter(({op, name}) => op !== 'Const' && !graph.inputs.includes(name)).length;

/** Counts over the original graph what the blocks took. */
export function countConvolutions(
  graph: Graph,
  nominal: Inference,
  blocks: readonly Candidate[],
): {depthwise: Counted; macs: Counted} {
  const fused = new Set(blocks.flatMap(({nodes}) => nodes.flatMap(({covers}) => covers)));
  let [depthwise, macs]: [Counted, Counted] = [
    {total: 0, fused: 0},
    {total: 0, fused: 0},
  ];
  const add = ({total, fused: so}: Counted, amount: number, isFused: boolean): Counted => ({
    total: total + amount,
    fused: so + (isFused ? amount : 0),
  });
  for (const node of graph.nodes.values()) {
    const own = measure(graph, node, nominal);
    if (own?.isDepthwise) depthwise = add(depthwise, 1, fused.has(node.name));
    if (own) macs = add(macs, own.macs, fused.has(node.name));
  }
  return {depthwise, macs};
}

const DENSE: ReadonlySet<string> = new Set(['MatMul', '_FusedMatMul', 'BatchMatMul', 'BatchMatMulV2']);

interface Measured {
  readonly isDepthwise: boolean;
  readonly macs: number;
}

/** Of a depth-wise or pointwise convolution, a dense layer over pixels among them; undefined for every other node. */
function measure(graph: Graph, node: Node, nominal: Inference): Measured | undefined {
  const shapeOf = (input: number): readonly number[] =>
    (node.inputs[input] && nominal.shape(node.inputs[input])) ?? [];
  const output = nominal.shape(valueOf(node.name))?.map((size) => Math.max(1, size));
  if (!output) return undefined;
  const [kh = 0, kw = 0, ci = 0] = shapeOf(1);
  if (DEPTHWISE.has(node.op)) return {isDepthwise: true, macs: sizeOf(output) * kh * kw};
  if (DENSE.has(node.op)) {
    const batch = nominal.shape(valueOf(graph.inputs[0] ?? ''))?.[0] ?? 1;
    const [inner, co] = shapeOf(1);
    const isOverPixels = shapeOf(1).length === 2 && sizeOf(output) > Math.max(1, batch) * (co ?? 0);
    return isOverPixels ? {isDepthwise: false, macs: sizeOf(output) * (inner ?? 0)} : undefined;
  }
  if (!CONV.has(node.op)) return undefined;
  // Keras spells depth-wise convolutions of ConvNeXt as convolutions with as many groups as channels.
  if (ci === 1 && (shapeOf(0)[3] ?? 1) > 1) return {isDepthwise: true, macs: sizeOf(output) * kh * kw};
  const isPointwise =
    kh === 1 && kw === 1 && numbersAttr(node.attrs, 'strides').every((stride) => stride === 1);
  return isPointwise ? {isDepthwise: false, macs: sizeOf(output) * ci} : undefined;
}

/** What a report is made from: the graph that was searched, with assumed sizes, and the planner's count. */
export interface Reporting {
  readonly graph: Graph;
  readonly nominal: Inference;
  readonly dispatches: BlockDispatches;
}

export function reportBlock(candidate: Candidate, {graph, nominal, dispatches}: Reporting): BlockReport {
  const {block, nodes, inputShape, outputShape, weights} = candidate;
  const kept = new Set([...graph.weights.values()].map(({bytes}) => bytes));
  const covered = [...new Set(nodes.flatMap(({covers}) => covers))];
  const originals = covered.flatMap((name) => graph.nodes.get(name) ?? []).filter(({op}) => op !== 'Const');
  const ops: Record<string, number> = {};
  for (const {op} of originals) ops[op] = (ops[op] ?? 0) + 1;
  return {
    block: block.kind,
    at: nodes.at(-1)?.name ?? '',
    stages: describeStages(block),
    nodes: covered,
    input: inputShape,
    output: outputShape,
    macs: costOf(block, inputShape).macs,
    ops,
    dispatches: {
      before: originals.reduce((total, node) => total + allDispatches(node, nominal), 0),
      after: dispatches(block, inputShape),
    },
    folded: weights
      .filter((given) => 'weight' in given && !kept.has(given.weight.bytes))
      .map(({name}) => name),
  };
}

/** Whether `execute` can give the block's value. */
export const isFetchable = ({function: of, isFramed}: BlockReport): boolean =>
  of === undefined && isFramed === undefined;

const resolutionOf = (shape: readonly number[]): readonly number[] =>
  shape.length === 4 ? shape.slice(1, 3) : [];

export function missesInNoBlock(blocks: readonly BlockReport[], misses: readonly Miss[]): readonly Miss[] {
  const named = new Set(blocks.map(({at}) => at));
  return misses.filter(({at}) => !named.has(at));
}

/** Blocks and misses in the order of the graph, cut where the resolution changes. */
export function stagesOf(
  blocks: readonly BlockReport[],
  misses: readonly Miss[],
  {graph, nominal}: Pick<Reporting, 'graph' | 'nominal'>,
): readonly StageReport[] {
  const order = new Map([...graph.nodes.keys()].map((name, i) => [name, i]));
  const all = [
    ...blocks.map(({at, output}) => ({at, resolution: resolutionOf(output)})),
    ...missesInNoBlock(blocks, misses).map(({at}) => {
      const shape = nominal.shape(valueOf(at)) ?? [];
      return {at, resolution: resolutionOf(shape)};
    }),
  ].sort((a, b) => (order.get(a.at) ?? 0) - (order.get(b.at) ?? 0));
  const stages: {resolution: readonly number[]; parts: string[]}[] = [];
  for (const {at, resolution} of all) {
    const stage = stages.at(-1);
    if (stage?.resolution.join() === resolution.join()) stage.parts.push(at);
    else stages.push({resolution, parts: [at]});
  }
  return stages;
}

export function describeStages({stages}: Block): readonly string[] {
  return stages.map((stage) => {
    const parts: string[] = [stage.name];
    if (stage.op === 'spatial')
      parts.push(
        `${stage.kernel.join('×')}${stage.stride[0] > 1 ? ` stride ${stage.stride[0]}` : ''} → ${stage.channels}`,
      );
    if (stage.op === 'pointwise') parts.push(`→ ${stage.channels}`);
    if (stage.op === 'gate') parts.push(`${stage.channels} ${stage.gate.fn}`);
    if (stage.op === 'residual' && stage.given) parts.push('(a map from elsewhere)');
    if (stage.op === 'residual' && stage.shortcut.length > 0)
      parts.push(`(${stage.shortcut.map(({op}) => op).join(', ')})`);
    if ('activation' in stage && stage.activation.fn !== 'linear') parts.push(stage.activation.fn);
    return parts.join(' ');
  });
}

export class Report implements ReportData {
  readonly nodes: ReportData['nodes'];
  readonly depthwise: Counted;
  readonly macs: Counted;
  readonly dispatches: ReportData['dispatches'];
  readonly blocks: readonly BlockReport[];
  readonly misses: readonly Miss[];
  readonly stages: readonly StageReport[];
  readonly notes: readonly string[];

  constructor(data: ReportData) {
    ({
      nodes: this.nodes,
      depthwise: this.depthwise,
      macs: this.macs,
      dispatches: this.dispatches,
      blocks: this.blocks,
      misses: this.misses,
      stages: this.stages,
      notes: this.notes,
    } = data);
  }

  /** The whole report for a person: what became of the model, block by block, and what did not and why. */
  toString(): string {
    const share = ({total, fused}: Counted): string =>
      `${fused} of ${total}${total > 0 ? ` (${Math.round((100 * fused) / total)} %)` : ''}`;
    const lines = [
      `${this.blocks.length} blocks fused`,
      `  nodes                 ${this.nodes.before} → ${this.nodes.after}`,
      `  dispatches            ${this.dispatches.before} → ${this.dispatches.after}`,
      `  depth-wise convs      ${share(this.depthwise)}`,
      `  MACs of both kinds    ${share(this.macs)}`,
    ];
    for (const {block, at, stages, input, output} of this.blocks) {
      lines.push(`${block}  ${at}`, `  [${input.join(', ')}] → [${output.join(', ')}]: ${stages.join('; ')}`);
    }
    const outside = missesInNoBlock(this.blocks, this.misses);
    const alone = this.misses.filter((miss) => !outside.includes(miss));
    const list = (title: string, misses: readonly Miss[]): void => {
      if (misses.length > 0) lines.push(`${misses.length} ${title}`);
      for (const {block, at, reason, found, needed} of misses)
        lines.push(at, `  ${block}: ${reason}: found ${found}, needed ${needed}`);
    };
    list('not fused', outside);
    list('alone in a block', alone);
    return [...lines, ...this.notes.map((note) => `note: ${note}`)].join('\n');
  }
}

/** Of a model that was left as it is, and why. */
export const emptyReport = (note: string): Report =>
  new Report({
    nodes: {before: 0, after: 0},
    depthwise: {total: 0, fused: 0},
    macs: {total: 0, fused: 0},
    dispatches: {before: 0, after: 0},
    blocks: [],
    misses: [],
    stages: [],
    notes: [note],
  });
