"""Schemas of a run's files. A run may come from a stranger, so each value is checked where it is read.

A check is a function of a place and a value; it raises Unfit. ``read`` reads a file with one. The same checks hold when
a run is made, so that nothing is written that would be refused later.
"""

import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.encoding import MAX_CLASSES
from data_pipeline.files import MAX_BYTES, read_json
from data_pipeline.importing.annotations import brief

from .config import ClassifierConfig, TrainConfig

Check = Callable[[str, object], None]

# No control characters (a terminal obeys them), no line ends, no halves of characters.
UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
LONGEST_TEXT = 4096  # characters: the longest path of Linux
LONGEST_NOTE = 1 << 19  # characters: names and values of all classes
LONGEST_NAME = 240  # bytes of one part of a stem: 255, less the endings that are put behind it
MOST_ROWS = 10_000_000
MOST_CHANNELS = 4096
MOST_PIXELS = 1 << 16  # along one side
MOST_AREA = 1 << 26  # of what images are resized to
LARGEST_SEED = 2**32 - 1
MOST = 2**32  # of a whole number that has no bound of its own
REMEDY = "This version of the program did not write it so: put that file back as it was, or train again"


# What zipfile, NumPy, h5py and Keras raise on damaged files: seen in thousands of damages (tests/test_border.py).
DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, NotImplementedError, RuntimeError),
    *(OverflowError, MemoryError, RecursionError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


class Unfit(ValueError):
    """A value that a file of a run must not hold: the message says where it stands, what came and what was wanted."""


def read(path: Path, check: Check):
    """Parse a JSON file of a run.

    Raises:
        UserError: if it is missing or no JSON, or a value is not what the check wants, naming the file and the place.
    """
    return checked(path, read_json(path), check)


def checked(path: Path, value, check: Check):
    """Return what was read from a file, if it is what the check wants; else raise a UserError."""
    try:
        check("", value)
    except Unfit as error:
        raise UserError(f"{path}: {error}. {REMEDY}") from None
    return value


def refuse(where: str, value, wanted: str) -> None:
    raise Unfit(f"{where or 'it holds'}: {brief(value)}; {wanted} is wanted")


def whole(low: int = 0, high: int = MOST) -> Check:
    def check(where, value):
        if type(value) is not int or not low <= value <= high:
            refuse(where, value, f"a whole number from {low} to {high}")

    return check


def real(low: float = -1e300, high: float = 1e300) -> Check:
    """A finite number."""

    def check(where, value):
        if type(value) not in (int, float) or not low <= value <= high:
            refuse(where, value, f"a number from {low:g} to {high:g}")

    return check


def text(wanted: str = "a text", fits: Callable[[str], bool] = bool, longest: int = LONGEST_TEXT) -> Check:
    def check(where, value):
        if type(value) is not str or len(value) > longest or UNSHOWN.search(value) or not fits(value):
            refuse(where, value, f"{wanted}, of at most {longest} characters and none that steers a terminal,")

    return check


def choice(*values) -> Check:
    def check(where, value):
        if not any(type(value) is type(known) and value == known for known in values):
            refuse(where, value, " or ".join(map(repr, values)))

    return check


def ANY(where, value) -> None:
    """Whatever it is: nobody reads it."""


def optional(inner: Check) -> Check:
    """null, or what ``inner`` wants."""

    def check(where, value):
        if value is not None:
            inner(where, value)

    return check


def either(*checks: Check) -> Check:
    """Return a check for what one of these accepts; the last one says what is wanted."""

    def check(where, value):
        for each in checks[:-1]:
            try:
                return each(where, value)
            except Unfit:
                continue
        return checks[-1](where, value)

    return check


def listed(inner: Check, least: int = 0, most: int = MOST_ROWS) -> Check:
    def check(where, value):
        if type(value) is not list or not least <= len(value) <= most:
            refuse(where, value, f"a list of {least if least == most else f'{least} to {most}'}")
        for i, entry in enumerate(value):
            inner(f"{where}[{i}]", entry)

    return check


def record(needed: dict[str, Check], known: dict[str, Check] | None = None, others: Check | None = None) -> Check:
    """An object with all keys of ``needed``, maybe some of ``known``, and others only if there is a check for them."""
    checks = (known or {}) | needed

    def check(where, value):
        if type(value) is not dict:
            refuse(where, value, "an object {…}")
        for key in needed.keys() - value.keys():
            raise Unfit(f"{where or 'it'} has no {key!r}")
        for key, entry in value.items():
            TEXT(f"{where}, a key", key)
            inner = checks.get(key, others)
            if inner is None:
                raise Unfit(f"{where or 'it'} has a strange {brief(key)}")
            inner(f"{where}.{key}" if where else key, entry)

    return check


def table(inner: Check) -> Check:
    """An object of any keys."""
    return record({}, others=inner)


def is_inside(name: str) -> bool:
    """Return whether a name, with folders maybe, stays inside of the folder that it is put into, and is written one
    way."""
    parts = name.split("/")
    return (
        str(PurePosixPath(name)) == name
        and not PurePosixPath(name).is_absolute()
        and not PureWindowsPath(name).anchor
        and not {"", ".", ".."} & {part.strip() for part in re.split(r"[/\\]", name)}
        and all(len(part.encode()) <= LONGEST_NAME for part in parts)
    )


def is_relative(path: str) -> bool:
    """Return whether a path begins at the data set's root. It may climb: a CSV can list images outside of its own
    folder."""
    return bool(path) and not PurePosixPath(path).is_absolute() and not PureWindowsPath(path).anchor


def of_type(hint) -> Check:
    """The check of a setting of this type: Literal, bool, int, float, str, Path, a tuple of one of them, or None."""
    if get_origin(hint) is Literal:
        return choice(*get_args(hint))
    if get_origin(hint) is tuple:
        return listed(of_type(get_args(hint)[0]), 0, 1 << 16)
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return optional(either(*map(of_type, kinds)))
    return {
        bool: choice(True, False),
        int: whole(-MOST),
        float: real(),
        str: TEXT,
        Path: TEXT,
    }[hint]


TEXT = text(fits=lambda value: True)
NAME = text("a name", longest=1000)
STEM = text("a name that stays inside of its folder", is_inside)
PATH = text("a path relative to the data set's root", is_relative)
SEED = whole(0, LARGEST_SEED)
PLAIN = optional(
    either(choice(True, False), whole(-MOST), real(), listed(whole(-MOST), 0, 1 << 16), TEXT)
)  # settings of other versions
SIDES = listed(whole(1, MOST_PIXELS), 2, 2)
AT_LEAST_ONE = ("steps", "steps_per_epoch", "batch_size", "crop", "tile", "folds", "train_count", "train_per_class")

FRAME = record(
    {"size": optional(SIDES), "tile": SIDES, "margin": whole(0, MOST_PIXELS), "crops": choice(True, False)},
)


@cache
def settings(kind: type) -> Check:
    """config.json, folds.json and strategies.json: the settings of a kind, TrainConfig or ClassifierConfig."""
    known = {name: of_type(hint) for name, hint in get_type_hints(kind).items()}
    known |= {name: optional(whole(1)) for name in AT_LEAST_ONE if name in known}
    known |= {"seed": SEED, "split_seed": SEED, "frame": FRAME, "name": optional(NAME), "resume": choice(None)}
    needed = ("seed", "model", "symmetry", "folds", "fold")
    if kind is ClassifierConfig:
        needed = ("seed", "backbone", "strategy", "label_from_masks", "tile")
    return record({name: known[name] for name in needed}, known, others=PLAIN)


def of_several(kind: type) -> Check:
    """folds.json and strategies.json, which cannot be without the data and, of folds, their number."""
    needed = {"data": TEXT, "runs_dir": TEXT} | ({"folds": whole(2)} if kind is TrainConfig else {})

    def check(where, value):
        settings(kind)(where, value)
        record(needed, others=ANY)(where, value)

    return check


def config(where: str, value) -> None:
    """config.json of a run, of either kind."""
    classifies = type(value) is dict and "strategy" in value
    settings(ClassifierConfig if classifies else TrainConfig)(where, value)
    record({"data": TEXT, "runs_dir": TEXT, "frame": FRAME}, others=ANY)(where, value)
    size, stated = value["frame"]["size"], value.get("size")
    if size != ([int(number) for number in re.findall("[0-9]+", stated)] if stated else None) or (
        classifies and not size
    ):
        refuse("frame.size", size, f'what "size" says, {brief(stated)},')
    if size and math.prod(size) > MOST_AREA:
        refuse("frame.size", size, f"at most {MOST_AREA} pixels")


COLOR = listed(whole(0, 255), 3, 3)
ENCODING = record(
    {
        "names": listed(NAME, 1, MAX_CLASSES),
        "values": listed(whole(-MOST // 2, MOST // 2 - 1), 1, MAX_CLASSES),
        "colors": listed(COLOR, 1, MAX_CLASSES),
        "void": listed(whole(-MOST // 2, MOST // 2 - 1), 0, 1 << 16),
        "is_color": choice(True, False),
        "tolerance": whole(0, 255),
        "files": listed(TEXT, 0, MAX_CLASSES),
        "note": text(fits=lambda value: True, longest=LONGEST_NOTE),
    },
    {"above_zero": optional(whole(0, MAX_CLASSES))},
)
SCALE = record(
    {
        "dtype": choice("uint8", "uint16", "float32"),
        "low": listed(real(-1e38, 1e38), 1, MOST_CHANNELS),
        "high": listed(real(-1e38, 1e38), 1, MOST_CHANNELS),
    }
)
ANY_DATASET = {
    "root": text("a path"),
    "channels": whole(1, MOST_CHANNELS),
    "scale": SCALE,
    "fingerprint": text("64 hexadecimal digits", re.compile("[0-9a-f]{64}").fullmatch),
}
OF_MASKS = record(ANY_DATASET | {"encoding": ENCODING, "class_frequencies": table(real(0, 1))})
OF_LABELS = record(ANY_DATASET | {"classes": listed(NAME, 2), "class_counts": table(whole())})


def dataset(where: str, value) -> None:
    """dataset.json of a run, of either kind."""
    classifies = type(value) is dict and "classes" in value
    (OF_LABELS if classifies else OF_MASKS)(where, value)
    names = value["classes"] if classifies else value["encoding"]["names"]
    shares = value["class_counts" if classifies else "class_frequencies"]
    if len(set(names)) < len(names) or list(shares) != names:
        refuse("the classes", names, "each class once, and numbers for each of them in the same order,")
    if not classifies and not len(names) == len(value["encoding"]["values"]) == len(value["encoding"]["colors"]):
        refuse("encoding.values", value["encoding"]["values"], f"a value and a colour for each of {len(names)} classes")
    if not classifies and len(set(value["encoding"]["values"])) < len(names):
        refuse("encoding.values", value["encoding"]["values"], "a value of its own for each class")
    low, high = value["scale"]["low"], value["scale"]["high"]
    if not len(low) == len(high) == value["channels"] or not all(a < b for a, b in zip(low, high, strict=True)):
        refuse("scale", [low, high], "for each channel a low and a higher number")


GROUP = optional(TEXT)
PAIR = record({"stem": STEM, "image": PATH, "mask": PATH, "group": GROUP, "class_masks": listed(PATH)})
CORNER = listed(whole(0, MOST), 2, 2)
PHOTO = record({"stem": STEM, "image": PATH, "label": whole(), "group": GROUP, "corner": optional(CORNER)})


@cache
def of_split(row: Check) -> Check:
    parts = {"train": listed(row, 1), "val": listed(row), "test": listed(row)}
    return record({"seed": SEED, "fixed": choice(True, False)} | parts)


def split(where: str, value, classes: list[str] | None = None, tiled: bool = False) -> None:
    """split.json. classes: those of a classifier, whose photos are tiles or not; None: pairs of image and mask."""
    of_split(PAIR if classes is None else PHOTO)(where, value)
    rows = value["train"] + value["val"] + value["test"]
    stems = set()
    for row in rows:
        if row["stem"] in stems:
            refuse("stem", row["stem"], "each image once")
        stems.add(row["stem"])
        if classes is not None and (row["label"] >= len(classes) or (row["corner"] is not None) != tiled):
            refuse(f"the row of {row['stem']}", row, f"one of {len(classes)} labels, and a corner if it is a tile,")


DOUBT = record(
    {key: whole(0, MOST_PIXELS**2) for key in ("top", "left", "bottom", "right", "truth", "prediction", "pixels")}
    | {"stem": STEM, "confidence": real(0, 1.001), "score": real(0, 1e9)}
)


def evaluation(where: str, value) -> None:
    """Check what counts.npz holds beside its counts."""
    names, row = listed(NAME, 1, MOST_CHANNELS), listed(TEXT, 1)
    record({"names": names, "stems": listed(STEM, 1), "groups": row, "truths": row, "doubts": listed(DOUBT)})(
        where, value
    )
    stems, names = value["stems"], value["names"]
    if len(set(stems)) < len(stems) or len(set(names)) < len(names):
        raise Unfit("an image or a class stands there twice")
    if not len(stems) == len(value["groups"]) == len(value["truths"]):
        raise Unfit(f"it has {len(stems)} names, {len(value['groups'])} groups, {len(value['truths'])} hashes of masks")
    for doubt in value["doubts"]:
        if max(doubt["truth"], doubt["prediction"]) >= len(names):
            raise Unfit("a doubt of a class that is not there")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, by name.

    Raises:
        DAMAGE: if it is damaged, or small and asks for much memory.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise Unfit(f"it unpacks to more than {MAX_BYTES} bytes")
    with np.load(path, allow_pickle=False) as stored:  # zip: each array is checked by its CRC
        return {key: stored[key] for key in stored.files}


def rows_of_history(columns: list[str]) -> Check:
    """The rows of history.csv; losses and scores may be no number."""

    def any_float(where, value):
        if type(value) not in (int, float):
            refuse(where, value, "a number")

    counted = {"epoch": whole(1), "step": whole(1), "seconds": real(0, 1e12)}
    return listed(record({name: counted.get(name, any_float) for name in columns}), 1)


UNLABELLED = record({"images": table(text("64 hexadecimal digits", re.compile("[0-9a-f]{64}").fullmatch))})
SURE = record(
    {
        "threshold": real(0, 1),
        "pixels": whole(0, 10**15),
        "classes": listed(NAME, 1, MAX_CLASSES),
        "sure": table(listed(whole(), 1, MAX_CLASSES)),
    }
)
OPENINGS = listed(record({"time": TEXT, "command": listed(TEXT)}))
METRICS = record(
    {},
    {
        "data": TEXT,
        "tta": TEXT,
        "void": listed(either(listed(whole(), 3, 3), whole(-MOST))),
    },
    others=ANY,  # scores: read by nobody but who wrote them
)
COST = record(
    {
        "parameters": whole(0, 10**12),
        "trainable_parameters": whole(0, 10**12),
        "images": whole(1),
        "label_bits_per_image": table(real(0, 1e12)),
        "steps": whole(1),
        "seconds": real(0, 1e12),
        "seconds_per_epoch": real(0, 1e12),
        "peak_memory_bytes": optional(whole(0, 1 << 50)),
        "device": TEXT,
    }
)
ENVIRONMENT = record({}, {"command": listed(TEXT), "packages": table(optional(TEXT))}, others=PLAIN)
