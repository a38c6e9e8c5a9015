"""Batches from processes: the bytes that threads make, wherever they start; no worker stays, none dies unsaid."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, make_folder, save, shapes

from data_pipeline.augment import preset
from data_pipeline.batches import named_files, training_batches
from data_pipeline.command import UserError
from data_pipeline.inspection import inspect
from data_pipeline.labels import Photo
from data_pipeline.loader import Loader, PhotoLoader
from data_pipeline.pairs import find_pairs
from data_pipeline.photo_batches import photo_batches
from data_pipeline.samples import MaskSamples
from data_pipeline.weights import pixel_weights
from data_pipeline.workers import ALIGNED, Copies, Pool, SharedPictures, header_bytes, nameless_file

WEIGH = partial(pixel_weights, class_weights=np.ones(2, np.float32), border=False)
POLICY = preset("strong", "d4", crop=(24, 24), margin=4)


def loader(folder, **options) -> Loader:
    pairs, _ = find_pairs(folder)
    return Loader(pairs, inspect(folder, pairs).encoding, **options)


def some_batches(load, workers: int, start: int = 0, count: int = 5, policy=POLICY) -> list:
    batches = training_batches(load, policy, WEIGH, seed=3, batch_size=3, start=start, workers=workers)
    return [[array.numpy() for array in batch] for batch in batches.take(count)]


def same(a: list, b: list) -> bool:
    pairs = [(x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True)]
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_the_same_bytes_from_threads_and_from_processes(tmp_path, kind):
    for i in range(7):
        image, mask = shapes(i)
        if kind == "uint8":
            save(tmp_path / f"images/{i}.png", image)
        else:
            (tmp_path / "images").mkdir(exist_ok=True)
            np.save(tmp_path / f"images/{i}.npy", (image[..., :2] * 100.0).astype(kind))
        save(tmp_path / f"masks/{i}.png", mask)
    policy = POLICY if kind == "uint8" else replace(POLICY, low=(0, 0), high=(25500, 25500))
    draw = partial(some_batches, policy=policy)
    expected = draw(loader(tmp_path), 0, count=6)
    assert not same(expected, expected[1:] + expected[:1])
    for workers in (1, 2, 4):
        assert same(draw(loader(tmp_path), workers, count=6), expected)
    assert same(draw(loader(tmp_path), 2, start=5, count=3), draw(loader(tmp_path), 0, start=5, count=3))
    assert same(draw(loader(tmp_path), 2, start=6, count=4), expected[2:])


def test_photos_from_processes(tmp_path):
    make_folder(tmp_path, 5)
    photos = [Photo(path.stem, path, i % 2) for i, path in enumerate(sorted((tmp_path / "images").iterdir()))]
    policy = preset("light", "horizontal", (32, 32))
    threads, processes = (
        photo_batches(PhotoLoader(photos, None, (32, 32)), policy, seed=1, batch_size=2, workers=workers).take(4)
        for workers in (0, 2)
    )
    assert same([[a.numpy() for a in batch] for batch in processes], [[a.numpy() for a in batch] for batch in threads])


def test_a_decoded_pair_is_read_once_by_all(tmp_path):
    """Two workers' caches on one file: what one puts, the other gets; what does not fit is not kept."""
    like, pairs = (
        np.zeros((1, 1, 3), np.uint8),
        [(np.full((5, 7, 3), i, np.uint8), np.eye(5, 7, dtype=np.uint8)) for i in range(3)],
    )
    with nameless_file(header_bytes(3)) as file:
        limit = header_bytes(3) + 4096 + 5 * 7 * 4
        one, other = (SharedPictures(file.fileno(), 3, like, limit) for _ in range(2))
        assert one.get(0) is None
        for number, pair in enumerate(pairs):
            one.put(number, pair)
        for number in (0, 1):
            assert same([other.get(number)], [pairs[number]])
        assert other.get(2) is None
        other.put(0, pairs[1])
        assert same([one.get(0)], [pairs[0]])


def test_a_file_that_is_gone_is_named(tmp_path):
    load = loader(make_folder(tmp_path, 6))
    load(0)
    for pair in load.pairs[1:]:
        pair.image.unlink()
    with pytest.raises(UserError, match=r"no such file|cannot be read"), named_files():
        some_batches(load, 2)


def test_a_worker_that_dies_is_said(tmp_path):
    pool = Pool(MaskSamples(loader(make_folder(tmp_path, 6)), POLICY, WEIGH, 0), 2, 0, workers=2)
    try:
        pool.next_batch()
        pool.workers[1].kill()
        with pytest.raises(UserError, match=r"a process that makes batches ended \(exit status -9\)"):
            for _ in range(10):
                pool.next_batch()
    finally:
        pool.close()


ENDLESS = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
from pathlib import Path
from functools import partial
import numpy as np
sys.path.insert(0, "tests")
from test_workers import POLICY, WEIGH, loader
from data_pipeline.samples import MaskSamples
from data_pipeline.workers import Pool
pool = Pool(MaskSamples(loader(Path(sys.argv[1])), POLICY, WEIGH, 0), 2, 0, workers=2)
pool.next_batch()
print(*(worker.pid for worker in pool.workers), flush=True)
while True:
    pool.next_batch()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_its_parent(tmp_path, how):
    make_folder(tmp_path, 6)
    parent = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2 and all(alive(pid) for pid in workers)
    parent.send_signal(how)
    try:
        parent.wait(60)
    finally:
        parent.kill()
    end = time.monotonic() + 30
    while any(alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_import_no_tensorflow():
    code = "import sys, data_pipeline.workers; print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", os.environ.get("PYTHONPATH")


def test_memory_of_a_batch_is_taken_again_only_when_nobody_holds_it():
    copies, source = Copies(), np.arange(1000, dtype=np.float32).reshape(10, 100)
    held = copies.copy(source)
    part = copies.copy(source + 1)[3:5]  # a view of it holds it too
    for number in range(5):
        passing = copies.copy(source * number)
        assert passing.ctypes.data % ALIGNED == 0 and np.array_equal(passing, source * number)
        del passing
    assert len(copies.memories) == 3
    assert np.array_equal(held, source) and np.array_equal(part, (source + 1)[3:5])


def test_tensors_that_are_held_keep_their_values(tmp_path):
    """TensorFlow takes the arrays over without a copy of its own."""
    for i in range(4):
        image, mask = shapes(i)
        save(tmp_path / f"images/{i}.png", image)
        save(tmp_path / f"masks/{i}.png", mask)
    batches = training_batches(loader(tmp_path), POLICY, WEIGH, seed=3, batch_size=3, workers=2)
    held, values = [], []
    for batch in batches.take(12):
        held.append(batch)
        values.append([array.numpy().copy() for array in batch])
    assert same(values, [[array.numpy() for array in batch] for batch in held])
