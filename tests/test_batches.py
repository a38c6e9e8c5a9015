"""Batches: weights at void and padding, every pixel validated once, the same eagerly and inside tf.data."""

import subprocess
import sys
from functools import partial

import cv2
import numpy as np
import pytest
from conftest import ROOT, make_folder, save

from data_pipeline.augment import augment, preset
from data_pipeline.batches import named_files, training_batches, validation_batches, validation_windows
from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.inspection import inspect
from data_pipeline.labels import Photo
from data_pipeline.loader import Loader, PhotoLoader, window
from data_pipeline.pairs import find_pairs
from data_pipeline.photo_batches import held_out_photos, photo_batches
from data_pipeline.samples import SHUFFLE, place_of
from data_pipeline.weights import pixel_weights


def loader(folder, void=(), **options):
    pairs, _ = find_pairs(folder)
    return Loader(pairs, inspect(folder, pairs, void).encoding, **options)


def take(dataset, count):
    return [[part.numpy() for part in batch] for batch in dataset.take(count)]


ONES = partial(pixel_weights, class_weights=np.ones(2, np.float32))


def test_training_is_the_same_eagerly_and_inside_tf_data(tmp_path):
    load = loader(make_folder(tmp_path, 6))
    policy = preset("strong", "d4", crop=(24, 24))
    batches = take(training_batches(load, policy, ONES, seed=5, batch_size=2), 6)
    images = np.concatenate([batch[0] for batch in batches])
    masks = np.concatenate([batch[1] for batch in batches])
    for position in range(12):
        epoch, place = divmod(position, 6)
        index = int(np.random.default_rng([SHUFFLE, 5, epoch]).permutation(6)[place])
        assert place_of(position, 5, 6) == (epoch, index)
        image, mask = augment(*load(index), (5, epoch, index), policy)
        assert (images[position] == image).all() and (masks[position] == mask).all()


def test_an_epoch_holds_every_image_once(tmp_path):
    load = loader(make_folder(tmp_path, 6))
    policy = preset("none", "none", crop=(32, 32))
    images = np.concatenate([b[0] for b in take(training_batches(load, policy, ONES, seed=0, batch_size=3), 4)])
    expected = sorted(load(i)[0].tobytes() for i in range(6))
    assert sorted(image.tobytes() for image in images[:6]) == expected
    assert sorted(image.tobytes() for image in images[6:]) == expected
    assert [i.tobytes() for i in images[:6]] != [i.tobytes() for i in images[6:]], "shuffled anew"


def test_the_stream_can_start_anywhere(tmp_path):
    load = loader(make_folder(tmp_path, 5))
    policy = preset("standard", "d4", crop=(32, 32))
    whole = take(training_batches(load, policy, ONES, seed=1, batch_size=2), 6)
    later = take(training_batches(load, policy, ONES, seed=1, batch_size=2, start=6), 3)
    for one, other in zip(whole[3:], later, strict=True):
        assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_weights(tmp_path):
    mask = np.zeros((8, 8), np.uint8)
    mask[0], mask[1] = 1, 9
    for i in range(2):
        save(tmp_path / f"images/{i}.png", np.zeros((8, 8, 3), np.uint8))
        save(tmp_path / f"masks/{i}.png", mask)
    load = loader(tmp_path, void=(9,))
    policy = preset("none", "none", crop=(10, 12))
    weigh = partial(pixel_weights, class_weights=np.array([0.5, 3.0], np.float32))
    for dataset in (
        training_batches(load, policy, weigh, seed=0, batch_size=1),
        validation_batches(load, [(0, 0, 0)], (10, 12), weigh, batch_size=1),
    ):
        _, labels, weight = take(dataset, 1)[0]
        assert weight.dtype == np.float32
        assert (weight[0, 0, :8] == 3).all() and (weight[0, 1] == 0).all() and (weight[0, 2:8, :8] == 0.5).all()
        assert (weight[0, 8:] == 0).all() and (weight[0, :, 8:] == 0).all()
        assert (labels[0, 1] == VOID).all() and (labels[0, 8:] == VOID).all()


