"""Scenes larger than memory → tiles, read by windows: with masks as pictures, or drawn as GeoJSON polygons.

Masks as pictures are cut first as they stand; then the tiles are a data set as any other, and are read as one.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID, is_background
from data_pipeline.files import list_images, write_csv
from data_pipeline.pairs import PAIRS_FILE, Pair
from data_pipeline.source import Source

from .polygons import read_polygons
from .reading import Scene, open_scene, read_header

IN_MEMORY = 1 << 26  # pixels of an image that is cut up in memory
DRAWN = ".geojson"

Window = tuple[int, int, np.ndarray, np.ndarray]  # top, left, pixels (size, size, C), void bool (size, size)


def is_large(pair: Pair) -> bool:
    """Return whether a pair is cut up by windows: one image and one mask, larger than memory should hold."""
    header = read_header(pair.image)
    return header is not None and header.pixels > IN_MEMORY and not pair.class_masks


def windows_of(scene: Scene, size: int) -> Iterator[Window]:
    """All tiles of a scene, each size × size: what lies beyond it is mirrored, and void."""
    for top in range(0, scene.height, size):
        for left in range(0, scene.width, size):
            yield top, left, *window_of(scene, top, left, size)


def window_of(scene: Scene, top: int, left: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    bottom, right = min(top + size, scene.height), min(left + size, scene.width)
    down, across = top + size - bottom, left + size - right
    # Mirroring may reach further back than the tile itself.
    first, start = (max(0, corner - size) if beyond else corner for corner, beyond in ((top, down), (left, across)))
    image, void = scene.part(first, start, bottom - first, right - start)
    if down or across:
        image = np.stack(
            [
                cv2.copyMakeBorder(plane, 0, down, 0, across, cv2.BORDER_REFLECT_101)
                for plane in np.moveaxis(image, 2, 0)
            ],
            axis=-1,
        )
        void = np.pad(void, ((0, down), (0, across)), constant_values=True)
    inside = np.s_[top - first : top - first + size, left - start : left - start + size]
    return np.ascontiguousarray(image[inside]), void[inside]


def drawn_scenes(source: Source) -> list[tuple[Path, Path]]:
    """Scenes that have a GeoJSON file of their name, among the masks or beside them; none for any other data set."""
    if source.data is None or not source.data.is_dir():
        return []
    folders = [source.images or source.data / "images", source.data]
    images = next((folder for folder in folders if folder.is_dir()), source.data)
    places = [source.masks or source.data / "masks", images]
    found = []
    for image in list_images(images):
        drawn = [folder / f"{image.stem}{DRAWN}" for folder in places]
        found += [(image, path) for path in drawn if os.path.isfile(path)][:1]  # False for a name that is too long
    return found


def cut_drawn(scenes: list[tuple[Path, Path]], wanted: tuple[str, ...], size: int) -> tuple[tuple[str, ...], Iterator]:
    """The classes' names, and all tiles: (scene's path, top, left, image, mask uint8 (size, size), classes and void).

    Class 0 is background: what nothing is drawn on. What holds no data is void.

    wanted: names of the classes in their order; (): as the polygons have them, by the alphabet.

    Raises:
        UserError: for a file that is no GeoJSON of polygons with classes, or a class that is not among those wanted.
    """
    drawings = {}
    for image, path in scenes:
        with open_scene(image) as scene:
            place = scene.georeference
            drawings[image] = read_polygons(path, place and place["crs"], place is not None)
        if drawings[image].without_area:
            print(f"note: {path}: {drawings[image].without_area} lines and points are left out")
    there = sorted({label for drawn in drawings.values() for label in drawn.labels})
    names = wanted or tuple(dict.fromkeys([next(filter(is_background, there), "background"), *there]))
    strange = [label for label in there if label not in names]
    if strange:
        raise UserError(f"the polygons have the class {strange[0]!r}, and --classes names {', '.join(names)}")

    def tiles() -> Iterator:
        index = {name: i for i, name in enumerate(names)}
        for image, _ in tqdm(scenes, "cutting", unit="scene", leave=False, disable=None):
            with open_scene(image) as scene:
                for top, left, part, void in windows_of(scene, size):
                    mask = drawings[image].mask(index, transform_at(scene, top, left), size, size)
                    yield image, top, left, part, np.where(void, np.uint8(VOID), mask)

    return names, tiles()


def transform_at(scene: Scene, top: int, left: int):
    """The transform of a window: its columns and rows to the scene's coordinates."""
    from affine import Affine

    whole = scene.georeference["transform"] if scene.georeference else Affine.identity()
    return whole * Affine.translation(left, top)


def cut_as_they_stand(pairs: list[Pair], source: Source, folder: Path, size: int, name, write_image) -> Source:
    """Cut scenes and their masks, unread, into a data set of tiles; return it as ``open_dataset`` wants it.

    Args:
        pairs: scenes with one mask each.
        folder: to be filled.
        name: stem, top, left → the name of a tile.
        write_image: path, pixels → a file.
    """
    rows = []
    for pair in tqdm(pairs, "cutting", unit="scene", leave=False, disable=None):
        with open_scene(pair.image) as scene, open_scene(pair.mask, as_it_stands=True) as mask:
            if (scene.height, scene.width) != (mask.height, mask.width):
                raise UserError(
                    f"{pair.mask}: {mask.width}×{mask.height} pixels, its image has {scene.width}×{scene.height}; "
                    "export them at one size"
                )
            palette = palette_of(pair.mask)
            for top, left, part, void in windows_of(scene, size):
                tile = name(pair.stem, top, left)
                suffix = ".png" if part.dtype == np.uint8 and part.shape[2] == 3 else ".tif"
                row = {"image": f"images/{tile}{suffix}", "mask": f"masks/{tile}.png"}
                write_image(folder / row["image"], part)
                values, _ = window_of(mask, top, left, size)
                write_raw(pair.mask, folder / row["mask"], values, palette)
                (folder / "void").mkdir(exist_ok=True)
                np.save(folder / f"void/{tile}.npy", np.packbits(void))
                rows.append(row | ({"split": pair.split} if pair.split else {}) | {"group": pair.group or pair.stem})
    write_csv(folder / PAIRS_FILE, rows)
    for path in source.root.glob("*"):  # lists of classes
        if path.is_file() and path.suffix.lower() in (".json", ".txt", ".csv") and path.name != PAIRS_FILE:
            shutil.copy(path, folder)
    return replace(source, data=folder, images=None, masks=None, mask_suffix="", mask_name=None, image_name="{}",
                   group_by=None)  # fmt: skip


def palette_of(mask: Path) -> bytes | None:
    """The palette of a mask that has one."""
    with Image.open(mask) as picture:
        return bytes(picture.getpalette("RGB")) if picture.mode == "P" else None


def write_raw(scene: Path, path: Path, values: np.ndarray, palette: bytes | None) -> None:
    """Write a mask's numbers or colours (H, W, 1 or 3) as PNG."""
    if values.shape[2] not in (1, 3) or values.dtype not in (np.uint8, np.uint16, np.bool_):
        raise UserError(f"{scene}: {values.shape[2]} channels of {values.dtype}; 8 or 16 bits, or colours, are wanted")
    path.parent.mkdir(exist_ok=True)
    picture = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    if palette and picture.mode == "L":
        picture.putpalette(palette)
    picture.save(path)
