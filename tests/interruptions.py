"""Kill a command at each of its renames, flushes and deletions, give it again, and look at what is left.

    python tests/interruptions.py COMMAND FOLDER [EVERY]

Every trial is a forked child, so that TensorFlow is loaded once. Prints JSON: how many points there are, and what went
wrong at which. Used by test_interruptions.py.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")

import numpy as np
from conftest import make_folder, save

import data_pipeline.importing.download as downloads
import data_pipeline.outputs as outputs
from data_pipeline.command import UserError
from data_pipeline.files import write_json
from data_pipeline.source import Source

POINTS = [(os, name) for name in ("rename", "replace", "link", "unlink", "remove", "rmdir", "fsync")]
POINTS.append((outputs, "renamed"))
SETTINGS = {"steps": 2, "steps_per_epoch": 1, "batch_size": 2, "crop": 32}


@dataclass(frozen=True)
class Command:
    """prepare: makes a folder with the user's files; call: gives the command there, the first time or once more."""

    prepare: Callable[[Path], None]
    call: Callable[[Path], None]
    heavy: bool = True  # needs TensorFlow


def data_set(folder: Path) -> None:
    make_folder(folder / "d", 6, size=32)


def golfscape(folder: Path) -> None:
    from data_pipeline.importing.golfscape import Knobs, write_scenes

    write_scenes(folder / "out", 3, knobs=Knobs(size=32))


def tile(folder: Path) -> None:
    from data_pipeline.importing.tile import tile

    tile(Source(data=folder / "d"), folder / "out", 32)


def annotations(folder: Path) -> None:
    data_set(folder)
    write_json(
        folder / "d/coco.json",
        {
            "images": [{"id": i, "file_name": f"images/item00{i}.png", "height": 32, "width": 32} for i in range(3)],
            "categories": [{"id": 1, "name": "a"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}],
        },
    )


def convert(folder: Path) -> None:
    from data_pipeline.importing.convert import convert

    convert(folder / "d/coco.json", folder / "out", "coco")


def original(folder: Path) -> None:
    """What ``download --from`` reads: two files of each of two folders, and their sums."""
    import hashlib

    rows = ["path,bytes,sha256"]
    for name in ("train/0", "train/1", "trainannot/0", "trainannot/1"):
        path = folder / "original" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 100)
        rows.append(f"{name}.png,{len(path.read_bytes())},{hashlib.sha256(path.read_bytes()).hexdigest()}")
    (folder / "manifest.csv").write_text("\n".join(rows))


def download(folder: Path) -> None:
    layout = {"train": "train/images", "trainannot": "train/masks"}
    manifest = folder / "manifest.csv"
    downloads.DATASETS["tiny"] = downloads.Dataset("Cite.", "https://host/", "c0ffee", "", manifest, layout, {})
    downloads.download("tiny", folder / "out", folder / "original")


def train(folder: Path, **settings) -> None:
    """The second time as a user goes on: with --resume, if there is a run."""
    from engine.config import TrainConfig
    from engine.run import Run
    from train import train

    run = folder / "runs/a"
    if (run / "folds.json").is_file() or Run(run).resume_path.exists():
        train(TrainConfig(resume=run))
    elif not (run / "model.keras").exists():
        train(TrainConfig(data=folder / "d", runs_dir=folder / "runs", name="a", **SETTINGS | settings))
    else:
        Run.unfinished(run)  # says that its training ended


def trained(folder: Path) -> None:
    data_set(folder)
    train(folder)


def evaluate(folder: Path) -> None:
    from engine.config import EvaluateConfig
    from evaluate import evaluate

    evaluate(EvaluateConfig(runs=(folder / "runs/a",)))


def evaluated(folder: Path) -> None:
    trained(folder)
    evaluate(folder)


def referee(folder: Path) -> None:
    from engine.config import EvaluateConfig
    from evaluate import evaluate

    evaluate(EvaluateConfig(predictions=folder / "d/masks", truth=folder / "d/masks", out=folder / "out"))


def predict(folder: Path) -> None:
    from engine.config import PredictConfig
    from predict import predict

    predict(PredictConfig(folder / "runs/a", (folder / "d/images",), out=folder / "out"))


COMMANDS = {
    "golfscape": Command(lambda folder: None, golfscape, heavy=False),
    "tile": Command(data_set, tile, heavy=False),
    "convert": Command(annotations, convert, heavy=False),
    "download": Command(original, download, heavy=False),
    "train": Command(data_set, train),
    "folds": Command(data_set, lambda folder: train(folder, folds=2, steps=1)),
    "evaluate": Command(trained, evaluate),
    "evaluate again": Command(evaluated, evaluate),
    "evaluate --out": Command(data_set, referee),
    "predict": Command(trained, predict),
}


