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
from engine.scoring.scores import bounds, by_class, number, unit_of, with_range
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
    evaluation: Evaluation
    settings: dict

    @property
    def matrices(self) -> np.ndarray:
        return self.evaluation.counts["confusion"]


def read_candidate(name: str, folder: Path) -> Candidate:
    """From an evaluation's folder. A run's own has settings, two folders above; an ensemble's or a referee's none."""
    evaluation, made = Evaluation.load(folder), schema.read(Path(folder) / "metrics.json", schema.METRICS)
    run = Path(folder).resolve().parent.parent
    if "ensemble" in made or "predictions" in made or not (run / "config.json").is_file():
        return Candidate(name, evaluation, {})
    run = Run.folder(run)
    if run.classifies != ("probabilities" in evaluation.counts):
        raise UserError(f"{folder}: not made by the run {run.path}, which is of another kind; evaluate that run again")
    data = run.dataset["fingerprint"][:8]  # the same data wherever it lay
    return Candidate(name, evaluation, run.config | {"data": data, "tta": made.get("tta", "none")})


def task_of(candidates: list[Candidate]) -> Task:
    """Return what candidates of one kind are compared by."""
    return LABELS if classifies(candidates[0]) else MASKS


def classifies(candidate: Candidate) -> bool:
    return "probabilities" in candidate.evaluation.counts


def truths(candidate: Candidate) -> np.ndarray:
    """The true label of each image that a classifier was scored on, int (N,)."""
    return candidate.matrices.sum(2).argmax(1)


def on_the_same_images(candidates: list[Candidate], group_by: str | None = None) -> list[Candidate]:
    """The candidates, all in the first one's order; with the groups that ``group_by`` finds in the names, if given.

    Raises:
        UserError: where they were not scored on the same images with the same masks, classes and groups.
    """
    if group_by:
        candidates = [replace(each, evaluation=regroup(each.evaluation, group_by)) for each in candidates]
    first, *others = candidates
    return [first, *(in_order_of(first, other) for other in others)]


def in_order_of(first: Candidate, other: Candidate) -> Candidate:
    """The other candidate with its images in the first one's order; the same errors as ``on_the_same_images``."""
    ours, theirs, both = first.evaluation, other.evaluation, f"{first.name} and {other.name}"
    if theirs.names != ours.names:
        raise UserError(
            f"{first.name} knows the classes {', '.join(ours.names)}; {other.name} knows {', '.join(theirs.names)}"
        )
    our_masks, their_masks = (dict(zip(each.stems, each.truths, strict=True)) for each in (ours, theirs))
    lacking = sorted(our_masks.keys() ^ their_masks.keys())
    if lacking:
        raise UserError(
            f"{both} were not scored on the same images (one of them lacks {some(lacking)}); "
            "train them with one --split-seed, or score both on one folder with --data"
        )
    changed = [stem for stem in our_masks if our_masks[stem] != their_masks[stem]]
    if changed:
        raise UserError(
            f"{both} were scored against different masks of {some(changed)}; "
            "remove the older evaluation's folder and evaluate again"
        )
    place = {stem: i for i, stem in enumerate(theirs.stems)}
    order = [place[stem] for stem in ours.stems]
    groups = [theirs.groups[i] for i in order]
    if groups != ours.groups:
        raise UserError(
            f"{both} were scored with different groups, which error bars are drawn from; "
            "say with --group-by which are meant"
        )
    counts = {name: array[order] for name, array in theirs.counts.items()}
    return replace(
        other, evaluation=replace(theirs, stems=ours.stems, groups=groups, truths=ours.truths, counts=counts)
    )


def regroup(evaluation: Evaluation, group_by: str) -> Evaluation:
    """The same evaluation with the groups that a regular expression finds in its images' names (without folders)."""
    pairs = group([Pair(stem.rpartition("/")[2], Path(), Path()) for stem in evaluation.stems], group_by)
    return replace(evaluation, groups=[pair.group for pair in pairs])


def compare(candidates: list[Candidate], task: Task = MASKS) -> dict:
    """compare.json: each network's score, each one's difference from the first, and the comparison of methods."""
    groups, unit = candidates[0].evaluation.groups, unit_of(candidates[0].evaluation.groups)
    units = [by_group(candidate.matrices, groups) for candidate in candidates]
    scores = [task.headline(counts.sum(0)) for counts in units]
    ranges = [interval(counts, task.headline, unit=unit) for counts in units]
    first, *others = candidates
    needed = list(map(task.sums_for_headline, units))
    differences = [
        unless_alike(difference(needed[0], counts, task.headline_of_sums, unit=unit), [first], [other], task)
        for counts, other in zip(needed[1:], others, strict=True)
    ]
    return {
        "score": task.score,
        "of_class": task.class_score,
        "first": first.name,
        "unit": unit,
        "num_images": len(groups),
        "num_units": len(units[0]),
        "networks": {
            candidate.name: {
                task.score: number(score),
                f"{task.score}_ci95": bounds(ends),
                f"{task.score}_ci95_note": ends.note or None,
                task.class_score: by_class(
                    task.scores_of_classes(candidate.matrices.sum(0)), candidate.evaluation.names
                ),
            }
            for candidate, score, ends in zip(candidates, scores, ranges, strict=True)
        },
        "differences": described([other.name for other in others], differences, task),
        "methods": compare_methods(candidates, groups, unit, task),
    }


