"""Training samples of photos of one label each, by number. No TensorFlow: workers import this."""

from dataclasses import dataclass

import numpy as np

from .augment import Policy, augment
from .loader import PhotoLoader
from .samples import Signature, place_of


@dataclass(frozen=True)
class PhotoSamples:
    """Sample number p of photos: image and label, the same pure function of (seed, p)."""

    loader: PhotoLoader
    policy: Policy
    seed: int

    def __call__(self, position: int) -> tuple[np.ndarray, np.int32]:
        pass_number, index = place_of(position, self.seed, len(self.loader.pairs))
        image, _ = augment(*self.loader(index), (self.seed, pass_number, index), self.policy)
        return image, np.int32(self.loader.pairs[index].label)

    def signature(self) -> Signature:
        like = self.loader(0)[0]
        return ((*self.policy.crop, like.shape[-1]), like.dtype), ((), np.dtype(np.int32))
