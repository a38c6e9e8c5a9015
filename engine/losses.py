"""Losses on logits, through the batch's weight. They know nothing else: void and padding weigh 0.

Each takes labels (B, H, W) of any integer type, logits (B, H, W, C) and weight (B, H, W), and returns one
float32 number. A label that is no class (void) contributes nothing, whatever the (finite) logits there.
"""

import keras
from keras import ops


def class_logits(logits):
    """Logits of at least two channels: one sigmoid logit x becomes [0, x], whose softmax is [1 − σ(x), σ(x)]."""
    logits = ops.cast(logits, "float32")
    if logits.shape[-1] > 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)


def cross_entropy(labels, logits, weight):
    """Σ w·(−log p of the true class) / Σ w; 0 for a batch that is void throughout."""
    logits = class_logits(logits)
    true = ops.one_hot(ops.cast(labels, "int32"), logits.shape[-1])  # void: a row of zeros
    pixels = -ops.sum(true * ops.log_softmax(logits), axis=-1)
    return ops.sum(weight * pixels) / ops.maximum(ops.sum(weight), 1e-6)


def dice(labels, logits, weight):
    """1 − mean over classes of (2Σwyp + 1) / (Σwy + Σwp + 1), each sum over the whole batch.

    With one logit: the blog's loss, on the foreground class alone. Milletari et al. 2016 (arXiv
    1606.04797), section 3, with the blog's smoothing and without its squares.
    """
    foreground_alone = logits.shape[-1] == 1
    predicted = ops.softmax(class_logits(logits))
    true = ops.one_hot(ops.cast(labels, "int32"), predicted.shape[-1])
    weight = ops.expand_dims(weight, -1)
    overlap = ops.sum(weight * true * predicted, axis=(0, 1, 2))  # (C,)
    total = ops.sum(weight * (true + predicted), axis=(0, 1, 2))
    coefficient = (2 * overlap + 1) / (total + 1)
    return 1 - (coefficient[1] if foreground_alone else ops.mean(coefficient))


LOSSES = {
    "ce": (cross_entropy,),
    "dice": (dice,),
    "ce+dice": (cross_entropy, dice),
}


class PixelLoss(keras.losses.Loss):
    """A sum of losses from the table, for model.compile; the sample weight is the batch's weight."""

    def __init__(self, name):
        super().__init__(name=name)
        self.terms = LOSSES[name]

    def __call__(self, y_true, y_pred, sample_weight=None):
        weight = ops.ones(ops.shape(y_true), "float32") if sample_weight is None else sample_weight
        return sum(term(y_true, y_pred, ops.cast(weight, "float32")) for term in self.terms)
