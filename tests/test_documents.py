"""The documents: links that lead somewhere, numbers that were measured, commands that run."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT

DOCUMENTS = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")) + sorted(ROOT.glob("benchmarks/*.md"))
NOT_THE_PROJECT = (".git", ".venv", "data", "runs", "out", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis")


def prose(path: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """A document's headings as GitHub links to them."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_are_there(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith(("http:", "https:")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{path.name} links to {target}; there are {anchors(there)}"


@pytest.mark.parametrize("name", ["docs/results.md", "benchmarks/README.md"])
def test_numbers_stand_beside_their_command_and_commit(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        head = section.splitlines()[0]
        if re.search(r"\d\.\d", section):
            assert "```bash" in section or "python " in section, f"{name}, {head}: no command"
            assert re.search(r"`[0-9a-f]{7}`", section + text.split("## ")[0]), f"{name}, {head}: no commit"


def test_every_picture_of_the_tutorial_is_used():
    used = set(re.findall(r"images/([\w./-]+)", "".join(path.read_text() for path in DOCUMENTS)))
    there = {path.relative_to(ROOT / "docs/images").as_posix() for path in (ROOT / "docs/images").rglob("*.*")}
    assert there <= used | {"glossary"}, there - used


def test_the_notebook_is_the_tutorial(monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    from docs.notebook import NOTEBOOK, notebook

    kept = nbformat.read(ROOT / NOTEBOOK, as_version=4)
    monkeypatch.chdir(ROOT)
    assert [cell.source for cell in kept.cells] == [cell.source for cell in notebook().cells], "python -m docs.notebook"


def test_the_notebook_holds_what_a_run_gave():
    """Every cell of code ran, without a fault; pictures are inline; nothing of the machine it ran on; not too large."""
    nbformat = pytest.importorskip("nbformat")
    path = ROOT / "docs/tutorial.ipynb"
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    printed = "".join(output.get("text", "") for output in outputs)
    assert "Report: runs/trees/evaluation/test/report.html" in printed and "out/compared/report.html" in printed
    assert not re.findall(r"(?<![\w./])/\w[\w.-]*/.*", printed), "paths of that machine"
    assert "stderr" not in {output.get("name") for output in outputs}
    assert path.stat().st_size < 2e6


def reduced(source: str) -> str:
    """The same commands on fewer and smaller scenes, with fewer steps."""
    for what, by in (
        (r"--steps \d+", "--steps 2 --batch-size 4"),
        (r"--count \d+", "--count 24 --size 64"),
        (r"in 35 70 140;", "in 4 8 12;"),
        (r"in 35 140;", "in 8;"),
        (r"--preset smoke", "--preset smoke --hypothesis H4"),
    ):
        source = re.sub(what, by, source)
    return source


WRITTEN = [
    *("preview.jpg", "strong.jpg", "progress.jpg", "unet.svg", "fc_densenet56.svg", "masks/uncertainty.csv"),
    *("compared/report.html", "forecast/report.html", "both/report.html", "study/study.html"),
]


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path, monkeypatch):
    """Its command blocks in order, as the notebook has them, in a copy of the project."""
    nbclient = pytest.importorskip("nbclient")
    from docs.notebook import START, notebook

    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_THE_PROJECT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(copy)
    made = notebook()
    for cell in made.cells:
        cell.source = reduced(cell.source) if cell.source != START else START.replace("long=False", "long=True")
    nbclient.NotebookClient(made, timeout=1800, resources={"metadata": {"path": str(copy / "docs")}}).execute()
    printed = "".join(out.get("text", "") for cell in made.cells if cell.cell_type == "code" for out in cell.outputs)
    assert "Report: runs/trees/evaluation/test/report.html" in printed
    assert [name for name in WRITTEN if not (copy / "out/tutorial-1/out" / name).is_file()] == []
    assert sum(cell.source.count("--steps 2") for cell in made.cells if cell.cell_type == "code") >= 7
