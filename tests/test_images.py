"""Images of any depth and number of channels: read, scaled, augmented, trained on, predicted; tiles and previews."""

import json
from dataclasses import replace

import imagecodecs
import keras
import numpy as np
import pytest
import tifffile
from conftest import make_folder, run_script, save, shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import models
from data_pipeline.augment import PRESETS, Policy, augment, preset
from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import VOID
from data_pipeline.files import MAX_PIXELS, read_image, read_picture
from data_pipeline.importing.tile import tile, tiles_of
from data_pipeline.inspection import inspect
from data_pipeline.loader import read_pair
from data_pipeline.pairs import find_pairs
from data_pipeline.pixel_range import PixelRange, measure_range
from data_pipeline.samples import place_of
from data_pipeline.source import Source
from engine.config import TrainConfig
from engine.defaults import decided
from engine.preview import framed, preview, samples_seen
from engine.scoring.evaluation import Answer, evaluate_images
from engine.training import segmenter
from models import MODELS

pytestmark = pytest.mark.usefixtures("quick_forest", "narrow_networks")
RNG = np.random.default_rng(0)


def bands(index, channels, dtype):
    """``shapes`` with more channels and a deeper range."""
    image, mask = shapes(index)
    image = np.concatenate([image] * -(-channels // 3), -1)[..., :channels]
    return (image.astype(np.float64) * (50 if dtype == np.uint16 else 0.01)).astype(dtype), mask


def deep_folder(folder, channels=5, dtype=np.uint16, count=12):
    make_folder(folder, count)
    for index in range(count):
        (folder / f"images/item{index:03d}.png").unlink()
        image = bands(index, channels, dtype)[0]
        plan = "contig" if channels > 1 else None
        tifffile.imwrite(folder / f"images/item{index:03d}.tif", image, photometric="minisblack", planarconfig=plan)
    return folder


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("plan", ["contig", "separate"])
def test_tiff_of_any_kind_reads_back(tmp_path, dtype, channels, plan):
    image = (RNG.random((20, 31, channels)) * 200).astype(dtype)
    stored = image if plan == "contig" else np.moveaxis(image, 2, 0)
    if channels == 1:
        stored = image[..., 0]
    tifffile.imwrite(tmp_path / "i.tif", stored, photometric="minisblack", planarconfig=plan if channels > 1 else None)
    read = read_image(tmp_path / "i.tif")
    wanted = image.repeat(3, 2) if (channels, dtype) == (1, np.uint8) else image
    assert read.shape == wanted.shape and (read == wanted.astype(read.dtype)).all()
    assert read.dtype == (dtype if dtype in (np.uint8, np.uint16) else np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_loses_nothing(tmp_path, channels):
    image = RNG.integers(0, 65536, (9, 12, channels)).astype(np.uint16)
    (tmp_path / "i.png").write_bytes(imagecodecs.png_encode(image))
    read = read_image(tmp_path / "i.png")
    colors = {1: 1, 2: 1, 3: 3, 4: 3}[channels]  # alpha is dropped
    assert read.dtype == np.uint16 and (read == image[..., :colors]).all()


def test_transparency_is_dropped_and_infrared_kept(tmp_path):
    image = RNG.integers(0, 255, (9, 12, 4)).astype(np.uint8)
    for extra, channels in (("unassalpha", 3), ("unspecified", 4)):
        tifffile.imwrite(tmp_path / "i.tif", image, photometric="rgb", extrasamples=[extra])
        assert (read_image(tmp_path / "i.tif") == image[..., :channels]).all()


def test_scenes_beyond_the_limit_are_refused_before_they_are_decoded(tmp_path):
    side = int(MAX_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "i.png")
    with pytest.raises(UserError, match=f"{side}×{side} pixels; at most"):
        read_picture(tmp_path / "i.png")


def pairs_and_encoding(folder):
    pairs, _ = find_pairs(folder)
    return pairs, inspect(folder, pairs).encoding


def test_range_of_ordinary_pictures_is_the_range_of_a_byte(tmp_path):
    pairs, encoding = pairs_and_encoding(make_folder(tmp_path, 3))
    pixel_range = measure_range(pairs, encoding)
    assert (pixel_range.dtype, pixel_range.low, pixel_range.high) == ("uint8", (0, 0, 0), (255, 255, 255))


def test_range_of_deep_images_is_by_percentiles_of_labelled_pixels(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        image = rng.integers(1000, 3001, (64, 64, 2)).astype(np.uint16)
        mask = (np.arange(64)[:, None] > 30) * np.ones((1, 64), np.uint8)
        image[:8], mask[:8] = 60_000, 9  # no data, and void
        (tmp_path / "images").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"images/{index}.tif", image, photometric="minisblack", planarconfig="contig")
        save(tmp_path / f"masks/{index}.png", mask.astype(np.uint8))
    pairs, _ = find_pairs(tmp_path)
    pixel_range = measure_range(pairs, inspect(tmp_path, pairs, (9,)).encoding)
    np.testing.assert_allclose(pixel_range.low, [1020, 1020], atol=12)
    np.testing.assert_allclose(pixel_range.high, [2980, 2980], atol=12)
    assert PixelRange.from_json(json.loads(json.dumps(pixel_range.to_json()))) == pixel_range
    np.testing.assert_allclose(np.multiply(pixel_range.low, pixel_range.factor) + pixel_range.offset, 0, atol=1e-9)
    np.testing.assert_allclose(np.multiply(pixel_range.high, pixel_range.factor) + pixel_range.offset, 1)


def test_a_constant_channel_has_a_finite_range(tmp_path):
    folder = deep_folder(tmp_path)
    for path in (folder / "images").iterdir():
        image = tifffile.imread(path)
        image[..., 1] = 700
        tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
    pixel_range = measure_range(*pairs_and_encoding(folder))
    assert pixel_range.high[1] == pixel_range.low[1] + 1 and np.isfinite(pixel_range.factor).all()


def test_deep_images_under_void_masks_end_in_one_line(tmp_path):
    folder = deep_folder(tmp_path / "d")
    for path in (folder / "masks").iterdir():
        save(path, np.full((32, 32), 9, np.uint8))
    (folder / "classes.json").write_text('{"classes": [{"name": "a"}, {"name": "b"}], "void": [9]}')
    done = run_script("-m", "data_pipeline", "check", "d", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the training masks hold not one labelled pixel" in done.stdout


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(PRESETS)),
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.sampled_from([1, 2, 3, 4, 5, 9]),
    st.integers(0, 10**6),
)
def test_augmentation_of_any_kind_of_image(name, dtype, channels, seed):
    image, mask = bands(seed % 7, channels, dtype)
    pixel_range = PixelRange(np.dtype(dtype).name, (0.0,) * channels, (float(image.max()),) * channels)
    policy = preset(name, "horizontal", crop=(24, 40), margin=3, pixel_range=pixel_range)
    new_image, new_mask = augment(image, mask, seed, policy)
    assert new_image.shape == (30, 46, channels) and new_image.dtype == dtype
    assert np.isfinite(new_image).all() and set(np.unique(new_mask)) <= {0, 1, VOID}
    again, _ = augment(image, mask, seed, policy)
    assert (again == new_image).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_move_as_ordinary_ones_do(dtype):
    """One geometry for all kinds: the same draw moves a 16-bit or float copy to the same place."""
    image, mask = shapes(3, size=64)
    geometry = replace(
        PRESETS["strong"],
        **dict.fromkeys(("brightness", "contrast", "gamma", "saturation", "hue", "blur", "noise"), 0.0),
    )
    plain, plain_mask = augment(image, mask, 5, geometry)
    deep, deep_mask = augment((image.astype(float) * 100).astype(dtype), mask, 5, geometry)
    assert (plain_mask == deep_mask).all()
    assert np.abs(deep / 100.0 - plain).max() < 1


def test_light_of_deep_images_keeps_to_their_range():
    image = np.full((16, 16, 2), 2000, np.uint16)
    image[:8] = 1000
    policy = Policy(brightness=0.2, contrast=0.4, low=(1000.0, 1000.0), high=(2000.0, 2000.0))
    made = [augment(image, np.zeros((16, 16), np.uint8), seed, policy)[0] for seed in range(50)]
    means = np.array([one.astype(float).mean() for one in made])
    assert 1250 < means.min() < 1450 and 1550 < means.max() < 1750
    assert all(one.min() >= 500 and one.max() <= 2500 for one in made)


def test_papers_presets():
    """U-Net 2015: σ = 10 pixels whatever the image's size; Tiramisu: crops and flips, nothing else."""
    image, mask = shapes(0, size=128)
    policy = preset("tiramisu", "horizontal", crop=(48, 48))
    wide = np.concatenate([image, image[:, ::-1]], 1)
    for seed in range(30):
        part, _ = augment(image, mask, seed, policy)
        windows = np.lib.stride_tricks.sliding_window_view(wide, (48, 48, 3))[:, :, 0]
        assert (windows == part).all((2, 3, 4)).any()
    for size in (128, 512):
        ramp = np.tile(np.linspace(0, 60_000, size, dtype=np.float32), (size, 1))[..., None]
        elastic = replace(Policy(), elastic_pixels=PRESETS["unet2015"].elastic_pixels)
        middle = np.s_[size // 4 : -size // 4, size // 4 : -size // 4]
        moved = [
            (augment(ramp, np.zeros((size, size), np.uint8), seed, elastic)[0][middle] - ramp[middle])
            * (size - 1)
            / 60_000
            for seed in range(30)
        ]
        assert 5 < np.std(moved) < 13


def test_noise_is_normal():
    image = np.full((128, 128, 3), 128, np.uint8)
    policy = Policy(noise=16)
    for seed in range(20):
        noisy = augment(image, np.zeros((128, 128), np.uint8), seed, policy)[0].astype(float) - 128
        if noisy.std() > 2:
            z = (noisy - noisy.mean()) / noisy.std()
            assert abs(noisy.mean()) < 0.2 and abs((z**3).mean()) < 0.1 and 2.7 < (z**4).mean() < 3.1
            assert abs(np.corrcoef(z[..., 0].ravel(), z[..., 1].ravel())[0, 1]) < 0.05
            return
    raise AssertionError("no draw with noise")


def test_five_bands_of_sixteen_bits_go_the_whole_way(tmp_path):
    deep_folder(tmp_path / "bands", channels=5)
    tiny = ["--steps", "4", "--steps-per-epoch", "2", "--batch-size", "2"]
    done = run_script("train.py", "--data", "bands", "--name", "deep", *tiny, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: 5 channels of uint16, scaled from" in done.stdout
    stored = json.loads((tmp_path / "runs/deep/dataset.json").read_text())
    assert stored["channels"] == 5 and stored["scale"]["dtype"] == "uint16" and len(stored["scale"]["low"]) == 5
    done = run_script("evaluate.py", "runs/deep", cwd=tmp_path)
    assert done.returncode == 0 and "pixel_forest" in done.stdout, done.stderr
    done = run_script("predict.py", "runs/deep", "bands/images/item000.tif", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "out/item000.png").size == (32, 32)
    save(tmp_path / "plain.png", shapes(0)[0])
    done = run_script("predict.py", "runs/deep", "plain.png", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "plain.png: 3 channels of uint8, but the network was trained on 5 of uint16" in done.stderr
    model = keras.models.load_model(tmp_path / "runs/deep/model.keras", compile=False)
    assert model.input_shape[-1] == 5 and model.get_layer("rescale").compute_dtype == "float32"
    unit = keras.ops.convert_to_numpy(model.get_layer("rescale")(np.array(stored["scale"]["high"], np.float32)))
    np.testing.assert_allclose(unit, 1, atol=1e-5)


def test_sixteen_bits_do_not_overflow_half_precision():
    """float16 ends at 65,504: pixels are scaled in float32 before they are halved."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = models.build_model("unet", 2, (32, 32, 1), width=8, depth=2, scale=[1 / 65535], offset=[0.0])
    finally:
        keras.config.set_dtype_policy("float32")
    logits = keras.ops.convert_to_numpy(model(np.full((1, 32, 32, 1), 65535, np.float32)))
    assert np.isfinite(logits).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 40), st.integers(1, 5))
def test_tiles_hold_every_pixel_once(height, width, size, channels):
    image = RNG.integers(0, 9999, (height, width, channels)).astype(np.uint16)
    mask = RNG.integers(0, 4, (height, width)).astype(np.uint8)
    seen = np.zeros((height, width), int)
    for top, left, part, labels in tiles_of(image, mask, size):
        assert part.shape == (size, size, channels) and labels.shape == (size, size)
        inside = labels[: height - top, : width - left]
        assert (inside == mask[top : top + size, left : left + size]).all()
        assert (part[: inside.shape[0], : inside.shape[1]] == image[top : top + size, left : left + size]).all()
        seen[top : top + size, left : left + size] += 1
        assert (labels != VOID).sum() == inside.size
    assert (seen == 1).all()


def test_tiles_mirror_the_scene_beyond_its_border():
    image = RNG.integers(0, 256, (20, 31, 3)).astype(np.uint8)
    mirrored = np.pad(image, ((0, 12), (0, 1), (0, 0)), "reflect")
    for top, left, part, _ in tiles_of(image, np.zeros((20, 31), np.uint8), 16):
        assert (part == mirrored[top : top + 16, left : left + 16]).all()


def test_tiles_keep_the_part_and_group_of_their_scene(tmp_path):
    make_folder(tmp_path / "d", 4)
    rows = [f"images/item00{i}.png,masks/item00{i}.png,{'train' if i else 'test'},flight{i % 2}" for i in range(4)]
    (tmp_path / "d/pairs.csv").write_text("\n".join(["image,mask,split,group", *rows]))
    tile(Source(data=tmp_path / "d"), tmp_path / "cut", 20)
    cut, _ = find_pairs(tmp_path / "cut")
    known = {(pair.stem[:7], pair.split, pair.group) for pair in cut}
    assert len(cut) == 16
    assert known == {(f"item00{i}", "train" if i else "test", f"flight{i % 2}") for i in range(4)}


def test_tile_makes_a_data_set_of_groups(tmp_path):
    deep_folder(tmp_path / "scenes", channels=4, count=5)
    done = run_script("-m", "data_pipeline", "tile", "scenes", "cut", "--tile", "20", cwd=tmp_path)
    assert done.returncode == 1 and "32 to 8192 pixels" in done.stderr
    tile(Source(data=tmp_path / "scenes"), tmp_path / "cut", 20)
    pairs, findings = find_pairs(tmp_path / "cut")
    data = inspect(tmp_path / "cut", pairs)
    assert not [finding for finding in findings + data.findings if finding.level == "error"]
    assert len(pairs) == 20 and {pair.group for pair in pairs} == {f"item{i:03d}" for i in range(5)}
    whole, encoding = pairs_and_encoding(tmp_path / "scenes")
    assert data.class_pixels(pairs).tolist() == inspect(tmp_path / "scenes", whole).class_pixels(whole).tolist()
    image, _ = read_pair(pairs[0], data.encoding)
    assert (image.shape, image.dtype) == ((20, 20, 4), np.uint16)
    assert (image == read_pair(whole[0], encoding)[0][:20, :20]).all()
    with pytest.raises(UserError, match="cut exists"):
        tile(Source(data=tmp_path / "scenes"), tmp_path / "cut", 20)


def test_preview_shows_what_training_sees(tmp_path, capsys):
    make_folder(tmp_path / "d", 12, size=48, num_classes=3)
    preview(TrainConfig(data=tmp_path / "d", augment="strong"), tmp_path / "grid.png", count=3, variations=2)
    picture = np.asarray(Image.open(tmp_path / "grid.png"))
    assert picture.shape[1] > 4 * 224 and picture.shape[0] > 3 * 224 and picture.std() > 20
    assert (
        "3 training pairs, each with 2 variations (strong, symmetry horizontal, 48×48 pixels, for unet)"
        in capsys.readouterr().out
    )


def test_masks_are_seen_where_their_colour_is_that_of_the_image(tmp_path):
    """Green trees on green grass: preview, and the overlays of an evaluation, take another colour."""
    green, image = (40, 120, 40), np.full((48, 48, 3), (40, 120, 40), np.uint8)
    mask = np.zeros((48, 48), np.uint8)
    mask[10:30, 10:30] = 1
    for i in range(10):
        save(tmp_path / f"d/images/{i}.png", image)
        save(tmp_path / f"d/masks/{i}.png", mask)
    classes = [{"name": "grass", "value": 0, "color": [0, 0, 0]}, {"name": "trees", "value": 1, "color": green}]
    (tmp_path / "d/classes.json").write_text(json.dumps({"classes": classes}))
    preview(TrainConfig(data=tmp_path / "d", augment="none", symmetry="none"), tmp_path / "grid.png", variations=1)
    drawn = np.asarray(Image.open(tmp_path / "grid.png"))
    assert not (drawn[24:248] == green).all(-1)[100, 336], "the middle of the tree in the second column"
    legend = {tuple(color) for color in drawn[-24:].reshape(-1, 3).tolist()}
    assert green not in legend

    dataset = open_dataset(TrainConfig(data=tmp_path / "d"), 0)
    evaluate_images(
        lambda pair: read_pair(pair, dataset.encoding),
        lambda pair, image: Answer(mask),
        {},
        dataset.pairs,
        dataset.encoding,
        dataset.pixel_range,
        tmp_path / "out",
    )
    overlay = np.asarray(Image.open(tmp_path / "out/overlays/0.jpg")).astype(int)
    assert np.abs(overlay[20, 20] - green).max() < 8, "the image itself"
    assert np.abs(overlay[20, 52 + 20] - green).max() > 60 and np.abs(overlay[20, 104 + 20] - green).max() > 60


@pytest.fixture(scope="module")
def of_several_sizes(tmp_path_factory):
    """Wide and narrow images, opened: frames follow from the largest, from --size, from --crop and the network."""
    folder = tmp_path_factory.mktemp("sizes") / "d"
    make_folder(folder, 10, size=40)
    save(folder / "images/wide.png", np.full((40, 70, 3), 90, np.uint8))
    save(folder / "masks/wide.png", np.eye(40, 70, dtype=np.uint8))
    return open_dataset(TrainConfig(data=folder), 0)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("size", "crop"), [(None, None), ("50x66", None), (None, 35), ("50x66", 35)])
def test_preview_draws_the_very_samples_of_training(of_several_sizes, model, size, crop):
    """Over two epochs, from training's own batches: equal bytes of image and mask, margins and rounding included."""
    dataset = of_several_sizes
    config = decided(TrainConfig(data=dataset.source.data, model=model, size=size, crop=crop, batch_size=1), dataset)
    frames = segmenter.frames(config, dataset)
    (stage,) = segmenter.stages(config, dataset, None, frames)
    count = len(dataset.split.train)
    trained = {}
    for position, (image, mask, _) in enumerate(stage.batches(0).take(2 * count).as_numpy_iterator()):
        epoch, index = place_of(position, config.seed, count)
        trained[dataset.split.train[index].stem, epoch] = image[0], mask[0]
    shown = {
        (name, epoch): sample
        for name, _, drawn in samples_seen(config, dataset, frames[0], count, 2)
        for epoch, sample in enumerate(drawn)
    }
    assert shown.keys() == trained.keys()
    for key, (image, mask) in shown.items():
        np.testing.assert_array_equal(image, trained[key][0])
        np.testing.assert_array_equal(mask, trained[key][1])
        margin = MODELS[model].margin
        assert framed(image, mask, margin, dataset.encoding, dataset.pixel_range).shape[:2] == image.shape[:2]
        assert image.shape[:2] == tuple(side + 2 * margin for side in mask.shape)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.float32), (5, np.uint16)])
def test_preview_and_check_of_deep_images(tmp_path, channels, dtype):
    deep_folder(tmp_path / "d", channels, dtype)
    folders = ["--images", "d/images", "--masks", "d/masks"]
    for command in (["preview", *folders, "--out", "grid.png"], ["check", "d"]):
        done = run_script("-m", "data_pipeline", *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
