"""Files that are none, and names that a spreadsheet or a terminal would take for orders."""

import csv
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.checking.check import relative
from data_pipeline.command import UserError
from data_pipeline.encoding import find_classes_file, read_encoding
from data_pipeline.files import (
    list_images,
    read_image,
    read_json,
    refuse_special,
    write_atomically,
    write_csv,
)
from data_pipeline.importing.download import from_archive
from data_pipeline.inspection import inspect
from data_pipeline.pairs import find_pairs
from data_pipeline.streams import shown
from data_pipeline.tables import original, safe
from predict import rank_images


def pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def folder_called(path: Path) -> Path:
    path.mkdir()
    return path


def socket_called(path: Path) -> Path:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)
    return path


def broken_link(path: Path) -> Path:
    path.symlink_to("nowhere")
    return path


def link_to_a_device(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


SPECIAL = {
    "a named pipe": pipe,
    "a folder": folder_called,
    "a socket": socket_called,
    "a device": link_to_a_device,
    "a broken link": broken_link,
}
READERS = {
    "image": read_image,
    "JSON": read_json,
    "folder of images": lambda path: list_images(path.parent),
    "CSV": lambda path: find_pairs(path.rename(path.with_name("pairs.csv")).parent),
    "classes.json": lambda path: read_encoding(
        find_classes_file(path.rename(path.with_name("classes.json")).parent), is_color=False
    ),
    "ranking": lambda path: rank_images(path, {}),
    "archive": lambda path: list(from_archive(path, {})),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_named_and_not_waited_for(reader, kind, tmp_path):
    path = SPECIAL[kind](tmp_path / "photo.png")
    with pytest.raises(UserError, match=kind):
        READERS[reader](path)


def test_a_data_set_with_a_pipe_for_classes_is_refused(tmp_path):
    folder = make_folder(tmp_path / "d", 3)
    pipe(folder / "classes.json")
    pairs, _ = find_pairs(folder)
    with pytest.raises(UserError, match=r"classes\.json: a named pipe"):
        inspect(folder, pairs, ())


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "a").write_text("{}")
    (tmp_path / "b").symlink_to("a")
    refuse_special(tmp_path / "b")
    assert read_json(tmp_path / "b") == {}


def test_a_name_with_control_characters_is_refused(tmp_path):
    (tmp_path / "a\x1b[2J.png").touch()
    with pytest.raises(UserError, match=r"'a\\x1b\[2J\.png' holds control characters; rename"):
        list_images(tmp_path)


@pytest.mark.parametrize("name", [r"a\ud800", r"a\udfff", r"\ude00\ud83d"])
def test_half_a_letter_in_a_class_name_is_refused(name, tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(f'{{"classes": [{{"name": "{name}"}}, {{"name": "b"}}]}}')
    with pytest.raises(UserError, match=r"classes\.json: not valid JSON .*surrogates not allowed"):
        read_encoding(path, is_color=False)


def test_a_whole_letter_beyond_the_first_plane_is_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"name": "🌲"}))
    assert read_json(tmp_path / "a.json") == {"name": "🌲"}


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError) as told, write_atomically(tmp_path / "a.json"):
        raise OSError(28, "No space left on device")
    assert told.value.filename == str(tmp_path / "a.json")


@pytest.mark.parametrize(
    "value, cell",
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|'/C calc'!A0", "'+cmd|'/C calc'!A0"),
        ("-photo.png", "'-photo.png"),
        ("'=a", "''=a"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("'quoted'", "'quoted'"),
        ("-0.5", "-0.5"),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_a_cell_is_no_formula(value, cell):
    assert safe(value) == cell


@given(st.text(alphabet=st.sampled_from("'=+-@\t\n.0a")))
def test_a_name_comes_back_from_its_cell(text):
    assert original(safe(text)) == text


def test_a_table_is_safe_in_its_header_too(tmp_path):
    write_csv(tmp_path / "a.csv", [{"stem": "=a", "=b\x1b": -0.5, "p": np.float64(-1e-5)}])
    assert (tmp_path / "a.csv").read_text() == "stem,'=b\\x1b,p\n'=a,-0.5,-1e-05\n"


def test_a_ranking_knows_its_images_again(tmp_path):
    path = tmp_path / "uncertainty.csv"
    rank_images(path, {"-a.png": 0.5, "'=b.png": 0.25})
    assert rank_images(path, {"-a.png": 0.1}) == ["'=b.png", "-a.png"]
    assert [row["image"] for row in csv.DictReader(path.open())] == ["''=b.png", "'-a.png"]


def test_pairs_in_a_folder_called_like_a_formula_are_found_again(tmp_path):
    folder = make_folder(tmp_path / "-d", 3)
    pairs, _ = find_pairs(folder)
    rows = [
        {"image": relative(one.image, tmp_path), "mask": relative(one.mask, tmp_path), "group": "=g"} for one in pairs
    ]
    write_csv(tmp_path / "pairs.csv", rows)
    again, _ = find_pairs(tmp_path / "pairs.csv")
    assert [(one.image.resolve(), one.group) for one in again] == [(one.image, "=g") for one in pairs]
    assert "\n-" not in (tmp_path / "pairs.csv").read_text() and shown("=g") == "=g"
