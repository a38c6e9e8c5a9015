"""The study's figures, each from its table in ``findings``: SVG for the page, and files of both kinds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_pipeline.files import write_atomically
from engine.reporting.plots import COLORS, drawn

from . import findings as found
from .cells import BATCH, TRAIN
from .findings import Finding, Point, Study
from .hypotheses import FAR, RHO
from .own import Own
from .scenes import Knobs, scene
from .verdicts import SMALLEST

ARM_COLORS = dict(zip(("S", "C", "E", "S on"), COLORS, strict=False))
ARM_WORDS = {
    "S": "U-Net, masks",
    "C": "the same U-Net, labels",
    "E": "usual classifier, labels",
    "S on": "U-Net, masks on the spot",
}
MARKERS = dict(zip(ARM_WORDS, "os^D", strict=True))
ACCURACY = "accuracy on new images"
SAMPLES = 6  # of each knob


def figures(study: Study, said: list[Finding]) -> dict[str, tuple[Callable, tuple[float, float], str]]:
    """Name → what draws it on a figure, its size in inches, and what it shows in words; those that have cells."""
    made = {"verdicts": (lambda f, s: forest(f, said), (6.8, 0.9 + 0.34 * len(said)), "Each hypothesis's effect")}
    if not isinstance(study.plan.settings.knobs, Own):
        made["samples"] = (samples, (5.4, 6.6), "Scenes of one world, one knob turned in each row")
    if len([count for count in found.curves(study)["S"] if count]) > 1:
        made["images"] = (images, (6.4, 3.6), "Accuracy over training images, with the ideal world's")
    if len(found.pixel_rows(study)) > 1:
        made["pixels"] = (pixels, (7.2, 3.4), "Accuracy and mIoU over labelled pixels")
    if len(found.widths(study)) > 3:
        made["parameters"] = (parameters, (6.4, 3.4), "Accuracy over the network's width")
    if found.keys(study):
        made["distance"] = (distance, (6.4, 3.4), "Accuracy with the marker near and far")
    if found.backgrounds(study):
        made["backgrounds"] = (backgrounds, (6.4, 3.4), "Accuracy on matched and conflicting backgrounds")
    if len(found.transfers(study)) > 2:
        made["transfer"] = (transfer, (6.4, 3.4), "Accuracy from scratch, frozen and fine-tuned")
    return made


def draw(study: Study, said: list[Finding], folder: Path) -> dict[str, tuple[str, str]]:
    """Write every figure as FOLDER/NAME.svg and .png; name → (SVG, what it shows)."""
    svgs = {}
    for name, (paint, size, words) in figures(study, said).items():
        with drawn(*size) as (figure, out):
            paint(figure, study)
            with write_atomically(Path(folder) / f"{name}.png") as temporary:
                figure.savefig(temporary, format="png", facecolor="white", dpi=110)
        svgs[name] = (out.getvalue(), words)
        with write_atomically(Path(folder) / f"{name}.svg") as temporary:
            temporary.write_text(out.getvalue(), encoding="utf-8")
    return svgs


def forest(figure, said: list[Finding]) -> None:
    """Effects with their 95% intervals, and the smallest effect of interest."""
    axes = figure.subplots()
    axes.axvline(0, color="black", lw=0.8, alpha=0.6)
    axes.axvspan(-SMALLEST, SMALLEST, color="black", alpha=0.06, lw=0)
    for row, one in enumerate(said):
        if one.verdict:
            about = one.verdict.estimate
            axes.plot([about.low, about.high], [row, row], color=COLORS[0], lw=2.2, alpha=0.55)
        if one.value is not None:
            axes.plot(one.value, row, "o", ms=5, color=COLORS[0])
    axes.set(yticks=range(len(said)), ylim=(len(said) - 0.5, -0.5))
    axes.set_yticklabels([f"{one.hypothesis.name}  {one.words}" for one in said])
    axes.set_xlabel("effect, in units of each hypothesis (grey: smaller than what matters)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def images(figure, study: Study) -> None:
    axes = figure.subplots()
    counts = set()
    for arm, curve in found.curves(study).items():
        xs = [count for count in curve if count]
        line(axes, arm, xs, [curve[count] for count in xs])
        counts |= set(xs)
        if 0 in curve:
            axes.axhline(curve[0].mean, color=ARM_COLORS[arm], ls=":", lw=1.1)
    logarithmic(axes, sorted(counts))
    chance(axes, study)
    settings = study.plan.settings
    every = "all there are" if isinstance(settings.knobs, Own) else f"{BATCH * settings.steps:,}, none seen twice"
    axes.set(xlabel=f"training images (dotted: {every})", ylabel=ACCURACY)
    axes.legend(loc="best")


def pixels(figure, study: Study) -> None:
    rows = [row for row in found.pixel_rows(study) if row["images"] == study.count]
    rows.sort(key=lambda row: row["pixels"] or np.inf)
    every = study.plan.settings.knobs.size**2
    for axes, measure, label in zip(figure.subplots(1, 2), ("accuracy", "miou"), (ACCURACY, "mIoU"), strict=True):
        xs = [row["pixels"] or every for row in rows]
        line(axes, "S", xs, [row[measure] for row in rows])
        logarithmic(axes, xs)
        axes.set(xlabel="labelled pixels of a mask", ylabel=label)
        axes.set_xticks(xs, [str(x) if x < every else "all" for x in xs])
    chance(figure.axes[0], study)


def parameters(figure, study: Study) -> None:
    axes, table = figure.subplots(), found.widths(study)
    for arm in "SCE":
        each = sorted(width for name, width in table if name == arm)
        if each:
            line(axes, arm, each, [table[arm, width] for width in each])
    logarithmic(axes, sorted({width for _, width in table}))
    chance(axes, study)
    axes.set(xlabel="channels of the first level (parameters grow with the square)", ylabel=ACCURACY)
    axes.legend(loc="best")


def distance(figure, study: Study) -> None:
    far = f"{round(FAR * study.plan.settings.knobs.size)} pixels beside it"
    bars(figure, study, found.keys(study), {"near": "spot in the object", "far": far})


def backgrounds(figure, study: Study) -> None:
    names = {"matched": "backgrounds as in training", "independent": "independent", "conflicting": "conflicting"}
    bars(figure, study, found.backgrounds(study), names)


def transfer(figure, study: Study) -> None:
    names = {"": "scratch", "long": "scratch,\ntwice as long", "selffer": "its own\nencoder"}
    bars(figure, study, found.transfers(study), names | {"frozen": "frozen", "fine-tuned": "fine-tuned"})


def bars(figure, study: Study, table: dict[tuple, Point], names: dict[str, str]) -> None:
    """Points by group (x) and arm."""
    axes = figure.subplots()
    arms = list(dict.fromkeys(arm for arm, _ in table))
    for place, arm in enumerate(arms):
        xs = [x for x, name in enumerate(names) if (arm, name) in table]
        held = [table[arm, name] for name in names if (arm, name) in table]
        line(axes, arm, [x + 0.09 * (place - (len(arms) - 1) / 2) for x in xs], held, joined=False)
    axes.set_xticks(range(len(names)), names.values())
    axes.set(ylabel=ACCURACY, xlim=(-0.5, len(names) - 0.5))
    chance(axes, study)
    axes.legend(loc="best")


def line(axes, arm: str, xs: list[float], points: list[Point], joined: bool = True) -> None:
    """An arm's means with their 95% intervals."""
    color = ARM_COLORS[arm]
    for x, point in zip(xs, points, strict=True):
        if point.low is not None:
            axes.plot([x, x], [point.low, point.high], color=color, lw=1.6, alpha=0.5)
    style = MARKERS[arm] + ("-" if joined else "")
    axes.plot(xs, [point.mean for point in points], style, color=color, ms=4.5, lw=1.2, label=ARM_WORDS[arm])
    axes.grid(True, axis="y")


