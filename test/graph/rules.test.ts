/** One case a rule at least: a block spelled so that the rule is needed, whose fused form must give the same values. */
import {canonicalise} from '../../src/graph/canonical.js';
import {importGraph} from '../../src/graph/import.js';
import {infer} from '../../src/graph/infer.js';
import {Overlay} from '../../src/graph/overlay.js';
import {PHASES} from '../../src/graph/rules/index.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {TestGraph} from '../support/test_graph.js';

interface RuleCase {
  /** The rule that must have been applied. */
  readonly rule: string;
  readonly how?: string;
  /** Adds a block to a graph whose input `x` is [1, 6, 6, 8], and returns its output. */
  readonly build: (g: TestGraph) => string;
  /** Kinds expected; one BlockMBConv unless given. */
  readonly blocks?: readonly string[];
}

const HIDDEN = 12;

/** Expand, the spelling under test, depth-wise, project. */
const behindExpand =
  (spell: (g: TestGraph, x: string) => string) =>
  (g: TestGraph): string =>
    g.pointwise(
      'project',
      g.depthwise('dw', spell(g, g.pointwise('expand', 'x', 8, HIDDEN)), HIDDEN),
      HIDDEN,
      4,
    );

const single = (op: string, attrs = {}): ((g: TestGraph) => string) =>
  behindExpand((g, x) => g.op('act', op, [x], attrs));
const withConstant = (op: string, value: number | null, reversed = false): ((g: TestGraph) => string) =>
  behindExpand((g, x) => {
    const c = value === null ? g.weight('c', [HIDDEN]) : g.constant('c', value);
    return g.op('act', op, reversed ? [c, x] : [x, c]);
  });

const hardSwish = (g: TestGraph, x: string, parts: (relu6: string, sixth: string) => string): string => {
  const shifted = g.op('shifted', 'AddV2', [x, g.constant('three', 3)]);
  return parts(g.op('relu6', 'Relu6', [shifted]), g.constant('sixth', 1 / 6));
};

const gelu = (g: TestGraph, x: string, name = 'erf'): string => {
  const erf = g.op(name, 'Erf', [g.op('scaled', 'Mul', [x, g.constant('r', Math.SQRT1_2)])]);
  return g.op('plus', 'AddV2', [g.constant('one', 1), erf]);
};

const tanhGelu = (g: TestGraph, x: string, cube: string): string => {
  const inner = g.op('inner', 'AddV2', [x, g.op('small', 'Mul', [g.constant('k', 0.044715), cube])]);
  const tanh = g.op('tanh', 'Tanh', [
    g.op('outer', 'Mul', [g.constant('root', Math.sqrt(2 / Math.PI)), inner]),
  ]);
  const halves = g.op('halves', 'Mul', [
    g.constant('half', 0.5),
    g.op('plus', 'AddV2', [tanh, g.constant('one', 1)]),
  ]);
  return g.op('act', 'Mul', [x, halves]);
};

/** Depth-wise, gate, project; the gate's vectors are what `vector` makes of the mean. */
const gated =
  (dense: (g: TestGraph, map: string) => string) =>
  (g: TestGraph): string => {
    const map = g.op('relu', 'Relu', [g.depthwise('dw', 'x', 8)]);
    return g.pointwise('project', g.op('gated', 'Mul', [map, dense(g, map)]), 8, 4);
  };

const mean = (g: TestGraph, map: string, keep: boolean): string =>
  g.op('mean', 'Mean', [map, g.integers('axes', [1, 2])], {keep_dims: keep});

const convGate = (g: TestGraph, vector: string): string => {
  const reduced = g.op('reduced', 'Relu', [
    g.op('biased', 'BiasAdd', [g.pointwise('reduce', vector, 8, 3), g.weight('b', [3])]),
  ]);
  return g.op('gate', 'Sigmoid', [g.pointwise('expand', reduced, 3, 8)]);
};

const matMulGate = (g: TestGraph, vector: string): string => {
  const product = (name: string, a: string, shape: readonly number[]): string =>
    g.op(name, 'MatMul', [a, g.weight(`${name}/w`, shape)], {transpose_a: false, transpose_b: false});
  const reduced = g.op('reduced', 'Relu', [product('reduce', vector, [8, 3])]);
  return g.op('gate', 'Sigmoid', [product('expand', reduced, [3, 8])]);
};

const CASES: readonly RuleCase[] = [
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
  {
    rule: 'prelu by two relus',
    build: behindExpand((g, x) => {
      const down = g.op('down', 'Relu', [g.op('minus', 'Neg', [x])]);
      return g.op('act', 'AddV2', [
        g.op('up', 'Relu', [x]),
        g.op('slope', 'Mul', [g.weight('alpha', [HIDDEN]), down]),
      ]);
    }),
  },
  {
    rule: 'leaky relu by two relus',
    build: behindExpand((g, x) => {
      const down = g.op('down', 'Relu', [g.op('minus', 'Neg', [x])]);
      return g.op('act', 'AddV2', [
        g.op('slope', 'Mul', [g.constant('k', -0.3), down]),
        g.op('up', 'Relu', [x]),
      ]);
    }),
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
    blocks: ['BlockMBConv', 'BlockMBConv'],
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

function appliedRules(build: RuleCase['build']): ReadonlySet<string> {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  const graph = importGraph(g.artifacts([build(g)]));
  const applied = new Set<string>();
  canonicalise(new Overlay(graph, infer(graph), new Set()), (rule) => applied.add(rule));
  return applied;
}

onBackend('cpu', 'rules', () => {
  it('each has a case', () => {
    const covered = new Set(CASES.map(({rule}) => rule));
    expect(
      PHASES.flat()
        .filter(({name}) => !covered.has(name))
        .map(({name}) => name),
    ).toEqual([]);
  });

  for (const {rule, how, build, blocks = ['BlockMBConv']} of CASES) {
    it(how === undefined ? rule : `${rule}: ${how}`, async () => {
      expect(appliedRules(build)).toContain(rule);
      const g = new TestGraph();
      g.input('x', [-1, 6, 6, 8]);
      const report = await expectSame(g.artifacts([build(g)]), {feed: {x: [2, 6, 6, 8]}, scale: 3});
      expect(report.blocks.map(({block}) => block)).toEqual([...blocks]);
    });
  }
});
