"""Suspected label errors: by hand, and planted in the labels of a stand-in for a network."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_pipeline.encoding import VOID
from engine.scoring.doubts import Doubt, doubts, rank, uncertainty


def certain(labels, num_classes, probability=0.9):
    """Probabilities of a network that gives each pixel's class this much, and the rest to the others alike."""
    others = (1 - probability) / (num_classes - 1)
    return np.where(np.eye(num_classes, dtype=bool)[labels], probability, others).astype(np.float32)


def scene(*blocks, size=(60, 80)):
    """Mask of blocks (rows, columns, class)."""
    mask = np.zeros(size, np.uint8)
    for rows, columns, label in blocks:
        mask[rows, columns] = label
    return mask


def box(doubt):
    return doubt.top, doubt.left, doubt.bottom, doubt.right


def in_image(stem, truth=0, prediction=1, score=1.0):
    return Doubt(stem, 0, 0, 9, 9, truth, prediction, 81, 0.9, score)


def test_a_forgotten_object_by_hand():
    seen = scene((slice(10, 30), slice(20, 50), 2))
    (doubt,) = doubts("one", certain(seen, 3), np.zeros_like(seen))
    assert (doubt.stem, box(doubt), doubt.truth, doubt.prediction) == ("one", (10, 20, 30, 50), 0, 2)
    assert doubt.pixels == 596  # no disc reaches into the four corners
    assert doubt.confidence == pytest.approx(0.9)
    assert doubt.score == pytest.approx(np.log(0.9 / 0.05) * (596 / 4800) ** (1 / 3))


def test_the_core_counts_and_not_the_blurred_rim():
    seen = scene((slice(10, 30), slice(20, 50), 1))
    sharp = certain(seen, 2)
    blurred = sharp.copy()
    rim = (seen > 0) & (cv2.erode(seen, np.ones((5, 5))) == 0)
    blurred[rim] = 0.45, 0.55
    (one,), (other,) = (doubts("one", each, np.zeros_like(seen)) for each in (sharp, blurred))
    assert one.score == pytest.approx(other.score)
    assert other.confidence < one.confidence


def test_prediction_is_what_most_of_the_region_is_given():
    seen = scene((slice(10, 30), slice(20, 50), 2), (slice(10, 30), slice(20, 30), 1))
    (doubt,) = doubts("one", certain(seen, 3), np.zeros_like(seen))
    assert (doubt.prediction, doubt.pixels) == (2, 596)


def test_regions_of_different_labels_are_different_doubts():
    seen = np.full((60, 80), 2, np.uint8)
    truth = seen.copy()
    truth[10:30, 20:30], truth[10:30, 30:50] = 0, 1
    doubted = doubts("one", certain(seen, 3), truth)
    assert [(doubt.truth, box(doubt)) for doubt in doubted] == [(1, (10, 30, 30, 50)), (0, (10, 20, 30, 30))]


def test_rims_are_no_doubts_and_a_block_is():
    objects = [(slice(5 + 20 * i, 17 + 20 * i), slice(5 + 25 * j, 20 + 25 * j), 1) for i in range(3) for j in range(3)]
    truth = scene(*objects)
    for seen in (cv2.dilate(truth, np.ones((3, 3))), cv2.erode(truth, np.ones((3, 3))), np.roll(truth, 1, 1)):
        assert not doubts("one", certain(seen, 2), truth)
        forgotten = truth.copy()
        forgotten[objects[4][:2]] = 0
        (doubt,) = doubts("one", certain(seen, 2), forgotten)
        assert (doubt.truth, doubt.prediction) == (0, 1)
        np.testing.assert_allclose(box(doubt), (25, 30, 37, 45), atol=1)


def test_a_rim_that_touches_a_block_does_not_widen_its_box():
    truth = scene((slice(20, 40), slice(0, 80), 1))
    seen = truth.copy()
    seen[40:41] = 1  # a rim all along
    seen[40:56, 30:50] = 1
    (doubt,) = doubts("one", certain(seen, 2), truth)
    np.testing.assert_allclose(box(doubt), (40, 30, 56, 50), atol=1)


def test_thin_regions_are_left_out_by_the_size_of_the_image():
    for size, width, expected in (((60, 80), 2, 0), ((60, 80), 3, 1), ((600, 800), 14, 0), ((600, 800), 16, 1)):
        seen = scene((slice(0, size[0]), slice(20, 20 + width), 1), size=size)
        assert len(doubts("one", certain(seen, 2), np.zeros(size, np.uint8))) == expected


def test_doubt_grows_with_margin_and_with_size():
    def score(probability, side):
        seen = scene((slice(10, 10 + side), slice(20, 20 + side), 1))
        return doubts("one", certain(seen, 2, probability), np.zeros_like(seen))[0].score

    assert score(0.6, 20) < score(0.9, 20) < score(0.99, 20)
    assert score(0.9, 10) < score(0.9, 20) < score(0.9, 40)
    assert score(1.0, 20) == pytest.approx(np.log(1e4) * (396 / 4800) ** (1 / 3))  # finite where a class is ruled out


