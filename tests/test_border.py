"""Runs from strangers: thousands of damages to a run's files end in one clear line or a right result, and all that is
written stays in the run.

Some by default; BORDER_DAMAGES=10000 makes as many to the JSON files and tables, and a tenth of that to each of the
network and the state to go on from. BORDER_SEED gives others.
"""

import errno
import hashlib
import io
import json
import math
import os
import random
import shutil
import zipfile
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import make_folder

from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import MAX_CLASSES, Encoding, infer_encoding
from data_pipeline.files import read_json, write_csv, write_json
from data_pipeline.inspection import named
from engine import schema
from engine.config import EvaluateConfig, PredictConfig, TrainConfig
from engine.framing import Frame
from engine.run import Run, config_from_json, config_json, read_several
from engine.run_places import UNFINISHED
from engine.saved_network import load_network, refuse_other, refuse_strange_objects
from engine.training import segmenter
from engine.training.optimizers import make_optimizer
from engine.training.resume import alone, newest_state, restore, save_state, states
from engine.training.train_run import new_run
from evaluate import evaluate
from models import ENCODERS, MODELS, build_classifier, build_model
from predict import predict

DAMAGES = int(os.environ.get("BORDER_DAMAGES", "60"))
SLOW_DAMAGES = max(15, DAMAGES // 10)  # of networks and states, which take longer
SEED = int(os.environ.get("BORDER_SEED", "0"))
FILES = ("config.json", "dataset.json", "split.json", "environment.json")
OWN = "small_data_segmentation>CropLike"
COLUMNS = ["epoch", "step", "loss", "miou", "val_loss", "val_miou", "learning_rate", "seconds"]
COST = {"parameters": 9, "trainable_parameters": 9, "images": 4, "label_bits_per_image": {"mask": 1.5}, "steps": 2}
COST |= {"seconds": 1.0, "seconds_per_epoch": 1.0, "peak_memory_bytes": None, "device": "CPU"}
ODD = [None, True, False, -1, 0, 1, 2, 7, 255, 256, 2**31, 2**32, 2**63, 10**400, 0.5, -1.5, 1e30, 1e308, float("nan")]
ODD += ["", ".", "..", "x", "../../stolen", "a/../../../stolen", "/dev/stdin", "a\0b", "\x1b[2J", "a" * 5000, "\ud800"]
ODD += ["C:\\x", "a\nb", [], [1], [[]], ["x", 1], {}, {"a": 1}, {"class_name": "x"}, "unet_original", "3x3", "fold-0"]


class Stub:
    """Stands for the network, so that reading it anew costs nothing: two classes, the first if a pixel is dark."""

    name, input_shape, output_shape = "unet", (None, None, None, 3), (None, None, None, 2)

    def __call__(self, images, training):
        return keras.ops.concatenate([100 - images[..., :1], images[..., :1]], -1)


def make_run(folder: Path) -> Path:
    """box/run, made as train.py makes it but not trained, with its evaluation; beside it box/d, its data."""
    make_folder(folder / "d", 7, size=16)
    settings = TrainConfig(data=folder / "d", runs_dir=folder, name="run")
    run = new_run(settings, segmenter, open_dataset(settings, 0), Frame(None, (16, 16), 0, False))
    build_model("unet", 2, width=2).save(run.model_path)
    write_json(run.path / "cost.json", COST)
    write_csv(run.path / "history.csv", [dict.fromkeys(COLUMNS, 1)])
    run.resume_path.rmdir()
    return run.path


FULL = Encoding(
    names=("background", "cell"),
    values=(0, 65535),
    colors=((0, 0, 0), (230, 159, 0)),
    void=(-1, 255),
    is_color=False,
    tolerance=127,
    files=("cell",),
    above_zero=1,
    note="a note",
)


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A folder with a run, its data, and a copy of the run that is never damaged."""
    folder = tmp_path_factory.mktemp("box")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.saved_network.load_network", stub)
        quietly(evaluate, EvaluateConfig(runs=(make_run(folder),)))
    shutil.copytree(folder / "run", folder / "whole")
    return folder


def fresh(folder: Path) -> None:
    """Make the run whole again."""
    shutil.rmtree(folder / "run")
    shutil.copytree(folder / "whole", folder / "run")


def stub(path, *wanted):
    refuse_other(path, Stub(), *wanted)
    return Stub()


def quietly(command, *arguments):
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return command(*arguments)


def nodes(value, path=()):
    """Every place within a JSON value."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from nodes(value[key], (*path, key))


def damaged_json(text: str, rng: random.Random) -> bytes:
    """Bytes flipped or cut, or a value replaced, removed, added, or taken from elsewhere in the file."""
    if rng.random() < 0.2:
        return damaged_bytes(text.encode(), rng)
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(nodes(value))
        if len(places) == 1:
            break
        *above, last = rng.choice(places[1:])
        inside = value
        for key in above:
            inside = inside[key]
        how = rng.random()
        if how < 0.15:
            del inside[last]
        elif how < 0.3 and isinstance(inside, list):
            inside.append(rng.choice([*ODD, *inside]))
        elif how < 0.2:
            inside[rng.choice(["x", "__class__", "..", "\x1b", "frame", "strategy", "classes"])] = rng.choice(ODD)
        elif how < 0.6:
            inside[last] = rng.choice(ODD)
        else:
            inside[last] = nearby(inside[last], rng)
    return json.dumps(value).encode()


def nearby(value, rng: random.Random):
    """A value of the same kind: what is wrong with it shows late, or never."""
    if isinstance(value, bool) or value is None:
        return rng.choice((True, False, None, 1, 96))
    if isinstance(value, float) and not math.isfinite(value):
        return rng.choice((0, 1.5, -value))
    if isinstance(value, (int, float)):
        return rng.choice((value + 1, value - 1, value * 2, -value, value / 2, int(value), 10 ** rng.randrange(12)))
    if isinstance(value, str):
        return rng.choice((value + "x", value[1:], value.upper(), f"../{value}", f"/{value}", f"{value}/y", value * 90))
    return rng.sample(value, len(value)) if isinstance(value, list) else value | {"x": 1}


def damaged_bytes(whole: bytes, rng: random.Random) -> bytes:
    data = bytearray(whole)
    how = rng.randrange(4)
    if how == 0:
        return bytes(data[: rng.randrange(len(data))])
    if how == 1:
        for _ in range(rng.randrange(1, 9)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == 2:
        start = rng.randrange(len(data))
        data[start : start + 16] = rng.randbytes(16)
    else:
        start = rng.randrange(max(1, len(data) - 400), len(data))  # where an archive lists its members
        data[start : start + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"PK\1\2"))
    return bytes(data)


def outcome(command, *arguments) -> str:
    """ "refused" for one clear line, "done" for a result; everything else is a fault, and raised."""
    try:
        quietly(command, *arguments)
    except UserError as error:
        line = str(error)
        assert line and "\n" not in line and len(line) < 6000 and line.isprintable(), line
        return "refused"
    except OSError as error:  # as data_pipeline.command shows it
        assert error.filename and error.strerror, error
        return "refused"
    return "done"


def outside(folder: Path, but: Path) -> dict[Path, int]:
    """Every file below a folder, but those of one in it, with the time of its last change."""
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if but not in (path, *path.parents)}


