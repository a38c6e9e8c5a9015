"""Images beside the labelled ones that nobody has labelled yet: which of them the network is least sure of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.files import list_images
from data_pipeline.pairs import Pair
from engine.run import Run

from .doubts import uncertainty
from .evaluation import Answer

MOST = 200  # images that are looked at, evenly spaced among all by name
SHOWN = 12


@dataclass(frozen=True)
class Unlabelled:
    """The images without a mask that a network is least sure of."""

    ranked: list[tuple[Path, float]]  # file and uncertainty, 0 (sure) to 1; the least sure first, SHOWN at most
    num_seen: int  # images that were looked at
    open: Callable[[Path], tuple[np.ndarray, np.ndarray]]  # a file → picture uint8 (H, W, 3), predicted mask uint8


def find_unlabelled(run: Run) -> list[Path]:
    """Return the images that lie in the folders of the run's images and have no mask.

    A folder that holds masks too is passed over: which of its files is an image, only its pairs say.
    """
    pairs = run.split.part("all")
    masks = {path.parent for pair in pairs for path in pair.files[1:]}
    labelled = {pair.image for pair in pairs}
    found = []
    for folder in sorted({pair.image.parent for pair in pairs} - masks):
        try:
            found += [path for path in list_images(folder) if path not in labelled]
        except (UserError, OSError):
            continue  # an odd name among files that nobody asked for
    return found


def least_sure(run: Run, answer: Callable[[Pair, np.ndarray], Answer]) -> Unlabelled:
    """Rank the unlabelled images beside the run's by how unsure its network is.

    Args:
        run: whose data set it is.
        answer: a pair and its image → mask and probabilities, as ``evaluate_images`` has it.
    """

    def read(path: Path) -> tuple[np.ndarray, Answer]:
        image = run.pixel_range.read(path)
        return image, answer(Pair(path.stem, path, path), image)

    def open_picture(path: Path) -> tuple[np.ndarray, np.ndarray]:
        image, said = read(path)
        return run.pixel_range.show(image), said.mask

    paths, doubt = find_unlabelled(run), {}
    chosen = np.linspace(0, len(paths) - 1, min(MOST, len(paths))).round().astype(int)
    for path in tqdm([paths[i] for i in chosen], "unlabelled", unit="image", leave=False, disable=None):
        try:
            doubt[path] = uncertainty(read(path)[1].probabilities)
        except UserError:
            continue  # of another kind, or damaged
    ranked = sorted(doubt.items(), key=lambda item: -item[1])
    return Unlabelled(ranked[:SHOWN], len(doubt), open_picture)
