"""The cost of a training: cost.json in the run's folder, alike for masks and for labels of whole images."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.files import write_json
from engine.run import Run, device

COST = "cost.json"


def write_cost(
    run: Run,
    model: keras.Model,
    rows: list[dict],
    label_bits: Callable[[], dict],
    prepared: float = 0.0,
    devices: str = "one",
) -> None:
    """Weights, images, the bits of their labels, steps, seconds (validation included), memory and device.

    Args:
        run: whose folder it goes to.
        model: as it was trained last, which tells how many weights of it were.
        rows: of history.csv.
        label_bits: gives those of the training images, mean of an image; asked when memory is measured.
        prepared: seconds before the first step that belong to the training.
        devices: "one" or "all".
    """
    memory, seconds = peak_memory(), rows[-1]["seconds"] + prepared
    write_json(
        run.path / COST,
        {
            "parameters": model.count_params(),
            "trainable_parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            "images": len(run.split.train),
            "label_bits_per_image": label_bits(),
            "steps": rows[-1]["step"],
            "seconds": round(seconds, 1),
            "seconds_per_epoch": seconds / len(rows),
            "peak_memory_bytes": memory,
            "device": device(devices),
        },
    )


def forget_peak() -> None:
    """Count the peak of memory anew, so that one run's is not the next one's; where the system cannot, it goes on."""
    for name in gpus():
        tf.config.experimental.reset_memory_stats(name)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int | None:
    """Most bytes held since ``forget_peak``: of the GPUs where there are any, else of this process.

    None where the system does not say.
    """
    if gpus():
        return sum(tf.config.experimental.get_memory_info(name)["peak"] for name in gpus())
    try:
        match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        match = None
    return int(match[1]) * 1024 if match else None


def gpus() -> list[str]:
    return [gpu.name.removeprefix("/device:") for gpu in tf.config.list_logical_devices("GPU")]
