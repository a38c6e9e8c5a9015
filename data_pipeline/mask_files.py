"""Several mask files of one image: a file for each class, for each object, or for each annotator; told by their names.

A class's name comes back from image to image; an object's number or hash does not, or says only how many there are.
"""

import re
import unicodedata
from collections import Counter
from pathlib import Path

from .command import UserError
from .findings import some

MOST_CLASS_FILES = 254
UNITED = ("*",)  # in place of class names: all files of an image are parts of one class
SEPARATORS = "_-. "
SAME_NUMBERS = 0.9  # share of the images with the same numbers: then these may be classes as well
NEW_NAMES = 0.5  # share of the names that occur for one image only: then they are objects'
LEAST_NAMES = 6
ANNOTATOR = re.compile(
    r"\d(st|nd|rd|th)\w*|manual_?\d|(annotator|rater|expert|observer|reader|grader|doctor)[_-]?\w{1,3}|ho\d",
    re.IGNORECASE,
)


def name_of(path: Path) -> str:
    """A file's name without its ending, in one form of Unicode: Macs write é as two letters."""
    return unicodedata.normalize("NFC", path.stem)


def class_of_file(path: Path, stem: str) -> str:
    """photo_car.png of the image photo.jpg → car; car/photo.png → car."""
    name, stem = name_of(path), unicodedata.normalize("NFC", stem)
    return name[len(stem) + 1 :] if name.startswith(stem) and name != stem else path.parent.name


def base_of(name: str) -> str:
    """lesion2, lesion_2 → lesion."""
    return re.sub(r"[_-]?\d+$", "", name)


def owner_of(name: str, images) -> str | None:
    """The image that a mask's name begins with, followed by a separator: the longest."""
    ends = [place for place, letter in enumerate(name) if letter in SEPARATORS]
    return next((name[:end] for end in reversed(ends) if name[:end] in images), None)


def classes_of_files(names: dict[str, list[str]], one_class: bool = False, in_folders: bool = False) -> tuple[str, ...]:
    """The classes that have files of their own, sorted; or UNITED.

    Args:
        names: image → what its masks' names add to its own.
        one_class: the user says that all are objects of one class.
        in_folders: the names are those of folders, one for each class.

    Raises:
        UserError: for two annotators' masks, and for numbers that may be classes or objects.
    """
    if one_class:
        return UNITED
    if in_folders:
        return tuple(sorted({name for added in names.values() for name in added}))
    counts = Counter(name for added in names.values() for name in added)
    several = [added for added in names.values() if len(added) > 1]
    refuse_annotators(several)
    if any(len({base_of(name) for name in added}) < len(added) for added in several):
        return classes_of_numbered(names)
    once = sum(count == 1 for count in counts.values())
    if len(counts) >= LEAST_NAMES and once > NEW_NAMES * len(counts):
        return UNITED
    if len(counts) > MOST_CLASS_FILES:
        raise UserError(f"the masks' names end in {len(counts)} ways, such as {some(counts)}; {REMEDY}")
    return tuple(sorted(counts))


REMEDY = (
    "if each is an object, add --one-class, which unites the files of an image; if they are classes, give them names"
)


def refuse_annotators(several: list[list[str]]) -> None:
    for added in several:
        by = sorted(name for name in added if ANNOTATOR.fullmatch(name))
        if len(by) > 1:
            raise UserError(
                f"the masks' names end in {some(by)}: these seem to be two annotators' masks of the same image, not "
                f"classes; choose one of them: --mask-suffix=_{by[0]}"
            )


def classes_of_numbered(names: dict[str, list[str]]) -> tuple[str, ...]:
    """Objects that are numbered: lesion1, lesion2 are one class, if not every image has the same numbers."""
    usual, count = Counter(tuple(sorted(added)) for added in names.values()).most_common(1)[0]
    if count >= SAME_NUMBERS * len(names):
        raise UserError(f"there are several numbered masks for an image, such as {some(usual)}; {REMEDY}")
    bases = {base_of(name) for added in names.values() for name in added}
    return UNITED if len(bases) == 1 else tuple(sorted(bases))
