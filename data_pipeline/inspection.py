"""Read every file of a data set before any training: what the masks hold, and what would train wrongly."""

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .command import UserError
from .encoding import (
    BINARY_TOLERANCE,
    UNKNOWN,
    VOID,
    VOID_NAMES,
    Encoding,
    default_color,
    find_classes_file,
    gray_to,
    infer_encoding,
    is_soft_binary,
    read_encoding,
    rename_like,
    unknown_values,
    unpack,
    void_of_files,
    wants_colors,
)
from .files import read_json, read_picture
from .findings import Finding, refuse_errors, some
from .masks import class_of_file, is_lossy, merge_class_files, read_palette, read_raw
from .pairs import Pair
from .split import Split

LONGEST_SIDE = 32_766  # pixels that OpenCV can move about
MOST_VALUES = 4096  # different colours in a mask; more is a photograph
MOST_STRAYS = 3  # different values; more are no slips
STRAY = 0.01  # share of the masks that may hold an inferred class before it counts as a slip


@dataclass(frozen=True)
class Facts:
    """What one pair holds: its size in pixels, and its mask's values with their numbers of pixels."""

    pair: Pair
    height: int
    width: int
    dtype: str  # of the image: uint8, uint16, float32
    channels: int
    values: Counter  # of the mask, as on disk
    is_color: bool
    lossy: bool  # the mask is in a format that changes labels
    palette: dict[int, tuple[int, int, int]]  # colours of the indices used, where the mask has a palette
    mode: str  # Pillow's name of the image's form: RGB, L, RGBA, …
    turned: bool  # by its EXIF orientation

    def counts(self, encoding: Encoding) -> np.ndarray:
        """Pixels of each class, int64 (C,); void left out."""
        return self.all_counts(encoding)[: encoding.num_classes]

    def all_counts(self, encoding: Encoding) -> np.ndarray:
        """Pixels of each class index, of VOID and UNKNOWN, int64 (257,)."""
        values, counts = (np.array(part, np.int64) for part in (list(self.values), list(self.values.values())))
        return np.bincount(encoding.classes_of(values), counts, UNKNOWN + 1).astype(np.int64)


@dataclass(frozen=True)
class Inspection:
    """A data set that was read through: the pairs that could be read, and what was found."""

    encoding: Encoding
    facts: list[Facts]
    findings: list[Finding]

    def sizes(self) -> set[tuple[int, int]]:
        return {(facts.height, facts.width) for facts in self.facts}

    def pairs(self) -> list[Pair]:
        return [facts.pair for facts in self.facts]

    def presence(self) -> np.ndarray:
        """bool (pairs, C): which image holds which class."""
        return np.stack([facts.counts(self.encoding) > 0 for facts in self.facts])

    def class_pixels(self, pairs: list[Pair]) -> np.ndarray:
        """Pixels of each class in the masks of some pairs, int64 (C,)."""
        return sum((facts.counts(self.encoding) for facts in self.of(pairs)), np.zeros(self.encoding.num_classes, int))

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


def inspect(
    source: Path | None, pairs: list[Pair], void: tuple[int, ...] = (), encoding: Encoding | None = None
) -> Inspection:
    """Read all images and masks once; settle the encoding; find what would train wrongly.

    Args:
        source: the data set's folder or CSV; a classes.json beside it names the classes. None: there is none.
        pairs: its pairs.
        void: values on disk that never count.
        encoding: a settled encoding to hold the masks to, in place of inference; a classes.json beside them
            may give its classes other values.

    Raises:
        UserError: if no pair can be read, or the masks' encoding cannot be known.
    """
    files = class_file_names(pairs)
    refuse_other_layout(encoding, files, bool(source and find_classes_file(Path(source))), void)
    files = encoding.files if encoding and files else files  # in the order that the run knows
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda pair: look(pair, files), pairs)
        looked = list(tqdm(results, "checking", len(pairs), unit="pair", leave=False, disable=None))
    facts = [one for one in looked if isinstance(one, Facts)]
    findings = [one for one in looked if isinstance(one, Finding)]
    if not facts:
        refuse_errors(findings)
    facts, encoding, more = settle(Path(source) if source else None, facts, void, encoding, files)
    findings += more + mixed_palettes(facts) + mixed_images(facts) + lossy_masks(facts, encoding)
    findings += too_long(facts) + no_data(facts) + class_file_faults(facts, encoding)
    findings += [unknown_labels(one, encoding) for one in facts if one.all_counts(encoding)[UNKNOWN]]
    return Inspection(encoding, facts, [*findings, *notes_on(facts, encoding)])


