"""Images with one label each: a folder for each class, or a rule that reads an image's label off its mask.

Rules for a segmentation data set, where the classes are those of its masks:

largest         the foreground class with most pixels (of equals the first); no foreground, no label
presence:CLASS  whether one pixel of CLASS is there: "without CLASS", "with CLASS"
centre          of tiles, side by side: the class of the tile's centre pixel; void, no label
"""

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .command import UserError
from .encoding import VOID, Encoding
from .files import list_images, read_image
from .findings import Finding, some
from .inspection import Inspection, digest
from .loader import read_pair
from .pairs import SPLIT_FOLDERS, Pair, image_and_mask_folders
from .split import Split

LEAST_IMAGES = 2  # of a class, or no part could be held out
LAYOUT = """wanted one of:
  DIR/CLASS/*.jpg, a folder for each class
  DIR/train/CLASS/*.jpg, DIR/validation/CLASS/…, DIR/test/CLASS/…
  a segmentation data set, with --label-from-masks largest, presence:CLASS or centre"""


@dataclass(frozen=True)
class Photo:
    """An image, or a tile of one, and its class. ``stem`` is unique in the data set."""

    stem: str
    image: Path
    label: int
    split: str | None = None  # "train", "val", "test", where the data set itself says so
    group: str | None = None  # images of one group never straddle a split
    corner: tuple[int, int] | None = None  # of a tile: top, left, in pixels

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.image,)

    def to_row(self, relative) -> dict:
        """JSON's form; ``relative`` makes a path relative to the data set's root."""
        return {
            "stem": self.stem,
            "image": relative(self.image),
            "label": self.label,
            "group": self.group,
            "corner": self.corner,
        }

    @classmethod
    def from_row(cls, row: dict, root: Path, split: str) -> "Photo":
        corner = tuple(row["corner"]) if row["corner"] else None
        return cls(row["stem"], root / row["image"], row["label"], split, row["group"], corner)


@dataclass(frozen=True)
class PhotoSet:
    """A classification data set that was read through."""

    names: tuple[str, ...]
    photos: list[Photo]
    sizes: set[tuple[int, int]]  # (H, W) of the images
    kind: tuple[str, int]  # their dtype and number of channels
    findings: list[Finding]
    hashes: dict[str, str] = field(default_factory=dict)  # of the files' bytes, by the photos' stems

    def presence(self) -> np.ndarray:
        """bool (photos, classes): which has which label."""
        return np.eye(len(self.names), dtype=bool)[[photo.label for photo in self.photos]]


