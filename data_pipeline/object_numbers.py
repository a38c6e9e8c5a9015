"""Tell masks that number objects from masks of classes, where no classes.json says which they are."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

LONGEST = 256  # pixels of a side that are looked at; of larger masks every second, third, … pixel
MOST_VALUES = 64  # of one mask that are looked at
SPECK = 1 / 8  # of the largest region of its value in the mask: smaller ones are slips of the pen, or cut off by others
LEAST_VALUES = 3  # besides background: fewer are not doubted
MANY_REGIONS = 0.4  # share of the values in masks that have several regions there: objects cut by others have fewer
SOME_REGIONS = 0.2  # as many as objects seldom have: then a look of their own is enough
LAYERS = 0.5  # share that reach from one side of the mask to the other
FEW_MASKS = 0.5  # of the values occur in one mask only: a class comes back
COUNTED = 5  # values without a gap, whose number differs from mask to mask: they are counted
MEANING = 0.3  # of the variance of a region's look that its value must explain beyond chance
SHUFFLES = 30
LIT = 6  # regions in a mask from which the fall of the light is seen
NEXT_FRAME = 0.7  # how far a value moves to the next mask, in terms of how far it moves to any
NEAREST_FRAME = 0.85  # the same of the nearest mask, in terms of what it would be by chance


@dataclass(frozen=True)
class Regions:
    """The regions of each value in one mask, by value."""

    values: np.ndarray  # int64 (N,)
    several: np.ndarray  # bool (N,): more than one connected region, specks left out
    across: np.ndarray  # bool (N,): reaches from one side of the mask to the other
    places: np.ndarray  # float (N, 3): down and right as a share of the mask's sides, logarithm of the area's share
    colors: np.ndarray  # float (N, C): of the image, the mean over the value's pixels


def measure_regions(raw: np.ndarray, image: np.ndarray) -> Regions:
    """The regions in one mask.

    Args:
        raw: values on disk, int (H, W).
        image: the mask's image, (H, W, C).
    """
    step = -(-max(raw.shape) // LONGEST)
    raw, image = raw[::step, ::step], image[::step, ::step].astype(np.float32)
    values, dense = np.unique(raw, return_inverse=True)
    dense = dense.reshape(raw.shape).astype(np.int32) + 1
    boxes = ndimage.find_objects(dense)
    order = np.argsort(values.astype(np.int64) * 2654435761 % 2**32)[:MOST_VALUES]  # the same ones in every mask
    several, across, places, colors = [], [], [], []
    for i in order:
        inside = dense[boxes[i]] == i + 1
        _, _, stats, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        several.append(np.count_nonzero(areas >= SPECK * areas.max()) > 1)
        across.append(any(part == whole for part, whole in zip(inside.shape, raw.shape, strict=True)))
        down, right = (side.start + axis.mean() for side, axis in zip(boxes[i], np.nonzero(inside), strict=True))
        places.append((down / raw.shape[0], right / raw.shape[1], np.log(areas.sum() / raw.size)))
        colors.append(image[boxes[i]][inside].mean(0))
    return Regions(values[order].astype(np.int64), *map(np.array, (several, across, places, colors)))


@dataclass(frozen=True)
class Table:
    """All regions of a data set, row by row; masks in ascending order."""

    masks: np.ndarray  # int (N,): number of the mask
    values: np.ndarray  # int (N,): number of the value
    several: np.ndarray  # bool (N,)
    across: np.ndarray  # bool (N,)
    places: np.ndarray  # float (N, 3)
    colors: np.ndarray  # float (N, C)


def numbers_objects(masks: list[Regions], void: set[int] = frozenset()) -> str | None:
    """Say why the values seem to number objects; None if they are classes.

    A class has several regions in many masks, or means the same from mask to mask: what is called 3 looks like the
    other 3s. An object is one region, and its number means nothing elsewhere. Objects that are followed through a film
    keep their look and their place, as organs do: those two cannot be told apart, and both are doubted.

    Args:
        masks: the regions of each mask, in the order of the files' names.
        void: values that do not count.
    """
    table = tabulate(masks, void)
    number = int(table.values.max(initial=-1)) + 1
    several = several_regions(table) if number >= LEAST_VALUES else 1.0
    if several >= MANY_REGIONS:
        return None
    once = int((np.bincount(table.values) == 1).sum())
    if once > FEW_MASKS * number:
        return f"{once} of the {number} values occur in one mask only"
    if counts_up(masks, void, number):
        return "each mask holds the values 1…n without a gap, and n differs from mask to mask"
    if table.across.mean() >= LAYERS or (several >= SOME_REGIONS and meaning(table) >= MEANING):
        return None
    if same_scene(table):
        return f"each of the {number} values is one region that keeps its place from mask to mask, as in a film"
    if meaning(table) < MEANING:
        return f"each of the {number} values is one region in nearly every mask, and looks like no other of its number"
    return None


def tabulate(masks: list[Regions], void: set[int]) -> Table:
    ignored = void | {background_of(masks)}
    rows = [
        (i, value, regions.several[k], regions.across[k], regions.places[k], regions.colors[k])
        for i, regions in enumerate(masks)
        for k, value in enumerate(regions.values.tolist())
        if value not in ignored
    ]
    if not rows:
        return Table(*(np.zeros(0, int),) * 6)
    numbers, values, *rest = (np.array(column) for column in zip(*rows, strict=True))
    return Table(numbers, np.unique(values, return_inverse=True)[1], *rest)


def background_of(masks: list[Regions]) -> int:
    """0 where a mask holds it, else the value that covers most."""
    areas = {}
    for regions in masks:
        for value, area in zip(regions.values.tolist(), np.exp(regions.places[:, 2]), strict=True):
            areas[value] = areas.get(value, 0) + area
    return 0 if 0 in areas else max(areas, key=areas.get)


def several_regions(table: Table) -> float:
    """Return how often a value has several regions in a mask; without the value that has them most often, which may be
    the outlines between objects."""
    held, several = np.bincount(table.values), np.bincount(table.values, table.several)
    rest = np.arange(len(held)) != (several / held).argmax()
    return several[rest].sum() / held[rest].sum()


def counts_up(masks: list[Regions], void: set[int], number: int) -> bool:
    """Return whether every mask holds 1…n, for three different n at least."""
    held = [sorted(set(regions.values.tolist()) - void - {0}) for regions in masks]
    gapless = all(values == list(range(1, len(values) + 1)) for values in held)
    return COUNTED <= number < MOST_VALUES and gapless and len(set(map(len, held))) >= 3


def same_scene(table: Table) -> bool:
    """Return whether the masks look like frames of films: places in a mask are nearly those in the next, or in another
    one.

    In pictures that have nothing to do with each other, the places of one value do not know those of the others: the
    nearest mask is no nearer than if each value's places were dealt anew to the masks that hold it.
    """
    count, number = table.masks.max() + 1, table.values.max() + 1
    places = np.full((count, number, 2), np.nan)
    places[table.masks, table.values] = table.places[:, :2]
    dealt, rng = places.copy(), np.random.default_rng(0)
    for value in range(number):
        holders = np.flatnonzero(~np.isnan(places[:, value, 0]))
        dealt[holders, value] = places[rng.permutation(holders), value]
    distance, by_chance = between(places), between(dealt)
    if count < 3 or np.isnan(distance).all():
        return False
    following = np.nanmedian(np.diagonal(distance, 1)) / np.nanmedian(distance)
    return bool(following < NEXT_FRAME or median_of_nearest(distance) < NEAREST_FRAME * median_of_nearest(by_chance))


def median_of_nearest(distance: np.ndarray) -> float:
    return float(np.nanmedian([np.nanmin(row) for row in distance if not np.isnan(row).all()] or [np.nan]))


def between(places: np.ndarray) -> np.ndarray:
    """Return how far the values that two masks share lie apart, less what moves all of them: (masks, masks), NaN for
    itself.

    places: (masks, values, 2), NaN where a mask lacks a value.
    """
    distance = np.full((len(places),) * 2, np.nan)
    for i, own in enumerate(places):
        steps = places - own
        enough = (~np.isnan(steps[..., 0])).sum(1) >= 2
        enough[i] = False
        steps = steps[enough] - np.nanmean(steps[enough], axis=1, keepdims=True)
        distance[i, enough] = np.nanmean(np.linalg.norm(steps, axis=2), axis=1)
    return distance


def meaning(table: Table) -> float:
    """Return how much of the variance of a region's look its value explains, beyond what values do that are dealt anew
    within each mask. The look is its colour, less the light; or its place and size, less the order of counting."""
    known = np.bincount(table.values)[table.values] > 1
    masks, values = table.masks[known], np.unique(table.values[known], return_inverse=True)[1]
    if not len(values):
        return 0.0
    looks = [without(unshaded(table.colors[known], table.places[known], masks), shading(table.places[known]), values)]
    looks += [without(table.places[known], order(masks, values), np.zeros_like(values))]
    rng = np.random.default_rng(0)
    shuffled = [values[np.lexsort((rng.random(len(values)), masks))] for _ in range(SHUFFLES)]
    return max(explained(look, values) - max(explained(look, dealt) for dealt in shuffled) for look in looks)


def unshaded(colors: np.ndarray, places: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The colours less the light that falls off to one side, in masks with enough regions to tell."""
    colors = colors.copy()
    for i in np.unique(masks):
        rows = masks == i
        if rows.sum() >= LIT:
            causes = np.column_stack([np.ones(rows.sum()), places[rows, :2]])
            colors[rows] -= causes @ np.linalg.lstsq(causes, colors[rows], rcond=None)[0]
    return colors


