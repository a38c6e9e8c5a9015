"""Error bars over images, or over groups of them, for scores of pooled counts; paired differences; Holm.

A score's interval is the jackknife's (Efron and Tibshirani 1993, "An Introduction to the Bootstrap") on the logit of
the score, with Student's t. Its degrees of freedom follow Satterthwaite (1946): the fewer images carry the variance,
the fewer they are. Two networks are compared by swapping them on images drawn at random (after Fisher 1935, "The Design
of Experiments"): exact for networks that differ by chance alone. ``benchmarks/coverage.py`` measures both.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import expit, logit

LEAST_UNITS = 5  # groups or images; below, an interval would be a guess
LEAST_HOLDERS = 10  # images that hold a class
LEAST_SEEDS = 3  # of a method; two would leave one degree of freedom
LEVEL = 0.95
SWAPS = 9999  # p to 0.0001: enough for Holm among many networks
CELLS = 1_000_000  # counts of swapped networks that are held at a time
ROUNDING = 1e-9  # scores are in [0, 1]: what is smaller is 0

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A 95% interval, or the reason why there is none, in words."""

    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """second − first with its 95% interval and two-sided p-value, or the reason why there are none, in words."""

    value: float
    low: float | None
    high: float | None
    p: float | None
    note: str = ""


def by_group(counts: np.ndarray, groups: list[str | None]) -> np.ndarray:
    """Counts (N, …) summed over the images of each group, in the order in which groups first come.

    An image without a group, None, is a group of its own: where no image has one, the counts are as they were.
    """
    if len(groups) != len(counts):
        raise ValueError(f"{len(groups)} groups for {len(counts)} images")
    numbers: dict[str | int, int] = {}
    places = [numbers.setdefault(i if group is None else group, len(numbers)) for i, group in enumerate(groups)]
    summed = np.zeros((len(numbers), *counts.shape[1:]), counts.dtype)
    np.add.at(summed, places, counts)
    return summed


def interval(counts: np.ndarray, statistic: Statistic, holders: int | None = None, unit: str = "image") -> Interval:
    """The 95% interval of a score of summed counts, for units drawn at random from all that there are.

    Args:
        counts: (n, …), of n units.
        statistic: sums (…, *shape) → scores (…) in [0, 1], NaN where undefined.
        holders: how many images hold the class that the score is of.
        unit: what a unit is called in notes.

    Raises:
        ValueError: for a statistic that does not give one score for each of the units.
    """
    if holders is not None and holders < LEAST_HOLDERS:
        return Interval(None, None, f"held by {number(holders, 'image')}: no interval below {LEAST_HOLDERS}")
    if len(counts) < LEAST_UNITS:
        return Interval(None, None, too_few(len(counts), unit))
    value = float(statistic(counts.sum(0)))
    if np.isnan(value):
        return Interval(None, None, "no score")
    if value in (0, 1):
        return Interval(None, None, f"every {unit} scores {value:.0f}: no differences to make an interval from")
    without = logit(left_out(counts, statistic))
    if not np.isfinite(without).all():
        return Interval(None, None, one_decides(unit))
    error, df = spread(without)
    if error < ROUNDING:
        return Interval(None, None, f"every {unit} scores the same: no differences to make an interval from")
    # Rare classes score too low in small samples. The jackknife's guess of that bias is rough: no score is corrected
    # by it, but the interval reaches to where it would be if it were.
    centre, bias = logit(value), (len(counts) - 1) * (without.mean() - logit(value))
    reach = stats.t.ppf((1 + LEVEL) / 2, df) * error
    return Interval(float(expit(centre - reach - max(bias, 0))), float(expit(centre + reach - min(bias, 0))))


