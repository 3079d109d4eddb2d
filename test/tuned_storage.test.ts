/** Measurements in the browser's IndexedDB; Node has none, and is told so. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import {problemKey} from '../kernels/webgpu/choices.js';
import {tilingOf, tunedOf} from '../kernels/webgpu/index.js';
import {loadTuned, saveTuned} from '../src/index.js';
import {onBackend, useBackend} from './support/environment.js';

const URL = 'indexeddb://tuned-storage-test';

onBackend('webgpu', 'tuned plans in IndexedDB', () => {
  const device = (): GPUDevice => (tf.backend() as WebGPUBackend).device;
  afterEach(() => tunedOf(device()).clear());

  if (typeof indexedDB === 'undefined') {
    it('are refused where there is none', async () => {
      await expectAsync(saveTuned(URL)).toBeRejectedWithError(/has no IndexedDB/);
      const warn = spyOn(console, 'warn');
      expect((await loadTuned(URL)).kind).toBe('ignored');
      expect(warn).toHaveBeenCalledOnceWith(
        jasmine.stringMatching(/'indexeddb:.*' is ignored: .*no IndexedDB/),
      );
    });
  } else {
    it('come back as they were saved', async () => {
      const problem = {m: 64, n: 16, k: 8, canPart: true};
      const tile = {...tilingOf(device()).matmul(problem)};
      tunedOf(device()).setTile(problemKey('matmul', problem), {tile, microseconds: 5});
      const saved = tunedOf(device()).toJSON();
      await saveTuned(URL);
      tunedOf(device()).clear();
      expect(await loadTuned(URL)).toEqual({kind: 'loaded', tiles: 1, blocks: 0, refused: []});
      expect(tunedOf(device()).toJSON()).toEqual(saved);
    });

    it('are ignored with a warning where nothing was saved', async () => {
      const warn = spyOn(console, 'warn');
      expect((await loadTuned(`${URL}-nothing`)).kind).toBe('ignored');
      expect(warn).toHaveBeenCalledOnceWith(jasmine.stringMatching(/nothing of that name/));
    });
  }

  it('want a URL of the form indexeddb://NAME', async () => {
    await expectAsync(saveTuned('file.json' as typeof URL)).toBeRejectedWithError(
      /not of the form indexeddb/,
    );
  });

  it('belong to WebGPU: on another backend loading and saving say what to do', async () => {
    await useBackend('cpu');
    try {
      await expectAsync(loadTuned('{}')).toBeRejectedWithError(/current backend is 'cpu'.*setBackend/);
      await expectAsync(saveTuned(URL)).toBeRejectedWithError(/current backend is 'cpu'/);
    } finally {
      await useBackend('webgpu');
    }
  });
});
