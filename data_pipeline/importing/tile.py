"""Large scenes cut to tiles: a data set in which the tiles of one scene are one group."""

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet, find_files, open_dataset
from data_pipeline.encoding import VOID, default_color
from data_pipeline.files import write_csv, write_json, write_mask, write_picture
from data_pipeline.findings import print_findings
from data_pipeline.loader import read_pair
from data_pipeline.outputs import new_folder, refuse_existing_folder, refuse_long_name, write_atomically
from data_pipeline.pairs import PAIRS_FILE, Pair
from data_pipeline.scenes.tiling import cut_as_they_stand, cut_drawn, drawn_scenes, is_large
from data_pipeline.source import Source

UNREAD = "unread"


@dataclass(frozen=True)
class Tile:
    """A tile and its scene; image (size, size, C), labels uint8 (size, size), classes and void."""

    name: str
    scene: Pair
    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Cut:
    """The tiles of a data set as they come, and its classes; count: of its scenes."""

    tiles: Iterator[Tile]
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    count: int


def tile(source: Source, destination: Path, size: int) -> None:
    """Write a data set's tiles of size × size pixels: images/, masks/, classes.json and pairs.csv with groups.

    Every pixel is in one tile. What a tile has beyond its scene is mirrored in the image and void in the mask;
    tiles without a label are left out. Scenes that are larger than memory should hold, and those whose masks are drawn
    as GeoJSON polygons, are read by windows (scenes/tiling.py); what holds no data in them is void.

    Raises:
        UserError: for a data set with errors, or a destination that exists.
    """
    refuse_existing_folder(destination)
    with new_folder(destination) as folder:
        cut = cut_up(source, folder / UNREAD, size)
        count, blank = write_tiles(folder, cut)
        if not count:
            raise UserError(f"{source.data}: not one pixel is labelled")
        shutil.rmtree(folder / UNREAD, ignore_errors=True)
    without = f" ({blank} without any label left out)" if blank else ""
    print(
        f"{count} tiles of {cut.count} scenes are in {destination}/{without}; "
        f"the tiles of a scene are one group. Next: python -m data_pipeline check {shlex.quote(str(destination))}"
    )


def cut_up(source: Source, unread: Path, size: int) -> Cut:
    """Cut a data set in the way that its scenes ask for; unread: a folder for what is cut before it is read."""
    drawn = drawn_scenes(source)
    if drawn:
        for image, _ in drawn:
            refuse_long_name(Path(tile_name(image.stem, 0, 0) + ".png"))
        names, windows = cut_drawn(drawn, source.names, size)
        tiles = (
            Tile(tile_name(path.stem, top, left), Pair(path.stem, path, path), image, labels)
            for path, top, left, image, labels in windows
        )
        return Cut(tiles, names, tuple(default_color(i) for i in range(len(names))), len(drawn))
    pairs = find_files(source).pairs
    for pair in pairs:
        refuse_long_name(Path(tile_name(pair.stem, 0, 0) + ".png"))
    if not any(is_large(pair) for pair in pairs):
        data = open_dataset(source, harmless=("too-long",))  # to be cut up here
        print_findings(data.findings)
        return Cut(tiles_in_memory(data, size), data.encoding.names, data.encoding.colors, len(data.pairs))
    made = cut_as_they_stand(pairs, source, unread, size, tile_name, write_image)
    data = open_dataset(made, harmless=("pairs-csv",))
    print_findings(data.findings)
    tiles = (
        Tile(pair.image.stem, pair, image, with_void(labels, unread / f"void/{pair.image.stem}.npy"))
        for pair in data.pairs
        for image, labels in [read_pair(pair, data.encoding)]
    )
    return Cut(tiles, data.encoding.names, data.encoding.colors, len(pairs))


def tiles_in_memory(data: DataSet, size: int) -> Iterator[Tile]:
    for pair in tqdm(data.pairs, "cutting", unit="scene", leave=False, disable=None):
        image, mask = read_pair(pair, data.encoding)
        for top, left, part, labels in tiles_of(image, mask, size):
            yield Tile(tile_name(pair.stem, top, left), pair, part, labels)


def with_void(labels: np.ndarray, path: Path) -> np.ndarray:
    """Return the labels with void where the file's bits are set: no data, or beyond the scene."""
    void = np.unpackbits(np.load(path), count=labels.size).reshape(labels.shape)
    return np.where(void, np.uint8(VOID), labels)


def write_tiles(folder: Path, cut: Cut) -> tuple[int, int]:
    """Write the tiles that have a label, and the lists; return their number, and that of those without one."""
    rows, blank = [], 0
    for made in cut.tiles:
        if (made.labels == VOID).all():
            blank += 1
            continue
        suffix = ".png" if made.image.dtype == np.uint8 and made.image.shape[2] == 3 else ".tif"
        row = {"image": f"images/{made.name}{suffix}", "mask": f"masks/{made.name}.png"}
        write_image(folder / row["image"], made.image)
        write_mask(folder / row["mask"], made.labels, cut.colors)
        scene = made.scene
        rows.append(row | ({"split": scene.split} if scene.split else {}) | {"group": scene.group or scene.stem})
    if rows:
        classes = [
            {"name": name, "value": i, "color": list(color)}
            for i, (name, color) in enumerate(zip(cut.names, cut.colors, strict=True))
        ]
        write_json(folder / "classes.json", {"classes": classes, "void": [VOID]})
        write_csv(folder / PAIRS_FILE, rows)
    return len(rows), blank


def tile_name(stem: str, top: int, left: int) -> str:
    return f"{stem}_y{top:05d}_x{left:05d}"


def tiles_of(image: np.ndarray, mask: np.ndarray, size: int):
    """(top, left, image part, mask part) of all tiles, each size × size."""
    down, right = (-side % size for side in mask.shape)
    if down or right:
        image = np.atleast_3d(cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT_101))
        mask = cv2.copyMakeBorder(mask, 0, down, 0, right, cv2.BORDER_CONSTANT, value=VOID)
    for top in range(0, mask.shape[0], size):
        for left in range(0, mask.shape[1], size):
            part = np.s_[top : top + size, left : left + size]
            yield top, left, np.ascontiguousarray(image[part]), np.ascontiguousarray(mask[part])


def write_image(path: Path, image: np.ndarray) -> None:
    """PNG for 8-bit RGB; else TIFF, compressed without loss."""
    if path.suffix == ".png":
        write_picture(path, image)
        return
    import tifffile

    with write_atomically(path) as temporary:
        tifffile.imwrite(temporary, image, photometric="minisblack", planarconfig="contig", compression="zlib")
