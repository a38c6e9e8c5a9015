"""A closer look at a data set: near copies across the split, masks that do not fit their images, outliers.

All of it is statistics on pictures, so it suspects, and never changes anything.
"""

import os
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm import tqdm

from .augment import RGB_TO_YIQ
from .check import Inspection
from .findings import Finding, some
from .loader import read_pair, resize_image
from .masks import VOID, VOID_NAMES, Encoding
from .pairs import Pair
from .scale import Scale
from .split import FRACTIONS, Split

LONGEST_SIDE = 512  # pixels to which pairs are reduced, and in which shifts are measured
REACH = 16  # largest shift that is looked for, in pixels of the reduced pair
LEAST_SHIFT = 3  # pixels; annotators are not exact either
GRID = 32  # cells along each side of the thumbnails by which images are compared with masks
LEVELS = 6  # of each colour channel in those thumbnails
MOST_COMPARED = 800  # pairs whose every image is compared with every mask
COPY_BITS, COPY_CORRELATION = 10, 0.97  # of 64 bits of the perceptual hash; of the thumbnails
FLIPS = ("upside down", "mirrored left to right", "turned by 180°")
RARE_SHARE, RARE_IMAGES = 0.001, 3  # of the pixels; of the training images


@dataclass(frozen=True)
class Sketch:
    """What is kept of a pair to compare it with others."""

    pair: Pair
    brightness: float  # mean, 0 to 1
    contrast: float  # standard deviation, 0 to 1
    bits: np.ndarray  # perceptual hash, bool (64,)
    grey: np.ndarray  # thumbnail, float32 (GRID · GRID,), mean 0, norm 1
    colors: np.ndarray  # thumbnail, colour number, int (GRID · GRID,)
    classes: np.ndarray  # thumbnail, uint8 (GRID · GRID,)
    edges: np.ndarray  # where the image has edges, float32 (GRID · GRID,), mean 0, norm 1
    outlines: np.ndarray  # where the mask has outlines, alike
    fit: np.ndarray | None  # (2·REACH + 1)²: strength of the image's edges along the outlines moved by (dy, dx)
    flipped: np.ndarray | None  # (3,): the same unmoved, of the mask upside down, mirrored, and both
    factor: float  # of the reduction


def suspect(data: Inspection, split: Split, scale: Scale) -> tuple[list[Finding], list[Sketch]]:
    """Look at every pair again; what is suspicious, and the sketches it was seen in."""
    pairs = data.pairs()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(lambda pair: sketch(pair, data.encoding, scale), pairs)
        sketches = list(tqdm(drawn, "looking closer", len(pairs), unit="pair", leave=False, disable=None))
    findings = near_copies(sketches, split) + sequences(split)
    findings += (
        misfits(sketches)
        + light_outliers(sketches)
        + size_outliers(data)
        + empty_masks(data)
        + rare_classes(data, split)
    )
    return findings, sketches


# ---------------------------------------------------------------------------------------------- one pair


def sketch(pair: Pair, encoding: Encoding, scale: Scale) -> Sketch:
    image, mask = read_pair(pair, encoding)
    factor = min(1, LONGEST_SIDE / max(mask.shape))
    size = tuple(max(1, round(side * factor)) for side in mask.shape)
    if factor < 1:
        image = resize_image(image, size)
        mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    image = scale.show(image)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    edges, outlines = edge_strength(image), outline(mask)
    thumbnail = cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA)
    small = cv2.resize(grey, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return Sketch(
        pair=pair,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        bits=perceptual_hash(small),
        grey=unit_vector(small),
        colors=color_numbers(thumbnail),
        classes=cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_NEAREST_EXACT).ravel(),
        edges=unit_vector(cv2.resize(edges, (GRID, GRID), interpolation=cv2.INTER_AREA)),
        outlines=unit_vector(cv2.resize(outlines, (GRID, GRID), interpolation=cv2.INTER_AREA)),
        fit=fit_by_shift(edges, outlines),
        flipped=fit_of_flips(edges, outlines),
        factor=factor,
    )


