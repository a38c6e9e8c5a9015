"""Masks ↔ GeoJSON: outlines of predicted regions, in the scene's own coordinates; masks of drawn polygons.

What has no place on the map counts pixels, as QuPath does: x to the right, y down, (0, 0) the first one's outer corner.
"""

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID, is_background
from data_pipeline.files import read_json
from data_pipeline.outputs import write_atomically

from .reading import import_rasterio

AREAS = ("Polygon", "MultiPolygon")
NAMES = ("class", "class_name", "label", "name")  # properties that may hold a polygon's class
EPSG = re.compile(r"(?:urn:ogc:def:crs:)?EPSG:[\d.]*:?(\d{4,6})", re.IGNORECASE)
DEGREES = re.compile(r"(?:urn:ogc:def:crs:)?OGC:[\d.]*:?CRS84", re.IGNORECASE)


def write_outlines(path: Path, mask: Path, names: tuple[str, ...]) -> None:
    """Write the regions of a mask as polygons along the sides of their pixels, holes too.

    A region is connected through the sides of pixels. Void is left out, and a class 0 that is called background.

    Args:
        path: of the GeoJSON file, a FeatureCollection; each feature has the properties "class" and "value".
        mask: a PNG, TIFF or GeoTIFF of class indices. It is read line by line; the polygons of one mask are in memory.
        names: of the classes.
    """
    rasterio = import_rasterio("--to geojson")
    left_out = {VOID} | ({0} if is_background(names[0]) else set())
    with warnings.catch_warnings(), write_atomically(path) as temporary, open(temporary, "w", encoding="utf-8") as out:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(mask, driver="PNG" if mask.suffix == ".png" else "GTiff") as file:
            system = {"crs": {"type": "name", "properties": {"name": name_of(file.crs)}}} if file.crs else {}
            head = json.dumps({"type": "FeatureCollection", **system})[:-1]
            out.write(f'{head}, "features": [')
            shapes = rasterio.features.shapes(rasterio.band(file, 1), connectivity=4, transform=file.transform)
            between = "\n"
            for geometry, value in shapes:
                if int(value) not in left_out:
                    about = {"class": names[int(value)], "value": int(value)}
                    out.write(between + json.dumps({"type": "Feature", "properties": about, "geometry": geometry}))
                    between = ",\n"
            out.write("\n]}\n")


def name_of(crs) -> str:
    """A coordinate system as GeoJSON of 2008 names it; the whole of it in words where it has no number."""
    number = crs.to_epsg()
    return f"urn:ogc:def:crs:EPSG::{number}" if number else crs.to_wkt()


@dataclass(frozen=True)
class Polygons:
    """The polygons drawn on a scene, in its own coordinates; the later one lies on top.

    geometries: GeoJSON's; labels: the class of each; boxes: left, low, right, high of each, float (N, 4).
    without_area: how many lines and points were left out.
    """

    geometries: list[dict]
    labels: list[str]
    boxes: np.ndarray
    without_area: int

    def mask(self, index: dict[str, int], transform, height: int, width: int) -> np.ndarray:
        """Class indices, uint8 (height, width), 0 where nothing is drawn, of a part with this transform.

        A pixel belongs to the polygon that its centre lies in.
        """
        features = import_rasterio("a mask of polygons").features
        corners = np.array([transform @ (x, y) for x in (0, width) for y in (0, height)])
        low, high = corners.min(0), corners.max(0)
        near = np.flatnonzero((self.boxes[:, :2] <= high).all(1) & (self.boxes[:, 2:] >= low).all(1))
        if not len(near):
            return np.zeros((height, width), np.uint8)
        drawn = [(self.geometries[i], index[self.labels[i]]) for i in near]
        return features.rasterize(drawn, (height, width), fill=0, transform=transform, dtype="uint8")


