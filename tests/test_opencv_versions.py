"""The readers give the same bytes beside OpenCV 4 and 5: the other version runs in an environment of its own."""

import subprocess
import sys
from importlib.metadata import version

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import ROOT, save, shapes
from PIL import Image

from data_pipeline.files import write_mask

DIGESTS = """
import hashlib, sys
from pathlib import Path
import cv2
from data_pipeline.files import read_image
from data_pipeline.encoding import Encoding
from data_pipeline.masks import read_mask
for path in sorted(Path(sys.argv[1]).iterdir()):
    if path.stem.startswith("mask"):
        array = read_mask(path, Encoding(("a", "b"), (0, 1), ((0, 0, 0), (1, 1, 1)), tolerance=127))
    else:
        array = read_image(path)
    print(path.name, array.dtype, array.shape, hashlib.sha256(array.tobytes()).hexdigest())
print(cv2.__version__.split(".")[0], file=sys.stderr)
"""
NEEDED = ("numpy", "pillow", "tifffile", "imagecodecs", "tqdm", "tyro")


def digests(python, folder):
    done = subprocess.run([python, "-c", DIGESTS, folder], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.strip()


@pytest.mark.slow
def test_readers_give_the_same_bytes_beside_either_major_version(tmp_path):
    files = tmp_path / "files"
    image, mask = shapes(0, size=64)
    image = image + np.random.default_rng(0).integers(0, 40, image.shape).astype(np.uint8)
    for suffix in ("png", "jpg", "bmp", "webp", "gif", "tif"):
        save(files / f"image_{suffix}.{suffix}", image)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(files / "image_turned.jpg", exif=exif)
    Image.fromarray(image).convert("CMYK").save(files / "image_cmyk.jpg")
    (files / "image_deep.png").write_bytes(imagecodecs.png_encode(image.astype(np.uint16) * 201))
    deep = np.dstack([image, image]).astype(np.float32)
    tifffile.imwrite(files / "image_bands.tif", deep, photometric="minisblack", planarconfig="contig")
    write_mask(files / "mask_palette.png", mask, [(1, 2, 3), (4, 5, 6)])
    save(files / "mask_index.png", mask)
    save(files / "mask_16.png", mask.astype(np.uint16))
    save(files / "mask_gif.gif", mask)

    here = version("opencv-python").split(".")[0]
    other = "opencv-python>=4.10,<5" if here == "5" else "opencv-python>=5,<6"
    environment = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pinned = [f"{name}=={version(name)}" for name in NEEDED]
    done = subprocess.run([environment / "bin/pip", "install", "-q", other, *pinned], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{other} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    ours, our_version = digests(sys.executable, files)
    theirs, their_version = digests(environment / "bin/python", files)
    assert {our_version, their_version} == {"4", "5"}
    assert ours == theirs and len(ours.splitlines()) == 14
