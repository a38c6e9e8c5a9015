"""The pilot: each arm's learning rate, and whether the world asks anything, on seeds that the study never uses again.

A world is fit for the study where all three arms, shown fresh images without end, come far above chance in the steps
that there are; otherwise too few steps would be taken for too little data.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .cells import Spec, result_of, run_cells
from .hypotheses import LEAST_RANGE, Settings, cells_of

SEEDS = (90_001, 90_002)
RATES = (0.001, 0.003, 0.01)


@dataclass(frozen=True)
class Pilot:
    """settings: with the rates chosen; scores: accuracy of each seed by what was tried; ranges: ideal less chance."""

    settings: Settings
    scores: dict[str, list[float]]
    ranges: dict[str, float]

    @property
    def fit(self) -> bool:
        return min(self.ranges.values()) >= LEAST_RANGE


def run_pilot(folder: Path, settings: Settings, jobs: int = 1, seeds: tuple[int, ...] = SEEDS, **how) -> Pilot:
    """Tune on the few images that the study trains on, then try the ideal world with what was chosen.

    Args:
        folder: where the cells go; what is there is not done again.
        settings: their rates and balance are replaced.
        jobs, how: of ``run_cells``.
    """
    scores: dict[str, list[float]] = {}

    def best(trials: dict[str, Settings], cell: str) -> Settings:
        """The settings with which a cell comes out best."""
        found = scores_of({name: (trial, cell) for name, trial in trials.items()})
        scores.update(found)
        return trials[max(found, key=lambda name: np.mean(found[name]))]

    def scores_of(tried: dict[str, tuple[Settings, str]]) -> dict[str, list[float]]:
        specs = {name: [cells_of(trial, seed)[cell] for seed in seeds] for name, (trial, cell) in tried.items()}
        run_cells(folder, [spec for each in specs.values() for spec in each], jobs, **how)
        return {name: [accuracy_of(folder, spec) for spec in each] for name, each in specs.items()}

    for arm in "SCE":
        settings = best(grid(settings, arm), arm)
    ideal = scores_of({f"{arm} ideal": (settings, f"{arm} ideal") for arm in "SCE"})
    for arm in "SE":
        if f"{arm} fine-tuned" in cells_of(settings, seeds[0]):  # there is no sibling of a user's own images
            settings = best(grid(settings, f"{arm} moved"), f"{arm} fine-tuned")
    chance = 1 / settings.knobs.num_classes
    ranges = {arm: float(np.mean(ideal[f"{arm} ideal"])) - chance for arm in "SCE"}
    return Pilot(settings, scores | ideal, ranges)


def grid(settings: Settings, name: str) -> dict[str, Settings]:
    """What is tried of an arm: each rate, and of S from scratch also whether the classes of its pixels weigh alike."""
    tried = {f"{name} {rate:g}": replace(settings, rates=settings.rates | {name: rate}) for rate in RATES}
    if name != "S":
        return tried
    return {
        told + words: replace(trial, balanced=balanced)
        for told, trial in tried.items()
        for words, balanced in (("", False), (" balanced", True))
    }


def accuracy_of(folder: Path, spec: Spec) -> float:
    return result_of(folder, spec)["tests"]["independent"]["accuracy"]
