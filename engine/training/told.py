"""Words of a training: of each validation, of a network that learns nothing, of an end before its time."""

from pathlib import Path

import numpy as np

from engine.config import ClassifierConfig, TrainConfig
from engine.scoring.task import Task

ADVICE = {  # where the network predicts one class everywhere
    "masks": "look at the masks (python -m data_pipeline preview), weigh rare classes up (--class-weights "
    "median_frequency, --loss ce+dice), or try another --learning-rate or --seed",
    "labels": "look at the images of each class, or try another --learning-rate or --seed",
}
COLLAPSED_VALIDATIONS = 3  # with one class everywhere, before the warning


def validation(
    row: dict, planned: int, seconds_left: float, kept: bool, confusion: np.ndarray, task: Task, names: tuple[str, ...]
) -> str:
    """One line of a validation.

    Args:
        row: of history.csv.
        planned: validations, of this stage and those before it.
        seconds_left: until then.
        kept: whether these weights are the best so far.
        confusion: the validation's, (C, C).
        task: whose score is shown.
        names: of the classes.
    """
    score, words, predicted = task.score, task.words, confusion.sum(0)
    line = (
        f"epoch {row['epoch']}/{planned}  step {row['step']}  loss {row['loss']:.3f}  "
        f"{words} {row[score]:.3f}  val loss {row['val_loss']:.3f}  val {words} {row[f'val_{score}']:.3f}  "
        f"{duration(row['seconds'])}, about {duration(seconds_left)} left"
    )
    line += "  kept" if kept else ""
    if (predicted > 0).sum() == 1:
        line += f"  (every {task.counted} is predicted as {names[int(predicted.argmax())]})"
    return line


def collapse(rows: list[dict], task: Task) -> str | None:
    """Warn, once, of a network that has told no two classes apart since training began."""
    if len(rows) != COLLAPSED_VALIDATIONS or not all(collapsed(row, task) for row in rows):
        return None
    return (
        f"WARNING: for {COLLAPSED_VALIDATIONS} validations the network has not told any two classes apart. "
        f"If that continues: {ADVICE[task.name]}"
    )


def collapsed(row: dict, task: Task) -> bool:
    """Return whether no more than one class of a row of history.csv was ever right."""
    return sum(value > 0 for name, value in row.items() if name.startswith(f"val_{task.class_score}_")) <= 1


def no_number(loss: float, step: int, names: list[str], kept: Path | None, precision: str) -> str:
    """Say at which step the loss was lost, on which images, and what to try. kept: the best weights so far."""
    tries = ["a smaller --learning-rate", "--clip-norm 1"]
    if precision != "float32":
        tries.append("--precision float32")
    weights = f"the best weights so far are {kept}" if kept else "no weights were saved yet"
    return (
        f"the loss is {loss} since step {step}, whose batch was {', '.join(names)}; {weights}. "
        f"Train again with {', or '.join(tries)}; if it is always these images, look at them"
    )


def out_of_memory(config: TrainConfig | ClassifierConfig, error: Exception) -> str:
    """Say which settings take less memory."""
    smaller = [f"--batch-size {config.batch_size // 2}"] if config.batch_size > 1 else []
    crop = getattr(config, "crop", None)
    if crop and crop >= 64:
        smaller.append(f"--crop {crop // 2 // 32 * 32}")
    else:
        smaller.append("a smaller --crop" if isinstance(config, TrainConfig) else "a smaller --size")
    if config.precision == "float32":
        smaller.append("--precision mixed_float16 (on a GPU)")
    return f"out of memory ({str(error).splitlines()[0][:200]}). Train again with {', or '.join(smaller)}"


def duration(seconds: float) -> str:
    """90 → "1.5 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
