"""Losses on logits. All they know beside labels and logits is the batch's weight, which is 0 at void and padding.

Each takes labels (B, H, W) of any integer type, logits (B, H, W, C) and weight, float32 (B, H, W), and returns one
float32 number, its mean or ratio over the batch. A pixel that weighs 0 contributes nothing, whatever its label and
its (finite) logits; the weight must be 0 wherever the label is no class. A batch that is void throughout gives 0, and
a gradient of 0. C is at least 2, for a softmax, or 1: one sigmoid logit. The losses of overlap (all but ce and focal)
then look at the foreground alone.

Where several devices share a batch (``tf.distribute``), each sum over the batch runs over all of them, so that value
and gradient are those of one device with the whole batch. ``lovasz`` alone cannot: see there.
"""

import keras
import tensorflow as tf
from keras import ops

from data_pipeline.encoding import VOID

FOCUS = 2.0  # γ of the focal loss: Lin et al. 2017, section 3.2
FALSE_POSITIVE_COST, FALSE_NEGATIVE_COST = 0.3, 0.7  # α and β of the Tversky index: the best of Salehi et al. 2017


def cross_entropy(labels, logits, weight):
    """Σ w·(−log p of the true class) / Σ w; 0 for a batch that is void throughout."""
    return weighted_mean(minus_log_p(labels, logits), weight)


def focal(labels, logits, weight):
    """Σ w·(1 − p)²·(−log p) / Σ w, p of the true class: cross-entropy that cares less for pixels already right.

    Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv 1708.02002), equation 4, γ = 2. The paper's
    α is a class weight, so it belongs in the batch's weight; its division by the number of anchors that hold an
    object has no meaning for pixels, and is the division by the weights here.
    """
    pixels = minus_log_p(labels, logits)
    one_minus_p = -ops.expm1(-pixels)  # exact near p = 1 too
    return weighted_mean(ops.power(one_minus_p, FOCUS) * pixels, weight)


def dice(labels, logits, weight):
    """1 − mean over classes of (2Σwyp + 1) / (Σwy + Σwp + 1), each sum over the whole batch.

    With one logit: the blog's loss, on the foreground class alone. Milletari et al. 2016 (arXiv
    1606.04797), section 3, with the blog's smoothing and without its squares.

    The two 1s (of dice, jaccard and tversky alike) keep 0/0 away: a class that is neither true nor predicted
    scores 1, so it adds no loss and no gradient; an absent class that is predicted on a mass of n pixels scores
    1 / (n + 1), so that false alarms cost.
    """
    return over_batch(dice_coefficient, labels, logits, weight)


def dice_per_image(labels, logits, weight):
    """``dice`` of each image, averaged over those that are not void throughout."""
    return over_images(dice_coefficient, labels, logits, weight)


def jaccard(labels, logits, weight):
    """1 − mean over classes of (Σwyp + 1) / (Σw(y + p − yp) + 1), each sum over the whole batch.

    Rahman and Wang 2016, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation",
    with smoothing as in ``dice``.
    """
    return over_batch(jaccard_coefficient, labels, logits, weight)


def jaccard_per_image(labels, logits, weight):
    """``jaccard`` of each image, averaged over those that are not void throughout."""
    return over_images(jaccard_coefficient, labels, logits, weight)


def tversky(labels, logits, weight):
    """1 − mean over classes of (TP + 1) / (TP + 0.3·FP + 0.7·FN + 1), soft counts over the whole batch.

    TP = Σwyp, FP = Σw(1 − y)p, FN = Σwy(1 − p): α = 0.3 is the price of false positives, β = 0.7 of false
    negatives, so that small objects are rather found too large than missed. (Some later papers swap the letters.)
    Salehi et al. 2017, "Tversky loss function for image segmentation using 3D fully convolutional deep networks"
    (arXiv 1706.05721), with smoothing as in ``dice``. The paper has lesions and background; with several classes,
    one's false positives are another's false negatives.
    """
    return over_batch(tversky_coefficient, labels, logits, weight)


def tversky_per_image(labels, logits, weight):
    """``tversky`` of each image, averaged over those that are not void throughout."""
    return over_images(tversky_coefficient, labels, logits, weight)


