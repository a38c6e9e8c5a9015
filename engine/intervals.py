"""Error bars over images, or over groups of them, for scores of summed counts; paired differences; Holm.

Leave each unit out in turn, and see how far the score moves (jackknife: Efron and Tibshirani 1993, "An Introduction
to the Bootstrap", chapter 11). Student's t has the fewer degrees of freedom, the fewer units do the moving: with
k = (Σu²)² / Σu⁴ of the moves u, Satterthwaite's (1946, Biometrics Bulletin 2) are 2k.

``benchmarks/coverage.py`` measures how often the intervals hold the true score, and how often the tests alarm falsely.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import expit, logit

LEAST_UNITS = 5  # groups or images; below, an interval would be a guess
LEAST_HOLDERS = 10  # images that hold a class
LEAST_SEEDS = 3  # of each method
UPPER = 0.975  # of the t distribution at the upper end of a 95% interval
NOISE = 1e-12  # moves below this come from rounding

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A 95% interval, or the reason why there is none, in words."""

    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """second − first, its 95% interval and two-sided p-value, or the reason why there is none."""

    value: float
    low: float | None
    high: float | None
    p: float | None
    note: str = ""


def by_group(counts: np.ndarray, groups: list[str | None]) -> np.ndarray:
    """(N, …) counts summed over the images of each group; as they are where no image has one.

    An image without a group (None) is a group of its own.

    Raises:
        ValueError: if there is not one group for every image.
    """
    if len(groups) != len(counts):
        raise ValueError(f"{len(groups)} groups for {len(counts)} images; one for each is wanted, None if it has none")
    if not any(groups):
        return counts
    names = [(1, group) if group else (0, i) for i, group in enumerate(groups)]
    place = {name: row for row, name in enumerate(dict.fromkeys(names))}
    summed = np.zeros((len(place), *counts.shape[1:]), counts.dtype)
    np.add.at(summed, [place[name] for name in names], counts)
    return summed


def interval(counts: np.ndarray, statistic: Statistic, holders: int | None = None, unit: str = "image") -> Interval:
    """The 95% interval of a score of summed counts: where the score of all such units probably lies.

    On the logit scale, so that it stays in 0…1, with 2k − 1 degrees of freedom. A mean over rare classes comes out
    too low in most samples: the interval also reaches as far as the jackknife's estimate of that bias. Where all
    units but one are faultless, or hopeless, the spread says nothing, and the exact binomial bound (the "rule of
    three") on the share of units that do otherwise takes its place, as if all units were of one size.

    Args:
        counts: (n, …), of n units drawn at random from all that there are.
        statistic: sums (…, *shape) → scores (…) in [0, 1], NaN where undefined.
        holders: if the score is of a class, how many images hold it.
        unit: what a unit is called, "image" or "group".
    """
    if holders is not None and holders < LEAST_HOLDERS:
        return Interval(None, None, f"held by {number(holders, 'image')}: no interval below {LEAST_HOLDERS}")
    if len(counts) < LEAST_UNITS:
        return Interval(None, None, too_few(len(counts), unit))
    value, without = leave_one_out(counts, statistic)
    if np.isnan(value):
        return Interval(None, None, "there is no score")
    if np.isnan(without).any():
        return Interval(None, None, f"one {unit} alone makes the score")
    if without.min() <= 0 or without.max() >= 1:
        informative = len(counts) if holders is None else min(holders, len(counts))
        return binomial_bounds(value, without, informative)
    if np.ptp(without) < NOISE:
        return Interval(None, None, f"every {unit} shows the same score")
    moves = logit(without) - logit(value)
    bias = (len(counts) - 1) * moves.mean()
    error, carriers = spread(moves)
    reach = stats.t.ppf(UPPER, np.clip(2 * carriers - 1, 1, len(counts) - 1)) * error
    ends = logit(value) - reach - max(bias, 0), logit(value) + reach - min(bias, 0)
    return Interval(*map(float, expit(ends)))


