"""Object counts against numbers worked out by hand, and a matching that tries every pair."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from data_pipeline.encoding import VOID
from engine.scoring import objects
from engine.scoring.objects import connect, divide, match_objects, object_f1

EIGHT = np.ones((3, 3))
masks_of = {
    "truth": [0, 0, 1, 1, 2, VOID],
    "prediction": [0, 0, 1, 1, 2],
}
small_masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.tuples(*(arrays(np.uint8, size, elements=st.sampled_from(v)) for v in masks_of.values()))
)
# Blobs larger than the pixels, so that objects overlap enough to match.
coarse_masks = small_masks.map(lambda pair: tuple(mask.repeat(3, 0).repeat(3, 1) for mask in pair)).map(
    lambda pair: (pair[0], np.roll(pair[1], 1, 0))
)
similar_masks = st.tuples(coarse_masks, st.booleans()).map(
    lambda drawn: (drawn[0][0], np.where(drawn[0][0] == VOID, drawn[0][1], drawn[0][0]) if drawn[1] else drawn[0][1])
)


def count_objects(truth, prediction, num_classes, split_touching=False):
    return objects.count_objects(match_objects(truth, prediction, num_classes, split_touching), num_classes)


def discs(*circles, size=(80, 120)):
    """Mask of circles (row, column, radius)."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, np.uint8)
    for row, column, radius in circles:
        mask[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 1
    return mask


def number_of_objects(mask, split_touching=True):
    counts = count_objects(mask, mask, 2, split_touching)
    assert counts[1, 0] == counts[1, 1] == counts[1, 2]
    return counts[1, 1]


def test_counts_by_hand():
    truth, prediction = np.zeros((10, 30), np.uint8), np.zeros((10, 30), np.uint8)
    truth[2:6, 2:6] = prediction[2:6, 3:7] = 1  # IoU 12 / 20
    truth[2:6, 12:16] = prediction[2:6, 14:18] = 1  # IoU 8 / 24
    prediction[8, 28] = 1  # a speck is an object
    truth[2:6, 20:24] = prediction[2:6, 20:24] = 2
    counts = count_objects(truth, prediction, 4)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 1], [1, 2, 3], [1, 1, 1], [0, 0, 0]]
    np.testing.assert_allclose(object_f1(counts), [1, 2 / 5, 1, np.nan])


def test_half_is_not_enough():
    truth = np.zeros((5, 12), np.uint8)
    truth[1:4, 2:8] = 1
    half, more = truth.copy(), truth.copy()
    half[1:4, 5:8] = 0
    more[1:4, 6:8] = 0
    assert count_objects(truth, half, 2)[1].tolist() == [0, 1, 1]
    assert count_objects(truth, more, 2)[1].tolist() == [1, 1, 1]


def test_two_halves_are_no_match_and_a_merged_pair_is_one_object():
    truth = discs((40, 30, 12), (40, 60, 12))
    merged = truth.copy()
    merged[40, 42:48] = 1
    assert count_objects(truth, merged, 2)[1].tolist() == [0, 2, 1]
    assert count_objects(merged, truth, 2)[1].tolist() == [0, 1, 2]


def test_diagonal_neighbours_are_one_object():
    assert number_of_objects(np.eye(5, dtype=np.uint8), split_touching=False) == 1


def test_object_f1_of_sums():
    counts = np.array([[[1, 2, 3], [0, 0, 0]], [[2, 2, 1], [0, 1, 0]]])
    np.testing.assert_allclose(object_f1(counts), [[2 / 5, np.nan], [4 / 3, 0]])
    np.testing.assert_allclose(object_f1(counts.sum(0)), [6 / 8, 0])


def test_void_does_not_count_in_the_iou():
    truth, prediction = np.zeros((8, 20), np.uint8), np.zeros((8, 20), np.uint8)
    truth[2:6, 2:6] = 1
    prediction[2:6, 2:18] = 1
    assert count_objects(truth, prediction, 2)[1].tolist() == [0, 1, 1]
    truth[2:6, 6:18] = VOID  # three quarters of the predicted object, which matches what is left
    assert count_objects(truth, prediction, 2)[1].tolist() == [1, 1, 1]


def test_a_predicted_object_in_void_is_left_out():
    truth, prediction = np.zeros((8, 20), np.uint8), np.zeros((8, 20), np.uint8)
    prediction[2:6, 4:14] = 1
    for void, predicted in ((0, 1), (5, 1), (6, 0)):
        truth[:, 4 : 4 + void] = VOID
        assert count_objects(truth, prediction, 2)[1].tolist() == [0, 0, predicted]


