"""Every setting of every script, with its default: the flags are made from these classes.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import dataclasses
import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from data_pipeline.command import UserError, parse_size, refuse_numbers
from data_pipeline.source import Source

from .recipes import RECIPES
from .spreading import Machines

ModelName = Literal[
    "unet",
    "unet_original",
    "unet_blog",
    "unet_mobilenet_v2",
    "unet_resnet50",
    "fc_densenet56",
    "fc_densenet67",
    "fc_densenet103",
]
MOST_AT_A_TIME = 4096  # images
MOST_WORKERS = 256
OF_MACHINES = ("jobs", "cluster")  # flags that say who trains several runs: they change nothing of a run, nor its files
LOSS_TERMS = (
    *("ce", "focal"),
    *("dice", "jaccard", "tversky", "lovasz"),
    *("dice_per_image", "jaccard_per_image", "tversky_per_image", "lovasz_per_image"),
)


@dataclass(frozen=True, kw_only=True)
class Several:
    """Flags that say who trains several runs of one command."""

    jobs: int = 1
    """Train so many of several runs side by side, a process each: --folds, or a classifier's --strategy all. They
    become what they would be one after another."""
    cluster: str = ""
    """A cluster that trains several runs: dask://HOST:PORT or ray:auto. All machines share the folders of data and
    runs, see docs/scale.md."""

    @property
    def machines(self) -> Machines:
        """Return who trains.

        Raises:
            UserError: for machines that cannot be.
        """
        return Machines(self.jobs, self.cluster)

    def refuse_other_flags(self) -> None:
        """Raise a UserError for flags beside --resume, but for these."""
        if self.replace(resume=None, **{name: getattr(type(self), name) for name in OF_MACHINES}) != type(self)():
            raise UserError("--resume takes no other flag: the run goes on with the settings that it began with")

    def check_machines(self, several: bool, asked: str) -> None:
        """Raise a UserError for machines that cannot be, or that one run has no use for; asked: how several are."""
        if not self.machines.is_one and not several:
            raise UserError(f"--jobs and --cluster are for several runs: {asked}; leave them out")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Source, Several):
    recipe: Literal["default", "blog", "unet2015", "tiramisu"] = "default"
    """Defaults of the other flags, ours or as a paper has them. Flags beside it win; see --recipe NAME --help."""
    resume: Path | None = None
    """Go on with the interrupted run in this folder. Takes no other flag."""
    data: Path | None = None
    """Folder with images and masks, or a CSV with the columns image,mask[,split][,group]. Without it: golfscape,
    generated into data/golfscape."""
    model: ModelName = "unet"
    """The network."""
    norm: Literal["batch", "group", "none", "batch_statistics"] | None = None
    """Normalisation. Default: the network's own. batch_statistics: those of the batch at all times (Tiramisu)."""
    weights: str | None = None
    """Pretrained encoder weights (unet_mobilenet_v2, unet_resnet50): imagenet (default, downloaded), none, or a
    file."""
    one_logit: bool = False
    """Two classes as one sigmoid logit, in place of a softmax over two."""
    name: str | None = None
    """Name of the run's folder. Default: data set and model, with a number if that is taken."""
    runs_dir: Path = Path("runs")
    """Where runs are kept."""
    unlabelled: Path | None = None
    """Folder of images without masks to learn from too (self-training). Three trainings of --steps each; the report
    says what it brought."""

    steps: int = 2000
    """Batches to train on, rounded up to whole epochs."""
    steps_per_epoch: int = 50
    """Batches between two validations."""
    batch_size: int = 8
    """Images in a batch."""
    patience: int = 20
    """Stop after this many validations without a better mIoU; 0: never."""

    size: str | None = None
    """Resize whole images to this height and width. Scores are still at the masks' own resolution."""
    crop: int | None = None
    """Train on N×N crops. At native resolution, or after --size. Default: whole images up to 320×320 pixels' area,
    where all have one size; crops of 256 otherwise."""
    augment: Literal["none", "light", "standard", "strong", "unet2015", "tiramisu"] = "light"
    """Strength of the augmentation. unet2015 and tiramisu: as in the papers."""
    symmetry: Literal["auto", "none", "horizontal", "d4"] = "auto"
    """Flips and turns that leave the task as it is. horizontal: street scenes; d4: tiles from above, slides. auto:
    horizontal; d4 for golfscape."""

    loss: str = "ce+dice"
    """ce (cross-entropy), focal, dice, jaccard, tversky, lovasz, or a sum such as ce+dice. The last four are taken over
    the whole batch; dice_per_image and so on: over each image."""
    class_weights: Literal["none", "median_frequency"] = "none"
    """Weigh rare classes up. By the frequencies of the training masks."""
    border_weights: bool = False
    """Weigh the gaps between close objects up, as U-Net's paper does (w0 = 10, σ = 5 pixels)."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """Optimizer."""
    learning_rate: float = 1e-3
    """Learning rate at the start."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: float | None = None
    """Decoupled weight decay, on kernels alone (no bias, no normalisation). Default: 0.01 for adamw, else none."""
    clip_norm: float | None = None
    """Scale gradients down to this norm, over all weights, where they are larger."""
    ema: float | None = None
    """Validate and save an exponential moving average of the weights, with this momentum: 0.99."""
    schedule: Literal["cosine", "constant", "exponential"] = "cosine"
    """Learning rate over the steps: to zero along a half cosine, constant, or times 0.995 after each pass over the
    training images."""
    frozen_steps: int = 0
    """Pretrained encoder: so many of --steps train the decoder alone, first; then all trains, at --finetune-rate."""
    warmup_steps: int = 0
    """With cosine: rise from zero to the learning rate over so many steps first."""
    finetune_steps: int = 0
    """A second stage: so many steps more on whole images, from the best weights of the first (Tiramisu)."""
    finetune_rate: float = 1e-4
    """Learning rate of that stage, constant; and after --frozen-steps, by --schedule."""

    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Arithmetic. mixed_float16 is for NVIDIA GPUs with tensor cores."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile the training step; auto: on one GPU, for 3,000 steps or more."""
    workers: int | Literal["auto"] = "auto"
    """Processes that make the batches, which are the same with any number; 0: threads. auto: some beside a GPU."""
    devices: Literal["one", "all"] = "one"
    """all: every GPU of this machine, each taking a part of the batch."""

    folds: int | None = None
    """K-fold cross-validation. Trains K networks, each tested on another part, into runs/NAME/fold-0 to fold-(K−1)."""
    fold: int | None = None
    """With --folds K: train this one alone, 0 to K−1."""
    train_count: int | None = None
    """Train on N of the training images only. Smaller subsets lie inside larger ones."""
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
        if self.resume is not None:
            self.refuse_other_flags()
        refuse_numbers(self)
        above_zero(self, "steps", "steps_per_epoch", "batch_size", "crop", "train_count", "folds")
        above_zero(self, "learning_rate", "finetune_rate", "clip_norm")
        for flag in ("patience", "warmup_steps", "finetune_steps", "frozen_steps", "weight_decay"):
            if (getattr(self, flag) or 0) < 0:
                raise UserError(f"--{flag.replace('_', '-')} {getattr(self, flag)}: 0 or more is wanted")
        for flag in ("momentum", "ema"):
            if not 0 <= (getattr(self, flag) or 0) < 1:
                raise UserError(f"--{flag} {getattr(self, flag)}: 0 to 1, such as 0.99, is wanted")
        for term in self.loss.split("+"):
            if term not in LOSS_TERMS:
                raise UserError(f"--loss {self.loss}: {term!r} is none of {', '.join(LOSS_TERMS)}, or a sum of them")
        if self.warmup_steps and self.schedule != "cosine":
            raise UserError(f"--warmup-steps belongs to --schedule cosine; this is {self.schedule}")
        if self.warmup_steps >= self.steps:
            raise UserError(f"--warmup-steps {self.warmup_steps}: fewer than --steps {self.steps} are wanted")
        if self.frozen_steps > self.steps:
            raise UserError(f"--frozen-steps {self.frozen_steps}: at most --steps {self.steps} are wanted")
        if 0 < self.frozen_steps <= self.warmup_steps:
            few = f"fewer than the {self.frozen_steps} of --frozen-steps are wanted"
            raise UserError(f"--warmup-steps {self.warmup_steps}: {few}")
        if self.unlabelled is not None and self.folds is not None and self.fold is None:
            raise UserError("--unlabelled trains one network; name one fold with --fold, or leave --folds out")
        if self.fold is not None and self.folds is None:
            raise UserError(f"--fold {self.fold}: say with --folds into how many parts the data set is split")
        self.check_machines(self.resume is not None or (self.folds is not None and self.fold is None), "--folds")
        check_batch_size(self)
        check_workers(self.workers)
        check_seeds_and_name(self)
        parse_size(self.size)
        return self

    @property
    def network(self) -> str:
        return self.model

    @property
    def default_name(self) -> str:
        """Name of the run's folder, if the user chose none."""
        return f"{self.title}-{self.model}"

    def replace(self, **changes) -> "TrainConfig":
        return dataclasses.replace(self, **changes)


