"""Pictures that a run leaves beside its numbers: overlays, errors, curves. Those of the page are in plots.py."""

from pathlib import Path

import cv2
import numpy as np

from data_pipeline.colors import VOID_GREY
from data_pipeline.encoding import VOID
from data_pipeline.files import write_atomically
from data_pipeline.overlay import overlay

RIGHT, MISSED, FALSE_ALARM, CONFUSED = range(4)
# Of missed, false alarm, confused: Okabe and Ito's sky blue, vermilion, yellow, told apart by colour-blind readers.
KINDS = ((86, 180, 233), (213, 94, 0), (240, 228, 66))
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito, too


def background(colors) -> frozenset[int]:
    """Return the classes that stand for nothing: those that are black, or of two the first."""
    black = {index for index, color in enumerate(colors) if not any(color)}
    return frozenset(black or ({0} if len(colors) == 2 else ()))


def mistakes(truth: np.ndarray, prediction: np.ndarray, background: frozenset[int]) -> np.ndarray:
    """RIGHT, MISSED (background instead), FALSE_ALARM (on background), CONFUSED or VOID; uint8 (H, W)."""
    empty = np.zeros(VOID + 1, bool)
    empty[list(background)] = True
    kinds = np.full(truth.shape, CONFUSED, np.uint8)
    kinds[~empty[truth] & empty[prediction]] = MISSED
    kinds[empty[truth] & ~empty[prediction]] = FALSE_ALARM
    kinds[truth == prediction] = RIGHT
    kinds[truth == VOID] = VOID
    return kinds


def errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, colors) -> np.ndarray:
    """The image in grey, wrong pixels in the colour of their kind, void in flat grey; uint8 (H, W, 3).

    colors: RGB of each class; they tell which one is background.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, -1)
    shown = (0.6 * grey + 80).astype(np.uint8)
    kinds = mistakes(truth, prediction, background(colors))
    for kind, color in enumerate(KINDS, MISSED):
        shown[kinds == kind] = color
    shown[kinds == VOID] = VOID_GREY
    return shown


def outlined(image: np.ndarray, mask: np.ndarray, colors) -> np.ndarray:
    """Image uint8 (H, W, 3) with a mask (H, W) over it, half clear, and the edges of its regions in full colour."""
    shown, full = overlay(image, mask, colors, 0.4), overlay(image, mask, colors, 1)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, cross) > 0
    return np.where(edge[..., None], full, shown)


def panel(image, truth, prediction, colors, longest: int = 480) -> np.ndarray:
    """Image, truth, prediction and errors side by side, each at most ``longest`` pixels; uint8 (H, W, 3)."""
    parts = [
        image,
        outlined(image, truth, colors),
        outlined(image, prediction, colors),
        errors(image, truth, prediction, colors),
    ]
    factor = min(1, longest / max(image.shape[:2]))
    if factor < 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        parts = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts]
    gap = np.full((parts[0].shape[0], 4, 3), 255, np.uint8)
    return np.hstack([piece for part in parts for piece in (part, gap)][:-1])


def uncertainty_picture(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of each pixel's probabilities (H, W, C), black where it is 0 to pale yellow; uint8 (H, W, 3)."""
    terms = probabilities * np.log(np.maximum(probabilities, 1e-12))
    share = -terms.sum(-1) / np.log(probabilities.shape[-1])
    levels = (255 * np.clip(share, 0, 1)).round().astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]


def figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure((width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made, path: Path) -> None:
    with write_atomically(path) as temporary:
        made.savefig(temporary, format="png")


def plot_curves(rows: list[dict], score: str, words: str, path: Path) -> None:
    """Loss and a score over the steps, training and validation; rows of history.csv, its name there and in words."""
    made = figure(9, 3.6)
    steps = [row["step"] for row in rows]
    for axes, key, label in zip(made.subplots(1, 2), ("loss", score), ("loss", words), strict=True):
        axes.plot(steps, [row[key] for row in rows], "o-", ms=3, color=BLUE, label="training (augmented)")
        axes.plot(steps, [row[f"val_{key}"] for row in rows], "s--", ms=3, color=ORANGE, label="validation")
        axes.set(xlabel="step (batches)", ylabel=label, xlim=(0, 1.03 * steps[-1]))
        axes.xaxis.get_major_locator().set_params(integer=True)
        low, high = axes.get_ylim()
        axes.set_ylim(min(0, low), 1.05 * high)
        axes.grid(alpha=0.3)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    save(made, path)
