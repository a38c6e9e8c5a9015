"""FC-DenseNet, "the One Hundred Layers Tiramisu": 56, 67 and 103 layers.

Jégou, Drozdzal, Vazquez, Romero, Bengio, "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for
Semantic Segmentation", 2017 (arXiv 1611.09326), checked against the authors' Theano/Lasagne code
(github.com/SimJeg/FC-DenseNet).
"""

from functools import partial

import keras
from keras import layers

from .dense_layers import BatchNormalization, BatchStatisticsNormalization, Moments
from .layers import CropLike

FIRST_CONV_FILTERS = 48

# Lasagne's batch normalisation, which the authors used: ε = 1e-4, running averages moved by 0.1.
BATCH_NORM = {"epsilon": 1e-4, "momentum": 0.9}


def fc_densenet(
    num_classes,
    input_shape=(None, None, 3),
    *,
    growth_rate,
    block_layers,
    dropout=0.2,
    l2=1e-4,
    batch_statistics=False,
    scale=1 / 255,
    offset=0.0,
    name="fc_densenet",
):
    """Fully convolutional DenseNet for any input of at least 32 × 32.

    Each block's layers read everything that the block has made so far. On the way down a block's input
    travels on beside its new maps; on the way up only the new maps do, or the channels would grow without
    bound (section 3.2); the last block keeps its input, as in the authors' code.

    One deviation by default: batch normalisation uses running averages outside training, as everybody
    expects of a trained network, so that a prediction does not depend on the other images of its batch. The
    authors normalise with the batch's own statistics in validation and test too (their issue #8):
    ``batch_statistics=True`` does that.

    Args:
        num_classes: channels of the output; 1 means a single sigmoid logit.
        input_shape: (H, W, C), H and W at least 32, or None.
        growth_rate: maps that each dense layer adds (k in the paper).
        block_layers: layers in each block; 2n + 1 numbers: n down, the bottleneck, n up.
        dropout: rate after every convolution of a layer or a transition down.
        l2: weight of Σw² over the convolutions' kernels in the loss (not biases, not normalisation).
        batch_statistics: normalise with the batch's statistics always, as the authors do.
        scale, offset: the input is pixel · scale + offset, a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, H, W, num_classes).
    """
    poolings = len(block_layers) // 2
    down, bottleneck, up = block_layers[:poolings], block_layers[poolings], block_layers[poolings + 1 :]
    parts = Parts(growth_rate, dropout, l2, batch_statistics)

    inputs = layers.Input(input_shape)
    x = layers.Rescaling(scale, offset, dtype="float32", name="rescale")(inputs)  # 16-bit pixels overflow float16
    maps = [parts.conv(x, FIRST_CONV_FILTERS, 3, name="first_conv")]
    skips = []
    for i, num_layers in enumerate(down, start=1):
        maps = maps + parts.dense_block(maps, num_layers, name=f"down{i}")  # (B, H, W, C + k·L), if concatenated
        skips.append(maps)
        maps = [parts.transition_down(maps, name=f"down{i}_transition")]  # (B, H/2, W/2, C + k·L)

    new = parts.dense_block(maps, bottleneck, name="bottleneck")

    for i, num_layers in zip(range(poolings, 0, -1), up, strict=True):
        skip = skips.pop()
        maps = [parts.transition_up(new, skip, name=f"up{i}_transition"), *skip]  # of the new maps alone
        new = parts.dense_block(maps, num_layers, name=f"up{i}")

    x = layers.Concatenate(name="up1_concat")(maps + new)  # the last block keeps its input
    logits = parts.conv(x, num_classes, 1, name="logits", dtype="float32")
    return keras.Model(inputs, logits, name=name)


class Parts:
    """The paper's building blocks (table 1), tensor → tensor, for one growth rate, dropout and L2."""

    def __init__(self, growth_rate, dropout, l2, batch_statistics):
        self.growth_rate = growth_rate
        self.dropout = dropout
        self.regularizer = keras.regularizers.L2(l2) if l2 else None
        self.normalization = BatchStatisticsNormalization if batch_statistics else BatchNormalization
        self.known = {}  # id of a map → the map and its moments

    def moments(self, x):
        """Mean and variance of each channel of x, computed once for all layers that read it."""
        if id(x) not in self.known:
            self.known[id(x)] = x, Moments(name=f"{x._keras_history.operation.name}_moments")(x)
        return self.known[id(x)][1]

    def conv(self, x, filters, size, name, dtype=None):
        return layers.Conv2D(
            filters,
            size,
            padding="same",
            kernel_initializer="he_uniform",
            kernel_regularizer=self.regularizer,
            dtype=dtype,
            name=name,
        )(x)

    def norm_relu_conv_dropout(self, maps, filters, size, name):
        """A list of maps → one; what concatenates them is the normalisation."""
        x = self.normalization(**BATCH_NORM, name=f"{name}_norm")([maps, [self.moments(x) for x in maps]])
        x = layers.ReLU(name=f"{name}_relu")(x)
        x = self.conv(x, filters, size, name=f"{name}_conv")
        return layers.Dropout(self.dropout, name=f"{name}_dropout")(x)

    def dense_block(self, maps, num_layers, name):
        """A list of num_layers new maps of growth_rate channels; each has seen all before it."""
        new = []
        for i in range(1, num_layers + 1):
            new.append(self.norm_relu_conv_dropout(maps + new, self.growth_rate, 3, f"{name}_layer{i}"))
        return new

    def transition_down(self, maps, name):
        """Half the height and width (rounded down), the same channels."""
        x = self.norm_relu_conv_dropout(maps, sum(x.shape[-1] for x in maps), 1, name)
        return layers.MaxPooling2D(2, name=f"{name}_pool")(x)

    def transition_up(self, maps, skip, name):
        """3×3 transposed convolution, stride 2, unpadded: n → 2n + 1, cut to the skip's size.

        Keras's ``padding="same"`` gives 2n, which is one short wherever a pooling had rounded down.
        """
        x = layers.Concatenate(name=f"{name}_concat")(maps)
        x = layers.Conv2DTranspose(
            x.shape[-1],
            3,
            strides=2,
            padding="valid",
            kernel_initializer="he_uniform",
            kernel_regularizer=self.regularizer,
            name=f"{name}_upconv",
        )(x)
        return CropLike(name=f"{name}_crop")([x, skip[0]])


fc_densenet56 = partial(fc_densenet, growth_rate=12, block_layers=(4,) * 11, name="fc_densenet56")
fc_densenet67 = partial(fc_densenet, growth_rate=16, block_layers=(5,) * 11, name="fc_densenet67")
fc_densenet103 = partial(
    fc_densenet,
    growth_rate=16,
    block_layers=(4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4),
    name="fc_densenet103",
)
