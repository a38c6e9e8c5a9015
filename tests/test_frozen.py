"""A pretrained encoder in two stages: what is kept of it, what trains when, and how a run goes on."""

import keras
import numpy as np
import pytest
from conftest import history, interrupted, make_folder, weights
from keras import layers
from PIL import Image

import models.pretrained
from data_pipeline.command import UserError
from engine.config import TrainConfig
from engine.run import Run
from engine.selftraining import rounds
from engine.training import frozen, segmenter
from engine.training.plan import in_rgb
from models import MODELS, Spec, halves
from models.backbones import Backbone, to_plus_minus_one
from models.pretrained import to_rgb, unet_on
from train import train

pytestmark = pytest.mark.usefixtures("quick_forest", "tiny_encoder")

SETTINGS = {
    "model": "unet_mobilenet_v2",
    "steps": 6,
    "frozen_steps": 4,
    "finetune_rate": 0.01,
    "steps_per_epoch": 2,
    "batch_size": 2,
    "deterministic": True,
    "learning_rate": 0.01,
}


def tiny(input_shape, include_top, weights):
    """Five convolutions of stride 2, each with batch normalisation."""
    inputs = x = layers.Input(input_shape)
    for level in range(1, 6):
        x = layers.Conv2D(2 + level, 3, 2, padding="same", use_bias=False, name=f"conv{level}")(x)
        x = layers.BatchNormalization(name=f"bn{level}")(x)
        x = layers.ReLU(name=f"map{level}")(x)
    return keras.Model(inputs, x)


TINY = Backbone(
    tiny, to_plus_minus_one, url="", file_hash=None, licence="", maps=tuple(f"map{level}" for level in range(1, 6))
)


@pytest.fixture(scope="module")
def tiny_encoder():
    """A small network under the name of unet_mobilenet_v2."""

    def build(num_classes, input_shape=(None, None, 3), *, weights="imagenet", scale=1 / 255, offset=0.0):
        return unet_on(TINY, num_classes, input_shape, weights, scale, offset, name="unet_mobilenet_v2")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models.pretrained, "DECODER_WIDTHS", (4, 4, 4, 4, 4))
        patched.setitem(MODELS, "unet_mobilenet_v2", Spec(build, multiple=32, min_size=32, pretrained=TINY))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_encoder, quick_forest):
    """A folder with a data set d, weights of the encoder, and runs/whole, which nothing interrupted."""
    folder = tmp_path_factory.mktemp("world")
    make_folder(folder / "d", 10, size=40)
    keras.utils.set_random_seed(5)
    encoder = tiny((None, None, 3), False, None)
    rng = np.random.default_rng(0)
    for layer in encoder.layers:  # statistics that training with a batch's own would move
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    encoder.save_weights(folder / "tiny.weights.h5")
    train(settings(folder, "whole"))
    return folder


def settings(folder, name: str, **changes) -> TrainConfig:
    given = {"data": folder / "d", "weights": str(folder / "tiny.weights.h5"), "runs_dir": folder / "runs"}
    return TrainConfig(**SETTINGS | given | {"name": name} | changes)


