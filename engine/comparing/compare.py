"""Several networks on the same images: which differences are more than chance."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.findings import some
from data_pipeline.pairs import Pair, group
from engine import schema
from engine.run import Run
from engine.scoring.evaluation import Evaluation, alike
from engine.scoring.intervals import (
    LEAST_SEEDS,
    Difference,
    by_group,
    difference,
    difference_of_methods,
    holm,
    interval,
)
from engine.scoring.scores import bounds, number, unit_of, with_range
from engine.scoring.task import LABELS, MASKS, TASKS, Task
from engine.scoring.verdict import show

LEVEL = 0.05  # of the adjusted p-values
NO_SUCH = {"strategy": "masks"}  # what a setting that a run does not have is called
# Settings that two runs of one method may differ in; the frame follows from the others.
NO_METHOD = ("name", "seed", "runs_dir", "deterministic", "frame")


@dataclass(frozen=True)
class Candidate:
    """One evaluation to compare: its name, what was counted, and the settings of the run that made it, if any."""

    name: str
    found: Evaluation
    settings: dict

    @property
    def matrices(self) -> np.ndarray:
        return self.found.counts["confusion"]


def read_candidate(name: str, folder: Path) -> Candidate:
    """From an evaluation's folder. A run's own has settings, two folders above; an ensemble's or a referee's none."""
    found, made = Evaluation.load(folder), schema.read(Path(folder) / "metrics.json", schema.METRICS)
    run = Path(folder).resolve().parent.parent
    if "ensemble" in made or "predictions" in made or not (run / "config.json").is_file():
        return Candidate(name, found, {})
    run = Run.folder(run)
    if run.classifies != ("probabilities" in found.counts):
        raise UserError(f"{folder}: not made by the run {run.path}, which is of another kind; evaluate that anew")
    data = run.dataset["fingerprint"][:8]  # the same data wherever it lay
    return Candidate(name, found, run.config | {"data": data, "tta": made.get("tta", "none")})


def task_of(candidates: list[Candidate]) -> Task:
    """What candidates of one kind are compared by."""
    return LABELS if classifies(candidates[0]) else MASKS


def classifies(candidate: Candidate) -> bool:
    return "probabilities" in candidate.found.counts


def truths(candidate: Candidate) -> np.ndarray:
    """The true label of each image that a classifier was scored on, int (N,)."""
    return candidate.matrices.sum(2).argmax(1)


def on_the_same_images(candidates: list[Candidate], group_by: str | None = None) -> list[Candidate]:
    """The candidates, all in the first one's order; with the groups that ``group_by`` finds in the names, if given.

    Raises:
        UserError: where they were not scored on the same images with the same masks, classes and groups.
    """
    if group_by:
        candidates = [replace(one, found=regroup(one.found, group_by)) for one in candidates]
    first = candidates[0]
    masks = dict(zip(first.found.stems, first.found.truths, strict=True))
    aligned = []
    for one in candidates:
        if one.found.names != first.found.names:
            raise UserError(
                f"{first.name} knows the classes {', '.join(first.found.names)}; "
                f"{one.name} knows {', '.join(one.found.names)}"
            )
        theirs = dict(zip(one.found.stems, one.found.truths, strict=True))
        lacking = sorted(masks.keys() ^ theirs.keys())
        if lacking:
            raise UserError(
                f"{first.name} and {one.name} were not scored on the same images (one of them lacks {some(lacking)}); "
                "train them with one --split-seed, or score both on one folder with --data"
            )
        changed = [stem for stem in masks if masks[stem] != theirs[stem]]
        if changed:
            raise UserError(
                f"{first.name} and {one.name} were scored against different masks of {some(changed)}; "
                "remove the older evaluation's folder and evaluate it anew"
            )
        place = {stem: i for i, stem in enumerate(one.found.stems)}
        order = [place[stem] for stem in first.found.stems]
        counts = {name: array[order] for name, array in one.found.counts.items()}
        groups = [one.found.groups[i] for i in order]
        if groups != first.found.groups:
            raise UserError(
                f"{first.name} and {one.name} were scored with different groups, which error bars are drawn from; "
                "say with --group-by which are meant"
            )
        in_order = replace(one.found, stems=first.found.stems, groups=groups, truths=first.found.truths, counts=counts)
        aligned.append(replace(one, found=in_order))
    return aligned


def regroup(found: Evaluation, group_by: str) -> Evaluation:
    """The same evaluation with the groups that a regular expression finds in its images' names (without folders)."""
    pairs = group([Pair(stem.rpartition("/")[2], Path(), Path()) for stem in found.stems], group_by)
    return replace(found, groups=[pair.group for pair in pairs])


