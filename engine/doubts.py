"""Where a network is sure and the label says otherwise: suspected label errors; and which images it is unsure of."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_pipeline.encoding import VOID

from .objects import connect

MOST_MARGIN = 4.0  # nats that count of a pixel's margin: beyond, networks are overconfident
LEAST_PROBABILITY = 1e-6  # so that logarithms are finite
RIM = 0.01  # of the image diagonal: half the width of disagreement that is a mere contour's


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
    confidence: float  # mean probability of the network's own classes there, 0 to 1
    score: float  # for ranking over images: the higher, the rather is the label wrong


def doubts(stem: str, probabilities: np.ndarray, truth: np.ndarray, most: int = 5) -> list[Doubt]:
    """The regions of an image whose label is suspected, the worst first.

    Args:
        stem: of the image.
        probabilities: float32 (H, W, C), sums of 1.
        truth: the labels, uint8 (H, W), classes 0…C−1, void 255.
        most: how many regions at most.

    Raises:
        ValueError: for other shapes or types, or a class out of range.
    """
    check(probabilities, truth)
    prediction = probabilities.argmax(-1)
    confidence = probabilities.max(-1)
    judged = truth != VOID
    label = np.where(judged, truth, 0).astype(np.int64)
    given = np.take_along_axis(probabilities, label[..., None], -1)[..., 0]
    margin = np.log(np.maximum(confidence, LEAST_PROBABILITY) / np.maximum(given, LEAST_PROBABILITY))
    margin = np.minimum(margin, MOST_MARGIN)
    apart = judged & (prediction != truth)
    depth = cv2.distanceTransform(apart.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rim = max(1.0, RIM * float(np.hypot(*truth.shape)))
    numbers, classes = connect(np.where(apart, truth, np.uint8(VOID)))
    weight = margin * np.maximum(depth - rim, 0)
    flat = numbers.ravel()
    pixels = np.bincount(flat, minlength=len(classes))
    scores = np.bincount(flat, weight.ravel(), len(classes)) / truth.size / np.hypot(*truth.shape)
    scores[0] = 0
    sure = np.bincount(flat, confidence.ravel(), len(classes))
    found = []
    for number in np.argsort(-scores, kind="stable")[:most]:
        if scores[number] <= 0:
            break
        rows, columns = np.nonzero(numbers == number)
        there = np.bincount(prediction[rows, columns])
        found.append(
            Doubt(
                stem=stem,
                top=int(rows.min()),
                left=int(columns.min()),
                bottom=int(rows.max()) + 1,
                right=int(columns.max()) + 1,
                truth=int(classes[number]),
                prediction=int(there.argmax()),
                pixels=int(pixels[number]),
                confidence=float(sure[number] / pixels[number]),
                score=float(scores[number]),
            )
        )
    return found


def rank(found: list[Doubt]) -> list[Doubt]:
    """Doubts of many images, best suspects first."""
    return sorted(found, key=lambda one: (-one.score, one.stem, one.top, one.left))


def uncertainty(probabilities: np.ndarray) -> float:
    """How unsure a network is of an image, 0 (sure) to 1: mean of the pixels' normalised entropy.

    Args:
        probabilities: float32 (H, W, C), sums of 1.
    """
    known = np.maximum(probabilities, LEAST_PROBABILITY)
    entropy = -(known * np.log(known)).sum(-1)
    return float(np.clip(entropy.mean() / np.log(probabilities.shape[-1]), 0, 1))


def check(probabilities: np.ndarray, truth: np.ndarray) -> None:
    if probabilities.ndim != 3 or truth.shape != probabilities.shape[:2] or truth.dtype != np.uint8:
        raise ValueError(
            f"probabilities are {probabilities.dtype} {probabilities.shape} and truth is {truth.dtype} {truth.shape}; "
            "float32 (H, W, C) and uint8 (H, W) wanted"
        )
