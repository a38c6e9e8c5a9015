"""The check command: every error, warning and note about a data set, before training on it."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet, find_files, read_masks, split_up, with_range
from data_pipeline.encoding import find_classes_file
from data_pipeline.files import write_csv, write_json
from data_pipeline.findings import LEVELS, Finding
from data_pipeline.inspection import Inspection
from data_pipeline.loader import choose_frame
from data_pipeline.outputs import refuse_to_replace
from data_pipeline.source import Source
from data_pipeline.split import FRACTIONS, Split
from data_pipeline.tables import FORMULA

from .grids import write_sheet
from .sketches import Sketch
from .suspects import groups_of_copies, images_with, suspect

PIXELS_IN_BATCH = 8 * 256 * 256
BATCHES = (2, 16)  # fewest and most images of a batch
FILES_SHOWN = 10


def survey(source: Source) -> tuple[DataSet, list[Sketch]]:
    """Look at a data set as deeply as its faults allow; every mistake becomes a finding, the gravest first.

    Also returns the images' sketches, by which near copies are found, if the images could be read.
    """
    dataset, sketches = DataSet(source, [], []), []
    try:
        dataset = find_files(source)
        dataset = read_masks(dataset)
        dataset = split_up(dataset, seed=0)
        dataset = with_range(dataset)
        suspicions, sketches = suspect(dataset.inspection, dataset.split, dataset.pixel_range)
        dataset = replace(dataset, findings=dataset.findings + suspicions)
    except UserError as error:
        dataset = replace(dataset, findings=[*dataset.findings, Finding("error", "unusable", str(error))])
    findings = sorted(dataset.findings, key=lambda finding: LEVELS.index(finding.level))
    return replace(dataset, findings=findings), sketches


def print_survey(dataset: DataSet) -> None:
    """Sizes, classes in each part of the split, findings from errors to notes, and what to train with."""
    if dataset.inspection:
        sizes = sorted(dataset.inspection.sizes())
        span = " to ".join(f"{height}×{width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
        first = dataset.inspection.facts[0]
        print(f"{len(dataset.pairs)} pairs of {span} pixels (height×width), {first.channels} channels of {first.dtype}")
    if dataset.split:
        print("\n".join(class_table(dataset.inspection, dataset.split)))
    for finding in dataset.findings:
        print(f"{finding.level}: {finding}")
        if finding.level != "note":
            for file in finding.files[:FILES_SHOWN]:
                print(f"    {file}")
            if len(finding.files) > FILES_SHOWN:
                print(f"    … and {len(finding.files) - FILES_SHOWN} more (all of them with --json FILE)")


def class_table(data: Inspection, split: Split) -> list[str]:
    """Each class's share of the pixels, and the images that hold it in each part."""
    parts = [name for name in FRACTIONS if split.part(name)]
    pixels = data.class_pixels(data.pairs())
    held = {part: images_with(data, split.part(part)) for part in parts}
    lines = [f"  {'class':24}{'pixels':>9}" + "".join(f"{part:>8}" for part in parts) + "   (images that hold it)"]
    for i, name in enumerate(data.encoding.names):
        counts = "".join(f"{held[part][i]:8}" for part in parts)
        lines.append(f"  {name:24}{pixels[i] / max(1, pixels.sum()):9.2%}{counts}")
    return [*lines, f"  {'images':33}" + "".join(f"{len(split.part(part)):8}" for part in parts)]


def counted(dataset: DataSet) -> str:
    """Return how many errors and warnings there are, "1 error and 2 warnings"; "" for none."""
    counts = {kind: dataset.count(kind) for kind in ("error", "warning")}
    return " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items() if count)


def suggestion(dataset: DataSet) -> str:
    """The training command that suits the data set."""
    flags = ["--data", shlex.quote(str(dataset.source.data)), *dataset.source.flags(), *proposals(dataset)]
    return f"python train.py {' '.join(flags)}"


