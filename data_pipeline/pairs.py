"""A folder or a CSV → pairs of an image and its mask; what does not pair is named, with the remedy."""

import csv
import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .command import UserError
from .files import list_images, refuse_special
from .findings import Finding, some
from .tables import original

PAIRS_FILE = "pairs.csv"
MOST_CLASS_FILES = 254

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations")
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

LAYOUTS = """wanted one of:
  DIR/images/ + DIR/masks/                     (also image/label, imgs/labels)
  DIR/train/images/ + DIR/train/masks/, DIR/val/…, DIR/test/…
  a CSV file with the columns image,mask[,split][,group]"""


@dataclass(frozen=True)
class Pair:
    """An image and its mask. ``stem`` is unique in the data set and names everything made from the pair."""

    stem: str
    image: Path
    mask: Path
    split: str | None = None  # "train", "val", "test", where the data set itself says so
    group: str | None = None  # images of one group never straddle a split
    class_masks: tuple[Path, ...] = ()  # where each class has a file of its own: all of them, ``mask`` first

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.image, *(self.class_masks or (self.mask,)))

    def to_row(self, relative: Callable[[Path], str]) -> dict:
        """JSON's form; ``relative`` makes a path relative to the data set's root."""
        return {
            "stem": self.stem,
            "image": relative(self.image),
            "mask": relative(self.mask),
            "group": self.group,
            "class_masks": [relative(path) for path in self.class_masks],
        }

    @classmethod
    def from_row(cls, row: dict, root: Path, split: str) -> "Pair":
        class_masks = tuple(root / path for path in row["class_masks"])
        return cls(row["stem"], root / row["image"], root / row["mask"], split, row["group"], class_masks)


def find_pairs(source: Path, mask_suffix: str = "", group_by: str | None = None) -> tuple[list[Pair], list[Finding]]:
    """Pairs by stem from a folder, or row by row from a CSV; and what was left out or is wrong with the rest.

    Args:
        source: the data set's folder (a pairs.csv in it counts as that CSV), or a CSV file with paths relative
            to its own folder.
        mask_suffix: what a mask's stem has after the image's stem, such as "_mask".
        group_by: a regular expression; images whose stems match it with the same text are one group.

    Raises:
        UserError: nothing found, a bad CSV, a regular expression that does not match.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; {LAYOUTS}")
    table = source / PAIRS_FILE if source.is_dir() else source
    if table.is_file() or (table != source and os.path.lexists(table)):
        pairs, findings = pairs_from_csv(table), []
        if source.is_dir():
            findings.append(Finding("note", "pairs-csv", f"{table} says which image goes with which mask"))
    else:
        pairs, findings = pairs_from_folder(source, mask_suffix)
    pairs = group(pairs, group_by) if group_by else pairs
    return pairs, findings + torn_groups(pairs) + shared_masks(pairs)


def pairs_from_folder(source: Path, mask_suffix: str) -> tuple[list[Pair], list[Finding]]:
    children = sorted(path for path in source.iterdir() if path.is_dir())
    if folders := image_and_mask_folders(source):
        pairs, findings = pair_folder(*folders, mask_suffix)
        return pairs, findings + [left_out(child) for child in children if image_and_mask_folders(child)]

    pairs, findings = [], []
    for child in children:
        split, folders = SPLIT_FOLDERS.get(child.name.lower()), image_and_mask_folders(child)
        if folders and not split:
            findings.append(left_out(child))
        if split and folders:
            found, said = pair_folder(*folders, mask_suffix, split)
            pairs, findings = pairs + found, findings + said
        elif split == "train":
            raise UserError(f"{child}: has no folder of images beside a folder of masks; {LAYOUTS}")
        elif split:
            message = f"{child} has no folder of images beside a folder of masks, and is left out"
            findings.append(Finding("note", "no-masks", message))
    if not pairs:
        inside = ", ".join(sorted(path.name for path in source.iterdir())[:8]) or "nothing"
        raise UserError(f"{source}: no images with masks here (it holds: {inside}); {LAYOUTS}")
    return unique_stems(pairs, source), findings


def left_out(folder: Path) -> Finding:
    message = f"{folder} holds images and masks too, but is left out"
    remedy = f"call it one of {', '.join(SPLIT_FOLDERS)}, or list all pairs in a CSV"
    return Finding("warning", "folder-left-out", message, remedy)


def image_and_mask_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folder's own image and mask folders, if it has both."""
    children = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    images = [children[name] for name in IMAGE_FOLDERS if name in children]
    masks = [children[name] for name in MASK_FOLDERS if name in children]
    for found in (images, masks):
        if len(found) > 1:
            both = " and ".join(path.name for path in found)
            raise UserError(f"{folder}: holds {both}; keep one of them, or list the pairs in a CSV")
    return (images[0], masks[0]) if images and masks else None


