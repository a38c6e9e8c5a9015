"""The real scripts on real folders: what a user types, what a user sees, what a user gets wrong."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, make_folder, processor_seconds, run_process, run_script, save, shapes, weights, write_classes
from PIL import Image

import models  # noqa: F401  registers the layers that saved networks name
from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import VOID
from data_pipeline.loader import read_pair
from data_pipeline.samples import place_of
from data_pipeline.source import Source
from engine.config import EvaluateConfig, PredictConfig, TrainConfig
from evaluate import evaluate
from predict import predict
from train import train

pytestmark = pytest.mark.usefixtures("quick_forest", "narrow_networks")
NAME = "it's <b> &"  # of the user's files
TINY = ["--steps", "4", "--steps-per-epoch", "2", "--batch-size", "2", "--augment", "light"]


def tiny(data, runs_dir, name, **settings) -> TrainConfig:
    """A training that takes seconds, with one result."""
    return TrainConfig(
        data=data,
        runs_dir=runs_dir,
        name=name,
        steps=4,
        steps_per_epoch=2,
        batch_size=2,
        deterministic=True,
        **settings,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run of train.py and evaluate.py on 0/255 masks, in processes of their own."""
    folder = tmp_path_factory.mktemp("user")
    make_folder(folder / "photos", 14, size=40, encode=lambda mask: mask * np.uint8(255), name=NAME)
    training = run_process("train.py", "--data", "photos", "--name", "mine", *TINY, cwd=folder)
    evaluation = run_process("evaluate.py", "runs/mine", cwd=folder)
    return folder, training, evaluation


def test_training_prints_a_plan_and_the_next_command(trained):
    _, training, _ = trained
    assert training.returncode == 0, training.stderr
    assert "binary masks inferred: 0 is background, 255 is foreground" in training.stdout
    assert "plan: 14 pairs, 2 classes, void none; 10 / 2 / 2 for training / validation / test" in training.stdout
    assert training.stdout.count("\nepoch ") == 2
    assert training.stdout.strip().endswith("Next: python evaluate.py runs/mine")


def test_the_run_directory_is_complete(trained):
    folder, _, evaluation = trained
    run = folder / "runs/mine"
    assert evaluation.returncode == 0, evaluation.stderr
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert files >= {
        *("config.json", "environment.json", "dataset.json", "split.json", "history.csv", "curves.png", "model.keras"),
        *(f"evaluation/test/{name}" for name in ("metrics.json", "per_image.csv", "report.html", "counts.npz")),
    }
    assert any(name.startswith("tensorboard/") for name in files)
    assert not [name for name in files if "/." in name or name.startswith(".")], "no temporary file is left"
    columns = next(csv.DictReader((run / "history.csv").open()))
    assert list(columns) == [
        *("epoch", "step", "loss", "miou", "val_loss", "val_miou", "learning_rate", "seconds"),
        *("val_iou_background", "val_iou_foreground"),
    ]
    dataset = json.loads((run / "dataset.json").read_text())
    assert dataset["encoding"]["values"] == [0, 255]
    assert sum(dataset["class_frequencies"].values()) == pytest.approx(1)
    assert json.loads((run / "environment.json").read_text())["command"][:2] == ["train.py", "--data"]
    metrics = json.loads((run / "evaluation/test/metrics.json").read_text())
    assert set(metrics) >= {
        *(
            "split",
            "num_images",
            "resolution",
            "reduction",
            "void",
            "miou",
            "pixel_accuracy",
            "iou",
            "dice",
            "baselines",
        )
    }
    assert set(metrics["baselines"]) == {"all_background", "majority_class", "pixel_forest"}


