/**
 * The backends under test, the same list in Node and in a browser. In Node, node_setup.ts has made `navigator.gpu` before
 * this file is loaded; a browser has its own.
 */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-webgpu';

export const BACKENDS = ['cpu', 'webgpu'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** Makes `name` the current backend; fails, never skips, where it cannot start. */
export async function useBackend(name: BackendName): Promise<void> {
  // Small tensors would otherwise be computed on the CPU, and the test would pass without a shader.
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  if (!(await tf.setBackend(name))) throw new Error(`The ${name} backend did not start.`);
  await tf.ready();
}

/** Declares the suite once per backend; `name` is current in its specs. */
export function eachBackend(suite: string, define: (name: BackendName) => void): void {
  for (const name of BACKENDS) onBackend(name, suite, define);
}

/** Declares a suite that makes sense on one backend only. */
export function onBackend(name: BackendName, suite: string, define: (name: BackendName) => void): void {
  describe(`${suite} [${name}]`, () => {
    beforeAll(() => useBackend(name));
    define(name);
  });
}

/** One line about the device behind the webgpu backend, e.g. `google swiftshader: SwiftShader driver 5.0.0`. */
export async function adapterLine(): Promise<string> {
  const adapter = await navigator.gpu.requestAdapter({powerPreference: 'high-performance'});
  if (!adapter) return 'no WebGPU adapter';
  const {vendor, architecture, description} = adapter.info;
  return `${vendor} ${architecture}: ${description}`;
}
