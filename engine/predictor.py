"""The one way from an image to a mask: for evaluation, prediction and the scores at the end of training."""

import cv2
import numpy as np
import tensorflow as tf

from data_pipeline.command import UserError
from data_pipeline.loader import resize_image, window
from data_pipeline.pixel_range import PixelRange
from models import MODELS

from .framing import Frame
from .run import Run
from .views import WHOLE, turn, turn_back

LARGEST_WHOLE = 1024 * 1024  # pixels that go through the network at once; larger images go in tiles
TILE = 512
OVERLAP = 64  # pixels that neighbouring tiles share, where their answers fade into each other


def load_predictor(path, batch_size: int = 8) -> "Predictor":
    """Return what turns arrays into masks as predict.py does: a trained run's Predictor.

    Args:
        path: folder of the run, such as "runs/first".
        batch_size: windows of a large image that go through the network at a time.

    Raises:
        UserError: if there is no trained run of a segmentation network; and, when it is called, for an image of
            another type or number of channels than the training images have.
    """
    run = Run.open(path)
    if run.classifies:
        raise UserError(f"{path}: a classifier, which makes no masks")
    return Predictor(run.model(), run.config["model"], run.frame, batch_size, pixel_range=run.pixel_range)


class Predictor:
    """Resizes as in training, pads by mirroring, tiles what is large, and gives the mask its own size back.

    Args:
        model: raw pixels → logits.
        name: of the network, for the sizes that it takes.
        frame: what it saw in training.
        batch_size: tiles that go through it at a time.
        views: of the image, whose probabilities are averaged (``allowed_views``).
        pixel_range: the type and channels that images must have; None: whoever calls it sees to that.
    """

    def __init__(
        self, model, name: str, frame: Frame, batch_size: int = 8, views=(WHOLE,), pixel_range: PixelRange | None = None
    ):
        # One trace for images of all sizes; Keras's predict would make one for each.
        signature = [tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.float32)]
        self.network = tf.function(lambda images: model(images, training=False), signature)
        self.name, self.spec = name, MODELS[name]
        self.frame = frame
        self.batch_size = batch_size
        self.views = views
        self.pixel_range = pixel_range

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W, C) → class indices, uint8 (H, W)."""
        return self.probabilities(image).argmax(-1).astype(np.uint8)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W, C) → softmax probabilities, float32 (H, W, C), at the image's own resolution."""
        if self.pixel_range is not None:
            self.pixel_range.refuse_array(image)
        height, width = image.shape[:2]
        resized = image if self.frame.size is None else resize_image(image, self.frame.size)
        of_views = (turn_back(self.at_network_size(turn(resized, *view)), *view) for view in self.views)
        probabilities = sum(of_views) / len(self.views)
        if probabilities.shape[:2] != (height, width):
            probabilities = resize_channels(probabilities, (height, width))
        return probabilities

    def at_network_size(self, image: np.ndarray) -> np.ndarray:
        """Probabilities of an image at the network's resolution: at once, or in tiles where it is large."""
        if image.shape[0] * image.shape[1] <= LARGEST_WHOLE:
            return softmax(self.logits([image], image.shape[:2], [(0, 0)])[0])
        return self.tiled(image)

    def tiled(self, image: np.ndarray) -> np.ndarray:
        """Overlapping tiles, blended with weights that fade towards each tile's border."""
        height, width = image.shape[:2]
        tile = (min(TILE, height), min(TILE, width))
        corners = [(top, left) for top in starts(height, tile[0]) for left in starts(width, tile[1])]
        fade = np.outer(ramp(tile[0]), ramp(tile[1]))[..., None]
        total, weight = None, np.zeros((height, width, 1), np.float32)
        for first in range(0, len(corners), self.batch_size):
            batch = corners[first : first + self.batch_size]
            for (top, left), logits in zip(batch, self.logits([image] * len(batch), tile, batch), strict=True):
                part = np.s_[top : top + tile[0], left : left + tile[1]]
                if total is None:
                    total = np.zeros((height, width, max(2, logits.shape[-1])), np.float32)
                total[part] += softmax(logits) * fade
                weight[part] += fade
        return total / weight

    def logits(self, images, size, corners) -> np.ndarray:
        """Logits (N, H, W, C) of the windows (H, W) of the images at the corners."""
        padded = self.spec.output_size(*size)
        windows = [
            window(image, top, left, padded, self.spec.margin)
            for image, (top, left) in zip(images, corners, strict=True)
        ]
        try:
            logits = self.network(np.stack(windows).astype(np.float32)).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise UserError(f"model.keras is no {self.name}: {str(error).splitlines()[0][:200]}") from None
        if logits.shape[1:3] != padded or not np.isfinite(logits).all():
            raise UserError(f"model.keras is damaged, or no {self.name}: its answer has a wrong size or is no number")
        return logits[:, : size[0], : size[1]]


def softmax(logits: np.ndarray) -> np.ndarray:
    """(…, C) logits → probabilities; one channel is a sigmoid logit and becomes two."""
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], -1)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def resize_channels(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) → (*size, C), linearly."""
    planes = [cv2.resize(maps[..., c], size[::-1], interpolation=cv2.INTER_LINEAR) for c in range(maps.shape[-1])]
    return np.stack(planes, -1)


def starts(length: int, tile: int) -> list[int]:
    """Return where tiles begin so that they cover the length and overlap by OVERLAP or more."""
    count = 1 if length <= tile else 1 + -(-(length - tile) // (tile - OVERLAP))
    return np.linspace(0, length - tile, count).round().astype(int).tolist()


def ramp(tile: int) -> np.ndarray:
    """Weights along one side of a tile: rising over OVERLAP pixels, 1, falling."""
    distance = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1
    return np.minimum(distance / OVERLAP, 1).astype(np.float32)
