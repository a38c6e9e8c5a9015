"""Exact state of a training: written after each validation, so that a killed run goes on as if nothing had been.

A state is one file, resume/STEP.npz in the run's folder: the history so far and every variable of the network (with
its random seeds) and of the optimizer. All else follows from these: the best score and the patience from the history,
the batches to come from the number of samples seen, the learning rate from the optimizer's step.
"""

import errno
import json
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipeline.command import UserError, stopping_signals
from data_pipeline.dataset import named_files
from data_pipeline.files import refuse_special, write_atomically
from engine.run import UNFINISHED

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, rows=json.dumps(rows), **arrays)
    for old in states(folder)[KEPT:]:
        old.unlink()


def states(folder: Path) -> list[Path]:
    """The state files, newest first; a half-written one has a hidden name and is no state."""
    return sorted(
        (path for path in folder.glob("*.npz") if not path.name.startswith(".") and path.is_file()), reverse=True
    )


def newest_state(folder: Path) -> State | None:
    """The newest state that can be read; None if there is none. Says so where a damaged one is passed over."""
    for path in states(folder):
        try:
            with np.load(path, allow_pickle=False) as stored:  # zip: each array is checked by its CRC
                rows = json.loads(str(stored["rows"]))
                return State(rows, numbered(stored, "network"), numbered(stored, "optimizer"))
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            print(f"warning: {path}: damaged ({error}); going on from the state before it")
    return None


def numbered(stored, name: str) -> list[np.ndarray]:
    return [stored[f"{name}{i}"] for i in range(sum(key.startswith(name) for key in stored.files))]


def restore(variables, values: list[np.ndarray]) -> None:
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
def how_to_go_on(run: Path, command: str) -> Iterator[None]:
    """What can be mended ends in a line that says how to go on with a run, by the command: an interruption, a file
    that cannot be read, a full disk.

    Raises:
        UserError: for these, and where another process is training the run.
    """
    try:
        with alone(run), named_files():
            yield
    except Hopeless:
        raise
    except UserError as error:
        raise UserError(f"{error}\nOnce that is mended, go on from the last validation with: {command}") from None
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
    with open(run / UNFINISHED / "lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Hopeless(f"{run}: another process is training it; wait for its end, or stop it first") from None
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
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
