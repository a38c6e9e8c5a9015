"""How well masks that number objects are told from masks of classes: both drawn at random, in memory.

    python -m benchmarks.object_numbers                 # 500 data sets of each
    python -m benchmarks.object_numbers --draws 50 --seed 7

A data set of numbered objects that passes for classes is a silent error; classes that are doubted are a needless
question. Every kind of both is counted apart.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from data_pipeline.object_numbers import measure_regions, numbers_objects


@dataclass(frozen=True)
class Config:
    draws: int = 500
    """Data sets of objects, and as many of classes."""
    seed: int = 0
    """Other seeds, other data sets."""


@dataclass(frozen=True)
class Drawn:
    """A data set in memory: images uint8 (H, W, 3), masks int32 (H, W), and what it is."""

    kind: str
    images: list[np.ndarray]
    masks: list[np.ndarray]


def blob(rng, side: int, least: float = 0.04, most: float = 0.14, center=None) -> np.ndarray:
    """A turned ellipse, bool (side, side)."""
    y, x = np.mgrid[:side, :side] / side
    down, right = rng.uniform(0.05, 0.95, 2) if center is None else center
    long, short = rng.uniform(least, most, 2)
    turn = rng.uniform(0, np.pi)
    u = (x - right) * np.cos(turn) + (y - down) * np.sin(turn)
    v = (y - down) * np.cos(turn) - (x - right) * np.sin(turn)
    return (u / long) ** 2 + (v / short) ** 2 < 1


def fibre(rng, side: int) -> np.ndarray:
    """A line of some width, bool (side, side)."""
    canvas = np.zeros((side, side), np.uint8)
    down, right = rng.uniform(0, side, 2)
    turn, length = rng.uniform(0, np.pi), rng.uniform(0.2, 0.6) * side
    end = (int(right + length * np.cos(turn)), int(down + length * np.sin(turn)))
    cv2.line(canvas, (int(right), int(down)), end, 1, int(rng.integers(2, 5)))
    return canvas > 0


def picture(rng, labels: np.ndarray, tones: np.ndarray, noise: float, shade: float) -> np.ndarray:
    """The image of labels 0…n whose colours are ``tones``: noise, light that falls off to one side."""
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    turn = rng.uniform(0, 2 * np.pi)
    light = shade * (np.cos(turn) * x + np.sin(turn) * y) / labels.shape[0]
    image = tones[labels] + light[..., None] + rng.normal(0, noise, (*labels.shape, 3))
    return image.clip(0, 255).astype(np.uint8)


# Numbered objects -----------------------------------------------------------------------------------------------------


def numbers_painted(rng, count: int, places: np.ndarray) -> np.ndarray:
    return np.arange(1, count + 1)


def numbers_by_row(rng, count: int, places: np.ndarray) -> np.ndarray:
    """As skimage.measure.label and ImageJ count: from the top down."""
    return places[:, 0].argsort().argsort() + 1


def numbers_by_area(rng, count: int, places: np.ndarray) -> np.ndarray:
    """As Segment Anything lists masks: the largest first."""
    return (-places[:, 2]).argsort().argsort() + 1


def numbers_shuffled(rng, count: int, places: np.ndarray) -> np.ndarray:
    return rng.permutation(count) + 1


def numbers_with_gaps(rng, count: int, places: np.ndarray) -> np.ndarray:
    """What is left of 1…n after a part was deleted."""
    return np.sort(rng.choice(np.arange(1, count + 2 + count // 3), count, replace=False))


def numbers_from_pool(rng, count: int, places: np.ndarray) -> np.ndarray:
    """Any numbers of a byte."""
    return rng.choice(np.arange(1, 250), count, replace=False)


def numbers_of_sixteen_bits(rng, count: int, places: np.ndarray) -> np.ndarray:
    return rng.choice(np.arange(1, 60_000), count, replace=False)


def numbers_by_tens(rng, count: int, places: np.ndarray) -> np.ndarray:
    return 10 * (rng.permutation(count) + 1)


NUMBERINGS: dict[str, Callable] = {
    "in the order of painting": numbers_painted,
    "from the top down": numbers_by_row,
    "by area": numbers_by_area,
    "shuffled": numbers_shuffled,
    "with gaps": numbers_with_gaps,
    "any of a byte": numbers_from_pool,
    "any of 16 bits": numbers_of_sixteen_bits,
    "tens, shuffled": numbers_by_tens,
    "on through all images": numbers_painted,  # shifted in ``draw_objects``
    "followed through a film": numbers_painted,  # drawn by ``draw_film``
    "followed, frames in disorder": numbers_painted,
    "fibres that cross": numbers_shuffled,
}


def draw_objects(rng, kind: str) -> Drawn:
    """Images of 3 to 60 objects each, numbered; what an object looks like has nothing to do with its number."""
    if kind.startswith("followed"):
        return draw_film(rng, kind)
    side, count = int(rng.choice([64, 96, 128])), int(rng.integers(8, 50))
    fewest = int(rng.integers(3, 16 if kind.startswith("fibres") else 40))
    most = fewest if rng.random() < 0.25 else int(rng.integers(fewest, 25 if kind.startswith("fibres") else 61))
    size = rng.uniform(0.5, 1.2) / np.sqrt(most)
    apart, looks = rng.random() < 0.5 and not kind.startswith("fibres"), int(rng.integers(1, 5))
    tones, noise, shade = rng.integers(20, 235, (looks + 1, 3)), rng.uniform(2, 20), rng.uniform(0, 80)
    images, masks, before = [], [], 0
    for _ in range(count):
        wanted = int(rng.integers(fewest, most + 1))
        objects, taken = [], np.zeros((side, side), bool)
        for _ in range(4 * wanted):
            shape = fibre(rng, side) if kind.startswith("fibres") else blob(rng, side, 0.4 * size, size)
            if len(objects) < wanted and shape.any() and not (apart and (shape & taken).any()):
                objects.append(shape)
                taken |= shape
        places = np.array([(*np.argwhere(shape)[0], shape.sum()) for shape in objects])
        numbers = NUMBERINGS[kind](rng, len(objects), places)
        numbers = numbers + before if kind == "on through all images" else numbers
        before += len(objects)
        mask, seen = np.zeros((side, side), np.int32), np.zeros((side, side), int)
        for number, shape in zip(numbers, objects, strict=True):
            mask[shape], seen[shape] = number, rng.integers(1, looks + 1)
        images.append(picture(rng, seen, tones, noise, shade))
        masks.append(mask)
    return Drawn(kind, images, masks)


def draw_film(rng, kind: str) -> Drawn:
    """Objects that keep their number, their look and nearly their place from frame to frame; they come and go."""
    side, frames, objects = int(rng.choice([64, 96])), int(rng.integers(10, 50)), int(rng.integers(3, 30))
    tones, noise = rng.integers(20, 235, (objects + 1, 3)), rng.uniform(2, 20)
    centers, sizes = rng.uniform(0.1, 0.9, (objects, 2)), rng.uniform(0.3, 0.8, objects) / np.sqrt(objects)
    born = np.where(rng.random(objects) < 0.7, 0, rng.integers(0, frames, objects))
    born[:3] = 0
    images, masks = [], []
    for frame in range(frames):
        mask = np.zeros((side, side), np.int32)
        for number in np.flatnonzero(born <= frame):
            shape = blob(rng, side, 0.9 * sizes[number], sizes[number], np.clip(centers[number], 0.05, 0.95))
            mask[shape] = number + 1
        images.append(picture(rng, mask, tones, noise, 0))
        masks.append(mask)
        centers += rng.normal(0, 0.02, centers.shape)
    if kind.endswith("disorder"):
        order = rng.permutation(frames)
        images, masks = [images[i] for i in order], [masks[i] for i in order]
    return Drawn(kind, images, masks)


# Classes --------------------------------------------------------------------------------------------------------------

HABITS = ("stuff", "things", "one region", "rare", "once only")
CLASS_KINDS = ("mixed", "few classes", "things alone", "organs", "layers", "one region anywhere")


def draw_classes(rng, kind: str) -> Drawn:
    """Images of 2 to 30 classes, each with a look of its own and a habit of HABITS."""
    side, count = int(rng.choice([64, 96, 128])), int(rng.integers(10, 50))
    foreground = int(rng.integers(1, 5)) if kind == "few classes" else int(rng.integers(2, 30))
    foreground = min(foreground, 12) if kind in ("organs", "layers", "one region anywhere") else foreground
    habits = habits_of(rng, kind, foreground)
    tones, noise, shade = rng.integers(20, 235, (foreground + 1, 3)), rng.uniform(2, 20), rng.uniform(0, 40)
    places, once = rng.uniform(0.1, 0.9, (foreground, 2)), rng.integers(0, count, foreground)
    values = class_values(rng, foreground)
    images, masks = [], []
    for i in range(count):
        labels = np.zeros((side, side), int)
        for label, habit in enumerate(habits, 1):
            for shape in shapes_of(rng, habit, side, places[label - 1], once[label - 1] == i, foreground):
                labels[shape] = label
        if kind == "layers":
            labels = layers(rng, side, foreground)
        images.append(picture(rng, labels, tones, noise, shade))
        masks.append(values[labels].astype(np.int32))
    return Drawn(kind, images, masks)


def habits_of(rng, kind: str, foreground: int) -> list[str]:
    if kind == "things alone":
        return ["things"] * foreground
    if kind == "organs":
        return ["organ"] * foreground
    if kind in ("layers", "one region anywhere"):
        return ["one region"] * foreground
    habits = [str(habit) for habit in rng.choice(HABITS, foreground, p=(0.25, 0.3, 0.2, 0.15, 0.1))]
    habits[0] = str(rng.choice(("stuff", "things")))
    return habits


def class_values(rng, foreground: int) -> np.ndarray:
    """Values on disk: 0…K−1, with gaps as of a larger list, or without a 0."""
    way = rng.choice(("whole", "gaps", "from 1"), p=(0.7, 0.2, 0.1))
    if way == "gaps":
        return np.concatenate([[0], np.sort(rng.choice(np.arange(1, 151), foreground, replace=False))])
    return np.arange(foreground + 1) + (way == "from 1")


def shapes_of(rng, habit: str, side: int, place: np.ndarray, once: bool, foreground: int) -> list[np.ndarray]:
    """The regions of one class in one image, bool (side, side) each."""
    small = 1 / np.sqrt(foreground + 1)
    if habit == "organ":
        return [blob(rng, side, 0.2 * small, 0.35 * small, np.clip(place + rng.normal(0, 0.03, 2), 0.05, 0.95))]
    number = {
        "stuff": rng.integers(2, 6),
        "things": rng.choice((0, 1, 2, 3, 5), p=(0.3, 0.2, 0.2, 0.2, 0.1)),
        "one region": rng.random() < 0.8,
        "rare": (rng.random() < 0.1) * rng.integers(1, 4),
        "once only": once,
    }[habit]
    most = 0.5 * small if habit == "stuff" else 0.3 * small
    return [blob(rng, side, 0.1 * small, most) for _ in range(int(number))]


def layers(rng, side: int, foreground: int) -> np.ndarray:
    """Strata from top to bottom, as of retinas and of soils, int (side, side)."""
    x = np.arange(side)
    edges = np.linspace(0, side, foreground + 2)[1:-1]
    wave = rng.normal(0, 0.03 * side) * np.sin(x / side * np.pi * rng.uniform(0.5, 2) + rng.uniform(0, 6))
    return (np.arange(side)[:, None, None] >= (edges + wave[:, None])[None]).sum(-1)


# Measuring ------------------------------------------------------------------------------------------------------------


def objects_of_seed(seed: int) -> Drawn:
    """Data set number ``seed`` of numbered objects: the numberings in turn."""
    return draw_objects(np.random.default_rng([seed, 1]), list(NUMBERINGS)[seed % len(NUMBERINGS)])


def classes_of_seed(seed: int) -> Drawn:
    """Data set number ``seed`` of classes: of 20, 10 are mixed, 5 have few classes, 2 things alone, 1 organs, …"""
    kinds = ["mixed"] * 10 + ["few classes"] * 5 + ["things alone"] * 2 + ["organs", "layers", "one region anywhere"]
    return draw_classes(np.random.default_rng([seed, 2]), kinds[seed % len(kinds)])


def doubted(drawn: Drawn) -> bool:
    """Whether the detector takes the masks for numbered objects, or asks."""
    return numbers_objects([measure_regions(*each) for each in zip(drawn.masks, drawn.images, strict=True)]) is not None


def main(config: Config) -> None:
    numbers = range(config.seed * config.draws, (config.seed + 1) * config.draws)
    objects, classes = defaultdict(Counter), defaultdict(Counter)
    for number in tqdm(numbers, unit="pair of data sets", disable=None):
        for draw, count in ((objects_of_seed, objects), (classes_of_seed, classes)):
            drawn = draw(number)
            count[drawn.kind][doubted(drawn)] += 1
    for title, counts in (("numbered objects", objects), ("classes", classes)):
        print(f"\n| {title} | data sets | refused or asked | taken for classes |\n|---|---|---|---|")
        for kind, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
            print(f"| {kind} | {count.total()} | {count[True]} | {count[False]} |")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
