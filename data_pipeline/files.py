"""Find, read and write files, in every form that is known here. How a write stays whole: outputs.py."""

import csv
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .command import UserError
from .outputs import write_atomically
from .tables import safe

ARRAY_SUFFIX = ".npy"
IMAGE_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ARRAY_SUFFIX),
}
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")  # what Pillow may decode here, by content
ANIMATED = ("PNG", "WEBP", "GIF")
MAX_PIXELS = 1 << 28  # height × width; more is a scene to cut up, or a decompression bomb
MAX_BYTES = 1 << 32  # of decoded pixels
EXIF_ORIENTATION = 0x0112
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORDINARY_SAMPLES = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half a letter, as JSON may write it

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is held below, with a message that helps


@dataclass(frozen=True)
class Picture:
    """A decoded image: its pixels, what they were on disk, and whether EXIF turned them."""

    pixels: np.ndarray  # uint8, uint16 or float32 (H, W, C)
    mode: str  # Pillow's name of an ordinary picture's form: RGB, L, RGBA, …; else such as "uint16 × 5"
    turned: bool = False


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden files are passed over, and arrays (.npy) beside pictures.

    Raises:
        UserError: for a name that is not UTF-8, as old archives have them, or holds control characters; and for what
            has an image's name and is no file.
    """
    paths = named_as_images(folder)
    if any(path.suffix != ARRAY_SUFFIX for path in paths):
        paths = [path for path in paths if path.suffix != ARRAY_SUFFIX]
    for path in paths:
        refuse_name(path)
        refuse_special(path)
    return paths


def named_as_images(folder: Path) -> list[Path]:
    """List everything in a folder that has an image's name, whatever it is."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def refuse_name(path: Path) -> None:
    """Raise UserError for a name that is not UTF-8 or holds control characters."""
    if path.name.isprintable():
        return
    if any("\ud800" <= letter <= "\udfff" for letter in path.name):
        raise UserError(f"{path.parent}: the name {os.fsencode(path.name)!r} is not UTF-8; rename the file")
    if any(letter < " " or "\x7f" <= letter < "\xa0" for letter in path.name):
        raise UserError(f"{path.parent}: the name {path.name!r} holds control characters; rename the file")


def refuse_special(path: Path) -> None:
    """Raise UserError for what is there and is no file: reading a named pipe would wait for ever."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except OSError:
        if os.path.islink(path):
            raise UserError(f"{path}: a broken link; fix or remove it") from None
        return  # opening it says why
    if kind != stat.S_IFREG:
        raise UserError(f"{path}: {KINDS.get(kind, 'something special')}, where a file is wanted")


def read_image(path: Path) -> np.ndarray:
    """One image, (H, W, C).

    Pictures of 8 bits: uint8, C = 3, RGB; grey is repeated, alpha dropped, EXIF orientation applied. 16 bits:
    uint16; everything else: float32; both with the channels that the file has, alpha dropped.

    Raises:
        UserError: if the file is missing, damaged, too large, no picture, or holds NaN or infinity.
    """
    return read_picture(path).pixels


def read_picture(path: Path) -> Picture:
    """As ``read_image``, with what is worth knowing about the file."""
    refuse_special(path)
    try:
        with open(path, "rb") as file:
            head = file.read(26)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        if head[:4] in TIFF_MAGIC:
            return read_tiff(path)
        if head[:4] == b"\x89PNG" and head[24:25] == b"\x10":
            return read_deep_png(path)
        if head[:6] == b"\x93NUMPY":
            return read_array(path)
        return read_ordinary(path)
    except UserError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UserError(
            f"{path}: not a readable picture ({type(error).__name__}: {error}); "
            "replace the file or take it out of the data set"
        ) from None


def read_ordinary(path: Path) -> Picture:
    """8 bits by Pillow, which refuses truncated files and gives the same bytes beside any OpenCV."""
    with open_picture(path) as picture:
        turned = picture.getexif().get(EXIF_ORIENTATION, 1) != 1
        mode = picture.mode
        if mode in ("I", "F") or mode.startswith("I;16"):
            pixels = np.atleast_3d(np.asarray(ImageOps.exif_transpose(picture)))
            return Picture(to_known_dtype(path, pixels), describe(pixels), turned)
        return Picture(np.asarray(ImageOps.exif_transpose(picture).convert("RGB")), mode, turned)


def frames_of(path: Path) -> int:
    """Count the pictures in a file: slices of a stack, frames of a film; 1 for what cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return getattr(picture, "n_frames", 1)
    except Exception:  # decoders raise whatever they like on damaged files, which are named where they are read
        return 1


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """A picture opened by Pillow, not decoded yet: one of FORMATS, one frame, of a sane size."""
    with Image.open(path, formats=FORMATS) as picture:
        refuse_large(path, picture.size[::-1])
        if picture.format in ANIMATED and getattr(picture, "n_frames", 1) > 1:
            raise UserError(f"{path}: holds {picture.n_frames} frames; save one picture to a file")
        yield picture


