"""Plots as SVG for the page: text stays text, black follows the page's ink, the ground is the page's paper."""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from xml.etree import ElementTree

import numpy as np

from engine.pictures import BLUE, ORANGE, figure

GREEN = "#009E73"  # with BLUE and ORANGE of Okabe and Ito's palette
COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9")
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
STRONGEST = 0.8  # opacity of a share of 1: the page's ink keeps 4.5:1 on it, in the light and in the dark
LEAST_SHOWN = 0.005  # smaller shares would read .00
MOST_CLASSES = 30  # rows of a confusion matrix that are drawn: its file grows with the square of their number
LONGEST_NAME = 28  # letters of a class's name on an axis
SMALLEST = 0.58  # of its own size a plot may shrink on a phone, then it scrolls: one across 600 pixels is seen whole
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "page",  # the same plot is the same file
    "text.parse_math": False,  # a class may be called "$x$"
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "grid.color": "black",
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def curves(rows: list[dict], score: str = "miou", words: str = "mIoU") -> str:
    """Loss and a score over the steps, training (solid) and validation (dashed).

    rows: of history.csv, which calls the score ``score``; people call it ``words``.
    """
    steps = [row["step"] for row in rows]
    with drawn(7.2, 2.7) as (made, out):
        for axes, key, label in zip(made.subplots(1, 2), ("loss", score), ("loss", words), strict=True):
            axes.plot(steps, [row[key] for row in rows], "o-", ms=3, color=BLUE, label="training (augmented)")
            axes.plot(steps, [row[f"val_{key}"] for row in rows], "s--", ms=3, color=ORANGE, label="validation")
            axes.set(xlabel="step (batches)", ylabel=label)
            axes.set_ylim(0, 1 if key == score else None)
            axes.grid()
        axes.legend(loc="lower right")
    return out.getvalue()


def confusion(matrix: np.ndarray, names) -> str:
    """Share of each true class's pixels (row) that went to each predicted class (column).

    Of more than MOST_CLASSES classes, those are drawn that are confused most; the shares are of all pixels still.

    Args:
        matrix: pixels, integers (C, C), truth in rows.
        names: of the C classes.

    Raises:
        ValueError: for a matrix that is not (C, C).
    """
    matrix, size = np.asarray(matrix, float), len(names)
    if matrix.shape != (size, size):
        raise ValueError(f"a matrix of shape {matrix.shape}, {(size, size)} wanted for {size} names")
    totals = matrix.sum(1, keepdims=True)
    share = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    kept = most_confused(matrix)
    share, totals, size = share[np.ix_(kept, kept)], totals[kept], len(kept)
    side = 1.3 + max(0.36 * size, 1.2)
    with drawn(side + 0.6, side) as (made, out):
        axes = made.subplots()
        labels = [shortened(names[i]) for i in kept]
        axes.set(xlabel="predicted class", ylabel="true class", xticks=range(size), yticks=range(size))
        axes.set_xticklabels(labels, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticklabels(labels)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        draw_cells(axes, share, totals[:, 0] > 0)
    return out.getvalue()


def most_confused(matrix: np.ndarray) -> np.ndarray:
    """The classes of a confusion matrix (C, C) with the largest shares of wrong pixels in its rows and columns.

    MOST_CLASSES at most, in their order; a pixel counts by its share of its true class, so that rare classes do.
    """
    totals = matrix.sum(1, keepdims=True)
    wrong = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-np.maximum(wrong.max(0), wrong.max(1)), kind="stable")
    return np.sort(order[:MOST_CLASSES])


def draw_cells(axes, share: np.ndarray, occurs: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for (row, column), value in np.ndenumerate(share):
        place = (column - 0.47, row - 0.47)
        axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor=BLUE, alpha=STRONGEST * value, linewidth=0))
        if row == column:
            axes.add_patch(Rectangle(place, 0.94, 0.94, fill=False, edgecolor="black", alpha=0.5, linewidth=0.7))
        text = percent(value) if occurs[row] else "–" * (row == column)
        if text:
            axes.text(column, row, text, ha="center", va="center_baseline", fontsize=7.5)


def percent(share: float) -> str:
    """1, .97, .03, or nothing for next to nothing."""
    if share < LEAST_SHOWN:
        return ""
    return f"{share:.2f}".removeprefix("0") if share < 0.995 else "1"


