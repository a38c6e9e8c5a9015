#!/usr/bin/env python
"""A trained network for other programs: raw pixels in, logits out, as Keras, TensorFlow SavedModel, ONNX or LiteRT.

Into the folder --out go the file, model.json (classes, sizes, decision rule, licence of pretrained weights) and a model
card, README.md. On real images of the run's validation part the file is compared with the run; where it is another
function beyond rounding, nothing is written. How to run it: docs/export.md.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest is imported: an end without a traceback

from dataclasses import replace

from data_pipeline.command import UserError, run_command
from engine.config import ExportConfig
from engine.usage import EXPORT


def export(config: ExportConfig) -> None:
    """A run → a folder that needs nothing of this project.

    Raises:
        UserError: if there is something at --out, an optional requirement is missing, the network cannot be exported,
            or what was written is not equal to it.
    """
    import numpy as np

    from data_pipeline.files import write_json, write_text
    from data_pipeline.outputs import new_folder, refuse_existing_folder
    from engine.run import Run

    refuse_existing_folder(config.out)
    run = Run.open(config.run)
    if run.classifies:
        raise UserError(f"{run.path}: a classifier; networks that train.py made are exported")

    from engine.exporting.description import card, describe
    from engine.exporting.equality import compare, traced
    from engine.exporting.formats import FORMATS
    from engine.exporting.twin import plain_twin, sizes_of_twin
    from models import MODELS

    form = FORMATS[config.to]
    form.refuse_missing()
    run = with_images(run, config)
    model = run.model()
    sizes = sizes_of_twin(model, MODELS[run.config["model"]])
    frame = replace(run.frame, tile=sizes.output_size(*run.frame.tile))
    size = sizes.input_size(*frame.tile)
    twin = plain_twin(model, size if form.fixed else None)
    twin(np.zeros((1, *size, model.input_shape[-1]), np.float32))  # Keras makes ONNX of what was called alone
    with new_folder(config.out) as fresh:
        for file in form.files:
            file.write(twin, fresh / file.name)
        written = [file.open(fresh / file.name) for file in form.files]
        comparisons = compare(traced(model), written, run.split.val, run.encoding, frame)
        for file, comparison in zip(form.files, comparisons, strict=True):
            print(f"{file.name}, {comparison.line()}", flush=True)
            if file.exact:
                comparison.refuse_unequal(file.name, run.config["precision"])
        about = describe(
            run, form, sizes, frame, {file.name: each for file, each in zip(form.files, comparisons, strict=True)}
        )
        write_json(fresh / "model.json", about)
        write_text(fresh / "README.md", card(about, run))
    print(f"{config.out}/ holds {form.files[0].name}, model.json and README.md. How to run it: docs/export.md")


def with_images(run, config: ExportConfig):
    """The run, its data set where it is now.

    Raises:
        UserError: if it is not there.
    """
    if config.data is not None:
        run = run.moved_to(config.data)
        if run is None:
            raise UserError(f"--data {config.data}: not the files that {config.run} was trained on")
    missing = [path for pair in run.split.val for path in pair.files if not path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]}: no such file, and the export is compared with the run on its validation images; say with "
            "--data where its data set is now"
        )
    return run


if __name__ == "__main__":
    run_command(export, ExportConfig, __doc__, usage=EXPORT)
