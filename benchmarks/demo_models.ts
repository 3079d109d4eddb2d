/** The demo's two trained models and its photograph, all from npm packages under the MIT licence. */
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import {type LayersModel, loadLayersModel} from '@tensorflow/tfjs-layers';
import sharp from 'sharp';
import {humanModel, nsfwModel} from '../test/support/real_models.js';

export const NSFW_CLASSES = ['Drawing', 'Hentai', 'Neutral', 'Porn', 'Sexy'];

/** MobileNetV2 1.0 trained to sort pictures into NSFW_CLASSES; input `[N, 224, 224, 3]` in 0..1. */
export const loadMobileNetV2 = (): Promise<LayersModel> => loadLayersModel(tf.io.fromMemory(nsfwModel()));

/** CenterNet on MobileNetV3 (squeeze-and-excite), trained on COCO; input `[1, 512, 512, 3]` in 0..255. */
export const loadCenterNet = async (): Promise<GraphModel> =>
  loadGraphModel(tf.io.fromMemory(await humanModel('centernet')));

/** This file runs from dist/benchmarks. */
const COLLAGE = fileURLToPath(
  new URL('../../node_modules/@vladmandic/human/assets/samples.jpg', import.meta.url),
);
/** One photograph out of the package's collage: a man at a laid table. */
const PHOTO = {left: 327, top: 0, width: 209, height: 157};

/** `[1, size, size, 3]`, float32, 0..`max`. */
export async function loadPhoto(size: number, max: number): Promise<tf.Tensor> {
  const {data, info} = await sharp(COLLAGE)
    .extract(PHOTO)
    .resize(size, size, {fit: 'fill'})
    .removeAlpha()
    .raw()
    .toBuffer({resolveWithObject: true});
  return tf.tensor(
    Float32Array.from(data, (value) => (value / 255) * max),
    [1, info.height, info.width, info.channels],
  );
}

export interface Detection {
  readonly label: string;
  readonly score: number;
  /** Left, top, right, bottom in input pixels. */
  readonly box: readonly number[];
}

/** The best `count` of CenterNet's `[1, 100, 6]` (left, top, right, bottom, score, class), best first. */
export async function readDetections(detections: tf.Tensor, count: number): Promise<Detection[]> {
  const values = Array.from(await detections.data());
  const rows = Array.from({length: detections.shape[1] ?? 0}, (_, i) => values.slice(i * 6, i * 6 + 6));
  return rows
    .map(([left = 0, top = 0, right = 0, bottom = 0, score = 0, index = 0]) => ({
      label: COCO_CLASSES[index] ?? `class ${index}`,
      score,
      box: [left, top, right, bottom],
    }))
    .sort((a, b) => b.score - a.score)
    .slice(0, count);
}

const COCO_CLASSES = (
  'person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,' +
  'bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,' +
  'skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,' +
  'cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,' +
  'potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,' +
  'refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush'
).split(',');
