/** A loop between Enter and Exit, as TensorFlow 1 has it. */
import type * as tf from '@tensorflow/tfjs-core';
import {TestGraph} from './test_graph.js';

const CONV = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};

const enter = (g: TestGraph, name: string, x: string, isConstant = false): string =>
  g.op(name, 'Enter', [x], {frame_name: 'loop', is_constant: isConstant});

/** Three turns of `turn`, whose value is a map again. */
export function frameLoop(g: TestGraph, x: string, turn: (x: string) => string): string {
  const count = g.op('i', 'Merge', [enter(g, 'i/enter', g.integers('zero', [0], [])), 'i/next']);
  const map = g.op('map', 'Merge', [enter(g, 'map/enter', x), 'map/next']);
  const less = g.op('less', 'Less', [count, enter(g, 'limit', g.integers('three', [3], []), true)]);
  const more = g.op('more', 'LoopCond', [less]);
  g.op('i/switch', 'Switch', [count, more]);
  g.op('map/switch', 'Switch', [map, more]);
  const next = g.op('i/plus', 'AddV2', [
    g.op('i/body', 'Identity', ['i/switch:1']),
    enter(g, 'one/enter', g.integers('one', [1], []), true),
  ]);
  g.op('i/next', 'NextIteration', [next]);
  g.op('map/next', 'NextIteration', [turn(g.op('map/body', 'Identity', ['map/switch:1']))]);
  return g.op('exit', 'Exit', ['map/switch']);
}

/** An inverted residual whose filters come in by Enter. */
export function residual(g: TestGraph, x: string): string {
  const weight = (name: string, shape: readonly number[]): string =>
    enter(g, `${name}/enter`, g.weight(name, shape, 0.3), true);
  const wide = g.op('wide', 'Conv2D', [x, weight('expand', [1, 1, 8, 16])], CONV);
  const biased = g.op('wide/biased', 'BiasAdd', [wide, weight('bias', [16])]);
  const spatial = g.op(
    'dw',
    'DepthwiseConv2dNative',
    [g.op('r6', 'Relu6', [biased]), weight('filter', [3, 3, 16, 1])],
    CONV,
  );
  const narrow = g.op('narrow', 'Conv2D', [spatial, weight('project', [1, 1, 16, 8])], CONV);
  return g.op('sum', 'AddV2', [x, narrow]);
}

export const looped = (turn = residual): tf.io.ModelArtifacts => {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  const out = frameLoop(g, g.op('stem', 'Relu', [g.conv('stem/conv', 'x', [3, 3, 8, 8])]), (x) => turn(g, x));
  return g.artifacts([g.op('out', 'Relu', [g.pointwise('q', g.depthwise('dq', out, 8), 8, 4)])]);
};
