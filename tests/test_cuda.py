"""CUDA's libraries out of installed packages: loaded by name without LD_LIBRARY_PATH, and named where they lack."""

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from data_pipeline.cuda import installed, missing_packages

ASKS = """
import ctypes, os, shutil, sys
from data_pipeline.cuda import open_cuda
open_cuda([sys.argv[1]])
for name in ("libupper_of_a_test.so.12", "liblower_of_a_test.so.12"):
    try:
        ctypes.CDLL(name)
        print("found")
    except OSError:
        print("not found")
print(shutil.which("ptxas_of_a_test"))
"""


@pytest.fixture
def packages(tmp_path):
    """Two libraries, of which the first by name needs the second, and a program, as NVIDIA's packages lay them out."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, to make libraries")
    (tmp_path / "code.c").write_text("int answer() { return 42; }")
    upper, lower = tmp_path / "nvidia/a_upper/lib", tmp_path / "nvidia/lower/lib"
    for folder, name, needs in (
        (lower, "liblower_of_a_test.so.12", []),
        (upper, "libupper_of_a_test.so.12", [lower / "liblower_of_a_test.so.12"]),
    ):
        folder.mkdir(parents=True)
        made = ["gcc", "-shared", "-fPIC", "-Wl,--no-as-needed", f"-Wl,-soname,{name}", "-o", folder / name]
        subprocess.run([*made, tmp_path / "code.c", *needs], check=True)
    (lower / "libdamaged.so.1").write_bytes(b"no library")
    (tmp_path / "nvidia/lower/bin").mkdir()
    (tmp_path / "nvidia/lower/bin/ptxas_of_a_test").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia/lower/bin/ptxas_of_a_test").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("driver", [True, False])
def test_libraries_are_found_by_name_where_there_is_a_driver(packages, driver):
    if driver:
        (packages / "nvidia-smi").write_text("#!/bin/sh\n")
        (packages / "nvidia-smi").chmod(0o755)
    environment = {"PATH": f"{packages}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", ASKS, packages], env=environment, capture_output=True, text=True, check=True
    )
    *libraries, program = done.stdout.splitlines()
    assert libraries == ["found" if driver else "not found"] * 2
    assert (program == str(packages / "nvidia/lower/bin/ptxas_of_a_test")) == driver


def test_packages_that_lack_are_named_as_pip_takes_them():
    missing = missing_packages()
    assert all(name.startswith("nvidia-") and ";" not in name for name in missing)
    assert bool(missing) != installed("nvidia-cudnn-cu12")
    assert installed("tensorflow") and not installed("no-such-package-of-a-test")
