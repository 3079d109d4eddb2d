/** A case for each rule that makes one thing of several: activations, convolutions, gates. */
import {PRELU_CASES} from './prelu_cases.js';
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

export const COMPOSITION_CASES: readonly RuleCase[] = [
  {
    rule: 'affine of affine',
    build: behindExpand((g, x) =>
      g.op('add', 'AddV2', [g.op('mul', 'Mul', [x, g.weight('m', [HIDDEN])]), g.weight('a', [HIDDEN])]),
    ),
  },
  {
    rule: 'hard sigmoid',
    build: behindExpand((g, x) => hardSwish(g, x, (relu6, sixth) => g.op('act', 'Mul', [relu6, sixth]))),
  },
  {
    rule: 'clip of clip',
    build: behindExpand((g, x) => g.op('b', 'Minimum', [g.op('a', 'Relu', [x]), g.constant('one', 1)])),
  },
  {
    rule: 'scaled activation',
    build: behindExpand((g, x) =>
      hardSwish(g, x, (relu6, sixth) => g.op('act', 'Mul', [g.op('prod', 'Mul', [relu6, x]), sixth])),
    ),
  },
  {
    rule: 'erf',
    build: behindExpand((g, x) =>
      g.op('act', 'Mul', [g.op('halved', 'Mul', [x, g.constant('half', 0.5)]), gelu(g, x)]),
    ),
  },
  {
    rule: 'erfc',
    build: behindExpand((g, x) => {
      const scaled = g.op('scaled', 'Mul', [g.op('minus', 'Neg', [x]), g.constant('r', Math.SQRT1_2)]);
      return g.op('act', 'Mul', [
        g.op('halved', 'Mul', [g.constant('half', 0.5), x]),
        g.op('erfc', 'Erfc', [scaled]),
      ]);
    }),
    oracle: behindExpand((g, x) =>
      g.op('act', 'Mul', [g.op('halved', 'Mul', [x, g.constant('half', 0.5)]), gelu(g, x)]),
    ),
  },
  {
    rule: 'cube by power',
    build: behindExpand((g, x) => tanhGelu(g, x, g.op('cube', 'Pow', [x, g.constant('n', 3)]))),
  },
  {
    rule: 'cube by squares',
    build: behindExpand((g, x) => tanhGelu(g, x, g.op('cube', 'Mul', [g.op('sq', 'Square', [x]), x]))),
  },
  {
    rule: 'cube by products',
    build: behindExpand((g, x) => tanhGelu(g, x, g.op('cube', 'Mul', [x, g.op('sq', 'Mul', [x, x])]))),
  },
  {
    rule: 'tanh of gelu',
    build: behindExpand((g, x) => tanhGelu(g, x, g.op('cube', 'Pow', [x, g.constant('n', 3)]))),
  },
  {
    rule: 'x times its gate',
    build: behindExpand((g, x) => g.op('act', 'Mul', [g.op('gate', 'Sigmoid', [x]), x])),
  },
  {
    rule: 'x times its gate',
    how: 'gelu',
    build: behindExpand((g, x) =>
      g.op('act', 'Mul', [x, g.op('cdf', 'Mul', [gelu(g, x), g.constant('half', 0.5)])]),
    ),
  },
  {
    rule: 'scaled x times its gate',
    build: behindExpand((g, x) =>
      hardSwish(g, x, (relu6, sixth) => g.op('act', 'Mul', [relu6, g.op('sx', 'Mul', [x, sixth])])),
    ),
  },
  {
    rule: 'leaky relu by maximum',
    build: behindExpand((g, x) => g.op('act', 'Maximum', [g.op('low', 'Mul', [x, g.constant('k', 0.2)]), x])),
  },
  ...PRELU_CASES,
  {
    rule: 'scaled activation behind a convolution',
    how: 'a clip',
    build: behindExpand((g, x) =>
      g.op('act', 'Mul', [g.op('clip', 'Relu6', [x]), g.constant('sixth', 1 / 6)]),
    ),
  },
  {rule: 'affine behind a convolution', build: withConstant('Mul', null)},
  {
    rule: 'affine before a convolution',
    build: behindExpand((g, x) => {
      const dw = g.op('relu', 'Relu', [g.depthwise('first', x, HIDDEN)]);
      const shifted = g.op('a', 'AddV2', [
        g.op('m', 'Mul', [dw, g.weight('mw', [HIDDEN])]),
        g.weight('aw', [HIDDEN]),
      ]);
      return g.depthwise('second', g.pointwise('middle', shifted, HIDDEN, HIDDEN), HIDDEN);
    }),
    blocks: ['BlockMBConv', 'BlockMBConv', 'BlockMBConv'],
  },
  {
    rule: 'padding before a convolution',
    build: (g) => {
      const padded = g.op('pad', 'PadV2', [
        'x',
        g.integers('p', [0, 0, 1, 1, 2, 0, 0, 0], [4, 2]),
        g.constant('zero', 0),
      ]);
      return g.pointwise('project', g.depthwise('dw', padded, 8, {padding: 'VALID'}), 8, 4);
    },
  },
  {rule: 'activation behind a convolution', build: single('Relu')},
  {
    rule: 'scaled activation behind a convolution',
    how: 'hard-swish',
    build: behindExpand((g, x) => hardSwish(g, x, (relu6) => g.op('act', 'Mul', [x, relu6]))),
  },
  {
    rule: 'scaled activation behind a convolution',
    how: 'hard sigmoid',
    build: behindExpand((g, x) =>
      hardSwish(g, x, (relu6) => g.op('act', 'Mul', [relu6, g.constant('k', 0.1)])),
    ),
  },
  {
    rule: 'clip behind a clipped convolution',
    build: (g) => {
      const attrs = {
        strides: [1, 1, 1, 1],
        padding: 'VALID',
        dilations: [1, 1, 1, 1],
        data_format: 'NHWC',
        fused_ops: ['BiasAdd', 'Relu'],
        num_args: 1,
      };
      const expand = g.op(
        'expand',
        '_FusedConv2D',
        ['x', g.weight('f', [1, 1, 8, HIDDEN]), g.weight('b', [HIDDEN])],
        attrs,
      );
      return g.pointwise(
        'project',
        g.depthwise('dw', g.op('top', 'Minimum', [expand, g.constant('one', 1)]), HIDDEN),
        HIDDEN,
        4,
      );
    },
  },
  {
    rule: 'sum of two maps',
    build: (g) => g.op('sum', 'AddN', [g.pointwise('project', g.depthwise('dw', 'x', 8), 8, 8), 'x']),
  },
  {
    rule: 'bias behind a sum',
    build: (g) => {
      const sum = g.op('sum', 'AddN', [g.pointwise('project', g.depthwise('dw', 'x', 8), 8, 8), 'x']);
      return g.op('biased', 'AddV2', [g.weight('b', [8]), sum]);
    },
  },
  {
    rule: 'affine of no convolution',
    how: 'a normalised image in front of zeros',
    build: (g) => {
      const shifted = g.op('shifted', 'Sub', [
        g.op('m', 'Mul', ['x', g.constant('k', 0.3)]),
        g.weight('o', [8]),
      ]);
      const conv = g.conv('conv', g.op('normal', 'RealDiv', [shifted, g.constant('d', 1.5)]), [3, 3, 8, 4]);
      return g.op('swish', 'Mul', [conv, g.op('sigmoid', 'Sigmoid', [conv])]);
    },
    blocks: ['BlockConv', 'BlockConv'],
  },
  {
    rule: 'affine of no convolution',
    how: 'a batch norm and its activation in front of zeros',
    build: (g) => {
      const normal = g.op('a', 'AddV2', [g.op('m', 'Mul', ['x', g.weight('w', [8])]), g.weight('b', [8])]);
      return g.op('tanh', 'Tanh', [g.op('relu', 'Relu', [normal])]);
    },
    blocks: ['BlockConv'],
  },
  {
    rule: 'view of a mean',
    build: gated((g, map) =>
      convGate(
        g,
        g.op('v', 'ExpandDims', [
          g.op('v0', 'ExpandDims', [mean(g, map, false), g.integers('one', [1], [])]),
          g.integers('one2', [1], []),
        ]),
      ),
    ),
  },
  {
    rule: 'view of a dense layer',
    build: gated((g, map) =>
      g.op('v', 'Reshape', [matMulGate(g, mean(g, map, false)), g.integers('s', [-1, 1, 1, 8])]),
    ),
  },
  {
    rule: 'view of a dense layer',
    how: 'between a convolution and a matrix product',
    build: gated((g, map) => {
      const reduced = g.op('relu2', 'Relu', [g.pointwise('reduce', mean(g, map, true), 8, 3)]);
      const flat = g.op('flat', 'Squeeze', [reduced], {squeeze_dims: [1, 2]});
      const product = g.op('expand', 'MatMul', [flat, g.weight('w', [3, 8])], {
        transpose_a: false,
        transpose_b: false,
      });
      return g.op('v', 'Reshape', [g.op('gate', 'Sigmoid', [product]), g.integers('s', [-1, 1, 1, 8])]);
    }),
  },
  {
    rule: 'squeeze-and-excite',
    how: 'its shape computed from the batch',
    build: gated((g, map) => {
      const flat = mean(g, map, false);
      const batch = g.op(
        'batch',
        'StridedSlice',
        [g.op('shape', 'Shape', [flat]), g.integers('s0', [0]), g.integers('s1', [1]), g.integers('s2', [1])],
        {shrink_axis_mask: 1},
      );
      const target = g.op(
        'target',
        'Pack',
        [batch, g.integers('i1', [1], []), g.integers('i2', [1], []), g.integers('c', [8], [])],
        {axis: 0},
      );
      return convGate(g, g.op('shaped', 'Reshape', [flat, target]));
    }),
  },
  {
    rule: 'squeeze-and-excite',
    how: 'hard-sigmoid gate of a float16 model',
    build: gated((g, map) => {
      const squeezed = g.op('relu2', 'Relu', [g.pointwise('reduce', mean(g, map, true), 8, 3)]);
      const shifted = g.op('shifted', 'Add', [g.pointwise('expand', squeezed, 3, 8), g.constant('three', 3)]);
      return g.op('gate', 'Mul', [g.constant('sixth', 0.1666259765625), g.op('relu6', 'Relu6', [shifted])]);
    }),
  },
];
