"""Runs with fewer and more training masks, as points of one learning curve."""

from pathlib import Path

from data_pipeline.command import UserError
from engine.run import Run
from engine.scoring import confusion

from .compare import NO_METHOD, Candidate
from .forecast import Forecast, forecast, words

NO_CURVE = (*NO_METHOD, "train_count")  # settings in which the runs of one curve may differ


def training_counts(runs: dict[str, Path]) -> dict[str, int]:
    """Return how many masks each run was trained on.

    Raises:
        UserError: for runs that differ in more than that and their seed.
    """
    opened = {name: Run.open(path) for name, path in runs.items()}
    settings = {name: {k: v for k, v in run.config.items() if k not in NO_CURVE} for name, run in opened.items()}
    first, *others = settings
    for other in others:
        unlike = [key for key, value in settings[first].items() if settings[other].get(key) != value]
        if unlike:
            flags = ", ".join(f"--{key.replace('_', '-')}" for key in unlike)
            raise UserError(f"{first} and {other} differ in {flags}: one curve wants runs that differ in --train-count")
    return {name: len(run.split.train) for name, run in opened.items()}


def learning_curve(candidates: list[Candidate], counts: dict[str, int]) -> tuple[dict, Forecast]:
    """forecast.json, and the forecast for twice the most masks.

    Raises:
        UserError: for runs too few to make a curve.
    """
    scores = [float(confusion.mean_iou(candidate.matrices.sum(0))) for candidate in candidates]
    masks = [counts[candidate.name] for candidate in candidates]
    try:
        ahead = forecast(masks, scores)
    except ValueError as error:
        raise UserError(f"--forecast: {error}") from None
    rows = sorted(zip(masks, scores, [candidate.name for candidate in candidates], strict=True))
    return {
        "runs": [{"run": name, "masks": count, "miou": score} for count, score, name in rows],
        "num_images": len(candidates[0].evaluation.stems),
        "forecast": {"masks": ahead.at, "miou": ahead.value, "miou_ci95": list(ahead.interval)},
        "gain": ahead.gain,
        "gain_ci95": list(ahead.gain_interval),
        "words": words(ahead),
    }, ahead
