"""train_classifier.py as a user calls it: trained, scored, resumed, refused, and compared with masks."""

import csv
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import NARROW, history, interrupted, make_folder, run_script, save, shapes, weights
from PIL import Image

import models  # noqa: F401  registers the layers that saved networks name
from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.files import write_json, write_mask
from data_pipeline.pixel_range import PixelRange
from data_pipeline.split import Split
from engine.comparing.across_tasks import as_labels, curves
from engine.comparing.compare import Candidate
from engine.config import ClassifierConfig
from engine.scoring.confusion import confusion_matrix
from engine.scoring.evaluation import Evaluation
from engine.training import classifier
from engine.training.cost import forget_peak, peak_memory
from models import build_classifier, build_model
from train_classifier import train

pytestmark = pytest.mark.usefixtures("quick_forest", "narrow_networks")
TINY = {"steps": 4, "steps_per_epoch": 2, "batch_size": 4}


def make_colors(folder: Path, parts: dict[str, int], size: int = 32) -> Path:
    """DIR/PART/CLASS: bright squares, whose colour is the class."""
    for part, count in parts.items():
        for label, name in enumerate(("green", "blue")):
            for index in range(count):
                image = shapes(100 * len(part) + 10 * index + label, size, num_classes=3)[0]
                image[..., 2 - label] = np.minimum(image[..., 2 - label], 60)
                save(folder / part / name / f"{name}{index}.png", image)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder d with train/ and validation/, and the file of a U-Net."""
    folder = tmp_path_factory.mktemp("classifier")
    make_colors(folder / "d", {"train": 8, "validation": 6})
    keras.utils.set_random_seed(0)
    build_model("unet", 2, **NARROW["unet"]).save(folder / "unet.keras")
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """From scratch, scored."""
    flags = ("--strategy", "scratch", "--backbone", "small_cnn", "--steps", "60", "--steps-per-epoch", "20")
    done = run_script("train_classifier.py", "--data", "d", *flags, "--name", "scratch", cwd=folder)
    assert done.returncode == 0, done.stderr
    scored = run_script("evaluate.py", "runs/scratch", "--split", "val", cwd=folder)
    assert scored.returncode == 0, scored.stderr
    return folder, done.stdout, scored.stdout


def test_it_learns_and_says_so(trained):
    folder, training, scored = trained
    assert "plan: 28 images, 2 classes; 16 / 12 / 0 for training / validation / test" in training
    assert "training: blue 8, green 8; from scratch, 60 steps of 16 images of 32×32" in training
    assert "Next: python evaluate.py runs/scratch --split val" in training.splitlines()[-1]
    assert "Report: runs/scratch/evaluation/val/report.html" in scored.splitlines()[-1]
    metrics = json.loads((folder / "runs/scratch/evaluation/val/metrics.json").read_text())
    assert metrics["accuracy"] >= 0.9 and set(metrics["baselines"]) == {"majority_class", "color_forest"}
    assert metrics["baselines"]["majority_class"]["accuracy"] == 0.5
    assert {"balanced_accuracy", "macro_f1", "ece", "accuracy_ci95", "accuracy_ci95_note"} <= set(metrics)
    page = (folder / "runs/scratch/evaluation/val/report.html").read_text()
    assert "the image, and what speaks for the predicted class" in page and "color forest (colours only)" in page
    assert "Grad-CAM" in page and page.count('class="about"') == 12


def test_scores_are_reproduced_from_the_table(trained):
    folder, _, _ = trained
    metrics = json.loads((folder / "runs/scratch/evaluation/val/metrics.json").read_text())
    rows = list(csv.DictReader((folder / "runs/scratch/evaluation/val/per_image.csv").open()))
    assert len(rows) == 12 and {row["truth"] for row in rows} == {"blue", "green"}
    for row in rows:
        assert row["truth"] in row["stem"] and int(row["right"]) == (row["truth"] == row["prediction"])
        assert float(row["p_blue"]) + float(row["p_green"]) == pytest.approx(1, abs=2e-4)
    recalls = {
        name: np.mean([row["prediction"] == name for row in rows if row["truth"] == name]) for name in ("blue", "green")
    }
    assert metrics["recall"] == pytest.approx(recalls)
    assert metrics["accuracy"] == pytest.approx(np.mean([int(row["right"]) for row in rows]))
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean(list(recalls.values())))


def test_what_it_took_is_written_down(trained):
    cost = json.loads((trained[0] / "runs/scratch/cost.json").read_text())
    assert (cost["images"], cost["steps"], cost["label_bits_per_image"]) == (16, 60, {"uniform": 1.0, "entropy": 1.0})
    assert cost["parameters"] - cost["trainable_parameters"] == 2 * 2 * (32 + 64 + 128 + 256)  # moving averages
    assert cost["seconds"] > 0 and cost["peak_memory_bytes"] > 100 << 20 and "CPU" in cost["device"]


def test_the_peak_of_memory_is_counted_anew():
    held = np.ones(400 << 20, np.uint8)
    before = peak_memory()
    del held
    forget_peak()
    assert peak_memory() < before - (200 << 20)


def test_a_tile_keeps_the_centre_that_names_it(monkeypatch):
    seen = []
    monkeypatch.setattr("engine.training.classifier.photo_batches", lambda loader, policy, **_: seen.append(policy))
    monkeypatch.setattr("engine.training.classifier.held_out_photos", lambda *_: None)
    for tile in (None, 32):
        config = ClassifierConfig(strategy="scratch", size="32x32", augment="strong", tile=tile)
        dataset = DataSet(
            config, [], [], split=Split([], [], [], 0, False), pixel_range=PixelRange("uint8", (0,) * 3, (255,) * 3)
        )
        classifier.stages(config, dataset, None, classifier.frames(config, dataset))[0].batches(0)
    assert (seen[0].shift, seen[0].elastic) == (0.2, 0.04) and (seen[1].shift, seen[1].elastic) == (0, 0)
    assert seen[1].rotation == seen[0].rotation


def test_train_py_does_not_go_on_with_a_classifier(folder, monkeypatch):
    run = interrupted(train, settings(folder, "mine", strategy="frozen"), monkeypatch, 1)
    done = run_script("train.py", "--resume", run, cwd=folder)
    assert done.returncode == 1 and "a classifier; python train_classifier.py --resume" in done.stderr


def test_labels_of_new_images(trained):
    folder, _, _ = trained
    done = run_script("predict.py", "runs/scratch", "d/validation/blue", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((folder / "out/labels.csv").open()))
    known = {row["stem"]: row for row in csv.DictReader((folder / "runs/scratch/evaluation/val/per_image.csv").open())}
    assert len(rows) == 6
    for row in rows:
        same = known[f"validation/blue/{Path(row['image']).stem}"]
        assert row["label"] == same["prediction"]
        assert float(row["p_blue"]) == pytest.approx(float(same["p_blue"]), abs=1e-3)
    again = run_script("predict.py", "runs/scratch", "d/validation/blue", "--out", "out", cwd=folder)
    assert again.returncode == 1 and "exists; name another --out, or add --overwrite" in again.stderr


def test_other_data_with_the_same_classes(trained, tmp_path):
    folder, _, _ = trained
    make_colors(tmp_path / "other", {"": 3})
    done = run_script("evaluate.py", "runs/scratch", "--data", tmp_path / "other", cwd=folder)
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "runs/scratch/evaluation/other-all/metrics.json").read_text())
    assert results["num_images"] == 6 and results["trained_on"] == 0
    shutil.copytree(tmp_path / "other/blue", tmp_path / "other/red")
    done = run_script("evaluate.py", "runs/scratch", "--data", tmp_path / "other", cwd=folder)
    assert done.returncode == 1 and "the run does not know the classes red; blue, green are" in done.stderr


@pytest.mark.parametrize("flag", ["--ensemble", "--forecast"])
def test_what_is_for_masks_alone_is_refused(trained, flag):
    folder, _, _ = trained
    shutil.copytree(folder / "runs/scratch", folder / f"runs/copy{flag}")
    done = run_script("evaluate.py", "runs/scratch", f"runs/copy{flag}", flag, "--out", "nothing", cwd=folder)
    assert done.returncode == 1 and f"{flag} is for segmentation networks" in done.stderr, done.stderr


def settings(folder: Path, name: str, **changes) -> ClassifierConfig:
    return ClassifierConfig(
        **TINY
        | {
            "data": folder / "d",
            "runs_dir": folder / "runs",
            "name": name,
            "backbone": "unet_encoder",
            "weights": str(folder / "unet.keras"),
            "deterministic": True,
            "steps": 8,
        }
        | changes
    )


@pytest.fixture(scope="module")
def whole(folder):
    train(settings(folder, "whole"))
    return folder


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)])
def test_it_goes_on_as_if_nothing_had_been(whole, monkeypatch, after):
    """With the head alone, between the stages, and with the encoder: byte for byte."""
    run = interrupted(train, settings(whole, f"after{after}"), monkeypatch, after)
    train(ClassifierConfig(resume=run))
    assert history(run) == history(whole / "runs/whole") and len(history(run)) == 4
    assert weights(run) == weights(whole / "runs/whole")
    assert not (run / "resume").exists()


def test_cached_features_train_the_same_head(folder, monkeypatch):
    """Without augmentation, the head learns the same from features that are kept as from images."""
    for name, cache in (("kept", True), ("asked", False)):
        config = settings(folder, name, strategy="frozen", augment="none", symmetry="none", cache_features=cache)
        monkeypatch.setattr("engine.training.classifier.build_classifier", partial(build_classifier, dropout=0.0))
        train(config)
    kept, asked = (history(folder / f"runs/{name}") for name in ("kept", "asked"))
    for one, other in zip(kept, asked, strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=1e-3)
    whole = [keras.models.load_model(folder / f"runs/{name}/model.keras", compile=False) for name in ("kept", "asked")]
    for one, other in zip(*(model.get_layer("encoder").get_weights() for model in whole), strict=True):
        np.testing.assert_array_equal(one, other)  # frozen: both as in the file
    np.testing.assert_allclose(*(model.get_layer("logits").kernel for model in whole), atol=1e-4)


@pytest.mark.slow
def test_every_strategy_by_one_command_and_the_rest_after_an_interruption(folder, monkeypatch, capsys):
    config = settings(folder, "every", strategy="all", steps=4)
    interrupted(train, config, monkeypatch, after=3)  # in frozen
    train(ClassifierConfig(resume=folder / "runs/every"))
    printed = capsys.readouterr().out
    assert "every/scratch is trained already" in printed
    assert "--compare --split val --out" in printed.splitlines()[-1]
    costs = {name: json.loads((folder / f"runs/every/{name}/cost.json").read_text()) for name in ("scratch", "frozen")}
    assert costs["scratch"]["trainable_parameters"] > 4_500 and costs["frozen"]["trainable_parameters"] == 2 * 17
    runs = [f"runs/every/{name}" for name in ("scratch", "frozen", "finetune")]
    done = run_script("evaluate.py", *runs, "--compare", "--split", "val", "--out", "compared", cwd=folder)
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "compared/compare.json").read_text())
    assert results["score"] == "accuracy" and set(results["differences"]) == {"frozen", "finetune"}
    assert [row["task"] for row in results["costs"]] == ["scratch", "frozen", "finetune"]
    assert set(results["methods"]["seeds"]) == {"strategy scratch", "strategy frozen", "strategy finetune"}
    done = run_script("evaluate.py", "runs/every", cwd=folder)
    assert done.returncode == 1 and "holds a run for each strategy; name them: runs/every/*/" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--data DIR: say where the images are"),
        (("--data", "nowhere"), "nowhere: no such folder"),
        (("--data", "d", "--weights", "none"), "--weights none: say --strategy scratch"),
        (("--data", "d", "--strategy", "scratch", "--weights", "x.h5"), "--strategy scratch takes none"),
        (("--data", "d", "--strategy", "scratch", "--cache-features"), "--strategy scratch has none"),
        (("--data", "d", "--backbone", "small_cnn"), "small_cnn is trained from scratch: add --strategy scratch"),
        (("--data", "d", "--backbone", "unet_encoder"), "name the model.keras of a U-Net as --weights"),
        (("--data", "d", "--weights", "x.h5"), "x.h5: there is no such file; wanted are imagenet, none, or a .h5 file"),
        (("--data", "d", "--tile", "32"), "--tile 32 belongs to --label-from-masks centre"),
        (("--data", "d", "--void", "3"), "--void belongs to --label-from-masks"),
        (("--data", "d", "--classes", "a,b"), "--classes belongs to --label-from-masks"),
        (("--data", "d", "--head-steps", "9", "--steps", "9"), "--head-steps 9: with finetune, and fewer than --steps"),
        (("--data", "d", "--steps", "1"), "--steps 1: fine-tuning wants 2 or more"),
        (("--data", "d", "--label-from-masks", "most"), "--label-from-masks most: largest, presence:CLASS or centre"),
        (("--data", "d", "--size", "8x8", "--strategy", "scratch"), "8×8 pixels are too small for mobilenet_v2"),
        (("--data", "d", "--train-count", "99"), "--train-count 99: the training part has 16 images"),
        (("--data", "d", "--strategy", "frozen", "--unfreeze", "block_1"), "--unfreeze belongs to --strategy finetune"),
        (
            (
                "--data",
                "d",
                "--strategy",
                "all",
                "--backbone",
                "unet_encoder",
                "--weights",
                "unet.keras",
                "--unfreeze",
                "blok",
            ),
            "no layer's name begins with 'blok'",
        ),
        (("--data", "d", "--strategy", "all", "--weights", "x.h5"), "x.h5: there is no such file"),
        (("--resume", "nowhere"), "nowhere: not a run"),
    ],
)
def test_mistakes_end_in_one_clear_line(folder, flags, words):
    before = sorted((folder / "runs").iterdir()) if (folder / "runs").exists() else []
    done = run_script("train_classifier.py", *flags, cwd=folder)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert (sorted((folder / "runs").iterdir()) if (folder / "runs").exists() else []) == before


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """A segmentation data set, a segmenter, and a classifier of labels that are read off the same masks."""
    folder = tmp_path_factory.mktemp("masks")
    make_folder(folder / "d", 20, num_classes=3)
    for index in range(0, 20, 2):  # without class 2
        image, mask = shapes(index)
        save(folder / f"d/images/item{index:03d}.png", image)
        save(folder / f"d/masks/item{index:03d}.png", mask)
    tiny = ("--steps", "2", "--steps-per-epoch", "1", "--batch-size", "2")
    done = run_script("train.py", "--data", "d", *tiny, "--name", "masks", cwd=folder)
    assert done.returncode == 0, done.stderr
    flags = ("--label-from-masks", "presence:class_2", "--strategy", "scratch", "--backbone", "unet_encoder")
    done = run_script("train_classifier.py", "--data", "d", *flags, *tiny, "--name", "labels", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_both_see_the_same_images(masks):
    splits = [json.loads((masks / f"runs/{name}/split.json").read_text()) for name in ("masks", "labels")]
    for part in ("train", "val", "test"):
        assert [row["stem"] for row in splits[0][part]] == [row["stem"] for row in splits[1][part]]
    for row in splits[1]["test"]:
        mask = np.array(Image.open(masks / f"d/masks/{row['stem']}.png"))
        assert row["label"] == (mask == 2).any()


def test_weights_that_have_seen_what_is_held_out(masks):
    """A U-Net's encoder, of a run with another split."""
    tiny = ("--backbone", "unet_encoder", "--weights", "runs/masks/model.keras", "--steps", "1", "--batch-size", "2")
    flags = ("--data", "d", "--label-from-masks", "presence:class_2", "--strategy", "frozen", *tiny)
    same = run_script("train_classifier.py", *flags, cwd=masks)
    other = run_script("train_classifier.py", *flags, "--split-seed", "1", cwd=masks)
    assert same.returncode == other.returncode == 0, other.stderr
    assert "held out here" not in same.stdout
    assert "runs/masks/model.keras was trained on item0" in other.stdout and "scores are too optimistic" in other.stdout


