"""The hypotheses that the small study confirms or not: which cells each needs, and what it predicts of their scores.

Scores are put on a scale from chance to what the arm attains in the ideal world, where every step sees fresh images
(Nakkiran, Neyshabur, Sedghi 2020, arXiv 2010.08127): A = (score − floor) / (ideal − floor), each the mean over seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .cells import Spec
from .scenes import Knobs
from .verdicts import Contrast

ENOUGH = 0.8  # share of the gain from 1 pixel to the whole mask that 16 pixels must reach for bits not to be the reason
RHO = 0.95  # how far background and class go together, for H4
FEW, SOME = 1, 16  # labelled pixels of a mask, for H2


@dataclass(frozen=True)
class Settings:
    """What all cells share. rates, and of S whether its classes are balanced: tuned on seeds of their own."""

    knobs: Knobs
    rates: dict[str, float]
    balanced: bool
    count: int = 32
    steps: int = 300
    width: int = 8
    tests: int = 1000


def cells_of(settings: Settings, seed: int) -> dict[str, Spec]:
    """The cells of one seed by name: an arm, and what is special about it."""

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

    tied = replace(settings.knobs, rho=RHO)
    return (
        {arm: cell(arm) for arm in "SCE"}
        | {f"{arm} ideal": cell(arm, count=0) for arm in "SCE"}
        | {f"{arm} tied": cell(arm, knobs=tied) for arm in "SC"}
        | {f"S {pixels} pixels": cell("S", pixels=pixels) for pixels in (FEW, SOME)}
    )


@dataclass(frozen=True)
class Hypothesis:
    """claim: what is said to be true; columns: a cell's name and how a number is read from its result."""

    name: str
    claim: str
    columns: tuple[tuple[str, Callable[[dict, int], float]], ...]
    statistic: Callable[[np.ndarray], float]

    @property
    def contrast(self) -> Contrast:
        return Contrast(self.name, self.statistic)

    def numbers(self, seeds: list[dict[str, dict]], num_classes: int) -> np.ndarray:
        """float (seeds, columns), from each seed's results by the cells' names."""
        return np.array([[read(results[cell], num_classes) for cell, read in self.columns] for results in seeds])


def accuracy(test: str = "independent") -> Callable[[dict, int], float]:
    return lambda result, num_classes: result["tests"][test]["accuracy"]


def miou(result: dict, num_classes: int) -> float:
    return result["tests"]["independent"]["miou"]


def chance(result: dict, num_classes: int) -> float:
    return 1 / num_classes


def all_background(result: dict, num_classes: int) -> float:
    """The mIoU of a network that paints nothing."""
    return result["background"] / (num_classes + 1)


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


E_COLUMNS = (("E", accuracy()), ("E ideal", accuracy()), ("E", chance))

HYPOTHESES = (
    Hypothesis(
        "H6a",
        "from so few images, trained from scratch, masks teach segmentation better than labels teach classification, "
        "each beside what it attains with fresh images without end",
        (("S", miou), ("S ideal", miou), ("S", all_background), *E_COLUMNS),
        lead,
    ),
    Hypothesis(
        "H6b",
        "from so few images, trained from scratch, masks teach the image's class better than labels do",
        (("S", accuracy()), ("S ideal", accuracy()), ("S", chance), *E_COLUMNS),
        lead,
    ),
    Hypothesis(
        "H2",
        f"the many labelled pixels are the reason: {SOME} of them reach less than {ENOUGH:.0%} of what all gain over "
        f"{FEW}",
        (
            (f"S {FEW} pixels", accuracy()),
            (f"S {SOME} pixels", accuracy()),
            ("S", accuracy()),
            ("S ideal", accuracy()),
            ("S", chance),
        ),
        rest_of_the_mask,
    ),
    Hypothesis(
        "H4",
        "labels teach the background where it goes with the class, and masks do so less",
        (
            ("C tied", accuracy("matched")),
            ("C tied", accuracy("conflicting")),
            ("S tied", accuracy("matched")),
            ("S tied", accuracy("conflicting")),
        ),
        further_fall,
    ),
)
