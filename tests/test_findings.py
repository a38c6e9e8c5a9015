"""What is said of planted truths: verdicts, what caps them, figures' tables by hand, the page and study.json."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_hypotheses import ALL_TRUE, NAMES, NOTHING, SETTINGS, results

from data_pipeline.command import UserError
from data_pipeline.files import write_json
from study import findings as found
from study.cells import CODE, path_of
from study.figures import figures
from study.findings import Study, false_verdicts, findings, load, shifts, worth_of_masks
from study.hypotheses import FIRST_EDITION, cells_of
from study.plan import PRESETS, Plan
from study.report import curve_notes, sections, told, write_report
from study.verdicts import INCONCLUSIVE, NOT_SUPPORTED, POWER, SUPPORTED, decide, detectable_effect, pseudo_values
from study.words import answer, headline, labels_for, settled_by

PLAN = Plan("medium", SETTINGS, tuple(range(12)), tuple(NAMES), wide=True)


def study(truth: dict, plan: Plan = PLAN, noise: float = 0.015) -> Study:
    return Study(plan, [results(truth, seed, noise, plan.settings) for seed in plan.seeds])


def said(truth: dict, **how) -> dict[str, tuple[str, tuple]]:
    return {one.hypothesis.name: (one.words, one.reasons) for one in findings(study(truth, **how))}


def written(folder, truth: dict, plan: Plan = PLAN) -> Study:
    """A study's folder, as a run leaves it."""
    made = study(truth, plan)
    write_json(folder / "plan.json", {"hash": plan.hash, **plan.told()})
    for specs, each in zip(plan.cells().values(), made.results, strict=True):
        for name, spec in specs.items():
            cell = {"spec": spec.told(), "code": CODE, "result": each[name]}
            path_of(folder, spec).parent.mkdir(exist_ok=True)
            path_of(folder, spec).write_text(json.dumps(cell))
    return made


def test_planted_truths_come_out():
    assert said(ALL_TRUE) == dict.fromkeys(NAMES, (SUPPORTED, ()))
    nothing = {name: words for name, (words, _) in said(NOTHING).items()}
    assert nothing.pop("H1") != NOT_SUPPORTED and SUPPORTED not in nothing.values() and nothing["H4"] == NOT_SUPPORTED


def test_an_arm_without_range_settles_nothing():
    words, reasons = said(ALL_TRUE | {"E ideal": 0.53})["H6b"]
    assert words == INCONCLUSIVE and len(reasons) == 1 and reasons[0].startswith("E ideal: 0.2")
    assert said(ALL_TRUE | {"E ideal": 0.53})["H2"] == (SUPPORTED, ())


def test_arms_that_more_steps_move_apart_settle_nothing():
    found_out = said(ALL_TRUE | {"S long": 0.95, "C long": 0.95, "S long of 128": 0.85})
    words, reasons = found_out["H6b"]
    assert words == INCONCLUSIVE and len(reasons) == 1 and "with 16 images" in reasons[0]
    assert found_out["H6a"] == (SUPPORTED, ())  # whose S is measured by mIoU, which stays
    moved = shifts(study(ALL_TRUE | {"S long": 0.95, "C long": 0.95}), (("S", "accuracy"), ("C", "accuracy")))
    assert moved == pytest.approx({16: 0, 128: 0}, abs=0.02)


def test_what_the_secondary_metric_turns_round_is_said():
    made = study(ALL_TRUE)
    for each in made.results:
        for name in ("S", "E"):
            tests = each[name]["tests"]["independent"]
            tests["likelihood"] = {"S": 0.3, "E": 0.8}[name] + 0.01 * (tests["accuracy"] % 0.1)
    one = next(one for one in findings(made) if one.hypothesis.name == "H6b")
    assert one.words == SUPPORTED and one.second == NOT_SUPPORTED and "metric-dependent" in one.reasons[0]


def test_a_study_without_an_arm_says_what_it_can(tmp_path):
    """A part of the hypotheses, each alone: the page is written."""
    for name in NAMES:
        plan = replace(PLAN, names=(name,), wide=False)
        made = study(ALL_TRUE, plan)
        needed = set(plan.cells()[0])
        made = Study(plan, [{cell: result for cell, result in one.items() if cell in needed} for one in made.results])
        said_of_it = findings(made)
        assert [one.words for one in said_of_it] == [SUPPORTED], name
        shown = dict.fromkeys(figures(made, said_of_it), ("", ""))
        parts = sections(made, said_of_it, false_verdicts(made, 5), shown)
        assert name in answer(made, said_of_it)[0] and "Verdicts" in [part.title for part in parts]
        assert told(made, said_of_it, None)["verdicts"][name]["words"] == SUPPORTED


