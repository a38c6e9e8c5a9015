"""Pictures of the page: an image, its masks, and where they differ, as files that a browser draws by itself.

An image travels as a JPEG; a mask as a palette PNG whose indices are its classes, so that what is drawn is exact and
the page's script can read the classes back.
"""

import base64
import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image

from data_pipeline.colors import VOID_GREY
from data_pipeline.encoding import VOID
from engine.pictures import KINDS, RIGHT, background

JPEG_QUALITY = 80
PANELS = ("image", "truth", "prediction", "other", "error")
CLEAR = (0, 0, 0, 0)


@dataclass(frozen=True)
class Picture:
    """An image of a gallery, reduced by ``small``; what is None is left out."""

    stem: str
    scores: dict[str, float | None]  # the first is shown below the image; sorted by any
    image: np.ndarray | None  # uint8 (H, W, 3) RGB
    truth: np.ndarray | None = None  # uint8 (H, W), void 255
    prediction: np.ndarray | None = None  # uint8 (H, W)
    other: np.ndarray | None = None  # uint8 (H, W): another network's prediction
    note: str = ""
    classes: tuple[int, ...] = ()  # that it is found by, beside those in its masks
    mark: tuple[float, float, float, float] | None = None  # left, top, right, bottom of a box to look at, pixels

    @property
    def masks(self) -> dict[str, np.ndarray]:
        every = {"truth": self.truth, "prediction": self.prediction, "other": self.other}
        return {name: mask for name, mask in every.items() if mask is not None}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, of whatever there is."""
        arrays = [array for array in (self.image, *self.masks.values()) if array is not None]
        return arrays[0].shape[:2] if arrays else (3, 4)

    @property
    def panels(self) -> list[str]:
        """Return what of it can be shown, in order."""
        compared = self.truth is not None and self.prediction is not None
        there = {"image": self.image is not None, "error": compared} | dict.fromkeys(self.masks, True)
        return [panel for panel in PANELS if there.get(panel)]


@dataclass(frozen=True)
class Gallery:
    """Pictures, taken one by one as the page is written, and the classes in their masks."""

    pictures: Iterable[Picture]
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    sort: str = ""  # the score to sort by at first, worst first; "": the order as given
    panels: tuple[str, ...] = ("image", "truth", "prediction", "error")  # what its pictures can show, PANELS or some
    titles: dict[str, str] = field(default_factory=dict)  # of panels that are not called by their own name
    kinds: tuple[str, str, str] | None = None  # what the colours of the last panel mean; None: mistakes
    has_void: bool = True
    narrow: bool = False  # few pictures, several beside each other: nothing to sort or filter

    def title(self, panel: str) -> str:
        return self.titles.get(panel, panel)

    @property
    def background(self) -> frozenset[int]:
        return background(self.colors)

    @property
    def legend(self) -> list[tuple[str, tuple[int, int, int]]]:
        """The words of the last panel's colours."""
        if "error" not in self.panels:
            return []
        words = list(zip(self.kinds or ("missed", "false alarm", "wrong class"), KINDS, strict=True))
        if not self.kinds and not self.background:
            words = words[2:]
        elif not self.kinds and len(self.names) == 2:
            words = words[:2]
        return words + [("void", VOID_GREY)] * self.has_void


def small(image: np.ndarray | None, *masks: np.ndarray | None, longest: int = 480) -> tuple[np.ndarray | None, ...]:
    """Image uint8 (H, W, 3) and masks uint8 (H, W), reduced alike to at most ``longest`` pixels a side; None stays.

    The image is averaged, masks keep their classes (nearest). What is small enough comes back as it is.
    """

    def reduce(array, interpolation):
        if array is None or max(array.shape[:2]) <= longest:
            return array
        factor = longest / max(array.shape[:2])
        height, width = (max(1, round(side * factor)) for side in array.shape[:2])
        return cv2.resize(array, (width, height), interpolation=interpolation)

    return reduce(image, cv2.INTER_AREA), *(reduce(mask, cv2.INTER_NEAREST_EXACT) for mask in masks)


def check_picture(picture: Picture, gallery: Gallery) -> None:
    """Raise a ValueError for arrays of several sizes, or a class without a name."""
    sizes = {array.shape[:2] for array in (picture.image, *picture.masks.values()) if array is not None}
    if len(sizes) > 1:
        raise ValueError(f"{picture.stem}: arrays of {sorted(sizes)}; one height and width wanted")
    held = classes_in(picture)
    if held and max(held) >= len(gallery.names):
        raise ValueError(f"{picture.stem}: holds class {max(held)}, 0…{len(gallery.names) - 1} wanted")


def classes_in(picture: Picture) -> set[int]:
    return set().union(*(np.unique(mask).tolist() for mask in picture.masks.values())) - {VOID}


def who_is_right(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """RIGHT where both are, 1 where the first alone is, 2 where the second alone is, 3 where none is, or VOID."""
    kinds = (2 * (truth != first) + (truth != second)).astype(np.uint8)
    kinds = np.array([RIGHT, 1, 2, 3], np.uint8)[kinds]
    kinds[truth == VOID] = VOID
    return kinds


def jpeg(image: np.ndarray) -> str:
    """The image uint8 (H, W, 3) as a data URL."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def mask_png(mask: np.ndarray, colors, has_image: bool) -> str:
    """A mask uint8 (H, W) in its classes' colours; black ones stay clear over an image."""
    palette = [CLEAR if has_image and not any(color) else (*color, 255) for color in colors]
    return palette_png(mask, palette)


def kinds_png(kinds: np.ndarray) -> str:
    """Return a data URL of what ``mistakes`` or ``who_is_right`` gives; what is right stays clear."""
    return palette_png(kinds, [CLEAR, *((*color, 255) for color in KINDS)])


def palette_png(indices: np.ndarray, palette: list[tuple[int, int, int, int]]) -> str:
    """A palette PNG as a data URL, of indices uint8 (H, W) and RGBA colours; void becomes the last index, in grey.

    Every row goes unfiltered, so that whoever inflates it has the indices with a 0 before each row.
    """
    height, width = indices.shape
    table = np.array([*palette, (*VOID_GREY, 255)], np.uint8)
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = np.minimum(indices, len(palette))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", table[:, :3].tobytes()),
        (b"tRNS", table[:, 3].tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    data = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()
