"""The words of a command line: --help in groups, and one line for a flag that does not exist.

Flags are the fields of a dataclass; what is said of one is the string below it, whose first sentence --help shows.
"""

import ast
import difflib
import inspect
import re
import shutil
import textwrap
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from tyro.conf import Positional

POSITIONAL = get_args(Positional[int])[1]
COLUMN = 24  # where the words begin
WIDTHS = (60, 100)  # of a terminal, as far as help follows it
FLAG = re.compile(r"-[A-Za-z]|--.")
NAME = "NAME"  # of one of several choices
VALUES = {  # of texts
    "size": "HxW",
    "loss": "NAME",
    "group_by": "REGEX",
    "classes": "A,B,…",
}
OF_TYRO = ("help", "help-all", "tyro-print-completion", "tyro-write-completion")
OTHER_NAMES = {  # as other tools call it → here, the first that the command has
    **dict.fromkeys(("epoch", "epochs", "num-epochs", "iterations", "iters", "max-iter", "max-steps"), ("steps",)),
    **dict.fromkeys(("lr", "lr0", "rate", "base-lr"), ("learning-rate",)),
    **dict.fromkeys(("bs", "b", "batch", "batchsize"), ("batch-size",)),
    **dict.fromkeys(("wd", "decay"), ("weight-decay",)),
    **dict.fromkeys(("dataset", "data-dir", "data-root", "data-path", "dir", "root", "folder", "input"), ("data",)),
    **dict.fromkeys(("arch", "architecture", "net", "network", "encoder"), ("model", "backbone")),
    **dict.fromkeys(("img-size", "imgsz", "image-size", "input-size", "resize", "resolution"), ("size",)),
    **dict.fromkeys(("crop-size", "patch", "patch-size", "tile-size"), ("crop", "tile")),
    **dict.fromkeys(("amp", "fp16", "mixed-precision", "half"), ("precision",)),
    **dict.fromkeys(("gpu", "gpus", "device", "num-gpus"), ("devices",)),
    **dict.fromkeys(("o", "output", "output-dir", "out-dir", "outdir", "save-dir", "logdir"), ("out", "runs-dir")),
    **dict.fromkeys(("ignore", "ignore-index", "ignore-label", "ignore-class", "unlabelled"), ("void",)),
    **dict.fromkeys(("aug", "augmentation", "augmentations", "transforms"), ("augment",)),
    **dict.fromkeys(("random-seed", "random-state"), ("seed",)),
    **dict.fromkeys(("early-stopping", "early-stopping-patience"), ("patience",)),
    **dict.fromkeys(("pretrained", "backbone-weights", "encoder-weights"), ("weights",)),
    **dict.fromkeys(("class-weight", "weighted"), ("class-weights",)),
    **dict.fromkeys(("k", "kfold", "k-fold", "cv"), ("folds",)),
    **dict.fromkeys(("continue", "restart", "checkpoint", "ckpt"), ("resume",)),
    **dict.fromkeys(("labels", "annotations", "mask-dir", "masks-dir"), ("masks",)),
    **dict.fromkeys(("img-dir", "image-dir", "images-dir"), ("images",)),
    **dict.fromkeys(("force", "f", "exist-ok"), ("overwrite",)),
    **dict.fromkeys(("workers", "num-workers", "n-jobs", "j"), ("workers", "jobs")),
}


class FlagError(Exception):
    """A flag, or an argument, that the command does not have."""


