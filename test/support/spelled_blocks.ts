/** Blocks in the spellings of the rule tests: what goes between the convolutions is up to the case. */
import type {TestGraph} from './test_graph.js';

export interface RuleCase {
  /** The rule that must have been applied. */
  readonly rule: string;
  readonly how?: string;
  /** Adds a block to a graph whose input `x` is [1, 6, 6, 8], and returns its output. */
  readonly build: (g: TestGraph) => string;
  /** The same block where stock TF.js cannot run the other; the same weights in the same order. */
  readonly oracle?: (g: TestGraph) => string;
  /** Kinds expected; one BlockMBConv unless given. */
  readonly blocks?: readonly string[];
}

export const HIDDEN = 12;

/** Expand, the spelling under test, depth-wise, project. */
export const behindExpand =
  (spell: (g: TestGraph, x: string) => string) =>
  (g: TestGraph): string =>
    g.pointwise(
      'project',
      g.depthwise('dw', spell(g, g.pointwise('expand', 'x', 8, HIDDEN)), HIDDEN),
      HIDDEN,
      4,
    );

export const single = (op: string, attrs = {}): ((g: TestGraph) => string) =>
  behindExpand((g, x) => g.op('act', op, [x], attrs));
export const withConstant = (
  op: string,
  value: number | null,
  reversed = false,
): ((g: TestGraph) => string) =>
  behindExpand((g, x) => {
    const c = value === null ? g.weight('c', [HIDDEN]) : g.constant('c', value);
    return g.op('act', op, reversed ? [c, x] : [x, c]);
  });

export const hardSwish = (
  g: TestGraph,
  x: string,
  parts: (relu6: string, sixth: string) => string,
): string => {
  const shifted = g.op('shifted', 'AddV2', [x, g.constant('three', 3)]);
  return parts(g.op('relu6', 'Relu6', [shifted]), g.constant('sixth', 1 / 6));
};

export const gelu = (g: TestGraph, x: string, name = 'erf'): string => {
  const erf = g.op(name, 'Erf', [g.op('scaled', 'Mul', [x, g.constant('r', Math.SQRT1_2)])]);
  return g.op('plus', 'AddV2', [g.constant('one', 1), erf]);
};

export const tanhGelu = (g: TestGraph, x: string, cube: string): string => {
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
export const gated =
  (dense: (g: TestGraph, map: string) => string) =>
  (g: TestGraph): string => {
    const map = g.op('relu', 'Relu', [g.depthwise('dw', 'x', 8)]);
    return g.pointwise('project', g.op('gated', 'Mul', [map, dense(g, map)]), 8, 4);
  };

export const mean = (g: TestGraph, map: string, keep: boolean): string =>
  g.op('mean', 'Mean', [map, g.integers('axes', [1, 2])], {keep_dims: keep});

export const convGate = (g: TestGraph, vector: string): string => {
  const reduced = g.op('reduced', 'Relu', [
    g.op('biased', 'BiasAdd', [g.pointwise('reduce', vector, 8, 3), g.weight('b', [3])]),
  ]);
  return g.op('gate', 'Sigmoid', [g.pointwise('expand', reduced, 3, 8)]);
};

export const matMulGate = (g: TestGraph, vector: string): string => {
  const product = (name: string, a: string, shape: readonly number[]): string =>
    g.op(name, 'MatMul', [a, g.weight(`${name}/w`, shape)], {transpose_a: false, transpose_b: false});
  const reduced = g.op('reduced', 'Relu', [product('reduce', vector, [8, 3])]);
  return g.op('gate', 'Sigmoid', [product('expand', reduced, [3, 8])]);
};

/** Over the last axis of `x`, with gain and offset, from its parts. */
export function layerNorm(g: TestGraph, x: string, channels: number): string {
  const average = (name: string, of: string): string =>
    g.op(name, 'Mean', [of, g.integers(`${name}/axis`, [-1])], {keep_dims: true});
  const mu = average('norm/mean', x);
  const variance = average('norm/variance', g.op('norm/squares', 'SquaredDifference', [x, mu]));
  const safe = g.op('norm/safe', 'AddV2', [variance, g.constant('norm/epsilon', 1e-3)]);
  const normal = g.op('norm/normal', 'Mul', [
    g.op('norm/centered', 'Sub', [x, mu]),
    g.op('norm/rsqrt', 'Rsqrt', [safe]),
  ]);
  const gained = g.op('norm/gained', 'Mul', [normal, g.weight('norm/gain', [channels])]);
  return g.op('norm', 'AddV2', [gained, g.weight('norm/offset', [channels])]);
}
