"""Pairs → tf.data batches (image, mask, weight).

image  (B, H + 2·margin, W + 2·margin, C), raw pixels: uint8, uint16 or float32
mask   uint8 (B, H, W), classes 0…C−1, void 255
weight float32 (B, H, W): 0 at void and at padding, else the weight of its class and of its place between objects
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
import tensorflow as tf

from .augment import Policy
from .encoding import VOID
from .loader import Loader, unreadable, window
from .samples import MaskSamples, Weigh


@contextmanager
def named_files() -> Iterator[None]:
    """Raise the UserError of a Loader for a file that cannot be read, around code that draws batches.

    By itself tf.data raises an error of TensorFlow's, in forty lines and without its cause.
    """
    unreadable.clear()
    try:
        yield
    except tf.errors.OpError:
        if unreadable:
            raise unreadable[0] from None
        raise


def training_batches(
    loader: Loader, policy: Policy, weigh: Weigh, *, seed: int, batch_size: int, start: int = 0, workers: int = 0
) -> tf.data.Dataset:
    """Endless shuffled, augmented batches.

    Args:
        loader: the training pairs.
        policy: augmentation, with its crop set.
        weigh: a mask's weights.
        seed: of the run; that of a draw is (run seed, pass, index of the pair): samples.py.
        batch_size: images in each batch.
        start: the first sample's number.
        workers: processes that make them; 0: threads of this one. The batches are the same.
    """
    return endless_batches(MaskSamples(loader, policy, weigh, seed), batch_size, start, workers)


def endless_batches(samples, batch_size: int, start: int, workers: int) -> tf.data.Dataset:
    """Batches of the samples (samples.py) from number ``start`` on, in their order."""
    signature = samples.signature()
    if workers:
        from .workers import process_batches  # on POSIX alone

        specs = tuple(tf.TensorSpec((batch_size, *shape), dtype) for shape, dtype in signature)
        batches = partial(process_batches, samples, batch_size, start, workers)
        return tf.data.Dataset.from_generator(batches, output_signature=specs).prefetch(tf.data.AUTOTUNE)
    cv2.setNumThreads(0)  # the map below is parallel already

    def sample(position):
        arrays = tf.numpy_function(samples.__call__, [position], [dtype for _, dtype in signature])
        for array, (shape, _) in zip(arrays, signature, strict=True):
            array.set_shape(shape)
        return tuple(arrays)

    dataset = positions_from(start).map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def positions_from(start: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(start, np.iinfo(np.int64).max)


def validation_windows(loader: Loader, size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(index, top, left) of the windows (H, W) that hold every pixel of every pair once."""
    windows = []
    for index in range(len(loader.pairs)):
        _, mask = loader(index)
        height, width = mask.shape
        windows += [(index, top, left) for top in range(0, height, size[0]) for left in range(0, width, size[1])]
    return windows


def validation_batches(
    loader: Loader,
    places: list[tuple[int, int, int]],
    size: tuple[int, int],
    weigh: Weigh,
    *,
    margin: int = 0,
    batch_size: int,
) -> tf.data.Dataset:
    """The windows at the places (index, top, left), the same on every pass; padding weighs nothing."""
    height, width = size

    def windows() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for index, top, left in places:
            image, mask = loader(index)
            part = np.full(size, VOID, np.uint8)
            inside = mask[top : top + height, left : left + width]
            part[: inside.shape[0], : inside.shape[1]] = inside
            yield window(image, top, left, size, margin), part, weigh(part)

    like = loader(0)[0]
    signature = (
        tf.TensorSpec((height + 2 * margin, width + 2 * margin, like.shape[-1]), like.dtype),
        tf.TensorSpec((height, width), tf.uint8),
        tf.TensorSpec((height, width), tf.float32),
    )
    dataset = tf.data.Dataset.from_generator(windows, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(places)))
    return dataset.batch(batch_size).prefetch(2)
