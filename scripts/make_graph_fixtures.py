"""Writes test/fixtures/converted/: small graph models in every spelling that people's converters leave a convnet in.

Networks are narrow and shallow variants made of Keras's own block code (or, where Keras has none, of TensorFlow ops), with seeded
weights, and go through the real tensorflowjs converter. Where stock TF.js cannot run the graph (grouped convolutions, Erfc, batch
norm in training mode), answers.json has what TensorFlow computes.

    pip install tensorflow-cpu==2.21.0 keras tf_keras packaging
    pip install --no-deps tensorflowjs==4.22.0 tensorflow-hub==0.16.1
    python scripts/make_graph_fixtures.py [NAME ...]

tensorflowjs also imports the decision forests and JAX, which no convnet needs and which pin an old TensorFlow; it gets empty
modules in their place. Two things of TensorFlow 2.21 the converter refuses, so that those who have such models went around them:
grouped convolutions inside jit-compiled functions (here: compiled by nobody), and gelu by Erfc (here: by Erf, as TensorFlow wrote it
until 2.16, but for one fixture).
"""
import base64
import json
import os
import shutil
import sys
import tempfile
import types

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import numpy as np
import tensorflow as tf

tf_function = tf.function
tf.function = tf.compat.v2.function = lambda *args, jit_compile=None, **options: tf_function(*args, **options)
gelu_by_erfc = tf.nn.gelu


def gelu_by_erf(x, approximate=False, name=None):
    return gelu_by_erfc(x, True, name) if approximate else 0.5 * x * (1.0 + tf.math.erf(x / 1.4142135623730951))


tf.nn.gelu = tf.compat.v2.nn.gelu = gelu_by_erf
import keras
import tf_keras
from tf_keras.src.layers.convolutional.base_conv import Conv as Keras2Conv

Keras2Conv._jit_compiled_convolution_op = Keras2Conv.convolution_op

for name in ('tensorflow_decision_forests', 'tensorflowjs.converters.jax_conversion'):
    sys.modules[name] = types.ModuleType(name)
sys.modules['tensorflowjs.converters.jax_conversion'].convert_jax = None
from google.protobuf.json_format import MessageToDict
from graph_fixture_ops import CLASSES, mobile_net_v1, nchw_mobile, Ops, slim_mobile_net_v2, tflite_mobile
from tensorflowjs import write_weights
from tensorflowjs.converters import tf_saved_model_conversion_v2 as conversion

OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'test', 'fixtures', 'converted')
SIZE = 64
v1 = tf.compat.v1


# Weights and answers

def draw(path, shape, generator):
    """Of a scale that neither vanishes nor explodes, by the last part of a weight's path."""
    kind = path.split('/')[-1].split(':')[0]
    if 'variance' in kind:
        return generator.uniform(0.5, 1.5, shape)
    if kind == 'count' or (kind == 'mean' and 'normalization' in path):
        return None
    if kind in ('gamma', 'layer_scale', 'grn_gain') or 'gamma' in kind:
        return generator.uniform(0.5, 1.0, shape)
    if len(shape) < 2:
        return generator.uniform(-0.2, 0.2, shape)
    fan_in = np.prod(shape[:2]) if 'depthwise' in path else np.prod(shape[:-1])
    return generator.normal(0, 1.4 / np.sqrt(fan_in), shape)


def seed_weights(model):
    generator = np.random.default_rng(11)
    for weight in model.weights:
        path = getattr(weight, 'path', weight.name)
        value = draw(path, tuple(weight.shape), generator)
        if value is not None and not path.startswith('normalization'):
            weight.assign(value.astype(np.float32))
    return model


def sine_image(shape):
    """The tests make the same one: sin of the element's number."""
    return np.sin(np.arange(np.prod(shape), dtype=np.float64)).astype(np.float32).reshape(shape)


def write_answers(folder, function):
    """What TensorFlow computes for two images, output by output in the order of the signature."""
    json_file = os.path.join(folder, 'model.json')
    outputs = json.load(open(json_file))['signature']['outputs']
    found = function(tf.constant(sine_image((2, SIZE, SIZE, 3))))
    found = dict(zip(sorted(outputs), tf.nest.flatten(found)))
    answers = {name: {'shape': list(value.shape), 'values': [float(f'{v:.8g}') for v in value.numpy().ravel()]}
               for name, value in found.items()}
    with open(os.path.join(folder, 'answers.json'), 'w') as file:
        json.dump(answers, file)


