"""A network of plain Keras layers with the same weights, which loads where this project is not."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
from keras import layers

from data_pipeline.command import UserError
from models import Spec
from models.backbones import ReverseChannels
from models.dense_layers import BatchNormalization as SharedBatchNormalization
from models.dense_layers import BatchStatisticsNormalization, Moments
from models.layers import BatchNormalization, Conv2DTranspose, CropLike

PLAIN = {
    BatchNormalization: layers.BatchNormalization,
    SharedBatchNormalization: layers.BatchNormalization,
    Conv2DTranspose: layers.Conv2DTranspose,
}


def plain_twin(model: keras.Model, size: tuple[int, int] | None = None) -> keras.Model:
    """Return the same function of raw pixels in Keras's own layers, in float32.

    What our layers do faster or in less memory has a plain form of the same weights:

    - transposed convolution, batch normalisation: Keras's layers of the same name;
    - normalisation of a list of maps by shared statistics: a concatenation, then Keras's layer;
    - an unpadded 3×3 transposed convolution whose last row and column are cut off: ``padding="same"``. The two
      are equal where no pooling rounds down, so a Tiramisu's twin takes multiples of 32 pixels (``sizes_of_twin``);
    - reversed channels: a 1×1 convolution that permutes them.

    Args:
        model: one of models.MODELS, built or loaded.
        size: (H, W) of the only input that the twin takes, one image at a time; None: any number of any size.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits, whose layers have the names of the model's.

    Raises:
        UserError: for a network that normalises with the statistics of its batch.
    """
    if any(isinstance(layer, BatchStatisticsNormalization) for layer in model.layers):
        raise UserError(
            "this network normalises with the statistics of the batch that it is shown (--norm batch_statistics, "
            "recipe tiramisu), so its answer for an image depends on the images beside it, and it cannot be exported; "
            "train it with --norm batch (--recipe tiramisu --norm batch)"
        )
    shape = (None, *model.input_shape[1:]) if size is None else (1, *size, model.input_shape[-1])
    return clone(model, shape)


def sizes_of_twin(model: keras.Model, spec: Spec) -> Spec:
    """Return the sizes that a network's twin takes: those where no pooling before a cut rounds down."""
    return replace(spec, multiple=max(spec.multiple, 2 ** len(cropped_layers(model))))


def clone(model: keras.Model, shape: tuple) -> keras.Model:
    """A network, or one that is a layer of another, of plain layers with its weights, for inputs (B, H, W, C)."""
    inputs = layers.Input(batch_shape=shape, dtype="float32", name=model.input.name)
    twin = keras.models.clone_model(model, inputs, partial(plain_layer, cropped=cropped_layers(model)), call_plainly)
    for layer in twin.layers:
        if layer.weights:
            layer.set_weights(plain_weights(model.get_layer(layer.name)))
    return twin


def cropped_layers(model: keras.Model) -> set[str]:
    """Names of the layers whose output is cut to a skip connection's size."""
    return {layer.input[0]._keras_history.operation.name for layer in model.layers if isinstance(layer, CropLike)}


def plain_layer(layer, cropped: set[str]):
    """Keras's layer for one of a network's, not called yet."""
    if isinstance(layer, keras.Model):
        return clone(layer, layer.input_shape)
    if isinstance(layer, Moments | CropLike):
        return layers.Identity(name=layer.name)
    if isinstance(layer, ReverseChannels):
        return layers.Conv2D(layer.output.shape[-1], 1, use_bias=False, name=layer.name)
    config = layer.get_config() | {"dtype": "float32"} | ({"padding": "same"} if layer.name in cropped else {})
    return PLAIN.get(type(layer), type(layer)).from_config(config)


def call_plainly(layer, inputs, *arguments, **options):
    """Call a plain layer with what the layer that it stands for was called with."""
    if isinstance(layer, layers.Identity) and isinstance(inputs, list):
        return inputs[0]  # what CropLike had to cut
    if isinstance(layer, layers.BatchNormalization) and isinstance(inputs, list):
        maps, _ = inputs
        inputs = layers.Concatenate(name=f"{layer.name}_concat")(maps) if len(maps) > 1 else maps[0]
    return layer(inputs, *arguments, **options)


def plain_weights(layer) -> list[np.ndarray]:
    if isinstance(layer, ReverseChannels):
        return [np.eye(layer.output.shape[-1], dtype=np.float32)[None, None, ::-1]]  # a kernel (1, 1, C, C)
    return layer.get_weights()
