"""What a training took: cost.json in the run's folder, alike for masks and for labels of whole images."""

import resource
import sys

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.encoding import Encoding
from data_pipeline.files import write_json
from data_pipeline.label_bits import class_bits, mask_bits
from data_pipeline.labels import Photo
from data_pipeline.loader import read_pair
from data_pipeline.pairs import Pair

from .run import Run, device

COST = "cost.json"


def write_cost(run: Run, model: keras.Model, rows: list[dict], label_bits: dict, devices: str = "one") -> None:
    """Weights, images, the bits of their labels, steps, seconds (validation included), memory and device.

    Args:
        run: whose folder it goes to.
        model: as it was trained last, which tells how many weights of it were.
        rows: of history.csv.
        label_bits: of the training images, mean of an image.
        devices: "one" or "all".
    """
    write_json(
        run.path / COST,
        {
            "parameters": model.count_params(),
            "trainable_parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            "images": len(run.split.train),
            "label_bits_per_image": label_bits,
            "steps": rows[-1]["step"],
            "seconds": rows[-1]["seconds"],
            "seconds_per_epoch": rows[-1]["seconds"] / len(rows),
            "peak_memory_bytes": peak_memory(),
            "device": device(devices),
        },
    )


def bits_of_masks(pairs: list[Pair], encoding: Encoding) -> dict[str, float]:
    """Of a mask, at its own resolution: coded without loss, each image's share of the whole part."""
    return {"mask": mask_bits(read_pair(pair, encoding)[1] for pair in pairs) / len(pairs)}


def bits_of_labels(photos: list[Photo], num_classes: int) -> dict[str, float]:
    """Of a label: log2 of the number of classes, and the entropy of their frequencies."""
    return class_bits(np.array([photo.label for photo in photos]), num_classes)


def peak_memory() -> int:
    """Most bytes held so far: of the GPU where there is one, else of this process."""
    if tf.config.list_physical_devices("GPU"):
        return sum(
            tf.config.experimental.get_memory_info(gpu.name.removeprefix("/device:"))["peak"]
            for gpu in tf.config.list_logical_devices("GPU")
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