def lovasz(labels, logits, weight):
    """Lovász-softmax: the Jaccard loss, extended from sets of wrong pixels to errors of 0 to 1; over the whole batch.

    Berman, Triki, Blaschko 2018 (arXiv 1705.08790), definition 2, with sums of weights in place of counts of pixels;
    the mean over the classes that are present in the truth, as in the authors' code. An absent class has no say
    (predicting it costs through the classes that it displaces), and with one logit a batch without foreground gives
    0, false alarms or not: there it belongs beside ce.

    The errors of all pixels are sorted for each class, which several devices cannot do apart: where they share a
    batch, this is the mean of the devices' own losses, each over its part of the batch (0 for a part that is void).
    ``lovasz_per_image`` does not depend on the number of devices.
    """
    return lovasz_of_rows(labels, logits, weight, (1, -1))[0]


def lovasz_per_image(labels, logits, weight):
    """``lovasz`` of each image, over the classes present there, averaged over images that are not void throughout."""
    _, height, width = ops.shape(labels)
    return mean_over_images(lovasz_of_rows(labels, logits, weight, (-1, height * width)), weight)


# A new loss: a function of labels, logits and weight above, whose sums over the batch go through over_replicas; its
# name here; in engine/config.py in LOSS_TERMS and in the words of --loss; and in docs/train.md. tests/test_losses.py
# holds these together and runs every loss here; it wants a value worked out by hand.
LOSSES = {
    "ce": cross_entropy,
    "focal": focal,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "lovasz": lovasz,
    "dice_per_image": dice_per_image,
    "jaccard_per_image": jaccard_per_image,
    "tversky_per_image": tversky_per_image,
    "lovasz_per_image": lovasz_per_image,
}


class PixelLoss(keras.losses.Loss):
    """A loss from the table, or a sum of them, for model.compile; the sample weight is the batch's weight.

    Called on labels (B, H, W) or (B, H, W, 1), logits (B, H, W, C) and the sample weight, (B, H, W), (B, H, W, 1) or
    (B,). Without one, and with one number for each image, void (255) weighs nothing and every other pixel alike.

    Args:
        name: such as "ce" or "ce+dice".

    Raises:
        ValueError: for a name that is not in the table.
    """

    def __init__(self, name):
        for term in name.split("+"):
            if term not in LOSSES:
                raise ValueError(f"loss {name!r}: {term!r} is none of {', '.join(LOSSES)}, or a sum such as ce+dice")
        super().__init__(name=name)
        self.terms = [LOSSES[term] for term in name.split("+")]

    # Not ``call``, whose losses of pixels Keras would average: this is a ratio of sums over the batch and the devices.
    def __call__(self, y_true, y_pred, sample_weight=None):
        labels = without_channel(y_true)
        weight = weight_of_pixels(labels, sample_weight)
        total = sum(term(labels, y_pred, weight) for term in self.terms)
        # Keras adds up the gradients of the replicas, and multiplies the loss that it logs by their number.
        return total / replicas()


def without_channel(x):
    """(B, H, W, 1), as Keras's own losses take masks, → (B, H, W); any other tensor as it is."""
    return ops.squeeze(x, -1) if len(x.shape) == 4 else x


def weight_of_pixels(labels, sample_weight):
    """The weight (B, H, W), float32, that a sample weight means; see PixelLoss."""
    if sample_weight is not None and len(sample_weight.shape) > 1:
        return ops.cast(without_channel(sample_weight), "float32")
    labelled = ops.cast(ops.not_equal(ops.cast(labels, "int32"), VOID), "float32")
    if sample_weight is None:
        return labelled
    return labelled * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1, 1))


def class_logits(logits):
    """Logits of at least two channels: one sigmoid logit x becomes [0, x], whose softmax is [1 − σ(x), σ(x)]."""
    logits = ops.cast(logits, "float32")
    if logits.shape[-1] > 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)


def replicas():
    """Return how many devices share the batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def over_replicas(x):
    """The sum of a tensor over the devices that share the batch; its gradient sums likewise."""
    context = tf.distribute.get_replica_context()  # None while Keras only works out shapes
    return x if context is None or replicas() == 1 else context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def minus_log_p(labels, logits):
    """−log p of each pixel's true class, (B, H, W); 0 at void."""
    logits = class_logits(logits)
    true = ops.one_hot(ops.cast(labels, "int32"), logits.shape[-1])  # void: a row of zeros
    return -ops.sum(true * ops.log_softmax(logits), axis=-1)


def weighted_mean(pixels, weight):
    return over_replicas(ops.sum(weight * pixels)) / ops.maximum(over_replicas(ops.sum(weight)), 1e-6)


