"""The pilot: each arm's learning rate, and whether the world asks anything, on seeds that the study never uses again.

A world is fit for the study where all three arms, shown fresh images without end, come far above chance in the steps
that there are; otherwise too few steps would be taken for too little data.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .cells import Spec, result_of, run_cells
from .hypotheses import Settings, cells_of

SEEDS = (90_001, 90_002)
RATES = (0.001, 0.003, 0.01)
LEAST_RANGE = 0.3  # between chance and the ideal world, in every arm


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
    tried = {name_of(*key): key for key in candidates()}
    specs = {name: [plain(settings, *key, seed) for seed in seeds] for name, key in tried.items()}
    run_cells(folder, [spec for each in specs.values() for spec in each], jobs, **how)
    scores = {name: [accuracy_of(folder, spec) for spec in each] for name, each in specs.items()}
    best = {
        arm: tried[max((n for n in tried if tried[n][0] == arm), key=lambda n: np.mean(scores[n]))] for arm in "SCE"
    }
    chosen = replace(settings, rates={arm: rate for arm, rate, _ in best.values()}, balanced=best["S"][2])

    ideal = {arm: [cells_of(chosen, seed)[f"{arm} ideal"] for seed in seeds] for arm in "SCE"}
    run_cells(folder, [spec for each in ideal.values() for spec in each], jobs, **how)
    scores |= {f"{arm} ideal": [accuracy_of(folder, spec) for spec in each] for arm, each in ideal.items()}
    chance = 1 / settings.knobs.num_classes
    return Pilot(chosen, scores, {arm: float(np.mean(scores[f"{arm} ideal"])) - chance for arm in "SCE"})


def candidates() -> list[tuple[str, float, bool]]:
    """Arm, rate, and whether the classes of its pixels weigh alike: each arm's grid."""
    return [
        (arm, rate, balanced)
        for arm in "SCE"
        for rate in RATES
        for balanced in ((False, True) if arm == "S" else (False,))
    ]


def name_of(arm: str, rate: float, balanced: bool) -> str:
    return f"{arm} {rate:g}" + (" balanced" if balanced else "")


def plain(settings: Settings, arm: str, rate: float, balanced: bool, seed: int) -> Spec:
    trial = replace(settings, rates=dict.fromkeys("SCE", rate), balanced=balanced)
    return cells_of(trial, seed)[arm]


def accuracy_of(folder: Path, spec: Spec) -> float:
    return result_of(folder, spec)["tests"]["independent"]["accuracy"]