def edge_strength(image: np.ndarray) -> np.ndarray:
    """Slope of brightness and colour, float32 (H, W), mean 0, standard deviation 1, without its largest values."""
    color = cv2.GaussianBlur(cv2.transform(image.astype(np.float32), RGB_TO_YIQ), (0, 0), 1.0)
    slope = sum(np.square(cv2.Sobel(color, cv2.CV_32F, *axis)).sum(-1) for axis in ((1, 0), (0, 1)))
    slope = np.sqrt(slope)
    slope = np.minimum(slope, slope.mean() + 3 * slope.std())
    return (slope - slope.mean()) / max(slope.std(), 1e-6)


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels beside another class, float32 (H, W) of 0 and 1; borders of void are none."""
    drawn = np.zeros(mask.shape, np.float32)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        border = (mask[one] != mask[other]) & (mask[one] != VOID) & (mask[other] != VOID)
        drawn[one][border] = 1
        drawn[other][border] = 1
    return drawn


def fit_by_shift(edges: np.ndarray, outlines: np.ndarray) -> np.ndarray | None:
    """Mean edge strength along the outlines moved by −REACH…REACH pixels down and right."""
    total = outlines.sum()
    if min(edges.shape) < 4 * REACH or total < 20:
        return None
    correlation = np.fft.irfft2(np.fft.rfft2(edges) * np.conj(np.fft.rfft2(outlines)), edges.shape)
    around = np.arange(-REACH, REACH + 1)
    return correlation[np.ix_(around, around)].astype(np.float32) / total


def fit_of_flips(edges: np.ndarray, outlines: np.ndarray) -> np.ndarray | None:
    total = outlines.sum()
    if not total:
        return None
    turned = (outlines[::-1], outlines[:, ::-1], outlines[::-1, ::-1])
    return np.array([(edges * one).sum() / total for one in turned], np.float32)


def perceptual_hash(grey: np.ndarray) -> np.ndarray:
    """The signs of the 64 slowest waves of a thumbnail (pHash), bool (64,)."""
    waves = cv2.dct(grey)[:8, :8].ravel()
    return waves > np.median(waves)


def color_numbers(thumbnail: np.ndarray) -> np.ndarray:
    red, green, blue = (thumbnail[..., c].ravel().astype(int) * LEVELS // 256 for c in range(3))
    return (red * LEVELS + green) * LEVELS + blue


def unit_vector(array: np.ndarray) -> np.ndarray:
    flat = array.ravel() - array.mean()
    return flat / max(np.linalg.norm(flat), 1e-6)


# ------------------------------------------------------------------------------------- copies and sequences


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
        message = f"{len(leaks)} couples of nearly equal images lie across the split, so its scores flatter: {shown}"
        files = tuple(dict.fromkeys(str(sketches[k].pair.image) for couple in leaks for k in couple))
        level, kind = ("warning", "near-copies-fixed-split") if split.fixed else ("error", "near-copies")
        findings.append(Finding(level, kind, message, keep_together(names, couples), files))
    inside = [couple for couple in couples if couple not in set(leaks)]
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
    couples = []
    for i in range(len(sketches) - 1):
        differ = np.abs(bits[i + 1 :] - bits[i]).sum(1)
        alike = (differ <= COPY_BITS) & (grey[i + 1 :] @ grey[i] >= COPY_CORRELATION)
        couples += [(i, i + 1 + int(j)) for j in np.flatnonzero(alike) if sketches[i].contrast > 0.02]
    return couples


def keep_together(names: list[str], couples: list[tuple[int, int]]) -> str:
    """A --group-by that puts all near copies into one group each, if their names have one; else the general advice."""
    for expression in (r"^(.+?)[ _.-]*\d+$", r"^([^ _.-]+)[ _.-]", r"^(.+)[ _.-][^ _.-]+$"):
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


def sequences(split: Split) -> list[Finding]:
    """Numbered names with a few different beginnings: sequences, perhaps, that the split tears apart."""
    parts, counts = defaultdict(set), Counter()
    for name in FRACTIONS:
        for pair in split.part(name):
            if pair.group:
                return []
            match = re.search(r"^(.+?)[ _.-]*\d+$", pair.image.stem)
            if match:
                parts[match.group(1)].add(name)
                counts[match.group(1)] += 1
    torn = sorted(start for start, names in parts.items() if len(names) > 1 and counts[start] > 2)
    if len(parts) < 2 or not torn or len(parts) > len(split.part("all")) / 3:
        return []
    message = (
        f"names that begin alike lie across the split: {some(torn)}; if these are frames of one film, scores flatter"
    )
    remedy = "keep each together with --group-by '^(.+?)[ _.-]*\\d+$'"
    if split.fixed:
        remedy = "scores of such parts are easier than those of a new place"
    return [Finding("warning", "sequence-across-split", message, remedy, tuple(torn))]


# ------------------------------------------------------------------------------- masks against their images


def misfits(sketches: list[Sketch]) -> list[Finding]:
    """Masks whose outlines do not follow their image's edges: moved, turned over, or another image's."""
    fitted = [sketch for sketch in sketches if sketch.fit is not None]
    all_of_them = (flipped_all(fitted) or shifted_all(fitted)) if len(fitted) >= 3 else []
    all_of_them = all_of_them or shuffled_all(sketches)
    return all_of_them or shifted_alone(fitted) + strangers(sketches)


def shifted_all(fitted: list[Sketch]) -> list[Finding]:
    fits = np.stack([sketch.fit for sketch in fitted])
    down, right = peak(fits.mean(0))
    gain = fits[:, down + REACH, right + REACH] - fits[:, REACH, REACH]
    if np.hypot(down, right) < LEAST_SHIFT or on_rim(down, right) or t_value(gain) < 5:
        return []
    factor = np.median([sketch.factor for sketch in fitted])
    message = (
        f"the masks seem shifted: they fit the images' edges best {across(down, right, factor)} of where they lie "
        f"(of {len(fitted)} pairs)"
    )
    return [Finding("warning", "shifted-masks", message, "look at the preview, and at the export's offsets")]


def flipped_all(fitted: list[Sketch]) -> list[Finding]:
    here = np.array([sketch.fit[REACH, REACH] for sketch in fitted])
    turned = np.stack([sketch.flipped for sketch in fitted])
    best = int(turned.mean(0).argmax())
    if t_value(turned[:, best] - here) < 5:
        return []
    message = f"the masks seem {FLIPS[best]}: so they would follow the images' edges better"
    return [Finding("warning", "flipped-masks", message, "look at the preview, and at the export")]


def shifted_alone(fitted: list[Sketch]) -> list[Finding]:
    """Single masks that are moved or turned over against their images."""
    if len(fitted) < 8:
        return []
    around = np.s_[REACH - 1 : REACH + 2]
    here = np.array([sketch.fit[around, around].max() for sketch in fitted])
    usual, low = np.median(here), robust_z(here)
    # Where nearly all pairs fit best where they lie, one that does not stands out; shadows and the like forbid that.
    steady = np.mean([np.hypot(*peak(sketch.fit)) <= LEAST_SHIFT for sketch in fitted]) > 0.8
    shown, files = [], []
    for sketch, value, z in zip(fitted, here, low, strict=True):
        step, best = peak(sketch.fit), int(sketch.flipped.argmax())
        turned = z < -2 and sketch.flipped[best] > max(value + 0.25, 0.45 * usual)
        if turned or is_shifted(sketch.fit, value, z, steady):
            shown.append(f"{sketch.pair.stem} ({FLIPS[best] if turned else across(*step, sketch.factor)})")
            files.append(str(sketch.pair.mask))
    if not shown:
        return []
    message = f"{len(shown)} masks do not lie where their images' edges are, but would elsewhere: {some(shown)}"
    return [Finding("warning", "misplaced-mask", message, "look at them", tuple(files))]


def is_shifted(fit: np.ndarray, here: float, z: float, steady: bool) -> bool:
    """Whether one pair's outlines clearly follow edges some pixels away, and hardly those where they are.

    The bounds were set on golfscape (whose shadows imitate shifts) and CamVid, with masks moved by 8 pixels.
    """
    down, right = peak(fit)
    middle, top = np.median(fit), fit.max()
    if np.hypot(down, right) < LEAST_SHIFT + 1 or on_rim(down, right):
        return False
    lost = (top - here) / max(top - middle, 1e-9)
    if steady:
        return bool(top - middle > 3 * fit.std())
    return bool(top - middle > 3.3 * fit.std() and ((z < -2 and lost > 0.75) or (z < -3 and lost > 0.55)))


def on_rim(down: int, right: int) -> bool:
    return max(abs(down), abs(right)) == REACH


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distance from the median in units of a standard deviation that outliers do not move."""
    distance = values - np.median(values)
    return distance / max(1.4826 * np.median(np.abs(distance)), 1e-9)


