"""The page in a real browser: what a reader sees, clicks and types, and what hostile names must not do."""

import base64
import colorsys
import io
import json
import os
import re
import shutil
import struct
import subprocess
import weakref
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder, save, shapes, write_classes
from PIL import Image

from data_pipeline.colors import beneath, distance, lab, standing_out
from engine.pictures import errors, mistakes, outlined
from engine.reporting.gallery import Gallery, Picture, palette_png, small, who_is_right
from engine.reporting.page import Cell, Number, Opening, Plot, Section, Table, write_page

VOID = 255
EVIL = "<img src=x onerror=alert(1)>.png"
NAMES = ("ground", '"x" & <i>y</i>', "</script><script>alert(2)</script>")
COLORS = ((0, 0, 0), (230, 159, 0), (86, 180, 233))
GREY, CLEAR = (128, 128, 128, 255), (0, 0, 0, 0)
MISSED, FALSE_ALARM, WRONG_CLASS = (86, 180, 233, 255), (213, 94, 0, 255), (240, 228, 66, 255)
WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, VOID, VOID], [2, 2, VOID, VOID]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 1], [0, 0, 1, 2], [2, 2, 0, 0], [2, 0, 1, 1]], np.uint8)
OTHER = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [2, 2, 0, 0], [2, 0, 1, 1]], np.uint8)
IMAGE = np.full((4, 4, 3), 200, np.uint8)


def scores(miou, first=None):
    return {"mIoU": miou, NAMES[1]: first}


def pictures():
    """By mIoU: beta 0.2, the evil one 0.5, alpha 0.9, empty none; class 2 is in the evil one's masks alone."""
    flat = np.zeros((4, 4), np.uint8)
    yield Picture("alpha", scores(0.9, 0.1), IMAGE, flat, flat)
    yield Picture(EVIL, scores(0.5, 0.6), IMAGE, TRUTH, PREDICTION, note="<b>a note</b>")
    yield Picture("beta", scores(0.2, 0.3), IMAGE, flat, flat + 1)
    yield Picture("empty", scores(float("nan")), None, flat, None)


def sections(shown=pictures, sort="mIoU"):
    numbers = Table(
        ["class", "IoU", "pixels"],
        [
            ["ground", Cell(0.7123, (0.661, 0.749)), 12345],
            [NAMES[1], Cell(0.5, None, "held by 4 images"), None],
            ["other", Cell(0.4, None, "held by 4 images"), 0.1234],
            ["difference", Cell(-0.03, (-0.05, -0.012)), -0.0001],
            ["sharp", Cell(0.9951, (0.991, 0.998)), float("nan")],
        ],
        caption="Scores & <b>more</b>",
        colors={"ground": (1, 2, 3)},
    )
    wide = Table(["name", *(f"column number {i}" for i in range(20))], [["row", *range(20)]])
    plot = Plot(
        '<svg viewBox="0 0 900 9" style="width: 900px; min-width: 630px"><text>p</text></svg>', "a <plot>", "It."
    )
    return [
        Section("First & <b>foremost</b>", ["Words."], [numbers, wide], [plot], help=["Explained with <b>tags</b>."]),
        Section("Pictures", gallery=Gallery(shown(), NAMES, COLORS, sort)),
    ]


def opening() -> Opening:
    numbers = [Number("score", "0.70"), Number("lead <b>", "+0.20", "95% interval +0.10 to +0.30")]
    strip = Gallery((picture for picture in pictures() if picture.stem != "empty"), NAMES, COLORS)
    return Opening("What <b>follows</b>.", numbers, strip)


