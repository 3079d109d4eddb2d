/** Files of the repository and of installed packages, for tests: from karma's server in a browser, from disk in Node. */
import type * as tf from '@tensorflow/tfjs-core';
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import {type LayersModel, loadLayersModel} from '@tensorflow/tfjs-layers';
import {efficientNetArtifacts} from './efficient_net.js';

type ReadFile = (path: string) => Promise<ArrayBuffer>;

let read: ReadFile = async (path) => {
  const response = await fetch(`/base/${path}`);
  if (!response.ok) throw new Error(`karma does not serve ${path}: ${response.status}`);
  return response.arrayBuffer();
};

/** Node has no server to fetch from. */
export function readFilesWith(readFile: ReadFile): void {
  read = readFile;
}

const readText = async (path: string): Promise<string> => new TextDecoder().decode(await read(path));

/** A model of npm `@vladmandic/human`, by the name of its file. */
export const loadHumanModel = (name: string): Promise<GraphModel> =>
  loadFrom('node_modules/@vladmandic/human/models', `${name}.json`);

/** A model of test/fixtures/converted, by the name of its folder. */
export const loadFixture = (name: string): Promise<GraphModel> =>
  loadFrom(`test/fixtures/converted/${name}`, 'model.json');

async function loadFrom(folder: string, file: string): Promise<GraphModel> {
  const {weightsManifest, ...json} = JSON.parse(await readText(`${folder}/${file}`)) as tf.io.ModelJSON;
  const paths = weightsManifest.flatMap((group) => group.paths);
  const artifacts = {
    ...json,
    weightSpecs: weightsManifest.flatMap(({weights}) => weights),
    weightData: await Promise.all(paths.map((path) => read(`${folder}/${path}`))),
  };
  return loadGraphModel({load: () => Promise.resolve(artifacts as tf.io.ModelArtifacts)});
}

/** The layers model MobileNetV2 of npm `nsfwjs`. */
export async function loadNSFWModel(): Promise<LayersModel> {
  const folder = 'node_modules/nsfwjs/dist/models/mobilenet_v2';
  const {weightsManifest, ...json} = (await commonModule(`${folder}/model.min.js`)) as tf.io.ModelJSON;
  const base64 = (await commonModule(`${folder}/group1-shard1of1.min.js`)) as string;
  const weightData = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
  const weightSpecs = weightsManifest.flatMap(({weights}) => weights);
  return loadLayersModel({load: () => Promise.resolve({...json, weightSpecs, weightData})});
}

/** What a CommonJS module exports; a browser has no other way to it. */
async function commonModule(path: string): Promise<unknown> {
  const module = {exports: {} as unknown};
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- a file of an installed package, as require() would run it
  const run = new Function('module', 'exports', await readText(path)) as (...names: unknown[]) => void;
  run(module, module.exports);
  return module.exports;
}

/** See efficient_net.ts. */
export async function loadEfficientNet(): Promise<GraphModel> {
  const json = JSON.parse(await readText('test/fixtures/efficientnet_b0/model.json')) as tf.io.ModelJSON;
  return loadGraphModel({load: () => Promise.resolve(efficientNetArtifacts(json))});
}
