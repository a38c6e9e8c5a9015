"""Cells: each a pure function of its spec, kept under the spec's SHA-256. What exists and can be read is done.

A cell is written to a temporary name, flushed and renamed, so that a worker may be killed at any time, and two that do
the same work write the same file.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.files import write_atomically, write_json
from engine.spreading import THREADS, Machines, spread

from .own import Own, part_of
from .photographs import Photographs
from .scenes import Images, Knobs, place_elsewhere, scene

CODE = 2  # raised whenever the same spec may give other numbers
TRAIN, TEST = 0, 1  # parts of a world
BATCH = 8
ONE_THREAD = dict.fromkeys(THREADS, "1")
LATER = {  # fields that are younger than kept cells: with these values they are in no id
    "elsewhere": False,
    "on_target": None,
    "off_target": None,
    "weights": "",
    "decision": "",
    "symmetry": "d4",
    "one_out": False,
}


@dataclass(frozen=True)
class Spec:
    """One training and its scores.

    knobs: of the scenes, or a user's own images, or photographs.
    count: training images, so many of each class as of another; 0: fresh ones for every step, the ideal world, or all
        that there are of a user's own. Of photographs: frames.
    pixels: labelled in each mask; None: all.
    on_key: of S, whether its masks are on the marker that holds the class, in place of the target.
    start: the training whose contracting path this one begins with; None: drawn weights.
    frozen: whether that path keeps its weights.
    tests: images of the test set.
    elsewhere: of S, whether its masks are a disc of the marker's size at a random place, in place of the target.
    on_target, off_target: labelled pixels of the image's class, and of all else; None: all of both.
    weights: SHA-256 of a pretrained encoder's file, which ``keep_weights`` has put into the folder.
    decision: of photographs, what labels tell of a tile: "centre" or "presence"; "": masks do, of its pixels.
    """

    arm: str
    seed: int
    count: int
    steps: int
    rate: float
    knobs: Knobs | Own | Photographs
    width: int = 8
    balanced: bool = False
    pixels: int | None = None
    on_key: bool = False
    start: "Spec | None" = None
    frozen: bool = False
    tests: int = 1000
    elsewhere: bool = False
    on_target: int | None = None
    off_target: int | None = None
    weights: str = ""
    decision: str = ""

    @property
    def id(self) -> str:
        text = json.dumps({"code": CODE, **self.told()}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def told(self) -> dict:
        """As JSON holds it, without younger fields that say nothing."""
        return told(self)


def told(record) -> dict:
    """A dataclass and those in it as dictionaries, without younger fields that say nothing (LATER)."""
    fields = {field: getattr(record, field) for field in record.__dataclass_fields__}
    return {
        name: told(value) if is_dataclass(value) else value
        for name, value in fields.items()
        if name not in LATER or value != LATER[name]
    }


def path_of(folder: Path, spec: Spec) -> Path:
    return Path(folder) / "cells" / f"{spec.id}.json"


def result_of(folder: Path, spec: Spec) -> dict | None:
    """Read a cell's result; None where it is missing or damaged."""
    try:
        found = json.loads(path_of(folder, spec).read_text(encoding="utf-8"))
        return found["result"] if found["spec"] == json.loads(json.dumps(spec.told())) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compute(spec: Spec, folder: Path) -> dict:
    """Draw the world's images, train, and score on backgrounds as in training, independent and conflicting.

    Returns:
        tests: "independent", and where rho is not 0 also "matched" and "conflicting" → accuracy and miou;
        background: the share of it in the test set's pixels; loss; parameters. Of photographs see ``tiles.compute``.
    """
    if isinstance(spec.knobs, Photographs):
        from . import tiles

        return tiles.compute(spec, folder)
    from .arms import score_on  # imports TensorFlow

    model, facts = train(spec, folder)
    rhos = {"independent": 0.0}
    if spec.knobs.rho:
        rhos |= {"matched": spec.knobs.rho, "conflicting": -1 / (spec.knobs.num_classes - 1)}
    sets = {name: draw(spec, TEST, spec.tests, rho, folder) for name, rho in rhos.items()}
    background = float((sets["independent"].masks == 0).mean())
    scores = {name: score_on(spec.arm, model, test) for name, test in sets.items()}
    return {"tests": scores, "background": background} | facts


