/** Whether two recordings of one function, made with different inputs, are the same commands on the same data. */
import type {
  BoundGroup,
  Command,
  CopyCommand,
  DispatchCommand,
  RecordedBuffer,
  RecordedOutput,
} from './commands.js';
import {firstUser, type Program} from './program.js';

/** Undefined where they are the same; else the first difference, as the end of a sentence. */
export function firstDifference(one: Program, two: Program): string | undefined {
  const pairs = new BufferPairs();
  const ones = [...one.folded, ...one.steps];
  const twos = [...two.folded, ...two.steps];
  for (const [i, a] of ones.entries()) {
    const b = twos[i];
    const difference = b
      ? commandDifference(a, b, pairs, ones)
      : `${nameOf(a)} runs in one call and not in another`;
    if (difference !== undefined) return difference;
  }
  const extra = twos[ones.length];
  if (extra) return `${nameOf(extra)} runs in one call and not in another`;
  return outputDifference(one.outputs, two.outputs, pairs);
}

/** Which buffer of the second recording plays the part of which of the first. */
class BufferPairs {
  readonly #pairs = new Map<RecordedBuffer, RecordedBuffer>();

  match(a: RecordedBuffer, b: RecordedBuffer): boolean {
    if (a.role !== b.role || a.size !== b.size || a.input !== b.input) return false;
    if (a.role === 'weight') return a.buffer === b.buffer;
    const known = this.#pairs.get(a);
    if (known) return known === b;
    this.#pairs.set(a, b);
    return true;
  }
}

function nameOf(command: Command): string {
  return command.kind === 'dispatch' ? `'${command.name}'` : `a buffer ${command.kind}`;
}

function commandDifference(
  a: Command,
  b: Command,
  pairs: BufferPairs,
  all: readonly Command[],
): string | undefined {
  const other = `${nameOf(a)} differs from call to call`;
  if (a.kind === 'dispatch') return b.kind === 'dispatch' && sameDispatch(a, b, pairs) ? undefined : other;
  if (a.kind === 'copy') return b.kind === 'copy' && sameCopy(a, b, pairs) ? undefined : other;
  if (b.kind !== a.kind || !pairs.match(a.target, b.target) || a.offset !== b.offset) return other;
  if (a.kind === 'clear') return b.kind === 'clear' && a.size === b.size ? undefined : other;
  if (b.kind === 'upload' && sameBytes(a.data, b.data)) return undefined;
  return `'${firstUser(all, a.target)}' uses values that are made in main memory and differ from call to call`;
}

function sameCopy(a: CopyCommand, b: CopyCommand, pairs: BufferPairs): boolean {
  return (
    pairs.match(a.source, b.source) &&
    pairs.match(a.target, b.target) &&
    a.sourceOffset === b.sourceOffset &&
    a.targetOffset === b.targetOffset &&
    a.size === b.size
  );
}

function sameDispatch(a: DispatchCommand, b: DispatchCommand, pairs: BufferPairs): boolean {
  if (a.pipeline !== b.pipeline || a.groups.length !== b.groups.length) return false;
  if (a.workgroups.some((count, i) => count !== b.workgroups[i])) return false;
  if (a.indirect || b.indirect) {
    if (a.indirect?.offset !== b.indirect?.offset) return false;
    if (!a.indirect || !b.indirect || !pairs.match(a.indirect.buffer, b.indirect.buffer)) return false;
  }
  return a.groups.every((group, i) => sameGroup(group, b.groups[i], pairs));
}

function sameGroup(a: BoundGroup, b: BoundGroup | undefined, pairs: BufferPairs): boolean {
  if (b?.index !== a.index || a.bindings.length !== b.bindings.length) return false;
  if (a.dynamicOffsets.join() !== b.dynamicOffsets.join()) return false;
  return a.bindings.every(({binding, buffer, offset, size, access}, i) => {
    const other = b.bindings[i];
    if (other?.binding !== binding || other.access !== access) return false;
    return other.offset === offset && other.size === size && pairs.match(buffer, other.buffer);
  });
}

function outputDifference(
  ones: readonly RecordedOutput[],
  twos: readonly RecordedOutput[],
  pairs: BufferPairs,
): string | undefined {
  if (ones.length !== twos.length) return 'the number of outputs differs from call to call';
  for (const [i, {name, shape, dtype, from}] of ones.entries()) {
    const other = twos[i];
    if (other?.dtype !== dtype || other.shape.join() !== shape.join()) {
      return `the shape of output '${name}' differs from call to call`;
    }
    const same =
      from.kind === 'buffer'
        ? other.from.kind === 'buffer' && pairs.match(from.buffer, other.from.buffer)
        : other.from.kind === 'values' && sameBytes(bytesOf(from.values), bytesOf(other.from.values));
    if (!same) return `output '${name}' is made in main memory and differs from call to call`;
  }
  return undefined;
}

function bytesOf({buffer, byteOffset, byteLength}: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