def logarithmic(axes, ticks: list[float]) -> None:
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def chance(axes, study: Study) -> None:
    axes.axhline(1 / study.num_classes, color="black", ls="--", lw=0.8, alpha=0.5)
    axes.set_ylim(0, 1.02)


def samples(figure, study: Study, count: int | None = None) -> None:
    """One row for each knob, or for the first ``count`` of them: the same scenes but for what it turns."""
    knobs, seed = study.plan.settings.knobs, study.plan.seeds[0]
    far = round(FAR * knobs.size)
    rows = {
        "the study's": knobs,
        "masks": knobs,
        f"background tied\nto class, {RHO}": replace(knobs, rho=RHO),
        "spot in\nthe object": replace(knobs, cue="key"),
        f"spot {far} pixels\nbeside it": replace(knobs, cue="key", distance=far),
        "sibling world": replace(knobs, sibling=True),
        "outline tells": replace(knobs, cue="shape"),
        f"cue of {knobs.snr / 2:g} times\nthe noise": replace(knobs, snr=knobs.snr / 2),
        "no decoys": replace(knobs, decoys=0),
        "ragged": replace(knobs, raggedness=3 * knobs.raggedness),
    }
    shown = list(rows.items())[:count]
    for axes, (name, turned) in zip(figure.subplots(len(shown), 1), shown, strict=True):
        axes.imshow(strip(seed, turned, name == "masks"), interpolation="nearest")
        axes.set_yticks([turned.size / 2], [name], fontsize=8)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def strip(seed: int, knobs: Knobs, masks: bool) -> np.ndarray:
    """Training scenes side by side, uint8 (size, …, 3), their classes in turn; or their masks in the arms' colours."""
    scenes = [scene(seed, TRAIN, i, knobs, label=i % knobs.num_classes) for i in range(SAMPLES)]
    colors = np.array([(230, 230, 230), *([int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLORS)], np.uint8)
    return np.hstack([colors[one.mask % len(colors)] if masks else one.image for one in scenes])
