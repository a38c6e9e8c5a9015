"""U-Net on an encoder that has seen ImageNet: MobileNetV2 or ResNet50 from keras.applications.

The contracting path of U-Net (arXiv 1505.04597) is replaced by a classifier's convolutions, as in TernausNet
(Iglovikov, Shvets, 2018, arXiv 1801.05746); the expanding path is U-Net's own. Encoders: Sandler et al.,
"MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018 (arXiv 1801.04381); He et al., "Deep Residual
Learning for Image Recognition", 2015 (arXiv 1512.03385).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers, ops

from .layers import PACKAGE
from .unet import double_conv, to_logits, upsample

# Channels at 1/16, 1/8, 1/4, 1/2 and all of the height and width. U-Net halves them at each step up. At 1/16 `unet`
# has 512: half of it here, since that level holds most of the decoder's weights and all of them are new. The end
# is `unet`'s 32 again: from 16 maps, small steps of Adam move the logits of ten classes too slowly.
DECODER_WIDTHS = (256, 128, 64, 32, 32)

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # of pixels 0..255; ResNet50's weights came from Caffe


def unet_mobilenet_v2(num_classes, input_shape=(None, None, 3), *, weights="imagenet", scale=1 / 255, offset=0.0):
    """U-Net on MobileNetV2 (width multiplier 1.0).

    The skip connections are the wide, rectified maps inside the blocks that halve the resolution: 96, 144,
    192 and 576 channels at 1/2, 1/4, 1/8 and 1/16. The bottom is the last block's 320 channels at 1/32; the
    1280-channel convolution after it belongs to the classifier and is left out, as in the paper's own
    segmentation network (section 6.3). See unet_on for the rest.

    Args:
        num_classes: channels of the output; 1 means a single sigmoid logit.
        input_shape: (H, W, 3); H and W multiples of 32, or None for any such size.
        weights: "imagenet" (downloaded once, then kept by Keras), the path of a file with the weights of
            ``keras.applications.MobileNetV2(include_top=False)``, or None (or "none") for random ones.
        scale, offset: pixel · scale + offset is red, green and blue in 0..1; a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, 3) → logits float32 (B, H, W, num_classes).

    Raises:
        ValueError: for other than 3 channels, and for weights that cannot be had or do not fit.
    """
    return unet_on(MOBILENET_V2, num_classes, input_shape, weights, scale, offset, name="unet_mobilenet_v2")


def unet_resnet50(num_classes, input_shape=(None, None, 3), *, weights="imagenet", scale=1 / 255, offset=0.0):
    """U-Net on ResNet50.

    The skip connections are the outputs of the first convolution and of the first three stages: 64, 256, 512
    and 1024 channels at 1/2, 1/4, 1/8 and 1/16; the bottom is the fourth stage's 2048 at 1/32. See unet_on for
    the rest.

    Args:
        num_classes: channels of the output; 1 means a single sigmoid logit.
        input_shape: (H, W, 3); H and W multiples of 32, or None for any such size.
        weights: "imagenet" (downloaded once, then kept by Keras), the path of a file with the weights of
            ``keras.applications.ResNet50(include_top=False)``, or None (or "none") for random ones.
        scale, offset: pixel · scale + offset is red, green and blue in 0..1; a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, 3) → logits float32 (B, H, W, num_classes).

    Raises:
        ValueError: for other than 3 channels, and for weights that cannot be had or do not fit.
    """
    return unet_on(RESNET50, num_classes, input_shape, weights, scale, offset, name="unet_resnet50")


def unet_on(backbone, num_classes, input_shape, weights, scale, offset, name):
    """U-Net on any Backbone: its preprocessing, its encoder, and U-Net's decoder.

    The last step, from half to full resolution, has no skip connection: the encoder has no maps there, and
    new ones, straight from the pixels, would be the network's most expensive and the only ones beside the
    decoder without pretraining.

    Batch normalisation. In the decoder as in ``unet``. In a pretrained encoder it stays in inference mode, its
    scale and offset fixed too (trainable = False, which a saved model keeps): a batch of a few crops says
    little about mean and variance, and the running averages that count outside training would lag behind
    features that move (at MobileNetV2's momentum of 0.999, 37% of them is ImageNet's after 1000 steps). A
    random encoder has no statistics to keep and could hardly train without: there it trains, with momentum
    0.9 as in ``unet``.
    """
    if input_shape[-1] != 3:
        raise ValueError(
            f"{name} takes red, green and blue, 3 channels, as its encoder does; these images have "
            f"{input_shape[-1]}: use unet, which takes any number"
        )
    inputs = layers.Input(input_shape)
    x = layers.Rescaling(scale, offset, dtype="float32", name="rescale")(inputs)  # 16-bit pixels overflow float16
    x = backbone.preprocess(x)
    *skips, x = pretrained_encoder(backbone, input_shape, weights)(x)  # (B, H/2 … H/16, ·), (B, H/32, W/32, ·)

    for level, filters in zip((5, 4, 3, 2, 1), DECODER_WIDTHS, strict=True):
        x = upsample(x, filters, "transpose", name=f"up{level}")  # (B, 2H, 2W, F)
        if skips:
            x = layers.Concatenate(name=f"up{level}_concat")([skips.pop(), x])
        x = double_conv(x, filters, "batch", name=f"up{level}")

    return keras.Model(inputs, to_logits(x, num_classes), name=name)


def pretrained_encoder(backbone, input_shape, weights):
    """Preprocessed images (B, H, W, 3) → maps at 1/2, 1/4, 1/8, 1/16 and 1/32; its layers keep their names."""
    whole = backbone.build(input_shape=input_shape, include_top=False, weights=None)
    pretrained = weights not in (None, "none")
    if pretrained:
        load_weights(whole, backbone, download(backbone) if weights == "imagenet" else str(weights))
    for layer in whole.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = not pretrained
            layer.momentum = 0.9
    maps = [whole.get_layer(name).output for name in backbone.maps]
    return keras.Model(whole.input, maps, name="encoder")


def download(backbone):
    """The path of the ImageNet weights, in Keras's own cache, where keras.applications would put them too."""
    name = backbone.url.rpartition("/")[2]
    try:
        return keras.utils.get_file(name, backbone.url, cache_subdir="models", file_hash=backbone.file_hash)
    except Exception as error:  # get_file raises nothing narrower where there is no network
        raise ValueError(
            f"the ImageNet weights could not be downloaded ({error}). Fetch {backbone.url} on a machine with a "
            f"network and put it at ~/.keras/models/{name} ($KERAS_HOME/models/{name} where that is set), or name "
            f"the file: --weights FILE (in Python: weights=FILE). Without pretraining: --weights none"
        ) from error


