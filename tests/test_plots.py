"""Plots as SVG: what they say, that names stay text, and that they sit in a page of any colour beside each other."""

import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from engine.reporting import plots

SVG, HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
HOSTILE = ("$x_1$ & \\frac", '<b>"it\'s"</b>', "</svg><script>", "bad\x00\nname", "道路")
READABLE = (*HOSTILE[:3], "bad��name", "道路")
ROWS = [
    {"step": 10 * i, "loss": 1 / i, "miou": 0.5 + 0.01 * i, "val_loss": 2 / i, "val_miou": 0.4 + 0.01 * i}
    for i in range(1, 9)
]
FORECAST = SimpleNamespace(
    counts=np.array([10.0, 100.0, 200.0]),
    middle=np.array([0.5, 0.6, 0.65]),
    low=np.array([0.4, 0.5, 0.55]),
    high=np.array([0.6, 0.7, 0.75]),
    at=200,
    value=0.65,
    interval=(0.55, 0.75),
)
BINS = [
    {"confidence": None, "accuracy": None, "share": 0.0},
    {"confidence": 0.6, "accuracy": 0.5, "share": 0.25},
    {"confidence": 0.9, "accuracy": 0.8, "share": 0.75},
]
CURVE = {
    "threshold": np.arange(101) / 100,
    "precision": np.append(np.linspace(0.1, 1, 100), np.nan),
    "recall": np.linspace(1, 0, 101),
    "iou": np.linspace(0.1, 0, 101),
}
ALL = {
    "curves": lambda: plots.curves(ROWS),
    "confusion": lambda: plots.confusion(np.arange(25).reshape(5, 5), HOSTILE),
    "reliability": lambda: plots.reliability(BINS),
    "forest": lambda: plots.forest(HOSTILE, [0.1] * 5, [0.0] * 5, [0.2] * 5, 0.0, "difference in mIoU"),
    "thresholds": lambda: plots.thresholds(CURVE, HOSTILE[2]),
    "object_sizes": lambda: plots.object_sizes([1, 2, 4, 8], [3, 0, 2, 9], [0, 0, 1, 9]),
    "class_bars": lambda: plots.class_bars(
        HOSTILE, [0.5, None, 0.9, 0.1, 0.3], [(0.4, 0.6), None, (0.8, 0.95), None, None], [0.2] * 4 + [None], "IoU"
    ),
    "learning_curve": lambda: plots.learning_curve([10, 30, 100], [0.5, 0.55, 0.6], FORECAST),
}


def test_a_confusion_matrix_of_many_classes_shows_the_most_confused():
    matrix = np.diag(np.full(250, 10))
    matrix[7, 201] = 30
    names = [f"c{i}" for i in range(250)]
    svg = plots.confusion(matrix, names)
    assert {7, 201} <= set(plots.most_confused(matrix)) and len(plots.most_confused(matrix)) == plots.MOST_CLASSES
    assert {"c7", "c201", ".75", ".25"} <= set(texts(svg)), "shares of all pixels of the class"
    assert len(svg) < 400_000


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [element.text for element in parse(svg).iter(f"{SVG}text")]


def drawn(svg: str, style: str) -> list[ElementTree.Element]:
    """The paths in whose style the words stand."""
    return [path for path in parse(svg).iter(f"{SVG}path") if style in path.get("style", "")]


@pytest.fixture(scope="module", params=ALL)
def svg(request):
    return ALL[request.param]()


def test_belongs_into_any_page(svg):
    root = parse(svg)
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert "currentColor" in styles and "#000000" not in styles, "black follows the page"
    assert "#ffffff" not in styles and root.get("fill") == "currentColor", "the ground is the page's"
    assert "font-family" not in styles, "letters are the page's"
    for tag in ("style", "metadata", "image", "script"):
        assert root.find(f".//{SVG}{tag}") is None
    assert re.match(r"width: \d+px; min-width: \d+px; max-width: 100%", root.get("style"))


def test_texts_are_texts(svg):
    assert len(texts(svg)) > 3


