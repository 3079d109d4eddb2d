/** A model against its fused form: the same inputs, times taken in turn, and every block's output compared. */
import * as tf from '@tensorflow/tfjs-core';
import {costOf, type Stage} from '../../ops/index.js';
import {differenceOf, topClasses} from './difference.js';
import {feedsOf, isLayersModel, type ModelInputs, type ProfiledModel, programOf, runWhole} from './model.js';
import {measurePeaks} from './peaks.js';
import {profile, type ProfileOptions, runsOf} from './profile.js';
import {type Program, type Step, stepsBetween, tensorNames, walk} from './program.js';
import {estimate, ratioEstimate} from './statistics.js';
import {type Lap, startStopwatch, type Stopwatch} from './stopwatch.js';
import type {BlockComparison, Comparison, Difference, Estimate, SideTiming} from './types.js';

export interface CompareOptions extends ProfileOptions {
  /** Labels of the classes, for a classifier. */
  readonly classNames?: readonly string[];
}

/** A model with what is known about it. */
interface Side {
  readonly model: ProfiledModel;
  readonly program: Program;
  readonly feeds: tf.NamedTensorMap;
}

/** One fused block, and the same piece of the original model. */
interface Pair {
  readonly name: string;
  readonly kind: string;
  readonly stages: readonly Stage[];
  /** Tensor names in the fused model, and in the original. */
  readonly after: Ends;
  readonly before: Ends;
  readonly replaced: readonly Step[];
}

interface Ends {
  readonly input: string;
  readonly output: string;
}

/** The two sides' laps of the same work, run by run. */
interface Laps {
  readonly before: readonly Lap[];
  readonly after: readonly Lap[];
}

/**
 * @param before the original GraphModel or LayersModel. @param after its fused form; any model with the same inputs and
 * outputs will do. @param inputs as for profile(); both models get the same tensors.
 * @throws as profile(), and where an output differs in shape.
 */
export async function compare(
  before: ProfiledModel,
  after: ProfiledModel,
  inputs: ModelInputs,
  options: CompareOptions = {},
): Promise<Comparison> {
  const peaks = options.peaks === undefined ? await measurePeaks() : options.peaks;
  const name = options.name ?? 'model';
  const profiles = {
    before: await profile(before, inputs, {...options, peaks, name: `${name}, op by op`}),
    after: await profile(after, inputs, {...options, peaks, name: `${name}, fused`}),
  };
  const sides = {before: await sideOf(before, inputs), after: await sideOf(after, inputs)};
  const {repeats} = runsOf(profiles.before.adapter, options);
  const {total, outputs, classes} = await compareWhole(sides.before, sides.after, repeats, options);
  const pairs = pairBlocks(sides.before.program, sides.after.program);
  const blocks = await compareBlocks(sides.before, sides.after, pairs.found, repeats, options);
  return {
    model: name,
    adapter: profiles.before.adapter,
    repeats,
    ...profiles,
    blocks,
    total,
    outputs,
    classes,
    warnings: [...new Set([...profiles.before.warnings, ...profiles.after.warnings, ...pairs.warnings])],
  };
}

async function sideOf(model: ProfiledModel, inputs: ModelInputs): Promise<Side> {
  const program = await programOf(model);
  return {model, program, feeds: feedsOf(program, inputs)};
}

/** Runs A and B in turn, the order reversed every time, so that neither always has the warmer device. */
async function interleave(
  repeats: number,
  lap: (side: 'before' | 'after', run: number) => Promise<void>,
): Promise<void> {
  for (let run = 0; run < repeats; run++) {
    const order = run % 2 === 0 ? (['before', 'after'] as const) : (['after', 'before'] as const);
    for (const side of order) await lap(side, run);
  }
}

type WholeResult = Pick<Comparison, 'total' | 'outputs' | 'classes'>;

