"""Work on many items by several processes: of this machine, or of a Dask or Ray cluster that is there; joblib maps.

An item leaves files when it is done, and doing it again gives the same ones. So a process that dies, or a machine that
is taken away, costs what it was doing: what is missing is sent again. Nothing heavy is imported here.
"""

import hashlib
import logging
import multiprocessing
import os
import platform
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.outputs import unfinished

SENT_AGAIN = 3  # times
PATIENCE = 60.0  # seconds in which a shared folder shows what another machine wrote
ANSWER = 10  # seconds for a cluster to answer
CLUSTER = re.compile(r"dask://(?P<dask>[^\s/]+:[0-9]+)|ray:(?P<ray>\S+)")
INSTALL = "pip install -r requirements-cluster.txt -c constraints.txt"
ROOMS = ("data_pipeline", "engine", "models", "study")
PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python")
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
ALONE = threading.Lock()  # one item at a time in each process of a cluster
IDLE = 60.0  # seconds after which a process without work ends
MARK = "SPREADING_MARK"


@dataclass(frozen=True)
class Machines:
    """Say what does the work.

    jobs: processes of this machine; 1: this one alone.
    cluster: dask://HOST:PORT of a scheduler, or ray:ADDRESS (ray:auto: the cluster of this machine); "": none.
    """

    jobs: int = 1
    cluster: str = ""

    def __post_init__(self):
        """Refuse what is no number of processes, or no cluster.

        Raises:
            UserError: naming the flag.
        """
        if self.jobs < 1:
            raise UserError(f"--jobs {self.jobs}: at least 1 is wanted")
        if self.cluster and not CLUSTER.fullmatch(self.cluster):
            raise UserError(f"--cluster {self.cluster}: dask://HOST:PORT of a Dask scheduler, or ray:auto, is wanted")
        if self.cluster and self.jobs > 1:
            raise UserError("--cluster: its own processes do the work, however many they are; leave --jobs out")

    @property
    def is_one(self) -> bool:
        """Return whether this process does the work itself."""
        return self.jobs == 1 and not self.cluster

    @property
    def kind(self) -> str:
        """Return "dask" or "ray", of a cluster."""
        return self.cluster.partition(":")[0]

    @property
    def address(self) -> str:
        return CLUSTER.fullmatch(self.cluster)[self.kind]


@dataclass(frozen=True)
class Setting:
    """State what a process has to be and to see before it begins an item.

    folder: of the files of all items; mark: the name of a file in it, which says that it is the same one.
    environment: its variables, such as the number of threads, which TensorFlow reads once.
    program: the versions that it must have; of this machine's own processes nothing is asked.
    """

    folder: Path
    mark: str
    environment: dict[str, str]
    arguments: tuple[str, ...]
    working: str
    program: dict[str, str] | None

    @property
    def fault(self) -> str:
        """Say why this process cannot take part; "" where it can."""
        place = f"a process of the cluster, on {socket.gethostname()},"
        if self.program is not None:
            own = program()
            other = [
                f"{name} {own[name]} (here {wanted})" for name, wanted in self.program.items() if own[name] != wanted
            ]
            if other:
                return f"{place} has {', '.join(other)}; install the same there, and start it again"
        if not (self.folder / self.mark).exists():
            return (
                f"{place} does not see {self.folder}, or another folder of that name; the folder has to be shared by "
                "all machines (NFS), under one name"
            )
        return ""

    def enter(self) -> None:
        """Make this process what is asked, or raise a UserError."""
        with suppress(OSError):  # where all paths are absolute, it may be missing
            os.chdir(self.working)
        if self.fault:
            raise UserError(self.fault)
        os.environ.update(self.environment)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # several processes share one GPU's memory
        sys.argv = list(self.arguments)


@cache
def program() -> dict[str, str]:
    """Return what decides on the results: versions of Python and of packages, and a sum over this program's files.

    They are those that the process began with, as the modules are that it has imported.
    """
    summed = hashlib.sha256()
    root = Path(__file__).resolve().parents[1]
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        summed.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return dict.fromkeys(PACKAGES, "missing") | found | {"this program": summed.hexdigest()[:12]}


