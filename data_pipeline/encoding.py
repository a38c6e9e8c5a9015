"""Encodings of masks: which value or colour on disk is which class. Stated in classes.json, or inferred.

If masks are ambiguous, an error says what to write; nothing is guessed.
"""

import colorsys
import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from .class_lists import CLASSES_FILE, class_list
from .command import UserError
from .mask_files import UNITED

VOID = 255  # inside the program, whatever it was on disk
UNKNOWN = 256  # in ``classes_of``: neither a class nor void
MAX_CLASSES = 255
COLOR_TOLERANCE = 8  # levels of 255, unless classes.json says otherwise: colours of some palettes lie 20 apart
SOFT_TOLERANCE = 32  # proposed for smoothed colours
BINARY_TOLERANCE = 127  # of soft 0/255 masks: below 128 is background
MOST_SOFT_GAP = 60  # levels between white and the next grey value of soft edges
VOID_NAMES = ("void", "ignore", "unlabeled", "unlabelled")
BACKGROUND_NAMES = ("background", "bg", "back ground")  # less blanks and underscores around them, in any case
ABOVE_ZERO = "above 0"  # in classes.json: the class of every value above 0, as of numbered objects

CUT = {
    "classes": [{"name": "background", "value": 0}, {"name": "foreground", "value": 255}],
    "tolerance": BINARY_TOLERANCE,
}

# Okabe and Ito's palette, safe for colour-blind readers; background first.
PALETTE = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (153, 153, 153),
)


@dataclass(frozen=True)
class Encoding:
    """The encoding of a data set's masks: which value or colour on disk is which class.

    ``values[i]`` is what class i looks like on disk: a grey value or palette index, or, where ``is_color``,
    a colour packed as red · 65536 + green · 256 + blue. ``void`` lists the values that never count.
    ``tolerance``: a pixel may differ from the nearest of these by so many levels in each channel.
    ``files``: where each class has a binary file of its own, the ends of their names; value i + 1 is then the
    file of ``files[i]``, and 0 what no file claims.
    The class that is called background comes first, wherever it stands in classes.json: baselines, overlays and
    scores of objects take class 0 for it.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...]  # for pictures
    void: tuple[int, ...] = ()
    is_color: bool = False
    tolerance: int = 0
    files: tuple[str, ...] = ()
    above_zero: int | None = None  # index of the class that every value above 0 belongs to, unless it is listed
    note: str = field(default="", compare=False)  # what was inferred, for the user to read

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict) -> "Encoding":
        lists = {key: tuple(stored[key]) for key in ("names", "values", "void", "files")}
        colors = tuple(tuple(color) for color in stored["colors"])
        return cls(**stored | lists | {"colors": colors})

    def show(self, value: int) -> str:
        """A value on disk in words: 7, or (128, 64, 128)."""
        return str(unpack(value)) if self.is_color else str(value)

    def in_json(self, value: int) -> int | list[int]:
        """A value on disk as files for people hold it: 7, or [128, 64, 128]."""
        return list(unpack(value)) if self.is_color else value

    def grey_in_json(self, grey: int) -> int | list[int]:
        """A --void in the form of ``in_json``: in masks of colours it is the grey of that level."""
        return self.in_json(gray_to(grey, self.is_color))

    @cached_property
    def index(self) -> dict[int, int]:
        """Value on disk → class index or VOID."""
        return dict.fromkeys(self.void, VOID) | {value: i for i, value in enumerate(self.values)}

    @cached_property
    def lookup(self) -> tuple[np.ndarray, np.ndarray]:
        known = np.array(sorted(self.index), np.int32)
        return known, np.array([self.index[value] for value in known.tolist()], np.uint8)

    def classes_of(self, raw: np.ndarray) -> np.ndarray:
        """Values on disk → class indices, VOID or UNKNOWN; int16, of any shape."""
        if not self.is_color and raw.size and raw.min() >= 0 and raw.max() <= 255:
            return self.table[raw]
        return self.search(raw)

    @cached_property
    def table(self) -> np.ndarray:
        """Class index of each value 0…255: the quick way for most masks."""
        return self.search(np.arange(256))

    def search(self, raw: np.ndarray) -> np.ndarray:
        known, classes = self.lookup
        place = np.minimum(np.searchsorted(known, raw), len(known) - 1)
        indices = classes[place].astype(np.int16)
        strange = known[place] != raw
        if strange.any():
            values, where = np.unique(raw[strange], return_inverse=True)
            indices[strange] = self.nearest(values)[where]
        if self.above_zero is not None:
            indices[strange & (raw > 0)] = self.above_zero
        return indices

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Class index or VOID of the nearest known value within the tolerance, else UNKNOWN."""
        known, classes = self.lookup
        distance = np.stack([self.distance(values, value) for value in known.tolist()])
        best = distance.argmin(0)
        return np.where(distance.min(0) <= self.tolerance, classes[best].astype(np.int16), UNKNOWN)

    def distance(self, values: np.ndarray, value: int) -> np.ndarray:
        """Levels between values on disk: the largest difference of a channel."""
        if not self.is_color:
            return np.abs(values - value)
        return np.max([np.abs((values >> shift & 255) - (value >> shift & 255)) for shift in (16, 8, 0)], axis=0)


