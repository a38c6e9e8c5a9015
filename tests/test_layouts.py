"""Folders as data sets and tools lay them out: each row of the table of layouts, with names of our own."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, make_folder, save, shapes
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.findings import refuse_errors
from data_pipeline.inspection import Meaning, inspect
from data_pipeline.layouts import LAYOUTS, common_part, image_counts
from data_pipeline.pairs import Names, find_pairs
from data_pipeline.source import Source

COUNT = 6


def lay(folder, images: str, masks: str, count: int = COUNT, first: int = 0, encode=lambda mask: mask * np.uint8(255)):
    """Pairs at folder/images.format(i) and folder/masks.format(i)."""
    for i in range(first, first + count):
        image, mask = shapes(i)
        save(folder / images.format(i), image)
        save(folder / masks.format(i), encode(mask))


def lay_parts(folder, images: str, masks: str, parts=("train", "val"), **options):
    """As ``lay`` for each part of a split, {part} in the patterns."""
    for place, part in enumerate(parts):
        lay(folder, images.replace("{part}", part), masks.replace("{part}", part), first=COUNT * place, **options)


def voc(folder):
    lay(folder, "set/JPEGImages/{}.jpg", "set/SegmentationClass/{}.png", encode=lambda mask: mask)
    save(folder / "set/JPEGImages/unlabelled.jpg", shapes(0)[0])
    lists = folder / "set/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n3\n")
    (lists / "val.txt").write_text("4\n5\n")
    (folder / "set/labelmap.txt").write_text("# label:color_rgb:parts:actions\nfloor:0,0,0::\ntile:128,0,0::\n")


def objects_of_cells(folder):
    for i in range(COUNT):
        image, mask = shapes(i)
        save(folder / f"cell{i}/images/cell{i}.png", image)
        for part, half in (("ab", mask * (np.arange(32) < 16)), ("cd", mask * (np.arange(32) >= 16))):
            save(folder / f"cell{i}/masks/{part}{i}.png", half.astype(np.uint8) * 255)


def class_folders(folder, before=""):
    for i in range(COUNT):
        image, mask = shapes(i, num_classes=3)
        save(folder / f"{before}images/{i}.png", image)
        for label, name in ((1, "wall"), (2, "door")):
            save(folder / f"{before}masks/{name}/{i}.png", (mask == label) * np.uint8(255))


# row of the table → what lays a folder out so, and how many pairs are in train, val and test (None: no split)
LAID = {
    "Pascal VOC": (voc, (4, 2, 0)),
    "Cityscapes": (
        lambda f: lay_parts(
            f,
            "leftImg8bit/{part}/ulm/ulm_{}_leftImg8bit.png",
            "gtFine/{part}/ulm/ulm_{}_gtFine_labelIds.png",
            encode=lambda mask: np.where(mask, 26, 7).astype(np.uint8),
        ),
        (6, 6, 0),
    ),
    "India Driving Dataset": (
        lambda f: lay_parts(
            f, "leftImg8bit/{part}/7/frame{}_leftImg8bit.jpg", "gtFine/{part}/7/frame{}_gtFine_labellevel3Ids.png",
            encode=lambda mask: mask,
        ),
        (6, 6, 0),
    ),
    "Cellpose": (lambda f: lay_parts(f, "{part}/{}_img.png", "{part}/{}_masks.png", ("train", "test")), (6, 0, 6)),
    "Cell Tracking Challenge": (
        lambda f: [lay(f, f"Fluo/{seq}/t{{}}.tif", f"Fluo/{seq}_GT/SEG/man_seg{{}}.tif") for seq in ("01", "02")],
        None,
    ),
    "BDD100K": (
        lambda f: lay_parts(
            f, "images/10k/{part}/a{}.jpg", "labels/sem_seg/masks/{part}/a{}.png", encode=lambda mask: mask
        ),
        (6, 6, 0),
    ),
    "Mapillary Vistas": (
        lambda f: lay_parts(f, "{part}/images/m{}.jpg", "{part}/v2.0/labels/m{}.png", ("training", "validation")),
        (6, 6, 0),
    ),
    "DRIVE": (
        lambda f: (
            lay(f, "training/images/{}_training.tif", "training/1st_manual/{}_manual1.gif"),
            lay(f, "training/images/{}_training.tif", "training/mask/{}_training_mask.gif"),
        ),
        (6, 0, 0),
    ),
    "ISIC": (
        lambda f: lay_parts(
            f, "ISIC2017_{part}_Data/I{}.jpg", "ISIC2017_{part}_Part1_GroundTruth/I{}_segmentation.png",
            ("Training", "Validation"),
        ),
        (6, 6, 0),
    ),
    "nnU-Net raw": (
        lambda f: lay(f, "D9_X/imagesTr/c{}_0000.png", "D9_X/labelsTr/c{}.png", encode=lambda mask: mask),
        (6, 0, 0),
    ),
    "Supervisely": (lambda f: lay(f, "p/d/img/{}.jpeg", "p/d/masks_machine/{}.png"), None),
    "Oxford Pets": (lambda f: lay(f, "images/cat_{}.jpg", "annotations/trimaps/cat_{}.png"), None),
    "images and masks": (lambda f: lay(f, "imgs/{}.bmp", "ground truth/{}.png"), None),
    "images and masks in train, val, test": (
        lambda f: lay_parts(f, "tiles/{part}/images/b{}.tif", "tiles/{part}/gt/b{}.tif", ("train", "val", "test")),
        (6, 6, 6),
    ),
    "images and masks, each in train, val, test": (
        lambda f: lay_parts(f, "img_dir/{part}/{}.jpg", "ann_dir/{part}/{}.png", ("train", "valid")),
        (6, 6, 0),
    ),
    "scenes in train, val, test": (
        lambda f: lay_parts(f, "{part}/Rural/images_png/{}.png", "{part}/Rural/masks_png/{}.png", ("Train", "Val")),
        (6, 6, 0),
    ),
    "images and masks in the same sub-folders": (
        lambda f: (lay(f, "image/p1/{}.png", "mask/p1/{}.png"), lay(f, "image/p2/{}.png", "mask/p2/{}.png")),
        None,
    ),
    "a folder of masks for each class": (class_folders, None),
    "a folder of masks for each class, in train, val, test": (
        lambda f: (class_folders(f, "train/"), class_folders(f, "val/")),
        (6, 6, 0),
    ),
    "folders of Keras's generators": (
        lambda f: lay_parts(f, "{part}_images/all/{}.png", "{part}_masks/all/{}.png"),
        (6, 6, 0),
    ),
    "train and train_masks": (lambda f: lay_parts(f, "{part}/q{}.png", "{part}_labels/q{}_L.png"), (6, 6, 0)),
    "Data Science Bowl 2018": (objects_of_cells, None),
    "scenes of images and masks": (
        lambda f: [lay(f, f"{seq}/Images/{{}}.png", f"{seq}/Labels/{{}}.png") for seq in ("seq1", "seq2")],
        None,
    ),
    "image and mask side by side": (lambda f: lay(f, "s{}.jpg", "s{}_gt.png"), None),
    "image and mask side by side, in train, val, test": (
        lambda f: lay_parts(f, "{part}/s{}.jpg", "{part}/s{}_mask.png", ("train", "valid")),
        (6, 6, 0),
    ),
    "DeepGlobe": (lambda f: lay(f, "train/{}_sat.jpg", "train/{}_mask.png"), (6, 0, 0)),
    "PH2": (
        lambda f: lay(f, "IMD{0}/IMD{0}_Dermoscopic_Image/IMD{0}.bmp", "IMD{0}/IMD{0}_lesion/IMD{0}_lesion.bmp"),
        None,
    ),
    "image and mask side by side, in folders": (
        lambda f: [lay(f, f"{kind}/a ({{}}).png", f"{kind}/a ({{}})_mask.png") for kind in ("benign", "normal")],
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", [layout.name for layout in LAYOUTS])
def test_every_row_of_the_table_is_read_and_said(tmp_path, layout):
    make, parts = LAID[layout]
    make(tmp_path)
    pairs, findings = find_pairs(tmp_path)
    refuse_errors(findings)
    said = [finding.message for finding in findings if finding.kind == "layout"]
    assert len(said) == 1 and f"layout “{layout}”: {len(pairs)} masks" in said[0]
    assert len(pairs) % COUNT == 0 and pairs
    if parts:
        assert tuple(sum(pair.split == part for pair in pairs) for part in ("train", "val", "test")) == parts
    else:
        assert not any(pair.split for pair in pairs)
    data = inspect(tmp_path, pairs)
    refuse_errors(data.findings)
    assert data.encoding.num_classes == (3 if "each class" in layout else 2)


@pytest.mark.parametrize("layout", [layout.name for layout in LAYOUTS])
def test_every_row_of_the_table_stands_in_the_document(layout):
    assert f"| {layout} |" in (ROOT / "docs/data.md").read_text(encoding="utf-8")


def test_voc_keeps_lists_names_and_what_is_left_out(tmp_path):
    voc(tmp_path)
    lay(tmp_path, "set/JPEGImages/{}.jpg", "set/SegmentationObject/{}.png")
    pairs, findings = find_pairs(tmp_path)
    said = " ".join(map(str, findings))
    assert "1 images have no mask and are left out: unlabelled" in said and "set/SegmentationObject (6)" in said
    assert inspect(tmp_path, pairs).encoding.names == ("floor", "tile")


def test_classes_of_cityscapes_by_their_ids(tmp_path):
    LAID["Cityscapes"][0](tmp_path)
    assert inspect(tmp_path, find_pairs(tmp_path)[0]).encoding.names == ("road", "car")


def test_objects_of_one_image_are_united(tmp_path):
    objects_of_cells(tmp_path)
    opened = open_dataset(Source(data=tmp_path), seed=0)
    whole = sum(int(shapes(i)[1].sum()) for i in range(COUNT))
    assert opened.inspection.class_pixels(opened.pairs).tolist() == [COUNT * 32 * 32 - whole, whole]


def test_a_shared_sub_folder_is_a_group_if_wanted(tmp_path):
    LAID["images and masks in the same sub-folders"][0](tmp_path)
    assert {pair.group for pair in find_pairs(tmp_path, group_by="folder")[0]} == {"p1", "p2"}


def test_any_two_folders(tmp_path):
    lay(tmp_path, "photos of May/x{}.png", "drawn/by hand/x{}.png")
    names = Names(tmp_path / "photos of May", tmp_path / "drawn/by hand")
    assert len(find_pairs(tmp_path, names=names)[0]) == COUNT
    named = Source(data=None, images=names.images, masks=names.masks).with_folder()
    assert named.data == tmp_path and len(open_dataset(named).pairs) == COUNT


@pytest.mark.parametrize(
    ("images", "masks", "words", "names"),
    [
        ("images/scan_{}.png", "masks/truth_{}.png", "--image-name='scan_{}' --mask-name='truth_{}'",
         Names(image_name="scan_{}", mask_name="truth_{}")),
        ("images/{}.png", "masks/seg-{}.png", "--mask-name='seg-{}'", Names(mask_name="seg-{}")),
        ("images/{}_rgb.png", "masks/{}_ir.png", "--image-name='{}_rgb' --mask-name='{}_ir'",
         Names(image_name="{}_rgb", mask_name="{}_ir")),
    ],
)  # fmt: skip
def test_the_names_that_are_advised_pair(tmp_path, images, masks, words, names):
    lay(tmp_path, images, masks)
    with pytest.raises(UserError) as caught:
        find_pairs(tmp_path)
    assert words in str(caught.value)
    assert len(find_pairs(tmp_path, names=names)[0]) == COUNT


def test_zeros_before_numbers_are_named(tmp_path):
    lay(tmp_path, "images/a{:04d}.png", "masks/a{}.png")
    with pytest.raises(UserError, match="written with zeros on one side only"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("ends", [("jpg",), ("jpg", "png")])
def test_masks_called_after_the_whole_name(tmp_path, ends):
    for i in range(COUNT):
        image, mask = shapes(i)
        for end in ends:  # the same stem twice is no matter here
            save(tmp_path / f"images/{i}.{end}", image)
            save(tmp_path / f"masks/{i}.{end}.png", mask)
    pairs, findings = find_pairs(tmp_path)
    refuse_errors(findings)
    assert len(pairs) == COUNT * len(ends)


def test_letters_of_macs_are_the_same_letters(tmp_path):
    lay(tmp_path, "images/Ma\u00df\u00e9 {}.png", "masks/Ma\u00dfe\u0301 {}.png")
    assert len(find_pairs(tmp_path)[0]) == COUNT


@pytest.mark.parametrize("name", ["_tumour{}", "_mask_{}", "-spot_{}"])
def test_numbered_objects_are_one_class(tmp_path, name):
    """mask, mask2, mask3: how many there are differs from image to image."""
    for i, count in enumerate([1, 2, 3, 1, 2, 3, 2, 1]):
        save(tmp_path / f"images/i{i}.png", shapes(i)[0])
        for j in range(1, count + 1):
            mask = np.zeros((32, 32), np.uint8)
            mask[8 * j : 8 * j + 5, 4:20] = 255
            save(tmp_path / f"masks/i{i}{name.format(j)}.png", mask)
    encoding = inspect(tmp_path, find_pairs(tmp_path)[0]).encoding
    assert encoding.names == ("background", "foreground") and encoding.files == ("*",)


def test_a_file_of_background_is_no_class_beside_background(tmp_path):
    """However it is called: what neither file claims is void, as where it is called background."""
    for name in ("bg", "background"):
        for i in range(COUNT):
            image, mask = shapes(i)
            save(tmp_path / f"{name}/images/i{i}.png", image)
            save(tmp_path / f"{name}/masks/i{i}_cell.png", mask * np.uint8(255))
            save(tmp_path / f"{name}/masks/i{i}_{name}.png", (1 - mask) * np.uint8(255))
        encoding = inspect(tmp_path / name, find_pairs(tmp_path / name)[0]).encoding
        assert encoding.names == (name, "cell") and 0 in encoding.void


def test_the_same_numbers_everywhere_are_asked_for(tmp_path):
    for i in range(COUNT):
        save(tmp_path / f"images/i{i}.png", shapes(i)[0])
        for j in (1, 2):
            save(tmp_path / f"masks/i{i}_organ{j}.png", np.roll(shapes(i)[1], 9 * j, 0) * np.uint8(255))
    pairs = find_pairs(tmp_path)[0]
    with pytest.raises(UserError, match=r"several numbered masks for an image, such as organ1, organ2; .* --one-class"):
        inspect(tmp_path, pairs)
    assert inspect(tmp_path, pairs, meaning=Meaning(one_class=True)).encoding.num_classes == 2


@pytest.mark.parametrize("names", [("1st_manual", "2nd_manual"), ("raterA", "raterB"), ("expert1", "expert2")])
def test_two_annotators_are_refused_by_name(tmp_path, names):
    for name in names:
        lay(tmp_path, "images/{}.png", f"masks/{{}}_{name}.png")
    with pytest.raises(UserError, match=f"two annotators' .*--mask-suffix=_{names[0]}"):
        inspect(tmp_path, find_pairs(tmp_path)[0])
    pairs, findings = find_pairs(tmp_path, mask_suffix=f"_{names[0]}")
    refuse_errors(findings)
    assert len(pairs) == COUNT and "files are not called" in " ".join(map(str, findings))


def test_files_of_one_image_that_show_the_same_are_two_annotators(tmp_path):
    for name, moved in (("anna", 0), ("bert", 1)):
        lay(
            tmp_path,
            "images/{}.png",
            f"masks/{{}}_{name}.png",
            encode=lambda m, by=moved: np.roll(m, by, 0) * np.uint8(255),
        )
    data = inspect(tmp_path, find_pairs(tmp_path)[0])
    with pytest.raises(UserError, match=r"show the same thing .*two annotators"):
        refuse_errors(data.findings)


def test_a_disc_in_a_disc_is_no_second_annotator(tmp_path):
    y, x = np.mgrid[:32, :32] - 16
    for i in range(COUNT):
        save(tmp_path / f"images/{i}.png", shapes(i)[0])
        for name, radius in (("disc", 12), ("cup", 8)):
            save(tmp_path / f"masks/{i}_{name}.png", (y**2 + x**2 < radius**2) * np.uint8(255))
    assert not any(finding.kind == "two-annotators" for finding in inspect(tmp_path, find_pairs(tmp_path)[0]).findings)


def test_what_cannot_be_read_is_said_with_what_is_there(tmp_path):
    (tmp_path / "scans").mkdir()
    for i in range(3):
        (tmp_path / f"scans/{i}.dcm").write_bytes(b"x")
        save(tmp_path / f"photos/{i}.png", shapes(i)[0])
    with pytest.raises(UserError, match=r"images: photos 3; passed over: 3 \.dcm: save each slice"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("labels/a.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n", "YOLO's polygons; convert it: .*--from yolo"),
        ("all.json", '{"images": [], "annotations": [], "categories": []}', "COCO's form; .*--from coco"),
        ("photos/a.json", '{"shapes": [], "imagePath": "a.png"}', "labelme's form; .*--from labelme"),
        ("via.json", '{"a": {"regions": [{"shape_attributes": {}}]}}', "Export annotations .COCO format"),
        ("meta.json", '{"classes": [{"title": "x", "geometryType": "polygon"}]}', "Supervisely"),
        ("p.json", '{"item": {"slots": []}, "annotations": []}', "V7's form: in V7, export as COCO"),
        ("all.ndjson", '{"data_row": {"id": "1"}}', "Labelbox's form, whose masks lie on its server"),
        ("a.xml", "<annotations><image id='0'><polygon/></image></annotations>", "CVAT's form.*Segmentation mask"),
        ("a.xml", "<annotation><object><bndbox></bndbox></object></annotation>", "boxes, not masks"),
        ("all.csv", "id,code\na,1 3 7 2 11 4\n", "run lengths; .*--from rle"),
        ("project.json", '[{"from_name": "a", "to_name": "b"}]', "Label Studio's own form"),
        ("train.csv", "id,EncodedPixels\na,1 3\n", "run lengths; .*--from rle"),
    ],
)
def test_other_tools_files_are_named_with_the_command(tmp_path, file, content, words):
    save(tmp_path / "photos/a.png", shapes(0)[0])
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=words):
        find_pairs(tmp_path)


def test_photos_of_phones_that_are_passed_over_are_named(tmp_path):
    lay(tmp_path, "images/{}.jfif.png", "masks/{}.png")
    for i in range(COUNT):
        path = tmp_path / f"images/{i}.jfif.png"
        Image.open(path).save(tmp_path / f"images/{i}.jfif", format="JPEG") if i else None
        path.unlink()
    (tmp_path / "images/0.heic").write_bytes(b"x")
    pairs, findings = find_pairs(tmp_path)
    assert len(pairs) == COUNT - 1
    with pytest.raises(UserError, match=r"passed over: 1 \.heic: save them as JPEG"):
        refuse_errors(findings)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image,mask\nbilder\\{},masken\\{}\n", "utf-8"),
        ("image;mask\nbilder/{};masken/{}\n", "cp1252"),
        ("image\tmask\nbilder/{}\tmasken/{}\n", "utf-16"),
    ],
)
def test_tables_of_other_programs(tmp_path, text, encoding):
    make_folder(tmp_path, 1)
    (tmp_path / "images").rename(tmp_path / "bilder")
    (tmp_path / "masks").rename(tmp_path / "masken")
    name = "Stra\u00dfe.png"
    for folder in ("bilder", "masken"):
        (tmp_path / folder / "item000.png").rename(tmp_path / folder / name)
    (tmp_path / "list.csv").write_bytes(text.format(name, name).encode(encoding))
    assert [pair.stem for pair in find_pairs(tmp_path / "list.csv")[0]] == ["Stra\u00dfe"]


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("class_names.txt", "__ignore__\n_background_\nweed\n", ("background", "weed")),
        ("codes.txt", "soil\nweed\n", ("soil", "weed")),
        ("_classes.csv", "Pixel Value, Class\n0, soil\n1, weed\n", ("soil", "weed")),
        ("dataset.json", json.dumps({"labels": {"background": 0, "weed": 1}}), ("background", "weed")),
        ("dataset.json", json.dumps({"labels": {"0": "background", "1": "weed"}}), ("background", "weed")),
        ("class_dict.csv", "name,r,g,b\nsoil,0,0,0\nweed,1,1,1\n", ("soil", "weed")),
        ("label_colors.txt", "0 0 0\tsoil\n1 1 1\tweed\n", ("soil", "weed")),
        ("classes.json", '{"classes": [{"name": "weed", "value": 1}, {"name": "background", "value": 0}]}', None),
    ],
)
def test_lists_of_classes(tmp_path, file, text, names):
    make_folder(tmp_path, COUNT)
    (tmp_path / file).write_text(text)
    assert inspect(tmp_path, find_pairs(tmp_path)[0]).encoding.names == (names or ("background", "weed"))


def test_names_are_patterns():
    assert common_part("{}_leftImg8bit", "ulm_3_leftImg8bit") == "ulm_3"
    assert common_part("{}_*", "21_training") == "21" and common_part("{}_mask", "21_training") is None


def test_hidden_folders_are_not_counted(tmp_path):
    lay(tmp_path, "images/{}.png", "__MACOSX/images/{}.png")
    assert image_counts(tmp_path) == {"": 0, "images": COUNT}


@pytest.mark.parametrize(
    ("images", "masks", "flags"),
    [
        ("rgb/{}.png", "BW/{}.png", "--images rgb --masks BW (6 pairs)"),
        ("2_Ortho/tile_{}_RGB.png", "5_Labels/tile_{}_label.png", "--image-name '{}_RGB' --mask-name '{}_label'"),
        ("polyps/{}.png", "Truth of polyps/p{}.png", "--images polyps --masks 'Truth of polyps' --mask-name 'p{}'"),
        ("{}_photo.png", "{}_fg.png", "--images . --masks . --image-name '{}_photo' --mask-name '{}_fg'"),
        ("scans/{}.png", "scans/{}_hand.png", "--images scans --masks scans --mask-name '{}_hand'"),
        ("frames9/t{}.jpg", "truth/SEG/man_{}.jpg", "--image-name 't{}' --mask-name 'man_{}'"),
    ],
)
def test_folders_of_no_known_layout_are_proposed_and_what_is_proposed_reads_them(tmp_path, images, masks, flags):
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        image, mask = shapes(i)
        save(tmp_path / images.format(i), np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8))
        save(tmp_path / masks.format(i), mask * np.uint8(255))
    with pytest.raises(UserError) as refusal:
        find_pairs(tmp_path)
    proposed = str(refusal.value).split("these pair by their names: ")[1]
    assert flags in proposed and "; or " not in proposed
    said = dict(zip(*[iter(shlex.split(proposed.rpartition(" (")[0]))] * 2, strict=True))
    names = Names(
        Path(said["--images"]), Path(said["--masks"]), said.get("--image-name", "{}"), said.get("--mask-name")
    )
    pairs, findings = find_pairs(tmp_path, names=names)
    refuse_errors(findings)
    assert {(p.image, p.mask) for p in pairs} == {
        (tmp_path / images.format(i), tmp_path / masks.format(i)) for i in range(COUNT)
    }


def test_two_kinds_of_masks_are_both_proposed_but_photographs_are_not(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        image, mask = shapes(i)
        noisy = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        for folder, picture in {"rgb": noisy, "nir": 255 - noisy, "ah": mask * 255, "vk": mask * 200}.items():
            save(tmp_path / folder / f"{i}.png", picture.astype(np.uint8))
    with pytest.raises(UserError) as refusal:
        find_pairs(tmp_path)
    assert str(refusal.value).count(" --masks ") == 3
    assert "--masks rgb" not in str(refusal.value) and "--masks nir" not in str(refusal.value)


def test_names_that_fit_no_mask_are_answered_with_the_folder_that_fits(tmp_path):
    lay(tmp_path, "images/{}.png", "manual1/{}.png")
    lay(tmp_path, "elsewhere/{}.png", "mask/{}_fov.png")
    with pytest.raises(UserError, match="--images images --masks manual1"):
        find_pairs(tmp_path)


def test_a_second_kind_of_masks_is_named_as_such(tmp_path):
    lay(tmp_path, "images/{}.jpg", "annotations/{}.png")
    lay(tmp_path, "images/{}.jpg", "annotations/{}_trainIds.png")
    _, findings = find_pairs(tmp_path)
    with pytest.raises(UserError, match="6 images have a second mask, whose name ends in '_trainIds'"):
        refuse_errors(findings)
    pairs, findings = find_pairs(tmp_path, mask_suffix="_trainIds")
    refuse_errors(findings)
    assert [pair.mask.name for pair in pairs] == [f"{i}_trainIds.png" for i in range(COUNT)]


def test_a_part_without_masks_beside_its_images_is_left_out(tmp_path):
    lay(tmp_path, "train/{}_sat.jpg", "train/{}_mask.png")
    save(tmp_path / "valid/90_sat.jpg", shapes(0)[0])
    pairs, findings = find_pairs(tmp_path)
    assert len(pairs) == COUNT
    assert "valid has no masks beside its images, and is left out" in str([f.message for f in findings])


def test_an_array_of_many_pictures_is_named(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / f"{folder}.npy", np.zeros((5, 8, 9, 3), np.uint8))
    with pytest.raises(UserError, match=r"images\.npy holds 5 pictures in one array"):
        find_pairs(tmp_path)
