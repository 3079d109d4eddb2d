/** Each statement about `block-fusion convert`: written whole or not at all, what it keeps, and what --verify compares. */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import {verify} from '../src/cli/verify.js';
import {convert} from '../src/convert/convert.js';
import {splitWeights, valuesOf, type Weight} from '../src/graph/weights.js';
import {readModel, writeModel} from '../src/node_models.js';
import {registerBlockKernels} from '../src/register.js';
import {expectClose} from './support/expect_close.js';
import {seededTensors} from './support/random.js';
import {TestGraph} from './support/test_graph.js';

/** This file runs from dist/test. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const fixture = (name: string): string => join(ROOT, 'test/fixtures/converted', name);
const SSD = fixture('keras_ssd_mobilenet_v2');

function run(...args: readonly string[]): {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
} {
  const main = join(ROOT, 'dist/src/cli/main.js');
  const {status, stdout, stderr} = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return {status, out: stdout, err: stderr};
}

const weightsOf = ({weightSpecs = [], weightData}: tf.io.ModelArtifacts): ReadonlyMap<string, Weight> =>
  splitWeights(weightSpecs, new Uint8Array(weightData as ArrayBuffer)); // readModel gives one buffer.

/** Runs on wasm, or on cpu where wasm cannot. */
async function onWasm(): Promise<void> {
  await tf.setBackend('wasm');
  await tf.ready();
}

