"""docs/why.md and docs/why-method.md: every number follows from the cells that are kept, by one command."""

import gzip
import json
import re

import numpy as np
import pytest
from test_findings import ALL_TRUE, PLAN, written

from data_pipeline.command import UserError
from docs import why, why_method
from study.findings import Study, signed
from study.plan import PRESETS, Plan
from study.report import sitting, write_report


@pytest.mark.skipif(not why.KEPT.exists(), reason="no study has been kept yet")
def test_the_pages_follow_from_the_cells():
    for path, text in why.pages(*why.read()).items():
        assert text == path.read_text(encoding="utf-8"), "python -m docs.why"


def test_the_answer_needs_no_glossary():
    """No letters for networks or hypotheses, no p-values, no minus zero; a verdict of four in each row."""
    text = why.PAGE.read_text(encoding="utf-8")
    assert not re.search(r"\bH[1-6][ab]?\b|(?<!-)\b[SCE]\b|p for|p against|[-−]0\.0+\b", text)
    rows = text.split("## The reasons")[1].split("*Yes*")[0].strip().splitlines()[4:]
    assert {re.search(r"\*\*(.+?)\*\*", row)[1] for row in rows} <= {"yes", "no", "open", "not tested"} and len(
        rows
    ) == 7
    method = why.METHOD.read_text(encoding="utf-8")
    assert not re.search(r"[-−]0\.0+\b|1 labelled pixels", method) and "seeds that tell none" not in method
    answer, rest = text.split("## The answer")[1].split("**How sure?**")
    answer = re.sub(r" \(\d+ to \d+\)", "", answer)  # an interval is no word
    assert 120 < len(answer.split()) <= 150 and "**With 300 images:**" in rest.split("![")[0]


def test_a_reason_has_the_word_of_what_decides_and_every_difference_its_direction():
    """By hand: 0.2 ± 0.01 of two seeds is sure, 0.06 ± 0.04 is so only unadjusted; of another, two runs disagree."""
    rng = np.random.default_rng(0)

    def row(mean, spread, about, **more):
        each = rng.standard_normal(12)
        each = mean + spread * (each - each.mean()) / each.std(ddof=1)
        return why.Row("", "", each, about=about, **more)

    yes, open_ = row(0.2, 0.01, "the outline"), row(0.04, 0.2, "the class", decides=True)
    no, weak = row(-0.2, 0.01, "the lead", decides=True), row(0.06, 0.08, "a fall")
    disputed = row(-0.2, 0.01, "what two runs disagree on", decides=True, disputed=True)
    assert [one.word for one in (yes, open_, no, weak, disputed)] == ["yes", "open", "no", "yes, weakly", "open"]
    assert why.verdict_in_words([yes, open_]) == "**open**: *open* for the class; *yes* for the outline"
    assert why.verdict_in_words([no, weak]) == "**no**: *no* for the lead; *yes, weakly* for a fall"
    assert why.verdict_in_words([no, disputed]).startswith("**open**: ")
    assert why.verdict_in_words([no, no]) == "**no**"
    text = why.PAGE.read_text(encoding="utf-8")
    assert "**partly** |" not in text and not re.search(r" less (than )?(the usual classifier|labels)", text)


def test_another_studys_cells_make_other_pages(tmp_path, monkeypatch):
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
    pages = why.pages(*why.read())
    page, method = pages[why.PAGE], pages[why.METHOD]
    lead = made.values("S", "accuracy").mean()
    assert (
        f"| {lead:.2f} (" in page
        and f"is right in {lead:.0%}" in " ".join(page.split())
        and "images/why/transfer.png" in page
    )
    assert (
        "labels minus masks: 0.00 (" in page or "labels minus masks: −0.0" in page or "labels minus masks: +0.0" in page
    )
    assert "seeds 0 to 11, 636 trainings." in method and "| H6b | supported | 0.5" in method
    assert "cores | 0–11 | 636 | 1 | 2 | 0.0 |" in method and "done twice" not in method


