"""Information in labels, in bits: those of a class per image, and those of masks, coded without loss."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from scipy.special import gammaln

BASE = 257  # values of a byte, and outside
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1))  # left, above, above left, above right: what a decoder knows


def class_bits(labels: np.ndarray, num_classes: int) -> dict[str, float]:
    """Bits of one label: "uniform", log2 K, and "entropy", what it holds given how frequent the classes are."""
    share = np.bincount(labels, minlength=num_classes) / len(labels)
    known = share[share > 0]
    return {"uniform": float(np.log2(num_classes)), "entropy": float(-(known * np.log2(known)).sum())}


def mask_bits(masks: Iterable[np.ndarray]) -> float:
    """Bits of some masks, coded without loss one after the other: an upper bound of what they hold.

    An adaptive code: each pixel is predicted from its four neighbours that came before (left, above, above left,
    above right; outside the image another symbol), by how often each class followed them so far, with the
    Krichevsky–Trofimov estimator (1981), (n + ½) / (N + K/2). An arithmetic coder needs at most 2 bits more. The
    length depends on the final counts alone, so nothing has to be coded: Π Γ(n + ½)/Γ(½) · Γ(K/2)/Γ(N + K/2).

    Args:
        masks: one by one, uint8 (H, W) each, classes and void, which is a symbol like another; their sizes are known.
    """
    counted: Counter = Counter()  # of a pixel's neighbours and itself, as one number
    for mask in masks:
        codes = mask.astype(np.int64) + 1  # 0 is outside
        height, width = codes.shape
        framed = np.zeros((height + 1, width + 2), np.int64)
        framed[1:, 1:-1] = codes
        context = np.zeros_like(codes)
        for down, right in NEIGHBOURS:
            context = context * BASE + framed[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        numbers, counts = np.unique(context * BASE + codes, return_counts=True)
        counted.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    pairs, counts = (np.array(list(part), np.int64) for part in (counted.keys(), counted.values()))
    _, place = np.unique(pairs // BASE, return_inverse=True)
    totals = np.bincount(place, counts)
    alphabet = len(np.unique(pairs % BASE))
    nats = -(gammaln(counts + 0.5) - gammaln(0.5)).sum()
    nats -= (gammaln(alphabet / 2) - gammaln(totals + alphabet / 2)).sum()
    return float(nats / np.log(2))
