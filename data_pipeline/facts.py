"""The facts of one pair of image and mask: what is needed to find out what the masks mean and what is wrong."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from .encoding import UNKNOWN, Encoding
from .object_numbers import Regions
from .pairs import Pair


@dataclass(frozen=True)
class Facts:
    """The facts of one pair: its size in pixels, and its mask's values with their numbers of pixels."""

    pair: Pair
    height: int
    width: int
    dtype: str  # of the image: uint8, uint16, float32
    channels: int
    values: Counter  # of the mask, as on disk
    is_color: bool
    lossy: bool  # the mask is in a format that changes labels
    palette: dict[int, tuple[int, int, int]]  # colours of the indices used, where the mask has a palette
    mode: str  # Pillow's name of the image's form: RGB, L, RGBA, …
    turned: bool  # by its EXIF orientation
    outline: np.ndarray  # every few pixels of the mask, int32
    contrast: np.ndarray | None = None  # of a mask of two values: the image's mean at the higher less at the lower one
    hidden: bool = False  # the mask has colours under transparent pixels
    min_is_white: bool = False  # the mask is a TIFF in which 0 is white
    agreement: tuple[float, float] | None = None  # of an image's mask files: the highest IoU, and the share of the
    # smaller one that lies in the larger one
    on_no_data: frozenset[int] = frozenset()  # the mask's values where the image's own file says there is no data
    regions: Regions | None = None

    def counts(self, encoding: Encoding) -> np.ndarray:
        """Pixels of each class, int64 (C,); void left out."""
        return self.all_counts(encoding)[: encoding.num_classes]

    def all_counts(self, encoding: Encoding) -> np.ndarray:
        """Pixels of each class index, of VOID and UNKNOWN, int64 (257,)."""
        values, counts = (np.array(part, np.int64) for part in (list(self.values), list(self.values.values())))
        return np.bincount(encoding.classes_of(values), counts, UNKNOWN + 1).astype(np.int64)