def by_images(curves: dict[str, list[dict]], words: str) -> str:
    """A score over the number of training images, a line for each method; seeds are points, the line their mean.

    curves: name → ``images`` and ``score`` of its runs; ``words``: what the score is called.
    """
    with drawn(6.4, 3.4) as (made, out):
        axes = made.subplots()
        for (name, points), color, marker in zip(curves.items(), cycle(COLORS), cycle("os^Dv")):
            counts = sorted({point["images"] for point in points})
            scores = [[point["score"] for point in points if point["images"] == count] for count in counts]
            axes.plot(counts, [np.mean(each) for each in scores], "-", color=color, lw=1.2, label=shortened(name))
            axes.plot([p["images"] for p in points], [p["score"] for p in points], marker, color=color, ms=4)
        axes.set(xlabel="training images", ylabel=words, xscale="log")
        axes.set_xticks(sorted({point["images"] for points in curves.values() for point in points}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.minorticks_off()
        axes.grid()
        axes.legend(loc="best")
    return out.getvalue()


def reliability(bins: list[dict], units: str = "pixels") -> str:
    """Draw how often the network is right at each confidence, over the shares of pixels that have it.

    bins: of ``confidence`` (its mean), ``accuracy`` and ``share`` (of all pixels), each 0…1; a bin without
    pixels has None or NaN for the first two, and is not drawn. ``units``: what they are, if not pixels.
    """
    held = [one for one in bins if one["share"] > 0]
    confidence, accuracy, share = ([one[key] for one in held] for key in ("confidence", "accuracy", "share"))
    with drawn(3.6, 4.2) as (made, out):
        diagram, histogram = made.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        diagram.plot([0, 1], [0, 1], "--", color="black", lw=0.9, alpha=0.6, label="perfectly calibrated")
        diagram.plot(confidence, accuracy, "o-", ms=4, color=BLUE, label="network")
        diagram.set(ylabel=f"accuracy (share of {units} right)", xlim=(0, 1), ylim=(0, 1))
        diagram.legend(loc="lower right")
        histogram.bar(confidence, share, width=0.6 / max(len(bins), 1), color=BLUE, alpha=0.7)
        histogram.set(xlabel="confidence (probability of the class said)", ylabel=f"share of {units}")
        for axes in (diagram, histogram):
            axes.grid()
    return out.getvalue()


def thresholds(curve: dict[str, np.ndarray], name: str) -> str:
    """Precision over recall, and both with IoU over the threshold; 0.5 is where predictions are cut.

    Args:
        curve: what ``threshold_curve`` gives: "threshold", "precision", "recall", maybe "iou", float (N,) each.
        name: of the class.
    """
    half = int(np.argmin(np.abs(curve["threshold"] - 0.5)))
    lines = {"precision": (BLUE, "-"), "recall": (ORANGE, "--"), "iou": (GREEN, "-.")}
    with drawn(6.4, 3.0) as (made, out):
        left, right = made.subplots(1, 2)
        left.plot(curve["recall"], curve["precision"], "-", color=BLUE, lw=1.6)
        left.plot(curve["recall"][half], curve["precision"][half], "o", color=ORANGE, label="threshold 0.5")
        left.set(xlabel=f"recall of {shortened(name)}", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        left.legend(loc="lower left")
        right.axvline(0.5, color="black", ls=":", lw=0.9, alpha=0.6)
        for key in [key for key in lines if key in curve]:
            color, style = lines[key]
            right.plot(curve["threshold"], curve[key], style, color=color, lw=1.6, label={"iou": "IoU"}.get(key, key))
        right.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.01))
        right.legend(loc="lower center")
        for axes in (left, right):
            axes.grid()
    return out.getvalue()


def object_sizes(sizes: list[int], counts: list[int], found: list[int]) -> str:
    """The share of true objects that was found over their size, and how many there are.

    Args:
        sizes: where each class of size begins, pixels, rising.
        counts: true objects of each class of size.
        found: how many of them were found.
    """
    kept = [i for i, count in enumerate(counts) if count]
    places = [float(np.sqrt(2) * sizes[i]) for i in kept]
    with drawn(4.8, 3.6) as (made, out):
        upper, lower = made.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot(places, [found[i] / counts[i] for i in kept], "o-", ms=4.5, color=BLUE)
        upper.set(ylabel="share found", ylim=(-0.03, 1.03), xscale="log")
        lower.bar(places, [counts[i] for i in kept], width=[0.55 * place for place in places], color=BLUE, alpha=0.7)
        lower.set(xlabel="size of an object (pixels)", ylabel="objects")
        lower.yaxis.get_major_locator().set_params(integer=True, nbins=3)
        lower.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        lower.minorticks_off()
        for axes in (upper, lower):
            axes.grid()
    return out.getvalue()


def class_bars(names, values, ends, others, xlabel: str) -> str:
    """A bar for each class, the best on top, with its interval as a line; another way's value as a diamond.

    Args:
        names: of the classes.
        values: of the network, None where a class does not occur.
        ends: of the intervals, (low, high) or None.
        others: of the other way, None where there is none.
        xlabel: what the values are.
    """
    order = sorted(range(len(names)), key=lambda i: -1 if values[i] is None else values[i], reverse=True)
    rows = range(len(names))
    with drawn(5.8, 0.7 + 0.3 * max(len(names), 2)) as (made, out):
        axes = made.subplots()
        axes.barh(rows, [values[i] or 0 for i in order], height=0.62, color=BLUE, alpha=0.55)
        for row, i in zip(rows, order, strict=True):
            if ends[i]:
                axes.plot(ends[i], [row, row], "-", color="black", lw=1.1, solid_capstyle="butt")
        beside = [np.nan if others[i] is None else others[i] for i in order]
        axes.plot(beside, rows, "D", ms=5, color=ORANGE, clip_on=False, zorder=3)  # whole at 0 and 1, too
        axes.set(xlabel=xlabel, xlim=(0, 1), yticks=rows, ylim=(len(names) - 0.4, -0.6))
        axes.set_yticklabels([shortened(names[i]) for i in order])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
    return out.getvalue()


def forest(names, values, lows, highs, zero_line: float | None, xlabel: str) -> str:
    """Points with their intervals, one a row, the first on top; None for a low draws the point alone, None for a
    value an empty row."""
    with drawn(6.2, 0.8 + 0.26 * max(len(names), 2)) as (made, out):
        axes = made.subplots()
        if zero_line is not None:
            axes.axvline(zero_line, color="black", ls="--", lw=0.9, alpha=0.6)
        for row, (value, low, high) in enumerate(zip(values, lows, highs, strict=True)):
            if low is not None:
                axes.plot([low, high], [row, row], "-", color=BLUE, lw=2.2, alpha=0.55, solid_capstyle="butt")
            if value is not None:
                axes.plot([value], [row], "o", ms=5, color=BLUE)
        axes.set(xlabel=readable(xlabel), yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axes.set_yticklabels([shortened(name) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
    return out.getvalue()


def learning_curve(counts, scores, forecast) -> str:
    """mIoU of runs over their number of training masks (log axis), and what is forecast.

    forecast: None, or its ``counts``, ``middle``, ``low`` and ``high`` (arrays), ``at``, ``value``, ``interval``.
    """
    with drawn(5.4, 3.3) as (made, out):
        axes = made.subplots()
        axes.set_xscale("log")
        ticks = list(counts)
        if forecast is not None:
            axes.fill_between(forecast.counts, forecast.low, forecast.high, color=BLUE, alpha=0.15, lw=0)
            axes.plot(forecast.counts, forecast.middle, "-", color=BLUE, lw=1.4, label="curve, 95% of one new run")
            axes.plot([forecast.at] * 2, forecast.interval, "-", color=ORANGE, lw=2.2, alpha=0.7)
            axes.plot([forecast.at], [forecast.value], "D", ms=5, color=ORANGE, label=f"forecast at {forecast.at}")
            ticks.append(forecast.at)
        axes.plot(counts, scores, "o", ms=4.5, mfc="none", mec="black", label="runs")
        label_counts(axes, ticks)
        axes.set(xlabel="training masks (log scale)", ylabel="mIoU")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 1))
        axes.grid()
        axes.legend(loc="lower right")
    return out.getvalue()


def label_counts(axes, counts) -> None:
    """Ticks at the counts themselves, where they do not touch."""
    kept = []
    for count in sorted(set(counts), reverse=True):
        if not kept or np.log(kept[-1] / count) > 0.09 * np.log(max(counts) / min(counts)):
            kept.append(count)
    axes.minorticks_off()
    axes.set_xticks(kept)
    axes.set_xticklabels([f"{count:g}" for count in kept])


@contextmanager
def drawn(width: float, height: float) -> Iterator[tuple]:
    """A figure of so many inches to draw in, and a buffer that holds its SVG after the block."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has letters that matplotlib's font lacks
        made = figure(width, height)
        yield made, out
        raw = io.StringIO()
        made.savefig(raw, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    out.write(for_the_page(raw.getvalue()))


def for_the_page(svg: str) -> str:
    """matplotlib's file as an element among others: no ids or style of its own beside theirs, the page's ink."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(svg)
    for part in root.findall(f"{{{SVG}}}metadata"):
        root.remove(part)
    for part in root.findall(f"{{{SVG}}}defs"):
        if part.find(f"{{{SVG}}}style") is not None:
            root.remove(part)  # its rule would hold for the whole page; it is said of this element below
    own = "p" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    for element in root.iter():
        element.attrib.update({key: adapt(key, value, own) for key, value in element.attrib.items()})
        if element.tag == f"{{{SVG}}}g":
            element.attrib.pop("id", None)
    width = float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3
    del root.attrib["height"], root.attrib["version"]
    root.attrib |= {
        "fill": "currentColor",
        "stroke-linejoin": "round",
        "style": f"width: {width:.0f}px; min-width: {SMALLEST * width:.0f}px; max-width: 100%",
    }
    return ElementTree.tostring(root, encoding="unicode")


def adapt(key: str, value: str, own: str) -> str:
    """An attribute with ids that are the plot's own, the page's ink for black, and the page's letters."""
    if key == "id":
        return f"{own}-{value}"
    if key == f"{{{XLINK}}}href":
        return value.replace("#", f"#{own}-", 1)
    if key == "clip-path":
        return value.replace("url(#", f"url(#{own}-", 1)
    if key == "style":
        return re.sub(r"font-family: [^;]*;? ?", "", value).replace("#000000", "currentColor")
    return value


def shortened(name: str) -> str:
    name = readable(name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def readable(text: str) -> str:
    """Without what XML cannot hold or would break the line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))
