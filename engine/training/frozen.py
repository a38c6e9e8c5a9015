"""Training on a pretrained encoder in two stages: the decoder alone, on maps that are computed once; then all of it.

That is the protocol of Keras's guide to transfer learning (keras.io/guides/transfer_learning), and of the classifier
beside this. The kept views of an image are those of the first passes of ordinary training (data_pipeline/samples.py),
as many as fit in memory; later passes see them again.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from data_pipeline.samples import place_of
from engine.config import TrainConfig
from models import freeze, halves

from .fit import Stage

FEATURE_BYTES = 2 << 30  # of kept samples, whose maps are float16
MOST_VIEWS = 8  # of an image


def settings_of_stages(config: TrainConfig) -> list[TrainConfig]:
    """The settings of each stage, with its steps: one, or the decoder alone and then all at ``finetune_rate``."""
    if not config.frozen_steps:
        return [config]
    rest = config.steps - config.frozen_steps
    first = config.replace(steps=config.frozen_steps)
    return [first, config.replace(steps=rest, learning_rate=config.finetune_rate, warmup_steps=0)][: 1 + (rest > 0)]


def frozen_first(stages: list[Stage], network: keras.Model, images: int, config: TrainConfig) -> list[Stage]:
    """Return the same stages, the first with a frozen encoder: on kept maps, or as it is if even one view is too large.

    Args:
        stages: on batches (image, mask, weight).
        network: on a pretrained encoder (models/pretrained.py).
        images: that are trained on.
        config: seed and batch size.
    """
    first, *later = stages
    later = [replace(stage, trained=partial(whole, frozen=False)) for stage in later]
    return [on_kept_maps(first, network, images, config) or replace(first, trained=whole), *later]


def whole(network: keras.Model, frozen: bool = True) -> keras.Model:
    """Return what is compiled: the network itself, its encoder frozen or not."""
    freeze(network, frozen)
    return keras.Model(network.inputs, network.outputs)


@dataclass(frozen=True)
class Kept:
    """Samples by number, (maps, mask, weight), the maps float16 (N, h, w, c)."""

    maps: list[np.ndarray]
    masks: np.ndarray
    weights: np.ndarray

    def __getitem__(self, chosen) -> tuple:
        return tuple(each[chosen] for each in self.maps), self.masks[chosen], self.weights[chosen]


def on_kept_maps(stage: Stage, network: keras.Model, images: int, config: TrainConfig) -> Stage | None:
    """The stage of the decoder alone on kept maps; None, with a note, where they do not fit in FEATURE_BYTES."""
    encoder, _ = halves(network)
    size = config.batch_size
    held_out = int(stage.validation.cardinality()) * size  # at most
    of_view = images * bytes_of_sample(encoder, stage.batches(0).element_spec)
    of_held_out = held_out * bytes_of_sample(encoder, stage.validation.element_spec)
    passes = -(-stage.epochs * stage.steps_per_epoch * size // images)
    views = min(MOST_VIEWS, passes, (FEATURE_BYTES - of_held_out) // of_view)
    if views < 1:
        gib = (of_view + of_held_out) / (1 << 30)
        print(f"note: the frozen encoder's maps would take {gib:.1f} GiB, so they are computed anew in each step")
        return None
    print(
        f"the frozen encoder's maps are computed once: {views} view{'s' if views > 1 else ''} of each image, "
        f"{(views * of_view + of_held_out) / (1 << 30):.2f} GiB"
    )

    @cache  # when they are asked for: a training that goes on in its second stage needs none
    def training() -> tuple[Kept, dict]:
        rows = {place_of(position, config.seed, images): position for position in range(views * images)}
        return compute(encoder, stage.batches(0), views * images), rows

    @cache
    def validation() -> Kept:
        return compute(encoder, stage.validation, held_out)

    def endless(first: int) -> Iterator[tuple]:
        kept, rows = training()
        for start in itertools.count(first, size):
            places = (place_of(position, config.seed, images) for position in range(start, start + size))
            yield kept[[rows[pass_number % views, index] for pass_number, index in places]]

    def once() -> Iterator[tuple]:
        kept = validation()
        for start in range(0, len(kept.masks), size):
            yield kept[start : start + size]

    finite = batches(once, encoder, stage.validation.element_spec)
    return replace(
        stage,
        batches=lambda first: batches(partial(endless, first), encoder, stage.batches(0).element_spec),
        validation=finite.apply(tf.data.experimental.assert_cardinality(int(stage.validation.cardinality()))),
        trained=lambda network: halves(network)[1],
    )


def batches(draw, encoder: keras.Model, spec: tuple) -> tf.data.Dataset:
    """Batches (maps, mask, weight) of what is drawn, the maps in the arithmetic of the decoder.

    spec: of the batches (image, mask, weight) that the maps come from.
    """
    image, mask, weight = spec
    kept = tuple(tf.TensorSpec(shape, tf.float16) for shape in shapes(encoder, image))
    any_size = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in (mask, weight)]
    dtypes = [each.dtype for each in encoder.outputs]
    return (
        tf.data.Dataset.from_generator(draw, output_signature=(kept, *any_size))
        .map(lambda maps, mask, weight: (tuple(map(tf.cast, maps, dtypes)), mask, weight))
        .prefetch(2)
    )


def shapes(encoder: keras.Model, image: tf.TensorSpec) -> list[tuple]:
    """Those of the maps, (None, h, w, c) each, of batches of such images."""
    return encoder.compute_output_shape((None, *image.shape[1:]))


def bytes_of_sample(encoder: keras.Model, spec: tuple) -> int:
    """Return what a sample takes when it is kept: maps in float16, mask in 1 byte, weight in 4."""
    image, mask, _ = spec
    return sum(2 * int(np.prod(shape[1:])) for shape in shapes(encoder, image)) + 5 * int(np.prod(mask.shape[1:]))


def compute(encoder: keras.Model, images: tf.data.Dataset, most: int) -> Kept:
    """The first samples of the batches, ``most`` or as many as there are, through the encoder in inference mode."""
    maps_of = tf.function(lambda images: encoder(images, training=False), reduce_retracing=True)
    kept, row = [], 0
    shown = tqdm(total=most, desc="maps of the encoder", unit="image", leave=False, disable=None)
    for batch, mask, weight in images:
        here = min(len(batch), most - row)
        arrays = [np.asarray(each) for each in (*maps_of(batch), mask, weight)]
        if not kept:
            kinds = [*[np.float16] * (len(arrays) - 2), np.uint8, np.float32]
            kept = [np.empty((most, *a.shape[1:]), kind) for a, kind in zip(arrays, kinds, strict=True)]
        for rows, new in zip(kept, arrays, strict=True):
            rows[row : row + here] = new[:here]
        row += here
        shown.update(here)
        if row == most:
            break
    shown.close()
    *maps, masks, weights = (rows[:row] for rows in kept)
    return Kept(maps, masks, weights)
