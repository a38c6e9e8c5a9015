"""Parts of an image of any size: GeoTIFF through rasterio, TIFF and BigTIFF through tifffile, pictures through Pillow.

A part is what ``read_image`` would give there, to the last bit: uint8 RGB; uint16 or float32 of all channels. What
holds no data is void: the file's own value for it, its mask or alpha band (GeoTIFF), NaN and infinity.
"""

import mmap
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from data_pipeline.command import UserError
from data_pipeline.files import (
    EXIF_ORIENTATION,
    FORMATS,
    MAX_PIXELS,
    TIFF_MAGIC,
    alphas,
    channels_last,
    is_ordinary,
    open_picture,
    read_picture,
    refuse_large,
    refuse_special,
    to_float32,
)

MOST_SCENE_PIXELS = 1 << 36  # height × width; a quarter of a million on each side
MOST_PIECE = 1 << 28  # bytes of one strip or tile, which is decoded as a whole
MOST_PAGES = 64  # of a TIFF: overviews and masks
GDAL_CACHE = 64  # MiB of decoded tiles
GEOREFERENCED = (33550, 33922, 34264)  # TIFF's tags: the size of a pixel, tie points, a whole transformation
NO_DATA = 42113  # GDAL's tag
BEYOND = 1e30  # no measurement; as a network's input it would become infinite
INSTALL = "pip install -r requirements-geo.txt -c constraints.txt"
# EXIF's orientations: how Pillow sets them upright; whose upright rows are columns on disk; whose come from the end.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS, REVERSED = (5, 6, 7, 8), (3, 4, 7, 8)


@dataclass(frozen=True)
class Header:
    """An image as the head of its file describes it; sizes in pixels."""

    height: int
    width: int
    is_tiff: bool = False
    is_georeferenced: bool = False
    names_no_data: bool = False

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def is_scene(self) -> bool:
        """Return whether its mask is a TIFF as well: it has a place on the map, or is too large for a picture."""
        return self.is_georeferenced or (self.is_tiff and self.pixels > MAX_PIXELS)


def read_header(path: Path) -> Header | None:
    """The header of an image; None where there is none, which reading it will explain.

    Raises:
        UserError: for what is no file.
    """
    refuse_special(path)
    try:
        with open(path, "rb") as file:
            head = file.read(6)
        if head[:4] in TIFF_MAGIC:
            return tiff_header(path)
        if head == b"\x93NUMPY":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return Header(*channels_last(array, []).shape[:2])
        with Image.open(path, formats=FORMATS) as picture:
            return Header(*picture.size[::-1])
    except Exception:  # decoders raise whatever they like on damaged files, which are named where they are read
        return None


def tiff_header(path: Path) -> Header:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        georeferenced = any(tag in page.tags for tag in GEOREFERENCED)
        return Header(page.imagelength, page.imagewidth, True, georeferenced, NO_DATA in page.tags)


