"""Damaged and hostile files: every reader answers or refuses, none crashes, hangs or writes elsewhere.

The readers run in a process of their own, so that a crash of a decoder would show.
"""

import io
import json
import subprocess
import sys
import time
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import ROOT, make_folder
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.files import read_image
from data_pipeline.masks import read_raw
from data_pipeline.pairs import find_pairs

CASES = 150  # of each format

READ_ALL = """
import sys
from pathlib import Path
from data_pipeline.command import UserError
from data_pipeline.files import read_image, read_json
from data_pipeline.encoding import read_encoding, wants_colors
from data_pipeline.masks import read_raw
from data_pipeline.pairs import find_pairs
readers = {
    "image": read_image,
    "mask": read_raw,
    "json": lambda path: (wants_colors(path), read_encoding(path, False), read_encoding(path, True)),
    "csv": find_pairs,
}
answers = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    for kind in ("image", "mask") if path.suffix not in (".json", ".csv") else (path.suffix[1:],):
        try:
            readers[kind](path)
        except UserError as error:
            assert str(path) in str(error), (path, error)
        answers += 1
print(answers)
"""


def picture(kind: str) -> bytes:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (24, 31, 3)).astype(np.uint8)
    stream = io.BytesIO()
    if kind == "tif16":
        tifffile.imwrite(
            stream,
            rng.integers(0, 9999, (24, 31, 5)).astype(np.uint16),
            photometric="minisblack",
            planarconfig="contig",
            compression="zlib",
        )
    elif kind == "tiflzw":
        tifffile.imwrite(stream, image.astype(np.float32), photometric="rgb", compression="lzw")
    elif kind == "png16":
        stream.write(imagecodecs.png_encode(image.astype(np.uint16) * 200))
    elif kind == "pngp":
        Image.fromarray(image).quantize(16).save(stream, "png")
    else:
        Image.fromarray(image).save(stream, {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    return stream.getvalue()


def damaged(whole: bytes, rng) -> bytes:
    """Cut short, with flipped bits, with a stretch overwritten, or with large numbers in the head."""
    data = bytearray(whole)
    how = rng.integers(4)
    if how == 0:
        return bytes(data[: rng.integers(len(data))])
    if how == 1:
        for _ in range(rng.integers(1, 12)):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif how == 2:
        start = rng.integers(len(data))
        data[start : start + 16] = rng.bytes(16)
    else:
        start = rng.integers(min(120, len(data)))
        data[start : start + 4] = (b"\xff\xff\xff\x7f", b"\x00\x00\xff\xff", b"\xff\xff\xff\xff")[rng.integers(3)]
    return bytes(data)


def read_in_own_process(folder) -> str:
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, folder], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["png", "pngp", "png16", "jpg", "tif", "tif16", "tiflzw", "bmp", "gif", "webp"])
def test_damaged_pictures(tmp_path, kind):
    rng = np.random.default_rng(len(kind) + ord(kind[0]))
    whole = picture(kind)
    for case in range(CASES):
        (tmp_path / f"{case:04d}.{kind[:3]}").write_bytes(damaged(whole, rng))
    assert read_in_own_process(tmp_path) == str(2 * CASES)


def test_damaged_tables_and_classes(tmp_path):
    rng = np.random.default_rng(0)
    classes = json.dumps(
        {
            "classes": [{"name": "a", "value": 0, "color": [0, 0, 0]}, {"name": "b", "value": 1, "color": [9, 9, 9]}],
            "void": [[1, 2, 3], 7],
            "tolerance": 3,
        }
    )
    table = "image,mask,split,group\r\n" + "a/b.png,../../../etc/passwd,train,g\r\n" * 5
    for case in range(CASES):
        (tmp_path / f"{case}.json").write_bytes(damaged(classes.encode(), rng))
        (tmp_path / f"{case}.csv").write_bytes(damaged(table.encode(), rng))
    odd = [
        "null",
        "3",
        '"x"',
        "[]",
        "{}",
        '{"classes": 3}',
        '{"classes": {"a": 1}}',
        '{"classes": [[]]}',
        '{"classes": [1, null]}',
        '{"classes": [{"name": [1], "color": "red"}, {"name": {}}]}',
        '{"classes": [{"name": "a", "value": 1e999}, {"name": "b"}]}',
        '{"classes": [{"name": "a", "value": NaN}, {"name": "b"}], "void": {"a": 1}}',
        '{"classes": [{"name": "a"}, {"name": "b"}], "tolerance": "x"}',
        '{"classes": [{"name": "a"}, {"name": "b"}], "void": [[1]]}',
        '{"classes": [{"name": "a", "color": [1, 2, 3, 4]}, {"name": "b"}]}',
        "[" * 100_000,
        '{"classes": [{"name": "a", "value": 99999999999999}, {"name": "b"}]}',
    ]
    for case, text in enumerate(odd):
        (tmp_path / f"odd{case}.json").write_text(text)
    read_in_own_process(tmp_path)


def test_bombs_are_refused_before_they_are_decoded(tmp_path):
    """Small files that say, or unpack to, billions of pixels."""
    png = bytearray(picture("png"))
    png[16:24] = (50_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(bytes(png[12:29])).to_bytes(4, "big")
    (tmp_path / "says.png").write_bytes(bytes(png))
    Image.new("1", (30_000, 30_000)).save(tmp_path / "unpacks.png")
    gif = bytearray(picture("gif"))
    gif[6:10] = b"\xff\xff\xff\xff"
    (tmp_path / "says.gif").write_bytes(bytes(gif))
    for name in ("tif", "tif16"):
        (tmp_path / f"{name}.tif").write_bytes(picture(name))
        with tifffile.TiffFile(tmp_path / f"{name}.tif", mode="r+") as tiff:
            tiff.pages.first.tags["ImageWidth"].overwrite(65_000)
            tiff.pages.first.tags["ImageLength"].overwrite(65_000)
    started = time.monotonic()
    for path in tmp_path.iterdir():
        for read in (read_image, read_raw):
            with pytest.raises(UserError, match="pixels; at most" if path.stem != "tif16" else "tif16"):
                read(path)
    assert time.monotonic() - started < 20
    read_in_own_process(tmp_path)


def test_names_from_a_table_that_points_outside_stay_inside(tmp_path):
    """Paths with .. in a CSV are read, as data sets lie where they lie; their names never leave the run's folder."""
    make_folder(tmp_path / "data", 2)
    make_folder(tmp_path / "deep/er/data", 2)
    rows = [
        f"../../{base}images/item00{i}.png,../../{base}masks/item00{i}.png"
        for base in ("data/", "deep/er/data/")
        for i in (0, 1)
    ]
    (tmp_path / "deep/er/list.csv").write_text("image,mask\n" + "\n".join(rows))
    pairs, _ = find_pairs(tmp_path / "deep/er/list.csv")
    assert len({pair.stem for pair in pairs}) == 4
    assert not any("/" in pair.stem or "\\" in pair.stem or pair.stem in ("", ".", "..") for pair in pairs)
