#!/usr/bin/env python
"""Score a trained run beside its baselines: metrics.json, per_image.csv, predictions, overlays, report.html."""

from data_pipeline.command import UserError, run_command
from engine.config import EvaluateConfig, above_zero


def evaluate(config: EvaluateConfig) -> None:
    """A run and a split → runs/NAME/evaluation/SPLIT/."""
    from data_pipeline.files import replace_folder
    from engine.baselines import fit_baselines
    from engine.predictor import Predictor
    from engine.report import write_report
    from engine.run import Run
    from engine.scores import evaluate as write_scores
    from engine.scores import table, verdict

    above_zero(config, "batch_size")
    run = Run.open(config.run)
    run, name, data = choose_images(run, config)
    ways = {"model": Predictor(run.model(), run.config["model"], run.frame, config.batch_size)} | fit_baselines(run)
    target = run.path / "evaluation" / name
    about = {"split": name, "data": str(config.data or run.dataset["root"])}
    with replace_folder(target) as folder:
        results = write_scores(ways, data.pairs(), data.encoding, run.scale, about, folder)
        write_report(run, folder, results)
    print(f"{name}, {len(data.facts)} images\n{table(results)}\n\n{verdict(results)}\nReport: {target / 'report.html'}")


def choose_images(run, config: EvaluateConfig):
    """The run (at its data's new place, if that is what --data says), the evaluation's name, the images looked at."""
    from data_pipeline.findings import print_findings, refuse_errors
    from data_pipeline.inspection import inspect
    from data_pipeline.pairs import find_pairs

    void = () if config.void is None else (config.void,)
    moved = config.data and run.moved_to(config.data)
    if config.data is None or moved:
        run = moved or run
        name = config.split or "test"
        pairs = run.split.part(name)
        if not pairs:
            others = [part for part in ("test", "val", "train") if run.split.part(part)]
            raise UserError(f"{run.path} has no {name} images; use --split {' or '.join(others)}")
        missing = [path for pair in pairs for path in pair.files if not path.is_file()]
        if missing:
            raise UserError(
                f"{missing[0]} is gone ({len(missing)} files in all); say with --data where the data set is now"
            )
        data = inspect(None, pairs, void, run.encoding)
        refuse_errors(data.findings)
        return run, name, data

    pairs, findings = find_pairs(config.data, config.mask_suffix)
    split = config.split or "all"
    if split != "all":
        pairs = [pair for pair in pairs if pair.split == split]
        if not pairs:
            raise UserError(f"{config.data} has no {split} part of its own; use --split all")
    data = inspect(config.data, pairs, void, run.encoding)
    refuse_errors(findings + data.findings)
    for facts in data.facts:
        run.scale.refuse_other(facts.pair.image, facts.dtype, facts.channels)
    print_findings(findings + data.findings)
    return run, run.name_for(config.data, split), data


if __name__ == "__main__":
    run_command(evaluate, EvaluateConfig, __doc__)
