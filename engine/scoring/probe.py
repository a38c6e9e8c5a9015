"""The probe: logistic regression on the maps of the pretrained encoder that a run began with, as it was then.

A linear classifier on frozen features (Alain, Bengio 2016, arXiv 1610.01644), of each pixel on the maps of all scales,
upsampled to the image (the hypercolumns of Hariharan et al. 2015, arXiv 1411.5752). A pixel's logits are linear in its
features and so is upsampling, so prediction upsamples the logits of each scale, which are fewer.
"""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.encoding import VOID
from data_pipeline.loader import Loader, window
from engine.predictor import Predictor
from engine.run import Run
from models import MODELS, build_model, halves

SAMPLED_PIXELS = 20_000
CROPS = 4  # of each image, where training sees crops
STEPS = (2, 4, 8, 16, 32)  # pixels of the image to one of each map
STRENGTH = 0.01  # C of scikit-learn, on standardised features: docs/results.md
UNSEEN = -1e4  # logit of a class that no sampled pixel has


def fit_probe(run: Run) -> Predictor | None:
    """Return what makes masks of images by the probe, fitted on the run's training part.

    None for a run whose network has no pretrained encoder, and, with a note, where its weights are gone.
    """
    name, weights = run.config["model"], run.config["weights"]
    if not MODELS[name].pretrained or weights in (None, "none"):
        return None
    pixel_range = run.pixel_range
    try:
        network = build_model(
            name,
            1,
            (None, None, pixel_range.channels),
            weights=weights,
            scale=pixel_range.factor,
            offset=pixel_range.offset,
        )
    except ValueError as error:
        print(f"note: without the encoder's weights there is no probe ({error})")
        return None
    encoder, _ = halves(network)
    features, labels = sampled(run, encoder)
    kernel, bias = logistic_regression(features, labels, run.encoding.num_classes)
    return Predictor(Linear(encoder, kernel, bias), name, run.frame)


def sampled(run: Run, encoder: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 (N, F) and classes (N,) of pixels drawn evenly from all training images."""
    rng = np.random.default_rng(run.config["seed"])
    load, many = Loader(run.split.train, run.encoding, run.frame.size, limit=0), CROPS if run.frame.crops else 1
    share = max(1, SAMPLED_PIXELS // (many * len(load.pairs)))
    features, labels = [], []
    for image, mask in windows(load, run.frame.tile, many, rng):
        known = np.argwhere(mask != VOID)
        chosen = known[rng.choice(len(known), min(share, len(known)), replace=False)]
        maps = [each.numpy()[0] for each in encoder(image[None], training=False)]
        each = [at_pixels(one, chosen, step) for one, step in zip(maps, STEPS, strict=True)]
        features.append(np.concatenate(each, axis=1))
        labels.append(mask[tuple(chosen.T)])
    return np.concatenate(features), np.concatenate(labels)


def windows(load: Loader, tile: tuple[int, int], many: int, rng) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Windows of each image as the network sees them, (H, W, C), and their masks, as far as there is an image."""
    for index in range(len(load.pairs)):
        image, mask = load(index)
        for _ in range(many):
            top, left = (
                int(rng.integers(max(1, side - seen + 1))) for side, seen in zip(mask.shape, tile, strict=True)
            )
            yield window(image, top, left, tile), mask[top : top + tile[0], left : left + tile[1]]


def at_pixels(values: np.ndarray, pixels: np.ndarray, step: int) -> np.ndarray:
    """A map (h, w, c), one value to ``step`` pixels, at pixels (N, 2) of the image, linear between values: (N, c)."""
    rows = []
    for axis in (0, 1):
        place = np.clip((pixels[:, axis] + 0.5) / step - 0.5, 0, values.shape[axis] - 1)
        before = place.astype(int)
        rows.append((before, np.minimum(before + 1, values.shape[axis] - 1), (place - before)[:, None]))
    (top, bottom, down), (left, right, along) = rows
    above = values[top, left] * (1 - along) + values[top, right] * along
    below = values[bottom, left] * (1 - along) + values[bottom, right] * along
    return (above * (1 - down) + below * down).astype(np.float32)


def logistic_regression(features: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel float32 (F, classes) and bias (classes,) of the logits of features as they are, not standardised."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    kernel, bias = np.zeros((features.shape[1], classes), np.float32), np.full(classes, UNSEEN, np.float32)
    seen = np.unique(labels)
    if len(seen) == 1:
        bias[seen] = 0
        return kernel, bias
    scaler = StandardScaler().fit(features)
    fitted = LogisticRegression(C=STRENGTH, max_iter=300).fit(scaler.transform(features), labels)
    coefficients, offsets = fitted.coef_, fitted.intercept_
    if len(seen) == 2:  # one logit, of the second
        coefficients, offsets = np.stack([0 * coefficients[0], coefficients[0]]), np.array([0, offsets[0]])
    kernel[:, seen] = (coefficients / scaler.scale_).T
    bias[seen] = offsets - (coefficients / scaler.scale_) @ scaler.mean_
    return kernel, bias


class Linear:
    """Raw pixels (B, H, W, C) → logits float32 (B, H, W, classes): of each map, upsampled, and their sum.

    Args:
        encoder: raw pixels → maps, of which STEPS says the resolution.
        kernel: float32 (F, classes), F being the channels of all maps.
        bias: float32 (classes,).
    """

    def __init__(self, encoder: keras.Model, kernel: np.ndarray, bias: np.ndarray):
        self.encoder, self.bias, self.input_shape = encoder, bias, encoder.input_shape
        ends = np.cumsum([maps.shape[-1] for maps in encoder.outputs])
        self.kernels = np.split(kernel, ends[:-1])

    def __call__(self, images, training: bool = False):
        size, logits = tf.shape(images)[1:3], self.bias
        for maps, kernel in zip(self.encoder(images, training=False), self.kernels, strict=True):
            logits = logits + tf.image.resize(tf.cast(maps, tf.float32) @ kernel, size)
        return logits
