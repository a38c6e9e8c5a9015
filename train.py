#!/usr/bin/env python
"""Train a segmentation network on a folder of images and masks: configuration → runs/NAME/."""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import random
import shlex
import sys
from functools import partial
from pathlib import Path

from data_pipeline.command import UserError, run_command
from engine.config import TrainConfig, recipe_named

GOLFSCAPE = Path("data/golfscape")
VALIDATION_TILES = 500


def train(config: TrainConfig) -> None:
    """One run, or one for each fold; or the rest of what was interrupted."""
    config = config.checked()
    if config.resume is not None:
        resume(config.resume)
    elif config.folds and config.fold is None:
        train_folds(settle(config))
    else:
        train_run(settle(config))


def resume(folder: Path) -> None:
    """Go on with the run, or the folds, in a folder."""
    from engine.run import FOLDS, Run, config_from_json, read_several

    if (folder / FOLDS).is_file():
        train_folds(read_several(folder / FOLDS), folder)
    else:
        run = Run.unfinished(folder)
        if run.classifies:
            raise UserError(f"{folder}: a classifier; python train_classifier.py --resume {shlex.quote(str(folder))}")
        train_run(config_from_json(run.config, folder), run)


def train_folds(config: TrainConfig, folder: Path | None = None) -> None:
    """Every fold of a cross-validation, as runs of its own in one folder; with ``folder``: those still to do."""
    from data_pipeline.files import write_json
    from data_pipeline.outputs import new_folder, remove_left
    from engine.run import FOLDS, Run, config_from_json, config_json, free_path, refuse_existing

    if folder is None:
        open_data(config.replace(fold=0))  # a mistake is told before there is a folder
        folder = refuse_existing(free_path(config.runs_dir, config.name, f"{config.title}-{config.model}"))
        with new_folder(folder) as fresh:
            write_json(fresh / FOLDS, config_json(config))
    runs = [Run(folder / f"fold-{fold}") for fold in range(config.folds)]
    for fold, run in enumerate(runs):
        print(f"\nfold {fold} of 0 … {config.folds - 1}", flush=True)
        if run.resume_path.exists():
            train_run(config_from_json(run.config, run.path), run)
        elif run.path.exists():
            remove_left(run.path)
            print(f"{run.path} is trained already")
        else:
            train_run(config.replace(runs_dir=folder, name=run.path.name, fold=fold))
    each = " ".join(shlex.quote(str(run.path)) for run in runs)
    out = shlex.quote(str(folder / "evaluation"))
    print(f"\nAll {config.folds} folds are trained. Next: python evaluate.py {each} --out {out}")


def train_run(config: TrainConfig, run=None) -> None:
    """From files to a run: pairs, split, batches, network, training, first scores. With ``run``: the rest of it."""
    # Imported late, so that --help answers at once, and a fault of the data is told before TensorFlow is loaded.
    data = open_data(config)

    import keras
    import tensorflow as tf

    from data_pipeline.dataset import validation_batches, validation_tiles
    from data_pipeline.loader import Loader
    from data_pipeline.outputs import remove_folder
    from data_pipeline.weights import pixel_weights
    from engine.framing import choose_frames
    from engine.run import dataset_json
    from engine.training.building import make_model, make_stages, strategy_for
    from engine.training.cost import bits_of_masks, forget_peak, write_cost
    from engine.training.fit import fit
    from engine.training.resume import how_to_go_on, note_changes
    from engine.training.task import segmentation
    from models import MODELS

    keras.backend.clear_session()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    frames = choose_frames(config, MODELS[config.model], data.sizes)
    print_plan(config, data, frames)
    strategy = strategy_for(config)
    with strategy.scope():
        model = make_model(config, data.encoding.num_classes, data.scale)
    if run:
        run.refuse_changed(dataset_json(run.root, data), data.split)
        note_changes(run.changes_of_environment(config.devices), config.deterministic)
    else:
        run = create_run(config, data, frames[-1])
    print(f"{config.model} with {model.count_params():,} parameters; the run is {run.path}", flush=True)

    weigh = partial(
        pixel_weights,
        class_weights=data.inspection.class_weights(data.split.train, config.class_weights),
        border=config.border_weights,
    )
    held_out = Loader(data.split.val, data.encoding, frames[-1].size)
    validation = validation_batches(
        held_out,
        thin_out(validation_tiles(held_out, frames[-1].tile)),
        frames[-1].tile,
        weigh,
        margin=frames[-1].margin,
        batch_size=config.batch_size,
    )
    loader = Loader(data.split.train, data.encoding, frames[0].size)
    stages = make_stages(config, loader, validation, frames, weigh, data.scale)
    forget_peak()
    with how_to_go_on(run.path, f"python train.py --resume {shlex.quote(str(run.whole))}"):
        with strategy.scope():
            rows = fit(model, stages, segmentation(config.loss), data.encoding.names, config, run)
        write_cost(run, model, rows, partial(bits_of_masks, data.split.train, data.encoding), devices=config.devices)
        report(run, config)
    remove_folder(run.resume_path)


