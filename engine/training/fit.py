"""Training: model.compile, model.fit and the callbacks that leave a run's files."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf
from tqdm import tqdm

from data_pipeline.files import write_atomically, write_csv
from engine.config import ClassifierConfig, TrainConfig
from engine.pictures import plot_curves
from engine.run import Run
from engine.scoring.task import Task

from . import told
from .metrics import METRICS
from .optimizers import swap_averages
from .resume import Hopeless, newest_state, restore, save_state, signals_wait

Config = TrainConfig | ClassifierConfig
COMPILED_FROM = 3000  # steps of a stage; what XLA saves in fewer does not pay for compiling (benchmarks/README.md)


@dataclass(frozen=True)
class Stage:
    """A stretch of training on batches of one kind.

    epochs, steps_per_epoch: an epoch is from one validation to the next, as history.csv counts them; once through all
        images is a pass (data_pipeline/samples.py).
    batches: the number of the first sample → endless batches, such as (image, mask, weight), from there on.
    names_of: the number of the first sample, how many → their images' names.
    optimizer: trainable variables → a built optimizer for this stage's steps.
    loss: of labels, logits and the batch's weight.
    validation: finite batches, the same on every pass.
    trained: the network → the Model that is compiled and trained. It shares the network's variables; the network
        itself is what is saved, and stays uncompiled.
    """

    epochs: int
    steps_per_epoch: int
    batches: Callable[[int], tf.data.Dataset]
    names_of: Callable[[int, int], list[str]]
    optimizer: Callable[[list], keras.optimizers.Optimizer]
    loss: keras.losses.Loss
    validation: tf.data.Dataset
    trained: Callable[[keras.Model], keras.Model] = lambda network: keras.Model(network.inputs, network.outputs)


def epochs_of(steps: int, steps_per_epoch: int) -> tuple[int, int]:
    """Epochs, and steps in each; together at least ``steps``."""
    epochs = math.ceil(steps / steps_per_epoch)
    return epochs, math.ceil(steps / epochs)


def fit(model, stages: list[Stage], task: Task, names: tuple[str, ...], config: Config, run: Run) -> list[dict]:
    """Train, from the run's newest state where there is one; the best weights by the task's score end in model.keras.

    A stage begins with the best weights of the one before, and an optimizer of its own. A stage that gets no better
    than those leaves no trace in model.keras.

    Args:
        model: raw pixels → logits.
        stages: one after the other.
        task: whose score is watched.
        names: the classes' names.
        config: patience, batch size and --xla; crop and precision for advice.
        run: where the files go.

    Returns:
        history.csv's rows.

    Raises:
        Hopeless: when the loss is no longer a number, or memory is short.
    """
    state = newest_state(run.resume_path, model.variables, columns(task, names))
    rows = state.rows if state else []
    if state:
        restore(model.variables, state.network)
    first = 0  # of the stage's rows
    for number, stage in enumerate(stages):
        scores = [score_of(row, task) for row in rows[first:]]
        done = rows_of_stage(scores, stage, config.patience)
        if not is_over(scores[:done], stage, config.patience):
            if number and not done:
                model.set_weights(run.model().get_weights())
            recorder = Recorder(model, run, rows, first, stage, task, names, config)
            fit_stage(stage.trained(model), stage, config, recorder, state.optimizer if done else None)
            done = len(rows) - first
        if done < stage.epochs:
            print(f"stopped early: no better validation {task.words} in {config.patience} validations (--patience)")
        first += done
    return rows


def columns(task: Task, names: tuple[str, ...]) -> list[str]:
    """Those of history.csv."""
    of_losses = ["loss", task.score, "val_loss", f"val_{task.score}"]
    return [
        "epoch",
        "step",
        *of_losses,
        "learning_rate",
        "seconds",
        *(f"val_{task.class_score}_{name}" for name in names),
    ]


def rows_of_stage(scores: list[float], stage: Stage, patience: int) -> int:
    """Return how many validations are a stage's own, of the scores of it and of those after it."""
    return next((n for n in range(len(scores) + 1) if is_over(scores[:n], stage, patience)), len(scores))


def is_over(scores: list[float], stage: Stage, patience: int) -> bool:
    """Return whether a stage's validations fill it, or were in vain for ``patience`` times."""
    in_vain = len(scores) - 1 - scores.index(max(scores)) if scores else 0
    return len(scores) >= stage.epochs or bool(patience and in_vain >= patience)


def score_of(row: dict, task: Task) -> float:
    score = row[f"val_{task.score}"]
    return -math.inf if math.isnan(score) else score


def best_in_words(rows: list[dict], task: Task) -> str:
    """Say which row of history.csv holds the weights that were kept, and how long training took."""
    best = max(rows, key=lambda row: score_of(row, task))  # the first of equal ones, as they were kept
    return (
        f"trained for {told.duration(rows[-1]['seconds'])}; model.keras holds the weights after epoch {best['epoch']}, "
        f"the best: val {task.words} {best[f'val_{task.score}']:.3f}"
    )


