"""Pairs in memory: decoded, resized, cached; and the windows that are cut from them."""

import threading
from dataclasses import dataclass, field

import cv2
import numpy as np

from .augment import by_four_channels
from .command import UserError
from .encoding import Encoding
from .files import read_image
from .masks import read_class_masks, read_mask
from .pairs import Pair

CACHE_BYTES = 2 << 30  # for each of training and validation
WHOLE_IMAGE_AREA = 320 * 320  # pixels; larger images are trained on crops
DEFAULT_CROP = 256

unreadable: list[UserError] = []  # what loaders raised: where tf.data calls them, TensorFlow makes text of it


def read_pair(pair: Pair, encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, C) as ``read_image`` gives it, and mask uint8 (H, W), classes 0…C−1, void 255."""
    return read_image(pair.image), read_pair_mask(pair, encoding)


def read_pair_mask(pair: Pair, encoding: Encoding) -> np.ndarray:
    """The mask alone, uint8 (H, W), classes 0…C−1, void 255."""
    if pair.class_masks:
        return read_class_masks(pair.class_masks, pair.image.stem, encoding)
    return read_mask(pair.mask, encoding)


def choose_frame(
    sizes: set[tuple[int, int]], size: tuple[int, int] | None = None, crop: int | None = None
) -> tuple[tuple[int, int], bool]:
    """Choose what is cut from images of these sizes (H, W) for a network, and say whether that is a crop.

    A crop that is asked for; else whole images as they are resized; else whole images where all have one size and a
    moderate area, or crops at native resolution.
    """
    if crop or size:
        return ((crop, crop), True) if crop else (size, False)
    if len(sizes) == 1 and max(height * width for height, width in sizes) <= WHOLE_IMAGE_AREA:
        return next(iter(sizes)), False
    height, width = (min(DEFAULT_CROP, max(axis)) for axis in zip(*sizes, strict=True))
    return (height, width), True


class Memory:
    """Decoded pairs by number, as long as they fit in ``limit`` bytes."""

    def __init__(self, limit: int):
        self.limit, self.held, self.pairs, self.lock = limit, 0, {}, threading.Lock()

    def __reduce__(self):
        return Memory, (self.limit,)  # another process begins with an empty one

    def get(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        return self.pairs.get(index)

    def put(self, index: int, loaded: tuple[np.ndarray, np.ndarray]) -> None:
        size = sum(array.nbytes for array in loaded)
        with self.lock:
            if self.held + size <= self.limit and index not in self.pairs:
                self.pairs[index] = loaded
                self.held += size


@dataclass
class Loader:
    """Decoded pairs by number, kept in memory as long as they fit in ``limit`` bytes.

    size: (H, W) to which whole images are resized (by area) and masks (by nearest pixel), or None.
    """

    pairs: list[Pair]
    encoding: Encoding
    size: tuple[int, int] | None = None
    limit: int = CACHE_BYTES
    cache: Memory = field(init=False)
    kind: tuple | None = None  # type and channels of the images, as the first one has them

    def __post_init__(self):
        self.cache = Memory(self.limit)

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, C) and mask uint8 (H, W) of a pair.

        Raises:
            UserError: naming the file, also where it is no longer what it was when the data set was looked at. It
                stands in ``unreadable`` too.
        """
        kept = self.cache.get(index)
        if kept is not None:
            return kept
        try:
            loaded = self.read(index)
            self.refuse_changed(index, *loaded)
        except UserError as error:
            unreadable.append(error)
            raise
        self.cache.put(index, loaded)
        return loaded

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        pair = self.pairs[index]
        image, mask = read_pair(pair, self.encoding)
        if image.shape[:2] != mask.shape:
            raise UserError(
                f"{pair.files[-1]}: {mask.shape[1]}×{mask.shape[0]} pixels, its image {pair.image.name} has "
                f"{image.shape[1]}×{image.shape[0]}: one of them has changed; put it back"
            )
        return resize(image, mask, self.size)

    def refuse_changed(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        kind = (image.dtype.name, image.shape[2])
        self.kind = self.kind or kind
        if kind != self.kind:
            raise UserError(
                f"{self.pairs[index].image}: {kind[1]} channels of {kind[0]}, the other images have {self.kind[1]} of "
                f"{self.kind[0]}: it has changed; put it back"
            )


@dataclass
class PhotoLoader(Loader):
    """The same for photos of one label each (labels.py), whose masks are blank; ``encoding`` is None.

    tile: height and width of the tiles that the photos are, if they are tiles.
    """

    tile: int | None = None
    last: tuple = (None, None)  # path and image: tiles of one image come one after the other

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        photo = self.pairs[index]
        path, image = self.last
        if path != photo.image:
            image = read_image(photo.image)
        if photo.corner is not None:
            self.last = photo.image, image
            self.refuse_outside(photo, image)
            image = window(image, *photo.corner, (self.tile, self.tile)).copy()
        if self.size is not None and image.shape[:2] != self.size:
            image = resize_image(image, self.size)
        return image, np.zeros(image.shape[:2], np.uint8)

    def refuse_outside(self, photo, image: np.ndarray) -> None:
        """Raise a UserError for a tile that does not lie in its image."""
        if any(start + self.tile > side for start, side in zip(photo.corner, image.shape, strict=False)):
            raise UserError(f"{photo.image}: no longer holds the tile {photo.stem} of {self.tile} pixels")


def resize(image: np.ndarray, mask: np.ndarray, size: tuple[int, int] | None):
    """Image by area (linear where it grows), mask by nearest pixel, so that thin classes do not vanish."""
    if size is None or mask.shape == size:
        return image, mask
    return resize_image(image, size), cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Image (H, W, C) to size (H, W): by area where it shrinks, linearly where it grows."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return by_four_channels(image, cv2.resize, size[::-1], None, 0, 0, how)


def window(image: np.ndarray, top: int, left: int, size: tuple[int, int], margin: int = 0) -> np.ndarray:
    """The part (size + 2·margin) of an image at (top − margin, left − margin), mirrored beyond its borders."""
    bottom, right = top + size[0] + margin, left + size[1] + margin
    top, left = top - margin, left - margin
    height, width = image.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return image[top:bottom, left:right]
    # Mirroring may reach further than the part itself, so the whole image is extended and then cut.
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    extended = cv2.copyMakeBorder(image, *beyond, cv2.BORDER_REFLECT_101).reshape(
        height + beyond[0] + beyond[1], width + beyond[2] + beyond[3], -1
    )
    top, left = max(top, 0), max(left, 0)
    return extended[top : top + size[0] + 2 * margin, left : left + size[1] + 2 * margin]
