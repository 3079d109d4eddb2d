/** Model files in Node: reads what the converters write, and writes a model so that it appears whole or not at all. */
import {mkdir, mkdtemp, readFile, rename, rm, stat, writeFile} from 'node:fs/promises';
import {basename, dirname, join, resolve} from 'node:path';
import type * as tf from '@tensorflow/tfjs-core';
import {ModelError} from './graph/index.js';

const MANIFEST = 'model.json';
/** As tensorflowjs_converter cuts them: small enough for a browser's cache. */
const SHARD_BYTES = 4 * 1024 * 1024;

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
    throw new ModelError(`The weight shard '${path}' is missing; fetch the model again with all its files.`);
  }
}

/**
 * Writes model.json and its shards into `folder`, replacing it if it exists. The files are written beside it first and put in
 * place by one rename, so that a reader never sees half a model.
 */
export async function writeModel(folder: string, artifacts: tf.io.ModelArtifacts): Promise<void> {
  const target = resolve(folder);
  await mkdir(dirname(target), {recursive: true});
  const draft = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
  try {
    const data = new Uint8Array(artifacts.weightData as ArrayBuffer); // The rewriter writes one buffer.
    const count = Math.max(1, Math.ceil(data.length / SHARD_BYTES));
    const paths = Array.from({length: count}, (_, i) => `group1-shard${i + 1}of${count}.bin`);
    await Promise.all(
      paths.map((path, i) =>
        writeFile(join(draft, path), data.subarray(i * SHARD_BYTES, (i + 1) * SHARD_BYTES)),
      ),
    );
    await writeFile(join(draft, MANIFEST), JSON.stringify(modelJson(artifacts, paths)));
    await replaceFolder(draft, target);
  } catch (error) {
    await rm(draft, {recursive: true, force: true});
    throw error;
  }
}

function modelJson(artifacts: tf.io.ModelArtifacts, paths: readonly string[]): object {
  const {weightSpecs = [], ...rest} = artifacts;
  const carried: Partial<tf.io.ModelArtifacts> = rest;
  delete carried.weightData;
  return {...carried, weightsManifest: [{paths, weights: weightSpecs}]};
}

/** A folder cannot be renamed over a full one, so the old one steps aside first, and comes back if that fails. */
async function replaceFolder(draft: string, target: string): Promise<void> {
  const old = `${draft}-old`;
  const hadOld = await rename(target, old).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    },
  );
  try {
    await rename(draft, target);
  } catch (error) {
    if (hadOld) await rename(old, target);
    throw error;
  }
  if (hadOld) await rm(old, {recursive: true, force: true});
}
