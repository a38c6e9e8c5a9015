#!/usr/bin/env python
"""Score a trained run beside its baselines, compare runs, or referee the masks of any tool. Classifiers too.

A run's scores go to runs/NAME/evaluation/SPLIT/, or to --out: metrics.json, per_image.csv, predictions, overlays,
report.html.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

import dataclasses
import os
import shlex
from pathlib import Path

from data_pipeline.command import UserError, run_command
from engine.config import EvaluateConfig
from engine.usage import EVALUATE


def evaluate(config: EvaluateConfig) -> None:
    """Do what the flags ask for: score one run, several as one, several beside each other, or folders of masks."""
    config = config.checked()
    if config.out is not None and os.path.lexists(config.out):
        raise UserError(f"{config.out} exists, and nothing is overwritten; choose another --out, or remove it first")
    if config.predictions:
        referee(config)
    elif config.compare:
        compare_runs(config)
    elif config.forecast:
        forecast_runs(config)
    elif config.ensemble:
        evaluate_ensemble(config)
    elif len(config.runs) > 1:
        pool_folds(config)
    else:
        evaluate_run(config.runs[0], config)


def evaluate_run(path: Path, config: EvaluateConfig) -> None:
    """A run and a split → runs/NAME/evaluation/SPLIT/, or --out."""
    from engine.run import Run
    from engine.scoring.methods import ways_of_run

    if (opened := Run.open(path)).classifies:
        return evaluate_classifier(opened, config)
    run, name, data = choose_images(opened, config)
    target = config.out or run.evaluation_path(name if config.tta == "none" else f"{name}-{config.tta}")
    answer, beside = ways_of_run(run, config.tta, config.batch_size)
    facts = [f"{run.config['model']}, seed {run.config['seed']}, trained on {len(run.split.train)} images"]
    about = about_images(config, name, [run], data.pairs())
    examine(target, run.path.name, run, data, answer, beside, about, facts, config)


def evaluate_classifier(run, config: EvaluateConfig) -> None:
    """A classifier's run and a split → runs/NAME/evaluation/SPLIT/, or --out."""
    from data_pipeline.outputs import replace_folder
    from engine.reporting.class_report import write_class_report
    from engine.scoring.classifier_scores import evaluate_photos, results_of, table, write_evaluation
    from engine.scoring.evaluation import WRITTEN
    from engine.scoring.verdict import verdict

    run, name, photos = choose_photos(run, config)
    target = config.out or run.evaluation_path(name)
    about = about_images(config, name, [run], photos) | {"label_from_masks": run.config["label_from_masks"]}
    settings = run.config
    facts = [
        f"“{name}”, {len(photos)} images of {about['data']}",
        f"{settings['backbone']}, {settings['strategy']}, seed {settings['seed']}, "
        f"trained on {len(run.split.train)} images",
    ]
    facts += [f"labels from masks: {settings['label_from_masks']}"] if settings["label_from_masks"] else []
    facts += [opened_words(about["test_openings"])] if about["test_openings"] else []
    with replace_folder(target, WRITTEN) as folder:
        evaluation = evaluate_photos(run, photos, config.batch_size)
        results = results_of(evaluation, about)
        write_evaluation(folder, evaluation, results)
        write_class_report(folder / "report.html", run, evaluation, results, facts, photos)
    print(
        f"{name}, {len(photos)} images\n{table(results)}\n\n{verdict(results).text}\nReport: {target / 'report.html'}"
    )


def choose_photos(run, config: EvaluateConfig):
    """The run (at its data's new place, if that is what --data says), the evaluation's name, and its photos."""
    from data_pipeline.findings import print_findings, refuse_errors
    from data_pipeline.labels import find_photos, group_photos

    for_masks = {
        "--tta": config.tta != "none",
        "--void": bool(config.void),
        "--split-touching": config.split_touching,
        "--mask-suffix": config.mask_suffix,
    }
    for flag in [flag for flag, given in for_masks.items() if given]:
        raise UserError(f"{flag} is for segmentation networks; {run.path} is a classifier's")
    if own := own_part(run, config):
        run, name, photos = own
        return run, name, group_photos(photos, config.group_by) if config.group_by else photos
    if run.config["label_from_masks"]:
        raise UserError(f"--data {config.data}: another data set needs a folder for each class; this run's has masks")
    data = find_photos(config.data, config.group_by, to_train=False)
    refuse_errors(data.findings)
    print_findings(data.findings)
    return run, run.name_for(config.data, config.split or "all"), as_known(run, data, config)


