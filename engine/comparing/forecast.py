"""The forecast of what more masks would bring: the learning curve of runs with fewer masks, and where it leads."""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

LEAST_COUNTS = 3  # a curve with an end has three unknowns
POINTS = 40  # of the curve that is given back
DRAWS = 10_000  # of the posterior: enough for the second digit of an interval
SEED = 0  # the same runs give the same forecast

# The grid of curves and its prior, settled on made-up curves (benchmarks/forecast.py, another seed than the one
# reported) and on small classifiers of pixels; how much runs scatter, and that the scatter does not fall with the
# count, was taken from the validation scores of the first networks that were trained.
TOPS = np.linspace(0, 1, 201)  # score with masks without end
POWERS = np.geomspace(0.05, 4, 12)  # from nearly straight in the logarithm to nearly exponential
TYPICAL_POWER, POWER_SPREAD = 0.4, 1.0  # log-normal: median, standard deviation of the logarithm
SHIFTS = {0: 0.7, 1: 0.1, 4: 0.1, 16: 0.1}  # in smallest counts: how long the curve stays flat; and how often it does
NOISES = np.geomspace(0.003, 0.15, 12)  # standard deviation of a run around the curve, at any count
TYPICAL_NOISE, NOISE_SPREAD = 0.02, 0.6  # log-normal; weak: a dozen runs outweigh it
SHARES = (0.3, 0.7)  # of the noise's variance that runs with the same number of masks have in common
DRIFT = 0.3  # beyond the largest count: standard deviation by which a doubling departs, in late gains a doubling

WORTH = 0.02  # mIoU that is worth the work
SURE = 0.8  # probability from which a verdict is given


@dataclass(frozen=True)
class Forecast:
    """The learning curve of mIoU over the number of training masks; all scores 0 to 1."""

    counts: np.ndarray  # where the curve is given: float (M,), log-spaced from the smallest count to ``at``
    middle: np.ndarray  # median of the expected score of a run with that many masks, float (M,)
    low: np.ndarray  # one new run scores between low and high with a probability of 95%, float (M,)
    high: np.ndarray
    at: int  # masks for which the forecast is
    value: float  # median of the score of one new run with so many
    interval: tuple[float, float]  # 95% of it
    gain: float  # median of the expected score at ``at`` minus that at the largest count tried
    gain_interval: tuple[float, float]  # 95% of it
    worth: float  # probability that it is WORTH or more
    largest: int  # count tried


def forecast(counts, scores, at: int | None = None) -> Forecast:
    """Fit score = top − loss · ((count + shift) / (smallest + shift))^−power to runs, and follow it.

    An inverse power law with a shift; Viering and Loog, "The Shape of Learning Curves: a Review" (2023), compare
    such forms. Bayesian, by summation over a grid of top, power, shift and noise, and over the loss in closed form.
    The curve never falls; runs that do are taken for scatter. Beyond the largest count a drift is added, because no
    curve is exactly of this form.

    Args:
        counts: training masks of each run, integers (R,). Runs with equal counts are taken to have the same masks.
        scores: mIoU of each run, on the same images, float (R,), 0 to 1.
        at: count to forecast for, above the largest; default twice the largest.

    Raises:
        ValueError: for fewer than 3 different counts, a count below 1, a score that is no number from 0 to 1, or an
            ``at`` that is not above the largest count.
    """
    counts, scores, at = checked(counts, scores, at)
    largest = counts.max()
    places = np.append(np.geomspace(counts.min(), at, POINTS), largest)
    curves, departures = draw_curves(counts, scores, places)
    low, value, high = np.quantile(np.clip(curves + departures, 0, 1)[:, :-1], (0.025, 0.5, 0.975), axis=0)
    gains = curves[:, -2] - curves[:, -1]
    least, gain, most = np.quantile(gains, (0.025, 0.5, 0.975))
    return Forecast(
        counts=places[:-1],
        middle=np.median(curves[:, :-1], axis=0),
        low=low,
        high=high,
        at=at,
        value=float(value[-1]),
        interval=(float(low[-1]), float(high[-1])),
        gain=float(gain),
        gain_interval=(float(least), float(most)),
        worth=float(np.mean(gains >= WORTH)),
        largest=int(largest),
    )


def words(forecast: Forecast) -> str:
    """The forecast in one sentence: would so many masks help?"""
    step = "doubling the masks" if forecast.at == 2 * forecast.largest else "going"
    step = f"{step} from {forecast.largest} to {forecast.at}"
    rise = f"from {forecast.value - forecast.gain:.2f} to {forecast.value:.2f}"
    run = "a new run: {:.2f}–{:.2f}".format(*forecast.interval)
    if forecast.worth >= SURE:
        return f"{step[0].upper()}{step[1:]} would probably raise mIoU {rise} ({run})."
    if forecast.worth <= 1 - SURE:
        return f"{step[0].upper()}{step[1:]} would hardly help: mIoU {rise} ({run})."
    change = " to ".join(f"{round(end, 2) + 0:+.2f}" for end in forecast.gain_interval)  # + 0: no "-0.00"
    return f"Whether {step} would help cannot be told from these runs: the change of mIoU is {change} ({run})."