def use(folder: Path, name: str) -> None:
    """What a user may do with a run that came from elsewhere, as far as it reads the file of this name."""
    run = folder / "run"
    if "evaluation" in name or name == "cost.json":
        evaluate(EvaluateConfig(runs=(folder / "whole/evaluation/test", run), compare=True, out=run / "compared"))
    elif name == "folds.json":
        read_several(run / name)
    elif name == "history.csv" or name == "openings.json":
        evaluate(EvaluateConfig(runs=(run,)))
    else:
        predict(PredictConfig(run, (folder / "d/images/item000.png",), out=run / "predicted"))
        evaluate(EvaluateConfig(runs=(run,)))
        config_from_json(Run.open(run).config, run)


def test_damaged_json_files_and_tables(box, monkeypatch):
    monkeypatch.setattr("engine.saved_network.load_network", stub)
    monkeypatch.setattr("engine.scoring.baselines.fit_baselines", lambda run: {})
    monkeypatch.setattr("engine.scoring.methods.fit_baselines", lambda run: {})
    rng, found = random.Random(SEED), Counter()
    write_json(box / "folds.json", config_json(TrainConfig(data=box / "d", folds=3)))
    before = outside(box, box / "run")
    names = [*("config.json", "dataset.json", "split.json") * 3, "openings.json", "history.csv", "cost.json"]
    names += ["folds.json", "evaluation/test/metrics.json", "evaluation/test/counts.npz"]
    for case in range(DAMAGES):
        fresh(box)
        name = rng.choice(names)
        whole = (box / ("" if name == "folds.json" else "whole") / name).read_bytes()
        damage = damaged_json if name.endswith(".json") else damaged_bytes
        (box / "run" / name).write_bytes(damage(whole.decode() if damage is damaged_json else whole, rng))
        try:
            found[name, outcome(use, box, name)] += 1
        except Exception as error:
            raise AssertionError(f"case {case}: {name}: {(box / 'run' / name).read_bytes()[:3000]}") from error
        assert outside(box, box / "run") == before, (case, name)
    report(found)
    assert sum(found.values()) == DAMAGES and found["split.json", "refused"] > 0


