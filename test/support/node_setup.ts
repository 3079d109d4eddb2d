/** Loaded by the Node runner before any spec: TF.js decides at import whether the webgpu backend exists. */
import {useNodeWebGPU} from '../../src/node_webgpu.js';

// Zeroing workgroup memory takes SwiftShader's compiler a second a pipeline, and no kernel may rely on it.
const webgpu = await useNodeWebGPU({flags: ['enable-dawn-features=disable_workgroup_init']});
afterAll(() => webgpu.dispose());