def checked(counts, scores, at) -> tuple[np.ndarray, np.ndarray, int]:
    counts, scores = np.asarray(counts, float), np.asarray(scores, float)
    if counts.ndim != 1 or counts.shape != scores.shape:
        raise ValueError(f"counts have shape {counts.shape}, scores {scores.shape}; wanted one of each for every run")
    different = np.unique(counts)
    if len(different) < LEAST_COUNTS:
        raise ValueError(
            f"a forecast needs runs with {LEAST_COUNTS} different numbers of training masks or more; these have "
            f"{', '.join(f'{count:g}' for count in different) or 'none'}; train more with other values of --train-count"
        )
    if not (np.isfinite(counts) & (counts >= 1)).all():
        raise ValueError(f"runs with {counts.min():g} training masks; 1 or more are wanted")
    wrong = scores[~((scores >= 0) & (scores <= 1))]
    if len(wrong):
        raise ValueError(f"a run's mIoU is {wrong[0]:g}; a number from 0 to 1 is wanted")
    at = int(2 * counts.max()) if at is None else int(at)
    if at <= counts.max():
        raise ValueError(f"a forecast for {at} masks; more than the {counts.max():g} already tried are wanted")
    return counts, scores, at


def draw_curves(counts: np.ndarray, scores: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the expected score at the places, and of one run's departure from it; float (DRAWS, M), (DRAWS, 1)."""
    rng = np.random.default_rng(SEED)
    smallest, largest = counts.min(), counts.max()
    top, loss, power, shift, noise = (draw[:, None] for draw in draw_parameters(counts, scores, rng))

    def expected(count):
        return top - loss * remaining(count, smallest, power, shift)

    late = np.sqrt(smallest * largest)  # from here on: what the gain of a doubling has come down to
    pace = (expected(largest) - expected(late)) / np.log2(largest / late)
    doublings = np.log2(np.maximum(places / largest, 1))
    curves = expected(places) + DRIFT * pace * np.sqrt(doublings) * rng.standard_normal((DRAWS, 1))
    return np.clip(curves, 0, 1), noise * rng.standard_normal((DRAWS, 1))


def draw_parameters(counts: np.ndarray, scores: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draws of top, loss, power, shift and noise given the runs, each float (DRAWS,)."""
    settings = [(noise, share) for noise in NOISES for share in SHARES]
    forms = [(power, shift, weight) for power in POWERS for shift, weight in SHIFTS.items()]
    noises = np.array([noise for noise, _ in settings])
    powers, shifts, weights = np.array(forms, float).T
    shifts *= counts.min()

    shapes = remaining(counts, counts.min(), powers[:, None], shifts[:, None])
    parts = [fit(shapes, scores, covariance(counts, *setting)) for setting in settings]
    log_weight, mean, deviation = (np.stack(part) for part in zip(*parts, strict=True))  # (settings, forms, tops)
    log_weight += log_normal(noises, TYPICAL_NOISE, NOISE_SPREAD)[:, None, None]
    log_weight += (log_normal(powers, TYPICAL_POWER, POWER_SPREAD) + np.log(weights))[:, None]

    weight = np.exp(log_weight - log_weight.max()).ravel()
    cells = rng.choice(weight.size, DRAWS, p=weight / weight.sum())
    setting, form, top = np.unravel_index(cells, log_weight.shape)
    loss = truncated(rng.random(DRAWS), mean.ravel()[cells], deviation.ravel()[cells], TOPS[top])
    return TOPS[top], loss, powers[form], shifts[form], noises[setting]


def remaining(count, smallest: float, power, shift):
    """Part of the loss at the smallest count that is left at another."""
    return ((count + shift) / (smallest + shift)) ** -power


def covariance(counts: np.ndarray, noise: float, share: float) -> np.ndarray:
    """Return the covariance of runs around the curve, float (R, R): those with the same masks share the luck of these
    masks."""
    return noise**2 * (share * (counts[:, None] == counts) + (1 - share) * np.eye(len(counts)))


def fit(shapes: np.ndarray, scores: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every form (row of ``shapes``) and top: log weight, mean and deviation of the loss; each (forms, tops).

    Mean and deviation are those of the normal distribution that is then cut to 0…top; the weight is of what is left.
    """
    inverse = np.linalg.inv(sigma)
    missing = TOPS[:, None] - scores  # (tops, R)
    precision = np.einsum("fr,rs,fs->f", shapes, inverse, shapes)[:, None]
    mean = shapes @ inverse @ missing.T / precision
    deviation = np.broadcast_to(precision**-0.5, mean.shape)
    distance = np.einsum("tr,rs,ts->t", missing, inverse, missing) - precision * mean**2
    inside = log_probability(-mean / deviation, (TOPS - mean) / deviation)
    return inside + np.log(deviation) - distance / 2 - np.linalg.slogdet(sigma)[1] / 2, mean, deviation


def log_probability(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Logarithm of the standard normal probability of low…high."""
    low, high, _ = to_lower_tail(low, high)
    whole = log_ndtr(high)
    below = np.minimum(log_ndtr(low) - whole, -1e-12)  # keeps an empty range finite
    return whole + np.log1p(-np.exp(below))


def truncated(uniform: np.ndarray, mean: np.ndarray, deviation: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Draws of a normal variable that lies in 0…high."""
    lower, upper, turned = to_lower_tail(-mean / deviation, (high - mean) / deviation)
    drawn = ndtri(ndtr(lower) + uniform * (ndtr(upper) - ndtr(lower)))
    return np.clip(mean + deviation * np.where(turned, -drawn, drawn), 0, high)


def to_lower_tail(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The range, mirrored where it lies above 0 (probabilities near 1 have no digits left), and where it was."""
    turned = low > 0
    return np.where(turned, -high, low), np.where(turned, -low, high), turned


def log_normal(values: np.ndarray, median: float, spread: float) -> np.ndarray:
    return -np.square(np.log(values / median) / spread) / 2
