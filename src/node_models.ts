/** Model files in Node: reads what the converters write, and writes a model so that it appears whole or not at all. */
import {readFile, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import type * as tf from '@tensorflow/tfjs-core';
import type {ByteSource} from '../models/checkpoint/checkpoint.js';
import {openBytes} from '../models/node_checkpoint.js';
import {ModelError} from './graph/index.js';
import {createModelFolder, MANIFEST} from './node_model_folder.js';

/**
 * @param path Of a model.json, under whatever name, or of the folder it is in.
 * @throws {ModelError} for a missing file, text that is no JSON, and shards that are missing or of the wrong length.
 */
export async function readModel(path: string): Promise<tf.io.ModelArtifacts> {
  const file = await findManifest(path);
  const json = parseManifest(file, await readFile(file, 'utf8'));
  const groups = groupsOf(json);
  const shards = await Promise.all(
    groups.flatMap(({paths}) => paths).map((shard) => readShard(join(dirname(file), shard))),
  );
  const data = Buffer.concat(shards);
  const carried: Partial<tf.io.ModelJSON> = {...json};
  delete carried.weightsManifest;
  return {
    ...(carried as Omit<tf.io.ModelJSON, 'weightsManifest'>),
    weightSpecs: groups.flatMap(({weights}) => weights),
    weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
  };
}

/**
 * The weights of a model without reading them: their specs, and its shards one behind the other as one source of bytes.
 * @param path As for readModel. @throws {ModelError} as readModel.
 */
export async function openWeights(
  path: string,
): Promise<{specs: readonly tf.io.WeightsManifestEntry[]; source: ByteSource}> {
  const file = await findManifest(path);
  const groups = groupsOf(parseManifest(file, await readFile(file, 'utf8')));
  const shards: {readonly path: string; readonly start: number; readonly end: number}[] = [];
  let size = 0;
  for (const shard of groups.flatMap(({paths}) => paths)) {
    const full = join(dirname(file), shard);
    const found = await stat(full).catch(() => missingShard(full));
    shards.push({path: full, start: size, end: (size += found.size)});
  }
  const read = async (start: number, end: number): Promise<Uint8Array<ArrayBuffer>> => {
    const bytes = new Uint8Array(end - start);
    for (const shard of shards.filter((one) => one.start < end && start < one.end)) {
      const [from, to] = [Math.max(start, shard.start), Math.min(end, shard.end)];
      const piece = await openBytes(shard.path);
      bytes.set(
        await piece.read(from - shard.start, to - shard.start).finally(() => piece.close()),
        from - start,
      );
    }
    return bytes;
  };
  const specs = groups.flatMap(({weights}) => weights);
  return {specs, source: {path: file, size, read, close: () => Promise.resolve()}};
}

function missingShard(path: string): never {
  throw new ModelError(`The weight shard '${path}' is missing; fetch the model again with all its files.`);
}

async function findManifest(path: string): Promise<string> {
  const there = await stat(path).catch(() => undefined);
  if (!there)
    throw new ModelError(`There is no file '${path}'; give the path of a model.json or of its folder.`);
  if (!there.isDirectory()) return path;
  const inside = join(path, MANIFEST);
  if (!(await stat(inside).catch(() => undefined)))
    throw new ModelError(`The folder '${path}' has no ${MANIFEST}; give the path of the model's JSON file.`);
  return inside;
}

function parseManifest(file: string, text: string): tf.io.ModelJSON {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ModelError(
      `'${file}' is not JSON (${(error as Error).message}); give the path of a model.json.`,
    );
  }
  if (typeof json !== 'object' || json === null || !('modelTopology' in json)) {
    throw new ModelError(
      `'${file}' has no modelTopology, so it is no TensorFlow.js model; convert the model with tensorflowjs_converter.`,
    );
  }
  const manifest: unknown = 'weightsManifest' in json ? json.weightsManifest : [];
  if (!Array.isArray(manifest) || !manifest.every(isGroup)) {
    throw new ModelError(
      `'${file}' has a weightsManifest that is no list of {paths, weights}; the file is damaged.`,
    );
  }
  return json as tf.io.ModelJSON; // What is inside is checked where it is used.
}

/** The type promises a manifest, but a model without weights may have none. */
const groupsOf = (json: Partial<tf.io.ModelJSON>): tf.io.WeightsManifestConfig => json.weightsManifest ?? [];

const isGroup = (group: unknown): boolean =>
  typeof group === 'object' &&
  group !== null &&
  'paths' in group &&
  Array.isArray(group.paths) &&
  'weights' in group &&
  Array.isArray(group.weights);

async function readShard(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch {
    return missingShard(path);
  }
}

/**
 * Writes model.json and its shards into `folder`, replacing it if it exists. The files are written beside it first and put in
 * place by one rename, so that a reader never sees half a model.
 */
export async function writeModel(folder: string, artifacts: tf.io.ModelArtifacts): Promise<void> {
  const files = await createModelFolder(folder);
  try {
    for (const data of [artifacts.weightData ?? []].flat()) await files.append(new Uint8Array(data));
    await files.writeManifest((paths) => modelJson(artifacts, paths));
    await files.finish();
  } catch (error) {
    await files.discard();
    throw error;
  }
}

/** What model.json holds: everything but the weights' bytes. */
export function modelJson(artifacts: tf.io.ModelArtifacts, paths: readonly string[]): object {
  const {weightSpecs = [], ...rest} = artifacts;
  const carried: Partial<tf.io.ModelArtifacts> = rest;
  delete carried.weightData;
  return {...carried, weightsManifest: [{paths, weights: weightSpecs}]};
}
