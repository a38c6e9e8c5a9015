"""The referee: masks that any tool predicted, scored like a run of our own."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.encoding import BINARY_TOLERANCE, VOID, Encoding, find_classes_file
from data_pipeline.files import list_images, read_picture
from data_pipeline.findings import Finding, refuse_errors, some
from data_pipeline.inspection import NOT_SAID, Meaning, inspect
from data_pipeline.masks import color_to_grey, read_mask, read_raw
from data_pipeline.pairs import Pair, by_stem, group, name_difference
from data_pipeline.pixel_range import PixelRange

from .evaluation import Answer

TWO_VALUES = ((0, 1), (0, 255), (0, 65535))
FEWEST_SOFT = 16  # grey levels of probabilities or of soft edges
PICTURES = PixelRange("uint8", (0.0,) * 3, (255.0,) * 3)


@dataclass(frozen=True)
class Masks:
    """A folder of masks by stem, and how they are written."""

    folder: Path
    files: dict[str, Path]
    encoding: Encoding

    def __call__(self, pair: Pair, truth: np.ndarray) -> np.ndarray:
        """Class indices uint8 (H, W) for a true mask of that size.

        Raises:
            UserError: for another size, or no class where the truth has one.
        """
        path = self.files[pair.stem]
        mask = read_mask(path, self.encoding)
        if mask.shape != truth.shape:
            sizes = " and ".join(f"{width}×{height}" for height, width in (mask.shape, truth.shape))
            raise UserError(f"{path}: it and {pair.mask} have {sizes} pixels; export both at one size")
        unsaid = (mask == VOID) & (truth != VOID)
        if unsaid.any():
            raise UserError(
                f"{path}: void at {unsaid.sum()} pixels that {pair.mask} has labelled; "
                "a class is wanted for each of them"
            )
        return np.where(mask == VOID, 0, mask).astype(np.uint8)  # where the truth is void, nothing counts


@dataclass(frozen=True)
class Case:
    """Masks to be scored: the true masks' pairs, and the ways to what was predicted for them."""

    pairs: list[Pair]
    encoding: Encoding
    majority: int  # the class with most pixels in the truth
    findings: list[Finding]
    read: Callable[[Pair], tuple[np.ndarray | None, np.ndarray]]
    predicted: Masks
    second: Masks | None


def open_case(
    predictions: Path,
    truth: Path,
    images: Path | None,
    second: Path | None,
    void: tuple[int, ...],
    group_by: str | None,
    mask_suffix: str = "",
    meaning: Meaning = NOT_SAID,
) -> Case:
    """Pair folders of masks by name and settle how each is written.

    Args:
        predictions, truth, images, second: folders.
        void: values that never count.
        group_by: a regular expression, see ``pairs.find_pairs``.
        mask_suffix: what a prediction's name has after that of its true mask.
        meaning: of the true masks' values, as the user gives it.

    Raises:
        UserError: for masks that are missing on one side, unreadable or of values that are no class.
    """
    for folder in (predictions, truth, images, second):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    true, findings = by_stem(truth)
    refuse_class_files(truth, list(true))
    pairs = [Pair(stem, path, path) for stem, path in sorted(true.items())]
    pairs = group(pairs, group_by) if group_by else pairs
    # A data set's classes.json lies beside its folder of masks.
    source = next((folder for folder in (truth, truth.resolve().parent) if find_classes_file(folder)), None)
    data = inspect(source, pairs, void, meaning=meaning)
    refuse_errors(findings + data.findings)
    pictures = {path.stem: path for path in list_images(images)} if images else {}
    if images and (lacking := sorted(true.keys() - pictures.keys())):
        raise UserError(f"{images}: lacks images for {len(lacking)} masks: {some(lacking)}")

    @lru_cache(maxsize=1)  # the ways of ``beside`` ask for the same pair again
    def read(pair: Pair):
        mask = read_mask(pair.mask, data.encoding)
        return (read_image_for(pictures[pair.stem], mask) if pictures else None), mask

    return Case(
        pairs=pairs,
        encoding=data.encoding,
        majority=int(data.class_pixels(pairs).argmax()),
        findings=[finding for finding in findings + data.findings if finding.kind not in ("grey", "alpha", "exif")],
        read=read,
        predicted=open_masks(predictions, true, data.encoding, source is not None, mask_suffix),
        second=open_masks(second, true, data.encoding, source is not None) if second else None,
    )


def refuse_class_files(folder: Path, stems: list[str]) -> None:
    """Raise a UserError where every image seems to have one file for each class: they would count as images."""
    ends = defaultdict(set)
    for stem in stems:
        owner, _, end = stem.rpartition("_")
        ends[owner].add(end)
    common = next(iter(ends.values()))
    several = len(ends) > 1 and len(common) > 1 and not any(end.isdigit() for end in common)
    if several and all(owner and each == common for owner, each in ends.items()):
        raise UserError(
            f"{folder}: seems to hold one file for each class ({some(sorted(common))}); "
            "the referee wants one mask of classes for each image"
        )


def read_image_for(path: Path, mask: np.ndarray) -> np.ndarray:
    """The image uint8 (H, W, 3) of a mask."""
    pixels = read_picture(path).pixels
    if pixels.shape[:2] != mask.shape or pixels.dtype != np.uint8:
        height, width = pixels.shape[:2]
        raise UserError(
            f"{path}: {width}×{height} pixels of {pixels.dtype}; its mask has {mask.shape[1]}×{mask.shape[0]}, and "
            "--images, which is for the pictures alone, wants 8 bits"
        )
    return pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)


