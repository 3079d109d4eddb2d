/** Maps with channels first are turned, where that does not make more transposes; idle control edges are in no one's way. */
import {type GraphModel, loadGraphModelSync} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {type Rewritten, rewriteArtifacts} from '../../src/graph/index.js';
import {expectSame} from '../support/compare_models.js';
import {registerBlockKernels} from '../../src/register.js';
import {expectClose} from '../support/expect_close.js';
import {seededTensors} from '../support/random.js';
import {onBackend} from '../support/environment.js';
import {TestGraph} from '../support/test_graph.js';

const FROM_NHWC = [0, 3, 1, 2];
const TO_NHWC = [0, 2, 3, 1];

class TurnedGraph extends TestGraph {
  #count = 0;

  turn(x: string, perm: readonly number[]): string {
    const name = `turn${this.#count++}`;
    return this.op(name, 'Transpose', [x, this.integers(`${name}/perm`, perm)]);
  }

  /** The layer sees `[N, H, W, C]`, everyone else `[N, C, H, W]`. */
  inside(x: string, layer: (x: string) => string): string {
    return this.turn(layer(this.turn(x, TO_NHWC)), FROM_NHWC);
  }

  perChannel(name: string, op: string, x: string, channels: number): string {
    return this.op(name, op, [x, this.weight(`${name}/c`, [1, channels, 1, 1])]);
  }
}

/** Expand, depth-wise behind a pad, project, add; `x` comes in with channels first. */
function invertedResidual(g: TurnedGraph, x: string): string {
  const expanded = g.inside(x, (y) => g.pointwise('expand', y, 8, 12));
  const active = g.op('clip', 'Relu6', [g.perChannel('bias', 'AddV2', expanded, 12)]);
  const padded = g.op('pad', 'Pad', [active, g.integers('pads', [0, 0, 0, 0, 1, 1, 1, 1], [4, 2])]);
  const filtered = g.inside(padded, (y) => g.depthwise('dw', y, 12, {padding: 'VALID'}));
  const scaled = g.perChannel('scale', 'Mul', filtered, 12);
  return g.op('sum', 'AddV2', [x, g.inside(scaled, (y) => g.pointwise('project', y, 12, 8))]);
}

function turnedModel(finish: (g: TurnedGraph, sum: string) => string[]): tf.io.ModelArtifacts {
  const g = new TurnedGraph();
  g.input('x', [-1, 6, 6, 8]);
  return g.artifacts(finish(g, invertedResidual(g, g.turn('x', FROM_NHWC))));
}

const kindsOf = ({report}: Rewritten): readonly string[] => report.blocks.map(({block}) => block);
const opsOf = ({artifacts}: Rewritten): readonly string[] =>
  (artifacts.modelTopology as {node: {op: string}[]}).node.map(({op}) => op).filter((op) => op !== 'Const');
const FEED = {x: [2, 6, 6, 8]};

