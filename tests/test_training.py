"""Optimizers, schedules, recipes, several devices, and what stops a training: by hand and end to end."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, make_folder, run_script

import models  # noqa: F401  registers the layers that saved networks name
from data_pipeline.command import UserError
from engine.config import RECIPES, TrainConfig, recipe_config, recipe_named
from engine.scoring.task import MASKS
from engine.training.fit import Recorder, Stage, best_in_words, is_over, jit_compile, score_of
from engine.training.optimizers import learning_rate, make_optimizer, swap_averages
from engine.training.told import collapsed
from train import train

pytestmark = pytest.mark.usefixtures("quick_forest", "narrow_networks")


def rates(steps, **settings) -> list[float]:
    """The learning rate at these steps, of 100, where 10 are a pass."""
    rate = learning_rate(TrainConfig(learning_rate=0.1, steps=100, **settings), 100, 10)
    return [float(rate(step)) if callable(rate) else rate for step in steps]


def test_schedules_by_hand():
    assert rates([0, 99], schedule="constant") == [0.1, 0.1]
    assert rates([0, 50, 100]) == pytest.approx([0.1, 0.05, 0], abs=1e-8)
    assert rates([0, 10, 20, 60, 100], warmup_steps=20) == pytest.approx([0, 0.05, 0.1, 0.05, 0], abs=1e-8)
    expected = [0.1, 0.1, 0.1 * 0.995, 0.1 * 0.995**3]
    assert rates([0, 9, 10, 39], schedule="exponential") == pytest.approx(expected)


def variables():
    return [keras.Variable(np.array([[3.0, 4.0]]), name="kernel"), keras.Variable(np.array([2.0]), name="bias")]


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_weight_decay_spares_biases_and_norms(name):
    kernel, bias = variables()
    config = TrainConfig(optimizer=name, weight_decay=0.5)
    make_optimizer(config, 0.1, [kernel, bias]).apply([np.zeros((1, 2)), np.zeros(1)])
    np.testing.assert_allclose(kernel, [[3 * 0.95, 4 * 0.95]], rtol=1e-6)
    assert float(bias[0]) == 2.0


def test_adamw_decays_by_default_and_others_do_not():
    decay = {
        name: make_optimizer(TrainConfig(optimizer=name), 0.1, variables()).weight_decay for name in ("adamw", "adam")
    }
    assert decay == {"adamw": 0.01, "adam": None}
    assert make_optimizer(TrainConfig(optimizer="adamw", weight_decay=0.0), 0.1, variables()).weight_decay is None


def test_momentum_by_hand():
    kernel, bias = variables()
    optimizer = make_optimizer(TrainConfig(optimizer="sgd", momentum=0.5), 0.1, [kernel, bias])
    for _ in range(2):
        optimizer.apply([np.ones((1, 2)), np.zeros(1)])
    np.testing.assert_allclose(kernel, [[3 - 0.1 - 0.15, 4 - 0.1 - 0.15]], rtol=1e-6)


def steps_of(optimizer: str, gradients: list[float]) -> list[float]:
    """How far one weight moves in each step at a learning rate of 1."""
    weight = keras.Variable(np.array([0.0]))
    chosen = make_optimizer(TrainConfig(optimizer=optimizer), 1.0, [weight])
    places = [0.0]
    for gradient in gradients:
        chosen.apply([np.array([gradient])])
        places.append(float(weight[0]))
    return (-np.diff(places)).tolist()


def test_rmsprop_by_hand():
    """Lasagne's: ρ = 0.9, and ε = 1e-6 inside the root, which a small gradient feels."""
    first, second = 0.1 * 4, 0.9 * 0.1 * 4 + 0.1 * 1
    assert steps_of("rmsprop", [2.0, 1.0]) == pytest.approx([2 / (first + 1e-6) ** 0.5, 1 / (second + 1e-6) ** 0.5])
    assert steps_of("rmsprop", [1e-3]) == pytest.approx([1e-3 / (1e-7 + 1e-6) ** 0.5])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_by_hand(name):
    """Kingma & Ba 2015, algorithm 1: β1 = 0.9, β2 = 0.999, both corrected for their start at 0."""
    mean, square = 0.9 * 0.1 * 2 + 0.1 * 1, 0.999 * 0.001 * 4 + 0.001 * 1
    second = (mean / (1 - 0.9**2)) / ((square / (1 - 0.999**2)) ** 0.5)
    assert steps_of(name, [2.0, 1.0]) == pytest.approx([1.0, second], rel=1e-4)


