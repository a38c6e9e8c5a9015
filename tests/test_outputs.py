"""Nothing that a command did not write is removed or replaced, whatever comes to be while it works."""

import errno
import multiprocessing
import os
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder, save

import data_pipeline.importing.golfscape as golfscape
import data_pipeline.outputs as outputs
from data_pipeline.checking.check import check
from data_pipeline.command import UserError
from data_pipeline.files import write_json, write_text
from data_pipeline.importing.convert import convert
from data_pipeline.importing.tile import tile
from data_pipeline.outputs import (
    claimed_folder,
    held,
    new_folder,
    refuse_long_name,
    remove_folder,
    remove_left,
    replace_folder,
    unfinished_name,
    write_atomically,
)
from data_pipeline.source import Source
from engine.config import TrainConfig
from engine.preview import preview
from engine.run import Run

FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["one step", "systems without renameat2"])
def system(request, monkeypatch):
    if request.param != "one step":
        monkeypatch.setattr(outputs, "renamed", lambda *_: False)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def write_a(folder: Path) -> None:
    (folder / "a").write_text("new")


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_came_to_be_meanwhile_stays(tmp_path, system, kind):
    target = tmp_path / "out"
    with pytest.raises(UserError, match=r"out exists now: .*Nothing was overwritten"), new_folder(target) as fresh:
        write_a(fresh)
        if kind == "folder":
            target.mkdir()
            (target / "mine").write_text("mine")
        elif kind == "file":
            target.write_text("mine")
        else:
            target.symlink_to(tmp_path / "nowhere")
    assert names(tmp_path) == (["out", "out/mine"] if kind == "folder" else ["out"])


