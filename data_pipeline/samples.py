"""Training samples by number: which pair each is, and how it is cut and varied. No TensorFlow: workers import this."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .augment import Policy, augment
from .loader import Loader

SHUFFLE = 0x5F  # sets the shuffling's random stream apart from the augmentation's

Weigh = Callable[[np.ndarray], np.ndarray]  # mask uint8 (H, W) → weight float32 (H, W)
Signature = tuple[tuple[tuple[int, ...], np.dtype], ...]  # shape and type of each of a sample's arrays


@lru_cache(maxsize=4)
def permutation(seed: int, pass_number: int, count: int) -> np.ndarray:
    return np.random.default_rng([SHUFFLE, seed, pass_number]).permutation(count)


def place_of(position: int, seed: int, count: int) -> tuple[int, int]:
    """(pass, index of the pair) of sample number ``position``, where there are ``count`` pairs.

    A pass is once through all pairs; an epoch, which is from one validation to the next (fit.py), may be more or less.
    """
    pass_number, place = divmod(int(position), count)
    return pass_number, int(permutation(seed, pass_number, count)[place])


def names_of_samples(loader: Loader, seed: int, first: int, many: int) -> list[str]:
    """Names of the images of some samples, by the first one's number."""
    count = len(loader.pairs)
    return [loader.pairs[place_of(number, seed, count)[1]].image.name for number in range(first, first + many)]


@dataclass(frozen=True)
class MaskSamples:
    """Sample number p: image, mask, and the mask's weights.

    It is a pure function of (seed, p): pass p // n, its place in that pass's permutation, and a draw of the
    augmentation of its own. So a stream of samples can start anywhere, on any machine, with any number of threads or
    processes, and be the same.

    loader: the training pairs. policy: augmentation, with its crop set. weigh: a mask's weights. seed: of the run.
    """

    loader: Loader
    policy: Policy
    weigh: Weigh
    seed: int

    def __call__(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pass_number, index = place_of(position, self.seed, len(self.loader.pairs))
        image, mask = augment(*self.loader(index), (self.seed, pass_number, index), self.policy)
        return image, mask, self.weigh(mask)

    def signature(self) -> Signature:
        (height, width), margin, like = self.policy.crop, 2 * self.policy.margin, self.loader(0)[0]
        image = (height + margin, width + margin, like.shape[-1])
        return (image, like.dtype), ((height, width), np.dtype(np.uint8)), ((height, width), np.dtype(np.float32))
