"""U-Net on pretrained encoders: what is loaded, what is refused, what trains, and that the numbers go in right."""

import os

import h5py
import keras
import numpy as np
import pytest
from conftest import shapes
from keras import layers

from engine.training.losses import PixelLoss
from models import MODELS, build_model
from models.backbones import MOBILENET_V2, RESNET50, load_weights

BACKBONES = {"unet_mobilenet_v2": MOBILENET_V2, "unet_resnet50": RESNET50}
PREPROCESS = {
    "unet_mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "unet_resnet50": keras.applications.resnet50.preprocess_input,
}
SKIPS = {  # channels of the encoder's maps, figure and tables of the two papers; the last is the bottom
    "unet_mobilenet_v2": (6 * 16, 6 * 24, 6 * 32, 6 * 96, 320),
    "unet_resnet50": (64, 256, 512, 1024, 2048),
}


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    """Nothing here may reach for the network, least of all loading a model that was trained."""

    def get_file(name, origin, **options):
        raise Exception("no network")  # the class that Keras's own raises

    monkeypatch.setattr(keras.utils, "get_file", get_file)


@pytest.fixture(scope="module", params=BACKBONES)
def untrained(request):
    keras.utils.set_random_seed(0)
    return request.param, build_model(request.param, 2, weights=None)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoder_norms(model):
    return [layer for layer in model.get_layer("encoder").layers if isinstance(layer, layers.BatchNormalization)]


def decoder_parameters(skips, bottom, classes):
    """2×2 up-convolution with bias, two 3×3 without, each with four numbers a channel of normalisation; five times."""
    total, before = 0, bottom
    for skip, width in zip((*reversed(skips), 0), (256, 128, 64, 32, 32), strict=True):
        total += 4 * before * width + width
        total += 9 * (skip + width) * width + 9 * width * width + 2 * 4 * width
        before = width
    return total + before * classes + classes


# keras.applications' own counts without the classifier: 2,257,984, less the 320 → 1280 convolution and its
# normalisation, and 23,587,712.
ENCODERS = {"unet_mobilenet_v2": 2_257_984 - 320 * 1280 - 4 * 1280, "unet_resnet50": 23_587_712}
TOTALS = {"unet_mobilenet_v2": 5_595_778, "unet_resnet50": 30_565_826}


def test_parameters(untrained):
    name, model = untrained
    *skips, bottom = SKIPS[name]
    assert model.get_layer("encoder").count_params() == ENCODERS[name]
    assert model.count_params() == ENCODERS[name] + decoder_parameters(skips, bottom, 2) == TOTALS[name]


def test_maps_have_the_right_size_and_meet_at_the_right_place(untrained):
    name, model = untrained
    encoder = model.get_layer("encoder")
    maps = encoder.compute_output_shape((1, 64, 96, 3))
    assert maps == [
        (1, 64 // step, 96 // step, channels) for step, channels in zip((2, 4, 8, 16, 32), SKIPS[name], strict=True)
    ]
    for level in (2, 3, 4, 5):
        skip, _ = model.get_layer(f"up{level}_concat").input
        assert skip.shape[-1] == SKIPS[name][level - 2]
    assert "up1_concat" not in [layer.name for layer in model.layers]
    names = [layer.name for layer in (*model.layers, *encoder.layers)]
    assert len(set(names)) == len(names)


def test_predicts_at_the_size_of_the_image(untrained):
    name, model = untrained
    images = noise(2, 64, 96, 3)
    logits = model.predict_on_batch(images)
    assert logits.shape == (2, 64, 96, 2) and logits.dtype == np.float32 and np.isfinite(logits).all()
    assert model.predict_on_batch(noise(1, 32, 32, 3)).shape == (1, 32, 32, 2), "the smallest, as MODELS says"
    assert MODELS[name].min_size == MODELS[name].multiple == 32


def test_the_encoder_sees_what_its_weights_were_trained_on(untrained):
    name, model = untrained
    backbone, encoder = BACKBONES[name], model.get_layer("encoder")
    plain = backbone.build(input_shape=(64, 64, 3), include_top=False, weights=None)
    for layer in encoder.layers[1:]:  # the first is the input
        plain.get_layer(layer.name).set_weights(layer.get_weights())
    plain = keras.Model(plain.input, [plain.get_layer(layer).output for layer in backbone.maps])

    images = noise(1, 64, 64, 3)
    expected = plain.predict_on_batch(PREPROCESS[name](images.astype(np.float32)))
    ours = keras.Model(model.input, encoder(model.get_layer("preprocess").output)).predict_on_batch(images)
    for one, other in zip(ours, expected, strict=True):
        assert other.std() > 0
        np.testing.assert_allclose(one, other, atol=1e-4 * abs(other).max())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unet_mobilenet_v2", (1.0, 2 * 0.2 - 1, -1.0)),
        ("unet_resnet50", (0 - 103.939, 51 - 116.779, 255 - 123.68)),  # blue, green, red
    ],
)
def test_one_pixel_by_hand_and_a_scale_for_each_channel(name, expected):
    """Red full, green a fifth, blue none: as bytes, and as 16 bits with another range for each channel."""
    bytes_ = np.full((1, 32, 32, 3), (255, 51, 0), np.uint8)
    deep = np.full((1, 32, 32, 3), (65_535, 300, 20), np.uint16)
    scale = {"scale": [1 / 65_535, 1 / 1_000, 1 / 80], "offset": [0.0, -0.1, -0.25]}
    for images, options in ((bytes_, {}), (deep, scale)):
        model = build_model(name, 1, weights=None, **options)
        seen = keras.Model(model.input, model.get_layer("preprocess").output)(images)
        np.testing.assert_allclose(seen[0, 7, 9], expected, atol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_an_unknown_number_of_channels_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name}: the number of channels is not known"):
        build_model(name, 2, (None, None, None), weights=None)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_pixels_and_the_logits_whole(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model("unet_mobilenet_v2", 2, (32, 32, 3), weights=None, scale=1 / 65_535)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("encoder").get_layer("Conv1").compute_dtype == policy.removeprefix("mixed_")
    assert model.get_layer("preprocess").output.dtype == "float32"
    logits = model(np.full((1, 32, 32, 3), 65_535, np.uint16))
    assert logits.dtype == "float32" and np.isfinite(logits).all()


@pytest.fixture(scope="module")
def random_encoder(tmp_path_factory):
    """A whole MobileNetV2 without classifier, every tensor random, in both of Keras's formats."""
    encoder = keras.applications.MobileNetV2(input_shape=(64, 64, 3), include_top=False, weights=None)
    rng = np.random.default_rng(0)
    encoder.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in encoder.weights])
    folder = tmp_path_factory.mktemp("weights")
    encoder.save_weights(folder / "new.weights.h5")
    encoder.save(folder / "old.h5")
    return encoder, folder


