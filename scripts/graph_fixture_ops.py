"""Networks of TensorFlow ops for make_graph_fixtures.py, as tools other than Keras spell them; every weight is a seeded constant."""
import numpy as np
import tensorflow as tf

CLASSES = 10


class Ops:
    """A TF1 graph under construction; every weight is a seeded constant."""

    def __init__(self):
        self.generator = np.random.default_rng(13)

    def weight(self, shape, low=-0.2, high=0.2, fan_in=None):
        if fan_in:
            value = self.generator.normal(0, 1.4 / np.sqrt(fan_in), shape)
        else:
            value = self.generator.uniform(low, high, shape)
        return tf.constant(value.astype(np.float32))

    def conv(self, x, filters, kernel=1, stride=1, padding='SAME'):
        channels = x.shape[-1]
        return tf.nn.conv2d(x, self.weight((kernel, kernel, channels, filters), fan_in=kernel * kernel * channels),
                            stride, padding)

    def depthwise(self, x, kernel=3, stride=1, padding='SAME'):
        return tf.nn.depthwise_conv2d(x, self.weight((kernel, kernel, x.shape[-1], 1), fan_in=kernel * kernel),
                                      [1, stride, stride, 1], padding)

    def batch_norm(self, x):
        n = x.shape[-1]
        return tf.raw_ops.FusedBatchNorm(
            x=x, scale=self.weight((n,), 0.5, 1.0), offset=self.weight((n,)), mean=self.weight((n,)),
            variance=self.weight((n,), 0.5, 1.5), epsilon=0.001, is_training=False)[0]

    def bias(self, x):
        return tf.nn.bias_add(x, self.weight((x.shape[-1],)))


def slim_mobile_net_v2(ops, x):
    """TF-Slim: convolution, FusedBatchNorm, Relu6, each an op of its own."""
    x = tf.nn.relu6(ops.batch_norm(ops.conv(x, 8, 3, 2)))
    for expansion, filters, stride in ((1, 8, 1), (6, 12, 2), (6, 12, 1), (6, 16, 2), (6, 16, 1), (6, 24, 1)):
        y = x
        if expansion > 1:
            y = tf.nn.relu6(ops.batch_norm(ops.conv(y, expansion * x.shape[-1])))
        y = tf.nn.relu6(ops.batch_norm(ops.depthwise(y, 3, stride)))
        y = ops.batch_norm(ops.conv(y, filters))
        x = x + y if stride == 1 and x.shape[-1] == filters else y
    x = tf.nn.relu6(ops.batch_norm(ops.conv(x, 48)))
    x = tf.nn.avg_pool(x, x.shape[1:3], 1, 'VALID')
    return tf.nn.softmax(tf.squeeze(ops.bias(ops.conv(x, CLASSES)), [1, 2]))


def mobile_net_v1(ops, x):
    """Biases folded in by hand, and relu6 by BiasAdd and Relu6."""
    x = tf.nn.relu6(ops.bias(ops.conv(x, 8, 3, 2)))
    for filters, stride in ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
        x = tf.nn.relu6(ops.bias(ops.depthwise(x, 3, stride)))
        x = tf.nn.relu6(ops.bias(ops.conv(x, filters)))
    x = tf.reduce_mean(x, [1, 2], keepdims=True)
    return tf.nn.softmax(tf.reshape(ops.bias(ops.conv(x, CLASSES)), [-1, CLASSES]))


def clip6(x):
    return tf.minimum(tf.maximum(x, 0.0), 6.0)


def hard_swish(x):
    return x * clip6(x + 3.0) * 0.16666667


def lite_prelu(ops, x):
    return tf.maximum(0.0, x) + ops.weight((x.shape[-1],), 0.1, 0.4) * tf.minimum(0.0, x)