def recipe_config(recipe: str = "default", /, **changes) -> TrainConfig:
    """The settings of a recipe, with changes."""
    return TrainConfig(**{"recipe": recipe} | RECIPES[recipe] | changes)


def recipe_named(arguments: list[str]) -> TrainConfig:
    """The recipe that a command line names, whose settings are then the defaults of its flags."""
    named = [argument.removeprefix("--recipe=") for argument in arguments if argument.startswith("--recipe=")]
    named += [after for flag, after in pairwise(arguments) if flag == "--recipe"]
    return recipe_config(named[-1] if named and named[-1] in RECIPES else "default")


BackboneName = Literal["mobilenet_v2", "resnet50", "efficientnet_v2_b0", "unet_encoder", "small_cnn"]
STRATEGIES = ("scratch", "frozen", "finetune")
OF_MASKS = ("images", "masks", "image_name", "mask_name", "mask_suffix", "one_class", "classes", "void")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Source, Several):
    strategy: Literal["scratch", "frozen", "finetune", "all"] = "finetune"
    """What is trained, and from which weights. scratch: all, from random ones. frozen: a new last layer on a pretrained
    encoder. finetune: that first, then the encoder too, at a low rate. all: the three, one after the other."""
    resume: Path | None = None
    """Go on with the interrupted run in this folder. Takes no other flag."""
    data: Path | None = None
    """Folder with a folder of images for each class. Or train/, validation/ and test/ of such folders; or, with
    --label-from-masks, what train.py takes."""
    label_from_masks: str | None = None
    """Read labels off the masks of a segmentation data set: largest, presence:CLASS or centre. The foreground class
    with most pixels; whether CLASS is there; or, of tiles, the class of the centre pixel."""
    tile: int | None = None
    """With --label-from-masks centre: height and width of a tile, in pixels. Default: 64."""
    backbone: BackboneName = "mobilenet_v2"
    """Encoder: of keras.applications, U-Net's contracting path, or a small one of our own."""
    weights: str | None = None
    """Pretrained encoder weights, unless trained from scratch: imagenet (default, downloaded), or a file; for
    unet_encoder the model.keras of a U-Net."""
    name: str | None = None
    """Name of the run's folder. Default: data set, encoder and strategy, with a number if that is taken."""
    runs_dir: Path = Path("runs")
    """Where runs are kept."""

    steps: int = 1000
    """Batches to train on, rounded up to whole epochs."""
    head_steps: int | None = None
    """With finetune: how many of them train the last layer alone, first. Default: half."""
    steps_per_epoch: int = 50
    """Batches between two validations."""
    batch_size: int = 16
    """Images in a batch."""
    patience: int = 20
    """End a stage after this many validations without a better accuracy; 0: never."""

    size: str | None = None
    """Resize images to this height and width, whatever their shape. Default: their own where they all have one, of
    at most 320×320 pixels' area; else 224x224."""
    augment: Literal["none", "light", "standard", "strong"] = "light"
    """Strength of the augmentation."""
    symmetry: Literal["none", "horizontal", "d4"] = "horizontal"
    """Flips and turns that leave an image's label as it is."""
    cache_features: bool = False
    """Ask the frozen encoder once for each image. The last layer trains on its answers: many times faster, but it sees
    no augmentation."""

    learning_rate: float | None = None
    """Adam's learning rate at the start; to zero along a half cosine. Default: 0.001 from scratch, 0.003 of the last
    layer alone."""
    finetune_rate: float = 1e-4
    """The same, for the second stage of finetune."""
    unfreeze: str = "all"
    """What fine-tuning trains of the encoder: all, or from the layer on whose name begins so, such as block_13. Batch
    normalisation stays as it is."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Arithmetic. mixed_float16 is for NVIDIA GPUs with tensor cores."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile the training step; auto: on one GPU, for 3,000 steps or more."""
    workers: int | Literal["auto"] = "auto"
    """Processes that make the batches, which are the same with any number; 0: threads. auto: some beside a GPU."""

    train_count: int | None = None
    """Train on N of the training images only. Smaller subsets lie inside larger ones, as those of train.py."""
    train_per_class: int | None = None
    """Train on N images of each class only. On all, if a class has fewer; smaller subsets lie inside larger ones."""
    split_seed: int = 0
    """Seed of the split alone, as in train.py: runs that are to be compared keep it."""
    seed: int = 0
    """Seed of weights, shuffling and augmentation."""
    deterministic: bool = False
    """Two runs with one seed give the same bytes (slower on a GPU)."""

    def checked(self) -> "ClassifierConfig":
        """Itself, if its settings make sense.

        Raises:
            UserError: naming the flag.
        """
        if self.resume is not None:
            self.refuse_other_flags()
            return self
        self.check_machines(self.strategy == "all", "--strategy all")
        if self.data is None:
            raise UserError("--data DIR: say where the images are (a folder for each class, or see --label-from-masks)")
        refuse_numbers(self)
        above_zero(self, "steps", "head_steps", "steps_per_epoch", "batch_size", "tile")
        above_zero(self, "train_count", "train_per_class", "learning_rate", "finetune_rate")
        if self.patience < 0:
            raise UserError(f"--patience {self.patience}: 0 or more is wanted")
        if self.head_steps is not None and (self.strategy not in ("finetune", "all") or self.head_steps >= self.steps):
            raise UserError(f"--head-steps {self.head_steps}: with finetune, and fewer than --steps {self.steps}")
        if self.strategy in ("finetune", "all") and self.steps < 2:
            raise UserError(f"--steps {self.steps}: fine-tuning wants 2 or more, some for the last layer first")
        if self.train_count is not None and self.train_per_class is not None:
            raise UserError("--train-count and --train-per-class: give one of the two")
        if self.weights == "none":
            raise UserError("--weights none: say --strategy scratch")
        if self.weights is not None and self.strategy == "scratch":
            raise UserError(f"--weights {self.weights}: --strategy scratch takes none")
        if self.backbone == "small_cnn" and self.strategy != "scratch":
            raise UserError("--backbone small_cnn is trained from scratch: add --strategy scratch")
        if self.backbone == "unet_encoder" and self.strategy != "scratch" and self.weights in (None, "imagenet"):
            raise UserError(
                "--backbone unet_encoder: name the model.keras of a U-Net as --weights, or train from scratch"
            )
        if self.strategy not in ("finetune", "all"):
            for flag in ("unfreeze", "finetune_rate"):
                if getattr(self, flag) != getattr(ClassifierConfig, flag):
                    raise UserError(f"--{flag.replace('_', '-')} belongs to --strategy finetune")
        if self.cache_features and self.strategy == "scratch":
            raise UserError("--cache-features is for a frozen encoder; --strategy scratch has none")
        if self.tile is not None and self.label_from_masks != "centre":
            raise UserError(f"--tile {self.tile} belongs to --label-from-masks centre")
        of_masks = [flag for flag in OF_MASKS if getattr(self, flag) != getattr(ClassifierConfig, flag)]
        if self.label_from_masks is None and of_masks:
            flag = of_masks[0].replace("_", "-")
            raise UserError(f"--{flag} belongs to --label-from-masks: other data sets have no masks")
        check_batch_size(self)
        check_workers(self.workers)
        check_seeds_and_name(self)
        parse_size(self.size)
        return self

    @property
    def devices(self) -> str:
        return "one"

    @property
    def network(self) -> str:
        return self.backbone

    @property
    def default_name(self) -> str:
        """Name of the run's folder, if the user chose none."""
        return f"{self.title}-{self.backbone}-{self.strategy}"

    def replace(self, **changes) -> "ClassifierConfig":
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Source):
    runs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN…")]] = ()
    """Folder of a run. Several: the folds of one cross-validation, pooled; or as a flag below asks."""
    split: Literal["test", "val", "train", "all"] | None = None
    """Which images to score. Default: test; of another data set, all."""
    data: Path | None = None
    """Score another data set with the same classes; or the run's own, if it has moved."""
    mask_suffix: str = ""
    """With --data: what a mask's name has after its image's name. Referee: what a prediction's name has after that of
    its true mask."""
    void: UseAppendAction[tuple[int, ...]] = ()
    """Mask value that never counts. It adds to those of the run, and may be given several times."""
    group_by: str | None = None
    """Make images one group whose names match this with the same text (a film, a patient). Error bars are then over
    groups. Default: the groups that the run was trained with."""
    tta: Literal["none", "flips", "d4"] = "none"
    """Average over mirrored (and, d4, turned) views. Within the run's --symmetry."""
    split_touching: bool = False
    """Object F1: cut touching objects of one class apart. By watershed; without it, what touches is one object."""

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
    """Referee: the folder of images, for the pictures alone. With --data: the folder of its images."""
    second_annotator: Path | None = None
    """Referee: a folder of masks by another annotator: how far people agree."""
    out: Path | None = None
    """Folder to make, for what belongs to no single run. Or for one run's scores, if its own folder cannot be
    written."""

    batch_size: int = 8
    """Tiles that the network takes at a time."""

    def checked(self) -> "EvaluateConfig":
        """Itself, if its flags go together.

        Raises:
            UserError: naming the flags.
        """
        above_zero(self, "batch_size")
        check_batch_size(self)
        referee = self.predictions is not None or self.truth is not None
        ways = [name for name in ("compare", "forecast", "ensemble") if getattr(self, name)] + ["predictions"] * referee
        if len(ways) > 1:
            raise UserError(f"--{ways[0]} and --{ways[1]}: give one of the two")
        if referee and (self.predictions is None or self.truth is None):
            raise UserError("--predictions and --truth: give both folders")
        if referee and (self.runs or self.data or self.split or self.tta != "none"):
            raise UserError("--predictions: scores folders of masks; it takes no run, --data, --split or --tta")
        if not referee and ((self.images and not self.data) or self.second_annotator):
            raise UserError("--images and --second-annotator belong to --predictions and --truth")
        unread = ("masks", "image_name", "mask_name") if referee else () if self.data else OF_MASKS
        for flag in unread:
            if flag not in ("images", "void") and getattr(self, flag) != getattr(EvaluateConfig, flag):
                raise UserError(
                    f"--{flag.replace('_', '-')} belongs to --data: how a run reads its own data set is known"
                )
        if not referee and not self.runs:
            raise UserError("name a run: python evaluate.py runs/NAME (or --predictions DIR --truth DIR --out DIR)")
        if ways and not referee and len(self.runs) < 2:
            raise UserError(f"--{ways[0]}: two runs at least are wanted")
        if len(self.runs) > 1 and not ways and (self.split not in (None, "test") or self.tta != "none"):
            raise UserError("several runs are pooled as folds, each on its own test part: leave --split and --tta out")
        if self.tta != "none" and (self.compare or self.forecast):
            raise UserError("--tta: evaluate the runs with it one by one; --compare takes evaluation folders too")
        if self.out is None and (ways or len(self.runs) > 1):
            raise UserError("--out DIR: say where to write what belongs to no single run")
        return self


