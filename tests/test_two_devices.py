"""Two devices, as --devices all has them: a step of each network and of each loss, as one device takes it.

Both devices see the same images, so that statistics of a batch, too, are those of one device that sees them once.
"""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

from engine.training.losses import LOSSES
from models import MODELS

STEPS = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from engine.config import TrainConfig
from engine.training.losses import PixelLoss
from engine.training.train_run import strategy_for
from models import MODELS, build_model

several = strategy_for(TrainConfig(devices="all", batch_size=4))
assert several.num_replicas_in_sync == 2
keras.layers.Dropout.call = lambda self, inputs, training=False: inputs  # drawn by each device for itself


def step(network, loss, strategy, times):
    size, rng = MODELS[network].input_size(4, 4)[0], np.random.default_rng(0)
    images = rng.integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    inner = MODELS[network].output_size(4, 4)[0]
    labels = rng.integers(0, 2, (2, inner, inner)).astype(np.uint8)
    weights = rng.uniform(0.5, 2, labels.shape).astype(np.float32)
    weights[0, : inner // 2] = 0  # void
    keras.utils.set_random_seed(0)
    with strategy.scope():
        options = {"weights": None} if MODELS[network].pretrained else {}
        model = build_model(network, 2, (size, size, 3), **options)
        model.compile(keras.optimizers.SGD(0.1), PixelLoss(loss))
    before = [w.numpy() for w in model.weights]
    images, labels, weights = (np.concatenate([array] * times) for array in (images, labels, weights))
    logs = model.fit(images, labels, sample_weight=weights, batch_size=2 * times, shuffle=False, verbose=0)
    copies = [strategy.experimental_local_results(w.value) for w in model.weights]
    apart = max(float(np.abs(one - copy[0]).max(initial=0)) for copy in copies for one in copy)
    return before, [copy[0].numpy() for copy in copies], logs.history["loss"][0], apart


def furthest(some, others):
    return max(float(np.abs(a - b).max(initial=0)) for a, b in zip(some, others, strict=True))


for network, loss in json.loads(sys.argv[1]):
    before, one, loss_of_one, _ = step(network, loss, tf.distribute.get_strategy(), 1)
    begun, two, loss_of_two, apart = step(network, loss, several, 2)
    assert furthest(before, begun) == 0
    found = {"moved": furthest(before, one), "differ": furthest(one, two), "apart": apart}
    print(json.dumps(found | {"loss": loss_of_one, "losses": abs(loss_of_one - loss_of_two)}), flush=True)
    keras.backend.clear_session()
"""


def steps(*pairs: tuple[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEPS, json.dumps(pairs)], cwd=ROOT, capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for pair, line in zip(pairs, done.stdout.splitlines(), strict=True):
        found = json.loads(line)
        assert found["apart"] == 0, (pair, "the devices hold two networks", found)
        assert found["moved"] > 1e-4 and 0 < found["loss"] < 100, (pair, found)
        assert found["differ"] < 0.01 * found["moved"] and found["losses"] < 0.02, (pair, found)  # dice adds a constant


@pytest.mark.slow
@pytest.mark.parametrize("network", MODELS)
def test_every_network_takes_the_step_of_one_device(network):
    steps((network, "ce+dice"))


@pytest.mark.slow
def test_every_loss_takes_the_step_of_one_device():
    steps(*[("unet_blog", loss) for loss in LOSSES])
