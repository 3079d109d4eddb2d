/** A gate in each form and tile against the reference: which one is chosen is the estimate's business, here or on another device. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {shaderOf} from '../kernels/webgpu/compile.js';
import type {ExpandRowsTile} from '../kernels/webgpu/expand_rows_tiling.js';
import {
  formOfGate,
  gateCandidates,
  type GateProblem,
  type GateTile,
  gateTile,
} from '../kernels/webgpu/gate_tiling.js';
import {limitsOf} from '../kernels/webgpu/index.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {type ExpandPatchTile, type MatmulTile, type Tiling, tilingFor} from '../kernels/webgpu/tiling.js';
import {type Block, reference} from '../ops/index.js';
import {gateStage, pointwiseStage, spatialStage} from '../ops/stages/make.js';
import {drawBlock} from './support/draw.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {runPlan} from './support/run_plan.js';

const backend = (): WebGPUBackend => tf.backend() as WebGPUBackend;

interface GateCase {
  readonly block: Block;
  readonly input: readonly [number, number, number, number];
  /** Of the kernels before the gate, where the planner's are not meant. */
  readonly change?: Partial<Tiling>;
  /** Whether the product behind the gate can make it. */
  readonly inProduct?: boolean;
}

const KERNEL_OF = {whole: 'gate', reduced: 'gateExpand', 'in product': 'gatedPointwise'} as const;

const depthwise = (channels: number, kernel = 3): ReturnType<typeof spatialStage> =>
  spatialStage('spatial', {kernel, group: 1, channels, activation: 'swish'});

/** A product that stages its rows: one that reads them straight from memory makes no gate. */
const STAGED: MatmulTile = {
  TILE_M: 32,
  TILE_N: 32,
  TILE_K: 16,
  THREAD_M: 4,
  THREAD_N: 4,
  SPLIT_K: 1,
  PARTS: 1,
};

const STRIP = {FUSED: true, STRIP_W: 2, LANES: 4} as const;
const patchTile: ExpandPatchTile = {...STRIP, TILE_H: 2, TILE_W: 4, STRIP_H: 1, PIXELS: 4};
const rowsTile: ExpandRowsTile = {...STRIP, TILE_H: 4, TILE_W: 4, STRIP_H: 2, STEP_ROWS: 1, STAGED: true};

/** A product of 8×8 sums a thread, which stages its rows by fours. */
const byFours = (tile: Partial<MatmulTile>): MatmulTile => ({...STAGED, THREAD_M: 8, THREAD_N: 8, ...tile});

/** Sizes on, under and over vectors, lanes and teams. */
const CASES: Readonly<Record<string, GateCase>> = {
  'many tiles, batch 2': {
    block: {kind: 'BlockMBConv', stages: [depthwise(36), gateStage(9), pointwiseStage('project', 8)]},
    input: [2, 16, 8, 36],
  },
  'odd channels, prelu, no bias': {
    block: {kind: 'BlockMBConv', stages: [depthwise(19), gateStage(3, 'prelu', 'sigmoid', false), pointwiseStage('project', 7)]}, // prettier-ignore
    input: [1, 7, 5, 19],
  },
  'one vector of squeezed channels, nothing behind the gate': {
    block: {kind: 'BlockMBConv', stages: [pointwiseStage('expand', 40), depthwise(40), gateStage(1, 'relu', 'hardsigmoid')]}, // prettier-ignore
    input: [1, 9, 9, 10],
    inProduct: false,
  },
  'more squeezed channels than threads ask for early': {
    block: {kind: 'BlockMBConv', stages: [depthwise(100), gateStage(46), pointwiseStage('project', 8)]},
    input: [1, 2, 2, 100],
    change: {depthwise: () => ({TILE_H: 2, TILE_W: 2, STRIP_H: 2, STRIP_W: 2, LANES: 16})},
  },
  'behind it a product that stages rows by fours': {
    block: {kind: 'BlockMBConv', stages: [depthwise(36), gateStage(9), pointwiseStage('project', 8)]},
    input: [1, 9, 15, 36],
    change: {matmul: () => byFours({TILE_M: 128, TILE_N: 64})},
  },
  'behind it one that does so by half of its threads, in two parts': {
    block: {kind: 'BlockMBConv', stages: [depthwise(36), gateStage(9), pointwiseStage('project', 8)]},
    input: [2, 16, 8, 36],
    change: {matmul: () => byFours({TILE_M: 64, TILE_N: 128, PARTS: 2})},
  },
  'behind it one of two buffers': {
    block: {kind: 'BlockMBConv', stages: [depthwise(36), gateStage(9), pointwiseStage('project', 8)]},
    input: [2, 8, 8, 36],
    change: {matmul: () => byFours({TILE_M: 64, TILE_N: 64, TILE_K: 8, BUFFERS: 2})},
  },
  'an expansion on the spot, by a patch': {
    block: {kind: 'BlockMBConv', stages: [pointwiseStage('expand', 36, 'relu6'), depthwise(36, 5), gateStage(6), pointwiseStage('project', 8)]}, // prettier-ignore
    input: [2, 8, 8, 12],
    change: {expandDepthwise: () => patchTile, matmul: () => ({...STAGED, PARTS: 2})},
  },
  'an expansion on the spot, row by row': {
    block: {kind: 'BlockMBConv', stages: [pointwiseStage('expand', 37, 'relu6'), depthwise(37, 5), gateStage(6), pointwiseStage('project', 8)]}, // prettier-ignore
    input: [2, 8, 8, 12],
    change: {expandDepthwise: () => rowsTile, matmul: () => ({...STAGED, PARTS: 2})},
  },
};

onBackend('webgpu', 'gates', () => {
  for (const [name, {block, input, change, inProduct = true}] of Object.entries(CASES)) {
    it(`${name}: are right in every form and tile, and their texts valid written out`, async () => {
      const {device} = backend();
      const limits = limitsOf(device);
      const drawn = drawBlock(block, input, 7);
      const expected = tf.tidy(() => reference(block, drawn.x, drawn.weights));
      const values = await expected.data();
      let posed: GateProblem | undefined;
      const planWith = (tile?: GateTile): ReturnType<typeof lowerBlock> =>
        lowerBlock(block, input, {
          ...tilingFor(limits),
          matmul: () => STAGED,
          ...change,
          gate: (problem) => tile ?? gateTile((posed = problem), limits),
        });
      planWith();
      if (!posed) throw new Error('The block has a gate.');
      const tiles = gateCandidates(posed, limits);
      expect([...new Set(tiles.map(formOfGate))]).toEqual(['whole', 'reduced', ...(inProduct ? ['in product' as const] : [])]); // prettier-ignore
      for (const form of Object.keys(KERNEL_OF) as (keyof typeof KERNEL_OF)[]) {
        const own = tiles.filter((tile) => formOfGate(tile) === form);
        for (const tile of own.filter((_, at) => at % 2 === 0)) {
          const plan = planWith(tile);
          expect(plan.dispatches.map(({kernel}) => kernel.replace(/\..*/, ''))).toContain(KERNEL_OF[form]);
          device.pushErrorScope('validation');
          for (const dispatch of plan.dispatches) device.createShaderModule({code: shaderOf(dispatch)});
          expect((await device.popErrorScope())?.message).toBeUndefined();
          const actual = await runPlan(plan, drawn);
          await expectClose(actual, values, {name: JSON.stringify(tile), tolerance: 1e-5});
          actual.dispose();
        }
      }
      tf.dispose([expected, drawn.x, drawn.weights]);
    });
  }
});
