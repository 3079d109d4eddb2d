/** Loaded by the Node runner before any spec: TF.js decides at import whether the webgpu backend exists. */
import {useNodeWebGPU} from '../../src/node_webgpu.js';

const webgpu = await useNodeWebGPU();
afterAll(() => webgpu.dispose());
