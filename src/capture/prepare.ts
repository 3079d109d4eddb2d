/** From a source and example inputs to something that runs predictions: a replay, segments, or the source itself. */
import * as tf from '@tensorflow/tfjs-core';
import {isSoftware} from '../../kernels/webgpu/compile.js';
import {observeDevice} from '../../kernels/webgpu/observed_device.js';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {compileAhead} from '../compile_ahead.js';
import type {RecordedWeight, Recording} from './commands.js';
import {firstDifference} from './compare.js';
import {watchingNodes} from './graph_access.js';
import {cutNodes} from './graph_cut.js';
import {levelRun} from './levels.js';
import {type Program, programOf} from './program.js';
import {type HostOp, record, type Recordable} from './record.js';
import {Replay, type ReplayOptions} from './replay.js';
import type {GraphParts, OpenSource, Run} from './source.js';
import {type ArrayInput, type HostValues, type NamedSpec, variationOf} from './values.js';

/** How predictions run. */
export type Prepared =
  | {readonly mode: 'replay'; readonly replay: Replay; readonly weights: readonly RecordedWeight[]}
  | {
      readonly mode: 'segments';
      /** Why it is not one replay. */
      readonly reason: string;
      readonly replay: Replay;
      readonly weights: readonly RecordedWeight[];
      /** From the replay's outputs to the model's. */
      readonly rest: Run;
      readonly hostOps: readonly string[];
    }
  | {readonly mode: 'plain'; readonly reason: string};

export interface PrepareRequest {
  readonly source: OpenSource;
  readonly specs: readonly NamedSpec[];
  readonly examples: readonly HostValues[];
  readonly options: ReplayOptions;
}

type Recorded =
  | {readonly kind: 'program'; readonly program: Program; readonly recording: Recording}
  | {readonly kind: 'host'; readonly ops: readonly HostOp[]}
  | {readonly kind: 'obstacle'; readonly reason: string};

/** The first recording may fill caches of the model, so two that agree may take a third. */
const MOST_RECORDINGS = 4;
/** Each cut may bring host ops to light that ran before the others. */
const MOST_CUTS = 32;

export async function prepare(access: BackendAccess, request: PrepareRequest): Promise<Prepared> {
  if (tf.env().getBool('WEBGPU_ENGINE_COMPILE_ONLY')) {
    return {mode: 'plain', reason: 'WEBGPU_ENGINE_COMPILE_ONLY is set, so nothing is dispatched'};
  }
  observeDevice(access.device);
  const {source, examples} = request;
  const {graph, sketch} = source;
  // A CPU that plays the GPU compiles on the cores that wait for it: in Node, which polls, side by side took twice the time.
  if (sketch && !isSoftware(access.device)) await compileAhead(access, () => sketch(examples.map(tensorOf)));
  const recorded = await (graph
    ? watchingNodes(graph.graph, (nodeAtWork) => recordTwice(access, {run: source.run, nodeAtWork}, examples))
    : recordTwice(access, {run: source.run}, examples));
  if (recorded.kind === 'obstacle') return {mode: 'plain', reason: recorded.reason};
  if (recorded.kind === 'program') {
    const replay = await buildReplay(access, recorded.program, request);
    return {mode: 'replay', replay, weights: recorded.recording.weights};
  }
  const reason = `${listOf(recorded.ops)} on the CPU with values that depend on the inputs`;
  if (!graph) return {mode: 'plain', reason: `${reason}, and only a GraphModel can be cut there`};
  return prepareSegments(access, {request, graph, ops: recorded.ops});
}

/** The caller's, or its scope's, to dispose. */
const tensorOf = ({values, shape, dtype}: HostValues): tf.Tensor => tf.tensor(values, [...shape], dtype);

function listOf(ops: readonly HostOp[]): string {
  const byOp = new Map<string, HostOp[]>();
  for (const host of ops) byOp.set(host.op, [...(byOp.get(host.op) ?? []), host]);
  const names = [...byOp].map(([op, nodes]) => {
    const times = nodes.length === 1 ? '' : `${nodes.length} × `;
    const node = nodes[0]?.node;
    return node === undefined
      ? `${times}${op}`
      : `${times}${op} (${nodes.length === 1 ? '' : 'first '}'${node}')`;
  });
  return `${names.join(', ')} ${ops.length === 1 ? 'runs' : 'run'}`;
}

