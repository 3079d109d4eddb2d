/** Image in, classes out: for models that `convert --arch` wrote, whose metadata say how an image is prepared. */
import * as tf from '@tensorflow/tfjs-core';
import type {ModelMetadata} from '../models/index.js';
import {type ImageLike, prepareImage} from './prepare_image.js';

/** A graph model, or what `fuse` made of one. */
export interface Classifier {
  /** A model that was saved without any has none. */
  readonly metadata?: object | undefined;
  predict(inputs: tf.Tensor): tf.Tensor | tf.Tensor[] | tf.NamedTensorMap;
}

export interface Class {
  readonly index: number;
  /** As the checkpoint's publisher names it, where it came with names. */
  readonly label?: string;
  readonly probability: number;
}

const DEFAULT_TOP = 5;

/**
 * @param top How many classes, the likeliest first.
 * @throws {Error} for a model without preprocessing in its metadata, and for bytes that are no image.
 */
export async function classify(
  model: Classifier,
  image: ImageLike,
  {top = DEFAULT_TOP}: {readonly top?: number} = {},
): Promise<readonly Class[]> {
  const {preprocessing, labels} = (model.metadata ?? {}) as Partial<ModelMetadata>;
  if (!preprocessing) {
    throw new Error(
      "The model's metadata do not say how an image is prepared; convert it with block-fusion convert --arch, or call predict.",
    );
  }
  const probabilities = tf.tidy(() => {
    const logits = model.predict(prepareImage(image, preprocessing));
    if (!(logits instanceof tf.Tensor)) throw new Error('The model has several outputs; call predict.');
    return tf.softmax(tf.reshape(logits, [-1]));
  });
  const values = await probabilities.data();
  probabilities.dispose();
  return [...values.entries()]
    .map(([index, probability]): Class => {
      const label = labels?.[index];
      return {index, probability, ...(label === undefined ? {} : {label})};
    })
    .sort((a, b) => b.probability - a.probability)
    .slice(0, top);
}
