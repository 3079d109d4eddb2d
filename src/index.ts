/** Public surface of the plugin. What is not exported here is internal. */
export {
  type BasicWeights,
  basicBlock,
  BlockError,
  type BottleneckWeights,
  bottleneckBlock,
  conv,
  type ConvOptions,
  type ConvWeights,
  convFirst,
  type ConvFirstOptions,
  type ConvFirstWeights,
  convNext,
  type ConvNeXtOptions,
  type ConvNeXtWeights,
  feedForward,
  type FeedForwardOptions,
  type FeedForwardWeights,
  fusedMBConv,
  type FusedMBConvOptions,
  type FusedMBConvWeights,
  head,
  type HeadOptions,
  type HeadWeights,
  layerNorm,
  type LayerNormOptions,
  type LayerNormWeights,
  mbConv,
  type MBConvOptions,
  type MBConvWeights,
  type Precision,
  type ResNetOptions,
  separable,
  type SeparableOptions,
  type SeparableWeights,
  type ShuffleOptions,
  shuffleUnit,
  type ShuffleWeights,
  squeezeExcite,
  type SqueezeExciteOptions,
  type SqueezeExciteWeights,
  type UIBOptions,
  type UIBWeights,
  universalInvertedBottleneck,
} from '../ops/index.js';
export * from './capture/index.js';
export {type Class, classify, type Classifier} from './classify.js';
export {convert, type ConvertOptions, type Converted} from './convert/convert.js';
export {fuse, type FuseOptions} from './fuse.js';
export {FusedModel} from './fused_model.js';
export {type BlockReport, type Miss, ModelError, Report, type ReportData} from './graph/index.js';
export {type ImageBytes, type ImageLike, prepareImage} from './prepare_image.js';
export * from './profile/index.js';
export {registerBlockKernels} from './register.js';
export type {DeviceModel} from '../kernels/webgpu/device_model.js';
export type {BlockPlan, DispatchPlan} from '../kernels/webgpu/explain.js';
export type {LoadOutcome, TunedData, TunedPlans} from '../kernels/webgpu/tuned.js';
export type {ExplainModelOptions} from './tune/explain_model.js';
export type {ExplainedBlock, Explanation, ExplanationData} from './tune/explanation.js';
export {loadTuned, saveTuned} from './tune/store.js';
export type {TuneOptions, TuneReport} from './tune/tune.js';
export type {WarmupOptions} from './warmup.js';
export {setupWebGPU, type SetupOptions, type WebGPUSetup} from './setup_webgpu.js';
export {VERSION as version} from '../kernels/version.js';
