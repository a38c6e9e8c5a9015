"""Scores of photographs' tiles, and differences of them whose interval knows that clips and trainings are few.

A score is made of counts that are kept clip by clip. Two things were drawn: the clips that a film shows, and the
trainings (weights, order, training frames). Both are resampled at once, in each film for itself, the clips alike for
every arm and training (a two-way bootstrap; Owen 2007, arXiv 0712.1111). Of n, n − 1 are drawn, since few are there
(Rao and Wu 1988). The films themselves are not a sample: there are three, and a finding must have one sign in all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from .effects import NO, UNSETTLED, YES
from .photographs import CENTRE, PRESENCE
from .verdicts import LEVEL

DRAWS = 1000  # of the bootstrap
MIOU = "miou"
MARGINS = {PRESENCE: 0.03, CENTRE: 0.05, MIOU: 0.05}  # smallest effects of interest, by the score


@dataclass(frozen=True)
class Question:
    """A difference that is asked: of one score, a sum of cells by their factors; above 0 the claim is right."""

    name: str
    claim: str
    score: str
    factors: tuple[tuple[str, float], ...]

    @property
    def margin(self) -> float:
        return MARGINS[self.score]


def rest_of_the_gain(name: str, score: str, what: str) -> Question:
    """0.8 · (all − 1) − (16 − 1): above 0, 16 pixels give less than 80% of what all give over one."""
    factors = (("masks", 0.8), ("16 pixels", -1.0), ("1 pixel", 0.2))
    return Question(name, f"the many labelled pixels are the reason, {what}", score, factors)


PRIMARIES = (
    Question(
        "premise",
        "masks tell better than labels which classes a tile holds",
        PRESENCE,
        (("masks", 1.0), ("classifier, presence", -1.0)),
    ),
    Question(
        "locality",
        "the same label teaches more where it is read at its pixel than where it is told of the whole tile",
        CENTRE,
        (("1 pixel", 1.0), ("classifier, centre", -1.0)),
    ),
    rest_of_the_gain("pixels, class", CENTRE, "of the class of a tile's middle pixel"),
    rest_of_the_gain("pixels, outline", MIOU, "of the outline"),
)


@dataclass(frozen=True)
class Difference:
    """A question's value with its 95% interval, each film's own value, and the margin of its score."""

    value: float
    low: float
    high: float
    films: tuple[float, ...]
    margin: float

    @property
    def word(self) -> str:
        """Yes where it is above 0 for sure, large enough, and above 0 in every film; no where surely below margin."""
        if self.low > 0 and self.value >= self.margin and min(self.films) > 0:
            return YES
        return NO if self.high < self.margin else UNSETTLED


def scores_of(counts: Mapping) -> dict[str, float]:
    """The scores that a cell's counts give, each clip counting once."""
    return {name: float(score(counts, None)[0]) for name, score in SCORES.items() if KEPT_AS[name] in counts}


def centre_score(counts: Mapping, weights: np.ndarray | None) -> np.ndarray:
    """Balanced accuracy within places: the mean over places of the mean over their classes of the share of right ones.

    Args:
        counts: a cell's.
        weights: float (draws, clips), how often each clip counts; None: once, in one draw.

    Returns:
        float (draws,). A class that no drawn clip holds at a place has no say in that draw.
    """
    places = np.array(counts[CENTRE]["places"])
    right, of = (weighted(np.array(counts[CENTRE][name], float), weights) for name in ("right", "of"))
    share = np.divide(right, of, out=np.full_like(of, np.nan), where=of > 0)
    return nan_mean(np.stack([nan_mean(share[:, places == place]) for place in np.unique(places)], axis=1))


def presence_score(counts: Mapping, weights: np.ndarray | None) -> np.ndarray:
    """Area under the ROC curve within places, the mean over the classes; see ``centre_score``."""
    won, of = (np.array(counts[PRESENCE][name], float) for name in ("won", "of"))
    weights = np.ones((1, won.shape[-1])) if weights is None else weights
    won, of = (np.einsum("bi,kij,bj->bk", weights, each, weights, optimize=True) for each in (won, of))
    return nan_mean(np.divide(won, 2 * of, out=np.full_like(of, np.nan), where=of > 0))