def test_references_resolve(svg):
    root = parse(svg)
    known = [element.get("id") for element in root.iter() if element.get("id")]
    asked = {element.get(HREF)[1:] for element in root.iter() if element.get(HREF)}
    asked |= {element.get("clip-path")[5:-1] for element in root.iter() if element.get("clip-path")}
    assert len(known) == len(set(known)) and asked and asked <= set(known)


def test_ids_of_two_plots_differ():
    one, other = (re.findall(r'\bid="([^"]+)"', plots.curves(rows)) for rows in (ROWS, ROWS[:-1]))
    assert one and other and not set(one) & set(other)


def test_the_same_again_is_the_same():
    assert ALL["curves"]() == ALL["curves"]()


def test_settings_of_matplotlib_are_left_alone():
    settings = [key for key in matplotlib.rcParams if key != "backend"]  # which asking for would choose
    before = {key: matplotlib.rcParams[key] for key in settings}
    ALL["confusion"]()
    assert {key: matplotlib.rcParams[key] for key in settings} == before


@pytest.mark.parametrize("kind", ["confusion", "forest"])
def test_names_are_never_markup_or_mathematics(kind, recwarn):
    figure = ALL[kind]()
    assert set(READABLE) <= set(texts(figure))
    assert not list(recwarn), "letters that matplotlib's own font lacks are the browser's business"


def test_curves_tell_training_from_validation():
    figure = plots.curves(ROWS)
    assert {"loss", "mIoU", "step (batches)", "training (augmented)", "validation"} <= set(texts(figure))
    solid, dashed = (
        [path for path in drawn(figure, f"stroke: {color.lower()}") if path.get("clip-path")]
        for color in (plots.BLUE, plots.ORANGE)
    )
    assert len(solid) == len(dashed) == 2
    assert all("stroke-dasharray" in path.get("style") for path in dashed)
    assert not any("stroke-dasharray" in path.get("style") for path in solid)


def test_curves_bear_missing_numbers():
    plots.curves([ROWS[0] | {"miou": float("nan"), "val_loss": float("nan")}])


def test_confusion_shows_shares_of_the_true_class():
    figure = plots.confusion(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]]), ["a", "b", "c"])
    assert [text for text in texts(figure) if text not in "abc" and "class" not in text] == [".75", ".25", "–", "1"]
    opacities = [float(re.search(r"opacity: ([\d.]+)", path.get("style"))[1]) for path in drawn(figure, "#0072b2")]
    np.testing.assert_allclose(opacities, 0.8 * np.array([0.75, 0.25, 0.001, 0.999]), atol=1e-6)


def test_confusion_refuses_another_shape():
    with pytest.raises(ValueError, match=r"a matrix of shape \(2, 3\), \(2, 2\) wanted for 2 names"):
        plots.confusion(np.zeros((2, 3)), ["a", "b"])


def test_confusion_of_twenty_classes_has_every_name_and_small_cells():
    names = [f"class {i}" for i in range(19)] + ["a name that is far too long for any axis of a plot"]
    figure = plots.confusion(np.eye(20, dtype=int), names)
    assert all(texts(figure).count(name) == 2 for name in names[:19])
    assert texts(figure).count("a name that is far too long…") == 2
    assert 600 < float(parse(figure).get("viewBox").split()[2]) < 720


@pytest.mark.parametrize(
    ("share", "text"), [(0, ""), (0.004, ""), (0.0051, ".01"), (0.25, ".25"), (0.994, ".99"), (0.999, "1"), (1, "1")]
)
def test_percent(share, text):
    assert plots.percent(share) == text


