"""Distances of predicted contours from the true ones, class by class. Void is not judged; what is absent is NaN."""

import math
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from data_pipeline.distances import squared_distances_to_zero
from data_pipeline.encoding import VOID

from .confusion import ratio

REGION_WIDTH = 0.02  # of the image diagonal: the d of boundary IoU (Cheng et al. 2021)
TOLERANCE = 0.0075  # of the image diagonal: the θ of the BF score (Csurka et al. 2013)
PERCENTILE = 0.95  # of the contour's length: the rest may lie farther off than the robust Hausdorff distance

# A contour runs between pixels, through 2×2 neighbourhoods that hold both the class and something else. Its length in
# one of them, by the pixels that are the class: one or three are a corner cut off, two side by side an edge, two
# across two corners. The code's bits 8, 4, 2, 1 are the pixels in reading order.
LENGTHS = np.array([math.sqrt(0.5), 1.0, math.sqrt(2.0)])
CORNER, EDGE, ACROSS = 0, 1, 2
KINDS = np.full(16, CORNER)
KINDS[[0b1100, 0b0011, 0b1010, 0b0101]] = EDGE
KINDS[[0b1001, 0b0110]] = ACROSS


@dataclass(frozen=True)
class Boundaries:
    """Measures at the boundaries of one image, in arrays of C classes."""

    region: np.ndarray  # int64 (C, 2): intersection and union of the two boundary regions, in pixels
    # float64 (C, 4), in pixels: judged length of the true contour, of it within the tolerance of the predicted one;
    # judged length of the predicted contour, of it within the tolerance of the true one
    contour: np.ndarray
    hausdorff95: np.ndarray  # float64 (C,), in pixels; NaN where truth or prediction has no judged contour
    average: np.ndarray  # float64 (C,), in pixels, average symmetric surface distance; NaN likewise


@dataclass(frozen=True)
class Contour:
    """The elements of one class's contour, N of them."""

    places: np.ndarray  # int64 (N, 2): row and column of the neighbourhood's upper left pixel
    kinds: np.ndarray  # int64 (N,), of LENGTHS
    judged: np.ndarray  # bool (N,): whether the neighbourhood is free of void


