"""The gain of unlabelled images: the student beside the network that was trained as long without them."""

from engine.predictor import Predictor
from engine.run import Run
from engine.scoring.verdict import sentence, signed
from engine.views import WHOLE

COMPARISON = "without"  # its folder in the run's
NAME = "same_steps_without_unlabelled"  # among the ways that metrics.json holds


def network_without(run: Run, batch_size: int, views=(WHOLE,)) -> dict[str, Predictor]:
    """By NAME the network that was trained as long as this run's without its unlabelled images; {} if there is none."""
    if not run.config.get("unlabelled"):
        return {}
    other = Run(run.path / COMPARISON)
    if not other.model_path.is_file():
        print(f"note: {other.path} is gone, so that what the unlabelled images brought is not measured")
        return {}
    return {NAME: Predictor(other.model(), other.config["model"], other.frame, batch_size, views)}


def gain_in_words(results: dict) -> str:
    """Say what the unlabelled images brought, with the interval, or warn that it was nothing; "" without any.

    results: content of metrics.json.
    """
    if NAME not in results.get("gain", {}):
        return ""
    lead = results["gain"][NAME]["lead"]
    value, ends, note = lead["miou"], lead["miou_ci95"], lead.get("miou_ci95_note")
    if value is None:
        return ""
    told = f"mIoU {signed(value)} beside the same number of steps without them"
    remedy = f"the network in {COMPARISON}/ of the run, which learnt from masks alone, is as good a choice"
    if ends is None:
        return f"Unlabelled images: {told}. {sentence(f'whether that is chance cannot be said ({note})')}"
    told += f" (95% interval {signed(ends[0])} to {signed(ends[1])})"
    if results.get("neighbours_alike"):
        told += ", an interval that is too narrow: neighbouring images score alike, as frames of a film do"
    if ends[1] < 0:
        return f"WARNING: the unlabelled images did harm: {told}. Use the network in {COMPARISON}/ of the run."
    if ends[0] <= 0:
        return f"WARNING: the unlabelled images brought nothing that is more than chance: {told}; {remedy}."
    return f"The unlabelled images brought {told}."
