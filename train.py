#!/usr/bin/env python
"""Train a segmentation network on a folder of images and masks: configuration → runs/NAME/."""

import sys
from pathlib import Path

from data_pipeline.command import run_command
from engine.config import TrainConfig

GOLFSCAPE = Path("data/golfscape")
VALIDATION_TILES = 500


def train(config: TrainConfig) -> None:
    """From files to a run: pairs, split, batches, network, training, first scores."""
    # Imported here and below, so that --help answers before TensorFlow is loaded.
    import keras
    import tensorflow as tf

    from data_pipeline.augment import preset
    from data_pipeline.check import inspect
    from data_pipeline.dataset import Loader, training_batches, validation_batches, validation_tiles
    from data_pipeline.pairs import find_pairs
    from data_pipeline.split import make_split
    from engine.fit import fit
    from engine.framing import choose_frame
    from models import MODELS, build_model

    config = settle(config.checked())
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()

    pairs, notes = find_pairs(config.data, config.mask_suffix)
    data = inspect(config.data, pairs, () if config.void is None else (config.void,))
    split = make_split(pairs, data.presence(), config.seed, config.train_count)
    frame = choose_frame(config, MODELS[config.model], data.sizes())
    class_weights = data.class_weights(split.train, config.class_weights)
    print_plan(config, data, split, frame, notes + data.notes)
    run = create_run(config, data, split, frame)

    training = training_batches(
        Loader(split.train, data.encoding, frame.size),
        preset(config.augment, config.symmetry, crop=frame.tile, margin=frame.margin),
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
    model = build_model(config.model, data.encoding.num_classes)
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
        return config.replace(symmetry=symmetry)

    from data_pipeline.golfscape import write_scenes

    if not GOLFSCAPE.exists():
        write_scenes(GOLFSCAPE)
    return config.replace(data=GOLFSCAPE, symmetry="d4" if config.symmetry == "auto" else config.symmetry)


def print_plan(config, data, split, frame, notes) -> None:
    """What is about to happen, and on what device."""
    from engine.fit import epochs_of
    from engine.run import device, unseen_gpu

    epochs, steps = epochs_of(config)
    height, width = frame.tile
    void = ", ".join(str(value) for value in data.encoding.void) or "none"
    seen = f"whole images at {height}×{width}" if not frame.crops else f"crops of {height}×{width}"
    pixels = data.class_pixels(split.train)
    unseen = [name for name, count in zip(data.encoding.names, pixels, strict=True) if not count]
    if unseen:
        notes = [*notes, f"no training image holds {', '.join(unseen)}"]
    for note in notes:
        print(f"note: {note}")
    print(
        f"plan: {len(data.facts)} pairs, {data.encoding.num_classes} classes, void {void}; "
        f"{len(split.train)} / {len(split.val)} / {len(split.test)} for training / validation / test"
        f"{' (as the data set has it)' if split.fixed else ''}; {seen}, augmentation {config.augment}, "
        f"symmetry {config.symmetry}; {epochs * steps:,} steps of {config.batch_size}, "
        f"validated every {steps}; on {device()}"
    )
    if unseen_gpu():
        print(
            "WARNING: this machine has an NVIDIA driver, but TensorFlow sees no GPU: training will be slow. "
            "Install requirements-gpu.txt, and look at nvidia-smi.",
            file=sys.stderr,
        )


def thin_out(tiles: list) -> list:
    """At most about VALIDATION_TILES of them, evenly spread: a validation must not take longer than training."""
    step = -(-len(tiles) // VALIDATION_TILES)
    if step > 1:
        print(f"note: validated on every {step}th of {len(tiles)} tiles; the scores at the end are on all of them")
    return tiles[::step]


def create_run(config, data, split, frame):
    """The run's folder, with all that is known before the first step."""
    from data_pipeline.files import write_json
    from engine.run import Run, config_json, dataset_json, write_environment

    run = Run.create(config.runs_dir, config.name, f"{config.data.stem}-{config.model}")
    root = config.data if config.data.is_dir() else config.data.parent
    write_json(run.path / "config.json", config_json(config.replace(name=run.path.name), frame))
    write_json(run.path / "dataset.json", dataset_json(root.resolve(), data, split))
    write_json(run.path / "split.json", split.to_json(root))
    write_environment(run)
    return run


def report(run, config) -> None:
    """Last lines: the best weights' score on the validation images, and the next command."""
    from engine.baselines import fit_baselines
    from engine.predictor import Predictor
    from engine.scores import score, summary, table, verdict

    predictor = Predictor(run.model(), config.model, run.frame, config.batch_size)
    baselines = fit_baselines(run.split.train, run.encoding, run.frame.size, config.seed)
    scored = score({"model": predictor} | baselines, run.split.val, run.encoding)
    results = summary(scored.pop("model"), run.encoding)
    results["baselines"] = {name: summary(one, run.encoding) for name, one in scored.items()}
    split = "" if run.split.test else " --split val"
    print(
        f"\nValidation, {len(run.split.val)} images, at the masks' own resolution:\n{table(results)}\n\n"
        f"{verdict(results)}\n{run.path}/ holds model.keras, history.csv and curves.png. "
        f"Next: python evaluate.py {run.path}{split}"
    )


if __name__ == "__main__":
    run_command(train, TrainConfig, __doc__)
