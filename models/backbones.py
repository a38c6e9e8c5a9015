"""Encoders from keras.applications, with the weights that they learnt on ImageNet.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018 (arXiv 1801.04381); He et al., "Deep
Residual Learning for Image Recognition", 2015 (arXiv 1512.03385); Tan, Le, "EfficientNetV2: Smaller Models and Faster
Training", 2021 (arXiv 2104.00298).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers, ops

from .layers import PACKAGE

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # of pixels 0..255; ResNet50's weights came from Caffe


def load_backbone(backbone, input_shape, weights):
    """The encoder with the weights of ImageNet or of a file, or random ones: (B, H, W, 3), preprocessed → maps.

    Batch normalisation. In a pretrained encoder it stays in inference mode, its scale and offset fixed too
    (trainable = False, which a saved model keeps): a batch of a few images says little about mean and variance,
    and the running averages that count outside training would lag behind features that move (at MobileNetV2's
    momentum of 0.999, 37% of them is ImageNet's after 1000 steps). So does what else differs in training: the
    layers that EfficientNet drops at random. A random encoder has no statistics to keep and could hardly train
    without: there it trains, with momentum 0.9 as in ``unet``.

    Args:
        backbone: a Backbone.
        input_shape: (H, W, 3), or None for a height or width that may vary.
        weights: "imagenet", the path of a file, or None (or "none").

    Raises:
        ValueError: for weights that cannot be had or do not fit.
    """
    network = backbone.build(input_shape=input_shape, include_top=False, weights=None)
    pretrained = weights not in (None, "none")
    if pretrained:
        expected = (
            f"wanted are imagenet, none, or a .h5 file with the weights of "
            f"keras.applications.{backbone.build.__name__}(include_top=False)"
        )
        load_weights(network, download(backbone) if weights == "imagenet" else str(weights), expected)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = not pretrained
            layer.momentum = 0.9
        if isinstance(layer, layers.Dropout) and pretrained:
            layer.rate = 0.0
    return network


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


def load_weights(network, path, expected):
    """Load every tensor of a network, or none.

    The file may be Keras's (.weights.h5) or the older kind (.h5), as keras.applications publishes it. What it
    holds is matched by order and shape: tensors of one shape in each other's place are not noticed, unless
    they make no sense as numbers.

    Raises:
        ValueError: naming the file and what did not match; ``expected`` says what was wanted.
    """
    for weight in network.weights:
        weight.assign(ops.full(weight.shape, float("nan")))  # whatever the file lacks stays so, and is seen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # over a hundred lines for a file of another network
        try:
            network.load_weights(path)
        except FileNotFoundError as error:
            raise ValueError(f"{path}: there is no such file; {expected}") from error
        except Exception as error:  # a file of another kind can go wrong in any way
            reason = mismatch(network, path) or f"Keras says: {str(error).splitlines()[0]}"
            raise ValueError(f"{path} does not fit: {expected}. {reason}") from error
    wrong = [weight.path for weight in network.weights if not makes_sense(weight)]
    if wrong:
        raise ValueError(
            f"{path} does not fit: {expected}. {len(wrong)} of {len(network.weights)} tensors are missing, not "
            f"finite, or negative variances, {wrong[0]} the first"
        )


def mismatch(network, path):
    """Say how many of a network's tensors a file that does not fit holds; empty where that cannot be told."""
    try:
        network.load_weights(path, skip_mismatch=True)
    except Exception:  # no file of weights at all
        return ""
    wrong = [weight for weight in network.weights if not makes_sense(weight)]
    if not wrong:
        return ""
    return (
        f"{len(network.weights) - len(wrong)} of {len(network.weights)} tensors match; {wrong[0].path}, of "
        f"shape {tuple(wrong[0].shape)}, is the first that does not"
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


def to_255(x):
    """RGB 0..1 → RGB 0..255: the encoder scales by itself."""
    return layers.Rescaling(255.0, dtype="float32", name="preprocess")(x)


def to_centred_bgr(x):
    """RGB 0..1 → BGR 0..255, less ImageNet's mean."""
    x = ReverseChannels(dtype="float32", name="rgb_to_bgr")(x)
    return layers.Rescaling(255.0, [-mean for mean in IMAGENET_MEAN_BGR], dtype="float32", name="preprocess")(x)


@dataclass(frozen=True)
class Backbone:
    """The properties of an encoder from keras.applications that are needed here."""

    build: Callable
    preprocess: Callable  # float32 RGB 0..1 → what its weights were trained on
    url: str  # of the weights without the classifier
    file_hash: str | None  # MD5, where Keras gives one
    licence: str  # of the weights, as Keras's documentation states it
    maps: tuple[str, ...] = ()  # for U-Net: layers with 1/2, 1/4, 1/8, 1/16 and 1/32 of the height and width


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
    licence="Apache License 2.0 (Google, github.com/tensorflow/models)",
)

RESNET50 = Backbone(
    build=keras.applications.ResNet50,
    preprocess=to_centred_bgr,
    maps=("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    url=f"{KERAS_FILES}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    file_hash="4d473c1dd8becc155b73f8504c6f6626",
    licence="MIT (Kaiming He, github.com/KaimingHe/deep-residual-networks)",
)

EFFICIENTNET_V2_B0 = Backbone(
    build=keras.applications.EfficientNetV2B0,
    preprocess=to_255,
    url=f"{KERAS_FILES}/efficientnet_v2/efficientnetv2-b0_notop.h5",
    file_hash="893217f2bb855e2983157299931e43ff",
    licence="Apache License 2.0 (Google, github.com/google/automl)",
)
