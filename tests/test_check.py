"""The check command: every planted fault is found by name, clean data raise none, and statistics find drifted masks."""

import json
import shutil

import numpy as np
import pytest
from conftest import run_script, save
from PIL import Image

from data_pipeline.checking import check
from data_pipeline.dataset import DataSet
from data_pipeline.files import read_image, write_mask
from data_pipeline.findings import Finding, print_findings
from data_pipeline.importing.golfscape import CLASSES, Knobs, scene, write_scenes
from data_pipeline.masks import read_raw
from data_pipeline.source import Source

PALETTE = [entry["color"] for entry in CLASSES["classes"]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """300 golfscape scenes of 128×128 pixels."""
    folder = tmp_path_factory.mktemp("scenes") / "golf"
    write_scenes(folder, 300, seed=1, knobs=Knobs(size=128))
    return folder


@pytest.fixture
def copy(scenes, tmp_path):
    return shutil.copytree(scenes, tmp_path / "golf")


def image(folder, index):
    return folder / f"images/scene_{index:04d}.png"


def mask(folder, index):
    return folder / f"masks/scene_{index:04d}.png"


def change_mask(folder, index, change):
    raw, _ = read_raw(mask(folder, index))
    write_mask(mask(folder, index), np.ascontiguousarray(change(raw)).astype(np.uint8), PALETTE)


def shifted(raw, right, down=0):
    moved = np.roll(raw, (down, right), (0, 1))
    moved[:, :right] = 0
    moved[:down] = 0
    return moved


def survey(data, **reading):
    return check.survey(Source(data=data, **reading))[0]


def kinds(dataset, level=None):
    return {finding.kind for finding in dataset.findings if level in (None, finding.level)}


def names(dataset, kind):
    """Stems of the files of a kind of finding."""
    files = [file for finding in dataset.findings if finding.kind == kind for file in finding.files]
    return {file.rsplit("/", 1)[-1].rsplit(".", 1)[0] for file in files}


def scene_names(*indices):
    return {f"scene_{index:04d}" for index in indices}


def test_clean_scenes_raise_nothing(scenes):
    dataset = survey(scenes)
    assert kinds(dataset, "error") == kinds(dataset, "warning") == set()
    assert len(dataset.split.train) == 210


def plant_all(folder):
    """Eighteen kinds of fault in 300 pairs, each at places of its own; what was planted, by kind."""
    image(folder, 0).unlink()  # its mask is an orphan
    mask(folder, 1).unlink()
    save(image(folder, 2).with_suffix(".jpg"), read_image(image(folder, 2)))
    image(folder, 3).write_bytes(image(folder, 3).read_bytes()[:2000])
    mask(folder, 4).write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    change_mask(folder, 5, lambda raw: raw[:50])
    change_mask(folder, 6, lambda raw: np.where(np.arange(128) < 3, 9, raw))
    change_mask(folder, 7, lambda raw: raw * 0)
    save(image(folder, 8), np.zeros((128, 128), np.uint16))
    write_mask(mask(folder, 9), read_raw(mask(folder, 9))[0].astype(np.uint8), PALETTE[::-1])
    save(image(folder, 10), np.zeros((128, 128, 3), np.uint8) + 77)
    save(image(folder, 11), (read_image(image(folder, 11)) * 0.12).astype(np.uint8))
    for path in (image(folder, 12), mask(folder, 12)):
        picture = Image.open(path)
        picture.resize((512, 512), Image.Resampling.NEAREST).save(path)
    for index in range(20, 26):  # copies of other scenes, as a second export makes them
        original = Image.fromarray(read_image(image(folder, index + 200)))
        original.resize((90, 90)).resize((128, 128)).point(lambda level: level * 0.95 + 4).save(image(folder, index))
        shutil.copy(mask(folder, index + 200), mask(folder, index))
    for index in (40, 41, 42):
        change_mask(folder, index, lambda raw: raw[:, ::-1])
    for one, other in ((50, 51), (52, 53)):
        mask(folder, one).rename(folder / "swap.png")
        mask(folder, other).rename(mask(folder, one))
        (folder / "swap.png").rename(mask(folder, other))
    save(mask(folder, 60), read_image(image(folder, 61)))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(read_image(image(folder, 70))[:100])
    picture.save(image(folder, 70), exif=exif)
    change_mask(folder, 70, lambda raw: raw[:100])
    return {
        "orphan-mask": scene_names(0),
        "image-without-mask": scene_names(1),
        "duplicate-stem": scene_names(2),
        "unreadable-image": scene_names(3),
        "unreadable-mask": scene_names(4),
        "size-mismatch": scene_names(5, 70),
        "unknown-label": scene_names(6),
        "empty-mask": scene_names(7),
        "mixed-images": scene_names(8),
        "mixed-palettes": scene_names(9),
        "blank-image": scene_names(10),
        "brightness": scene_names(11),
        "size-outlier": scene_names(12),
    }


def test_every_planted_fault_is_found(copy, tmp_path):
    planted = plant_all(copy)
    done = run_script(
        *("-m", "data_pipeline", "check", copy, "--json", "found.json", "--groups", copy / "g.csv"),
        *("--sheet", "worst.png"),
        cwd=tmp_path,
    )
    assert done.returncode == 1 and "fix the errors first" in done.stderr and "Traceback" not in done.stderr
    stored = json.loads((tmp_path / "found.json").read_text())
    datasets = {}
    for finding in stored["findings"]:
        stems = {file.rsplit("/", 1)[-1].rsplit(".", 1)[0] for file in finding["files"]}
        datasets[finding["kind"]] = datasets.get(finding["kind"], set()) | stems
    for kind, stems in planted.items():
        assert stems <= datasets[kind], kind
        if kind not in ("orphan-mask", "empty-mask"):  # the duplicate's mask is an orphan too; a blank scene's is empty
            assert datasets[kind] == stems, kind
    assert scene_names(60) <= datasets.get("mixed-masks", set()) | datasets.get("photograph", set())
    copies = datasets["near-copies"] | datasets.get("near-copies-inside", set())
    assert scene_names(*range(20, 26), *range(220, 226)) == copies
    suspected = datasets["misplaced-mask"] | datasets["stranger-mask"]
    assert scene_names(40, 41, 42, 50, 51, 52, 53) <= suspected
    assert suspected - scene_names(40, 41, 42, 50, 51, 52, 53) <= scene_names(10, 11), (
        "no false alarm but the blank image"
    )
    sheet = Image.open(tmp_path / "worst.png")
    assert sheet.width > 500 and sheet.height > 500
    groups = (copy / "g.csv").read_text().splitlines()
    assert groups[0] == "image,mask,group"
    of = {line.split(",")[0][-14:-4]: line.split(",")[2] for line in groups[1:]}
    assert all(of[f"scene_{i:04d}"] == of[f"scene_{i + 200:04d}"] for i in range(20, 26))


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (lambda raws: raws[7:] + raws[:7], "shuffled-masks", "may be paired wrongly"),
        (lambda raws: [shifted(raw, 8) for raw in raws], "shifted-masks", "8 px left of where they lie"),
        (lambda raws: [shifted(raw, 0, 5) for raw in raws], "shifted-masks", "5 px up of where"),
        (lambda raws: [raw[::-1] for raw in raws], "flipped-masks", "upside down"),
        (lambda raws: [raw[:, ::-1] for raw in raws], "flipped-masks", "mirrored left to right"),
    ],
)
def test_drifted_masks_are_reported(copy, fault, kind, words):
    indices = range(0, 300, 3)
    for index in set(range(300)) - set(indices):
        image(copy, index).unlink()
        mask(copy, index).unlink()
    raws = fault([read_raw(mask(copy, index))[0] for index in indices])
    for index, raw in zip(indices, raws, strict=True):
        write_mask(mask(copy, index), np.ascontiguousarray(raw).astype(np.uint8), PALETTE)
    dataset = survey(copy)
    assert kinds(dataset, "warning") == {kind}
    assert any(words in str(finding) for finding in dataset.findings)


