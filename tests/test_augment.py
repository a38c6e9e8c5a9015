"""Augmentation: image and mask move together, labels stay labels, one seed is one result."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_pipeline.augment import PRESETS, Policy, augment, preset
from data_pipeline.encoding import VOID
from engine.config import TrainConfig

policies = st.builds(
    preset,
    st.sampled_from(sorted(PRESETS)),
    st.sampled_from(["none", "horizontal", "d4"]),
    crop=st.none() | st.tuples(st.integers(8, 70), st.integers(8, 70)),
    margin=st.sampled_from([0, 0, 5]),
)
sizes = st.tuples(st.integers(12, 80), st.integers(12, 80))


def random_pair(size, seed, labels=(0, 1, 2, VOID)):
    rng = np.random.default_rng(seed)
    blocks = rng.choice(np.array(labels, np.uint8), (5, 6))
    mask = cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST)
    return rng.integers(0, 256, (*size, 3)).astype(np.uint8), mask


@settings(deadline=None, max_examples=150)
@given(sizes, policies, st.integers(0, 2**40))
def test_labels_dtypes_and_shapes(size, policy, seed):
    image, mask = random_pair(size, seed % 1000)
    before = image.copy(), mask.copy()
    new_image, new_mask = augment(image, mask, seed, policy)
    height, width = policy.crop or size
    assert new_mask.shape == (height, width)
    assert new_image.shape == (height + 2 * policy.margin, width + 2 * policy.margin, 3)
    assert (new_image.dtype, new_mask.dtype) == (np.uint8, np.uint8)
    assert set(np.unique(new_mask)) <= set(np.unique(mask)) | {VOID}
    assert (image == before[0]).all() and (mask == before[1]).all(), "the inputs are left alone"


@settings(deadline=None, max_examples=50)
@given(sizes, policies, st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)))
def test_same_seed_same_bytes(size, policy, seed):
    image, mask = random_pair(size, 0)
    first, again = augment(image, mask, seed, policy), augment(image, mask, seed, policy)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_another_index_another_draw():
    image, mask = random_pair((64, 64), 0)
    made = {augment(image, mask, (0, 0, i), PRESETS["standard"])[0].tobytes() for i in range(50)}
    assert len(made) == 50


@settings(deadline=None, max_examples=200)
@example("strong", "none", (0.71875, 0.71875), 1765, (112, 112), 7)
@given(
    st.sampled_from(["light", "standard", "strong"]),
    st.sampled_from(["none", "horizontal", "d4"]),
    st.tuples(st.floats(0.15, 0.85), st.floats(0.15, 0.85)),
    st.integers(0, 10**9),
    st.sampled_from([None, (64, 64), (48, 80), (112, 112)]),
    st.sampled_from([0, 7]),
)
def test_image_and_mask_move_together(name, symmetry, place, seed, crop, margin):
    """A disc painted into both has its centre at one place in both, within a pixel."""
    size = (96, 112)
    center = (int(place[1] * size[1]), int(place[0] * size[0]))
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, center, 7, 1, -1)
    image = np.repeat(mask[..., None] * np.uint8(200), 3, -1)
    geometry = replace(
        preset(name, symmetry, crop, margin),
        **dict.fromkeys(("brightness", "contrast", "gamma", "saturation", "hue", "blur", "noise"), 0.0),
    )
    new_image, new_mask = augment(image, mask, seed, geometry)
    seen = new_image[margin : margin + new_mask.shape[0], margin : margin + new_mask.shape[1], 0] > 100
    # Mirrored copies beyond the border are void in the mask and do not count.
    ys, xs = np.nonzero(seen & (new_mask != VOID))
    mask_ys, mask_xs = np.nonzero(new_mask == 1)
    if len(mask_ys) > 20:
        assert abs(ys.mean() - mask_ys.mean()) < 1 and abs(xs.mean() - mask_xs.mean()) < 1
        disagree = (seen != (new_mask == 1)) & (new_mask != VOID)
        # The frame's rim counts as outline: the shape's own may lie just beyond it.
        shape = (new_mask == 1).astype(np.uint8)
        core = cv2.erode(shape, np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        edge = cv2.dilate(shape, np.ones((3, 3))) - core
        assert not (disagree & (edge == 0)).any(), "they differ at the outline alone"


@pytest.mark.parametrize("symmetry", ["none", "horizontal", "d4"])
def test_symmetries_are_exact(symmetry):
    image, mask = random_pair((24, 24), 1)
    policy = Policy(symmetry=symmetry)
    made = {augment(image, mask, i, policy)[0].tobytes() for i in range(200)}
    mirrors = [image] if symmetry == "none" else [image, image[:, ::-1]]
    turns = 4 if symmetry == "d4" else 1
    allowed = {np.ascontiguousarray(np.rot90(one, k)).tobytes() for one in mirrors for k in range(turns)}
    assert made == allowed
    for i in range(50):
        new_image, new_mask = augment(np.repeat(mask[..., None], 3, -1), mask, i, policy)
        assert (new_image[..., 0] == new_mask).all()


def test_quarter_turns_need_a_square_frame():
    image, mask = random_pair((20, 30), 1)
    made = {augment(image, mask, i, Policy(symmetry="d4"))[0].tobytes() for i in range(100)}
    mirrors = (image, image[:, ::-1])
    assert made == {np.ascontiguousarray(np.rot90(one, k)).tobytes() for one in mirrors for k in (0, 2)}


def test_none_changes_nothing():
    image, mask = random_pair((33, 20), 2)
    for seed in range(10):
        new_image, new_mask = augment(image, mask, seed, preset("none", "d4"))
        assert (new_image == image).all() and (new_mask == mask).all()


def test_a_crop_is_a_part_of_the_image():
    mask = np.zeros((40, 50), np.uint8)
    image = np.dstack([*np.meshgrid(np.arange(50), np.arange(40)), np.zeros((40, 50))]).astype(np.uint8)
    seen = set()
    for seed in range(60):
        part, _ = augment(image, mask, seed, Policy(crop=(16, 12)))
        left, top = part[0, 0, :2]
        assert (part == image[top : top + 16, left : left + 12]).all()
        seen.add((top, left))
    assert len(seen) > 30


def test_a_small_image_stays_inside_a_large_crop():
    image, mask = random_pair((40, 30), 5, labels=(0, 1))
    kept = [
        (augment(image, mask, seed, preset("standard", "d4", crop=(256, 256)))[1] != VOID).mean() * 256**2 / mask.size
        for seed in range(100)
    ]
    assert np.mean(kept) > 0.75 and min(kept) > 0.4


def test_crops_prefer_foreground():
    mask = np.zeros((200, 200), np.uint8)
    mask[150:154, 20:24] = 1
    image = np.zeros((200, 200, 3), np.uint8)

    def share(foreground):
        policy = Policy(crop=(32, 32), foreground=foreground)
        return np.mean([(augment(image, mask, seed, policy)[1] == 1).any() for seed in range(300)])

    assert share(0.0) < 0.1
    assert 0.42 < share(0.5) < 0.65
    assert share(1.0) == 1.0


def test_rare_classes_are_met_as_often_as_common_ones():
    mask = np.zeros((200, 200), np.uint8)
    mask[:100, :100] = 1
    mask[195:, 195:] = 2
    image = np.zeros((200, 200, 3), np.uint8)
    policy = Policy(crop=(32, 32), foreground=1.0)
    rare = np.mean([(augment(image, mask, seed, policy)[1] == 2).any() for seed in range(300)])
    assert 0.4 < rare < 0.6


def test_outside_is_void_in_the_mask_and_mirrored_in_the_image():
    image, mask = random_pair((20, 20), 3, labels=(0, 1))
    new_image, new_mask = augment(image, mask, 0, Policy(crop=(32, 24)))
    assert (new_mask[:20, :20] == mask).all()
    assert (new_mask[20:] == VOID).all() and (new_mask[:, 20:] == VOID).all()
    assert (new_image == cv2.copyMakeBorder(image, 0, 12, 0, 4, cv2.BORDER_REFLECT_101)).all()


@pytest.mark.parametrize("field", ["brightness", "contrast", "gamma", "saturation", "hue", "blur", "noise"])
def test_each_change_of_light_changes_the_image_alone(field):
    image, mask = random_pair((32, 32), 4)
    policy = Policy(**{field: getattr(PRESETS["strong"], field)})
    results = [augment(image, mask, seed, policy) for seed in range(20)]
    assert all((new_mask == mask).all() for _, new_mask in results)
    assert any((new_image != image).any() for new_image, _ in results)


@pytest.mark.parametrize("field", ["rotation", "scale", "shift", "shear", "elastic"])
def test_each_geometric_change_moves_the_mask(field):
    image, mask = random_pair((64, 64), 4)
    policy = Policy(**{field: getattr(PRESETS["strong"], field)})
    assert sum((augment(image, mask, seed, policy)[1] != mask).any() for seed in range(10)) > 5


def test_elastic_displacements_have_the_papers_size():
    """U-Net 2015, section 3.1: σ = 10 pixels on images of 512."""
    size = 512
    ramp = np.linspace(0, 255, size, dtype=np.float32)
    image = np.repeat(np.tile(ramp, (size, 1))[..., None], 3, -1).astype(np.uint8)
    mask = np.zeros((size, size), np.uint8)
    moved = []
    for seed in range(30):
        new_image, _ = augment(image, mask, seed, Policy(elastic=0.02))
        middle = np.s_[100:412, 100:412]
        moved.append((new_image[middle][..., 0].astype(float) - image[middle][..., 0]) * size / 255)
    assert 5 < np.std(moved) < 14


def maps_drawn(policy: Policy, draws: int = 150) -> np.ndarray:
    """The affine maps output → source that ``draws`` seeds give, (N, 2, 3) on x, y, 1 from the image's middle.

    Each is read off an image whose two channels hold its own coordinates, as shares of its width and height.
    """
    size, middle = 65, np.s_[22:43, 22:43]
    along = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    image = np.dstack(np.meshgrid(along, along))
    policy = replace(policy, low=(0.0, 0.0), high=(1.0, 1.0))
    known = np.column_stack([image[middle].reshape(-1, 2), np.ones(21 * 21)])
    mask = np.zeros((size, size), np.uint8)
    made = (augment(image, mask, seed, policy)[0][middle].reshape(-1, 2) for seed in range(draws))
    return np.stack([np.linalg.lstsq(known, seen, rcond=None)[0].T for seen in made])


def assert_uniform(drawn, reach: float) -> None:
    """These draws fill ± reach evenly, and nothing beyond but for rounding."""
    assert np.abs(drawn).max() == pytest.approx(reach, rel=0.05)
    assert np.std(drawn) == pytest.approx(reach / 3**0.5, rel=0.15) and abs(np.mean(drawn)) < 0.15 * reach


@pytest.mark.parametrize("name", ["light", "standard", "strong"])
def test_geometry_is_drawn_within_the_presets_range(name):
    policy = PRESETS[name]
    turned = maps_drawn(Policy(rotation=policy.rotation))
    assert_uniform(np.degrees(np.arctan2(turned[:, 1, 0], turned[:, 0, 0])), policy.rotation)
    scaled = maps_drawn(Policy(scale=policy.scale))
    assert_uniform(np.log(scaled[:, 0, 0]), np.log(1 + policy.scale))
    np.testing.assert_allclose(scaled[:, 0, 0], scaled[:, 1, 1], rtol=0.01)
    shifted = maps_drawn(Policy(shift=policy.shift))[..., 2]
    assert_uniform(shifted * 64 / 65, policy.shift)  # 65 pixels are 64 steps from the first one's centre to the last's
    if policy.shear:
        assert_uniform(np.degrees(np.arctan(maps_drawn(Policy(shear=policy.shear))[:, 0, 1])), policy.shear)


def recolored(policy: Policy, image: np.ndarray, draws: int = 300) -> np.ndarray:
    """What ``draws`` seeds make of an image, float64 (N, H, W, C)."""
    mask = np.zeros(image.shape[:2], np.uint8)
    return np.stack([augment(image, mask, seed, policy)[0] for seed in range(draws)]).astype(float)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("name", ["light", "standard", "strong"])
def test_light_is_drawn_within_the_presets_range(name, dtype):
    """Brightness moves all levels alike, contrast turns them about mid-grey, gamma holds black and white."""
    policy = PRESETS[name]
    image = np.repeat(np.arange(256, dtype=dtype).reshape(16, 16, 1), 3, 2)
    level = np.arange(256) / 255
    scale = {"low": (0.0,) * 3, "high": (255.0,) * 3}

    def curves(**change):
        return recolored(Policy(**change, **scale), image)[..., 0].reshape(-1, 256) / 255

    middle = np.s_[:, 108:149]  # levels that neither black nor white cuts off
    brighter = curves(brightness=policy.brightness)[middle] - level[108:149]
    assert np.ptp(brighter, axis=1).max() < 0.01
    assert_uniform(brighter.mean(1), policy.brightness)
    slope, at_grey = np.polyfit(level[108:149] - 0.5, curves(contrast=policy.contrast)[middle].T, 1)
    assert_uniform(slope - 1, policy.contrast)
    np.testing.assert_allclose(at_grey, 0.5, atol=0.003)
    if policy.gamma:
        gamma = curves(gamma=policy.gamma)
        np.testing.assert_allclose(gamma[:, [0, 255]], [[0, 1]] * 300, atol=1e-6)
        assert_uniform(np.log(np.log(gamma[:, 128]) / np.log(level[128])), np.log(1 + policy.gamma))


@pytest.mark.parametrize("name", ["standard", "strong"])
def test_colour_is_drawn_within_the_presets_range(name):
    """Hue turns, saturation stretches what is left of a colour without its grey; the grey stays."""
    policy = PRESETS[name]
    image = np.full((1, 1, 3), (150, 110, 100), np.uint8)
    chroma = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    before = np.array([1, 1j]) @ chroma @ image[0, 0]
    turned, stretched = (
        recolored(Policy(**{field: getattr(policy, field)}), image)[:, 0, 0] for field in ("hue", "saturation")
    )
    angles = np.degrees(np.angle([1, 1j] @ chroma @ turned.T / before))
    assert np.abs(angles).max() == pytest.approx(policy.hue, rel=0.2)
    assert np.abs([1, 1j] @ chroma @ stretched.T / before - 1).max() == pytest.approx(policy.saturation, rel=0.15)
    grey = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(np.concatenate([turned, stretched]) @ grey, image[0, 0] @ grey, atol=1)


@pytest.mark.parametrize("name", ["standard", "strong"])
def test_blur_and_noise_are_drawn_within_the_presets_range(name):
    policy = PRESETS[name]
    noise = recolored(Policy(noise=policy.noise), np.full((24, 24, 3), 128, np.uint8)).std((1, 2, 3))
    assert 0.4 < (noise > 0).mean() < 0.6
    assert noise.max() == pytest.approx(policy.noise, rel=0.1)
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1000
    blurred = recolored(Policy(blur=policy.blur, low=(0.0,) * 3, high=(1.0,) * 3), point)[..., 0].sum(1) / 1000
    sigma = np.sqrt((blurred * (np.arange(41) - 20) ** 2).sum(1))
    assert 0.12 < (sigma > 0).mean() < 0.28
    assert sigma.max() == pytest.approx(policy.blur, rel=0.1)


def test_the_default_augmentation_is_what_was_measured():
    """docs/results.md: of all settings that were tried, light augmentation alone stood out."""
    measured = Policy(scale=0.1, shift=0.05, rotation=5, brightness=0.05, contrast=0.1)
    assert PRESETS[TrainConfig().augment] == measured
