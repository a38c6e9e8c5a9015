"""Files that no command reads as they are: which kinds there are, and the one command or export that reads them."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

OTHER_KINDS = {  # ending → what to do
    ".heic": "save them as JPEG",
    ".heif": "save them as JPEG",
    ".avif": "save them as PNG",
    ".dng": "develop them to TIFF",
    ".dcm": "save each slice as 16-bit TIFF or PNG",
    ".nii": "save each slice as 16-bit TIFF or PNG",
    ".gz": "unpack; of NIfTI files (.nii.gz) save each slice as 16-bit TIFF or PNG",
    ".mat": "save masks as PNG",
    ".npz": "save each array as .npy",
    ".h5": "save each image as .npy or TIFF",
    ".svs": "cut regions out as TIFF, with QuPath",
    ".xml": "outlines or boxes: export PNG masks or COCO where they were annotated",
    ".geojson": "outlines: draw masks of them first",
    ".zip": "unpack",
    ".tar": "unpack",
    ".parquet": "save images and masks as PNG",
    ".tfrecord": "save images and masks as PNG",
    ".psd": "save as PNG",
    ".xcf": "save as PNG",
    ".pdf": "save as PNG",
}
RUNS = re.compile(r",\"?\d+ \d+( \d+ \d+){2,}\"?[,\r\n]")  # start and length, start and length, …
ROWS_OF_NUMBERS = re.compile(r"\s*\d+(\s+-?[\d.]+){6,}\s*(\n|$)")
MOST_READ = 1 << 16  # bytes of a file that are looked at


def passed_over(folder: Path) -> str:
    """The kinds of files in and below a folder that might have been meant, with their numbers; "" if there are none."""
    counts = Counter()
    for path in islice(files_below(folder), 100_000):
        ending = path.suffix.lower()
        if ending in OTHER_KINDS:
            counts[ending] += 1
        elif ending == ".txt" and is_yolo(path):
            counts[".txt with polygons"] += 1
    return "; ".join(
        f"{count} {ending}" + (f": {OTHER_KINDS[ending]}" if ending in OTHER_KINDS else "")
        for ending, count in counts.most_common(4)
    )


def files_below(folder: Path):
    for inside, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        yield from (Path(inside) / name for name in sorted(names) if not name.startswith("."))


def what_is_there(folder: Path, counts: dict[str, int]) -> str:
    """A folder's own names; which folders hold images, and how many; what is passed over."""
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    pictures = [f"{inside or '.'} {count}" for inside, count in counts.items() if count]
    words = f"it holds: {names}"
    if pictures:
        more = f" and {len(pictures) - 8} folders more" if len(pictures) > 8 else ""
        words += f"; images: {', '.join(pictures[:8])}{more}"
    return words + (f"; passed over: {passed}" if (passed := passed_over(folder)) else "")


def advice(folder: Path) -> str:
    """The command that reads what lies in a folder, or the export that can be read; "" if nothing is recognised."""
    files = list(islice(files_below(folder), 5000))
    return next((words for recognise in RECOGNISED if (words := recognise(folder, files))), "")


def command(folder: Path, form: str) -> str:
    return f"convert it: python -m data_pipeline convert {shlex.quote(str(folder))} OUT --from {form}"


def beginning(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MOST_READ)
    except OSError:
        return ""


def is_yolo(path: Path) -> bool:
    """Return whether a text file's first row is a class and a polygon."""
    return bool(ROWS_OF_NUMBERS.match(beginning(path)))


def yolo(folder: Path, files: list[Path]) -> str:
    if any(path.suffix == ".txt" and is_yolo(path) for path in files):
        return f"these are YOLO's polygons; {command(folder, 'yolo')}"
    return ""


def json_forms(folder: Path, files: list[Path]) -> str:
    """COCO, labelme, VIA, Supervisely, Label Studio, V7 and Labelbox, by the keys of their JSON files."""
    for path in [path for path in files if path.suffix in (".json", ".ndjson")][:50]:
        text = beginning(path)
        if '"data_row"' in text:
            return (
                f"{path.name} is Labelbox's form, whose masks lie on its server: save each as a PNG that is called "
                "after its image"
            )
        if '"annotations"' in text and '"slots"' in text:
            return f"{path.name} is V7's form: in V7, export as COCO, and {command(folder, 'coco')}"
        if '"annotations"' in text and ('"categories"' in text or '"images"' in text):
            return f"{path.name} is COCO's form; {command(folder, 'coco')}"
        if '"shapes"' in text and '"imagePath"' in text:
            return f"{path.name} is labelme's form; {command(path.parent, 'labelme')}"
        if '"regions"' in text and ('"shape_attributes"' in text or "via" in path.name):
            return (
                f"{path.name} is VIA's form: in VIA, choose Annotation > Export annotations (COCO format), put that "
                f"file beside the images, and {command(folder, 'coco')}"
            )
        if '"geometryType"' in text or ('"objects"' in text and '"classTitle"' in text):
            return (
                f"{path.name} is Supervisely's form: export with masks (masks_machine), or run its app Export to COCO, "
                f"and {command(folder, 'coco')}"
            )
        if '"from_name"' in text and '"to_name"' in text:
            return (
                f"{path.name} is Label Studio's own form: there, choose Export > COCO with images, and "
                f"{command(folder, 'coco')}"
            )
    return ""


def brush(folder: Path, files: list[Path]) -> str:
    if any(re.match(r"task-\d+-annotation-\d+-.*-tag-", path.name) for path in files):
        return (
            "the masks are Label Studio's brush export, whose names do not say which image they belong to: there, "
            f"choose Export > COCO with images, and {command(folder, 'coco')}"
        )
    return ""


def cvat(folder: Path, files: list[Path]) -> str:
    for path in [path for path in files if path.suffix.lower() == ".xml"][:3]:
        text = beginning(path)
        if "<annotations>" in text and "<image " in text:
            return f"{path.name} is CVAT's form: in CVAT, choose Export > Segmentation mask 1.1, which is read as it is"
        if "<bndbox>" in text and "<polygon>" not in text:
            return f"{path.name} holds boxes, not masks: a network for segmentation cannot learn from them"
    return ""


def run_lengths(folder: Path, files: list[Path]) -> str:
    for path in [path for path in files if path.suffix.lower() == ".csv"][:20]:
        header, _, rows = beginning(path).partition("\n")
        if RUNS.search(rows) or (re.search(r"encodedpixels|rle", header, re.IGNORECASE) and rows.strip()):
            return f"{path.name} holds run lengths; {command(folder, 'rle')}"
    return ""


def stacks(folder: Path, files: list[Path]) -> str:
    from .files import frames_of, shape_of

    pictures = [path for path in files if path.suffix.lower() in (".tif", ".tiff")]
    if any(frames_of(path) > 1 for path in pictures[:4]):
        return f"these are stacks of slices; {command(folder, 'stack')}"
    for path in [path for path in files if path.suffix.lower() == ".npy"][:4]:
        if len(shape := shape_of(path)) == 4:
            return f"{path.name} holds {shape[0]} pictures in one array: save each as a .npy of its own"
    return ""


RECOGNISED: tuple[Callable[[Path, list[Path]], str], ...] = (yolo, json_forms, brush, cvat, run_lengths, stacks)
