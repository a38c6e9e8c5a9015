"""Other tools' annotations → images/, masks/ and classes.json, the form that every other command reads."""

import shlex
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID, default_color
from data_pipeline.files import write_csv, write_json, write_mask
from data_pipeline.findings import some
from data_pipeline.outputs import new_folder, refuse_existing_folder
from data_pipeline.pairs import PAIRS_FILE, Pair, unique_stems

from .annotations import Annotations, Drawing
from .coco import read_coco
from .labelme import read_labelme
from .run_lengths import read_run_lengths
from .stacks import convert_stacks
from .yolo import read_yolo

FORMS = {"coco": read_coco, "labelme": read_labelme, "yolo": read_yolo, "rle": read_run_lengths}
STACK = "stack"  # a form of pictures, not of drawings


def convert(source: Path, destination: Path, form: str, order: str | None = None) -> None:
    """Write the images, byte for byte, and masks of class indices drawn from annotations. All of it, or nothing.

    Args:
        source: coco: the JSON file, or a folder with one JSON file in it or in its annotations/;
            labelme: the folder of the JSON files, or of folders of them; yolo: the folder of images/, labels/ and
            data.yaml; rle: the CSV or its folder; stack: the folder of the stacks.
        destination: a folder that does not exist yet.
        form: a key of FORMS, or STACK.
        order: of rle alone: "columns" or "rows", which runs go along; None: it is told by the images.

    Raises:
        UserError: naming the file and the entry that is wrong.
    """
    source, destination = Path(source), Path(destination)
    if form not in (*FORMS, STACK):
        raise UserError(f"no annotations of the form {form!r} are known; wanted one of: {', '.join((*FORMS, STACK))}")
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if order and form != "rle":
        raise UserError(f"--order {order} belongs to --from rle")
    if form == STACK:
        return convert_stacks(source, destination)
    refuse_existing_folder(destination)
    annotations = FORMS[form](source, order) if order else FORMS[form](source)
    with new_folder(destination) as fresh:
        notes = write(annotations, fresh)
    for note in annotations.notes + notes:
        print(f"note: {note}")
    print(
        f"{len(annotations.drawings)} images and {len(annotations.names)} classes are in {destination}/. "
        f"Next: python -m data_pipeline check {shlex.quote(str(destination))}"
    )


def write(annotations: Annotations, folder: Path) -> list[str]:
    """Fill the folder and return notes for the user."""
    colors = [default_color(i) for i in range(len(annotations.names))]
    drawings = annotations.drawings
    named = unique_stems(
        [Pair(path.stem, path, path) for path in (drawing.path for drawing in drawings)], annotations.root
    )
    blank, empty, contested, pixels = [], 0, 0, 0
    rows = []
    (folder / "images").mkdir()
    progress = tqdm(drawings, "drawing", unit="image", leave=False, disable=None)
    for drawing, pair in zip(progress, named, strict=True):
        mask, claimed_twice, areas = draw(drawing, annotations.index)
        write_mask(folder / "masks" / f"{pair.stem}.png", mask, colors)
        (folder / "images" / f"{pair.stem}{drawing.path.suffix}").write_bytes(drawing.content())
        row = {"image": f"images/{pair.stem}{drawing.path.suffix}", "mask": f"masks/{pair.stem}.png"}
        rows.append(row | {"split": drawing.split or "train"})
        blank += [] if areas else [drawing.path.name]
        empty += areas.count(0)
        contested += claimed_twice
        pixels += mask.size

    if any(drawing.split for drawing in drawings):
        write_csv(folder / PAIRS_FILE, rows)
    classes = [
        {"name": name, "value": i, "color": color}
        for i, (name, color) in enumerate(zip(annotations.names, colors, strict=True))
    ]
    void = [VOID] if VOID in annotations.index.values() else []
    write_json(folder / "classes.json", {"classes": classes, "void": void})

    notes = []
    if blank:
        notes.append(
            f"{len(blank)} of {len(drawings)} images have nothing drawn on them, all background: {some(blank)}"
        )
    if empty:
        notes.append(f"{empty} annotations cover no pixel")
    if contested:
        notes.append(
            f"{contested / pixels:.2%} of the pixels are claimed by two classes; {annotations.on_top} is on top"
        )
    return notes


def draw(drawing: Drawing, index: dict[str, int]) -> tuple[np.ndarray, int, list[int]]:
    """The mask, uint8 (H, W), void 255; how many pixels two classes claim; the area of each region in pixels."""
    mask = np.zeros(drawing.size, np.uint8)
    claimed_twice = np.zeros(drawing.size, bool)
    areas = []
    for name, region in drawing.regions():
        before = mask[region]
        claimed_twice[region] |= (before != 0) & (before != index[name])
        mask[region] = index[name]
        areas.append(before.size)
    return mask, int(claimed_twice.sum()), areas
