"""A user's own folder in place of drawn scenes: one label for each image, read off its mask, and its own splits.

An image's label is the foreground class with most pixels in its mask, of those that so many images have: the rule by
which a segmenter's answer is read, too. The folder is read once, into a file that is named by its hash.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.files import write_atomically

LEAST_IMAGES = 10  # of a class
TESTED = 1 / 3  # of the images


def path_of(folder: Path, fingerprint: str) -> Path:
    return Path(folder) / f"images-{fingerprint[:16]}.npz"


@dataclass(frozen=True)
class Own:
    """A folder as the cells' names hold it, in the place of a scene's knobs.

    pool: training images that every seed has, so many of each class. groups: of images that are kept together, such as
    films; one has no others to be tested on. located: share of the masks that hold more than one class, and so say
    where in the image theirs is.
    """

    fingerprint: str
    size: int
    num_classes: int
    pool: int
    groups: int
    located: float
    rho: float = 0.0


def prepare(source: Path, folder: Path, size: int, seeds: tuple[int, ...]) -> Own:
    """Read a folder of images and masks, shrink them to size × size pixels, and keep them in the study's folder.

    Raises:
        UserError: where there are not two classes with ten images each, or a seed's split would lack one.
    """
    images, masks, labels, groups = read(source, size)
    fingerprint = hashlib.sha256(b"".join(part.tobytes() for part in (images, masks, labels, groups))).hexdigest()
    num_classes = int(labels.max()) + 1
    held = [
        [np.bincount(labels[part], minlength=num_classes).min() for part in split(labels, groups, s)] for s in seeds
    ]
    train, test = np.min(held, axis=0)
    if not train or not test:
        raise UserError(
            f"{source}: a split into training and test images lacks a class in one of them; more images, or groups "
            "that hold each class, are wanted"
        )
    if not path_of(folder, fingerprint).exists():
        with write_atomically(path_of(folder, fingerprint)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, images=images, masks=masks, labels=labels, groups=groups)
    located = float(np.mean([len(np.unique(mask[mask != VOID])) > 1 for mask in masks]))
    return Own(fingerprint, size, num_classes, int(train) * num_classes, len(np.unique(groups)), located)


def read(source: Path, size: int) -> tuple[np.ndarray, ...]:
    """images uint8 (n, size, size, 3), masks uint8 (n, size, size) of 0, 1…K and void, labels and groups int64 (n,)."""
    from data_pipeline.data_set import open_dataset
    from data_pipeline.loader import read_pair, resize
    from data_pipeline.source import Source

    data = open_dataset(Source(data=source)).inspection
    held = np.array([facts.counts(data.encoding)[1:] for facts in data.facts])
    largest = np.array([each.argmax() if each.any() else -1 for each in held])
    counts = np.bincount(largest[largest >= 0], minlength=held.shape[1])
    kept = np.flatnonzero(counts >= LEAST_IMAGES)
    if len(kept) < 2:
        told = ", ".join(f"{name} {count}" for name, count in zip(data.encoding.names[1:], counts, strict=True))
        raise UserError(
            f"{source}: two foreground classes that are the largest of {LEAST_IMAGES} images each are wanted, so that "
            f"an image has a label; the largest are: {told}"
        )
    table = np.zeros(256, np.uint8)
    table[kept + 1], table[VOID] = np.arange(1, len(kept) + 1), VOID
    chosen = [i for i, label in enumerate(largest) if label in kept]
    names = [facts.pair.group or facts.pair.stem for facts in data.facts]
    images, masks = [], []
    for i in tqdm(chosen, "reading", unit="pair", leave=False, disable=None):
        image, mask = resize(*read_pair(data.facts[i].pair, data.encoding), (size, size))
        images.append(to_rgb(image))
        masks.append(table[mask])
    groups = np.unique([names[i] for i in chosen], return_inverse=True)[1]
    return np.array(images), np.array(masks), np.searchsorted(kept, largest[chosen]), groups.astype(np.int64)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): grey thrice, more than three channels cut off, deeper pixels scaled by their type's range."""
    if image.dtype != np.uint8:
        image = np.rint(image.astype(float) * 255 / (np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1))
    image = image if image.ndim == 3 else image[..., None]
    return np.repeat(image[..., :1], 3, -1).astype(np.uint8) if image.shape[-1] < 3 else image[..., :3].astype(np.uint8)


def split(labels: np.ndarray, groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of a seed's training and test images: whole groups, so many that a third is tested; one group is cut."""
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
    places = split(labels, groups, seed)[testing]
    if not testing:
        order = np.random.default_rng([seed, 3]).permutation(places)
        by_class = [order[labels[order] == label] for label in range(labels.max() + 1)]
        places = np.array([by_class[i % len(by_class)][i // len(by_class)] for i in range(count)])
    return images[places], masks[places], labels[places]
