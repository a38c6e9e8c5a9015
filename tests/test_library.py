"""Use from Python, outside of the scripts: what a Keras user may do wrong is right anyway, or refused."""

import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import ROOT, make_folder, shapes

import data_pipeline
import engine
import models
from data_pipeline import UserError, preset
from data_pipeline.augment import augment
from engine import MeanIoU, PixelLoss, load_predictor

LABELS = np.array([[[0, 1, 255, 255]]], np.uint8)
LOGITS = np.log(np.array([[[[3, 1], [1, 1], [1, 4], [9, 1]]]], np.float32))  # p of class 0: 0.75, 0.5, 0.2, 0.9
CROSS_ENTROPY = -(np.log(0.75) + np.log(0.5)) / 2  # of the two pixels that are labelled


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_light_is_not_varied_in_a_range_that_nobody_named(dtype):
    image, mask = shapes(0)
    image = (image / 255).astype(dtype)
    with pytest.raises(ValueError, match=re.escape("which value is black and which is white")):
        augment(image, mask, 0, preset("light", "horizontal"))
    named = replace(preset("light", "horizontal"), low=(0,), high=(1,))
    made = [augment(image, mask, seed, named)[0] for seed in range(20)]
    assert all(one.dtype == dtype and one.min() > -0.2 and one.max() < 1.2 for one in made)


def test_an_image_over_255_varies_as_the_image_itself_does():
    image, mask = shapes(0)
    policy = preset("light", "horizontal")
    deep = augment((image / 255).astype(np.float32), mask, 3, replace(policy, low=(0,), high=(1,)))[0]
    assert np.abs(np.clip(deep, 0, 1) * 255 - augment(image, mask, 3, policy)[0]).max() < 2


def test_geometry_alone_needs_no_range():
    image, mask = shapes(0)
    unit = (image / 255).astype(np.float32)
    made = augment(unit, mask, 3, preset("tiramisu", "horizontal", crop=(32, 32)))[0]
    assert made.tobytes() in (unit.tobytes(), unit[:, ::-1].tobytes())


def test_void_weighs_nothing_by_default():
    assert float(PixelLoss("ce")(LABELS, LOGITS)) == pytest.approx(CROSS_ENTROPY, abs=1e-6)
    assert float(PixelLoss("ce")(LABELS, LOGITS, np.array([2.0]))) == pytest.approx(CROSS_ENTROPY, abs=1e-6)
    weight = np.array([[[3, 1, 0, 0]]], np.float32)
    weighted = -(3 * np.log(0.75) + np.log(0.5)) / 4
    assert float(PixelLoss("ce")(LABELS, LOGITS, weight)) == pytest.approx(weighted, abs=1e-6)


@pytest.mark.parametrize("name", ["ce", "focal", "dice", "jaccard_per_image", "lovasz", "ce+dice"])
def test_masks_with_a_channel(name):
    """Keras's own losses take (B, H, W, 1)."""
    weight = np.array([[[3, 1, 0, 0]]], np.float32)
    for weights in (None, weight):
        with_channel = None if weights is None else weights[..., None]
        flat = float(PixelLoss(name)(LABELS, LOGITS, weights))
        assert float(PixelLoss(name)(LABELS[..., None], LOGITS, with_channel)) == flat
        assert float(PixelLoss(name)(LABELS[..., None], LOGITS, weights)) == flat


def test_compiled_as_a_keras_user_would():
    """Masks (B, H, W, 1) with void, no weights: loss and score are those of the labelled pixels, as Keras's own are."""
    inputs = keras.Input((1, 4, 2))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    ours = PixelLoss("ce")
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    for loss in (ours, theirs):
        model.compile(loss=loss, metrics=[MeanIoU(2)])
        scores = model.evaluate(LOGITS, LABELS[..., None], verbose=0, return_dict=True)
        assert scores["loss"] == pytest.approx(CROSS_ENTROPY, abs=1e-5)
        assert scores["miou"] == pytest.approx(0.25)  # both are called 0: IoU 1/2 and 0


def test_what_keras_users_must_know_is_in_the_documents():
    page = (ROOT / "docs/library.md").read_text(encoding="utf-8")
    for words in ("ignore_class=255", "load_predictor(", "low=(0,), high=(1,)", "import models"):
        assert words in page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from test_evaluate import make_run

    folder = tmp_path_factory.mktemp("library")
    return make_run(make_folder(folder / "data", 12), folder / "runs", "first")


def test_three_lines_from_a_run_to_a_mask(run):
    """Of an array of any size; network and threshold are those of make_run: green above 100 is foreground."""
    predict = load_predictor(run)
    for size in ((7, 9), (33, 50), (90, 1300), (1100, 1000)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
        mask = predict(image)
        assert mask.dtype == np.uint8 and mask.shape == size
        assert ((mask == 1) == (image[..., 1] > 100)).mean() > 0.99


@pytest.mark.parametrize("wrong", [np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)])
def test_an_array_of_another_kind_is_refused(run, wrong):
    with pytest.raises(UserError, match="trained on uint8"):
        load_predictor(run)(wrong)


@pytest.mark.parametrize("package", [engine, models, data_pipeline])
def test_public_names_are_there_and_explained(package):
    for name in package.__all__:
        value = getattr(package, name)
        assert not callable(value) or (value.__doc__ and not value.__doc__.startswith(f"{name}(")), name
    assert not hasattr(package, "no_such_name")
