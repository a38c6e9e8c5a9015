"""report.html: what metrics.json counts, told for people who would rather look than read."""

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from data_pipeline.colors import sampled, seen_over
from data_pipeline.encoding import VOID, Encoding
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
from engine.scoring.objects import SIZES
from engine.scoring.task import TASKS, task_of
from engine.scoring.thresholds import STEPS, threshold_curve
from engine.scoring.unlabelled import Unlabelled
from engine.scoring.verdict import BASELINES, range_of, sentence, strongest_baseline, verdict
from engine.scoring.verdict import signed as signed_number
from engine.selftraining.gain import gain_in_words

from . import plots
from .gallery import Gallery, Picture, small
from .page import Cell, Number, Opening, Plot, Section, Table, write_page

MOST_IMAGES = 300  # in the gallery: the worst
MOST_IN_HALF = 12  # classes of a confusion matrix that fits into half of the page's width
FEWEST_OBJECTS = 10  # from which a curve over their size is drawn
MOST_CROPS = 24  # of suspected label errors
CROP_MARGIN = 0.75  # of a crop's longer side, around what is suspected
LEAST_CROP = 48  # pixels


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

    @cached_property
    def samples(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Some images and their true masks, small."""
        return [small(*self.open(stem)[:2], longest=160) for stem in sampled(list(self.pairs))]

    @cached_property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """The classes' colours, or where they would not be seen on these pictures, others."""
        return seen_over(self.samples, self.encoding.colors)

    def gallery(self, pictures: Iterable[Picture], **settings) -> Gallery:
        has_void = bool(self.encoding.void) or any((mask == VOID).any() for _, mask in self.samples)
        return Gallery(pictures, self.encoding.names, self.colors, has_void=has_void, **settings)

    def pictures(self, evaluation: Evaluation) -> Iterator[Picture]:
        """The worst first."""
        matrices = evaluation.counts["confusion"]
        miou, iou = confusion.mean_iou(matrices), confusion.iou(matrices)
        doubt = evaluation.counts.get("uncertainty")
        for i in np.argsort(miou, kind="stable")[:MOST_IMAGES]:  # images without a score come last
            scores = {"mIoU": miou[i]} | dict(zip(evaluation.names, iou[i], strict=True))
            scores |= {} if doubt is None else {"certainty": 1 - doubt[i]}
            yield Picture(evaluation.stems[i], scores, *small(*self.open(evaluation.stems[i])))

    def examples(self, evaluation: Evaluation) -> Iterator[Picture]:
        """The worst, the median and the best image."""
        miou = confusion.mean_iou(evaluation.counts["confusion"])
        for word, i in worst_median_best(miou):
            yield Picture(evaluation.stems[i], {"mIoU": miou[i]}, *small(*self.open(evaluation.stems[i])), note=word)

    def crops(self, evaluation: Evaluation) -> Iterator[Picture]:
        """Suspected label errors, the likeliest first."""
        for one in evaluation.doubts[:MOST_CROPS]:
            opened = self.open(one.stem)
            part = around(one, opened[1].shape)
            note = (
                f"label {evaluation.names[one.truth]}, network {evaluation.names[one.prediction]} "
                f"({one.confidence:.0%} sure), {one.pixels} pixels"
            )
            arrays = small(*(np.ascontiguousarray(array[part]) for array in opened))
            factor = arrays[1].shape[0] / len(opened[1][part])
            top, left = (side.start for side in part)
            box = (one.left - left, one.top - top, one.right - left, one.bottom - top)
            yield Picture(one.stem, {}, *arrays, note=note, mark=tuple(factor * side for side in box))


def worst_median_best(scores: np.ndarray) -> list[tuple[str, int]]:
    """Return which of images (N,) to show as examples, with their words; two or one where there are no more scores."""
    order = [i for i in np.argsort(scores, kind="stable").tolist() if scores[i] == scores[i]]
    if not order:
        return []
    words = {len(order) // 2: "Median"} | {len(order) - 1: "Best"} | {0: "Worst"}
    return [(words[place], order[place]) for place in sorted(words)]


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
    evaluation: Evaluation,
    results: dict,
    facts: list[str],
    album: Album,
    history: Path | None = None,
    unlabelled: Unlabelled | None = None,
) -> None:
    """Write the page of one evaluation.

    Args:
        path: of report.html.
        title: what was evaluated.
        evaluation, results: what was counted, and metrics.json.
        facts: what the numbers rest on, a few words each.
        album: its pictures.
        history: history.csv of the training, if there was one.
        unlabelled: images without a mask to choose from for labelling, if there are any.
    """
    said = verdict(results)
    advice = f"{said.advice} {gain_in_words(results)}".strip()
    strip = album.gallery(album.examples(evaluation))
    sections = [
        beside(results),
        classes(results, evaluation, album),
        confusions(results, evaluation),
        *by_threshold(evaluation),
        *by_size(evaluation),
        *calibration(results),
        *training(history),
        *to_label_next(unlabelled, album),
        *labels_to_check(evaluation, album),
        gallery(evaluation, album),
    ]
    write_page(path, title, said.claim, said.loud, facts, sections, Opening(advice, numbers(results), strip))


def numbers(results: dict) -> list[Number]:
    """The score, the strongest baseline, and the lead over it with the interval that the verdict rests on."""
    task = task_of(results)
    if results[task.score] is None:
        return []
    own = cell(results, task.score)
    narrow = ", too narrow" if results.get("neighbours_alike") else ""
    interval = f"95% interval {own.range}{narrow}" if own.interval else own.note
    shown = [Number(f"{task.words} of the network", f"{own.value:.3f}", interval)]
    strongest = strongest_baseline(results)
    if strongest is None:
        return shown
    bar = results["baselines"][strongest]
    name = BASELINES.get(strongest, strongest.replace("_", " "))
    ends = bar["lead"][f"{task.score}_ci95"]
    interval = bar["lead"].get(f"{task.score}_ci95_note") or ""
    if ends:
        interval = f"95% interval {signed_number(ends[0])} to {signed_number(ends[1])}{narrow}"
    return [
        *shown,
        Number("best without a network", f"{bar[task.score]:.3f}", name),
        Number("lead over it", signed_number(bar["lead"][task.score]), interval),
    ]


def cell(results: dict, name: str, key: str | None = None) -> Cell:
    """A score of metrics.json with its interval."""
    value, ends, note = (results.get(f"{name}{end}") for end in ("", "_ci95", "_ci95_note"))
    if key is not None:
        value, ends, note = (part and part.get(key) for part in (value, ends, note))
    return Cell(value, tuple(ends) if ends else None, note or "")


def way(name: str) -> str:
    """Return what a row calls a baseline; the verdict calls a forest the colour-only baseline."""
    words = name.replace("_", " ")
    return f"{words} (colours only)" if name.endswith("_forest") else words


def beside(results: dict) -> Section:
    """The network and what it must beat."""
    head = ["", "mIoU", "its lead", "pixel accuracy", "balanced accuracy", "mIoU of an image, mean"]
    names = ("pixel_accuracy", "balanced_accuracy", "per_image_miou")
    rows = [["network", cell(results, "miou"), None, *(cell(results, name) for name in names)]]
    for kind in ("baselines", "gain", "ceiling"):
        for name, one in results.get(kind, {}).items():
            rows.append([way(name), one["miou"], signed(one["lead"]), *(one[key] for key in names)])
    text = [
        f"Small ranges are 95% intervals over {results['num_units']} {results['unit']}s: where the score of all such "
        f"{results['unit']}s probably lies. Its lead: the network's mIoU less this row's, on the same images."
    ]
    if results.get("neighbours_alike"):
        text.append(sentence(range_of(results)))
    title = "Compared with the baselines" if results["baselines"] else "Scores"
    return Section(title, tables=[Table(head, rows)], help=text)


def classes(results: dict, evaluation: Evaluation, album: Album) -> Section:
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
        for name in evaluation.names
    ]
    edges = ["boundary_iou", "boundary_f1", "hausdorff95", "surface_distance", "object_f1"]
    head = ["class", "boundary IoU", "boundary F1", "Hausdorff-95, px", "mean surface distance, px", "object F1"]
    baselines = results["baselines"]
    swatches = dict(zip(evaluation.names, album.colors, strict=True))
    example = evaluation.stems[0]
    reach = tolerance(album.read(album.pairs[example])[1].shape)
    tables = [Table(overlap, rows, "Overlap of masks", swatches)]
    if baselines:
        names = ["class", "network", *(name.replace("_", " ") for name in baselines)]
        each = [[n, results["iou"][n], *(one["iou"][n] for one in baselines.values())] for n in evaluation.names]
        tables.append(Table(names, each, "IoU of the baselines", swatches))
    outlines = [[n, *(results[key][n] for key in edges)] for n in evaluation.names]
    tables.append(Table(head, outlines, "Outlines and objects", swatches))
    text = [
        "A dash: the class occurs neither in the truth nor in the prediction, and is left out of the mean. "
        f"Boundary F1 forgives {reach:.1f} pixels ({example}; 0.75% of the diagonal). Distances are means over "
        "the images where truth and prediction both have the class. Objects match at an IoU above 0.5; "
        f"{evaluation.names[0]}, the first class, is taken for background and has none.",
        "Colours: a class whose own colour would not stand out from the pictures is shown in another one here.",
    ]
    return Section("Classes", tables=tables, plots=[bars(results, evaluation.names)], help=text)


