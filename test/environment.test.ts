import * as tf from '@tensorflow/tfjs-core';
import {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {adapterLine, eachBackend, onBackend, useBackend} from './support/environment.js';
import {expectClose, worstError} from './support/expect_close.js';
import {expectNoLeak, measureMemory} from './support/expect_no_leak.js';
import {seededTensors} from './support/random.js';

eachBackend('environment', (name) => {
  it('runs the backend it names', () => {
    expect(tf.getBackend()).toBe(name);
  });

  it('sees a tensor that is left behind', async () => {
    const kept: tf.Tensor[] = [];
    const {before, after} = await measureMemory(() => void kept.push(tf.tidy(() => tf.add(tf.ones([8]), 1))));
    expect(after.numTensors).toBe(before.numTensors + 1);
    if (name === 'webgpu') expect(after.numBytesInGPU).toBeGreaterThan(before.numBytesInGPU ?? Infinity);
    tf.dispose(kept);
  });
});

onBackend('webgpu', 'WebGPU device', () => {
  it('has a WebGPU device, and says which', async () => {
    expect(tf.backend()).toBeInstanceOf(WebGPUBackend);
    const line = await adapterLine();
    console.log(`WebGPU adapter: ${line}`);
    expect(line).not.toBe('no WebGPU adapter');
  });

  it('computes the conv2d that the CPU computes, and leaks nothing', async () => {
    const make = seededTensors(1);
    const [x, filter] = [make([2, 9, 7, 5]), make([3, 3, 5, 6])] as [tf.Tensor4D, tf.Tensor4D];
    await useBackend('cpu');
    const expected = tf.conv2d(x, filter, 2, 'same');
    const values = await expected.data();
    await useBackend('webgpu');
    await expectNoLeak(async () => {
      const actual = tf.conv2d(x, filter, 2, 'same');
      expect(actual.shape).toEqual(expected.shape);
      await expectClose(actual, values, {name: 'conv2d'});
      actual.dispose();
    });
    tf.dispose([x, filter, expected]);
  });
});

describe('worstError', () => {
  it('finds the worst element and the scale', () => {
    expect(worstError([1, 2.5, -4], [1, 2, -4])).toEqual({error: 0.5, index: 1, scale: 4});
  });

  it('takes an unexpected NaN or infinity for an infinite error, an expected one for none', () => {
    expect(worstError([NaN, 1], [0, 1]).error).toBe(Infinity);
    expect(worstError([0, Infinity], [0, 1]).error).toBe(Infinity);
    expect(worstError([NaN, -Infinity], [NaN, -Infinity]).error).toBe(0);
  });
});
