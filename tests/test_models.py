"""The builders against the papers' numbers, and against the mistakes that public ports have made."""

import keras
import numpy as np
import pytest
from keras import layers

from models import MODELS, build_model
from models.layers import Conv2DTranspose


def count(weights) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


# U-Net: base 64, transposed-convolution up, biases, no normalisation.
UNET_64 = {
    (1, 1): 31_030_593,
    (1, 2): 31_030_658,
    (3, 1): 31_031_745,
    (3, 2): 31_031_810,
    (3, 11): 31_032_395,
    (3, 12): 31_032_460,
}


@pytest.mark.parametrize(("channels", "classes"), UNET_64)
def test_unet_parameters(channels, classes, no_weights):
    shape = (None, None, channels)
    expected = UNET_64[channels, classes]
    assert build_model("unet_original", classes, shape).count_params() == expected
    assert build_model("unet", classes, shape, width=64, norm="none").count_params() == expected


@pytest.mark.parametrize(
    ("width", "classes", "expected"),
    [
        (32, 1, 7_760_097),
        (32, 2, 7_760_130),
        (32, 11, 7_760_427),
        (16, 1, 1_941_105),
        (16, 2, 1_941_122),
        (16, 11, 1_941_275),
    ],
)
def test_narrow_unet_parameters(width, classes, expected, no_weights):
    assert build_model("unet", classes, width=width, norm="none").count_params() == expected


def test_unet_batch_normalisation_parameters(no_weights):
    model = build_model("unet", 2, width=64)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 18
    assert sum(count(layer.trainable_weights) for layer in norms) == 11_776
    assert sum(count(layer.non_trainable_weights) for layer in norms) == 11_776
    assert count(model.trainable_weights) == 31_037_698
    assert all(layer.momentum == 0.9 for layer in norms)


def test_unet_parameters_per_layer(no_weights):
    model = build_model("unet_original", 2, (None, None, 1))
    by_layer = [layer.count_params() for layer in model.layers if layer.count_params()]
    assert by_layer == [
        *(640, 36_928, 73_856, 147_584, 295_168, 590_080, 1_180_160, 2_359_808, 4_719_616, 9_438_208),
        *(2_097_664, 4_719_104, 2_359_808, 524_544, 1_179_904, 590_080),
        *(131_200, 295_040, 147_584, 32_832, 73_792, 36_928, 130),
    ]
    assert len(by_layer) == 23


def test_unet_original_sizes(no_weights):
    model = build_model("unet_original", 2, (572, 572, 1))
    side = {layer.name: layer.output.shape[1] for layer in model.layers}
    assert model.output_shape == (None, 388, 388, 2)
    assert [side[f"down{i}_conv_b"] for i in (1, 2, 3, 4)] == [568, 280, 136, 64]
    assert side["bottom_conv_b"] == 28
    assert [side[f"up{i}_upconv"] for i in (4, 3, 2, 1)] == [56, 104, 200, 392]
    assert [side[f"up{i}_crop"] for i in (4, 3, 2, 1)] == [56, 104, 200, 392]


