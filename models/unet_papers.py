"""U-Net as published: the 2015 original, and the variant of the 2018 Microsoft blog.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015
(arXiv 1505.04597). Every builder maps raw pixels (B, H, W, C) to logits, float32 (B, H', W', num_classes).
"""

import keras
from keras import layers

from .layers import Conv2DTranspose
from .unet import to_logits

ORIGINAL_CROPS = (4, 16, 40, 88)  # pixels cut from each side of the skip connection, shallowest last


def unet_original(num_classes, input_shape=(None, None, 3), *, width=64, dropout=0.5, scale=1 / 255, offset=0.0):
    """U-Net as published (arXiv 1505.04597, figure 1): unpadded, 23 convolutional layers, 572 → 388.

    An input of n × n gives an output of (n − 184) × (n − 184), the centre of the input; n ≡ 12 (mod 16)
    makes every pooling even. The 92 pixels of margin come from mirroring the image (section 2).
    The paper does not give the rate of its dropout "at the end of the contracting path": 0.5 here, on the
    last two levels. Its up-convolutions are taken as linear, as figure 1 draws them.

    Args:
        num_classes: channels of the output; 1 means a single sigmoid logit.
        input_shape: (H, W, C); H and W ≡ 12 (mod 16) and at least 188, or None.
        width: channels of the first level (64 in the paper).
        dropout: rate at the end of the contracting path.
        scale, offset: the input is pixel · scale + offset, a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, H − 184, W − 184, num_classes).
    """

    def conv(x, filters, name):
        return layers.Conv2D(filters, 3, activation="relu", kernel_initializer=gaussian(), name=name)(x)

    inputs = layers.Input(input_shape)
    x = layers.Rescaling(scale, offset, dtype="float32", name="rescale")(inputs)  # 16-bit pixels overflow float16
    skips = []
    for level in range(4):  # 572 → 284 → 140 → 68 → 32
        x = conv(x, width * 2**level, f"down{level + 1}_conv_a")
        x = conv(x, width * 2**level, f"down{level + 1}_conv_b")
        if level == 3:
            x = layers.Dropout(dropout, name="down4_dropout")(x)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level + 1}")(x)

    x = conv(x, width * 16, "bottom_conv_a")
    x = conv(x, width * 16, "bottom_conv_b")  # 28
    x = layers.Dropout(dropout, name="bottom_dropout")(x)

    for level, crop in zip((3, 2, 1, 0), ORIGINAL_CROPS, strict=True):  # 56, 104, 200, 392
        filters = width * 2**level
        # Into an output of a 2×2 up-convolution from 2F to F channels come 2F nodes; Keras counts 4F for its kernel.
        x = Conv2DTranspose(filters, 2, 2, kernel_initializer=gaussian(4.0), name=f"up{level + 1}_upconv")(x)
        skip = layers.Cropping2D(crop, name=f"up{level + 1}_crop")(skips[level])
        x = layers.Concatenate(name=f"up{level + 1}_concat")([skip, x])
        x = conv(x, filters, f"up{level + 1}_conv_a")
        x = conv(x, filters, f"up{level + 1}_conv_b")

    return keras.Model(inputs, to_logits(x, num_classes, gaussian()), name="unet_original")


def gaussian(scale=2.0):
    """Section 3 of the paper: Gaussian weights with standard deviation sqrt(2 / incoming nodes).

    One for each layer: an initialiser draws its seed when it is made, and would give two kernels of one shape the
    same values.
    """
    return keras.initializers.VarianceScaling(scale, "fan_in", "untruncated_normal")


def unet_blog(num_classes, input_shape=(None, None, 3), *, width=64, dropout=0.5, scale=1 / 255, offset=0.0):
    """The Keras U-Net of "Semantic Segmentation of Small Data using Keras" (Microsoft, 18 July 2018).

    Same padding, he_normal, no normalisation; dropout 0.5 after level 4 (the dropped tensor is also the
    skip connection) and after the bottleneck; an up step is nearest upsampling, then a 2×2 convolution with
    ReLU; the tail is a 3×3 convolution to 2 filters with ReLU, then a 1×1 convolution.

    Two deviations: the output is the logit (the blog's sigmoid is in the loss and in prediction), and with
    more than two classes the tail keeps as many filters as there are classes, since two would be a
    bottleneck that the blog, with its one class, did not have. The few filters of the tail are its weak
    spot: where the ReLU of one is dead from the start, the loss stays on a plateau; another seed helps.

    Args:
        num_classes: channels of the output; the blog's is 1, a single sigmoid logit.
        input_shape: (H, W, C); H and W multiples of 16, or None.
        width: channels of the first level.
        dropout: rate at the end of the contracting path.
        scale, offset: the input is pixel · scale + offset, a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, H, W, num_classes).
    """

    def conv(x, filters, size, name):
        return layers.Conv2D(
            filters, size, padding="same", activation="relu", kernel_initializer="he_normal", name=name
        )(x)

    inputs = layers.Input(input_shape)
    x = layers.Rescaling(scale, offset, dtype="float32", name="rescale")(inputs)  # 16-bit pixels overflow float16
    skips = []
    for level in range(4):
        x = conv(x, width * 2**level, 3, f"down{level + 1}_conv_a")
        x = conv(x, width * 2**level, 3, f"down{level + 1}_conv_b")
        if level == 3:
            x = layers.Dropout(dropout, name="down4_dropout")(x)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level + 1}")(x)

    x = conv(x, width * 16, 3, "bottom_conv_a")
    x = conv(x, width * 16, 3, "bottom_conv_b")
    x = layers.Dropout(dropout, name="bottom_dropout")(x)

    for level in (3, 2, 1, 0):
        filters = width * 2**level
        x = layers.UpSampling2D(2, name=f"up{level + 1}_upsample")(x)
        x = conv(x, filters, 2, f"up{level + 1}_upconv")
        x = layers.Concatenate(name=f"up{level + 1}_concat")([skips[level], x])
        x = conv(x, filters, 3, f"up{level + 1}_conv_a")
        x = conv(x, filters, 3, f"up{level + 1}_conv_b")

    x = conv(x, max(2, num_classes), 3, "tail_conv")
    return keras.Model(inputs, to_logits(x, num_classes), name="unet_blog")
