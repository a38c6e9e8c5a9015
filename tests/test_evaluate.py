"""evaluate.py: one run, several beside each other, as one, as folds; and the masks of other tools."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import ROOT, make_folder, run_script, save, shapes, write_classes
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import Encoding
from data_pipeline.files import write_mask
from data_pipeline.pairs import Pair
from data_pipeline.split import Split
from engine.comparing.compare import Candidate, compare, headline, on_the_same_images, sentences
from engine.config import EvaluateConfig, TrainConfig
from engine.reporting.duels import EACH_WAY, differing
from engine.reporting.report import Album, by_size, numbers, worst_median_best
from engine.scoring import confusion
from engine.scoring.doubts import Doubt
from engine.scoring.evaluation import Evaluation, alike, neighbours_alike, pool
from engine.scoring.objects import SIZES
from engine.scoring.referee import PICTURES
from engine.scoring.verdict import range_of, verdict
from engine.training import segmenter
from engine.training.train_run import new_run
from evaluate import evaluate, outdated

pytestmark = pytest.mark.usefixtures("quick_forest")


def network(slope: float, shift: float):
    """Raw pixels → two logits, from green alone: foreground where slope · green + shift > 0."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(2, 1)
    model = keras.Model(inputs, layer(inputs), name="unet")
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 1, 1] = slope
    layer.set_weights([kernel, np.array([0, shift], np.float32)])
    return model


def make_run(data, runs_dir, name, slope=0.05, shift=-5.0, **settings):
    """A run's folder as train.py leaves it, around a network that was made by hand."""
    config = TrainConfig(data=data.resolve(), runs_dir=runs_dir, name=name, symmetry="d4", **settings)
    dataset = open_dataset(config, config.split_seed, config.train_count, config.folds, config.fold)
    (frame,) = segmenter.frames(config, dataset)
    run = new_run(config, segmenter, dataset, frame)
    network(slope, shift).save(run.model_path)
    run.resume_path.rmdir()  # its training has ended
    return run.path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """80 images of which 12 are the test part, and runs of several qualities."""
    folder = tmp_path_factory.mktemp("world")
    data = make_folder(folder / "data", 80, size=33)
    for name, settings in {
        "good": {},
        "weak": {"seed": 1, "shift": -1.2},
        "blind": {"seed": 2, "slope": 0.0},
    }.items():
        make_run(data, folder / "runs", name, **settings)
    return folder


def metrics(folder) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_an_all_background_network_is_told_aloud(world, capsys):
    evaluate(EvaluateConfig(runs=(world / "runs/blind",)))
    printed = capsys.readouterr().out
    assert "NOT BETTER than" in printed and "It calls every pixel background." in printed
    results = metrics(world / "runs/blind/evaluation/test")
    assert results["pixel_accuracy"] > 0.85 and results["iou"]["foreground"] == 0
    page = (world / "runs/blind/evaluation/test/report.html").read_text()
    assert "It calls every pixel background." in page and "NOT BETTER than" in page


def test_the_folder_holds_every_score_with_its_interval(world):
    evaluate(EvaluateConfig(runs=(world / "runs/weak",)))
    folder = world / "runs/weak/evaluation/test"
    results = metrics(folder)
    low, high = results["miou_ci95"]
    assert low < results["miou"] < high and results["miou_ci95_note"] is None
    assert results["unit"] == "image" and results["num_units"] == results["num_images"] == 12
    for name in ("iou", "dice", "precision", "recall", "boundary_iou", "boundary_f1", "hausdorff95", "object_f1"):
        assert set(results[name]) == {"background", "foreground"}
    assert results["object_f1"]["background"] is None and 0 <= results["ece"] <= 1
    assert results["baselines"]["all_background"]["lead"]["miou"] == pytest.approx(
        results["miou"] - results["baselines"]["all_background"]["miou"]
    )
    rows = list(csv.DictReader((folder / "per_image.csv").open()))
    again = np.mean([float(row["miou"]) for row in rows])
    assert results["per_image_miou"] == pytest.approx(again) and all(row["uncertainty"] for row in rows)


def test_every_look_at_the_test_part_is_counted(world, tmp_path, capsys):
    run = make_run(world / "data", tmp_path, "looked")
    for split, times in (("val", None), ("test", 1), ("all", 2), ("test", 3)):
        evaluate(EvaluateConfig(runs=(run,), split=split))
        assert metrics(run / "evaluation" / split)["test_openings"] == times
    assert "the test part was opened 3 times" in capsys.readouterr().out
    assert "opened 3 times" in (run / "evaluation/test/report.html").read_text()
    evaluate(EvaluateConfig(runs=(run,), data=make_folder(tmp_path / "new", 3)))
    assert len(json.loads((run / "openings.json").read_text())) == 3


