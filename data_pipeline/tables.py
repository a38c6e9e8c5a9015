"""Cells of CSV files: a spreadsheet runs none as a formula, a terminal obeys none, and names come back as they were.

Reference: OWASP, CSV Injection. A text that begins like a formula is given an apostrophe, as spreadsheets do it.
"""

import re

from .streams import shown

FORMULA = re.compile(r"'*[=+\-@\t\n]")


def safe(value):
    """A value to be written into a cell; numbers stay as they are, -0.5 too."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if FORMULA.match(text) and not is_number(text) else text


def original(text: str) -> str:
    """The text that ``safe`` made into a cell (but for control characters, which stay shown)."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def is_number(text: str) -> bool:
    try:
        return float(text) is not None
    except ValueError:
        return False