def test_gradients_are_clipped_over_all_weights():
    kernel, bias = variables()
    optimizer = make_optimizer(TrainConfig(optimizer="sgd", momentum=0.0, clip_norm=1.0), 1.0, [kernel, bias])
    optimizer.apply([np.array([[2.0, 0.0]]), np.array([2.0])])
    root = 0.5**0.5  # each part of a vector of norm 1
    np.testing.assert_allclose(kernel, [[3 - root, 4]], rtol=1e-6)
    np.testing.assert_allclose(bias, [2 - root], rtol=1e-6)


def test_averages_by_hand_and_swapped_bit_for_bit():
    kernel, bias = variables()
    optimizer = make_optimizer(TrainConfig(optimizer="sgd", momentum=0.0, ema=0.75), 0.1, [kernel, bias])
    optimizer.apply([np.ones((1, 2)), np.ones(1)])
    optimizer.apply([np.ones((1, 2)), np.ones(1)])
    raw = [variable.numpy().tobytes() for variable in (kernel, bias)]
    swap_averages(optimizer, [kernel, bias])
    np.testing.assert_allclose(bias, [0.75 * 1.9 + 0.25 * 1.8], rtol=1e-6)  # the first step is taken whole
    swap_averages(optimizer, [kernel, bias])
    assert [variable.numpy().tobytes() for variable in (kernel, bias)] == raw


def test_mixed_float16_scales_its_loss():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        optimizer = make_optimizer(TrainConfig(ema=0.9), 0.1, variables())
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) and optimizer.inner_optimizer.use_ema


def test_a_stage_is_over_when_it_is_full_or_in_vain():
    stage = Stage(6, 1, batches=None, names_of=None, optimizer=None, loss=None, validation=None)
    task = MASKS

    def over(*scores, patience=2):
        return is_over([score_of({"val_miou": score}, task) for score in scores], stage, patience)

    assert not over() and not over(0.1, 0.2, 0.1)
    assert over(0.1, 0.2, 0.1, 0.2), "no better for two"
    assert not over(0.1, 0.2, 0.1, 0.2, patience=0) and over(*range(6), patience=0)
    assert over(float("nan"), float("nan"), float("nan")) and not over(float("nan"), float("nan"), 0.1)


