"""A user's own folder in place of drawn scenes: one label for each image, read off its mask, and its own splits.

An image's label is the foreground class with most pixels in its mask, of those that so many images have: the rule by
which a segmenter's answer is read, too. The folder is read once, into a file that is named by its hash.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.files import write_atomically
from data_pipeline.source import Source

LEAST_IMAGES = 10  # of a class
LEAST_GROUPS = 6  # for splits that differ; of fewer, each is tested once
TESTED = 1 / 3  # of the images


def path_of(folder: Path, fingerprint: str) -> Path:
    return Path(folder) / f"images-{fingerprint[:16]}.npz"


@dataclass(frozen=True)
class Own:
    """A folder as the cells' names hold it, in the place of a scene's knobs.

    pool: training images that every seed has, so many of each class. groups: of images that are kept together, such as
    films; one has no others to be tested on. located: share of the masks that hold more than one class, and so say
    where in the image theirs is. symmetry: how training images are varied, as in ``train.py --symmetry``.
    one_out: whether seed s tests group s alone, in place of a third of the images.
    """

    fingerprint: str
    size: int
    num_classes: int
    pool: int
    groups: int
    located: float
    rho: float = 0.0
    symmetry: str = "d4"
    one_out: bool = False


@dataclass(frozen=True)
class Reading:
    """The reading of a folder, for people: own, and what it is made of.

    classes, left_out: of the images' labels, with the number of images. background: the class that is none.
    unlabelled: images without a foreground class. groups: with the number of images.
    """

    own: Own
    classes: dict[str, int]
    left_out: dict[str, int]
    background: str
    unlabelled: int
    groups: dict[str, int]


def prepare(source: Source, folder: Path, size: int, seeds: tuple[int, ...] = (), symmetry: str = "d4") -> Reading:
    """Read a folder of images and masks, shrink them to size × size pixels, and keep them in the study's folder.

    Args:
        source: where it is and how it is read.
        folder: the study's.
        size: pixels of a side.
        seeds: of the splits that will be made; of fewer than LEAST_GROUPS groups each group is a split.
        symmetry: of the training images.

    Raises:
        UserError: where there are not two classes with ten images each; where images of one scene would stand on both
            sides of a split; where a split would lack a class.
    """
    parts, told = read(source, size)
    images, masks, labels, groups = parts
    fingerprint = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    num_classes, one_out = int(labels.max()) + 1, len(told["groups"]) < LEAST_GROUPS
    seeds = tuple(range(len(told["groups"]))) if one_out else seeds
    splits = [split(labels, groups, seed, one_out) for seed in seeds]
    held = [[np.bincount(labels[part], minlength=num_classes).min() for part in each] for each in splits]
    train, test = np.min(held, axis=0)
    if not train or not test:
        raise UserError(
            f"{source.data}: a split into training and test images lacks a class in one of them; more images, or "
            "groups that hold each class, are wanted"
        )
    if not path_of(folder, fingerprint).exists():
        with write_atomically(path_of(folder, fingerprint)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, images=images, masks=masks, labels=labels, groups=groups)
    located = float(np.mean([len(np.unique(mask[mask != VOID])) > 1 for mask in masks]))
    pool = int(train) * num_classes
    own = Own(fingerprint, size, num_classes, pool, len(told["groups"]), located, symmetry=symmetry, one_out=one_out)
    return Reading(own, **told)


def read(source: Source, size: int) -> tuple[tuple[np.ndarray, ...], dict]:
    """Images, masks, labels and groups; and what a Reading says of them.

    Returns:
        images uint8 (n, size, size, 3); masks uint8 (n, size, size) of 0 and 1…K, and void, also where another class
        is; labels and groups int64 (n,). Then the Reading's fields, without own.
    """
    from data_pipeline.dataset import open_dataset
    from data_pipeline.loader import read_pair, resize

    data = open_dataset(source).inspection
    names = data.encoding.names
    held = np.array([facts.counts(data.encoding)[1:] for facts in data.facts])
    largest = np.array([each.argmax() if each.any() else -1 for each in held])
    counts = np.bincount(largest[largest >= 0], minlength=held.shape[1])
    kept = classes_that_give_most(counts)
    if len(kept) < 2:
        told = ", ".join(f"{name} {count}" for name, count in zip(names[1:], counts, strict=True))
        raise UserError(
            f"{source.data}: two foreground classes that are the largest of {LEAST_IMAGES} images each are wanted, so "
            f"that an image has a label; the largest are: {told}. {names[0]} is background"
        )
    refuse_torn_scenes(source, data)
    table = np.full(256, VOID, np.uint8)  # a class that labels no image is neither background nor another's
    table[0] = 0
    table[kept + 1] = np.arange(1, len(kept) + 1)
    chosen = [i for i, label in enumerate(largest) if label in kept]
    scenes = [facts.pair.group or facts.pair.stem for facts in data.facts]
    images, masks = [], []
    for i in tqdm(chosen, "shrinking", unit="pair", leave=False, disable=None):
        image, mask = resize(*read_pair(data.facts[i].pair, data.encoding), (size, size))
        images.append(to_rgb(image))
        masks.append(table[mask])
    groups, places = np.unique([scenes[i] for i in chosen], return_inverse=True)
    labels = np.searchsorted(kept, largest[chosen])
    told = {
        "classes": {names[1 + k]: int(counts[k]) for k in kept},
        "left_out": {names[1 + k]: int(counts[k]) for k in range(len(counts)) if k not in kept},
        "background": names[0],
        "unlabelled": int((largest < 0).sum()),
        "groups": dict(zip(groups.tolist(), np.bincount(places).tolist(), strict=True)),
    }
    return (np.array(images), np.array(masks), labels, places.astype(np.int64)), told


def classes_that_give_most(counts: np.ndarray) -> np.ndarray:
    """The classes, ascending, with which most images can train, so many of each as of the rarest: one class with few
    images would leave most of the others' unused."""
    order = [k for k in np.argsort(-counts, kind="stable") if counts[k] >= LEAST_IMAGES]
    if len(order) < 2:
        return np.array(order, int)
    best = max(range(2, len(order) + 1), key=lambda number: number * counts[order[number - 1]])
    return np.sort(order[:best])


