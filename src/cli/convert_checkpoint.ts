/** `block-fusion convert CHECKPOINT OUTDIR --arch NAME`: a standard graph model from a checkpoint of PyTorch or Keras. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {QUANTIZATIONS, type Quantization, runNetwork, type SourceName} from '../../models/index.js';
import {convert as rewrite} from '../convert/convert.js';
import {convertCheckpoint, type WrittenCheckpoint} from '../node_convert_checkpoint.js';
import {ModelError} from '../graph/index.js';
import {readModel} from '../node_models.js';
import {registerBlockKernels} from '../register.js';
import {print, progress, UsageError} from './command.js';
import {showProgress} from './progress.js';
import {relativeError, startBackend} from './verify.js';

export interface CheckpointArguments {
  readonly path: string;
  readonly folder: string;
  readonly arch: string;
  readonly classes?: string | undefined;
  readonly quantize?: string | undefined;
  readonly from?: string | undefined;
  readonly size?: string | undefined;
  readonly verify: boolean;
}

export async function convertFromCheckpoint(given: CheckpointArguments): Promise<void> {
  const {path, folder, arch, verify} = given;
  const quantize = quantizationOf(given.quantize);
  progress(`reading ${path}`);
  const {onProgress, end} = showProgress('converting');
  const metadata = await convertCheckpoint(path, folder, {
    arch,
    classes: wholeNumber('--classes', given.classes),
    size: wholeNumber('--size', given.size),
    from: given.from as SourceName | undefined, // An unknown one is answered with the list of known ones.
    quantize,
    onProgress,
    ...(verify ? {check: (written) => (end(), check(written, quantize))} : {}),
  }).finally(end);
  const {size, mean, std, interpolation, crop} = metadata.preprocessing;
  print(
    `${folder}: ${arch} as ${metadata.source} writes it, ${metadata.classes} classes, input ${size.join('×')}, ` +
      `mean [${mean.join(', ')}], std [${std.join(', ')}], ${interpolation}, crop ${crop}`,
  );
}

function quantizationOf(text: string | undefined): Quantization | undefined {
  const found = QUANTIZATIONS.find((known) => known === text);
  if (text !== undefined && !found)
    throw new UsageError(`--quantize takes ${QUANTIZATIONS.join(' or ')}, not '${text}'.`);
  return found;
}

function wholeNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new UsageError(`${option} takes a whole number, not '${text}'.`);
  return Number(text);
}

const SEED = 20240229;
/** Of the largest logit. Eight bits a weight lose what they lose: there the difference is printed, not judged. */
const TOLERANCES: Readonly<Record<'float32' | Quantization, number>> = {
  float32: 1e-4,
  float16: 2e-2,
  uint8: Infinity,
};

/**
 * The files as written, and again with their blocks fused, against the checkpoint's own tensors run layer by layer: batch norm not
 * folded, nothing quantised, no graph.
 */
async function check(written: WrittenCheckpoint, quantize: Quantization | undefined): Promise<void> {
  const {network, weights, draft, metadata} = written;
  await startBackend();
  registerBlockKernels();
  const [height, width] = metadata.preprocessing.size;
  const image = tf.randomUniform<tf.Rank.R4>([1, height, width, 3], -1, 1, 'float32', SEED);
  const {onProgress, end} = showProgress('verifying');
  const expected = await runNetwork(network, weights, image, onProgress).finally(end);
  try {
    const artifacts = await readModel(draft);
    const plain = await differenceOf(artifacts, image, expected);
    const fused = await differenceOf(rewrite(artifacts, {isFile: true}).artifacts, image, expected);
    print(
      `largest difference ${plain.toExponential(1)} of the output's scale, ${fused.toExponential(1)} with blocks fused`,
    );
    const tolerance = TOLERANCES[quantize ?? 'float32'];
    if (!(Math.max(plain, fused) <= tolerance)) {
      throw new ModelError(
        `The model differs from the checkpoint by more than ${tolerance} of the output's scale; nothing was written, please report it.`,
      );
    }
  } finally {
    tf.dispose([image, expected]);
  }
}

async function differenceOf(
  artifacts: tf.io.ModelArtifacts,
  image: tf.Tensor,
  expected: tf.Tensor,
): Promise<number> {
  const model = await loadGraphModel(tf.io.fromMemory(artifacts));
  const output = model.predict(image) as tf.Tensor; // The graph has one output.
  try {
    return await relativeError(expected, output);
  } finally {
    output.dispose();
    model.dispose();
  }
}
