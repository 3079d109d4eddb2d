/** A constant expanded to the shape of what it meets is not expanded; one that gives the shape still is. */
import {rewriteArtifacts} from '../../src/graph/index.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {TestGraph} from '../support/test_graph.js';

const feed = {x: [2, 5, 4, 3]};

/** How many are left of `BroadcastTo` and `Shape`. */
async function left(g: TestGraph, outputs: readonly string[], keep: readonly string[] = []): Promise<number> {
  const artifacts = g.artifacts(outputs);
  await expectSame(artifacts, {feed, options: {keep}, outputs: keep});
  const {node} = rewriteArtifacts(artifacts, {keep}).artifacts.modelTopology as {node: {op: string}[]};
  return node.filter(({op}) => op === 'BroadcastTo' || op === 'Shape').length;
}

function start(shape: readonly number[] = [-1, -1, -1, 3]): TestGraph {
  const g = new TestGraph();
  g.input('x', shape);
  return g;
}

const expanded = (g: TestGraph, name: string, like: string, shape: readonly number[] = [3]): string =>
  g.op(name, 'BroadcastTo', [g.weight(`${name}/c`, shape), g.op(`${name}/shape`, 'Shape', [like])]);

onBackend('cpu', 'broadcasts', () => {
  it('drops one to the shape of the other operand, on either side', async () => {
    const g = start();
    const centered = g.op('centered', 'Sub', ['x', expanded(g, 'mean', 'x')]);
    expect(await left(g, [g.op('scaled', 'Mul', [expanded(g, 'gain', centered), centered])])).toBe(0);
  });

  it('drops one to the shape of an earlier value of that shape', async () => {
    const g = start();
    const doubled = g.op('doubled', 'Mul', ['x', g.constant('two', 2)]);
    const centered = g.op('centered', 'Sub', [g.op('relu', 'Relu', [doubled]), expanded(g, 'mean', 'x')]);
    expect(
      await left(g, [g.op('scaled', 'RealDiv', [centered, expanded(g, 'gain', 'x', [1, 1, 1, 3])])]),
    ).toBe(0);
  });

  it('drops one to a known shape', async () => {
    const g = start([2, 5, 4, 3]);
    const target = g.integers('target', [2, 5, 4, 3]);
    const mean = g.op('mean', 'BroadcastTo', [g.weight('c', [3]), target]);
    expect(await left(g, [g.op('centered', 'Sub', ['x', mean])])).toBe(0);
  });

  it('leaves one that gives the sum its shape', async () => {
    const g = start();
    const pixel = g.op('pixel', 'Mean', ['x', g.integers('axes', [1, 2])], {keep_dims: true});
    expect(await left(g, [g.op('sum', 'AddV2', [pixel, expanded(g, 'wide', 'x')])])).toBe(2);
  });

  it('leaves one to a known shape beside an open one', async () => {
    const g = start([-1, 5, 4, 3]);
    const mean = g.op('mean', 'BroadcastTo', [g.weight('c', [3]), g.integers('target', [2, 5, 4, 3])]);
    expect(await left(g, [g.op('sum', 'AddV2', ['x', mean])])).toBe(1);
  });

  it('leaves one that is kept, and one that is an output', async () => {
    const g = start();
    const [kept, given] = [expanded(g, 'kept', 'x'), expanded(g, 'given', 'x')];
    const sum = g.op('sum', 'AddV2', [g.op('first', 'AddV2', ['x', kept]), given]);
    expect(await left(g, [sum, given], [kept])).toBe(4);
  });
});
