"""What a score must beat: all background, the majority class, and a pixel classifier without any network."""

import os

import cv2
import numpy as np

from data_pipeline.augment import RGB_TO_YIQ
from data_pipeline.dataset import Loader, resize_image
from data_pipeline.masks import VOID, Encoding
from data_pipeline.pairs import Pair

from .predictor import resize_channels

LONGEST_SIDE = 256  # pixels to which images are reduced for the forest
SAMPLED_PIXELS = 60_000
BLURS = (1.0, 2.0, 4.0, 8.0)  # σ in pixels


def fit_baselines(pairs: list[Pair], encoding: Encoding, size: tuple[int, int] | None, seed: int) -> dict:
    """Name → function of an image uint8 (H, W, 3) to class indices uint8 (H, W), fitted on training pairs.

    Args:
        pairs: the training part.
        encoding: of the masks.
        size: (H, W) at which the network works, or None for native resolution; the forest works at the
            same, or at LONGEST_SIDE where that is less.
        seed: of the sampled pixels and of the forest.
    """
    forest = PixelForest(size, encoding.num_classes)
    majority = forest.fit(pairs, encoding, seed)
    return {"all_background": constant(0), "majority_class": constant(majority), "pixel_forest": forest}


def constant(label: int):
    return lambda image: np.full(image.shape[:2], label, np.uint8)


class PixelForest:
    """A random forest on each pixel's colour, blurred colours and gradients at a few scales."""

    def __init__(self, size: tuple[int, int] | None, num_classes: int):
        self.size = size
        self.num_classes = num_classes

    def fit(self, pairs: list[Pair], encoding: Encoding, seed: int) -> int:
        """Learn from pixels drawn evenly from all training images; returns the most frequent class."""
        from sklearn.ensemble import RandomForestClassifier

        rng = np.random.default_rng(seed)
        load = Loader(pairs, encoding, limit=0)
        share = max(1, SAMPLED_PIXELS // len(pairs))
        samples, labels, count = [], [], np.zeros(VOID + 1, np.int64)
        for index in range(len(pairs)):
            image, mask = load(index)
            count += np.bincount(mask.ravel(), minlength=VOID + 1)
            small = self.reduce(image)
            mask = cv2.resize(mask, small.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT).ravel()
            known = np.flatnonzero(mask != VOID)
            chosen = rng.choice(known, min(share, len(known)), replace=False)
            samples.append(features(small)[chosen])
            labels.append(mask[chosen])
        self.forest = RandomForestClassifier(
            n_estimators=60, min_samples_leaf=4, n_jobs=os.cpu_count(), random_state=seed
        )
        self.forest.fit(np.concatenate(samples), np.concatenate(labels))
        return int(count[: self.num_classes].argmax())

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) → class indices uint8 (H, W), at the image's own resolution."""
        small = self.reduce(image)
        scores = self.forest.predict_proba(features(small)).astype(np.float32)
        scores = resize_channels(scores.reshape(*small.shape[:2], -1), image.shape[:2])
        return self.forest.classes_[scores.argmax(-1)].astype(np.uint8)

    def reduce(self, image: np.ndarray) -> np.ndarray:
        height, width = self.size or image.shape[:2]
        factor = min(1, LONGEST_SIDE / max(height, width))
        return resize_image(image, (max(1, round(height * factor)), max(1, round(width * factor))))


def features(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) → float32 (H·W, F): colour and, at each blur, colour and slope of the brightness."""
    color = cv2.transform(image.astype(np.float32), RGB_TO_YIQ)
    planes = [color]
    for sigma in BLURS:
        blurred = cv2.GaussianBlur(color, (0, 0), sigma)
        slope = [cv2.Sobel(blurred[..., 0], cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1))]
        planes += [blurred, np.hypot(*slope)[..., None]]
    return np.concatenate(planes, -1).reshape(-1, 3 + 4 * len(BLURS))
