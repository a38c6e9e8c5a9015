"""Names of runs: that of a new run's folder, and the files that mark a folder of runs. Nothing heavy is imported."""

import os
import shlex
from pathlib import Path

from data_pipeline.command import UserError

from .config import ClassifierConfig, TrainConfig

UNFINISHED = "resume"  # in a run's folder: states of its training (``engine.training.resume``), until it ends well
FOLDS_FILE = "folds.json"  # in a folder of runs: the settings of a cross-validation
STRATEGIES_FILE = "strategies.json"  # in a folder of runs: the settings of classifiers of every strategy
UNLABELLED_FILE = "unlabelled.json"  # in a run's folder: the images without masks that it learns from too


def refuse_taken(config: TrainConfig | ClassifierConfig) -> None:
    """Raise a UserError if there is a run of the name that the user chose."""
    if config.name is not None:
        refuse_existing(config.runs_dir / config.name)


def refuse_existing(path: Path) -> Path:
    """The path, if nothing is there; else a UserError."""
    if os.path.lexists(path):
        unfinished = (path / UNFINISHED).is_dir() or any(
            (path / name).is_file() for name in (FOLDS_FILE, STRATEGIES_FILE)
        )
        go_on = f"go on with it by --resume {shlex.quote(str(path))}, " if unfinished else ""
        raise UserError(
            f"{path} exists, and a run is never overwritten; {go_on}choose another --name, or remove it first"
        )
    return path


def free_path(runs_dir: Path, name: str | None, default_name: str) -> Path:
    """Choose a new run's folder: the name that the user chose, or a default name, numbered where that is taken."""
    path, number = runs_dir / (name or default_name), 1
    while not name and path.exists():
        number += 1
        path = runs_dir / f"{default_name}-{number}"
    return path
