/** The page of capture_equality.ts: checks the models that the server names, and sends it each row as it comes out. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-webgpu';
import {registerBlockKernels} from '../src/register.js';
import {openModel} from './benchmark_model.js';
import {type EqualityPlan, equalityRows, expectAdapter} from './equality_table.js';
import {artifactsFrom, placeOf, post, runPage} from './page.js';

/** What the server asks for. */
export interface PageTask {
  readonly models: readonly string[];
  readonly plan: EqualityPlan;
  /** Empty for any. */
  readonly wantedAdapter: string;
}

runPage(async (task) => {
  const {models, plan, wantedAdapter} = task as PageTask; // capture_equality.ts sends no other.
  if (!(await tf.setBackend('webgpu'))) throw new Error('The webgpu backend did not start.');
  registerBlockKernels();
  const {place, adapter, isSoftware} = await placeOf();
  const reporter = {
    ...{place, adapter},
    say: (line: string) => void post('/say', line),
    onRow: (row: unknown) => post('/row', row),
  };
  reporter.say(`${place}: ${adapter}${isSoftware ? ', a CPU rasteriser' : ''}`);
  expectAdapter(adapter, wantedAdapter);
  for (const [index, name] of models.entries()) {
    const load = async () => openModel(name, await artifactsFrom(index));
    await equalityRows(name, load, {plan, reporter});
  }
});
