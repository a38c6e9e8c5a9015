"""Advice on a user's own images: is it worth drawing masks, how many, from scratch or from a pretrained encoder?

One table, one figure, one sentence of advice.
"""

from pathlib import Path

import numpy as np

from data_pipeline.files import write_atomically
from engine.reporting.page import Cell, Plot, Section, Table
from engine.reporting.plots import COLORS, drawn

from .contrasts import CLICKS, STARTS
from .effects import NO, YES, Effect, Worth, effect, worth
from .findings import LEAST_LOCATED, Study, signed
from .words import labels_for

WAYS = ("labels", *CLICKS, "masks")
START_WORDS = {"": "from scratch", " pretrained": "from the pretrained encoder"}
MEASURES = {"accuracy": "accuracy", "miou": "mIoU"}


def headline_of(study: Study) -> str:
    """One sentence: whether to draw masks; and one on where to begin, where that was tried."""
    start = best_start(study)
    return " ".join(text for text in (on_masks(study, start), on_start(study)) if text)


def starts(study: Study) -> list[str]:
    return [start for start in STARTS if study.has(f"masks{start}")]


def best_start(study: Study) -> str:
    return max(starts(study), key=lambda start: study.values(f"masks{start}").mean())


def sure(study: Study) -> bool:
    """Return whether there are seeds that an interval can be made of."""
    return study.plan.inferential


def on_masks(study: Study, start: str) -> str:
    knobs = study.plan.settings.knobs
    if knobs.located < LEAST_LOCATED:
        return (
            f"{1 - knobs.located:.0%} of the masks are of one class alone, and say no more than a label: nothing is "
            "learnt here of drawing masks."
        )
    lead = study.values(f"masks{start}") - study.values(f"labels{start}")
    if not sure(study):
        each = ", ".join(signed(value) for value in lead)
        why = f"{knobs.groups} groups are" if knobs.one_out else "One seed is"
        return f"{why} too few for advice: masks minus labels, accuracy with {study.count} images each: {each}."
    ratio = worth_of(study, start)
    where = f"with {study.count} images, {START_WORDS[start]}"
    if ratio is None:
        return f"Masks minus labels, {where}: {told(effect_of(study, lead))} accuracy; too few images for more."
    if ratio.low <= 1:
        return (
            f"One mask is worth {labels_for(ratio)} labels here, {where}: it is not sure that masks are worth more "
            "than labels, so label more images, unless it is outlines that you want."
        )
    times = f"{ratio.value:.1f}".removesuffix(".0")
    return (
        f"One mask is worth {labels_for(ratio)} labels here, {where}: draw masks if one takes you less than {times} "
        "times as long as a label."
    )


def on_start(study: Study) -> str:
    """Advice on what the pretrained encoder brings to masks."""
    if len(starts(study)) < 2:
        return ""
    gain = study.values("masks pretrained") - study.values("masks")
    if not sure(study):
        return f"From the pretrained encoder, masks gain {', '.join(signed(value) for value in gain)}."
    made = effect_of(study, gain)
    words = {YES: "Begin with the pretrained encoder", NO: "The pretrained encoder brings masks nothing that matters"}
    return f"{words.get(made.word, 'Whether the pretrained encoder helps masks is not settled')}: {told(made)}."


def effect_of(study: Study, each: np.ndarray) -> Effect:
    return effect(each, study.plan.overlap)


def told(made: Effect) -> str:
    return f"{signed(made.value)} ({signed(made.low)} to {signed(made.high)})"


def worth_of(study: Study, start: str) -> Worth | None:
    """Return how many labels one mask is worth, at N* images."""
    cells = {count: f"labels{start} of {count}" for count in study.plan.settings.counts}
    labels = {count: study.values(cell) for count, cell in (cells | {study.count: f"labels{start}"}).items()}
    return worth(study.values(f"masks{start}"), labels, study.count, study.plan.overlap)


