/** That a disposed capture is garbage. Node alone can be told to collect it. */
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';
import * as tf from '@tensorflow/tfjs-core';
import {capture} from '../../src/capture/index.js';
import {onBackend} from '../support/environment.js';

setFlagsFromString('--expose_gc');
const collect = runInNewContext('gc') as () => void;

onBackend('webgpu', 'capture, no longer referred to', () => {
  it('is collected, with its copies of the weights, although its device lives on', async () => {
    const weight = tf.tidy(() => tf.neg(tf.ones([8])));
    const values = new WeakRef(await disposedCapture(weight));
    for (let i = 0; i < 20 && values.deref(); i++) {
      await new Promise((resolve) => void setTimeout(resolve, 10));
      collect();
    }
    expect(values.deref()).toBeUndefined();
    weight.dispose();
  });
});

/** A function of its own, so that nothing of the capture stays on the stack. */
async function disposedCapture(weight: tf.Tensor): Promise<object> {
  const captured = await capture((x: tf.Tensor) => tf.mul(x, weight), {shape: [8], dtype: 'float32'});
  await captured.predictAsync(new Float32Array(8));
  captured.dispose();
  return captured;
}
