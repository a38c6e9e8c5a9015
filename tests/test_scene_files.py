"""Parts of images of any size and form are what reading them whole gives; what is written by rows reads back."""

import numpy as np
import pytest
import tifffile
from conftest import ROOT
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.files import read_image
from data_pipeline.scenes import reading
from data_pipeline.scenes.reading import open_scene, read_header
from data_pipeline.scenes.writing import Layer, write_png, write_tiff

SIZE = (150, 210)
PLACE = {"driver": "GTiff", "crs": "EPSG:32633"}


def noise(channels: int = 3, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (*SIZE, channels)).astype(dtype)


def geotiff(path, pixels: np.ndarray, **settings) -> None:
    rasterio = pytest.importorskip("rasterio")
    form = PLACE | {"transform": rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.25)} | settings
    form |= {"height": pixels.shape[0], "width": pixels.shape[1], "count": pixels.shape[2], "dtype": pixels.dtype.name}
    mask = form.pop("mask", None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **form) as file:
        file.write(np.moveaxis(pixels, 2, 0))
        if mask is not None:
            file.write_mask(mask)


TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
FORMS = {
    "plain.tif": lambda path: tifffile.imwrite(path, noise(), photometric="rgb"),
    "tiles.tif": lambda path: tifffile.imwrite(path, noise(), photometric="rgb", tile=(64, 48), compression="zlib"),
    "strips.tif": lambda path: tifffile.imwrite(
        path, noise(5, np.uint16), photometric="minisblack", planarconfig="contig", rowsperstrip=7, compression="lzw"
    ),
    "big.tif": lambda path: tifffile.imwrite(path, noise(1, np.float64)[..., 0], bigtiff=True, byteorder=">"),
    "planes.tif": lambda path: tifffile.imwrite(
        path, np.moveaxis(noise(4, np.int16), 2, 0), photometric="minisblack", planarconfig="separate"
    ),
    "packed-planes.tif": lambda path: tifffile.imwrite(
        path,
        np.moveaxis(noise(4, np.uint16), 2, 0),
        photometric="minisblack",
        planarconfig="separate",
        tile=(32, 32),
        compression="zlib",
    ),
    "alpha.tif": lambda path: tifffile.imwrite(path, noise(4), photometric="rgb", extrasamples=["unassalpha"]),
    "palette.tif": lambda path: Image.fromarray(noise()).quantize(64).save(path, compression="tiff_lzw"),
    "white.tif": lambda path: tifffile.imwrite(path, noise(1)[..., 0], photometric="miniswhite", rowsperstrip=9),
    "bits.tif": lambda path: Image.fromarray(noise(1)[..., 0] > 100).save(path),
    "grey.png": lambda path: Image.fromarray(noise(1)[..., 0]).save(path),
    "palette.png": lambda path: Image.fromarray(noise()).quantize(64).save(path),
    "deep.png": lambda path: Image.fromarray(noise(1, np.uint16)[..., 0]).save(path),
    "array.npy": lambda path: np.save(path, np.moveaxis(noise(4, np.float32), 2, 0)),
    "geo.tif": lambda path: geotiff(path, noise(), **TILED),
    "geo-bands.tif": lambda path: geotiff(path, noise(6, np.uint16), interleave="band", compress="lzw"),
    "geo-grey.tif": lambda path: geotiff(path, noise(1)),
    "geo-alpha.tif": lambda path: geotiff(path, noise(4), photometric="rgb", alpha="unspecified"),
}


