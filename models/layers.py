"""The layers that Keras lacks, or has in a slower form. Everything else in this folder is plain Keras."""

import keras
import tensorflow as tf

PACKAGE = "small_data_segmentation"


@keras.saving.register_keras_serializable(PACKAGE)
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's transposed convolution, faster where 2×2 kernels move by 2: (B, H, W, C) → (B, 2H, 2W, filters).

    The same function, weights and weight layout (also in files, hence the name). With stride equal to kernel
    size no two outputs overlap, so it is a 1×1 convolution to 4·filters channels whose result is spread over
    2×2 pixels. On some CPUs TensorFlow's kernel for the general transposed convolution is far slower, on
    others as fast (benchmarks/README.md).
    """

    def call(self, inputs):
        if not self.kernel_size == self.strides == (2, 2):
            return super().call(inputs)
        kernel = tf.transpose(self.kernel, (3, 0, 1, 2))  # (C, 2, 2, F)
        kernel = tf.reshape(kernel, (1, 1, -1, 4 * self.filters))
        outputs = tf.nn.depth_to_space(tf.nn.conv2d(inputs, kernel, 1, "SAME"), 2)  # (B, 2H, 2W, F)
        if self.bias is not None:
            outputs = tf.nn.bias_add(outputs, self.bias)
        return self.activation(outputs)


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation, in training by TensorFlow's fused kernel, which passes over the maps less often.

    (B, H, W, C) → the same shape. The same function, weights and weight layout (also in files, hence the name).
    The kernel has no float64 form.
    """

    def call(self, inputs, training=None):
        if not (training and self.trainable):
            return super().call(inputs, training=training)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon
        )
        pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), variance.dtype)
        variance *= (pixels - 1) / pixels  # the kernel estimates a population's; Keras averages the batch's own
        for average, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + of_batch * (1 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(PACKAGE)
class CropLike(keras.layers.Layer):
    """Cut ``x`` to the height and width of ``skip`` by dropping its last rows and columns.

    Called on ``[x, skip]``, both (B, H, W, C); returns (B, skip H, skip W, x C).
    """

    def call(self, inputs):
        x, skip = inputs
        size = tf.shape(skip)
        return tf.slice(x, [0, 0, 0, 0], [-1, size[1], size[2], -1])  # its gradient is faster than that of x[…]

    def compute_output_shape(self, input_shape):
        x, skip = input_shape
        return (x[0], skip[1], skip[2], x[3])
