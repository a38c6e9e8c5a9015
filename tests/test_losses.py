"""Every loss against numbers worked out by hand, its definition, and one device against several."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from data_pipeline.encoding import VOID
from data_pipeline.flags import words_of
from engine.config import LOSS_TERMS, TrainConfig
from engine.training.losses import LOSSES, PixelLoss, class_logits

# Probabilities (0.75, 0.25), (0.5, 0.5), (0.2, 0.8), and a pixel that never counts.
LOGITS = np.log(np.array([[[[3, 1], [1, 1], [1, 4], [9, 1]]]], np.float32))
LABELS = np.array([[[0, 1, 1, VOID]]], np.uint8)
WEIGHT = np.array([[[1, 1, 2, 0]]], np.float32)

PER_IMAGE = [name for name in LOSSES if name.endswith("_per_image")]
OVERLAP = ["dice", "jaccard", "tversky", "lovasz"]


def batch(seed, num_classes=3, size=(2, 6, 7)):
    """Labels, logits and weights at random; a fifth is void, and the images differ in it."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(2, num_classes), size).astype(np.uint8)
    weight = rng.uniform(0.5, 2, size).astype(np.float32)
    void = rng.random(size) < np.linspace(0.1, 0.4, size[0])[:, None, None]
    labels[void], weight[void] = VOID, 0
    return labels, rng.normal(size=(*size, num_classes)).astype(np.float32), weight


def value(name, labels, logits, weight):
    return float(LOSSES[name](labels, logits, weight))


def gradient(name, labels, logits, weight):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = LOSSES[name](labels, logits, weight)
    return tape.gradient(loss, logits).numpy()


def sigmoid_logits(p):
    return np.log(p / (1 - p)).astype(np.float32)[..., None]


def test_the_flag_names_every_loss():
    assert set(LOSS_TERMS) == set(LOSSES)


def words_of_the_flag() -> dict[str, str]:
    rows = (ROOT / "docs/train.md").read_text(encoding="utf-8").splitlines()
    (row,) = [row for row in rows if row.startswith("| `--loss`")]
    return {"--help-all": words_of(TrainConfig)["loss"], "docs/train.md": row.split("|")[3].replace("`", "")}


@pytest.mark.parametrize("place", words_of_the_flag())
def test_the_words_of_the_flag_name_every_loss(place):
    """Those over the batch by name, "or a sum"; and how many of the last can be taken over each image."""
    words = words_of_the_flag()[place]
    of_batch = [name for name in LOSSES if name not in PER_IMAGE]
    assert re.sub(r" \(.*?\)", "", words).partition(", or a sum")[0].strip().split(", ") == of_batch
    last = of_batch[-len(PER_IMAGE) :]
    assert [f"{name}_per_image" for name in last] == PER_IMAGE and f"{last[0]}_per_image and so on" in words
    count = {3: "three", 4: "four", 5: "five"}[len(last)]
    assert f"the last {count} " in words.lower().replace("\n", " ")


def test_focal_by_hand():
    expected = -(0.25**2 * np.log(0.75) + 0.5**2 * np.log(0.5) + 2 * 0.2**2 * np.log(0.8)) / 4
    assert value("focal", LABELS, LOGITS, WEIGHT) == pytest.approx(expected, abs=1e-6)


def test_jaccard_by_hand():
    # Σwyp, Σw(y + p − yp). Class 0: 0.75, 1 + 1.65 − 0.75. Class 1: 2.1, 3 + 2.35 − 2.1.
    expected = 1 - ((0.75 + 1) / (1.9 + 1) + (2.1 + 1) / (3.25 + 1)) / 2
    assert value("jaccard", LABELS, LOGITS, WEIGHT) == pytest.approx(expected, abs=1e-6)


def test_tversky_by_hand():
    """0.3 for false positives, 0.7 for false negatives."""
    # Class 0: TP 0.75, FP 0.5 + 2·0.2, FN 0.25. Class 1: TP 0.5 + 2·0.8, FP 0.25, FN 0.5 + 2·0.2.
    zero = (0.75 + 1) / (0.75 + 0.3 * 0.9 + 0.7 * 0.25 + 1)
    one = (2.1 + 1) / (2.1 + 0.3 * 0.25 + 0.7 * 0.9 + 1)
    assert value("tversky", LABELS, LOGITS, WEIGHT) == pytest.approx(1 - (zero + one) / 2, abs=1e-6)