@pytest.mark.parametrize(("tile", "margin"), [((16, 16), 0), ((40, 48), 0), ((13, 11), 6)])
def test_validation_windows_cover_every_pixel_once(tmp_path, tile, margin):
    load = loader(make_folder(tmp_path, 3))
    places = validation_windows(load, tile)
    batches = take(validation_batches(load, places, tile, ONES, margin=margin, batch_size=4), 99)
    masks = np.concatenate([batch[1] for batch in batches])
    images = np.concatenate([batch[0] for batch in batches])
    truth = np.stack([load(i)[1] for i in range(3)])
    assert np.bincount(masks[masks != VOID]).tolist() == np.bincount(truth.ravel()).tolist()
    assert images.shape[1:3] == (tile[0] + 2 * margin, tile[1] + 2 * margin)
    inside = images[0, margin : margin + tile[0], margin : margin + tile[1]][:32, :32]
    assert (inside == load(0)[0][: tile[0], : tile[1]]).all()


def test_window_mirrors_beyond_the_border():
    image = np.random.default_rng(0).integers(0, 255, (7, 9, 3)).astype(np.uint8)
    mirrored = cv2.copyMakeBorder(image, 20, 20, 20, 20, cv2.BORDER_REFLECT_101)
    for top, left, size, margin in [(0, 0, (7, 9), 0), (0, 0, (16, 16), 0), (2, 3, (4, 4), 3), (0, 0, (7, 9), 12)]:
        expected = mirrored[
            20 + top - margin : 20 + top + size[0] + margin, 20 + left - margin : 20 + left + size[1] + margin
        ]
        assert (window(image, top, left, size, margin) == expected).all()


def test_resizing_keeps_labels(tmp_path):
    load = loader(make_folder(tmp_path, 8, num_classes=4), size=(20, 24))
    image, mask = load(0)
    assert image.shape == (20, 24, 3) and mask.shape == (20, 24)
    assert set(np.unique(mask)) <= {0, 1, 2, 3}


def test_the_cache_keeps_to_its_limit(tmp_path):
    one_pair = 32 * 32 * 4
    load = loader(make_folder(tmp_path, 5), limit=2 * one_pair + 10)
    for _ in range(2):
        for index in range(5):
            load(index)
    assert len(load.cache.pairs) == 2 and load.cache.held == 2 * one_pair


def test_memory_stays_bounded_beyond_the_cache(tmp_path):
    """Three epochs of a set ten times larger than the cache: the process does not grow by what it reads."""
    for i in range(40):
        save(tmp_path / f"images/{i:02d}.png", np.full((512, 512, 3), i, np.uint8))
        save(tmp_path / f"masks/{i:02d}.png", (np.arange(512 * 512).reshape(512, 512) % (i + 2) == 0).astype(np.uint8))
    one_pair = 512 * 512 * 4
    script = f"""
import sys
from pathlib import Path
import numpy as np
from data_pipeline.augment import preset
from data_pipeline.inspection import inspect
from data_pipeline.batches import training_batches
from data_pipeline.labels import Photo
from data_pipeline.loader import Loader
from data_pipeline.pairs import find_pairs
from data_pipeline.weights import pixel_weights

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

folder = Path(sys.argv[1])
pairs, _ = find_pairs(folder)
load = Loader(pairs, inspect(folder, pairs).encoding, limit=4 * {one_pair})
batches = training_batches(load, preset("standard", "d4", crop=(512, 512)),
                           lambda mask: pixel_weights(mask, np.ones(2, np.float32)), seed=0, batch_size=2)
sizes = []
for number, _ in enumerate(batches.take(60)):
    if number in (3, 59):
        sizes.append(resident())
print(sizes[1] - sizes[0], load.cache.held)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    growth, held = map(int, done.stdout.split())
    assert held == 4 * one_pair
    assert growth < 32 * one_pair, "the other 36 pairs are not kept; batches made ahead take up to 28 MB"


def test_a_file_that_was_lost_is_named_by_every_kind_of_batches(tmp_path):
    """And one that changed its kind; TensorFlow would give a traceback as text."""
    load = loader(make_folder(tmp_path, 4), limit=0)
    photos = PhotoLoader([Photo(pair.stem, pair.image, 0) for pair in load.pairs], None, (32, 32), limit=0)
    policy = preset("none", "none", crop=(32, 32))
    for loading in (load, photos):
        loading(0)
    of_pairs = {"seed": 0, "batch_size": 2}
    save(load.pairs[2].image, np.zeros((32, 32), np.uint16))
    load.pairs[3].image.unlink()
    for batches in (
        training_batches(load, policy, ONES, **of_pairs),
        validation_batches(load, [(2, 0, 0), (3, 0, 0)], (32, 32), ONES, batch_size=2),
        photo_batches(photos, policy, **of_pairs),
        held_out_photos(photos, 2),
    ):
        words = r"item00[23].png: (cannot be read|1 channels of uint16, the other)"
        with pytest.raises(UserError, match=words), named_files():
            list(batches.take(2))
