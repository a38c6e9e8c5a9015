"""Ways from an image to a mask, as ``evaluate_images`` asks for them: a run, several runs as one, and what to beat."""

from collections.abc import Callable

import numpy as np

from data_pipeline.command import UserError
from data_pipeline.pairs import Pair
from engine.predictor import Predictor
from engine.run import Run
from engine.selftraining.gain import network_without
from engine.views import allowed_views

from .baselines import fit_baselines
from .evaluation import Answer

Beside = dict[str, dict[str, Callable[[Pair, np.ndarray], np.ndarray]]]


def ways_of_run(run: Run, tta: str, batch_size: int) -> tuple[Callable[[Pair, np.ndarray], Answer], Beside]:
    """A run's network; beside it its baselines, and with test-time augmentation itself without."""
    views = allowed_views(tta, run.config["symmetry"], run.frame)
    model = run.model()
    predictor = Predictor(model, run.config["model"], run.frame, batch_size, views)

    def answer(pair: Pair, image: np.ndarray) -> Answer:
        return to_answer(predictor.probabilities(image))

    beside = {"baselines": of_images(fit_baselines(run))}
    if tta != "none":
        plain = Predictor(model, run.config["model"], run.frame, batch_size)
        beside["gain"] = of_images({"without_tta": plain})
    if others := network_without(run, batch_size, views):
        beside["gain"] = beside.get("gain", {}) | of_images(others)
    return answer, beside


def ways_of_ensemble(
    runs: dict[str, Run], tta: str, batch_size: int
) -> tuple[Callable[[Pair, np.ndarray], Answer], Beside]:
    """The mean of several runs' probabilities; beside it the first one's baselines, and each run alone."""
    members = {}
    for name, run in runs.items():
        views = allowed_views(tta, run.config["symmetry"], run.frame)
        members[name] = Predictor(run.model(), run.config["model"], run.frame, batch_size, views)
    alone: dict[str, np.ndarray] = {}  # each member's mask of the image that was asked for last

    def answer(pair: Pair, image: np.ndarray) -> Answer:
        each = {name: member.probabilities(image) for name, member in members.items()}
        alone.update({name: to_answer(probabilities).mask for name, probabilities in each.items()})
        return to_answer(sum(each.values()) / len(each))

    gain = {name: lambda pair, image, name=name: alone[name] for name in members}
    return answer, {"baselines": of_images(fit_baselines(next(iter(runs.values())))), "gain": gain}


def to_answer(probabilities: np.ndarray) -> Answer:
    return Answer(probabilities.argmax(-1).astype(np.uint8), probabilities)


def of_images(ways: dict[str, Callable]) -> dict[str, Callable]:
    """Functions of an image as functions of a pair and its image."""
    return {name: lambda pair, image, way=way: way(image) for name, way in ways.items()}


def refuse_strangers(runs: dict[str, Run], pairs: list[Pair]) -> None:
    """Raise a UserError where runs know different classes or images, or one was trained on a pair that is scored."""
    first = next(iter(runs.values()))
    kind = (first.encoding.names, first.pixel_range.dtype, first.pixel_range.channels)
    scored = {pair.image.resolve(): pair.stem for pair in pairs}
    for name, run in runs.items():
        if (run.encoding.names, run.pixel_range.dtype, run.pixel_range.channels) != kind:
            raise UserError(f"{name} was trained on other classes or another kind of images than {first.path.name}")
        trained = [pair.image.resolve() for pair in run.split.train]
        seen = [scored[image] for image in trained if image in scored]
        if seen:
            raise UserError(
                f"{name} was trained on {len(seen)} of these images, such as {seen[0]}: the score would be too "
                "optimistic. Name new images with --data; the folds of a cross-validation are scored together without "
                "--ensemble"
            )


def refuse_other_folds(runs: list[Run]) -> None:
    """Raise a UserError unless the runs are all folds of one cross-validation."""
    first, total = runs[0], runs[0].config["folds"]
    if total is None or any(run.config["folds"] != total for run in runs):
        raise UserError("these runs are no folds of one cross-validation; say --compare, --forecast or --ensemble")
    of_each = ("name", "fold")
    unlike = [
        key for key in first.config if key not in of_each and any(run.config[key] != first.config[key] for run in runs)
    ]
    if unlike or len({run.dataset["fingerprint"] for run in runs}) > 1:
        differ = ", ".join(unlike) or "their data"
        raise UserError(f"these folds differ in {differ}: they do not belong to one cross-validation")
    folds = sorted(run.config["fold"] for run in runs)
    if folds != list(range(total)):
        raise UserError(f"the folds 0 to {total - 1} are wanted, each once; these are {', '.join(map(str, folds))}")
