/** A case for each rule that reads one TensorFlow op. */
import {
  behindExpand,
  convGate,
  gated,
  gelu,
  hardSwish,
  HIDDEN,
  matMulGate,
  mean,
  single,
  tanhGelu,
  withConstant,
  type RuleCase,
} from '../support/spelled_blocks.js';
import type {TestGraph} from '../support/test_graph.js';

const timesBoth = (g: TestGraph, x: string, a: string, b: string): string =>
  g.op('act', 'Mul', [g.op('prod', 'Mul', [x, a]), b]);

const FUSED_OF_LATE: Readonly<Record<string, (g: TestGraph, x: string) => string>> = {
  _FusedHardSwish: (g, x) => hardSwish(g, x, (relu6, sixth) => timesBoth(g, x, relu6, sixth)),
  GeluExact: (g, x) => timesBoth(g, x, gelu(g, x), g.constant('half', 0.5)),
  GeluApproximate: (g, x) => tanhGelu(g, x, g.op('cube', 'Pow', [x, g.constant('n', 3)])),
};

/** As `behindExpand`, the activation in the same op as the convolution. */
const fusedExpand =
  (activation: string) =>
  (g: TestGraph): string => {
    const window = {strides: [1, 1, 1, 1], padding: 'SAME', dilations: [1, 1, 1, 1], data_format: 'NHWC'};
    const filter = g.weight('expand/filter', [1, 1, 8, HIDDEN]);
    const expand = g.op('act', '_FusedConv2D', ['x', filter], {
      ...window,
      fused_ops: [activation],
      num_args: 0,
    });
    return g.pointwise('project', g.depthwise('dw', expand, HIDDEN), HIDDEN, 4);
  };