def test_a_contrast_is_shown_once_all_of_its_seeds_are_trained(tmp_path, monkeypatch):
    """By hand: 0.9 on the mark, 0.5 at a random place; of a part of the seeds the page says nothing."""
    plan = Plan("pointing", PRESETS["pointing"].base, tuple(range(36, 60)), ("pointing",), wide=True)
    rng, planted = np.random.default_rng(0), {"mark": 0.9, "random place": 0.5, "object": 0.6, "label": 0.7}

    def result(name):
        scores = {"accuracy": planted.get(name, 0.75) + 0.005 * rng.standard_normal(), "likelihood": 0.5}
        return {"tests": {"independent": scores | {"miou": 0.4, "dice": 0.5}}, "background": 0.9, "loss": 0.1}

    results = {str(seed): {name: result(name) for name in each} for seed, each in plan.cells().items()}
    monkeypatch.setitem(why.CONTRASTS, "pointing", tmp_path / "pointing.json.gz")
    told = {"hash": plan.hash, **plan.told()}
    study = why.read()[0]
    for part, shown in ((dict(list(results.items())[:23]), False), (results, True)):
        why.keep({"plan": told, "results": part, "sittings": []}, why.CONTRASTS["pointing"])
        page = why.page(study)
        assert bool(re.search(r"disc on the spot minus disc at a random place: \+0\.(39|40|41) \(", page)) == shown
        said = "discs on it give 90% (90 to 90), discs elsewhere 50%"
        assert (said in " ".join(page.split())) == shown
    assert "| U-Net, the same disc at a random place | 0.50" in page
    assert isinstance(why.contrast("pointing"), Study)


def test_decoys_and_hundreds_of_images_are_shown(tmp_path, monkeypatch):
    """By hand: decoys cost the classifier 0.2 with 64 images and 0.1 with 256, and masks nothing."""
    preset = PRESETS["difficulty"]
    plan = Plan("difficulty", preset.base, preset.usual_seeds, preset.names, wide=True)

    def result(cell, seed):
        lost = 0.2 if cell == "classifier, 8 decoys, 64 images" else 0.1 if cell.startswith("classifier, 8") else 0.0
        noise = 0.002 * (-1) ** seed * cell.startswith("masks, 8")  # whose mean is 0
        scores = {"accuracy": 0.95 - lost + noise, "likelihood": 0.5}
        return {"tests": {"independent": scores | {"miou": 0.4, "dice": 0.5}}, "background": 0.9, "loss": 0.1}

    results = {str(seed): {cell: result(cell, seed) for cell in each} for seed, each in plan.cells().items()}
    monkeypatch.setitem(why.CONTRASTS, "difficulty", tmp_path / "difficulty.json.gz")
    why.keep(
        {"plan": {"hash": plan.hash, **plan.told()}, "results": results, "sittings": []}, why.CONTRASTS["difficulty"]
    )
    page = " ".join(why.page(why.read()[0]).split())
    assert "lead with 8 decoys minus lead without, 64 images: +0.20 (0.20 to 0.20); the same, 256 images: +0.10" in page
    assert "without decoys (95% against 95%)" in page and "with 8 (planned; 95% against 85%)" in page
    assert "| 8 decoys: the lead of masks | 0.200 (0.198–0.202) | 0.100 (0.098–0.102) |" in page
    said = " ".join(why_method.planned("difficulty").split())
    assert "| hundreds | supported | 0.100 (" in said and "| difficulty | supported | 0.200 (" in said


def test_signs_are_printed_as_people_write_them():
    assert [signed(value) for value in (0.123, -0.07, -0.0004, 0.0)] == ["+0.12", "−0.07", "0.00", "0.00"]


def test_paragraphs_are_filled_and_code_is_left():
    text = "a\nb\n\n- c\n  d\n- e\n\n```\nx\ny\n```\n| f |\n| g |"
    assert why.filled(text) == "a b\n\n- c d\n- e\n\n```\nx\ny\n```\n| f |\n| g |"
    assert max(map(len, why.filled("word " * 100).splitlines())) <= 120


def test_ranges():
    assert why_method.ranges_of([0, 1, 2, 4, 6, 7]) == "0–2, 4, 6–7" and why_method.ranges_of([]) == ""


def test_what_was_trained_twice_is_said():
    one = {"processor": "P, 2 cores", "device": "CPU, 2 threads", "python": "3.11.7", "jobs": 2, "git_commit": "a" * 40}
    one |= {"seeds": [0, 1], "trainings": 8, "seconds": 900.0}
    table = why_method.sittings([one, one | {"seeds": [3], "trainings": 2}, one | {"device": "H100"}], needed=12)
    assert table.rows[0] == ["P, 2 cores", "0–1, 3", 10, 2, 2, "1.0", "3.11.7", "aaaaaaa"]
    assert table.rows[1][:3] == ["H100", "0–1", 8] and "6 trainings were done twice" in table.caption
