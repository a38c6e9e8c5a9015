"""The hypotheses: their statistics by hand, the cells that they need, and verdicts on planted truths."""

from collections import Counter

import numpy as np
import pytest

from study.hypotheses import HYPOTHESES, Settings, attained, cells_of, further_fall, lead, rest_of_the_mask
from study.scenes import Knobs
from study.verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, judge

SETTINGS = Settings(Knobs(), {"S": 0.002, "C": 0.001, "E": 0.003}, balanced=True)
K = 4
NOTHING = {"S": 0.5, "C": 0.5, "E": 0.5, "few": 0.5, "some": 0.5, "falls": (0.4, 0.4), "miou": 0.4}
ALL_TRUE = {"S": 0.85, "C": 0.5, "E": 0.45, "few": 0.4, "some": 0.5, "falls": (0.1, 0.6), "miou": 0.75}


def results(truth: dict, seed: int, noise: float = 0.03) -> dict[str, dict]:
    """What one seed's cells might have found, were this the truth."""
    rng = np.random.default_rng(seed)

    def cell(independent, miou=None, **others):
        tests = {"independent": independent, **others}
        tests = {n: {"accuracy": value + noise * rng.standard_normal(), "miou": miou} for n, value in tests.items()}
        return {"tests": tests, "background": 0.9}

    s_fall, c_fall = truth["falls"]
    return {
        "S": cell(truth["S"], truth["miou"] + noise * rng.standard_normal()),
        "C": cell(truth["C"]),
        "E": cell(truth["E"]),
        **{f"{arm} ideal": cell(0.95, 0.9) for arm in "SCE"},
        "S tied": cell(0.8, matched=0.9, conflicting=0.9 - s_fall),
        "C tied": cell(0.8, matched=0.9, conflicting=0.9 - c_fall),
        "S 1 pixels": cell(truth["few"]),
        "S 16 pixels": cell(truth["some"]),
    }


def words(truth: dict, count: int = 12, noise: float = 0.03) -> dict[str, str]:
    seeds = [results(truth, seed, noise) for seed in range(count)]
    contrasts = [one.contrast for one in HYPOTHESES]
    verdicts = judge(contrasts, {one.name: one.numbers(seeds, K) for one in HYPOTHESES})
    return {one.name: verdict.words for one, verdict in zip(HYPOTHESES, verdicts, strict=True)}


def test_every_column_has_its_cell():
    cells = cells_of(SETTINGS, 3)
    assert {cell for one in HYPOTHESES for cell, _ in one.columns} | {"C", "E", "C ideal"} == set(cells)
    assert len({spec.id for spec in cells.values()}) == len(cells)
    assert {spec.seed for spec in cells.values()} == {3}


def test_cells_of_a_seed_share_all_but_what_is_compared():
    cells = cells_of(SETTINGS, 0)
    for spec in cells.values():
        assert (spec.steps, spec.width, spec.tests) == (300, 8, 1000) and spec.rate == SETTINGS.rates[spec.arm]
        assert spec.balanced == (spec.arm == "S")
    assert Counter(spec.count for spec in cells.values()) == {32: 7, 0: 3}
    assert [cells[name].pixels for name in ("S 1 pixels", "S 16 pixels", "S")] == [1, 16, None]
    assert cells["S tied"].knobs == cells["C tied"].knobs == Knobs(rho=0.95)


def test_statistics_by_hand():
    assert attained(np.array([0.5, 0.7]), np.array([0.9, 1.0]), np.array([0.25, 0.25])) == pytest.approx(0.35 / 0.7)
    assert lead(np.array([[0.6, 0.95, 0.25, 0.425, 0.95, 0.25]])) == pytest.approx(0.5 - 0.25)
    assert rest_of_the_mask(np.array([[0.25, 0.35, 0.75, 1.25, 0.25]])) == pytest.approx(0.8 * 0.5 - 0.1)
    assert further_fall(np.array([[0.9, 0.4, 0.8, 0.7], [0.7, 0.4, 0.8, 0.7]])) == pytest.approx(0.4 - 0.1)


def test_the_floor_of_miou_is_that_of_painting_nothing():
    numbers = HYPOTHESES[0].numbers([results(NOTHING, 0, noise=0)], K)
    assert numbers[0].tolist() == pytest.approx([0.4, 0.9, 0.18, 0.5, 0.95, 0.25])


def test_what_is_true_is_supported():
    assert words(ALL_TRUE) == dict.fromkeys(("H6a", "H6b", "H2", "H4"), SUPPORTED)


def test_what_is_false_is_not_supported():
    found = words(NOTHING)
    assert SUPPORTED not in found.values() and found["H4"] == NOT_SUPPORTED


@pytest.mark.parametrize(
    ("change", "fallen"),
    [
        ({"S": 0.45}, {"H6b", "H2"}),
        ({"miou": 0.35}, {"H6a"}),
        ({"some": 0.84}, {"H2"}),
        ({"falls": (0.6, 0.6)}, {"H4"}),
    ],
)
def test_each_verdict_follows_its_own_cells(change, fallen):
    found = words(ALL_TRUE | change)
    assert {name for name, said in found.items() if said != SUPPORTED} == fallen


def test_too_few_seeds_with_much_noise_settle_nothing():
    assert set(words(ALL_TRUE, count=2, noise=0.3).values()) == {INCONCLUSIVE}
