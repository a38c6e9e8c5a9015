"""Framing, prediction at any size, baselines, and the run directory."""

import json
from itertools import pairwise
from statistics import NormalDist
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import make_folder, save, shapes

from data_pipeline.command import UserError
from data_pipeline.encoding import Encoding
from data_pipeline.files import read_json
from data_pipeline.inspection import inspect
from data_pipeline.loader import read_pair
from data_pipeline.pairs import Pair, find_pairs
from data_pipeline.pixel_range import PixelRange
from data_pipeline.split import Split
from engine import predictor as predictor_module
from engine.comparing.compare import Candidate, by_method
from engine.config import TrainConfig, parse_size, recipe_config
from engine.defaults import decided
from engine.framing import Frame, choose_frames
from engine.predictor import Predictor, ramp, starts
from engine.run import Run, config_from_json, config_json
from engine.run_places import free_path
from engine.scoring import baselines as baselines_module
from engine.scoring.baselines import features, fit_baselines
from engine.scoring.scores import score, summary
from engine.scoring.task import MASKS
from models import MODELS, build_model

BYTES = PixelRange("uint8", (0.0,) * 3, (255.0,) * 3)
NATIVE = Frame(size=None, tile=(32, 32), margin=0, crops=False)


def frame(model="unet", sizes=((100, 140),), **settings):
    return choose_frames(TrainConfig(model=model, **settings), MODELS[model], set(sizes))[0]


def test_frames():
    assert frame() == Frame(None, (112, 144), 0, crops=False)
    assert frame("fc_densenet56") == Frame(None, (100, 140), 0, crops=False)
    assert frame("unet_original") == Frame(None, (100, 148), 92, crops=False)
    assert frame(size="96x128") == Frame((96, 128), (96, 128), 0, crops=False)
    assert frame(crop=60) == Frame(None, (64, 64), 0, crops=True)
    assert frame(sizes=[(900, 1200)]) == Frame(None, (256, 256), 0, crops=True)
    assert frame(sizes=[(100, 140), (100, 150)]) == Frame(None, (112, 160), 0, crops=True)
    assert frame(size="96x128", crop=64) == Frame((96, 128), (64, 64), 0, crops=True)
    assert Frame.from_json(json.loads(json.dumps(frame(size="96x128").to_json()))) == frame(size="96x128")


def test_the_second_stage_sees_whole_images():
    config = TrainConfig(crop=64, finetune_steps=5)
    first, second = choose_frames(config, MODELS["unet"], {(100, 140), (90, 150)})
    assert first == Frame(None, (64, 64), 0, crops=True)
    assert second == Frame(None, (112, 160), 0, crops=False)
    assert choose_frames(config.replace(size="96x128"), MODELS["unet"], {(100, 140)})[1].tile == (96, 128)


def test_too_small_frames_are_refused():
    with pytest.raises(UserError, match="16×16 pixels are too small for unet: at least 32"):
        frame(crop=16)


@pytest.mark.parametrize("text", ["96", "0x10", "96x", "axb", "-3x4"])
def test_bad_sizes(text):
    with pytest.raises(UserError, match="HEIGHTxWIDTH"):
        parse_size(text)
    assert parse_size("96x128") == (96, 128)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "--steps 0"),
        ({"batch_size": -1}, "--batch-size -1"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"patience": -1}, "--patience -1"),
        ({"momentum": 1.0}, "--momentum 1.0"),
        ({"ema": 1.5}, "--ema 1.5"),
        ({"weight_decay": -0.1}, "--weight-decay -0.1"),
        ({"clip_norm": 0.0}, "--clip-norm 0.0"),
        ({"loss": "ce+dize"}, r"--loss ce\+dize: 'dize' is none of ce, focal, dice"),
        ({"schedule": "constant", "warmup_steps": 5}, "--warmup-steps belongs to --schedule cosine"),
        ({"steps": 5, "warmup_steps": 5}, "fewer than --steps 5"),
        ({"fold": 1}, "--fold 1: say with --folds"),
        ({"name": "../x"}, "--name"),
        ({"size": "big"}, "HEIGHTxWIDTH"),
    ],
)
def test_bad_settings_name_their_flag(settings, words):
    with pytest.raises(UserError, match=words):
        TrainConfig(**settings).checked()


