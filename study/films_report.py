"""The report of a study of photographs: its questions' answers with each film's own, and every arm's scores."""

import numpy as np

from engine.reporting.page import Cell, Section, Table

from .films import MIOU, PRIMARIES, Difference, difference, scores_of
from .findings import Study, signed
from .photographs import CENTRE, PRESENCE

SCORE_WORDS = {CENTRE: "balanced accuracy", PRESENCE: "area under the curve", MIOU: "mIoU"}
HEADS = {CENTRE: "class of the middle pixel", PRESENCE: "classes of the tile", MIOU: "mIoU"}


def by_film(study: Study) -> list[list[dict[str, dict]]]:
    """Return of each film its trainings, the counts by the cells' names."""
    films = study.plan.settings.knobs.films
    made: list[list[dict]] = [[] for _ in range(films)]
    for seed, results in zip(study.plan.seeds, study.results, strict=True):
        made[seed % films].append({name: result["counts"] for name, result in results.items()})
    return made


def answers(study: Study) -> dict[str, Difference]:
    """Answer each primary, by its name."""
    films = by_film(study)
    return {one.name: difference(one, films) for one in PRIMARIES}


def mean_scores(study: Study) -> dict[str, dict[str, np.ndarray]]:
    """Cell → score → float (films,), the mean over a film's trainings."""
    films, made = by_film(study), {}
    for name in films[0][0]:
        each = [[scores_of(training[name]) for training in film] for film in films]
        made[name] = {what: np.array([np.mean([one[what] for one in film]) for film in each]) for what in each[0][0]}
    return made


def headline_of(study: Study) -> str:
    return "; ".join(f"{name}: {one.word}, {told(one)}" for name, one in answers(study).items())


def told(one: Difference) -> str:
    """+0.032 (0.011 to 0.053)."""
    return f"{signed(one.value)} ({signed(one.low)} to {signed(one.high)})"


def sections_of(study: Study) -> list[Section]:
    read = [
        f"Scores are made within a place of the frame, and a film is left out. Yes: the interval lies above 0, the "
        f"difference is at least its margin, and above 0 in each of the {study.plan.settings.knobs.films} films. No: "
        "the whole interval lies below the margin. Else not settled. Intervals: 95%, two-way bootstrap over clips and "
        "trainings, not adjusted for their number."
    ]
    claims = [f"{one.name}: {one.claim}." for one in PRIMARIES]
    return [
        Section("What was asked", [*claims, *read], [primary_table(study)]),
        Section("Every arm", [], [arm_table(study)]),
    ]


def primary_table(study: Study) -> Table:
    asked = {one.name: one for one in PRIMARIES}
    rows = [
        [
            name,
            one.word,
            Cell(one.value, (one.low, one.high)),
            *one.films,
            asked[name].margin,
            SCORE_WORDS[asked[name].score],
        ]
        for name, one in answers(study).items()
    ]
    films = [f"film {place + 1}" for place in range(study.plan.settings.knobs.films)]
    return Table(["question", "answer", "difference, 95%", *films, "margin", "in"], rows, "Primary differences")


def arm_table(study: Study) -> Table:
    rows = [
        [name, *(float(scores[what].mean()) if what in scores else None for what in HEADS)]
        for name, scores in mean_scores(study).items()
    ]
    return Table(["trained on", *HEADS.values()], rows, "Scores, the mean over films and trainings")
