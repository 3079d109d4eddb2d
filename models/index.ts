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
export {blocksOf, countMacs, describe, type Description, type NetworkBlock} from './describe.js';
export {buildGraphModel, type BuildOptions, INPUT_NAME, OUTPUT_NAME} from './graph/build.js';
export type {Conventions, Layer, Network, Unit} from './network.js';
export {
  blobSource,
  type ByteSource,
  type Checkpoint,
  type CheckpointEntry,
  CheckpointError,
} from './checkpoint/checkpoint.js';
export {readKerasFile} from './checkpoint/keras_h5.js';
export {matchCheckpoint, type Matched, type MatchOptions} from './checkpoint/match.js';
export {openSafetensors} from './checkpoint/safetensors.js';
export {readSidecar, type Sidecar} from './checkpoint/sidecar.js';
export {openManifest, readArtifacts} from './checkpoint/tfjs_artifacts.js';
export type {Interpolation, ModelMetadata, Preprocessing} from './preprocessing.js';
export {packWeight, type PackedWeight, QUANTIZATIONS, type Quantization} from './quantize.js';
export {runNetwork} from './run.js';
export {randomWeights} from './random_weights.js';
export {type CheckpointTensor, countParameters, tensorsOf, type TensorSource} from './tensors.js';
