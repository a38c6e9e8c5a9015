"""One self-contained HTML page: a verdict with its numbers and pictures, tables, plots, and galleries of masks.

It loads nothing, opens from a folder, and reads and prints without JavaScript, which adds sorting, filtering and
pictures as large as the window.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from data_pipeline.files import write_atomically
from engine.pictures import mistakes

from .gallery import (
    Gallery,
    Picture,
    check_picture,
    classes_in,
    jpeg,
    kinds_png,
    mask_png,
    who_is_right,
)

TEMPLATES = Path(__file__).parent / "templates"
ABSENT = "–"
NARROW = 0.02  # an interval below this width is told with three decimals


@dataclass(frozen=True)
class Cell:
    """A number with its interval, or a note that says why it has none."""

    value: float | None
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def digits(self) -> int:
        return 2 if self.interval and self.interval[1] - self.interval[0] >= NARROW else 3

    @property
    def range(self) -> str:
        """The interval in words; a dash would read as a minus sign beside one."""
        low, high = (decimal(end, self.digits) for end in self.interval)
        return f"{low} to {high}" if self.interval[0] < 0 else f"{low}–{high}"

    @property
    def on_track(self) -> bool:
        """Return whether the interval can be drawn on a track from 0 to 1."""
        return self.value is not None and self.interval is not None and 0 <= self.interval[0] <= self.interval[1] <= 1


@dataclass(frozen=True)
class Table:
    """Rows of a name and numbers: str, int, float (three decimals), None (a dash) or Cell."""

    head: list[str]
    rows: list[list]
    caption: str = ""
    colors: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # first column's text → swatch before it

    @property
    def notes(self) -> list[str]:
        """The cells' notes, each once: the table's footnotes."""
        cells = [cell for row in self.rows for cell in row if isinstance(cell, Cell) and cell.note]
        return list(dict.fromkeys(cell.note for cell in cells))


@dataclass(frozen=True)
class Plot:
    """An SVG of ``engine.reporting.plots``; ``alt`` says what it shows to those who cannot see it."""

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Number:
    """One of the numbers below the verdict: what it is, the number, and its interval in words."""

    label: str
    value: str
    range: str = ""


@dataclass(frozen=True)
class Opening:
    """The first screen below the verdict."""

    detail: str = ""  # what follows from the verdict, in a sentence
    numbers: list[Number] = field(default_factory=list)
    strip: Gallery | None = None  # a few pictures; what each stands for is its note


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in this order; ``help`` explains it, folded away behind a "?"."""

    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    gallery: Gallery | None = None
    help: list[str] = field(default_factory=list)
    half: bool = False  # narrow enough to stand beside another one


def write_page(
    path: Path,
    title: str,
    verdict: str,
    loud: bool,
    facts: list[str],
    sections: list[Section],
    opening: Opening = Opening(),
) -> None:
    """Write the page, picture by picture, so that memory stays flat.

    Args:
        path: of the file; replaced as a whole, or not at all.
        title: what was looked at.
        verdict: what came out, in a sentence.
        loud: whether the verdict is one to stop at.
        facts: what the numbers rest on: data, split, network; a few words each.
        sections: what is below.
        opening: what stands between verdict and facts.

    Raises:
        ValueError: for a picture whose arrays differ in height or width or hold a class without a name.
    """
    page = (
        environment()
        .get_template("page.html")
        .generate(
            title=title,
            verdict=verdict,
            loud=loud,
            facts=facts,
            sections=sections,
            opening=opening,
            style=Markup(read_template("page.css")),
            script=Markup(read_template("page.js")),
            script_hash=digest(read_template("page.js")),
        )
    )
    with write_atomically(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(page)


def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "letter": letter, "svg": Markup}
    made.globals |= {"about": about, "layers": layers, "told": told}
    made.tests["cell"] = lambda value: isinstance(value, Cell)
    made.tests["words"] = lambda value: isinstance(value, str)
    return made


def read_template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def digest(script: str) -> str:
    """Return the hash by which the page's content security policy knows the script: no other will run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def shown(value, digits: int = 3) -> str:
    """A table's entry as text."""
    if value is None or value != value:
        return ABSENT
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, Integral) else decimal(value, digits)


def decimal(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def letter(index: int) -> str:
    """Return the letter of a footnote: a … z, aa …"""
    return chr(ord("a") + index % 26) * (index // 26 + 1)


def about(picture: Picture, gallery: Gallery) -> dict:
    """Return what the page's script must know of a picture."""
    check_picture(picture, gallery)
    height, width = picture.size
    return {
        "stem": picture.stem,
        "note": picture.note,
        "scores": [[name, finite(value)] for name, value in picture.scores.items()],
        "classes": sorted(classes_in(picture) | set(picture.classes)),
        "height": height,
        "width": width,
    }


def finite(score: float | None) -> float | None:
    """JSON has no NaN."""
    return None if score is None or score != score else float(score)


def told(picture: Picture) -> list[tuple[str, str, float | None]]:
    """Return the first of a picture's scores, if it has any: its name, the number in words, its share of a bar."""
    scores = [(name, shown(value, 2), finite(value)) for name, value in picture.scores.items()]
    return [
        (name, words, value if value is not None and 0 <= value <= 1 else None) for name, words, value in scores[:1]
    ]


def layers(picture: Picture, gallery: Gallery) -> Iterator[tuple[str, str, str]]:
    """Yield each panel's kind, its title, and the data URL of what is drawn over the image there, or of the image."""
    has_image = picture.image is not None
    for panel in picture.panels:
        if panel == "image":
            url = jpeg(picture.image)
        elif panel != "error":
            url = mask_png(picture.masks[panel], gallery.colors, has_image)
        elif picture.other is None:
            url = kinds_png(mistakes(picture.truth, picture.prediction, gallery.background))
        else:
            url = kinds_png(who_is_right(picture.truth, picture.prediction, picture.other))
        yield panel, gallery.title(panel), url
