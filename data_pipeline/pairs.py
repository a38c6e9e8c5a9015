"""A folder or a CSV → pairs of an image and its mask; what does not pair is named, with the remedy."""

import csv
import io
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
from .layouts import (
    IMAGE_FOLDERS,
    LAYOUTS,
    MASK_FOLDERS,
    SPLIT_FOLDERS,
    Layout,
    Place,
    common_part,
    image_counts,
    places_of,
)
from .mask_files import base_of, class_of_file, name_of, owner_of
from .passed_over import advice, brush, passed_over, what_is_there
from .proposals import propose
from .tables import original

PAIRS_FILE = "pairs.csv"
NAMED = Layout("the folders named", "", "")

WANTED = """wanted one of:
  DIR/images/ + DIR/masks/                     (also image/label, imgs/labels)
  DIR/train/images/ + DIR/train/masks/, DIR/val/…, DIR/test/…
  a CSV file with the columns image,mask[,split][,group]
  or a known data set's own layout (docs/data.md); or say --images FOLDER --masks FOLDER"""


@dataclass(frozen=True)
class Pair:
    """An image and its mask. ``stem`` is unique in the data set and names everything made from the pair."""

    stem: str
    image: Path
    mask: Path
    split: str | None = None  # "train", "val", "test", where the data set itself says so
    group: str | None = None  # images of one group never straddle a split
    class_masks: tuple[Path, ...] = ()  # where each class has a file of its own: all of them, ``mask`` first
    scene: str | None = None  # the sub-folder that images and masks share
    layout: str = ""  # the row of the table of layouts that matched

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


@dataclass(frozen=True)
class Names:
    """The user's word on which file is which, where the folder's own names do not say it."""

    images: Path | None = None
    masks: Path | None = None
    image_name: str = "{}"  # {} is what image and mask have in common
    mask_name: str | None = None


