"""COCO's JSON → drawings: polygons and run-length codes, crowds included."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from pycocotools import mask as run_length
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.files import read_image
from data_pipeline.findings import some
from data_pipeline.layouts import SPLIT_FOLDERS

from .annotations import (
    Annotations,
    Drawing,
    brief,
    by_id,
    check_points,
    check_size,
    class_name,
    entries,
    expect,
    json_files,
    json_files_below,
    locate,
    number_classes,
    only,
    read_annotations,
)

COCO_FOLDERS = ("", "images", "train", "valid", "val", "test", "train2017", "val2017", "test2017")
NO_MASK = (None, [], [[]], {})  # what stands for the segmentation of a box
MAX_OUTLINE = 2_000_000  # pixels along one annotation's polygons; pycocotools takes some 80 bytes for each
BOX = "box without a mask"  # the name under which it is drawn
MAX_CHARACTERS = 7  # of one compressed number: 35 bits


def read_coco(source: Path) -> Annotations:
    """Read the annotations of a COCO JSON file: polygons and run-length codes, crowds included.

    Reference: https://cocodataset.org/#format-data
    """
    if parts := coco_parts(source):
        return merge([replace_split(read_coco_file(path), split) for path, split in parts], source)
    return read_coco_file(find_coco_file(source))


def coco_parts(source: Path) -> list[tuple[Path, str]]:
    """The JSON files of a folder whose parts have one each, and the parts: train/_annotations.coco.json, valid/…, or
    annotations/instances_train2017.json, …; empty for another folder."""
    if not source.is_dir():
        return []
    paths = [path for folder in (source / "annotations", *sorted(source.glob("[!.]*/"))) for path in json_files(folder)]
    parts = {path: part_of(path) for path in dict.fromkeys(paths)}
    splits = [split for split in parts.values() if split]
    return list(parts.items()) if len(splits) == len(parts) == len(set(splits)) and len(parts) > 1 else []


def part_of(path: Path) -> str | None:
    """The part of the split that a file's folder or name says."""
    words = [path.parent.name.lower(), *re.findall(r"[a-z]+", path.stem.lower())]
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), None)


def replace_split(annotations: Annotations, split: str) -> Annotations:
    return replace(annotations, drawings=[replace(drawing, split=split) for drawing in annotations.drawings])


def merge(parts: list[Annotations], root: Path) -> Annotations:
    """Several files as one; classes are the same if they have the same name."""
    names = list(dict.fromkeys(name for part in parts for name in part.names))
    index = {}
    for part in parts:
        for name, number in part.index.items():
            index[name] = VOID if number == VOID else names.index(part.names[number])
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    return Annotations(root, names, index, [each for part in parts for each in part.drawings], parts[0].on_top, notes)


def read_coco_file(path: Path) -> Annotations:
    stored = read_annotations(path)
    images, names = by_id(path, stored, "images"), coco_names(path, stored)
    names = without_project(stored, names)
    listed, index = number_classes(path, list(names.values()))
    drawn, boxes = coco_annotations(path, stored, images, names)
    index |= {BOX: VOID} if boxes else {}

    root = coco_root(path)
    drawings = []
    for number, (where, entry) in tqdm(images.items(), "reading", unit="image", leave=False, disable=None):
        image = find_coco_image(where, entry, path.parent, root)
        size = read_image(image).shape[:2]
        check_size(where, (entry.get("width"), entry.get("height")), size, image)
        drawings.append(Drawing(image, image.read_bytes, size, partial(coco_regions, drawn[number], *size)))

    used = {name for annotations in drawn.values() for _, name, _ in annotations}
    unused = [name for name in names.values() if name not in used]
    notes = []
    if boxes:
        notes.append(f"{boxes} annotations are boxes without a mask: what lies in them is void")
    if unused:
        notes.append(f"{len(unused)} categories are drawn nowhere: {some(unused)}")
    return Annotations(root, listed, index, drawings, "the smaller area", notes)


def without_project(stored: dict, names: dict[int, str]) -> dict[int, str]:
    """The names without the one that Roboflow gives the whole project: drawn nowhere, and above all others."""
    entries = stored.get("annotations")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    drawn = {entry["category_id"] for entry in entries if isinstance(entry.get("category_id"), int)}
    above = {str(entry.get("supercategory")) for entry in stored["categories"]}
    return {number: name for number, name in names.items() if number in drawn or name not in above}


