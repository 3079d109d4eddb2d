/**
 * Captured predictions against uncaptured ones, bit by bit, over changing inputs; and that neither tensors nor GPU bytes grow.
 *
 *   node dist/benchmarks/capture_equality.js [MODEL…] [--models=NAME,…] [--predictions=1000] [--variants=stock,fused]
 *     [--where=node,chromium] [--seconds=3] [--adapter=TEXT] [--chromium=COMMAND] [--dawn=FEATURES] [--json=FILE]
 *     [--bundle]
 *
 * MODEL as in capture.js; without any: all of npm @vladmandic/human, nsfwjs, EfficientNet-B0, ConvNeXt-T. Each has as many inputs as
 * TF.js answers in --seconds, 50 at least; the captured predictions go through them in shuffled order, several on their way at once, and
 * 50 uncaptured ones run once more in between. A row is printed, and FILE written, as soon as a model is done; rows that FILE has of
 * other models or places stay.
 *
 * Where the adapter's description lacks TEXT nothing runs: a browser falls back to software without a word. COMMAND starts a headless Chromium with WebGPU when flags and an URL follow; without it the installed Chromium runs on SwiftShader.
 * `--bundle` only writes the page's script, for a machine without esbuild. FEATURES are Dawn's, for Node: disable_workgroup_init makes
 * SwiftShader start sooner. The exit code is 1 where a prediction differs or something grows.
 */
import {existsSync} from 'node:fs';
import {readFile, rename, writeFile} from 'node:fs/promises';
import {parseArgs} from 'node:util';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {registerBlockKernels} from '../src/register.js';
import {humanModels, loadArtifacts, loadModel} from './capture_models.js';
import type {PageTask} from './capture_equality_page.js';
import {bundlePage, runInChromium} from './chromium_page.js';
import {
  type EqualityPlan,
  equalityRows,
  expectAdapter,
  type EqualityRow,
  type FailedRow,
  passes,
  printable,
  type Variant,
} from './equality_table.js';

const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    models: {type: 'string'},
    predictions: {type: 'string', default: '1000'},
    variants: {type: 'string', default: 'stock,fused'},
    where: {type: 'string', default: 'node,chromium'},
    seconds: {type: 'string', default: '3'},
    adapter: {type: 'string', default: ''},
    chromium: {type: 'string'},
    dawn: {type: 'string', default: ''},
    json: {type: 'string'},
    bundle: {type: 'boolean', default: false},
  },
});

const PAGE_SCRIPT = 'capture_equality_page';
const EFFICIENTNET_B0 = 'test/fixtures/efficientnet_b0/model.json';
const plan: EqualityPlan = {
  predictions: Number(options.predictions),
  limits: {seconds: Number(options.seconds)},
  variants: options.variants.split(',').map((name): Variant => {
    if (name === 'stock' || name === 'fused') return name;
    throw new Error(`--variants takes stock and fused, not '${name}'.`);
  }),
};
const say = (line: string): void => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

type Row = EqualityRow | FailedRow;
const rows: Row[] = [];

async function onRow(row: Row): Promise<void> {
  rows.push(row);
  say(JSON.stringify(printable(row)));
  if ('error' in row) say(row.error);
  if (options.json !== undefined) await writeRows(options.json);
}

const keyOf = ({model, variant, products, place}: Row): string => [model, variant, products, place].join();

/** In one piece, so that whoever stops the program finds all rows until then. */
async function writeRows(file: string): Promise<void> {
  const known = existsSync(file) ? (JSON.parse(await readFile(file, 'utf8')) as {rows: Row[]}).rows : [];
  const fresh = new Set(rows.map(keyOf));
  const all = [...known.filter((row) => !fresh.has(keyOf(row))), ...rows];
  await writeFile(`${file}.part`, `${JSON.stringify({rows: all}, null, 1)}\n`);
  await rename(`${file}.part`, file);
}

async function inNode(models: readonly string[]): Promise<void> {
  const features = ['allow_unsafe_apis', ...(options.dawn ? [options.dawn] : [])];
  const webgpu = await useNodeWebGPU({flags: [`enable-dawn-features=${features.join()}`]});
  registerBlockKernels();
  const {vendor, architecture, description, isSoftware} = webgpu;
  const adapter = `${vendor} ${architecture} ${description}`.trim();
  const place = `Node ${process.versions.node}`;
  say(`${place}: ${adapter}${isSoftware ? ', a CPU rasteriser' : ''}`);
  expectAdapter(adapter, options.adapter);
  const reporter = {place, adapter, say, onRow};
  for (const name of models) await equalityRows(name, () => loadModel(name), {plan, reporter});
  webgpu.dispose();
}

async function main(): Promise<number> {
  if (options.bundle) {
    await bundlePage(PAGE_SCRIPT);
    return 0;
  }
  const named = [...positionals, ...(options.models?.split(',') ?? [])];
  const all = [...(await humanModels()), 'nsfwjs', EFFICIENTNET_B0, 'convnext_tiny'];
  const models = named.length > 0 ? named : all;
  const places = options.where.split(',');
  // Chromium first: Node's GPU must not be busy meanwhile.
  if (places.includes('chromium')) {
    await bundlePage(PAGE_SCRIPT);
    const task: PageTask = {models, plan, wantedAdapter: options.adapter};
    await runInChromium<Row>(
      {script: PAGE_SCRIPT, task, models},
      {load: loadArtifacts, command: options.chromium, say, onRow},
    );
  }
  if (places.includes('node')) await inNode(models);
  console.table(rows.map(printable));
  return rows.every(passes) ? 0 : 1;
}

process.exit(await main()); // Dawn's threads would keep the process alive.
