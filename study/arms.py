"""One network, several supervisions: what is trained on the same images, from the same weights, in the same order.

S  U-Net, trained on masks; the image's class is the one with most probability, summed over the pixels
C  the same U-Net, trained on the image's class alone: the mean of its pixels' logits
E  the same U-Net's contracting path, global average pooling and a dense layer: the usual classifier

S and C have the same weights to train, by construction. Everything is cross-entropy, Adam, a rate that falls to zero
along half a cosine, and the last step's weights: nothing is chosen on held-out images.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import keras
import numpy as np
from keras import layers, ops

from data_pipeline.augment import Policy, augment
from data_pipeline.encoding import VOID
from data_pipeline.samples import place_of
from data_pipeline.weights import weight_table
from engine.scoring.confusion import balanced_accuracy, confusion_matrix, macro_f1, mean_iou
from engine.training.losses import PixelLoss
from models.classifier import build_classifier, unet_encoder
from models.pretrained import unet_mobilenet_v2
from models.unet import unet

from .scenes import Images

NORM = "group"  # batch statistics of eight images would make the arms differ in noise
SYMMETRY = Policy(symmetry="d4", foreground=0)  # flips and turns of 90°: they neither drop nor double a pixel
PRETRAINED = "mobilenet_v2"  # the encoder of the arms that begin with a file of weights
AT_A_TIME = 100  # images scored together
LEAST_SHARE = 1e-7  # of probability: float32 has no smaller beside 1
LAST_STEPS = 20  # whose mean loss is told


@dataclass(frozen=True)
class Arm:
    """build: size, K, width, weights' file → network for images 0..255; on_masks: whether masks train it, or labels.

    several: whether an image may be of several classes or none, each a yes or no."""

    build: Callable[[int, int, int, str | None], keras.Model]
    on_masks: bool
    several: bool = False

    @property
    def loss(self) -> keras.losses.Loss:
        if self.several:
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return PixelLoss("ce") if self.on_masks else keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def segmenter(size: int, num_classes: int, width: int, weights: str | None = None) -> keras.Model:
    return unet(num_classes + 1, (size, size, 3), width=width, norm=NORM)


def pooled_segmenter(size: int, num_classes: int, width: int, weights: str | None = None) -> keras.Model:
    """The mean over the pixels of the classes' logits; the background's is left out, no image being of it."""
    network = segmenter(size, num_classes, width)
    logits = layers.GlobalAveragePooling2D(name="pool")(network.output)[:, 1:]
    return keras.Model(network.inputs, logits, name="pooled_unet")


def encoder(size: int, num_classes: int, width: int, weights: str | None = None, norm: str = NORM) -> keras.Model:
    _, path = unet_encoder((size, size, 3), None, width=width, norm=norm)
    inputs = layers.Input((size, size, 3))
    x = path(layers.Rescaling(1 / 255, dtype="float32", name="rescale")(inputs))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name="unet_encoder_classifier")


def pretrained_segmenter(size: int, num_classes: int, width: int, weights: str | None) -> keras.Model:
    return unet_mobilenet_v2(num_classes + 1, (size, size, 3), weights=weights)


def pretrained_encoder(size: int, num_classes: int, width: int, weights: str | None) -> keras.Model:
    return build_classifier(PRETRAINED, num_classes, (size, size, 3), weights=weights, dropout=0.0)


ARMS = {
    "S": Arm(segmenter, on_masks=True),
    "C": Arm(pooled_segmenter, on_masks=False),
    "E": Arm(encoder, on_masks=False),
    "S pretrained": Arm(pretrained_segmenter, on_masks=True),
    "E pretrained": Arm(pretrained_encoder, on_masks=False),
}


def trained(
    arm: str,
    train: Images,
    *,
    steps: int,
    rate: float,
    seed: int,
    width: int,
    balanced: bool = False,
    encoder: list[np.ndarray] | None = None,
    frozen: bool = False,
    batch: int = 8,
    symmetry: str = "d4",
    weights: str | None = None,
) -> tuple[keras.Model, dict]:
    """Train an arm.

    Args:
        arm: a key of ARMS.
        train: images of every class. In their masks, void has no say: that is how few pixels are labelled.
        steps: of training, with ``batch`` images each.
        rate: learning rate of the first step.
        seed: of the weights, and of the order and variation of the images.
        width: channels of U-Net's first level.
        balanced: of S: every class of the masks weighs alike, over the training set, in place of every pixel.
        encoder: weights to begin with in the contracting path, from ``encoder_weights``; None: drawn ones.
        frozen: whether the contracting path keeps its weights.
        symmetry: of the images' variation: none, horizontal or d4.
        weights: a file of a pretrained encoder's, for the arms that have one.

    Returns:
        The network, which the next training of its shape takes over, and its facts (``run``).
    """
    num_classes, kind = int(train.labels.max()) + 1, ARMS[arm]
    model = fresh(kind, train.images.shape[1], num_classes, width, frozen, seed, weights)
    for layer, weights in zip(contracting(model), encoder or [], strict=False):
        layer.set_weights(weights)
    weigh = class_weights(train.masks, num_classes + 1) if balanced else np.ones(num_classes + 1)
    table = weight_table(weigh)

    def target(masks, labels) -> tuple:
        return (masks, table[masks]) if kind.on_masks else (labels, None)

    return model, run(model, batches(train, seed, batch, symmetry), steps, rate, target)


def run(model: keras.Model, order: Iterator[Images], steps: int, rate: float, target: Callable) -> dict:
    """Train a compiled network on batches, its rate falling to zero along half a cosine.

    Args:
        target: masks, labels → what ``train_on_batch`` takes beside the images.

    Returns:
        loss, the mean over the last training steps; parameters, those that trained; multiply_adds, of one image's
        forward pass.
    """
    losses = []
    for step, (images, masks, labels) in zip(range(steps), order, strict=False):
        model.optimizer.learning_rate.assign(rate * 0.5 * (1 + math.cos(math.pi * step / steps)))
        losses.append(float(model.train_on_batch(images, *target(masks, labels))))
    return {
        "loss": float(np.mean(losses[-LAST_STEPS:])),
        "parameters": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        "multiply_adds": multiply_adds(model),
    }


@cache
def compiled(kind: Arm, size: int, num_classes: int, width: int, frozen: bool, weights: str | None) -> keras.Model:
    """One network for all trainings of its shape: to compile it takes as long as some hundred steps."""
    model = kind.build(size, num_classes, width, weights)
    for layer in contracting(model):
        layer.trainable = not frozen
    model.compile(keras.optimizers.Adam(), loss=kind.loss)
    return model


def fresh(
    kind: Arm, size: int, num_classes: int, width: int, frozen: bool, seed: int, weights: str | None = None
) -> keras.Model:
    """The compiled network with the seed's weights and an optimizer that has not begun."""
    model = compiled(kind, size, num_classes, width, frozen, weights)
    keras.utils.set_random_seed(seed)
    drawn = kind.build(size, num_classes, width, weights)
    for ours, theirs in zip(model.layers, drawn.layers, strict=True):
        ours.set_weights(theirs.get_weights())
    for variable in model.optimizer.variables:
        variable.assign(ops.zeros_like(variable))
    return model


