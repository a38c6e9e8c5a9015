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

REDUCTION = "pooled: intersections and unions are summed over all images of the split, then divided"
OVERALL = {
    "miou": confusion.mean_iou,
    "pixel_accuracy": confusion.pixel_accuracy,
    "balanced_accuracy": confusion.balanced_accuracy,
}
BY_CLASS = {
    "iou": confusion.iou,
    "dice": confusion.dice,
    "precision": confusion.precision,
    "recall": confusion.recall,
}
WITH_INTERVAL = ("iou", "dice")  # of the scores by class
HEADLINES = {"miou": "mIoU", "accuracy": "accuracy"}  # the score of masks, and that of labels; in words
OF_CLASS = {"miou": "iou", "accuracy": "recall"}  # the score of each class beside it
UNITS = {"miou": "pixel", "accuracy": "image"}  # what is right or wrong
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


def judge(model: np.ndarray, baselines: dict[str, np.ndarray], groups: list[str | None], encoding: Encoding) -> dict:
    """A network's scores with their error bars, and its baselines' with its lead over each of them.

    Args:
        model: confusion matrices of the network, int64 (N, C, C).
        baselines: name → those of each baseline, on the same images.
        groups: of the images; where any has one, groups are what error bars are drawn from.
        encoding: the classes' names.
    """
    unit = unit_of(groups)
    units = by_group(model, groups)
    found = {"unit": unit, "num_units": len(units)} | summary(model, encoding) | error_bars(model, groups, encoding)
    found["confusion"] = model.sum(0).tolist()
    found["baselines"] = {
        name: summary(one, encoding) | {"lead": lead(by_group(one, groups), units, unit)}
        for name, one in baselines.items()
    }
    return found


def summary(confusions: np.ndarray, encoding: Encoding) -> dict:
    """The scores without error bars; None where a class does not occur."""
    pooled = confusions.sum(0)
    found = {name: number(statistic(pooled)) for name, statistic in OVERALL.items()}
    found["per_image_miou"] = number(confusion.mean_of_known(confusion.mean_iou(confusions)))
    return found | {name: by_class(statistic(pooled), encoding) for name, statistic in BY_CLASS.items()}


def error_bars(confusions: np.ndarray, groups: list[str | None], encoding: Encoding) -> dict:
    """``<score>_ci95`` and ``<score>_ci95_note``: 95% intervals, or None with the reason."""
    unit = unit_of(groups)
    units = by_group(confusions, groups)
    of_image = confusion.mean_iou(confusions)
    sums = np.stack([np.nan_to_num(of_image), ~np.isnan(of_image)], axis=-1)
    found = {name: interval(units, statistic, unit=unit) for name, statistic in OVERALL.items()}
    found["per_image_miou"] = interval(
        by_group(sums, groups), lambda s: confusion.ratio(s[..., 0], s[..., 1]), unit=unit
    )
    holders = (confusions.sum(-1) > 0).sum(0)
    bars = {}
    for name, one in found.items():
        bars |= {f"{name}_ci95": bounds(one), f"{name}_ci95_note": one.note or None}
    for name in WITH_INTERVAL:
        each = [
            interval(units, lambda s, c=c, name=name: BY_CLASS[name](s)[..., c], holders=int(holders[c]), unit=unit)
            for c in range(encoding.num_classes)
        ]
        bars[f"{name}_ci95"] = dict(zip(encoding.names, map(bounds, each), strict=True))
        bars[f"{name}_ci95_note"] = dict(zip(encoding.names, (one.note or None for one in each), strict=True))
    bars["images_with"] = dict(zip(encoding.names, holders.tolist(), strict=True))
    return bars


def lead(baseline: np.ndarray, model: np.ndarray, unit: str) -> dict:
    """By how much the network's mIoU lies above a baseline's, on the same images."""
    found = difference(confusion.overlaps(baseline), confusion.overlaps(model), confusion.mean_iou_of, unit=unit)
    return with_range("miou", found) | {"p": found.p}


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


def by_class(values, encoding: Encoding) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(encoding.names, values, strict=True)}


@dataclass(frozen=True)
class Verdict:
    text: str
    loud: bool  # the network is not worth having, or cannot be told from what is


def score_name(results: dict) -> str:
    """The name of the score that metrics.json stands for: "miou", or of a classifier "accuracy"."""
    return next(name for name in HEADLINES if name in results)


def verdict(results: dict) -> Verdict:
    """The score of metrics.json beside what it must beat, in words."""
    score = score_name(results)
    value, words = results[score], HEADLINES[score]
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
            name for name, count in zip(results[OF_CLASS[score]], np.sum(results["confusion"], 0), strict=True) if count
        ]
        same = f" It calls every {UNITS[score]} {predicted[0]}." if len(predicted) == 1 else ""
        text = (
            f"NOT BETTER than {name}: {told}.{same} As it stands the network is not worth having: "
            f"train longer, or look at the images and {'masks' if score == 'miou' else 'labels'}."
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
    score = score_name(results)
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
