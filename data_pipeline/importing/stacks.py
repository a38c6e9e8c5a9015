"""Stacks of slices in TIFF files → images and masks, a file for each slice; the slices of a stack are one group."""

import re
import shlex
from collections import defaultdict
from pathlib import Path

import numpy as np
import tifffile
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.files import frames_of, write_csv
from data_pipeline.findings import some
from data_pipeline.outputs import new_folder, refuse_existing_folder, write_atomically
from data_pipeline.pairs import PAIRS_FILE

OF_MASKS = re.compile(r"(labels?|masks?|seg|segmentation|gt|ground_?truth|annotations?)", re.IGNORECASE)
OF_IMAGES = re.compile(r"(volumes?|images?|imgs?|raw|input|em)", re.IGNORECASE)
FEWEST_GROUPS = 3  # with fewer stacks, each is cut in depth into a part for training, validation and test
PARTS = (("train", 0.70), ("val", 0.85), ("test", 1.0))


def convert_stacks(source: Path, destination: Path) -> None:
    """Write the slices of stacks, values as they are, and pairs.csv.

    Args:
        source: a folder of stacks, whose names or folders say which are masks: train-volume.tif and train-labels.tif.
        destination: a folder that does not exist yet.

    Raises:
        UserError: for stacks without masks, or of another size than theirs.
    """
    refuse_existing_folder(destination)
    pairs, rest = pair_stacks(source)
    rows = []
    with new_folder(destination) as folder:
        for name, (image_path, mask_path) in tqdm(pairs.items(), "cutting", unit="stack", leave=False, disable=None):
            images, masks = read_stack(image_path), read_stack(mask_path)
            if images.shape[:3] != masks.shape[:3]:
                sizes = " and ".join("×".join(map(str, stack.shape[:3])) for stack in (images, masks))
                raise UserError(
                    f"{image_path} and {mask_path} have {sizes} slices, rows and columns; export both alike"
                )
            for depth in range(len(images)):
                row = {part: f"{part}s/{name}_z{depth:04d}.tif" for part in ("image", "mask")}
                write_slice(folder / row["image"], images[depth])
                write_slice(folder / row["mask"], masks[depth])
                part = next(part for part, end in PARTS if depth < end * len(images))
                rows.append(row | ({"split": part} if len(pairs) < FEWEST_GROUPS else {}) | {"group": name})
        write_csv(folder / PAIRS_FILE, rows)
    if rest:
        print(f"note: {len(rest)} files have no partner and are left out: {some([path.name for path in rest])}")
    if len(pairs) < FEWEST_GROUPS:
        print("note: too few stacks for a split by stack: each is cut in depth, the first 70% for training")
    print(
        f"{len(rows)} slices of {len(pairs)} stacks are in {destination}/. "
        f"Next: python -m data_pipeline check {shlex.quote(str(destination))}"
    )


def pair_stacks(source: Path) -> tuple[dict[str, tuple[Path, Path]], list[Path]]:
    """Name → stack of images and stack of masks; and what is left."""
    if not source.is_dir():
        raise UserError(f"{source}: a file; for stack, name the folder that holds the stacks of images and of masks")
    files = [
        path for path in sorted(source.rglob("*")) if path.suffix.lower() in (".tif", ".tiff") and frames_of(path) > 1
    ]
    stacks = defaultdict(dict)
    for path in files:
        words = path.relative_to(source).with_suffix("").as_posix()
        is_mask = bool(OF_MASKS.search(words))
        key = (OF_MASKS if is_mask else OF_IMAGES).sub("", words).strip("-_ /").replace("/", "_") or "stack"
        stacks[key].setdefault("mask" if is_mask else "image", path)
    pairs = {name: (both["image"], both["mask"]) for name, both in stacks.items() if len(both) == 2}
    if not pairs:
        names = some([path.name for path in files]) or "none"
        raise UserError(
            f"{source}: no stack of images with a stack of masks (stacks: {names}); call them alike but for a word "
            "such as volume and labels: train-volume.tif, train-labels.tif"
        )
    used = {path for both in pairs.values() for path in both}
    return pairs, [path for path in files if path not in used]


def read_stack(path: Path) -> np.ndarray:
    """(Z, H, W) or (Z, H, W, C)."""
    try:
        stack = tifffile.imread(path)
    except (tifffile.TiffFileError, ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable stack ({error})") from None
    if stack.ndim not in (3, 4):
        raise UserError(f"{path}: an array of {'×'.join(map(str, stack.shape))}; slices, height, width wanted")
    return stack


def write_slice(path: Path, pixels: np.ndarray) -> None:
    with write_atomically(path) as temporary:
        is_rgb = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
        photometric = "rgb" if is_rgb else "minisblack"
        tifffile.imwrite(temporary, pixels, photometric=photometric, compression="zlib")
