"""What the settings leave open, decided in one place, from the data set and the network; config.json holds the outcome.

(What stays None there is a choice too: whole images, no subset, no limit.)
"""

from pathlib import Path

from data_pipeline.data_set import DataSet
from data_pipeline.files import refuse_special
from data_pipeline.loader import WHOLE_IMAGE_AREA, choose_frame
from models import MODELS

from .config import ClassifierConfig, TrainConfig
from .training.optimizers import decay_of

PHOTO_SIZE = "224x224"  # that the encoders of keras.applications were trained on
LEAST_SIZE = 32  # pixels a side, of what is chosen by itself: what these encoders take
SCRATCH_RATE, HEAD_RATE = 0.001, 0.003  # of all weights, and of a last layer alone: docs/results.md


def decided(config: TrainConfig, dataset: DataSet) -> TrainConfig:
    """The settings of a segmentation network with nothing left open."""
    spec, changes = MODELS[config.model], {"weights": stable(config.weights), "weight_decay": decay_of(config)}
    if spec.pretrained and config.weights is None:
        changes["weights"] = "imagenet"
    if config.norm is None and spec.norms:
        changes["norm"] = next(iter(spec.norms))
    if config.symmetry == "auto":
        changes["symmetry"] = "horizontal"
    if config.crop is None and config.size is None:
        (height, width), crops = choose_frame(dataset.sizes)
        changes["crop"] = height if crops and height == width else None
    return config.replace(**changes)


def decided_for_labels(config: ClassifierConfig, dataset: DataSet) -> ClassifierConfig:
    """The settings of a classifier with nothing left open."""
    changes = {}
    if config.size is None:
        height, width = next(iter(dataset.sizes))
        small = len(dataset.sizes) == 1 and height * width <= WHOLE_IMAGE_AREA
        changes["size"] = f"{max(height, LEAST_SIZE)}x{max(width, LEAST_SIZE)}" if small else PHOTO_SIZE
    if config.strategy == "finetune" and config.head_steps is None:
        changes["head_steps"] = max(1, config.steps // 2)
    if config.strategy == "frozen":
        changes["head_steps"] = config.steps
    if config.strategy != "all" and config.learning_rate is None:
        changes["learning_rate"] = SCRATCH_RATE if config.strategy == "scratch" else HEAD_RATE
    if config.strategy != "scratch":
        changes["weights"] = stable(config.weights or "imagenet")
    return config.replace(**changes)


def stable(weights: str | None) -> str | None:
    """A file of weights by its whole path: --resume may be called from elsewhere.

    Raises:
        UserError: for what is no file, such as a named pipe.
    """
    if weights in (None, "imagenet", "none"):
        return weights
    refuse_special(Path(weights))
    return str(Path(weights).resolve())
