"""Baselines that a score must beat: all background, the majority class, a pixel classifier without any network, and
where there is a pretrained encoder the probe (probe.py).
"""

import os

import cv2
import numpy as np

from data_pipeline.augment import RGB_TO_YIQ, by_four_channels
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.loader import Loader, resize_image
from data_pipeline.pairs import Pair
from data_pipeline.pixel_range import PixelRange
from engine.predictor import resize_channels
from engine.run import Run

from .probe import fit_probe

LONGEST_SIDE = 256  # pixels to which images are reduced for the forest
SAMPLED_PIXELS = 60_000
BLURS = (1.0, 2.0, 4.0, 8.0)  # σ in pixels


def fit_baselines(run: Run) -> dict:
    """Name → function of an image (H, W, C) to class indices uint8 (H, W), fitted on a run's training part.

    The forest works at the network's resolution, or at LONGEST_SIDE where that is less. It and the probe are left out,
    with a note, where the training images are gone.
    """
    share = run.dataset["class_frequencies"]
    majority = run.encoding.names.index(max(share, key=share.get))
    baselines = {"all_background": constant(0), "majority_class": constant(majority)}
    if all(path.is_file() for pair in run.split.train for path in pair.files):
        baselines["pixel_forest"] = PixelForest(run.frame.size, run.pixel_range)
        baselines["pixel_forest"].fit(run.split.train, run.encoding, run.config["seed"])
        if probe := fit_probe(run):
            baselines["probe"] = probe
    else:
        print(f"note: the training images are no longer in {run.dataset['root']}, so there is no pixel forest")
    return baselines


def constant(label: int):
    return lambda image: np.full(image.shape[:2], label, np.uint8)


class PixelForest:
    """A random forest on each pixel's colour, blurred colours and gradients at a few scales."""

    def __init__(self, size: tuple[int, int] | None, pixel_range: PixelRange):
        self.size = size
        self.pixel_range = pixel_range

    def fit(self, pairs: list[Pair], encoding: Encoding, seed: int) -> None:
        """Learn from pixels drawn evenly from all pairs."""
        from sklearn.ensemble import RandomForestClassifier

        rng = np.random.default_rng(seed)
        load = Loader(pairs, encoding, limit=0)
        share = max(1, SAMPLED_PIXELS // len(pairs))
        samples, labels = [], []
        for index in range(len(pairs)):
            image, mask = load(index)
            small = self.reduce(image)
            mask = cv2.resize(mask, small.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT).ravel()
            known = np.flatnonzero(mask != VOID)
            chosen = rng.choice(known, min(share, len(known)), replace=False)
            samples.append(features(self.pixel_range.unit(small))[chosen])
            labels.append(mask[chosen])
        self.forest = RandomForestClassifier(
            n_estimators=60, min_samples_leaf=4, n_jobs=os.cpu_count(), random_state=seed
        )
        self.forest.fit(np.concatenate(samples), np.concatenate(labels))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W, C) → class indices uint8 (H, W), at the image's own resolution."""
        small = self.reduce(image)
        scores = self.forest.predict_proba(features(self.pixel_range.unit(small))).astype(np.float32)
        scores = resize_channels(scores.reshape(*small.shape[:2], -1), image.shape[:2])
        return self.forest.classes_[scores.argmax(-1)].astype(np.uint8)

    def reduce(self, image: np.ndarray) -> np.ndarray:
        height, width = self.size or image.shape[:2]
        factor = min(1, LONGEST_SIDE / max(height, width))
        return resize_image(image, (max(1, round(height * factor)), max(1, round(width * factor))))


def features(unit: np.ndarray) -> np.ndarray:
    """float32 (H, W, C), 0 to 1 → float32 (H·W, F): colour and, at each blur, colour and slope of the brightness."""
    if unit.shape[2] == 3:
        color = cv2.transform(unit, RGB_TO_YIQ)
    else:
        color = np.concatenate([unit.mean(-1, keepdims=True), unit], -1)
    planes = [color]
    for sigma in BLURS:
        blurred = by_four_channels(color, cv2.GaussianBlur, (0, 0), sigma)
        slope = [cv2.Sobel(blurred[..., 0], cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1))]
        planes += [blurred, np.hypot(*slope)[..., None]]
    return np.concatenate(planes, -1).reshape(unit.shape[0] * unit.shape[1], -1)
