"""Networks for other programs: the plain twin is the same function, and what is written is held to the run."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import ROOT, make_folder
from PIL import Image
from test_evaluate import make_run

from data_pipeline.command import UserError
from engine.config import ExportConfig
from engine.exporting import formats
from engine.exporting.equality import Comparison, classes_of
from engine.exporting.twin import plain_twin, sizes_of_twin
from export import export
from models import MODELS, build_model
from models.fc_densenet import fc_densenet

# Built narrow, so that each takes a moment.
NARROW = {
    "unet": lambda: build_model("unet", 2, width=4),
    "unet, group": lambda: build_model("unet", 3, (None, None, 5), width=8, norm="group", up="bilinear"),
    "unet_original": lambda: build_model("unet_original", 2, width=4),
    "unet_blog": lambda: build_model("unet_blog", 1, width=4),
    "fc_densenet56": lambda: fc_densenet(2, growth_rate=4, block_layers=(2, *(1,) * 10), name="fc_densenet56"),
}
FULL = {
    "unet_mobilenet_v2": lambda: build_model("unet_mobilenet_v2", 2, weights=None),
    "unet_resnet50": lambda: build_model("unet_resnet50", 2, weights=None),  # reverses the channels
}
has_onnx = all(importlib.util.find_spec(name) for name in formats.FORMATS["onnx"].packages)
needs_onnx = pytest.mark.skipif(not has_onnx, reason="needs requirements-export.txt")


def as_trained(model):
    """The network with moving averages unlike those that it began with."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif "moving_mean" in weight.path or "beta" in weight.path:
            weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


def logits(model, images):
    return keras.ops.convert_to_numpy(model(images.astype(np.float32), training=False))


def layers_of(model):
    for layer in model.layers:
        yield from layers_of(layer) if isinstance(layer, keras.Model) else [layer]


@pytest.mark.parametrize("name", [*NARROW, *(pytest.param(name, marks=pytest.mark.slow) for name in FULL)])
def test_the_twin_is_the_same_function_of_plain_layers(name):
    keras.utils.set_random_seed(0)
    model = as_trained((NARROW | FULL)[name]())
    spec = sizes_of_twin(model, MODELS[name.partition(",")[0]])
    twin = plain_twin(model)
    assert {type(layer).__module__.partition(".")[0] for layer in layers_of(twin)} == {"keras"}
    for size in (spec.input_size(1, 1), spec.input_size(60, 90)):
        images = np.random.default_rng(1).integers(0, 256, (2, *size, model.input_shape[-1]))
        ours, theirs = logits(model, images), logits(twin, images)
        assert ours.shape == theirs.shape and np.abs(ours).max() > 0.1
        assert np.abs(ours - theirs).max() < 1e-5 * max(1, np.abs(ours).max())


WITHOUT_THE_PROJECT = """
import importlib.util, keras, numpy as np
assert importlib.util.find_spec("models") is None
wanted = np.load("wanted.npz")
found = keras.models.load_model("twin.keras").predict(wanted["images"], verbose=0)
np.testing.assert_allclose(found, wanted["logits"], atol=1e-5 * max(1, np.abs(found).max()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "unet_original", "fc_densenet56", "unet_mobilenet_v2"])
def test_a_process_without_this_project_opens_the_twin(tmp_path, name):
    model = as_trained(build_model(name, 2, **({"weights": None} if MODELS[name].pretrained else {})))
    size = sizes_of_twin(model, MODELS[name]).input_size(32, 64)
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3)).astype(np.float32)
    np.savez(tmp_path / "wanted.npz", images=images, logits=logits(model, images))
    plain_twin(model).save(tmp_path / "twin.keras")
    command = [sys.executable, "-I", "-c", WITHOUT_THE_PROJECT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("to", ["savedmodel", "litert", pytest.param("onnx", marks=needs_onnx)])
@pytest.mark.parametrize("name", MODELS)
def test_every_network_in_every_format(tmp_path, name, to):
    weights = "none" if MODELS[name].pretrained else None
    path = make_run(make_folder(tmp_path / "data", 12, size=64), tmp_path / "runs", "run", model=name, weights=weights)
    model = build_model(name, 2, **({"weights": None} if weights else {}))
    as_trained(model).save(path / "model.keras")
    export(ExportConfig(run=path, to=to, out=tmp_path / "out"))
    rows = json.loads((tmp_path / "out/model.json").read_text())["compared_with_the_run"]
    exact = [row["share_of_equal_pixels"] for file, row in rows.items() if "8bit" not in file]
    assert min(exact) >= 0.999
    assert ("model_8bit.tflite" in rows) == (to == "litert")


def test_a_tiramisus_twin_takes_multiples_of_32():
    model = NARROW["fc_densenet56"]()
    assert sizes_of_twin(model, MODELS["fc_densenet56"]).input_size(33, 64) == (64, 64)
    assert sizes_of_twin(NARROW["unet"](), MODELS["unet"]) == MODELS["unet"]


def test_statistics_of_the_batch_are_refused_with_the_remedy():
    model = fc_densenet(2, growth_rate=2, block_layers=(1,) * 11, batch_statistics=True)
    with pytest.raises(UserError, match="--norm batch"):
        plain_twin(model)


def test_twins_of_mixed_precision_are_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = as_trained(NARROW["unet"]())
    finally:
        keras.config.set_dtype_policy("float32")
    twin = plain_twin(model)
    assert {layer.compute_dtype for layer in layers_of(twin)} == {"float32"}
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3))
    ours, theirs = logits(model, images), logits(twin, images)
    assert 0 < np.abs(ours - theirs).max() < 0.1 * np.abs(ours).max()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run around a narrow U-Net, on images that are no multiple of 16."""
    folder = tmp_path_factory.mktemp("export")
    path = make_run(make_folder(folder / "data", 12, size=40), folder / "runs", "first")
    keras.utils.set_random_seed(0)
    as_trained(NARROW["unet"]()).save(path / "model.keras")
    return path


