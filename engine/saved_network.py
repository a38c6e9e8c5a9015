"""Loading model.keras, which may come from a stranger: only what this program's own networks are made of is built.

Keras's safe mode refuses Python code in the file. Beyond that, every object that the file names must be on the lists
below, and the archive may hold nothing but the architecture and the weights: so no part of Keras that reads or writes
files is ever reached.
"""

import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.importing.annotations import brief

from .schema import DAMAGE

MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
OBJECTS = {
    "keras": {"DTypePolicy"},
    "keras.src.models.functional": {"Functional"},
    "keras.initializers": {"GlorotUniform", "HeNormal", "HeUniform", "Ones", "VarianceScaling", "Zeros"},
    "keras.regularizers": {"L2"},
    "keras.layers": {
        *("InputLayer", "Rescaling", "Normalization", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "Dense"),
        *("BatchNormalization", "GroupNormalization", "Activation", "ReLU", "Dropout"),
        *("MaxPooling2D", "GlobalAveragePooling2D", "UpSampling2D", "ZeroPadding2D", "Cropping2D", "Reshape"),
        *("Concatenate", "Add", "Multiply"),
    },
    None: {"__keras_tensor__"},
}


def load_network(path: Path, name: str, inputs: tuple[int | None, int | None, int], classes: int, classifies: bool):
    """The network of a run, not compiled.

    Args:
        path: of model.keras.
        name: that it was built by.
        inputs: height, width and channels that it must take; None: any.
        classes: that it must tell apart.
        classifies: whether it gives one answer for an image, or one for each pixel.

    Raises:
        UserError: if the file is damaged, holds what no network of this program has, or does not fit.
    """
    import keras
    import tensorflow as tf

    import models  # noqa: F401  registers the layers that the file names

    try:
        refuse_strange(path)
        with warnings.catch_warnings():  # weights that are not in the file would stay as they were drawn
            warnings.filterwarnings("error", message="Skipping nested container")
            network = keras.models.load_model(path, compile=False, safe_mode=True)
    except (*DAMAGE, UserWarning, tf.errors.OpError) as error:
        reason = brief((str(error).splitlines() or [type(error).__name__])[0])
        raise UserError(f"{path}: damaged, or no network of this program ({reason})") from None
    refuse_other(path, network, name, inputs, classes, classifies)
    return network


def refuse_other(path: Path, network, name: str, inputs: tuple, classes: int, classifies: bool) -> None:
    """Raise a UserError for another network than the JSON files of its run say; arguments as of ``load_network``."""
    ends = (None,) if classifies else (None, None, None)
    answers = (1, 2) if classes == 2 and not classifies else (classes,)  # two classes may be one logit
    came = network.name, network.input_shape, network.output_shape
    wanted = [(name, (None, *inputs), (*ends, answer)) for answer in answers]
    if came not in wanted:
        raise UserError(
            f"{path}: {brief(came)}; by the JSON files beside it, {brief(wanted[0])} is wanted. They do not belong "
            "together: put the run's files back, or train again"
        )


def refuse_strange(path: Path) -> None:
    """Raise a ValueError for an archive with other files than Keras writes, or objects that are not on the lists."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if set(names) != MEMBERS or len(names) != len(MEMBERS):
            raise ValueError(f"holds {', '.join(names[:5])}")
        broken = archive.testzip()
        if broken:
            raise ValueError(f"{broken} is damaged")
        refuse_strange_objects(json.loads(archive.read("config.json")))


def refuse_strange_objects(stored) -> None:
    """Raise a ValueError for an architecture, as Keras writes it, that names objects that are not on the lists."""
    from keras.saving import get_registered_object

    for entry in objects(stored):
        module, name, registered = (entry.get(key) for key in ("module", "class_name", "registered_name"))
        own = get_registered_object(registered)
        if name != own.__name__ if own else registered not in (None, name) or name not in OBJECTS.get(module, ()):
            raise ValueError(f"holds a {str(module)[:50]}.{str(name)[:50]}, which no network of this program has")


def objects(stored) -> Iterator[dict]:
    """All that Keras would make an object of, at any depth."""
    if isinstance(stored, dict):
        if "class_name" in stored:
            yield stored
        stored = list(stored.values())
    if isinstance(stored, list):
        for each in stored:
            yield from objects(each)
