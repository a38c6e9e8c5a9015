"""The frame of every command: flags from a dataclass, one clear line for a user's mistake, exit codes."""

import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from .flags import FlagError, Usage, help_text, refuse_unknown, unexpected
from .notices import keep_notices, show_notices
from .streams import OUTPUT, guard_streams, open_streams, shown

OPENCV_LIBRARIES = (
    "opencv-python cannot load a system library ({error}).\n"
    "Debian or Ubuntu: sudo apt-get install -y libgl1 libglib2.0-0\n"
    "Fedora or RHEL:   sudo dnf install -y mesa-libGL glib2"
)
STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")  # from Ctrl-C; batch systems and Docker; a terminal that is closed
LARGEST_SIDE = 8192  # pixels of an image, a crop or a tile that a flag asks for
LIMITS = {"crop": LARGEST_SIDE, "size": LARGEST_SIDE, "tile": LARGEST_SIDE, "jobs": 1024}
LIMITS |= {"seed": 2**32 - 1, "split_seed": 2**32 - 1}
LARGEST = 2**31 - 1  # of every other number
SMALLEST = 1e-30  # nearer to zero, float32 soon has nothing left


class UserError(Exception):
    """A mistake that the user can fix: the message names what came, what was wanted and what to do."""


def run_command(main: Callable, config_type, description: str, default=None, usage: Usage | None = None) -> None:
    """Read the flags of ``config_type`` from the command line, call ``main(config)``, and exit.

    default: an instance of ``config_type`` whose values are the flags' defaults.
    usage: what --help shows beside the flags.

    Exit codes: 0 done, 1 a user's mistake, 2 a flag that the parser refuses, 130 interrupted (Ctrl-C, SIGTERM, SIGHUP).
    Heavy imports belong inside ``main``, so that ``--help`` answers at once.
    """
    os.environ["MPLBACKEND"] = "agg"  # no window; what Jupyter sets there may be missing in this environment
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors, without TensorFlow's notices and warnings
    keep_notices()  # those that it writes whatever the level is
    try:
        stop_by_interrupt()
        open_streams()
        config = parse(config_type, description, default, usage or Usage(Path(sys.argv[0]).name))
        guard_streams()
        refuse_numbers(config)
        main(config)
        sys.stdout.flush()
    except FlagError as error:
        fail(str(error), code=2)
    except UserError as error:
        fail(str(error))
    except OSError as error:  # a file where a folder is wanted, a full disk, no permission
        fail(describe(error))
    except MemoryError as error:
        fail(f"memory is not enough ({error}); ask for less at a time, or for smaller images")
    except UnicodeEncodeError as error:
        name = error.object[max(error.start - 60, 0) : error.end + 60]
        fail(f"{name!a}: a name that is not UTF-8 cannot be written down; rename the file or folder")
    except ImportError as error:
        if "libGL" not in str(error) and "libgthread" not in str(error) and "libglib" not in str(error):
            raise
        fail(OPENCV_LIBRARIES.format(error=error))
    except KeyboardInterrupt as interrupt:
        print(f"\ninterrupted. {interrupt}".rstrip(), file=sys.stderr)
        sys.exit(130)
    except Exception:  # a fault of the program: a traceback follows
        show_notices()
        raise


def parse(config_type, description: str, default, usage: Usage):
    """Return the command line as a ``config_type``; exit with 0 after --help, with 2 where a flag is none."""
    arguments = sys.argv[1:]
    for argument in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise UserError(f"{os.fsencode(argument)!r} is not UTF-8; rename the file or folder")
    if {"-h", "--help"} & set(arguments):
        show_help(help_text(config_type, arguments, usage, description, default))
        sys.exit()
    refuse_unknown(config_type, arguments, usage)

    import tyro

    arguments = ["--help" if argument == "--help-all" else argument for argument in arguments]
    options = {"config": (tyro.conf.OmitArgPrefixes,), "description": description}
    options |= {} if default is None else {"default": default}
    config, left = tyro.cli(config_type, args=arguments, return_unknown_args=True, **options)
    if left:
        raise FlagError(unexpected(left[0], config_type, usage))
    return config


def show_help(text: str) -> None:
    """Print it; it is no fault if the reader has seen enough (head, less)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush at the end


def stop_by_interrupt() -> None:
    """Let every signal that asks a program to stop raise KeyboardInterrupt."""
    for number in stopping_signals():
        signal.signal(number, signal.default_int_handler)


def stopping_signals() -> list[int]:
    """The signals that ask a program to stop, without those that this process was told to ignore (nohup)."""
    known = [getattr(signal, name) for name in STOPPING if hasattr(signal, name)]  # Windows has no SIGHUP
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def fail(message: str, code: int = 1) -> None:
    print(f"error: {shown(message)}", file=sys.stderr)
    sys.exit(code)


def describe(error: OSError) -> str:
    """Say in words what the system refused, and of which file where that is known."""
    if isinstance(error, BrokenPipeError) and error.filename == OUTPUT:
        return f"{OUTPUT}: whatever read it has ended (such as head), so this ended too; write into a file instead"
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"


def refuse_numbers(config) -> None:
    """Raise UserError for a flag's number that no arithmetic here can hold: nan, infinite, far too large or small."""
    for field in fields(config):
        value, most = getattr(config, field.name), LIMITS.get(field.name, LARGEST)
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, int | float):
                continue
            flag = f"--{field.name.replace('_', '-')} {str(number)[:40]}"
            if not abs(number) <= most:
                raise UserError(f"{flag}: a number of at most {most:,} is wanted")
            if 0 < abs(number) < SMALLEST:
                raise UserError(f"{flag}: too near to 0; 0, or {SMALLEST} and more, is wanted")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """ "96x128" → (96, 128): height, width in pixels.

    Raises:
        UserError: for anything else.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not match or not all(side.strip("0") for side in match.groups()):
        raise UserError(f"--size {text}: HEIGHTxWIDTH in pixels is wanted, such as 96x128")
    if any(len(side) > 9 or int(side) > LARGEST_SIDE for side in match.groups()):
        raise UserError(f"--size {text}: sides of at most {LARGEST_SIDE} pixels are wanted")
    return int(match[1]), int(match[2])
