"""report.html of a classifier: the same page as the segmenter's, with what each decision rests on (Grad-CAM)."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from data_pipeline.encoding import default_color
from data_pipeline.labels import Photo
from engine.run import Run
from engine.scoring.classifier_scores import activation_maps
from engine.scoring.evaluation import Evaluation
from engine.scoring.task import LABELS
from engine.scoring.thresholds import threshold_counts
from engine.scoring.verdict import verdict

from .gallery import Gallery, Picture, small
from .page import Opening, Section, Table, write_page
from .report import (
    MOST_IMAGES,
    bars,
    calibration,
    cell,
    confusions,
    numbers,
    signed,
    threshold_section,
    training,
    way,
    worst_median_best,
)

HEAT = 0.55  # opacity of the activation map over the image in grey
NAMED = 3  # classes, the likeliest
SCORE = "probability of the truth"
TITLES = {"image": "the image, and what speaks for the predicted class"}


def write_class_report(
    path: Path, run: Run, evaluation: Evaluation, results: dict, facts: list[str], photos: list[Photo]
):
    """Write the page of one evaluation.

    Args:
        path: of report.html.
        run: of the classifier.
        evaluation, results: what was counted, and metrics.json.
        facts: what the numbers rest on, a few words each.
        photos: what was looked at, in the order of ``evaluation``.
    """
    said = verdict(results)
    sections = [
        beside(results),
        classes(results, evaluation),
        confusions(results, evaluation),
        *by_threshold(evaluation),
        *calibration(results),
        *training(run.path / "history.csv"),
        gallery(run, evaluation, photos),
    ]
    sure = evaluation.counts["probabilities"][np.arange(len(photos)), truths(evaluation)]
    chosen = worst_median_best(sure)
    examples = pictures(run, evaluation, photos, [i for _, i in chosen], [word for word, _ in chosen])
    strip = Gallery(examples, evaluation.names, colors_of(evaluation), panels=("image",), titles=TITLES)
    opening = Opening(said.advice, numbers(results), strip)
    write_page(path, run.path.name, said.claim, said.loud, facts, sections, opening)


def beside(results: dict) -> Section:
    """The network and what it must beat."""
    tops = [name for name in results if name.startswith("top_")]
    head = ["", "accuracy", "its lead", "balanced accuracy", "macro-F1", *(name.replace("_", "-") for name in tops)]
    rest = [name for name in LABELS.overall if name != "accuracy"]
    rows = [["network", cell(results, "accuracy"), None, *(cell(results, name) for name in rest + tops)]]
    for name, one in results["baselines"].items():
        ahead = signed(one["lead"], "accuracy")
        none = [None] * len(tops)
        rows.append([way(name), one["accuracy"], ahead, *(one[key] for key in rest), *none])
    unit = results["unit"]
    text = [
        f"Small ranges are 95% intervals over {results['num_units']} {unit}s: where the score of all such {unit}s "
        "probably lies. Its lead: the network's accuracy less this row's, on the same images. Colour forest: a random "
        "forest on a tiny copy of each image and the histograms of its colours."
    ]
    return Section("Compared with the baselines", tables=[Table(head, rows)], help=text)


def classes(results: dict, evaluation: Evaluation) -> Section:
    head = ["class", "images", "recall", "precision", "F1"]
    rows = [
        [
            name,
            results["images_with"][name],
            cell(results, "recall", name),
            results["precision"][name],
            cell(results, "f1", name),
        ]
        for name in evaluation.names
    ]
    return Section("Classes", tables=[Table(head, rows)], plots=[bars(results, evaluation.names)])


def by_threshold(evaluation: Evaluation) -> list[Section]:
    """Two classes: what another threshold than 0.5 would give."""
    if len(evaluation.names) != 2:
        return []
    return threshold_section(
        threshold_counts(evaluation.counts["probabilities"], truths(evaluation)), evaluation.names[1], False
    )


def truths(evaluation: Evaluation) -> np.ndarray:
    """The true label of each image, int (N,)."""
    return evaluation.counts["confusion"].sum(2).argmax(1)


def colors_of(evaluation: Evaluation) -> tuple[tuple[int, int, int], ...]:
    return tuple(default_color(i + 1) for i in range(len(evaluation.names)))


def gallery(run: Run, evaluation: Evaluation, photos: list[Photo]) -> Section:
    """The worst images beside their activation maps."""
    help = [
        "Each image as the network sees it, beside what speaks for the class that it predicts (Grad-CAM): bright is "
        "much. The worst first: by the probability that the true class got. Sort by certainty for the images that the "
        "network is least sure of: labels of others like them would teach it most."
    ]
    text = [f"The worst {MOST_IMAGES} of {len(photos)} images."] if len(photos) > MOST_IMAGES else []
    sure = evaluation.counts["probabilities"][np.arange(len(photos)), truths(evaluation)]
    worst = np.argsort(sure, kind="stable")[:MOST_IMAGES].tolist()
    shown = Gallery(
        pictures(run, evaluation, photos, worst),
        evaluation.names,
        colors_of(evaluation),
        sort=SCORE,
        panels=("image",),
        titles=TITLES,
    )
    return Section("Images", text, gallery=shown, help=help)


def pictures(
    run: Run, evaluation: Evaluation, photos: list[Photo], chosen: list[int], notes: list[str] | None = None
) -> Iterator[Picture]:
    """The chosen photos beside their activation maps; without ``notes``, what is said of each is its note."""
    probabilities, true = evaluation.counts["probabilities"], truths(evaluation)
    said = evaluation.counts["confusion"].sum(1).argmax(1)
    looked = activation_maps(run, [photos[i] for i in chosen], [int(said[i]) for i in chosen])
    for place, (i, (image, heat)) in enumerate(zip(chosen, looked, strict=True)):
        likeliest = np.argsort(-probabilities[i], kind="stable")[:NAMED]
        says = ", ".join(f"{evaluation.names[c]} {probabilities[i, c]:.0%}" for c in likeliest)
        note = notes[place] if notes else f"predicted: {says}; truth: {evaluation.names[true[i]]}"
        scores = {SCORE: float(probabilities[i, true[i]]), "certainty": float(probabilities[i].max())}
        (shown,) = small(beside_heat(image, heat))
        yield Picture(evaluation.stems[i], scores, shown, note=note, classes=(int(true[i]), int(said[i])))


def beside_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image, and beside it the same in grey under the heat, 0…1; uint8 (H, 2·W, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, -1)
    glow = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.hstack([image, ((1 - HEAT) * grey + HEAT * glow).astype(np.uint8)])
