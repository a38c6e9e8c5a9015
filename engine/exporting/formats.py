"""The files that other programs run: how each is written, and how it is opened again to be compared with the run."""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from data_pipeline.command import UserError

Network = Callable[[np.ndarray], np.ndarray]  # raw pixels, float32 (B, H, W, C) → logits, float32 (B, H', W', classes)


def write_keras(twin: keras.Model, path: Path) -> None:
    twin.save(path)


def open_keras(path: Path) -> Network:
    model = keras.models.load_model(path, compile=False)
    return lambda images: keras.ops.convert_to_numpy(model(images, training=False))


def write_saved_model(twin: keras.Model, path: Path) -> None:
    twin.export(path, format="tf_saved_model", verbose=False)


def open_saved_model(path: Path) -> Network:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return lambda images: loaded.serve(images).numpy()


def write_onnx(twin: keras.Model, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx asks NumPy for names that it no longer has
        twin.export(path, format="onnx", verbose=False)


def open_onnx(path: Path) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def write_litert(twin: keras.Model, path: Path) -> None:
    twin.export(path, format="litert", verbose=False)


def write_litert_8bit(twin: keras.Model, path: Path) -> None:
    """Weights in 8 bits, arithmetic in float32 where a device has no other (dynamic-range quantisation)."""
    import tensorflow as tf

    twin.export(path, format="litert", verbose=False, optimizations=[tf.lite.Optimize.DEFAULT])


def open_litert(path: Path) -> Network:
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own interpreter moves to the package ai-edge-litert
        interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def network(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, images)
        interpreter.invoke()
        return interpreter.get_tensor(made).copy()

    return network


@dataclass(frozen=True)
class File:
    """A file (or a folder) that a format consists of.

    exact: it holds the network's own numbers, so its logits must be those of the run.
    """

    name: str
    write: Callable[[keras.Model, Path], None]
    open: Callable[[Path], Network]
    exact: bool = True


@dataclass(frozen=True)
class Format:
    """A format that ``--to`` names.

    files: what it consists of; the first is the one to use.
    fixed: it takes one image of one size.
    packages: optional requirements, by the names under which Python imports them.
    """

    title: str
    files: tuple[File, ...]
    fixed: bool = False
    packages: tuple[str, ...] = ()

    def refuse_missing(self) -> None:
        """Raise a UserError unless its optional requirements are installed."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"{self.title} needs {', '.join(missing)}: pip install -r requirements-export.txt -c constraints.txt"
            )


FORMATS = {
    "keras": Format("Keras", (File("model.keras", write_keras, open_keras),)),
    "savedmodel": Format("TensorFlow SavedModel", (File("saved_model", write_saved_model, open_saved_model),)),
    "onnx": Format("ONNX", (File("model.onnx", write_onnx, open_onnx),), packages=("onnx", "tf2onnx", "onnxruntime")),
    "litert": Format(
        "LiteRT",
        (
            File("model.tflite", write_litert, open_litert),
            File("model_8bit.tflite", write_litert_8bit, open_litert, exact=False),
        ),
        fixed=True,
    ),
}
