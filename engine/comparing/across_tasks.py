"""Masks beside labels: what each training cost, how it did on the same images, and its curve over their number."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.encoding import Encoding
from data_pipeline.labels import centre_of, corner_of, image_of, label_names, label_of_pixels
from data_pipeline.masks import read_mask
from engine import schema
from engine.run import Run
from engine.scoring.classifier_scores import one_hot
from engine.scoring.intervals import by_group, interval
from engine.scoring.scores import bounds, number, unit_of
from engine.scoring.task import LABELS, TASKS, Task
from engine.scoring.verdict import brackets, show
from engine.training.cost import COST

from .compare import Candidate, by_method, classifies, task_of, truths

COUNTS = ("train_count", "train_per_class", "data")  # in which the runs of one curve may differ


def costs(candidates: list[Candidate], folders: dict[str, Path]) -> list[dict]:
    """A row for each run that left a cost.json: what it took, and its own score on its own task."""
    rows = []
    for candidate in candidates:
        path = folders[candidate.name].resolve().parent.parent / COST
        if not candidate.settings or not path.is_file():
            continue
        task = task_of([candidate])
        groups = candidate.evaluation.groups
        ends = interval(by_group(candidate.matrices, groups), task.headline, unit=unit_of(groups))
        rows.append(
            {
                "name": candidate.name,
                "task": candidate.settings.get("strategy", "masks"),
                "network": candidate.settings.get("backbone") or candidate.settings["model"],
                **schema.read(path, schema.COST),
                "score": task.score,
                "value": number(task.headline(candidate.matrices.sum(0))),
                "value_ci95": bounds(ends),
                "value_ci95_note": ends.note or None,
            }
        )
    return rows


def same_decision(candidates: list[Candidate], folders: dict[str, Path]) -> list[Candidate]:
    """Segmenters beside classifiers: each one's answer for the same images' labels.

    A segmenter's label is read off the mask that it predicted, by the rule that the classifiers' labels were read off
    the true masks. Where it finds no foreground it has no answer, and is counted as wrong.

    Raises:
        UserError: where the classifiers' labels come from no masks, or from different rules, or masks of other classes.
    """
    known = [candidate for candidate in candidates if classifies(candidate)]
    for each in known:
        if not each.settings:
            raise UserError(f"{each.name}: an evaluation outside of its run does not say where its labels come from")
    rules = {(each.settings["label_from_masks"], each.settings["tile"]) for each in known}
    if len(rules) > 1 or (None, None) in rules:
        raise UserError(
            "segmenters are compared with classifiers on labels from the same masks: train all classifiers with one "
            "--label-from-masks (and --tile)"
        )
    rule, tile = rules.pop()
    return [
        candidate if classifies(candidate) else as_labels(candidate, known[0], rule, tile, folders[candidate.name])
        for candidate in candidates
    ]


def as_labels(candidate: Candidate, classifier: Candidate, rule: str, tile: int | None, folder: Path) -> Candidate:
    """A segmenter's evaluation as one of labels, of the images that the classifier was scored on."""
    if not candidate.settings:
        raise UserError(f"{candidate.name}: only runs of train.py are compared with classifiers")
    encoding = Run.folder(folder.resolve().parent.parent).encoding
    names = label_names(rule, encoding)
    if names != classifier.evaluation.names:
        raise UserError(
            f"{candidate.name} by {rule} knows {', '.join(names)}; {classifier.name} knows "
            f"{', '.join(classifier.evaluation.names)}"
        )
    place = {stem: i for i, stem in enumerate(candidate.evaluation.stems)}
    wanted = [image_of(stem) if tile else stem for stem in classifier.evaluation.stems]
    lacking = set(wanted) - set(place)
    if lacking:
        raise UserError(
            f"{candidate.name} was not scored on {len(lacking)} of {classifier.name}'s images; train both with one "
            "--split-seed"
        )
    matrices, labels = candidate.matrices[[place[stem] for stem in wanted]], truths(classifier)
    true, predicted = matrices.sum(2), matrices.sum(1)  # (N, C): pixels of each class, where the truth is not void
    if tile:
        agree = true[np.arange(len(labels)), labels] > 0
        answers = np.array([answer_at_centre(stem, folder, encoding, tile) for stem in classifier.evaluation.stems])
    else:
        agree = label_of_pixels(true, rule, encoding) == labels
        answers = label_of_pixels(predicted, rule, encoding)
        answers = np.where(answers < 0, (labels + 1) % len(names), answers)
    if not agree.all():
        other = classifier.evaluation.stems[int(agree.argmin())]
        raise UserError(
            f"{candidate.name} was scored against masks that do not give {classifier.name}'s labels ({other} is the "
            "first): train both on one data set, or remove the older evaluation's folder and evaluate again"
        )
    evaluation = replace(classifier.evaluation, counts={"confusion": one_hot(labels, answers, len(names))}, beside={})
    return replace(candidate, evaluation=evaluation)


def answer_at_centre(stem: str, folder: Path, encoding: Encoding, tile: int) -> int:
    """The class that a predicted mask has at the centre of a tile."""
    indices = Encoding(encoding.names, tuple(range(encoding.num_classes)), encoding.colors)
    mask = read_mask(folder / "predictions" / f"{image_of(stem)}.png", indices)
    row, column = centre_of(corner_of(stem), tile)
    if not (row < mask.shape[0] and column < mask.shape[1]):
        raise UserError(f"{folder}: its mask of {image_of(stem)} is too small for the tile {stem}; evaluate again")
    return int(mask[row, column])


def curves(candidates: list[Candidate], rows: list[dict], task: Task = LABELS) -> dict[str, list[dict]]:
    """Method → its runs with different numbers of training images: images, score. Empty without such numbers."""
    images = {row["name"]: row["images"] for row in rows}
    known = [run for run in candidates if run.name in images]
    if len({images[run.name] for run in known}) < 2:
        return {}
    alike = [replace(run, settings={k: v for k, v in run.settings.items() if k not in COUNTS}) for run in known]
    return {
        name: sorted(
            ({"images": images[run.name], "score": number(task.headline(run.matrices.sum(0)))} for run in members),
            key=lambda point: point["images"],
        )
        for name, members in by_method(alike, every_run=True).items()
    }


def print_costs(rows: list[dict]) -> None:
    """The table of what each training took, as lines of text."""
    if not rows:
        return
    head = [["run", "task", "weights trained / all", "images", "bits a label", "steps", "minutes", "MiB", "score"]]
    lines = head + [list(in_words(row).values()) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    print()


def in_words(row: dict) -> dict[str, str]:
    """A row of ``costs`` as people read it."""
    ends = row["value_ci95"]
    return {
        "run": row["name"],
        "task": row["task"],
        "weights": f"{row['trainable_parameters']:,} / {row['parameters']:,}",
        "images": f"{row['images']:,}",
        "bits": ", ".join(f"{bits:,.1f} {kind}" for kind, bits in row["label_bits_per_image"].items()),
        "steps": f"{row['steps']:,}",
        "minutes": f"{row['seconds'] / 60:.1f}, {row['seconds_per_epoch']:.0f} s an epoch",
        "memory": f"{row['peak_memory_bytes'] / 2**20:,.0f}" if row["peak_memory_bytes"] else "–",
        "score": f"{TASKS[row['score']].words} {show(row['value'])}{brackets(ends)}",
    }