def test_few_images_have_no_interval(world, tmp_path):
    run = make_run(world / "data", tmp_path, "r")
    evaluate(EvaluateConfig(runs=(run,), data=make_folder(tmp_path / "four", 4)))
    results = metrics(run / "evaluation/four-all")
    assert results["miou_ci95"] is None and "4 images" in results["miou_ci95_note"]
    assert results["iou_ci95"]["foreground"] is None and results["iou_ci95_note"]["foreground"]


def test_groups_are_what_intervals_are_drawn_from(tmp_path, capsys):
    """Three films of ten images each: no interval, in words."""
    data = make_folder(tmp_path / "data", 30)
    for path in data.glob("*/*.png"):
        path.rename(path.with_name(f"film{int(path.stem[4:]) % 10}_{path.name}"))
    run = make_run(data, tmp_path, "r", group_by="^film.")
    evaluate(EvaluateConfig(runs=(run,)))
    results = metrics(run / "evaluation/test")
    assert results["unit"] == "group" and results["num_units"] < results["num_images"]
    assert results["miou_ci95"] is None and "group" in results["miou_ci95_note"]
    assert "no interval below 5" in capsys.readouterr().out


def test_a_class_that_never_occurs_is_left_out_and_said(tmp_path):
    data = make_folder(tmp_path / "data", 20)
    write_classes(data, ["ground", "square", "unicorn"])
    run = make_run(data, tmp_path, "r")
    model = network(0.05, -5.0)
    wide = keras.layers.Conv2D(3, 1)
    inputs = keras.Input((None, None, 3))
    wide_model = keras.Model(inputs, wide(inputs), name="unet")
    kernel, bias = model.layers[-1].get_weights()
    wide.set_weights([np.concatenate([kernel, 0 * kernel[..., :1]], -1), np.append(bias, -99).astype(np.float32)])
    wide_model.save(run / "model.keras")
    evaluate(EvaluateConfig(runs=(run,)))
    results = metrics(run / "evaluation/test")
    assert results["iou"]["unicorn"] is None and results["images_with"]["unicorn"] == 0
    assert results["miou"] == pytest.approx((results["iou"]["ground"] + results["iou"]["square"]) / 2)
    assert (
        "the class occurs neither in the truth nor in the prediction"
        in (run / "evaluation/test/report.html").read_text()
    )


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_test_time_augmentation_turns_back_what_it_turned(world, tta):
    """A network without neighbourhood says the same of every view, so its score must not change at all."""
    evaluate(EvaluateConfig(runs=(world / "runs/weak",), tta=tta))
    results = metrics(world / f"runs/weak/evaluation/test-{tta}")
    assert results["tta"] == tta and results["gain"]["without_tta"]["lead"]["miou"] == 0
    assert results["miou"] == results["gain"]["without_tta"]["miou"]


def test_more_symmetry_than_in_training_is_refused(world, tmp_path):
    run = make_run(world / "data", tmp_path, "r")
    for symmetry, tta, words in (("horizontal", "d4", "allows --tta flips"), ("none", "flips", "allows no --tta")):
        config = json.loads((run / "config.json").read_text()) | {"symmetry": symmetry}
        (run / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=words):
            evaluate(EvaluateConfig(runs=(run,), tta=tta))


def test_an_ensemble_stands_beside_its_members(world, tmp_path):
    runs = (world / "runs/good", world / "runs/weak")
    evaluate(EvaluateConfig(runs=runs, ensemble=True, out=tmp_path / "both"))
    results = metrics(tmp_path / "both")
    assert list(results["gain"]) == ["good", "weak"]
    assert results["gain"]["weak"]["miou"] < results["miou"] <= 1
    assert results["gain"]["weak"]["lead"]["miou_ci95"][0] > 0


