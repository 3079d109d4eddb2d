/** Loaded by the browser runner before any spec, so that a suite which names no backend finds one, whatever the order. */
import * as tf from '@tensorflow/tfjs-core';
import {useBackend} from './environment.js';

beforeAll(async () => {
  await useBackend('webgpu');
  await tf.ready();
});
