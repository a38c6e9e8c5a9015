#!/usr/bin/env python
"""Train a classifier, from scratch or from a pretrained encoder: the companion to train.py, on the same images."""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import shlex
import time
from functools import partial
from pathlib import Path

from data_pipeline.command import UserError, parse_size, run_command
from engine.config import STRATEGIES, ClassifierConfig

DEFAULT_SIZE = "224x224"
LEAST_SIZE = 32  # pixels a side, of what is chosen by itself: what the encoders of keras.applications take
DEFAULT_TILE = 64
SCRATCH_RATE, HEAD_RATE = 0.001, 0.003  # of all weights, and of a last layer alone: docs/results.md


def train(config: ClassifierConfig) -> None:
    """One run, or one for each strategy; or the rest of what was interrupted."""
    config = config.checked()
    if config.resume is not None:
        resume(config.resume)
    elif config.strategy == "all":
        train_all(config.replace(data=config.data.resolve()))
    else:
        train_run(config.replace(data=config.data.resolve()))


def resume(folder: Path) -> None:
    """Go on with the run, or the strategies, in a folder."""
    from engine.run import STRATEGIES, Run, config_from_json, read_several

    if (folder / STRATEGIES).is_file():
        train_all(read_several(folder / STRATEGIES, ClassifierConfig), folder)
        return
    run = Run.unfinished(folder)
    if not run.classifies:
        raise UserError(f"{folder}: a segmentation network; python train.py --resume {shlex.quote(str(folder))}")
    train_run(config_from_json(run.config, folder, ClassifierConfig), run)


def train_all(config: ClassifierConfig, folder: Path | None = None) -> None:
    """A run for every strategy, in one folder; with ``folder``: those still to do."""
    from data_pipeline.files import write_json
    from data_pipeline.outputs import new_folder, remove_left
    from engine.run import STRATEGIES as FILE
    from engine.run import Run, config_from_json, config_json, free_path, refuse_existing

    if folder is None:
        config = refuse_mistakes(config)  # told before there is a folder
        folder = refuse_existing(free_path(config.runs_dir, config.name, default_name(config)))
        with new_folder(folder) as fresh:
            write_json(fresh / FILE, config_json(config))
    runs = [Run(folder / strategy) for strategy in STRATEGIES]
    for run in runs:
        print(f"\n{run.path.name}", flush=True)
        if run.resume_path.exists():
            train_run(config_from_json(run.config, run.path, ClassifierConfig), run)
        elif run.path.exists():
            remove_left(run.path)
            print(f"{run.path} is trained already")
        else:
            train_run(of_strategy(config, run.path.name).replace(runs_dir=folder, name=run.path.name))
    each = " ".join(shlex.quote(str(run.path)) for run in runs)
    part = "" if runs[0].split.test else " --split val"
    out = shlex.quote(str(folder.with_name(f"{folder.name}-compared")))
    print(f"\nAll strategies are trained. Next: python evaluate.py {each} --compare{part} --out {out}")


def refuse_mistakes(config: ClassifierConfig) -> ClassifierConfig:
    """The settings with their automatic values decided, if data, weights and block are what every strategy wants."""
    from engine.training.building import make_classifier

    config, data = open_data(config)
    make_classifier(of_strategy(config, "finetune"), len(data.names), data.scale)
    return config


def of_strategy(config: ClassifierConfig, strategy: str) -> ClassifierConfig:
    """The settings of one strategy among all: what it does not have is left out."""
    changes = {"strategy": strategy}
    if strategy != "finetune":
        changes |= {"head_steps": None, "unfreeze": "all", "finetune_rate": ClassifierConfig.finetune_rate}
    if strategy == "scratch":
        changes |= {"weights": None, "cache_features": False}
    return config.replace(**changes)


def train_run(config: ClassifierConfig, run=None) -> None:
    """From files to a run: photos, split, batches, classifier, training, first scores. With ``run``: the rest of it."""
    # Imported late, so that --help answers at once, and a fault of the data is told before TensorFlow is loaded.
    config, data = open_data(config)

    import keras
    import tensorflow as tf

    from data_pipeline.loader import PhotoLoader
    from data_pipeline.outputs import remove_folder
    from engine.run import photos_json
    from engine.training.building import classifier_stages, make_classifier
    from engine.training.cost import bits_of_labels, forget_peak, write_cost
    from engine.training.fit import fit
    from engine.training.resume import how_to_go_on, note_changes
    from engine.training.task import classification

    keras.backend.clear_session()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    print_plan(config, data)
    model = make_classifier(config, len(data.names), data.scale)
    if config.strategy != "scratch":
        print(f"weights: all {len(model.get_layer('encoder').weights)} tensors of the encoder from {config.weights}")
    if run:
        run.refuse_changed(photos_json(run.root, data), data.split)
        note_changes(run.changes_of_environment(), config.deterministic)
    else:
        run = create_run(config, data)
    print(f"{config.backbone} with {model.count_params():,} parameters; the run is {run.path}", flush=True)

    size = parse_size(config.size)
    loader, held_out = (PhotoLoader(part, None, size, tile=config.tile) for part in (data.split.train, data.split.val))
    with how_to_go_on(run.path, f"python train_classifier.py --resume {shlex.quote(str(run.whole))}"):
        forget_peak()
        started = time.monotonic()
        stages = classifier_stages(config, model, loader, held_out, data.scale)
        prepared = time.monotonic() - started  # --cache-features
        rows = fit(model, stages, classification(), data.names, config, run)
        write_cost(run, model, rows, partial(bits_of_labels, data.split.train, len(data.names)), prepared)
        report(run)
    remove_folder(run.resume_path)


