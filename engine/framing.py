"""Framing: images meet a network that takes only some sizes by being resized, cropped or padded."""

from dataclasses import asdict, dataclass

from data_pipeline.command import UserError, parse_size
from data_pipeline.loader import choose_frame
from models import Spec

from .config import TrainConfig


@dataclass(frozen=True)
class Frame:
    """The frame in which the network sees an image in training, in pixels.

    size: whole images are resized to this (H, W) first; None: native resolution.
    tile: (H, W) of the network's output; the image beyond its border is mirrored, the mask void.
    margin: what the network's input has beyond its output on each side.
    crops: images are cut to tiles, not seen whole.
    """

    size: tuple[int, int] | None
    tile: tuple[int, int]
    margin: int
    crops: bool

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict) -> "Frame":
        size = tuple(stored["size"]) if stored["size"] else None
        return cls(size, tuple(stored["tile"]), stored["margin"], stored["crops"])


def choose_frames(config: TrainConfig, spec: Spec, sizes: set[tuple[int, int]]) -> list[Frame]:
    """The frame of each stage of training; the last one's is that of validation and prediction.

    The first is what --size and --crop ask for; without --crop, whole images where they are small and alike.
    A second stage sees whole images (the smaller ones mirrored out to the largest).

    Raises:
        UserError: for a --size or --crop below what the network takes.
    """
    size = parse_size(config.size)
    wanted, crops = choose_frame(sizes, size, config.crop)
    smallest = spec.min_size - 2 * spec.margin
    if (size or config.crop) and min(wanted) < smallest:
        raise UserError(f"{wanted[0]}×{wanted[1]} pixels are too small for {config.model}: at least {smallest}")
    frames = [Frame(size, spec.output_size(*wanted), spec.margin, crops)]
    if config.finetune_steps:
        whole = size or tuple(map(max, zip(*sizes, strict=True)))
        frames.append(Frame(size, spec.output_size(*whole), spec.margin, crops=False))
    return frames
