"""A scene of any size → probabilities, in windows that overlap and blend as ``Predictor.tiled`` has them.

The windows are the same, and each pixel adds up the same answers in the same order, so that a scene gets the mask that
it would get in memory. Only a strip is held at a time: what the windows of one row cover, in a block of columns.
What no later window reaches is written to a file of its own (``Strips``): after a kill, the files that are there are
not made again.

       lefts[0]      lefts[1]      lefts[2]
    tops[0] ┌───────────┬─┐
            │ window    │ │…        done after the first row of windows: from tops[0] to tops[1]
    tops[1] ├───────────┼─┤
            │           │ │         still to be blended with the next row
            └───────────┴─┘
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data_pipeline.encoding import VOID
from data_pipeline.outputs import write_atomically
from data_pipeline.pixel_range import PixelRange
from data_pipeline.scenes.reading import Scene
from engine import predictor as windows
from engine.pictures import uncertainty_picture
from engine.predictor import Predictor, softmax
from engine.scoring.doubts import sums_of_classes

BLOCK_BYTES = 160 << 20  # of the sums of a block, and of its pixels
CHUNK = 2048  # columns that are turned into a mask at a time
WAITING = 3  # batches of answers that wait to be blended


@dataclass(frozen=True)
class Grid:
    """The places of a scene's windows, as in ``Predictor.tiled``.

    height, width: of the scene. window: (H, W). widest: so many columns of windows a block has at most.
    """

    height: int
    width: int
    window: tuple[int, int]
    widest: int

    @classmethod
    def of(cls, predictor: Predictor, scene: Scene, classes: int) -> "Grid":
        """The grid of a scene; one window for all of it, where the network sees it at once."""
        size = (scene.height, scene.width)
        if is_seen_whole(predictor, scene):
            return cls(*size, size, 1)
        window = (min(windows.TILE, size[0]), min(windows.TILE, size[1]))
        rows = window[0] + 2 * predictor.spec.margin
        column = 4 * window[0] * (classes + 1) + rows * scene.channels * 2 * np.dtype(scene.dtype).itemsize
        return cls(*size, window, max(2, BLOCK_BYTES // (column * max(1, window[1] - windows.OVERLAP))))

    @cached_property
    def tops(self) -> list[int]:
        return windows.starts(self.height, self.window[0])

    @cached_property
    def lefts(self) -> list[int]:
        return windows.starts(self.width, self.window[1])

    @cached_property
    def blocks(self) -> list[tuple[int, int]]:
        """Columns of pixels (first, last + 1) of each block."""
        count = -(-len(self.lefts) // self.widest)
        firsts = [self.lefts[round(i * len(self.lefts) / count)] for i in range(count)]
        return list(zip(firsts, [*firsts[1:], self.width], strict=True))

    @property
    def count(self) -> int:
        """Windows in all; those that reach into two blocks count twice."""
        return sum(len(self.columns(block)) for block in range(len(self.blocks))) * len(self.tops)

    def rows(self, strip: int) -> tuple[int, int]:
        """Rows of pixels (first, last + 1) of a strip."""
        return self.tops[strip], [*self.tops[1:], self.height][strip]

    def columns(self, block: int) -> list[int]:
        """Return where the windows begin that reach into a block."""
        first, last = self.blocks[block]
        return [left for left in self.lefts if left < last and left + self.window[1] > first]

    def first_row(self, strip: int) -> int:
        """The first row of windows that reaches into a strip."""
        return next(row for row, top in enumerate(self.tops) if top + self.window[0] > self.tops[strip])


def is_seen_whole(predictor: Predictor, scene: Scene) -> bool:
    """Return whether the network sees an image of this size at once, resized or as it is."""
    return predictor.frame.size is not None or scene.height * scene.width <= windows.LARGEST_WHOLE


@dataclass(frozen=True)
class Strips:
    """The answers for a scene, in a folder with a file for each strip of each block.

    look_step: every so many pixels the scene is kept for its overlay.
    probabilities, uncertainty: whether they are kept beside the mask.
    """

    folder: Path
    grid: Grid
    look_step: int = 1
    probabilities: bool = False
    uncertainty: bool = False

    def path(self, strip: int, block: int) -> Path:
        return self.folder / f"{block:03d}-{strip:05d}.npz"

    def missing(self, block: int) -> list[int]:
        """The strips of a block that are still to be made."""
        return [strip for strip in range(len(self.grid.tops)) if not self.path(strip, block).is_file()]

    def write(self, strip: int, block: int, arrays: dict[str, np.ndarray]) -> None:
        with write_atomically(self.path(strip, block)) as temporary:
            np.savez(temporary, **arrays)

    def rows(self, name: str) -> Iterator[np.ndarray]:
        """An array of the whole scene, from its top, strip by strip: "mask", "look", "probabilities", "uncertainty"."""
        for strip in range(len(self.grid.tops)):
            parts = []
            for block in range(len(self.grid.blocks)):
                with np.load(self.path(strip, block)) as stored:
                    parts.append(stored[name])
            yield np.concatenate(parts, axis=1)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def sums(self) -> np.ndarray:
        """``sums_of_classes`` of the whole scene."""
        total = 0
        for strip in range(len(self.grid.tops)):
            for block in range(len(self.grid.blocks)):
                with np.load(self.path(strip, block)) as stored:
                    total = total + stored["sums"]
        return total


def predict_strips(
    predictor: Predictor,
    scene: Scene,
    pixel_range: PixelRange,
    strips: Strips,
    told: Callable[[int], None] = lambda count: None,
) -> None:
    """Make the strips that are missing. Reading, the network and blending go on side by side.

    told: called with the number of windows that are done.
    """
    grid = strips.grid
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as blending:
        try:
            for block in range(len(grid.blocks)):
                missing = strips.missing(block)
                told(len(grid.columns(block)) * (missing[0] if missing else len(grid.tops)))
                if missing:
                    predict_block(
                        Block(predictor, scene, pixel_range, strips, block), missing[0], reading, blending, told
                    )
        finally:
            for pool in (reading, blending):
                pool.shutdown(cancel_futures=True)


def predict_block(block: "Block", first: int, reading, blending, told) -> None:
    """Make the strips of a block from the first that is missing on."""
    grid, predictor = block.strips.grid, block.predictor
    if grid.window == (grid.height, grid.width):
        image, void = block.read(0)
        block.see(0, image, void)
        block.total, block.weight = predictor.probabilities(image), np.ones((*void.shape, 1), np.float32)
        block.finish(0)
        told(1)
        return
    lefts, waiting = grid.columns(block.number), []
    start, size = grid.first_row(first) * len(lefts), predictor.batch_size
    # Batches as they are in memory: a batch's composition may show in the last bits of its answers.
    places = [(row, left) for row in range(len(grid.tops)) for left in lefts][start - start % size :]
    pixels = block.bands(places[0][0], reading)
    row, band = -1, None
    for number in range(0, len(places), size):
        batch, cuts = places[number : number + size], []
        for window_row, left in batch:
            if window_row != row:
                row, band = window_row, next(pixels)
            cuts.append(block.cut(band, row, left))
        logits = predictor.logits([image for image, _ in cuts], grid.window, [corner for _, corner in cuts])
        waiting.append(blending.submit(block.blend, list(zip(batch, logits, strict=True)), first))
        while len(waiting) > WAITING:
            waiting.pop(0).result()
        told(sum(place[0] >= first for place in batch))
    for each in waiting:
        each.result()


class Block:
    """The strips of a block of columns while they are made: sums of fading answers, and of their weights."""

    def __init__(self, predictor: Predictor, scene: Scene, pixel_range: PixelRange, strips: Strips, number: int):
        self.predictor, self.scene, self.pixel_range = predictor, scene, pixel_range
        self.strips, self.number, self.is_broken = strips, number, False
        self.first, self.last = strips.grid.blocks[number]
        height, width = strips.grid.window
        self.fade = np.outer(windows.ramp(height), windows.ramp(width))[..., None]
        self.total = None  # (window's height, columns, classes), from the top of the row of windows that is blended
        self.weight = np.zeros((height, self.last - self.first, 1), np.float32)
        self.seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # of a strip: where it is void; what is shown of it

    def box(self, row: int) -> tuple[int, int, int, int]:
        """Top, bottom, left, right of the pixels that a row of windows takes."""
        grid, margin = self.strips.grid, self.predictor.spec.margin
        lefts, beyond = grid.columns(self.number), self.beyond
        top, left = grid.tops[row] - margin, lefts[0] - margin
        bottom, right = grid.tops[row] + grid.window[0] + beyond[0], lefts[-1] + grid.window[1] + beyond[1]
        return max(top, 0), min(bottom, grid.height), max(left, 0), min(right, grid.width)

    @cached_property
    def beyond(self) -> tuple[int, int]:
        """Return how much further than the window the network sees, down and to the right."""
        spec, window = self.predictor.spec, self.strips.grid.window
        return tuple(
            padded - side + spec.margin for padded, side in zip(spec.output_size(*window), window, strict=True)
        )

    def bands(self, row: int, reading) -> Iterator[np.ndarray]:
        """The pixels (H, W, C) of each row of windows; the next is read while one is used."""
        following = reading.submit(self.read, row)
        for number in range(row, len(self.strips.grid.tops)):
            image, void = following.result()
            if number + 1 < len(self.strips.grid.tops):
                following = reading.submit(self.read, number + 1)
            self.see(number, image, void)
            yield image

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        top, bottom, left, right = self.box(row)
        return self.scene.part(top, left, bottom - top, right - left)

    def see(self, row: int, image: np.ndarray, void: np.ndarray) -> None:
        """Keep of a strip's pixels what its files hold."""
        step, (first, last) = self.strips.look_step, self.strips.grid.rows(row)
        top, _, left, _ = self.box(row)
        inside = np.s_[first - top : last - top, self.first - left : self.last - left]
        look = image[inside][-first % step :: step, -self.first % step :: step]
        self.seen[row] = void[inside].copy(), self.pixel_range.show(look)

    def cut(self, band: np.ndarray, row: int, left: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The pixels that a window takes, and where it begins among them."""
        grid, margin = self.strips.grid, self.predictor.spec.margin
        top, _, start, _ = self.box(row)
        first = max(left - margin, 0)
        image = band[:, first - start : left + grid.window[1] + self.beyond[1] - start]
        return image, (grid.tops[row] - top, left - first)

    def blend(self, answers: list[tuple[tuple[int, int], np.ndarray]], first: int) -> None:
        """Add the answers of windows, in their order; write each strip that is complete, from the first one on."""
        if self.is_broken:  # an answer before could not be added or written, so what comes after it would be wrong
            return
        self.is_broken, grid = True, self.strips.grid
        for (row, left), logits in answers:
            if row < grid.first_row(first):  # there to fill a batch
                continue
            if self.total is None:
                shape = (*self.weight.shape[:2], max(2, logits.shape[-1]))
                self.total = np.zeros(shape, np.float32)
            start, end = max(left, self.first), min(left + grid.window[1], self.last)
            part, inside = np.s_[:, start - self.first : end - self.first], np.s_[:, start - left : end - left]
            self.total[part] += softmax(logits[inside]) * self.fade[inside]
            self.weight[part] += self.fade[inside]
            if left == grid.columns(self.number)[-1]:
                if row >= first:
                    self.finish(row)
                self.move_on(row)
        self.is_broken = False

    def finish(self, strip: int) -> None:
        """Write what no later window reaches."""
        first, last = self.strips.grid.rows(strip)
        void, look = self.seen[strip]
        parts: dict[str, list] = {}
        sums = 0
        for column in range(0, self.last - self.first, CHUNK):
            part = np.s_[: last - first, column : column + CHUNK]
            scores, lost = self.total[part] / self.weight[part], void[:, column : column + CHUNK]
            sums = sums + sums_of_classes(scores[~lost])
            mask = scores.argmax(-1).astype(np.uint8)
            mask[lost] = VOID
            made = {"mask": mask}
            if self.strips.uncertainty:
                made["uncertainty"] = np.where(lost[..., None], 0, uncertainty_picture(scores)).astype(np.uint8)
            if self.strips.probabilities:
                made["probabilities"] = scores.astype(np.float16)
                made["probabilities"][lost] = np.nan
            for name, array in made.items():
                parts.setdefault(name, []).append(array)
        arrays = {name: np.concatenate(arrays, axis=1) for name, arrays in parts.items()}
        self.strips.write(strip, self.number, arrays | {"look": look, "sums": sums})

    def move_on(self, row: int) -> None:
        """Let the sums begin at the top of the next row of windows."""
        self.seen.pop(row, None)
        tops = self.strips.grid.tops
        if row + 1 < len(tops):
            step = tops[row + 1] - tops[row]
            for sums in (self.total, self.weight):
                sums[:-step] = sums[step:].copy()
                sums[-step:] = 0
