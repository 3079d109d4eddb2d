/**
 * One entry of a zip file, copied or inflated into a file piece by piece, so that neither has to fit into memory. Zip64 is read:
 * Keras writes models of any size. https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 to 4.5.
 */
import {createWriteStream} from 'node:fs';
import {Readable, Transform} from 'node:stream';
import {pipeline} from 'node:stream/promises';
import {crc32, createInflateRaw} from 'node:zlib';
import {type ByteSource, CheckpointError} from './checkpoint/checkpoint.js';

const SIGNATURES = {local: 0x04034b50, central: 0x02014b50, end: 0x06054b50, end64: 0x06064b50} as const;
const BYTES = {
  local: 30,
  central: 46,
  end: 22,
  end64: 56,
  locator64: 20,
  comment: 0xffff,
  chunk: 2 ** 24,
} as const;
/** What a field of four bytes holds when the value is in the zip64 extra field. */
const SEE_EXTRA = 0xffffffff;
const ZIP64_EXTRA = 1;
const METHODS = {stored: 0, deflated: 8} as const;

interface Entry {
  readonly method: number;
  readonly crc: number;
  readonly packedBytes: number;
  /** Of its local header. */
  readonly offset: number;
}

/** @returns False where the zip has no entry `name`. @throws {CheckpointError} for a damaged file. */
export async function extractEntry(source: ByteSource, name: string, into: string): Promise<boolean> {
  const entry = await findEntry(source, name);
  if (!entry) return false;
  const header = viewOf(await read(source, entry.offset, BYTES.local));
  if (header.getUint32(0, true) !== SIGNATURES.local)
    throw damaged(source, `no entry at byte ${entry.offset}`);
  const start = entry.offset + BYTES.local + header.getUint16(26, true) + header.getUint16(28, true);
  if (entry.method !== METHODS.stored && entry.method !== METHODS.deflated)
    throw damaged(source, `the unknown compression ${entry.method}`);
  let crc = 0;
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      crc = crc32(chunk, crc);
      done(null, chunk);
    },
  });
  const packed = Readable.from(chunksOf(source, start, start + entry.packedBytes));
  const file = createWriteStream(into);
  try {
    if (entry.method === METHODS.stored) await pipeline(packed, check, file);
    else await pipeline(packed, createInflateRaw(), check, file);
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw damaged(source, `'${name}' cannot be unpacked (${(error as Error).message})`);
  }
  if (crc !== entry.crc)
    throw damaged(source, `'${name}' has the checksum ${crc} but must have ${entry.crc}`);
  return true;
}

const damaged = ({path}: ByteSource, what: string): CheckpointError =>
  new CheckpointError(`'${path}' is a damaged zip (${what}); fetch it again.`);

async function read(source: ByteSource, start: number, bytes: number): Promise<Uint8Array> {
  if (start < 0 || start + bytes > source.size) throw damaged(source, `byte ${start + bytes} lies outside`);
  return source.read(start, start + bytes);
}

const viewOf = ({buffer, byteOffset, byteLength}: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

async function* chunksOf(source: ByteSource, start: number, end: number): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; at += BYTES.chunk)
    yield await read(source, at, Math.min(BYTES.chunk, end - at));
}

async function findEntry(source: ByteSource, wanted: string): Promise<Entry | undefined> {
  const {start, bytes} = await findDirectory(source);
  const directory = await read(source, start, bytes);
  const view = viewOf(directory);
  for (let at = 0; at + BYTES.central <= bytes;) {
    if (view.getUint32(at, true) !== SIGNATURES.central) throw damaged(source, 'its directory is cut off');
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      view.getUint16(at + field, true),
    ) as [number, number, number];
    const extra = at + BYTES.central + nameBytes;
    const name = new TextDecoder().decode(directory.subarray(at + BYTES.central, extra));
    if (name === wanted) return entryAt(view, at, {start: extra, end: extra + extraBytes});
    at = extra + extraBytes + commentBytes;
  }
  return undefined;
}

/** Sizes and offset that do not fit into four bytes follow each other in the extra field, in this order. */
function entryAt(view: DataView, at: number, extra: {readonly start: number; readonly end: number}): Entry {
  let wide = zip64Extra(view, extra);
  const field = (offset: number): number => {
    const value = view.getUint32(at + offset, true);
    if (value !== SEE_EXTRA || wide === undefined) return value;
    wide += 8;
    return Number(view.getBigUint64(wide - 8, true));
  };
  field(24); // Of the unpacked bytes, which comes first in the extra field.
  return {
    method: view.getUint16(at + 10, true),
    crc: view.getUint32(at + 16, true),
    packedBytes: field(20),
    offset: field(42),
  };
}

function zip64Extra(
  view: DataView,
  {start, end}: {readonly start: number; readonly end: number},
): number | undefined {
  for (let at = start; at + 4 <= end; at += 4 + view.getUint16(at + 2, true))
    if (view.getUint16(at, true) === ZIP64_EXTRA) return at + 4;
  return undefined;
}

async function findDirectory(source: ByteSource): Promise<{start: number; bytes: number}> {
  const tailBytes = Math.min(source.size, BYTES.end + BYTES.comment);
  const tailStart = source.size - tailBytes;
  const tail = viewOf(await read(source, tailStart, tailBytes));
  let at = tailBytes - BYTES.end;
  while (at >= 0 && tail.getUint32(at, true) !== SIGNATURES.end) at--;
  if (at < 0) throw damaged(source, 'its directory is missing');
  const [bytes, start] = [tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
  if (start !== SEE_EXTRA && bytes !== SEE_EXTRA) return {start, bytes};
  const locator = viewOf(await read(source, tailStart + at - BYTES.locator64, BYTES.locator64));
  const end64 = viewOf(await read(source, Number(locator.getBigUint64(8, true)), BYTES.end64));
  if (end64.getUint32(0, true) !== SIGNATURES.end64) throw damaged(source, 'its directory is missing');
  return {start: Number(end64.getBigUint64(48, true)), bytes: Number(end64.getBigUint64(40, true))};
}
