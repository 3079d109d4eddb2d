/** Files of more than 2 GB, of which only what is asked for is read. They are sparse, so they take no space. */
import {closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {CheckpointError} from '../../models/index.js';
import {openBytes, openCheckpoint} from '../../models/node_checkpoint.js';
import {extractEntry} from '../../models/node_zip.js';

const GIGABYTE = 2 ** 30;
const MEGABYTE = 2 ** 20;

describe('a checkpoint of 5 GB', () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'large-'))));
  afterAll(() => rmSync(folder, {recursive: true}));

  /** @param pieces Bytes by where they stand. */
  function writeSparse(
    name: string,
    size: number,
    pieces: readonly (readonly [number, Uint8Array])[],
  ): string {
    const path = join(folder, name);
    const file = openSync(path, 'w');
    ftruncateSync(file, size);
    for (const [at, bytes] of pieces) writeSync(file, bytes, 0, bytes.length, at);
    closeSync(file);
    return path;
  }

  it('gives its last tensor, and is not read for it', async () => {
    const huge = 5 * GIGABYTE;
    const header = Buffer.from(
      JSON.stringify({
        huge: {dtype: 'F32', shape: [huge / 4], data_offsets: [0, huge]},
        last: {dtype: 'F32', shape: [2], data_offsets: [huge, huge + 8]},
      }),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const path = writeSparse('model.safetensors', 8 + header.length + huge + 8, [
      [0, length],
      [8, header],
      [8 + header.length + huge, Buffer.from(Float32Array.of(1.5, -2).buffer)],
    ]);
    const before = process.memoryUsage().rss;
    const checkpoint = await openCheckpoint(path);
    expect([...(await checkpoint.read('last'))]).toEqual([1.5, -2]);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * MEGABYTE);
    await checkpoint.close();
  });

  /** A zip of one stored entry whose place lies beyond 4 GB, told by zip64 fields. */
  function writeZip(name: string, content: Buffer, crc: number): string {
    const at = 5 * GIGABYTE;
    const entry = Buffer.from('model.weights.h5');
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(entry.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt32LE(crc, 16);
    central.writeUInt32LE(content.length, 20);
    central.writeUInt32LE(content.length, 24);
    central.writeUInt16LE(entry.length, 28);
    central.writeUInt16LE(12, 30);
    central.writeUInt32LE(0xffffffff, 42);
    const extra = Buffer.alloc(12);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(8, 2);
    extra.writeBigUInt64LE(BigInt(at), 4);
    const directory = Buffer.concat([central, entry, extra]);
    const directoryAt = at + local.length + entry.length + content.length;
    const end64 = Buffer.alloc(56);
    end64.writeUInt32LE(0x06064b50, 0);
    end64.writeBigUInt64LE(BigInt(directory.length), 40);
    end64.writeBigUInt64LE(BigInt(directoryAt), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(BigInt(directoryAt + directory.length), 8);
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt32LE(0xffffffff, 12);
    end.writeUInt32LE(0xffffffff, 16);
    const tail = Buffer.concat([local, entry, content, directory, end64, locator, end]);
    return writeSparse(name, at + tail.length, [
      [0, Buffer.from('PK\x03\x04')],
      [at, tail],
    ]);
  }

  const content = Buffer.from('weights');
  const CRC = 0x1ad27358;

  it('as a zip gives the entry behind byte 4 GB', async () => {
    const source = await openBytes(writeZip('model.keras', content, CRC));
    const into = join(folder, 'entry');
    expect(await extractEntry(source, 'model.weights.h5', into)).toBeTrue();
    const entry = await openBytes(into);
    expect(Buffer.from(await entry.read(0, entry.size)).toString()).toBe('weights');
    expect(await extractEntry(source, 'other', into)).toBeFalse();
    await Promise.all([entry.close(), source.close()]);
  });

  it('as a zip with a wrong checksum is refused', async () => {
    const source = await openBytes(writeZip('wrong.keras', content, CRC + 1));
    await expectAsync(extractEntry(source, 'model.weights.h5', join(folder, 'entry'))).toBeRejectedWithError(
      CheckpointError,
      /is a damaged zip .*checksum/,
    );
    await source.close();
  });
});
