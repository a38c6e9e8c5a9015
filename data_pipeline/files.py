"""Find, read and write files. Every write goes to a temporary name and is renamed: whole, or not at all."""

import csv
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .command import UserError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"}


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden files are passed over."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read_image(path: Path) -> np.ndarray:
    """One picture as uint8 (H, W, 3) RGB: grey is repeated, alpha dropped, EXIF orientation applied.

    Raises:
        UserError: if the file is missing, no picture, or not 8 bits deep.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    image = cv2.imdecode(encoded, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH) if encoded.size else None
    if image is None:
        raise UserError(f"{path}: not a readable picture; replace the file or take it out of the data set")
    if image.dtype != np.uint8:
        raise UserError(f"{path}: {image.dtype} pixels, 8-bit wanted; convert the images to 8 bits per channel")
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder; if the block succeeds it takes the place of ``folder`` and all that was in it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        fresh, old = Path(temporary) / "new", Path(temporary) / "old"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)


def write_text(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path):
    """Parse a JSON file.

    Raises:
        UserError: if it is missing or no JSON, naming the file and the place.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with the first row's keys as header."""
    with write_atomically(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB; the suffix decides the format."""
    with write_atomically(path) as temporary:
        Image.fromarray(image).save(temporary)


def write_mask(path: Path, mask: np.ndarray, colors: list[tuple[int, int, int]]) -> None:
    """Write class indices, uint8 (H, W), as a palette PNG that shows ``colors`` and reads back as indices."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    picture = Image.fromarray(mask.astype(np.uint8))
    picture.putpalette(palette.tobytes())
    with write_atomically(path) as temporary:
        picture.save(temporary, format="PNG")