def read_polygons(path: Path, crs, is_georeferenced: bool) -> Polygons:
    """The polygons of a GeoJSON file, brought into the coordinates of a scene.

    Args:
        path: a FeatureCollection, a Feature, or a list of features.
        crs: of the scene, as rasterio has it; None: unknown, and taken for the file's own.
        is_georeferenced: False: the coordinates are pixels.

    Raises:
        UserError: naming the feature that is no polygon with a class, or a coordinate system that is not known.
    """
    rasterio = import_rasterio(f"{path}: a mask of polygons")
    stored = read_json(path)
    features = stored if isinstance(stored, list) else [stored] if is_feature(stored) else entries(path, stored)
    geometries, labels, without_area = [], [], 0
    for number, feature in enumerate(features):
        where = f"{path}: feature {number}"
        if not is_feature(feature) or not isinstance(feature.get("geometry"), dict):
            raise UserError(f"{where}: a Feature with a geometry is wanted")
        geometry = feature["geometry"]
        if geometry.get("type") not in AREAS:
            without_area += 1
            continue
        if not is_valid(rasterio, geometry):
            raise UserError(
                f"{where}: not a valid {geometry['type']}; rings of 4 points or more, of numbers, are wanted"
            )
        geometries.append(geometry)
        labels.append(label_of(where, feature.get("properties")))
    if not geometries:
        raise UserError(f"{path}: no polygon in its {len(features)} features; draw the classes as polygons")
    system = system_of(path, stored, rasterio)
    if is_georeferenced and crs is not None:
        system = system or degrees(path, geometries, rasterio)
        if system != crs:
            geometries = [rasterio.warp.transform_geom(system, crs, geometry) for geometry in geometries]
    boxes = np.array([rasterio.features.bounds(geometry) for geometry in geometries])
    return Polygons(geometries, labels, boxes, without_area)


def is_feature(value) -> bool:
    return isinstance(value, dict) and value.get("type") == "Feature"


def entries(path: Path, stored) -> list:
    if not isinstance(stored, dict) or not isinstance(stored.get("features"), list):
        raise UserError(f"{path}: no GeoJSON; a FeatureCollection with features is wanted")
    return stored["features"]


def is_valid(rasterio, geometry: dict) -> bool:
    try:
        return bool(rasterio.features.is_valid_geom(geometry)) and bool(np.isfinite(points(geometry)).all())
    except (TypeError, ValueError, KeyError, IndexError):
        return False


def points(geometry: dict) -> np.ndarray:
    """x, y of all points of a polygon or several, float (N, 2)."""
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return np.array([point[:2] for rings in parts for ring in rings for point in ring], float)


def label_of(where: str, properties) -> str:
    """The class of a polygon: its property class, class_name, label or name; QuPath's classification."""
    properties = properties if isinstance(properties, dict) else {}
    classification = properties.get("classification")
    if isinstance(classification, dict):
        properties = properties | {"class": classification.get("name")}
    for key in NAMES:
        if isinstance(properties.get(key), str | int) and str(properties[key]).strip():
            return str(properties[key]).strip()
    there = ", ".join(sorted(map(str, properties))[:8]) or "none"
    raise UserError(f'{where}: no class; a property "class" is wanted, with its name (properties: {there})')


def system_of(path: Path, stored, rasterio):
    """The coordinate system that a file names; None: it names none."""
    named = stored.get("crs") if isinstance(stored, dict) else None
    if named is None:
        return None
    try:
        name = named["properties"]["name"].strip()
        if match := EPSG.fullmatch(name):
            return rasterio.CRS.from_epsg(int(match[1]))
        if DEGREES.fullmatch(name):
            return rasterio.CRS.from_epsg(4326)
        if re.match(r"(PROJ|GEOG|GEOD|BOUND|COMPOUND|ENG|LOCAL_)\w*\[", name):  # words, never a file or an address
            return rasterio.CRS.from_wkt(name)
    except (TypeError, KeyError, AttributeError, rasterio.errors.CRSError):
        pass
    raise UserError(f"{path}: crs {json.dumps(named)[:120]} is not known; a name such as EPSG:32633 is wanted")


def degrees(path: Path, geometries: list[dict], rasterio):
    """Longitude and latitude, as GeoJSON has them that names no coordinate system (RFC 7946)."""
    most = np.max([np.abs(points(geometry)).max(0) for geometry in geometries], axis=0)
    if (most > (180, 90)).any():
        raise UserError(
            f"{path}: coordinates up to {most.max():g} are no degrees, and no crs is named; "
            'write "crs": {"type": "name", "properties": {"name": "EPSG:…"}} beside "features"'
        )
    return rasterio.CRS.from_epsg(4326)
