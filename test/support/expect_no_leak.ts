import * as tf from '@tensorflow/tfjs-core';

/** Fails the spec if a second call of `run` leaves tensors or GPU bytes behind. The first may fill caches. */
export async function expectNoLeak(run: () => Promise<void> | void): Promise<void> {
  const {before, after} = await measureMemory(run);
  expect(after).withContext('memory after the run, against before').toEqual(before);
}

/** Memory before and after the second of two calls of `run`. */
export async function measureMemory(
  run: () => Promise<void> | void,
): Promise<{before: Memory; after: Memory}> {
  await run();
  const before = await memory();
  await run();
  return {before, after: await memory()};
}

export interface Memory {
  readonly numTensors: number;
  readonly numDataBuffers: number;
  /** In use, not counting the pool of freed buffers; undefined on backends without a GPU. */
  readonly numBytesInGPU: number | undefined;
}

async function memory(): Promise<Memory> {
  // On webgpu the buffers of dispatches that are not submitted yet still count as used; a read submits them.
  const probe = tf.tidy(() => tf.neg(tf.ones([1])));
  await probe.data();
  probe.dispose();
  const info = tf.memory();
  const inGPU = 'numBytesInGPU' in info ? Number(info.numBytesInGPU) : undefined;
  return {numTensors: info.numTensors, numDataBuffers: info.numDataBuffers, numBytesInGPU: inGPU};
}
