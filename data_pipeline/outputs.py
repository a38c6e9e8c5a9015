"""Outputs of commands: they appear whole or not at all, and never in the place of what the command did not write.

What is being made has a hidden name, .unfinished-…, and its process holds a lock on it. Where no process holds one, its
process was killed: the next command that writes beside it removes it.
"""

import ctypes
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from .command import UserError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, nothing is known of other processes, and nothing is removed
    fcntl = None

UNFINISHED = re.compile(r"\.unfinished-[0-9a-f]{16}(\.\w+)?")
LONGEST_NAME = 255  # bytes, in every common file system
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # that file browsers leave everywhere
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2  # renameat2(2)
NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
IN_USE = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


@contextmanager
def write_atomically(path: Path, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds, else remove it.

    Raises:
        UserError: without ``replace``, if something is at ``path`` by then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_once(path.parent.resolve())
    with unfinished(path, lambda temporary: temporary.touch(exist_ok=False), path.suffix) as temporary:
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path) if replace else publish(temporary, path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
                error.filename = str(path)
            raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes ``path`` if the block succeeds, else is removed.

    Raises:
        UserError: if something is at ``path`` by then.
    """
    with unfinished_folder(Path(path)) as fresh:
        yield fresh
        publish(fresh, Path(path))


@contextmanager
def replace_folder(path: Path, written: Iterable[str]) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path`` if the block succeeds, else is removed.

    written: patterns of the files in ``path`` that may be replaced, such as "predictions/*.png".

    Raises:
        UserError: if ``path`` holds anything else, before the block or after it.
    """
    path, written = Path(path), tuple(written)
    refuse_strangers(path, written)
    with unfinished_folder(path) as fresh:
        yield fresh
        refuse_strangers(path, written)
        exchange(fresh, path) if os.path.lexists(path) else publish(fresh, path)


def refuse_strangers(folder: Path, written: tuple[str, ...]) -> None:
    """Raise a UserError where a folder holds files other than those ``written``, or is none."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder} is no folder that this command wrote; move it away, or remove it first")
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = [path.relative_to(folder).as_posix() for path in files if path.name not in LITTER]
    strange = sorted(name for name in names if not any(fnmatch(name, pattern) for pattern in written))
    strange = [name for name in strange if not UNFINISHED.fullmatch(Path(name).name)]
    if strange:
        raise UserError(
            f"{folder} is to be replaced, and holds what this command did not write: {', '.join(strange[:3])}"
            f"{f' and {len(strange) - 3} more' if len(strange) > 3 else ''}; move that away first"
        )


def refuse_existing_folder(path: Path) -> Path:
    """The path, if nothing is there; else a UserError."""
    if os.path.lexists(path):
        raise UserError(f"{path} exists; name another folder, or remove it first")
    return Path(path)


def refuse_to_replace(flag: str, path: Path, overwrite: bool, sources: Iterable[Path] = ()) -> None:
    """Raise a UserError for an output that a user named, where it exists, or is one of the files that are read.

    overwrite: what exists may be replaced, but never a source.
    """
    path = Path(path)
    if path.resolve() in {source.resolve() for source in sources}:
        raise UserError(f"{flag} {path} is a file of the data set; name another one")
    if path.is_dir():
        raise UserError(f"{flag} {path} is a folder; name a file")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{flag} {path} exists; name another file, or add --overwrite")


def refuse_long_name(path: Path) -> None:
    """Raise a UserError for a name that no file system takes."""
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        raise UserError(
            f"{path.name[:40]}…: a file of this name is to be written, and it has {size} bytes; {LONGEST_NAME} are the "
            "most that file systems take, so give the image a shorter name"
        )


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """An empty hidden folder beside ``path``, held by this process; what has that name after the block is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left(path.parent)
    with unfinished(path, Path.mkdir) as fresh:
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)  # what cannot be removed now is left to the next command


