"""Scores that count objects: connected regions of a class, matched one to one. Void is not judged."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_pipeline.distances import squared_distances_to_zero
from data_pipeline.encoding import VOID

from .boundaries import check_masks
from .confusion import ratio

# Two summits of the distance to the outline are two objects where the pass between them is narrower than NECK of the
# lower one, and lower by BUMP pixels at least. A share, so that large objects may have a rougher outline; in pixels,
# because the outline of small ones is rough by the pixels themselves.
NECK = 0.75
BUMP = 1.0
# Pairs of neighbours, right, below, and along both diagonals: all that 8-neighbourhoods link.
NEIGHBOURS = (
    (np.s_[:, :-1], np.s_[:, 1:]),
    (np.s_[:-1, :], np.s_[1:, :]),
    (np.s_[:-1, :-1], np.s_[1:, 1:]),
    (np.s_[:-1, 1:], np.s_[1:, :-1]),
)


SIZES = 32  # classes of size: from 1, 2, 4, … pixels on


@dataclass(frozen=True)
class Matching:
    """The objects of an image: of each its class; of each true one its size and whether it was found."""

    matched: np.ndarray  # int (M,): classes of the true objects that were found
    true: np.ndarray  # int (T,)
    predicted: np.ndarray  # int (P,)
    sizes: np.ndarray  # int (T,), pixels of the true objects
    found: np.ndarray  # bool (T,)


def match_objects(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int, split_touching: bool = False
) -> Matching:
    """Find the objects of truth and prediction, and which are the same.

    An object is a connected region of a class (8 neighbours), however small: a speck that a model leaves is an object
    too many for whoever counts. Two objects of a class match where their IoU exceeds 0.5, which none has with two
    others. Void does not count in the IoU, and an unmatched predicted object is left out if more than half of it is
    void (Kirillov et al. 2019, Panoptic Segmentation, arXiv 1801.00868, section 4).

    Args:
        truth: uint8 (H, W), classes 0…C−1, void 255.
        prediction: uint8 (H, W), classes 0…C−1.
        num_classes: C.
        split_touching: divide regions at their necks first, see ``divide``.

    Raises:
        ValueError: for masks of another type or shape, or a class out of range.
    """
    check_masks(truth, prediction, num_classes)
    true, true_classes = find_objects(truth, split_touching)
    predicted, predicted_classes = find_objects(prediction, split_touching)
    judged = truth != VOID
    size = np.bincount(predicted.ravel(), minlength=len(predicted_classes))
    judged_size = np.bincount(predicted[judged], minlength=len(predicted_classes))
    pairs = match(true, predicted, judged & (truth == prediction), judged_size)
    kept = 2 * judged_size >= size
    kept[0], kept[pairs[:, 1]] = False, True  # number 0 is void
    found = np.zeros(len(true_classes), bool)
    found[pairs[:, 0]] = True
    sizes = np.bincount(true.ravel(), minlength=len(true_classes))
    return Matching(true_classes[pairs[:, 0]], true_classes[1:], predicted_classes[kept], sizes[1:], found[1:])


def count_objects(objects: Matching, num_classes: int) -> np.ndarray:
    """Objects of each class, int64 (C, 3): matched, true, predicted."""
    kinds = (objects.matched, objects.true, objects.predicted)
    return np.stack([np.bincount(labels, minlength=num_classes) for labels in kinds], axis=1)


def count_by_size(objects: Matching, num_classes: int) -> np.ndarray:
    """True objects of each class by size, int64 (C, SIZES, 2): all, and those found.

    Size class i holds the objects of 2^i to 2^(i+1) − 1 pixels.
    """
    counts = np.zeros((num_classes, SIZES, 2), np.int64)
    place = (objects.true, np.log2(objects.sizes).astype(int))
    np.add.at(counts[..., 0], place, 1)
    np.add.at(counts[..., 1], place, objects.found)
    return counts


def object_f1(counts: np.ndarray) -> np.ndarray:
    """2·matched / (true + predicted) objects, float64 (…, C), 0 to 1; NaN where there is neither.

    Args:
        counts: (…, C, 3), what ``count_objects`` gives for an image or its sum over images.

    Raises:
        ValueError: for another shape.
    """
    counts = np.asarray(counts, float)
    if counts.ndim < 2 or counts.shape[-1] != 3:
        raise ValueError(f"counts have shape {counts.shape}, (…, C, 3) wanted")
    return ratio(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def find_objects(labels: np.ndarray, split_touching: bool) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the objects, int32 (H, W), and the class of each number; number 0 is void, of class VOID."""
    return divide(labels) if split_touching else connect(labels)


def connect(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    objects, classes = np.zeros(labels.shape, np.int32), [VOID]
    for label in present_classes(labels):
        count, numbers = cv2.connectedComponents((labels == label).view(np.uint8), connectivity=8)
        np.copyto(objects, numbers + (len(classes) - 1), where=numbers > 0)
        classes += [label] * (count - 1)
    return objects, np.array(classes)


def present_classes(labels: np.ndarray) -> list[int]:
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)
    return np.flatnonzero(counts[:VOID]).tolist()


