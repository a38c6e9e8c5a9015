"""Predicted masks → objects for a labelling tool: outlines that can be moved, and exact codes where no outline holds.

An object is a connected region of a class (through the sides of pixels). Its outline has as few points as its pixels
allow, and is drawn as ``importing/`` will draw it: what does not come back is written as a run-length code (COCO) or a
painted mask (labelme), and so are objects with holes, which one polygon cannot hold.
"""

import base64
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .encoding import VOID, is_background
from .files import write_json
from .importing.coco import encode
from .importing.labelme import draw_shape
from .outputs import new_folder

TOLERANCES = (1.0, 0.5, 0.0)  # pixels that an outline may leave out, the fewest points first
LEAST_IOU = 0.995  # of an object and its outline as it will be read


@dataclass(frozen=True)
class Region:
    """One object: its class, its pixels bool (h, w) in their box, and those of all other objects there and around."""

    label: int
    left: int
    top: int
    pixels: np.ndarray
    near_others: np.ndarray  # bool (h, w): pixels of other objects, and those that touch them


def regions(mask: np.ndarray, names: tuple[str, ...]) -> Iterator[Region]:
    """The objects of a mask uint8 (H, W), class by class; none of void, or of a class 0 that is called background."""
    drawn = (mask != VOID) & (mask > 0 if is_background(names[0]) else True)
    for label in np.unique(mask[drawn]).tolist():
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats((mask == label).view(np.uint8), connectivity=4)
        for number in range(1, count):
            left, top, width, height = boxes[number, :4].tolist()
            # One pixel around it too, where that is not beyond the image.
            up, back = min(top, 1), min(left, 1)
            around = np.s_[top - up : top + height + 1, left - back : left + width + 1]
            own = numbers[around] == number
            others = cv2.dilate((drawn[around] & ~own).view(np.uint8), np.ones((3, 3), np.uint8)) > 0
            inside = np.s_[up : up + height, back : back + width]
            yield Region(label, left, top, own[inside], others[inside])


def labelme_shape(region: Region, names: tuple[str, ...], size: tuple[int, int]) -> dict:
    """An object as labelme's JSON has it: a polygon through the centres of its outermost pixels, or a painted mask."""
    shape = {"label": names[region.label], "group_id": None, "description": "", "flags": {}, "mask": None}
    for points in outlines(region.pixels.view(np.uint8)):
        drawn = draw_shape("", "polygon", {"points": points.tolist()}, *region.pixels.shape)
        if is_kept(region, drawn):
            points = points + (region.left, region.top)
            return shape | {"shape_type": "polygon", "points": points.astype(float).tolist()}
    height, width = region.pixels.shape
    corners = [[region.left, region.top], [region.left + width - 1, region.top + height - 1]]
    painted = io.BytesIO()
    Image.fromarray(region.pixels.view(np.uint8)).save(painted, format="PNG")
    encoded = base64.b64encode(painted.getvalue()).decode()
    return shape | {"shape_type": "mask", "points": np.array(corners, float).tolist(), "mask": encoded}


def coco_annotation(region: Region, names: tuple[str, ...], size: tuple[int, int]) -> dict:
    """An object as COCO's JSON has it: a polygon along the edges of its pixels, or a run-length code."""
    from pycocotools import mask as run_length

    height, width = region.pixels.shape
    annotation = {
        "category_id": region.label,
        "bbox": [region.left, region.top, width, height],
        "area": int(region.pixels.sum()),
        "iscrowd": 0,
    }
    # The outline of pixels twice as large runs through their centres; halved, along the edges of the pixels.
    for doubled in outlines(region.pixels.view(np.uint8).repeat(2, 0).repeat(2, 1), scale=2):
        points = (doubled + 1) // 2
        drawn = run_length.decode(encode("", [points.ravel().tolist()], height, width)).view(bool)
        if is_kept(region, drawn):
            points = points + (region.left, region.top)
            return annotation | {"segmentation": [points.ravel().tolist()]}
    whole = np.zeros(size, np.uint8, order="F")
    whole[region.top : region.top + height, region.left : region.left + width] = region.pixels
    return annotation | {
        "segmentation": {"size": list(size), "counts": run_length.encode(whole)["counts"].decode()},
    }


def outlines(pixels: np.ndarray, scale: int = 1) -> Iterator[np.ndarray]:
    """The outline of a region uint8 (h, w) as points x, y, int (N, 2), the coarsest first; none if it has a hole."""
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) != 1:
        return
    for tolerance in TOLERANCES:
        points = cv2.approxPolyDP(contours[0], scale * tolerance, True)[:, 0]
        if len(points) >= 3:
            yield points


def is_kept(region: Region, drawn: np.ndarray) -> bool:
    """Return whether an outline, as it is drawn, is the object, and comes no nearer to others than that does."""
    iou = np.count_nonzero(drawn & region.pixels) / np.count_nonzero(drawn | region.pixels)
    return iou >= LEAST_IOU and not (drawn & ~region.pixels & region.near_others).any()


def write_labelme(folder: Path, drawn: dict[Path, tuple], names: tuple[str, ...], colors) -> None:
    """Copies of the images, each with its JSON file beside it."""
    for path, (size, objects) in drawn.items():
        shutil.copyfile(path, folder / path.name)
        about = {"imagePath": path.name, "imageData": None, "imageHeight": size[0], "imageWidth": size[1]}
        write_json(folder / f"{path.stem}.json", {"version": "5.5.0", "flags": {}, "shapes": objects} | about)


def write_coco(folder: Path, drawn: dict[Path, tuple], names: tuple[str, ...], colors) -> None:
    """annotations.json and images/."""
    (folder / "images").mkdir()
    images, annotations = [], []
    for number, (path, (size, objects)) in enumerate(drawn.items(), start=1):
        shutil.copyfile(path, folder / "images" / path.name)
        images.append({"id": number, "file_name": path.name, "height": size[0], "width": size[1]})
        annotations += [
            {"id": len(annotations) + i, "image_id": number} | annotation
            for i, annotation in enumerate(objects, start=1)
        ]
    categories = [
        {"id": index, "name": name, "color": list(color)}
        for index, (name, color) in enumerate(zip(names, colors, strict=True))
    ]
    write_json(folder / "annotations.json", {"images": images, "categories": categories, "annotations": annotations})


FORMS = {"coco": (coco_annotation, write_coco), "labelme": (labelme_shape, write_labelme)}


def objects_of(mask: np.ndarray, names: tuple[str, ...], form: str) -> tuple[tuple[int, int], list[dict]]:
    """The size of a mask uint8 (H, W), and its objects as a form's JSON has them."""
    to_json, _ = FORMS[form]
    return mask.shape, [to_json(region, names, mask.shape) for region in regions(mask, names)]


def write_objects(folder: Path, drawn: dict[Path, tuple], names: tuple[str, ...], colors, form: str) -> None:
    """Make a folder that a labelling tool opens, and that ``convert --from`` reads.

    Args:
        folder: must not exist.
        drawn: image → what ``objects_of`` says of its mask, in the order in which they should be looked through.
        names, colors: of the classes.
        form: a key of FORMS.
    """
    _, write = FORMS[form]
    with new_folder(folder) as fresh:
        write(fresh, drawn, names, colors)