def test_metrics_are_reproduced_from_the_predicted_pngs(trained):
    """Twenty lines that know nothing of the project."""
    folder, _, _ = trained
    run = folder / "runs/mine"
    metrics = json.loads((run / "evaluation/test/metrics.json").read_text())
    hits, union, right, total = [0, 0], [0, 0], 0, 0
    for row in json.loads((run / "split.json").read_text())["test"]:
        truth = np.array(Image.open(folder / "photos" / row["mask"])) > 127
        guess = np.array(Image.open(run / "evaluation/test/predictions" / f"{row['stem']}.png")) == 1
        right, total = right + (truth == guess).sum(), total + truth.size
        for label in (0, 1):
            hits[label] += ((truth == label) & (guess == label)).sum()
            union[label] += ((truth == label) | (guess == label)).sum()
    iou = [hit / both for hit, both in zip(hits, union, strict=True)]
    assert metrics["iou"]["background"] == pytest.approx(iou[0], abs=1e-6)
    assert metrics["iou"]["foreground"] == pytest.approx(iou[1], abs=1e-6)
    assert metrics["miou"] == pytest.approx(sum(iou) / 2, abs=1e-6)
    assert metrics["pixel_accuracy"] == pytest.approx(right / total, abs=1e-6)


def test_predict_writes_masks_of_the_images_size(trained):
    folder, _, _ = trained
    save(folder / "new/large.jpg", shapes(5, size=75)[0])
    save(folder / "new/small.png", shapes(6, size=20)[0])
    done = run_script("predict.py", "runs/mine", "new", f"photos/images/{NAME}000.png", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("3 masks and overlays are in out/")
    for stem, side in (("large", 75), ("small", 20), (f"{NAME}000", 40)):
        mask = Image.open(folder / "out" / f"{stem}.png")
        assert (mask.mode, mask.size) == ("P", (side, side))
        assert set(np.unique(np.array(mask))) <= {0, 1}
        assert Image.open(folder / "out" / f"{stem}_overlay.png").size == (side, side)
    ranked = list(csv.DictReader((folder / "out/uncertainty.csv").open()))
    unsure = [float(row["uncertainty"]) for row in ranked]
    assert len(ranked) == 3 and unsure == sorted(unsure, reverse=True) and 0 <= unsure[-1] <= unsure[0] <= 1
    assert f"To label next: {ranked[0]['image']}, " in done.stdout
    more = run_script("predict.py", "runs/mine", f"photos/images/{NAME}001.png", "--out", "out", cwd=folder)
    assert more.returncode == 0, more.stderr
    again = list(csv.DictReader((folder / "out/uncertainty.csv").open()))
    assert len(again) == 4 and [row for row in again if f"{NAME}001" not in row["image"]] == ranked
    again = run_script("predict.py", "runs/mine", "new", "--out", "out", cwd=folder)
    assert again.returncode == 1 and "exists; name another --out, or add --overwrite" in again.stderr
    itself = run_script("predict.py", "runs/mine", "new", "--out", "new", cwd=folder)
    assert itself.returncode == 1 and "one of the images themselves" in itself.stderr
    assert (folder / "new/small.png").exists()


def test_predict_agrees_with_evaluate(trained):
    folder, _, _ = trained
    run = folder / "runs/mine"
    row = json.loads((run / "split.json").read_text())["test"][0]
    image = folder / "photos" / row["image"]
    done = run_script("predict.py", "runs/mine", image, "--out", "agree", cwd=folder)
    assert done.returncode == 0, done.stderr
    one, other = (
        np.array(Image.open(path / f"{row['stem']}.png"))
        for path in (folder / "agree", run / "evaluation/test/predictions")
    )
    assert (one == other).all()


def test_the_report_is_one_file_and_escapes_names(trained):
    folder, _, _ = trained
    page = (folder / "runs/mine/evaluation/test/report.html").read_text(encoding="utf-8")
    assert "pixel forest (colours only)" in page and "<h2" in page
    assert NAME not in page, "tests/test_page.py opens such a page in a browser"
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?https?:", page)


def test_model_loads_in_a_fresh_process(trained):
    folder, _, _ = trained
    run = folder / "runs/mine"
    image = np.random.default_rng(0).integers(0, 255, (1, 48, 48, 3)).astype(np.uint8)
    np.save(folder / "image.npy", image)
    code = (
        "import numpy as np, keras, models\n"
        f"model = keras.models.load_model({str(run / 'model.keras')!r})\n"
        f"np.save({str(folder / 'logits.npy')!r}, model.predict(np.load({str(folder / 'image.npy')!r}), verbose=0))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    here = keras.models.load_model(run / "model.keras", compile=False).predict(image, verbose=0)
    np.testing.assert_allclose(np.load(folder / "logits.npy"), here, atol=1e-5)


def test_evaluating_another_folder_and_other_splits(trained):
    folder, _, _ = trained
    make_folder(folder / "more", 3, size=50, encode=lambda mask: mask * np.uint8(255))
    evaluate(EvaluateConfig(runs=(folder / "runs/mine",), data=folder / "more"))
    evaluate(EvaluateConfig(runs=(folder / "runs/mine",), split="val"))
    assert json.loads((folder / "runs/mine/evaluation/more-all/metrics.json").read_text())["num_images"] == 3
    assert json.loads((folder / "runs/mine/evaluation/val/metrics.json").read_text())["split"] == "val"
    make_folder(folder / "other", 3)
    done = run_script("evaluate.py", "runs/mine", "--data", "other", cwd=folder)
    assert done.returncode == 1 and "which is no known class (known: 0, 255)" in done.stderr


def test_a_data_set_that_moved(trained):
    """The stored split goes along; training images are never scored as new ones."""
    folder, _, _ = trained
    first = json.loads((folder / "runs/mine/evaluation/test/metrics.json").read_text())
    (folder / "photos").rename(folder / "elsewhere")
    try:
        lost = run_script("evaluate.py", "runs/mine", cwd=folder)
        assert lost.returncode == 1 and "say with --data where the data set is now" in lost.stderr
        evaluate(EvaluateConfig(runs=(folder / "runs/mine",), data=folder / "elsewhere"))
    finally:
        (folder / "elsewhere").rename(folder / "photos")
    again = json.loads((folder / "runs/mine/evaluation/test/metrics.json").read_text())
    assert again["miou"] == first["miou"] and again["baselines"] == first["baselines"]
    assert again["data"].endswith("elsewhere")


def test_another_folder_names_its_classes_itself(trained):
    folder, _, _ = trained
    data = make_folder(folder / "swapped", 3, size=50, encode=lambda mask: 1 - mask)
    for names in (["foreground", "background"], ["background", "foreground"], ["cat", "dog"]):
        write_classes(data, names)
        if "cat" in names:
            with pytest.raises(UserError, match="its classes are cat, dog; the run knows background, foreground"):
                evaluate(EvaluateConfig(runs=(folder / "runs/mine",), data=data))
            continue
        evaluate(EvaluateConfig(runs=(folder / "runs/mine",), data=data))
        metrics = json.loads((folder / "runs/mine/evaluation/swapped-all/metrics.json").read_text())
        rows = np.array(metrics["confusion"]).sum(1)
        assert (rows[0] > rows[1]) == (names[0] == "foreground"), "squares are the smaller class"


def test_evaluations_of_two_folders_of_one_name_stand_side_by_side(trained):
    folder, _, _ = trained
    for place in ("north", "south"):
        data = make_folder(folder / place / "site.v1", 3, encode=lambda mask: mask * np.uint8(255))
        evaluate(EvaluateConfig(runs=(folder / "runs/mine",), data=data))
    names = {path.name for path in (folder / "runs/mine/evaluation").iterdir()}
    assert {"site.v1-all", "site.v1-all-2"} <= names


def test_a_run_is_not_overwritten(trained):
    folder, _, _ = trained
    before = (folder / "runs/mine/model.keras").read_bytes()
    done = run_script("train.py", "--data", "photos", "--name", "mine", *TINY, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: runs/mine exists, and a run is never overwritten")
    assert (folder / "runs/mine/model.keras").read_bytes() == before


DATA = ("-m", "data_pipeline")


@pytest.mark.parametrize(
    "script", [("train.py",), ("evaluate.py",), ("predict.py",), DATA, (*DATA, "check"), (*DATA, "preview")]
)
def test_help_is_quick(script):
    """In seconds of the processor, whatever else the machine does."""

    def seconds() -> float:
        before = processor_seconds()
        assert run_process(*script, "--help", cwd=ROOT).returncode == 0
        return processor_seconds() - before

    assert any(seconds() < 1 for _ in range(3)), "the first call may compile"


def spoil(folder, how):
    """A folder of 150 pairs with one thing wrong."""
    data = make_folder(folder / "d", 150 if how == "names" else 6)
    if how == "names":
        for path in (data / "masks").iterdir():
            path.rename(path.with_name(f"{path.stem}_mask.png"))
    elif how == "size":
        save(data / "masks/item004.png", np.zeros((10, 10), np.uint8))
    elif how == "label":
        save(data / "masks/item004.png", np.full((32, 32), 77, np.uint8))
    elif how == "unreadable":
        (data / "images/item004.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    elif how == "color":
        for path in (data / "masks").iterdir():
            Image.fromarray(np.array([(200, 0, 0), (0, 0, 200)], np.uint8)[np.array(Image.open(path))]).save(path)
        (data / "classes.json").write_text(
            '{"classes": [{"name": "a", "color": [200, 0, 0]}, {"name": "b", "color": [0, 0, 200]}]}'
        )
        save(data / "masks/item004.png", np.full((32, 32, 3), 9, np.uint8))
    elif how == "void":
        write_classes(data, ["a", "b"], void=[7])
        for path in (data / "masks").iterdir():
            save(path, np.full((32, 32), 7, np.uint8))
    elif how == "runs":
        (folder / "runs").touch()
    elif how == "empty":
        for path in data.glob("*/*"):
            path.unlink()
    return data if how != "missing" else folder / "nowhere"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", ["nowhere", "no such file or folder", "DIR/images/"]),
        ("empty", ["images", "holds no image files"]),
        ("names", ["150 images", "end in '_mask'", "--mask-suffix=_mask"]),
        ("size", ["item004.png", "10×10 pixels", "32×32", "export the mask"]),
        ("label", ["item004.png", "77", "classes.json"]),
        ("unreadable", ["item004.png", "not a readable picture", "replace the file"]),
        ("color", ["item004.png", "(9, 9, 9)", "classes.json"]),
        ("void", ["not one labelled pixel"]),
        ("runs", ["runs: File exists"]),
    ],
)
def test_mistakes_end_in_one_clear_message(tmp_path, how, words):
    data = spoil(tmp_path, how)
    done = run_script("train.py", "--data", data, *TINY, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = done.stderr[done.stderr.index("error: ") :]
    assert all(word in message for word in words), message
    assert not (tmp_path / "runs").is_dir(), "a refused data set leaves no run behind"


@pytest.mark.slow
def test_one_seed_gives_one_result_whether_masks_hold_1_or_255(tmp_path):
    """That another seed gives another result: tests/test_resume.py."""
    for name, factor in (("one", 1), ("full", 255)):
        data = make_folder(tmp_path / name, 8, encode=lambda mask, factor=factor: mask * np.uint8(factor))
        train(tiny(data, tmp_path / "runs", name))
    assert weights(tmp_path / "runs/one") == weights(tmp_path / "runs/full")


def test_void_named_by_flag_beside_a_classes_file(tmp_path):
    data = make_folder(tmp_path / "d", 8, encode=lambda mask: np.where(np.arange(32) < 3, 9, mask).astype(np.uint8))
    write_classes(data, ["ground", "square"])
    dataset = open_dataset(Source(data=data, void=(9,)))
    assert dataset.names == ("ground", "square") and dataset.encoding.void == (9,)
    assert (read_pair(dataset.pairs[0], dataset.encoding)[1][:, :3] == VOID).all()


def test_void_11_and_void_200_give_the_same_score(tmp_path):
    results = []
    for void in (11, 200):

        def encode(mask, void=void):
            mask = mask.copy()
            mask[:6] = void
            return mask

        data = make_folder(tmp_path / str(void), 10, num_classes=4, encode=encode)
        train(tiny(data, tmp_path / "runs", str(void), void=(void,), class_weights="median_frequency"))
        evaluate(EvaluateConfig(runs=(tmp_path / "runs" / str(void),)))
        results.append(json.loads((tmp_path / f"runs/{void}/evaluation/test/metrics.json").read_text()))
        assert results[-1].pop("void") == [void] and results[-1].pop("data").endswith(str(void))
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["unet_original", "fc_densenet56"])
def test_other_networks_go_the_whole_way(tmp_path, model):
    """Margins and sizes that are no multiple of anything, from training to the scores."""
    data = make_folder(tmp_path / "d", 6, size=37)
    train(TrainConfig(data=data, runs_dir=tmp_path, name="r", model=model, steps=1, steps_per_epoch=1, batch_size=1))
    evaluate(EvaluateConfig(runs=(tmp_path / "r",)))
    mask = next((tmp_path / "r/evaluation/test/predictions").iterdir())
    assert Image.open(mask).size == (37, 37)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    data = make_folder(tmp_path / "d", 8)
    done = run_script("train.py", "--data", data, *TINY, "--learning-rate", "2e9", "--norm", "none", cwd=tmp_path)
    assert done.returncode == 1
    told = re.search(r"the loss is (?:nan|inf) since step (\d+), whose batch was (\S+), (\S+);", done.stderr)
    assert told, done.stderr
    samples = [2 * (int(told[1]) - 1) + i for i in (0, 1)]
    part = json.loads((tmp_path / "runs/d-unet/split.json").read_text())["train"]
    names = [Path(part[place_of(position, 0, len(part))[1]]["image"]).name for position in samples]
    assert [told[2], told[3]] == names
    assert "Train again with a smaller --learning-rate, or --clip-norm 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_system_libraries_end_in_one_line(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.insert(1, {str(ROOT)!r}); "
    code += f"sys.argv = ['train.py']; runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "apt-get install -y libgl1 libglib2.0-0" in done.stderr and "Traceback" not in done.stderr


def test_convert_download_and_tile_commands(tmp_path):
    """Each command reaches its module with its arguments, and its mistakes end in one line."""
    save(tmp_path / "src/a.png", np.zeros((20, 30, 3), np.uint8))
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
        "categories": [{"id": 7, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]]}],
    }
    (tmp_path / "src/labels.json").write_text(json.dumps(coco))
    done = run_script(*DATA, "convert", "src", "dst", "--from", "coco", cwd=tmp_path)
    assert done.returncode == 0 and "Next: python -m data_pipeline check dst" in done.stdout, done.stderr
    assert np.array(Image.open(tmp_path / "dst/masks/a.png")).sum() == 100
    done = run_script(*DATA, "tile", "dst", "cut", "--tile", "32", cwd=tmp_path)
    assert done.returncode == 0 and "1 tiles of 1 scenes are in cut/" in done.stdout, done.stderr
    folders = ("--images", "dst/images", "--masks", "dst/masks")
    done = run_script(*DATA, "tile", *folders, "cut3", cwd=tmp_path)
    assert "1 tiles of 1 scenes are in cut3/" in done.stdout, done.stderr
    for arguments, words in (
        (("download", "camvid", "camvid", "--from", "src"), "src"),
        (("convert", "src", "dst", "--from", "coco"), "dst exists"),
        (("tile", "nowhere", "cut2"), "nowhere: no such file or folder"),
        (("tile", "dst"), "tile DIR DESTINATION"),
        (("tile", "cut2", *folders[:2]), "tile DIR DESTINATION"),
        (("preview", "--out", "grid.png"), "name the data set's folder, or --images FOLDER and --masks FOLDER"),
        (("preview", "dst", "--out", "grid.png", "--crop", "0"), "--crop 0: sides of 1 to 8192"),
        (("check", "nowhere"), "error: 1 error; fix the errors first"),
    ):
        done = run_script(*DATA, *arguments, cwd=tmp_path)
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_check_and_golfscape_commands(tmp_path):
    made = run_process(*DATA, "golfscape", tmp_path / "g", "--count", "5", "--size", "32", cwd=ROOT)
    assert made.returncode == 0 and f"Next: python train.py --data {tmp_path / 'g'}" in made.stdout
    looked = run_script(*DATA, "check", tmp_path / "g", cwd=tmp_path)
    assert looked.returncode == 0, looked.stderr
    assert "5 pairs of 32×32 pixels" in looked.stdout and "trees" in looked.stdout
    (tmp_path / "empty").mkdir()
    assert run_script(*DATA, "check", tmp_path / "empty", cwd=tmp_path).returncode == 1