def match(true: np.ndarray, predicted: np.ndarray, agreed: np.ndarray, judged_size: np.ndarray) -> np.ndarray:
    """Pairs of a true and a predicted object with IoU > 0.5, int64 (M, 2); agreed: where both are one class."""
    codes, shared = np.unique(true[agreed].astype(np.int64) * len(judged_size) + predicted[agreed], return_counts=True)
    pairs = np.stack(np.divmod(codes, len(judged_size)), axis=1)
    true_size = np.bincount(true.ravel())
    return pairs[3 * shared > true_size[pairs[:, 0]] + judged_size[pairs[:, 1]]]


def divide(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Objects divided where they touch: a watershed of the distance to the outline, as ``connect`` returns them.

    Every pixel climbs to its highest neighbour until it stands on a summit. Two summits remain two objects by the
    height of the highest pass between them: the rule of h-maxima, with an h that grows with the object (NECK and
    BUMP). The frame is no outline: objects go on beyond it. Made for things that are about round, as cells and fruit
    are: long thin ones of rough outline may be cut, a background is at will.
    """
    heights = heights_within(labels)
    numbers, tops = climb(labels, heights)
    parents = join(np.sqrt(heights.ravel()[tops]), *find_passes(labels, heights, numbers))
    roots, owner = np.unique(parents, return_inverse=True)
    classes = labels.ravel()[tops[roots]]
    objects = np.cumsum(classes != VOID) * (classes != VOID)
    return objects.astype(np.int32)[owner][numbers], np.concatenate([[VOID], classes[classes != VOID]])


def heights_within(labels: np.ndarray) -> np.ndarray:
    """Squared distance of each pixel to the nearest of another label, int64 (H, W); 0 in void."""
    heights = np.zeros(labels.shape, np.int64)
    for label in present_classes(labels):
        inside = (labels == label).view(np.uint8)
        x, y, width, height = cv2.boundingRect(inside)
        box = np.s_[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1]
        inside = inside[box]
        if inside.all():
            continue  # the class is all there is: no distance to anything
        np.copyto(heights[box], squared_distances_to_zero(inside).astype(np.int64), where=inside > 0)
    return heights


def climb(labels: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the summit above each pixel, int64 (H, W), and where the summits are in the flattened image.

    Of equally high pixels the later one is higher, so plateaus need no rule of their own: what this cuts apart has
    no pass below it, and is joined again. A pixel of void is a summit by itself.
    """
    keys = heights * labels.size + np.arange(labels.size).reshape(labels.shape)
    best = keys.copy()
    for here, other in NEIGHBOURS:
        same = alike(labels, here, other)
        np.maximum(best[here], keys[other], out=best[here], where=same)
        np.maximum(best[other], keys[here], out=best[other], where=same)
    summits, higher = None, (best % labels.size).ravel()
    while not np.array_equal(summits, higher):
        summits, higher = higher, higher[higher]
    is_top = summits == np.arange(labels.size)
    return (np.cumsum(is_top) - 1)[summits].reshape(labels.shape), np.flatnonzero(is_top)


def alike(labels: np.ndarray, here: tuple, other: tuple) -> np.ndarray:
    return (labels[here] == labels[other]) & (labels[here] != VOID)


def find_passes(labels: np.ndarray, heights: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the passes between the areas of two summits: their numbers, int64 (P, 2), and the height in pixels,
    falling."""
    ends, passes = [], []
    for here, other in NEIGHBOURS:
        meet = alike(labels, here, other) & (numbers[here] != numbers[other])
        ends.append(np.sort(np.stack([numbers[here][meet], numbers[other][meet]], axis=1), axis=1))
        passes.append(np.minimum(heights[here][meet], heights[other][meet]))
    ends, passes = np.concatenate(ends), np.concatenate(passes)
    order = np.lexsort((-passes, ends[:, 1], ends[:, 0]))
    ends, passes = ends[order], passes[order]
    highest = np.ones(len(ends), bool)  # the pass between two summits is the highest place where they meet
    highest[1:] = (ends[1:] != ends[:-1]).any(1)
    order = np.argsort(-passes[highest], kind="stable")
    return ends[highest][order], np.sqrt(passes[highest][order])


def join(tops: np.ndarray, ends: np.ndarray, passes: np.ndarray) -> np.ndarray:
    """The summit to whose object each summit belongs, int64 (N,); tops: heights of the summits in pixels."""
    parents, heights = list(range(len(tops))), tops.tolist()
    for (first, other), height in zip(ends.tolist(), passes.tolist(), strict=True):
        first, other = root(parents, first), root(parents, other)
        lower, higher = (first, other) if heights[first] < heights[other] else (other, first)
        if height >= NECK * heights[lower] or heights[lower] - height < BUMP:
            parents[lower] = higher
    return np.array([root(parents, i) for i in range(len(parents))])


def root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i
