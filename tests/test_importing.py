"""What YOLO, Kaggle's run lengths, stacks and COCO in parts become: masks, names, splits and groups by hand."""

import json

import numpy as np
import pytest
import tifffile
from conftest import save, shapes

from data_pipeline.checking.check import survey
from data_pipeline.command import UserError
from data_pipeline.files import read_image
from data_pipeline.importing.convert import convert
from data_pipeline.importing.run_lengths import decode
from data_pipeline.source import Source


def opened(folder):
    """The survey of what was converted, which check must accept."""
    found, _ = survey(Source(data=folder))
    assert not found.count("error"), [str(finding) for finding in found.findings]
    return found


def parts(found) -> tuple[int, int, int]:
    return tuple(len(found.split.part(part)) for part in ("train", "val", "test"))


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        ("{part}/images/{i}.png", "{part}/labels/{i}.txt", "names: [moss, fern]"),
        ("images/{part}/{i}.png", "labels/{part}/{i}.txt", "names:\n  0: moss\n  1: fern\n"),
    ],
)
def test_yolo(tmp_path, images, labels, names):
    source = tmp_path / "in"
    for i in range(9):
        part = ("train", "train", "train", "train", "train", "val", "val", "test", "test")[i]
        save(source / images.format(part=part, i=i), shapes(i)[0])
        path = source / labels.format(part=part, i=i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 0.0 0.0 0.4 0.0 0.4 0.4 0.0 0.4\n1 0.5 0.5 1 0.5 1 1 0.5 1\n")
    (source / "data.yaml").write_text(names)
    convert(source, tmp_path / "out", "yolo")
    found = opened(tmp_path / "out")
    assert parts(found) == (5, 2, 2) and found.names == ("background", "moss", "fern")
    mask = np.asarray(__import__("PIL.Image").Image.open(tmp_path / "out/masks/0.png"))
    assert mask[2, 2] == 1 and mask[24, 24] == 2 and mask[2, 24] == 0 and 150 < (mask == 1).sum() < 200


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0 0.1 0.2 x", "a class number and the points"),
        ("0 10 20 30 40 5 6", "shares of the image"),
        ("7 0 0 1 0 1 1", "7"),
    ],
)
def test_bad_yolo(tmp_path, row, words):
    save(tmp_path / "images/a.png", shapes(0)[0])
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(row)
    (tmp_path / "data.yaml").write_text("names: [a]")
    with pytest.raises(UserError, match=words):
        convert(tmp_path, tmp_path / "out", "yolo")


def test_run_lengths_by_hand():
    """2 3 of 3 rows × 2 columns: from the second pixel of the first column into the next, or of the first row."""
    assert decode("x", "2 3", 3, 2, order="columns").astype(int).tolist() == [[0, 1], [1, 0], [1, 0]]
    assert decode("x", "2 3", 3, 2, order="rows").astype(int).tolist() == [[0, 1], [1, 1], [0, 0]]
    for code in ("0 1", "1", "6 2", "a b"):
        with pytest.raises(UserError):
            decode("x", code, 3, 2, order="columns")


def codes_of(mask: np.ndarray) -> str:
    flat = np.concatenate([[0], mask.T.ravel(), [0]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))


