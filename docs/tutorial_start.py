"""What the tutorial's notebook does first: it finds the project, and works in a folder of its own.

Any kernel of the project's Python version does, also one that has none of the project's packages.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

KERNEL = "{0}/bin/python -m pip install ipykernel && {0}/bin/python -m ipykernel install --user --name segmentation"


def start(long: bool = False) -> None:
    """Make the project's packages and commands known to this kernel, and go into a new folder, out/tutorial-N.

    long: run the commands of chapters 9 and 10, too.

    Raises:
        SystemExit: if this kernel cannot load the project's packages, with what to do.
    """
    project = Path(__file__).resolve().parent.parent
    environment = Path(os.environ.get("VIRTUAL_ENV") or project / ".venv")
    if find_spec("keras") is None:
        sys.path.insert(0, str(packages_of(environment)))
    for name in ("data_pipeline", "engine", "models"):
        sys.modules.pop(name, None)  # of a folder of that name beside the notebook
    sys.path.insert(0, str(project))
    commands = environment / "bin" if (environment / "bin/python").exists() else Path(sys.executable).parent
    os.environ |= {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "PROJECT": str(project),
        "LONG": "yes" if long else "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    from data_pipeline.notices import keep_notices

    keep_notices()
    number = 1
    while (folder := project / f"out/tutorial-{number}").exists():
        number += 1
    folder.mkdir(parents=True)
    os.chdir(folder)
    print(f"working in {folder.relative_to(project)}")


def packages_of(environment: Path) -> Path:
    """Return the folder of an environment's packages, if this Python can load them."""
    folder = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    if (folder / "keras").is_dir():
        return folder
    raise SystemExit(
        f"This kernel has no Keras, and {environment} has none for Python {sys.version_info.major}."
        f"{sys.version_info.minor}. Install the project (chapter 1), then make a kernel of it and choose it: "
        f"{KERNEL.format(environment)}"
    )
