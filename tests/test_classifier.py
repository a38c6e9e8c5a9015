"""Classifiers: counts, what trains at each stage, weights that fit and that do not, what a decision rests on."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipeline.labels import Photo
from data_pipeline.pixel_range import PixelRange
from engine.scoring.classifier_scores import activation_maps
from models import ENCODERS, build_classifier, build_model, train_from
from models.backbones import MOBILENET_V2

# Parameters of keras.applications without their tops (keras.io/api/applications, include_top=False), and the head.
PUBLISHED = {"mobilenet_v2": (2_257_984, 1280), "resnet50": (23_587_712, 2048), "efficientnet_v2_b0": (5_919_312, 1280)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_of_keras_applications(name, no_weights):
    encoder, features = PUBLISHED[name]
    assert build_classifier(name, 10).count_params() == encoder + 10 * features + 10


def test_counts_of_our_own_by_hand(no_weights):
    widths = (32, 64, 128, 256, 512)
    convolutions = sum(9 * (a * b + b * b) for a, b in zip((3, *widths), widths, strict=False))
    norms = sum(2 * 4 * width for width in widths)
    assert build_classifier("unet_encoder", 4).count_params() == convolutions + norms + 512 * 4 + 4
    widths = widths[:-1]
    convolutions = sum(9 * (a * b + b * b) for a, b in zip((3, *widths), widths, strict=False))
    norms = sum(2 * 4 * width for width in widths)
    assert build_classifier("small_cnn", 3).count_params() == convolutions + norms + 256 * 3 + 3


@pytest.mark.parametrize("name", ENCODERS)
def test_pixels_in_logits_out(name):
    logits = build_classifier(name, 3)(np.zeros((2, 48, 64, 3), np.uint8))
    assert logits.shape == (2, 3) and logits.dtype == "float32"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vgg", {}, "unknown encoder 'vgg'; choose one of mobilenet_v2"),
        ("small_cnn", {"num_classes": 1}, "num_classes is 1; at least 2"),
        ("mobilenet_v2", {"input_shape": (16, 64, 3)}, "16×64 pixels are too small for mobilenet_v2: at least 32"),
        (
            "mobilenet_v2",
            {"input_shape": (64, 64, 4)},
            "mobilenet_v2: takes red, green and blue, 3 channels; .* have 4",
        ),
        ("unet_encoder", {"weights": "imagenet"}, "no ImageNet weights of it, only of mobilenet_v2, resnet50, effi"),
        ("small_cnn", {"weights": "x.h5"}, "small_cnn: is trained from scratch"),
        ("mobilenet_v2", {"weights": "nowhere.h5"}, r"nowhere\.h5: there is no such file"),
    ],
)
def test_what_cannot_be_built(name, options, words):
    with pytest.raises(ValueError, match=words):
        build_classifier(name, **{"num_classes": 3} | options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of a random MobileNetV2 and of a ResNet50, and a U-Net."""
    folder = tmp_path_factory.mktemp("files")
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(None, None, 3))
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # averages that are not 0 and 1
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    network.save_weights(folder / "mobilenet.weights.h5")
    keras.applications.ResNet50(include_top=False, weights=None).save_weights(folder / "resnet.weights.h5")
    build_model("unet", 2).save(folder / "unet.keras")
    build_model("fc_densenet56", 2).save(folder / "dense.keras")
    return folder


def test_trainable_tensors_at_each_stage(files):
    """52 convolutions, each 1 kernel; block 13 and later, 13; kernel and bias of the last layer."""
    classifier = build_classifier("mobilenet_v2", 5, weights=str(files / "mobilenet.weights.h5"))
    counted = []
    for block in ("head", "all", "block_13", "head"):
        train_from(classifier, block)
        counted.append(len(classifier.trainable_variables))
    assert counted == [2, 54, 15, 2]
    assert len(build_classifier("mobilenet_v2", 5).trainable_variables) == 54 + 2 * 52  # and scales and offsets
    with pytest.raises(ValueError, match="no layer's name begins with 'blok_3'; there are, among others, "):
        train_from(classifier, "blok_3")


