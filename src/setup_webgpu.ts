/** A WebGPU device of our own for TF.js: all of the adapter's limits, and the features the kernels can use. */
import * as tf from '@tensorflow/tfjs-core';
import {rememberAdapter} from '../kernels/webgpu/matrix_tiling.js';
import {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';

export interface SetupOptions {
  /** 'high-performance' unless given. */
  readonly powerPreference?: GPUPowerPreference;
  /** Features to ask for besides those below; one the adapter lacks is an error. */
  readonly features?: readonly string[];
}

export interface WebGPUSetup {
  readonly backend: WebGPUBackend;
  readonly adapter: GPUAdapterInfo;
  /** What the device was given. */
  readonly features: readonly string[];
}

/** Taken where the adapter has them, never required. TF.js's own device asks for the first two alone. */
const WANTED = [
  'timestamp-query',
  'bgra8unorm-storage',
  'shader-f16',
  'subgroups',
  'chromium-experimental-subgroup-matrix',
] as const;

/**
 * Replaces the `webgpu` backend of TF.js by one on a better device and makes it current. Tensors of the old one are lost, so
 * call it before loading models. In Node, call useNodeWebGPU first.
 * @throws where there is no WebGPU, no adapter, or a feature asked for is missing.
 */
export async function setupWebGPU(options: SetupOptions = {}): Promise<WebGPUSetup> {
  const gpu = (globalThis.navigator as {gpu?: GPU} | undefined)?.gpu;
  if (!gpu)
    throw new Error(
      'setupWebGPU: this environment has no navigator.gpu. In Node, call useNodeWebGPU() first; in a browser, enable WebGPU.',
    );
  const adapter = await gpu.requestAdapter({powerPreference: options.powerPreference ?? 'high-performance'});
  if (!adapter)
    throw new Error(
      'setupWebGPU: there is no WebGPU adapter. Enable hardware acceleration, or use another backend.',
    );
  const missing = (options.features ?? []).filter((feature) => !adapter.features.has(feature));
  if (missing.length > 0) {
    throw new Error(
      `setupWebGPU: the adapter (${adapter.info.vendor}) lacks ${missing.join(', ')}; it has ${[...adapter.features].join(', ')}.`,
    );
  }
  const features = [
    ...new Set<string>([
      ...WANTED.filter((feature) => adapter.features.has(feature)),
      ...(options.features ?? []),
    ]),
  ];
  const device = await adapter.requestDevice({
    requiredFeatures: features as GPUFeatureName[], // The experimental ones have no name in the types yet.
    requiredLimits: limitsOf(adapter),
  });
  rememberAdapter(device, adapter.info);
  const backend = new WebGPUBackend(device, adapter.info);
  if ((tf.findBackendFactory('webgpu') as unknown) != null) tf.removeBackend('webgpu');
  tf.registerBackend('webgpu', () => backend, 3);
  await tf.setBackend('webgpu');
  await tf.ready();
  return {backend, adapter: adapter.info, features};
}

/** Every limit at the adapter's best. The limits are getters of a prototype, so they cannot be spread. */
function limitsOf(adapter: GPUAdapter): Record<string, GPUSize64> {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(adapter.limits));
  const values = adapter.limits as unknown as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    names.flatMap((name) => (typeof values[name] === 'number' ? [[name, values[name]]] : [])),
  );
}
