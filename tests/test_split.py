"""The split: seeded, stratified, whole groups together, independent of the order of listing."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.command import UserError
from data_pipeline.pairs import Pair, find_pairs
from data_pipeline.split import Split, make_split


def pairs_of(count, groups=None, split=None):
    return [
        Pair(f"p{i:03d}", Path(f"/d/i/p{i:03d}.png"), Path(f"/d/m/p{i:03d}.png"), split, groups and f"g{i % groups}")
        for i in range(count)
    ]


def everywhere(count, classes=2):
    return np.ones((count, classes), bool)


def stems(pairs):
    return [pair.stem for pair in pairs]


def test_shares_and_disjointness():
    split = make_split(pairs_of(200), everywhere(200), seed=0)
    assert [len(split.part(name)) for name in ("train", "val", "test")] == [140, 30, 30]
    assert sorted(stems(split.part("all"))) == stems(pairs_of(200))


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 60), st.integers(0, 5), st.randoms())
def test_same_split_whatever_the_order(count, seed, random):
    presence = np.random.default_rng(seed).random((count, 3)) < 0.5
    first = make_split(pairs_of(count), presence, seed)
    order = list(range(count))
    random.shuffle(order)
    again = make_split([pairs_of(count)[i] for i in order], presence[order], seed)
    assert again == first
    assert len(first.train) and len(first.val)
    assert not set(stems(first.train)) & set(stems(first.val) + stems(first.test))


def test_seeds_differ():
    assert stems(make_split(pairs_of(50), everywhere(50), 0).test) != stems(
        make_split(pairs_of(50), everywhere(50), 1).test
    )


def test_a_rare_class_reaches_every_part():
    presence = np.ones((100, 2), bool)
    presence[:, 1] = np.arange(100) < 7
    for seed in range(10):
        split = make_split(pairs_of(100), presence, seed)
        held = [
            sum(presence[int(stem[1:]), 1] for stem in stems(split.part(name))) for name in ("train", "val", "test")
        ]
        assert held == [5, 1, 1]


def test_groups_never_straddle():
    pairs = pairs_of(60, groups=9)
    split = make_split(pairs, everywhere(60), seed=3)
    groups = [{pair.group for pair in split.part(name)} for name in ("train", "val", "test")]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert all(groups)


def test_images_without_any_class_are_spread_too():
    presence = np.ones((100, 2), bool)
    presence[:20] = False
    split = make_split(pairs_of(100), presence, seed=0)
    assert [len(split.part(name)) for name in ("train", "val", "test")] == [70, 15, 15]
    assert all(sum(int(stem[1:]) < 20 for stem in stems(split.part(name))) >= 2 for name in ("val", "test"))


@pytest.mark.parametrize(("sizes", "least"), [((25, 25, 25, 25), 25), ((80, 10, 10), 10), ((90, 10), 0)])
def test_uneven_groups_keep_training_the_largest(sizes, least):
    names = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    pairs = [Pair(f"p{i:03d}", Path("i"), Path("m"), None, group) for i, group in enumerate(names)]
    for seed in range(20):
        split = make_split(pairs, everywhere(len(pairs)), seed)
        counts = [len(split.part(name)) for name in ("train", "val", "test")]
        assert counts[0] == max(counts) and counts[1] >= max(10, least) and counts[2] >= least, counts


def test_the_data_sets_own_split_is_kept():
    pairs = pairs_of(5, split="train") + [Pair("v", Path("/d/i/v.png"), Path("/d/m/v.png"), "val")]
    split = make_split(pairs, everywhere(6), seed=0)
    assert (len(split.train), stems(split.val), split.test, split.fixed) == (5, ["v"], [], True)


def test_a_missing_validation_part_comes_from_training():
    pairs = pairs_of(20, split="train") + [Pair("t", Path("/d/i/t.png"), Path("/d/m/t.png"), "test")]
    split = make_split(pairs, everywhere(21), seed=0)
    assert (len(split.train), len(split.val), stems(split.test)) == (17, 3, ["t"])


def test_train_counts_are_nested():
    subsets = [set(stems(make_split(pairs_of(100), everywhere(100), 0, n).train)) for n in (5, 20, 70)]
    assert [len(subset) for subset in subsets] == [5, 20, 70]
    assert subsets[0] < subsets[1] < subsets[2]
    whole = make_split(pairs_of(100), everywhere(100), 0)
    assert make_split(pairs_of(100), everywhere(100), 0, 5).test == whole.test


@pytest.mark.parametrize(
    ("pairs", "count", "words"),
    [
        (pairs_of(1), None, "too few"),
        (pairs_of(8, groups=1), None, "8 images in 1 groups are too few"),
        (pairs_of(10), 8, "--train-count 8: the training part has 7"),
        (pairs_of(4, split="test"), None, "no train part"),
    ],
)
def test_refusals(pairs, count, words):
    with pytest.raises(UserError, match=words):
        make_split(pairs, everywhere(len(pairs)), 0, count)


def test_split_json_round_trip():
    split = make_split(pairs_of(10, groups=5), everywhere(10), 0)
    stored = json.loads(json.dumps(split.to_json(Path("/d"))))
    assert stored["train"][0]["image"].startswith("i/p")
    moved = Split.from_json(stored, Path("/elsewhere"))
    assert stems(moved.test) == stems(split.test)
    assert moved.test[0].mask == Path("/elsewhere/m") / split.test[0].mask.name


@settings(deadline=None, max_examples=60)
@given(st.integers(12, 40), st.integers(2, 4), st.integers(0, 12), st.integers(0, 3), st.randoms())
def test_folds_test_every_image_once_and_never_tear_a_group(count, folds, more, seed, random):
    groups = 3 * folds + more
    presence = np.random.default_rng(seed).random((count, 3)) < 0.4
    pairs = pairs_of(count, groups=min(groups, count))
    order = list(range(count))
    random.shuffle(order)
    tested = []
    for fold in range(folds):
        split = make_split(pairs, presence, seed, folds=folds, fold=fold)
        assert make_split([pairs[i] for i in order], presence[order], seed, folds=folds, fold=fold) == split
        parts = [{pair.group for pair in split.part(name)} for name in ("train", "val", "test")]
        assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert sorted(stems(split.part("all"))) == stems(pairs)
        tested += stems(split.test)
    assert sorted(tested) == stems(pairs)


def test_folds_are_stratified():
    presence = np.ones((100, 2), bool)
    presence[:, 1] = np.arange(100) < 20
    held = []
    for fold in range(5):
        split = make_split(pairs_of(100), presence, 0, folds=5, fold=fold)
        assert len(split.test) == 20
        held.append(sum(int(stem[1:]) < 20 for stem in stems(split.test)))
    assert held == [4] * 5


@pytest.mark.parametrize(
    ("pairs", "folds", "fold", "words"),
    [
        (pairs_of(10), 1, 0, "2 to 10 folds"),
        (pairs_of(10), 5, 5, "a fold from 0"),
        (pairs_of(10, groups=3), 4, 0, "2 to 3 folds"),
        (pairs_of(10, split="train"), 5, 0, "a split of its own"),
    ],
)
def test_folds_that_cannot_be(pairs, folds, fold, words):
    with pytest.raises(UserError, match=words):
        make_split(pairs, everywhere(len(pairs)), 0, folds=folds, fold=fold)


def test_smaller_training_subsets_lie_inside_larger_ones_in_every_fold():
    pairs, presence = pairs_of(60, groups=20), np.random.default_rng(0).random((60, 3)) < 0.5
    for fold in range(3):
        sets = [set(stems(make_split(pairs, presence, 1, n, 3, fold).train)) for n in (5, 10, 20)]
        assert sets[0] < sets[1] < sets[2]


def test_groups_by_a_regular_expression(tmp_path):
    make_folder(tmp_path, 12, name="clip_")
    for index in range(12):
        for kind in ("images", "masks"):
            path = tmp_path / kind / f"clip_{index:03d}.png"
            path.rename(path.with_name(f"{'abcd'[index % 4]}_{index:03d}.png"))
    pairs, _ = find_pairs(tmp_path, group_by=r"^([a-d])_")
    assert [pair.group for pair in pairs] == [stem[0] for stem in stems(pairs)]
    split = make_split(pairs, everywhere(12), 0)
    assert sorted(len({pair.group for pair in split.part(name)}) for name in ("train", "val", "test")) == [1, 1, 2]


def test_folds_share_a_rare_class_evenly():
    """8 of 40 images hold it: 2 of each of 4 folds."""
    presence = np.ones((40, 2), bool)
    presence[:, 1] = np.arange(40) % 5 == 0
    for seed in range(5):
        tested = [make_split(pairs_of(40), presence, seed, folds=4, fold=fold).test for fold in range(4)]
        assert [sum(int(pair.stem[1:]) % 5 == 0 for pair in test) for test in tested] == [2, 2, 2, 2]
