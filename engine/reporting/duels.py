"""Pictures of where one network beats another: the images in which they differ most, both ways."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipeline.encoding import default_color
from data_pipeline.loader import PhotoLoader, read_pair
from data_pipeline.masks import read_mask
from engine.comparing.compare import Candidate, truths
from engine.run import Run
from engine.scoring import confusion
from engine.scoring.evaluation import hash_of
from engine.scoring.task import LABELS, Task

from .gallery import Gallery, Picture, small
from .page import Section
from .report import Album

EACH_WAY = 6  # images
MOST_NETWORKS = 4  # that are shown beside the first
HELP = (
    "The images in which the scores of the two networks differ most: first those in which {other} is ahead, then those "
    "in which {first} is. Which pictures differ most says where to look, not which network is better: that is what the "
    "interval of their difference is for."
)


def duels(candidates: list[Candidate], folders: dict[str, Path], task: Task, data: Path | None) -> list[Section]:
    """A section for each network beside the first; none where the images are not at hand.

    Args:
        candidates: on the same images, in one order.
        folders: of their evaluations, by name.
        task: what they are compared by.
        data: where the data set is now, if not where it was.
    """
    first, *others = candidates
    section = label_duel if task is LABELS else mask_duel
    made = (section(first, other, candidates, folders, data) for other in others[:MOST_NETWORKS])
    return [one for one in made if one is not None]


def differing(change: np.ndarray) -> list[int]:
    """Images (N,) by the change of their score: where it rises most, then where it falls most, EACH_WAY at most."""
    order = np.argsort(-np.nan_to_num(change), kind="stable").tolist()
    rising = [i for i in order if change[i] > 0][:EACH_WAY]
    falling = [i for i in reversed(order) if change[i] < 0][:EACH_WAY]
    return rising + falling


def mask_duel(
    first: Candidate, other: Candidate, candidates: list[Candidate], folders: dict[str, Path], data: Path | None
) -> Section | None:
    """Truth, both predictions, and who is right where."""
    album = album_of(first, candidates, folders, data)
    if album is None:
        return None
    scores = [confusion.mean_iou(one.matrices) for one in (first, other)]
    files = [folders[one.name] / "predictions" for one in (first, other)]

    def pictures() -> Iterator[Picture]:
        for i in differing(scores[1] - scores[0]):
            stem = first.evaluation.stems[i]
            if not all((folder / f"{stem}.png").is_file() for folder in files):
                continue
            image, truth, prediction = album.open(stem)
            if hash_of(truth) != first.evaluation.truths[i]:
                continue  # another data set's image of this name, or changed since
            rival = read_mask(files[1] / f"{stem}.png", album.indices)
            told = {"difference": scores[1][i] - scores[0][i], first.name: scores[0][i], other.name: scores[1][i]}
            note = f"{first.name} {scores[0][i]:.2f}, {other.name} {scores[1][i]:.2f}"
            yield Picture(stem, told, *small(image, truth, prediction, rival), note=note)

    shown = album.gallery(
        pictures(),
        panels=("image", "truth", "prediction", "other", "error"),
        titles={"prediction": first.name, "other": other.name, "error": "who is right"},
        kinds=(f"only {first.name} is right", f"only {other.name} is right", "both are wrong"),
    )
    return section_of(first, other, shown)


def section_of(first: Candidate, other: Candidate, shown: Gallery) -> Section:
    help = [HELP.format(first=first.name, other=other.name)]
    return Section(f"{other.name} against {first.name}", gallery=shown, help=help)


def runs_of(
    candidates: list[Candidate], folders: dict[str, Path], data: Path | None
) -> Iterator[tuple[Candidate, Run]]:
    """The candidates that are a run's own, with the run, where its data set is now."""
    for one in candidates:
        if one.settings:
            run = Run.folder(folders[one.name].resolve().parent.parent)
            yield (run.moved_to(data) if data else None) or run


def album_of(
    first: Candidate, candidates: list[Candidate], folders: dict[str, Path], data: Path | None
) -> Album | None:
    """The first network's pictures, by whichever run knows the images; None if none does."""
    for run in runs_of(candidates, folders, data):
        if run.classifies:
            continue
        pairs = {pair.stem: pair for pair in run.split.part("all")}
        wanted = [pairs[stem] for stem in first.evaluation.stems if stem in pairs]
        if len(wanted) == len(first.evaluation.stems) and all(path.is_file() for pair in wanted for path in pair.files):
            encoding = run.encoding
            made = folders[first.name] / "predictions"
            return Album(
                wanted,
                encoding,
                run.pixel_range,
                lambda pair, encoding=encoding: read_pair(pair, encoding),
                lambda stem, made=made: made / f"{stem}.png",
            )
    return None


def label_duel(
    first: Candidate, other: Candidate, candidates: list[Candidate], folders: dict[str, Path], data: Path | None
) -> Section | None:
    """Photos that one network labels rightly and the other does not."""
    run = next((run for run in runs_of(candidates, folders, data) if run.classifies), None)
    if run is None:
        return None
    photos = {photo.stem: photo for photo in run.split.part("all")}
    said = [one.matrices.sum(1).argmax(1) for one in (first, other)]
    labels = truths(first)
    chosen = differing((said[1] == labels).astype(int) - (said[0] == labels))
    chosen = [i for i in chosen if (photo := photos.get(first.evaluation.stems[i])) and photo.image.is_file()]
    names = first.evaluation.names

    def pictures() -> Iterator[Picture]:
        load = PhotoLoader(
            [photos[first.evaluation.stems[i]] for i in chosen], None, None, limit=0, tile=run.config["tile"]
        )
        for place, i in enumerate(chosen):
            (image,) = small(run.pixel_range.show(load(place)[0]))
            note = f"{first.name}: {names[said[0][i]]}; {other.name}: {names[said[1][i]]}; truth: {names[labels[i]]}"
            classes = (int(labels[i]), int(said[0][i]), int(said[1][i]))
            yield Picture(first.evaluation.stems[i], {}, image, note=note, classes=classes)

    colors = tuple(default_color(i + 1) for i in range(len(names)))
    return section_of(first, other, Gallery(pictures(), names, colors, panels=("image",)))
