"""The range of raw pixels that becomes a network's input: one for each channel, decided once, stored with the run."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .command import UserError
from .encoding import VOID, Encoding
from .files import read_image
from .loader import read_pair
from .pairs import Pair

PERCENTILES = (1, 99)
MOST_SAMPLES = 1 << 22  # over all images
SAMPLES = 4096  # pixels of each training image that the percentiles are taken over


@dataclass(frozen=True)
class PixelRange:
    """The type of the images, and the value of each channel that becomes 0 (``low``) and 1 (``high``)."""

    dtype: str  # "uint8", "uint16", "float32"
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def channels(self) -> int:
        return len(self.low)

    @property
    def factor(self) -> list[float]:
        return [1 / (high - low) for low, high in zip(self.low, self.high, strict=True)]

    @property
    def offset(self) -> list[float]:
        return [-low / (high - low) for low, high in zip(self.low, self.high, strict=True)]

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict) -> "PixelRange":
        return cls(stored["dtype"], tuple(stored["low"]), tuple(stored["high"]))

    def read(self, path: Path) -> np.ndarray:
        """An image of this type and number of channels.

        Raises:
            UserError: for an image of another kind.
        """
        image = read_image(path)
        self.refuse_other(path, image.dtype.name, image.shape[2])
        return image

    def refuse_other(self, path: Path, dtype: str, channels: int) -> None:
        """Raise a UserError for an image that is not of this type and number of channels."""
        if (dtype, channels) != (self.dtype, self.channels):
            raise UserError(
                f"{path}: {channels} channels of {dtype}, but the network was trained on {self.channels} of "
                f"{self.dtype}; save the image as the training images are"
            )

    def refuse_array(self, image: np.ndarray) -> None:
        """Raise a UserError for an array that is no image (H, W, C) of this type and number of channels."""
        if (image.dtype.name, image.shape[2:]) != (self.dtype, (self.channels,)):
            raise UserError(
                f"an array of {image.dtype} {image.shape}; the network was trained on {self.dtype} "
                f"(H, W, {self.channels}), raw pixels of about {min(self.low):g} to {max(self.high):g}, which it "
                "scales itself"
            )

    def unit(self, image: np.ndarray) -> np.ndarray:
        """Pixels as the network sees them, float32 (H, W, C), about 0 to 1."""
        return image * np.float32(self.factor) + np.float32(self.offset)

    def show(self, image: np.ndarray) -> np.ndarray:
        """An image (H, W, C) for the eye, uint8 (H, W, 3): its first three channels, or its first in grey."""
        channels = [0, 1, 2] if self.channels >= 3 else [0, 0, 0]
        if self.dtype == "uint8":
            return np.ascontiguousarray(image[..., channels])
        return (np.clip(self.unit(image)[..., channels], 0, 1) * 255).astype(np.uint8)


def measure_range(pairs: list[Pair], encoding: Encoding | None) -> PixelRange:
    """The range of some training pairs: 0 to 255 for 8 bits; else percentiles of their labelled pixels.

    Args:
        pairs: the training part, images of one type and number of channels.
        encoding: of the masks; what is void (no data, often) has no say. None: there are no masks.
    """
    first = read_image(pairs[0].image)
    channels = first.shape[2]
    if first.dtype == np.uint8:
        return PixelRange("uint8", (0.0,) * channels, (255.0,) * channels)
    rng, most = np.random.default_rng(0), max(64, min(SAMPLES, MOST_SAMPLES // len(pairs)))
    drawn = [np.empty((0, channels), first.dtype)]
    for pair in pairs:
        labelled = labelled_pixels(pair, encoding)
        if len(labelled):
            drawn.append(labelled[rng.integers(len(labelled), size=min(most, len(labelled)))])
    drawn = np.concatenate(drawn)
    if not len(drawn):
        raise UserError("the training masks hold not one labelled pixel, so the images' range cannot be measured")
    low, high = np.percentile(drawn, PERCENTILES, axis=0).astype(float)
    flat = ~(high > low)  # nearly constant: a few bright spots on a plain ground
    low, high = np.where(flat, drawn.min(0), low), np.where(flat, drawn.max(0), high)
    high = np.where(high > low, high, low + 1)  # a constant channel becomes 0
    refuse_immeasurable(low, high)
    return PixelRange(first.dtype.name, tuple(low.tolist()), tuple(high.tolist()))


def refuse_immeasurable(low: np.ndarray, high: np.ndarray) -> None:
    """Raise a UserError where float32, in which the network computes, cannot bring a channel to 0…1."""
    normal = np.finfo(np.float32)
    for channel, (least, most) in enumerate(zip(low, high, strict=True)):
        if not normal.tiny <= 1 / (most - least) <= normal.max:
            raise UserError(
                f"the images' channel {channel} spans {least:g}…{most:g}, which float32 cannot scale to 0…1; "
                "multiply the images by a power of ten"
            )


def labelled_pixels(pair: Pair, encoding: Encoding | None) -> np.ndarray:
    """Pixels (N, C) of an image that its mask labels; all of them where there is none."""
    if encoding is None:
        image = read_image(pair.image)
        return image.reshape(-1, image.shape[2])
    image, mask = read_pair(pair, encoding)
    return image[mask != VOID]