@dataclass(frozen=True)
class Usage:
    """A command's call and examples: shown by --help beside its flags.

    command: as it is called, such as "python train.py".
    examples: command lines without that beginning → what they do.
    groups: heading → names of the fields that are shown; without groups, all of them.
    bare: what was probably meant by a folder that no flag stands before, such as "--data {}".
    """

    command: str
    examples: tuple[tuple[str, str], ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bare: str = ""


@dataclass(frozen=True)
class Flag:
    """A field of a command's dataclass, as it is typed and as it is told."""

    name: str
    value: str  # what follows it, such as "N"; "" where nothing does
    positional: bool
    required: bool
    choices: tuple[str, ...]
    default: str
    words: str

    @property
    def typed(self) -> str:
        return self.value if self.positional else f"--{self.name} {self.value}".rstrip()


def help_text(config_type, arguments: list[str], usage: Usage, description: str, default=None) -> str:
    """Return what --help shows: how the command is called, examples, and the common flags in groups.

    default: an instance whose values are the flags' defaults.
    """
    commands = commands_of(config_type)
    chosen = next((argument for argument in arguments if argument in commands), None)
    if commands and chosen is None:
        rows = [line for name, kind in commands.items() for line in entry(name, first_sentence(inspect.getdoc(kind)))]
        head = [f"usage: {usage.command} COMMAND [FLAGS]", "", description.strip()]
        return "\n".join([*head, "", *rows, "", *examples(usage), f"Next: {usage.command} COMMAND --help"])
    kind, command = (commands[chosen], f"{usage.command} {chosen}") if chosen else (config_type, usage.command)
    flags = flags_of(kind, default)
    in_order = tuple(sorted(flags, key=lambda name: not flags[name].positional))
    groups = usage.groups if usage.groups and not chosen else {"flags": in_order}
    positional = [flag for flag in flags.values() if flag.positional]
    needed = [flag.typed for flag in flags.values() if flag.required and not flag.positional]
    lines = [
        " ".join([f"usage: {command}", *(flag.typed for flag in positional), *needed, "[FLAGS]"]),
        "",
        *wrapped((inspect.getdoc(kind) if chosen else description).strip().partition("\n\n")[0], 0),
        "",
    ]
    lines += examples(usage) if not chosen else []
    for heading, names in groups.items():
        lines += [f"{heading}:", *(line for name in names for line in told(flags[name])), ""]
    hidden = len(flags) - sum(len(names) for names in groups.values())
    more = f"{hidden} more flags, and what else there is to say of these" if hidden else "what else there is to say"
    return "\n".join([*lines, f"--help-all: {more}."])


def examples(usage: Usage) -> list[str]:
    if not usage.examples:
        return []
    width = max(len(line) for line, _ in usage.examples) + len(usage.command) + 3
    rows = [f"  {f'{usage.command} {line}':<{width}}  {words}".rstrip() for line, words in usage.examples]
    return ["examples:", *rows, ""]


def told(flag: Flag) -> list[str]:
    """Return the lines of --help about one flag."""
    words = first_sentence(flag.words)
    if flag.choices and flag.value == NAME:
        words += (
            f" {', '.join(f'{choice} (default)' if choice == flag.default else choice for choice in flag.choices)}."
        )
    elif flag.default:
        words += f" Default: {flag.default}."
    return entry(flag.typed, words)


def entry(name: str, words: str) -> list[str]:
    """Return the lines of a table's row: a name, and beside it (below it, if it is long) what is said of it."""
    lines, head = wrapped(words, COLUMN), f"  {name}"
    if len(head) >= COLUMN:
        return [head, *lines]
    return [head + lines[0][len(head) :], *lines[1:]]


def wrapped(text: str, column: int) -> list[str]:
    width = min(max(shutil.get_terminal_size().columns, WIDTHS[0]), WIDTHS[1])
    indent = " " * column
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    ) or [indent]


def first_sentence(text: str | None) -> str:
    """Return a text up to its first full stop, on one line."""
    return re.split(r"(?<=\.)\s", " ".join((text or "").split()))[0]


def refuse_unknown(config_type, arguments: list[str], usage: Usage) -> None:
    """Raise FlagError for the first flag, or the command, that does not exist, naming what was probably meant."""
    commands = commands_of(config_type)
    command = usage.command
    if commands:
        chosen = arguments[0] if arguments else ""
        if chosen not in commands:
            raise FlagError(unknown_command(chosen, commands, usage))
        config_type, arguments, command = commands[chosen], arguments[1:], f"{command} {chosen}"
    flags = flags_of(config_type)
    known = {name for flag in flags.values() if not flag.positional for name in names_of(flag)}
    for argument in arguments:
        if argument == "--":
            return
        name = argument.partition("=")[0].lstrip("-").replace("_", "-")
        if FLAG.match(argument) and name not in known and argument != "-h" and name not in OF_TYRO:
            raise FlagError(unknown_flag(argument.partition("=")[0], name, flags, command))


