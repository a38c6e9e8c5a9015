"""Distances that are the same at every call."""

import numpy as np
from scipy import ndimage

from data_pipeline.distances import distances_to_zero, squared_distances_to_zero
from data_pipeline.weights import pixel_weights


def shifted_in_memory(array: np.ndarray, by: int) -> np.ndarray:
    """The same array at another place: OpenCV's last bits follow from where the bytes lie."""
    room = np.empty(array.size + by, np.uint8)
    room[by:] = array.ravel()
    return room[by:].reshape(array.shape)


def test_by_hand():
    places = np.ones((2, 4), np.uint8)
    places[0, 0] = 0
    assert squared_distances_to_zero(places).tolist() == [[0, 1, 4, 9], [1, 2, 5, 10]]
    assert distances_to_zero(places)[1, 3] == np.float32(10**0.5)
    assert (distances_to_zero(np.ones((3, 3), np.uint8)) > 1e9).all(), "no pixel is 0"


def test_every_call_gives_the_same_bytes():
    rng = np.random.default_rng(0)
    for _ in range(60):
        places = (rng.random(rng.integers(20, 100, 2)) > 0.02).astype(np.uint8)
        assert len({distances_to_zero(shifted_in_memory(places, by)).tobytes() for by in range(6)}) == 1
        np.testing.assert_allclose(distances_to_zero(places), ndimage.distance_transform_edt(places), rtol=1e-7)


def test_every_call_gives_the_same_border_weights():
    rng = np.random.default_rng(0)
    for _ in range(10):
        mask = ndimage.binary_opening(rng.random((80, 90)) > 0.4).astype(np.uint8)
        weights = [pixel_weights(shifted_in_memory(mask, by), np.ones(2, np.float32), border=True) for by in range(6)]
        assert weights[0].max() > 2 and len({array.tobytes() for array in weights}) == 1
