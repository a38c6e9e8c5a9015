"""Distances between pixels, the same at every call."""

import cv2
import numpy as np


def squared_distances_to_zero(places: np.ndarray) -> np.ndarray:
    """Return each pixel's squared distance to the nearest pixel that is 0, a whole number; float64 (H, W).

    OpenCV's distances differ in their last bits from call to call on the same bytes; whole numbers do not. They are
    exact for distances up to 800 pixels; the roots of larger ones to a thousandth of a pixel, as far as OpenCV's
    float32 goes. Where no pixel is 0, huge.

    Args:
        places: uint8 (H, W).
    """
    return np.rint(np.square(cv2.distanceTransform(places, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float64))


def distances_to_zero(places: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the nearest pixel that is 0, float32 (H, W): ``squared_distances_to_zero``."""
    return np.sqrt(squared_distances_to_zero(places)).astype(np.float32)
