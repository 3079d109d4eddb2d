"""TFLite files of Keras's networks for LiteRT.js, by TensorFlow's converter, of one batch and image size each.

    python3 tflite_files.py NETWORK… --out DIR [--batches 1,32] [--size 224]     mobilenetv2 convnext_tiny efficientnet_b0

Needs tensorflow. Weights are random, from one short table, so that files compress: only the time counts. Keras's input
rescaling stays out where it can.
"""
import argparse
import os

os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

NETWORKS = {
    'mobilenetv2': lambda **how: keras.applications.MobileNetV2(**how),
    'convnext_tiny': lambda **how: keras.applications.ConvNeXtTiny(include_preprocessing=False, **how),
    'efficientnet_b0': lambda **how: keras.applications.EfficientNetB0(**how),
}
TABLE = np.random.default_rng(1).standard_normal(4096).astype(np.float32)


def random_weights(model):
    for index, variable in enumerate(model.weights):
        shape, name = variable.shape, variable.path
        if len(shape) < 2:
            continue
        fan_in = np.prod(shape[:2]) if 'depthwise' in name else np.prod(shape[:-1])
        # No two alike, or the converter keeps one of them for all.
        variable.assign(np.resize(np.roll(TABLE, 7 * index), shape) / np.sqrt(fan_in))


def converted(name, batch, size):
    model = NETWORKS[name](weights=None, input_shape=(size, size, 3), classifier_activation=None)
    random_weights(model)
    spec = tf.TensorSpec((batch, size, size, 3), tf.float32)
    predict = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(predict)  # Else the file reads variables that nobody sets.
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()


parser = argparse.ArgumentParser()
parser.add_argument('networks', nargs='+', choices=NETWORKS)
parser.add_argument('--out', required=True)
parser.add_argument('--batches', default='1,32')
parser.add_argument('--size', type=int, default=224)
args = parser.parse_args()
os.makedirs(args.out, exist_ok=True)

for name in args.networks:
    for batch in map(int, args.batches.split(',')):
        path = f'{args.out}/{name}_{args.size}_{batch}.tflite'
        with open(f'{path}.part', 'wb') as file:
            file.write(converted(name, batch, args.size))
        os.rename(f'{path}.part', path)
        print(path, os.path.getsize(path), flush=True)
