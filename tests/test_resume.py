"""A training that is killed, interrupted, out of room or damaged, and goes on as if nothing had been."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, history, interrupted, make_folder, run_script, weights
from PIL import Image

import models  # noqa: F401  registers the layers that saved networks name
from data_pipeline.command import UserError
from data_pipeline.loader import Loader
from engine.config import EvaluateConfig, TrainConfig
from engine.run import Run, cores, device, environment, version
from engine.training.resume import newest_state, note_changes, resumable, save_state, signals_wait, states
from evaluate import evaluate
from models import build_model
from train import train

# A moving average of the weights, weight decay, two stages, patience: all that has a state.
SETTINGS = {
    "steps": 6,
    "steps_per_epoch": 2,
    "batch_size": 2,
    "finetune_steps": 4,
    "crop": 32,
    "optimizer": "adamw",
    "ema": 0.9,
    "clip_norm": 1.0,
    "patience": 2,
    "deterministic": True,
}
FLAGS = [
    text
    for name, value in SETTINGS.items()
    for text in ([f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)]))
]

pytestmark = pytest.mark.usefixtures("quick_forest")


SMALL = {"width": 4, "depth": 2, "dropout": 0.2}
WITH_NETWORK = """
import runpy, sys
from functools import partial
import engine.scoring.baselines, engine.training.segmenter, models
from models.fc_densenet import fc_densenet
engine.training.segmenter.build_model = NETWORK
engine.scoring.baselines.SAMPLED_PIXELS = 2000
del sys.argv[0]  # -c
runpy.run_path(sys.argv[0], run_name="__main__")
"""
OF_SMALL = WITH_NETWORK.replace("NETWORK", f"partial(models.build_model, **{SMALL})")
OF_SHALLOW_TIRAMISU = WITH_NETWORK.replace(
    "NETWORK",
    "lambda name, *arguments, **options: "
    "fc_densenet(*arguments, growth_rate=4, block_layers=(1,) * 11, name=name, **options)",
)


def start(folder: Path, *arguments, code: str = "") -> subprocess.Popen:
    """train.py in a process of its own; code: what runs it with another network, such as OF_SMALL."""
    script = str(ROOT / "train.py")
    command = [sys.executable, *(["-c", code, script] if code else [script]), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(process: subprocess.Popen) -> None:
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr.decode()


def wait_for(condition, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def settings(folder: Path, name: str, **changes) -> TrainConfig:
    return TrainConfig(**SETTINGS | {"data": folder / "d", "runs_dir": folder / "runs", "name": name} | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a data set d and runs/whole, a training on it that nothing interrupted.

    In a process of its own: in this process `small` may have put its network in the builder's place.
    """
    folder = tmp_path_factory.mktemp("whole")
    make_folder(folder / "d", 10, size=40)
    ended(start(folder, "--data", "d", *FLAGS, "--name", "whole"))
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The same with a narrow U-Net with dropout; every later training within this process has it too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.training.segmenter.build_model", partial(build_model, **SMALL))
        folder = tmp_path_factory.mktemp("small")
        make_folder(folder / "d", 10, size=40)
        train(settings(folder, "whole"))
        yield folder


def same_as_whole(folder: Path, name: str) -> None:
    assert history(folder / "runs" / name) == history(folder / "runs/whole")
    assert weights(folder / "runs" / name) == weights(folder / "runs/whole")
    assert not (folder / "runs" / name / "resume").exists()


def kill_at_random_moments(folder: Path, name: str, flags: list, moments: int, spread: float, code: str = "") -> int:
    """Start train.py, kill it (−9) after a random time, go on, kill it again …; at last let it end.

    Returns how often it was killed.
    """
    rng, run = random.Random(0), folder / "runs" / name
    arguments, killed = ["--data", "d", *flags, "--name", name], 0
    for _ in range(moments):
        process = start(folder, *arguments, code=code)
        wait_for(lambda: run.exists() or process.poll() is not None)  # noqa: B023
        time.sleep(rng.uniform(0, spread))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        arguments = ["--resume", run]
    if (run / "resume").exists():
        ended(start(folder, *arguments, code=code))
    return killed


