"""Cells: each a pure function of its spec, kept under the spec's SHA-256. What exists and can be read is done.

A cell is written to a temporary name, flushed and renamed, so that a worker may be killed at any time, and two that do
the same work write the same file.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from data_pipeline.files import write_json

from .scenes import Knobs

CODE = 1  # raised whenever the same spec may give other numbers
TRAIN, TEST = 0, 1  # parts of a world
BATCH = 8


@dataclass(frozen=True)
class Spec:
    """One training and its scores.

    count: training images, so many of each class as of another; 0: fresh ones for every step, the ideal world.
    pixels: labelled in each mask; None: all.
    tests: images of the test set.
    """

    arm: str
    seed: int
    count: int
    steps: int
    rate: float
    knobs: Knobs
    width: int = 8
    balanced: bool = False
    pixels: int | None = None
    tests: int = 1000

    @property
    def id(self) -> str:
        text = json.dumps({"code": CODE, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def path_of(folder: Path, spec: Spec) -> Path:
    return Path(folder) / "cells" / f"{spec.id}.json"


def result_of(folder: Path, spec: Spec) -> dict | None:
    """What a cell found; None where it is missing or damaged."""
    try:
        found = json.loads(path_of(folder, spec).read_text(encoding="utf-8"))
        return found["result"] if found["spec"] == json.loads(json.dumps(asdict(spec))) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compute(spec: Spec) -> dict:
    """Draw the world's images, train, and score on backgrounds as in training, independent and conflicting.

    Returns:
        tests: "independent", and where rho is not 0 also "matched" and "conflicting" → accuracy and miou;
        background: the share of it in the test set's pixels; loss; parameters.
    """
    from .arms import few_pixels, score_on, trained  # imports TensorFlow

    train = draw(spec, TRAIN, spec.count or spec.steps * BATCH, spec.knobs.rho)
    if spec.pixels is not None:
        train = train._replace(masks=few_pixels(train.masks, spec.pixels, spec.seed))
    model, facts = trained(
        spec.arm,
        train,
        steps=spec.steps,
        rate=spec.rate,
        seed=spec.seed,
        width=spec.width,
        balanced=spec.balanced,
        batch=BATCH,
    )
    rhos = {"independent": 0.0}
    if spec.knobs.rho:
        rhos |= {"matched": spec.knobs.rho, "conflicting": -1 / (spec.knobs.num_classes - 1)}
    sets = {name: draw(spec, TEST, spec.tests, rho) for name, rho in rhos.items()}
    background = float((sets["independent"].masks == 0).mean())
    scores = {name: score_on(spec.arm, model, test) for name, test in sets.items()}
    return {"tests": scores, "background": background} | facts


def draw(spec: Spec, part: int, count: int, rho: float):
    """The first images of a part of the seed's world, their classes in turn: smaller sets lie inside larger ones."""
    import numpy as np

    from .arms import Images
    from .scenes import scene

    knobs = replace(spec.knobs, rho=rho)
    drawn = [scene(spec.seed, part, i, knobs, label=i % knobs.num_classes) for i in range(count)]
    return Images(*(np.array([getattr(one, name) for one in drawn]) for name in ("image", "mask", "label")))


def keep(folder: Path, spec: Spec, work: Callable[[Spec], dict]) -> None:
    """Do a cell's work and write it."""
    path = path_of(folder, spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"spec": asdict(spec), "code": CODE, "result": work(spec)})


def of_shard(specs: Iterable[Spec], shard: tuple[int, int]) -> list[Spec]:
    """The cells of shard I of N, 1…N: whole seeds, so that what is paired was computed on one machine."""
    number, shards = shard
    return [spec for spec in specs if spec.seed % shards == number - 1]


def run_cells(folder: Path, specs: Iterable[Spec], jobs: int = 1, work: Callable[[Spec], dict] = compute) -> int:
    """Do what is missing, seed by seed; how many that were.

    Args:
        folder: of the study.
        specs: the cells; one that is named twice is done once.
        jobs: processes, one thread each.
        work: a cell's spec → its result, what JSON can hold.
    """
    missing = [spec for spec in dict.fromkeys(specs) if result_of(folder, spec) is None]
    missing.sort(key=lambda spec: spec.seed)
    bar = {"total": len(missing), "unit": "cell", "desc": "study", "disable": None}
    if jobs == 1:
        for spec in tqdm(missing, **bar):
            keep(folder, spec, work)
        return len(missing)
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=one_thread) as pool:
        running = [pool.submit(keep, folder, spec, work) for spec in missing]
        try:
            for done in tqdm(as_completed(running), **bar):
                done.result()
        except BaseException:  # Ctrl-C too: what has not begun is left for the next time
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(missing)


def one_thread() -> None:
    """Before TensorFlow is imported: as many processes as cores share them best."""
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