def as_known(run, data, config: EvaluateConfig) -> list:
    """The photos of another data set with the run's numbers for their classes."""
    known = run.dataset["classes"]
    strange = [name for name in data.names if name not in known]
    if strange:
        raise UserError(
            f"{config.data}: the run does not know the classes {', '.join(strange)}; {', '.join(known)} are"
        )
    for photo in data.photos[:1]:
        run.pixel_range.refuse_other(photo.image, *data.kind)
    chosen = [photo for photo in data.photos if config.split in (None, "all", photo.split)]
    if not chosen:
        raise UserError(f"{config.data} has no {config.split or ''} images".replace("  ", " "))
    return [dataclasses.replace(photo, label=known.index(data.names[photo.label])) for photo in chosen]


def about_images(config: EvaluateConfig, name: str, runs: list, pairs: list) -> dict:
    """The head of metrics.json."""
    trained = {pair.image.resolve() for run in runs for pair in run.split.train}
    return {
        "split": name,
        "data": str(config.data or runs[0].dataset["root"]),
        "tta": config.tta,
        "split_touching": config.split_touching,
        "trained_on": sum(pair.image.resolve() in trained for pair in pairs),
        "test_openings": note_opening(config, name, runs),
    }


def note_opening(config: EvaluateConfig, name: str, runs: list) -> int | None:
    """Note in every run that its own test part is about to be scored, where it is; how often that happened."""
    own = config.data is None or config.data.resolve() == runs[0].root.resolve()
    if not own or name not in ("test", "all") or not runs[0].split.test:
        return None
    return max(run.open_test_part() for run in runs)


def opened_words(times: int) -> str:
    """Say how often the test part was scored, and what that means."""
    if times == 1:
        return "the test part was opened for the first time"
    return f"the test part was opened {times} times: if settings were chosen by it, its score is too optimistic"


def examine(target: Path, title: str, run, data, answer, beside, about: dict, facts: list[str], config) -> None:
    """Look at every image, write all files into ``target`` at once, and print the scores."""
    from data_pipeline.loader import read_pair
    from data_pipeline.outputs import replace_folder
    from engine.reporting.report import Album
    from engine.scoring.evaluation import WRITTEN, evaluate_images
    from engine.scoring.unlabelled import least_sure

    def read(pair):
        return read_pair(pair, data.encoding)

    with replace_folder(target, WRITTEN) as folder:
        evaluation = evaluate_images(
            read, answer, beside, data.pairs(), data.encoding, run.pixel_range, folder, config.split_touching
        )
        album = Album(
            data.pairs(), run.encoding, run.pixel_range, read, lambda stem: folder / "predictions" / f"{stem}.png"
        )
        own = config.data is None or config.data.resolve() == run.root.resolve()
        unlabelled = least_sure(run, answer) if own else None
        history = run.path / "history.csv"
        results = write_all(folder, title, evaluation, data.encoding, about, facts, album, history, unlabelled)
    print_scores(target, results)


def write_all(
    folder: Path, title: str, evaluation, encoding, about: dict, facts: list[str], album, history=None, unlabelled=None
) -> dict:
    """Write metrics.json, the tables and report.html; return what metrics.json holds."""
    from engine.reporting.report import write_report
    from engine.scoring.evaluation import results_of, write_evaluation

    results = results_of(evaluation, encoding, about)
    write_evaluation(folder, evaluation, results)
    void = ", ".join(encoding.show(value) for value in encoding.void) or "none"
    facts = [f"“{about['split']}”, {len(evaluation.stems)} images of {about['data']}", f"void: {void}", *facts]
    if about.get("tta", "none") != "none":
        facts.append(f"test-time augmentation: {about['tta']}")
    if about.get("test_openings"):
        facts.append(opened_words(about["test_openings"]))
    write_report(folder / "report.html", title, evaluation, results, facts, album, history, unlabelled)
    return results


