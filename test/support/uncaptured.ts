/** Predictions by TF.js alone, as captures are compared with. */
import * as tf from '@tensorflow/tfjs-core';
import type {GraphModel} from '@tensorflow/tfjs-converter';
import type {LayersModel} from '@tensorflow/tfjs-layers';
import {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {levelRun} from '../../src/capture/levels.js';
import {openSource, type Run} from '../../src/capture/source.js';

/** TF.js as it is; but where a graph reads the GPU synchronously, which works on a real canvas only, the values are awaited. */
export async function uncapturedRun(model: GraphModel | LayersModel, example: tf.Tensor): Promise<Run> {
  const {run, graph} = openSource(model);
  const access = new BackendAccess(tf.backend());
  return graph ? levelRun(access, graph, {feeds: graph.inputs, examples: [example]}) : run;
}

/** The outputs' values; `x` and all that comes of it are disposed. */
export async function uncaptured(run: Run, x: tf.Tensor): Promise<tf.TypedArray[]> {
  tf.engine().startScope('uncaptured');
  const returned = run([x]);
  const isAsync = returned instanceof Promise;
  if (!isAsync) tf.engine().endScope(returned.map(({tensor}) => tensor));
  const results = (await returned).map(({tensor}) => tensor);
  if (isAsync) tf.engine().endScope(results);
  const values = await valuesOf(results);
  x.dispose();
  return values;
}

/** Disposes the tensors. */
export async function valuesOf(tensors: readonly tf.Tensor[]): Promise<tf.TypedArray[]> {
  const values = await Promise.all(tensors.map((tensor) => tensor.data()));
  tf.dispose([...tensors]);
  return values;
}
