"""The command line: --help fits on a screen, and a flag that does not exist is one line with what was meant."""

import dataclasses
import subprocess
import sys

import pytest
from conftest import ROOT

from data_pipeline.__main__ import USAGE, Config
from data_pipeline.flags import OTHER_NAMES, FlagError, Usage, commands_of, flags_of, help_text, refuse_unknown
from engine.config import ClassifierConfig, EvaluateConfig, ExportConfig, PredictConfig, TrainConfig, recipe_config
from engine.usage import CLASSIFY, EVALUATE, EXPORT, PREDICT, TRAIN
from study.__main__ import Pilot, Plan, Report, Run

SCRIPTS = {
    "train": (TrainConfig, TRAIN),
    "train_classifier": (ClassifierConfig, CLASSIFY),
    "evaluate": (EvaluateConfig, EVALUATE),
    "predict": (PredictConfig, PREDICT),
    "export": (ExportConfig, EXPORT),
    "data_pipeline": (Config, USAGE),
    "study": (Pilot | Plan | Run | Report, Usage("python -m study", bare="plan --data {} --out DIR")),
}


def shown(script, *arguments, default=None):
    config_type, usage = SCRIPTS[script]
    return help_text(config_type, list(arguments), usage, "What it does.", default)


@pytest.mark.parametrize(
    "script, command",
    [
        *((script, None) for script in SCRIPTS),
        *(("data_pipeline", command) for command in commands_of(Config)),
        *(("study", command) for command in ("pilot", "plan", "run", "report")),
    ],
)
def test_help_fits_on_a_screen(script, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(script, *([command] if command else []), "--help").splitlines()
    assert len(lines) <= 60
    words = [line for line in lines if not line.startswith("  python ")]  # examples may be long
    assert max(map(len, words)) <= 80, max(words, key=len)


@pytest.mark.parametrize("script", ["train", "train_classifier", "evaluate"])
def test_the_groups_name_flags_once(script):
    config_type, usage = SCRIPTS[script]
    names = [name for group in usage.groups.values() for name in group]
    assert len(names) == len(set(names)) and set(names) <= {field.name for field in dataclasses.fields(config_type)}


def test_every_flag_is_described():
    for config_type, _ in SCRIPTS.values():
        for kind in commands_of(config_type).values() or (config_type,):
            assert [flag.name for flag in flags_of(kind).values() if not flag.words] == [], kind


def test_help_shows_values_and_defaults():
    said = shown("train", "--help")
    assert "  --size HxW  " in said and "  --void N  " in said and "  --one-class  " in said
    assert "Images in a batch. Default: 8." in said and "light (default)" in " ".join(said.split())
    assert "usage: python predict.py RUN IMAGES… --out PATH [FLAGS]" in shown("predict", "-h")
    assert "usage: python -m data_pipeline tile DATA DESTINATION [FLAGS]" in shown("data_pipeline", "tile", "-h")
    assert "--from NAME" in shown("data_pipeline", "convert", "-h")


def test_help_shows_a_recipe_s_own_defaults():
    assert "Images in a batch. Default: 3." in shown("train", "--help", default=recipe_config("tiramisu"))


@pytest.mark.parametrize(
    "script, arguments, wanted",
    [
        ("train", ["--epochs", "3"], "--epochs: there is no such flag; did you mean --steps N?"),
        ("train", ["--lr=0.1"], "--lr: there is no such flag; did you mean --learning-rate X?"),
        ("train", ["--data", "d", "--weight_decy", "1"], "did you mean --weight-decay X?"),
        ("train", ["--no-one-clas"], "did you mean --one-class?"),
        ("train", ["--backbone", "resnet50"], "--backbone: there is no such flag; python train.py --help"),
        ("train_classifier", ["--architecture", "resnet50"], "did you mean --backbone NAME?"),
        ("predict", ["r", "i", "-o", "out"], "-o: there is no such flag; did you mean --out PATH?"),
        ("evaluate", ["runs/a", "--output-dir", "x"], "did you mean --out PATH?"),
        (
            "data_pipeline",
            ["check", "d", "--lr", "1"],
            "--lr: there is no such flag; python -m data_pipeline check --help",
        ),
        ("data_pipeline", ["chek", "d"], "chek: there is no such command; did you mean check?"),
        ("data_pipeline", [], "one of check, preview, convert, tile, download, golfscape is wanted"),
        ("study", ["run", "--out", "o", "--workers", "2"], "did you mean --jobs N?"),
    ],
)
def test_a_flag_that_does_not_exist_is_one_line_with_what_was_meant(script, arguments, wanted):
    config_type, usage = SCRIPTS[script]
    with pytest.raises(FlagError) as told:
        refuse_unknown(config_type, arguments, usage)
    assert wanted in str(told.value) and "\n" not in str(told.value)


def test_a_folder_in_the_place_of_a_command(tmp_path):
    config_type, usage = SCRIPTS["data_pipeline"]
    with pytest.raises(FlagError, match=f"did you mean python -m data_pipeline check {tmp_path}"):
        refuse_unknown(config_type, [str(tmp_path)], usage)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "d", "--batch_size", "3", "--no-one-class", "--void", "-1", "--size=96x96"],
        ["--data", "-"],
        ["--", "--epochs"],
        ["--help-all"],
    ],
)
def test_what_the_parser_knows_is_left_to_it(arguments):
    refuse_unknown(TrainConfig, arguments, TRAIN)


