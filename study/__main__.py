"""An experiment on drawn scenes, or on your own folder: why are a few hundred masks enough?

    python -m study run --preset smoke --out DIR              # minutes, to see it work: not inferential
    python -m study plan --preset small --out DIR             # what would be trained, and how long that takes
    python -m study run --preset small --out DIR --jobs 2     # the study; resumable at any time
    python -m study run --preset full --out DIR --cluster dask://HOST:8786   # by many machines: docs/scale.md
    python -m study report --out DIR                          # its page, figures and study.json once more
    python -m study pilot --out DIR --jobs 2                  # learning rates, and whether the world is fit
    python -m study run --preset small --data FOLDER --out DIR   # is it worth drawing masks of your own images?

What was trained is kept in DIR and not trained again.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from data_pipeline.command import UserError, run_command
from data_pipeline.flags import Usage
from data_pipeline.source import Source

Name = Literal["smoke", "small", "medium", "full", "pointing", "difficulty", "photographs"]
PHOTOGRAPHS = "photographs"


@dataclass(frozen=True, kw_only=True)
class Images(Source):
    """Your own images and masks, in place of drawn scenes."""

    out: Path
    """The study's folder."""
    data: Path | None = None
    """Folder with your own images and masks, or a CSV (image,mask[,split][,group]). Without it: drawn scenes."""
    symmetry: Literal["none", "horizontal", "d4"] = "horizontal"
    """Of your own images, how they are varied in training: none; mirrored left-right; d4: flips and quarter turns."""
    weights: Path | None = None
    """Of an encoder, MobileNetV2 without its top (.weights.h5): your own images are then learnt from it, too."""
    size: int = 64
    """Pixels of a side that they are shrunk to, of photographs a tile's; a multiple of 16, with --weights of 32."""
    jobs: int = 1
    """Processes, one thread each."""


@dataclass(frozen=True, kw_only=True)
class Pilot(Images):
    """Tune each arm on seeds of their own, and see whether the world is fit for the study."""

    cluster: str = ""
    """A cluster that does the work: dask://HOST:PORT, or ray:auto. All machines share the folder --out, see
    docs/scale.md."""
    preset: Literal["small", "full", "pointing", "difficulty", "photographs"] = "small"
    """Whose world: medium's is small's."""


@dataclass(frozen=True, kw_only=True)
class Plan(Images):
    """Write the plan, and say what it would take."""

    preset: Name = "smoke"
    """smoke: one seed, minutes; small: H6, H2 and H4, an hour; medium: all, some hours; full: larger, for a GPU;
    pointing, difficulty: see contrasts.py. With --data: smoke, small or medium; or photographs: frames of films, named
    by --group-by, cut into tiles, a film left out (tiles.py)."""
    hypothesis: str = ""
    """Only these, such as H2,H4; all of the preset's if empty."""
    seeds: str = ""
    """Others than the preset's, such as 12-23, in a folder of their own: a replication."""


@dataclass(frozen=True, kw_only=True)
class Run(Plan):
    """Train what is missing, and report."""

    cluster: str = ""
    """A cluster that does the work: dask://HOST:PORT, or ray:auto. All machines share the folder --out, see
    docs/scale.md."""


@dataclass(frozen=True)
class Report:
    """Write the page, the figures and study.json from the cells that are there."""

    out: Path
    """The study's folder."""


