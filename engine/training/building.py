"""From a run's settings to a network, on one device or several, and to the stages of its training."""

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
from data_pipeline.dataset import (
    Weigh,
    feature_batches,
    held_out_photos,
    photo_batches,
    place_of,
    training_batches,
)
from data_pipeline.files import refuse_special
from data_pipeline.loader import Loader, PhotoLoader
from data_pipeline.scale import Scale
from engine.config import ClassifierConfig, TrainConfig
from engine.framing import Frame
from models import MODELS, build_classifier, build_model, train_from

from .fit import Stage, epochs_of
from .optimizers import learning_rate, make_optimizer


def strategy_for(config: TrainConfig) -> tf.distribute.Strategy:
    """Where the network lives: on the one device, or copied to every GPU, each taking a part of the batch.

    Raises:
        UserError: for a batch that cannot be shared out evenly.
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if config.devices == "one" or len(devices) == 1:
        return tf.distribute.get_strategy()
    if config.batch_size % len(devices):
        fitting = -(-config.batch_size // len(devices)) * len(devices)
        raise UserError(
            f"--batch-size {config.batch_size} cannot be shared out over {len(devices)} devices; use {fitting}"
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def make_model(config: TrainConfig, num_classes: int, scale: Scale):
    """The network that the settings ask for.

    Raises:
        UserError: for settings that this network or these classes do not have.
    """
    spec = MODELS[config.model]
    if config.one_logit and num_classes != 2:
        raise UserError(f"--one-logit is for two classes; this data set has {num_classes}: leave it out")
    if config.norm is not None and config.norm not in spec.norms:
        choices = ", ".join(spec.norms) or "no other than its own"
        raise UserError(f"--norm {config.norm}: {config.model} takes {choices}")
    if config.weights is not None and not spec.pretrained:
        pretrained = " or ".join(name for name, spec in MODELS.items() if spec.pretrained)
        raise UserError(
            f"--weights {config.weights}: {config.model} is trained from scratch; they are for {pretrained}"
        )
    options = dict(spec.norms[config.norm]) if config.norm else {}
    if spec.pretrained:
        options["weights"] = config.weights or "imagenet"
        refuse_special_weights(options["weights"])
    try:
        return build_model(
            config.model,
            1 if config.one_logit else num_classes,
            (None, None, scale.channels),
            scale=scale.factor,
            offset=scale.offset,
            **options,
        )
    except ValueError as error:  # a file of weights that does not fit, images of other channels
        raise UserError(f"{config.model}: {error}") from None


def make_stages(
    config: TrainConfig, loader: Loader, validation, frames: list[Frame], weigh: Weigh, scale: Scale
) -> list[Stage]:
    """Training, and if it is wanted fine-tuning on whole images at a small constant rate.

    Args:
        config: steps, learning rate, augmentation, seed, batch size.
        loader: the training pairs.
        validation: finite batches.
        frames: what the network sees in the first stage, and in the second.
        weigh: a mask's weights.
        scale: what is black and white.
    """
    count = len(loader.pairs)

    def stage(frame, epochs, steps_per_epoch, rate) -> Stage:
        policy = preset(config.augment, config.symmetry, frame.tile, frame.margin, scale)
        settings = {"seed": config.seed, "batch_size": config.batch_size}
        return Stage(
            epochs,
            steps_per_epoch,
            batches=lambda first: training_batches(loader, policy, weigh, **settings, start=first),
            samples=partial(names_of_samples, loader, config.seed),
            optimizer=partial(make_optimizer, config, rate),
            validation=validation,
        )

    epochs, steps_per_epoch = epochs_of(config.steps, config.steps_per_epoch)
    rate = learning_rate(config, epochs * steps_per_epoch, steps_per_pass=-(-count // config.batch_size))
    stages = [stage(frames[0], epochs, steps_per_epoch, rate)]
    if config.finetune_steps:
        more = epochs_of(config.finetune_steps, config.steps_per_epoch)
        stages.append(stage(frames[-1], *more, config.finetune_rate))
    return stages


def names_of_samples(loader: Loader, seed: int, first: int, many: int) -> list[str]:
    """The images of some samples of the training, by the first one's number."""
    count = len(loader.pairs)
    return [loader.pairs[place_of(number, seed, count)[1]].image.name for number in range(first, first + many)]


def refuse_special_weights(weights: str | None) -> None:
    """Raise UserError where the file of an encoder's weights is none, such as a named pipe."""
    if weights not in (None, "none", "imagenet"):
        refuse_special(Path(weights))


def make_classifier(config: ClassifierConfig, num_classes: int, scale: Scale):
    """The classifier that the settings ask for.

    Raises:
        UserError: for weights that cannot be had or do not fit, and for images that it does not take.
    """
    weights = None if config.strategy == "scratch" else config.weights or "imagenet"
    refuse_special_weights(weights)
    try:
        classifier = build_classifier(
            config.backbone,
            num_classes,
            (*parse_size(config.size), scale.channels),
            weights=weights,
            scale=scale.factor,
            offset=scale.offset,
        )
        if config.strategy == "finetune":
            train_from(classifier, config.unfreeze)
    except ValueError as error:
        raise UserError(str(error)) from None
    return classifier


def classifier_stages(
    config: ClassifierConfig, model, loader: PhotoLoader, held_out: PhotoLoader, scale: Scale
) -> list[Stage]:
    """All at once from scratch; else the head alone, and for fine-tuning the encoder too, at a low rate; by Adam.

    Args:
        config: strategy, steps, learning rates, augmentation, seed, batch size.
        model: the classifier, whose encoder's features are kept for a cached head.
        loader, held_out: the training photos and those for validation.
        scale: what is black and white.
    """
    policy = preset(config.augment, config.symmetry, parse_size(config.size), scale=scale)
    if config.tile:
        policy = replace(policy, shift=0.0, elastic=0.0)  # a tile's centre, which names it, stays where it is
    settings = {"seed": config.seed, "batch_size": config.batch_size}

    def stage(steps: int, rate: float, block: str | None) -> Stage:
        epochs, steps_per_epoch = epochs_of(steps, config.steps_per_epoch)
        return Stage(
            epochs,
            steps_per_epoch,
            batches=lambda first: photo_batches(loader, policy, **settings, start=first),
            samples=partial(names_of_samples, loader, config.seed),
            optimizer=partial(make_optimizer, TrainConfig(), CosineDecay(rate, epochs * steps_per_epoch)),
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
    """What is compiled: the network itself, of which the weights from a block on train."""
    if block is not None:
        train_from(network, block)
    return keras.Model(network.inputs, network.outputs)


def cached(stage: Stage, model, loader: PhotoLoader, held_out: PhotoLoader, settings: dict) -> Stage:
    """The same stage on what the frozen encoder says of each image once, so without augmentation."""
    known = {id(one): features_of(model, one, settings["batch_size"]) for one in (loader, held_out)}
    labels = {id(one): np.array([photo.label for photo in one.pairs], np.int32) for one in (loader, held_out)}

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
