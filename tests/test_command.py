"""The frame of every command: its streams, its signals, and the numbers that its flags take."""

import errno
import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
from conftest import ROOT, make_folder

from data_pipeline.__main__ import COMMANDS, Check, Golfscape, Preview, Tile
from data_pipeline.command import UserError, describe, parse_size, refuse_numbers, run_command
from data_pipeline.streams import Stream, shown
from engine.config import ClassifierConfig, EvaluateConfig, PredictConfig, TrainConfig
from predict import predict
from study.__main__ import Pilot, Plan, Run
from study.__main__ import main as study

BEYOND = {int: (-1, 10**30), float: (-1.0, 1e300, 1e-300, float("inf"), float("-inf"), float("nan"))}
CONFIGS = (
    TrainConfig(),
    ClassifierConfig(data=Path("d")),
    EvaluateConfig(runs=(Path("r"),)),
    PredictConfig(Path("r"), (Path("i"),), Path("o")),
    *(Check(data=Path("d")), Preview(data=Path("d"), out=Path("o.png"))),
    *(Tile(data=Path("d"), destination=Path("o")), Golfscape(Path("d"))),
    *(kind(out=Path("o")) for kind in (Pilot, Plan, Run)),
)


def numeric_flags():
    """Every flag of every script that takes a number, with the numbers that nothing here can work with."""
    for config in CONFIGS:
        for field in fields(config):
            for kind, values in BEYOND.items():
                if kind in (field.type, *getattr(field.type, "__args__", ())) or (field.name, kind) == ("void", int):
                    for value in values:
                        name = f"{type(config).__name__}-{field.name}-{value}"
                        yield pytest.param(config, field.name, value, id=name)


def attempt(config, folder):
    """What the script does with its configuration before it reads anything but the data set."""
    refuse_numbers(config)
    if isinstance(config, TrainConfig | ClassifierConfig | EvaluateConfig):
        config.checked()
    elif isinstance(config, PredictConfig):
        predict(config)
    elif type(config) in COMMANDS:
        COMMANDS[type(config)](config)
    else:
        study(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("numbers"))


@pytest.mark.parametrize("config, flag, value", list(numeric_flags()))
def test_a_number_that_makes_no_sense_is_refused(config, flag, value, folder):
    config = replace(config, **{flag: (value,) if flag == "void" else value})
    if flag == "void" and value == -1:
        refuse_numbers(config)  # some tools write −1 where nobody labelled
        return
    with pytest.raises(UserError, match=f"--{flag.replace('_', '-')}"):
        attempt(config, folder)


@pytest.mark.parametrize("text", ["99999x32", "9" * 40 + "x1", "00x12"])
def test_a_size_that_makes_no_sense_is_refused(text):
    with pytest.raises(UserError, match="--size"):
        parse_size(text)


# Streams


class Full(io.StringIO):
    """A disk, or a pipe, that takes no more."""

    def __init__(self, number):
        super().__init__()
        self.number, self.attempts = number, 0

    def write(self, text):
        self.attempts += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("\x9b2J \x7f", r"\x9b2J \x7f"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("räksmörgås\t…\n", "räksmörgås\t…\n"),
    ],
)
def test_control_characters_are_shown(text, wanted):
    out = io.StringIO()
    print(text, end="", file=Stream(out, "standard output"))
    assert out.getvalue() == shown(text) == wanted


def test_a_progress_bar_may_return_to_the_beginning_of_its_line():
    out = io.StringIO()
    Stream(out, None, kept="\r").write("\r50%\x1b")
    assert out.getvalue() == "\r50%\\x1b"


def test_output_that_cannot_be_written_is_told_once():
    full = Full(errno.ENOSPC)
    stream = Stream(full, "standard output")
    with pytest.raises(OSError) as told:
        stream.write("a")
    assert describe(told.value) == "standard output: No space left on device"
    stream.write("b")
    stream.flush()
    assert full.attempts == 1, "what cleans up afterwards is not stopped by it"


def test_what_cannot_be_told_on_standard_error_stops_nothing():
    Stream(Full(errno.EPIPE), None).write("50%")


@pytest.mark.parametrize(
    "error, wanted",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("odd"), "odd"),
        (OSError(), "OSError"),
        (OSError(errno.EACCES, "Permission denied", "a/b"), "a/b: Permission denied"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe", "standard output"), "standard output: whatever read it has ended"),
    ],
)
def test_an_error_of_the_system_is_told_in_words(error, wanted):
    assert describe(error).startswith(wanted)


