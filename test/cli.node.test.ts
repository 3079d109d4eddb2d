/** The command line as a user runs it, on good and on damaged models. */
import {spawnSync} from 'node:child_process';
import {cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import {writeModel} from '../src/node_models.js';
import {refinement} from './support/body_loop.js';
import {looped} from './support/frame_loop.js';
import {TestGraph} from './support/test_graph.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const MAIN = join(ROOT, 'dist/src/cli/main.js');
const EMOTION = join(ROOT, 'node_modules/@vladmandic/human/models/emotion.json');

interface Run {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

function run(...args: readonly string[]): Run {
  const {status, stdout, stderr} = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return {status, out: stdout, err: stderr};
}

function smallModel(): tf.io.ModelArtifacts {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  return g.artifacts([g.pointwise('project', g.depthwise('dw', 'x', 8), 8, 4)]);
}

interface Manifest {
  modelTopology: {node: {name: string; op: string; attr: object}[]};
  weightsManifest: {paths: string[]; weights: {name: string; shape: number[]; dtype: string}[]}[];
}

const SHARD = 'group1-shard1of1.bin';

/** Each takes a good model apart in a folder of its own; the message must say what is wrong. */
const DAMAGES: readonly {
  readonly name: string;
  readonly damage: (folder: string) => void;
  readonly says: RegExp;
}[] = [
  {
    name: 'a truncated shard',
    damage: (folder) => truncateSync(join(folder, SHARD), 100),
    says: /needs \d+ bytes but only \d+ are left.*truncated/,
  },
  {name: 'a missing shard', damage: (folder) => rmSync(join(folder, SHARD)), says: /shard '.*' is missing/},
  {
    name: 'a shard that is too long',
    damage: (folder) => writeFileSync(join(folder, SHARD), new Uint8Array(1e6)),
    says: /have 1000000 bytes but the manifest describes/,
  },
  {
    name: 'an unknown op',
    damage: edit(
      (json) => ((json.modelTopology.node.find(({op}) => op === 'Conv2D') as {op: string}).op = 'Frobnicate'),
    ),
    says: /'project' has the op 'Frobnicate'/,
  },
  {
    name: 'an unknown dtype',
    damage: edit((json) => ((weights(json)[0] as {dtype: string}).dtype = 'float8')),
    says: /has the dtype 'float8'/,
  },
  {
    name: 'a rank-3 input',
    damage: edit((json) => {
      const x = json.modelTopology.node.find(({name}) => name === 'x') as {attr: object};
      x.attr = {shape: {shape: {dim: [{size: '6'}, {size: '6'}, {size: '8'}]}}};
    }),
    says: /needs an input of rank 4 but 'x' is of rank 3/,
  },
  {
    name: 'a NaN weight',
    damage: (folder) => {
      const data = readFileSync(join(folder, SHARD));
      data.writeFloatLE(NaN, 8);
      writeFileSync(join(folder, SHARD), data);
    },
    says: /'dw\/filter' \[3, 3, 8, 1\] has a NaN at element 2/,
  },
  {name: 'an empty graph', damage: edit((json) => (json.modelTopology.node = [])), says: /graph is empty/},
  {
    name: 'a length field of 2 GB',
    damage: edit(
      (json) => {
        Object.assign(weights(json)[0] as object, {dtype: 'string', shape: [1]});
      },
      (folder) => {
        const data = readFileSync(join(folder, SHARD));
        data.writeUInt32LE(0x7fffffff, 0);
        writeFileSync(join(folder, SHARD), data);
      },
    ),
    says: /needs 2147483651 bytes but only/,
  },
  {
    name: 'a shape of 2 G elements',
    damage: edit((json) => ((weights(json)[0] as {shape: number[]}).shape = [2 ** 31])),
    says: /needs 8589934592 bytes but only/,
  },
  {
    name: 'a shape that is none',
    damage: edit((json) => ((weights(json)[0] as {shape: number[]}).shape = [-3, 2])),
    says: /shape \[-3,2\], which is no list of sizes/,
  },
  {
    name: 'text that is no JSON',
    damage: (folder) => writeFileSync(join(folder, 'model.json'), '{"modelTopology": '),
    says: /is not JSON/,
  },
  {
    name: 'JSON that is no model',
    damage: (folder) => writeFileSync(join(folder, 'model.json'), '[1, 2]'),
    says: /has no modelTopology/,
  },
  {
    name: 'a manifest that is no list',
    damage: edit((json) => Object.assign(json, {weightsManifest: {a: 1}})),
    says: /weightsManifest that is no list/,
  },
  {
    name: 'a constant without a weight',
    damage: edit((json) => weights(json).pop()),
    says: /no entry in the weights manifest|describes/,
  },
  {
    name: 'an edge to nowhere',
    damage: edit((json) =>
      Object.assign(json.modelTopology.node.find(({name}) => name === 'dw') as object, {
        input: ['nowhere', 'dw/filter'],
      }),
    ),
    says: /'dw' \(DepthwiseConv2dNative\) reads 'nowhere'/,
  },
  {
    name: 'a filter for other channels',
    damage: edit((json) => ((weights(json)[0] as {shape: number[]}).shape = [3, 6, 4, 1])),
    says: /for 4 channels but its input has 8/,
  },
];

const weights = ({weightsManifest: [group]}: Manifest): Manifest['weightsManifest'][number]['weights'] =>
  group?.weights ?? [];

function edit(
  change: (json: Manifest) => unknown,
  then: (folder: string) => void = () => undefined,
): (folder: string) => void {
  return (folder) => {
    const file = join(folder, 'model.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
    change(json);
    writeFileSync(file, JSON.stringify(json));
    then(folder);
  };
}

describe('block-fusion', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'block-fusion-'))));
  afterEach(() => rmSync(folder, {recursive: true, force: true}));

  it('inspects a model as JSON', () => {
    const {status, out} = run('inspect', EMOTION, '--json');
    expect(status).toBe(0);
    const report = JSON.parse(out) as object;
    expect(Object.keys(report)).toEqual([
      'nodes',
      'depthwise',
      'macs',
      'dispatches',
      'blocks',
      'misses',
      'stages',
      'notes',
    ]);
    expect(report).toEqual(jasmine.objectContaining({depthwise: {total: 4, fused: 4}}));
  });

  it('inspects a model for a person, progress apart', () => {
    const {status, out, err} = run('inspect', EMOTION);
    expect(status).toBe(0);
    expect(out).toMatch(/9 blocks in \d+ stages, .* in no block\n\n\d+×\d+: \d+ block.*\n[├└]─ Block/);
    expect(err).toContain('looking for blocks');
    expect(out).not.toContain('looking');
  });

  it('explains the plans of a model without a GPU, the same before and after conversion', () => {
    const {status, out} = run('inspect', EMOTION, '--explain');
    expect(status).toBe(0);
    expect(out).toMatch(/^device: NVIDIA H200.*\n9 blocks: estimate .* µs, waterline .* µs\n/);
    expect(out).toMatch(
      /· convolution\.\w+ {2}TILE_M=\d+ .*\n.*launch .* \+ max\(arithmetic .*\n +bound by /,
    );
    // The README shows its first lines.
    const shown = /```\n(BlockBasic [^]*?)…\n```/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1];
    expect(shown).toBeDefined();
    expect(out).toContain(shown ?? '');
    const converted = join(folder, 'out');
    expect(run('convert', EMOTION, converted).status).toBe(0);
    expect(run('inspect', converted, '--explain').out).toBe(out);
    const {blocks} = JSON.parse(run('inspect', EMOTION, '--explain', '--json').out) as {
      blocks: {plan: {runs: string; dispatches: {estimate: {total: number}; waterline: number}[]}}[];
    };
    for (const {plan} of blocks) {
      expect(plan.runs).toBe('kernels');
      expect(plan.dispatches.length).toBeGreaterThan(0);
      for (const {estimate, waterline} of plan.dispatches) expect(estimate.total).toBeGreaterThan(waterline);
    }
  });

  it('plans for the shape it is given', () => {
    const small = run('inspect', EMOTION, '--explain').out;
    const large = run('inspect', EMOTION, '--explain', '--shape', 'input_1=8,64,64,1').out;
    expect(large).toContain('[8, ');
    expect(large).not.toBe(small);
  });

  it('converts, verifies, and leaves nothing but the model', () => {
    const out = join(folder, 'out');
    expect(run('convert', EMOTION, out, '--verify')).toEqual(
      jasmine.objectContaining({
        status: 0,
        out: jasmine.stringMatching(/largest difference .*\n.*9 blocks/),
      }),
    );
    expect(readdirSync(folder)).toEqual(['out']);
    expect(readdirSync(out)).toEqual([SHARD, 'model.json']);
    const again = run('inspect', out, '--json');
    expect(again.status).toBe(0);
    expect(run('convert', EMOTION, out).status).toBe(0);
    expect(readdirSync(folder)).toEqual(['out']);
  });

  for (const [name, model, at] of [
    ['in a function', refinement(), 'body/sum'],
    ['between Enter and Exit', looped(), 'sum'],
  ] as const)
    it(`converts and verifies a loop ${name}`, async () => {
      const [source, out] = [join(folder, 'model'), join(folder, 'out')];
      await writeModel(source, model);
      expect(run('convert', source, out, '--verify')).toEqual(
        jasmine.objectContaining({status: 0, out: jasmine.stringMatching(/largest difference/)}),
      );
      expect(run('inspect', source).out).toContain(`BlockMBConv  ${at}`);
      expect(run('inspect', out, '--explain').out).toContain(at);
    });

  it('explains itself', () => {
    expect(run('--help').out).toContain('inspect MODEL');
    expect(run('convert', '--help').out).toContain('--verify');
  });

  for (const [args, says] of [
    [['frobnicate'], /no command 'frobnicate'/],
    [['inspect'], /takes one MODEL/],
    [['inspect', EMOTION, '--frob'], /Unknown option '--frob'/],
    [['inspect', EMOTION, '--shape', 'x'], /NAME=1,224,224,3/],
    [['inspect', EMOTION, '--shape', 'y=1,2'], /the inputs are 'input_1'/],
    [['inspect', '/nonexistent'], /no file '\/nonexistent'/],
    [['inspect', tmpdir()], /has no model.json/],
  ] as const) {
    it(`refuses ${args.slice(0, 1).concat(args.slice(-1)).join(' … ')}`, () =>
      expectOneError(run(...args), says));
  }

  for (const {name, damage, says} of DAMAGES) {
    it(`says what is wrong with ${name}`, async () => {
      const model = join(folder, 'model');
      await writeModel(model, smallModel());
      damage(model);
      // Both commands read a model in the same way; convert must besides leave nothing behind.
      expectOneError(run('convert', model, join(folder, 'out')), says);
      expect(readdirSync(folder)).toEqual(['model']);
    });
  }

  it('leaves the old model where a new one cannot be made', async () => {
    const [good, bad] = [join(folder, 'good'), join(folder, 'bad')];
    await writeModel(good, smallModel());
    cpSync(good, bad, {recursive: true});
    rmSync(join(bad, SHARD));
    const before = readFileSync(join(good, 'model.json'), 'utf8');
    expect(run('convert', bad, good).status).toBe(1);
    expect(readFileSync(join(good, 'model.json'), 'utf8')).toBe(before);
  });
});

function expectOneError({status, out, err}: Run, says: RegExp): void {
  expect(status).not.toBe(0);
  expect(out).toBe('');
  const errors = err.split('\n').filter((line) => line.startsWith('block-fusion: '));
  expect(errors.length).toBe(1);
  expect(errors[0]).toMatch(says);
  expect(err).not.toContain('    at ');
}