def sweep(name: str, folder: Path, every: int = 1) -> dict:
    """Kill a command at every so many of its points. Returns the number of points and the failures."""
    command, failures = COMMANDS[name], {}
    if command.heavy:
        load()
    base, whole = folder / "base", folder / "whole"
    base.mkdir()
    save(base / "mine/picture.png", np.eye(4, dtype=np.uint8))
    assert child(lambda: command.prepare(base), folder) == 0, (folder / "log").read_text()
    at_whole = copied(base, whole)
    assert child(lambda: counted(command, at_whole, folder), folder) == 0, (folder / "log").read_text()
    points = int((folder / "points").read_text())
    tried = range(0, points, every)
    for point in tried:
        trial = copied(base, folder / "trial")
        killed = child(lambda: at_point(point, command, trial), folder)  # noqa: B023
        ended = child(lambda: again(command, trial), folder)  # noqa: B023
        wrong = [f"not killed ({killed})"] if killed != -signal.SIGKILL else []
        wrong += [f"the second time failed: {(folder / 'log').read_text()[-1500:]}"] if ended else []
        wrong += differences(base, at_whole, trial)
        if wrong:
            failures[point] = wrong
    return {"points": points, "tried": len(tried), "failures": failures}


def copied(base: Path, place: Path) -> Path:
    """A fresh copy of the user's files."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    return place


def load() -> None:
    """What every trial needs; nothing is computed, since TensorFlow's threads do not survive a fork."""
    import keras
    import sklearn.ensemble  # noqa: F401

    import engine.reporting.report
    import engine.scoring.baselines
    import engine.scoring.methods  # noqa: F401
    from engine.training import segmenter

    def tiny(name, num_classes, shape, **_):
        image = keras.Input(shape, name="image")
        return keras.Model(image, keras.layers.Conv2D(num_classes, 1, name="logits")(image), name=name)

    segmenter.build_model = tiny


def child(work: Callable[[], None], folder: Path) -> int:
    """Do it in a forked process, its output in folder/log. Returns the exit code, or the signal, negative."""
    pid = os.fork()
    if pid == 0:
        with open(folder / "log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def counted(command: Command, folder: Path, where: Path) -> None:
    count = watch(lambda number: None)
    command.call(folder)
    (where / "points").write_text(str(len(count)))


def at_point(point: int, command: Command, folder: Path) -> None:
    watch(lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == point else None)
    command.call(folder)


def watch(reached: Callable[[int], None]) -> list:
    """Call ``reached`` with 0, 1, … before each rename, flush and deletion; the list grows by one each time."""
    count = []

    def watched(function):
        def call(*arguments, **options):
            count.append(None)
            reached(len(count) - 1)
            return function(*arguments, **options)

        return call

    for module, name in POINTS:
        setattr(module, name, watched(getattr(module, name)))
    return count


def again(command: Command, folder: Path) -> None:
    """The same command; where it had come to its end before the kill, that its work is there is the right answer."""
    try:
        command.call(folder)
    except UserError as error:
        if not any(words in str(error) for words in ("exists", "training ended")):
            raise


def differences(base: Path, whole: Path, trial: Path) -> list[str]:
    """What the user lost, what is left behind, and what is missing, against a command that nothing interrupted."""
    wrong = [f"{name} was changed" for name, data in content(base).items() if content(trial).get(name) != data]
    wrong = [words for words in wrong if "evaluation/" not in words and "openings.json" not in words]  # made anew
    expected, there = ({short(path, each) for path in each.rglob("*")} for each in (whole, trial))
    return (
        wrong
        + [f"{name} is left" for name in sorted(there - expected)]
        + [f"{name} is missing" for name in sorted(expected - there)]
    )


def content(folder: Path) -> dict[str, bytes]:
    return {short(path, folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def short(path: Path, folder: Path) -> str:
    """Its path in the folder; TensorBoard's files, whose names hold the time, by their folder."""
    name = path.relative_to(folder).as_posix()
    return name.split("/events.")[0] if "/events." in name else name


if __name__ == "__main__":
    print(json.dumps(sweep(sys.argv[1], Path(sys.argv[2]).resolve(), int((sys.argv[3:] or ["1"])[0]))))
