"""Losses, and the score that Keras shows, against numbers worked out by hand."""

import keras
import numpy as np
import pytest

from data_pipeline.encoding import VOID
from engine.scoring.confusion import confusion_matrix, mean_iou
from engine.training import metrics
from engine.training.losses import LOSSES, PixelLoss, cross_entropy, dice
from models import build_model

# Probabilities (0.75, 0.25), (0.5, 0.5), (0.2, 0.8), and a pixel that never counts.
LOGITS = np.log(np.array([[[[3, 1], [1, 1], [1, 4], [9, 1]]]], np.float32))
LABELS = np.array([[[0, 1, 1, VOID]]], np.uint8)
WEIGHT = np.array([[[1, 1, 2, 0]]], np.float32)


def test_cross_entropy_by_hand():
    expected = -(np.log(0.75) + np.log(0.5) + 2 * np.log(0.8)) / 4
    assert float(cross_entropy(LABELS, LOGITS, WEIGHT)) == pytest.approx(expected, abs=1e-6)


def test_dice_by_hand():
    # Class 0: Σwyp = 0.75, Σwy = 1, Σwp = 0.75 + 0.5 + 0.4. Class 1: Σwyp = 0.5 + 1.6, Σwy = 3, Σwp = 0.25 + 0.5 + 1.6.
    zero = (2 * 0.75 + 1) / (1 + 1.65 + 1)
    one = (2 * 2.1 + 1) / (3 + 2.35 + 1)
    assert float(dice(LABELS, LOGITS, WEIGHT)) == pytest.approx(1 - (zero + one) / 2, abs=1e-6)


def test_the_blogs_dice_on_one_logit():
    """1 − (2Σyp + 1) / (Σy + Σp + 1) over the whole batch, on the foreground alone."""
    p = np.array([0.9, 0.2, 0.6])
    y = np.array([1, 0, 1])
    logits = np.log(p / (1 - p)).reshape(1, 1, 3, 1).astype(np.float32)
    expected = 1 - (2 * (y * p).sum() + 1) / (y.sum() + p.sum() + 1)
    assert float(dice(y.reshape(1, 1, 3), logits, np.ones((1, 1, 3), np.float32))) == pytest.approx(expected, abs=1e-6)


def test_cross_entropy_on_one_logit():
    logits = np.array([[[[2.0], [-1.0]]]], np.float32)
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    labels = np.array([[[1, 0]]])
    assert float(cross_entropy(labels, logits, np.ones((1, 1, 2), np.float32))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_void_never_counts(name):
    other = LOGITS.copy()
    other[0, 0, 3] = (50, -50)
    loss = PixelLoss(name)
    assert float(loss(LABELS, LOGITS, WEIGHT)) == float(loss(LABELS, other, WEIGHT))
    nothing = np.zeros_like(WEIGHT)
    assert float(loss(LABELS, LOGITS, nothing)) == pytest.approx(0.0)


def test_sums_of_losses():
    one, other, both = (float(PixelLoss(name)(LABELS, LOGITS, WEIGHT)) for name in ("ce", "dice", "ce+dice"))
    assert both == pytest.approx(one + other, abs=1e-6)


def test_the_metric_compiles_with_xla():
    """Keras turns XLA on by itself on a GPU."""
    model = build_model("unet", 3, width=2, depth=1)
    model.compile("sgd", PixelLoss("ce+dice"), weighted_metrics=[metrics.MeanIoU(3)], jit_compile=True)
    images, labels = np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 32, 32), np.uint8)
    logs = model.fit(images, labels, sample_weight=np.ones((2, 32, 32), np.float32), verbose=0).history
    assert np.isfinite(logs["loss"][0]) and 0 <= logs["miou"][0] <= 1


def test_the_keras_metric_pools_like_the_numpy_one():
    rng = np.random.default_rng(0)
    metric, total = metrics.MeanIoU(4), np.zeros((4, 4), np.int64)
    for _ in range(3):
        truth = rng.choice([0, 1, 2, VOID], (2, 8, 8)).astype(np.uint8)
        logits = rng.normal(size=(2, 8, 8, 4)).astype(np.float32)
        logits[..., 3] = -9
        metric.update_state(truth, logits, (truth != VOID).astype(np.float32))
        total += confusion_matrix(truth, logits.argmax(-1), 4)
    assert (keras.ops.convert_to_numpy(metric.confusion) == total).all()
    assert float(metric.result()) == pytest.approx(mean_iou(total), abs=1e-6)