@pytest.mark.parametrize("columns", ["ImageId,EncodedPixels", "ImageId_ClassId,EncodedPixels", "id,class,rle"])
def test_run_lengths(tmp_path, columns):
    rows = [columns]
    for i in range(6):
        image, mask = shapes(i)
        save(tmp_path / f"in/train/p{i}.png", image)
        code = codes_of(mask)
        rows.append(
            {2: f"p{i}{'.png' if 'Class' not in columns else '_1'},{code}", 3: f"p{i},leaf,{code}"}[
                columns.count(",") + 1
            ]
        )
    (tmp_path / "in/train.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "in/sample_submission.csv").write_text(columns + "\n")
    convert(tmp_path / "in", tmp_path / "out", "rle")
    found = opened(tmp_path / "out")
    assert found.inspection.class_pixels(found.pairs)[1] == sum(int(shapes(i)[1].sum()) for i in range(6))
    assert found.names[1] == {"I": "object", "i": "leaf"}[columns[0]] if "Class" not in columns else "class_1"


def write_codes(folder, columns: slice, order: str, image_of=lambda image: image) -> list[np.ndarray]:
    """Six images and their run lengths; returns the masks."""
    lines, masks = ["img,rle_mask"], []
    for i in range(6):
        image, mask = (picture[:, columns] for picture in shapes(i))
        save(folder / f"p{i}.png", image_of(image))
        lines.append(f"p{i}.png,{codes_of(mask.T if order == 'rows' else mask)}")
        masks.append(mask > 0)
    (folder / "masks.csv").write_text("\n".join(lines) + "\n")
    return masks


@pytest.mark.parametrize("order", ["rows", "columns"])
@pytest.mark.parametrize(
    ("columns", "words"), [(np.s_[:24], "smoother outlines"), (np.s_[:], "the edges in the images")]
)
def test_the_order_of_run_lengths_is_told_by_the_images(tmp_path, capsys, columns, order, words):
    masks = write_codes(tmp_path / "in", columns, order)
    convert(tmp_path / "in", tmp_path / "out", "rle")
    assert words in capsys.readouterr().out
    for i, mask in enumerate(masks):
        assert ((read_image(tmp_path / f"out/masks/p{i}.png")[..., 0] > 0) == mask).all()


def test_the_order_of_run_lengths_that_nothing_tells_is_asked(tmp_path):
    masks = write_codes(tmp_path / "in", np.s_[:], "rows", np.zeros_like)
    with pytest.raises(UserError, match="add --order columns, or --order rows"):
        convert(tmp_path / "in", tmp_path / "out", "rle")
    for order, wanted in (("rows", masks), ("columns", [mask.T for mask in masks])):
        convert(tmp_path / "in", tmp_path / order, "rle", order)
        for i, mask in enumerate(wanted):
            assert ((read_image(tmp_path / order / f"masks/p{i}.png")[..., 0] > 0) == mask).all()
    with pytest.raises(UserError, match="belongs to --from rle"):
        convert(tmp_path / "in", tmp_path / "coco", "coco", "rows")


@pytest.mark.parametrize(("names", "stacks"), [("{}-volume.tif {}-labels.tif", 1), ("images/{}.tif masks/{}.tif", 4)])
def test_stacks(tmp_path, names, stacks):
    for stack in range(stacks):
        for name, part in zip(names.split(), (0, 1), strict=True):
            slices = np.stack([shapes(10 * stack + i)[part] for i in range(8)])
            path = tmp_path / "in" / name.format(f"s{stack}")
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = slices[..., 0] if part == 0 else slices * np.uint8(255)
            tifffile.imwrite(path, grey, photometric="minisblack")
    convert(tmp_path / "in", tmp_path / "out", "stack")
    found = opened(tmp_path / "out")
    assert len(found.pairs) == 8 * stacks and {pair.group for pair in found.pairs} == {f"s{i}" for i in range(stacks)}
    assert found.split.fixed == (stacks == 1) and min(parts(found)[:2]) > 0
    assert found.inspection.class_pixels(found.pairs)[1] == sum(
        int(shapes(10 * stack + i)[1].sum()) for stack in range(stacks) for i in range(8)
    )


@pytest.mark.parametrize("layout", ["{part}/_annotations.coco.json", "annotations/instances_{part}2017.json"])
def test_coco_in_parts(tmp_path, layout):
    """The project's own name, as Roboflow writes it, is no class; a part may lack a class."""
    categories = [
        {"id": i, "name": name, "supercategory": "plants" if i else "none"}
        for i, name in enumerate(("plants", "moss", "fern"))
    ]
    for part, count, classes in (("train", 5, (1, 2)), ("val", 2, (1,)), ("test", 2, (2,))):
        images, annotations = [], []
        for i in range(count):
            folder = part if "annotations/" not in layout else f"{part}2017"
            save(tmp_path / f"in/{folder}/{part}{i}.png", shapes(i)[0])
            images.append({"id": i, "file_name": f"{part}{i}.png", "width": 32, "height": 32})
            for label in classes:
                box = [8.0 * label, 2, 8 * label + 6, 2, 8 * label + 6, 9, 8 * label, 9]
                annotations.append({"id": len(annotations), "image_id": i, "category_id": label, "segmentation": [box]})
        path = tmp_path / "in" / layout.format(part=part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    convert(tmp_path / "in", tmp_path / "out", "coco")
    found = opened(tmp_path / "out")
    assert parts(found) == (5, 2, 2) and found.names == ("background", "moss", "fern")
