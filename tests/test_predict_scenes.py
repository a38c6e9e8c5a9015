"""predict.py on scenes and on many images: the same pixels as in memory, georeferenced, and stopped and resumed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from conftest import ROOT, make_folder, save
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.pixel_range import PixelRange
from data_pipeline.scenes.reading import ArrayScene
from engine import predictor as windows
from engine.config import PredictConfig
from engine.framing import Frame
from engine.predicting import scenes, strips
from engine.predicting.many import predict_many
from engine.predicting.strips import Grid, Strips, predict_strips
from engine.predictor import Predictor
from models import MODELS, build_model
from predict import predict, read_ranking

SIZE = (300, 410)
SMALL = {"LARGEST_WHOLE": 1000, "TILE": 96, "OVERLAP": 16}
SCALE = PixelRange("uint8", (0.0,) * 3, (255.0,) * 3)


def blurred(size=SIZE, seed: int = 0) -> np.ndarray:
    """An image with structure at the scale of a few pixels, so that a network's classes alternate."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip((soft.astype(float) - 127) * 8 + 127, 0, 255).astype(np.uint8)


@cache
def network(name: str = "unet"):
    """A small untrained network whose classes are about balanced."""
    import keras

    keras.utils.set_random_seed(0)
    options = {"width": 4, "depth": 2} if name == "unet" else {"width": 4}
    model = build_model(name, 2, (None, None, 3), scale=[1 / 255] * 3, offset=[0.0] * 3, **options)
    side = MODELS[name].output_size(96, 96)[0] + 2 * MODELS[name].margin
    logits = keras.ops.convert_to_numpy(model(cv2.resize(blurred(), (side, side))[None].astype(np.float32)))
    bias = model.layers[-1].bias if model.layers[-1].weights else model.layers[-2].bias
    bias.assign(bias - np.array([0, np.median(logits[..., 1] - logits[..., 0])]))
    return model


@pytest.fixture
def small_windows(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(windows, name, value)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    from test_evaluate import make_run

    folder = tmp_path_factory.mktemp("run")
    path = make_run(make_folder(folder / "data", 12, size=48), folder / "runs", "first")
    network().save(path / "model.keras")
    return path


@pytest.mark.parametrize(
    ("name", "size", "block"),
    [
        ("unet", SIZE, 1 << 30),
        ("unet", SIZE, 1),  # bytes: as narrow blocks as there can be
        ("unet", (40, 500), 1 << 30),  # lower than a window
        ("unet", (500, 97), 1),  # a window that begins one pixel further
        ("unet_original", (100, 410), 1),  # with a margin
    ],
)
def test_strips_are_what_is_predicted_in_memory(tmp_path, monkeypatch, small_windows, name, size, block):
    """To the last bit, and also where only the later strips are missing."""
    monkeypatch.setattr(strips, "BLOCK_BYTES", block)
    predictor = Predictor(network(name), name, Frame(None, (96, 96), MODELS[name].margin, True), batch_size=3)
    image = blurred(size)
    whole, scene = predictor.probabilities(image), ArrayScene(tmp_path, image)
    made = Strips(tmp_path / "strips", Grid.of(predictor, scene, 2), probabilities=True)
    done = []
    for first in (0, 2):
        for path in (tmp_path / "strips").glob("*"):
            if int(path.stem[-5:]) >= first:
                path.unlink()
        done.clear()
        predict_strips(predictor, scene, SCALE, made, done.append)
        assert sum(done) == made.grid.count
        np.testing.assert_array_equal(np.concatenate([*made.rows("probabilities")]), whole.astype(np.float16))
        np.testing.assert_array_equal(np.concatenate([*made.rows("mask")]), whole.argmax(-1))
        np.testing.assert_array_equal(np.concatenate([*made.rows("look")]), image)
    assert 0.2 < whole.argmax(-1).mean() < 0.8 and (len(made.grid.blocks) > 1) == (block == 1 and size[1] > 200)


def test_memory_is_bounded_by_blocks():
    """A scene four times as wide has more blocks, none of them larger."""
    predictor = Predictor(network(), "unet", Frame(None, (96, 96), 0, True))
    widths = {}
    for side in (20_000, 40_000, 80_000):
        scene = ArrayScene(Path(), np.broadcast_to(np.uint8(0), (side, side, 3)))
        blocks = Grid.of(predictor, scene, 2).blocks
        widths[side] = max(last - first for first, last in blocks)
        assert blocks[0][0] == 0 and blocks[-1][1] == side
        assert all(one[1] == other[0] for one, other in pairwise(blocks))
    assert max(widths.values()) * 512 * 4 * 3 <= strips.BLOCK_BYTES


def geotiff(path: Path, pixels: np.ndarray, **settings) -> dict:
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": rasterio.CRS.from_epsg(32633), "transform": rasterio.transform.from_origin(5e5, 5e6, 0.5, 0.25)}
    form = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "compress": "deflate"} | place | settings
    with rasterio.open(path, "w", height=len(pixels), width=pixels.shape[1], **form) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    return place


