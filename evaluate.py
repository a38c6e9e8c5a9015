#!/usr/bin/env python
"""Score a trained run, beside its baselines: metrics.json, per_image.csv, predictions, overlays, report.html."""

from data_pipeline.command import UserError, run_command
from engine.config import EvaluateConfig


def evaluate(config: EvaluateConfig) -> None:
    """A run and a split → runs/NAME/evaluation/SPLIT/."""
    from engine.baselines import fit_baselines
    from engine.predictor import Predictor
    from engine.report import write_report
    from engine.run import Run
    from engine.scores import evaluate as write_scores
    from engine.scores import table, verdict

    run = Run.open(config.run)
    name, pairs = choose_pairs(run, config)
    predictor = Predictor(run.model(), run.config["model"], run.frame, config.batch_size)
    baselines = fit_baselines(run.split.train, run.encoding, run.frame.size, run.config["seed"])
    folder = run.path / "evaluation" / name
    results = write_scores(predictor, baselines, pairs, run.encoding, name, folder)
    page = write_report(run, folder, results)
    print(f"{name}, {len(pairs)} images\n{table(results)}\n\n{verdict(results)}\nReport: {page}")


def choose_pairs(run, config: EvaluateConfig):
    """The evaluation's name, and the pairs to score."""
    from data_pipeline.check import inspect
    from data_pipeline.pairs import find_pairs

    if config.data is None:
        name = config.split or "test"
        pairs = run.split.part(name)
        if not pairs:
            others = [part for part in ("test", "val", "train") if run.split.part(part)]
            raise UserError(f"{run.path} has no {name} images; use --split {' or '.join(others)}")
        missing = [path for pair in pairs for path in (pair.image, pair.mask) if not path.is_file()]
        if missing:
            raise UserError(
                f"{missing[0]} is gone ({len(missing)} files in all); name the data set's new place with --data"
            )
        return name, pairs

    pairs, notes = find_pairs(config.data, config.mask_suffix)
    inspect(config.data, pairs, encoding=run.encoding)
    for note in notes:
        print(f"note: {note}")
    split = config.split or "all"
    if split != "all":
        pairs = [pair for pair in pairs if pair.split == split]
        if not pairs:
            raise UserError(f"{config.data} has no {split} part of its own; use --split all")
    return f"{config.data.resolve().stem}-{split}", pairs


if __name__ == "__main__":
    run_command(evaluate, EvaluateConfig, __doc__)