@pytest.mark.parametrize("name", ["unet", "unet_original", "fc_densenet56"])
@pytest.mark.parametrize("size", [(32, 32), (37, 53), (5, 90)])
def test_any_size_comes_back_as_it_was(name, size):
    model = build_model(name, 3, **({"width": 2} if name.startswith("unet") else {}))
    image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    probabilities = Predictor(model, name, NATIVE)(image)
    assert probabilities.shape == size and probabilities.dtype == np.uint8
    np.testing.assert_allclose(Predictor(model, name, NATIVE).probabilities(image).sum(-1), 1, atol=1e-5)


def pixelwise(num_classes=3):
    """A network without neighbourhood: what it says of a pixel cannot depend on tiling or padding."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(num_classes, 1, kernel_initializer="he_normal")(x))


def test_tiles_agree_with_the_whole(monkeypatch):
    model = pixelwise()
    image = np.random.default_rng(0).integers(0, 255, (150, 210, 3)).astype(np.uint8)
    whole = Predictor(model, "unet", NATIVE).probabilities(image)
    monkeypatch.setattr(predictor_module, "LARGEST_WHOLE", 1000)
    monkeypatch.setattr(predictor_module, "TILE", 96)
    tiled = Predictor(model, "unet", NATIVE, batch_size=2).probabilities(image)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_tiles_fade_into_each_other(monkeypatch):
    """Tiles that disagree, each of one answer: where they overlap, the weights are their pixels' distances inward."""
    monkeypatch.setattr(predictor_module, "LARGEST_WHOLE", 1000)
    monkeypatch.setattr(predictor_module, "TILE", 96)
    monkeypatch.setattr(predictor_module, "OVERLAP", 16)
    inputs = keras.Input((None, None, 1))
    of_tile = keras.ops.mean(inputs, axis=(1, 2), keepdims=True) + 0 * inputs  # one answer for the whole tile
    image = np.zeros((96, 176, 1), np.float32)
    image[:, 88:] = 4  # the tiles begin at columns 0 and 80: means of 1/3 and 11/3
    scores = Predictor(keras.Model(inputs, of_tile), "unet", NATIVE).probabilities(image)[..., 1]
    left, right = 1 / (1 + np.exp(-1 / 3)), 1 / (1 + np.exp(-11 / 3))
    inward = np.arange(1, 17)
    seam = (left * inward[::-1] + right * inward) / 17
    np.testing.assert_allclose(scores, np.tile([*[left] * 80, *seam, *[right] * 80], (96, 1)), atol=1e-5)
    upright = Predictor(keras.Model(inputs, of_tile), "unet", NATIVE).probabilities(image.swapaxes(0, 1))[..., 1]
    np.testing.assert_allclose(upright, scores.T, atol=1e-6)


def test_a_margin_is_cut_where_it_was_added():
    """A network without neighbourhood that drops 92 pixels on each side says the same of every pixel."""
    plain = pixelwise()
    cropped = keras.Model(plain.input, keras.layers.Cropping2D(92)(plain.output))
    image = np.random.default_rng(0).integers(0, 255, (50, 77, 3)).astype(np.uint8)
    one = Predictor(plain, "unet", NATIVE).probabilities(image)
    other = Predictor(cropped, "unet_original", NATIVE).probabilities(image)
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("length", [5, 512, 513, 1000, 5000])
def test_tiles_cover_and_overlap(length):
    tile = min(512, length)
    begin = starts(length, tile)
    assert begin[0] == 0 and begin[-1] + tile == length
    assert all(b - a <= 512 - 64 for a, b in pairwise(begin))
    assert ramp(tile).min() > 0


