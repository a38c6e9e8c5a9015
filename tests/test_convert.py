"""COCO and labelme → masks: exact pixels, and every mistake by name. No JSON file crashes it."""

import base64
import copy
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as run_length

from data_pipeline.command import UserError
from data_pipeline.importing.coco import MAX_OUTLINE
from data_pipeline.importing.convert import convert
from data_pipeline.inspection import inspect
from data_pipeline.pairs import find_pairs

# pycocotools 2.0.11 hands its arrays over in NumPy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH, HEIGHT = 6, 5
CATEGORIES = [{"id": 7, "name": "tree"}, {"id": 3, "name": "road"}]  # in order of id: road 1, tree 2

# pycocotools draws a pixel whose centre lies in the polygon: the corners 1 and 4 make the columns 1, 2 and 3.
SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]
SQUARE_COCO = """
......
.###..
.###..
......
......"""
# Pillow, which labelme exports with, draws the outline too: column 4 and row 3 as well.
SQUARE_LABELME = """
......
.####.
.####.
.####.
......"""


def grid(drawing: str, **classes: int) -> np.ndarray:
    """A drawn mask: "." is 0, "#" is 1, and letters as named."""
    values = {".": 0, "#": 1} | classes
    return np.array([[values[character] for character in line] for line in drawing.split()], np.uint8)


