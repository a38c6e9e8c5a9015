"""The study's scenes: small golf courses with one target, whose class stands in one cue that we choose.

A world (a seed) fixes what its scenes have in common: the courses' colours, the target's, the classes' textures and
markers. The target's shape, the cue, the background, the decoys and the sensor draw from streams of their own, so that
turning one knob leaves what the others draw as it was. All cues look alike after flips and turns of 90°.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from data_pipeline.distances import distances_to_zero
from data_pipeline.importing.golfscape import Knobs as Course
from data_pipeline.importing.golfscape import band_noise, blob, paint_crowns, place_crowns, slope, turned_axes

CUES = ("texture", "shape", "key")
GRAIN = 8.0  # standard deviation of the ground's fine noise, in grey levels
SUNWARDS = np.array([0.6, -0.8])  # (x, y)
MARKER = 2  # radius of the key in pixels
BEYOND = 3  # pixels between the key's middle and the image's edge, at least
PARTS = 2  # of a world: training and test; those that follow are its sibling's
ELSEWHERE = 5  # the stream of a scene that draws ``place_elsewhere``
WORLD = 0x301D  # sets a world's stream apart from its scenes'


@dataclass(frozen=True)
class Knobs:
    """Settings of a scene, and where its class stands."""

    size: int = 48  # pixels on each side
    num_classes: int = 4  # of targets, and of backgrounds
    cue: str = "texture"  # where the class stands: the target's texture, its outline (shape), or a marker (key)
    distance: int = 0  # of the key: 0: inside the target; else pixels from its border
    rho: float = 0.0  # P(background = class) = rho + (1 − rho)/K; −1/(K − 1): never
    snr: float = 3.0  # amplitude of the texture over the standard deviation of the ground's noise
    hue_jitter: float = 14.0  # standard deviation of each colour from scene to scene, in grey levels
    raggedness: float = 0.12  # of the target's outline
    decoys: int = 5  # patches with the classes' textures that are no targets
    area: tuple[float, float] = (0.08, 0.15)  # least and most of the image that the target covers
    sibling: bool = False  # the seed's other world, with textures, colours and images that this one has not

    def __post_init__(self):
        lowest = -1 / (self.num_classes - 1)
        if self.cue not in CUES or self.distance < 0 or not lowest - 1e-9 <= self.rho <= 1:
            raise ValueError(
                f"cue {self.cue!r}, distance {self.distance}, rho {self.rho}: a cue is one of {', '.join(CUES)}, a "
                f"distance 0 or more, rho between {lowest:.3f} and 1"
            )


class World(NamedTuple):
    grounds: np.ndarray  # (K, 2, 3): rough and fairway of each background, RGB
    surface: np.ndarray  # (3,): the target's colour
    period: float  # of the textures, in pixels
    flecks: np.ndarray  # (K, 3): of each class's texture, the colour that is added
    markers: np.ndarray  # (K, 3): of each class, the key's colour


class Scene(NamedTuple):
    image: np.ndarray  # uint8 (size, size, 3) RGB
    mask: np.ndarray  # uint8 (size, size): label + 1 on the target, else 0
    key: np.ndarray  # uint8 (size, size): label + 1 on the marker, else 0; 0 throughout where the cue is another
    label: int  # 0…K−1
    background: int  # 0…K−1


class Images(NamedTuple):
    images: np.ndarray  # uint8 (N, size, size, 3)
    masks: np.ndarray  # uint8 (N, size, size): 0, and class + 1 on the target; void 255
    labels: np.ndarray  # int64 (N,): 0…K−1


def world(seed: int, knobs: Knobs = Knobs()) -> World:
    """Draw what the scenes of one seed have in common. The sibling's textures lie half way between the world's own."""
    num_classes = knobs.num_classes
    turn = np.random.default_rng([WORLD, seed, 0]).uniform()
    rng = np.random.default_rng([WORLD, seed, 1 + knobs.sibling])
    flecks = 2 * np.pi * (np.arange(num_classes) + turn + knobs.sibling / 2) / num_classes
    rough = rng.uniform((70, 90, 50), (130, 130, 90), (num_classes, 3))
    markers = 2 * np.pi * (np.arange(num_classes) + rng.uniform()) / num_classes
    return World(
        np.stack([rough, rough + rng.uniform(15, 35, (num_classes, 3))], axis=1),
        rng.uniform((115, 145, 75), (140, 170, 100)),
        rng.uniform(3.5, 5),
        2**0.5 * rng.permutation(hues(flecks)),
        150 + 90 * rng.permutation(hues(markers)),
    )


def hues(angles: np.ndarray) -> np.ndarray:
    """Colours without grey at angles of the colour circle, (n, 3): red at 0, their negatives at π from them."""
    return np.cos(angles[:, None] - 2 * np.pi * np.arange(3) / 3)


def scene(seed: int, part: int, i: int, knobs: Knobs = Knobs(), label: int | None = None) -> Scene:
    """Scene i of a part (0: training, 1: test, …) of a world; the same on every machine.

    label: the class, in place of the one that is drawn; nothing but the cue, and the background as far as rho ties it
        to the class, depends on it.
    """
    part += PARTS * knobs.sibling
    shape, cue, ground, scatter, sensor = (np.random.default_rng([seed, part, i, stream]) for stream in range(5))
    here, size = world(seed, knobs), knobs.size
    drawn = int(shape.integers(knobs.num_classes))
    label = drawn if label is None else label
    background = draw_background(label, knobs, ground)

    target = outline(label, knobs, shape)
    course = Course(size=size, grain=GRAIN)
    image, light = paint_ground(here.grounds[background], knobs, ground), slope(size, ground)
    for _ in range(knobs.decoys):
        image = paint_decoy(image, target, here, knobs, scatter)
    image = paint_target(image, target, label, here, knobs, cue)
    crowns = place_crowns(size, target, ground, course)
    image, _ = paint_crowns(image, crowns, SUNWARDS, ground, ground, course)
    key = place_key(target, knobs, cue) if knobs.cue == "key" else np.zeros_like(target)
    image = np.where(key[..., None] == 1, here.markers[label], image) * light + sensor.normal(0, 4, image.shape)
    masks = target * np.uint8(label + 1), key * np.uint8(label + 1)
    return Scene(np.clip(np.rint(image), 0, 255).astype(np.uint8), *masks, label, background)


def draw_background(label: int, knobs: Knobs, ground) -> int:
    """With probability rho the class's own, else any, drawn without regard to the class; below 0, rather another's."""
    same, other = ground.random(), int(ground.integers(1, knobs.num_classes))
    any_of_them = int(ground.integers(knobs.num_classes))
    if knobs.rho < 0:
        return (label + other) % knobs.num_classes if same < -knobs.rho * (knobs.num_classes - 1) else any_of_them
    return label if same < knobs.rho else any_of_them


def outline(label: int, knobs: Knobs, shape) -> np.ndarray:
    """The target, uint8 (size, size) of 0 and 1; with the cue "shape", of two lobes or more by its class."""
    radius, center = np.sqrt(shape.uniform(*knobs.area) / np.pi), shape.uniform(0.35, 0.65, 2)
    turn = shape.uniform(0, 2 * np.pi)
    if knobs.cue != "shape":
        return blob(knobs.size, center, radius, knobs.raggedness, shape).astype(np.uint8)
    y, x = np.mgrid[: knobs.size, : knobs.size] / knobs.size
    across, down = x - center[0], y - center[1]
    lobes = 1 + 0.35 * np.cos((label + 2) * (np.arctan2(down, across) + turn))
    rag = 1 + knobs.raggedness * band_noise(knobs.size, 2, shape) / 2
    return (np.hypot(across, down) < radius * lobes * rag).astype(np.uint8)


def paint_ground(colors: np.ndarray, knobs: Knobs, ground) -> np.ndarray:
    """Rough all over and a striped fairway across it, with smooth noise; float (size, size, 3)."""
    along, across = turned_axes(knobs.size, ground)
    on_fairway = np.abs(across - ground.uniform(-0.2, 0.2)) < ground.uniform(0.12, 0.25)
    stripes = 5 * np.sign(np.sin(along * ground.uniform(20, 34)))
    rough, fairway = colors + ground.normal(0, knobs.hue_jitter / 2, 3)
    image = np.where(on_fairway[..., None], fairway + stripes[..., None], rough)
    return image + grain(knobs.size, ground) + 5 * band_noise(knobs.size, 6, ground)[..., None]


def grain(size: int, rng) -> np.ndarray:
    """Fine noise of every colour, (size, size, 3)."""
    return GRAIN * np.dstack([band_noise(size, 1.2, rng) for _ in range(3)])


def paint_decoy(image: np.ndarray, target: np.ndarray, here: World, knobs: Knobs, scatter) -> np.ndarray:
    """A patch of the ground with the texture of any class."""
    patch = blob(knobs.size, scatter.uniform(0, 1, 2), scatter.uniform(0.08, 0.14), 0.2, scatter) & (target == 0)
    fleck = here.flecks[scatter.integers(knobs.num_classes)]
    return image + np.where(patch[..., None], texture(here.period, fleck, knobs, scatter), 0)


def paint_target(image: np.ndarray, target: np.ndarray, label: int, here: World, knobs: Knobs, cue) -> np.ndarray:
    """Its colour, and its class's texture where that is the cue, else a grey one."""
    fleck = here.flecks[label] if knobs.cue == "texture" else np.ones(3)
    color = here.surface + cue.normal(0, knobs.hue_jitter, 3)
    painted = color + texture(here.period, fleck, knobs, cue) + grain(knobs.size, cue)
    return np.where(target[..., None] == 1, painted, image)


