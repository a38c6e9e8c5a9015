"""A public data set from the network, a folder or an archive: all the same, all of it, or a clear refusal."""

import csv
import errno
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import tracemalloc
import warnings
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, make_folder
from hypothesis import given, settings
from hypothesis import strategies as st

import data_pipeline.importing.download as module
from data_pipeline.command import UserError
from data_pipeline.importing.download import DATASETS, Dataset, download
from data_pipeline.outputs import claimed_folder

LAYOUT = {
    "train": "train/images",
    "trainannot": "train/masks",
    "val": "val/images",
    "valannot": "val/masks",
    "test": "test/images",
    "testannot": "test/masks",
}
CLASSES = {"classes": [{"name": "ground", "value": 0}, {"name": "square", "value": 1}], "void": []}
ORIGINAL = {
    f"{folder}/{i}.png": np.random.default_rng((i, j)).bytes(9000 + i)
    for j, folder in enumerate(LAYOUT)
    for i in (0, 1)
}
FIRST = "train/0.png"
MEMBER = tarfile.TarInfo("a").tobuf()  # an empty file in a tar


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch) -> Path:
    """The data set "tiny", and its original repository: a folder CamVid/ of twelve files, with something beside it."""
    folder = tmp_path / "original"
    for path, data in ORIGINAL.items():
        (folder / "CamVid" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "CamVid" / path).write_bytes(data)
    (folder / "README.md").write_text("not wanted")
    register(monkeypatch, tmp_path / "manifest.csv", ORIGINAL)
    monkeypatch.setattr(module, "PAUSES", (0, 0))
    monkeypatch.setenv("no_proxy", "*")
    return folder


def register(monkeypatch, manifest: Path, original: dict[str, bytes]) -> None:
    rows = [f"{path},{len(data)},{hashlib.sha256(data).hexdigest()}" for path, data in original.items()]
    manifest.write_text("\n".join(["path,bytes,sha256", *rows]))
    entry = Dataset(
        "Cite A 2008.", "https://host/repository", "c0ffee", "http://127.0.0.1:9/", manifest, LAYOUT, CLASSES
    )
    monkeypatch.setitem(DATASETS, "tiny", entry)


def pack(files: dict[str, bytes], form: str) -> bytes:
    """An archive as a host makes it: all below a folder that is named after the commit."""
    packed = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for path, data in files.items():
                archive.writestr(f"Repository-c0ffee/CamVid/{path}", data)
        return packed.getvalue()
    with tarfile.open(fileobj=packed, mode="w:gz" if form == "tar.gz" else "w") as archive:
        for path, data in files.items():
            add(archive, f"Repository-c0ffee/CamVid/{path}", data)
    return packed.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **attributes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in attributes.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