def picture(seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def polygon(ring: list, category: int = 3, image: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "segmentation": [ring], "iscrowd": 0}


def coco_json(*annotations: dict, size: tuple[int, int] = (HEIGHT, WIDTH), categories=CATEGORIES) -> dict:
    image = {"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}
    return {"images": [image], "categories": copy.deepcopy(categories), "annotations": list(annotations)}


def write_coco(folder: Path, stored, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A folder with a.png and coco.json."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(size=size).save(folder / "a.png")
    (folder / "coco.json").write_text(stored if isinstance(stored, str) else json.dumps(stored))
    return folder


def shape(points, label: str = "tree", kind: str | None = "polygon", **more) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def labelme_json(*shapes: dict, image: str = "a.png", size: tuple[int, int] = (HEIGHT, WIDTH), data=None) -> dict:
    stored = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": data}
    return stored | {"imageHeight": size[0], "imageWidth": size[1]}


def write_labelme(folder: Path, stored, name: str = "a") -> Path:
    """A folder with a.png and a.json."""
    folder.mkdir(parents=True, exist_ok=True)
    picture().save(folder / f"{name}.png")
    (folder / f"{name}.json").write_text(stored if isinstance(stored, str) else json.dumps(stored))
    return folder


def corners(ring: list) -> list:
    return [ring[i : i + 2] for i in range(0, len(ring), 2)]


def converted(source: Path, form: str, name: str = "a") -> np.ndarray:
    """The mask that a fresh conversion writes for one image."""
    with tempfile.TemporaryDirectory() as folder:
        convert(source, Path(folder) / "out", form)
        return np.array(Image.open(Path(folder) / "out/masks" / f"{name}.png"))


def encoded(image: Image.Image, form: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return base64.b64encode(buffer.getvalue()).decode()


def test_coco_polygon_and_all_that_is_written(tmp_path, capsys):
    source = write_coco(tmp_path / "in", coco_json(polygon(SQUARE), polygon([0, 3, 2, 3, 2, 5, 0, 5], 7)))
    convert(source, tmp_path / "out", "coco")
    mask = Image.open(tmp_path / "out/masks/a.png")
    assert mask.mode == "P" and mask.getpalette()[3:6] == [230, 159, 0]
    expected = """
        ......
        .###..
        .###..
        TT....
        TT...."""
    assert (np.array(mask) == grid(expected, T=2)).all()
    assert (tmp_path / "out/images/a.png").read_bytes() == (source / "a.png").read_bytes()
    assert json.loads((tmp_path / "out/classes.json").read_text()) == {
        "classes": [
            {"name": "background", "value": 0, "color": [0, 0, 0]},
            {"name": "road", "value": 1, "color": [230, 159, 0]},
            {"name": "tree", "value": 2, "color": [86, 180, 233]},
        ],
        "void": [],
    }
    assert capsys.readouterr().out == (
        f"1 images and 3 classes are in {tmp_path}/out/. Next: python -m data_pipeline check {tmp_path}/out\n"
    )
    pairs, _ = find_pairs(tmp_path / "out")
    assert inspect(tmp_path / "out", pairs).encoding.names == ("background", "road", "tree")


def test_coco_triangle_and_several_rings(tmp_path):
    # Centres with x + y < 4, thus columns and rows with column + row < 3; the second ring lies beyond the image.
    annotation = polygon([0, 0, 4, 0, 0, 4]) | {"segmentation": [[0, 0, 4, 0, 0, 4], [4, 3, 9, 3, 9, 9, 4, 9]]}
    expected = """
        ###...
        ##....
        #.....
        ....##
        ....##"""
    assert (converted(write_coco(tmp_path, coco_json(annotation)), "coco") == grid(expected)).all()


def test_coco_run_lengths_by_hand(tmp_path):
    # Down the columns of 5: 6 of background, 2 of road, 3, 2, 3, 2 and the rest.
    counts = [6, 2, 3, 2, 3, 2, 12]
    # The same compressed: 6 2 3, then differences to the one two before: 2−2, 3−3, 2−2, 12−3; a digit is "0" + n.
    for written in (counts, "6230009"):
        annotation = polygon([]) | {"segmentation": {"size": [HEIGHT, WIDTH], "counts": written}, "iscrowd": 1}
        assert (converted(write_coco(tmp_path, coco_json(annotation)), "coco") == grid(SQUARE_COCO)).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), height=st.integers(1, 40), width=st.integers(1, 40), compressed=st.booleans())
def test_run_lengths_bring_any_mask_back(data, height, width, compressed):
    seed, coarse = data.draw(st.integers(0, 1000)), data.draw(st.booleans())
    mask = np.random.default_rng(seed).integers(0, 4, (height, width), np.uint8)
    if coarse:  # long runs, whose lengths take several characters
        mask = mask[:1, :1].repeat(height, 0).repeat(width, 1)
        mask[height // 2 :, width // 3 :] = seed % 4
    annotations = []
    for value in set(mask[mask > 0].tolist()):
        code = run_length.encode(np.asfortranarray(mask == value, np.uint8))
        counts = code["counts"].decode()
        if not compressed:
            runs = (mask == value).ravel("F").astype(int)
            changes = np.flatnonzero(np.diff(runs, prepend=0))
            counts = np.diff(changes, prepend=0, append=runs.size).tolist()
        segmentation = {"size": [height, width], "counts": counts}
        annotations.append({"image_id": 1, "category_id": value, "segmentation": segmentation})
    if not annotations:
        return
    categories = [{"id": value, "name": f"class {value}"} for value in (1, 2, 3)]
    with tempfile.TemporaryDirectory() as folder:
        stored = coco_json(*annotations, size=(height, width), categories=categories)
        assert (converted(write_coco(Path(folder), stored, (height, width)), "coco") == mask).all()


def test_small_objects_stay_visible_and_overlaps_are_said(tmp_path, capsys):
    everything = [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]
    for annotations in ((polygon(SQUARE), polygon(everything, 7)), (polygon(everything, 7), polygon(SQUARE))):
        mask = converted(write_coco(tmp_path, coco_json(*annotations)), "coco")
        assert (mask == np.where(grid(SQUARE_COCO) == 1, 1, 2)).all()
        said = capsys.readouterr().out
        assert "note: 20.00% of the pixels are claimed by two classes; the smaller area is on top" in said


def test_background_and_void_categories(tmp_path):
    categories = [{"id": 0, "name": "_Background_"}, {"id": 1, "name": "VOID"}, {"id": 2, "name": "road"}]
    stored = coco_json(
        polygon(SQUARE, 1),
        polygon([0, 0, 6, 0, 6, 5, 0, 5], 2),
        polygon([0, 4, 6, 4, 6, 5, 0, 5], 0),
        categories=categories,
    )
    convert(write_coco(tmp_path / "in", stored), tmp_path / "out", "coco")
    expected = """
        ######
        #vvv##
        #vvv##
        ######
        ......"""
    assert (np.array(Image.open(tmp_path / "out/masks/a.png")) == grid(expected, v=255)).all()
    classes = json.loads((tmp_path / "out/classes.json").read_text())
    assert [entry["name"] for entry in classes["classes"]] == ["background", "road"]
    assert classes["void"] == [255]


def test_what_coco_leaves_out_is_said(tmp_path, capsys):
    box = polygon([]) | {"segmentation": [], "bbox": [1, 1, 2, 2]}
    speck = polygon([0.1, 0.1, 0.2, 0.1, 0.2, 0.2])
    stored = coco_json(polygon(SQUARE), box, speck)
    stored["images"].append(stored["images"][0] | {"id": 2, "file_name": "b.png"})
    picture().save(write_coco(tmp_path, stored) / "b.png")
    assert not converted(tmp_path, "coco", "b").any()
    said = capsys.readouterr().out
    assert "note: 1 annotations are boxes without a mask: what lies in them is void" in said
    assert "note: 1 categories are drawn nowhere: tree" in said
    assert "note: 1 of 2 images have nothing drawn on them, all background: b.png" in said
    assert "note: 1 annotations cover no pixel" in said


@pytest.mark.parametrize(
    ("json_at", "image_at", "named"),
    [
        ("coco.json", "images/a.png", "a.png"),
        ("_annotations.coco.json", "a.png", "a.png"),
        ("annotations/instances_val2017.json", "val2017/a.png", "a.png"),
        ("annotations/coco.json", "images/sub/a.png", "sub\\a.png"),
        ("annotations/coco.json", "a.png", "../a.png"),
        ("train/_annotations.coco.json", "train/a.png", "a.png"),
    ],
)
def test_coco_layouts(tmp_path, json_at, image_at, named):
    stored = coco_json(polygon(SQUARE))
    stored["images"][0]["file_name"] = named
    for path in (tmp_path / "in" / json_at, tmp_path / "in" / image_at):
        path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "in" / json_at).write_text(json.dumps(stored))
    picture().save(tmp_path / "in" / image_at)
    for source in (tmp_path / "in", tmp_path / "in" / json_at):
        assert (converted(source, "coco") == grid(SQUARE_COCO)).all()


def test_one_coco_file_is_wanted(tmp_path):
    tmp_path.joinpath("in").mkdir()
    with pytest.raises(UserError, match=r"in: 0 JSON files, one wanted: none"):
        convert(tmp_path / "in", tmp_path / "out", "coco")
    for part in ("north", "south"):  # not the parts of a split, which are converted together
        write_coco(tmp_path / "in" / part, coco_json(polygon(SQUARE)))
    with pytest.raises(UserError, match=r"in: 2 JSON files, one wanted: north/coco\.json, south/coco\.json; name the"):
        convert(tmp_path / "in", tmp_path / "out", "coco")


def test_equal_stems_take_their_folder_into_the_name(tmp_path):
    stored = coco_json(polygon(SQUARE))
    stored["images"] = [stored["images"][0] | {"id": i, "file_name": f"{i}/a.png"} for i in (1, 2)]
    write_coco(tmp_path / "in", stored)
    for folder in ("1", "2"):
        (tmp_path / "in" / folder).mkdir()
        picture().save(tmp_path / "in" / folder / "a.png")
    convert(tmp_path / "in", tmp_path / "out", "coco")
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == ["1__a.png", "2__a.png"]
    stored["images"][1]["file_name"] = "1/a.png"
    (tmp_path / "in/coco.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="two images are called 1__a"):
        convert(tmp_path / "in", tmp_path / "other", "coco")


HUGE = 10**400
LONG = [coordinate for i in range(MAX_OUTLINE // 15 + 1) for coordinate in (-WIDTH if i % 2 else 2 * WIDTH, 1)]


def at(stored, place: str, value):
    """The structure with another value at a place such as "images.0.id"."""
    *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner = stored = copy.deepcopy(stored)
    for part in way:
        inner = inner[part]
    inner[last] = value
    return stored


def code(**changes) -> dict:
    return {"size": [HEIGHT, WIDTH], "counts": [6, 2, 3, 2, 3, 2, 12]} | changes


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("images", None, "coco.json: images: missing; a list"),
        ("images", {}, "coco.json: images: {}; a list"),
        ("images.0", 3, r"images\[0\]: 3; an object"),
        ("images.0.id", "1", r"images\[0\]: id: '1'; a whole number wanted"),
        ("images.0.id", True, r"images\[0\]: id: True; a whole number wanted"),
        ("images.0.file_name", 5, r"images\[0\]: file_name: 5; a text wanted"),
        ("images.0.file_name", "b.png", r"images\[0\]: 'b\.png' is not in .*in, nor in its folders images, train"),
        ("images.0.file_name", "", r"images\[0\]: '' is not in"),
        ("images.0.file_name", "a\0.png", r"images\[0\]: 'a\\x00\.png' is not in"),
        ("images.0.file_name", "a" * 5000, r"images\[0\]: 'aaa"),
        ("images.0.file_name", "../secret.png", r"images\[0\]: '\.\./secret\.png' lies outside of .*in; move"),
        ("images.0.file_name", "..\\secret.png", "lies outside"),
        ("images.0.file_name", "/etc/passwd", "'/etc/passwd' lies outside"),
        ("images.0.file_name", "C:\\a.png", "lies outside"),
        ("images.0.file_name", "coco.json", "coco.json is not called like an image"),
        ("images.0.file_name", "bad.png", "bad.png: not a readable picture"),
        ("images.0.width", 7, r"images\[0\]: says 7×5 pixels \(width×height\), but .*a\.png has 6×5; put back"),
        ("images.0.height", HUGE, r"images\[0\]: says 6×1000"),
        ("images.0.width", "6", r"says '6'×5"),
        ("images.0.width", float("nan"), r"says nan×5"),
        ("images.1", {"id": 1}, r"images\[1\]: the id 1 stands twice"),
        ("categories", 1, "categories: 1; a list"),
        ("categories.0.name", "road", "two categories are called 'road'"),
        ("categories.0.name", None, r"categories\[0\]: name: missing; a text"),
        ("categories.0.name", " ", r"categories\[0\]: name: ' ' cannot be shown"),
        ("categories.0.name", "\ud800", "not valid JSON"),
        ("categories.0.id", 1.5, r"categories\[0\]: id: 1\.5; a whole number"),
        ("categories.0.id", 3, r"categories\[1\]: the id 3 stands twice"),
        ("categories", [{"id": 3, "name": "background"}], "coco.json: 0 classes besides background and void; 1 to 254"),
        ("categories", [{"id": i, "name": f"c{i}"} for i in range(255)], "255 classes besides background and void"),
        ("annotations", [], "it holds no annotations; export polygons"),
        ("annotations.0.segmentation", [], "bbox: missing"),
        ("annotations.0.image_id", 2, r"annotations\[0\]: image_id 2 is the id of none in the file"),
        ("annotations.0.category_id", HUGE, r"annotations\[0\]: category_id 1000.* is the id of none"),
        ("annotations.0.segmentation", "x", r"annotations\[0\]: segmentation: 'x'; a list"),
        ("annotations.0.segmentation", [1, 1, 4, 1, 4, 3], r"annotations\[0\]: a polygon: 1; a list"),
        ("annotations.0.segmentation.0", [1, 1, 4, 3], "a polygon of 4 numbers; 6 or more wanted"),
        ("annotations.0.segmentation.0", [1, 1, 4, 3, 5, 5, 2], "a polygon of 7 numbers; 6 or more wanted, an even"),
        (
            "annotations.0.segmentation.0.3",
            float("nan"),
            r"annotations\[0\]: the point \[4, nan\]; \[x, y\] in or near",
        ),
        ("annotations.0.segmentation.0.0", float("inf"), r"the point \[inf, 1\]"),
        ("annotations.0.segmentation.0.0", "1", r"the point \['1', 1\]"),
        ("annotations.0.segmentation.0.0", True, r"the point \[True, 1\]"),
        ("annotations.0.segmentation.0.0", -HUGE, r"the point \[-1000"),
        ("annotations.0.segmentation.0.0", 2e9, r"the point \[2000000000\.0, 1\]"),
        ("annotations.0.segmentation.0", LONG, "its outline is 2,400,012 pixels long, at most 2,000,000 wanted"),
        ("annotations.0.segmentation", code(size=[6, 5]), r"size \[6, 5\]; \[5, 6\] wanted"),
        ("annotations.0.segmentation", code(size=[HUGE, HUGE]), r"size \[1000"),
        ("annotations.0.segmentation", {"counts": [30]}, "size None"),
        ("annotations.0.segmentation", code(counts=None), r"annotations\[0\]: counts: missing; a list"),
        ("annotations.0.segmentation", code(counts=[6, 2]), "runs that do not add up to 30, the image's pixels"),
        ("annotations.0.segmentation", code(counts=[-1, 31]), "do not add up"),
        ("annotations.0.segmentation", code(counts=[2**32 + 30]), "do not add up"),
        ("annotations.0.segmentation", code(counts=[30.0]), "do not add up"),
        ("annotations.0.segmentation", code(counts=""), "'' is no compressed run-length code"),
        ("annotations.0.segmentation", code(counts="6230"), "do not add up"),
        ("annotations.0.segmentation", code(counts="623000é"), "no compressed run-length code"),
        ("annotations.0.segmentation", code(counts="623000o"), "no compressed run-length code"),  # "more follows"
        ("annotations.0.segmentation", code(counts="o" * 90 + "0"), "holds a number that is too large"),
        ("annotations.0.segmentation", code(counts="ooooooO"), "do not add up"),
    ],
)
def test_bad_coco(tmp_path, place, value, words):
    stored = coco_json(polygon(SQUARE))
    if place == "images.1":
        stored["images"].append(None)
    write_coco(tmp_path / "in", at(stored, place, value))
    (tmp_path / "in/bad.png").write_bytes(b"no picture")
    picture().save(tmp_path / "secret.png")
    refused(tmp_path, "coco", words)


def refused(tmp_path: Path, form: str, words: str) -> None:
    """The conversion fails in these words and leaves nothing behind."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=words) as caught:
        convert(tmp_path / "in", tmp_path / "out", form)
    assert str(caught.value).startswith(str(tmp_path / "in"))
    assert len(str(caught.value)) < 1000
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[1]", r"\[1\]; an object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"images": ' + "9" * 5000 + "}", "not valid JSON"),
        ("{}", "images: missing|imagePath: missing"),
    ],
)
def test_bad_json(tmp_path, text, words):
    write_coco(tmp_path / "coco/in", text)
    refused(tmp_path / "coco", "coco", words)
    write_labelme(tmp_path / "labelme/in", text)
    refused(tmp_path / "labelme", "labelme", words)


def test_form_source_and_destination(tmp_path):
    write_coco(tmp_path / "in", coco_json(polygon(SQUARE)))
    with pytest.raises(UserError, match="'voc' are known; wanted one of: coco, labelme"):
        convert(tmp_path / "in", tmp_path / "out", "voc")
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        convert(tmp_path / "nowhere", tmp_path / "out", "coco")
    with pytest.raises(UserError, match=r"coco\.json: a file; for labelme, name the folder"):
        convert(tmp_path / "in/coco.json", tmp_path / "out", "labelme")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out exists; name another folder"):
        convert(tmp_path / "in", tmp_path / "out", "coco")
    assert not list((tmp_path / "out").iterdir())


def test_an_image_in_two_places_is_ambiguous(tmp_path):
    write_coco(tmp_path / "in", coco_json(polygon(SQUARE)))
    write_coco(tmp_path / "in/images", coco_json())
    refused(tmp_path, "coco", r"images\[0\]: which image is meant\? There are .*in/a\.png, .*in/images/a\.png")


DISC = """
.###..
#####.
#####.
#####.
.###.."""
MASK = np.array([[0, 1], [1, 1]], np.uint8)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (shape(corners(SQUARE)), SQUARE_LABELME),
        (shape(corners(SQUARE), kind=None), SQUARE_LABELME),
        (shape(corners(SQUARE), kind="oriented_rectangle"), SQUARE_LABELME),
        (shape([[1, 1], [4, 3]], kind="rectangle"), SQUARE_LABELME),
        (shape([[4, 1], [1, 3]], kind="rectangle"), SQUARE_LABELME),
        (shape([[2, 2], [2, 4]], kind="circle"), DISC),
        (
            shape([[4, 2], [5, 3]], kind="mask", mask=encoded(Image.fromarray(MASK))),
            """
            ......
            ......
            .....#
            ....##
            ......""",
        ),
        (  # the box reaches out of the image, and its corners do not lie on pixels
            shape([[-0.6, 3.8], [0.3, 5.2]], kind="mask", mask=encoded(Image.fromarray(MASK == 1))),
            """
            ......
            ......
            ......
            ......
            #.....""",
        ),
    ],
)
def test_labelme_shapes(tmp_path, drawn, expected):
    assert (converted(write_labelme(tmp_path, labelme_json(drawn)), "labelme") == grid(expected)).all()


@settings(max_examples=40, deadline=None)
@given(
    left=st.integers(0, 4),
    right=st.integers(1, 5),
    top=st.integers(0, 3),
    bottom=st.integers(1, 4),
    turn=st.integers(0, 3),
)
def test_a_labelme_rectangle_includes_its_outline(left, right, top, bottom, turn):
    left, right, top, bottom = min(left, right - 1), right, min(top, bottom - 1), bottom
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[top : bottom + 1, left : right + 1] = 1
    with tempfile.TemporaryDirectory() as folder:
        source = write_labelme(Path(folder), labelme_json(shape(points[turn:] + points[:turn])))
        assert (converted(source, "labelme") == expected).all()


def test_labelme_order_void_background_and_what_is_left_out(tmp_path, capsys):
    """Classes by name; later shapes on top; lines and points have no area."""
    write_labelme(
        tmp_path / "in",
        labelme_json(
            shape([[0, 0], [5, 4]], "zebra", "rectangle"),
            shape([[1, 1], [4, 3]], "ant", "rectangle"),
            shape([[0, 4], [5, 4]], "_background_", "rectangle"),
            shape([[5, 0], [5, 2]], "__ignore__", "rectangle"),
            shape([[0, 0], [1, 1]], "wire", "line"),
            shape([[0, 0]], "spot", "point"),
        ),
    )
    write_labelme(tmp_path / "in", labelme_json(image="b.png"), "b")
    picture().save(tmp_path / "in/c.png")
    convert(tmp_path / "in", tmp_path / "out", "labelme")
    expected = """
        zzzzzv
        zaaaav
        zaaaav
        zaaaaz
        ......"""
    assert (np.array(Image.open(tmp_path / "out/masks/a.png")) == grid(expected, a=1, z=2, v=255)).all()
    assert not np.array(Image.open(tmp_path / "out/masks/b.png")).any()
    classes = json.loads((tmp_path / "out/classes.json").read_text())
    assert [entry["name"] for entry in classes["classes"]] == ["background", "ant", "zebra"]
    assert classes["void"] == [255]
    said = capsys.readouterr().out
    assert "note: 2 shapes have no area, and are left out: 1 line, 1 point" in said
    assert "note: 1 images have no JSON file, and are left out: c.png" in said
    assert "note: 1 of 2 images have nothing drawn on them, all background: b.png" in said
    assert "35.00% of the pixels are claimed by two classes; the later shape is on top" in said  # 12 + 6 + 3 of 60


@pytest.mark.parametrize(
    ("json_at", "image_at", "named"),
    [
        ("a.json", "a.png", "a.png"),
        ("a.json", "images/a.png", "images\\a.png"),
        ("labels/a.json", "images/a.png", "..\\images\\a.png"),
        ("a.json", "a.png", "lost.jpg"),
    ],
)
def test_labelme_layouts(tmp_path, json_at, image_at, named):
    for path in (tmp_path / json_at, tmp_path / image_at):
        path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / json_at).write_text(json.dumps(labelme_json(shape(corners(SQUARE)), image=named)))
    picture().save(tmp_path / image_at)
    assert (converted(tmp_path, "labelme") == grid(SQUARE_LABELME)).all()


