"""The run directory: what a training leaves, and what evaluation and prediction read."""

import errno
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.dataset import DataSet
from data_pipeline.encoding import Encoding
from data_pipeline.files import read_json, write_json
from data_pipeline.inspection import fingerprint
from data_pipeline.labels import Photo
from data_pipeline.outputs import new_folder, remove_left
from data_pipeline.pairs import Pair
from data_pipeline.pixel_range import PixelRange
from data_pipeline.split import Split

from . import schema
from .config import OF_MACHINES, ClassifierConfig, TrainConfig
from .defaults import as_decided
from .framing import Frame
from .run_places import FOLDS_FILE, STRATEGIES_FILE, UNFINISHED, UNLABELLED_FILE, refuse_existing

NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python", "scikit-learn", "pillow", "tifffile", "imagecodecs")


@dataclass(frozen=True)
class Run:
    """A folder runs/NAME/. What it holds is read when asked for, and never rebuilt from flags."""

    path: Path
    data_root: Path | None = None  # where the data set is, if no longer where it was in training

    @classmethod
    def create(cls, path: Path, files: dict[str, object]) -> "Run":
        """Make the run's folder with these JSON files (name → content), whole or not at all.

        Raises:
            UserError: if the run exists.
        """
        if "split.json" in files:
            refuse_unreadable(files)
        with new_folder(refuse_existing(path)) as fresh:
            for name, content in files.items():
                write_json(fresh / name, content)
            (fresh / UNFINISHED).mkdir()
        return cls(path)

    @classmethod
    def folder(cls, path: Path) -> "Run":
        """A folder that train.py made; else a UserError."""
        if (Path(path) / FOLDS_FILE).is_file():
            raise UserError(f"{path}: holds the folds of a cross-validation; name them: {path}/fold-*")
        if (Path(path) / STRATEGIES_FILE).is_file():
            raise UserError(f"{path}: holds a run for each strategy; name them: {path}/*/")
        if not (Path(path) / "config.json").is_file():
            raise UserError(f"{path}: not a run (it has no config.json); name a folder that train.py made")
        refuse_links(Path(path))
        return cls(Path(path))

    @classmethod
    def unfinished(cls, path: Path) -> "Run":
        """A run whose training was interrupted.

        Raises:
            UserError: if the folder is no run, or its training ended.
        """
        run = cls.folder(path)
        remove_left(run.path)
        if not run.resume_path.is_dir():
            raise UserError(f"{path}: its training ended, so there is nothing to go on with; see evaluate.py {path}")
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """An existing, trained run.

        Raises:
            UserError: if the folder is no run, what its files hold is not as it was written, or its training saved no
                model yet.
        """
        run = cls.folder(path)
        if not run.model_path.is_file():
            raise UserError(f"{path}: has no model.keras: its training ended before the first validation")
        if run.classifies != ("classes" in run.dataset):
            raise UserError(f"{path}: config.json and dataset.json are of two kinds of run; put the run's own back")
        if run.resume_path.is_dir():
            print(f"note: {path}: its training has not ended; these are the best weights so far")
        return run

    @property
    def whole(self) -> Path:
        """The folder of the folds, strategies or rounds that it is one of; else its own. What --resume goes on with."""
        several = (FOLDS_FILE, STRATEGIES_FILE, UNLABELLED_FILE)
        of_several = any((self.path.parent / name).is_file() for name in several)
        return self.path.parent if of_several else self.path

    def refuse_changed(self, dataset: dict, split: Split) -> None:
        """Raise a UserError unless the data set is what it was when the run began."""
        now = {"dataset": dataset, "split": split.to_json(self.root)}
        if json.loads(json.dumps(now)) != {"dataset": self.dataset, "split": self.rows}:
            raise UserError(
                f"{self.path} cannot go on: the data set in {self.root} is no longer the one that it began with "
                "(files were changed, added or removed). Put it back, or train again"
            )

    def changes_of_environment(self, devices: str = "one") -> list[str]:
        """List what may give other bytes than where the run began, such as "device (CPU, 2 threads; now CPU, 1
        thread)"."""
        path = self.path / "environment.json"
        then, now = schema.read(path, schema.ENVIRONMENT) if path.is_file() else {}, environment(devices)
        pairs = [(name, then.get(name), now[name]) for name in ("device", "processor", "python", "git_commit")]
        packages = then.get("packages") or {}
        pairs += [(name, packages.get(name), number) for name, number in now["packages"].items()]
        return [f"{name} ({before}; now {after})" for name, before, after in pairs if before != after]

    @property
    def resume_path(self) -> Path:
        return self.path / UNFINISHED

    @property
    def model_path(self) -> Path:
        return self.path / "model.keras"

    @cached_property
    def config(self) -> dict:
        """The settings, as they are stored; those of older versions in today's form."""
        return as_decided(read_settings(self.path / "config.json", schema.config))

    @cached_property
    def dataset(self) -> dict:
        return schema.read(self.path / "dataset.json", schema.dataset)

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding.from_json(self.dataset["encoding"])

    @cached_property
    def pixel_range(self) -> PixelRange:
        return PixelRange.from_json(self.dataset["scale"])

    @cached_property
    def frame(self) -> Frame:
        return Frame.from_json(self.config["frame"])

    @property
    def root(self) -> Path:
        return self.data_root or Path(self.dataset["root"])

    @property
    def classifies(self) -> bool:
        """Return whether it is a classifier's (train_classifier.py), not a segmentation network's."""
        return "strategy" in self.config

    @cached_property
    def rows(self) -> dict:
        """The split, as it is stored."""
        classes = self.dataset["classes"] if self.classifies else None
        check = partial(schema.split, classes=classes, tiled=self.config.get("tile") is not None)
        return schema.read(self.path / "split.json", check)

    @cached_property
    def split(self) -> Split:
        return Split.from_json(self.rows, self.root, Photo if self.classifies else Pair)

    def moved_to(self, root: Path) -> "Run | None":
        """This run with its data set at another place, if all of its files are there, byte for byte."""
        moved = Run(self.path, Path(root).resolve())
        pairs = moved.split.part("all")
        if not all(path.is_file() for pair in pairs for path in pair.files):
            return None
        return moved if fingerprint(pairs) == self.dataset["fingerprint"] else None

    def open_test_part(self) -> int:
        """Note in openings.json that the test part is scored now; how often that happened.

        Every look that is followed by a choice of settings makes the test part less of a test.
        """
        path = self.path / "openings.json"
        openings = schema.read(path, schema.OPENINGS) if path.exists() else []
        openings.append({"time": datetime.now(UTC).isoformat(timespec="seconds"), "command": command()})
        try:
            write_json(path, openings)
        except OSError as error:
            if error.errno not in NOT_WRITABLE:
                raise
            print(f"note: {path}: {error.strerror}, so nobody will know that the test part was opened now")
        return len(openings)

    def refuse_unfinished(self, name: str) -> None:
        """Raise a UserError for a part of the split that is not to be opened while the training goes on."""
        if name in ("test", "all") and self.split.test and self.resume_path.is_dir():
            script = "train_classifier.py" if self.classifies else "train.py"
            raise UserError(
                f"{self.path}: its training has not ended, and scoring it now would open the test part. Wait for its "
                f"end, or go on: python {script} --resume {shlex.quote(str(self.whole))}; meanwhile score it with "
                f"--split val. To leave the training as it is for good, remove {self.resume_path}"
            )

    def evaluation_path(self, name: str) -> Path:
        """Return the folder of an evaluation of this name.

        Raises:
            UserError: if the run cannot be written.
        """
        if not os.access(self.path, os.W_OK):
            raise UserError(f"{self.path}: cannot be written; say with --out DIR where its scores should go")
        return self.path / "evaluation" / name

    def name_for(self, data: Path, split: str) -> str:
        """A name for the evaluation of another data set; numbered where another data set has it."""
        data = data.resolve()
        name = chosen = f"{data.name if data.is_dir() else data.stem}-{split}"
        number = 1
        while (metrics := self.path / "evaluation" / chosen / "metrics.json").exists():
            if Path(schema.read(metrics, schema.METRICS).get("data", "")).resolve() == data:
                break
            number += 1
            chosen = f"{name}-{number}"
        return chosen

    def model(self):
        """The trained network, in inference mode by default.

        Raises:
            UserError: if the file is damaged.
        """
        from .saved_network import load_network

        classes = len(self.dataset["classes"]) if self.classifies else self.encoding.num_classes
        inputs = (*(self.frame.size if self.classifies else (None, None)), self.pixel_range.channels)
        name = f"{self.config['backbone']}_classifier" if self.classifies else self.config["model"]
        return load_network(self.model_path, name, inputs, classes, self.classifies)


