"""The weights that a training begins with follow from its seed alone, and no two kernels begin alike."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter

import keras
import pytest
from conftest import ROOT

from models import ENCODERS, MODELS, build_classifier, build_model

NARROW = {name: {"width": 4} for name in MODELS if name in ("unet", "unet_original", "unet_blog")}
NARROW |= {name: {"growth_rate": 3} for name in MODELS if name.startswith("fc_densenet")}  # as deep as ever


def first_kernels(name: str, seed: int) -> list[str]:
    """What a (narrow) network's drawn tensors hold after a seed was set: their digests, in order."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    if name in MODELS:
        options = {"weights": None} if MODELS[name].pretrained else NARROW[name]
        model = build_model(name, 2, **options)
    else:
        model = build_classifier(name, 2, (64, 64, 3))
    drawn = [array for array in model.get_weights() if array.ndim > 1 and array.std() > 0]
    return [hashlib.sha256(array.tobytes()).hexdigest() for array in drawn]


@pytest.mark.parametrize("name", ["unet", "unet_original", "unet_blog"])
def test_kernels_follow_from_the_seed_and_are_all_different(name):
    first, other = (first_kernels(name, seed) for seed in (0, 1))
    assert len(first) > 20 and not set(first) & set(other)
    assert max(Counter(first).values()) == 1, "two kernels of one shape begin alike"


ALL = """
import json, sys
from test_first_weights import first_kernels
print(json.dumps({name: first_kernels(name, 0) for name in sys.argv[1:]}))
"""


@pytest.mark.slow
def test_every_network_begins_alike_in_another_process():
    """Whatever is drawn when a module is imported differs there: its random numbers are not seeded."""
    names = [*MODELS, *(name for name in ENCODERS if f"unet_{name}" not in MODELS)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", ALL, *names], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout.splitlines()[-1])
    for name in names:
        kernels = first_kernels(name, 0)
        assert len(kernels) > 5 and kernels == there[name], name
        assert max(Counter(kernels).values()) == 1, name