def test_most_and_order():
    seen = scene(*((slice(10, 15 + 5 * i), slice(20 * i, 20 * i + 12), 1) for i in range(4)))
    doubted = doubts("one", certain(seen, 2), np.zeros_like(seen), most=3)
    assert [doubt.pixels for doubt in doubted] == [236, 176, 116]
    assert doubts("one", certain(seen, 2), seen) == []
    assert doubts("one", certain(seen, 2), np.zeros_like(seen), most=0) == []


def test_void_is_never_doubted():
    seen = scene((slice(10, 30), slice(20, 50), 1))
    truth = np.zeros_like(seen)
    truth[:, :40] = VOID
    (doubt,) = doubts("one", certain(seen, 2), truth)
    assert (box(doubt), doubt.pixels, doubt.truth) == ((10, 40, 30, 50), 196, 0)
    assert doubts("one", certain(seen, 2), np.full_like(seen, VOID)) == []


@settings(max_examples=60, deadline=None)
@given(
    truth=arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, VOID])),
    seen=arrays(np.uint8, (6, 7), elements=st.integers(0, 2)),
)
def test_what_a_doubt_says_is_so(truth, seen):
    truth, seen = (mask.repeat(5, 0).repeat(5, 1) for mask in (truth, seen))
    probabilities = certain(seen, 3, 0.8)
    doubted = doubts("one", probabilities, truth)
    assert doubted == doubts("one", probabilities.copy(), truth.copy())
    assert [doubt.score for doubt in doubted] == sorted((doubt.score for doubt in doubted), reverse=True)
    for doubt in doubted:
        inside = np.s_[doubt.top : doubt.bottom, doubt.left : doubt.right]
        apart = (truth[inside] == doubt.truth) & (seen[inside] != doubt.truth)
        assert doubt.truth != VOID
        assert 0 < doubt.pixels <= apart.sum()
        assert apart[0].any() and apart[-1].any() and apart[:, 0].any() and apart[:, -1].any()
        assert (apart & (seen[inside] == doubt.prediction)).any()
        assert doubt.confidence == pytest.approx(0.8)


def test_rank_is_by_score_over_all_images_and_repeatable():
    doubted = [in_image("b", score=1.0), in_image("a", score=2.0), in_image("c", score=1.0)]
    expected = ["a", "b", "c"]
    assert [doubt.stem for doubt in rank(doubted)] == expected
    assert rank(rank(doubted)) == rank(doubted[::-1]) == rank(doubted)
    assert rank([]) == []


def test_a_class_that_is_never_found_does_not_flood_the_list():
    weak = [in_image(f"weak{i}", truth=2, prediction=0, score=1.5) for i in range(16)]
    rare = in_image("rare", truth=0, prediction=1, score=1.0)
    assert rank([*weak, rare])[0] is rare
    assert rank([*weak[:4], rare])[-1] is rare  # 1.5 / √2 is above 1
    same_image = [in_image("weak", truth=2, prediction=0, score=1.5) for _ in range(16)]
    assert rank([*same_image, rare])[-1] is rare  # one image is no habit


def test_uncertainty_by_hand():
    half = np.full((4, 4, 2), 0.5, np.float32)  # all is called 0: 8 of 16 expected right, class 0 on 8
    assert uncertainty(half) == pytest.approx(1 - 8 / (16 + 8 - 8))
    assert uncertainty(certain(scene((slice(9), slice(9), 1)), 2, 1.0)) == 0
    seen = np.array([[0, 0, 0, 1]])  # class 0: 2.7 / (3 + 2.8 − 2.7), class 1: 0.9 / (1 + 1.2 − 0.9)
    assert uncertainty(certain(seen, 2)) == pytest.approx(1 - (2.7 / 3.1 + 0.9 / 1.3) / 2)


@settings(max_examples=60, deadline=None)
@given(labels=arrays(np.uint8, (5, 6), elements=st.integers(0, 3)), low=st.floats(0.4, 0.7), more=st.floats(0.01, 0.3))
def test_uncertainty_falls_as_confidence_rises(labels, low, more):
    unsure, sure = (uncertainty(certain(labels, 4, probability)) for probability in (low, low + more))
    assert 0 <= sure < unsure <= 1


