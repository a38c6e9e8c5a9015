"""How often the 95% intervals of ``engine/scoring/intervals.py`` hold the truth, and how often its tests find a
difference that is none.

    python -m benchmarks.coverage              # 2,000 test sets of each kind
    python -m benchmarks.coverage --sets 200

Test sets are drawn from populations whose pooled scores are known, by the seed, as follows.

- An image holds a class with the class's prevalence. The pixels of the classes that it holds are ``size`` times a
  log-normal number (σ = ``unevenness``: at 1 the largest of 20 images has about a quarter of a class's pixels), scaled
  to 100,000 in all.
- A network finds the share expit(``skill`` + difficulty) of a class's pixels in an image. The difficulty is normal with
  variance 1: 0.2 is the image's, 0.2 the image's in this class, and 0.6 the network's own; two networks on the same
  images share the first two. The pixels that it misses go to the other classes in proportion to their size: to those
  that the image holds, and to those that it does not but that come into question, each with 0.3 times its prevalence.
- Images come in groups of ``group``. What decides on a class's presence, its pixels, and the difficulties are normal
  numbers, half of whose variance the images of a group have in common. The group is then the unit.

The truth is the pooled score of 200,000 further images; of mIoU, the mean of those over the classes that occur in the
set. Class intervals count where they are shown: where 10 images hold the class.

Two networks that are "as good" but differ have equal pooled mIoU. "Mixed": the second's skill is by turns 0.7 higher
and lower from class to class, and then shifted alike in all. "Rare for frequent", the hardest case: it is 1 higher in
the six rarest of the 11 classes (0.7 lower in the rarer of two), and lower (higher) in the others. "Better" is a shift
of all skills that makes the true difference 3 times the standard deviation that it has between equal networks. Seeds of
a method scatter about its skill with standard deviation 0.3.

Rivals: the percentile bootstrap; the logit jackknife, and for pairs the jackknife, with t of n − 1 degrees of freedom.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import tyro
from joblib import Parallel, delayed
from scipy import stats
from scipy.special import expit, logit

from engine.scoring.intervals import LEAST_HOLDERS, difference, difference_of_methods, interval, left_out

PIXELS = 100_000  # of an image
SHARED = 0.2  # of the difficulty's variance: the image's, and as much again the image's in a class
ALIKE = 0.5  # of the variance of what images of one group have in common
MISTAKEN = 0.3  # times its prevalence, a class that is not there comes into question
BATCH = 50  # sets drawn at a time
LARGE = 200_000  # images whose pooled score is taken for the truth
RESAMPLES = 1000  # of the bootstrap
SEED_SCATTER = 0.3  # standard deviation of a skill between the seeds of a method


@dataclass(frozen=True)
class Population:
    """What test sets are drawn from; prevalence, size and skill are by class."""

    prevalence: tuple[float, ...]
    size: tuple[float, ...]
    skill: tuple[float, ...]
    unevenness: float = 1.0
    group: int = 1

    def shifted(self, shift: float) -> "Population":
        return replace(self, skill=tuple(one + shift for one in self.skill))


ELEVEN = Population(
    prevalence=(1, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05),
    size=(10, 5, 4, 3, 2, 1, 1, 0.5, 0.5, 0.3, 0.3),
    skill=(3, 3, 2.5, 2.5, 2, 2, 1.5, 1.5, 1, 1, 1),
)
TWO = Population(prevalence=(1, 0.9), size=(4, 1), skill=(3, 2))
RARE = Population(prevalence=(1, 0.2), size=(4, 0.5), skill=(3, 1))
UNEVEN = replace(ELEVEN, unevenness=1.5)

SETTINGS = {  # name → population, images
    "11 classes": (ELEVEN, 60),
    "11 classes, uneven": (UNEVEN, 60),
    "11 classes, groups of 3": (replace(ELEVEN, group=3), 60),
    "11 classes, high scores": (ELEVEN.shifted(3), 60),
    "11 classes, low scores": (ELEVEN.shifted(-3.5), 60),
    "2 classes": (TWO, 60),
    "2 classes, high scores": (TWO.shifted(3), 60),
    "2 classes, low scores": (TWO.shifted(-3.5), 60),
    "2 classes, one rare": (RARE, 60),
    "2 classes, groups of 5": (replace(TWO, group=5), 60),
    "11 classes, 30": (ELEVEN, 30),
    "11 classes, 20": (ELEVEN, 20),
    "2 classes, 20": (TWO, 20),
    "2 classes, high scores, 20": (TWO.shifted(3), 20),
    "2 classes, 10": (TWO, 10),
    "11 classes, 200": (ELEVEN, 200),
}
BY_CLASS = ("11 classes", "11 classes, uneven", "11 classes, groups of 3", "11 classes, low scores", "11 classes, 200")
PAIRS = (
    "11 classes",
    "11 classes, uneven",
    "11 classes, groups of 3",
    "2 classes",
    "2 classes, one rare",
    "11 classes, 20",
    "2 classes, 20",
)
SEEDS = (3, 5)


@dataclass(frozen=True)
class Config:
    sets: int = 2000
    """Test sets of each kind."""
    seed: int = 0
    """Of the test sets."""


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Counts (…, C, 2) of hits and union → IoU (…, C); NaN where a class does not occur."""
    hits, union = counts[..., 0], counts[..., 1]
    return np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """Counts (…, C, 2) → the mean over the classes that occur, (…); NaN if none does."""
    occurs = counts[..., 1] > 0
    total = np.where(occurs, class_iou(counts), 0).sum(-1)
    return np.divide(total, occurs.sum(-1), out=np.full(total.shape, np.nan), where=occurs.any(-1))


