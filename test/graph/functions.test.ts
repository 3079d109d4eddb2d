/** Blocks in the bodies of If and While: found, run by TF.js's own executor of control flow, saved and loaded. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {reportText} from '../../src/cli/report_text.js';
import {savedBy} from '../../src/convert/artifacts.js';
import {convert} from '../../src/convert/convert.js';
import {fuse} from '../../src/fuse.js';
import type {Report} from '../../src/graph/index.js';
import {explainArtifacts} from '../../src/tune/explain_model.js';
import {bodyLoop, refinement} from '../support/body_loop.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {expectClose} from '../support/expect_close.js';
import {expectNoLeak} from '../support/expect_no_leak.js';
import {seededTensors} from '../support/random.js';
import {TestGraph} from '../support/test_graph.js';

const CONV = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};
const feed = {x: [2, 6, 6, 8]};

function start(): TestGraph {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  return g;
}

const names = ({blocks}: Report): string[] => blocks.map(({block, at}) => `${block} ${at}`);

/** With a condition on the map itself, so that both branches can be fed. */
function choice(
  g: TestGraph,
  x: string,
  branches: Readonly<Record<'then_branch' | 'else_branch', object>>,
): string {
  const total = g.op('total', 'Sum', [x, g.integers('axes', [0, 1, 2, 3])], {keep_dims: false});
  const isLarge = g.op('large', 'Greater', [total, g.constant('limit', 0)]);
  return g.op('choice', 'StatelessIf', [isLarge, x], branches as Parameters<TestGraph['op']>[3]);
}

const separable = (g: TestGraph, of: string, x: string, to: number): string =>
  g.op(`${of}/relu`, 'Relu', [g.pointwise(`${of}/p`, g.depthwise(`${of}/d`, x, 8), 8, to)]);

