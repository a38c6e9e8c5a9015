"""One command for every script, from any folder: pip install -e . ; segment train --data DIR."""

import re
import runpy
import signal
import sys
from importlib import import_module

SCRIPTS = {
    "train": ("train", "train a segmentation network on images and masks"),
    "evaluate": ("evaluate", "score runs, with error bars and baselines"),
    "predict": ("predict", "make masks of new images"),
    "classify": ("train_classifier", "train a classifier, to compare with"),
    "export": ("export", "write a network for other programs"),
    "study": ("study", "ask by experiment why few masks are enough"),
    "data": ("data_pipeline", "check, preview, convert, tile, download, draw data sets"),
}
PACKAGES = ("data_pipeline", "study")  # whose flags stand in their __main__.py
COMMAND_OF = {module: command for command, (module, _) in SCRIPTS.items()}
CALL = re.compile(rf"\bpython (?:-m )?({'|'.join(COMMAND_OF)})(?:\.py\b|\b(?!\.\w))")


class Stream:
    """A text stream in which ``python train.py`` reads ``segment train``: the scripts tell what to call next."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(as_called_here(text))
        return len(text)

    def __getattr__(self, attribute: str):
        return getattr(self.stream, attribute)


def as_called_here(text: str) -> str:
    return CALL.sub(lambda call: f"segment {COMMAND_OF[call[1]]}", text)


def main() -> None:
    """Run the script that the first argument names, with the others as its flags."""
    name, *flags = sys.argv[1:] or ["--help"]
    if name == "--version":
        from importlib.metadata import version

        print(f"segment {version('small-data-segmentation')}")
    elif name in ("--help", "-h"):
        print(usage())
    elif name not in SCRIPTS:
        print(f"segment {name}: there is no such command\n{usage()}", file=sys.stderr)
        sys.exit(2)
    else:
        module, _ = SCRIPTS[name]
        sys.argv = [f"segment {name}", *flags]
        sys.stdout, sys.stderr = (stream and Stream(stream) for stream in (sys.stdout, sys.stderr))
        if module in (
            "data_pipeline",
            "study",
        ):  # imported, since Python finds no words of flags in a __main__ run here
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the import: an end without a traceback
            import_module(f"{module}.__main__").command()
        else:
            runpy.run_module(module, run_name="__main__")


def usage() -> str:
    rows = [f"  {name:<10}{says}" for name, (_, says) in SCRIPTS.items()]
    return "\n".join(["usage: segment COMMAND [FLAGS] | segment COMMAND --help | segment --version", "", *rows])


if __name__ == "__main__":
    main()