def contracting(model: keras.Model) -> list[keras.Layer]:
    """The layers with weights of the contracting path, in the order of all arms."""
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    layers_of = inner[0].layers if inner else model.layers
    return [layer for layer in layers_of if layer.weights and layer.name.startswith(("down", "bottom"))]


def encoder_weights(model: keras.Model) -> list[list[np.ndarray]]:
    """Return each layer's weights in the contracting path: another arm's start, for ``trained``."""
    return [layer.get_weights() for layer in contracting(model)]


def multiply_adds(model: keras.Model) -> int:
    """Count the multiply-adds of one image's forward pass, in convolutions and dense layers: each tap of a kernel,
    wherever it is laid."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, layers.Conv2DTranspose):  # laid on each pixel of its input
            total += math.prod(layer.kernel.shape) * math.prod(layer.input.shape[1:3])
        elif isinstance(layer, (layers.Conv2D, layers.Dense)):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
    return total


def batches(train: Images, seed: int, batch: int, symmetry: str = "d4") -> Iterator[Images]:
    """Endless: each image once in every pass, in a drawn order, flipped and turned; the same for every arm."""
    first, policy = 0, replace(SYMMETRY, symmetry=symmetry)
    while True:
        places = [place_of(position, seed, len(train.labels)) for position in range(first, first + batch)]
        chosen = [index for _, index in places]
        drawn = [augment(train.images[i], train.masks[i], (seed, number, i), policy) for number, i in places]
        images, masks = (np.stack(part) for part in zip(*drawn, strict=True))
        yield Images(images, masks, train.labels[chosen])
        first += batch


def class_weights(masks: np.ndarray, num_classes: int) -> np.ndarray:
    """Return each class's weight, so that all weigh alike over these masks and the labelled pixels 1 on average;
    absent: 0."""
    pixels = np.bincount(masks[masks != VOID], minlength=num_classes)[:num_classes]
    present = pixels > 0
    return np.where(present, pixels.sum() / (present.sum() * np.maximum(pixels, 1)), 0.0)


def few_pixels(masks: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Masks with ``count`` labelled pixels each, void elsewhere: half on the target, half on the background.

    Of an odd number the odd one falls to either by a coin; with a single one, so does it. Where one side has too few,
    the other gives more. Drawn once, for each image by its place, so that the smaller count's pixels are among the
    larger's.

    Raises:
        ValueError: where a mask has fewer labelled pixels.
    """
    kept = np.full_like(masks, VOID)
    for i, mask in enumerate(masks):
        rng = np.random.default_rng([seed, i])
        odd = rng.integers(2)
        ground, target = (rng.permutation(np.flatnonzero(side)) for side in (mask == 0, (mask > 0) & (mask != VOID)))
        if count > len(ground) + len(target):
            raise ValueError(f"image {i} has {len(ground) + len(target)} labelled pixels, {count} are wanted")
        on_ground = max(count - len(target), min(count // 2 + (count % 2) * (odd == 0), len(ground)))
        for places in (ground[:on_ground], target[: count - on_ground]):
            kept[i].flat[places] = mask.flat[places]
    return kept


def clicks(train: Images, on: int, off: int | None, seed: int) -> np.ndarray:
    """Masks with ``on`` labelled pixels of the image's class and ``off`` of all else, void elsewhere.

    off: None: all. Of either as many as there are. Drawn once, for each image by its place, so that fewer pixels are
    among more.
    """
    kept = np.full_like(train.masks, VOID)
    for i, (mask, label) in enumerate(zip(train.masks, train.labels, strict=True)):
        rng, target = np.random.default_rng([seed, i]), mask == label + 1
        for places, count in ((target, on), (~target & (mask != VOID), off)):
            chosen = rng.permutation(np.flatnonzero(places))[:count]
            kept[i].flat[chosen] = mask.flat[chosen]
    return kept


def score_on(arm: str, model: keras.Model, test: Images) -> dict:
    """Score how well the images' classes are told, and the pixels'.

    Returns:
        accuracy: balanced over the images' classes. likelihood: the geometric mean of the probability that was given
        to the right class, e to the power of minus the mean negative log-likelihood; 1/K for one who knows nothing.
        miou, dice: means over background and classes, of an arm that paints, else None.
    """
    on_masks, told, pixels = ARMS[arm].on_masks, [], 0
    for first in range(0, len(test.labels), AT_A_TIME):
        part = slice(first, first + AT_A_TIME)
        logits = model.predict_on_batch(test.images[part])
        shares = ops.convert_to_numpy(ops.softmax(logits)).astype(float)
        if on_masks:
            pixels += confusion_matrix(test.masks[part], logits.argmax(-1).astype(np.uint8), logits.shape[-1])
            sums = shares[..., 1:].sum((1, 2))
            shares = sums / sums.sum(-1, keepdims=True)
        told.append(shares)
    shares = np.concatenate(told)
    table = confusion_matrix(test.labels, shares.argmax(-1), shares.shape[-1])
    right = shares[np.arange(len(shares)), test.labels]
    return {
        "accuracy": float(balanced_accuracy(table)),
        "likelihood": float(np.exp(np.log(np.maximum(right, LEAST_SHARE)).mean())),
        "miou": float(mean_iou(pixels)) if on_masks else None,
        "dice": float(macro_f1(pixels)) if on_masks else None,
    }
