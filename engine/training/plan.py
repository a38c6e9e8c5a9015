"""The plan of a training with masks, in words, before the first step."""

import math

from data_pipeline.dataset import DataSet
from data_pipeline.findings import print_findings
from data_pipeline.notices import warn_of_unseen_gpu
from data_pipeline.split import Split
from engine.config import TrainConfig
from engine.framing import Frame
from engine.run import device
from models import MODELS

from .fit import epochs_of
from .frozen import settings_of_stages


def print_plan(config: TrainConfig, dataset: DataSet, frames: list[Frame]) -> None:
    """Say what is about to happen, and on what device."""
    split, pixel_range, frame = dataset.split, dataset.pixel_range, frames[0]
    each = [epochs_of(settings.steps, config.steps_per_epoch) for settings in settings_of_stages(config)]
    height, width = frame.tile
    void = ", ".join(dataset.encoding.show(value) for value in dataset.encoding.void) or "none"
    seen = f"{'crops' if frame.crops else 'whole images'} in frames of {height}×{width}"
    print_findings(dataset.findings)
    if config.symmetry == "d4" and height != width:
        print("note: frames are not square, so d4 means mirror images and half turns, without quarter turns")
    if MODELS[config.model].pretrained and pixel_range.channels != 3:
        print(f"note: {in_rgb(pixel_range.channels)}")
    if (pixel_range.dtype, pixel_range.channels) != ("uint8", 3):
        ranges = ", ".join(f"{low:g}…{high:g}" for low, high in zip(pixel_range.low, pixel_range.high, strict=True))
        print(f"note: {pixel_range.channels} channels of {pixel_range.dtype}, scaled from {ranges} to 0…1")
    print(
        f"plan: {len(dataset.inspection.facts)} pairs, {dataset.encoding.num_classes} classes, void {void}; "
        f"{len(split.train)} / {len(split.val)} / {len(split.test)} for training / validation / test"
        f"{' (as the data set has it)' if split.fixed else ''}{kept_by_group(split)}; "
        f"{seen}, augmentation {config.augment}, symmetry {config.symmetry}; "
        f"{sum(map(math.prod, each)):,} steps of {config.batch_size}{of_decoder(config, each)}, validated every "
        f"{each[0][1]}{second_stage(config, frames)}; "
        f"on {device(config.devices)}"
    )
    warn_of_unseen_gpu()


def in_rgb(channels: int) -> str:
    """Say what a pretrained encoder, which takes three channels, gets of others (models/pretrained.py, ``to_rgb``)."""
    if channels < 3:
        return f"the encoder takes 3 channels: of these {channels} the last is given more than once"
    return (
        f"the encoder takes 3 channels: it begins with the first three of these {channels} as red, green and blue; "
        "the others count as far as fine-tuning the encoder learns to mix them in"
    )


def of_decoder(config: TrainConfig, each: list[tuple[int, int]]) -> str:
    return f" (the encoder is frozen in the first {math.prod(each[0]):,})" if config.frozen_steps else ""


def second_stage(config: TrainConfig, frames: list[Frame]) -> str:
    if not config.finetune_steps:
        return ""
    height, width = frames[-1].tile
    return f", then {config.finetune_steps:,} on whole images in frames of {height}×{width}"


def kept_by_group(split: Split) -> str:
    groups = {pair.group for pair in split.part("all") if pair.group}
    return f", {len(groups)} groups kept whole" if groups else ""
