"""Calibration: is a network right as often as it says? Reliability curve and expected calibration error.

Guo et al. 2017 (arXiv 1706.04599), sections 2 and 3; every labelled pixel is one decision.
"""

import numpy as np

from data_pipeline.encoding import VOID

from .confusion import ratio

BINS = 15  # as in the paper


def calibration_counts(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Labelled pixels by the probability of the class that is predicted, float64 (BINS, 3).

    Columns: pixels, sum of their probabilities, how many of them are right. Sums over images pool them.

    Args:
        probabilities: float32 (H, W, C).
        truth: uint8 (H, W), void 255.
    """
    counted = truth != VOID
    return decision_counts(probabilities[counted], truth[counted])


def decision_counts(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same of decisions one by one: float32 (N, C), int (N,)."""
    confidence = probabilities.max(-1).astype(float)
    right = probabilities.argmax(-1) == truth
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    columns = (None, confidence, right.astype(float))
    return np.stack([np.bincount(place, weights, BINS) for weights in columns], axis=-1)


def expected_calibration_error(counts: np.ndarray) -> float:
    """Mean distance of probability and share of right pixels, weighted by pixels: 0 (honest) to 1; NaN without any."""
    return float(ratio(np.abs(counts[:, 1] - counts[:, 2]).sum(), counts[:, 0].sum()))


def reliability(counts: np.ndarray) -> list[dict]:
    """The curve: for each bin that holds pixels its mean probability, share of right pixels and share of all pixels."""
    used = counts[counts[:, 0] > 0]
    return [
        {
            "confidence": float(total / pixels),
            "accuracy": float(right / pixels),
            "share": float(pixels / used[:, 0].sum()),
        }
        for pixels, total, right in used
    ]