def find_photos(root: Path, group_by: str | None = None, to_train: bool = True) -> PhotoSet:
    """A folder for each class, below the root or below train, validation and test; every image is read once.

    to_train: classes that cannot be trained on are errors, too.

    Raises:
        UserError: for no folder of this kind, and a regular expression that does not match.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {LAYOUT}")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    parts = {folder: SPLIT_FOLDERS[folder.name.lower()] for folder in folders if folder.name.lower() in SPLIT_FOLDERS}
    if parts and len(parts) < len(folders):
        raise UserError(f"{root}: holds {some(f.name for f in folders)}: parts of a split and other folders; {LAYOUT}")
    by_class = [
        (part, folder)
        for above, part in (parts or {root: None}).items()
        for folder in sorted(above.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    ]
    if any(image_and_mask_folders(above) for above in parts or [root]):
        raise UserError(
            f"{root}: images and masks, a segmentation data set; say with --label-from-masks how an image's label is "
            "read off its mask"
        )
    names = tuple(sorted({folder.name for _, folder in by_class}))
    if not names:
        raise UserError(f"{root}: holds no folder of a class; {LAYOUT}")
    photos = [
        Photo("/".join(path.relative_to(root).with_suffix("").parts), path, names.index(folder.name), part)
        for part, folder in by_class
        for path in list_images(folder)
    ]
    findings = names_twice(photos) + (wrong_classes(names, by_class, photos) if to_train else [])
    if any(finding.level == "error" for finding in findings):
        return PhotoSet(names, photos, set(), ("uint8", 3), findings)
    findings += left_out([root, *parts], [folder for _, folder in by_class])
    photos = group_photos(photos, group_by) if group_by else photos
    data = read_through(names, photos, findings)
    return data if parts or not to_train else without_copies(data)


def left_out(above: list[Path], of_classes: list[Path]) -> list[Finding]:
    """Images that lie where none is read: beside the folders of the classes, or in folders within them."""
    strays = [path for folder in above for path in list_images(folder)]
    inner = [path for folder in of_classes for path in sorted(folder.iterdir())]
    strays += [path for path in inner if path.is_dir() and not path.name.startswith(".") and list_images(path)]
    if not strays:
        return []
    message = f"{some(strays)}: left out; an image's class is the folder that it lies in, DIR/CLASS/IMAGE"
    return [Finding("warning", "left-out", message, files=tuple(map(str, strays)))]


def names_twice(photos: list[Photo]) -> list[Finding]:
    """Images of one class that differ in the ends of their names alone."""
    stems, findings = Counter(photo.stem for photo in photos), []
    for stem in [stem for stem, number in stems.items() if number > 1]:
        same = [str(photo.image) for photo in photos if photo.stem == stem]
        findings.append(Finding("error", "duplicate-stem", f"{some(same)}: one name", "rename one", tuple(same)))
    return findings


def wrong_classes(names: tuple[str, ...], by_class: list[tuple], photos: list[Photo]) -> list[Finding]:
    """One class, classes without images, with too few, or lacking in a part."""
    findings, reported = [], set()
    parts = {part for part, _ in by_class}
    trained = "train" if parts != {None} else None
    if len(names) < 2:
        message = f"one class alone, {names[0]}: there is nothing to tell apart"
        findings.append(Finding("error", "one-class", message, "give each class a folder of its own"))
        reported.add(names[0])
    count = Counter((photo.split, photo.label) for photo in photos)
    for part, folder in by_class:
        if not count[part, names.index(folder.name)]:
            findings.append(Finding("error", "empty-class", f"{folder}: holds no image", "fill it, or remove it"))
            reported |= {folder.name} if part == trained else set()
    for label, name in enumerate(names):
        held = count[trained, label]
        if held < LEAST_IMAGES and name not in reported:
            message = f"class {name} has {'no image' if not held else 'one image'} to train on"
            remedy = f"at least {LEAST_IMAGES} are wanted (a useful number is 20 or more), or remove the class"
            findings.append(Finding("error", "class-too-small", message, remedy))
        for part in sorted(parts - {trained, None}):
            if not count[part, label]:
                findings.append(Finding("warning", "class-not-held-out", f"class {name} has no image in {part}"))
    return findings


def group_photos(photos: list[Photo], expression: str) -> list[Photo]:
    """The photos with a group each: what the expression's brackets match in a file's name, or all that it matches."""
    from .pairs import group

    pairs = group([Pair(photo.image.stem, photo.image, photo.image) for photo in photos], expression)
    return [replace(photo, group=pair.group) for photo, pair in zip(photos, pairs, strict=True)]


def read_through(names: tuple[str, ...], photos: list[Photo], findings: list[Finding]) -> PhotoSet:
    """Decode every image once: what is damaged, of another kind, or stands on both sides of a given split."""

    def read(photo: Photo):
        try:
            image = read_image(photo.image)
        except UserError as error:
            return Finding("error", "unreadable-image", str(error), files=(str(photo.image),))
        return image.shape[:2], (image.dtype.name, image.shape[2]), digest(photo)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(tqdm(pool.map(read, photos), "checking", len(photos), unit="image", leave=False, disable=None))
    findings = findings + [result for result in results if isinstance(result, Finding)]
    seen = [(photo, *read) for photo, read in zip(photos, results, strict=True) if not isinstance(read, Finding)]
    kinds = Counter(kind for _, _, kind, _ in seen)
    usual = kinds.most_common(1)[0][0] if kinds else ("uint8", 3)
    others = [str(photo.image) for photo, _, kind, _ in seen if kind != usual]
    if others:
        message = f"{len(others)} images are not {usual[1]} channels of {usual[0]} as the others: {some(others)}"
        findings.append(Finding("error", "mixed-images", message, "save all images in one form", tuple(others)))
    hashes = {photo.stem: hashed for photo, _, _, hashed in seen}
    for kind, of, words in (("leak", "split", "parts of the split"), ("two-labels", "label", "classes")):
        held: dict[str, set] = {}
        for photo, _, _, hashed in seen:
            held.setdefault(hashed, set()).add(getattr(photo, of))
        twice = [str(photo.image) for photo, _, _, hashed in seen if len(held[hashed]) > 1]
        if twice:
            message = f"{len(twice)} files, byte for byte the same, stand in several {words}: {some(twice)}"
            findings.append(Finding("warning", kind, message, "keep each in one place", tuple(twice)))
    return PhotoSet(names, photos, {size for _, size, _, _ in seen}, usual, findings, hashes)


def without_copies(data: PhotoSet) -> PhotoSet:
    """The same with every picture once, so that no copy stands on both sides of the split that is to be made.

    The first of its class stays; of a picture in several classes, none does.
    """
    labels: dict[str, set] = {}
    for photo in data.photos:
        labels.setdefault(data.hashes.get(photo.stem), set()).add(photo.label)
    kept, gone, seen = [], [], set()
    for photo in data.photos:
        hashed = data.hashes.get(photo.stem)
        (gone if hashed in seen or len(labels[hashed]) > 1 else kept).append(photo)
        seen.add(hashed)
    if not gone or None in labels:  # a file that cannot be read is reported by itself
        return data
    files = tuple(str(photo.image) for photo in gone)
    message = f"{len(gone)} files left out, copies of others in their class or in several classes: {some(files)}"
    findings = [*data.findings, Finding("warning", "copies", message, files=files)]
    for label in sorted({photo.label for photo in gone}):
        if sum(photo.label == label for photo in kept) < LEAST_IMAGES:
            message = f"without copies, class {data.names[label]} has fewer than {LEAST_IMAGES} images"
            findings.append(Finding("error", "class-too-small", message, "add images, or remove the class"))
    return replace(data, photos=kept, findings=findings)


def parse_rule(text: str) -> tuple[str, str]:
    """ "presence:trees" → ("presence", "trees"); "largest" → ("largest", "").

    Raises:
        UserError: for another rule.
    """
    rule, _, name = text.partition(":")
    if (rule, bool(name)) not in (("largest", False), ("centre", False), ("presence", True)):
        raise UserError(f"--label-from-masks {text}: largest, presence:CLASS or centre is wanted")
    return rule, name


def label_names(text: str, encoding: Encoding) -> tuple[str, ...]:
    """The classes that a rule gives.

    Raises:
        UserError: for a class that the masks do not have, and fewer than two classes to tell apart.
    """
    rule, name = parse_rule(text)
    if rule == "presence" and name not in encoding.names:
        raise UserError(f"--label-from-masks {text}: the masks' classes are {', '.join(encoding.names)}")
    if rule == "largest" and encoding.num_classes < 3:
        raise UserError(
            f"--label-from-masks largest: the masks have one foreground class, {encoding.names[-1]}; "
            f"with one class say presence:{encoding.names[-1]} or centre"
        )
    return {
        "largest": encoding.names[1:],
        "centre": encoding.names,
        "presence": (f"without {name}", f"with {name}"),
    }[rule]


def label_of_pixels(pixels: np.ndarray, text: str, encoding: Encoding) -> np.ndarray:
    """The label of images whose masks hold so many pixels of each class, int64 (…, C) → int (…); −1: none.

    For the rules of whole images, largest and presence.
    """
    rule, name = parse_rule(text)
    if rule == "presence":
        labels = (pixels[..., encoding.names.index(name)] > 0).astype(int)
        return np.where(pixels.sum(-1) > 0, labels, -1)
    foreground = pixels[..., 1:]
    return np.where(foreground.sum(-1) > 0, foreground.argmax(-1), -1)


def photos_from_masks(data: Inspection, split: Split, text: str, tile: int | None) -> tuple[Split, list[Finding]]:
    """The images of a segmentation data set with the labels that a rule reads off their masks, split as they were.

    Args:
        data, split: as train.py has them, with the same seed: so both see the same images.
        text: the rule.
        tile: with centre: height and width of a tile.

    Returns:
        The split, of photos; and what was left out.
    """
    names = label_names(text, data.encoding)
    counts = {facts.pair.stem: facts.counts(data.encoding) for facts in data.facts}

    def photos_of(pair: Pair) -> list[Photo]:
        if tile is not None:
            return tiles(pair, data.encoding, tile)
        label = int(label_of_pixels(counts[pair.stem], text, data.encoding))
        return [] if label < 0 else [Photo(pair.stem, pair.image, label, pair.split, pair.group)]

    parts = {part: [photos_of(pair) for pair in split.part(part)] for part in ("train", "val", "test")}
    bare = sum(not photos for part in parts.values() for photos in part)
    labelled = {part: [photo for photos in by_image for photo in photos] for part, by_image in parts.items()}
    findings = []
    if bare:
        message = f"{bare} images have no label by --label-from-masks {text}, and are left out"
        findings.append(Finding("note", "no-label", message))
    held = Counter(photo.label for photo in labelled["train"])
    for label, name in enumerate(names):
        if held[label] < LEAST_IMAGES:
            number = "no image" if not held[label] else "one image"
            level = "warning" if sum(count >= LEAST_IMAGES for count in held.values()) >= 2 else "error"
            message = f"by --label-from-masks {text}, {name} is the label of {number} to train on"
            findings.append(Finding(level, "class-too-small", message))
    return replace(split, **labelled), findings


def first_of_each(photos: list[Photo], number: int) -> list[Photo]:
    """The first so many photos of each class; all, of a class with fewer."""
    taken, chosen = Counter(), []
    for photo in photos:
        taken[photo.label] += 1
        if taken[photo.label] <= number:
            chosen.append(photo)
    return chosen


def tiles(pair: Pair, encoding: Encoding, side: int) -> list[Photo]:
    """Square tiles of an image, side by side from the top left; each is labelled by its centre pixel."""
    _, mask = read_pair(pair, encoding)
    height, width = mask.shape
    corners = [(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    group = pair.group or pair.stem
    labels = [(y, x, int(mask[centre_of((y, x), side)])) for y, x in corners]
    return [
        Photo(f"{pair.stem}_{y}_{x}", pair.image, label, pair.split, group, (y, x))
        for y, x, label in labels
        if label != VOID
    ]


def centre_of(corner: tuple[int, int], side: int) -> tuple[int, int]:
    return corner[0] + side // 2, corner[1] + side // 2


def corner_of(stem: str) -> tuple[int, int]:
    """The corner (y, x) of a tile, which its stem ends in.

    Raises:
        UserError: for a stem that does not.
    """
    match = re.search(r"_([0-9]{1,9})_([0-9]{1,9})$", stem)
    if not match:
        raise UserError(f"{stem}: no name of a tile, which ends in its corner: NAME_0_64; evaluate its run again")
    return int(match[1]), int(match[2])


def image_of(stem: str) -> str:
    """The stem of the image that a tile was cut from."""
    return re.sub("_[0-9]+_[0-9]+$", "", stem)
