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
from engine.scoring.verdict import verdict

from .page import Gallery, Picture, Section, Table, small, write_page
from .report import MOST_IMAGES, calibration, cell, confusions, signed, training

HEAT = 0.55  # opacity of the activation map over the image in grey
UNCERTAIN = 8  # images named
NAMED = 3  # classes, the likeliest
SCORE = "probability of the truth"


def write_class_report(path: Path, run: Run, found: Evaluation, results: dict, facts: list[str], photos: list[Photo]):
    """Write the page of one evaluation.

    Args:
        path: of report.html.
        run: of the classifier.
        found, results: what was counted, and metrics.json.
        facts: what the numbers rest on, a few words each.
        photos: what was looked at, in the order of ``found``.
    """
    said = verdict(results)
    sections = [
        beside(results),
        classes(results, found),
        confusions(results, found),
        *calibration(results),
        *training(run.path / "history.csv"),
        uncertain(found),
        gallery(run, found, photos),
    ]
    write_page(path, run.path.name, said.text, said.loud, facts, sections)


def beside(results: dict) -> Section:
    """The network and what it must beat."""
    tops = [name for name in results if name.startswith("top_")]
    head = ["", "accuracy", "its lead", "balanced accuracy", "macro-F1", *(name.replace("_", "-") for name in tops)]
    rest = [name for name in LABELS.overall if name != "accuracy"]
    rows = [["network", cell(results, "accuracy"), None, *(cell(results, name) for name in rest + tops)]]
    for name, one in results["baselines"].items():
        ahead = signed(one["lead"], "accuracy")
        none = [None] * len(tops)
        rows.append([name.replace("_", " "), one["accuracy"], ahead, *(one[key] for key in rest), *none])
    unit = results["unit"]
    text = [
        f"Small ranges are 95% intervals over {results['num_units']} {unit}s: where the score of all such {unit}s "
        "probably lies. Its lead: the network's accuracy less this row's, on the same images. Colour forest: a random "
        "forest on a tiny copy of each image and the histograms of its colours."
    ]
    return Section("Beside the baselines", text, [Table(head, rows)])


def classes(results: dict, found: Evaluation) -> Section:
    head = ["class", "images", "recall", "precision", "F1"]
    rows = [
        [
            name,
            results["images_with"][name],
            cell(results, "recall", name),
            results["precision"][name],
            cell(results, "f1", name),
        ]
        for name in found.names
    ]
    return Section("Classes", tables=[Table(head, rows)])


def uncertain(found: Evaluation) -> Section:
    """The images that the network is least sure of."""
    confidence = found.counts["probabilities"].max(1)
    rows = []
    for i in np.argsort(confidence, kind="stable")[:UNCERTAIN]:
        truth, said = (found.names[label] for label in np.argwhere(found.counts["confusion"][i])[0])
        rows.append([found.stems[i], truth, said, float(confidence[i])])
    text = ["The images that the network is least sure of: labels of others like them would teach it most."]
    return Section("Least sure", text, [Table(["image", "truth", "said", "how sure"], rows)])


def gallery(run: Run, found: Evaluation, photos: list[Photo]) -> Section:
    """The worst images beside their activation maps."""
    text = [
        "Each image as the network sees it, beside what speaks for the class that it says (Grad-CAM): bright is much. "
        "The worst first: by the probability that the true class got."
    ]
    if len(photos) > MOST_IMAGES:
        text.append(f"The worst {MOST_IMAGES} of {len(photos)} images.")
    colors = tuple(default_color(i + 1) for i in range(len(found.names)))
    return Section("Images", text, gallery=Gallery(pictures(run, found, photos), found.names, colors, sort=SCORE))


def pictures(run: Run, found: Evaluation, photos: list[Photo]) -> Iterator[Picture]:
    matrices, probabilities = found.counts["confusion"], found.counts["probabilities"]
    truths, said = matrices.sum(2).argmax(1), matrices.sum(1).argmax(1)
    sure = probabilities[np.arange(len(photos)), truths]
    worst = np.argsort(sure, kind="stable")[:MOST_IMAGES]
    looked = activation_maps(run, [photos[i] for i in worst], [int(said[i]) for i in worst])
    for i, (image, heat) in zip(worst, looked, strict=True):
        likeliest = np.argsort(-probabilities[i], kind="stable")[:NAMED]
        says = ", ".join(f"{found.names[c]} {probabilities[i, c]:.0%}" for c in likeliest)
        note = f"says {says}; truth: {found.names[truths[i]]}"
        scores = {SCORE: float(sure[i]), "how sure": float(probabilities[i].max())}
        shown = small(beside_heat(image, heat), None, None)[0]
        yield Picture(found.stems[i], scores, shown, None, None, note, classes=(int(truths[i]), int(said[i])))


def beside_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image, and beside it the same in grey under the heat, 0…1; uint8 (H, 2·W, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, -1)
    glow = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.hstack([image, ((1 - HEAT) * grey + HEAT * glow).astype(np.uint8)])
