"""Weights of a mask's pixels in the loss: void nothing, classes by their weights, narrow gaps more."""

import cv2
import numpy as np

from .distances import distances_to_zero
from .encoding import VOID

# Ronneberger et al. 2015 (arXiv 1505.04597), section 3 and equation 2.
BORDER_WEIGHT = 10.0  # w0
BORDER_SIGMA = 5.0  # σ, pixels
BORDER_CUT = 1e-3  # below this share of w0 the border's term is left out, so that each cell matters only near by
BORDER_REACH = BORDER_SIGMA * np.sqrt(-2 * np.log(BORDER_CUT))  # 18.6 pixels: d1 + d2 where the term is cut


def pixel_weights(mask: np.ndarray, class_weights: np.ndarray, border: bool = False) -> np.ndarray:
    """The weight of each pixel in the loss.

    Args:
        mask: uint8 (H, W), classes 0…C−1, void 255.
        class_weights: float32 (C,).
        border: add U-Net's border weights to all that is not void, see ``border_weights``.

    Returns:
        float32 (H, W): 0 at void (and at any other value from C on), else the class's weight and the border's.
    """
    weights = cv2.LUT(mask, weight_table(class_weights))
    if border:
        np.add(weights, border_weights(mask, len(class_weights)), out=weights, where=mask < len(class_weights))
    return weights


def weight_table(class_weights: np.ndarray) -> np.ndarray:
    """float32 (256,): mask value → weight; void weighs nothing."""
    table = np.zeros(VOID + 1, np.float32)
    table[: len(class_weights)] = class_weights
    return table


def border_weights(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """U-Net's w0·exp(−(d1 + d2)² / 2σ²): large where two cells are close. Float32 (H, W), 0 to w0.

    d1 and d2 are the distances in pixels, between centres, to the nearest and the second nearest cell; in a cell,
    d1 = 0. A cell is a connected region of one class, other than background (class 0). Regions connect through the
    sides of pixels, not through their corners: objects of a class that touch at a corner are two, and a line one
    pixel wide parts them in every direction, as the paper's thin borders do. (``engine.scoring.objects`` counts
    with corners.)

    Left out (0) beyond BORDER_REACH, and everywhere if there are fewer than two cells.
    """
    nearest = np.full(mask.shape, np.inf, np.float32)
    second = nearest.copy()
    for part, distance in cell_distances(mask, num_classes):
        # In place, since parts are views: the larger of two candidates is what the second nearest may become.
        np.minimum(second[part], np.maximum(nearest[part], distance), out=second[part])
        np.minimum(nearest[part], distance, out=nearest[part])
    reach = nearest + second
    close = reach <= BORDER_REACH
    weights = np.zeros(mask.shape, np.float32)
    weights[close] = BORDER_WEIGHT * np.exp(reach[close] ** 2 / (-2 * BORDER_SIGMA**2))
    return weights


def cell_distances(mask, num_classes):
    """For each cell the part of the mask within BORDER_REACH of it, as slices, and the distances to the cell there."""
    margin = int(np.ceil(BORDER_REACH))
    for label in np.flatnonzero(np.bincount(mask.ravel(), minlength=num_classes)[1:num_classes]) + 1:
        count, cells, boxes, _ = cv2.connectedComponentsWithStats((mask == label).view(np.uint8), connectivity=4)
        for cell in range(1, count):
            left, top, width, height = boxes[cell, :4]  # cv2.CC_STAT_LEFT, TOP, WIDTH, HEIGHT
            part = np.s_[max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin]
            others = (cells[part] != cell).view(np.uint8)
            yield part, distances_to_zero(others)