def test_lovasz_by_hand():
    """Errors and weights, worst first: class 0 (size 1) has 0.5 (1), 0.25 (1, in it), 0.2 (2); class 1 (size 3) 0.5 (1,
    in it), 0.25 (1), 0.2 (2, in it). Beside them the Jaccard loss w(wrong) / w(wrong or true) as the wrong ones grow.
    """
    zero = 0.5 * (1 / 2) + 0.25 * (2 / 2 - 1 / 2) + 0.2 * (4 / 4 - 2 / 2)
    one = 0.5 * (1 / 3) + 0.25 * (2 / 4 - 1 / 3) + 0.2 * (4 / 4 - 2 / 4)
    assert value("lovasz", LABELS, LOGITS, WEIGHT) == pytest.approx((zero + one) / 2, abs=1e-6)


def lovasz_by_definition(labels, logits, weight):
    """Berman et al. 2018, definition 2, in float64: errors times the growth of the set function, for sets of pixels."""
    exponents = np.exp(logits.astype(float).reshape(-1, logits.shape[-1]))
    predicted = exponents / exponents.sum(1, keepdims=True)
    labels, weight = labels.ravel(), weight.ravel().astype(float)

    def jaccard_loss(wrong, true):
        return weight[wrong].sum() / weight[wrong | true].sum() if wrong.any() else 0

    values = []
    for label in np.unique(labels[weight > 0]):
        true = labels == label
        errors = np.abs(true - predicted[:, label])
        wrong, total = np.zeros(len(labels), bool), 0
        for pixel in np.argsort(-errors):
            before = jaccard_loss(wrong, true)
            wrong[pixel] = weight[pixel] > 0
            total += errors[pixel] * (jaccard_loss(wrong, true) - before)
        values.append(total)
    return np.mean(values)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_lovasz_is_the_extension_of_the_weighted_jaccard_loss(num_classes):
    labels, logits, weight = batch(num_classes, num_classes)
    expected = lovasz_by_definition(labels, logits, weight)
    assert value("lovasz", labels, logits, weight) == pytest.approx(expected, abs=1e-5)
    each = [lovasz_by_definition(*(x[i : i + 1] for x in (labels, logits, weight))) for i in (0, 1)]
    assert value("lovasz_per_image", labels, logits, weight) == pytest.approx(np.mean(each), abs=1e-5)


def test_lovasz_of_a_hard_mask_is_its_jaccard_loss():
    labels = np.array([[[0, 0, 1, 1, 1]]])
    predicted = np.array([0, 1, 1, 1, 0])
    weight = np.array([[[1, 2, 3, 1, 5]]], np.float32)
    expected = 1 - (1 / (1 + 2 + 5) + (3 + 1) / (3 + 1 + 2 + 5)) / 2
    logits = 200 * np.eye(2, dtype=np.float32)[predicted][None, None]
    assert value("lovasz", labels, logits, weight) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_of_2_counts_as_two_pixels(name):
    labels, logits, _ = batch(1)
    twice = [np.repeat(x, 2, axis=2) for x in (labels, logits)]
    weight = (labels != VOID).astype(np.float32)
    assert value(name, labels, logits, 2 * weight) == pytest.approx(
        value(name, *twice, np.repeat(weight, 2, axis=2)), abs=1e-5
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dice", 1 - (2 * 1.5 + 1) / (2 + 1.7 + 1)),
        ("jaccard", 1 - (1.5 + 1) / (2 + 1.7 - 1.5 + 1)),
        ("tversky", 1 - (1.5 + 1) / (1.5 + 0.3 * 0.2 + 0.7 * 0.5 + 1)),
        ("lovasz", 0.4 * (1 / 2) + 0.2 * (2 / 3 - 1 / 2) + 0.1 * (3 / 3 - 2 / 3)),
    ],
)
def test_one_logit_scores_the_foreground_alone(name, expected):
    labels, logits = np.array([[[1, 0, 1]]]), sigmoid_logits(np.array([[[0.9, 0.2, 0.6]]]))
    weight = np.ones((1, 1, 3), np.float32)
    assert value(name, labels, logits, weight) == pytest.approx(expected, abs=1e-6)
    assert value(f"{name}_per_image", labels, logits, weight) == pytest.approx(expected, abs=1e-6)


def test_focal_on_one_logit_is_that_on_two():
    labels, logits, weight = batch(2, num_classes=1)
    both = class_logits(logits).numpy()
    assert value("focal", labels, logits, weight) == pytest.approx(value("focal", labels, both, weight), abs=1e-6)