def load_weights(encoder, backbone, path):
    """Load every tensor of the encoder, or none.

    The file may be Keras's (.weights.h5) or the older kind (.h5), as keras.applications publishes it. What it
    holds is matched by order and shape: tensors of one shape in each other's place are not noticed, unless
    they make no sense as numbers.

    Raises:
        ValueError: naming the file and what did not match.
    """
    expected = (
        f"wanted are imagenet, none, or a .h5 file with the weights of "
        f"keras.applications.{backbone.build.__name__}(include_top=False)"
    )
    for weight in encoder.weights:
        weight.assign(ops.full(weight.shape, float("nan")))  # whatever the file lacks stays so, and is seen
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # over a hundred lines for a file of another network
            encoder.load_weights(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file; {expected}") from error
    except Exception as error:  # a file of another kind can go wrong in any way
        reason = str(error).partition("\n\nList of objects")[0]
        raise ValueError(f"{path} does not fit: {expected}. Keras says: {reason}") from error
    wrong = [weight.path for weight in encoder.weights if not makes_sense(weight)]
    if wrong:
        raise ValueError(
            f"{path} does not fit: {expected}. {len(wrong)} of {len(encoder.weights)} tensors are missing, not "
            f"finite, or negative variances, {wrong[0]} the first"
        )


def makes_sense(weight):
    finite = ops.all(ops.isfinite(weight))
    return bool(finite) and not (weight.name == "moving_variance" and bool(ops.any(weight < 0)))


@keras.saving.register_keras_serializable(PACKAGE)
class ReverseChannels(layers.Layer):
    """Red, green, blue ↔ blue, green, red: (B, H, W, C) → (B, H, W, C)."""

    def call(self, inputs):
        return ops.flip(inputs, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape


def to_plus_minus_one(x):
    """RGB 0..1 → RGB −1..1."""
    return layers.Rescaling(2.0, -1.0, dtype="float32", name="preprocess")(x)


def to_centred_bgr(x):
    """RGB 0..1 → BGR 0..255, less ImageNet's mean."""
    x = ReverseChannels(dtype="float32", name="rgb_to_bgr")(x)
    return layers.Rescaling(255.0, [-mean for mean in IMAGENET_MEAN_BGR], dtype="float32", name="preprocess")(x)


@dataclass(frozen=True)
class Backbone:
    """What U-Net has to know of a classifier from keras.applications."""

    build: Callable
    preprocess: Callable  # float32 RGB 0..1 → what its weights were trained on
    maps: tuple[str, ...]  # layers whose outputs have 1/2, 1/4, 1/8, 1/16 and 1/32 of the height and width
    url: str  # of the weights without the classifier
    file_hash: str | None  # MD5, where Keras gives one


KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications"

MOBILENET_V2 = Backbone(
    build=keras.applications.MobileNetV2,
    preprocess=to_plus_minus_one,
    maps=(
        "block_1_expand_relu",
        "block_3_expand_relu",
        "block_6_expand_relu",
        "block_13_expand_relu",
        "block_16_project_BN",
    ),
    url=f"{KERAS_FILES}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    file_hash=None,
)

RESNET50 = Backbone(
    build=keras.applications.ResNet50,
    preprocess=to_centred_bgr,
    maps=("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    url=f"{KERAS_FILES}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    file_hash="4d473c1dd8becc155b73f8504c6f6626",
)