@pytest.fixture(scope="module")
def both_ways(run, tmp_path_factory):
    """One scene as a GeoTIFF with a corner of no data, as a plain TIFF beyond the limit, and as a PNG in memory."""
    folder = tmp_path_factory.mktemp("both")
    pixels = np.maximum(blurred(), 1)
    pixels[:60, :90] = 0
    place = geotiff(folder / "geo.tif", pixels, nodata=0)
    tifffile.imwrite(folder / "plain.tif", pixels, photometric="rgb", tile=(64, 64), compression="zlib")
    save(folder / "picture.png", pixels)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SMALL.items():
            patched.setattr(windows, name, value)
        asked = {"probabilities": True, "uncertainty": True, "batch_size": 3}
        for name in ("geo.tif", "picture.png"):
            predict(PredictConfig(run, (folder / name,), out=folder / "out", **asked))
        patched.setattr(scenes, "IN_MEMORY", 1000)
        predict(PredictConfig(run, (folder / "plain.tif",), out=folder / "out", **asked))
    return folder, pixels, place


def test_a_geotiff_gets_the_pixels_of_the_way_in_memory_and_its_place(both_ways):
    import rasterio

    folder, pixels, place = both_ways
    out, void = folder / "out", (pixels == 0).all(-1)
    mask = np.asarray(Image.open(out / "picture.png"))
    with rasterio.open(out / "geo.tif") as file:
        ours = file.read(1)
        assert (file.crs, file.transform, file.nodata) == (place["crs"], place["transform"], VOID)
        assert file.profile["tiled"] and file.profile["compress"] == "deflate"
        assert (file.dataset_mask() == 0).tolist() == void.tolist()
    np.testing.assert_array_equal(ours, np.where(void, VOID, mask))
    with rasterio.open(out / "geo_probabilities.tif") as file:
        assert (file.crs, file.transform) == (place["crs"], place["transform"])
    ours, theirs = (tifffile.imread(out / f"{name}_probabilities.tif") for name in ("geo", "picture"))
    np.testing.assert_array_equal(ours[~void], theirs[~void])
    assert np.isnan(ours[void]).all() and 0.2 < mask.mean() < 0.8
    with rasterio.open(out / "geo_uncertainty.tif") as file:
        ours = np.moveaxis(file.read(), 0, 2)
    np.testing.assert_array_equal(ours[~void], np.asarray(Image.open(out / "picture_uncertainty.png"))[~void])