def find_pairs(
    source: Path, mask_suffix: str = "", group_by: str | None = None, names: Names = Names()
) -> tuple[list[Pair], list[Finding]]:
    """Pairs by name from a folder, or row by row from a CSV; and what was left out or is wrong with the rest.

    Args:
        source: the data set's folder (a pairs.csv in it counts as that CSV), or a CSV file with paths relative
            to its own folder.
        mask_suffix: what a mask's stem has after the image's stem, such as "_mask".
        group_by: a regular expression; images whose stems match it with the same text are one group. "folder": those
            of one sub-folder are.
        names: further ways to say which file is which.

    Raises:
        UserError: nothing found, a bad CSV, a regular expression that does not match.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; {WANTED}")
    table = source / PAIRS_FILE if source.is_dir() else source
    names = replace(names, mask_name=f"{{}}{mask_suffix}") if mask_suffix else names
    if names.images or names.masks:
        pairs, findings = pairs_of_named_folders(source, names)
    elif table.is_file() or (table != source and os.path.lexists(table)):
        pairs, findings = pairs_from_csv(table), []
        if source.is_dir():
            findings.append(Finding("note", "pairs-csv", f"{table} says which image goes with which mask"))
    else:
        pairs, findings = pairs_from_folder(source, names)
    pairs = group(alike(pairs), group_by) if group_by else alike(pairs)
    return pairs, findings + torn_groups(pairs) + shared_masks(pairs)


def alike(pairs: list[Pair]) -> list[Pair]:
    """Read images with one mask file like the others, where some have several."""
    if not any(pair.class_masks for pair in pairs):
        return pairs
    return [replace(pair, class_masks=pair.class_masks or (pair.mask,)) for pair in pairs]


def pairs_of_named_folders(source: Path, names: Names) -> tuple[list[Pair], list[Finding]]:
    """Pairs of two folders that the user named; where both have the same sub-folders, of those."""
    root = source if source.is_dir() else source.parent
    images, masks = (folder_below(root, folder) for folder in (names.images or Path(), names.masks or Path()))
    below = [folder for folder, count in image_counts(images).items() if count and (masks / folder).is_dir()]
    pairs, findings = [], []
    for folder in below or [""]:
        more, words = pair_folder(images / folder, [masks / folder], NAMED, names)
        pairs, findings = pairs + [replace(pair, scene=folder or None) for pair in more], findings + words
    return unique_stems(pairs, root), findings


def folder_below(root: Path, folder: Path) -> Path:
    for path in (root / folder, folder):
        if path.is_dir():
            return path
    raise UserError(f"{root / folder}: no such folder")


def pairs_from_folder(source: Path, names: Names) -> tuple[list[Pair], list[Finding]]:
    root, layout, places = recognise(source, names)
    pairs, findings = [], []
    read = with_masks(root, layout, places, names)
    for place in read:
        try:
            more, words = pair_folder(root / place.images, [root / masks for masks in place.masks], layout, names)
        except UserError as error:
            others = advice(source) or propose(source, image_counts(source))
            raise UserError(f"{error}{others and '; '}{others}") from None
        pairs += [replace(pair, split=place.split, scene=place.scene, layout=layout.name) for pair in more]
        findings += words
    findings += [part_without_masks(root / place.images) for place in places if place not in read]
    pairs, words = split_by_lists(root / layout.lists, pairs) if layout.lists else (pairs, [])
    findings += words + left_out(source, root, layout, places)
    return unique_stems(pairs, source), [*findings, Finding("note", "layout", read_as(source, root, layout, pairs))]


def with_masks(root: Path, layout: Layout, places: list[Place], names: Names) -> list[Place]:
    """The places that hold masks, where image and mask lie side by side: a part may be without; else all."""
    kept = [
        place
        for place in places
        if place.images not in place.masks
        or pairs_by_name(root / place.images, [root / place.images], layout, names)[2]
    ]
    return kept or places


def recognise(source: Path, names: Names) -> tuple[Path, Layout, list[Place]]:
    """A data set's folder, layout and places: those of the folder itself, or of the only one below that has any.

    Raises:
        UserError: that says what is there.
    """
    counts = image_counts(source)
    if near := first_layout(source, counts, names, scenes=False):
        return source, *near
    deeper = data_sets_below(source, counts, names)
    if len(deeper) == 1:
        return deeper[0]
    if scenes := first_layout(source, counts, names, scenes=True):
        return source, *scenes
    if folders := image_and_mask_folders(source):
        pair_folder(folders[0], [folders[1]], NAMED, names)  # says what is wrong with them
    remedy = advice(source) or propose(source, counts) or WANTED
    raise UserError(f"{source}: no images with masks here ({what_is_there(source, counts)}); {remedy}")


def first_layout(root: Path, counts: dict[str, int], names: Names, scenes: bool) -> tuple[Layout, list[Place]] | None:
    """The first row of the table that fits."""
    for layout in LAYOUTS:
        places = places_of(layout, counts) if layout.has_scenes == scenes else []
        if places and fits(root, layout, places, names):
            return layout, places
    return None


def data_sets_below(source: Path, counts: dict[str, int], names: Names) -> list[tuple[Path, Layout, list[Place]]]:
    """The nearest folders below that are data sets of their own."""
    below = []
    for folder in sorted(filter(None, counts), key=lambda folder: folder.count("/")):
        if not any((source / folder).is_relative_to(outer) for outer, *_ in below):
            own = {
                path[len(folder) :].lstrip("/"): n for path, n in counts.items() if f"{path}/".startswith(f"{folder}/")
            }
            if near := first_layout(source / folder, own, names, scenes=False):
                below.append((source / folder, *near))
        if len(below) > 1:
            break
    return below


def fits(root: Path, layout: Layout, places: list[Place], names: Names) -> bool:
    """Return whether the files are called as the layout says, if it does."""
    if layout.mask_name == "*":
        return all(len(list_images(root / place.images)) == 1 for place in places)
    by_name = (
        pairs_by_name(root / place.images, [root / masks for masks in place.masks], layout, names) for place in places
    )
    return not layout.says_names or any(of_image for _, _, of_image, _ in by_name)


def read_as(source: Path, root: Path, layout: Layout, pairs: list[Pair]) -> str:
    """Say in one line what was recognised."""
    where = "" if root == source else f"{root.relative_to(source)} "
    parts = Counter(pair.split for pair in pairs if pair.split)
    counts = [f"{len(pairs)} masks", *(f"{parts[part]} {part}" for part in ("train", "val", "test") if parts[part])]
    scenes = len({pair.scene for pair in pairs if pair.scene})
    more = f" in {scenes} folders (--group-by folder keeps each in one part of the split)" if scenes > 1 else ""
    return f"{where}layout “{layout.name}”: {', '.join(counts)}{more}"


def split_by_lists(folder: Path, pairs: list[Pair]) -> tuple[list[Pair], list[Finding]]:
    """The pairs with the parts that train.txt, val.txt and test.txt give them; what none lists is left out."""
    lists = [(part, folder / f"{part}.txt") for part in ("train", "val", "test") if (folder / f"{part}.txt").is_file()]
    if not lists:
        return pairs, []
    part_of = {}
    for part, path in lists:
        rows = (row.split() for row in path.read_text(encoding="utf-8", errors="replace").splitlines())
        part_of |= {Path(row[0]).stem if "/" in row[0] else row[0]: part for row in rows if row}
    listed = [replace(pair, split=part_of[pair.stem]) for pair in pairs if pair.stem in part_of]
    if not listed:
        return pairs, [
            Finding("warning", "lists", f"the lists in {folder} name none of the images, and are passed over")
        ]
    rest = [pair.stem for pair in pairs if pair.stem not in part_of]
    message = f"{len(rest)} masks stand in no list of {folder}, and are left out: {some(rest)}"
    return listed, [Finding("note", "unlisted", message)] if rest else []


def left_out(source: Path, root: Path, layout: Layout, places: list[Place]) -> list[Finding]:
    """Folders that hold images but are not read: parts without masks, further data sets, other kinds of masks.

    Raises:
        UserError: if the training part has no masks.
    """
    findings = []
    if layout.images.startswith("{split}/"):
        known = {Path(place.images).parts[0] for place in places}
        for child in sorted(path for path in root.iterdir() if path.is_dir() and path.name not in known):
            if child.name.lower() in SPLIT_FOLDERS and not image_and_mask_folders(child):
                findings.append(part_without_masks(child))
    used = [root / folder for place in places for folder in (place.images, *place.masks)]
    others = {}
    for folder, count in image_counts(source).items():
        if count and not any((source / folder).is_relative_to(path) for path in used):
            others[source / folder] = count
    read = {root, *(path.parent for path in used)}
    doubles = dict.fromkeys(folder.parent for folder in others if image_and_mask_folders(folder.parent))
    doubles = [folder for folder in doubles if folder not in read and not layout.says_names]
    findings += [further_data_set(folder) for folder in doubles]
    rest = [f"{path.relative_to(source)} ({count})" for path, count in others.items() if path.parent not in doubles]
    if rest:
        message = f"further folders of images, which are left out: {some(rest, 8)}"
        findings.append(Finding("note", "other-folders", message, "if one is meant, name it: --images or --masks"))
    return findings


def part_without_masks(folder: Path) -> Finding:
    if SPLIT_FOLDERS[folder.name.lower()] == "train":
        raise UserError(f"{folder}: has no masks beside its images; {WANTED}")
    message = f"{folder} has no masks beside its images, and is left out"
    return Finding("note", "no-masks", message)


def further_data_set(folder: Path) -> Finding:
    message = f"{folder} holds images and masks too, but is left out"
    remedy = f"call it one of {', '.join(SPLIT_FOLDERS)}, or list all pairs in a CSV"
    return Finding("warning", "folder-left-out", message, remedy)


def image_and_mask_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folder's own image and mask folders, if it has both."""
    children = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    images = [children[name] for name in IMAGE_FOLDERS if name in children]
    masks = [children[name] for name in MASK_FOLDERS if name in children]
    return (images[0], masks[0]) if images and masks else None


