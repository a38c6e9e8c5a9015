"""Training steps on a GPU: ours, plain Keras and PyTorch, each in a process of its own, in one run.

    pip install -r requirements-gpu.txt torch                      # torch may be the machine's own
    python -m benchmarks.gpu                                       # 9 minutes at most; the most important rows first
    python -m benchmarks.gpu --minutes 3 --networks unet

Markdown goes to stdout as it is measured. A step is timed in three blocks of steps, with one wait at the end of each,
as training runs; the median of the blocks. "First step after" counts from the end of the imports: building, tracing
and compiling. PyTorch is channels last, with cuDNN's benchmark mode and fused Adam. Operations and casts are those of
the traced step, the optimizer's included. What takes longer than its share of the time is stopped, and says so. Without
a GPU the same rows run small, which shows that the program runs.
"""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from data_pipeline.command import run_command
from data_pipeline.cuda import has_driver, open_cuda

BLOCKS, STEPS = 3, 10
LONGEST = 100  # seconds of one contestant, imports and all


@dataclass(frozen=True)
class Row:
    """Batch × size × size of a network's step."""

    network: str
    batch: int
    size: int
    precision: str


ROWS = [
    Row("unet", 16, 256, "float32"),
    Row("unet", 16, 256, "float16"),
    Row("fc_densenet56", 8, 256, "float32"),
    Row("fc_densenet56", 8, 256, "float16"),
    Row("unet", 64, 256, "float16"),
    Row("fc_densenet103", 3, 224, "float32"),
    Row("unet", 8, 512, "float16"),
    Row("unet", 8, 512, "float32"),
]
# The most wanted first: ours as most runs have it, the one to beat, then what else there is.
CONTESTANTS = [
    "ours, no XLA",
    "PyTorch",
    "ours, XLA",
    "plain Keras, no XLA",
    "no normalisation, no XLA",
    "torch.compile",
]


@dataclass(frozen=True)
class Config:
    minutes: float = 9
    """Nothing is begun after so many."""
    networks: tuple[str, ...] = ("unet", "fc_densenet56", "fc_densenet103")
    """Those to be timed."""
    one: str | None = None
    """A row and a contestant as JSON: timed here, in this process, as the program calls itself."""


def main(config: Config) -> None:
    if config.one:
        row, contestant = json.loads(config.one)
        print(json.dumps(timed(Row(**row), contestant)))
        return
    end = time.monotonic() + 60 * config.minutes
    print(f"{card()}; {BLOCKS} blocks of {STEPS} steps\n")
    for row in ROWS:
        if row.network in config.networks:
            table(row if has_driver() else replace(row, batch=2, size=64), end)


def card() -> str:
    """Name the GPU and its driver, as nvidia-smi does."""
    if not has_driver():
        return "no GPU: small steps on the processor"
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def table(row: Row, end: float) -> None:
    """Print the times of one row's contestants, and of PyTorch's step as the ratio's base once it is known."""
    print(f"\n{row.network}, {row.batch} × {row.size}², {row.precision}\n")
    print("| | ms per step | times PyTorch's | first step after, s | peak MiB | operations | casts |")
    print("|---|---|---|---|---|---|---|", flush=True)
    base, waiting = None, []
    for contestant in CONTESTANTS:
        if time.monotonic() > end:
            break
        measured = in_own_process(row, contestant)
        base = measured["ms"] if contestant == "PyTorch" and "ms" in measured else base
        waiting.append((contestant, measured))
        if base is not None or contestant != CONTESTANTS[0]:  # the first waits for PyTorch's
            for name, one in waiting:
                print_row(name, one, base)
            waiting = []


def print_row(contestant: str, measured: dict, base: float | None) -> None:
    if "why" in measured:
        print(f"| {contestant} | {measured['why']} | | | | | |", flush=True)
        return
    ratio = f"{measured['ms'] / base:.2f}" if base else "–"
    counts = " | ".join(str(measured.get(what, "–")) for what in ("operations", "casts"))
    cells = f"{measured['ms']:.1f} | {ratio} | {measured['first']:.1f} | {measured['mib']:,} | {counts}"
    print(f"| {contestant} | {cells} |", flush=True)


def in_own_process(row: Row, contestant: str) -> dict:
    """What ``timed`` gives, or under "why" why there is nothing."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--one", json.dumps([asdict(row), contestant])]
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, cwd=root)
    except subprocess.TimeoutExpired:
        return {"why": f"not ended after {LONGEST} s"}
    if done.returncode:
        return {"why": (done.stderr.strip().splitlines() or ["stopped without a word"])[-1][:120]}
    return json.loads(done.stdout.splitlines()[-1])


def timed(row: Row, contestant: str) -> dict:
    """Milliseconds of a step, seconds to the first, MiB at most; of TensorFlow's steps what the graph holds."""
    open_cuda()
    from benchmarks import training_step

    training_step.SHAPES[row.network] = (row.batch, row.size, row.size)
    training_step.CLASSES = 11
    options = {
        "ours, no XLA": {"xla": False},
        "ours, XLA": {"xla": True},
        "plain Keras, no XLA": {"xla": False, "instead": training_step.PLAIN},
        "no normalisation, no XLA": {"xla": False, "instead": training_step.BARE},
        "PyTorch": {"compiled": False},
        "torch.compile": {"compiled": True},
    }[contestant]
    of_torch = "compiled" in options
    started = time.perf_counter()
    step = (training_step.torch_step if of_torch else training_step.keras_step)(row.network, row.precision, **options)
    float(step())
    first = time.perf_counter() - started
    float(step())
    blocks = []
    for _ in range(BLOCKS):
        started = time.perf_counter()
        for _ in range(STEPS):
            loss = step()
        float(loss)
        blocks.append((time.perf_counter() - started) / STEPS * 1000)
    counts = {} if of_torch else training_step.graph_size(step)
    return {"ms": statistics.median(blocks), "first": first, "mib": training_step.most_memory()} | counts


if __name__ == "__main__":
    run_command(main, Config, __doc__)
