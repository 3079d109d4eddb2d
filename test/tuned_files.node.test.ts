/** Tuned files in Node: whole or not at all, and a bad one is only warned of. */
import {mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import {problemKey} from '../kernels/webgpu/choices.js';
import {tilingOf, tunedOf} from '../kernels/webgpu/index.js';
import {version} from '../src/index.js';
import {readTuned, writeTuned} from '../src/node.js';
import {onBackend} from './support/environment.js';

onBackend('webgpu', 'tuned files', () => {
  const device = (): GPUDevice => (tf.backend() as WebGPUBackend).device;
  const problem = {m: 64, n: 16, k: 8, canPart: true};
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tuned-'));
    const tile = {...tilingOf(device()).matmul(problem)};
    tunedOf(device()).setTile(problemKey('matmul', problem), {tile, microseconds: 5});
  });
  afterEach(async () => {
    tunedOf(device()).clear();
    await rm(folder, {recursive: true});
  });

  it('come back as they were written, with adapter and version, and nothing else is left in the folder', async () => {
    const file = join(folder, 'tuned.json');
    await writeTuned(file);
    const saved = tunedOf(device()).toJSON();
    expect(await readdir(folder)).toEqual(['tuned.json']);
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(saved)));
    expect(saved.packageVersion).toBe(version);
    expect(saved.adapter.vendor).toBe('google'); // SwiftShader's
    tunedOf(device()).clear();
    expect((await readTuned(file)).kind).toBe('loaded');
    expect(tunedOf(device()).toJSON()).toEqual(saved);
  });

  it('are ignored with one warning where they are cut short or missing', async () => {
    const file = join(folder, 'tuned.json');
    await writeTuned(file);
    tunedOf(device()).clear();
    const warn = spyOn(console, 'warn');
    await writeFile(file, (await readFile(file, 'utf8')).slice(0, 100));
    expect((await readTuned(file)).kind).toBe('ignored');
    expect(warn).toHaveBeenCalledOnceWith(jasmine.stringMatching(/ignored: it is not JSON/));
    warn.calls.reset();
    expect((await readTuned(join(folder, 'none.json'))).kind).toBe('ignored');
    expect(warn).toHaveBeenCalledOnceWith(jasmine.stringMatching(/none\.json' cannot be read/));
    expect(tunedOf(device()).size).toBe(0);
  });

  it('have the version of the package', async () => {
    const {version: own} = JSON.parse(await readFile('package.json', 'utf8')) as {version: string};
    expect(version).toBe(own);
  });

  it('say where they cannot be written', async () => {
    await expectAsync(writeTuned(join(folder, 'none', 'tuned.json'))).toBeRejectedWithError(
      /existing folder/,
    );
  });
});
