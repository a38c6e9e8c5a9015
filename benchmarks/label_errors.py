"""How many wrong labels the list of suspects finds: gross errors planted in a run's held-out masks, in memory.

    python -m benchmarks.label_errors runs/NAME                 # its test part
    python -m benchmarks.label_errors runs/NAME --split val

An error is planted in a share of the images, one in each: an object forgotten, half forgotten, given another class, or
invented. An object is a connected region of a class other than the first. What an error changes is connected, LEAST to
MOST of the image, and no thin sliver (THICK). It counts as found if the box of a suspect in that image and the box
around the changed pixels have an IoU of HIT or more. The masks' own errors, if any, count as false alarms. Tables go
to stdout as Markdown.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from data_pipeline.command import UserError, run_command
from data_pipeline.encoding import VOID
from engine.scoring import confusion
from engine.scoring.doubts import Doubt, doubts, rank, uncertainty
from engine.scoring.objects import connect

LEAST, MOST = 0.01, 0.25  # of the image
LARGE = 0.02  # of the image: larger errors have a row of their own
THICK = 0.2  # largest disc's radius, of the area's square root: a disc has 0.56, a strip of 1×6 has 0.2
HIT = 0.3  # IoU of two boxes
BUDGETS = (1, 2)  # suspects looked at, for each error planted
TRIES = 100  # draws of an object to spoil an image with


@dataclass(frozen=True)
class Config:
    run: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    split: Literal["test", "val"] = "test"
    """Held-out part whose masks are spoiled."""
    share: float = 0.1
    """Of the images that get an error."""
    rounds: int = 20
    """How often errors are planted anew, each time in clean masks."""
    seed: int = 0
    """Of the errors."""
    data: Path | None = None
    """Where the run's data set is now, if it was moved."""


@dataclass(frozen=True)
class Planted:
    """An error: which image, what was done, and the mask that came of it."""

    image: int
    kind: str
    mask: np.ndarray  # uint8 (H, W)
    box: tuple[int, int, int, int]  # of the changed pixels: top, left, bottom, right
    size: float  # of the changed pixels, as a share of the image


def main(config: Config) -> None:
    stems, probabilities, truths = predict(config)
    ways = {OURS: (doubts, rank), "size of the disagreement": (by_size, rank), "chance": (by_size, shuffled)}
    clean = {
        name: [find(*one) for one in zip(stems, probabilities, truths, strict=True)] for name, (find, _) in ways.items()
    }
    rng = np.random.default_rng(config.seed)
    found = {name: [] for name in ways}
    for _ in tqdm(range(config.rounds), "planting", leave=False, disable=None):
        planted = plant(truths, config.share, rng)
        for name, (find, order) in ways.items():
            spoiled = list(clean[name])
            for error in planted:
                spoiled[error.image] = find(stems[error.image], probabilities[error.image], error.mask)
            ordered = order([doubt for one in spoiled for doubt in one])
            found[name] += [(error, place / len(planted)) for error, place in places(ordered, planted, stems)]
    print(f"{config.run.name}, {config.split}: {len(stems)} images, errors in {len(planted)} of them, ", end="")
    print(f"{config.rounds} times, seed {config.seed}\n")
    print_found(found)
    print_uncertainty(probabilities, truths)


