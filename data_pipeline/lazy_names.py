"""The public names of a package, loaded when they are asked for, so that ``--help`` answers at once."""

from collections.abc import Callable
from importlib import import_module


def lazy_names(package: str, modules: dict[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: its name.
        modules: public name → module of the package, ".run", that holds it.
    """

    def load(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return vars(import_module(modules[name], package))[name]

    return load
