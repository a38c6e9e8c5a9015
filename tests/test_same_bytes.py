"""With --deterministic on a CPU, every process ends with the same weights, and so does one that was interrupted."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, save, shapes
from PIL import Image

import train as segmenter
import train_classifier as classifier
from data_pipeline.weights import border_weights
from engine.config import STRATEGIES, ClassifierConfig, recipe_config
from engine.training.resume import save_state
from models import MODELS
from models.fc_densenet import fc_densenet
from models.unet_papers import unet_original

TINY = {"steps": 4, "steps_per_epoch": 2, "deterministic": True}
SHALLOW = {"growth_rate": 4, "block_layers": (1,) * 11, "name": "fc_densenet56"}


def trainings(data: Path, runs: Path) -> Iterator[tuple]:
    """(train, its settings): small steps, but every recipe's and strategy's own way."""
    shared = {"data": data, "runs_dir": runs, **TINY}
    yield segmenter.train, recipe_config(name="default", batch_size=2, **shared)
    yield segmenter.train, recipe_config(name="border", border_weights=True, batch_size=2, **shared)
    yield segmenter.train, recipe_config("unet2015", name="unet2015", **shared)
    tiramisu = {"model": "fc_densenet56", "crop": 32, "finetune_steps": 2, "batch_size": 2}
    yield segmenter.train, recipe_config("tiramisu", name="tiramisu", **shared | tiramisu)
    for strategy in STRATEGIES:
        weights = None if strategy == "scratch" else str(runs / "default/model.keras")
        settings = {"backbone": "unet_encoder", "label_from_masks": "presence:foreground", "batch_size": 2}
        yield (
            classifier.train,
            ClassifierConfig(name=strategy, strategy=strategy, weights=weights, **shared | settings),
        )


def train_all(data: Path, runs: Path, interrupted: bool) -> dict[str, str]:
    """Name of each training → the digest of the weights that it ended with."""
    with pytest.MonkeyPatch.context() as patched:
        narrow = {"unet_original": partial(unet_original, width=8), "fc_densenet56": partial(fc_densenet, **SHALLOW)}
        for name, build in narrow.items():
            patched.setitem(MODELS, name, replace(MODELS[name], build=build))
        for work in ("segmenter", "classifier"):
            patched.setattr(f"engine.training.{work}.first_score", lambda *_: "")  # from the saved weights
        for train, config in trainings(data, runs):
            if interrupted:
                stop_after_the_first_state(train, config)
                train(type(config)(resume=runs / config.name))
            else:
                train(config)
    return {path.parent.name: digest(path) for path in sorted(runs.glob("*/model.keras"))}


def stop_after_the_first_state(train, config) -> None:
    def stopping(*arguments):
        save_state(*arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.training.fit.save_state", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(config)


def digest(path: Path) -> str:
    weights = keras.models.load_model(path, compile=False).get_weights()
    return hashlib.sha256(b"".join(array.tobytes() for array in weights)).hexdigest()


def folder_of_pairs_of_squares(folder: Path) -> Path:
    """Every other image with two squares, mirror images of each other, the others with none: the other label."""
    for index in range(12):
        image, mask = shapes(index, size=40)
        both = np.maximum(mask, mask[:, ::-1]) if index % 2 else np.zeros_like(mask)
        save(folder / f"images/item{index:03d}.png", np.where(both[..., None], 200, image % 60).astype(np.uint8))
        save(folder / f"masks/item{index:03d}.png", both)
    return folder


def test_there_are_gaps_for_border_weights_to_weigh(tmp_path):
    """Else the trainings below would say nothing of them."""
    folder = folder_of_pairs_of_squares(tmp_path)
    masks = [np.asarray(Image.open(path)) for path in sorted((folder / "masks").iterdir())]
    weighed = [border_weights(mask, num_classes=2).max() > 1 for mask in masks]
    assert sum(weighed) == 3 and not any(weighed[::2])


@pytest.mark.slow
def test_three_processes_and_one_interrupted_end_with_the_same_weights(tmp_path):
    """Each recipe, border weights, and classifiers of every strategy, which take the default run's weights."""
    data = folder_of_pairs_of_squares(tmp_path / "d")
    ended = []
    for number in range(4):
        arguments = [sys.executable, __file__, str(data), str(tmp_path / f"runs{number}"), str(number)]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        done = subprocess.run(arguments, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        ended.append(json.loads(done.stdout.splitlines()[-1]))
    assert list(ended[0]) == sorted(["default", "border", "unet2015", "tiramisu", *STRATEGIES])
    assert ended[0]["default"] != ended[0]["border"]
    assert ended[1] == ended[0] and ended[2] == ended[0] and ended[3] == ended[0]


if __name__ == "__main__":
    data, runs, number = sys.argv[1:]
    print(json.dumps(train_all(Path(data), Path(runs), interrupted=number == "3")))
