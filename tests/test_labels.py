"""Images with one label each: folders of classes, labels read off masks, and how many bits labels hold."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder, save, shapes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.inspection import inspect
from data_pipeline.label_bits import class_bits, mask_bits
from data_pipeline.labels import (
    Photo,
    find_photos,
    first_of_each,
    image_of,
    label_names,
    label_of_pixels,
    parse_rule,
    photos_from_masks,
)
from data_pipeline.pairs import find_pairs
from data_pipeline.split import Split, make_split

ENCODING = Encoding(("ground", "tree", "car"), (0, 1, 2), ((0, 0, 0), (0, 255, 0), (255, 0, 0)))


def make_classes(folder: Path, counts: dict[str, int], size: int = 24) -> Path:
    """DIR/CLASS/NAME.png of noise; every file differs."""
    for place, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            save(folder / name / f"{Path(name).name}{index}.png", shapes(1000 * place + index, size)[0])
    return folder


def errors(root: Path) -> list[str]:
    return [str(finding) for finding in find_photos(root).findings if finding.level == "error"]


def test_a_folder_for_each_class(tmp_path):
    data = find_photos(make_classes(tmp_path / "d", {"cat": 3, "ant": 2, ".hidden": 1}))
    assert data.names == ("ant", "cat") and data.sizes == {(24, 24)} and data.kind == ("uint8", 3)
    assert [(photo.stem, photo.label, photo.split) for photo in data.photos[:3]] == [
        ("ant/ant0", 0, None),
        ("ant/ant1", 0, None),
        ("cat/cat0", 1, None),
    ]
    assert data.findings == [] and data.presence().tolist() == [[True, False]] * 2 + [[False, True]] * 3


def test_parts_of_a_split_of_their_own(tmp_path):
    counts = {"train/cat": 3, "train/ant": 3, "validation/cat": 1, "validation/ant": 1}
    data = find_photos(make_classes(tmp_path / "d", counts))
    assert data.names == ("ant", "cat")
    assert [photo.split for photo in data.photos] == ["train"] * 6 + ["val"] * 2
    split = make_split(data.photos, data.presence(), 0)
    assert (len(split.train), len(split.val), len(split.test), split.fixed) == (6, 2, 0, True)
    stored = split.to_json(tmp_path)
    assert stored["val"][0]["image"].startswith("d/validation/")
    assert Split.from_json(stored, tmp_path, Photo).train[0].image.is_file()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"cat": 4}, "one class alone, cat"),
        ({"cat": 4, "dog": 0}, "dog: holds no image"),
        ({"cat": 4, "dog": 1}, "class dog has one image to train on; at least 2"),
        ({"train/cat": 4, "train/dog": 4, "val/cat": 1, "val/owl": 2}, "class owl has no image to train on"),
        ({"cat": 4, "dogs": 0, "dog": 1}, "class dog has one image to train on"),
        ({"train/cat": 4, "train/dog": 1, "val/cat": 1, "val/dog": 0}, "class dog has one image to train on"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path, counts, words):
    assert any(words in error for error in errors(make_classes(tmp_path / "d", counts)))


def test_damaged_and_odd_images_are_named(tmp_path):
    folder = make_classes(tmp_path / "d", {"cat": 4, "dog": 4})
    broken = folder / "cat/cat1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    save(folder / "dog/deep.png", np.full((8, 8), 40000, np.uint16))
    messages = errors(folder)
    assert len(messages) == 2
    assert str(broken) in messages[0] and "not a readable picture" in messages[0]
    assert str(folder / "dog/deep.png") in messages[1] and "not 3 channels of uint8 as the others" in messages[1]


def test_one_name_twice_in_a_class(tmp_path):
    folder = make_classes(tmp_path / "d", {"cat": 4, "dog": 4})
    save(folder / "cat/cat1.jpg", shapes(7)[0])
    assert any("cat1.jpg" in error and "rename one" in error for error in errors(folder))


def test_the_same_file_in_two_parts_or_classes_is_a_warning(tmp_path):
    folder = make_classes(tmp_path / "d", {"train/cat": 3, "train/dog": 3, "val/cat": 1, "val/dog": 1})
    shutil.copy(folder / "train/cat/cat1.png", folder / "val/dog/x.png")
    kinds = {finding.kind: str(finding) for finding in find_photos(folder).findings}
    assert set(kinds) == {"leak", "two-labels"}
    assert "2 files, byte for byte the same, stand in several parts" in kinds["leak"]


def test_copies_never_stand_on_both_sides_of_a_split_that_is_made(tmp_path):
    folder = make_classes(tmp_path / "d", {"cat": 4, "dog": 4})
    shutil.copy(folder / "cat/cat1.png", folder / "cat/z.png")
    shutil.copy(folder / "cat/cat2.png", folder / "dog/x.png")
    data = find_photos(folder)
    assert {photo.stem for photo in data.photos} == {"cat/cat0", "cat/cat1", "cat/cat3"} | {
        f"dog/dog{i}" for i in range(4)
    }
    (copies,) = [finding for finding in data.findings if finding.kind == "copies"]
    assert {Path(name).name for name in copies.files} == {"z.png", "cat2.png", "x.png"} and copies.level == "warning"
    assert len(find_photos(folder, to_train=False).photos) == 10  # scored as they are
    for index in range(3):
        shutil.copy(folder / "dog/dog0.png", folder / f"dog/dog{index + 1}.png")
    assert any("without copies, class dog has fewer than 2 images" in error for error in errors(folder))


def test_images_that_lie_where_none_is_looked_for_are_named(tmp_path):
    folder = make_classes(tmp_path / "d", {"cat": 2, "dog": 2, "dog/old": 2})
    save(folder / "stray.png", shapes(7)[0])
    data = find_photos(folder)
    assert len(data.photos) == 4
    (finding,) = data.findings
    assert finding.level == "warning" and set(finding.files) == {str(folder / "stray.png"), str(folder / "dog/old")}


@pytest.mark.parametrize("folders", [["images", "train"], []])
def test_no_folder_of_this_kind(tmp_path, folders):
    (tmp_path / "d").mkdir()
    for name in folders:
        (tmp_path / "d" / name).mkdir()
    with pytest.raises(UserError, match="a folder for each class"):
        find_photos(tmp_path / "d")
    with pytest.raises(UserError, match="no such folder"):
        find_photos(tmp_path / "nothing")


def test_labels_of_pixels_by_hand():
    pixels = np.array([[90, 6, 4], [90, 5, 5], [100, 0, 0], [0, 0, 3], [0, 0, 0]])
    assert label_of_pixels(pixels, "largest", ENCODING).tolist() == [0, 0, -1, 1, -1]  # of equals the first
    assert label_of_pixels(pixels, "presence:car", ENCODING).tolist() == [1, 1, 0, 1, -1]
    assert label_names("largest", ENCODING) == ("tree", "car")
    assert label_names("presence:car", ENCODING) == ("without car", "with car")
    assert label_names("centre", ENCODING) == ENCODING.names


@pytest.mark.parametrize("text", ["most", "presence", "presence:", "largest:car", "centre:car", ""])
def test_rules_that_are_none(text):
    with pytest.raises(UserError, match="largest, presence:CLASS or centre is wanted"):
        parse_rule(text)


def test_rules_that_these_masks_do_not_have():
    two = Encoding(("ground", "tree"), (0, 1), ENCODING.colors[:2])
    with pytest.raises(UserError, match="presence:bus: the masks' classes are ground, tree, car"):
        label_names("presence:bus", ENCODING)
    with pytest.raises(UserError, match="one foreground class, tree; with one class say presence:tree"):
        label_names("largest", two)


def test_masks_are_no_class_of_images(tmp_path):
    make_folder(tmp_path / "d", 3)
    with pytest.raises(UserError, match="a segmentation data set; say with --label-from-masks how"):
        find_photos(tmp_path / "d")


def test_what_is_scored_may_hold_one_class(tmp_path):
    folder = make_classes(tmp_path / "d", {"cat": 1, "dog": 0})
    assert len(errors(folder)) == 2 and not find_photos(folder, to_train=False).findings


def masks_and_split(folder: Path, **options):
    make_folder(folder, 20, size=40, num_classes=3)
    save(folder / "masks/item000.png", np.zeros((40, 40), np.uint8))  # no foreground
    pairs, _ = find_pairs(folder)
    data = inspect(folder, pairs)
    return data, make_split(data.pairs(), data.presence(), 0, **options)


def test_images_are_split_as_their_masks_are(tmp_path):
    data, split = masks_and_split(tmp_path / "d")
    labelled, findings = photos_from_masks(data, split, "largest", None)
    for part in ("train", "val", "test"):
        stems = [pair.stem for pair in split.part(part) if pair.stem != "item000"]
        assert [photo.stem for photo in labelled.part(part)] == stems
    assert "1 images have no label by --label-from-masks largest" in str(findings[0])


def test_tiles_are_labelled_by_their_centre(tmp_path):
    folder = tmp_path / "d"
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (6, 20, 31)).astype(np.uint8)
    masks[0, 8:, :8] = 9  # void, on disk
    for index, mask in enumerate(masks):
        save(folder / f"images/i{index}.png", rng.integers(0, 255, (20, 31, 3)).astype(np.uint8))
        save(folder / f"masks/i{index}.png", mask)
    pairs, _ = find_pairs(folder)
    data = inspect(folder, pairs, (9,))
    split = make_split(data.pairs(), data.presence(), 0)
    tiles = photos_from_masks(data, split, "centre", 8)[0].part("all")
    corners = {(y, x) for y in (0, 8) for x in (0, 8, 16)}
    assert {photo.stem for photo in tiles} == {
        f"i{index}_{y}_{x}" for index in range(6) for y, x in corners if (index, y, x) != (0, 8, 0)
    }
    for photo in tiles:
        y, x = photo.corner
        index = int(image_of(photo.stem)[1:])
        assert photo.label == masks[index, y + 4, x + 4] != VOID and photo.group == f"i{index}"


def test_the_first_of_each_class_are_nested():
    labels = np.random.default_rng(0).integers(0, 3, 40)
    photos = [Photo(str(i), Path(), int(label)) for i, label in enumerate(labels)]
    few, more = first_of_each(photos, 2), first_of_each(photos, 30)
    assert [sum(p.label == c for p in few) for c in range(3)] == [2, 2, 2]
    assert set(few) < set(more) == set(photos)


def test_bits_of_classes_by_hand():
    bits = class_bits(np.array([0, 0, 1, 2]), 4)
    assert bits == {"uniform": 2.0, "entropy": pytest.approx(1.5)}


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 1, VOID])))
def test_bits_of_a_mask_are_those_of_an_adaptive_code(mask):
    """Pixel by pixel, as a coder would: −log2 of what was expected of it after those before."""
    symbols = np.unique(mask).tolist()
    seen, bits = defaultdict(lambda: np.full(len(symbols), 0.5)), 0.0
    for y, x in np.ndindex(mask.shape):
        near = [(y, x - 1), (y - 1, x), (y - 1, x - 1), (y - 1, x + 1)]
        context = tuple(mask[at] if at[0] >= 0 and 0 <= at[1] < mask.shape[1] else None for at in near)
        counts, symbol = seen[context], symbols.index(mask[y, x])
        bits -= np.log2(counts[symbol] / counts.sum())
        counts[symbol] += 1
    assert mask_bits([mask]) == pytest.approx(bits, abs=1e-6)


def test_what_masks_share_costs_once():
    mask = shapes(3, size=64, num_classes=3)[1]
    alone, twice = mask_bits([mask]), mask_bits([mask, mask])
    assert 0 < alone < twice < 2 * alone and mask_bits([np.zeros((99, 99), np.uint8)]) == 0
