"""Weights of pixels against numbers worked out by hand, and U-Net's border weights against its formula done slowly."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from data_pipeline.encoding import VOID
from data_pipeline.weights import BORDER_CUT, BORDER_SIGMA, BORDER_WEIGHT, pixel_weights

ONES = np.ones(3, np.float32)


def border(d1, d2):
    return 10 * np.exp(-((d1 + d2) ** 2) / 50)


def test_classes_weigh_what_the_table_says_and_void_nothing():
    mask = np.array([[0, 1, 2], [VOID, 3, 2]], np.uint8)  # 3 is no class here
    weights = pixel_weights(mask, np.array([1, 0.5, 4], np.float32))
    assert weights.dtype == np.float32
    assert weights.tolist() == [[1, 0.5, 4], [0, 0, 4]]


def test_between_two_bars_by_hand():
    mask = np.zeros((5, 9), np.uint8)
    mask[:, 1:4] = mask[:, 6:8] = 1
    weights = pixel_weights(mask, np.array([1, 2, 1], np.float32), border=True)
    assert weights.dtype == np.float32
    assert weights[2].tolist() == pytest.approx(
        [
            1 + border(1, 6),
            2 + border(0, 5),
            2 + border(0, 4),
            2 + border(0, 3),
            1 + border(1, 2),
            1 + border(2, 1),
            2 + border(0, 3),
            2 + border(0, 4),
            1 + border(1, 5),
        ],
        abs=1e-5,
    )
    assert (weights == weights[2]).all(), "the bars run over the whole height"


def test_fewer_than_two_cells_have_no_border():
    mask = np.zeros((9, 9), np.uint8)
    assert (pixel_weights(mask, ONES, border=True) == 1).all()
    mask[2:5, 2:7] = 1
    assert (pixel_weights(mask, ONES, border=True) == 1).all()


def test_background_and_what_is_no_class_are_no_cells():
    mask = np.zeros((7, 7), np.uint8)
    mask[3] = 1  # parts the background in two
    mask[0, 0], mask[6, 6] = VOID, 3
    expected = np.ones((7, 7))
    expected[0, 0] = expected[6, 6] = 0
    assert (pixel_weights(mask, ONES, border=True) == expected).all()


def test_void_stays_0_between_cells():
    mask = np.array([[1, 1, VOID, VOID, 0, 2, 2]], np.uint8)
    weights = pixel_weights(mask, ONES, border=True)
    assert weights[0].tolist() == pytest.approx(
        [1 + border(0, 5), 1 + border(0, 4), 0, 0, 1 + border(1, 3), 1 + border(0, 4), 1 + border(0, 5)], abs=1e-5
    )


def test_objects_that_touch_at_a_corner_are_two_cells():
    mask = np.array([[1, 0], [0, 1]], np.uint8)
    assert pixel_weights(mask, ONES, border=True) == pytest.approx(
        1 + np.array([[border(0, np.sqrt(2)), border(1, 1)], [border(1, 1), border(0, np.sqrt(2))]]), abs=1e-5
    )


def test_classes_that_touch_are_two_cells():
    mask = np.array([[1, 1, 2, 2]], np.uint8)
    assert pixel_weights(mask, ONES, border=True)[0].tolist() == pytest.approx(
        [1 + border(0, 2), 1 + border(0, 1), 1 + border(0, 1), 1 + border(0, 2)], abs=1e-5
    )


@pytest.mark.parametrize(("gap", "expected"), [(18, border(0, 18)), (19, 0)])
def test_the_border_is_cut_where_it_is_a_thousandth(gap, expected):
    """Between two pixels of one row, d1 + d2 is their distance everywhere."""
    mask = np.zeros((1, 60), np.uint8)
    mask[0, [20, 20 + gap]] = 1
    weights = pixel_weights(mask, ONES, border=True)
    assert weights[0, 20 : 21 + gap] == pytest.approx(1 + expected, abs=1e-5)
    assert border(0, 19) < BORDER_CUT * BORDER_WEIGHT < border(0, 18)


def test_a_weight_of_0_is_no_void():
    mask = np.array([[1, 0, 1]], np.uint8)
    weights = pixel_weights(mask, np.array([0, 1], np.float32), border=True)
    assert weights[0, 1] == pytest.approx(border(1, 1), abs=1e-5)


def slow_weights(mask, class_weights):
    """Equation 2 of the paper: distances from each pixel to each pixel of each cell."""
    pixels = np.indices(mask.shape).reshape(2, -1)
    distances = []
    for label in range(1, len(class_weights)):
        cells, count = ndimage.label(mask == label)
        for cell in range(1, count + 1):
            members = np.argwhere(cells == cell).T  # (2, n)
            distances.append(np.hypot(*(pixels[:, :, None] - members[:, None, :])).min(1))
    weights = np.zeros(mask.shape)
    inside = mask < len(class_weights)
    weights[inside] = class_weights[mask[inside]]
    if len(distances) >= 2:
        term = np.exp(-(np.sort(distances, axis=0)[:2].sum(0) ** 2) / (2 * BORDER_SIGMA**2)).reshape(mask.shape)
        weights += BORDER_WEIGHT * term * inside * (term >= BORDER_CUT)
    return weights


MASKS = array_shapes(min_dims=2, max_dims=2, max_side=32).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([1, 2, 3, VOID]), fill=st.just(0))
)


@given(MASKS)
def test_border_weights_are_the_papers(mask):
    class_weights = np.array([1, 0.5, 2], np.float32)
    assert pixel_weights(mask, class_weights, border=True) == pytest.approx(slow_weights(mask, class_weights), abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_border_weights_of_shapes_are_the_papers(seed):
    """Random rectangles, wider than the reach, of which later ones hide parts of earlier ones."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((64, 80), np.uint8)
    for label in (1, 2, 1, VOID, 0, 2):
        top, left = rng.integers(0, 60, 2)
        mask[top : top + rng.integers(3, 30), left : left + rng.integers(3, 30)] = label
    class_weights = np.array([1, 0.5, 2], np.float32)
    assert pixel_weights(mask, class_weights, border=True) == pytest.approx(slow_weights(mask, class_weights), abs=1e-4)
