/** Channels-first maps become channels-last; transposes cancel, and one stays where the other layout is wanted. */
import type * as tf from '@tensorflow/tfjs-core';
import {rewriteArtifacts} from '../../src/graph/index.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {TestGraph} from '../support/test_graph.js';

const FIRST = [0, 3, 1, 2] as const;
const LAST = [0, 2, 3, 1] as const;

const transposed = (g: TestGraph, name: string, x: string, order: readonly number[]): string =>
  g.op(name, 'Transpose', [x, g.integers(`${name}/order`, order)]);
const first = (g: TestGraph, name: string, x: string): string => transposed(g, name, x, FIRST);
const last = (g: TestGraph, name: string, x: string): string => transposed(g, name, x, LAST);

function start(shape: readonly number[] = [-1, 6, 5, 8]): TestGraph {
  const g = new TestGraph();
  g.input('x', shape);
  return g;
}

const count = (artifacts: tf.io.ModelArtifacts, op: string): number =>
  (rewriteArtifacts(artifacts).artifacts.modelTopology as {node: {op: string}[]}).node.filter(
    (node) => node.op === op,
  ).length;

const feed = {x: [2, 6, 5, 8]};
const kinds = async (artifacts: tf.io.ModelArtifacts): Promise<string[]> =>
  (await expectSame(artifacts, {feed})).blocks.map(({block, at}) => `${block} ${at}`);

/** What the converters of ONNX leave: each convolution between two transposes. */
function mbConv(g: TestGraph, x: string): string {
  const expand = first(g, 't1', g.pointwise('expand', last(g, 't0', x), 8, 12));
  const biased = g.op('biased', 'AddV2', [expand, g.weight('bias', [12, 1, 1])]);
  const clipped = g.op('clipped', 'ClipByValue', [biased, g.constant('low', 0), g.constant('high', 6)]);
  const wide = g.op('wide', 'Pad', [clipped, g.integers('pads', [0, 0, 0, 0, 1, 1, 1, 1], [4, 2])]);
  const dw = first(g, 't3', g.depthwise('dw', last(g, 't2', wide), 12, {padding: 'VALID'}));
  const scaled = g.op('scaled', 'Mul', [dw, g.weight('gain', [1, 12, 1, 1])]);
  const relu = g.op('relu', 'Relu', [scaled]);
  const mean = g.op('mean', 'Mean', [relu, g.integers('axes', [2, 3])], {keep_dims: true});
  const squeezed = g.op('squeezed', 'Relu', [
    first(g, 't5', g.pointwise('reduce', last(g, 't4', mean), 12, 3)),
  ]);
  const gates = g.op('gates', 'Sigmoid', [
    first(g, 't7', g.pointwise('restore', last(g, 't6', squeezed), 3, 12)),
  ]);
  const gated = g.op('gated', 'Mul', [gates, relu]);
  const project = first(g, 't9', g.pointwise('project', last(g, 't8', gated), 12, 8));
  return g.op('sum', 'AddV2', [x, project]);
}