def test_single_moved_masks_are_found_in_part(copy):
    """Golfscape's shadows imitate moved masks, so one moved by 8 pixels is not always told; no other is accused."""
    moved = scene_names(*range(100, 120))
    for index in range(100, 120):
        change_mask(copy, index, lambda raw: shifted(raw, 8))
    suspected = names(survey(copy), "misplaced-mask")
    assert suspected <= moved and len(suspected) >= 6


def test_camvid_has_no_error_and_drifted_masks_are_reported(camvid, tmp_path):
    dataset = survey(camvid, void=(11,))
    assert kinds(dataset, "error") == set()
    assert kinds(dataset, "warning") == {"sequence-across-split"}
    for fault, kind in (("shuffle", "shuffled-masks"), ("shift", "shifted-masks")):
        folder = tmp_path / fault / "val"
        (folder / "masks").mkdir(parents=True)
        shutil.copytree(camvid / "val/images", folder / "images")
        shutil.copytree(camvid / "train/images", folder.parent / "train/images")
        (folder.parent / "train/masks").mkdir()
        for part in ("train", "val"):
            paths = sorted((camvid / part / "masks").iterdir())
            others = np.random.default_rng(0).permutation(len(paths)) if fault == "shuffle" else range(len(paths))
            for path, other in zip(paths, others, strict=True):
                raw = read_raw(paths[other])[0].astype(np.uint8)
                save(folder.parent / part / "masks" / path.name, np.roll(raw, 8, 1) if fault == "shift" else raw)
        assert kind in kinds(survey(folder.parent, void=(11,)), "warning")


def test_a_rare_class_and_one_that_a_part_lacks(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        labels = np.zeros((32, 32), np.uint8)
        labels[8:16, 8:16] = 1
        if i < 2:
            labels[0, :4] = 2
        save(tmp_path / f"images/{i:02d}.png", rng.integers(0, 255, (32, 32, 3)).astype(np.uint8))
        save(tmp_path / f"masks/{i:02d}.png", labels)
    classes = [{"name": name} for name in ("ground", "square", "void")]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes}))
    dataset = survey(tmp_path)
    assert {"absent-class", "void-as-class"} <= kinds(dataset, "warning")
    assert any("no val image holds void" in str(f) or "no test image holds void" in str(f) for f in dataset.findings)