describe('convert', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'block-fusion-'))));
  afterEach(() => rmSync(folder, {recursive: true, force: true}));

  for (const [name, dtype] of [
    ['keras_efficientnet_b0', 'uint8'],
    ['keras_efficientnet_b4', 'uint16'],
    ['keras_efficientnet_v2_s', 'float16'],
  ] as const) {
    it(`keeps weights of ${dtype} that nothing was folded into`, async () => {
      const out = join(folder, 'out');
      const {status, out: said} = run('convert', fixture(name), out, '--verify');
      expect(status).toBe(0);
      expect(said).toMatch(/^largest difference \d\.\de-\d+ of the output's scale\n/);
      const [before, after] = [weightsOf(await readModel(fixture(name))), weightsOf(await readModel(out))];
      let kept = 0;
      for (const [key, weight] of after) {
        const own = before.get(key);
        if (own?.quantization?.dtype !== dtype) continue;
        const isSame = Buffer.compare(weight.bytes, own.bytes) === 0;
        if (isSame) expect(weight.quantization).toEqual(own.quantization);
        else expect(worst(valuesOf(weight), valuesOf(own))).toBeGreaterThan(0);
        kept += Number(isSame);
      }
      expect(kept).toBeGreaterThan(before.size / 4);
    });
  }

  it('keeps metadata, signature and provenance, of converters new and old', () => {
    for (const name of ['keras_convnext_tiny', 'tf1_mobilenet_v2']) {
      const out = join(folder, name);
      expect(run('convert', fixture(name), out).status).toBe(0);
      const [before, after] = [fixture(name), out].map(
        (path) => JSON.parse(readFileSync(join(path, 'model.json'), 'utf8')) as Record<string, unknown>,
      );
      for (const key of ['format', 'generatedBy', 'convertedBy', 'signature', 'userDefinedMetadata'])
        expect(after?.[key]).withContext(`${name}: ${key}`).toEqual(before?.[key]);
      expect(Object.keys(after ?? {}).sort()).toEqual(Object.keys(before ?? {}).sort());
    }
  });

  it('keeps several outputs, and the intermediate values it is told to', async () => {
    const out = join(folder, 'out');
    const original = await readModel(SSD);
    const {node} = original.modelTopology as {node: {name: string; op: string}[]};
    const inside = node.filter(({op}) => op === 'DepthwiseConv2dNative').map(({name}) => name)[3] ?? '';
    expect(run('convert', SSD, out, '--verify', '--keep', inside).status).toBe(0);
    await onWasm();
    registerBlockKernels();
    const [before, after] = [
      await loadGraphModel(tf.io.fromMemory(original)),
      await loadGraphModel(tf.io.fromMemory(await readModel(out))),
    ];
    expect(after.outputNodes).toEqual(before.outputNodes);
    expect(after.outputs.map(({shape}) => shape)).toEqual(before.outputs.map(({shape}) => shape));
    const x = seededTensors(5)([1, 64, 64, 3]);
    const names = [...before.outputNodes, inside];
    const [expected, actual] = [before.execute(x, names), after.execute(x, names)] as [
      tf.Tensor[],
      tf.Tensor[],
    ];
    expect(names.length).toBe(3);
    for (const [i, name] of names.entries())
      await expectClose(actual[i] as tf.Tensor, expected[i] as tf.Tensor, {name});
    tf.dispose([x, expected, actual]);
    before.dispose();
    after.dispose();
  });

  it('refuses to keep what is not there, or in a checkpoint', () => {
    expect(run('convert', SSD, join(folder, 'out'), '--keep', 'nowhere').err).toMatch(/keep names 'nowhere'/);
    const {status, err} = run(
      'convert',
      'x.safetensors',
      join(folder, 'out'),
      '--arch',
      'resnet18',
      '--keep',
      'a',
    );
    expect([status, err]).toEqual([
      2,
      'block-fusion: --keep is for models: a checkpoint has no nodes yet.\n',
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('says where there is nothing to compare with, and writes nothing', () => {
    const {status, err} = run('convert', fixture('keras2_regnety'), join(folder, 'out'), '--verify');
    expect(status).toBe(1);
    expect(err).toMatch(
      /cannot run the original \(.*depth of input.*\), so there is nothing to compare with; leave --v/,
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('leaves the old model where writing the new one fails', async () => {
    const out = join(folder, 'out');
    const model = await readModel(SSD);
    await writeModel(out, model);
    const before = readdirSync(out).map((file) => readFileSync(join(out, file), 'base64'));
    const endless: {self?: object} = {};
    endless.self = endless;
    // The weights are written by then; this cannot be.
    await expectAsync(writeModel(out, {...model, userDefinedMetadata: endless})).toBeRejected();
    expect(readdirSync(folder)).toEqual(['out']);
    expect(readdirSync(out).map((file) => readFileSync(join(out, file), 'base64'))).toEqual(before);
    await expectAsync(
      writeModel(join(folder, 'new'), {...model, userDefinedMetadata: endless}),
    ).toBeRejected();
    expect(existsSync(join(folder, 'new'))).toBe(false);
  });
});

const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] ?? NaN))), 0);

describe('verify', () => {
  /** Two heads on one trunk. */
  function twoHeads(): tf.io.ModelArtifacts {
    const g = new TestGraph();
    g.input('x', [-1, 6, 6, 8]);
    const trunk = g.pointwise('trunk', g.depthwise('dw', 'x', 8), 8, 8);
    const head = (name: string): string => g.pointwise(name, g.depthwise(`${name}/dw`, trunk, 8), 8, 4);
    return g.artifacts([head('first'), head('second')]);
  }

  /** With one element of a weight changed. */
  function spoiled(model: tf.io.ModelArtifacts, name: string): tf.io.ModelArtifacts {
    const weights = [...weightsOf(model).values()];
    const at = weights.findIndex((weight) => weight.name === name);
    const data = (model.weightData as ArrayBuffer).slice(0);
    const start = weights.slice(0, at).reduce((total, {bytes}) => total + bytes.length, 0);
    new DataView(data).setFloat32(start, 2, true);
    return {...model, weightData: data};
  }

  it('finds a model equal to its rewritten form, by the same number each time', async () => {
    const [model, rewritten] = [twoHeads(), convert(twoHeads()).artifacts];
    const first = await verify(model, rewritten);
    expect(first).toBeLessThan(1e-5);
    expect(await verify(model, rewritten)).toBe(first);
  });

  it('finds one wrong weight behind either output', async () => {
    for (const name of ['first/filter', 'second/dw/filter', 'trunk/filter']) {
      const {artifacts} = convert(spoiled(twoHeads(), name));
      await expectAsync(verify(twoHeads(), artifacts)).toBeRejectedWithError(
        /differs by .* nothing was written/,
      );
    }
  });

  it('compares fetched values, where both models have them', async () => {
    const g = new TestGraph();
    g.input('x', [1, 6, 6, 8]);
    const dw = g.depthwise('dw', 'x', 8);
    const gone = g.op('gone', 'Mul', [dw, g.constant('zero', 0)]);
    const model = g.artifacts([g.op('out', 'AddV2', [gone, 'x'])]);
    const other = spoiled(model, 'dw/filter');
    expect(await verify(model, other)).toBe(0);
    await expectAsync(verify(model, other, {fetch: ['dw', 'nowhere']})).toBeRejectedWithError(/differs by/);
  });
});
