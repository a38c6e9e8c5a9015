"""Read every file of a data set before any training: what the masks hold, and what would train wrongly."""

import hashlib
import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .class_lists import class_list, find_class_list
from .command import UserError
from .doubtful import OUTLINE, agreement_of, contrast_of, doubtful, values_on_no_data
from .encoding import (
    ABOVE_ZERO,
    BINARY_TOLERANCE,
    UNKNOWN,
    VOID,
    VOID_NAMES,
    Encoding,
    background_first,
    default_color,
    gray_to,
    infer_encoding,
    is_background,
    is_soft_binary,
    one_class_encoding,
    read_encoding,
    rename_like,
    unknown_values,
    unpack,
    values_of_files,
    void_of_files,
    wants_colors,
)
from .facts import Facts
from .files import read_picture
from .findings import Finding, refuse_errors, some
from .layouts import ROWS
from .mask_files import UNITED, class_of_file, classes_of_files
from .masks import NO_PICTURE, form_of, merge_class_files, read_raw
from .object_numbers import measure_regions, numbers_objects
from .pairs import Pair
from .split import Split

LONGEST_SIDE = 32_766  # pixels that OpenCV can move about
MOST_VALUES = 4096  # different colours in a mask; more is a photograph
MOST_STRAYS = 3  # different values; more are no slips
MOST_DOUBTED = 200  # masks whose regions are measured
MOST_DOUBTED_VALUES = 2048
MOST_PROPOSED = 32  # classes that an error message lists
STRAY = 0.01  # share of the masks that may hold an inferred class before it counts as a slip


@dataclass(frozen=True)
class Inspection:
    """A data set that was read through: the facts of the pairs that could be read, and the findings."""

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


@dataclass(frozen=True)
class Meaning:
    """The meaning that the user gives the masks' values, where neither a classes.json nor the values themselves do."""

    one_class: bool = False  # everything above 0, and every file of an image, is one class
    names: tuple[str, ...] = ()  # of the classes, in the order of their values

    @property
    def is_said(self) -> bool:
        return self.one_class or bool(self.names)


NOT_SAID = Meaning()


