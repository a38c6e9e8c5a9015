"""What a way to make masks is worth: pooled scores, their error bars, the lead over baselines, a verdict in words.

A way's answers are held as confusion matrices, int64 (N, C, C), one for each of N images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from data_pipeline.encoding import Encoding
from data_pipeline.loader import read_pair
from data_pipeline.pairs import Pair

from . import confusion
from .intervals import Difference, by_group, difference, interval
from .task import MASKS, Task, task_of

Beside = dict[str, dict[str, np.ndarray]]
PER_IMAGE = "per_image_miou"  # the mean of the images' own mIoU, of masks alone
REDUCTION = "pooled: intersections and unions are summed over all images of the split, then divided"
BASELINES = {  # what the verdict calls them
    "all_background": "calling everything background",
    "majority_class": "calling everything the most frequent class",
    "pixel_forest": "the colour-only baseline",
    "color_forest": "the colour-only baseline",
}


def score(ways: dict[str, Callable], pairs: list[Pair], encoding: Encoding) -> dict[str, np.ndarray]:
    """Name → confusion matrices, int64 (N, C, C), of several ways from an image (H, W, C) to a mask uint8 (H, W).

    At the masks' own resolution.
    """
    found = {name: [] for name in ways}
    for pair in tqdm(pairs, "scoring", unit="image", leave=False, disable=None):
        image, truth = read_pair(pair, encoding)
        for name, way in ways.items():
            found[name].append(confusion.confusion_matrix(truth, way(image), encoding.num_classes))
    return {name: np.stack(matrices) for name, matrices in found.items()}


def judge(model: np.ndarray, beside: Beside, groups: list[str | None], names: tuple[str, ...], task: Task) -> dict:
    """A network's scores with their error bars, and those of what stands beside it with the network's lead over each.

    Args:
        model: confusion matrices of the network, int64 (N, C, C).
        beside: kind ("baselines", "gain", "ceiling") → name → those of another way, on the same images.
        groups: of the images; where any has one, groups are what error bars are drawn from.
        names: of the classes.
        task: what is scored.
    """
    unit, units = unit_of(groups), by_group(model, groups)
    found = {"unit": unit, "num_units": len(units)} | summary(model, names, task)
    found |= error_bars(model, groups, names, task) | {"confusion": model.sum(0).tolist()}
    for kind, ways in ({"baselines": {}} | beside).items():
        found[kind] = {
            name: summary(one, names, task) | {"lead": lead(by_group(one, groups), units, unit, task)}
            for name, one in ways.items()
        }
    return found


def summary(confusions: np.ndarray, names: tuple[str, ...], task: Task) -> dict:
    """The scores without error bars; None where a class does not occur."""
    pooled = confusions.sum(0)
    found = {name: number(statistic(pooled)) for name, statistic in task.overall.items()}
    if task is MASKS:
        found[PER_IMAGE] = number(confusion.mean_of_known(task.of(confusions)))
    return found | {name: by_class(statistic(pooled), names) for name, statistic in task.by_class.items()}


def error_bars(confusions: np.ndarray, groups: list[str | None], names: tuple[str, ...], task: Task) -> dict:
    """``<score>_ci95`` and ``<score>_ci95_note``: 95% intervals, or None with the reason."""
    unit, units = unit_of(groups), by_group(confusions, groups)
    found = {name: interval(units, statistic, unit=unit) for name, statistic in task.overall.items()}
    if task is MASKS:
        of_image = task.of(confusions)
        sums = by_group(np.stack([np.nan_to_num(of_image), ~np.isnan(of_image)], axis=-1), groups)
        found[PER_IMAGE] = interval(sums, lambda s: confusion.ratio(s[..., 0], s[..., 1]), unit=unit)
    holders = (confusions.sum(-1) > 0).sum(0)
    bars = {}
    for name, one in found.items():
        bars |= {f"{name}_ci95": bounds(one), f"{name}_ci95_note": one.note or None}
    for name in task.with_interval:
        score = task.by_class[name]
        each = [
            interval(units, lambda m, c=c, score=score: score(m)[..., c], holders=int(holders[c]), unit=unit)
            for c in range(len(names))
        ]
        bars[f"{name}_ci95"] = dict(zip(names, map(bounds, each), strict=True))
        bars[f"{name}_ci95_note"] = dict(zip(names, (one.note or None for one in each), strict=True))
    return bars | {"images_with": dict(zip(names, holders.tolist(), strict=True))}


def lead(other: np.ndarray, model: np.ndarray, unit: str, task: Task) -> dict:
    """By how much the network's score lies above another way's, on the same images."""
    found = difference(task.needs(other), task.needs(model), task.of_needs, unit=unit)
    return with_range(task.score, found) | {"p": found.p}


def with_range(name: str, found: Difference) -> dict:
    """JSON's form of a difference of the score of this name."""
    return {name: number(found.value), f"{name}_ci95": bounds(found), f"{name}_ci95_note": found.note or None}