@pytest.mark.parametrize(("name", "with_false_alarms"), [("dice", 3 / 4), ("jaccard", 3 / 4), ("tversky", 0.9 / 1.9)])
def test_an_absent_class_costs_when_it_is_predicted(name, with_false_alarms):
    """Three pixels of background, one logit: with +1 above and below, no foreground at all scores 1."""
    labels, weight = np.zeros((1, 1, 3), np.uint8), np.ones((1, 1, 3), np.float32)
    for suffix in ("", "_per_image"):
        assert value(name + suffix, labels, np.full((1, 1, 3, 1), -50, np.float32), weight) == pytest.approx(0)
        wrong = value(name + suffix, labels, np.full((1, 1, 3, 1), 50, np.float32), weight)
        assert wrong == pytest.approx(with_false_alarms, abs=1e-6)


def test_lovasz_leaves_absent_classes_out():
    labels, logits = np.array([[[0, 0]]]), np.log(np.array([[[[0.7, 0.3], [0.6, 0.4]]]], np.float32))
    weight = np.ones((1, 1, 2), np.float32)
    expected = 0.4 * (1 / 2) + 0.3 * (2 / 2 - 1 / 2)  # class 0 alone
    assert value("lovasz", labels, logits, weight) == pytest.approx(expected, abs=1e-6)
    alarms = np.full((1, 1, 2, 1), 50, np.float32)  # one logit, no foreground
    assert value("lovasz", labels, alarms, weight) == 0
    assert (gradient("lovasz", labels, alarms, weight) == 0).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_classes", [1, 3])
