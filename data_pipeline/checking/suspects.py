"""A closer look at a data set: near copies across the split, masks that do not fit their images, outliers.

All of it is statistics on pictures, so it suspects, and never changes anything.
"""

import os
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from data_pipeline.encoding import VOID_NAMES
from data_pipeline.findings import Finding, some
from data_pipeline.inspection import Inspection
from data_pipeline.pairs import Pair
from data_pipeline.pixel_range import PixelRange
from data_pipeline.split import FRACTIONS, Split

from .misfits import misfits
from .sketches import Sketch, draw_sketch

COPY_BITS, COPY_CORRELATION, SAME_CORRELATION = 10, 0.95, 0.999  # of 64 bits of the hash; of the thumbnails
NUMBERED = re.compile(r"^(.+?)[ _.-]*\d+$")
RARE_SHARE, RARE_IMAGES = 0.001, 3  # of the pixels; of the training images


def suspect(data: Inspection, split: Split, pixel_range: PixelRange) -> tuple[list[Finding], list[Sketch]]:
    """Look at every pair again; what is suspicious, and the sketches it was seen in."""
    pairs = data.pairs()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(lambda pair: draw_sketch(pair, data.encoding, pixel_range), pairs)
        sketches = list(tqdm(drawn, "looking closer", len(pairs), unit="pair", leave=False, disable=None))
    findings = near_copies(sketches, split) + sequences(sketches, split)
    findings += (
        misfits(sketches)
        + light_outliers(sketches)
        + size_outliers(data)
        + empty_masks(data)
        + rare_classes(data, split)
    )
    return findings, sketches


def near_copies(sketches: list[Sketch], split: Split) -> list[Finding]:
    """Images that are nearly the same: harmless in one part of the split, a leak across two."""
    couples = copies(sketches)
    part_of = {pair.stem: name for name in FRACTIONS for pair in split.part(name)}
    names = [sketch.pair.stem for sketch in sketches]
    leaks = [(i, j) for i, j in couples if part_of.get(names[i]) != part_of.get(names[j])]
    findings = []
    if leaks:
        shown = some(
            [f"{names[i]} ({part_of.get(names[i])}) and {names[j]} ({part_of.get(names[j])})" for i, j in leaks]
        )
        message = f"{len(leaks)} pairs of near copies lie across the split, so its scores are too optimistic: {shown}"
        files = tuple(dict.fromkeys(str(sketches[k].pair.image) for couple in leaks for k in couple))
        level, kind = ("warning", "near-copies-fixed-split") if split.fixed else ("error", "near-copies")
        findings.append(Finding(level, kind, message, keep_together(names, couples), files))
    across = set(leaks)
    inside = [couple for couple in couples if couple not in across]
    if inside:
        shown = some([f"{names[i]} and {names[j]}" for i, j in inside])
        message = f"{len(inside)} couples of nearly equal images in one part: {shown}"
        files = tuple(dict.fromkeys(str(sketches[k].pair.image) for couple in inside for k in couple))
        findings.append(Finding("note", "near-copies-inside", message, files=files))
    return findings


def copies(sketches: list[Sketch]) -> list[tuple[int, int]]:
    """Numbers of the pairs whose images are nearly equal."""
    bits = np.stack([sketch.bits for sketch in sketches]).astype(np.float32)
    grey = np.stack([sketch.grey for sketch in sketches])
    # What all images share, as before a fixed camera, says nothing about two of them.
    own = grey - grey.mean(0) if len(grey) >= 10 else grey
    own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-3)
    couples = []
    for i in range(len(sketches) - 1):
        differ = np.abs(bits[i + 1 :] - bits[i]).sum(1)
        alike = (own[i + 1 :] @ own[i] >= COPY_CORRELATION) | (grey[i + 1 :] @ grey[i] >= SAME_CORRELATION)
        alike &= differ <= COPY_BITS
        couples += [(i, i + 1 + int(j)) for j in np.flatnonzero(alike) if sketches[i].contrast > 0.02]
    return couples


def keep_together(names: list[str], couples: list[tuple[int, int]]) -> str:
    """A --group-by that puts all near copies into one group each, if their names have one; else the general advice."""
    for expression in (NUMBERED.pattern, r"^([^ _.-]+)[ _.-]", r"^(.+)[ _.-][^ _.-]+$"):
        matches = [re.search(expression, name) for name in names]
        if not all(matches):
            continue
        groups = [match.group(1) for match in matches]
        if len(set(groups)) >= 3 and all(groups[i] == groups[j] for i, j in couples):
            return f"keep them together: --group-by '{expression}' makes {len(set(groups))} groups"
    return "keep them together: --groups FILE writes them as a CSV with groups, which --data takes"


def groups_of_copies(sketches: list[Sketch]) -> list[str]:
    """A group's name for each pair: near copies, and their near copies, share one."""
    group = list(range(len(sketches)))

    def first(i):
        while group[i] != i:
            i = group[i]
        return i

    for i, j in copies(sketches):
        group[max(first(i), first(j))] = min(first(i), first(j))
    return [sketches[first(i)].pair.stem for i in range(len(sketches))]


def sequences(sketches: list[Sketch], split: Split) -> list[Finding]:
    """Numbered names with a few beginnings, whose neighbours look alike: films, perhaps, that the split tears apart."""
    part_of = {pair.stem: name for name in FRACTIONS for pair in split.part(name)}
    films = defaultdict(list)
    for sketch in sorted(sketches, key=lambda sketch: sketch.pair.image.stem):
        match = NUMBERED.search(sketch.pair.image.stem)
        if match and not sketch.pair.group:
            films[match.group(1)].append(sketch)
    torn = [name for name, frames in films.items() if len({part_of.get(sketch.pair.stem) for sketch in frames}) > 1]
    if len(films) < 2 or not torn or not neighbours_look_alike(films, torn):
        return []
    message = (
        f"the split tears {len(torn)} sequences of similar images apart, so scores may be too optimistic: {some(torn)}"
    )
    remedy = f"if they are films, keep each together: --group-by '{NUMBERED.pattern}'"
    if split.fixed:
        remedy = "scores on such a part are easier than those on a new place"
    return [Finding("warning", "sequence-across-split", message, remedy)]


