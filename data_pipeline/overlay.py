"""A mask drawn over its image, in its classes' colours."""

import cv2
import numpy as np

from .encoding import VOID


def overlay(image: np.ndarray, mask: np.ndarray, colors, opacity: float = 0.5) -> np.ndarray:
    """Image uint8 (H, W, 3) with a mask (H, W) in its classes' colours; black classes and void stay clear."""
    table = np.zeros((VOID + 1, 3), np.uint8)
    table[: len(colors)] = colors
    tint = table[mask]
    blended = cv2.addWeighted(image, 1 - opacity, tint, opacity, 0)
    return np.where(tint.any(-1, keepdims=True), blended, image)
