/** Public surface of `tfjs-block-fusion/models`: architectures as data, and standard graph models from them. */
export {
  type Architecture,
  ARCHITECTURES,
  ArchitectureError,
  findArchitecture,
  IMAGENET_CLASSES,
  makeNetwork,
  type Source,
  type SourceName,
} from './architectures.js';
export {countMacs, describe, type Description} from './describe.js';
export {buildGraphModel, type BuildOptions, INPUT_NAME, OUTPUT_NAME} from './graph/build.js';
export type {Conventions, Layer, Network, Unit} from './network.js';
export type {Preprocessing} from './preprocessing.js';
export {randomWeights} from './random_weights.js';
export {type CheckpointTensor, countParameters, tensorsOf, type TensorSource} from './tensors.js';