def test_a_large_picture_gets_the_files_of_a_small_one(both_ways):
    out = both_ways[0] / "out"
    for end in (".png", "_overlay.png", "_uncertainty.png"):
        one, other = (Image.open(out / f"{name}{end}") for name in ("plain", "picture"))
        assert one.mode == other.mode and one.getpalette() == other.getpalette()
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    ours, theirs = (tifffile.imread(out / f"{name}_probabilities.tif") for name in ("plain", "picture"))
    np.testing.assert_array_equal(ours, theirs)
    ranking = read_ranking(out / "uncertainty.csv")
    assert ranking["plain.tif"] == ranking["picture.png"] != ranking["geo.tif"] and len(ranking) == 3
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_void_has_a_value_where_masks_are_as_given():
    from data_pipeline.encoding import Encoding

    grey = Encoding(("a", "b"), (0, 255), ((0, 0, 0), (1, 1, 1)))
    assert scenes.void_value(grey) == 1
    colors = Encoding(("a", "b"), (0, 0xFFFFFF), ((0, 0, 0), (1, 1, 1)), void=(0x0A0B0C,), is_color=True)
    assert scenes.void_value(colors) == 0x0A0B0C


def test_a_small_geotiff_is_seen_whole(run, tmp_path):
    import rasterio

    pixels = blurred((64, 80))
    geotiff(tmp_path / "a.tif", pixels)
    save(tmp_path / "b.png", pixels)
    predict(PredictConfig(run, (tmp_path / "a.tif", tmp_path / "b.png"), out=tmp_path / "out"))
    with rasterio.open(tmp_path / "out/a.tif") as file:
        np.testing.assert_array_equal(file.read(1), np.asarray(Image.open(tmp_path / "out/b.png")))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_stopped_scene_goes_on_where_it_was(run, both_ways, tmp_path, small_windows, monkeypatch, stop):
    """Ctrl-C, and kill -9, before the third of four strips is written; then the same command."""
    scene, out, write = both_ways[0] / "geo.tif", tmp_path / "out", Strips.write
    if stop is KeyboardInterrupt:

        def stops(self, strip, *more):
            if strip == 2:
                raise KeyboardInterrupt
            write(self, strip, *more)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Strips, "write", stops)
            predict(PredictConfig(run, (scene,), out=out, batch_size=3))
    else:
        program = KILLED.format(small=SMALL, run=str(run), scene=str(scene), out=str(out))
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == -signal.SIGKILL
    assert sorted(path.name for path in out.rglob("*.npz")) == ["000-00000.npz", "000-00001.npz"]
    assert not (out / "geo.tif").exists()
    made = []
    monkeypatch.setattr(Strips, "write", lambda self, strip, *more: made.append(strip) or write(self, strip, *more))
    predict(PredictConfig(run, (scene,), out=out, batch_size=3))
    assert made == [2, 3]
    np.testing.assert_array_equal(tifffile.imread(out / "geo.tif"), tifffile.imread(both_ways[0] / "out/geo.tif"))
    assert sorted(path.name for path in out.iterdir()) == ["geo.tif", "geo_overlay.png", "uncertainty.csv"]


KILLED = """
import os, signal
from pathlib import Path
from engine import predictor
from engine.config import PredictConfig
from engine.predicting.strips import Strips
from predict import predict
for name, value in {small}.items():
    setattr(predictor, name, value)
write = Strips.write
def dies(self, strip, *more):
    if strip == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, strip, *more)
Strips.write = dies
predict(PredictConfig(Path({run!r}), (Path({scene!r}),), out=Path({out!r}), batch_size=3))
"""


def test_a_scene_that_cannot_be_read_is_left_out_and_named(run, tmp_path, both_ways):
    shutil.copy(both_ways[0] / "geo.tif", tmp_path / "good.tif")
    whole = (both_ways[0] / "geo.tif").read_bytes()
    (tmp_path / "bad.tif").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match=r"1 of 2 left out:\n\S+bad\.tif: "):
        predict(PredictConfig(run, (tmp_path / "bad.tif", tmp_path / "good.tif"), out=tmp_path / "out"))
    assert (tmp_path / "out/good.tif").is_file() and not (tmp_path / "out/bad.tif").exists()