def read_array(path: Path) -> Picture:
    """NumPy's .npy: (H, W), (H, W, C) or (C, H, W), the shortest axis being the channels."""
    pixels = load_array(path)
    if not 2 <= pixels.ndim <= 3:
        raise UserError(f"{path}: an array of {'×'.join(map(str, pixels.shape))}; height, width, channels wanted")
    pixels = to_known_dtype(path, channels_last(pixels, []))
    if pixels.dtype == np.uint8 and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return Picture(np.ascontiguousarray(pixels), describe(pixels))


def load_array(path: Path) -> np.ndarray:
    """The array of a .npy file, which may hold numbers alone: what is pickled could run code."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable array of numbers ({error}); save it again with numpy.save") from None
    refuse_large(path, array.shape[-2:], array.nbytes)
    return np.asarray(array)


def shape_of(path: Path) -> tuple[int, ...]:
    """The shape of a .npy file's array; () for what cannot be read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError):
        return ()


def read_deep_png(path: Path) -> Picture:
    """PNG of 16 bits per channel, which Pillow cuts to 8."""
    import imagecodecs

    with open_picture(path) as picture:
        turned = picture.getexif().get(EXIF_ORIENTATION, 1) != 1
        picture.load()  # refuses truncated files
    pixels = np.atleast_3d(imagecodecs.png_decode(Path(path).read_bytes()))
    if turned:
        raise UserError(f"{path}: a 16-bit PNG turned by EXIF; save it upright")
    if pixels.shape[2] in (1, 3):
        return Picture(pixels, describe(pixels))
    pixels = np.ascontiguousarray(pixels[..., :-1])
    return Picture(pixels, describe(pixels) + ", alpha")


def read_tiff(path: Path) -> Picture:
    """TIFF of any depth and number of channels by tifffile; ordinary 8-bit pictures as every other file."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        if len(tiff.series) != 1:
            raise UserError(f"{path}: holds {len(tiff.series)} pictures; save one to a file")
        series, page = tiff.series[0], tiff.pages.first
        if is_ordinary(page) and page.size == series.size:
            return read_ordinary(path)
        kept = [axis for axis, size in enumerate(series.shape) if size > 1 or series.axes[axis] in "YX"]
        refuse_large(path, (page.imagelength, page.imagewidth), series.nbytes)
        if len(kept) > 3:
            raise UserError(f"{path}: an array of {'×'.join(map(str, series.shape))}; height, width, channels wanted")
        holds_no_data = 42113 in page.tags  # GDAL's own tag
        pixels = series.asarray().reshape([series.shape[axis] for axis in kept])
        names, dropped = [series.axes[axis] for axis in kept], alphas(page)
        orientation = page.tags.valueof(EXIF_ORIENTATION, default=1)
    if orientation != 1:
        raise UserError(f"{path}: a TIFF with the orientation tag {orientation}; save it upright")
    pixels = channels_last(pixels, names)
    pixels = pixels[..., : pixels.shape[2] - dropped] if dropped else pixels
    pixels = to_known_dtype(path, pixels)
    form = describe(pixels) + (", alpha" if dropped else "")
    if holds_no_data and (pixels == page.nodata).any():
        form += f", no data: {page.nodata:g}"
    if pixels.dtype == np.uint8 and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return Picture(np.ascontiguousarray(pixels), form)


def is_ordinary(page) -> bool:
    """Return whether a TIFF page is an 8-bit picture such as any other format may hold."""
    samples = page.samplesperpixel - alphas(page)
    return page.dtype in (np.uint8, np.bool_) and samples == ORDINARY_SAMPLES.get(page.photometric.name)


def alphas(page) -> int:
    """Count the channels of a TIFF page that are transparency; further bands of a satellite are not."""
    return sum(int(sample) in (1, 2) for sample in page.extrasamples or ())


def channels_last(pixels: np.ndarray, names: list[str]) -> np.ndarray:
    """(H, W, C). The channels are the axis that the file calls S or C; without such a name, the shortest."""
    if pixels.ndim < 3:
        return np.atleast_3d(np.atleast_2d(pixels))
    named = [axis for axis, name in enumerate(names) if name in "SC"]
    return np.moveaxis(pixels, named[0] if len(named) == 1 else int(np.argmin(pixels.shape)), 2)


def to_known_dtype(path: Path, pixels: np.ndarray) -> np.ndarray:
    """uint8 and uint16 as they are, all other numbers as float32, which must be finite."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(pixels.dtype.newbyteorder("="))
    if pixels.dtype.kind not in "iufb":
        raise UserError(f"{path}: pixels of type {pixels.dtype}; whole or real numbers wanted")
    if pixels.dtype == np.bool_:
        return pixels * np.uint8(255)
    given, pixels = pixels, to_float32(pixels)
    if np.isfinite(given).all() and not np.isfinite(pixels).all():
        raise UserError(f"{path}: values up to {np.abs(given).max():g}, beyond float32's 3.4e38; scale the images down")
    if given.any() and not pixels.any():
        raise UserError(f"{path}: no value above {np.abs(given).max():g}, below float32's; scale the images up")
    odd = pixels.size - np.count_nonzero(np.isfinite(pixels))
    if odd:
        raise UserError(f"{path}: {odd} values are NaN or infinite; fill them, and mark their pixels void in the mask")
    return pixels


