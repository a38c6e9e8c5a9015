"""From a number for each seed to a verdict: supported, not supported, or inconclusive.

The replicate is the seed: a world of its own, with its own training and test images. A contrast is an average over
seeds, or a ratio of such averages; either way the jackknife's pseudo-values (Tukey 1958) are what Student's t is made
of: for an average they are the seeds' own numbers. The hypotheses' p-values are adjusted together by Holm (1979).
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import nctdtr, ndtr, stdtr, stdtrit

from engine.scoring.intervals import holm

LEVEL = 0.05  # of the adjusted p-values
POWER = 0.8  # at which an effect counts as detectable
SMALLEST = 0.05  # smallest effect of interest, unless a contrast says otherwise
MOST_SEEDS = 1000

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = "supported", "not supported", "inconclusive"


@dataclass(frozen=True)
class Contrast:
    """The prediction of a hypothesis for the seeds' numbers.

    statistic: numbers (n, m) of n seeds → one number.
    smallest: the effect from which on it matters, above 0.
    equal: the hypothesis says that the effect is nearer to 0 than ``smallest``, not beyond it.
    overlap: test images over training images where the seeds split the same images, so that they are no replicates:
        their variance counts 1/n + overlap times (Nadeau and Bengio 2003); 0 where each has images of its own.
    """

    name: str
    statistic: Callable[[np.ndarray], float]
    smallest: float = SMALLEST
    equal: bool = False
    overlap: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A contrast on n seeds: its value, 95% interval (not adjusted), and p-values for and against the hypothesis.

    p_for: were the hypothesis wrong (the effect 0, or for ``equal`` at ±smallest or beyond), how often it would look
        so true. p_against: were the effect of interest there, how often it would look so small (for ``equal``: were
        the effect within ±smallest, how often it would look so large).
    """

    name: str
    value: float
    error: float
    seeds: int
    low: float
    high: float
    p_for: float
    p_against: float


@dataclass(frozen=True)
class Verdict:
    """detectable: the effect that so many seeds find with POWER. seeds_needed: how many would tell none."""

    estimate: Estimate
    p_for_adjusted: float
    p_against_adjusted: float
    words: str
    detectable: float
    seeds_needed: int | None


def mean_difference(columns: tuple[int, int]) -> Callable[[np.ndarray], float]:
    """The mean of one column less that of another."""
    first, second = columns
    return lambda numbers: float((numbers[:, first] - numbers[:, second]).mean())