def test_a_run_that_sees_whole_images_refuses_what_memory_does_not_hold(run, tmp_path, monkeypatch, both_ways):
    from engine.run import Run

    monkeypatch.setattr(scenes, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Run, "frame", Frame((48, 48), (48, 48), 0, False))
    with pytest.raises(UserError, match=r"geo\.tif: 410×300 pixels, and the run sees whole images at 48×48 \(--size\)"):
        predict(PredictConfig(run, (both_ways[0] / "geo.tif",), out=tmp_path / "out"))


def test_many_images_go_together_and_come_in_their_order(tmp_path):
    """Images of one size share a batch; what cannot be read keeps its place; every answer is the image's own."""
    predictor = Predictor(network(), "unet", Frame(None, (32, 32), 0, False), batch_size=4)
    images = {Path(f"{i}"): blurred((32, 48) if i in (5, 6) else (32, 32), seed=i) for i in range(12) if i != 3}
    batches, logits = [], predictor.logits
    predictor.logits = lambda seen, *more: batches.append(len(seen)) or logits(seen, *more)

    def read(path: Path) -> np.ndarray:
        if path not in images:
            raise UserError(f"{path} is damaged")
        return images[path]

    written = {}

    def write(path: Path, image: np.ndarray, probabilities: np.ndarray) -> float:
        time.sleep(0.02 * (path.name == "0"))  # the first is written last
        written[path] = probabilities
        return float(path.name)

    came = list(predict_many([Path(f"{i}") for i in range(12)], read, predictor, write))
    assert [path.name for path, _ in came] == [str(i) for i in range(12)]
    assert [what for _, what in came[4:]] == list(range(4, 12)) and str(came[3][1]) == "3 is damaged"
    assert batches == [3, 1, 2, 4, 1]
    batches.clear()
    list(predict_many(list(images), read, predictor, lambda path, *more: 0.0, together=False))
    assert batches == [1] * 11
    for path, image in images.items():
        np.testing.assert_allclose(written[path], predictor.probabilities(image), atol=1e-6)


def test_what_a_writer_meets_ends_the_work(tmp_path):
    predictor = Predictor(network(), "unet", Frame(None, (32, 32), 0, False), batch_size=2)

    def write(path, image, probabilities):
        raise UserError(f"{path} exists now")

    with pytest.raises(UserError, match="0 exists now"):
        list(predict_many([Path(f"{i}") for i in range(9)], lambda path: blurred((32, 32)), predictor, write))


def test_a_stopped_folder_goes_on(run, tmp_path, monkeypatch, capsys):
    """Ctrl-C after some images, then the same command: what is done is passed over, the rest is made, all is ranked."""
    import predict as script

    for i in range(9):
        save(tmp_path / f"images/{i}.png", blurred((48, 48), seed=i))
    config = PredictConfig(run, (tmp_path / "images",), out=tmp_path / "out", batch_size=2)
    predict(PredictConfig(run, (tmp_path / "images",), out=tmp_path / "all", batch_size=2))
    write = script.write_outputs

    def stops(run, files, *more):
        if files[0].name == "5.png":
            raise KeyboardInterrupt
        write(run, files, *more)

    monkeypatch.setattr(script, "write_outputs", stops)
    with pytest.raises(KeyboardInterrupt):
        predict(config)
    done = {path.name for path in (tmp_path / "out").glob("?.png")}
    assert {"0.png", "1.png", "2.png", "3.png"} <= done and "5.png" not in done
    made = []
    monkeypatch.setattr(
        script, "write_outputs", lambda run, files, *more: made.append(files[0]) or write(run, files, *more)
    )
    predict(config)
    assert not {path.name for path in made} & done and len(made) == 9 - len(done)
    assert f"{len(done)} of 9 images were done before the interruption; going on" in capsys.readouterr().out
    for name in sorted(path.name for path in (tmp_path / "all").iterdir()):
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name
    assert not list((tmp_path / "out").glob(".*"))
