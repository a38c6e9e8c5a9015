"""python -m study, as a user calls it: plans that are kept, verdicts that say what they are."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, processor_seconds, run_process, run_script
from test_pilot import planted

from data_pipeline.command import UserError
from data_pipeline.files import read_json
from study.__main__ import parse_seeds
from study.cells import run_cells, seconds_of
from study.hypotheses import cells_of
from study.pilot import SEEDS, run_pilot
from study.plan import PILOTS, PRESETS, make_plan, plan_from, settings_of_pilot, write_pilot


def pilot(folder, ideal):
    found = run_pilot(folder, PRESETS["small"].base, work=planted(ideal))
    write_pilot(folder, found)
    return found


FIT = {"S": 0.9, "C": 0.8, "E": 0.7}


def test_the_pilots_settings_come_back_from_its_file(tmp_path):
    settings = pilot(tmp_path, FIT).settings
    plan = make_plan(tmp_path, "small")
    assert settings_of_pilot(tmp_path, "small") == settings == plan.settings
    assert len(plan.seeds) == 12 and json.loads((tmp_path / "plan.json").read_text())["hash"] == plan.hash
    assert make_plan(tmp_path, "small") == plan == plan_from(read_json(tmp_path / "plan.json"), tmp_path)
    for name, spec in plan.cells()[3].items():
        assert spec == cells_of(settings, 3)[name]


def test_the_committed_pilots_found_their_worlds_fit(tmp_path):
    found = read_json(PILOTS / "small.json")
    assert found["fit"] and min(found["ranges"].values()) >= 0.3 and set(found["ranges"]) == set("SCE")
    for preset in ("small", "medium"):
        assert make_plan(tmp_path / preset, preset).settings == settings_of_pilot(tmp_path, "small")
    with pytest.raises(UserError, match="full needs a pilot; first: python -m study pilot --preset full --out"):
        make_plan(tmp_path, "full")


def test_a_plan_tells_every_cell_and_contrast(tmp_path):
    plan = make_plan(tmp_path, "small")
    kept = json.loads((tmp_path / "plan.json").read_text())
    assert set(kept["contrasts"]) == {"H6a", "H6b", "H2", "H4"} and kept["contrasts"]["H6b"][3] == [
        "E",
        "accuracy",
        "independent",
    ]
    assert {name: spec.id for name, spec in plan.cells()[5].items()} == kept["cells"]["5"]
    assert set(kept["cells"]["5"]) == {
        "S", "E", "S ideal", "E ideal", "S tied", "C tied", "S 1 pixels", "S 16 pixels"
    }  # fmt: skip
    assert len(make_plan(tmp_path / "wide", "medium").cells()[0]) == 53


def test_a_part_of_the_hypotheses_needs_its_cells_alone(tmp_path):
    plan = make_plan(tmp_path, "medium", ("H4", "H2"))
    assert plan.names == ("H2", "H4") and set(plan.cells()[0]) == {
        "S", "S ideal", "S 1 pixels", "S 16 pixels", "S tied", "C tied"
    }  # fmt: skip
    with pytest.raises(UserError, match="--hypothesis H9: small has H6a, H6b, H2, H4"):
        make_plan(tmp_path / "other", "small", ("H9",))


def test_other_seeds_are_another_study(tmp_path):
    first, again = make_plan(tmp_path / "first", "small"), make_plan(tmp_path / "again", "small", seeds=(12, 13))
    assert again.seeds == (12, 13) and again.hash != first.hash and again.settings == first.settings
    assert not {spec.id for each in again.cells().values() for spec in each.values()} & {
        spec.id for each in first.cells().values() for spec in each.values()
    }
    with pytest.raises(UserError, match=r"holds another plan .*: another preset, part, pilot, other seeds"):
        make_plan(tmp_path / "again", "small")
    assert parse_seeds("12-14") == (12, 13, 14) and parse_seeds("5-5") == (5,)
    assert not make_plan(tmp_path / "smoke", "smoke", seeds=(0, 1, 2)).inferential  # of arms that nobody tuned
    for wrong in ("12", "14-12", "a-b", "-3", "0-999999999"):
        with pytest.raises(UserError, match="FIRST-LAST is wanted"):
            parse_seeds(wrong)
    with pytest.raises(UserError, match=f"the pilot tuned the arms on {SEEDS[0]}"):
        parse_seeds(f"{SEEDS[0]}-{SEEDS[0] + 9}")


def test_a_folder_keeps_its_plan(tmp_path):
    make_plan(tmp_path, "smoke")
    with pytest.raises(UserError, match="holds another plan"):
        make_plan(tmp_path, "small")


def test_a_world_that_is_not_fit_is_refused(tmp_path):
    pilot(tmp_path, FIT | {"E": 0.4})
    with pytest.raises(UserError, match=r"S 0\.6., C 0\.5., E 0\.1. above chance, 0\.3 is wanted"):
        make_plan(tmp_path, "small")
    assert not (tmp_path / "plan.json").exists()
    for broken in ("{}", '{"settings": 1}', "[]"):
        (tmp_path / "pilot.json").write_text(broken)
        with pytest.raises(UserError, match=r"pilot.json is no pilot's file"):
            make_plan(tmp_path, "small")


def test_mistakes_are_one_line(tmp_path):
    done = run_script("-m", "study", "report", "--out", tmp_path, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    for command in ("run", "pilot", "plan"):
        done = run_script("-m", "study", command, "--jobs", 0, "--out", tmp_path, cwd=ROOT)
        assert done.returncode == 1 and done.stderr == "error: --jobs 0: at least 1 is wanted\n"
    done = run_script("-m", "study", "run", "--cluster", "tcp://one", "--out", tmp_path, cwd=ROOT)
    assert done.stderr.startswith("error: --cluster tcp://one: dask://HOST:PORT") and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_smoke_ends_in_four_minutes_and_goes_on_where_it_was_killed(tmp_path):
    before = processor_seconds()
    whole = run_process(
        *("-m", "study", "run", "--preset", "smoke", "--out", tmp_path / "whole", "--jobs", 2), cwd=ROOT, timeout=1200
    )
    assert whole.returncode == 0, whole.stderr
    assert processor_seconds() - before < 2 * 240, "two processes, four minutes"
    assert whole.stdout.count("not inferential") == 4 and "% of 8 cells" in whole.stderr

    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "study", "run", "--preset", "smoke", "--out", killed],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(list(killed.glob("cells/*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    half = len(list(killed.glob("cells/*.json")))
    again = run_process("-m", "study", "run", "--preset", "smoke", "--out", killed, cwd=ROOT, timeout=1200)
    assert again.returncode == 0 and 3 <= half < 8
    assert again.stdout == whole.stdout.replace(str(tmp_path / "whole"), str(killed))
    for name in ("study.html", "figures/verdicts.svg", "figures/samples.png"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    ours, theirs = (json.loads((folder / "study.json").read_text()) for folder in (killed, tmp_path / "whole"))
    assert ours | {"sittings": 0} == theirs | {"sittings": 0}
    assert [one["jobs"] for one in theirs["sittings"]] == [2]


def test_a_busy_machine_does_not_make_the_forecast_nothing(tmp_path, monkeypatch):
    """By hand: a step takes 0.1 s, all else 5 s, and other work adds up to 3 s: ten steps drown in that."""
    clock, rng = [0.0], np.random.default_rng(0)

    def train(spec, folder):
        clock[0] += 5 + 0.1 * spec.steps + rng.uniform(0, 3)

    monkeypatch.setattr("study.cells.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr("study.cells.train", train)
    specs = list(cells_of(replace(PRESETS["smoke"].base, steps=800), 0).values())[:1]
    forecasts = [seconds_of(specs, tmp_path) for _ in range(20)]
    assert 50 < min(forecasts) < max(forecasts) < 120


@pytest.mark.slow
def test_the_forecast_of_time_holds(tmp_path, monkeypatch):
    """Of the cells of one process, within a quarter: in seconds of the processor, so that other work does not count."""
    monkeypatch.setattr("study.cells.time", SimpleNamespace(perf_counter=time.process_time))
    specs = [replace(spec, steps=150) for spec in make_plan(tmp_path, "smoke").cells()[0].values()][:4]
    forecast = seconds_of(specs, tmp_path)
    started = time.process_time()
    run_cells(tmp_path, specs)
    assert forecast == pytest.approx(time.process_time() - started, rel=0.25)