def built(folder, channels: int = 3, classes: int = 2):
    return MODELS["unet_mobilenet_v2"].build(classes, (None, None, channels), weights=folder / "tiny.weights.h5")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_halves_are_the_network(world, channels):
    network, images = built(world, channels), noise(2, 64, 96, channels)
    encoder, decoder = halves(network)
    maps = encoder(images, training=False)
    assert [each.shape[1:3] for each in maps] == [(64 // step, 96 // step) for step in (2, 4, 8, 16, 32)]
    np.testing.assert_allclose(decoder(maps, training=False), network(images, training=False), atol=1e-6)
    assert not {id(v) for v in encoder.variables} & {id(v) for v in decoder.variables}
    assert len(encoder.variables) + len(decoder.variables) == len(network.variables)


@pytest.mark.parametrize(
    ("channels", "expected"), [(1, [0, 0, 0]), (2, [0, 1, 1]), (3, [0, 1, 2]), (4, [0, 1, 2]), (7, [0, 1, 2])]
)
def test_other_channels_become_three_by_hand(channels, expected):
    pixels = noise(1, 4, 4, channels).astype(np.float32)
    assert (to_rgb(layers.Input((4, 4, channels))).shape[1:]) == (4, 4, 3)
    inputs = layers.Input((4, 4, channels))
    np.testing.assert_array_equal(keras.Model(inputs, to_rgb(inputs))(pixels), pixels[..., expected])


def stage_of(folder, **changes):
    """The frozen stage of a training, the stage that it was made of, and the network."""
    from engine.defaults import decided
    from train import open_data

    config = settings(folder, "unused", **changes)
    dataset = open_data(config)
    config = decided(config, dataset)
    frames = segmenter.frames(config, dataset)
    network = segmenter.network(config, dataset)
    plain = segmenter.stages(config.replace(frozen_steps=0), dataset, network, frames)[0]
    return segmenter.stages(config, dataset, network, frames)[0], plain, network


def first_of(dataset, count: int) -> list:
    return [[np.asarray(array) for array in keras.tree.flatten(batch)] for batch in dataset.take(count)]


def test_kept_maps_are_those_of_the_encoder(world):
    """In training, from any sample on, as long as views are new; and in validation."""
    stage, plain, network = stage_of(world)
    encoder, _ = halves(network)
    pairs = [(stage.batches(first), plain.batches(first), 2) for first in (0, 4)]
    for kept, ordinary, count in [*pairs, (stage.validation, plain.validation, 99)]:
        kept, ordinary = first_of(kept, count), first_of(ordinary, count)
        assert len(kept) == len(ordinary) > 0
        for (*maps, mask, weight), (image, true_mask, true_weight) in zip(kept, ordinary, strict=True):
            for one, other in zip(maps, encoder(image, training=False), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
                assert one.dtype == np.float32 and np.std(one) > 0
            np.testing.assert_array_equal(mask, true_mask)
            np.testing.assert_array_equal(weight, true_weight)


def test_views_repeat_when_the_kept_ones_are_through(world, monkeypatch):
    """Seven images in batches of one, two views of each: the third pass shows the first's views, in its own order."""
    monkeypatch.setattr(frozen, "MOST_VIEWS", 2)
    stage, plain, _ = stage_of(world, batch_size=1, steps=40, frozen_steps=30)
    count = len(Run.open(world / "runs/whole").split.train)
    kept = first_of(stage.batches(0), 3 * count)
    masks = [batch[-2].tobytes() + batch[0].tobytes() for batch in kept]
    first, second, third = (masks[start * count : (start + 1) * count] for start in range(3))
    assert set(third) == set(first) != set(second) and third != first
    ordinary = first_of(plain.batches(0), 3 * count)
    order = stage.names_of(0, 3 * count)
    assert order == plain.names_of(0, 3 * count)
    assert [batch[-2].tobytes() for batch in kept[: 2 * count]] == [b[1].tobytes() for b in ordinary[: 2 * count]]


@pytest.mark.parametrize("views", [0, 1])
def test_maps_are_kept_within_the_bound(world, monkeypatch, capsys, views):
    """A sample of 64×64 takes maps of 3, 4, 5, 6 and 7 channels in 2 bytes, mask and weight."""
    held = len(Run.open(world / "runs/whole").split.train), len(Run.open(world / "runs/whole").split.val)
    of_sample = 2 * sum(
        channels * (64 // step) ** 2 for channels, step in zip(range(3, 8), (2, 4, 8, 16, 32), strict=True)
    )
    of_sample += 5 * 64 * 64
    validated = -(-held[1] // 2) * 2  # whole batches
    monkeypatch.setattr(frozen, "FEATURE_BYTES", (held[0] + validated) * of_sample - 1 + views)
    stage, _, network = stage_of(world)
    image = first_of(stage.batches(0), 1)[0][0]
    told = capsys.readouterr().out
    if views:
        assert "maps are computed once: 1 view of each image" in told and image.shape == (2, 32, 32, 3)
        return
    assert "computed anew in each step" in told and image.dtype == np.uint8
    trained = stage.trained(network)
    assert set(map(id, trained.trainable_variables)) == set(map(id, halves(network)[1].trainable_variables))


def encoder_of(run) -> dict[str, list[np.ndarray]]:
    network = Run.open(run).model()
    return {layer.name: layer.get_weights() for layer in network.get_layer("encoder").layers if layer.weights}


@pytest.mark.parametrize("kept", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_frozen_encoder_stays_and_fine_tuning_spares_its_normalisation(world, monkeypatch, kept):
    if not kept:
        monkeypatch.setattr(frozen, "FEATURE_BYTES", 0)
    given = tiny((None, None, 3), False, None)
    given.load_weights(world / "tiny.weights.h5")
    before = {layer.name: layer.get_weights() for layer in given.layers if layer.weights}
    train(settings(world, f"frozen-{kept}", steps=4))
    after = encoder_of(world / f"runs/frozen-{kept}")
    for name, values in before.items():
        for one, other in zip(values, after[name], strict=True):
            np.testing.assert_array_equal(one, other)
    config = settings(world, f"tuned-{kept}", patience=0).replace(finetune_rate=0.5)  # so that the best is a later one
    monkeypatch.setattr("engine.training.fit.score_of", lambda row, task: row["step"])
    train(config)
    for name, values in encoder_of(world / f"runs/tuned-{kept}").items():
        same = [np.array_equal(one, other) for one, other in zip(values, before[name], strict=True)]
        assert same == [name.startswith("bn")] * len(same), name


def test_the_two_stages_have_their_steps_and_rates(world):
    rows = history(world / "runs/whole")
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[0] == pytest.approx(0.01 * 0.5) and rates[1] == rates[2] == pytest.approx(0, abs=1e-9)
    first, second = frozen.settings_of_stages(settings(world, "x", steps=100, frozen_steps=40, warmup_steps=5))
    assert (first.steps, first.learning_rate, first.warmup_steps) == (40, 0.01, 5)
    assert (second.steps, second.learning_rate, second.warmup_steps) == (60, 0.01, 0)
    assert [phase.steps for phase in frozen.settings_of_stages(settings(world, "x", steps=4))] == [4]
    assert frozen.settings_of_stages(TrainConfig()) == [TrainConfig()]


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.slow), 2, 3])
def test_interrupted_in_either_stage_it_ends_the_same(world, monkeypatch, after):
    run = interrupted(train, settings(world, f"after{after}"), monkeypatch, after)
    train(TrainConfig(resume=run))
    assert history(run) == history(world / "runs/whole")
    assert weights(run) == weights(world / "runs/whole")


def test_the_plan_says_how_long_the_encoder_is_frozen(world, capsys):
    train(settings(world, "half", frozen_steps=2, steps=4))
    assert "(the encoder is frozen in the first 2)" in capsys.readouterr().out
    assert TrainConfig().frozen_steps == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen_steps": 7}, "--frozen-steps 7: at most --steps 6"),
        ({"frozen_steps": -1}, "--frozen-steps -1: 0 or more"),
        ({"weights": "none"}, "--frozen-steps 4: is for an encoder with weights"),
        ({"model": "unet", "weights": None}, "--frozen-steps 4: is for an encoder with weights"),
        ({"warmup_steps": 4}, "--warmup-steps 4: fewer than the 4 of --frozen-steps"),
    ],
)
def test_what_does_not_go_together_is_refused(world, changes, message):
    with pytest.raises(UserError, match=message):
        train(settings(world, "refused", **changes))
    assert not (world / "runs/refused").exists()


def test_images_of_other_channels_are_trained_on_and_a_line_says_how(world, tmp_path, capsys):
    for path in make_folder(tmp_path / "grey", 10, size=40).glob("images/*"):
        Image.fromarray(np.asarray(Image.open(path)).max(-1).astype(np.uint16) * 257).save(path)
    train(settings(world, "grey", data=tmp_path / "grey", runs_dir=tmp_path / "runs"))
    assert "the encoder takes 3 channels: of these 1 the last is given more than once" in capsys.readouterr().out
    assert Run.open(tmp_path / "runs/grey").model().input_shape[-1] == 1
    assert "begins with the first three of these 4 as red, green and blue" in in_rgb(4)


@pytest.mark.parametrize(("steps", "expected"), [(4, (0, 0.002)), (0, (0, 0.01))])
def test_later_rounds_of_self_training_go_on_fine_tuning(monkeypatch, tmp_path, steps, expected):
    seen = []
    monkeypatch.setattr(segmenter, "stages", lambda config, *_: seen.append(config))
    rounds.stages(settings(tmp_path, "x", frozen_steps=steps, finetune_rate=0.002), None, None, None)
    assert (seen[0].frozen_steps, seen[0].learning_rate) == expected
