"""Training with masks: what the network sees, the network, its batches, its stages and its first score."""

import random
from functools import partial

import keras

from data_pipeline.augment import Policy, preset
from data_pipeline.batches import training_batches, validation_batches, validation_windows
from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet
from data_pipeline.label_bits import mask_bits
from data_pipeline.loader import Loader, read_pair_mask
from data_pipeline.samples import names_of_samples
from data_pipeline.weights import pixel_weights
from engine.config import TrainConfig
from engine.framing import Frame, choose_frames
from engine.predictor import Predictor
from engine.run import Run, dataset_json, workers_of
from engine.scoring.baselines import fit_baselines
from engine.scoring.scores import judge, score
from engine.scoring.task import MASKS
from engine.scoring.verdict import table, verdict
from models import MODELS, build_model

from .fit import Stage, epochs_of
from .frozen import frozen_first, settings_of_stages
from .losses import PixelLoss
from .optimizers import learning_rate, make_optimizer
from .plan import print_plan

__all__ = ["dataset_json", "first_score", "frames", "label_bits", "network", "print_plan", "stages"]

VALIDATION_WINDOWS = 500
PRETRAINED = " or ".join(name for name, spec in MODELS.items() if spec.pretrained)


def frames(config: TrainConfig, dataset: DataSet) -> list[Frame]:
    """Return what the network sees in each stage: images of a size, a tile that it answers for, a margin around it."""
    return choose_frames(config, MODELS[config.model], dataset.sizes)


def training_loader(dataset: DataSet, frame: Frame) -> Loader:
    """Return the training pairs, resized as the frame says."""
    return Loader(dataset.split.train, dataset.encoding, frame.size)


def policy_of(config: TrainConfig, dataset: DataSet, frame: Frame) -> Policy:
    """Return how a stage cuts and varies each pair."""
    return preset(config.augment, config.symmetry, frame.tile, frame.margin, dataset.pixel_range)


def network(config: TrainConfig, dataset: DataSet) -> keras.Model:
    """Build the network that the settings ask for.

    Raises:
        UserError: for settings that this network or these classes do not have.
    """
    spec, num_classes, pixel_range = MODELS[config.model], len(dataset.names), dataset.pixel_range
    if config.one_logit and num_classes != 2:
        raise UserError(f"--one-logit is for two classes; this data set has {num_classes}: leave it out")
    if config.norm is not None and config.norm not in spec.norms:
        choices = ", ".join(spec.norms) or "no other than its own"
        raise UserError(f"--norm {config.norm}: {config.model} takes {choices}")
    if config.frozen_steps and (not spec.pretrained or config.weights in (None, "none")):
        raise UserError(
            f"--frozen-steps {config.frozen_steps}: is for an encoder with weights, of {PRETRAINED}; leave it out"
        )
    if config.weights is not None and not spec.pretrained:
        raise UserError(
            f"--weights {config.weights}: {config.model} is trained from scratch; they are for {PRETRAINED}"
        )
    options = dict(spec.norms[config.norm]) if config.norm else {}
    if spec.pretrained:
        options["weights"] = config.weights
    try:
        return build_model(
            config.model,
            1 if config.one_logit else num_classes,
            (None, None, pixel_range.channels),
            scale=pixel_range.factor,
            offset=pixel_range.offset,
            **options,
        )
    except ValueError as error:  # a file of weights that does not fit, images of other channels
        raise UserError(f"{config.model}: {error}") from None


def stages(config: TrainConfig, dataset: DataSet, model: keras.Model, frames: list[Frame]) -> list[Stage]:
    """One stage; two for a pretrained encoder with --frozen-steps; and one on whole images with --finetune-steps."""
    count = len(dataset.split.train)
    class_weights = dataset.inspection.class_weights(dataset.split.train, config.class_weights)
    weigh = partial(pixel_weights, class_weights=class_weights, border=config.border_weights)
    validation = held_out(config, dataset, frames[-1], weigh)
    loader = training_loader(dataset, frames[0])  # one cache: frames have one size, and tiles of their own

    def stage(frame, epochs, steps_per_epoch, rate) -> Stage:
        policy = policy_of(config, dataset, frame)
        drawing = {
            "seed": config.seed,
            "batch_size": config.batch_size,
            "workers": workers_of(config.workers),
        }
        return Stage(
            epochs,
            steps_per_epoch,
            batches=lambda first: training_batches(loader, policy, weigh, **drawing, start=first),
            names_of=partial(names_of_samples, loader, config.seed),
            optimizer=partial(make_optimizer, config, rate),
            loss=PixelLoss(config.loss),
            validation=validation,
        )

    planned = []
    for settings in settings_of_stages(config):
        epochs, steps_per_epoch = epochs_of(settings.steps, config.steps_per_epoch)
        rate = learning_rate(settings, epochs * steps_per_epoch, steps_per_pass=-(-count // config.batch_size))
        planned.append(stage(frames[0], epochs, steps_per_epoch, rate))
    if config.finetune_steps:
        epochs, steps_per_epoch = epochs_of(config.finetune_steps, config.steps_per_epoch)
        planned.append(stage(frames[-1], epochs, steps_per_epoch, config.finetune_rate))
    return frozen_first(planned, model, count, config) if config.frozen_steps else planned


def held_out(config: TrainConfig, dataset: DataSet, frame: Frame, weigh):
    """The validation images in windows of the frame, the same on every pass."""
    loader = Loader(dataset.split.val, dataset.encoding, frame.size)
    windows = thin_out(validation_windows(loader, frame.tile))
    return validation_batches(loader, windows, frame.tile, weigh, margin=frame.margin, batch_size=config.batch_size)


def thin_out(windows: list) -> list:
    """At most VALIDATION_WINDOWS of them, always the same: a validation must not take longer than training."""
    if len(windows) <= VALIDATION_WINDOWS:
        return windows
    print(f"note: validated on {VALIDATION_WINDOWS} of {len(windows)} windows; the scores at the end are on all")
    return sorted(random.Random(0).sample(windows, VALIDATION_WINDOWS))


def label_bits(dataset: DataSet) -> dict[str, float]:
    """Bits of a training mask, at its own resolution: coded without loss, the mean over the training masks."""
    pairs = dataset.split.train
    return {"mask": mask_bits(read_pair_mask(pair, dataset.encoding) for pair in pairs) / len(pairs)}


def first_score(run: Run, config: TrainConfig) -> str:
    """The best weights' score on the validation images, in words."""
    predictor = Predictor(run.model(), config.model, run.frame, config.batch_size)
    scored = score({"model": predictor} | fit_baselines(run), run.split.val, run.encoding)
    groups = [pair.group for pair in run.split.val]
    results = judge(scored.pop("model"), {"baselines": scored}, groups, run.encoding.names, MASKS)
    return (
        f"Validation, {len(run.split.val)} images, at the masks' own resolution:\n{table(results)}\n\n"
        f"{verdict(results).text}"
    )
