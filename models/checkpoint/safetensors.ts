/**
 * Safetensors: eight bytes with the length of a JSON header, the header, then the tensors' bytes. Only the header is read when a
 * file is opened; tensors are read one by one, so that the file's size does not matter.
 */
import {type ByteSource, type Checkpoint, CheckpointError, sizeOf} from './checkpoint.js';
import {FLOAT_FORMATS, OTHER_BYTES} from './float_formats.js';

const PREFIX_BYTES = 8;
/** As the reference implementation limits it. */
const MAX_HEADER_BYTES = 100_000_000;

interface Located {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Of the bytes, from the file's beginning. */
  readonly start: number;
  readonly end: number;
}

/** @throws {CheckpointError} for a file that is truncated or is not safetensors. */
export async function openSafetensors(source: ByteSource): Promise<Checkpoint> {
  const {path} = source;
  const headerBytes = await readHeaderLength(source);
  const header = parseHeader(path, await source.read(PREFIX_BYTES, PREFIX_BYTES + headerBytes));
  const dataStart = PREFIX_BYTES + headerBytes;
  const entries = new Map<string, Located>();
  for (const [name, value] of Object.entries(header)) {
    if (name !== '__metadata__') entries.set(name, locate(source, name, value, dataStart));
  }
  return {
    path,
    format: 'safetensors',
    entries,
    async read(name) {
      const entry = entries.get(name);
      if (!entry) throw new CheckpointError(`'${path}' has no tensor '${name}'.`);
      const format = FLOAT_FORMATS[entry.dtype];
      if (!format)
        throw new CheckpointError(
          `'${path}': the tensor '${name}' is ${entry.dtype}, which is not read as a weight; save it as ${Object.keys(FLOAT_FORMATS).join(', ')}.`,
        );
      return format.decode(await source.read(entry.start, entry.end));
    },
    close: () => source.close(),
  };
}

async function readHeaderLength(source: ByteSource): Promise<number> {
  const {path, size} = source;
  if (size < PREFIX_BYTES)
    throw new CheckpointError(`'${path}' has ${size} bytes, too few for a safetensors file; fetch it again.`);
  const prefix = await source.read(0, PREFIX_BYTES);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  const room = size - PREFIX_BYTES;
  if (length > MAX_HEADER_BYTES || length > room) {
    throw new CheckpointError(
      `'${path}' says that its header has ${length} bytes, but ${length > room ? `only ${room} follow` : `no header has more than ${MAX_HEADER_BYTES}`}; ` +
        'it is truncated or is no safetensors file.',
    );
  }
  return length;
}

function parseHeader(path: string, bytes: Uint8Array): object {
  try {
    const header: unknown = JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(bytes));
    if (typeof header === 'object' && header !== null && !Array.isArray(header)) return header;
  } catch {
    // Said below: what exactly is wrong with bytes that are no JSON helps nobody.
  }
  throw new CheckpointError(
    `'${path}' has a header that is no JSON object; it is damaged or is no safetensors file.`,
  );
}

function locate({path, size}: ByteSource, name: string, value: unknown, dataStart: number): Located {
  const fail = (what: string): never => {
    throw new CheckpointError(
      `'${path}': the tensor '${name}' ${what}; the file is damaged, fetch it again.`,
    );
  };
  if (!isEntry(value)) return fail('has no dtype, shape or data_offsets');
  const {dtype, shape, data_offsets: offsets} = value;
  const [begin = -1, end = -1] = offsets;
  const bytes = FLOAT_FORMATS[dtype]?.bytes ?? OTHER_BYTES[dtype];
  if (bytes === undefined) return fail(`has the unknown dtype '${dtype}'`);
  if (!shape.every((axis) => Number.isInteger(axis) && axis >= 0))
    return fail(`has the shape [${shape.join(', ')}]`);
  if (end - begin !== sizeOf(shape) * bytes)
    return fail(
      `has ${end - begin} bytes, but [${shape.join(', ')}] of ${dtype} takes ${sizeOf(shape) * bytes}`,
    );
  if (begin < 0 || dataStart + end > size)
    return fail(`ends at byte ${dataStart + end}, but the file has ${size}`);
  return {dtype, shape, start: dataStart + begin, end: dataStart + end};
}

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly number[];
}

function isEntry(value: unknown): value is HeaderEntry {
  if (typeof value !== 'object' || value === null) return false;
  const {dtype, shape, data_offsets: offsets} = value as Partial<HeaderEntry>;
  const areNumbers = (list: unknown): boolean =>
    Array.isArray(list) && list.every((item) => typeof item === 'number');
  return typeof dtype === 'string' && areNumbers(shape) && areNumbers(offsets) && offsets?.length === 2;
}