def pair_folder(
    image_folder: Path, mask_folder: Path, mask_suffix: str, split: str | None = None
) -> tuple[list[Pair], list[Finding]]:
    """Pairs of two folders by stem, and what does not pair."""
    images, findings = by_stem(image_folder)
    masks, more = by_stem(mask_folder)
    findings += more
    of_image = {stem.removesuffix(mask_suffix): (stem,) for stem in masks if stem.endswith(mask_suffix)}
    if not images.keys() & of_image.keys():
        of_image = class_files(images, masks)
    common = sorted(images.keys() & of_image.keys())
    if not common:
        raise UserError(
            f"none of the {len(images)} images in {image_folder} has a mask among the {len(masks)} files "
            f"in {mask_folder}; {name_difference(list(images), list(masks), mask_suffix)}"
        )
    used = {mask for stem in common for mask in of_image[stem]}
    findings += orphans(sorted(masks.keys() - used), sorted(images.keys() - set(common)), masks, images)
    pairs = []
    for stem in common:
        paths = tuple(masks[mask] for mask in of_image[stem])
        several = any(path.stem != stem + mask_suffix for path in paths)
        pairs.append(Pair(stem, images[stem], paths[0], split, class_masks=paths if several else ()))
    return pairs, findings


def orphans(mask_stems: list[str], image_stems: list[str], masks: dict, images: dict) -> list[Finding]:
    """Masks without their image (an error: something is missing) and images without a mask (left out)."""
    findings = []
    if mask_stems:
        folder, files = masks[mask_stems[0]].parent, tuple(str(masks[stem]) for stem in mask_stems)
        message = f"{len(mask_stems)} of {len(masks)} masks in {folder} have no image of the same name: "
        remedy = "rename them, or move them elsewhere"
        findings.append(Finding("error", "orphan-mask", message + some(mask_stems), remedy, files))
    if image_stems:
        message = f"{len(image_stems)} images have no mask and are left out: {some(image_stems)}"
        files = tuple(str(images[stem]) for stem in image_stems)
        findings.append(Finding("warning", "image-without-mask", message, files=files))
    return findings


def class_files(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, tuple[str, ...]]:
    """Image stem → stems of its masks, where each class has a file of its own: photo_car.png, photo_tree.png.

    Empty unless some image has several masks, whose names end in at least two different ways.

    Raises:
        UserError: if the ends are numbers: then a file is an object, not a class.
    """
    found, ends = defaultdict(list), set()
    for stem in sorted(masks):
        parts = stem.split("_")
        owners = ["_".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]  # the longest name first
        owner = next((name for name in owners if name in images), None)
        if owner:
            found[owner].append(stem)
            ends.add(stem.removeprefix(f"{owner}_"))
    if len(ends) < 2 or all(len(stems) == 1 for stems in found.values()):
        return {}
    if all(end.isdigit() for end in ends):
        raise UserError(
            f"{next(iter(masks.values())).parent}: several numbered masks for an image, such as "
            f"{some(next(iter(found.values())))}; if each is an object, draw them into one mask of classes"
        )
    if len(ends) > MOST_CLASS_FILES:
        return {}
    return {owner: tuple(stems) for owner, stems in found.items()}


