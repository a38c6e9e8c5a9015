"""How far the forecast of a score from runs with fewer masks can be believed, beside three simpler ways.

    python -m benchmarks.forecast simulate      # learning curves made up, most of them not of the fitted form
    python -m benchmarks.forecast runs FOLDER   # runs of train.py --train-count N --seed S, evaluated

Tables go to stdout as Markdown. An interval is meant to hold the score of one new run 95 times in 100.
"""

import itertools
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import t as student
from tqdm import tqdm

from data_pipeline.command import UserError, run_command
from data_pipeline.files import read_json
from engine.comparing.forecast import WORTH, Forecast, forecast, words

LEAST = 3  # counts in a window
FACTORS = (2, 4)  # how far is forecast, in largest counts
DESIGNS = ((3, 1), (3, 3), (5, 1), (5, 3))  # counts, each twice the one before, and runs of each
SLACK = 0.002  # of a gain: a curve that is exactly flat has none, a fitted one always a little
LAST_NOISE = 0.02  # of "last value stays": about the scatter that the forecast thinks usual


@dataclass(frozen=True)
class Simulate:
    curves: int = 100
    """Learning curves of each form."""
    seed: int = 0
    """Of the curves and the runs around them."""


@dataclass(frozen=True)
class Runs:
    folder: tyro.conf.Positional[Path]
    """Folder of runs: each with its evaluation (evaluate.py)."""


@dataclass(frozen=True)
class Trial:
    """A forecast and what came true."""

    group: str
    design: str
    way: str
    value: float
    low: float
    high: float
    truth: float
    forecast: Forecast | None = None  # of our own way
    gain: float = np.nan  # the true one, where the curve is known


def main(config: Simulate | Runs) -> None:
    if isinstance(config, Simulate):
        simulate(config)
    else:
        check_runs(config.folder)


# The ways: counts (R,), scores (R,) and a count → value, low, high


def power_law(counts, scores, at) -> tuple[float, float, float]:
    """Least squares of top − loss · n^−power, with the interval of the linearised fit."""

    def curve(count, top, loss, power):
        return top - loss * (count / counts.min()) ** -power

    start = (min(scores.max() + 0.05, 1), max(float(np.ptp(scores)), 0.01), 0.5)
    try:
        with warnings.catch_warnings(action="ignore", category=OptimizeWarning):  # its covariance is not used
            found, _ = curve_fit(curve, counts, scores, start, bounds=((0, 0, 0.01), (1, 1, 5)))
    except RuntimeError:  # no convergence
        return last_value(counts, scores, at)
    steps = np.eye(3) * 1e-5

    def slope(count):
        return np.stack([(curve(count, *found + step) - curve(count, *found - step)) / 2e-5 for step in steps], -1)

    jacobian, there = slope(counts), slope(at)
    variance = np.square(scores - curve(counts, *found)).sum() / max(1, len(scores) - 3)
    spread = variance * (1 + there @ np.linalg.pinv(jacobian.T @ jacobian) @ there)
    return around(float(curve(at, *found)), 1.96 * np.sqrt(spread))


def log_line(counts, scores, at) -> tuple[float, float, float]:
    """Straight line in the logarithm, with Student's interval of a new observation."""
    design = np.stack([np.ones(len(counts)), np.log(counts)], -1)
    found = np.linalg.lstsq(design, scores, rcond=None)[0]
    there, freedom = np.array([1, np.log(at)]), len(scores) - 2
    variance = np.square(scores - design @ found).sum() / freedom
    spread = variance * (1 + there @ np.linalg.inv(design.T @ design) @ there)
    return around(float(there @ found), student.ppf(0.975, freedom) * np.sqrt(spread))


def last_value(counts, scores, at) -> tuple[float, float, float]:
    """The mean of the runs with most masks stays."""
    last = scores[counts == counts.max()]
    return around(last.mean(), 1.96 * LAST_NOISE * np.sqrt(1 + 1 / len(last)))


def around(value: float, half: float) -> tuple[float, float, float]:
    return value, value - half, value + half