def main(config: Pilot | Plan | Run | Report) -> None:
    from engine.spreading import Machines

    from .cells import one_thread

    Machines(getattr(config, "jobs", 1), getattr(config, "cluster", ""))  # a mistake is told before the work
    multiple = 32 if getattr(config, "weights", None) else 16
    if getattr(config, "size", 32) < multiple or getattr(config, "size", 32) % multiple:
        raise UserError(
            f"--size {config.size}: a multiple of {multiple} is wanted, since the networks halve it so often"
        )
    if getattr(config, "preset", "") == PHOTOGRAPHS and not config.data:
        raise UserError("--preset photographs: name the folder of frames and masks with --data, films with --group-by")
    if getattr(config, "preset", "") == PHOTOGRAPHS and config.weights:
        raise UserError("--weights: of --preset photographs nothing begins with a file; leave it out")
    if getattr(config, "weights", None) and not config.data:
        raise UserError("--weights: of drawn scenes nothing begins with a file; name your own images with --data")
    one_thread()
    {Pilot: tune, Plan: tell, Run: run, Report: report}[type(config)](config)


def tune(config: Pilot) -> None:
    from .pilot import SEEDS, run_grid, run_pilot
    from .plan import PRESETS, with_own, write_grid_plan, write_pilot

    preset = PRESETS[f"{config.preset} own" if config.data and config.preset != PHOTOGRAPHS else config.preset]
    if config.preset == PHOTOGRAPHS:
        base, seeds = replace(preset.base, knobs=read_photographs(config).photographs), SEEDS[-1:]
        write_grid_plan(config.out, base, preset.cells, seeds)
        pilot = run_grid(config.out, base, preset.cells, config.jobs, seeds, cluster=config.cluster)
    elif config.data:
        reading = read_own(config, SEEDS)
        base = replace(with_own(preset.base, reading.own), weights=weights_of(config))
        seeds = (0, 1) if reading.own.one_out else SEEDS
        pilot = run_grid(config.out, base, preset.cells, config.jobs, seeds, cluster=config.cluster)
    elif preset.grid:
        write_grid_plan(config.out, preset.base, preset.grid, SEEDS)
        pilot = run_grid(config.out, preset.base, preset.grid, config.jobs, cluster=config.cluster)
    else:
        pilot = run_pilot(config.out, preset.base, config.jobs, cluster=config.cluster)
    for name, scores in pilot.scores.items():
        print(f"{name:<20} {'  '.join(f'{score:.3f}' for score in scores)}")
    write_pilot(config.out, pilot)
    ranges = ", ".join(f"{arm} {value:.2f}" for arm, value in pilot.ranges.items())
    said = "fit for the study" if pilot.fit else "NOT fit for the study: more steps or another world"
    print(f"above chance with fresh images: {ranges}; {said}. In {config.out / 'pilot.json'}")


def tell(config: Plan) -> None:
    from .cells import result_of, seconds_of

    plan = plan_of(config)
    cells = [spec for each in plan.cells().values() for spec in each.values()]
    missing = [spec for spec in dict.fromkeys(cells) if result_of(config.out, spec) is None]
    for one in plan.hypotheses:
        print(f"{one.name:<4} {one.claim}")
    print(
        f"plan {plan.hash[:12]}: {len(plan.seeds)} seeds, {len(cells)} cells, {len(missing)} of them missing",
        flush=True,
    )
    if missing:
        print("trying how long a training takes ...", flush=True)
    minutes = seconds_of(missing, config.out) / config.jobs / 60
    print(f"about {minutes:.0f} minutes with --jobs {config.jobs}. Next: python -m study run with the same flags")


def run(config: Run) -> None:
    from engine.spreading import Machines, processes

    from .cells import run_cells
    from .report import sitting

    plan = plan_of(config)
    cells = [spec for each in plan.cells().values() for spec in each.values()]
    with sitting(config.out, processes(Machines(config.jobs, config.cluster)), cells):
        run_cells(config.out, cells, config.jobs, cluster=config.cluster)
    report(Report(config.out))


def report(config: Report) -> None:
    from .report import write_report

    for line in write_report(config.out):
        print(line)


