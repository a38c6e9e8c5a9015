"""Work of test_spreading.py and test_cells.py, which other processes import: nothing heavy here."""

import os
import signal
import sys
import time
from pathlib import Path

from data_pipeline.command import UserError


def write(folder: Path, item: int) -> None:
    (folder / f"{item}.txt").write_text(str(item * item))


def is_done(folder: Path, item: int) -> bool:
    return (folder / f"{item}.txt").is_file()


def write_setting(folder: Path, item: int) -> None:
    names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
    words = [str(os.getpid()), *(os.environ.get(name, "") for name in names), *sys.argv]
    (folder / f"{item}.txt").write_text(" ".join(words))


def die_once(folder: Path, item: int) -> None:
    """The third item ends its process, the first time."""
    try:
        if item == 2:
            (folder / "died").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        pass
    write(folder, item)


def die(folder: Path, item: int) -> None:
    if item == 2:
        while not is_done(folder, 1):
            time.sleep(0.05)
        with open(folder / "deaths", "a") as file:
            file.write(".")
        os.kill(os.getpid(), signal.SIGKILL)
    write(folder, item)


def refuse(folder: Path, item: int) -> None:
    if item == 0:
        raise UserError("item 0: not this one")
    if item == 1:
        raise KeyError("a fault of the program")
    write(folder, item)


def wait(folder: Path, item: int) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(60)


def stand_in(spec, folder=None) -> dict:
    """Numbers that depend on a cell's spec alone, and a process that takes a while."""
    time.sleep(0.02)
    return {"number": int(spec.id[:8], 16) / 2**32}


def train_one(config, run=None, plan=True, score=True) -> None:
    """A stand-in for a training: a run that is begun, or gone on with, and ends; the one that finds a file breaks."""
    folder = config.runs_dir / config.name
    print(*["plan: all alike"] * plan, f"{config.name} of {sys.argv[1]}", sep="\n", flush=True)
    (folder / "resume").mkdir(parents=True, exist_ok=run is not None)
    if (config.runs_dir / f"break {config.name}").exists():
        raise UserError(f"{config.name} broke")
    (folder / "weights").write_text(f"{config.fold} {os.environ.get('TF_NUM_INTRAOP_THREADS')} {run is not None}")
    (folder / "resume").rmdir()


def kill_the_cluster(folder: Path, item: int) -> None:
    """The third item ends the cluster's process that asked for it, the first time."""
    try:
        if item == 2:
            (folder / "died").touch(exist_ok=False)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
    except FileExistsError:
        pass
    write(folder, item)
