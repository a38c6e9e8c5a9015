"""Precision and recall at every threshold: numbers worked out by hand, and scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from engine.scoring import confusion
from engine.scoring.thresholds import BINS, STEPS, average_precision, threshold_counts, threshold_curve

VOID = 255


def as_probabilities(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], -1).astype(np.float32)


def drawn(seed: int, size=(40, 50)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, VOID], size, p=[0.6, 0.3, 0.1]).astype(np.uint8)
    return as_probabilities(np.clip(rng.normal(0.35 + 0.3 * (truth == 1), 0.2), 0, 1)), truth


def test_four_pixels_by_hand():
    """0.2 and 0.55 of the first class, 0.5 and 0.9 of the second; one void."""
    counts = threshold_counts(as_probabilities(np.array([[0.2, 0.55, 0.5, 0.9, 0.7]])), np.array([[0, 0, 1, 1, VOID]]))
    assert counts.shape == (2, BINS) and counts.sum() == 4
    curve = threshold_curve(counts)
    at = {threshold: {key: curve[key][int(100 * threshold)] for key in curve} for threshold in (0.1, 0.5, 0.6, 0.95)}
    assert at[0.1] == pytest.approx({"threshold": 0.1, "precision": 0.5, "recall": 1, "iou": 0.5})
    assert at[0.5] == pytest.approx({"threshold": 0.5, "precision": 0.5, "recall": 0.5, "iou": 1 / 3})
    assert at[0.6] == pytest.approx({"threshold": 0.6, "precision": 1, "recall": 0.5, "iou": 0.5})
    assert np.isnan(at[0.95]["precision"]) and at[0.95]["recall"] == 0 == at[0.95]["iou"]


def test_at_one_half_it_is_the_mask():
    probabilities, truth = drawn(0)
    curve = threshold_curve(threshold_counts(probabilities, truth))
    matrix = confusion.confusion_matrix(truth, probabilities.argmax(-1), 2)
    for key, score in {"precision": confusion.precision, "recall": confusion.recall, "iou": confusion.iou}.items():
        assert curve[key][STEPS // 2] == score(matrix)[1]


def test_images_are_pooled_by_sums():
    (first, true_first), (second, true_second) = drawn(1), drawn(2)
    both = threshold_counts(np.concatenate([first, second]), np.concatenate([true_first, true_second]))
    np.testing.assert_array_equal(both, threshold_counts(first, true_first) + threshold_counts(second, true_second))


def test_average_precision_is_scikit_learns():
    probabilities, truth = drawn(3)
    known = truth != VOID
    rounded = np.ceil(STEPS * (p := probabilities[known].astype(float))[:, 1] / p.sum(-1))
    expected = average_precision_score(truth[known], rounded)
    assert average_precision(threshold_counts(probabilities, truth)) == pytest.approx(expected)


def test_without_the_second_class_there_is_nothing_to_average():
    probabilities, truth = drawn(4)
    assert np.isnan(average_precision(threshold_counts(probabilities, np.zeros_like(truth))))
    assert not threshold_counts(probabilities, np.full_like(truth, VOID)).any()