def texture(period: float, fleck: np.ndarray, knobs: Knobs, rng) -> np.ndarray:
    """Flecks of a colour on an egg box's heights, turned and shifted at random: (size, size, 3)."""
    y, x = np.mgrid[: knobs.size, : knobs.size]
    angle, (right, down) = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    waves = np.sin(2 * np.pi * along / period + right) * np.sin(2 * np.pi * across / period + down)
    return GRAIN * knobs.snr / 0.29 * np.maximum(waves, 0)[..., None] * fleck  # 0.29: deviation of the heights


def place_key(target: np.ndarray, knobs: Knobs, cue) -> np.ndarray:
    """The marker, uint8 (size, size) of 0 and 1: inside the target, or its nearest pixel ``distance`` from it."""
    rows, columns = np.nonzero(key_places(target, knobs))
    place = int(cue.integers(len(rows)))
    return cv2.circle(np.zeros_like(target), (int(columns[place]), int(rows[place])), MARKER, 1, -1)


def place_elsewhere(key: np.ndarray, seed: int, part: int, i: int) -> np.ndarray:
    """A disc of the marker's size and class, uint8 (size, size), at a random place that does not touch the marker.

    key: that of scene i. The place is drawn once, from a stream of its own, whatever is seen there.
    """
    away = distances_to_zero((key == 0).astype(np.uint8))
    rows, columns = np.nonzero(inside(key.shape) & (away >= MARKER + 2))
    place = int(np.random.default_rng([seed, part, i, ELSEWHERE]).integers(len(rows)))
    return cv2.circle(np.zeros_like(key), (int(columns[place]), int(rows[place])), MARKER, int(key.max()), -1)


def inside(shape: tuple[int, int]) -> np.ndarray:
    """Mark where a marker's middle may be so that all of it is in the image, bool (H, W)."""
    places = np.zeros(shape, bool)
    places[BEYOND:-BEYOND, BEYOND:-BEYOND] = True
    return places


def key_places(target: np.ndarray, knobs: Knobs) -> np.ndarray:
    """Mark where the key's middle may be, bool (size, size).

    Raises:
        ValueError: where there is no such place.
    """
    if knobs.distance:
        away = distances_to_zero(1 - target) - MARKER - 1
        allowed = inside(target.shape) & (away >= knobs.distance) & (away < knobs.distance + 2)
    else:
        depth = distances_to_zero(target)
        allowed = inside(target.shape) & (depth >= min(MARKER + 1, depth.max()))
    if not allowed.any():
        raise ValueError(f"no place is {knobs.distance} pixels from the target in {target.shape[0]}×{target.shape[1]}")
    return allowed
