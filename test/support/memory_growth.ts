/** What grows on the GPU and in TF.js from one moment to another. */
import * as tf from '@tensorflow/tfjs-core';
import {MethodHooks} from '../../src/capture/method_hooks.js';

export interface Growth {
  readonly tensors: number;
  /** In use by TF.js. */
  readonly bytes: number;
  /** GPUBuffers made and not destroyed, those of TF.js's pool included, and their bytes. */
  readonly buffers: number;
  readonly bufferBytes: number;
}

export interface GrowthWatch {
  /** Growth is counted from here. */
  restart(): Promise<void>;
  growth(): Promise<Growth>;
  /** Buffers that are made until `run` returns are not counted, as far as it makes them before it waits for the GPU. */
  without<Result>(run: () => Promise<Result>): Promise<Result>;
  stop(): void;
}

/** Hooks `device` until it is stopped. */
export function watchGrowth(device: GPUDevice): GrowthWatch {
  const hooks = new MethodHooks();
  let isCounting = true;
  let [buffers, bufferBytes] = [0, 0];
  let before = {tensors: 0, bytes: 0};
  const count = (sign: 1 | -1, bytes: number): void => {
    buffers += sign;
    bufferBytes += sign * bytes;
  };
  hooks.replace(device, 'createBuffer', (create) => (descriptor) => {
    const buffer = create(descriptor);
    if (!isCounting) return buffer;
    count(1, descriptor.size);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      count(-1, descriptor.size);
      buffer.destroy = destroy;
      destroy();
    };
    return buffer;
  });
  return {
    restart: async () => {
      before = await memoryInUse();
      [buffers, bufferBytes] = [0, 0];
    },
    growth: async () => {
      const after = await memoryInUse();
      return {
        tensors: after.tensors - before.tensors,
        bytes: after.bytes - before.bytes,
        buffers,
        bufferBytes,
      };
    },
    without: async (run) => {
      isCounting = false;
      try {
        return await run();
      } finally {
        isCounting = true;
      }
    },
    stop: () => hooks.remove(),
  };
}

async function memoryInUse(): Promise<{tensors: number; bytes: number}> {
  // Buffers of dispatches that are not submitted yet count as used; a read submits them.
  const probe = tf.tidy(() => tf.neg(tf.ones([1])));
  await probe.data();
  probe.dispose();
  const info = tf.memory();
  return {
    tensors: info.numTensors,
    bytes: 'numBytesInGPU' in info ? Number(info.numBytesInGPU) : 0,
  };
}
