"""Masks that can be read, but do not say what they seem to: inverted, of two annotators, scaled by a colour map, the
same for every image.
"""

from collections import Counter

import numpy as np

from .encoding import Encoding, unpack
from .facts import Facts
from .files import Picture
from .findings import Finding, some
from .masks import read_binary

OUTLINE = 64  # pixels of a side of ``Facts.outline``, at most
FEWEST_INVERTED = 3
ONE_SIDED = 0.9  # share of the masks whose contrast has the group's sign
SAME_FIELD = 0.95  # IoU of a mask with what most masks hold there
TWICE_DRAWN = 0.8  # IoU of two files of one image that show the same thing
PARTLY_DRAWN = 0.4  # …if neither lies within the other
WITHIN = 0.97  # share of the smaller one that lies within the larger one, as a cup does in its disc
COLOR_MAPS = ("viridis", "plasma", "inferno", "magma", "cividis", "jet", "turbo", "hot", "coolwarm")
MOST_MAPPED = 32  # colours


def doubtful(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    findings = two_annotators(facts) + scaled_maps(facts, encoding) + white_zeros(facts)
    return findings + (inverted(facts, encoding) + same_fields(facts, encoding) if encoding.num_classes == 2 else [])


def contrast_of(raw: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The image's mean where the mask is high less that where it is low, float (C,)."""
    high = raw == raw.max()
    return image[high].mean(0) - image[~high].mean(0)


def agreement_of(paths) -> tuple[float, float] | None:
    """The highest IoU of an image's mask files, and the share of the smaller of those two that lies in the other."""
    masks = [read_binary(path) for path in paths[:8]]
    pairs = [(a, b) for i, a in enumerate(masks) for b in masks[:i] if a.any() and b.any() and a.shape == b.shape]
    if not pairs:
        return None
    common = [((a & b).sum(), (a | b).sum(), min(a.sum(), b.sum())) for a, b in pairs]
    both, either, smaller = max(common, key=lambda each: each[0] / each[1])
    return float(both / either), float(both / smaller)


def values_on_no_data(raw: np.ndarray, image: Picture) -> frozenset[int]:
    if ", no data: " not in image.mode:
        return frozenset()
    empty = (image.pixels == float(image.mode.rsplit(": ", 1)[1])).all(-1)
    return frozenset(np.unique(raw[empty]).tolist())


def two_annotators(facts: list[Facts]) -> list[Finding]:
    """Files of one image that show the same thing twice: one class for each would be nonsense."""
    judged = [record.agreement for record in facts if record.agreement]
    if not judged:
        return []
    iou, within = np.median(judged, axis=0)
    if iou <= TWICE_DRAWN and not (iou > PARTLY_DRAWN and within < WITHIN):
        return []
    several = next(record.pair.class_masks for record in facts if record.agreement)
    names = some([path.name for path in several])
    message = f"the masks of one image show the same thing (median IoU {iou:.2f}), such as {names}: two annotators?"
    remedy = "choose one of them, with --mask-suffix or --masks"
    return [Finding("error", "two-annotators", message, remedy, tuple(map(str, several)))]


def white_zeros(facts: list[Facts]) -> list[Finding]:
    """TIFF masks in which 0 is white: some programs turn the values round when they read them, others do not."""
    odd = [str(record.pair.mask) for record in facts if record.min_is_white]
    if not odd:
        return []
    level = "warning" if len(odd) == len(facts) else "error"
    message = f"{len(odd)} of {len(facts)} masks are TIFF files in which 0 is white, which programs read differently: "
    remedy = "they are read as they are shown, white being the highest value; save them all as PNG to be sure"
    return [Finding(level, "min-is-white", message + some(odd), remedy, tuple(odd))]


def inverted(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Masks in which foreground and background changed places: another value at the edge, and the image's contrast
    turned round with it."""
    judged = [
        record
        for record in facts
        if record.contrast is not None and np.ptp(record.contrast) + np.abs(record.contrast).max() > 0
    ]
    if not judged:
        return []
    high_outside = np.array([edge_share(record.outline) > 0.5 for record in judged], bool)
    fewer = high_outside if high_outside.mean() <= 0.5 else ~high_outside
    if fewer.sum() < FEWEST_INVERTED:
        return []
    contrast = np.array([record.contrast for record in judged])
    usual = np.median(contrast[~fewer], axis=0)
    sign = np.sign(contrast @ usual)
    if (sign[~fewer] > 0).mean() < ONE_SIDED or (sign[fewer] < 0).mean() < ONE_SIDED:
        return []
    odd = [str(record.pair.mask) for record, is_odd in zip(judged, fewer, strict=True) if is_odd]
    message = f"{len(odd)} of {len(facts)} masks seem to be inverted, background for foreground: {some(odd)}"
    remedy = "turn the values of these files round"
    return [Finding("error", "inverted", message, remedy, tuple(odd))]


def edge_share(outline: np.ndarray) -> float:
    """Return the share of a mask's edge that has the higher of its values."""
    edge = np.concatenate([outline[0], outline[-1], outline[:, 0], outline[:, -1]])
    return float((edge == outline.max()).mean()) if np.ptp(outline) else 0.0


def same_fields(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Masks that hardly differ from image to image: of the field of view, of a lens, of a stage."""
    sizes = Counter(record.outline.shape for record in facts)
    usual_size, count = sizes.most_common(1)[0]
    if len(facts) < 5 or count < len(facts) * 0.9:
        return []
    masks = np.stack(
        [encoding.classes_of(record.outline) == 1 for record in facts if record.outline.shape == usual_size]
    )
    usual = masks.mean(0) > 0.5
    iou = (masks & usual).sum((1, 2)) / np.maximum(1, (masks | usual).sum((1, 2)))
    if not usual.any() or usual.all() or np.median(iou) < SAME_FIELD:
        return []
    message = (
        f"the masks hardly differ from image to image (median IoU {np.median(iou):.2f} with what most of them hold): "
        "they seem to show the camera's field of view, not objects"
    )
    return [Finding("warning", "same-field", message, "if other masks are meant, name their folder with --masks")]


def scaled_maps(facts: list[Facts], encoding: Encoding) -> list[Finding]:
    """Colours of a colour map that stretches over each file's own values: one colour is another class elsewhere."""
    held = {frozenset(record.values) - set(encoding.void) for record in facts}
    colors = set().union(*held)
    if not encoding.is_color or encoding.tolerance or len(held) < 2 or not 2 < len(colors) <= MOST_MAPPED:
        return []
    name = color_map_of(colors, held)
    if not name:
        return []
    message = (
        f"the masks' {len(colors)} colours are those of the colour map {name}, which stretches over the values of each "
        "file: one colour can be another class in another file"
    )
    remedy = "save the class numbers themselves, as with PIL.Image.fromarray(mask).save(path), not with plt.imsave"
    return [Finding("error", "colour-map", message, remedy)]


def color_map_of(colors: set[int], held: set[frozenset[int]]) -> str | None:
    """The colour map that holds all of some packed colours, give or take a level; every file holds its two ends."""
    import matplotlib

    for name in COLOR_MAPS:
        known = np.asarray(matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3], int)
        ends = [{color for color in colors if np.abs(known[end] - unpack(color)).max() <= 2} for end in (0, -1)]
        stretched = all(file & ends[0] and (file & ends[1] or len(file) == 1) for file in held)
        if stretched and all(np.abs(known - unpack(color)).max(1).min() <= 2 for color in colors):
            return name
    return None