def train(spec: Spec, folder: Path):
    """The cell's network and its facts."""
    if isinstance(spec.knobs, Photographs):
        from . import tiles

        return tiles.train(spec, folder)
    from .arms import clicks, few_pixels, trained

    every = spec.knobs.pool if isinstance(spec.knobs, Own) else spec.steps * BATCH
    images = draw(spec, TRAIN, spec.count or every, spec.knobs.rho, folder)
    if spec.pixels is not None:
        images = images._replace(masks=few_pixels(images.masks, spec.pixels, spec.seed))
    if spec.on_target is not None:
        images = images._replace(masks=clicks(images, spec.on_target, spec.off_target, spec.seed))
    return trained(
        spec.arm,
        images,
        steps=spec.steps,
        rate=spec.rate,
        seed=spec.seed,
        width=spec.width,
        balanced=spec.balanced,
        encoder=encoder_of(spec.start, folder) if spec.start else None,
        frozen=spec.frozen,
        batch=BATCH,
        symmetry=spec.knobs.symmetry if isinstance(spec.knobs, Own) else "d4",
        weights=str(weights_of(folder, spec.weights)) if spec.weights else None,
    )


def weights_of(folder: Path, fingerprint: str) -> Path:
    return Path(folder) / f"encoder-{fingerprint[:16]}.weights.h5"


def keep_weights(path: Path, folder: Path) -> str:
    """Copy a pretrained encoder's file into the study's folder, so that its cells can be trained anywhere; its SHA-256.

    Raises:
        UserError: where it cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"--weights {path} cannot be read ({error.strerror})") from None
    fingerprint = hashlib.sha256(content).hexdigest()
    if not weights_of(folder, fingerprint).exists():
        with write_atomically(weights_of(folder, fingerprint)) as temporary:
            temporary.write_bytes(content)
    return fingerprint


def encoder_of(parent: Spec, folder: Path) -> list[list[np.ndarray]]:
    """The weights of a training's contracting path, by layer; trained and kept where they are missing or damaged."""
    from .arms import encoder_weights

    path = Path(folder) / "encoders" / f"{parent.id}.npz"
    try:
        with np.load(path) as kept:
            flat = {name: kept[name] for name in kept.files}
    except (OSError, ValueError, BadZipFile):
        layers = encoder_weights(train(parent, folder)[0])
        flat = {f"{layer}/{place}": w for layer, each in enumerate(layers) for place, w in enumerate(each)}
        with write_atomically(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **flat)
    layers = 1 + max(int(name.split("/")[0]) for name in flat)
    return [[flat[name] for name in flat if name.startswith(f"{layer}/")] for layer in range(layers)]


def draw(spec: Spec, part: int, count: int, rho: float, folder: Path = Path()):
    """The first images of a part of the seed's world, their classes in turn: smaller sets lie inside larger ones.

    Of a user's own images, the test set is all of the seed's.
    """
    if isinstance(spec.knobs, Own):
        return Images(*part_of(folder, spec.knobs, spec.seed, part == TEST, count))
    images, masks, keys, labels = drawn(spec.seed, part, count, replace(spec.knobs, rho=rho))
    if spec.elsewhere:
        masks = np.array([place_elsewhere(key, spec.seed, part, i) for i, key in enumerate(keys)])
    return Images(images, keys if spec.on_key else masks, labels)


@lru_cache(maxsize=5)
def drawn(seed: int, part: int, count: int, knobs: Knobs) -> tuple[np.ndarray, ...]:
    """Draw each scene: image, mask, key and label."""
    scenes = [scene(seed, part, i, knobs, label=i % knobs.num_classes) for i in range(count)]
    return tuple(np.array([getattr(one, name) for one in scenes]) for name in ("image", "mask", "key", "label"))


