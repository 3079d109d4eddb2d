/**
 * Dawn's null backend, which has every feature, checks every shader and runs nothing; for processes of their own, since it needs another Dawn
 * than the tests.
 */
import {create, globals} from 'webgpu';
import type {Dispatch} from '../../kernels/plan.js';
import {keyOf, PipelineCache} from '../../kernels/webgpu/compile.js';

/** @param features names of features; the experimental ones have none in the types yet. */
export async function nullDevice(
  flags: readonly string[] = [],
  features: readonly string[] = [],
): Promise<GPUDevice> {
  Object.assign(globalThis, globals);
  const gpu = create(['backend=null', ...flags]);
  // Dawn ends when nothing refers to it any more, and takes its devices along.
  Object.assign(globalThis, {gpu});
  const adapter = await gpu.requestAdapter();
  const device = await adapter?.requestDevice({requiredFeatures: features as GPUFeatureName[]});
  if (!device) throw new Error('Dawn has no null backend.');
  return device;
}

/** Compiles the dispatches, each once, prints shaders, kernels and the first errors as JSON, and ends the process: with 1 on any error. */
export async function validate(device: GPUDevice, dispatches: Iterable<Dispatch>): Promise<never> {
  const cache = new PipelineCache(device);
  const distinct = new Map([...dispatches].map((dispatch) => [keyOf(dispatch), dispatch]));
  const kernels: Record<string, number> = {};
  const errors: string[] = [];
  for (const [key, dispatch] of distinct) {
    kernels[dispatch.kernel] = (kernels[dispatch.kernel] ?? 0) + 1;
    device.pushErrorScope('validation');
    cache.get(dispatch); // Not `prepare`: the null backend's threads now and then crash.
    const error = await device.popErrorScope();
    if (error) errors.push(`${error.message} ${key}`);
  }
  console.log(JSON.stringify({shaders: distinct.size, kernels, errors: errors.slice(0, 5)}));
  process.exit(errors.length > 0 ? 1 : 0);
}