RIVALS = {"least squares": power_law, "logarithmic line": log_line, "last value stays": last_value}
OURS = "forecast"


def trials(group: str, design: str, counts, scores, at: int, truths, gain: float = np.nan) -> list[Trial]:
    """One for each way and each run that came true."""
    counts, scores = np.asarray(counts, float), np.asarray(scores, float)
    ours = forecast(counts, scores, at)
    found = [(OURS, ours.value, *ours.interval)]
    found += [(name, *way(counts, scores, at)) for name, way in RIVALS.items()]
    return [
        Trial(group, design, *one, truth, ours if one[0] == OURS else None, gain) for truth in truths for one in found
    ]


# Part 1: made-up curves


def level(rng) -> tuple[float, float]:
    """Where a curve begins and ends."""
    start = rng.uniform(0.1, 0.7)
    return start, start + rng.uniform(0.02, 0.9) * (0.95 - start)


def power_curve(rng):
    (start, end), power = level(rng), rng.uniform(0.2, 1.5)
    return lambda count: end - (end - start) * (count / 6) ** -power


def exponential_curve(rng):
    (start, end), scale = level(rng), np.exp(rng.uniform(np.log(10), np.log(300)))
    return lambda count: end - (end - start) * np.exp(-(count - 6) / scale)


def logarithmic_curve(rng):
    start, end = level(rng)
    return lambda count: start + (end - start) * np.log(count / 6) / np.log(64)


def s_curve(rng):
    (start, end), middle = level(rng), np.exp(rng.uniform(np.log(6), np.log(100)))
    return lambda count: start + (end - start) / (1 + (count / middle) ** -1.5)


def step_curve(rng):
    """A power law, and a class that is found at once when there are enough masks."""
    smooth, place, height = power_curve(rng), np.exp(rng.uniform(np.log(8), np.log(300))), rng.uniform(0.02, 0.06)
    return lambda count: smooth(count) + height / (1 + (count / place) ** -12.0) - 0.03


def falling_curve(rng):
    """A power law that turns down: the budget of steps is too small for so many masks."""
    smooth, fall = power_curve(rng), rng.uniform(0.002, 0.008)
    return lambda count: smooth(count) - fall * np.log2(count / 6)


def flat_curve(rng):
    start, _ = level(rng)
    return lambda count: start + 0 * count


CURVES = {
    "power law with a floor (the fitted form)": power_curve,
    "saturating exponential": exponential_curve,
    "straight in the logarithm": logarithmic_curve,
    "S in the logarithm": s_curve,
    "power law with a step": step_curve,
    "power law that turns down": falling_curve,
    "flat": flat_curve,
}


def simulate(config: Simulate) -> None:
    rng = np.random.default_rng(config.seed)
    found = []
    cells = list(itertools.product(CURVES, range(config.curves)))
    for number, (name, _) in enumerate(tqdm(cells, leave=False, disable=None)):
        found += made_up(rng, name, CURVES[name](rng), *DESIGNS[number % len(DESIGNS)])
    print(
        f"{config.curves} curves of each form, seed {config.seed}; 6 masks and doublings of them, {FACTORS[0]} and "
        f"{FACTORS[1]} times as far. Runs scatter with a standard deviation of 0.006 to 0.04 at 6 masks, less with "
        "more masks, part of it shared by the runs with the same masks.\n"
    )
    print_coverage("form", found, lambda trial: trial.group)
    print_coverage("counts × runs, how far", found, lambda trial: trial.design)
    print_verdicts([trial for trial in found if trial.way == OURS])