def read_settings(path: Path, check: schema.Check) -> dict:
    """The settings in a JSON file that ``config_json`` made; those of older versions in today's form.

    Raises:
        UserError: if it does not hold what the check wants.
    """
    stored = read_json(path)
    if isinstance(stored, dict) and not isinstance(stored.get("void"), list):  # one value, or none
        stored["void"] = [] if stored.get("void") is None else [stored["void"]]
    return schema.checked(path, stored, check)


def config_json(config: TrainConfig | ClassifierConfig, frame: Frame | None = None) -> dict:
    told = {key: value for key, value in asdict(config).items() if key not in OF_MACHINES}
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in told.items()}
    return settings | ({} if frame is None else {"frame": frame.to_json()})


def read_several(path: Path, kind=TrainConfig) -> TrainConfig | ClassifierConfig:
    """The settings that FOLDS_FILE or STRATEGIES_FILE holds, of the runs beside it.

    Raises:
        UserError: if it does not hold such settings, or its folder has links.
    """
    refuse_links(path.parent)
    return config_from_json(read_settings(path, schema.of_several(kind)), path.parent, kind)


def config_from_json(stored: dict, where: Path, kind=TrainConfig):
    """The settings that ``config_json`` stored, of a kind: TrainConfig or ClassifierConfig.

    Raises:
        UserError: if an older or a newer version of this program wrote them.
    """
    names = {field.name for field in fields(kind)} - set(OF_MACHINES)
    unlike = names ^ (set(stored) - {"frame"})
    if unlike:
        raise UserError(
            f"{where}: made by another version of this program ({', '.join(sorted(unlike))}); train it again"
        )
    paths = ("data", "runs_dir", *(["unlabelled"] if stored.get("unlabelled") else []))
    settings = {name: stored[name] for name in names} | {name: Path(stored[name]) for name in paths}
    return kind(**settings | {"void": tuple(stored["void"])})


