"""Six supervisions of one network on the same tiles of photographs, and what each says of the tiles of another film.

masks                  U-Net, all pixels of each tile's mask
16 pixels, 1 pixel     U-Net, so many of them; the one is the middle pixel, whose class the decision "centre" asks for
U-Net, centre          the same U-Net, the class of the middle pixel as the whole tile's label: the mean of its logits
classifier, centre     its contracting path, global average pooling and a dense layer, on the same label
U-Net, presence; classifier, presence    the same two on the classes that a tile holds, a yes or no each

So "1 pixel" and "classifier, centre" are told the same, and differ in where they are told it. Every arm sees the same
tiles in the same order. Classes weigh alike in what an arm is told, but for the yes or no's.

Counts are kept clip by clip, so that scores can be made again of clips that are drawn anew (films.py).
"""

from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from data_pipeline.encoding import VOID
from data_pipeline.weights import weight_table
from engine.scoring.confusion import confusion_matrix
from models.unet import unet

from .arms import AT_A_TIME, Arm, batches, class_weights, encoder, fresh, run
from .cells import BATCH, Spec
from .films import scores_of
from .photographs import CENTRE, PRESENCE, Photographs, Tiles, some_pixels, tiles_of
from .scenes import Images

NORM = "batch"  # arms.py's norm takes each tile's own mean away, and with it what tells a tile of sky from one of road
LEAST_OF_EACH = 5  # tiles of a place with a class, and of presence also without it, for it to be scored there


def painter(size: int, num_classes: int, width: int, weights: str | None = None) -> keras.Model:
    return unet(num_classes, (size, size, 3), width=width, norm=NORM)


def pooled_painter(size: int, num_classes: int, width: int, weights: str | None = None) -> keras.Model:
    """The mean over the pixels of the classes' logits."""
    network = painter(size, num_classes, width)
    logits = layers.GlobalAveragePooling2D(name="pool")(network.output)
    return keras.Model(network.inputs, logits, name="pooled_unet")


pooled_encoder = partial(encoder, norm=NORM)
ARMS = {  # network, decision
    ("S", ""): Arm(painter, on_masks=True),
    ("C", CENTRE): Arm(pooled_painter, on_masks=False),
    ("E", CENTRE): Arm(pooled_encoder, on_masks=False),
    ("C", PRESENCE): Arm(pooled_painter, on_masks=False, several=True),
    ("E", PRESENCE): Arm(pooled_encoder, on_masks=False, several=True),
}


def compute(spec: Spec, folder: Path) -> dict:
    """Train on tiles of the other films, and count on the seed's film, clip by clip.

    Returns:
        counts: of ``counts_on``; tests: "independent" → the scores that follow from them, and accuracy, their mean
        without mIoU, by which rates are chosen; facts of the training.
    """
    model, facts = train(spec, folder)
    counts = counts_on(spec.decision, model, tiles_of(folder, spec.knobs, spec.seed, testing=True))
    scores = scores_of(counts)
    chosen = [scores[name] for name in (CENTRE, PRESENCE) if name in scores]
    return {"counts": counts, "tests": {"independent": {"accuracy": float(np.mean(chosen)), **scores}}} | facts


def train(spec: Spec, folder: Path) -> tuple[keras.Model, dict]:
    """The cell's network and its facts."""
    tiles = tiles_of(folder, spec.knobs, spec.seed, testing=False, frames=spec.count)
    if spec.pixels is not None:
        tiles = tiles._replace(masks=some_pixels(tiles, spec.pixels, spec.seed))
    return taught(spec, tiles)


def taught(spec: Spec, tiles: Tiles) -> tuple[keras.Model, dict]:
    """Train an arm on tiles, as ``arms.trained`` does on images: cross-entropy, Adam, half a cosine, the last step.

    Returns:
        The network, which the next training of its shape takes over, and its facts.
    """
    knobs: Photographs = spec.knobs
    kind = ARMS[spec.arm, spec.decision]
    model = fresh(kind, knobs.size, knobs.num_classes, spec.width, frozen=False, seed=spec.seed)
    told = tiles.presence.astype(np.float32) if spec.decision == PRESENCE else tiles.centre
    weigh = class_weights(tiles.masks if kind.on_masks else tiles.centre, knobs.num_classes)
    table = weight_table(weigh)

    def target(masks, labels) -> tuple:
        if kind.on_masks:
            return masks, table[masks]
        if kind.several:
            return (labels,)
        return np.where(labels == VOID, 0, labels), mean_weights(table[labels])

    order = batches(Images(tiles.images, tiles.masks, told), spec.seed, BATCH, knobs.symmetry)
    return model, run(model, order, spec.steps, spec.rate, target)


