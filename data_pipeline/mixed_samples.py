"""Training samples of two kinds by turns. No TensorFlow: workers import this."""

from dataclasses import dataclass

import numpy as np

from .samples import MaskSamples, Signature, names_of_samples


@dataclass(frozen=True)
class MixedSamples:
    """Sample number p: of the first kind if p is even, of the second if it is odd; a pure function of p, as theirs.

    first, second: of one frame and one type of images.
    """

    first: MaskSamples
    second: MaskSamples

    def __call__(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        samples, number = self.place(position)
        return samples(number)

    def place(self, position: int) -> tuple[MaskSamples, int]:
        """The kind of sample number ``position``, and its number among those of its kind."""
        number, odd = divmod(int(position), 2)
        return (self.second if odd else self.first), number

    def signature(self) -> Signature:
        return self.first.signature()

    def names(self, first: int, many: int) -> list[str]:
        """Names of the images of some samples, by the first one's number."""
        places = [self.place(position) for position in range(first, first + many)]
        return [names_of_samples(samples.loader, samples.seed, number, 1)[0] for samples, number in places]
