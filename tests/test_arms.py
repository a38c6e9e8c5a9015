"""The study's arms: one network, the same images in the same order, few pixels carried exactly, scores by hand."""

import itertools

import keras
import numpy as np
import pytest

from data_pipeline.encoding import VOID
from data_pipeline.weights import weight_table
from study.arms import ARMS, Images, batches, class_weights, few_pixels, score_on, trained
from study.scenes import scene

K, WIDTH = 4, 4


@pytest.fixture(scope="module")
def images() -> Images:
    drawn = [scene(0, 0, i) for i in range(24)]
    return Images(*(np.stack([getattr(one, name) for one in drawn]) for name in ("image", "mask", "label")))


def test_masks_and_labels_train_as_many_weights():
    s, c, e = (ARMS[name].build(48, K, WIDTH) for name in "SCE")
    assert [w.shape for w in s.trainable_weights] == [w.shape for w in c.trainable_weights]
    path = [w.shape for layer in s.layers if layer.name.startswith(("down", "bottom")) for w in layer.trainable_weights]
    assert [w.shape for w in e.trainable_weights] == [*path, (WIDTH * 16, K), (K,)]


def test_the_image_label_is_the_mean_of_the_pixels_logits(images):
    s, c = (ARMS[name].build(48, K, WIDTH) for name in "SC")
    c.set_weights(s.get_weights())
    pixels = s.predict_on_batch(images.images[:3])
    assert c.predict_on_batch(images.images[:3]) == pytest.approx(pixels.mean((1, 2))[:, 1:], abs=1e-5)


def test_arms_begin_with_the_same_weights():
    weights = []
    for name in "SCE":
        keras.utils.set_random_seed(3)
        weights.append(ARMS[name].build(48, K, WIDTH).get_weights())
    for ours, theirs in zip(weights[0], weights[1], strict=True):
        assert np.array_equal(ours, theirs)
    path = weights[2][:-2]  # without the dense layer
    assert len(path) > 20 and all(np.array_equal(a, b) for a, b in zip(weights[0], path, strict=False))


def test_every_pass_shows_each_image_once_with_its_own_label_and_mask(images):
    for seed in (0, 1):
        parts = list(itertools.islice(batches(images, seed, 8), 6))
        for one_pass in (parts[:3], parts[3:]):
            labels = np.concatenate([part.labels for part in one_pass])
            assert np.array_equal(np.bincount(labels, minlength=K), np.bincount(images.labels, minlength=K))
        for part in parts:
            assert [mask.max() - 1 for mask in part.masks] == part.labels.tolist()
        again = list(itertools.islice(batches(images, seed, 8), 6))
        assert all(np.array_equal(a, b) for one, two in zip(parts, again, strict=True) for a, b in zip(one, two))  # noqa: B905
        assert any(not np.array_equal(a.images, b.images) for a, b in zip(parts[:3], parts[3:], strict=True))


@pytest.mark.parametrize("count", [1, 4, 16, 65])
def test_few_pixels_are_counted_on_both_sides(images, count):
    kept = few_pixels(images.masks, count, seed=5)
    for mask, few in zip(images.masks, kept, strict=True):
        labelled = few != VOID
        assert labelled.sum() == count and np.array_equal(few[labelled], mask[labelled])
        assert (mask[labelled] > 0).sum() in (count // 2, count - count // 2)
    assert np.array_equal(kept, few_pixels(images.masks, count, seed=5))
    assert not np.array_equal(kept, few_pixels(images.masks, count, seed=6))


def test_fewer_pixels_are_among_more(images):
    one, four, many = (few_pixels(images.masks, count, seed=0) != VOID for count in (1, 4, 64))
    assert (four & ~many).sum() == 0 and (one & ~many).sum() == 0
    ones = few_pixels(np.repeat(images.masks[:1], 200, axis=0), 1, seed=0)
    assert 60 < (ones != VOID)[:, images.masks[0] > 0].sum() < 140  # a coin says which side


def test_augmentation_neither_drops_nor_doubles_a_labelled_pixel(images):
    sparse = images._replace(masks=few_pixels(images.masks, 16, seed=0))
    for part in itertools.islice(batches(sparse, 0, 8), 12):
        assert ((part.masks != VOID).sum((1, 2)) == 16).all() and ((part.masks > 0) & (part.masks < VOID)).any()
        for image, mask in zip(part.images, part.masks, strict=True):
            seen = {tuple(pixel) for pixel in image[mask != VOID]}
            source = [i[m != VOID] for i, m in zip(sparse.images, sparse.masks, strict=True)]
            assert any(seen == {tuple(pixel) for pixel in pixels} for pixels in source)


def test_more_pixels_than_there_are_is_refused(images):
    with pytest.raises(ValueError, match="image 0 has 2304 labelled pixels, 2305 are wanted"):
        few_pixels(images.masks, 48 * 48 + 1, seed=0)
    assert np.array_equal(few_pixels(images.masks, 48 * 48, seed=0), images.masks)


def test_where_one_side_has_too_few_pixels_the_other_gives_more():
    masks = np.full((1, 4, 4), 2, np.uint8)
    masks[0, 0, :3] = 0, 0, VOID
    kept = few_pixels(masks, 10, seed=0)[0]
    assert (kept == 0).sum() == 2 and (kept == 2).sum() == 8 and kept[0, 2] == VOID


def test_class_weights_by_hand():
    mask = np.array([[[0, 0, 0, 1], [0, 0, 0, VOID]]], np.uint8)
    weights = class_weights(mask, 3)
    assert weights == pytest.approx([7 / (2 * 6), 7 / (2 * 1), 0])
    weighed = weight_table(weights)[mask]
    assert weighed.sum() == pytest.approx(7) and weighed[0, 1, 3] == 0


class Painter:
    """A network that knows the masks, and sees one of them wrongly."""

    def __init__(self, images: Images):
        self.images = images

    def predict_on_batch(self, images):
        masks = self.images.masks[[np.flatnonzero((self.images.images == one).all((1, 2, 3)))[0] for one in images]]
        masks[0][masks[0] > 0] = (self.images.labels[0] + 1) % K + 1
        return 20 * np.eye(K + 1, dtype=np.float32)[masks]


def test_scores_by_hand(images):
    found = score_on("S", Painter(images), images)
    wrong, of_its_class = images.labels[0], np.bincount(images.labels)[images.labels[0]]
    assert found["accuracy"] == pytest.approx(1 - 1 / of_its_class / K)
    area = (images.masks[0] > 0).sum()
    own = (images.masks == wrong + 1).sum()
    other = (images.masks == (wrong + 1) % K + 1).sum()
    expected = (3 + (own - area) / own + other / (other + area)) / 5
    assert found["miou"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["S", "E"])
def test_it_learns_and_does_so_again_alike(images, arm):
    settings = {"rate": 0.003, "seed": 1, "width": WIDTH}
    short, long, again = (trained(arm, images, steps=n, **settings) for n in (20, 80, 80))
    assert long[1]["loss"] < 0.9 * short[1]["loss"] and long[1] == again[1]
    scores = score_on(arm, long[0], images)
    assert scores == score_on(arm, again[0], images)
    assert (scores["miou"] is None) == (arm == "E")
