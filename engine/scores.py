"""A run's masks against the truth: metrics.json, per_image.csv, predicted masks and overlays."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.encoding import Encoding, unpack
from data_pipeline.files import write_csv, write_json, write_mask, write_picture
from data_pipeline.loader import read_pair
from data_pipeline.pairs import Pair
from data_pipeline.scale import Scale

from . import metrics
from .pictures import panel, plot_confusion

REDUCTION = "pooled: intersections and unions are summed over all images of the split, then divided"


@dataclass(frozen=True)
class Scored:
    """The confusion matrices of one way to make masks, int64 (images, C, C), in the pairs' order."""

    pairs: list[Pair]
    confusions: np.ndarray

    @property
    def pooled(self) -> np.ndarray:
        return self.confusions.sum(0)


def score(
    ways: dict[str, Callable],
    pairs: list[Pair],
    encoding: Encoding,
    on_masks: Callable[[Pair, np.ndarray, np.ndarray, dict], None] | None = None,
) -> dict[str, Scored]:
    """Score several ways from an image to a mask on the same pairs, at the masks' own resolution.

    Args:
        ways: name → function of an image (H, W, C) to class indices uint8 (H, W).
        pairs: what to score on.
        encoding: of the masks.
        on_masks: called with each pair, its image, its true mask and the predicted masks by name.
    """
    found = {name: [] for name in ways}
    for pair in tqdm(pairs, "scoring", unit="image", leave=False, disable=None):
        image, truth = read_pair(pair, encoding)
        masks = {name: way(image) for name, way in ways.items()}
        for name, mask in masks.items():
            found[name].append(metrics.confusion_matrix(truth, mask, encoding.num_classes))
        if on_masks:
            on_masks(pair, image, truth, masks)
    return {name: Scored(pairs, np.stack(confusions)) for name, confusions in found.items()}


def summary(scored: Scored, encoding: Encoding) -> dict:
    """mIoU, pixel accuracy, IoU and Dice of each class; None where a class does not occur."""
    pooled = scored.pooled

    def by_class(values):
        return {name: number(value) for name, value in zip(encoding.names, values, strict=True)}

    return {
        "miou": number(metrics.mean_iou(pooled)),
        "pixel_accuracy": number(metrics.pixel_accuracy(pooled)),
        "iou": by_class(metrics.iou(pooled)),
        "dice": by_class(metrics.dice(pooled)),
    }


def number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def per_image_rows(scored: Scored, encoding: Encoding) -> list[dict]:
    """Each image's own scores; empty where a class does not occur in it."""
    rows = []
    for pair, confusion in zip(scored.pairs, scored.confusions, strict=True):
        row = {
            "stem": pair.stem,
            "miou": metrics.mean_iou(confusion),
            "pixel_accuracy": metrics.pixel_accuracy(confusion),
        }
        row |= {f"iou_{n}": v for n, v in zip(encoding.names, metrics.iou(confusion), strict=True)}
        rows.append({key: "" if value != value else value for key, value in row.items()})
    return rows


def evaluate(
    ways: dict[str, Callable], pairs: list[Pair], encoding: Encoding, scale: Scale, about: dict, folder: Path
) -> dict:
    """Score the network and its baselines on pairs; write everything but the report into ``folder``.

    Args:
        ways: "model" and the baselines, as for ``score``.
        pairs: what to score on.
        encoding: of the masks.
        scale: of the images, for the pictures.
        about: the head of metrics.json: which split, of which data.
        folder: where to write.

    Returns:
        What metrics.json holds.
    """

    def keep(pair, image, truth, masks):
        prediction = masks["model"]
        write_mask(folder / "predictions" / f"{pair.stem}.png", prediction, encoding.colors)
        drawn = panel(scale.show(image), truth, prediction, encoding.colors)
        write_picture(folder / "overlays" / f"{pair.stem}.jpg", drawn)

    scored = score(ways, pairs, encoding, keep)
    model = scored.pop("model")
    results = {
        **about,
        "num_images": len(pairs),
        "resolution": "native: every prediction is scored at its mask's own height and width",
        "reduction": REDUCTION,
        "void": [unpack(value) if encoding.is_color else value for value in encoding.void],
        **summary(model, encoding),
        "baselines": {name: summary(one, encoding) for name, one in scored.items()},
        "confusion": model.pooled.tolist(),
    }
    write_json(folder / "metrics.json", results)
    write_csv(folder / "per_image.csv", per_image_rows(model, encoding))
    plot_confusion(model.pooled, encoding.names, folder / "confusion.png")
    return results


def verdict(results: dict) -> str:
    """The score beside what it must beat, in one sentence."""
    if results["miou"] is None:
        return "Nothing to score: not one pixel of these masks is labelled."
    strongest = max(results["baselines"], key=lambda name: results["baselines"][name]["miou"] or 0)
    bar = results["baselines"][strongest]["miou"]
    lead = results["miou"] - bar
    name = strongest.replace("_", " ")
    if lead <= 0:
        return (
            f"NOT BETTER than {name}: mIoU {results['miou']:.3f} against {bar:.3f}. "
            "As it stands the network is not worth having: train longer, or look at the images and masks."
        )
    much = "clearly above" if lead >= 0.05 else "barely above"
    return f"mIoU {results['miou']:.3f}, {much} the strongest baseline, {name} ({bar:.3f})."


def table(results: dict) -> str:
    """The scores as lines of text."""
    rows = [("network", results), *((name, one) for name, one in results["baselines"].items())]
    lines = [f"{'':16}{'mIoU':>8}{'pixel accuracy':>16}"]
    lines += [f"{name:16}{show(one['miou']):>8}{show(one['pixel_accuracy']):>16}" for name, one in rows]
    lines += ["", f"{'class':24}{'IoU':>8}{'Dice':>8}"]
    lines += [f"{name:24}{show(value):>8}{show(results['dice'][name]):>8}" for name, value in results["iou"].items()]
    return "\n".join(lines)


def show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
