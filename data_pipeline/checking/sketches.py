"""The sketch of a pair, to compare it with others: thumbnails, a perceptual hash, and how the mask fits the image."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_pipeline.augment import RGB_TO_YIQ
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.loader import read_pair, resize_image
from data_pipeline.pairs import Pair
from data_pipeline.pixel_range import PixelRange

LONGEST_SIDE = 512  # pixels to which pairs are reduced, and in which shifts are measured
REACH = 16  # largest shift that is looked for, in pixels of the reduced pair
GRID = 32  # cells along each side of the thumbnails by which images are compared with masks
LEVELS = 6  # of each colour channel in those thumbnails


@dataclass(frozen=True)
class Sketch:
    """The reduced form of a pair by which it is compared with others."""

    pair: Pair
    brightness: float  # mean, 0 to 1
    contrast: float  # standard deviation, 0 to 1
    bits: np.ndarray  # perceptual hash, bool (64,)
    grey: np.ndarray  # thumbnail, float32 (GRID · GRID,), mean 0, norm 1
    colors: np.ndarray  # thumbnail, colour number, int (GRID · GRID,)
    classes: np.ndarray  # thumbnail, uint8 (GRID · GRID,)
    edges: np.ndarray  # where the image has edges, float32 (GRID · GRID,), mean 0, norm 1
    outlines: np.ndarray  # where the mask has outlines, alike
    fit: np.ndarray | None  # (2·REACH + 1)²: strength of the image's edges along the outlines moved by (dy, dx)
    flipped: np.ndarray | None  # (3,): the same unmoved, of the mask upside down, mirrored, and both
    factor: float  # of the reduction


def draw_sketch(pair: Pair, encoding: Encoding, pixel_range: PixelRange) -> Sketch:
    image, mask = read_pair(pair, encoding)
    factor = min(1, LONGEST_SIDE / max(mask.shape))
    size = tuple(max(1, round(side * factor)) for side in mask.shape)
    if factor < 1:
        image = resize_image(image, size)
        mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    image = pixel_range.show(image)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    edges, outlines = edge_strength(image), outline(mask)
    thumbnail = cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA)
    small = cv2.resize(grey, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return Sketch(
        pair=pair,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        bits=perceptual_hash(small),
        grey=unit_vector(small),
        colors=color_numbers(thumbnail),
        classes=cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_NEAREST_EXACT).ravel(),
        edges=unit_vector(cv2.resize(edges, (GRID, GRID), interpolation=cv2.INTER_AREA)),
        outlines=unit_vector(cv2.resize(outlines, (GRID, GRID), interpolation=cv2.INTER_AREA)),
        fit=fit_by_shift(edges, outlines),
        flipped=fit_of_flips(edges, outlines),
        factor=factor,
    )


def edge_strength(image: np.ndarray) -> np.ndarray:
    """Slope of brightness and colour, float32 (H, W), mean 0, standard deviation 1, without its largest values."""
    color = cv2.GaussianBlur(cv2.transform(image.astype(np.float32), RGB_TO_YIQ), (0, 0), 1.0)
    slope = sum(np.square(cv2.Sobel(color, cv2.CV_32F, *axis)).sum(-1) for axis in ((1, 0), (0, 1)))
    slope = np.sqrt(slope)
    slope = np.minimum(slope, slope.mean() + 3 * slope.std())
    return (slope - slope.mean()) / max(slope.std(), 1e-6)


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels beside another class, float32 (H, W) of 0 and 1; borders of void are none."""
    drawn = np.zeros(mask.shape, np.float32)
    for here, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        border = (mask[here] != mask[other]) & (mask[here] != VOID) & (mask[other] != VOID)
        drawn[here][border] = 1
        drawn[other][border] = 1
    return drawn


def fit_by_shift(edges: np.ndarray, outlines: np.ndarray) -> np.ndarray | None:
    """Mean edge strength along the outlines moved by −REACH…REACH pixels down and right."""
    total = outlines.sum()
    if min(edges.shape) < 4 * REACH or total < 20:
        return None
    correlation = np.fft.irfft2(np.fft.rfft2(edges) * np.conj(np.fft.rfft2(outlines)), edges.shape)
    around = np.arange(-REACH, REACH + 1)
    return correlation[np.ix_(around, around)].astype(np.float32) / total


def fit_of_flips(edges: np.ndarray, outlines: np.ndarray) -> np.ndarray | None:
    total = outlines.sum()
    if not total:
        return None
    turned = (outlines[::-1], outlines[:, ::-1], outlines[::-1, ::-1])
    return np.array([(edges * flipped).sum() / total for flipped in turned], np.float32)


def perceptual_hash(grey: np.ndarray) -> np.ndarray:
    """The signs of the 64 slowest waves of a thumbnail (pHash), bool (64,)."""
    waves = cv2.dct(grey)[:8, :8].ravel()
    return waves > np.median(waves)


def color_numbers(thumbnail: np.ndarray) -> np.ndarray:
    red, green, blue = (thumbnail[..., c].ravel().astype(int) * LEVELS // 256 for c in range(3))
    return (red * LEVELS + green) * LEVELS + blue


def unit_vector(array: np.ndarray) -> np.ndarray:
    flat = array.ravel() - array.mean()
    return flat / max(np.linalg.norm(flat), 1e-6)