@pytest.mark.parametrize(("form", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg")])
def test_embedded_image(tmp_path, form, suffix):
    data = encoded(picture(), form)
    write_labelme(tmp_path / "in", labelme_json(shape(corners(SQUARE)), image="lost.png", data=data))
    (tmp_path / "in/a.png").unlink()
    convert(tmp_path / "in", tmp_path / "out", "labelme")
    assert (tmp_path / f"out/images/a{suffix}").read_bytes() == base64.b64decode(data)
    assert (np.array(Image.open(tmp_path / "out/masks/a.png")) == grid(SQUARE_LABELME)).all()


def test_images_turned_by_exif(tmp_path):
    """Annotations fit the turned image, as labelme shows it; other sizes are refused."""
    exif = Image.Exif()
    exif[0x0112] = 6  # shown 5 wide and 6 high
    for folder in ("labelme", "coco"):
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "a.jpg", exif=exif)
    stored = labelme_json(shape([[0, 0], [1, 5]], kind="rectangle"), image="a.jpg", size=(6, 5))
    (tmp_path / "labelme/a.json").write_text(json.dumps(stored))
    mask = converted(tmp_path / "labelme", "labelme")
    assert mask.shape == (6, 5) and (mask == [1, 1, 0, 0, 0]).all()

    stored = at(coco_json(polygon([0, 0, 2, 0, 2, 6, 0, 6]), size=(6, 5)), "images.0.file_name", "a.jpg")
    (tmp_path / "coco/coco.json").write_text(json.dumps(stored))
    convert(tmp_path / "coco", tmp_path / "out", "coco")
    assert (np.array(Image.open(tmp_path / "out/masks/a.png")) == mask).all()
    pairs, _ = find_pairs(tmp_path / "out")
    assert inspect(tmp_path / "out", pairs).sizes() == {(6, 5)}

    stored["images"][0] |= {"height": 5, "width": 6}
    (tmp_path / "coco/coco.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"says 6×5 pixels .* has 5×6; if its EXIF orientation turns it, remove"):
        convert(tmp_path / "coco", tmp_path / "other", "coco")


def test_an_exif_turned_tiff_has_the_size_that_we_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    tmp_path.joinpath("in").mkdir()
    picture().save(tmp_path / "in/a.tif", exif=exif)
    stored = labelme_json(shape([[0, 0], [1, 5]], kind="rectangle"), image="a.tif", size=(6, 5))
    (tmp_path / "in/a.json").write_text(json.dumps(stored))
    convert(tmp_path / "in", tmp_path / "out", "labelme")
    pairs, _ = find_pairs(tmp_path / "out")
    assert inspect(tmp_path / "out", pairs).sizes() == {(6, 5)}


BIG_PATCH = encoded(Image.new("L", (300, 300)))
COLOR_PATCH = encoded(Image.new("RGB", (4, 3)))
PATCH = {"shape_type": "mask", "points": [[1, 1], [4, 3]], "label": "tree"}


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("imagePath", None, r"a\.json: imagePath: missing"),
        ("imagePath", "../secret.png", r"a\.json: '\.\./secret\.png' lies outside of .*in; move"),
        ("imagePath", "/etc/passwd", "lies outside"),
        ("imagePath", "D:\\photos\\a.png", "lies outside"),
        ("imagePath", "a.json", "is not called like an image"),
        ("imagePath", "bad.png", r"bad\.png: not a readable picture"),
        ("imageWidth", None, r"a\.json: says None×5 pixels \(width×height\), but .*a\.png has 6×5"),
        ("imageHeight", 5.5, r"says 6×5\.5"),
        ("shapes", "no", r"a\.json: shapes: 'no'; a list"),
        ("shapes", [], "no shape in its 1 JSON files has an area"),
        ("shapes.0", [], r"a\.json, shapes\[0\]: \[\]; an object"),
        ("shapes.0.label", 5, r"shapes\[0\]: label: 5; a text"),
        ("shapes.0.label", "a\nb", r"shapes\[0\]: label: 'a\\nb' cannot be shown"),
        ("shapes.0.label", "background", "0 classes besides background"),
        ("shapes.0.shape_type", "star", "shape_type 'star'; wanted one of: polygon, "),
        ("shapes.0.shape_type", ["polygon"], r"shape_type: \['polygon'\]; a text"),
        ("shapes.0.points", None, r"shapes\[0\]: points: missing; a list"),
        ("shapes.0.points", [], "a polygon of 0 points; 3 wanted"),
        ("shapes.0.points", [[1, 1], [2, 2]], "a polygon of 2 points; 3 wanted"),
        ("shapes.0.points.1", [1, 2, 3], r"the point \[1, 2, 3\]; \[x, y\] in or near"),
        ("shapes.0.points.1", [1, float("nan")], r"the point \[1, nan\]"),
        ("shapes.0.points.1", [1, -6], r"the point \[1, -6\]"),
        ("shapes.0.shape_type", "circle", "a circle of 4 points; 2 wanted"),
        ("shapes.0", PATCH, r"shapes\[0\]: mask: missing; a text"),
        ("shapes.0", PATCH | {"mask": "a"}, r"shapes\[0\]: mask: not in base64"),
        ("shapes.0", PATCH | {"mask": "é"}, r"shapes\[0\]: mask: not in base64"),
        ("shapes.0", PATCH | {"mask": "aaaa"}, r"shapes\[0\]: mask: not a readable picture"),
        ("shapes.0", PATCH | {"mask": BIG_PATCH}, r"a mask of 300×300 pixels of the form L; 4×3 grey ones wanted"),
        ("shapes.0", PATCH | {"mask": COLOR_PATCH}, "of the form RGB; 4×3 grey ones wanted"),
        ("shapes.0", PATCH | {"mask": encoded(Image.new("L", (4, 3)))[:-40]}, "mask: not"),
    ],
)
def test_bad_labelme(tmp_path, place, value, words):
    write_labelme(tmp_path / "in", at(labelme_json(shape(corners(SQUARE))), place, value))
    (tmp_path / "in/bad.png").write_bytes(b"no picture")
    picture().save(tmp_path / "secret.png")
    refused(tmp_path, "labelme", words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, r"a\.json: no image 'lost\.png', none called a beside the file, and no imageData"),
        (5, r"a\.json: imageData: 5; a text"),
        ("aaa", r"a\.json: imageData: not in base64"),
        ("aaaa", r"a\.json: imageData: not a readable picture"),
        (encoded(picture(), "PPM"), r"a\.json: imageData: not a readable picture"),
        (encoded(Image.new("1", (8193, 8193))), "imageData: 8193×8193 pixels; at most 67,108,864 wanted; keep"),
        (encoded(picture(size=(9, 9))), "says 6×5 pixels .* has 9×9"),
    ],
)
def test_bad_embedded_image(tmp_path, data, words):
    write_labelme(tmp_path / "in", labelme_json(shape(corners(SQUARE)), image="lost.png", data=data))
    (tmp_path / "in/a.png").unlink()
    refused(tmp_path, "labelme", words)


