/** What a rewritten model keeps: names, signature, metadata, quantised bytes, open batch; and that it can be saved and loaded. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs'; // registers the gradients of stock ops
import {savedBy} from '../../src/convert/artifacts.js';
import {convert} from '../../src/convert/convert.js';
import {fuse} from '../../src/fuse.js';
import type {Weight} from '../../src/graph/weights.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {expectClose} from '../support/expect_close.js';
import {expectNoLeak} from '../support/expect_no_leak.js';
import {seededTensors} from '../support/random.js';
import {TestGraph} from '../support/test_graph.js';

const CONV = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};

function quantised(name: string, shape: readonly number[], dtype: 'uint8' | 'uint16' | 'float16'): Weight {
  const size = shape.reduce((a, b) => a * b, 1);
  // Halves between 1 and 2, of either sign, so that no bit pattern is a NaN.
  const halves = Uint16Array.from({length: size}, (_, i) => 0x3c00 + ((i * 37) % 1024) + (i % 2) * 0x8000);
  const bytes =
    dtype === 'uint8'
      ? Uint8Array.from({length: size}, (_, i) => (i * 41) % 256)
      : new Uint8Array((dtype === 'uint16' ? halves.map((half) => half % 999) : halves).buffer);
  const quantization =
    dtype === 'float16' ? {dtype} : {dtype, scale: dtype === 'uint8' ? 0.004 : 0.001, min: -0.5};
  return {name, shape, dtype: 'float32', quantization, bytes};
}

function quantisedModel(): tf.io.ModelArtifacts {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  const expand = g.op('expand', 'Conv2D', ['x', g.add(quantised('expand/w', [1, 1, 8, 12], 'uint8'))], CONV);
  const biased = g.op('biased', 'BiasAdd', [expand, g.add(quantised('expand/b', [12], 'float16'))]);
  const dw = g.op(
    'dw',
    'DepthwiseConv2dNative',
    [g.op('relu', 'Relu', [biased]), g.add(quantised('dw/w', [3, 3, 12, 1], 'uint16'))],
    CONV,
  );
  const project = g.op(
    'project',
    'Conv2D',
    [dw, g.add(quantised('project/w', [1, 1, 12, 8], 'float16'))],
    CONV,
  );
  const sum = g.op('sum', 'AddV2', ['x', project]);
  return g.artifacts([g.op('out', 'Tanh', [sum])], {
    userDefinedMetadata: {labels: ['a', 'b']},
    generatedBy: 'a test',
  });
}

onBackend('cpu', 'round trip', () => {
  it('keeps quantised weights byte for byte, in a new shape where one is needed', () => {
    const before = quantisedModel();
    const {artifacts, report} = convert(before);
    expect(report.blocks.length).toBe(1);
    expect(report.blocks[0]?.folded).toEqual([]);
    const specs = Object.fromEntries(
      (artifacts.weightSpecs ?? []).map(({name, shape, quantization}) => [
        name,
        [shape.join(), quantization?.dtype],
      ]),
    );
    expect(specs).toEqual({
      'expand/w': ['8,12', 'uint8'],
      'expand/b': ['12', 'float16'],
      'dw/w': ['3,3,1,12', 'uint16'],
      'project/w': ['12,8', 'float16'],
    });
    const bytes = (model: tf.io.ModelArtifacts): number[] =>
      [...new Uint8Array(model.weightData as ArrayBuffer)].sort();
    expect(bytes(artifacts)).toEqual(bytes(before));
  });

  it('keeps signature, metadata and provenance', () => {
    const before = quantisedModel();
    const {artifacts} = convert(before);
    expect(artifacts.signature).toEqual(before.signature as object);
    expect(artifacts.userDefinedMetadata).toEqual({labels: ['a', 'b']});
    expect(artifacts.generatedBy).toBe('a test');
  });

  it('runs the functions of a library as they were, around blocks', async () => {
    const g = new TestGraph();
    g.input('x', [-1, 6, 6, 8]);
    const project = g.pointwise('project', g.depthwise('dw', 'x', 8), 8, 8);
    const total = g.op('total', 'Sum', [project, g.integers('axes', [0, 1, 2, 3])], {keep_dims: false});
    const isLarge = g.op('large', 'Greater', [total, g.constant('limit', 0)]);
    const branches = {then_branch: {func: {name: 'negate'}}, else_branch: {func: {name: 'keep'}}};
    g.op('choice', 'StatelessIf', [isLarge, project]);
    const out = g.op('out', 'Relu', [g.pointwise('q', g.depthwise('dq', 'choice', 8), 8, 4)]);
    const artifacts = g.artifacts([out]);
    const topology = artifacts.modelTopology as {node: {name: string; attr?: object}[]};
    const choice = topology.node.find(({name}) => name === 'choice');
    if (choice) choice.attr = branches;
    const branch = (name: string, op: string): object => ({
      signature: {
        name,
        inputArg: [{name: 'm', type: 'DT_FLOAT'}],
        outputArg: [{name: 'r', type: 'DT_FLOAT'}],
      },
      nodeDef: [{name: 'value', op, input: ['m'], attr: {T: {type: 'DT_FLOAT'}}}],
      ret: {r: 'value:output:0'},
    });
    const library = {function: [branch('negate', 'Neg'), branch('keep', 'Identity')]};
    const report = await expectSame(
      {...artifacts, modelTopology: {...topology, library}},
      {feed: {x: [2, 6, 6, 8]}},
    );
    expect(report.blocks.map(({at}) => at)).toContain('project');
  });

  it('writes calls of functions out, which TF.js cannot run, and finds the block across their edge', async () => {
    const project = (g: TestGraph, from: string): string =>
      g.op('sum', 'AddV2', [
        g.op('biased', 'BiasAdd', [g.pointwise('project', from, 8, 8), g.weight('b', [8])]),
        'x',
      ]);
    const model = (called: boolean): tf.io.ModelArtifacts => {
      const g = new TestGraph();
      g.input('x', [-1, 6, 6, 8]);
      const filter = g.weight('w', [3, 3, 8, 1]);
      const bias = g.weight('inside', [8]);
      const hidden = called
        ? g.op('outer', 'StatefulPartitionedCall', ['x', filter])
        : g.op('relu', 'Relu6', [
            g.op('bias', 'BiasAdd', [g.op('dw', 'DepthwiseConv2dNative', ['x', filter], CONV), bias]),
          ]);
      return g.artifacts([project(g, hidden)]);
    };
    const args = (...names: string[]): object[] => names.map((name) => ({name, type: 'DT_FLOAT'}));
    const func = (name: string): object => ({f: {func: {name}}});
    const library = {
      function: [
        {
          signature: {name: 'active', inputArg: args('m', 'k'), outputArg: args('r')},
          nodeDef: [
            {name: 'inner', op: 'PartitionedCall', input: ['m', 'k'], attr: func('convolved')},
            {name: 'inside', op: 'Const', attr: {dtype: {type: 'DT_FLOAT'}}},
            {name: 'bias', op: 'BiasAdd', input: ['inner:output:0', 'inside:output:0']},
            {name: 'relu', op: 'Relu6', input: ['bias:output:0']},
          ],
          ret: {r: 'relu:activations:0'},
        },
        {
          signature: {name: 'convolved', inputArg: args('m', 'k'), outputArg: args('r')},
          nodeDef: [] as object[],
          ret: {r: 'dw:output:0'},
        },
      ],
    };
    const oracle = model(false);
    const {node: flat} = oracle.modelTopology as {node: {name: string}[]};
    library.function[1]?.nodeDef.push({...flat.find(({name}) => name === 'dw'), input: ['m', 'k']});
    const artifacts = model(true);
    const topology = artifacts.modelTopology as {node: {name: string; attr?: object}[]};
    const call = topology.node.find(({name}) => name === 'outer');
    if (call) call.attr = func('active');
    const report = await expectSame(
      {...artifacts, modelTopology: {...topology, library}},
      {feed: {x: [2, 6, 6, 8]}, oracle},
    );
    expect(report.blocks.map(({block, at}) => `${block} ${at}`)).toEqual(['BlockMBConv sum']);
  });

  it('survives save and load, at any batch', async () => {
    const original = await loadGraphModel(tf.io.fromMemory(quantisedModel()));
    const fused = await fuse(original);
    const saved = await savedBy(fused);
    const loaded = await loadGraphModel(tf.io.fromMemory(saved));
    for (const batch of [1, 3]) {
      const x = seededTensors(batch)([batch, 6, 6, 8]);
      const [expected, actual] = [original.predict(x) as tf.Tensor, loaded.predict(x) as tf.Tensor];
      await expectClose(actual, expected);
      tf.dispose([x, expected, actual]);
    }
    for (const model of [original, fused, loaded]) model.dispose();
  });

  it('fetches every name the rewrite left, and leaks nothing', async () => {
    await expectSame(quantisedModel(), {feed: {x: [1, 6, 6, 8]}, outputs: ['sum', 'x']});
    await expectNoLeak(() => expectSame(quantisedModel(), {feed: {x: [1, 6, 6, 8]}}).then(() => undefined));
  });

  it('gives a model back as it is where nothing matches', async () => {
    const g = new TestGraph();
    const out = g.op('out', 'Tanh', [g.input('x', [2, 3])]);
    const before = g.artifacts([out]);
    const report = await expectSame(before);
    expect(report.blocks).toEqual([]);
    expect(report.toString()).toContain('0 blocks fused');
    expect(convert(before).artifacts.modelTopology).toEqual({
      node: (before.modelTopology as {node: unknown}).node,
      versions: {producer: 1},
    });
  });

  it('can be fine-tuned through its blocks', async () => {
    const fused = await fuse(await loadGraphModel(tf.io.fromMemory(quantisedModel())));
    const x = seededTensors(1)([1, 6, 6, 8]);
    const gradient = tf.grad((input) => tf.sum(fused.predict(input) as tf.Tensor))(x);
    const [largest] = await tf.max(tf.abs(gradient)).data();
    expect(largest).toBeGreaterThan(0);
    fused.dispose();
  });
});

onBackend('webgpu', 'round trip', () => {
  it('gives the same values by the kernels, and leaks no GPU byte over two times 50 predictions', async () => {
    await expectSame(quantisedModel(), {feed: {x: [2, 6, 6, 8]}});
    const fused = await fuse(await loadGraphModel(tf.io.fromMemory(quantisedModel())));
    const x = seededTensors(1)([1, 6, 6, 8]);
    await expectNoLeak(async () => {
      for (let i = 0; i < 50; i++) {
        const y = fused.predict(x) as tf.Tensor;
        if (i % 10 === 0) await y.data();
        y.dispose();
      }
    });
    x.dispose();
    fused.dispose();
  });
});
