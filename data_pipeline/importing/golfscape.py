"""golfscape: generated aerial scenes of a golf course, with exact masks. The embedded example data set.

The task is that of the 2018 blog whose pictures were never published: trees (non-playable) against the rest.
It is made so that colour alone does not solve it: crowns, rough and scrub share their colours and their
grain; a crown is told by its lit and its dark side, its round outline and the shadow that it throws.
"""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from data_pipeline.files import write_json, write_mask, write_picture
from data_pipeline.outputs import new_folder, refuse_existing_folder

CLASSES = {
    "classes": [
        {"name": "playable", "value": 0, "color": [0, 0, 0]},
        {"name": "trees", "value": 1, "color": [140, 60, 220]},
    ],
    "void": [],
}
GREENS = ([230, 159, 0], [86, 180, 233], [0, 158, 115], [204, 121, 167])  # Okabe and Ito's colours

# Ground colours (RGB) of the courses: rough, fairway.
COURSES = (
    ((92, 112, 58), (118, 146, 74)),
    ((104, 110, 62), (132, 142, 80)),
    ((80, 108, 66), (104, 142, 86)),
    ((112, 116, 72), (140, 150, 90)),
)
CROWN = (84, 108, 56)
SAND = (206, 192, 150)
WATER = (62, 84, 96)


@dataclass(frozen=True)
class Knobs:
    """Settings of a scene."""

    size: int = 128  # pixels on each side
    num_classes: int = 4  # courses, and kinds of green: the classes of target and label
    clumps: tuple[int, int] = (3, 6)  # fewest and most clumps of trees
    scrub: int = 5  # patches with the crowns' colours that are no trees
    color_jitter: float = 8.0  # standard deviation of each colour from crown to crown, in grey levels
    grain: float = 11.0  # standard deviation of the ground's and the crowns' texture, in grey levels
    noise: float = 4.0  # of the sensor, in grey levels


class Scene(NamedTuple):
    image: np.ndarray  # uint8 (size, size, 3) RGB
    trees: np.ndarray  # uint8 (size, size): 1 on a crown, else 0
    target: np.ndarray  # uint8 (size, size): label + 1 on the putting green, else 0
    label: int  # 0…num_classes−1: which way the green is mown


def scene(seed: int | tuple[int, ...], knobs: Knobs = Knobs()) -> Scene:
    """One scene; the same for the same seed and knobs on every machine.

    Layout, colours, ground and noise draw from streams of their own, so that changing one knob leaves what
    the others draw as it was.
    """
    seed = (seed,) if isinstance(seed, int) else tuple(seed)
    layout, color, ground, sensor = (np.random.default_rng([*seed, stream]) for stream in range(4))
    size = knobs.size
    sun = layout.uniform(0, 2 * np.pi)
    light = np.array([np.cos(sun), np.sin(sun)])  # points from the ground towards the sun: (x, y)
    label = int(layout.integers(knobs.num_classes))

    image = paint_ground(size, layout, color, ground, knobs)
    target = green_shape(size, layout)
    image = paint_green(image, target, label, knobs, layout)
    for _ in range(knobs.scrub):
        image = paint_scrub(image, target, layout, color, ground, knobs)
    crowns = place_crowns(size, target, layout, knobs)
    image = paint_shadows(image, crowns, light)
    image, trees = paint_crowns(image, crowns, light, color, ground, knobs)
    image = image * slope(size, layout) + sensor.normal(0, knobs.noise, image.shape)
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Scene(image, trees, target * np.uint8(label + 1), label)


