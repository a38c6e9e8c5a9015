"""The probe: where its features come from, what it makes of them, and when there is none."""

from pathlib import Path

import numpy as np
import pytest
from conftest import save
from test_frozen import built, settings, tiny_encoder, world  # noqa: F401  fixtures

from data_pipeline.encoding import VOID
from data_pipeline.loader import read_pair
from engine.predictor import softmax
from engine.run import Run
from engine.scoring import probe
from engine.scoring.baselines import fit_baselines
from engine.scoring.probe import UNSEEN, Linear, at_pixels, fit_probe, logistic_regression
from models import halves
from train import train

pytestmark = pytest.mark.usefixtures("quick_forest", "tiny_encoder")


def test_a_map_at_pixels_by_hand():
    """One value to two pixels: the pixels' centres lie a quarter before and behind the values' centres."""
    values = np.array([[[0.0], [4.0]], [[8.0], [12.0]]])
    pixels = np.array([[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [3, 3], [2, 1]])
    expected = [0, 1, 3, 4, 2, 12, 7]  # at the border the last value
    np.testing.assert_allclose(at_pixels(values, pixels, 2)[:, 0], expected)


def test_logits_of_each_scale_upsampled_are_those_of_upsampled_features(world):  # noqa: F811
    """At every pixel the network that predicts gives what the regression gives on features as it was fitted on."""
    encoder, _ = halves(built(world))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 96, 3)).astype(np.uint8)
    maps = [one.numpy()[0] for one in encoder(image[None], training=False)]
    kernel = rng.normal(size=(sum(one.shape[-1] for one in maps), 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    pixels = np.argwhere(np.ones((64, 96), bool))
    steps = zip(maps, (2, 4, 8, 16, 32), strict=True)
    features = np.concatenate([at_pixels(one, pixels, step) for one, step in steps], 1)
    logits = Linear(encoder, kernel, bias)(image[None], training=False).numpy()
    np.testing.assert_allclose(logits.reshape(-1, 3), features @ kernel + bias, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 3]])
def test_the_kernel_is_scikit_learns_on_standardised_features(labels):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    truth = rng.choice(labels, 300)
    features = (rng.normal(size=(300, 4)) + truth[:, None] * [3.0, 0, 0, 1]) * [100.0, 1, 0, 0.01] + 7
    kernel, bias = logistic_regression(features.astype(np.float32), truth, 4)
    scaled = StandardScaler().fit_transform(features.astype(np.float32))
    expected = LogisticRegression(C=probe.STRENGTH, max_iter=300).fit(scaled, truth).predict_proba(scaled)
    ours = softmax(features.astype(np.float32) @ kernel + bias)
    np.testing.assert_allclose(ours[:, labels], expected, atol=1e-3)
    assert ours[:, [c for c in range(4) if c not in labels]].max() == 0, "a class that was not sampled is not predicted"


def test_one_class_alone_is_always_predicted():
    kernel, bias = logistic_regression(np.zeros((5, 2), np.float32), np.full(5, 1), 3)
    assert not kernel.any() and bias.tolist() == [UNSEEN, 0, UNSEEN]


@pytest.fixture(scope="module")
def planted(world, tmp_path_factory):  # noqa: F811
    """A run on images whose class is a planted feature: red is 20 left of some column, and 220 right of it."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    for index in range(10):
        column = rng.integers(16, 48)
        mask = np.broadcast_to(np.arange(64) >= column, (64, 64)).astype(np.uint8).copy()
        image = rng.integers(100, 110, (64, 64, 3)).astype(np.uint8)
        image[..., 0] = np.where(mask, 220, 20)
        mask[:4] = 255
        save(folder / f"d/images/{index}.png", image)
        save(folder / f"d/masks/{index}.png", mask)
    train(settings(world, "planted", data=folder / "d", runs_dir=folder, steps=2, frozen_steps=2, void=(255,)))
    return Run.open(folder / "planted")


def test_the_probe_finds_a_planted_feature_and_is_scored_beside_the_forest(planted):
    baselines = fit_baselines(planted)
    assert list(baselines) == ["all_background", "majority_class", "pixel_forest", "probe"]
    for pair in planted.split.test:
        image, mask = read_pair(pair, planted.encoding)
        predicted = baselines["probe"](image)
        assert predicted.shape == mask.shape and predicted.dtype == np.uint8
        assert (predicted == mask)[mask != VOID].mean() > 0.9
    again = fit_probe(planted)
    assert (again(image) == predicted).all(), "the same pixels with the same seed"


def test_pixels_are_drawn_evenly_and_never_from_void(planted, monkeypatch):
    monkeypatch.setattr(probe, "SAMPLED_PIXELS", 70)
    encoder, _ = halves(built(Path(planted.config["weights"]).parent))
    features, labels = probe.sampled(planted, encoder)
    count = len(planted.split.train)
    assert features.shape == (70 // count * count, 3 + 4 + 5 + 6 + 7) and set(labels) == {0, 1}


def test_crops_are_windows_of_what_the_image_has():
    """Of crops several; where the image is smaller than the tile it is mirrored, the mask is not."""
    image = np.arange(40 * 50 * 3).reshape(40, 50, 3).astype(np.float32)
    mask = np.zeros((40, 50), np.uint8)

    def load(index):
        return image, mask

    load.pairs = ["one"]
    rng = np.random.default_rng(0)
    seen = list(probe.windows(load, (32, 32), 4, rng))
    assert [(i.shape, m.shape) for i, m in seen] == [((32, 32, 3), (32, 32))] * 4
    assert len({float(i[0, 0, 0]) for i, _ in seen}) > 1
    [(whole, its_mask)] = probe.windows(load, (64, 64), 1, rng)
    assert whole.shape == (64, 64, 3) and its_mask.shape == (40, 50)
    np.testing.assert_array_equal(whole[:40, :50], image)


def test_without_weights_there_is_no_probe(world, planted, tmp_path, capsys):  # noqa: F811
    gone = Run(planted.path)
    gone.__dict__["config"] = planted.config | {"weights": str(tmp_path / "gone.weights.h5")}
    assert fit_probe(gone) is None
    assert "without the encoder's weights there is no probe" in capsys.readouterr().out
    for changes in ({"weights": "none"}, {"weights": None, "model": "unet"}):
        gone.__dict__["config"] = planted.config | changes
        assert fit_probe(gone) is None
