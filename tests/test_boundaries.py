"""Boundary scores against numbers worked out by hand, the published package, and definitions spelled out slowly."""

import math
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.spatial import KDTree

from data_pipeline.encoding import VOID
from engine.scoring.boundaries import boundary_f1, boundary_iou, measure, squared_distances, tolerance

CORNER = math.sqrt(0.5)  # length of a contour that cuts a corner
small_masks = st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(
    lambda size: st.tuples(
        arrays(np.uint8, size, elements=st.sampled_from([0, 0, 1, 1, 2, VOID])),
        arrays(np.uint8, size, elements=st.integers(0, 2)),
    )
)


def with_square(top, left, side=10, size=(30, 40)):
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def left_of(column, size=(20, 30)):
    return np.broadcast_to(np.arange(size[1]) < column, size).astype(np.uint8)


def scene(seed: int, is_noise: bool, size=(45, 60), num_classes: int = 4) -> np.ndarray:
    """Blobs or noise of several classes inside a frame of class 0."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(num_classes, *size))
    fields[rng.integers(1, num_classes)] -= rng.integers(0, 2)  # a class that is rare
    if not is_noise:
        fields = np.array([ndimage.gaussian_filter(field, 3) for field in fields])
    labels = fields.argmax(0).astype(np.uint8)
    labels[[0, -1]] = labels[:, [0, -1]] = 0
    return labels


def test_boundary_iou_by_hand():
    # The diagonal is 50 pixels, so a region is one pixel wide: two rings of 36 pixels which share 9 of their upper
    # and 9 of their lower sides.
    region = measure(with_square(10, 10), with_square(10, 11), 2).region
    assert region.dtype == np.int64
    assert region[1].tolist() == [18, 54]
    assert boundary_iou(region)[1] == pytest.approx(1 / 3)


def test_the_frame_bounds_a_region():
    everything = np.ones((30, 40), np.uint8)
    region = measure(everything, everything, 2).region
    assert region.tolist() == [[0, 0], [2 * 40 + 2 * 28, 2 * 40 + 2 * 28]]
    np.testing.assert_equal(boundary_iou(region), [np.nan, 1])


def test_regions_are_two_hundredths_of_the_diagonal_wide():
    mask = np.zeros((360, 480), np.uint8)  # diagonal 600, width 12
    mask[100:200, 100:200] = 1
    assert measure(mask, mask, 2).region[1].tolist() == [100**2 - 76**2] * 2


def slow_regions(truth, prediction, label):
    """As Cheng et al. say it: the mask less what erosion by 3×3 leaves, beyond the frame nothing."""
    width = max(1, round(0.02 * math.hypot(*truth.shape)))
    masks = [labels == label for labels in (truth, prediction)]
    rings = [mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width) for mask in masks]
    judged = truth != VOID
    return [(rings[0] & rings[1] & judged).sum(), ((rings[0] | rings[1]) & judged).sum()]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([(45, 60), (40, 120), (110, 150)]), void=st.booleans())
def test_regions_as_published(seed, size, void):
    truth, prediction = scene(seed, False, size), scene(seed + 1, False, size)
    truth[:, -1] = 3
    prediction[-5:] = 1
    if void:
        truth[scene(seed + 2, False, size) == 1] = VOID
    expected = [slow_regions(truth, prediction, label) for label in range(4)]
    assert measure(truth, prediction, 4).region.tolist() == expected


def test_a_square_against_itself():
    scores = measure(with_square(10, 10, 4), with_square(10, 10, 4), 2)
    length = 4 * 3 + 4 * CORNER
    np.testing.assert_allclose(scores.contour, [[length] * 4] * 2)
    assert scores.hausdorff95.tolist() == scores.average.tolist() == [0, 0]
    assert boundary_f1(scores.contour).tolist() == boundary_iou(scores.region).tolist() == [1, 1]


def test_two_pixels_by_hand():
    # Four elements around each, two columns of them, three apart: one column 3, the other 2 from the other pixel.
    scores = measure(with_square(5, 5, 1), with_square(5, 8, 1), 2)
    np.testing.assert_allclose(scores.contour[1], [4 * CORNER, 0, 4 * CORNER, 0])
    assert scores.hausdorff95[1] == 3
    assert scores.average[1] == pytest.approx(2.5)
    assert boundary_f1(scores.contour)[1] == 0


def test_pixels_across_are_twice_a_corner():
    mask = with_square(5, 5, 1) + with_square(6, 6, 1)
    assert measure(mask, mask, 2).contour[1, 0] == pytest.approx(6 * CORNER + 2 * CORNER)


def test_a_moved_edge_by_hand_and_the_frame_is_no_contour():
    # 19 elements between 20 rows, all two columns off, whichever side; nothing along the frame.
    scores = measure(left_of(10), left_of(12), 2)
    np.testing.assert_allclose(scores.contour, [[19, 0, 19, 0]] * 2)
    assert scores.hausdorff95.tolist() == scores.average.tolist() == [2, 2]
    scores = measure(left_of(10), left_of(11), 2)
    np.testing.assert_allclose(scores.contour, [[19, 19, 19, 19]] * 2)


def test_one_in_twenty_may_lie_farther_off():
    # Beside an edge of 101 elements, specks of four corners each, 20 and 21 columns off: one is 2.7% of the contour,
    # two are 5.3%, whose nearer part the robust distance must reach.
    truth = left_of(30, (102, 60))
    one, two = truth.copy(), truth.copy()
    one[20, 50] = two[20, 50] = two[70, 50] = 1
    assert [measure(truth, prediction, 2).hausdorff95[1] for prediction in (truth, one, two)] == [0, 0, 20]
    assert measure(two, truth, 2).hausdorff95[1] == 20


def test_boundary_f1_by_hand():
    contour = np.array([[[10, 5, 8, 2], [10, 0, 8, 0], [0, 0, 8, 0], [10, 0, 0, 0], [0, 0, 0, 0]]])
    expected = [[2 * 0.5 * 0.25 / 0.75, 0, 0, 0, np.nan]]
    np.testing.assert_allclose(boundary_f1(contour), expected)
    np.testing.assert_allclose(boundary_f1(contour.repeat(3, 0).sum(0)), expected[0])


def test_tolerance():
    assert tolerance((360, 480)) == pytest.approx(4.5)
    assert tolerance((64, 64)) == 1


def test_the_tolerance_scales_with_the_image():
    # Diagonals of 500 and 400 pixels: 3.75 and 3 pixels, which an edge 3 pixels off just meets.
    for size, off, share in (((300, 400), 3, 1), ((300, 400), 4, 0), ((240, 320), 3, 1), ((240, 320), 4, 0)):
        assert boundary_f1(measure(left_of(50, size), left_of(50 + off, size), 2).contour)[1] == share


def test_a_class_that_one_side_lacks():
    nothing = np.zeros((30, 40), np.uint8)
    for truth, prediction in ((with_square(10, 10), nothing), (nothing, with_square(10, 10))):
        scores = measure(truth, prediction, 3)
        np.testing.assert_equal(boundary_f1(scores.contour), [0, 0, np.nan])
        np.testing.assert_equal(boundary_iou(scores.region)[1:], [0, np.nan])
        assert np.isnan(scores.hausdorff95).all() and np.isnan(scores.average).all()


def test_contours_at_void_are_not_judged():
    truth = left_of(10)
    truth[:, 9:12] = VOID  # class 1 in columns 0…8, class 0 from column 12
    scores = measure(truth, left_of(10), 2)
    assert not scores.contour.any()
    assert np.isnan(boundary_f1(scores.contour)).all() and np.isnan(scores.average).all()


def test_a_judged_contour_may_be_near_to_one_at_void():
    truth = left_of(10)
    truth[:, 9:12] = VOID
    scores = measure(truth, left_of(13), 2)  # one column off where class 0 begins, four off where class 1 ends
    np.testing.assert_allclose(scores.contour, [[0, 0, 19, 19], [0, 0, 19, 0]])
    assert np.isnan(scores.hausdorff95).all()


def slow_elements(labels, truth, label):
    """(row, column, length, judged) of each element, neighbourhood by neighbourhood."""
    elements = []
    for row, column in np.ndindex(labels.shape[0] - 1, labels.shape[1] - 1):
        here = labels[row : row + 2, column : column + 2] == label
        if 0 < here.sum() < 4:
            straight = here.sum() == 2 and here[0, 0] != here[1, 1]
            across = here.sum() == 2 and here[0, 0] == here[1, 1]
            judged = not (truth[row : row + 2, column : column + 2] == VOID).any()
            elements.append((row, column, 1 if straight else 2 * CORNER if across else CORNER, judged))
    return elements


def slow_distances(elements, others):
    pairs = [
        (min((math.dist(one[:2], other[:2]) for other in others), default=math.inf), one[2])
        for one in elements
        if one[3]
    ]
    return sorted(pairs)


def slow_percentile(pairs):
    reached, total = 0, sum(length for _, length in pairs)
    for distance, length in pairs:
        reached += length
        if reached >= 0.95 * total - 1e-9:
            return distance


@settings(max_examples=150, deadline=None)
@given(masks=small_masks)
def test_contours_with_void_and_frame_as_defined(masks):
    truth, prediction = masks
    scores, reach = measure(truth, prediction, 3), tolerance(truth.shape)
    for label in range(3):
        true, predicted = (slow_elements(labels, truth, label) for labels in masks)
        there, back = slow_distances(true, predicted), slow_distances(predicted, true)
        lengths = [
            sum(length for distance, length in pairs if distance <= most)
            for pairs in (there, back)
            for most in (math.inf, reach)
        ]
        np.testing.assert_allclose(scores.contour[label], lengths, atol=1e-9)
        if not there or not back:
            assert np.isnan([scores.hausdorff95[label], scores.average[label]]).all()
            continue
        average = sum(distance * length for distance, length in there + back) / (lengths[0] + lengths[2])
        assert scores.average[label] == pytest.approx(average, abs=1e-9)
        assert scores.hausdorff95[label] == pytest.approx(max(map(slow_percentile, (there, back))), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), is_noise=st.booleans(), alike=st.booleans())
def test_contours_as_the_surface_distance_package_has_them(seed, is_noise, alike):
    package = pytest.importorskip("surface_distance")
    truth = scene(seed, is_noise)
    prediction = np.roll(truth, 1, axis=1) if alike else scene(seed + 1, is_noise)
    prediction[[0, -1]] = prediction[:, [0, -1]] = 0
    scores, reach = measure(truth, prediction, 4), tolerance(truth.shape)
    for label in set(np.unique(truth)) & set(np.unique(prediction)) - {0}:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            expected = package.compute_surface_distances(truth == label, prediction == label, (1, 1))
        lengths = [expected[f"surfel_areas_{side}"].sum() for side in ("gt", "pred")]
        shares = package.compute_surface_overlap_at_tolerance(expected, reach)
        averages = package.compute_average_surface_distance(expected)
        np.testing.assert_allclose(scores.contour[label, ::2], lengths, atol=1e-9)
        np.testing.assert_allclose(scores.contour[label, 1::2], np.multiply(shares, lengths), atol=1e-9)
        assert scores.average[label] == pytest.approx(np.average(averages, weights=lengths), abs=1e-9)
        assert scores.hausdorff95[label] == pytest.approx(package.compute_robust_hausdorff(expected, 95), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(masks=small_masks)
def test_flips_change_nothing(masks):
    scores = measure(*masks, 3)
    for turn in (np.flipud, np.fliplr, np.transpose):
        turned = measure(*map(turn, masks), 3)
        assert np.array_equal(turned.region, scores.region)
        for name in ("contour", "hausdorff95", "average"):
            np.testing.assert_allclose(getattr(turned, name), getattr(scores, name), atol=1e-9)


@pytest.mark.parametrize("threads", [1, 2])  # OpenCV measures small or lone-threaded images in another way
@pytest.mark.parametrize(("size", "error"), [((480, 640), 1e-9), ((20, 800), 1e-9), ((20, 4000), 1e-3)])
def test_how_exact_distances_are(size, error, threads):
    rng, before = np.random.default_rng(0), cv2.getNumThreads()
    places, targets = (rng.integers(0, size, (count, 2)) for count in (2000, 3))
    cv2.setNumThreads(threads)
    try:
        distances = np.sqrt(squared_distances(places, targets))
    finally:
        cv2.setNumThreads(before)
    np.testing.assert_allclose(distances, KDTree(targets).query(places)[0], rtol=0, atol=error)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_images(size):
    truth = np.zeros(size, np.uint8)
    scores = measure(truth, truth, 2)
    assert scores.contour.shape == (2, 4) and not scores.contour.any()
    assert scores.region.tolist() == [[truth.size, truth.size], [0, 0]]


def test_wrong_calls():
    mask = np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match=r"truth has shape \(4, 5\), prediction \(5, 4\)"):
        measure(mask, mask.T, 2)
    with pytest.raises(ValueError, match=r"prediction is int64 \(4, 5\), uint8"):
        measure(mask, mask.astype(np.int64), 2)
    with pytest.raises(ValueError, match="prediction holds 255, 0…1 wanted"):
        measure(mask, mask + np.uint8(VOID), 2)
    with pytest.raises(ValueError, match="prediction holds 255, 0…254 wanted"):
        measure(mask, mask + np.uint8(VOID), 256)
    with pytest.raises(ValueError, match="truth holds 2, 0…1 wanted"):
        measure(mask + np.uint8(2), mask, 2)
    with pytest.raises(ValueError, match=r"shape \(2, 3\) came, \(…, C, 2\) wanted"):
        boundary_iou(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"shape \(4,\) came, \(…, C, 4\) wanted"):
        boundary_f1(np.zeros(4))
