"""Shared parts of the readers of annotations: checked values out of JSON, class names, images inside of their folders.

A JSON file is a stranger: each number in it is checked before it reaches the C code of pycocotools or Pillow,
and only images inside of its own folders are read.
"""

import base64
import io
import os
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.encoding import MAX_CLASSES, VOID, VOID_NAMES, is_background
from data_pipeline.files import FORMATS, IMAGE_SUFFIXES, read_json
from data_pipeline.findings import some

MAX_EMBEDDED = 1 << 26  # pixels of a picture inside a JSON file, where a few bytes can ask for gigabytes
KINDS = {dict: "an object {…}", list: "a list […]", str: "a text", int: "a whole number"}


@dataclass(frozen=True)
class Drawing:
    """One image and what is drawn on it."""

    path: Path  # names the image; it need not exist where the bytes come from elsewhere
    content: Callable[[], bytes]  # the bytes of the image file
    size: tuple[int, int]  # height, width
    regions: Callable[[], Iterator[tuple[str, np.ndarray]]]  # class name and bool (H, W); the later ones lie on top
    split: str | None = None  # "train", "val", "test", where the source says so


@dataclass(frozen=True)
class Annotations:
    """The content of a data set's annotation files."""

    root: Path  # the folder that holds every image
    names: list[str]  # of the classes, background first
    index: dict[str, int]  # every name in use → class index or VOID
    drawings: list[Drawing]
    on_top: str  # what wins where two classes claim a pixel
    notes: list[str]


def read_annotations(path: Path) -> dict:
    return expect(f"{path}", read_json(path), dict)


def entries(path: Path, stored: dict, key: str) -> list[tuple[str, dict]]:
    """The objects in a list of a JSON file, each with its place in words."""
    listed = expect(f"{path}: {key}", stored.get(key), list)
    return [(f"{path}, {key}[{i}]", expect(f"{path}, {key}[{i}]", entry, dict)) for i, entry in enumerate(listed)]


def by_id(path: Path, stored: dict, key: str) -> dict[int, tuple[str, dict]]:
    """The objects in a list of a COCO file by their id, each with its place in words."""
    places = {}
    for where, entry in entries(path, stored, key):
        number = expect(f"{where}: id", entry.get("id"), int)
        if number in places:
            raise UserError(f"{where}: the id {brief(number)} stands twice; export the file again")
        places[number] = (where, entry)
    return places


def expect(where: str, value, kind: type):
    """The value, if it is of the kind; True and False are no whole numbers."""
    if type(value) is not kind:
        came = "missing" if value is None else brief(value)
        raise UserError(f"{where}: {came}; {KINDS[kind]} wanted; correct the file, or export it again")
    return value


def brief(value) -> str:
    """A value in few characters, those that cannot be printed escaped."""
    form = reprlib.Repr()
    form.maxstring = form.maxother = form.maxlong = 80
    return form.repr(value)


def class_name(where: str, value) -> str:
    name = expect(where, value, str).strip()
    if not name or not name.isprintable():
        raise UserError(f"{where}: {brief(value)} cannot be shown; name the class with letters")
    return name


def number_classes(source: Path, names: list[str]) -> tuple[list[str], dict[str, int]]:
    """Class names, background first and then the given order; and every given name's index, or VOID.

    What is called background or void, in any case and with or without underscores around it, is no new class.
    """
    listed, index = ["background"], {}
    for name in names:
        if name.strip("_ ").lower() in VOID_NAMES:
            index[name] = VOID
        elif is_background(name):
            index[name] = 0
        else:
            index[name] = len(listed)
            listed.append(name)
    if not 2 <= len(listed) <= MAX_CLASSES:
        raise UserError(
            f"{source}: {len(listed) - 1} classes besides background and void; 1 to {MAX_CLASSES - 1} wanted"
        )
    return listed, index


def check_points(where: str, points: list, height: int, width: int) -> np.ndarray:
    """Points [x, y] as float (N, 2); each lies at most the image's own width and height outside of it."""
    for point in points:
        if type(point) is not list or len(point) != 2 or not (is_near(point[0], width) and is_near(point[1], height)):
            raise UserError(
                f"{where}: the point {brief(point)}; [x, y] in or near the image of {width}×{height} pixels wanted; "
                "draw it again"
            )
    return np.array(points, float)


def is_near(value, length: int) -> bool:
    return type(value) in (int, float) and -length <= value <= 2 * length  # False for NaN


def locate(where: str, name: str, folders: list[Path], root: Path) -> list[Path]:
    """The files of that name in some folders; a name with ".." counts from the first folder alone.

    Backslashes are separators. Links on the disk are followed: whoever put them there can read what they point to.

    Raises:
        UserError: for an absolute path, or one that leads out of the root.
    """
    written = PureWindowsPath(name)
    folders = folders[:1] if ".." in written.parts else folders
    paths = {Path(os.path.normpath(folder / written.as_posix())) for folder in folders if not written.anchor}
    inside = [path for path in paths if Path(os.path.relpath(path, root)).parts[:1] != ("..",)]
    if not inside:
        raise UserError(f"{where}: {brief(name)} lies outside of {root}; move the image there, and correct its path")
    return sorted(path for path in inside if os.path.isfile(path))  # unlike Path's, False for a name that cannot be


def only(where: str, images: list[Path]) -> Path:
    """The image, if there is exactly one.

    Raises:
        UserError: if there are several, or if the other commands would not see it as an image.
    """
    if len(images) > 1:
        raise UserError(f"{where}: which image is meant? There are {some([str(path) for path in images])}; keep one")
    if images[0].suffix.lower() not in IMAGE_SUFFIXES or images[0].name.startswith("."):
        raise UserError(f"{where}: {images[0]} is not called like an image (.png, .jpg, …); rename it, there and here")
    return images[0]


@contextmanager
def opened(encoded: bytes, where: str) -> Iterator[Image.Image]:
    """A picture out of a JSON file, of which only the header is read yet."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_EMBEDDED:
                size = f"{picture.width}×{picture.height}"
                raise UserError(f"{where}: {size} pixels; at most {MAX_EMBEDDED:,} wanted; keep the image in a file")
            yield picture
    except UserError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged data
        raise UserError(f"{where}: not a readable picture ({error}); annotate the image again") from None


def check_size(where: str, stated: tuple, size: tuple[int, int], image: Path) -> None:
    """Hold the width and height that a JSON file states to those of the image, turned as its EXIF says."""
    height, width = size
    if stated == (width, height):
        return
    remedy = "put back the image that was annotated, or annotate this one"
    if stated == (height, width):
        remedy = "if its EXIF orientation turns it, remove that from the file, so that it lies as it was annotated"
    came = "×".join(brief(number) for number in stated)
    raise UserError(f"{where}: says {came} pixels (width×height), but {image} has {width}×{height}; {remedy}")


def decode_base64(where: str, value) -> bytes:
    try:
        return base64.b64decode(expect(where, value, str))
    except ValueError as error:
        raise UserError(f"{where}: not in base64 ({error}); save the file again") from None


def json_files(folder: Path) -> list[Path]:
    """The JSON files directly in a folder, by name; hidden ones are passed over."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith(".") and path.is_file())


def json_files_below(folder: Path) -> list[Path]:
    return [path for child in sorted(folder.glob("[!.]*/")) for path in json_files(child)]
