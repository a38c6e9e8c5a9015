"""From a folder to pairs, and every mistake on the way by name and with its remedy."""

import os

import numpy as np
import pytest
from conftest import make_folder, save, shapes, write_classes
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.files import read_image, write_mask
from data_pipeline.findings import refuse_errors
from data_pipeline.inspection import findings_on_split, fingerprint, inspect
from data_pipeline.outputs import write_atomically
from data_pipeline.pairs import find_pairs
from data_pipeline.split import make_split


def pairs_of(folder, **options):
    return find_pairs(folder, **options)[0]


@pytest.mark.parametrize(("images", "masks"), [("images", "masks"), ("image", "label"), ("imgs", "labels")])
def test_folder_names(tmp_path, images, masks):
    make_folder(tmp_path, 3)
    (tmp_path / "images").rename(tmp_path / images)
    (tmp_path / "masks").rename(tmp_path / masks)
    assert [pair.stem for pair in pairs_of(tmp_path)] == ["item000", "item001", "item002"]


def test_split_folders(tmp_path):
    for name in ("train", "validation", "test"):
        make_folder(tmp_path / name, 2)
    pairs = pairs_of(tmp_path)
    assert sorted({pair.split for pair in pairs}) == ["test", "train", "val"]
    assert len({pair.stem for pair in pairs}) == 6, "equal stems of two folders are told apart"


def test_csv(tmp_path):
    make_folder(tmp_path / "d", 3)
    rows = [
        f"d/images/item00{i}.png,d/masks/item00{i}.png,{s},g{i % 2}" for i, s in enumerate(("train", "val", "test"))
    ]
    (tmp_path / "list.csv").write_text("\n".join(["image,mask,split,group", *rows]))
    pairs = pairs_of(tmp_path / "list.csv")
    assert [pair.split for pair in pairs] == ["train", "val", "test"]
    assert [pair.group for pair in pairs] == ["g0", "g1", "g0"]
    assert inspect(tmp_path / "list.csv", pairs).encoding.num_classes == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("picture,mask\na,b\n", "its columns are picture, mask"),
        ("image,mask\n", "no rows"),
        ("image,mask\na.png,b.png\n", r"line 2: .*a\.png does not exist"),
        (
            "image,mask,split\nd/images/item000.png,d/masks/item000.png,train\n"
            "d/images/item000.png,d/masks/item000.png,\n",
            "line 3: split is empty",
        ),
        ("image,mask,split\nd/images/item000.png,d/masks/item000.png,dev\n", "split is 'dev'"),
        ("image,mask\n" + "d/images/item000.png,d/masks/item000.png\n" * 2, "two images are called"),
    ],
)
def test_bad_csv(tmp_path, text, words):
    make_folder(tmp_path / "d", 1)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        find_pairs(tmp_path / "list.csv")


def test_mask_suffix(tmp_path):
    make_folder(tmp_path, 3)
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(UserError, match=r"none of the 3 images .* add --mask-suffix=_mask"):
        find_pairs(tmp_path)
    assert len(pairs_of(tmp_path, mask_suffix="_mask")) == 3


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        ("{}", "mask_{}", "begin with 'mask_'"),
        ("{}_img", "{}_seg", "images' names end in '_img' and the masks' in '_seg'"),
        ("Item{}", "item{}", "upper and lower case"),
        ("photo{}", "drawing-{}", r"begin with 'photo' and the masks' with 'drawing-': add --image-name='photo\{\}'"),
        ("photo{}", "{}-as-drawn", "images are called photo"),
    ],
)
def test_names_that_do_not_pair_are_told_apart(tmp_path, image, mask, words):
    for number in range(150):
        for folder, name in (("images", image), ("masks", mask)):
            path = tmp_path / folder / f"{name.format(f'{number:03d}')}.png"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    with pytest.raises(UserError, match=words):
        find_pairs(tmp_path)


