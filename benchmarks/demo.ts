/**
 * `npm run demo`: two trained models on a photograph, op by op and with their blocks fused, on the best adapter present.
 * Tables on stdout, progress on stderr, and report.html and report.trace.json in the current folder.
 */
import {writeFile} from 'node:fs/promises';
import type * as tf from '@tensorflow/tfjs-core';
import {showProgress} from '../src/cli/progress.js';
import {fuse, useNodeWebGPU} from '../src/node.js';
import {
  compare,
  type CompareOptions,
  type Comparison,
  comparisonText,
  measurePeaks,
  type ProfiledModel,
  reportPage,
  traceOf,
} from '../src/profile/index.js';
import {
  type Detection,
  loadCenterNet,
  loadMobileNetV2,
  loadPhoto,
  NSFW_CLASSES,
  readDetections,
} from './demo_models.js';

/** Dawn rounds timestamps to 65.5 µs otherwise, which is longer than most ops on a GPU. */
const FLAGS = ['disable-dawn-features=timestamp_quantization'];
const DETECTIONS = 'tower_0/detections';

const say = (text: string): void => void process.stderr.write(`${text}\n`);

interface Demo {
  readonly name: string;
  readonly load: () => Promise<ProfiledModel & Parameters<typeof fuse>[0]>;
  readonly input: () => Promise<tf.Tensor>;
  readonly options?: CompareOptions;
}

const detections = new Map<'before' | 'after', readonly Detection[]>();

const DEMOS: readonly Demo[] = [
  {
    name: 'MobileNetV2 (nsfwjs, 224×224)',
    load: loadMobileNetV2,
    input: () => loadPhoto(224, 1),
    options: {classNames: NSFW_CLASSES},
  },
  {
    name: 'CenterNet on MobileNetV3 (human, 512×512)',
    load: loadCenterNet,
    input: () => loadPhoto(512, 255),
    options: {
      readOutputs: async (outputs) => {
        for (const side of ['before', 'after'] as const) {
          const found = outputs[side].find(({shape}) => shape.join() === '1,100,6');
          if (found) detections.set(side, await readDetections(found, 5));
        }
      },
    },
  },
];

async function run(demo: Demo, options: CompareOptions): Promise<Comparison> {
  say(`\n${demo.name}: loading and fusing`);
  const model = await demo.load();
  const fused = await fuse(model);
  const x = await demo.input();
  const {blocks, nodes} = fused.report;
  say(`${blocks.length} blocks fused, ${nodes.before} → ${nodes.after} nodes`);
  const {onProgress, end} = showProgress(demo.name);
  try {
    return await compare(model, fused, x, {...options, ...demo.options, name: demo.name, onProgress});
  } finally {
    end();
    x.dispose();
    fused.dispose();
    model.dispose();
  }
}

function detectionText(): string {
  const [before = [], after = []] = [detections.get('before'), detections.get('after')];
  const line = ({label, score, box}: Detection): string =>
    `${label} ${score.toFixed(4)} at [${box.map((value) => value.toFixed(0)).join(', ')}]`;
  const lines = before.map((found, i) => {
    const other = after[i];
    return `  ${line(found)}  |  ${other ? line(other) : '–'}`;
  });
  return [`${DETECTIONS}, the best of each: op by op  |  fused`, ...lines].join('\n');
}

async function main(): Promise<void> {
  const start = performance.now();
  const adapter = await useNodeWebGPU({flags: FLAGS});
  try {
    say(`adapter: ${adapter.vendor} ${adapter.architecture}: ${adapter.description}`);
    if (adapter.isSoftware) {
      say(
        'This is a software rasteriser on the CPU. Expect minutes, not seconds; the times say nothing about a GPU.',
      );
    }
    const peaks = await measurePeaks();
    // A rasteriser needs 20 s for a run of the larger model, so there each number is of one run.
    const options = {peaks, ...(adapter.isSoftware ? {repeats: 1, warmup: 0} : {repeats: 20, warmup: 3})};
    const comparisons: Comparison[] = [];
    for (const demo of DEMOS) {
      const comparison = await run(demo, options);
      comparisons.push(comparison);
      console.log(`\n${comparisonText(comparison)}`);
    }
    console.log(`\n${detectionText()}`);
    await writeResults(comparisons);
    say(
      `\nreport.html and report.trace.json written; ${((performance.now() - start) / 1000).toFixed(0)} s in all`,
    );
  } finally {
    adapter.dispose();
  }
}

async function writeResults(comparisons: readonly Comparison[]): Promise<void> {
  const subtitle = 'Trained models from npm (nsfwjs, @vladmandic/human) on a photograph, op by op and fused';
  await writeFile('report.html', reportPage({title: 'tfjs-block-fusion', subtitle, comparisons}));
  const trace = traceOf(comparisons.flatMap(({before, after}) => [before, after]));
  await writeFile('report.trace.json', JSON.stringify(trace));
}

await main();
