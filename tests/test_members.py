"""Several runs by one command: side by side they become what they become one after another."""

import json
import sys

import pytest
from conftest import make_folder, run_process
from spreading_work import train_one

from data_pipeline.command import UserError
from engine.config import ClassifierConfig, TrainConfig
from engine.run import Run, config_json
from engine.scoring.task import MASKS
from engine.spreading import Machines
from engine.training.members import followed, resume, train_members

TWO = Machines(jobs=2)
CONFIG = TrainConfig(folds=3, jobs=2)
MEMBERS = {f"fold-{i}": CONFIG.replace(fold=i) for i in range(3)}


@pytest.fixture
def here(monkeypatch):
    """What other processes would do is done in this one: their start takes longer than the test."""

    def spread(work, items, is_done, machines, folder, environment, go_on):
        assert environment["TF_NUM_INTRAOP_THREADS"] == "3" and "--resume" in go_on and not machines.is_one
        faults = [fault for item in items if not is_done(item) and (fault := attempt(work, item))]
        if faults:
            raise faults[0]

    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    monkeypatch.setattr("engine.training.members.spread", spread)


def attempt(work, item):
    try:
        work(item)
    except UserError as error:
        return error


def test_folds_side_by_side_and_the_rest_after_a_fault(tmp_path, here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "this command"])
    (tmp_path / "break fold-1").touch()
    with pytest.raises(UserError, match="fold-1 broke"):
        train_members(tmp_path, MEMBERS, train_one, CONFIG.machines, MASKS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fold-0, fold-1, fold-2: side by side; what each prints is kept in")
    assert lines.count("fold-0: plan: all alike") == 1 == sum("plan" in line for line in lines)
    assert {f"fold-{i}: fold-{i} of this command" for i in range(3)} <= set(lines)
    assert [(tmp_path / f"fold-{i}/weights").read_text() for i in (0, 2)] == ["0 3 False", "2 3 False"]
    assert (tmp_path / "fold-1/resume").is_dir()

    (tmp_path / "break fold-1").unlink()
    begun = MEMBERS["fold-1"].replace(runs_dir=tmp_path, name="fold-1", data=tmp_path)
    monkeypatch.setattr(Run, "config", config_json(begun))
    for machines in (TWO, Machines()):  # and once more, when all are trained
        assert [run.path.name for run in train_members(tmp_path, MEMBERS, train_one, machines, MASKS)] == list(MEMBERS)
        assert (tmp_path / "fold-1/weights").read_text() == "1 3 True"
    printed = capsys.readouterr().out
    assert printed.count("is trained already") == 2 + 3 and printed.count("plan: ") == 1


def test_lines_are_printed_whole_and_after_their_names(tmp_path, capsys):
    (tmp_path / "a").write_text("of another time\n")
    with followed({"one": tmp_path / "a", "two": tmp_path / "b"}):
        with open(tmp_path / "a", "a") as file:
            file.write("first\nhalf")
            file.flush()
        (tmp_path / "b").write_text("ä\n\n")
    assert capsys.readouterr().out == "one: first\ntwo: ä\ntwo:\n"


def test_who_trains_is_in_no_file_and_goes_with_resume(tmp_path):
    assert not {"jobs", "cluster"} & set(config_json(CONFIG))
    assert config_json(CONFIG) == config_json(CONFIG.replace(jobs=1))
    assert TrainConfig(resume=tmp_path, jobs=2).checked().machines == Machines(jobs=2)
    with pytest.raises(UserError, match="--resume takes no other flag"):
        TrainConfig(resume=tmp_path, jobs=2, steps=9).checked()
    with pytest.raises(UserError, match=f"{tmp_path}: no folder of several runs; leave --jobs"):
        resume(tmp_path, "folds.json", MASKS, None, None, Machines(jobs=2))
    for config, words in (
        (TrainConfig(jobs=2), "for several runs: --folds; leave them out"),
        (TrainConfig(folds=3, fold=1, cluster="ray:auto"), "for several runs: --folds"),
        (TrainConfig(folds=3, jobs=0), "--jobs 0: at least 1"),
        (ClassifierConfig(data=tmp_path, jobs=2), "for several runs: --strategy all"),
    ):
        with pytest.raises(UserError, match=words):
            config.checked()


@pytest.mark.slow
def test_folds_have_the_same_bytes_side_by_side_and_one_after_another(tmp_path):
    make_folder(tmp_path / "d", 12)
    flags = ("--data", "d", "--folds", 3, "--steps", 4, "--steps-per-epoch", 2, "--batch-size", 2, "--deterministic")
    one = run_process("train.py", *flags, "--name", "one", cwd=tmp_path, timeout=900)
    two = run_process("train.py", *flags, "--name", "two", "--jobs", 2, cwd=tmp_path, timeout=900)
    assert one.returncode == two.returncode == 0, two.stderr
    assert two.stdout.splitlines()[-1] == one.stdout.splitlines()[-1].replace("/one", "/two")
    assert one.stdout.count("plan: ") == two.stdout.count("plan: ") == 1
    same_runs(tmp_path / "runs/one", tmp_path / "runs/two", 3)


def same_runs(one, two, folds: int) -> None:
    """Every file of every fold, but for its name, times and the command."""
    import keras

    for fold in range(folds):
        ours, theirs = one / f"fold-{fold}", two / f"fold-{fold}"
        assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
        for name in ("split.json", "dataset.json"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        for name, left in (("config.json", ("runs_dir",)), ("environment.json", ("started", "command"))):
            first, second = (json.loads((run / name).read_text()) for run in (ours, theirs))
            assert first | dict.fromkeys(left) == second | dict.fromkeys(left)
        a, b = (keras.models.load_model(run / "model.keras", compile=False).get_weights() for run in (ours, theirs))
        assert [array.tobytes() for array in a] == [array.tobytes() for array in b]
        rows = [[line.split(",") for line in (run / "history.csv").read_text().splitlines()] for run in (ours, theirs)]
        seconds = rows[0][0].index("seconds")
        assert [row[:seconds] + row[seconds + 1 :] for row in rows[0]] == [
            row[:seconds] + row[seconds + 1 :] for row in rows[1]
        ]


def test_no_line_is_written_through_a_link(tmp_path):
    """A folder from a stranger may hold links in place of its logs."""
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "cv/logs").mkdir(parents=True)
    (tmp_path / "cv/logs/fold0.txt").symlink_to(tmp_path / "mine.txt")
    members = {"fold0": TrainConfig(data=tmp_path)}
    with pytest.raises(UserError, match="a link, through which"):
        train_members(tmp_path / "cv", members, train_one, TWO, MASKS)
    assert (tmp_path / "mine.txt").read_text() == "mine"
