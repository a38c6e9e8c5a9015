"""Batches made by processes beside the one that trains, where Python's threads would wait for each other.

Each worker makes every n-th batch, into memory that it shares with the parent; the parent takes them in turn, so the
order does not depend on who is faster. Decoded pairs are shared too: what one worker has read, the others map. A
worker ends when its pipe does: nothing stays behind, however the parent ends. POSIX alone, since workers inherit open
files; they import no TensorFlow.
"""

import contextlib
import fcntl
import math
import mmap
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .command import UserError
from .loader import CACHE_BYTES, unreadable
from .photo_samples import PhotoSamples
from .samples import MaskSamples, Signature

SLOTS = 2  # batches of each worker that are made ahead
REQUEST = struct.Struct("<qi")  # number of the batch's first sample, slot
DONE, FAILED = b".", b"!"
LENGTH = struct.Struct("<i")
ALIGNED = 64  # bytes, as TensorFlow aligns its own arrays
MOST_SHARED = 30_000  # pairs; each is mapped by itself, and Linux allows 65,530 maps
READY, OFFSET, HEIGHT, WIDTH = range(4)


def process_batches(samples: MaskSamples | PhotoSamples, batch_size: int, start: int, workers: int) -> Iterator[tuple]:
    """Endless batches of the samples from number ``start`` on, made by ``workers`` processes; arrays (B, …).

    Raises:
        UserError: that a worker met, such as an image that is gone; or for a worker that ended.
    """
    pool = Pool(samples, batch_size, start, workers)
    try:
        while True:
            yield pool.next_batch()
    except UserError as error:
        unreadable.append(error)
        raise
    finally:
        pool.close()


class Pool:
    """Worker processes, and the memory into which they write."""

    def __init__(self, samples, batch_size: int, start: int, workers: int):
        self.samples, self.batch_size, self.turn = samples, batch_size, 0
        self.signature, self.copies = samples.signature(), Copies()
        ring_bytes = workers * SLOTS * slot_bytes(self.signature, batch_size)
        with nameless_file(ring_bytes) as ring, nameless_file(header_bytes(len(samples.loader.pairs))) as pictures:
            self.memory = mmap.mmap(ring.fileno(), ring_bytes)
            setup = Setup(samples, batch_size, ring.fileno(), pictures.fileno(), samples.loader(0)[0][:1, :1])
            self.workers = [launch(setup) for _ in range(workers)]
        self.position = start  # of the batch that is asked for next
        for slot in range(SLOTS):
            for number in range(workers):
                self.ask(number, slot)

    def ask(self, number: int, slot: int) -> None:
        """Send worker ``number`` the next batch's first sample."""
        with contextlib.suppress(OSError):  # a worker that ended is found out where its batch is waited for
            self.workers[number].stdin.write(REQUEST.pack(self.position, number * SLOTS + slot))
            self.workers[number].stdin.flush()
        self.position += self.batch_size

    def next_batch(self) -> tuple[np.ndarray, ...]:
        slot, number = self.turn // len(self.workers) % SLOTS, self.turn % len(self.workers)
        worker = self.workers[number]
        answer = worker.stdout.read(1)
        if answer == FAILED:
            (length,) = LENGTH.unpack(worker.stdout.read(LENGTH.size))
            raise UserError(worker.stdout.read(length).decode())
        if answer != DONE:
            raise UserError(
                f"a process that makes batches ended (exit status {worker.wait()}), perhaps for want of memory; "
                "--workers 0 makes them without processes"
            )
        views = slot_views(self.memory, number * SLOTS + slot, self.signature, self.batch_size)
        batch = tuple(self.copies.copy(view) for view in views)
        self.ask(number, slot)
        self.turn += 1
        return batch

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):  # what was not sent any more
                    pipe.close()


