"""Training: model.compile, model.fit and the callbacks that leave a run's files."""

import math
import sys
import time

import keras
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import Encoding
from data_pipeline.files import write_atomically, write_csv

from .config import TrainConfig
from .confusion import iou
from .losses import PixelLoss
from .metrics import MeanIoU
from .pictures import plot_curves
from .run import Run

OPTIMIZERS = {
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.01),
    "rmsprop": lambda rate: keras.optimizers.RMSprop(rate, rho=0.9, epsilon=1e-6),
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
}

SCHEDULES = {
    "constant": lambda rate, steps: rate,
    "cosine": lambda rate, steps: keras.optimizers.schedules.CosineDecay(rate, steps),
}


def epochs_of(config: TrainConfig) -> tuple[int, int]:
    """Epochs, and steps in each; together at least config.steps."""
    epochs = math.ceil(config.steps / config.steps_per_epoch)
    return epochs, math.ceil(config.steps / epochs)


def fit(model, training, validation, config: TrainConfig, encoding: Encoding, run: Run) -> list[dict]:
    """Train; the best weights by validation mIoU end in the run's model.keras.

    Args:
        model: raw pixels → logits.
        training: endless batches (image, mask, weight).
        validation: finite batches, the same on every pass.
        config: steps, loss, optimizer, schedule, patience.
        encoding: the classes' names.
        run: where the files go.

    Returns:
        history.csv's rows.

    Raises:
        UserError: when the loss is no longer a number.
    """
    epochs, steps_per_epoch = epochs_of(config)
    rate = SCHEDULES[config.schedule](config.learning_rate, epochs * steps_per_epoch)
    trained = keras.Model(model.inputs, model.outputs)  # compiled; model itself is saved without that
    miou = MeanIoU(encoding.num_classes)
    trained.compile(
        optimizer=OPTIMIZERS[config.optimizer](rate),
        loss=PixelLoss(config.loss),
        weighted_metrics=[miou],
    )
    history = History(run, encoding, miou, epochs, steps_per_epoch)
    callbacks = [
        history,
        SaveBest(model, run),
        keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
    ]
    if config.patience:
        callbacks.append(keras.callbacks.EarlyStopping("val_miou", patience=config.patience, mode="max"))
    trained.fit(
        training,
        validation_data=validation,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=callbacks,
        shuffle=False,  # the batches are shuffled already
        verbose=0,
    )
    if len(history.rows) < epochs:
        print(f"stopped early: no better validation mIoU in {config.patience} validations (--patience)")
    return history.rows


class History(keras.callbacks.Callback):
    """history.csv and curves.png after each validation; progress on the terminal, a line an epoch when piped."""

    def __init__(self, run: Run, encoding: Encoding, miou: MeanIoU, epochs: int, steps_per_epoch: int):
        super().__init__()
        self.run, self.encoding, self.miou = run, encoding, miou
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.rows = []

    def on_train_begin(self, logs=None):
        self.started = time.monotonic()
        total = self.epochs * self.steps_per_epoch
        self.bar = tqdm(total=total, desc="training", unit="step", disable=None, file=sys.stderr)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", mIoU=f"{logs['miou']:.3f}", refresh=False)
        if not math.isfinite(logs["loss"]):
            step = len(self.rows) * self.steps_per_epoch + batch + 1
            raise UserError(
                f"the loss is {logs['loss']} since step {step}; the best weights so far, if any, are "
                f"{self.run.model_path}. Try a smaller --learning-rate"
                + (", or --precision float32" if keras.config.dtype_policy().name != "float32" else "")
            )

    def on_epoch_end(self, epoch, logs=None):
        step = (epoch + 1) * self.steps_per_epoch
        seconds = time.monotonic() - self.started
        row = {
            "epoch": epoch + 1,
            "step": step,
            "loss": logs["loss"],
            "miou": logs["miou"],
            "val_loss": logs["val_loss"],
            "val_miou": logs["val_miou"],
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": round(seconds, 1),
        }
        confusion = keras.ops.convert_to_numpy(self.miou.confusion)  # of the validation that just ended
        for name, value in zip(self.encoding.names, iou(confusion), strict=True):
            row[f"val_iou_{name}"] = value
        self.rows.append(row)
        write_csv(self.run.path / "history.csv", self.rows)
        plot_curves(self.rows, self.run.path / "curves.png")
        self.report(row, confusion)

    def report(self, row, confusion):
        left = row["seconds"] * (self.epochs / row["epoch"] - 1)
        line = (
            f"epoch {row['epoch']}/{self.epochs}  step {row['step']}  loss {row['loss']:.3f}  "
            f"mIoU {row['miou']:.3f}  val loss {row['val_loss']:.3f}  val mIoU {row['val_miou']:.3f}  "
            f"{duration(row['seconds'])}, about {duration(left)} left"
        )
        if (confusion.sum(0) > 0).sum() == 1:
            line += f"  (every pixel is predicted as {self.encoding.names[int(confusion.sum(0).argmax())]})"
        tqdm.write(line) if not self.bar.disable else print(line, flush=True)

    def on_train_end(self, logs=None):
        self.bar.close()


class SaveBest(keras.callbacks.Callback):
    """model.keras: the weights of the best validation mIoU so far."""

    def __init__(self, saved, run: Run):
        super().__init__()
        self.saved, self.run = saved, run
        self.best = -math.inf

    def on_epoch_end(self, epoch, logs=None):
        score = logs["val_miou"]
        if score > self.best or not self.run.model_path.exists():
            self.best = score if not math.isnan(score) else -math.inf
            with write_atomically(self.run.model_path) as temporary:
                self.saved.save(temporary)


def duration(seconds: float) -> str:
    """90 → "1.5 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
