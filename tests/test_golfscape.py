"""The generated scenes: reproducible, and not to be solved by colour alone."""

import numpy as np
import pytest

from data_pipeline.colors import seen_over
from data_pipeline.command import UserError
from data_pipeline.importing.golfscape import CLASSES, Knobs, scene, write_scenes


def test_contract():
    made = scene((3, 1), Knobs(size=64))
    assert made.image.shape == (64, 64, 3) and made.image.dtype == np.uint8
    assert set(np.unique(made.trees)) == {0, 1}
    assert 0 <= made.label < 4
    assert set(np.unique(made.target)) == {0, made.label + 1}
    assert not (made.trees.astype(bool) & made.target.astype(bool)).any(), "no crown covers the green"


def test_seeds():
    first, again, other = scene(7), scene((7,)), scene((7, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert (first.image != other.image).any()


def test_noise_has_a_stream_of_its_own():
    quiet, loud = scene(7, Knobs(noise=0)), scene(7, Knobs(noise=20))
    assert (quiet.trees == loud.trees).all() and (quiet.target == loud.target).all()
    assert (quiet.image != loud.image).any()


def test_trees_and_green_have_sensible_sizes():
    scenes = [scene((0, i)) for i in range(40)]
    assert 0.06 < np.mean([s.trees.mean() for s in scenes]) < 0.2
    assert all(0.05 < (s.target > 0).mean() < 0.2 for s in scenes)
    assert {s.label for s in scenes} == {0, 1, 2, 3}


def test_colors_overlap():
    """The best threshold on any one channel is a poor tree detector."""
    scenes = [scene((0, i)) for i in range(20)]
    pixels = np.concatenate([s.image.reshape(-1, 3) for s in scenes])
    trees = np.concatenate([s.trees.ravel() for s in scenes]).astype(bool)
    for channel in range(3):
        for threshold in range(20, 240, 5):
            found = pixels[:, channel] < threshold
            iou = (found & trees).sum() / max(1, (found | trees).sum())
            assert iou < 0.4


def test_the_colour_of_the_trees_is_seen_on_them():
    scenes = [scene((0, i)) for i in range(8)]
    colors = tuple(tuple(entry["color"]) for entry in CLASSES["classes"])
    assert seen_over([(s.image, s.trees) for s in scenes], colors) == colors


def test_writing_is_all_or_nothing(tmp_path):
    write_scenes(tmp_path / "g", count=3, knobs=Knobs(size=32))
    assert len(list((tmp_path / "g/images").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["g"]
    with pytest.raises(UserError, match="exists"):
        write_scenes(tmp_path / "g", count=3)
