"""The mask reader: every form that it takes, and a clear refusal of what it cannot know."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import save, write_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.encoding import (
    UNKNOWN,
    VOID,
    Encoding,
    default_color,
    infer_encoding,
    read_encoding,
)
from data_pipeline.files import write_mask
from data_pipeline.masks import read_class_masks, read_mask, read_raw

MASK = np.array([[0, 0, 1], [2, 1, 0]], np.uint8)
COLORS = ((0, 0, 0), (230, 159, 0), (86, 180, 233))


def encoding_of(path: Path, void=()) -> Encoding:
    raw, is_color = read_raw(path)
    return infer_encoding(dict(Counter(raw.ravel().tolist())), is_color, void)


def test_index_mask(tmp_path):
    save(tmp_path / "m.png", MASK)
    encoding = encoding_of(tmp_path / "m.png")
    assert (encoding.num_classes, encoding.values) == (3, (0, 1, 2))
    assert (read_mask(tmp_path / "m.png", encoding) == MASK).all()
    assert "0…2" in encoding.note


@pytest.mark.parametrize("mode", ["L", "1"])
def test_binary_mask(tmp_path, mode):
    binary = (MASK > 0).astype(np.uint8)
    save(tmp_path / "m.png", binary * 255, mode)
    read = read_mask(tmp_path / "m.png", encoding_of(tmp_path / "m.png"))
    assert (read == binary).all() and read.dtype == np.uint8


def test_palette_png_gives_its_indices(tmp_path):
    write_mask(tmp_path / "m.png", MASK, COLORS)
    assert Image.open(tmp_path / "m.png").mode == "P"
    assert (read_mask(tmp_path / "m.png", encoding_of(tmp_path / "m.png")) == MASK).all()


def test_sixteen_bit_values_are_kept(tmp_path):
    save(tmp_path / "m.png", MASK.astype(np.uint16) * 1000)
    encoding = Encoding(("a", "b", "c"), (0, 1000, 2000), COLORS)
    assert (read_mask(tmp_path / "m.png", encoding) == MASK).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_color_mask(tmp_path, mode):
    save(tmp_path / "m.png", np.array(COLORS, np.uint8)[MASK], mode)
    encoding = encoding_of(tmp_path / "m.png")
    assert encoding.is_color and encoding.num_classes == 3
    assert encoding.names[encoding.colors.index((230, 159, 0))] == "rgb_230_159_0"
    named = Encoding(("x", "y", "z"), tuple(r << 16 | g << 8 | b for r, g, b in COLORS), COLORS, is_color=True)
    assert (read_mask(tmp_path / "m.png", named) == MASK).all()


def test_classes_file_for_values_and_for_colors(tmp_path):
    (tmp_path / "classes.json").write_text(
        '{"classes": [{"name": "sky", "value": 4, "color": [128, 128, 128]},'
        ' {"name": "road", "value": 7, "color": [128, 64, 128]}], "void": [11, [1, 2, 3]]}'
    )
    colors = read_encoding(tmp_path / "classes.json", is_color=True)
    assert colors.void == (11 << 16 | 11 << 8 | 11, 0x010203)
    (tmp_path / "classes.json").write_text(
        '{"classes": [{"name": "sky", "value": 4}, {"name": "road", "value": 7}], "void": [11]}'
    )
    save(tmp_path / "m.png", np.array([[4, 7, 11], [9, 7, 4]], np.uint8))
    values = read_encoding(tmp_path / "classes.json", is_color=False, void=(9,))
    assert read_mask(tmp_path / "m.png", values).tolist() == [[0, 1, VOID], [VOID, 1, 0]]


def test_void_255_and_void_11_read_alike(tmp_path):
    for value in (11, 200, 255):
        save(tmp_path / f"{value}.png", np.where(MASK == 2, value, MASK).astype(np.uint8))
        read = read_mask(tmp_path / f"{value}.png", encoding_of(tmp_path / f"{value}.png", void=(value,)))
        assert read.tolist() == [[0, 0, 1], [VOID, 1, 0]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0], "one value only"),
        ([0, 1, 255], "add --void 255"),
        ([-1, 0, 1, 2], "add --void=-1"),
        ([1, 2, 3, 4], "add --void 0"),
        ([0, 1, 5], r'"value": 5'),
        ([1, 2, 3], "classes.json"),
        (list(range(0, 250, 5)), "JPEG"),
    ],
)
def test_ambiguous_values_are_refused(values, words):
    with pytest.raises(UserError, match=words):
        infer_encoding(dict.fromkeys(values, 10), is_color=False)


def test_too_many_colors_are_refused():
    with pytest.raises(UserError, match="JPEG"):
        infer_encoding(dict.fromkeys(range(0, 65 * 999, 999), 1), is_color=True)


def test_label_out_of_range_names_file_value_and_remedy(tmp_path):
    save(tmp_path / "bad.png", np.array([[0] * 20, [1] * 19 + [7]], np.uint8))
    with pytest.raises(UserError, match=r"bad.png: holds 7 \(1 px\).*--void 7"):
        read_mask(tmp_path / "bad.png", Encoding(("a", "b"), (0, 1), COLORS[:2]))


def test_color_mask_among_value_masks_is_refused(tmp_path):
    save(tmp_path / "m.png", np.array(COLORS, np.uint8)[MASK])
    with pytest.raises(UserError, match="a colour mask where"):
        read_mask(tmp_path / "m.png", Encoding(("a", "b", "c"), (0, 1, 2), COLORS))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\0\0\0"])
def test_unreadable_mask_is_named(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.png"):
        read_mask(tmp_path / "broken.png", Encoding(("a", "b"), (0, 1), COLORS[:2]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "wanted the form"),
        ('{"classes": [{"value": 1}]}', "KeyError 'name'"),
        ('{"classes": [{"name": "a"}]}', "2 to 255"),
        ('{"classes": [{"name": "a"}, {"name": "a"}]}', "share the name"),
        ('{"classes": [{"name": "a"}, {"name": "b"}], "void": [1]}', "as a class and as void"),
        ('{"classes": [{"name": "a", "value": 1.5}, {"name": "b"}]}', "not a whole number"),
        ('{"classes": [{"name": "a", "color": [0, 0, 300]}, {"name": "b"}]}', "0 to 255"),
    ],
)
def test_bad_classes_files_are_refused(tmp_path, text, words):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_encoding(tmp_path / "classes.json", is_color=False)


FORMS = ["L", "P", "I;16", "I", "F", "LA", "RGB", "RGBA", "RGB off", "1", "soft", "jpeg", "files"]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_mask_reads_back(tmp_path_factory, data):
    """Whatever the classes, the void and the form on disk, the same indices come back."""
    form = data.draw(st.sampled_from(FORMS))
    binary = form in ("1", "soft", "jpeg")
    classes = 2 if binary else data.draw(st.integers(2, 12))
    height, width = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    labels = [*range(classes), *([] if binary else [VOID])]
    cells = data.draw(st.lists(st.sampled_from(labels), min_size=height * width, max_size=height * width))
    mask = np.array(cells, np.uint8).reshape(height, width)
    folder = tmp_path_factory.mktemp("mask")
    assert (read_back(form, mask, classes, folder) == mask).all(), form


def read_back(form, mask, classes, folder):
    """The mask written in a form, and read by the encoding that states it."""
    path = folder / "mask.png"
    colors = tuple((40 + 17 * i, 250 - 13 * i, (91 * i) % 256) for i in range(classes))
    names, values, void = tuple(f"c{i}" for i in range(classes)), tuple(range(classes)), (200,)
    on_disk = np.where(mask == VOID, 200, mask).astype(np.uint8)
    if form == "files":
        for i in range(1, classes):
            save(folder / f"photo_c{i}.png", (mask == i) * np.uint8(255))
        save(folder / "photo_void.png", (mask == VOID) * np.uint8(255))
        files = (*names[1:], "void")
        encoding = Encoding(names, (0, *range(1, classes)), colors, (VOID, classes), files=files)
        return read_class_masks(tuple(sorted(folder.iterdir())), "photo", encoding)
    if form in ("1", "soft", "jpeg"):
        encoding = Encoding(names, (0, 1) if form == "1" else (0, 255), colors, tolerance=0 if form == "1" else 127)
        if form == "soft":
            save(path, np.where(mask > 0, 200, 90).astype(np.uint8))
        elif form == "jpeg":
            path = folder / "mask.jpg"
            Image.fromarray(mask.repeat(16, 0).repeat(16, 1) * np.uint8(255)).save(path, quality=80)
            return read_mask(path, encoding)[8::16, 8::16]
        else:
            save(path, mask * np.uint8(255), "1")
        return read_mask(path, encoding)
    if form.startswith("RGB"):
        table = np.zeros((256, 3), np.uint8)
        table[:classes], table[200] = colors, (255, 255, 255)
        painted = table[on_disk].astype(int)
        if form == "RGB off":  # each channel up to 3 levels away; the classes' colours are 13 or more apart
            painted = painted + np.random.default_rng(0).integers(-3, 4, painted.shape)
        save(path, painted.clip(0, 255).astype(np.uint8), "RGBA" if form == "RGBA" else None)
        packed = tuple(r << 16 | g << 8 | b for r, g, b in colors)
        return read_mask(path, Encoding(names, packed, colors, (0xFFFFFF,), is_color=True, tolerance=4))
    if form == "P":
        write_mask(path, on_disk, colors)
    elif form == "LA":
        Image.merge("LA", [Image.fromarray(on_disk), Image.fromarray(255 - on_disk // 2)]).save(path)
    else:
        path = path.with_suffix(".tif" if form in ("I", "F") else ".png")
        save(path, on_disk.astype({"L": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32}[form]))
    return read_mask(path, Encoding(names, values, colors, void))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-5, 300), min_size=1, max_size=50), st.integers(0, 127))
def test_values_go_to_the_nearest_class_within_the_tolerance(values, tolerance):
    encoding = Encoding(("a", "b"), (0, 255), COLORS[:2], (128,), tolerance=tolerance)
    classes = encoding.classes_of(np.array(values))
    for value, label in zip(values, classes.tolist(), strict=True):
        distance = {0: abs(value), VOID: abs(value - 128), 1: abs(value - 255)}
        near = min(distance.values())
        if near > tolerance:
            assert label == UNKNOWN
        else:
            assert distance[label] == near


def test_encoding_survives_json():
    encoding = Encoding(("a", "b"), (0, 9), COLORS[:2], (7,), False, "said")
    assert Encoding.from_json(__import__("json").loads(__import__("json").dumps(encoding.to_json()))) == encoding


def test_write_classes_helper_matches_the_reader(tmp_path):
    write_classes(tmp_path, ["a", "b", "c"], void=[9])
    encoding = read_encoding(tmp_path / "classes.json", is_color=False)
    assert (encoding.names, encoding.values, encoding.void) == (("a", "b", "c"), (0, 1, 2), (9,))


def test_a_stray_color_is_named(tmp_path):
    save(tmp_path / "m.png", np.array([[[200, 0, 0], [1, 2, 3]]], np.uint8))
    encoding = Encoding(("a", "b"), (200 << 16, 0), COLORS[:2], is_color=True)
    with pytest.raises(UserError, match=r"m\.png: holds \(1, 2, 3\) \(1 px\).*known: \(200, 0, 0\), \(0, 0, 0\)"):
        read_mask(tmp_path / "m.png", encoding)


def test_fractions_are_refused_and_whole_floats_read(tmp_path):
    encoding = Encoding(("a", "b", "c"), (0, 1, 2), COLORS)
    save(tmp_path / "m.tif", MASK.astype(np.float32))
    assert (read_mask(tmp_path / "m.tif", encoding) == MASK).all()
    save(tmp_path / "m.tif", np.full((8, 8), 0.5, np.float32))
    with pytest.raises(UserError, match=r"m\.tif: holds fractions such as 0\.5"):
        read_mask(tmp_path / "m.tif", encoding)


def test_many_classes_have_colors_of_their_own():
    colors = {default_color(i) for i in range(60)}
    assert len(colors) == 60 and sum(max(color) > 60 for color in colors) == 59
