/** Where a network's head begins and ends: what it must not swallow, and which values have which rank. */
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {TestGraph} from '../support/test_graph.js';

const feed = {x: [2, 6, 6, 8]};

function start(): TestGraph {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  return g;
}

const mean = (g: TestGraph, x: string, axes: readonly number[] = [1, 2], keep = false): string =>
  g.op('mean', 'Mean', [x, g.integers('axes', axes)], {keep_dims: keep});
const dense = (g: TestGraph, name: string, x: string, from: number, to: number): string =>
  g.op(name, 'MatMul', [x, g.weight(`${name}/w`, [from, to])], {transpose_a: false, transpose_b: false});

async function blocksOf(
  g: TestGraph,
  outputs: readonly string[],
  keep: readonly string[] = [],
): Promise<string[]> {
  const {blocks} = await expectSame(g.artifacts(outputs), {feed, options: {keep}, outputs: keep});
  return blocks.map(
    ({block, at, stages}) => `${block} ${at}: ${stages.map((stage) => stage.split(' ')[0]).join(' ')}`,
  );
}

onBackend('cpu', 'heads', () => {
  it('give a vector or a map of one pixel, as the op they replace', async () => {
    const vector = start();
    expect(await blocksOf(vector, [dense(vector, 'out', mean(vector, 'x'), 8, 3)])).toEqual([
      'BlockHead out: mean dense flatten',
    ]);
    const map = start();
    expect(await blocksOf(map, [map.pointwise('out', mean(map, 'x', [1, 2], true), 8, 3)])).toEqual([
      'BlockHead out: mean dense',
    ]);
  });

  it('end before a value of rank 3', async () => {
    const g = start();
    const row = g.op('row', 'Reshape', [
      dense(g, 'out', mean(g, 'x'), 8, 3),
      g.integers('shape', [-1, 1, 3]),
    ]);
    expect(await blocksOf(g, [g.op('tanh', 'Tanh', [row])])).toEqual(['BlockHead mean: mean flatten']);
  });

  it('end in the mean where several branches read it', async () => {
    const g = start();
    const vector = mean(g, g.op('relu', 'Relu', [g.pointwise('conv', 'x', 8, 12)]));
    expect(await blocksOf(g, [dense(g, 'a', vector, 12, 3), dense(g, 'b', vector, 12, 2)])).toEqual([
      'BlockHead mean: conv mean flatten',
    ]);
  });

  it('are a mean alone where nothing else belongs to it', async () => {
    const g = start();
    const flat = g.op('tanh', 'Tanh', [mean(g, g.op('sin', 'Sin', ['x']))]);
    expect(await blocksOf(g, [flat])).toEqual(['BlockHead mean: mean flatten']);
  });

  it('end in a mean that is an output, and leave the convolution in front to its block', async () => {
    const g = start();
    const map = g.op('relu', 'Relu', [g.pointwise('p', g.depthwise('d', 'x', 8), 8, 12)]);
    const vector = mean(g, map);
    const last = dense(g, 'out', vector, 12, 3);
    expect(await blocksOf(g, [last, vector])).toEqual([
      'BlockMBConv relu: spatial project',
      'BlockHead mean: mean flatten',
    ]);
  });

  it('leave a value that is kept', async () => {
    const g = start();
    const logits = dense(g, 'out', dense(g, 'hidden', mean(g, 'x'), 8, 6), 6, 3);
    expect(await blocksOf(g, [logits], ['hidden'])).toEqual(['BlockHead hidden: mean dense flatten']);
  });

  it('take three dense layers at most', async () => {
    const g = start();
    const names = ['a', 'b', 'c', 'd'];
    const last = names.reduce((x, name) => dense(g, name, x, 8, 8), mean(g, 'x'));
    expect(await blocksOf(g, [last])).toEqual(['BlockHead c: mean hidden hidden2 dense flatten']);
  });

  it('leave a separable convolution in front together', async () => {
    const g = start();
    const map = g.op('relu', 'Relu', [g.pointwise('p', g.depthwise('d', 'x', 8), 8, 12)]);
    expect(await blocksOf(g, [dense(g, 'out', mean(g, map), 12, 3)])).toEqual([
      'BlockMBConv relu: spatial project',
      'BlockHead out: mean dense flatten',
    ]);
  });

  const OTHERS: Readonly<Record<string, (g: TestGraph) => string>> = {
    'a mean over channels': (g) =>
      dense(g, 'out', g.op('flat', 'Reshape', [mean(g, 'x', [3]), g.integers('s', [-1, 36])]), 36, 3),
    'a mean over one axis': (g) =>
      dense(g, 'out', g.op('flat', 'Reshape', [mean(g, 'x', [1]), g.integers('s', [-1, 48])]), 48, 3),
    'a pool over a part of the map': (g) => {
      const attrs = {ksize: [1, 3, 3, 1], strides: [1, 3, 3, 1], padding: 'VALID', data_format: 'NHWC'};
      const flat = g.op('flat', 'Reshape', [
        g.op('pool', 'AvgPool', ['x'], attrs),
        g.integers('s', [-1, 32]),
      ]);
      return dense(g, 'out', flat, 32, 3);
    },
    'a maximum': (g) =>
      dense(g, 'out', g.op('max', 'Max', ['x', g.integers('axes', [1, 2])], {keep_dims: false}), 8, 3),
    'a sum': (g) =>
      dense(g, 'out', g.op('sum', 'Sum', ['x', g.integers('axes', [1, 2])], {keep_dims: false}), 8, 3),
    'pixels of two images in a row': (g) => {
      const rows = g.op('rows', 'Reshape', ['x', g.integers('s', [-1, 18, 8])]);
      return dense(g, 'out', g.op('mean', 'Mean', [rows, g.integers('axes', [1])], {keep_dims: false}), 8, 3);
    },
  };
  for (const [name, build] of Object.entries(OTHERS))
    it(`are not seen in ${name}`, async () => {
      const g = start();
      expect(await blocksOf(g, [build(g)])).toEqual([]);
    });
});