def test_an_ensemble_that_saw_the_images_is_refused(world, tmp_path):
    other = make_run(world / "data", tmp_path, "other", split_seed=5)
    with pytest.raises(UserError, match=r"was trained on .* of these images"):
        evaluate(EvaluateConfig(runs=(world / "runs/good", other), ensemble=True, out=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_comparing_networks(world, tmp_path, capsys):
    runs = tuple(world / f"runs/{name}" for name in ("good", "weak", "blind"))
    evaluate(EvaluateConfig(runs=runs, compare=True, out=tmp_path / "cmp"))
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "cmp/compare.json").read_text())
    weak, blind = results["differences"]["weak"], results["differences"]["blind"]
    assert weak["told_apart"] and weak["miou"] < 0 and weak["p"] <= weak["p_holm"]
    assert results["networks"]["weak"]["miou"] - results["networks"]["good"]["miou"] == pytest.approx(weak["miou"])
    assert "weak is worse than good" in printed and "statements about these trained networks" in printed
    assert blind["miou"] < 0
    page = (tmp_path / "cmp/report.html").read_text()
    assert "weak against good" in page and "blind against good" in page and "only weak is right" in page
    shown = re.findall(r'aria-label="(item\d+): who is right"', page)
    change = {stem: value for stem, value in changes(world / "runs/good", world / "runs/weak").items() if value}
    worst = sorted(change, key=change.get)[:EACH_WAY]
    assert change[worst[0]] < 0 and set(worst) <= set(shown[: len(shown) // 2 + EACH_WAY]), "where weak falls behind"
    with pytest.raises(UserError, match="cmp exists"):
        evaluate(EvaluateConfig(runs=runs, compare=True, out=tmp_path / "cmp"))


def changes(first: Path, other: Path) -> dict[str, float]:
    """By how much each image's mIoU differs between the test parts of two runs."""
    scores = []
    for run in (first, other):
        rows = csv.DictReader((run / "evaluation/test/per_image.csv").open())
        scores.append({row["stem"]: float(row["miou"]) for row in rows})
    return {stem: scores[1][stem] - scores[0][stem] for stem in scores[0]}


def test_a_comparison_without_the_images_has_no_pictures(world, tmp_path):
    """Two evaluations whose run's data set is gone are still compared."""
    data = make_folder(tmp_path / "data", 40)
    runs = [make_run(data, tmp_path / "runs", name, shift=shift) for name, shift in (("one", -5.0), ("two", -1.2))]
    for run in runs:
        evaluate(EvaluateConfig(runs=(run,)))
    folders = tuple(run / "evaluation/test" for run in runs)
    shutil.rmtree(data)
    evaluate(EvaluateConfig(runs=folders, compare=True, out=tmp_path / "cmp"))
    assert "<image" not in (tmp_path / "cmp/report.html").read_text()


def test_changed_masks_are_not_shown(world, tmp_path):
    """A picture whose mask is no longer the one that was scored is left out."""
    data = make_folder(tmp_path / "data", 40)
    runs = [make_run(data, tmp_path / "runs", name, shift=shift) for name, shift in (("one", -5.0), ("two", -1.2))]
    for run in runs:
        evaluate(EvaluateConfig(runs=(run,)))
    change = changes(*runs)
    worst = min(change, key=change.get)
    path = data / "masks" / f"{worst}.png"
    save(path, np.rot90(np.array(Image.open(path)), 2))
    evaluate(EvaluateConfig(runs=tuple(run / "evaluation/test" for run in runs), compare=True, out=tmp_path / "cmp"))
    page = (tmp_path / "cmp/report.html").read_text()
    assert f'aria-label="{worst}:' not in page and "who is right" in page


def test_the_most_different_images_both_ways():
    change = np.array([0.1, -0.3, np.nan, 0.0, 0.5, -0.1])
    assert differing(change) == [4, 0, 1, 5]
    assert len(differing(np.linspace(-1, 1, 50))) == 2 * EACH_WAY


def test_the_worst_the_median_and_the_best():
    assert worst_median_best(np.array([0.5, np.nan, 0.9, 0.1, 0.7])) == [("Worst", 3), ("Median", 4), ("Best", 2)]
    assert worst_median_best(np.array([0.5, 0.2])) == [("Worst", 1), ("Best", 0)]
    assert worst_median_best(np.array([0.5])) == [("Worst", 0)] and worst_median_best(np.array([np.nan])) == []


def section_of(page: str, title: str) -> str:
    """What stands below a heading of a report; "" where there is no such section."""
    return next((part for part in page.split("<section")[1:] if f">{title}</h2>" in part), "")


def test_what_to_label_next_is_without_a_label(world, tmp_path):
    """Images that have no mask alone are proposed, the least certain first; damaged ones are passed over."""
    data = make_folder(tmp_path / "data", 20)
    run = make_run(data, tmp_path / "runs", "r", slope=0.02, shift=-2.0)
    evaluate(EvaluateConfig(runs=(run,)))
    assert section_of((run / "evaluation/test/report.html").read_text(), "What to label next") == ""
    for index, level in enumerate((250, 100, 20)):  # of green, by which this network goes: 100 is undecided
        save(data / f"images/new{index}.png", np.full((33, 33, 3), level, np.uint8))
    (data / "images/broken.png").write_bytes(b"no picture")
    evaluate(EvaluateConfig(runs=(run,)))
    section = section_of((run / "evaluation/test/report.html").read_text(), "What to label next")
    stems = re.findall(r'aria-label="([^"]*): image"', section)
    assert stems[0] == "new1" and sorted(stems) == ["new0", "new1", "new2"]
    assert "of 3 images without a mask" in section and "<image" in section
    evaluate(EvaluateConfig(runs=(run,), data=make_folder(tmp_path / "other", 6)))
    page = (run / "evaluation/other-all/report.html").read_text()
    assert section_of(page, "What to label next") == "", "of other images than the run's own, nothing is known"


def test_the_report_of_two_classes_has_a_threshold(world):
    evaluate(EvaluateConfig(runs=(world / "runs/weak",)))
    page = (world / "runs/weak/evaluation/test/report.html").read_text()
    found = metrics(world / "runs/weak/evaluation/test")
    assert f"its IoU is {found['iou']['foreground']:.3f};" in section_of(page, "Threshold")
    assert 0 < found["average_precision"] <= 1


def test_the_share_found_by_size_is_of_all_classes_but_the_first():
    (one, _) = (candidate.evaluation for candidate in candidates(0.0, 0.1, seeds=1))
    sizes = np.zeros((40, 2, SIZES, 2), np.int64)
    sizes[:, 0, 3], sizes[:, 1, 2], sizes[:, 1, 5] = (1, 0), (3, 1), (2, 2)
    (section,) = by_size(replace(one, counts=one.counts | {"sizes": sizes}))
    assert (
        section.plots[0].caption == "Objects found (IoU above 0.5) by size: 120 of 200, regions of all classes but a."
    )
    assert by_size(one) == [], "an older evaluation did not count them"
    assert by_size(replace(one, counts=one.counts | {"sizes": sizes[:1]})) == [], "five objects are no curve"


def test_evaluations_of_older_versions_are_read_and_pooled(world, tmp_path):
    evaluate(EvaluateConfig(runs=(world / "runs/weak",)))
    new = Evaluation.load(world / "runs/weak/evaluation/test")
    counts = {name: array for name, array in new.counts.items() if name not in ("sizes", "thresholds")}
    replace(new, counts=counts).save(tmp_path)
    old = Evaluation.load(tmp_path)
    assert {"sizes", "thresholds"} <= new.counts.keys() and not {"sizes", "thresholds"} & old.counts.keys()
    assert pool([new, old]).counts.keys() == old.counts.keys()


def test_networks_of_other_test_images_are_not_compared(world, tmp_path):
    other = make_run(world / "data", tmp_path, "other", split_seed=5)
    with pytest.raises(UserError, match="not scored on the same images"):
        evaluate(EvaluateConfig(runs=(world / "runs/good", other), compare=True, out=tmp_path / "x"))


def candidates(scatter: float, shift: float, seeds: int = 3, images: int = 40) -> list[Candidate]:
    """Two methods of several seeds: binary confusion matrices of which the second's hits are ``shift`` more."""
    made = []
    for method in ("unet", "other"):
        for seed in range(seeds):
            rng = np.random.default_rng([seed, len(method)])
            better = shift * (method == "other") + rng.normal(0, scatter)
            right = np.clip(rng.binomial(400, 0.7, images) + 400 * better, 0, 400).astype(int)
            matrices = np.zeros((images, 2, 2), np.int64)
            matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 1, 0] = 1600, right, 400 - right
            stems = [f"i{i}" for i in range(images)]
            evaluation = Evaluation(("a", "b"), stems, [None] * images, list(stems), {"confusion": matrices}, {}, [])
            made.append(Candidate(f"{method}-{seed}", evaluation, {"model": method, "seed": seed, "name": "x"}))
    return made


def test_the_report_shows_the_worst_images_first_up_to_a_number(monkeypatch):
    (evaluation, _) = (one.evaluation for one in candidates(0.0, 0.1, seeds=1))
    monkeypatch.setattr("engine.reporting.report.MOST_IMAGES", 7)
    monkeypatch.setattr(
        Album, "open", lambda self, stem: (np.zeros((4, 4, 3), np.uint8), *[np.zeros((4, 4), np.uint8)] * 2)
    )
    shown = list(Album([], Encoding(("a", "b"), (0, 1), ((0, 0, 0), (9, 9, 9))), None, None, None).pictures(evaluation))
    right = evaluation.counts["confusion"][:, 1, 1]  # the more are right, the better
    scores = [right[int(picture.stem[1:])] for picture in shown]
    assert scores == sorted(right)[:7] and scores[0] < scores[-1]


def test_methods_are_compared_from_three_seeds_each():
    few = compare(candidates(0.01, 0.1, seeds=2))["methods"]
    assert few["differences"] == {} and "2 of model unet, 2 of model other" in few["note"]
    clear = compare(candidates(0.01, 0.1))["methods"]
    assert clear["first"] == "model unet" and clear["differences"]["model other"]["told_apart"]
    results = compare(candidates(0.1, 0.02))
    assert not results["methods"]["differences"]["model other"]["told_apart"], "seeds scatter more than that"
    assert "cannot be told apart" in sentences(results)[-1]


def test_images_are_matched_by_name_whatever_their_order():
    first, second = candidates(0.0, 0.1, seeds=1)
    order = np.random.default_rng(0).permutation(40)
    evaluation = second.evaluation
    shuffled = Evaluation(
        evaluation.names,
        [evaluation.stems[i] for i in order],
        evaluation.groups,
        [evaluation.truths[i] for i in order],
        {"confusion": evaluation.counts["confusion"][order]},
        {},
        [],
    )
    aligned = on_the_same_images([first, Candidate("shuffled", shuffled, {})])
    np.testing.assert_array_equal(aligned[1].matrices, second.matrices)


def test_changed_masks_are_not_compared():
    first, second = candidates(0.0, 0.1, seeds=1)
    second.evaluation.truths[3:4] = ["changed"]
    with pytest.raises(UserError, match="different masks of i3"):
        on_the_same_images([first, second])


def test_folds_are_pooled(tmp_path):
    """Every image once; the pooled score is that of all confusion matrices, no mean of five scores."""
    data = make_folder(tmp_path / "data", 20)
    runs = [make_run(data, tmp_path / "runs", f"f{i}", shift=-1.2 - i, folds=4, fold=i) for i in range(4)]
    evaluate(EvaluateConfig(runs=tuple(runs), out=tmp_path / "pooled"))
    results = metrics(tmp_path / "pooled")
    parts = [Evaluation.load(run / "evaluation/test") for run in runs]
    together = pool(parts)
    assert results["num_images"] == 20 == len(set(together.stems))
    everything = sum(part.counts["confusion"].sum(0) for part in parts)
    assert results["miou"] == pytest.approx(float(confusion.mean_iou(everything)))
    page = (tmp_path / "pooled/report.html").read_text()
    assert all(stem in page for stem in together.stems)
    evaluate(EvaluateConfig(runs=tuple(runs), group_by=r"item\d(\d\d)", out=tmp_path / "grouped"))
    assert metrics(tmp_path / "grouped")["unit"] == "group"
    with pytest.raises(UserError, match="the folds 0 to 3 are wanted, each once; these are 0, 1, 2"):
        evaluate(EvaluateConfig(runs=tuple(runs[:3]), out=tmp_path / "x"))
    other = make_run(data, tmp_path / "runs", "other")
    with pytest.raises(UserError, match="no folds of one cross-validation"):
        evaluate(EvaluateConfig(runs=(runs[0], other), out=tmp_path / "x"))


def test_a_forecast_from_runs_of_fewer_masks(world, tmp_path, capsys):
    shifts = {8: -0.6, 16: -1.2, 32: -2.0, 56: -2.6}
    runs = [
        make_run(world / "data", tmp_path, f"n{count}", shift=shift, train_count=count)
        for count, shift in shifts.items()
    ]
    evaluate(EvaluateConfig(runs=tuple(runs), forecast=True, out=tmp_path / "fc"))
    results = json.loads((tmp_path / "fc/forecast.json").read_text())
    assert [row["masks"] for row in results["runs"]] == list(shifts)
    low, high = results["forecast"]["miou_ci95"]
    assert results["forecast"]["masks"] == 112 and low < results["forecast"]["miou"] < high
    assert results["words"] in capsys.readouterr().out
    with pytest.raises(UserError, match=r"--forecast: .*3"):
        evaluate(EvaluateConfig(runs=tuple(runs[:2]), forecast=True, out=tmp_path / "x"))
    other = make_run(world / "data", tmp_path, "other", train_count=20, steps=7)
    with pytest.raises(UserError, match="differ in --steps"):
        evaluate(EvaluateConfig(runs=(*runs, other), forecast=True, out=tmp_path / "x"))


def referee(tmp_path, encode=lambda mask: mask, **settings):
    """True masks 0/255, and predictions of another tool that miss the first row of every square."""
    for i in range(12):
        truth = shapes(i)[1]
        guess = truth & np.roll(truth, 1, axis=0)
        save(tmp_path / f"truth/item{i:02d}.png", truth * np.uint8(255))
        save(tmp_path / f"guess/item{i:02d}.png", encode(guess))
    return EvaluateConfig(predictions=tmp_path / "guess", truth=tmp_path / "truth", out=tmp_path / "out", **settings)


@pytest.mark.parametrize("value", [1, 255])
def test_referee(tmp_path, value, capsys):
    """The same scores for any tool's masks, whether its foreground is 255 as in the truth, or 1."""
    evaluate(referee(tmp_path, lambda mask: mask * np.uint8(value)))
    results = metrics(tmp_path / "out")
    assert results["precision"]["foreground"] == 1.0
    assert results["recall"]["foreground"] == pytest.approx(9 / 10, abs=0.005)
    assert results["baselines"].keys() == {"all_background", "majority_class"} and results["ece"] is None
    assert ("holds class indices 0…1" in capsys.readouterr().out) == (value == 1)
    assert (tmp_path / "out/report.html").is_file()


def test_referee_agrees_with_our_own_evaluation(world, tmp_path):
    """A run's predicted masks, judged as any tool's, get the run's score; and can be compared with it."""
    run = world / "runs/weak"
    evaluate(EvaluateConfig(runs=(run,)))
    for path in (run / "evaluation/test/predictions").iterdir():
        (tmp_path / "truth").mkdir(exist_ok=True)
        shutil.copy(world / "data/masks" / path.name, tmp_path / "truth")
    config = EvaluateConfig(
        predictions=run / "evaluation/test/predictions",
        truth=tmp_path / "truth",
        out=tmp_path / "out",
        images=None,
    )
    evaluate(config)
    ours, theirs = metrics(run / "evaluation/test"), metrics(tmp_path / "out")
    for name in ("pixel_accuracy", "miou", "mean_boundary_f1", "mean_boundary_iou"):
        assert ours[name] == pytest.approx(theirs[name])


def test_the_human_ceiling(tmp_path, capsys):
    config = referee(tmp_path, second_annotator=tmp_path / "second", images=tmp_path / "images")
    for i in range(12):
        save(tmp_path / f"second/item{i:02d}.png", shapes(i)[1])
        save(tmp_path / f"images/item{i:02d}.jpg", shapes(i)[0])
    evaluate(config)
    results = metrics(tmp_path / "out")["ceiling"]["second_annotator"]
    assert results["miou"] == 1.0 and results["lead"]["miou"] < 0
    assert "against second annotator (1.000)" in capsys.readouterr().out


def test_referees_mistakes(tmp_path):
    config = referee(tmp_path)
    save(tmp_path / "guess/item03.png", np.full((32, 32), 7, np.uint8))
    with pytest.raises(UserError, match=r"item03.png: holds 7"):
        evaluate(config)
    save(tmp_path / "guess/item03.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match="9×9 and 32×32 pixels"):
        evaluate(config)
    (tmp_path / "guess/item03.png").unlink()
    with pytest.raises(UserError, match="1 of 12 masks are missing: item03"):
        evaluate(config)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a run"),
        (["a", "b"], "--out DIR: say where"),
        (["a", "--compare", "--out", "x"], "--compare: two runs at least"),
        (["a", "b", "--compare", "--ensemble", "--out", "x"], "give one of the two"),
        (["--predictions", "a"], "give both folders"),
        (["--predictions", "a", "--truth", "b", "--out", "x"], "a: no such folder"),
        (["a", "--images", "x"], "belong to --predictions"),
        (["a", "--classes", "b,c"], "--classes belongs to --data"),
    ],
)
def test_flags_that_do_not_go_together(tmp_path, arguments, words):
    done = run_script("evaluate.py", *arguments, cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


def test_a_damaged_evaluation_is_named(tmp_path, world):
    evaluate(EvaluateConfig(runs=(world / "runs/good",), split="val"))
    shutil.copytree(world / "runs/good/evaluation/val", tmp_path / "e")
    whole = (tmp_path / "e/counts.npz").read_bytes()
    (tmp_path / "e/counts.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"counts.npz: damaged"):
        Evaluation.load(tmp_path / "e")


def test_what_is_kept_reads_back(world):
    evaluate(EvaluateConfig(runs=(world / "runs/weak",)))
    evaluation = Evaluation.load(world / "runs/weak/evaluation/test")
    assert len(evaluation.stems) == 12 and evaluation.groups == [None] * 12
    kept = {path.stem for path in (world / "runs/weak/evaluation/test/predictions").iterdir()}
    assert set(evaluation.stems) == kept
    truth = np.array(Image.open(world / f"data/masks/{evaluation.stems[0]}.png"))
    guess = np.array(Image.open(world / f"runs/weak/evaluation/test/predictions/{evaluation.stems[0]}.png"))
    np.testing.assert_array_equal(evaluation.counts["confusion"][0], confusion.confusion_matrix(truth, guess, 2))


@pytest.mark.parametrize(
    ("ends", "words", "loud"),
    [
        ([0.1, 0.3], "Beats the colour-only baseline clearly: mIoU 0.700 against 0.500, a lead of +0.200 (95", False),
        ([-0.1, 0.3], "NOT CLEARLY BETTER than the colour-only baseline: mIoU 0.700 against 0.500, a lead of", True),
        (None, "Above the colour-only baseline: mIoU 0.700 against 0.500. No interval for the lead: few.", False),
    ],
)
def test_verdict(ends, words, loud):
    """The interval beside the verdict is the lead's, by which it was decided, not the score's."""
    results = {
        "miou": 0.7,
        "miou_ci95": [0.66, 0.75],
        "unit": "image",
        "num_units": 30,
        "iou": {"a": 0.7},
        "confusion": [[1]],
        "baselines": {
            "all_background": {"miou": 0.3, "lead": {}},
            "pixel_forest": {"miou": 0.5, "lead": {"miou": 0.2, "miou_ci95": ends, "miou_ci95_note": "few"}},
        },
    }
    said = verdict(results)
    assert words in said.text and said.loud == loud and "0.66" not in said.text
    if ends:
        assert f"(95% interval {ends[0]:+.3f} to +0.300)".replace("-", "−") in said.text
    shown = [(number.label, number.value, number.range) for number in numbers(results)]
    interval = f"95% interval {ends[0]:+.3f} to +0.300".replace("-", "−") if ends else "few"
    assert shown == [
        ("mIoU of the network", "0.700", "95% interval 0.66–0.75"),
        ("best without a network", "0.500", "the colour-only baseline"),
        ("lead over it", "+0.200", interval),
    ]
    results["baselines"]["pixel_forest"]["lead"]["miou"] = -0.1
    assert verdict(results).loud and "NOT BETTER" in verdict(results).text


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """Ten times the images: the peak stays within a tenth."""
    run = make_run(make_folder(tmp_path / "data", 20, size=512), tmp_path, "r")
    peaks = []
    for count in (12, 120):
        data = make_folder(tmp_path / f"new{count}", count, size=512)
        code = (
            "import resource, sys; from evaluate import evaluate; from engine.config import EvaluateConfig; "
            "from pathlib import Path; evaluate(EvaluateConfig(runs=(Path(sys.argv[1]),), data=Path(sys.argv[2]))); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", code, str(run), str(data)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0], peaks


def test_images_that_depend_on_their_neighbours_are_said_to(world, capsys):
    """Frames of a film score alike; images in any order do not."""
    evaluation = candidates(0.0, 0.0, images=60)[0].evaluation
    assert neighbours_alike(evaluation) is None
    order = np.argsort(confusion.mean_iou(evaluation.counts["confusion"]))
    film = replace(
        evaluation, stems=[f"f{i:02d}" for i in range(60)], counts={"confusion": evaluation.counts["confusion"][order]}
    )
    correlation = neighbours_alike(film)
    assert correlation > 0.5
    assert neighbours_alike(replace(film, groups=["a"] * 60)) is None
    results = {"miou": 0.35, "miou_ci95": [0.3, 0.4], "neighbours_alike": correlation}
    assert "too narrow" in range_of(results) and "--group-by" in range_of(results)
    evaluate(EvaluateConfig(runs=(world / "runs/weak",), split="train", group_by=r"^item(\d\d)"))
    assert metrics(world / "runs/weak/evaluation/train")["num_units"] == 8


def test_classes_of_unlike_difficulty_are_no_film():
    """Names go by class, and so do scores; within a class, neighbours do not."""
    labels = np.repeat([0, 1], 100)
    rng = np.random.default_rng(0)
    stems = [f"{'ab'[label]}/{place:03d}" for place, label in enumerate(labels)]
    values = (rng.random(200) < np.where(labels, 0.95, 0.4)).astype(float)
    assert alike(stems, values) > 0.2
    assert alike(stems, values, labels) is None
    film = np.repeat(rng.random(50) < 0.5, 4).astype(float)  # four frames of a film are right, or wrong
    assert alike(stems, film, labels) > 0.5


def films(of: list[Candidate]) -> list[Candidate]:
    """The same counts as frames of a film: neighbours differ alike from network to network."""
    first, second = (confusion.mean_iou(one.matrices) for one in of)
    order = np.argsort(second - first)
    return [replace(one, evaluation=replace(one.evaluation, counts={"confusion": one.matrices[order]})) for one in of]


def test_frames_of_a_film_are_not_compared_as_if_they_were_independent():
    plain = candidates(0.0, 0.05, seeds=1)
    assert compare(plain)["differences"]["other-0"]["told_apart"]
    of_film = [
        replace(one, evaluation=replace(one.evaluation, stems=[f"f{i:02d}" for i in range(40)])) for one in films(plain)
    ]
    results = compare(of_film)
    assert results["differences"]["other-0"]["p"] is None
    assert "as frames of a film do" in results["differences"]["other-0"]["miou_ci95_note"]
    assert headline(results).startswith("These images cannot say whether ")
    grouped = on_the_same_images(of_film, r"^f\d")
    assert compare(grouped)["num_units"] == 4 and compare(grouped)["unit"] == "group"
    other = [of_film[0], replace(of_film[1], evaluation=replace(of_film[1].evaluation, groups=["a"] * 40))]
    with pytest.raises(UserError, match="were scored with different groups"):
        on_the_same_images(other)


def test_scores_on_training_images_claim_nothing_of_new_ones(world, capsys):
    evaluate(EvaluateConfig(runs=(world / "runs/good",), split="train"))
    found = metrics(world / "runs/good/evaluation/train")
    assert found["trained_on"] == found["num_images"] == 56
    results = found | {"baselines": {"all_background": found["baselines"]["all_background"]}}
    assert verdict(results).loud and "SAYS NOTHING ABOUT NEW IMAGES" in verdict(results).text
    assert "Beats" not in capsys.readouterr().out


def test_an_ensemble_that_saw_moved_images_is_refused(world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "data")
    runs = [make_run(tmp_path / "data", tmp_path / "runs", name, split_seed=i) for i, name in enumerate("ab")]
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"was trained on .* of these images"):
        evaluate(EvaluateConfig(runs=tuple(runs), ensemble=True, data=tmp_path / "moved", out=tmp_path / "x"))


def test_an_evaluation_of_older_masks_is_made_anew(world, tmp_path, capsys):
    shutil.copytree(world / "data", tmp_path / "data")
    runs = tuple(make_run(tmp_path / "data", tmp_path / "runs", name) for name in "ab")
    for run in runs:
        evaluate(EvaluateConfig(runs=(run,)))
    before = metrics(runs[0] / "evaluation/test")["miou"]
    for path in (tmp_path / "data/masks").iterdir():
        save(path, 1 - np.array(Image.open(path)))
        os.utime(path, (time.time() + 5,) * 2)
    evaluate(EvaluateConfig(runs=runs, compare=True, out=tmp_path / "cmp"))
    results = json.loads((tmp_path / "cmp/compare.json").read_text())
    assert results["networks"]["a"]["miou"] != before
    assert "a and b" not in headline(results), "equal networks are not told apart"


def test_test_time_augmentation_is_another_method(world, tmp_path):
    run = world / "runs/weak"
    evaluate(EvaluateConfig(runs=(run,)))
    evaluate(EvaluateConfig(runs=(run,), tta="flips"))
    both = (run / "evaluation/test", run / "evaluation/test-flips")
    evaluate(EvaluateConfig(runs=both, compare=True, out=tmp_path / "cmp"))
    results = json.loads((tmp_path / "cmp/compare.json").read_text())
    assert list(results["networks"]) == ["weak/test", "weak/test-flips"]
    assert set(results["methods"]["seeds"]) == {"tta none", "tta flips"}
    with pytest.raises(UserError, match="the same folder twice"):
        evaluate(EvaluateConfig(runs=(run, run.parent / ".." / "runs" / "weak"), compare=True, out=tmp_path / "x"))


def test_images_without_any_label_end_in_words(tmp_path, capsys):
    data = make_folder(tmp_path / "data", 20)
    classes = [{"name": "ground", "value": 0}, {"name": "square", "value": 1}]
    (data / "classes.json").write_text(json.dumps({"classes": classes, "void": [9]}))
    run = make_run(data, tmp_path / "runs", "a")
    other = make_run(data, tmp_path / "runs", "b", seed=1)
    for row in json.loads((run / "split.json").read_text())["test"]:
        save(data / row["mask"], np.full((32, 32), 9, np.uint8))
    evaluate(EvaluateConfig(runs=(run, other), compare=True, out=tmp_path / "cmp"))
    printed = capsys.readouterr().out
    assert "Nothing to score" in printed and "cannot be said" in printed
    assert metrics(run / "evaluation/test")["miou"] is None


def test_referees_ambiguities_are_refused_or_said(tmp_path, capsys):
    config = referee(tmp_path)
    shutil.rmtree(tmp_path / "truth")
    colors = np.array([(200, 0, 0), (0, 0, 200)], np.uint8)
    for i in range(12):
        save(tmp_path / f"truth/item{i:02d}.png", colors[shapes(i)[1]])
    with pytest.raises(UserError, match=r"put a classes.json into --truth"):
        evaluate(config)
    shutil.rmtree(tmp_path / "truth")
    for i in range(4):
        for name in ("car", "tree"):
            save(tmp_path / f"truth/item{i:02d}_{name}.png", shapes(i)[1])
    with pytest.raises(UserError, match="one file for each class"):
        evaluate(config)


def test_a_grey_void_of_colour_masks_is_known_again(tmp_path):
    """Else --compare would score anew, and count another opening of the test part, each time."""
    encoding = Encoding(("a", "b"), (0, 0xFF0000), ((0, 0, 0), (255, 0, 0)), void=(0x070707,), is_color=True)
    run = SimpleNamespace(encoding=encoding, classifies=False, split=Split([], [], [], 0, False))
    (tmp_path / "counts.npz").touch()
    (tmp_path / "metrics.json").write_text(json.dumps({"void": [encoding.in_json(value) for value in encoding.void]}))
    assert not outdated(tmp_path, run, EvaluateConfig(void=(7,)))
    assert outdated(tmp_path, run, EvaluateConfig(void=(7, 8)))


def test_a_suspected_label_is_decoded_once(tmp_path):
    read = []
    pair = Pair("a", Path("a.png"), Path("a.png"))
    image = np.zeros((64, 64, 3), np.uint8)
    encoding = Encoding(("x", "y"), (0, 1), ((0, 0, 0), (255, 0, 0)))
    album = Album(
        [pair],
        encoding,
        PICTURES,
        lambda pair: read.append(pair) or (image, image[..., 0]),
        lambda stem: tmp_path / "a.png",
    )
    write_mask(tmp_path / "a.png", image[..., 0], encoding.colors)
    doubt = Doubt("a", 0, 0, 8, 8, 0, 1, 64, 0.9, 1.0)
    evaluation = Evaluation(encoding.names, ["a"], [None], [""], {}, {}, [doubt])
    assert len(list(album.crops(evaluation))) == len(read) == 1