def shading(places: np.ndarray) -> np.ndarray:
    """Return what light and size may do to a colour, (N, 6)."""
    down, right, area = places.T
    return np.stack([down, right, down**2, right**2, down * right, area], axis=1)


def order(masks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return what the order of counting may do to places and areas, (N, 6): powers of rank in the mask and of value."""
    rank = np.zeros(len(masks))
    for i in np.unique(masks):
        rows = masks == i
        rank[rows] = values[rows].argsort().argsort() / max(1, rows.sum() - 1)
    value = values / max(1, values.max())
    return np.stack([rank, rank**2, rank**3, value, value**2, value**3], axis=1)


def without(look: np.ndarray, causes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The look less what the causes explain, as they do among regions of one value; in each column of variance 1."""
    slopes = np.linalg.lstsq(centered(causes, values), centered(look, values), rcond=None)[0]
    rest = look - causes @ slopes
    rest = rest - rest.mean(0)
    return rest / (rest.std(0) + 1e-9)


def centered(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    return rows - means(rows, values)[values]


def means(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    sums = np.zeros((values.max() + 1, rows.shape[1]))
    np.add.at(sums, values, rows)
    return sums / np.maximum(1, np.bincount(values))[:, None]


def explained(look: np.ndarray, values: np.ndarray) -> float:
    """The share of the variance between values."""
    return float(1 - centered(look, values).var() / max(look.var(), 1e-9))
