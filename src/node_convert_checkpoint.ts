/** From a checkpoint file to the folder of a standard graph model, tensor by tensor: neither has to fit into memory. */
import {readFile} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {
  type Architecture,
  buildGraphModel,
  type Checkpoint,
  findArchitecture,
  type Matched,
  matchCheckpoint,
  type ModelMetadata,
  packWeight,
  type Preprocessing,
  type Quantization,
  openManifest,
  readSidecar,
  type SourceName,
} from '../models/index.js';
import {openCheckpoint} from '../models/node_checkpoint.js';
import {createModelFolder, type ModelFolder} from './node_model_folder.js';
import {modelJson, openWeights} from './node_models.js';
import type * as tf from '@tensorflow/tfjs-core';

export interface CheckpointOptions {
  /** Name of the architecture, as `block-fusion models` lists it. */
  readonly arch: string;
  /** 0 leaves the classifier out; as the checkpoint has it unless given. */
  readonly classes?: number | undefined;
  readonly quantize?: Quantization | undefined;
  /** Who wrote the checkpoint; found out from the names of its tensors unless given. */
  readonly from?: SourceName | undefined;
  /** Height and width of the input, where they are not what the checkpoint was trained with. */
  readonly size?: number | undefined;
  readonly onProgress?: ((done: number, total: number, what: string) => void) | undefined;
  /** Looks at the finished files before they are put in place; nothing is written if it throws. */
  readonly check?: ((written: WrittenCheckpoint) => Promise<void>) | undefined;
}

export interface WrittenCheckpoint extends Matched {
  /** Folder of the model that is about to be put in place. */
  readonly draft: string;
  readonly metadata: ModelMetadata;
}

/**
 * @param path Of a safetensors file, a Keras `.h5`, `.weights.h5` or `.keras`, or a TF.js layers model's model.json.
 * @throws {CheckpointError} listing every tensor that does not fit, {ArchitectureError} for an unknown name.
 */
export async function convertCheckpoint(
  path: string,
  folder: string,
  options: CheckpointOptions,
): Promise<ModelMetadata> {
  const architecture = findArchitecture(options.arch);
  const checkpoint = await openAny(path);
  try {
    const matched = matchCheckpoint(architecture, checkpoint, options);
    const metadata = await metadataOf(path, architecture, matched, options);
    const files = await createModelFolder(folder);
    try {
      await writeFiles(files, matched, metadata, options);
      await options.check?.({...matched, draft: files.draft, metadata});
      await files.finish();
    } catch (error) {
      await files.discard();
      throw error;
    }
    return metadata;
  } finally {
    await checkpoint.close();
  }
}

async function openAny(path: string): Promise<Checkpoint> {
  if (!path.endsWith('.json')) return openCheckpoint(path);
  const {specs, source} = await openWeights(path);
  return openManifest(specs, source);
}

async function writeFiles(
  files: ModelFolder,
  {network, weights}: Matched,
  metadata: ModelMetadata,
  {quantize, onProgress}: CheckpointOptions,
): Promise<void> {
  const specs: tf.io.WeightsManifestEntry[] = [];
  const artifacts = await buildGraphModel(network, weights, {
    size: metadata.preprocessing.size,
    ...(onProgress ? {onUnit: onProgress} : {}),
    async onWeights(written) {
      for (const weight of written) {
        const {spec, bytes} = packWeight(weight, quantize);
        specs.push(spec);
        await files.append(bytes);
      }
    },
  });
  const described: tf.io.ModelArtifacts = {
    ...artifacts,
    weightSpecs: specs,
    userDefinedMetadata: {...metadata},
  };
  await files.writeManifest((paths) => modelJson(described, paths));
}

/** What lies beside the checkpoint knows better than the architecture's usual values. */
async function metadataOf(
  path: string,
  architecture: Architecture,
  {source, network}: Matched,
  {size}: CheckpointOptions,
): Promise<ModelMetadata> {
  const sidecars = await Promise.all(
    ['config.json', 'preprocessor_config.json'].map((name) => readJson(join(dirname(path), name))),
  );
  const read = sidecars.filter((json) => json !== undefined).map(readSidecar);
  const usual = source.size ?? architecture.size;
  const published = read.reduce<Preprocessing>((all, sidecar) => ({...all, ...sidecar.preprocessing}), {
    ...source.preprocessing,
    size: [usual, usual],
  });
  const preprocessing = size === undefined ? published : {...published, size: [size, size] as const};
  const labels = read.map((sidecar) => sidecar.labels).find((found) => found?.length === network.classes);
  const {name} = architecture;
  return {
    architecture: name,
    source: source.name,
    classes: network.classes,
    preprocessing,
    ...(labels ? {labels} : {}),
  };
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined; // Not ours to judge: the checkpoint needs no such file.
  }
}