def open_masks(folder: Path, true: dict[str, Path], encoding: Encoding, stated: bool, mask_suffix: str = "") -> Masks:
    """A folder's masks for all true ones: written like these, as class indices 0…C−1, or in black and white.

    Args:
        folder: of the masks.
        true: the true masks, by stem.
        encoding: theirs.
        stated: whether a classes.json says which class comes first; what was inferred knows no order of colours.
        mask_suffix: what a mask's name has after the true mask's.

    Raises:
        UserError: if some are missing (leaving them out would make the score too optimistic), or written otherwise.
    """
    files, findings = by_stem(folder, f"{{}}{mask_suffix}")
    refuse_errors(findings)
    lacking = sorted(true.keys() - files.keys())
    if lacking and not true.keys() & files.keys():
        stems = [path.stem for path in list_images(folder)]
        raise UserError(
            f"{folder}: not one of its {len(stems)} masks is called as a true one; "
            f"{name_difference(list(true), stems, mask_suffix)}"
        )
    if lacking:
        raise UserError(
            f"{folder}: {len(lacking)} of {len(true)} masks are missing: {some(lacking)}; without them the score "
            "would be too optimistic. Predict them too, or name a --truth folder with only those that were to be "
            "predicted"
        )
    if unused := sorted(files.keys() - true.keys()):
        print(f"note: {len(unused)} files in {folder} have no true mask and are left out: {some(unused)}")
    files = {stem: files[stem] for stem in true}
    if black_and_white := two_values(files, encoding):
        return Masks(folder, files, black_and_white)
    indices = Encoding(encoding.names, tuple(range(encoding.num_classes)), encoding.colors, (VOID,))
    alike = not encoding.is_color and all(encoding.index.get(i) == i for i in range(encoding.num_classes))
    faults, others = unreadable(files, encoding), []
    if faults or not alike:
        others = unreadable(files, indices)
    if faults and others:
        raise min(faults, others, key=len)[0]
    if faults and encoding.is_color and not stated:
        raise UserError(
            f"{folder} holds class indices, but nothing says which colour of the true masks is class 0, 1, …: "
            "put a classes.json into --truth, or export the predictions in the true masks' colours"
        )
    if faults:
        print(f"note: {folder} holds class indices 0…{encoding.num_classes - 1}, unlike the true masks; read as such")
    elif not others and not alike:
        print(
            f"note: {folder} could hold class indices 0…{encoding.num_classes - 1} as well; it is read like the true "
            "masks. If that is wrong, export the predictions as those are written"
        )
    return Masks(folder, files, indices if faults else encoding)


def two_values(files: dict[str, Path], encoding: Encoding) -> Encoding | None:
    """Find the encoding of masks of two classes, whichever way the true ones are written: 0 and 1, or 0 and 255, soft
    edges too; None for all others."""
    if encoding.num_classes != 2 or encoding.is_color or encoding.files or encoding.values not in TWO_VALUES:
        return None
    held = Counter()
    for path in files.values():
        try:
            raw, is_color = read_raw(path)
            raw = color_to_grey(path, raw) if is_color else raw
        except UserError:
            return None
        held.update(dict(zip(*(part.tolist() for part in np.unique(raw, return_counts=True)), strict=True)))
    folder = next(iter(files.values())).parent
    if set(held) <= {0, 1}:
        if encoding.values != (0, 1):
            print(f"note: {folder} holds class indices 0…1, unlike the true masks; read as such")
        return replace(encoding, values=(0, 1), void=(), tolerance=0)
    is_soft = len(held) >= FEWEST_SOFT and min(held) >= 0 and 128 <= max(held) <= 255
    if set(held) <= {0, 255} or is_soft:
        words = f"{len(held)} grey levels, cut at 128" if is_soft else "0 and 255"
        if is_soft or encoding.values != (0, 255):
            print(f"note: {folder} holds {words}: below is {encoding.names[0]}, above {encoding.names[1]}")
        return replace(encoding, values=(0, 255), void=(), tolerance=BINARY_TOLERANCE)
    return None


def unreadable(files: dict[str, Path], encoding: Encoding) -> list[UserError]:
    """Say what keeps some files from being masks of an encoding."""
    faults = []
    for path in files.values():
        try:
            read_mask(path, encoding)
        except UserError as error:
            faults.append(error)
    return faults


def answer(case: Case) -> Callable[[Pair, np.ndarray | None], Answer]:
    """Return the way to what was predicted, as ``evaluate_images`` asks for it."""
    return lambda pair, image: Answer(case.predicted(pair, case.read(pair)[1]))


def ways_beside(case: Case) -> dict[str, dict[str, Callable]]:
    """Return the baselines that need no network, and the second annotator."""

    def constant(label: int):
        return lambda pair, image: np.full_like(case.read(pair)[1], label)

    beside = {"baselines": {"all_background": constant(0), "majority_class": constant(case.majority)}}
    if case.second:
        beside["ceiling"] = {"second_annotator": lambda pair, image: case.second(pair, case.read(pair)[1])}
    return beside