def test_what_stays_open_says_what_would_settle_it():
    told_of = {one.hypothesis.name: settled_by(one) for one in findings(study(NOTHING, noise=0.1))}
    verdicts_of = said(NOTHING, noise=0.1)
    for name, (words, _) in verdicts_of.items():
        assert bool(told_of[name]) == (words == INCONCLUSIVE), name
    assert any(" seeds would tell none from 0.05" in text for text in told_of.values())


def test_transfer_from_nothing_left_to_learn_settles_nothing():
    made = study(ALL_TRUE)
    for each in made.results:
        each["S long"]["tests"]["independent"]["accuracy"] = 1.0
    one = next(one for one in findings(made) if one.hypothesis.name == "H5")
    assert one.words == INCONCLUSIVE and one.value is None and "no range" in one.reasons[0]


def test_sign_flips_seldom_support_anything():
    """Of numbers that are sure, a flip leaves none; of a family of seven, at most one in twenty has a false verdict."""
    assert false_verdicts(study(ALL_TRUE), flips=100) <= 0.05
    assert false_verdicts(study(NOTHING, noise=0.1), flips=100) <= 0.1


def test_one_mask_is_worth_so_many_labels():
    truth = ALL_TRUE | {"E of 8": 0.3, "E": 0.4, "E of 32": 0.5, "E of 64": 0.8, "E of 128": 0.9, "S": 0.8}
    made = worth_of_masks(study(truth, noise=0))
    assert (made.value, made.bound, made.low) == (pytest.approx(4.0), "", pytest.approx(4.0))
    assert labels_for(worth_of_masks(study(truth | {"S": 0.95}, noise=0))) == "at least 8.0"
    assert labels_for(worth_of_masks(study(truth | {"S": 0.2}, noise=0))) == "at most 0.5"


def test_tables_hold_the_planted_numbers():
    made = study(ALL_TRUE | {"S of 8": 0.3, "E width 4": 0.35, "S frozen": 0.6}, noise=0)
    assert found.curves(made)["S"][8].mean == pytest.approx(0.3)
    assert found.curves(made)["S"][0].mean == pytest.approx(0.95)
    assert found.widths(made)["E", 4].mean == pytest.approx(0.35)
    assert found.attained_by_width(made) == pytest.approx({4: 0.1 / 0.7, 8: 0.2 / 0.7, 16: 0.2 / 0.7})
    assert found.backgrounds(made)["C", "conflicting"].mean == pytest.approx(0.3)
    assert found.transfers(made)["S", "frozen"].mean == pytest.approx(0.6)
    assert found.keys(made)["S", "far"].mean == pytest.approx(0.5)
    few = {(row["images"], row["pixels"]): row["accuracy"].mean for row in found.pixel_rows(made)}
    assert few[16, 1] == pytest.approx(0.4) and few[8, None] == pytest.approx(0.3) and (128, 4) in few


def test_an_ideal_world_that_is_none_is_named():
    assert curve_notes(study(ALL_TRUE, noise=0)) == []
    (note,) = curve_notes(study(ALL_TRUE | {"C ideal": 0.7, "C of 128": 0.9}, noise=0))
    assert note.startswith("The same U-Net, labels: further with 128 images than with fresh ones in every step (0.90 ")


def test_what_orders_the_errors_is_found():
    """Errors that follow the number of labelled pixels, whatever the images."""
    settings, truth = SETTINGS, dict(ALL_TRUE)
    for name, spec in cells_of(settings, 0).items():
        if name == "S" or name.startswith("S of ") or " pixels" in name:
            truth[name] = 0.3 + 0.04 * np.log2(spec.count * (spec.pixels or 48**2))
    found_out = found.collapse(study(truth, noise=0), mask_bits=133)
    assert found_out["N·k"] == pytest.approx(1) and found_out["N"] < 0.5
    assert found.falling(np.array([1, 2, 3.0]), np.array([3, 1, 2.0])) == pytest.approx(1 - 0.5 / 2)


