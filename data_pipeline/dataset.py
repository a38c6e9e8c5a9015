"""Pairs → tf.data batches (image, mask, weight).

image  uint8 (B, H + 2·margin, W + 2·margin, 3), raw pixels
mask   uint8 (B, H, W), classes 0…C−1, void 255
weight float32 (B, H, W): 0 at void and at padding, else the class's weight
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
import tensorflow as tf

from .augment import Policy, augment
from .files import read_image
from .masks import VOID, Encoding, read_mask
from .pairs import Pair

CACHE_BYTES = 2 << 30  # for each of training and validation
SHUFFLE = 0x5F  # sets the shuffling's random stream apart from the augmentation's


@dataclass
class Loader:
    """Decoded pairs by number, kept in memory as long as they fit in ``limit`` bytes.

    size: (H, W) to which whole images are resized (by area) and masks (by nearest pixel), or None.
    """

    pairs: list[Pair]
    encoding: Encoding
    size: tuple[int, int] | None = None
    limit: int = CACHE_BYTES
    cache: dict = field(default_factory=dict)
    held: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and mask uint8 (H, W) of a pair."""
        if index in self.cache:
            return self.cache[index]
        pair = self.pairs[index]
        loaded = resize(read_image(pair.image), read_mask(pair.mask, self.encoding), self.size)
        size = sum(array.nbytes for array in loaded)
        with self.lock:
            if self.held + size <= self.limit and index not in self.cache:
                self.cache[index] = loaded
                self.held += size
        return loaded


def resize(image: np.ndarray, mask: np.ndarray, size: tuple[int, int] | None):
    """Image by area (linear where it grows), mask by nearest pixel, so that thin classes do not vanish."""
    if size is None or mask.shape == size:
        return image, mask
    return resize_image(image, size), cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Image (H, W, C) to size (H, W): by area where it shrinks, linearly where it grows."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def training_batches(
    load: Loader, policy: Policy, *, seed: int, batch_size: int, class_weights: np.ndarray, start: int = 0
) -> tf.data.Dataset:
    """Endless shuffled, augmented batches.

    Sample number p is a pure function of (seed, p): epoch p // n, its place in that epoch's permutation, and
    a draw of the augmentation of its own. So the stream can start anywhere, on any machine, with any number
    of threads, and be the same.

    Args:
        load: the training pairs.
        policy: augmentation, with its crop set.
        seed: of the run.
        batch_size: images in each batch.
        class_weights: float32 (C,).
        start: the first sample's number.
    """
    cv2.setNumThreads(0)  # the map below is parallel already
    count = len(load.pairs)
    weight_of = weight_table(class_weights)

    @lru_cache(maxsize=2)
    def permutation(epoch):
        return np.random.default_rng([SHUFFLE, seed, epoch]).permutation(count)

    def sample(position):
        epoch, place = divmod(int(position), count)
        index = int(permutation(epoch)[place])
        image, mask = augment(*load(index), (seed, epoch, index), policy)
        return image, mask, weight_of[mask]

    positions = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
    dataset = positions.map(as_graph(sample, policy), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def as_graph(sample, policy):
    """The Python function as a tf.data map with static shapes."""
    height, width = policy.crop
    margin = 2 * policy.margin

    def apply(position):
        image, mask, weight = tf.numpy_function(sample, [position], [tf.uint8, tf.uint8, tf.float32])
        image.set_shape((height + margin, width + margin, 3))
        mask.set_shape((height, width))
        weight.set_shape((height, width))
        return image, mask, weight

    return apply


def weight_table(class_weights: np.ndarray) -> np.ndarray:
    """float32 (256,): mask value → weight; void weighs nothing."""
    table = np.zeros(VOID + 1, np.float32)
    table[: len(class_weights)] = class_weights
    return table


def validation_tiles(load: Loader, tile: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(index, top, left) of the tiles (H, W) that hold every pixel of every pair once."""
    tiles = []
    for index in range(len(load.pairs)):
        height, width = load(index)[1].shape
        tiles += [(index, top, left) for top in range(0, height, tile[0]) for left in range(0, width, tile[1])]
    return tiles


def validation_batches(
    load: Loader,
    places: list[tuple[int, int, int]],
    tile: tuple[int, int],
    *,
    margin: int = 0,
    batch_size: int,
    class_weights: np.ndarray,
) -> tf.data.Dataset:
    """The tiles at the places (index, top, left), the same on every pass; padding weighs nothing."""
    weight_of = weight_table(class_weights)
    height, width = tile

    def tiles() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for index, top, left in places:
            image, mask = load(index)
            part = np.full(tile, VOID, np.uint8)
            inside = mask[top : top + height, left : left + width]
            part[: inside.shape[0], : inside.shape[1]] = inside
            yield window(image, top, left, tile, margin), part, weight_of[part]

    signature = (
        tf.TensorSpec((height + 2 * margin, width + 2 * margin, 3), tf.uint8),
        tf.TensorSpec((height, width), tf.uint8),
        tf.TensorSpec((height, width), tf.float32),
    )
    dataset = tf.data.Dataset.from_generator(tiles, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(places)))
    return dataset.batch(batch_size).prefetch(2)


def window(image: np.ndarray, top: int, left: int, size: tuple[int, int], margin: int = 0) -> np.ndarray:
    """The part (size + 2·margin) of an image at (top − margin, left − margin), mirrored beyond its borders."""
    bottom, right = top + size[0] + margin, left + size[1] + margin
    top, left = top - margin, left - margin
    height, width = image.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return image[top:bottom, left:right]
    # Mirroring may reach further than the part itself, so the whole image is extended and then cut.
    extended = cv2.copyMakeBorder(
        image,
        max(-top, 0),
        max(bottom - height, 0),
        max(-left, 0),
        max(right - width, 0),
        cv2.BORDER_REFLECT_101,
    )
    top, left = max(top, 0), max(left, 0)
    return extended[top : top + size[0] + 2 * margin, left : left + size[1] + 2 * margin]
