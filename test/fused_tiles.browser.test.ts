/** Runs of stages in one dispatch (wgsl/fused.ts): every candidate tile, in every shape that is hard on it, against the reference. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {isCandidate} from '../kernels/webgpu/candidates.js';
import {depthwiseProjectCandidates} from '../kernels/webgpu/depthwise_project_tiling.js';
import {executePlan} from '../kernels/webgpu/execute.js';
import {expandRowsCandidates} from '../kernels/webgpu/expand_rows_tiling.js';
import {
  feedForwardCandidates,
  type FeedForwardTile,
  feedForwardTiles,
} from '../kernels/webgpu/feed_forward_tiling.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {limitsOf} from '../kernels/webgpu/index.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {type Tiling, tilingFor, usualLimits} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {type Block, BLOCK_SPECS, reference, type Stage, traceBlock} from '../ops/index.js';
import {pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {toleranceOf} from './support/block_cases.js';
import {drawBlock} from './support/draw.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';

const backend = (): WebGPUBackend => tf.backend() as WebGPUBackend;
const tilingHere = (): Tiling => tilingFor(limitsOf(backend().device));

/** Nothing fused, so that only what a spec forces is. */
const apart: Partial<Tiling> = {
  feedForward: () => APART,
  depthwiseProject: () => APART,
  expandDepthwise: () => APART,
};

const FUSED = ['feedForward', 'depthwiseProject', 'expandDepthwiseProject', 'expandRows'];

/** Runs `block` by the plan of that tiling. @returns the plan's kernels; none where nothing is fused. */
async function compare(
  block: Block,
  input: readonly [number, number, number, number],
  change: Partial<Tiling>,
): Promise<readonly string[]> {
  const plan = lowerBlock(block, input, {...tilingHere(), ...apart, ...change});
  const kernels = plan.dispatches.map(({kernel}) => kernel.replace(/\..*/, ''));
  if (!kernels.some((kernel) => FUSED.includes(kernel))) return []; // Other specs run what is not fused.
  const {x, weights} = drawBlock(block, input, 17);
  const values = new Map<string, Float32Array>();
  for (const {name, isMap} of traceBlock(block, input).weights)
    if (!isMap) values.set(name, (await (weights[name] as tf.Tensor).data()) as Float32Array);
  const map = traceBlock(block, input).weights.find(({isMap}) => isMap);
  const packed = tf.tensor1d(packOnHost(plan.weights, values));
  const out = executePlan(backend(), plan, {x, weights: packed, map: map && weights[map.name]});
  const got = tf.engine().makeTensorFromTensorInfo(out);
  const want = reference(block, x, weights);
  const name = `${plan.name} ${JSON.stringify(plan.dispatches[0]?.constants)}`;
  const tolerance = toleranceOf(block, {name, input, stages: block.stages});
  await expectClose(got, await want.data(), {name, tolerance});
  tf.dispose([x, packed, got, want, weights]);
  return kernels;
}

/** The candidate at that place of the list, counted from its end where negative. */
const pick = <T>(tiles: readonly T[], at: number): T | typeof APART => tiles.at(at % tiles.length) ?? APART;

onBackend('webgpu', 'fused runs of stages equal the reference', () => {
  const seen = new Map<string, number>();
  for (const spec of BLOCK_SPECS) {
    it(`in every case of ${spec.kind}`, async () => {
      const {device} = backend();
      for (const [index, {input, stages}] of spec.cases.entries()) {
        const kernels = await compare({kind: spec.kind, stages}, input, {
          feedForward: (problem) => pick(feedForwardCandidates(problem, limitsOf(device)), 5 * index),
          depthwiseProject: (problem) => pick(depthwiseProjectCandidates(problem, limitsOf(device)), 5 * index), // prettier-ignore
        });
        // expand_tiles has its tiles of every kind; here are some of the endings.
        const expanded =
          index % 4 === 1
            ? await compare({kind: spec.kind, stages}, input, {
                expandDepthwise: (problem) =>
                  pick(expandRowsCandidates(problem, limitsOf(device)), 5 * index),
              })
            : [];
        for (const kernel of [...kernels, ...expanded]) seen.set(kernel, (seen.get(kernel) ?? 0) + 1);
      }
    });
  }
  afterAll(() => {
    for (const kernel of FUSED)
      if ((seen.get(kernel) ?? 0) < 3) throw new Error(`Few cases of the specs ran '${kernel}': ${seen.get(kernel)}`); // prettier-ignore
  });
});

describe('candidates of fused runs', () => {
  it('that the estimate does not list may come from a file, tiles that are none may not', () => {
    const problem = {m: 196, k: 64, hidden: 256, n: 64, norm: true};
    const posed = {kernel: 'feedForward', problem} as const;
    const every = [...feedForwardTiles(problem, usualLimits)];
    const listed = feedForwardCandidates(problem, usualLimits);
    expect(listed.length).toBeLessThan(every.length);
    for (const tile of every.filter((_, at) => at % 7 === 0))
      expect(isCandidate(posed, {...tile}, usualLimits))
        .withContext(JSON.stringify(tile))
        .toBe(true);
    expect(isCandidate(posed, {...APART}, usualLimits)).toBe(true);
    for (const change of [{WORKGROUP: 80}, {HIDDEN_CHUNK: 28}, {STEP_H: 64, STEP_K: 256}, {PARTS: 3}])
      expect(isCandidate(posed, {...(every[0] as FeedForwardTile), ...change}, usualLimits)).toBe(false);
  });
});