@pytest.mark.parametrize("file", ["new.weights.h5", "old.h5"])
def test_every_tensor_comes_from_the_file(random_encoder, file):
    source, folder = random_encoder
    model = build_model("unet_mobilenet_v2", 2, weights=folder / file)
    encoder = model.get_layer("encoder")
    assert len(encoder.weights) == 5 * 51, "a convolution and its normalisation, 52 times, less the classifier's"
    for layer in encoder.layers[1:]:  # the first is the input
        for mine, theirs in zip(layer.get_weights(), source.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "narrow.weights.h5"
    keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None).save_weights(
        path
    )
    with pytest.raises(ValueError, match=r"narrow.weights.h5 does not fit(.|\n)*MobileNetV2(.|\n)*shape"):
        build_model("unet_mobilenet_v2", 2, weights=path)
    with pytest.raises(ValueError, match=r"narrow.weights.h5 does not fit(.|\n)*ResNet50(.|\n)*conv1_conv"):
        build_model("unet_resnet50", 2, weights=path)


def swap_means_and_variances(variables):
    """Means may be negative, variances may not."""
    mean, variance = variables["2"][...], variables["3"][...]
    variables["2"][...], variables["3"][...] = variance, -mean


def drop(variables):
    for name in list(variables):
        del variables[name]