def test_recipes_are_defaults_that_flags_replace():
    assert recipe_named(["--data", "x"]) == recipe_config() == TrainConfig()
    assert recipe_named(["--recipe", "tiramisu"]) == recipe_named(["--recipe=tiramisu"]) == recipe_config("tiramisu")
    assert recipe_named(["--recipe", "nothing"]) == TrainConfig(), "the parser refuses it"
    for name in RECIPES:
        recipe_config(name).checked()
    tiramisu = recipe_config("tiramisu")
    assert (tiramisu.crop, tiramisu.learning_rate, tiramisu.finetune_rate, tiramisu.batch_size) == (224, 1e-3, 1e-4, 3)
    done = run_script("train.py", "--recipe", "unet2015", "--help-all", cwd=ROOT)
    assert done.returncode == 0 and "(default: 0.99)" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_the_blogs_recipe_end_to_end(tmp_path):
    """One sigmoid logit for two classes, from training to the scores; three classes are refused."""
    make_folder(tmp_path / "d", 10)
    make_folder(tmp_path / "three", 10, num_classes=3)
    tiny = ["--steps", "2", "--steps-per-epoch", "1", "--batch-size", "2"]
    done = run_script(
        "train.py", "--recipe", "blog", "--data", "d", *tiny, "--model", "unet", "--name", "r", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "runs/r/config.json").read_text())
    assert (stored["recipe"], stored["loss"], stored["model"], stored["one_logit"]) == ("blog", "dice", "unet", True)
    assert keras.models.load_model(tmp_path / "runs/r/model.keras", compile=False).output_shape[-1] == 1
    assert run_script("evaluate.py", "runs/r", cwd=tmp_path).returncode == 0
    assert set(json.loads((tmp_path / "runs/r/evaluation/test/metrics.json").read_text())["iou"]) == {
        "background",
        "foreground",
    }
    with pytest.raises(UserError, match="--one-logit is for two classes; this data set has 3"):
        train(recipe_config("blog", data=tmp_path / "three", runs_dir=tmp_path, steps=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("blog", {}),
        ("unet2015", {}),
        ("tiramisu", {"model": "fc_densenet56", "crop": 32, "finetune_steps": 2}),
    ],
)
def test_every_recipe_trains(tmp_path, recipe, settings):
    data = make_folder(tmp_path / "d", 10, size=64)
    config = recipe_config(recipe, data=data, runs_dir=tmp_path, name="r", steps=2, steps_per_epoch=2, **settings)
    train(config)
    rows = (tmp_path / "r/history.csv").read_text().splitlines()
    assert len(rows) == 1 + 1 + bool(config.finetune_steps)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm": "batch_statistics"}, "--norm batch_statistics: unet takes batch, group, none"),
        ({"model": "unet_blog", "norm": "group"}, "--norm group: unet_blog takes no other than its own"),
        ({"weights": "imagenet"}, "--weights imagenet: unet is trained from scratch; they are for unet_mobilenet_v2"),
        ({"folds": 20}, "--folds 20 --fold 0: 2 to 10 folds"),
    ],
)
def test_settings_that_do_not_fit_leave_nothing_behind(tmp_path, settings, words):
    data = make_folder(tmp_path / "d", 10)
    with pytest.raises(UserError, match=words):
        train(TrainConfig(data=data, runs_dir=tmp_path / "runs", **settings))
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_lack_of_memory_ends_in_what_to_try(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,64,256,256]")

    monkeypatch.setattr(keras.Model, "fit", full)
    data = make_folder(tmp_path / "d", 10)
    with pytest.raises(UserError, match="--batch-size 4, or --crop 32, or --precision mixed_float16") as told:
        train(TrainConfig(data=data, runs_dir=tmp_path / "runs", batch_size=8, crop=64))
    assert "OOM when allocating tensor" in str(told.value)


def recorder_of(rows: list[dict], stage: Stage) -> Recorder:
    """A recorder of two classes in its first batch; ``rows`` grow as history.csv does."""
    recorder = Recorder(None, None, rows, 0, stage, MASKS, ("a", "b"), TrainConfig())
    recorder.on_train_begin()
    recorder.on_train_batch_end(0, {"loss": 1.0, "miou": 0.5})
    return recorder


ROW = dict.fromkeys(("loss", "miou", "val_loss", "val_miou"), 0.5) | {"epoch": 1, "step": 1, "seconds": 1.0}
NINE_EPOCHS = Stage(9, 1, batches=None, names_of=None, optimizer=None, loss=None, validation=None)


def test_a_collapsed_network_is_told_aloud(capsys):
    alone = ROW | {"val_iou_sky": 0.8, "val_iou_car": 0.0, "val_iou_sign": float("nan")}
    task = MASKS
    assert collapsed(alone, task) and not collapsed(alone | {"val_iou_car": 0.01}, task)
    for history in ([alone] * 3, [alone, alone | {"val_iou_car": 0.1}, alone], [alone] * 2):
        rows = []
        recorder = recorder_of(rows, NINE_EPOCHS)
        rows += history
        recorder.report(np.array([[5, 1], [1, 5]]))
    printed = capsys.readouterr().out.splitlines()
    assert [line[:7] for line in printed] == ["epoch 1", "WARNING", "epoch 1", "epoch 1"]
    assert "not told any two classes apart" in printed[1]


