"""Scores of confusion matrices, and calibration: numbers made by hand, and scikit-learn as the oracle."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from data_pipeline.encoding import VOID
from engine.scoring import confusion
from engine.scoring.calibration import BINS, calibration_counts, expected_calibration_error, reliability
from engine.scoring.confusion import confusion_matrix

TRUTH = np.array([[0, 0, 1, 1], [2, 2, VOID, VOID]], np.uint8)
GUESS = np.array([[0, 1, 1, 1], [2, 0, 0, 2]], np.uint8)


def test_scores_by_hand():
    matrix = confusion_matrix(TRUTH, GUESS, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert matrix.dtype == np.int64
    np.testing.assert_allclose(confusion.iou(matrix), [1 / 3, 2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(confusion.dice(matrix), [2 / 4, 4 / 5, 2 / 3, np.nan])
    np.testing.assert_allclose(confusion.precision(matrix), [1 / 2, 2 / 3, 1, np.nan])
    np.testing.assert_allclose(confusion.recall(matrix), [1 / 2, 1, 1 / 2, np.nan])
    assert confusion.mean_iou(matrix) == pytest.approx(1 / 2)
    assert confusion.overlaps(matrix).tolist() == [[1, 3], [2, 3], [1, 2], [0, 0]]
    assert confusion.mean_iou_of(confusion.overlaps(matrix)) == pytest.approx(1 / 2)
    assert confusion.balanced_accuracy(matrix) == pytest.approx(2 / 3)
    assert confusion.pixel_accuracy(matrix) == pytest.approx(4 / 6)


def test_leading_axes_are_matrices_of_their_own():
    matrices = np.stack([confusion_matrix(TRUTH, GUESS, 4), confusion_matrix(TRUTH, np.zeros_like(GUESS), 4)])
    for score in (confusion.iou, confusion.mean_iou, confusion.balanced_accuracy, confusion.pixel_accuracy):
        np.testing.assert_array_equal(score(matrices), [score(matrix) for matrix in matrices])


def test_predictions_inside_void_change_no_score():
    other = GUESS.copy()
    other[1, 2:] = (1, 3)
    one, two = (confusion_matrix(TRUTH, guess, 4) for guess in (GUESS, other))
    assert (one == two).all()


def test_all_void_has_no_score():
    matrix = confusion_matrix(np.full((2, 2), VOID), np.zeros((2, 2), int), 2)
    for score in (confusion.mean_iou, confusion.balanced_accuracy, confusion.pixel_accuracy):
        assert np.isnan(score(matrix))


@pytest.mark.parametrize(("truth", "guess"), [([0, 3], [0, 0]), ([0, 1], [0, 3]), ([0, 1], [0])])
def test_labels_out_of_range_are_refused(truth, guess):
    with pytest.raises(ValueError):
        confusion_matrix(np.array(truth), np.array(guess), 3)


@settings(deadline=None, max_examples=150)
@given(st.integers(2, 6), st.floats(0, 1), st.integers(0, 10**6))
def test_scores_agree_with_scikit_learn(classes, void, seed):
    """Random masks with void; classes may be absent from the truth, the prediction, or both."""
    rng = np.random.default_rng(seed)
    present = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
    truth = rng.choice(present, (9, 11))
    guess = rng.choice(rng.choice(classes, rng.integers(1, classes + 1), replace=False), (9, 11))
    truth[rng.random((9, 11)) < void] = VOID
    counted = truth != VOID
    if not counted.any():
        return
    labels = list(range(classes))
    matrix = confusion_matrix(truth, guess, classes)
    y, p = truth[counted], guess[counted]
    assert (matrix == sklearn.confusion_matrix(y, p, labels=labels)).all()
    in_truth, in_guess = np.isin(labels, y), np.isin(labels, p)
    every = {"labels": labels, "average": None, "zero_division": 0}
    for score, oracle, defined in (
        (confusion.iou, sklearn.jaccard_score, in_truth | in_guess),
        (confusion.dice, sklearn.f1_score, in_truth | in_guess),
        (confusion.precision, sklearn.precision_score, in_guess),
        (confusion.recall, sklearn.recall_score, in_truth),
    ):
        expected = np.where(defined, oracle(y, p, **every), np.nan)
        np.testing.assert_allclose(score(matrix), expected, rtol=0, atol=1e-9)
    either = [label for label in labels if in_truth[label] or in_guess[label]]
    miou = sklearn.jaccard_score(y, p, labels=either, average="macro", zero_division=0)
    assert confusion.mean_iou(matrix) == pytest.approx(miou, abs=1e-9)
    recall = sklearn.recall_score(y, p, labels=[label for label in labels if in_truth[label]], average="macro")
    assert confusion.balanced_accuracy(matrix) == pytest.approx(recall, abs=1e-9)
    assert confusion.pixel_accuracy(matrix) == pytest.approx(sklearn.accuracy_score(y, p), abs=1e-9)


def test_calibration_by_hand():
    """Two pixels at 0.8 (one right), two at 0.6 (both right), and one that never counts."""
    confidence = np.array([[0.8, 0.8, 0.6, 0.6, 0.99]], np.float32)
    probabilities = np.stack([confidence, 1 - confidence], -1)
    truth = np.array([[0, 1, 0, 0, VOID]], np.uint8)
    counts = calibration_counts(probabilities, truth)
    assert counts.shape == (BINS, 3) and counts[:, 0].sum() == 4
    assert expected_calibration_error(counts) == pytest.approx((2 * 0.3 + 2 * 0.4) / 4, abs=1e-6)
    first, second = reliability(counts)
    assert first == {"confidence": pytest.approx(0.6), "accuracy": 1.0, "share": 0.5}
    assert second == {"confidence": pytest.approx(0.8), "accuracy": 0.5, "share": 0.5}


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_calibration_agrees_with_a_loop_over_bins(classes, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes) * 0.5, (7, 8)).astype(np.float32)
    truth = rng.choice([*range(classes), VOID], (7, 8)).astype(np.uint8)
    counted = truth != VOID
    confidence, right = probabilities.max(-1)[counted], (probabilities.argmax(-1) == truth)[counted]
    expected, edges = 0.0, np.linspace(0, 1, BINS + 1)
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.sum() * abs(confidence[inside].astype(float).mean() - right[inside].mean())
    counts = calibration_counts(probabilities, truth)
    assert expected_calibration_error(counts) == pytest.approx(expected / counted.sum(), abs=1e-9)


def test_an_image_without_labels_has_no_calibration():
    counts = calibration_counts(np.full((2, 2, 2), 0.5, np.float32), np.full((2, 2), VOID, np.uint8))
    assert np.isnan(expected_calibration_error(counts)) and reliability(counts) == []
