"""Who may import whom, and small rules that keep the house in order."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from conftest import ROOT

from engine.config import BackboneName, ClassifierConfig, ModelName, TrainConfig
from models import ENCODERS, MODELS

MAY_IMPORT = {
    "models": {"models"},
    "data_pipeline": {"data_pipeline"},
    "engine": {"engine", "models", "data_pipeline"},
}
ROOMS = (
    "models",
    "data_pipeline",
    "engine",
    "study",
    "train",
    "train_classifier",
    "evaluate",
    "predict",
    "export",
    "segment",
)
ASKING = ("What", "How", "Whether", "Why", "Where", "When", "Who", "Which", "If", "Of")  # no docstring begins with one


def modules(path: Path) -> set[str]:
    """Top names of all that a file imports, by ``import x`` and ``from x import y``; not of its own room (relative)."""
    return modules_of(path.read_text(encoding="utf-8"))


def modules_of(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def files_of(room: str) -> list[Path]:
    """Every Python file of a room, in sub-folders too; not its command line, which is a script and no part of it."""
    files = sorted(path for path in (ROOT / room).rglob("*.py") if path.name != "__main__.py")
    assert len(files) > 5
    return files


def test_the_rules_read_every_form_of_import():
    source = "import cv2.x\nfrom pathlib import Path\ndef f():\n    from keras import ops\nfrom .own import Own"
    assert modules_of(source) == {"cv2", "pathlib", "keras"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_flow_one_way(room):
    for path in files_of(room):
        assert modules(path) & set(ROOMS) <= MAY_IMPORT[room], path


def test_nobody_imports_a_command_line():
    """So that what ``python -m data_pipeline`` imports, such as the engine for preview, reaches no one else."""
    for path in [*ROOT.glob("*.py"), *(path for room in MAY_IMPORT for path in files_of(room))]:
        assert "__main__ import" not in path.read_text(encoding="utf-8"), path
    assert modules(ROOT / "data_pipeline/__main__.py") & set(ROOMS) == {"engine"}


def test_the_models_know_no_files_and_the_data_pipeline_no_network():
    for path in files_of("models"):
        assert not {"cv2", "PIL", "pathlib", "json"} & modules(path), path
    for path in files_of("data_pipeline"):
        assert "keras" not in modules(path), path


def docstrings(path: Path) -> list[tuple[str, str]]:
    """Return (name, docstring) of a file and of the functions and classes in it."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)]
    return [(getattr(node, "name", "file"), ast.get_docstring(node) or "") for node in nodes]


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_begin_with_a_verb_or_with_what_is_returned(room):
    for path in files_of(room) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]:
        for name, text in docstrings(path):
            assert text.split(" ")[0] not in ASKING, f"{path.relative_to(ROOT)}, {name}: {text.splitlines()[0]}"


EVENING = 1900  # lines: two hours and a little
LINES_A_MINUTE = 15


def test_the_way_through_the_code_takes_an_evening():
    """The table of docs/architecture.md: it has the files' own lengths, within 5 lines, and they are not too many."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Read it in an evening")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+)` \| (\d+) \| (\d+) \|", table, re.MULTILINE)
    lines = {file: (ROOT / file).read_text(encoding="utf-8").count("\n") for file, _, _ in rows}
    assert {"train.py", "data_pipeline/samples.py", "engine/scoring/scores.py"} < set(lines)
    for file, told, minutes in rows:
        row = f"docs/architecture.md: `{file}` has {lines[file]} lines, {round(lines[file] / LINES_A_MINUTE)} minutes"
        assert abs(int(told) - lines[file]) <= 5 and int(minutes) == round(int(told) / LINES_A_MINUTE), row
    assert sum(lines.values()) <= EVENING, f"{sum(lines.values())} lines to read: move something off the path"


def test_the_flag_names_every_model():
    assert set(get_args(ModelName)) == set(MODELS)
    assert set(get_args(BackboneName)) == set(ENCODERS)


@pytest.mark.parametrize(
    ("file", "heading", "config"),
    [
        ("docs/train.md", "## Every default of `train.py`", TrainConfig()),
        ("docs/classifier.md", "## Every default of `train_classifier.py`", ClassifierConfig()),
    ],
)
def test_the_tables_hold_every_default(file, heading, config):
    text = (ROOT / file).read_text(encoding="utf-8").partition(heading)[2].partition("\n## ")[0]
    for name, value in config.__dict__.items():
        shown = "" if value is None or value is False or value in ("", ()) else f"`{value}`"
        row = next((line for line in text.splitlines() if line.startswith(f"| `--{name.replace('_', '-')}`")), None)
        assert row, f"{file}'s table of defaults lacks --{name.replace('_', '-')}"
        assert row.split("|")[2].strip() == shown, row
