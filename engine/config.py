"""Every setting of every script, with its default: the flags are made from these classes.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from data_pipeline.command import UserError, parse_size

ModelName = Literal["unet", "unet_original", "unet_blog", "fc_densenet56", "fc_densenet67", "fc_densenet103"]


@dataclass(frozen=True)
class TrainConfig:
    data: Path | None = None
    """Folder with images and masks, or a CSV (image,mask[,split][,group]). Without it: golfscape, generated
    into data/golfscape."""
    model: ModelName = "unet"
    """Network."""
    name: str | None = None
    """Name of the run's folder. Default: data set and model, numbered where that is taken."""
    runs_dir: Path = Path("runs")
    """Where runs are kept."""

    steps: int = 2000
    """Batches to train on, in all (rounded up to whole epochs)."""
    steps_per_epoch: int = 50
    """Batches between two validations."""
    batch_size: int = 8
    """Images in a batch."""
    patience: int = 20
    """Stop after this many validations without a better mIoU; 0: never."""

    size: str | None = None
    """HxW: resize whole images to this height and width. Scores are still at the masks' own resolution."""
    crop: int | None = None
    """Train on N×N crops at native resolution. Default: whole images up to 320×320 pixels' area, where all
    have one size; crops of 256 otherwise."""
    augment: Literal["none", "light", "standard", "strong", "unet2015", "tiramisu"] = "standard"
    """How far training images are varied; or exactly as the papers say."""
    symmetry: Literal["auto", "none", "horizontal", "d4"] = "auto"
    """Flips and turns that leave the task as it is: horizontal (street scenes), d4 (tiles from above,
    slides). auto: horizontal; d4 for golfscape."""

    loss: Literal["ce", "dice", "ce+dice"] = "ce+dice"
    """Cross-entropy, soft Dice, or their sum."""
    class_weights: Literal["none", "median_frequency"] = "none"
    """Weigh rare classes up, by the training masks' frequencies."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """Optimizer."""
    learning_rate: float = 1e-3
    """Learning rate at the start."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate over the steps: to zero along a half cosine, or constant."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Arithmetic; mixed_float16 is for NVIDIA GPUs with tensor cores."""

    void: int | None = None
    """Mask value on disk that never counts (unlabelled), beside those in classes.json."""
    mask_suffix: str = ""
    """What a mask's name has after its image's name: _mask."""
    group_by: str | None = None
    """Regular expression: images whose names match it with the same text stay in one part of the split."""
    folds: int | None = None
    """Cross-validation: split into K folds, of which --fold is the test part."""
    fold: int | None = None
    """With --folds K: which fold, 0 to K−1."""
    train_count: int | None = None
    """Train on N of the training images only; smaller subsets lie inside larger ones."""
    split_seed: int = 0
    """Seed of the split alone: runs that are to be compared keep it."""
    seed: int = 0
    """Seed of weights, shuffling and augmentation."""
    deterministic: bool = False
    """Two runs with one seed give the same bytes (slower on a GPU)."""

    def checked(self) -> "TrainConfig":
        """Itself, if its numbers make sense.

        Raises:
            UserError: naming the flag.
        """
        above_zero(self, "steps", "steps_per_epoch", "batch_size", "crop", "train_count", "learning_rate")
        if self.patience < 0:
            raise UserError(f"--patience {self.patience}: 0 or more is wanted")
        for flag, seed in (("--seed", self.seed), ("--split-seed", self.split_seed)):
            if not 0 <= seed < 2**32:
                raise UserError(f"{flag} {seed}: 0 to {2**32 - 1} is wanted")
        if self.size and self.crop:
            raise UserError(
                "--size shrinks whole images and --crop cuts them at native resolution: give one of the two"
            )
        if (self.folds is None) != (self.fold is None):
            raise UserError(f"--folds {self.folds} --fold {self.fold}: give both; each fold is a run of its own")
        if self.name is not None and not re.fullmatch(r"[\w][\w.+-]*", self.name):
            raise UserError(f"--name {self.name!r}: letters, digits, '_', '-', '.' and '+' are wanted")
        parse_size(self.size)
        return self

    def replace(self, **changes) -> "TrainConfig":
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class EvaluateConfig:
    runs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN…")]] = ()
    """Folder of a run. Several: the folds of one cross-validation, pooled; or what a flag below says."""
    split: Literal["test", "val", "train", "all"] | None = None
    """Which images to score. Default: test; of another data set, all."""
    data: Path | None = None
    """Score another data set with the same classes; or say where the run's own has moved to."""
    mask_suffix: str = ""
    """With --data: what a mask's name has after its image's name."""
    void: int | None = None
    """Mask value on disk that never counts, beside those of the run."""
    group_by: str | None = None
    """Regular expression: images whose names match it with the same text (a film, a patient) are one group, and
    error bars are drawn from groups. Default: the groups that the run was trained with."""
    tta: Literal["none", "flips", "d4"] = "none"
    """Test-time augmentation: average over mirrored (and, d4, turned) views, within the run's --symmetry."""
    split_touching: bool = False
    """Object F1: cut touching objects of one class apart by watershed. Without it, what touches is one object."""

    compare: bool = False
    """Differences between several runs (or evaluation folders) on the same images, with error bars."""
    forecast: bool = False
    """Would more masks help? From runs with different --train-count."""
    ensemble: bool = False
    """Average the probabilities of several runs."""
    predictions: Path | None = None
    """Referee: a folder of masks that any tool predicted, named like those in --truth."""
    truth: Path | None = None
    """Referee: the folder of true masks."""
    images: Path | None = None
    """Referee: the folder of images, for the pictures alone."""
    second_annotator: Path | None = None
    """Referee: a folder of masks by another annotator: how far people agree."""
    out: Path | None = None
    """Where to write what does not belong to one run."""

    batch_size: int = 8
    """Tiles that the network takes at a time."""

    def checked(self) -> "EvaluateConfig":
        """Itself, if its flags go together.

        Raises:
            UserError: naming the flags.
        """
        above_zero(self, "batch_size")
        referee = self.predictions is not None or self.truth is not None
        ways = [name for name in ("compare", "forecast", "ensemble") if getattr(self, name)] + ["predictions"] * referee
        if len(ways) > 1:
            raise UserError(f"--{ways[0]} and --{ways[1]}: give one of the two")
        if referee and (self.predictions is None or self.truth is None):
            raise UserError("--predictions and --truth: give both folders")
        if referee and (self.runs or self.data or self.split or self.tta != "none"):
            raise UserError("--predictions: scores folders of masks; it takes no run, --data, --split or --tta")
        if not referee and (self.images or self.second_annotator):
            raise UserError("--images and --second-annotator belong to --predictions and --truth")
        if self.mask_suffix and not self.data:
            raise UserError("--mask-suffix belongs to --data: the names in a run's own data set are known")
        if not referee and not self.runs:
            raise UserError("name a run: python evaluate.py runs/NAME (or --predictions DIR --truth DIR --out DIR)")
        if ways and not referee and len(self.runs) < 2:
            raise UserError(f"--{ways[0]}: two runs at least are wanted")
        if len(self.runs) > 1 and not ways and (self.split not in (None, "test") or self.tta != "none"):
            raise UserError("several runs are pooled as folds, each on its own test part: leave --split and --tta out")
        if self.tta != "none" and (self.compare or self.forecast):
            raise UserError("--tta: evaluate the runs with it one by one; --compare takes evaluation folders too")
        if (bool(ways) or len(self.runs) > 1) != (self.out is not None):
            raise UserError(
                "--out DIR: say where to write what belongs to no single run"
                if self.out is None
                else f"--out {self.out}: the scores of a run are written into its own folder; leave --out out"
            )
        return self


@dataclass(frozen=True)
class PredictConfig:
    run: Positional[Path]
    """Folder of the run."""
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGES…")]]
    """Image files, or folders of them."""
    out: Path
    """Where to write STEM.png (class indices, as a palette PNG), STEM_overlay.png, and uncertainty.csv, which says
    what to label next."""
    batch_size: int = 8
    """Tiles that the network takes at a time."""
    overwrite: bool = False
    """Replace masks that are there already."""


def above_zero(config, *flags: str) -> None:
    """Raise UserError for a number that is not above zero."""
    for flag in flags:
        value = getattr(config, flag)
        if value is not None and not value > 0:
            raise UserError(f"--{flag.replace('_', '-')} {value}: a number above 0 is wanted")