def difference(first: np.ndarray, second: np.ndarray, statistic: Statistic, unit: str = "image") -> Difference:
    """The paired difference of two networks' scores on the same units, second − first.

    The interval leaves out 0 if and only if p is at most 0.05. Five units never show a difference: there are too few
    ways to swap the networks on them.

    Args:
        first, second: (n, …), counts of the same n units in the same order.
        statistic, unit: as for ``interval``.

    Raises:
        ValueError: for counts of different shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"counts have shapes {first.shape} and {second.shape}, of the same units they are the same")
    value = float(statistic(second.sum(0)) - statistic(first.sum(0)))
    if len(first) < LEAST_UNITS:
        return Difference(value, None, None, None, too_few(len(first), unit))
    if np.isnan(value):
        return Difference(value, None, None, None, "no score")
    change = left_out(second, statistic) - left_out(first, statistic)
    if np.isnan(change).any():
        return Difference(value, None, None, None, one_decides(unit))
    error, df = spread(change)
    if error < ROUNDING:
        return Difference(value, None, None, None, f"every {unit} shows the same difference")
    by_chance = np.sort(swapped_differences(first, second, statistic))[::-1]
    p = (1 + int((by_chance >= abs(value) - ROUNDING).sum())) / (1 + SWAPS)
    reach = by_chance[round((1 - LEVEL) * (1 + SWAPS)) - 1]
    if not np.isfinite(reach):
        return Difference(value, None, None, None, f"no score once the networks are swapped on some {unit}s")
    if p <= 1 - LEVEL:  # swaps of networks that differ much scatter by that too, the jackknife does not
        reach = min(reach, stats.t.ppf((1 + LEVEL) / 2, df) * error)
    return Difference(value, float(value - reach), float(value + reach), p)


def difference_of_methods(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, unit: str = "image"
) -> Difference:
    """The difference of two methods' mean scores over seeds, second − first.

    Its variance is that of the seeds (Welch 1947) and that of the units (the jackknife's, of the difference of means).

    Args:
        first: (k1, n, …), counts of k1 runs of a method with different seeds; second: (k2, n, …), on the same units.
        statistic, unit: as for ``interval``.

    Raises:
        ValueError: for counts of different units.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"runs have shapes {first.shape[1:]} and {second.shape[1:]}, the same units are wanted")
    scores = [np.asarray(statistic(runs.sum(1)), float) for runs in (first, second)]
    value = float(scores[1].mean() - scores[0].mean())
    fewest = min(len(first), len(second))
    if fewest < LEAST_SEEDS:
        return Difference(value, None, None, None, f"{number(fewest, 'seed')}: no interval below {LEAST_SEEDS}")
    if first.shape[1] < LEAST_UNITS:
        return Difference(value, None, None, None, too_few(first.shape[1], unit))
    if np.isnan(value):
        return Difference(value, None, None, None, "no score")
    means = [np.mean([left_out(run, statistic) for run in runs], axis=0) for runs in (first, second)]
    if np.isnan(means).any():
        return Difference(value, None, None, None, one_decides(unit))
    error, df = spread(means[1] - means[0])
    parts = [(error**2, df), *((of_seeds.var(ddof=1) / len(of_seeds), len(of_seeds) - 1) for of_seeds in scores)]
    variance = sum(part for part, _ in parts)
    if variance < ROUNDING**2:
        return Difference(value, None, None, None, f"every seed and {unit} shows the same difference")
    df = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    error = float(np.sqrt(variance))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, df)) * error
    return Difference(value, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / error, df)))


def holm(p_values: list[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given.

    Raises:
        ValueError: for a p-value outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values are {p_values}, 0 to 1 wanted")
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def left_out(counts: np.ndarray, statistic: Statistic) -> np.ndarray:
    """The score without each unit, float (n,)."""
    scores = np.asarray(statistic(counts.sum(0) - counts), float)
    if scores.shape != counts.shape[:1]:
        raise ValueError(f"the statistic gives {scores.shape} for {len(counts)} units, {counts.shape[:1]} wanted")
    return scores


def spread(without: np.ndarray) -> tuple[float, float]:
    """The jackknife's standard error of scores without each unit, and its degrees of freedom, 1 to n − 1.

    The variance is a sum of squares; its own variance, that of their sum if any number of units may carry them, is the
    sum of fourth powers. Twice the ratio of the squared variance to that is Satterthwaite's number; the mean takes one,
    as it does from n.
    """
    n, squares = len(without), (without - without.mean()) ** 2
    carriers = squares.sum() ** 2 / max((squares**2).sum(), np.finfo(float).tiny)
    return float(np.sqrt((n - 1) / n * squares.sum())), float(np.clip(2 * carriers - 1, 1, n - 1))


def swapped_differences(first: np.ndarray, second: np.ndarray, statistic: Statistic) -> np.ndarray:
    """|difference|, float (SWAPS,), of the networks swapped on units drawn at random; ∞ where undefined."""
    n = len(first)
    # The draws are fixed, and the units sorted, so that neither their order nor that of the networks matters.
    order = np.lexsort((first + second).reshape(n, -1).T)
    moved = (second - first)[order].reshape(n, -1).astype(float)  # exact: sums of pixels are far below 2**53
    draws = np.random.default_rng(0).random((SWAPS, n)) < 0.5
    differences = []
    for swap in np.array_split(draws, 1 + SWAPS * moved.shape[1] // CELLS):
        change = (swap @ moved).reshape(-1, *first.shape[1:])
        differences.append(statistic(second.sum(0) - change) - statistic(first.sum(0) + change))
    return np.nan_to_num(np.abs(np.concatenate(differences)), nan=np.inf)


def too_few(count: int, unit: str) -> str:
    return f"{number(count, unit)}: no interval below {LEAST_UNITS}"


def one_decides(unit: str) -> str:
    return f"one {unit} alone decides the score"


def number(count: int, unit: str) -> str:
    return f"{'one' if count == 1 else count} {unit}{'' if count == 1 else 's'}"
