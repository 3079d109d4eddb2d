/** One case a layer at least: a layers model, whose graph must give the same values. */
import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import {artifactsOf} from '../../src/convert/artifacts.js';
import {fuse} from '../../src/fuse.js';
import {importLayers} from '../../src/graph/layers/import_layers.js';
import {LAYER_RULES} from '../../src/graph/layers/layer_rules.js';
import {expectClose} from '../support/expect_close.js';
import {onBackend} from '../support/environment.js';
import {seededTensors} from '../support/random.js';

type Sym = layers.SymbolicTensor;
const L = layers.layers;
const at =
  (...made: readonly layers.layers.Layer[]): ((x: Sym) => Sym) =>
  (x) =>
    made.reduce<Sym>((value, layer) => layer.apply(value) as Sym, x);

interface LayerCase {
  readonly layer: string;
  readonly how?: string;
  readonly build: (x: Sym) => Sym;
}

const activations = [
  'relu',
  'relu6',
  'elu',
  'selu',
  'sigmoid',
  'tanh',
  'softmax',
  'softplus',
  'swish',
  'gelu',
  'hardSigmoid',
  'linear',
] as const;

/** The input is [?, 6, 8, 4]. */
const CASES: readonly LayerCase[] = [
  {
    layer: 'Conv2D',
    build: at(
      L.conv2d({filters: 3, kernelSize: [3, 2], strides: [2, 2], padding: 'same', activation: 'relu'}),
    ),
  },
  {
    layer: 'Conv2D',
    how: 'dilated, no bias',
    build: at(L.conv2d({filters: 3, kernelSize: 3, dilationRate: 2, useBias: false})),
  },
  {
    layer: 'DepthwiseConv2D',
    build: at(L.depthwiseConv2d({kernelSize: 3, depthMultiplier: 2, padding: 'same', activation: 'relu6'})),
  },
  {
    layer: 'SeparableConv2D',
    build: at(L.separableConv2d({filters: 5, kernelSize: 3, padding: 'same', activation: 'elu'})),
  },
  {layer: 'Dense', how: 'on a vector', build: at(L.flatten(), L.dense({units: 5, activation: 'softmax'}))},
  {layer: 'Dense', how: 'on a map', build: at(L.dense({units: 5}))},
  {
    layer: 'BatchNormalization',
    build: at(
      L.batchNormalization({
        betaInitializer: 'randomNormal',
        gammaInitializer: 'randomNormal',
        movingMeanInitializer: 'randomNormal',
      }),
    ),
  },
  {
    layer: 'BatchNormalization',
    how: 'of a vector, no scale',
    build: at(L.flatten(), L.batchNormalization({scale: false, movingMeanInitializer: 'randomNormal'})),
  },
  {
    layer: 'LayerNormalization',
    build: at(L.layerNormalization({gammaInitializer: 'randomNormal', betaInitializer: 'randomNormal'})),
  },
  ...activations.map((activation) => ({
    layer: 'Activation',
    how: activation,
    build: at(L.activation({activation})),
  })),
  {layer: 'ReLU', build: at(L.reLU())},
  {layer: 'ReLU', how: 'up to 6', build: at(L.reLU({maxValue: 6}))},
  {layer: 'ReLU', how: 'up to 1', build: at(L.reLU({maxValue: 1}))},
  {layer: 'LeakyReLU', build: at(L.leakyReLU({alpha: 0.2}))},
  {layer: 'PReLU', build: at(L.prelu({sharedAxes: [1, 2], alphaInitializer: 'randomNormal'}))},
  {layer: 'ELU', build: at(L.elu())},
  {layer: 'Softmax', build: at(L.flatten(), L.softmax())},
  {layer: 'MaxPooling2D', build: at(L.maxPooling2d({poolSize: 3, strides: 2, padding: 'same'}))},
  {layer: 'AveragePooling2D', build: at(L.averagePooling2d({poolSize: 2}))},
  {layer: 'GlobalAveragePooling2D', build: at(L.globalAveragePooling2d({dataFormat: 'channelsLast'}))},
  {layer: 'GlobalMaxPooling2D', build: at(L.globalMaxPooling2d({dataFormat: 'channelsLast'}))},
  ...(['add', 'multiply', 'maximum', 'minimum', 'concatenate'] as const).map((name) => ({
    layer: name.charAt(0).toUpperCase() + name.slice(1),
    build: (x: Sym): Sym => L[name]().apply([x, L.activation({activation: 'tanh'}).apply(x) as Sym]) as Sym,
  })),
  ...(['add', 'multiply', 'maximum', 'minimum', 'concatenate'] as const).map((name) => ({
    layer: name.charAt(0).toUpperCase() + name.slice(1),
    how: 'of three maps',
    build: (x: Sym): Sym =>
      L[name]().apply([
        L.activation({activation: 'relu'}).apply(x) as Sym,
        x,
        L.activation({activation: 'tanh'}).apply(x) as Sym,
      ]) as Sym,
  })),
  {
    layer: 'ZeroPadding2D',
    build: at(
      L.zeroPadding2d({
        padding: [
          [0, 1],
          [2, 3],
        ],
      }),
    ),
  },
  {
    layer: 'Cropping2D',
    build: at(
      L.cropping2D({
        cropping: [
          [1, 2],
          [0, 3],
        ],
      }),
    ),
  },
  {layer: 'UpSampling2D', build: at(L.upSampling2d({size: [2, 3]}))},
  {layer: 'Flatten', build: at(L.flatten())},
  {layer: 'Reshape', build: at(L.reshape({targetShape: [8, -1]}))},
  {layer: 'Rescaling', build: at(L.rescaling({scale: 1 / 127.5, offset: -1}))},
  {layer: 'Dropout', build: at(L.dropout({rate: 0.5}))},
  {layer: 'GaussianNoise', build: at(L.gaussianNoise({stddev: 1}))},
  {layer: 'GaussianDropout', build: at(L.gaussianDropout({rate: 0.5}))},
  {layer: 'AlphaDropout', build: at(L.alphaDropout({rate: 0.5}))},
];

