"""The hypotheses: which cells each needs, and what it predicts of their scores.

Scores are put on a scale from chance to what the arm attains in the ideal world, where every step sees fresh images
(Nakkiran, Neyshabur, Sedghi 2020, arXiv 2010.08127): A = (score − floor) / (ideal − floor), each the mean over seeds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .cells import Spec
from .own import Own
from .photographs import Photographs
from .scenes import Knobs
from .verdicts import Contrast

ENOUGH = 0.8  # share of the gain from 1 pixel to the whole mask that 16 pixels must reach for bits not to be the reason
RHO = 0.95  # how far background and class go together, for H4
FEW, SOME = 1, 16  # labelled pixels of a mask, for H2
FAR = 1 / 6  # of the image's side: how far the key is from the target, for H3
OFF_THE_FLOOR = 0.05  # above chance
LEFT = 0.05  # of error that must be left before transfer, for H5
SHIFT = 0.05  # by which twice the steps may move two arms apart before a verdict is one on training time
LEAST_RANGE = 0.3  # between chance and the ideal world

SECOND = {
    "accuracy": "likelihood",
    "miou": "dice",
    "blank miou": "blank dice",
}  # the metrics that verdicts are redone on


@dataclass(frozen=True)
class Settings:
    """Settings that all cells share. rates, and of S whether its classes are balanced: tuned on seeds of their own.

    rates: of "S", "C", "E", and of "S" and "E" where they begin with another's encoder, "S moved" and "E moved".
    count: images at which the hypotheses are put, N*. counts, widths, pixels: what is tried beside.
    weights: SHA-256 of a pretrained encoder's file.
    """

    knobs: Knobs | Own | Photographs
    rates: dict[str, float]
    balanced: bool
    count: int = 16
    steps: int = 800
    width: int = 8
    tests: int = 1000
    counts: tuple[int, ...] = (8, 32, 64, 128)
    widths: tuple[int, ...] = (4, 16)
    pixels: tuple[int, ...] = (FEW, 4, SOME, 64)
    weights: str = ""


def cells_of(settings: Settings, seed: int) -> dict[str, Spec]:
    """All cells of one seed by name: an arm, and what is special about it."""

    def cell(arm: str, **special) -> Spec:
        plain = Spec(
            arm,
            seed,
            settings.count,
            settings.steps,
            settings.rates[arm],
            settings.knobs,
            settings.width,
            settings.balanced and arm == "S",
            tests=settings.tests,
        )
        return replace(plain, **special)

    least, most = settings.counts[0], settings.counts[-1]
    cells = (
        {arm: cell(arm) for arm in "SCE"}
        | {f"{arm} ideal": cell(arm, count=0) for arm in "SCE"}
        | {f"S {pixels} pixels": cell("S", pixels=pixels) for pixels in settings.pixels}
        | {f"S 64 pixels of {least}": cell("S", pixels=64, count=least)}
        | {f"S 4 pixels of {most}": cell("S", pixels=4, count=most)}
        | {f"{arm} of {count}": cell(arm, count=count) for count in settings.counts for arm in "SCE"}
        | {f"{arm} width {width}": cell(arm, width=width) for width in settings.widths for arm in "SCE"}
        | {f"E width {width} ideal": cell("E", width=width, count=0) for width in settings.widths}
        | {f"{arm} long": cell(arm, steps=2 * settings.steps) for arm in "SCE"}
        | {f"{arm} long of {most}": cell(arm, steps=2 * settings.steps, count=most) for arm in "SCE"}
    )
    return (
        cells
        if isinstance(settings.knobs, Own)
        else cells | tied(settings, cell) | keyed(settings, cell) | moved(settings, cell)
    )


def tied(settings: Settings, cell: Callable[..., Spec]) -> dict[str, Spec]:
    """Backgrounds that go with the class."""
    return {f"{arm} tied": cell(arm, knobs=replace(settings.knobs, rho=RHO)) for arm in "SCE"}


def keyed(settings: Settings, cell: Callable[..., Spec]) -> dict[str, Spec]:
    """The class in a marker, inside the target or far from it; masks on the target, or on the marker."""
    cells = {}
    for name, distance in (("near", 0), ("far", round(FAR * settings.knobs.size))):
        knobs = replace(settings.knobs, cue="key", distance=distance)
        cells |= {f"{arm} key {name}": cell(arm, knobs=knobs) for arm in "SC"}
        cells[f"S on key {name}"] = cell("S", knobs=knobs, on_key=True)
    return cells


def moved(settings: Settings, cell: Callable[..., Spec]) -> dict[str, Spec]:
    """Cells that begin with an encoder: that of a classifier of the sibling world's fresh images, or its own.

    The second is the control of Yosinski et al. 2014 (arXiv 1411.1792), "selffer": the same images once more, with
    all but the encoder drawn anew.
    """
    parent = cell("E", count=0, knobs=replace(settings.knobs, sibling=True))
    cells = {}
    for arm in "SE":
        rate = settings.rates.get(f"{arm} moved", settings.rates[arm])
        cells |= {
            f"{arm} fine-tuned": cell(arm, start=parent, rate=rate),
            f"{arm} frozen": cell(arm, start=parent, rate=rate, frozen=True),
            f"{arm} selffer": cell(arm, start=cell(arm), rate=rate),
        }
    return cells


class Column(NamedTuple):
    """A number of each seed: a cell's measure on a test set."""

    cell: str
    measure: str = "accuracy"
    test: str = "independent"

    def read(self, results: dict[str, dict], num_classes: int) -> float:
        result = results[self.cell]
        background = result["background"]
        blank = {  # floors: an image's class guessed, nothing painted
            "chance": 1 / num_classes,
            "blank miou": background / (num_classes + 1),
            "blank dice": 2 * background / (1 + background) / (num_classes + 1),
        }
        return blank[self.measure] if self.measure in blank else result["tests"][self.test][self.measure]