def test_a_report_holds_every_cell(tmp_path):
    made = written(tmp_path, ALL_TRUE)
    lines = write_report(tmp_path)
    assert len(lines) == len(NAMES) + 1 and lines[-1].endswith("study.html")
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {f"{name}.{kind}" for name in ("verdicts", "images", "transfer") for kind in ("svg", "png")} <= figures
    page = (tmp_path / "study.html").read_text()
    assert (
        page.count("<svg") - page.count('<svg class="unseen"') == 8
        and all(name in page for name in NAMES)
        and "Label information" in page
    )
    kept = json.loads((tmp_path / "study.json").read_text())
    assert kept["results"] == {str(seed): each for seed, each in zip(PLAN.seeds, made.results, strict=True)}
    assert kept["plan"]["hash"] == PLAN.hash and set(kept["verdicts"]) == set(NAMES)
    assert all(one["words"] == SUPPORTED for one in kept["verdicts"].values())
    assert kept["guards"]["false_verdicts_of_sign_flips"] <= 0.05


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(UserError, match=r"plan.json is missing; first: python -m study run"):
        load(tmp_path)
    written(tmp_path, ALL_TRUE)
    path_of(tmp_path, PLAN.cells()[3]["S"]).unlink()
    with pytest.raises(
        UserError, match=r"1 of 636 cells are missing.*next: the same python -m study run --preset medium"
    ):
        write_report(tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    write_json(tmp_path / "plan.json", plan | {"seeds": [1, 2]})
    with pytest.raises(UserError, match="was changed"):
        load(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="is no plan"):
        load(tmp_path)


def test_the_answer_says_what_each_verdict_says():
    text = " ".join(answer(study(ALL_TRUE), findings(study(ALL_TRUE))))
    assert (
        "The premise holds" in text
        and "H6b +0." in text
        and "one image with a mask was worth at least 8.0 with a label" in text
    )
    assert "With 16 images, S in 85% and E in 45% of new images" in text
    one = replace(PLAN, seeds=(0,))
    assert answer(study(ALL_TRUE, one), findings(study(ALL_TRUE, one)))[0].startswith("One seed answers nothing")
    assert headline(findings(study(ALL_TRUE, one))) == "One seed answers nothing"
    assert headline(findings(study(ALL_TRUE))).startswith("Supported: H")
    assert np.isfinite(findings(study(ALL_TRUE, one))[0].value)


# 400 studies of a stand-in learner


def words_of_studies(truth: dict, noise: float, count: int = 400) -> list[dict[str, str]]:
    """The verdicts of as many studies of twelve seeds, each with noise of its own in every cell."""
    contrasts, studies = [one.contrast() for one in FIRST_EDITION], []
    for first in range(0, 12 * count, 12):
        seeds = [results(truth, seed, noise) for seed in range(first, first + 12)]
        numbers = {one.name: one.numbers(seeds, 4) for one in FIRST_EDITION}
        decided = decide(contrasts, numbers)
        studies.append({one.name: words for one, (*_, words) in zip(FIRST_EDITION, decided, strict=True)})
    return studies


ON_THE_BORDER = NOTHING | {"C": 0.465}  # no effect; and of H1, which says that there is none, the smallest of interest


@pytest.mark.slow
def test_of_studies_without_effects_few_support_any_hypothesis():
    studies = words_of_studies(ON_THE_BORDER, noise=0.05)
    share = np.mean([SUPPORTED in words.values() for words in studies])
    assert share <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.slow
def test_a_detectable_effect_is_found_as_often_as_is_printed():
    noise, h6b = 0.05, next(one for one in FIRST_EDITION if one.name == "H6b")
    many = h6b.numbers([results(ON_THE_BORDER, seed, noise) for seed in range(10_000, 12_000)], 4)
    effect = detectable_effect(pseudo_values(many, h6b.statistic).std(), 12, len(FIRST_EDITION))
    assert effect > 0.05
    studies = words_of_studies(ON_THE_BORDER | {"E": 0.5 - effect * 0.7}, noise)
    assert np.mean([words["H6b"] == SUPPORTED for words in studies]) == pytest.approx(POWER, abs=0.05)


@pytest.mark.parametrize("preset", ["pointing", "difficulty"])
def test_a_contrast_has_a_report(tmp_path, monkeypatch, preset):
    """Of plans without the counts, widths and arms of the first study."""
    base = PRESETS[preset]
    plan = Plan(preset, base.base, base.usual_seeds, base.names, wide=True)
    rng = np.random.default_rng(0)

    def result(place):
        scores = {
            "accuracy": 0.9 - 0.02 * place + 0.01 * rng.standard_normal(),
            "likelihood": 0.5,
            "miou": 0.4,
            "dice": 0.5,
        }
        facts = {"background": 0.9, "loss": 0.1, "parameters": 10, "multiply_adds": 10}
        return {"tests": {"independent": scores}} | facts

    made = Study(plan, [{name: result(i) for i, name in enumerate(each)} for each in plan.cells().values()])
    said_of_it = findings(made)
    assert {one.hypothesis.name for one in said_of_it} == set(base.names)
    parts = sections(made, said_of_it, false_verdicts(made, 5), dict.fromkeys(figures(made, said_of_it), ("", "")))
    arms = next(part for part in parts if part.title == "Arms").tables[0]
    assert [row[0] for row in arms.rows] == list(plan.cells()[plan.seeds[0]]) and answer(made, said_of_it)
    assert told(made, said_of_it, None)["guards"]["shift_with_twice_the_steps"] == {name: {} for name in base.names}
