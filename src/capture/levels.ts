/**
 * Running a graph plainly where its ops read values of the GPU synchronously (Range, Fill, Slice and the like take shapes and
 * bounds that way). TF.js can do that only where there is a canvas, and slowly. Here the graph is cut before such an op: the
 * values are awaited first, and the op finds them in main memory.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {watchingNodes} from './graph_access.js';
import {cutNodes} from './graph_cut.js';
import {MethodHooks} from './method_hooks.js';
import type {HostOp, NamedResult} from './record.js';
import type {GraphParts, Run} from './source.js';

/** A part of the graph that runs without such a read. */
interface Level {
  readonly feeds: readonly string[];
  readonly fetches: readonly string[];
  /** Fetches whose values the next level reads. */
  readonly awaited: readonly string[];
  readonly run: Run;
}

class SyncReadError extends Error {}

/** More synchronous reads one after another than any known model has. */
const MOST_LEVELS = 32;

/**
 * How to get from `feeds` to the outputs, found by running with example tensors. Nothing else may run meanwhile.
 * Synchronous where the model allows it.
 */
export async function levelRun(
  access: BackendAccess,
  parts: GraphParts,
  {feeds, examples}: {feeds: readonly string[]; examples: readonly tf.Tensor[]},
): Promise<Run> {
  const levels: Level[] = [];
  const made: tf.Tensor[] = [];
  const direct = parts.runPart(feeds, parts.outputs);
  const search = {access, parts};
  try {
    let current = {feeds, tensors: examples};
    for (let i = 0; i < MOST_LEVELS; i++) {
      const run = parts.runPart(current.feeds, parts.outputs);
      const last = await attempt(search, () => run(current.tensors));
      if (last.kind === 'results') {
        made.push(...last.tensors);
        if (levels.length === 0) return direct;
        return runnerOf(
          [...levels, {feeds: current.feeds, fetches: parts.outputs, awaited: [], run}],
          parts.outputs,
        );
      }
      const found = await levelBefore(search, current, last.reader);
      if (!found) return direct;
      made.push(...found.tensors);
      await awaitValues(found.level, found.tensors);
      levels.push(found.level);
      current = {feeds: found.level.fetches, tensors: found.tensors};
    }
    return direct;
  } finally {
    tf.dispose(made.filter((tensor) => !examples.includes(tensor)));
  }
}

interface Search {
  readonly access: BackendAccess;
  readonly parts: GraphParts;
}

interface Fed {
  readonly feeds: readonly string[];
  readonly tensors: readonly tf.Tensor[];
}

/**
 * The level that ends before `reader`, and before all others that read in it; and its results. Undefined where what they read
 * cannot be fetched: TF.js must read then.
 */
async function levelBefore(
  search: Search,
  {feeds, tensors}: Fed,
  reader: HostOp,
): Promise<{level: Level; tensors: readonly tf.Tensor[]} | undefined> {
  const {graph, outputs} = search.parts;
  const readers = new Set<string>();
  let next = reader;
  while (next.node !== undefined && !readers.has(next.node)) {
    readers.add(next.node);
    const fetches = cutNodes({graph, inputs: feeds, outputs, host: readers});
    const run = search.parts.runPart(feeds, fetches);
    const result = await attempt(search, () => run(tensors));
    if (result.kind === 'results') {
      const read = [...readers].flatMap((name) => graph.nodes[name]?.inputs ?? []).map(({name}) => name);
      const awaited = fetches.filter((name) => read.includes(name));
      return awaited.length > 0
        ? {level: {feeds, fetches, awaited, run}, tensors: result.tensors}
        : undefined;
    }
    next = result.reader;
  }
  return undefined;
}

type Attempt =
  | {readonly kind: 'results'; readonly tensors: readonly tf.Tensor[]}
  /** The first op that reads synchronously from the GPU. */
  | {readonly kind: 'reader'; readonly reader: HostOp};

async function attempt(
  {access, parts: {graph}}: Search,
  run: () => NamedResult[] | Promise<NamedResult[]>,
): Promise<Attempt> {
  return watchingNodes(graph, async (nodeAtWork) => {
    const hooks = new MethodHooks();
    let reader: HostOp | undefined;
    hooks.replace(access.backend, 'readSync', (readSync) => (dataId) => {
      const data = access.tensorMap.get(dataId);
      if (data?.values || !(data?.resource instanceof GPUBuffer)) return readSync(dataId);
      reader ??= nodeAtWork() ?? {op: 'an unknown op', node: undefined};
      throw new SyncReadError();
    });
    try {
      const results = await scoped(async () => run());
      return {kind: 'results', tensors: results.map(({tensor}) => tensor)};
    } catch (error) {
      if (error instanceof SyncReadError && reader) return {kind: 'reader', reader};
      throw error;
    } finally {
      hooks.remove();
    }
  });
}

async function scoped(run: () => Promise<NamedResult[]>): Promise<NamedResult[]> {
  const engine = tf.engine();
  let results: NamedResult[] = [];
  engine.startScope('capture');
  try {
    results = await run();
    return results;
  } finally {
    engine.endScope(results.map(({tensor}) => tensor));
  }
}

async function awaitValues({fetches, awaited}: Level, results: readonly tf.Tensor[]): Promise<void> {
  const tensors = results.filter((_, i) => awaited.includes(fetches[i] ?? ''));
  await Promise.all(tensors.map((tensor) => tensor.data()));
}

function runnerOf(levels: readonly Level[], outputs: readonly string[]): Run {
  return async (inputs) => {
    const made = new Set<tf.Tensor>();
    let tensors = inputs;
    let results: NamedResult[] = [];
    try {
      for (const level of levels) {
        results = await level.run(tensors);
        tensors = results.map(({tensor}) => tensor);
        for (const tensor of tensors) made.add(tensor);
        await awaitValues(level, tensors);
      }
      return results.map(({tensor}, i) => ({name: outputs[i] ?? '', tensor}));
    } finally {
      for (const tensor of made) if (!inputs.includes(tensor) && !tensors.includes(tensor)) tensor.dispose();
    }
  };
}
