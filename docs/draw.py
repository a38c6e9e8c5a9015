"""The pictures of these documents that no script of the project makes by itself.

    python -m docs.draw network unet --out docs/images/unet.svg
    python -m docs.draw progress runs/few runs/more runs/all --out docs/images/progress.jpg
    python -m docs.draw report runs/first/evaluation/test/report.html --out docs/images/report.jpg
    python -m docs.draw glossary --out docs/images/glossary

The networks are drawn from the shapes of the models themselves, so that a drawing cannot say what the code does not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tyro.conf import Positional

from data_pipeline.command import UserError, run_command

INPUT = {"unet": (128, 128, 3), "fc_densenet56": (128, 128, 3)}
CLASSES = 2
GAP = 6  # pixels between pictures


@dataclass(frozen=True)
class Network:
    name: Positional[Literal["unet", "fc_densenet56"]]
    """Which one."""
    out: Path
    """The SVG to write."""


@dataclass(frozen=True)
class Progress:
    runs: Positional[tuple[Path, ...]]
    """Runs of one data set, trained longer and longer."""
    out: Path
    """The picture to write."""
    count: int = 3
    """Number of test images, one in each row."""


@dataclass(frozen=True)
class Report:
    page: Positional[Path]
    """A report.html."""
    out: Path
    """The picture to write, of the report's first screen."""
    width: int = 1400
    """Of the browser's window, in pixels."""
    height: int = 508
    """Likewise."""


@dataclass(frozen=True)
class Glossary:
    out: Path
    """Folder for the pictures."""


@dataclass(frozen=True)
class Block:
    """A box of the drawing: where it stands, and what it holds."""

    column: float
    level: int
    shape: tuple[int, int, int]
    way: str  # "down", "bottom", "up"


def main(config: Network | Progress | Report | Glossary) -> None:
    draw = {Network: draw_network, Progress: draw_progress, Report: draw_report, Glossary: draw_glossary}[type(config)]
    print(f"{draw(config)} is written")


def draw_network(config: Network) -> Path:
    """The U of a network, from its layers' shapes."""
    from models import build_model

    model = build_model(config.name, CLASSES, INPUT[config.name])
    blocks = {"unet": blocks_of_unet, "fc_densenet56": blocks_of_densenet}[config.name](model)
    words = {
        "unet": ("two 3×3 convolutions", "2×2 pooling", "2×2 up-convolution"),
        "fc_densenet56": ("dense block: 4 layers, each adds 12 maps", "transition down", "transition up"),
    }[config.name]
    made = draw_blocks(blocks, model, words)
    write_figure(made, config.out)
    return config.out


def blocks_of_unet(model) -> list[Block]:
    depth = sum(layer.name.startswith("pool") for layer in model.layers)
    down = [shape_of(model, f"down{level + 1}_relu_b") for level in range(depth)]
    up = [shape_of(model, f"up{level + 1}_relu_b") for level in range(depth)]
    return in_a_u(down, shape_of(model, "bottom_relu_b"), up)


def blocks_of_densenet(model) -> list[Block]:
    """Channels down: all that a block passes on. Channels of the bottleneck and up: the new maps, as they travel on."""
    depth = sum(layer.name.endswith("_transition_pool") for layer in model.layers)
    down = [shape_of(model, f"down{level + 1}_transition_norm") for level in range(depth)]
    new = [shape_of(model, f"up{level + 1}_transition_concat") for level in range(depth)]  # of the level below
    return in_a_u(down, new[-1], [shape_of(model, "up1_concat"), *new[:-1]])


def shape_of(model, name: str) -> tuple[int, int, int]:
    return tuple(model.get_layer(name).output.shape[1:])


def in_a_u(down: list, bottom, up: list) -> list[Block]:
    """Shapes of the levels, the widest first, on the left and the right arm of a U."""
    depth = len(down)
    blocks = [Block(level, level, shape, "down") for level, shape in enumerate(down)]
    blocks.append(Block(depth, depth, bottom, "bottom"))
    return blocks + [Block(2 * depth - level, level, shape, "up") for level, shape in reversed(list(enumerate(up)))]


