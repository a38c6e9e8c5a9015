"""Scores from one integer confusion matrix. Void never counts; an absent class is NaN, not 0."""

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.encoding import VOID

from .losses import class_logits


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels by true class (row) and predicted class (column), int64 (C, C).

    Args:
        truth: integers of any shape, classes 0…C−1, void 255 (left out).
        prediction: integers of the same shape, 0…C−1 wherever truth is not void.

    Raises:
        ValueError: for shapes that differ, or a class out of range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    counted = truth != VOID
    truth, prediction = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"{name} holds {labels.min()}…{labels.max()}, 0…{num_classes - 1} wanted")
    cells = np.bincount(truth * num_classes + prediction, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float64 (C,); NaN where truth and prediction lack it."""
    hits = np.diag(confusion)
    return ratio(hits, confusion.sum(0) + confusion.sum(1) - hits)


def dice(confusion: np.ndarray) -> np.ndarray:
    """2·intersection / (truth + prediction) of each class, float64 (C,); NaN where both lack it."""
    return ratio(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1))


def mean_iou(confusion: np.ndarray) -> float:
    """Mean IoU over the classes that occur; NaN if none does."""
    values = iou(confusion)
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def pixel_accuracy(confusion: np.ndarray) -> float:
    return float(ratio(np.trace(confusion), confusion.sum()))


def ratio(numerator, denominator):
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


class MeanIoU(keras.metrics.Metric):
    """Pooled mIoU over an epoch; ``confusion`` holds the matrix, int64 (C, C). Pixels of weight 0 are left out."""

    def __init__(self, num_classes, name="miou"):
        super().__init__(name=name, dtype="float32")
        self.num_classes = num_classes
        self.confusion = self.add_variable((num_classes, num_classes), "zeros", "int64", name="confusion")

    def update_state(self, y_true, y_pred, sample_weight=None):
        # Products of one-hot vectors, not a histogram: XLA, which Keras turns on on a GPU, compiles no bincount.
        # float32 counts exactly to 2**24 pixels, so each image is counted alone.
        logits = class_logits(y_pred)
        predicted = tf.one_hot(tf.argmax(logits, axis=-1), self.num_classes)
        true = tf.one_hot(tf.cast(y_true, tf.int32), self.num_classes)  # void: a row of zeros
        if sample_weight is not None:
            true *= tf.cast(tf.expand_dims(sample_weight, -1) > 0, tf.float32)
        per_image = tf.einsum("bhwt,bhwp->btp", true, predicted)  # (B, C, C)
        self.confusion.assign_add(tf.reduce_sum(tf.cast(per_image, tf.int64), axis=0))

    def result(self):
        confusion = tf.cast(self.confusion, tf.float64)
        hits = tf.linalg.diag_part(confusion)
        union = tf.reduce_sum(confusion, 0) + tf.reduce_sum(confusion, 1) - hits
        occurs = tf.cast(union > 0, tf.float64)
        total = tf.reduce_sum(tf.math.divide_no_nan(hits, union))
        return tf.cast(total / tf.reduce_sum(occurs), tf.float32)  # NaN if no class occurs
