"""Work by several processes: the same files whoever makes them, and a process that dies costs what it was doing."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import spreading_work
from conftest import ROOT
from joblib.externals.loky import get_reusable_executor

from data_pipeline.command import UserError
from engine import spreading
from engine.spreading import Machines, Setting, attempt, by_child, program, spread

TWO = Machines(jobs=2)
ENVIRONMENT = {"OMP_NUM_THREADS": "3", "TF_NUM_INTRAOP_THREADS": "3", "TF_NUM_INTEROP_THREADS": "3"}


def run(work: str, folder, count: int = 6, machines: Machines = TWO, **how) -> int:
    work, is_done = (partial(getattr(spreading_work, name), folder) for name in (work, "is_done"))
    return spread(work, range(count), is_done, machines, folder, ENVIRONMENT, **how)


def texts(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.txt")}


def test_two_processes_write_what_one_writes_and_each_is_told_once(tmp_path):
    for name, machines in (("one", Machines()), ("two", TWO)):
        (tmp_path / name).mkdir()
        told = []
        assert run("write", tmp_path / name, machines=machines, told=told.append) == 6 and sorted(told) == list(
            range(6)
        )
        assert run("write", tmp_path / name, 7, machines, told=told.append) == 1 and told[6:] == [6]
    assert texts(tmp_path / "one") == texts(tmp_path / "two") and len(texts(tmp_path / "two")) == 7
    assert not list(tmp_path.rglob(".*"))


def test_a_process_has_its_threads_before_the_work_and_the_commands_own_arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--folds", "6"])
    run("write_setting", tmp_path)
    found = [text.split(" ", 1) for text in texts(tmp_path).values()]
    assert {words for _, words in found} == {"3 3 train.py --folds 6"}
    assert str(os.getpid()) not in {process for process, _ in found}


def test_what_a_dead_process_was_doing_is_sent_again(tmp_path, capsys):
    told = []
    assert run("die_once", tmp_path, told=told.append) == 6
    assert sorted(texts(tmp_path)) == [f"{i}.txt" for i in range(6)] and sorted(told) == list(range(6))
    assert "note: a process died (TerminatedWorkerError" in capsys.readouterr().err


def test_it_is_sent_again_three_times_at_most_and_what_is_done_stays(tmp_path):
    with pytest.raises(UserError, match=r"processes died 4 times.*\n\d of 3 are missing, .* the same command goes on"):
        run("die", tmp_path, 3)
    assert (tmp_path / "deaths").read_text() == "...." and {"0.txt", "1.txt"} <= set(texts(tmp_path))


def test_what_an_item_raises_comes_when_the_others_are_done(tmp_path):
    with pytest.raises(UserError, match=r"^item 0: not this one$"):
        run("refuse", tmp_path)
    assert len(texts(tmp_path)) == 4
    (tmp_path / "0.txt").touch()
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*KeyError: 'a fault of the program'"):
        run("refuse", tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left(tmp_path, number):
    """Whether the command is interrupted, as Ctrl-C does it, or killed."""
    code = f"""
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
sys.path.insert(0, {str(ROOT / "tests")!r})
from functools import partial
import spreading_work
from engine.spreading import Machines, spread
folder = Path({str(tmp_path)!r})
work, is_done = (partial(getattr(spreading_work, name), folder) for name in ("wait", "is_done"))
spread(work, range(4), is_done, Machines(jobs=2), folder, {{}})
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(tmp_path.glob("*.pid"))) == 2
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    assert process.wait(20) != 0
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not of_session(process.pid)


def of_session(session: int) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-o", "sid=,stat=,args="], capture_output=True, text=True).stdout
    rows = [row.split(None, 2) for row in listed.splitlines()]
    return [row[-1] for row in rows if row[0] == str(session) and row[1][0] != "Z"]


@pytest.mark.parametrize(
    ("machines", "words"),
    [
        ({"jobs": 0}, "--jobs 0: at least 1"),
        ({"cluster": "tcp://a:1"}, "--cluster tcp://a:1: dask://HOST:PORT"),
        ({"cluster": "dask://a"}, "--cluster dask://a: dask://HOST:PORT"),
        ({"cluster": "ray:auto", "jobs": 2}, "leave --jobs out"),
    ],
)
def test_what_is_no_machine(machines, words):
    with pytest.raises(UserError, match=words):
        Machines(**machines)


@pytest.mark.parametrize(("cluster", "package"), [("dask://localhost:1", "distributed"), ("ray:auto", "ray")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, cluster, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=rf"needs {package}: pip install -r requirements-cluster.txt -c constraints.txt$"
    ):
        run("write", tmp_path, machines=Machines(cluster=cluster))
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(spreading, "ANSWER", 0.5)
    with pytest.raises(UserError, match="no Dask scheduler answers at localhost:1; start it"):
        run("write", tmp_path, machines=Machines(cluster="dask://localhost:1"))


def setting(folder, **other) -> Setting:
    (folder / "mark").touch()
    given = {"mark": "mark", "environment": ENVIRONMENT, "arguments": ("a",), "working": str(folder)}
    return Setting(**{"folder": folder, "program": program()} | given | other)


def test_a_process_that_cannot_take_part_says_why(tmp_path):
    assert setting(tmp_path).fault == ""
    assert f"does not see {tmp_path}, or another folder of that name" in setting(tmp_path, mark="other").fault
    fault = setting(tmp_path, program=program() | {"keras": "1.0", "this program": "0"}).fault
    assert "(here 1.0)" in fault and "this program" in fault and "numpy" not in fault


def test_what_is_done_and_is_sent_once_more_is_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    with monkeypatch.context() as patched, contextlib.chdir(tmp_path):
        for name in (*ENVIRONMENT, "TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH"):
            patched.setenv(name, "3")
        done = []
        for item in (1, 1, 2):
            assert attempt(setting(tmp_path), done.append, done.__contains__, item) is None
        assert done == [1, 2]


def test_a_clusters_process_leaves_the_work_to_a_child_and_begins_another_if_that_dies(tmp_path, monkeypatch):
    """So that nothing else draws from the random numbers, and what the process did before has no say."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # as Dask's
    is_done = partial(spreading_work.is_done, tmp_path)
    try:
        for item in (0, 1):
            assert by_child(setting(tmp_path), partial(spreading_work.write_setting, tmp_path), is_done, item) is None
        first, second = (text.split() for text in texts(tmp_path).values())
        assert first == second and first[1:] == ["3", "3", "a"] and int(first[0]) != os.getpid()
        other = setting(tmp_path, environment=ENVIRONMENT | {"OMP_NUM_THREADS": "5"})
        assert by_child(other, partial(spreading_work.write_setting, tmp_path), is_done, 3) is None
        assert texts(tmp_path)["3.txt"].split()[0] != first[0] and texts(tmp_path)["3.txt"].split()[2] == "5"
        assert by_child(other, partial(spreading_work.die_once, tmp_path), is_done, 2) is None and is_done(2)
        (tmp_path / "2.txt").unlink()
        fault = by_child(other, partial(spreading_work.die, tmp_path), is_done, 2)
        assert isinstance(fault, UserError) and "2: its process died 4 times" in str(fault)
    finally:
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)


def test_the_sum_over_the_program_is_that_of_its_files():
    assert set(program()) == {"Python", "this program", *spreading.PACKAGES} and len(program()["this program"]) == 12