def peak(fit: np.ndarray) -> tuple[int, int]:
    """Pixels down and right to where the fit is best."""
    row, column = np.unravel_index(fit.argmax(), fit.shape)
    return int(row) - REACH, int(column) - REACH


def across(down: int, right: int, factor: float) -> str:
    """A step of reduced pixels in words and pixels of the file."""
    down, right = round(down / factor), round(right / factor)
    words = [f"{abs(right)} px {'right' if right > 0 else 'left'}"] if right else []
    words += [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    return " and ".join(words)


def t_value(differences: np.ndarray) -> float:
    spread = differences.std(ddof=1) / np.sqrt(len(differences))
    return float(differences.mean() / max(spread, 1e-9))


def shuffled_all(sketches: list[Sketch]) -> list[Finding]:
    """Masks that fit other images as well as their own."""
    chosen = comparable(sketches)
    if len(chosen) < 8 or np.diag(likeness(chosen)).mean() > 0.3 + 2 / np.sqrt(len(chosen)):
        return []
    message = f"the masks fit other images as well as their own ({len(chosen)} compared): they may be paired wrongly"
    return [
        Finding("warning", "shuffled-masks", message, "look at the preview: do names and pictures belong together?")
    ]


def strangers(sketches: list[Sketch]) -> list[Finding]:
    """Single masks that fit another image better than their own."""
    chosen = comparable(sketches)
    if len(chosen) < 8:
        return []
    fit = likeness(chosen)
    own, best = np.diag(fit), fit.argmax(1)
    low = (robust_z(own) < -2.5) & (own < 1)
    odd = {i for i in np.flatnonzero(low).tolist() if fit[i, best[i]] - own[i] > 2.5}
    odd |= {int(best[i]) for i in odd if fit[best[i], i] - own[best[i]] > 1.5}  # and the one it was swapped with
    if not odd:
        return []
    odd = sorted(odd)
    shown = some([f"{chosen[i].pair.stem} (better: the mask of {chosen[best[i]].pair.stem})" for i in odd])
    message = f"{len(odd)} masks seem to belong to other images: {shown}"
    return [Finding("warning", "stranger-mask", message, "look at them", tuple(str(chosen[i].pair.mask) for i in odd))]


def comparable(sketches: list[Sketch]) -> list[Sketch]:
    """At most MOST_COMPARED pairs, whose masks hold more than one class."""
    chosen = [sketch for sketch in sketches if len(set(sketch.classes.tolist()) - {VOID}) > 1]
    return chosen[:: max(1, -(-len(chosen) // MOST_COMPARED))]


def likeness(sketches: list[Sketch]) -> np.ndarray:
    """How well each image (row) fits each mask (column): in units of the standard deviation of foreign ones.

    By edges along outlines, and by which colours go with which classes in the other half of the pairs.
    """
    edges = np.stack([sketch.edges for sketch in sketches]) @ np.stack([sketch.outlines for sketch in sketches]).T
    return standardised(standardised(edges) + standardised(color_evidence(sketches)))


def color_evidence(sketches: list[Sketch]) -> np.ndarray:
    """Σ over cells of log p(class | colour) / p(class), for each image with each mask; (n, n)."""
    classes = np.stack([sketch.classes for sketch in sketches])  # (n, cells)
    colors = np.stack([sketch.colors for sketch in sketches])
    common = [label for label, _ in Counter(classes[classes != VOID].tolist()).most_common(16)]
    which = np.full(VOID + 1, len(common))
    which[common] = np.arange(len(common))
    classes = which[classes]
    held = (classes[..., None] == np.arange(len(common))).astype(np.float32)  # (n, cells, K)
    evidence = np.zeros((len(sketches), len(sketches)))
    halves = np.arange(len(sketches)) % 2
    for half in (0, 1):
        counts = np.full((LEVELS**3, len(common) + 1), 0.0)
        np.add.at(counts, (colors[halves != half], classes[halves != half]), 1)
        counts = counts[:, :-1]
        prior = (counts.sum(0) + 1) / (counts.sum() + len(common))
        given = (counts + 20 * prior) / (counts.sum(1, keepdims=True) + 20)
        table = np.log(given / prior).astype(np.float32)
        rows = np.flatnonzero(halves == half)
        evidence[rows] = table[colors[rows]].reshape(len(rows), -1) @ held.reshape(len(sketches), -1).T
    return evidence


def standardised(scores: np.ndarray) -> np.ndarray:
    """Without what is particular to a row or a column, in units of the off-diagonal standard deviation."""
    foreign = scores.astype(float).copy()
    np.fill_diagonal(foreign, np.nan)
    centred = scores - np.nanmean(foreign, 1, keepdims=True) - np.nanmean(foreign, 0) + np.nanmean(foreign)
    foreign = centred[~np.eye(len(scores), dtype=bool)]
    return centred / max(foreign.std(), 1e-9)


# ---------------------------------------------------------------------------------- outliers and rare classes


def light_outliers(sketches: list[Sketch]) -> list[Finding]:
    """Images much darker or brighter than the rest, or without any picture in them."""
    light = np.array([sketch.brightness for sketch in sketches])
    spread = 1.4826 * np.median(np.abs(light - np.median(light)))
    far = np.abs(light - np.median(light)) > np.maximum(5 * spread, 0.2)
    findings = []
    for kind, chosen, words in (
        (
            "blank-image",
            [sketch for sketch in sketches if sketch.contrast < 0.01],
            "images are of one colour throughout",
        ),
        (
            "brightness",
            [s for s, odd in zip(sketches, far, strict=True) if odd and s.contrast >= 0.01],
            "images are much darker or brighter than the rest",
        ),
    ):
        if chosen:
            shown = some([f"{sketch.pair.stem} ({sketch.brightness:.2f})" for sketch in chosen])
            message = f"{len(chosen)} {words} (median brightness {np.median(light):.2f}): {shown}"
            files = tuple(str(sketch.pair.image) for sketch in chosen)
            findings.append(Finding("warning", kind, message, "look at them", files))
    return findings


def size_outliers(data: Inspection) -> list[Finding]:
    """Images of another shape or scale than the rest."""
    area = np.array([facts.height * facts.width for facts in data.facts])
    shape = np.array([facts.width / facts.height for facts in data.facts])
    odd = (np.abs(np.log(area / np.median(area))) > np.log(4)) | (np.abs(np.log(shape / np.median(shape))) > np.log(2))
    if not odd.any() or odd.mean() > 0.1:
        return []
    chosen = [facts for facts, one in zip(data.facts, odd, strict=True) if one]
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
            pairs = [facts.pair for facts, one in zip(data.facts, chosen, strict=True) if one]
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
            findings.append(f"no {' and no '.join(lacking)} image holds {name}: it has no score there")
        elif presence["train"][i] < RARE_IMAGES or share[i] < RARE_SHARE:
            findings.append(f"{name} is rare: {share[i]:.3%} of the training pixels, in {presence['train'][i]} images")
    found = [Finding("warning", "rare-class", message, "label more of it, or expect little") for message in findings]
    named = [name for name in names if name.lower() in VOID_NAMES]
    if named:
        message = f"the class {named[0]} sounds like void, but counts as a class"
        found.append(Finding("warning", "void-as-class", message, 'move its value to "void" in classes.json'))
    return found


def images_with(data: Inspection, pairs: list[Pair]) -> np.ndarray:
    """How many of some images hold each class, int (C,)."""
    return sum((facts.counts(data.encoding) > 0).astype(int) for facts in data.of(pairs))
