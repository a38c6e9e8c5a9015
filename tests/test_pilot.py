"""The pilot finds each arm's planted best rate, and says whether the world asks anything."""

import pytest

from study.hypotheses import Settings
from study.pilot import RATES, SEEDS, run_pilot
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