@dataclass(frozen=True)
class Hypothesis:
    """A claim, and what it says of the columns' statistic.

    arms: that the statistic sets against each other, each with its measure: were twice the steps to move them apart,
        the verdict would be one on training time; (): not guarded.
    unfit: numbers, and whether they support the claim → why they answer nothing, or "".
    """

    name: str
    claim: str
    columns: tuple[Column, ...]
    statistic: Callable[[np.ndarray], float]
    arms: tuple[tuple[str, str], ...]
    equal: bool = False
    unfit: Callable[[np.ndarray, bool], str] = lambda numbers, supported: ""

    def contrast(self, overlap: float = 0.0) -> Contrast:
        """overlap: of the seeds' images, as in ``Contrast``."""
        return Contrast(self.name, self.statistic, equal=self.equal, overlap=overlap)

    @property
    def cells(self) -> set[str]:
        """List the cells that a verdict needs; the guard of twice the steps takes more."""
        return {column.cell for column in self.columns}

    def numbers(self, seeds: Iterable[dict[str, dict]], num_classes: int, second: bool = False) -> np.ndarray:
        """float (seeds, columns), from each seed's results by the cells' names. second: on the secondary metric."""
        columns = self.columns
        if second:
            columns = [one._replace(measure=SECOND.get(one.measure, one.measure)) for one in columns]
        return np.array([[column.read(results, num_classes) for column in columns] for results in seeds])


def attained(score: np.ndarray, ideal: np.ndarray, floor: np.ndarray) -> float:
    """A, from the seeds' numbers."""
    return float((score.mean() - floor.mean()) / (ideal.mean() - floor.mean()))


def lead(numbers: np.ndarray) -> float:
    """A of the first three columns less A of the last three."""
    return attained(*numbers.T[:3]) - attained(*numbers.T[3:])


def rest_of_the_mask(numbers: np.ndarray) -> float:
    """ENOUGH of the gain of the whole mask, less that of some pixels, both over few; above 0 where bits matter.

    The columns: few pixels, some, all, ideal, chance. The ratio of the two gains would have no bounds where all
    pixels are hardly better than few.
    """
    few, some, every, ideal, floor = numbers.T
    a_few, a_some, a_all = (attained(score, ideal, floor) for score in (few, some, every))
    return ENOUGH * (a_all - a_few) - (a_some - a_few)


def further_fall(numbers: np.ndarray) -> float:
    """The first two columns' difference less that of the last two."""
    first, first_after, second, second_after = numbers.mean(axis=0)
    return float((first - first_after) - (second - second_after))


def more_removed(numbers: np.ndarray) -> float:
    """The share of the error that fine-tuning takes away: the first two columns' (after, before) less the last two's.

    NaN where nothing was left to take away.
    """
    after, before, other_after, other_before = 1 - numbers.mean(axis=0)
    return float((1 - after / before) - (1 - other_after / other_before)) if before * other_before > 0 else np.nan


def difference(numbers: np.ndarray) -> float:
    """The first column less the second."""
    return float((numbers[:, 0] - numbers[:, 1]).mean())


def fall_with_distance(numbers: np.ndarray) -> float:
    """Return how far the lead of masks falls as the key goes away; the last column is chance."""
    return further_fall(numbers[:, :4])


