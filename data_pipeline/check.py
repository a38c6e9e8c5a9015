"""Look at every file of a data set before any training: what is wrong with it, and what to do about it."""

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from .command import UserError
from .files import read_image
from .masks import (
    Encoding,
    find_classes_file,
    gray_to,
    infer_encoding,
    raise_unknown,
    read_encoding,
    read_palette,
    read_raw,
    refuse_grey,
    rename_like,
    unpack,
    wants_colors,
)
from .pairs import Pair, some

EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Facts:
    """What one pair holds: its size in pixels, and its mask's values with their numbers of pixels."""

    pair: Pair
    height: int
    width: int
    values: Counter  # as on disk
    is_color: bool
    palette: dict[int, tuple[int, int, int]]  # colours of the indices used, where the mask has a palette
    mode: str  # Pillow's name of the image's form: RGB, L, RGBA, …
    turned: bool  # by its EXIF orientation
    digest: str  # SHA-256 of both files

    def counts(self, encoding: Encoding) -> np.ndarray:
        """Pixels of each class, int64 (C,); void left out."""
        return np.array([self.values[value] for value in encoding.values], np.int64)


@dataclass(frozen=True)
class Inspection:
    """A data set that was read through without an error."""

    encoding: Encoding
    facts: list[Facts]
    notes: list[str]

    def sizes(self) -> set[tuple[int, int]]:
        return {(facts.height, facts.width) for facts in self.facts}

    def presence(self) -> np.ndarray:
        """bool (pairs, C): which image holds which class."""
        return np.stack([facts.counts(self.encoding) > 0 for facts in self.facts])

    def class_pixels(self, pairs: list[Pair]) -> np.ndarray:
        """Pixels of each class in the masks of some pairs, int64 (C,)."""
        return sum(facts.counts(self.encoding) for facts in self.of(pairs))

    def class_weights(self, pairs: list[Pair], kind: str) -> np.ndarray:
        """float32 (C,): ones ("none"), or median frequency / frequency ("median_frequency").

        A class's frequency is its pixels by all pixels of the images that hold it (Eigen and Fergus 2015,
        arXiv 1411.4734, section 4); a class that no image holds weighs 1.
        """
        weights = np.ones(self.encoding.num_classes, np.float32)
        if kind == "none":
            return weights
        pixels = self.class_pixels(pairs)
        of_images = sum(facts.height * facts.width * (facts.counts(self.encoding) > 0) for facts in self.of(pairs))
        frequency = pixels[pixels > 0] / of_images[pixels > 0]
        weights[pixels > 0] = np.median(frequency) / frequency
        return weights

    def of(self, pairs: list[Pair]) -> list[Facts]:
        stems = {pair.stem for pair in pairs}
        return [facts for facts in self.facts if facts.pair.stem in stems]

    def fingerprint(self) -> str:
        """A hash of every file's name and bytes, whatever the order of listing."""
        lines = sorted(f"{facts.pair.stem} {facts.digest}" for facts in self.facts)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def inspect(
    source: Path | None, pairs: list[Pair], void: tuple[int, ...] = (), encoding: Encoding | None = None
) -> Inspection:
    """Read all images and masks once; settle the encoding; refuse what would train wrongly.

    Args:
        source: the data set's folder or CSV; a classes.json beside it names the classes. None: there is none.
        pairs: its pairs.
        void: values on disk that never count.
        encoding: a settled encoding to hold the masks to, in place of inference; a classes.json beside them
            may give its classes other values.

    Raises:
        UserError: naming up to five files that cannot be read, or whose mask has another size than the
            image; or the masks' values, where they are ambiguous or out of range.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked = list(tqdm(pool.map(look, pairs), "checking", len(pairs), unit="pair", leave=False, disable=None))
    faults = [result for result in looked if isinstance(result, str)]
    if faults:
        more = f"\n… and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise UserError("\n".join(faults[:5]) + more)

    refuse_mixed_palettes(looked)
    facts, encoding = settle(source, looked, void, encoding)
    for one in facts:
        unknown = Counter({value: one.values[value] for value in one.values.keys() - encoding.index.keys()})
        if unknown:
            raise_unknown(one.pair.mask, unknown, encoding)
    return Inspection(encoding, facts, [encoding.note, *notes_on(facts, encoding)])


def look(pair: Pair) -> Facts | str:
    """One pair's facts, or its fault in words."""
    try:
        with Image.open(pair.image) as picture:
            picture.load()  # unlike OpenCV, Pillow refuses a truncated file
            mode, turned = picture.mode, picture.getexif().get(EXIF_ORIENTATION, 1) != 1
        height, width = read_image(pair.image).shape[:2]
        raw, is_color = read_raw(pair.mask)
    except UserError as error:
        return str(error)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{pair.image}: not a readable picture ({error}); replace the file or take it out of the data set"
    if raw.shape != (height, width):
        return (
            f"{pair.mask}: {raw.shape[1]}×{raw.shape[0]} pixels, but its image {pair.image} has "
            f"{width}×{height}; export the mask at the image's size (a phone's photo may be turned by EXIF)"
        )
    values, counts = np.unique(raw, return_counts=True)
    if len(values) > 4096:
        return f"{pair.mask}: holds {len(values)} different colours; this is a photograph, not a mask"
    digest = hashlib.sha256(pair.image.read_bytes() + pair.mask.read_bytes()).hexdigest()
    held = Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return Facts(pair, height, width, held, is_color, read_palette(pair.mask, held), mode, turned, digest)