def test_keras_file_model_json_and_card(run, tmp_path, capsys):
    out = tmp_path / "keras"
    export(ExportConfig(run=run, to="keras", out=out))
    said = capsys.readouterr().out
    assert re.search(
        r"model\.keras, 2 validation images: largest difference of logits .*, equal pixels 100\.000%", said
    )
    assert {path.name for path in out.iterdir()} == {"model.keras", "model.json", "README.md"}
    about = json.loads((out / "model.json").read_text())
    assert (
        about["input"]
        | {
            "multiple": 16,
            "remainder": 0,
            "minimum": 32,
            "margin": 0,
            "size": None,
            "resize": None,
            "black": [0, 0, 0],
            "white": [255, 255, 255],
        }
        == about["input"]
    )
    assert about["classes"][1] == {"index": 1, "name": "foreground", "color": [230, 159, 0]}
    assert about["output"]["decision"].startswith("the class whose logit is largest")
    assert about["pretrained_weights"] is None
    assert about["compared_with_the_run"]["model.keras"]["share_of_equal_pixels"] == 1
    readme = (out / "README.md").read_text()
    assert "background, foreground" in readme and "multiples of 16" in readme and "Not evaluated yet" in readme


def test_nothing_that_is_there_is_replaced(run, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="exists"):
        export(ExportConfig(run=run, to="keras", out=tmp_path / "there"))


def test_another_function_is_refused_and_leaves_nothing(run, tmp_path, monkeypatch):
    def spoil(twin, path):
        twin.get_layer("logits").bias.assign([0, 0.5])
        twin.save(path)

    spoiled = replace(formats.FORMATS["keras"].files[0], write=spoil)
    monkeypatch.setitem(formats.FORMATS, "keras", replace(formats.FORMATS["keras"], files=(spoiled,)))
    with pytest.raises(UserError, match=r"is not the run's network, so nothing was written"):
        export(ExportConfig(run=run, to="keras", out=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^ONNX needs onnx, tf2onnx, onnxruntime: pip install -r requirements-export"):
        export(ExportConfig(run=run, to="onnx", out=tmp_path / "out"))


def test_images_that_are_gone_are_named(run, tmp_path):
    with pytest.raises(UserError, match="not the files that"):
        export(ExportConfig(run=run, to="keras", out=tmp_path / "out", data=make_folder(tmp_path / "other", 12)))


def test_comparison_by_hand():
    found = Comparison()
    ours = np.array([[[1.0, 0.0], [0.0, 4.0]]])
    found.add(ours, ours + [[[0, 2], [0.5, 0]]], np.array([[0, 1]], np.uint8), 2)
    assert (found.images, found.difference, found.largest, found.equal_share) == (1, 2, 4, 0.5)
    assert found.mean_ious == (1, 0.25)  # both called 1: 0 of 1, and 1 of 2
    with pytest.raises(UserError, match=r"equal pixels 50\.000%"):
        found.refuse_unequal("model.onnx", "float32")


def test_one_logit_decides_by_its_sign():
    assert classes_of(np.array([[[-0.1], [0.1]]])).tolist() == [[0, 1]]


def test_the_licence_of_pretrained_weights_is_told(run, tmp_path):
    from engine.exporting.description import pretrained_weights
    from engine.run import Run

    for model, weights, licence in (
        ("unet_mobilenet_v2", None, "Apache"),
        ("unet_resnet50", "imagenet", "MIT"),
        ("unet_resnet50", "/some/file.h5", "not known"),
    ):
        opened = Run(run)
        opened.__dict__["config"] = {"model": model, "weights": weights}
        assert licence in pretrained_weights(opened)["licence"]
    opened.__dict__["config"] = {"model": "unet_resnet50", "weights": "none"}
    assert pretrained_weights(opened) is None


def blocks(title: str) -> str:
    """The code of docs/export.md: what prepares an image, and the chapter's own."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    chapters = {part.partition("\n")[0]: part for part in text.split("\n## ")}
    return "\n".join(
        code for name in ("The image", title) for code in re.findall(r"```python\n(.*?)```", chapters[name], re.DOTALL)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "title"),
    [
        pytest.param("onnx", "ONNX", marks=needs_onnx),
        ("litert", "LiteRT"),
        ("savedmodel", "TensorFlow"),
        ("keras", "Keras"),
    ],
)
@pytest.mark.parametrize("name", ["unet", "unet_original"])
def test_the_documents_code_gives_the_runs_mask(run, tmp_path, to, title, name):
    """In a process that does not know this project."""
    from engine import load_predictor

    if name == "unet_original":
        run = make_run(run.parents[1] / "data", tmp_path / "runs", "original", model=name)
        as_trained(NARROW[name]()).save(run / "model.keras")
    export(ExportConfig(run=run, to=to, out=tmp_path / "exported"))
    image = np.random.default_rng(0).integers(0, 256, (40, 37, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    code = (
        blocks(title) + "\nImage.fromarray(mask.astype(np.uint8)).save('mask.png')\nassert 'models' not in sys.modules"
    )
    (tmp_path / "example.py").write_text(f"import sys\n{code}")
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == load_predictor(run)(image)).mean() > 0.999