def paint_ground(size, layout, color, ground, knobs):
    """Rough all over, a mown fairway across it, sometimes a pond and bunkers; float (size, size, 3)."""
    rough, fairway = COURSES[layout.integers(len(COURSES))]
    image = np.empty((size, size, 3))
    image[:] = np.add(rough, color.normal(0, knobs.color_jitter / 2, 3))
    image += knobs.grain * band_noise(size, 1.5, ground)[..., None]
    image += 0.6 * knobs.grain * band_noise(size, 10, ground)[..., None]

    along, across = turned_axes(size, layout)
    course = across - 0.18 * np.sin(along * layout.uniform(2, 4) + layout.uniform(0, 6)) - layout.uniform(-0.2, 0.2)
    on_fairway = np.abs(course) < layout.uniform(0.15, 0.28)
    stripes = 5 * np.sign(np.sin(along * layout.uniform(20, 34)))
    mown = np.add(fairway, color.normal(0, knobs.color_jitter / 2, 3)) + stripes[..., None]
    mown = mown + 0.5 * knobs.grain * band_noise(size, 1.0, ground)[..., None]
    image[on_fairway] = mown[on_fairway]

    for paint, count in ((SAND, layout.integers(0, 3)), (WATER, layout.integers(0, 2))):
        for _ in range(count):
            patch = blob(size, layout.uniform(0.1, 0.9, 2), layout.uniform(0.04, 0.09), 0.25, layout)
            image[patch] = np.add(paint, 0.3 * knobs.grain * ground.standard_normal((patch.sum(), 1)))
    return image


def green_shape(size, layout):
    """The putting green: a smooth blob of 8 to 15% of the area, uint8 (size, size) of 0 and 1."""
    radius = np.sqrt(layout.uniform(0.08, 0.15) / np.pi)
    return blob(size, layout.uniform(0.3, 0.7, 2), radius, 0.12, layout).astype(np.uint8)


def paint_green(image, target, label, knobs, layout):
    """Fine stripes, whose direction is the class."""
    y, x = np.mgrid[: knobs.size, : knobs.size]
    angle = np.pi * label / knobs.num_classes
    stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / 6 + layout.uniform(0, 6))
    painted = np.array([128, 160, 88]) + 10 * stripes[..., None]
    return np.where(target[..., None] == 1, painted, image)


def paint_scrub(image, target, layout, color, ground, knobs):
    """A ragged patch with a crown's colour and grain, but flat: neither relief nor shadow."""
    size = knobs.size
    patch = blob(size, layout.uniform(0, 1, 2), layout.uniform(0.05, 0.11), 0.4, layout) & (target == 0)
    painted = np.add(CROWN, color.normal(0, knobs.color_jitter, 3))
    painted = painted + knobs.grain * band_noise(size, 1.2, ground)[..., None]
    painted = painted + 12 * band_noise(size, 4, ground)[..., None]
    return np.where(patch[..., None], painted, image)


def place_crowns(size, target, layout, knobs):
    """Clumps of crowns as (x, y, radius) in pixels; none reaches the green."""
    crowns = []
    free = cv2.distanceTransform(1 - target, cv2.DIST_L2, 3)
    for _ in range(layout.integers(knobs.clumps[0], knobs.clumps[1] + 1)):
        middle = layout.uniform(0.05, 0.95, 2) * size
        spread = layout.uniform(0.04, 0.10) * size
        for _ in range(layout.integers(3, 9)):
            x, y = np.clip(middle + layout.normal(0, spread, 2), 0, size - 1)
            radius = layout.uniform(0.04, 0.085) * size
            if free[int(y), int(x)] > radius + 1:
                crowns.append((x, y, radius))
    return crowns


def paint_shadows(image, crowns, light):
    """Each crown darkens the ground on the side away from the sun."""
    size = len(image)
    shadow = np.zeros((size, size), np.float32)
    for x, y, radius in crowns:
        center = np.array([x, y]) - light * radius * 0.9
        cv2.circle(shadow, tuple(round(c) for c in center), max(1, round(radius)), 1.0, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 0.8)
    return image * (1 - 0.46 * shadow[..., None])


