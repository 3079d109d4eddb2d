/** The rewriter: artifacts in, artifacts with blocks and a report out. Knows no backend and no kernel. */
import type * as tf from '@tensorflow/tfjs-core';
import type {Block, Shape4D} from '../../ops/index.js';
import {blockOf} from './block_node.js';
import type {BlockDispatches} from './dispatches.js';
import {exportGraph, withInputShapes} from './export.js';
import type {Graph} from './graph.js';
import {graphDefOf, importGraph} from './import.js';
import {infer, type Inference, type Shape} from './infer.js';
import {ModelError} from './model_error.js';
import {Report} from './report.js';
import {inFunction, mergeReports, nameIn} from './report_parts.js';
import {ASSUMED, rewriteGraph} from './rewrite_graph.js';

export {LayersError} from './layers/layers_error.js';
export {BLOCK_KINDS} from './block_node.js';
export {ModelError} from './model_error.js';
export type {BlockDispatches} from './dispatches.js';
export {
  type BlockReport,
  emptyReport,
  isFetchable,
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

/** @throws {ModelError} for artifacts that are damaged or contradict themselves or the options. */
export function rewriteArtifacts(artifacts: tf.io.ModelArtifacts, options: RewriteOptions = {}): Rewritten {
  const imported = importGraph(artifacts);
  const inputShapes = checkShapes(imported, options.inputShapes ?? {});
  const original = withInputShapes(imported, inputShapes);
  const keep = new Set((options.keep ?? []).map((name) => checkKept(original, name)));
  const [exact, nominal] = [infer(original), infer(original, {assume: ASSUMED})];
  const main = rewriteGraph(original, {...options, keep});
  const bodies = [...(original.functions ?? [])].map(([name, body]) => {
    const args = {exact: exact.given(name), nominal: nominal.given(name)};
    return [name, rewriteGraph(body, {...options, keep: controlledIn(artifacts, name), args})] as const;
  });
  const report = mergeReports(
    main.report,
    bodies.map(([name, body]) => inFunction(name, body.report)),
  );
  const written = new Map(bodies.map(([name, {graph}]) => [name, graph]));
  const origin = {artifacts, weights: imported.weights, inputShapes};
  return {artifacts: exportGraph(main.graph, written, origin), report: new Report(report)};
}

export interface FusedBlock {
  /** Of its node. */
  readonly name: string;
  readonly block: Block;
  /** `[N, H, W, C]`, with assumed sizes where the model leaves them open. */
  readonly input: Shape4D;
}

/** The blocks of a rewritten model, in the order of the graph. @throws {ModelError} for damaged artifacts. */
export function fusedBlocks(artifacts: tf.io.ModelArtifacts): readonly FusedBlock[] {
  const main = importGraph(artifacts);
  const nominal = infer(main, {assume: ASSUMED});
  const inBodies = [...(main.functions ?? [])].flatMap(([name, body]) => {
    const blocks = blocksIn(body, infer(body, {assume: ASSUMED, args: nominal.given(name)}));
    return blocks.map((block) => ({...block, name: nameIn(name, block.name)}));
  });
  return [...blocksIn(main, nominal), ...inBodies];
}

const blocksIn = ({nodes}: Graph, nominal: Inference): readonly FusedBlock[] =>
  [...nodes.values()].flatMap((node) => {
    const block = blockOf(node);
    const [n = 0, h = 0, w = 0, c = 0] = (node.inputs[0] && nominal.shape(node.inputs[0])) ?? [];
    return block && n > 0 ? [{name: node.name, block, input: [n, h, w, c] as const}] : [];
  });

/** Nodes of a function that must have run before it returns. */
function controlledIn(artifacts: tf.io.ModelArtifacts, name: string): ReadonlySet<string> {
  const functions = graphDefOf(artifacts).library?.function ?? [];
  return new Set(Object.values(functions.find(({signature}) => signature?.name === name)?.controlRet ?? {}));
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
