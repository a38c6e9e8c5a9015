"""Why are a few hundred masks enough? An experiment on drawn scenes, or on your own folder.

    python -m study run --preset smoke --out DIR              # minutes, to see it work: not inferential
    python -m study plan --preset small --out DIR             # what would be trained, and how long that takes
    python -m study run --preset small --out DIR --jobs 2     # the study; resumable at any time
    python -m study report --out DIR                          # its page, figures and study.json once more
    python -m study pilot --out DIR --jobs 2                  # learning rates, and whether the world is fit
    python -m study run --preset small --data FOLDER --out DIR   # on your own images and masks

What was trained is kept in DIR and not trained again.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_pipeline.command import UserError, run_command

Name = Literal["smoke", "small", "medium", "full", "pointing"]


@dataclass(frozen=True)
class Pilot:
    """Tune each arm on seeds of their own, and see whether the world is fit for the study."""

    out: Path
    """The study's folder; its plan is then made from this pilot."""
    preset: Literal["small", "full", "pointing"] = "small"
    """Whose world: medium's is small's."""
    data: Path | None = None
    """A folder of your own images and masks, in place of drawn scenes."""
    size: int = 64
    """Pixels of a side that they are shrunk to; a multiple of 16."""
    jobs: int = 1
    """Processes, one thread each."""


@dataclass(frozen=True)
class Plan:
    """Write the plan, and say what it would take."""

    out: Path
    """The study's folder."""
    preset: Name = "smoke"
    """smoke: one seed, minutes; small: H6, H2 and H4, an hour; medium: all, some hours; full: larger, for a GPU;
    pointing: a disc on the evidence or elsewhere, see contrasts.py."""
    hypothesis: str = ""
    """Only these, such as H2,H4; all of the preset's if empty."""
    seeds: str = ""
    """Others than the preset's, such as 12-23, in a folder of their own: a replication."""
    data: Path | None = None
    """A folder of your own images and masks, in place of drawn scenes."""
    size: int = 64
    """Pixels of a side that they are shrunk to; a multiple of 16."""
    jobs: int = 1
    """Processes, one thread each."""


@dataclass(frozen=True)
class Run:
    """Train what is missing, and report."""

    out: Path
    """The study's folder."""
    preset: Name = "smoke"
    """smoke: one seed, minutes; small: H6, H2 and H4, an hour; medium: all, some hours; full: larger, for a GPU."""
    hypothesis: str = ""
    """Only these, such as H2,H4; all of the preset's if empty."""
    seeds: str = ""
    """Others than the preset's, such as 12-23, in a folder of their own: a replication."""
    data: Path | None = None
    """A folder of your own images and masks, in place of drawn scenes."""
    size: int = 64
    """Pixels of a side that they are shrunk to; a multiple of 16."""
    jobs: int = 1
    """Processes, one thread each."""
    shard: str = "1/1"
    """I/N: this machine takes every N-th seed, over a shared folder."""


@dataclass(frozen=True)
class Report:
    """Write the page, the figures and study.json from the cells that are there."""

    out: Path
    """The study's folder."""


def main(config: Pilot | Plan | Run | Report) -> None:
    from .cells import one_thread

    if getattr(config, "jobs", 1) < 1:
        raise UserError(f"--jobs {config.jobs}: at least 1 is wanted")
    if getattr(config, "size", 16) < 16 or getattr(config, "size", 16) % 16:
        raise UserError(f"--size {config.size}: a multiple of 16 is wanted, which U-Net halves four times")
    one_thread()
    {Pilot: tune, Plan: tell, Run: run, Report: report}[type(config)](config)


def tune(config: Pilot) -> None:
    from .pilot import SEEDS, run_grid, run_pilot
    from .plan import PRESETS, with_own, write_grid_plan, write_pilot

    preset = PRESETS[config.preset]
    own = own_of(config, SEEDS)
    base = with_own(preset.base, own) if own else preset.base
    if preset.grid:
        write_grid_plan(config.out, config.preset)
        pilot = run_grid(config.out, base, preset.cells, config.jobs)
    else:
        pilot = run_pilot(config.out, base, config.jobs)
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
    minutes = seconds_of(missing, config.out) / config.jobs / 60
    print(
        f"plan {plan.hash[:12]}: {len(plan.seeds)} seeds, {len(cells)} cells, {len(missing)} of them missing: about "
        f"{minutes:.0f} minutes with --jobs {config.jobs}. Next: python -m study run with the same flags"
    )


def run(config: Run) -> None:
    from .cells import of_shard, result_of, run_cells
    from .report import sitting

    shard = parse_shard(config.shard)
    plan = plan_of(config)
    cells = [spec for each in plan.cells().values() for spec in each.values()]
    own_part = of_shard(cells, shard)
    with sitting(config.out, config.jobs, own_part):
        run_cells(config.out, own_part, config.jobs)
    missing = sum(result_of(config.out, spec) is None for spec in cells)
    if missing:
        print(f"this shard is done; {missing} cells of other shards are missing. Next: run them, then this again")
        return
    report(Report(config.out))


def report(config: Report) -> None:
    from .report import write_report

    for line in write_report(config.out):
        print(line)


def plan_of(config: Plan | Run):
    from .plan import PRESETS, make_plan

    seeds = parse_seeds(config.seeds) if config.seeds else PRESETS[config.preset].usual_seeds
    return make_plan(config.out, config.preset, names_of(config.hypothesis), own_of(config, seeds), seeds)


def own_of(config: Pilot | Plan | Run, seeds: tuple[int, ...]):
    """The user's images, read and kept in the study's folder; None where scenes are to be drawn."""
    from .own import prepare

    return prepare(config.data, config.out, config.size, seeds) if config.data else None


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


def parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: I/N is wanted, such as 1/2 and 2/2")
    return int(match[1]), int(match[2])


if __name__ == "__main__":
    run_command(main, Pilot | Plan | Run | Report, __doc__)
