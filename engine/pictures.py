"""Pictures that a run leaves beside its numbers: overlays, errors, curves. Those of the page are in plots.py."""

from pathlib import Path

import cv2
import numpy as np

from data_pipeline.encoding import VOID
from data_pipeline.files import write_atomically
from data_pipeline.overlay import overlay

ERROR_COLOR = (213, 94, 0)
VOID_COLOR = (128, 128, 128)
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito, safe for colour-blind readers


def errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The image in grey, wrong pixels in vermilion, void in flat grey; uint8 (H, W, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, -1)
    shown = (0.6 * grey + 80).astype(np.uint8)
    shown[(truth != prediction) & (truth != VOID)] = ERROR_COLOR
    shown[truth == VOID] = VOID_COLOR
    return shown


def panel(image, truth, prediction, colors, longest: int = 480) -> np.ndarray:
    """Image, truth, prediction and errors side by side, each at most ``longest`` pixels; uint8 (H, W, 3)."""
    parts = [
        image,
        overlay(image, truth, colors),
        overlay(image, prediction, colors),
        errors(image, truth, prediction),
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
        axes.set(xlabel="step (batches)", ylabel=label)
        axes.grid(alpha=0.3)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    save(made, path)
