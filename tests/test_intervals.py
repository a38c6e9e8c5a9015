"""Error bars against loops over the formula, against all swaps of few units, and against simulated test sets."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from benchmarks import coverage
from engine.scoring.confusion import iou, mean_iou
from engine.scoring.intervals import (
    Difference,
    Interval,
    by_group,
    difference,
    difference_of_methods,
    holm,
    interval,
    spread,
)

matrices = st.integers(5, 12).flatmap(lambda n: arrays(np.int64, (n, 3, 3), elements=st.integers(0, 50)))
pairs = st.integers(5, 9).flatmap(lambda n: arrays(np.int64, (2, n, 2, 2), elements=st.integers(0, 50)))


def share(sums):
    """Hits of pixels."""
    with np.errstate(invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


def right_of_ten(*right):
    """Units of 10 pixels each, with so many right; int64 (n, 2)."""
    return np.array([[one, 10] for one in right])


def random_matrices(seed, *shape, skill=400):
    return np.random.default_rng(seed).integers(0, 100, (*shape, 3, 3)) + skill * np.eye(3, dtype=int)


def test_an_interval_by_hand():
    """Ten units, nine with 5 right of 10 and one with 9: one unit carries nearly all of the variance."""
    ends = interval(right_of_ten(5, 5, 5, 5, 5, 5, 5, 5, 5, 9), share)
    without = [49 / 90] * 9 + [45 / 90]
    logits = [np.log(one / (1 - one)) for one in without]
    mean = sum(logits) / 10
    squares = [(one - mean) ** 2 for one in logits]
    error = np.sqrt(0.9 * sum(squares))
    df = 2 * sum(squares) ** 2 / sum(square**2 for square in squares) - 1
    assert df == pytest.approx(1.4657534)  # squares 9 : 1/9 each: 2·10² / (9² + 9/9²) − 1, by hand 200 / 81.11 − 1
    centre, bias = np.log(0.54 / 0.46), 9 * (mean - np.log(0.54 / 0.46))
    reach = stats.t.ppf(0.975, df) * error
    low, high = centre - reach - max(bias, 0), centre + reach - min(bias, 0)
    assert (ends.low, ends.high) == pytest.approx((1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))))


def test_the_fewer_units_carry_the_variance_the_fewer_degrees_of_freedom():
    assert spread(np.array([1.0, -1.0] * 4))[1] == 7  # all eight: n − 1
    assert spread(np.array([1.0, -1.0, 1.0, -1.0] + [0.0] * 96))[1] == pytest.approx(7)  # 2 · 4 − 1
    assert spread(np.array([1.0, -1.0] + [0.0] * 98))[1] == pytest.approx(3)
    error, df = spread(np.array([1.0] + [0.0] * 99))
    assert df == pytest.approx(1, abs=0.05)
    assert error == pytest.approx(0.99)  # √(99/100 · (0.99² + 99 · 0.01²))


@settings(deadline=None, max_examples=100)
@given(matrices, st.randoms(use_true_random=False), st.integers(2, 1000))
def test_order_and_scale_do_not_matter_and_the_score_lies_inside(counts, random, scale):
    ends = interval(counts, mean_iou)
    shuffled = random.sample(range(len(counts)), len(counts))
    for other in (interval(counts[shuffled], mean_iou), interval(counts * scale, mean_iou)):
        assert other.note == ends.note
        assert (other.low, other.high) == pytest.approx((ends.low, ends.high))
    if ends.low is not None:
        assert 0 <= ends.low < mean_iou(counts.sum(0)) < ends.high <= 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 10), min_size=5, max_size=12))
def test_what_is_wrong_has_the_mirrored_interval(right):
    ends = interval(right_of_ten(*right), share)
    mirrored = interval(right_of_ten(*right), lambda sums: 1 - share(sums))
    assume(ends.low is not None)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - ends.high, 1 - ends.low), abs=1e-9)


@pytest.mark.parametrize(
    ("counts", "arguments", "note"),
    [
        (right_of_ten(5, 6, 7, 8), {}, "4 images: no interval below 5"),
        (right_of_ten(5), {"unit": "group"}, "one group: no interval below 5"),
        (right_of_ten(*range(4, 10)), {"holders": 9}, "held by 9 images: no interval below 10"),
        (right_of_ten(*range(4, 10)), {"holders": 1}, "held by one image: no interval below 10"),
        (right_of_ten(*[10] * 20), {}, "every image scores 1: no differences to make an interval from"),
        (right_of_ten(*[0] * 20), {"unit": "group"}, "every group scores 0: no differences to make an interval from"),
        (right_of_ten(*[7] * 20), {}, "every image scores the same: no differences to make an interval from"),
        (right_of_ten(*[10] * 19, 8), {}, "one image alone decides the score"),
        (right_of_ten(*[0] * 19, 8), {}, "one image alone decides the score"),
        (np.array([[5, 10]] + [[0, 0]] * 9), {}, "one image alone decides the score"),
        (np.zeros((9, 2), int), {}, "no score"),
    ],
)
def test_no_certainty_is_made_up(counts, arguments, note):
    assert interval(counts, share, **arguments) == Interval(None, None, note)


def test_ten_images_are_enough():
    counts = right_of_ten(*range(10))
    assert interval(counts, share, holders=10) == interval(counts, share)
    assert interval(counts[:5], share).low is not None


def test_a_class_in_a_single_image_widens_the_interval():
    counts = np.zeros((20, 3, 3), np.int64)
    counts[:, 0, 0], counts[:, 1, 1], counts[:, 0, 1] = 100, 50, range(20)
    without = interval(counts, mean_iou)
    counts[3, 2] = (5, 0, 5)
    rare = interval(counts, mean_iou)
    assert 0 <= rare.low < mean_iou(counts.sum(0)) < rare.high <= 1
    assert rare.high - rare.low > 3 * (without.high - without.low)
    alone = interval(counts, lambda sums: iou(sums)[..., 2])
    assert alone.note == "one image alone decides the score"


def test_groups_are_summed():
    counts = np.arange(12).reshape(6, 2)
    assert by_group(counts, ["b", None, "a", "b", None, "a"]).tolist() == [[6, 8], [2, 3], [14, 16], [8, 9]]
    assert by_group(counts, [None] * 6).tolist() == counts.tolist()
    with pytest.raises(ValueError, match="5 groups for 6 images"):
        by_group(counts, ["a"] * 5)


def test_copies_of_images_tell_nothing_new_if_they_are_one_group():
    counts = random_matrices(0, 12)
    ends = interval(counts, mean_iou)
    copies = np.repeat(counts, 10, axis=0)
    grouped = interval(by_group(copies, [str(i // 10) for i in range(120)]), mean_iou)
    assert (grouped.low, grouped.high) == pytest.approx((ends.low, ends.high))
    apart = interval(copies, mean_iou)
    assert apart.high - apart.low < (ends.high - ends.low) / 2


def all_swaps(first, second, statistic):
    """Share of the ways to swap the networks after which they differ by as much, in loops."""
    found = abs(statistic(second.sum(0)) - statistic(first.sum(0)))
    swapped = []
    for swap in product([False, True], repeat=len(first)):
        one = sum(b if s else a for a, b, s in zip(first, second, swap, strict=True))
        two = sum(a if s else b for a, b, s in zip(first, second, swap, strict=True))
        swapped.append(abs(statistic(two) - statistic(one)))
    return np.mean(np.array(swapped) >= found - 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_paired_test_agrees_with_all_swaps(seed):
    first, second = random_matrices(seed, 8), random_matrices(seed + 100, 8, skill=430)
    result = difference(first, second, mean_iou)
    assert result.value == pytest.approx(mean_iou(second.sum(0)) - mean_iou(first.sum(0)))
    assert result.p == pytest.approx(all_swaps(first, second, mean_iou), abs=0.015)  # 3 standard errors of the draws


@settings(deadline=None, max_examples=25)
@given(pairs, st.randoms(use_true_random=False))
def test_neither_the_order_of_units_nor_that_of_networks_matters(counts, random):
    first, second = counts
    result, other = difference(first, second, mean_iou), difference(second, first, mean_iou)
    order = random.sample(range(len(first)), len(first))
    shuffled = difference(first[order], second[order], mean_iou)
    assert result.note == other.note == shuffled.note
    assert shuffled.value == pytest.approx(result.value, abs=1e-12, nan_ok=True)
    assert other.value == pytest.approx(-result.value, abs=1e-12, nan_ok=True)
    assume(result.p is not None)
    assert result.p == pytest.approx(other.p, abs=0.015)  # units whose counts tie may come in another order
    assert result.p == pytest.approx(shuffled.p, abs=0.015)
    assert result.low <= result.value <= result.high
    assert (result.p <= 0.05) == (not result.low <= 0 <= result.high)


def test_the_same_p_in_any_order():
    first, second = random_matrices(0, 30), random_matrices(1, 30, skill=410)
    result = difference(first, second, mean_iou)
    assert 0.05 < result.p < 0.95
    assert difference(first[::-1], second[::-1], mean_iou).p == difference(second, first, mean_iou).p == result.p


def test_an_interval_leaves_out_zero_where_p_is_small():
    results = [
        difference(random_matrices(i, 12), random_matrices(i + 200, 12, skill=430), mean_iou) for i in range(120)
    ]
    assert all((one.p <= 0.05) == (one.low > 0 or one.high < 0) for one in results)
    assert {one.p <= 0.05 for one in results if 0.042 < one.p < 0.058} == {False, True}  # it was near


def test_a_lead_on_every_image_is_found():
    first = random_matrices(0, 30)
    second = first + np.random.default_rng(1).integers(10, 60, (30, 1, 1)) * np.eye(3, dtype=int)
    result = difference(first, second, mean_iou)
    assert 0 < result.low < result.value < result.high
    assert result.p == 0.0001  # none of the swaps comes near


def test_the_interval_of_a_large_lead_is_not_that_of_swapped_networks():
    """30 images of equal size on which the second finds twice as much."""
    rng = np.random.default_rng(0)
    first, second = (np.stack([rng.integers(low, low + 100, 30), np.full(30, 1000)], 1) for low in (250, 550))
    result = difference(first, second, share)
    lead = (second - first)[:, 0] / 1000
    reach = stats.t.ppf(0.975, 29) * lead.std(ddof=1) / np.sqrt(30)
    assert (result.low, result.high) == pytest.approx((lead.mean() - reach, lead.mean() + reach), abs=0.002)


def test_five_units_never_show_a_difference():
    first = random_matrices(0, 5)
    second = first + np.random.default_rng(1).integers(100, 400, (5, 1, 1)) * np.eye(3, dtype=int)
    assert difference(first, second, mean_iou).p > 0.05


def test_one_unit_never_shows_a_difference():
    first = random_matrices(0, 40)
    second = first.copy()
    second[7] = 1000 * np.eye(3)
    result = difference(first, second, mean_iou)
    assert result.value > 0 and result.p == 1 and result.low <= 0


def test_pairs_without_an_interval_say_why():
    counts = random_matrices(0, 20)
    same = difference(counts, counts, mean_iou)
    assert same == Difference(0.0, None, None, None, "every image shows the same difference")
    assert difference(counts[:4], counts[4:8], mean_iou).note == "4 images: no interval below 5"
    rising = difference(right_of_ten(*[5] * 20), right_of_ten(*[7] * 20), share, unit="group")
    assert rising == Difference(pytest.approx(0.2), None, None, None, "every group shows the same difference")
    lone = np.array([[5, 10]] + [[0, 0]] * 9)
    assert difference(lone, lone, share).note == "one image alone decides the score"
    assert difference(0 * lone, 0 * lone, share).note == "no score"
    few, others = np.zeros((2, 10, 2), int)
    few[:2], others[2:4] = ((1, 4), (3, 4)), ((2, 4), (4, 4))
    assert difference(few, others, share).note == "no score once the networks are swapped on some images"
    with pytest.raises(ValueError, match=r"shapes \(20, 3, 3\) and \(19, 3, 3\)"):
        difference(counts, counts[1:], mean_iou)


def test_methods_by_hand():
    """Two methods of 3 and 4 seeds: Welch's degrees of freedom, with the images' variance as a third part."""
    first, second = random_matrices(0, 3, 20), random_matrices(1, 4, 20, skill=420)
    result = difference_of_methods(first, second, mean_iou)
    scores = [[mean_iou(run.sum(0)) for run in runs] for runs in (first, second)]
    value = np.mean(scores[1]) - np.mean(scores[0])
    without = [
        np.mean([mean_iou(np.delete(run, i, 0).sum(0)) for run in second])
        - np.mean([mean_iou(np.delete(run, i, 0).sum(0)) for run in first])
        for i in range(20)
    ]
    squares = (without - np.mean(without)) ** 2
    images = 19 / 20 * squares.sum()
    df = min(19, 2 * squares.sum() ** 2 / (squares**2).sum() - 1)
    seeds = [np.var(one, ddof=1) / len(one) for one in scores]
    variance = images + sum(seeds)
    freedom = variance**2 / (images**2 / df + seeds[0] ** 2 / 2 + seeds[1] ** 2 / 3)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert (result.value, result.low, result.high) == pytest.approx((value, value - reach, value + reach))
    assert result.p == pytest.approx(2 * stats.t.cdf(-abs(value) / np.sqrt(variance), freedom))


def test_seeds_that_differ_widen_the_interval():
    runs = random_matrices(0, 1, 30).repeat(3, axis=0)
    better = runs + 60 * np.eye(3, dtype=int) + random_matrices(1, 1, 30, skill=0) // 4
    steady = difference_of_methods(runs, better, mean_iou)
    shaky = difference_of_methods(
        runs + np.arange(3)[:, None, None, None] * 60 * np.eye(3, dtype=int), better, mean_iou
    )
    assert steady.p < 0.01 < shaky.p
    assert shaky.high - shaky.low > 3 * (steady.high - steady.low)


def test_methods_without_an_interval_say_why():
    runs = random_matrices(0, 3, 20)
    assert difference_of_methods(runs[:2], runs, mean_iou).note == "2 seeds: no interval below 3"
    assert difference_of_methods(runs[:, :4], runs[:, :4], mean_iou).note == "4 images: no interval below 5"
    same = difference_of_methods(runs[[0, 0, 0]], runs[[0, 0, 0]], mean_iou)
    assert same == Difference(0.0, None, None, None, "every seed and image shows the same difference")
    with pytest.raises(ValueError, match="the same units are wanted"):
        difference_of_methods(runs, runs[:, 1:], mean_iou)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
    with pytest.raises(ValueError, match="0 to 1 wanted"):
        holm([0.5, 1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_starts_from_bonferroni(p_values):
    adjusted = holm(p_values)
    assert all(p <= one <= 1 for p, one in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1, min(p_values) * len(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_a_statistic_that_is_not_vectorised_is_refused():
    with pytest.raises(ValueError, match="units, "):
        interval(right_of_ten(4, 5, 6, 7, 8), lambda sums: sums[..., 0].sum() / sums[..., 1].sum())


def test_tensorflow_is_not_needed():
    code = "import sys, engine.scoring.intervals; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


@pytest.fixture
def rough_truth(monkeypatch):
    """The truth from fewer images: fast, and near enough for a few hundred sets."""
    exact = coverage.true_counts
    monkeypatch.setattr(coverage, "true_counts", lambda population: exact(population, 30_000))


def test_intervals_of_simulated_sets_hold_the_truth(rough_truth):
    covered = coverage.miou_coverage("11 classes", 300)
    assert 0.91 <= np.mean(covered["ours"]) <= 0.99
    assert np.mean(covered["ours"]) > np.mean(covered["bootstrap"]) + 0.03
    assert np.median(covered["width"]) < 0.16


def test_equal_networks_are_rarely_told_apart_and_better_ones_often(rough_truth):
    rare = coverage.RARE
    assert np.mean(coverage.paired(rare, rare, 60, 400, seed=0)["told"]) <= 0.08
    assert np.mean(coverage.paired(rare, rare.shifted(1.2), 60, 200, seed=0)["told"]) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (_, images) in coverage.SETTINGS.items() if images >= 20])
def test_coverage_of_miou(name):
    assert 0.92 <= np.mean(coverage.miou_coverage(name, 2000)["ours"]) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", ["11 classes", "11 classes, groups of 3"])
def test_coverage_of_classes(name):
    for one in coverage.class_coverage(name, 2000):
        if len(one["ours"]) >= 400:
            assert 0.92 <= np.mean(one["ours"]) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", ["11 classes", "2 classes, one rare"])
def test_false_alarms_and_power(name):
    population, images = coverage.SETTINGS[name]
    second, _ = coverage.better(population, images, seed=0)
    assert np.mean(coverage.paired(population, population, images, 2000, seed=2)["told"]) <= 0.06
    as_good = coverage.equally_good(population)
    assert np.mean(coverage.paired(population, as_good, images, 2000, seed=5)["told"]) <= 0.06
    assert np.mean(coverage.paired(population, second, images, 2000, seed=4)["told"]) >= 0.8
