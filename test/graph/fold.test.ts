/** Shape arithmetic becomes constant where shapes are known, and stays where they are not. */
import type * as tf from '@tensorflow/tfjs-core';
import {rewriteArtifacts, type RewriteOptions} from '../../src/graph/index.js';
import {importGraph} from '../../src/graph/import.js';
import {infer} from '../../src/graph/infer.js';
import {valueOf} from '../../src/graph/graph.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {TestGraph} from '../support/test_graph.js';

/** Doubles a map's size by arithmetic on its shape, as converters spell UpSampling of an open size. */
function resized(shape: readonly number[]): tf.io.ModelArtifacts {
  const g = new TestGraph();
  g.input('x', shape);
  const one = (name: string, value: number): string => g.integers(name, [value]);
  const size = g.op('size', 'StridedSlice', [
    g.op('shape', 'Shape', ['x']),
    one('b', 1),
    one('e', 3),
    one('s', 1),
  ]);
  const doubled = g.op(
    'doubled',
    'Cast',
    [
      g.op('mul', 'Mul', [
        g.op('float', 'Cast', [size], {DstT: 'DT_FLOAT', SrcT: 'DT_INT32'}),
        g.constant('two', 2),
      ]),
    ],
    {DstT: 'DT_INT32', SrcT: 'DT_FLOAT'},
  );
  return g.artifacts([
    g.op('up', 'ResizeNearestNeighbor', ['x', doubled], {align_corners: false, half_pixel_centers: false}),
  ]);
}

function flattened(): tf.io.ModelArtifacts {
  const g = new TestGraph();
  g.input('x', [-1, 4, 4, 2]);
  const one = (name: string, value: number): string => g.integers(name, [value]);
  const batch = g.op(
    'batch',
    'StridedSlice',
    [g.op('shape', 'Shape', ['x']), one('b', 0), one('e', 1), one('s', 1)],
    {shrink_axis_mask: 1},
  );
  return g.artifacts([
    g.op('flat', 'Reshape', ['x', g.op('target', 'Pack', [batch, g.integers('c', [32], [])], {axis: 0})]),
  ]);
}

const opsOf = (artifacts: tf.io.ModelArtifacts, options?: RewriteOptions): string[] =>
  (rewriteArtifacts(artifacts, options).artifacts.modelTopology as {node: {op: string}[]}).node
    .map(({op}) => op)
    .sort();

onBackend('cpu', 'constant folding', () => {
  it('folds what follows from a fixed shape', async () => {
    expect(opsOf(resized([1, 4, 4, 2]))).toEqual(['Const', 'Placeholder', 'ResizeNearestNeighbor']);
    await expectSame(resized([1, 4, 4, 2]));
  });

  it('leaves an open size to be computed', async () => {
    expect(opsOf(resized([1, -1, 4, 2]))).toContain('Shape');
    await expectSame(resized([1, -1, 4, 2]), {feed: {x: [1, 6, 4, 2]}});
  });

  it('folds with the shapes it is told', async () => {
    const inputShapes = {x: [3, 4, 4, 2]};
    expect(opsOf(flattened())).toContain('Shape');
    expect(opsOf(flattened(), {inputShapes})).toEqual(['Const', 'Placeholder', 'Reshape']);
    await expectSame(flattened(), {options: {inputShapes}, feed: inputShapes});
  });

  it('refuses another shape than it was told', async () => {
    await expectAsync(
      expectSame(flattened(), {options: {inputShapes: {x: [3, 4, 4, 2]}}, feed: {x: [1, 4, 4, 2]}}),
    ).toBeRejectedWithError(
      /The shape of dict\['x'\] provided in model.execute\(dict\) must be \[3,4,4,2\], but was \[1,4,4,2\]/,
    );
  });

  it('knows a partly open shape through arithmetic', () => {
    const graph = importGraph(flattened());
    expect(infer(graph).shape(valueOf('flat'))).toEqual([-1, 32]);
  });

  it('knows the shapes of pixels dealt out of channels, and of gathered parts', () => {
    const g = new TestGraph();
    g.input('x', [-1, 4, 6, 8]);
    g.op('pixels', 'DepthToSpace', ['x'], {block_size: 2, data_format: 'NHWC'});
    g.op('first', 'DepthToSpace', ['x'], {block_size: 2, data_format: 'NCHW'});
    g.op('parts', 'GatherNd', ['pixels', g.integers('at', [0, 1, 0, 2, 0, 3], [3, 2])]);
    const inferred = infer(importGraph(g.artifacts(['parts', 'first'])));
    expect(inferred.shape(valueOf('pixels'))).toEqual([-1, 8, 12, 2]);
    expect(inferred.shape(valueOf('first'))).toBeUndefined();
    expect(inferred.shape(valueOf('parts'))).toEqual([3, 12, 2]);
  });

  it('names the inputs where inputShapes names none', () => {
    expect(() => rewriteArtifacts(flattened(), {inputShapes: {y: [1]}})).toThrowError(
      /inputShapes names 'y', but the inputs are 'x'/,
    );
  });
});