def test_unet_original_initial_weights_and_dropout():
    """Gaussian with standard deviation sqrt(2 / incoming nodes), up-convolutions included; section 3."""
    model = build_model("unet_original", 2)
    for name, incoming in (("down1_conv_b", 9 * 64), ("bottom_conv_b", 9 * 1024), ("up3_upconv", 512)):
        weights = np.array(model.get_layer(name).get_weights()[0])
        assert np.std(weights) == pytest.approx(np.sqrt(2 / incoming), rel=0.02)
        assert abs(weights).max() > 2.5 * np.sqrt(2 / incoming), "not truncated"
    dropped = [layer.name for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert dropped == ["down4_dropout", "bottom_dropout"], "the end of the contracting path"


@pytest.mark.parametrize(("channels", "expected"), [(1, 31_031_685), (3, 31_032_837)])
def test_unet_blog_parameters(channels, expected, no_weights):
    assert build_model("unet_blog", 1, (None, None, channels)).count_params() == expected


def test_unet_blog_skip_is_the_dropped_tensor(no_weights):
    model = build_model("unet_blog", 1)
    assert model.get_layer("up4_concat").input[0] is model.get_layer("down4_dropout").output
    assert model.get_layer("tail_conv").output.shape[-1] == 2


# FC-DenseNet: layers per block, growth rate, trainable parameters, parameters (3 channels, 11 classes).
TIRAMISU = {
    "fc_densenet56": ((4,) * 11, 12, 1_376_795, 1_397_963),
    "fc_densenet67": ((5,) * 11, 16, 3_463_243, 3_502_923),
    "fc_densenet103": ((4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4), 16, 9_322_091, 9_425_163),
}
TIRAMISU_TOTALS = {
    "fc_densenet56": {12: 1_398_156, 2: 1_396_226, 1: 1_396_033},
    "fc_densenet67": {12: 3_503_212, 2: 3_500_322, 1: 3_500_033},
    "fc_densenet103": {12: 9_425_420, 2: 9_422_850, 1: 9_422_593},
}
# After each down block, bottleneck end, transition-up out, concat in, after each up block.
TIRAMISU_CHANNELS = {
    "fc_densenet56": (
        (96, 144, 192, 240, 288),
        336,
        (48,) * 5,
        (336, 288, 240, 192, 144),
        (384, 336, 288, 240, 192),
    ),
    "fc_densenet67": (
        (128, 208, 288, 368, 448),
        528,
        (80,) * 5,
        (528, 448, 368, 288, 208),
        (608, 528, 448, 368, 288),
    ),
    "fc_densenet103": (
        (112, 192, 304, 464, 656),
        896,
        (240, 192, 160, 112, 80),
        (896, 656, 464, 304, 192),
        (1088, 816, 576, 384, 256),
    ),
}


@pytest.fixture(scope="module", params=TIRAMISU)
def tiramisu(request):
    return request.param, build_model(request.param, 11)


def channels_of(model, layer: str) -> int:
    return model.get_layer(layer).output.shape[-1]


def maps_of(model, layer: str) -> list:
    """What a dense layer or a transition down reads."""
    maps_and_moments = model.get_layer(f"{layer}_norm").input  # as many of the one as of the other
    return maps_and_moments[: len(maps_and_moments) // 2]


def test_tiramisu_parameters(tiramisu):
    name, model = tiramisu
    _, _, trainable, total = TIRAMISU[name]
    assert count(model.trainable_weights) == trainable
    assert model.count_params() == total
    for classes, expected in TIRAMISU_TOTALS[name].items():
        logits = model.get_layer("logits").kernel.shape[2] + 1  # weights and bias of one class
        assert total - (11 - classes) * logits == expected


def test_tiramisu_parameters_of_two_classes_and_of_grey_images(no_weights):
    totals = TIRAMISU_TOTALS["fc_densenet56"]
    assert build_model("fc_densenet56", 2).count_params() == totals[2]
    assert build_model("fc_densenet56", 12, (None, None, 1)).count_params() == totals[12] - 864


def test_tiramisu_channels(tiramisu):
    name, model = tiramisu
    blocks, growth, *_ = TIRAMISU[name]
    down, bottleneck, up, concat, after = TIRAMISU_CHANNELS[name]
    assert tuple(channels_of(model, f"down{i}_transition_norm") for i in range(1, 6)) == down
    assert tuple(channels_of(model, f"down{i}_transition_pool") for i in range(1, 6)) == down
    assert channels_of(model, f"bottleneck_layer{blocks[5]}_norm") + growth == bottleneck
    assert tuple(channels_of(model, f"up{i}_transition_crop") for i in range(5, 0, -1)) == up
    assert tuple(channels_of(model, f"up{i}_layer1_norm") for i in range(5, 0, -1)) == concat
    ends = [channels_of(model, f"up{i}_layer{blocks[11 - i]}_norm") + growth for i in range(5, 0, -1)]
    assert tuple(ends) == after
    assert model.get_layer("logits").kernel.shape[2] == after[-1], "the last block must keep its input"


def test_tiramisu_blocks_are_dense_and_as_deep_as_the_table(tiramisu):
    name, model = tiramisu
    blocks, growth, *_ = TIRAMISU[name]
    places = [*(f"down{i}" for i in range(1, 6)), "bottleneck", *(f"up{i}" for i in range(5, 0, -1))]
    for place, depth in zip(places, blocks, strict=True):
        convs = [layer for layer in model.layers if layer.name.startswith(f"{place}_layer") and "_conv" in layer.name]
        assert len(convs) == depth
        seen = [layer.kernel.shape[2] for layer in convs]
        assert np.diff(seen).tolist() == [growth] * (depth - 1), "each layer sees all that came before it"
        assert {layer.kernel.shape[3] for layer in convs} == {growth}


def test_tiramisu_skip_connections_and_kinds_of_layer(tiramisu):
    _, model = tiramisu
    for i in range(1, 6):
        joined = [model.get_layer(f"up{i}_transition_crop").output, *maps_of(model, f"down{i}_transition")]
        assert [id(x) for x in maps_of(model, f"up{i}_layer1")] == [id(x) for x in joined]
        pool, up = model.get_layer(f"down{i}_transition_pool"), model.get_layer(f"up{i}_transition_upconv")
        assert type(pool) is layers.MaxPooling2D
        assert type(up) is layers.Conv2DTranspose
        assert (up.kernel_size, up.strides, up.padding) == ((3, 3), (2, 2), "valid")
        assert up.kernel.shape[2] == up.kernel.shape[3]
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        assert norm.gamma.shape == (norm.output.shape[-1],), "normalised over the channels"
        assert (norm.epsilon, norm.momentum) == (1e-4, 0.9)
    convs = [layer for layer in model.layers if hasattr(layer, "kernel")]
    assert all(layer.use_bias for layer in convs)
    assert all(type(layer.kernel_initializer) is keras.initializers.HeUniform for layer in convs)
    dropouts = [layer for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert {layer.rate for layer in dropouts} == {0.2}
    assert len(dropouts) == len(norms), "after every convolution of a layer and of a transition down"
    assert model.get_layer("first_conv").input is model.get_layer("rescale").output


def test_tiramisu_takes_sizes_that_poolings_round_down():
    model = build_model("fc_densenet56", 3)
    assert model(np.zeros((1, 45, 61, 3), np.uint8)).shape == (1, 45, 61, 3)
    assert build_model("fc_densenet56", 3, (360, 480, 3)).output_shape == (None, 360, 480, 3)


def test_tiramisu_trains_every_weight():
    """A classifier that reads the transition leaves the last block dead."""
    import tensorflow as tf

    model = build_model("fc_densenet56", 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3)), training=True) ** 2)
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        if weight.name != "bias":  # one that a normalisation follows has none
            assert gradient is not None and float(tf.reduce_max(tf.abs(gradient))) > 0, weight.path


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_tiramisu_normalises_by_the_batch_only_when_asked(batch_statistics):
    model = build_model("fc_densenet56", 2, batch_statistics=batch_statistics)
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3)).astype(np.uint8)
    before = [weight.tobytes() for weight in model.get_weights()]
    alone, together = model.predict_on_batch(images[:1]), model.predict_on_batch(images)[:1]
    assert before == [weight.tobytes() for weight in model.get_weights()], "prediction changes no weight"
    assert np.allclose(alone, together, atol=1e-4) is not batch_statistics