def test_masks_beside_labels(masks):
    done = run_script("evaluate.py", "runs/labels", "runs/masks", "--compare", "--out", "both", cwd=masks)
    assert done.returncode == 0, done.stderr
    results = json.loads((masks / "both/compare.json").read_text())
    assert results["score"] == "accuracy" and list(results["networks"]) == ["labels", "masks"]
    rows = {row["name"]: row for row in results["costs"]}
    assert rows["masks"]["score"] == "miou" and rows["masks"]["label_bits_per_image"]["mask"] > 10
    assert rows["labels"]["score"] == "accuracy" and rows["labels"]["label_bits_per_image"]["uniform"] == 1
    truths = {row["stem"]: row["label"] for row in json.loads((masks / "runs/labels/split.json").read_text())["test"]}
    predictions = masks / "runs/masks/evaluation/test/predictions"
    right = [(np.array(Image.open(predictions / f"{stem}.png")) == 2).any() == label for stem, label in truths.items()]
    assert results["networks"]["masks"]["accuracy"] == pytest.approx(np.mean(right))
    assert "mIoU and accuracy are not to be compared" in (masks / "both/report.html").read_text()


def test_labels_of_other_masks_are_not_compared(masks, trained):
    folder, _, _ = trained
    own = folder / "runs/scratch/evaluation/val"
    done = run_script("evaluate.py", own, masks / "runs/masks", "--compare", "--out", "no", cwd=masks)
    assert done.returncode == 1 and "compared with classifiers on labels from the same masks" in done.stderr