def neighbours_look_alike(films: dict[str, list[Sketch]], torn: list[str]) -> bool:
    """Return whether images of neighbouring numbers are usually more alike than nine of ten couples of images."""
    near = [float(a.grey @ b.grey) for name in torn for a, b in pairwise(films[name])]
    everything = np.stack([sketch.grey for frames in films.values() for sketch in frames])
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, len(everything), (2, 1000))
    usual = np.einsum("ij,ij->i", everything[first], everything[second])[first != second]
    return len(near) >= 5 and float(np.median(near)) > np.percentile(usual, 90)


def light_outliers(sketches: list[Sketch]) -> list[Finding]:
    """Images much darker or brighter than the rest, or without any picture in them."""
    light = np.array([sketch.brightness for sketch in sketches])
    spread = 1.4826 * np.median(np.abs(light - np.median(light)))
    far = np.abs(light - np.median(light)) > np.maximum(5 * spread, 0.2)
    blank = np.array([sketch.contrast < 0.01 for sketch in sketches])
    findings = []
    for kind, odd, words in (
        ("blank-image", blank, "images are of one colour throughout"),
        ("brightness", far & ~blank, "images are much darker or brighter than the rest"),
    ):
        if odd.any() and (kind == "blank-image" or odd.mean() <= 0.1):  # day and night are no outliers
            chosen = [sketch for sketch, is_odd in zip(sketches, odd, strict=True) if is_odd]
            shown = some([f"{sketch.pair.stem} ({sketch.brightness:.2f})" for sketch in chosen])
            message = f"{len(chosen)} {words} (median brightness {np.median(light):.2f}): {shown}"
            files = tuple(str(sketch.pair.image) for sketch in chosen)
            findings.append(Finding("warning", kind, message, "look at them", files))
    return findings


def size_outliers(data: Inspection) -> list[Finding]:
    """Images of another shape or size than the rest."""
    area = np.array([facts.height * facts.width for facts in data.facts])
    shape = np.array([facts.width / facts.height for facts in data.facts])
    odd = (np.abs(np.log(area / np.median(area))) > np.log(4)) | (np.abs(np.log(shape / np.median(shape))) > np.log(2))
    if not odd.any() or odd.mean() > 0.1:
        return []
    chosen = [facts for facts, is_odd in zip(data.facts, odd, strict=True) if is_odd]
    shown = some([f"{facts.pair.stem} ({facts.width}×{facts.height})" for facts in chosen])
    message = f"{len(chosen)} images have quite another size or shape than the rest: {shown}"
    files = tuple(str(facts.pair.image) for facts in chosen)
    return [Finding("warning", "size-outlier", message, "look at them", files)]


def empty_masks(data: Inspection) -> list[Finding]:
    """Masks without any foreground, and masks without any label."""
    counts = np.stack([facts.counts(data.encoding) for facts in data.facts])
    blank = counts.sum(1) == 0
    empty = (counts[:, 1:].sum(1) == 0) & ~blank
    findings = []
    for kind, chosen, words in (
        ("void-mask", blank, "masks are void throughout and teach nothing"),
        ("empty-mask", empty, f"masks hold {data.encoding.names[0]} alone"),
    ):
        if chosen.any():
            pairs = [facts.pair for facts, is_chosen in zip(data.facts, chosen, strict=True) if is_chosen]
            message = f"{len(pairs)} {words}: {some([pair.stem for pair in pairs])}"
            remedy = "right if there is nothing to see in these images; else label them, or take them out"
            findings.append(Finding("warning", kind, message, remedy, tuple(str(pair.mask) for pair in pairs)))
    return findings


def rare_classes(data: Inspection, split: Split) -> list[Finding]:
    """Classes that a part of the split lacks, that few training images hold, or that are few pixels; void by name."""
    names, findings = data.encoding.names, []
    presence = {name: images_with(data, split.part(name)) for name in FRACTIONS if split.part(name)}
    share = data.class_pixels(split.train) / max(1, data.class_pixels(split.train).sum())
    for i, name in enumerate(names):
        lacking = [part for part, counts in presence.items() if not counts[i]]
        if lacking:
            message = f"no {' and no '.join(lacking)} image holds {name}: it has no score there"
            findings.append(Finding("warning", "absent-class", message, "label more of it"))
        elif share[i] < RARE_SHARE or presence["train"][i] < min(RARE_IMAGES, len(split.train) / 4):
            message = f"{name} is rare: {share[i]:.3%} of the training pixels, in {presence['train'][i]} images"
            findings.append(Finding("warning", "rare-class", message, "label more of it, or expect little"))
    named = [name for name in names if name.lower() in VOID_NAMES]
    if named:
        message = f"the class {named[0]} sounds like void, but counts as a class"
        findings.append(Finding("warning", "void-as-class", message, 'move its value to "void" in classes.json'))
    return findings


def images_with(data: Inspection, pairs: list[Pair]) -> np.ndarray:
    """Count the images that hold each class, int (C,)."""
    nobody = np.zeros(data.encoding.num_classes, int)
    return sum(((facts.counts(data.encoding) > 0).astype(int) for facts in data.of(pairs)), nobody)
