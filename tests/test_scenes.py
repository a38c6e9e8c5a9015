"""The study's scenes: what each knob changes and leaves, where the class stands, and that nothing else tells it."""

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from data_pipeline.label_bits import mask_bits
from study.scenes import MARKER, Knobs, draw_background, scene, texture, world

K = 4
FAR = Knobs(cue="key", distance=8)


def away(mask: np.ndarray) -> np.ndarray:
    """Of each pixel, the distance to the target."""
    return cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def changed(knobs: Knobs, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Where an image is another if its class is; and its distance to the target."""
    first, second = scene(0, 0, i, knobs, label=0), scene(0, 0, i, knobs, label=1)
    return (first.image != second.image).any(-1), away(first.mask)


def test_a_scene_is_the_same_again_and_others_differ():
    first, again = scene(3, 1, 7), scene(3, 1, 7)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert first.image.shape == (48, 48, 3) and first.image.dtype == first.mask.dtype == np.uint8
    for other in (scene(3, 1, 8), scene(3, 0, 7), scene(4, 1, 7)):
        assert not np.array_equal(first.image, other.image)


def test_a_scene_holds_one_target_of_its_class():
    scenes = [scene(0, 0, i) for i in range(200)]
    for one in scenes:
        assert set(np.unique(one.mask)) == {0, one.label + 1}
        assert 0.05 < (one.mask > 0).mean() < 0.2
    assert np.bincount([one.label for one in scenes], minlength=K).min() > 30


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(rho=0.95),
        Knobs(snr=3),
        Knobs(hue_jitter=20),
        Knobs(decoys=0),
        Knobs(cue="key"),
        FAR,
    ],
)
def test_knobs_leave_mask_and_label_as_they_are(knobs):
    for i in range(20):
        plain, turned = scene(1, 0, i), scene(1, 0, i, knobs)
        assert np.array_equal(plain.mask, turned.mask) and plain.label == turned.label


def test_each_knob_changes_its_own_part_alone():
    for i in range(20):
        plain = scene(1, 0, i, Knobs(decoys=0))
        on_target, differs = plain.mask > 0, lambda knobs: (scene(1, 0, i, knobs).image != plain.image).any(-1)  # noqa: B023
        assert not differs(Knobs(decoys=3))[on_target].any()
        loud = differs(Knobs(decoys=0, snr=4))
        assert loud[on_target].any() and not loud[~on_target].any()


@pytest.mark.parametrize("distance", [4, 8, 12])
def test_what_sees_less_than_the_distance_around_the_target_sees_no_class(distance):
    for i in range(40):
        where, distances = changed(Knobs(cue="key", distance=distance), i)
        assert where.any() and distances[where].min() >= distance
        assert distances[where].min() < distance + 2 * MARKER + 3


@pytest.mark.parametrize("knobs", [Knobs(cue="texture"), Knobs(cue="key")])
def test_the_class_stands_on_the_target_alone(knobs):
    for i in range(40):
        where, distances = changed(knobs, i)
        assert where.any() and distances[where].max() == 0


def test_the_shape_is_the_class_where_it_is_the_cue():
    """Lobes: the strongest wave of the outline's radius, counted by a Fourier series."""
    told = []
    for i in range(60):
        one = scene(0, 0, i, Knobs(cue="shape", raggedness=0.05, size=96))
        y, x = np.nonzero(one.mask)
        down, across = y - y.mean(), x - x.mean()
        angle, radius = np.arctan2(down, across), np.hypot(down, across)
        sectors = ((angle + np.pi) / (2 * np.pi) * 64).astype(int).clip(0, 63)
        outline = np.array([radius[sectors == sector].max(initial=0) for sector in range(64)])
        told.append(np.abs(np.fft.rfft(outline))[2 : K + 2].argmax() == one.label)
    assert np.mean(told) > 0.9


def test_masks_hold_the_same_bits_at_every_distance():
    bits = {mask_bits(scene(0, 0, i, Knobs(cue="key", distance=d)).mask for i in range(20)) for d in (0, 4, 8)}
    assert len(bits) == 1


@pytest.mark.parametrize("rho", [-1 / (K - 1), 0.0, 0.5, 0.95, 1.0])
def test_the_background_agrees_with_the_class_as_often_as_rho_says(rho):
    rng, expected = np.random.default_rng(0), rho + (1 - rho) / K
    agrees = np.mean([draw_background(i % K, Knobs(rho=rho), rng) == i % K for i in range(8000)])
    assert agrees == pytest.approx(expected, abs=4 * np.sqrt(max(expected * (1 - expected), 0) / 8000) + 1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.95])
def test_the_background_tells_the_class_only_where_rho_ties_them(rho):
    knobs = Knobs(rho=rho)

    def colors(part, count):
        scenes = [scene(2, part, i, knobs) for i in range(count)]
        seen = [np.concatenate([one.image[one.mask == 0].mean(0), one.image[one.mask == 0].std(0)]) for one in scenes]
        return np.array(seen), np.array([one.label for one in scenes])

    (train, labels), (test, truth) = colors(0, 300), colors(1, 300)
    right = (LogisticRegression(max_iter=3000).fit(train / 64, labels).predict(test / 64) == truth).mean()
    assert right < 1 / K + 0.1 if rho == 0 else right > 0.6


def test_the_texture_is_as_loud_as_snr_says():
    heights = [texture(5.0, np.ones(3), Knobs(snr=2.0), np.random.default_rng(i)).std() for i in range(20)]
    assert np.mean(heights) == pytest.approx(2 * 8, rel=0.05)
    for one in (world(0), world(1)):
        assert (one.flecks**2).mean(1) == pytest.approx(1) and one.flecks.sum(1) == pytest.approx(0)


def test_worlds_differ_and_their_classes_can_be_told():
    here, there = world(0), world(1)
    assert not np.allclose(here.grounds, there.grounds) and not np.allclose(here.markers, there.markers)
    for one in (here, there):
        assert apart(one.markers, one.markers)[~np.eye(K, dtype=bool)].min() > 60
        assert apart(one.flecks, one.flecks)[~np.eye(K, dtype=bool)].min() > 1.5


def test_a_sibling_world_has_other_images_and_textures():
    own, sibling = Knobs(), Knobs(sibling=True)
    here, there = world(0, own), world(0, sibling)
    assert apart(here.flecks, there.flecks).min() > 0.8 and not np.allclose(here.grounds, there.grounds)
    for i in range(5):
        assert not np.array_equal(scene(0, 0, i, own).mask > 0, scene(0, 0, i, sibling).mask > 0)
        assert not np.array_equal(scene(0, 1, i, own).mask > 0, scene(0, 0, i, sibling).mask > 0)


def apart(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.linalg.norm(some[:, None] - others[None], axis=-1)


def test_the_key_has_a_mask_of_its_own():
    for knobs in (Knobs(cue="key"), FAR):
        for i in range(20):
            one = scene(0, 0, i, knobs)
            where, _ = changed(knobs, i)
            assert set(np.unique(one.key)) == {0, one.label + 1} and not where[one.key == 0].any()
            assert (one.key > 0)[one.mask > 0].any() == (knobs.distance == 0)
    assert not scene(0, 0, 0).key.any()


@pytest.mark.parametrize("wrong", [{"cue": "smell"}, {"distance": -1}, {"rho": 1.2}, {"rho": -0.5}])
def test_knobs_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="cue"):
        Knobs(**wrong)


def test_a_distance_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="40 pixels from the target in 48×48"):
        scene(0, 0, 0, Knobs(cue="key", distance=40))
