"""Differences of plain scores over the seeds, in words that need no glossary, and how many labels a mask is worth."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from .verdicts import LEVEL, SMALLEST

YES, NO, PARTLY, UNSETTLED = "yes", "no", "partly", "not settled"
RESAMPLES = 2000


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
        """Whether an effect that matters is there: sure and large enough, surely smaller, or neither."""
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
    """How many labels reach what one mask reaches.

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
    """N_labels / N_masks at the same score; its interval from seeds drawn with replacement.

    Args:
        masks: float (seeds,), the scores with ``count`` masks.
        labels: numbers of labels → float (seeds,), the scores with so many.
        overlap: as in ``effect``; the interval is wider by as much, on the scale of factors.

    Returns:
        The number that is read off the labels' mean curve, made to rise, straight between its points over the
        logarithm of their number; None for a curve of one point.
    """
    counts = sorted(labels)
    if len(counts) < 2:
        return None
    curve = np.stack([labels[n] for n in counts], axis=1)  # (seeds, counts)

    def read(chosen: np.ndarray) -> tuple[float, str]:
        scores, wanted = np.maximum.accumulate(curve[chosen].mean(0)), float(masks[chosen].mean())
        bound = "at least " if wanted > scores[-1] else "at most " if wanted < scores[0] else ""
        return float(np.exp(np.interp(wanted, scores, np.log(counts)))) / count, bound

    seeds = np.arange(len(masks))
    if len(seeds) < 2:
        return Worth(*read(seeds))
    rng = np.random.default_rng(0)
    again = sorted(read(rng.choice(seeds, len(seeds))) for _ in range(RESAMPLES))
    value, bound = read(seeds)
    wider = np.sqrt(1 + overlap * len(seeds))
    ends = [again[round(share * (RESAMPLES - 1))] for share in (LEVEL / 2, 1 - LEVEL / 2)]
    low, high = (value * (end / value) ** wider for end, _ in ends)
    least, most = counts[0] / count, counts[-1] / count
    return Worth(
        value,
        bound,
        max(low, least),
        min(high, most),
        "at most " if low < least else ends[0][1],
        "at least " if high > most else ends[1][1],
    )