def predict(config: Config) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Stems, probabilities float32 (H, W, C) and masks uint8 (H, W) of the held-out images."""
    from data_pipeline.loader import read_pair
    from engine.predictor import Predictor
    from engine.run import Run

    run = Run.open(config.run)
    if config.data and (run := run.moved_to(config.data)) is None:
        raise UserError(f"{config.data}: not the data set that {config.run} was trained on")
    pairs = run.split.part(config.split)
    if not pairs:
        raise UserError(f"{config.run}: has no {config.split} part; --split val or test is wanted")
    predictor = Predictor(run.model(), run.config["model"], run.frame)
    loaded = [read_pair(pair, run.encoding) for pair in tqdm(pairs, "reading", leave=False, disable=None)]
    seen = [predictor.probabilities(image) for image, _ in tqdm(loaded, "predicting", leave=False, disable=None)]
    return [pair.stem for pair in pairs], seen, [mask for _, mask in loaded]


# Errors: a mask, an object in it (bool (H, W)), its class, an object of another image with its class → wrong mask


def forget(mask, there, label, other, other_label) -> np.ndarray:
    """The object as if it had not been drawn: the class that most of its outline touches goes on."""
    beside = cv2.dilate(there.view(np.uint8), np.ones((3, 3), np.uint8)) > there
    around = np.bincount(mask[beside & (mask != VOID) & (mask != label)], minlength=1)
    return np.where(there & around.any(), np.uint8(around.argmax()), mask)


def halve(mask, there, label, other, other_label) -> np.ndarray:
    """Half of the object forgotten, along its box's longer side."""
    top, left, bottom, right = box_of(there)
    half = there.copy()
    if bottom - top > right - left:
        half[: (top + bottom) // 2] = False
    else:
        half[:, : (left + right) // 2] = False
    return forget(mask, half, label, other, other_label)


def swap(mask, there, label, other, other_label) -> np.ndarray:
    """Another object's class throughout; nothing is changed where it is the same."""
    return np.where(there, np.uint8(other_label), mask)


def invent(mask, there, label, other, other_label) -> np.ndarray:
    """An object of another image, drawn at its place there."""
    return np.where(other & (mask != VOID), np.uint8(other_label), mask)


KINDS = {"forgotten": forget, "half forgotten": halve, "of another class": swap, "invented": invent}
OURS = "doubts"
GROUPS = {  # rows of the table: name → whether an error belongs to it
    "all": lambda error: True,
    **{kind: lambda error, kind=kind: error.kind == kind for kind in KINDS},
    f"below {LARGE:.0%} of the image": lambda error: error.size < LARGE,
    f"{LARGE:.0%} of the image or more": lambda error: error.size >= LARGE,
}


def plant(truths: list[np.ndarray], share: float, rng: np.random.Generator) -> list[Planted]:
    """One error in each of a share of the images, at least one; kinds in turn as far as they go."""
    wanted, planted = max(1, round(share * len(truths))), []
    # With two classes, another class is a forgotten object, which has its own row.
    kinds = [kind for kind in KINDS if kind != "of another class" or max(present(truths)) > 1]
    for image in rng.permutation(len(truths)):
        if len(planted) == wanted:
            break
        error = spoil(truths, int(image), kinds[len(planted) % len(kinds)], rng)
        planted += [error] if error else []
    return planted


def present(truths: list[np.ndarray]) -> set[int]:
    return set(np.unique(np.concatenate([np.unique(truth) for truth in truths])).tolist()) - {VOID}


def spoil(truths: list[np.ndarray], image: int, kind: str, rng: np.random.Generator) -> Planted | None:
    mask = truths[image]
    for _ in range(TRIES):
        other = truths[rng.integers(len(truths))]
        if other.shape != mask.shape:
            continue
        drawn, given = draw_object(mask, rng), draw_object(other, rng)
        if drawn is None or given is None:
            continue
        wrong = KINDS[kind](mask, *drawn, *given)
        changed = largest((wrong != mask) & (mask != VOID))
        if LEAST <= changed.mean() <= MOST and thickness(changed) >= THICK * np.sqrt(changed.sum()):
            return Planted(image, kind, np.where(changed, wrong, mask), box_of(changed), float(changed.mean()))
    return None


def largest(there: np.ndarray) -> np.ndarray:
    """The largest connected region."""
    numbers, _ = connect(there.view(np.uint8))
    sizes = np.bincount(numbers[there], minlength=2)
    return (numbers == sizes.argmax()) & there


def thickness(there: np.ndarray) -> float:
    """Radius of the largest disc inside, in pixels; the frame is no outline."""
    return float(cv2.distanceTransform(there.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())


def draw_object(mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int] | None:
    """An object of the mask, bool (H, W), and its class."""
    numbers, classes = connect(mask)
    sizes = np.bincount(numbers.ravel(), minlength=len(classes)) / mask.size
    fitting = np.flatnonzero((sizes >= LEAST) & (sizes <= MOST) & (classes != 0) & (classes != VOID))
    if not len(fitting):
        return None
    number = rng.choice(fitting)
    return numbers == number, int(classes[number])


def box_of(there: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def by_size(stem: str, probabilities: np.ndarray, truth: np.ndarray) -> list[Doubt]:
    """The simplest list: connected regions of disagreement with a label, by their pixels; the largest five."""
    prediction = probabilities.argmax(-1)
    numbers, classes = connect(np.where(prediction == truth, np.uint8(VOID), truth))
    sizes = np.bincount(numbers.ravel(), minlength=len(classes))
    sizes[0] = 0
    found = []
    for number in np.argsort(-sizes, kind="stable")[:5]:
        if sizes[number]:
            there = numbers == number
            most = int(np.bincount(prediction[there]).argmax())
            size = int(sizes[number])
            found.append(Doubt(stem, *box_of(there), int(classes[number]), most, size, 1.0, size / truth.size))
    return found


def shuffled(found: list[Doubt]) -> list[Doubt]:
    return [found[i] for i in np.random.default_rng(len(found)).permutation(len(found))]


def places(ordered: list[Doubt], planted: list[Planted], stems: list[str]) -> list[tuple[Planted, float]]:
    """Each error, and after how many suspects it is found; infinite where it is not."""
    found = []
    for error in planted:
        right = (i for i, one in enumerate(ordered) if one.stem == stems[error.image] and hits(one, error))
        found.append((error, next(right, np.inf) + 1))
    return found


def hits(doubt: Doubt, error: Planted) -> bool:
    top, left, bottom, right = error.box
    height = min(doubt.bottom, bottom) - max(doubt.top, top)
    width = min(doubt.right, right) - max(doubt.left, left)
    shared = max(0, height) * max(0, width)
    areas = (doubt.bottom - doubt.top) * (doubt.right - doubt.left) + (bottom - top) * (right - left)
    return shared >= HIT * (areas - shared)


def print_found(found: dict[str, list[tuple[Planted, float]]]) -> None:
    """Shares of the planted errors among the first suspects; of the first as many, the share is the precision too."""
    print("| ranked by | errors | planted | " + " | ".join(f"found in the first {n}×" for n in BUDGETS) + " |")
    print("|---|---|---|" + "---|" * len(BUDGETS))
    for way, errors in found.items():
        for name, chosen in GROUPS.items() if way == OURS else [("all", lambda error: True)]:
            reached = np.array([place for error, place in errors if chosen(error)])
            if len(reached):
                cells = " | ".join(f"{np.mean(reached <= budget):.0%}" for budget in BUDGETS)
                print(f"| {way} | {name} | {len(reached)} | {cells} |")


def print_uncertainty(probabilities: list[np.ndarray], truths: list[np.ndarray]) -> None:
    from scipy.stats import spearmanr

    matrices = [
        confusion.confusion_matrix(truth, seen.argmax(-1), seen.shape[-1])
        for seen, truth in zip(probabilities, truths, strict=True)
    ]
    errors = 1 - confusion.mean_iou(np.stack(matrices))
    correlation = spearmanr([uncertainty(seen) for seen in probabilities], errors, nan_policy="omit")[0]
    print(f"\nUncertainty and 1 − mIoU of the clean images: Spearman's ρ {correlation:.2f}")


if __name__ == "__main__":
    run_command(main, Config, __doc__)