@pytest.mark.parametrize("block", ["head", "all"])
def test_batch_normalisation_of_a_pretrained_encoder_is_bit_identical_after_training(files, block):
    classifier = build_classifier("mobilenet_v2", 3, (32, 32, 3), weights=str(files / "mobilenet.weights.h5"))
    train_from(classifier, block)
    encoder = classifier.get_layer("encoder")

    def norms():
        found = [layer for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)]
        return [weight.tobytes() for layer in found for weight in layer.get_weights()]

    def kernels():
        return [weight.numpy().tobytes() for weight in encoder.weights if weight.name == "kernel"]

    before, kernels_before = norms(), kernels()
    classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3)).astype(np.uint8)
    classifier.fit(images, np.arange(8) % 3, batch_size=4, epochs=2, verbose=0)
    assert norms() == before and len(before) == 4 * 52
    assert (kernels() == kernels_before) is (block == "head")


def test_a_pretrained_encoder_says_the_same_in_training():
    """EfficientNet drops layers at random when it trains; not here."""
    network = keras.applications.EfficientNetV2B0(include_top=False, weights=None, input_shape=(None, None, 3))
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"efficientnet-{os.getpid()}.weights.h5"
    try:
        network.save_weights(path)
        classifier = build_classifier("efficientnet_v2_b0", 3, weights=str(path))
    finally:
        path.unlink(missing_ok=True)
    train_from(classifier, "head")
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    encoder = classifier.get_layer("encoder")
    np.testing.assert_array_equal(encoder(x, training=True), encoder(x, training=False))


def test_each_encoder_gets_pixels_as_its_weights_were_trained_on():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    for name, module in (
        ("mobilenet_v2", keras.applications.mobilenet_v2),
        ("resnet50", keras.applications.resnet50),
        ("efficientnet_v2_b0", keras.applications.efficientnet_v2),
    ):
        classifier = build_classifier(name, 2)
        given = keras.Model(classifier.input, classifier.get_layer("preprocess").output)(pixels)
        np.testing.assert_allclose(given, module.preprocess_input(pixels.copy()), atol=1e-3)


def test_weights_of_another_network_are_refused_with_the_mismatch(files):
    with pytest.raises(
        ValueError, match=r"0 of 260 tensors match; Conv1/kernel, of shape \(3, 3, 3, 32\), is the first"
    ):
        build_classifier("mobilenet_v2", 3, weights=str(files / "resnet.weights.h5"))
    with pytest.raises(ValueError, match=r"0 of 20 layers match; down1_conv_a, \[\(3, 3, 3, 32\)\], is the first"):
        build_classifier("unet_encoder", 3, weights=str(files / "dense.keras"))
    (files / "text.keras").write_text("no network")
    for name in ("text.keras", "text.weights.h5"):
        (files / name).write_text("no network")
        with pytest.raises(ValueError, match=rf"{name}.*wanted is the model\.keras of a U-Net"):
            build_classifier("unet_encoder", 3, weights=str(files / name))