def tar_of(path: Path, *members: tuple[str, bytes, dict]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data, attributes in members:
            add(archive, name, data, **attributes)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def placed(original: dict[str, bytes]) -> dict[str, bytes]:
    """The original's files by their place in the project's layout."""
    parts = ((path.split("/"), data) for path, data in original.items())
    return {f"{LAYOUT[folder]}/{name}": data for (folder, name), data in parts}


def assert_complete(folder: Path) -> None:
    files = tree(folder)
    assert json.loads(files.pop("classes.json")) == CLASSES
    assert files.pop("SOURCE.txt").decode() == "Cite A 2008.\nhttps://host/repository\ncommit c0ffee\n"
    assert files == placed(ORIGINAL)
    assert not folder.with_name(f".{folder.name}.partial").exists()


@contextmanager
def serving(monkeypatch, *answers):
    """A server on this machine; each request gets the next answer, and the last one again and again.

    An answer is a status, a body of that many bytes that it declares, or a function of the handler.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            if isinstance(answer, int):
                self.send_error(answer)
                return
            self.send_response(200)
            if isinstance(answer, bytes):
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with suppress(OSError):  # the other side may hang up
                self.wfile.write(answer) if isinstance(answer, bytes) else answer(self.wfile)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/tar.gz/c0ffee"
    monkeypatch.setitem(DATASETS, "tiny", replace(DATASETS["tiny"], url=url))
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_from_an_archive(tmp_path, form):
    archive = tmp_path / "any name"
    archive.write_bytes(pack({"../README.md": b"not wanted", **ORIGINAL}, form))
    download("tiny", tmp_path / "new" / "data", archive)
    assert_complete(tmp_path / "new" / "data")


@pytest.mark.parametrize("source", ["original/CamVid", "original", "."])
def test_from_a_folder(tmp_path, source):
    download("tiny", tmp_path / "data", tmp_path / source)
    assert_complete(tmp_path / "data")


def test_from_the_network(tmp_path, monkeypatch, capsys):
    with serving(monkeypatch, pack(ORIGINAL, "tar.gz")) as asked:
        download("tiny", tmp_path / "my data", None)
    assert asked == ["/tar.gz/c0ffee"]
    assert_complete(tmp_path / "my data")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Cite A 2008."
    assert printed[-1] == f"tiny is in {tmp_path}/my data/. Next: python -m data_pipeline check '{tmp_path}/my data'"


def test_the_next_command_that_it_names_finds_no_fault(tmp_path, monkeypatch, capsys):
    original = {}
    for folder in ("train", "val", "test"):
        for path in make_folder(tmp_path / "made" / folder, 3).rglob("*.png"):
            original[f"{folder}{'annot' if path.parent.name == 'masks' else ''}/{path.name}"] = path.read_bytes()
    register(monkeypatch, tmp_path / "manifest.csv", original)
    (tmp_path / "archive").write_bytes(pack(original, "zip"))
    download("tiny", tmp_path / "my data", tmp_path / "archive")
    command = shlex.split(capsys.readouterr().out.split("Next: python ")[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "9 pairs" in done.stdout and "square" in done.stdout


def test_an_unknown_name(tmp_path):
    with pytest.raises(UserError, match="camvids: no such data set; there is camvid"):
        download("camvids", tmp_path / "data")


def test_a_complete_destination_is_left_as_it_is(tmp_path, tiny, capsys):
    download("tiny", tmp_path / "data", tiny)
    (tmp_path / "data" / "classes.json").write_text("the user's own")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    download("tiny", tmp_path / "data")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == f"{tmp_path}/data was there already; each of its 12 files is the right one."
    assert printed[-1].endswith(f"Next: python -m data_pipeline check {tmp_path}/data")


@pytest.mark.parametrize("damage", ["missing", "changed", "longer", "empty", "file"])
def test_any_other_destination_is_refused_and_kept(tmp_path, tiny, damage):
    data = tmp_path / "data"
    if damage == "empty":
        data.mkdir()
    elif damage == "file":
        data.write_text("mine")
    else:
        download("tiny", data, tiny)
        path = data / "val/masks/1.png"
        changed = {"missing": None, "changed": b"x" * 9001, "longer": path.read_bytes() + b"x"}[damage]
        path.unlink() if changed is None else path.write_bytes(changed)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"data exists, and (12|1) of the data set's 12 files .*name another folder"):
        download("tiny", data, tiny)
    assert tree(tmp_path) == before


def test_a_broken_connection_is_tried_again(tmp_path, monkeypatch, capsys):
    body = pack(ORIGINAL, "tar.gz")
    with serving(monkeypatch, 500, lambda answer: answer.write(body[: len(body) // 2]), body) as asked:
        download("tiny", tmp_path / "data")
    assert len(asked) == 3
    assert "HTTP Error 500: Internal Server Error; trying again" in capsys.readouterr().out
    assert_complete(tmp_path / "data")


def test_what_has_arrived_is_used_by_the_next_try(tmp_path, monkeypatch):
    body, staging = pack(ORIGINAL, "tar.gz"), tmp_path / ".data.partial"
    words = r"127\.0\.0\.1: Compressed file ended .* is kept.* --from FILE"
    with (
        serving(monkeypatch, lambda answer: answer.write(body[: len(body) // 2])) as asked,
        pytest.raises(UserError, match=words),
    ):
        download("tiny", tmp_path / "data")
    assert len(asked) == 3
    assert not (tmp_path / "data").exists()
    arrived = tree(staging)
    assert 2 < len(arrived) < 10 and arrived.items() <= placed(ORIGINAL).items()

    first, second = (staging / place for place in sorted(arrived)[:2])
    inode = second.stat().st_ino
    first.write_bytes(b"cut short")
    (staging / "train/images/mine.png").touch()
    with pytest.raises(UserError, match=r"did not write: train/images/mine\.png; move that away"):
        download("tiny", tmp_path / "data")
    (staging / "train/images/mine.png").unlink()
    with serving(monkeypatch, body):
        download("tiny", tmp_path / "data")
    assert_complete(tmp_path / "data")
    assert (tmp_path / "data" / second.relative_to(staging)).stat().st_ino == inode, "not written again"


def test_nothing_is_asked_for_when_everything_has_arrived(tmp_path, monkeypatch):
    for place, data in placed(ORIGINAL).items():
        (tmp_path / ".data.partial" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".data.partial" / place).write_bytes(data)
    with serving(monkeypatch, 500) as asked:
        download("tiny", tmp_path / "data")
    assert not asked
    assert_complete(tmp_path / "data")


def endless(start: bytes, block: bytes):
    """An answer that goes on until the other side hangs up."""

    def answer(stream):
        stream.write(start)
        while True:
            stream.write(block)

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (404, r"127\.0\.0\.1: HTTP Error 404: Not Found; .*fetch http.* --from FILE"),
        (429, "HTTP Error 429"),
        (b"<html>please log in</html>", "Not a gzipped file"),
        (b"", r"127\.0\.0\.1: .*--from FILE"),
        (pack(ORIGINAL, "tar.gz")[:-9000], "Compressed file ended"),
        (endless(b"", b"x" * 10**5), "Not a gzipped file"),
        (endless(gzip.compress(MEMBER), bytes(10**5)), "more than 1 MB"),
        (endless(b"", gzip.compress(MEMBER * 1000)), "more than 1 MB"),
        (endless(gzip.compress(MEMBER), gzip.compress(bytes(10**6))), r"12 of 12 files .*train/0.png \(not there\)"),
    ],
)
def test_a_server_that_gives_something_else(tmp_path, monkeypatch, answer, words):
    monkeypatch.setattr(module, "LIMIT", 10**6)
    with serving(monkeypatch, answer) as asked, pytest.raises(UserError, match=words):
        download("tiny", tmp_path / "data")
    assert len(asked) == (1 if "more than" in words or "of 12" in words else 3)
    assert not (tmp_path / "data").exists()


def test_no_server(tmp_path):
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"127\.0\.0\.1: .*refused.*fetch http://127\.0\.0\.1:9/ .* --from FILE"):
        download("tiny", tmp_path / "new" / "data")
    assert tree(tmp_path) == before


def changes(data: bytes) -> dict[str, bytes]:
    return {
        r"SHA-256 [0-9a-f]{12}…, [0-9a-f]{12}… wanted": bytes([data[0] ^ 1]) + data[1:],
        "8999 bytes, 9000 wanted": data[:-1],
        "more than 9000 bytes": data + b"x",
    }


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz", "network"])
@pytest.mark.parametrize("words", list(changes(b"x")))
def test_a_wrong_file_is_named_and_the_others_are_kept(tmp_path, tiny, monkeypatch, form, words):
    wrong = {**ORIGINAL, FIRST: changes(ORIGINAL[FIRST])[words]}
    del wrong["testannot/1.png"]
    with serving(monkeypatch, pack(wrong, "tar.gz")) as asked:
        source = None if form == "network" else tmp_path / "source"
        if form == "folder":
            for path, data in wrong.items():
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).write_bytes(data)
        elif source:
            source.write_bytes(pack(wrong, form))
        expected = rf"2 of 12 files .*: train/0\.png \({words}\), testannot/1\.png \(not there\); wanted .*repository"
        with pytest.raises(UserError, match=expected):
            download("tiny", tmp_path / "data", source)
    assert len(asked) <= 1, "a wrong file is no broken connection"
    assert not (tmp_path / "data").exists()
    kept = placed(ORIGINAL)
    del kept["train/images/0.png"], kept["test/masks/1.png"]
    assert tree(tmp_path / ".data.partial") == kept
    download("tiny", tmp_path / "data", tiny)
    assert_complete(tmp_path / "data")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "nowhere: no such file or folder; --from wants a copy of https://host/repository"),
        ("original/CamVid/train", r"train: no folder here holds train/, trainannot/, .*--from wants"),
        ("manifest.csv", r"manifest.csv: not a readable .zip, .tar or .tar.gz \("),
        ("original/CamVid/train/0.png", "not a readable"),
        ("empty", "not a readable"),
    ],
)
def test_no_source(tmp_path, source, words):
    (tmp_path / "empty").touch()
    before = tree(tmp_path)
    with pytest.raises(UserError, match=words):
        download("tiny", tmp_path / "data", tmp_path / source)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("../../train/0.png", {}),
        ("a/../train/0.png", {}),
        ("/train/0.png", {}),
        ("{tmp}/train/0.png", {}),
        ("train/0.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("train/0.png", {"type": tarfile.SYMTYPE, "linkname": "right"}),
        ("train/0.png", {"type": tarfile.LNKTYPE, "linkname": "right"}),
        ("train/0.png", {"type": tarfile.CHRTYPE}),
        ("train/0.png", {"type": tarfile.FIFOTYPE}),
        ("train/0.png", {"type": tarfile.DIRTYPE}),
    ],
)
def test_hostile_members_are_not_the_file_and_write_nowhere(tmp_path, name, attributes):
    data = b"" if attributes else ORIGINAL[FIRST]
    others = [(path, data, {}) for path, data in ORIGINAL.items() if path != FIRST]
    archive = tar_of(
        tmp_path / "archive",
        ("right", ORIGINAL[FIRST], {}),
        ("train", b"", {"type": tarfile.SYMTYPE, "linkname": str(tmp_path / "original")}),
        (name.format(tmp=tmp_path), data, attributes),
        ("../evil", b"evil", {}),
        (f"{tmp_path}/evil", b"evil", {}),
        *others,
    )
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"1 of 12 files .*train/0\.png \(not there\)"):
        download("tiny", tmp_path / "data", archive)
    kept = placed({path: data for path, data, _ in others})
    assert tree(tmp_path) == before | {f".data.partial/{place}": data for place, data in kept.items()}
    assert not (tmp_path.parent / "evil").exists()


def test_hostile_zip(tmp_path):
    link = zipfile.ZipInfo("train/0.png")
    link.external_attr = 0o120777 << 16
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        warnings.simplefilter("ignore")  # of names that stand twice
        archive.writestr(link, "/etc/passwd")
        archive.writestr("train/0.png", ORIGINAL[FIRST])
        archive.writestr("../../train/1.png", ORIGINAL["train/1.png"])
        archive.writestr("/val/0.png", ORIGINAL["val/0.png"])
    before = tree(tmp_path)
    words = r"12 of 12 files .*train/0\.png \(11 bytes, 9000 wanted\), train/1\.png \(not there\), "
    with pytest.raises(UserError, match=words):
        download("tiny", tmp_path / "data", tmp_path / "archive")
    assert tree(tmp_path) == before, "the first of two members counts, and it is wrong"


@contextmanager
def little_memory():
    """The block inside needs less than 3 MB at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 3 * 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
def test_a_bomb_in_the_place_of_a_file_is_cut_off(tmp_path, tiny, form):
    """30 MB where 9,000 bytes are wanted: no more than 9,001 are read."""
    zeros, source = bytes(30 * 10**6), tmp_path / "archive"
    if form == "folder":
        source = tiny
        (tiny / "CamVid" / FIRST).write_bytes(zeros)
    elif form == "zip":
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(FIRST, zeros)
    else:
        source.write_bytes(pack({FIRST: zeros}, form))
    with little_memory(), pytest.raises(UserError, match=r"train/0\.png \(more than 9000 bytes\)"):
        download("tiny", tmp_path / "data", source)
    assert not (tmp_path / ".data.partial" / LAYOUT["train"] / "0.png").exists()


def test_many_members_need_little_memory(tmp_path):
    (tmp_path / "archive").write_bytes(gzip.compress(MEMBER * 10_000))
    with little_memory(), pytest.raises(UserError, match="12 of 12 files"):
        download("tiny", tmp_path / "data", tmp_path / "archive")


def test_a_bomb_beside_the_files_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 10**6)
    (tmp_path / "archive").write_bytes(pack({"bomb": bytes(10**7), **ORIGINAL}, "tar.gz"))
    with pytest.raises(UserError, match=r"more than 1 MB.*name the folder with --from"):
        download("tiny", tmp_path / "data", tmp_path / "archive")
    assert not (tmp_path / ".data.partial").exists()


