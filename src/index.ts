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
  type ResNetOptions,
  separable,
  type SeparableOptions,
  type SeparableWeights,
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
export type {WarmupOptions} from './warmup.js';
export {setupWebGPU, type SetupOptions, type WebGPUSetup} from './setup_webgpu.js';
export const version = '0.1.0';
