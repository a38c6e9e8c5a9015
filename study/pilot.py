"""The pilot: each arm's learning rate, and whether the world asks anything, on seeds that the study never uses again.

A world is fit for the study where all three arms, shown fresh images without end, come far above chance in the steps
that there are; otherwise too few steps would be taken for too little data.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .cells import Spec, result_of, run_cells
from .hypotheses import LEAST_RANGE, Settings, cells_of

SEEDS = (90_001, 90_002)
RATES = (0.001, 0.003, 0.01)
GRID = (0.001, 0.003, 0.01, 0.03)  # of the contrasts of single reasons; it grows while a best lies at an end
LOWER, HIGHER = (0.0003, 0.0001), (0.1, 0.3)
RULE = (
    "every arm tries every rate on the pilot's seeds; its best has the highest mean accuracy; as long as an arm's best "
    "lies at an end of the grid, every arm tries one rate more there"
)


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
    """List what is tried of an arm: each rate, and of S from scratch also whether the classes of its pixels weigh
    alike."""
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


Cells = Callable[[Settings, int], dict[str, Spec]]


def run_grid(
    folder: Path, settings: Settings, cells: Cells, jobs: int = 1, seeds: tuple[int, ...] = SEEDS, **how
) -> Pilot:
    """Tune each arm of a contrast: as many trials for one as for another, and no best at an end of the grid (RULE).

    ranges: how far above chance the best arm comes; the contrast asks nothing where none learns its world.
    """
    grid, lower, higher, scores = list(GRID), list(LOWER), list(HIGHER), {}
    arms = [name for name in settings.rates if name in cells(settings, seeds[0])]
    while True:
        run_cells(folder, [spec for rate in grid for spec in tried(settings, cells, rate, seeds)], jobs, **how)
        for arm in arms:
            for rate in grid:
                specs = [cells(at_rate(settings, rate), seed)[arm] for seed in seeds]
                scores[f"{arm} {rate:g}"] = [accuracy_of(folder, spec) for spec in specs]
        best = {arm: max(grid, key=lambda rate: np.mean(scores[f"{arm} {rate:g}"])) for arm in arms}
        more = [ends.pop(0) for end, ends in ((grid[0], lower), (grid[-1], higher)) if end in best.values() and ends]
        if not more:
            break
        grid = sorted([*grid, *more])
    top = max(np.mean(scores[f"{arm} {rate:g}"]) for arm, rate in best.items())
    chance = 1 / settings.knobs.num_classes
    return Pilot(replace(settings, rates=settings.rates | best), scores, {"best arm": float(top - chance)})


def at_rate(settings: Settings, rate: float) -> Settings:
    return replace(settings, rates=dict.fromkeys(settings.rates, rate))


def tried(settings: Settings, cells: Cells, rate: float, seeds: tuple[int, ...]) -> list[Spec]:
    """Every arm with one rate."""
    made = (cells(at_rate(settings, rate), seed) for seed in seeds)
    return [spec for each in made for name, spec in each.items() if name in settings.rates]


def grid_plan(settings: Settings, cells: Cells, seeds: tuple[int, ...] = SEEDS) -> dict:
    """Return what ``run_grid`` will try, fixed before it runs, with its hash."""
    ids = {f"{rate:g}": [spec.id for spec in tried(settings, cells, rate, seeds)] for rate in GRID}
    told = {"rule": RULE, "grid": GRID, "lower": LOWER, "higher": HIGHER, "seeds": seeds, "cells": ids}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return {"hash": hashlib.sha256(text.encode()).hexdigest(), **told}