def described(names: list[str], differences: list[Difference], task: Task) -> dict[str, dict]:
    """JSON's form of differences from one first; the p-values of all are Holm's family."""
    told = [i for i, difference in enumerate(differences) if difference.p is not None]
    adjusted = dict(zip(told, holm([differences[i].p for i in told]), strict=True))
    return {
        name: with_range(task.score, difference)
        | {
            "p": difference.p,
            "p_holm": adjusted.get(i),
            "told_apart": i in adjusted and adjusted[i] <= LEVEL,
        }
        for i, (name, difference) in enumerate(zip(names, differences, strict=True))
    }


def unless_alike(result: Difference, first: list[Candidate], second: list[Candidate], task: Task) -> Difference:
    """A difference without its interval where images of neighbouring names differ alike: their number then misleads."""
    seen = first[0].evaluation
    means = [np.mean([task.headline(run.matrices) for run in runs], 0) for runs in (first, second)]
    labels = truths(first[0]) if classifies(first[0]) else None
    correlation = None if any(seen.groups) else alike(seen.stems, means[1] - means[0], labels)
    if correlation is None:
        return result
    note = (
        f"images of neighbouring names differ alike, correlation {correlation:.2f}, as frames of a film do: "
        "name the films with --group-by"
    )
    return Difference(result.value, None, None, None, note)


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
        name: np.stack([task.sums_for_headline(by_group(member.matrices, groups)) for member in members])
        for name, members in ready.items()
    }
    first, *others = stacked
    results = [
        unless_alike(
            difference_of_methods(stacked[first], stacked[name], task.headline_of_sums, unit=unit),
            ready[first],
            ready[name],
            task,
        )
        for name in others
    ]
    return {"note": None, "first": first, "seeds": counted, "differences": described(others, results, task)}


def by_method(candidates: list[Candidate], every_run: bool = False) -> dict[str, list[Candidate]]:
    """Candidates of equal settings but for the seed, under a name that says where the methods differ.

    every_run: those of one seed too; otherwise the first alone.
    """
    settings = [{k: str(v) for k, v in candidate.settings.items() if k not in NO_METHOD} for candidate in candidates]
    keys = sorted({key for setting in settings for key in setting})
    varying = [key for key in keys if len({setting.get(key) for setting in settings if setting}) > 1]
    if "strategy" in varying:
        varying = ["strategy", *(key for key in varying if key != "strategy" and not follows(key, settings))]
    methods: dict[str, list[Candidate]] = {}
    for candidate, mine in zip(candidates, settings, strict=True):
        told = ", ".join(f"{key.replace('_', ' ')} {mine.get(key, NO_SUCH.get(key, '–'))}" for key in varying)
        name = (told or mine.get("model") or mine.get("backbone", "")) if mine else candidate.name
        seeds = [other.settings.get("seed") for other in methods.get(name, [])]
        if candidate.settings.get("seed") in seeds and mine and not every_run:
            continue  # the same seed again is no further evidence
        methods.setdefault(name, []).append(candidate)
    return methods


def follows(key: str, settings: list[dict]) -> bool:
    """Return whether a classifier's strategy, or that there is none, decides this setting among these runs."""
    values_of = {}
    for setting in settings:
        values_of.setdefault(setting.get("strategy"), set()).add(setting.get(key))
    return all(len(values) == 1 for values in values_of.values())


def headline(results: dict) -> str:
    """Say which are better than the first, which are worse, and which cannot be told from it."""
    first, differences, score = results["first"], results["differences"], results["score"]
    told = {name: difference for name, difference in differences.items() if difference["told_apart"]}
    kinds = {
        f"better than {first}": [name for name, difference in told.items() if difference[score] > 0],
        f"worse than {first}": [name for name, difference in told.items() if difference[score] < 0],
        f"not to be told from {first}": [
            name
            for name, difference in differences.items()
            if name not in told and difference[f"{score}_ci95"] is not None
        ],
    }
    parts = [f"{joined(names)} {'is' if len(names) == 1 else 'are'} {kind}" for kind, names in kinds.items() if names]
    if unknown := [name for name, difference in differences.items() if difference[f"{score}_ci95"] is None]:
        are = "is" if len(unknown) == 1 else "are"
        these = "these" if parts else "These"
        parts.append(f"{these} images cannot say whether {joined(unknown)} {are} better than {first}")
    return "; ".join(parts) + "."


def joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def sentences(results: dict) -> list[str]:
    """Say the comparison in sentences: one a network, then one a method."""
    score = results["score"]
    told = [sentence(results["first"], name, difference, score) for name, difference in results["differences"].items()]
    methods = results["methods"]
    if methods["note"]:
        return [*told, f"These are statements about these trained networks: {methods['note']}."]
    return told + [
        "As methods, over seeds: " + sentence(methods["first"], name, difference, score)
        for name, difference in methods["differences"].items()
    ]


def sentence(first: str, name: str, difference: dict, score: str = "miou") -> str:
    value, words = difference[score], TASKS[score].words
    if difference[f"{score}_ci95"] is None:
        reason = difference[f"{score}_ci95_note"]
        return f"{name} less {first}: {words} {show(value, '+.3f')}; whether that is chance cannot be said ({reason})."
    low, high = difference[f"{score}_ci95"]
    numbers = f"{words} {value:+.3f}, 95% interval {low:+.3f} to {high:+.3f}, adjusted p = {difference['p_holm']:.2g}"
    if not difference["told_apart"]:
        return f"{name} and {first} cannot be told apart: {numbers}."
    return f"{name} is {'better' if value > 0 else 'worse'} than {first}: {numbers}."
