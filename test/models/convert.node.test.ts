/** `block-fusion models` and `convert --arch`, as a user runs them. */
import {spawnSync} from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {fileShape} from '../../models/checkpoint/layouts.js';
import {
  type Description,
  findArchitecture,
  makeNetwork,
  type ModelMetadata,
  randomWeights,
  tensorsOf,
} from '../../models/index.js';
import {nameTensors} from '../../models/naming/naming.js';
import {f32, writeSafetensors} from '../support/write_safetensors.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const ARCH = 'mobilenetv3_small';
const CLASSES = 10;

interface Run {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

function run(...args: readonly string[]): Run {
  const {status, stdout, stderr} = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    timeout: 100_000,
  });
  return {status, out: stdout, err: stderr};
}

/** A checkpoint of random weights, in our layout's bytes but the file's shapes: which weight is where does not matter here. */
async function writeCheckpoint(path: string): Promise<void> {
  const architecture = findArchitecture(ARCH);
  const network = makeNetwork(architecture, {classes: CLASSES});
  const naming = architecture.sources[0]?.naming;
  if (!naming) throw new Error(`${ARCH} has no source.`);
  const weights = randomWeights(4);
  const tensors = nameTensors(naming, network, tensorsOf(network)).map(async ({tensor, names}) => {
    return [names[0] ?? '', f32(fileShape(tensor, 'torch'), await weights(tensor))] as const;
  });
  writeFileSync(path, writeSafetensors(Object.fromEntries(await Promise.all(tensors))));
}

