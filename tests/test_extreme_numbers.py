"""Numbers that are allowed by their type and make no sense, or none in float32."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from data_pipeline.command import UserError
from data_pipeline.files import read_image
from data_pipeline.inspection import findings_on_split
from data_pipeline.pixel_range import refuse_immeasurable
from engine.config import ClassifierConfig, EvaluateConfig, TrainConfig


@pytest.mark.parametrize(
    ("value", "words"),
    [(1e300, r"values up to 1e\+300, beyond float32's"), (1e-300, "no value above 1e-300, below float32's")],
)
def test_float64_beyond_float32_is_refused_with_the_reason(tmp_path, value, words):
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 9), value))
    with pytest.raises(UserError, match=words):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("low", "high"), [(0, 1e-40), (-3.4e38, 3.4e38)])
def test_a_range_that_float32_cannot_scale_is_refused(low, high):
    refuse_immeasurable(np.array([0.0, -1e30]), np.array([1e-37, 1e30]))
    with pytest.raises(UserError, match=r"channel 1 spans .* multiply the images"):
        refuse_immeasurable(np.array([0.0, low]), np.array([1.0, high]))


@pytest.mark.parametrize("config", [TrainConfig(), ClassifierConfig(data="d"), EvaluateConfig(runs=("r",))])
def test_a_batch_that_nothing_holds_is_refused(config):
    config.checked()
    with pytest.raises(UserError, match="--batch-size 1000000000: at most 4,096"):
        dataclasses.replace(config, batch_size=10**9).checked()


def test_validation_masks_without_a_label_are_refused():
    data = SimpleNamespace(class_pixels=lambda pairs: np.array(pairs), encoding=SimpleNamespace(names=("a", "b")))
    split = SimpleNamespace(train=[5, 5], val=[0, 0], test=[1, 1])
    assert [finding.kind for finding in findings_on_split(data, split)] == ["nothing-to-validate"]
    assert not findings_on_split(data, SimpleNamespace(train=[5, 5], val=[1, 0], test=[1, 1]))