def normal(rng: np.random.Generator, shape: tuple[int, ...], group: int) -> np.ndarray:
    """Normal numbers (sets, images, …), alike within groups."""
    own = rng.standard_normal(shape)
    if group == 1:
        return own
    common = rng.standard_normal((shape[0], shape[1] // group, *shape[2:])).repeat(group, axis=1)
    return np.sqrt(ALIKE) * common + np.sqrt(1 - ALIKE) * own


def draw(
    rng: np.random.Generator, population: Population, sets: int, images: int, skills: list[tuple[float, ...]]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Test sets, and networks' counts on them.

    Returns:
        for each of the skills int64 (sets, units, C, 2), hits and union; and images that hold each class (sets, C).
    """
    shape = (sets, images, len(population.prevalence))
    prevalence, size = np.array(population.prevalence), np.array(population.size)
    holds = normal(rng, shape, population.group) <= stats.norm.ppf(prevalence)
    area = holds * size * np.exp(population.unevenness * normal(rng, shape, population.group))
    area = np.rint(area * PIXELS / area.sum(-1, keepdims=True))
    in_question = size * (holds | (rng.random(shape) < MISTAKEN * prevalence))
    shared = normal(rng, (*shape[:2], 1), population.group) + normal(rng, shape, population.group)
    counts = []
    for skill in skills:
        own = normal(rng, shape, population.group)
        difficulty = np.sqrt(SHARED) * shared + np.sqrt(1 - 2 * SHARED) * own
        counts.append(confused(area, in_question, expit(np.array(skill) + difficulty)))
    units = (sets, images // population.group, population.group, shape[2], 2)
    return [one.reshape(units).sum(2) for one in counts], (area > 0).sum(1)


def confused(area: np.ndarray, in_question: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Hits and union (sets, images, C, 2) where the missed pixels go to the classes in question."""
    others = in_question.sum(-1, keepdims=True) - in_question
    missed = np.where(others > 0, np.rint(area * (1 - found)), 0)
    per_size = np.divide(missed, others, out=np.zeros_like(missed), where=others > 0)
    taken = np.rint(in_question * (per_size.sum(-1, keepdims=True) - per_size))
    return np.stack([area - missed, area + taken], axis=-1).astype(np.int64)


def draw_sets(
    population: Population, images: int, sets: int, seed: int, skills: list[tuple[float, ...]]
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """One set after another: each network's counts (units, C, 2), and images that hold each class (C,)."""
    rng = np.random.default_rng(seed)
    for start in range(0, sets, BATCH):
        counts, holders = draw(rng, population, min(BATCH, sets - start), images, skills)
        yield from zip(zip(*counts, strict=True), holders, strict=True)


@cache
def true_counts(population: Population, images: int = LARGE) -> np.ndarray:
    """Sums of hits and union (C, 2) over many images."""
    rng, per_draw = np.random.default_rng(2**31), 2000 * population.group
    drawn = (draw(rng, population, 1, per_draw, [population.skill])[0][0] for _ in range(-(-images // per_draw)))
    return sum(one.sum((0, 1)) for one in drawn)


def true_miou(population: Population) -> float:
    return float(mean_iou(true_counts(population)))


def bootstrap(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Resampled sums (RESAMPLES, C, 2)."""
    n = len(counts)
    times = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return (times @ counts.reshape(n, -1).astype(float)).reshape(RESAMPLES, *counts.shape[1:])


def plain_jackknife(counts: np.ndarray, statistic) -> tuple[float, float]:
    """The logit jackknife with n − 1 degrees of freedom."""
    without = logit(left_out(counts, statistic))
    without = without[np.isfinite(without)]
    error = np.sqrt((len(counts) - 1) / len(counts) * ((without - without.mean()) ** 2).sum())
    reach = stats.t.ppf(0.975, len(counts) - 1) * error
    centre = logit(statistic(counts.sum(0)))
    return expit(centre - reach), expit(centre + reach)


def held(low: float, high: float, truth: float) -> bool:
    return bool(low <= truth <= high)


def miou_coverage(name: str, sets: int, seed: int = 0) -> dict:
    """Whether each interval of mIoU holds the truth, and how wide it is."""
    population, images = SETTINGS[name]
    truth = class_iou(true_counts(population))
    rng, found = np.random.default_rng(seed), {"ours": [], "bootstrap": [], "plain": [], "width": [], "below": []}
    for (counts,), _ in draw_sets(population, images, sets, seed, [population.skill]):
        target = truth[counts[..., 1].sum(0) > 0].mean()
        ours = interval(counts, mean_iou)
        if ours.low is None:
            continue
        found["ours"].append(held(ours.low, ours.high, target))
        found["below"].append(ours.high < target)
        found["width"].append(ours.high - ours.low)
        found["bootstrap"].append(held(*np.quantile(mean_iou(bootstrap(counts, rng)), (0.025, 0.975)), target))
        found["plain"].append(held(*plain_jackknife(counts, mean_iou), target))
    return found


def class_coverage(name: str, sets: int, seed: int = 0) -> list[dict]:
    """The same of each class's IoU, where 10 images hold it."""
    population, images = SETTINGS[name]
    truth = class_iou(true_counts(population))
    rng, found = np.random.default_rng(seed), [{"ours": [], "bootstrap": [], "plain": [], "width": []} for _ in truth]
    for (counts,), holders in draw_sets(population, images, sets, seed, [population.skill]):
        resampled = class_iou(bootstrap(counts, rng))
        for c in np.flatnonzero(holders >= LEAST_HOLDERS):
            one = counts[:, c : c + 1]
            ours = interval(one, mean_iou, holders=int(holders[c]))
            if ours.low is None:
                continue
            found[c]["ours"].append(held(ours.low, ours.high, truth[c]))
            found[c]["width"].append(ours.high - ours.low)
            found[c]["bootstrap"].append(held(*np.nanquantile(resampled[:, c], (0.025, 0.975)), truth[c]))
            found[c]["plain"].append(held(*plain_jackknife(one, mean_iou), truth[c]))
    return found


def solve(function, low: float, high: float) -> float:
    """Where a rising function crosses 0, to 0.01."""
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return (low + high) / 2


def mixed(num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """How skills differ by class, and which classes make up for it."""
    return np.where(np.arange(num_classes) % 2, -0.7, 0.7), np.ones(num_classes, bool)


def rare_for_frequent(num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    num_frequent, of_others = {11: (5, 1.0), 2: (1, -0.7)}[num_classes]
    frequent = np.arange(num_classes) < num_frequent
    return np.where(frequent, 0, of_others), frequent


def equally_good(population: Population, kind=mixed) -> Population:
    """Another network's skills, with the same pooled mIoU."""
    own, making_up = kind(len(population.skill))

    def other(change: float) -> Population:
        skill = np.array(population.skill) + own + change * making_up
        return replace(population, skill=tuple(skill.tolist()))

    target = true_miou(population)
    return other(solve(lambda change: true_miou(other(change)) - target, -3, 6))


def better(population: Population, images: int, seed: int) -> tuple[Population, float]:
    """A network that is better by 3 standard deviations of the difference between equal ones, and by how much."""
    drawn = draw_sets(population, images, 2000, seed + 1, [population.skill, population.skill])
    gap = 3 * np.std([mean_iou(second.sum(0)) - mean_iou(first.sum(0)) for (first, second), _ in drawn])
    start = true_miou(population)
    second = population.shifted(solve(lambda shift: true_miou(population.shifted(shift)) - start - gap, 0, 8))
    return second, true_miou(second) - start


def paired(population: Population, second: Population, images: int, sets: int, seed: int) -> dict[str, list[bool]]:
    """Whether two networks are told apart, and whether the interval holds the true difference."""
    gap = true_miou(second) - true_miou(population) if second != population else 0.0
    found = {"told": [], "holds": [], "told by t": []}
    for (one, two), _ in draw_sets(population, images, sets, seed, [population.skill, second.skill]):
        tested = difference(one, two, mean_iou)
        found["told"].append(tested.p is not None and tested.p <= 0.05)
        found["holds"].append(tested.p is not None and held(tested.low, tested.high, gap))
        change = left_out(two, mean_iou) - left_out(one, mean_iou)
        t = abs(tested.value) / np.sqrt((len(one) - 1) * change.var())
        found["told by t"].append(t > stats.t.ppf(0.975, len(one) - 1))
    return found


def methods_told_apart(name: str, seeds: int, sets: int, seed: int = 0) -> list[bool]:
    """Whether two methods are told apart whose seeds scatter around the same skills."""
    population, images = SETTINGS[name]
    rng, found = np.random.default_rng(seed), []
    for _ in range(sets):
        skills = [tuple(np.array(population.skill) + SEED_SCATTER * rng.standard_normal()) for _ in range(2 * seeds)]
        counts = np.concatenate(draw(rng, population, 1, images, skills)[0])
        tested = difference_of_methods(counts[:seeds], counts[seeds:], mean_iou)
        found.append(tested.p is not None and tested.p <= 0.05)
    return found


def percent(flags: list[bool]) -> str:
    return f"{100 * np.mean(flags):.1f}" if flags else "–"


def miou_row(name: str, sets: int, seed: int) -> str:
    population, images = SETTINGS[name]
    found = miou_coverage(name, sets, seed)
    return (
        f"| {name.removesuffix(f', {images}')} | {images} | {true_miou(population):.3f} | {percent(found['ours'])} | "
        f"{percent(found['below'])} | {np.median(found['width']):.3f} | {percent(found['bootstrap'])} | "
        f"{percent(found['plain'])} |"
    )


def class_rows(name: str, sets: int, seed: int) -> str:
    population, images = SETTINGS[name]
    truth = class_iou(true_counts(population))
    rows = [
        f"| {name.removesuffix(f', {images}')} | {images} | {population.prevalence[c]} | {truth[c]:.2f} | "
        f"{100 * len(one['ours']) / sets:.0f} | {percent(one['ours'])} | {np.median(one['width']):.2f} | "
        f"{percent(one['bootstrap'])} | {percent(one['plain'])} |"
        for c, one in enumerate(class_coverage(name, sets, seed))
        if len(one["ours"]) >= sets / 20  # fewer would say little
    ]
    return "\n".join(rows)


def pair_row(name: str, sets: int, seed: int) -> str:
    population, images = SETTINGS[name]
    second, gap = better(population, images, seed)
    equal = paired(population, population, images, sets, seed + 2)
    alike = paired(population, equally_good(population), images, sets, seed + 5)
    traded = paired(population, equally_good(population, rare_for_frequent), images, sets, seed + 3)
    shifted = paired(population, second, images, sets, seed + 4)
    each = (equal, alike, traded, shifted)
    cells = " | ".join(f"{percent(one['told'])} | {percent(one['told by t'])}" for one in each)
    return f"| {name.removesuffix(f', {images}')} | {images} | {cells} | {gap:.3f} | {percent(shifted['holds'])} |"


def method_row(name: str, sets: int, seed: int) -> str:
    cells = " | ".join(percent(methods_told_apart(name, seeds, sets, seed)) for seeds in SEEDS)
    return f"| {name} | {cells} |"


TABLES = (  # heading, columns, function of setting, sets and seed to rows, settings
    (
        "mIoU: coverage of 95% intervals, in percent",
        ("population", "images", "true mIoU", "ours", "truth above ours", "median width", "bootstrap", "plain t"),
        miou_row,
        tuple(SETTINGS),
    ),
    (
        "IoU of a class, where 10 images or more hold it: coverage, in percent",
        ("population", "images", "prevalence", "true IoU", "shown", "ours", "median width", "bootstrap", "plain t"),
        class_rows,
        BY_CLASS,
    ),
    (
        "Two networks on the same images: told apart at p ≤ 0.05, in percent; beside it by t",
        (
            "population",
            "images",
            "equal",
            "t",
            "as good: mixed",
            "t",
            "as good: rare for frequent",
            "t",
            "better",
            "t",
            "true difference",
            "interval holds it",
        ),
        pair_row,
        PAIRS,
    ),
    (
        "Two methods alike: told apart at p ≤ 0.05, in percent",
        ("population", *(f"{seeds} seeds each" for seeds in SEEDS)),
        method_row,
        ("11 classes", "2 classes", "2 classes, 20"),
    ),
)


def main(config: Config) -> None:
    print(f"{config.sets} test sets of each kind, seed {config.seed}")
    calls = [delayed(rows)(name, config.sets, config.seed) for _, _, rows, names in TABLES for name in names]
    found = iter(Parallel(n_jobs=-1, backend="multiprocessing", batch_size=1)(calls))
    for heading, columns, _, names in TABLES:
        print(f"\n## {heading}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for _ in names:
            print(next(found))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