def fit_stage(trained, stage: Stage, config, recorder, optimizer_state) -> None:
    """One model.fit, from the recorder's last row on."""
    optimizer = stage.optimizer(trained.trainable_variables)
    if optimizer_state is not None:
        restore(optimizer.variables, optimizer_state)
    trained.compile(
        optimizer=optimizer,
        loss=stage.loss,
        weighted_metrics=[recorder.metric],  # of pixels with a weight; how much they weigh does not move the score
        jit_compile=jit_compile(config.xla, stage.epochs * stage.steps_per_epoch),
    )
    if trained.jit_compile:
        recorder.say("XLA compiles the step first, which can take minutes (--xla off does without)")
    samples_done = recorder.steps_done() * config.batch_size
    try:
        trained.fit(
            stage.batches(samples_done),
            validation_data=stage.validation,
            initial_epoch=len(recorder.rows) - recorder.first,
            epochs=stage.epochs,
            steps_per_epoch=stage.steps_per_epoch,
            callbacks=[recorder, keras.callbacks.TensorBoard(recorder.run.path / "tensorboard", write_graph=False)],
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        )
    except tf.errors.ResourceExhaustedError as error:
        raise Hopeless(told.out_of_memory(config, error)) from None
    finally:
        recorder.bar.close()


def jit_compile(xla: str, steps: int) -> bool | str:
    """Keras's setting for a stage of so many steps; its own "auto" compiles on one GPU."""
    if xla == "auto":
        return "auto" if steps >= COMPILED_FROM else False
    return xla == "on"


class Recorder(keras.callbacks.Callback):
    """After each validation: history.csv, curves.png, the best weights, the state to go on from, and a line to read.

    Args:
        model: to be saved; it shares its weights with the compiled one.
        rows: of history.csv so far; grows.
        first: where this stage's rows begin.
    """

    def __init__(self, model, run: Run, rows: list[dict], first: int, stage: Stage, task: Task, names, config: Config):
        super().__init__()
        self.saved, self.run, self.rows, self.first = model, run, rows, first
        self.stage, self.task, self.names, self.config = stage, task, names, config
        self.metric = METRICS[task.score](len(names))
        self.bar = tqdm(
            total=stage.epochs * stage.steps_per_epoch,
            initial=(len(rows) - first) * stage.steps_per_epoch,
            desc="training" if not first else "fine-tuning",
            unit="step",
            disable=None,
            file=sys.stderr,
        )

    def steps_done(self) -> int:
        return self.rows[-1]["step"] if self.rows else 0

    def on_train_begin(self, logs=None):
        self.started = time.monotonic()
        self.earlier = (len(self.rows), self.rows[-1]["seconds"] if self.rows else 0.0)
        self.compiled = None  # when the first step, which compiles, was done

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        self.compiled = self.compiled or time.monotonic()
        score = {self.task.words: f"{logs[self.task.score]:.3f}"}
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", **score, refresh=False)
        if not math.isfinite(logs["loss"]):
            step, size = self.steps_done() + batch + 1, self.config.batch_size
            names = self.stage.names_of((step - 1) * size, size)
            kept = self.run.model_path if self.rows else None
            raise Hopeless(told.no_number(logs["loss"], step, names, kept, self.config.precision))

    def on_test_begin(self, logs=None):
        # With --ema the averages are validated and saved; on_epoch_end gives the variables back. Else nothing happens.
        swap_averages(self.model.optimizer, self.model.trainable_variables)

    def on_epoch_end(self, epoch, logs=None):
        confusion = keras.ops.convert_to_numpy(self.metric.confusion)  # of the validation that just ended
        best = max(self.scores(), default=-math.inf)
        self.rows.append(self.row(logs, confusion))
        # The best of all stages; of equal ones the first; NaN is the worst.
        kept = self.scores()[-1] > best or not self.run.model_path.exists()
        with signals_wait():
            if kept:
                with write_atomically(self.run.model_path) as temporary:
                    self.saved.save(temporary)
            swap_averages(self.model.optimizer, self.model.trainable_variables)
            write_csv(self.run.path / "history.csv", self.rows)
            plot_curves(self.rows, self.task.score, self.task.words, self.run.path / "curves.png")
            # What training goes on from; if it is interrupted, the steps since then are done again.
            save_state(self.run.resume_path, self.rows, self.saved.variables, self.model.optimizer.variables)
        self.report(confusion, kept)
        self.model.stop_training = is_over(self.scores()[self.first :], self.stage, self.config.patience)

    def scores(self) -> list[float]:
        return [score_of(row, self.task) for row in self.rows]

    def row(self, logs, confusion) -> dict:
        values = [
            len(self.rows) + 1,
            self.steps_done() + self.stage.steps_per_epoch,
            *(logs[name] for name in ("loss", self.task.score, "val_loss", f"val_{self.task.score}")),
            float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            round(self.earlier[1] + time.monotonic() - self.started, 1),
            *self.task.scores_of_classes(confusion).tolist(),
        ]
        return dict(zip(columns(self.task, self.names), values, strict=True))

    def report(self, confusion, kept: bool = False):
        steps, planned = self.stage.steps_per_epoch, self.first + self.stage.epochs
        timed = (len(self.rows) - self.earlier[0]) * steps - 1
        in_each = (time.monotonic() - self.compiled) / max(timed, 1) * steps
        left = in_each * (planned - len(self.rows))
        self.say(told.validation(self.rows[-1], planned, left, kept, confusion, self.task, self.names))
        if warning := told.collapse(self.rows, self.task):
            self.say(warning)

    def say(self, line: str) -> None:
        tqdm.write(line) if not self.bar.disable else print(line, flush=True)
