#!/usr/bin/env python
"""Masks for new images from a trained run: STEM.png (class indices, palette PNG) and STEM_overlay.png.

uncertainty.csv ranks the images: what the network is least sure of is what to label next; --to coco or labelme takes
the masks into a labelling tool, to be corrected there. A GeoTIFF gets STEM.tif, a GeoTIFF too (docs/scenes.md). A
classifier writes labels.csv: the class of each image, and how likely it thinks each one. Images that cannot be read are
left out and named at the end; the exit code is then 1.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import csv
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_pipeline.command import UserError, run_command
from engine.config import PredictConfig, above_zero
from engine.usage import PREDICT

RANKING = "uncertainty.csv"  # the images that the network is least sure of come first
LABELS = "labels.csv"
MOST_NAMED = 100  # images that could not be read


def predict(config: PredictConfig) -> None:
    """A run and images → masks of the images' own size.

    Raises:
        UserError: naming the images that cannot be read, when all others are done.
    """
    above_zero(config, "batch_size")
    images = find_images(config.images)

    from engine.run import Run

    run = Run.open(config.run)
    images = without_masks(images, run)
    faults = (predict_labels if run.classifies else predict_masks)(run, images, config)
    if faults:
        more = [f"… and {len(faults) - MOST_NAMED} more"] * (len(faults) > MOST_NAMED)
        raise UserError("\n".join([f"{len(faults)} of {len(images)} left out:", *faults[:MOST_NAMED], *more]))


def predict_masks(run, images: list[Path], config: PredictConfig) -> list[str]:
    """Masks, overlays and the ranking; what is wrong with the images that cannot be read."""
    from tqdm import tqdm

    from data_pipeline.scenes.reading import read_header
    from engine.journal import journal_of
    from engine.predicting.many import predict_many
    from engine.predicting.scenes import goes_by_strips
    from engine.predictor import Predictor

    headers = {}
    for path in images:
        with suppress(UserError):  # what is no file is named when its turn to be read comes
            headers[path] = read_header(path)
    scenes = {path for path, header in headers.items() if header and header.is_scene}
    refuse_forms(headers, config)
    with journal_of(run, config.out) as journal:
        refuse_collisions(images, config, journal.begun, scenes)
        read_ranking(config.out / RANKING)  # another file of that name is reported before the work
        work = Masks(run, config, journal, scenes)
        came = {path: journal.done[str(path.resolve())] for path in images if work.is_done(path)}
        if came:
            print(f"note: {len(came)} of {len(images)} images were done before the interruption; going on")
        predictor = Predictor(run.model(), run.config["model"], run.frame, config.batch_size)
        todo = [path for path in images if path not in came]
        by_strips = [path for path in todo if goes_by_strips(headers.get(path), run)]
        small = [path for path in todo if path not in set(by_strips)]
        together = run.config["norm"] != "batch_statistics"
        predicted = predict_many(small, partial(read, run), predictor, work.write, together)
        for path, doubt in tqdm(predicted, "predicting", len(small), unit="image", disable=None if small else True):
            came[path] = doubt
        for path in by_strips:
            came[path] = work.predict_scene(path, predictor)
        doubts = {path.name: came[path] for path in images if not isinstance(came[path], UserError)}
        if doubts:
            ranked = rank_images(config.out / RANKING, doubts)
            if config.to:
                done = [path for path in images if path.name in doubts]
                least_sure_first = sorted(done, key=lambda path: doubts[path.name], reverse=True)
                write_for_labelling(least_sure_first, run.encoding, work)
            print_next(ranked, len(doubts), run.encoding, config)
    return [str(came[path]) for path in images if isinstance(came[path], UserError)]


def refuse_forms(headers: dict, config: PredictConfig) -> None:
    """Raise a UserError, before the work, for what is asked for and cannot be written."""
    from data_pipeline.files import MAX_PIXELS
    from data_pipeline.scenes.reading import import_rasterio

    for path, header in headers.items():
        if header and header.is_georeferenced:
            import_rasterio(f"{path} is georeferenced, which")
        if header and header.pixels > MAX_PIXELS and config.to in ("coco", "labelme"):
            raise UserError(f"{path}: too large for --to {config.to}, which copies images; use --to geojson")
    if config.to == "geojson":
        import_rasterio("--to geojson")
        if config.values == "as-given":
            raise UserError("--to geojson names the classes itself; leave out --values as-given")


@dataclass(frozen=True)
class Masks:
    """Writes the files of each image, and notes it in the journal; scenes: images whose masks are TIFFs."""

    run: "Run"  # noqa: F821  imported where it is used, for the sake of --help
    config: PredictConfig
    journal: "Journal"  # noqa: F821
    scenes: set[Path]

    def files(self, path: Path) -> list[Path]:
        return outputs_of(path, self.config, path in self.scenes)

    def is_done(self, path: Path) -> bool:
        return str(path.resolve()) in self.journal.done and all(file.is_file() for file in self.files(path))

    @contextmanager
    def noted(self, path: Path) -> Iterator[bool]:
        """Write an image's files within; yield whether those that exist are replaced."""
        self.journal.note(path, None)
        try:
            yield self.config.overwrite or str(path.resolve()) in self.journal.begun
        except UserError:
            self.journal.note(path, "given up")
            raise

    def write(self, path: Path, image, probabilities) -> float:
        """Write the files of an image in memory; return its uncertainty."""
        from engine.scoring.doubts import uncertainty

        with self.noted(path) as replace:
            write_outputs(self.run, self.files(path), image, probabilities, self.config, replace)
        doubt = uncertainty(probabilities)
        self.journal.note(path, doubt)
        return doubt

    def predict_scene(self, path: Path, predictor) -> float | UserError:
        """Predict by strips, and write; return the uncertainty, or why the scene cannot be read."""
        from data_pipeline.files import refuse_name
        from engine.predicting.scenes import predict_scene, write_scene

        files = self.files(path)
        try:
            refuse_name(path)
            strips, georeference = predict_scene(self.run, predictor, path, files, self.journal.folder, self.config)
        except UserError as error:
            return error
        with self.noted(path) as replace:
            doubt = write_scene(strips, files, georeference, self.run.encoding, self.config, replace)
        self.journal.note(path, doubt)
        strips.remove()
        return doubt


