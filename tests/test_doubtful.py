"""Masks that can be read but do not mean what they seem to: numbered objects, inverted files, stretched colour maps."""

import json

import numpy as np
import pytest
import tifffile
from conftest import make_folder, save, shapes
from PIL import Image

from benchmarks.object_numbers import (
    CLASS_KINDS,
    NUMBERINGS,
    doubted,
    draw_classes,
    draw_objects,
)
from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import VOID
from data_pipeline.files import read_image
from data_pipeline.findings import refuse_errors
from data_pipeline.inspection import Meaning, inspect
from data_pipeline.masks import read_mask, read_raw
from data_pipeline.pairs import find_pairs
from data_pipeline.source import Source


def checked(folder, **options):
    return inspect(folder, find_pairs(folder)[0], **options)


def kinds(data) -> dict[str, str]:
    return {finding.kind: str(finding) for finding in data.findings}


@pytest.mark.parametrize("kind", NUMBERINGS)
def test_numbered_objects_never_pass(kind):
    assert doubted(draw_objects(np.random.default_rng([500, 3]), kind))


@pytest.mark.parametrize("kind", CLASS_KINDS)
def test_classes_are_not_doubted(kind):
    assert not doubted(draw_classes(np.random.default_rng([2, 4]), kind))


def objects_on_disk(folder, encode=lambda mask: mask.astype(np.uint16)):
    drawn = draw_objects(np.random.default_rng(9), "with gaps")
    for i, (image, mask) in enumerate(zip(drawn.images, drawn.masks, strict=True)):
        save(folder / f"images/{i}.png", image)
        save(folder / f"masks/{i}.png", encode(mask))
    return drawn


def test_numbered_objects_are_refused_with_both_answers(tmp_path):
    drawn = objects_on_disk(tmp_path)
    values = sorted(set(np.concatenate([np.unique(mask) for mask in drawn.masks]).tolist()))
    with pytest.raises(UserError, match=r"seem to number objects, not classes\. Add --one-class.*--classes NAME"):
        checked(tmp_path)
    as_one = open_dataset(Source(data=tmp_path, one_class=True, classes="cell"), seed=0)
    assert as_one.names == ("background", "cell")
    assert as_one.inspection.class_pixels(as_one.pairs)[1] == sum((mask > 0).sum() for mask in drawn.masks)
    as_classes = checked(tmp_path, meaning=Meaning(names=tuple(f"c{value}" for value in values)))
    assert as_classes.encoding.values == tuple(values)
    classes = [{"name": "ground", "value": 0}, {"name": "cell", "value": "above 0"}]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes}))
    encoding = checked(tmp_path).encoding
    assert encoding.names == ("ground", "cell")
    assert (read_mask(tmp_path / "masks/0.png", encoding) == (drawn.masks[0] > 0)).all()
    assert encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding


def test_objects_in_colours_are_refused_too(tmp_path):
    colors = np.random.default_rng(5).integers(30, 255, (300, 3)).astype(np.uint8)
    colors[0] = 0
    objects_on_disk(tmp_path, lambda mask: colors[mask])
    with pytest.raises(UserError, match="seem to number objects"):
        checked(tmp_path)
    assert checked(tmp_path, meaning=Meaning(one_class=True)).encoding.num_classes == 2


def test_the_wrong_number_of_names_is_refused(tmp_path):
    make_folder(tmp_path, 6, num_classes=3)
    assert checked(tmp_path, meaning=Meaning(names=("a", "b", "c"))).encoding.names == ("a", "b", "c")
    with pytest.raises(UserError, match="--classes a,b: 3 names are wanted, for the values 0, 1, 2"):
        checked(tmp_path, meaning=Meaning(names=("a", "b")))


def test_the_background_is_class_0_wherever_it_stands(tmp_path):
    make_folder(tmp_path, 6, encode=lambda mask: np.where(mask, 1, 2).astype(np.uint8))
    classes = [{"name": "pet", "value": 1}, {"name": "_Background_", "value": 2}]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes}))
    data = checked(tmp_path)
    assert data.encoding.names == ("_Background_", "pet")
    assert (read_mask(tmp_path / "masks/item000.png", data.encoding) == shapes(0)[1]).all()


def test_values_from_1_where_0_is_void(tmp_path):
    make_folder(tmp_path, 6, encode=lambda mask: np.where(np.arange(32) < 3, 0, mask + 1).astype(np.uint8))
    encoding = checked(tmp_path, void=(0,)).encoding
    assert encoding.values == (1, 2) and encoding.void == (0,)