@dataclass(frozen=True)
class PredictConfig:
    run: Positional[Path]
    """Folder of the run."""
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGES…")]]
    """Image files, or folders of them."""
    out: Path
    """Folder to write into. STEM.png (class indices, as a palette PNG; STEM.tif for a GeoTIFF), STEM_overlay.png, and
    uncertainty.csv, which says what to label next."""
    probabilities: bool = False
    """Write STEM_probabilities.tif too: of each class, float16 (H, W, classes)."""
    uncertainty: bool = False
    """Draw STEM_uncertainty.png too: bright where the network is unsure."""
    to: Literal["coco", "labelme", "geojson"] | None = None
    """Write the objects for a labelling tool too, with copies of the images. Into a folder of this name in --out, the
    least sure images first (labelme: see uncertainty.csv); python -m data_pipeline convert reads it back. geojson:
    outlines alone, in a GeoTIFF's own coordinates, else in pixels."""
    batch_size: int = 8
    """Tiles that the network takes at a time."""
    values: Literal["classes", "as-given"] = "classes"
    """What stands in the masks: class numbers 0…C−1; or the values or colours of the masks that the run learnt from."""
    overwrite: bool = False
    """Replace masks that are there already; what --to writes is never replaced."""


@dataclass(frozen=True)
class ExportConfig:
    run: Positional[Path]
    """Folder of the run."""
    to: Literal["keras", "savedmodel", "onnx", "litert"]
    """keras: plain layers, which load without this project. savedmodel: TensorFlow. onnx: onnxruntime and others.
    litert: phones and small devices, at the size that the run was trained on; with 8-bit weights too."""
    out: Path
    """Folder to make, with the network, model.json and a model card."""
    data: Path | None = None
    """Where the run's data set is, if it moved: its validation images are needed."""


