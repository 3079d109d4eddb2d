/** Costs against numbers worked out by hand, and against the paper's formulas of operational intensity. */
import {type Block, BLOCK_SPECS, type BlockCase, type Cost, costOf, type Stage} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';

const cost = (input: readonly number[], ...stages: readonly Stage[]): Cost => {
  const block: Block = {kind: 'BlockTest', stages};
  return costOf(block, input);
};

/** So many pixels that weights weigh nothing. */
const MANY = [64, 1024, 1024] as const;
const plain = (name: string, channels: number): Stage => pointwiseStage(name, channels, 'linear', false);
const grouped = (channels: number, group: number, kernel = 3): Stage =>
  spatialStage('spatial', {kernel, group, channels, bias: false});

describe('cost', () => {
  it('of MBConv with a gate, by hand', () => {
    const found = cost(
      [2, 9, 7, 8],
      pointwiseStage('expand', 24, 'swish'),
      spatialStage('spatial', {kernel: 3, group: 1, channels: 24, stride: 2, activation: 'swish'}),
      gateStage(2),
      pointwiseStage('project', 12),
    );
    const [before, after] = [2 * 9 * 7, 2 * 5 * 4];
    const weights = 8 * 24 + 24 + (9 * 24 + 24) + (24 * 2 + 2 + 2 * 24 + 24) + (24 * 12 + 12);
    expect(found.macs).toBe(before * 8 * 24 + after * 9 * 24 + 2 * (24 * 2 + 2 * 24) + after * 24 * 12);
    expect(found.weightBytes).toBe(4 * weights);
    expect(found.bytes).toBe(4 * (before * 8 + weights + after * 12));
    const maps = before * (8 + 24) + (before + after) * 24 + after * (24 + 24) + after * (24 + 12);
    expect(found.bytesByStage).toBe(4 * (maps + weights));
    expect(found.intensity).toBe((2 * found.macs) / found.bytes);
    expect(found.intensityByStage).toBe((2 * found.macs) / found.bytesByStage);
  });

  it('of ConvNeXt, by hand: norms, layer scale and the add cost no MAC, but bytes where each is a kernel', () => {
    const found = cost(
      [1, 14, 14, 96],
      spatialStage('spatial', {kernel: 7, group: 1, channels: 96}),
      {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true},
      pointwiseStage('expand', 384, 'gelu'),
      {op: 'grn', name: 'grn', epsilon: 1e-6},
      pointwiseStage('project', 96),
      {op: 'scale', name: 'scale'},
      residualStage(),
    );
    const weights = 49 * 96 + 96 + 2 * 96 + 96 * 384 + 384 + 2 * 384 + 384 * 96 + 96 + 96;
    expect(found.macs).toBe(196 * (49 * 96 + 2 * 96 * 384));
    expect(found.bytes).toBe(4 * (2 * 196 * 96 + weights));
    // Read and written: spatial, norm and scale C + C each, the pair C + 4C each, GRN 4C + 4C, the add 2C + C.
    expect(found.bytesByStage).toBe(4 * (196 * 96 * (3 * 2 + 2 * 5 + 8 + 3) + weights));
  });

  it('of the bottlenecks of ResNet-50, by hand', () => {
    const bottleneck = (width: number, out: number, stride: number, projected: boolean): readonly Stage[] => [
      pointwiseStage('reduce', width, 'relu'),
      spatialStage('spatial', {kernel: 3, group: width, channels: width, stride, activation: 'relu'}),
      pointwiseStage('expand', out),
      residualStage(
        projected ? [spatialStage('shortcut', {kernel: 1, group: 256, channels: out, stride})] : [],
        'relu',
      ),
    ];
    expect(cost([1, 56, 56, 256], ...bottleneck(64, 256, 1, false)).macs).toBe(218_365_952);
    const strided = cost([1, 56, 56, 256], ...bottleneck(128, 512, 2, true));
    const reduce = 56 * 56 * 256 * 128;
    expect(strided.macs).toBe(reduce + 28 * 28 * (9 * 128 * 128 + 128 * 512 + 256 * 512));
    const weights = 256 * 128 + 128 + 9 * 128 * 128 + 128 + 128 * 512 + 512 + 256 * 512 + 512;
    const [large, small] = [56 * 56, 28 * 28];
    expect(strided.bytes).toBe(4 * (large * 256 + weights + small * 512));
    const maps = large * (256 + 128) + (large + small) * 128 + small * (128 + 512);
    const shortcut = large * 256 + small * 512;
    expect(strided.bytesByStage).toBe(4 * (maps + shortcut + 3 * small * 512 + weights));
  });

  it('of concat and blur-pool: bytes alone', () => {
    const found = cost(
      [1, 8, 8, 4],
      grouped(4, 2),
      {op: 'concat', name: 'concat'},
      {op: 'blurpool', name: 'blur', taps: 3, stride: 2, mode: 'reflect'},
    );
    expect(found.macs).toBe(64 * 4 * 9 * 2);
    expect(found.bytesByStage).toBe(4 * (64 * 8 + 9 * 2 * 4 + (64 * 8 + 64 * 8) + (64 * 8 + 16 * 8)));
    expect(found.bytes).toBe(4 * (64 * 4 + 9 * 2 * 4 + 16 * 8));
  });

  it('grows with the batch, but for the weights', () => {
    for (const {kind, cases} of BLOCK_SPECS) {
      const {input, stages} = cases[0] as BlockCase; // ops_spec.test.ts sees that there are some.
      const [one, four] = [1, 4].map((n) => costOf({kind, stages}, [n, ...input.slice(1)]));
      expect(four?.macs).toBe(4 * (one?.macs ?? NaN));
      expect(four?.weightBytes).toBe(one?.weightBytes);
      expect((four?.bytes ?? NaN) - (one?.weightBytes ?? NaN)).toBe(
        4 * ((one?.bytes ?? NaN) - (one?.weightBytes ?? NaN)),
      );
    }
  });
});

