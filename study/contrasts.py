"""Contrasts of single reasons, judged on plain accuracy: each with arms, learning rates and fresh seeds of its own.

pointing  A disc of one size, in the colour of the image's class: on the mark that decides the class, on a random place,
          or nowhere (the class alone, told of the whole image). If masks help because they point at the evidence, the
          first two differ: both name the class, both label as many pixels, and only one says where to look.
"""

from dataclasses import replace
from functools import partial

from .cells import Spec
from .hypotheses import Settings

POINTING = {  # the arms, and what is special about each
    "mark": {"arm": "S", "on_key": True},
    "random place": {"arm": "S", "elsewhere": True},
    "object": {"arm": "S"},
    "label": {"arm": "C"},
    "label, classifier": {"arm": "E"},
}


def cells_of_arms(arms: dict[str, dict], settings: Settings, seed: int) -> dict[str, Spec]:
    """One cell for each arm, with the arm's own learning rate; masks' classes weigh alike."""
    plain = Spec(
        "S", seed, settings.count, settings.steps, 0.0, settings.knobs, settings.width, tests=settings.tests
    )  # fmt: skip
    return {
        name: replace(plain, **special, rate=settings.rates[name], balanced=special["arm"] == "S")
        for name, special in arms.items()
    }


pointing = partial(cells_of_arms, POINTING)
