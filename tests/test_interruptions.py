"""Every command survives kill −9 at each of its writes: given again it ends well, nothing is lost, nothing is left."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from interruptions import COMMANDS

from data_pipeline.command import UserError
from engine.journal import journal_of
from engine.run import Run
from predict import RANKING, outputs_of, read_ranking


def swept(name: str, folder, every: int, least: int) -> None:
    """least: so many points there are at least, so that the sweep does not miss them all."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, str(ROOT / "tests/interruptions.py"), name, str(folder), str(every)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {found['tried']} of {found['points']} points")
    assert found["points"] >= least and not found["failures"], json.dumps(found["failures"], indent=1)


@pytest.mark.parametrize(("name", "least"), [("golfscape", 14), ("convert", 8), ("download", 5)])
def test_killed_at_some_of_its_writes(tmp_path, name, least):
    swept(name, tmp_path, 3, least)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_each_of_its_writes(tmp_path, name):
    swept(name, tmp_path, 1, 5)


@pytest.fixture
def run(tmp_path) -> Run:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.keras").write_text("weights")
    return Run(tmp_path / "run")


def test_a_prediction_goes_on_where_it_was_killed(tmp_path, run):
    """What it had begun is its own, what was done is not done again; another's files are not its own."""
    images = [tmp_path / f"{name}.png" for name in "abc"]
    with pytest.raises(RuntimeError), journal_of(run, tmp_path / "out") as journal:
        for image in images:
            journal.note(image, None)
        journal.note(images[0], 0.1 + 0.2)
        journal.note(images[2], "given up")
        with open(journal.path, "a") as file:
            file.write('["cut o')
        raise RuntimeError
    with journal_of(run, tmp_path / "out") as journal:
        assert journal.begun == {str(image.resolve()) for image in images[:2]}
        assert journal.done == {str(images[0].resolve()): 0.1 + 0.2}
        with pytest.raises(UserError, match="another process predicts into it"), journal_of(run, tmp_path / "out"):
            raise AssertionError
    assert not list((tmp_path / "out").iterdir()), "a journal that was worked off is removed"


def test_a_journal_in_which_nothing_was_begun_does_not_stay(tmp_path, run):
    with pytest.raises(RuntimeError), journal_of(run, tmp_path / "out"):
        raise RuntimeError
    assert not list((tmp_path / "out").iterdir())


def test_another_networks_journal_is_not_read(tmp_path, run):
    with pytest.raises(RuntimeError), journal_of(run, tmp_path / "out") as journal:
        journal.note(tmp_path / "a.png", 0.5)
        raise RuntimeError
    run.model_path.write_text("other weights")
    with journal_of(run, tmp_path / "out") as journal:
        assert not journal.begun


@pytest.mark.parametrize("text", ["mine", "image,uncertainty,notes\na.png,0.5,mine\n"])
def test_a_table_that_predict_did_not_write_is_no_ranking(tmp_path, text):
    (tmp_path / RANKING).write_text(text)
    with pytest.raises(UserError, match=r"not a ranking that predict.py wrote; move it away"):
        read_ranking(tmp_path / RANKING)
    assert read_ranking(tmp_path / "none.csv") == {}


def test_an_image_whose_overlays_name_would_be_too_long_is_refused_before_the_work(tmp_path):
    from engine.config import PredictConfig
    from predict import refuse_collisions

    config = PredictConfig(tmp_path, (tmp_path,), out=tmp_path / "out")
    with pytest.raises(UserError, match="263 bytes; 255 are the most"):
        refuse_collisions([tmp_path / ("n" * 251 + ".png")], config, set())
    assert outputs_of(tmp_path / "a.jpg", config)[1].name == "a_overlay.png"
