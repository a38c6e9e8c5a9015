"""The two tasks of a network, and their scores: masks, pixel by pixel, or one label for each image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import confusion

Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Task:
    """Everything that training, comparing and reporting must know of a task.

    name: of what is predicted, in words: "masks" or "labels".
    score, words: the headline score, as files call it and as people do.
    class_score: the score of each class that is shown with it.
    counted: what a confusion matrix counts.
    overall, by_class: name → a score of matrices (…, C, C): (…), or of each class (…, C).
    with_interval: those of by_class that have error bars.
    sums_for_headline, headline_of_sums: the headline score in two steps, for what resamples it many times: what it
        needs of each matrix, and the score of sums of that.
    script: that trains it.
    """

    name: str
    score: str
    words: str
    class_score: str
    counted: str
    overall: dict[str, Score]
    by_class: dict[str, Score]
    with_interval: tuple[str, ...]
    sums_for_headline: Score
    headline_of_sums: Score
    script: str

    def headline(self, matrices: np.ndarray) -> np.ndarray:
        """The headline score of matrices (…, C, C): float64 (…), NaN where there is nothing to score."""
        return self.headline_of_sums(self.sums_for_headline(matrices))

    def scores_of_classes(self, matrices: np.ndarray) -> np.ndarray:
        """The score of each class: float64 (…, C), NaN where a class does not occur."""
        return self.by_class[self.class_score](matrices)


MASKS = Task(
    name="masks",
    score="miou",
    words="mIoU",
    class_score="iou",
    counted="pixel",
    overall={
        "miou": confusion.mean_iou,
        "pixel_accuracy": confusion.pixel_accuracy,
        "balanced_accuracy": confusion.balanced_accuracy,
    },
    by_class={
        "iou": confusion.iou,
        "dice": confusion.dice,
        "precision": confusion.precision,
        "recall": confusion.recall,
    },
    with_interval=("iou", "dice"),
    sums_for_headline=confusion.overlaps,
    headline_of_sums=confusion.mean_iou_of,
    script="train.py",
)
LABELS = Task(
    name="labels",
    score="accuracy",
    words="accuracy",
    class_score="recall",
    counted="image",
    overall={
        "accuracy": confusion.pixel_accuracy,
        "balanced_accuracy": confusion.balanced_accuracy,
        "macro_f1": confusion.macro_f1,
    },
    by_class={"recall": confusion.recall, "precision": confusion.precision, "f1": confusion.dice},
    with_interval=("recall", "f1"),
    sums_for_headline=confusion.right_and_all,
    headline_of_sums=confusion.accuracy_of,
    script="train_classifier.py",
)
TASKS = {task.score: task for task in (MASKS, LABELS)}


def task_of(results: dict) -> Task:
    """The task that a metrics.json, or a row of history.csv, is of."""
    return next(task for score, task in TASKS.items() if score in results)