def to_float32(pixels: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # told by who calls
        return pixels.astype(np.float32)


def describe(pixels: np.ndarray) -> str:
    return f"{pixels.dtype} × {pixels.shape[2]}"


def refuse_large(path: Path, size: tuple[int, int], decoded: int = 0) -> None:
    if size[0] * size[1] > MAX_PIXELS or decoded > MAX_BYTES:
        raise UserError(f"{path}: {size[1]}×{size[0]} pixels; at most {MAX_PIXELS:,} are read; cut the scene up first")


def write_text(path: Path, text: str, replace: bool = True) -> None:
    """Write UTF-8; without ``replace``, here and below, a UserError if the file exists."""
    with write_atomically(path, replace) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value, replace: bool = True) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", replace)


def read_json(path: Path):
    """Parse a JSON file.

    Raises:
        UserError: if it is missing or no JSON, naming the file and the place.
    """
    refuse_special(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        value = json.loads(text)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # half a letter alone could never be written again
        return value
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:  # no JSON, no text, numbers or nesting beyond all measure
        raise UserError(f"{path}: not valid JSON ({error})") from None


def write_csv(path: Path, rows: list[dict], replace: bool = True) -> None:
    """Write rows with the first row's keys as header; texts as ``tables.safe`` makes them, for spreadsheets."""
    with write_atomically(path, replace) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writerow({key: safe(key) for key in rows[0]})
        writer.writerows({key: safe(value) for key, value in row.items()} for row in rows)


def write_picture(path: Path, image: np.ndarray, replace: bool = True) -> None:
    """Write uint8 (H, W, 3) RGB as PNG, or JPEG where the name ends so."""
    form = "JPEG" if Path(path).suffix.lower() in (".jpg", ".jpeg") else "PNG"
    with write_atomically(path, replace) as temporary:
        Image.fromarray(image).save(temporary, format=form)


def write_values(path: Path, mask: np.ndarray, encoding, replace: bool = True) -> None:
    """Write class indices, uint8 (H, W), as the values or colours that an encoding gives the classes.

    Raises:
        UserError: for values that no picture of 8 or 16 bits holds.
    """
    table = table_of_values(encoding)
    with write_atomically(path, replace) as temporary:
        Image.fromarray(table[mask]).save(temporary, format="PNG")


def table_of_values(encoding) -> np.ndarray:
    """Return what stands on disk for each class: uint8 or uint16 (C,), or colours, uint8 (C, 3).

    Raises:
        UserError: for values that no picture of 8 or 16 bits holds.
    """
    values = np.array(encoding.values, np.int64)
    if encoding.is_color:
        return np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1).astype(np.uint8)
    if values.min() >= 0 and values.max() <= 65535:
        return values.astype(np.uint8 if values.max() <= 255 else np.uint16)
    raise UserError(f"--values as-given: the masks hold {values.min()} to {values.max()}, which no PNG holds")


def write_probabilities(path: Path, probabilities: np.ndarray, names: tuple[str, ...], replace: bool = True) -> None:
    """Write floats (H, W, classes) as a TIFF of float16, the classes' names in its description (JSON)."""
    import tifffile

    about = json.dumps({"classes": names})  # a TIFF's description is ASCII
    with write_atomically(path, replace) as temporary:
        tifffile.imwrite(
            temporary,
            probabilities.astype(np.float16),
            photometric="minisblack",
            planarconfig="contig",
            compression="zlib",
            description=about,
            metadata=None,
        )


def write_mask(path: Path, mask: np.ndarray, colors: list[tuple[int, int, int]], replace: bool = True) -> None:
    """Write class indices, uint8 (H, W), as a palette PNG that shows ``colors`` and reads back as indices."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    picture = Image.fromarray(mask.astype(np.uint8))
    picture.putpalette(palette.tobytes())
    with write_atomically(path, replace) as temporary:
        picture.save(temporary, format="PNG")
