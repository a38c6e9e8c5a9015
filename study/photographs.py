"""A user's photographs in place of drawn scenes: frames of a few films, cut into tiles, and one film left out.

Nearly every frame of a film holds nearly every class, so no question is asked of whole frames; and where in the frame
a tile lies says much of what it holds. So tiles are asked, and scored against tiles of the same place alone. Of each
tile two things are asked: the class of its middle pixel, a local decision, and which classes it holds, one that takes
the whole tile. The folder is read once, into a file that is named by its hash.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.files import write_atomically
from data_pipeline.source import Source

from .own import path_of, refuse_torn_scenes, stored, to_rgb

ROWS, COLUMNS = 3, 4  # of a frame's tiles
PRESENT = 0.02  # of a tile's pixels, from which on it holds a class
PREVALENT = 0.1  # of each film's tiles, that must hold a class for it to be asked
CLIP = 10  # frames that follow each other, and are resampled together
LEAST_CLIPS = 3  # of a film
CENTRE, PRESENCE = "centre", "presence"  # what is asked of a tile


@dataclass(frozen=True)
class Photographs:
    """A folder as the cells' names hold it, in the place of a scene's knobs.

    size: pixels of a tile's side. films: of which seed s tests the film s modulo their number, and learns from the
    others. symmetry: how training tiles are varied; a street is mirrored, not turned.
    """

    fingerprint: str
    size: int
    num_classes: int
    films: int
    symmetry: str = "horizontal"
    rho: float = 0.0


class Tiles(NamedTuple):
    images: np.ndarray  # uint8 (N, size, size, 3)
    masks: np.ndarray  # uint8 (N, size, size): 0…K−1, void 255
    centre: np.ndarray  # uint8 (N,): class of the middle pixel, void 255
    presence: np.ndarray  # bool (N, K)
    places: np.ndarray  # int64 (N,): row by row, 0…ROWS·COLUMNS − 1
    clips: np.ndarray  # int64 (N,): 0…, of one film


@dataclass(frozen=True)
class Reading:
    """A folder in words, for people: films with their frames, and the classes that are asked, or left out."""

    photographs: Photographs
    films: dict[str, int]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]


def prepare(source: Source, folder: Path, size: int, symmetry: str = "horizontal") -> Reading:
    """Read a folder of frames and masks, shrink them to ROWS × COLUMNS tiles, and keep them in the study's folder.

    Args:
        source: where it is and how it is read; ``group_by`` names the films.
        folder: the study's.
        size: pixels of a tile's side.
        symmetry: of the training tiles.

    Raises:
        UserError: where there are not two films of LEAST_CLIPS clips each; where frames of one scene would stand on
            both sides; where fewer than two classes are prevalent in every film.
    """
    from data_pipeline.dataset import open_dataset
    from data_pipeline.loader import read_pair, resize

    data = open_dataset(source).inspection
    pairs = [(facts.pair.group or "", facts.pair.stem, facts.pair) for facts in data.facts]
    names, films = np.unique([film for film, *_ in pairs], return_inverse=True)
    frames = dict(zip(names.tolist(), np.bincount(films).tolist(), strict=True))
    if len(frames) < 2 or min(frames.values()) < LEAST_CLIPS * CLIP:
        told = ", ".join(f"{name or 'no name'} {count}" for name, count in frames.items())
        raise UserError(
            f"{source.data}: films are left out by turns, so two at least of {LEAST_CLIPS * CLIP} frames each are "
            f"wanted; there are, with frames: {told}. Name them with --group-by, or with a CSV's column group"
        )
    refuse_torn_scenes(source, data)
    images, masks = [], []
    for _, _, pair in tqdm(sorted(pairs, key=lambda one: one[:2]), "shrinking", unit="pair", leave=False, disable=None):
        image, mask = resize(*read_pair(pair, data.encoding), (ROWS * size, COLUMNS * size))
        images.append(to_rgb(image))
        masks.append(mask)
    films, masks = np.sort(films).astype(np.int64), np.array(masks)
    kept = prevalent(masks, films, len(data.encoding.names))
    if len(kept) < 2:
        raise UserError(
            f"{source.data}: two classes are wanted that {PREVALENT:.0%} of each film's tiles hold; there are "
            f"{len(kept)}. Leave out the film without them, or give the rare classes one name"
        )
    table = np.full(256, VOID, np.uint8)  # what is not asked is void
    table[kept] = np.arange(len(kept))
    parts = (np.array(images), table[masks], np.zeros(0, np.int64), films)
    fingerprint = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    if not path_of(folder, fingerprint).exists():
        with write_atomically(path_of(folder, fingerprint)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **dict(zip(("images", "masks", "labels", "groups"), parts, strict=True)))
    asked = tuple(name for k, name in enumerate(data.encoding.names) if k in kept)
    left = tuple(name for k, name in enumerate(data.encoding.names) if k not in kept)
    return Reading(Photographs(fingerprint, size, len(kept), len(frames), symmetry), frames, asked, left)


def prevalent(masks: np.ndarray, films: np.ndarray, num_classes: int) -> np.ndarray:
    """The classes that PREVALENT of the tiles of every film hold, ascending."""
    held = holds(cut(masks), num_classes)  # (N · tiles, K)
    film = np.repeat(films, ROWS * COLUMNS)
    shares = np.array([held[film == one].mean(axis=0) for one in np.unique(film)])
    return np.flatnonzero((shares >= PREVALENT).all(axis=0))


def cut(frames: np.ndarray) -> np.ndarray:
    """Frames (N, ROWS·size, COLUMNS·size, …) → tiles (N · ROWS·COLUMNS, size, size, …), row by row."""
    n, height, width, *rest = frames.shape
    size = height // ROWS
    tiles = frames.reshape(n, ROWS, size, COLUMNS, width // COLUMNS, *rest).swapaxes(2, 3)
    return tiles.reshape(n * ROWS * COLUMNS, size, width // COLUMNS, *rest)


def holds(masks: np.ndarray, num_classes: int) -> np.ndarray:
    """Say which classes tiles hold, bool (N, K), by their masks (N, size, size)."""
    return np.stack([(masks == k).mean(axis=(1, 2)) >= PRESENT for k in range(num_classes)], axis=1)


def tiles_of(folder: Path, photographs: Photographs, seed: int, testing: bool, frames: int = 0) -> Tiles:
    """The tiles of a seed's film that is left out, or of the first frames of the others, films in turn.

    Args:
        frames: of training, so that fewer are among more; 0: all.

    Raises:
        ValueError: where the films have fewer frames.
    """
    images, masks, _, films = stored(path_of(folder, photographs.fingerprint))
    left_out = films == seed % photographs.films
    chosen = np.flatnonzero(left_out) if testing else order_of(films, left_out, seed)
    if frames > len(chosen):
        raise ValueError(f"{frames} frames are wanted, {len(chosen)} are there")
    chosen = chosen[: frames or len(chosen)]
    place = np.searchsorted(np.flatnonzero(left_out), chosen) if testing else np.zeros(len(chosen), int)
    count = max(LEAST_CLIPS, round(left_out.sum() / CLIP))
    clips = place * count // max(left_out.sum(), 1)
    tiled, size = cut(masks[chosen]), photographs.size
    return Tiles(
        cut(images[chosen]),
        tiled,
        tiled[:, size // 2, size // 2],
        holds(tiled, photographs.num_classes),
        np.tile(np.arange(ROWS * COLUMNS), len(chosen)),
        np.repeat(clips, ROWS * COLUMNS),
    )


def order_of(films: np.ndarray, left_out: np.ndarray, seed: int) -> np.ndarray:
    """Frames of the films that are not left out, those of each in a drawn order, the films in turn."""
    order = np.random.default_rng([seed, 3]).permutation(np.flatnonzero(~left_out))
    turn = np.empty(len(order), int)
    for film in np.unique(films[order]):
        of_film = films[order] == film
        turn[of_film] = np.arange(of_film.sum())
    return order[np.lexsort((films[order], turn))]


def some_pixels(tiles: Tiles, count: int, seed: int) -> np.ndarray:
    """Masks with ``count`` labelled pixels, the middle one and others at random, void elsewhere.

    Drawn once, for each tile by its place in the order, so that fewer are among more. A middle pixel that is void
    stays so, and teaches nothing.
    """
    kept = np.full_like(tiles.masks, VOID)
    size = tiles.masks.shape[1]
    middle = (size // 2) * size + size // 2
    for i, mask in enumerate(tiles.masks):
        flat = mask.ravel()
        others = np.random.default_rng([seed, i]).permutation(np.flatnonzero(flat != VOID))
        chosen = [middle, *others[others != middle][: count - 1]]
        kept[i].flat[chosen] = flat[chosen]
    return kept