def lite_conv(ops, x, filters, kernel, stride):
    pad = kernel // 2
    if stride > 1:
        x = tf.pad(x, [[0, 0], [pad - 1, pad], [pad - 1, pad], [0, 0]])
    y = ops.conv(x, filters, kernel, stride, 'VALID' if stride > 1 else 'SAME')
    return tf.add(y, ops.weight((filters,)))


def lite_depthwise(ops, x, kernel, stride):
    pad = kernel // 2
    if stride > 1:
        x = tf.pad(x, [[0, 0], [pad - 1, pad], [pad - 1, pad], [0, 0]])
    y = ops.depthwise(x, kernel, stride, 'VALID' if stride > 1 else 'SAME')
    return tf.add(y, ops.weight((y.shape[-1],)))


def tflite_mobile(ops, x):
    """As tflite2tensorflow spells TFLite's ops: pads apart, clips by Minimum and Maximum, activations as arithmetic."""
    acts = {'hard': hard_swish, 'clip': clip6, 'prelu': lambda t: lite_prelu(ops, t)}
    x = hard_swish(lite_conv(ops, x, 8, 3, 2))
    for expansion, filters, kernel, stride, act, gate in (
            (1, 8, 3, 1, 'clip', False), (4, 12, 3, 2, 'clip', False), (3, 12, 3, 1, 'prelu', False),
            (4, 16, 5, 2, 'hard', True), (4, 16, 5, 1, 'hard', True), (2, 24, 3, 2, 'prelu', False)):
        y = x
        if expansion > 1:
            y = acts[act](lite_conv(ops, y, expansion * x.shape[-1], 1, 1))
        y = acts[act](lite_depthwise(ops, y, kernel, stride))
        if gate:
            z = tf.nn.avg_pool(y, y.shape[1:3], 1, 'VALID')
            z = clip6(lite_conv(ops, tf.nn.relu(lite_conv(ops, z, 8, 1, 1)), y.shape[-1], 1, 1) + 3.0) * 0.16666667
            y = y * z
        y = lite_conv(ops, y, filters, 1, 1)
        x = tf.add(x, y) if stride == 1 and x.shape[-1] == filters else y
    x = tf.reduce_mean(x, [1, 2])
    return tf.nn.softmax(tf.matmul(x, ops.weight((x.shape[-1], CLASSES), fan_in=x.shape[-1])))


def nchw_mobile(ops, x):
    """A PyTorch network by ONNX: maps are NCHW, and every convolution stands between two transposes."""
    def inside(x, layer):
        return tf.transpose(layer(tf.transpose(x, [0, 2, 3, 1])), [0, 3, 1, 2])

    def norm(x):
        n = x.shape[1]
        x = (x - ops.weight((1, n, 1, 1))) * ops.weight((1, n, 1, 1), 0.5, 1.0)
        return x + ops.weight((1, n, 1, 1))

    def depthwise(x, stride):
        return inside(tf.pad(x, [[0, 0], [0, 0], [1, 1], [1, 1]]), lambda t: ops.depthwise(t, 3, stride, 'VALID'))

    x = tf.transpose(x, [0, 3, 1, 2])
    x = tf.pad(x, [[0, 0], [0, 0], [1, 1], [1, 1]])
    x = clip6(norm(inside(x, lambda t: ops.conv(t, 8, 3, 2, 'VALID'))))
    for expansion, filters, stride in ((1, 8, 1), (4, 12, 2), (4, 12, 1), (4, 16, 2), (4, 16, 1)):
        y = x
        if expansion > 1:
            y = clip6(norm(inside(y, lambda t: ops.conv(t, expansion * x.shape[1]))))
        y = clip6(norm(depthwise(y, stride)))
        y = norm(inside(y, lambda t: ops.conv(t, filters)))
        x = x + y if stride == 1 and x.shape[1] == filters else y
    x = tf.reduce_mean(x, [2, 3])
    return tf.nn.softmax(tf.matmul(x, ops.weight((x.shape[-1], CLASSES), fan_in=x.shape[-1])))