def test_nothing_is_read_beyond_the_last_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 10**6)
    (tmp_path / "archive").write_bytes(pack({**ORIGINAL, "bomb": bytes(10**7)}, "tar.gz"))
    download("tiny", tmp_path / "data", tmp_path / "archive")
    assert_complete(tmp_path / "data")


@pytest.mark.parametrize(("field", "value", "words"), [(8, 1, "encrypted"), (10, 99, "not supported")])
def test_a_zip_that_cannot_be_unpacked(tmp_path, field, value, words):
    packed = bytearray(pack(ORIGINAL, "zip"))
    packed[packed.index(b"PK\1\2") + field] = value  # of the first entry: flags, or the compression method
    (tmp_path / "archive").write_bytes(packed)
    with pytest.raises(UserError, match=f"archive: not a readable .*{words}"):
        download("tiny", tmp_path / "data", tmp_path / "archive")


@settings(max_examples=150, deadline=None)
@given(form=st.sampled_from(["zip", "tar", "tar.gz"]), data=st.data())
def test_a_damaged_archive_is_refused_or_read_right(form, data):
    packed = bytearray(pack(ORIGINAL, form))
    for place in data.draw(st.lists(st.integers(0, len(packed) - 1), max_size=4)):
        packed[place] = data.draw(st.integers(0, 255))
    # Headers take part in few of the bytes: damage them on purpose as well.
    for place in data.draw(st.lists(st.integers(0, 511), max_size=4)):
        packed[place] = data.draw(st.integers(0, 255))
    refuse_or_read(bytes(packed[: data.draw(st.integers(0, len(packed)) | st.just(len(packed)))]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1) | st.sampled_from(list(ORIGINAL)), st.sampled_from(b"01256xg"))))
