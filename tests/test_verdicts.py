"""Verdicts of the study: numbers by hand, planted truths, and power that is what it is said to be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from study.verdicts import (
    INCONCLUSIVE,
    NOT_SUPPORTED,
    POWER,
    SUPPORTED,
    Contrast,
    Estimate,
    decide,
    detectable_effect,
    estimate,
    judge,
    mean_difference,
    power,
    power_of_none,
    pseudo_values,
    seeds_that_settle,
)

GAIN = Contrast("gain", mean_difference((0, 1)))


def ratio(numbers):
    return float(numbers[:, 0].mean() / numbers[:, 1].mean())


def test_a_mean_by_hand():
    """Differences 0.1, 0.3, 0.2, 0.2: mean 0.2, standard error 0.0408."""
    numbers = np.array([[0.6, 0.5], [0.8, 0.5], [0.7, 0.5], [0.7, 0.5]])
    found = estimate(GAIN, numbers)
    assert found.value == pytest.approx(0.2) and found.error == pytest.approx(0.1 * np.sqrt(2 / 3) / 2)
    reach = 3.18245 * found.error
    assert (found.low, found.high) == pytest.approx((0.2 - reach, 0.2 + reach), abs=1e-5)
    paired = stats.ttest_rel(numbers[:, 0], numbers[:, 1])
    assert found.p_for == pytest.approx(paired.pvalue)
    assert found.p_against == pytest.approx(
        stats.ttest_1samp(numbers[:, 0] - numbers[:, 1], 0.05, alternative="less")[1]
    )


def test_the_wrong_direction_is_no_support():
    found = estimate(GAIN, np.array([[0.5, 0.6], [0.5, 0.8], [0.5, 0.7], [0.5, 0.7]]))
    assert found.p_for == 1 and found.p_against < 0.01


def test_a_ratio_of_means_takes_whole_seeds_out():
    numbers = np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 4.0]])
    whole, without = 6 / 8, np.array([5 / 6, 4 / 6, 3 / 4])
    assert pseudo_values(numbers, ratio) == pytest.approx(3 * whole - 2 * without)


def test_equality_is_shown_not_assumed():
    equal = Contrast("same", mean_difference((0, 1)), equal=True)
    close = estimate(equal, np.array([[0.5, 0.5], [0.51, 0.5], [0.49, 0.5], [0.5, 0.5], [0.5, 0.51]]))
    far = estimate(equal, np.array([[0.7, 0.5], [0.71, 0.5], [0.69, 0.5], [0.7, 0.5]]))
    wide = estimate(equal, np.array([[0.9, 0.5], [0.1, 0.5], [0.6, 0.5], [0.4, 0.5]]))
    assert close.p_for < 0.001 and far.p_for > 0.99 and far.p_against < 0.001
    assert wide.p_for > 0.05 and wide.p_against > 0.05


@pytest.mark.parametrize(
    ("effect", "spread", "words"), [(0.3, 0.05, SUPPORTED), (0.0, 0.02, NOT_SUPPORTED), (0.05, 0.3, INCONCLUSIVE)]
)
def test_verdicts_of_planted_truths(effect, spread, words):
    rng = np.random.default_rng(0)
    family = [Contrast(f"h{i}", mean_difference((0, 1))) for i in range(6)]
    numbers = {one.name: np.stack([effect + spread * rng.standard_normal(12), np.zeros(12)], 1) for one in family}
    found = judge(family, numbers)
    assert {one.words for one in found} == {words}
    assert all(one.p_for_adjusted >= one.estimate.p_for for one in found)


def test_a_sure_effect_that_is_too_small_to_matter_is_not_supported():
    numbers = np.stack([0.01 + 0.001 * np.arange(12), np.zeros(12)], 1)
    (found,) = judge([GAIN], {"gain": numbers})
    assert found.p_for_adjusted < 0.001 and found.words == NOT_SUPPORTED


def test_power_is_what_it_is_said_to_be():
    """400 studies of six hypotheses, of which one is true by just the detectable effect."""
    rng, seeds, spread = np.random.default_rng(1), 12, 0.1
    effect = detectable_effect(spread, seeds, 1)
    assert power(effect, spread, seeds, 1) == pytest.approx(POWER, abs=1e-6)
    found = 0
    for _ in range(400):
        numbers = np.stack([effect + spread * rng.standard_normal(seeds), np.zeros(seeds)], 1)
        found += estimate(GAIN, numbers).p_for < 0.05
    assert found / 400 == pytest.approx(POWER, abs=0.05)


@pytest.mark.slow
def test_false_verdicts_are_rare_in_a_family():
    """No effect anywhere: how often any of six is supported; an effect of interest everywhere: any not supported."""
    rng, seeds = np.random.default_rng(2), 12
    family = [Contrast(f"h{i}", mean_difference((0, 1))) for i in range(6)]
    false = {0.0: 0, 0.05: 0}
    for effect, wrong in ((0.0, SUPPORTED), (0.05, NOT_SUPPORTED)):
        for _ in range(400):
            numbers = {
                one.name: np.stack([effect + 0.08 * rng.standard_normal(seeds), np.zeros(seeds)], 1) for one in family
            }
            false[effect] += any(one.words == wrong for one in judge(family, numbers))
    assert max(false.values()) / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_what_is_detectable_is_no_smaller_than_what_matters():
    """Sure numbers: an effect is found as soon as its estimate is no longer below the smallest of interest."""
    effect = detectable_effect(0.02, 12, 1)
    drawn = effect + 0.02 * np.random.default_rng(4).standard_normal((400, 12))
    numbers = [np.stack([one, np.zeros(12)], 1) for one in drawn]
    found = np.mean([decide([GAIN], {GAIN.name: one})[0][-1] == SUPPORTED for one in numbers])
    assert effect > GAIN.smallest and found == pytest.approx(POWER, abs=0.05)


@pytest.mark.parametrize("spread", [0.003, 0.03, 0.093, 0.0931, 0.3, 1.0])
@pytest.mark.parametrize("family", [1, 4, 7])
def test_what_is_detectable_is_found_just_so_often(spread, family):
    effect = detectable_effect(spread, 12, family)
    assert power(effect, spread, 12, family) == pytest.approx(POWER, abs=1e-6)
    found = [power(each * effect, spread, 12, family) for each in (0.5, 1, 2, 5, 10, 20, 40, 100)]
    assert np.isfinite(found).all() and found == sorted(found) and found[-1] == 1


@pytest.mark.parametrize(("equal", "words"), [(False, NOT_SUPPORTED), (True, SUPPORTED)])
def test_so_many_seeds_tell_that_there_is_no_effect(equal, words):
    rng, spread = np.random.default_rng(3), 0.1
    contrast = Contrast("gain", mean_difference((0, 1)), equal=equal)
    known = Estimate("gain", 0.0, spread / np.sqrt(12), 12, 0, 0, 1, 1)
    needed = seeds_that_settle(contrast, known, 1)
    assert power_of_none(contrast, spread, needed, 1) >= POWER > power_of_none(contrast, spread, needed - 1, 1)
    found = 0
    for _ in range(400):
        numbers = np.stack([spread * rng.standard_normal(needed), np.zeros(needed)], 1)
        found += decide([contrast], {"gain": numbers})[0][-1] == words
    assert found / 400 == pytest.approx(POWER, abs=0.05)
    assert seeds_that_settle(contrast, replace(known, error=1.0), 6) is None


def test_seeds_that_split_the_same_images_are_less_sure():
    """By hand: four numbers of deviation 1; half as many test images as training images."""
    numbers = np.stack([np.array([-1.0, -1.0, 1.0, 1.0]) * np.sqrt(3) / 2, np.zeros(4)], 1)
    own = replace(GAIN, overlap=0.5)
    assert estimate(GAIN, numbers).error == pytest.approx(0.5)
    assert estimate(own, numbers).error == pytest.approx(np.sqrt(1 / 4 + 0.5))


def test_too_few_seeds_are_refused():
    with pytest.raises(ValueError, match="1 seeds; two at least"):
        estimate(GAIN, np.ones((1, 2)))
    with pytest.raises(ValueError, match="no number"):
        estimate(GAIN, np.full((3, 2), np.nan))
