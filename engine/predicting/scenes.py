"""One scene of any size → its files: strips first, which a kill leaves whole, then pictures and TIFFs of them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID, Encoding
from data_pipeline.files import MAX_PIXELS, table_of_values
from data_pipeline.overlay import overlay
from data_pipeline.scenes.reading import Header, Scene, open_scene
from data_pipeline.scenes.writing import Layer, write_png, write_tiff
from engine import predictor as windows
from engine.config import PredictConfig
from engine.predictor import Predictor
from engine.run import Run
from engine.scoring.doubts import uncertainty_of_sums

from .strips import Grid, Strips, predict_strips

IN_MEMORY = 1 << 24  # pixels × classes, and pixels × channels, of an image that is predicted in memory
LONGEST_OVERLAY = 2048  # pixels of the longer side, where the mask is a TIFF


def goes_by_strips(header: Header | None, run: Run) -> bool:
    """Return whether an image is read by parts: a scene, one that names no data, or too large for memory."""
    if header is None:
        return False
    if header.is_scene or header.names_no_data:
        return True
    deep = max(run.encoding.num_classes, run.pixel_range.channels)
    is_large = header.pixels > windows.LARGEST_WHOLE and header.pixels * deep > IN_MEMORY
    return is_large and run.frame.size is None


def predict_scene(
    run: Run, predictor: Predictor, path: Path, files: list[Path], working: Path, config: PredictConfig
) -> tuple[Strips, dict | None]:
    """Make the strips of a scene, and read its place on the map.

    Args:
        run: of the predictor.
        path: of the scene.
        files: that will be written, as predict.py names them.
        working: folder for the strips; those that are there are not made again.
        config: for what is asked for.

    Raises:
        UserError: for a scene that cannot be read, or of another kind than the run was trained on.
    """
    with open_scene(path, run.pixel_range.low) as scene:
        run.pixel_range.refuse_other(path, scene.dtype, scene.channels)
        if run.frame.size and scene.height * scene.width > MAX_PIXELS:
            raise UserError(
                f"{path}: {scene.width}×{scene.height} pixels, and the run sees whole images at "
                f"{'×'.join(map(str, run.frame.size))} (--size); train with --crop for scenes, or cut the scene up"
            )
        strips = strips_of(predictor, scene, path, files, working, run.encoding.num_classes, config)
        with tqdm(total=strips.grid.count, desc=path.name, unit="window", disable=None) as progress:
            predict_strips(predictor, scene, run.pixel_range, strips, progress.update)
        return strips, scene.georeference


def write_scene(
    strips: Strips,
    files: list[Path],
    georeference: dict | None,
    encoding: Encoding,
    config: PredictConfig,
    replace: bool,
) -> float:
    """Write a scene's files, and return its uncertainty; .tif ones become GeoTIFF where there is a georeference."""
    for file, layer in zip(files, layers(strips, encoding, config), strict=True):
        if file.suffix == ".png":
            write_png(file, layer, replace)
        else:
            write_tiff(file, layer, georeference, replace)
    return uncertainty_of_sums(strips.sums())


def strips_of(
    predictor: Predictor,
    scene: Scene,
    path: Path,
    files: list[Path],
    working: Path,
    classes: int,
    config: PredictConfig,
) -> Strips:
    """The strips of a scene, in a folder whose name says all that they depend on but the network."""
    step = -(-max(scene.height, scene.width) // LONGEST_OVERLAY) if files[0].suffix == ".tif" else 1
    grid, facts = Grid.of(predictor, scene, classes), path.stat()
    what = (str(path.resolve()), facts.st_size, facts.st_mtime_ns, grid, step, config.probabilities, config.uncertainty)
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    return Strips(working / key, grid, step, config.probabilities, config.uncertainty)


def layers(strips: Strips, encoding: Encoding, config: PredictConfig) -> list[Layer]:
    """Return what is written of a scene, in the order of its files."""
    size = (strips.grid.height, strips.grid.width)
    step = strips.look_step

    def overlays() -> Iterator[np.ndarray]:
        for strip, (look, mask) in enumerate(zip(strips.rows("look"), strips.rows("mask"), strict=True)):
            first = -strips.grid.rows(strip)[0] % step
            if len(look):
                yield overlay(look, np.ascontiguousarray(mask[first::step, ::step]), encoding.colors)

    found = [mask_layer(strips, encoding, config.values == "as-given")]
    found.append(Layer(overlays, -(-size[0] // step), -(-size[1] // step), np.uint8, 3))
    if config.probabilities:
        probabilities = {"samples": max(2, encoding.num_classes), "no_data": np.nan, "names": encoding.names}
        found.append(Layer(lambda: strips.rows("probabilities"), *size, np.float16, **probabilities))
    if config.uncertainty:
        found.append(Layer(lambda: strips.rows("uncertainty"), *size, np.uint8, 3))
    return found


def mask_layer(strips: Strips, encoding: Encoding, as_given: bool) -> Layer:
    """Class indices and VOID; or the values or colours that the run's own masks have for them."""
    size = (strips.grid.height, strips.grid.width)
    if not as_given:
        colors = {"colors": tuple(encoding.colors), "no_data": VOID}
        return Layer(lambda: strips.rows("mask"), *size, np.uint8, **colors)
    table, void = table_of_values(encoding), void_value(encoding)
    every = np.zeros((VOID + 1, *table.shape[1:]), table.dtype)
    every[: len(table)] = table
    every[VOID] = [void >> 16, void >> 8 & 255, void & 255] if encoding.is_color else void
    samples, no_data = (3, None) if encoding.is_color else (1, void)
    return Layer(lambda: (every[rows] for rows in strips.rows("mask")), *size, table.dtype, samples, (), no_data)


def void_value(encoding: Encoding) -> int:
    """Return what stands for void in the masks that a run learnt from; else a value that no class has."""
    free = (0xFFFFFF, 0, 0xFF00FF) if encoding.is_color else (VOID, 0, *range(1, VOID))
    return next(value for value in (*encoding.void, *free) if value not in encoding.values)