def test_any_names_and_kinds_of_members(members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", errors="surrogatepass") as archive:
        for name, kind in members:
            add(archive, name.replace("\0", "/"), type=bytes([kind]), linkname="/etc/passwd")
    refuse_or_read(packed.getvalue())


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([b"", b"PK\3\4", b"\x1f\x8b\x08", b"\x1f\x8b\x08\0\0\0\0\0\0\3"]), st.binary(max_size=2000))
def test_any_bytes(magic, rest):
    refuse_or_read(magic + rest)


def refuse_or_read(packed: bytes) -> None:
    """Whatever the archive: the whole data set and nothing else, or a UserError and nothing but right files."""
    with tempfile.TemporaryDirectory() as folder:
        archive, data = Path(folder) / "archive", Path(folder) / "data"
        archive.write_bytes(packed)
        try:
            download("tiny", data, archive)
        except UserError:
            assert not data.exists()
            assert tree(data.with_name(".data.partial")).items() <= placed(ORIGINAL).items()
        else:
            assert_complete(data)
        assert {path.name for path in Path(folder).iterdir()} <= {"archive", "data", ".data.partial"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_download_leaves_no_destination(tmp_path, tiny, monkeypatch, error):
    write, written = Path.write_bytes, []

    def write_three(path, data):
        if len(written) == 3:
            write(path, data[:100])
            raise error
        written.append(path)
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_three)
        with pytest.raises(type(error)) as raised:
            download("tiny", tmp_path / "data", tiny)
    words = "No space left" if isinstance(error, OSError) else r"arrived waits in .*\.data\.partial/; the same command"
    assert re.search(words, str(raised.value))
    assert not (tmp_path / "data").exists()
    assert len(tree(tmp_path / ".data.partial")) == 4
    download("tiny", tmp_path / "data", tiny)
    assert_complete(tmp_path / "data")


