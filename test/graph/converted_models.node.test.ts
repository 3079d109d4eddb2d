/**
 * Networks in the spellings that converters leave them in (scripts/make_graph_fixtures.py): each block is found, each value is the
 * original's, and with known input shapes no op is left that reads a computed value back.
 */
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import {convert} from '../../src/convert/convert.js';
import {readModel} from '../../src/node_models.js';
import type {Report} from '../../src/graph/index.js';
import {registerBlockKernels} from '../../src/register.js';
import {expectSame} from '../support/compare_models.js';
import {expectClose} from '../support/expect_close.js';

/** This file runs from dist/test/graph. */
const ROOT = fileURLToPath(new URL('../../../test/fixtures/converted', import.meta.url));

type Kinds = Readonly<Record<string, number>>;

const EXPECTED: Readonly<Record<string, {readonly depthwise: number; readonly blocks: Kinds}>> = {
  keras2_convnext_tiny_plain: {
    depthwise: 5,
    blocks: {BlockConvNeXt: 5, BlockConv: 4, BlockLayerNorm: 1, BlockHead: 1},
  },
  keras2_regnety: {depthwise: 0, blocks: {BlockBottleneck: 6, BlockConv: 1, BlockHead: 1}},
  keras_convnext_small_erfc: {
    depthwise: 7,
    blocks: {BlockConvNeXt: 7, BlockConv: 4, BlockLayerNorm: 1, BlockHead: 1},
  },
  keras_convnext_tiny: {depthwise: 6, blocks: {BlockConvNeXt: 6, BlockConv: 5, BlockHead: 1}},
  keras_convnext_v2: {
    depthwise: 5,
    blocks: {BlockConvNeXt: 5, BlockConv: 4, BlockLayerNorm: 1, BlockHead: 1},
  },
  keras_efficientnet_b0: {depthwise: 10, blocks: {BlockMBConv: 10, BlockConv: 2, BlockHead: 1}},
  keras_efficientnet_b0_plain: {depthwise: 8, blocks: {BlockMBConv: 8, BlockConv: 2, BlockHead: 1}},
  keras_efficientnet_b4: {depthwise: 10, blocks: {BlockMBConv: 10, BlockConv: 2, BlockHead: 1}},
  keras_efficientnet_v2_s: {
    depthwise: 9,
    blocks: {BlockFusedMBConv: 3, BlockMBConv: 9, BlockConv: 2, BlockHead: 1},
  },
  keras_mobilenet_v3_large: {
    depthwise: 10,
    blocks: {BlockSeparable: 1, BlockMBConv: 9, BlockConv: 1, BlockHead: 1},
  },
  keras_mobilenet_v3_large_plain: {
    depthwise: 10,
    blocks: {BlockSeparable: 1, BlockMBConv: 9, BlockConv: 1, BlockHead: 1},
  },
  keras_mobilenet_v3_small: {depthwise: 8, blocks: {BlockMBConv: 8, BlockConv: 2, BlockHead: 1}},
  keras_ssd_mobilenet_v2: {depthwise: 14, blocks: {BlockMBConv: 14, BlockConv: 4}},
  nchw_mobile: {depthwise: 5, blocks: {BlockMBConv: 5, BlockConv: 1, BlockHead: 1}},
  nchw_mobile_plain: {depthwise: 5, blocks: {BlockMBConv: 5, BlockConv: 1, BlockHead: 1}},
  tf1_mobilenet_v1_pb: {depthwise: 5, blocks: {BlockSeparable: 1, BlockMBConv: 4, BlockHead: 1}},
  tf1_mobilenet_v2: {depthwise: 6, blocks: {BlockMBConv: 6, BlockConv: 1, BlockHead: 1}},
  tflite_mobile: {depthwise: 6, blocks: {BlockMBConv: 6, BlockConv: 1, BlockHead: 1}},
  tflite_mobile_plain: {depthwise: 6, blocks: {BlockMBConv: 6, BlockConv: 1, BlockHead: 1}},
};
/** The wasm backend runs no fused convolution whose bias is [1, 1, 1, C], as grappler leaves it here. */
const ON_CPU: ReadonlySet<string> = new Set([
  'keras_efficientnet_b0',
  'keras_efficientnet_b4',
  'keras_efficientnet_v2_s',
]);

const TOLERANCE = 1e-4;

interface Topology {
  readonly node: readonly {readonly name: string; readonly op: string; readonly input?: readonly string[]}[];
}

const inputOf = ({modelTopology}: tf.io.ModelArtifacts): string =>
  (modelTopology as Topology).node.find(({op}) => op === 'Placeholder')?.name ?? '';

