"""An exported network beside the run's own, on the images of its validation part."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.encoding import Encoding
from data_pipeline.loader import read_pair, resize_image, window
from data_pipeline.pairs import Pair
from engine.framing import Frame
from engine.predictor import resize_channels, softmax
from engine.scoring.confusion import confusion_matrix, mean_iou

from .formats import Network

MOST_IMAGES = 100  # of a validation part; more would prove no more
# How far logits may differ, as a share of the largest, and the least share of equal pixels. Rounding alone: sums in
# another order; for runs of 16 bits, the run's own rounding, which the float32 twin does not have.
TOLERANCES = {"float32": (1e-3, 0.999), "mixed_float16": (2e-2, 0.99), "mixed_bfloat16": (1e-1, 0.97)}


@dataclass
class Comparison:
    """An exported network's logits and masks beside the run's, over images."""

    images: int = 0
    difference: float = 0.0  # the largest of two logits
    largest: float = 0.0  # logit of the run
    pixels: int = 0
    equal: int = 0
    confusions: tuple[np.ndarray, np.ndarray] | None = None  # run and export against the truth, int64 (C, C)

    def add(self, ours: np.ndarray, theirs: np.ndarray, truth: np.ndarray, num_classes: int) -> None:
        """Count an image: logits float32 (H, W, ·) of the run and of the export, and its mask (h, w)."""
        self.images += 1
        self.difference = max(self.difference, float(np.abs(ours - theirs).max()))
        self.largest = max(self.largest, float(np.abs(ours).max()))
        self.pixels += ours.shape[0] * ours.shape[1]
        self.equal += int((classes_of(ours) == classes_of(theirs)).sum())
        matrices = [confusion_matrix(truth, mask_of(logits, truth.shape), num_classes) for logits in (ours, theirs)]
        before = self.confusions or (0, 0)
        self.confusions = before[0] + matrices[0], before[1] + matrices[1]

    @property
    def equal_share(self) -> float:
        return self.equal / self.pixels

    @property
    def mean_ious(self) -> tuple[float, float]:
        """Return the mIoU of the run and of the export, at the masks' own resolution."""
        return tuple(float(mean_iou(confusion)) for confusion in self.confusions)

    def to_json(self) -> dict:
        run, export = self.mean_ious
        return {
            "images": self.images,
            "largest_difference_of_logits": self.difference,
            "share_of_equal_pixels": self.equal_share,
            "miou_of_the_run": run,
            "miou": export,
        }

    def line(self) -> str:
        """Return it in words."""
        run, export = self.mean_ious
        return (
            f"{self.images} validation images: largest difference of logits {self.difference:.2g} (the largest is "
            f"{self.largest:.3g}), equal pixels {self.equal_share:.3%}, mIoU {export:.4f} (the run: {run:.4f})"
        )

    def refuse_unequal(self, name: str, precision: str) -> None:
        """Raise a UserError where it is another function than the run's, beyond rounding."""
        difference, share = TOLERANCES[precision]
        if not self.difference <= difference * max(self.largest, 1) or self.equal_share < share:
            raise UserError(
                f"{name} is not the run's network, so nothing was written. {self.line()}; at most "
                f"{difference * max(self.largest, 1):.2g} and at least {share:.1%} are wanted"
            )


def traced(model) -> Network:
    """The run's own network, raw pixels float32 → logits."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.float32)]
    apply = tf.function(lambda images: model(images, training=False), signature)
    return lambda images: apply(images).numpy()


def compare(
    ours: Network, theirs: list[Network], pairs: list[Pair], encoding: Encoding, frame: Frame
) -> list[Comparison]:
    """Each exported network beside the run's on pairs of images and masks, as many as MOST_IMAGES, evenly spread.

    Args:
        frame: what the networks see; images are resized to its size, and cut to its tiles, mirrored beyond the border.
    """
    comparisons = [Comparison() for _ in theirs]
    for image, truth in some_pairs(pairs, encoding):
        seen = image if frame.size is None else resize_image(image, frame.size)
        own = logits_of(ours, seen, frame)
        for comparison, network in zip(comparisons, theirs, strict=True):
            comparison.add(own, logits_of(network, seen, frame), truth, encoding.num_classes)
    return comparisons


def some_pairs(pairs: list[Pair], encoding: Encoding) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    from tqdm import tqdm

    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_IMAGES)).round().astype(int))
    for index in tqdm(chosen, "comparing", unit="image", leave=False, disable=None):
        yield read_pair(pairs[index], encoding)


def logits_of(network: Network, image: np.ndarray, frame: Frame) -> np.ndarray:
    """Logits float32 (H, W, ·) of an image (H, W, C), tile by tile, one at a time."""
    height, width = image.shape[:2]
    rows = []
    for top in range(0, height, frame.tile[0]):
        tiles = [window(image, top, left, frame.tile, frame.margin) for left in range(0, width, frame.tile[1])]
        rows.append(np.concatenate([network(tile[None].astype(np.float32))[0] for tile in tiles], axis=1))
    return np.concatenate(rows)[:height, :width]


def classes_of(logits: np.ndarray) -> np.ndarray:
    """The decision rule: the largest logit; of one, its sign."""
    return logits.argmax(-1) if logits.shape[-1] > 1 else (logits[..., 0] > 0).astype(int)


def mask_of(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class indices (H, W) at a mask's own resolution, as the run's predictor makes them."""
    probabilities = softmax(logits)
    return (probabilities if logits.shape[:2] == size else resize_channels(probabilities, size)).argmax(-1)
