"""A U-Net on arrays of your own, in 50 lines: no files, no runs, no flags.

python -m examples.minimal
"""

import keras
import numpy as np

from data_pipeline.augment import preset
from data_pipeline.batches import training_batches
from data_pipeline.weights import pixel_weights
from engine.training.losses import PixelLoss
from engine.training.metrics import MeanIoU
from models import build_model


class Arrays:
    """The pairs as ``training_batches`` asks for them: their number, and each one's image (H, W, 3) and mask (H, W)."""

    def __init__(self, images, masks):
        self.pairs = list(zip(images, masks, strict=True))

    def __call__(self, index):
        return self.pairs[index]


# Put your own here: images uint8 (N, H, W, 3); masks uint8 (N, H, W), classes 0…C−1, 255 where nobody labelled.
rng = np.random.default_rng(0)
masks = np.zeros((24, 64, 64), np.uint8)
for mask, (top, left) in zip(masks, rng.integers(4, 28, (24, 2)), strict=True):
    mask[top : top + 32, left : left + 32] = 1
images = (rng.integers(0, 120, (24, 64, 64, 3)) + 80 * masks[..., None]).astype(np.uint8)

keras.utils.set_random_seed(0)
model = build_model("unet", num_classes=2, width=8)
policy = preset("light", symmetry="d4", crop=(64, 64))
batches = training_batches(
    Arrays(images[1:], masks[1:]),
    policy,
    lambda mask: pixel_weights(mask, np.ones(2, np.float32)),
    seed=0,
    batch_size=4,
)
model.compile(keras.optimizers.Adam(0.003), loss=PixelLoss("ce+dice"), weighted_metrics=[MeanIoU(2)])
model.fit(batches, steps_per_epoch=20, epochs=3, shuffle=False)

predicted = model.predict(images[:1], verbose=0).argmax(-1)[0]  # (H, W), classes
print(f"{(predicted == masks[0]).mean():.1%} of an image that it was not trained on is right")
