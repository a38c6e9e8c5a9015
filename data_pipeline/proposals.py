"""Propose the flags that read a folder of no known layout: what pairs by name, and which side looks like masks."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .command import UserError
from .files import list_images, read_image
from .layouts import common_part
from .mask_files import name_of

MOST_FOLDERS = 10
MOST_PROPOSALS = 3
LEAST_PAIRS = 2
PAIRED = 0.5  # share of the smaller side's files that must find their partner
FLAT = 0.8  # share of neighbouring pixels with equal values: masks have more, photographs fewer
EXTREME = 0.95  # share of the values near 0 or 255, in masks saved as JPEG


@dataclass(frozen=True)
class Proposal:
    """Two folders, or one, and how image and mask are called in them; {} is what both names have in common."""

    images: str
    masks: str
    image_name: str
    mask_name: str
    pairs: int

    def __str__(self) -> str:
        flags = [f"--images {shlex.quote(self.images or '.')}", f"--masks {shlex.quote(self.masks or '.')}"]
        if self.image_name != "{}":
            flags.append(f"--image-name {shlex.quote(self.image_name)}")
        if self.mask_name != "{}":
            flags.append(f"--mask-name {shlex.quote(self.mask_name)}")
        return f"{' '.join(flags)} ({self.pairs} pairs)"


def propose(root: Path, counts: dict[str, int]) -> str:
    """Words for the flags that read images and masks below a folder; "" if nothing pairs.

    Args:
        root: the data set's folder.
        counts: folder, relative to the root → number of image files in it (``layouts.image_counts``).
    """
    largest = sorted((folder for folder in counts if counts[folder] >= LEAST_PAIRS), key=counts.get, reverse=True)
    names = {folder: sorted(map(name_of, list_images(root / folder))) for folder in largest[:MOST_FOLDERS]}
    found = [proposal for a in names for b in names if (proposal := pair_folders(root, names, a, b))]
    found.sort(key=lambda proposal: (-proposal.pairs, len(str(proposal)), str(proposal)))
    if not found:
        return ""
    return f"these pair by their names: {'; or '.join(map(str, found[:MOST_PROPOSALS]))}"


def pair_folders(root: Path, names: dict[str, list[str]], images: str, masks: str) -> Proposal | None:
    """Return how two folders' files pair, if they do, and if the second one's look like masks beside the first
    one's."""
    common = {pair: shared(names[images], names[masks], *pair) for pair in patterns(names, images, masks)}
    smaller = min(len(names[images]), len(names[masks])) / (2 if images == masks else 1)
    most = max(map(len, common.values()), default=0)
    if most < max(LEAST_PAIRS, PAIRED * smaller):
        return None
    for pair, parts in sorted(common.items(), key=lambda item: (len("".join(item[0])), item[0])):
        if len(parts) == most:
            image, mask = (
                flatness(root / folder, tuple(name.replace("{}", part) for part in sorted(parts)[:2]))
                for folder, name in zip((images, masks), pair, strict=True)
            )
            if mask >= FLAT > image:
                return Proposal(images, masks, *pair, most)
    return None


def shared(images: list[str], masks: list[str], image_name: str, mask_name: str) -> set[str]:
    """Return what the names of images and of masks have in common at {}."""
    parts = [
        {common_part(pattern, name) for name in side} for pattern, side in ((image_name, images), (mask_name, masks))
    ]
    return parts[0] & parts[1] - {None}


def patterns(names: dict[str, list[str]], images: str, masks: str) -> set[tuple[str, str]]:
    """Pairs of patterns that may fit: the usual beginnings and ends of the names on either side."""
    sides = [[f"{before}{{}}{after}" for before, after in affixes(names[folder])] for folder in (images, masks)]
    every = {
        (image, mask) for image in sides[0] for mask in sides[1] if "{}" in (image, mask) or fits_both(image, mask)
    }
    return {(image, mask) for image, mask in every if images != masks or image != mask}


def fits_both(image: str, mask: str) -> bool:
    """Return whether two patterns differ at one end alone: at both ends, what is common would be too little to go
    by."""
    return image.startswith("{}") == mask.startswith("{}")


def affixes(names: list[str]) -> list[tuple[str, str]]:
    """Beginnings and ends without digits that many of the names have, longest first; ("", "") is one of them."""
    ends = Counter(end for name in names for end in re.findall(r"(?=([_\-. ][^\d]*)$)", name))
    starts = Counter(match.group() for name in names if (match := re.match(r"[^\d]+(?=\d)", name)))
    many = max(LEAST_PAIRS, len(names) * 0.3)
    return [
        ("", ""),
        *(("", end) for end, count in ends.items() if count >= many),
        *((start, "") for start, count in starts.items() if count >= many),
    ]


@cache
def flatness(folder: Path, names: tuple[str, ...]) -> float:
    """The share of neighbouring pixels that are equal, 0…1, over a few files; 1 for black and white saved as JPEG."""
    shares = []
    for path in list_images(folder):
        if name_of(path) in names:
            try:
                pixels = read_image(path)
            except UserError:
                continue
            equal = (pixels[:, 1:] == pixels[:, :-1]).all(2).mean()
            extreme = pixels.dtype == np.uint8 and ((pixels <= 16) | (pixels >= 239)).mean() >= EXTREME
            shares.append(1.0 if extreme else float(equal))
    return float(np.mean(shares)) if shares else 0.0
