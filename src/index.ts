/** Public surface of the plugin. What is not exported here is internal. */
export {type Class, classify, type Classifier} from './classify.js';
export {convert, type ConvertOptions, type Converted} from './convert/convert.js';
export {fuse, type FuseOptions} from './fuse.js';
export {FusedModel} from './fused_model.js';
export {type BlockReport, type Miss, ModelError, Report, type ReportData} from './graph/index.js';
export {type ImageBytes, type ImageLike, prepareImage} from './prepare_image.js';
export * from './profile/index.js';
export {registerBlockKernels} from './register.js';
export const version = '0.1.0';
