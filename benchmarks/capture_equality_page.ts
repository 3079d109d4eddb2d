/** The page of capture_equality.ts: checks the models that the server names, and sends it each row as it comes out. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-webgpu';
import {registerBlockKernels} from '../src/register.js';
import {openModel} from './benchmark_model.js';
import {type EqualityPlan, equalityRows, expectAdapter} from './equality_table.js';

/** What the server asks for. */
export interface PageTask {
  readonly models: readonly string[];
  readonly plan: EqualityPlan;
  /** Empty for any. */
  readonly wantedAdapter: string;
}

/** The server gives a page up that is silent for longer. */
const HEARTBEAT_MS = 5000;

const post = async (path: string, body: unknown): Promise<void> => {
  await fetch(path, {method: 'POST', body: JSON.stringify(body)});
};

async function artifactsFrom(index: number): Promise<tf.io.ModelArtifacts> {
  const json = await fetch(`/model/${index}/json`);
  const weights = await fetch(`/model/${index}/weights`);
  if (!json.ok || !weights.ok) throw new Error(await (json.ok ? weights : json).text());
  return {...((await json.json()) as tf.io.ModelArtifacts), weightData: await weights.arrayBuffer()};
}

/** Half a second behind its start Chromium 156 has no adapter for a page yet, on Linux with an NVIDIA GPU, though it has one soon. */
async function adapterFound(): Promise<boolean> {
  for (let attempt = 0; attempt < 40; attempt++) {
    if (await navigator.gpu.requestAdapter()) return true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return false;
}

async function main(): Promise<void> {
  const {models, plan, wantedAdapter} = (await (await fetch('/task')).json()) as PageTask;
  if (!(await adapterFound())) throw new Error('Chromium has no WebGPU adapter.');
  if (!(await tf.setBackend('webgpu'))) throw new Error('The webgpu backend did not start.');
  registerBlockKernels();
  const adapter = await navigator.gpu.requestAdapter({powerPreference: 'high-performance'});
  const {vendor = '', architecture = '', description = ''} = adapter?.info ?? {};
  const place = /Chrome\/[\d]+/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent;
  const reporter = {
    ...{place, adapter: `${vendor} ${architecture} ${description}`.trim()},
    say: (line: string) => void post('/say', line),
    onRow: (row: unknown) => post('/row', row),
  };
  reporter.say(`${place}: ${reporter.adapter}${adapter?.info.isFallbackAdapter ? ', a CPU rasteriser' : ''}`);
  expectAdapter(reporter.adapter, wantedAdapter);
  for (const [index, name] of models.entries()) {
    const load = async () => openModel(name, await artifactsFrom(index));
    await equalityRows(name, load, {plan, reporter});
  }
  await post('/done', null);
}

setInterval(() => void post('/alive', null), HEARTBEAT_MS);
main().catch((error: unknown) => {
  void post('/error', error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error));
});
