#!/usr/bin/env python
"""Train a segmentation network on a folder of images and masks: configuration → runs/NAME/."""

import random
import shlex
import sys
from pathlib import Path

from data_pipeline.command import run_command
from engine.config import TrainConfig

GOLFSCAPE = Path("data/golfscape")
VALIDATION_TILES = 500


def train(config: TrainConfig) -> None:
    """From files to a run: pairs, split, batches, network, training, first scores."""
    # Imported here, so that --help answers at once, and a fault of the data is told before TensorFlow is loaded.
    from data_pipeline.findings import refuse_errors
    from data_pipeline.inspection import findings_on_split, inspect
    from data_pipeline.pairs import find_pairs
    from data_pipeline.scale import measure_scale
    from data_pipeline.split import make_split

    config = settle(config.checked())
    pairs, findings = find_pairs(config.data, config.mask_suffix, config.group_by)
    data = inspect(config.data, pairs, () if config.void is None else (config.void,))
    refuse_errors(findings + data.findings)
    split = make_split(data.pairs(), data.presence(), config.split_seed, config.train_count, config.folds, config.fold)
    findings += data.findings + findings_on_split(data, split)
    refuse_errors(findings)
    scale = measure_scale(split.train, data.encoding)

    import keras
    import tensorflow as tf

    from data_pipeline.augment import preset
    from data_pipeline.dataset import training_batches, validation_batches, validation_tiles
    from data_pipeline.loader import Loader
    from engine.fit import fit
    from engine.framing import choose_frame
    from models import MODELS, build_model

    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    frame = choose_frame(config, MODELS[config.model], data.sizes())
    class_weights = data.class_weights(split.train, config.class_weights)
    print_plan(config, data, split, frame, scale, findings)
    run = create_run(config, data, split, frame, scale)

    training = training_batches(
        Loader(split.train, data.encoding, frame.size),
        preset(config.augment, config.symmetry, frame.tile, frame.margin, scale),
        seed=config.seed,
        batch_size=config.batch_size,
        class_weights=class_weights,
    )
    held_out = Loader(split.val, data.encoding, frame.size)
    validation = validation_batches(
        held_out,
        thin_out(validation_tiles(held_out, frame.tile)),
        frame.tile,
        margin=frame.margin,
        batch_size=config.batch_size,
        class_weights=class_weights,
    )
    model = build_model(
        config.model,
        data.encoding.num_classes,
        (None, None, scale.channels),
        scale=scale.factor,
        offset=scale.offset,
    )
    print(f"{config.model} with {model.count_params():,} parameters; the run is {run.path}", flush=True)
    try:
        fit(model, training, validation, config, data.encoding, run)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"The best weights so far, if any, are {run.model_path}.") from None
    report(run, config)


def settle(config: TrainConfig) -> TrainConfig:
    """The configuration with its automatic values decided, and golfscape drawn if it is wanted."""
    if config.data:
        symmetry = "horizontal" if config.symmetry == "auto" else config.symmetry
        return config.replace(data=config.data.resolve(), symmetry=symmetry)

    from data_pipeline.golfscape import write_scenes

    if not GOLFSCAPE.exists():
        write_scenes(GOLFSCAPE)
    symmetry = "d4" if config.symmetry == "auto" else config.symmetry
    return config.replace(data=GOLFSCAPE.resolve(), symmetry=symmetry)


def print_plan(config, data, split, frame, scale, findings) -> None:
    """What is about to happen, and on what device."""
    from data_pipeline.findings import print_findings
    from engine.fit import epochs_of
    from engine.run import device, unseen_gpu

    epochs, steps = epochs_of(config)
    height, width = frame.tile
    void = ", ".join(data.encoding.show(value) for value in data.encoding.void) or "none"
    seen = f"{'crops' if frame.crops else 'whole images'} in frames of {height}×{width}"
    print_findings(findings)
    if config.symmetry == "d4" and height != width:
        print("note: frames are not square, so d4 means mirror images and half turns, without quarter turns")
    if (scale.dtype, scale.channels) != ("uint8", 3):
        ranges = ", ".join(f"{low:g}…{high:g}" for low, high in zip(scale.low, scale.high, strict=True))
        print(f"note: {scale.channels} channels of {scale.dtype}, scaled from {ranges} to 0…1")
    print(
        f"plan: {len(data.facts)} pairs, {data.encoding.num_classes} classes, void {void}; "
        f"{len(split.train)} / {len(split.val)} / {len(split.test)} for training / validation / test"
        f"{' (as the data set has it)' if split.fixed else ''}{by_group(split)}; "
        f"{seen}, augmentation {config.augment}, symmetry {config.symmetry}; "
        f"{epochs * steps:,} steps of {config.batch_size}, validated every {steps}; on {device()}"
    )
    if unseen_gpu():
        print(
            "WARNING: this machine has an NVIDIA driver, but TensorFlow sees no GPU: training will be slow. "
            "Install requirements-gpu.txt, and look at nvidia-smi.",
            file=sys.stderr,
        )


def by_group(split) -> str:
    groups = {pair.group for pair in split.part("all") if pair.group}
    return f", {len(groups)} groups kept whole" if groups else ""


def thin_out(tiles: list) -> list:
    """At most VALIDATION_TILES of them, always the same: a validation must not take longer than training."""
    if len(tiles) <= VALIDATION_TILES:
        return tiles
    print(f"note: validated on {VALIDATION_TILES} of {len(tiles)} tiles; the scores at the end are on all of them")
    return sorted(random.Random(0).sample(tiles, VALIDATION_TILES))


def create_run(config, data, split, frame, scale):
    """The run's folder, with all that is known before the first step."""
    from data_pipeline.files import write_json
    from engine.run import Run, config_json, dataset_json, write_environment

    is_folder = config.data.is_dir()
    run = Run.create(
        config.runs_dir, config.name, f"{config.data.name if is_folder else config.data.stem}-{config.model}"
    )
    root = config.data if is_folder else config.data.parent
    write_json(run.path / "config.json", config_json(config.replace(name=run.path.name), frame))
    write_json(run.path / "dataset.json", dataset_json(root, data, split, scale))
    write_json(run.path / "split.json", split.to_json(root))
    write_environment(run)
    return run


def report(run, config) -> None:
    """Last lines: the best weights' score on the validation images, and the next command."""
    from engine.baselines import fit_baselines
    from engine.predictor import Predictor
    from engine.scores import judge, score, table, verdict

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
    run_command(train, TrainConfig, __doc__)
