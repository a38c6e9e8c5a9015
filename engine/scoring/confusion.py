"""Scores from integer confusion matrices. Void never counts; an absent class is NaN, not 0.

All functions of a matrix take any number of leading axes: (…, C, C).
"""

import numpy as np

from data_pipeline.encoding import VOID


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


def hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float64 (…, C); NaN where truth and prediction lack it."""
    return ratio(hits(confusion), confusion.sum(-1) + confusion.sum(-2) - hits(confusion))


def dice(confusion: np.ndarray) -> np.ndarray:
    """2·intersection / (truth + prediction) of each class, float64 (…, C); NaN where both lack it."""
    return ratio(2 * hits(confusion), confusion.sum(-1) + confusion.sum(-2))


def precision(confusion: np.ndarray) -> np.ndarray:
    """Share of the pixels predicted as a class that are of it, float64 (…, C); NaN where none is predicted."""
    return ratio(hits(confusion), confusion.sum(-2))


def recall(confusion: np.ndarray) -> np.ndarray:
    """Share of a class's true pixels that are predicted, float64 (…, C); NaN where the truth lacks it."""
    return ratio(hits(confusion), confusion.sum(-1))


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """Mean IoU over the classes that occur, float64 (…); NaN if none does."""
    return mean_of_known(iou(confusion))


def overlaps(confusion: np.ndarray) -> np.ndarray:
    """Intersection and union of each class, (…, C, 2): all that IoU needs, for what resamples it many times."""
    return np.stack([hits(confusion), confusion.sum(-1) + confusion.sum(-2) - hits(confusion)], axis=-1)


def mean_iou_of(overlaps: np.ndarray) -> np.ndarray:
    """As ``mean_iou``, from ``overlaps`` (…, C, 2)."""
    return mean_of_known(ratio(overlaps[..., 0], overlaps[..., 1]))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall over the classes in the truth, float64 (…); NaN if there is none."""
    return mean_of_known(recall(confusion))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean F1 (which is Dice) over the classes that occur, float64 (…); NaN if none does."""
    return mean_of_known(dice(confusion))


def pixel_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of the labelled pixels that are right, float64 (…); NaN if none is labelled."""
    return ratio(hits(confusion).sum(-1), confusion.sum((-1, -2)))


def right_and_all(confusion: np.ndarray) -> np.ndarray:
    """Count the right answers, and all, (…, 2): all that accuracy needs."""
    return np.stack([hits(confusion).sum(-1), confusion.sum((-1, -2))], axis=-1)


def accuracy_of(right_and_all: np.ndarray) -> np.ndarray:
    """As ``pixel_accuracy``, from ``right_and_all`` (…, 2)."""
    return ratio(right_and_all[..., 0], right_and_all[..., 1])


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean along the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def ratio(numerator, denominator) -> np.ndarray:
    """numerator / denominator, NaN where the denominator is not above 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