def pseudo_values(numbers: np.ndarray, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
    """The jackknife's pseudo-values, (n,): n θ − (n − 1) θ without each seed."""
    n, whole = len(numbers), statistic(numbers)
    without = np.array([statistic(np.delete(numbers, i, axis=0)) for i in range(n)])
    return n * whole - (n - 1) * without


def estimate(contrast: Contrast, numbers: np.ndarray) -> Estimate:
    """A contrast with its interval and p-values.

    Args:
        contrast: what is predicted.
        numbers: float (n, m), a row for each seed.

    Raises:
        ValueError: for fewer than two seeds, or a contrast that is no number.
    """
    if len(numbers) < 2:
        raise ValueError(f"{contrast.name}: {len(numbers)} seeds; two at least are wanted")
    each, value = pseudo_values(numbers, contrast.statistic), contrast.statistic(numbers)
    if not np.isfinite(each).all() or not np.isfinite(value):
        raise ValueError(f"{contrast.name}: no number for these seeds")
    n = len(each)
    error = max(float(each.std(ddof=1) * np.sqrt(1 / n + contrast.overlap)), np.finfo(float).tiny)
    reach = stdtrit(n - 1, 1 - LEVEL / 2) * error
    if contrast.equal:  # two one-sided tests (Schuirmann 1987)
        p_for = above((contrast.smallest - abs(value)) / error, n - 1)
        p_against = above((abs(value) - contrast.smallest) / error, n - 1)
    else:
        p_for = 2 * min(above(value / error, n - 1), 0.5) if value > 0 else 1.0  # two sides, predicted direction
        p_against = 1 - above((value - contrast.smallest) / error, n - 1)
    return Estimate(contrast.name, value, error, n, value - reach, value + reach, p_for, p_against)


def above(t: float, df: int) -> float:
    """Student's survival function."""
    return float(stdtr(df, -t))


def judge(contrasts: list[Contrast], numbers: dict[str, np.ndarray]) -> list[Verdict]:
    """The verdicts on a family of hypotheses, with what its seeds could have told.

    Args:
        contrasts: the primaries, one for each hypothesis.
        numbers: of each contrast, by its name.
    """
    return [
        Verdict(
            *one,
            detectable_effect(one[0].error * np.sqrt(one[0].seeds), one[0].seeds, len(contrasts), contrast.smallest),
            seeds_that_settle(contrast, one[0], len(contrasts)),
        )
        for contrast, one in zip(contrasts, decide(contrasts, numbers), strict=True)
    ]


def decide(contrasts: list[Contrast], numbers: dict[str, np.ndarray]) -> list[tuple[Estimate, float, float, str]]:
    """Return each contrast's estimate, adjusted p for and against, and the verdict in words.

    Supported: adjusted p_for below LEVEL, and an effect of interest (or, for ``equal``, none). Not supported: adjusted
    p_against below LEVEL. Else inconclusive.
    """
    found = [estimate(one, numbers[one.name]) for one in contrasts]
    for_it, against = holm([one.p_for for one in found]), holm([one.p_against for one in found])
    return [
        (one, p_for, p_against, in_words(contrast, one, p_for, p_against))
        for contrast, one, p_for, p_against in zip(contrasts, found, for_it, against, strict=True)
    ]


def in_words(contrast: Contrast, found: Estimate, p_for: float, p_against: float) -> str:
    if p_for < LEVEL and (contrast.equal or found.value >= contrast.smallest):
        return SUPPORTED
    return NOT_SUPPORTED if p_against < LEVEL else INCONCLUSIVE


def detectable_effect(deviation: float, seeds: int, family: int, smallest: float = SMALLEST) -> float:
    """The effect that so many seeds find with POWER, where their numbers have this standard deviation.

    At the strictest level that Holm may ask for, LEVEL / family, on two sides; and the estimate must not be below the
    smallest effect of interest.
    """
    low, high = 0.0, smallest + 100.0 * max(deviation, np.finfo(float).tiny)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, deviation, seeds, family, smallest) >= POWER else (middle, high)
    return high


def power(effect: float, deviation: float, seeds: int, family: int, smallest: float = SMALLEST) -> float:
    """Return how often an effect is found: its t is beyond the bound (noncentral t), and its estimate matters; the
    rarer."""
    error = deviation / np.sqrt(seeds)
    sure = beyond(stdtrit(seeds - 1, 1 - LEVEL / family / 2), seeds - 1, effect / error)
    return min(sure, float(ndtr((effect - smallest) / error)))


def seeds_that_settle(contrast: Contrast, found: Estimate, family: int) -> int | None:
    """The fewest seeds that, were there no effect, would say so with POWER; None beyond MOST_SEEDS.

    That is, that tell none from the smallest effect of interest: "not supported", and of ``equal`` "supported".
    """
    deviation, numbers = found.error * np.sqrt(found.seeds), range(2, MOST_SEEDS + 1)
    place = bisect_left(numbers, POWER, key=lambda n: power_of_none(contrast, deviation, n, family))
    return numbers[place] if place < len(numbers) else None


def power_of_none(contrast: Contrast, deviation: float, seeds: int, family: int) -> float:
    """Return how often no effect is told from the smallest of interest; of ``equal``, from it on either side."""
    bound = stdtrit(seeds - 1, 1 - LEVEL / family)
    one_side = beyond(bound, seeds - 1, contrast.smallest * np.sqrt(seeds) / deviation)
    return max(2 * one_side - 1, 0) if contrast.equal else one_side


def beyond(bound: float, df: int, shift: float) -> float:
    """The share of the noncentral t that lies beyond a bound."""
    below = float(nctdtr(df, shift, bound))
    return 1.0 if np.isnan(below) and shift > bound else 1 - below  # SciPy gives NaN where next to nothing is below