def facts(study: Study) -> list[str]:
    plan = study.plan
    knobs, settings = plan.settings.knobs, plan.settings
    return [
        f"preset {plan.preset.removesuffix(' own')}",
        f"plan {plan.hash[:12]}",
        f"{len(plan.seeds)} {'groups, each tested once' if knobs.one_out else 'splits'}",
        f"{sum(map(len, study.results))} trainings",
        f"{study.count} images, {settings.steps} steps of 8",
        f"{knobs.size} × {knobs.size} pixels, {knobs.num_classes} classes, varied by {knobs.symmetry}",
    ]


def sections_of(study: Study, folder: Path) -> list[Section]:
    text = [
        "Accuracy: of the image's class, the one with most pixels of its mask, balanced over the classes. 1 click: one "
        "pixel of that class labelled in each image; 16 clicks: eight of it and eight beside it.",
        "Learning rates are those of drawn scenes unless python -m study pilot --data was run on these images first.",
        "The splits are of one folder, so that they are no replicates of each other; intervals are widened for that "
        "(Nadeau and Bengio 2003), roughly. What a mask costs you beside a label only you know.",
    ]
    words = "Accuracy over the number of images"
    plot = Plot(draw(study, folder), words, "Labels by their number; masks and clicks, and their 95% intervals.")
    return [Section("What came out", text, [table(study), *by_group(study)], [plot])]


def table(study: Study) -> Table:
    """{labels, clicks, masks} × {scratch, pretrained}: accuracy, and mIoU of what paints."""
    columns = [(start, measure) for start in starts(study) for measure in MEASURES]
    rows = []
    for way in WAYS:
        cells = [score(study, way + start, measure) for start, measure in columns]
        rows.append([way, *cells])
    head = ["", *(f"{MEASURES[measure]} {START_WORDS[start]}" for start, measure in columns)]
    return Table(head, rows, f"With {study.count} images")


def score(study: Study, cell: str, measure: str) -> Cell | None:
    if measure == "miou" and cell.startswith("labels"):
        return None
    values = study.values(cell, measure)
    if not sure(study):
        return Cell(float(values.mean()))
    made = effect_of(study, values)
    return Cell(made.value, (made.low, made.high))


def by_group(study: Study) -> list[Table]:
    """Rows of each group that was tested, where they are too few for an interval."""
    if not study.plan.settings.knobs.one_out:
        return []
    cells = [way + start for start in starts(study) for way in WAYS]
    rows = [[cell, *(float(value) for value in study.values(cell))] for cell in cells]
    return [Table(["", *(f"group {seed + 1}" for seed in study.plan.seeds)], rows, "Accuracy, by the group tested")]


def draw(study: Study, folder: Path) -> str:
    """The figure, written as FOLDER/masks.svg and .png; its SVG."""
    with drawn(6.6, 3.6) as (figure, out):
        paint(figure, study)
        with write_atomically(folder / "masks.png") as temporary:
            figure.savefig(temporary, format="png", facecolor="white", dpi=110)
    with write_atomically(folder / "masks.svg") as temporary:
        temporary.write_text(out.getvalue(), encoding="utf-8")
    return out.getvalue()


def paint(figure, study: Study) -> None:
    axes = figure.subplots()
    counts = sorted({*study.plan.settings.counts, study.count})
    for place, start in enumerate(starts(study)):
        for way, marker, color in (("labels", "o", COLORS[1]), ("masks", "s", COLORS[0])):
            cells = {n: way + start if n == study.count else f"{way}{start} of {n}" for n in counts}
            held = [n for n in counts if study.has(cells[n])]
            means = [study.values(cells[n]).mean() for n in held]
            filled = color if place == 0 else "none"
            label = f"{way}, {START_WORDS[start]}"
            look = {"marker": marker, "mfc": filled, "ls": "-" if place == 0 else "--", "ms": 5}
            axes.plot(held, means, color=color, label=label, **look)
            for n in held if sure(study) else ():
                made = effect_of(study, study.values(cells[n]))
                axes.plot([n, n], [made.low, made.high], color=color, lw=1.6, alpha=0.4)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.axhline(1 / study.num_classes, color="black", ls="--", lw=0.8, alpha=0.5)
    axes.set(xlabel="training images", ylabel="accuracy on images held out", ylim=(0, 1.02))
    axes.grid(True, axis="y")
    axes.legend(loc="best")
