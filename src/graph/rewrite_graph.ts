/** One graph, the model's own or the body of a function: from what was read to what is written, with the report. */
import {blockOf} from './block_node.js';
import {dropBroadcasts} from './broadcasts.js';
import {canonicalise} from './canonical.js';
import {checkOps} from './check.js';
import {withoutIdleControls} from './controls.js';
import {fuseDense} from './dense.js';
import {countDispatches, referenceDispatches} from './dispatches.js';
import {foldConstants} from './fold.js';
import {framedNodes, withEnteredConstants} from './frames.js';
import type {Graph} from './graph.js';
import type {RewriteOptions} from './index.js';
import {infer, type Inference, type Shape} from './infer.js';
import {matchBlocks} from './matcher.js';
import {missesOf} from './misses.js';
import {channelsLast} from './nchw.js';
import {Overlay} from './overlay.js';
import {countConvolutions, executedNodes, type ReportData, reportBlock, stagesOf} from './report.js';
import {rewrite} from './rewrite.js';

/** What sizes a model leaves open are taken to be when costs are estimated. */
export const ASSUMED = {batch: 1, size: 224} as const;

type Shapes = readonly (Shape | undefined)[];

export interface GraphOptions extends Pick<RewriteOptions, 'dispatches' | 'isFile' | 'accepts'> {
  /** Nodes that must stay, besides inputs and outputs. */
  readonly keep: ReadonlySet<string>;
  /** Of a body: the shapes of its arguments, as they are known and with sizes assumed where they are open. */
  readonly args?: {readonly exact: Shapes; readonly nominal: Shapes};
}

/** @throws {ModelError} where an op cannot take its shapes, or a file has an op that TF.js does not run. */
export function rewriteGraph(original: Graph, options: GraphOptions): {graph: Graph; report: ReportData} {
  const {keep, args, dispatches = referenceDispatches, accepts} = options;
  const exactly = (graph: Graph): Inference => infer(graph, args ? {args: args.exact} : {});
  const nominally = (graph: Graph): Inference =>
    infer(graph, {assume: ASSUMED, ...(args ? {args: args.nominal} : {})});
  const free = withEnteredConstants(withoutIdleControls(original, keep), keep);
  const lighter = dropBroadcasts(free, exactly(free), keep);
  const folded = foldConstants(lighter, exactly(lighter), keep).graph;
  const graph = channelsLast(folded, exactly(folded), keep);
  const nominal = nominally(graph);
  const overlay = new Overlay(graph, exactly(graph), keep);
  canonicalise(overlay);
  const matches = matchBlocks({overlay, nominal, ...(accepts ? {accepts} : {})});
  const rewritten = fuseDense(rewrite(graph, matches.blocks, keep), nominal, keep);
  if (options.isFile) checkOps(rewritten); // Not before: a block may have taken in what TF.js does not run.
  const reporting = {graph, nominal, dispatches};
  const order = new Map([...graph.nodes.keys()].map((name, i) => [name, i]));
  const inOrder = (a: {at: string}, b: {at: string}): number =>
    (order.get(a.at) ?? 0) - (order.get(b.at) ?? 0);
  const framed = framedNodes(graph);
  const blocks = matches.blocks
    .map((block) => reportBlock(block, reporting))
    .map((block) => (framed.has(block.at) ? {...block, isFramed: true as const} : block))
    .sort(inOrder);
  const misses = [...missesOf(graph, overlay, matches)].sort(inOrder);
  const report: ReportData = {
    nodes: {before: executedNodes(original), after: executedNodes(rewritten)},
    ...countConvolutions(graph, nominal, matches.blocks),
    dispatches: {
      before: countDispatches(original, nominally(original), dispatches, blockOf),
      after: countDispatches(rewritten, nominal, dispatches, blockOf),
    },
    blocks,
    misses,
    stages: stagesOf(blocks, misses, reporting),
    notes: [],
  };
  return {graph: rewritten, report};
}
