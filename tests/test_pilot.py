"""The pilot finds each arm's planted best rate, and says whether the world asks anything."""

import json
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.files import read_json
from study.contrasts import difficulty, learners, pointing
from study.hypotheses import Settings
from study.pilot import RATES, SEEDS, grid_plan, run_grid, run_pilot
from study.plan import PILOTS, PLANS, PRESETS, make_plan
from study.scenes import Knobs

SETTINGS = Settings(Knobs(), dict.fromkeys("SCE", 0.003), balanced=False)
BEST = {("S", 0.003, True): 0.8, ("C", 0.001, False): 0.5, ("E", 0.001, False): 0.6}
BEST_MOVED = {("S", 0.001): 0.7, ("E", 0.003): 0.9}


def planted(ideal):
    def work(spec, folder):
        score = BEST.get((spec.arm, spec.rate, spec.balanced), 0.3)
        if spec.start:
            score = BEST_MOVED.get((spec.arm, spec.rate), 0.3)
        if spec.count == 0:
            score = ideal[spec.arm]
        return {"tests": {"independent": {"accuracy": score + 0.01 * (spec.seed == SEEDS[0])}}}

    return work


def test_it_chooses_the_best_of_each_arms_grid(tmp_path):
    pilot = run_pilot(tmp_path, SETTINGS, work=planted({"S": 0.9, "C": 0.8, "E": 0.7}))
    assert pilot.settings.rates == {"S": 0.003, "C": 0.001, "E": 0.001, "S moved": 0.001, "E moved": 0.003}
    assert pilot.settings.balanced
    assert pilot.ranges == pytest.approx({"S": 0.655, "C": 0.555, "E": 0.455}) and pilot.fit
    assert len(pilot.scores) == (2 + 1 + 1 + 1 + 1) * len(RATES) + 3
    assert pilot.scores["E 0.001"] == pytest.approx([0.61, 0.6])


@pytest.mark.parametrize("arm", ["S", "C", "E"])
def test_one_arm_near_chance_with_fresh_images_makes_the_world_unfit(tmp_path, arm):
    pilot = run_pilot(tmp_path, SETTINGS, work=planted({"S": 0.9, "C": 0.9, "E": 0.9} | {arm: 0.5}))
    assert not pilot.fit


PEAKS = {"mark": 0.003, "random place": 0.01, "object": 0.0001, "label": 0.1, "label, classifier": 0.003}


def test_a_contrasts_arms_are_tried_equally_often_and_none_is_best_at_an_end(tmp_path):
    """By hand: the object's best lies two rates below the grid, the label's one above; the ends follow."""
    settings = replace(PRESETS["pointing"].base, steps=1)

    def work(spec, folder):
        name = next(name for name, cell in pointing(settings, spec.seed).items() if alike(cell, spec))
        return {"tests": {"independent": {"accuracy": 0.8 - 0.1 * abs(np.log10(spec.rate / PEAKS[name]))}}}

    def alike(cell, spec):
        return replace(cell, rate=0, seed=0) == replace(spec, rate=0, seed=0)

    plan = grid_plan(settings, pointing)
    pilot = run_grid(tmp_path, settings, pointing, work=work)
    assert pilot.settings.rates == PEAKS and pilot.fit and pilot.ranges == {"best arm": pytest.approx(0.55)}
    tries = [name.rsplit(" ", 1)[0] for name in pilot.scores]
    assert {tries.count(arm) for arm in PEAKS} == {8} and set(tries) == set(PEAKS)
    kept = {path.stem for path in (tmp_path / "cells").iterdir()}
    assert {name for each in plan["cells"].values() for name in each} < kept


@pytest.mark.parametrize("name", ["pointing", "difficulty"])
def test_the_committed_grids_are_those_that_the_code_tries(name):
    kept = read_json(PLANS / f"{name}-pilot.json")
    preset = PRESETS[name]
    assert kept == json.loads(json.dumps(grid_plan(preset.base, preset.grid)))


@pytest.mark.parametrize("name", ["pointing", "difficulty"])
def test_a_committed_plan_is_the_one_that_its_pilot_gives(tmp_path, name):
    """And no arm's best rate lies at an end of what was tried."""
    pilot = read_json(PILOTS / f"{name}.json")
    assert make_plan(tmp_path, name).hash == read_json(PLANS / f"{name}.json")["hash"]
    for arm, rate in pilot["settings"]["rates"].items():
        tried = sorted(float(name.rsplit(" ", 1)[1]) for name in pilot["scores"] if name.rsplit(" ", 1)[0] == arm)
        assert len(tried) == 5 and tried[0] < rate < tried[-1]


def test_difficulty_changes_decoys_and_images_alone():
    settings = PRESETS["difficulty"].base
    cells, tuned = difficulty(settings, 60), learners(settings, 60)
    assert len(cells) == 8 and {spec.count for spec in cells.values()} == {64, 256}
    assert tuned["masks"].knobs.decoys == 3 and tuned["masks"].count == 64
    other = cells["classifier, 8 decoys, 256 images"]
    assert other == replace(tuned["classifier"], count=256, knobs=replace(tuned["classifier"].knobs, decoys=8))