def unknown_values(path: Path, pixels: Counter, encoding: Encoding, total: int) -> str:
    """Words for values in a mask of ``total`` pixels that are no known class."""
    listing = ", ".join(f"{encoding.show(value)} ({count} px)" for value, count in pixels.most_common(5))
    more = f" and {len(pixels) - 5} more" if len(pixels) > 5 else ""
    known = some_values([encoding.show(value) for value in (*encoding.values, *encoding.void)], most=24)
    remedy = "correct the mask, or list the value in classes.json"
    if encoding.is_color:
        remedy += f', or let more pixels count as the nearest colour: "tolerance": {max(2 * encoding.tolerance, 32)}'
    elif pixels.total() < 0.1 * total:
        remedy += f", or leave it out of every score with --void {pixels.most_common(1)[0][0]}"
    return f"{path}: holds {listing}{more}, which is no known class (known: {known}); {remedy}"


def unpack(color: int) -> tuple[int, int, int]:
    return (color >> 16, color >> 8 & 255, color & 255)


def some_values(values, most: int = 8) -> str:
    return ", ".join(str(value) for value in list(values)[:most]) + (", …" if len(values) > most else "")


def find_classes_file(source: Path) -> Path | None:
    """The data set's classes.json, beside its folders or its CSV, if there is one."""
    path = (source if source.is_dir() else source.parent) / CLASSES_FILE
    return path if path.exists() or path.is_symlink() else None