async function compareWhole(
  before: Side,
  after: Side,
  repeats: number,
  options: CompareOptions,
): Promise<WholeResult> {
  const sides = {before, after};
  const results: {before: tf.Tensor[]; after: tf.Tensor[]} = {before: [], after: []};
  try {
    const laps = await timeInTurn(async (stopwatch, note) =>
      interleave(repeats, async (which, run) => {
        const {model, program, feeds} = sides[which];
        options.onProgress?.(run, repeats, `whole model, ${which === 'before' ? 'op by op' : 'fused'}`);
        tf.dispose(results[which]);
        results[which] = await stopwatch.lap(() => runWhole(model, program, feeds), {wait: true});
        note('', which);
      }),
    );
    const [expected, actual] = [results.before, results.after];
    if (expected.length !== actual.length) {
      throw new Error(
        `compare: ${expected.length} outputs before but ${actual.length} after; compare a model with its own fused form.`,
      );
    }
    const outputs: Difference[] = [];
    for (const [i, tensor] of expected.entries()) {
      outputs.push(
        await differenceOf(before.program.outputs[i] ?? `output ${i}`, actual[i] as tf.Tensor, tensor),
      );
    }
    return {total: timingOf(laps.get('') as Laps), outputs, classes: await classesOf(results, options)};
  } finally {
    tf.dispose([results.before, results.after]);
  }
}

async function classesOf(
  results: {readonly before: readonly tf.Tensor[]; readonly after: readonly tf.Tensor[]},
  {classNames}: CompareOptions,
): Promise<Comparison['classes']> {
  for (const [i, output] of results.before.entries()) {
    const before = await topClasses(output, classNames);
    const after = before && (await topClasses(results.after[i] as tf.Tensor, classNames));
    if (before && after) return {before, after};
  }
  return null;
}

/** One recording for all laps that `work` takes; it notes each lap's key and side. */
async function timeInTurn(
  work: (stopwatch: Stopwatch, note: (key: string, side: 'before' | 'after') => void) => Promise<void>,
): Promise<ReadonlyMap<string, Laps>> {
  const stopwatch = await startStopwatch();
  const notes: {key: string; side: 'before' | 'after'}[] = [];
  let stopped: Awaited<ReturnType<Stopwatch['stop']>> | undefined;
  try {
    await work(stopwatch, (key, side) => notes.push({key, side}));
  } finally {
    stopped = await stopwatch.stop();
  }
  const {laps} = stopped;
  const of = (key: string, side: string): Lap[] =>
    laps.filter((_, i) => notes[i]?.key === key && notes[i].side === side);
  return new Map(notes.map(({key}) => [key, {before: of(key, 'before'), after: of(key, 'after')}]));
}

function timingOf({before, after}: Laps): {before: SideTiming; after: SideTiming; speedup: Estimate} {
  const [gpuBefore, gpuAfter] = [gpuTimes(before), gpuTimes(after)];
  const wall = (laps: readonly Lap[]): number[] => laps.map(({wallMs}) => wallMs);
  const side = (laps: readonly Lap[], gpu: readonly number[] | null): SideTiming => ({
    dispatches: laps.at(-1)?.dispatches ?? null,
    gpu: gpu && estimate(gpu),
    wall: estimate(wall(laps)),
  });
  const speedup =
    gpuBefore && gpuAfter ? ratioEstimate(gpuBefore, gpuAfter) : ratioEstimate(wall(before), wall(after));
  return {before: side(before, gpuBefore), after: side(after, gpuAfter), speedup};
}

/** `null` where a lap has no GPU time, or where a coarse clock shows none. */
function gpuTimes(laps: readonly Lap[]): number[] | null {
  const times = laps.flatMap(({gpuMs}) => (gpuMs ? [gpuMs] : []));
  return times.length === laps.length ? times : null;
}

/** Every block of `after` with the steps of `before` that it replaced. */
function pairBlocks(before: Program, after: Program): {found: readonly Pair[]; warnings: readonly string[]} {
  const known = new Set([
    ...before.steps.flatMap(({outputs}) => outputs),
    ...before.inputs.map(({name}) => name),
  ]);
  const found: Pair[] = [];
  const unmatched: string[] = [];
  for (const step of after.steps) {
    const [input, output] = [tensorNames(step)[0], step.outputs[0]];
    if (!step.stages || input === undefined || output === undefined) continue;
    const [from, to] = [originalName(input, known), originalName(output, known)];
    if (from === null || to === null) {
      unmatched.push(step.name);
      continue;
    }
    const ends = {input: from, output: to};
    const replaced = stepsBetween(before, from, to);
    found.push({
      name: step.name,
      kind: step.op,
      stages: step.stages,
      after: {input, output},
      before: ends,
      replaced,
    });
  }
  const warnings = unmatched.map(
    (name) =>
      `The original model has no tensor for the ends of the block '${name}': it is timed within the whole model only.`,
  );
  return {found, warnings};
}

