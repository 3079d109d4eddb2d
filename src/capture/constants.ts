/** Constants of a capture: data that the recorded run uploaded, packed into one buffer, and results computed from it once. */
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {type Command, readsOf, type RecordedBuffer, type UploadCommand, writesOf} from './commands.js';
import type {Program} from './program.js';

/** Where a recorded buffer, or the data of an upload, lies on the GPU. */
export interface Location {
  readonly buffer: GPUBuffer;
  readonly offset: number;
}

export interface ConstantData {
  /** Contents known in main memory: nothing but uploads wrote them. */
  readonly known: ReadonlyMap<RecordedBuffer, Uint8Array<ArrayBuffer>>;
  /** Computed on the GPU, from constants. */
  readonly computed: ReadonlySet<RecordedBuffer>;
}

/** Sorts the buffers that the folded commands write by how their content comes about. */
export function constantData({folded}: Program): ConstantData {
  const computed = new Set<RecordedBuffer>();
  for (let before = -1; before < computed.size;) {
    before = computed.size;
    const read = new Set<RecordedBuffer>();
    for (const command of folded) {
      const isKnown = isHostWrite(command) && !readsOf(command).some((buffer) => !isUpload(buffer, computed));
      for (const buffer of writesOf(command)) if (!isKnown || read.has(buffer)) computed.add(buffer);
      for (const buffer of readsOf(command)) read.add(buffer);
    }
  }
  const known = new Map<RecordedBuffer, Uint8Array<ArrayBuffer>>();
  for (const command of folded) {
    if (command.kind === 'dispatch' || computed.has(command.target)) continue;
    const bytes = known.get(command.target) ?? new Uint8Array(command.target.size);
    known.set(command.target, bytes);
    writeInto(bytes, command, known);
  }
  return {known, computed};
}

const isHostWrite = (command: Command): boolean => command.kind !== 'dispatch';
const isUpload = (buffer: RecordedBuffer, computed: ReadonlySet<RecordedBuffer>): boolean =>
  buffer.role === 'temporary' && !computed.has(buffer);

function writeInto(
  bytes: Uint8Array<ArrayBuffer>,
  command: Command,
  known: ReadonlyMap<RecordedBuffer, Uint8Array<ArrayBuffer>>,
): void {
  if (command.kind === 'upload') bytes.set(command.data, command.offset);
  if (command.kind === 'clear') bytes.fill(0, command.offset, command.offset + command.size);
  if (command.kind !== 'copy') return;
  const {source, sourceOffset, size, targetOffset} = command;
  const from = known.get(source);
  if (from) bytes.set(from.subarray(sourceOffset, sourceOffset + size), targetOffset);
}

/** Beyond this, comparing data to find twins costs more than it saves. */
const MOST_BYTES_TO_COMPARE = 1024;

export class PackedConstants {
  readonly #places = new Map<Uint8Array, number>();
  readonly #twins = new Map<string, number>();
  readonly #alignment: number;
  #buffer: GPUBuffer | undefined;
  #size = 0;

  /** `alignment` in bytes: what storage and uniform bindings need. */
  constructor(alignment: number) {
    this.#alignment = alignment;
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  add(data: Uint8Array): void {
    if (this.#places.has(data)) return;
    const key = data.length <= MOST_BYTES_TO_COMPARE ? data.join() : undefined;
    const twin = key === undefined ? undefined : this.#twins.get(key);
    const place = twin ?? this.#size;
    this.#places.set(data, place);
    if (twin !== undefined) return;
    if (key !== undefined) this.#twins.set(key, place);
    this.#size += Math.ceil(data.length / this.#alignment) * this.#alignment;
  }

  upload({device, queue}: BackendAccess): void {
    if (this.#size === 0) return;
    const {STORAGE, UNIFORM, COPY_SRC, COPY_DST, INDIRECT} = GPUBufferUsage;
    const usage = STORAGE | UNIFORM | COPY_SRC | COPY_DST | INDIRECT;
    this.#buffer = device.createBuffer({label: 'capture constants', size: this.#size, usage});
    const all = new Uint8Array(this.#size);
    for (const [data, place] of this.#places) all.set(data, place);
    queue.writeBuffer(this.#buffer, 0, all);
  }

  locate(data: Uint8Array): Location {
    const offset = this.#places.get(data);
    if (offset === undefined || !this.#buffer)
      throw new Error('Constants are located before they are uploaded.');
    return {buffer: this.#buffer, offset};
  }

  destroy(): void {
    this.#buffer?.destroy();
  }
}

/** Uploads that happen between other commands: their data waits among the constants. */
export function uploadsInOrder(commands: readonly Command[], known: ConstantData['known']): UploadCommand[] {
  return commands.filter(
    (command): command is UploadCommand => command.kind === 'upload' && !known.has(command.target),
  );
}
