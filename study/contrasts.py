"""Contrasts of single reasons, judged on plain accuracy: each with arms, learning rates and fresh seeds of its own.

pointing
          A disc of one size, of the image's class: on the mark that decides the class, on a random place,
          or nowhere (the class alone, told of the whole image). If masks help because they point at the evidence, the
          first two differ: both name the class, both label as many pixels, and only one says where to look.
difficulty
          Masks and the usual classifier by the number of images, up to a few hundred, in scenes without decoys and
          with many: whether the lead of masks lasts to hundreds of images, and whether decoys make it. Tuned half way,
          with few decoys.
"""

from dataclasses import replace
from functools import partial

from .cells import Spec
from .hypotheses import Settings
from .photographs import CENTRE, PRESENCE

POINTING = {  # the arms, and what is special about each
    "mark": {"arm": "S", "on_key": True},
    "random place": {"arm": "S", "elsewhere": True},
    "object": {"arm": "S"},
    "label": {"arm": "C"},
    "label, classifier": {"arm": "E"},
}


def cells_of_arms(arms: dict[str, dict], settings: Settings, seed: int) -> dict[str, Spec]:
    """One cell for each arm, with the arm's own learning rate; masks' classes weigh alike."""
    plain = Spec(
        "S", seed, settings.count, settings.steps, 0.0, settings.knobs, settings.width, tests=settings.tests
    )  # fmt: skip
    return {
        name: replace(plain, **special, rate=settings.rates[name], balanced=special["arm"] == "S")
        for name, special in arms.items()
    }


pointing = partial(cells_of_arms, POINTING)

DECOYS, COUNTS = (0, 8), (64, 256)
LEARNERS = {"masks": {"arm": "S"}, "classifier": {"arm": "E"}}

learners = partial(cells_of_arms, LEARNERS)


def difficulty(settings: Settings, seed: int) -> dict[str, Spec]:
    """Masks and the usual classifier by decoys and images."""
    return {
        name_of(name, decoys, count): replace(cell, knobs=replace(cell.knobs, decoys=decoys), count=count)
        for name, cell in learners(settings, seed).items()
        for decoys in DECOYS
        for count in COUNTS
    }


def name_of(learner: str, decoys: int, count: int) -> str:
    return f"{learner}, {decoys} decoys, {count} images"


STARTS = ("", " pretrained")  # of an arm's name
CLICKS = {"1 click": (1, 0), "16 clicks": (8, 8)}  # labelled pixels of the image's class, and beside it


def cells_of_own(settings: Settings, seed: int) -> dict[str, Spec]:
    """List the cells of a user's images: labels, clicks and masks, from scratch and, with a weights file, from a
    pretrained encoder.

    Labels with every number of images, so that it can be read off how many of them a mask is worth; masks too where
    ``settings.pixels`` asks for it.
    """
    cells = {}
    for start in STARTS if settings.weights else STARTS[:1]:
        labels = Spec(
            f"E{start}",
            seed,
            settings.count,
            settings.steps,
            settings.rates[f"labels{start}"],
            settings.knobs,
            settings.width,
            tests=settings.tests,
            weights=settings.weights if start else "",
        )
        masks = replace(labels, arm=f"S{start}", rate=settings.rates[f"masks{start}"], balanced=True)
        cells |= {f"labels{start}": labels, f"masks{start}": masks}
        cells |= {f"labels{start} of {count}": replace(labels, count=count) for count in settings.counts}
        cells |= {
            f"{words}{start}": replace(masks, on_target=on, off_target=off) for words, (on, off) in CLICKS.items()
        }
        if settings.pixels:
            cells |= {f"masks{start} of {count}": replace(masks, count=count) for count in settings.counts}
    return cells


SUPERVISIONS = {  # of tiles of photographs, and what is special about each; see tiles.py
    "masks": {"arm": "S"},
    "16 pixels": {"arm": "S", "pixels": 16},
    "1 pixel": {"arm": "S", "pixels": 1},
    "U-Net, centre": {"arm": "C", "decision": CENTRE},
    "classifier, centre": {"arm": "E", "decision": CENTRE},
    "U-Net, presence": {"arm": "C", "decision": PRESENCE},
    "classifier, presence": {"arm": "E", "decision": PRESENCE},
}


TUNED = {"S": "masks", "C": "masks", "E": "classifier, presence"}  # whose learning rate a network has in every arm


def cells_of_photographs(settings: Settings, seed: int) -> dict[str, Spec]:
    """One cell for each supervision of the same tiles."""
    plain = Spec("S", seed, settings.count, settings.steps, 0.0, settings.knobs, settings.width, tests=0)
    return {
        name: replace(plain, **special, rate=settings.rates[TUNED[special["arm"]]], balanced=True)
        for name, special in SUPERVISIONS.items()
    }