def test_leaks_of_a_fixed_split_are_warnings(scenes, tmp_path):
    for part, indices in (("train", range(20)), ("val", range(10, 24))):
        for index in indices:
            for kind in ("images", "masks"):
                target = tmp_path / part / kind / f"{part}{index}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(scenes / kind / f"scene_{index:04d}.png", target)
    shutil.copy(scenes / "classes.json", tmp_path)
    dataset = survey(tmp_path)
    assert kinds(dataset, "error") == set()
    assert len(names(dataset, "near-copies-fixed-split")) == 20


def test_a_group_expression_is_proposed(scenes, tmp_path):
    """Two exports of each scene, told by their names: the remedy's --group-by mends the leak."""
    for index in range(30):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            for number in (1, 2):
                target = tmp_path / kind / f"hole{chr(65 + index % 26)}{index // 26}x-{number}.png"
                shutil.copy(scenes / kind / f"scene_{index:04d}.png", target)
    shutil.copy(scenes / "classes.json", tmp_path)
    leak = next(finding for finding in survey(tmp_path).findings if finding.kind == "near-copies")
    expression = leak.remedy.split("--group-by '")[1].split("'")[0]
    assert "near-copies" not in kinds(survey(tmp_path, group_by=expression))


def test_check_of_a_good_folder_ends_with_the_next_command(scenes, tmp_path):
    done = run_script("-m", "data_pipeline", "check", scenes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("No fault found. Next: python train.py --data")
    assert not list(tmp_path.iterdir()), "nothing is written that was not asked for"


def film(folder, name, frames, seed):
    """A window that glides over a large scene: frames that look alike, from far apart places ever less."""
    big, trees, _, _ = scene((9, seed), Knobs(size=256))
    for frame in range(frames):
        part = np.s_[frame * 4 : frame * 4 + 96, frame * 4 : frame * 4 + 96]
        save(folder / f"images/{name}_{frame:03d}.png", big[part])
        save(folder / f"masks/{name}_{frame:03d}.png", trees[part].astype(np.uint8))


def test_films_are_told_from_numbered_photographs(tmp_path, scenes):
    for number, name in enumerate("abcd"):
        film(tmp_path / "films", name, 30, number)
    assert "sequence-across-split" in kinds(survey(tmp_path / "films"))
    assert "sequence-across-split" not in kinds(survey(tmp_path / "films", group_by=r"^(.+?)[ _.-]*\d+$"))
    for index in range(90):
        for kind in ("images", "masks"):
            target = tmp_path / "photographs" / kind / f"{'abc'[index % 3]}_{index:03d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(scenes / kind / f"scene_{index:04d}.png", target)
    assert "sequence-across-split" not in kinds(survey(tmp_path / "photographs"))


@pytest.mark.parametrize("parts", [("train", "val"), ("train",), ("train", "val", "test")])
def test_everything_is_written_for_programs(scenes, tmp_path, parts):
    """Also where a part of the split does not exist."""
    for number, part in enumerate(parts):
        for kind in ("images", "masks"):
            (tmp_path / "d" / part / kind).mkdir(parents=True)
            for index in range(number * 20, number * 20 + 12):
                shutil.copy(scenes / kind / f"scene_{index:04d}.png", tmp_path / "d" / part / kind)
    done = run_script("-m", "data_pipeline", "check", "d", "--json", "found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "found.json").read_text())
    assert stored["pairs"] == 12 * len(parts) and stored["errors"] == 0
    assert stored["suggestion"].startswith("python train.py --data d")
    (proposed,) = done.stdout.partition("Next: ")[2].splitlines()
    reasons = [line for line in done.stdout.splitlines() if line.startswith("suggested: ")]
    assert proposed == stored["suggestion"] and reasons[0].startswith("suggested: --batch-size 16: frames of ")
    assert proposed.count(" --") == 1 + len(reasons), "every flag but --data has its reason"
    assert sum(map(len, stored["split"].values())) == 12 * len(parts)
    one = next(iter(stored["classes"].values()))
    assert set(one) == {"pixels", "train", "val", "test"} and (one["test"] > 0) == ("test" in parts)


def test_files_are_named_from_the_working_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    there = tmp_path.parent / "elsewhere"
    print_findings([Finding("note", "x", f"classes from {tmp_path / 'd/classes.json'}; not of {there}/a.png")])
    assert capsys.readouterr().out == f"note: classes from d/classes.json; not of {there}/a.png\n"


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((), ""),
        (("error", "note"), "1 error"),
        (("error", "error", "warning"), "2 errors and 1 warning"),
        (("warning",) * 2, "2 warnings"),
    ],
)
def test_findings_are_counted_in_words(levels, words):
    dataset = DataSet(Source(data=None), [], [Finding(level, "x", "") for level in levels])
    assert check.counted(dataset) == words
