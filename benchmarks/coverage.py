"""How often 95% intervals hold the true score, and how often tests alarm falsely: simulated sets of confusion matrices.

    python -m benchmarks.coverage              # 2,000 sets of every kind: minutes
    python -m benchmarks.coverage --sets 200

The population is made up. An image holds each class by chance (``prevalence``), the first always. A class's area is
its ``size`` times a log-normal number (``unevenness``: of its logarithm), then the areas are scaled to 100,000 pixels.
The network finds a share of each area, on the logit scale ``skill`` plus a normal number (standard deviation
``scatter``) of which 3 parts in 10 of the variance are the image's and the rest is the class's in the image. What it
misses, it gives to the other classes in the image, and to a class that is not there in 0.3 · prevalence of the
images, by their ``size``. Images of one group share half of the variance of every one of these normal numbers.

True scores are those of a draw of 200,000 images. An mIoU is a mean over the classes that occur in a set, and so is the
true one that its interval is meant to hold. A class has an interval only in sets with 10 or more images that hold it.

Networks of a pair see the same images; 6 parts in 10 of the variance of what each finds are its own. "Equal" ones have
the same skill. "Other strengths": the second is better by 1 (logit) in the rarer half of the classes and worse in the
others, by so much that the true mIoUs are equal. "3 SE": it is better in all, and the true difference is three
standard deviations of the difference between equal networks.

Rivals: a t of n − 1 degrees of freedom around the logit of the score, and the percentile bootstrap (500 draws); for
pairs, t of n − 1 and of Satterthwaite's 2k degrees of freedom. Tables go to stdout as Markdown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import tyro
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit, logit

from engine.confusion import hits, iou, mean_iou, ratio
from engine.intervals import (
    LEAST_HOLDERS,
    UPPER,
    difference,
    difference_of_methods,
    interval,
    leave_one_out,
    spread,
)

PIXELS = 100_000  # of an image
CHUNK = 100  # sets drawn at once
LARGE = 200_000  # images that stand for the population
PHANTOM = 0.3  # images in which a class that is not there is seen, as a part of its prevalence
IMAGE_SHARE = 0.3  # of the variance of what a network finds: the image's
OWN_SHARE = 0.6  # of the same: a network's own, in a pair
DRAWS = 500  # of the percentile bootstrap
STANDARD_ERRORS = 3  # of the true difference whose detection is counted
SEED_SCATTER = 0.1  # standard deviation of a class's skill over seeds
SEEDS = 3


@dataclass(frozen=True)
class Config:
    sets: int = 2000
    """Simulated test sets of every kind."""
    seed: int = 0
    """Of everything that is drawn."""


@dataclass(frozen=True)
class Population:
    prevalence: tuple[float, ...]
    size: tuple[float, ...]
    skill: tuple[float, ...]
    unevenness: float = 1.0
    scatter: float = 1.0
    group: int = 1  # images of a group

    def shifted(self, by) -> "Population":
        return replace(self, skill=tuple(np.add(self.skill, by)))


ELEVEN = Population(
    prevalence=(1, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05),
    size=(10, 5, 4, 3, 2, 1, 1, 0.5, 0.5, 0.3, 0.3),
    skill=(3, 3, 2.5, 2.5, 2, 2, 1.5, 1.5, 1, 1, 1),
)
TWO = Population(prevalence=(1, 0.9), size=(4, 1), skill=(3, 2))
POPULATIONS = {
    "11 classes": ELEVEN,
    "11 classes, uneven areas": replace(ELEVEN, unevenness=1.5),
    "11 classes, groups of 3": replace(ELEVEN, group=3),
    "11 classes, low scores": ELEVEN.shifted(-3.5),
    "11 classes, high scores": ELEVEN.shifted(3),
    "2 classes": TWO,
    "2 classes, groups of 5": replace(TWO, group=5),
    "2 classes, one rare": Population(prevalence=(1, 0.2), size=(4, 0.5), skill=(3, 1)),
    "2 classes, low scores": TWO.shifted((-3, -4)),
    "2 classes, high scores": TWO.shifted(3),
}
IMAGES = 60
OTHER_SIZES = (
    ("11 classes", 200),
    ("11 classes", 30),
    ("11 classes", 20),
    ("11 classes", 10),
    ("2 classes", 20),
    ("2 classes", 6),
    ("2 classes, high scores", 20),
    ("2 classes, high scores", 5),
)
PAIRS = tuple((name, IMAGES) for name in POPULATIONS) + (("11 classes", 20), ("2 classes", 20))
METHODS = (("11 classes", IMAGES), ("2 classes", IMAGES))


# Drawing: arrays are (sets, groups, images of a group, classes); confusion matrices (sets, groups, C, C)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers; images of one group share half of the variance."""
    own = rng.standard_normal(shape)
    if shape[2] == 1:
        return own
    shared = rng.standard_normal((shape[0], shape[1], 1, shape[3]))
    return np.sqrt(0.5) * (own + shared)


