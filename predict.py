#!/usr/bin/env python
"""Masks for new images from a trained run: STEM.png (class indices, palette PNG) and STEM_overlay.png.

uncertainty.csv ranks the images: what the network is least sure of is what to label next; --to coco or labelme takes
the masks into a labelling tool, to be corrected there. A classifier writes labels.csv: the class of each image, and how
likely it thinks each one. Images that cannot be read are left out and named at the end; the exit code is then 1.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import csv
import os
import shlex
from collections import Counter
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

    from engine.journal import journal_of
    from engine.predictor import Predictor
    from engine.scoring.doubts import uncertainty

    with journal_of(run, config.out) as journal:
        refuse_collisions(images, config, journal.begun)
        read_ranking(config.out / RANKING)  # another file of that name is reported before the work
        predictor = Predictor(run.model(), run.config["model"], run.frame, config.batch_size)
        doubts, faults = {}, []
        for path in tqdm(images, "predicting", unit="image", disable=None):
            key = str(path.resolve())
            if key in journal.done and all(file.is_file() for file in outputs_of(path, config)):
                doubts[path.name] = journal.done[key]
                continue
            try:
                image = read(run, path)
            except UserError as error:
                faults.append(str(error))
                continue
            probabilities = predictor.probabilities(image)
            journal.note(path, None)
            try:
                write_outputs(run, path, image, probabilities, config, config.overwrite or key in journal.begun)
            except UserError:
                journal.note(path, "given up")
                raise
            doubts[path.name] = uncertainty(probabilities)
            journal.note(path, doubts[path.name])
        if doubts:
            ranked = rank_images(config.out / RANKING, doubts)
            if config.to:
                done = [path for path in images if path.name in doubts]
                least_sure_first = sorted(done, key=lambda path: doubts[path.name], reverse=True)
                write_for_labelling(least_sure_first, run.encoding, config)
            print_next(ranked, len(doubts), run.encoding, config)
    return faults


def without_masks(images: list[Path], run) -> list[Path]:
    """The images less the run's own masks, which lie beside its images in some data sets."""
    masks = {path.resolve() for pair in run.split.part("all") for path in pair.files[1:]}
    kept = [path for path in images if path.resolve() not in masks]
    if len(kept) < len(images):
        print(f"note: {len(images) - len(kept)} files are masks of the run's own data set, and are left out")
    if not kept:
        raise UserError(f"all {len(images)} files are masks of {run.path}'s own data set; name images")
    return kept


def outputs_of(image: Path, config: PredictConfig) -> list[Path]:
    """The files that are written for an image: its mask, its overlay, and what else is asked for."""
    ends = [".png", "_overlay.png"]
    ends += ["_probabilities.tif"] * config.probabilities + ["_uncertainty.png"] * config.uncertainty
    return [config.out / f"{image.stem}{end}" for end in ends]


def write_outputs(run, path: Path, image, probabilities, config: PredictConfig, replace: bool) -> None:
    """The files of one image, as ``outputs_of`` names them."""
    from data_pipeline.files import write_mask, write_picture, write_probabilities, write_values
    from data_pipeline.overlay import overlay
    from engine.pictures import uncertainty_picture

    colors, files = run.encoding.colors, outputs_of(path, config)
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


def write_for_labelling(images: list[Path], encoding, config: PredictConfig) -> None:
    """The objects of the masks that were written, in this order."""
    from data_pipeline.masks import read_raw
    from data_pipeline.outlines import objects_of, write_objects

    folder, drawn = config.out / config.to, {}
    for path in images:
        values, _ = read_raw(outputs_of(path, config)[0])
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


def refuse_collisions(images: list[Path], config: PredictConfig, begun: set[str]) -> None:
    """Nothing that exists is overwritten unasked, and no image ever; begun: images whose files are this command's."""
    from data_pipeline.outputs import refuse_existing_folder, refuse_long_name

    if config.to:
        refuse_existing_folder(config.out / config.to)
    outputs = Counter(file for path in images for file in outputs_of(path, config))
    sources = {path.resolve() for path in images}
    own = {file for path in images if str(path.resolve()) in begun for file in outputs_of(path, config)}
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
