"""Masks that do not fit their images: shifted, flipped, or another image's. Of all pairs, or of single ones.

The evidence is that class borders follow edges, and that classes have colours. It suspects, and changes nothing.
"""

from collections import Counter

import numpy as np

from data_pipeline.encoding import VOID
from data_pipeline.findings import Finding, some

from .sketches import LEVELS, REACH, Sketch

LEAST_SHIFT = 3  # pixels; annotators are not exact either
MOST_COMPARED = 800  # pairs whose every image is compared with every mask
FLIPS = ("upside down", "mirrored left to right", "turned by 180°")


def misfits(sketches: list[Sketch]) -> list[Finding]:
    """Masks whose outlines do not follow their image's edges: moved, turned over, or another image's."""
    fitted = [sketch for sketch in sketches if sketch.fit is not None]
    all_of_them = (flipped_all(fitted) or shifted_all(fitted)) if len(fitted) >= 3 else []
    all_of_them = all_of_them or shuffled_all(sketches)
    return all_of_them or shifted_alone(fitted) + strangers(sketches)


def shifted_all(fitted: list[Sketch]) -> list[Finding]:
    fits = np.stack([sketch.fit for sketch in fitted])
    down, right = peak(fits.mean(0))
    there = fits[:, REACH + down, REACH + right]
    gain = there - fits[:, REACH, REACH]
    against = there - fits[:, REACH - down, REACH - right]  # loosely drawn masks fit as well on the other side
    if np.hypot(down, right) < LEAST_SHIFT or on_rim(down, right) or t_value(gain) < 5:
        return []
    if against.mean() < 0.3 * gain.mean() or t_value(against) < 5:
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
    """Return whether one pair's outlines clearly follow edges some pixels away, and hardly those where they are.

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


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distance from the median in units of a standard deviation that outliers do not move."""
    distance = values - np.median(values)
    return distance / max(1.4826 * np.median(np.abs(distance)), 1e-9)


def shuffled_all(sketches: list[Sketch]) -> list[Finding]:
    """Masks that fit other images as well as their own."""
    chosen = comparable(sketches)
    outlines = np.stack([sketch.outlines for sketch in chosen]) if chosen else np.zeros((1, 1))
    if np.median(outlines @ outlines.T) > 0.8:  # one scene, one mask: nothing to tell them apart by
        return []
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
    """Return how well each image (row) fits each mask (column), in standard deviations of foreign pairs.

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