def inspect(
    source: Path | None,
    pairs: list[Pair],
    void: tuple[int, ...] = (),
    encoding: Encoding | None = None,
    meaning: Meaning = NOT_SAID,
) -> Inspection:
    """Read all images and masks once; choose the encoding; find what would train wrongly.

    Args:
        source: the data set's folder or CSV; a classes.json beside it names the classes. None: there is none.
        pairs: its pairs.
        void: values on disk that never count.
        encoding: an encoding to hold the masks to, in place of inference; a classes.json beside them
            may give its classes other values.
        meaning: of the values, as the user gives it.

    Raises:
        UserError: if no pair can be read, or the masks' encoding cannot be known.
    """
    stated = find_class_list(Path(source), pairs) if source else None
    one_class = meaning.one_class or bool(encoding and encoding.files == UNITED)
    files = class_file_names(pairs, one_class)
    refuse_other_layout(encoding, files, bool(stated), void)
    files = encoding.files if encoding and files else files  # in the order that the run knows
    doubted = not (encoding or stated or files or meaning.is_said)
    step = -(-len(pairs) // MOST_DOUBTED)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reading = pool.map(lambda i: inspect_pair(pairs[i], files, doubted and i % step == 0), range(len(pairs)))
        results = list(tqdm(reading, "checking", len(pairs), unit="pair", leave=False, disable=None))
    facts = [result for result in results if isinstance(result, Facts)]
    findings = [result for result in results if isinstance(result, Finding)]
    if not facts:
        refuse_errors(findings)
    facts, encoding, more = choose_encoding(stated, facts, void, encoding, files, meaning)
    findings += more + mixed_palettes(facts) + mixed_images(facts) + lossy_masks(facts, encoding)
    findings += too_long(facts) + no_data(facts, encoding) + class_file_faults(facts, encoding)
    findings += doubtful(facts, encoding)
    findings += [unknown_labels(record, encoding) for record in facts if record.all_counts(encoding)[UNKNOWN]]
    return Inspection(encoding, facts, [*findings, *notes_on(facts, encoding)])


def fingerprint(pairs: list[Pair]) -> str:
    """A hash of every pair's name and bytes, whatever the order of listing."""
    digests = {pair.files: digest(pair) for pair in {pair.files: pair for pair in pairs}.values()}  # tiles share a file
    lines = sorted(f"{pair.stem} {digests[pair.files]}" for pair in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest(pair: Pair) -> str:
    """SHA-256 of all files of a pair."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in pair.files)).hexdigest()


def class_file_names(pairs: list[Pair], one_class: bool) -> tuple[str, ...]:
    """The classes that have files of their own, by name; UNITED where all files of an image are one class."""
    names = {
        pair.stem: [class_of_file(path, pair.image.stem) for path in pair.class_masks]
        for pair in pairs
        if pair.class_masks
    }
    if not names:
        return ()
    layout = ROWS.get(pairs[0].layout)
    in_parts, in_folders = (layout.united, layout.in_class_folders) if layout else (False, False)
    return classes_of_files(names, one_class or in_parts, in_folders)


def inspect_pair(pair: Pair, files: tuple[str, ...], doubted: bool) -> Facts | Finding:
    """One pair's facts, or what makes it unreadable.

    doubted: measure the regions that tell numbered objects from classes.
    """
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
    return Facts(
        pair=pair,
        height=height,
        width=width,
        dtype=image.pixels.dtype.name,
        channels=channels,
        values=held,
        is_color=is_color,
        mode=image.mode,
        turned=image.turned,
        outline=raw[:: max(1, height // OUTLINE), :: max(1, width // OUTLINE)][:OUTLINE, :OUTLINE].copy(),
        contrast=contrast_of(raw, image.pixels) if len(held) == 2 else None,
        agreement=agreement_of(pair.class_masks) if len(pair.class_masks) > 1 else None,
        on_no_data=values_on_no_data(raw, image),
        regions=measure_regions(raw, image.pixels) if doubted and 2 < len(held) <= MOST_DOUBTED_VALUES else None,
        **(NO_PICTURE if pair.class_masks else form_of(pair.mask, held)),
    )


def choose_encoding(
    stated: Path | None,
    records: list[Facts],
    void: tuple[int, ...],
    known: Encoding | None,
    files: tuple[str, ...],
    meaning: Meaning,
) -> tuple[list[Facts], Encoding, list[Finding]]:
    """The masks' encoding, from a list of classes, a run, the user, or the masks; and the facts in its terms."""
    in_color = sum(record.is_color and not is_grey(record) for record in records)
    is_color = in_color > sum(not record.is_color for record in records)
    if stated:
        is_color = is_color or (any(record.is_color for record in records) and wants_colors(stated))
    elif known:
        is_color = known.is_color
    facts, findings = unify_kind(records, is_color)
    if stated:
        encoding = read_encoding(stated, is_color, void, files, whole_palette(facts))
        encoding = encoding if "tolerance" in class_list(stated) else soften(facts, encoding)
        encoding = rename_like(encoding, known.names, stated) if known else encoding
    elif known:
        extra = tuple(gray_to(value, is_color) for value in void)
        encoding = soften(facts, replace(known, void=(*known.void, *extra)))
    elif files:
        encoding = named(infer_from_files(files), meaning.names)
    elif meaning.one_class:
        encoding = named(one_class_encoding(("background", "foreground"), is_color, void), meaning.names)
    elif meaning.names:
        encoding = encoding_of_names(facts, is_color, void, meaning.names)
    else:
        encoding = infer(facts, is_color, (*void, *void_of_layout(facts, is_color)))
        encoding = in_palette_colors(encoding, whole_palette(facts))
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
    if not all(record.palette for record in facts):
        return {}
    return {index: color for record in facts for index, color in record.palette.items()}


def in_palette_colors(encoding: Encoding, palette: dict[int, tuple[int, int, int]]) -> Encoding:
    """The encoding in the colours of the masks' palette, if that tells the classes apart, and not by grey levels."""
    colors = [palette.get(value) for value in encoding.values]
    if None in colors or len(set(colors)) < len(colors) or all(len(set(color)) == 1 for color in colors):
        return encoding
    return replace(encoding, colors=tuple(colors))


def unify_kind(facts: list[Facts], colorful: bool) -> tuple[list[Facts], list[Finding]]:
    """Facts of masks that are all colours, or all values: masks saved as RGB whose colours are grey are values."""
    unified, findings = [], []
    for record in facts:
        path = record.pair.mask
        if colorful == record.is_color:
            unified.append(record)
        elif record.is_color and is_grey(record):
            values = Counter({value & 255: count for value, count in record.values.items()})
            unified.append(replace(record, values=values, is_color=False))
        else:
            kinds = "class values where colour masks" if colorful else "colours where masks of class values"
            message = f"{path}: a mask of {kinds} are wanted"
            findings.append(Finding("error", "mixed-masks", message, "save them all in one form", (str(path),)))
    if not unified:
        raise UserError(str(findings[0]))
    return unified, findings


def is_grey(facts: Facts) -> bool:
    """Return whether a mask saved as RGB holds greys alone."""
    return all(len(set(unpack(value))) == 1 for value in facts.values)


def infer_from_files(files: tuple[str, ...]) -> Encoding:
    """Classes by the names of their files; background is what none claims."""
    if files == UNITED:
        names, note = ("background", "foreground"), "the mask files of each image are united: one class"
    else:
        background = next(filter(is_background, files), "background")
        names = (background, *(name for name in files if name != background and name.lower() not in VOID_NAMES))
        note = f"one binary file for each class, by name: {', '.join(names)}"
    if len(names) < 2:
        raise UserError(f"the masks' names end in {some(files)}: one class of foreground at least is wanted")
    colors = tuple(default_color(i) for i in range(len(names)))
    return Encoding(names, values_of_files(names, files), colors, void_of_files(files, names), files=files, note=note)


def named(encoding: Encoding, names: tuple[str, ...]) -> Encoding:
    """The encoding with the names that the user gave; of two classes, background goes without saying.

    Raises:
        UserError: for another number of names.
    """
    if not names:
        return encoding
    names = ("background", *names) if len(names) == 1 and encoding.num_classes == 2 else names
    if len(names) != encoding.num_classes or len(set(names)) < len(names):
        values = ", ".join(encoding.show(value) for value in encoding.values)
        raise UserError(
            f"--classes {','.join(names)}: {encoding.num_classes} names are wanted, for the values {values} in this "
            "order"
        )
    listing = ", ".join(f"{encoding.show(value)} {name}" for value, name in zip(encoding.values, names, strict=True))
    note = encoding.note.removesuffix(f": {', '.join(encoding.names)}")
    return background_first(replace(encoding, names=names, note=f"{note}; classes as named: {listing}"))


def encoding_of_names(facts: list[Facts], is_color: bool, void: tuple[int, ...], names: tuple[str, ...]) -> Encoding:
    """The encoding of masks whose classes the user names, in the order of their values."""
    try:
        return named(infer_among(facts, is_color, void), names)
    except UserError:
        ignored = {gray_to(value, is_color) for value in void}
        values = tuple(sorted(set().union(*(record.values for record in facts)) - ignored))
        colors = tuple(unpack(value) if is_color else default_color(i) for i, value in enumerate(values))
        return named(Encoding(tuple(map(str, values)), values, colors, tuple(ignored), is_color, note="values"), names)


def layout_of(facts: list[Facts]):
    layout = facts[0].pair.layout
    return ROWS[layout] if layout else None


def void_of_layout(facts: list[Facts], is_color: bool) -> tuple[int, ...]:
    """The values that are unlabelled by the data set's convention, as far as they occur."""
    layout, held = layout_of(facts), set().union(*(record.values for record in facts))
    return tuple(value for value in layout.void if value in held) if layout and not is_color else ()


def classes_of_layout(facts: list[Facts], void: tuple[int, ...]) -> Encoding | None:
    """The classes that the data set's convention names, as far as they occur; None if others do."""
    layout, held = layout_of(facts), set().union(*(record.values for record in facts)) - set(void)
    known = dict(layout.classes) if layout and layout.recognises(facts[0].pair.mask) else {}
    if len(held) < 2 or not held <= known.keys():
        return None
    values = tuple(sorted(held))
    names = tuple(known[value] for value in values)
    colors = tuple(default_color(i) for i in range(len(values)))
    note = f"classes as in {layout.name}: {', '.join(names)}"
    return Encoding(names, values, colors, void, note=note)


def infer(facts: list[Facts], is_color: bool, void: tuple[int, ...]) -> Encoding:
    """The encoding of the masks without the few whose values no other mask holds: those are slips, or named."""
    if not is_color and (known := classes_of_layout(facts, void)):
        return known
    refuse_numbered_objects(facts, is_color, void)
    strays = stray_values(facts, void)
    usual = [record for record in facts if not strays & record.values.keys()]
    if len(facts) < 5 or len(usual) < len(facts) / 2:
        usual = facts
    try:
        return infer_among(usual, is_color, void)
    except UserError:
        if usual is facts:
            raise
        return infer_among(facts, is_color, void)


def refuse_numbered_objects(facts: list[Facts], is_color: bool, void: tuple[int, ...]) -> None:
    """Raise a UserError where each value seems to be an object, not a class."""
    pixels = sum((record.values for record in facts), Counter())
    if not is_color and not void and is_soft_binary(pixels, least=2 if any(record.lossy for record in facts) else 16):
        return
    measured = [record.regions for record in facts if record.regions]
    why = numbers_objects(measured, {gray_to(value, is_color) for value in void}) if measured else None
    if why:
        values = sorted(set(pixels) - set(void))
        listed = values if len(values) <= MOST_PROPOSED else values[:2]
        proposal = json.dumps([{"name": f"class_{i}", **entry(value, is_color)} for i, value in enumerate(listed)])
        proposal = proposal if listed is values else f"{proposal[:-1]}, …]"
        raise UserError(
            f"{why}: they seem to number objects, not classes. Add --one-class, which reads everything above 0 as one "
            'class (in a classes.json: {"classes": [{"name": "background", "value": 0}, {"name": "object", "value": '
            f'"{ABOVE_ZERO}"}}]}}). If they are classes after all, name them: --classes NAME,NAME,… for the '
            f'{len(values)} values in ascending order, or list each in a classes.json: {{"classes": {proposal}}}'
        )


def entry(value: int, is_color: bool) -> dict:
    return {"color": unpack(value)} if is_color else {"value": value}


def infer_among(facts: list[Facts], is_color: bool, void: tuple[int, ...]) -> Encoding:
    pixels = sum((record.values for record in facts), Counter())
    if set(pixels) == {0, 1, 255} and not any({1, 255} <= record.values.keys() for record in facts) and 255 not in void:
        ones = [record.pair.stem for record in facts if record.values[1]]
        others = [record.pair.stem for record in facts if record.values[255]]
        raise UserError(
            f"some masks hold 0 and 1 ({some(ones)}), others 0 and 255 ({some(others)}): save them all alike"
        )
    return infer_encoding(pixels, is_color, void, lossy=any(record.lossy for record in facts))


def stray_values(facts: list[Facts], void: tuple[int, ...]) -> set[int]:
    """Values that very few masks hold: more likely a slip than a class, where there are few such values."""
    holders = Counter(value for record in facts for value in record.values)
    strays = {value for value, count in holders.items() if count <= max(1, STRAY * len(facts))} - set(void)
    return strays if len(strays) <= MOST_STRAYS else set()


def soften(facts: list[Facts], encoding: Encoding) -> Encoding:
    """A stated encoding of black and white masks, with the tolerance that soft edges need."""
    if encoding.is_color or encoding.tolerance or encoding.void or set(encoding.values) != {0, 255}:
        return encoding
    pixels = sum((record.values for record in facts), Counter())
    if set(pixels) <= {0, 255} or not is_soft_binary(pixels, least=2 if any(record.lossy for record in facts) else 16):
        return encoding
    return replace(encoding, tolerance=BINARY_TOLERANCE)


def unknown_labels(facts: Facts, encoding: Encoding) -> Finding:
    values = np.array(list(facts.values), np.int64)
    unknown = values[encoding.classes_of(values) == UNKNOWN].tolist()
    pixels = Counter({value: facts.values[value] for value in unknown})
    message = unknown_values(facts.pair.mask, pixels, encoding, sum(facts.values.values()))
    if encoding.is_color and "inferred" in encoding.note and len(pixels) <= MOST_STRAYS:
        colors = [*encoding.values, *pixels]
        listing = [{"name": f"class_{i}", "color": unpack(color)} for i, color in enumerate(colors)]
        message += f"; a classes.json that lists all {len(colors)}: {json.dumps({'classes': listing})}"
    return Finding("error", "unknown-label", message, files=(str(facts.pair.mask),))


def too_long(facts: list[Facts]) -> list[Finding]:
    """Images that the augmentation cannot take, and that ``tile`` cuts up."""
    long = [str(record.pair.image) for record in facts if max(record.height, record.width) > LONGEST_SIDE]
    message = f"{some(long)}: sides of at most {LONGEST_SIDE:,} pixels can be trained on"
    remedy = "cut them up: python -m data_pipeline tile"
    return [Finding("error", "too-long", message, remedy, tuple(long))] if long else []


def no_data(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Images with pixels that their own file calls empty, where the masks have labels."""
    holders = [str(record.pair.image) for record in facts if record.on_no_data - set(encoding.void)]
    value = next((record.mode.rsplit(": ", 1)[1] for record in facts if ", no data" in record.mode), "")
    message = f"{len(holders)} images hold pixels of no data (value {value}) that are labelled: {some(holders)}"
    remedy = "mark them void in the masks, or they enter the images' range and the training"
    return [Finding("warning", "no-data", message, remedy, tuple(holders))] if holders else []


def class_file_faults(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Faults where each class has a file: classes that others cover wholly, and images without their background
    file."""
    if not encoding.files:
        return []
    findings = []
    pixels = sum(record.all_counts(encoding) for record in facts)
    lost = [name for name, count in zip(encoding.names, pixels, strict=False) if not count and name in encoding.files]
    if lost and pixels[VOID]:
        message = f"not one pixel is left of {some(lost)}: other classes' files claim them too"
        findings.append(Finding("error", "lost-class", message, "cut the inner class out of the outer one's masks"))
    if encoding.names[0] in encoding.files:
        without = [
            str(record.pair.image)
            for record in facts
            if not any(
                class_of_file(path, record.pair.image.stem) == encoding.names[0] for path in record.pair.class_masks
            )
        ]
        message = f"{len(without)} images have no file of {encoding.names[0]}, so what no class claims there is void"
        findings += [Finding("warning", "no-background", message, files=tuple(without))] if without else []
    return findings


def lossy_masks(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Masks in a format that changes values, where classes lie too close to survive it."""
    known = np.array(list(encoding.index))
    gap = min(int(np.sort(encoding.distance(known, value))[1]) for value in known.tolist())
    lossy = [str(record.pair.mask) for record in facts if record.lossy]
    if not lossy or gap >= 64:
        return []
    message = f"{some(lossy)}: JPEG (or WebP) changes labels that lie {gap} apart"
    return [Finding("error", "lossy-mask", message, "export the masks as PNG", tuple(lossy))]


def mixed_palettes(facts: list[Facts]) -> list[Finding]:
    """One index must have one colour in all masks: some programs sort the palette of each file anew."""
    usual = {}
    for record in facts:
        for index, color in record.palette.items():
            usual.setdefault(index, Counter())[color] += 1
    usual = {index: colors.most_common(1)[0][0] for index, colors in usual.items()}
    findings = []
    for record in facts:
        other = [index for index, color in record.palette.items() if color != usual[index]]
        if other:
            path, index = record.pair.mask, min(other)
            message = f"{path}: palette index {index} is {record.palette[index]}, but {usual[index]} in most masks"
            remedy = "save all masks with one palette, or as RGB"
            findings.append(Finding("error", "mixed-palettes", message, remedy, (str(path),)))
    return findings


def mixed_images(facts: list[Facts]) -> list[Finding]:
    """Images must be of one type and number of channels."""
    kinds = Counter((record.channels, record.dtype) for record in facts)
    if len(kinds) == 1:
        return []
    usual = kinds.most_common(1)[0][0]
    odd = tuple(str(record.pair.image) for record in facts if (record.channels, record.dtype) != usual)
    listing = ", ".join(f"{count} of {channels} × {dtype}" for (channels, dtype), count in kinds.most_common())
    message = f"images of several kinds (channels × type): {listing}; the rarer ones: {some(odd)}"
    return [Finding("error", "mixed-images", message, "save all images alike", odd)]


def notes_on(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Notes on what is handled by itself, but which the user should know."""
    notes = [("encoding", encoding.note)]
    values = set().union(*(record.values for record in facts))
    unused = [encoding.show(value) for value in encoding.void if value not in values]
    if unused and not encoding.files:
        notes.append(("void-unused", f"void {', '.join(unused)} occurs in no mask"))
    total = sum(sum(record.values.values()) for record in facts)
    if encoding.tolerance:
        moved = sum(count for record in facts for value, count in record.values.items() if value not in encoding.index)
    if encoding.tolerance and moved:
        message = f"{moved / total:.2%} of the pixels count as the nearest known value (within {encoding.tolerance})"
        notes.append(("moved-pixels", message))
    hidden = [record.pair.mask.name for record in facts if record.hidden]
    if hidden:
        message = (
            f"{len(hidden)} masks have colours under transparent pixels, which count as background: {some(hidden)}"
        )
        notes.append(("hidden-colours", message))
    if encoding.files:
        shared = sum(record.values[VOID] for record in facts)
        message = f"{shared / total:.2%} of the pixels are claimed by two classes, and are void"
        notes += [("overlap", message)] if shared else []
    modes = Counter(record.mode for record in facts)
    grey = sum(modes[mode] for mode in ("L", "1", "LA"))
    alpha = sum(count for mode, count in modes.items() if mode in ("RGBA", "LA", "PA") or ", alpha" in mode)
    turned = sum(record.turned for record in facts)
    if grey:
        notes.append(("grey", f"{grey} grey images: the channel is repeated three times"))
    if turned:
        notes.append(("exif", f"{turned} images are turned as their EXIF orientation says, and masks as theirs says"))
    if alpha:
        notes.append(("alpha", f"{alpha} images with transparency: the alpha channel is dropped"))
    return [Finding("note", kind, message) for kind, message in notes]


def findings_on_split(data: Inspection, split: Split) -> list[Finding]:
    """Findings on what a split cannot give."""
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
        message = "there is no test part: scores come from the validation images alone, and are optimistic"
        findings.append(Finding("note", "no-test-part", message))
    return findings
