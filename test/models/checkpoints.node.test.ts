/** Checkpoints that timm and Keras wrote, read and run: every block gives what theirs gave. */
import {fileURLToPath} from 'node:url';
import {type Verified, verifyCheckpoint} from '../../benchmarks/verify_checkpoint.js';
import {type Architecture, type SourceName} from '../../models/index.js';
import {openCheckpoint} from '../../models/node_checkpoint.js';
import {onBackend} from '../support/environment.js';
import * as tiny from './tiny_architectures.js';

const folder = fileURLToPath(new URL('../../../test/fixtures/checkpoints/', import.meta.url));
const TOLERANCE = 1e-4;

interface Case {
  readonly architecture: Architecture;
  readonly file: string;
  readonly source: SourceName;
  /** Blocks and logits. */
  readonly outputs: number;
}

const CASES: readonly Case[] = [
  {architecture: tiny.TIMM_MOBILE, file: 'timm_mobile.safetensors', source: 'timm', outputs: 6},
  {architecture: tiny.TIMM_MOBILE_TF, file: 'timm_mobile_tf.safetensors', source: 'timm', outputs: 5},
  {architecture: tiny.TIMM_UNIVERSAL, file: 'timm_universal.safetensors', source: 'timm', outputs: 6},
  // float16 and bfloat16.
  {architecture: tiny.TIMM_CONV_NEXT, file: 'timm_convnext.safetensors', source: 'timm', outputs: 6},
  {architecture: tiny.TIMM_CONV_NEXT_V2, file: 'timm_convnextv2.safetensors', source: 'timm', outputs: 5},
  {architecture: tiny.TIMM_REG_NET_Y, file: 'timm_regnety.safetensors', source: 'timm', outputs: 6},
  {architecture: tiny.TIMM_RES_NET_BASIC, file: 'timm_resnet_basic.safetensors', source: 'timm', outputs: 5},
  {
    architecture: tiny.TIMM_RES_NET_BOTTLENECK,
    file: 'timm_resnet_bottleneck.safetensors',
    source: 'timm',
    outputs: 5,
  },
  ...['.weights.h5', '.keras', '.h5'].map((suffix) => ({
    architecture: tiny.KERAS_MOBILE_NET,
    file: `keras_mobile${suffix}`,
    source: 'keras' as const,
    outputs: 4,
  })),
  ...['.weights.h5', '.h5'].map((suffix) => ({
    architecture: tiny.KERAS_CONV_NEXT,
    file: `keras_convnext${suffix}`,
    source: 'keras' as const,
    outputs: 2,
  })),
];

async function run({architecture, file}: Case): Promise<Verified> {
  const checkpoint = await openCheckpoint(folder + file);
  const expected = await openCheckpoint(`${folder}${file.split('.')[0] ?? ''}.outputs.safetensors`);
  try {
    return await verifyCheckpoint(architecture, checkpoint, expected);
  } finally {
    await Promise.all([checkpoint.close(), expected.close()]);
  }
}

onBackend('cpu', 'checkpoints of other libraries', () => {
  for (const example of CASES) {
    it(`equals them block by block: ${example.file}`, async () => {
      const {source, compared, worst, at} = await run(example);
      expect(source).toBe(example.source);
      expect(compared).toBe(example.outputs);
      expect(worst).withContext(at).toBeLessThan(TOLERANCE);
    });
  }
});
