/** What kernels reach of a device's peaks: which dispatch is which plan's, and what explains the time of it. */
import {layers, sequential} from '@tensorflow/tfjs-layers';
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Plan} from '../kernels/plan.js';
import {networksTable, type NetworkTimes, sharesOf, summaryTable, type TimedDispatch} from '../benchmarks/kernel_shares.js'; // prettier-ignore
import {withPlans} from '../benchmarks/planned_dispatches.js';
import {dispatchesOf, type ReplayedDispatch} from '../benchmarks/replayed.js';
import {fuse} from '../src/index.js';
import {plansOfModel} from '../src/warmup.js';
import {onBackend} from './support/environment.js';
import {seededTensors} from './support/random.js';

const FIGURES = {operationsPerSecond: 50e12, bytesPerSecond: 2e12, launchMicroseconds: 2};

const timed = (
  kernel: string,
  microseconds: number,
  cost?: {macs: number; bytes: number},
): TimedDispatch => ({
  kernel,
  workgroups: [1, 1, 1],
  ...(cost && {block: 'BlockConv', input: [1, 1, 1, 1], ...cost}),
  passMicroseconds: microseconds + 5,
  microseconds,
});

describe('Shares of kernels', () => {
  const dispatches = [
    timed('pointwise.vector', 10, {macs: 100e6, bytes: 2e6}), // 4 µs of arithmetic, 1 of memory
    timed('pointwise.vector', 10, {macs: 25e6, bytes: 12e6}), // 1 and 6
    timed('pointwise.scalar', 4, {macs: 0, bytes: 20e6}), // 10 µs of memory: it lay in a cache
    timed('PadProgram', 16),
  ];
  const [vector, pad, scalar] = sharesOf(dispatches, FIGURES);

  it('are of the sum, by kernel, the longest first', () => {
    expect(vector?.kernel).toBe('pointwise');
    expect(vector?.dispatches).toBe(2);
    expect(vector?.ofNetwork).toBeCloseTo(20 / 40, 9);
    expect(vector?.operationsPerSecond).toBeCloseTo(250e6 / 20e-6, -3);
    expect(vector?.ofPeak).toBeCloseTo(0.25, 9);
    expect(vector?.ofBandwidth).toBeCloseTo(0.35, 9);
    expect(vector?.ofLaunch).toBeCloseTo(0.2, 9);
    expect(vector?.heldBy).toBe('memory');
  });

  it('leave what neither launch nor the longer of the other two explains, dispatch by dispatch', () => {
    expect(vector?.rest).toBeCloseTo((10 - 2 - 4 + (10 - 2 - 6)) / 20, 9);
    expect(scalar?.kernel).toBe('pointwise.scalar');
    expect(scalar?.ofBandwidth).toBeCloseTo(2.5, 9);
    expect(scalar?.rest).toBe(0);
  });

  it('say nothing of programs without a plan but what their launches take', () => {
    expect(pad?.kernel).toBe('PadProgram');
    expect(pad?.ofLaunch).toBeCloseTo(2 / 16, 9);
    expect(pad?.heldBy).toBeUndefined();
    expect([pad?.operations, pad?.ofPeak, pad?.rest]).toEqual([NaN, NaN, NaN]);
  });

  it('are printed with the whole beside the parts', () => {
    const network = (name: string, gpuMicroseconds: number, own: TimedDispatch[]): NetworkTimes => ({
      ...{network: name, batch: 1, gpuMicroseconds, dispatches: own},
      ...{launchMicroseconds: 2, emptyPassMicroseconds: 7, emptyPassBehindKernelMicroseconds: 7},
    });
    const both = [network('a', 50, dispatches), network('b', 10, dispatches.slice(0, 1))];
    const lines = networksTable(both, FIGURES).split('\n');
    expect(lines[3]).toMatch(
      /\| a, 1 +\| 4 +\| 50.0 +\| 40.0 \(80 %\) +\| 10.0 +\| 25 % +\| 50 % +\| 25 % +\|/,
    );
    const summary = summaryTable(1, both, FIGURES);
    expect(summary).toMatch(/\| pointwise +\| 2 +\| 3 +\| 10.0 +\| 60 % \(50 to 100 %\)/);
    expect(summary).toMatch(/\| PadProgram .*\| – +\| – +\|$/m);
  });
});

onBackend('webgpu', 'Dispatches of a replay', () => {
  let device: GPUDevice;
  let replayed: ReplayedDispatch[];
  let plans: readonly Plan[];

  beforeAll(async () => {
    ({device} = tf.backend() as WebGPUBackend);
    const model = sequential({
      layers: [
        layers.conv2d({inputShape: [6, 6, 4], filters: 8, kernelSize: 1, activation: 'relu'}),
        layers.maxPooling2d({}),
        layers.conv2d({filters: 12, kernelSize: 1}),
      ],
    });
    const fused = await fuse(model);
    model.dispose();
    const x = seededTensors(2)([1, 6, 6, 4]);
    plans = plansOfModel(fused, x);
    const replay = await fused.capture([x]);
    const predict = (): void => tf.dispose(replay.predict([x]));
    predict();
    const encoder = Object.getOwnPropertyDescriptor(device, 'createCommandEncoder');
    replayed = dispatchesOf(device, replay, predict);
    expect(Object.getOwnPropertyDescriptor(device, 'createCommandEncoder')).toEqual(encoder);
    replay.dispose();
    fused.dispose();
    x.dispose();
  });

  it('are those of the plans, in order, with programs of TF.js between', () => {
    const found = withPlans(device, replayed, plans);
    expect(found.map(({planned}) => planned?.block)).toEqual(['BlockConv', undefined, 'BlockConv']);
    expect(found[2]?.planned?.input).toEqual([1, 3, 3, 8]);
    expect(found[2]?.planned?.cost.macs).toBe(3 * 3 * 8 * 12);
  });

  it('are refused where they differ', () => {
    const [first, ...others] = plans as [Plan, ...Plan[]];
    expect(() => withPlans(device, replayed, [...others, first])).toThrowError(/Dispatch 0 of the replay is .* but BlockConv on \[1, 3, 3, 8\] plans/); // prettier-ignore
    expect(() => withPlans(device, replayed, [first])).toThrowError(/no more than 1 dispatches/);
    expect(() => withPlans(device, replayed.slice(0, 2), plans)).toThrowError(/have 2 dispatches, the replay only 1/); // prettier-ignore
    const more = replayed.map((one) => ({...one, workgroups: [7, 1, 1] as const}));
    expect(() => withPlans(device, more, plans)).toThrowError(/7×1×1/);
  });
});