@pytest.mark.slow
def test_camvid_trains_and_scores(camvid, tmp_path):
    train(
        TrainConfig(
            data=camvid,
            void=(11,),
            size="96x128",
            steps=60,
            steps_per_epoch=30,
            batch_size=4,
            runs_dir=tmp_path,
            name="cv",
        )
    )
    evaluate(EvaluateConfig(runs=(tmp_path / "cv",), split="val"))
    metrics = json.loads((tmp_path / "cv/evaluation/val/metrics.json").read_text())
    assert len(metrics["iou"]) == 11 and metrics["num_images"] == 101 and metrics["void"] == [11]
    with pytest.raises(UserError, match="has no test images; use --split val or train"):
        evaluate(EvaluateConfig(runs=(tmp_path / "cv",)))


def test_one_bad_image_stops_no_prediction(trained, tmp_path):
    folder, new = trained[0], tmp_path / "new"
    for index in (90, 91):
        save(new / f"good{index}.png", shapes(index, 40)[0])
    (new / "cut.png").write_bytes((new / "good90.png").read_bytes()[:99])
    os.mkfifo(new / "pipe.png")
    (new / "folder.jpg").mkdir()
    (new / "=\x1b.png").write_bytes((new / "good90.png").read_bytes())
    with pytest.raises(UserError) as told:
        predict(PredictConfig(run=folder / "runs/mine", images=(new,), out=tmp_path / "out"))
    first, *faults = str(told.value).splitlines()
    assert first == "4 of 6 left out:"
    wanted = ("holds control characters", "cut.png: not a readable", "folder.jpg: a folder", "pipe.png: a named pipe")
    assert all(words in fault for words, fault in zip(wanted, faults, strict=True))
    ranking = (tmp_path / "out/uncertainty.csv").read_text()
    assert "good90.png" in ranking and "good91.png" in ranking and ranking.count("\n") == 3


def test_predict_refuses_two_images_of_one_name(trained):
    folder, _, _ = trained
    image = folder / f"photos/images/{NAME}000.png"
    twin = folder / "elsewhere" / image.name
    twin.parent.mkdir()
    shutil.copy(image, twin)
    images = (image, twin)
    with pytest.raises(UserError, match="two images would both be written"):
        predict(PredictConfig(run=folder / "runs/mine", images=images, out=folder / "two"))


def interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_another_seed_keeps_the_split_and_another_split_seed_does_not(tmp_path, monkeypatch):
    """Runs of several seeds are comparable: they are tested on the same images."""
    data = make_folder(tmp_path / "d", 12)
    parts = []
    monkeypatch.setattr(keras.Model, "fit", interrupt)  # the split is kept before training
    for name, settings in (("a", {}), ("b", {"seed": 1}), ("c", {"split_seed": 1})):
        with pytest.raises(KeyboardInterrupt):
            train(tiny(data, tmp_path / "runs", name, **settings))
        parts.append([row["stem"] for row in json.loads((tmp_path / f"runs/{name}/split.json").read_text())["test"]])
    assert parts[0] == parts[1] != parts[2]
