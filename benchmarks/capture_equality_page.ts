/** The page of capture_equality.ts: checks the models that the server names, and sends it what comes out. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-webgpu';
import {registerBlockKernels} from '../src/register.js';
import {openModel} from './benchmark_model.js';
import {equalityRows, type EqualityRow, type Variant} from './equality_table.js';

/** What the server asks for. */
export interface PageTask {
  readonly models: readonly string[];
  readonly predictions: number;
  readonly variants: readonly Variant[];
}

const post = async (path: string, body: unknown): Promise<void> => {
  await fetch(path, {method: 'POST', body: JSON.stringify(body)});
};

async function artifactsFrom(index: number): Promise<tf.io.ModelArtifacts> {
  const json = (await (await fetch(`/model/${index}/json`)).json()) as tf.io.ModelArtifacts;
  const weights = await fetch(`/model/${index}/weights`);
  return {...json, weightData: await weights.arrayBuffer()};
}

async function main(): Promise<void> {
  const {models, predictions, variants} = (await (await fetch('/task')).json()) as PageTask;
  if (!(await tf.setBackend('webgpu'))) throw new Error('The webgpu backend did not start.');
  registerBlockKernels();
  const adapter = await navigator.gpu.requestAdapter({powerPreference: 'high-performance'});
  const {vendor, architecture, description, isFallbackAdapter} =
    adapter?.info ?? ({} as Partial<GPUAdapterInfo>);
  await post('/adapter', {vendor, architecture, description, isSoftware: isFallbackAdapter});
  const place = /Chrome\/[\d]+/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent;
  const rows: EqualityRow[] = [];
  for (const [index, name] of models.entries()) {
    const loaded = await openModel(name, await artifactsFrom(index));
    rows.push(
      ...(await equalityRows(loaded, {predictions, variants, place, say: (line) => void post('/say', line)})),
    );
  }
  await post('/rows', rows);
}

main().catch((error: unknown) => {
  void post('/error', error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error));
});
