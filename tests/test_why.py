"""docs/why.md: every number follows from the cells that are kept, by one command."""

import gzip
import json

import pytest
from test_findings import ALL_TRUE, written

from data_pipeline.command import UserError
from docs import why
from study.report import sitting, write_report


@pytest.mark.skipif(not why.KEPT.exists(), reason="no study has been kept yet")
def test_the_page_follows_from_the_cells():
    assert why.page(*why.read()) == why.PAGE.read_text(encoding="utf-8"), "python -m docs.why"


def test_another_studys_cells_make_another_page(tmp_path, monkeypatch):
    made = written(tmp_path, ALL_TRUE)
    with sitting(tmp_path, jobs=2):
        pass
    monkeypatch.setattr("study.report.draw_figures", lambda *about: {})
    write_report(tmp_path)
    monkeypatch.setattr(why, "KEPT", tmp_path / "why.json.gz")
    with pytest.raises(UserError, match="python -m study report"):
        why.take_over(tmp_path / "nothing.json")
    why.take_over(tmp_path / "study.json")
    assert json.loads(gzip.decompress(why.KEPT.read_bytes()))["results"]["0"] == made.results[0]
    page = why.page(*why.read())
    lead = made.values("S", "accuracy").mean()
    assert f"| {lead:.2f} (" in page and "H6b +0.5" in page and "images/why/transfer.png" in page
    assert "12 seeds" not in page and "seeds 0 to 11" in page and "636 trainings of 800 steps" in page
