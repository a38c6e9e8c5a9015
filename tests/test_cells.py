"""The study's cells: the same spec, the same cell; killed, damaged or doubled, the same results."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from spreading_work import stand_in

from study.arms import encoder_weights
from study.cells import TEST, TRAIN, Spec, compute, draw, encoder_of, path_of, result_of, run_cells, train
from study.plan import plan_from
from study.scenes import Knobs

SPEC = Spec("E", seed=1, count=8, steps=4, rate=0.002, knobs=Knobs(), tests=40, width=4)
SPECS = [replace(SPEC, seed=seed, arm=arm) for seed in range(6) for arm in "SCE"]


def broken(spec: Spec, folder) -> dict:
    raise AssertionError("this cell was done already")


def files(folder) -> dict[str, bytes]:
    """The cells; a killed worker may leave a file with a temporary name, which nobody reads."""
    return {path.name: path.read_bytes() for path in folder.rglob("*.json") if not path.name.startswith(".")}


def test_every_field_of_a_spec_is_part_of_its_name():
    changed = {
        "arm": "S",
        "seed": 2,
        "count": 16,
        "steps": 5,
        "rate": 0.001,
        "knobs": Knobs(rho=0.5),
        "width": 8,
        "balanced": True,
        "pixels": 4,
        "on_key": True,
        "start": SPEC,
        "frozen": True,
        "tests": 44,
        "elsewhere": True,
        "on_target": 1,
        "off_target": 0,
        "weights": "a1",
        "decision": "presence",
    }
    assert set(changed) == set(SPEC.__dataclass_fields__)
    names = {SPEC.id, *(replace(SPEC, **{name: value}).id for name, value in changed.items())}
    assert len(names) == len(changed) + 1
    assert replace(SPEC).id == SPEC.id


def test_what_is_done_is_not_done_again(tmp_path):
    assert run_cells(tmp_path, SPECS, work=stand_in) == len(SPECS)
    assert run_cells(tmp_path, [*SPECS, *SPECS], work=broken) == 0
    assert result_of(tmp_path, SPECS[0]) == stand_in(SPECS[0])


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"spec": {}, "result": {"number": 1}}'])
def test_a_damaged_cell_is_missing_and_done_again(tmp_path, damage):
    run_cells(tmp_path, SPECS[:1], work=stand_in)
    path_of(tmp_path, SPECS[0]).write_text(damage)
    assert result_of(tmp_path, SPECS[0]) is None
    assert run_cells(tmp_path, SPECS[:1], work=stand_in) == 1
    assert result_of(tmp_path, SPECS[0]) == stand_in(SPECS[0])


def test_several_processes_find_the_same(tmp_path):
    run_cells(tmp_path / "one", SPECS[:4], work=stand_in)
    run_cells(tmp_path / "two", SPECS[:4], jobs=2, work=stand_in)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_killed_in_the_middle_it_goes_on(tmp_path):
    run_cells(tmp_path / "whole", SPECS, work=stand_in)
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_cells import SPECS, run_cells, stand_in
run_cells(Path({str(tmp_path / "killed")!r}), SPECS, work=stand_in)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(files(tmp_path / "killed")) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= len(files(tmp_path / "killed")) < len(SPECS)
    run_cells(tmp_path / "killed", SPECS, work=stand_in)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_training_images_are_nested_and_of_each_class_alike():
    few, many = (draw(SPEC, TRAIN, count, 0.0) for count in (8, 16))
    assert np.array_equal(few.images, many.images[:8]) and np.bincount(many.labels).tolist() == [4] * 4
    test = draw(SPEC, TEST, 8, 0.0)
    assert not any(np.array_equal(a, b) for a in few.images for b in test.images)


def test_test_sets_share_their_foregrounds():
    own, other = (draw(SPEC, TEST, 12, rho) for rho in (1.0, -1 / 3))
    assert np.array_equal(own.masks, other.masks) and np.array_equal(own.labels, other.labels)
    assert not np.array_equal(own.images, other.images)


def test_a_cell_is_the_same_again_and_json_holds_it(tmp_path):
    """The second time in a network that another training has used."""
    spec = replace(SPEC, knobs=Knobs(rho=0.95))
    found = compute(spec, tmp_path)
    assert set(found["tests"]) == {"independent", "matched", "conflicting"}
    assert all(0 <= scores["accuracy"] <= 1 for scores in found["tests"].values())
    assert json.loads(json.dumps(found)) == found == compute(spec, tmp_path)


PARENT = replace(SPEC, knobs=Knobs(sibling=True), count=0)


@pytest.mark.parametrize("arm", [*(pytest.param(arm, marks=pytest.mark.slow) for arm in "SC"), "E"])
def test_a_transferred_encoder_is_its_parents(tmp_path, arm):
    spec = replace(SPEC, arm=arm, start=PARENT, rate=0.0)
    parents = encoder_weights(train(PARENT, tmp_path)[0])
    for child in (replace(spec, frozen=True, rate=0.01), spec):
        same(encoder_weights(train(child, tmp_path)[0]), parents)
    kept = list((tmp_path / "encoders").iterdir())
    assert [path.name for path in kept] == [f"{PARENT.id}.npz"]
    kept[0].write_bytes(kept[0].read_bytes()[:1000])  # a damaged file is made again
    same(encoder_of(PARENT, tmp_path), parents)
    own, moved = (
        encoder_weights(train(each, tmp_path)[0]) for each in (replace(SPEC, arm=arm), replace(spec, rate=0.01))
    )
    assert not np.array_equal(own[0][0], parents[0][0]) and not np.array_equal(moved[0][0], parents[0][0])


def same(some, others):
    for ours, theirs in zip(some, others, strict=True):
        assert len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


@pytest.mark.slow
def test_permuted_labels_stay_at_chance(tmp_path, monkeypatch):
    """Nothing but the labels tells the classes apart: with labels in disorder, no arm is better than chance.

    Each class's images get all labels equally often; else a network may learn a wrong class, and fall below chance.
    """
    from study import cells

    def disordered(spec, part, count, rho, folder):
        images = draw(spec, part, count, rho)
        if part == TEST:
            return images
        places, classes = np.arange(count), spec.knobs.num_classes
        labels = places // classes % classes
        assert np.array_equal(images.labels, places % classes)
        masks = (images.masks > 0) * (labels[:, None, None] + 1).astype(np.uint8)
        return images._replace(labels=labels, masks=masks)

    monkeypatch.setattr(cells, "draw", disordered)
    for arm in "SCE":
        accuracy = score_of(replace(SPEC, arm=arm, count=32, steps=200, tests=400), tmp_path)
        assert accuracy == pytest.approx(0.25, abs=0.09)
    for disc in ({"on_key": True}, {"elsewhere": True}):
        spec = replace(SPEC, arm="S", knobs=Knobs(cue="key"), count=32, steps=200, tests=400, balanced=True, **disc)
        assert score_of(spec, tmp_path) == pytest.approx(0.25, abs=0.09)


def score_of(spec, folder) -> float:
    return compute(spec, folder)["tests"]["independent"]["accuracy"]


@pytest.mark.parametrize("name", ["why", "why-small", "why-again"])
def test_cells_that_were_kept_keep_their_names_and_plans_their_hashes(name):
    """Whatever fields have come since."""
    kept = json.loads(gzip.decompress((ROOT / "docs" / f"{name}.json.gz").read_bytes()))["plan"]
    plan = plan_from(kept, Path(name))
    assert plan.hash == kept["hash"]
    cells = {str(seed): {cell: spec.id for cell, spec in each.items()} for seed, each in plan.cells().items()}
    assert cells == kept["cells"]


def test_a_field_that_came_later_is_in_the_name_where_it_says_something():
    later = replace(SPEC, elsewhere=True)
    assert "elsewhere" not in SPEC.told() and later.told()["elsewhere"] and later.id != SPEC.id
    assert "elsewhere" not in replace(SPEC, start=SPEC).told()["start"]


def test_discs_on_the_mark_and_elsewhere_are_as_large_and_name_the_same_class():
    spec = replace(SPEC, arm="S", knobs=Knobs(cue="key"), on_key=True)
    mark, elsewhere = draw(spec, TRAIN, 40, 0.0), draw(replace(spec, on_key=False, elsewhere=True), TRAIN, 40, 0.0)
    assert np.array_equal(mark.images, elsewhere.images) and np.array_equal(mark.labels, elsewhere.labels)
    for here, there, label in zip(mark.masks, elsewhere.masks, mark.labels, strict=True):
        assert (here > 0).sum() == (there > 0).sum() == 13 and not (here & there).any()
        assert set(np.unique(here)) == set(np.unique(there)) == {0, label + 1}
    places = {tuple(np.argwhere(mask)[0]) for mask in elsewhere.masks}
    assert len(places) > 35  # random, not fixed