def keep(folder: Path, work: Callable[[Spec, Path], dict], spec: Spec) -> None:
    """Do a cell's work and write it."""
    write_json(path_of(folder, spec), {"spec": spec.told(), "code": CODE, "result": work(spec, folder)})


def run_cells(folder: Path, specs: Iterable[Spec], jobs: int = 1, work: Callable = compute, cluster: str = "") -> int:
    """Do what is missing, seed by seed; how many that were.

    Args:
        folder: of the study.
        specs: the cells; one that is named twice is done once.
        jobs, cluster: the processes, one thread each: of this machine, or of a cluster (``Machines``).
        work: a cell's spec and the folder → its result, what JSON can hold.
    """
    folder = Path(folder).resolve()

    def is_done(spec: Spec) -> bool:
        return result_of(folder, spec) is not None

    missing = sorted((spec for spec in dict.fromkeys(specs) if not is_done(spec)), key=lambda spec: spec.seed)
    with progress(missing) as done:
        return spread(
            partial(keep, folder, work), missing, is_done, Machines(jobs, cluster), folder, ONE_THREAD, told=done
        )


@contextmanager
def progress(specs: list[Spec]) -> Iterator[Callable[[Spec], None]]:
    """A bar that goes on with the work done, not with the number of cells; in a file, a line now and then."""
    watched = sys.stderr.isatty()
    with tqdm(
        total=round(sum(map(cost, specs))),
        desc="study",
        smoothing=0.02,  # nearly the mean: cells differ, and the first compile
        mininterval=0.5 if watched else 60,
        bar_format=f"{{desc}}: {{percentage:3.0f}}% of {len(specs)} cells, {{elapsed}} gone, {{remaining}} left"
        + ("" if watched else "\n"),
        disable=not specs,
    ) as bar:
        yield lambda spec: bar.update(cost(spec))


def cost(spec: Spec) -> float:
    """Estimate a cell's cost, in steps of U-Net with width 8 at 48 × 48 pixels: measured on a CPU, roughly."""
    arm = {"E": 0.5, "S pretrained": 6.0, "E pretrained": 3.0}.get(spec.arm, 1.0)
    step = (spec.width / 8) ** 1.5 * (spec.knobs.size / 48) ** 2 * arm
    drawn = 0.05 * spec.tests * (3 if spec.knobs.rho else 1) + (0.5 * spec.steps if spec.count == 0 else 0)
    return spec.steps * step + drawn * (spec.knobs.size / 48) ** 2


def seconds_of(specs: Iterable[Spec], folder: Path) -> float:
    """Estimate how long one process takes over these cells, from ten steps of a training like the first of them.

    They become more until they take as long as all else in a training, since a busy machine adds time to either; the
    best of three tries, since it only ever adds.
    """
    specs = list(specs)
    if not specs:
        return 0.0
    first = replace(specs[0], start=None, frozen=False)  # no parent has to be trained for it
    few = replace(first, steps=1, tests=first.knobs.num_classes)
    train(few, folder)  # compiles
    rest, steps = quickest(few, folder), 10
    while (took := quickest(replace(few, steps=1 + steps), folder)) < 2 * rest:
        steps *= 2
    return sum(map(cost, specs)) * (took - rest) / (cost(replace(few, steps=1 + steps)) - cost(few))


def quickest(spec: Spec, folder: Path, tries: int = 3) -> float:
    """Seconds of a training, the best of some."""
    times = []
    for _ in range(tries):
        started = time.perf_counter()
        train(spec, folder)
        times.append(time.perf_counter() - started)
    return min(times)


def one_thread() -> None:
    """Before TensorFlow is imported: as many processes as cores share them best."""
    os.environ.update(ONE_THREAD)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # several processes share one GPU's memory