def open_data(config: TrainConfig):
    """The data set with the split that the settings ask for."""
    from data_pipeline.data_set import open_dataset

    return open_dataset(config, config.split_seed, config.train_count, config.folds, config.fold)


def settle(config: TrainConfig) -> TrainConfig:
    """The configuration with its automatic values decided, and golfscape drawn if it is wanted."""
    if config.weights not in (None, "imagenet", "none"):
        config = config.replace(weights=str(Path(config.weights).resolve()))  # --resume may be called from elsewhere
    if config.data:
        symmetry = "horizontal" if config.symmetry == "auto" else config.symmetry
        return config.replace(data=config.data.resolve(), symmetry=symmetry)

    from data_pipeline.importing.golfscape import write_scenes

    if not GOLFSCAPE.exists():
        write_scenes(GOLFSCAPE)
    symmetry = "d4" if config.symmetry == "auto" else config.symmetry
    return config.replace(data=GOLFSCAPE.resolve(), symmetry=symmetry)


def print_plan(config, data, frames) -> None:
    """What is about to happen, and on what device."""
    from data_pipeline.findings import print_findings
    from engine.run import device, warn_of_unseen_gpu
    from engine.training.fit import epochs_of

    split, scale, frame = data.split, data.scale, frames[0]
    epochs, steps = epochs_of(config.steps, config.steps_per_epoch)
    height, width = frame.tile
    void = ", ".join(data.encoding.show(value) for value in data.encoding.void) or "none"
    seen = f"{'crops' if frame.crops else 'whole images'} in frames of {height}×{width}"
    print_findings(data.findings)
    if config.symmetry == "d4" and height != width:
        print("note: frames are not square, so d4 means mirror images and half turns, without quarter turns")
    if (scale.dtype, scale.channels) != ("uint8", 3):
        ranges = ", ".join(f"{low:g}…{high:g}" for low, high in zip(scale.low, scale.high, strict=True))
        print(f"note: {scale.channels} channels of {scale.dtype}, scaled from {ranges} to 0…1")
    print(
        f"plan: {len(data.inspection.facts)} pairs, {data.encoding.num_classes} classes, void {void}; "
        f"{len(split.train)} / {len(split.val)} / {len(split.test)} for training / validation / test"
        f"{' (as the data set has it)' if split.fixed else ''}{by_group(split)}; "
        f"{seen}, augmentation {config.augment}, symmetry {config.symmetry}; "
        f"{epochs * steps:,} steps of {config.batch_size}, validated every {steps}{second_stage(config, frames)}; "
        f"on {device(config.devices)}"
    )
    warn_of_unseen_gpu()


def second_stage(config, frames) -> str:
    if not config.finetune_steps:
        return ""
    height, width = frames[-1].tile
    return f", then {config.finetune_steps:,} on whole images in frames of {height}×{width}"


def by_group(split) -> str:
    groups = {pair.group for pair in split.part("all") if pair.group}
    return f", {len(groups)} groups kept whole" if groups else ""


def thin_out(tiles: list) -> list:
    """At most VALIDATION_TILES of them, always the same: a validation must not take longer than training."""
    if len(tiles) <= VALIDATION_TILES:
        return tiles
    print(f"note: validated on {VALIDATION_TILES} of {len(tiles)} tiles; the scores at the end are on all of them")
    return sorted(random.Random(0).sample(tiles, VALIDATION_TILES))


def create_run(config, data, frame):
    """The run's folder, with all that is known before the first step."""
    from engine.run import Run, config_json, dataset_json, environment, free_path

    path = free_path(config.runs_dir, config.name, f"{config.title}-{config.model}")
    return Run.create(
        path,
        {
            "config.json": config_json(config.replace(name=path.name), frame),
            "dataset.json": dataset_json(config.root, data),
            "split.json": data.split.to_json(config.root),
            "environment.json": environment(config.devices),
        },
    )


def report(run, config) -> None:
    """Last lines: the best weights' score on the validation images, and the next command."""
    from engine.predictor import Predictor
    from engine.scoring.baselines import fit_baselines
    from engine.scoring.scores import judge, score, table, verdict

    predictor = Predictor(run.model(), config.model, run.frame, config.batch_size)
    scored = score({"model": predictor} | fit_baselines(run), run.split.val, run.encoding)
    groups = [pair.group for pair in run.split.val]
    results = judge(scored.pop("model"), scored, groups, run.encoding)
    split = "" if run.split.test else " --split val"
    print(
        f"\nValidation, {len(run.split.val)} images, at the masks' own resolution:\n{table(results)}\n\n"
        f"{verdict(results).text}\n{run.path}/ holds model.keras, history.csv and curves.png. "
        f"Next: python evaluate.py {shlex.quote(str(run.path))}{split}"
    )


if __name__ == "__main__":
    run_command(train, TrainConfig, __doc__, default=recipe_named(sys.argv[1:]))
