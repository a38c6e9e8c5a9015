"""Standard output and error of a command: every name can be printed, none steers the terminal, no failure is silent."""

import os
import re
import sys

# Control characters but tab and line feed, and the marks that turn the order of letters round.
STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
OUTPUT = "standard output"


class Stream:
    """A text stream in which control characters are shown (\\x1b), so that a file's name cannot give orders.

    Args:
        stream: what is written to.
        name: named by the error of a write that fails; with None, such a write is passed over.
        kept: control characters that pass, such as the carriage return of a progress bar.
    """

    def __init__(self, stream, name: str | None, kept: str = ""):
        self.stream, self.name, self.kept = stream, name, kept
        self.lost = False  # once told, a lost stream must not stop what cleans up

    def write(self, text: str) -> int:
        self.attempt(self.stream.write, shown(text, self.kept))
        return len(text)

    def flush(self) -> None:
        self.attempt(self.stream.flush)

    def attempt(self, action, *arguments) -> None:
        if self.lost:
            return
        try:
            action(*arguments)
        except OSError as error:
            self.lost = True
            if self.name is not None:
                error.filename = self.name
                raise

    def __getattr__(self, attribute: str):
        return getattr(self.stream, attribute)


def shown(text: str, kept: str = "") -> str:
    """The text with its control characters escaped, all but those that are kept."""
    return STEERING.sub(lambda letter: letter[0] if letter[0] in kept else ascii(letter[0])[1:-1], text)


def open_streams() -> None:
    """Give the process the streams that it was started without, and let them take letters that they cannot encode.

    A closed descriptor would go to the next file that is opened, and messages would be written into it.
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(free)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  for as long as the process lives
    sys.stderr = sys.stderr or sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # under LC_ALL=C, and for names that are no UTF-8


def guard_streams() -> None:
    """Show control characters on both streams, and name standard output where it cannot be written."""
    sys.stdout = Stream(sys.stdout, OUTPUT)
    sys.stderr = Stream(sys.stderr, None, kept="\r")
