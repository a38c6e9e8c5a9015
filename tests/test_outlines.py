"""Predictions for a labelling tool: what goes out comes in again, with its holes and its neighbours."""

import json

import cv2
import numpy as np
import pytest
from conftest import make_folder, save
from PIL import Image

from data_pipeline import Source, open_dataset
from data_pipeline.files import write_mask
from data_pipeline.importing.convert import convert
from data_pipeline.outlines import FORMS, objects_of, write_objects

NAMES = ("background", "cell", "tissue")
COLORS = ((0, 0, 0), (10, 20, 30), (40, 50, 60))


def scene(seed: int, size=(120, 160)) -> np.ndarray:
    """Discs with holes, bars that touch at sides and corners, single pixels, and blobs with ragged rims."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    for _ in range(4):
        center, radius = (int(rng.integers(160)), int(rng.integers(120))), int(rng.integers(8, 25))
        label = int(rng.integers(1, 3))
        cv2.circle(mask, center, radius, label, -1)
        cv2.circle(mask, center, radius // 3, int(rng.integers(0, 3)), -1)
    noise = cv2.GaussianBlur(rng.normal(size=size), (0, 0), 3)
    mask[(noise > 0.12) & (mask == 0)] = 1
    mask[70:90, 10:40], mask[70:90, 40:60], mask[90:110, 60:80] = 1, 2, 1  # side by side, and corner to corner
    mask[40:60, 100:120], mask[40:60, 121:141] = 2, 2  # one pixel apart
    mask[rng.integers(0, 120, 20), rng.integers(0, 160, 20)] = 2
    return mask


def components(mask, label):
    count, numbers = cv2.connectedComponents((mask == label).view(np.uint8), connectivity=4)
    return [numbers == number for number in range(1, count)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("names", [NAMES, ("sky", "cell", "tissue")])
def test_what_goes_out_comes_in_again(tmp_path, form, names):
    masks = {seed: scene(seed) for seed in range(4)}
    drawn = {}
    for seed, mask in masks.items():
        save(tmp_path / f"in/image{seed}.png", np.zeros((*mask.shape, 3), np.uint8))
        drawn[tmp_path / f"in/image{seed}.png"] = objects_of(mask, names, form)
    write_objects(tmp_path / "out", drawn, names, COLORS, form)
    convert(tmp_path / "out", tmp_path / "back", form)
    classes = [entry["name"] for entry in json.loads((tmp_path / "back/classes.json").read_text())["classes"]]
    number_of = [classes.index(name) for name in names]
    for seed, mask in masks.items():
        back = np.asarray(Image.open(tmp_path / f"back/masks/image{seed}.png"))
        for label in np.unique(mask):
            ours, theirs = components(mask, label), components(back, number_of[label])
            if label or names[0] != "background":
                assert len(ours) == len(theirs), "objects neither merge nor fall apart"
            for one in (one for one in ours if one.sum() > 100):
                best = max((one & other).sum() / (one | other).sum() for other in theirs)
                assert best >= 0.99


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["bg", "_Background_", "back ground"])
def test_background_is_no_object_however_it_is_written(tmp_path, form, name):
    """Neither going out nor coming in."""
    names = (name, "cell", "tissue")
    size, objects = objects_of(scene(0), names, form)
    assert objects == objects_of(scene(0), NAMES, form)[1]
    save(tmp_path / "in/a.png", np.zeros((*size, 3), np.uint8))
    write_objects(tmp_path / "out", {tmp_path / "in/a.png": (size, objects)}, names, COLORS, form)
    convert(tmp_path / "out", tmp_path / "back", form)
    classes = [entry["name"] for entry in json.loads((tmp_path / "back/classes.json").read_text())["classes"]]
    assert classes == list(NAMES)


@pytest.mark.parametrize("form", FORMS)
def test_a_smooth_object_has_few_points_and_a_ring_none(form):
    disc, ring = np.zeros((2, 100, 100), np.uint8)
    cv2.circle(disc, (50, 50), 30, 1, -1)
    cv2.circle(ring, (50, 50), 30, 1, 5)
    (_, (shape,)), (_, (code,)) = (objects_of(mask, NAMES, form) for mask in (disc, ring))
    if form == "coco":
        assert len(shape["segmentation"][0]) / 2 < 60 and set(code["segmentation"]) == {"size", "counts"}
        assert shape["bbox"] == [20, 20, 61, 61] and shape["area"] == disc.sum()
    else:
        assert shape["shape_type"] == "polygon" and len(shape["points"]) < 60 and code["shape_type"] == "mask"


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """A run of a data set with colours of its own, and predictions in every form."""
    from test_evaluate import make_run

    from engine.config import PredictConfig
    from predict import predict

    folder = tmp_path_factory.mktemp("predicted")
    data = make_folder(folder / "data", 12, size=48)
    classes = [
        {"name": "background", "value": 0, "color": [9, 8, 7]},
        {"name": "tree", "value": 1, "color": [1, 200, 3]},
    ]
    (data / "classes.json").write_text(json.dumps({"classes": classes}))
    run = make_run(data, folder / "runs", "first", slope=0.02, shift=-2.0)
    for form in FORMS:
        settings = {"probabilities": True, "uncertainty": True, "to": form}
        predict(PredictConfig(run=run, images=(data / "images",), out=folder / form, **settings))
    return folder


def test_masks_keep_the_data_sets_colours(predicted):
    with Image.open(predicted / "coco/item000.png") as mask:
        assert mask.getpalette()[:6] == [9, 8, 7, 1, 200, 3]
    assert json.loads((predicted / "coco/coco/annotations.json").read_text())["categories"][1]["color"] == [1, 200, 3]


@pytest.mark.parametrize(
    ("palette", "kept"),
    [
        (((9, 8, 7), (1, 200, 3)), True),
        (((0, 0, 0), (1, 1, 1)), False),  # grey levels: the indices themselves, hard to tell apart
        (((9, 8, 7), (9, 8, 7)), False),
    ],
)
def test_colours_of_a_palette_are_the_data_sets(tmp_path, palette, kept):
    from data_pipeline.encoding import PALETTE

    folder = make_folder(tmp_path / "data", 4)
    for path in (folder / "masks").iterdir():
        write_mask(path, np.asarray(Image.open(path)), palette)
    opened = open_dataset(Source(data=folder))
    assert opened.encoding.colors == (palette if kept else PALETTE[:2])


def test_probabilities_are_float16_and_end_in_the_mask(predicted):
    import tifffile

    probabilities = tifffile.imread(predicted / "coco/item000_probabilities.tif")
    mask = np.asarray(Image.open(predicted / "coco/item000.png"))
    assert probabilities.dtype == np.float16 and probabilities.shape == (48, 48, 2)
    assert np.abs(probabilities.astype(float).sum(-1) - 1).max() < 2e-3
    assert (probabilities.argmax(-1) == mask).mean() > 0.99
    with tifffile.TiffFile(predicted / "coco/item000_probabilities.tif") as tiff:
        assert json.loads(tiff.pages[0].description)["classes"] == ["background", "tree"]


def test_uncertainty_is_bright_where_the_network_is_unsure(predicted):
    import tifffile

    picture = np.asarray(Image.open(predicted / "coco/item000_uncertainty.png")).astype(int).sum(-1)
    sure = tifffile.imread(predicted / "coco/item000_probabilities.tif").max(-1)
    assert picture.shape == (48, 48)
    assert picture[sure < 0.75].mean() > picture[sure > 0.85].mean() + 20


@pytest.mark.parametrize("form", FORMS)
def test_predictions_come_back_through_convert(predicted, form, tmp_path):
    convert(predicted / form / form, tmp_path / "back", form)
    for path in (tmp_path / "back/masks").iterdir():
        ours = np.asarray(Image.open(predicted / form / path.name))
        assert (np.asarray(Image.open(path)) == ours).mean() > 0.995


def test_uncertain_images_come_first(predicted):
    listed = json.loads((predicted / "coco/coco/annotations.json").read_text())["images"]
    ranking = (predicted / "coco/uncertainty.csv").read_text().splitlines()[1:]
    assert [image["file_name"] for image in listed] == [row.partition(",")[0] for row in ranking]


def test_corrected_annotations_are_never_replaced(predicted):
    from data_pipeline.command import UserError
    from engine.config import PredictConfig
    from predict import predict

    run, images = predicted / "runs/first", (predicted / "data/images",)
    with pytest.raises(UserError, match="labelme exists"):
        predict(PredictConfig(run=run, images=images, out=predicted / "labelme", to="labelme", overwrite=True))
