"""labelme's JSON files → drawings: polygons, rectangles, circles and painted masks."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.files import list_images, read_image
from data_pipeline.findings import some

from .annotations import (
    Annotations,
    Drawing,
    brief,
    check_points,
    check_size,
    class_name,
    decode_base64,
    entries,
    expect,
    json_files,
    json_files_below,
    locate,
    number_classes,
    only,
    opened,
    read_annotations,
)

LABELME_POINTS = {"polygon": 3, "oriented_rectangle": 4, "rectangle": 2, "circle": 2, "mask": 2}  # a polygon: at least
LABELME_LINES = ("line", "linestrip", "point", "points")  # no area
EMBEDDED_SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "GIF": ".gif",
    "MPO": ".jpg",
}


def read_labelme(source: Path) -> Annotations:
    """Read the annotations of a folder of labelme's JSON files, one file for each image.

    Reference: https://github.com/wkentaro/labelme
    """
    if not source.is_dir():
        raise UserError(f"{source}: a file; for labelme, name the folder that holds the JSON files")
    paths = json_files(source) or json_files_below(source)
    if not paths:
        raise UserError(f"{source}: no JSON files in it, nor in its sub-folders; name the folder that labelme saved to")
    drawings, names, lines = [], set(), Counter()
    for path in tqdm(paths, "reading", unit="file", leave=False, disable=None):
        drawing, labels, skipped = read_labelme_file(path, source)
        drawings.append(drawing)
        names |= labels
        lines += skipped
    if not names:
        raise UserError(f"{source}: no shape in its {len(paths)} JSON files has an area; draw polygons")

    listed, index = number_classes(source, sorted(names))
    annotated = {drawing.path for drawing in drawings}
    folders = sorted({path.parent for path in annotated})
    others = [path.name for folder in folders for path in list_images(folder) if path not in annotated]
    notes = []
    if lines:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(lines.items()))
        notes.append(f"{lines.total()} shapes have no area, and are left out: {kinds}")
    if others:
        notes.append(f"{len(others)} images have no JSON file, and are left out: {some(others)}")
    return Annotations(source, listed, index, drawings, "the later shape", notes)


def read_labelme_file(path: Path, root: Path) -> tuple[Drawing, set[str], Counter]:
    """The drawing of one file, the labels on it, and the kinds of shapes without an area."""
    stored = read_annotations(path)
    image, content, size = find_labelme_image(path, stored, root)
    check_size(f"{path}", (stored.get("imageWidth"), stored.get("imageHeight")), size, image)

    shapes, labels, lines = [], set(), Counter()
    for where, shape in entries(path, stored, "shapes"):
        kind = expect(f"{where}: shape_type", shape.get("shape_type") or "polygon", str)  # labelme 2 had no other
        if kind in LABELME_LINES:
            lines[kind] += 1
            continue
        if kind not in LABELME_POINTS:
            known = ", ".join((*LABELME_POINTS, *LABELME_LINES))
            raise UserError(f"{where}: shape_type {brief(kind)}; wanted one of: {known}")
        label = class_name(f"{where}: label", shape.get("label"))
        labels.add(label)
        shapes.append((where, kind, label, shape))
    return Drawing(image, content, size, partial(labelme_regions, shapes, *size)), labels, lines


def find_labelme_image(path: Path, stored: dict, root: Path) -> tuple[Path, Callable[[], bytes], tuple[int, int]]:
    """The image that the file names, or that lies beside it under its name, or that it embeds; its bytes and size."""
    name = expect(f"{path}: imagePath", stored.get("imagePath"), str)
    images = locate(f"{path}", name, [path.parent], root)
    images = images or [image for image in list_images(path.parent) if image.stem == path.stem]
    if images:
        image = only(f"{path}", images)
        return image, image.read_bytes, read_image(image).shape[:2]
    if stored.get("imageData") is None:
        raise UserError(
            f"{path}: no image {brief(name)}, none called {path.stem} beside the file, and no imageData in it; "
            "put the image beside it"
        )
    content = partial(embedded_image, path)
    with opened(content(), f"{path}: imageData") as picture:
        width, height = ImageOps.exif_transpose(picture).size
        return path.with_suffix(EMBEDDED_SUFFIXES[picture.format]), content, (height, width)


def embedded_image(path: Path) -> bytes:
    """The imageData of a file, which is read again each time: to hold those of all files takes too much memory."""
    return decode_base64(f"{path}: imageData", read_annotations(path).get("imageData"))


def labelme_regions(shapes: list[tuple], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """The shapes of one image in their order in the file."""
    for where, kind, label, shape in shapes:
        yield label, draw_shape(where, kind, shape, height, width)


def draw_shape(where: str, kind: str, shape: dict, height: int, width: int) -> np.ndarray:
    """One shape as bool (H, W), by the rule of labelme's own export: Pillow's, the outline belongs to the shape."""
    points = check_points(where, expect(f"{where}: points", shape.get("points"), list), height, width)
    wanted = LABELME_POINTS[kind]
    if len(points) < wanted or (len(points) > wanted and kind != "polygon"):
        raise UserError(f"{where}: a {kind} of {len(points)} points; {wanted} wanted; draw it again")
    canvas = Image.new("L", (width, height))
    pen = ImageDraw.Draw(canvas)
    if kind == "mask":
        left, top = points[0].round().astype(int).tolist()
        canvas.paste(read_patch(where, shape, points), (left, top))
    elif kind == "circle":
        center, rim = points
        radius = np.hypot(*(rim - center))
        pen.ellipse([*(center - radius).tolist(), *(center + radius).tolist()], fill=1, outline=1)
    elif kind == "rectangle":
        pen.rectangle([*points.min(axis=0).tolist(), *points.max(axis=0).tolist()], fill=1, outline=1)
    else:
        pen.polygon(points.ravel().tolist(), fill=1, outline=1)
    return np.asarray(canvas) != 0


def read_patch(where: str, shape: dict, points: np.ndarray) -> Image.Image:
    """The picture of a mask, which fills the box of its two points; their fractions may round by a pixel."""
    box = points[1].round() - points[0].round() + 1
    with opened(decode_base64(f"{where}: mask", shape.get("mask")), f"{where}: mask") as patch:
        if np.abs(box - patch.size).max() > 1 or patch.mode not in ("1", "L"):
            raise UserError(
                f"{where}: a mask of {patch.width}×{patch.height} pixels of the form {patch.mode}; "
                f"{box[0]:.0f}×{box[1]:.0f} grey ones wanted, as its points say; draw it again"
            )
        return patch.convert("L")
