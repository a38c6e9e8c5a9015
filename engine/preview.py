"""Pictures of what a network sees in training: its own samples, image and mask, before the first step."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from data_pipeline.augment import augment
from data_pipeline.checking.grids import INK, grid, marked
from data_pipeline.colors import seen_over
from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet, open_dataset
from data_pipeline.files import write_picture
from data_pipeline.findings import print_findings
from data_pipeline.outputs import refuse_to_replace

from .config import TrainConfig
from .framing import Frame


def preview(config: TrainConfig, out: Path, *, count: int = 4, variations: int = 4, overwrite: bool = False) -> None:
    """Draw a grid of training pairs: image, mask over it, and what training makes of them in its first passes.

    Raises:
        UserError: for a data set with errors, a size that the network does not take, and where ``out`` exists, unless
            ``overwrite``, or is a file of the data set.
    """
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--out {out}: a name that ends in .png or .jpg is wanted")
    refuse_to_replace("--out", out, overwrite)
    dataset = open_dataset(config, config.split_seed)
    refuse_to_replace("--out", out, overwrite, [file for pair in dataset.pairs for file in pair.files])
    print_findings(dataset.findings)

    from .defaults import decided  # loads TensorFlow: a fault of the data is reported before
    from .training.segmenter import frames

    config = decided(config, dataset)
    frame = frames(config, dataset)[0]
    encoding, pixel_range, rows = dataset.encoding, dataset.pixel_range, []
    seen = list(samples_seen(config, dataset, frame, count, variations))
    under = [(pixel_range.show(image), mask) for _, (image, mask), _ in seen]
    encoding = replace(encoding, colors=seen_over(under, encoding.colors))
    for name, (image, mask), drawn in seen:
        cells = [pixel_range.show(image), marked(image, mask, encoding, pixel_range)]
        cells += [framed(*sample, frame.margin, encoding, pixel_range) for sample in drawn]
        rows.append((name, cells))
    headings = ["image", "mask", *(f"{config.augment} {number + 1}" for number in range(variations))]
    write_picture(out, grid(rows, headings, encoding), overwrite)
    print(
        f"{len(rows)} training pairs, each with {variations} variations ({config.augment}, symmetry {config.symmetry}, "
        f"{in_words(frame)}, for {config.model}): {out}"
    )


def samples_seen(
    config: TrainConfig, dataset: DataSet, frame: Frame, count: int, variations: int
) -> Iterator[tuple[str, tuple, list[tuple]]]:
    """The first training pairs: name, (image, mask) as loaded, and the samples that the first passes draw of it.

    A sample is what the network is given: image (H + 2·margin, W + 2·margin, C) and mask uint8 (H, W).
    """
    from .training.segmenter import policy_of, training_loader

    load, policy = training_loader(dataset, frame), policy_of(config, dataset, frame)
    for index, pair in enumerate(load.pairs[:count]):
        drawn = [augment(*load(index), (config.seed, number, index), policy) for number in range(variations)]
        yield pair.stem, load(index), drawn


def framed(image: np.ndarray, mask: np.ndarray, margin: int, encoding, pixel_range) -> np.ndarray:
    """A sample for the eye; what the network sees beyond its output is left unmarked, outside of a line."""
    if not margin:
        return marked(image, mask, encoding, pixel_range)
    shown = pixel_range.show(image).copy()
    inside = slice(margin, -margin)
    shown[inside, inside] = marked(image[inside, inside], mask, encoding, pixel_range)
    height, width = mask.shape
    cv2.rectangle(shown, (margin, margin), (margin + width - 1, margin + height - 1), INK, 2)
    return shown


def in_words(frame: Frame) -> str:
    height, width = frame.tile
    beyond = f" and {frame.margin} more on each side of the image" if frame.margin else ""
    return f"{height}×{width} pixels{beyond}"