def compare(candidates: list[Candidate], task: Task = MASKS) -> dict:
    """compare.json: each network's score, each one's difference from the first, and what can be said of methods."""
    groups, unit = candidates[0].found.groups, unit_of(candidates[0].found.groups)
    units = [by_group(one.matrices, groups) for one in candidates]
    scores = [task.of(one.sum(0)) for one in units]
    ranges = [interval(one, task.of, unit=unit) for one in units]
    first, *others = candidates
    needed = list(map(task.needs, units))
    found = [
        unless_alike(difference(needed[0], one, task.of_needs, unit=unit), [first], [each], task)
        for one, each in zip(needed[1:], others, strict=True)
    ]
    return {
        "score": task.score,
        "of_class": task.class_score,
        "first": first.name,
        "unit": unit,
        "num_images": len(groups),
        "num_units": len(units[0]),
        "networks": {
            one.name: {
                task.score: number(score),
                f"{task.score}_ci95": bounds(ends),
                f"{task.score}_ci95_note": ends.note or None,
                task.class_score: dict(
                    zip(one.found.names, map(number, task.of_classes(one.matrices.sum(0))), strict=True)
                ),
            }
            for one, score, ends in zip(candidates, scores, ranges, strict=True)
        },
        "differences": described([one.name for one in others], found, task),
        "methods": compare_methods(candidates, groups, unit, task),
    }


def described(names: list[str], found: list[Difference], task: Task) -> dict[str, dict]:
    """JSON's form of differences from one first; the p-values of all are Holm's family."""
    told = [i for i, one in enumerate(found) if one.p is not None]
    adjusted = dict(zip(told, holm([found[i].p for i in told]), strict=True))
    return {
        name: with_range(task.score, one)
        | {
            "p": one.p,
            "p_holm": adjusted.get(i),
            "told_apart": i in adjusted and adjusted[i] <= LEVEL,
        }
        for i, (name, one) in enumerate(zip(names, found, strict=True))
    }


def unless_alike(found: Difference, first: list[Candidate], second: list[Candidate], task: Task) -> Difference:
    """A difference without its interval where images of neighbouring names differ alike: their number then misleads."""
    seen = first[0].found
    means = [np.mean([task.of(one.matrices) for one in runs], 0) for runs in (first, second)]
    labels = truths(first[0]) if classifies(first[0]) else None
    correlation = None if any(seen.groups) else alike(seen.stems, means[1] - means[0], labels)
    if correlation is None:
        return found
    note = (
        f"images of neighbouring names differ alike, correlation {correlation:.2f}, as frames of a film do: "
        "name the films with --group-by"
    )
    return Difference(found.value, None, None, None, note)


def compare_methods(candidates: list[Candidate], groups: list[str | None], unit: str, task: Task = MASKS) -> dict:
    """Runs that differ in their seed alone are one method; methods are compared from LEAST_SEEDS seeds each."""
    methods = by_method(candidates)
    ready = {name: members for name, members in methods.items() if len(members) >= LEAST_SEEDS}
    counted = {name: len(members) for name, members in methods.items()}
    if len(ready) < 2 or next(iter(methods)) not in ready:
        note = (
            f"a statement about methods needs {LEAST_SEEDS} runs with different --seed of each; these are "
            + ", ".join(f"{count} of {name}" for name, count in counted.items())
        )
        return {"note": note, "seeds": counted, "differences": {}}
    stacked = {
        name: np.stack([task.needs(by_group(one.matrices, groups)) for one in members])
        for name, members in ready.items()
    }
    first, *others = stacked
    found = [
        unless_alike(
            difference_of_methods(stacked[first], stacked[name], task.of_needs, unit=unit),
            ready[first],
            ready[name],
            task,
        )
        for name in others
    ]
    return {"note": None, "first": first, "seeds": counted, "differences": described(others, found, task)}


