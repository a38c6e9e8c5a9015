"""Why are a few hundred masks enough? An experiment on generated scenes.

    python -m study pilot --out DIR --jobs 2                  # learning rates, and whether the world is fit
    python -m study run --preset small --out DIR --jobs 2     # the study; resumable at any time
    python -m study run --preset smoke --out DIR              # minutes, to see it work: not inferential

What was trained is kept in DIR and not trained again.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_pipeline.command import UserError, run_command


@dataclass(frozen=True)
class Pilot:
    """Tune each arm on seeds of their own, and see whether the world is fit for the study."""

    out: Path
    """The study's folder."""
    steps: int = 300
    """Of every training, 8 images each."""
    jobs: int = 1
    """Processes, one thread each."""


@dataclass(frozen=True)
class Run:
    """Train what is missing and print the verdicts."""

    out: Path
    """The study's folder."""
    preset: Literal["smoke", "small"] = "smoke"
    """smoke: one seed, minutes; small: twelve seeds, after a pilot."""
    jobs: int = 1
    """Processes, one thread each."""
    shard: str = "1/1"
    """I/N: this machine takes every N-th seed, over a shared folder."""


def main(config: Pilot | Run) -> None:
    from .cells import one_thread

    for name in ("jobs", "steps"):
        if getattr(config, name, 1) < 1:
            raise UserError(f"--{name} {getattr(config, name)}: at least 1 is wanted")
    one_thread()
    tune(config) if isinstance(config, Pilot) else run(config)


def tune(config: Pilot) -> None:
    from .hypotheses import Settings
    from .pilot import run_pilot
    from .plan import write_pilot
    from .scenes import Knobs

    pilot = run_pilot(config.out, Settings(Knobs(), {}, balanced=False, steps=config.steps), config.jobs)
    for name, scores in pilot.scores.items():
        print(f"{name:<20} {'  '.join(f'{score:.3f}' for score in scores)}")
    write_pilot(config.out, pilot)
    ranges = ", ".join(f"{arm} {value:.2f}" for arm, value in pilot.ranges.items())
    said = "fit for the study" if pilot.fit else "NOT fit for the study: more steps or another world"
    print(f"above chance with fresh images: {ranges}; {said}. In {config.out / 'pilot.json'}")


def run(config: Run) -> None:
    from .cells import of_shard, result_of, run_cells
    from .plan import make_plan

    shard = parse_shard(config.shard)
    plan = make_plan(config.out, config.preset)
    cells = plan.cells()
    run_cells(config.out, of_shard([spec for each in cells.values() for spec in each.values()], shard), config.jobs)
    found = [{name: result_of(config.out, spec) for name, spec in each.items()} for each in cells.values()]
    missing = sum(result is None for each in found for result in each.values())
    if missing:
        print(f"this shard is done; {missing} cells of other shards are missing. Next: run them, then this again")
        return
    print_verdicts(plan, found)
    print(f"plan {plan.hash[:12]}, {len(plan.seeds)} seeds; cells and plan.json are in {config.out}")


def parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: I/N is wanted, such as 1/2 and 2/2")
    return int(match[1]), int(match[2])


def print_verdicts(plan, found: list[dict[str, dict]]) -> None:
    from .hypotheses import HYPOTHESES
    from .verdicts import judge

    numbers = {one.name: one.numbers(found, plan.settings.knobs.num_classes) for one in HYPOTHESES}
    if not plan.inferential:
        for one in HYPOTHESES:
            print(f"{one.name:<4} {one.statistic(numbers[one.name]):+.3f}  not inferential  ({one.claim})")
        return
    for one, verdict in zip(HYPOTHESES, judge([one.contrast for one in HYPOTHESES], numbers), strict=True):
        about, said = verdict.estimate, f"{verdict.words}, adjusted p = {verdict.p_for_adjusted:.4f}"
        print(f"{one.name:<4} {about.value:+.3f}  95% {about.low:+.3f} to {about.high:+.3f}  {said}  ({one.claim})")
        if verdict.words == "inconclusive":
            print(f"     detectable {verdict.detectable:.3f}; seeds that would settle it: {verdict.seeds_needed}")


if __name__ == "__main__":
    run_command(main, Pilot | Run, __doc__)
