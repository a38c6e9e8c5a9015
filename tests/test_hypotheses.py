"""The hypotheses: their statistics by hand, the cells that they need, and verdicts on planted truths."""

from dataclasses import replace

import numpy as np
import pytest

from study.cells import Spec
from study.hypotheses import (
    FIRST_EDITION,
    Settings,
    attained,
    cells_of,
    further_fall,
    lead,
    more_removed,
    rest_of_the_mask,
)
from study.scenes import Knobs
from study.verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, judge

SETTINGS = Settings(Knobs(), {"S": 0.002, "C": 0.001, "E": 0.003}, balanced=True)
K = 4
NAMES = [one.name for one in FIRST_EDITION]
NOTHING = {
    "S": 0.5, "C": 0.5, "E": 0.5, "S 1 pixels": 0.5, "S 16 pixels": 0.5, "miou": 0.4,
    "S tied": (0.9, 0.5), "C tied": (0.9, 0.5),
    "S key near": 0.6, "S key far": 0.6, "C key near": 0.6, "C key far": 0.6,
}  # fmt: skip
ALL_TRUE = {
    "S": 0.85, "C": 0.85, "E": 0.45, "S 1 pixels": 0.4, "S 16 pixels": 0.5, "miou": 0.75,
    "S tied": (0.9, 0.8), "C tied": (0.9, 0.3),
    "S key near": 0.9, "S key far": 0.5, "C key near": 0.5, "C key far": 0.5,
    "E long": 0.45, "E fine-tuned": 0.8, "S long": 0.85, "S fine-tuned": 0.85,
}  # fmt: skip


def results(truth: dict, seed: int, noise: float = 0.03, settings: Settings = SETTINGS) -> dict[str, dict]:
    """What one seed's cells might have found, were this the truth; a cell without its own is as its arm."""
    rng = np.random.default_rng(seed)

    def scores(accuracy, miou):
        accuracy = min(accuracy + noise * rng.standard_normal(), 0.99)
        return {"accuracy": accuracy, "likelihood": 0.9 * accuracy, "miou": miou, "dice": miou}

    def cell(name):
        value = truth.get(name, 0.95 if name.endswith("ideal") else truth[name[0]])
        matched, other = value if isinstance(value, tuple) else (value, value)
        miou = 0.9 if name.endswith("ideal") else truth["miou"] + noise * rng.standard_normal()
        tests = {"independent": other, "matched": matched, "conflicting": other}
        tests = {test: scores(accuracy, miou) for test, accuracy in tests.items()}
        return {"tests": tests, "background": 0.9, "loss": 0.1, "parameters": 1000, "multiply_adds": 10**6}

    return {name: cell(name) for name in cells_of(settings, seed)}


def words(truth: dict, count: int = 12, noise: float = 0.015) -> dict[str, str]:
    seeds = [results(truth, seed, noise) for seed in range(count)]
    contrasts = [one.contrast() for one in FIRST_EDITION]
    verdicts = judge(contrasts, {one.name: one.numbers(seeds, K) for one in FIRST_EDITION})
    return {one.name: verdict.words for one, verdict in zip(FIRST_EDITION, verdicts, strict=True)}


def test_every_column_has_its_cell():
    cells = cells_of(SETTINGS, 3)
    assert {column.cell for one in FIRST_EDITION for column in one.columns} <= set(cells)
    assert len({spec.id for spec in cells.values()}) == len(cells) == 53
    assert {spec.seed for spec in cells.values()} == {3}


def test_cells_of_a_seed_share_all_but_what_is_compared():
    """By hand: what each name changes, and that nothing else is changed with it."""
    cells = cells_of(SETTINGS, 0)
    parent = replace(cells["E ideal"], knobs=Knobs(sibling=True))
    for arm in "SCE":
        plain = cells[arm]
        assert plain == Spec(arm, 0, 16, SETTINGS.steps, SETTINGS.rates[arm], Knobs(), 8, arm == "S", tests=1000)
        changed = {
            "ideal": {"count": 0},
            "tied": {"knobs": Knobs(rho=0.95)},
            "of 8": {"count": 8},
            "of 128": {"count": 128},
            "width 4": {"width": 4},
            "width 16": {"width": 16},
            "long": {"steps": 2 * SETTINGS.steps},
            "long of 128": {"steps": 2 * SETTINGS.steps, "count": 128},
        }
        if arm != "C":
            changed |= {
                "fine-tuned": {"start": parent},
                "frozen": {"start": parent, "frozen": True},
                "selffer": {"start": plain},
            }
        if arm != "E":
            changed |= {
                "key near": {"knobs": Knobs(cue="key")},
                "key far": {"knobs": Knobs(cue="key", distance=8)},
            }
        for name, fields in changed.items():
            assert cells[f"{arm} {name}"] == replace(plain, **fields), name
    assert cells["S on key far"] == replace(cells["S key far"], on_key=True)
    assert cells["S 16 pixels"] == replace(cells["S"], pixels=16)
    assert cells["S 4 pixels of 128"] == replace(cells["S"], pixels=4, count=128)
    assert cells["E width 4 ideal"] == replace(cells["E"], width=4, count=0)


