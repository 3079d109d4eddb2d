/** What the capture must know of the backend and of shaders before it can record. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {parseBindings} from '../../kernels/webgpu/observed_device.js';
import {isKnownBackend, missingFields} from '../../kernels/webgpu/backend_access.js';
import {type Block, runBlock, traceBlock} from '../../ops/index.js';
import {spatialStage} from '../../ops/stages/make.js';
import {capture} from '../../src/capture/index.js';
import {registerBlockKernels} from '../../src/register.js';
import {onBackend} from '../support/environment.js';
import {seededTensors} from '../support/random.js';

const CONVOLUTION = {kernel: 3, stride: 1, channels: 4};

describe('bindings of a WGSL text', () => {
  it('tells what is written, in whatever order attributes stand', () => {
    const bindings = parseBindings(`
      @group(0) @binding(0) var<storage, read_write> result: array<vec4<f32>>;
      @binding(1) @group(0) var<storage, read> x: array<f32>;
      @group(0) @binding(2)
      var<uniform> uniforms : Uniforms;
      @group(1) @binding( 0 ) var<storage,read_write> sums: array<atomic<i32>>;
      @group(1) @binding(1) var<storage> y: array<f32>;
      @group(1) @binding(2) var image: texture_2d<f32>;
      // @group(2) @binding(0) var<storage, read_write> comment: array<f32>;
      /* @group(2) @binding(1) var<storage, read_write> another: array<f32>; */
      var<workgroup> tile: array<f32, 64>;
      const name: u32 = 1u;`);
    expect([...(bindings.get(0) ?? [])]).toEqual([
      [0, 'write'],
      [1, 'read'],
      [2, 'read'],
    ]);
    expect([...(bindings.get(1) ?? [])]).toEqual([
      [0, 'write'],
      [1, 'read'],
      [2, 'read'],
    ]);
    expect(bindings.get(2)).toBeUndefined();
  });
});

onBackend('webgpu', 'access to the backend', () => {
  it('finds all private fields, and names each that is not there', () => {
    const backend = tf.backend();
    expect(missingFields(backend)).toEqual([]);
    expect(isKnownBackend(backend)).toBeTrue();
    const looked: string[] = [];
    const watching = new Proxy(backend, {
      get: (target, name) => {
        looked.push(String(name));
        return Reflect.get(target, name) as unknown;
      },
    });
    missingFields(watching);
    const names = new Set(looked);
    expect(names.size).toBeGreaterThan(15);
    for (const name of names) {
      const without = new Proxy(backend, {
        get: (target, asked) => (asked === name ? undefined : (Reflect.get(target, asked) as unknown)),
      });
      expect(missingFields(without)).withContext(name).toContain(name);
      expect(isKnownBackend(without)).withContext(name).toBeFalse();
    }
  });

  it('runs plainly where one is missing', async () => {
    const restore = await withoutEncoder();
    const captured = await capture((x: tf.Tensor) => tf.square(x), {shape: [2], dtype: 'float32'}).finally(
      restore,
    );
    expect(captured.mode).toBe('plain');
    expect(captured.reason).toContain('commandEncoder');
    expect([...((await captured.predictAsync(new Float32Array([2, 3])))[0] ?? [])]).toEqual([4, 9]);
    captured.dispose();
  });

  it('runs a block as its reference where one is missing', async () => {
    registerBlockKernels();
    const block: Block = {kind: 'BlockConv', stages: [spatialStage('spatial', {...CONVOLUTION, group: 3})]};
    const make = seededTensors(2);
    const x = make([1, 6, 6, 3]);
    const entries = traceBlock(block, [1, 6, 6, 3]).weights.map(
      ({name, shape}) => [name, make(shape)] as const,
    );
    const weights = Object.fromEntries(entries);
    const ran = spyOn(tf.backend() as WebGPUBackend, 'runWebGPUProgram').and.callThrough();
    const run = (): tf.Tensor => runBlock(block, x, weights);
    const fused = run();
    expect(ran).not.toHaveBeenCalled();
    const restore = await withoutEncoder();
    // Nothing may be encoded while the field is gone, so the first program ends the run.
    ran.and.throwError('a program of TF.js');
    expect(run).toThrowError('a program of TF.js');
    restore();
    tf.dispose([x, weights, fused]);
  });
});

/** Takes one of the private fields away; what it returns puts it back. */
async function withoutEncoder(): Promise<() => void> {
  // Submits what was recorded earlier, so that no encoder is open.
  const flushed = tf.tidy(() => tf.square(tf.ones([1])));
  await flushed.data();
  flushed.dispose();
  const backend = tf.backend() as unknown as {commandEncoder?: unknown};
  const own = Object.getOwnPropertyDescriptor(backend, 'commandEncoder') as PropertyDescriptor;
  delete backend.commandEncoder;
  // The backend may have begun another encoder by then; what was recorded there must not be lost.
  return () =>
    Object.defineProperty(backend, 'commandEncoder', {
      ...own,
      value: backend.commandEncoder ?? (own.value as unknown),
    });
}

onBackend('cpu', 'capture on another backend', () => {
  it('runs plainly, and says so', async () => {
    const captured = await capture((x: tf.Tensor) => tf.square(x), {shape: [2], dtype: 'float32'});
    expect(captured.mode).toBe('plain');
    expect(captured.reason).toContain("'cpu' is not the WebGPU backend");
    const [values] = await captured.predictAsync(new Float32Array([2, 3]));
    expect([...(values ?? [])]).toEqual([4, 9]);
    captured.dispose();
  });
});
