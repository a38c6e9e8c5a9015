"""The frame of every command: flags from a dataclass, one clear line for a user's mistake, exit codes."""

import os
import re
import signal
import sys
from collections.abc import Callable

OPENCV_LIBRARIES = (
    "opencv-python cannot load a system library ({error}).\n"
    "Debian or Ubuntu: sudo apt-get install -y libgl1 libglib2.0-0\n"
    "Fedora or RHEL:   sudo dnf install -y mesa-libGL glib2"
)


class UserError(Exception):
    """A mistake that the user can mend: the message says what came, what was wanted and what to do."""


def run_command(main: Callable, config_type, description: str, default=None) -> None:
    """Read the flags of ``config_type`` from the command line, call ``main(config)``, and exit.

    default: an instance of ``config_type`` whose values stand where no flag says otherwise.

    Exit codes: 0 done, 1 a user's mistake, 2 a flag that the parser refuses, 130 interrupted (Ctrl-C or SIGTERM).
    Heavy imports belong inside ``main``, so that ``--help`` answers at once.
    """
    import tyro

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors, without TensorFlow's notices and warnings
    options = {} if default is None else {"default": default}
    config = tyro.cli(config_type, description=description, config=(tyro.conf.OmitArgPrefixes,), **options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as batch systems and Docker stop a program
    try:
        main(config)
    except UserError as error:
        fail(str(error))
    except OSError as error:  # a file where a folder is wanted, a full disk, no permission
        fail(f"{error.filename or ''}: {error.strerror or error}")
    except ImportError as error:
        if "libGL" not in str(error) and "libgthread" not in str(error) and "libglib" not in str(error):
            raise
        fail(OPENCV_LIBRARIES.format(error=error))
    except KeyboardInterrupt as interrupt:
        print(f"\ninterrupted. {interrupt}".rstrip(), file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """ "96x128" → (96, 128): height, width in pixels.

    Raises:
        UserError: for anything else.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not match or "0" in match.groups():
        raise UserError(f"--size {text}: HEIGHTxWIDTH in pixels is wanted, such as 96x128")
    return int(match[1]), int(match[2])
