"""Photos of one label each → tf.data batches (image, label), for a classifier.

image  (B, H, W, C), raw pixels: uint8, uint16 or float32
label  int32 (B,), classes 0…C−1
"""

import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from .augment import Policy
from .batches import endless_batches
from .loader import PhotoLoader
from .photo_samples import PhotoSamples
from .samples import place_of


def photo_batches(
    loader: PhotoLoader, policy: Policy, *, seed: int, batch_size: int, start: int = 0, workers: int = 0
) -> tf.data.Dataset:
    """Endless shuffled, augmented batches of photos and their labels: image (B, H, W, C), int32 (B,).

    Sample number p is the same pure function of (seed, p) as in ``training_batches``; ``workers`` too.
    """
    return endless_batches(PhotoSamples(loader, policy, seed), batch_size, start, workers)


def feature_batches(
    features: np.ndarray, labels: np.ndarray, *, seed: int, batch_size: int, start: int = 0
) -> tf.data.Dataset:
    """The same of what is known of each photo already: float32 (B, F), int32 (B,)."""

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first in itertools.count(start, batch_size):
            chosen = [place_of(position, seed, len(labels))[1] for position in range(first, first + batch_size)]
            yield features[chosen], labels[chosen]

    signature = (
        tf.TensorSpec((batch_size, features.shape[1]), tf.float32),
        tf.TensorSpec((batch_size,), tf.int32),
    )
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(tf.data.AUTOTUNE)


def held_out_photos(loader: PhotoLoader, batch_size: int) -> tf.data.Dataset:
    """Every photo once, as it is, with its label: image (B, H, W, C), int32 (B,)."""
    like = loader(0)[0]

    def photos() -> Iterator[tuple[np.ndarray, np.int32]]:
        for index, photo in enumerate(loader.pairs):
            yield loader(index)[0], np.int32(photo.label)

    signature = (tf.TensorSpec(like.shape, like.dtype), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(photos, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(loader.pairs)))
    return dataset.batch(batch_size).prefetch(2)