@pytest.mark.parametrize("name", FORMS)
def test_parts_are_what_the_whole_image_is(tmp_path, name):
    path = tmp_path / name
    FORMS[name](path)
    whole = read_image(path)
    header = read_header(path)
    assert (header.height, header.width) == SIZE and header.is_georeferenced == name.startswith("geo")
    with open_scene(path) as scene:
        assert (scene.height, scene.width, scene.channels, scene.dtype) == (*whole.shape, whole.dtype.name)
        for top, left, height, width in ((0, 0, *SIZE), (0, 0, 40, 30), (40, 7, 64, 90), (149, 209, 1, 1)):
            image, void = scene.part(top, left, height, width)
            assert image.dtype == whole.dtype and not void.any() and void.shape == (height, width)
            np.testing.assert_array_equal(image, whole[top : top + height, left : left + width])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_parts_of_a_turned_photo(tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[reading.EXIF_ORIENTATION] = orientation
    Image.fromarray(noise()).save(path, exif=exif)
    whole = read_image(path)
    with open_scene(path) as scene:
        assert (scene.height, scene.width) == whole.shape[:2]
        np.testing.assert_array_equal(scene.part(20, 30, 100, 110)[0], whole[20:120, 30:140])


def test_no_data_is_void_and_what_no_network_takes_is_filled(tmp_path):
    pixels = noise(2, np.float32)
    pixels[:10], pixels[20, 20, 0], pixels[21, 21] = -9999, np.nan, -3.4e38
    pixels[30, 30, 0] = -9999  # the other channel holds data
    geotiff(tmp_path / "a.tif", pixels, nodata=-9999)
    tifffile.imwrite(tmp_path / "b.tif", pixels, planarconfig="contig", extratags=[(42113, "s", 0, "-9999", True)])
    for name in ("a.tif", "b.tif"):
        with open_scene(tmp_path / name, fill=(3.0, 4.0)) as scene:
            image, void = scene.part(5, 5, 100, 100)
        assert void[:5].all() and void[15, 15] and void[16, 16] and void.sum() == 5 * 100 + 2, name
        assert image[15, 15, 0] == 3 and image[16, 16].tolist() == [3, 4] and image[0, 0, 0] == -9999
        assert image[25, 25, 0] == -9999 and not void[25, 25]


def test_a_mask_in_the_file_is_void(tmp_path):
    inside = np.full(SIZE, 255, np.uint8)
    inside[:, :50] = 0
    geotiff(tmp_path / "a.tif", noise(), mask=inside)
    with open_scene(tmp_path / "a.tif") as scene:
        _, void = scene.part(0, 40, 150, 20)
    assert (void == (inside[:, 40:60] == 0)).all()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: tifffile.imwrite(path, np.zeros((3, 9, 9, 9), np.uint8), metadata=None), "holds 27 pictures"),
        (lambda path: tifffile.imwrite(path, noise()[..., 0].astype(np.complex64)), "complex64; whole or real"),
        (lambda path: tifffile.imwrite(path, noise(), compression="zlib", rowsperstrip=150), "save it in tiles: gdal_"),
        (lambda path: path.write_bytes(b"II*\0garbage"), "not a readable picture"),
        (lambda path: path.write_bytes(b"nothing"), "not a readable picture"),
    ],
)
def test_what_cannot_be_read_by_parts_is_named(tmp_path, monkeypatch, write, message):
    monkeypatch.setattr(reading, "MOST_PIECE", 64 * 64 * 3)
    write(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif.*{message}"), open_scene(tmp_path / "a.tif"):
        pass


def test_a_damaged_tile_is_named_where_it_lies(tmp_path):
    FORMS["tiles.tif"](tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        place = tiff.pages.first.dataoffsets[8]
    with open(tmp_path / "a.tif", "r+b") as file:
        file.seek(place)
        file.write(b"damaged!")
    with open_scene(tmp_path / "a.tif") as scene:
        scene.part(0, 0, 64, 150)
        with pytest.raises(UserError, match=r"a\.tif: not readable at row 64, column 100 .*replace the file"):
            scene.part(64, 100, 60, 100)


def test_a_georeferenced_scene_without_rasterio(tmp_path, monkeypatch):
    geotiff(tmp_path / "a.tif", noise())
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    wanted = (
        r"^\S+a\.tif is georeferenced, which needs rasterio: pip install -r requirements-geo.txt -c constraints.txt$"
    )
    with pytest.raises(UserError, match=wanted), open_scene(tmp_path / "a.tif"):
        pass
    assert (ROOT / "requirements-geo.txt").is_file()


def layer(pixels: np.ndarray, step: int = 70, **more) -> Layer:
    """An image that comes in pieces of some rows."""
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    return Layer(
        lambda: (pixels[i : i + step] for i in range(0, len(pixels), step)),
        *pixels.shape[:2],
        pixels.dtype,
        samples,
        **more,
    )


MASK = np.random.default_rng(1).integers(0, 3, (1100, 700), np.uint8)
MASK[:50] = 255
COLORS = ((0, 0, 0), (230, 159, 0), (3, 2, 1))
WRITTEN = {
    "mask": (MASK, {"colors": COLORS, "no_data": 255}),
    "colours": (np.random.default_rng(2).integers(0, 256, (600, 700, 3), np.uint8), {}),
    "deep": (np.random.default_rng(3).integers(0, 65536, (600, 700), np.uint16), {"no_data": 7}),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_pictures_of_rows_read_back(tmp_path, name):
    pixels, more = WRITTEN[name]
    write_png(tmp_path / "a.png", layer(pixels, **more))
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)
        assert name != "mask" or picture.getpalette()[:9] == [value for color in COLORS for value in color]


@pytest.mark.parametrize("georeferenced", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_tiffs_of_rows_read_back_with_overviews(tmp_path, name, georeferenced):
    rasterio = pytest.importorskip("rasterio")
    pixels, more = WRITTEN[name]
    place = {"transform": rasterio.transform.from_origin(5e5, 5e6, 0.5, 0.25), "crs": rasterio.CRS.from_epsg(32633)}
    write_tiff(tmp_path / "a.tif", layer(pixels, **more), place if georeferenced else None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        np.testing.assert_array_equal(tiff.series[0].asarray(), pixels)
        assert [page.is_reduced for page in tiff.pages] == [False] + [True] * (len(tiff.pages) - 1)
        assert tiff.pages.first.is_tiled and tiff.pages.first.compression != 1
        np.testing.assert_array_equal(tiff.pages[1].asarray(), pixels[::2, ::2])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.overviews(1) == ([2, 4] if len(pixels) > 1000 else [2])
        assert file.nodata == more.get("no_data") and (file.crs is not None) == georeferenced
        if georeferenced:
            assert file.crs == place["crs"] and file.transform == place["transform"]
        if name == "mask":
            assert file.colormap(1)[1][:3] == COLORS[1]
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif"}


@pytest.mark.parametrize("georeferenced", [False, True])
def test_probabilities_of_rows_read_back(tmp_path, georeferenced):
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(4).random((600, 300, 4)).astype(np.float16)
    values[:9] = np.nan
    place = {"transform": rasterio.transform.from_origin(5e5, 5e6, 0.5, 0.25), "crs": rasterio.CRS.from_epsg(32633)}
    names = ("a", "b", "ç", "d")
    made = layer(values, no_data=np.nan, names=names)
    write_tiff(tmp_path / "a.tif", made, place if georeferenced else None)
    read = tifffile.imread(tmp_path / "a.tif")
    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, values)
    if georeferenced:
        with rasterio.open(tmp_path / "a.tif") as file:
            assert file.descriptions == names and np.isnan(file.nodata)
