"""Pairs → train, validation and test: seeded, stratified by class presence, whole groups together."""

import hashlib
import os
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .command import UserError
from .pairs import Pair

FRACTIONS = {"train": 0.70, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Split:
    """The training, validation and test parts: pairs of image and mask, or photos of one label each (labels.py)."""

    train: list[Pair]
    val: list[Pair]
    test: list[Pair]
    seed: int
    fixed: bool  # the data set itself says which image is where

    def part(self, name: str) -> list[Pair]:
        """The pairs of "train", "val" or "test", or of "all" three."""
        if name == "all":
            return self.train + self.val + self.test
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def to_json(self, root: Path) -> dict:
        """Paths relative to the data set's root."""

        def relative(path):
            return Path(os.path.relpath(path, root)).as_posix()

        rows = {name: [pair.to_row(relative) for pair in self.part(name)] for name in FRACTIONS}
        return {"seed": self.seed, "fixed": self.fixed} | rows

    @classmethod
    def from_json(cls, stored: dict, root: Path, kind=Pair) -> "Split":
        """kind: of what is split, Pair or Photo."""
        parts = {name: [kind.from_row(row, root, name) for row in stored[name]] for name in FRACTIONS}
        return cls(**parts, seed=stored["seed"], fixed=stored["fixed"])


def make_split(
    pairs: list[Pair],
    presence: np.ndarray,
    seed: int,
    train_count: int | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> Split:
    """Split a data set; the same split whatever the order of ``pairs``.

    The data set's own split, where it has one, is kept; a validation part that it lacks is taken from its
    training part. With folds, fold number ``fold`` is the test part, so that over all folds every image is
    tested once; the validation part comes from the rest.

    Args:
        pairs: the data set.
        presence: bool (pairs, classes): which image holds which class.
        seed: of the shuffle.
        train_count: keep this many training images; a smaller subset lies inside a larger one.
        folds, fold: number of folds, and which one (0…folds − 1) is the test part.

    Raises:
        UserError: for fewer than three images or groups, a train_count or fold out of range, or folds of a data
            set that has a split of its own.
    """
    shuffled = sorted(range(len(pairs)), key=lambda i: shuffle_key(seed, pairs[i].stem))
    fixed = any(pair.split for pair in pairs)
    if folds is not None:
        parts = fold_parts(shuffled, pairs, presence, folds, fold)
    elif fixed:
        parts = {name: [i for i in shuffled if (pairs[i].split or "train") == name] for name in FRACTIONS}
        if not parts["train"]:
            raise UserError("the data set is split in folders (or a CSV column), but has no train part")
        if not parts["val"]:
            parts |= stratify(parts["train"], pairs, presence, {"train": 0.85, "val": 0.15})
    else:
        parts = stratify(shuffled, pairs, presence, FRACTIONS)
    if not parts["train"] or not parts["val"]:
        groups = len({pair.group or pair.stem for pair in pairs})
        raise UserError(
            f"{len(pairs)} images in {groups} groups are too few for a training and a validation part; "
            "at least 3 images (of 3 groups) are wanted"
        )
    rank = {i: place for place, i in enumerate(shuffled)}
    parts["train"].sort(key=rank.get)
    if train_count is not None:
        if not 1 <= train_count <= len(parts["train"]):
            raise UserError(f"--train-count {train_count}: the training part has {len(parts['train'])} images")
        parts["train"] = parts["train"][:train_count]
    return Split(**{name: [pairs[i] for i in parts[name]] for name in FRACTIONS}, seed=seed, fixed=fixed)


def fold_parts(
    shuffled: list[int], pairs: list[Pair], presence: np.ndarray, folds: int, fold: int
) -> dict[str, list[int]]:
    """One fold as the test part, the others as training and validation.

    Whole groups, stratified by the rarest class that each image holds (scikit-learn's StratifiedGroupKFold).
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if any(pair.split for pair in pairs):
        raise UserError("--folds: the data set has a split of its own (folders or a CSV column); fold it without one")
    groups = [pairs[i].group or pairs[i].stem for i in shuffled]
    if not 2 <= folds <= len(set(groups)) or not 0 <= fold < folds:
        raise UserError(
            f"--folds {folds} --fold {fold}: 2 to {len(set(groups))} folds (as many as there are groups) are wanted, "
            "and a fold from 0 to the number of folds − 1"
        )
    holders = np.where(presence.any(0), presence.sum(0), len(pairs) + 1)
    rarest = np.where(presence, holders, len(pairs) + 2)[shuffled].argmin(1)
    if np.bincount(rarest).max() < folds:  # no class is in every fold anyway
        rarest[:] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class in fewer images than folds: nothing to be done
        split = list(StratifiedGroupKFold(folds).split(shuffled, rarest, groups))
    rest, test = ([shuffled[place] for place in part] for part in split[fold])
    return stratify(rest, pairs, presence, {"train": 0.85, "val": 0.15}) | {"test": test}


def shuffle_key(seed: int, name: str) -> str:
    """A pseudo-random key that depends on the seed and the name alone."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def stratify(
    chosen: list[int], pairs: list[Pair], presence: np.ndarray, fractions: dict[str, float]
) -> dict[str, list[int]]:
    """Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011) of groups by the classes they hold.

    The rarest class left is dealt out first, each group to the part that still wants that class most.
    """
    groups = defaultdict(list)
    for i in chosen:
        groups[pairs[i].group or pairs[i].stem].append(i)
    holds = {name: presence[members].any(axis=0) for name, members in groups.items()}
    wanted = {part: max(1.0, fraction * len(chosen)) for part, fraction in fractions.items()}
    wanted_class = {part: fraction * presence[chosen].sum(axis=0) for part, fraction in fractions.items()}
    dealt = {part: [] for part in fractions}

    left = dict(groups)
    while left:
        count = sum(holds[name].astype(int) for name in left)
        rarest = np.where(count > 0, count, len(pairs) + 1).argmin()
        of_class = [name for name in left if holds[name][rarest]] or list(left)
        for name in of_class:
            members = left.pop(name)
            # Images without any class are dealt by number alone.
            need = {part: (wanted_class[part][rarest] if count.any() else 0, wanted[part]) for part in fractions}
            part = max(fractions, key=need.get)
            dealt[part].append(members)
            wanted[part] -= len(members)
            wanted_class[part] = wanted_class[part] - presence[members].sum(axis=0)

    for part in fractions:  # of a handful of groups, one part may have got none
        fullest = max(dealt, key=lambda name: len(dealt[name]))
        if not dealt[part] and len(dealt[fullest]) > 1:
            smallest = min(dealt[fullest], key=len)
            dealt[fullest].remove(smallest)
            dealt[part].append(smallest)
    return {part: [i for members in groups for i in members] for part, groups in dealt.items()}
