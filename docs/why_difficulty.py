"""Decoys and hundreds of images: what docs/why.md takes from the planned contrast of difficulty."""

import numpy as np

from docs.why import Row, of, percent
from study.contrasts import COUNTS, DECOYS, name_of

PANELS = {0: "no decoys", 8: "8 decoys"}


def values(study, learner: str, decoys: int, count: int) -> np.ndarray:
    """float (seeds,): accuracies of "masks" or "classifier"."""
    return study.values(name_of(learner, decoys, count))


def lead(study, decoys: int, count: int) -> np.ndarray:
    """float (seeds,): of masks over the usual classifier, in accuracy."""
    return values(study, "masks", decoys, count) - values(study, "classifier", decoys, count)


def rows(study) -> list[Row]:
    """What decoys add to the lead of masks: the planned difference, and beside it those with fewer and more images."""
    few, many = DECOYS
    planned, *others = sorted(COUNTS, key=lambda count: count != 64)
    told = {planned: f"planned: lead with {many} decoys minus lead without, {planned} images"}
    told |= {count: f"the same, {count} images" for count in others}
    return [
        Row(
            "decoys",
            words,
            lead(study, many, count) - lead(study, few, count),
            about=f"{count} images",
            decides=count == planned,
        )
        for count, words in told.items()
    ]


def numbers(study) -> dict[str, str]:
    """For the page's sentences: d_masks_8_256_pc, d_lead_8_256 and so on."""
    from study.effects import worth
    from study.words import labels_for

    most, least = DECOYS[-1], COUNTS[0]
    labels = {count: values(study, "classifier", most, count) for count in COUNTS}
    made = {
        "d_seeds": len(study.plan.seeds),
        "d_steps": study.plan.settings.steps,
        "d_ahead": int((lead(study, most, COUNTS[-1]) > 0).sum()),
        "d_loss": f"{max(each[name_of('classifier', most, COUNTS[-1])]['loss'] for each in study.results):.2f}",
        "d_worth": labels_for(worth(values(study, "masks", most, least), labels, least)),
    }
    for decoys in DECOYS:
        for count in COUNTS:
            masks, labels = (values(study, learner, decoys, count) for learner in ("masks", "classifier"))
            place = f"{decoys}_{count}"
            made |= {f"d_masks_{place}_pc": percent(masks), f"d_classifier_{place}_pc": percent(labels)}
            made[f"d_lead_{place}"] = of(masks - labels)
    return made


def table(study):
    """Accuracies and leads by decoys and images."""
    from engine.reporting.page import Cell, Table
    from study.effects import effect
    from study.figures import ARM_WORDS

    def row(words: str, each: list[np.ndarray]) -> list:
        made = [effect(one) for one in each]
        return [words, *(Cell(one.value, (one.low, one.high)) for one in made)]

    shown = [
        row(f"{PANELS[decoys]}: {words}", [each(decoys, count) for count in COUNTS])
        for decoys in DECOYS
        for words, each in {
            ARM_WORDS["S"]: lambda decoys, count: values(study, "masks", decoys, count),
            ARM_WORDS["E"]: lambda decoys, count: values(study, "classifier", decoys, count),
            "the lead of masks": lambda decoys, count: lead(study, decoys, count),
        }.items()
    ]
    seeds = study.plan.seeds
    caption = f"Planned: accuracy by training images, worlds {seeds[0]} to {seeds[-1]}"
    return Table(["decoys: network, trained on", *map(str, COUNTS)], shown, caption)


def draw(figure, study) -> None:
    """A panel without decoys, one with many: accuracy over images."""
    from study.figures import ACCURACY, chance, line, logarithmic
    from study.findings import point

    panels = figure.subplots(1, len(DECOYS), sharey=True)
    for axes, decoys in zip(panels, DECOYS, strict=True):
        for arm, learner in (("S", "masks"), ("E", "classifier")):
            line(axes, arm, list(COUNTS), [point(values(study, learner, decoys, count)) for count in COUNTS])
        logarithmic(axes, COUNTS)
        chance(axes, study)
        axes.set(title=PANELS[decoys], xlabel="training images")
    panels[0].set(ylabel=ACCURACY)
    panels[-1].legend(loc="lower right")