def print_scores(target: Path, results: dict) -> None:
    from engine.scoring.verdict import show, table, verdict
    from engine.selftraining.gain import NAME, gain_in_words

    print(f"{results['split']}, {results['num_images']} images\n{table(results)}\n")
    for kind, words in (("gain", "over"), ("ceiling", "against")):
        for name, scores in results.get(kind, {}).items():
            if name == NAME:
                continue
            ends = scores["lead"]["miou_ci95"]
            shown = f"95% interval {ends[0]:+.3f} to {ends[1]:+.3f}" if ends else scores["lead"]["miou_ci95_note"]
            shown += ", too narrow, see below" if ends and results["neighbours_alike"] else ""
            lead = show(scores["lead"]["miou"], "+.3f")
            print(f"mIoU {lead} {words} {name.replace('_', ' ')} ({show(scores['miou'])}): {shown}")
    if (results.get("test_openings") or 0) > 1:
        print(opened_words(results["test_openings"]))
    print("\n".join(filter(None, [gain_in_words(results), verdict(results).text, f"Report: {target / 'report.html'}"])))


def own_part(run, config: EvaluateConfig):
    """The run (at its data's new place), the name and the images of the part of its own split that is asked for.

    None where --data is another data set.
    """
    moved = config.data and run.moved_to(config.data)
    if config.data is not None and not moved and config.data.resolve() != run.root.resolve():
        return None
    run, name = moved or run, config.split or "test"
    run.refuse_unfinished(name)
    images = run.split.part(name)
    if not images:
        others = [part for part in ("test", "val", "train") if run.split.part(part)]
        raise UserError(f"{run.path} has no {name} images; use --split {' or '.join(others)}")
    missing = [path for image in images for path in image.files if not path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]} is gone ({len(missing)} files in all); say with --data where the data set is now"
        )
    return run, name, images


def choose_images(run, config: EvaluateConfig):
    """The run (at its data's new place, if that is what --data says), the evaluation's name, and its images."""
    from data_pipeline.dataset import open_dataset
    from data_pipeline.findings import print_findings, refuse_errors
    from data_pipeline.inspection import inspect
    from data_pipeline.pairs import group

    if own := own_part(run, config):
        run, name, pairs = own
        pairs = group(pairs, config.group_by) if config.group_by else pairs
        data = inspect(None, pairs, config.void, run.encoding)
        refuse_errors(data.findings)
        return run, name, data

    split = config.split or "all"
    data = open_dataset(config, encoding=run.encoding, part=split)
    for facts in data.inspection.facts:
        run.pixel_range.refuse_other(facts.pair.image, facts.dtype, facts.channels)
    print_findings(data.findings)
    return run, run.name_for(config.data, split), data.inspection


def evaluation_folder(path: Path, config: EvaluateConfig) -> Path:
    """An evaluation that stands already, or the run's own of this split, made now where it is lacking."""
    from engine.run import Run
    from engine.scoring.evaluation import COUNTS_FILE

    if (path / COUNTS_FILE).is_file():
        return path
    run = Run.open(path)
    if config.data is None or config.data.resolve() == run.root.resolve() or run.moved_to(config.data):
        name = config.split or "test"
    else:
        name = run.name_for(config.data, config.split or "all")
    folder = run.path / "evaluation" / name
    if not (folder / COUNTS_FILE).is_file() or outdated(folder, run, config):
        print(f"{path}:")
        evaluate_run(path, dataclasses.replace(config, out=None))
    return folder


def outdated(folder: Path, run, config: EvaluateConfig) -> bool:
    """Return whether an evaluation was made without a --void that is asked for, or before the run's masks were
    changed."""
    from engine import schema
    from engine.scoring.evaluation import COUNTS_FILE

    known = schema.read(folder / "metrics.json", schema.METRICS).get("void", ())
    if config.void and (run.classifies or any(run.encoding.grey_in_json(value) not in known for value in config.void)):
        return True
    made = (folder / COUNTS_FILE).stat().st_mtime
    files = [path for pair in run.split.part("all") for path in pair.files]
    return any(path.is_file() and path.stat().st_mtime > made for path in files)