def miou_score(counts: Mapping, weights: np.ndarray | None) -> np.ndarray:
    """Mean over the classes that the film holds of intersection over union; see ``centre_score``."""
    table = np.array(counts["pixels"], float)  # (clips, K, K)
    table = weighted(table.reshape(len(table), -1), weights).reshape(-1, *table.shape[1:])
    hits, truth = table.diagonal(axis1=1, axis2=2), table.sum(axis=2)
    union = truth + table.sum(axis=1) - hits
    return nan_mean(np.where(truth > 0, np.divide(hits, union, out=np.zeros_like(union), where=union > 0), np.nan))


SCORES = {CENTRE: centre_score, PRESENCE: presence_score, MIOU: miou_score}
KEPT_AS = {CENTRE: CENTRE, PRESENCE: PRESENCE, MIOU: "pixels"}


def weighted(counts: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Sums over the clips, (draws, …), of counts (clips, …)."""
    return (np.ones((1, len(counts))) if weights is None else weights) @ counts


def nan_mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis, of what is a number; NaN where nothing is."""
    held = np.isfinite(values)
    return np.divide(np.nansum(values, -1), held.sum(-1), out=np.full(len(values), np.nan), where=held.any(-1))


def redraws(rng, number: int, draws: int) -> np.ndarray:
    """Draw how much each of ``number`` counts, float (draws, number): of n, n − 1, each of which counts n / (n − 1)."""
    drawn = rng.multinomial(number - 1, np.full(number, 1 / number), draws)
    return drawn * number / (number - 1)


def difference(question: Question, films: list[list[dict[str, Mapping]]], draws: int = DRAWS, seed: int = 0):
    """A question's answer.

    Args:
        question: what is asked.
        films: of each film its trainings, two at least, each the counts by the cells' names.
        draws, seed: of the bootstrap.

    Returns:
        Difference. Its error is the bootstrap's standard deviation; the quantile is Student's, with the degrees of
        freedom that Satterthwaite (1946) gives two such sums: of few trainings, and of more clips.
    """
    rng, score = np.random.default_rng(seed), SCORES[question.score]
    plain, redrawn, between = [], [], []
    for trainings in films:
        clips = redraws(rng, number_of_clips(trainings[0][question.factors[0][0]]), draws)
        once, again = np.zeros(len(trainings)), np.zeros((draws, len(trainings)))
        for column, cells in enumerate(trainings):
            for name, factor in question.factors:
                once[column] += factor * score(cells[name], None)[0]
                again[:, column] += factor * score(cells[name], clips)
        plain.append(once)
        redrawn.append((again * redraws(rng, len(trainings), draws)).mean(axis=1))
        between.append((once.var(ddof=1) / len(once), len(once) - 1, clips.shape[1] - 1))
    each = np.array([one.mean() for one in plain])
    value, whole = float(each.mean()), float(np.nanvar(np.mean(redrawn, axis=0), ddof=1))
    variances, free, free_of_clips = (np.array(part, float) for part in zip(*between, strict=True))
    reach = float(stdtrit(degrees(variances, free, whole, free_of_clips.sum()), 1 - LEVEL / 2) * np.sqrt(whole))
    return Difference(value, value - reach, value + reach, tuple(map(float, each)), question.margin)


def degrees(variances: np.ndarray, free: np.ndarray, whole: float, of_clips: float) -> float:
    """Satterthwaite's degrees of freedom of the mean over films, whose variance is ``whole``.

    variances: of each film's mean, from its trainings' spread, with ``free`` degrees; what is left is the clips'.
    """
    trainings = variances / len(variances) ** 2
    left = max(whole - trainings.sum(), 0.0)
    parts = float((trainings**2 / free).sum() + left**2 / of_clips)
    return whole**2 / parts if parts > 0 and whole > 0 else float(free.sum())


def number_of_clips(counts: Mapping) -> int:
    if CENTRE in counts:
        return len(counts[CENTRE]["right"])
    return len(counts[PRESENCE]["won"][0])
