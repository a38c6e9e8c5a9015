"""Which network is best per minute: ours and a peer's, from scratch, each for equal wall-clock.

    taskset -c 0,1 python -m benchmarks.peers runs --out DIR --camvid DIR --torch PYTHON    # hours; resumable
    taskset -c 0 python -m benchmarks.peers runs --out DIR --sets golfscape --budgets 120 --seeds 0  # a part of it

The peer is segmentation_models.pytorch's U-Net on a ResNet18, in an environment of its own (--torch; how it is made:
benchmarks/README.md). All see the same split, the same light augmentation, batches of 8, five validations of which the
best one's weights are kept, a half cosine from 1e-3 to zero over the budget, and cross-entropy with Dice. Time is that
of training with its validations and the compiling of the step, not of starting Python and of checking the data. How
many steps of ours fit is measured beforehand; the peer stops by the clock. All are scored by evaluate.py from masks in
files. Rows go to OUT/rows.csv as they come, and the table is printed at the end.
"""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from benchmarks.recipe import ROOT, hold_out_films
from data_pipeline.command import UserError, run_command
from data_pipeline.files import write_csv, write_json

FILM_SIZE = "180x240"
BATCH, VALIDATIONS = 8, 5
RATE = 1e-3
PEER, FOREST = "smp U-Net ResNet18", "pixel forest"
CONTESTANTS = {  # flags of train.py, and the width of our U-Net
    PEER: ([], 0),
    "unet, default": ([], 32),
    "unet, width 16": ([], 16),
    "unet, width 16, batch 4": (["--batch-size", "4"], 16),
    "fc_densenet56": (["--model", "fc_densenet56"], 0),
}
SHORT, LONG = 2, 8  # steps between validations, of the two trainings that measure the time of a step
# Run train.py with a U-Net of another width, timed by another clock: neither is a flag.
OF_WIDTH = """
import runpy, sys, time
from functools import partial
from types import SimpleNamespace
import engine.training.fit, engine.training.segmenter, models
width, clock = int(sys.argv[1]), sys.argv[2]
if width:
    engine.training.segmenter.build_model = partial(models.build_model, width=width)
if clock == "processor":
    engine.training.fit.time = SimpleNamespace(monotonic=time.process_time)
del sys.argv[:3]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Runs:
    """Train and score what is missing."""

    out: Path
    """Where runs, masks and rows go."""
    camvid: Path | None = None
    """CamVid: a folder with train/images and train/masks. Golfscape alone does without."""
    torch: Path | None = None
    """Python of an environment with segmentation-models-pytorch. Without it the peer is left out."""
    sets: tuple[str, ...] = ("golfscape", "0001TP", "0006R0")
    """golfscape, or a film that is held out; 0016E5 and golfscape may choose settings, the others are reported."""
    contestants: tuple[str, ...] = tuple(CONTESTANTS)
    """Which of them."""
    budgets: tuple[int, ...] = (120, 600)
    """Seconds of training."""
    clock: Literal["wall", "processor"] = "wall"
    """processor: seconds that the processor worked, for one core that other work shares."""
    seeds: tuple[int, ...] = (0, 1)
    """Of weights and batches."""


@dataclass(frozen=True)
class Peer:
    """Train the peer, in its own environment: called by this script."""

    data: Path
    """A JSON file of what to train on."""


def main(config: Runs | Peer) -> None:
    if isinstance(config, Peer):
        train_peer(json.loads(config.data.read_text()))
        return
    if unknown := set(config.contestants) - set(CONTESTANTS):
        raise UserError(f"--contestants {', '.join(unknown)}: {', '.join(CONTESTANTS)} are known")
    rows = read_rows(config.out)
    for name, budget, seed, contestant in product(config.sets, config.budgets, config.seeds, config.contestants):
        key = (name, contestant, str(budget), str(seed))
        if key in {tuple(row[k] for k in ("set", "contestant", "budget", "seed")) for row in rows}:
            continue
        if contestant == PEER and config.torch is None:
            print(f"note: {PEER} is left out; it needs --torch")
            continue
        rows.append(measure(config, *key))
        write_csv(config.out / "rows.csv", rows)
    print_table(config.out, rows)


def read_rows(out: Path) -> list[dict]:
    if not (out / "rows.csv").exists():
        return []
    with open(out / "rows.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def flags_of(config: Runs, name: str) -> list[str]:
    """The flags of train.py that open a data set, which is made where it is not there yet."""
    data = config.out / "data" / name
    if name == "golfscape":
        if not data.exists():
            from data_pipeline.importing.golfscape import write_scenes

            write_scenes(data)
        return ["--data", str(data), "--symmetry", "d4"]
    if config.camvid is None:
        raise UserError(f"{name} is a film of CamVid's; say with --camvid where that is")
    hold_out_films(config.camvid.resolve(), config.out)
    return ["--data", str(data), "--size", FILM_SIZE, "--void", "11"]


def measure(config: Runs, name: str, contestant: str, budget: str, seed: str) -> dict:
    """Train a contestant for its budget and score its masks; return its row."""
    cell = "-".join([name, contestant.replace(",", "").replace(" ", "_"), budget, seed])
    run, log = config.out / "runs" / cell, config.out / "logs" / f"{cell}.txt"
    flags = flags_of(config, name)
    if contestant == PEER:
        steps, seconds, masks = run_peer(config, name, flags, run, int(budget), int(seed), log)
    else:
        steps = steps_within(config, name, contestant, flags, int(budget), log)
        if not run.exists() or (run / "resume").exists():
            go_on = ["--resume", str(run)] if run.exists() else None
            train(config, contestant, go_on or [*flags, "--seed", seed, *length(steps)], run, log)
        if not (run / "evaluation/test").exists():
            call([str(ROOT / "evaluate.py"), str(run)], log)
        seconds, masks = history(run)[-1]["seconds"], run / "evaluation/test/predictions"
    truth = write_truth(config.out, name)
    scores = config.out / "scores" / cell
    if not scores.exists():
        call([str(ROOT / "evaluate.py"), "--predictions", str(masks), "--truth", str(truth), "--out", str(scores)], log)
    return {
        "set": name,
        "contestant": contestant,
        "budget": budget,
        "seed": seed,
        "cores": len(os.sched_getaffinity(0)),
        "clock": config.clock,
        "steps": steps,
        "seconds": round(float(seconds)),
        "miou": round(json.loads((scores / "metrics.json").read_text())["miou"], 4),
        "cell": cell,
    }


def length(steps: int) -> list[str]:
    """Flags for so many steps with VALIDATIONS validations, and no early stop."""
    return ["--steps", str(steps), "--steps-per-epoch", str(steps // VALIDATIONS), "--patience", "0"]


def steps_within(config: Runs, name: str, contestant: str, flags: list[str], budget: int, log: Path) -> int:
    """The number of steps that fit into a budget, by two short trainings; a multiple of VALIDATIONS."""
    rows = {}
    for between in (SHORT, LONG):
        run = config.out / "speed" / f"{name}-{contestant.replace(',', '').replace(' ', '_')}-{between}"
        if not (run / "history.csv").exists() or (run / "resume").exists():
            epochs = ["--steps", str(4 * between), "--steps-per-epoch", str(between), "--patience", "0"]
            train(config, contestant, ["--resume", str(run)] if run.exists() else [*flags, *epochs], run, log)
        rows[between] = [float(row["seconds"]) for row in history(run)]
    return steps_in(budget, rows[SHORT], rows[LONG], f"{contestant} on {name}")


def steps_in(budget: float, short: list[float], long: list[float], what: str) -> int:
    """The number of steps within a budget in seconds, VALIDATIONS validations and the first step's compiling included.

    Args:
        budget: in seconds.
        short, long: seconds since the start at each validation, with SHORT and LONG steps between two.
        what: is trained, for the error.

    Raises:
        UserError: if not even one step fits between two validations.
    """
    passed = [(seconds[-1] - seconds[0]) / (len(seconds) - 1) for seconds in (short, long)]
    step = (passed[1] - passed[0]) / (LONG - SHORT)
    validation = max(0.0, passed[0] - SHORT * step)
    compiling = short[0] - passed[0]
    each = int((budget - compiling - VALIDATIONS * validation) / (VALIDATIONS * step)) if step > 0 else 0
    if each < 1:
        raise UserError(f"{what}: {budget} s are too few, a step takes {step:.2f} s, a validation {validation:.1f} s")
    return VALIDATIONS * each


def train(config: Runs, contestant: str, flags: list[str], run: Path, log: Path) -> None:
    of_contestant, width = CONTESTANTS[contestant]
    new = [] if "--resume" in flags else [*of_contestant, "--runs-dir", str(run.parent), "--name", run.name]
    call(["-c", OF_WIDTH, str(width), config.clock, str(ROOT / "train.py"), *flags, *new], log)


def call(command: list[str], log: Path, python: str = sys.executable) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        done = subprocess.run([python, *command], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=file, stderr=file)
    if done.returncode:
        raise UserError(f"{command[-1]} failed; see {log}")


def history(run: Path) -> list[dict]:
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_truth(out: Path, name: str) -> Path:
    """A folder of the true masks of a set's test part, as class indices."""
    from data_pipeline.files import write_mask
    from data_pipeline.loader import read_pair_mask
    from data_pipeline.outputs import new_folder

    folder = out / "truth" / name
    if not folder.exists():
        dataset = opened(out / "data" / name, name)
        with new_folder(folder) as fresh:
            for pair in dataset.split.test:
                write_mask(fresh / f"{pair.stem}.png", read_pair_mask(pair, dataset.encoding), dataset.encoding.colors)
            classes = [{"name": n, "value": i} for i, n in enumerate(dataset.encoding.names)]
            write_json(fresh / "classes.json", {"classes": classes, "void": [255]})
    return folder