def compare_runs(config: EvaluateConfig) -> None:
    """Paired differences of several evaluations → --out."""
    from data_pipeline.files import write_json
    from data_pipeline.outputs import new_folder
    from engine.comparing.across_tasks import costs, curves, print_costs, same_decision
    from engine.comparing.compare import (
        classifies,
        compare,
        on_the_same_images,
        read_candidate,
        sentences,
        task_of,
    )
    from engine.reporting.duels import duels
    from engine.reporting.report import write_comparison
    from engine.scoring.task import LABELS
    from engine.scoring.verdict import brackets, show

    folders = {name: evaluation_folder(path, config) for name, path in names_of(config.runs).items()}
    candidates = [read_candidate(name, folder) for name, folder in folders.items()]
    rows = costs(candidates, folders)
    if len({classifies(candidate) for candidate in candidates}) > 1:
        candidates = same_decision(candidates, folders)
        task = LABELS
    else:
        task = task_of(candidates)
    candidates = on_the_same_images(candidates, config.group_by)
    results = compare(candidates, task) | {"costs": rows, "curves": curves(candidates, rows, task)}
    with new_folder(config.out) as folder:
        write_json(folder / "compare.json", results)
        write_comparison(folder / "report.html", results, duels(candidates, folders, task, config.data))
    print_costs(rows)
    score, words = task.score, task.words
    for name, scores in results["networks"].items():
        print(f"{name}: {words} {show(scores[score])}{brackets(scores[f'{score}_ci95'])}")
    print("\n".join(sentences(results)))
    print(f"Report: {config.out / 'report.html'}")


def forecast_runs(config: EvaluateConfig) -> None:
    """Runs with different numbers of training masks → the learning curve and where it leads → --out."""
    from data_pipeline.files import write_json
    from data_pipeline.outputs import new_folder
    from engine.comparing.compare import on_the_same_images, read_candidate
    from engine.comparing.learning_curve import learning_curve, training_counts
    from engine.reporting.report import write_forecast
    from engine.run import Run

    runs = names_of(config.runs)
    refuse_classifiers(map(Run.open, runs.values()), "--forecast")
    counts = training_counts(runs)
    candidates = on_the_same_images(
        [read_candidate(name, evaluation_folder(path, config)) for name, path in runs.items()]
    )
    results, ahead = learning_curve(candidates, counts)
    with new_folder(config.out) as folder:
        write_json(folder / "forecast.json", results)
        write_forecast(folder / "report.html", results, ahead)
    for row in results["runs"]:
        print(f"{row['masks']:6} masks: mIoU {row['miou']:.3f}  ({row['run']})")
    print(f"{results['words']}\nReport: {config.out / 'report.html'}")


def refuse_classifiers(runs, what: str) -> None:
    """Raise a UserError where one of the runs is a classifier's."""
    for run in runs:
        if run.classifies:
            raise UserError(
                f"{what} is for segmentation networks, and {run.path} is a classifier's; --compare takes both, and "
                "draws curves over the number of training images"
            )


