"""Pairs → tf.data batches (image, mask, weight).

image  (B, H + 2·margin, W + 2·margin, C), raw pixels: uint8, uint16 or float32
mask   uint8 (B, H, W), classes 0…C−1, void 255
weight float32 (B, H, W): 0 at void and at padding, else the weight of its class and of its place between objects
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import cv2
import numpy as np
import tensorflow as tf

from .augment import Policy, augment
from .encoding import VOID
from .loader import Loader, unreadable, window

SHUFFLE = 0x5F  # sets the shuffling's random stream apart from the augmentation's

Weigh = Callable[[np.ndarray], np.ndarray]  # mask uint8 (H, W) → weight float32 (H, W)


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


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([SHUFFLE, seed, epoch]).permutation(count)


def place_of(position: int, seed: int, count: int) -> tuple[int, int]:
    """(epoch, index of the pair) of sample number ``position``, where there are ``count`` pairs."""
    epoch, place = divmod(int(position), count)
    return epoch, int(permutation(seed, epoch, count)[place])


def names_of_samples(loader: Loader, seed: int, first: int, many: int) -> list[str]:
    """Names of the images of some samples, by the first one's number."""
    count = len(loader.pairs)
    return [loader.pairs[place_of(number, seed, count)[1]].image.name for number in range(first, first + many)]


def training_batches(
    load: Loader, policy: Policy, weigh: Weigh, *, seed: int, batch_size: int, start: int = 0
) -> tf.data.Dataset:
    """Endless shuffled, augmented batches.

    Sample number p is a pure function of (seed, p): epoch p // n, its place in that epoch's permutation, and
    a draw of the augmentation of its own. So the stream can start anywhere, on any machine, with any number
    of threads, and be the same.

    Args:
        load: the training pairs.
        policy: augmentation, with its crop set.
        weigh: a mask's weights.
        seed: of the run.
        batch_size: images in each batch.
        start: the first sample's number.
    """
    cv2.setNumThreads(0)  # the map below is parallel already

    def sample(position):
        epoch, index = place_of(position, seed, len(load.pairs))
        image, mask = augment(*load(index), (seed, epoch, index), policy)
        return image, mask, weigh(mask)

    dataset = positions_from(start).map(
        as_graph(sample, policy, load(0)[0]), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def positions_from(start: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(start, np.iinfo(np.int64).max)


def as_graph(sample, policy, like):
    """The Python function as a tf.data map with static shapes; images are of the type and channels of ``like``."""
    height, width = policy.crop
    margin = 2 * policy.margin

    def apply(position):
        image, mask, weight = tf.numpy_function(sample, [position], [like.dtype, tf.uint8, tf.float32])
        image.set_shape((height + margin, width + margin, like.shape[-1]))
        mask.set_shape((height, width))
        weight.set_shape((height, width))
        return image, mask, weight

    return apply


def validation_windows(load: Loader, size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(index, top, left) of the windows (H, W) that hold every pixel of every pair once."""
    windows = []
    for index in range(len(load.pairs)):
        height, width = load(index)[1].shape
        windows += [(index, top, left) for top in range(0, height, size[0]) for left in range(0, width, size[1])]
    return windows


def validation_batches(
    load: Loader,
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
            image, mask = load(index)
            part = np.full(size, VOID, np.uint8)
            inside = mask[top : top + height, left : left + width]
            part[: inside.shape[0], : inside.shape[1]] = inside
            yield window(image, top, left, size, margin), part, weigh(part)

    like = load(0)[0]
    signature = (
        tf.TensorSpec((height + 2 * margin, width + 2 * margin, like.shape[-1]), like.dtype),
        tf.TensorSpec((height, width), tf.uint8),
        tf.TensorSpec((height, width), tf.float32),
    )
    dataset = tf.data.Dataset.from_generator(windows, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(places)))
    return dataset.batch(batch_size).prefetch(2)