def test_other_names_lead_to_flags_that_exist():
    known = {flag.name for kind, _ in SCRIPTS.values() for each in commands_of(kind).values() or (kind,)
             for flag in flags_of(each).values()}  # fmt: skip
    assert {name for names in OTHER_NAMES.values() for name in names} <= known


@pytest.mark.parametrize(
    "command, code, wanted",
    [
        (
            "train.py images",
            2,
            "error: images: a flag is wanted before it; did you mean python train.py --data images?",
        ),
        ("train_classifier.py d --steps 3", 2, "did you mean python train_classifier.py --data d?"),
        ("-m data_pipeline check a b", 2, "error: b: one argument too many"),
        (
            "segment.py train --lr 3",
            2,
            "did you mean --learning-rate X? Learning rate at the start. segment train --help",
        ),
    ],
)
def test_the_scripts_end_with_that_line(command, code, wanted):
    done = subprocess.run([sys.executable, *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1) and wanted in done.stderr


def test_every_flag_can_be_listed():
    done = subprocess.run([sys.executable, "train.py", "--help-all"], cwd=ROOT, capture_output=True, text=True)
    missing = [field.name for field in dataclasses.fields(TrainConfig)
               if f"--{field.name.replace('_', '-')}" not in done.stdout]  # fmt: skip
    assert done.returncode == 0 and missing == []


@pytest.mark.parametrize("script", ["train.py", "train_classifier.py"])
def test_a_name_that_is_taken_is_refused_before_anything_is_loaded(script, tmp_path):
    (tmp_path / "taken").mkdir()
    command = [sys.executable, "-X", "importtime", script, "--data", "nowhere", "--runs-dir", str(tmp_path)]
    done = subprocess.run([*command, "--name", "taken"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and f"error: {tmp_path}/taken exists" in done.stderr.splitlines()[-1]
    assert "tensorflow" not in done.stderr and "data_pipeline" in done.stderr


# TensorFlow's notices

FAKE = """
import os
os.write(2, b"I0000 a notice from C++\\n")
{more}
class config:
    def list_physical_devices(kind=None):
        if kind is None:
            os.write(2, b"E0000 failed call to cuInit\\n")
        return []
"""
COMMAND = """
import os, sys
from dataclasses import dataclass
from data_pipeline.command import run_command

@dataclass
class Flags: pass

def main(config):
    print("before", file=sys.stderr)
    from data_pipeline.notices import warn_of_unseen_gpu
    import tensorflow
    {after}
    os.write(2, b"after\\n")

run_command(main, Flags, "")
"""
NOTICES = "I0000 a notice from C++\nE0000 failed call to cuInit\n"


@pytest.mark.parametrize(
    "more, after, code, wanted",
    [
        ("", "assert type(tensorflow.__loader__).__name__ == 'SourceFileLoader'", 0, "before\nafter\n"),
        ("", "raise RuntimeError('a fault')", 1, f"before\n{NOTICES}Traceback"),
        ("raise ImportError('a library')", "", 1, "before\nI0000 a notice from C++\nTraceback"),
        (
            "",
            "warn_of_unseen_gpu()",
            0,
            f"Look at nvidia-smi. TensorFlow says:\n{NOTICES}after\n",
        ),
        ("os.abort()", "", -6, "before\nFatal Python error: Aborted"),
    ],
)
def test_notices_are_shown_only_if_something_is_wrong(more, after, code, wanted, tmp_path):
    (tmp_path / "tensorflow.py").write_text(FAKE.format(more=more))
    (tmp_path / "command.py").write_text(COMMAND.format(after=after))
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, tmp_path / "command.py"], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == code and wanted in done.stderr
    assert ("I0000" in done.stderr) == ("I0000" in wanted)


def test_notices_are_kept_for_a_library_s_own_import_once(tmp_path):
    (tmp_path / "tensorflow.py").write_text(FAKE.format(more=""))
    code = "from data_pipeline.notices import *; keep_notices(); keep_notices(); import tensorflow; print(KEPT)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True
    )
    assert eval(done.stdout) == [NOTICES] and done.stderr == ""
