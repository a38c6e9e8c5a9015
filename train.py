#!/usr/bin/env python
"""Train a segmentation network on a folder of images and masks: configuration → runs/NAME/."""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the imports: no traceback; run_command sets it back

import shlex
import sys
from pathlib import Path

from data_pipeline.command import run_command
from engine.config import TrainConfig, recipe_named
from engine.usage import TRAIN

GOLFSCAPE = Path("data/golfscape")

# Functions import what is heavy, so that --help answers at once and a fault of the data is reported before TensorFlow
# is loaded.


def train(config: TrainConfig) -> None:
    """Train one network, or one for each fold; or go on with what was interrupted."""
    config = config.checked()
    if config.resume is not None:
        from engine.run_places import FOLDS_FILE
        from engine.scoring.task import MASKS
        from engine.training.members import resume

        resume(config.resume, FOLDS_FILE, MASKS, train_one, train_folds, config.machines)
        return

    from engine.run_places import refuse_taken

    refuse_taken(config)
    if config.folds and config.fold is None:
        train_folds(with_data(config), None, config.machines)
    else:
        train_one(with_data(config))


def train_one(config: TrainConfig, run=None, **options) -> None:
    """Train one network: settings → data set → run. With ``run``: continue it. options: train_run's."""
    dataset = open_data(config)

    from engine.defaults import decided
    from engine.scoring.task import MASKS
    from engine.training.train_run import train_run

    if config.unlabelled:
        from engine.selftraining.rounds import train_with_unlabelled as train_run

    train_run(decided(config, dataset), MASKS, dataset, run, **options)


def train_folds(config: TrainConfig, folder: Path | None, machines) -> None:
    """Train every fold of a cross-validation, as runs in one folder; with ``folder``: those still to do."""
    from engine.run_places import FOLDS_FILE
    from engine.scoring.task import MASKS
    from engine.training.members import in_words, new_members, train_members

    if folder is None:
        open_data(config.replace(fold=0))  # a mistake is reported before there is a folder
        folder = new_members(config, FOLDS_FILE)
    folds = {f"fold-{i}": config.replace(fold=i) for i in range(config.folds)}
    runs = train_members(folder, folds, train_one, machines, MASKS)
    out = shlex.quote(str(folder / "evaluation"))
    print(f"\nAll {config.folds} folds are trained. Next: python evaluate.py {in_words(runs)} --out {out}")


def open_data(config: TrainConfig):
    """Open the data set with the split that the settings ask for."""
    from data_pipeline.dataset import open_dataset

    return open_dataset(config, config.split_seed, config.train_count, config.folds, config.fold)


def with_data(config: TrainConfig) -> TrainConfig:
    """The settings with the place of their data; golfscape, drawn if it is not there yet, where none is named."""
    if config.data or config.images or config.masks:
        config = config.with_folder()
        return config.replace(data=config.data.resolve())

    from data_pipeline.importing.golfscape import write_scenes

    if not GOLFSCAPE.exists():
        write_scenes(GOLFSCAPE)
    symmetry = "d4" if config.symmetry == "auto" else config.symmetry
    return config.replace(data=GOLFSCAPE.resolve(), symmetry=symmetry)


if __name__ == "__main__":
    run_command(train, TrainConfig, __doc__, default=recipe_named(sys.argv[1:]), usage=TRAIN)
