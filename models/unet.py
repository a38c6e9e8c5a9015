"""The U-Net to use; U-Net as published is in unet_papers.py.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015
(arXiv 1505.04597). The builder maps raw pixels (B, H, W, C) to logits, float32 (B, H', W', num_classes): one output, as
all networks here have; there is no deep supervision.

A new network: a builder with these arguments (num_classes, input_shape, scale, offset) in a file beside it, an entry in
MODELS, which says its sizes and normalisations (__init__.py), and in ModelName (engine/config.py), its parameter count
in tests/test_models.py: CONTRIBUTING.md, "A network".
"""

import math

import keras
from keras import layers

from .layers import BatchNormalization, Conv2DTranspose


def unet(
    num_classes,
    input_shape=(None, None, 3),
    *,
    width=32,
    depth=4,
    norm="batch",
    dropout=0.0,
    up="transpose",
    scale=1 / 255,
    offset=0.0,
):
    """The U-Net to start with: the paper's shape, with same padding and batch normalisation.

    What differs from the paper, and why:
      - Same padding: the output has the input's size, so a mask needs no cropping.
      - Batch normalisation after each 3×3 convolution (which then needs no bias), for faster and
        steadier training from scratch. Momentum 0.9, since Keras's 0.99 still holds 13% of the initial
        statistics after 200 steps.
      - Width 32 in place of 64: a quarter of the parameters, sized for one GPU and a few hundred images.
      - He's initialiser truncated at two standard deviations (Keras's he_normal).
      - Dropout is off: augmentation and normalisation regularise already.

    Args:
        num_classes: channels of the output; 1 means a single sigmoid logit.
        input_shape: (H, W, C); H and W multiples of 2**depth, or None for any such size.
        width: channels of the first level; each level down doubles them.
        depth: number of 2×2 poolings.
        norm: "batch", "group" (8 groups, or the largest power of two that divides the channels) or "none".
        dropout: rate at the end of the contracting path (the last two levels), as in the paper.
        up: "transpose" (2×2 transposed convolution, as in the paper) or "bilinear" (1×1 convolution, then
            bilinear upsampling).
        scale, offset: the input is pixel · scale + offset, a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, H, W, num_classes).

    Raises:
        ValueError: for a value of norm or up that is not listed.
    """
    if norm not in NORMS or up not in ("transpose", "bilinear"):
        raise ValueError(f"norm={norm!r}, up={up!r}: norm is one of {list(NORMS)}, up transpose or bilinear")

    inputs = layers.Input(input_shape)
    x = layers.Rescaling(scale, offset, dtype="float32", name="rescale")(inputs)  # 16-bit pixels overflow float16
    x, skips = contracting_path(x, width, depth, norm, dropout)

    for level in reversed(range(depth)):
        filters = width * 2**level
        x = upsample(x, filters, up, name=f"up{level + 1}")  # (B, 2H, 2W, F)
        x = layers.Concatenate(name=f"up{level + 1}_concat")([skips[level], x])  # (B, 2H, 2W, 2F)
        x = double_conv(x, filters, norm, name=f"up{level + 1}")

    return keras.Model(inputs, to_logits(x, num_classes), name="unet")


def contracting_path(x, width, depth, norm, dropout=0.0):
    """(B, H, W, C) → the bottom, (B, H/2**depth, W/2**depth, width·2**depth), and the skips, the largest first."""
    skips = []
    for level in range(depth):
        x = double_conv(x, width * 2**level, norm, name=f"down{level + 1}")
        if level == depth - 1 and dropout:
            x = layers.Dropout(dropout, name=f"down{level + 1}_dropout")(x)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level + 1}")(x)  # (B, H/2, W/2, ·)

    x = double_conv(x, width * 2**depth, norm, name="bottom")
    if dropout:
        x = layers.Dropout(dropout, name="bottom_dropout")(x)
    return x, skips


def double_conv(x, filters, norm, name):
    """Twice: 3×3 convolution, normalisation, ReLU."""
    for step in ("a", "b"):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=norm == "none",
            kernel_initializer="he_normal",
            name=f"{name}_conv_{step}",
        )(x)
        x = NORMS[norm](x, f"{name}_norm_{step}")
        x = layers.ReLU(name=f"{name}_relu_{step}")(x)
    return x


NORMS = {
    "batch": lambda x, name: BatchNormalization(momentum=0.9, name=name)(x),
    "group": lambda x, name: layers.GroupNormalization(math.gcd(8, x.shape[-1]), name=name)(x),
    "none": lambda x, name: x,
}


def upsample(x, filters, up, name):
    """Twice the height and width, half the channels; no activation."""
    if up == "transpose":
        return Conv2DTranspose(filters, 2, 2, kernel_initializer="he_normal", name=f"{name}_upconv")(x)
    x = layers.Conv2D(filters, 1, kernel_initializer="he_normal", name=f"{name}_reduce")(x)
    return layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_upsample")(x)


def to_logits(x, num_classes, kernel_initializer="glorot_uniform"):
    """1×1 convolution to the classes; float32 under every precision policy."""
    return layers.Conv2D(num_classes, 1, kernel_initializer=kernel_initializer, dtype="float32", name="logits")(x)
