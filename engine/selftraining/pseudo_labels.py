"""Pseudo-labels: what a network is sure of in images that nobody has labelled; the rest is void."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.files import write_json, write_mask
from data_pipeline.outputs import new_folder
from data_pipeline.pairs import Pair
from engine import schema
from engine.predictor import Predictor
from engine.run import Run

from .images import mask_of

SURE = 0.95  # probability from which a pixel is labelled: FixMatch's and UniMatch's threshold, the same for each class
FEW = 0.01  # share of the pixels; below, there is next to nothing to learn from
FOLDER, COUNTS = "pseudo-labels", "sure.json"


def sure_of(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Softmax probabilities, float32 (H, W, C) → class indices uint8 (H, W), void 255 below the threshold."""
    classes = probabilities.argmax(-1).astype(np.uint8)
    return np.where(probabilities.max(-1) >= threshold, classes, VOID).astype(np.uint8)


def pseudo_label(run: Run, teacher: Run, folder: Path, names: list[str], batch_size: int) -> list[Pair]:
    """The images in which the teacher is sure of something, with their pseudo-labels in the run's folder.

    The masks appear all at once; those that are there are kept. A line says how much the teacher is sure of.

    Args:
        run: whose folder the masks go to.
        teacher: trained.
        folder, names: of the images.
        batch_size: windows of a large image that go through the network at a time.

    Raises:
        UserError: for an image that can no longer be read, or a folder of other images' pseudo-labels.
    """
    target, classes = run.path / FOLDER, run.encoding.names
    if not target.is_dir():
        predictor = Predictor(teacher.model(), teacher.config["model"], teacher.frame, batch_size)
        counts, pixels = {}, 0
        with new_folder(target) as fresh:
            for name in tqdm(names, "labelling", unit="image", leave=False, disable=None):
                mask = sure_of(predictor.probabilities(run.pixel_range.read(folder / name)), SURE)
                write_mask(mask_of(fresh, name), mask, run.encoding.colors)
                counts[name] = np.bincount(mask[mask != VOID], minlength=len(classes)).tolist()
                pixels += mask.size
            write_json(fresh / COUNTS, {"threshold": SURE, "pixels": pixels, "classes": classes, "sure": counts})
    stored = schema.read(target / COUNTS, schema.SURE)
    if stored["sure"].keys() != set(names) or any(len(each) != len(classes) for each in stored["sure"].values()):
        raise UserError(f"{target}: of other images or classes; remove that folder, and --resume makes it again")
    sure = {name: sum(stored["sure"][name]) for name in names}
    print(in_words(stored, len(names)), flush=True)
    return [Pair(name, folder / name, mask_of(target, name)) for name in names if sure[name]]


def in_words(stored: dict, count: int) -> str:
    """Say of what share of the pixels the teacher is sure, and of which classes nowhere."""
    held = np.array(list(stored["sure"].values())).sum(0)
    share = held.sum() / max(1, stored["pixels"])
    never = [name for name, pixels in zip(stored["classes"], held, strict=True) if not pixels]
    words = f"the teacher is sure of {share:.1%} of the pixels of {count} unlabelled images; the rest is void"
    words += f"; nowhere of {', '.join(never)}" if never else ""
    if share < FEW:
        words = f"WARNING: {words}. They can teach next to nothing: train longer (--steps), or label more images"
    return words


def encoding_of_pseudo_labels(encoding: Encoding) -> Encoding:
    """The encoding of masks of class indices, void 255."""
    return Encoding(encoding.names, tuple(range(encoding.num_classes)), encoding.colors, (VOID,))