def without_masks(images: list[Path], run) -> list[Path]:
    """The images less the run's own masks, which lie beside its images in some data sets."""
    masks = {path.resolve() for pair in run.split.part("all") for path in pair.files[1:]}
    kept = [path for path in images if path.resolve() not in masks]
    if len(kept) < len(images):
        print(f"note: {len(images) - len(kept)} files are masks of the run's own data set, and are left out")
    if not kept:
        raise UserError(f"all {len(images)} files are masks of {run.path}'s own data set; name images")
    return kept


def outputs_of(image: Path, config: PredictConfig, is_scene: bool = False) -> list[Path]:
    """The files that are written for an image: its mask, its overlay, and what else is asked for.

    is_scene: the mask is a TIFF, as that of a GeoTIFF.
    """
    end = ".tif" if is_scene else ".png"
    ends = [end, "_overlay.png"]
    ends += ["_probabilities.tif"] * config.probabilities + [f"_uncertainty{end}"] * config.uncertainty
    return [config.out / f"{image.stem}{end}" for end in ends]


def write_outputs(run, files: list[Path], image, probabilities, config: PredictConfig, replace: bool) -> None:
    """The files of one image, as ``outputs_of`` names them."""
    from data_pipeline.files import write_mask, write_picture, write_probabilities, write_values
    from data_pipeline.overlay import overlay
    from engine.pictures import uncertainty_picture

    colors = run.encoding.colors
    mask = probabilities.argmax(-1).astype("uint8")
    if config.values == "as-given":
        write_values(files[0], mask, run.encoding, replace)
    else:
        write_mask(files[0], mask, colors, replace)
    write_picture(files[1], overlay(run.pixel_range.show(image), mask, colors), replace)
    if config.probabilities:
        write_probabilities(files[2], probabilities, run.encoding.names, replace)
    if config.uncertainty:
        write_picture(files[-1], uncertainty_picture(probabilities), replace)


def write_for_labelling(images: list[Path], encoding, work: Masks) -> None:
    """The objects of the masks that were written, in this order."""
    from data_pipeline.masks import read_raw
    from data_pipeline.outlines import objects_of, write_objects
    from data_pipeline.outputs import new_folder
    from data_pipeline.scenes.polygons import write_outlines

    config, drawn = work.config, {}
    folder = config.out / config.to
    if config.to == "geojson":
        with new_folder(folder) as fresh:
            for path in images:
                write_outlines(fresh / f"{path.stem}.geojson", work.files(path)[0], encoding.names)
        print(f"Outlines: {folder}/")
        return
    for path in images:
        values, _ = read_raw(work.files(path)[0])
        mask = encoding.classes_of(values) if config.values == "as-given" else values
        drawn[path] = objects_of(mask.astype("uint8"), encoding.names, config.to)
    write_objects(folder, drawn, encoding.names, encoding.colors, config.to)
    print(
        f"For the labelling tool: {folder}/. When it is corrected: "
        f"python -m data_pipeline convert {shlex.quote(str(folder))} DIR --from {config.to}"
    )