def luminance(color: np.ndarray) -> float:
    """WCAG 2.2, relative luminance; color: 0…1."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rgb(text: str) -> np.ndarray:
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def page_color(name: str) -> list[np.ndarray]:
    """A colour of the page's style, light and dark."""
    style = (Path(plots.__file__).parent / "templates/page.css").read_text("utf-8")
    return [rgb(text) for text in re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", style).groups()]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_numbers_are_read_on_every_cell(theme):
    ink, paper = page_color("ink")[theme], page_color("paper")[theme]
    for share in np.linspace(0, 1, 21):
        alpha = plots.STRONGEST * share
        assert contrast(ink, alpha * rgb(plots.BLUE) + (1 - alpha) * paper) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("color", ["ink", "soft", "accent"])
def test_words_are_read_on_every_ground(theme, color):
    for ground in ("paper", "raised", "sunk"):
        assert contrast(page_color(color)[theme], page_color(ground)[theme]) >= 4.5


def test_reliability_leaves_empty_bins_out():
    figure = plots.reliability(BINS)
    markers = [use for use in parse(figure).iter(f"{SVG}use") if "#0072b2" in use.get("style")]
    assert len(markers) == 2 + 1, "two bins, and the legend"
    assert any("confidence" in text for text in texts(figure)) and any("accuracy" in text for text in texts(figure))


def test_forest_puts_the_first_on_top_and_bears_missing_intervals():
    figure = plots.forest(["one", "two", "three"], [0.1, 0.3, None], [0.0, None, None], [0.2, None, None], None, "mIoU")
    height = {text.text: float(text.get("y")) for text in parse(figure).iter(f"{SVG}text") if text.get("y")}
    assert height["one"] < height["two"] < height["three"]
    assert len(drawn(figure, "stroke-opacity: 0.55")) == 1, "one interval"
    assert len([use for use in parse(figure).iter(f"{SVG}use") if "#0072b2" in use.get("style")]) == 2


def test_forest_marks_zero():
    with_line, without = (plots.forest(["a"], [0.1], [0.0], [0.2], zero, "x") for zero in (0.0, None))
    assert len(drawn(with_line, "stroke-dasharray")) == 1 and not drawn(without, "stroke-dasharray")


def test_learning_curve_labels_the_counts_that_were_tried():
    words = texts(ALL["learning_curve"]())
    assert {"10", "30", "100", "200", "forecast at 200", "runs", "mIoU"} <= set(words)
    alone = texts(plots.learning_curve([10, 30, 100], [0.5, 0.55, 0.6], None))
    assert "200" not in alone and not any("forecast" in text for text in alone)


def test_learning_curve_of_one_count():
    assert "50" in texts(plots.learning_curve([50, 50], [0.5, 0.6], None))


def test_close_counts_are_not_written_over_each_other():
    figure = texts(plots.learning_curve([10, 99, 100, 1000], [0.5] * 4, None))
    assert "100" in figure and "99" not in figure
    found = texts(plots.learning_curve([10, 99, 100, 1000], [0.5] * 4, None))
    assert "100" in found and "99" not in found


def test_classes_stand_in_the_order_of_their_scores():
    svg = ALL["class_bars"]()
    shown = [text for text in texts(svg) if text in READABLE]
    assert shown == [READABLE[i] for i in (2, 0, 4, 3, 1)], "the best on top, the absent one last"


def test_the_curve_over_thresholds_may_do_without_iou():
    assert "IoU" in texts(ALL["thresholds"]())
    assert "IoU" not in texts(plots.thresholds({key: CURVE[key] for key in CURVE if key != "iou"}, "a"))


def test_sizes_without_objects_are_left_out():
    """The counts' axis has a bar for each of three sizes."""
    svg = plots.object_sizes([1, 2, 4, 8], [3, 0, 2, 9], [0, 0, 1, 9])
    assert "share found" in texts(svg) and "size of an object (pixels)" in texts(svg)
    other = plots.object_sizes([1, 4, 8], [3, 2, 9], [0, 1, 9])
    assert re.sub(r"p[0-9a-f]{8}", "", svg) == re.sub(r"p[0-9a-f]{8}", "", other)


def test_a_diamond_at_the_edge_is_whole():
    root = ElementTree.fromstring(plots.class_bars(["a", "b"], [0.5, 0.4], [None, None], [0.0, 1.0], "IoU"))
    orange = [use for use in root.iter(f"{SVG}use") if "d55e00" in use.get("style", "").lower()]
    assert len(orange) == 2
    clipped = [use for group in root.iter(f"{SVG}g") if group.get("clip-path") for use in group.iter(f"{SVG}use")]
    assert not set(orange) & set(clipped)