def test_resized_prediction_has_the_images_size():
    small = Frame(size=(32, 48), tile=(32, 48), margin=0, crops=False)
    image = shapes(0, size=90)[0]
    predicted = Predictor(pixelwise(), "unet", small).probabilities(image)
    assert predicted.shape == (90, 90, 3)
    np.testing.assert_allclose(predicted.sum(-1), 1, atol=1e-5)


def test_one_logit_is_thresholded_at_zero():
    model = pixelwise(1)
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    logits = model.predict_on_batch(image[None])[0, ..., 0]
    assert (Predictor(model, "unet", NATIVE)(image) == (logits > 0)).all()


def fitted_run(pairs, encoding):
    """As much of a run as the baselines read."""
    split = Split(train=pairs, val=[], test=[], seed=0, fixed=False)
    dataset = {"class_frequencies": dict.fromkeys(encoding.names, 0.1) | {encoding.names[0]: 0.8}, "root": "."}
    return SimpleNamespace(
        dataset=dataset,
        encoding=encoding,
        split=split,
        frame=NATIVE,
        pixel_range=BYTES,
        config={"seed": 0, "model": "unet", "weights": None},
    )


def test_without_training_images_there_is_no_forest(tmp_path, capsys):
    gone = [Pair("a", tmp_path / "a.png", tmp_path / "b.png")]
    assert list(fit_baselines(fitted_run(gone, AB))) == ["all_background", "majority_class"]
    assert "no pixel forest" in capsys.readouterr().out


def test_baselines(tmp_path):
    folder = make_folder(tmp_path, 10, num_classes=3)
    pairs, _ = find_pairs(folder)
    encoding = inspect(folder, pairs).encoding
    baselines = fit_baselines(fitted_run(pairs[:6], encoding))
    scored = {name: summary(one, encoding.names, MASKS) for name, one in score(baselines, pairs[6:], encoding).items()}
    assert list(scored) == ["all_background", "majority_class", "pixel_forest"]
    assert scored["pixel_forest"]["miou"] > 0.9, "these shapes are told by colour"
    background = scored["all_background"]
    assert background["iou"]["class_1"] == 0.0
    assert background["miou"] == pytest.approx(background["pixel_accuracy"] / 3)
    again = fit_baselines(fitted_run(pairs[:6], encoding))["pixel_forest"]
    image, _ = shapes(8, num_classes=3)
    assert (again(image) == baselines["pixel_forest"](image)).all()


def test_the_forest_tells_textures_of_equal_colours(tmp_path, monkeypatch):
    """Stripes of one pixel against stripes of four, both half black and half white: no pixel alone tells them."""
    monkeypatch.setattr(baselines_module, "SAMPLED_PIXELS", 3000)
    for index in range(4):
        mask = np.repeat([[0], [1]] if index % 2 else [[1], [0]], 32, axis=0) * np.ones((1, 64), np.uint8)
        along = (np.arange(64) + index) // np.where(mask, 4, 1) % 2
        save(tmp_path / f"images/{index}.png", (along[..., None] * np.full(3, 200)).astype(np.uint8))
        save(tmp_path / f"masks/{index}.png", mask.astype(np.uint8))
    pairs, _ = find_pairs(tmp_path)
    encoding = inspect(tmp_path, pairs).encoding
    forest = fit_baselines(fitted_run(pairs[:2], encoding))["pixel_forest"]
    for pair in pairs[2:]:
        image, mask = read_pair(pair, encoding)
        assert (forest(image) == mask).mean() > 0.9