# Conversion

def fresh(name):
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def unoptimised(graph, *_unused, **_also_unused):
    """In the place of the converter's grappler passes: constants are frozen in, and nothing is folded or fused."""
    return graph.as_graph_def()


def converted(name, concrete, quantize=None, plain=False, metadata=None, skip_op_check=False):
    """Through the real converter, by a SavedModel; `plain` leaves grappler out."""
    folder = fresh(name)
    optimised = conversion.optimize_graph
    conversion.optimize_graph = unoptimised if plain else optimised
    with tempfile.TemporaryDirectory() as saved:
        concrete(saved)
        try:
            conversion.convert_tf_saved_model(
                saved, folder, quantization_dtype_map={quantize: '*'} if quantize else None, metadata=metadata,
                skip_op_check=skip_op_check)
        finally:
            conversion.optimize_graph = optimised
    return folder


def exported(model):
    """A SavedModel of the forward pass alone; Keras 3 is told not to print it."""
    return lambda folder: model.export(folder, **({'verbose': False} if isinstance(model, keras.Model) else {}))


def image():
    return keras.Input((SIZE, SIZE, 3), name='image')


# Networks of Keras

def conv_next(depths, dims, keras_module=keras):
    module = keras_module.src.applications.convnext if keras_module is tf_keras else keras.src.applications.convnext
    return module.ConvNeXt(depths=depths, projection_dims=dims, weights=None, input_shape=(SIZE, SIZE, 3), classes=CLASSES)


def efficient_net(width, depth, **options):
    return keras.src.applications.efficientnet.EfficientNet(
        width, depth, SIZE, weights=None, input_shape=(SIZE, SIZE, 3), classes=CLASSES, **options)


def efficient_net_v2_s():
    return keras.src.applications.efficientnet_v2.EfficientNetV2(
        0.1, 0.25, SIZE, blocks_args=keras.src.applications.efficientnet_v2.DEFAULT_BLOCKS_ARGS['efficientnetv2-s'],
        name='efficientnetv2-s', weights=None, input_shape=(SIZE, SIZE, 3), classes=CLASSES)


# Expansion, filters, whether of kernel 5, stride, squeeze-and-excite, hard-swish: a block of each sort in the published tables.
V3_LARGE = ((1, 16, False, 1, False, False), (4, 24, False, 2, False, False), (3, 24, False, 1, False, False),
            (3, 40, True, 2, True, False), (3, 40, True, 1, True, False), (6, 80, False, 2, False, True),
            (2.5, 80, False, 1, False, True), (6, 112, False, 1, True, True), (6, 160, True, 2, True, True),
            (6, 160, True, 1, True, True))
V3_SMALL = ((1, 16, False, 2, True, False), (4.5, 24, False, 2, False, False), (3.67, 24, False, 1, False, False),
            (4, 40, True, 2, True, True), (6, 40, True, 1, True, True), (3, 48, True, 1, True, True),
            (6, 96, True, 2, True, True), (6, 96, True, 1, True, True))


def mobile_net_v3(rows, model_type):
    module = keras.src.applications.mobilenet_v3

    def stack(x, kernel, activation, ratio):
        for i, (expansion, filters, is_wide, stride, gate, hard) in enumerate(rows):
            x = module._inverted_res_block(x, expansion, module._depth(filters / 6), kernel if is_wide else 3, stride,
                                           ratio if gate else None, activation if hard else module.relu, i)
        return x
    return module.MobileNetV3(stack, 64, input_shape=(SIZE, SIZE, 3), alpha=1.0, model_type=model_type, weights=None,
                              classes=CLASSES)


def reg_net_y():
    return tf_keras.src.applications.regnet.RegNet(
        depths=[1, 2, 2, 1], widths=[16, 24, 32, 48], group_width=8, block_type='Y', default_size=SIZE, weights=None,
        input_shape=(SIZE, SIZE, 3), classes=CLASSES)


