"""COCO and labelme annotations → images/, masks/ and classes.json, the form that every other command reads.

A JSON file is a stranger: each number in it is checked before it reaches the C code of pycocotools or Pillow,
and only images inside of its own folders are read.
"""

import base64
import io
import os
import reprlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from pycocotools import mask as run_length
from tqdm import tqdm

from .command import UserError
from .files import FORMATS, IMAGE_SUFFIXES, list_images, read_image, read_json, replace_folder, write_json, write_mask
from .findings import some
from .masks import MAX_CLASSES, VOID, VOID_NAMES, default_color
from .pairs import Pair, unique_stems

COCO_FOLDERS = ("", "images", "train", "valid", "val", "test", "train2017", "val2017", "test2017")
NO_MASK = (None, [], [[]], {})  # what stands for the segmentation of a box
MAX_OUTLINE = 2_000_000  # pixels along one annotation's polygons; pycocotools takes some 80 bytes for each
MAX_CHARACTERS = 7  # of one compressed number: 35 bits

LABELME_POINTS = {"polygon": 3, "oriented_rectangle": 4, "rectangle": 2, "circle": 2, "mask": 2}  # a polygon: at least
LABELME_LINES = ("line", "linestrip", "point", "points")  # no area
MAX_EMBEDDED = 1 << 26  # pixels of a picture inside a JSON file, where a few bytes can ask for gigabytes
EMBEDDED_SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "GIF": ".gif",
    "MPO": ".jpg",
}

KINDS = {dict: "an object {…}", list: "a list […]", str: "a text", int: "a whole number"}


@dataclass(frozen=True)
class Drawing:
    """One image and what is drawn on it."""

    path: Path  # names the image; it need not exist where the bytes come from elsewhere
    content: Callable[[], bytes]  # the bytes of the image file
    size: tuple[int, int]  # height, width
    regions: Callable[[], Iterator[tuple[str, np.ndarray]]]  # class name and bool (H, W); the later ones lie on top


@dataclass(frozen=True)
class Annotations:
    """All that a data set's JSON files say."""

    root: Path  # the folder that holds every image
    names: list[str]  # of the classes, background first
    index: dict[str, int]  # every name in use → class index or VOID
    drawings: list[Drawing]
    on_top: str  # what wins where two classes claim a pixel
    notes: list[str]


def convert(source: Path, destination: Path, form: str) -> None:
    """Write the images, byte for byte, and masks of class indices drawn from annotations. All of it, or nothing.

    Args:
        source: coco: the JSON file, or a folder with one JSON file in it or in its annotations/;
            labelme: the folder of the JSON files, or of folders of them.
        destination: a folder that does not exist yet.
        form: a key of FORMS.

    Raises:
        UserError: naming the file and the entry that is wrong.
    """
    source, destination = Path(source), Path(destination)
    if form not in FORMS:
        raise UserError(f"no annotations of the form {form!r} are known; wanted one of: {', '.join(FORMS)}")
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if destination.exists():
        raise UserError(f"{destination} exists; name another folder, or remove it first")
    annotations = FORMS[form](source)
    with replace_folder(destination) as fresh:
        notes = write(annotations, fresh)
    for note in annotations.notes + notes:
        print(f"note: {note}")
    print(
        f"{len(annotations.drawings)} images and {len(annotations.names)} classes are in {destination}/. "
        f"Next: python -m data_pipeline check {shlex.quote(str(destination))}"
    )