def dataset_json(root: Path, data: DataSet) -> dict:
    """dataset.json of a segmentation network."""
    pixels = data.inspection.class_pixels(data.split.train)
    share = dict(zip(data.encoding.names, (pixels / max(1, pixels.sum())).tolist(), strict=True))
    return {
        "root": str(root),
        "encoding": data.encoding.to_json(),
        "channels": data.pixel_range.channels,
        "scale": data.pixel_range.to_json(),  # of raw pixels, from the training part
        "class_frequencies": share,  # of the training masks' pixels that are not void
        "fingerprint": fingerprint(data.split.part("all")),
    }


def photos_json(root: Path, data: DataSet) -> dict:
    """dataset.json of a classifier."""
    held = [photo.label for photo in data.split.train]
    return {
        "root": str(root),
        "classes": list(data.names),
        "channels": data.pixel_range.channels,
        "scale": data.pixel_range.to_json(),
        "class_counts": {name: held.count(label) for label, name in enumerate(data.names)},  # of the training part
        "fingerprint": fingerprint(data.split.part("all")),
    }


def environment(devices: str = "one") -> dict:
    """Return what is needed, beside the configuration, to repeat a run."""
    return {
        "command": command(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "packages": {name: version(name) for name in PACKAGES},
        "device": device(devices),
    }


def refuse_unreadable(files: dict[str, object]) -> None:
    """Raise a UserError for content of a new run's JSON files that would be refused when they are read."""
    stored = json.loads(json.dumps(files))
    config, dataset = stored["config.json"], stored["dataset.json"]
    try:
        schema.config("", config)
        schema.dataset("", dataset)
        schema.split("", stored["split.json"], dataset.get("classes"), config.get("tile") is not None)
    except schema.Unfit as error:
        raise UserError(f"{dataset['root']}: {error}; change that in the data set") from None


def refuse_links(run: Path) -> None:
    """Raise a UserError for a run with links to folders: what is written below them would land elsewhere."""
    for above, folders, _ in os.walk(run):
        for name in folders:
            if (Path(above) / name).is_symlink():
                raise UserError(f"{Path(above) / name}: a link; in a run real folders are wanted. Put the folder there")


def command() -> list[str]:
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The program's commit, with "+changes" where the work tree differs; None outside a checkout."""

    def git(*arguments):
        folder = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def device(devices: str = "one") -> str:
    """Name what the network runs on: one device, or "all"."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus and devices == "one":
        gpus = gpus[:1]
    if gpus:
        return ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus)
    count = tf.config.threading.get_intra_op_parallelism_threads() or threads_asked() or cores()
    return f"CPU, {count} thread{'' if count == 1 else 's'}"


def workers_of(asked: int | str) -> int:
    """Resolve --workers. auto: one process for each core but two beside a GPU; none where the cores train as well."""
    import tensorflow as tf

    if asked != "auto":
        return asked
    return min(12, max(0, cores() - 2)) if os.name == "posix" and tf.config.list_physical_devices("GPU") else 0


def threads_asked() -> int:
    """Return how many threads the environment asks TensorFlow for; 0: as many as there are cores.

    OMP_NUM_THREADS has no say: TensorFlow's own packages are built without OpenMP.
    """
    asked = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return int(asked) if re.fullmatch("[0-9]{1,4}", asked) else 0


def processor() -> str:
    """Its model, where the system says, and how many cores this process may use."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        match = None
    return f"{match[1] if match else platform.processor() or platform.machine()}, {cores()} cores"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
