"""Who may import whom, and small rules that keep the house in order."""

import ast
from pathlib import Path
from typing import get_args

import pytest
from conftest import ROOT

from engine.config import ModelName, TrainConfig
from models import MODELS

MAY_IMPORT = {
    "models": {"models"},
    "data_pipeline": {"data_pipeline"},
    "engine": {"engine", "models", "data_pipeline"},
}
ROOMS = ("models", "data_pipeline", "engine", "study", "train", "evaluate", "predict")


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


def test_the_readme_table_holds_every_default():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, value in TrainConfig().__dict__.items():
        shown = "" if value is None or value is False or value == "" else f"`{value}`"
        row = next((line for line in text.splitlines() if line.startswith(f"| `--{name.replace('_', '-')}`")), None)
        assert row, f"README's table of defaults lacks --{name.replace('_', '-')}"
        assert row.split("|")[2].strip() == shown, row
