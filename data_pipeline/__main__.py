"""Look at a data set before training on it, or draw the example data set."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from .command import UserError, run_command


@dataclass(frozen=True)
class Check:
    """Read every image and mask once; say what they hold, or what is wrong with them."""

    data: Positional[Path]
    """Folder with images and masks, or a CSV."""
    mask_suffix: str = ""
    """What a mask's name has after its image's name: _mask."""
    void: int | None = None
    """Mask value on disk that never counts."""


@dataclass(frozen=True)
class Golfscape:
    """Draw golfscape, the example data set: aerial scenes of a golf course with masks of the trees."""

    folder: Positional[Path]
    """Where to write images/, masks/ and classes.json."""
    count: int = 200
    """Number of scenes."""
    size: int = 128
    """Height and width of each scene, in pixels."""
    seed: int = 0
    """Another seed, other scenes."""


def main(config: Check | Golfscape) -> None:
    {Check: check, Golfscape: golfscape}[type(config)](config)


def check(config: Check) -> None:
    from .check import inspect
    from .pairs import find_pairs

    pairs, notes = find_pairs(config.data, config.mask_suffix)
    data = inspect(config.data, pairs, () if config.void is None else (config.void,))
    for note in notes + data.notes:
        print(f"note: {note}")
    sizes = sorted(data.sizes())
    span = " to ".join(f"{height}×{width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    pixels = data.class_pixels(pairs)
    print(f"{len(pairs)} pairs of {span} pixels (height×width)")
    for name, count, images in zip(data.encoding.names, pixels, data.presence().sum(0), strict=True):
        print(f"  {name:24}{count / pixels.sum():8.2%} of the pixels, in {images} images")
    print(f"No fault found. Next: python train.py --data {shlex.quote(str(config.data))}")


def golfscape(config: Golfscape) -> None:
    from .golfscape import Knobs, write_scenes

    if config.count < 3 or config.size < 32 or config.seed < 0:
        raise UserError("--count of 3 or more, --size of 32 or more and --seed of 0 or more are wanted")
    write_scenes(config.folder, config.count, config.seed, Knobs(size=config.size))
    print(
        f"{config.count} scenes are in {config.folder}/. Next: python train.py --data {shlex.quote(str(config.folder))}"
    )


if __name__ == "__main__":
    run_command(main, Annotated[Check, subcommand("check")] | Annotated[Golfscape, subcommand("golfscape")], __doc__)