def proposals(dataset: DataSet) -> dict[str, str]:
    """Return the flags of training that suit the data set, each with its reason."""
    if not (dataset.inspection and dataset.split):
        return {}
    sizes = dataset.inspection.sizes()
    (height, width), crops = choose_frame(sizes)
    flags = {}
    if crops and height == width:
        why = "the images have several sizes" if len(sizes) > 1 else "the images are large"
        flags[f"--crop {height}"] = f"{why}; --size HxW would shrink them to one size"
    batch = int(np.clip(PIXELS_IN_BATCH // (height * width), *BATCHES))
    flags[f"--batch-size {batch}"] = (
        f"frames of {height}×{width}: about the pixels of 8 crops of 256×256, in {BATCHES[0]} to {BATCHES[1]} images; "
        "take a smaller one if memory is short"
    )
    rare = [str(finding) for finding in dataset.findings if finding.kind == "rare-class"]
    if rare:
        flags["--class-weights median_frequency"] = rare[0]
    return flags


def write_survey_json(path: Path, dataset: DataSet, overwrite: bool = False) -> None:
    """The survey for programs: findings with all their files, classes, split, suggestion."""
    classes, split = {}, None
    if dataset.split:
        split = {part: [pair.stem for pair in dataset.split.part(part)] for part in FRACTIONS}
        pixels = dataset.inspection.class_pixels(dataset.inspection.pairs())
        held = {part: images_with(dataset.inspection, dataset.split.part(part)) for part in FRACTIONS}
        for i, name in enumerate(dataset.inspection.encoding.names):
            classes[name] = {"pixels": int(pixels[i])} | {part: int(counts[i]) for part, counts in held.items()}
    write_json(
        path,
        {
            "data": str(dataset.source.data),
            "pairs": len(dataset.pairs),
            **{f"{level}s": dataset.count(level) for level in LEVELS},
            "findings": [asdict(finding) for finding in dataset.findings],
            "encoding": dataset.inspection.encoding.to_json() if dataset.inspection else None,
            "scale": dataset.pixel_range.to_json() if dataset.pixel_range else None,
            "classes": classes,
            "split": split,
            "suggestion": suggestion(dataset),
        },
        overwrite,
    )


def write_groups(path: Path, source: Source, sketches: list[Sketch], overwrite: bool = False) -> None:
    """The pairs as a CSV with a group column, in which near copies share a group.

    Raises:
        UserError: if the pairs were not compared, or have several mask files each.
    """
    if not sketches or any(sketch.pair.class_masks for sketch in sketches):
        raise UserError("--groups: near copies can be grouped only where each image is readable and has one mask file")
    groups = groups_of_copies(sketches)
    folder = path.resolve().parent
    classes_file = find_classes_file(source.data)
    if classes_file and classes_file.resolve().parent != folder:
        raise UserError(f"--groups {path}: put it beside {classes_file}, which is looked for beside the CSV")
    rows = []
    for sketch, group in zip(sketches, groups, strict=True):
        pair = sketch.pair
        row = {"image": relative(pair.image, folder), "mask": relative(pair.mask, folder)}
        if pair.split:
            row["split"] = pair.split
        rows.append(row | {"group": pair.group or group})
    write_csv(path, rows, overwrite)


def relative(path: Path, folder: Path) -> str:
    path = path.resolve()
    if not path.is_relative_to(folder):
        return str(path)
    inside = path.relative_to(folder).as_posix()
    return f"./{inside}" if FORMULA.match(inside) else inside


def show_worst(dataset: DataSet, sheet: Path | None, overwrite: bool = False) -> None:
    """Draw the sheet of thumbnails, or print how to get one."""
    if sheet is None:
        if any(finding.files for finding in dataset.findings if finding.level != "note"):
            print("note: --sheet FILE.png draws the worst of these files")
    elif write_sheet(sheet, dataset, overwrite):
        print(f"the worst in pictures: {sheet}")


def check(
    source: Source,
    json: Path | None = None,
    groups: Path | None = None,
    sheet: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Survey a data set, print it, and write the files that were asked for.

    overwrite: files may be replaced, but never those of the data set.

    Raises:
        UserError: if there are errors, or a file to be written exists.
    """
    for flag, path, suffix in (("json", json, ".json"), ("groups", groups, ".csv"), ("sheet", sheet, ".png")):
        if path and path.suffix.lower() != suffix:
            raise UserError(f"--{flag} {path}: a name that ends in {suffix} is wanted")
        if path:
            refuse_to_replace(f"--{flag}", path, overwrite)
    dataset, sketches = survey(source)
    sources = [source.data, *(file for pair in dataset.pairs for file in pair.files)]
    for flag, path in (("json", json), ("groups", groups), ("sheet", sheet)):
        if path:
            refuse_to_replace(f"--{flag}", path, overwrite, sources)
    print_survey(dataset)
    if json:
        write_survey_json(json, dataset, overwrite)
    if groups:
        write_groups(groups, source, sketches, overwrite)
        print(f"groups: {groups} (train with --data {shlex.quote(str(groups))})")
    show_worst(dataset, sheet, overwrite)
    if dataset.count("error"):
        raise UserError(f"{counted(dataset)}; fix the errors first")
    verdict = counted(dataset) or "no fault found"
    for flag, why in proposals(dataset).items():
        print(f"suggested: {flag}: {why}")
    print(f"{verdict[0].upper()}{verdict[1:]}. Next: {suggestion(dataset)}")