const norm = (affine: boolean): Stage => ({op: 'layernorm', name: 'norm', epsilon: 1e-6, affine});

interface Shapes {
  readonly input: readonly [number, number, number, number];
  readonly stages: readonly Stage[];
}

const FEED_FORWARDS: Readonly<Record<string, Shapes>> = {
  'ConvNeXt’s, behind its depth-wise convolution': {
    input: [2, 9, 7, 24],
    stages: [
      spatialStage('spatial', {kernel: 7, group: 1, channels: 24}),
      norm(true),
      pointwiseStage('expand', 96, 'gelu'),
      pointwiseStage('project', 24),
      {op: 'scale', name: 'scale'},
      residualStage(),
    ],
  },
  'channels that are no multiples of four': {
    input: [3, 5, 7, 13],
    stages: [norm(false), pointwiseStage('expand', 37, 'prelu'), pointwiseStage('project', 11, 'sigmoid')],
  },
  'more channels than a step holds': {
    input: [1, 6, 11, 76],
    stages: [pointwiseStage('expand', 260, 'hardsigmoid'), pointwiseStage('project', 76), residualStage()],
  },
};

onBackend('webgpu', 'tiles of the feed-forward pair', () => {
  for (const [name, {input, stages}] of Object.entries(FEED_FORWARDS)) {
    it(name, async () => {
      const block: Block = {kind: 'BlockFeedForward', stages};
      const pointwise = stages.flatMap((stage) => (stage.op === 'pointwise' ? [stage.channels] : []));
      const [hidden = 0, n = 0] = pointwise;
      const problem = {m: input[0] * input[1] * input[2], k: input[3], hidden, n, norm: false};
      const tiles = feedForwardCandidates(problem, limitsOf(backend().device));
      expect(tiles.length).toBeGreaterThan(5);
      expect(tiles.some(({PARTS}) => PARTS > 1)).toBe(true);
      const run = async (tile: FeedForwardTile): Promise<void> => {
        expect(await compare(block, input, {feedForward: () => tile})).toContain('feedForward');
      };
      for (const tile of tiles.filter((_, at) => at % 4 === 1)) await run(tile);
      await expectNoLeak(() => run(tiles[0] as FeedForwardTile));
    });
  }
});

const spatial = (
  kernel: number,
  channels: number,
  given: Partial<Parameters<typeof spatialStage>[1]> = {},
): Stage => spatialStage('spatial', {kernel, group: 1, channels, activation: 'relu6', ...given});

// A sigmoid makes 0.5 of nothing: padding must come behind it.
const DEPTHWISE: Readonly<Record<string, Shapes>> = {
  'MobileNetV2’s, stride 1': {
    input: [2, 9, 11, 8],
    stages: [pointwiseStage('expand', 48, 'sigmoid'), spatial(3, 48), pointwiseStage('project', 8), residualStage()], // prettier-ignore
  },
  'stride 2, any channels': {
    input: [2, 13, 10, 11],
    stages: [pointwiseStage('expand', 66, 'swish'), spatial(3, 66, {stride: 2, activation: 'prelu'}), pointwiseStage('project', 23)], // prettier-ignore
  },
  '5×5, stride 2, more channels than a step holds': {
    input: [1, 15, 15, 68],
    stages: [pointwiseStage('expand', 136, 'sigmoid'), spatial(5, 136, {stride: 2}), pointwiseStage('project', 180, 'relu')], // prettier-ignore
  },
  '5×5 dilated, no expansion': {
    input: [2, 12, 14, 20],
    stages: [spatial(5, 20, {dilation: 2, activation: 'hardswish'}), pointwiseStage('project', 12, 'relu6')],
  },
  'MobileNetV1’s, any channels, stride 2, valid': {
    input: [2, 11, 13, 30],
    stages: [spatial(3, 30, {stride: 2, pad: 'valid'}), pointwiseStage('project', 50, 'relu6')],
  },
};

onBackend('webgpu', 'tiles of depth-wise convolutions with their projection', () => {
  for (const [name, {input, stages}] of Object.entries(DEPTHWISE)) {
    it(name, async () => {
      const block: Block = {kind: 'BlockMBConv', stages};
      const kernel = stages[0]?.op === 'pointwise' ? 'expandDepthwiseProject' : 'depthwiseProject';
      let tried = 0;
      const run = async (at: number): Promise<void> => {
        const kernels = await compare(block, input, {
          depthwiseProject: (problem) => {
            const tiles = depthwiseProjectCandidates(problem, limitsOf(backend().device));
            tried = tiles.length;
            return tiles[at] ?? APART;
          },
        });
        expect(kernels).toContain(kernel);
      };
      await expectNoLeak(() => run(0));
      for (let at = 3; at < tried; at += 4) await run(at);
      expect(tried).toBeGreaterThan(5);
    });
  }
});
