/** What a checkpoint expects to be done to an image; it travels in the model's metadata, and `classify` does it. */

export type Interpolation = 'bilinear' | 'bicubic' | 'nearest';
export type Triple = readonly [number, number, number];

export interface Preprocessing {
  /** Height and width of the network's input. */
  readonly size: readonly [number, number];
  /** The share of the image's shorter side that the centred crop keeps; 1 crops to a square alone. */
  readonly crop: number;
  /** Of values in [0, 1], per channel in the order of `channels`: (value − mean) / std. */
  readonly mean: Triple;
  readonly std: Triple;
  readonly interpolation: Interpolation;
  readonly channels: 'rgb' | 'bgr';
  /** `squash` resizes without regard to proportions, as Keras's image loader does; `crop` is then 1. */
  readonly fit: 'crop' | 'squash';
}

/** The `userDefinedMetadata` of a model made from a checkpoint. */
export interface ModelMetadata {
  readonly architecture: string;
  /** Who wrote the checkpoint. */
  readonly source: string;
  readonly classes: number;
  readonly preprocessing: Preprocessing;
  /** By class, where the checkpoint came with them. */
  readonly labels?: readonly string[];
}

export type PreprocessingRow = Omit<Preprocessing, 'size'>;

const IMAGENET = {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]} as const;
const HALF = {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]} as const;

const cropped = (
  of: {readonly mean: Triple; readonly std: Triple},
  crop: number,
  interpolation: Interpolation,
): PreprocessingRow => ({...of, crop, interpolation, channels: 'rgb', fit: 'crop'});

export const imageNet = (crop = 0.875, interpolation: Interpolation = 'bicubic'): PreprocessingRow =>
  cropped(IMAGENET, crop, interpolation);

/** Values in [−1, 1]. */
export const half = (crop = 0.875, interpolation: Interpolation = 'bicubic'): PreprocessingRow =>
  cropped(HALF, crop, interpolation);

const squashed = (of: {readonly mean: Triple; readonly std: Triple}): PreprocessingRow => ({
  ...of,
  crop: 1,
  interpolation: 'bilinear',
  channels: 'rgb',
  fit: 'squash',
});

export const KERAS_IMAGENET = squashed(IMAGENET);
export const KERAS_HALF = squashed(HALF);
/** x / 128 − 1 of bytes. */
export const KERAS_128 = squashed({
  mean: [128 / 255, 128 / 255, 128 / 255],
  std: [128 / 255, 128 / 255, 128 / 255],
});
/** Bytes in the order blue, green, red, less their means. */
export const KERAS_CAFFE: PreprocessingRow = {
  ...squashed({mean: [103.939 / 255, 116.779 / 255, 123.68 / 255], std: [1 / 255, 1 / 255, 1 / 255]}),
  channels: 'bgr',
};
