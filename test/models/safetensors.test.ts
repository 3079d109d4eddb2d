/** Reading safetensors: number formats, ranges, and files that are damaged or are something else. */
import {toFloat16Bits} from '../../models/checkpoint/float_formats.js';
import {blobSource, type Checkpoint, CheckpointError, openSafetensors} from '../../models/index.js';
import {f32, joinSafetensors, writeSafetensors} from '../support/write_safetensors.js';

const open = (bytes: Uint8Array<ArrayBuffer>): Promise<Checkpoint> =>
  openSafetensors(blobSource(new Blob([bytes]), 'a.safetensors'));

const halves = (...bits: readonly number[]): Uint8Array => new Uint8Array(Uint16Array.from(bits).buffer);

const entry = (data: object): string => JSON.stringify({w: data});
const DAMAGES: readonly {
  readonly name: string;
  readonly file: Uint8Array<ArrayBuffer>;
  readonly says: RegExp;
}[] = [
  {name: 'an empty file', file: new Uint8Array(0), says: /has 0 bytes/},
  {
    name: 'a header of 2 GB',
    file: joinSafetensors('{}', [], 2n ** 31n),
    says: /header has 2147483648 bytes, but only 2/,
  },
  {
    name: 'a length beyond all numbers',
    file: joinSafetensors('{}', [], 2n ** 64n - 1n),
    says: /but only 2 follow/,
  },
  {
    name: 'a header that is no JSON',
    file: joinSafetensors('{"w":', []),
    says: /header that is no JSON object/,
  },
  {name: 'a header that is a list', file: joinSafetensors('[1]', []), says: /header that is no JSON object/},
  {
    name: 'an entry without a shape',
    file: joinSafetensors(entry({dtype: 'F32'}), []),
    says: /'w' has no dtype, shape/,
  },
  {
    name: 'an unknown dtype',
    file: joinSafetensors(entry({dtype: 'Q4', shape: [1], data_offsets: [0, 1]}), []),
    says: /'w' has the unknown dtype 'Q4'/,
  },
  {
    name: 'too few bytes for a shape',
    file: joinSafetensors(entry({dtype: 'F32', shape: [2], data_offsets: [0, 4]}), [new Uint8Array(4)]),
    says: /'w' has 4 bytes, but \[2\] of F32 takes 8/,
  },
  {
    name: 'a truncated file',
    file: joinSafetensors(entry({dtype: 'F32', shape: [2], data_offsets: [0, 8]}), [new Uint8Array(5)]),
    says: /'w' ends at byte \d+, but the file has \d+/,
  },
];

describe('safetensors', () => {
  it('reads float32, float16, bfloat16 and float64', async () => {
    const file = writeSafetensors({
      a: f32([3], [1, -2.5, 1e-30]),
      half: {dtype: 'F16', shape: [6], bytes: halves(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000)},
      brain: {dtype: 'BF16', shape: [2], bytes: halves(0x3f80, 0xc049)},
      double: {dtype: 'F64', shape: [1], bytes: new Uint8Array(Float64Array.of(0.1).buffer)},
    });
    const checkpoint = await open(file);
    expect([...(await checkpoint.read('a'))]).toEqual([1, -2.5, Math.fround(1e-30)]);
    expect([...(await checkpoint.read('half'))]).toEqual([1, -2, 2 ** -24, 65504, Infinity, -0]);
    expect([...(await checkpoint.read('brain'))]).toEqual([1, -3.140625]);
    expect([...(await checkpoint.read('double'))]).toEqual([Math.fround(0.1)]);
  });

  it('reads only the bytes of the tensor that is asked for', async () => {
    const blob = new Blob([writeSafetensors({a: f32([1000], new Float32Array(1000)), b: f32([2], [3, 4])})]);
    const ranges: number[] = [];
    const source = blobSource(blob, 'a');
    const checkpoint = await openSafetensors({
      ...source,
      read: (start, end) => (ranges.push(end - start), source.read(start, end)),
    });
    ranges.length = 0;
    expect([...(await checkpoint.read('b'))]).toEqual([3, 4]);
    expect(ranges).toEqual([8]);
  });

  it('lists integers but reads none as a weight', async () => {
    const steps = {dtype: 'I64', shape: [], bytes: new Uint8Array(8)} as const;
    const checkpoint = await open(writeSafetensors({steps}));
    expect(checkpoint.entries.get('steps')?.dtype).toBe('I64');
    await expectAsync(checkpoint.read('steps')).toBeRejectedWithError(CheckpointError, /'steps' is I64/);
  });

  for (const {name, file, says} of DAMAGES) {
    it(`names what is wrong with ${name}`, () =>
      expectAsync(open(file)).toBeRejectedWithError(CheckpointError, says));
  }
});

describe('float16', () => {
  it('rounds to nearest, ties to even, as hardware does', () => {
    const cases = [
      [1, 0x3c00],
      [-2, 0xc000],
      [65504, 0x7bff],
      [65519, 0x7bff],
      [65520, 0x7c00],
      [-Infinity, 0xfc00],
      [2 ** -24, 0x0001],
      [2 ** -25, 0x0000],
      [1.5 * 2 ** -24, 0x0002],
      [2 ** -14, 0x0400],
      [1 + 2 ** -11, 0x3c00],
      [1 + 3 * 2 ** -11, 0x3c02],
      [-0, 0x8000],
    ] as const;
    for (const [value, bits] of cases) expect(toFloat16Bits(value)).withContext(String(value)).toBe(bits);
    expect(toFloat16Bits(NaN) & 0x7c00).toBe(0x7c00);
  });
});