def pair_folder(
    image_folder: Path, mask_folders: list[Path], layout: Layout, names: Names
) -> tuple[list[Pair], list[Finding]]:
    """Pairs of a folder of images and its masks by name, and what does not pair."""
    images, masks, of_image, findings = pairs_by_name(image_folder, mask_folders, layout, names)
    if not of_image:
        suffix = (names.mask_name or "{}").removeprefix("{}")
        raise UserError(
            f"none of the {len(images)} images in {image_folder} has a mask among the {len(masks)} files "
            f"in {mask_folders[0]}; "
            + (brush(mask_folders[0], masks) or name_difference(list(images), list(map(name_of, masks)), suffix))
        )
    used = {path for paths in of_image.values() for path in paths}
    lacking = {name: path for name, path in images.items() if name not in of_image}
    findings += orphans([path for path in masks if path not in used], len(masks), lacking, list(of_image))
    several = len(mask_folders) > 1 or layout.united or any(len(paths) > 1 for paths in of_image.values())
    return [
        Pair(name_of(images[name]), images[name], paths[0], class_masks=tuple(paths) if several else ())
        for name, paths in sorted(of_image.items())
    ], findings


def pairs_by_name(
    image_folder: Path, mask_folders: list[Path], layout: Layout, names: Names
) -> tuple[dict[str, Path], list[Path], dict[str, list[Path]], list[Finding]]:
    """Images by name, masks, the masks of each image that has any, and what is wrong with the names."""
    image_name = layout.image_name if names.image_name == "{}" else names.image_name
    files, findings = files_of(image_folder)
    masks = []
    for folder in mask_folders:
        more, words = (files, []) if folder == image_folder else files_of(folder)
        masks, findings = masks + more, findings + words
    full = {path.name: path for path in files}
    if sum(name_of(mask) in full for mask in masks) > len(masks) / 2:  # 001.jpg.png of 001.jpg
        of_image = {name: [mask for mask in masks if name_of(mask) == name] for name in full}
        return full, masks, {name: own for name, own in of_image.items() if own}, findings
    images, words = by_common_part(image_folder, files, image_name)
    if layout.mask_name == "*":
        return images, masks, dict.fromkeys(images, masks), findings + words
    patterns = (names.mask_name or layout.mask_name).split("|")
    of_image = max((masks_by_pattern(pattern, masks, images) for pattern in patterns), key=len)
    elsewhere = [path for path in masks if common_part(patterns[0], name_of(path)) is None] if names.mask_name else []
    if elsewhere and of_image:
        used = {path for paths in of_image.values() for path in paths}
        elsewhere = [path for path in elsewhere if path not in used and path not in files]
        masks = [path for path in masks if path not in elsewhere]
        message = (
            f"{len(elsewhere)} files are not called {patterns[0]}, and are left out: {some(map(name_of, elsewhere))}"
        )
        findings = findings + [Finding("note", "other-names", message)] if elsewhere else findings
    if image_folder in mask_folders:
        taken = {path for paths in of_image.values() for path in paths}
        masks = [path for path in masks if path in taken]
        images = {name: path for name, path in images.items() if path not in taken}
    elif not of_image:
        of_image = masks_by_owner(masks, images)
    return images, masks, of_image, findings + words