def measure(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> Boundaries:
    """Boundary regions and contour distances of one image.

    The regions are those of boundary IoU: Cheng et al. 2021 (arXiv 2103.16562). Contours, their lengths and
    distances are those of Nikolov et al. 2018 (arXiv 1809.04430) as DeepMind's surface-distance computes them, with
    two differences: the image's frame is no contour, and elements that touch void have no length or distance of
    their own, though a judged element may be near to them.

    The average is the distance of both contours to each other over the length of both. A robust Hausdorff distance is
    the larger of the two directed ones. Distances are exact up to 800 pixels, and to a thousandth of a pixel
    beyond, as far as the float32 of OpenCV goes.

    Args:
        truth: uint8 (H, W), classes 0…C−1, void 255.
        prediction: uint8 (H, W), classes 0…C−1; under void it counts as the neighbour of what is judged, no more.

    Raises:
        ValueError: for masks of another type or shape, or a class out of range.
    """
    check_masks(truth, prediction, num_classes)
    reach = tolerance(truth.shape)
    touches_void = neighbourhoods(truth == VOID).any(0)
    true, predicted = (contours(labels, touches_void, num_classes) for labels in (truth, prediction))
    lengths, distances = zip(*(compare(*pair, reach) for pair in zip(true, predicted, strict=True)), strict=True)
    hausdorff95, average = np.array(distances).T
    return Boundaries(boundary_regions(truth, prediction, num_classes), np.array(lengths), hausdorff95, average)


def boundary_iou(region: np.ndarray) -> np.ndarray:
    """Intersection over union of boundary regions, float64 (…, C), 0 to 1; NaN where the union is 0.

    Args:
        region: (…, C, 2), ``Boundaries.region`` of an image or its sum over images.

    Raises:
        ValueError: for another shape.
    """
    region = last_axis(region, 2)
    return ratio(region[..., 0], region[..., 1])


def boundary_f1(contour: np.ndarray) -> np.ndarray:
    """Harmonic mean of the shares of both contours that lie within the tolerance, float64 (…, C), 0 to 1.

    NaN where neither truth nor prediction has a contour, 0 where one has. After Csurka et al. 2013 (BMVC), with
    lengths for their numbers of pixels, and of sums over images where they average over images.

    Args:
        contour: (…, C, 4), ``Boundaries.contour`` of an image or its sum over images.

    Raises:
        ValueError: for another shape.
    """
    true, recalled, predicted, right = np.moveaxis(last_axis(contour, 4), -1, 0)
    recall, precision = (np.nan_to_num(ratio(part, whole)) for part, whole in ((recalled, true), (right, predicted)))
    score = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
    return np.where(true + predicted > 0, score, np.nan)


def tolerance(size: tuple[int, int]) -> float:
    """Distance in pixels within which contours agree: 0.75% of the diagonal of an image (H, W), not rounded.

    At least 1 pixel, the smallest distance but 0 between two contours: less would ask for equal ones.
    """
    return max(1.0, TOLERANCE * math.hypot(*size))


def check_masks(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> None:
    """Raises ValueError unless both are uint8 (H, W) of classes 0…C−1, and void in the truth."""
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.dtype != np.uint8 or labels.ndim != 2 or not labels.size:
            raise ValueError(f"{name} is {labels.dtype} {labels.shape}, uint8 (H, W) wanted")
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    last = min(num_classes, VOID) - 1
    for name, labels in (("truth", truth[truth != VOID]), ("prediction", prediction)):
        if labels.size and labels.max() > last:
            raise ValueError(f"{name} holds {labels.max()}, 0…{last} wanted")


def boundary_regions(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Intersection and union of each class's boundary regions without void, int64 (C, 2)."""
    true, predicted = boundary_band(truth) & (truth != VOID), boundary_band(prediction) & (truth != VOID)
    both = true & predicted & (truth == prediction)
    in_truth, in_prediction, shared = (
        np.bincount(labels, minlength=num_classes) for labels in (truth[true], prediction[predicted], truth[both])
    )
    return np.stack([shared, in_truth + in_prediction - shared], axis=1)


def boundary_band(labels: np.ndarray) -> np.ndarray:
    """Pixels within the width of boundary IoU of another label or of the frame, bool (H, W).

    A mask eroded d times by 3×3 keeps the pixels around which all is the class: those where the least and the
    greatest label nearby agree. So two passes serve every class.
    """
    width = max(1, round(REGION_WIDTH * math.hypot(*labels.shape)))
    beyond = cv2.copyMakeBorder(labels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=VOID)  # 0 would be a class
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return (cv2.erode(beyond, square) != cv2.dilate(beyond, square))[1:-1, 1:-1]


def contours(labels: np.ndarray, touches_void: np.ndarray, num_classes: int) -> list[Contour]:
    """The contour of each class in a label map (H, W); touches_void: bool (H−1, W−1)."""
    corners = neighbourhoods(labels)
    places = np.argwhere((corners[1:] != corners[0]).any(0))  # (M, 2)
    on_contour, classes, kinds = elements(corners[:, *places.T])
    order = np.argsort(classes, kind="stable")
    parts = [order[start:end] for start, end in pairwise(np.searchsorted(classes[order], np.arange(num_classes + 1)))]
    places = places[on_contour]
    judged = ~touches_void[*places.T]
    return [Contour(places[part], kinds[part], judged[part]) for part in parts]


def elements(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One element for every label of every neighbourhood: the neighbourhood's number, the label, the kind.

    Args:
        corners: (4, M), pixels of M neighbourhoods in reading order.
    """
    parts_of_contour = []
    for i in range(4):
        same = corners == corners[i]
        first = np.flatnonzero(~same[:i].any(0))  # a label that two pixels share has one element
        codes = np.packbits(same[:, first], axis=0)[0] >> 4
        parts_of_contour.append((first, corners[i, first], KINDS[codes]))
    return tuple(np.concatenate(parts) for parts in zip(*parts_of_contour, strict=True))


def neighbourhoods(array: np.ndarray) -> np.ndarray:
    """The pixels of each 2×2 neighbourhood in reading order, (4, H−1, W−1)."""
    return np.stack([array[:-1, :-1], array[:-1, 1:], array[1:, :-1], array[1:, 1:]])


def compare(true: Contour, predicted: Contour, reach: float) -> tuple[list[float], tuple[float, float]]:
    """A class's row of ``Boundaries.contour``, and its two distances."""
    there, back = directed(true, predicted), directed(predicted, true)
    lengths = [total for distances, parts in (there, back) for total in (parts.sum(), parts[distances <= reach].sum())]
    if not true.judged.any() or not predicted.judged.any():
        return lengths, (np.nan, np.nan)
    way = sum((distances * parts).sum() for distances, parts in (there, back))
    return lengths, (max(percentile(*there), percentile(*back)), way / (lengths[0] + lengths[2]))


def directed(start: Contour, end: Contour) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the judged elements of one contour to the other, ascending, and their lengths."""
    places, kinds = start.places[start.judged], start.kinds[start.judged]
    if not len(places) or not len(end.places):
        return np.full(len(places), np.inf), LENGTHS[kinds]
    # Squared distances are whole numbers, so one integer holds distance and kind, and sorts fast.
    keys = np.sort(4 * squared_distances(places, end.places) + kinds)
    return np.sqrt(keys >> 2), LENGTHS[keys & 3]


def squared_distances(places: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """From each place to the nearest target, int64 (N,); places, targets: int (…, 2)."""
    first = np.minimum(places.min(0), targets.min(0))
    size = np.maximum(places.max(0), targets.max(0)) - first + 1
    free = np.ones(size, np.uint8)
    free[tuple((targets - first).T)] = 0
    return squared_distances_to_zero(free)[tuple((places - first).T)].astype(np.int64)


def percentile(distances: np.ndarray, lengths: np.ndarray) -> float:
    """The distance that PERCENTILE of a contour's length keeps; distances ascending."""
    reached = np.cumsum(lengths) / lengths.sum()
    return distances[min(np.searchsorted(reached, PERCENTILE), len(distances) - 1)]


def last_axis(array: np.ndarray, length: int) -> np.ndarray:
    array = np.asarray(array, float)
    if array.ndim < 2 or array.shape[-1] != length:
        raise ValueError(f"an array of shape {array.shape} came, (…, C, {length}) wanted")
    return array
