/** What is cut where, and what must be left alone. */
import type * as tf from '@tensorflow/tfjs-core';
import {edgedPool} from './pool_cases.js';
import {BLOCK_SPECS} from '../../ops/index.js';
import {rewriteArtifacts} from '../../src/graph/index.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {layerNorm} from '../support/spelled_blocks.js';
import {TestGraph} from '../support/test_graph.js';

/** A convolution with bias and relu6 in one op. */
function fused(g: TestGraph, name: string, x: string, filter: readonly number[], stride = 1): string {
  const isDepthwise = filter[3] === 1;
  const bias = g.weight(`${name}/bias`, [filter[isDepthwise ? 2 : 3] ?? 0]);
  return g.op(
    name,
    isDepthwise ? 'FusedDepthwiseConv2dNative' : '_FusedConv2D',
    [x, g.weight(`${name}/filter`, filter), bias],
    {
      ...{strides: [1, stride, stride, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'},
      ...{fused_ops: ['BiasAdd', 'Relu6'], num_args: 1},
    },
  );
}

/** x: [1, 6, 6, 8]; expand, relu6, depth-wise, project. */
function mbConv(
  g: TestGraph,
  name: string,
  x: string,
  channels: readonly [number, number, number] = [8, 24, 8],
  stride = 1,
): string {
  const [from, hidden, to] = channels;
  const expand = fused(g, `${name}/relu6`, x, [1, 1, from, hidden]);
  const dw = fused(g, `${name}/relu6dw`, expand, [3, 3, hidden, 1], stride);
  return g.pointwise(`${name}/project`, dw, hidden, to);
}

function squeezeExcite(g: TestGraph, x: string, channels: number): string {
  const mean = g.op('squeezed', 'Mean', [x, g.integers('pixels', [1, 2])], {keep_dims: true});
  const reduced = g.op('reduced', 'Relu', [g.pointwise('reduce', mean, channels, 3)]);
  const gates = g.op('gates', 'Sigmoid', [g.pointwise('excite', reduced, 3, channels)]);
  return g.op('gated', 'Mul', [x, gates]);
}

function start(): TestGraph {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  return g;
}

const feed = {x: [1, 6, 6, 8]};
const kinds = async (artifacts: tf.io.ModelArtifacts): Promise<string[]> =>
  (await expectSame(artifacts, {feed})).blocks.map(({block, at}) => `${block} ${at}`);

onBackend('cpu', 'matcher', () => {
  it('cuts a chain where the map is narrow', async () => {
    const g = start();
    const first = g.pointwise('p0', g.depthwise('d0', 'x', 8), 8, 4);
    const second = mbConv(g, 'a', first, [4, 24, 4]);
    expect(await kinds(g.artifacts([second]))).toEqual(['BlockMBConv p0', 'BlockMBConv a/project']);
  });

  it('leaves no depth-wise convolution alone in a chain of separable ones', async () => {
    const g = start();
    let x = 'x';
    for (const i of [0, 1, 2])
      x = g.op(`r${i}`, 'Relu', [
        g.pointwise(`p${i}`, g.op(`rd${i}`, 'Relu', [g.depthwise(`d${i}`, x, 8)]), 8, 8),
      ]);
    expect(await kinds(g.artifacts([x]))).toEqual(['BlockMBConv r0', 'BlockMBConv r1', 'BlockMBConv r2']);
  });

  it('takes the residual in, whichever operand it is', async () => {
    const g = start();
    const a = g.op('sum', 'AddV2', [mbConv(g, 'a', 'x'), 'x']);
    const b = g.op('sum2', 'AddV2', [a, mbConv(g, 'b', a)]);
    const report = await expectSame(g.artifacts([b]), {feed});
    expect(report.blocks.map(({at, stages}) => [at, stages.at(-1)])).toEqual([
      ['sum', 'residual'],
      ['sum2', 'residual'],
    ]);
    expect(report.nodes).toEqual({before: 8, after: 2});
  });

  it('takes a projection shortcut in', async () => {
    const g = start();
    const shortcut = g.conv('shortcut', 'x', [1, 1, 8, 12], {stride: 2});
    const sum = g.op('relu', 'Relu', [g.op('sum', 'AddV2', [shortcut, mbConv(g, 'a', 'x', [8, 24, 12], 2)])]);
    expect(await kinds(g.artifacts([sum]))).toEqual(['BlockBottleneck relu']);
  });

  it('fuses a lone convolution with its activation and its residual', async () => {
    const g = start();
    const conv = g.conv('conv', 'x', [3, 3, 8, 8]);
    const swish = g.op('swish', 'Mul', [conv, g.op('sigmoid', 'Sigmoid', [conv])]);
    const split = g.op('split', 'Tanh', [swish]);
    const sum = g.op('sum', 'AddV2', [split, g.pointwise('p', split, 8, 8)]);
    const report = await expectSame(g.artifacts([g.op('relu', 'Relu', [sum])]), {feed});
    expect(report.blocks.map(({block, at}) => `${block} ${at}`).sort()).toEqual([
      'BlockConv relu',
      'BlockConv swish',
    ]);
    expect(report.nodes).toEqual({before: 7, after: 3});
  });

  const LONE: readonly {readonly name: string; readonly build: (g: TestGraph) => string}[] = [
    {name: 'full', build: (g) => g.conv('conv', 'x', [3, 3, 8, 12], {stride: 2})},
    {name: 'full, of an even kernel', build: (g) => g.conv('conv', 'x', [2, 2, 8, 5], {stride: 2})},
    {name: 'pointwise', build: (g) => g.pointwise('conv', 'x', 8, 12)},
    {name: 'depth-wise', build: (g) => g.depthwise('conv', 'x', 8)},
    {name: 'full, with bias and activation', build: (g) => fused(g, 'conv', 'x', [3, 3, 8, 8])},
    {name: 'pointwise, with bias and activation', build: (g) => fused(g, 'conv', 'x', [1, 1, 8, 8])},
    {name: 'depth-wise, with bias and activation', build: (g) => fused(g, 'conv', 'x', [5, 5, 8, 1])},
  ];
  for (const {name, build} of LONE) {
    it(`takes a convolution that stock TF.js runs as one op (${name})`, async () => {
      const g = start();
      const artifacts = g.artifacts([g.op('out', 'Tanh', [build(g)])]);
      const report = await expectSame(artifacts, {feed});
      expect(report.blocks.map(({block, at}) => `${block} ${at}`)).toEqual(['BlockConv conv']);
      expect(report.misses.map(({at}) => at)).toEqual(name.startsWith('depth-wise') ? ['conv'] : []);
      const refused = rewriteArtifacts(artifacts, {accepts: () => false}).report;
      expect(refused.blocks).toEqual([]);
      expect(refused.misses.map(({at, block, reason}) => `${at}: ${block}: ${reason}`)).toEqual([
        'conv: BlockConv: no gain',
      ]);
    });
  }

  it('knows by its spec which kind of block gains by replacing a single dispatch', () => {
    expect(BLOCK_SPECS.filter(({replaces = 2}) => replaces < 2).map(({kind}) => kind)).toEqual(['BlockConv']);
  });

  const patches = {stride: 2, padding: 'VALID'};
  it('takes a LayerNorm in front of a convolution in, its gain and offset into the filter', async () => {
    const g = start();
    const out = g.conv('conv', layerNorm(g, 'x', 8), [2, 2, 8, 12], patches);
    const {blocks} = await expectSame(g.artifacts([out]), {feed});
    expect(blocks.map(({block, stages, dispatches}) => [block, ...stages, dispatches.before])).toEqual([
      ['BlockConv', 'norm', 'spatial 2×2 stride 2 → 12', 11],
    ]);
    expect(blocks[0]?.folded).toEqual(['spatialFilter', 'spatialBias']);
  });

  it('leaves the offset of a LayerNorm in front of zeros', async () => {
    const g = start();
    const out = g.conv('conv', layerNorm(g, 'x', 8), [3, 3, 8, 12]);
    const {blocks} = await expectSame(g.artifacts([out]), {feed});
    expect(blocks.map(({block, stages}) => [block, ...stages])).toEqual([
      ['BlockConv', 'norm', 'spatial 3×3 → 12'],
    ]);
    expect(blocks[0]?.folded).toEqual([]);
  });

  it('leaves a LayerNorm outside that others read', async () => {
    const g = start();
    const norm = layerNorm(g, 'x', 8);
    const outputs = [g.conv('conv', norm, [2, 2, 8, 12], patches), g.op('tanh', 'Tanh', [norm])];
    expect(await kinds(g.artifacts(outputs))).toEqual(['BlockLayerNorm norm', 'BlockConv conv']);
  });

  it('prefers the larger block to two of one convolution', async () => {
    const g = start();
    const dw = g.op('act', 'Elu', [g.depthwise('dw', 'x', 8)]);
    const project = g.op('act2', 'Elu', [g.pointwise('p', dw, 8, 4)]);
    const last = g.op('act3', 'Elu', [g.pointwise('q', project, 4, 8)]);
    const out = g.op('sum', 'AddV2', [g.op('split', 'Tanh', [last]), 'x']);
    expect(await kinds(g.artifacts([out]))).toEqual(['BlockConvFirst act3']);
  });

  it('adds a map from elsewhere, given to the block as a second input', async () => {
    const g = start();
    const other = g.op('other', 'Tanh', ['x']);
    const sum = g.op('sum', 'AddV2', [mbConv(g, 'a', 'x'), other]);
    const artifacts = g.artifacts([g.op('relu', 'Relu6', [sum])]);
    expect(await kinds(artifacts)).toEqual(['BlockBottleneck relu']);
    const {node} = rewriteArtifacts(artifacts).artifacts.modelTopology as {
      node: readonly {name: string; input?: readonly string[]}[];
    };
    expect(node.find(({name}) => name === 'relu')?.input?.filter((name) => !name.includes('/'))).toEqual([
      'x',
      'other',
    ]);
  });

  it('reads the lateral connections of a feature pyramid, on whichever side of the sum they stand', async () => {
    const g = start();
    const low = mbConv(g, 'low', 'x', [8, 24, 12], 2);
    const sizes = g.integers('size', [6, 6]);
    const up = g.op('up', 'ResizeBilinear', [low, sizes], {align_corners: false, half_pixel_centers: true});
    const lateral = (name: string): string => g.pointwise(name, 'x', 8, 12);
    const sums = [
      g.op('first', 'AddV2', [up, lateral('a')]),
      g.op('second', 'Relu', [g.op('sum', 'AddV2', [lateral('b'), up])]),
    ];
    expect((await kinds(g.artifacts(sums))).sort()).toEqual([
      'BlockConv first',
      'BlockConv second',
      'BlockMBConv low/project',
    ]);
  });

  it('gives a block no map that it makes itself', async () => {
    const g = start();
    const expand = g.pointwise('expand', 'x', 8, 8);
    const twice = g.op('twice', 'AddV2', [g.pointwise('project', expand, 8, 8), expand]);
    const self = g.pointwise('self', twice, 8, 8);
    const report = await expectSame(g.artifacts([g.op('sum', 'AddV2', [self, self])]), {feed});
    expect(report.blocks.map(({at}) => at)).toEqual(['expand', 'twice', 'self']);
  });

  it('gives a block no map of another shape, which would be broadcast', async () => {
    const g = start();
    const mean = g.op('mean', 'Mean', ['x', g.integers('axes', [1, 2])], {keep_dims: true});
    const report = await expectSame(g.artifacts([g.op('sum', 'AddV2', [mbConv(g, 'a', 'x'), mean])]), {feed});
    expect(report.blocks.map(({at}) => at)).toEqual(['mean', 'a/project']);
  });

  it('adds a pooled map to the strided convolution beside it, as in Xception', async () => {
    const g = start();
    const sep = g.pointwise('p', g.depthwise('d', 'x', 8), 8, 12);
    const pooled = g.op('pool', 'MaxPool', [sep], {
      ...{ksize: [1, 3, 3, 1], strides: [1, 2, 2, 1], padding: 'SAME', data_format: 'NHWC'},
    });
    const sum = g.op('sum', 'AddV2', [pooled, g.conv('beside', 'x', [1, 1, 8, 12], {stride: 2})]);
    expect(await kinds(g.artifacts([sum]))).toEqual(['BlockMBConv p', 'BlockFusedMBConv sum']);
  });

  for (const [order, at] of ['biased', 'a/project'].entries()) {
    it(`moves no bias to a convolution that is not in the sum’s block: ${at}`, async () => {
      const g = start();
      const other = g.pointwise('q', g.depthwise('e', g.op('split', 'Tanh', ['x']), 8), 8, 8);
      const terms = [mbConv(g, 'a', 'x'), other];
      const sum = g.op('sum', 'AddV2', order === 0 ? terms : [...terms].reverse());
      const report = await expectSame(g.artifacts([g.op('biased', 'AddV2', [sum, g.weight('b', [8])])]), {
        feed,
      });
      expect(report.blocks.map((block) => block.at)).toContain(at);
    });
  }

  it('moves no gain of a norm into a convolution that is in another block', async () => {
    const g = start();
    const normal = layerNorm(g, 'x', 8);
    const artifacts = g.artifacts([fused(g, 'conv', normal, [1, 1, 8, 12])]);
    expect(await kinds(artifacts)).toEqual(['BlockConv conv']);
    // Nor is the norm taken where its convolution is not: what became of its gain is in there.
    const {report} = rewriteArtifacts(artifacts, {accepts: ({kind}) => kind !== 'BlockConv'});
    expect(report.blocks).toEqual([]);
  });

  it('leaves arithmetic on whole numbers alone', async () => {
    const g = new TestGraph();
    g.op('x', 'Placeholder', [], {shape: [1, 4, 4, 3], dtype: 'DT_INT32'});
    const attrs = {T: 'DT_INT32'};
    const product = g.op('product', 'Mul', ['x', g.integers('three', [3], [])], attrs);
    const report = await expectSame(
      g.artifacts([g.op('minus', 'Neg', [g.op('n', 'Neg', [product], attrs)], attrs)]),
    );
    expect(report.blocks).toEqual([]);
    expect(report.misses).toEqual([]);
  });

  for (const [pool, activation, at] of [
    ['MaxPool', 'Relu', 'act'],
    ['AvgPool', 'Relu', 'conv'],
    ['MaxPool', 'Tanh', 'conv'],
  ] as const) {
    it(`takes an activation in front of a max-pool if it may: ${pool}, ${activation}`, async () => {
      const g = start();
      const window = {ksize: [1, 2, 2, 1], strides: [1, 2, 2, 1], padding: 'VALID', data_format: 'NHWC'};
      const pooled = g.op('pool', pool, [g.conv('conv', 'x', [3, 3, 8, 6])], window);
      const artifacts = g.artifacts([g.op('act', activation, [pooled])]);
      expect(await kinds(artifacts)).toEqual([`BlockConv ${at}`]);
    });
  }

  for (const [why, edged, byOps] of [
    ['nothing is below zero', {activation: 'Relu'}, 4],
    ['nothing is below them', {fill: -3.4e38}, 3],
  ] as const) {
    it(`takes edges and the max-pool behind them into a block where ${why}`, async () => {
      const g = start();
      const artifacts = g.artifacts([edgedPool(g, edged)]);
      const report = await expectSame(artifacts, {feed});
      expect(report.blocks.map(({block, at}) => `${block} ${at}`)).toEqual(['BlockConv pool']);
      // By stock ops edges are a dispatch, in a block or out of it.
      expect(rewriteArtifacts(artifacts).report.dispatches.after).toBe(byOps);
    });
  }

  for (const [why, edged] of [
    ['values may be negative', {activation: 'LeakyRelu'}],
    ['nothing holds them above zero', {}],
    ['a window finds nothing but edges', {activation: 'Relu', edges: [3, 0, 0, 0]}],
    ['the edges count', {fill: 5}],
    ['channels are added, too', {fill: -3.4e38, added: 4}],
    ['the pool has edges of its own', {activation: 'Relu', padding: 'SAME'}],
    ['it is a mean, to which zeros count', {activation: 'Relu', pool: 'AvgPool'}],
  ] as const) {
    it(`leaves edges in front of a pool where ${why}`, async () => {
      const g = start();
      const report = await expectSame(g.artifacts([edgedPool(g, edged)]), {feed});
      expect(report.blocks.map(({at}) => at)).toEqual(['activation' in edged ? 'act' : 'conv']);
    });
  }

  it('takes a pointwise and a depth-wise convolution, in this order too', async () => {
    const g = start();
    const expand = fused(g, 'expand', 'x', [1, 1, 8, 24]);
    const dw = fused(g, 'dw', expand, [3, 3, 24, 1], 2);
    expect(await kinds(g.artifacts([g.op('tanh', 'Tanh', [dw])]))).toEqual(['BlockMBConv dw']);
  });

  it('takes two 1×1 convolutions as a feed-forward block', async () => {
    const g = start();
    const expand = fused(g, 'expand', 'x', [1, 1, 8, 24]);
    const sum = g.op('sum', 'AddV2', [g.pointwise('project', expand, 24, 8), 'x']);
    const wide = fused(g, 'wide', sum, [1, 1, 8, 24]);
    const out = fused(g, 'narrow', wide, [1, 1, 24, 4]);
    expect(await kinds(g.artifacts([out]))).toEqual(['BlockFeedForward sum', 'BlockFeedForward narrow']);
  });

  it('takes a squeeze-and-excite alone that several heads read', async () => {
    const g = start();
    const tanh = g.op('tanh', 'Tanh', ['x']);
    const gated = squeezeExcite(g, tanh, 8);
    const heads = [1, 2].map((i) => g.op(`t${i}`, 'Tanh', [g.pointwise(`h${i}`, gated, 8, 4)]));
    expect(await kinds(g.artifacts(heads))).toEqual([
      'BlockSqueezeExcite gated',
      'BlockConv h1',
      'BlockConv h2',
    ]);
  });

  it('reads the basic block of a ResNet', async () => {
    const g = start();
    const first = g.op('relu', 'Relu', [g.conv('c1', 'x', [3, 3, 8, 8])]);
    const sum = g.op('out', 'Relu', [g.op('sum', 'AddV2', ['x', g.conv('c2', first, [3, 3, 8, 8])])]);
    expect(await kinds(g.artifacts([sum]))).toEqual(['BlockBasic out']);
  });

  for (const [name, escape] of [
    [
      'an output of the model',
      (g: TestGraph, out: string): tf.io.ModelArtifacts => g.artifacts([out, 'a/relu6']),
    ],
    [
      'read by another op',
      (g: TestGraph, out: string): tf.io.ModelArtifacts =>
        g.artifacts([out, g.op('tanh', 'Tanh', ['a/relu6'])]),
    ],
  ] as const) {
    it(`swallows no value that is ${name}`, async () => {
      const g = start();
      const report = await expectSame(escape(g, mbConv(g, 'a', 'x')), {feed});
      expect(report.blocks.map(({stages}) => stages.length)).toEqual([1, 2]);
      const [miss] = report.misses;
      expect(miss?.at).toBe('a/relu6');
      expect(miss?.reason).toMatch(/used outside the block|is an output/);
    });
  }

  it('keeps what it is told to keep', async () => {
    const g = start();
    const report = await expectSame(g.artifacts([mbConv(g, 'a', 'x')]), {
      feed,
      options: {keep: ['a/relu6', 'a/relu6dw']},
      outputs: ['a/relu6', 'a/relu6dw'],
    });
    const names = ['a/relu6', 'a/relu6dw', 'a/project'];
    expect(report.blocks.map(({block, at}) => `${block} ${at}`)).toEqual(
      names.map((at) => `BlockConv ${at}`),
    );
    expect(report.misses.map(({at}) => at)).toEqual(names);
  });

  it('shares a weight between two blocks, in the shape each needs', async () => {
    const g = start();
    const filter = g.weight('shared', [1, 1, 8, 8]);
    const attrs = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};
    const a = g.op('p1', 'Conv2D', [g.depthwise('d1', 'x', 8), filter], attrs);
    const b = g.op('tanh', 'Tanh', [
      g.op('p2', 'Conv2D', [g.depthwise('d2', g.op('split', 'Tanh', [a]), 8), filter], attrs),
    ]);
    // Strides that differ are in no block.
    const artifacts = g.artifacts([g.op('p3', 'Conv2D', [b, filter], {...attrs, strides: [1, 2, 1, 1]})]);
    await expectSame(artifacts, {feed});
    const names =
      rewriteArtifacts(artifacts).artifacts.weightSpecs?.filter(
        ({name}) => name.includes('shared') || name.includes('project'),
      ) ?? [];
    expect(names.map(({shape}) => shape.join()).sort()).toEqual(['1,1,8,8', '8,8']);
  });

  const NEAR: readonly {
    readonly name: string;
    readonly found: RegExp;
    readonly build: (g: TestGraph) => string;
  }[] = [
    {
      name: 'an unknown activation',
      found: /Tanh/,
      build: (g) => g.pointwise('p', g.op('act', 'Tanh', [g.depthwise('dw', 'x', 8)]), 8, 4),
    },
    {
      name: 'a filter that is computed',
      found: /computed by Tanh/,
      build: (g) => {
        const filter = g.op('f2', 'Tanh', [g.weight('f', [3, 3, 8, 1])]);
        return g.op('dw', 'DepthwiseConv2dNative', ['x', filter], {
          strides: [1, 1, 1, 1],
          dilations: [1, 1, 1, 1],
          padding: 'SAME',
          data_format: 'NHWC',
        });
      },
    },
    {
      name: 'a depth-wise convolution without a pointwise one',
      found: /depthwise convolution, read by mean/,
      build: (g) => g.op('m', 'Mean', [g.depthwise('dw', 'x', 8), g.integers('axes', [1, 2])]),
    },
  ];
  for (const {name, found, build} of NEAR) {
    it(`says what is wrong with ${name}`, async () => {
      const g = start();
      const report = await expectSame(g.artifacts([build(g)]), {feed});
      const own = report.blocks.filter(({nodes}) => nodes.includes('dw'));
      expect(own.every(({block}) => block === 'BlockConv')).toBeTrue();
      expect(report.misses.find(({at}) => at === 'dw')?.found).toMatch(found);
    });
  }

  it('leaves a gate alone whose vector would be broadcast along the width', async () => {
    const g = new TestGraph();
    g.input('x', [1, 8, 8, 8]);
    const map = g.depthwise('dw', 'x', 8);
    const flat = g.op('mean', 'Mean', [map, g.integers('axes', [1, 2])], {keep_dims: false});
    const dense = (name: string, v: string): string =>
      g.op(name, 'MatMul', [v, g.weight(`${name}/w`, [8, 8])], {transpose_a: false, transpose_b: false});
    const gate = g.op('gate', 'Sigmoid', [dense('b', g.op('r', 'Relu', [dense('a', flat)]))]);
    const report = await expectSame(g.artifacts([g.pointwise('p', g.op('gated', 'Mul', [map, gate]), 8, 4)]));
    expect(report.blocks.flatMap(({stages}) => stages).join()).not.toContain('gate');
  });
});