def test_labelme_needs_json_files_and_one_image_each(tmp_path):
    (tmp_path / "in").mkdir()
    refused(tmp_path, "labelme", "no JSON files in it, nor in its sub-folders")
    for name in ("a", "b"):
        write_labelme(tmp_path / "in", labelme_json(shape(corners(SQUARE))), name)
    with pytest.raises(UserError, match=r"two images are called a\.png;"):
        convert(tmp_path / "in", tmp_path / "out", "labelme")
    assert not (tmp_path / "out").exists()


VALID_COCO = coco_json(
    polygon(SQUARE),
    polygon([]) | {"category_id": 7, "segmentation": code()},
    polygon([]) | {"category_id": 7, "segmentation": code(counts="6230009")},
)
VALID_LABELME = labelme_json(
    shape(corners(SQUARE)),
    shape([[1, 1], [4, 3]], "road", "rectangle"),
    shape([[2, 2], [2, 4]], "road", "circle"),
    shape([[4, 2], [5, 3]], "road", "mask", mask=encoded(Image.fromarray(MASK))),
    data=encoded(picture()),
)
HOSTILE = st.one_of(
    st.sampled_from(
        [None, True, [], {}, [[]], "", "a", "\0", "\ud800", "../a.png", "/", ".", "6230009", "o" * 20, "~"]
    ),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, 0.5, HUGE, -HUGE, 2**31, 2**32, 2**63, 2**64]),
    st.integers(-10, 40),
    st.floats(-20, 20),
    st.text(st.characters(min_codepoint=32, max_codepoint=127), max_size=12),
    st.lists(st.integers(-3, 30), max_size=8),
)
DELETE = object()


def places(value, way=()):
    """The way to every value inside of a JSON structure."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*way, key)
        yield from places(child, (*way, key))


@settings(max_examples=400, deadline=None)
@given(data=st.data(), form=st.sampled_from(["coco", "labelme"]), embedded=st.booleans())
def test_no_json_crashes_it(data, form, embedded):
    stored = copy.deepcopy(VALID_COCO if form == "coco" else VALID_LABELME)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(list(places(stored))))
        inner = stored
        for key in way:
            inner = inner[key]
        value = data.draw(st.one_of(st.just(DELETE), HOSTILE))
        if value is DELETE:
            del inner[last]
        else:
            inner[last] = copy.deepcopy(value)
        if not list(places(stored)):
            break
    with tempfile.TemporaryDirectory() as folder:
        source = (write_coco if form == "coco" else write_labelme)(Path(folder) / "in", stored)
        if embedded and form == "labelme":
            (source / "a.png").unlink()
        out = Path(folder) / "out"
        try:
            convert(source, out, form)
        except UserError as error:
            assert str(error).isprintable() and not out.exists()
        else:
            assert inspect(out, find_pairs(out)[0]).encoding.num_classes >= 2