/** Inputs of ops that are data; TF.js reads the others with dataSync to know what to do. */
const DATA_INPUTS: Readonly<Record<string, (count: number) => readonly number[]>> = Object.fromEntries([
  ...'Reshape Pad PadV2 MirrorPad Mean Sum Max Min Prod Transpose Slice StridedSlice Tile ExpandDims BroadcastTo'
    .split(' ')
    .concat('ResizeBilinear', 'ResizeNearestNeighbor', 'ArgMax', 'SplitV')
    .map((op) => [op, () => [0]] as const),
  ...['Fill', 'Range'].map((op) => [op, () => []] as const),
  ['Split', () => [1]],
  ['GatherV2', () => [0, 1]],
  ['ConcatV2', (count: number) => Array.from({length: count - 1}, (_, i) => i)],
]);

function readBacks({modelTopology}: tf.io.ModelArtifacts): readonly string[] {
  const {node} = modelTopology as Topology;
  const constants = new Set(node.filter(({op}) => op === 'Const').map(({name}) => name));
  return node.flatMap(({name, op, input = []}) => {
    const data = DATA_INPUTS[op]?.(input.length);
    return data && input.some((ref, i) => !data.includes(i) && !constants.has(ref)) ? [name] : [];
  });
}

/** As the fixtures' script draws it. */
const sineImage = (shape: [number, number, number, number]): tf.Tensor =>
  tf.tensor4d(
    Float32Array.from({length: tf.util.sizeFromShape(shape)}, (_, i) => Math.sin(i)),
    shape,
  );

type Answers = Readonly<
  Record<string, {readonly shape: readonly number[]; readonly values: readonly number[]}>
>;

/** Where stock TF.js cannot run the original, TensorFlow has. */
async function expectAnswers(artifacts: tf.io.ModelArtifacts, answers: Answers): Promise<Report> {
  registerBlockKernels();
  const {artifacts: fused, report} = convert(artifacts, {isFile: true});
  const model = await loadGraphModel(tf.io.fromMemory(fused));
  const x = sineImage([2, 64, 64, 3]);
  const {outputs = {}} = artifacts.signature as {outputs?: Record<string, {name: string}>};
  for (const [key, {shape, values}] of Object.entries(answers)) {
    const y = model.execute(x, outputs[key]?.name ?? key) as tf.Tensor;
    expect(y.shape).toEqual([...shape]);
    await expectClose(y, values, {name: key, tolerance: TOLERANCE});
    y.dispose();
  }
  x.dispose();
  model.dispose();
  return report;
}

describe('converted models', () => {
  afterAll(() => tf.setBackend('wasm'));

  it('are all known', () => {
    expect(Object.keys(EXPECTED).sort()).toEqual(readdirSync(ROOT).sort());
  });

  for (const [name, {depthwise, blocks}] of Object.entries(EXPECTED)) {
    it(name, async () => {
      await tf.setBackend(ON_CPU.has(name) ? 'cpu' : 'wasm');
      const artifacts = await readModel(join(ROOT, name));
      const input = inputOf(artifacts);
      const answers = join(ROOT, name, 'answers.json');
      const report = existsSync(answers)
        ? await expectAnswers(artifacts, JSON.parse(readFileSync(answers, 'utf8')) as Answers)
        : await expectSame(artifacts, {tolerance: TOLERANCE, feed: {[input]: [2, 64, 64, 3]}});
      const kinds: Record<string, number> = {};
      for (const {block} of report.blocks) kinds[block] = (kinds[block] ?? 0) + 1;
      expect(kinds).toEqual(blocks);
      expect(report.depthwise).toEqual({total: depthwise, fused: depthwise});
      expect(report.macs.fused).toBe(report.macs.total);
      expect(report.macs.total).toBeGreaterThan(0);
      expect(report.dispatches.after).toBeLessThan(report.dispatches.before / 2);
      const {macs, dispatches} = report;
      const share = ((100 * macs.fused) / macs.total).toFixed(1);
      console.log(
        `${name}: ${share} % of MACs in blocks, dispatches ${dispatches.before} → ${dispatches.after}`,
      );
      const inputShapes = {[input]: [2, 64, 64, 3]};
      if (!existsSync(answers) && !ON_CPU.has(name))
        await expectSame(artifacts, {tolerance: TOLERANCE, feed: inputShapes, options: {inputShapes}});
      const folded = convert(artifacts, {inputShapes: {[input]: [1, 64, 64, 3]}, isFile: true});
      expect(readBacks(folded.artifacts)).toEqual([]);
    });
  }
});
