/** The entry for Node: everything of the browser entry, WebGPU on Dawn, and model files. */
export * from './index.js';
export {openCheckpoint} from '../models/node_checkpoint.js';
export {
  convertCheckpoint,
  type CheckpointOptions,
  type WrittenCheckpoint,
} from './node_convert_checkpoint.js';
export {readModel, writeModel} from './node_models.js';
export {readTuned, writeTuned} from './node_tuned.js';
export {useNodeWebGPU, type NodeWebGPU, type NodeWebGPUOptions} from './node_webgpu.js';