def by_stem(folder: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Image files of a folder by stem; a stem that stands twice is left out, as an error.

    Raises:
        UserError: for an empty folder.
    """
    paths = list_images(folder)
    if not paths:
        inside = [path.name for path in folder.iterdir() if path.is_dir()]
        wanted = f"; it holds the folders {some(inside)}, but {LAYOUTS}" if inside else ""
        raise UserError(f"{folder}: holds no image files (PNG, JPEG, TIFF, BMP, WebP){wanted}")
    findings = []
    below = [path for path in folder.iterdir() if path.is_dir() and list_images(path)]
    if below:
        message = f"{folder}: files in its folders {some([path.name for path in below])} are left out"
        findings.append(Finding("warning", "folder-left-out", message, "put all images into one folder, or list a CSV"))
    for stem in sorted(stem for stem, count in Counter(path.stem for path in paths).items() if count > 1):
        same = [path for path in paths if path.stem == stem]
        names = ", ".join(path.name for path in same)
        message = f"{folder}: {names} share one stem, so their pairing is ambiguous"
        findings.append(Finding("error", "duplicate-stem", message, "keep one of them", tuple(map(str, same))))
        paths = [path for path in paths if path.stem != stem]
    return {path.stem: path for path in paths}, findings


def group(pairs: list[Pair], expression: str) -> list[Pair]:
    """The pairs with a group each: what the expression's brackets match in the stem, or all that it matches.

    Raises:
        UserError: for an expression that is none, or that does not match every stem.
    """
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise UserError(f"--group-by {expression!r}: not a regular expression ({error})") from None
    matches = {pair.stem: pattern.search(pair.stem) for pair in pairs}
    unmatched = [stem for stem, match in matches.items() if not match]
    if unmatched:
        raise UserError(f"--group-by {expression!r} does not match {len(unmatched)} names: {some(unmatched)}")
    return [replace(pair, group="/".join(part or "" for part in named(matches[pair.stem]))) for pair in pairs]


def named(match: re.Match) -> tuple[str, ...]:
    return match.groups() or (match.group(),)


def name_difference(images: list[str], masks: list[str], mask_suffix: str) -> str:
    """Words for what keeps two lists of stems apart, and what to do about it."""
    added = most_common_part(images, masks, lambda image, mask: mask.removeprefix(image))
    if added:
        return f"the masks' names end in {added!r}: add --mask-suffix={shlex.quote(added)}"
    before = most_common_part(images, masks, lambda image, mask: mask.removesuffix(image))
    if before:
        return f"the masks' names begin with {before!r}: rename them without it, or list the pairs in a CSV"
    if {stem.lower() for stem in images} & {stem.lower() for stem in masks}:
        return "their names differ in upper and lower case only: rename one side"
    image_end, mask_end = common_end(images), common_end(masks)
    if {stem.removesuffix(image_end) for stem in images} & {stem.removesuffix(mask_end) for stem in masks}:
        return (
            f"the images' names end in {image_end!r} and the masks' in {mask_end!r}: "
            "rename one side, or list the pairs in a CSV"
        )
    if mask_suffix and not any(stem.endswith(mask_suffix) for stem in masks):
        return f"no mask's name ends in {mask_suffix!r}: leave out --mask-suffix, or correct it"
    return (
        f"images are called {some(sorted(images))}; masks {some(sorted(masks))}: "
        "name both alike, or list the pairs in a CSV"
    )


def most_common_part(images: list[str], masks: list[str], rest: Callable[[str, str], str]) -> str:
    """What most masks add to some image's stem: rest(image, mask), the mask's name less the image's."""
    parts = Counter(part for mask in masks[:200] for image in images if (part := rest(image, mask)) and part != mask)
    part, count = parts.most_common(1)[0] if parts else ("", 0)
    return part if count >= min(len(masks), 200) / 2 else ""


def common_end(stems: list[str]) -> str:
    shortest = min(stems, key=len)
    ends = (shortest[i:] for i in range(len(shortest) + 1))
    return next(end for end in ends if all(stem.endswith(end) for stem in stems))


def pairs_from_csv(path: Path) -> list[Pair]:
    """Pairs from the columns image, mask, and optionally split and group; paths relative to the CSV."""
    refuse_special(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
            columns, rows = reader.fieldnames, list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV ({error}); {LAYOUTS}") from None
    if not {"image", "mask"} <= set(columns):
        raise UserError(f"{path}: its columns are {', '.join(columns) or 'none'} (by commas); {LAYOUTS}")
    if not rows:
        raise UserError(f"{path}: holds a header and no rows")
    pairs = [pair_from_row(path, line, row) for line, row in enumerate(rows, start=2)]
    unsplit = [line for line, pair in enumerate(pairs, start=2) if not pair.split]
    if unsplit and len(unsplit) < len(pairs):
        raise UserError(f"{path}, line {unsplit[0]}: split is empty, but other lines have one; fill all, or none")
    return unique_stems(pairs, path.parent)


def pair_from_row(path: Path, line: int, row: dict[str, str]) -> Pair:
    names = [(row[column] or "").strip() for column in ("image", "mask")]
    if not all(names):
        raise UserError(f"{path}, line {line}: the {'mask' if names[0] else 'image'} is empty")
    files = [path.parent / name for name in names]
    if files[0] == files[1]:
        raise UserError(f"{path}, line {line}: {files[0]} is image and mask at once")
    for file in files:
        if not file.is_file():
            raise UserError(f"{path}, line {line}: {file} does not exist")
    split = (row.get("split") or "").strip().lower()
    if split and split not in SPLIT_FOLDERS:
        raise UserError(f"{path}, line {line}: split is {split!r}; train, val or test wanted")
    return Pair(files[0].stem, *files, SPLIT_FOLDERS.get(split), original((row.get("group") or "").strip()) or None)


def shared_masks(pairs: list[Pair]) -> list[Finding]:
    """Masks that stand beside several images."""
    shared = [str(path) for path, count in Counter(pair.mask for pair in pairs).items() if count > 1]
    message = f"{len(shared)} masks belong to several images each: {some(shared)}"
    finding = Finding("warning", "shared-mask", message, "right if the images show the same", tuple(shared))
    return [finding] if shared else []


def torn_groups(pairs: list[Pair]) -> list[Finding]:
    """Groups that the data set's own split tears apart: their images may be near copies of each other."""
    parts = defaultdict(set)
    for pair in pairs:
        if pair.group and pair.split:
            parts[pair.group].add(pair.split)
    torn = sorted(group for group, splits in parts.items() if len(splits) > 1)
    message = f"the given split tears {len(torn)} groups apart, so its scores may flatter: {some(torn)}"
    return [Finding("warning", "torn-group", message)] if torn else []


def unique_stems(pairs: list[Pair], root: Path) -> list[Pair]:
    """Where a stem stands twice, the path from the root becomes the stem, so that names stay unique."""
    count = Counter(pair.stem for pair in pairs)
    renamed = []
    for pair in pairs:
        stem = pair.stem
        if count[stem] > 1:
            stem = "__".join(Path(os.path.relpath(pair.image, root)).with_suffix("").parts)
        renamed.append(replace(pair, stem=stem))
    again = [stem for stem, n in Counter(pair.stem for pair in renamed).items() if n > 1]
    if again:
        raise UserError(f"two images are called {again[0]}; list each image once, under a name of its own")
    return renamed