def write(path: Path, **changes) -> Path:
    asked = {"title": "A <title>", "verdict": "Good </title><script>alert(3)</script>", "loud": False}
    asked |= {"facts": ["fact & <b>"], "sections": sections(), "opening": opening()}
    write_page(path, **asked | changes)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; CHROMIUM names one that is not on the PATH."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives a browser")
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, filter(None, names))), None)
    if not found:
        pytest.skip("needs a Chromium on the PATH, or named by CHROMIUM")
    with api.sync_playwright() as playwright:
        try:
            launched = playwright.chromium.launch(
                executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
        except api.Error as error:
            pytest.skip(f"{found} does not start here: {error}")
        yield launched
        launched.close()


@dataclass
class Heard:
    """Whatever a page must not do."""

    complaints: list[str] = field(default_factory=list)

    def listen(self, page) -> None:
        for event in ("console", "pageerror", "dialog", "request"):
            page.on(event, getattr(self, event))

    def forget(self, page) -> None:
        for event in ("console", "pageerror", "dialog", "request"):
            page.remove_listener(event, getattr(self, event))

    def console(self, message) -> None:
        self.complaints.append(f"console: {message.text}")

    def pageerror(self, error) -> None:
        self.complaints.append(f"error: {error}")

    def dialog(self, dialog) -> None:
        self.complaints.append("dialog")
        dialog.dismiss()

    def request(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self.complaints.append(f"request: {request.url}")


@pytest.fixture(scope="module")
def tab(browser):
    """One tab for all tests that ask for nothing special: loading is quicker than opening."""
    return browser.new_page(viewport={"width": 1200, "height": 800})


@pytest.fixture
def visit(browser, tab):
    """Open a page as ``visit(path, **context)``; afterwards nothing may have complained, nor left the file."""
    heard, opened = Heard(), []

    def open_page(path, **settings):
        page = tab
        if settings:
            page = browser.new_page(**settings)
            heard.listen(page)
            opened.append(page)
        page.goto(path.as_uri())
        return page

    heard.listen(tab)
    yield open_page
    for page in opened:
        page.close()
    tab.goto("about:blank")
    tab.emulate_media(color_scheme="light", reduced_motion="no-preference")
    heard.forget(tab)
    assert heard.complaints == []


def stems(page) -> list[str]:
    return page.locator(".card .stem").all_inner_texts()


def choose(page, view: str) -> None:
    page.locator(f".bar .views input[value={view}]").check()


def card_of(page, stem: str):
    return page.locator(".card").filter(has_text=stem)


def drawn(page, stem: str, panel: str) -> np.ndarray:
    """The pixels over an image, (H, W, 4): of a panel's own file, or of the canvas in its place."""
    flat = (
        card_of(page, stem)
        .locator(f".panel.{panel}")
        .evaluate(
            """async (panel) => {
            const frame = () => new Promise(requestAnimationFrame);
            for (let i = 0; i < 4; i++) await frame();
            let shown = panel.querySelector("canvas");
            if (!shown) {
                shown = new Image();
                shown.src = panel.querySelector(".layer").getAttribute("href");
                await shown.decode();
            }
            const copy = new OffscreenCanvas(4, 4).getContext("2d", { willReadFrequently: true });
            copy.drawImage(shown, 0, 0);
            return [...copy.getImageData(0, 0, 4, 4).data];
        }"""
        )
    )
    return np.array(flat).reshape(4, 4, 4)


def shown_pixel(page, locator, x: float = 0.5, y: float = 0.5) -> np.ndarray:
    """The colour on the screen at a place of a panel's picture, RGB."""
    taken = np.array(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))
    return taken[int(y * len(taken)), int(x * taken.shape[1])].astype(int)


def expected_error() -> np.ndarray:
    expected = np.array([[CLEAR] * 4] * 4)
    expected[2:, 2:] = GREY
    expected[0, 1], expected[3, 1], expected[1, 3] = FALSE_ALARM, MISSED, WRONG_CLASS
    return expected


def test_errors_are_told_apart(path, visit):
    page = visit(path)
    np.testing.assert_array_equal(drawn(page, EVIL, "error"), expected_error())
    legend = page.locator(".gallery .legend.kinds").inner_text().split("\n")
    assert legend == ["missed", "false alarm", "wrong class", "void"]


def test_the_script_draws_what_the_page_holds(path, visit):
    """The large view reads the classes back from the files and paints them by itself."""
    page = visit(path)
    for panel in ("truth", "prediction", "error"):
        card_of(page, EVIL).locator(f".panel.{panel}").click()
        flat = page.locator("dialog[open] canvas").evaluate(
            """async (canvas) => {
                while (!canvas.width) await new Promise(requestAnimationFrame);
                const copy = new OffscreenCanvas(4, 4).getContext("2d", { willReadFrequently: true });
                copy.drawImage(canvas, 0, 0);
                return [...copy.getImageData(0, 0, 4, 4).data];
            }"""
        )
        page.keyboard.press("Escape")
        np.testing.assert_array_equal(np.array(flat).reshape(4, 4, 4), drawn(page, EVIL, panel))


def test_errors_keep_to_the_shown_classes(path, visit):
    page = visit(path)
    page.get_by_role("checkbox", name=NAMES[1]).uncheck()
    page.get_by_role("checkbox", name="ground").uncheck()
    shown = drawn(page, EVIL, "error")
    assert tuple(shown[0, 1]) == CLEAR, "ground taken for x, neither of which is shown"
    assert tuple(shown[3, 1]) == MISSED, "class 2 taken for ground"
    assert tuple(shown[1, 3]) == FALSE_ALARM, "x, which is not shown, taken for class 2"
    page.get_by_role("checkbox", name=NAMES[1]).check()
    page.get_by_role("checkbox", name=NAMES[2]).uncheck()
    shown = drawn(page, EVIL, "error")
    assert tuple(shown[0, 1]) == FALSE_ALARM and tuple(shown[3, 1]) == CLEAR and tuple(shown[1, 3]) == MISSED
    page.get_by_role("button", name="all / none").click()
    np.testing.assert_array_equal(drawn(page, EVIL, "error")[2:], expected_error()[2:])


def test_mistakes_by_hand():
    kinds = mistakes(TRUTH, PREDICTION, frozenset({0}))
    assert kinds.tolist() == [[0, 2, 0, 0], [0, 0, 0, 3], [0, 0, VOID, VOID], [0, 1, VOID, VOID]]
    assert mistakes(TRUTH, PREDICTION, frozenset())[0, 1] == 3, "without a background all are wrong classes"
    assert who_is_right(TRUTH, PREDICTION, OTHER).tolist() == [
        [0, 2, 0, 0],
        [0, 1, 0, 3],
        [0, 0, VOID, VOID],
        [0, 3, VOID, VOID],
    ]


def test_errors_of_a_file_have_the_colours_of_the_page():
    image = np.full((4, 4, 3), 100, np.uint8)
    drawn_errors = errors(image, TRUTH, PREDICTION, COLORS)
    wanted = {(0, 1): FALSE_ALARM, (3, 1): MISSED, (1, 3): WRONG_CLASS, (2, 2): GREY, (0, 0): (140, 140, 140, 255)}
    assert {place: (*drawn_errors[place].tolist(), 255) for place in wanted} == wanted


def test_masks_of_a_file_have_edges_in_full_colour():
    image, mask = np.full((7, 7, 3), 100, np.uint8), np.zeros((7, 7), np.uint8)
    mask[1:6, 1:6] = 1
    shown = outlined(image, mask, ((0, 0, 0), (230, 150, 0)))
    assert shown[1, 1].tolist() == [230, 150, 0] and shown[0, 0].tolist() == [100, 100, 100]
    assert shown[3, 3].tolist() == [152, 120, 60], "0.6 of the image and 0.4 of the colour"


def test_two_networks_beside_each_other(tmp_path, visit):
    """The panels and colours of a comparison, in the file and by the script."""
    compared = Gallery(
        [Picture("a", {}, IMAGE, TRUTH, PREDICTION, OTHER)],
        NAMES,
        COLORS,
        panels=("image", "truth", "prediction", "other", "error"),
        titles={"prediction": "one", "other": "two", "error": "who is right"},
        kinds=("only one", "only two", "none"),
    )
    page = visit(write(tmp_path / "page.html", sections=[Section("Compared", gallery=compared)]))
    assert page.locator(".card .name").all_inner_texts() == ["image", "truth", "one", "two", "who is right"]
    assert page.locator(".gallery .legend.kinds").inner_text().split("\n")[:3] == ["only one", "only two", "none"]
    colors = drawn(page, "a", "error")
    assert tuple(colors[0, 1]) == FALSE_ALARM and tuple(colors[1, 1]) == MISSED and tuple(colors[3, 1]) == WRONG_CLASS
    page.locator(".drawn input[value=outline]").check()
    page.locator(".drawn input[value=fill]").check()
    page.get_by_role("checkbox", name="ground").uncheck()
    again = drawn(page, "a", "error")
    assert tuple(again[1, 3]) == WRONG_CLASS and page.locator(".card canvas").count() == 4


def test_truth_and_prediction_in_the_classes_colors(path, visit):
    page = visit(path)
    orange, blue = (*COLORS[1], 255), (*COLORS[2], 255)
    prediction = drawn(page, EVIL, "prediction")
    assert tuple(prediction[0, 0]) == CLEAR, "black stays clear over an image"
    assert tuple(prediction[0, 1]) == orange and tuple(prediction[3, 0]) == blue and tuple(prediction[3, 3]) == orange
    truth = drawn(page, EVIL, "truth")
    assert tuple(truth[0, 1]) == CLEAR and tuple(truth[0, 2]) == orange and tuple(truth[3, 3]) == GREY
    assert tuple(drawn(page, "empty", "truth")[0, 0]) == (0, 0, 0, 255), "over a flat ground black is drawn"


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1400", "390"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_panel_is_painted(path, visit, viewport, scheme):
    """Side by side: the image, its masks over it, its errors over grey; nothing beyond the window's sides."""
    page = visit(path, viewport=viewport, color_scheme=scheme)
    card = card_of(page, "beta")  # class 1 throughout where truth has 0
    card.scroll_into_view_if_needed()
    colors = {
        panel: shown_pixel(page, card.locator(f".panel.{panel} svg")) for panel in ("image", "truth", "prediction")
    }
    half = (np.array(COLORS[1]) + 200) / 2
    for panel, expected in {"image": (200,) * 3, "truth": (200,) * 3, "prediction": half}.items():
        assert np.abs(colors[panel] - expected).max() <= 4, (panel, colors[panel])
    assert np.abs(shown_pixel(page, card.locator(".panel.error svg")) - FALSE_ALARM[:3]).max() <= 4
    boxes = [card.locator(f".panel.{panel}").bounding_box() for panel in ("image", "truth", "prediction", "error")]
    rows = {round(box["y"]) for box in boxes}
    assert len(rows) == (1 if viewport is WIDE else 2), "four in a row, on a phone two and two"
    assert page.evaluate("document.scrollingElement.scrollWidth") <= viewport["width"]


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1400", "390"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_holds_verdict_lead_and_pictures(path, visit, viewport, scheme):
    page = visit(path, viewport=viewport, color_scheme=scheme)
    numbers = page.locator(".numbers").inner_text()
    assert "+0.20" in numbers and "95% interval +0.10 to +0.30" in numbers and "lead <b>" in numbers
    assert page.locator(".detail").inner_text() == "What <b>follows</b>."
    shown = page.locator(".strip .panel:visible svg")
    assert shown.count() == 6, "prediction and error of three images"
    for box in (one.bounding_box() for one in shown.all()):
        assert box["width"] > 80 and box["y"] + box["height"] < viewport["height"]
    assert np.abs(shown_pixel(page, shown.nth(4)) - (np.array(COLORS[1]) + 200) / 2).max() <= 4
    assert np.abs(shown_pixel(page, shown.nth(5)) - FALSE_ALARM[:3]).max() <= 4


def test_a_picture_of_the_first_screen_opens_large(path, visit):
    page = visit(path)
    page.locator(".strip li").filter(has_text="beta").locator(".panel.error").click()
    assert page.locator("dialog h3").inner_text().startswith("beta")
    assert page.locator("dialog").get_by_role("radio", name="Error").is_checked()


def test_layered_shows_one_panel_of_each(path, visit):
    page = visit(path)
    assert page.locator(".card .panel:visible").count() == 13, "of four pictures, one without image and prediction"
    for view in ("image", "truth", "prediction", "error"):
        choose(page, view)
        visible = page.locator(".card .panel:visible").evaluate_all("all => all.map((one) => one.dataset.panel)")
        assert visible == [view] * (4 if view == "truth" else 3)


def test_outlines_instead_of_fills(path, visit):
    page = visit(path)
    page.locator(".drawn input[value=outline]").check()
    truth = drawn(page, EVIL, "truth")
    assert tuple(truth[0, 2]) == (*COLORS[1], 255), "beside another class"
    assert tuple(truth[0, 3]) == CLEAR and tuple(truth[3, 3]) == CLEAR, "within a class"
    assert page.locator(".bar .opacity input").is_disabled()
    opacity = card_of(page, EVIL).locator(".panel.truth canvas").evaluate("one => getComputedStyle(one).opacity")
    assert opacity == "1"
    page.locator(".drawn input[value=fill]").check()
    assert tuple(drawn(page, EVIL, "truth")[0, 3]) == (*COLORS[1], 255) and page.locator(".card canvas").count() == 0


def test_opacity_slider_changes_what_is_seen(path, visit):
    page = visit(path)
    for percent in (20, 80):
        page.locator(".bar .opacity input").fill(str(percent))
        pixel = shown_pixel(page, card_of(page, "beta").locator(".panel.prediction svg"))  # class 1 throughout
        expected = np.array((200, 200, 200)) * (1 - percent / 100) + np.array(COLORS[1]) * percent / 100
        assert np.abs(pixel - expected).max() <= 4, "JPEG and rounding take some levels"


def test_class_checkbox_hides_its_overlay(path, visit):
    page = visit(path)
    assert drawn(page, EVIL, "prediction")[0, 1, 3] == 255
    page.get_by_role("checkbox", name=NAMES[1]).uncheck()
    hidden = drawn(page, EVIL, "prediction")
    assert hidden[0, 1, 3] == 0 and hidden[3, 0, 3] > 0
    layer = card_of(page, EVIL).locator(".panel.prediction .layer")
    assert layer.evaluate("one => getComputedStyle(one).visibility") == "hidden"
    page.get_by_role("button", name="all / none").click()
    assert drawn(page, EVIL, "prediction")[0, 1, 3] > 0


def test_a_place_to_look_at_is_marked(tmp_path, visit):
    marked = Gallery([Picture("a", {}, IMAGE, TRUTH, PREDICTION, mark=(1, 2, 3, 4))], NAMES, COLORS, narrow=True)
    page = visit(write(tmp_path / "page.html", sections=[Section("Marked", gallery=marked)]))
    panel = page.locator(".card .panel.truth svg").bounding_box()
    mark = page.locator(".card .panel.truth .mark").bounding_box()
    assert (mark["x"] - panel["x"]) / panel["width"] == pytest.approx(0.25, abs=0.03)
    assert mark["height"] / panel["height"] == pytest.approx(0.5, abs=0.06)
    assert not page.locator(".find").is_visible() and page.locator(".legend.names").is_visible()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1400", "390"])
def test_explanations_fold_away(path, visit, viewport):
    page = visit(path, viewport=viewport)
    explained = page.get_by_text("Explained with <b>tags</b>.")
    assert not explained.is_visible()
    page.locator(".help summary").click()
    assert explained.is_visible()
    title, box = page.locator("h2").first.bounding_box(), explained.bounding_box()
    assert box["x"] == pytest.approx(title["x"], abs=1) and box["y"] > title["y"] + title["height"]


def test_a_score_with_a_long_name_stays_in_one_piece(tmp_path, visit):
    scored = Gallery([Picture("a", {"probability of the truth": 0.08}, IMAGE)], NAMES, COLORS, panels=("image",))
    page = visit(write(tmp_path / "page.html", sections=[Section("Pictures", gallery=scored)]), viewport=WIDE)
    value = page.locator(".card .score b").first
    assert value.inner_text() == "0.08" and value.bounding_box()["height"] < 30


@pytest.mark.parametrize("kind", ["table", "svg"])
def test_a_shade_says_where_more_is_hidden(path, visit, kind):
    """On a phone: at the right of what is wider, at the left when scrolled to its end; none where all is shown."""
    page = visit(path, viewport=PHONE)

    def shaded(box) -> list[bool]:
        """Whether the lowest line of its left and of its right edge is darker than the paper."""
        shown = np.array(Image.open(io.BytesIO(box.screenshot())).convert("L")).astype(int)
        return [bool(shown[:, edge].min() < 235) for edge in (1, -2)]

    wide = page.locator(f".scroll:has(> {kind})").last
    wide.locator("td, th, text").evaluate_all("all => all.forEach(one => one.style.visibility = 'hidden')")
    wide.evaluate("one => one.querySelectorAll('*').forEach(inner => inner.style.border = 'none')")
    assert shaded(wide) == [False, True]
    wide.evaluate("one => one.scrollLeft = 10000")
    assert shaded(wide) == [True, False]
    wide.evaluate("one => { one.firstElementChild.style = 'width: 9rem; border: none'; }")
    wide.evaluate("one => one.querySelectorAll('td ~ td, th ~ th').forEach(inner => inner.remove())")
    assert shaded(wide) == [False, False]


# Print

needs_poppler = pytest.mark.skipif(not shutil.which("pdftoppm"), reason="needs pdftoppm, of poppler-utils")


def printed(browser, path: Path, folder: Path, **settings) -> list[np.ndarray]:
    """The pages of the PDF of an untouched page, uint8 (H, W, 3) at 40 dots an inch."""
    page = browser.new_page(**settings)
    page.goto(path.as_uri())
    page.pdf(path=folder / "page.pdf", format="A4", prefer_css_page_size=True)
    page.close()
    subprocess.run(["pdftoppm", "-r", "40", "-png", folder / "page.pdf", folder / "leaf"], check=True)
    return [np.array(Image.open(leaf).convert("RGB")) for leaf in sorted(folder.glob("leaf*.png"))]


def hues(count: int) -> list[tuple[int, int, int]]:
    """Strong colours that a JPEG keeps apart."""
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(i / count, 1, 0.9)) for i in range(count)]


