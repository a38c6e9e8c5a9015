"""The page in a real browser: what a reader sees, clicks and types, and what hostile names must not do."""

import base64
import io
import json
import os
import re
import shutil
import weakref
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder, save, shapes, write_classes
from PIL import Image

from engine.reporting.page import Cell, Gallery, Picture, Plot, Section, Table, small, write_page

VOID = 255
EVIL = "<img src=x onerror=alert(1)>.png"
NAMES = ("ground", '"x" & <i>y</i>', "</script><script>alert(2)</script>")
COLORS = ((0, 0, 0), (230, 159, 0), (86, 180, 233))
GREY, WRONG, CLEAR = (128, 128, 128, 255), (213, 94, 0, 255), (0, 0, 0, 0)

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, VOID, VOID], [2, 2, VOID, VOID]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0], [2, 0, 1, 1]], np.uint8)
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
        Section("First & <b>foremost</b>", ["Words with <b>tags</b>."], [numbers, wide], [plot]),
        Section("Pictures", gallery=Gallery(shown(), NAMES, COLORS, sort)),
    ]


def write(path: Path, **changes) -> Path:
    asked = {"title": "A <title>", "verdict": "Good </title><script>alert(3)</script>", "loud": False}
    write_page(path, **asked | {"facts": ["fact & <b>"], "sections": sections()} | changes)
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
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def drawn(page, stem: str) -> np.ndarray:
    """The pixels of a card's canvas, (H, W, 4), once it is drawn and the next frame is over."""
    card = page.locator(".card").filter(has_text=stem)
    flat = card.locator("canvas").evaluate(
        """async (canvas) => {
            const frame = () => new Promise(requestAnimationFrame);
            while (!canvas.width || !canvas.height) await frame();
            await frame(); await frame();
            const copy = new OffscreenCanvas(4, 4).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            return [...copy.getImageData(0, 0, 4, 4).data];
        }"""
    )
    return np.array(flat).reshape(4, 4, 4)


def test_error_view_paints_wrong_pixels_and_void(path, visit):
    page = visit(path)
    choose(page, "error")
    expected = np.array([[CLEAR] * 4] * 4)
    expected[2:, 2:] = GREY
    expected[0, 1] = expected[3, 1] = WRONG
    np.testing.assert_array_equal(drawn(page, EVIL), expected)
    assert "grayscale" in page.locator(".card img").first.evaluate("image => getComputedStyle(image).filter")


def test_error_view_keeps_to_the_shown_classes(path, visit):
    page = visit(path)
    choose(page, "error")
    page.get_by_role("checkbox", name=NAMES[1]).uncheck()
    page.get_by_role("checkbox", name="ground").uncheck()
    shown = drawn(page, EVIL)
    assert tuple(shown[0, 1]) == CLEAR, "ground taken for x, neither of which is shown"
    assert tuple(shown[3, 1]) == WRONG, "class 2 taken for ground"
    page.get_by_role("checkbox", name=NAMES[1]).check()
    page.get_by_role("checkbox", name=NAMES[2]).uncheck()
    shown = drawn(page, EVIL)
    assert tuple(shown[0, 1]) == WRONG and tuple(shown[3, 1]) == CLEAR


def test_a_gallery_may_open_with_its_errors(tmp_path, visit):
    page = visit(
        write(
            tmp_path / "page.html",
            sections=[Section("Errors", gallery=Gallery(pictures(), NAMES, COLORS, view="error"))],
        )
    )
    assert tuple(drawn(page, EVIL)[0, 1]) == WRONG