def test_a_moved_encoder_has_a_rate_of_its_own():
    cells = cells_of(replace(SETTINGS, rates=SETTINGS.rates | {"E moved": 0.01}), 0)
    assert cells["E fine-tuned"].rate == cells["E frozen"].rate == 0.01 and cells["E long"].rate == 0.003
    assert cells["S fine-tuned"].start == cells["E fine-tuned"].start


def test_statistics_by_hand():
    assert attained(np.array([0.5, 0.7]), np.array([0.9, 1.0]), np.array([0.25, 0.25])) == pytest.approx(0.35 / 0.7)
    assert lead(np.array([[0.6, 0.95, 0.25, 0.425, 0.95, 0.25]])) == pytest.approx(0.5 - 0.25)
    assert rest_of_the_mask(np.array([[0.25, 0.35, 0.75, 1.25, 0.25]])) == pytest.approx(0.8 * 0.5 - 0.1)
    assert further_fall(np.array([[0.9, 0.4, 0.8, 0.7], [0.7, 0.4, 0.8, 0.7]])) == pytest.approx(0.4 - 0.1)


def test_the_share_of_the_error_that_transfer_takes_away_by_hand():
    assert more_removed(np.array([[0.8, 0.6, 0.9, 0.8]])) == pytest.approx(0.0)
    assert more_removed(np.array([[0.8, 0.6, 0.8, 0.8], [1.0, 0.6, 0.8, 0.8]])) == pytest.approx(1 - 0.1 / 0.4)
    assert np.isnan(more_removed(np.array([[0.8, 0.6, 1.0, 1.0]])))


def test_the_floors_of_miou_and_dice_are_those_of_painting_nothing():
    seeds = [results(NOTHING, 0, noise=0)]
    assert FIRST_EDITION[0].numbers(seeds, K)[0].tolist() == pytest.approx([0.4, 0.9, 0.18, 0.5, 0.95, 0.25])
    second = FIRST_EDITION[0].numbers(seeds, K, second=True)[0]
    assert second.tolist() == pytest.approx([0.4, 0.9, 1.8 / 1.9 / 5, 0.45, 0.855, 0.25])


def test_what_is_true_is_supported():
    assert words(ALL_TRUE) == dict.fromkeys(NAMES, SUPPORTED)


def test_what_is_false_is_not_supported():
    found = words(NOTHING)
    assert [name for name, said in found.items() if said == SUPPORTED] == ["H1"]  # which says that nothing differs
    assert found["H4"] == NOT_SUPPORTED


@pytest.mark.parametrize(
    ("change", "fallen"),
    [
        ({"S": 0.45, "C": 0.45, "E": 0.5}, {"H6b", "H2"}),
        ({"miou": 0.35}, {"H6a"}),
        ({"C": 0.6}, {"H1"}),
        ({"S 16 pixels": 0.84}, {"H2"}),
        ({"S key far": 0.9}, {"H3"}),
        ({"S tied": (0.9, 0.3)}, {"H4"}),
        ({"E fine-tuned": 0.45}, {"H5"}),
    ],
)
def test_each_verdict_follows_its_own_cells(change, fallen):
    found = words(ALL_TRUE | change)
    assert {name for name, said in found.items() if said != SUPPORTED} == fallen


def test_keys_that_labels_do_not_learn_answer_nothing():
    reason = next(one.unfit for one in FIRST_EDITION if one.name == "H3")
    assert reason(np.array([[0.9, 0.5, 0.6, 0.6, 0.25]]), True) == ""
    assert "at chance: 0.60 near, 0.27 far" in reason(np.array([[0.9, 0.5, 0.6, 0.27, 0.25]]), False)
    assert "more the labels'" in reason(np.array([[0.9, 0.9, 0.5, 0.8, 0.25]]), True)
    assert reason(np.array([[0.9, 0.9, 0.5, 0.8, 0.25]]), False) == ""


def test_transfer_needs_an_error_to_take_away_and_to_take_some():
    reason = next(one.unfit for one in FIRST_EDITION if one.name == "H5")
    assert reason(np.array([[0.8, 0.5, 0.9, 0.9]]), True) == ""
    assert "too little error: E 0.50, S 0.03" in reason(np.array([[0.8, 0.5, 0.97, 0.97]]), False)
    assert "none of the classifier's" in reason(np.array([[0.45, 0.45, 0.7, 0.85]]), True)


def test_too_few_seeds_with_much_noise_settle_nothing():
    assert set(words(ALL_TRUE, count=2, noise=0.1).values()) == {INCONCLUSIVE}
