/** The entry for Node: everything of the browser entry, and WebGPU on Dawn. */
export * from './index.js';
export {useNodeWebGPU, type NodeWebGPU, type NodeWebGPUOptions} from './node_webgpu.js';
