"""Images per second from threads and from processes, in one run: ``python -m benchmarks.batches``.

Golfscape's 200 scenes at 256×256, decoded in memory; batches of 16; the contestants in turn in each of five rounds.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from data_pipeline.augment import preset
from data_pipeline.batches import training_batches
from data_pipeline.dataset import open_dataset
from data_pipeline.importing import golfscape
from data_pipeline.loader import Loader
from data_pipeline.source import Source
from data_pipeline.weights import pixel_weights
from engine.run import cores, processor

ROUNDS, SECONDS, BATCH = 5, 6.0, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="0: threads")
    parser.add_argument("--presets", nargs="+", default=["light", "standard"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        golfscape.write_scenes(Path(folder) / "golfscape")
        dataset = open_dataset(Source(data=Path(folder) / "golfscape"), seed=0)
        print(f"{processor()}; batches of {BATCH} from 256×256, median of {ROUNDS} rounds of {SECONDS:.0f} s\n")
        print(
            "| preset | "
            + " | ".join(f"{w} workers" if w else "threads" for w in asked.workers)
            + " | most / fewest workers |"
        )
        print("|---|" + "---|" * (len(asked.workers) + 1))
        for name in asked.presets:
            rates = measure(dataset, name, asked.workers)
            some = [w for w in asked.workers if w]
            ratio = statistics.median(a / b for a, b in zip(rates[max(some)], rates[min(some)], strict=True))
            cells = [
                f"{statistics.median(rates[w]):.0f} ({min(rates[w]):.0f} … {max(rates[w]):.0f})" for w in asked.workers
            ]
            print(f"| {name} | {' | '.join(cells)} | {ratio:.2f} |", flush=True)
        print(f"\n{cores()} cores. Images per second: median (least … most) of the rounds.")


def measure(dataset, name: str, workers: list[int]) -> dict[int, list[float]]:
    """Images per second of each number of workers in each round."""
    streams = {}
    for number in workers:
        loader = Loader(dataset.split.train, dataset.encoding, (256, 256))
        weigh = partial(pixel_weights, class_weights=np.ones(len(dataset.names), np.float32), border=False)
        policy = preset(name, "d4", (256, 256))
        streams[number] = iter(training_batches(loader, policy, weigh, seed=0, batch_size=BATCH, workers=number))
        for _ in range(len(loader.pairs) // BATCH + 1):  # everything decoded
            next(streams[number])
    rates = {number: [] for number in workers}
    for _ in range(ROUNDS):
        for number, stream in streams.items():
            time.sleep(1)  # let what was made ahead fill up, then draw it: it does not count
            for _ in range(8):
                next(stream)
            begin, drawn = time.perf_counter(), 0
            while time.perf_counter() - begin < SECONDS:
                next(stream)
                drawn += BATCH
            rates[number].append(drawn / (time.perf_counter() - begin))
    return rates


if __name__ == "__main__":
    main()