def true_and_predicted(labels, logits):
    """One-hot labels and probabilities, both (B, H, W, C)."""
    predicted = ops.softmax(class_logits(logits))
    return ops.one_hot(ops.cast(labels, "int32"), predicted.shape[-1]), predicted


# The coefficients take true and predicted, (B, H, W, C), and total, which gives the weighted sum of such a tensor over
# the pixels that count together: (C,) for a batch, (B, C) for each image.


def dice_coefficient(true, predicted, total):
    return (2 * total(true * predicted) + 1) / (total(true + predicted) + 1)


def jaccard_coefficient(true, predicted, total):
    return (total(true * predicted) + 1) / (total(true + predicted - true * predicted) + 1)


def tversky_coefficient(true, predicted, total):
    hits, false_positives, false_negatives = map(
        total, (true * predicted, (1 - true) * predicted, true * (1 - predicted))
    )
    return (hits + 1) / (hits + FALSE_POSITIVE_COST * false_positives + FALSE_NEGATIVE_COST * false_negatives + 1)


def over_batch(coefficient, labels, logits, weight):
    """1 − the coefficient, its sums taken over the whole batch."""
    weight = ops.expand_dims(weight, -1)
    true, predicted = true_and_predicted(labels, logits)
    values = coefficient(true, predicted, lambda x: over_replicas(ops.sum(weight * x, axis=(0, 1, 2))))
    return 1 - mean_over_classes(values, logits)


def over_images(coefficient, labels, logits, weight):
    """Mean over images of 1 − the coefficient, its sums taken over each image."""
    pixel_weight = ops.expand_dims(weight, -1)
    true, predicted = true_and_predicted(labels, logits)
    values = coefficient(true, predicted, lambda x: ops.sum(pixel_weight * x, axis=(1, 2)))
    return mean_over_images(1 - mean_over_classes(values, logits), weight)


def mean_over_classes(values, logits):
    """(…, C) → (…); with one logit, the foreground's value."""
    return values[..., 1] if logits.shape[-1] == 1 else ops.mean(values, axis=-1)


def mean_over_images(values, weight):
    """(B,) → a number: the mean over images that are not void throughout, of all devices; 0 if there is none."""
    counts = ops.cast(ops.sum(weight, axis=(1, 2)) > 0, "float32")
    return over_replicas(ops.sum(counts * values)) / ops.maximum(over_replicas(ops.sum(counts)), 1)


def lovasz_of_rows(labels, logits, weight, rows):
    """Lovász-softmax of each row, (R,), the pixels reshaped to ``rows`` = (R, P); 0 where no class is present."""
    first = 1 if logits.shape[-1] == 1 else 0  # with one logit: the foreground alone
    true, predicted = (x[..., first:] for x in true_and_predicted(labels, logits))
    weight = ops.expand_dims(weight, -1)
    errors = ops.abs(true - predicted) * ops.cast(weight > 0, "float32")  # void comes last when they are sorted
    signed = weight * (2 * true - 1)
    errors, signed = (
        ops.transpose(ops.reshape(x, (*rows, true.shape[-1])), (0, 2, 1)) for x in (errors, signed)
    )  # (R, C, P)
    present = ops.cast(ops.max(signed, axis=-1, initial=0) > 0, "float32")  # (R, C)
    return ops.sum(lovasz_extension(errors, signed), axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1)


def lovasz_extension(errors, signed):
    """The Lovász extension of the weighted Jaccard loss at errors (…, P) → (…); 0 for an absent class.

    ``signed`` is +w for pixels of the class and −w for others. With the i worst pixels taken for wrong, the Jaccard
    loss is 1 − inside_i / union_i: inside_i is what remains of the class, union_i the class and the wrong pixels
    outside of it. Each error weighs as much as that loss grows by its pixel: by w / union_i in the class, and by
    w·inside_i / (union_i·union_i−1) outside. (Written so, small steps are not lost between two large numbers, and
    a pixel that weighs 0 drops out.)
    """
    worst_first = ops.argsort(-errors, axis=-1)
    errors, signed = (ops.take_along_axis(x, worst_first, axis=-1) for x in (errors, signed))
    in_class, outside = ops.relu(signed), ops.relu(-signed)
    size = ops.sum(in_class, axis=-1, keepdims=True)
    inside = size - ops.cumsum(in_class, axis=-1)
    union = size + ops.cumsum(outside, axis=-1)
    steps = ops.divide_no_nan(in_class + outside * ops.divide_no_nan(inside, union - outside), union)
    return ops.sum(errors * steps, axis=-1)
