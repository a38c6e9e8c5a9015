"""Scores of masks: pooled over images, their error bars, the lead over baselines.

Error bars are the jackknife's over images, or over groups of them; a lead is tested by swapping the two ways on images
drawn at random: intervals.py. A way is a function from an image to a mask: a network, a baseline. Its answers are held
as confusion matrices, int64 (N, C, C), one for each of N images.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from tqdm import tqdm

from data_pipeline.encoding import Encoding
from data_pipeline.loader import read_pair
from data_pipeline.pairs import Pair

from . import confusion
from .intervals import Difference, by_group, difference, interval
from .task import MASKS, Score, Task

Others = dict[str, dict[str, np.ndarray]]  # kind ("baselines", "gain", "ceiling") → name → confusion matrices
PER_IMAGE = "per_image_miou"  # the mean of the images' own mIoU, of masks alone
REDUCTION = "pooled: intersections and unions are summed over all images of the split, then divided"


def score(ways: dict[str, Callable], pairs: list[Pair], encoding: Encoding) -> dict[str, np.ndarray]:
    """Name → confusion matrices, int64 (N, C, C), of several ways from an image (H, W, C) to a mask uint8 (H, W).

    At the masks' own resolution.
    """
    counts = {name: [] for name in ways}
    for pair in tqdm(pairs, "scoring", unit="image", leave=False, disable=None):
        image, truth = read_pair(pair, encoding)
        for name, way in ways.items():
            counts[name].append(confusion.confusion_matrix(truth, way(image), encoding.num_classes))
    return {name: np.stack(matrices) for name, matrices in counts.items()}


def judge(network: np.ndarray, others: Others, groups: list[str | None], names: tuple[str, ...], task: Task) -> dict:
    """A network's scores with their error bars, and those of the other ways with the network's lead over each.

    Args:
        network: its confusion matrices, int64 (N, C, C).
        others: those of the other ways, on the same images.
        groups: of the images; where any has one, groups are what error bars are drawn from.
        names: of the classes.
        task: what is scored.
    """
    unit, units = unit_of(groups), by_group(network, groups)
    results = {"unit": unit, "num_units": len(units)} | summary(network, names, task)
    results |= error_bars(network, groups, names, task) | {"confusion": network.sum(0).tolist()}
    for kind, ways in ({"baselines": {}} | others).items():
        results[kind] = {
            name: summary(matrices, names, task) | {"lead": lead(by_group(matrices, groups), units, unit, task)}
            for name, matrices in ways.items()
        }
    return results


def summary(confusions: np.ndarray, names: tuple[str, ...], task: Task) -> dict:
    """The scores without error bars; None where a class does not occur."""
    pooled = confusions.sum(0)
    values = {name: number(statistic(pooled)) for name, statistic in task.overall.items()}
    if task is MASKS:
        values[PER_IMAGE] = number(confusion.mean_of_known(task.headline(confusions)))
    return values | {name: by_class(statistic(pooled), names) for name, statistic in task.by_class.items()}


def error_bars(confusions: np.ndarray, groups: list[str | None], names: tuple[str, ...], task: Task) -> dict:
    """``<score>_ci95`` and ``<score>_ci95_note``: 95% intervals, or None with the reason."""
    unit, units = unit_of(groups), by_group(confusions, groups)
    intervals = {name: interval(units, statistic, unit=unit) for name, statistic in task.overall.items()}
    if task is MASKS:
        of_image = task.headline(confusions)
        # The sum of the images' own scores, and how many have one: of any images, their mean is the ratio.
        sums = by_group(np.stack([np.nan_to_num(of_image), ~np.isnan(of_image)], axis=-1), groups)
        intervals[PER_IMAGE] = interval(sums, lambda s: confusion.ratio(s[..., 0], s[..., 1]), unit=unit)
    holders = (confusions.sum(-1) > 0).sum(0)
    bars = {}
    for name, ends in intervals.items():
        bars |= {f"{name}_ci95": bounds(ends), f"{name}_ci95_note": ends.note or None}
    for name in task.with_interval:
        score = task.by_class[name]
        each = [
            interval(units, partial(score_of_class, score, c), holders=int(holders[c]), unit=unit)
            for c in range(len(names))
        ]
        bars[f"{name}_ci95"] = dict(zip(names, map(bounds, each), strict=True))
        bars[f"{name}_ci95_note"] = dict(zip(names, (ends.note or None for ends in each), strict=True))
    return bars | {"images_with": dict(zip(names, holders.tolist(), strict=True))}


def score_of_class(score: Score, c: int, matrices: np.ndarray) -> np.ndarray:
    return score(matrices)[..., c]


def lead(other: np.ndarray, network: np.ndarray, unit: str, task: Task) -> dict:
    """By how much the network's score lies above another way's, on the same images."""
    ahead = difference(task.sums_for_headline(other), task.sums_for_headline(network), task.headline_of_sums, unit=unit)
    return with_range(task.score, ahead) | {"p": ahead.p}


def with_range(name: str, difference: Difference) -> dict:
    """JSON's form of a difference of the score of this name."""
    return {
        name: number(difference.value),
        f"{name}_ci95": bounds(difference),
        f"{name}_ci95_note": difference.note or None,
    }


def unit_of(groups: list[str | None]) -> str:
    return "group" if any(groups) else "image"


def bounds(ends) -> list[float] | None:
    """JSON's form of an interval's ends."""
    return None if ends.low is None else [float(ends.low), float(ends.high)]


def number(value) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def by_class(values, names: tuple[str, ...]) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(names, values, strict=True)}
