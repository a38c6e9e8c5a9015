"""Several runs by one command, in one folder: the folds of a cross-validation, a classifier of every strategy."""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.files import write_json
from data_pipeline.outputs import new_folder, remove_left
from engine.config import ClassifierConfig, TrainConfig
from engine.run import Run, config_from_json, config_json, cores, read_several, threads_asked
from engine.run_places import UNLABELLED_FILE, free_path, refuse_existing
from engine.scoring.task import LABELS, MASKS, Task
from engine.spreading import THREADS, Machines, every_second, spread

Config = TrainConfig | ClassifierConfig
LOGS = "logs"  # in a folder of runs that were trained side by side: what each printed


def resume(folder: Path, file: str, task: Task, train_one: Callable, train_all: Callable, machines: Machines) -> None:
    """Go on with the run in a folder, or with the several whose settings are in its ``file``.

    What is one round of a self-training goes on as the whole of it.

    Raises:
        UserError: if the folder is no unfinished run, or one of the other task.
    """
    kind = TrainConfig if task is MASKS else ClassifierConfig
    if (folder / file).is_file():
        train_all(read_several(folder / file, kind), folder, machines)
        return
    if not machines.is_one:
        raise UserError(f"{folder}: no folder of several runs; leave --jobs and --cluster out")
    if (folder.parent / UNLABELLED_FILE).is_file():
        folder = folder.parent
    run = Run.unfinished(folder)
    if run.classifies != (task is LABELS):
        what, other = ("a classifier", LABELS) if run.classifies else ("a segmentation network", MASKS)
        raise UserError(f"{folder}: {what}; python {other.script} --resume {shlex.quote(str(folder))}")
    train_one(config_from_json(run.config, folder, kind), run)


def new_members(config: Config, file: str) -> Path:
    """A new folder for several runs, with their common settings in ``file``."""
    folder = refuse_existing(free_path(config.runs_dir, config.name, config.default_name))
    with new_folder(folder) as fresh:
        write_json(fresh / file, config_json(config))
    return folder


def train_members(
    folder: Path, members: dict[str, Config], train_one: Callable, machines: Machines, task: Task
) -> list[Run]:
    """Train the runs of a folder that are still to do, and the rest of what was interrupted; all of them.

    Their files are the same by any machines. The plan is printed once where it is the same for all, which is so of
    folds.
    """
    runs = {name: Run(folder / name) for name in members}
    if not machines.is_one:
        train_side_by_side(folder, members, train_one, machines, task)
        return list(runs.values())
    plan = True
    for number, (name, run) in enumerate(runs.items(), 1):
        print(f"\n{name}, {number} of {len(runs)}", flush=True)
        if is_trained(run):
            remove_left(run.path)
            print(f"{run.path} is trained already")
        else:
            train_member(folder, name, members[name], train_one, plan)
            plan = not isinstance(members[name], TrainConfig)
    return list(runs.values())


def is_trained(run: Run) -> bool:
    return run.path.exists() and not run.resume_path.exists()


def train_member(folder: Path, name: str, config: Config, train_one: Callable, plan: bool) -> None:
    """Train one of several runs, or the rest of it."""
    run = Run(folder / name)
    if run.resume_path.exists():
        train_one(config_from_json(run.config, run.path, type(config)), run, plan=plan, score=False)
    else:
        train_one(config.replace(runs_dir=folder, name=name), plan=plan, score=False)


def train_side_by_side(
    folder: Path, members: dict[str, Config], train_one: Callable, machines: Machines, task: Task
) -> None:
    """Train runs at the same time; what each prints goes into a file, and from there to here."""
    todo = []
    for name in members:
        run = Run(folder / name)
        if is_trained(run):
            remove_left(run.path)
            print(f"{run.path} is trained already")
        else:
            todo.append(name)
    go_on = f"python {task.script} --resume {shlex.quote(str(folder))}"
    first = todo[:1] if task is MASKS else todo  # whose plan is printed
    work = partial(train_and_tell, folder, members, train_one, first)
    told = {name: folder / LOGS / f"{name}.txt" for name in todo}
    for path in (folder / LOGS, *told.values()):
        if path.is_symlink():
            raise UserError(f"{path}: a link, through which lines would be added to another file; remove it")
    print(f"{', '.join(todo)}: side by side; what each prints is kept in {folder / LOGS}/\n", flush=True)
    with followed(told):
        try:
            spread(
                *(work, todo, lambda name: is_trained(Run(folder / name)), machines, folder, own_threads()),
                go_on=f"this goes on: {go_on}",
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Go on from the last validation with: {go_on}") from None


def train_and_tell(folder: Path, members: dict[str, Config], train_one: Callable, first: list[str], name: str) -> None:
    """In another process: train one of several runs, and write down what it prints."""
    (folder / LOGS).mkdir(exist_ok=True)
    log = open(folder / LOGS / f"{name}.txt", "a", encoding="utf-8", buffering=1)  # noqa: SIM115  in the next line
    with log, redirect_stdout(log), redirect_stderr(log):
        train_member(folder, name, members[name], train_one, name in first)


def own_threads() -> dict[str, str]:
    """As many threads as this process has, in any other: a network's last bits may depend on their number."""
    asked = {"TF_NUM_INTRAOP_THREADS": threads_asked()}
    return {name: str(asked.get(name) or os.environ.get(name) or cores()) for name in THREADS}


@contextmanager
def followed(files: dict[str, Path]) -> Iterator[None]:
    """Print the lines that come to files, after their names, as long as the block lasts."""
    read = {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}

    def look() -> None:
        for name, path in files.items():
            with suppress(OSError), open(path, "rb") as file:
                file.seek(read[name])
                lines, end, _ = file.read().rpartition(b"\n")
                read[name] += len(lines + end)
                for line in (lines + end).decode(errors="replace").splitlines():
                    print(f"{name}: {line}".rstrip(), flush=True)

    with every_second(look):
        yield


def in_words(runs: list[Run]) -> str:
    """The runs' folders, as a shell takes them."""
    return " ".join(shlex.quote(str(run.path)) for run in runs)