def made_up(rng, name: str, curve, num_counts: int, num_runs: int) -> list[Trial]:
    """Runs around a curve, forecast at each factor."""
    noise, fall, share = np.exp(rng.uniform(np.log(0.006), np.log(0.04))), rng.uniform(0, 0.5), rng.uniform(0, 1)

    def runs(count: int, number: int) -> np.ndarray:
        luck = np.sqrt(share) * rng.standard_normal() + np.sqrt(1 - share) * rng.standard_normal(number)
        return np.clip(curve(count) + noise * (count / 6) ** -fall * luck, 0, 1)

    tried = 6 * 2 ** np.arange(num_counts)
    counts = np.repeat(tried, num_runs)
    scores = np.concatenate([runs(count, num_runs) for count in tried])
    found = []
    for factor in FACTORS:
        at = int(factor * tried[-1])
        gain = float(curve(at) - curve(tried[-1]))
        design = f"{num_counts} × {num_runs}, {factor}×"
        found += trials(name, design, counts, scores, at, runs(at, 1), gain)
    return found


# Part 2: runs that were trained


@dataclass(frozen=True)
class Scored:
    count: int
    seed: int
    miou: float


def check_runs(folder: Path) -> None:
    groups = read_runs(folder)
    found = []
    for name, runs in groups.items():
        print(f"### {name}\n")
        print_runs(runs)
        largest = max(run.count for run in runs)
        quarter = sorted({run.count for run in runs if run.count <= -(-largest // 4)})
        if len(quarter) >= LEAST:
            print_forecasts(name, runs, quarter)
        for (counts, target), seeds in itertools.product(all_windows(runs), choices_of_seeds(runs)):
            found += from_window(name, runs, counts, target, seeds)
    print("### All windows\n")
    print(
        f"From any {LEAST} or more consecutive counts to {FACTORS[0]} and {FACTORS[1]} times the last; each seed "
        "alone, and all together. The forecasts share runs: they are not independent, and the coverage is rougher "
        "than their number says.\n"
    )
    print_coverage("data", found, lambda trial: trial.group)
    print_coverage("counts × runs, how far", found, lambda trial: trial.design)


def read_runs(folder: Path) -> dict[str, list[Scored]]:
    """Data set and split → its runs.

    Raises:
        UserError: if there is none, or one was not evaluated.
    """
    groups, missing = defaultdict(list), []
    for path in sorted(folder.glob("*/config.json")):
        config, run = read_json(path), path.parent
        splits = [name for name in ("test", "val") if (run / "evaluation" / name / "metrics.json").is_file()]
        if not splits:
            missing.append(run)
            continue
        miou = read_json(run / "evaluation" / splits[0] / "metrics.json")["miou"]
        count = config["train_count"] or len(read_json(run / "split.json")["train"])
        groups[f"{Path(config['data']).name}, {splits[0]}"].append(Scored(count, config["seed"], miou))
    if missing:
        raise UserError(
            f"{len(missing)} runs have no evaluation; the first: python evaluate.py {missing[0]} "
            "(with --split val where the data set has no test images)"
        )
    if not groups:
        raise UserError(f"{folder}: holds no runs; wanted a folder of folders that train.py made")
    return groups


def choices_of_seeds(runs: list[Scored]) -> list[tuple[int, ...]]:
    seeds = sorted({run.seed for run in runs})
    return [(seed,) for seed in seeds] + [tuple(seeds)] * (len(seeds) > 1)


def all_windows(runs: list[Scored]) -> list[tuple[list[int], int]]:
    """LEAST or more consecutive counts, and a count that is nearly so many times the last."""
    counts = sorted({run.count for run in runs})
    return [
        (counts[first:last], target)
        for first, last in itertools.combinations(range(len(counts) + 1), 2)
        for factor, target in itertools.product(FACTORS, counts)
        if last - first >= LEAST and abs(target / (factor * counts[last - 1]) - 1) < 0.05
    ]


def from_window(name: str, runs: list[Scored], counts: list[int], target: int, seeds: tuple) -> list[Trial]:
    chosen = [run for run in runs if run.seed in seeds]
    seen = [run for run in chosen if run.count in counts]
    truths = [run.miou for run in chosen if run.count == target]
    if len(seen) < len(counts) * len(seeds) or not truths:
        return []
    design = f"{len(counts)} × {len(seeds)}, {round(target / counts[-1])}×"
    return trials(name, design, [run.count for run in seen], [run.miou for run in seen], target, truths)


def print_runs(runs: list[Scored]) -> None:
    by_count = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.count, run.seed)):
        by_count[run.count].append(f"{run.miou:.3f}")
    print("| masks | mIoU of the runs |\n|---|---|")
    for count, scores in by_count.items():
        print(f"| {count} | {', '.join(scores)} |")
    print()


def print_forecasts(name: str, runs: list[Scored], counts: list[int]) -> None:
    """From a quarter of the masks to a half and to all."""
    print("| from | seeds | to | forecast | 95% | came true | inside |\n|---|---|---|---|---|---|---|")
    sentences = []
    targets = sorted({run.count for run in runs if run.count > counts[-1]})
    for seeds, target in itertools.product(choices_of_seeds(runs), targets):
        ours = [trial for trial in from_window(name, runs, counts, target, seeds) if trial.way == OURS]
        if not ours:
            continue
        came = ", ".join(f"{trial.truth:.3f}" for trial in ours)
        first, inside = ours[0], sum(holds(trial) for trial in ours)
        print(
            f"| {counts[0]}–{counts[-1]} | {', '.join(map(str, seeds))} | {target} | {first.value:.3f} | "
            f"{first.low:.3f}–{first.high:.3f} | {came} | {inside} of {len(ours)} |"
        )
        sentences.append(f"- Seeds {', '.join(map(str, seeds))}: {words(first.forecast)}")
    print("\n" + "\n".join(sentences) + "\n")


# What is printed of trials


def holds(trial: Trial) -> bool:
    return trial.low <= trial.truth <= trial.high


def interval_score(trial: Trial) -> float:
    """Width, and a fine for what lies outside; least is best (Gneiting and Raftery 2007, section 6.2)."""
    outside = max(trial.low - trial.truth, trial.truth - trial.high, 0)
    return trial.high - trial.low + 2 / 0.05 * outside


def print_coverage(title: str, found: list[Trial], key) -> None:
    """Coverage, mean width and interval score of every way in every group, and in all."""
    groups = list(dict.fromkeys(map(key, found)))
    ways = [OURS, *RIVALS]
    print(
        f"Share inside the interval / its mean width / interval score (less is better)\n\n| {title} | forecasts", end=""
    )
    print(f" | {' | '.join(ways)} |\n|---|---|{'---|' * len(ways)}")
    for group in [*groups, None]:
        chosen = [trial for trial in found if group is None or key(trial) == group]
        cells = [summary([trial for trial in chosen if trial.way == way]) for way in ways]
        number = sum(trial.way == OURS for trial in chosen)
        print(f"| {group or '**all**'} | {number} | {' | '.join(cells)} |")
    print()


def summary(chosen: list[Trial]) -> str:
    inside = np.mean([holds(trial) for trial in chosen])
    width = np.mean([trial.high - trial.low for trial in chosen])
    return f"{inside:.0%} / {width:.3f} / {np.mean([interval_score(trial) for trial in chosen]):.3f}"


VERDICTS = ("would probably raise", "would hardly help", "cannot be told")


def print_verdicts(found: list[Trial]) -> None:
    """What was said, and the true gain, which is known for made-up curves alone."""
    bounds = [(trial.gain, *trial.forecast.gain_interval) for trial in found]
    errors = [max(least - gain, gain - most) for gain, least, most in bounds]
    print(
        f"The true gain lies inside its 95% interval in {np.mean(np.less_equal(errors, SLACK)):.0%} of {len(found)} "
        f"forecasts, give or take {SLACK}.\n"
    )
    print(f"| verdict | forecasts | true gain: median (5% … 95%) | {WORTH:g} or more |\n|---|---|---|---|")
    for verdict in VERDICTS:
        gains = np.array([trial.gain for trial in found if verdict in words(trial.forecast)])
        if len(gains):
            low, middle, high = np.quantile(gains, (0.05, 0.5, 0.95))
            print(
                f"| {verdict} | {len(gains)} | {middle:.3f} ({low:.3f} … {high:.3f}) | {np.mean(gains >= WORTH):.0%} |"
            )
    print()


if __name__ == "__main__":
    run_command(main, Simulate | Runs, __doc__)
