"""Suspected label errors, where a network is sure and the label disagrees; and the images that it is unsure of."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from data_pipeline.distances import distances_to_zero
from data_pipeline.encoding import VOID

from .boundaries import tolerance
from .confusion import mean_of_known, ratio
from .objects import connect

# Probabilities below are noise of the last layer, and their logarithms would drown all others.
LEAST_PROBABILITY = 1e-4
CORE = 0.5  # of a region's greatest depth: pixels as deep are its core, where contours do not matter
# How plainly the network disagrees counts most, size and habit less. The powers were chosen on errors planted by
# benchmarks/label_errors.py, where 0.25 to 0.5 did about equally well.
SIZE_POWER = 1 / 3
HABIT_POWER = 1 / 4


@dataclass(frozen=True)
class Doubt:
    """A region where the network is sure and the label disagrees."""

    stem: str
    top: int  # in pixels; the box is half-open
    left: int
    bottom: int
    right: int
    truth: int  # class of the label
    prediction: int  # class that the network gives to most of the region
    pixels: int
    confidence: float  # mean probability that the network gives its own class there, 0 to 1
    score: float  # of the region by itself, at least 0: the higher, the rather is the label wrong


def doubts(stem: str, probabilities: np.ndarray, truth: np.ndarray, most: int = 5) -> list[Doubt]:
    """The regions of an image whose label is suspected, the worst first.

    A region is connected, has one label, and the network gives other classes to it. Where it is no wider than twice
    the tolerance of a contour (boundaries.py) it is left out: there labels and networks always differ, and so a wrong
    label that thin is not found. The score is the mean of log p(network's class) − log p(label) over the region's
    core, times the cube root of the region's share of the image.

    Like Confident Learning (Northcutt et al. 2021, arXiv 1911.00068) this trusts a network that has not seen the
    label; on training images it has learnt the errors too.

    Args:
        stem: of the image.
        probabilities: floats (H, W, C), C ≥ 2, 0 to 1, sums of 1 over the classes.
        truth: the label, uint8 (H, W), classes 0…C−1, void 255.
        most: how many regions at most.

    Raises:
        ValueError: for another type or shape, or a class out of range.
    """
    check(probabilities, truth)
    judged = truth != VOID
    prediction, confidence = probabilities.argmax(-1), probabilities.max(-1)
    wrong = opened(judged & (prediction != truth), tolerance(truth.shape))
    numbers, classes = connect(np.where(wrong, truth, np.uint8(VOID)))
    rows, columns = np.nonzero(wrong)
    owner, sure = numbers[rows, columns], confidence[rows, columns]
    given = probabilities[rows, columns, truth[rows, columns]]
    margin = np.log(sure) - np.log(np.maximum(given, LEAST_PROBABILITY))
    core = in_core(depths(wrong)[rows, columns], owner, len(classes))
    pixels = np.bincount(owner, minlength=len(classes))
    plainness = ratio(np.bincount(owner, margin * core, len(classes)), np.bincount(owner, core, len(classes)))
    scores = plainness * (pixels / truth.size) ** SIZE_POWER
    doubted = []
    for number in 1 + np.argsort(-scores[1:], kind="stable")[:most]:  # number 0 is what is not in doubt
        own = owner == number
        there = rows[own], columns[own]
        doubted.append(
            Doubt(
                stem=stem,
                top=int(there[0].min()),
                left=int(there[1].min()),
                bottom=int(there[0].max()) + 1,
                right=int(there[1].max()) + 1,
                truth=int(classes[number]),
                prediction=int(np.bincount(prediction[there]).argmax()),
                pixels=int(pixels[number]),
                confidence=float(sure[own].mean(dtype=float)),
                score=float(scores[number]),
            )
        )
    return doubted


def rank(doubted: list[Doubt]) -> list[Doubt]:
    """Doubts of many images, the likeliest label errors first.

    What a network mistakes in image after image is its own habit: a doubt's score is divided by the fourth root of
    the number of images in which the same class is taken for the same other one. Errors that a labeller makes in
    image after image sink by this too.
    """
    images = defaultdict(set)
    for doubt in doubted:
        images[doubt.truth, doubt.prediction].add(doubt.stem)

    def order(doubt: Doubt) -> tuple:
        habit = len(images[doubt.truth, doubt.prediction]) ** HABIT_POWER
        return -doubt.score / habit, doubt.stem, doubt.top, doubt.left, doubt.truth

    return sorted(doubted, key=order)


def uncertainty(probabilities: np.ndarray) -> float:
    """Return how wrong a network expects to be in an image, without any label: 0 (sure) to 1.

    1 − mIoU as it would be if the probabilities were honest: for each class that is predicted, the expected
    intersection over the expected union.

    Args:
        probabilities: floats (H, W, C), C ≥ 2, 0 to 1, sums of 1 over the classes.

    Raises:
        ValueError: for another shape.
    """
    check_probabilities(probabilities)
    num_classes = probabilities.shape[-1]
    return uncertainty_of_sums(sums_of_classes(probabilities.reshape(-1, num_classes)))


def sums_of_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return what ``uncertainty`` is made of, float64 (3, C), which may be added up over parts of an image.

    Args:
        probabilities: floats (N, C) of pixels.

    Returns:
        For each class: pixels that are predicted so; the sum of its probability over these; that over all pixels.
    """
    num_classes = probabilities.shape[-1]
    prediction = probabilities.argmax(-1)
    predicted = np.bincount(prediction, minlength=num_classes)
    right = np.bincount(prediction, probabilities.max(-1), num_classes)
    return np.stack([predicted, right, probabilities.sum(0, dtype=float)])


def uncertainty_of_sums(sums: np.ndarray) -> float:
    """The uncertainty of an image, 0 to 1, of its ``sums_of_classes``; 0 where it has no pixel."""
    predicted, right, expected = sums
    if not predicted.any():
        return 0.0
    overlap = np.where(predicted > 0, ratio(right, predicted + expected - right), np.nan)
    return float(np.clip(1 - mean_of_known(overlap), 0, 1))


def check(probabilities: np.ndarray, truth: np.ndarray) -> None:
    check_probabilities(probabilities)
    if truth.dtype != np.uint8 or truth.shape != probabilities.shape[:2]:
        raise ValueError(f"truth is {truth.dtype} {truth.shape}, uint8 {probabilities.shape[:2]} wanted")
    largest = truth[truth != VOID].max(initial=0)
    if largest >= probabilities.shape[-1]:
        raise ValueError(f"truth holds class {largest}, 0…{probabilities.shape[-1] - 1} wanted")


def check_probabilities(probabilities: np.ndarray) -> None:
    if probabilities.ndim != 3 or probabilities.shape[-1] < 2 or not probabilities.size:
        raise ValueError(f"probabilities have shape {probabilities.shape}, (H, W, C) of two classes or more wanted")


def depths(there: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a region, bool (H, W), to the nearest pixel outside; the frame is no outline."""
    return distances_to_zero(there.view(np.uint8))


def opened(there: np.ndarray, radius: float) -> np.ndarray:
    """Return what discs of this radius reach inside a region, bool (H, W): without rims and bridges that are
    thinner."""
    return there & (depths(depths(there) <= radius) <= radius)


def in_core(depth: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Return whether pixels (N,) are in the core of their region 0…count−1."""
    deepest = np.zeros(count, depth.dtype)
    np.maximum.at(deepest, owner, depth)
    return depth >= CORE * deepest[owner]
