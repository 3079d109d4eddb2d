/** A model against its fused form: the same inputs, times taken in turn, and every block's output compared. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockEnds, compareBlocks, pairBlocks} from './compare_blocks.js';
import {differenceOf, topClasses} from './difference.js';
import {feedsOf, type ModelInputs, type ProfiledModel, programOf, runWhole, type Side} from './model.js';
import {measurePeaks} from './peaks.js';
import {type Hooks, profileProgram, type ProfileOptions, runsOf} from './profile.js';
import {interleave, type Laps, timeInTurn, timingOf} from './turns.js';
import type {Comparison, Difference, Profile} from './types.js';

export interface CompareOptions extends ProfileOptions {
  /** Labels of the classes, for a classifier. */
  readonly classNames?: readonly string[];
  /** Called with the outputs of both models, in order, before they are disposed. */
  readonly readOutputs?: (outputs: {
    readonly before: readonly tf.Tensor[];
    readonly after: readonly tf.Tensor[];
  }) => Promise<void>;
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
  const sides = {before: await sideOf(before, inputs), after: await sideOf(after, inputs)};
  const pairs = pairBlocks(sides.before.program, sides.after.program);
  const ends = new BlockEnds(pairs.found, sides.before.feeds);
  const profileSide = ({program, feeds}: Side, what: string, hooks: Hooks): Promise<Profile> => {
    const onProgress = (done: number, of: number, op: string): void =>
      options.onProgress?.(done, of, `${what}: ${op}`);
    return profileProgram(program, feeds, {...options, peaks, name: `${name}, ${what}`, onProgress}, hooks);
  };
  try {
    const profiles = {
      before: await profileSide(sides.before, 'op by op', ends.keep),
      after: await profileSide(sides.after, 'fused', ends.check),
    };
    const {adapter, warnings} = profiles.before;
    const {repeats} = runsOf(adapter, options);
    const whole = await compareWhole(sides.before, sides.after, repeats, options);
    const blocks = await compareBlocks({pairs: pairs.found, ends, sides, profiles, repeats, options});
    const allWarnings = new Set([...warnings, ...profiles.after.warnings, ...pairs.warnings]);
    return {model: name, adapter, repeats, ...profiles, blocks, ...whole, warnings: [...allWarnings]};
  } finally {
    ends.dispose();
  }
}

async function sideOf(model: ProfiledModel, inputs: ModelInputs): Promise<Side> {
  const program = await programOf(model);
  return {model, program, feeds: feedsOf(program, inputs)};
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
        options.onProgress?.(run, repeats, `${which === 'before' ? 'op by op' : 'fused'}: whole model`);
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
    await options.readOutputs?.(results);
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
