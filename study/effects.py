"""Differences of plain scores over the seeds, in words that need no glossary, and how many labels a mask is worth."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from .verdicts import LEVEL, SMALLEST

YES, NO, UNSETTLED = "yes", "no", "not settled"
AT_LEAST, AT_MOST = "at least ", "at most "
GRID = 200  # numbers of labels that are tried between the fewest and the most


@dataclass(frozen=True)
class Effect:
    """A mean over seeds with its 95% interval; alike: how many seeds have its sign."""

    value: float
    low: float
    high: float
    alike: int
    seeds: int

    @property
    def word(self) -> str:
        """Say whether an effect that matters is there: sure and large enough, surely smaller, or neither."""
        if self.low > 0 and self.value >= SMALLEST:
            return YES
        return NO if self.high < SMALLEST else UNSETTLED


def effect(each: np.ndarray, overlap: float = 0.0) -> Effect:
    """The effect whose value each seed gives.

    Args:
        each: float (seeds,), two at least.
        overlap: test images over training images, where the seeds split the same images (see ``verdicts.Contrast``).
    """
    n, value = len(each), float(each.mean())
    reach = float(stdtrit(n - 1, 1 - LEVEL / 2) * each.std(ddof=1) * np.sqrt(1 / n + overlap))
    return Effect(value, value - reach, value + reach, int((np.sign(each) == np.sign(value)).sum()), n)


@dataclass(frozen=True)
class Worth:
    """The number of labels that reach what one mask reaches.

    bound: "at least " or "at most " where the curve of the labels does not reach that far; low, high: 95%, None for
    one seed; low_bound, high_bound: likewise.
    """

    value: float
    bound: str = ""
    low: float | None = None
    high: float | None = None
    low_bound: str = ""
    high_bound: str = ""


def worth(masks: np.ndarray, labels: dict[int, np.ndarray], count: int, overlap: float = 0.0) -> Worth | None:
    """N_labels / N_masks at the same score, with all those numbers that the seeds do not rule out (Fieller 1954).

    Args:
        masks: float (seeds,), the scores with ``count`` masks.
        labels: numbers of labels → float (seeds,), the scores with so many.
        overlap: as in ``effect``.

    Returns:
        The number that is read off the labels' mean curve, made to rise, straight between its points over the
        logarithm of their number; None for a curve of one point.
    """
    counts = sorted(labels)
    if len(counts) < 2:
        return None
    logs, curve = np.log(counts), np.stack([labels[n] for n in counts], axis=1)  # (seeds, counts)
    scores, wanted = np.maximum.accumulate(curve.mean(0)), float(masks.mean())
    bound = AT_LEAST if wanted > scores[-1] else AT_MOST if wanted < scores[0] else ""
    value = float(np.exp(np.interp(wanted, scores, logs))) / count
    if len(masks) < 2:
        return Worth(value, bound)
    tried = np.linspace(logs[0], logs[-1], GRID)
    made = [effect(masks - np.array([np.interp(x, logs, each) for each in curve]), overlap) for x in tried]
    held = [float(np.exp(x)) / count for x, one in zip(tried, made, strict=True) if one.low <= 0 <= one.high]
    if not held:  # beyond the curve for sure
        return Worth(value, bound, value, value, bound, bound)
    least, most = counts[0] / count, counts[-1] / count
    low, high = min([*held, value]), max([*held, value])
    low_bound, high_bound = AT_MOST * bool(np.isclose(low, least)), AT_LEAST * bool(np.isclose(high, most))
    return Worth(value, bound, low, high, low_bound, high_bound)