def test_a_void_batch_gives_0_and_no_gradient(name, num_classes):
    labels, logits, _ = batch(3, num_classes)
    labels[:] = VOID
    weight = np.zeros(labels.shape, np.float32)
    assert value(name, labels, logits, weight) == pytest.approx(0)
    assert (gradient(name, labels, logits, weight) == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_device_without_images_gives_0(name):
    labels, logits, weight = (x[:0] for x in batch(3))
    assert value(name, labels, logits, weight) == pytest.approx(0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_classes", [1, 3])
def test_void_gets_no_gradient_and_changes_none(name, num_classes):
    labels, logits, weight = batch(4, num_classes)
    other = np.where((weight == 0)[..., None], np.float32(7), logits)
    slope = gradient(name, labels, logits, weight)
    assert (slope[weight == 0] == 0).all() and np.abs(slope[weight > 0]).max() > 0
    assert slope == pytest.approx(gradient(name, labels, other, weight), abs=1e-7)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_per_image_and_per_batch_are_told_apart(name):
    labels, logits, weight = batch(5, size=(3, 6, 7))
    each = [value(name, *(x[i : i + 1] for x in (labels, logits, weight))) for i in range(3)]
    per_batch = name.removesuffix("_per_image")
    assert each[0] == pytest.approx(value(per_batch, labels[:1], logits[:1], weight[:1]), abs=1e-6)
    assert value(name, labels, logits, weight) == pytest.approx(np.mean(each), abs=1e-6)
    assert abs(value(per_batch, labels, logits, weight) - np.mean(each)) > 1e-3
    weight[1] = 0  # this image now counts neither above nor below
    assert value(name, labels, logits, weight) == pytest.approx((each[0] + each[2]) / 2, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_classes", [1, 3])
@pytest.mark.parametrize("size", [50, 1000])
def test_gradients_are_finite_where_probabilities_are_0_or_1(name, num_classes, size):
    labels, logits, weight = batch(6, num_classes)
    logits = size * np.sign(logits)
    assert np.isfinite(value(name, labels, logits, weight))
    assert np.isfinite(gradient(name, labels, logits, weight)).all()
    classes = np.arange(num_classes) if num_classes > 1 else [1]
    right = np.where(labels[..., None] == classes, np.float32(size), np.float32(-size))
    for every in (right, -right):
        assert np.isfinite(gradient(name, labels, every, weight)).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_classes", [1, 3])
def test_gradients_are_the_slopes(name, num_classes):
    """Along the gradient itself, by central differences short enough that no two errors change places."""
    labels, logits, weight = batch(7, num_classes, size=(2, 3, 4))
    slope = gradient(name, labels, logits, weight).astype(float)
    length = np.linalg.norm(slope)
    step = 3e-3 * slope / length
    ahead, behind = (value(name, labels, (logits + sign * step).astype(np.float32), weight) for sign in (1, -1))
    assert (ahead - behind) / 6e-3 == pytest.approx(length, rel=2e-2)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_compile_with_xla_and_without_known_shapes(name):
    labels, logits, weight = batch(8)
    expected = value(name, labels, logits, weight)
    compiled = tf.function(PixelLoss(name), jit_compile=True)
    assert float(compiled(labels, logits, weight)) == pytest.approx(expected, abs=1e-5)
    shapes = [tf.TensorSpec((None, None, None, *last), kind) for last, kind in (((), "uint8"), ((3,), "float32"))]
    traced = tf.function(PixelLoss(name), input_signature=[*shapes, tf.TensorSpec((None, None, None))])
    assert float(traced(labels, logits, weight)) == pytest.approx(expected, abs=1e-5)


def test_any_sum_of_losses():
    sample = batch(9)
    parts = [value(name, *sample) for name in ("focal", "lovasz", "dice_per_image")]
    assert float(PixelLoss("focal+lovasz+dice_per_image")(*sample)) == pytest.approx(sum(parts), abs=1e-6)


@pytest.mark.parametrize(("name", "wrong"), [("bce", "bce"), ("ce+dise", "dise"), ("ce+", "''"), ("", "''")])
def test_an_unknown_loss_is_named_beside_the_known(name, wrong):
    with pytest.raises(ValueError, match=wrong) as error:
        PixelLoss(name)
    assert all(known in str(error.value) for known in LOSSES)


TWO_DEVICES = """
import json, sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
import numpy as np
from engine.training import losses
from models import build_model

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
labels = rng.integers(0, 2, (4, 32, 32)).astype(np.uint8)
weight = rng.uniform(0.5, 2, labels.shape).astype(np.float32)
weight[0], weight[1, :, 4:], weight[2, 8:] = 0, 0, 0  # the first device's half is nearly void
labels[:2] &= images[:2, ..., 0] > 200  # and holds less foreground


def step(name, strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = build_model("unet", 2, (32, 32, 3), width=2, depth=1, norm="group")
        model.compile(keras.optimizers.SGD(1.0), losses.PixelLoss(name))
    logs = model.fit(images, labels, sample_weight=weight, batch_size=4, shuffle=False, verbose=0)
    validation = model.evaluate(images, labels, sample_weight=weight, batch_size=4, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()]), logs.history["loss"][0], validation


def distance(one, two):
    return [float(np.abs(np.subtract(a, b)).max()) for a, b in zip(one, two)]


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert mirrored.num_replicas_in_sync == 2
together, result = losses.over_replicas, {}
for name in sys.argv[1:]:
    alone = step(name, tf.distribute.get_strategy())
    result[name] = distance(alone, step(name, mirrored))
    losses.over_replicas = lambda x: x
    result[name + " apart"] = distance(alone, step(name, mirrored))
    losses.over_replicas = together


def parts(array):  # two images for each device
    return mirrored.experimental_distribute_values_from_function(
        lambda device: tf.constant(array[2 * device.replica_id_in_sync_group :][:2])
    )


loss, batch = losses.PixelLoss("lovasz"), (labels, rng.normal(size=(4, 32, 32, 2)).astype(np.float32), weight)
shared = sum(mirrored.experimental_local_results(mirrored.run(loss, [parts(x) for x in batch])))
halves = [float(loss(*(x[half] for x in batch))) for half in (slice(2), slice(2, 4))]
result["lovasz"] = [float(shared), *halves]
print(json.dumps(result))
"""


def differences(names):
    """How far two devices are from one after a step of SGD, for each loss: [weights, loss of fit, loss of evaluate].

    Beside them, "lovasz": [the value on two devices, those of their halves].
    """
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, *names], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check_two_devices(names):
    measured = differences(names)
    for name in names:
        assert max(measured[name]) < 1e-5, (name, measured)
        weights, *logged = measured[f"{name} apart"]
        assert weights > 1e-3 and max(logged) > 1e-3, "sums of each device alone would show"
    shared, *halves = measured["lovasz"]
    assert shared == pytest.approx(np.mean(halves), abs=1e-6), "as its docstring says"


@pytest.mark.slow
def test_two_devices_train_as_one():
    """One loss of each way to sum over the batch."""
    check_two_devices(["ce+dice+dice_per_image"])


@pytest.mark.slow
def test_two_devices_train_as_one_on_every_loss():
    check_two_devices([name for name in LOSSES if name != "lovasz"])
