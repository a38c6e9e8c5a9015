"""An evaluation: every image is read once, its counts are kept in a folder."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.colors import sampled, seen_over
from data_pipeline.command import UserError
from data_pipeline.encoding import Encoding
from data_pipeline.files import (
    MAX_PIXELS,
    refuse_special,
    write_atomically,
    write_csv,
    write_json,
    write_mask,
    write_picture,
)
from data_pipeline.importing.annotations import brief
from data_pipeline.pairs import Pair
from data_pipeline.pixel_range import PixelRange
from engine import schema
from engine.pictures import panel

from . import boundaries, calibration, confusion, objects, thresholds
from .doubts import Doubt, doubts, rank, uncertainty
from .scores import REDUCTION, by_class, judge, number
from .task import MASKS

COUNTS_FILE = "counts.npz"
WRITTEN = (  # what an evaluation's folder holds, so that a later one may replace it
    *("metrics.json", "per_image.csv", "labels_to_check.csv", COUNTS_FILE, "report.html"),
    *("predictions/*.png", "overlays/*.jpg"),
)
WHOLE = ("model/region", "model/objects", "model/sizes", "model/thresholds")  # counts that are whole numbers
BESIDE = ("baselines/", "gain/", "ceiling/")  # kinds of other ways, in COUNTS_FILE
RESOLUTION = "native: every prediction is scored at its mask's own height and width"
LEAST_NEIGHBOURS = 20  # images, to tell whether neighbours score alike
BEYOND_CHANCE = 3  # standard deviations, 1/√n, of the correlation of independent neighbours
FLAT = 96  # grey level that stands for an image where there is none


@dataclass(frozen=True)
class Answer:
    """The prediction for one image: class indices uint8 (H, W), and probabilities float32 (H, W, C) if there are
    any."""

    mask: np.ndarray
    probabilities: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """Counts on N images of C classes, in one order.

    counts: by name, arrays that begin with N: "confusion" (N, C, C), "region", "contour", "hausdorff95", "average"
        (boundaries.py), "objects", "sizes" (objects.py), and where there are probabilities "calibration", "uncertainty"
        and, of two classes, "thresholds" (thresholds.py). Evaluations of older versions lack some.
    beside: kind ("baselines", "gain", "ceiling") → name → confusion matrices (N, C, C) of another way.
    truths: a hash of each true mask: two evaluations with equal ones were made on the same images.
    """

    names: tuple[str, ...]
    stems: list[str]
    groups: list[str | None]
    truths: list[str]
    counts: dict[str, np.ndarray]
    beside: dict[str, dict[str, np.ndarray]]
    doubts: list[Doubt]

    def save(self, folder: Path) -> None:
        held = {f"model/{name}": array for name, array in self.counts.items()}
        held |= {f"{kind}/{name}": array for kind, ways in self.beside.items() for name, array in ways.items()}
        words = {
            "names": self.names,
            "stems": self.stems,
            "groups": [group or "" for group in self.groups],
            "truths": self.truths,
            "doubts": [json.dumps(asdict(doubt)) for doubt in self.doubts],
        }
        with write_atomically(folder / COUNTS_FILE) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **held, **{key: np.array(value, dtype=str) for key, value in words.items()})

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """Read what ``save`` wrote.

        Raises:
            UserError: if there is none, or it is damaged.
        """
        path = Path(folder) / COUNTS_FILE
        refuse_special(path)
        if not path.is_file():
            raise UserError(f"{folder}: no evaluation (it has no {COUNTS_FILE}); make one with evaluate.py")
        try:
            held = schema.read_arrays(path)
            words = {key: held.pop(key).tolist() for key in ("names", "stems", "groups", "truths", "doubts")}
            words["doubts"] = [json.loads(doubt) for doubt in words["doubts"]]
            schema.evaluation("", words)
            check_counts(held, len(words["stems"]), len(words["names"]))
        except schema.DAMAGE as error:
            raise UserError(f"{path}: damaged ({brief(str(error))}); remove its folder and evaluate again") from None
        kinds: dict[str, dict[str, np.ndarray]] = {}
        for key, array in held.items():
            kind, name = key.split("/", 1)
            kinds.setdefault(kind, {})[name] = array
        return cls(
            names=tuple(words["names"]),
            stems=words["stems"],
            groups=[group or None for group in words["groups"]],
            truths=words["truths"],
            counts=kinds.pop("model"),
            beside=kinds,
            doubts=[Doubt(**doubt) for doubt in words["doubts"]],
        )


def check_counts(held: dict[str, np.ndarray], num_images: int, num_classes: int) -> None:
    """Raise Unfit unless arrays that ``save`` left, by KIND/NAME, are of its shapes and count what can be counted."""
    square = (num_classes, num_classes)
    shapes = {  # of one image
        "model/confusion": square,
        "model/region": (num_classes, 2),
        "model/contour": (num_classes, 4),
        "model/hausdorff95": (num_classes,),
        "model/average": (num_classes,),
        "model/objects": (num_classes, 3),
        "model/sizes": (num_classes, objects.SIZES, 2),
        "model/calibration": (calibration.BINS, 3),
        "model/uncertainty": (),
        "model/thresholds": (2, thresholds.BINS),
        "model/probabilities": (num_classes,),
    }
    of_masks = {"model/region", "model/contour", "model/hausdorff95", "model/average", "model/objects"}
    lacking = {"model/confusion", *(() if "model/probabilities" in held else of_masks)} - held.keys()
    if lacking or ("model/calibration" in held) != ("model/uncertainty" in held):
        raise schema.Unfit(f"it lacks {', '.join(lacking) or 'calibration or uncertainty'}")
    for key, array in held.items():
        shape = shapes.get(key, square if key.startswith(BESIDE) else None)
        kinds = "iu" if shape == square or key in WHOLE else "iuf"
        known = array[~np.isnan(array)] if array.dtype.kind == "f" else array
        if array.shape != (num_images, *(shape or ())) or array.dtype.kind not in kinds or shape is None:
            raise schema.Unfit(f"{key} is {array.dtype} {array.shape}")
        if array.size and not (known.min(initial=0) >= 0 and known.max(initial=0) <= MAX_PIXELS):
            raise schema.Unfit(f"{key} holds what cannot be counted")


def pool(parts: list[Evaluation]) -> Evaluation:
    """Evaluations of different images as one: the folds of a cross-validation."""
    first = parts[0]
    return Evaluation(
        names=first.names,
        stems=[stem for part in parts for stem in part.stems],
        groups=[group for part in parts for group in part.groups],
        truths=[truth for part in parts for truth in part.truths],
        counts={
            name: np.concatenate([part.counts[name] for part in parts])
            for name in first.counts
            if all(name in part.counts for part in parts)
        },
        beside={
            kind: {name: np.concatenate([part.beside[kind][name] for part in parts]) for name in ways}
            for kind, ways in first.beside.items()
        },
        doubts=rank([doubt for part in parts for doubt in part.doubts]),
    )


def evaluate_images(
    read: Callable[[Pair], tuple[np.ndarray | None, np.ndarray]],
    answer: Callable[[Pair, np.ndarray | None], Answer],
    beside: dict[str, dict[str, Callable[[Pair, np.ndarray | None], np.ndarray]]],
    pairs: list[Pair],
    encoding: Encoding,
    pixel_range: PixelRange | None,
    folder: Path,
    split_touching: bool = False,
) -> Evaluation:
    """Score every image once; write the predicted masks and overlays into ``folder``.

    Args:
        read: a pair → its image (H, W, C), or None where there is none, and its true mask uint8 (H, W).
        answer: a pair and its image → what is to be scored.
        beside: kind → name → another way to a mask (H, W).
        pairs: to score.
        encoding: of the masks.
        pixel_range: of the images, for the pictures.
        folder: where to write.
        split_touching: touching objects of one class count as several (objects.py).
    """
    rows, matrices, truths, doubted = [], {kind: {n: [] for n in ways} for kind, ways in beside.items()}, [], []
    some = ((shown(image, truth, pixel_range), truth) for image, truth in map(read, sampled(pairs)))
    colors = seen_over(some, encoding.colors)
    for pair in tqdm(pairs, "scoring", unit="image", leave=False, disable=None):
        image, truth = read(pair)
        predicted = answer(pair, image)
        rows.append(count(truth, predicted, encoding.num_classes, split_touching))
        truths.append(hash_of(truth))
        if predicted.probabilities is not None:
            doubted += doubts(pair.stem, predicted.probabilities, truth)
        for kind, ways in beside.items():
            for name, way in ways.items():
                matrices[kind][name].append(confusion.confusion_matrix(truth, way(pair, image), encoding.num_classes))
        write_mask(folder / "predictions" / f"{pair.stem}.png", predicted.mask, encoding.colors)
        drawn = panel(shown(image, truth, pixel_range), truth, predicted.mask, colors)
        write_picture(folder / "overlays" / f"{pair.stem}.jpg", drawn)
    return Evaluation(
        names=encoding.names,
        stems=[pair.stem for pair in pairs],
        groups=[pair.group for pair in pairs],
        truths=truths,
        counts={name: np.stack([row[name] for row in rows]) for name in rows[0]},
        beside={kind: {n: np.stack(each) for n, each in ways.items()} for kind, ways in matrices.items()},
        doubts=rank(doubted),
    )


def hash_of(truth: np.ndarray) -> str:
    """Return a hash of a true mask, uint8 (H, W): equal ones are of one image, annotated in one way."""
    return hashlib.sha256(f"{truth.shape}".encode() + truth.tobytes()).hexdigest()[:16]


def shown(image: np.ndarray | None, truth: np.ndarray, pixel_range: PixelRange | None) -> np.ndarray:
    """A picture to draw on, uint8 (H, W, 3): flat grey where there is no image."""
    return np.full((*truth.shape, 3), FLAT, np.uint8) if image is None else pixel_range.show(image)


def count(truth: np.ndarray, answer: Answer, num_classes: int, split_touching: bool) -> dict[str, np.ndarray]:
    """All counts of one image."""
    edges = boundaries.measure(truth, answer.mask, num_classes)
    matched = objects.match_objects(truth, answer.mask, num_classes, split_touching)
    counted = {
        "confusion": confusion.confusion_matrix(truth, answer.mask, num_classes),
        "region": edges.region,
        "contour": edges.contour,
        "hausdorff95": edges.hausdorff95,
        "average": edges.average,
        "objects": objects.count_objects(matched, num_classes),
        "sizes": objects.count_by_size(matched, num_classes),
    }
    if answer.probabilities is not None:
        counted["calibration"] = calibration.calibration_counts(answer.probabilities, truth)
        counted["uncertainty"] = np.float64(uncertainty(answer.probabilities))
        if num_classes == 2:
            counted["thresholds"] = thresholds.threshold_counts(answer.probabilities, truth)
    return counted


def results_of(evaluation: Evaluation, encoding: Encoding, about: dict) -> dict:
    """Return the content of metrics.json.

    Args:
        evaluation: what was counted.
        encoding: of the masks.
        about: the head: which split of which data, and how the answers were made.
    """
    scores = judge(evaluation.counts["confusion"], evaluation.beside, evaluation.groups, encoding.names, MASKS)
    return {
        **about,
        "num_images": len(evaluation.stems),
        "resolution": RESOLUTION,
        "reduction": REDUCTION,
        "boundary_f1_tolerance": "0.75% of the image's diagonal, 1 pixel at least",
        "void": [encoding.in_json(value) for value in encoding.void],
        **scores,
        "neighbours_alike": neighbours_alike(evaluation),
        **outlines(evaluation.counts, encoding),
        **certainty(evaluation.counts),
    }


def neighbours_alike(evaluation: Evaluation) -> float | None:
    """Return the correlation of the scores of images of neighbouring names, where they go together beyond chance.

    Frames of a film do. Images that depend on each other tell less than as many independent ones, and error bars over
    them are too narrow. None where there are groups, which allow for that, or too few images to tell.
    """
    scores = confusion.mean_iou(evaluation.counts["confusion"])
    return None if any(evaluation.groups) else alike(evaluation.stems, scores)


def alike(stems: list[str], values: np.ndarray, labels: np.ndarray | None = None) -> float | None:
    """The correlation of one value of each image (N,) with the next name's, where it is beyond chance.

    labels: one of each image (N,). Then what is asked is within a label: names often go by it, and scores too.
    """
    labels = np.zeros(len(values), int) if labels is None else labels
    order = np.argsort(stems)
    order = order[~np.isnan(values[order])]
    values, labels = values[order].astype(float), labels[order]
    for label in np.unique(labels):
        values[labels == label] -= values[labels == label].mean()
    near = np.flatnonzero(labels[1:] == labels[:-1])
    if len(near) + 1 < LEAST_NEIGHBOURS or np.ptp(values) == 0:
        return None
    correlation = float((values[near + 1] * values[near]).sum() / (values**2).sum() * len(values) / (len(near) + 1))
    return correlation if correlation > BEYOND_CHANCE / np.sqrt(len(near) + 1) else None


def outlines(counts: dict[str, np.ndarray], encoding: Encoding) -> dict:
    """Scores of contours and objects by class. Distances are means over the images in which both sides have one."""
    sums = {name: counts[name].sum(0) for name in ("region", "contour", "objects")}
    by_object = objects.object_f1(sums["objects"])
    by_object[0] = np.nan  # background is no object
    values = {
        "boundary_iou": boundaries.boundary_iou(sums["region"]),
        "boundary_f1": boundaries.boundary_f1(sums["contour"]),
        "hausdorff95": confusion.mean_of_known(counts["hausdorff95"].T),
        "surface_distance": confusion.mean_of_known(counts["average"].T),
        "object_f1": by_object,
    }
    results = {name: by_class(value, encoding.names) for name, value in values.items()}
    results |= {f"mean_{name}": number(confusion.mean_of_known(value)) for name, value in values.items()}
    measured = (~np.isnan(counts["hausdorff95"])).sum(0)
    return results | {"distance_images": dict(zip(encoding.names, measured.tolist(), strict=True))}


def certainty(counts: dict[str, np.ndarray]) -> dict:
    """Calibration, and whether uncertain images are the wrong ones; None where there are no probabilities."""
    if "calibration" not in counts:
        return {"ece": None, "reliability": None, "average_precision": None, "uncertainty_rank_correlation": None}
    from scipy.stats import spearmanr

    pooled = counts["calibration"].sum(0)
    error, doubt = 1 - confusion.mean_iou(counts["confusion"]), counts["uncertainty"]
    known = ~np.isnan(error)
    told = known.sum() >= 5 and np.ptp(error[known]) > 0 and np.ptp(doubt[known]) > 0
    return {
        "ece": number(calibration.expected_calibration_error(pooled)),
        "reliability": calibration.reliability(pooled),
        "average_precision": number(thresholds.average_precision(counts["thresholds"].sum(0)))
        if "thresholds" in counts
        else None,
        "uncertainty_rank_correlation": float(spearmanr(error[known], doubt[known])[0]) if told else None,
    }


def write_evaluation(folder: Path, evaluation: Evaluation, results: dict) -> None:
    """metrics.json, per_image.csv, labels_to_check.csv and the counts."""
    write_json(folder / "metrics.json", results)
    write_csv(folder / "per_image.csv", per_image_rows(evaluation))
    if evaluation.doubts:
        write_csv(folder / "labels_to_check.csv", doubt_rows(evaluation))
    evaluation.save(folder)


def per_image_rows(evaluation: Evaluation) -> list[dict]:
    """Each image's own scores; empty where a class does not occur in it."""
    matrices = evaluation.counts["confusion"]
    columns = {
        "stem": evaluation.stems,
        "group": [group or "" for group in evaluation.groups],
        "miou": confusion.mean_iou(matrices),
        "pixel_accuracy": confusion.pixel_accuracy(matrices),
    }
    if "uncertainty" in evaluation.counts:
        columns["uncertainty"] = evaluation.counts["uncertainty"]
    columns |= {f"iou_{name}": values for name, values in zip(evaluation.names, confusion.iou(matrices).T, strict=True)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [{key: "" if value != value else value for key, value in row.items()} for row in rows]


def doubt_rows(evaluation: Evaluation) -> list[dict]:
    """Suspected label errors, the likeliest first."""
    return [
        {
            "stem": doubt.stem,
            "label": evaluation.names[doubt.truth],
            "network": evaluation.names[doubt.prediction],
            "confidence": round(doubt.confidence, 4),
            "pixels": doubt.pixels,
            "left": doubt.left,
            "top": doubt.top,
            "right": doubt.right,
            "bottom": doubt.bottom,
            "score": round(doubt.score, 4),
        }
        for doubt in evaluation.doubts
    ]
