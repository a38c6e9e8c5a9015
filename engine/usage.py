"""Examples and common flags of the scripts, as --help shows them. --help-all lists every flag."""

from data_pipeline.flags import Usage

READING = ("mask_suffix", "images", "masks", "one_class", "classes", "void", "group_by")

TRAIN = Usage(
    "python train.py",
    examples=(
        ("--data DIR", "its plan first, then runs/DIR-unet/"),
        ("--data DIR --steps 500 --name quick", "a first try"),
        ("--data DIR --crop 256 --batch-size 4", "large images, little memory"),
        ("--resume runs/DIR-unet", "go on after an interruption"),
    ),
    groups={
        "your images and masks": ("data", *READING),
        "network": ("model", "size", "crop"),
        "training": (
            "steps",
            "batch_size",
            "patience",
            "learning_rate",
            "loss",
            "class_weights",
            "augment",
            "symmetry",
            "unlabelled",
        ),
        "run": ("name", "seed", "resume", "recipe", "folds", "train_count", "precision"),
    },
    bare="--data {}",
)

CLASSIFY = Usage(
    "python train_classifier.py",
    examples=(
        ("--data DIR", "a folder of images for each class"),
        ("--data DIR --strategy all", "from scratch, frozen and fine-tuned, to compare"),
        ("--data DIR --label-from-masks largest", "labels read off masks"),
        ("--resume runs/NAME", "go on after an interruption"),
    ),
    groups={
        "your images": ("data", "label_from_masks", "group_by"),
        "network": ("strategy", "backbone", "weights", "size"),
        "training": ("steps", "batch_size", "patience", "learning_rate", "augment", "symmetry", "cache_features"),
        "run": ("name", "seed", "resume", "train_count", "train_per_class", "precision"),
    },
    bare="--data {}",
)

EVALUATE = Usage(
    "python evaluate.py",
    examples=(
        ("runs/NAME", "scores, baselines and report.html"),
        ("runs/A runs/B --compare --out DIR", "which differences are more than chance"),
        ("runs/NAME/fold-* --out DIR", "the folds of a cross-validation, pooled"),
        ("runs/N25 runs/N50 runs/N100 --forecast --out DIR", "would more masks help?"),
        ("--predictions DIR --truth DIR --out DIR", "masks that any tool made"),
    ),
    groups={
        "what is scored": ("runs", "split", "data", "tta", "group_by", "void", "split_touching"),
        "several runs": ("compare", "forecast", "ensemble"),
        "masks of any tool": ("predictions", "truth", "images", "mask_suffix", "second_annotator"),
        "output": ("out", "batch_size"),
    },
)

PREDICT = Usage(
    "python predict.py",
    examples=(
        ("runs/NAME NEW/*.jpg --out masks", "a mask and an overlay for each image"),
        ("runs/NAME NEW --out masks --to coco", "for a labelling tool, the least sure images first"),
    ),
)

EXPORT = Usage(
    "python export.py",
    examples=(("runs/NAME --to onnx --out DIR", "the network, how to call it, and a test of both"),),
)
