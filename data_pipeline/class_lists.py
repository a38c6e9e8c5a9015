"""The classes of a data set as a file beside it lists them: classes.json, or the lists that other tools write."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

from .command import UserError
from .files import read_json

CLASSES_FILE = "classes.json"
VOID_LABELS = ("__ignore__", "_ignore_", "ignore", "void", "unlabeled", "unlabelled", "unknown")


def find_class_list(source: Path, pairs) -> Path | None:
    """The list of classes nearest to the images and masks, at most as far up as the data set's own folder.

    classes.json wins over all others.
    """
    root = source if source.is_dir() else source.parent
    if (root / CLASSES_FILE).exists():
        return root / CLASSES_FILE
    if not pairs:
        return None
    near = [folder for folder in pairs[0].mask.absolute().parents if folder.is_relative_to(root.absolute())]
    near += [
        folder
        for folder in pairs[0].image.absolute().parents
        if folder not in near and folder.is_relative_to(root.absolute())
    ]
    for name in (CLASSES_FILE, *LISTS):
        for folder in near or [root]:
            if (folder / name).is_file() and entries_of(folder / name):
                return folder / name
    return None


def class_list(path: Path) -> dict:
    """A list of classes in the form of classes.json.

    Raises:
        UserError: for a classes.json that is none.
    """
    if path.name == CLASSES_FILE:
        return read_json(path)
    entries = entries_of(path)
    void = [entry.get("color", entry.get("value")) for entry in entries if entry["name"].lower() in VOID_LABELS]
    classes = [entry for entry in entries if entry["name"].lower() not in VOID_LABELS]
    return {"classes": classes, "void": [value for value in void if value != -1]}


def entries_of(path: Path) -> list[dict]:
    """Read the classes from another tool's list; empty for a file of another kind that happens to be called so."""
    try:
        return LISTS[path.name](path)
    except (UnicodeDecodeError, ValueError, KeyError, IndexError, TypeError, AttributeError, csv.Error, UserError):
        return []


def rows(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def names_in_order(path: Path) -> list[dict]:
    """labelme's class_names.txt, fastai's codes.txt: a name a line; labelme's first is −1."""
    names = rows(path)
    first = -1 if names[0] == "__ignore__" else 0
    return [{"name": plain(name), "value": i + first} for i, name in enumerate(names)]


def cvat_label_map(path: Path) -> list[dict]:
    """CVAT's labelmap.txt: label:r,g,b:parts:actions."""
    fields = [row.split(":") for row in rows(path)]
    return [{"name": name, "color": [int(part) for part in color.split(",")]} for name, color, *_ in fields]


def colors_and_names(path: Path) -> list[dict]:
    """CamVid's label_colors.txt: three numbers and a name."""
    fields = [re.fullmatch(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.+)", row) for row in rows(path)]
    return [{"name": field[4].strip(), "color": [int(field[i]) for i in (1, 2, 3)]} for field in fields]


def class_dictionary(path: Path) -> list[dict]:
    """class_dict.csv: name, r, g, b."""
    return [{"name": row["name"], "color": [int(row[part]) for part in "rgb"]} for row in table(path)]


def roboflow_classes(path: Path) -> list[dict]:
    """Roboflow's _classes.csv: Pixel Value, Class."""
    return [{"name": row["class"], "value": int(row["pixel value"])} for row in table(path)]


def table(path: Path) -> list[dict]:
    reader = csv.DictReader(rows(path), skipinitialspace=True)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames]
    return [{key: (value or "").strip() for key, value in row.items()} for row in reader]


def nnunet_labels(path: Path) -> list[dict]:
    """nnU-Net's dataset.json: {"labels": {"background": 0}}; before its second version the other way round."""
    labels = read_json(path)["labels"]
    entries = [(value, key) if str(key).isdigit() else (key, value) for key, value in labels.items()]
    return [{"name": str(name), "value": int(value)} for name, value in entries]


def plain(name: str) -> str:
    """_background_ → background, as labelme writes it."""
    return name.strip("_") if name == "_background_" else name


LISTS: dict[str, Callable[[Path], list[dict]]] = {
    "labelmap.txt": cvat_label_map,
    "class_names.txt": names_in_order,
    "class_dict.csv": class_dictionary,
    "label_colors.txt": colors_and_names,
    "_classes.csv": roboflow_classes,
    "codes.txt": names_in_order,
    "dataset.json": nnunet_labels,
}
