/**
 * From a recording to what a prediction has to repeat: commands that follow from the inputs stay, those that compute
 * constants run once, and those that nothing needs go. Pure functions on records.
 */
import {
  type Command,
  readsOf,
  type RecordedBuffer,
  type RecordedOutput,
  type Recording,
  writesOf,
} from './commands.js';

export interface Program {
  /** Repeated at each prediction, in order. */
  readonly steps: readonly Command[];
  /** Run once, in order: their results never change. */
  readonly folded: readonly Command[];
  readonly outputs: readonly RecordedOutput[];
  /** Positions of outputs that no input changes. */
  readonly constantOutputs: readonly number[];
  /** Buffers that hold intermediate results between the steps. */
  readonly intermediates: readonly Lifetime[];
}

export interface Lifetime {
  readonly buffer: RecordedBuffer;
  /** Index of the first step that uses it. */
  readonly first: number;
  /** Index of the last; the number of steps for an output, which is read after all of them. */
  readonly last: number;
  /** Read before any step wrote it: TF.js gave it no content, so it must stay zero and share with nobody. */
  readonly isReadFirst: boolean;
}

export function programOf({commands, outputs}: Recording): Program {
  const dependent = dependentBuffers(commands);
  const returned = outputs.flatMap(({from}) => (from.kind === 'buffer' ? [from.buffer] : []));
  const needed = neededCommands(commands, returned);
  const isStep = (command: Command): boolean => writesOf(command).some((buffer) => dependent.has(buffer));
  const steps = needed.filter(isStep);
  const folded = needed.filter((command) => !isStep(command));
  const intermediates = lifetimesOf(steps, dependent, returned);
  const isConstant = ({from}: RecordedOutput): boolean =>
    from.kind === 'buffer' && from.buffer.role === 'temporary' && !dependent.has(from.buffer);
  const constantOutputs = outputs.flatMap((output, i) => (isConstant(output) ? [i] : []));
  return {steps, folded, outputs, constantOutputs, intermediates};
}

/** Buffers whose content can differ between predictions. A weight that is written is state, and counts as such. */
function dependentBuffers(commands: readonly Command[]): ReadonlySet<RecordedBuffer> {
  const dependent = new Set<RecordedBuffer>();
  for (const command of commands) {
    for (const buffer of readsOf(command)) if (buffer.role === 'input') dependent.add(buffer);
    for (const buffer of writesOf(command)) if (buffer.role !== 'temporary') dependent.add(buffer);
  }
  // A buffer may be read before the command that makes it dependent, so one sweep is not always enough.
  for (let before = -1; before < dependent.size;) {
    before = dependent.size;
    spread(commands, dependent);
  }
  return dependent;
}

function spread(commands: readonly Command[], dependent: Set<RecordedBuffer>): void {
  const readByStep = new Set<RecordedBuffer>();
  for (const command of commands) {
    const [reads, writes] = [readsOf(command), writesOf(command)];
    // What a step has read and is overwritten later is not one constant: its writes must stay in order with the step.
    for (const buffer of writes) if (readByStep.has(buffer)) dependent.add(buffer);
    if (reads.some((buffer) => dependent.has(buffer))) for (const buffer of writes) dependent.add(buffer);
    if (writes.some((buffer) => dependent.has(buffer))) for (const buffer of reads) readByStep.add(buffer);
  }
}

function neededCommands(commands: readonly Command[], returned: readonly RecordedBuffer[]): Command[] {
  const live = new Set(returned);
  const needed: Command[] = [];
  for (const command of [...commands].reverse()) {
    const hasUse = writesOf(command).some((buffer) => buffer.role !== 'temporary' || live.has(buffer));
    if (!hasUse) continue;
    needed.push(command);
    // A `write` binding may read too, and a write may be partial: what was there before stays live.
    for (const buffer of [...readsOf(command), ...writesOf(command)]) live.add(buffer);
  }
  return needed.reverse();
}

function lifetimesOf(
  steps: readonly Command[],
  dependent: ReadonlySet<RecordedBuffer>,
  returned: readonly RecordedBuffer[],
): Lifetime[] {
  const lives = new Map<RecordedBuffer, Lifetime>();
  const touch = (buffer: RecordedBuffer, step: number, isRead: boolean): void => {
    if (buffer.role !== 'temporary' || !dependent.has(buffer)) return;
    const known = lives.get(buffer);
    lives.set(
      buffer,
      known ? {...known, last: step} : {buffer, first: step, last: step, isReadFirst: isRead},
    );
  };
  steps.forEach((command, step) => {
    for (const buffer of readsOf(command)) touch(buffer, step, true);
    for (const buffer of writesOf(command)) touch(buffer, step, false);
  });
  for (const buffer of returned) if (lives.has(buffer)) touch(buffer, steps.length, true);
  return [...lives.values()];
}

/** The name of the first program that uses `buffer`. */
export function firstUser(commands: readonly Command[], buffer: RecordedBuffer): string {
  for (const command of commands) {
    if (command.kind === 'dispatch' && readsOf(command).includes(buffer)) return command.name;
  }
  return 'an output';
}
