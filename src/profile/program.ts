/** A model as a list of steps that can be run one at a time, whatever kind of model it was. */
import * as tf from '@tensorflow/tfjs-core';
import type {Stage} from '../../ops/index.js';

/** What a step reads, in the op's own order: a tensor by name, or a weight. */
export type Operand =
  {readonly is: 'tensor'; readonly name: string} | {readonly is: 'weight'; readonly shape: readonly number[]};

/** One node of a graph or one call of a layer. */
export interface Step {
  readonly name: string;
  readonly op: string;
  readonly operands: readonly Operand[];
  /** Names of the tensors it gives; only those that somebody reads. */
  readonly outputs: readonly string[];
  /** Where the step is a block. */
  readonly stages?: readonly Stage[];
  /** @param inputs the tensor operands, in order. @returns `outputs`, each a tensor of its own, to be disposed by the caller. */
  run(inputs: ReadonlyMap<string, tf.Tensor>): tf.Tensor[] | Promise<tf.Tensor[]>;
}

export interface ProgramInput {
  readonly name: string;
  /** `null` is any size. */
  readonly shape: readonly (number | null)[];
  readonly dtype: tf.DataType;
}

export interface Program {
  readonly inputs: readonly ProgramInput[];
  readonly outputs: readonly string[];
  /** In an order in which they can run. */
  readonly steps: readonly Step[];
  /** Why there is one step for the whole model, where it is so. */
  readonly whole?: string;
}

export const tensorNames = ({operands}: Step): readonly string[] =>
  operands.flatMap((operand) => (operand.is === 'tensor' ? [operand.name] : []));

/** Runs one step on the tensors that it reads, however the visitor likes to time it. */
export type Visit = (
  step: Step,
  inputs: ReadonlyMap<string, tf.Tensor>,
) => tf.Tensor[] | Promise<tf.Tensor[]>;

/**
 * Runs the steps in order, disposing each tensor after its last reader.
 * @param feeds the program's inputs by name; left alone. @returns the program's outputs, to be disposed by the caller.
 */
export async function walk(program: Program, feeds: tf.NamedTensorMap, visit: Visit): Promise<tf.Tensor[]> {
  const live = new Map<string, tf.Tensor>(Object.entries(feeds));
  const readers = countReaders(program);
  const release = (name: string): void => {
    const left = (readers.get(name) ?? 0) - 1;
    readers.set(name, left);
    if (left > 0 || name in feeds) return;
    live.get(name)?.dispose();
    live.delete(name);
  };
  try {
    for (const step of program.steps) {
      const inputs = new Map(tensorNames(step).map((name) => [name, need(live, name, step.name)]));
      const results = await visit(step, inputs);
      step.outputs.forEach((name, i) => live.set(name, results[i] as tf.Tensor));
      new Set(tensorNames(step)).forEach(release);
    }
    return program.outputs.map((name) => tf.clone(need(live, name, 'output')));
  } finally {
    for (const [name, tensor] of live) if (!(name in feeds)) tensor.dispose();
  }
}

/** Steps that read each tensor; outputs count one reader more, so that they outlive the steps. */
function countReaders({steps, outputs}: Program): Map<string, number> {
  const readers = new Map<string, number>();
  for (const name of [...steps.flatMap((step) => [...new Set(tensorNames(step))]), ...outputs]) {
    readers.set(name, (readers.get(name) ?? 0) + 1);
  }
  return readers;
}

function need(live: ReadonlyMap<string, tf.Tensor>, name: string, reader: string): tf.Tensor {
  const tensor = live.get(name);
  if (tensor) return tensor;
  throw new Error(
    `profile: '${reader}' needs the tensor '${name}', which no step or input gave; feed every input of the model.`,
  );
}

/** The steps that make `output` from `input`; `null` where there are none, or where they need another tensor besides. */
export function stepsBetween({steps}: Program, input: string, output: string): readonly Step[] | null {
  const maker = new Map(steps.flatMap((step) => step.outputs.map((name) => [name, step] as const)));
  const found = new Set<Step>();
  const pending = [output];
  let meetsInput = false;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === input) {
      meetsInput = true;
      continue;
    }
    const step = maker.get(name);
    if (!step) return null;
    if (found.has(step)) continue;
    found.add(step);
    pending.push(...tensorNames(step));
  }
  return meetsInput && found.size > 0 ? steps.filter((step) => found.has(step)) : null;
}
