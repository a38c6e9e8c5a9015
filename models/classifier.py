"""Classifiers: an encoder, global average pooling, one dense layer. The companion to the segmentation networks.

An encoder is trained from scratch, or brings what it learnt elsewhere (transfer learning): from ImageNet, or, for
U-Net's contracting path, from masks. How far it then moves is told by ``train_from``; the protocol is that of Keras's
guide to transfer learning (keras.io/guides/transfer_learning): first the head alone, then the encoder too, at a low
rate, with batch normalisation in inference mode throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers

from .backbones import EFFICIENTNET_V2_B0, MOBILENET_V2, RESNET50, load_backbone, load_weights
from .unet import contracting_path, double_conv

SMALL_CNN_WIDTHS = (32, 64, 128, 256)


@dataclass(frozen=True)
class Encoder:
    """build: input_shape and weights → (preprocessing of RGB or any channels 0..1, network from there to maps)."""

    build: Callable
    min_size: int  # pixels of height and width
    imagenet: bool = False  # whether keras.applications has weights of it


def pretrained(backbone):
    """An Encoder's ``build`` for a network of keras.applications."""

    def build(input_shape, weights):
        if input_shape[-1] != 3:
            raise ValueError(
                f"takes red, green and blue, 3 channels; these images have {input_shape[-1]}: use unet_encoder or "
                "small_cnn, which take any number"
            )
        return backbone.preprocess, load_backbone(backbone, input_shape, weights)

    return build


def unet_encoder(input_shape, weights, width=32, depth=4, norm="batch"):
    """The contracting path of ``unet``, to its bottom: (B, H, W, C) → (B, H/2**depth, W/2**depth, width·2**depth)."""
    inputs = layers.Input(input_shape)
    bottom, _ = contracting_path(inputs, width, depth, norm)
    network = keras.Model(inputs, bottom, name="unet_encoder")
    if weights not in (None, "none"):
        load_from_unet(network, str(weights))
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False  # as in load_backbone
    return lambda x: x, network


def small_cnn(input_shape, weights):
    """Four times two 3×3 convolutions with batch normalisation and a pooling: 1.2 million weights, from scratch."""
    if weights not in (None, "none"):
        raise ValueError("is trained from scratch: --strategy scratch, without weights")
    inputs = x = layers.Input(input_shape)
    for level, width in enumerate(SMALL_CNN_WIDTHS, start=1):
        x = double_conv(x, width, "batch", name=f"block{level}")
        x = layers.MaxPooling2D(2, name=f"block{level}_pool")(x)  # (B, H/2, W/2, width)
    return lambda x: x, keras.Model(inputs, x, name="small_cnn")


def load_from_unet(encoder, path):
    """Load every tensor of U-Net's contracting path from a trained network (.keras), by name, or a file of weights.

    Raises:
        ValueError: naming the file and what did not match.
    """
    expected = "wanted is the model.keras of a U-Net (train.py --model unet), or a .weights.h5 of its contracting path"
    if not path.endswith(".keras"):
        load_weights(encoder, path, expected)
        return
    try:
        donor = keras.models.load_model(path, compile=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be loaded ({str(error).splitlines()[0]}); {expected}") from None
    known = {layer.name: layer for layer in donor.layers}
    wrong = [layer.name for layer in encoder.layers if layer.weights and shapes(known.get(layer.name)) != shapes(layer)]
    if wrong:
        count = sum(bool(layer.weights) for layer in encoder.layers)
        raise ValueError(
            f"{path} does not fit: {expected}. {count - len(wrong)} of {count} layers match; {wrong[0]}, "
            f"{shapes(encoder.get_layer(wrong[0]))}, is the first that does not"
        )
    for layer in encoder.layers:
        if layer.weights:
            layer.set_weights(known[layer.name].get_weights())


def shapes(layer):
    return layer and [tuple(weight.shape) for weight in layer.weights]


ENCODERS = {
    "mobilenet_v2": Encoder(pretrained(MOBILENET_V2), min_size=32, imagenet=True),
    "resnet50": Encoder(pretrained(RESNET50), min_size=32, imagenet=True),
    "efficientnet_v2_b0": Encoder(pretrained(EFFICIENTNET_V2_B0), min_size=32, imagenet=True),
    "unet_encoder": Encoder(unet_encoder, min_size=16),
    "small_cnn": Encoder(small_cnn, min_size=16),
}


def build_classifier(
    name, num_classes, input_shape=(None, None, 3), *, weights=None, dropout=0.2, scale=1 / 255, offset=0.0
):
    """A classifier by its encoder's name.

    Args:
        name: a key of ENCODERS.
        num_classes: two or more.
        input_shape: (H, W, C); None for a height or width that may vary.
        weights: None (or "none"): random. "imagenet": downloaded. Or the path of a file with the encoder's weights.
        dropout: rate between pooling and the dense layer.
        scale, offset: pixel · scale + offset is 0..1; a number or one for each channel.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, num_classes). Its layer "encoder" is what
        ``train_from`` looks into; its layer "pool" averages the encoder's maps.

    Raises:
        ValueError: for an unknown name, fewer than two classes, too small a size, and weights that cannot be had or
            do not fit.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}; choose one of {', '.join(ENCODERS)}")
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; at least 2 are needed")
    encoder = ENCODERS[name]
    if any(pixels is not None and pixels < encoder.min_size for pixels in input_shape[:2]):
        raise ValueError(
            f"{input_shape[0]}×{input_shape[1]} pixels are too small for {name}: at least {encoder.min_size}"
        )
    if weights == "imagenet" and not encoder.imagenet:
        others = ", ".join(other for other, spec in ENCODERS.items() if spec.imagenet)
        raise ValueError(f"{name}: there are no ImageNet weights of it, only of {others}; name a file, or none")
    try:
        preprocess, network = encoder.build(input_shape, weights)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    network.name = "encoder"

    inputs = layers.Input(input_shape)
    x = layers.Rescaling(scale, offset, dtype="float32", name="rescale")(inputs)  # 16-bit pixels overflow float16
    x = network(preprocess(x))  # (B, H/32, W/32, ·)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (B, ·)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(num_classes, dtype="float32", name="logits")(x), name=f"{name}_classifier")


def train_from(classifier, block):
    """Say which weights of a classifier with a pretrained encoder train, beside its dense layer.

    Args:
        classifier: of ``build_classifier``, with weights.
        block: "head": none of the encoder's; "all": all of them; or how the name of the layer begins from which on
            they do, such as "block_13". Batch normalisation never trains.

    Raises:
        ValueError: for a block that no layer's name begins with.
    """
    encoder = classifier.get_layer("encoder")
    names = [layer.name for layer in encoder.layers]
    first = {"head": len(names), "all": 0}.get(block)
    if first is None:
        places = [place for place, name in enumerate(names) if name.startswith(block)]
        if not places:
            last = [name for layer, name in zip(encoder.layers, names, strict=True) if layer.weights][-40::5]
            raise ValueError(f"no layer's name begins with {block!r}; there are, among others, {', '.join(last)}")
        first = places[0]
    for place, layer in enumerate(encoder.layers):
        layer.trainable = place >= first and not isinstance(layer, layers.BatchNormalization)