def print_next(ranked: list[str], count: int, encoding, config: PredictConfig) -> None:
    as_given = config.values == "as-given"
    values = encoding.values if as_given else range(encoding.num_classes)
    if len(ranked) > 1:
        print(
            f"To label next: {', '.join(ranked[:3])} (the network is least sure of them; all in {config.out / RANKING})"
        )
    classes = ", ".join(
        f"{encoding.show(value) if as_given else value} {name}"
        for value, name in zip(values, encoding.names, strict=True)
    )
    print(f"{count} masks and overlays are in {config.out}/ (values: {classes})")


def predict_labels(run, images: list[Path], config: PredictConfig) -> list[str]:
    """The class of each image, by a classifier; what is wrong with the images that cannot be read."""
    from data_pipeline.files import write_csv
    from data_pipeline.labels import Photo
    from engine.scoring.classifier_scores import predict as probabilities_of

    if config.to or config.probabilities or config.uncertainty:
        raise UserError(f"{run.path}: a classifier; --to, --probabilities and --uncertainty are about masks")
    path = config.out / LABELS
    if os.path.lexists(path) and not config.overwrite:
        raise UserError(f"{path} exists; name another --out, or add --overwrite")
    if run.config["tile"]:
        raise UserError(f"{run.path} labels tiles of {run.config['tile']} pixels, not whole images; cut them first")
    readable, faults = [], []
    for image in images:
        try:
            read(run, image)
            readable.append(image)
        except UserError as error:
            faults.append(str(error))
    if not readable:
        return faults
    names = run.dataset["classes"]
    probabilities = probabilities_of(run, [Photo(image.stem, image, 0) for image in readable], config.batch_size)
    rows = [
        {"image": str(image), "label": names[each.argmax()], "confidence": round(float(each.max()), 4)}
        | {f"p_{name}": round(float(p), 4) for name, p in zip(names, each, strict=True)}
        for image, each in zip(readable, probabilities, strict=True)
    ]
    write_csv(path, rows, config.overwrite)
    print(f"{len(rows)} labels are in {path} (classes: {', '.join(names)})")
    return faults


def read(run, path: Path):
    """An image as the run's network takes it.

    Raises:
        UserError: for a file that is no image, or of another kind than the run was trained on, and for an odd name.
    """
    from data_pipeline.files import refuse_name

    refuse_name(path)
    return run.pixel_range.read(path)


def rank_images(path: Path, doubts: dict[str, float]) -> list[str]:
    """Write the images' names with their uncertainty, the least sure first, among those that stand there already."""
    from data_pipeline.files import write_csv

    doubts = read_ranking(path) | doubts
    ranked = sorted(doubts, key=doubts.get, reverse=True)
    write_csv(path, [{"image": name, "uncertainty": round(doubts[name], 4)} for name in ranked])
    return ranked


def read_ranking(path: Path) -> dict[str, float]:
    """Each image's uncertainty in a ranking that stands there already; {} where there is none.

    Raises:
        UserError: for a file of that name that predict.py did not write.
    """
    from data_pipeline.files import refuse_special
    from data_pipeline.tables import original

    if not os.path.lexists(path):
        return {}
    refuse_special(path)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames != ["image", "uncertainty"]:
                raise ValueError
            return {original(row["image"]): float(row["uncertainty"]) for row in rows}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not a ranking that predict.py wrote; move it away, or name another --out") from None


def find_images(given: tuple[Path, ...]) -> list[Path]:
    """The image files named, and those directly in the folders named."""
    from data_pipeline.files import named_as_images

    images = []
    for path in given:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        images += named_as_images(path) if path.is_dir() else [path]
    if not images:
        raise UserError(f"no images in {', '.join(map(str, given))}")
    return images


def refuse_collisions(
    images: list[Path], config: PredictConfig, begun: set[str], scenes: frozenset[Path] | set[Path] = frozenset()
) -> None:
    """Nothing that exists is overwritten unasked, and no image ever.

    begun: images whose files are this command's. scenes: those whose masks are TIFFs.
    """
    from data_pipeline.outputs import refuse_existing_folder, refuse_long_name

    if config.to:
        refuse_existing_folder(config.out / config.to)
    files = {path: outputs_of(path, config, path in scenes) for path in images}
    outputs = Counter(file for path in images for file in files[path])
    sources = {path.resolve() for path in images}
    own = {file for path in images if str(path.resolve()) in begun for file in files[path]}
    for output, count in outputs.items():
        refuse_long_name(output)
        if count > 1:
            raise UserError(f"two images would both be written to {output}; predict them into separate folders")
        if output.resolve() in sources:
            raise UserError(f"{output} is one of the images themselves; name another --out")
        if os.path.lexists(output) and output not in own and not config.overwrite:
            raise UserError(f"{output} exists; name another --out, or add --overwrite")


if __name__ == "__main__":
    run_command(predict, PredictConfig, __doc__, usage=PREDICT)
