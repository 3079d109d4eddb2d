/** What of f16 needs no device that has it: the number format, packed filters, the choice of fragments, and the fallback. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {layers, sequential} from '@tensorflow/tfjs-layers';
import * as tf from '@tensorflow/tfjs-core';
import {halfBits, halfValue} from '../kernels/float16.js';
import {WeightPacker} from '../kernels/plan.js';
import {BackendAccess} from '../kernels/webgpu/backend_access.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  fitTile,
  halfFeaturesOf,
  MATRIX_TILES,
  type MatrixUnit,
  withHalf,
} from '../kernels/webgpu/matrix_tiling.js';
import {stockLimits, tilingFor} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {restartBackend} from '../src/capture/recovery.js';
import {fuse} from '../src/index.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {seededRandom, seededTensors} from './support/random.js';

const UNIT: MatrixUnit = {FRAGMENT_M: 16, FRAGMENT_N: 16, FRAGMENT_K: 16, SUBGROUP_SIZE: 32};

describe('binary16', () => {
  it('comes back from every one of its numbers', () => {
    const isNaNBits = (half: number): boolean => (half & 0x7fff) > 0x7c00;
    const wrong = Array.from({length: 1 << 16}, (_, half) => half).filter(
      (half) => !isNaNBits(half) && halfBits(halfValue(half)) !== half,
    );
    expect(wrong).toEqual([]);
    expect(halfValue(halfBits(NaN))).toBeNaN();
  });

  it('rounds to the nearest, and to even between two', () => {
    const next = seededRandom(1);
    for (let i = 0; i < 2000; i++) {
      const low = Math.floor(next() * 0x7bff);
      const [a, b] = [halfValue(low), halfValue(low + 1)];
      expect(halfBits(a + 0.25 * (b - a))).toBe(low);
      expect(halfBits(a + 0.75 * (b - a))).toBe(low + 1);
      expect(halfBits((a + b) / 2)).toBe(low + (low % 2));
      expect(halfBits(-(a + b) / 2)).toBe(0x8000 + low + (low % 2));
    }
    expect(halfBits(65519)).toBe(0x7bff);
    expect(halfBits(65520)).toBe(0x7c00);
    expect(halfBits(2 ** -25)).toBe(0);
  });
});

describe('f16 plans', () => {
  const stages = [
    pointwiseStage('expand', 24, 'relu6'),
    spatialStage('spatial', {kernel: 3, group: 1, channels: 24, activation: 'relu6'}),
    pointwiseStage('project', 8),
    residualStage(),
  ];
  const block = {kind: 'BlockMBConv', stages};
  const planWith = (matrices: readonly MatrixUnit[], channels = 8): ReturnType<typeof lowerBlock> =>
    lowerBlock(block, [1, 8, 8, channels], withHalf(tilingFor(stockLimits), stockLimits, {matrices}));
  const typesOf = ({constants}: {constants: object}): string[] =>
    Object.keys(constants).filter((name) => name.endsWith('_F16'));

  it('hold f16 within a block alone, half the size, and add the residual from f32', () => {
    const plan = planWith([UNIT]);
    expect(plan.dispatches.map(({kernel}) => kernel)).toEqual([
      'matrix.float',
      'depthwise.vector',
      'matrix.half',
    ]);
    expect(plan.dispatches.map(typesOf)).toEqual([['OUT_F16'], ['X_F16', 'OUT_F16'], ['X_F16']]);
    expect(Object.values(plan.scratch)).toEqual([(8 * 8 * 24) / 2, (8 * 8 * 24) / 2]);
    expect(plan.weights.sections.map(({dtype}) => dtype)).toEqual(['f16', 'f32', 'f32', 'f32', 'f16', 'f32']);
  });

  it('take the f32 kernels where there are no matrices, or channels do not come by eights', () => {
    const stored = planWith([]);
    expect(stored.dispatches.map(({kernel}) => kernel)).toEqual([
      'pointwise.vector',
      'depthwise.vector',
      'directPointwise.vector',
    ]);
    expect(stored.dispatches.map(typesOf)).toEqual([['OUT_F16'], ['X_F16', 'OUT_F16'], ['X_F16']]);
    const narrow = lowerBlock(
      {kind: 'BlockConv', stages: [pointwiseStage('conv', 8)]},
      [1, 8, 8, 12],
      withHalf(tilingFor(stockLimits), stockLimits, {matrices: [UNIT]}),
    );
    expect(narrow.dispatches.map(({kernel}) => kernel)).toEqual(['pointwise.vector']);
  });

  it('pack filters two to a word, the first below', () => {
    const packer = new WeightPacker();
    packer.vector('bias', 3);
    const offset = packer.add(
      {rows: 2, columns: 3, dtype: 'f16', padRows: true},
      {form: 'filter', filter: 'w'},
    );
    expect(offset).toBe(4);
    const layout = packer.layout();
    expect(layout.size).toBe(4 + (8 * 8) / 2);
    const w = Float32Array.of(1, -2, 0.1, 4, 5, 6e-8);
    const packed = packOnHost(layout, new Map([['w', w], ['bias', Float32Array.of(7, 8, 9)]])); // prettier-ignore
    const words = new DataView(packed.buffer, 4 * offset);
    const halves = Array.from({length: 64}, (_, i) => halfValue(words.getUint16(2 * i, true)));
    expect(halves.slice(0, 4)).toEqual([1, -2, halfValue(halfBits(0.1)), 0]);
    expect(halves.slice(8, 12)).toEqual([4, 5, 2 ** -24, 0]);
    expect(halves.slice(16).every((value) => value === 0)).toBe(true);
    expect([...packed.subarray(0, 4)]).toEqual([7, 8, 9, 0]);
  });
});

describe('subgroup matrices', () => {
  interface FakeDevice {
    readonly lanes?: readonly [number, number];
    readonly configs?: readonly object[];
    readonly features?: readonly string[];
  }
  const ALL = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
  /** Of a device only what halfFeaturesOf reads. */
  const deviceOf = ({lanes = [32, 32], configs = [], features = ALL}: FakeDevice): GPUDevice =>
    ({
      features: new Set(features),
      adapterInfo: {subgroupMinSize: lanes[0], subgroupMaxSize: lanes[1], subgroupMatrixConfigs: configs},
    }) as unknown as GPUDevice;
  const config = (M: number, N: number, K: number, resultComponentType = 'f32'): object => ({
    componentType: 'f16',
    resultComponentType,
    M,
    N,
    K,
  });

  it('are those of f16 with f32 sums, where subgroups have one size', () => {
    const configs = [config(16, 8, 16), config(16, 16, 16, 'f16'), config(16, 16, 16)];
    expect(halfFeaturesOf(deviceOf({configs}))?.matrices).toEqual([{...UNIT, FRAGMENT_N: 8}, UNIT]);
    expect(halfFeaturesOf(deviceOf({configs, lanes: [8, 32]}))?.matrices).toEqual([]);
    expect(halfFeaturesOf(deviceOf({configs, features: ['shader-f16']}))?.matrices).toEqual([]);
    expect(halfFeaturesOf(deviceOf({configs, features: ['subgroups']}))).toBeUndefined();
  });

  it('give tiles that divide into them, within the limits of the device', () => {
    const problem = {m: 6272, n: 384, k: 1536};
    for (const unit of [
      UNIT,
      {...UNIT, FRAGMENT_N: 8},
      {...UNIT, FRAGMENT_M: 8, FRAGMENT_N: 8, FRAGMENT_K: 8},
    ]) {
      const tile = withHalf(tilingFor(stockLimits), stockLimits, {matrices: [unit]}).half?.matrix?.(problem);
      expect(tile).toEqual(jasmine.objectContaining(unit));
    }
    const large = {...stockLimits, maxComputeWorkgroupStorageSize: 49152};
    const [first] = MATRIX_TILES;
    expect(first && fitTile(first, UNIT, stockLimits)).toBeUndefined();
    expect(first && fitTile(first, UNIT, large)?.STORE_FRAGMENTS).toBe(3);
    expect(first && fitTile(first, {...UNIT, FRAGMENT_M: 40}, large)).toBeUndefined();
    expect(withHalf(tilingFor(large), large, {matrices: [{...UNIT, FRAGMENT_M: 40}]}).half).toEqual({});
  });
});

onBackend('webgpu', "fuse with precision 'f16'", () => {
  it('where there is no f16, runs in f32 and says so once', async () => {
    if (halfFeaturesOf((tf.backend() as WebGPUBackend).device)) pending('this device has f16');
    await restartBackend(new BackendAccess(tf.backend())); // A device of which no other spec was told.
    const model = sequential({
      layers: [
        layers.depthwiseConv2d({inputShape: [8, 8, 8], kernelSize: 3, padding: 'same', activation: 'relu6'}),
        layers.conv2d({filters: 16, kernelSize: 1, activation: 'relu'}),
        layers.globalAveragePooling2d({}),
      ],
    });
    const warn = spyOn(console, 'warn');
    const [exact, half] = [await fuse(model), await fuse(model, {precision: 'f16'})];
    const x = seededTensors(4)([1, 8, 8, 8]);
    const want = exact.predict(x) as tf.Tensor;
    await expectClose(half.predict(x) as tf.Tensor, want, {tolerance: 0});
    await half.warmup(x);
    const said = warn.calls.allArgs().filter(([text]) => String(text).includes('shader-f16'));
    expect(said.length).toBe(1);
    exact.dispose();
    half.dispose();
    model.dispose();
  });
});
