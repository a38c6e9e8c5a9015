"""A user's own folder: labels read off masks, splits that keep groups together, and what it cannot be asked."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from test_hypotheses import ALL_TRUE, SETTINGS, results
from test_study import call

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from study.cells import TEST, TRAIN, Spec, draw, run_cells
from study.findings import Study, findings
from study.own import Own, part_of, path_of, prepare, split, stored, to_rgb
from study.pilot import SEEDS as pilot_seeds
from study.pilot import Pilot, run_pilot
from study.plan import PRESETS, Plan, make_plan, settings_of_pilot, with_own, write_pilot
from study.verdicts import INCONCLUSIVE, SUPPORTED

SEEDS = (0, 1, 2)


def folder(path, masks, images=None, names=None):
    """images/ and masks/ of grey values 0…; an image is its mask with noise unless given."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True)
    classes = [{"name": f"class_{value}", "value": value} for value in range(4)]
    (path / "classes.json").write_text(json.dumps({"classes": classes, "void": [VOID]}))
    for part in ("images", "masks"):
        (path / part).mkdir(parents=True)
    for i, mask in enumerate(masks):
        name = names[i] if names else f"{i:03}"
        image = images[i] if images is not None else 60 * mask[..., None] + rng.integers(0, 50, (*mask.shape, 3))
        cv2.imwrite(str(path / "images" / f"{name}.png"), image.astype(np.uint8))
        cv2.imwrite(str(path / "masks" / f"{name}.png"), mask.astype(np.uint8))
    return path


def square(label: int, i: int, side: int = 12) -> np.ndarray:
    mask = np.zeros((32, 40), np.uint8)
    top, left = i % (32 - side), (3 * i) % (40 - side)
    mask[top : top + side, left : left + side] = label
    return mask


def test_the_label_is_the_largest_class_of_the_mask(tmp_path):
    masks = [square(1 + i % 2, i) for i in range(40)]
    masks[0][:3, :3] = 3 - masks[0].max()  # a little of the other
    masks += [np.zeros((32, 40), np.uint8), square(3, 0)]  # nothing to be told; a class of one image
    own = prepare(folder(tmp_path / "data", masks), tmp_path, 32, SEEDS)
    images, kept, labels, groups = stored(path_of(tmp_path, own.fingerprint))
    assert labels.tolist() == [i % 2 for i in range(40)] and images.shape == (40, 32, 32, 3) and len(set(groups)) == 40
    assert set(np.unique(kept)) == {0, 1, 2} and own.num_classes == 2 and own.located == 1 and own.groups == 40
    train, test = split(labels, groups, 0)
    assert len(test) == 13 and not set(train) & set(test) and len(train) + len(test) == 40
    assert not np.array_equal(split(labels, groups, 1)[1], test)
    assert own.pool == 2 * min(np.bincount(labels[split(labels, groups, seed)[0]]).min() for seed in SEEDS)


def test_training_images_are_nested_and_in_turn_and_never_tested(tmp_path):
    own = prepare(folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(40)]), tmp_path, 32, SEEDS)
    spec = Spec("S", 0, 8, 4, 0.001, own, width=4)
    few, many = (draw(spec, TRAIN, count, 0.0, tmp_path) for count in (8, 16))
    assert many.labels.tolist() == [0, 1] * 8 and np.array_equal(few.images, many.images[:8])
    test = draw(spec, TEST, 1000, 0.0, tmp_path)
    assert len(test.labels) == 13 and not any(np.array_equal(a, b) for a in many.images for b in test.images)
    assert len(part_of(tmp_path, own, 0, False, own.pool)[2]) == own.pool


def test_films_are_not_cut(tmp_path):
    rows = ["image,mask,group"]
    path = folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(60)])
    rows += [f"images/{i:03}.png,masks/{i:03}.png,film{i // 10}" for i in range(60)]
    (path / "list.csv").write_text("\n".join(rows))
    own = prepare(path / "list.csv", tmp_path, 32, SEEDS)
    _, _, labels, groups = stored(path_of(tmp_path, own.fingerprint))
    assert own.groups == 6
    for seed in SEEDS:
        train, test = split(labels, groups, seed)
        assert len(test) == 20 and not set(groups[train]) & set(groups[test])


def test_too_little_to_label_is_said(tmp_path):
    with pytest.raises(UserError, match=r"two foreground classes .* the largest are: class_1 20, class_2 0"):
        prepare(folder(tmp_path / "one", [square(1, i) for i in range(20)]), tmp_path, 32, SEEDS)


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (np.full((2, 2), 7, np.uint8), 7),
        (np.full((2, 2, 1), 65535, np.uint16), 255),
        (np.full((2, 2, 4), 9, np.uint8), 9),
    ],
)
def test_images_of_any_kind_become_rgb(image, wanted):
    made = to_rgb(image)
    assert made.shape == (2, 2, 3) and made.dtype == np.uint8 and (made == wanted).all()


def test_a_folder_is_asked_what_it_can_answer(tmp_path):
    own = Own("abc", 32, 2, pool=24, groups=40, located=1.0)
    plan = make_plan(tmp_path, "medium", (), own)
    assert plan.names == ("H6a", "H6b", "H1", "H2") and plan.inferential
    assert plan.settings.count == 8 and plan.settings.counts == (16,)
    assert not [name for name in plan.cells()[0] if any(word in name for word in ("key", "tied", "fine-tuned"))]
    assert make_plan(tmp_path, "medium", (), own) == plan
    with pytest.raises(UserError, match="--hypothesis H4: small has H6a, H6b, H2"):
        make_plan(tmp_path / "other", "small", ("H4",), own)
    assert not make_plan(tmp_path / "film", "medium", (), replace(own, groups=1)).inferential