@needs_poppler
@pytest.mark.parametrize("settings", [{}, {"color_scheme": "dark"}, {"java_script_enabled": False}], ids=str)
def test_every_picture_is_printed(tmp_path, browser, settings):
    """24 pictures, each of a colour of its own: all are found on paper, and so are their errors."""
    colors = hues(24)
    flat = np.ones((24, 32), np.uint8)
    shown = [
        Picture(f"p{i}", {}, np.full((24, 32, 3), color, np.uint8), flat, 0 * flat) for i, color in enumerate(colors)
    ]
    gallery = Gallery(shown, ("ground", "thing"), ((0, 0, 0), (0, 0, 0)))
    path = write(tmp_path / "page.html", sections=[Section("Pictures", gallery=gallery)])
    leaves = [leaf.reshape(-1, 3).astype(np.int16) for leaf in printed(browser, path, tmp_path, **settings)]
    leaves = np.concatenate(leaves)
    areas = [(np.abs(leaves - np.int16(color)).max(1) <= 12).sum() for color in (*colors, WRONG_CLASS[:3])]
    area = np.median(areas[:-1])  # of an image and the masks over it, which are clear
    assert min(areas[:-1]) > 0.9 * area > 3 * 1000, areas
    assert areas[-1] > 24 * 0.3 * area, "all of each is wrong"