def write(annotations: Annotations, folder: Path) -> list[str]:
    """Fill the folder; what was found on the way, in words."""
    colors = [default_color(i) for i in range(len(annotations.names))]
    drawings = annotations.drawings
    named = unique_stems([Pair(one.path.stem, one.path, one.path) for one in drawings], annotations.root)
    blank, empty, contested, pixels = [], 0, 0, 0
    (folder / "images").mkdir()
    progress = tqdm(drawings, "drawing", unit="image", leave=False, disable=None)
    for drawing, pair in zip(progress, named, strict=True):
        mask, claimed_twice, areas = draw(drawing, annotations.index)
        write_mask(folder / "masks" / f"{pair.stem}.png", mask, colors)
        (folder / "images" / f"{pair.stem}{drawing.path.suffix}").write_bytes(drawing.content())
        blank += [] if areas else [drawing.path.name]
        empty += areas.count(0)
        contested += claimed_twice
        pixels += mask.size

    classes = [
        {"name": name, "value": i, "color": color}
        for i, (name, color) in enumerate(zip(annotations.names, colors, strict=True))
    ]
    void = [VOID] if VOID in annotations.index.values() else []
    write_json(folder / "classes.json", {"classes": classes, "void": void})

    notes = []
    if blank:
        notes.append(
            f"{len(blank)} of {len(drawings)} images have nothing drawn on them, all background: {some(blank)}"
        )
    if empty:
        notes.append(f"{empty} annotations cover no pixel")
    if contested:
        notes.append(
            f"{contested / pixels:.2%} of the pixels are claimed by two classes; {annotations.on_top} is on top"
        )
    return notes


def draw(drawing: Drawing, index: dict[str, int]) -> tuple[np.ndarray, int, list[int]]:
    """The mask, uint8 (H, W), void 255; how many pixels two classes claim; the area of each region in pixels."""
    mask = np.zeros(drawing.size, np.uint8)
    claimed_twice = np.zeros(drawing.size, bool)
    areas = []
    for name, region in drawing.regions():
        before = mask[region]
        claimed_twice[region] |= (before != 0) & (before != index[name])
        mask[region] = index[name]
        areas.append(before.size)
    return mask, int(claimed_twice.sum()), areas


def read_coco(source: Path) -> Annotations:
    """What a COCO JSON file says of its images: polygons and run-length codes, crowds included.

    Reference: https://cocodataset.org/#format-data
    """
    path = find_coco_file(source)
    stored = read_annotations(path)
    images, names = by_id(path, stored, "images"), coco_names(path, stored)
    listed, index = number_classes(path, list(names.values()))
    drawn, boxes = coco_annotations(path, stored, images, names)

    root = coco_root(path)
    drawings = []
    for number, (where, entry) in tqdm(images.items(), "reading", unit="image", leave=False, disable=None):
        image = find_coco_image(where, entry, path.parent, root)
        size = read_image(image).shape[:2]
        check_size(where, (entry.get("width"), entry.get("height")), size, image)
        drawings.append(Drawing(image, image.read_bytes, size, partial(coco_regions, drawn[number], *size)))

    used = {name for annotations in drawn.values() for _, name, _ in annotations}
    unused = [name for name in names.values() if name not in used]
    notes = []
    if boxes:
        notes.append(f"{boxes} annotations are boxes without a mask, and are left out")
    if unused:
        notes.append(f"{len(unused)} categories are drawn nowhere: {some(unused)}")
    return Annotations(root, listed, index, drawings, "the smaller area", notes)