def test_a_unet_gives_its_contracting_path(files):
    donor = keras.models.load_model(files / "unet.keras", compile=False)
    encoder = build_classifier("unet_encoder", 3, weights=str(files / "unet.keras")).get_layer("encoder")
    taken = [layer for layer in encoder.layers if layer.weights]
    assert len(taken) == 20
    for layer in taken:
        for one, other in zip(layer.get_weights(), donor.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    x = np.random.default_rng(0).uniform(0, 1, (1, 32, 32, 3)).astype(np.float32)
    bottom = keras.Model(donor.get_layer("rescale").output, donor.get_layer("bottom_relu_b").output)
    np.testing.assert_allclose(encoder(x), bottom(x), atol=1e-5)


def test_an_activation_map_is_grad_cam(tmp_path):
    """The gradient of the class's logit, averaged, weighs the last maps (Selvaraju et al., equations 1 and 2)."""
    from conftest import save, shapes

    keras.utils.set_random_seed(1)
    classifier = build_classifier("unet_encoder", 3, (32, 32, 3))

    class Run:
        config, frame, pixel_range = (
            {"tile": None},
            type("Frame", (), {"size": (32, 32)}),
            PixelRange("uint8", (0,) * 3, (255,) * 3),
        )

        def model(self):
            return classifier

    save(tmp_path / "x.png", shapes(3)[0])
    image, heat = next(activation_maps(Run(), [Photo("x", tmp_path / "x.png", 0)], [2]))
    both = keras.Model(classifier.input, [classifier.get_layer("pool").input, classifier.output])
    with tf.GradientTape() as tape:
        maps, logits = both(image[None].astype(np.float32))
        tape.watch(maps)
        logit = classifier.get_layer("logits")(tf.reduce_mean(maps, (1, 2)))[0, 2]
    np.testing.assert_allclose(logit, logits[0, 2], rtol=1e-4)
    weights = tf.reduce_mean(tape.gradient(logit, maps), (1, 2))[0]
    expected = np.maximum(np.einsum("hwf,f->hw", maps[0], weights), 0)
    expected = expected / expected.max()
    at_centres = heat.reshape(2, 16, 2, 16).mean((1, 3))
    assert heat.shape == (32, 32) and heat.max() == 1 and heat.min() >= 0
    assert np.argmax(at_centres) == np.argmax(expected)
    assert np.corrcoef(at_centres.ravel(), expected.ravel())[0, 1] > 0.95


@pytest.mark.slow
def test_imagenet_features_tell_clothes_apart_and_shuffled_ones_do_not(tmp_path):
    """Real weights, and the same numbers shuffled within each kernel: a linear classifier on the features of both."""
    from sklearn.linear_model import LogisticRegression

    weights, clothing = os.environ.get("MOBILENET_V2_WEIGHTS"), os.environ.get("CLOTHING_DIR")
    if not weights or not clothing:
        pytest.skip("needs real data: set MOBILENET_V2_WEIGHTS to a file and CLOTHING_DIR to a folder of folders")
    from data_pipeline.labels import find_photos, first_of_each
    from data_pipeline.loader import PhotoLoader
    from engine.training.classifier import features_of

    photos = find_photos(Path(clothing)).photos
    parts = [
        first_of_each([p for p in photos if p.split == part], count) for part, count in (("train", 25), ("val", 99))
    ]
    shuffled = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(None, None, 3))
    shuffled.load_weights(weights)
    rng = np.random.default_rng(0)
    for weight in shuffled.weights:
        if weight.name == "kernel":
            weight.assign(rng.permuted(weight.numpy().ravel()).reshape(weight.shape))
    shuffled.save_weights(tmp_path / "shuffled.weights.h5")
    scores = {}
    for name, path in (("given", weights), ("shuffled", tmp_path / "shuffled.weights.h5")):
        model = build_classifier("mobilenet_v2", 10, (96, 96, 3), weights=str(path))
        features = [features_of(model, PhotoLoader(part, None, (96, 96)), 32) for part in parts]
        labels = [[photo.label for photo in part] for part in parts]
        scores[name] = LogisticRegression(max_iter=2000).fit(features[0], labels[0]).score(features[1], labels[1])
    assert scores["given"] > 0.55 and scores["shuffled"] < scores["given"] - 0.2, scores


def test_the_table_of_encoders_names_the_weights_that_keras_has():
    assert [name for name, encoder in ENCODERS.items() if encoder.imagenet] == list(PUBLISHED)
    assert MOBILENET_V2.url.endswith("_no_top.h5")
