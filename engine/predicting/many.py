"""Many images through a network: while it answers, the next are decoded and the last are written."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.loader import resize_image
from engine import predictor as windows
from engine.predictor import Predictor, resize_channels, softmax

THREADS = 2  # that decode, and that write
WAITING_BYTES = 256 << 20  # of images that wait for the network; of answers that wait to be written

Decoded = tuple[Path, np.ndarray | UserError]


def predict_many(
    paths: Iterable[Path],
    read: Callable[[Path], np.ndarray],
    predictor: Predictor,
    write: Callable[[Path, np.ndarray, np.ndarray], float],
    together: bool = True,
) -> Iterator[tuple[Path, float | UserError]]:
    """Yield, in their order, what came of each image: what ``write`` returns, or why it could not be read.

    Args:
        paths: of images that fit in memory.
        read: path → image (H, W, C); raises a UserError for one that cannot be read.
        predictor: of the run.
        write: path, image, probabilities (H, W, classes) → what is yielded; called in threads. What it raises ends all.
        together: images of one size, which the network sees at once, go through it in batches. False for a network
            that normalises by the statistics of its batch: there an answer depends on the images beside it.
    """
    with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
        written: deque[tuple[Path, Future]] = deque()
        try:
            for batch in batches(decoded(paths, read, readers, 2 * predictor.batch_size), predictor, together):
                if isinstance(batch[0][1], UserError):
                    written += [(path, settled(error)) for path, error in batch]
                    continue
                answers = answers_of(predictor, [image for _, image in batch])
                for (path, image), answer in zip(batch, answers, strict=True):
                    written.append((path, writers.submit(finish, write, path, image, answer)))
                most = max(len(batch), min(2 * predictor.batch_size, WAITING_BYTES // answers[0].scores.nbytes))
                while len(written) > most:
                    yield result_of(written.popleft())
            while written:
                yield result_of(written.popleft())
        finally:
            for pool in (readers, writers):
                pool.shutdown(cancel_futures=True)


def decoded(paths: Iterable[Path], read, readers, most: int) -> Iterator[Decoded]:
    """Images in their order, some read ahead; in place of what cannot be read, why."""
    paths, waiting, ahead = iter(paths), deque(), THREADS  # until it is known how large they are
    while True:
        while len(waiting) < ahead and (path := next(paths, None)) is not None:
            waiting.append((path, readers.submit(read, path)))
        if not waiting:
            return
        path, future = waiting.popleft()
        try:
            image = future.result()
        except UserError as error:
            yield path, error
            continue
        ahead = max(1, min(most, WAITING_BYTES // image.nbytes))
        yield path, image


def batches(images: Iterable[Decoded], predictor: Predictor, together: bool) -> Iterator[list[Decoded]]:
    """Neighbours that the network takes together: images of one size; what cannot be read goes alone."""
    batch: list[Decoded] = []
    for path, image in images:
        shape = getattr(image, "shape", None)
        most = most_at_once(predictor, shape) if together else 1
        if batch and (shape != getattr(batch[0][1], "shape", None) or len(batch) >= most):
            yield batch
            batch = []
        batch.append((path, image))
    if batch:
        yield batch


def most_at_once(predictor: Predictor, shape: tuple[int, ...] | None) -> int:
    """Return how many images of a shape go together: no more pixels than a batch of windows has."""
    if shape is None or not fits(predictor, shape):
        return 1
    height, width = predictor.frame.size or shape[:2]
    return max(1, min(predictor.batch_size, predictor.batch_size * windows.TILE**2 // (height * width)))


def fits(predictor: Predictor, shape: tuple[int, ...]) -> bool:
    """Return whether the network sees an image at once, not in windows."""
    height, width = predictor.frame.size or shape[:2]
    return height * width <= windows.LARGEST_WHOLE


def answers_of(predictor: Predictor, images: list[np.ndarray]) -> list["Answer"]:
    """Return what the network says of images of one size."""
    if not fits(predictor, images[0].shape):
        return [Answer(predictor.probabilities(images[0]), None)]
    size = predictor.frame.size
    seen = images if size is None else [resize_image(image, size) for image in images]
    logits = predictor.logits(seen, seen[0].shape[:2], [(0, 0)] * len(seen))
    return [Answer(each, image.shape[:2]) for each, image in zip(logits, images, strict=True)]


@dataclass(frozen=True)
class Answer:
    """Logits (h, w, classes) at the network's resolution, and the image's size; or probabilities, and None."""

    scores: np.ndarray
    size: tuple[int, int] | None

    def probabilities(self) -> np.ndarray:
        """As ``Predictor.probabilities`` has them: float32 (H, W, classes)."""
        if self.size is None:
            return self.scores
        scores = softmax(self.scores)
        return scores if scores.shape[:2] == self.size else resize_channels(scores, self.size)


def finish(write, path: Path, image: np.ndarray, answer: Answer) -> float:
    return write(path, image, answer.probabilities())


def settled(error: UserError) -> Future:
    """Return a future that is done: an image that could not be read."""
    future: Future = Future()
    future.set_result(error)
    return future


def result_of(written: tuple[Path, Future]) -> tuple[Path, float | UserError]:
    path, future = written
    return path, future.result()
