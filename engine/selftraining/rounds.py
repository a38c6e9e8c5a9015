"""The three trainings of a self-training: teacher, comparison, student. An interrupted one goes on where it was."""

import shlex
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import keras

from data_pipeline.augment import preset
from data_pipeline.batches import endless_batches
from data_pipeline.dataset import DataSet
from data_pipeline.loader import Loader
from data_pipeline.mixed_samples import MixedSamples
from data_pipeline.pairs import Pair
from data_pipeline.samples import MaskSamples
from data_pipeline.weights import pixel_weights
from engine.config import TrainConfig
from engine.framing import Frame
from engine.predictor import Predictor
from engine.run import Run, workers_of
from engine.scoring.scores import judge, score
from engine.scoring.task import MASKS, Task
from engine.training import segmenter
from engine.training.fit import Stage
from engine.training.resume import resumable
from engine.training.train_run import new_run, train_run

from .gain import COMPARISON, gain_in_words, network_without
from .images import note_images, open_unlabelled
from .pseudo_labels import encoding_of_pseudo_labels, pseudo_label

TEACHER = "teacher"
AGAIN = 1 << 31  # sets the second round's draws apart from the first's


def train_with_unlabelled(
    config: TrainConfig, task: Task, dataset: DataSet, run: Run | None = None, score: bool = True
) -> None:
    """Train a teacher, the comparison without unlabelled images, and the student; with ``run``: what is still to do.

    The arguments are those of ``train_run``. Early stopping is the teacher's alone: the two that are compared take all
    of their steps.
    """
    images = open_unlabelled(config.unlabelled, dataset)
    run = run or new_run(config, segmenter, dataset, segmenter.frames(config, dataset)[-1])
    note_images(run, images)
    inner, whole = config.replace(unlabelled=None, runs_dir=run.path), {"patience": 0}

    print(f"self-training, 1 of 3: the teacher, on {len(dataset.split.train)} labelled images", flush=True)
    teacher = trained(inner.replace(name=TEACHER), {}, dataset, segmenter, plan=True)
    print("\nself-training, 2 of 3: as many steps more without the unlabelled images, to compare with", flush=True)
    trained(inner.replace(name=COMPARISON), whole, dataset, going_on(teacher))
    print(f"\nself-training, 3 of 3: as many steps with {len(images)} unlabelled images", flush=True)
    with resumable(run.path, f"python {task.script} --resume {shlex.quote(str(run.whole))}"):
        pairs = pseudo_label(run, teacher, config.unlabelled, list(images), config.batch_size)
    train_run(config.replace(**whole), task, dataset, run, plan=False, score=score, work=learning_from(pairs, teacher))


def trained(config: TrainConfig, changes: dict, dataset: DataSet, work, plan: bool = False) -> Run:
    """The run of these settings, trained now as far as it is not. changes: of the settings in training alone."""
    run = Run(config.runs_dir / config.name)
    if run.path.exists() and not run.resume_path.is_dir():
        print(f"{run.path} is trained already")
        return run
    if not run.path.exists():
        new_run(config, work, dataset, work.frames(config, dataset)[-1])
    train_run(config.replace(**changes), MASKS, dataset, Run.unfinished(run.path), plan=plan, score=False, work=work)
    return Run(run.path)


def going_on(teacher: Run) -> SimpleNamespace:
    """Training with masks (engine/training/segmenter.py) that begins with the teacher's weights, on new draws."""
    changes = {"network": partial(network, teacher), "stages": stages}
    return SimpleNamespace(**vars(segmenter) | changes)


def learning_from(pairs: list[Pair], teacher: Run) -> SimpleNamespace:
    """The same, where every second image of a batch is one of the pseudo-labelled ``pairs``."""
    changes = {"stages": partial(mixed_stages, pairs), "first_score": first_score}
    return SimpleNamespace(**vars(going_on(teacher)) | changes)


def network(teacher: Run, config: TrainConfig, dataset: DataSet) -> keras.Model:
    """The network that the settings ask for, with the teacher's weights."""
    model = segmenter.network(config, dataset)
    model.set_weights(teacher.model().get_weights())
    return model


def stages(config: TrainConfig, dataset: DataSet, model: keras.Model, frames: list[Frame]) -> list[Stage]:
    """The stages of ``segmenter.stages``, with other draws of order and augmentation than the teacher had.

    A pretrained encoder, which was fine-tuned in the teacher, goes on at that rate, and is not frozen again.
    """
    on = {"frozen_steps": 0, "learning_rate": config.finetune_rate} if config.frozen_steps else {}
    return segmenter.stages(config.replace(seed=config.seed ^ AGAIN, **on), dataset, model, frames)


def mixed_stages(
    pairs: list[Pair], config: TrainConfig, dataset: DataSet, model: keras.Model, frames: list[Frame]
) -> list[Stage]:
    """The same stages on batches whose every second image is pseudo-labelled and strongly augmented.

    Without pseudo-labels they are the labelled images alone.
    """
    planned = stages(config, dataset, model, frames)
    if not pairs:
        return planned
    of_classes = dataset.inspection.class_weights(dataset.split.train, config.class_weights)
    weigh = partial(pixel_weights, class_weights=of_classes, border=config.border_weights)
    labelled = segmenter.training_loader(dataset, frames[0])
    unlabelled = Loader(pairs, encoding_of_pseudo_labels(dataset.encoding), frames[0].size)

    def mixed(stage: Stage, frame: Frame) -> Stage:
        light = segmenter.policy_of(config, dataset, frame)
        strong = preset("strong", config.symmetry, frame.tile, frame.margin, dataset.pixel_range)
        kinds = [
            MaskSamples(load, policy, weigh, config.seed ^ AGAIN)
            for load, policy in ((labelled, light), (unlabelled, strong))
        ]
        samples = MixedSamples(*kinds)
        workers = workers_of(config.workers)
        return replace(
            stage,
            batches=lambda first: endless_batches(samples, config.batch_size, first, workers),
            names_of=samples.names,
        )

    return [mixed(stage, frame) for stage, frame in zip(planned, frames, strict=True)]


def first_score(run: Run, config: TrainConfig) -> str:
    """The student's score on the validation images in words, and what the unlabelled images brought there."""
    ways = {"model": Predictor(run.model(), config.model, run.frame, config.batch_size)}
    scored = score(ways | network_without(run, config.batch_size), run.split.val, run.encoding)
    groups = [pair.group for pair in run.split.val]
    results = judge(scored.pop("model"), {"gain": scored}, groups, run.encoding.names, MASKS)
    return f"{segmenter.first_score(run, config)}\n{gain_in_words(results)}"