def read_encoding(
    path: Path,
    is_color: bool,
    void: tuple[int, ...] = (),
    files: tuple[str, ...] = (),
    palette: dict[int, tuple[int, int, int]] | None = None,
) -> Encoding:
    """The encoding that a classes.json states, for masks of values, of colours, or of one file for each class.

    The file: {"classes": [{"name": "sky", "value": 0, "color": [128, 128, 128]}, …], "void": [11]}.
    Masks of values need each class's value; where none has one, the index of its colour in the masks'
    ``palette``, or its grey level if all colours are grey, else its position. Colour masks need its colour;
    files of one class are told by its name. A void entry is a value or a colour. "tolerance": 0 to 255, how far
    a pixel may lie from the nearest colour or value; by default 8 for colours and 0 for values.

    Raises:
        UserError: naming the file and the entry that is missing or wrong.
    """
    stored = class_list(path)
    index_of = {color: index for index, color in (palette or {}).items()}
    try:
        classes = stored["classes"]
        refuse_keys(stored, ("classes", "void", "tolerance"))
        for entry in classes:
            refuse_keys(entry, ("name", "value", "color"))
        names = tuple(str(entry["name"]) for entry in classes)
        above_zero = next((i for i, entry in enumerate(classes) if entry.get("value") == ABOVE_ZERO), None)
        colors = tuple(color_triple(entry.get("color", default_color(i))) for i, entry in enumerate(classes))
        if files:
            values = values_of_files(names, files)
        elif above_zero is not None:
            values = tuple(1 if entry.get("value") == ABOVE_ZERO else whole(entry["value"]) for entry in classes)
        elif is_color:
            values = tuple(pack(color_triple(entry["color"])) for entry in classes)
        else:
            values = tuple(class_value(i, entry, classes, index_of) for i, entry in enumerate(classes))
        entries = stored.get("void", [])
        entries = entries if isinstance(entries, list) else [entries]
        void_values = tuple(void_value(entry, is_color, index_of) for entry in entries)
        void_values = tuple(value for value in void_values if value is not None)
        tolerance = whole(stored.get("tolerance", COLOR_TOLERANCE if is_color else 0))
        if not 0 <= tolerance <= 255:
            raise ValueError(f"tolerance {tolerance} is not 0 to 255")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        wanted = '{"classes": [{"name": "sky", "value": 0, "color": [128, 128, 128]}], "void": [11]}'
        raise UserError(f"{path}: {type(error).__name__} {error}; wanted the form {wanted}") from None
    if files:
        match_files(path, names, files)
        void_values = void_of_files(files, names)
    void_values = tuple(dict.fromkeys((*void_values, *(gray_to(value, is_color) for value in void))))
    check_classes(path, names, values, void_values)
    note = f"classes from {path}"
    if not is_color and not files and not any("value" in entry for entry in classes):
        note += ": " + ", ".join(f"{value} {name}" for value, name in zip(values, names, strict=True) if value >= 0)
    encoding = Encoding(names, values, colors, void_values, is_color, tolerance, files, above_zero, note)
    return background_first(encoding)


def background_first(encoding: Encoding) -> Encoding:
    """The encoding with the class that is called background as class 0."""
    place = next((i for i, name in enumerate(encoding.names) if is_background(name)), 0)
    return in_order(encoding, [place, *(i for i in range(encoding.num_classes) if i != place)])


def is_background(name: str) -> bool:
    """Return whether a class of this name is background: the one place that decides it."""
    return name.strip("_ ").lower() in BACKGROUND_NAMES


def in_order(encoding: Encoding, order: list[int]) -> Encoding:
    """The encoding with its classes in another order."""
    names, values, colors = (
        [listing[i] for i in order] for listing in (encoding.names, encoding.values, encoding.colors)
    )
    above = encoding.above_zero
    above = order.index(above) if above is not None else None
    return replace(encoding, names=tuple(names), values=tuple(values), colors=tuple(colors), above_zero=above)


def one_class_encoding(names: tuple[str, ...], is_color: bool, void: tuple[int, ...] = ()) -> Encoding:
    """0 (black) is background, and every value above it is one class."""
    void = tuple(gray_to(value, is_color) for value in void)
    note = f"everything above 0 is one class: 0 is {names[0]}, all else {names[1]}"
    return Encoding(names, (0, 1), (PALETTE[0], PALETTE[1]), void, is_color, above_zero=1, note=note)


def refuse_keys(entry: dict, known: tuple[str, ...]) -> None:
    for key in entry.keys() - set(known):
        raise ValueError(f"the key {key!r} is none of {', '.join(known)}")


def class_value(i: int, entry: dict, classes: list[dict], index_of: dict[tuple, int]) -> int:
    """Return the value or colour of class i in masks of values."""
    if any("value" in other for other in classes):
        return whole(entry["value"])
    if all("color" in other for other in classes):
        if index_of:
            return index_of.get(color_triple(entry["color"]), -1 - i)  # a class that no mask holds
        if all(len(set(other["color"])) == 1 for other in classes):
            return whole(entry["color"][0])
    return i