def masks_by_pattern(pattern: str, masks: list[Path], images: dict[str, Path]) -> dict[str, list[Path]]:
    """Image → its masks, by names of a pattern; with a number after it, they are further objects of the image."""
    of_image = defaultdict(list)
    for path in masks:
        name = common_part(pattern, name_of(path))
        if name not in images and pattern != "{}":
            name = common_part(pattern, base_of(name_of(path)))
        if name in images and images[name] != path:
            of_image[name].append(path)
    return {
        name: paths for name, paths in of_image.items() if any(common_part(pattern, name_of(p)) == name for p in paths)
    }


def masks_by_owner(masks: list[Path], images: dict[str, Path]) -> dict[str, list[Path]]:
    """Image → its masks, where each class has a file of its own: photo_car.png, photo_tree.png.

    Empty unless some image has several masks, whose names end in at least two different ways.
    """
    of_image = defaultdict(list)
    for path in masks:
        if owner := owner_of(name_of(path), images):
            of_image[owner].append(path)
    ends = {class_of_file(path, owner) for owner, paths in of_image.items() for path in paths}
    if len(ends) < 2 or all(len(paths) == 1 for paths in of_image.values()):
        return {}
    return dict(of_image)


def orphans(masks: list[Path], count: int, images: dict[str, Path], paired: list[str]) -> list[Finding]:
    """Masks without their image, or second ones (errors), and images without a mask (left out)."""
    findings = []
    ends = Counter(
        rest
        for path in masks
        for name in paired
        if (rest := name_of(path).removeprefix(name)) != name_of(path) and rest
    )
    if ends and ends.most_common(1)[0][1] == len(masks) > 1:
        (end, number), folder = ends.most_common(1)[0], masks[0].parent
        message = f"{folder}: {number} images have a second mask, whose name ends in {end!r}"
        remedy = f"choose one kind: --mask-suffix={shlex.quote(end)}, or move the other kind elsewhere"
        findings.append(Finding("error", "second-mask", message, remedy, tuple(map(str, masks))))
    elif masks:
        message = f"{len(masks)} of {count} masks in {masks[0].parent} have no image of the same name: "
        message += some([name_of(path) for path in masks])
        passed = passed_over(masks[0].parent.parent)
        remedy = "rename them, or move them elsewhere" + (f" (passed over: {passed})" if passed else "")
        findings.append(Finding("error", "orphan-mask", message, remedy, tuple(map(str, masks))))
    if images:
        message = f"{len(images)} images have no mask and are left out: {some(images)}"
        findings.append(Finding("warning", "image-without-mask", message, files=tuple(map(str, images.values()))))
    return findings


