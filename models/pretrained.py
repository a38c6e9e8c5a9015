"""U-Net on an encoder that has seen ImageNet: MobileNetV2 or ResNet50 from keras.applications.

The contracting path of U-Net (arXiv 1505.04597) is replaced by a classifier's convolutions, as in TernausNet
(Iglovikov, Shvets, 2018, arXiv 1801.05746); the expanding path is U-Net's own.
"""

import keras
import numpy as np
from keras import layers

from .backbones import MOBILENET_V2, RESNET50, load_backbone
from .unet import double_conv, to_logits, upsample

# Channels at 1/16, 1/8, 1/4, 1/2 and all of the height and width. U-Net halves them at each step up. At 1/16 `unet`
# has 512: half of it here, since that level holds most of the decoder's weights and all of them are new. The end
# is `unet`'s 32 again: from 16 maps, small steps of Adam move the logits of ten classes too slowly.
DECODER_WIDTHS = (256, 128, 64, 32, 32)


def unet_mobilenet_v2(num_classes, input_shape=(None, None, 3), *, weights="imagenet", scale=1 / 255, offset=0.0):
    """U-Net on MobileNetV2 (width multiplier 1.0).

    The skip connections are the wide, rectified maps inside the blocks that halve the resolution: 96, 144,
    192 and 576 channels at 1/2, 1/4, 1/8 and 1/16. The bottom is the last block's 320 channels at 1/32; the
    1280-channel convolution after it belongs to the classifier and is left out, as in the paper's own
    segmentation network (section 6.3). See unet_on for the rest.

    Args:
        num_classes: channels of the output; 1 means a single sigmoid logit.
        input_shape: (H, W, C); H and W multiples of 32, or None for any such size. Other channels than 3: ``to_rgb``.
        weights: "imagenet" (downloaded once, then kept by Keras), the path of a file with the weights of
            ``keras.applications.MobileNetV2(include_top=False)``, or None (or "none") for random ones.
        scale, offset: pixel · scale + offset is each channel in 0..1; a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, H, W, num_classes).

    Raises:
        ValueError: for an unknown number of channels, and for weights that cannot be had or do not fit.
    """
    return unet_on(MOBILENET_V2, num_classes, input_shape, weights, scale, offset, name="unet_mobilenet_v2")


def unet_resnet50(num_classes, input_shape=(None, None, 3), *, weights="imagenet", scale=1 / 255, offset=0.0):
    """U-Net on ResNet50.

    The skip connections are the outputs of the first convolution and of the first three stages: 64, 256, 512
    and 1024 channels at 1/2, 1/4, 1/8 and 1/16; the bottom is the fourth stage's 2048 at 1/32. See unet_on for
    the rest.

    Args:
        num_classes: channels of the output; 1 means a single sigmoid logit.
        input_shape: (H, W, C); H and W multiples of 32, or None for any such size. Other channels than 3: ``to_rgb``.
        weights: "imagenet" (downloaded once, then kept by Keras), the path of a file with the weights of
            ``keras.applications.ResNet50(include_top=False)``, or None (or "none") for random ones.
        scale, offset: pixel · scale + offset is each channel in 0..1; a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, H, W, num_classes).

    Raises:
        ValueError: for an unknown number of channels, and for weights that cannot be had or do not fit.
    """
    return unet_on(RESNET50, num_classes, input_shape, weights, scale, offset, name="unet_resnet50")


def unet_on(backbone, num_classes, input_shape, weights, scale, offset, name):
    """U-Net on any Backbone: its preprocessing, its encoder, and U-Net's decoder.

    The last step, from half to full resolution, has no skip connection: the encoder has no maps there, and
    new ones, straight from the pixels, would be the network's most expensive and the only ones beside the
    decoder without pretraining.

    Batch normalisation: in the decoder as in ``unet``; in the encoder as ``load_backbone`` has it.
    """
    if input_shape[-1] is None:
        raise ValueError(f"{name}: the number of channels is not known; name it in input_shape")
    inputs = layers.Input(input_shape)
    x = layers.Rescaling(scale, offset, dtype="float32", name="rescale")(inputs)  # 16-bit pixels overflow float16
    x = backbone.preprocess(x if input_shape[-1] == 3 else to_rgb(x))
    *skips, x = encoder_of(backbone, (*input_shape[:2], 3), weights)(x)  # (B, H/2 … H/16, ·), (B, H/32, W/32, ·)

    for level, filters in zip((5, 4, 3, 2, 1), DECODER_WIDTHS, strict=True):
        x = upsample(x, filters, "transpose", name=f"up{level}")  # (B, 2H, 2W, F)
        if skips:
            x = layers.Concatenate(name=f"up{level}_concat")([skips.pop(), x])
        x = double_conv(x, filters, "batch", name=f"up{level}")

    return keras.Model(inputs, to_logits(x, num_classes), name=name)


def encoder_of(backbone, input_shape, weights):
    """Preprocessed images (B, H, W, 3) → maps at 1/2, 1/4, 1/8, 1/16 and 1/32; its layers keep their names."""
    network = load_backbone(backbone, input_shape, weights)
    return keras.Model(network.input, [network.get_layer(name).output for name in backbone.maps], name="encoder")


def to_rgb(x):
    """Three channels for an encoder that knows no others, by a 1×1 convolution that trains with it: → (B, H, W, 3).

    It starts with the first three channels as red, green and blue, and the others at 0; a lacking one is the last one
    again, so that grey stays grey.
    """
    channels = x.shape[-1]
    convolution = layers.Conv2D(3, 1, use_bias=False, dtype="float32", name="to_rgb")
    convolution.build(x.shape)
    kernel = np.zeros((1, 1, channels, 3), np.float32)
    for color in range(3):
        kernel[0, 0, min(color, channels - 1), color] = 1.0
    convolution.set_weights([kernel])
    return convolution(x)


def halves(network):
    """Cut a network of ``unet_on`` where its encoder ends.

    Returns:
        Two keras.Models that share its layers: raw pixels (B, H, W, C) → maps at 1/2, 1/4, 1/8, 1/16 and 1/32, and from
        such maps → its logits.
    """
    skips = [network.get_layer(f"up{level}_concat").input[0] for level in (2, 3, 4, 5)]
    maps = [*skips, network.get_layer("up5_upconv").input]
    return keras.Model(network.input, maps), keras.Model(maps, network.output)


def freeze(network, frozen=True):
    """Say whether a network of ``unet_on`` trains its decoder alone, or the encoder's convolutions too.

    For an encoder with weights: its batch normalisation never trains (``load_backbone``).
    """
    own = [layer for layer in network.layers if layer.name == "to_rgb"]
    for layer in (*network.get_layer("encoder").layers, *own):
        layer.trainable = not frozen and not isinstance(layer, layers.BatchNormalization)