@pytest.mark.parametrize("name", ["unet", "unet_blog", "fc_densenet56"])
def test_pixels_stay_in_their_place(name):
    """A reshape that scrambles channels-last pixels would answer elsewhere."""
    keras.utils.set_random_seed(0)
    model = build_model(name, 2)
    image = np.full((1, 64, 96, 3), 128, np.uint8)
    marked = image.copy()
    marked[0, 44:48, 20:24] = 255
    change = np.abs(model.predict_on_batch(marked) - model.predict_on_batch(image)).sum(-1)[0]
    near = change[38:54, 14:30].mean()
    assert near > 1.3 * change.mean()
    assert near > 1.3 * change[::-1, ::-1][38:54, 14:30].mean()


def values_at(model, tensors: list) -> list[np.ndarray]:
    """What these tensors of a network hold for one image of noise."""
    height, width = MODELS[model.name].input_size(32, 32)
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.float32)
    return [np.asarray(value) for value in keras.Model(model.input, tensors)(image)]


@pytest.mark.parametrize("name", ["unet", "unet_original", "unet_blog"])
def test_unet_rectifies_after_every_convolution(name):
    """Poolings, second convolutions, up-convolutions and the logits read what a ReLU left: nothing below 0.

    Linear are the up-convolutions of the paper, and not those of the blog.
    """
    model = build_model(name, 2, width=4)
    places = [f"{side}{level}" for side in ("down", "up") for level in range(1, 5)] + ["bottom"]
    readers = [*(f"{place}_conv_b" for place in places), *(f"pool{i}" for i in range(1, 5)), "logits"]
    readers += [f"up{i}_upconv" for i in range(1, 5)]
    read = values_at(model, [model.get_layer(reader).input for reader in readers])
    for reader, value in zip(readers, read, strict=True):
        assert value.min() == 0 and value.max() > 0, reader
    ups = values_at(model, [model.get_layer(f"up{i}_concat").input[1] for i in range(1, 5)])
    assert all((up.min() < 0) == (name != "unet_blog") for up in ups)


