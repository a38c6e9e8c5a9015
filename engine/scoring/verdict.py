"""Scores in words: a verdict on the network beside what it must beat, and a table."""

from dataclasses import dataclass

import numpy as np

from .task import task_of

BASELINES = {  # what the verdict calls them
    "all_background": "calling everything background",
    "majority_class": "calling everything the most frequent class",
    "pixel_forest": "the colour-only baseline",
    "color_forest": "the colour-only baseline",
    "probe": "the linear probe of the pretrained encoder",
}


@dataclass(frozen=True)
class Verdict:
    """claim: what the scores say; numbers: those that say so; advice: what limits the claim, or what to do."""

    claim: str
    numbers: str = ""
    advice: str = ""
    loud: bool = False  # the network is no better than a baseline, or not clearly so

    @property
    def text(self) -> str:
        return f"{': '.join(filter(None, (self.claim, self.numbers)))}. {self.advice}".strip()


def verdict(results: dict) -> Verdict:
    """The score of metrics.json beside what it must beat, in words; the interval is that of the lead, which decides."""
    task = task_of(results)
    score, words = task.score, task.words
    value = results[score]
    if value is None:
        return Verdict("Nothing to score", advice="Not one pixel of these masks is labelled.", loud=True)
    told = f"{words} {value:.3f}"
    strongest = strongest_baseline(results)
    if strongest is None:
        return Verdict(told, advice=sentence(range_of(results)))
    bar = results["baselines"][strongest]
    name = BASELINES.get(strongest, strongest)
    told += f" against {bar[score]:.3f}"
    if bar["lead"][score] <= 0:
        predicted = [
            name
            for name, count in zip(results[task.class_score], np.sum(results["confusion"], 0), strict=True)
            if count
        ]
        same = f"It calls every {task.counted} {predicted[0]}. " if len(predicted) == 1 else ""
        advice = f"{same}The network is of no use yet: train longer, or look at the images and {task.name}."
        return Verdict(f"NOT BETTER than {name}", told, advice, loud=True)
    if count := results.get("trained_on"):
        share = "these images" if count == results["num_images"] else f"{count} of these {results['num_images']} images"
        return Verdict("SAYS NOTHING ABOUT NEW IMAGES", told, f"The network was trained on {share}.", loud=True)
    ends = bar["lead"][f"{score}_ci95"]
    if ends is None:
        note = bar["lead"].get(f"{score}_ci95_note")
        return Verdict(f"Above {name}", told, sentence(f"no interval for the lead: {note}") if note else "")
    if ends[0] > 0 and results.get("neighbours_alike"):
        return Verdict(f"Above {name}", told, sentence(range_of(results)))
    told += f", a lead of {signed(bar['lead'][score])} (95% interval {signed(ends[0])} to {signed(ends[1])})"
    if ends[0] <= 0:
        return Verdict(f"NOT CLEARLY BETTER than {name}", told, "The lead may be chance.", loud=True)
    return Verdict(f"Beats {name} clearly", told)


def strongest_baseline(results: dict) -> str | None:
    """The name of the baseline with the best score; None without baselines."""
    score = task_of(results).score
    return max(results["baselines"], key=lambda name: results["baselines"][name][score] or 0, default=None)


def signed(value: float) -> str:
    """A difference with its sign: +0.012, −0.012."""
    return f"{value:+.3f}".replace("-", "−")


def sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


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
