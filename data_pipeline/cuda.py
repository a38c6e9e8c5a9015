"""Lets TensorFlow find the CUDA libraries of the packages beside it, on a machine with an NVIDIA driver.

Some versions of TensorFlow look for a part of them on LD_LIBRARY_PATH alone
(github.com/tensorflow/tensorflow/issues/85311), which cannot be changed for a process that runs. A library that is
loaded already is found by its name.
"""

import ctypes
import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


def has_driver() -> bool:
    """Return whether NVIDIA's driver is installed on this machine."""
    return shutil.which("nvidia-smi") is not None


def open_cuda(packages: Iterable[str] | None = None) -> None:
    """Load the CUDA libraries of installed packages, and put their programs (ptxas, for XLA) on PATH.

    To be called before TensorFlow is imported. Nothing is loaded without a driver, and what does not load is left to
    TensorFlow, which says so.

    Args:
        packages: folders that may hold ``nvidia/NAME/lib`` and ``nvidia/NAME/bin``; sys.path if none are given.
    """
    if not has_driver():
        return
    roots = [Path(folder) / "nvidia" for folder in (sys.path if packages is None else packages)]
    programs = [str(folder) for root in roots for folder in sorted(root.glob("*/bin"))]
    os.environ["PATH"] = os.pathsep.join([*programs, os.environ.get("PATH", os.defpath)])
    waiting = [path for root in roots for path in sorted(root.glob("*/lib/lib*.so.*"))]
    while waiting:  # a library may need one that comes later
        left = [path for path in waiting if not loads(path)]
        if len(left) == len(waiting):
            return
        waiting = left


def loads(library: Path) -> bool:
    """Load a shared library for this process, its names for all; return whether that went well."""
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def missing_packages() -> list[str]:
    """Return the requirements of ``tensorflow[and-cuda]`` of which no version is installed, as pip takes them."""
    wanted = [line.split(";") for line in importlib.metadata.requires("tensorflow") or [] if "and-cuda" in line]
    return [line.strip() for line, *_ in wanted if not installed(re.match(r"[\w.-]+", line)[0])]


def installed(package: str) -> bool:
    """Return whether any version of a package is installed."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