def bars(results: dict, names: tuple[str, ...]) -> Plot:
    """The score of each class as a bar with its interval, and that of the strongest baseline."""
    task = task_of(results)
    score = task.class_score
    words = {"iou": "IoU"}.get(score, score)
    strongest = strongest_baseline(results)
    kept = sorted(names, key=lambda name: results[score][name] or 0)[: plots.MOST_CLASSES]
    bar = {} if strongest is None else results["baselines"][strongest][score]
    drawn = plots.class_bars(
        kept,
        [results[score][name] for name in kept],
        [results[f"{score}_ci95"].get(name) for name in kept],
        [bar.get(name) for name in kept],
        words,
    )
    said = f"{words} of each class; lines are 95% intervals"
    said += "." if strongest is None else f", diamonds {BASELINES.get(strongest, strongest)}."
    if len(names) > len(kept):
        said += f" The {len(kept)} lowest of {len(names)} classes."
    return Plot(drawn, said, said)


def confusions(results: dict, evaluation: Evaluation) -> Section:
    matrix = np.array(results["confusion"])
    wrong = np.nan_to_num(confusion.ratio(matrix, np.broadcast_to(matrix.sum(1, keepdims=True), matrix.shape)))
    np.fill_diagonal(wrong, 0)
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    units = f"{task_of(results).counted}s"
    said = f"Confusion matrix: the share of each true class's {units} that went to each predicted class."
    if wrong.any():
        true, taken = evaluation.names[row], evaluation.names[column]
        said += f" Above all {true} is taken for {taken} ({wrong[row, column]:.0%} of its {units})."
    if len(evaluation.names) > plots.MOST_CLASSES:
        said += f" Drawn are the {plots.MOST_CLASSES} of {len(evaluation.names)} classes with the largest confusions."
    drawn = plots.confusion(matrix, evaluation.names)
    return Section("Confusion", plots=[Plot(drawn, said, said)], half=len(evaluation.names) <= MOST_IN_HALF)


