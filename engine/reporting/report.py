"""report.html: what metrics.json counts, told for people who would rather look than read."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data_pipeline.encoding import Encoding
from data_pipeline.importing.annotations import brief
from data_pipeline.masks import read_mask
from data_pipeline.pairs import Pair
from data_pipeline.pixel_range import PixelRange
from engine.comparing.compare import headline, sentences
from engine.comparing.forecast import Forecast
from engine.scoring import confusion
from engine.scoring.boundaries import tolerance
from engine.scoring.doubts import Doubt
from engine.scoring.evaluation import Evaluation, shown
from engine.scoring.task import TASKS, task_of
from engine.scoring.verdict import verdict

from . import plots
from .page import Cell, Gallery, Picture, Plot, Section, Table, small, write_page

MOST_IMAGES = 300  # in the gallery: the worst
MOST_CROPS = 24  # of suspected label errors
CROP_MARGIN = 0.75  # of a crop's longer side, around what is suspected
LEAST_CROP = 48  # pixels
UNCERTAIN = 8  # images named


class Album:
    """The pictures of an evaluation, read again one by one as the page is written.

    Args:
        pairs: what was evaluated.
        encoding, pixel_range: of masks and images.
        read: a pair → its image or None, and its true mask.
        file_of: a stem → the file of its predicted mask.
    """

    def __init__(
        self,
        pairs: list[Pair],
        encoding: Encoding,
        pixel_range: PixelRange,
        read: Callable[[Pair], tuple[np.ndarray | None, np.ndarray]],
        file_of: Callable[[str], Path],
    ):
        self.pairs = {pair.stem: pair for pair in pairs}
        self.encoding, self.pixel_range, self.read, self.file_of = encoding, pixel_range, read, file_of
        self.indices = Encoding(encoding.names, tuple(range(encoding.num_classes)), encoding.colors)

    def open(self, stem: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Picture uint8 (H, W, 3), truth and prediction uint8 (H, W)."""
        image, truth = self.read(self.pairs[stem])
        return shown(image, truth, self.pixel_range), truth, read_mask(self.file_of(stem), self.indices)

    def pictures(self, found: Evaluation) -> Iterator[Picture]:
        """The worst first."""
        matrices = found.counts["confusion"]
        miou, iou = confusion.mean_iou(matrices), confusion.iou(matrices)
        for i in np.argsort(miou, kind="stable")[:MOST_IMAGES]:  # images without a score come last
            scores = {"mIoU": miou[i]} | dict(zip(found.names, iou[i], strict=True))
            yield Picture(found.stems[i], scores, *small(*self.open(found.stems[i])))

    def crops(self, found: Evaluation) -> Iterator[Picture]:
        """Suspected label errors, the likeliest first."""
        for one in found.doubts[:MOST_CROPS]:
            opened = self.open(one.stem)
            part = around(one, opened[1].shape)
            note = (
                f"label {found.names[one.truth]}, network {found.names[one.prediction]} "
                f"({one.confidence:.0%} sure), {one.pixels} pixels"
            )
            arrays = (np.ascontiguousarray(array[part]) for array in opened)
            yield Picture(one.stem, {}, *small(*arrays), note)