@pytest.mark.slow
def test_killed_twice_it_ends_as_if_nothing_had_been(small):
    """The real train.py, kill −9 shortly after it wrote a state, and the weights byte for byte."""
    run, arguments, known = small / "runs/killed", ["--data", "d", *FLAGS, "--name", "killed"], set()
    for pause in (0, 0.1):
        process = start(small, *arguments, code=OF_SMALL)
        wait_for(lambda: set(states(run / "resume")) - known or process.poll() is not None)  # noqa: B023
        time.sleep(pause)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        arguments, known = ["--resume", run], set(states(run / "resume"))
    train(TrainConfig(resume=run))
    same_as_whole(small, "killed")


@pytest.mark.slow
def test_killed_at_random_moments(whole):
    assert kill_at_random_moments(whole, "killed", FLAGS, moments=2, spread=6)
    same_as_whole(whole, "killed")


@pytest.mark.slow
def test_killed_with_dropout_and_batch_normalisation(tmp_path):
    """FC-DenseNet, whose dropout draws from random seeds that are part of the state."""
    make_folder(tmp_path / "d", 10, size=40)
    flags = ["--model", "fc_densenet56", *FLAGS]
    ended(start(tmp_path, "--data", "d", *flags, "--name", "whole", code=OF_SHALLOW_TIRAMISU))
    assert kill_at_random_moments(tmp_path, "killed", flags, moments=3, spread=12, code=OF_SHALLOW_TIRAMISU)
    same_as_whole(tmp_path, "killed")


