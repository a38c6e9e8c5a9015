"""YOLO's text files → drawings: a class number and a polygon a line, in shares of the image's width and height."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.files import list_images, read_image
from data_pipeline.findings import some
from data_pipeline.layouts import SPLIT_FOLDERS, image_counts

from .annotations import Annotations, Drawing, brief, class_name, number_classes

NAMES_FILES = ("data.yaml", "data.yml", "dataset.yaml")
BOX = "box without a mask"  # the name under which it is drawn
OUTSIDE = 0.05  # share of the image by which a point may lie outside of it


def read_yolo(source: Path) -> Annotations:
    """Read a folder whose labels/ lie beside its images/, with the classes' names in data.yaml.

    Reference: https://docs.ultralytics.com/datasets/segment
    """
    if not source.is_dir():
        raise UserError(f"{source}: a file; for yolo, name the folder that holds images/, labels/ and data.yaml")
    folders = [(source / name, labels_of(source / name)) for name, count in image_counts(source).items() if count]
    folders = [(images, labels) for images, labels in folders if labels and any(labels.glob("*.txt"))]
    if not folders:
        raise UserError(f"{source}: no folder images/ with a folder labels/ of text files beside it")
    names = class_names(source)
    drawn, boxes, without, used = [], 0, [], set()
    for images, labels in folders:
        split = split_of(images.relative_to(source))
        for path in tqdm(list_images(images), "reading", unit="image", leave=False, disable=None):
            rows = read_rows(labels / f"{path.stem}.txt")
            boxes += sum(len(points) == 2 for _, _, points in rows)
            without += [] if rows else [path.name]
            used |= {number for _, number, _ in rows}
            size = read_image(path).shape[:2]
            drawn.append((path, size, rows, split))
    names = names or {number: f"class_{number}" for number in sorted(used)}
    if unknown := sorted(used - names.keys()):
        raise UserError(
            f"{source}: the class numbers {some(unknown)} are not in {NAMES_FILES[0]}, which lists {len(names)}"
        )
    drawings = [
        Drawing(path, path.read_bytes, size, partial(yolo_regions, rows, names, *size), split)
        for path, size, rows, split in drawn
    ]
    listed, index = number_classes(source, list(names.values()))
    notes = [f"{len(without)} images have no polygon, and are all background: {some(without)}"] if without else []
    if boxes:
        index |= {BOX: VOID}
        notes.append(f"{boxes} rows are boxes without a mask: what lies in them is void")
    return Annotations(source, listed, index, drawings, "the later row", notes)


def labels_of(images: Path) -> Path | None:
    """The folder of text files that belongs to a folder of images: the last "images" in its path is "labels" there."""
    parts = list(images.parts)
    for place in reversed(range(len(parts))):
        if parts[place].lower() in ("images", "image"):
            folder = Path(*parts[:place], "labels", *parts[place + 1 :])
            return folder if folder.is_dir() else None
    return images if any(images.glob("*.txt")) else None


def split_of(folder: Path) -> str | None:
    return next((SPLIT_FOLDERS[part.lower()] for part in folder.parts if part.lower() in SPLIT_FOLDERS), None)


def class_names(source: Path) -> dict[int, str]:
    """Class number → name, from data.yaml or classes.txt; empty without them."""
    for path in (source / name for name in NAMES_FILES):
        if path.is_file():
            try:
                names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
            except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}: its names cannot be read ({type(error).__name__}); names: [road, car] wanted"
                ) from None
            names = names if isinstance(names, dict) else dict(enumerate(names or ()))
            return {int(number): class_name(f"{path}: names", str(name)) for number, name in names.items()}
    listing = source / "classes.txt"
    rows = listing.read_text(encoding="utf-8").split("\n") if listing.is_file() else []
    return {i: name.strip() for i, name in enumerate(rows) if name.strip()}


def read_rows(path: Path) -> list[tuple[str, int, np.ndarray]]:
    """Place in words, class number and points (N, 2) of each row; two points of a box: its centre and size."""
    if not path.is_file():
        return []
    rows = []
    for line, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        fields = text.split()
        where = f"{path}, line {line}"
        if not fields:
            continue
        try:
            number, points = int(fields[0]), np.array([float(field) for field in fields[1:]])
        except ValueError:
            raise UserError(f"{where}: {brief(text)}; a class number and the points of a polygon wanted") from None
        if len(points) < 4 or len(points) % 2 or not ((points >= -OUTSIDE) & (points <= 1 + OUTSIDE)).all():
            raise UserError(f"{where}: {brief(text)}; x and y of each point wanted, as shares of the image from 0 to 1")
        rows.append((where, number, points.reshape(-1, 2)))
    return rows


def yolo_regions(rows: list[tuple], names: dict[int, str], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """The polygons of one image in their order in the file; boxes first, so that masks lie on top."""
    for _, number, points in sorted(rows, key=lambda row: len(row[2]) > 2):
        canvas = Image.new("L", (width, height))
        if len(points) == 2:
            center, size = points * (width, height)
            corners = [*(center - size / 2), *(center + size / 2)]
            ImageDraw.Draw(canvas).rectangle(corners, fill=1)
        else:
            ImageDraw.Draw(canvas).polygon((points * (width, height)).ravel().tolist(), fill=1, outline=1)
        yield BOX if len(points) == 2 else names[number], np.asarray(canvas) != 0
