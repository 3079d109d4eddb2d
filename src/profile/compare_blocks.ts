/** The blocks of a fused model against the pieces of the original that they replaced. */
import * as tf from '@tensorflow/tfjs-core';
import {costOf, type Stage} from '../../ops/index.js';
import {differenceOf} from './difference.js';
import {isLayersModel, type Side} from './model.js';
import {type Hooks, type ProfileOptions, totalsOf} from './profile.js';
import {type Program, type Step, stepsBetween, tensorNames, walk} from './program.js';
import {interleave, type Run, type TimedRuns, timeInTurn, timingOf} from './turns.js';
import type {BlockComparison, Difference, Profile} from './types.js';

/** One fused block, and the same piece of the original model. */
export interface Pair {
  readonly name: string;
  readonly kind: string;
  readonly stages: readonly Stage[];
  /** Tensor names, the same in both models. */
  readonly input: string;
  readonly output: string;
  readonly replaced: readonly Step[];
}

/** Every block of `after` with the steps of `before` that it replaced. The rewriter keeps the names of a block's ends. */
export function pairBlocks(
  before: Program,
  after: Program,
): {found: readonly Pair[]; warnings: readonly string[]} {
  const found: Pair[] = [];
  const unmatched: string[] = [];
  for (const step of after.steps) {
    const [input, output] = [tensorNames(step)[0], step.outputs[0]];
    if (!step.stages || input === undefined || output === undefined) continue;
    const replaced = stepsBetween(before, input, output);
    if (replaced) found.push({name: step.name, kind: step.op, stages: step.stages, input, output, replaced});
    else unmatched.push(`'${step.name}'`);
  }
  const warnings: string[] = [];
  if (unmatched.length > 0) {
    warnings.push(
      `The original has no such tensors as the ends of ${unmatched.join(', ')}: timed in the whole alone.`,
    );
  }
  if (found.length + unmatched.length === 0) {
    warnings.push(
      'No block was fused: the two models run the same ops, and the ratio of their times is noise.',
    );
  }
  return {found, warnings};
}

/**
 * The tensors at the ends of the blocks, kept from a run of the original. Each block is given the original's own input, so
 * that its error is its own and not what earlier blocks handed on.
 */
export class BlockEnds {
  readonly #pairs: ReadonlyMap<string, Pair>;
  readonly #wanted: ReadonlySet<string>;
  readonly #tensors = new Map<string, tf.Tensor>();
  readonly #differences = new Map<string, Difference>();

  /** @param feeds the inputs of the original. */
  constructor(pairs: readonly Pair[], feeds: tf.NamedTensorMap) {
    this.#pairs = new Map(pairs.map((pair) => [pair.name, pair]));
    this.#wanted = new Set(pairs.flatMap(({input, output}) => [input, output]));
    for (const [name, tensor] of Object.entries(feeds)) this.#keepTensor(name, tensor);
  }

  /** For the run of the original. */
  readonly keep: Hooks = {
    onResults: (step, results) => {
      step.outputs.forEach((name, i) => this.#keepTensor(name, results[i] as tf.Tensor));
    },
  };

  /** For the run of the fused model, after that. */
  readonly check: Hooks = {
    replaceInputs: ({name}) => {
      const pair = this.#pairs.get(name);
      return pair ? new Map([[pair.input, this.tensor(pair.input)]]) : null;
    },
    onResults: async ({name}, [result]) => {
      const pair = this.#pairs.get(name);
      if (!pair || !result || this.#differences.has(name)) return;
      this.#differences.set(name, await differenceOf(name, result, this.tensor(pair.output)));
    },
  };

  tensor(name: string): tf.Tensor {
    const tensor = this.#tensors.get(name);
    if (!tensor)
      throw new Error(`compare: the original's tensor '${name}' was not kept; run the original first.`);
    return tensor;
  }

  difference(block: string): Difference {
    const difference = this.#differences.get(block);
    if (!difference) throw new Error(`compare: the block '${block}' was not run.`);
    return difference;
  }

  dispose(): void {
    this.#tensors.forEach((tensor) => tensor.dispose());
  }

  #keepTensor(name: string, tensor: tf.Tensor): void {
    if (this.#wanted.has(name) && !this.#tensors.has(name)) this.#tensors.set(name, tf.clone(tensor));
  }
}

export interface BlockWork {
  readonly pairs: readonly Pair[];
  readonly ends: BlockEnds;
  readonly sides: {readonly before: Side; readonly after: Side};
  readonly profiles: {readonly before: Profile; readonly after: Profile};
  readonly repeats: number;
  readonly options: ProfileOptions;
}

/** Times each block by itself, in turn with what it replaced; of a single run the rows of the profiles say as much. */
export async function compareBlocks(work: BlockWork): Promise<BlockComparison[]> {
  const timed = work.repeats > 1 ? await timeBlocks(work) : null;
  return work.pairs.map((pair) =>
    describeBlock(pair, work.ends, timed?.get(pair.name) ?? fromRows(pair, work.profiles)),
  );
}

function timeBlocks({
  pairs,
  ends,
  sides,
  repeats,
  options,
}: BlockWork): Promise<ReadonlyMap<string, TimedRuns>> {
  return timeInTurn(async (stopwatch, note) => {
    for (const [i, pair] of pairs.entries()) {
      options.onProgress?.(i, pairs.length, `block ${pair.name}`);
      await interleave(repeats, async (which) => {
        const work = (): Promise<tf.Tensor[]> => runPart(sides[which], pair, ends.tensor(pair.input));
        tf.dispose(await stopwatch.lap(work, {wait: true}));
        note(pair.name, which);
      });
    }
  });
}

/** From a block's input to its output: a graph executes that part by itself; layers are called one after another. */
async function runPart({model}: Side, {input, output, replaced}: Pair, x: tf.Tensor): Promise<tf.Tensor[]> {
  if (!isLayersModel(model)) return [model.execute({[input]: x}, [output])].flat();
  const part: Program = {inputs: [], outputs: [output], steps: replaced};
  return walk(part, {[input]: x}, (step, inputs) => step.run(inputs));
}

function fromRows(pair: Pair, {before, after}: BlockWork['profiles']): TimedRuns {
  const names = new Set(pair.replaced.map(({name}) => name));
  const run = ({rows}: Profile, isPart: (name: string) => boolean): Run =>
    totalsOf(rows.filter(({name}) => isPart(name)));
  return {
    before: [run(before, (name) => names.has(name))],
    after: [run(after, (name) => name === pair.name)],
  };
}

function describeBlock(pair: Pair, ends: BlockEnds, runs: TimedRuns): BlockComparison {
  const inputShape = ends.tensor(pair.input).shape;
  const difference = ends.difference(pair.name);
  const {macs, bytes, bytesByStage} = costOf({kind: pair.kind, stages: pair.stages}, inputShape);
  return {
    name: pair.name,
    kind: pair.kind,
    input: pair.input,
    inputShape,
    outputShape: difference.shape,
    replaced: pair.replaced.map(({name}) => name),
    ...timingOf(runs),
    macs,
    bytesByStage,
    bytesFused: bytes,
    difference,
  };
}