def draw_images(rng: np.random.Generator, population: Population, sets: int, images: int):
    """Pixels of each class in each image, and which classes may be seen in it."""
    shape = sets, images // population.group, population.group, len(population.prevalence)
    held = normal(rng, shape) <= stats.norm.ppf(population.prevalence)
    area = held * np.array(population.size) * np.exp(population.unevenness * normal(rng, shape))
    area *= PIXELS / area.sum(-1, keepdims=True)
    seen = held | (rng.random(shape) < PHANTOM * np.array(population.prevalence))
    return np.rint(area), seen


def draw_difficulty(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """What any network's skill has to add in an image, variance 1: the image's part and the class's in the image."""
    image, own = normal(rng, (*shape[:3], 1)), normal(rng, shape)
    return np.sqrt(IMAGE_SHARE) * image + np.sqrt(1 - IMAGE_SHARE) * own


def answer(population: Population, area: np.ndarray, seen: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """A network's confusion matrices, int64 (sets, groups, C, C), summed over the images of each group."""
    num_classes = area.shape[-1]
    wrong = np.arange(num_classes)
    share = (seen * np.array(population.size))[..., None, :] * (1 - np.eye(num_classes))
    total = share.sum(-1, keepdims=True)
    share = np.divide(share, total, out=np.zeros_like(share), where=total > 0)
    missed = area * expit(-np.array(population.skill) - population.scatter * luck)
    matrices = np.floor(missed[..., None] * share)
    matrices[..., wrong, wrong] = area - matrices.sum(-1)
    return matrices.sum(2).astype(np.int64)


def draw_sets(
    population: Population, sets: int, images: int, seed, *others: Population
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Set by set: confusion matrices (n, C, C) of one network, or of several on the same images; holders (C,)."""
    rng = np.random.default_rng(seed)
    networks = (population, *others)
    for start in range(0, sets, CHUNK):
        area, seen = draw_images(rng, population, min(CHUNK, sets - start), images)
        difficulty = draw_difficulty(rng, area.shape)
        own = OWN_SHARE if others else 0
        lucks = [np.sqrt(1 - own) * difficulty + np.sqrt(own) * draw_difficulty(rng, area.shape) for _ in networks]
        answers = [answer(one, area, seen, luck) for one, luck in zip(networks, lucks, strict=True)]
        holders = (area > 0).sum((1, 2))
        for i in range(len(area)):
            yield [one[i] for one in answers], holders[i]


def true_iou(population: Population, seed, *others: Population) -> list[np.ndarray]:
    """The IoUs of each class in the population, of each network."""
    totals = 0
    per_set = IMAGES * 10
    for matrices, _ in draw_sets(population, LARGE // per_set, per_set, seed, *others):
        totals = totals + np.array([one.sum(0) for one in matrices])
    return list(iou(totals))


# Intervals of one network


def plain_jackknife(counts: np.ndarray, statistic) -> tuple[float, float]:
    value, without = leave_one_out(counts, statistic)
    if not (0 < without.min() and without.max() < 1):
        return np.nan, np.nan
    error, _ = spread(logit(without))
    reach = stats.t.ppf(UPPER, len(counts) - 1) * error
    return expit(logit(value) - reach), expit(logit(value) + reach)


def resample(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sums of DRAWS bootstrap samples of the units."""
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), DRAWS)
    return (weights @ counts.reshape(len(counts), -1).astype(float)).reshape(DRAWS, *counts.shape[1:])


def percentiles(scores: np.ndarray) -> tuple[float, float]:
    return tuple(np.nanquantile(scores, (1 - UPPER, UPPER))) if np.isfinite(scores).any() else (np.nan, np.nan)


def parts_of(matrices: np.ndarray, label: int) -> np.ndarray:
    """All that a class's IoU needs: hits and union, (…, 2)."""
    hit = hits(matrices)[..., label]
    return np.stack([hit, matrices[..., label, :].sum(-1) + matrices[..., label].sum(-1) - hit], axis=-1)


def iou_of_parts(parts: np.ndarray) -> np.ndarray:
    return ratio(parts[..., 0], parts[..., 1])


def mean_cover(population: Population, sets: int, images: int, seed: int) -> np.ndarray:
    """Ends of mIoU's intervals less the true mIoU, (sets, 3, 2): ours, plain jackknife, bootstrap."""
    truth = true_iou(population, [seed, 1])[0]
    rng = np.random.default_rng([seed, 2])
    found = []
    for (matrices,), _ in draw_sets(population, sets, images, [seed, 3]):
        ours = interval(matrices, mean_iou)
        ends = (
            (ours.low, ours.high),
            plain_jackknife(matrices, mean_iou),
            percentiles(mean_iou(resample(matrices, rng))),
        )
        occurs = ~np.isnan(iou(matrices.sum(0)))
        found.append(np.array(ends, float) - truth[occurs].mean())
    return np.array(found)


def class_cover(population: Population, sets: int, images: int, seed: int) -> dict[int, np.ndarray]:
    """Class → ends of its IoU's intervals less the true IoU, (sets that show it, 3, 2)."""
    truth = true_iou(population, [seed, 1])[0]
    rng = np.random.default_rng([seed, 2])
    found = {label: [] for label in range(len(truth))}
    for (matrices,), holders in draw_sets(population, sets, images, [seed, 3]):
        scores = iou(resample(matrices, rng))
        for label in np.flatnonzero(holders >= LEAST_HOLDERS):
            parts = parts_of(matrices, label)
            ours = interval(parts, iou_of_parts, holders=int(holders[label]))
            ends = (ours.low, ours.high), plain_jackknife(parts, iou_of_parts), percentiles(scores[:, label])
            found[label].append(np.array(ends, float) - truth[label])
    return {label: np.array(ends) for label, ends in found.items() if len(ends)}


def held(ends: np.ndarray) -> np.ndarray:
    """Share of the intervals (sets, ways, 2) that hold the truth, by way; one that is not given holds nothing."""
    return ((ends[..., 0] <= 0) & (ends[..., 1] >= 0)).mean(0)


# Pairs


def other_strengths(population: Population, seed: int) -> Population:
    """Better by 1 in the rarer half of the classes, worse in the others: the same true mIoU."""
    rarer = np.arange(len(population.skill)) >= len(population.skill) // 2

    def gain(loss: float) -> float:
        return true_gain(population, population.shifted(np.where(rarer, 1, -loss)), seed)

    return population.shifted(np.where(rarer, 1, -brentq(gain, 0, 5, xtol=0.005)))


def better(population: Population, by: float, seed: int) -> Population:
    """Better by one number in all classes, its true mIoU better ``by`` so much."""
    shift = brentq(lambda shift: true_gain(population, population.shifted(shift), seed) - by, 0, 10, xtol=0.005)
    return population.shifted(shift)


def true_gain(first: Population, second: Population, seed: int) -> float:
    before, after = true_iou(first, [seed, 1], second)
    return float(after.mean() - before.mean())


def p_values(population: Population, second: Population, sets: int, images: int, seed: int):
    """Differences (sets,) and their p-values (sets, 3): ours, t of n − 1, t of 2k."""
    values, found = [], []
    for (one, other), _ in draw_sets(population, sets, images, [seed, 3], second):
        ours = difference(one, other, mean_iou)
        error, carriers = spread(leave_one_out(other, mean_iou)[1] - leave_one_out(one, mean_iou)[1])
        n = len(one)
        rivals = [2 * stats.t.sf(abs(ours.value) / error, df) for df in (n - 1, min(2 * carriers, n - 1))]
        values.append(ours.value)
        found.append([np.nan if ours.p is None else ours.p, *rivals])
    return np.array(values), np.array(found)


def alarms(p: np.ndarray) -> np.ndarray:
    return (p < 0.05).mean(0)


def compare_pairs(population: Population, sets: int, images: int, seed: int) -> list[np.ndarray]:
    """Shares of p < 0.05, by way: equal networks, other strengths, 3 SE."""
    values, equal = p_values(population, population, sets, images, seed)
    _, other = p_values(population, other_strengths(population, seed), sets, images, seed + 1)
    stronger = better(population, STANDARD_ERRORS * values.std(), seed)
    _, apart = p_values(population, stronger, sets, images, seed + 2)
    return [alarms(equal), alarms(other), alarms(apart)]


def method_alarms(population: Population, sets: int, images: int, seed: int) -> tuple[float, float]:
    """False alarms between a method and itself, SEEDS runs of each: ours, and a paired test of one run of each."""
    rng = np.random.default_rng([seed, 4])
    found = []
    for i in range(sets):
        size = 2 * SEEDS, len(population.skill)
        runs = [population.shifted(shift) for shift in rng.normal(0, SEED_SCATTER, size)]
        ((matrices, _),) = draw_sets(runs[0], 1, images, [seed, 5, i], *runs[1:])
        ours = difference_of_methods(np.array(matrices[:SEEDS]), np.array(matrices[SEEDS:]), mean_iou)
        found.append([ours.p, difference(matrices[0], matrices[-1], mean_iou).p])
    return tuple(alarms(np.array(found, float)))


def main(config: Config) -> None:
    sets, seed = config.sets, config.seed
    print(f"{sets} sets of every kind, seed {seed}. mIoU: share of the 95% intervals that hold the true one\n")
    print("| population | images | held | too low | too high | median width | plain t | its width | bootstrap |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, images in (*((name, IMAGES) for name in POPULATIONS), *OTHER_SIZES):
        ends = mean_cover(POPULATIONS[name], sets, images, seed)
        ours, plain, bootstrap = held(ends)
        below, above = (ends[:, 0, 1] < 0).mean(), (ends[:, 0, 0] > 0).mean()
        width, plain_width = np.nanmedian(ends[:, :2, 1] - ends[:, :2, 0], axis=0)
        print(
            f"| {name} | {images} | {ours:.1%} | {below:.1%} | {above:.1%} | {width:.3f} "
            f"| {plain:.1%} | {plain_width:.3f} | {bootstrap:.1%} |",
            flush=True,
        )
    print(f"\nIoU of a class, {IMAGES} images, in sets with {LEAST_HOLDERS} or more images that hold it\n")
    print("| population | prevalence | true IoU | sets | held | median width | plain t | bootstrap |")
    print("|---|---|---|---|---|---|---|---|")
    for name, population in POPULATIONS.items():
        truth = true_iou(population, [seed, 1])[0]
        for label, ends in class_cover(population, sets, IMAGES, seed).items():
            ours, plain, bootstrap = held(ends)
            width = np.nanmedian(ends[:, 0, 1] - ends[:, 0, 0])
            print(
                f"| {name} | {population.prevalence[label]} | {truth[label]:.2f} | {len(ends)} | {ours:.1%} "
                f"| {width:.3f} | {plain:.1%} | {bootstrap:.1%} |",
                flush=True,
            )
    print("\nPaired test of two networks' mIoU: share of p < 0.05; in brackets t of n − 1, and of 2k\n")
    print("| population | images | equal | other strengths | 3 SE |\n|---|---|---|---|---|")
    for name, images in PAIRS:
        cells = [
            f"{ours:.1%} ({plain:.1%}, {satterthwaite:.1%})"
            for ours, plain, satterthwaite in compare_pairs(POPULATIONS[name], sets, images, seed)
        ]
        print(f"| {name} | {images} | {' | '.join(cells)} |", flush=True)
    print(f"\nA method against itself, {SEEDS} seeds of each: share of p < 0.05\n")
    print("| population | images | as methods | one run of each |\n|---|---|---|---|")
    for name, images in METHODS:
        ours, single = method_alarms(POPULATIONS[name], sets, images, seed)
        print(f"| {name} | {images} | {ours:.1%} | {single:.1%} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