def coco_names(path: Path, stored: dict) -> dict[int, str]:
    """Category id → name, in the order of the ids."""
    categories = by_id(path, stored, "categories")
    names = {number: class_name(f"{where}: name", entry.get("name")) for number, (where, entry) in categories.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise UserError(f"{path}: two categories are called {brief(twice[0])}; give each a name of its own")
    return dict(sorted(names.items()))


def coco_annotations(path: Path, stored: dict, images: dict, names: dict[int, str]) -> tuple[dict[int, list], int]:
    """Image id → its annotations as (place in words, class name, segmentation); and how many are boxes alone."""
    drawn = {number: [] for number in images}
    boxes = 0
    for where, entry in entries(path, stored, "annotations"):
        image, category = (expect(f"{where}: {key}", entry.get(key), int) for key in ("image_id", "category_id"))
        if image not in images or category not in names:
            lost = f"image_id {brief(image)}" if image not in images else f"category_id {brief(category)}"
            raise UserError(f"{where}: {lost} is the id of none in the file; export it again")
        if entry.get("segmentation") in NO_MASK:
            boxes += 1
            drawn[image].append((where, BOX, [box_outline(where, entry.get("bbox"))]))
        else:
            drawn[image].append((where, names[category], entry["segmentation"]))
    if boxes == sum(map(len, drawn.values())):
        what = f"its {boxes} annotations are boxes, and boxes are no masks" if boxes else "it holds no annotations"
        raise UserError(f"{path}: {what}; export polygons or masks")
    return drawn, boxes


def box_outline(where: str, box) -> list[float]:
    """[x, y, width, height] → the outline as a polygon's coordinates, not checked yet."""
    sides = expect(f"{where}: bbox", box, list)
    if len(sides) != 4 or not all(type(side) in (int, float) for side in sides):
        raise UserError(f"{where}: bbox is {brief(box)}; [x, y, width, height] wanted")
    x, y, width, height = sides
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def find_coco_file(source: Path) -> Path:
    """The file itself, or the only JSON file of a folder or its annotations/, or else of its other sub-folders."""
    if source.is_file():
        return source
    files = json_files(source) + json_files(source / "annotations") or json_files_below(source)
    if len(files) != 1:
        listing = some([str(path.relative_to(source)) for path in files], 8) or "none"
        raise UserError(f"{source}: {len(files)} JSON files, one wanted: {listing}; name the one to convert")
    return files[0]


def coco_root(path: Path) -> Path:
    """The folder that holds a COCO file's images: its own, or the one around annotations/."""
    in_annotations = path.parent.absolute().name == "annotations"
    return Path(os.path.normpath(path.parent / "..")) if in_annotations else path.parent


def find_coco_image(where: str, entry: dict, folder: Path, root: Path) -> Path:
    name = expect(f"{where}: file_name", entry.get("file_name"), str)
    images = locate(where, name, [folder, *(root / inner for inner in COCO_FOLDERS)], root)
    if not images:
        tried = ", ".join(filter(None, COCO_FOLDERS))
        raise UserError(f"{where}: {brief(name)} is not in {root}, nor in its folders {tried}; put the images there")
    return only(where, images)


def coco_regions(annotations: list[tuple], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """The regions of one image by area, so that small objects stay visible on large ones.

    Each is encoded twice, for its area and for its pixels: a short polygon can become a long code, and so one
    code at a time is held.
    """
    areas = [int(run_length.area(encode(where, segmentation, height, width))) for where, _, segmentation in annotations]
    for i in sorted(range(len(areas)), key=areas.__getitem__, reverse=True):
        where, name, segmentation = annotations[i]
        yield name, run_length.decode(encode(where, segmentation, height, width)).view(bool)


def encode(where: str, segmentation, height: int, width: int) -> dict:
    """A segmentation, as polygons or as a run-length code, in the compressed form of pycocotools."""
    if isinstance(segmentation, dict):
        counts = run_lengths(where, segmentation, height, width)
        return run_length.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    rings = expect(f"{where}: segmentation", segmentation, list)
    outline = sum(outline_of(where, ring, height, width) for ring in rings)
    if outline > MAX_OUTLINE:
        raise UserError(
            f"{where}: its outline is {outline:,.0f} pixels long, at most {MAX_OUTLINE:,} wanted; simplify it"
        )
    return run_length.merge(run_length.frPyObjects(rings, height, width))


def outline_of(where: str, ring, height: int, width: int) -> float:
    """The length of a polygon x, y, x, y, … in pixels, a diagonal step counted as one."""
    expect(f"{where}: a polygon", ring, list)
    if len(ring) < 6 or len(ring) % 2:
        raise UserError(f"{where}: a polygon of {len(ring)} numbers; 6 or more wanted, an even count: x, y, x, y, …")
    points = check_points(where, [ring[i : i + 2] for i in range(0, len(ring), 2)], height, width)
    return np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()


def run_lengths(where: str, segmentation: dict, height: int, width: int) -> list[int]:
    """The lengths of the runs of 0, 1, 0, 1, … down the columns of a mask."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise UserError(f"{where}: a run-length code of size {brief(size)}; [{height}, {width}] wanted, as the image")
    if isinstance(counts, str):
        counts = decompress(where, counts)
    expect(f"{where}: counts", counts, list)
    if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != height * width:
        raise UserError(
            f"{where}: runs that do not add up to {height * width}, the image's pixels; export the file again"
        )
    return counts


def decompress(where: str, text: str) -> list[int]:
    """The numbers in COCO's compressed string.

    A character is "0" plus six bits: five of a signed number, the lowest first, and one that says that more
    follow. From the fourth on, a number is the difference from the one two before it. (maskApi.c of
    pycocotools, rleFrString; that trusts the string, and a bad one makes it read and write past its memory.)
    """
    bits = np.array([ord(character) - ord("0") for character in text], np.int64)
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        raise UserError(f"{where}: counts {brief(text)} is no compressed run-length code; export the file again")
    last = np.flatnonzero(bits & 32 == 0)
    lengths = np.diff(last, prepend=-1)
    if lengths.max() > MAX_CHARACTERS:
        raise UserError(f"{where}: counts {brief(text)} holds a number that is too large; export the file again")
    first = last - lengths + 1
    place = np.arange(len(bits)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((bits & 31) << 5 * place, first)
    numbers -= (bits[last] >> 4 & 1) << 5 * lengths  # the sign
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers.tolist()