def around(doubt: Doubt, size: tuple[int, int]) -> tuple[slice, slice]:
    """A square around what is suspected, as far as the image (H, W) reaches."""
    side = max(doubt.bottom - doubt.top, doubt.right - doubt.left, LEAST_CROP)
    reach = round(side * (0.5 + CROP_MARGIN))
    middle = ((doubt.top + doubt.bottom) // 2, (doubt.left + doubt.right) // 2)
    begin = [max(0, min(at - reach, length - 2 * reach)) for at, length in zip(middle, size, strict=True)]
    return tuple(slice(first, first + 2 * reach) for first in begin)


def write_report(
    path: Path,
    title: str,
    found: Evaluation,
    results: dict,
    facts: list[str],
    album: Album,
    history: Path | None = None,
) -> None:
    """Write the page of one evaluation.

    Args:
        path: of report.html.
        title: what was evaluated.
        found, results: what was counted, and metrics.json.
        facts: what the numbers rest on, a few words each.
        album: its pictures.
        history: history.csv of the training, if there was one.
    """
    said = verdict(results)
    sections = [
        beside(results),
        classes(results, found, album),
        confusions(results, found),
        *calibration(results),
        *training(history),
        *uncertain(found),
        *labels_to_check(found, album),
        gallery(found, album),
    ]
    write_page(path, title, said.text, said.loud, facts, sections)


def cell(results: dict, name: str, key: str | None = None) -> Cell:
    """A score of metrics.json with its interval."""
    value, ends, note = (results.get(f"{name}{end}") for end in ("", "_ci95", "_ci95_note"))
    if key is not None:
        value, ends, note = (part and part.get(key) for part in (value, ends, note))
    return Cell(value, tuple(ends) if ends else None, note or "")


def beside(results: dict) -> Section:
    """The network and what it must beat."""
    head = ["", "mIoU", "its lead", "pixel accuracy", "balanced accuracy", "mIoU of an image, mean"]
    names = ("pixel_accuracy", "balanced_accuracy", "per_image_miou")
    rows = [["network", cell(results, "miou"), None, *(cell(results, name) for name in names)]]
    for kind in ("baselines", "gain", "ceiling"):
        for name, one in results.get(kind, {}).items():
            rows.append([name.replace("_", " "), one["miou"], signed(one["lead"]), *(one[key] for key in names)])
    text = [
        f"Small ranges are 95% intervals over {results['num_units']} {results['unit']}s: where the score of all such "
        f"{results['unit']}s probably lies. Its lead: the network's mIoU less this row's, on the same images."
    ]
    return Section("Beside the baselines" if results["baselines"] else "Scores", text, [Table(head, rows)])


def classes(results: dict, found: Evaluation, album: Album) -> Section:
    """Every class: overlap, contours, objects; and IoU of the baselines."""
    overlap = ["class", "IoU", "Dice", "precision", "recall", "images"]
    rows = [
        [
            name,
            cell(results, "iou", name),
            cell(results, "dice", name),
            results["precision"][name],
            results["recall"][name],
            results["images_with"][name],
        ]
        for name in found.names
    ]
    edges = ["boundary_iou", "boundary_f1", "hausdorff95", "surface_distance", "object_f1"]
    head = ["class", "boundary IoU", "boundary F1", "Hausdorff-95, px", "mean surface distance, px", "object F1"]
    baselines = results["baselines"]
    strip = dict(zip(found.names, album.encoding.colors, strict=True))
    example = found.stems[0]
    reach = tolerance(album.read(album.pairs[example])[1].shape)
    tables = [
        Table(overlap, rows, "Overlap of masks", strip),
        Table(head, [[n, *(results[key][n] for key in edges)] for n in found.names], "Outlines and objects", strip),
    ]
    if baselines:
        head = ["class", "network", *(name.replace("_", " ") for name in baselines)]
        each = [[n, results["iou"][n], *(one["iou"][n] for one in baselines.values())] for n in found.names]
        tables.append(Table(head, each, "IoU beside the baselines", strip))
    text = [
        "– : the class occurs neither in the truth nor in the prediction, and is left out of the mean. "
        f"Boundary F1 forgives {reach:.1f} pixels ({example}; 0.75% of the diagonal). Distances are means over "
        "the images where truth and prediction both have the class. Objects match at an IoU above 0.5; "
        f"{found.names[0]}, the first class, is taken for background and has none."
    ]
    return Section("Classes", text, tables)


def confusions(results: dict, found: Evaluation) -> Section:
    matrix = np.array(results["confusion"])
    wrong = np.nan_to_num(confusion.ratio(matrix, np.broadcast_to(matrix.sum(1, keepdims=True), matrix.shape)))
    np.fill_diagonal(wrong, 0)
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    units = f"{task_of(results).unit}s"
    said = f"Confusion matrix: the share of each true class's {units} that went to each predicted class."
    if wrong.any():
        true, taken = found.names[row], found.names[column]
        said += f" Above all {true} is taken for {taken} ({wrong[row, column]:.0%} of its {units})."
    if len(found.names) > plots.MOST_CLASSES:
        said += f" Drawn are the {plots.MOST_CLASSES} of {len(found.names)} classes with the largest confusions."
    return Section("Confusion", plots=[Plot(plots.confusion(matrix, found.names), said, said)])


def calibration(results: dict) -> list[Section]:
    """Section: is the network right as often as its probabilities claim?"""
    if not results["reliability"]:
        return []
    said = (
        f"Reliability: how often the network is right where it says how sure it is. Expected calibration error "
        f"{results['ece']:.3f} (0: its probabilities can be taken at their word)."
    )
    drawn = plots.reliability(results["reliability"], f"{task_of(results).unit}s")
    return [Section("Calibration", plots=[Plot(drawn, said, said)])]


def training(history: Path | None) -> list[Section]:
    rows = read_history(history) if history is not None and history.is_file() else []
    if not rows:
        return []
    score, words = task_of(rows[0]).score, task_of(rows[0]).words
    said = f"Loss and {words} over {rows[-1]['step']:.0f} steps, training and validation."
    return [Section("Training", plots=[Plot(plots.curves(rows, score, words), said, said)])]


def read_history(path: Path) -> list[dict[str, float]]:
    """history.csv's rows; none, and a note, where it is damaged, for curves are not worth losing the scores."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]
        for row in rows:
            score = next(name for name in (*TASKS, "") if name in row or not name)
            if not {"step", "loss", "val_loss", score, f"val_{score}"} <= row.keys():
                raise ValueError("a column is missing")
    except (ValueError, TypeError, csv.Error) as error:
        print(f"note: {path}: damaged ({brief(str(error))}), so the report has no curves")
        return []
    return rows


def uncertain(found: Evaluation) -> list[Section]:
    """The images that the network is least sure of."""
    if "uncertainty" not in found.counts:
        return []
    order = np.argsort(-found.counts["uncertainty"], kind="stable")[:UNCERTAIN]
    miou = confusion.mean_iou(found.counts["confusion"])
    rows = [[found.stems[i], float(found.counts["uncertainty"][i]), float(miou[i])] for i in order]
    text = [
        "The images that the network is least sure of. New images that look like them are the ones to label next; "
        "predict.py ranks images without labels in the same way."
    ]
    return [Section("What to label next", text, [Table(["image", "uncertainty, 0 to 1", "mIoU"], rows)])]


def labels_to_check(found: Evaluation, album: Album) -> list[Section]:
    """Section on labels that a confident network disagrees with."""
    if not found.doubts:
        return []
    text = [
        f"Where the network is confident and the label disagrees, the most suspicious first ({len(found.doubts)} "
        "places, five an image at most, in labels_to_check.csv). Either the label is wrong, or the network is wrong "
        "and sure of it. On images that it was trained on, it has learnt the errors too."
    ]
    return [
        Section(
            "Labels to check",
            text,
            gallery=Gallery(album.crops(found), found.names, album.encoding.colors, view="error"),
        )
    ]


def gallery(found: Evaluation, album: Album) -> Section:
    count = len(found.stems)
    text = [f"The worst {MOST_IMAGES} of {count} images."] if count > MOST_IMAGES else []
    pictures = Gallery(album.pictures(found), found.names, album.encoding.colors, sort="mIoU")
    return Section("Images", text, gallery=pictures)


def write_comparison(path: Path, results: dict) -> None:
    """The page of compare.json."""
    networks, differences = results["networks"], results["differences"]
    first, unit = results["first"], results["unit"]
    score, words = results["score"], TASKS[results["score"]].words
    rows = [[name, cell(one, score), *difference_cells(differences.get(name), score)] for name, one in networks.items()]
    head = ["network", words, f"{words} less that of {first}", "p", "p (Holm)"]
    ends = [one[f"{score}_ci95"] or [None, None] for one in differences.values()]
    drawn = plots.forest(
        list(differences),
        [one[score] for one in differences.values()],
        [low for low, _ in ends],
        [high for _, high in ends],
        0.0,
        f"{words} less that of {first}",
    )
    by_class = results["of_class"]
    names = next(iter(networks.values()))[by_class]
    each = [[name, *(one[by_class][name] for one in networks.values())] for name in names]
    text = [
        *sentences(results),
        "Differences are paired: all networks saw the same images. Holm's p-values allow for the number of "
        "comparisons.",
    ]
    plot = Plot(
        drawn, headline(results), f"Differences with their 95% intervals; right of the line is better than {first}."
    )
    sections = [
        Section("Differences", text, [Table(head, rows)], [plot]),
        Section("Classes", tables=[Table(["IoU" if by_class == "iou" else by_class, *networks], each)]),
        *method_section(results["methods"], score),
        *cost_section(results["costs"]),
        *curve_section(results["curves"], words),
    ]
    images = f"{results['num_images']} images"
    images += f" in {results['num_units']} groups, which the intervals are drawn from" if unit == "group" else ""
    loud = not any(one["told_apart"] for one in differences.values())
    write_page(path, "Comparison", headline(results), loud, [f"{len(networks)} networks", images], sections)


def cost_section(rows: list[dict]) -> list[Section]:
    """Section on the cost of each training, masks and labels alike."""
    if not rows:
        return []
    scores = [
        [
            row["name"],
            row["task"],
            row["network"],
            *(cell(row, "value") if row["score"] == score else None for score in TASKS),
            row["images"],
            ", ".join(f"{bits:,.1f} ({kind})" for kind, bits in row["label_bits_per_image"].items()),
        ]
        for row in rows
    ]
    took = [
        [
            row["name"],
            row["trainable_parameters"],
            row["parameters"],
            row["steps"],
            f"{row['seconds'] / 60:.1f}",
            f"{row['seconds_per_epoch']:.1f}",
            row["peak_memory_bytes"] and round(row["peak_memory_bytes"] / 2**20),
        ]
        for row in rows
    ]
    tables = [
        Table(
            ["run", "task", "network", *(task.words for task in TASKS.values()), "images", "bits of a label"], scores
        ),
        Table(["run", "weights trained", "of all", "steps", "minutes", "seconds an epoch", "memory, MiB"], took),
    ]
    devices = ", ".join(dict.fromkeys(row["device"] for row in rows))
    text = [
        f"On {devices}. An epoch is from one validation to the next; memory is that of the GPU where there is one, "
        "else of the whole process. Bits of a label: of a class, log2 of their number (uniform) and what is left given "
        "their frequencies (entropy); of a mask, its length coded without loss, an upper bound. Each score is on the "
        "run's own task: mIoU and accuracy are not to be compared with each other."
    ]
    return [Section("What each training took", text, tables)]


def curve_section(curves: dict[str, list[dict]], words: str) -> list[Section]:
    if not curves:
        return []
    said = f"{words} over the number of training images, on the same test images."
    return [Section("Over the number of images", plots=[Plot(plots.by_images(curves, words), said, said)])]


def difference_cells(one: dict | None, score: str = "miou") -> list:
    """A difference with its interval, p, and p adjusted by Holm."""
    if one is None:
        return [None] * 3
    return [signed(one, score), *(None if p is None else f"{p:.2g}" for p in (one["p"], one["p_holm"]))]


def signed(one: dict, score: str = "miou") -> str | Cell | None:
    """A difference of a score in words: +0.012 (+0.006 to +0.018)."""
    if one[f"{score}_ci95"] is None:
        return Cell(one[score], note=one[f"{score}_ci95_note"] or "")
    low, high = one[f"{score}_ci95"]
    return f"{one[score]:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")


def method_section(methods: dict, score: str) -> list[Section]:
    if methods["note"]:
        return []
    head = ["method", "seeds", f"{TASKS[score].words} less that of {methods['first']}", "p", "p (Holm)"]
    differences = methods["differences"]
    rows = [[name, seeds, *difference_cells(differences.get(name), score)] for name, seeds in methods["seeds"].items()]
    text = ["Means over seeds; the intervals hold the scatter of seeds and of images."]
    return [Section("Methods", text, [Table(head, rows)])]


def write_forecast(path: Path, results: dict, ahead: Forecast) -> None:
    """The page of forecast.json."""
    masks, scores = ([row[key] for row in results["runs"]] for key in ("masks", "miou"))
    plot = Plot(plots.learning_curve(masks, scores, ahead), results["words"], results["words"])
    rows = [[row["run"], row["masks"], row["miou"]] for row in results["runs"]]
    text = [
        "A forecast from the shape of the curve so far: of masks like these, images like these, and the same budget."
    ]
    sections = [
        Section("Learning curve", text, plots=[plot]),
        Section("Runs", tables=[Table(["run", "training masks", "mIoU"], rows)]),
    ]
    facts = [f"{len(rows)} runs", f"{results['num_images']} images"]
    write_page(path, "Would more masks help?", results["words"], False, facts, sections)