def values_of_files(names: tuple[str, ...], files: tuple[str, ...]) -> tuple[int, ...]:
    """Return each class's value where masks are merged from files; files that are not classes are all of the one
    class."""
    if files == UNITED:
        background = next((i for i, name in enumerate(names) if is_background(name)), 0)
        return tuple(int(i != background) for i in range(len(names)))
    return tuple(files.index(name) + 1 if name in files else 0 for name in names)


def match_files(path: Path, names: tuple[str, ...], files: tuple[str, ...]) -> None:
    """Every file's class must be listed, and every class but one (the background) must have files."""
    if files == UNITED:
        return
    unlisted = [file for file in files if file not in names and file.lower() not in VOID_NAMES]
    missing = [name for name in names if name not in files]
    if unlisted or len(missing) > 1:
        raise UserError(
            f"{path}: its classes are {', '.join(names)}, but the masks' names end in {', '.join(files)}; "
            "call them alike (only one class, the background, may have no files)"
        )


def void_of_files(files: tuple[str, ...], names: tuple[str, ...]) -> tuple[int, ...]:
    """Merged values that never count: pixels of two classes, files called void, and what no file claims where
    every class has a file."""
    void = [i + 1 for i, file in enumerate(files) if file.lower() in VOID_NAMES and file not in names]
    return (VOID, *void, 0) if set(names) <= set(files) else (VOID, *void)


def check_classes(path: Path, names: tuple, values: tuple, void: tuple) -> None:
    if not 2 <= len(names) <= MAX_CLASSES:
        raise UserError(f"{path}: lists {len(names)} classes; 2 to {MAX_CLASSES} wanted, background among them")
    for what, entries in (("name", names), ("value", values)):
        twice = [entry for entry, count in Counter(entries).items() if count > 1]
        if twice:
            raise UserError(f"{path}: two classes share the {what} {twice[0]!r}")
    both = set(values) & set(void)
    if both:
        raise UserError(f"{path}: the value {both.pop()} is listed as a class and as void; keep one of the two")


def wants_colors(path: Path) -> bool:
    """Return whether a classes.json tells its classes by colour alone: some class has a true colour and no value."""
    stored = class_list(path)
    classes = stored.get("classes") if isinstance(stored, dict) else None
    try:
        return any("value" not in entry and len(set(entry.get("color", ()))) > 1 for entry in classes or ())
    except (TypeError, AttributeError):
        return False  # read_encoding will name what is wrong


def whole(value) -> int:
    if type(value) is not int or abs(value) >= 2**31:
        raise ValueError(f"value {value!r} is not a whole number below 2³¹")
    return value


def void_value(entry, is_color: bool, index_of: dict[tuple, int]) -> int | None:
    """A void entry of classes.json as a value on disk; None for a true colour where masks hold values."""
    if isinstance(entry, list):
        color = color_triple(entry)
        if is_color:
            return pack(color)
        return index_of.get(color, color[0] if len(set(color)) == 1 and not index_of else None)
    return gray_to(whole(entry), is_color)


def color_triple(color) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in color)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"color {color} is not three numbers of 0 to 255")
    return red, green, blue


def pack(color: tuple[int, int, int]) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def gray_to(value: int, is_color: bool) -> int:
    """A grey value as it stands in the masks."""
    if is_color and not 0 <= value <= 255:
        raise UserError(f"void {value}: the masks hold colours; 0 to 255 is wanted, a grey of that level")
    return pack((value, value, value)) if is_color else value


def default_color(i: int) -> tuple[int, int, int]:
    """A colour for class i: the palette, then hues a golden angle apart."""
    if i < len(PALETTE):
        return PALETTE[i]
    color = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.5 + 0.5 * (i % 2), 1 - 0.2 * (i % 3))
    return tuple(round(255 * part) for part in color)


