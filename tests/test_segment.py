"""The one command: it names what it runs, answers quickly, and tells the next command as it is called itself."""

import re
import resource
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

import segment


def call(*arguments, cwd=ROOT):
    command = [sys.executable, str(ROOT / "segment.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_every_script_has_a_name():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    modules = {module for module, _ in segment.SCRIPTS.values()}
    scripts = {path.stem for path in ROOT.glob("*.py")}
    assert scripts == set(settings["tool"]["setuptools"]["py-modules"])
    assert modules == scripts - {"segment"} | {"data_pipeline", "study"}
    assert settings["project"]["scripts"] == {"segment": "segment:main"}


def test_an_unknown_name_ends_with_the_list(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["segment", "trian"])
    with pytest.raises(SystemExit) as end:
        segment.main()
    assert end.value.code == 2
    assert "trian: there is no such command" in (printed := capsys.readouterr().err) and "classify" in printed


@pytest.mark.parametrize(
    ("script", "here"),
    [
        ("Next: python evaluate.py runs/a --split val", "Next: segment evaluate runs/a --split val"),
        ("python train_classifier.py --resume x", "segment classify --resume x"),
        ("look (python -m data_pipeline preview)", "look (segment data preview)"),
        ("python -m study run", "segment study run"),
        ("see python evaluate.py.", "see segment evaluate."),
        ("python train.pyx", "python train.pyx"),
    ],
)
def test_the_next_command_is_told_as_it_is_called_here(script, here):
    assert segment.as_called_here(script) == here


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("export", "--help"), ("data", "--help")])
def test_help_is_quick_and_loads_no_network(arguments):
    call(*arguments)  # the first call may compile
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = call(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and "usage: segment" in done.stdout
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / "segment.py"), *arguments], capture_output=True, text=True
    ).stderr
    assert "tensorflow" not in loaded and "keras" not in loaded
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # of the processor, busy or not


@pytest.mark.parametrize("name", list(segment.SCRIPTS))
def test_help_has_words_for_every_flag(name):
    """As the installed command shows it, in which no script is the program that Python started."""
    first = call(name, "--help").stdout
    commands = re.findall(r"^  (\w+) {2,}\w", first, re.MULTILINE) if "COMMAND" in first else [""]
    for command in commands:
        shown = call(name, *command.split(), "--help").stdout
        rows = re.findall(r"^  (--[\w-]+|[A-Z]+…?)(?: \S+)?[ \n]*(.*)$", shown, re.MULTILINE)
        assert rows and [flag for flag, words in rows if not words or words.startswith(("Default:", "--"))] == [], shown