def by_threshold(evaluation: Evaluation) -> list[Section]:
    """Two classes: what another threshold than 0.5 would give."""
    if "thresholds" not in evaluation.counts:
        return []
    return threshold_section(evaluation.counts["thresholds"].sum(0), evaluation.names[1], with_iou=True)


def threshold_section(counts: np.ndarray, name: str, with_iou: bool) -> list[Section]:
    """Precision and recall of the second class at every threshold.

    Args:
        counts: (2, BINS), of ``threshold_counts``.
        name: of the class.
        with_iou: whether to speak of IoU; else of precision and recall alone.
    """
    if not counts[1].sum():
        return []
    curve = threshold_curve(counts)
    half, best = STEPS // 2, int(np.nan_to_num(curve["iou"]).argmax())
    said = f"Precision and recall of {name} at every threshold of its probability."
    if with_iou:
        said += (
            f" The masks are cut at 0.5, where its IoU is {curve['iou'][half]:.3f}; the best threshold here would be "
            f"{curve['threshold'][best]:.2f} ({curve['iou'][best]:.3f})."
        )
    else:
        del curve["iou"]
    text = [
        f"Precision: the share of what is called {name} that is {name}. Recall: the share of all {name} that is found. "
        "A lower threshold finds more and raises more false alarms. Choose a threshold on validation images (--split "
        "val): the best one of the test part flatters."
    ]
    return [Section("Threshold", plots=[Plot(plots.thresholds(curve, name), said, said)], help=text, half=True)]


def by_size(evaluation: Evaluation) -> list[Section]:
    """The share of objects found, small ones and large ones."""
    if "sizes" not in evaluation.counts:
        return []
    every, hit = evaluation.counts["sizes"].sum(0)[1:].sum(0).T  # of all classes but the first, the background
    if every.sum() < FEWEST_OBJECTS or np.count_nonzero(every) < 2:
        return []
    said = (
        f"Objects found (IoU above 0.5) by size: {hit.sum():,} of {every.sum():,}, regions of all classes but "
        f"{evaluation.names[0]}."
    )
    drawn = plots.object_sizes([2**i for i in range(SIZES)], every.tolist(), hit.tolist())
    text = [
        "An object is a connected region of one class. Each point stands for objects of one size to twice that; the "
        "bars below say how many they are."
    ]
    return [Section("Size of objects", plots=[Plot(drawn, said, said)], help=text, half=True)]