def nameless_file(size: int) -> BinaryIO:
    """A file of zeros that workers inherit and nobody else sees; in memory where the system has such files."""
    file = os.fdopen(os.memfd_create("batches"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(bytes(size))
    file.flush()
    return file


@dataclass(frozen=True)
class Setup:
    """The first message to a worker. like: a pixel of the images, which says their type and channels."""

    samples: MaskSamples | PhotoSamples
    batch_size: int
    ring: int
    pictures: int
    like: np.ndarray


def launch(setup: Setup) -> subprocess.Popen:
    root = str(Path(__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    worker = subprocess.Popen(
        [sys.executable, "-m", "data_pipeline.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(setup.ring, setup.pictures),
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    with contextlib.suppress(OSError):
        pickle.dump(setup, worker.stdin)
        worker.stdin.flush()
    return worker


def slot_bytes(signature: Signature, batch_size: int) -> int:
    """Bytes of one batch, rounded up so that every slot begins on a page."""
    whole = sum(aligned(batch_size * math.prod(shape) * dtype.itemsize, ALIGNED) for shape, dtype in signature)
    return aligned(whole, mmap.ALLOCATIONGRANULARITY)


def aligned(size: int, to: int) -> int:
    return -(-size // to) * to


def slot_views(memory: mmap.mmap, slot: int, signature: Signature, batch_size: int) -> list[np.ndarray]:
    """A slot's arrays, (B, …) each."""
    offset, views = slot * slot_bytes(signature, batch_size), []
    for shape, dtype in signature:
        count = batch_size * math.prod(shape)
        views.append(np.frombuffer(memory, dtype, count, offset).reshape(batch_size, *shape))
        offset += aligned(count * dtype.itemsize, ALIGNED)
    return views


class Copies:
    """Copies of arrays, in memory that is taken again once nobody holds the copy before: new memory costs more time
    than the copy itself. Each begins where TensorFlow takes it over without copying it once more."""

    def __init__(self):
        self.memories = []

    def copy(self, array: np.ndarray) -> np.ndarray:
        size = array.nbytes + ALIGNED
        # A free memory is known to three: the list, this loop, and the call that counts.
        free = (m for m in self.memories if m.nbytes == size and sys.getrefcount(m) == 3)
        memory = next(free, None)
        if memory is None:
            memory = np.empty(size, np.uint8)
            self.memories.append(memory)
        begin = -memory.ctypes.data % ALIGNED
        copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy


def header_bytes(count: int) -> int:
    return aligned(8 * 4 * (count + 1), mmap.ALLOCATIONGRANULARITY)


class SharedPictures:
    """Decoded pairs in one file that all workers map, as long as they fit; the cache of a Loader.

    The file begins with a table: for each pair whether it is there, where, and its height and width; last, where the
    next one goes.
    """

    def __init__(self, file: int, count: int, like: np.ndarray, limit: int = CACHE_BYTES):
        self.file, self.limit, self.channels, self.dtype = file, limit, like.shape[2], like.dtype
        self.table = np.frombuffer(mmap.mmap(file, header_bytes(count)), np.int64, 4 * (count + 1)).reshape(-1, 4)
        self.maps = {}

    def get(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        if index not in self.maps and self.table[index, READY]:
            height, width = self.table[index, HEIGHT:].tolist()
            size = height * width * self.channels * self.dtype.itemsize
            memory = mmap.mmap(
                self.file, size + height * width, prot=mmap.PROT_READ, offset=int(self.table[index, OFFSET])
            )
            image = np.frombuffer(memory, self.dtype, height * width * self.channels)
            mask = np.frombuffer(memory, np.uint8, height * width, size)
            self.maps[index] = image.reshape(height, width, self.channels), mask.reshape(height, width)
        return self.maps.get(index)

    def put(self, index: int, loaded: tuple[np.ndarray, np.ndarray]) -> None:
        size = sum(array.nbytes for array in loaded)
        if index >= MOST_SHARED:
            return
        fcntl.lockf(self.file, fcntl.LOCK_EX)
        try:
            offset = int(self.table[-1, OFFSET]) or header_bytes(len(self.table) - 1)
            if self.table[index, READY] or offset + size > self.limit:
                return
            content = b"".join(array.tobytes() for array in loaded)
            written = 0
            while written < size:
                written += os.pwrite(self.file, content[written:], offset + written)
            self.table[-1, OFFSET] = aligned(offset + size, mmap.ALLOCATIONGRANULARITY)
            self.table[index, OFFSET:] = offset, *loaded[1].shape
            self.table[index, READY] = 1
        except OSError:
            self.limit = 0  # a full disk: the rest is read anew each time
        finally:
            fcntl.lockf(self.file, fcntl.LOCK_UN)


def work() -> None:
    """Make the batches that are asked for on standard input, until it ends."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent answers
    cv2.setNumThreads(0)
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    setup = pickle.load(asked)
    signature, samples = setup.samples.signature(), setup.samples
    samples.loader.cache = SharedPictures(setup.pictures, len(samples.loader.pairs), setup.like)
    memory = mmap.mmap(setup.ring, os.fstat(setup.ring).st_size)
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        while len(request := asked.read(REQUEST.size)) == REQUEST.size:
            position, slot = REQUEST.unpack(request)
            views = slot_views(memory, slot, signature, setup.batch_size)
            try:
                for place in range(setup.batch_size):
                    for view, array in zip(views, samples(position + place), strict=True):
                        view[place] = array
                answers.write(DONE)
            except UserError as error:
                message = str(error).encode()
                answers.write(FAILED + LENGTH.pack(len(message)) + message)
            answers.flush()


if __name__ == "__main__":
    work()