def rezipped(whole: bytes, rng: random.Random) -> bytes:
    """A network's archive that is whole again after its architecture, or the file of its weights, was damaged."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(("config.json", "config.json", "model.weights.h5"))
    damage = damaged_json if name.endswith(".json") else damaged_bytes
    members[name] = damage(members[name].decode() if damage is damaged_json else members[name], rng)
    if rng.random() < 0.1:
        members[rng.choice(("assets/x.txt", "../stolen", "/tmp/stolen"))] = b"stolen"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def small_network():
    """Of the layers of a U-Net with nearly no weights, quick to load."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 1, name="a")(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.BatchNormalization()(x), name="unet")


def test_damaged_networks(tmp_path):
    path, rng, found = tmp_path / "box/model.keras", random.Random(SEED), Counter()
    path.parent.mkdir()
    small_network().save(path)
    whole, before = path.read_bytes(), outside(tmp_path, path)
    for case in range(SLOW_DAMAGES):
        damage = rng.choice((damaged_bytes, rezipped, rezipped))
        path.write_bytes(damage(whole, rng))
        found[damage.__name__, outcome(load_network, path, "unet", (None, None, 3), 2, False)] += 1
        assert outside(tmp_path, path) == before, case
        keras.backend.clear_session()
    report(found)
    assert sum(found.values()) == SLOW_DAMAGES