def slow_counts(truth, prediction, num_classes):
    """Every pair of objects, as sets of pixels."""
    void, rows = set(zip(*np.nonzero(truth == VOID), strict=True)), []
    for label in range(num_classes):
        true, predicted = (
            [set(zip(*np.nonzero(numbers == i), strict=True)) for i in range(1, count + 1)]
            for numbers, count in (ndimage.label(mask == label, EIGHT) for mask in (truth, prediction))
        )
        pairs = [
            (i, j) for i, one in enumerate(true) for j, other in enumerate(predicted) if is_match(one, other - void)
        ]
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        taken = {j for _, j in pairs}
        counted = [j for j, other in enumerate(predicted) if j in taken or 2 * len(other & void) <= len(other)]
        rows.append([len(pairs), len(true), len(counted)])
    return rows


def is_match(one, other):
    return len(one & other) / len(one | other) > 0.5


@settings(max_examples=150, deadline=None)
@given(masks=st.one_of(small_masks, coarse_masks, similar_masks))
def test_matching_as_defined(masks):
    assert count_objects(*masks, 3).tolist() == slow_counts(*masks, 3)


@settings(max_examples=50, deadline=None)
@given(masks=coarse_masks, split_touching=st.booleans())
def test_a_perfect_prediction_scores_one(masks, split_touching):
    _, mask = masks
    scores = object_f1(count_objects(mask, mask, 4, split_touching))
    np.testing.assert_equal(scores, [1.0 if (mask == label).any() else np.nan for label in range(4)])


@settings(max_examples=50, deadline=None)
@given(masks=coarse_masks, order=st.permutations(range(3)), split_touching=st.booleans())
def test_the_order_of_classes_is_irrelevant(masks, order, split_touching):
    renamed = np.array([*order, *range(3, VOID), VOID], np.uint8)
    counts = count_objects(*masks, 3, split_touching)
    assert np.array_equal(count_objects(*(renamed[mask] for mask in masks), 3, split_touching)[list(order)], counts)


@settings(max_examples=50, deadline=None)
@given(masks=st.one_of(coarse_masks, similar_masks), split_touching=st.booleans())
def test_flips_change_no_count(masks, split_touching):
    counts = count_objects(*masks, 3, split_touching)
    for turn in (np.flipud, np.fliplr, np.transpose):
        turned = count_objects(*map(turn, masks), 3, split_touching)
        if (
            split_touching
        ):  # pixels as near to one summit as to the other may change sides, but not the number of objects
            assert np.array_equal(turned[:, 1], counts[:, 1])
        else:
            assert np.array_equal(turned, counts)


@pytest.mark.parametrize("radius", [0, 1, 1.5, 2, 3, 4.5, 7, 10, 16, 25, 36])
@pytest.mark.parametrize("offset", [0, 0.3, 0.5])
def test_a_disc_is_never_split(radius, offset):
    assert number_of_objects(discs((40 + offset, 60, max(radius, 0.5)))) == 1


@pytest.mark.parametrize("radius", [5, 8, 12, 18])
@pytest.mark.parametrize("ratio", [1, 1.5, 2])
@pytest.mark.parametrize("angle", [0, 0.4, 0.8, 1.2])
def test_touching_discs_are_split(radius, ratio, angle):
    apart = radius * (1 + ratio) - 0.1 * radius
    small = (50 + apart * np.sin(angle), 50 + apart * np.cos(angle), radius)
    mask = discs((50, 50, radius * ratio), small, size=(130, 130))
    assert number_of_objects(mask, split_touching=False) == 1
    assert number_of_objects(mask) == 2


def test_the_cut_runs_through_the_neck():
    one, other = discs((40, 40, 16)), discs((40, 70, 16))
    numbers, classes = divide(one | other)
    assert (classes == 1).sum() == 2
    assert numbers[40, 40] != numbers[40, 70]
    parts = [
        set(numbers[:, columns][mask[:, columns] > 0]) for mask, columns in ((one, np.s_[:54]), (other, np.s_[57:]))
    ]
    assert [len(part) for part in parts] == [1, 1] and parts[0] != parts[1]