class Scene:
    """An image that is read by parts. ``part`` may be called from several threads.

    Args:
        path: of the file.
        height, width, channels: of the image.
        dtype: "uint8", "uint16" or "float32".
        georeference: what rasterio calls transform and crs; None: the image has no place on the map.
    """

    def __init__(
        self, path: Path, height: int, width: int, channels: int, dtype: str, georeference: dict | None = None
    ):
        self.path, self.height, self.width = path, height, width
        self.channels, self.dtype, self.georeference = channels, dtype, georeference
        self.lock = threading.Lock()

    def part(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (height, width, C) of ``dtype``, and where they are void, bool (height, width).

        Raises:
            UserError: where the file is damaged.
        """
        with self.lock:
            try:
                return self.read(top, left, height, width)
            except UserError:
                raise
            except Exception as error:  # as of decoders
                raise UserError(
                    f"{self.path}: not readable at row {top}, column {left} ({type(error).__name__}: {error}); "
                    "replace the file"
                ) from None

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


@contextmanager
def open_scene(path: Path, fill: tuple[float, ...] = (0.0,), as_it_stands: bool = False) -> Iterator[Scene]:
    """Open an image of any size.

    Args:
        path: of a file in any form that ``read_image`` takes; TIFF may be larger.
        fill: what stands, in each channel, for values that no network takes (NaN, infinity, above 1e30): they are void.
        as_it_stands: the numbers in the file, as masks want them.

    Raises:
        UserError: if it is missing, damaged or of a form that cannot be read by parts; if rasterio is missing.
    """
    refuse_special(path)
    with ExitStack() as stack:
        try:
            with open(path, "rb") as file:
                head = file.read(26)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        try:
            if head[:4] in TIFF_MAGIC:
                scene = open_tiff(path, fill, stack, as_it_stands)
            elif head[:6] == b"\x93NUMPY":
                scene = ArrayScene(path, mapped_array(path), fill)
            elif as_it_stands:
                scene = MaskPicture(path, stack.enter_context(open_picture(path)))
            elif head[:4] == b"\x89PNG" and head[24:25] == b"\x10":
                scene = ArrayScene(path, read_picture(path).pixels, fill)
            else:
                scene = open_ordinary(path, fill, stack)
        except UserError:
            raise
        except Exception as error:  # as in read_picture
            raise UserError(
                f"{path}: not a readable picture ({type(error).__name__}: {error}); replace the file"
            ) from None
        yield scene


class ArrayScene(Scene):
    """An array (H, W, C), in memory or mapped to a file; what was read of a file is given back to the system."""

    def __init__(self, path: Path, pixels: np.ndarray, fill: tuple[float, ...] = (0.0,)):
        self.pixels, self.raw = pixels, Raw(path, pixels.dtype, fill)
        super().__init__(path, *pixels.shape[:2], *self.raw.form(pixels.shape[2]))

    def read(self, top, left, height, width):
        part = self.raw.image(np.array(self.pixels[top : top + height, left : left + width]))
        release(self.pixels)
        return part


def mapped_array(path: Path) -> np.ndarray:
    """NumPy's .npy as (H, W, C), read where it is used."""
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    if not 2 <= pixels.ndim <= 3:
        raise UserError(f"{path}: an array of {'×'.join(map(str, pixels.shape))}; height, width, channels wanted")
    refuse_large(path, pixels.shape[-2:])
    return channels_last(pixels, [])


def release(array: np.ndarray) -> None:
    """Let the system forget the pages of a mapped file: it counts them as this process's memory."""
    while isinstance(array, np.ndarray):
        mapped = getattr(array, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        array = array.base


class PictureScene(Scene):
    """An ordinary picture: decoded once, since its formats know no parts; turned and made RGB part by part."""

    def __init__(self, path: Path, picture: Image.Image):
        self.picture, self.orientation = picture, picture.getexif().get(EXIF_ORIENTATION, 1)
        width, height = picture.size[::-1] if self.orientation in SIDEWAYS else picture.size
        super().__init__(path, height, width, 3, "uint8")

    def read(self, top, left, height, width):
        first, last = top, top + height
        if self.orientation in REVERSED:
            first, last = self.height - last, self.height - first
        sideways = self.orientation in SIDEWAYS
        box = (first, 0, last, self.width) if sideways else (0, first, self.width, last)
        rows = self.picture.crop(box)
        if self.orientation in TURNS:
            rows = rows.transpose(TURNS[self.orientation])
        pixels = np.asarray(rows.convert("RGB"))[:, left : left + width]
        return pixels, np.zeros((height, width), bool)


class MaskPicture(Scene):
    """A mask in an ordinary picture: decoded once; its numbers, or its colours, as they stand."""

    def __init__(self, path: Path, picture: Image.Image):
        self.picture = picture
        first = np.asarray(picture.crop((0, 0, 1, 1)))
        super().__init__(path, picture.height, picture.width, np.atleast_3d(first).shape[2], first.dtype.name)

    def read(self, top, left, height, width):
        pixels = np.asarray(self.picture.crop((left, top, left + width, top + height)))
        return np.atleast_3d(pixels), np.zeros((height, width), bool)


def open_ordinary(path: Path, fill: tuple[float, ...], stack: ExitStack) -> Scene:
    picture = stack.enter_context(open_picture(path))
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        pixels = np.atleast_3d(np.asarray(ImageOps.exif_transpose(picture)))
        return ArrayScene(path, pixels, fill)
    picture.load()
    return PictureScene(path, picture)


@dataclass(frozen=True)
class Raw:
    """The way from the numbers in a file to an image.

    alphas: how many channels at the end are transparency.
    no_data: the values of each channel, or of all, that hold no data; None: there are none.
    palette: RGB of each index, uint8 (N, 3).
    inverted: 0 is white.
    bits: 1: black and white.
    as_it_stands: numbers are not made a picture, as in masks: indices of a palette, 16-bit values.
    """

    path: Path
    dtype: np.dtype
    fill: tuple[float, ...] = (0.0,)
    alphas: int = 0
    no_data: tuple[float, ...] | None = None
    palette: np.ndarray | None = None
    inverted: bool = False
    bits: int = 8
    as_it_stands: bool = False

    def form(self, channels: int) -> tuple[int, str]:
        """Channels and type of the image."""
        if self.dtype.kind not in "iufb":
            raise UserError(f"{self.path}: pixels of type {self.dtype}; whole or real numbers wanted")
        channels -= self.alphas
        if self.as_it_stands:
            return channels, self.dtype.name
        is_byte = self.dtype in (np.uint8, np.bool_)
        if is_byte and (channels == 1 or self.palette is not None):
            channels = 3
        return channels, "uint8" if is_byte else "uint16" if self.dtype == np.uint16 else "float32"

    def image(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, C) and void, bool (H, W), of what stands in the file, (H, W, C)."""
        pixels = pixels[..., : pixels.shape[2] - self.alphas]
        void = np.zeros(pixels.shape[:2], bool)
        if self.no_data is not None:
            kind = pixels.dtype if pixels.dtype.kind == "f" else float
            void |= (pixels == np.array(self.no_data, kind)).all(-1)
        if self.as_it_stands:
            return pixels, void
        if self.palette is not None:
            return self.palette[np.minimum(pixels[..., 0], len(self.palette) - 1)], void
        if self.bits == 1:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        if self.inverted:
            pixels = 255 - pixels
        if pixels.dtype == np.uint8:
            return (pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels), void
        if pixels.dtype == np.uint16:
            return pixels.astype(pixels.dtype.newbyteorder("=")), void
        pixels = to_float32(pixels)
        strange = ~(np.abs(pixels) < BEYOND)  # NaN too
        if strange.any():
            void |= strange.any(-1)
            pixels = np.where(strange, np.float32(self.fill), pixels)
        return pixels, void


def open_tiff(path: Path, fill: tuple[float, ...], stack: ExitStack, as_it_stands: bool = False) -> Scene:
    """The first page of a TIFF, whose other pages must be its overviews and masks."""
    import tifffile

    tiff = stack.enter_context(tifffile.TiffFile(path))
    page = tiff.pages.first
    refuse_unreadable(path, tiff, page)
    palette = None
    if page.photometric.name == "PALETTE" and page.colormap is not None:
        palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
    raw = Raw(
        path,
        page.dtype.newbyteorder("="),
        fill,
        alphas(page),
        (page.nodata,) if NO_DATA in page.tags else None,
        palette,
        is_ordinary(page) and page.photometric.name == "MINISWHITE",
        page.bitspersample,
        as_it_stands,
    )
    if any(tag in page.tags for tag in GEOREFERENCED):
        return GeoScene(path, raw, page.bitspersample, stack)
    return TiffScene(path, tiff, page, raw)


def refuse_unreadable(path: Path, tiff, page) -> None:
    """Raise a UserError for what cannot be read by parts, or not within a bounded memory."""
    if len(tiff.pages) > MOST_PAGES or any(not (other.is_reduced or other.is_mask) for other in tiff.pages[1:]):
        raise UserError(f"{path}: holds {len(tiff.pages)} pictures; save one to a file")
    if tiff.series[0].size != page.size:
        shape = "×".join(map(str, tiff.series[0].shape))
        raise UserError(f"{path}: an array of {shape}; height, width, channels wanted")
    if page.imagelength * page.imagewidth > MOST_SCENE_PIXELS:
        raise UserError(
            f"{path}: {page.imagewidth}×{page.imagelength} pixels; at most {MOST_SCENE_PIXELS:,} are read; cut it up"
        )
    if page.dtype is None:
        raise UserError(f"{path}: pixels of {page.bitspersample} bits, which no reader here knows; save 8 or 16 bits")
    orientation = page.tags.valueof(EXIF_ORIENTATION, default=1)
    if orientation != 1:
        raise UserError(f"{path}: a TIFF with the orientation tag {orientation}; save it upright")
    color = page.photometric.name
    if is_ordinary(page) and (color == "SEPARATED" or (color == "YCBCR" and page.compression != 7)):  # 7: JPEG
        raise UserError(f"{path}: colours as {color}; save a scene of this size as RGB")
    tall, wide = piece_size(page)
    if not page.is_contiguous and float(tall) * wide * page.samplesperpixel * page.dtype.itemsize > MOST_PIECE:
        raise UserError(
            f"{path}: packed in pieces of {wide}×{tall} pixels, each to be unpacked as a whole; "
            "save it in tiles: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE IN.tif OUT.tif"
        )


def piece_size(page) -> tuple[int, int]:
    """Height and width of the strips or tiles of a TIFF page, in pixels."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


class TiffScene(Scene):
    """A TIFF through tifffile: rows at their place in the file where it is not packed, else strips or tiles.

    Decoded strips and tiles are kept as long as the next part needs them again.
    """

    def __init__(self, path: Path, tiff, page, raw: Raw):
        self.tiff, self.page, self.raw = tiff, page, raw
        self.is_planar = page.planarconfig == 2 and page.samplesperpixel > 1
        self.pieces: dict[int, np.ndarray] = {}
        super().__init__(path, page.imagelength, page.imagewidth, *raw.form(page.samplesperpixel))

    def read(self, top, left, height, width):
        planes = self.page.samplesperpixel if self.is_planar else 1
        samples = 1 if self.is_planar else self.page.samplesperpixel
        out = np.full((planes, height, width, samples), self.page.nodata, self.raw.dtype)
        if self.page.is_contiguous:
            self.copy_rows(out, top, left)
        else:
            self.copy_pieces(out, top, left)
        return self.raw.image(np.moveaxis(out[..., 0], 0, 2) if self.is_planar else out[0])

    def copy_rows(self, out: np.ndarray, top: int, left: int) -> None:
        planes, height, width, samples = out.shape
        kind = self.page.dtype.newbyteorder(self.tiff.byteorder)
        row = self.width * samples
        for plane in range(planes):
            place = self.page.dataoffsets[0] + (plane * self.height + top) * row * kind.itemsize
            self.tiff.filehandle.seek(place)
            rows = np.frombuffer(self.tiff.filehandle.read(height * row * kind.itemsize), kind)
            out[plane] = rows.reshape(height, self.width, samples)[:, left : left + width]

    def copy_pieces(self, out: np.ndarray, top: int, left: int) -> None:
        planes, height, width, _ = out.shape
        tall, wide = piece_size(self.page)
        down, across = -(-self.height // tall), -(-self.width // wide)
        kept = {}
        for plane in range(planes):
            for y in range(top // tall, -(-(top + height) // tall)):
                for x in range(left // wide, -(-(left + width) // wide)):
                    index = (plane * down + y) * across + x
                    piece = kept[index] = self.pieces[index] if index in self.pieces else self.decode(index)
                    if piece is None:
                        continue
                    inside = piece[max(top - y * tall, 0) :, max(left - x * wide, 0) :]
                    first, start = max(y * tall - top, 0), max(x * wide - left, 0)
                    inside = inside[: height - first, : width - start]
                    out[plane, first : first + inside.shape[0], start : start + inside.shape[1]] = inside
        self.pieces = kept

    def decode(self, index: int) -> np.ndarray | None:
        """A strip or tile (h, w, samples); None for one that was never written, which is 0 or no data."""
        offset, size = self.page.dataoffsets[index], self.page.databytecounts[index]
        if not size:
            return None
        self.tiff.filehandle.seek(offset)
        data = self.tiff.filehandle.read(size)
        tables = self.page.jpegtables
        pixels = self.page.decode(data, index, jpegtables=tables)[0]
        return pixels[0]  # the first of one slice


class GeoScene(Scene):
    """A GeoTIFF through rasterio: its place on the map, its masks, whatever GDAL can unpack."""

    def __init__(self, path: Path, raw: Raw, bits: int, stack: ExitStack):
        rasterio = import_rasterio(f"{path} is georeferenced, which")
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE))
        try:
            self.file = stack.enter_context(rasterio.open(path, driver="GTiff"))  # none that opens other files
        except rasterio.errors.RasterioError as error:
            raise UserError(f"{path}: not a readable GeoTIFF ({error}); replace the file") from None
        flags = {flag.name for band in self.file.mask_flag_enums[: self.file.count - raw.alphas] for flag in band}
        self.has_mask = bool({"per_dataset", "alpha"} & flags)
        if "nodata" in flags:
            no_data = tuple(np.nan if value is None else value for value in self.file.nodatavals)
            no_data = no_data[: self.file.count - raw.alphas]
            raw = Raw(**vars(raw) | {"no_data": no_data})
        self.raw, self.window = raw, rasterio.windows.Window
        place = {"transform": self.file.transform, "crs": self.file.crs}
        super().__init__(path, self.file.height, self.file.width, *raw.form(self.file.count), place)

    def read(self, top, left, height, width):
        part = self.window(left, top, width, height)
        image, void = self.raw.image(np.moveaxis(self.file.read(window=part), 0, 2))
        if self.has_mask:
            void = void | (self.file.dataset_mask(window=part) == 0)
        return np.ascontiguousarray(image), void


def import_rasterio(what):
    """Return rasterio, with the modules that are used here.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import rasterio
        import rasterio.errors
        import rasterio.features
        import rasterio.warp
        import rasterio.windows
    except ImportError:
        raise UserError(f"{what} needs rasterio: {INSTALL}") from None
    return rasterio