def refuse_torn_scenes(source: Source, data) -> None:
    """Refuse what would put images of one scene on both sides of a split: one group, films by name, near copies.

    Raises:
        UserError: that says what belongs together.
    """
    from data_pipeline.checking.sketches import draw_sketch
    from data_pipeline.checking.suspects import copies, keep_together, sequences
    from data_pipeline.pixel_range import measure_range
    from data_pipeline.split import Split

    pairs = data.pairs()
    groups = [pair.group or pair.stem for pair in pairs]
    if len(set(groups)) < 2:
        raise UserError(
            f"{source.data}: all images are of one group, {groups[0]}, so that none is left to be tested on; name the "
            "scenes or films with --group-by, or with a CSV's column group"
        )
    pixel_range = measure_range(pairs, data.encoding)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(lambda pair: draw_sketch(pair, data.encoding, pixel_range), pairs)
        sketches = list(tqdm(drawn, "looking for scenes", len(pairs), unit="pair", leave=False, disable=None))
    order = np.random.default_rng(0).permutation(len(pairs))
    tested = set(order[: round(TESTED * len(pairs))].tolist())
    halves = [[pair for i, pair in enumerate(pairs) if (i in tested) == side] for side in (False, True)]
    films = sequences(sketches, Split(halves[0], [], halves[1], 0, fixed=False))
    across = [couple for couple in copies(sketches) if groups[couple[0]] != groups[couple[1]]]
    if films:
        raise UserError(f"{source.data}: {films[0].message.split(',')[0]}; {films[0].remedy}")
    if across:
        names = [pair.stem for pair in pairs]
        first, second = (names[i] for i in across[0])
        raise UserError(
            f"{source.data}: {len(across)} couples of nearly equal images could stand on both sides of a split, such "
            f"as {first} and {second}; {keep_together(names, across)}"
        )


def to_rgb(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): grey thrice, more than three channels cut off, deeper pixels scaled by their type's range."""
    if image.dtype != np.uint8:
        image = np.rint(image.astype(float) * 255 / (np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1))
    image = image if image.ndim == 3 else image[..., None]
    return np.repeat(image[..., :1], 3, -1).astype(np.uint8) if image.shape[-1] < 3 else image[..., :3].astype(np.uint8)


def split(labels: np.ndarray, groups: np.ndarray, seed: int, one_out: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Places of a seed's training and test images: whole groups, so many that a third is tested; one group is cut.

    one_out: test the seed's group alone.
    """
    if one_out:
        tested = groups == seed % len(np.unique(groups))
        return np.flatnonzero(~tested), np.flatnonzero(tested)
    rng = np.random.default_rng([seed, 2])
    names = groups if len(np.unique(groups)) > 1 else np.arange(len(labels))
    order = rng.permutation(np.unique(names))
    share = np.cumsum([np.sum(names == name) for name in order]) / len(labels)
    tested = np.isin(names, order[: max(1, int(np.searchsorted(share, TESTED, side="right")))])
    return np.flatnonzero(~tested), np.flatnonzero(tested)


@cache
def stored(path: Path) -> tuple[np.ndarray, ...]:
    with np.load(path) as kept:
        return tuple(kept[name] for name in ("images", "masks", "labels", "groups"))


def part_of(folder: Path, own: Own, seed: int, testing: bool, count: int) -> tuple[np.ndarray, ...]:
    """Images, masks and labels of a seed's split: its tests, or the first of its training images, classes in turn."""
    images, masks, labels, groups = stored(path_of(folder, own.fingerprint))
    places = split(labels, groups, seed, own.one_out)[testing]
    if not testing:
        order = np.random.default_rng([seed, 3]).permutation(places)
        by_class = [order[labels[order] == label] for label in range(labels.max() + 1)]
        places = np.array([by_class[i % len(by_class)][i // len(by_class)] for i in range(count)])
    return images[places], masks[places], labels[places]
