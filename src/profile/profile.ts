/** Times a model node by node, and sets the times beside what each node computes and moves. */
import type * as tf from '@tensorflow/tfjs-core';
import {costOf} from '../../ops/index.js';
import {feedsOf, type ModelInputs, type ProfiledModel, programOf} from './model.js';
import {bytesOf, macsOf} from './op_cost.js';
import {measurePeaks} from './peaks.js';
import {type Program, type Step, walk} from './program.js';
import {median} from './statistics.js';
import {adapterWarnings, currentAdapter, type Lap, startStopwatch} from './stopwatch.js';
import type {Adapter, OpRow, Peaks, Profile, Totals} from './types.js';

export interface ProfileOptions {
  /** Shown on every output. */
  readonly name?: string;
  /** Counted runs of the whole list of ops; 10 unless given, 1 on a software adapter. */
  readonly repeats?: number;
  /** Runs before those; 2 unless given, 1 on a software adapter. The first run compiles shaders. */
  readonly warmup?: number;
  /** Peaks measured earlier on this device, or `null` for none; measured unless given. */
  readonly peaks?: Peaks | null;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Shapes that only a run can tell. */
interface Shapes {
  readonly inputs: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
  /** Inputs and weights in the op's own order. */
  readonly operands: readonly (readonly number[])[];
  readonly outputs: readonly (readonly number[])[];
}

/**
 * Runs the model op by op on the current backend: one row per node (GraphModel, FusedModel) or layer (LayersModel).
 * @param inputs one tensor, or one per input in order, or by name; not disposed.
 * @throws where an input is missing or of a shape that the model does not take.
 */
export async function profile(
  model: ProfiledModel,
  inputs: ModelInputs,
  options: ProfileOptions = {},
): Promise<Profile> {
  const program = await programOf(model);
  return profileProgram(program, feedsOf(program, inputs), options);
}

/** What a caller may do with each step on each pass. */
export interface Hooks {
  /** Tensors to run the step on instead of those of this run. */
  readonly replaceInputs?: (step: Step) => ReadonlyMap<string, tf.Tensor> | null;
  /** Called between two laps; the results are disposed later. */
  readonly onResults?: (step: Step, results: readonly tf.Tensor[]) => Promise<void> | void;
}

/** The same for a program and its inputs by name. */
export async function profileProgram(
  program: Program,
  feeds: tf.NamedTensorMap,
  options: ProfileOptions,
  hooks: Hooks = {},
): Promise<Profile> {
  const adapter = currentAdapter();
  const {repeats, warmup} = runsOf(adapter, options);
  const peaks = options.peaks === undefined ? await measurePeaks() : options.peaks;
  const {laps, shapes, step} = await timeSteps(program, feeds, {...options, repeats, warmup, ...hooks});
  const rows = program.steps.map((each, i) => makeRow(each, shapes.get(each.name) as Shapes, laps[i] ?? []));
  const warnings = [
    ...adapterWarnings(adapter, step ?? peaks?.timestampStepNs ?? null),
    ...(warmup === 0
      ? ['There was no warm-up run: host and wall times of the ops include the compilation of shaders.']
      : []),
    ...(repeats < 3
      ? [`Each time is of ${repeats === 1 ? 'one run' : `${repeats} runs`}: it has no spread to judge it by.`]
      : []),
    ...(program.whole === undefined ? [] : [program.whole]),
  ];
  return {
    model: options.name ?? 'model',
    adapter,
    repeats,
    warmup,
    rows,
    totals: totalsOf(rows),
    peaks,
    warnings,
  };
}

/** A software adapter takes seconds for what a GPU does in milliseconds, and its times teach little. */
export function runsOf(
  {isSoftware}: Adapter,
  {repeats, warmup}: Pick<ProfileOptions, 'repeats' | 'warmup'>,
): {readonly repeats: number; readonly warmup: number} {
  const runs = {repeats: repeats ?? (isSoftware ? 1 : 10), warmup: warmup ?? (isSoftware ? 1 : 2)};
  if (runs.repeats < 1)
    throw new Error(`profile: ${runs.repeats} repeats measure nothing; ask for at least 1.`);
  return runs;
}

interface Timed {
  /** Per step, one lap per repeat; the last one queued without waiting where there was time for that. */
  readonly laps: readonly (readonly Lap[])[];
  readonly shapes: ReadonlyMap<string, Shapes>;
  readonly step: number | null;
}

interface Runs extends ProfileOptions, Hooks {
  readonly repeats: number;
  readonly warmup: number;
}

/** All repeats in one recording. Whole passes are repeated, not single ops, so that caches are as cold as in a real run. */
async function timeSteps(program: Program, feeds: tf.NamedTensorMap, runs: Runs): Promise<Timed> {
  const shapes = new Map<string, Shapes>();
  const passes = runs.warmup + runs.repeats + (runs.repeats > 1 ? 1 : 0);
  const stopwatch = await startStopwatch();
  let stopped: Awaited<ReturnType<typeof stopwatch.stop>> | undefined;
  try {
    for (let pass = 0; pass < passes; pass++) {
      const isQueued = pass === runs.warmup + runs.repeats;
      let done = 0;
      const outputs = await walk(program, feeds, async (step, inputs) => {
        runs.onProgress?.(pass * program.steps.length + done++, passes * program.steps.length, step.name);
        const given = runs.replaceInputs?.(step) ?? inputs;
        const results = await stopwatch.lap(() => step.run(given), {wait: !isQueued});
        if (!shapes.has(step.name)) shapes.set(step.name, shapesOf(step, inputs, results));
        await runs.onResults?.(step, results);
        return results;
      });
      outputs.forEach((output) => output.dispose());
    }
  } finally {
    stopped = await stopwatch.stop();
  }
  const size = program.steps.length;
  const counted = stopped.laps.slice(runs.warmup * size);
  const laps = program.steps.map((_, i) => counted.filter((_lap, at) => at % size === i));
  return {laps, shapes, step: stopped.clockStepNs};
}

function shapesOf(step: Step, inputs: ReadonlyMap<string, tf.Tensor>, results: readonly tf.Tensor[]): Shapes {
  const shapeOf = (name: string): readonly number[] => inputs.get(name)?.shape ?? [];
  const shapes = step.operands.map((operand) =>
    operand.is === 'weight' ? operand.shape : shapeOf(operand.name),
  );
  return {
    operands: shapes,
    inputs: [...inputs.values()].map(({shape}) => shape), // one that is read twice counts once
    weights: shapes.filter((_, i) => step.operands[i]?.is === 'weight'),
    outputs: results.map(({shape}) => shape),
  };
}

function makeRow(step: Step, shapes: Shapes, laps: readonly Lap[]): OpRow {
  const last = laps.at(-1) as Lap; // at least one repeat
  const counted = laps.length > 1 ? laps.slice(0, -1) : laps;
  const cost = costOfStep(step, shapes);
  return {
    name: step.name,
    op: step.op,
    isBlock: step.stages !== undefined,
    inputShapes: shapes.inputs,
    weightShapes: shapes.weights,
    outputShapes: shapes.outputs,
    dispatches: last.dispatches,
    gpuMs: medianOrNull(counted.map(({gpuMs}) => gpuMs)),
    wallMs: median(counted.map(({wallMs}) => wallMs)),
    hostMs: median(counted.map(({hostMs}) => hostMs)),
    ...cost,
    intensity: cost.bytes > 0 ? (2 * cost.macs) / cost.bytes : 0,
    cpu: last.cpu,
    gpu: last.gpu,
  };
}

function costOfStep(step: Step, shapes: Shapes): {macs: number; bytes: number} {
  const input = shapes.inputs[0];
  if (step.stages && input) {
    const {macs, bytes} = costOf({kind: step.op, stages: step.stages}, input);
    return {macs, bytes};
  }
  return {
    macs: macsOf(step.op, shapes.operands, shapes.outputs[0] ?? []),
    bytes: bytesOf(step.op, [...shapes.inputs, ...shapes.weights], shapes.outputs),
  };
}

function medianOrNull(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length < values.length || known.length === 0 ? null : median(known);
}

export function totalsOf(rows: readonly OpRow[]): Totals {
  const sum = (of: (row: OpRow) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const sumOrNull = (of: (row: OpRow) => number | null): number | null =>
    rows.some((row) => of(row) === null) ? null : sum((row) => of(row) ?? 0);
  return {
    ops: rows.length,
    dispatches: sumOrNull(({dispatches}) => dispatches),
    gpuMs: sumOrNull(({gpuMs}) => gpuMs),
    wallMs: sum(({wallMs}) => wallMs),
    hostMs: sum(({hostMs}) => hostMs),
    macs: sum(({macs}) => macs),
    bytes: sum(({bytes}) => bytes),
  };
}