onBackend('cpu', 'bodies of control flow', () => {
  it('find the block in a loop, whose filters go round with the map', async () => {
    const report = await expectSame(refinement(), {feed});
    expect(names(report)).toEqual(['BlockConv stem/relu', 'BlockMBConv body/sum']);
    expect(report.blocks[1]?.function).toBe('body');
    expect(report.blocks[1]?.folded).toEqual(['projectFilter']);
    expect(report.depthwise).toEqual({total: 1, fused: 1});
    expect(report.stages.map(({function: of}) => of)).toEqual([undefined, 'body']);
  });

  it('find blocks in both branches, and behind them', async () => {
    const g = start();
    const stem = g.conv('stem', 'x', [3, 3, 8, 8]);
    const then_branch = g.body('yes', ['m'], (inside) => [separable(inside, 'yes', 'm', 12)]);
    const else_branch = g.body('no', ['m'], (inside) => [
      inside.op('value', 'Relu', [inside.conv('no', 'm', [1, 1, 8, 12])]),
    ]);
    const behind = g.pointwise(
      'q',
      g.depthwise('dq', choice(g, stem, {then_branch, else_branch}), 12),
      12,
      4,
    );
    const artifacts = g.artifacts([behind]);
    for (const scale of [1, -1]) {
      const report = await expectSame(artifacts, {feed, scale});
      expect(names(report)).toEqual([
        'BlockConv stem',
        'BlockMBConv q',
        'BlockConv no/value',
        'BlockMBConv yes/yes/relu',
      ]);
    }
  });

  it('find the block in a branch of a turn', async () => {
    const g = start();
    const report = await expectSame(
      g.artifacts([
        g.op('out', 'Relu', [
          bodyLoop(g, 'x', (inside, values) => {
            const then_branch = inside.body('yes', ['m'], (deep) => [separable(deep, 'yes', 'm', 8)]);
            const else_branch = inside.body('no', ['m'], (deep) => [deep.op('value', 'Neg', ['m'])]);
            values[2] = choice(inside, values[2] ?? '', {then_branch, else_branch});
            return values;
          }),
        ]),
      ]),
      {feed},
    );
    expect(names(report)).toEqual(['BlockMBConv body/sum', 'BlockMBConv yes/yes/relu']);
  });

  it('take no filter for a constant that a turn changes', async () => {
    const g = start();
    const out = bodyLoop(g, 'x', (inside, values) => {
      values[5] = inside.op('less', 'Mul', ['dw', inside.constant('body/half', 0.5)]);
      return values;
    });
    const report = await expectSame(g.artifacts([g.op('out', 'Relu', [out])]), {feed});
    expect(names(report)).toEqual(['BlockConv body/active', 'BlockConv body/sum']);
    expect(report.misses.find(({at}) => at === 'body/spatial')?.reason).toBe('the op is not understood');
  });

  it('take no filter for a constant that differs from call to call', async () => {
    const g = start();
    const branch = g.body('shared', ['m', 'w'], (inside) => [inside.op('conv', 'Conv2D', ['m', 'w'], CONV)]);
    const other = g.body('other', ['m', 'w'], (inside) => [inside.op('same', 'Identity', ['m'])]);
    const calls = ['a', 'b'].map((name) => {
      const flag = g.op(`${name}/large`, 'Greater', [
        g.constant(`${name}/one`, 1),
        g.constant(`${name}/zero`, 0),
      ]);
      const operands = [flag, 'x', g.weight(`${name}/w`, [1, 1, 8, 8])];
      return g.op(name, 'StatelessIf', operands, {then_branch: branch, else_branch: other});
    });
    const report = await expectSame(g.artifacts(calls), {feed});
    expect(names(report)).toEqual([]);
  });

  it('know only what all turns have in common of a shape', async () => {
    const g = start();
    // The map grows by a turn: what is in there must fit every size.
    const out = bodyLoop(g, 'x', (inside, values) => {
      const amounts = inside.integers('body/amounts', [0, 0, 1, 0, 0, 1, 0, 0], [4, 2]);
      values[2] = inside.op('larger', 'Pad', [values[2] ?? '', amounts]);
      return values;
    });
    const behind = g.pointwise('q', g.depthwise('dq', out, 8), 8, 4);
    const report = await expectSame(g.artifacts([behind]), {feed});
    expect(names(report)).toEqual(['BlockMBConv q', 'BlockMBConv body/sum']);
  });

  it('share no name with what the rewriter makes elsewhere', async () => {
    const g = start();
    // Folded into the filter, the batch norm would be 'sum/projectFilter' both here and in the body.
    const inner = g.op('in/wide', 'Relu6', [g.pointwise('in/e', 'x', 8, 16)]);
    const narrow = g.pointwise('in/p', g.op('in/act', 'Relu6', [g.depthwise('in/d', inner, 16)]), 16, 8);
    const sum = g.op('sum', 'AddV2', ['x', g.op('in/scaled', 'Mul', [narrow, g.weight('in/gain', [8])])]);
    const artifacts = g.artifacts([g.op('out', 'Relu', [bodyLoop(g, sum)])]);
    expect(names(await expectSame(artifacts, {feed}))).toEqual(['BlockMBConv sum', 'BlockMBConv body/sum']);
    const {weightSpecs = []} = convert(artifacts).artifacts;
    const specs = weightSpecs.map(({name}) => name);
    expect(new Set(specs).size).toBe(specs.length);
  });

  it('survive save and load, at any batch', async () => {
    const original = await loadGraphModel(tf.io.fromMemory(refinement()));
    const fused = await fuse(original);
    const saved = await savedBy(fused);
    const loaded = await loadGraphModel(tf.io.fromMemory(saved));
    for (const batch of [1, 3]) {
      const x = seededTensors(batch)([batch, 6, 6, 8]);
      const [expected, actual] = [await original.executeAsync(x), await loaded.executeAsync(x)];
      await expectClose(actual as tf.Tensor, expected as tf.Tensor);
      tf.dispose([x, expected, actual]);
    }
    // What was rewritten once is left as it is.
    const again = convert(saved);
    expect(again.report.nodes.after).toBe(again.report.nodes.before);
    for (const model of [original, fused, loaded]) model.dispose();
  });

  it('leak nothing', async () => {
    const fused = await fuse(await loadGraphModel(tf.io.fromMemory(refinement())));
    const x = seededTensors(1)([1, 6, 6, 8]);
    await expectNoLeak(async () => tf.dispose(await fused.executeAsync(x)));
    x.dispose();
    fused.dispose();
  });

  it('are in what inspect prints, and explained', () => {
    const {artifacts, report} = convert(refinement(), {isFile: true});
    const text = reportText(report);
    expect(text).toContain('6×6 in body: 1 block');
    expect(text).toContain('BlockMBConv  body/sum');
    expect(explainArtifacts(artifacts).toString()).toContain('body/sum');
  });

  it('are left alone where a function runs itself', async () => {
    const g = start();
    const func = {func: {name: 'yes'}};
    const no = g.body('no', ['m'], (inside) => [separable(inside, 'no', 'm', 8)]);
    g.body('yes', ['m'], (inside) => [choice(inside, 'm', {then_branch: func, else_branch: no})]);
    const large = g.op('never', 'Greater', [g.constant('nothing', 0), g.constant('least', 1)]);
    const out = g.op('out', 'StatelessIf', [large, 'x'], {then_branch: func, else_branch: no});
    expect(names(await expectSame(g.artifacts([out]), {feed}))).toEqual([]);
  });
});

onBackend('webgpu', 'bodies of control flow', () => {
  it('give the same values by the kernels, and leak no GPU byte', async () => {
    await expectSame(refinement(), {feed});
    const fused = await fuse(await loadGraphModel(tf.io.fromMemory(refinement())), {precision: 'f16'});
    const x = seededTensors(1)([1, 6, 6, 8]);
    await expectNoLeak(async () => {
      const y = (await fused.executeAsync(x)) as tf.Tensor;
      await y.data();
      y.dispose();
    });
    x.dispose();
    fused.dispose();
  });
});
