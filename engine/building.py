"""From a run's settings to a network, on one device or several, and to the stages of its training."""

import tensorflow as tf

from data_pipeline.augment import preset
from data_pipeline.command import UserError
from data_pipeline.dataset import Weigh, place_of, training_batches
from data_pipeline.loader import Loader
from data_pipeline.scale import Scale
from models import MODELS, build_model

from .config import TrainConfig
from .fit import Stage, epochs_of
from .framing import Frame
from .optimizers import learning_rate


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


def make_stages(config: TrainConfig, loader: Loader, frames: list[Frame], weigh: Weigh, scale: Scale) -> list[Stage]:
    """Training, and if it is wanted fine-tuning on whole images at a small constant rate.

    Args:
        config: steps, learning rate, augmentation, seed, batch size.
        loader: the training pairs.
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
            samples=lambda first, many: [
                loader.pairs[place_of(number, config.seed, count)[1]].image.name
                for number in range(first, first + many)
            ],
            rate=rate,
        )

    epochs, steps_per_epoch = epochs_of(config.steps, config.steps_per_epoch)
    rate = learning_rate(config, epochs * steps_per_epoch, steps_per_pass=-(-count // config.batch_size))
    stages = [stage(frames[0], epochs, steps_per_epoch, rate)]
    if config.finetune_steps:
        more = epochs_of(config.finetune_steps, config.steps_per_epoch)
        stages.append(stage(frames[-1], *more, config.finetune_rate))
    return stages