def test_the_forests_features_by_hand():
    """Of a grey ramp: its level (brightness alone, no colour), the same level blurred, the slope in 8ths of a pixel."""
    ramp = np.repeat(np.tile(np.arange(101, dtype=np.float32) / 100, (101, 1))[..., None], 3, 2)
    for image in (ramp, ramp.swapaxes(0, 1).copy()):
        values = features(image).reshape(101, 101, -1)[50, 50]
        blurred_and_slope = [0.5, 0, 0, 8 * 0.01]
        np.testing.assert_allclose(values, [0.5, 0, 0, *blurred_and_slope * 4], atol=2e-3)
    edge = np.zeros((101, 101, 1), np.float32)
    edge[:, 51:] = 1
    planes = features(edge).reshape(101, 101, -1)
    spread = [NormalDist(0, sigma).cdf(-1.5) for sigma in (1, 2, 4, 8)]  # of the white side, two pixels before it
    np.testing.assert_allclose(planes[50, 49, 2::3], spread, atol=0.02)


AB = Encoding(("a", "b", "c"), (0, 1, 2), ((0, 0, 0), (9, 9, 9), (200, 0, 0)))


def test_a_run_is_never_overwritten(tmp_path):
    files = {"notes.json": {"a": 1}}
    run = Run.create(free_path(tmp_path, "mine", "default"), files)
    with pytest.raises(UserError, match="mine exists, and a run is never overwritten"):
        Run.create(free_path(tmp_path, "mine", "default"), files)
    made = [Run.create(free_path(tmp_path, None, "default"), files).path.name for _ in range(3)]
    assert made == ["default", "default-2", "default-3"]
    assert read_json(run.path / "notes.json") == {"a": 1} and run.resume_path.is_dir()


def test_a_run_is_made_whole_or_not_at_all(tmp_path):
    with pytest.raises(ValueError):
        Run.create(tmp_path / "r", {"config.json": {}, "dataset.json": float("nan")})
    assert not (tmp_path / "r").exists()


def test_settings_come_back_as_they_were(tmp_path):
    config = recipe_config("tiramisu", data=tmp_path, ema=0.9, size="96x128")
    stored = json.loads(json.dumps(config_json(config, NATIVE)))
    assert config_from_json(stored, tmp_path) == config
    with pytest.raises(UserError, match=r"another version of this program \(ema\)"):
        config_from_json({name: value for name, value in stored.items() if name != "ema"}, tmp_path)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw"}, {"size": "96x128"}, {"crop": 100}])
@pytest.mark.parametrize("size", [(300, 400), (64, 64)])
def test_runs_of_older_versions_count_as_the_same_method(tmp_path, model, changes, size):
    """They left null what is decided, and stored, today; but for the seed these two runs are alike."""
    config = TrainConfig(model=model, data=tmp_path, symmetry="horizontal", **changes)
    today, opened = decided(config, SimpleNamespace(sizes={size})), {}
    (seen,) = choose_frames(config, MODELS[model], {size})
    for name, stored in {"old": config, "new": today.replace(seed=1)}.items():
        (tmp_path / name).mkdir()
        settings = config_json(stored, seen)
        if name == "old":
            del settings["frozen_steps"]  # all of a pretrained network trained at once
        (tmp_path / name / "config.json").write_text(json.dumps(settings))
        opened[name] = Run(tmp_path / name).config
    assert {key for key in opened["old"] if opened["old"][key] != opened["new"][key]} == {"seed"}
    members = [Candidate(name, None, settings) for name, settings in opened.items()]
    assert by_method(members) == {model: members}
    assert config_from_json(opened["old"], tmp_path) == today


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="not a run"):
        Run.open(tmp_path)
    config = config_json(recipe_config(data=tmp_path, name="r"), NATIVE)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="ended before the first validation"):
        Run.open(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"half")
    (tmp_path / "dataset.json").write_text('{"scale": 0.00392}')
    with pytest.raises(UserError, match="This version of the program did not write it so"):
        Run.open(tmp_path)
    dataset = {"root": "d", "encoding": AB.to_json(), "channels": 3, "scale": BYTES.to_json(), "fingerprint": "0" * 64}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset | {"class_frequencies": dict.fromkeys("abc", 1 / 3)}))
    with pytest.raises(UserError, match="damaged, or no network of this program"):
        Run.open(tmp_path).model()