describe('block-fusion convert --arch', () => {
  let folder: string;
  let checkpoint: string;
  const out = (): string => join(folder, 'out');

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'convert-'));
    mkdirSync(join(folder, 'in'));
    checkpoint = join(folder, 'in', 'model.safetensors');
    await writeCheckpoint(checkpoint);
  });
  afterAll(() => rmSync(folder, {recursive: true}));
  afterEach(() => rmSync(out(), {recursive: true, force: true}));

  const manifest = (): {
    weightsManifest: {paths: string[]; weights: {dtype: string; quantization?: object}[]}[];
    userDefinedMetadata: ModelMetadata;
  } => JSON.parse(readFileSync(join(out(), 'model.json'), 'utf8')) as ReturnType<typeof manifest>;
  const shardBytes = (): number =>
    readdirSync(out())
      .filter((name) => name.endsWith('.bin'))
      .reduce((sum, name) => sum + statSync(join(out(), name)).size, 0);

  it('writes a model that agrees with the checkpoint, with its preprocessing', () => {
    const {
      status,
      out: text,
      err,
    } = run('convert', checkpoint, out(), '--arch', ARCH, '--size', '64', '--verify');
    expect(status).withContext(err).toBe(0);
    const [, plain = NaN, fused = NaN] =
      /difference (\S+) of the output's scale, (\S+) with blocks fused/.exec(text)?.map(Number) ?? [];
    expect(Math.max(plain, fused)).toBeLessThan(1e-4);
    expect(err).toContain('converting [1/');
    const {architecture, classes, preprocessing} = manifest().userDefinedMetadata;
    expect([architecture, classes]).toEqual([ARCH, CLASSES]);
    expect(preprocessing).toEqual({
      size: [64, 64],
      crop: 0.875,
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
      interpolation: 'bicubic',
      channels: 'rgb',
      fit: 'crop',
    });
  });

  for (const [quantize, share] of [
    ['float16', 0.5],
    ['uint8', 0.25],
  ] as const) {
    it(`writes ${quantize} weights in ${share} of the bytes`, () => {
      const {status, err} = run(
        'convert',
        checkpoint,
        out(),
        '--arch',
        ARCH,
        '--size',
        '64',
        '--quantize',
        quantize,
        '--verify',
      );
      expect(status).withContext(err).toBe(0);
      const full = 4 * 1.53e6; // Parameters of the network with ten classes.
      expect(shardBytes() / full).toBeCloseTo(share, 1);
    });
  }

  it('takes preprocessing and labels from what lies beside the checkpoint', () => {
    const config = join(folder, 'in', 'config.json');
    const labels = Object.fromEntries(Array.from({length: CLASSES}, (_, i) => [i, `label ${i}`]));
    const timm = {
      input_size: [3, 96, 96],
      mean: [0.5, 0.5, 0.5],
      std: [0.25, 0.25, 0.25],
      crop_pct: 0.9,
      interpolation: 'bilinear',
    };
    writeFileSync(config, JSON.stringify({pretrained_cfg: timm, id2label: labels}));
    const {status, err} = run('convert', checkpoint, out(), '--arch', ARCH);
    rmSync(config);
    expect(status).withContext(err).toBe(0);
    const {preprocessing, labels: written} = manifest().userDefinedMetadata;
    expect(preprocessing).toEqual({
      size: [96, 96],
      crop: 0.9,
      mean: [0.5, 0.5, 0.5],
      std: [0.25, 0.25, 0.25],
      interpolation: 'bilinear',
      channels: 'rgb',
      fit: 'crop',
    });
    expect(written?.[7]).toBe('label 7');
  });

  const REFUSALS: readonly {
    readonly name: string;
    readonly args: readonly string[];
    readonly status: number;
    readonly says: RegExp;
  }[] = [
    {
      name: 'another architecture',
      args: ['--arch', 'resnet18'],
      status: 1,
      says: /is no resnet18 .* missing: .*; \d+ extra: /,
    },
    {
      name: 'other classes',
      args: ['--arch', ARCH, '--classes', '7'],
      status: 1,
      says: /classifier.weight is \[10, 1024\] but must be \[7, 1024\]/,
    },
    {
      name: 'an unknown architecture',
      args: ['--arch', 'mobilenet'],
      status: 1,
      says: /There is no architecture 'mobilenet'/,
    },
    {
      name: 'an unknown quantization',
      args: ['--arch', ARCH, '--quantize', 'int4'],
      status: 2,
      says: /--quantize takes float16 or uint8, not 'int4'/,
    },
    {
      name: 'classes that are no number',
      args: ['--arch', ARCH, '--classes', 'ten'],
      status: 2,
      says: /--classes takes a whole number/,
    },
    {name: 'checkpoint options without --arch', args: ['--classes', '10'], status: 2, says: /say --arch/},
  ];
  for (const {name, args, status, says} of REFUSALS) {
    it(`refuses ${name} in one line and writes nothing`, () => {
      const result = run('convert', checkpoint, out(), ...args);
      expect(result.status).toBe(status);
      const last = result.err.trim().split('\n').at(-1) ?? '';
      expect(last).toMatch(/^block-fusion: /);
      expect(last).toMatch(says);
      expect(existsSync(out())).toBeFalse();
      expect(readdirSync(folder)).toEqual(['in']);
    });
  }

  it('says what a pickle and a truncated file are', () => {
    const pickle = join(folder, 'in', 'model.pth');
    writeFileSync(pickle, Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9]));
    const cut = join(folder, 'in', 'cut.safetensors');
    writeFileSync(cut, readFileSync(checkpoint).subarray(0, 100_000));
    expect(run('convert', pickle, out(), '--arch', ARCH).err).toMatch(
      /is a Python pickle, which is not read/,
    );
    expect(run('convert', cut, out(), '--arch', ARCH).err).toMatch(
      /ends at byte \d+, but the file has 100000/,
    );
  });
});

describe('block-fusion models', () => {
  it('lists every architecture, also as JSON', () => {
    const rows = JSON.parse(run('models', '--json').out) as Description[];
    const tiny = rows.find(({name}) => name === 'convnext_tiny');
    expect(tiny).toEqual({
      name: 'convnext_tiny',
      family: 'ConvNeXt',
      size: 224,
      parameters: 28589128,
      macs: 4455531264,
      blocks: {BlockConvNeXt: 18},
      sources: ['timm', 'huggingface', 'torchvision', 'keras'],
    });
    const lines = run('models').out.trim().split('\n');
    expect(lines.length).toBe(rows.length);
    expect(lines.find((line) => line.startsWith('convnext_tiny '))).toMatch(
      /224×224 +28\.59 M +4\.46 G +18 blocks +timm/,
    );
  });
});