def resealed(whole: bytes, rng: random.Random) -> bytes:
    """A state that a stranger changed and gave a right checksum."""
    with np.load(io.BytesIO(whole)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name, how = rng.choice(sorted(arrays)), rng.randrange(5)
    if how == 0:
        del arrays[name]
    elif how == 1:
        arrays[name] = arrays[name].reshape(-1)[:-1] if arrays[name].ndim else arrays[name][None]
    elif how == 2 and name != "rows":
        arrays[name] = arrays[name].astype(rng.choice(("<U9", "float64", "int8")))
    elif how == 3:
        arrays[rng.choice(("optimizer77", "network1", "x", "../x"))] = np.zeros(3)
    else:
        arrays["rows"] = np.array(damaged_json(str(arrays["rows"]), rng).decode("latin1"))
    out = io.BytesIO()
    np.savez(out, **arrays)
    body = out.getvalue() if rng.random() < 0.5 else damaged_bytes(out.getvalue(), rng)
    return body + hashlib.sha256(body).digest()


def go_on(folder: Path, network, optimizer) -> None:
    """What ``fit`` does with the states of a run."""
    state = newest_state(folder, network.variables, COLUMNS)
    for variables, values in ((network.variables, state.network), (optimizer.variables, state.optimizer)):
        restore(variables, values)
    assert state.rows[-1]["step"] >= 1


def test_damaged_states(tmp_path):
    """A state that is not to the last bit what was written is refused; the one before it is taken."""
    rng, found, network = random.Random(SEED), Counter(), small_network()
    optimizer = make_optimizer(TrainConfig(), 1e-3, network.trainable_variables)
    save_state(tmp_path, [dict.fromkeys(COLUMNS, 1)], network.variables, optimizer.variables)
    path = states(tmp_path)[0]
    whole = path.read_bytes()
    for _ in range(SLOW_DAMAGES):
        damage = rng.choice((damaged_bytes, resealed))
        path.write_bytes(damage(whole, rng))
        same = path.read_bytes() == whole
        how = outcome(go_on, tmp_path, network, optimizer)
        assert damage is resealed or same or how == "refused"
        found[damage.__name__, how] += 1
    report(found)
    newer = [dict.fromkeys(COLUMNS, 1) | {"step": 2}]
    path.write_bytes(whole)
    save_state(tmp_path, newer, network.variables, optimizer.variables)
    states(tmp_path)[0].write_bytes(whole[:-40])
    assert quietly(newest_state, tmp_path, network.variables, COLUMNS).rows[-1]["step"] == 1, "the state before it"
    states(tmp_path)[1].unlink()
    with pytest.raises(UserError, match="no state in it is whole"):
        quietly(newest_state, tmp_path, network.variables, COLUMNS)


def report(found: Counter) -> None:
    for key, count in sorted(found.items()):
        print(*key, count)


@pytest.mark.parametrize("stem", ["../x", "/tmp/x", "a/../../x", "..", "", "a\nb", "x" * 300, "a//b", "C:/x"])
def test_a_stem_that_leaves_the_folder_is_refused(box, stem):
    """A run from a stranger once overwrote the mask that its split named."""
    fresh(box)
    stored = read_json(box / "run/split.json")
    stored["test"][0]["stem"] = stem
    write_json(box / "run/split.json", stored)
    with pytest.raises(UserError, match=r"split.json: test\[0\].stem: .* is wanted"):
        evaluate(EvaluateConfig(runs=(box / "run",)))
    with pytest.raises(UserError, match=r"test\[0\].stem"):
        Run.create(box / "new", {name: read_json(box / f"run/{name}") for name in FILES})
    assert not (box / "new").exists()


def test_two_classes_of_one_value_are_refused(box):
    stored = json.loads((box / "run/dataset.json").read_text())
    stored["encoding"]["values"] = [1, 1]
    (box / "run/dataset.json").write_text(json.dumps(stored))
    with pytest.raises(
        UserError, match=r"dataset\.json: encoding\.values: .* a value of its own for each class is wanted"
    ):
        evaluate(EvaluateConfig(runs=(box / "run",)))


def test_the_schema_of_an_encoding_holds_its_fields():
    """A field that is added to Encoding, or taken away, is added to the schema too, with a check that refuses."""
    stored = json.loads(json.dumps(FULL.to_json()))
    schema.ENCODING("encoding", stored)
    assert Encoding.from_json(stored) == FULL
    assert stored.keys() == {field.name for field in fields(Encoding)}
    for name in stored:
        with pytest.raises(schema.Unfit, match=f"encoding.{name}"):
            schema.ENCODING("encoding", stored | {name: {"x": 1}})
        rest = {key: value for key, value in stored.items() if key != name}
        if name == "above_zero":  # runs that were made before it was a field lack it
            schema.ENCODING("encoding", rest)
            assert Encoding.from_json(rest).above_zero is None
        else:
            with pytest.raises(schema.Unfit, match=f"no '{name}'"):
                schema.ENCODING("encoding", rest)
    with pytest.raises(schema.Unfit, match="strange 'other'"):
        schema.ENCODING("encoding", stored | {"other": 1})


def test_as_many_classes_as_masks_may_hold_can_be_named():
    names = ",".join(f"a class whose name is rather long {i}" for i in range(MAX_CLASSES)).split(",")
    encoding = named(infer_encoding(dict.fromkeys(range(MAX_CLASSES), 9), is_color=False), tuple(names))
    schema.ENCODING("encoding", json.loads(json.dumps(encoding.to_json())))


def test_links_in_a_run_are_not_followed(box):
    """What is written into a run's folders lands in the run."""
    fresh(box)
    shutil.rmtree(box / "run/evaluation")
    (box / "run/evaluation").symlink_to(box / "d")
    with pytest.raises(UserError, match="evaluation: a link"):
        evaluate(EvaluateConfig(runs=(box / "run",)))
    (box / "run/evaluation").unlink()
    (box / "run" / UNFINISHED).mkdir()
    (box / "run" / UNFINISHED / "lock").symlink_to(box / "d/images/item000.png")
    held = (box / "d/images/item000.png").read_bytes()
    with pytest.raises(OSError, match="symbolic links"), alone(box / "run"):
        pass
    assert (box / "d/images/item000.png").read_bytes() == held


def test_the_test_part_stays_closed_while_a_run_is_training(box, monkeypatch, capsys):
    monkeypatch.setattr("engine.saved_network.load_network", stub)
    fresh(box)
    (box / "run/openings.json").unlink()
    (box / "run" / UNFINISHED).mkdir()
    with pytest.raises(UserError, match="its training has not ended, and scoring it now would open the test part"):
        evaluate(EvaluateConfig(runs=(box / "run",)))
    assert not (box / "run/openings.json").exists()
    evaluate(EvaluateConfig(runs=(box / "run",), split="val"))
    assert "its training has not ended; these are the best weights so far" in capsys.readouterr().out


def test_a_run_that_cannot_be_written_is_scored_elsewhere(box, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("engine.saved_network.load_network", stub)
    fresh(box)
    before = outside(box, box / "whole")

    def read_only(path, value):
        if Path(path).is_relative_to(box):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        write_json(path, value)

    monkeypatch.setattr("engine.run.write_json", read_only)
    monkeypatch.setattr("engine.run.os.access", lambda path, mode: not Path(path).is_relative_to(box))
    with pytest.raises(UserError, match="cannot be written; say with --out DIR"):
        evaluate(EvaluateConfig(runs=(box / "run",)))
    evaluate(EvaluateConfig(runs=(box / "run",), out=tmp_path / "scores"))
    assert "nobody will know that the test part was opened" in capsys.readouterr().out
    assert read_json(tmp_path / "scores/metrics.json") == read_json(box / "run/evaluation/test/metrics.json") | {
        "test_openings": 2
    }
    assert outside(box, box / "whole") == before


STRANGE = {
    "a layer that reads files": {"module": "keras.layers", "class_name": "StringLookup", "registered_name": None},
    "a lambda": {"module": "keras.layers", "class_name": "Lambda", "registered_name": None},
    "a function": {"module": "builtins", "class_name": "function", "registered_name": "function"},
    "one under our name": {"module": "keras.utils", "class_name": "get_file", "registered_name": OWN},
    "none of ours": {"module": "os", "class_name": "system", "registered_name": "small_data_segmentation>system"},
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_only_this_programs_layers_are_built(tmp_path, strange):
    small_network().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1] |= strange
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config)}).items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match="which no network of this program has"):
        load_network(tmp_path / "model.keras", "unet", (None, None, 3), 2, False)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("unet", "mobilenet_v2", "small_cnn") else pytest.param(name, marks=pytest.mark.slow)
        for name in (*MODELS, *ENCODERS)
    ],
)
def test_every_network_of_this_program_may_be_loaded(name):
    """Its own objects are on the lists of what a file may name."""
    options = {"weights": None} if name in ENCODERS or MODELS[name].pretrained else {}
    for norm in (MODELS[name].norms if name in MODELS else None) or {"": {}}:
        if name in ENCODERS:
            network = build_classifier(name, 3, (64, 64, 3), **options)
        else:
            network = build_model(name, 2, **options, **MODELS[name].norms.get(norm, {}))
        refuse_strange_objects(json.loads(json.dumps(keras.saving.serialize_keras_object(network))))
