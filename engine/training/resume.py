"""Exact state of a training: written after each validation, so that a killed run goes on as if nothing had been.

A state is one file, resume/STEP.npz in the run's folder: the history so far, every variable of the network (with its
random seeds) and of the optimizer, and behind the archive the SHA-256 sum of it. All else follows from these: the best
score and the patience from the history, the batches to come from the number of samples seen, the learning rate from
the optimizer's step.
"""

import errno
import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_pipeline.batches import named_files
from data_pipeline.command import UserError, stopping_signals
from data_pipeline.files import refuse_special, write_atomically
from data_pipeline.importing.annotations import brief
from engine import schema
from engine.run_places import UNFINISHED
from engine.schema import DAMAGE, read_arrays

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SUM_BYTES = 32  # of SHA-256
KEPT = 2  # states; should the newest be damaged, the one before is there


@dataclass(frozen=True)
class State:
    rows: list[dict]  # of history.csv
    network: list[np.ndarray]
    optimizer: list[np.ndarray]


def save_state(folder: Path, rows: list[dict], network, optimizer) -> None:
    """Write a state, whole or not at all, and forget all but the newest KEPT."""
    arrays = {f"network{i}": v.numpy() for i, v in enumerate(network)}
    arrays |= {f"optimizer{i}": v.numpy() for i, v in enumerate(optimizer)}
    path = folder / f"{rows[-1]['step']:09d}.npz"
    with write_atomically(path) as temporary:
        with open(temporary, "wb") as file:
            np.savez(file, rows=json.dumps(rows), **arrays)
        with open(temporary, "r+b") as file:
            file.write(checksum(file, temporary.stat().st_size))
    for old in states(folder)[KEPT:]:
        old.unlink()


def checksum(file: BinaryIO, size: int) -> bytes:
    """SHA-256 of a file's first ``size`` bytes; the file is then at their end."""
    file.seek(0)
    hashed = hashlib.sha256()
    while size > 0 and (part := file.read(min(size, 1 << 20))):
        hashed.update(part)
        size -= len(part)
    return hashed.digest()


def states(folder: Path) -> list[Path]:
    """The state files, newest first; a half-written one has a hidden name and is no state."""
    return sorted((path for path in folder.glob("*.npz") if path.name[0] != "." and path.is_file()), reverse=True)


def newest_state(folder: Path, network, columns: list[str]) -> State | None:
    """The newest state that is whole; None if there are no states. Says so where a damaged one is passed over.

    Args:
        folder: of the states.
        network: the variables that it must fit.
        columns: of history.csv.

    Raises:
        UserError: if all of them are damaged.
    """
    for path in states(folder):
        try:
            return read_state(path, network, columns)
        except DAMAGE as error:
            print(f"warning: {path}: damaged ({brief(str(error))}); passed over")
    if states(folder):
        raise UserError(
            f"{folder}: no state in it is whole, so the training cannot go on. The best weights so far are in "
            "model.keras beside it. Train again under another --name, or remove these states to start over here"
        )
    return None


def read_state(path: Path, network, columns: list[str]) -> State:
    """Read what ``save_state`` wrote.

    Raises:
        DAMAGE: if it is not that, to the last bit.
    """
    with open(path, "rb") as file:
        if checksum(file, path.stat().st_size - SUM_BYTES) != file.read():
            raise ValueError("its checksum is another")
    arrays = read_arrays(path)
    rows = json.loads(str(arrays.pop("rows")))
    schema.rows_of_history(columns)("rows", rows)
    state = State(rows, numbered(arrays, "network"), numbered(arrays, "optimizer"))
    if len(state.network) + len(state.optimizer) < len(arrays):
        raise ValueError("it holds other arrays")
    refuse_unlike(network, state.network)
    return state


def numbered(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    return [arrays[f"{name}{i}"] for i in range(sum(key.startswith(name) for key in arrays))]


def refuse_unlike(variables, values: list[np.ndarray]) -> None:
    """Raise a ValueError unless the values are as many as the variables, of their shapes and types."""
    kinds = [(tuple(v.shape), np.dtype(v.dtype)) for v in variables]
    if kinds != [(value.shape, value.dtype) for value in values]:
        raise ValueError("its arrays are not those of this network and optimizer")


def restore(variables, values: list[np.ndarray]) -> None:
    """Give variables their values of a state.

    Raises:
        UserError: if they do not fit.
    """
    try:
        refuse_unlike(variables, values)
    except ValueError as error:
        raise UserError(f"the state to go on from is of another run or version: {error}; train again") from None
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def note_changes(changes: list[str], deterministic: bool) -> None:
    """Say that a run goes on in another environment than it began in."""
    if changes:
        end = "; so its weights may end otherwise than without the interruption" if deterministic else ""
        print(f"note: the run began with another {', '.join(changes)}{end}")


class Hopeless(UserError):
    """A training that would end in the same way again if it went on: its settings have to change."""


@contextmanager
def resumable(run: Path, command: str) -> Iterator[None]:
    """End what can be mended in a line that says how to go on with a run, by the command: an interruption, a file that
    cannot be read, a full disk.

    Raises:
        UserError: for these, and where another process is training the run.
    """
    try:
        with alone(run), named_files():
            yield
    except Hopeless:
        raise
    except UserError as error:
        raise UserError(f"{error}\nOnce that is fixed, go on from the last validation with: {command}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Go on from the last validation with: {command}") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"no room on the disk of {run} ({error.strerror}); the state of the validation before is intact. "
            f"Make room, then: {command}"
        ) from None


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Hold a run for this process until the block is done, or the process dies; a UserError where another holds it."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    refuse_special(run / UNFINISHED / "lock")
    held = os.open(run / UNFINISHED / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)  # never through a link
    with os.fdopen(held, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Hopeless(f"{run}: another process is training it; wait for its end, or stop it first") from None
        yield


@contextmanager
def signals_wait() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP wait until the block is done. What the process ignores (under nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread alone
        yield
        return
    came = []
    handlers = {
        number: signal.signal(number, lambda number, frame: came.append(number)) for number in stopping_signals()
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
