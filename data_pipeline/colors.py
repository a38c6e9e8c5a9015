"""Colours of classes that stand out from the pictures beneath them, and from each other."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

VOID_GREY = (128, 128, 128)
MOST_SAMPLED = 12  # images that colours are chosen by
LONGEST = 160  # pixels of a side that are looked at
LIGHT = 1.5  # weight of lightness in distances: on a dark ground no dark colour is seen, whatever its hue
APART = 60.0  # distance in CIELAB of a class's colour from what it lies on
DISTINCT = 25.0  # and from the other classes' colours
# Strong colours of all hues, light and dark; the first ones are told apart by colour-blind readers.
STRONG = np.array(
    [
        *((255, 210, 0), (230, 70, 160), (0, 150, 255), (240, 100, 0), (0, 200, 160), (140, 60, 220)),
        *((230, 20, 50), (160, 230, 40), (70, 220, 250), (250, 170, 190), (0, 70, 190), (120, 60, 10)),
        *((0, 120, 60), (255, 250, 150), (180, 0, 120), (90, 90, 0), (200, 180, 255), (255, 140, 90)),
    ],
    np.uint8,
)


def lab(colors: np.ndarray) -> np.ndarray:
    """RGB uint8 (…, 3) → CIELAB float32 (…, 3)."""
    flat = np.asarray(colors, np.float32).reshape(1, -1, 3) / 255
    return cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).reshape(np.shape(colors))


def beneath(samples: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int) -> np.ndarray:
    """The mean colour of the images beneath each class, CIELAB (C, 3); NaN where none shows it.

    Args:
        samples: images uint8 (H, W, 3) and masks uint8 (H, W), void 255.
        num_classes: C.
    """
    sums, counts = np.zeros((num_classes, 3)), np.zeros((num_classes, 1))
    for image, mask in samples:
        step = -(-max(mask.shape) // LONGEST)
        image, mask = image[::step, ::step], mask[::step, ::step]
        for label in np.unique(mask[mask < num_classes]).tolist():
            pixels = lab(image[mask == label])
            sums[label] += pixels.sum(0)
            counts[label] += len(pixels)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def sampled(items: Sequence) -> list:
    """At most MOST_SAMPLED of them, from the first to the last."""
    chosen = np.linspace(0, len(items) - 1, min(MOST_SAMPLED, len(items))).round().astype(int)
    return [items[i] for i in chosen]


def seen_over(samples: Iterable[tuple[np.ndarray, np.ndarray]], colors) -> tuple[tuple[int, int, int], ...]:
    """The classes' colours, or others where they would not be seen on these images (``beneath``, ``standing_out``)."""
    return standing_out(colors, beneath(samples, len(colors)))


def standing_out(colors, ground: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """The classes' colours; those that would not be seen on what lies beneath get the best of STRONG that is free.

    Args:
        colors: RGB, C of them. Black ones, which are not drawn over an image, stay.
        ground: CIELAB (C, 3), what ``beneath`` gives.
    """
    chosen: dict[int, tuple[int, int, int]] = {i: tuple(color) for i, color in enumerate(colors) if not any(color)}
    drawn = [i for i in range(len(colors)) if i not in chosen]
    taken = [lab(np.array(VOID_GREY))]
    unseen = []
    for i in drawn:
        own = lab(np.array(colors[i]))
        if distance(own, ground[i]) >= APART and all(distance(own, other) >= DISTINCT for other in taken):
            chosen[i] = tuple(colors[i])
            taken.append(own)
        else:
            unseen.append(i)
    for i in unseen:
        strong = lab(STRONG)
        apart = [min([distance(color, ground[i]), *(2 * distance(color, one) for one in taken)]) for color in strong]
        best = int(np.argmax(apart))
        chosen[i] = tuple(map(int, STRONG[best])) if len(taken) <= len(STRONG) else tuple(colors[i])
        taken.append(strong[best])
    return tuple(chosen[i] for i in range(len(colors)))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """In CIELAB, lightness counting more; infinite from what is not known."""
    apart = float(np.linalg.norm((one - other) * (LIGHT, 1, 1)))
    return np.inf if np.isnan(apart) else apart