def test_images_without_mask_are_said_and_masks_without_image_refused(tmp_path):
    make_folder(tmp_path, 4)
    (tmp_path / "masks/item002.png").unlink()
    pairs, findings = find_pairs(tmp_path)
    assert len(pairs) == 3
    assert "1 images have no mask and are left out: item002" in str(findings[0])
    (tmp_path / "images/item000.png").unlink()
    pairs, findings = find_pairs(tmp_path)
    assert [pair.stem for pair in pairs] == ["item001", "item003"]
    with pytest.raises(UserError, match=r"1 of 3 masks .* no image of the same name: item000; rename"):
        refuse_errors(findings)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such file or folder; wanted one of"):
        find_pairs(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"it holds: notes.txt\); wanted one of"):
        find_pairs(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="images: holds no image files"):
        find_pairs(tmp_path)


def test_one_stem_twice(tmp_path):
    make_folder(tmp_path, 2)
    save(tmp_path / "images/item000.jpg", shapes(0)[0])
    pairs, findings = find_pairs(tmp_path)
    assert [pair.stem for pair in pairs] == ["item001"]
    with pytest.raises(UserError, match=r"item000\.jpg, item000\.png share one stem"):
        refuse_errors(findings)


def checked(folder, **options):
    """The inspection of a folder without errors."""
    data = inspect(folder, pairs_of(folder), **options)
    refuse_errors(data.findings)
    return data


def said(data) -> str:
    return " ".join(map(str, data.findings))


def test_size_mismatch(tmp_path):
    make_folder(tmp_path, 4)
    save(tmp_path / "masks/item001.png", np.zeros((16, 20), np.uint8))
    with pytest.raises(UserError, match=r"masks/item001\.png: 20×16 pixels, but its image .* has 32×32"):
        checked(tmp_path)