@needs_poppler
def test_no_table_is_cut_in_print(tmp_path, browser):
    """A table of 21 columns: its last column stands on the paper, and explanations do too."""
    page = write(tmp_path / "page.html")
    printed(browser, page, tmp_path)
    words = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True
    )
    assert "Explained with <b>tags</b>." in words.stdout
    box = subprocess.run(["pdftotext", "-bbox", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True)
    width = float(re.search(r'<page width="([\d.]+)"', box.stdout)[1])
    ends = [float(end) for end in re.findall(r'xMax="([\d.]+)"[^>]*>19<', box.stdout)]
    assert len(ends) >= 2 and max(ends) < width, "the head's 19 and the row's"


# The gallery's controls


def test_sorting_puts_unscored_pictures_last(path, visit):
    page = visit(path)
    assert stems(page) == ["beta", EVIL, "alpha", "empty"]
    page.get_by_role("combobox", name="Order").select_option("best")
    assert stems(page) == ["alpha", EVIL, "beta", "empty"]
    page.get_by_role("combobox", name="Sort by").select_option(NAMES[1])
    assert stems(page) == [EVIL, "beta", "alpha", "empty"]
    page.get_by_role("combobox", name="Sort by").select_option("order as given")
    assert stems(page) == ["alpha", EVIL, "beta", "empty"]


def test_filters_by_class_and_name(path, visit):
    page = visit(path)
    count = page.get_by_role("status")
    assert count.inner_text() == "4 of 4 images"
    page.get_by_role("combobox", name="Holding").select_option(NAMES[1])
    assert stems(page) == ["beta", EVIL] and count.inner_text() == "2 of 4 images"
    page.get_by_label("Name").fill("ETA")
    assert stems(page) == ["beta"] and count.inner_text() == "1 of 4 images"
    page.get_by_role("combobox", name="Holding").select_option(NAMES[2])
    assert stems(page) == [] and page.get_by_text("No picture is left").is_visible()


def test_every_control_is_reached_by_tab(path, visit):
    page = visit(path)
    reached, last = set(), page.locator(".card .panel").last
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
        if last.evaluate("button => button === document.activeElement"):
            break
    radios = "[type=radio]:not(:checked)"  # a group of radio buttons is one stop; arrows choose within
    wanted = f"#theme, nav a, .help summary, .bar :is(input, select, button):not({radios}), .card .panel, .number sup a"
    missed = page.evaluate(
        """([wanted, reached]) => { const all = [...document.querySelectorAll('*')];
        return all.filter((one, i) => one.matches(wanted) && !reached.includes(i)).map((one) => one.outerHTML) }""",
        [wanted, sorted(reached)],
    )
    assert missed == []


def test_large_view_by_keyboard(path, visit):
    page = visit(path)
    page.locator(".card .panel.prediction").first.focus()
    page.keyboard.press("Enter")
    name, sheet = page.locator("dialog h3"), page.locator("dialog .sheet")
    assert name.inner_text().startswith("beta") and page.locator("dialog").is_visible()
    page.keyboard.press("ArrowRight")
    assert name.inner_text().startswith(EVIL) and page.get_by_text("2 of 4", exact=True).is_visible()
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert name.inner_text().startswith(EVIL)
    width = sheet.bounding_box()["width"]
    page.keyboard.press("+")
    before = sheet.bounding_box()
    assert before["width"] == pytest.approx(1.5 * width)
    page.keyboard.press("ArrowRight")
    assert name.inner_text().startswith(EVIL), "zoomed, arrows move the picture"
    assert sheet.bounding_box()["x"] == pytest.approx(before["x"] - 60)
    page.keyboard.press("0")
    assert sheet.bounding_box()["width"] == pytest.approx(width)
    page.keyboard.press("4")
    assert page.locator("dialog").get_by_role("radio", name="Error").is_checked()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    page.locator(".card", has_text=EVIL).locator(".panel.error:focus").wait_for()  # the picture that was looked at last


def test_keys_legend_is_toggled(path, visit):
    page = visit(path)
    page.locator(".card .panel").first.click()
    legend = page.locator("dialog dl")
    assert legend.is_visible()
    page.keyboard.press("?")
    assert not legend.is_visible()
    page.get_by_role("button", name="Keys").click()
    assert legend.is_visible()


def test_focus_stays_in_the_large_view(path, visit):
    page = visit(path)
    page.locator(".card .panel").first.click()
    for _ in range(25):
        page.keyboard.press("Tab")
        outside = "document.activeElement !== document.body && !document.activeElement.closest('dialog')"
        assert not page.evaluate(outside)


def test_wheel_zooms_about_the_pointer_and_dragging_moves(path, visit):
    page = visit(path)
    card_of(page, EVIL).locator(".panel.truth").click()
    sheet, stage = page.locator("dialog .sheet"), page.locator("dialog .stage").bounding_box()
    x, y = stage["x"] + stage["width"] / 2 + 50, stage["y"] + stage["height"] / 2 + 30

    def share():  # where the pointer is on the picture
        box = sheet.bounding_box()
        return (x - box["x"]) / box["width"], (y - box["y"]) / box["height"]

    page.mouse.move(x, y)
    before = share()
    for _ in range(4):
        page.mouse.wheel(0, -100)
    page.locator(".factor", has_text="495%").wait_for()  # exp(4 · 100 / 250)
    assert share() == pytest.approx(before, abs=0.01)
    left = sheet.bounding_box()["x"]
    page.mouse.down()
    page.mouse.move(x + 40, y)
    page.mouse.up()
    assert sheet.bounding_box()["x"] == pytest.approx(left + 40)


def test_the_pixel_under_the_pointer_is_read_out(path, visit):
    page = visit(path)
    card_of(page, EVIL).locator(".panel.truth").click()
    box = page.locator("dialog .sheet").bounding_box()
    canvas = page.locator("dialog canvas")
    canvas.evaluate("async canvas => { while (!canvas.width) await new Promise(requestAnimationFrame) }")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.9 * box["height"])
    under = page.locator(".under").inner_text()
    assert under.splitlines() == [f"truth: {NAMES[2]}", "prediction: ground"]
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    assert page.locator(".under").inner_text().splitlines()[0] == "truth: void"