def draw_blocks(blocks: list[Block], model, words: tuple[str, str, str]):
    from engine.pictures import BLUE, ORANGE, figure

    depth = max(block.level for block in blocks)
    made = figure(9.2, 1.05 * depth + 1.5)
    axes = made.add_subplot()
    axes.set_axis_off()
    boxes = {(block.way == "up", block.level): place(block) for block in blocks}
    for block in blocks:
        left, bottom, width, height = place(block)
        color = ORANGE if block.way == "up" else BLUE
        axes.add_patch(rectangle(left, bottom, width, height, color))
        high, wide, channels = block.shape
        axes.text(left + width / 2, bottom + height + 0.05, f"{channels}", ha="center", va="bottom", fontsize=9)
        side = 1 if block.way == "up" else -1
        edge = left + width if block.way == "up" else left
        axes.text(edge + 0.06 * side, bottom, f"{high}×{wide}", ha="left" if side > 0 else "right", fontsize=7)
    for level in range(depth):
        left, right = boxes[False, level], boxes[True, level]
        middle = left[1] + left[3] / 2
        arrow(axes, (left[0] + left[2], middle), (right[0], middle), "0.45", "--")
        axes.text((left[0] + right[0]) / 2, middle + 0.04, "skip connection" if level < 2 else "", **GREY)
        below = boxes[False, level + 1]
        arrow(axes, (left[0] + left[2] / 2, left[1]), (below[0], below[1] + below[3] / 2), BLUE)
        beside = boxes.get((True, level + 1), boxes[False, level + 1])
        arrow(axes, (beside[0] + beside[2], beside[1] + beside[3] / 2), (right[0] + right[2] / 2, right[1]), ORANGE)
    block, down, up = words
    said = f"box: {block}, with its channels above   ↘ {down}   ↗ {up}   ⇢ skip connection, concatenated"
    axes.text(depth, -depth - 0.85, said, ha="center", fontsize=8)
    high, wide, channels = model.input_shape[1:]
    title = f"{model.name}: {high}×{wide}×{channels} pixels in, {model.output_shape[-1]} logits for each out, "
    axes.set_title(f"{title}{model.count_params():,} parameters", fontsize=10)
    axes.set_xlim(-1, 2 * depth + 1)
    axes.set_ylim(-depth - 1, 0.75)
    return made


GREY = {"ha": "center", "va": "bottom", "fontsize": 7, "color": "0.35"}


def place(block: Block) -> tuple[float, float, float, float]:
    """left, bottom, width, height: taller where the maps are larger, wider where there are more."""
    height = 0.62 * 0.85**block.level
    width = 0.05 + 0.055 * np.log2(block.shape[2])
    return block.column - width / 2, -block.level - height / 2, width, height


def rectangle(left, bottom, width, height, color):
    from matplotlib.patches import Rectangle

    return Rectangle((left, bottom), width, height, facecolor=color, alpha=0.75, edgecolor="none")


def arrow(axes, start, end, color, line="-") -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": color, "linestyle": line, "lw": 1.1})


def write_figure(made, path: Path) -> None:
    import matplotlib

    from data_pipeline.files import write_atomically

    if path.suffix not in (".svg", ".png"):
        raise UserError(f"--out {path}: a name that ends in .svg or .png is wanted")
    with matplotlib.rc_context({"svg.hashsalt": "docs", "svg.fonttype": "path"}), write_atomically(path) as temporary:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        made.savefig(temporary, format=path.suffix.removeprefix("."), metadata=metadata)


def draw_progress(config: Progress) -> Path:
    """Rows of test images: image, true mask, what each run predicts, and the last one's errors."""
    from data_pipeline.colors import seen_over
    from data_pipeline.files import write_picture
    from data_pipeline.loader import read_pair
    from engine.pictures import errors, outlined
    from engine.predictor import Predictor
    from engine.run import Run

    runs = [Run.open(path) for path in config.runs]
    if not runs:
        raise UserError("name at least one run")
    first = runs[0]
    pairs = sorted(first.split.test, key=lambda pair: pair.stem)[: config.count]
    predictors = [Predictor(run.model(), run.config["model"], run.frame) for run in runs]
    steps = [len_of(run) for run in runs]
    show, samples = first.pixel_range.show, [read_pair(pair, first.encoding) for pair in pairs]
    colors = seen_over([(show(image), truth) for image, truth in samples], first.encoding.colors)
    rows = []
    for image, truth in samples:
        shown = show(image)
        said = [predictor.probabilities(image).argmax(-1).astype(np.uint8) for predictor in predictors]
        cells = [shown, outlined(shown, truth, colors), *(outlined(shown, mask, colors) for mask in said)]
        rows.append([*cells, errors(shown, truth, said[-1], colors)])
    heads = ["image", "mask", *(f"{number:,} steps" for number in steps), "errors"]
    write_picture(config.out, sheet(rows, heads))
    return config.out


