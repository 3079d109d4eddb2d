/** Dense layers outside of blocks: one op with bias and activation, unless something in between is needed. */
import {rewriteArtifacts} from '../../src/graph/index.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {TestGraph} from '../support/test_graph.js';

function start(): {g: TestGraph; product: string} {
  const g = new TestGraph();
  g.input('x', [-1, 6]);
  const attrs = {transpose_a: false, transpose_b: true};
  return {g, product: g.op('product', 'MatMul', ['x', g.weight('w', [4, 6])], attrs)};
}

async function opsOf(
  g: TestGraph,
  outputs: readonly string[],
  keep: readonly string[] = [],
): Promise<string[]> {
  const artifacts = g.artifacts(outputs);
  await expectSame(artifacts, {feed: {x: [3, 6]}, options: {keep}, outputs: keep});
  const {node} = rewriteArtifacts(artifacts, {keep}).artifacts.modelTopology as {node: {op: string}[]};
  return node.map(({op}) => op).filter((op) => op !== 'Const' && op !== 'Placeholder');
}

onBackend('cpu', 'dense layers', () => {
  for (const op of ['Relu', 'Relu6', 'Elu'])
    it(`become one op with bias and ${op}`, async () => {
      const {g, product} = start();
      const biased = g.op('biased', 'BiasAdd', [product, g.weight('b', [4])]);
      expect(await opsOf(g, [g.op('act', op, [biased])])).toEqual(['_FusedMatMul']);
    });

  it('become one op with a bias on either side', async () => {
    const {g, product} = start();
    expect(await opsOf(g, [g.op('biased', 'AddV2', [g.weight('b', [4]), product])])).toEqual([
      '_FusedMatMul',
    ]);
  });

  it('keep what is fetched, kept, or read twice', async () => {
    for (const how of ['output', 'keep', 'reader'] as const) {
      const {g, product} = start();
      const biased = g.op('biased', 'BiasAdd', [product, g.weight('b', [4])]);
      const act = g.op('act', 'Relu', [biased]);
      const more = how === 'output' ? [biased] : how === 'reader' ? [g.op('tanh', 'Tanh', [biased])] : [];
      const ops = await opsOf(g, [act, ...more], how === 'keep' ? [biased] : []);
      expect(ops.slice(0, 2)).withContext(how).toEqual(['_FusedMatMul', 'Relu']);
    }
  });

  it('leave a bias alone that is no vector of the columns', async () => {
    const {g, product} = start();
    expect(await opsOf(g, [g.op('sum', 'AddV2', [product, g.weight('b', [3, 4])])])).toEqual([
      'MatMul',
      'AddV2',
    ]);
  });
});