def files_of(folder: Path) -> tuple[list[Path], list[Finding]]:
    """Image files of a folder; what lies deeper is named.

    Raises:
        UserError: for an empty folder.
    """
    paths = list_images(folder)
    if not paths:
        inside = [path.name for path in folder.iterdir() if path.is_dir()]
        passed = f" (passed over: {passed})" if (passed := passed_over(folder)) else ""
        remedy = f"it holds the folders {some(inside)}, but {WANTED}" if inside else advice(folder.parent)
        message = f"{folder}: holds no image files (PNG, JPEG, TIFF, BMP, WebP){passed}"
        raise UserError(f"{message}; {remedy}" if remedy else message)
    below = [path for path in folder.iterdir() if path.is_dir() and list_images(path)]
    message = f"{folder}: files in its folders {some([path.name for path in below])} are left out"
    remedy = "put all images into one folder, or list a CSV"
    return paths, [Finding("warning", "folder-left-out", message, remedy)] if below else []


def by_stem(folder: Path, name: str = "{}") -> tuple[dict[str, Path], list[Finding]]:
    """Image files of a folder by stem; a stem that stands twice is left out, as an error.

    Raises:
        UserError: for an empty folder.
    """
    paths, findings = files_of(folder)
    files, words = by_common_part(folder, paths, name)
    return files, findings + words


def by_common_part(folder: Path, paths: list[Path], name: str) -> tuple[dict[str, Path], list[Finding]]:
    """Files by what stands at {} in a name; those that do not fit are passed over, and a name twice is an error."""
    named = [(common_part(name, name_of(path)), path) for path in paths]
    counts = Counter(part for part, _ in named if part is not None)
    findings = []
    for part in sorted(part for part, count in counts.items() if count > 1):
        same = [path for other, path in named if other == part]
        message = f"{folder}: {', '.join(path.name for path in same)} share one stem, so their pairing is ambiguous"
        findings.append(Finding("error", "duplicate-stem", message, "keep one of them", tuple(map(str, same))))
    return {part: path for part, path in named if counts[part] == 1}, findings


def group(pairs: list[Pair], expression: str) -> list[Pair]:
    """The pairs with a group each: what the expression's brackets match in the stem, or all that it matches.

    Raises:
        UserError: for an expression that is none, or that does not match every stem.
    """
    if expression == "folder":
        return [replace(pair, group=pair.scene or pair.image.parent.name) for pair in pairs]
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
        pattern = shlex.quote(f"{before}{{}}")
        return f"the masks' names begin with {before!r}: add --mask-name={pattern}"
    if {stem.lower() for stem in images} & {stem.lower() for stem in masks}:
        return "their names differ in upper and lower case only: rename one side"
    for words, common, pattern in (("end in", common_end, "{}%s"), ("begin with", common_beginning, "%s{}")):
        ends = [re.sub(r"\d", "", common(stems)) for stems in (images, masks)]
        image_name, mask_name = (pattern % end for end in ends)
        parts = [
            {common_part(name, stem) for stem in stems} for name, stems in ((image_name, images), (mask_name, masks))
        ]
        if any(ends) and parts[0] & parts[1] - {None}:
            return (
                f"the images' names {words} {ends[0]!r} and the masks' in {ends[1]!r}: "
                f"add --image-name={shlex.quote(image_name)} --mask-name={shlex.quote(mask_name)}"
            ).replace("masks' in", "masks' in" if words == "end in" else "masks' with")
    if {without_zeros(stem) for stem in images} & {without_zeros(stem) for stem in masks}:
        return "their numbers are written with zeros on one side only: rename that side"
    if mask_suffix and not any(stem.endswith(mask_suffix) for stem in masks):
        return f"no mask's name ends in {mask_suffix!r}: leave out --mask-suffix, or correct it"
    return (
        f"images are called {some(sorted(images))}; masks {some(sorted(masks))}: "
        "name both alike, or list the pairs in a CSV"
    )