def test_unreadable_and_truncated_images(tmp_path):
    make_folder(tmp_path, 4)
    (tmp_path / "images/item001.png").write_bytes(b"no picture")
    whole = (tmp_path / "images/item002.png").read_bytes()
    (tmp_path / "images/item002.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as caught:
        checked(tmp_path)
    assert "item001.png" in str(caught.value) and "item002.png" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_rare_value_is_traced_to_its_file(tmp_path):
    make_folder(tmp_path, 6)
    save(tmp_path / "masks/item003.png", np.full((32, 32), 7, np.uint8))
    with pytest.raises(UserError, match=r"item003\.png: holds 7 \(1024 px\), which is no known class \(known: 0, 1\)"):
        checked(tmp_path)
    write_classes(tmp_path, ["ground", "square"])
    with pytest.raises(UserError, match=r"item003\.png: holds 7 \(1024 px\), which is no known class"):
        checked(tmp_path)


def test_images_of_several_kinds_are_refused(tmp_path):
    make_folder(tmp_path, 3)
    save(tmp_path / "images/item000.png", np.full((32, 32), 40_000, np.uint16))
    with pytest.raises(UserError, match=r"2 of 3 × uint8, 1 of 1 × uint16; the rarer ones: .*item000\.png"):
        checked(tmp_path)


def test_grey_images_and_transparency_are_said(tmp_path):
    make_folder(tmp_path, 3)
    save(tmp_path / "images/item000.png", np.full((32, 32), 7, np.uint8))
    save(tmp_path / "images/item001.png", shapes(1)[0], "RGBA")
    assert read_image(tmp_path / "images/item000.png").shape == (32, 32, 3)
    assert read_image(tmp_path / "images/item001.png").shape == (32, 32, 3)
    notes = said(checked(tmp_path))
    assert "1 grey images" in notes and "1 images with transparency" in notes


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 12).repeat(3).reshape(4, 12, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images/a.jpg", exif=exif)
    assert read_image(tmp_path / "images/a.jpg").shape == (12, 4, 3)


def test_rgb_masks_that_are_grey_are_values(tmp_path):
    make_folder(tmp_path, 4, encode=lambda mask: np.repeat(mask[..., None] * np.uint8(255), 3, -1))
    assert checked(tmp_path).encoding.values == (0, 255)


def test_color_masks_that_happen_to_be_black_are_still_colors(tmp_path):
    colors = np.array([(0, 0, 0), (255, 0, 0)], np.uint8)
    make_folder(tmp_path, 4, encode=lambda mask: colors[mask])
    known = checked(tmp_path).encoding
    save(tmp_path / "masks/item000.png", np.zeros((32, 32, 3), np.uint8))
    pairs = [pair for pair in pairs_of(tmp_path) if pair.stem == "item000"]
    assert inspect(None, pairs, encoding=known).class_pixels(pairs).tolist() == [1024, 0]


def test_one_grey_mask_among_colors_is_refused(tmp_path):
    colors = np.array([(0, 0, 0), (255, 0, 0)], np.uint8)
    make_folder(tmp_path, 4, encode=lambda mask: colors[mask])
    assert checked(tmp_path).encoding.names == ("rgb_0_0_0", "rgb_255_0_0")
    save(tmp_path / "masks/item002.png", shapes(2)[1])
    with pytest.raises(UserError, match=r"item002\.png: a mask of class values where colour masks are wanted"):
        checked(tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_colors_in_the_classes_file_are_values(tmp_path, mode):
    make_folder(tmp_path, 3)
    for path in (tmp_path / "masks").iterdir():
        save(path, 1 - np.array(Image.open(path)), mode)
    (tmp_path / "classes.json").write_text(
        '{"classes": [{"name": "ground", "color": [1, 1, 1]}, {"name": "square", "color": [0, 0, 0]}]}'
    )
    data = checked(tmp_path)
    assert data.encoding.values == (1, 0)
    ground, square = data.class_pixels([facts.pair for facts in data.facts])
    assert ground > 5 * square


def test_palettes_that_differ_are_refused(tmp_path):
    make_folder(tmp_path, 4)
    for i, colors in enumerate([[(0, 0, 0), (255, 255, 255)]] * 3 + [[(255, 255, 255), (0, 0, 0)]]):
        write_mask(tmp_path / f"masks/item00{i}.png", shapes(i)[1], colors)
    with pytest.raises(UserError, match=r"item003\.png: palette index 0 is \(255, 255, 255\), but \(0, 0, 0\) in"):
        checked(tmp_path)


def test_void_that_never_occurs_is_said(tmp_path):
    make_folder(tmp_path, 3)
    assert "void 9 occurs in no mask" in said(checked(tmp_path, void=(9,)))


def test_two_folders_of_one_kind_are_refused(tmp_path):
    make_folder(tmp_path, 3)
    save(tmp_path / "imgs/a.png", shapes(0)[0])
    with pytest.raises(UserError, match="holds images and imgs: which of them are the images"):
        find_pairs(tmp_path)


def test_an_unlabelled_test_part_is_said(tmp_path):
    for name in ("train", "val", "test"):
        make_folder(tmp_path / name, 3)
    for path in (tmp_path / "test/masks").iterdir():
        path.unlink()
    (tmp_path / "test/masks").rmdir()
    pairs, notes = find_pairs(tmp_path)
    assert len(pairs) == 6 and "test has no masks beside its images" in str(notes[0])
    (tmp_path / "train/masks").rename(tmp_path / "train/nothing")
    with pytest.raises(UserError, match="train: has no masks beside its images"):
        find_pairs(tmp_path)


def test_groups_torn_by_the_given_split_are_said(tmp_path):
    make_folder(tmp_path / "d", 2)
    rows = [
        f"d/images/item00{i}.png,d/masks/item00{i}.png,{s},{g}" for i, s, g in ((0, "train", "a"), (1, "val", " a"))
    ]
    (tmp_path / "list.csv").write_text("\n".join(["image,mask,split,group", *rows]))
    assert "tears 1 groups apart" in str(find_pairs(tmp_path / "list.csv")[1][0])


def test_class_weights_by_hand(tmp_path):
    masks = [np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)]
    masks[1][:2] = 1
    masks[1][3] = 255
    for i, mask in enumerate(masks):
        save(tmp_path / f"images/{i}.png", np.zeros((4, 4, 3), np.uint8))
        save(tmp_path / f"masks/{i}.png", mask)
    data = checked(tmp_path, void=(255,))
    pairs = [facts.pair for facts in data.facts]
    assert data.class_pixels(pairs).tolist() == [20, 8]
    # Frequencies 20/32 and 8/16, median 9/16.
    np.testing.assert_allclose(data.class_weights(pairs, "median_frequency"), [0.9, 1.125])
    assert data.class_weights(pairs, "none").tolist() == [1, 1]
    assert data.class_weights(pairs[:1], "median_frequency").tolist() == [1, 1]


def test_fingerprint_follows_the_bytes_alone(tmp_path):
    make_folder(tmp_path, 3)
    pairs = pairs_of(tmp_path)
    first = fingerprint(pairs)
    assert fingerprint(pairs[::-1]) == first
    save(tmp_path / "images/item000.png", shapes(9)[0])
    assert fingerprint(pairs) != first


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_camvid_classes_and_median_frequency_weights(camvid):
    pairs = pairs_of(camvid)
    data = inspect(camvid, pairs, void=(11,))
    training = [pair for pair in pairs if pair.split == "train"]
    assert (len(training), len(pairs), data.encoding.num_classes) == (367, 468, 11)
    assert data.class_pixels(training).tolist() == [
        *(10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967),
    ]
    weights = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
    np.testing.assert_allclose(data.class_weights(training, "median_frequency"), weights, atol=5e-5)


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    make_folder(tmp_path, 3)
    os.rename(os.fsencode(tmp_path / "images/item000.png"), os.fsencode(tmp_path / "images") + b"/\xe40.png")
    with pytest.raises(UserError, match="is not UTF-8; rename the file"):
        find_pairs(tmp_path)


def test_folders_that_are_left_out_are_said(tmp_path):
    for name in ("train", "val", "evaluation"):
        make_folder(tmp_path / name, 3)
    make_folder(tmp_path / "train/images/old", 2)
    save(tmp_path / "train/images/older/x.png", shapes(0)[0])
    pairs, findings = find_pairs(tmp_path)
    assert len(pairs) == 6
    messages = " ".join(map(str, findings))
    assert "evaluation holds images and masks too, but is left out" in messages and "older" in messages


def test_masks_of_one_class_alone_are_not_trained_on(tmp_path):
    make_folder(tmp_path, 8, encode=lambda mask: mask * 0)
    write_classes(tmp_path, ["ground", "square"])
    data = checked(tmp_path)
    split = make_split(data.pairs(), data.presence(), 0)
    with pytest.raises(UserError, match="the training masks hold ground alone; there is nothing to learn"):
        refuse_errors(findings_on_split(data, split))


def test_one_mask_for_several_images_is_said(tmp_path):
    make_folder(tmp_path / "d", 3)
    rows = [f"d/images/item00{i}.png, d/masks/item000.png" for i in range(3)]
    (tmp_path / "list.csv").write_text("\n".join(["Image, Mask", *rows]))
    pairs, findings = find_pairs(tmp_path / "list.csv")
    assert len(pairs) == 3 and "1 masks belong to several images each" in str(findings[0])


def test_a_run_on_class_files_refuses_masks_of_class_numbers(tmp_path):
    """Its own numbering of the files would be taken for theirs."""
    for index in range(6):
        save(tmp_path / f"files/images/p{index}.png", shapes(index)[0])
        for name, label in (("tree", 1), ("car", 2)):
            mask = (shapes(index, num_classes=3)[1] == label) * np.uint8(255)
            save(tmp_path / f"files/masks/p{index}_{name}.png", mask)
    make_folder(tmp_path / "numbers", 6, num_classes=3)
    known = checked(tmp_path / "files").encoding
    assert known.names == ("background", "car", "tree")
    again = inspect(None, pairs_of(tmp_path / "files"), encoding=known)
    assert not [finding for finding in again.findings if finding.level == "error"]
    with pytest.raises(UserError, match="one file for each class, and these masks are written otherwise"):
        inspect(tmp_path / "numbers", pairs_of(tmp_path / "numbers"), encoding=known)
    write_classes(tmp_path / "numbers", ["background", "tree", "car"])
    data = inspect(tmp_path / "numbers", pairs_of(tmp_path / "numbers"), encoding=known)
    assert data.encoding.values == (0, 2, 1)
    numbers = checked(tmp_path / "numbers").encoding
    with pytest.raises(UserError, match="was trained on one mask for each image"):
        inspect(tmp_path / "files", pairs_of(tmp_path / "files"), encoding=numbers)
