"""A user's own folder: labels read off masks, splits that keep groups together, and what it cannot be asked."""

import itertools
import json
import re
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
from conftest import ROOT, run_script
from test_hypotheses import ALL_TRUE, SETTINGS, results

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.files import read_json
from data_pipeline.source import Source
from study import advice
from study.__main__ import describe
from study.arms import batches, clicks
from study.cells import TEST, TRAIN, Spec, draw, keep_weights, result_of, run_cells
from study.contrasts import cells_of_own
from study.findings import Study, findings
from study.own import Own, classes_that_give_most, part_of, path_of, prepare, split, stored, to_rgb
from study.pilot import SEEDS as pilot_seeds
from study.pilot import Pilot, run_grid
from study.plan import PRESETS, Plan, make_plan, plan_from, rates_of_own, with_own, write_pilot
from study.scenes import Images
from study.verdicts import INCONCLUSIVE

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
    own = prepare(Source(data=folder(tmp_path / "data", masks)), tmp_path, 32, SEEDS).own
    images, kept, labels, groups = stored(path_of(tmp_path, own.fingerprint))
    assert labels.tolist() == [i % 2 for i in range(40)] and images.shape == (40, 32, 32, 3) and len(set(groups)) == 40
    assert set(np.unique(kept)) == {0, 1, 2} and own.num_classes == 2 and own.located == 1 and own.groups == 40
    train, test = split(labels, groups, 0)
    assert len(test) == 13 and not set(train) & set(test) and len(train) + len(test) == 40
    assert not np.array_equal(split(labels, groups, 1)[1], test)
    assert own.pool == 2 * min(np.bincount(labels[split(labels, groups, seed)[0]]).min() for seed in SEEDS)


def test_training_images_are_nested_and_in_turn_and_never_tested(tmp_path):
    own = prepare(
        Source(data=folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(40)])), tmp_path, 32, SEEDS
    ).own
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
    own = prepare(Source(data=path / "list.csv"), tmp_path, 32, SEEDS).own
    _, _, labels, groups = stored(path_of(tmp_path, own.fingerprint))
    assert own.groups == 6
    for seed in SEEDS:
        train, test = split(labels, groups, seed)
        assert len(test) == 20 and not set(groups[train]) & set(groups[test])


def test_too_little_to_label_is_said(tmp_path):
    with pytest.raises(UserError, match=r"two foreground classes .* the largest are: class_1 20, class_2 0"):
        prepare(Source(data=folder(tmp_path / "one", [square(1, i) for i in range(20)])), tmp_path, 32, SEEDS)


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


def test_a_folder_is_asked_whether_masks_are_worth_it(tmp_path):
    own = Own("abc", 32, 2, pool=24, groups=40, located=1.0, symmetry="none")
    plan = make_plan(tmp_path, "small", (), own)
    assert plan.inferential and plan.settings.count == 8 and plan.settings.counts == (16,)
    assert set(plan.cells()[0]) == {"labels", "labels of 16", "1 click", "16 clicks", "masks"}
    both = make_plan(tmp_path / "both", "medium", (), own, weights="a1")
    ways = {"labels", "labels of 16", "1 click", "16 clicks", "masks", "masks of 16"}
    assert set(both.cells()[0]) == ways | {"labels pretrained of 16", "masks pretrained of 16"} | {
        f"{way} pretrained" for way in ways if " of " not in way
    }
    cells = both.cells()[0]
    assert cells["masks pretrained"].weights == "a1" and not cells["masks"].weights
    assert (cells["1 click"].on_target, cells["1 click"].off_target) == (1, 0)
    assert make_plan(tmp_path, "small", (), own) == plan == plan_from(read_json(tmp_path / "plan.json"), tmp_path)
    with pytest.raises(UserError, match="--hypothesis H4: small own has none"):
        make_plan(tmp_path / "other", "small", ("H4",), own)
    with pytest.raises(UserError, match="--preset full has no study of your own images"):
        make_plan(tmp_path / "other", "full", (), own)
    films = make_plan(tmp_path / "film", "small", (), replace(own, groups=3, one_out=True), ())
    assert films.seeds == (0, 1, 2) and not films.inferential


def test_masks_that_say_no_more_than_the_label_support_no_lead(tmp_path):
    masks = [np.full((32, 40), 1 + i % 2, np.uint8) for i in range(40)]
    for i in range(0, 40, 4):
        masks[i][0, 0] = VOID  # which says nothing
    masks += [np.zeros((32, 40), np.uint8)] * 2  # the background's own
    own = prepare(Source(data=folder(tmp_path / "data", masks)), tmp_path, 32, SEEDS).own
    assert own.located == 0
    plan = Plan("medium", replace(SETTINGS, knobs=own), tuple(range(12)), ("H6a", "H6b"), wide=True)
    found = findings(Study(plan, [results(ALL_TRUE, seed, settings=plan.settings) for seed in plan.seeds]))
    assert [one.words for one in found] == [INCONCLUSIVE] * 2 and all("no more than" in one.reasons[0] for one in found)


