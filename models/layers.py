"""The layers that Keras lacks, or has in a slower form. Everything else in this folder is plain Keras."""

import keras
import tensorflow as tf

PACKAGE = "small_data_segmentation"


@keras.saving.register_keras_serializable(PACKAGE)
class UpConv2D(keras.layers.Conv2DTranspose):
    """2×2 transposed convolution with stride 2: (B, H, W, C) → (B, 2H, 2W, filters).

    The same function, weights and weight layout as ``Conv2DTranspose(filters, 2, strides=2)``. With stride
    equal to kernel size no two outputs overlap, so it is a 1×1 convolution to 4·filters channels whose
    result is spread over 2×2 pixels. TensorFlow's CPU kernel for the general transposed convolution is
    the slower of the two.
    """

    def __init__(self, filters, **kwargs):
        kwargs = {**kwargs, "kernel_size": 2, "strides": 2}
        super().__init__(filters, **kwargs)

    def call(self, inputs):
        kernel = tf.transpose(self.kernel, (3, 0, 1, 2))  # (C, 2, 2, F)
        kernel = tf.reshape(kernel, (1, 1, -1, 4 * self.filters))
        outputs = tf.nn.depth_to_space(tf.nn.conv2d(inputs, kernel, 1, "SAME"), 2)  # (B, 2H, 2W, F)
        if self.bias is not None:
            outputs = tf.nn.bias_add(outputs, self.bias)
        return self.activation(outputs)


@keras.saving.register_keras_serializable(PACKAGE)
class CropLike(keras.layers.Layer):
    """Cut ``x`` to the height and width of ``skip`` by dropping its last rows and columns.

    Called on ``[x, skip]``, both (B, H, W, C); returns (B, skip H, skip W, x C).
    """

    def call(self, inputs):
        x, skip = inputs
        size = tf.shape(skip)
        return x[:, : size[1], : size[2], :]

    def compute_output_shape(self, input_shape):
        x, skip = input_shape
        return (x[0], skip[1], skip[2], x[3])


@keras.saving.register_keras_serializable(PACKAGE)
class BatchStatisticsNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by the batch's own statistics, in training and outside it; moving averages lie idle.

    Calling a plain BatchNormalization with ``training=True`` inside a functional model does not do this:
    Keras 3 passes the model's own ``training`` on to every layer and overrides what was recorded.
    """

    def call(self, inputs, training=None, mask=None):
        x = keras.ops.cast(inputs, "float32")
        mean, variance = keras.ops.moments(x, axes=(0, 1, 2))
        x = keras.ops.batch_normalization(
            x, mean, variance, axis=-1, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return keras.ops.cast(x, self.compute_dtype)