def unit_of(groups: list[str | None]) -> str:
    return "group" if any(groups) else "image"


def bounds(one) -> list[float] | None:
    """JSON's form of an interval's ends."""
    return None if one.low is None else [float(one.low), float(one.high)]


def number(value) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def by_class(values, names: tuple[str, ...]) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(names, values, strict=True)}


@dataclass(frozen=True)
class Verdict:
    text: str
    loud: bool  # the network is not worth having, or cannot be told from what is


def verdict(results: dict) -> Verdict:
    """The score of metrics.json beside what it must beat, in words."""
    task = task_of(results)
    score, words = task.score, task.words
    value = results[score]
    if value is None:
        return Verdict("Nothing to score: not one pixel of these masks is labelled.", True)
    told, range_words = f"{words} {value:.3f}", range_of(results)
    if not results["baselines"]:
        return Verdict(f"{told}; {range_words}.", False)
    strongest = max(results["baselines"], key=lambda name: results["baselines"][name][score] or 0)
    bar = results["baselines"][strongest]
    name = f"{BASELINES.get(strongest, strongest)} ({bar[score]:.3f})"
    if bar["lead"][score] <= 0:
        predicted = [
            name
            for name, count in zip(results[task.class_score], np.sum(results["confusion"], 0), strict=True)
            if count
        ]
        same = f" It calls every {task.unit} {predicted[0]}." if len(predicted) == 1 else ""
        text = (
            f"NOT BETTER than {name}: {told}.{same} As it stands the network is not worth having: "
            f"train longer, or look at the images and {task.name}."
        )
        return Verdict(text, True)
    if count := results.get("trained_on"):
        share = "these images" if count == results["num_images"] else f"{count} of these {results['num_images']} images"
        text = f"SAYS NOTHING OF NEW IMAGES: the network was trained on {share}. {told}."
        return Verdict(text, True)
    ends = bar["lead"][f"{score}_ci95"]
    if ends is None or (ends[0] > 0 and results.get("neighbours_alike")):
        return Verdict(f"{told}, above {name}; {range_words}.", False)
    if ends[0] <= 0:
        text = f"CANNOT BE TOLD from {name}: {told} on {results['num_units']} {results['unit']}s; {range_words}."
        return Verdict(text, True)
    return Verdict(f"Beats {name} clearly: {told}; {range_words}.", False)


def range_of(results: dict) -> str:
    """Where the true score probably lies, or why that cannot be said."""
    score = task_of(results).score
    ends = results[f"{score}_ci95"]
    if ends is None:
        return f"how far the true value may be from it cannot be said ({results[f'{score}_ci95_note']})"
    if results.get("neighbours_alike"):
        return (
            f"its interval, {ends[0]:.2f}–{ends[1]:.2f}, is too narrow: images of neighbouring names score alike "
            f"(correlation {results['neighbours_alike']:.2f}), as frames of a film do; name the films with --group-by"
        )
    return f"the true value is probably {ends[0]:.2f}–{ends[1]:.2f}"


def table(results: dict) -> str:
    """The scores as lines of text, 95% intervals in brackets."""
    lines = [f"{'':16}{'mIoU':>8}{'':16}{'pixel accuracy':>16}"]
    ways = [("network", results), *results["baselines"].items()]
    lines += [
        f"{name:16}{show(one['miou']):>8}{brackets(one.get('miou_ci95')):16}{show(one['pixel_accuracy']):>16}"
        for name, one in ways
    ]
    lines += ["", f"{'class':24}{'IoU':>8}{'':16}{'Dice':>8}"]
    for name, value in results["iou"].items():
        ends = brackets(results["iou_ci95"][name])
        lines.append(f"{name:24}{show(value):>8}{ends:16}{show(results['dice'][name]):>8}")
    notes = dict.fromkeys(note for note in [results["miou_ci95_note"], *results["iou_ci95_note"].values()] if note)
    return "\n".join(line.rstrip() for line in [*lines, *(f"note: {note}" for note in notes)])


def show(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)


def brackets(ends: list[float] | None) -> str:
    return f"  [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""
