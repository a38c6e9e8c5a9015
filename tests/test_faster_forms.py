"""The faster forms are the same networks: outputs, gradients, moving averages and files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models.fc_densenet
from models import build_model
from models.dense_layers import BatchNormalization as Shared
from models.dense_layers import scale_and_shift
from models.fc_densenet import fc_densenet
from models.layers import BatchNormalization as Fused

Plain = keras.layers.BatchNormalization


def plain():
    """Keras's own, which computes the moments of all that it reads; a class of the same name, as in files."""

    class BatchNormalization(Shared):
        def call(self, inputs, training=None):
            return keras.layers.BatchNormalization.call(self, tf.concat(inputs[0], -1), training=training)

    return BatchNormalization


def small(form, monkeypatch, **options):
    """A dense network of 2 poolings, with shared statistics or plain."""
    keras.utils.set_random_seed(3)
    with monkeypatch.context() as patched:
        if form == "plain":
            patched.setattr(models.fc_densenet, "BatchNormalization", plain())
        model = fc_densenet(3, growth_rate=4, block_layers=(2, 3, 2, 2, 2), dropout=0.0, **options)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # scales, offsets and averages that are not 1 and 0
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if len(weight.shape) == 1 else weight)
    return model


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # a policy once named in this process outlives set_floatx
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def test_shared_statistics_change_nothing(float64, monkeypatch):
    images = np.random.default_rng(1).uniform(0, 255, (2, 33, 40, 3))
    outputs = {}
    for form in ("plain", "shared"):
        whole = small(form, monkeypatch)
        model = keras.Model(whole.input, whole.get_layer("up1_concat").output)  # the logits are float32
        with tf.GradientTape() as tape:
            maps = model(images, training=True)
            loss = tf.reduce_mean(tf.sin(3 * maps))
        gradients = tape.gradient(loss, model.trainable_variables)
        after = model(images, training=False)  # by the moving averages, which one step has moved
        outputs[form] = [maps, *gradients, after, *model.non_trainable_variables]
        names = [(weight.path, weight.shape) for weight in model.weights]
        assert outputs.setdefault("names", names) == names
    for one, other in zip(outputs["plain"], outputs["shared"], strict=True):
        assert one.dtype == tf.float64 or one.dtype == "float64"
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("saved", "loaded"), [("plain", "shared"), ("shared", "plain")])
def test_weights_of_one_form_load_in_the_other(tmp_path, monkeypatch, saved, loaded):
    images = np.random.default_rng(1).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    first, second = small(saved, monkeypatch), small(loaded, monkeypatch)
    for weight in second.weights:
        weight.assign(weight * 0.5)
    assert (type(first.get_layer("down1_layer1_norm")) is Shared) is (saved == "shared")
    first.save_weights(tmp_path / "x.weights.h5")
    second.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_allclose(first(images), second(images), atol=1e-5)


