"""One self-contained HTML page: a verdict, tables, plots, and a gallery of masks to look into.

It asks nothing of the network, opens from a folder, and reads without JavaScript but for the gallery. Masks travel as
class indices (zlib, base64), so that what is drawn is exact; images as JPEG.
"""

import base64
import hashlib
import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from data_pipeline.encoding import VOID
from data_pipeline.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"
JPEG_QUALITY = 80
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
class Picture:
    """An image of a gallery, reduced by ``small``; what is None is left out."""

    stem: str
    scores: dict[str, float | None]  # the first is shown below the image; sorted by any
    image: np.ndarray | None  # uint8 (H, W, 3) RGB
    truth: np.ndarray | None  # uint8 (H, W), void 255
    prediction: np.ndarray | None  # uint8 (H, W)
    note: str = ""
    classes: tuple[int, ...] = ()  # that it is found by, beside those in its masks


@dataclass(frozen=True)
class Gallery:
    """Pictures, taken one by one as the page is written, and the classes in their masks."""

    pictures: Iterable[Picture]
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    sort: str = ""  # the score to sort by at first, worst first; "": the order as given
    view: str = "prediction"  # what is seen at first: image, truth, prediction, error


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in this order."""

    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    gallery: Gallery | None = None


def write_page(path: Path, title: str, verdict: str, loud: bool, facts: list[str], sections: list[Section]) -> None:
    """Write the page, picture by picture, so that memory stays flat.

    Args:
        path: of the file; replaced as a whole, or not at all.
        title: what was looked at.
        verdict: what came out, in a sentence.
        loud: whether the verdict is one to stop at.
        facts: what the numbers rest on: data, split, network; a few words each.
        sections: what is below.

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
            style=Markup(read_template("page.css")),
            script=Markup(read_template("page.js")),
            script_hash=digest(read_template("page.js")),
        )
    )
    with write_atomically(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(page)


def small(
    image: np.ndarray | None, truth: np.ndarray | None, prediction: np.ndarray | None, longest: int = 480
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Image uint8 (H, W, 3) and masks uint8 (H, W), reduced alike to at most ``longest`` pixels a side; None stays.

    The image is averaged, masks keep their classes (nearest). What is small enough comes back as it is.
    """

    def reduce(array, interpolation):
        if array is None or max(array.shape[:2]) <= longest:
            return array
        factor = longest / max(array.shape[:2])
        height, width = (max(1, round(side * factor)) for side in array.shape[:2])
        return cv2.resize(array, (width, height), interpolation=interpolation)

    masks = (reduce(mask, cv2.INTER_NEAREST_EXACT) for mask in (truth, prediction))
    return reduce(image, cv2.INTER_AREA), *masks


def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "letter": letter, "svg": Markup}
    made.globals |= {"about": about, "pixels": pixels}
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
    """Return what the page must know of a picture before it is drawn."""
    arrays = [array for array in (picture.image, picture.truth, picture.prediction) if array is not None]
    sizes = {array.shape[:2] for array in arrays}
    if len(sizes) > 1:
        raise ValueError(f"{picture.stem}: arrays of {sorted(sizes)}; one height and width wanted")
    held = set().union(*(np.unique(mask).tolist() for mask in masks(picture))) - {VOID}
    if held and max(held) >= len(gallery.names):
        raise ValueError(f"{picture.stem}: holds class {max(held)}, 0…{len(gallery.names) - 1} wanted")
    height, width = sizes.pop() if sizes else (3, 4)
    return {
        "stem": picture.stem,
        "note": picture.note,
        "scores": [[name, finite(value)] for name, value in picture.scores.items()],
        "classes": sorted(held | set(picture.classes)),
        "height": height,
        "width": width,
        "image": picture.image is not None,
        "truth": picture.truth is not None,
        "prediction": picture.prediction is not None,
    }


def finite(score: float | None) -> float | None:
    """JSON has no NaN."""
    return None if score is None or score != score else float(score)


def masks(picture: Picture) -> list[np.ndarray]:
    return [mask for mask in (picture.truth, picture.prediction) if mask is not None]


def pixels(picture: Picture) -> dict[str, str]:
    """The image as JPEG; truth, then prediction, row by row, as one zlib stream; both in base64."""
    indices = b"".join(np.ascontiguousarray(mask, np.uint8).tobytes() for mask in masks(picture))
    packed = {"masks": base64.b64encode(zlib.compress(indices, 9)).decode()}
    if picture.image is not None:
        out = io.BytesIO()
        Image.fromarray(picture.image).save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
        packed["image"] = base64.b64encode(out.getvalue()).decode()
    return packed
