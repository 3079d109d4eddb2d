/** Capture and replay of a model's GPU commands. */
export {CaptureCache, type CaptureCacheOptions} from './cache.js';
export {
  Capture,
  capture,
  type CaptureMemory,
  type CaptureMode,
  type CaptureOptions,
  type CaptureOutput,
  type CaptureSegment,
} from './capture.js';
export type {ImageOptions, ImageSource, PixelData} from './image_input.js';
export type {ExampleInputs, Inputs} from './inputs.js';
export type {CaptureSource, TensorFunction, TensorResult} from './source.js';
export type {ArrayInput, CaptureInput, InputDType, InputSpec, NamedSpec} from './values.js';