def above_zero(config, *flags: str) -> None:
    """Raise UserError for a number that is not above zero."""
    for flag in flags:
        value = getattr(config, flag)
        if value is not None and not value > 0:
            raise UserError(f"--{flag.replace('_', '-')} {value}: a number above 0 is wanted")


def check_batch_size(config) -> None:
    """Raise UserError for more images at a time than any device holds."""
    if config.batch_size > MOST_AT_A_TIME:
        raise UserError(f"--batch-size {config.batch_size}: at most {MOST_AT_A_TIME:,} is wanted")


def check_workers(workers: int | str) -> None:
    if workers != "auto" and not 0 <= workers <= MOST_WORKERS:
        raise UserError(f"--workers {workers}: 0 to {MOST_WORKERS}, or auto, is wanted")
    if workers != "auto" and workers and os.name != "posix":
        raise UserError(f"--workers {workers}: processes that share memory need Linux or macOS; leave it out")


def check_seeds_and_name(config) -> None:
    """Raise UserError for a seed out of range, and a name that is no folder's."""
    for flag, seed in (("--seed", config.seed), ("--split-seed", config.split_seed)):
        if not 0 <= seed < 2**32:
            raise UserError(f"{flag} {seed}: 0 to {2**32 - 1} is wanted")
    if config.name is not None and not re.fullmatch(r"[\w][\w.+-]*", config.name):
        raise UserError(f"--name {config.name!r}: letters, digits, '_', '-', '.' and '+' are wanted")
