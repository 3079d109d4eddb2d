/** Loaded by the Node runner before any spec: TF.js decides at import whether the webgpu backend exists. */
import {readFile} from 'node:fs/promises';
import {readFilesWith} from './model_files.js';
import {useNodeWebGPU} from '../../src/node_webgpu.js';

// Zeroing workgroup memory takes SwiftShader's compiler a second a pipeline, and no kernel may rely on it.
const webgpu = await useNodeWebGPU({
  flags: ['enable-dawn-features=disable_workgroup_init'],
  halfPrecision: true,
});
afterAll(() => webgpu.dispose());

readFilesWith(async (path) => {
  const {buffer, byteOffset, byteLength} = await readFile(path);
  return buffer.slice(byteOffset, byteOffset + byteLength); // readFile never shares memory
});