onBackend('cpu', 'channels-first', () => {
  it('cancels the transposes around a whole block', async () => {
    const g = start();
    const artifacts = g.artifacts([last(g, 'end', mbConv(g, first(g, 'begin', 'x')))]);
    expect(await kinds(artifacts)).toEqual(['BlockMBConv end']);
    expect(count(artifacts, 'Transpose')).toBe(0);
  });

  it('leaves one transpose at either end of a channels-first model', async () => {
    const g = start([-1, 8, 6, 5]);
    const artifacts = g.artifacts([mbConv(g, 'x')]);
    const report = await expectSame(artifacts, {feed: {x: [2, 8, 6, 5]}});
    expect(report.blocks.map(({stages}) => stages.at(-1))).toEqual(['residual']);
    expect(count(artifacts, 'Transpose')).toBe(2);
    const h = start([-1, 8, 6, 5]);
    const relu = h.op('relu', 'Relu', [h.op('plain', 'AddV2', ['x', h.weight('b', [8, 1, 1])])]);
    expect(count(h.artifacts([relu]), 'Transpose')).toBe(0);
  });

  it('leaves a transpose where the channels-first value is fetched or read', async () => {
    const g = start();
    const relu = g.op('relu', 'Relu', [first(g, 'begin', g.depthwise('dw', 'x', 8))]);
    const flat = g.op('flat', 'Reshape', [relu, g.integers('flat/shape', [-1, 240])]);
    const project = g.pointwise('project', last(g, 'end', relu), 8, 4);
    const artifacts = g.artifacts([project, flat, relu]);
    await expectSame(artifacts, {feed});
    expect(count(artifacts, 'Transpose')).toBe(1);
  });

  it('joins and reduces along the axis that was meant', async () => {
    const g = start();
    const a = g.op('a', 'Relu', [first(g, 'begin', 'x')]);
    const b = g.op('b', 'Exp', [a]);
    const join = g.op('join', 'ConcatV2', [a, b, g.integers('one', [1], [])], {N: 2});
    const map = g.op('map', 'Mul', [join, g.weight('w', [16, 6, 5])]);
    const rows = g.op('rows', 'Max', [map, g.integers('rows/axes', [2])], {keep_dims: true});
    const flat = g.op('mean', 'Mean', [map, g.integers('mean/axes', [-1, -2])], {keep_dims: false});
    const artifacts = g.artifacts([last(g, 'end', map), last(g, 'end2', rows), flat]);
    await expectSame(artifacts, {feed});
    expect(count(artifacts, 'Transpose')).toBe(0);
  });

  it('takes no vector of one channel for a channels-first map', () => {
    const g = start();
    // No mean: a head would take the map in.
    const most = g.op('most', 'Max', ['x', g.integers('axes', [1, 2])], {keep_dims: false});
    const dense = g.op('dense', 'MatMul', [most, g.weight('w', [8, 1])], {
      transpose_a: false,
      transpose_b: false,
    });
    const map = g.op('map', 'Reshape', [dense, g.integers('sizes', [-1, 1, 1, 1])]);
    const island = g.op('relu', 'Relu', [first(g, 'begin', g.pointwise('p', map, 1, 4))]);
    const {artifacts} = rewriteArtifacts(g.artifacts([last(g, 'end', island)]));
    const names = (artifacts.modelTopology as {node: {name: string}[]}).node.map(({name}) => name);
    expect(names.filter((name) => name.startsWith('map'))).toEqual(['map']);
  });

  it('turns channels-first convolutions and pools', () => {
    const build = (format: 'NCHW' | 'NHWC'): tf.io.ModelArtifacts => {
      const g = start([-1, 8, 6, 5]);
      const isFirst = format === 'NCHW';
      const pair = (value: number): readonly number[] =>
        isFirst ? [1, 1, value, value] : [1, value, value, 1];
      const window = (stride: number): Record<string, string | readonly number[]> => ({
        ...{strides: pair(stride), dilations: pair(1), padding: 'SAME', data_format: format},
      });
      const x = isFirst ? 'x' : last(g, 'begin', 'x');
      const conv = g.op('conv', 'Conv2D', [x, g.weight('f', [1, 1, 8, 12])], window(1));
      const relu = g.op('relu', 'Relu', [conv]);
      const dw = g.op('dw', 'DepthwiseConv2dNative', [relu, g.weight('d', [3, 3, 12, 1])], window(2));
      const pool = g.op('pool', 'MaxPool', [dw], {...window(2), ksize: pair(2)});
      const project = g.op('project', 'Conv2D', [pool, g.weight('p', [1, 1, 12, 4])], window(1));
      return g.artifacts([isFirst ? project : first(g, 'end', project)]);
    };
    const {artifacts} = rewriteArtifacts(build('NCHW'));
    const ops = (artifacts.modelTopology as {node: {op: string}[]}).node.map(({op}) => op);
    expect(ops.filter((op) => op === 'Transpose').length).toBe(2);
    const {artifacts: wanted} = rewriteArtifacts(build('NHWC'));
    expect(ops.sort()).toEqual(
      (wanted.modelTopology as {node: {op: string}[]}).node.map(({op}) => op).sort(),
    );
  });
});
