"""The unlabelled images of a self-training: what is there, and what must not be learnt from."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet
from data_pipeline.files import list_images, read_image, write_json
from data_pipeline.outputs import refuse_long_name
from engine import schema
from engine.run import Run
from engine.run_places import UNLABELLED_FILE

PARTS = {"test": "the test part", "val": "the validation part", "train": "the training part, which have masks"}


def open_unlabelled(folder: Path, dataset: DataSet) -> dict[str, str]:
    """Read all images of a folder that may be learnt from: file name → SHA-256 of its pixels.

    Those that equal a labelled image pixel for pixel, and masks of the data set, are left out, and a line says so.

    Raises:
        UserError: for a folder that is none or has no such images; for one that cannot be read, or is of another kind
            than the training images.
    """
    if not folder.is_dir():
        raise UserError(f"--unlabelled {folder}: no such folder; name a folder of images")
    labelled = {}
    for part in reversed(PARTS):  # an image of two parts is called one of the test part
        pairs = tqdm(dataset.split.part(part), "reading", unit="image", leave=False, disable=None)
        labelled |= {digest(read_image(pair.image)): part for pair in pairs}
    masks = {path.resolve() for pair in dataset.pairs for path in pair.files[1:]}
    paths = [path for path in list_images(folder) if path.resolve() not in masks]
    if not paths:
        inside = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
        remedy = f"; name one of its folders: {', '.join(inside[:5])}" if inside else ""
        raise UserError(f"--unlabelled {folder}: holds no images without a mask{remedy}")
    images, equal = {}, Counter()
    for path in tqdm(paths, "reading", unit="image", leave=False, disable=None):
        refuse_long_name(mask_of(folder, path.name))
        same = digest(dataset.pixel_range.read(path))
        if same in labelled:
            equal[labelled[same]] += 1
        else:
            images[path.name] = same
    if equal:
        words = ", ".join(f"{equal[part]} of {words}" for part, words in PARTS.items() if equal[part])
        print(f"note: {equal.total()} of {len(paths)} images in {folder} equal labelled ones and are left out: {words}")
    if not images:
        raise UserError(f"--unlabelled {folder}: all of its images are labelled ones of the data set; add others")
    return images


def digest(image: np.ndarray) -> str:
    """SHA-256 of an image's type, shape and pixels: equal files have equal ones, and so do equal pixels in other
    files."""
    return hashlib.sha256(f"{image.dtype} {image.shape}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def mask_of(folder: Path, name: str) -> Path:
    """The file of an image's pseudo-label; the image's ending stays, since a.png and a.jpg are two images."""
    return folder / f"{name}.png"


def note_images(run: Run, images: dict[str, str]) -> None:
    """Store what the run learns from; where that stands already, hold the images to it.

    Raises:
        UserError: if they are no longer those that the run began with.
    """
    path = run.path / UNLABELLED_FILE
    if not path.is_file():
        write_json(path, {"images": images})
    elif schema.read(path, schema.UNLABELLED)["images"] != images:
        raise UserError(
            f"{run.path} cannot go on: the unlabelled images are no longer those that it began with (files were "
            "changed, added or removed). Put them back, or train again"
        )