export const SPELLING_CASES: readonly RuleCase[] = [
  {rule: 'convolution', build: behindExpand((_g, x) => x)},
  {
    rule: 'convolution',
    how: 'fused',
    build: (g) => {
      const fused = {strides: [1, 1, 1, 1], padding: 'VALID', dilations: [1, 1, 1, 1], data_format: 'NHWC'};
      const filter = g.weight('f', [1, 1, 8, HIDDEN]);
      const expand = g.op(
        'expand',
        '_FusedConv2D',
        ['x', filter, g.weight('b', [HIDDEN]), g.weight('a', [1, 1, HIDDEN])],
        {...fused, fused_ops: ['BiasAdd', 'Prelu'], num_args: 2},
      );
      const leaky = {...fused, fused_ops: ['BiasAdd', 'LeakyRelu'], leakyrelu_alpha: 0.3, num_args: 1};
      const dw = g.depthwise('dw', expand, HIDDEN);
      return g.op(
        'project',
        '_FusedConv2D',
        [dw, g.weight('f2', [1, 1, HIDDEN, 4]), g.weight('b2', [4])],
        leaky,
      );
    },
  },
  ...Object.entries(FUSED_OF_LATE).map(([name, spell]) => ({
    rule: 'convolution',
    how: `with ${name}, which stock TF.js does not run`,
    build: fusedExpand(name),
    oracle: behindExpand(spell),
  })),
  {rule: 'depth-wise convolution', build: behindExpand((_g, x) => x)},
  {
    rule: 'depth-wise convolution',
    how: 'with a multiplier, fused',
    build: (g) => {
      const attrs = {
        strides: [1, 2, 2, 1],
        padding: 'SAME',
        dilations: [1, 1, 1, 1],
        data_format: 'NHWC',
        fused_ops: ['BiasAdd', 'Relu6'],
        num_args: 1,
      };
      const dw = g.op(
        'dw',
        'FusedDepthwiseConv2dNative',
        ['x', g.weight('f', [3, 3, 8, 2]), g.weight('b', [16])],
        attrs,
      );
      return g.pointwise('project', dw, 16, 4);
    },
  },
  {
    rule: 'dense layer',
    build: gated((g, map) =>
      g.op('shaped', 'Reshape', [matMulGate(g, mean(g, map, false)), g.integers('s', [-1, 1, 1, 8])]),
    ),
  },
  {
    rule: 'batch norm',
    build: behindExpand((g, x) => {
      const variance = g.constant(
        'v',
        Float32Array.from({length: HIDDEN}, (_, i) => 0.5 + i / 10),
      );
      const [gain, offset, mu] = ['g', 'o', 'm'].map((name) => g.weight(name, [HIDDEN])) as [
        string,
        string,
        string,
      ];
      return g.op('bn', 'FusedBatchNormV3', [x, gain, offset, mu, variance], {
        epsilon: 0.001,
        is_training: false,
        data_format: 'NHWC',
      });
    }),
  },
  ...['BiasAdd', 'Add', 'AddV2'].map((op) => ({
    rule: 'add a constant',
    how: op,
    build: withConstant(op, null),
  })),
  {rule: 'subtract a constant', build: withConstant('Sub', null)},
  {rule: 'subtract from a constant', build: withConstant('Sub', null, true)},
  {rule: 'multiply by a constant', build: withConstant('Mul', null, true)},
  {rule: 'divide by a constant', build: withConstant('RealDiv', 3)},
  {rule: 'negate', build: single('Neg')},
  {rule: 'Relu', build: single('Relu')},
  {rule: 'Relu6', build: single('Relu6')},
  {rule: 'Sigmoid', build: single('Sigmoid')},
  {rule: 'Elu', build: single('Elu')},
  {rule: 'LeakyRelu', build: single('LeakyRelu', {alpha: 0.1})},
  {
    rule: 'Maximum',
    build: behindExpand((g, x) =>
      g.op('top', 'Minimum', [g.op('bottom', 'Maximum', [x, g.constant('zero', 0)]), g.constant('six', 6)]),
    ),
  },
  {
    rule: 'Minimum',
    build: behindExpand((g, x) =>
      g.op('bottom', 'Maximum', [g.constant('a', -0.2), g.op('top', 'Minimum', [x, g.constant('b', 0.3)])]),
    ),
  },
  {
    rule: 'clip',
    build: behindExpand((g, x) =>
      g.op('act', 'ClipByValue', [x, g.constant('a', -0.1), g.constant('b', 0.4)]),
    ),
  },
  {
    rule: 'prelu',
    build: behindExpand((g, x) => g.op('act', 'Prelu', [x, g.weight('alpha', [1, 1, HIDDEN])])),
  },
  {
    rule: 'pad with zeros',
    build: (g) => {
      const padded = g.op('pad', 'Pad', ['x', g.integers('p', [0, 0, 0, 1, 0, 1, 0, 0], [4, 2])]);
      return g.pointwise('project', g.depthwise('dw', padded, 8, {stride: 2, padding: 'VALID'}), 8, 4);
    },
  },
  {
    rule: 'pad with zeros',
    how: 'channels, behind a pool',
    blocks: ['BlockSeparable'],
    build: (g) => {
      const pooled = g.op('pool', 'MaxPool', ['x'], {
        ksize: [1, 2, 2, 1],
        strides: [1, 2, 2, 1],
        padding: 'VALID',
        data_format: 'NHWC',
      });
      const wider = g.op('wider', 'Pad', [pooled, g.integers('p', [0, 0, 0, 0, 0, 0, 0, 3], [4, 2])]);
      const main = g.pointwise('project', g.depthwise('dw', 'x', 8, {stride: 2}), 8, 11);
      return g.op('act', 'Relu', [g.op('sum', 'AddV2', [wider, main])]);
    },
  },
  {
    rule: 'MaxPool',
    blocks: ['BlockSeparable'],
    build: (g) => {
      const pooled = g.op('pool', 'MaxPool', ['x'], {
        ksize: [1, 2, 2, 1],
        strides: [1, 2, 2, 1],
        padding: 'SAME',
        data_format: 'NHWC',
      });
      return g.op('sum', 'Add', [
        g.pointwise('project', g.depthwise('dw', 'x', 8, {stride: 2}), 8, 8),
        pooled,
      ]);
    },
  },
  {
    rule: 'AvgPool',
    how: 'over the whole map',
    build: gated((g, map) =>
      convGate(
        g,
        g.op('mean', 'AvgPool', [map], {
          ksize: [1, 6, 6, 1],
          strides: [1, 6, 6, 1],
          padding: 'VALID',
          data_format: 'NHWC',
        }),
      ),
    ),
  },
  {rule: 'global mean', build: gated((g, map) => convGate(g, mean(g, map, true)))},
  {
    rule: 'vector view',
    build: gated((g, map) =>
      convGate(g, g.op('v', 'Reshape', [mean(g, map, false), g.integers('s', [-1, 1, 1, 8])])),
    ),
  },
];
