/** An expansion in one dispatch with the depth-wise convolution behind it, by tiles that are hard on it, against the reference. */
import {shaderOf} from '../kernels/webgpu/compile.js';
import type {ExpandProblem} from '../kernels/webgpu/expand_apart.js';
import {expandRowsTiles, threadsOf} from '../kernels/webgpu/expand_rows_tiling.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  type ExpandTile,
  expandPatchCandidates,
  isPatchTile,
  type DeviceLimits,
  stockLimits,
  type Tiling,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import type {Block, SpatialStage, Stage} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {backend, compare, limitsOf} from './support/compare_plan.js';
import {onBackend} from './support/environment.js';
import {expectNoLeak} from './support/expect_no_leak.js';

interface Shapes {
  readonly input: readonly [number, number, number, number];
  readonly stages: readonly Stage[];
}

const spatial = (
  kernel: number,
  channels: number,
  given: Partial<Parameters<typeof spatialStage>[1]> = {},
): SpatialStage => spatialStage('spatial', {kernel, group: 1, channels, activation: 'relu6', ...given});

// A sigmoid makes 0.5 of nothing: padding must come behind it.
const CASES: Readonly<Record<string, Shapes>> = {
  'stride 1, a chunk that is not full': {
    input: [2, 9, 11, 16],
    stages: [pointwiseStage('expand', 88, 'sigmoid'), spatial(3, 88), pointwiseStage('project', 8)],
  },
  'stride 2, any channels, prelu': {
    input: [2, 13, 10, 11],
    stages: [pointwiseStage('expand', 66, 'prelu'), spatial(3, 66, {stride: 2, activation: 'prelu'}), pointwiseStage('project', 23)], // prettier-ignore
  },
  '5×5 behind more channels than a step holds': {
    input: [1, 10, 9, 76],
    stages: [pointwiseStage('expand', 52, 'sigmoid'), spatial(5, 52), pointwiseStage('project', 12)],
  },
  'stride 2, uneven padding': {
    input: [1, 12, 14, 8],
    stages: [pointwiseStage('expand', 36, 'sigmoid'), spatial(3, 36, {stride: 2, pad: [2, 1, 0, 3]}), pointwiseStage('project', 8)], // prettier-ignore
  },
  'dilated by 2 and 3, a map smaller than its padding': {
    input: [2, 3, 9, 8],
    stages: [pointwiseStage('expand', 36, 'sigmoid'), {...spatial(3, 36, {pad: [4, 3, 5, 4]}), dilation: [2, 3]}, pointwiseStage('project', 8)], // prettier-ignore
  },
  'valid, at the end of its block behind which a residual stands': {
    input: [2, 8, 8, 20],
    stages: [pointwiseStage('expand', 20, 'swish'), spatial(1, 20), residualStage()],
  },
  'a gate, odd channels': {
    input: [2, 9, 10, 10],
    stages: [pointwiseStage('expand', 59, 'swish'), spatial(3, 59, {activation: 'swish'}), gateStage(7), pointwiseStage('project', 9)], // prettier-ignore
  },
};

/** The block's plan, or its result against the reference, with the tile that `choose` takes of the posed problem. */
const tilingWith = (choose: (problem: ExpandProblem) => ExpandTile | typeof APART): Partial<Tiling> => ({
  feedForward: () => APART,
  depthwiseProject: () => APART,
  expandDepthwise: choose,
});

function problemOf(block: Block, input: Shapes['input']): ExpandProblem {
  let posed: ExpandProblem | undefined;
  const choose = (problem: ExpandProblem): typeof APART => {
    posed = problem;
    return APART;
  };
  lowerBlock(block, input, {...tilingFor(limitsOf(backend().device)), ...tilingWith(choose)});
  if (!posed) throw new Error('The block has an expansion.');
  return posed;
}

/** One of all tiles for each extent, strip, number of rows, lanes and pixels. */
function eachOfAKind<T extends ExpandTile>(tiles: Iterable<T>): readonly T[] {
  const seen = new Set<string>();
  return [...tiles].reverse().filter((tile) => {
    const kinds = Object.entries(tile).map(([name, value]) => `${name} ${value}`);
    const isNew = kinds.some((kind) => !seen.has(kind));
    kinds.forEach((kind) => seen.add(kind));
    return isNew;
  });
}