def most_common_part(images: list[str], masks: list[str], rest: Callable[[str, str], str]) -> str:
    """Return what most masks add to some image's stem: rest(image, mask), the mask's name less the image's."""
    parts = Counter(part for mask in masks[:200] for image in images if (part := rest(image, mask)) and part != mask)
    part, count = parts.most_common(1)[0] if parts else ("", 0)
    return part if count >= min(len(masks), 200) / 2 else ""


def without_zeros(stem: str) -> str:
    """img_007 → img_7."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", stem)


def common_beginning(stems: list[str]) -> str:
    return common_end([stem[::-1] for stem in stems])[::-1]


def common_end(stems: list[str]) -> str:
    shortest = min(stems, key=len)
    ends = (shortest[i:] for i in range(len(shortest) + 1))
    return next(end for end in ends if all(stem.endswith(end) for stem in stems))


def pairs_from_csv(path: Path) -> list[Pair]:
    """Pairs from the columns image, mask, and optionally split and group; paths relative to the CSV."""
    refuse_special(path)
    try:
        with io.StringIO(decoded(path.read_bytes()), newline="") as file:
            head = file.readline()
            file.seek(0)
            separator = next((letter for letter in ",;\t" if letter in head), ",")
            reader = csv.DictReader(file, skipinitialspace=True, delimiter=separator)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
            columns, rows = reader.fieldnames, list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV ({error}); {WANTED}") from None
    if not {"image", "mask"} <= set(columns):
        raise UserError(f"{path}: its columns are {', '.join(columns) or 'none'} (by commas); {WANTED}")
    if not rows:
        raise UserError(f"{path}: holds a header and no rows")
    pairs = [pair_from_row(path, line, row) for line, row in enumerate(rows, start=2)]
    unsplit = [line for line, pair in enumerate(pairs, start=2) if not pair.split]
    if unsplit and len(unsplit) < len(pairs):
        raise UserError(f"{path}, line {unsplit[0]}: split is empty, but other lines have one; fill all, or none")
    return unique_stems(pairs, path.parent)


def decoded(content: bytes) -> str:
    """A table's text: UTF-8, or what Excel writes on Windows.

    Raises:
        UnicodeDecodeError: for bytes that are no text.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in content:
            raise
        return content.decode("cp1252")


def pair_from_row(path: Path, line: int, row: dict[str, str]) -> Pair:
    names = [(row[column] or "").strip() for column in ("image", "mask")]
    if not any((path.parent / name).is_file() for name in names):
        names = [name.replace("\\", "/") for name in names]  # written on Windows
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
    message = f"the given split tears {len(torn)} groups apart, so its scores may be too optimistic: {some(torn)}"
    return [Finding("warning", "torn-group", message)] if torn else []


def unique_stems(pairs: list[Pair], root: Path) -> list[Pair]:
    """Make stems unique: where one stands twice, the path from the root becomes the stem."""
    count = Counter(pair.stem for pair in pairs)
    renamed = []
    bare = Counter(Path(os.path.relpath(pair.image, root)).with_suffix("") for pair in pairs if count[pair.stem] > 1)
    for pair in pairs:
        stem = pair.stem
        if count[stem] > 1:
            path = Path(os.path.relpath(pair.image, root))
            alone = bare[path.with_suffix("")] == 1
            stem = "__".join((path.with_suffix("") if alone else path).parts)
        renamed.append(replace(pair, stem=stem))
    again = [stem for stem, n in Counter(pair.stem for pair in renamed).items() if n > 1]
    if again:
        raise UserError(f"two images are called {again[0]}; list each image once, under a name of its own")
    return renamed