def by_method(candidates: list[Candidate], every_run: bool = False) -> dict[str, list[Candidate]]:
    """Candidates of equal settings but for the seed, under a name that says where the methods differ.

    every_run: those of one seed too; otherwise the first alone.
    """
    settings = [{k: str(v) for k, v in one.settings.items() if k not in NO_METHOD} for one in candidates]
    keys = sorted({key for one in settings for key in one})
    varying = [key for key in keys if len({one.get(key) for one in settings if one}) > 1]
    if "strategy" in varying:
        varying = ["strategy", *(key for key in varying if key != "strategy" and not follows(key, settings))]
    methods: dict[str, list[Candidate]] = {}
    for one, mine in zip(candidates, settings, strict=True):
        told = ", ".join(f"{key.replace('_', ' ')} {mine.get(key, NO_SUCH.get(key, '–'))}" for key in varying)
        name = (told or mine.get("model") or mine.get("backbone", "")) if mine else one.name
        seeds = [other.settings.get("seed") for other in methods.get(name, [])]
        if one.settings.get("seed") in seeds and mine and not every_run:
            continue  # the same seed again is no further evidence
        methods.setdefault(name, []).append(one)
    return methods


def follows(key: str, settings: list[dict]) -> bool:
    """Whether a classifier's strategy, or that there is none, decides this setting among these runs."""
    found = {}
    for one in settings:
        found.setdefault(one.get("strategy"), set()).add(one.get(key))
    return all(len(values) == 1 for values in found.values())


def headline(results: dict) -> str:
    """Who is better than the first, who is worse, and who cannot be told from it."""
    first, differences, score = results["first"], results["differences"], results["score"]
    told = {name: one for name, one in differences.items() if one["told_apart"]}
    kinds = {
        f"better than {first}": [name for name, one in told.items() if one[score] > 0],
        f"worse than {first}": [name for name, one in told.items() if one[score] < 0],
        f"not to be told from {first}": [
            name for name, one in differences.items() if name not in told and one[f"{score}_ci95"] is not None
        ],
        f"not to be compared with {first} on these images": [
            name for name, one in differences.items() if one[f"{score}_ci95"] is None
        ],
    }
    parts = [f"{joined(names)} {'is' if len(names) == 1 else 'are'} {kind}" for kind, names in kinds.items() if names]
    return "; ".join(parts) + "."


def joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def sentences(results: dict) -> list[str]:
    """What the comparison says, one sentence a network, then one a method."""
    score = results["score"]
    said = [sentence(results["first"], name, one, score) for name, one in results["differences"].items()]
    methods = results["methods"]
    if methods["note"]:
        return [*said, f"These are statements about these trained networks: {methods['note']}."]
    return said + [
        "As methods, over seeds: " + sentence(methods["first"], name, one, score)
        for name, one in methods["differences"].items()
    ]


def sentence(first: str, name: str, one: dict, score: str = "miou") -> str:
    value, words = one[score], TASKS[score].words
    if one[f"{score}_ci95"] is None:
        reason = one[f"{score}_ci95_note"]
        return f"{name} less {first}: {words} {show(value, '+.3f')}; whether that is chance cannot be said ({reason})."
    low, high = one[f"{score}_ci95"]
    numbers = f"{words} {value:+.3f}, 95% interval {low:+.3f} to {high:+.3f}, adjusted p = {one['p_holm']:.2g}"
    if not one["told_apart"]:
        return f"{name} and {first} cannot be told apart: {numbers}."
    return f"{name} is {'better' if value > 0 else 'worse'} than {first}: {numbers}."