def fingerprint(pairs: list[Pair]) -> str:
    """A hash of every pair's name and bytes, whatever the order of listing."""
    digests = {pair.files: digest(pair) for pair in {pair.files: pair for pair in pairs}.values()}  # tiles share a file
    lines = sorted(f"{pair.stem} {digests[pair.files]}" for pair in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest(pair: Pair) -> str:
    """SHA-256 of all files of a pair."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in pair.files)).hexdigest()


def class_file_names(pairs: list[Pair]) -> tuple[str, ...]:
    """The classes that have files of their own, by name."""
    return tuple(sorted({class_of_file(path, pair.image.stem) for pair in pairs for path in pair.class_masks}))


def look(pair: Pair, files: tuple[str, ...]) -> Facts | Finding:
    """One pair's facts, or what makes it unreadable."""
    try:
        image = read_picture(pair.image)
    except UserError as error:
        return Finding("error", "unreadable-image", str(error), files=(str(pair.image),))
    try:
        if pair.class_masks:
            raw, is_color = merge_class_files(pair.class_masks, pair.image.stem, files), False
        else:
            raw, is_color = read_raw(pair.mask)
    except UserError as error:
        return Finding("error", "unreadable-mask", str(error), files=(str(pair.mask),))
    height, width, channels = image.pixels.shape
    if raw.shape != (height, width):
        message = f"{pair.mask}: {raw.shape[1]}×{raw.shape[0]} pixels, but its image {pair.image} has {width}×{height}"
        remedy = "export the mask at the image's size"
        if image.turned and raw.shape == (width, height):
            remedy = "EXIF turns the image; turn the mask too, or save the image upright without EXIF orientation"
        return Finding("error", "size-mismatch", message, remedy, (str(pair.mask), str(pair.image)))
    values, counts = np.unique(raw, return_counts=True)
    if len(values) > MOST_VALUES:
        message = f"{pair.mask}: holds {len(values)} different colours; this is a photograph, or was saved as one"
        return Finding("error", "photograph", message, "export masks as PNG without smoothing", (str(pair.mask),))
    held = Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    exact = bool(pair.class_masks)
    return Facts(
        pair=pair,
        height=height,
        width=width,
        dtype=image.pixels.dtype.name,
        channels=channels,
        values=held,
        is_color=is_color,
        lossy=not exact and is_lossy(pair.mask),
        palette={} if exact else read_palette(pair.mask, held),
        mode=image.mode,
        turned=image.turned,
    )


def settle(
    source: Path | None, looked: list[Facts], void: tuple[int, ...], known: Encoding | None, files: tuple[str, ...]
) -> tuple[list[Facts], Encoding, list[Finding]]:
    """The masks' encoding, from a classes.json, a run, or the masks themselves; and the facts in its terms."""
    classes_file = find_classes_file(source) if source else None
    in_color = sum(one.is_color and not is_grey(one) for one in looked)
    is_color = in_color > sum(not one.is_color for one in looked)
    if classes_file:
        is_color = is_color or (any(one.is_color for one in looked) and wants_colors(classes_file))
    elif known:
        is_color = known.is_color
    facts, findings = unify_kind(looked, is_color)
    if classes_file:
        encoding = read_encoding(classes_file, is_color, void, files, whole_palette(facts))
        encoding = encoding if "tolerance" in read_json(classes_file) else soften(facts, encoding)
        encoding = rename_like(encoding, known.names, classes_file) if known else encoding
    elif known:
        extra = tuple(gray_to(value, is_color) for value in void)
        encoding = soften(facts, replace(known, void=(*known.void, *extra)))
    else:
        encoding = infer_from_files(files) if files else infer(facts, is_color, void)
    return facts, encoding, findings


def refuse_other_layout(
    known: Encoding | None, files: tuple[str, ...], has_classes: bool, void: tuple[int, ...]
) -> None:
    """Raise a UserError where a run's one file for each class meets single masks, or the other way round."""
    if files and void:
        raise UserError("--void: masks of one file for each class have no void value; name a file …_void")
    if known and not has_classes and bool(known.files) != bool(files):
        raise UserError(
            f"the run was trained on {'one file for each class' if known.files else 'one mask for each image'}, and "
            "these masks are written otherwise; put a classes.json beside them that names the run's classes"
        )


def whole_palette(facts: list[Facts]) -> dict[int, tuple[int, int, int]]:
    """Index → colour over all masks; empty unless all have palettes."""
    if not all(one.palette for one in facts):
        return {}
    return {index: color for one in facts for index, color in one.palette.items()}


def unify_kind(facts: list[Facts], colorful: bool) -> tuple[list[Facts], list[Finding]]:
    """Facts of masks that are all colours, or all values: masks saved as RGB whose colours are grey are values."""
    unified, findings = [], []
    for one in facts:
        path = one.pair.mask
        if colorful == one.is_color:
            unified.append(one)
        elif one.is_color and is_grey(one):
            values = Counter({value & 255: count for value, count in one.values.items()})
            unified.append(replace(one, values=values, is_color=False))
        else:
            kinds = "class values where colour masks" if colorful else "colours where masks of class values"
            message = f"{path}: a mask of {kinds} are wanted"
            findings.append(Finding("error", "mixed-masks", message, "save them all in one form", (str(path),)))
    if not unified:
        raise UserError(str(findings[0]))
    return unified, findings


def is_grey(facts: Facts) -> bool:
    """Whether a mask saved as RGB holds greys alone."""
    return all(len(set(unpack(value))) == 1 for value in facts.values)


def infer_from_files(files: tuple[str, ...]) -> Encoding:
    """Classes by the names of their files; background is what none claims."""
    names = ("background", *(name for name in files if name != "background" and name.lower() not in VOID_NAMES))
    if len(names) < 2:
        raise UserError(f"the masks' names end in {some(files)}: one class of foreground at least is wanted")
    values = tuple(files.index(name) + 1 if name in files else 0 for name in names)
    colors = tuple(default_color(i) for i in range(len(names)))
    note = f"one binary file for each class, by name: {', '.join(names)}"
    return Encoding(names, values, colors, void_of_files(files, names), files=files, note=note)


def infer(facts: list[Facts], is_color: bool, void: tuple[int, ...]) -> Encoding:
    """The encoding of the masks without the few whose values no other mask holds: those are slips, or named."""
    strays = stray_values(facts, void)
    usual = [one for one in facts if not strays & one.values.keys()]
    if len(facts) < 5 or len(usual) < len(facts) / 2:
        usual = facts
    try:
        encoding = infer_among(usual, is_color, void)
    except UserError:
        if usual is facts:
            raise
        return infer_among(facts, is_color, void)
    if is_color and len(encoding.values) > 8 and len(facts) >= 5:
        holders = Counter(value for one in usual for value in one.values)
        if sum(count == 1 for count in holders.values()) > len(holders) / 2:
            raise UserError(
                f"most of the masks' {len(holders)} colours occur in one mask only: they seem to tell objects "
                "apart, not classes. Paint every object in its class's colour; if they are classes, list them in a "
                "classes.json"
            )
    if numbers_objects(usual, encoding):
        raise UserError(
            f"each mask holds the values 0…n without a gap, with n from mask to mask up to {encoding.num_classes - 1}: "
            "they seem to number objects, not classes. Set every object to 1 (or to its class); if they are "
            "classes after all, name them in a classes.json"
        )
    return encoding


def infer_among(facts: list[Facts], is_color: bool, void: tuple[int, ...]) -> Encoding:
    found = sum((one.values for one in facts), Counter())
    if set(found) == {0, 1, 255} and not any({1, 255} <= one.values.keys() for one in facts) and 255 not in void:
        ones = [one.pair.stem for one in facts if one.values[1]]
        others = [one.pair.stem for one in facts if one.values[255]]
        raise UserError(
            f"some masks hold 0 and 1 ({some(ones)}), others 0 and 255 ({some(others)}): save them all alike"
        )
    return infer_encoding(found, is_color, void, lossy=any(one.lossy for one in facts))


def stray_values(facts: list[Facts], void: tuple[int, ...]) -> set[int]:
    """Values that very few masks hold: more likely a slip than a class, where there are few such values."""
    holders = Counter(value for one in facts for value in one.values)
    strays = {value for value, count in holders.items() if count <= max(1, STRAY * len(facts))} - set(void)
    return strays if len(strays) <= MOST_STRAYS else set()


def numbers_objects(facts: list[Facts], encoding: Encoding, least: int = 6) -> bool:
    """Whether masks of values 0…n count objects: every mask without a gap, and n another from mask to mask."""
    if encoding.is_color or encoding.files or encoding.num_classes < least:
        return False
    void = set(encoding.void)
    most = [sorted(one.values.keys() - void - {0}) for one in facts]
    return all(values == list(range(1, len(values) + 1)) for values in most) and len(set(map(len, most))) >= 3


def soften(facts: list[Facts], encoding: Encoding) -> Encoding:
    """A stated encoding of black and white masks, with the tolerance that soft edges need."""
    if encoding.is_color or encoding.tolerance or encoding.void or set(encoding.values) != {0, 255}:
        return encoding
    found = sum((one.values for one in facts), Counter())
    if set(found) <= {0, 255} or not is_soft_binary(found, least=2 if any(one.lossy for one in facts) else 16):
        return encoding
    return replace(encoding, tolerance=BINARY_TOLERANCE)


def unknown_labels(facts: Facts, encoding: Encoding) -> Finding:
    values = np.array(list(facts.values), np.int64)
    unknown = values[encoding.classes_of(values) == UNKNOWN].tolist()
    found = Counter({value: facts.values[value] for value in unknown})
    message = unknown_values(facts.pair.mask, found, encoding, sum(facts.values.values()))
    return Finding("error", "unknown-label", message, files=(str(facts.pair.mask),))


def too_long(facts: list[Facts]) -> list[Finding]:
    """Images that the augmentation cannot take, and that ``tile`` cuts up."""
    long = [str(one.pair.image) for one in facts if max(one.height, one.width) > LONGEST_SIDE]
    message = f"{some(long)}: sides of at most {LONGEST_SIDE:,} pixels can be trained on"
    remedy = "cut them up: python -m data_pipeline tile"
    return [Finding("error", "too-long", message, remedy, tuple(long))] if long else []


def no_data(facts: list[Facts]) -> list[Finding]:
    """Images with pixels that their own file calls empty."""
    holders = [str(one.pair.image) for one in facts if ", no data" in one.mode]
    value = next((one.mode.rsplit(": ", 1)[1] for one in facts if ", no data" in one.mode), "")
    message = f"{len(holders)} images hold pixels of no data (value {value}): {some(holders)}"
    remedy = "mark them void in the masks, or they enter the images' scale and the training"
    return [Finding("warning", "no-data", message, remedy, tuple(holders))] if holders else []


def class_file_faults(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Where each class has a file: classes that others cover wholly, and images without their background file."""
    if not encoding.files:
        return []
    findings = []
    pixels = sum(one.all_counts(encoding) for one in facts)
    lost = [name for name, count in zip(encoding.names, pixels, strict=False) if not count and name in encoding.files]
    if lost and pixels[VOID]:
        message = f"not one pixel is left of {some(lost)}: other classes' files claim them too"
        findings.append(Finding("error", "lost-class", message, "cut the inner class out of the outer one's masks"))
    if encoding.names[0] in encoding.files:
        without = [
            str(one.pair.image)
            for one in facts
            if not any(class_of_file(path, one.pair.image.stem) == encoding.names[0] for path in one.pair.class_masks)
        ]
        message = f"{len(without)} images have no file of {encoding.names[0]}, so what no class claims there is void"
        findings += [Finding("warning", "no-background", message, files=tuple(without))] if without else []
    return findings


def lossy_masks(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Masks in a format that changes values, where classes lie too close to survive it."""
    known = np.array(list(encoding.index))
    gap = min(int(np.sort(encoding.distance(known, value))[1]) for value in known.tolist())
    lossy = [str(one.pair.mask) for one in facts if one.lossy]
    if not lossy or gap >= 64:
        return []
    message = f"{some(lossy)}: JPEG (or WebP) changes labels that lie {gap} apart"
    return [Finding("error", "lossy-mask", message, "export the masks as PNG", tuple(lossy))]


def mixed_palettes(facts: list[Facts]) -> list[Finding]:
    """One index must have one colour in all masks: some programs sort the palette of each file anew."""
    usual = {}
    for one in facts:
        for index, color in one.palette.items():
            usual.setdefault(index, Counter())[color] += 1
    usual = {index: colors.most_common(1)[0][0] for index, colors in usual.items()}
    findings = []
    for one in facts:
        other = [index for index, color in one.palette.items() if color != usual[index]]
        if other:
            path, index = one.pair.mask, min(other)
            message = f"{path}: palette index {index} is {one.palette[index]}, but {usual[index]} in most masks"
            remedy = "save all masks with one palette, or as RGB"
            findings.append(Finding("error", "mixed-palettes", message, remedy, (str(path),)))
    return findings


def mixed_images(facts: list[Facts]) -> list[Finding]:
    """Images must be of one type and number of channels."""
    kinds = Counter((one.channels, one.dtype) for one in facts)
    if len(kinds) == 1:
        return []
    usual = kinds.most_common(1)[0][0]
    odd = tuple(str(one.pair.image) for one in facts if (one.channels, one.dtype) != usual)
    listing = ", ".join(f"{count} of {channels} × {dtype}" for (channels, dtype), count in kinds.most_common())
    message = f"images of several kinds (channels × type): {listing}; the rarer ones: {some(odd)}"
    return [Finding("error", "mixed-images", message, "save all images alike", odd)]


def notes_on(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """What is handled, but should be said."""
    notes = [("encoding", encoding.note)]
    found = set().union(*(one.values for one in facts))
    unused = [encoding.show(value) for value in encoding.void if value not in found]
    if unused and not encoding.files:
        notes.append(("void-unused", f"void {', '.join(unused)} occurs in no mask"))
    total = sum(sum(one.values.values()) for one in facts)
    if encoding.tolerance:
        moved = sum(count for one in facts for value, count in one.values.items() if value not in encoding.index)
        message = f"{moved / total:.2%} of the pixels count as the nearest known value (within {encoding.tolerance})"
        notes.append(("moved-pixels", message))
    if numbers_objects(facts, encoding, least=4):
        notes.append(
            ("objects", "each mask holds the values 0…n without a gap: classes, or objects that are numbered?")
        )
    if encoding.files:
        shared = sum(one.values[VOID] for one in facts)
        message = f"{shared / total:.2%} of the pixels are claimed by two classes, and are void"
        notes += [("overlap", message)] if shared else []
    modes = Counter(one.mode for one in facts)
    grey = sum(modes[mode] for mode in ("L", "1", "LA"))
    alpha = sum(count for mode, count in modes.items() if mode in ("RGBA", "LA", "PA") or ", alpha" in mode)
    turned = sum(one.turned for one in facts)
    if grey:
        notes.append(("grey", f"{grey} grey images: the channel is repeated three times"))
    if turned:
        notes.append(("exif", f"{turned} images are turned as their EXIF orientation says, and masks as theirs says"))
    if alpha:
        notes.append(("alpha", f"{alpha} images with transparency: the alpha channel is dropped"))
    return [Finding("note", kind, message) for kind, message in notes]


def findings_on_split(data: Inspection, split: Split) -> list[Finding]:
    """What a split cannot give."""
    pixels = data.class_pixels(split.train)
    if np.count_nonzero(pixels) < 2:
        held = [name for name, count in zip(data.encoding.names, pixels, strict=True) if count]
        message = (
            f"the training masks hold {held[0]} alone" if held else "the training masks hold not one labelled pixel"
        )
        remedy = "there is nothing to learn: look at the masks' values, at classes.json and --void"
        return [Finding("error", "one-class", message, remedy)]
    if split.val and not data.class_pixels(split.val).any():
        message = "the validation masks hold not one labelled pixel, so nothing tells which weights are the best"
        remedy = "label some of them, choose another --split-seed, or divide the images yourself"
        return [Finding("error", "nothing-to-validate", message, remedy)]
    findings = []
    unseen = [name for name, count in zip(data.encoding.names, pixels, strict=True) if not count]
    if unseen:
        findings.append(Finding("warning", "class-unseen", f"no training image holds {', '.join(unseen)}"))
    if not split.test:
        message = "there is no test part: scores can be had on the validation images alone, and flatter"
        findings.append(Finding("note", "no-test-part", message))
    return findings
