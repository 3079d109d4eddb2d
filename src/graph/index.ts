/** The rewriter: artifacts in, artifacts with blocks and a report out. Knows no backend and no kernel. */
import type * as tf from '@tensorflow/tfjs-core';
import type {Block, Shape4D} from '../../ops/index.js';
import {canonicalise} from './canonical.js';
import {blockOf} from './block_node.js';
import {dropBroadcasts} from './broadcasts.js';
import {checkOps} from './check.js';
import {withoutIdleControls} from './controls.js';
import {fuseDense} from './dense.js';
import {type BlockDispatches, countDispatches, referenceDispatches} from './dispatches.js';
import {exportGraph, withInputShapes} from './export.js';
import {foldConstants} from './fold.js';
import type {Graph} from './graph.js';
import {importGraph} from './import.js';
import {infer, type Shape} from './infer.js';
import {channelsLast} from './nchw.js';
import {matchBlocks} from './matcher.js';
import {missesOf} from './misses.js';
import {ModelError} from './model_error.js';
import {Overlay} from './overlay.js';
import {countConvolutions, executedNodes, Report, reportBlock, stagesOf} from './report.js';
import {rewrite} from './rewrite.js';

export {LayersError} from './layers/layers_error.js';
export {BLOCK_KINDS} from './block_node.js';
export {ModelError} from './model_error.js';
export type {BlockDispatches} from './dispatches.js';
export {
  type BlockReport,
  emptyReport,
  missesInNoBlock,
  Report,
  type ReportData,
  type StageReport,
} from './report.js';
export type {Miss, MissReason} from './misses.js';
export {adviceOn} from './advice.js';

export interface RewriteOptions {
  /** Shapes that will be fed, by input name: shape arithmetic that depends on them becomes constant. */
  readonly inputShapes?: Readonly<Record<string, readonly number[]>> | undefined;
  /** Names of nodes that must stay fetchable, besides inputs and outputs. */
  readonly keep?: readonly string[] | undefined;
  /** Dispatches of a block on the backend in question; the reference's unless given. */
  readonly dispatches?: BlockDispatches | undefined;
  /** The model comes from a file, so ops that TF.js does not run are an error; a loaded model may have ops of its own. */
  readonly isFile?: boolean | undefined;
  /** Whether a kernel beats the ops it would replace; all blocks are taken unless given. */
  readonly accepts?: ((block: Block, input: Shape4D) => boolean) | undefined;
}

export interface Rewritten {
  readonly artifacts: tf.io.ModelArtifacts;
  readonly report: Report;
}

/** What sizes a model leaves open are taken to be when costs are estimated. */
const ASSUMED = {batch: 1, size: 224} as const;

/** @throws {ModelError} for artifacts that are damaged or contradict themselves or the options. */
export function rewriteArtifacts(artifacts: tf.io.ModelArtifacts, options: RewriteOptions = {}): Rewritten {
  const imported = importGraph(artifacts);
  const inputShapes = checkShapes(imported, options.inputShapes ?? {});
  const original = withInputShapes(imported, inputShapes);
  const keep = new Set((options.keep ?? []).map((name) => checkKept(original, name)));
  const free = withoutIdleControls(original, keep);
  const lighter = dropBroadcasts(free, infer(free), keep);
  const folded = foldConstants(lighter, infer(lighter), keep).graph;
  const graph = channelsLast(folded, infer(folded), keep);
  const nominal = infer(graph, {assume: ASSUMED});
  const overlay = new Overlay(graph, infer(graph), keep);
  canonicalise(overlay);
  const matches = matchBlocks({overlay, nominal, ...(options.accepts ? {accepts: options.accepts} : {})});
  const rewritten = fuseDense(rewrite(graph, matches.blocks, keep), nominal, keep);
  if (options.isFile) checkOps(rewritten); // Not before: a block may have taken in what TF.js does not run.
  const dispatches = options.dispatches ?? referenceDispatches;
  const reporting = {graph, nominal, dispatches};
  const order = new Map([...graph.nodes.keys()].map((name, i) => [name, i]));
  const inOrder = (a: {at: string}, b: {at: string}): number =>
    (order.get(a.at) ?? 0) - (order.get(b.at) ?? 0);
  const blocks = matches.blocks.map((block) => reportBlock(block, reporting)).sort(inOrder);
  const misses = [...missesOf(graph, overlay, matches)].sort(inOrder);
  const nominalBefore = infer(original, {assume: ASSUMED});
  const report = new Report({
    nodes: {before: executedNodes(original), after: executedNodes(rewritten)},
    ...countConvolutions(graph, nominal, matches.blocks),
    dispatches: {
      before: countDispatches(original, nominalBefore, dispatches, blockOf),
      after: countDispatches(rewritten, nominal, dispatches, blockOf),
    },
    blocks,
    misses,
    stages: stagesOf(blocks, misses, reporting),
    notes: [],
  });
  return {artifacts: exportGraph(rewritten, artifacts, inputShapes), report};
}

function checkKept(graph: Graph, name: string): string {
  const node = name.split(':')[0] ?? name;
  if (!graph.nodes.has(node))
    throw new ModelError(`keep names '${name}', which is not in the graph; use the name of a node.`);
  return node;
}

function checkShapes(graph: Graph, shapes: Readonly<Record<string, Shape>>): Readonly<Record<string, Shape>> {
  return Object.fromEntries(
    Object.entries(shapes).map(([key, shape]) => {
      const name = key.split(':')[0] ?? key;
      if (!graph.inputs.includes(name))
        throw new ModelError(
          `inputShapes names '${key}', but the inputs are ${graph.inputs.map((input) => `'${input}'`).join(', ')}.`,
        );
      return [name, shape];
    }),
  );
}