@pytest.mark.parametrize("after", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_interrupted_after_any_validation(small, monkeypatch, after):
    """In the first stage and at its end; the folds below are interrupted too."""
    run = interrupted(train, settings(small, f"after{after}"), monkeypatch, after)
    assert len(history(run)) == after
    train(TrainConfig(resume=run))
    same_as_whole(small, run.name)


def test_a_truncated_state_falls_back_to_the_one_before(small, monkeypatch, capsys):
    run = interrupted(train, settings(small, "truncated"), monkeypatch, after=3)
    newest = states(run / "resume")[0]
    newest.write_bytes(newest.read_bytes()[:-1000])
    (run / "resume" / f".99.{newest.name}").write_bytes(b"half")
    train(TrainConfig(resume=run))
    assert f"{newest}: damaged" in capsys.readouterr().out
    same_as_whole(small, "truncated")


def test_a_bit_that_flipped_on_disk_is_noticed(tmp_path, capsys):
    for step in (1, 2):
        save_state(tmp_path, [{"step": step}], [keras.Variable(np.full(1000, step))], [])
    newest = states(tmp_path)[0]
    stored = bytearray(newest.read_bytes())
    stored[len(stored) // 2] ^= 1
    newest.write_bytes(stored)
    network = [keras.Variable(np.zeros(1000, int))]
    state = newest_state(tmp_path, network, ["step"])
    assert state.rows == [{"step": 1}] and (state.network[0] == 1).all() and state.optimizer == []
    assert f"{newest}: damaged" in capsys.readouterr().out
    save_state(tmp_path, [{"step": 3}], network, [])
    assert [path.name for path in states(tmp_path)] == ["000000003.npz", "000000002.npz"], "two are kept"
    for path in states(tmp_path):
        path.write_bytes(b"PK")
    with pytest.raises(UserError, match="no state in it is whole"):
        newest_state(tmp_path, network, ["step"])


@contextlib.contextmanager
def files_of_at_most(size: int):
    """As on a full disk: no file of this process may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["state", pytest.param("model", marks=pytest.mark.slow)])
def test_a_full_disk_stops_the_run_and_loses_nothing(small, monkeypatch, name):
    """The state does not fit, or the network itself does not."""
    run = interrupted(train, settings(small, f"full_{name}"), monkeypatch, after=1)
    kept = [path.read_bytes() for path in (run / "model.keras", *states(run / "resume"))]
    with files_of_at_most({"state": len(kept[1]), "model": len(kept[0])}[name] * 2 // 3):
        done = run_script("train.py", "--resume", run, cwd=small)
    assert done.returncode == 1, done.stderr
    assert f"no room on the disk of {run}" in done.stderr and f"python train.py --resume {run}" in done.stderr
    assert [path.read_bytes() for path in states(run / "resume")] == kept[1:]
    assert len(keras.models.load_model(run / "model.keras", compile=False).get_weights())
    assert not list(run.rglob(".*")), "no half-written file is left"
    assert run_script("train.py", "--resume", run, cwd=small).returncode == 0
    same_as_whole(small, run.name)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_says_how_to_go_on(whole, number):
    name = f"stopped{int(number)}"
    command = [sys.executable, str(ROOT / "train.py"), "--data", "d", *FLAGS, "--steps", "5000", "--name", name]
    process = subprocess.Popen(
        command,
        cwd=whole,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's "&" may have it ignored
    )
    wait_for(lambda: states(whole / f"runs/{name}/resume"))
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"python train.py --resume runs/{name}" in stderr and "Traceback" not in stderr


def test_a_batch_systems_signal_says_how_to_go_on(small, monkeypatch):
    """SIGTERM while the state is written: it is written whole, and the command ends as after Ctrl-C."""

    def stopped(folder, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        save_state(folder, *arguments)

    monkeypatch.setattr("engine.training.fit.save_state", stopped)
    done = run_script("train.py", "--data", "d", *FLAGS, "--name", "stopped", cwd=small)
    assert done.returncode == 130 and "python train.py --resume runs/stopped" in done.stderr
    assert states(small / "runs/stopped/resume")[0].name == "000000002.npz"


def test_a_signal_waits_until_the_files_are_written():
    done = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with pytest.raises(KeyboardInterrupt), signals_wait():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            done.append("written")
        assert done == ["written"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with signals_wait():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_changed_data_set_is_not_gone_on_with(small, tmp_path, monkeypatch):
    make_folder(tmp_path / "d", 10, size=40)
    run = interrupted(train, settings(tmp_path, "r"), monkeypatch, after=1)
    mask = next((tmp_path / "d/masks").iterdir())
    Image.open(mask).transpose(Image.Transpose.ROTATE_90).save(mask)
    with pytest.raises(UserError, match=r"the data set in .* is no longer the one that it began with"):
        train(TrainConfig(resume=run))


def unlink(pair):
    pair.image.unlink()


def halve_the_mask(pair):
    Image.open(pair.mask).resize((20, 20), Image.Resampling.NEAREST).save(pair.mask)


@pytest.mark.parametrize(
    ("damage", "words", "part"),
    [
        (unlink, "cannot be read", "train"),
        (halve_the_mask, "20×20 pixels, its image", "val"),
        pytest.param(unlink, "cannot be read", "val", marks=pytest.mark.slow),
        pytest.param(halve_the_mask, "20×20 pixels, its image", "train", marks=pytest.mark.slow),
    ],
)
def test_a_file_that_is_lost_while_training_is_named_with_how_to_go_on(
    small, tmp_path, monkeypatch, damage, words, part
):
    make_folder(tmp_path / "d", 10, size=40)
    kept = Loader.__init__
    monkeypatch.setattr(Loader, "__init__", lambda *given, **named: kept(*given, **named | {"limit": 0}))
    damaged = []

    def losing(folder, *arguments):
        save_state(folder, *arguments)
        if not damaged:
            damaged.extend(getattr(Run(folder.parent).split, part))
            for pair in damaged:
                damage(pair)

    monkeypatch.setattr("engine.training.fit.save_state", losing)
    with pytest.raises(UserError, match=words) as told:
        train(settings(tmp_path, "r", steps=40))
    first, last = str(told.value).split("\n")
    assert any(first.startswith(f"{path}: ") for pair in damaged for path in pair.files)
    assert f"--resume {tmp_path}/runs/r" in last


def test_what_cannot_be_gone_on_with(small, tmp_path):
    for folder, flags, words in (
        (small / "runs/whole", (), "its training ended"),
        (tmp_path, (), "not a run (it has no config.json)"),
        (small / "runs/whole", ("--steps", "9"), "--resume takes no other flag"),
    ):
        done = run_script("train.py", "--resume", folder, *flags, cwd=tmp_path)
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_all_folds_by_one_command_and_the_rest_after_an_interruption(small, monkeypatch, capsys):
    config = settings(small, "cv", folds=3, steps=4, finetune_steps=0, ema=None)
    interrupted(train, config, monkeypatch, after=3)  # in the second fold
    assert (small / "runs/cv/fold-1/resume").exists() and not (small / "runs/cv/fold-2").exists()
    capsys.readouterr()
    train(TrainConfig(resume=small / "runs/cv"))
    printed = capsys.readouterr().out
    assert "fold-0 is trained already" in printed
    assert printed.count("plan: ") == printed.count("Next: ") == 1 and "All 3 folds" in printed.splitlines()[-1]
    runs = [small / f"runs/cv/fold-{fold}" for fold in range(3)]
    tests = [row["stem"] for run in runs for row in json.loads((run / "split.json").read_text())["test"]]
    assert len(tests) == len(set(tests)) == 10
    with pytest.raises(UserError, match=r"runs/cv: holds the folds of a cross-validation; name them: .*/cv/fold-\*"):
        evaluate(EvaluateConfig(runs=(small / "runs/cv",)))
    evaluate(EvaluateConfig(runs=tuple(runs), out=small / "runs/cv/evaluation"))
    assert json.loads((small / "runs/cv/evaluation/metrics.json").read_text())["num_images"] == 10
    train(config.replace(name="alone", fold=1))
    assert weights(small / "runs/alone") == weights(runs[1])


@pytest.mark.slow
def test_the_environment_is_enough_to_repeat_a_run(small):
    first = run_script("train.py", "--data", "d", *FLAGS, "--seed", "3", cwd=small)
    assert first.returncode == 0, first.stderr
    command = json.loads((small / "runs/d-unet/environment.json").read_text())["command"]
    assert run_script(*command, cwd=small).returncode == 0
    assert weights(small / "runs/d-unet-2") == weights(small / "runs/d-unet") != weights(small / "runs/whole")


def test_two_processes_do_not_train_one_run(tmp_path):
    (tmp_path / "resume").mkdir()
    busy = pytest.raises(UserError, match="another process is training it")
    with resumable(tmp_path, ""), busy, resumable(tmp_path, ""):
        pytest.fail("it was let in")
    with resumable(tmp_path, ""):  # free again
        pass


def test_another_environment_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    run = Run.create(tmp_path / "r", {"environment.json": environment()})
    assert "CPU, 3 threads" in device() or "CPU" not in device()
    note_changes(run.changes_of_environment(), deterministic=True)
    assert capsys.readouterr().out == "", "nothing has changed"
    monkeypatch.setattr("engine.run.device", lambda devices: "CPU, 5 threads")
    monkeypatch.setattr("engine.run.version", lambda package: "1.0" if package == "keras" else version(package))
    note_changes(run.changes_of_environment(), deterministic=True)
    printed = capsys.readouterr().out
    assert "threads; now CPU, 5 threads)" in printed and "keras (" in printed and "numpy" not in printed
    assert printed.count("\n") == 1 and "may end otherwise" in printed


@pytest.mark.parametrize(("asked", "threads"), [("9", 9), ("1", 1), ("0", None), ("abc", None), ("-3", None)])
def test_the_plan_names_the_threads_that_tensorflow_has(monkeypatch, asked, threads):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", asked)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    count = threads or cores()
    assert device() == f"CPU, {count} thread{'s' if count > 1 else ''}"