def test_an_empty_folder_that_came_to_be_meanwhile_stays(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(UserError, match="out exists now"), new_folder(target) as fresh:
        write_a(fresh)
        target.mkdir()
    assert names(tmp_path) == ["out"]


def test_a_file_that_came_to_be_meanwhile_stays(tmp_path, system):
    target = tmp_path / "out.json"
    with pytest.raises(UserError, match="exists now"), write_atomically(target, replace=False) as temporary:
        temporary.write_text("new")
        target.write_text("mine")
    assert target.read_text() == "mine" and names(tmp_path) == ["out.json"]
    write_json(tmp_path / "other.json", 1, replace=False)
    assert names(tmp_path) == ["other.json", "out.json"]


def create(path: Path, barrier, results) -> None:
    barrier.wait()
    try:
        Run.create(path, {"config.json": {"pid": os.getpid()}})
    except UserError as error:
        results.put(str(error))
    else:
        results.put(str(os.getpid()))


def test_of_processes_that_create_one_run_one_succeeds(tmp_path):
    for number in range(20):
        barrier, results = FORK.Barrier(3), FORK.SimpleQueue()
        processes = [FORK.Process(target=create, args=(tmp_path / str(number), barrier, results)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        done = sorted((results.get() for _ in processes), key=len)
        assert (tmp_path / str(number) / "config.json").read_text() == f'{{\n  "pid": {done[0]}\n}}\n'
        assert all("exists" in words for words in done[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, range(20)))


def meanwhile(monkeypatch, module, target: Path) -> None:
    """When ``module`` writes classes.json, something is at the destination."""

    def write(path, value):
        target.mkdir()
        (target / "mine").write_text("mine")
        write_json(path, value)

    monkeypatch.setattr(module, "write_json", write)


def test_golfscape_tile_and_convert_leave_what_came_to_be(tmp_path, monkeypatch):
    import data_pipeline.importing.convert as convert_module
    import data_pipeline.importing.tile as tile_module

    make_folder(tmp_path / "d", 2, size=40)
    annotations = {
        "images": [{"id": 1, "file_name": "images/item000.png", "height": 40, "width": 40}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}],
    }
    write_json(tmp_path / "d/coco.json", annotations)
    commands = {
        golfscape: lambda out: golfscape.write_scenes(out, 2, knobs=golfscape.Knobs(size=32)),
        tile_module: lambda out: tile(Source(data=tmp_path / "d"), out, 32),
        convert_module: lambda out: convert(tmp_path / "d/coco.json", out, "coco"),
    }
    for number, (module, command) in enumerate(commands.items()):
        target = tmp_path / "outs" / str(number)
        meanwhile(monkeypatch, module, target)
        with pytest.raises(UserError, match="exists now"):
            command(target)
        assert names(target) == ["mine"]
    assert names(tmp_path / "outs") == ["0", "0/mine", "1", "1/mine", "2", "2/mine"]


def test_only_what_was_written_here_is_replaced(tmp_path, system):
    target = tmp_path / "evaluation"
    for round in ("one", "two"):
        with replace_folder(target, ["a", "pictures/*.png"]) as fresh:
            write_text(fresh / "a", round)
            write_text(fresh / "pictures/x.png", round)
    assert (target / "a").read_text() == "two" and names(tmp_path)[0] == "evaluation" and len(names(tmp_path)) == 4

    def again():
        with replace_folder(target, ["a", "pictures/*.png"]) as fresh:
            write_text(fresh / "a", "three")
            write_text(target / "notes.txt", "mine")

    words = r"evaluation is to be replaced, and holds what this command did not write: notes.txt; move that away"
    with pytest.raises(UserError, match=words):
        again()
    with pytest.raises(UserError, match=words), replace_folder(target, ["a", "pictures/*.png"]):
        raise AssertionError("refused before the work")
    assert (target / "a").read_text() == "two" and (target / "notes.txt").read_text() == "mine"


def killed_at_once(folder: Path, made) -> None:
    with new_folder(folder / "out") as fresh, write_atomically(folder / "out.json") as temporary:
        write_a(fresh)
        temporary.write_text("half")
        made.set()
        time.sleep(60)


def test_what_a_killed_process_left_is_removed_by_the_next_command_alone(tmp_path):
    """As long as its process lives, it is left alone; so is everything of another name."""
    made = FORK.Event()
    process = FORK.Process(target=killed_at_once, args=(tmp_path, made))
    process.start()
    assert made.wait(30)
    bystanders = [".unfinished", ".unfinished-notes", ".12.out.json", ".out-abc"]
    for name in bystanders:
        save(tmp_path / name / "x.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "target").write_text("mine")
    (tmp_path / unfinished_name()).symlink_to(tmp_path / "target")
    kept = names(tmp_path)
    remove_left(tmp_path)
    assert names(tmp_path) == kept
    process.kill()
    process.join()
    with new_folder(tmp_path / "next") as fresh:
        write_a(fresh)
    links = [path.name for path in tmp_path.iterdir() if path.is_symlink()]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*bystanders, *links, "next", "target"])


def test_a_folder_is_held_by_one_process(tmp_path):
    with claimed_folder(tmp_path / "staging", "working"):
        write_a(tmp_path / "staging")
        with (
            pytest.raises(UserError, match="another process is working; wait"),
            claimed_folder(tmp_path / "staging", "working"),
        ):
            raise AssertionError
    with claimed_folder(tmp_path / "staging", "working"):
        (tmp_path / "staging/a").unlink()
    assert not (tmp_path / "staging").exists(), "an empty one stays for nothing"


def test_file_systems_without_locks_are_written_to_and_nothing_is_removed(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(outputs.fcntl, "flock", no_locks)
    left = tmp_path / unfinished_name()
    left.mkdir()
    with new_folder(tmp_path / "out") as fresh, claimed_folder(tmp_path / "staging", "working"):
        write_a(fresh)
    write_text(tmp_path / "text", "x")
    assert names(tmp_path) == sorted([left.name, "out", "out/a", "text"])


def test_names_may_be_as_long_as_file_systems_take(tmp_path):
    write_text(tmp_path / ("ä" * 125 + ".json"), "x")
    with new_folder(tmp_path / ("n" * 255)) as fresh:
        write_a(fresh)
    refuse_long_name(tmp_path / ("ä" * 125 + ".json"))
    with pytest.raises(UserError, match="it has 256 bytes; 255 are the most"):
        refuse_long_name(tmp_path / ("n" * 252 + ".png"))
    make_folder(tmp_path / "d", 1, size=32, name="n" * 245)
    with pytest.raises(UserError, match="give the image a shorter name"):
        tile(Source(data=tmp_path / "d"), tmp_path / "tiles", 32)
    assert not (tmp_path / "tiles").exists()


def test_a_removed_folder_is_gone_at_once(tmp_path, monkeypatch):
    """Killed in the middle, no half of it has its name, and the next command removes the rest."""
    write_text(tmp_path / "run/resume/1.npz", "x")
    with monkeypatch.context() as patched:
        patched.setattr(outputs.shutil, "rmtree", lambda *_, **__: None)
        remove_folder(tmp_path / "run/resume")
    assert not (tmp_path / "run/resume").exists() and len(names(tmp_path / "run")) == 2
    remove_left(tmp_path / "run")
    assert names(tmp_path / "run") == []


def test_a_lock_of_what_is_being_made_goes_with_others_of_its_kind(tmp_path):
    with ExitStack() as locks:
        locks.enter_context(held(tmp_path))
        locks.enter_context(held(tmp_path))
        with pytest.raises(BlockingIOError):
            locks.enter_context(held(tmp_path, alone=True))


def check_with(flag: str):
    return lambda data, path, overwrite: check(Source(data=data), **{flag: path}, overwrite=overwrite)


def preview_to(data: Path, path: Path, overwrite: bool) -> None:
    preview(TrainConfig(data=data, augment="none"), path, count=1, variations=1, overwrite=overwrite)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    """Pairs, one of them with an empty mask, so that there is a finding to draw."""
    folder = make_folder(tmp_path_factory.mktemp("data") / "d", 12, size=40)
    save(folder / "masks/item003.png", np.zeros((40, 40), np.uint8))
    return folder


@pytest.mark.parametrize(
    ("flag", "command", "name"),
    [
        ("--json", check_with("json"), "a.json"),
        ("--groups", check_with("groups"), "a.csv"),
        ("--sheet", check_with("sheet"), "a.png"),
        ("--out", preview_to, "a.png"),
    ],
)
def test_a_file_that_exists_is_replaced_only_if_asked(data_set, tmp_path, flag, command, name):
    path = tmp_path / name
    path.write_text("mine")
    with pytest.raises(UserError, match=f"{flag} .*{name} exists; name another file, or add --overwrite"):
        command(data_set, path, False)
    assert path.read_text() == "mine"
    command(data_set, path, True)
    assert path.read_bytes() != b"mine"
    command(data_set, tmp_path / f"other-{name}", False)
    assert sorted(names(tmp_path)) == [name, f"other-{name}"]


@pytest.mark.parametrize(("flag", "command"), [("--sheet", check_with("sheet")), ("--out", preview_to)])
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_of_the_data_set_is_never_replaced(data_set, flag, command, kind):
    path = data_set / kind / "item001.png"
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"{flag} .* is a file of the data set; name another one"):
        command(data_set, path, True)
    assert path.read_bytes() == before


def test_the_table_of_pairs_that_is_read_is_never_replaced(data_set, tmp_path):
    table = tmp_path / "pairs.csv"
    check(Source(data=data_set), groups=table)
    with pytest.raises(UserError, match=r"--groups .* is a file of the data set"):
        check(Source(data=table), groups=table, overwrite=True)


def test_check_writes_what_is_asked_for_and_nothing_else(data_set, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check(Source(data=data_set))
    assert not list(tmp_path.iterdir())
    assert "note: --sheet FILE.png draws the worst" in capsys.readouterr().out
