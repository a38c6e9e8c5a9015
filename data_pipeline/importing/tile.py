"""Large scenes cut to tiles: a data set in which the tiles of one scene are one group."""

import shlex
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import VOID
from data_pipeline.files import write_csv, write_json, write_mask, write_picture
from data_pipeline.findings import print_findings
from data_pipeline.loader import read_pair
from data_pipeline.outputs import new_folder, refuse_existing_folder, refuse_long_name, write_atomically
from data_pipeline.pairs import PAIRS_FILE
from data_pipeline.source import Source


def tile(source: Source, destination: Path, size: int) -> None:
    """Write a data set's tiles of size × size pixels: images/, masks/, classes.json and pairs.csv with groups.

    Every pixel is in one tile. What a tile has beyond its scene is mirrored in the image and void in the mask;
    tiles without a label are left out.

    Raises:
        UserError: for a data set with errors, or a destination that exists.
    """
    refuse_existing_folder(destination)
    data = open_dataset(source, harmless=("too-long",))  # to be cut up here
    print_findings(data.findings)
    for pair in data.pairs:
        refuse_long_name(Path(tile_name(pair.stem, 0, 0) + ".png"))
    encoding, rows, blank = data.encoding, [], 0
    with new_folder(destination) as folder:
        for pair in tqdm(data.pairs, "cutting", unit="scene", leave=False, disable=None):
            image, mask = read_pair(pair, encoding)
            for top, left, part, labels in tiles_of(image, mask, size):
                if (labels == VOID).all():
                    blank += 1
                    continue
                name = tile_name(pair.stem, top, left)
                suffix = ".png" if part.dtype == np.uint8 and part.shape[2] == 3 else ".tif"
                row = {"image": f"images/{name}{suffix}", "mask": f"masks/{name}.png"}
                write_image(folder / row["image"], part)
                write_mask(folder / row["mask"], labels, encoding.colors)
                rows.append(row | ({"split": pair.split} if pair.split else {}) | {"group": pair.group or pair.stem})
        if not rows:
            raise UserError(f"{source.data}: not one pixel is labelled")
        classes = [
            {"name": name, "value": i, "color": list(color)}
            for i, (name, color) in enumerate(zip(encoding.names, encoding.colors, strict=True))
        ]
        write_json(folder / "classes.json", {"classes": classes, "void": [VOID]})
        write_csv(folder / PAIRS_FILE, rows)
    without = f" ({blank} without any label left out)" if blank else ""
    print(
        f"{len(rows)} tiles of {len(data.pairs)} scenes are in {destination}/{without}; "
        f"the tiles of a scene are one group. Next: python -m data_pipeline check {shlex.quote(str(destination))}"
    )


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
