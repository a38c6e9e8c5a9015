"""What a network is trained for: masks, or one label for each image."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from engine.scoring import confusion

from .losses import PixelLoss
from .metrics import Accuracy, MeanIoU


@dataclass(frozen=True)
class Task:
    """A loss, and the score by which the best weights are known.

    score: as history.csv calls it, with val_ before it for the validation images; ``words``: as people do.
    metric: number of classes → the Keras metric of that name, which holds a confusion matrix.
    by_class, of_class: a score of each class from that matrix, and its name.
    unit: what is counted in the matrix.
    advice: what to try when the network says one class everywhere.
    """

    loss: keras.losses.Loss
    score: str
    words: str
    metric: Callable
    by_class: str
    of_class: Callable[[np.ndarray], np.ndarray]
    unit: str
    advice: str


def segmentation(loss: str) -> Task:
    advice = (
        "look at the masks (python -m data_pipeline preview), weigh rare classes up (--class-weights "
        "median_frequency, --loss ce+dice), or try another --learning-rate or --seed"
    )
    return Task(PixelLoss(loss), "miou", "mIoU", MeanIoU, "iou", confusion.iou, "pixel", advice)


def classification() -> Task:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    advice = "look at the images of each class, or try another --learning-rate or --seed"
    return Task(loss, "accuracy", "accuracy", Accuracy, "recall", confusion.recall, "image", advice)
