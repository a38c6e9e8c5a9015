"""Several runs by one command, in one folder: the folds of a cross-validation, a classifier of every strategy."""

import shlex
from collections.abc import Callable
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.files import write_json
from data_pipeline.outputs import new_folder, remove_left
from engine.config import ClassifierConfig, TrainConfig
from engine.run import Run, config_from_json, config_json, read_several
from engine.run_places import UNLABELLED_FILE, free_path, refuse_existing
from engine.scoring.task import LABELS, MASKS, Task

Config = TrainConfig | ClassifierConfig


def resume(folder: Path, file: str, task: Task, train_one: Callable, train_all: Callable) -> None:
    """Go on with the run in a folder, or with the several whose settings are in its ``file``.

    What is one round of a self-training goes on as the whole of it.

    Raises:
        UserError: if the folder is no unfinished run, or one of the other task.
    """
    kind = TrainConfig if task is MASKS else ClassifierConfig
    if (folder / file).is_file():
        train_all(read_several(folder / file, kind), folder)
        return
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


def train_members(folder: Path, members: dict[str, Config], train_one: Callable) -> list[Run]:
    """Train the runs of a folder that are still to do, and the rest of what was interrupted; all of them.

    The plan is printed once where it is the same for all, which is so of folds.
    """
    told = {"plan": True, "score": False}
    runs = [Run(folder / name) for name in members]
    for run, config in zip(runs, members.values(), strict=True):
        print(f"\n{run.path.name}, {runs.index(run) + 1} of {len(runs)}", flush=True)
        if run.resume_path.exists():
            train_one(config_from_json(run.config, run.path, type(config)), run, **told)
        elif run.path.exists():
            remove_left(run.path)
            print(f"{run.path} is trained already")
            continue
        else:
            train_one(config.replace(runs_dir=folder, name=run.path.name), **told)
        told["plan"] = not isinstance(config, TrainConfig)
    return runs


def in_words(runs: list[Run]) -> str:
    """The runs' folders, as a shell takes them."""
    return " ".join(shlex.quote(str(run.path)) for run in runs)
