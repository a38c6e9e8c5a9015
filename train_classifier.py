#!/usr/bin/env python
"""Train a classifier, from scratch or from a pretrained encoder: the companion to train.py, on the same images."""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import shlex
from pathlib import Path

from data_pipeline.command import run_command
from engine.config import STRATEGIES, ClassifierConfig
from engine.usage import CLASSIFY

DEFAULT_TILE = 64


def train(config: ClassifierConfig) -> None:
    """Train one classifier, or one for each strategy; or go on with what was interrupted."""
    config = config.checked()
    if config.resume is not None:
        from engine.run_places import STRATEGIES_FILE
        from engine.scoring.task import LABELS
        from engine.training.members import resume

        resume(config.resume, STRATEGIES_FILE, LABELS, train_one, train_all, config.machines)
        return

    from engine.run_places import refuse_taken

    refuse_taken(config)
    if config.strategy == "all":
        train_all(with_tile(config), None, config.machines)
    else:
        train_one(with_tile(config))


def train_one(config: ClassifierConfig, run=None, **options) -> None:
    """Train one classifier: settings → data set → run. With ``run``: continue it. options: train_run's."""
    dataset = open_data(config)  # before TensorFlow is loaded

    from engine.defaults import decided_for_labels
    from engine.scoring.task import LABELS
    from engine.training.train_run import train_run

    train_run(decided_for_labels(config, dataset), LABELS, dataset, run, **options)


def train_all(config: ClassifierConfig, folder: Path | None, machines) -> None:
    """Train a classifier by every strategy, in one folder; with ``folder``: those still to do."""
    from engine.run_places import STRATEGIES_FILE
    from engine.scoring.task import LABELS
    from engine.training.members import in_words, new_members, train_members

    if folder is None:
        config = refuse_mistakes(config)  # reported before there is a folder
        folder = new_members(config, STRATEGIES_FILE)
    members = {strategy: of_strategy(config, strategy) for strategy in STRATEGIES}
    runs = train_members(folder, members, train_one, machines, LABELS)
    part = "" if runs[0].split.test else " --split val"
    out = shlex.quote(str(folder.with_name(f"{folder.name}-compared")))
    print(f"\nAll strategies are trained. Next: python evaluate.py {in_words(runs)} --compare{part} --out {out}")


def refuse_mistakes(config: ClassifierConfig) -> ClassifierConfig:
    """The settings with every default resolved, if data, weights and block fit every strategy."""
    dataset = open_data(config)

    from engine.defaults import decided_for_labels
    from engine.training.classifier import network

    config = decided_for_labels(config, dataset)
    network(of_strategy(config, "finetune"), dataset)
    return config


def of_strategy(config: ClassifierConfig, strategy: str) -> ClassifierConfig:
    """The settings of one strategy among all: what it does not have is left out."""
    changes = {"strategy": strategy}
    if strategy != "finetune":
        changes |= {"head_steps": None, "unfreeze": "all", "finetune_rate": ClassifierConfig.finetune_rate}
    if strategy == "scratch":
        changes |= {"weights": None, "cache_features": False}
    return config.replace(**changes)


def open_data(config: ClassifierConfig):
    """Open the data set, with labels, and the split that the settings ask for."""
    from data_pipeline.dataset import open_labels

    labels = {"rule": config.label_from_masks, "tile": config.tile, "train_per_class": config.train_per_class}
    return open_labels(config, config.split_seed, config.train_count, **labels)


def with_tile(config: ClassifierConfig) -> ClassifierConfig:
    """The settings with the place of their data, and the size of the tiles that are labelled, if tiles are."""
    tile = config.tile or (DEFAULT_TILE if config.label_from_masks == "centre" else None)
    return config.replace(data=config.data.resolve(), tile=tile)


if __name__ == "__main__":
    run_command(train, ClassifierConfig, __doc__, usage=CLASSIFY)