def test_tiramisu_rectifies_before_every_convolution():
    model = build_model("fc_densenet56", 2)
    convs = [layer for layer in model.layers if layer.name.endswith("_conv") and layer.name != "first_conv"]
    assert len(convs) == 44 + 5  # 11 blocks of 4 layers, 5 transitions down
    for conv, value in zip(convs, values_at(model, [conv.input for conv in convs]), strict=True):
        assert value.min() == 0 and value.max() > 0, conv.name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_upconv_is_the_transposed_convolution(dtype):
    import tensorflow as tf

    plain = layers.Conv2DTranspose(5, 2, strides=2, bias_initializer="normal", dtype=dtype)
    fast = Conv2DTranspose(5, 2, strides=2, dtype=dtype)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 4, 6)), dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        fast(x), plain(x)
        fast.set_weights(plain.get_weights())
        losses = [tf.reduce_sum(layer(x) ** 2) for layer in (plain, fast)]
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(fast(x), plain(x), atol=tolerance)
    for source in ("x", "kernel", "bias"):
        one, other = (
            tape.gradient(loss, x if source == "x" else getattr(layer, source))
            for loss, layer in zip(losses, (plain, fast), strict=True)
        )
        np.testing.assert_allclose(one, other, atol=tolerance * 100)


def test_weights_of_the_plain_upconv_load(tmp_path):
    """By name, as Keras reads a checkpoint: of the plain form into ours, and back."""

    def model_of(layer):
        return keras.Sequential([layers.Input((4, 4, 3)), layer(5, 2, strides=2, bias_initializer="normal")])

    plain, fast = model_of(layers.Conv2DTranspose), model_of(Conv2DTranspose)
    fast.save_weights(tmp_path / "fast.weights.h5")
    plain.load_weights(tmp_path / "fast.weights.h5")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    np.testing.assert_allclose(fast(x), plain(x), atol=1e-5)
    other = model_of(Conv2DTranspose)
    plain.save_weights(tmp_path / "plain.weights.h5")
    other.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(other(x), fast(x))