def settle(
    source: Path | None, looked: list[Facts], void: tuple[int, ...], known: Encoding | None
) -> tuple[list[Facts], Encoding]:
    """The masks' encoding, from a classes.json, a run, or the masks themselves; and the facts in its terms."""
    classes_file = find_classes_file(Path(source)) if source else None
    if known and not classes_file:
        extra = tuple(gray_to(value, known.is_color) for value in void)
        return unify_kind(looked, known.is_color), replace(known, void=(*known.void, *extra))

    in_color = [one for one in looked if one.is_color]
    is_color = any(not is_grey(one) for one in in_color)
    if not classes_file:
        facts = unify_kind(looked, is_color)
        return facts, infer(facts, is_color, void)

    is_color = is_color or (bool(in_color) and wants_colors(classes_file))
    encoding = read_encoding(classes_file, is_color, void)
    return unify_kind(looked, is_color), rename_like(encoding, known.names, classes_file) if known else encoding


def unify_kind(facts: list[Facts], colorful: bool) -> list[Facts]:
    """Facts of masks that are all colours, or all values: masks saved as RGB whose colours are grey are values."""
    unified = []
    for one in facts:
        if colorful and not one.is_color:
            refuse_grey(one.pair.mask)
        if one.is_color and not colorful:
            if not is_grey(one):
                raise UserError(f"{one.pair.mask}: a colour mask where masks of class values are wanted")
            values = Counter({value & 255: count for value, count in one.values.items()})
            one = replace(one, values=values, is_color=False)
        unified.append(one)
    return unified


def refuse_mixed_palettes(facts: list[Facts]) -> None:
    """One index must have one colour in all masks: some programs sort the palette of each file anew."""
    first = {}
    for one in facts:
        for index, color in one.palette.items():
            other, path = first.setdefault(index, (color, one.pair.mask))
            if color != other:
                raise UserError(
                    f"{one.pair.mask}: palette index {index} is {color}, but {other} in {path}; "
                    "save all masks with one palette, or as RGB"
                )


def is_grey(facts: Facts) -> bool:
    """Whether a mask saved as RGB holds greys alone."""
    return all(len(set(unpack(value))) == 1 for value in facts.values)


def infer(facts: list[Facts], is_color: bool, void: tuple[int, ...]) -> Encoding:
    found = sum((one.values for one in facts), Counter())
    try:
        return infer_encoding(found, is_color, void)
    except UserError as error:
        raise UserError(f"{error}{rare_values(facts)}") from None


def rare_values(facts: list[Facts]) -> str:
    """The files behind values that very few masks hold: more likely a slip than a class."""
    holders = {}
    for one in facts:
        for value in one.values:
            holders.setdefault(value, []).append(one.pair.mask)
    rare = {value: paths for value, paths in holders.items() if len(paths) <= max(1, len(facts) // 50)}
    if not rare or len(rare) > 8:
        return ""
    named = "; ".join(f"{value} only in {some([str(path) for path in paths])}" for value, paths in rare.items())
    return f"\nFew masks hold some of them: {named}."


def notes_on(facts: list[Facts], encoding: Encoding) -> list[str]:
    """What is handled, but should be said."""
    found = set().union(*(one.values for one in facts))
    unused = [encoding.show(value) for value in encoding.void if value not in found]
    notes = [f"void {', '.join(unused)} occurs in no mask"] if unused else []
    modes = Counter(one.mode for one in facts)
    grey = sum(count for mode, count in modes.items() if mode in ("L", "1"))
    alpha = sum(count for mode, count in modes.items() if mode in ("RGBA", "LA", "PA"))
    if grey:
        notes.append(f"{grey} grey images: the channel is repeated three times")
    turned = sum(one.turned for one in facts)
    if turned:
        notes.append(f"{turned} images are turned as their EXIF orientation says; their masks are not")
    if alpha:
        notes.append(f"{alpha} images with transparency: the alpha channel is dropped")
    return notes
