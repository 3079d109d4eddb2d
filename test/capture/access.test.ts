/** What the capture must know of the backend and of shaders before it can record. */
import * as tf from '@tensorflow/tfjs-core';
import {parseBindings} from '../../kernels/webgpu/observed_device.js';
import {missingFields} from '../../kernels/webgpu/backend_access.js';
import {capture} from '../../src/capture/index.js';
import {onBackend} from '../support/environment.js';

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
    }
  });

  it('runs plainly where one is missing', async () => {
    // Submits what earlier specs recorded, so that no encoder is open.
    const flushed = tf.tidy(() => tf.square(tf.ones([1])));
    await flushed.data();
    flushed.dispose();
    const backend = tf.backend() as unknown as {commandEncoder?: unknown};
    const own = Object.getOwnPropertyDescriptor(backend, 'commandEncoder') as PropertyDescriptor;
    delete backend.commandEncoder;
    // The backend may have begun another encoder by then; what was recorded there must not be lost.
    const restore = (): unknown =>
      Object.defineProperty(backend, 'commandEncoder', {
        ...own,
        value: backend.commandEncoder ?? (own.value as unknown),
      });
    const captured = await capture((x: tf.Tensor) => tf.square(x), {shape: [2], dtype: 'float32'}).finally(
      restore,
    );
    expect(captured.mode).toBe('plain');
    expect(captured.reason).toContain('commandEncoder');
    expect([...((await captured.predictAsync(new Float32Array([2, 3])))[0] ?? [])]).toEqual([4, 9]);
    captured.dispose();
  });
});

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