@pytest.mark.parametrize(("rule", "tile", "expected"), [("largest", None, [1, 0, 0]), ("centre", 4, [2, 0])])
def test_a_label_read_off_a_predicted_mask_by_hand(tmp_path, rule, tile, expected):
    encoding = Encoding(("ground", "tree", "car"), (0, 1, 2), ((0, 0, 0), (0, 255, 0), (255, 0, 0)))
    folder = tmp_path / "run/evaluation/test"
    write_json(tmp_path / "run/config.json", {"model": "unet"})
    of_pictures = {
        "root": str(tmp_path),
        "channels": 3,
        "scale": PixelRange("uint8", (0.0,) * 3, (255.0,) * 3).to_json(),
    }
    shares = {"class_frequencies": dict.fromkeys(encoding.names, 1 / 3), "fingerprint": "0" * 64}
    write_json(tmp_path / "run/dataset.json", {"encoding": encoding.to_json()} | of_pictures | shares)
    truth, car, tree = (np.zeros((4, 8), np.uint8) for _ in range(3))
    truth[0, :3], truth[0, 7], truth[1:3, :3] = 2, 1, 2
    truth[3] = VOID  # what is said there does not count
    car[:3, :3], car[0, 7], tree[0, 0], tree[3] = 2, 1, 1, 2
    predicted = {"a": car, "b": tree, "none": np.zeros((4, 8), np.uint8)}
    for name, mask in predicted.items():
        write_mask(folder / f"predictions/{name}.png", mask, encoding.colors)
    names, stems, truths = (encoding.names[1:], ["a", "b", "none"], [1, 1, 1])
    if tile:
        names, stems, truths = (encoding.names, ["a_0_0", "a_0_4"], [2, 0])
    counts = {"confusion": np.zeros((len(stems), len(names), len(names)), np.int32), "probabilities": None}
    for place, label in enumerate(truths):
        counts["confusion"][place, label, label] = 1
    classifier = Candidate("c", Evaluation(names, stems, [None] * len(stems), stems, counts, {}, []), {})
    matrices = {"confusion": np.stack([confusion_matrix(truth, mask, 3) for mask in predicted.values()])}
    seen = Evaluation(encoding.names, list(predicted), [None] * 3, list(predicted), matrices, {}, [])
    labels = as_labels(Candidate("masks", seen, {"model": "unet"}), classifier, rule, tile, folder)
    assert labels.matrices.sum(1).argmax(1).tolist() == expected
    assert labels.matrices.sum(2).argmax(1).tolist() == truths
    with pytest.raises(UserError, match=r"was not scored on 1 of c's images"):
        fewer = replace(seen, stems=["b", "none"], counts={"confusion": matrices["confusion"][1:]})
        as_labels(Candidate("masks", fewer, {"model": "unet"}), classifier, rule, tile, folder)
    with pytest.raises(UserError, match=r"masks that do not give c's labels \(a"):
        trees = confusion_matrix(np.ones_like(tree), tree, 3)
        other = replace(seen, counts={"confusion": np.stack([trees] * 3)})
        as_labels(Candidate("masks", other, {"model": "unet"}), classifier, rule, tile, folder)


def test_curves_hold_every_run_of_a_method():
    def candidate(name, strategy, count, right, seed=0):
        matrices = np.zeros((4, 2, 2), np.int32)
        matrices[:right, 0, 0] = matrices[right:, 0, 1] = 1
        evaluation = Evaluation(("a", "b"), list("wxyz"), [None] * 4, list("wxyz"), {"confusion": matrices}, {}, [])
        settings = {"strategy": strategy, "train_count": count, "data": str(count), "seed": seed, "name": name}
        return Candidate(name, evaluation, settings)

    runs = [
        candidate("a", "scratch", 9, 1),
        candidate("b", "scratch", 90, 2),
        candidate("c", "frozen", 9, 3),
        candidate("d", "frozen", 9, 4, seed=1),
    ]
    rows = [{"name": one.name, "images": one.settings["train_count"]} for one in runs]
    assert curves(runs, rows) == {
        "strategy scratch": [{"images": 9, "score": 0.25}, {"images": 90, "score": 0.5}],
        "strategy frozen": [{"images": 9, "score": 0.75}, {"images": 9, "score": 1.0}],
    }
    assert curves(runs[2:], rows) == {}
