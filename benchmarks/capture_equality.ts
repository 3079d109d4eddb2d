/**
 * Captured predictions against uncaptured ones, bit by bit, over changing inputs; and that neither tensors nor GPU bytes grow.
 *
 *   node dist/benchmarks/capture_equality.js [MODEL…] [--predictions=1000] [--variants=stock,fused] [--where=node,chromium]
 *     [--chromium=COMMAND] [--dawn=FEATURES] [--json=FILE] [--bundle]
 *
 * MODEL as in capture.js; without any: all of npm @vladmandic/human, nsfwjs, EfficientNet-B0, ConvNeXt-T. COMMAND starts a headless
 * Chromium with WebGPU when an URL follows; without it the installed Chromium runs on SwiftShader. `--bundle` only writes the page's
 * script, for a machine without esbuild. FEATURES are Dawn's, for Node: disable_workgroup_init makes SwiftShader start sooner.
 * The exit code is 1 where a prediction differs or something grows.
 */
import {writeFile} from 'node:fs/promises';
import {parseArgs} from 'node:util';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {registerBlockKernels} from '../src/register.js';
import {humanModels, loadArtifacts, loadModel} from './capture_models.js';
import {bundlePage, runInChromium} from './chromium_page.js';
import {equalityRows, type EqualityRow, passes, printable, type Variant} from './equality_table.js';

const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    predictions: {type: 'string', default: '1000'},
    variants: {type: 'string', default: 'stock,fused'},
    where: {type: 'string', default: 'node,chromium'},
    chromium: {type: 'string'},
    dawn: {type: 'string', default: ''},
    json: {type: 'string'},
    bundle: {type: 'boolean', default: false},
  },
});

const EFFICIENTNET_B0 = 'test/fixtures/efficientnet_b0/model.json';
const variants = options.variants.split(',').map((name): Variant => {
  if (name === 'stock' || name === 'fused') return name;
  throw new Error(`--variants takes stock and fused, not '${name}'.`);
});
const predictions = Number(options.predictions);
const say = (line: string): void => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

async function inNode(models: readonly string[]): Promise<EqualityRow[]> {
  const features = ['allow_unsafe_apis', ...(options.dawn ? [options.dawn] : [])];
  const webgpu = await useNodeWebGPU({flags: [`enable-dawn-features=${features.join()}`]});
  registerBlockKernels();
  say(`Node: ${webgpu.vendor} ${webgpu.architecture} ${webgpu.description}`);
  const rows: EqualityRow[] = [];
  const plan = {predictions, variants, place: `Node ${process.versions.node}`, say};
  for (const name of models) rows.push(...(await equalityRows(await loadModel(name), plan)));
  webgpu.dispose();
  return rows;
}

async function inChromium(models: readonly string[]): Promise<EqualityRow[]> {
  await bundlePage();
  const task = {models, predictions, variants};
  return runInChromium(task, {load: loadArtifacts, command: options.chromium, say});
}

async function main(): Promise<number> {
  if (options.bundle) {
    await bundlePage();
    return 0;
  }
  const models =
    positionals.length > 0
      ? positionals
      : [...(await humanModels()), 'nsfwjs', EFFICIENTNET_B0, 'convnext_tiny'];
  const rows: EqualityRow[] = [];
  const places = options.where.split(',');
  // Chromium first: Node's GPU must not be busy meanwhile.
  if (places.includes('chromium')) rows.push(...(await inChromium(models)));
  if (places.includes('node')) rows.push(...(await inNode(models)));
  if (options.json !== undefined)
    await writeFile(options.json, `${JSON.stringify({predictions, rows}, null, 1)}\n`);
  console.table(rows.map(printable));
  return rows.every(passes) ? 0 : 1;
}

process.exit(await main()); // Dawn's threads would keep the process alive.