def test_split_objects_match_where_the_prediction_has_a_bridge():
    truth = discs((40, 30, 12), (40, 56, 12))
    bridged = truth.copy()
    bridged[38:43, 40:46] = 1
    assert count_objects(truth, bridged, 2)[1].tolist() == [0, 2, 1]
    assert count_objects(truth, bridged, 2, split_touching=True)[1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("radius", [4, 6, 10, 20, 35])
def test_a_rough_outline_splits_nothing(radius, seed):
    disc = discs((40, 60, radius)) > 0
    outline = ndimage.binary_dilation(disc, EIGHT) & ~ndimage.binary_erosion(disc, EIGHT)
    rough = np.where(outline & (np.random.default_rng(seed).random(disc.shape) < 0.5), ~disc, disc)
    _, count = ndimage.label(rough, EIGHT)
    assert number_of_objects(rough.astype(np.uint8)) == count


def two_squares(side, corridor):
    """Two squares linked by a corridor; both odd, so that (side + 1) / 2 is the height of a summit."""
    mask = np.zeros((side + 4, 4 * side), np.uint8)
    mask[2 : 2 + side, 2 : 2 + side] = mask[2 : 2 + side, -side - 2 : -2] = 1
    first = 2 + (side - corridor) // 2
    mask[first : first + corridor, 2:-2] = 1
    return mask


@pytest.mark.parametrize(
    ("side", "corridor", "expected"),
    [
        (21, 15, 2),  # 8 of 11 is below three quarters
        (21, 17, 1),  # 9 of 11 is not
        (15, 11, 1),  # 6 of 8 is just three quarters
        (3, 1, 2),  # 1 of 2, and a whole pixel lower
    ],
)
def test_how_narrow_a_neck_must_be(side, corridor, expected):
    assert number_of_objects(two_squares(side, corridor)) == expected


def test_less_than_a_pixel_is_no_neck():
    mask = np.zeros((5, 12), np.uint8)
    mask[2, 1:11] = 1
    mask[1:4, [2, 9]] = 1  # two crosses √2 high, with a line 1 high between
    assert number_of_objects(mask) == 1


@settings(max_examples=60, deadline=None)
@given(masks=st.one_of(small_masks, coarse_masks))
def test_objects_whose_necks_all_hold_are_the_connected_ones(masks):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "NECK", 0)
        for mask in masks:
            (divided, classes), (connected, expected) = divide(mask), connect(mask)
            assert sorted(classes) == sorted(expected)
            assert len(set(zip(divided.ravel(), connected.ravel(), strict=True))) == len(np.unique(connected))
            assert np.array_equal(classes[divided], mask)


def slow_division(mask):
    """Number of objects in a mask, from the connected parts above every height in turn."""
    heights = ndimage.distance_transform_edt(mask)
    separate, parts = 0, []  # parts: where each part of the level above is, and its height
    for level in np.unique(heights[mask > 0])[::-1]:
        numbers, count = ndimage.label(heights >= level, EIGHT)
        tops = [[] for _ in range(count + 1)]
        for place, top in parts:
            tops[numbers[place]].append(top)
        for children in tops:
            lower = sorted(children)[:-1]
            separate += sum(level < objects.NECK * top and top - level >= objects.BUMP for top in lower)
        places = [np.argwhere(numbers == i)[0] for i in range(1, count + 1)]
        parts = [(tuple(place), max(tops[i + 1], default=level)) for i, place in enumerate(places)]
    return separate + len(parts)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), width=st.sampled_from([1, 1.5, 2, 3]))
def test_division_as_defined(seed, width):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 50)), width)
    mask = (field > 0).astype(np.uint8)
    assert (divide(mask)[1] == 1).sum() == slow_division(mask)


def test_a_class_without_an_outline():
    everything = np.ones((6, 7), np.uint8)
    for split_touching in (False, True):
        assert count_objects(everything, everything, 2, split_touching).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_an_image_of_void():
    void, mask = np.full((6, 7), VOID, np.uint8), np.zeros((6, 7), np.uint8)
    for split_touching in (False, True):
        assert not count_objects(void, mask, 2, split_touching).any()


def test_wrong_calls():
    mask = np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match=r"truth has shape \(4, 5\), prediction \(5, 4\)"):
        count_objects(mask, mask.T, 2)
    with pytest.raises(ValueError, match="prediction holds 3, 0…1 wanted"):
        count_objects(mask, mask + np.uint8(3), 2)
    with pytest.raises(ValueError, match=r"counts have shape \(2, 2\), \(…, C, 3\) wanted"):
        object_f1(np.zeros((2, 2)))


def test_no_model_is_needed():
    code = (
        "import sys, engine.scoring.boundaries, engine.scoring.objects; "
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_objects_are_counted_by_size():
    """Squares of 1, 4, 9 and 25 pixels; the prediction has those of 4 and 25."""
    truth, prediction = np.zeros((20, 40), np.uint8), np.zeros((20, 40), np.uint8)
    for left, side in zip((1, 6, 12, 20), (1, 2, 3, 5), strict=True):
        truth[4 : 4 + side, left : left + side] = 1
        if side in (2, 5):
            prediction[4 : 4 + side, left : left + side] = 1
    counts = objects.count_by_size(match_objects(truth, prediction, 2), 2)
    assert counts.shape == (2, objects.SIZES, 2)
    assert {i: row.tolist() for i, row in enumerate(counts[1]) if row.any()} == {
        0: [1, 0],  # 1 pixel
        2: [1, 1],  # 4 to 7
        3: [1, 0],  # 8 to 15
        4: [1, 1],  # 16 to 31
    }
    assert counts[0].sum(0).tolist() == [1, 1], "the ground"


@given(masks=st.tuples(*[arrays(np.uint8, (12, 12), elements=st.sampled_from([0, 1, 2]))] * 2))
@settings(max_examples=25, deadline=None)
def test_sizes_sum_up_to_the_objects(masks):
    matched = match_objects(*masks, 3)
    by_size, counts = objects.count_by_size(matched, 3), objects.count_objects(matched, 3)
    np.testing.assert_array_equal(by_size[..., 0].sum(1), counts[:, 1])
    np.testing.assert_array_equal(by_size[..., 1].sum(1), counts[:, 0])
