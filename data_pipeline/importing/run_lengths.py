"""Kaggle's run lengths in a CSV → drawings: start and length, start and length, …, counted from 1.

Most contests count down the columns, Carvana along the rows. Which of them is told by the outlines that each gives; of
square images, by the edges in the image that lie under them; what these do not tell is asked.
"""

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.files import list_images, read_image
from data_pipeline.findings import some
from data_pipeline.layouts import image_counts

from .annotations import Annotations, Drawing, brief, number_classes

CODES = re.compile(r"encodedpixels|encoded_pixels|encoding|rle|rle_mask|mask_rle|segmentation", re.IGNORECASE)
CLASSES = re.compile(r"class_?id|class|label|category(_?id)?", re.IGNORECASE)
ORDERS = ("columns", "rows")
LOOKED_AT = 20  # images from which the order is told
CLEAR = 1.2  # the better order's score by the other's
NOTHING = ("", "nan", "-1", "1 0")


def read_run_lengths(source: Path, order: str | None = None) -> Annotations:
    """Read a CSV of run lengths for the images that lie beside it or below; one row for each object or class.

    order: "columns" or "rows", which runs go along; None: it is told by the images.

    Columns: the image's name first, its code (EncodedPixels, rle, …), and, where there are classes, ClassId or
    ImageId_ClassId. Reference: https://www.kaggle.com/c/airbus-ship-detection/overview/evaluation
    """
    path = find_table(source)
    root = path.parent
    images = {}
    for folder in image_counts(root):
        images |= {image.name: image for image in list_images(root / folder)}
    images |= {image.stem: image for image in images.values()}
    codes, names = defaultdict(list), set()
    for where, image, name, code in rows_of(path):
        if image not in images:
            raise UserError(f"{where}: no image {brief(image)} in {root} or below; put the images there")
        codes[images[image]].append((where, name, code))
        names |= {name}
    listed, index = number_classes(path, sorted(names))
    order, words = (order, f"run lengths go along the {order}, as told") if order else order_of_runs(codes)
    drawings = []
    for image, parts in tqdm(codes.items(), "reading", unit="image", leave=False, disable=None):
        size = read_image(image).shape[:2]
        drawings.append(Drawing(image, image.read_bytes, size, partial(regions_of_codes, parts, *size, order)))
    rest = sorted({image.name for image in images.values() if image not in codes})
    notes = [f"{path.name} is read; {words}"]
    notes += [f"{len(rest)} images stand in no row, and are left out: {some(rest)}"] if rest else []
    return Annotations(root, listed, index, drawings, "the later row", notes)


def find_table(source: Path) -> Path:
    """The CSV itself, or the one of a folder that holds codes and is no form to fill in."""
    if source.is_file():
        return source
    tables = [path for path in sorted(source.glob("*.csv")) if any(CODES.fullmatch(name) for name in header(path))]
    tables = [path for path in tables if "sample" not in path.name and "submission" not in path.name] or tables
    if len(tables) != 1:
        listing = some([path.name for path in tables]) or "none"
        raise UserError(f"{source}: one CSV with a column EncodedPixels or rle is wanted, there are: {listing}")
    return tables[0]


def header(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        return [name.strip() for name in next(csv.reader(file), [])]


def rows_of(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Place in words, image, class and code of each row."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # codes of large masks are long
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = reader.fieldnames or []
        code = next((name for name in columns if CODES.fullmatch(name.strip())), None)
        label = next((name for name in columns[1:] if CLASSES.fullmatch(name.strip())), None)
        if code is None or code == columns[0]:
            raise UserError(f"{path}: its columns are {', '.join(columns)}; the image's name and EncodedPixels wanted")
        both = re.fullmatch(r"image_?id_class_?id", columns[0].strip(), re.IGNORECASE)
        for line, row in enumerate(reader, start=2):
            image, name = (row[columns[0]] or "").strip(), (row.get(label) or "").strip() if label else "object"
            if both:
                image, _, name = image.rpartition("_")
            name = f"class_{name}" if name.isdigit() else name or "object"
            yield f"{path}, line {line}", image, name, (row[code] or "").strip()


def regions_of_codes(
    parts: list[tuple[str, str, str]], height: int, width: int, order: str
) -> Iterator[tuple[str, np.ndarray]]:
    for where, name, code in parts:
        if code.lower() not in NOTHING:
            yield name, decode(where, code, height, width, order)


def order_of_runs(codes: dict[Path, list[tuple[str, str, str]]]) -> tuple[str, str]:
    """Return "columns" or "rows", whichever the runs go along, and words for it.

    Read in the wrong order, outlines are torn to stripes; in square images the mask is turned over instead, away from
    the edges in its image.

    Raises:
        UserError: if neither tells.
    """
    looked = [
        (image, parts) for image, parts in codes.items() if any(code.lower() not in NOTHING for *_, code in parts)
    ]
    lengths, edges = (dict.fromkeys(ORDERS, 0.0) for _ in range(2))
    for image, parts in looked[:LOOKED_AT]:
        pixels = read_image(image)
        for order in ORDERS:
            for _, mask in regions_of_codes(parts, *pixels.shape[:2], order):
                length, edge = outline(mask, pixels)
                lengths[order] += length if mask.shape[0] != mask.shape[1] else 0
                edges[order] += edge
    for scores, best, words in ((lengths, min, "their smoother outlines"), (edges, max, "the edges in the images")):
        order = best(ORDERS, key=scores.get)
        if max(scores.values()) > CLEAR * min(scores.values()):
            return order, f"run lengths go along the {order}, by {words}"
    raise UserError(
        "do the run lengths go down the columns, as in most of Kaggle's contests, or along the rows, as in Carvana? "
        "The images do not tell; add --order columns, or --order rows"
    )


def outline(mask: np.ndarray, image: np.ndarray) -> tuple[int, float]:
    """Return how long a mask's outline is, in pairs of pixels, and how much the image differs across it, on average."""
    grey = image.mean(2, dtype=np.float32)
    steps = [(mask[1:] != mask[:-1], np.abs(grey[1:] - grey[:-1]))]
    steps += [(mask[:, 1:] != mask[:, :-1], np.abs(grey[:, 1:] - grey[:, :-1]))]
    length = sum(int(across.sum()) for across, _ in steps)
    return length, sum(float(change[across].sum()) for across, change in steps) / max(1, length)


def decode(where: str, code: str, height: int, width: int, order: str) -> np.ndarray:
    """A run-length code as bool (H, W), counted along the "columns" or the "rows"."""
    try:
        numbers = np.array([int(number) for number in code.split()], np.int64)
    except ValueError:
        raise UserError(f"{where}: {brief(code)}; start and length of each run wanted, whole numbers") from None
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    if len(numbers) % 2 or (starts < 0).any() or (lengths < 0).any() or (starts + lengths > height * width).any():
        raise UserError(
            f"{where}: runs that leave the image of {width}×{height} pixels; start (from 1) and length wanted"
        )
    steps = np.zeros(height * width + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    inside = steps[:-1].cumsum() > 0
    return inside.reshape(height, width) if order == "rows" else inside.reshape(width, height).T
