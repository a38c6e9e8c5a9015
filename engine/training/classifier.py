"""Training with labels of whole images: what the network sees, the classifier, its batches and stages."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay
from tqdm import tqdm

from data_pipeline.augment import preset
from data_pipeline.command import UserError, parse_size
from data_pipeline.dataset import DataSet
from data_pipeline.findings import print_findings, some
from data_pipeline.label_bits import class_bits
from data_pipeline.loader import PhotoLoader
from data_pipeline.notices import warn_of_unseen_gpu
from data_pipeline.photo_batches import feature_batches, held_out_photos, photo_batches
from data_pipeline.samples import names_of_samples
from data_pipeline.split import Split
from engine.config import ClassifierConfig, TrainConfig
from engine.framing import Frame
from engine.run import Run, device, workers_of
from engine.run import photos_json as dataset_json
from engine.scoring.classifier_scores import evaluate_photos, results_of, table
from engine.scoring.verdict import verdict
from models import build_classifier, train_from

from .fit import Stage, epochs_of
from .optimizers import make_optimizer

__all__ = ["dataset_json", "first_score", "frames", "label_bits", "network", "print_plan", "stages"]


def frames(config: ClassifierConfig, dataset: DataSet) -> list[Frame]:
    """Return what the network sees: whole images, resized."""
    size = parse_size(config.size)
    return [Frame(size, size, 0, crops=False)]


def network(config: ClassifierConfig, dataset: DataSet) -> keras.Model:
    """Build the classifier that the settings ask for.

    Raises:
        UserError: for weights that cannot be had or do not fit, and for images that it does not take.
    """
    pixel_range = dataset.pixel_range
    weights = None if config.strategy == "scratch" else config.weights
    try:
        classifier = build_classifier(
            config.backbone,
            len(dataset.names),
            (*parse_size(config.size), pixel_range.channels),
            weights=weights,
            scale=pixel_range.factor,
            offset=pixel_range.offset,
        )
        if config.strategy == "finetune":
            train_from(classifier, config.unfreeze)
    except ValueError as error:
        raise UserError(str(error)) from None
    return classifier


def stages(config: ClassifierConfig, dataset: DataSet, model: keras.Model, frames: list[Frame]) -> list[Stage]:
    """All at once from scratch; else the head alone, and for fine-tuning the encoder too, at a low rate; by Adam."""
    if config.strategy != "scratch":
        print(f"weights: all {len(model.get_layer('encoder').weights)} tensors of the encoder from {config.weights}")
    size, split = frames[0].size, dataset.split
    loader, held_out = (PhotoLoader(part, None, size, tile=config.tile) for part in (split.train, split.val))
    policy = preset(config.augment, config.symmetry, size, pixel_range=dataset.pixel_range)
    if config.tile:
        policy = replace(policy, shift=0.0, elastic=0.0)  # a tile's centre, which names it, stays where it is
    settings, workers = {"seed": config.seed, "batch_size": config.batch_size}, workers_of(config.workers)

    def stage(steps: int, rate: float, block: str | None) -> Stage:
        epochs, steps_per_epoch = epochs_of(steps, config.steps_per_epoch)
        return Stage(
            epochs,
            steps_per_epoch,
            batches=lambda first: photo_batches(loader, policy, **settings, start=first, workers=workers),
            names_of=partial(names_of_samples, loader, config.seed),
            optimizer=partial(make_optimizer, TrainConfig(), CosineDecay(rate, epochs * steps_per_epoch)),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            validation=held_out_photos(held_out, config.batch_size),
            trained=partial(from_block, block),
        )

    if config.strategy == "scratch":
        return [stage(config.steps, config.learning_rate, None)]
    head = stage(config.head_steps, config.learning_rate, "head")
    if config.cache_features:
        head = cached(head, model, loader, held_out, settings)
    if config.strategy == "frozen":
        return [head]
    return [head, stage(config.steps - config.head_steps, config.finetune_rate, config.unfreeze)]


def from_block(block: str | None, network) -> keras.Model:
    """Return what is compiled: the network itself, whose weights from a block on are trained."""
    if block is not None:
        train_from(network, block)
    return keras.Model(network.inputs, network.outputs)


def cached(stage: Stage, model, loader: PhotoLoader, held_out: PhotoLoader, settings: dict) -> Stage:
    """The same stage on features that the frozen encoder computes once for each image, so without augmentation."""
    known = {id(photos): features_of(model, photos, settings["batch_size"]) for photos in (loader, held_out)}
    labels = {id(photos): np.array([photo.label for photo in photos.pairs], np.int32) for photos in (loader, held_out)}

    def batches(first: int) -> tf.data.Dataset:
        return feature_batches(known[id(loader)], labels[id(loader)], **settings, start=first)

    def head(network) -> keras.Model:
        train_from(network, "head")
        return keras.Model(network.get_layer("pool").output, network.outputs)

    held = tf.data.Dataset.from_tensor_slices((known[id(held_out)], labels[id(held_out)]))
    return replace(stage, batches=batches, validation=held.batch(settings["batch_size"]), trained=head)


def features_of(model, loader: PhotoLoader, batch_size: int) -> np.ndarray:
    """The pooled maps of every photo, float32 (N, C), in inference mode."""
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    batches = held_out_photos(loader, batch_size)
    shown = tqdm(batches, "features", unit="batch", leave=False, disable=None)
    return np.concatenate([pooled(images, training=False).numpy() for images, _ in shown])


def print_plan(config: ClassifierConfig, dataset: DataSet, frames: list[Frame]) -> None:
    """Say what is about to happen, and on what device."""
    print_findings(dataset.findings)
    split = dataset.split
    held = Counter(photo.label for photo in split.train)
    counts = some([f"{name} {held[label]}" for label, name in enumerate(dataset.names)], most=12)
    seen = "tiles" if config.tile else "images"
    rule = f"; labels from masks: {config.label_from_masks}" if config.label_from_masks else ""
    print(
        f"plan: {len(split.part('all'))} {seen}, {len(dataset.names)} classes{rule}; "
        f"{len(split.train)} / {len(split.val)} / {len(split.test)} for training / validation / test"
        f"{' (as the data set has it)' if split.fixed else ''}; training: {counts}; "
        f"{steps_in_words(config)} of {config.batch_size} images of {config.size.replace('x', '×')}, validated every "
        f"{config.steps_per_epoch}; augmentation {config.augment}, symmetry {config.symmetry}; on {device()}"
    )
    if config.cache_features:
        print("note: --cache-features: the last layer is trained on features of the images as they are, unaugmented")
    if lacking := [name for label, name in enumerate(dataset.names) if not held[label]]:
        print(f"warning: none of the images to train on is of {', '.join(lacking)}")
    if config.weights and (seen := seen_by_weights(config, split)):
        print(
            f"WARNING: {config.weights} was trained on {some(seen)}, which are held out here, so the scores are too "
            "optimistic; train it and this with one --split-seed"
        )
    warn_of_unseen_gpu()


def seen_by_weights(config: ClassifierConfig, split: Split) -> list[str]:
    """The images held out here that a file of weights, where it stands in a run's folder, was trained on."""
    run = Run(Path(config.weights).parent)
    if not (run.path / "config.json").is_file() or not (run.path / "split.json").is_file():
        return []
    trained = {photo.image.resolve() for photo in run.split.train}
    return sorted({photo.image.name for photo in split.val + split.test if photo.image.resolve() in trained})


def steps_in_words(config: ClassifierConfig) -> str:
    if config.strategy == "scratch":
        return f"from scratch, {config.steps:,} steps"
    head = f"{config.head_steps:,} steps of the last layer"
    if config.strategy == "frozen":
        return f"{head}, the encoder frozen,"
    part = "the encoder" if config.unfreeze == "all" else f"the encoder from {config.unfreeze} on"
    return f"{head}, then {config.steps - config.head_steps:,} of {part} too,"


def label_bits(dataset: DataSet) -> dict[str, float]:
    """Bits of a training label: log2 of the number of classes, and the entropy of their frequencies."""
    return class_bits(np.array([photo.label for photo in dataset.split.train]), len(dataset.names))


def first_score(run: Run, config: ClassifierConfig) -> str:
    """The best weights' score on the validation images, in words."""
    results = results_of(evaluate_photos(run, run.split.val), {})
    return f"Validation, {len(run.split.val)} images:\n{table(results)}\n\n{verdict(results).text}"
