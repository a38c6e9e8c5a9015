"""The description of an exported network for those who run it without this project: model.json, and a model card."""

from data_pipeline.files import read_json
from engine.framing import Frame
from engine.run import Run
from models import MODELS, Spec

from .equality import Comparison
from .formats import Format

IMAGENET = "ImageNet's images are for research; whether that binds what is trained on them is disputed"
RULES = {
    True: "the class whose logit is largest (probabilities: softmax over the last axis)",
    False: "class 1 where the logit is above 0, else class 0 (probability of class 1: sigmoid)",
}


def describe(run: Run, form: Format, sizes: Spec, frame: Frame, comparisons: dict[str, Comparison]) -> dict:
    """model.json: sizes in pixels, classes, and how far the files are the run's network."""
    encoding, pixel_range = run.encoding, run.pixel_range
    return {
        "format": form.title,
        "files": list(comparisons),
        "network": run.config["model"],
        "input": {
            "layout": "batch, height, width, channels",
            "dtype": "float32",
            "pixels": f"raw, as in files of {pixel_range.dtype}: the network scales them itself",
            "black": list(pixel_range.low),
            "white": list(pixel_range.high),
            "channels": pixel_range.channels,
            "resize": list(frame.size) if frame.size else None,  # (H, W) that whole images get first
            "size": [side + 2 * frame.margin for side in frame.tile] if form.fixed else None,  # the only (H, W)
            "multiple": sizes.multiple,
            "remainder": sizes.remainder,
            "minimum": sizes.min_size,
            "margin": sizes.margin,
            "padding": "mirrored, the border pixel once",
        },
        "output": {
            "layout": "batch, height - 2 margin, width - 2 margin, logits",
            "logits": 1 if run.config["one_logit"] else encoding.num_classes,
            "decision": RULES[not run.config["one_logit"]],
        },
        "classes": [
            {"index": index, "name": name, "color": list(color)}
            for index, (name, color) in enumerate(zip(encoding.names, encoding.colors, strict=True))
        ],
        "pretrained_weights": pretrained_weights(run),
        "run": {
            "name": run.path.resolve().name,
            "git_commit": read_json(run.path / "environment.json").get("git_commit"),
            "data_set": run.dataset["fingerprint"],
            "images": {part: len(run.split.part(part)) for part in ("train", "val", "test")},
        },
        "compared_with_the_run": {name: comparison.to_json() for name, comparison in comparisons.items()},
    }


def pretrained_weights(run: Run) -> dict | None:
    """Whose weights the training began with, and under which licence."""
    backbone, given = MODELS[run.config["model"]].pretrained, run.config["weights"]
    if backbone is None or given == "none":
        return None
    if given in (None, "imagenet"):
        return {
            "of": f"{backbone.build.__name__}, trained on ImageNet",
            "source": backbone.url,
            "licence": backbone.licence,
            "note": IMAGENET,
        }
    return {"of": given, "source": given, "licence": "not known here: that of the file", "note": None}


def card(about: dict, run: Run) -> str:
    """README.md beside the files, Markdown."""
    name = about["run"]["name"]
    lines = [
        f"# {name}: {about['network']}, {about['format']}",
        "",
        f"Semantic segmentation into {len(about['classes'])} classes: "
        f"{', '.join(entry['name'] for entry in about['classes'])}. Raw pixels in, logits out; all numbers are in "
        "[model.json](model.json).",
        "",
        "## Input and output",
        "",
        *input_lines(about),
        f"- Decision: {about['output']['decision']}.",
        "",
        "## Is it the run's network?",
        "",
        "Both saw the same images of the run's validation part, in the same frames.",
        "",
        "| file | images | largest difference of logits | equal pixels | mIoU | of the run |",
        "|---|---|---|---|---|---|",
        *comparison_rows(about["compared_with_the_run"]),
        "",
        "## How good is it?",
        "",
        *score_lines(run),
        f"Trained on {about['run']['images']['train']} images; it knows nothing of images unlike them.",
        "",
        "## Licences",
        "",
        *licence_lines(about["pretrained_weights"]),
        "",
    ]
    return "\n".join(lines)


def input_lines(about: dict) -> list[str]:
    given = about["input"]
    lines = [
        f"- Input: {given['dtype']} ({given['layout']}), {given['channels']} channels, {given['pixels']}. Do not "
        "divide by 255.",
    ]
    if given["resize"]:
        lines.append("- Resize whole images to {}×{} (height×width) first.".format(*given["resize"]))
    if given["size"]:
        lines.append("- One image of {}×{} pixels (height×width) at a time.".format(*given["size"]))
    else:
        rest = f" plus {given['remainder']}" if given["remainder"] else ""
        lines.append(
            f"- Height and width: multiples of {given['multiple']}{rest}, at least {given['minimum']}; "
            "mirror other images out to such a size, and cut the answer back."
        )
    if given["margin"]:
        lines.append(f"- The answer lacks {given['margin']} pixels on each side: mirror the image out by as many.")
    return lines


def comparison_rows(comparisons: dict) -> list[str]:
    return [
        f"| {name} | {comparison['images']} | {comparison['largest_difference_of_logits']:.2g} | "
        f"{comparison['share_of_equal_pixels']:.3%} | {comparison['miou']:.4f} | {comparison['miou_of_the_run']:.4f} |"
        for name, comparison in comparisons.items()
    ]


def score_lines(run: Run) -> list[str]:
    """The mIoU of each part of the data set that was scored."""
    lines = []
    for split in ("test", "val"):
        path = run.path / "evaluation" / split / "metrics.json"
        if path.is_file():
            metrics = read_json(path)
            interval = metrics.get("miou_ci95")
            error = " (95% interval {:.3f} to {:.3f})".format(*interval) if interval else ""
            lines.append(f"mIoU {metrics['miou']:.3f}{error} on {metrics['num_images']} images of the {split} part.")
    return lines or ["Not evaluated yet: `evaluate.py` scores the run."]


def licence_lines(weights: dict | None) -> list[str]:
    program = (
        "This network was trained with a program under the MIT licence; whoever trained it says under which it is."
    )
    if weights is None:
        return [program]
    note = f" ({weights['note']}.)" if weights["note"] else ""
    return [program, "", f"It began with the weights of {weights['of']}: {weights['licence']}.{note}"]