/** In the table for files that Keras wrote; TF.js has no such layer, or one that fails on every input (Resizing). */
const NOT_IN_TFJS = ['Resizing', 'Subtract', 'SpatialDropout2D'];

async function expectSameLayers(model: layers.LayersModel, inputs: readonly tf.Tensor[]): Promise<void> {
  const fused = await fuse(model);
  const [expected, actual] = [[model.predict([...inputs])].flat(), [fused.predict([...inputs])].flat()];
  expect(fused.report.notes).toEqual([]);
  for (const [i, tensor] of expected.entries()) await expectClose(actual[i] as tf.Tensor, tensor);
  tf.dispose([expected, actual]);
  fused.dispose();
}

onBackend('cpu', 'layers', () => {
  it('each has a case', () => {
    const covered = new Set([...CASES.map(({layer}) => layer), ...NOT_IN_TFJS]);
    expect(Object.keys(LAYER_RULES).filter((name) => !covered.has(name))).toEqual([]);
  });

  for (const {layer, how, build} of CASES) {
    it(how === undefined ? layer : `${layer}: ${how}`, async () => {
      const input = layers.input({shape: [6, 8, 4]});
      const model = layers.model({inputs: input, outputs: build(input)});
      const x = seededTensors(1)([2, 6, 8, 4], 2);
      await expectSameLayers(model, [x]);
      x.dispose();
      model.dispose();
    });
  }

  it('reads several inputs and outputs, a shared layer, and models inside models', async () => {
    const inner = layers.sequential({
      layers: [L.conv2d({filters: 4, kernelSize: 3, padding: 'same', inputShape: [6, 8, 4]}), L.reLU()],
    });
    const [a, b] = [layers.input({shape: [6, 8, 4]}), layers.input({shape: [6, 8, 4]})];
    const shared = L.conv2d({filters: 4, kernelSize: 1});
    const [left, right] = [shared.apply(inner.apply(a)) as Sym, shared.apply(b) as Sym];
    const model = layers.model({inputs: [a, b], outputs: [L.add().apply([left, right]) as Sym, left]});
    const make = seededTensors(2);
    const inputs = [make([1, 6, 8, 4]), make([1, 6, 8, 4])];
    await expectSameLayers(model, inputs);
    tf.dispose(inputs);
    model.dispose();
  });

  it('gives each layer its name in the graph', async () => {
    const model = layers.sequential({
      layers: [
        L.conv2d({filters: 4, kernelSize: 3, activation: 'swish', name: 'stem', inputShape: [6, 8, 4]}),
        L.flatten({name: 'flat'}),
      ],
    });
    const {node} = importLayers(await artifactsOf(model)).modelTopology as {node: {name: string}[]};
    expect(node.map(({name}) => name)).toEqual(jasmine.arrayContaining(['stem', 'flat', 'stem_input']));
    model.dispose();
  });

  it('comes back working, and says which layer it cannot read', async () => {
    const model = layers.sequential({
      layers: [L.conv2dTranspose({filters: 2, kernelSize: 3, name: 'up', inputShape: [6, 8, 4]})],
    });
    const fused = await fuse(model);
    const x = seededTensors(1)([1, 6, 8, 4]);
    const [expected, actual] = [model.predict(x) as tf.Tensor, fused.predict(x) as tf.Tensor];
    await expectClose(actual, expected);
    expect(fused.report.notes[0]).toContain(`'up' is of the class 'Conv2DTranspose'`);
    tf.dispose([x, expected, actual]);
    fused.dispose();
    tf.dispose(model.predict(tf.zeros([1, 6, 8, 4]))); // The original is still the caller's.
    model.dispose();
  });
});