onBackend('cpu', 'channels first', () => {
  it('turns an island between transposes', async () => {
    const model = turnedModel((g, sum) => [
      g.op('mean', 'Mean', [sum, g.integers('axes', [2, 3])], {keep_dims: false}),
    ]);
    const rewritten = rewriteArtifacts(model);
    expect(kindsOf(rewritten)).toEqual(['BlockMBConv', 'BlockHead']);
    expect(opsOf(rewritten)).toEqual(['Placeholder', 'BlockMBConv', 'BlockHead']);
    await expectSame(model, {feed: FEED});
  });

  it('gives an output in the layout it had', async () => {
    const model = turnedModel((_g, sum) => [sum]);
    expect(kindsOf(rewriteArtifacts(model))).toEqual(['BlockMBConv']);
    await expectSame(model, {feed: FEED});
  });

  it('keeps a value fetchable in the layout it had', async () => {
    const model = turnedModel((_g, sum) => [sum]);
    const report = await expectSame(model, {feed: FEED, options: {keep: ['scale']}, outputs: ['scale']});
    expect(report.blocks.every(({nodes}) => !nodes.includes('scale'))).toBe(true);
  });

  it('joins maps along the channels', async () => {
    const model = turnedModel((g, sum) => {
      const joined = g.op('joined', 'ConcatV2', [sum, sum, g.integers('axis', [1], [])]);
      return [g.inside(joined, (y) => g.pointwise('last', y, 16, 4))];
    });
    expect(kindsOf(rewriteArtifacts(model))).toContain('BlockMBConv');
    await expectSame(model, {feed: FEED});
  });

  it('leaves what would need more transposes', async () => {
    const g = new TurnedGraph();
    g.input('x', [1, 6, 6, 8]);
    const turned = g.turn('x', FROM_NHWC);
    const flat = ['Relu', 'Sigmoid'].map((op) =>
      g.op(`flat${op}`, 'Reshape', [g.op(op, op, [turned]), g.integers(`${op}/shape`, [1, -1])]),
    );
    const model = g.artifacts(flat);
    expect(opsOf(rewriteArtifacts(model)).filter((op) => op === 'Transpose').length).toBe(1);
    await expectSame(model);
  });

  it('turns ops that were told their layout, which TF.js runs on few backends', async () => {
    const build = (layout: 'NCHW' | 'NHWC'): tf.io.ModelArtifacts => {
      const g = new TurnedGraph();
      g.input('x', [1, 6, 6, 8]);
      const isFirst = layout === 'NCHW';
      const window = {
        strides: isFirst ? [1, 1, 2, 2] : [1, 2, 2, 1],
        dilations: [1, 1, 1, 1],
        padding: 'SAME',
      };
      const x = isFirst ? g.turn('x', FROM_NHWC) : 'x';
      const attrs = {...window, data_format: layout};
      const dw = g.op('dw', 'DepthwiseConv2dNative', [x, g.weight('f', [3, 3, 8, 1])], attrs);
      const biased = g.op('b', 'BiasAdd', [dw, g.weight('bias', [8])], {data_format: layout});
      const last = {...attrs, strides: [1, 1, 1, 1]};
      const out = g.op('last', 'Conv2D', [g.op('r', 'Relu', [biased]), g.weight('w', [1, 1, 8, 4])], last);
      return g.artifacts([isFirst ? g.turn(out, TO_NHWC) : g.op('out', 'Identity', [out])]);
    };
    const [first, last] = [rewriteArtifacts(build('NCHW')), rewriteArtifacts(build('NHWC'))];
    expect(kindsOf(first)).toEqual(['BlockMBConv']);
    expect(first.report.blocks[0]?.stages).toEqual(last.report.blocks[0]?.stages ?? []);
    registerBlockKernels();
    const [fused, original] = [first.artifacts, build('NHWC')].map((artifacts) =>
      loadGraphModelSync(tf.io.fromMemorySync(artifacts)),
    ) as [GraphModel, GraphModel];
    const x = seededTensors(3)([1, 6, 6, 8]);
    const [actual, expected] = [fused.predict(x) as tf.Tensor, original.predict(x) as tf.Tensor];
    await expectClose(actual, expected);
    tf.dispose([x, actual, expected]);
    fused.dispose();
    original.dispose();
  });
});

onBackend('cpu', 'what stands in no one’s way', () => {
  const withIdentity = (wire: (g: TestGraph, x: string) => string): tf.io.ModelArtifacts => {
    const g = new TestGraph();
    g.input('x', [-1, 6, 6, 8]);
    const expand = wire(g, g.pointwise('expand', 'x', 8, 12));
    return g.artifacts([g.pointwise('project', g.depthwise('dw', expand, 12), 12, 4)]);
  };

  it('control edges between ops without side effects', async () => {
    const model = withIdentity((g, x) => {
      g.op('wait', 'NoOp', [`^${x}`]);
      return g.op('after', 'Identity', [x, '^wait']);
    });
    expect(opsOf(rewriteArtifacts(model))).toEqual(['Placeholder', 'BlockMBConv']);
    await expectSame(model, {feed: FEED});
  });

  it('but not where an op prints', () => {
    const model = withIdentity((g, x) => {
      g.op('wait', 'Print', [x, x]);
      return g.op('after', 'Identity', [x, '^wait']);
    });
    expect(opsOf(rewriteArtifacts(model))).toContain('Print');
  });

  it('IdentityN, and a product with one', async () => {
    const model = withIdentity((g, x) => {
      const times = g.op('times', 'Mul', [g.constant('beta', 1), x]);
      const swish = g.op('swish', 'Mul', [x, g.op('gate', 'Sigmoid', [times])]);
      return g.op('both', 'IdentityN', [swish, x]);
    });
    const rewritten = rewriteArtifacts(model);
    expect(kindsOf(rewritten)).toEqual(['BlockMBConv']);
    expect(rewritten.report.blocks[0]?.stages.join()).toContain('swish');
    await expectSame(model, {feed: FEED});
  });

  it('a transpose that turns nothing', async () => {
    const model = withIdentity((g, x) => g.op('same', 'Transpose', [x, g.integers('perm', [0, 1, 2, 3])]));
    expect(kindsOf(rewriteArtifacts(model))).toEqual(['BlockMBConv']);
    await expectSame(model, {feed: FEED});
  });

  it('a bias that was reshaped', async () => {
    const model = withIdentity((g, x) => {
      const wide = g.op('wide', 'Reshape', [g.weight('b', [12]), g.integers('shape', [1, 1, 1, 12])]);
      return g.op('biased', 'BiasAdd', [x, g.op('flat', 'Squeeze', [wide])]);
    });
    expect(opsOf(rewriteArtifacts(model))).toEqual(['Placeholder', 'BlockMBConv']);
    await expectSame(model, {feed: FEED});
  });
});