def plan_of(config: Plan | Run):
    from .plan import PRESETS, make_plan

    own = config.data and config.preset != PHOTOGRAPHS
    preset = PRESETS.get(f"{config.preset} own" if own else config.preset, PRESETS["small own"])
    seeds = parse_seeds(config.seeds) if config.seeds else preset.usual_seeds
    if not config.data:
        return make_plan(config.out, config.preset, names_of(config.hypothesis), seeds=seeds)
    if config.preset == PHOTOGRAPHS:
        reading = read_photographs(config)
        return make_plan(config.out, config.preset, names_of(config.hypothesis), reading.photographs, seeds)
    reading = read_own(config, seeds)
    chosen = () if reading.own.one_out else seeds
    plan = make_plan(config.out, config.preset, names_of(config.hypothesis), reading.own, chosen, weights_of(config))
    for line in describe(reading, plan):
        print(line, flush=True)
    return plan


def read_own(config: Images, seeds: tuple[int, ...]):
    """The user's images, read and kept in the study's folder."""
    from .own import prepare

    print(f"reading {config.data} ...", flush=True)
    return prepare(config, config.out, config.size, seeds, config.symmetry)


def read_photographs(config: Images):
    """The user's frames, read and kept in the study's folder."""
    from .photographs import prepare

    print(f"reading {config.data} ...", flush=True)
    reading = prepare(config, config.out, config.size, config.symmetry)
    print(f"films: {', '.join(f'{name} {frames}' for name, frames in reading.films.items())}, left out by turns")
    print(f"asked of tiles: {', '.join(reading.classes)}; void: {', '.join(reading.left_out) or 'none'}", flush=True)
    return reading


def weights_of(config: Images) -> str:
    """The fingerprint of a pretrained encoder's weights, which are kept in the study's folder; "" without."""
    from .cells import keep_weights

    return keep_weights(config.weights, config.out) if config.weights else ""


def describe(reading, plan) -> list[str]:
    """Describe for the terminal how the study reads a user's images."""
    own, settings = reading.own, plan.settings
    kinds = ", ".join(f"{name} {count}" for name, count in reading.classes.items())
    lines = [
        f"label of an image: the class with most pixels of its mask, {reading.background} being background: {kinds}",
        f"groups: {own.groups}, the images of one always on one side",
        f"training images: {own.pool} at most, as many of each class; N* = {settings.count}, and "
        f"{', '.join(map(str, settings.counts))}; varied by: {own.symmetry}",
    ]
    if own.one_out:
        names = ", ".join(f"{name} ({count})" for name, count in reading.groups.items())
        lines[1] += f": {names}. Too few for an interval; each is tested once, by what the others taught"
    left = {name: count for name, count in reading.left_out.items() if count}
    if left or reading.unlabelled:
        told = [f"{name} {count}" for name, count in left.items()]
        told += [f"{reading.unlabelled} with background alone"] * bool(reading.unlabelled)
        lines.insert(1, f"left out, images and the pixels of these classes (void): {', '.join(told)}")
    arms = "labels, 1 click, 16 clicks, masks; from scratch" + " and from the pretrained encoder" * bool(
        settings.weights
    )
    return [*lines, f"compared: {arms}"]


def names_of(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.replace(" ", "").split(",") if name)


def parse_seeds(text: str) -> tuple[int, ...]:
    from .pilot import SEEDS
    from .verdicts import MOST_SEEDS

    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or not 0 <= int(match[2]) - int(match[1]) < MOST_SEEDS:
        raise UserError(f"--seeds {text}: FIRST-LAST is wanted, such as 12-23, and {MOST_SEEDS} seeds at most")
    seeds = tuple(range(int(match[1]), int(match[2]) + 1))
    if set(seeds) & set(SEEDS):
        raise UserError(f"--seeds {text}: the pilot tuned the arms on {' and '.join(map(str, SEEDS))}; take others")
    return seeds


USAGE = Usage("python -m study", bare="plan --data {} --out DIR")


def command() -> None:
    """Read the command line, do what it says, and exit."""
    run_command(main, Pilot | Plan | Run | Report, __doc__, usage=USAGE)


if __name__ == "__main__":
    command()