@pytest.mark.parametrize("size", [3, 1])
def test_other_transposed_convolutions_are_those_of_keras(size):
    plain, ours = (kind(4, size, strides=2, padding="same") for kind in (layers.Conv2DTranspose, Conv2DTranspose))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    plain(x), ours(x)
    ours.set_weights(plain.get_weights())
    np.testing.assert_array_equal(plain(x), ours(x))


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("up", ["transpose", "bilinear"])
def test_unet_options(norm, up):
    model = build_model("unet", 3, width=4, depth=2, norm=norm, up=up, dropout=0.1)
    assert model(np.zeros((1, 20, 36, 3), np.uint8)).shape == (1, 20, 36, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("unet3", 2), "fc_densenet103"),
        (("unet", 0), "at least 1"),
        (("unet", 2, (100, 128, 3)), "use 96 or 112"),
        (("unet_original", 2, (200, 572, 3)), "use 188 or 204"),
        (("fc_densenet56", 2, (16, 64, 3)), "at least 32"),
    ],
)
def test_errors_say_what_to_do(arguments, words):
    with pytest.raises(ValueError, match=words):
        build_model(*arguments)


@pytest.mark.parametrize("name", MODELS)
def test_spec_sizes_fit(name, no_weights):
    spec = MODELS[name]
    height, width = spec.input_size(100, 37)
    model = build_model(name, 2, (height, width, 3), **({"weights": None} if spec.pretrained else {}))
    assert model.output_shape[1:3] == spec.output_size(100, 37)
    assert model.output_shape[1] >= 100 and model.output_shape[2] >= 37
    assert model.output.dtype == "float32"


def test_logits_are_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model("unet", 2, width=4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("bottom_conv_a").compute_dtype == "bfloat16"
    assert model(np.zeros((1, 32, 32, 3), np.uint8)).dtype == "float32"


def squares(size: int, count: int):
    """Random squares on noise; the label is the square."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 100, (count, size, size, 3)).astype(np.uint8)
    labels = np.zeros((count, size, size), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, size // 2, 2)
        part = np.s_[top : top + size // 2, left : left + size // 2]
        image[part] += 60
        label[part] = 1
    return images, labels


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("unet", {"width": 8}), ("fc_densenet56", {})])
def test_overfits_four_images(name, options):
    from engine.scoring.confusion import confusion_matrix, mean_iou
    from engine.training.losses import PixelLoss

    keras.utils.set_random_seed(0)
    images, labels = squares(32, 4)
    model = build_model(name, 2, **options)
    model.compile(keras.optimizers.Adam(2e-3), PixelLoss("ce"))
    model.fit(images, labels, batch_size=4, epochs=120, verbose=0)
    predicted = model.predict(images, verbose=0).argmax(-1)
    assert mean_iou(confusion_matrix(labels, predicted, 2)) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet_original", "unet_blog", "fc_densenet103"])
def test_loss_halves_in_twenty_steps(name):
    from engine.training.losses import PixelLoss

    keras.utils.set_random_seed(2)
    spec = MODELS[name]
    height, width = spec.input_size(32, 32)
    images = np.random.default_rng(1).integers(0, 100, (4, height, width, 3)).astype(np.uint8)
    images[:, :, width // 2 :] += 150
    right = np.broadcast_to(np.arange(width) >= width // 2, (4, height, width)).astype(np.uint8)
    labels = right[:, spec.margin : height - spec.margin, spec.margin : width - spec.margin]
    options = {"width": 8, "dropout": 0.0} if name.startswith("unet") else {"l2": 0, "dropout": 0.0}
    model = build_model(name, 2, **options)
    model.compile(keras.optimizers.Adam(3e-4), PixelLoss("ce"))
    losses = model.fit(images, labels, batch_size=4, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