def test_masks_that_say_no_more_than_the_label_support_no_lead(tmp_path):
    masks = [np.full((32, 40), 1 + i % 2, np.uint8) for i in range(40)]
    for i in range(0, 40, 4):
        masks[i][0, 0] = VOID  # which says nothing
    masks += [np.zeros((32, 40), np.uint8)] * 2  # the background's own
    own = prepare(folder(tmp_path / "data", masks), tmp_path, 32, SEEDS)
    assert own.located == 0
    plan = Plan("medium", replace(SETTINGS, knobs=own), tuple(range(12)), ("H6a", "H6b"), wide=True)
    found = findings(Study(plan, [results(ALL_TRUE, seed, settings=plan.settings) for seed in plan.seeds]))
    assert [one.words for one in found] == [INCONCLUSIVE] * 2 and all("no more than" in one.reasons[0] for one in found)


def test_a_folder_that_cannot_be_split_is_refused(tmp_path):
    films = folder(tmp_path / "films", [square(1 + i // 30, i) for i in range(60)])
    rows = [f"images/{i:03}.png,masks/{i:03}.png,film{i // 10}" for i in range(60)]  # each film of one class
    (films / "list.csv").write_text("\n".join(["image,mask,group", *rows]))
    with pytest.raises(UserError, match="lacks a class in one of them"):
        prepare(films / "list.csv", tmp_path, 32, tuple(range(12)))
    with pytest.raises(UserError, match=r"each split leaves 12 training images.* at least twice 8 are wanted"):
        with_own(SETTINGS, Own("abc", 32, 2, pool=12, groups=40, located=1.0))
    ten = with_own(SETTINGS, Own("abc", 32, 10, pool=40, groups=40, located=1.0))
    assert ten.count == 16 and ten.counts == (32,)


def test_another_pilot_is_not_taken(tmp_path):
    own = Own("abc", 32, 2, pool=24, groups=40, located=1.0)
    base = PRESETS["small"].base
    write_pilot(tmp_path, Pilot(with_own(base, own), {}, {"S": 1.0}))
    assert settings_of_pilot(tmp_path, "small", own).knobs == own
    for preset, images in (("small", None), ("full", None), ("small", replace(own, fingerprint="def"))):
        with pytest.raises(UserError, match="tuned another world or other images"):
            settings_of_pilot(tmp_path, preset, images)


@pytest.mark.slow
def test_a_users_folder_from_plan_to_report(tmp_path):
    """The commands as a user gives them, on 60 images; one seed, so not inferential."""
    data = folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(60)])
    flags = ("--data", data, "--size", 32, "--out", tmp_path / "out")
    planned = call("plan", "--preset", "smoke", *flags)
    assert planned.returncode == 0 and "6 cells, 6 of them missing: about" in planned.stdout, planned.stderr
    done = call("run", "--preset", "smoke", *flags, "--jobs", 2)
    assert done.returncode == 0 and done.stdout.count("not inferential") == 3, done.stderr
    page = re.sub("(?s)<(script|style).*?</", "", (tmp_path / "out" / "study.html").read_text())
    assert "the seeds split one folder" in page and "The scenes" not in page and "drawn" not in page
    again = call("report", "--out", tmp_path / "out")
    assert again.returncode == 0 and again.stdout == done.stdout
    other = folder(tmp_path / "other", [square(1 + i % 2, i, side=9) for i in range(60)])
    refused = call("run", "--preset", "smoke", "--data", other, "--size", 32, "--out", tmp_path / "out")
    assert refused.returncode == 1 and "holds another plan" in refused.stderr


@pytest.mark.slow
def test_a_pilot_of_a_users_folder(tmp_path):
    """Its grids, real trainings of few steps."""
    data = folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(60)])
    own = prepare(data, tmp_path, 32, (*SEEDS, *pilot_seeds))
    base = replace(PRESETS["small"].base, steps=8, width=4)
    found = run_pilot(tmp_path, with_own(base, own), jobs=2)
    assert set(found.ranges) == set("SCE") and "S moved" not in found.settings.rates


@pytest.mark.slow
def test_masks_of_other_images_support_nothing(tmp_path):
    """The whole study on a folder whose images and masks were shuffled: six seeds, real trainings."""
    rng = np.random.default_rng(0)
    masks = [square(1 + i % 2, i) for i in range(120)]
    images = [60 * mask[..., None] + rng.integers(0, 50, (*mask.shape, 3)) for mask in masks]
    order = rng.permutation(120)
    own = prepare(folder(tmp_path / "data", [masks[i] for i in order], images), tmp_path, 32, tuple(range(6)))
    settings = replace(make_plan(tmp_path, "small", (), own).settings, steps=60, width=4, count=16)
    plan = Plan("small", settings, tuple(range(6)), ("H6a", "H6b", "H2"), wide=False)
    cells = plan.cells()
    run_cells(tmp_path, [spec for each in cells.values() for spec in each.values()], jobs=2)
    from study.cells import result_of

    study = Study(plan, [{name: result_of(tmp_path, spec) for name, spec in each.items()} for each in cells.values()])
    assert SUPPORTED not in [one.words for one in findings(study)]
    assert study.values("E").mean() == pytest.approx(0.5, abs=0.1) and study.values("S").mean() < 0.6
