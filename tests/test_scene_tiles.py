"""GeoJSON polygons → masks and back; scenes larger than memory → the tiles that they have in memory."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import save, write_classes
from PIL import Image
from test_scene_files import SIZE, geotiff, noise

from data_pipeline.command import UserError
from data_pipeline.importing.tile import tile
from data_pipeline.scenes import tiling
from data_pipeline.scenes.polygons import read_polygons, write_outlines
from data_pipeline.source import Source

rasterio = pytest.importorskip("rasterio")

MASK = np.zeros(SIZE, np.uint8)
MASK[40:80, 50:120] = 1
MASK[60:70, 60:70] = 0  # a hole
MASK[100:140, 100:200] = 2
NAMES = ("background", "road", "tree")


@pytest.fixture
def scene(tmp_path) -> Path:
    """A GeoTIFF whose first columns hold no data, beside its mask as GeoTIFF and as the outlines that are written."""
    pixels = np.maximum(noise(), 1)
    pixels[:, :20] = 0
    (tmp_path / "d/images").mkdir(parents=True)
    (tmp_path / "d/masks").mkdir()
    geotiff(tmp_path / "d/images/a.tif", pixels, nodata=0)
    geotiff(tmp_path / "a.tif", MASK[..., None], nodata=255)
    write_outlines(tmp_path / "d/masks/a.geojson", tmp_path / "a.tif", NAMES)
    return tmp_path / "d"


def put_together(folder: Path, size: int) -> np.ndarray:
    """The masks of tiles, where they lie in their scene; 9 where there is none."""
    whole = np.full([-(-side // size) * size for side in SIZE], 9, np.uint8)
    for path in (folder / "masks").iterdir():
        top, left = (int(part[1:]) for part in path.stem.split("_")[-2:])
        whole[top : top + size, left : left + size] = np.asarray(Image.open(path))
    return whole


def test_outlines_come_back_as_the_mask(scene, tmp_path):
    stored = json.loads((scene / "masks/a.geojson").read_text())
    assert stored["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    assert [each["properties"] for each in stored["features"]] == [
        {"class": "road", "value": 1},
        {"class": "tree", "value": 2},
    ]
    # 0.5 m to the right and 0.25 m down a pixel, from (500000, 5000000)
    assert stored["features"][1]["geometry"]["coordinates"][0][0] == [500_050.0, 4_999_975.0]
    tile(Source(data=scene), tmp_path / "cut", 64)
    wanted = MASK.copy()
    wanted[:, :20] = 255
    made = put_together(tmp_path / "cut", 64)
    np.testing.assert_array_equal(made[:150, :210], wanted)
    assert (made[150:] == 255).all() and (made[:, 210:] == 255).all()
    classes = json.loads((tmp_path / "cut/classes.json").read_text())
    assert [each["name"] for each in classes["classes"]] == list(NAMES) and classes["void"] == [255]
    assert ",a\n" in (tmp_path / "cut/pairs.csv").read_text().replace("\r", "")


def test_polygons_in_degrees_are_brought_to_the_scene(scene, tmp_path):
    """RFC 7946: what names no coordinate system is longitude and latitude."""
    path = scene / "masks/a.geojson"
    stored = json.loads(path.read_text())
    for feature in stored["features"]:
        feature["geometry"] = rasterio.warp.transform_geom("EPSG:32633", "EPSG:4326", feature["geometry"])
    del stored["crs"]
    path.write_text(json.dumps(stored))
    tile(Source(data=scene), tmp_path / "cut", 256)
    assert (put_together(tmp_path / "cut", 256)[:150, 20:210] == MASK[:, 20:]).mean() > 0.999


def test_outlines_of_a_picture_count_pixels_as_qupath_does(tmp_path):
    (tmp_path / "d").mkdir()
    save(tmp_path / "d/a.png", noise())
    save(tmp_path / "mask.png", MASK)
    write_outlines(tmp_path / "d/a.geojson", tmp_path / "mask.png", NAMES)
    stored = json.loads((tmp_path / "d/a.geojson").read_text())
    assert "crs" not in stored and stored["features"][1]["geometry"]["coordinates"][0][0] == [100, 100]
    for feature in stored["features"]:
        feature["properties"] = {"classification": {"name": feature["properties"]["class"], "color": [1, 2, 3]}}
    (tmp_path / "d/a.geojson").write_text(json.dumps(stored))
    tile(Source(data=tmp_path / "d"), tmp_path / "cut", 64)
    np.testing.assert_array_equal(put_together(tmp_path / "cut", 64)[:150, :210], MASK)


def test_background_has_no_outline_however_it_is_written(tmp_path):
    save(tmp_path / "mask.png", MASK)
    for name in ("background", "bg", "_Background_"):
        write_outlines(tmp_path / f"{name}.geojson", tmp_path / "mask.png", (name, *NAMES[1:]))
    first, *others = [path.read_bytes() for path in sorted(tmp_path.glob("*.geojson"))]
    assert others == [first, first]


def test_polygons_of_background_make_no_second_class_of_it(scene, tmp_path):
    path = scene / "masks/a.geojson"
    path.write_text(path.read_text().replace('"class": "road"', '"class": "bg"'))
    tile(Source(data=scene), tmp_path / "cut", 64)
    stored = json.loads((tmp_path / "cut/classes.json").read_text())["classes"]
    assert [entry["name"] for entry in stored] == ["bg", "tree"]


RING = [[500_000, 5_000_000], [500_010, 5_000_000], [500_010, 4_999_990], [500_000, 5_000_000]]
SQUARE = {"type": "Polygon", "coordinates": [RING]}


def feature(geometry=SQUARE, **properties) -> dict:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([], r"no polygon in its 0 features"),
        ({"type": "Topology"}, r"no GeoJSON; a FeatureCollection"),
        ([feature(area=3)], r'feature 0: no class; a property "class" is wanted, with its name \(properties: area\)'),
        ([feature({"type": "Polygon", "coordinates": [RING[:2]]}, label="a")], "feature 0: not a valid Polygon"),
        ([feature({"type": "Polygon", "coordinates": "x"}, label="a")], "feature 0: not a valid Polygon"),
        ([feature({"type": "MultiPolygon", "coordinates": [[[["a", 1]] * 4]]}, label="a")], "not a valid MultiPolygon"),
        ([feature(label="a")], r"coordinates up to 5e\+06 are no degrees, and no crs is named"),
        (
            {"features": [feature(label="a")], "crs": {"properties": {"name": "/etc/passwd"}}},
            "crs .*etc/passwd.* is not",
        ),
        ({"features": [feature(label="a")], "crs": "http://x/y"}, "crs .* is not known"),
        ([None], "feature 0: a Feature with a geometry is wanted"),
    ],
)
def test_a_geojson_that_cannot_be_drawn_is_named(tmp_path, stored, message):
    (tmp_path / "a.geojson").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=rf"a\.geojson.*{message}"):
        read_polygons(tmp_path / "a.geojson", rasterio.CRS.from_epsg(32633), True)


def test_lines_are_left_out_and_classes_are_held_to(scene, tmp_path, capsys):
    stored = json.loads((scene / "masks/a.geojson").read_text())
    stored["features"].append(feature({"type": "LineString", "coordinates": RING[:2]}, name="path"))
    (scene / "masks/a.geojson").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"the polygons have the class 'road', and --classes names background, tree"):
        tile(Source(data=scene, classes="background,tree"), tmp_path / "cut", 64)
    assert "1 lines and points are left out" in capsys.readouterr().out and not (tmp_path / "cut").exists()


@pytest.mark.parametrize("size", [64, 140])
def test_large_scenes_give_the_tiles_that_they_have_in_memory(tmp_path, monkeypatch, size):
    """To the byte; masks as GeoTIFF, as a PNG with a palette, as 16 bits."""
    folder = tmp_path / "d"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i, name in enumerate("abc"):
        geotiff(folder / f"images/{name}.tif", noise(5, np.uint16, seed=i))
    write_classes(folder, list(NAMES))
    geotiff(folder / "masks/a.tif", MASK[..., None])
    picture = Image.fromarray(MASK[::-1])
    picture.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    picture.save(folder / "masks/b.png")
    Image.fromarray(MASK.astype(np.uint16)).save(folder / "masks/c.png")
    tile(Source(data=folder), tmp_path / "memory", size)
    monkeypatch.setattr(tiling, "IN_MEMORY", 1000)
    tile(Source(data=folder), tmp_path / "windows", size)
    whole = {path.relative_to(tmp_path / "memory"): path.read_bytes() for path in (tmp_path / "memory").rglob("*.*")}
    parts = {path.relative_to(tmp_path / "windows"): path.read_bytes() for path in (tmp_path / "windows").rglob("*.*")}
    assert whole.keys() == parts.keys() and len(whole) > 12
    assert not [name for name in whole if whole[name] != parts[name]]
