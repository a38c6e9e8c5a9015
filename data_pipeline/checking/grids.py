"""Pictures of a data set in a grid: pairs with their masks marked, and the worst findings."""

from pathlib import Path

import cv2
import numpy as np

from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.files import read_picture, write_picture
from data_pipeline.loader import read_pair
from data_pipeline.overlay import overlay
from data_pipeline.pixel_range import PixelRange

CELL = 224  # pixels along each side of a picture in a grid
GAP = 6
CAPTION = 34  # pixels below a picture
INK, PAPER, VOID_TINT = (30, 30, 30), (255, 255, 255), (150, 150, 150)
MOST_SHOWN = 24  # thumbnails on a sheet


def marked(image: np.ndarray, mask: np.ndarray, encoding: Encoding, pixel_range: PixelRange) -> np.ndarray:
    """A pair for the eye: classes in their colours with outlines, void hatched; uint8 (H, W, 3)."""
    shown = overlay(pixel_range.show(image), mask, encoding.colors, 0.45)
    for label in range(encoding.num_classes):
        outlines, _ = cv2.findContours((mask == label).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        if label:
            cv2.drawContours(shown, outlines, -1, encoding.colors[label], 1)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    shown[(mask == VOID) & ((x + y) // 4 % 3 == 0)] = VOID_TINT
    return shown


def grid(rows: list[tuple[str, list[np.ndarray]]], headings: list[str], encoding: Encoding | None) -> np.ndarray:
    """Pictures in rows under headings, each row named, with a legend of the classes; uint8 (H, W, 3)."""
    columns = max(len(cells) for _, cells in rows)
    width = columns * (CELL + GAP) + GAP
    lines = legend_lines(encoding, width) if encoding else []
    top, foot = 24, 24 * len(lines) + GAP
    height = top + len(rows) * (CELL + CAPTION + GAP) + foot
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    for column, heading in enumerate(headings):
        write(sheet, heading, GAP + column * (CELL + GAP), 16)
    for row, (name, cells) in enumerate(rows):
        y = top + row * (CELL + CAPTION + GAP)
        write(sheet, name, GAP, y + CELL + 14)
        for column, cell in enumerate(cells):
            x = GAP + column * (CELL + GAP)
            fitted = fit(cell)
            sheet[y : y + fitted.shape[0], x : x + fitted.shape[1]] = fitted
    for number, line in enumerate(lines):
        y = height - foot + 24 * number + 14
        for x, name, color in line:
            cv2.rectangle(sheet, (x, y - 10), (x + 14, y + 4), color, -1)
            cv2.rectangle(sheet, (x, y - 10), (x + 14, y + 4), INK, 1)
            write(sheet, name, x + 20, y + 2)
    return sheet


def legend_lines(encoding: Encoding, width: int) -> list[list[tuple[int, str, tuple[int, int, int]]]]:
    """(x, name, colour) of each class and of void, broken into lines of a width."""
    lines, x = [[]], GAP
    named = [*zip(encoding.names, encoding.colors, strict=True), ("void (hatched): never counts", VOID_TINT)]
    for name, color in named:
        length = 34 + text_width(name)
        if x + length > width and lines[-1]:
            lines.append([])
            x = GAP
        lines[-1].append((x, name, color))
        x += length
    return lines


def fit(picture: np.ndarray) -> np.ndarray:
    """At most CELL × CELL, with its own shape; small pictures are enlarged by whole pixels."""
    factor = CELL / max(picture.shape[:2])
    size = tuple(max(1, round(side * factor)) for side in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)


def write(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    """Text with its foot at (x, y), cut off at a cell's width where it is longer than the sheet allows."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(sheet, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)


def text_width(text: str) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]


def write_sheet(path: Path, dataset: DataSet, overwrite: bool = False) -> bool:
    """Thumbnails of the pairs that errors and warnings name, the gravest first; False if there are none."""
    by_file = {str(file): pair for pair in dataset.pairs for file in pair.files}
    cells = []
    for finding in dataset.findings:
        if finding.level == "note":
            continue
        for file in finding.files[:4]:
            if len(cells) < MOST_SHOWN and Path(file).is_file():
                cells.append(
                    (f"{finding.level}: {finding.kind}", Path(file).name, thumbnail(by_file.get(file), file, dataset))
                )
    if not cells:
        return False
    rows = []
    for first in range(0, len(cells), 4):
        part = cells[first : first + 4]
        rows.append((part, [picture for _, _, picture in part]))
    sheet = grid([("", pictures) for _, pictures in rows], [], dataset.encoding if dataset.inspection else None)
    for row, (part, _) in enumerate(rows):
        for column, (kind, name, _) in enumerate(part):
            x, y = GAP + column * (CELL + GAP), 24 + row * (CELL + CAPTION + GAP)
            write(sheet, shorten(kind), x, y - 4)
            write(sheet, shorten(name), x, y + CELL + 12)
    write_picture(path, sheet, overwrite)
    return True


def shorten(text: str) -> str:
    """Cut to a cell's width."""
    while text_width(text) > CELL:
        text = text[:-2]
    return text


def thumbnail(pair, file: str, dataset: DataSet) -> np.ndarray:
    """A pair with its mask, or the one file that can be read, or a blank; uint8 (H, W, 3)."""
    try:
        if pair and dataset.pixel_range:
            image, mask = read_pair(pair, dataset.encoding)
            dataset.pixel_range.refuse_other(pair.image, image.dtype.name, image.shape[2])
            if image.shape[:2] == mask.shape:
                return marked(image, mask, dataset.encoding, dataset.pixel_range)
    except UserError:
        pass  # one of the two is damaged, or of another kind: show the file alone
    try:
        pixels = read_picture(Path(file)).pixels
    except UserError:
        return np.full((CELL, CELL, 3), 225, np.uint8)
    if pixels.dtype != np.uint8 or pixels.shape[2] < 3:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels[..., :1] - low) / max(high - low, 1e-9) * 255).astype(np.uint8).repeat(3, 2)
    return np.ascontiguousarray(pixels[..., :3])
