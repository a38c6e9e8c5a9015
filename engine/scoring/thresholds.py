"""Two classes at every threshold: precision, recall and IoU of the second class, and the average precision."""

import numpy as np

from data_pipeline.encoding import VOID

from .confusion import ratio

STEPS = 100  # thresholds 0, 0.01, …, 1
BINS = STEPS + 1


def threshold_counts(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Labelled pixels by true class and probability of the second class, int64 (2, BINS).

    Bin b holds the probabilities above (b − 1) / STEPS up to b / STEPS, so that what lies above a threshold k / STEPS
    is exactly the sum of the bins beyond k.

    Args:
        probabilities: floats (H, W, 2), or (N, 2).
        truth: integers (H, W), or (N,): 0, 1, void 255.
    """
    counted = truth != VOID
    first, second = (probabilities[counted][:, c].astype(float) for c in range(2))
    place = np.ceil(STEPS * second / np.maximum(first + second, np.finfo(float).tiny)).astype(int)
    cells = np.bincount(truth[counted].astype(int) * BINS + place.clip(0, STEPS), minlength=2 * BINS)
    return cells.reshape(2, BINS)


def threshold_curve(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the second class where all above a threshold is taken for it: float64 (BINS,) each, NaN if undefined.

    Args:
        counts: int (2, BINS), what ``threshold_counts`` gives for an image or its sum over images.
    """
    above = counts.sum(-1, keepdims=True) - counts.cumsum(-1)  # (2, BINS): pixels beyond each threshold
    false, true = above
    positives = counts[1].sum()
    return {
        "threshold": np.arange(BINS) / STEPS,
        "precision": ratio(true, true + false),
        "recall": ratio(true, np.full(BINS, positives)),
        "iou": ratio(true, positives + false),
    }


def average_precision(counts: np.ndarray) -> float:
    """Mean precision over the recall, Σ (Rₖ − Rₖ₋₁) Pₖ as scikit-learn has it; NaN if the second class never occurs."""
    curve = threshold_curve(counts)
    precision, recall = curve["precision"][::-1], curve["recall"][::-1]
    share = ratio(counts[1].sum(), counts.sum())  # all is taken for the second class
    precision, recall = np.append(precision, share), np.append(recall, 1)
    return float(np.nansum(np.diff(recall, prepend=0) * precision)) if counts[1].sum() else float("nan")