def test_truth_and_prediction_in_the_classes_colors(path, visit):
    page = visit(path)
    orange, blue = (*COLORS[1], 255), (*COLORS[2], 255)
    prediction = drawn(page, EVIL)
    assert tuple(prediction[0, 0]) == CLEAR, "black stays clear over an image"
    assert tuple(prediction[0, 1]) == orange and tuple(prediction[3, 0]) == blue and tuple(prediction[3, 3]) == orange
    choose(page, "truth")
    truth = drawn(page, EVIL)
    assert tuple(truth[0, 1]) == CLEAR and tuple(truth[0, 2]) == orange and tuple(truth[3, 3]) == GREY
    assert tuple(drawn(page, "empty")[0, 0]) == (0, 0, 0, 255), "over a flat ground black is drawn"


def test_opacity_slider_changes_what_is_seen(path, visit):
    page = visit(path)
    drawn(page, "beta")  # class 1 throughout
    for percent in (20, 80):
        page.locator(".bar .opacity input").fill(str(percent))
        taken = page.locator(".card").filter(has_text="beta").locator("canvas").screenshot()
        pixel = np.array(Image.open(io.BytesIO(taken)).convert("RGB"))[100, 100]
        expected = np.array((200, 200, 200)) * (1 - percent / 100) + np.array(COLORS[1]) * percent / 100
        assert np.abs(pixel - expected).max() <= 4, "JPEG and rounding take some levels"


def test_class_checkbox_hides_its_overlay(path, visit):
    page = visit(path)
    assert drawn(page, EVIL)[0, 1, 3] == 255
    page.get_by_role("checkbox", name=NAMES[1]).uncheck()
    hidden = drawn(page, EVIL)
    assert hidden[0, 1, 3] == 0 and hidden[3, 0, 3] > 0
    page.get_by_role("button", name="all / none").click()
    assert drawn(page, EVIL)[0, 1, 3] > 0


def test_image_view_shows_the_image_alone(path, visit):
    page = visit(path)
    choose(page, "image")
    assert not drawn(page, EVIL).any()
    loaded = page.locator(".card").filter(has_text=EVIL).locator("img")
    assert loaded.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == [4, 4]


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
    reached, last = set(), page.locator(".open").last
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
        if last.evaluate("button => button === document.activeElement"):
            break
    radios = ".views input:not(:checked)"  # a group of radio buttons is one stop; arrows choose within
    wanted = f"#theme, nav a, .bar :is(input, select, button):not({radios}), .open, .number sup a"
    missed = page.evaluate(
        """([wanted, reached]) => { const all = [...document.querySelectorAll('*')];
        return all.filter((one, i) => one.matches(wanted) && !reached.includes(i)).map((one) => one.outerHTML) }""",
        [wanted, sorted(reached)],
    )
    assert missed == []


def test_large_view_by_keyboard(path, visit):
    page = visit(path)
    page.locator(".open").first.focus()
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
    page.locator(".card", has_text=EVIL).locator(".open:focus").wait_for()  # the picture that was looked at last


def test_keys_legend_is_toggled(path, visit):
    page = visit(path)
    page.locator(".open").first.click()
    legend = page.locator("dialog dl")
    assert legend.is_visible()
    page.keyboard.press("?")
    assert not legend.is_visible()
    page.get_by_role("button", name="Keys").click()
    assert legend.is_visible()


def test_focus_stays_in_the_large_view(path, visit):
    page = visit(path)
    page.locator(".open").first.click()
    for _ in range(25):
        page.keyboard.press("Tab")
        outside = "document.activeElement !== document.body && !document.activeElement.closest('dialog')"
        assert not page.evaluate(outside)


def test_wheel_zooms_about_the_pointer_and_dragging_moves(path, visit):
    page = visit(path)
    page.locator(".open").nth(1).click()
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
    page.locator(".open").nth(1).click()
    box = page.locator("dialog .sheet").bounding_box()
    canvas = page.locator("dialog canvas")
    canvas.evaluate("async canvas => { while (!canvas.width) await new Promise(requestAnimationFrame) }")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.9 * box["height"])
    under = page.locator(".under").inner_text()
    assert under.splitlines() == [f"truth: {NAMES[2]}", "prediction: ground"]
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    assert page.locator(".under").inner_text().splitlines()[0] == "truth: void"


