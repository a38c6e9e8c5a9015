"""report.html: one self-contained file that shows what metrics.json counts."""

import base64
import csv
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_pipeline.files import write_text

from .run import Run
from .scores import show, verdict

MOST_IMAGES = 300


def write_report(run: Run, folder: Path, results: dict) -> Path:
    """Make report.html from the files that the evaluation left in ``folder``; the worst images first."""
    with open(folder / "per_image.csv", newline="", encoding="utf-8") as file:
        images = sorted(csv.DictReader(file), key=lambda row: float(row["miou"] or "inf"))[:MOST_IMAGES]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters["score"] = lambda value: show(float(value) if value not in ("", None) else None)
    environment.filters["inline"] = inline
    path = folder / "report.html"
    page = environment.get_template("report.html").render(
        run=run,
        folder=folder,
        results=results,
        verdict=verdict(results),
        images=images,
        colors=dict(zip(run.encoding.names, run.encoding.colors, strict=True)),
    )
    write_text(path, page)
    return path


def inline(path: Path) -> str:
    """A picture's bytes as a data URL."""
    kind = {".png": "png", ".jpg": "jpeg"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
