"""Findings: errors, warnings and notes on a data set, in one form."""

import os
from dataclasses import dataclass
from pathlib import Path

from .command import UserError

LEVELS = ("error", "warning", "note")
NAMED = 5  # findings in one message, files in one finding


@dataclass(frozen=True)
class Finding:
    """One error (it would train wrongly), warning (look at it) or note (handled, but you should know)."""

    level: str  # one of LEVELS
    kind: str  # a short name for programs: "orphan-mask"
    message: str  # what came and what was wanted, naming the file
    remedy: str = ""
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


def refuse_errors(findings: list[Finding]) -> None:
    """Raise a UserError that lists the first errors, if there are any."""
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        more = f"\n… and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
        raise UserError("\n".join(map(str, errors[:NAMED])) + more)


def print_findings(findings: list[Finding]) -> None:
    """Print each in a line; files below the working folder are named from there."""
    here = f"{Path.cwd()}{os.sep}"
    for finding in findings:
        print(f"{finding.level}: {finding}".replace(here, ""))


def some(names, most: int = 3) -> str:
    """The first few names, and how many more there are."""
    names = [str(name) for name in names]
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