def len_of(run) -> int:
    """Steps that a run was trained for."""
    from data_pipeline.files import read_json

    return read_json(run.path / "cost.json")["steps"]


def sheet(rows: list[list[np.ndarray]], heads: list[str]) -> np.ndarray:
    """Pictures of one size in rows, a word above each column; uint8 (H, W, 3)."""
    import cv2

    height, width = rows[0][0].shape[:2]
    across = np.full((height, GAP, 3), 255, np.uint8)
    lines = [np.hstack([part for cell in row for part in (cell, across)][:-1]) for row in rows]
    down = np.full((GAP, lines[0].shape[1], 3), 255, np.uint8)
    top = np.full((22, lines[0].shape[1], 3), 255, np.uint8)
    for place, head in enumerate(heads):
        at = (place * (width + GAP) + 2, 16)
        cv2.putText(top, head, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return np.vstack([top, *(part for line in lines for part in (line, down))][:-1])


def draw_report(config: Report) -> Path:
    """A report's first screen, as a browser shows it (playwright, and a Chromium on the PATH)."""
    import shutil

    from playwright.sync_api import sync_playwright

    from data_pipeline.files import write_atomically

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise UserError("a Chromium on the PATH is wanted: it shows the report")
    with sync_playwright() as playwright, write_atomically(config.out) as temporary:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": config.width, "height": config.height}, color_scheme="light")
        page.goto(config.page.resolve().as_uri())
        page.wait_for_load_state("networkidle")
        page.screenshot(path=temporary, type="jpeg", quality=85)
        browser.close()
    return config.out


def draw_glossary(config: Glossary) -> Path:
    """One small picture for each word that a picture explains."""
    from data_pipeline.importing.golfscape import Knobs, scene

    found = scene(3, Knobs(size=96))
    pictures = {
        "void": picture_of_void,
        "index-mask": picture_of_indices,
        "palette": picture_of_palette,
        "crop": picture_of_crop,
        "fold": picture_of_folds,
        "group": picture_of_groups,
        "iou": picture_of_iou,
        "ema": picture_of_ema,
        "calibration": picture_of_calibration,
    }
    for name, draw in pictures.items():
        write_figure(draw(found), config.out / f"{name}.svg")
    return config.out


def small_figure(width: float = 2.6, columns: int = 1):
    """Empty axes without frame."""
    from engine.pictures import figure

    made = figure(width, 1.3)
    axes = made.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.set_axis_off()
    return made, axes


def picture_of_void(found):
    """The border of an object that nobody can label to the pixel."""
    import cv2

    mask = found.target.clip(0, 1)
    rim = cv2.dilate(mask, np.ones((5, 5))) - cv2.erode(mask, np.ones((5, 5)))
    shown = np.full((*mask.shape, 3), 235, np.uint8)
    shown[mask == 1] = (86, 180, 233)
    shown[rim == 1] = (128, 128, 128)
    made, (left, right) = small_figure(columns=2)
    left.imshow(found.image)
    right.imshow(shown)
    right.set_title("grey: void", fontsize=7)
    return made


def picture_of_indices(_):
    """A few pixels of a mask as numbers."""
    grid = np.array([[0, 0, 0, 2], [0, 1, 1, 2], [1, 1, 1, 2]])
    made, (axes,) = small_figure(1.8)
    axes.imshow(grid, cmap="Pastel1", vmin=0, vmax=8)
    for (row, column), value in np.ndenumerate(grid):
        axes.text(column, row, str(value), ha="center", va="center", fontsize=9)
    return made


def picture_of_palette(_):
    """Indices in the file, colours on the screen."""
    colors = ((235, 235, 235), (230, 159, 0), (86, 180, 233))
    made, (axes,) = small_figure(1.8)
    for index, color in enumerate(colors):
        axes.add_patch(rectangle(0, -index, 0.8, 0.7, [c / 255 for c in color]))
        axes.text(1.0, 0.3 - index, f"{index} → ({', '.join(map(str, color))})", va="center", fontsize=7)
    axes.set_xlim(0, 3.6)
    axes.set_ylim(-2.2, 0.9)
    return made


def picture_of_crop(found):
    made, (left, right) = small_figure(columns=2)
    left.imshow(found.image)
    left.add_patch(outline(20, 36, 40))
    right.imshow(found.image[36:76, 20:60])
    return made


def outline(left, top, side):
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), side, side, facecolor="none", edgecolor="#D55E00", linewidth=2)


