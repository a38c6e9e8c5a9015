"""Scores in words: a verdict on the network beside what it must beat, and a table."""

from dataclasses import dataclass

import numpy as np

from .task import task_of

BASELINES = {  # what the verdict calls them
    "all_background": "calling everything background",
    "majority_class": "calling everything the most frequent class",
    "pixel_forest": "the colour-only baseline",
    "color_forest": "the colour-only baseline",
}


@dataclass(frozen=True)
class Verdict:
    text: str
    loud: bool  # the network is no better than a baseline, or cannot be told from one


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
    """Say where the true score probably lies, or why that cannot be said."""
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
        f"{name:16}{show(scores['miou']):>8}{brackets(scores.get('miou_ci95')):16}{show(scores['pixel_accuracy']):>16}"
        for name, scores in ways
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