def paint_crowns(image, crowns, light, color, ground, knobs):
    """Domes, bright towards the sun and dark away from it, with a ragged outline; also their mask."""
    size = knobs.size
    trees = np.zeros((size, size), np.uint8)
    y, x = np.mgrid[:size, :size].astype(float)
    rag = 0.15 * band_noise(size, 1.5, ground)
    grain = knobs.grain * band_noise(size, 1.2, ground)
    for center_x, center_y, radius in crowns:
        across, down = (x - center_x) / radius, (y - center_y) / radius
        inside = across**2 + down**2 < 1 + rag
        relief = 54 * (across[inside] * light[0] + down[inside] * light[1])
        image[inside] = np.add(CROWN, color.normal(0, knobs.color_jitter, 3)) + (relief + grain[inside])[:, None]
        trees[inside] = 1
    return image, trees


def slope(size, layout):
    """Uneven light over the scene: factors about 1, (size, size, 1)."""
    along, _ = turned_axes(size, layout)
    return 1 + layout.uniform(0.05, 0.2) * along[..., None]


def turned_axes(size, layout):
    """Two perpendicular coordinates in about −0.7…0.7, turned at random, each (size, size)."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    angle = layout.uniform(0, np.pi)
    return x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)


def blob(size, center, radius, raggedness, layout):
    """A closed shape whose radius is a short Fourier series of the angle; bool (size, size)."""
    waves = np.arange(2, 6)
    heights, phases = raggedness * layout.normal(0, 1, 4) / waves, layout.uniform(0, 6, 4)
    inside = np.zeros((size, size), bool)
    reach = radius * (1 + np.abs(heights).sum())  # beyond it there is nothing
    (left, right), (top, bottom) = ((max(0, int((c - reach) * size)), int((c + reach) * size) + 2) for c in center)
    y, x = np.mgrid[top : min(bottom, size), left : min(right, size)] / size
    across, down = x - center[0], y - center[1]
    angle = np.arctan2(down, across)
    edge = 1 + sum(
        height * np.cos(wave * angle + phase) for height, wave, phase in zip(heights, waves, phases, strict=True)
    )
    inside[top:bottom, left:right] = across**2 + down**2 < (radius * edge) ** 2
    return inside


def band_noise(size, sigma, rng):
    """Smooth noise of unit variance, (size, size)."""
    noise = cv2.GaussianBlur(rng.standard_normal((size, size)), (0, 0), sigma)
    return noise / noise.std()


def target_classes(knobs: Knobs) -> dict:
    """classes.json of ``target``: the rest, and the greens by which way they are mown."""
    mown = [
        {"name": f"mown {round(180 * label / knobs.num_classes)} degrees", "value": label + 1, "color": color}
        for label, color in zip(range(knobs.num_classes), itertools.cycle(GREENS))
    ]
    return {"classes": [{"name": "background", "value": 0, "color": [0, 0, 0]}, *mown], "void": []}


def write_scenes(folder: Path, count: int = 200, seed: int = 0, knobs: Knobs = Knobs(), masks: str = "trees") -> None:
    """Write scenes 0…count−1 as a data set: images/, masks/, classes.json. All of it, or nothing.

    masks: "trees"; or "target", the putting green, whose class is the way it is mown (which flips and turns change).

    Raises:
        UserError: if the folder exists.
    """
    folder = refuse_existing_folder(folder)
    classes = CLASSES if masks == "trees" else target_classes(knobs)
    colors = [entry["color"] for entry in classes["classes"]]
    with new_folder(folder) as drawn, ThreadPoolExecutor(os.cpu_count()) as pool:

        def draw(i: int) -> None:
            image, trees, target, _ = scene((seed, i), knobs)
            write_picture(drawn / "images" / f"scene_{i:04d}.png", image)
            write_mask(drawn / "masks" / f"scene_{i:04d}.png", trees if masks == "trees" else target, colors)

        list(tqdm(pool.map(draw, range(count)), f"drawing {folder}", count, unit="scene", leave=False, disable=None))
        write_json(drawn / "classes.json", classes)
