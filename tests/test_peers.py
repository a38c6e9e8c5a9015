"""Equal wall-clock: how many steps fit into a budget."""

import pytest

from benchmarks.peers import steps_in
from data_pipeline.command import UserError


def test_steps_in_a_budget_by_hand():
    """A step of 0.5 s, a validation of 2 s, compiling of 7 s: 120 − 7 − 5 · 2 = 103, so 41 steps a validation."""
    short = [7 + 3 * n for n in (1, 2, 3, 4)]
    long = [7 + 6 * n for n in (1, 2, 3, 4)]
    assert steps_in(120, short, long, "a network") == 205
    assert steps_in(22, short, long, "a network") == 10
    with pytest.raises(UserError, match=r"a network: 19 s are too few, a step takes 0.50 s, a validation 2.0 s"):
        steps_in(19, short, long, "a network")
