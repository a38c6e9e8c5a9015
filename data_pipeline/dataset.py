"""A data set, opened: what is there, what is wrong with it, its split, and what is black and white.

The steps are find pairs, read every file, split, measure the range of the pixels. ``open_dataset`` takes them and
refuses errors; ``checking.check`` takes them one by one and reports whatever is wrong.
"""

from collections import Counter
from dataclasses import dataclass, replace

from .command import UserError
from .encoding import UNKNOWN, Encoding
from .findings import Finding, refuse_errors
from .inspection import Inspection, Meaning, findings_on_split, inspect
from .labels import Photo, find_photos, first_of_each, label_names, parse_rule, photos_from_masks
from .pairs import Names, Pair, find_pairs
from .pixel_range import PixelRange, measure_range
from .source import Source
from .split import Split, make_split


@dataclass(frozen=True)
class DataSet:
    """A data set as far as it was opened: what is None is not known (yet, or because of an error among the findings).

    pairs: images with their masks; or photos with their labels (labels.py).
    sizes: (H, W) of the images.
    inspection: what the masks hold; None where there are none.
    pixel_range: of the training part's images.
    """

    source: Source
    pairs: list[Pair] | list[Photo]
    findings: list[Finding]
    names: tuple[str, ...] = ()
    sizes: frozenset[tuple[int, int]] = frozenset()
    inspection: Inspection | None = None
    split: Split | None = None
    pixel_range: PixelRange | None = None

    @property
    def encoding(self) -> Encoding:
        return self.inspection.encoding

    def count(self, level: str) -> int:
        """Return how many findings are of a level: "error", "warning" or "note"."""
        return sum(finding.level == level for finding in self.findings)


def open_dataset(
    source: Source,
    seed: int | None = None,
    train_count: int | None = None,
    folds: int | None = None,
    fold: int | None = None,
    *,
    encoding: Encoding | None = None,
    part: str = "all",
    harmless: tuple[str, ...] = (),
) -> DataSet:
    """Open a data set of images and masks for work: every file is read, and errors are refused.

    Args:
        source: where it is and how it is read.
        seed, train_count, folds, fold: of the split (``make_split``); without a seed there is no split and no range.
        encoding: known already, which the masks are held to.
        part: of the data set's own split, if that is all that is wanted: "train", "val" or "test".
        harmless: kinds of findings that do not matter here.

    Raises:
        UserError: that lists the first errors.
    """
    opened = read_masks(part_of(find_files(source), part), encoding)
    opened = replace(opened, findings=[finding for finding in opened.findings if finding.kind not in harmless])
    refuse_errors(opened.findings)
    if seed is not None:
        opened = split_up(opened, seed, train_count, folds, fold)
        refuse_errors(opened.findings)
        opened = with_range(opened)
    return opened


def open_labels(
    source: Source,
    seed: int,
    train_count: int | None = None,
    *,
    rule: str | None = None,
    tile: int | None = None,
    train_per_class: int | None = None,
) -> DataSet:
    """Open a data set of images with one label each: a folder for each class, or labels that are read off masks.

    Args:
        source: where it is and how it is read.
        seed, train_count: of the split; with masks it is the one that ``open_dataset`` makes.
        rule: by which labels are read off masks (labels.py); None: there are no masks.
        tile: height and width of the tiles that the rule "centre" labels.
        train_per_class: keep this many training images of each class.

    Raises:
        UserError: that lists the first errors.
    """
    opened = (
        labels_of_masks(source, seed, train_count, rule, tile) if rule else labels_of_folders(source, seed, train_count)
    )
    if train_per_class:
        kept = first_of_each(opened.split.train, train_per_class)
        opened = replace(opened, split=replace(opened.split, train=kept))
    if not opened.split.val:
        raise UserError(f"{source.data}: no image is left for validation")
    return opened


def labels_of_folders(source: Source, seed: int, train_count: int | None) -> DataSet:
    data = find_photos(source.data, source.group_by)
    refuse_errors(data.findings)
    split = make_split(data.photos, data.presence(), seed, train_count)
    opened = DataSet(source, data.photos, data.findings, data.names, frozenset(data.sizes), split=split)
    return replace(opened, pixel_range=measure_range(split.train, None))


def labels_of_masks(source: Source, seed: int, train_count: int | None, rule: str, tile: int | None) -> DataSet:
    parse_rule(rule)
    opened = open_dataset(source, seed, train_count)
    split, more = photos_from_masks(opened.inspection, opened.split, rule, tile)
    refuse_errors(more)
    return replace(
        opened,
        pairs=split.part("all"),
        findings=opened.findings + more,
        names=label_names(rule, opened.encoding),
        sizes=frozenset({(tile, tile)}) if tile else opened.sizes,
        split=split,
    )


def find_files(source: Source) -> DataSet:
    """Pair images and masks by name."""
    names = Names(source.images, source.masks, source.image_name, source.mask_name)
    return DataSet(source, *find_pairs(source.data, source.mask_suffix, source.group_by, names))


def part_of(opened: DataSet, part: str) -> DataSet:
    """Leave out what the data set itself has in other parts; "all" keeps everything."""
    pairs = [pair for pair in opened.pairs if part in ("all", pair.split)]
    if not pairs:
        raise UserError(f"{opened.source.data} has no {part} part of its own; use --split all")
    return replace(opened, pairs=pairs)


def read_masks(opened: DataSet, encoding: Encoding | None = None) -> DataSet:
    """Read every image and mask, and choose the encoding: which value is which class."""
    meaning = Meaning(opened.source.one_class, opened.source.names)
    data = inspect(opened.source.data, opened.pairs, opened.source.void, encoding, meaning)
    return replace(
        opened,
        findings=opened.findings + data.findings,
        names=data.encoding.names,
        sizes=frozenset(data.sizes()),
        inspection=data,
    )


def split_up(
    opened: DataSet, seed: int, train_count: int | None = None, folds: int | None = None, fold: int | None = None
) -> DataSet:
    """Split the pairs that are free of faults."""
    data = healthy(opened.inspection)
    split = make_split(data.pairs(), data.presence(), seed, train_count, folds, fold)
    findings = opened.findings + findings_on_split(data, split)
    return replace(opened, findings=findings, sizes=frozenset(data.sizes()), inspection=data, split=split)


def with_range(opened: DataSet) -> DataSet:
    """Measure what is black and white in the training images."""
    return replace(opened, pixel_range=measure_range(opened.split.train, opened.encoding))


def healthy(data: Inspection) -> Inspection:
    """The pairs that could be trained on: of the usual kind of image, with known labels."""
    usual = Counter((facts.channels, facts.dtype) for facts in data.facts).most_common(1)[0][0]
    facts = [
        facts
        for facts in data.facts
        if (facts.channels, facts.dtype) == usual and not facts.all_counts(data.encoding)[UNKNOWN]
    ]
    if not facts:
        raise UserError("every pair has errors")
    return replace(data, facts=facts)
