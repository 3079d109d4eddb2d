/** A loop whose body is a function, as TensorFlow 2 has it. */
import type * as tf from '@tensorflow/tfjs-core';
import {TestGraph} from './test_graph.js';

const CONV = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};
const INT = 'DT_INT32';

/** A turn of a loop that refines a map by an inverted residual; its filters are operands of the loop, as freezing leaves them. */
const STATE = ['i', 'limit', 'map', 'expand', 'bias', 'dw', 'project', 'gain'] as const;

function refined(g: TestGraph): string[] {
  const wide = g.op('wide', 'Conv2D', ['map', g.op('read', 'Identity', ['expand'])], CONV);
  const active = g.op('active', 'Relu6', [g.op('biased', 'BiasAdd', [wide, 'bias'])]);
  const spatial = g.op('spatial', 'DepthwiseConv2dNative', [active, 'dw'], CONV);
  const narrow = g.op('narrow', 'Conv2D', [g.op('active2', 'Relu6', [spatial]), 'project'], CONV);
  const scaled = g.op('scaled', 'Mul', [narrow, 'gain']);
  const next = g.op('next', 'AddV2', ['i', g.integers('body/one', [1], [])]);
  return [next, 'limit', g.op('sum', 'AddV2', ['map', scaled]), 'read', ...STATE.slice(4)];
}

const typed = STATE.map((name) => (name === 'i' || name === 'limit' ? ([name, INT] as const) : name));

/** Three turns. @param change Of what a turn gives. */
export function bodyLoop(
  g: TestGraph,
  map: string,
  change = (_inside: TestGraph, values: string[]) => values,
): string {
  const cond = g.body('cond', typed, (inside) => [inside.op('more', 'Less', ['i', 'limit'])]);
  const body = g.body('body', typed, (inside) => change(inside, refined(inside)));
  const weights = [
    g.weight('expand', [1, 1, 8, 16]),
    g.weight('bias', [16]),
    g.weight('dw', [3, 3, 16, 1]),
    g.weight('project', [1, 1, 16, 8], 0.2),
    g.weight('gain', [8]),
  ];
  const operands = [g.integers('zero', [0], []), g.integers('three', [3], []), map, ...weights];
  g.op('loop', 'StatelessWhile', operands, {cond, body});
  return 'loop:2';
}

export const refinement = (): tf.io.ModelArtifacts => {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  const stem = g.op('stem/relu', 'Relu', [g.conv('stem', 'x', [3, 3, 8, 8])]);
  return g.artifacts([g.op('out', 'Identity', [bodyLoop(g, stem)])]);
};