class ResponseNorm(keras.layers.Layer):
    """ConvNeXt V2's GRN as its authors' TensorFlow ports write it: x + gain * x * norm / mean(norm) + offset."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(1, 1, 1, shape[-1]), name='grn_gain')
        self.offset = self.add_weight(shape=(shape[-1],), name='grn_offset')

    def call(self, x):
        norm = keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=(1, 2), keepdims=True))
        relative = norm / (keras.ops.mean(norm, axis=-1, keepdims=True) + 1e-6)
        return self.gain * (x * relative) + self.offset + x


def conv_next_v2(depths=(1, 1, 2, 1), dims=(8, 12, 16, 24)):
    layers = keras.layers
    inputs = x = image()
    for stage, (depth, dim) in enumerate(zip(depths, dims)):
        if stage == 0:
            x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(dim, 4, 4)(x))
        else:
            x = layers.Conv2D(dim, 2, 2)(layers.LayerNormalization(epsilon=1e-6)(x))
        for _ in range(depth):
            y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(7, padding='same')(x))
            y = ResponseNorm()(layers.Activation('gelu')(layers.Dense(4 * dim)(y)))
            x = layers.Add()([x, layers.Dense(dim)(y)])
    x = layers.LayerNormalization(epsilon=1e-6)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def ssd_mobile_net_v2():
    """The detector as the Object Detection API builds it, up to the decoded boxes: six maps, two heads each."""
    module = keras.src.applications.mobilenet_v2
    layers = keras.layers
    inputs = image()
    x = layers.Rescaling(2 / 255, -1)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, 2, 'same', use_bias=False)(x)))
    maps = []
    for i, (expansion, filters, stride) in enumerate(
            ((1, 8, 1), (6, 8, 2), (6, 8, 1), (6, 16, 2), (6, 16, 1), (6, 16, 1), (6, 24, 2), (6, 24, 1))):
        if i == 6:
            maps.append(x)
        x = module._inverted_res_block(x, expansion=expansion, stride=stride, alpha=1.0, filters=filters, block_id=i)
    maps.append(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(x)))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(32, 3, 2, 'same', use_bias=False)(x)))
    maps.append(x)
    boxes, scores = [], []
    for y in maps:
        for found, width in ((boxes, 4), (scores, 3)):
            z = layers.DepthwiseConv2D(3, padding='same', use_bias=False)(y)
            z = layers.ReLU(6.0)(layers.BatchNormalization()(z))
            found.append(layers.Reshape((-1, width))(layers.Conv2D(3 * width, 1)(z)))
    boxes, scores = layers.Concatenate(axis=1)(boxes), layers.Concatenate(axis=1)(scores)
    size = layers.Lambda(lambda t: tf.exp(t[..., 2:] / 5))(boxes)
    center = layers.Lambda(lambda t: t[..., :2] / 10)(boxes)
    corners = layers.Lambda(lambda t: tf.concat([t[0] - t[1] / 2, t[0] + t[1] / 2], -1))([center, size])
    return keras.Model(inputs, {'boxes': corners, 'scores': layers.Activation('sigmoid')(scores)})


# Graphs of TensorFlow ops, as older tools wrote them

def frozen(network):
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, SIZE, SIZE, 3], name='image')
        tf.identity(network(Ops(), x), name='scores')
    return graph


def from_frozen(name, network, plain=False, quantize=None):
    folder = fresh(name)
    optimised = conversion.optimize_graph
    conversion.optimize_graph = unoptimised if plain else optimised
    with tempfile.NamedTemporaryFile(suffix='.pb') as file:
        file.write(frozen(network).as_graph_def().SerializeToString())
        file.flush()
        try:
            conversion.convert_tf_frozen_model(
                file.name, 'scores', folder, quantization_dtype_map={quantize: '*'} if quantize else None)
        finally:
            conversion.optimize_graph = optimised
    return folder


def as_1x(name, network):
    """What converter 1.2 wrote: no signature, the batch norms apart, every weight quantised to a byte."""
    folder = fresh(name)
    graph = frozen(network).as_graph_def()
    weights = conversion.extract_weights(graph)
    manifest = write_weights.write_weights(weights, folder, write_manifest=False, quantization_dtype_map={'uint8': '*'})
    write_json(folder, {'format': 'graph-model', 'generatedBy': '1.14.0', 'convertedBy': 'TensorFlow.js Converter v1.2.2.1',
                        'modelTopology': MessageToDict(graph), 'weightsManifest': manifest})


DATA_TYPES = {'DT_FLOAT': 1, 'DT_INT32': 3}


def number_coded(value):
    """pb2json of 1.0 wrote protobuf.js's view of a tensorflowjs_model.pb: enums and int64 as numbers, bytes as lists of them."""
    if isinstance(value, list):
        return [number_coded(element) for element in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, element in value.items():
        if key == 's':
            text = [element] if isinstance(element, str) else element
            codes = [list(base64.b64decode(part)) for part in text]
            found[key] = codes[0] if isinstance(element, str) else codes
        elif key in ('i', 'size'):
            found[key] = [int(part) for part in element] if isinstance(element, list) else int(element)
        elif key in ('type', 'dtype') and isinstance(element, str):
            found[key] = DATA_TYPES[element]
        else:
            found[key] = number_coded(element)
    return found


def as_pb2json(name, network):
    folder = fresh(name)
    graph = frozen(network).as_graph_def()
    manifest = write_weights.write_weights(conversion.extract_weights(graph), folder, write_manifest=False)
    write_json(folder, {'modelTopology': number_coded(MessageToDict(graph)), 'weightsManifest': manifest})


def write_json(folder, value):
    with open(os.path.join(folder, 'model.json'), 'w') as file:
        json.dump(value, file)


def sort_keys(folder):
    """protobuf's maps come in another order in each run."""
    with open(os.path.join(folder, 'model.json')) as file:
        value = json.load(file)
    with open(os.path.join(folder, 'model.json'), 'w') as file:
        json.dump(value, file, sort_keys=True)


# The list

def from_keras(model, answers=False, gelu=gelu_by_erf, **options):
    def make(name):
        tf.nn.gelu = gelu
        keras.backend.clear_session()  # Names count from one in each fixture.
        network = seed_weights(model())
        folder = converted(name, exported(network), **options)
        if answers:
            write_answers(folder, lambda x: network(x, training=False))
        tf.nn.gelu = gelu_by_erf
    return make


def of_ops(network, write=from_frozen, **options):
    return lambda name: write(name, network, **options)


NARROW = (8, 12, 16, 24)
FIXTURES = {
    'keras_convnext_tiny': from_keras(lambda: conv_next([1, 1, 3, 1], NARROW), answers=True, metadata={'labels': ['a', 'b']}),
    'keras_convnext_small_erfc': from_keras(
        lambda: conv_next([1, 1, 4, 1], NARROW), plain=True, answers=True, gelu=gelu_by_erfc),
    'keras2_convnext_tiny_plain': from_keras(
        lambda: conv_next([1, 1, 2, 1], NARROW, tf_keras), plain=True, answers=True),
    'keras_convnext_v2': from_keras(conv_next_v2),
    'keras_efficientnet_b0': from_keras(lambda: efficient_net(0.12, 0.5), quantize='uint8'),
    'keras_efficientnet_b4': from_keras(lambda: efficient_net(0.12, 0.5), quantize='uint16'),
    'keras_efficientnet_b0_plain': from_keras(lambda: efficient_net(0.1, 0.3), plain=True, quantize='float16'),
    'keras_efficientnet_v2_s': from_keras(efficient_net_v2_s, quantize='float16'),
    'keras_mobilenet_v3_large': from_keras(lambda: mobile_net_v3(V3_LARGE, 'large'), answers=True),
    'keras_mobilenet_v3_large_plain': from_keras(lambda: mobile_net_v3(V3_LARGE, 'large'), plain=True, quantize='float16'),
    'keras_mobilenet_v3_small': from_keras(lambda: mobile_net_v3(V3_SMALL, 'small'), answers=True),
    'keras2_regnety': from_keras(reg_net_y, answers=True),
    'keras_ssd_mobilenet_v2': from_keras(ssd_mobile_net_v2, quantize='uint8'),
    'tf1_mobilenet_v2': of_ops(slim_mobile_net_v2, as_1x),
    'tf1_mobilenet_v1_pb': of_ops(mobile_net_v1, as_pb2json),
    'tflite_mobile': of_ops(tflite_mobile),
    'tflite_mobile_plain': of_ops(tflite_mobile, plain=True),
    'nchw_mobile': of_ops(nchw_mobile),
    'nchw_mobile_plain': of_ops(nchw_mobile, plain=True),
}

if __name__ == '__main__':
    for fixture in sys.argv[1:] or FIXTURES:
        FIXTURES[fixture](fixture)
        sort_keys(os.path.join(OUT, fixture))
        size = sum(entry.stat().st_size for entry in os.scandir(os.path.join(OUT, fixture)))
        print(f'{fixture}: {size // 1000} kB', flush=True)