def test_a_frozen_network_uses_its_averages_and_keeps_them(monkeypatch):
    images = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    model = small("shared", monkeypatch)
    model.trainable = False
    before = [weight.numpy() for weight in model.weights]
    np.testing.assert_allclose(model(images, training=True), model(images, training=False), atol=1e-6)
    assert all((a == b.numpy()).all() for a, b in zip(before, model.weights, strict=True))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_are_float32_under_16_bits(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model("fc_densenet56", 2)
    finally:
        keras.config.set_dtype_policy("float32")
    moments = model.get_layer("down1_layer1_norm")
    assert moments.compute_dtype == policy.removeprefix("mixed_")
    assert all(tensor.dtype == "float32" for tensor in moments.input[1:]) and model.output.dtype == "float32"


def test_each_map_is_measured_once():
    model = build_model("fc_densenet56", 2)
    measured = [layer for layer in model.layers if type(layer).__name__ == "Moments"]
    read = [layer.input for layer in measured]
    assert len({id(tensor) for tensor in read}) == len(read)


def test_no_concatenation_waits_for_its_gradient():
    """What the backward pass reads of the forward pass: maps, and nothing as wide as all of them together."""
    maps = [tf.random.normal((1, 16, 16, 8)) for _ in range(12)]
    scale = tf.ones(96)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([*maps, scale])
            outputs = tf.identity(scale_and_shift(scale, scale, *maps), name="forward_ends_here")
        return tape.gradient(outputs, [*maps, scale])

    graph = gradients.get_concrete_function().graph
    end = graph.get_operation_by_name("forward_ends_here")
    forward = sources(end)
    backward = [op for op in graph.get_operations() if op not in forward]
    assert any(x.op in forward for op in backward for x in op.inputs)
    kept = [x for op in backward for x in op.inputs if x.op in forward]
    assert {x.op.type for x in kept} <= {"Const", "Placeholder", "BiasAdd"}, kept  # constants, maps, the outputs


def sources(op):
    """An operation and all that it needs."""
    found, todo = set(), [op]
    while todo:
        op = todo.pop()
        if op not in found:
            found.add(op)
            todo += [x.op for x in op.inputs]
    return found


def test_fused_normalisation_changes_nothing():
    """As near to float64 as Keras's own float32 is: outputs, gradients, moving averages, and what they then give."""
    x = np.random.default_rng(0).normal(3, 2, (3, 5, 7, 4))
    found = {}
    for name, kind, dtype in (
        ("exact", keras.layers.BatchNormalization, "float64"),
        ("plain", keras.layers.BatchNormalization, "float32"),
        ("fused", Fused, "float32"),
    ):
        layer = kind(momentum=0.9, dtype=dtype)
        layer.build(x.shape)
        for weight, value in zip(layer.weights, np.random.default_rng(1).uniform(0.5, 1.5, (4, 4)), strict=True):
            weight.assign(value)
        maps = tf.constant(x, dtype)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            outputs = layer(maps, training=True)
            loss = tf.reduce_sum(tf.sin(3 * outputs))
        gradients = tape.gradient(loss, [maps, *layer.trainable_variables])
        averages = [variable.numpy() for variable in layer.non_trainable_variables]
        assert outputs.dtype == dtype
        found[name] = [np.asarray(value) for value in (outputs, *gradients, *averages, layer(maps, training=False))]
    for exact, plain, fused in zip(*found.values(), strict=True):
        np.testing.assert_allclose(fused, exact, rtol=1e-5, atol=1e-5)
        assert np.abs(fused - exact).max() < 4 * np.abs(plain - exact).max() + 1e-6


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("jit", [False, True])
def test_fused_normalisation_under_policies_and_xla(policy, jit):
    layer = Fused(dtype=policy)
    x = tf.random.normal((2, 8, 8, 4), 3.0, 2.0, seed=1)
    layer.build(x.shape)
    outputs = tf.function(lambda x: layer(x, training=True), jit_compile=jit)(x)
    assert outputs.dtype == policy.removeprefix("mixed_") and layer.moving_mean.dtype == "float32"
    mean, variance = tf.nn.moments(x, (0, 1, 2))
    np.testing.assert_allclose(tf.cast(outputs, "float32"), (x - mean) / tf.sqrt(variance + 1e-3), atol=0.03)
    np.testing.assert_allclose(layer.moving_variance, 0.99 + 0.01 * variance, rtol=1e-3)


def test_a_frozen_fused_normalisation_uses_its_averages_and_keeps_them():
    layer = Fused()
    x = tf.random.normal((2, 8, 8, 4), 3.0, 2.0, seed=1)
    layer.build(x.shape)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True), x / np.sqrt(1.001), rtol=1e-5)
    assert not layer.moving_mean.numpy().any()


@pytest.mark.parametrize(("saved", "loaded"), [(Fused, Plain), (Plain, Fused)])
def test_weights_of_a_unet_load_in_plain_keras_and_back(tmp_path, monkeypatch, saved, loaded):
    import importlib

    unet = importlib.import_module("models.unet")  # models.unet itself is the builder
    built = []
    for kind in (saved, loaded):
        monkeypatch.setattr(unet, "BatchNormalization", kind)
        built.append(unet.unet(2, width=4, depth=2))
        assert type(built[-1].get_layer("bottom_norm_a")) is kind
    built[0].save_weights(tmp_path / "x.weights.h5")
    built[1].load_weights(tmp_path / "x.weights.h5")
    x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(built[0](x), built[1](x), atol=1e-5)
