"""What predict.py takes for scenes larger than memory, and for many images, beside the network alone.

    pip install -r requirements-geo.txt -c constraints.txt
    python -m benchmarks.scenes scene --side 20000 --out /tmp/scenes     # draws a GeoTIFF, predicts it, compares
    python -m benchmarks.scenes images --count 500 --out /tmp/images

Lines of JSON go to stdout. The network is an untrained U-Net, for scenes of width 4 and 2 levels unless --width says
otherwise, for images of width 32 as train.py makes it. Each prediction is a process of its own. Its memory is what it
held at most, less what the same process held at most for an image of 1,024², network included. The network alone is
timed in the same process, in batches of the same size, before and after, so that what else runs on the machine touches
both.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from tyro.conf import Positional

from data_pipeline.command import run_command
from data_pipeline.files import write_picture

BAND = 1024  # rows that are drawn at a time
WINDOW = 512
BATCHES = 20  # of the network alone, before and after


@dataclass(frozen=True)
class Config:
    what: Positional[Literal["scene", "images"]]
    """One GeoTIFF, or a folder of images of 256²."""
    out: Path
    """Folder for what is drawn and predicted; 3 bytes a pixel of the scene, or less."""
    side: int = 20_000
    """Pixels of the scene's sides."""
    count: int = 500
    """Images."""
    width: int = 4
    """Of the scene's network: 4 with 2 levels, 32 with 4 as train.py makes it."""
    kill: bool = False
    """Kill the prediction half-way (SIGKILL), give the command again, and compare the pixels."""


def main(config: Config) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    if config.what == "images":
        folder = config.out / "images"
        for i in range(config.count):
            write_picture(folder / f"{i:04d}.png", texture(256, 256, i))
        print(json.dumps(predict(make_run(config.out, 32, 4), folder, config.out / "masks")), flush=True)
        return
    run = make_run(config.out, config.width, 2 if config.width == 4 else 4)
    write_picture(config.out / "small.png", texture(1024, 1024, 0))
    base = predict(run, config.out / "small.png", config.out / "base")
    scene = config.out / f"scene-{config.side}.tif"
    if not scene.exists():
        draw_scene(scene, config.side)
    whole = predict(run, scene, config.out / f"whole-{config.side}")
    whole["GiB beyond the network"] = round(whole["GiB"] - base["GiB"], 2)
    print(json.dumps({"side": config.side} | whole), flush=True)
    if config.kill:
        out = config.out / f"killed-{config.side}"
        killed_half_way(run, scene, out, config.side // 448 // 2)
        again = predict(run, scene, out)
        masks = [config.out / f"{name}-{config.side}/{scene.name}" for name in ("whole", "killed")]
        print(json.dumps({"after the kill": again, "equal pixels": same(*masks)}), flush=True)


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Blobs of light and dark, uint8 (H, W, 3), never 0."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return np.maximum(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), 1)


def draw_scene(path: Path, side: int) -> None:
    """A GeoTIFF of side × side pixels whose first hundred columns hold no data."""
    import rasterio

    form = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "nodata": 0}
    form |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw", "bigtiff": "if_safer"}
    form |= {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(5e5, 5e6, 0.1, 0.1)}
    with rasterio.open(path, "w", **form) as file:
        for top in range(0, side, BAND):
            rows = texture(min(BAND, side - top), side, top)
            rows[:, :100] = 0
            part = rasterio.windows.Window(0, top, side, len(rows))
            file.write(np.moveaxis(rows, 2, 0), window=part)


def make_run(folder: Path, width: int, depth: int) -> Path:
    """A run as train.py leaves it, without any training."""
    import keras

    from data_pipeline.dataset import open_dataset
    from data_pipeline.importing.golfscape import Knobs, write_scenes
    from engine.config import TrainConfig
    from engine.training import segmenter
    from engine.training.train_run import new_run
    from models import build_model

    if (folder / "runs/run/model.keras").exists():
        return folder / "runs/run"
    write_scenes(folder / "golfscape", 6, knobs=Knobs(size=64))
    config = TrainConfig(data=folder / "golfscape", runs_dir=folder / "runs", name="run")
    data = open_dataset(config, config.split_seed)
    run = new_run(config, segmenter, data, segmenter.frames(config, data)[0])
    keras.utils.set_random_seed(0)
    options = {"width": width, "depth": depth}
    build_model("unet", 2, (None, None, 3), scale=[1 / 255] * 3, offset=[0.0] * 3, **options).save(run.model_path)
    run.resume_path.rmdir()
    return run.path


def predict(run: Path, images: Path, out: Path) -> dict:
    """What a prediction took, in a process of its own."""
    child = "import sys; from benchmarks.scenes import measure; measure(*sys.argv[1:])"
    command = [sys.executable, "-c", child, str(run), str(images), str(out)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def measure(run: str, images: str, out: str) -> None:
    """Predict, and print what it took as JSON."""
    from engine.config import PredictConfig
    from engine.predictor import load_predictor, starts
    from predict import predict

    network, folder = load_predictor(run).network, Path(images).is_dir()
    if folder:
        count, batch = len(list(Path(images).iterdir())), np.zeros((8, 256, 256, 3), np.float32)
    else:
        sides = size_of(Path(images))
        count, batch = (
            len(starts(sides[0], WINDOW)) * len(starts(sides[1], WINDOW)),
            np.zeros((8, WINDOW, WINDOW, 3), np.float32),
        )
    network(batch)
    alone = [timed(network, batch) for _ in range(BATCHES)]
    start = time.perf_counter()
    predict(PredictConfig(Path(run), (Path(images),), out=Path(out)))
    seconds = time.perf_counter() - start
    alone += [timed(network, batch) for _ in range(BATCHES)]
    found = {"windows or images": count, "seconds": round(seconds, 1), "a second": round(count / seconds, 2)}
    found["a second, network alone"] = round(len(batch) * len(alone) / sum(alone), 2)
    found["share"] = round(count / seconds / (len(batch) * len(alone) / sum(alone)), 3)
    print(json.dumps(found | {"GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}))


def timed(network, batch: np.ndarray) -> float:
    start = time.perf_counter()
    network(batch).numpy()
    return time.perf_counter() - start


def size_of(path: Path) -> tuple[int, int]:
    from data_pipeline.scenes.reading import read_header

    header = read_header(path)
    return header.height, header.width


def same(one: Path, other: Path) -> bool:
    """Whether two masks have the same pixels."""
    import rasterio

    with rasterio.open(one) as a, rasterio.open(other) as b:
        parts = [
            rasterio.windows.Window(0, top, a.width, min(BAND, a.height - top)) for top in range(0, a.height, BAND)
        ]
        return all((a.read(1, window=part) == b.read(1, window=part)).all() for part in parts)


def killed_half_way(run: Path, scene: Path, out: Path, strips: int) -> None:
    command = [sys.executable, "predict.py", str(run), str(scene), "--out", str(out)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(out.glob(".predicting-*/*/*.npz"))) < strips and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    run_command(main, Config, __doc__)