def picture_of_folds(_):
    """Five folds: each fifth of the images is the test part once."""
    made, (axes,) = small_figure(2.6)
    for fold in range(5):
        for part in range(5):
            color = "#D55E00" if part == fold else "#0072B2"
            axes.add_patch(rectangle(part * 1.05, -fold, 0.95, 0.75, color))
    axes.text(5.5, -1.7, "orange:\ntested", fontsize=7, va="center")
    axes.set_xlim(0, 7.5)
    axes.set_ylim(-4.1, 0.9)
    return made


def picture_of_groups(_):
    """Images of one film stay on one side."""
    made, (axes,) = small_figure(2.6)
    for place, (letter, color) in enumerate(zip("aaabbcccc", ["#0072B2"] * 5 + ["#D55E00"] * 4, strict=True)):
        axes.add_patch(rectangle(place * 0.8, 0, 0.7, 0.8, color))
        axes.text(place * 0.8 + 0.35, 0.4, letter, ha="center", va="center", color="white", fontsize=8)
    axes.text(2, -0.5, "training", ha="center", fontsize=7)
    axes.text(5.6, -0.5, "test", ha="center", fontsize=7)
    axes.set_xlim(-0.1, 7.3)
    axes.set_ylim(-0.9, 1.2)
    return made


def picture_of_iou(_):
    """Two discs: what both hold, over what either holds."""
    from matplotlib.patches import Circle

    made, (axes,) = small_figure(2.2)
    for x, color, word in ((0, "#0072B2", "truth"), (0.9, "#D55E00", "prediction")):
        axes.add_patch(Circle((x, 0), 0.8, facecolor=color, alpha=0.5))
        axes.text(x + (-0.35 if x == 0 else 0.4), -1.05, word, ha="center", fontsize=7)
    axes.text(0.45, 0, "both", ha="center", va="center", fontsize=7)
    axes.set_xlim(-1.3, 2.3)
    axes.set_ylim(-1.2, 0.9)
    axes.set_aspect("equal")
    return made


def picture_of_ema(_):
    """A weight that jumps, and its moving average."""
    steps = np.arange(120)
    jumps = 1 - np.exp(-steps / 30) + np.random.default_rng(0).normal(0, 0.18, 120)
    average = [jumps[0]]
    for value in jumps[1:]:
        average.append(0.9 * average[-1] + 0.1 * value)
    made, (axes,) = small_figure(2.4)
    axes.plot(steps, jumps, color="0.7", linewidth=0.8)
    axes.plot(steps, average, color="#0072B2", linewidth=1.6)
    return made


def picture_of_calibration(_):
    """How sure it is, and how often it is right."""
    made, (axes,) = small_figure(2.0)
    axes.plot([0.5, 1], [0.5, 1], color="0.6", linestyle="--", linewidth=1)
    axes.plot([0.5, 0.7, 0.9, 1], [0.5, 0.6, 0.74, 0.86], color="#D55E00", linewidth=1.6)
    axes.text(0.5, 0.95, "right", fontsize=7)
    axes.text(0.9, 0.51, "sure", fontsize=7)
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    return made


if __name__ == "__main__":
    run_command(main, Network | Progress | Report | Glossary, __doc__)
