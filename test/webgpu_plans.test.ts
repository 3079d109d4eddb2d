/** Plans, packed weights and kernel texts of the WebGPU backend, apart from their results. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {Constants, Dispatch} from '../kernels/plan.js';
import {headerOf, keyOf} from '../kernels/webgpu/compile.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {explainBlock} from '../kernels/webgpu/explain.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  depthwiseCandidates,
  MATMUL_TILES,
  matmulIsLegal,
  MOST_WORKGROUPS,
  stockLimits,
  threadsOf,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import {unroll} from '../kernels/webgpu/unroll.js';
import {packByKernel} from '../kernels/webgpu/pack_weights.js';
import {packOnDevice, packOnHost} from '../kernels/webgpu/weights.js';
import {BLOCK_SPECS, type SpatialStage, type Stage, traceBlock} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {seededTensors} from './support/random.js';

const tiling = tilingFor(stockLimits);

const inverted = [
  pointwiseStage('expand', 24, 'relu6'),
  spatialStage('spatial', {kernel: 3, group: 1, channels: 24, activation: 'relu6'}),
  pointwiseStage('project', 8),
  residualStage(),
];

describe('WebGPU plans', () => {
  for (const spec of BLOCK_SPECS) {
    it(`${spec.kind}: every buffer that is read was written before, and the output is written`, () => {
      for (const {input, stages} of spec.cases) {
        const {dispatches, scratch} = lowerBlock({kind: spec.kind, stages}, input, tiling);
        const isGiven = stages.some((stage) => stage.op === 'residual' && stage.given);
        const written = new Set<string>(['x', 'weights', 'unused', ...(isGiven ? ['map'] : [])]);
        for (const {buffers, workgroups} of dispatches) {
          const outputs = ['out', 'scales', 'sums', 'moments', 'statistics'];
          for (const [binding, buffer] of Object.entries(buffers)) {
            if (!outputs.includes(binding))
              expect(written).withContext(`${binding} = ${buffer}`).toContain(buffer);
          }
          for (const buffer of Object.values(buffers)) written.add(buffer);
          expect(Math.max(...workgroups)).toBeLessThanOrEqual(MOST_WORKGROUPS);
        }
        const read = dispatches.flatMap(({buffers}) => Object.values(buffers));
        expect(read.includes('map')).toBe(isGiven);
        expect(written).toContain('out');
        for (const name of Object.keys(scratch)) expect(written).toContain(name);
      }
    });
  }

  it('take an MBConv of a large map in three dispatches, and the residual into the last', () => {
    const {dispatches} = lowerBlock({kind: 'BlockMBConv', stages: inverted}, [8, 112, 112, 8], tiling);
    expect(dispatches.map(({kernel}) => kernel)).toEqual([
      'pointwise.vector',
      'depthwise.vector',
      'pointwise.vector',
    ]);
    expect(dispatches[2]?.buffers['residual']).toBe('x');
    expect(dispatches[2]?.constants['HAS_RESIDUAL']).toBe(true);
  });

  it('take the same of a small map, where a dispatch’s start is most of its time, in one', () => {
    const {dispatches} = lowerBlock({kind: 'BlockMBConv', stages: inverted}, [1, 8, 8, 8], tiling);
    expect(dispatches.map(({kernel}) => kernel)).toEqual(['expandDepthwiseProject.vector']);
    expect(dispatches[0]?.buffers['residual']).toBe('x');
    expect(dispatches[0]?.constants['HAS_RESIDUAL']).toBe(true);
  });

  // Channels, squeezed channels, map, batch; the kernel behind the depth-wise convolution.
  const GATES = [
    ['in one dispatch of its own, where each workgroup would read much of its first layer', [960, 240, 56, 16], 'gate'],
    ['with its first layer in the convolution before it', [1152, 48, 7, 1], 'gateExpand'],
    ['in no dispatch, where the product behind it has few workgroups and its weights are few', [32, 8, 112, 1], 'gatedPointwise.vector'],
    ['not in a product whose workgroups hold rows of several images', [32, 8, 111, 3], 'gateExpand'],
    ['not in a product that reads its rows straight from memory', [144, 6, 28, 1], 'gateExpand'],
  ] as const; // prettier-ignore
  const gated = (channels: number, reduced: number): readonly Stage[] => [
    spatialStage('spatial', {kernel: 3, group: 1, channels, activation: 'swish'}),
    gateStage(reduced),
    pointwiseStage('project', 16),
  ];
  for (const [name, [channels, reduced, size, batch], kernel] of GATES) {
    it(`take a gate ${name}`, () => {
      const block = {kind: 'BlockMBConv', stages: gated(channels, reduced)};
      const {dispatches} = lowerBlock(block, [batch, size, size, channels], tilingFor(H200.limits));
      expect(dispatches[0]?.kernel).toBe('depthwise.vector');
      expect(dispatches[1]?.kernel).toBe(kernel);
    });
  }

  it('give a depth-wise tile as many threads as the gate’s first layer wants, so that it makes that', () => {
    const stages = [
      spatialStage('spatial', {kernel: 5, group: 1, channels: 960, activation: 'swish'}),
      gateStage(240),
      pointwiseStage('project', 160),
    ];
    const limits = H200.limits;
    const {dispatches} = lowerBlock({kind: 'BlockMBConv', stages}, [32, 7, 7, 960], tilingFor(limits));
    expect(dispatches.map(({kernel}) => kernel).slice(0, 2)).toEqual(['depthwise.vector', 'gateExpand']);
    const problem = {shape: [32, 7, 7, 960], stage: stages[0] as SpatialStage} as const;
    expect(threadsOf(tilingFor(limits).depthwise(problem))).toBeLessThan(60);
    expect(threadsOf(tilingFor(limits).depthwise({...problem, squeezed: 60}))).toBeGreaterThanOrEqual(60);
  });

  it('have no depth-wise tile whose moments leave no room for what else the kernel declares', () => {
    let most = 0;
    for (const [size, channels] of [
      [14, 64],
      [14, 384],
      [56, 96],
    ] as const) {
      const stage = spatialStage('spatial', {kernel: 7, group: 1, channels});
      for (const tile of depthwiseCandidates([1, size, size, channels], stage, stockLimits)) {
        const moments = 8 * threadsOf(tile) * tile.STRIP_H * tile.STRIP_W;
        most = Math.max(most, moments);
        // Two arrays of a gate's, which is not there: a vector each.
        expect(moments + 2 * 16)
          .withContext(JSON.stringify(tile))
          .toBeLessThanOrEqual(stockLimits.maxComputeWorkgroupStorageSize);
      }
    }
    expect(most).toBeGreaterThan(stockLimits.maxComputeWorkgroupStorageSize / 4);
  });

  it('fuse a run of stages for few images where it wins by estimate, for more by a margin, and say so', () => {
    const stages = (channels: number): readonly Stage[] => [
      pointwiseStage('expand', 6 * channels, 'relu6'),
      spatialStage('spatial', {kernel: 3, group: 1, channels: 6 * channels, activation: 'relu6'}),
      pointwiseStage('project', channels),
      residualStage(),
    ];
    const explained = (
      input: readonly number[],
    ): {kernels: readonly string[]; reasons: readonly string[]} => {
      const block = {kind: 'BlockMBConv', stages: stages(input[3] ?? 0)};
      const {dispatches, notFused} = explainBlock(block, input, {device: H200});
      return {kernels: dispatches.map(({kernel}) => kernel), reasons: notFused.map(({reason}) => reason)};
    };
    expect(explained([4, 28, 28, 32]).kernels[0]).toBe('expandDepthwiseProject.vector');
    expect(explained([5, 14, 14, 40]).reasons).toContain('the estimate gains less than 15 %');
    const many = explained([8, 28, 28, 32]);
    expect(many.kernels.join()).not.toContain('Project');
    expect(many.reasons).toContain('the estimate gains less than 15 %');
    expect(explained([1, 7, 7, 160]).reasons).toContain('the estimate gains nothing');
  });

  it('explain a product that makes a gate by the product’s tile, the gate’s work counted', () => {
    const block = {kind: 'BlockMBConv', stages: gated(32, 8)};
    const {dispatches} = explainBlock(block, [1, 112, 112, 32], {device: H200});
    const last = dispatches.at(-1);
    expect(last?.kernel).toBe('gatedPointwise.vector');
    expect(last && last.choice.by === 'planner' && last.choice.tile['TILE_M']).toBeGreaterThan(0);
    expect(last?.operations).toBeGreaterThan(2 * 112 * 112 * 32 * 16);
  });

  it('stay within the limits of every device, for maps of any size', () => {
    expect(MATMUL_TILES.some((tile) => matmulIsLegal(tile, stockLimits))).toBe(true);
    const {dispatches} = lowerBlock(
      {kind: 'BlockConv', stages: [pointwiseStage('conv', 4)]},
      [128, 512, 512, 4],
      tiling,
    );
    for (const {workgroups} of dispatches)
      expect(Math.max(...workgroups)).toBeLessThanOrEqual(MOST_WORKGROUPS);
  });
});

describe('kernel texts', () => {
  it('get their constants with a type', () => {
    expect(headerOf({TILE_M: 8, HAS_BIAS: true, 'P:f32': 1, 'PAD:i32': 2})).toBe(
      'const TILE_M: u32 = 8u;\nconst HAS_BIAS: bool = true;\nconst P: f32 = 1.0;\nconst PAD: i32 = 2i;\n',
    );
  });

  it('have a key that differs wherever a constant does, in whatever order they come', () => {
    const keyWith = (constants: Constants, buffers: Dispatch['buffers'] = {}): string =>
      keyOf({kernel: 'gate', constants, buffers});
    expect(keyWith({A: 1, B: 2})).toBe(keyWith({B: 2, A: 1}));
    expect(keyWith({A: 1})).not.toBe(keyWith({A: 2}));
    expect(keyWith({A: 1}, {sums: 'x'})).not.toBe(keyWith({A: 1}, {weights: 'x'}));
    expect(keyWith({A: 1}, {sums: 'x'})).toBe(keyWith({A: 1}, {sums: 'scratch:rows0', weights: 'unused'}));
  });

  it('are unrolled, nested ones too', () => {
    const text = [
      '  // unroll i < N / 2',
      '  {',
      '    // unroll j < 2',
      '    {',
      '      f(i, j);',
      '    }',
      '  }',
    ].join('\n');
    const written = unroll(text, {N: 4});
    expect(written.match(/const i = \d+u;/g)).toEqual(['const i = 0u;', 'const i = 1u;']);
    expect(written.match(/f\(i, j\);/g)?.length).toBe(4);
    expect(unroll(text, {N: 4}, true)).toContain('for (var i = 0u; i < 2u; i++) {');
    expect(() => unroll(text, {N: 3})).toThrowError(/no whole number/);
    expect(() => unroll('// unroll i < 2\nf();', {})).toThrowError(/Braces/);
  });

  it('have only the parts for their constants', () => {
    const text = ['// only STACK == 2', '{', '  f();', '}', '// only STACK == 4', '{', '  g();', '}'].join(
      '\n',
    );
    expect(unroll(text, {STACK: 2})).toBe('{\n  f();\n}');
    expect(unroll(text, {STACK: 4}, true)).toBe('{\n  g();\n}');
    expect(unroll(text, {STACK: 3})).toBe('');
    expect(() => unroll(text, {})).toThrowError(/no constant STACK/);
    expect(() => unroll('// only STACK == 2\nf();', {STACK: 2})).toThrowError(/Braces/);
  });
});

onBackend('cpu', 'packed weights', () => {
  it('are the same by loops in main memory as by stock ops', async () => {
    const make = seededTensors(5);
    for (const spec of BLOCK_SPECS) {
      for (const {input, stages} of spec.cases) {
        const block = {kind: spec.kind, stages};
        const layout = lowerBlock(block, input, tiling).weights;
        const tensors = new Map(
          traceBlock(block, input).weights.map(({name, shape}) => [name, make(shape)] as const),
        );
        const values = new Map<string, Float32Array>();
        for (const [name, tensor] of tensors) values.set(name, (await tensor.data()) as Float32Array);
        const device = tf.tidy(() => packOnDevice(layout, tensors));
        await expectClose(device, packOnHost(layout, values), {name: spec.kind, tolerance: 1e-6});
        tf.dispose([device, ...tensors.values()]);
      }
    }
  });
});

onBackend('webgpu', 'packed weights', () => {
  it('are the same by a kernel as by loops in main memory', async () => {
    const make = seededTensors(6);
    for (const {kind, cases} of BLOCK_SPECS) {
      const seen = new Set<string>();
      for (const {input, stages} of cases) {
        const layout = lowerBlock({kind, stages}, input, tiling).weights;
        const shapes = traceBlock({kind, stages}, input).weights.map(
          ({name, shape}) => [name, shape] as const,
        );
        // Each set of weights once, and of those with more than one dispatch has sections for, and of few, some.
        const like = `${layout.sections.length} ${layout.sections.map(({columns}) => columns % 4).join()}`;
        if (seen.has(like) || layout.sections.length === 0) continue;
        seen.add(like);
        const tensors = new Map(shapes.map(([name, shape]) => [name, make(shape)] as const));
        const values = new Map<string, Float32Array>();
        for (const [name, tensor] of tensors) values.set(name, (await tensor.data()) as Float32Array);
        const packed = packByKernel(tf.backend() as WebGPUBackend, layout, tensors);
        const isFolded = layout.sections.some(
          ({value}) =>
            (value.form !== 'filter' && value.form !== 'bias') ||
            value.rowScale ||
            value.rowOffset ||
            value.columnScale,
        );
        expect(packed === undefined)
          .withContext(kind)
          .toBe(isFolded);
        if (packed) await expectClose(packed, packOnHost(layout, values), {name: kind, tolerance: 0});
        tf.dispose([packed ?? [], ...tensors.values()]);
      }
    }
  });
});