@contextmanager
def unfinished(path: Path, make: Callable[[Path], None], suffix: str = "") -> Iterator[Path]:
    """Make a hidden file or folder beside ``path``, and hold it until the block is done."""
    while True:
        fresh = path.with_name(unfinished_name() + suffix)
        make(fresh)
        with ExitStack() as lock:
            with suppress(FileNotFoundError):  # another command may take it for left, until it is held
                lock.enter_context(held(fresh))
            if fresh.exists():
                yield fresh
                return


def unfinished_name() -> str:
    """A name of 28 letters, however long the name will be that it stands for."""
    return f".unfinished-{secrets.token_hex(8)}"


def publish(fresh: Path, path: Path) -> None:
    """Give what was made its name; a UserError if something has that name by now."""
    try:
        rename_to_free(fresh, path)
    except OSError as error:
        if error.errno not in IN_USE:
            raise
        raise UserError(
            f"{path} exists now: something made it while this command was running. Nothing was overwritten. "
            "Name another place, or remove it first"
        ) from None


def rename_to_free(source: Path, target: Path) -> None:
    """Rename a file or folder, in one step, to a name that nothing has; an OSError if something has it."""
    if renamed(source, target, NOREPLACE):
        return
    # Systems without renameat2: a link refuses a name that is taken; rename(2) a folder that is not empty.
    if source.is_dir():
        os.rename(source, target)
    else:
        os.link(source, target)
        os.unlink(source)


def exchange(source: Path, target: Path) -> None:
    """Swap two folders' names, in one step where the system can."""
    if renamed(source, target, EXCHANGE):
        return
    aside = source.with_name(unfinished_name())
    os.rename(target, aside)
    os.rename(source, target)
    os.rename(aside, source)


def renamed(source: Path, target: Path, how: int) -> bool:
    """Return whether Linux's renameat2 did it; False where there is no such call, or the file system lacks it."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if call is None:
        return False
    if call(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), how) == 0:
        return True
    number = ctypes.get_errno()
    if number in NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


@contextmanager
def claimed_folder(path: Path, doing: str) -> Iterator[None]:
    """Make a folder that outlives the process, unless it stays empty, and hold it for this process alone.

    Raises:
        UserError: if another process holds it.
    """
    while True:
        path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as lock:
            handle = None
            try:
                handle = lock.enter_context(held(path, alone=True))
            except BlockingIOError:
                raise UserError(f"another process is {doing}; wait for its end, or stop it first") from None
            except FileNotFoundError:
                continue
            except OSError:  # network file systems may have no locks
                pass
            if handle is None or is_at(handle, path):  # else the process that held it has given it another name
                try:
                    yield
                finally:
                    with suppress(OSError):
                        path.rmdir()
                return


def is_at(handle: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(handle), path.stat())


@contextmanager
def held(path: Path, alone: bool = False) -> Iterator[int | None]:
    """Hold a lock on a file or folder until the block is done, or the process dies.

    alone: a lock that goes with no other, or none; else the lock of what is being made, which only ``remove_left``
        waits for.

    Raises:
        BlockingIOError: with ``alone``, if another process holds a lock.
    """
    if fcntl is None:
        yield None
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if alone:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            with suppress(OSError):  # network file systems may have no locks
                fcntl.flock(handle, fcntl.LOCK_SH)
        yield handle
    finally:
        os.close(handle)


def remove_left(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder; what another process is making cannot be locked."""
    if fcntl is None or not folder.is_dir():
        return
    for name in os.listdir(folder):
        if UNFINISHED.fullmatch(name):
            with suppress(OSError), held(folder / name, alone=True):
                remove(folder / name)


remove_left_once = cache(remove_left)  # a command may write thousands of files into one folder


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_folder(path: Path) -> None:
    """Remove a folder: its name at once, then what it holds, so that never a part of it has that name."""
    aside = path.with_name(unfinished_name())
    os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)
