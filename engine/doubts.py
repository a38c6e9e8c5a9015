"""Where a network is sure and the label says otherwise: suspected label errors; and which images it is unsure of."""

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np

from data_pipeline.encoding import VOID

RIM = 0.01  # of the image's longer side: disagreement narrower than twice this is an outline drawn otherwise
LEAST_PROBABILITY = 1e-3  # of the label's class that counts: below, networks are overconfident


@dataclass(frozen=True)
class Doubt:
    """A region where the network is sure and the label disagrees."""

    stem: str
    top: int  # in pixels; the box is half-open
    left: int
    bottom: int
    right: int
    truth: int  # class of the label
    prediction: int  # class of the network
    pixels: int
    confidence: float  # mean probability of the network's class there, 0 to 1
    score: float  # see ``doubts``; 0 or more


def doubts(stem: str, probabilities: np.ndarray, truth: np.ndarray, most: int = 5) -> list[Doubt]:
    """The regions of an image whose label is suspected, the worst first.

    A region is connected, of one class in the label and of another in the prediction, and without parts that are
    as narrow as a rim. Its score is the mean −log probability that the network gives the label's class there (the
    label's cross-entropy) times the square root of its share of the image, which is its breadth.

    Args:
        stem: of the image.
        probabilities: float32 (H, W, C), sums of 1.
        truth: the labels, uint8 (H, W), classes 0…C−1, void 255.
        most: how many regions at most.

    Raises:
        ValueError: for other shapes or types, or a class out of range.
    """
    check(probabilities, truth)
    num_classes = probabilities.shape[-1]
    prediction = probabilities.argmax(-1).astype(np.uint8)
    judged = truth != VOID
    label = np.where(judged, truth, 0)
    given = np.take_along_axis(probabilities, label[..., None].astype(np.intp), -1)[..., 0]
    apart = without_rims(judged & (prediction != truth))
    numbers, count = connect_alike(np.where(apart, label.astype(np.int32) * num_classes + prediction, -1))
    pixels = np.bincount(numbers.ravel(), minlength=count + 1)
    surprise = -np.log(np.maximum(given, LEAST_PROBABILITY))
    scores = np.bincount(numbers.ravel(), surprise.ravel(), count + 1) / np.sqrt(np.maximum(pixels, 1) * truth.size)
    worst = 1 + np.argsort(-scores[1:], kind="stable")[:most]
    return [describe(stem, numbers == i, probabilities, truth, prediction, float(scores[i])) for i in worst.tolist()]


def without_rims(apart: np.ndarray) -> np.ndarray:
    reach = max(1, round(RIM * max(apart.shape)))
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.morphologyEx(apart.view(np.uint8), cv2.MORPH_OPEN, square).astype(bool)


def connect_alike(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Regions of equal code, numbered from 1, int32 (H, W), and how many; 0 is where the code is negative."""
    numbers, count = np.zeros(codes.shape, np.int32), 0
    for code in np.flatnonzero(np.bincount(codes[codes >= 0])).tolist():
        found, parts = cv2.connectedComponents((codes == code).view(np.uint8), connectivity=4)
        np.copyto(numbers, parts + count, where=parts > 0)
        count += found - 1
    return numbers, count


def describe(stem, inside, probabilities, truth, prediction, score) -> Doubt:
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    box = np.s_[top : top + height, left : left + width]
    inside = inside[box]
    return Doubt(
        stem=stem,
        top=top,
        left=left,
        bottom=top + height,
        right=left + width,
        truth=int(truth[box][inside][0]),
        prediction=int(prediction[box][inside][0]),
        pixels=int(inside.sum()),
        confidence=float(probabilities[box][inside].max(-1).mean()),
        score=score,
    )


def rank(found: list[Doubt]) -> list[Doubt]:
    """Doubts of many images, best suspects first.

    By the score over the root of what all doubts of the same two classes score together: a class that the network
    confuses with another everywhere is its own weakness, not that of the labels. Label errors are told from a
    classifier's weak classes by thresholds of each class in Northcutt et al. 2021 (Confident Learning, JAIR 70,
    section 3.1), to the same end.
    """
    total = defaultdict(float)
    for one in found:
        total[one.truth, one.prediction] += one.score

    def weight(one: Doubt) -> float:
        return one.score / np.sqrt(total[one.truth, one.prediction]) if one.score else 0.0

    return sorted(found, key=lambda one: (-weight(one), one.stem, one.top, one.left, one.truth, one.prediction))


def uncertainty(probabilities: np.ndarray) -> float:
    """How unsure a network is of an image, 0 (sure) to 1, without any label.

    1 − the IoU that the network expects of its own prediction, were its probabilities right: the mean over the
    classes that it predicts. So a small object that it is unsure of counts as much as a wide background.

    Args:
        probabilities: float32 (H, W, C), sums of 1.

    Raises:
        ValueError: for another shape.
    """
    if probabilities.ndim != 3:
        raise ValueError(f"probabilities have shape {probabilities.shape}, (H, W, C) wanted")
    num_classes = probabilities.shape[-1]
    prediction = probabilities.argmax(-1).ravel()
    hits = np.bincount(prediction, probabilities.max(-1).ravel(), num_classes)
    predicted = np.bincount(prediction, minlength=num_classes)
    union = predicted + probabilities.sum((0, 1), dtype=np.float64) - hits
    occurs = predicted > 0
    return float(np.clip(1 - (hits[occurs] / union[occurs]).mean(), 0, 1))


def check(probabilities: np.ndarray, truth: np.ndarray) -> None:
    if probabilities.ndim != 3 or truth.shape != probabilities.shape[:2] or truth.dtype != np.uint8:
        raise ValueError(
            f"probabilities are {probabilities.dtype} {probabilities.shape} and truth is {truth.dtype} {truth.shape}; "
            "float32 (H, W, C) and uint8 (H, W) wanted"
        )
    highest = truth[truth != VOID].max(initial=0)
    if highest >= probabilities.shape[-1]:
        raise ValueError(f"truth holds class {highest}, 0…{probabilities.shape[-1] - 1} or void {VOID} wanted")