def calibration(results: dict) -> list[Section]:
    """Section: is the network right as often as its probabilities claim?"""
    if not results["reliability"]:
        return []
    said = (
        f"Reliability: how often the network is right where it says how sure it is. Expected calibration error "
        f"{results['ece']:.3f} (0: its probabilities can be taken at their word)."
    )
    drawn = plots.reliability(results["reliability"], f"{task_of(results).counted}s")
    return [Section("Calibration", plots=[Plot(drawn, said, said)], half=True)]


def training(history: Path | None) -> list[Section]:
    rows = read_history(history) if history is not None and history.is_file() else []
    if not rows:
        return []
    score, words = task_of(rows[0]).score, task_of(rows[0]).words
    said = f"Loss and {words} over {rows[-1]['step']:.0f} steps, training and validation."
    return [Section("Training", plots=[Plot(plots.curves(rows, score, words), said, said)], half=True)]


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


def to_label_next(unlabelled: Unlabelled | None, album: Album) -> list[Section]:
    """The images without a mask that the network is least sure of."""
    if unlabelled is None or not unlabelled.ranked:
        return []

    def pictures() -> Iterator[Picture]:
        for path, doubt in unlabelled.ranked:
            image, mask = small(*unlabelled.open(path))
            yield Picture(path.stem, {"uncertainty": doubt}, image, prediction=mask)

    text = [f"The {len(unlabelled.ranked)} least certain of {unlabelled.num_seen} images without a mask."]
    help = [
        "Images without a mask in the data set's folders, by how unsure the network is of them (0: sure, to 1): labels "
        "for these would probably teach it most. predict.py ranks any other images in the same way."
    ]
    shown = album.gallery(pictures(), panels=("image", "prediction"), narrow=True)
    return [Section("What to label next", text, gallery=shown, help=help)]


def labels_to_check(evaluation: Evaluation, album: Album) -> list[Section]:
    """Section on labels that a confident network disagrees with."""
    if not evaluation.doubts:
        return []
    shown = min(MOST_CROPS, len(evaluation.doubts))
    text = [f"{shown} of {len(evaluation.doubts)} places where the network is sure and the label says otherwise."]
    help = [
        "Either the label is wrong, or the network is wrong and sure of it; the most suspicious come first. "
        "labels_to_check.csv lists all, at most five an image. On images that it was trained on, the network has "
        "learnt the errors too."
    ]
    return [Section("Labels to check", text, gallery=album.gallery(album.crops(evaluation), narrow=True), help=help)]


def gallery(evaluation: Evaluation, album: Album) -> Section:
    count = len(evaluation.stems)
    text = [f"The worst {MOST_IMAGES} of {count} images."] if count > MOST_IMAGES else []
    help = [
        "The worst first. Error: what was missed and what is a false alarm; where several classes are not background, "
        "also what was taken for another class. Certainty: how right the network thinks it is, without the label. "
        "Click a picture to enlarge it; above, tick the classes that errors are counted for."
    ]
    return Section("Images", text, gallery=album.gallery(album.pictures(evaluation), sort="mIoU"), help=help)


def write_comparison(path: Path, results: dict, pictures: list[Section]) -> None:
    """Write the page of compare.json; ``pictures``: of ``duels``, where one network beats the other."""
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
    help = [
        "Differences are paired: all networks saw the same images. Holm's p-values allow for the number of comparisons."
    ]
    plot = Plot(
        drawn, headline(results), f"Differences with their 95% intervals; right of the line is better than {first}."
    )
    sections = [
        Section("Differences", sentences(results), [Table(head, rows)], [plot], help=help),
        Section("Classes", tables=[Table(["IoU" if by_class == "iou" else by_class, *networks], each)]),
        *pictures,
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
    help = [
        "An epoch is from one validation to the next; memory is that of the GPU where there is one, "
        "else of the whole process. Bits of a label: of a class, log2 of their number (uniform) and what is left given "
        "their frequencies (entropy); of a mask, its length coded without loss, an upper bound. Each score is on the "
        "run's own task: mIoU and accuracy are not to be compared with each other."
    ]
    return [Section("What each training took", [f"On {devices}."], tables, help=help)]


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
    return f"{signed_number(one[score])} ({signed_number(low)} to {signed_number(high)})"


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
