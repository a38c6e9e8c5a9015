"""One training, from a data set and its settings to a run with a first score: the same way for masks and for labels."""

import shlex
import time

import keras
import tensorflow as tf

from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet
from data_pipeline.outputs import remove_folder
from engine.config import ClassifierConfig, TrainConfig
from engine.run import Run, config_json, environment
from engine.run_places import free_path
from engine.scoring.task import Task

from . import classifier, segmenter
from .cost import forget_peak, write_cost
from .fit import best_in_words, fit
from .resume import note_changes, resumable

WORK = {"masks": segmenter, "labels": classifier}  # what the two tasks do differently, by functions of the same names


def train_run(
    config: TrainConfig | ClassifierConfig,
    task: Task,
    dataset: DataSet,
    run: Run | None = None,
    plan: bool = True,
    score: bool = True,
    work=None,
) -> None:
    """Train a network: data, network, batches, training, first score.

    Args:
        config: the settings, with nothing left open (engine/defaults.py).
        task: what the network is for.
        dataset: opened with these settings.
        run: to go on with; None: a new one.
        plan: print what is about to happen.
        score: score the validation images at the end, beside the baselines, and name the next command. Without: the
            run is one of several, whose command does.
        work: the module that knows the task's own part; None: WORK's.
    """
    work = work or WORK[task.name]
    start_anew(config)

    # --- Data: what was read, how it is split, and what the network will see of it
    frames = work.frames(config, dataset)
    if plan:
        work.print_plan(config, dataset, frames)

    # --- Network: raw pixels in, logits out, on one device or copied to several
    strategy = strategy_for(config)
    with strategy.scope():
        model = work.network(config, dataset)
    if run:
        run.refuse_changed(work.dataset_json(run.root, dataset), dataset.split)
        note_changes(run.changes_of_environment(config.devices), config.deterministic)
    else:
        run = new_run(config, work, dataset, frames[-1])
    print(f"{config.network} with {model.count_params():,} parameters; the run is {run.path}", flush=True)

    with resumable(run.path, f"python {task.script} --resume {shlex.quote(str(run.whole))}"):
        # --- Batches: pairs are decoded, varied and weighed; images held out are as they are
        forget_peak()
        began = time.monotonic()
        stages = work.stages(config, dataset, model, frames)
        prepared = time.monotonic() - began

        # --- Training: model.fit; the best validation score decides which weights are kept
        with strategy.scope():
            print(f"training begins: a line after every {stages[0].steps_per_epoch} steps", flush=True)
            rows = fit(model, stages, task, dataset.names, config, run)
            print(best_in_words(rows, task), flush=True)
        write_cost(run, model, rows, lambda: work.label_bits(dataset), prepared, config.devices)

        # --- First score: on the validation images, beside what needs no network
        if score:
            print("scoring the validation images, and the baselines …", flush=True)
            words = work.first_score(run, config)
    remove_folder(run.resume_path)
    if not score:
        return
    split = "" if run.split.test else " --split val"
    print(
        f"\n{words}\n{run.path}/ holds model.keras (Keras loads it after import models; elsewhere: "
        f"docs/export.md), history.csv and curves.png. "
        f"Next: python evaluate.py {shlex.quote(str(run.path))}{split}"
    )


def start_anew(config: TrainConfig | ClassifierConfig) -> None:
    """Forget earlier networks of this process; set seed, arithmetic and determinism."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


def strategy_for(config: TrainConfig | ClassifierConfig) -> tf.distribute.Strategy:
    """Choose where the network lives: on the one device, or copied to every GPU, each taking a part of the batch.

    Raises:
        UserError: for a batch that cannot be shared out evenly.
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if config.devices == "one" or len(devices) == 1:
        return tf.distribute.get_strategy()
    if config.batch_size % len(devices):
        fitting = -(-config.batch_size // len(devices)) * len(devices)
        raise UserError(
            f"--batch-size {config.batch_size} cannot be shared out over {len(devices)} devices; use {fitting}"
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def new_run(config: TrainConfig | ClassifierConfig, work, dataset: DataSet, frame) -> Run:
    """The run's folder, with all that is known before the first step."""
    path = free_path(config.runs_dir, config.name, config.default_name)
    return Run.create(
        path,
        {
            "config.json": config_json(config.replace(name=path.name), frame),
            "dataset.json": work.dataset_json(config.root, dataset),
            "split.json": dataset.split.to_json(config.root),
            "environment.json": environment(config.devices),
        },
    )
