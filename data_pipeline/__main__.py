"""Look at a data set before training on it; make one from other tools' files, from large scenes, or out of nothing."""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from engine.config import ModelName, TrainConfig

from .command import LARGEST_SIDE, UserError, parse_size, run_command
from .flags import Usage
from .source import Source

PresetName = Literal["none", "light", "standard", "strong", "unet2015", "tiramisu"]


@dataclass(frozen=True, kw_only=True)
class Check(Source):
    """Read every image and mask, show what they hold, and find faults that would spoil a training."""

    data: Positional[Path | None] = None
    """Folder with images and masks, or a CSV."""
    json: Path | None = None
    """Write every finding to this JSON file, for programs."""
    groups: Path | None = None
    """Write the pairs to this CSV, with nearly equal images in groups."""
    sheet: Path | None = None
    """Draw thumbnails of the worst into this picture: worst.png."""
    overwrite: bool = False
    """Replace these files where they exist."""


@dataclass(frozen=True, kw_only=True)
class Preview(Source):
    """Draw what the network really sees: image, mask, and variations by the training pipeline itself."""

    data: Positional[Path | None] = None
    """Folder with images and masks, or a CSV."""
    out: Path
    """The picture to write: grid.png."""
    model: ModelName = "unet"
    """The network that is to be trained: some take other sizes, and unet_original sees more than its mask covers."""
    augment: PresetName = "light"
    """How far images are varied."""
    symmetry: Literal["none", "horizontal", "d4"] = "horizontal"
    """Flips and turns that leave the task as it is."""
    size: str | None = None
    """HxW: resize whole images."""
    crop: int | None = None
    """N×N crops at native resolution."""
    count: int = 4
    """Number of images."""
    variations: int = 4
    """Variations of each."""
    split_seed: int = 0
    """Seed of the split alone, as in train.py."""
    seed: int = 0
    """Seed of the variations, as in train.py."""
    overwrite: bool = False
    """Replace the picture where it exists."""


@dataclass(frozen=True)
class Convert:
    """Make masks from the polygons and run lengths that labelling tools export."""

    source: Positional[Path]
    """COCO: the JSON file or its folder, or the folder of train/, valid/, test/. labelme: the folder of JSON files.
    yolo: the folder of images, labels and data.yaml. rle: Kaggle's CSV of run lengths, or its folder. stack: the folder
    of TIFF stacks, train-volume.tif and train-labels.tif."""
    destination: Positional[Path]
    """Where to write images/, masks/ and classes.json."""
    form: Annotated[Literal["coco", "labelme", "yolo", "rle", "stack"], arg(name="from")]
    """The form of the annotations."""
    order: Literal["columns", "rows"] | None = None
    """Of rle: what run lengths go along, where the images do not tell: the columns, or as in Carvana the rows."""


@dataclass(frozen=True, kw_only=True)
class Tile(Source):
    """Cut large scenes to tiles; the tiles of one scene are one group of the split."""

    data: Positional[Path | None] = None
    """Folder with images and masks, or a CSV; left out where --images and --masks name both."""
    destination: Positional[Path | None] = None
    """Where to write images/, masks/, classes.json and pairs.csv."""
    tile: int = 512
    """Height and width of a tile, in pixels."""

    def with_destination(self) -> "Tile":
        """Return itself; a single folder beside ``--images`` and ``--masks`` is the destination.

        Raises:
            UserError: without a destination.
        """
        config = self
        if self.destination is None and self.images and self.masks:
            config = replace(self, data=None, destination=self.data)
        if config.destination is None:
            raise UserError("name the data set's folder and the folder to write: tile DIR DESTINATION")
        return config.with_folder()


@dataclass(frozen=True)
class Download:
    """Fetch a public data set, every file checked against its SHA-256 sum."""

    name: Positional[Literal["camvid"]]
    """Which one."""
    destination: Positional[Path]
    """Where to write it."""
    source: Annotated[Path | None, arg(name="from")] = None
    """A local copy to take in place of the network: a folder, or an archive (.zip, .tar, .tar.gz)."""


@dataclass(frozen=True)
class Golfscape:
    """Draw golfscape, the example data set: aerial scenes of a golf course with masks of the trees, or of the green."""

    folder: Positional[Path]
    """Where to write images/, masks/ and classes.json."""
    count: int = 200
    """Number of scenes."""
    size: int = 128
    """Height and width of each scene, in pixels."""
    seed: int = 0
    """Another seed, other scenes."""
    masks: Literal["trees", "target"] = "trees"
    """Of the trees; or of the putting green (target), whose class is the way it is mown: then train with --symmetry
    none, since flips and turns change the way."""


def check(config: Check) -> None:
    from .checking.check import check

    check(config.with_folder(), config.json, config.groups, config.sheet, config.overwrite)


def preview(config: Preview) -> None:
    config = config.with_folder()
    from engine.preview import preview

    if config.count < 1 or config.variations < 1 or config.seed < 0 or config.split_seed < 0:
        raise UserError("--count and --variations of 1 or more, --seed and --split-seed of 0 or more are wanted")
    size = parse_size(config.size)
    sides = [*(size or ()), *([] if config.crop is None else [config.crop])]
    if not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise UserError(f"--size {config.size} --crop {config.crop}: sides of 1 to {LARGEST_SIDE} pixels are wanted")
    shared = {field.name for field in fields(Preview)} & {field.name for field in fields(TrainConfig)}
    settings = TrainConfig(**{name: getattr(config, name) for name in shared})
    preview(settings, config.out, count=config.count, variations=config.variations, overwrite=config.overwrite)


def convert(config: Convert) -> None:
    from .importing.convert import convert

    convert(config.source, config.destination, config.form, config.order)


def tile(config: Tile) -> None:
    from .importing.tile import tile

    if not 32 <= config.tile <= LARGEST_SIDE:
        raise UserError(f"--tile {config.tile}: 32 to {LARGEST_SIDE} pixels are wanted")
    config = config.with_destination()
    tile(config, config.destination, config.tile)


def download(config: Download) -> None:
    from .importing.download import download

    download(config.name, config.destination, config.source)


def golfscape(config: Golfscape) -> None:
    from .importing.golfscape import Knobs, write_scenes

    if config.count < 3 or config.size < 32 or config.seed < 0:
        raise UserError("--count of 3 or more, --size of 32 or more and --seed of 0 or more are wanted")
    write_scenes(config.folder, config.count, config.seed, Knobs(size=config.size), config.masks)
    symmetry = "" if config.masks == "trees" else " --symmetry none"
    print(
        f"{config.count} scenes are in {config.folder}/. "
        f"Next: python train.py --data {shlex.quote(str(config.folder))}{symmetry}"
    )


COMMANDS = {Check: check, Preview: preview, Convert: convert, Tile: tile, Download: download, Golfscape: golfscape}

Config = (
    Annotated[Check, subcommand("check")]
    | Annotated[Preview, subcommand("preview")]
    | Annotated[Convert, subcommand("convert")]
    | Annotated[Tile, subcommand("tile")]
    | Annotated[Download, subcommand("download")]
    | Annotated[Golfscape, subcommand("golfscape")]
)

USAGE = Usage(
    "python -m data_pipeline",
    examples=(
        ("check DIR", "what DIR holds, and what is wrong with it"),
        ("preview DIR --out grid.png", "what the network will see"),
        ("convert annotations.json DIR --from coco", "polygons → masks"),
    ),
    bare="check {}",
)


def command() -> None:
    """Read the command line, do what it says, and exit."""
    run_command(lambda config: COMMANDS[type(config)](config), Config, __doc__, usage=USAGE)


if __name__ == "__main__":
    command()