def spread(
    work: Callable[[Hashable], None],
    items: Iterable[Hashable],
    is_done: Callable[[Hashable], bool],
    machines: Machines,
    folder: Path,
    environment: dict[str, str],
    told: Callable[[Hashable], None] = lambda item: None,
    go_on: str = "the same command goes on",
) -> int:
    """Do what is missing; how many items that were.

    Args:
        work: of an item. It leaves files that are the same whoever does it, however often.
        items: what there is to do; one that comes twice is done once.
        is_done: whether the files of an item are there.
        machines: this process, several of this machine, or a cluster's.
        folder: where all files are; a cluster's machines must share it.
        environment: variables of the processes, THREADS above all; set before TensorFlow is imported.
        told: called here with each item that is done.
        go_on: how what is missing is done later, as an error says it.

    Raises:
        UserError: where the cluster cannot be had, or processes died again and again.
        Exception: the first that an item raised; all others are done before.
    """
    missing = [item for item in dict.fromkeys(items) if not is_done(item)]
    if machines.is_one:
        for item in missing:
            work(item)
            told(item)
        return len(missing)
    count, faults = len(missing), []
    with setting_of(Path(folder).resolve(), environment, machines) as setting:
        for times in range(1, 2 + SENT_AGAIN):
            if not missing:
                break
            faults, lost = sent(work, missing, is_done, machines, setting, told)
            if lost is None:
                break
            missing = [item for item in missing if not is_done(item)]
            if missing and times > SENT_AGAIN:
                raise UserError(
                    f"processes died {times} times, the last one so: {brief(lost)}\n{len(missing)} of {count} are "
                    f"missing, what is done is kept, and {go_on}. If memory is short, ask for fewer at a time"
                )
            if missing:
                again = f"{len(missing)} of {count} are sent again"
                print(f"note: a process died ({brief(lost)}); {again}", file=sys.stderr, flush=True)
    if faults:
        raise faults[0]
    return count


@contextmanager
def setting_of(folder: Path, environment: dict[str, str], machines: Machines) -> Iterator[Setting]:
    """The setting of the processes; its mark is in the folder as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    with unfinished(folder / "mark", lambda path: path.touch(exist_ok=False)) as mark:
        try:
            versions = program() if machines.cluster else None
            yield Setting(folder, mark.name, environment, tuple(sys.argv), os.getcwd(), versions)
        finally:
            mark.unlink(missing_ok=True)


def sent(work, missing: list, is_done, machines: Machines, setting: Setting, told) -> tuple[list, Exception | None]:
    """Send items, and wait for them: what they raised, and how a process was lost, if one was."""
    from joblib import Parallel, delayed

    begin = by_child if machines.cluster else attempt
    calls = [delayed(begin)(setting, work, is_done, item) for item in missing]
    with backend(machines, setting.environment) as options, watched(missing, is_done, told):
        try:
            faults = Parallel(**options, batch_size=1, pre_dispatch="all")(calls)
        except Exception as error:  # of the processes: what an item raises is returned
            return [], error
        if machines.cluster:
            faults += [
                UserError(f"{item}: done, but not to be seen in {setting.folder} within {PATIENCE:.0f} s")
                for item, fault in zip(missing, faults, strict=True)
                if fault is None and not appears(item, is_done)
            ]
    return [fault for fault in faults if fault], None


@contextmanager
def watched(items: list, is_done, told) -> Iterator[None]:
    """Tell of each item that is done, about when its files appear; of the last ones when the block ends."""
    left = list(items)

    def look() -> None:
        for item in list(left):
            if is_done(item):
                left.remove(item)
                told(item)

    with every_second(look):
        yield


@contextmanager
def every_second(look: Callable[[], None]) -> Iterator[None]:
    """Look once a second as long as the block lasts, and once more after it."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        look()


def appears(item, is_done) -> bool:
    """Return whether an item is done, once a shared folder shows what another machine wrote."""
    until = time.monotonic() + PATIENCE
    while not (found := is_done(item)) and time.monotonic() < until:
        time.sleep(0.5)
    return found


