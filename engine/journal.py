"""A journal of what predict.py has done of a folder's masks, so that after a kill the same command goes on from
there."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.outputs import held


class Journal:
    """A hidden file in the folder of the masks, of one run: a line when an image is begun, and one when it is done.

    begun: images, as resolved paths, whose masks and overlays this command may have written.
    done: of these, the uncertainty of those that are complete.
    """

    def __init__(self, path: Path):
        self.path = path
        self.lock = threading.Lock()
        self.begun: set[str] = set()
        self.done: dict[str, float] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                name, uncertainty = json.loads(line)
            except (ValueError, TypeError):  # cut off
                continue
            if uncertainty == "given up":
                self.begun.discard(name)
            else:
                self.begun.add(name)
            if isinstance(uncertainty, float):
                self.done[name] = uncertainty

    @property
    def folder(self) -> Path:
        """The folder of the strips of scenes, until their files are written."""
        return self.path.with_suffix("")

    def note(self, image: Path, uncertainty: float | str | None) -> None:
        """Add a line; uncertainty: None where the image is begun, "given up" where its files are another's."""
        with self.lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps([str(image.resolve()), uncertainty])}\n")


@contextmanager
def journal_of(run, folder: Path) -> Iterator[Journal]:
    """The journal of a run's predictions into a folder; removed when the block ends well, or nothing was begun.

    Raises:
        UserError: if another process predicts into the folder by this run.
    """
    facts = run.model_path.stat()
    key = hashlib.sha256(f"{run.path.resolve()}\n{facts.st_size}\n{facts.st_mtime_ns}".encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".predicting-{key}.jsonl"
    path.touch()
    try:
        with held(path, alone=True):
            journal = Journal(path)
            try:
                yield journal
            except BaseException:
                if not Journal(path).begun:
                    path.unlink()
                raise
            path.unlink()
            shutil.rmtree(journal.folder, ignore_errors=True)
    except BlockingIOError:
        raise UserError(f"{folder}: another process predicts into it by this run; wait for its end") from None
