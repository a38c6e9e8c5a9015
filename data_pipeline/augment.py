"""Paired augmentation: one draw, applied to image and mask alike.

All geometry (crop, symmetry, rotation, scale, shear, shift, elastic deformation) is composed into a single
warp, so the image is interpolated once: linearly for the image, nearest for the mask. What comes from
outside the image is its reflection in the image, and void in the mask.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import cv2
import numpy as np

from .encoding import VOID

NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])  # equally likely levels
NORMAL /= NORMAL.std()  # the levels scatter a little less than a normal: back to σ = 1
IDENTITY = ((1, 0), (0, 1))
MIRROR = ((-1, 0), (0, 1))
QUARTER_TURN = ((0, -1), (1, 0))


@dataclass(frozen=True)
class Policy:
    """The largest changes of an image; 0 leaves a change out. Geometric draws are uniform in ± the value, but for
    scale (uniform in its logarithm) and elastic displacements (normal).

    A new change draws from the generator only if its field is not 0, or resumed runs would see other images.
    """

    crop: tuple[int, int] | None = None  # output (H, W) of the mask in pixels; None: the mask's own size
    margin: int = 0  # pixels that the image has beyond the mask on each side (unpadded U-Net)
    foreground: float = 0.5  # probability that a crop is centred on a foreground pixel

    symmetry: str = "none"  # "none", "horizontal" (mirror images), "d4" (and turns of 90°)
    rotation: float = 0.0  # degrees
    scale: float = 0.0  # 0.25: between 1/1.25 and 1.25 times
    shift: float = 0.0  # share of the output's side
    shear: float = 0.0  # degrees
    elastic: float = 0.0  # standard deviation of the displacements, as a share of the shorter side
    elastic_pixels: float = 0.0  # or in pixels (U-Net 2015, section 3.1: 3 × 3 nodes, σ = 10 pixels)
    elastic_grid: int = 3  # nodes along each side

    brightness: float = 0.0  # added, as a share of the full range
    contrast: float = 0.0  # 0.2: 0.8 to 1.2 times, about mid-grey
    gamma: float = 0.0  # 0.2: exponents from 1/1.2 to 1.2
    saturation: float = 0.0  # 0.2: 0.8 to 1.2 times
    hue: float = 0.0  # degrees around the colour wheel
    blur: float = 0.0  # largest σ in pixels, in one image of five
    noise: float = 0.0  # largest standard deviation in grey levels of 256, in every second image

    low: tuple[float, ...] = ()  # the value of each channel that counts as black,
    high: tuple[float, ...] = ()  # and as white; uint8 needs neither


PRESETS = {
    "none": Policy(),
    "light": Policy(scale=0.1, shift=0.05, rotation=5, brightness=0.05, contrast=0.1),
    "standard": Policy(
        scale=0.25,
        shift=0.1,
        rotation=15,
        shear=5,
        elastic=0.02,
        brightness=0.1,
        contrast=0.2,
        gamma=0.2,
        saturation=0.2,
        hue=8,
        blur=1.0,
        noise=8,
    ),
    "strong": Policy(
        scale=0.5,
        shift=0.2,
        rotation=45,
        shear=10,
        elastic=0.04,
        elastic_grid=5,
        brightness=0.2,
        contrast=0.4,
        gamma=0.4,
        saturation=0.4,
        hue=20,
        blur=2.0,
        noise=16,
    ),
    # Ronneberger 2015, section 3.1. The paper names shifts, rotations and grey values without their ranges: ours.
    "unet2015": Policy(foreground=0, shift=0.1, rotation=15, elastic_pixels=10, brightness=0.1, contrast=0.2),
    # Jégou 2017, section 4.1: random crops and horizontal flips (the symmetry), nothing else.
    "tiramisu": Policy(foreground=0),
}


def preset(name: str, symmetry: str, crop: tuple[int, int] | None = None, margin: int = 0, pixel_range=None) -> Policy:
    """A preset with the task's symmetry and crop; "none" changes nothing but the crop.

    pixel_range: what is black and white (pixel_range.py); images of uint8 need none.
    """
    policy = replace(PRESETS[name], symmetry="none" if name == "none" else symmetry, crop=crop, margin=margin)
    return replace(policy, low=pixel_range.low, high=pixel_range.high) if pixel_range else policy


def augment(
    image: np.ndarray, mask: np.ndarray, seed: int | tuple[int, ...], policy: Policy
) -> tuple[np.ndarray, np.ndarray]:
    """One random variation of an image and its mask; a pure function of its arguments.

    Args:
        image: uint8, uint16 or float (H, W, C); hue and saturation are varied in uint8 RGB alone.
        mask: uint8 (H, W), classes 0…C−1, void 255.
        seed: a number or several, such as (run seed, pass, index).
        policy: what may change, and the size of the output.

    Returns:
        image (h + 2·margin, w + 2·margin, C) of the same type and mask uint8 (h, w); (h, w) is policy.crop.

    Raises:
        ValueError: for uint16 or floats without policy.low and policy.high, if the policy varies light.
    """
    rng = np.random.default_rng(seed)
    image, mask = warp(image, mask, rng, policy)
    return recolor(image, rng, policy), mask


def warp(image, mask, rng, policy):
    """Crop, turn, stretch and bend image and mask by one draw of the generator."""
    height, width = policy.crop or mask.shape
    margin = policy.margin
    top, left = place_crop(mask, (height, width), rng, policy)
    # Where the crop is larger than the image, the image lies at the crop's top left and moves about its own middle.
    seen_height, seen_width = np.minimum(mask.shape, (height, width))
    linear = draw_linear(rng, policy, square=height == width and seen_height == seen_width)
    shift = rng.uniform(-policy.shift, policy.shift, 2) * (seen_width, seen_height)

    # A pixel p = (x, y) of the output shows the source at linear · (p − middle) + center.
    middle = np.array([(seen_width - 1) / 2, (seen_height - 1) / 2])
    center = middle + (left, top) + shift
    offset = center - linear @ (middle + margin)
    to_source = np.column_stack([linear, offset])

    out_height, out_width = height + 2 * margin, width + 2 * margin
    if policy.elastic or policy.elastic_pixels:
        x, y = bend(to_source, out_height, out_width, rng, policy)
    else:
        x, y = None, None
    size = (out_width, out_height)
    image = by_four_channels(image, resample, to_source, x, y, size, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
    mask = resample(mask, to_source, x, y, size, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    return image, mask[margin : margin + height, margin : margin + width]


def place_crop(mask, size, rng, policy) -> tuple[int, int]:
    """Top and left of a crop that lies inside the mask, often around a foreground pixel.

    The class is drawn among those present before the pixel is, so a rare class is met as often as others.
    An axis on which the crop is the larger one starts at 0.
    """
    room = np.maximum(np.subtract(mask.shape, size), 0)
    corner = rng.integers(0, room + 1)
    if not room.any() or rng.random() >= policy.foreground:
        return tuple(corner)
    present = np.flatnonzero(cv2.calcHist([mask], [0], None, [256], [0, 256])[1:VOID]) + 1
    if not len(present):
        return tuple(corner)
    of_class = mask == rng.choice(present)
    up_to = np.cumsum(np.count_nonzero(of_class, axis=1))  # pixels of the class in the rows up to each
    number = rng.integers(up_to[-1])
    row = np.searchsorted(up_to, number, "right")
    center = row, np.flatnonzero(of_class[row])[number - up_to[row]]  # below 0: counted from the row's end
    jitter = rng.uniform(-0.25, 0.25, 2) * size  # or the class would always sit in the middle
    corner = np.subtract(center, np.array(size) // 2) + jitter.astype(int)
    return tuple(np.clip(corner, 0, room))


def draw_linear(rng, policy, square: bool) -> np.ndarray:
    """The linear part of the warp, output → source, float64 (2, 2): symmetry · rotation · shear / scale."""
    matrix = np.array(IDENTITY, float)
    if policy.symmetry in ("horizontal", "d4") and rng.random() < 0.5:
        matrix = matrix @ MIRROR
    if policy.symmetry == "d4":
        turns = rng.integers(4) if square else 2 * rng.integers(2)  # a quarter turn needs a square frame
        matrix = matrix @ np.linalg.matrix_power(np.array(QUARTER_TURN), turns)
    angle = math.radians(rng.uniform(-policy.rotation, policy.rotation))
    shear = math.tan(math.radians(rng.uniform(-policy.shear, policy.shear)))
    scale = (1 + policy.scale) ** rng.uniform(-1, 1)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return matrix @ rotation @ np.array([[1, shear], [0, 1]]) / scale


def bend(to_source, height, width, rng, policy):
    """Source coordinates, two float32 (height, width), of the linear warp with elastic displacements.

    U-Net 2015, section 3.1: random displacements on a coarse grid, interpolated bicubically.
    """
    sigma = policy.elastic_pixels or policy.elastic * min(height, width)
    nodes = rng.normal(0, sigma, (policy.elastic_grid, policy.elastic_grid, 2)).astype(np.float32)
    across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    maps = []
    for (a, b, c), moved in zip(to_source.astype(np.float32), np.moveaxis(nodes, 2, 0), strict=True):
        coordinate = cv2.resize(np.ascontiguousarray(moved), (width, height), interpolation=cv2.INTER_CUBIC)
        coordinate += a * across + c
        coordinate += b * down
        maps.append(coordinate)
    return maps


def resample(array, to_source, x, y, size, interpolation, border):
    if x is not None:
        return cv2.remap(array, x, y, interpolation, borderMode=border, borderValue=VOID)
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(array, to_source, size, flags=flags, borderMode=border, borderValue=VOID)


def by_four_channels(image, function, *arguments) -> np.ndarray:
    """Apply an OpenCV function, which takes at most four channels and drops the axis of one, to an image (H, W, C)."""
    if image.shape[2] in (3, 4):
        return function(image, *arguments)
    fours = [np.ascontiguousarray(image[..., first : first + 4]) for first in range(0, image.shape[2], 4)]
    return np.concatenate([np.atleast_3d(function(four, *arguments)) for four in fours], axis=2)


def recolor(image, rng, policy):
    """Vary light, colour, blur and noise of an image (H, W, C); the mask stays as it is."""
    if image.dtype != np.uint8:
        return recolor_deep(image, rng, policy)
    if policy.brightness or policy.contrast or policy.gamma:
        image = cv2.LUT(image, tone_curve(rng, policy)).reshape(image.shape)
    if (policy.saturation or policy.hue) and image.shape[2] == 3:
        image = cv2.transform(image, color_matrix(rng, policy))
    if policy.blur and rng.random() < 0.2:
        image = by_four_channels(image, cv2.GaussianBlur, (0, 0), rng.uniform(0.2, policy.blur))
    if policy.noise and rng.random() < 0.5:
        noise = draw_noise(image.shape, rng.uniform(0, policy.noise), rng)
        image = cv2.add(image, noise, dtype=cv2.CV_8U).reshape(image.shape)
    return image


def draw_noise(shape, sigma, rng) -> np.ndarray:
    """Gaussian noise, float32: a random byte picks one of 256 equally likely levels (none beyond 2.9 σ)."""
    levels = (sigma * NORMAL).astype(np.float32)
    random_bytes = np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape[0], -1)
    return cv2.LUT(random_bytes, levels).reshape(shape)


def recolor_deep(image, rng, policy):
    """As ``recolor``, without hue and saturation, for uint16 and floats, between policy.low and policy.high."""
    if not (policy.low and policy.high):
        if not (policy.brightness or policy.contrast or policy.gamma or policy.blur or policy.noise):
            return image
        raise ValueError(
            f"an image of {image.dtype}: say which value is black and which is white: dataclasses.replace(policy, "
            "low=(0,), high=(1,)) for pixels of 0 to 1 (images of uint8 need neither)"
        )
    low = np.array(policy.low, np.float32)
    span = np.array(policy.high, np.float32) - low
    level = (image - low) / span
    if policy.brightness or policy.contrast or policy.gamma:
        gamma, contrast, brightness = draw_tone(rng, policy)
        level = np.maximum(level, 0) ** np.float32(gamma) + np.minimum(level, 0)  # values below black keep their place
        level = (level - np.float32(0.5)) * np.float32(contrast) + np.float32(0.5 + brightness)
    if policy.blur and rng.random() < 0.2:
        level = by_four_channels(level, cv2.GaussianBlur, (0, 0), rng.uniform(0.2, policy.blur))
    if policy.noise and rng.random() < 0.5:
        level = level + draw_noise(level.shape, rng.uniform(0, policy.noise) / 255, rng)
    changed = level * span + low
    return np.clip(np.rint(changed), 0, 65535).astype(np.uint16) if image.dtype == np.uint16 else changed


def draw_tone(rng, policy) -> tuple[float, float, float]:
    """Gamma, contrast and brightness."""
    gamma = (1 + policy.gamma) ** rng.uniform(-1, 1)
    contrast = 1 + rng.uniform(-policy.contrast, policy.contrast)
    return gamma, contrast, rng.uniform(-policy.brightness, policy.brightness)


def tone_curve(rng, policy) -> np.ndarray:
    """Gamma, contrast and brightness as one table of 256 grey levels, uint8."""
    gamma, contrast, brightness = draw_tone(rng, policy)
    level = np.linspace(0, 1, 256) ** gamma
    level = (level - 0.5) * contrast + 0.5 + brightness
    return np.clip(np.rint(level * 255), 0, 255).astype(np.uint8)


def color_matrix(rng, policy) -> np.ndarray:
    """Hue and saturation as one matrix on RGB: a turn and a stretch of the chroma plane of YIQ."""
    saturation = 1 + rng.uniform(-policy.saturation, policy.saturation)
    angle = math.radians(rng.uniform(-policy.hue, policy.hue))
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.linalg.inv(RGB_TO_YIQ) @ turn @ RGB_TO_YIQ


RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
