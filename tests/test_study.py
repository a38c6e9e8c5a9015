"""python -m study, as a user calls it: plans that are kept, verdicts that say what they are."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from conftest import ROOT
from test_hypotheses import ALL_TRUE, results
from test_pilot import planted

from data_pipeline.command import UserError
from study.__main__ import parse_shard, print_verdicts
from study.hypotheses import HYPOTHESES, Settings
from study.pilot import run_pilot
from study.plan import SMOKE, make_plan, settings_of_pilot, write_pilot
from study.scenes import Knobs


def call(*flags) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "study", *map(str, flags)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def pilot(folder, ideal):
    found = run_pilot(folder, Settings(Knobs(), {}, balanced=False), work=planted(ideal))
    write_pilot(folder, found)
    return found


FIT = {"S": 0.9, "C": 0.8, "E": 0.7}


def test_the_pilots_settings_come_back_from_its_file(tmp_path):
    settings = pilot(tmp_path, FIT).settings
    plan = make_plan(tmp_path, "small")
    assert settings_of_pilot(tmp_path) == settings == plan.settings
    assert [spec.id for spec in plan.cells()[3].values()] == [
        spec.id for spec in replace(plan, settings=settings).cells()[3].values()
    ]
    assert len(plan.seeds) == 12 and json.loads((tmp_path / "plan.json").read_text())["hash"] == plan.hash
    assert make_plan(tmp_path, "small") == plan


def test_a_folder_keeps_its_plan(tmp_path):
    pilot(tmp_path, FIT)
    make_plan(tmp_path, "smoke")
    with pytest.raises(UserError, match="holds another plan"):
        make_plan(tmp_path, "small")


def test_a_study_needs_a_pilot_that_found_the_world_fit(tmp_path):
    with pytest.raises(UserError, match=r"pilot.json is missing; first: python -m study pilot --out"):
        make_plan(tmp_path, "small")
    pilot(tmp_path, FIT | {"E": 0.4})
    with pytest.raises(UserError, match=r"S 0\.6., C 0\.5., E 0\.1. above chance, 0\.3 is wanted"):
        make_plan(tmp_path, "small")
    assert not (tmp_path / "plan.json").exists()


def test_verdicts_of_one_seed_are_called_not_inferential(tmp_path, capsys):
    print_verdicts(make_plan(tmp_path, "smoke"), [results(ALL_TRUE, 0)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(HYPOTHESES) and all("not inferential" in line for line in lines)


def test_verdicts_of_twelve_seeds_have_intervals(tmp_path, capsys):
    pilot(tmp_path, FIT)
    print_verdicts(make_plan(tmp_path, "small"), [results(ALL_TRUE, seed) for seed in range(12)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(HYPOTHESES) and all("95%" in line and "supported" in line for line in lines)


def test_shards():
    assert parse_shard("2/3") == (2, 3)
    for wrong in ("0/2", "3/2", "2", "a/b"):
        with pytest.raises(UserError, match="I/N is wanted"):
            parse_shard(wrong)


def test_mistakes_are_one_line(tmp_path):
    done = call("run", "--preset", "small", "--out", tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    for flags in (("run", "--jobs", 0), ("pilot", "--steps", 0)):
        done = call(*flags, "--out", tmp_path)
        assert done.returncode == 1 and done.stderr == f"error: {flags[1]} 0: at least 1 is wanted\n"


@pytest.mark.slow
def test_smoke_ends_in_four_minutes_and_resumes(tmp_path):
    started = time.monotonic()
    first = call("run", "--preset", "smoke", "--out", tmp_path, "--jobs", 2)
    assert first.returncode == 0, first.stderr
    assert time.monotonic() - started < 240
    assert first.stdout.count("not inferential") == len(HYPOTHESES)
    cells = list((tmp_path / "cells").iterdir())
    assert len(cells) == len(make_plan(tmp_path, "smoke").cells()[0])
    cells[0].unlink()
    again = call("run", "--preset", "smoke", "--out", tmp_path)
    assert again.stdout == first.stdout and SMOKE.steps == 30