def unknown_command(chosen: str, commands: dict[str, type], usage: Usage) -> str:
    names = ", ".join(commands)
    if not chosen:
        return f"{usage.command} COMMAND: one of {names} is wanted; {usage.command} --help says what they do"
    if usage.bare and Path(chosen).exists():
        return f"{chosen}: a command is wanted before it; did you mean {usage.command} {usage.bare.format(chosen)}?"
    near = difflib.get_close_matches(chosen, commands, 1)
    meant = f"; did you mean {near[0]}?" if near else ";"
    return f"{chosen}: there is no such command{meant} There are {names}"


def unknown_flag(given: str, name: str, flags: dict[str, Flag], command: str) -> str:
    known = {flag.name: flag for flag in flags.values() if not flag.positional}
    near = [other for other in OTHER_NAMES.get(name, ()) if other in known]
    near = near or difflib.get_close_matches(name, known, 1, 0.7)
    meant = f"did you mean {known[near[0]].typed}? {first_sentence(known[near[0]].words)} " if near else ""
    return f"{given}: there is no such flag; {meant}{command} --help lists the flags"


def unexpected(argument: str, config_type, usage: Usage) -> str:
    """Return the message for an argument that follows no flag, where none is taken."""
    if usage.bare and not commands_of(config_type):
        return f"{argument}: a flag is wanted before it; did you mean {usage.command} {usage.bare.format(argument)}?"
    return f"{argument}: one argument too many; a name with spaces wants quotes"


@cache
def commands_of(config_type) -> dict[str, type]:
    """Return the sub-commands of a union of dataclasses by their names; {} for a dataclass."""
    if is_dataclass(config_type):
        return {}
    commands = {}
    for member in get_args(config_type):
        kind, *marks = get_args(member) if get_origin(member) is Annotated else (member,)
        commands[next((mark.name for mark in marks), kind.__name__.lower())] = kind
    return commands


def flags_of(config_type, default=None) -> dict[str, Flag]:
    """Return the flags of a dataclass, by their fields' names."""
    types, words = get_type_hints(config_type, include_extras=True), words_of(config_type)
    flags = {}
    for each in fields(config_type):
        kind, marks = unmarked(types[each.name])
        value = getattr(default, each.name, each.default)
        name = next((mark.name for mark in marks if getattr(mark, "name", None)), None)
        metavar = next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), None)
        positional = POSITIONAL in marks
        flags[each.name] = Flag(
            name=name or each.name.replace("_", "-"),
            value=metavar or (each.name.upper() if positional else value_of(kind, VALUES.get(each.name))),
            choices=choices_of(kind),
            positional=positional,
            required=value is MISSING,
            default="" if value is MISSING or value is False or value in (None, "", ()) else str(value),
            words=words.get(each.name, ""),
        )
    return flags


def names_of(flag: Flag) -> tuple[str, ...]:
    return (flag.name,) if flag.value else (flag.name, f"no-{flag.name}")


def unmarked(kind) -> tuple[object, list]:
    """Return a field's type without ``Annotated``, and what it is annotated with, at every depth."""
    marks = []
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        marks += more
    return kind, marks


def value_of(kind, text: str | None = None) -> str:
    """Return what follows a flag of this type: "N", "PATH", "on|off"; "" for a switch; of a text, what it is."""
    if choices := choices_of(kind):
        return "|".join(choices) if len("|".join(choices)) <= COLUMN // 2 else NAME
    inner = [member for member in get_args(kind) if member is not NoneType]
    if inner:
        return value_of(inner[0], text)
    return {bool: "", int: "N", float: "X", Path: "PATH"}.get(kind, text or "TEXT")


def choices_of(kind) -> tuple[str, ...]:
    """Return the values of a ``Literal``, or of one that may be left out; () for other types."""
    members = (
        [member for member in get_args(kind) if member is not NoneType] if get_origin(kind) is not Literal else [kind]
    )
    return get_args(members[0]) if len(members) == 1 and get_origin(members[0]) is Literal else ()


@cache
def words_of(config_type) -> dict[str, str]:
    """Return what the string below each field says, of inherited fields too; without those that cannot be read."""
    words = {}
    for kind in reversed(config_type.__mro__):
        if not is_dataclass(kind):
            continue
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
        except OSError:  # a class of a __main__ that another script runs (segment.py): Python does not know its file
            continue
        for line, below in pairwise(body):
            if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr):
                words[line.target.id] = inspect.cleandoc(below.value.value)
    return words