const tilesOf = (problem: ExpandProblem, limits: DeviceLimits): readonly ExpandTile[] => [
  ...eachOfAKind(expandRowsTiles(problem, limits)),
  ...eachOfAKind(expandPatchCandidates(problem, limits)),
];

onBackend('webgpu', 'an expansion in one dispatch with the depth-wise convolution', () => {
  let patches = 0;
  afterAll(() => {
    if (patches < 20) throw new Error(`Few tiles made a patch: ${patches}`);
  });
  for (const [name, {input, stages}] of Object.entries(CASES)) {
    const block: Block = {kind: 'BlockMBConv', stages};

    it(`${name}: equals the reference by tiles of every kind`, async () => {
      const limits = limitsOf(backend().device);
      const tiles = tilesOf(problemOf(block, input), limits);
      expect(tiles.length).toBeGreaterThan(10);
      patches += tiles.filter(isPatchTile).length;
      expect(tiles.some((tile) => !isPatchTile(tile) && tile.STEP_ROWS > 1)).toBe(true);
      for (const tile of tiles)
        await compare(
          block,
          input,
          tilingWith(() => tile),
        );
      const [first] = tiles;
      await expectNoLeak(() =>
        compare(
          block,
          input,
          tilingWith(() => first ?? APART),
        ),
      );
    });

    it(`${name}: has texts that are valid written out as on a GPU, not only as loops`, async () => {
      const {device} = backend();
      const tiles = tilesOf(problemOf(block, input), limitsOf(device));
      for (const tile of tiles.filter((_, at) => at % 6 === 0)) {
        const tiling = {...tilingFor(limitsOf(device)), ...tilingWith(() => tile)};
        const {dispatches} = lowerBlock(block, input, tiling);
        expect(dispatches[0]?.kernel.replace(/\..*/, '')).toBe(
          isPatchTile(tile) ? 'expandDepthwise' : 'expandRows',
        );
        device.pushErrorScope('validation');
        for (const dispatch of dispatches) device.createShaderModule({code: shaderOf(dispatch)});
        expect((await device.popErrorScope())?.message).toBeUndefined();
      }
    });
  }
});

describe('the choice between one dispatch of an expansion with its depth-wise convolution and two', () => {
  const CHOICES = [
    ['rows in registers, in front of a large map', [32, 112, 112, 16], 3, 2, 'expandRows.vector'],
    ['two, where the map is small and the batch is not', [32, 28, 28, 32], 3, 1, 'pointwise.vector'],
    ['two, where windows are large', [8, 56, 56, 24], 5, 2, 'pointwise.vector'],
    [
      'a patch in workgroup memory, of a small map at batch 1',
      [1, 28, 28, 40],
      5,
      1,
      'expandDepthwise.vector',
    ],
  ] as const;
  for (const [name, input, kernel, stride, first] of CHOICES) {
    it(`is ${name}`, () => {
      const hidden = 6 * input[3];
      const stages = [pointwiseStage('expand', hidden, 'swish'), spatial(kernel, hidden, {stride}), gateStage(4), pointwiseStage('project', 24)]; // prettier-ignore
      const {dispatches} = lowerBlock({kind: 'BlockMBConv', stages}, input, tilingFor(H200.limits));
      expect(dispatches[0]?.kernel).toBe(first);
    });
  }
});

describe('tiles of an expansion with the depth-wise convolution', () => {
  it('fit the limits that every device has', () => {
    const stage = spatialStage('spatial', {kernel: 5, stride: 2, group: 1, channels: 144});
    const tiles = [
      ...expandRowsTiles({input: [1, 56, 56, 24], shape: [1, 28, 28, 144], stage, gated: true}, stockLimits),
    ];
    expect(tiles.length).toBeGreaterThan(10);
    for (const tile of tiles) expect(threadsOf(tile)).toBeLessThanOrEqual(256);
  });
});
