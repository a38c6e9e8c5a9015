"""Who may import whom, and small rules that keep the house in order."""

import ast
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
ROOMS = ("models", "data_pipeline", "engine", "study", "train", "train_classifier", "evaluate", "predict")


def imported(path: Path) -> set[str]:
    """Top names of the project's own modules that a file imports, relative imports counted as its own room."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found & set(ROOMS)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_flow_one_way(room):
    files = list((ROOT / room).glob("*.py"))
    assert files
    for path in files:
        assert imported(path) <= MAY_IMPORT[room], path


def test_the_models_know_no_files_and_the_data_pipeline_no_network():
    for path in (ROOT / "models").glob("*.py"):
        assert not {"cv2", "PIL", "pathlib", "json"} & set(words(path)), path
    for path in (ROOT / "data_pipeline").glob("*.py"):
        assert "keras" not in words(path), path


def words(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]


def test_the_flag_names_every_model():
    assert set(get_args(ModelName)) == set(MODELS)
    assert set(get_args(BackboneName)) == set(ENCODERS)


@pytest.mark.parametrize(
    ("file", "heading", "config"),
    [
        ("README.md", "## Every default of `train.py`", TrainConfig()),
        ("docs/classifier.md", "## Every default of `train_classifier.py`", ClassifierConfig()),
    ],
)
def test_the_tables_hold_every_default(file, heading, config):
    text = (ROOT / file).read_text(encoding="utf-8").partition(heading)[2].partition("\n## ")[0]
    for name, value in config.__dict__.items():
        shown = "" if value is None or value is False or value == "" else f"`{value}`"
        row = next((line for line in text.splitlines() if line.startswith(f"| `--{name.replace('_', '-')}`")), None)
        assert row, f"{file}'s table of defaults lacks --{name.replace('_', '-')}"
        assert row.split("|")[2].strip() == shown, row