def test_uncertainty_is_the_error_of_an_honest_network():
    """Labels drawn from the probabilities themselves have the mIoU that is expected, but for their scatter."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.standard_normal((200, 200, 3)).astype(np.float32), (0, 0), 8)
    for scale in (10, 40, 160):
        probabilities = np.exp(scale * noise)
        probabilities /= probabilities.sum(-1, keepdims=True)
        drawn = (rng.random((200, 200, 1)) > probabilities.cumsum(-1)).sum(-1).clip(0, 2)
        seen = probabilities.argmax(-1)
        overlaps = [((seen == c) & (drawn == c)).sum() / ((seen == c) | (drawn == c)).sum() for c in range(3)]
        assert uncertainty(probabilities) == pytest.approx(1 - np.mean(overlaps), abs=0.01)


@pytest.mark.parametrize(
    ("probabilities", "truth", "message"),
    [
        (np.zeros((4, 5)), np.zeros((4, 5), np.uint8), "probabilities have shape"),
        (np.zeros((4, 5, 1)), np.zeros((4, 5), np.uint8), "probabilities have shape"),
        (np.zeros((0, 5, 2)), np.zeros((0, 5), np.uint8), "probabilities have shape"),
        (np.zeros((4, 5, 2)), np.zeros((5, 4), np.uint8), r"truth is uint8 \(5, 4\)"),
        (np.zeros((4, 5, 2)), np.zeros((4, 5), int), "truth is int64"),
        (np.zeros((4, 5, 2)), np.full((4, 5), 2, np.uint8), r"truth holds class 2, 0…1 wanted"),
    ],
)
def test_wrong_calls(probabilities, truth, message):
    with pytest.raises(ValueError, match=message):
        doubts("one", probabilities, truth)


# Planted errors: a stand-in for a network answers for the true masks, the labels hold the errors.

IMAGES, PLANTED, SIDE = 60, 12, 96


def blobs(rng):
    """Discs of class 1 on background, a bar of class 2 that the stand-in never finds; and the discs."""
    mask, discs = np.zeros((SIDE, SIDE), np.uint8), []
    for column in (20, 48, 76):
        center, radius = (column, int(rng.integers(16, 44))), int(rng.integers(7, 12))
        cv2.circle(mask, center, radius, 1, -1)
        discs.append((center, radius))
    top = int(rng.integers(64, 72))
    mask[top : top + 16, 10:80] = 2
    return mask, discs


def answer(mask, rng):
    """As networks are: contours moved here and there, edges soft, patches of doubt, class 2 taken for background."""
    shift = [cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 8) * 50 for _ in range(2)]
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    seen = np.where(mask == 2, 0, mask).astype(np.float32)
    seen = cv2.GaussianBlur(cv2.remap(seen, columns + shift[0], rows + shift[1], cv2.INTER_LINEAR), (0, 0), 1.5)
    patches = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 6) * 30
    logits = np.stack([0 * seen, 12 * (seen - 0.5) + patches, np.where(mask == 2, -2.0, -6.0)], -1)
    odds = np.exp(logits)
    return (odds / odds.sum(-1, keepdims=True)).astype(np.float32)


def planted_errors(seed):
    """Stem → probabilities and label, and stem → the box that was spoiled: a disc forgotten, swapped or invented."""
    rng = np.random.default_rng(seed)
    shown, boxes = {}, {}
    for i in range(IMAGES):
        mask, discs = blobs(rng)
        probabilities, label = answer(mask, rng), mask.copy()
        if i < PLANTED:
            (column, row), radius = discs[i % 3]
            kind = i % 4
            if kind == 3:
                row, radius = SIDE - 8, 7
            cv2.circle(label, (column, row), radius, (0, 2, 0, 1)[kind], -1)
            boxes[f"{i}"] = (row - radius, column - radius, row + radius + 1, column + radius + 1)
        shown[f"{i}"] = probabilities, label
    return shown, boxes


def share_found(ordered, boxes, budget):
    """Of the planted errors, among so many suspects for each."""
    first = ordered[: budget * len(boxes)]
    met = {doubt.stem for doubt in first if doubt.stem in boxes and overlap(box(doubt), boxes[doubt.stem]) >= 0.3}
    return len(met) / len(boxes)


def overlap(one, other):
    sides = [max(0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in range(2)]
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return np.prod(sides) / (sum(areas) - np.prod(sides))


def by_size(shown):
    """Connected regions of disagreement, the largest first."""
    found = []
    for stem, (probabilities, label) in shown.items():
        apart = (probabilities.argmax(-1) != label).astype(np.uint8)
        for left, top, width, height, pixels in cv2.connectedComponentsWithStats(apart)[2][1:].tolist():
            found.append(Doubt(stem, top, left, top + height, left + width, 0, 1, pixels, 1.0, pixels))
    return sorted(found, key=lambda doubt: -doubt.score)


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_are_found(seed):
    shown, boxes = planted_errors(seed)
    ordered = rank([doubt for stem, each in shown.items() for doubt in doubts(stem, *each)])
    assert share_found(ordered, boxes, 2) >= 0.8
    shuffled = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]
    assert share_found(shuffled, boxes, 2) < 0.5
    assert share_found(by_size(shown), boxes, 2) < 0.5