def difference(first: np.ndarray, second: np.ndarray, statistic: Statistic, unit: str = "image") -> Difference:
    """The paired difference of two networks' scores: statistic(second) − statistic(first).

    Args:
        first, second: (n, …), counts of the same n units in the same order.
        statistic, unit: as for ``interval``.

    Raises:
        ValueError: for shapes that differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"counts of shape {first.shape} and {second.shape}; the same units are wanted")
    (before, without_before), (after, without_after) = (leave_one_out(one, statistic) for one in (first, second))
    return tested(after - before, without_after - without_before, unit)


def difference_of_methods(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, unit: str = "image"
) -> Difference:
    """The difference of two methods' mean scores over seeds, second − first.

    Its variance is the seeds' (Welch 1947) plus the units' (jackknife of the difference of the seeds' means).

    Args:
        first: (k1, n, …), counts of k1 runs of a method with different seeds on n units.
        second: (k2, n, …), of another method on the same units in the same order.
        statistic, unit: as for ``interval``.

    Raises:
        ValueError: for units that differ in shape.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"counts of shape {first.shape[1:]} and {second.shape[1:]}; the same units are wanted")
    runs = [[leave_one_out(one, statistic) for one in method] for method in (first, second)]
    scores = [np.array([value for value, _ in method]) for method in runs]
    without = [np.mean([rest for _, rest in method], axis=0) for method in runs]
    value = float(scores[1].mean() - scores[0].mean())
    fewest = min(len(one) for one in scores)
    if fewest < LEAST_SEEDS:
        return Difference(value, None, None, None, f"{number(fewest, 'seed')}: no interval below {LEAST_SEEDS}")
    seeds = [(one.var(ddof=1) / len(one), len(one) - 1) for one in scores]
    return tested(value, without[1] - without[0], unit, seeds)


def holm(p_values: list[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def leave_one_out(counts: np.ndarray, statistic: Statistic) -> tuple[float, np.ndarray]:
    """The score of all n units, and the n scores of all units but one, float (n,)."""
    total = counts.sum(0)
    return float(statistic(total)), np.asarray(statistic(total - counts), float)


def spread(moves: np.ndarray) -> tuple[float, float]:
    """The jackknife's standard error, and k: as how many units the moves look if each either moves or does not."""
    squares = (moves - moves.mean()) ** 2
    total = squares.sum()
    return float(np.sqrt((len(moves) - 1) / len(moves) * total)), float(total**2 / (squares**2).sum())


def binomial_bounds(value: float, without: np.ndarray, informative: int) -> Interval:
    """Where leaving out a unit gives 0 or 1: the units that do otherwise are none (value 0 or 1) or one."""
    others = int(0 < value < 1)
    share = stats.beta.ppf(UPPER, others + 1, informative - others)  # Clopper and Pearson 1934
    low = 0.0 if without.min() <= 0 else (1 - share) * value
    high = 1.0 if without.max() >= 1 else share + (1 - share) * value
    return Interval(float(low), float(high))


def tested(value: float, without: np.ndarray, unit: str, seeds: list[tuple[float, int]] | None = None) -> Difference:
    """A difference's interval and p-value by Student's t.

    The units' degrees of freedom are 4k, twice Satterthwaite's: differences scatter to both sides alike, and then t
    alarms too seldom for tails so heavy. ``benchmarks/coverage.py`` shows what fewer and more would do.

    Args:
        value: the difference of all units.
        without: the differences of all units but one, float (n,).
        seeds: variances with their degrees of freedom that come on top.
    """
    n = len(without)
    if n < LEAST_UNITS:
        return Difference(value, None, None, None, too_few(n, unit))
    if np.isnan(value):
        return Difference(value, None, None, None, "there is no score")
    if np.isnan(without).any():
        return Difference(value, None, None, None, f"one {unit} alone makes the score")
    parts = [(variance, df) for variance, df in seeds or [] if variance > NOISE**2]
    if np.ptp(without) >= NOISE:
        error, carriers = spread(without)
        parts.append((error**2, min(4 * carriers, n - 1)))
    if not parts:
        return without_scatter(value, n, unit)
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / df for part, df in parts)
    error = np.sqrt(variance)
    reach = stats.t.ppf(UPPER, df) * error
    return Difference(value, float(value - reach), float(value + reach), float(2 * stats.t.sf(abs(value) / error, df)))


def without_scatter(value: float, n: int, unit: str) -> Difference:
    """No unit moves the difference. If it is 0, the rule of three bounds the share of units that might differ."""
    if abs(value) >= NOISE:
        return Difference(value, None, None, None, f"every {unit} shows the same difference")
    share = float(stats.beta.ppf(UPPER, 1, n))
    return Difference(value, -share, share, 1.0)


def too_few(count: int, unit: str) -> str:
    return f"{number(count, unit)}: no interval below {LEAST_UNITS}"


def number(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"
