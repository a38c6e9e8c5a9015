"""Views of an image, turned or mirrored, that test-time augmentation averages over."""

import numpy as np

from data_pipeline.command import UserError

from .framing import Frame

# Each view is (quarter turns, mirrored). What a run's symmetry allows of each choice.
WHOLE, MIRRORED, TURNED, TURNED_MIRRORED = (0, False), (0, True), (2, False), (2, True)
QUARTERS = ((1, False), (1, True), (3, False), (3, True))
VIEWS = {
    ("flips", "horizontal"): (WHOLE, MIRRORED),
    ("flips", "d4"): (WHOLE, MIRRORED, TURNED, TURNED_MIRRORED),
    ("d4", "d4"): (WHOLE, MIRRORED, TURNED, TURNED_MIRRORED, *QUARTERS),
}


def allowed_views(tta: str, symmetry: str, frame: Frame) -> tuple[tuple[int, bool], ...]:
    """The views of an image that test-time augmentation averages over, within the symmetry that training had.

    Frames that are not square were trained without quarter turns, so they are predicted without them.

    Raises:
        UserError: for more symmetry than the run was trained with.
    """
    if tta == "none":
        return (WHOLE,)
    if (tta, symmetry) not in VIEWS:
        allowed = " or ".join(f"--tta {choice}" for choice, trained in VIEWS if trained == symmetry) or "no --tta"
        raise UserError(f"--tta {tta}: the run was trained with --symmetry {symmetry}, which allows {allowed}")
    views = VIEWS[tta, symmetry]
    return views if frame.tile[0] == frame.tile[1] else tuple(view for view in views if view not in QUARTERS)


def turn(image: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """An image (H, W, C), mirrored left to right and then turned counterclockwise."""
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, quarters))


def turn_back(probabilities: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    upright = np.rot90(probabilities, -quarters)
    return np.ascontiguousarray(upright[:, ::-1] if mirrored else upright)