@dataclass(frozen=True)
class Flags:
    rate: float = 1.0


def ending(main, capsys, monkeypatch, arguments=()):
    """Exit code and last words of a command, in this process."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        run_command(main, Flags, "")
    except SystemExit as end:
        return end.code, capsys.readouterr().err
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0, capsys.readouterr().err


def raising(error):
    def main(config):
        raise error

    return main


@pytest.mark.parametrize(
    "main, arguments, wanted",
    [
        (raising(MemoryError("1 TiB")), (), "memory is not enough (1 TiB)"),
        (lambda config: "a\ud800b".encode(), (), r"'a\ud800b': a name that is not UTF-8"),
        (raising(UserError("a\x1b[2Jb")), (), r"error: a\x1b[2Jb"),
        (raising(None), ("--rate", "nan"), "--rate nan: a number of at most"),
        (raising(None), ("--rate", "a\udcff"), r"b'a\xff' is not UTF-8"),
    ],
)
def test_a_mistake_is_one_line(main, arguments, wanted, capsys, monkeypatch):
    code, printed = ending(main, capsys, monkeypatch, arguments)
    assert code == 1 and wanted in printed and printed.count("\n") == 1


@pytest.fixture
def listening():
    """Ctrl-C is not ignored, as it is where a shell runs the tests in the background, nor a hang-up, as under nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGHUP, before[1])


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_stop_lets_a_command_clean_up(number, capsys, monkeypatch, tmp_path):
    def main(config):
        try:
            signal.raise_signal(number)
        finally:
            (tmp_path / "cleaned").touch()

    code, printed = ending(main, capsys, monkeypatch)
    assert code == 130 and "interrupted" in printed and (tmp_path / "cleaned").exists()


def test_a_hang_up_that_is_ignored_stays_ignored(capsys, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ending(lambda config: signal.raise_signal(signal.SIGHUP), capsys, monkeypatch) == (0, "")
    finally:
        signal.signal(signal.SIGHUP, before)


COMMAND = """
import os, sys
from dataclasses import dataclass
from data_pipeline.command import run_command

@dataclass
class Flags: pass

def main(config):
    with open({file!r}, "wb") as file:
        os.write(2, b"message of a library")
    print("größer …" * 2000)
    print("done", file=sys.stderr)

run_command(main, Flags, "")
"""


@pytest.mark.parametrize(
    "redirection, code, out, err",
    [
        ("2>&-", 0, "größer …", ""),
        (">&-", 0, "", "done"),
        (">/dev/full", 1, "", "error: standard output: No space left on device"),
        ("| true", 1, "", "error: standard output: whatever read it has ended"),
    ],
)
def test_streams_that_are_closed_or_full(redirection, code, out, err, tmp_path):
    (tmp_path / "command.py").write_text(COMMAND.format(file=str(tmp_path / "file")), encoding="utf-8")
    line = f"set -o pipefail; {sys.executable} {tmp_path / 'command.py'} {redirection}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stdout[: len(out)]) == (code, out) and err in done.stderr
    assert (tmp_path / "file").read_bytes() == b"", "a library's message went into a file of the command's"


def test_letters_that_the_terminal_lacks_are_escaped(tmp_path):
    (tmp_path / "command.py").write_text(COMMAND.format(file=str(tmp_path / "file")), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, tmp_path / "command.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(r"gr\xf6\xdfer \u2026")


SCRIPTS = ("train.py", "train_classifier.py", "evaluate.py", "predict.py", "-m data_pipeline", "-m study")


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interruption_while_modules_are_imported_leaves_no_traceback(script, tmp_path):
    (tmp_path / "tyro.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, *script.split()], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode in (-signal.SIGINT, 130) and "Traceback" not in done.stderr


def test_a_backend_that_jupyter_names_and_that_is_not_here(tmp_path):
    """In a kernel outside of the project's environment, MPLBACKEND is one that only the kernel can load."""
    make_folder(tmp_path / "d", 4, size=32)
    command = [sys.executable, "-m", "data_pipeline", "preview", tmp_path / "d", "--out", tmp_path / "grid.png"]
    there = os.environ | {"MPLBACKEND": "nowhere"}
    done = subprocess.run(command, cwd=ROOT, env=there, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_whose_reader_has_seen_enough_ends_without_a_word():
    """As ``--help | head`` does."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "train.py", "--help"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
