"""Self-training: what is left out, what stays void, what is told, and that an interrupted one ends the same."""

import json
from functools import partial

import numpy as np
import pytest
from conftest import history, interrupted, make_folder, run_script, save, shapes, weights
from PIL import Image

from data_pipeline.augment import Policy
from data_pipeline.command import UserError
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.loader import Loader
from data_pipeline.mixed_samples import MixedSamples
from data_pipeline.pairs import Pair
from data_pipeline.samples import MaskSamples
from engine.config import EvaluateConfig, TrainConfig
from engine.run import Run
from engine.selftraining.gain import NAME, gain_in_words
from engine.selftraining.pseudo_labels import in_words, pseudo_label, sure_of
from evaluate import evaluate
from train import train

pytestmark = pytest.mark.usefixtures("quick_forest", "narrow_networks")

SETTINGS = {"steps": 4, "steps_per_epoch": 2, "batch_size": 2, "crop": 32, "deterministic": True, "patience": 1}
ROUNDS = (".", "teacher", "without")


def settings(folder, name: str, **changes) -> TrainConfig:
    unlabelled = {"data": folder / "d", "unlabelled": folder / "u", "runs_dir": folder / "runs", "name": name}
    return TrainConfig(**SETTINGS | unlabelled | changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a data set d, images without masks in u, and runs/whole, which nothing interrupted.

    A threshold that a network of four steps reaches: it is sure of something, and not of everything.
    """
    folder = tmp_path_factory.mktemp("world")
    make_folder(folder / "d", 10, size=40)
    for index in range(100, 104):
        save(folder / "u" / f"new{index}.png", shapes(index, 40)[0])
    save(folder / "u/other.png", shapes(104, 48)[0])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.selftraining.pseudo_labels.SURE", 0.55)
        train(settings(folder, "whole"))
        yield folder


def test_the_run_is_the_student_beside_a_teacher_and_a_comparison(world):
    whole = world / "runs/whole"
    assert [len(history(whole / name)) for name in ("without", ".")] == [2, 2], "all steps, whatever the patience"
    assert weights(whole) != weights(whole / "without") != weights(whole / "teacher")
    assert Run.open(whole / "teacher").config["unlabelled"] is None
    assert Run.open(whole).config["unlabelled"] == str(world / "u")
    assert not list(whole.rglob("resume"))
    assert Run(whole / "teacher").whole == whole and Run(whole).whole == whole


def test_pseudo_labels_are_void_where_the_teacher_is_unsure(world):
    run = Run.open(world / "runs/whole")
    stored = json.loads((run.path / "pseudo-labels/sure.json").read_text())
    masks = {path.name: np.asarray(Image.open(path)) for path in (run.path / "pseudo-labels").glob("*.png")}
    assert sorted(masks) == [*(f"new{i}.png.png" for i in range(100, 104)), "other.png.png"]
    assert stored["pixels"] == sum(mask.size for mask in masks.values()) == 4 * 40**2 + 48**2
    for name, counts in stored["sure"].items():
        assert counts == [int((masks[f"{name}.png"] == label).sum()) for label in (0, 1)]
    known = sum(map(sum, stored["sure"].values()))
    assert 0 < known < stored["pixels"], "of some it is sure, of others not"


def test_sure_of_by_hand():
    probabilities = np.array([[[0.95, 0.05], [0.94, 0.06], [0.02, 0.98], [0.5, 0.5]]], np.float32)
    assert sure_of(probabilities, 0.95).tolist() == [[0, VOID, 1, VOID]]


@pytest.mark.parametrize("after", [*(pytest.param(early, marks=pytest.mark.slow) for early in (1, 3)), 5])
def test_interrupted_in_any_round_it_ends_the_same(world, monkeypatch, after):
    """In the teacher, the comparison and the student: two validations each."""
    config = settings(world, f"after{after}", patience=0)
    run = interrupted(train, config, monkeypatch, after)
    assert len(list(run.glob("*/model.keras"))) == min(2, (after + 1) // 2)
    train(TrainConfig(resume=run))
    for name in ROUNDS:
        assert history(run / name) == history(world / "runs/whole" / name)
        assert weights(run / name) == weights(world / "runs/whole" / name)


@pytest.mark.slow
def test_interrupted_while_labelling_or_before_the_teacher_it_ends_the_same(world, monkeypatch):
    run, arguments = world / "runs/early", ["--data", "d", "--unlabelled", "u", "--name", "early"]
    arguments += ["--steps", 4, "--steps-per-epoch", 2, "--batch-size", 2, "--crop", 32, "--deterministic"]
    for place in ("rounds.trained", "pseudo_labels.write_json"):
        with monkeypatch.context() as patched:

            def stop(*given, **named):
                raise KeyboardInterrupt

            patched.setattr(f"engine.selftraining.{place}", stop)
            done = run_script("train.py", *arguments, cwd=world)
        assert done.returncode == 130, done.stderr
        assert not (run / "pseudo-labels").exists()
        arguments = ["--resume", run / "teacher" if (run / "teacher").exists() else run]
    train(TrainConfig(resume=run / "teacher"))
    assert weights(run) == weights(world / "runs/whole")


def test_changed_unlabelled_images_are_not_gone_on_with(world, tmp_path, monkeypatch):
    (tmp_path / "u").mkdir()
    for path in (world / "u").iterdir():
        (tmp_path / "u" / path.name).write_bytes(path.read_bytes())
    config = settings(world, "changed", unlabelled=tmp_path / "u", runs_dir=tmp_path / "runs")
    run = interrupted(train, config, monkeypatch, after=1)
    (tmp_path / "u/other.png").unlink()
    with pytest.raises(UserError, match="the unlabelled images are no longer those"):
        train(TrainConfig(resume=run))


def test_images_that_equal_labelled_ones_are_left_out(world, tmp_path, monkeypatch, capsys):
    """A copy of a test image, and in other files the pixels of it, of a validation and of a training image."""
    split = Run.open(world / "runs/whole").split
    (tmp_path / "u").mkdir()
    (tmp_path / "u/bytes.png").write_bytes(split.test[0].image.read_bytes())
    Image.open(split.test[0].image).save(tmp_path / "u/pixels.bmp")
    Image.open(split.val[0].image).save(tmp_path / "u/val.tif")
    Image.open(split.train[0].image).save(tmp_path / "u/train.bmp")
    config = settings(world, "equal", unlabelled=tmp_path / "u", runs_dir=tmp_path / "runs")
    with pytest.raises(UserError, match="all of its images are labelled ones of the data set"):
        train(config)
    printed = capsys.readouterr().out
    assert "4 of 4 images" in printed and "2 of the test part, 1 of the validation part, 1 of the training" in printed
    assert not (tmp_path / "runs").exists()
    save(tmp_path / "u/new.png", shapes(300, 40)[0])
    run = interrupted(train, config, monkeypatch, after=1)
    assert list(json.loads((run / "unlabelled.json").read_text())["images"]) == ["new.png"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (None, None, "no such folder"),
        ("sub/a.png", shapes(1, 40)[0], "holds no images without a mask; name one of its folders: sub"),
        ("a.png", np.zeros((40, 40), np.uint16), "1 channels of uint16, but the network was trained on 3 of uint8"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_before_training(world, tmp_path, name, content, words):
    if name:
        save(tmp_path / "u" / name, content)
    with pytest.raises(UserError, match=words):
        train(settings(world, "refused", unlabelled=tmp_path / "u", runs_dir=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_folds_are_refused(world):
    with pytest.raises(UserError, match="--unlabelled trains one network"):
        settings(world, "folds", folds=3).checked()


def test_a_teacher_that_is_never_sure_is_told_and_teaches_nothing(world, monkeypatch, capsys):
    """Then student and comparison are the same network: equal weights, and a gain of 0."""
    monkeypatch.setattr("engine.selftraining.pseudo_labels.SURE", 1.0)
    train(settings(world, "unsure"))
    printed = capsys.readouterr().out
    assert "WARNING: the teacher is sure of 0.0% of the pixels of 5 unlabelled images" in printed
    assert "nowhere of background, foreground" in printed
    run = world / "runs/unsure"
    assert weights(run) == weights(run / "without")
    evaluate(EvaluateConfig(runs=(run,)))
    metrics = json.loads((run / "evaluation/test/metrics.json").read_text())
    assert metrics["gain"][NAME]["lead"]["miou"] == 0


def test_the_report_says_what_the_unlabelled_images_brought(world, capsys):
    evaluate(EvaluateConfig(runs=(world / "runs/whole",)))
    printed = capsys.readouterr().out
    folder = world / "runs/whole/evaluation/test"
    results = json.loads((folder / "metrics.json").read_text())
    evaluate(EvaluateConfig(runs=(world / "runs/whole/without",)))
    without = json.loads((world / "runs/whole/without/evaluation/test/metrics.json").read_text())
    lead = results["gain"][NAME]["lead"]["miou"]
    assert lead == pytest.approx(results["miou"] - without["miou"]) and "gain" not in without
    assert gain_in_words(results) in printed
    assert "beside the same number of steps without them" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("value", "ends", "words"),
    [
        (0.02, [0.01, 0.03], "The unlabelled images brought mIoU +0.020 beside the same number of steps without them"),
        (0.02, [-0.01, 0.05], "WARNING: the unlabelled images brought nothing that is more than chance"),
        (-0.02, [-0.03, -0.01], "WARNING: the unlabelled images did harm: mIoU −0.020"),
        (0.02, None, "whether that is chance cannot be said (too few)".replace("whether", "Whether")),
    ],
)
def test_gain_in_words(value, ends, words):
    lead = {"miou": value, "miou_ci95": ends, "miou_ci95_note": "too few"}
    assert words in gain_in_words({"gain": {NAME: {"lead": lead}}})
    assert gain_in_words({"gain": {}}) == gain_in_words({}) == ""


def test_shares_in_words():
    stored = {"pixels": 1000, "classes": ["a", "b"], "sure": {"x": [400, 0], "y": [100, 0]}}
    assert in_words(stored, 2) == (
        "the teacher is sure of 50.0% of the pixels of 2 unlabelled images; the rest is void; nowhere of b"
    )


def test_every_second_sample_is_of_the_second_kind(tmp_path):
    """Whatever the batch, each kind goes through its own images as it would alone."""
    encoding = Encoding(("a", "b"), (0, 1), ((0, 0, 0), (255, 255, 255)))
    kinds = []
    for name, count in (("few", 2), ("many", 3)):
        folder = make_folder(tmp_path / name, count, size=8, name=name)
        pairs = [Pair(path.stem, path, folder / "masks" / path.name) for path in sorted((folder / "images").iterdir())]
        kinds.append(MaskSamples(Loader(pairs, encoding), Policy(crop=(8, 8)), partial(np.full_like, fill_value=1), 7))
    mixed = MixedSamples(*kinds)
    for position in range(8):
        expected = kinds[position % 2](position // 2)
        assert all((a == b).all() for a, b in zip(mixed(position), expected, strict=True))
    names = mixed.names(1, 5)
    assert [name[:-7] for name in names] == ["many", "few", "many", "few", "many"]
    assert sorted(names[::2]) == ["many000.png", "many001.png", "many002.png"]


def test_pseudo_labels_of_other_images_are_refused(world):
    """As a folder of pseudo-labels that was copied from elsewhere."""
    run = Run.open(world / "runs/whole")
    with pytest.raises(UserError, match="pseudo-labels: of other images or classes; remove that folder"):
        pseudo_label(run, run, world / "u", ["another.png"], batch_size=1)