/** The paper counts 2 bytes a value; float32 has twice as many, so half the intensity. */
const FLOAT16 = 2;

describe("operational intensity tends to the paper's formulas", () => {
  const near = (found: number, paper: number): void => {
    expect(Math.abs(found * FLOAT16 - paper)).toBeLessThan(1e-3 * paper);
  };

  it('for single layers', () => {
    near(
      cost([...MANY, 64], spatialStage('spatial', {kernel: 3, group: 64, channels: 64, bias: false}))
        .intensity,
      288,
    );
    near(cost([...MANY, 64], grouped(64, 32)).intensity, 144);
    near(cost([...MANY, 64], grouped(64, 8)).intensity, 36);
    near(cost([...MANY, 64], grouped(64, 1)).intensity, 4.5);
    near(cost([...MANY, 64], grouped(64, 1, 7)).intensity, 24.5);
    near(cost([...MANY, 64], plain('expand', 256)).intensity, (4 * 64) / 5);
  });

  it('for the feed-forward pair: αC fused, and 2αC / (α + 1) / 2 layer by layer', () => {
    const {intensity, intensityByStage} = cost([...MANY, 64], plain('expand', 384), plain('project', 64));
    near(intensity, 384);
    near(intensityByStage, (6 * 64) / 7);
  });

  it('for ConvFirst: (G·R·S + 2αC) / 2', () => {
    near(cost([...MANY, 64], grouped(64, 8), plain('expand', 384), plain('project', 64)).intensity, 420);
  });

  it('for MBConv: α (2C + G·R·S) / 2', () => {
    near(
      cost([...MANY, 256], plain('expand', 1024), grouped(1024, 8), plain('project', 256)).intensity,
      1168,
    );
  });

  it('and the add costs only where it is a kernel of its own', () => {
    const stages = [grouped(64, 8), plain('expand', 384), plain('project', 64)];
    const [without, added] = [
      cost([...MANY, 64], ...stages),
      cost([...MANY, 64], ...stages, residualStage()),
    ];
    expect(added.bytes).toBe(without.bytes);
    expect(added.bytesByStage - without.bytesByStage).toBe(4 * 3 * 64 * 64 * 1024 * 1024);
  });
});