def attempt(setting: Setting, work, is_done, item) -> Exception | None:
    """In a process: do an item; what it raised.

    A cluster may send what is done once more, where a process that is lost had done it.
    """
    try:
        setting.enter()
        if not is_done(item):
            work(item)
    except (UserError, OSError, MemoryError) as error:
        return error
    except Exception:
        return RuntimeError(f"in another process:\n{traceback.format_exc()}")
    return None


def by_child(setting: Setting, work, is_done, item) -> Exception | None:
    """In a cluster's process: do an item in a process of its own; what it raised.

    In the cluster's own process other threads draw from Python's random numbers, of which Keras makes the weights; and
    it may have read, for other work, how many threads TensorFlow has.
    """
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    multiprocessing.current_process()._config["daemon"] = False  # Dask's processes are, and may then have no children
    begun = {"initializer": follow, "initargs": (os.getpid(), setting.environment | {MARK: setting.mark})}
    with ALONE:
        for _ in range(1 + SENT_AGAIN):
            try:
                child = get_reusable_executor(max_workers=1, timeout=IDLE, **begun)  # another for another command
                return child.submit(attempt, setting, work, is_done, item).result()
            except BrokenProcessPool as error:
                lost = error
    return UserError(f"{item}: its process died {1 + SENT_AGAIN} times, the last one so: {brief(lost)}")


def brief(error: Exception) -> str:
    """An error of joblib, Dask or Ray in a line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}{'…' if len(text) > 200 else ''}"


@contextmanager
def backend(machines: Machines, environment: dict[str, str]) -> Iterator[dict]:
    """Yield what joblib.Parallel is told of the machines, for as long as they are used.

    Raises:
        UserError: where a package is missing, or the cluster does not answer.
    """
    if not machines.cluster:
        with local(machines.jobs, environment) as options:
            yield options
        return
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is told here
    try:
        with {"dask": dask, "ray": ray}[machines.kind](machines.address) as options:
            yield options
    except ImportError as error:
        raise UserError(f"--cluster {machines.cluster} needs {error.name}: {INSTALL}") from None


@contextmanager
def local(jobs: int, environment: dict[str, str]) -> Iterator[dict]:
    """Processes of this machine, which end with the block, and with this process, however that ends."""
    from joblib.externals.loky import get_reusable_executor

    kill = True
    try:
        yield {"backend": "loky", "n_jobs": jobs, "initializer": follow, "initargs": (os.getpid(), environment)}
        kill = False
    finally:
        get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=kill)


@contextmanager
def dask(address: str) -> Iterator[dict]:
    """The processes of a Dask scheduler, HOST:PORT."""
    from distributed import Client
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs):
            """As many as there are; two where there is one, whose work joblib would do in this process."""
            return max(2, super().effective_n_jobs(n_jobs))

    try:
        client = Client(f"tcp://{address}", timeout=ANSWER, set_as_default=False)
    except OSError:
        raise UserError(f"no Dask scheduler answers at {address}; start it: dask scheduler --port PORT") from None
    with client:
        if not client.ncores():
            raise UserError(f"the Dask scheduler at {address} has no workers; start some: dask worker tcp://{address}")
        yield {"backend": Backend(client=client), "n_jobs": -1}


@contextmanager
def ray(address: str) -> Iterator[dict]:
    """The processes of a Ray cluster. The connection stays until this process ends: what joblib leaves running of a
    call that failed would begin a cluster of its own without it."""
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    try:
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError) as error:
        raise UserError(f"no Ray cluster answers at {address} ({brief(error)}); start it: ray start --head") from None
    if ray.cluster_resources().get("CPU", 0) < 2:
        raise UserError(f"the Ray cluster at {address} has fewer than two processors; work without --cluster")
    yield {"backend": "ray", "n_jobs": -1}


def processes(machines: Machines) -> int:
    """Return how many processes do the work."""
    if not machines.cluster:
        return machines.jobs
    with backend(machines, {}) as options:
        if machines.kind == "dask":
            return len(options["backend"].client.ncores())
        import ray

        return int(ray.cluster_resources()["CPU"])


def follow(parent: int, environment: dict[str, str]) -> None:
    """As a process begins: its environment; Ctrl-C is the parent's to answer, and with the parent it ends."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