def test_pictures_say_what_they_show(path, visit):
    page = visit(path)
    assert page.get_by_role("img", name="beta: truth").count() == 1
    card_of(page, "empty").locator(".panel.truth").click()
    canvas = page.locator("dialog canvas")
    page.keyboard.press("4")
    assert canvas.get_attribute("aria-label") == "empty: mIoU –, no error"
    page.keyboard.press("2")
    assert canvas.get_attribute("aria-label") == "empty: mIoU –, truth"
    page.keyboard.press("Escape")
    assert page.get_by_role("img", name="a <plot>").count() == 1


def background(page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_theme_follows_the_system_until_the_button_decides(path, visit):
    page = visit(path)
    light = background(page)
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert sum(map(int, re.findall(r"\d+", light))) > 600 > 150 > sum(map(int, re.findall(r"\d+", dark)))
    page.get_by_role("button", name="Light colours").click()
    assert background(page) == light
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Dark colours").click()
    assert background(page) == dark


def test_phone_does_not_scroll_sideways(path, visit):
    page = visit(path, viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    wide = page.locator(".scroll").nth(1)
    assert wide.evaluate("box => box.scrollWidth > box.clientWidth && box.tabIndex === 0")
    page.locator(".card .panel").first.tap()
    buttons = page.locator("dialog button").evaluate_all("all => all.map((one) => one.getBoundingClientRect().right)")
    assert max(buttons) <= 375


def test_hostile_names_stay_text(path, visit):
    page = visit(path)
    card_of(page, EVIL).locator(".panel.truth").click()
    assert page.locator("img[src='x'], i:not(.track i), b:not(.score b, .track b, .strip b)").count() == 0
    assert page.locator("script:not([type])").count() == 1
    assert page.locator("dialog h3").inner_text().startswith(EVIL)
    assert page.locator("dialog .note").inner_text() == "<b>a note</b>"
    assert page.title() == "A <title>" and "</title><script>" in page.locator(".verdict").inner_text()
    assert NAMES[2] in page.locator(".shown").inner_text()


def test_no_other_script_runs(path, visit):
    """The content security policy knows the page's own script alone."""
    page = visit(path)
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", path.read_text("utf-8"))


def test_without_javascript_all_is_read(path, visit):
    page = visit(path, java_script_enabled=False)
    assert page.get_by_role("cell", name="12,345").is_visible() and page.locator("figure svg").is_visible()
    assert not page.locator(".bar").is_visible() and not page.locator("#theme").is_visible()
    assert page.locator(".card .panel:visible").count() == 13
    page.locator(".help summary").click()
    assert page.get_by_text("Explained with").is_visible()


def test_tables_show_numbers_intervals_and_notes(path, visit):
    page = visit(path)
    rows = [row.split("\t") for row in page.locator("table").first.inner_text().splitlines()]
    words = " ".join(" ".join(row) for row in rows)
    for text in ("0.71 0.66–0.75", "12,345", "0.500a", "0.400a", "0.123", "0.995 0.991–0.998", "−0.03 −0.05 to −0.01"):
        assert text in words
    assert "0.000" in words and "-0.000" not in words and words.count("–") == 4
    assert page.locator(".notes").first.inner_text() == "a held by 4 images"
    assert page.locator("caption").first.inner_text() == "Scores & <b>more</b>"
    tracks = page.locator("table").first.locator(".track")
    assert tracks.count() == 2, "a difference below 0 has no place on a track from 0 to 1"
    share = tracks.first.evaluate("box => box.firstChild.offsetWidth / box.offsetWidth")
    assert share == pytest.approx(0.088, abs=0.02)
    swatch = page.locator("tbody th .swatch")
    assert swatch.count() == 1 and swatch.evaluate("box => getComputedStyle(box).backgroundColor") == "rgb(1, 2, 3)"
    assert page.locator("th:not([scope])").count() == 0


def test_headings_and_landmarks_are_in_order(path, visit):
    page = visit(path)
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((one) => Number(one.tagName[1]))")
    assert levels == [1, 2, 2, 3]
    for role in ("banner", "navigation", "main"):
        assert page.get_by_role(role).count() == 1


def test_reduced_motion_is_respected(path, visit):
    page = visit(path)
    for motion, behavior in (("reduce", "auto"), ("no-preference", "smooth")):
        page.emulate_media(reduced_motion=motion)
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behavior


def test_two_galleries_do_not_disturb_each_other(tmp_path, visit):
    page = visit(write(tmp_path / "two.html", sections=sections() + sections(sort="")))
    page.locator(".bar .views input[value=truth]").first.check()
    checked = page.locator(".bar .views input:checked").evaluate_all("all => all.map((one) => one.value)")
    assert checked == ["truth", "all"]
    page.get_by_label("Name").last.fill("alpha")
    assert page.get_by_role("status").all_inner_texts() == ["4 of 4 images", "1 of 4 images"]


def test_no_pictures_and_no_sections(tmp_path, visit):
    page = visit(write(tmp_path / "none.html", sections=sections(lambda: [])))
    assert page.get_by_role("status").inner_text() == "0 of 0 images"
    assert (
        visit(write(tmp_path / "bare.html", sections=[], facts=[], opening=Opening())).locator("h1").inner_text()
        == "A <title>"
    )


def test_a_loud_verdict_is_marked(path, tmp_path, visit):
    page, border = visit(path), "one => parseFloat(getComputedStyle(one).borderLeftWidth)"
    assert page.locator(".said").evaluate(border) == 0
    page.goto(write(tmp_path / "loud.html", loud=True).as_uri())
    assert page.locator(".said").evaluate(border) > 0


# Without a browser


def indices_of(url: str) -> np.ndarray:
    """The indices of a palette PNG, read by another reader than the page's."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_masks_travel_exactly(path):
    text = path.read_text("utf-8")
    card = next(card for card in re.findall(r'<li class="card">.*?</li>', text, re.S) if "onerror" in card)
    about = json.loads(re.search(r'class="about">(.*?)</script>', card)[1])
    urls = re.findall(r'class="layer"[^>]* href="([^"]*)"', card)
    truth, prediction = TRUTH.copy(), PREDICTION
    truth[truth == VOID] = len(NAMES)
    np.testing.assert_array_equal(indices_of(urls[0]), truth)
    np.testing.assert_array_equal(indices_of(urls[1]), prediction)
    assert about["classes"] == [0, 1, 2] and (about["height"], about["width"]) == (4, 4)


def test_rows_of_a_mask_are_unfiltered():
    """What the page's script relies on: after inflating, a 0 and then the indices of each row."""
    mask = np.arange(60, dtype=np.uint8).reshape(6, 10)
    data = base64.b64decode(palette_png(mask, [(i, 0, 0, 255) for i in range(60)]).partition(",")[2])
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(data[start + 4 : start + 4 + length]), np.uint8).reshape(6, 11)
    assert not rows[:, 0].any()
    np.testing.assert_array_equal(rows[:, 1:], mask)


def test_colours_stand_out():
    """Green on green gives way; what stands out stays; black, which is not drawn, stays."""
    grass = np.full((8, 8, 3), (40, 110, 40), np.uint8)
    mask = np.repeat(np.arange(4, dtype=np.uint8), 16).reshape(8, 8)
    own = ((0, 0, 0), (30, 120, 30), (255, 255, 255), (128, 128, 128))
    ground = beneath([(grass, mask)], 5)
    assert np.isnan(ground[4]).all() and np.allclose(ground[1], lab(grass[0, 0]))
    shown = standing_out(own, ground)
    assert shown[0] == own[0] and shown[2] == own[2] and shown[1] != own[1]
    assert shown[3] != own[3], "grey is void's"
    tones = [lab(np.array(color)) for color in shown[1:]]
    assert min(distance(tone, ground[1]) for tone in tones) > 60
    assert min(distance(tones[i], tones[j]) for i in range(3) for j in range(i)) > 25
    many = tuple((i, 100, 40) for i in range(1, 60))
    assert len(standing_out(many, np.tile(ground[1], (59, 1)))) == 59


def test_pictures_are_taken_one_by_one(tmp_path):
    alive, most = weakref.WeakSet(), 0

    class Counted(np.ndarray):
        pass

    def stream():
        nonlocal most
        for index in range(30):
            image = np.zeros((8, 8, 3), np.uint8).view(Counted)
            alive.add(Holder(image))
            yield Picture(f"{index}", {}, image, None, None)
            most = max(most, sum(holder.image() is not None for holder in holders))

    holders = []

    class Holder:
        def __init__(self, image):
            self.image = weakref.ref(image)
            holders.append(self)

    write(tmp_path / "stream.html", sections=sections(stream))
    assert most <= 3


def test_a_failure_leaves_the_old_page(tmp_path):
    def failing():
        yield from pictures()
        raise RuntimeError("no more")

    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="no more"):
        write(path, sections=sections(failing))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_wrong_pictures_are_refused(tmp_path):
    flat = np.zeros((4, 4), np.uint8)
    for wrong, words in (
        (Picture("a", {}, None, flat, flat[:3]), r"a: arrays of \[\(3, 4\), \(4, 4\)\]; one height and width wanted"),
        (Picture("b", {}, None, flat + 3, None), "b: holds class 3, 0…2 wanted"),
    ):
        with pytest.raises(ValueError, match=words):
            write(tmp_path / "page.html", sections=sections(lambda picture=wrong: [picture]))


