"""Plain differences and what a mask is worth: by hand, and in 400 studies with planted truths."""

import numpy as np
import pytest

from study.effects import NO, UNSETTLED, YES, effect, worth
from study.hypotheses import CONTRASTS
from study.verdicts import NOT_SUPPORTED, SMALLEST, SUPPORTED, decide

STUDIES = 400
BOUND = 0.05 + 2 * np.sqrt(0.05 * 0.95 / STUDIES)  # what a share of 5% may look like in so many


def test_what_a_difference_says_by_hand():
    assert effect(np.array([0.1, 0.3, 0.2, 0.2])).word == YES
    assert effect(np.array([0.01, 0.0, 0.02, 0.01])).word == NO
    assert effect(np.array([-0.3, 0.4, 0.1, 0.1])).word == UNSETTLED
    made = effect(np.array([0.1, 0.3, 0.2, -0.2]))
    assert (made.value, made.alike, made.seeds) == (pytest.approx(0.1), 3, 4)
    wide = effect(np.array([0.1, 0.3, 0.2, -0.2]), overlap=0.75)
    assert wide.high - wide.value == pytest.approx(2 * (made.high - made.value))


def test_how_many_labels_a_mask_is_worth_by_hand():
    """0.8 with 8 masks; labels reach it half way between 16 and 64, so with 32: 4 labels a mask."""
    labels = {16: np.full(6, 0.7), 64: np.full(6, 0.9), 4: np.full(6, 0.3)}
    made = worth(np.full(6, 0.8), labels, 8)
    assert (made.value, made.low, made.high) == pytest.approx((4, 4, 4), abs=0.05) and not made.bound
    assert worth(np.full(6, 0.95), labels, 8).bound == "at least "
    assert worth(np.full(6, 0.1), labels, 8).bound == "at most "
    assert worth(np.array([0.8]), {n: each[:1] for n, each in labels.items()}, 8).low is None
    assert worth(np.full(6, 0.8), {16: np.full(6, 0.7)}, 8) is None
    uneven = worth(np.full(6, 0.8) + 0.05 * np.array([1, -1, 1, -1, 1, -1]), labels, 8)
    assert uneven.low < uneven.value < uneven.high
    sure = worth(np.full(6, 0.8) + 0.05 * np.array([1, -1, 1, -1, 1, -1]), labels, 8, overlap=0.5)
    assert sure.low < uneven.low and sure.high > uneven.high and sure.low >= 0.5 and sure.high <= 8


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [6, 12, 24])
@pytest.mark.parametrize(("truth", "wrong"), [(0.0, YES), (SMALLEST, NO)])
def test_a_difference_seldom_says_what_is_not_so(seeds, truth, wrong):
    rng = np.random.default_rng(0)
    words = [effect(truth + 0.15 * rng.standard_normal(seeds)).word for _ in range(STUDIES)]
    assert words.count(wrong) / STUDIES <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [6, 24])
@pytest.mark.parametrize(("truth", "wrong"), [(0.0, SUPPORTED), (SMALLEST, NOT_SUPPORTED)])
def test_planned_contrasts_seldom_say_what_is_not_so(truth, wrong, seeds):
    """Accuracies between chance and 1, as ragged as those of the marker's scenes."""
    rng, false = np.random.default_rng(1), 0
    for _ in range(STUDIES):
        numbers = {}
        for one in CONTRASTS:
            columns = len(one.columns)
            world, noise = rng.uniform(0.4, 0.8, (seeds, 1)), 0.12 * rng.standard_t(4, (seeds, columns))
            numbers[one.name] = world + noise + truth * (np.arange(columns) == 0)
        decided = decide([one.contrast() for one in CONTRASTS], numbers)
        false += any(words == wrong for *_, words in decided)
    assert false / STUDIES <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "overlap"), [(6, 0.5), (12, 0.5), (12, 0.0)])
def test_masks_that_are_worth_a_label_are_seldom_said_to_be_worth_more(seeds, overlap):
    """R is 1; where the seeds split the same images, what they share does not average out (Nadeau and Bengio 2003)."""
    rng, counts, false = np.random.default_rng(2), (8, 16, 32, 64), 0
    for _ in range(STUDIES // 2):

        def scores(count):
            shared = np.sqrt(overlap) * rng.standard_normal()
            return 0.2 + 0.1 * np.log2(count) + 0.04 * (shared + rng.standard_normal(seeds))

        made = worth(scores(16), {count: scores(count) for count in counts}, 16, overlap)
        false += made.low > 1 or made.high < 1
    assert false / (STUDIES // 2) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / (STUDIES // 2))
