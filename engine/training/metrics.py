"""The scores that Keras shows while it trains."""

import keras
import tensorflow as tf

from .losses import class_logits, without_channel


class Confusion(keras.metrics.Metric):
    """A score of the confusion matrix of an epoch, int64 (C, C), truth in rows; what weighs 0 is left out."""

    def __init__(self, num_classes, name):
        super().__init__(name=name, dtype="float32")
        self.num_classes = num_classes
        self.confusion = self.add_variable((num_classes, num_classes), "zeros", "int64", name="confusion")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Labels (B, …), logits (B, …, C), weights (B, …); masks (B, H, W, 1) and weights like them too."""
        # Products of one-hot vectors, not a histogram: XLA, which Keras turns on on a GPU, compiles no bincount.
        # float32 counts exactly to 2**24 pixels, so each image is counted alone.
        logits = class_logits(y_pred)
        predicted = tf.one_hot(tf.argmax(logits, axis=-1), self.num_classes)
        true = tf.one_hot(tf.cast(without_channel(y_true), tf.int32), self.num_classes)  # void: a row of zeros
        if sample_weight is not None:
            true *= tf.cast(tf.expand_dims(without_channel(sample_weight), -1) > 0, tf.float32)
        of_images = (tf.shape(true)[0], -1, self.num_classes)
        per_image = tf.einsum("bnt,bnp->btp", tf.reshape(true, of_images), tf.reshape(predicted, of_images))
        self.confusion.assign_add(tf.reduce_sum(tf.cast(per_image, tf.int64), axis=0))  # of (B, C, C)


class MeanIoU(Confusion):
    """Pooled mIoU over an epoch."""

    def __init__(self, num_classes, name="miou"):
        super().__init__(num_classes, name)

    def result(self):
        confusion = tf.cast(self.confusion, tf.float64)
        hits = tf.linalg.diag_part(confusion)
        union = tf.reduce_sum(confusion, 0) + tf.reduce_sum(confusion, 1) - hits
        occurs = tf.cast(union > 0, tf.float64)
        total = tf.reduce_sum(tf.math.divide_no_nan(hits, union))
        return tf.cast(total / tf.reduce_sum(occurs), tf.float32)  # NaN if no class occurs


class Accuracy(Confusion):
    """Share of an epoch's labels that are right."""

    def __init__(self, num_classes, name="accuracy"):
        super().__init__(num_classes, name)

    def result(self):
        confusion = tf.cast(self.confusion, tf.float64)
        return tf.cast(tf.linalg.trace(confusion) / tf.reduce_sum(confusion), tf.float32)


METRICS = {"miou": MeanIoU, "accuracy": Accuracy}  # by a task's score