def spoil(variables):
    variables["0"][0] = np.nan


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (swap_means_and_variances, "1 of 260 tensors .*bn_Conv1/moving_variance"),
        (drop, "bn_Conv1"),
        (spoil, "1 of 260 tensors .*bn_Conv1/gamma"),
    ],
)
def test_a_damaged_file_is_refused(random_encoder, tmp_path, damage, words):
    path = tmp_path / "damaged.weights.h5"
    path.write_bytes((random_encoder[1] / "new.weights.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        damage(file["layers/batch_normalization/vars"])
    with pytest.raises(ValueError, match=rf"damaged.weights.h5 does not fit(.|\n)*{words}"):
        build_model("unet_mobilenet_v2", 2, weights=path)


def test_a_loader_that_skips_a_layer_is_found_out(random_encoder, monkeypatch):
    """Keras leaves a tensor as it was in more than one case, with a warning at most."""
    source, folder = random_encoder
    whole = keras.applications.MobileNetV2(input_shape=(64, 64, 3), include_top=False, weights=None)

    def all_but_one(path):
        for weight, value in list(zip(whole.weights, source.get_weights(), strict=True))[1:]:
            weight.assign(value)

    monkeypatch.setattr(whole, "load_weights", all_but_one)
    with pytest.raises(ValueError, match=r"1 of 260 tensors are missing.*Conv1/kernel"):
        load_weights(whole, str(folder / "new.weights.h5"), "wanted is a file of weights")


@pytest.mark.parametrize(("file", "words"), [("no.weights.h5", "no such file"), ("imagnet", "wanted are imagenet")])
def test_a_file_that_is_not_there(tmp_path, file, words):
    with pytest.raises(ValueError, match=rf"{file}.*{words}"):
        build_model("unet_mobilenet_v2", 2, weights=str(tmp_path / file))


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "text.h5"
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match=r"text.h5 does not fit"):
        build_model("unet_mobilenet_v2", 2, weights=path)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_message_names_the_file_that_keras_applications_would_fetch(name, monkeypatch):
    from keras.src.utils import file_utils

    asked = []

    def get_file(file, url, cache_subdir, file_hash=None):
        asked.append((file, url, cache_subdir, file_hash))
        raise Exception("asked")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(Exception, match="asked"):
        BACKBONES[name].build(input_shape=(224, 224, 3), include_top=False, weights="imagenet")
    file, url, folder, file_hash = asked[0]

    with pytest.raises(ValueError, match="no network") as caught:
        build_model(name, 2)
    for words in (url, f"~/.keras/{folder}/{file}", "--weights FILE"):
        assert words in str(caught.value)
    assert BACKBONES[name].file_hash == file_hash


def test_imagenet_weights_come_through_the_cache_of_keras(random_encoder, monkeypatch):
    source, folder = random_encoder
    asked = []
    monkeypatch.setattr(keras.utils, "get_file", lambda *args, **options: asked.append(options) or folder / "old.h5")
    model = build_model("unet_mobilenet_v2", 2)
    assert [options["cache_subdir"] for options in asked] == ["models"]
    kernel = model.get_layer("encoder").get_layer("Conv1").kernel
    np.testing.assert_array_equal(kernel, source.get_layer("Conv1").kernel)


def one_step(model, images):
    model.compile(keras.optimizers.SGD(1e-3), PixelLoss("ce"), run_eagerly=True)  # tracing takes longer than the step
    model.fit(images, noise(*images.shape[:3]) % 2, batch_size=len(images), epochs=1, verbose=0)


def test_a_pretrained_encoder_keeps_its_normalisation_and_trains_its_convolutions(random_encoder, tmp_path):
    keras.utils.set_random_seed(0)
    whole = keras.applications.MobileNetV2(input_shape=(64, 64, 3), include_top=False, weights=None)
    whole.save_weights(tmp_path / "encoder.weights.h5")
    built = build_model("unet_mobilenet_v2", 2, weights=tmp_path / "encoder.weights.h5")
    built.save(tmp_path / "model.keras")
    for model in (built, keras.models.load_model(tmp_path / "model.keras")):
        norms, convolution = encoder_norms(model), model.get_layer("encoder").get_layer("Conv1").kernel
        before = [value for norm in norms for value in norm.get_weights()]
        kernel, decoder = convolution.numpy(), model.get_layer("up5_norm_a").moving_mean.numpy()
        one_step(model, noise(2, 32, 32, 3))
        after = [value for norm in norms for value in norm.get_weights()]
        assert len(norms) == 51
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)
        assert np.abs(convolution - kernel).max() > 0
        assert np.abs(model.get_layer("up5_norm_a").moving_mean - decoder).max() > 0
        assert not {id(weight) for norm in norms for weight in norm.weights} & set(map(id, model.trainable_weights))


def test_a_random_encoder_trains_its_normalisation_with_momentum_0_9():
    keras.utils.set_random_seed(0)
    model = build_model("unet_mobilenet_v2", 2, weights="none")
    encoder, images = model.get_layer("encoder"), noise(2, 32, 32, 3)
    first = keras.Model(encoder.input, encoder.get_layer("Conv1").output)
    maps = first(model.get_layer("preprocess")(model.get_layer("rescale")(images)))
    one_step(model, images)
    expected = 0.1 * np.mean(maps, axis=(0, 1, 2))
    np.testing.assert_allclose(encoder.get_layer("bn_Conv1").moving_mean, expected, rtol=1e-3, atol=1e-6)
    assert all(norm.trainable and norm.momentum == 0.9 for norm in encoder_norms(model))


def test_a_saved_model_is_the_same_when_loaded(untrained, tmp_path):
    _, model = untrained
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = noise(1, 64, 64, 3)
    np.testing.assert_allclose(loaded.predict_on_batch(images), model.predict_on_batch(images), rtol=1e-4, atol=1e-5)


def score_after_training(model, steps):
    """Mean IoU on the four images that it was trained on, and the loss of each step."""
    from engine.scoring.confusion import confusion_matrix, mean_iou

    images, labels = map(np.stack, zip(*(shapes(index, 64, 3) for index in range(4)), strict=True))
    model.compile(keras.optimizers.Adam(1e-3), PixelLoss("ce"))
    losses = model.fit(images, labels, batch_size=4, epochs=steps, verbose=0).history["loss"]
    predicted = model.predict(images, verbose=0).argmax(-1)
    return mean_iou(confusion_matrix(labels, predicted, 3)), losses


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("unet_mobilenet_v2", 200), ("unet_resnet50", 150)])
def test_overfits_four_images(name, steps):
    keras.utils.set_random_seed(0)
    score, _ = score_after_training(build_model(name, 3, weights=None), steps)
    assert score > 0.95


def test_real_weights_learn_four_images():
    path = os.environ.get("MOBILENET_WEIGHTS")
    if not path:
        pytest.skip("needs real weights: set MOBILENET_WEIGHTS to a .h5 file of MobileNetV2(include_top=False)")
    keras.utils.set_random_seed(0)
    score, losses = score_after_training(build_model("unet_mobilenet_v2", 3, weights=path), steps=60)
    assert losses[-1] < losses[0] / 4
    assert score > 0.9
