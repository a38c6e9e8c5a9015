"""Defaults that depend on the data set and the network, decided in one place; config.json holds the outcome.

(What stays None there is a choice too: whole images, no subset, no limit.)
"""

from pathlib import Path

from data_pipeline.dataset import DataSet
from data_pipeline.files import refuse_special
from data_pipeline.loader import DEFAULT_CROP, WHOLE_IMAGE_AREA, choose_frame
from models import MODELS

from .config import ClassifierConfig, TrainConfig
from .training.optimizers import WEIGHT_DECAY

PHOTO_SIZE = "224x224"  # that the encoders of keras.applications were trained on
LEAST_SIZE = 32  # pixels a side, of what is chosen by itself: what these encoders take
SCRATCH_RATE, HEAD_RATE = 0.001, 0.003  # of all weights, and of a last layer alone: docs/results.md


def decided(config: TrainConfig, dataset: DataSet) -> TrainConfig:
    """The settings of a segmentation network with nothing left open."""
    chosen = of_network(config.model, config.optimizer)
    changes = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    changes["weights"] = stable(changes.get("weights", config.weights))
    changes["unlabelled"] = config.unlabelled and config.unlabelled.resolve()
    if config.symmetry == "auto":
        changes["symmetry"] = "horizontal"
    if config.crop is None and config.size is None:
        (height, width), crops = choose_frame(dataset.sizes)
        changes["crop"] = height if crops and height == width else None
    return config.replace(**changes)


def of_network(model: str, optimizer: str) -> dict:
    """Choose what follows from the network and the optimizer alone, where the settings name nothing."""
    spec = MODELS[model]
    return {
        "norm": next(iter(spec.norms), None),
        "weights": "imagenet" if spec.pretrained else None,
        "weight_decay": WEIGHT_DECAY.get(optimizer, 0.0),
    }


def as_decided(stored: dict) -> dict:
    """The settings in a run's config.json, with what older versions left null as it was decided in their training."""
    if "model" not in stored:
        return stored  # a classifier's, which were always stored as decided
    chosen = of_network(stored["model"], stored.get("optimizer", "adam"))
    frame = stored["frame"]
    if frame["crops"] and not stored.get("size") and frame["tile"][0] == frame["tile"][1]:
        usual = MODELS[stored["model"]].output_size(DEFAULT_CROP, DEFAULT_CROP)
        chosen["crop"] = DEFAULT_CROP if tuple(frame["tile"]) == usual else frame["tile"][0]
    at_once = {"frozen_steps": 0}  # which older versions did not store
    return at_once | stored | {name: value for name, value in chosen.items() if name in stored and stored[name] is None}


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