@pytest.mark.parametrize("grey", [False, True])
def test_transparent_pixels_are_background(tmp_path, grey):
    """An eraser leaves the colour beneath; a cut-out has its label in the transparency alone."""

    def erased(mask):
        painted = mask.copy()
        painted[:5] = 1
        alpha = mask * np.uint8(255)
        if grey:
            return np.dstack([painted * np.uint8(255), alpha])
        return np.dstack([painted * np.uint8(200), painted * 0, painted * 0, alpha])

    make_folder(tmp_path, 6)
    for i in range(6):
        Image.fromarray(erased(shapes(i)[1]), "LA" if grey else "RGBA").save(tmp_path / f"masks/item{i:03d}.png")
    data = checked(tmp_path)
    assert (read_mask(tmp_path / "masks/item002.png", data.encoding) == shapes(2)[1]).all()
    assert "6 masks have colours under transparent pixels" in kinds(data)["hidden-colours"]


def test_black_on_transparent_is_refused(tmp_path):
    Image.fromarray(np.dstack([np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=np.uint8) * 255])).save(
        tmp_path / "m.png"
    )
    with pytest.raises(UserError, match="black on transparent"):
        read_raw(tmp_path / "m.png")


@pytest.mark.parametrize(("every", "high"), [(3, 255), (2, 1)])
def test_inverted_masks_are_named(tmp_path, every, high):
    make_folder(tmp_path, 18)
    for i in range(18):
        mask = shapes(i)[1]
        save(tmp_path / f"masks/item{i:03d}.png", (1 - mask if i % every == 0 else mask) * np.uint8(high))
    data = checked(tmp_path)
    assert f"{18 // every} of 18 masks seem to be inverted" in kinds(data)["inverted"]


def test_large_objects_are_not_inverted_masks(tmp_path):
    """In every third image the object reaches over the edge: the contrast stays."""
    rng = np.random.default_rng(0)
    for i in range(18):
        mask = np.zeros((32, 32), np.uint8)
        mask[(np.s_[:] if i % 3 == 0 else np.s_[9:20]), (np.s_[4:] if i % 3 == 0 else np.s_[9:20])] = 255
        image = np.where(mask[..., None] > 0, 180, 60) + rng.integers(0, 20, (32, 32, 3))
        save(tmp_path / f"images/{i}.png", image.astype(np.uint8))
        save(tmp_path / f"masks/{i}.png", mask)
    assert "inverted" not in kinds(checked(tmp_path))


def test_masks_that_hardly_differ_are_named(tmp_path):
    y, x = np.mgrid[:32, :32] - 16
    make_folder(tmp_path, 8, encode=lambda mask: ((y**2 + x**2 < 200) * 255).astype(np.uint8))
    assert "camera's field of view" in kinds(checked(tmp_path))["same-field"]


@pytest.mark.parametrize("name", ["viridis", "plasma", "jet"])
def test_a_stretched_colour_map_is_refused(tmp_path, name):
    import matplotlib

    for i in range(8):
        image, mask = shapes(i, num_classes=2 + i % 2)
        save(tmp_path / f"images/{i}.png", image)
        save(tmp_path / f"masks/{i}.png", matplotlib.colormaps[name](mask / mask.max(), bytes=True)[..., :3].copy())
    with pytest.raises(UserError, match=f"colour map {name}, which stretches"):
        refuse_errors(checked(tmp_path).findings)


def test_white_zeros_of_some_files_are_refused(tmp_path):
    make_folder(tmp_path, 6)
    for i in range(6):
        (tmp_path / f"masks/item{i:03d}.png").unlink()
        kind = "miniswhite" if i == 2 else "minisblack"
        tifffile.imwrite(tmp_path / f"masks/item{i:03d}.tif", shapes(i)[1] * np.uint8(255), photometric=kind)
    with pytest.raises(UserError, match="1 of 6 masks are TIFF files in which 0 is white"):
        refuse_errors(checked(tmp_path).findings)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_arrays_are_images_and_masks(tmp_path, kind):
    for i in range(6):
        image, mask = shapes(i)
        for folder, array in (("images", image), ("masks", mask.astype(kind))):
            (tmp_path / folder).mkdir(exist_ok=True)
            np.save(tmp_path / folder / f"{i}.npy", array)
    data = checked(tmp_path)
    refuse_errors(data.findings)
    assert (read_mask(tmp_path / "masks/1.npy", data.encoding) == shapes(1)[1]).all()
    assert (read_image(tmp_path / "images/1.npy") == shapes(1)[0]).all()


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"run": "code"}], object), allow_pickle=True)
    for read in (read_image, read_raw):
        with pytest.raises(UserError, match="not a readable array of numbers"):
            read(tmp_path / "a.npy")


def test_empty_pixels_that_are_void_raise_nothing(tmp_path):
    for name, value in (("void", 255), ("labelled", 1)):
        for i in range(4):
            image, mask = (part.astype(np.uint16) + 1 for part in shapes(i))
            image[:4] = 0
            mask = (mask - 1).astype(np.uint8)
            mask[:4] = value
            path = tmp_path / name / f"images/{i}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, image, photometric="rgb", extratags=[(42113, "s", 0, "0", True)])
            save(tmp_path / name / f"masks/{i}.png", mask)
    assert "no-data" not in kinds(checked(tmp_path / "void", void=(VOID,)))
    assert "labelled" in kinds(checked(tmp_path / "labelled"))["no-data"]
