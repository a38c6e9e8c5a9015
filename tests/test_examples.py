"""The short examples run, and do what they say."""

import runpy

from conftest import ROOT


def test_the_minimal_example_learns_from_arrays():
    made = runpy.run_path(str(ROOT / "examples" / "minimal.py"))
    assert made["predicted"].shape == (64, 64) and (made["predicted"] == made["masks"][0]).mean() > 0.9
    assert len((ROOT / "examples" / "minimal.py").read_text().splitlines()) <= 50