TWO_DEVICES = """
import sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from functools import partial
from engine.config import TrainConfig
from engine.training import segmenter
from models import build_model
from train import train
folder = Path(sys.argv[1])
segmenter.build_model = partial(build_model, width=8, depth=2)
for devices in ("one", "all"):
    train(TrainConfig(
        data=folder / "d", runs_dir=folder, name=devices, devices=devices, norm="group", steps=6, steps_per_epoch=3,
        batch_size=4, optimizer="sgd", learning_rate=0.01, schedule="constant", augment="light",
    ))
try:
    train(TrainConfig(data=folder / "d", runs_dir=folder, name="odd", devices="all", batch_size=3))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    """The same global batches: equal losses, scores and weights, but for rounding."""
    make_folder(tmp_path / "d", 10)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(tmp_path)], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "UserError --batch-size 3 cannot be shared out over 2 devices; use 4" in done.stdout
    one, two = (
        keras.models.load_model(tmp_path / name / "model.keras", compile=False).get_weights() for name in ("one", "all")
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)
    tables = [np.genfromtxt(tmp_path / name / "history.csv", delimiter=",", names=True) for name in ("one", "all")]
    for column in ("loss", "val_loss", "miou", "val_miou"):
        np.testing.assert_allclose(tables[0][column], tables[1][column], atol=2e-3)


def test_the_time_left_leaves_out_what_compiling_took(capsys, monkeypatch):
    clock = iter([0.0, 1000.0, 1098.0])  # the start, the first step, which compiled, 49 steps later
    monkeypatch.setattr("engine.training.fit.time", SimpleNamespace(monotonic=lambda: next(clock)))
    rows = []
    recorder = recorder_of(rows, replace(NINE_EPOCHS, epochs=4, steps_per_epoch=50))
    rows.append(ROW | {"step": 50, "seconds": 900.0, "val_iou_a": 0.5, "val_iou_b": 0.5})
    recorder.report(np.eye(2), kept=True)
    assert "15.0 min, about 5.0 min left  kept\n" in capsys.readouterr().out  # 150 steps of 2 s


def test_the_epoch_whose_weights_were_kept_is_named():
    rows = [{"epoch": n, "val_miou": score, "seconds": 60.0 * n} for n, score in enumerate([0.3, 0.5, 0.5, 0.4], 1)]
    assert best_in_words(rows, MASKS) == (
        "trained for 4.0 min; model.keras holds the weights after epoch 2, the best: val mIoU 0.500"
    )


def test_auto_compiles_what_is_long_enough_to_earn_it_back():
    assert [jit_compile("auto", steps) for steps in (2999, 3000)] == [False, "auto"]
    assert jit_compile("on", 1) is True and jit_compile("off", 10**6) is False


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"xla": "on"}, {"precision": "mixed_bfloat16"}, {"precision": "mixed_float16", "ema": 0.9, "clip_norm": 1.0}],
)
def test_xla_and_16_bits_train_and_go_on(tmp_path, monkeypatch, capsys, settings):
    data = make_folder(tmp_path / "d", 10)
    tiny = {"data": data, "runs_dir": tmp_path, "steps": 4, "steps_per_epoch": 1, "batch_size": 2, "seed": 1}
    try:
        train(TrainConfig(name="whole", **tiny, **settings))
        assert ("XLA compiles the step first" in capsys.readouterr().out) == (settings.get("xla") == "on")
        with monkeypatch.context() as patched:
            patched.setattr(
                "engine.training.fit.is_over", lambda scores, stage, patience: len(scores) >= 2
            )  # cut short
            patched.setattr("engine.training.segmenter.first_score", lambda run, config: interrupt())
            with pytest.raises(KeyboardInterrupt):
                train(TrainConfig(name="cut", **tiny, **settings))
        train(TrainConfig(resume=tmp_path / "cut"))
    finally:
        keras.config.set_dtype_policy("float32")
    whole, cut = ((tmp_path / name / "history.csv").read_text().splitlines() for name in ("whole", "cut"))
    assert len(whole) == len(cut) == 5
    loss = [float(rows[-1].split(",")[4]) for rows in (whole, cut)]
    assert loss[0] == pytest.approx(loss[1], rel=0.02)


def interrupt():
    raise KeyboardInterrupt