def key_unfit(numbers: np.ndarray, supported: bool) -> str:
    """Say why the key's cells answer nothing: labels teach nothing there, or the change is theirs and not the
    masks'."""
    s_near, s_far, c_near, c_far, chance = numbers.mean(axis=0)
    if min(c_near, c_far) < chance + OFF_THE_FLOOR:
        return f"labels alone are at chance: {c_near:.2f} near, {c_far:.2f} far"
    if supported and s_near - s_far < c_far - c_near:
        return "the change is more the labels' than the masks'"
    return ""


def transfer_unfit(numbers: np.ndarray, supported: bool) -> str:
    """Say why transfer's cells answer nothing: no error was left to take away, or none was taken from the
    classifier."""
    e_after, e_before, _, s_before = numbers.mean(axis=0)
    if min(1 - e_before, 1 - s_before) < LEFT:
        return f"training from scratch leaves too little error: E {1 - e_before:.2f}, S {1 - s_before:.2f}"
    return "fine-tuning takes none of the classifier's error away" if supported and e_after <= e_before else ""


S, C, E = (tuple(Column(*each) for each in ((arm,), (f"{arm} ideal",), (arm, "chance"))) for arm in "SCE")
BOTH, PAIR = (("S", "accuracy"), ("E", "accuracy")), (("S", "accuracy"), ("C", "accuracy"))
S_MIOU = (Column("S", "miou"), Column("S ideal", "miou"), Column("S", "blank miou"))

FIRST_EDITION = (
    Hypothesis(
        "H6a",
        "from so few images, trained from scratch, masks teach segmentation better than labels teach classification, "
        "each beside what it attains with fresh images in every step",
        (*S_MIOU, *E),
        lead,
        arms=(("S", "miou"), ("E", "accuracy")),
    ),
    Hypothesis(
        "H6b",
        "from so few images, trained from scratch, masks bring the image's class nearer to what can be attained than "
        "labels do",
        (*S, *E),
        lead,
        arms=BOTH,
    ),
    Hypothesis(
        "H1",
        "parameters are the reason: with as many of them, masks and labels bring the image's class equally near to "
        "what can be attained",
        (*S, *C),
        lead,
        arms=PAIR,
        equal=True,
    ),
    Hypothesis(
        "H2",
        f"the many labelled pixels are the reason: {SOME} of them reach less than {ENOUGH:.0%} of what all gain over "
        f"{FEW}",
        (Column(f"S {FEW} pixels"), Column(f"S {SOME} pixels"), *S),
        rest_of_the_mask,
        arms=BOTH[:1],
    ),
    Hypothesis(
        "H3",
        "the place is the reason: masks lose their lead over labels where what holds the class is away from the mask",
        (*map(Column, ("S key near", "S key far", "C key near", "C key far")), Column("C key far", "chance")),
        fall_with_distance,
        arms=PAIR,
        unfit=key_unfit,
    ),
    Hypothesis(
        "H4",
        "labels teach the background where it goes with the class, and masks do so less",
        (
            Column("C tied", test="matched"),
            Column("C tied", test="conflicting"),
            Column("S tied", test="matched"),
            Column("S tied", test="conflicting"),
        ),
        further_fall,
        arms=(),
    ),
    Hypothesis(
        "H5",
        "transfer has more to give to classification: of the error that training from scratch for as long leaves, "
        "fine-tuning takes away more",
        (Column("E fine-tuned"), Column("E long"), Column("S fine-tuned"), Column("S long")),
        more_removed,
        arms=(),
        unfit=transfer_unfit,
    ),
)

CONTRASTS = (  # of plain accuracies; their cells are in contrasts.py
    Hypothesis(
        "pointing",
        "what masks point at is a reason: a disc on the mark that decides the class teaches more than the same disc at "
        "a random place",
        (Column("mark"), Column("random place")),
        difference,
        arms=(),
    ),
    Hypothesis(
        "hundreds",
        "the lead lasts: with 256 images and 8 decoys masks name the image's class better than the usual classifier",
        (Column("masks, 8 decoys, 256 images"), Column("classifier, 8 decoys, 256 images")),
        difference,
        arms=(),
    ),
    Hypothesis(
        "difficulty",
        "decoys make the lead: with 64 images masks lead the usual classifier by more with 8 decoys than with none",
        (
            Column("masks, 8 decoys, 64 images"),
            Column("classifier, 8 decoys, 64 images"),
            Column("masks, 0 decoys, 64 images"),
            Column("classifier, 0 decoys, 64 images"),
        ),
        further_fall,
        arms=(),
    ),
)
HYPOTHESES = FIRST_EDITION + CONTRASTS
