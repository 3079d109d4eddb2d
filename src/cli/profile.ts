/** `block-fusion profile`: times a model op by op and with its blocks fused, on the best adapter of this machine. */
import {basename, resolve} from 'node:path';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import {type LayersModel, loadLayersModel} from '@tensorflow/tfjs-layers';
import {fuse} from '../fuse.js';
import {readModel} from '../node_models.js';
import {useNodeWebGPU} from '../node_webgpu.js';
import {
  compare,
  type Comparison,
  comparisonText,
  opsCSV,
  reportPage,
  seededInputs,
  traceOf,
} from '../profile/index.js';
import {type Command, print, progress, UsageError} from './command.js';
import {showProgress} from './progress.js';
import {parseShapes} from './shapes.js';
import {needFolder, writeWhole} from './write_file.js';

/** Dawn rounds timestamps to 65.5 µs otherwise, longer than most ops on a GPU. */
const FLAGS = ['disable-dawn-features=timestamp_quantization'];

const OPTIONS = {
  batch: {type: 'string', default: '1'},
  shape: {type: 'string', multiple: true},
  repeats: {type: 'string'},
  warmup: {type: 'string'},
  report: {type: 'string'},
  trace: {type: 'string'},
  csv: {type: 'string'},
  json: {type: 'boolean', default: false},
} as const;

export const profile: Command = {
  name: 'profile',
  usage: 'MODEL [--batch N] [--report out.html] [--trace out.json] [--csv out.csv] [--json]',
  summary: 'Times a model op by op and fused, block by block, and compares the results.',
  details: [
    'MODEL is a model.json (graph model or layers model) or the folder it is in. Inputs are seeded random numbers.',
    '--batch N    size of the first axis, where the model leaves it open; 1 unless given',
    '--shape NAME=1,224,224,3   the whole shape of an input; may be given more than once',
    '--repeats N, --warmup N    counted runs, and runs before them; 10 and 2 unless given, 1 and 1 on a software adapter',
    '--report     one self-contained HTML page: timelines, waterline, efficiency gap, tables',
    '--trace      the timelines for ui.perfetto.dev or chrome://tracing',
    '--csv        a line per op of both models',
    '--json       everything as JSON on stdout, instead of the table',
  ],
  async run(args) {
    const {values, positionals} = parseArgs({args: [...args], allowPositionals: true, options: OPTIONS});
    const [path, ...extra] = positionals;
    if (path === undefined || extra.length > 0) throw new UsageError('profile takes one MODEL.');
    const runs = {
      ...(values.repeats === undefined ? {} : {repeats: wholeNumber('--repeats', values.repeats, 1)}),
      ...(values.warmup === undefined ? {} : {warmup: wholeNumber('--warmup', values.warmup, 0)}),
    };
    const inputs = {batch: wholeNumber('--batch', values.batch, 1), shapes: parseShapes(values.shape ?? [])};
    for (const file of [values.report, values.trace, values.csv])
      if (file !== undefined) await needFolder(file);
    progress(`reading ${path}`);
    const artifacts = await readModel(path);
    const adapter = await useNodeWebGPU({flags: FLAGS});
    try {
      progress(`on ${adapter.vendor} ${adapter.architecture}: ${adapter.description}`);
      const comparison = await measure(artifacts, nameOf(path), inputs, runs);
      await writeOutputs(comparison, values);
      print(values.json ? JSON.stringify(comparison, spellInfinity, 2) : comparisonText(comparison));
    } finally {
      adapter.dispose();
    }
  },
};

/** `efficientnet` for both efficientnet.json and efficientnet/model.json. */
function nameOf(path: string): string {
  const file = resolve(path.replace(/(^|[/\\])model\.json$/, '$1'));
  return basename(file, '.json');
}

function wholeNumber(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new UsageError(`${flag} ${text} is no whole number of at least ${least}.`);
}

async function measure(
  artifacts: tf.io.ModelArtifacts,
  name: string,
  inputs: Parameters<typeof seededInputs>[1],
  runs: {readonly repeats?: number; readonly warmup?: number},
): Promise<Comparison> {
  const model = await load(artifacts);
  const fused = await fuse(model);
  const feeds = await seededInputs(model, inputs);
  progress(`${fused.report.blocks.length} blocks fused`);
  const {onProgress, end} = showProgress('profiling');
  try {
    return await compare(model, fused, feeds, {...runs, name, onProgress});
  } finally {
    end();
    tf.dispose(feeds);
    fused.dispose();
    model.dispose();
  }
}

/** By content: converters leave `format` out now and then. */
async function load(artifacts: tf.io.ModelArtifacts): Promise<GraphModel | LayersModel> {
  const {format, modelTopology: topology} = artifacts;
  const isLayers = typeof topology === 'object' && ('model_config' in topology || 'class_name' in topology);
  const source = tf.io.fromMemory(artifacts);
  return isLayers && format !== 'graph-model' ? loadLayersModel(source) : loadGraphModel(source);
}

interface Outputs {
  readonly report?: string | undefined;
  readonly trace?: string | undefined;
  readonly csv?: string | undefined;
}

async function writeOutputs(comparison: Comparison, {report, trace, csv}: Outputs): Promise<void> {
  const {model, before, after} = comparison;
  const profiles = [before, after];
  if (report !== undefined)
    await writeWhole(report, reportPage({title: `Profile of ${model}`, comparisons: [comparison]}));
  if (trace !== undefined) await writeWhole(trace, JSON.stringify(traceOf(profiles)));
  if (csv !== undefined) await writeWhole(csv, opsCSV(profiles));
}

/** JSON has no infinity; an infinite difference must not read as an unknown one. */
const spellInfinity = (_key: string, value: unknown): unknown => (value === Infinity ? 'Infinity' : value);
