"""The score that Keras shows while it trains."""

import keras
import tensorflow as tf

from .losses import class_logits


class MeanIoU(keras.metrics.Metric):
    """Pooled mIoU over an epoch; ``confusion`` holds the matrix, int64 (C, C). Pixels of weight 0 are left out."""

    def __init__(self, num_classes, name="miou"):
        super().__init__(name=name, dtype="float32")
        self.num_classes = num_classes
        self.confusion = self.add_variable((num_classes, num_classes), "zeros", "int64", name="confusion")

    def update_state(self, y_true, y_pred, sample_weight=None):
        # Products of one-hot vectors, not a histogram: XLA, which Keras turns on on a GPU, compiles no bincount.
        # float32 counts exactly to 2**24 pixels, so each image is counted alone.
        logits = class_logits(y_pred)
        predicted = tf.one_hot(tf.argmax(logits, axis=-1), self.num_classes)
        true = tf.one_hot(tf.cast(y_true, tf.int32), self.num_classes)  # void: a row of zeros
        if sample_weight is not None:
            true *= tf.cast(tf.expand_dims(sample_weight, -1) > 0, tf.float32)
        per_image = tf.einsum("bhwt,bhwp->btp", true, predicted)  # (B, C, C)
        self.confusion.assign_add(tf.reduce_sum(tf.cast(per_image, tf.int64), axis=0))

    def result(self):
        confusion = tf.cast(self.confusion, tf.float64)
        hits = tf.linalg.diag_part(confusion)
        union = tf.reduce_sum(confusion, 0) + tf.reduce_sum(confusion, 1) - hits
        occurs = tf.cast(union > 0, tf.float64)
        total = tf.reduce_sum(tf.math.divide_no_nan(hits, union))
        return tf.cast(total / tf.reduce_sum(occurs), tf.float32)  # NaN if no class occurs
