"""TensorFlow's notices: kept while it is loaded, and shown only if something fails or a GPU is missing.

Loading TensorFlow and listing its devices write several lines to standard error, from C++ and before any log level is
read; one of them is called an error on every machine without a GPU.
"""

import faulthandler
import importlib.util
import os
import sys
import tempfile
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder

from .cuda import has_driver, missing_packages, open_cuda

KEPT: list[str] = []  # what was written so far


class KeepNotices(MetaPathFinder):
    """Finds TensorFlow for whoever imports it first, in a form that is loaded with its notices kept."""

    def find_spec(self, name, path, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader = QuietLoader(spec.loader)
        return spec


class QuietLoader(Loader):
    """Loads CUDA's libraries and TensorFlow by its own loader, and lists its devices, with all notices kept."""

    def __init__(self, own: Loader):
        self.own = own

    def create_module(self, spec):
        return self.own.create_module(spec)

    def exec_module(self, module) -> None:
        module.__spec__.loader = module.__loader__ = self.own
        try:
            with standard_error_kept():
                open_cuda()
                self.own.exec_module(module)
                module.config.list_physical_devices()  # initialises no device: thread counts can still be set
        except Exception:
            show_notices()
            raise


def keep_notices() -> None:
    """Keep TensorFlow's notices when it is imported, whoever does; call it before."""
    if "tensorflow" not in sys.modules and not any(isinstance(finder, KeepNotices) for finder in sys.meta_path):
        sys.meta_path.insert(0, KeepNotices())


def show_notices() -> None:
    """Print what was kept to standard error, once."""
    if KEPT:
        print("".join(KEPT).rstrip(), file=sys.stderr)
        KEPT.clear()


@contextmanager
def standard_error_kept():
    """Keep what is written to file descriptor 2, by C++ too.

    A crash of the process (a processor that TensorFlow was not built for) still leaves Python's stack on the real one.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        real = os.dup(2)
        watch = not faulthandler.is_enabled()
        if watch:
            faulthandler.enable(real)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            if watch:
                faulthandler.disable()
            os.close(real)
            kept.seek(0)
            KEPT.append(kept.read().decode("utf-8", "replace"))


def warn_of_unseen_gpu() -> None:
    """Warn where an NVIDIA driver is installed, but TensorFlow sees no GPU."""
    import tensorflow as tf

    if has_driver() and not tf.config.list_physical_devices("GPU"):
        missing = ", ".join(missing_packages())
        print(
            "WARNING: this machine has an NVIDIA driver, but TensorFlow sees no GPU: training will be slow. "
            + (f"Not installed: {missing}. Run pip install -r requirements-gpu.txt. " if missing else "")
            + "Look at nvidia-smi. TensorFlow says:",
            file=sys.stderr,
        )
        show_notices()