def open_data(config: ClassifierConfig):
    """The settings with their automatic values decided, and the data set with the split that they ask for."""
    from data_pipeline.data_set import open_labels

    if config.label_from_masks == "centre" and config.tile is None:
        config = config.replace(tile=DEFAULT_TILE)
    labels = {"rule": config.label_from_masks, "tile": config.tile, "train_per_class": config.train_per_class}
    data = open_labels(config, config.split_seed, config.train_count, **labels)
    return settle(config, data), data


def settle(config: ClassifierConfig, data) -> ClassifierConfig:
    """The settings with their automatic values decided."""
    from data_pipeline.loader import WHOLE_IMAGE_AREA

    changes = {}
    if config.size is None:
        height, width = next(iter(data.sizes))
        small = len(data.sizes) == 1 and height * width <= WHOLE_IMAGE_AREA
        changes["size"] = f"{max(height, LEAST_SIZE)}x{max(width, LEAST_SIZE)}" if small else DEFAULT_SIZE
    if config.strategy == "finetune" and config.head_steps is None:
        changes["head_steps"] = max(1, config.steps // 2)
    if config.strategy == "frozen":
        changes["head_steps"] = config.steps
    if config.strategy != "all" and config.learning_rate is None:
        changes["learning_rate"] = SCRATCH_RATE if config.strategy == "scratch" else HEAD_RATE
    if config.strategy != "scratch":
        own = config.weights not in (None, "imagenet")
        changes["weights"] = str(Path(config.weights).resolve()) if own else "imagenet"
    return config.replace(**changes)


def print_plan(config: ClassifierConfig, data) -> None:
    """What is about to happen, and on what device."""
    from collections import Counter

    from data_pipeline.findings import print_findings, some
    from engine.run import device, warn_of_unseen_gpu

    print_findings(data.findings)
    split = data.split
    held = Counter(photo.label for photo in split.train)
    counts = some([f"{name} {held[label]}" for label, name in enumerate(data.names)], most=12)
    seen = "tiles" if config.tile else "images"
    said = f"; labels from masks: {config.label_from_masks}" if config.label_from_masks else ""
    print(
        f"plan: {len(split.part('all'))} {seen}, {len(data.names)} classes{said}; "
        f"{len(split.train)} / {len(split.val)} / {len(split.test)} for training / validation / test"
        f"{' (as the data set has it)' if split.fixed else ''}; training: {counts}; "
        f"{steps_in_words(config)} of {config.batch_size} images of {config.size.replace('x', '×')}, validated every "
        f"{config.steps_per_epoch}; augmentation {config.augment}, symmetry {config.symmetry}; on {device()}"
    )
    if config.cache_features:
        print("note: --cache-features: the last layer is trained on features of the images as they are, unaugmented")
    if lacking := [name for label, name in enumerate(data.names) if not held[label]]:
        print(f"warning: none of the images to train on is of {', '.join(lacking)}")
    if config.weights and (seen := seen_by_weights(config, split)):
        print(
            f"WARNING: {config.weights} was trained on {some(seen)}, which are held out here, so that scores flatter; "
            "train it and this with one --split-seed"
        )
    warn_of_unseen_gpu()


def seen_by_weights(config: ClassifierConfig, split) -> list[str]:
    """The images held out here that a file of weights, where it stands in a run's folder, was trained on."""
    from engine.run import Run

    run = Run(Path(config.weights).parent)
    if not (run.path / "config.json").is_file() or not (run.path / "split.json").is_file():
        return []
    trained = {one.image.resolve() for one in run.split.train}
    return sorted({one.image.name for one in split.val + split.test if one.image.resolve() in trained})


def steps_in_words(config: ClassifierConfig) -> str:
    if config.strategy == "scratch":
        return f"from scratch, {config.steps:,} steps"
    head = f"{config.head_steps:,} steps of the last layer"
    if config.strategy == "frozen":
        return f"{head}, the encoder frozen,"
    part = "the encoder" if config.unfreeze == "all" else f"the encoder from {config.unfreeze} on"
    return f"{head}, then {config.steps - config.head_steps:,} of {part} too,"


def create_run(config: ClassifierConfig, data):
    """The run's folder, with all that is known before the first step."""
    from engine.framing import Frame
    from engine.run import Run, config_json, environment, free_path, photos_json

    path = free_path(config.runs_dir, config.name, default_name(config))
    size = parse_size(config.size)
    return Run.create(
        path,
        {
            "config.json": config_json(config.replace(name=path.name), Frame(size, size, 0, crops=False)),
            "dataset.json": photos_json(config.root, data),
            "split.json": data.split.to_json(config.root),
            "environment.json": environment(),
        },
    )


def default_name(config: ClassifierConfig) -> str:
    return f"{config.title}-{config.backbone}-{config.strategy}"


def report(run) -> None:
    """Last lines: the best weights' score on the validation images, and the next command."""
    from engine.scoring.classifier_scores import look_at_photos, results_of, table
    from engine.scoring.scores import verdict

    results = results_of(look_at_photos(run, run.split.val), {})
    split = "" if run.split.test else " --split val"
    print(
        f"\nValidation, {len(run.split.val)} images:\n{table(results)}\n\n{verdict(results).text}\n"
        f"{run.path}/ holds model.keras, history.csv and curves.png. "
        f"Next: python evaluate.py {shlex.quote(str(run.path))}{split}"
    )


if __name__ == "__main__":
    run_command(train, ClassifierConfig, __doc__)
