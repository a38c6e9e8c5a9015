"""The figures of docs/why.md: those of the study's report, the answer's, and the forest plot of the reasons."""

from pathlib import Path

from data_pipeline.files import write_atomically

REPORTED = ("images", "pixels", "parameters", "distance", "backgrounds", "transfer")
SAMPLES = 6  # the first rows of the report's scenes: those that the page speaks of
SIZES = {"answer": (8.2, 3.3), "forest": (9.2, 5.6), "decoys": (6.4, 3.2), "samples": (5.4, 4.2)}


def draw(study, said, pointing, folder: Path) -> None:
    """Write every figure as FOLDER/NAME.png."""
    from docs import why_difficulty
    from docs.why import contrast, rows
    from engine.reporting.plots import drawn
    from study.figures import figures, samples

    made = {name: each for name, each in figures(study, said).items() if name in REPORTED}
    made["answer"] = (lambda figure, study: answer(figure, study, pointing), SIZES["answer"], "")
    made["decoys"] = (lambda figure, _: why_difficulty.draw(figure, contrast("difficulty")), SIZES["decoys"], "")
    made["samples"] = (lambda figure, study: samples(figure, study, SAMPLES), SIZES["samples"], "")
    made["forest"] = (lambda figure, study: forest(figure, rows(study, pointing)), SIZES["forest"], "")
    for name, (paint, size, _) in made.items():
        with drawn(*size) as (figure, _):
            paint(figure, study)
            with write_atomically(folder / f"{name}.png") as temporary:
                figure.savefig(temporary, format="png", facecolor="white", dpi=110)


def answer(figure, study, pointing) -> None:
    """Left: accuracy over images. Right: accuracy by what the mask covers."""
    from study.figures import ARM_COLORS, MARKERS, chance, line, logarithmic
    from study.findings import curves, point

    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    for arm, curve in curves(study).items():
        counts = [count for count in curve if count]
        line(left, arm, counts, [curve[count] for count in counts])
    logarithmic(left, counts)
    left.set(xlabel="training images", ylabel="accuracy on new images")
    left.legend(loc="lower right", fontsize=8, borderpad=0.2, labelspacing=0.3)
    shown = covered(study, pointing)
    for row, (_, values, arm, earlier) in enumerate(shown):
        line(right, arm, [row], [point(values)], joined=False)
        if earlier is not None:
            right.plot(row + 0.18, earlier.mean(), MARKERS[arm], color=ARM_COLORS[arm], mfc="white", ms=5)
    right.text(len(shown) - 0.55, 1 / study.num_classes + 0.01, "chance", ha="right", fontsize=8)
    right.set_xticks(range(len(shown)), [words for words, *_ in shown], fontsize=8)
    right.set_xlim(-0.5, len(shown) - 0.5)
    left.set_title("The object's texture decides the class", fontsize=9)
    right.set_title("A small spot decides the class; 16 images", fontsize=9)
    for axes in (left, right):
        chance(axes, study)


def covered(study, pointing) -> list[tuple]:
    """What a mask covers, in words; accuracies; whose colour; those of the earlier run, if it had that arm."""
    if pointing:
        names = {
            "mark": ("U-Net:\na disc on\nthe spot", "S on", "S on key near"),
            "random place": ("U-Net: a\ndisc at a\nrandom place", "S", None),
            "object": ("U-Net:\nmask of\nthe object", "S", "S key near"),
            "label": ("the same\nU-Net:\nlabel", "C", "C key near"),
            "label, classifier": ("usual\nclassifier:\nlabel", "E", None),
        }
        return [
            (words, pointing.values(name), arm, earlier and study.values(earlier))
            for name, (words, arm, earlier) in names.items()
        ]
    names = {
        "S on key near": ("U-Net:\nmask of\nthe spot", "S on"),
        "S key near": ("U-Net:\nmask of\nthe object", "S"),
        "C key near": ("the same\nU-Net:\nlabel", "C"),
    }
    return [(words, study.values(name), arm, None) for name, (words, arm) in names.items()]


def forest(figure, made) -> None:
    """A row for each difference, the reasons apart; right of 0 the reason is right."""
    from docs.why_text import REASONS
    from engine.reporting.plots import COLORS
    from study.verdicts import SMALLEST

    axes = figure.subplots()
    axes.axvline(0, color="black", lw=0.8, alpha=0.6)
    axes.axvspan(-SMALLEST, SMALLEST, color="black", alpha=0.06, lw=0)
    reasons = list(REASONS)
    places = [row + 0.6 * reasons.index(each.reason) for row, each in enumerate(made)]
    for place, each in zip(places, made, strict=True):
        effect, color = each.effect, [*COLORS, "dimgray"][reasons.index(each.reason)]
        axes.plot([effect.low, effect.high], [place, place], color=color, lw=2.2, alpha=0.55)
        axes.plot(effect.value, place, "o", ms=5, color=color)
    axes.set(yticks=places, ylim=(places[-1] + 0.7, -0.7))
    axes.set_yticklabels([f"{each.words}{' (mIoU)' * (each.measure == 'mIoU')}" for each in made])
    axes.set_xlabel("against the reason  ←  difference in accuracy or mIoU  →  for the reason")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
