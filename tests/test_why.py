"""docs/why.md: every number follows from the cells that are kept, by one command."""

import gzip
import json

import pytest
from test_findings import ALL_TRUE, PLAN, written

from data_pipeline.command import UserError
from docs import why
from study.report import sitting, write_report


@pytest.mark.skipif(not why.KEPT.exists(), reason="no study has been kept yet")
def test_the_page_follows_from_the_cells():
    assert why.page(*why.read()) == why.PAGE.read_text(encoding="utf-8"), "python -m docs.why"


def test_another_studys_cells_make_another_page(tmp_path, monkeypatch):
    specs = [spec for each in PLAN.cells().values() for spec in each.values()]
    with sitting(tmp_path, 2, specs):
        made = written(tmp_path, ALL_TRUE)
    with sitting(tmp_path, 1, specs):
        pass  # there was nothing left to train
    monkeypatch.setattr("study.report.draw_figures", lambda *about: {})
    write_report(tmp_path)
    monkeypatch.setattr(why, "KEPT", tmp_path / "why.json.gz")
    with pytest.raises(UserError, match="python -m study report"):
        why.take_over(tmp_path / "nothing.json", why.KEPT)
    why.take_over(tmp_path / "study.json", why.KEPT)
    assert json.loads(gzip.decompress(why.KEPT.read_bytes()))["results"]["0"] == made.results[0]
    page = why.page(*why.read())
    lead = made.values("S", "accuracy").mean()
    assert f"| {lead:.2f} (" in page and "H6b +0.5" in page and "images/why/transfer.png" in page
    assert "Seeds 0 to 11, 636 trainings." in page and "H4 is" not in page.split("## Before it")[0]
    assert "16 images train, for 800 steps of 8" in page and "H1 is" not in page  # what was not asked before
    assert "cores | 0–11 | 636 | 1 | 2 | 0.0 |" in page and "done twice" not in page


def test_ranges():
    assert why.ranges_of([0, 1, 2, 4, 6, 7]) == "0–2, 4, 6–7" and why.ranges_of([]) == ""


def test_what_was_trained_twice_is_said():
    one = {"processor": "P, 2 cores", "device": "CPU, 2 threads", "python": "3.11.7", "jobs": 2, "git_commit": "a" * 40}
    one |= {"seeds": [0, 1], "trainings": 8, "seconds": 900.0}
    table = why.sittings([one, one | {"seeds": [3], "trainings": 2}, one | {"device": "H100"}], needed=12)
    assert table.rows[0] == ["P, 2 cores", "0–1, 3", 10, 2, 2, "1.0", "3.11.7", "aaaaaaa"]
    assert table.rows[1][:3] == ["H100", "0–1", 8] and "6 trainings were done twice" in table.caption
