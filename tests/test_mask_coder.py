"""The length that ``mask_bits`` states is that of a real code: it is written here, and read back."""

from collections import Counter
from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from data_pipeline.label_bits import NEIGHBOURS, mask_bits

OUTSIDE = -1


class Model:
    """Krichevsky and Trofimov's probabilities of the next pixel, from the pixels before it."""

    def __init__(self, symbols: list[int]):
        self.symbols, self.counts = symbols, Counter()

    def parts(self, context: tuple) -> list[tuple[int, Fraction]]:
        counts = [self.counts[context, symbol] + Fraction(1, 2) for symbol in self.symbols]
        return [(symbol, count / sum(counts)) for symbol, count in zip(self.symbols, counts, strict=True)]


def context_of(mask: np.ndarray, row: int, column: int) -> tuple:
    near = [(row + down, column + right) for down, right in NEIGHBOURS]
    return tuple(int(mask[r, c]) if r >= 0 and 0 <= c < mask.shape[1] else OUTSIDE for r, c in near)


def places(masks: list[np.ndarray]):
    return [(mask, row, column) for mask in masks for row in range(mask.shape[0]) for column in range(mask.shape[1])]


def encode(masks: list[np.ndarray], symbols: list[int]) -> tuple[Fraction, Fraction]:
    """An arithmetic code in exact fractions: the interval's start and width."""
    model, start, width = Model(symbols), Fraction(0), Fraction(1)
    for mask, row, column in places(masks):
        context, pixel = context_of(mask, row, column), int(mask[row, column])
        for symbol, share in model.parts(context):
            if symbol == pixel:
                width *= share
                break
            start += width * share
        model.counts[context, pixel] += 1
    return start, width


def decode(number: Fraction, shapes: list[tuple[int, int]], symbols: list[int]) -> list[np.ndarray]:
    """The masks, from a number inside the interval and their sizes."""
    model, masks = Model(symbols), [np.zeros(shape, np.uint8) for shape in shapes]
    for mask, row, column in places(masks):
        context = context_of(mask, row, column)
        for symbol, share in model.parts(context):
            if number < share:
                mask[row, column], number = symbol, number / share
                break
            number -= share
        model.counts[context, int(mask[row, column])] += 1
    return masks


masks_of_few_classes = st.lists(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.sampled_from([0, 1, 3, 255])),
    min_size=1,
    max_size=3,
)


@given(masks_of_few_classes)
@settings(max_examples=60, deadline=None)
def test_masks_come_back_from_a_code_of_the_stated_length(masks):
    symbols = sorted({int(pixel) for mask in masks for pixel in mask.ravel()})
    start, width = encode(masks, symbols)
    assert mask_bits(masks) == pytest.approx(log2(width.denominator) - log2(width.numerator), abs=1e-6)
    read = decode(start + width / 2, [mask.shape for mask in masks], symbols)
    assert all(np.array_equal(mask, again) for mask, again in zip(masks, read, strict=True))
