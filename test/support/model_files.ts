/** Files of the repository and of installed packages, for tests: from karma's server in a browser, from disk in Node. */
import type * as tf from '@tensorflow/tfjs-core';
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';

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

/** A model of npm `@vladmandic/human`, by the name of its file. */
export async function loadHumanModel(name: string): Promise<GraphModel> {
  const folder = 'node_modules/@vladmandic/human/models';
  const text = new TextDecoder().decode(await read(`${folder}/${name}.json`));
  const {weightsManifest, ...json} = JSON.parse(text) as tf.io.ModelJSON;
  const paths = weightsManifest.flatMap((group) => group.paths);
  const artifacts = {
    ...json,
    weightSpecs: weightsManifest.flatMap(({weights}) => weights),
    weightData: await Promise.all(paths.map((path) => read(`${folder}/${path}`))),
  };
  return loadGraphModel({load: () => Promise.resolve(artifacts as tf.io.ModelArtifacts)});
}