def names_of(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Short names: of a run its folder's, of an evaluation RUN/SPLIT; whole paths where two would be called alike."""
    whole = [path.resolve() for path in paths]
    if len(set(whole)) < len(whole):
        raise UserError(f"{', '.join(map(str, paths))}: the same folder twice")
    short = [f"{path.parents[1].name}/{path.name}" if path.parent.name == "evaluation" else path.name for path in whole]
    names = short if len(set(short)) == len(short) else map(str, paths)
    return dict(zip(names, paths, strict=True))


def evaluate_ensemble(config: EvaluateConfig) -> None:
    """The mean of several runs' probabilities, beside each of them → --out."""
    from engine.run import Run
    from engine.scoring.methods import refuse_strangers, ways_of_ensemble

    runs = {name: Run.open(path) for name, path in names_of(config.runs).items()}
    refuse_classifiers(runs.values(), "--ensemble")
    if config.data:  # else the images that a run was trained on would not be known at their new place
        runs = {name: run.moved_to(config.data) or run for name, run in runs.items()}
    first, name, data = choose_images(next(iter(runs.values())), config)
    for run in runs.values():
        run.refuse_unfinished(name)
    refuse_strangers(runs, data.pairs())
    answer, beside = ways_of_ensemble(runs, config.tta, config.batch_size)
    facts = [f"the mean of {len(runs)} networks: {', '.join(runs)}"]
    about = about_images(config, name, list(runs.values()), data.pairs()) | {
        "ensemble": [str(path) for path in config.runs]
    }
    examine(config.out, f"{len(runs)} networks as one", first, data, answer, beside, about, facts, config)


def pool_folds(config: EvaluateConfig) -> None:
    """The folds of a cross-validation, each scored on its own test part, as one evaluation → --out."""
    from data_pipeline.loader import read_pair
    from data_pipeline.outputs import new_folder
    from engine.comparing.compare import regroup
    from engine.reporting.report import Album
    from engine.run import Run
    from engine.scoring.evaluation import Evaluation, pool
    from engine.scoring.methods import refuse_other_folds

    runs = [Run.open(path) for path in config.runs]
    refuse_classifiers(runs, "pooling folds")
    refuse_other_folds(runs)
    if config.data:
        runs = [run.moved_to(config.data) for run in runs]
        if not all(runs):
            raise UserError(
                f"--data {config.data}: folds are pooled on the data that they were made of, which this is not"
            )
    folder_of = {run.path: evaluation_folder(run.path, config) for run in runs}
    made = {pair.stem: folder_of[run.path] / "predictions" for run in runs for pair in run.split.test}
    first, pairs = runs[0], [pair for run in runs for pair in run.split.test]
    evaluation = pool([Evaluation.load(folder) for folder in folder_of.values()])
    evaluation = regroup(evaluation, config.group_by) if config.group_by else evaluation

    def read(pair):
        return read_pair(pair, first.encoding)

    album = Album(pairs, first.encoding, first.pixel_range, read, lambda stem: made[stem] / f"{stem}.png")
    about = {"split": f"{len(runs)} folds", "data": first.dataset["root"], "folds": [str(path) for path in folder_of]}
    facts = [
        f"{first.config['model']}, {len(runs)} folds: every image is scored once, by the network that did not see it",
        "intervals are over images; they do not say how far networks of other folds would differ",
    ]
    with new_folder(config.out) as folder:
        results = write_all(folder, f"{len(runs)} folds", evaluation, first.encoding, about, facts, album)
    print_scores(config.out, results)


def referee(config: EvaluateConfig) -> None:
    """Folders of predicted and true masks → --out."""
    from data_pipeline.findings import print_findings
    from data_pipeline.inspection import Meaning
    from data_pipeline.outputs import new_folder
    from engine.reporting.report import Album
    from engine.scoring.evaluation import evaluate_images
    from engine.scoring.referee import PICTURES, answer, open_case, ways_beside

    case = open_case(
        config.predictions,
        config.truth,
        config.images,
        config.second_annotator,
        config.void,
        config.group_by,
        config.mask_suffix,
        Meaning(config.one_class, config.names),
    )
    print_findings(case.findings)
    about = {"split": config.truth.name, "data": str(config.truth), "predictions": str(config.predictions)}
    facts = [f"predictions: {config.predictions}"]
    ways = (case.read, answer(case), ways_beside(case))
    with new_folder(config.out) as folder:
        evaluation = evaluate_images(*ways, case.pairs, case.encoding, PICTURES, folder, config.split_touching)
        album = Album(
            case.pairs, case.encoding, PICTURES, case.read, lambda stem: folder / "predictions" / f"{stem}.png"
        )
        results = write_all(folder, config.predictions.name, evaluation, case.encoding, about, facts, album)
    print_scores(config.out, results)
    print(f"To compare with a run: python evaluate.py RUN {shlex.quote(str(config.out))} --compare --out DIR")


if __name__ == "__main__":
    run_command(evaluate, EvaluateConfig, __doc__, usage=EVALUATE)