def rename_like(encoding: Encoding, names: tuple[str, ...], path: Path) -> Encoding:
    """The encoding with its classes in the order of ``names``.

    Raises:
        UserError: if it has other classes.
    """
    if set(encoding.names) != set(names):
        raise UserError(f"{path}: its classes are {', '.join(encoding.names)}; the run knows {', '.join(names)}")
    return in_order(encoding, [encoding.names.index(name) for name in names])


def infer_encoding(pixels: dict[int, int], is_color: bool, void: tuple[int, ...] = (), lossy: bool = False) -> Encoding:
    """The encoding of masks without a classes.json, from the values that all of them hold.

    Accepted: 0 and 255 (binary; also with soft edges, as smoothing and JPEG make them), 0…K−1 (class
    indices), a few colours. All else is ambiguous.

    Args:
        pixels: value on disk → number of pixels, over the whole data set.
        is_color: whether the values are packed colours.
        void: values that the user named as void.
        lossy: some masks are in a format that changes values, such as JPEG.

    Raises:
        UserError: for anything ambiguous, quoting the values and a classes.json to start from.
    """
    void = tuple(gray_to(value, is_color) for value in void)
    values = tuple(sorted(set(pixels) - set(void)))
    if len(values) < 2:
        show = ", ".join(str(unpack(value) if is_color else value) for value in values) or "void alone"
        raise UserError(f"every mask holds one value only ({show}): there is nothing to learn; check the export")
    if is_color:
        return infer_colors(values, pixels, void, lossy)
    binary = Encoding(("background", "foreground"), (0, 255), (PALETTE[0], PALETTE[1]), void)
    if values in ((0, 255), (0, 65535)):
        note = f"binary masks inferred: 0 is background, {values[1]} is foreground"
        return replace(binary, values=values, note=note)
    first = 1 if 0 in void else 0  # where 0 never counts, the classes begin with 1
    indices = values == tuple(range(first, first + len(values)))
    if indices and not lossy and len(values) <= MAX_CLASSES:
        names = ("background", "foreground") if values == (0, 1) else tuple(f"class_{i}" for i in values)
        colors = tuple(default_color(i) for i in values)
        note = f"{len(values)} classes inferred from the masks' values {first}…{values[-1]}: {', '.join(names)}"
        return Encoding(names, values, colors, void, note=note)
    with_void = values[-1] == 255 and values[:-1] == tuple(range(len(values) - 1))
    if not void and not with_void and is_soft_binary(pixels, least=2 if lossy else 16):
        moved = 1 - (pixels.get(0, 0) + pixels.get(255, 0)) / sum(pixels.values())
        note = (
            f"binary masks with soft edges inferred (JPEG or smoothing): {moved:.2%} of the pixels are neither 0 "
            "nor 255; 0…127 is background, 128…255 is foreground"
        )
        return replace(binary, tolerance=BINARY_TOLERANCE, note=note)
    raise UserError(ambiguous(values, pixels, lossy))


def is_soft_binary(pixels: dict[int, int], least: int) -> bool:
    """Return whether grey values are 0 and 255 with soft edges: most pixels near the two ends, the rest spread thinly.

    least: how many different values there must be; many in exact formats, where few may be classes.
    """
    values, total = np.array(sorted(pixels)), sum(pixels.values())
    if values[0] < 0 or values[-1] > 255 or len(values) < least:
        return False
    counts = np.array([pixels[value] for value in values.tolist()])
    between = (values > 32) & (values < 223)
    ends = counts[values <= 32].sum() and counts[values >= 223].sum() and values[-1] - values[0] >= 192
    spread = not between.any() or counts[between].max() <= max(0.001 * total, 0.5 * counts[between].sum())
    if least >= 16 and values[-1] - values[-2] > MOST_SOFT_GAP:
        return False  # class numbers and a void of 255: soft edges leave no such hole
    return bool(ends and spread and counts[between].sum() <= 0.15 * total and (least < 16 or between.sum() >= 8))


