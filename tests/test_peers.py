"""Equal wall-clock: how many steps fit into a budget."""

import pytest

from benchmarks.peers import steps_in
from data_pipeline.command import UserError


def test_steps_in_a_budget_by_hand():
    """A step of 0.5 s, a validation of 2 s, compiling of 7 s: 120 − 7 − 10 · 2 = 93, so 18 steps a validation."""
    short = [7 + 3 * n for n in (1, 2, 3, 4)]
    long = [7 + 6 * n for n in (1, 2, 3, 4)]
    assert steps_in(120, short, long, "a network") == 180
    assert steps_in(32, short, long, "a network") == 10
    with pytest.raises(UserError, match=r"a network: 31 s are too few, a step takes 0.50 s, a validation 2.0 s"):
        steps_in(31, short, long, "a network")
