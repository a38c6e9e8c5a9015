"""Pictures and TIFFs of any size, written from rows as they come: PNG, tiled TIFF, GeoTIFF with overviews."""

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_pipeline.outputs import write_atomically

from .reading import GDAL_CACHE, import_rasterio

TILE = 512  # pixels of a tile in a TIFF; a multiple of every overview's factor
SMALLEST_OVERVIEW = 256  # pixels of the longer side
DEFLATE = 6  # zlib's level

Rows = Callable[[], Iterator[np.ndarray]]  # the image from its top: arrays (h, W) or (h, W, S), h as it comes


@dataclass(frozen=True)
class Layer:
    """An image to be written.

    rows: begins anew with each call.
    height, width: of all rows together.
    dtype: of the rows.
    samples: values of a pixel.
    colors: RGB of the values 0…, for one uint8 a pixel.
    no_data: the value that is void; None: there is none.
    names: of the samples.
    """

    rows: Rows
    height: int
    width: int
    dtype: np.dtype
    samples: int = 1
    colors: tuple[tuple[int, int, int], ...] = ()
    no_data: float | None = None
    names: tuple[str, ...] = ()

    @property
    def is_rgb(self) -> bool:
        return self.samples == 3 and self.dtype == np.uint8

    def bands(self, height: int) -> Iterator[np.ndarray]:
        """The rows in arrays of this height; the last may be lower."""
        waiting = []
        count = 0
        for rows in self.rows():
            waiting.append(rows)
            count += len(rows)
            while count >= height:
                rows = np.concatenate(waiting)
                yield rows[:height]
                waiting, count = [rows[height:]], count - height
        if count:
            yield np.concatenate(waiting)


def write_png(path: Path, layer: Layer, overwrite: bool = True) -> None:
    """Write uint8 or uint16 (H, W), with a palette if there are colours, or uint8 (H, W, 3), as PNG.

    Reference: https://www.w3.org/TR/png-3/
    """
    with write_atomically(path, overwrite) as temporary, open(temporary, "wb") as file:
        color = 2 if layer.is_rgb else 3 if layer.colors else 0
        file.write(b"\x89PNG\r\n\x1a\n")
        depth = 8 * np.dtype(layer.dtype).itemsize
        write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", layer.width, layer.height, depth, color, 0, 0, 0))
        if layer.colors:
            palette = np.zeros((256, 3), np.uint8)
            palette[: len(layer.colors)] = layer.colors
            write_chunk(file, b"PLTE", palette.tobytes())
        packing, above = zlib.compressobj(DEFLATE), 0
        for rows in layer.bands(TILE):
            raw = np.ascontiguousarray(rows, np.dtype(layer.dtype).newbyteorder(">")).view(np.uint8)
            raw = raw.reshape(len(rows), -1)
            lines = np.empty((len(raw), raw.shape[1] + 1), np.uint8)
            lines[:, 0] = 2 if layer.is_rgb else 0  # the filter "up": differences to the row above
            lines[:, 1:] = raw
            if layer.is_rgb:
                lines[1:, 1:] -= raw[:-1]
                lines[0, 1:] -= np.uint8(above)
                above = raw[-1].copy()
            write_chunk(file, b"IDAT", packing.compress(lines))
        write_chunk(file, b"IDAT", packing.flush())
        write_chunk(file, b"IEND", b"")


def write_chunk(file, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


def write_tiff(path: Path, layer: Layer, georeference: dict | None, overwrite: bool = True) -> None:
    """Write a tiled, compressed TIFF, BigTIFF where it is large, with overviews if it is a mask or a picture.

    georeference: transform and crs for a GeoTIFF (rasterio); None for a plain TIFF (tifffile).
    """
    with write_atomically(path, overwrite) as temporary:
        if georeference:
            write_geotiff(temporary, layer, georeference)
        else:
            write_plain(temporary, layer)


def factors(layer: Layer) -> list[int]:
    """By how much the overviews are smaller: 2, 4, …; none for probabilities."""
    if np.dtype(layer.dtype).kind == "f":
        return []
    found, factor = [], 2
    while max(layer.height, layer.width) / factor >= SMALLEST_OVERVIEW and factor <= TILE:
        found.append(factor)
        factor *= 2
    return found


def write_geotiff(path: Path, layer: Layer, georeference: dict) -> None:
    rasterio = import_rasterio(f"{path} is georeferenced, which")
    kind = np.dtype(layer.dtype)
    form = {"driver": "GTiff", "tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": "pixel"}
    form |= {"compress": "deflate", "bigtiff": "if_safer", "nodata": layer.no_data, **georeference}
    form |= {"width": layer.width, "height": layer.height, "count": layer.samples}
    half = kind == np.float16
    form |= {"dtype": "float32", "nbits": 16} if half else {"dtype": kind.name}
    form |= {"photometric": "rgb"} if layer.is_rgb else {}
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), rasterio.open(path, "w", **form) as file:
        if layer.colors:
            file.write_colormap(1, {value: (*color, 255) for value, color in enumerate(layer.colors)})
        for band, name in enumerate(layer.names, start=1):
            file.set_band_description(band, name)
        if layer.names:
            file.update_tags(TIFFTAG_IMAGEDESCRIPTION=json.dumps({"classes": layer.names}))
        top = 0
        for rows in layer.bands(TILE):
            rows = rows.astype(np.float32) if half else rows
            part = rasterio.windows.Window(0, top, layer.width, len(rows))
            file.write(np.moveaxis(np.atleast_3d(rows), 2, 0), window=part)
            top += len(rows)
        smaller = factors(layer)
    if smaller:
        with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), rasterio.open(path, "r+") as file:
            file.build_overviews(smaller, rasterio.enums.Resampling.nearest)


def write_plain(path: Path, layer: Layer) -> None:
    import tifffile

    size = layer.height * layer.width * layer.samples * np.dtype(layer.dtype).itemsize
    with tifffile.TiffWriter(path, bigtiff=size > 1 << 31) as file:
        for factor in [1, *factors(layer)]:
            height, width = -(-layer.height // factor), -(-layer.width // factor)
            about = json.dumps({"classes": layer.names}) if layer.names and factor == 1 else None
            file.write(
                tiles(layer, factor),
                shape=(height, width, *([layer.samples] if layer.samples > 1 else [])),
                dtype=layer.dtype,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="rgb" if layer.is_rgb else "palette" if layer.colors else "minisblack",
                planarconfig="contig" if layer.samples > 1 else None,
                colormap=colormap(layer) if layer.colors else None,
                subfiletype=0 if factor == 1 else 1,  # 1: of reduced resolution
                description=about,
                metadata=None,
                extratags=[(42113, "s", 0, f"{layer.no_data:g}", True)] if layer.no_data is not None else [],
            )


def tiles(layer: Layer, factor: int) -> Iterator[np.ndarray]:
    """Every factor-th pixel in tiles, from left to right and from top to bottom."""
    small = replace(layer, rows=lambda: (rows[::factor, ::factor] for rows in layer.bands(TILE)))
    for rows in small.bands(TILE):
        for left in range(0, rows.shape[1], TILE):
            yield np.ascontiguousarray(rows[:, left : left + TILE])


def colormap(layer: Layer) -> np.ndarray:
    """The palette as TIFF has it: uint16 (3, 256)."""
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(layer.colors)] = np.array(layer.colors, np.uint16).T * 257
    return table