def test_a_folder_that_cannot_be_split_is_refused(tmp_path):
    films = folder(tmp_path / "films", [square(1 + i // 30, i) for i in range(60)])
    rows = [f"images/{i:03}.png,masks/{i:03}.png,film{i // 30}" for i in range(60)]  # each film of one class
    (films / "list.csv").write_text("\n".join(["image,mask,group", *rows]))
    with pytest.raises(UserError, match="lacks a class in one of them"):
        prepare(Source(data=films / "list.csv"), tmp_path, 32, tuple(range(12)))
    with pytest.raises(UserError, match=r"each split leaves 12 training images.* twice 8 are wanted: more images"):
        with_own(SETTINGS, Own("abc", 32, 2, pool=12, groups=40, located=1.0))
    ten = with_own(SETTINGS, Own("abc", 32, 10, pool=40, groups=40, located=1.0))
    assert ten.count == 16 and ten.counts == (32,)


def test_another_pilot_is_not_taken(tmp_path):
    own = Own("abc", 32, 2, pool=24, groups=40, located=1.0)
    base = PRESETS["small own"].base
    tuned = replace(with_own(base, own), rates=base.rates | {"masks": 0.02})
    write_pilot(tmp_path, Pilot(tuned, {}, {"best arm": 1.0}))
    assert rates_of_own(tmp_path, base, own).rates == tuned.rates
    with pytest.raises(UserError, match="tuned other images"):
        make_plan(tmp_path, "small", (), replace(own, fingerprint="def"))
    with pytest.raises(UserError, match="tuned another world or other images"):
        make_plan(tmp_path, "small")


def call(*flags):
    return run_script("-m", "study", *flags, cwd=ROOT)


def film(tmp_path, films: int = 3, frames: int = 20):
    """Frames of films by name, each film of both classes; the camera moves along a landscape of its own."""
    rng = np.random.default_rng(1)
    lands = [cv2.resize(rng.integers(0, 180, (6, 30, 3)).astype(np.uint8), (40 + 4 * frames, 32)) for _ in range(films)]
    masks = [square(1 + i % 2, 3 * i, side=6) for i in range(films * frames)]
    places = [(i // frames, 4 * (i % frames)) for i in range(films * frames)]
    images = [lands[k][:, x : x + 40] + 30 * mask[..., None] for (k, x), mask in zip(places, masks, strict=True)]
    names = [f"film{'abcdef'[i // frames]}_{i:03}" for i in range(films * frames)]
    return folder(tmp_path / "films", masks, images, names)


def test_films_that_would_be_torn_are_refused_until_they_are_named(tmp_path):
    data = film(tmp_path)
    with pytest.raises(UserError, match=r"the split tears 3 sequences of similar images apart.*--group-by"):
        prepare(Source(data=data), tmp_path, 32, SEEDS)
    reading = prepare(Source(data=data, group_by=r"^(film.)_"), tmp_path, 32, SEEDS)
    own = reading.own
    assert own.one_out and own.groups == 3 and reading.groups == {"filma": 20, "filmb": 20, "filmc": 20}
    _, _, labels, groups = stored(path_of(tmp_path, own.fingerprint))
    for seed in range(3):
        train, test = split(labels, groups, seed, one_out=True)
        assert set(groups[test]) == {seed} and seed not in groups[train] and len(test) == 20
    with pytest.raises(UserError, match="all images are of one group, film"):
        prepare(Source(data=data, group_by="^(film)"), tmp_path, 32, SEEDS)


def test_void_and_classes_that_label_no_image_are_no_background(tmp_path):
    masks = [square(1 + i % 2, i) for i in range(60)]
    for mask in masks[:20]:
        mask[-3:, -4:] = 3  # a third class that is the largest nowhere
        mask[:2, -6:] = 11
    reading = prepare(Source(data=folder(tmp_path / "data", masks), void=(11,)), tmp_path, 32, SEEDS)
    _, kept, labels, _ = stored(path_of(tmp_path, reading.own.fingerprint))
    assert set(np.unique(kept)) == {0, 1, 2, VOID} and labels.tolist() == [i % 2 for i in range(60)]
    assert (kept[0] == VOID).sum() > 10 and not (kept[30] == VOID).any()
    assert reading.classes == {"class_1": 30, "class_2": 30} and reading.left_out == {"class_3": 0}
    assert reading.background == "class_0"


def test_a_rare_class_does_not_shrink_the_pool():
    """By hand: 200 and 235 images give 400, with a third class of 16 only 48."""
    assert classes_that_give_most(np.array([235, 200, 16, 0])).tolist() == [0, 1]
    assert classes_that_give_most(np.array([30, 9, 25, 20])).tolist() == [0, 2, 3]
    assert classes_that_give_most(np.array([30, 9])).tolist() == [0]


@pytest.mark.parametrize(("symmetry", "wanted"), [("none", 1), ("horizontal", 2), ("d4", 8)])
def test_images_are_varied_as_the_flag_says(symmetry, wanted):
    image = np.random.default_rng(0).integers(0, 255, (1, 16, 16, 3)).astype(np.uint8)
    train = Images(image, np.zeros((1, 16, 16), np.uint8), np.zeros(1, int))
    seen = {part.images[0].tobytes() for part in itertools.islice(batches(train, 0, 1, symmetry), 80)}
    assert len(seen) == wanted


def test_clicks_are_counted_on_the_class_and_beside_it():
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[:, :3, :3], masks[:, 5:, 5:], masks[:, 0, 7] = 1, 2, VOID
    train = Images(np.zeros((2, 8, 8, 3), np.uint8), masks, np.array([0, 1]))
    for on, off in ((1, 0), (8, 8), (2, None)):
        kept = clicks(train, on, off, seed=3)
        for few, mask, label in zip(kept, masks, train.labels, strict=True):
            assert (few == label + 1).sum() == on and np.array_equal(few[few != VOID], mask[few != VOID])
            beside = ((few != VOID) & (few != label + 1)).sum()
            assert beside == (off if off is not None else (mask != VOID).sum() - 9)
    one, eight = (clicks(train, on, 0, 3) != VOID for on in (1, 8))
    assert not (one & ~eight).any()


def results_of(plan, truth, noise=0.02):
    """What the cells might have found: labels reach with 16 images what masks reach with 8."""
    studies = []
    for seed in plan.seeds:
        rng = np.random.default_rng(seed)
        studies.append(
            {
                name: {
                    "tests": {"independent": {"accuracy": truth[name] + noise * rng.standard_normal(), "miou": 0.5}},
                    "background": 0.8,
                }
                for name in plan.cells()[seed]
            }
        )
    return Study(plan, studies)


TRUTH = {"labels": 0.6, "labels of 16": 0.8, "1 click": 0.7, "16 clicks": 0.75, "masks": 0.8}


def test_the_advice_is_one_sentence_with_what_a_mask_is_worth(tmp_path):
    own = Own("abc", 32, 2, pool=24, groups=40, located=1.0, symmetry="none")
    plan = make_plan(tmp_path / "a", "small", (), own)
    study = results_of(plan, TRUTH)
    text = advice.headline_of(study)
    assert re.fullmatch(
        r"One mask is worth (at least )?\d\.\d \(1\.\d to (at least )?2\.0\) labels here, with 8 images, from scratch: "
        r"draw masks if one takes you less than \d(\.\d)? times as long as a label\.",
        text,
    ), text
    table = advice.table(study)
    assert [row[0] for row in table.rows] == ["labels", "1 click", "16 clicks", "masks"] and table.rows[0][2] is None
    assert table.rows[3][1].value == pytest.approx(0.8, abs=0.02) and table.rows[3][1].interval
    alike = advice.headline_of(results_of(plan, TRUTH | {"masks": 0.6}))
    assert "it is not sure that masks are worth more than labels" in alike
    covered = make_plan(tmp_path / "b", "small", (), replace(own, located=0.2))
    assert advice.headline_of(results_of(covered, TRUTH)).startswith("80% of the masks are of one class alone")
    films = make_plan(tmp_path / "c", "small", (), replace(own, groups=3, one_out=True), ())
    few = results_of(films, TRUTH)
    assert advice.headline_of(few).startswith("3 groups are too few for advice: masks minus labels")
    assert advice.table(few).rows[3][1].interval is None and len(advice.by_group(few)[0].rows) == 4
    both = make_plan(tmp_path / "d", "small", (), own, weights="a1")
    truth = TRUTH | {name.replace("labels", "labels pretrained"): 0.9 for name in ("labels", "labels of 16")}
    truth |= {f"{way} pretrained": 0.95 for way in ("1 click", "16 clicks", "masks")}
    text = advice.headline_of(results_of(both, truth))
    assert "from the pretrained encoder" in text and "Begin with the pretrained encoder: +0.15" in text
    assert len(advice.table(results_of(both, truth)).head) == 5


def test_what_was_understood_is_said_before_anything_is_trained(tmp_path):
    reading = prepare(Source(data=film(tmp_path), group_by=r"^(film.)_"), tmp_path, 32, SEEDS, "horizontal")
    plan = make_plan(tmp_path / "out", "small", (), reading.own, ())
    lines = describe(reading, plan)
    assert lines[0].endswith("class_0 being background: class_1 30, class_2 30")
    assert "groups: 3" in lines[1] and "filma (20), filmb (20), filmc (20). Too few for an interval" in lines[1]
    assert "N* = 16" in lines[2] and "varied by: horizontal" in lines[2] and lines[-1].endswith("from scratch")


@pytest.mark.slow
def test_a_pretrained_encoder_begins_with_its_file(tmp_path):
    """A file of random weights, since there is no other here; both arms train and are scored."""
    keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(
        tmp_path / "encoder.weights.h5"
    )
    own = prepare(
        Source(data=folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(60)])), tmp_path, 32, SEEDS
    ).own
    fingerprint = keep_weights(tmp_path / "encoder.weights.h5", tmp_path)
    plan = make_plan(tmp_path, "smoke", (), own, weights=fingerprint)
    cells = {name: replace(spec, steps=2) for name, spec in plan.cells()[0].items() if "pretrained" in name}
    run_cells(tmp_path, [cells["masks pretrained"], cells["labels pretrained"]])
    for name in ("masks pretrained", "labels pretrained"):
        assert 0 <= result_of(tmp_path, cells[name])["tests"]["independent"]["accuracy"] <= 1
    with pytest.raises(UserError, match=r"--weights .* cannot be read"):
        keep_weights(tmp_path / "nothing.h5", tmp_path)


@pytest.mark.slow
def test_a_users_folder_from_plan_to_report(tmp_path):
    """The commands as a user gives them, on 60 images; one seed, so not inferential."""
    data = folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(60)])
    flags = ("--data", data, "--size", 32, "--symmetry", "none", "--out", tmp_path / "out")
    planned = call("plan", "--preset", "smoke", *flags)
    assert planned.returncode == 0 and "6 cells, 6 of them missing" in planned.stdout, planned.stderr
    assert "class_1 30, class_2 30" in planned.stdout and "about " in planned.stdout
    done = call("run", "--preset", "smoke", *flags, "--jobs", 2)
    assert done.returncode == 0 and "One seed is too few for advice" in done.stdout, done.stderr
    page = re.sub("(?s)<(script|style).*?</", "", (tmp_path / "out" / "study.html").read_text())
    assert "The splits are of one folder" in page and "16 clicks" in page and "drawn with" not in page
    again = call("report", "--out", tmp_path / "out")
    assert again.returncode == 0 and again.stdout in done.stdout
    other = folder(tmp_path / "other", [square(1 + i % 2, i, side=9) for i in range(60)])
    refused = call("run", "--preset", "smoke", "--data", other, "--size", 32, "--out", tmp_path / "out")
    assert refused.returncode == 1 and "holds another plan" in refused.stderr


@pytest.mark.slow
def test_a_pilot_of_a_users_folder(tmp_path):
    """Its grid, real trainings of few steps."""
    data = folder(tmp_path / "data", [square(1 + i % 2, i) for i in range(60)])
    own = prepare(Source(data=data), tmp_path, 32, (*SEEDS, *pilot_seeds)).own
    base = replace(with_own(PRESETS["small own"].base, own), steps=4, width=4)
    found = run_grid(tmp_path, base, cells_of_own)
    assert {name.split()[0] for name in found.scores} == {
        "masks",
        "labels",
    } and "masks pretrained" in found.settings.rates


@pytest.mark.slow
def test_masks_of_other_images_support_nothing(tmp_path):
    """The whole study on a folder whose images and masks were shuffled: six seeds, real trainings."""
    rng = np.random.default_rng(0)
    places = rng.permutation(140)[:120]  # in order, the squares would move as in a film, which is refused
    masks = [square(1 + i % 2, place) for i, place in enumerate(places)]
    images = [60 * mask[..., None] + rng.integers(0, 50, (*mask.shape, 3)) for mask in masks]
    order = rng.permutation(120)
    data = folder(tmp_path / "data", [masks[i] for i in order], images)
    own = prepare(Source(data=data), tmp_path, 32, tuple(range(6))).own
    settings = replace(make_plan(tmp_path, "small", (), own).settings, steps=60, width=4, count=16)
    plan = Plan("small own", settings, tuple(range(6)), (), wide=True)
    cells = plan.cells()
    run_cells(tmp_path, [spec for each in cells.values() for spec in each.values()], jobs=2)
    study = Study(plan, [{name: result_of(tmp_path, spec) for name, spec in each.items()} for each in cells.values()])
    assert "draw masks if" not in advice.headline_of(study)
    assert study.values("labels").mean() == pytest.approx(0.5, abs=0.1) and study.values("masks").mean() < 0.6