def coco_names(path: Path, stored: dict) -> dict[int, str]:
    """Category id → name, in the order of the ids."""
    categories = by_id(path, stored, "categories")
    names = {number: class_name(f"{where}: name", entry.get("name")) for number, (where, entry) in categories.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise UserError(f"{path}: two categories are called {brief(twice[0])}; give each a name of its own")
    return dict(sorted(names.items()))


def coco_annotations(path: Path, stored: dict, images: dict, names: dict[int, str]) -> tuple[dict[int, list], int]:
    """Image id → its annotations as (place in words, class name, segmentation); and how many are boxes alone."""
    drawn = {number: [] for number in images}
    boxes = 0
    for where, entry in entries(path, stored, "annotations"):
        image, category = (expect(f"{where}: {key}", entry.get(key), int) for key in ("image_id", "category_id"))
        if image not in images or category not in names:
            lost = f"image_id {brief(image)}" if image not in images else f"category_id {brief(category)}"
            raise UserError(f"{where}: {lost} is the id of none in the file; export it anew")
        if entry.get("segmentation") in NO_MASK:
            boxes += 1
        else:
            drawn[image].append((where, names[category], entry["segmentation"]))
    if not any(drawn.values()):
        what = f"its {boxes} annotations are boxes, and boxes are no masks" if boxes else "it holds no annotations"
        raise UserError(f"{path}: {what}; export polygons or masks")
    return drawn, boxes


def find_coco_file(source: Path) -> Path:
    """The file itself, or the only JSON file of a folder or its annotations/, or else of its other sub-folders."""
    if source.is_file():
        return source
    found = json_files(source) + json_files(source / "annotations") or json_files_below(source)
    if len(found) != 1:
        listing = some([str(path.relative_to(source)) for path in found], 8) or "none"
        raise UserError(f"{source}: {len(found)} JSON files, one wanted: {listing}; name the one to convert")
    return found[0]


def coco_root(path: Path) -> Path:
    """The folder that holds a COCO file's images: its own, or the one around annotations/."""
    in_annotations = path.parent.absolute().name == "annotations"
    return Path(os.path.normpath(path.parent / "..")) if in_annotations else path.parent


def find_coco_image(where: str, entry: dict, folder: Path, root: Path) -> Path:
    name = expect(f"{where}: file_name", entry.get("file_name"), str)
    found = locate(where, name, [folder, *(root / inner for inner in COCO_FOLDERS)], root)
    if not found:
        tried = ", ".join(filter(None, COCO_FOLDERS))
        raise UserError(f"{where}: {brief(name)} is not in {root}, nor in its folders {tried}; put the images there")
    return only(where, found)


def coco_regions(annotations: list[tuple], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """The regions of one image by area, so that small objects stay visible on large ones.

    Each is encoded twice, for its area and for its pixels: a short polygon can become a long code, and so one
    code at a time is held.
    """
    areas = [int(run_length.area(encode(where, segmentation, height, width))) for where, _, segmentation in annotations]
    for i in sorted(range(len(areas)), key=areas.__getitem__, reverse=True):
        where, name, segmentation = annotations[i]
        yield name, run_length.decode(encode(where, segmentation, height, width)).view(bool)


def encode(where: str, segmentation, height: int, width: int) -> dict:
    """A segmentation, as polygons or as a run-length code, in the compressed form of pycocotools."""
    if isinstance(segmentation, dict):
        counts = run_lengths(where, segmentation, height, width)
        return run_length.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    rings = expect(f"{where}: segmentation", segmentation, list)
    outline = sum(outline_of(where, ring, height, width) for ring in rings)
    if outline > MAX_OUTLINE:
        raise UserError(
            f"{where}: its outline is {outline:,.0f} pixels long, at most {MAX_OUTLINE:,} wanted; simplify it"
        )
    return run_length.merge(run_length.frPyObjects(rings, height, width))


def outline_of(where: str, ring, height: int, width: int) -> float:
    """The length of a polygon x, y, x, y, … in pixels, a diagonal step counted as one."""
    expect(f"{where}: a polygon", ring, list)
    if len(ring) < 6 or len(ring) % 2:
        raise UserError(f"{where}: a polygon of {len(ring)} numbers; 6 or more wanted, an even count: x, y, x, y, …")
    points = check_points(where, [ring[i : i + 2] for i in range(0, len(ring), 2)], height, width)
    return np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()


def run_lengths(where: str, segmentation: dict, height: int, width: int) -> list[int]:
    """The lengths of the runs of 0, 1, 0, 1, … down the columns of a mask."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise UserError(f"{where}: a run-length code of size {brief(size)}; [{height}, {width}] wanted, as the image")
    if isinstance(counts, str):
        counts = decompress(where, counts)
    expect(f"{where}: counts", counts, list)
    if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != height * width:
        raise UserError(
            f"{where}: runs that do not add up to {height * width}, the image's pixels; export the file anew"
        )
    return counts


def decompress(where: str, text: str) -> list[int]:
    """The numbers in COCO's compressed string.

    A character is "0" plus six bits: five of a signed number, the lowest first, and one that says that more
    follow. From the fourth on, a number is the difference from the one two before it. (maskApi.c of
    pycocotools, rleFrString; that trusts the string, and a bad one makes it read and write past its memory.)
    """
    bits = np.array([ord(character) - ord("0") for character in text], np.int64)
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        raise UserError(f"{where}: counts {brief(text)} is no compressed run-length code; export the file anew")
    last = np.flatnonzero(bits & 32 == 0)
    lengths = np.diff(last, prepend=-1)
    if lengths.max() > MAX_CHARACTERS:
        raise UserError(f"{where}: counts {brief(text)} holds a number that is too large; export the file anew")
    first = last - lengths + 1
    place = np.arange(len(bits)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((bits & 31) << 5 * place, first)
    numbers -= (bits[last] >> 4 & 1) << 5 * lengths  # the sign
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers.tolist()


def read_labelme(source: Path) -> Annotations:
    """What a folder of labelme's JSON files says, one file for each image.

    Reference: https://github.com/wkentaro/labelme
    """
    if not source.is_dir():
        raise UserError(f"{source}: a file; for labelme, name the folder that holds the JSON files")
    paths = json_files(source) or json_files_below(source)
    if not paths:
        raise UserError(f"{source}: no JSON files in it, nor in its sub-folders; name the folder that labelme saved to")
    drawings, names, lines = [], set(), Counter()
    for path in tqdm(paths, "reading", unit="file", leave=False, disable=None):
        drawing, labels, skipped = read_labelme_file(path, source)
        drawings.append(drawing)
        names |= labels
        lines += skipped
    if not names:
        raise UserError(f"{source}: no shape in its {len(paths)} JSON files has an area; draw polygons")

    listed, index = number_classes(source, sorted(names))
    annotated = {drawing.path for drawing in drawings}
    folders = sorted({path.parent for path in annotated})
    others = [path.name for folder in folders for path in list_images(folder) if path not in annotated]
    notes = []
    if lines:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(lines.items()))
        notes.append(f"{lines.total()} shapes have no area, and are left out: {kinds}")
    if others:
        notes.append(f"{len(others)} images have no JSON file, and are left out: {some(others)}")
    return Annotations(source, listed, index, drawings, "the later shape", notes)


def read_labelme_file(path: Path, root: Path) -> tuple[Drawing, set[str], Counter]:
    """The drawing of one file, the labels on it, and the kinds of shapes without an area."""
    stored = read_annotations(path)
    image, content, size = find_labelme_image(path, stored, root)
    check_size(f"{path}", (stored.get("imageWidth"), stored.get("imageHeight")), size, image)

    shapes, labels, lines = [], set(), Counter()
    for where, shape in entries(path, stored, "shapes"):
        kind = expect(f"{where}: shape_type", shape.get("shape_type") or "polygon", str)  # labelme 2 had no other
        if kind in LABELME_LINES:
            lines[kind] += 1
            continue
        if kind not in LABELME_POINTS:
            known = ", ".join((*LABELME_POINTS, *LABELME_LINES))
            raise UserError(f"{where}: shape_type {brief(kind)}; wanted one of: {known}")
        label = class_name(f"{where}: label", shape.get("label"))
        labels.add(label)
        shapes.append((where, kind, label, shape))
    return Drawing(image, content, size, partial(labelme_regions, shapes, *size)), labels, lines


def find_labelme_image(path: Path, stored: dict, root: Path) -> tuple[Path, Callable[[], bytes], tuple[int, int]]:
    """The image that the file names, or that lies beside it under its name, or that it embeds; its bytes and size."""
    name = expect(f"{path}: imagePath", stored.get("imagePath"), str)
    found = locate(f"{path}", name, [path.parent], root)
    found = found or [image for image in list_images(path.parent) if image.stem == path.stem]
    if found:
        image = only(f"{path}", found)
        return image, image.read_bytes, read_image(image).shape[:2]
    if stored.get("imageData") is None:
        raise UserError(
            f"{path}: no image {brief(name)}, none called {path.stem} beside the file, and no imageData in it; "
            "put the image beside it"
        )
    content = partial(embedded_image, path)
    with opened(content(), f"{path}: imageData") as picture:
        width, height = ImageOps.exif_transpose(picture).size
        return path.with_suffix(EMBEDDED_SUFFIXES[picture.format]), content, (height, width)


def embedded_image(path: Path) -> bytes:
    """The imageData of a file, which is read again each time: to hold those of all files takes too much memory."""
    return decode_base64(f"{path}: imageData", read_annotations(path).get("imageData"))


def labelme_regions(shapes: list[tuple], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """The shapes of one image in their order in the file."""
    for where, kind, label, shape in shapes:
        yield label, draw_shape(where, kind, shape, height, width)


def draw_shape(where: str, kind: str, shape: dict, height: int, width: int) -> np.ndarray:
    """One shape as bool (H, W), by the rule of labelme's own export: Pillow's, the outline belongs to the shape."""
    points = check_points(where, expect(f"{where}: points", shape.get("points"), list), height, width)
    wanted = LABELME_POINTS[kind]
    if len(points) < wanted or (len(points) > wanted and kind != "polygon"):
        raise UserError(f"{where}: a {kind} of {len(points)} points; {wanted} wanted; draw it again")
    canvas = Image.new("L", (width, height))
    pen = ImageDraw.Draw(canvas)
    if kind == "mask":
        left, top = points[0].round().astype(int).tolist()
        canvas.paste(read_patch(where, shape, points), (left, top))
    elif kind == "circle":
        center, rim = points
        radius = np.hypot(*(rim - center))
        pen.ellipse([*(center - radius).tolist(), *(center + radius).tolist()], fill=1, outline=1)
    elif kind == "rectangle":
        pen.rectangle([*points.min(axis=0).tolist(), *points.max(axis=0).tolist()], fill=1, outline=1)
    else:
        pen.polygon(points.ravel().tolist(), fill=1, outline=1)
    return np.asarray(canvas) != 0


def read_patch(where: str, shape: dict, points: np.ndarray) -> Image.Image:
    """The picture of a mask, which fills the box of its two points; their fractions may round by a pixel."""
    box = points[1].round() - points[0].round() + 1
    with opened(decode_base64(f"{where}: mask", shape.get("mask")), f"{where}: mask") as patch:
        if np.abs(box - patch.size).max() > 1 or patch.mode not in ("1", "L"):
            raise UserError(
                f"{where}: a mask of {patch.width}×{patch.height} pixels of the form {patch.mode}; "
                f"{box[0]:.0f}×{box[1]:.0f} grey ones wanted, as its points say; draw it again"
            )
        return patch.convert("L")


def json_files(folder: Path) -> list[Path]:
    """The JSON files directly in a folder, by name; hidden ones are passed over."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith(".") and path.is_file())


def json_files_below(folder: Path) -> list[Path]:
    return [path for child in sorted(folder.glob("[!.]*/")) for path in json_files(child)]


def read_annotations(path: Path) -> dict:
    try:
        stored = read_json(path)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    return expect(f"{path}", stored, dict)


def entries(path: Path, stored: dict, key: str) -> list[tuple[str, dict]]:
    """The objects in a list of a JSON file, each with its place in words."""
    listed = expect(f"{path}: {key}", stored.get(key), list)
    return [(f"{path}, {key}[{i}]", expect(f"{path}, {key}[{i}]", entry, dict)) for i, entry in enumerate(listed)]


def by_id(path: Path, stored: dict, key: str) -> dict[int, tuple[str, dict]]:
    """The objects in a list of a COCO file by their id, each with its place in words."""
    found = {}
    for where, entry in entries(path, stored, key):
        number = expect(f"{where}: id", entry.get("id"), int)
        if number in found:
            raise UserError(f"{where}: the id {brief(number)} stands twice; export the file anew")
        found[number] = (where, entry)
    return found


def expect(where: str, value, kind: type):
    """The value, if it is of the kind; True and False are no whole numbers."""
    if type(value) is not kind:
        came = "missing" if value is None else brief(value)
        raise UserError(f"{where}: {came}; {KINDS[kind]} wanted; correct the file, or export it anew")
    return value


def brief(value) -> str:
    """A value in few characters, those that cannot be printed escaped."""
    form = reprlib.Repr()
    form.maxstring = form.maxother = form.maxlong = 80
    return form.repr(value)


def class_name(where: str, value) -> str:
    name = expect(where, value, str).strip()
    if not name or not name.isprintable():
        raise UserError(f"{where}: {brief(value)} cannot be shown; name the class with letters")
    return name


def number_classes(source: Path, names: list[str]) -> tuple[list[str], dict[str, int]]:
    """Class names, background first and then the given order; and every given name's index, or VOID.

    What is called background or void, in any case and with or without underscores around it, is no new class.
    """
    listed, index = ["background"], {}
    for name in names:
        plain = name.strip("_ ").lower()
        if plain in VOID_NAMES:
            index[name] = VOID
        elif plain == "background":
            index[name] = 0
        else:
            index[name] = len(listed)
            listed.append(name)
    if not 2 <= len(listed) <= MAX_CLASSES:
        raise UserError(
            f"{source}: {len(listed) - 1} classes besides background and void; 1 to {MAX_CLASSES - 1} wanted"
        )
    return listed, index


def check_points(where: str, points: list, height: int, width: int) -> np.ndarray:
    """Points [x, y] as float (N, 2); each lies at most the image's own width and height outside of it."""
    for point in points:
        if type(point) is not list or len(point) != 2 or not (is_near(point[0], width) and is_near(point[1], height)):
            raise UserError(
                f"{where}: the point {brief(point)}; [x, y] in or near the image of {width}×{height} pixels wanted; "
                "draw it again"
            )
    return np.array(points, float)


def is_near(value, length: int) -> bool:
    return type(value) in (int, float) and -length <= value <= 2 * length  # False for NaN


def locate(where: str, name: str, folders: list[Path], root: Path) -> list[Path]:
    """The files of that name in some folders; a name with ".." counts from the first folder alone.

    Backslashes are separators. Links on the disk are followed: whoever put them there can read what they point to.

    Raises:
        UserError: for an absolute path, or one that leads out of the root.
    """
    written = PureWindowsPath(name)
    folders = folders[:1] if ".." in written.parts else folders
    paths = {Path(os.path.normpath(folder / written.as_posix())) for folder in folders if not written.anchor}
    inside = [path for path in paths if Path(os.path.relpath(path, root)).parts[:1] != ("..",)]
    if not inside:
        raise UserError(f"{where}: {brief(name)} lies outside of {root}; move the image there, and correct its path")
    return sorted(path for path in inside if os.path.isfile(path))  # unlike Path's, False for a name that cannot be


def only(where: str, found: list[Path]) -> Path:
    """The one image that was found.

    Raises:
        UserError: if there are several, or if the other commands would not see it as an image.
    """
    if len(found) > 1:
        raise UserError(f"{where}: which image is meant? There are {some([str(path) for path in found])}; keep one")
    if found[0].suffix.lower() not in IMAGE_SUFFIXES or found[0].name.startswith("."):
        raise UserError(f"{where}: {found[0]} is not called like an image (.png, .jpg, …); rename it, there and here")
    return found[0]


@contextmanager
def opened(encoded: bytes, where: str) -> Iterator[Image.Image]:
    """A picture out of a JSON file, of which only the header is read yet."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_EMBEDDED:
                size = f"{picture.width}×{picture.height}"
                raise UserError(f"{where}: {size} pixels; at most {MAX_EMBEDDED:,} wanted; keep the image in a file")
            yield picture
    except UserError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged data
        raise UserError(f"{where}: not a readable picture ({error}); annotate the image anew") from None


def check_size(where: str, stated: tuple, size: tuple[int, int], image: Path) -> None:
    """Hold the width and height that a JSON file states to those of the image, turned as its EXIF says."""
    height, width = size
    if stated == (width, height):
        return
    remedy = "put back the image that was annotated, or annotate this one"
    if stated == (height, width):
        remedy = "if its EXIF orientation turns it, remove that from the file, so that it lies as it was annotated"
    came = "×".join(brief(number) for number in stated)
    raise UserError(f"{where}: says {came} pixels (width×height), but {image} has {width}×{height}; {remedy}")


def decode_base64(where: str, value) -> bytes:
    try:
        return base64.b64decode(expect(where, value, str))
    except ValueError as error:
        raise UserError(f"{where}: not in base64 ({error}); save the file anew") from None


FORMS = {"coco": read_coco, "labelme": read_labelme}
