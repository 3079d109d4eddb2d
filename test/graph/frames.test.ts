/** Blocks in loops and branches as TensorFlow 1 wrote them, and as converters write those of 2: Enter to Exit, Switch to Merge. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {fuse} from '../../src/fuse.js';
import type {Report} from '../../src/graph/index.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {frameLoop, looped, residual} from '../support/frame_loop.js';
import {expectNoLeak} from '../support/expect_no_leak.js';
import {seededTensors} from '../support/random.js';
import {matMulGate, mean} from '../support/spelled_blocks.js';
import {TestGraph} from '../support/test_graph.js';

const feed = {x: [2, 6, 6, 8]};

function start(): TestGraph {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  return g;
}

const names = ({blocks}: Report): string[] => blocks.map(({block, at}) => `${block} ${at}`);
const STEM = 'BlockConv stem';
const END = 'BlockMBConv out';

onBackend('cpu', 'frames', () => {
  it('have the block of a loop, whose filters come in from outside', async () => {
    const report = await expectSame(looped(), {feed});
    expect(names(report).sort()).toEqual([STEM, 'BlockMBConv sum', END].sort());
    expect(report.depthwise).toEqual({total: 2, fused: 2});
  });

  it('have a gate whose shape is worked out in each turn', async () => {
    const turn = (g: TestGraph, x: string): string => {
      const map = g.op('r', 'Relu', [g.depthwise('dw', x, 8)]);
      const vector = matMulGate(g, mean(g, map, false));
      // `Reshape((1, 1, 8))` of Keras, which takes the batch from the vector's shape.
      const limits = [[0], [1], [1]].map((list, i) => g.integers(`limit${i}`, list));
      const batch = g.op('batch', 'StridedSlice', [g.op('shape', 'Shape', [vector]), ...limits], {
        shrink_axis_mask: 1,
      });
      const sizes = [batch, ...[1, 1, 8].map((size, i) => g.integers(`size${i}`, [size], []))];
      const gates = g.op('gates', 'Reshape', [vector, g.op('pack', 'Pack', sizes, {N: 4, axis: 0})]);
      return g.pointwise('p', g.op('gated', 'Mul', [map, gates]), 8, 8);
    };
    const report = await expectSame(looped(turn), {feed});
    expect(report.blocks.find(({at}) => at === 'p')?.stages.join()).toContain('gate');
  });

  it('keep what a turn computes of constants in the loop', async () => {
    // All sizes are known, so the turn's value is, too; but a constant would not wait for the turn.
    const g = new TestGraph();
    g.input('x', [2, 6, 6, 8]);
    const out = frameLoop(g, 'x', (x) =>
      g.op('ones', 'Fill', [g.op('shape', 'Shape', [x]), g.constant('half', 0.5)]),
    );
    const end = g.op('out', 'Relu', [g.pointwise('q', g.depthwise('dq', out, 8), 8, 4)]);
    expect(names(await expectSame(g.artifacts([end])))).toEqual([END]);
  });

  it('know only what all turns have in common of a shape', async () => {
    const turn = (g: TestGraph, x: string): string => {
      const amounts = g.integers('amounts', [0, 0, 1, 0, 0, 1, 0, 0], [4, 2]);
      return g.op('larger', 'Pad', [residual(g, x), amounts]);
    };
    expect(names(await expectSame(looped(turn), {feed})).sort()).toEqual(
      [STEM, 'BlockMBConv sum', END].sort(),
    );
  });

  for (const scale of [1, -1])
    it(`have the blocks of branches: ${scale > 0 ? 'one' : 'the other'}`, async () => {
      const g = start();
      const total = g.op('total', 'Sum', ['x', g.integers('axes', [0, 1, 2, 3])], {keep_dims: false});
      const isLarge = g.op('large', 'Greater', [total, g.constant('limit', 0)]);
      g.op('switch', 'Switch', ['x', isLarge]);
      const yes = g.op('yes', 'Relu', [g.pointwise('yes/p', g.depthwise('yes/d', 'switch:1', 8), 8, 8)]);
      const no = g.op('no', 'Relu6', [g.pointwise('no/p', g.depthwise('no/d', 'switch', 8), 8, 8)]);
      const merge = g.op('merge', 'Merge', [no, yes]);
      const out = g.pointwise('q', g.depthwise('dq', merge, 8), 8, 4);
      const artifacts = g.artifacts([out]);
      const original = await loadGraphModel(tf.io.fromMemory(artifacts));
      const fused = await fuse(original);
      const x = seededTensors(3)([2, 6, 6, 8]);
      const fed = tf.mul(x, scale);
      const [expected, actual] = [await original.executeAsync(fed), await fused.executeAsync(fed)];
      const [want, got] = [await (expected as tf.Tensor).data(), await (actual as tf.Tensor).data()];
      want.forEach((value, i) => expect(got[i]).toBeCloseTo(value, 5));
      expect(names(fused.report).sort()).toEqual(['BlockMBConv no', 'BlockMBConv q', 'BlockMBConv yes']);
      tf.dispose([x, fed, expected, actual]);
      original.dispose();
      fused.dispose();
    });

  it('leak nothing', async () => {
    const fused = await fuse(await loadGraphModel(tf.io.fromMemory(looped())));
    const x = seededTensors(1)([1, 6, 6, 8]);
    await expectNoLeak(async () => tf.dispose(await fused.executeAsync(x)));
    x.dispose();
    fused.dispose();
  });
});

onBackend('webgpu', 'frames', () => {
  it('give the same values by the kernels', async () => {
    await expectSame(looped(), {feed});
  });
});