/**
 * Records with the example inputs, then with others, until two successive recordings agree: then nothing that was frozen
 * depends on the inputs.
 */
async function recordTwice(
  access: BackendAccess,
  what: Recordable,
  examples: readonly HostValues[],
): Promise<Recorded> {
  const variations = examples.map(variationOf);
  let previous: Program | undefined;
  let difference: string | undefined;
  for (let i = 0; i < MOST_RECORDINGS; i++) {
    const outcome = await record(access, what, i % 2 === 0 ? examples : variations);
    // The first call may keep what later ones reuse, as a fused model keeps its packed weights.
    if (outcome.kind === 'obstacle' && i === 0) continue;
    if (outcome.kind !== 'recording') return outcome;
    const program = programOf(outcome.recording);
    difference = previous && firstDifference(previous, program);
    if (previous && difference === undefined) return {kind: 'program', program, recording: outcome.recording};
    previous = program;
  }
  return {kind: 'obstacle', reason: difference ?? 'its commands differ from call to call'};
}

interface SegmentRequest {
  readonly request: PrepareRequest;
  readonly graph: GraphParts;
  readonly ops: readonly HostOp[];
}

/** Captures the longest part of the graph that comes before all host ops. */
async function prepareSegments(
  access: BackendAccess,
  {request, graph: parts, ops}: SegmentRequest,
): Promise<Prepared> {
  const {graph, inputs, outputs} = parts;
  const found = [...ops];
  const host = new Set<string>();
  const reason = (): string => `${listOf(found)} on the CPU with values that depend on the inputs`;
  for (let i = 0; i < MOST_CUTS; i++) {
    for (const {node} of found) if (node !== undefined) host.add(node);
    const cut = cutNodes({graph, inputs, outputs, host});
    if (cut.every((name) => inputs.includes(name))) break;
    const recorded = await watchingNodes(graph, (nodeAtWork) =>
      recordTwice(access, {run: parts.runPart(inputs, cut), nodeAtWork}, request.examples),
    );
    if (recorded.kind === 'obstacle') return {mode: 'plain', reason: recorded.reason};
    if (recorded.kind === 'host') {
      const fresh = recorded.ops.filter(({node}) => node !== undefined && !host.has(node));
      if (fresh.length === 0) break;
      found.push(...fresh);
      continue;
    }
    const misfits = recorded.program.outputs.filter((output) => !accepts(parts, output));
    if (misfits.length > 0) {
      for (const {name} of misfits) host.add(name);
      continue;
    }
    const replay = await buildReplay(access, recorded.program, request);
    const rest = await orDispose(replay, () => restAfter(access, replay, {request, parts, cut}));
    const hostOps = [...new Set(found.map(({op}) => op))];
    return {mode: 'segments', reason: reason(), replay, weights: recorded.recording.weights, rest, hostOps};
  }
  return {mode: 'plain', reason: `${reason()}, and no part of the graph comes before`};
}

async function restAfter(
  access: BackendAccess,
  replay: Replay,
  {request, parts, cut}: {request: PrepareRequest; parts: GraphParts; cut: readonly string[]},
): Promise<Run> {
  const examples = replay.tensors(request.examples.map(({values}) => values as ArrayInput));
  try {
    return await levelRun(access, parts, {feeds: cut, examples});
  } finally {
    tf.dispose(examples);
  }
}

/** TF.js compares what is fed with the node's own `dtype` attribute, which for a comparison is that of its inputs. */
function accepts({graph}: GraphParts, {name, dtype}: {name: string; dtype: string}): boolean {
  const declared = graph.nodes[name]?.attrParams['dtype']?.value;
  return declared === undefined || declared === null || declared === dtype;
}

async function buildReplay(
  access: BackendAccess,
  program: Program,
  {specs, options}: PrepareRequest,
): Promise<Replay> {
  const replay = new Replay(access, program, specs, options);
  await orDispose(replay, () => replay.settle());
  return replay;
}

/** What `run` gives; where it fails, nobody gets the replay. */
async function orDispose<Result>(replay: Replay, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    replay.dispose();
    throw error;
  }
}