/** A graph made from layers calls a tensor after its layer, with the op behind a slash. */
function originalName(name: string, known: ReadonlySet<string>): string | null {
  for (let text = name; text !== ''; text = text.slice(0, Math.max(0, text.lastIndexOf('/')))) {
    if (known.has(text)) return text;
  }
  return null;
}

async function compareBlocks(
  before: Side,
  after: Side,
  pairs: readonly Pair[],
  repeats: number,
  options: CompareOptions,
): Promise<BlockComparison[]> {
  const wanted = new Set(pairs.flatMap((pair) => [pair.before.input, pair.before.output]));
  const tensors = await boundaries(before, wanted);
  const differences = new Map<string, Difference>();
  try {
    const laps = await timeInTurn(async (stopwatch, note) => {
      for (const [i, pair] of pairs.entries()) {
        options.onProgress?.(i, pairs.length, pair.name);
        const input = tensors.get(pair.before.input) as tf.Tensor;
        await interleave(repeats, async (which, run) => {
          const [result] = await stopwatch.lap(
            () => runPart(which === 'before' ? before : after, pair, which, input),
            {wait: true},
          );
          note(pair.name, which);
          if (which === 'after' && run === 0) {
            const expected = tensors.get(pair.before.output) as tf.Tensor;
            differences.set(pair.name, await differenceOf(pair.name, result as tf.Tensor, expected));
          }
          tf.dispose(result);
        });
      }
    });
    return pairs.map((pair) =>
      describeBlock(pair, tensors, laps.get(pair.name) as Laps, differences.get(pair.name) as Difference),
    );
  } finally {
    tensors.forEach((tensor) => tensor.dispose());
  }
}

/** Runs the original once and keeps the tensors at the ends of the blocks. */
async function boundaries(
  {program, feeds}: Side,
  wanted: ReadonlySet<string>,
): Promise<Map<string, tf.Tensor>> {
  const kept = new Map<string, tf.Tensor>();
  for (const [name, tensor] of Object.entries(feeds)) if (wanted.has(name)) kept.set(name, tf.clone(tensor));
  const outputs = await walk(program, feeds, async (step, run) => {
    const results = await run();
    step.outputs.forEach((name, i) => {
      if (wanted.has(name)) kept.set(name, tf.clone(results[i] as tf.Tensor));
    });
    return results;
  });
  tf.dispose(outputs);
  return kept;
}

/** From a block's input to its output: a graph executes that part by itself; layers are called one after another. */
async function runPart(
  side: Side,
  pair: Pair,
  which: 'before' | 'after',
  x: tf.Tensor,
): Promise<tf.Tensor[]> {
  const {input, output} = pair[which];
  if (!isLayersModel(side.model)) return [side.model.execute({[input]: x}, [output])].flat();
  const part: Program = {inputs: [], outputs: [output], steps: pair.replaced};
  return walk(part, {[input]: x}, (_step, run) => run());
}

function describeBlock(
  pair: Pair,
  tensors: ReadonlyMap<string, tf.Tensor>,
  laps: Laps,
  difference: Difference,
): BlockComparison {
  const inputShape = tensors.get(pair.before.input)?.shape ?? [];
  const {macs, bytes, bytesByStage} = costOf({kind: pair.kind, stages: pair.stages}, inputShape);
  return {
    name: pair.name,
    kind: pair.kind,
    input: pair.after.input,
    inputShape,
    outputShape: difference.shape,
    replaced: pair.replaced.map(({name}) => name),
    ...timingOf(laps),
    macs,
    bytesByStage,
    bytesFused: bytes,
    difference,
  };
}