def infer_colors(values: tuple[int, ...], pixels: dict[int, int], void: tuple[int, ...], lossy: bool) -> Encoding:
    """Colours that are few, exact and not vanishingly rare are classes."""
    total = sum(pixels.values())
    rare = sum(pixels[value] < 0.001 * total for value in values)
    if lossy or len(values) > 64 or (len(values) > 8 and rare > len(values) / 2):
        message = (
            f"the masks hold {len(values)} colours, most of them rare: they were saved as JPEG, resized or smoothed. "
            "Export them as PNG without smoothing"
        )
        proposal = {
            "classes": [{"name": f"class_{i}", "color": color} for i, color in enumerate(main_colors(pixels))],
            "tolerance": SOFT_TOLERANCE,
        }
        if len(proposal["classes"]) > 1:
            message += (
                "; or list the true colours in a classes.json beside the masks' folder, and every pixel within the "
                f"tolerance counts as the nearest: {json.dumps(proposal)}"
            )
        raise UserError(message)
    names = tuple("rgb_{}_{}_{}".format(*unpack(value)) for value in values)
    note = f"{len(values)} classes inferred from the masks' colours: {', '.join(names)}"
    return Encoding(names, values, tuple(unpack(value) for value in values), void, True, note=note)


def main_colors(pixels: dict[int, int], most: int = 32) -> list[list[int]]:
    """The frequent colours that lie apart from each other, most frequent first."""
    total, chosen = sum(pixels.values()), []
    for value, count in Counter(pixels).most_common(512):
        color = np.array(unpack(value))
        if count < 0.002 * total or len(chosen) == most:
            break
        if all(np.abs(color - other).max() > 2 * SOFT_TOLERANCE for other in chosen):
            chosen.append(color)
    return [color.tolist() for color in chosen]


def ambiguous(values: tuple[int, ...], pixels: dict[int, int], lossy: bool) -> str:
    """Say why these values cannot be taken for classes, and what to write."""
    total = sum(pixels.values())
    listing = ", ".join(f"{value} ({pixels[value] / total:.2%})" for value in values[:12])
    message = f"the masks hold {len(values)} values: {listing}{', …' if len(values) > 12 else ''}. "
    if lossy:
        return message + (
            "They were saved as JPEG (or WebP), which changes labels: export them as PNG. Only black and white "
            "masks survive such compression."
        )
    if len(values) > 32:
        return message + (
            "So many are the mark of masks saved as JPEG, resized or smoothed: export them as PNG without "
            "smoothing, 0 for background and 255 for foreground; or, to cut them at 128, write a classes.json beside "
            f"the masks' folder: {json.dumps(CUT)}. If they are class numbers, list each with its "
            'value there, and what is void under "void".'
        )
    proposal = {"classes": [{"name": f"class_{value}", "value": value} for value in values]}
    numbers = tuple(value for value in values if 0 <= value < 255)
    odd = [value for value in values if value not in numbers]
    if len(odd) == 1 and len(numbers) > 1 and numbers == tuple(range(len(numbers))):
        flag = f"--void{'=' if odd[0] < 0 else ' '}{odd[0]}"  # -1 alone would be taken for a flag
        return message + (
            f"Is {odd[0]} void (unlabelled) or a class? If void, add {flag}; if a class, write classes.json: "
            f"{json.dumps(proposal)}"
        )
    if values == tuple(range(1, len(values) + 1)):
        return message + (
            "If they are class numbers that begin with 1, and 0 is what nobody labelled, add --void 0; or name the "
            f"classes in a classes.json: {json.dumps(proposal)}"
        )
    return message + (
        "They are neither 0 and 255 nor 0…K−1 without a gap. Name the classes in a classes.json beside the "
        f'masks\' folder (and move what is void to "void": [N]): {json.dumps(proposal)}'
    )
