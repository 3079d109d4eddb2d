/** Cases for the rules about edges in front of a max-pool. */
import type {RuleCase} from '../support/spelled_blocks.js';
import type {TestGraph} from '../support/test_graph.js';

interface Edged {
  readonly activation?: 'Relu' | 'Relu6' | 'Sigmoid' | 'LeakyRelu';
  /** Rows above and below, columns left and right. */
  readonly edges?: readonly [number, number, number, number];
  /** Channels behind those of the map. */
  readonly added?: number;
  /** Around the map, where it is not zero. */
  readonly fill?: number;
  readonly pool?: 'MaxPool' | 'AvgPool';
  readonly padding?: 'VALID' | 'SAME';
}

/** A convolution, its activation, edges, and a pool of 3×3 windows. */
export function edgedPool(
  g: TestGraph,
  {activation, edges = [1, 1, 1, 1], added = 0, fill, pool = 'MaxPool', padding = 'VALID'}: Edged,
): string {
  const conv = g.conv('conv', 'x', [3, 3, 8, 12]);
  const map = activation ? g.op('act', activation, [conv]) : conv;
  const amounts = g.integers('amounts', [0, 0, ...edges, 0, added], [4, 2]);
  const wide =
    fill === undefined
      ? g.op('wide', 'Pad', [map, amounts])
      : g.op('wide', 'PadV2', [map, amounts, g.constant('fill', [fill], [])]);
  return g.op('pool', pool, [wide], {
    ...{ksize: [1, 3, 3, 1], strides: [1, 2, 2, 1], padding, data_format: 'NHWC'},
  });
}

export const POOL_CASES: readonly RuleCase[] = [
  {
    rule: 'zeros before a max-pool',
    blocks: ['BlockConv'],
    build: (g) => edgedPool(g, {activation: 'Relu'}),
  },
  {
    rule: 'zeros before a max-pool',
    how: 'more on one side, behind another activation',
    blocks: ['BlockConv'],
    build: (g) => edgedPool(g, {activation: 'Sigmoid', edges: [0, 2, 2, 1]}),
  },
  {
    rule: 'least values before a max-pool',
    blocks: ['BlockConv'],
    build: (g) => edgedPool(g, {fill: -3.4028234e38}),
  },
];