def test_canvases_say_what_they_show(path, visit):
    page = visit(path)
    choose(page, "truth")
    labels = page.locator(".card canvas").evaluate_all("all => all.map((one) => one.ariaLabel)")
    assert labels[0] == "beta: mIoU 0.20, truth" and labels[3] == "empty: mIoU –, truth"
    choose(page, "error")
    assert page.locator(".card canvas").last.get_attribute("aria-label") == "empty: mIoU –, no error"
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
    page.locator(".open").first.tap()
    buttons = page.locator("dialog button").evaluate_all("all => all.map((one) => one.getBoundingClientRect().right)")
    assert max(buttons) <= 375


def test_hostile_names_stay_text(path, visit):
    page = visit(path)
    page.locator(".open").nth(1).click()
    assert page.locator("img[src='x'], i:not(.track i), b:not(.score b, .track b)").count() == 0
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


def test_without_javascript_the_rest_reads(path, visit):
    page = visit(path, java_script_enabled=False)
    assert page.get_by_text("The pictures need JavaScript").is_visible()
    assert page.get_by_role("cell", name="12,345").is_visible() and page.locator("figure svg").is_visible()
    assert not page.locator(".bar").is_visible() and not page.locator("#theme").is_visible()


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
    assert checked == ["truth", "prediction"]
    page.get_by_label("Name").last.fill("alpha")
    assert page.get_by_role("status").all_inner_texts() == ["4 of 4 images", "1 of 4 images"]


def test_no_pictures_and_no_sections(tmp_path, visit):
    page = visit(write(tmp_path / "none.html", sections=sections(lambda: [])))
    assert page.get_by_role("status").inner_text() == "0 of 0 images"
    assert visit(write(tmp_path / "bare.html", sections=[], facts=[])).locator("h1").inner_text() == "A <title>"


def test_a_loud_verdict_is_marked(path, tmp_path, visit):
    page, border = visit(path), "one => parseFloat(getComputedStyle(one).borderLeftWidth)"
    assert page.locator(".verdict").evaluate(border) == 0
    page.goto(write(tmp_path / "loud.html", loud=True).as_uri())
    assert page.locator(".verdict").evaluate(border) > 0


# Without a browser


def packed(path: Path, kind: str) -> list[dict]:
    found = re.findall(rf'<script type="application/json" class="{kind}">(.*?)</script>', path.read_text("utf-8"))
    return [json.loads(text) for text in found]


def test_masks_travel_exactly(path):
    known, pixels = packed(path, "about")[1], packed(path, "pixels")[1]
    indices = np.frombuffer(zlib.decompress(base64.b64decode(pixels["masks"])), np.uint8).reshape(2, 4, 4)
    np.testing.assert_array_equal(indices, [TRUTH, PREDICTION])
    assert known["classes"] == [0, 1, 2] and (known["height"], known["width"]) == (4, 4)


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
    assert titles[:3] == ["Beside the baselines", "Classes", "Confusion"] and titles[-1] == "Images"
    images = page.locator("section").last
    assert images.locator(".card").count() == 20
    card = images.locator(".card").filter(has_text=EVIL.removesuffix(".png"))
    card.locator(".open").focus()
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
    assert titles[:3] == ["Beside the baselines", "Classes", "Confusion"] and titles[-1] == "Images"
    assert len(stems(page)) == 20 and f"<b>bee/{EVIL.removesuffix('.png')}" in stems(page)
    page.get_by_role("combobox", name="Holding").select_option("ant")
    said = page.locator(".card").all_inner_texts()
    assert 10 <= len(said) <= 20 and all("ant" in text for text in said)  # true, or taken for one
    page.locator(".card .open").first.focus()
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
    drawn = "all => all.filter((one) => one.width > 0).length"
    page.wait_for_timeout(500)
    assert 0 < page.locator(".card canvas").evaluate_all(drawn) < 60, "what is far away is dropped"
