"""A real cluster on this machine: its processes find what those of --jobs find, also when one is killed meanwhile."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, make_folder, run_process
from test_members import same_runs

pytestmark = pytest.mark.slow
LONGEST = 1800  # seconds
NO_TOKENS = {"RAY_AUTH_MODE": "disabled"}  # which Ray would keep in the user's home


def needs(package: str):
    missing = find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"needs {package}, which requirements-cluster.txt has")


CLUSTERS = [pytest.param("dask", marks=needs("distributed")), pytest.param("ray", marks=needs("ray"))]


@contextmanager
def cluster_of(kind: str, folder: Path):
    """Two processes; yield what --cluster takes, and a function that returns the numbers of those that work."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = {
        "dask": [
            f"dask scheduler --host 127.0.0.1 --port {port} --no-dashboard",
            *[f"dask worker tcp://127.0.0.1:{port} --nthreads 1 --no-nanny --no-dashboard"] * 2,
        ],
        "ray": [
            f"ray start --head --block --num-cpus 2 --port {port} --node-ip-address 127.0.0.1 "
            f"--include-dashboard false --disable-usage-stats --temp-dir {short(folder)}"
        ],
    }[kind]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "RAY_USAGE_STATS_ENABLED": "0"} | NO_TOKENS
    started = []
    try:
        for number, command in enumerate(commands):
            program, *flags = command.split()
            with open(folder / f"{kind}{number}.log", "w") as log:
                program = Path(sys.executable).with_name(program)
                started.append(subprocess.Popen([program, *flags], cwd=folder, env=environment, stdout=log, stderr=log))
            wait_until(lambda: answers(port), started)
        if kind == "dask":
            wait_until(lambda: (folder / "dask2.log").read_text().count("Registered to") == 1, started)
            yield f"dask://127.0.0.1:{port}", lambda: [process.pid for process in started[1:]]
        else:
            yield f"ray:127.0.0.1:{port}", actors
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if kind == "ray":
            shutil.rmtree(short(folder), ignore_errors=True)


def short(folder: Path) -> Path:
    """A place whose sockets have names that are short enough."""
    return Path("/tmp") / f"ray-{os.getpid()}-{folder.name[-8:]}"


def actors() -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    return [int(row.split()[0]) for row in listed if "ray::PoolActor" in row]


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(happened: Callable[[], bool], running: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + LONGEST
    while not happened():
        assert time.monotonic() < deadline and all(process.poll() is None for process in running), "it ended"
        time.sleep(0.2)


CODE = """
import sys
from functools import partial
from pathlib import Path
import spreading_work
from engine.spreading import Machines, processes, spread
folder, machines = Path(sys.argv[1]), Machines(cluster=sys.argv[2])
work, is_done = (partial(getattr(spreading_work, name), folder) for name in ("kill_the_cluster", "is_done"))
print(processes(machines), spread(work, range(6), is_done, machines, folder, {"TF_NUM_INTRAOP_THREADS": "1"}))
"""


@pytest.mark.parametrize("kind", CLUSTERS)
def test_what_a_dead_process_of_a_cluster_was_doing_is_sent_again(tmp_path, kind):
    (tmp_path / "out").mkdir()
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | NO_TOKENS
    with cluster_of(kind, tmp_path) as (name, _):
        done = subprocess.run(
            [sys.executable, "-c", CODE, tmp_path / "out", name],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "2 6"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*[f"{i}.txt" for i in range(6)], "died"]


def run_and_kill(kind: str, folder: Path, begun: Callable[[], bool], *arguments) -> subprocess.CompletedProcess:
    """A command with --cluster, one of whose processes is killed once ``begun``."""
    with cluster_of(kind, folder) as (name, workers):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments), "--cluster", name],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)} | NO_TOKENS,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            wait_until(begun, [process])
            os.kill(workers()[0], signal.SIGKILL)
            printed, complained = process.communicate(timeout=LONGEST)
        finally:
            process.kill()
        assert process.returncode == 0, complained[-3000:]
        return subprocess.CompletedProcess(arguments, 0, printed, complained)


@pytest.mark.parametrize("kind", CLUSTERS)
def test_a_study_finds_the_same(tmp_path, kind):
    flags = ("-m", "study", "run", "--preset", "smoke", "--out")
    here = run_process(*flags, tmp_path / "here", "--jobs", 2, cwd=ROOT, timeout=LONGEST)
    assert here.returncode == 0, here.stderr
    there = tmp_path / "there"
    done = run_and_kill(kind, tmp_path, lambda: len(list(there.glob("cells/*.json"))) > 0, *flags, there)
    assert done.stdout == here.stdout.replace(str(tmp_path / "here"), str(there))
    ours, theirs = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "cells").glob("*.json")}
        for name in ("here", "there")
    )
    assert ours == theirs and len(ours) == 8
    one, two = (json.loads((tmp_path / name / "study.json").read_text()) for name in ("here", "there"))
    assert one | {"sittings": 0} == two | {"sittings": 0} and two["sittings"][0]["jobs"] == 2
    assert not list(there.glob(".unfinished*"))


@pytest.mark.parametrize("kind", CLUSTERS)
def test_folds_have_the_same_bytes(tmp_path, kind):
    make_folder(tmp_path / "d", 12)
    flags = (ROOT / "train.py", "--data", "d", "--folds", 3, "--steps", 12, "--steps-per-epoch", 2, "--batch-size", 2,
             "--patience", 0, "--deterministic", "--name")  # fmt: skip
    here = run_process("train.py", *flags[1:], "here", cwd=tmp_path, timeout=LONGEST)
    assert here.returncode == 0, here.stderr
    done = run_and_kill(
        kind, tmp_path, lambda: len(list(tmp_path.glob("runs/there/fold-*/resume/*.npz"))) > 0, *flags, "there"
    )
    assert done.stdout.splitlines()[-1] == here.stdout.splitlines()[-1].replace("/here", "/there")
    assert here.stdout.count("plan: ") == 1 <= done.stdout.count("plan: ") <= 2  # again if the first fold was killed
    same_runs(tmp_path / "runs/here", tmp_path / "runs/there", 3)