def mean_weights(weights: np.ndarray) -> np.ndarray:
    """The same, so that Keras's mean over the batch is the weighted mean, which a mask's loss is; 0 where all are."""
    return weights * len(weights) / max(float(weights.sum()), 1e-7)


def counts_on(decision: str, model: keras.Model, tiles: Tiles) -> dict:
    """Count what a network says of a film's tiles, clip by clip.

    Args:
        decision: that its logits (B, K) are of; "": they are of pixels, (B, size, size, K), and answer both.
        model: the network.
        tiles: of one film.

    Returns:
        centre: see ``count_centre``; presence: ``count_presence``; pixels: of each clip the confusion matrix
        [truth, answer] of all pixels. Those that the network answers.
    """
    centres, shares, pixels = [], [], {}
    middle, num_classes = tiles.masks.shape[1] // 2, tiles.presence.shape[1]
    for first in range(0, len(tiles.images), AT_A_TIME):
        part = slice(first, first + AT_A_TIME)
        logits = model.predict_on_batch(tiles.images[part])
        if decision:
            shares.append(logits)
            centres.append(logits.argmax(-1))
            continue
        answers = logits.argmax(-1).astype(np.uint8)
        centres.append(answers[:, middle, middle])
        shares.append(ops.convert_to_numpy(ops.softmax(logits)).mean((1, 2)))
        for clip in np.unique(tiles.clips[part]):
            here = tiles.clips[part] == clip
            table = confusion_matrix(tiles.masks[part][here], answers[here], num_classes)
            pixels[int(clip)] = pixels.get(int(clip), 0) + table
    made = {}
    if decision != PRESENCE:
        made[CENTRE] = count_centre(np.concatenate(centres), tiles)
    if decision != CENTRE:
        made[PRESENCE] = count_presence(np.concatenate(shares), tiles)
    if not decision:
        made["pixels"] = [pixels[clip].tolist() for clip in sorted(pixels)]
    return made


def count_centre(answers: np.ndarray, tiles: Tiles) -> dict:
    """Right answers of each clip by place and class: places, int (pairs,); right and of, int (clips, pairs).

    A pair is a place and a class that LEAST_OF_EACH middle pixels there are of; a place counts with two of them.
    """
    num_classes, clips = tiles.presence.shape[1], int(tiles.clips.max()) + 1
    keys = tiles.places * 256 + tiles.centre
    found, counts = np.unique(keys[tiles.centre < num_classes], return_counts=True)
    found = found[counts >= LEAST_OF_EACH]
    found = [key for key in found if (found // 256 == key // 256).sum() > 1]
    right, of = (np.zeros((clips, len(found)), int) for _ in range(2))
    for column, key in enumerate(found):
        here = keys == key
        np.add.at(of[:, column], tiles.clips[here], 1)
        np.add.at(right[:, column], tiles.clips[here & (answers == key % 256)], 1)
    return {"places": [int(key // 256) for key in found], "right": right.tolist(), "of": of.tolist()}


def count_presence(shares: np.ndarray, tiles: Tiles) -> dict:
    """Count how often a tile with a class outranks one of its place without it, by class and both tiles' clips.

    Args:
        shares: float (N, K), by which a class's tiles are ranked.
        tiles: of one film.

    Returns:
        won, of: int (K, clips, clips): the clip of the tile with the class, of the one without; won counts 2, a tie 1.
        So the area under the ROC curve within places is won / (2 · of). Of places with LEAST_OF_EACH of both.
    """
    clips, member = int(tiles.clips.max()) + 1, np.eye(int(tiles.clips.max()) + 1, dtype=int)[tiles.clips]
    won, of = (np.zeros((tiles.presence.shape[1], clips, clips), int) for _ in range(2))
    for place in np.unique(tiles.places):
        for k in range(tiles.presence.shape[1]):
            there, here = tiles.presence[:, k], tiles.places == place
            with_it, without = np.flatnonzero(here & there), np.flatnonzero(here & ~there)
            if min(len(with_it), len(without)) < LEAST_OF_EACH:
                continue
            first, second = shares[with_it, k][:, None], shares[without, k][None]
            points = 2 * (first > second).astype(int) + (first == second)
            won[k] += member[with_it].T @ points @ member[without]
            of[k] += np.outer(member[with_it].sum(0), member[without].sum(0))
    return {"won": won.tolist(), "of": of.tolist()}