def opened(data: Path, name: str):
    """Open a data set as train.py does, with its split."""
    from data_pipeline.dataset import open_dataset
    from data_pipeline.source import Source

    return open_dataset(Source(data=data, void=() if name == "golfscape" else (11,)), seed=0)


def run_peer(config: Runs, name: str, flags: list[str], run: Path, budget: int, seed: int, log: Path):
    """Train the peer in its own environment; return its steps, its seconds, and the folder of its masks."""
    if not (run / "cost.json").exists():
        asked = {"data": flags[1], "name": name, "out": str(run), "budget": budget, "seed": seed}
        asked["clock"] = config.clock
        write_json(run.parent / f"{run.name}.json", asked)
        call(["-m", "benchmarks.peers", "peer", "--data", str(run.parent / f"{run.name}.json")], log, str(config.torch))
    cost = json.loads((run / "cost.json").read_text())
    return cost["steps"], cost["seconds"], run / "predictions"


def train_peer(asked: dict) -> None:
    """The peer: segmentation_models.pytorch's U-Net on a ResNet18 with random weights, until its time is over."""
    import math
    import time
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    import cv2
    import numpy as np
    import torch

    declare_vision_operators(torch)
    import segmentation_models_pytorch as smp

    from data_pipeline.augment import preset
    from data_pipeline.command import parse_size
    from data_pipeline.encoding import VOID
    from data_pipeline.files import write_mask
    from data_pipeline.loader import Loader, read_pair, resize_image
    from data_pipeline.samples import MaskSamples

    torch.manual_seed(asked["seed"])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    golfscape = asked["name"] == "golfscape"
    dataset = opened(Path(asked["data"]), asked["name"])
    size = None if golfscape else parse_size(FILM_SIZE)
    height, width = size or next(iter(dataset.sizes))
    classes = dataset.encoding.num_classes
    policy = preset("light", "d4" if golfscape else "horizontal", crop=(height, width))
    weigh = partial(np.full_like, fill_value=1)
    samples = MaskSamples(Loader(dataset.split.train, dataset.encoding, size), policy, weigh, asked["seed"])
    model = smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=classes)
    model = model.to(memory_format=torch.channels_last)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=VOID)
    entropy = torch.nn.CrossEntropyLoss(ignore_index=VOID)
    optimizer = torch.optim.Adam(model.parameters(), RATE)

    def padded(image):
        """A multiple of 32 pixels a side, by mirroring, as our networks are given theirs."""
        below, right = (-image.shape[0]) % 32, (-image.shape[1]) % 32
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)

    def tensor(images):
        stacked = np.stack([padded(image) for image in images]).astype(np.float32) / 255
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def batch(step):
        drawn = [samples(step * BATCH + i) for i in range(BATCH)]
        return tensor([image for image, _, _ in drawn]), torch.from_numpy(np.stack([mask for _, mask, _ in drawn]))

    def answer(image, shape):
        """Class indices at the mask's own resolution, from probabilities that are resized linearly."""
        seen = image if size is None else resize_image(image, size)
        with torch.inference_mode():
            logits = model(tensor([seen]))[0, :, : seen.shape[0], : seen.shape[1]]
        scores = torch.softmax(logits, 0).permute(1, 2, 0).numpy()
        if scores.shape[:2] != shape:
            scores = np.stack(
                [cv2.resize(np.ascontiguousarray(scores[..., c]), shape[::-1]) for c in range(classes)], -1
            )
        return scores.argmax(-1).astype(np.uint8)

    held_out = Loader(dataset.split.val, dataset.encoding, size)

    def validate():
        from engine.scoring.confusion import confusion_matrix, mean_iou

        model.eval()
        total = 0
        for index in range(len(held_out.pairs)):
            image, mask = held_out(index)
            with torch.inference_mode():
                logits = model(tensor([image]))[0, :, : mask.shape[0], : mask.shape[1]]
            total = total + confusion_matrix(mask, logits.argmax(0).numpy().astype(np.uint8), classes)
        model.train()
        return float(mean_iou(total))

    clock = time.process_time if asked["clock"] == "processor" else time.monotonic
    began, step, best, done = clock(), 0, -1.0, 0
    model.train()
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(batch, 0)
        while (passed := (clock() - began) / asked["budget"]) < 1:
            images, masks = ahead.result()
            ahead = pool.submit(batch, step + 1)
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 + math.cos(math.pi * passed)) / 2
            logits = model(images)[:, :, :height, :width]
            loss = entropy(logits, masks.long()) + dice(logits, masks.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if passed * VALIDATIONS >= done + 1 - 1e-9:
                done += 1
                if (score := validate()) > best:
                    best, kept = score, {name: value.clone() for name, value in model.state_dict().items()}
                print(f"step {step}  loss {loss.item():.3f}  val mIoU {score:.3f}", flush=True)
        if (score := validate()) > best:
            best, kept = score, {name: value.clone() for name, value in model.state_dict().items()}
        seconds = clock() - began
        ahead.cancel()
    model.load_state_dict(kept)
    model.eval()
    out = Path(asked["out"])
    for pair in dataset.split.test:
        image, mask = read_pair(pair, dataset.encoding)
        write_mask(out / "predictions" / f"{pair.stem}.png", answer(image, mask.shape), dataset.encoding.colors)
    write_json(out / "cost.json", {"steps": step, "seconds": seconds})


def declare_vision_operators(torch) -> None:
    """Declare torchvision's operators, which PyPI's build for GPUs lacks beside the CPU build of torch."""
    import re
    from importlib.util import find_spec

    source = Path(find_spec("torchvision").origin).with_name("_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "DEF")
    for name in set(re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', source)):
        library.define(f"{name}(Tensor x) -> Tensor")
    declare_vision_operators.kept = library  # it ends with the object


def print_table(out: Path, rows: list[dict]) -> None:
    """Markdown: each contestant beside the first one of its set, budget and seed, paired on the test images."""
    from engine.scoring.confusion import mean_iou
    from engine.scoring.evaluation import Evaluation
    from engine.scoring.intervals import difference
    from engine.scoring.verdict import signed

    def confusions(cell):
        return Evaluation.load(out / "scores" / cell).counts["confusion"]

    forests = {}
    print("| set | seconds asked | seed | contestant | cores | clock | steps | seconds | mIoU | less the first, 95% |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for key in dict.fromkeys((row["set"], row["budget"], row["seed"]) for row in rows):
        members = [row for row in rows if (row["set"], row["budget"], row["seed"]) == key]
        first = confusions(members[0]["cell"])
        for row in members:
            shown = ""
            if row is not members[0]:
                gain = difference(first, confusions(row["cell"]), mean_iou)
                film = row["set"] != "golfscape"  # its frames depend on each other: an interval would be too narrow
                ends = "" if film or gain.low is None else f" ({signed(gain.low)} to {signed(gain.high)})"
                shown = f"{signed(gain.value)}{ends}"
            numbers = " | ".join(
                str(row[k]) for k in ("set", "budget", "seed", "contestant", "cores", "clock", "steps")
            )
            print(f"| {numbers} | {row['seconds']} | {float(row['miou']):.3f} | {shown} |")
            test = out / "runs" / row["cell"] / "evaluation/test"
            if row["set"] not in forests and test.exists():
                forests[row["set"]] = mean_iou(Evaluation.load(test).beside["baselines"]["pixel_forest"].sum(0))
    for name, score in forests.items():
        print(f"| {name} |  |  | {FOREST} |  |  |  |  | {score:.3f} |  |")


if __name__ == "__main__":
    run_command(main, Runs | Peer, __doc__)