def test_small_averages_images_and_keeps_classes():
    mask = np.zeros((400, 1000), np.uint8)
    mask[:, 500:] = 7
    image = np.repeat((np.indices((400, 1000)).sum(0) % 2 * 200).astype(np.uint8)[..., None], 3, 2)  # a chessboard
    shown, truth, prediction = small(image, mask, None, longest=100)
    assert shown.shape == (40, 100, 3) and truth.shape == (40, 100) and prediction is None
    assert np.abs(shown.astype(int) - 100).max() <= 1
    assert set(np.unique(truth)) == {0, 7} and (truth[:, :50] == 0).all() and (truth[:, 50:] == 7).all()
    assert small(image, mask, None, longest=1000)[0] is image
    assert small(np.zeros((1, 2000, 3), np.uint8), None, None)[0].shape == (1, 480, 3)


# Many pictures

FRAME = (360, 480)


def frames(count: int):
    """As detailed as photographs of a street: smooth ground, texture, 11 classes in blobs."""
    rng = np.random.default_rng(0)
    for index in range(count):
        coarse = rng.integers(0, 11, (12, 16)).astype(np.uint8)
        truth = coarse.repeat(30, 0).repeat(30, 1)
        prediction = np.roll(truth, rng.integers(-9, 9, 2), (0, 1))
        smooth = rng.integers(0, 256, (45, 60, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        image = (0.85 * smooth + rng.integers(0, 38, (*FRAME, 3))).astype(np.uint8)
        yield Picture(f"frame {index:03d}", {"mIoU": rng.random()}, *small(image, truth, prediction))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    names = tuple(f"class {i}" for i in range(11))
    colors = tuple((20 * i, 255 - 20 * i, 99) for i in range(11))
    gallery = Gallery(frames(300), names, colors, "mIoU")
    return write(tmp_path_factory.mktemp("many") / "page.html", sections=[Section("Pictures", gallery=gallery)])


def test_the_report_of_a_run_with_hostile_names(tmp_path, visit):
    """From files on disk to what a reader sees: evaluate.py's own report."""
    from test_evaluate import make_run

    from engine.config import EvaluateConfig
    from evaluate import evaluate

    data = make_folder(tmp_path / "data", 20, size=40)
    for folder in ("images", "masks"):
        (data / folder / "item000.png").rename(data / folder / EVIL)
    write_classes(data, ["ground", NAMES[2]])
    run = make_run(data, tmp_path, "r", shift=-1.2)
    evaluate(EvaluateConfig(runs=(run,), split="all"))
    page = visit(run / "evaluation/all/report.html")
    assert page.locator(".verdict").inner_text().startswith("NOT BETTER than the colour-only baseline")
    titles = page.locator("h2").all_inner_texts()
    assert titles[:3] == ["Compared with the baselines", "Classes", "Confusion"] and titles[-1] == "Images"
    images = page.locator("section").last
    assert images.locator(".card").count() == 20
    card = images.locator(".card").filter(has_text=EVIL.removesuffix(".png"))
    card.locator(".panel").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog[open]").inner_text().count("onerror") >= 1
    page.keyboard.press("Escape")
    assert page.get_by_text("the test part was opened for the first time").count() == 1


def test_the_report_of_a_classifier_with_hostile_names(tmp_path, visit):
    """Images without masks: what it says of each, sorted by how likely it thinks the truth."""
    from engine.config import ClassifierConfig, EvaluateConfig
    from evaluate import evaluate
    from train_classifier import train

    for label, name in enumerate(("ant", "<b>bee")):
        for index in range(10):
            image = shapes(10 * index + label)[0]
            image[..., label] = np.minimum(image[..., label] + 90, 255)
            save(tmp_path / "data" / name / (EVIL if index == 3 else f"{index}.png"), image)
    tiny = {"steps": 2, "steps_per_epoch": 1, "batch_size": 4, "backbone": "small_cnn", "strategy": "scratch"}
    train(ClassifierConfig(**tiny, data=tmp_path / "data", runs_dir=tmp_path, name="r"))
    evaluate(EvaluateConfig(runs=(tmp_path / "r",), split="all"))
    page = visit(tmp_path / "r/evaluation/all/report.html")
    titles = page.locator("h2").all_inner_texts()
    assert titles[:3] == ["Compared with the baselines", "Classes", "Confusion"] and titles[-1] == "Images"
    assert len(stems(page)) == 20 and f"<b>bee/{EVIL.removesuffix('.png')}" in stems(page)
    page.get_by_role("combobox", name="Holding").select_option("ant")
    said = page.locator(".card").all_inner_texts()
    assert 10 <= len(said) <= 20 and all("ant" in text for text in said)  # true, or taken for one
    page.locator(".card .panel").first.focus()
    page.keyboard.press("Enter")
    assert "truth: " in page.locator("dialog[open]").inner_text()
    page.keyboard.press("Escape")


@pytest.mark.slow
def test_300_pictures_stay_small_and_responsive(many, visit):
    assert many.stat().st_size < 30e6
    page = visit(many)
    assert page.locator(".card").count() == 300
    page.evaluate(
        """async () => {
            window.longest = 0;
            let last = performance.now();
            const height = document.documentElement.scrollHeight;
            for (let top = 0; top < height; top += 400) {
                scrollTo({ top, behavior: "instant" });
                await new Promise(requestAnimationFrame);
                const now = performance.now();
                window.longest = Math.max(window.longest, now - last);
                last = now;
            }
        }"""
    )
    assert page.evaluate("window.longest") < 1000, "milliseconds of the longest frame"
    page.locator(".drawn input[value=outline]").check()
    page.wait_for_timeout(500)
    assert 0 < page.locator(".card canvas").count() < 60, "what is far away is not drawn, or dropped"