def test_too_little_space_is_said_before_anything_is_asked_for(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with serving(monkeypatch, 500) as asked, pytest.raises(UserError, match=r"0 MB are free, 0 MB wanted; free some"):
        download("tiny", tmp_path / "data")
    assert not asked


def test_camvid():
    entry = DATASETS["camvid"]
    with open(entry.manifest, newline="") as table:
        rows = list(csv.DictReader(table))
    folders = Counter(row["path"].split("/")[0] for row in rows)
    assert folders == {"train": 367, "trainannot": 367, "val": 101, "valannot": 101, "test": 233, "testannot": 233}
    assert len({row["path"] for row in rows}) == len(rows) == 1402
    assert all(re.fullmatch(r"[a-z]+/\w+\.png", row["path"]) for row in rows)
    assert all(re.fullmatch("[0-9a-f]{64}", row["sha256"]) and 0 < int(row["bytes"]) < 10**6 for row in rows)
    names = [row["path"].replace("annot/", "/") for row in rows]
    assert set(Counter(names).values()) == {2}, "each frame has its mask"
    assert sum(int(row["bytes"]) for row in rows) == 186_792_534 < module.LIMIT

    assert entry.layout == LAYOUT
    assert entry.commit in entry.url and entry.url.startswith("https://")
    assert [entry["value"] for entry in entry.classes["classes"]] == list(range(11))
    assert entry.classes["void"] == [11]
    assert len({tuple(entry["color"]) for entry in entry.classes["classes"]} | {(0, 0, 0)}) == 12


def test_camvid_masks_are_right_and_re_encoded_images_refused(tmp_path, camvid):
    for place, folder in (
        ("train/images", "train"),
        ("train/masks", "trainannot"),
        ("val/images", "val"),
        ("val/masks", "valannot"),
    ):
        (tmp_path / "copy" / folder).mkdir(parents=True)
        for path in (camvid / place).iterdir():
            (tmp_path / "copy" / folder / f"{path.stem}.png").symlink_to(path)
    for folder in ("test", "testannot"):
        (tmp_path / "copy" / folder).mkdir()
    with pytest.raises(UserError, match=rf"{2 * 233 + 367 + 101} of 1402 files .*train/0001TP_006690\.png \("):
        download("camvid", tmp_path / "data", tmp_path / "copy")
    kept = list((tmp_path / ".data.partial").rglob("*.png"))
    assert len(kept) == 367 + 101
    assert {path.parent.name for path in kept} == {"masks"}


def test_of_two_downloads_at_once_the_second_is_told_of_the_first(tmp_path, tiny):
    with (
        claimed_folder(tmp_path / ".data.partial", "here"),
        pytest.raises(UserError, match=r"another process is downloading to .*data; wait for its end"),
    ):
        download("tiny", tmp_path / "data", tiny)
    download("tiny", tmp_path / "data", tiny)
    assert_complete(tmp_path / "data")


def test_a_download_that_another_process_has_just_ended(tmp_path, tiny, monkeypatch, capsys):
    """Between the first look and the claim: what the other one made is checked, and nothing is fetched."""

    @contextmanager
    def claimed_late(staging, doing):
        monkeypatch.setattr(module, "claimed_folder", claimed_folder)
        download("tiny", tmp_path / "data", tiny)
        with claimed_folder(staging, doing):
            yield

    monkeypatch.setattr(module, "claimed_folder", claimed_late)
    download("tiny", tmp_path / "data", tmp_path / "no-such-source")
    assert "was there already; each of its 12 files is the right one" in capsys.readouterr().out
    assert_complete(tmp_path / "data")


def test_a_destination_of_the_longest_name(tmp_path, tiny):
    download("tiny", tmp_path / ("ä" * 127), tiny)
    assert (tmp_path / ("ä" * 127) / "SOURCE.txt").is_file()
