"""Batch normalisation for DenseNets, whose layers all read the same maps: measured once, concatenated for a moment."""

import keras
import tensorflow as tf

from .layers import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class Moments(keras.layers.Layer):
    """Mean and variance of each channel over batch, height and width: (B, H, W, C) → (2, C), at least float32."""

    def call(self, inputs):
        return tf.stack(tf.nn.moments(at_least_float32(inputs), (0, 1, 2)))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((2, inputs.shape[-1]), "float64" if inputs.dtype == "float64" else "float32")


@keras.saving.register_keras_serializable(PACKAGE, "SharedBatchNormalization")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of several maps as one, whose statistics are computed elsewhere.

    Called on ``[maps, moments]``: a list of maps (B, H, W, ·), and what ``Moments`` says of each; returns
    (B, H, W, C), normalised. The same function, weights (also in files, hence the name) and moving averages
    as Keras's BatchNormalization of the concatenated maps. In a dense block every layer normalises all maps
    before it. Each has its own scale and offset, but

    - the statistics are the same, and they (with their gradients) are most of the work: once is enough;
    - the concatenation would be kept for each layer until its gradient is due, which is half of the
      network's memory: the gradient here needs the maps alone. (Pleiss et al., "Memory-Efficient Implementation
      of DenseNets", 2017, arXiv 1707.06990, make the concatenation again.)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.autocast = False  # the moments stay float32 under 16-bit policies

    def build(self, input_shape):
        maps, _ = input_shape
        super().build((*maps[0][:-1], sum(shape[-1] for shape in maps)))
        self.input_spec = None

    def compute_output_spec(self, inputs, training=None):
        maps, _ = inputs
        return keras.KerasTensor((*maps[0].shape[:-1], sum(x.shape[-1] for x in maps)), self.compute_dtype)

    def call(self, inputs, training=None):
        maps, moments = inputs
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if self.uses_batch(training):
            mean, variance = tf.unstack(tf.concat(moments, axis=-1))
            self.update(mean, variance)
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        return scale_and_shift(scale, self.beta - mean * scale, *(tf.cast(x, self.compute_dtype) for x in maps))

    def uses_batch(self, training):
        return training and self.trainable

    def update(self, mean, variance):
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))


@keras.saving.register_keras_serializable(PACKAGE)
class BatchStatisticsNormalization(BatchNormalization):
    """The same by the batch's own statistics in training and outside it; the moving averages lie idle.

    Calling a plain BatchNormalization with ``training=True`` inside a functional model does not do this:
    Keras 3 passes the model's own ``training`` on to every layer and overrides what was recorded.
    """

    def uses_batch(self, training):
        return True

    def update(self, mean, variance):
        pass


@tf.custom_gradient
def scale_and_shift(scale, shift, *maps):
    """concat(maps) · scale + shift, in float32 or better, as the maps' dtype. Keeps the maps alone for its gradient."""
    outputs = tf.nn.bias_add(at_least_float32(tf.concat(maps, axis=-1)) * scale, shift)

    def gradient(upstream):
        sizes = [x.shape[-1] for x in maps]
        parts = [at_least_float32(part) for part in tf.split(upstream, sizes, axis=-1)]
        to_shift = sum_over_pixels(at_least_float32(upstream))
        to_scale = [sum_over_pixels(part * at_least_float32(x)) for part, x in zip(parts, maps, strict=True)]
        to_maps = [part * s for part, s in zip(parts, tf.split(scale, sizes), strict=True)]
        return tf.concat(to_scale, 0), to_shift, *(tf.cast(x, upstream.dtype) for x in to_maps)

    return tf.cast(outputs, maps[0].dtype), gradient


def sum_over_pixels(x):
    """(B, H, W, C) → (C,), by the fastest of TensorFlow's forms: the gradient of a bias."""
    return tf.raw_ops.BiasAddGrad(out_backprop=x)


def at_least_float32(x):
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
