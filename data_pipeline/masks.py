"""Every mask encoding → class indices 0…C−1, void 255. What is ambiguous is an error, never a guess."""

import colorsys
import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from .command import UserError
from .files import read_json

VOID = 255  # inside the program, whatever it was on disk
MAX_CLASSES = 255
MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "RGB")  # Pillow's names of forms that keep labels whole

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
    """How the masks of a data set are written: which value or colour on disk is which class.

    ``values[i]`` is what class i looks like on disk: a grey value or palette index, or, where ``is_color``,
    a colour packed as red · 65536 + green · 256 + blue. ``void`` lists the values that never count.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...]  # for pictures
    void: tuple[int, ...] = ()
    is_color: bool = False
    note: str = field(default="", compare=False)  # what was inferred, to be said aloud

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict) -> "Encoding":
        lists = {key: tuple(stored[key]) for key in ("names", "values", "void")}
        colors = tuple(tuple(color) for color in stored["colors"])
        return cls(**lists, colors=colors, is_color=stored["is_color"], note=stored["note"])

    def show(self, value: int) -> str:
        """A value on disk in words: 7, or (128, 64, 128)."""
        return str(unpack(value)) if self.is_color else str(value)

    @cached_property
    def index(self) -> dict[int, int]:
        """Value on disk → class index or VOID."""
        return dict.fromkeys(self.void, VOID) | {value: i for i, value in enumerate(self.values)}

    @cached_property
    def lookup(self) -> tuple[np.ndarray, np.ndarray]:
        known = np.array(sorted(self.index), np.int32)
        return known, np.array([self.index[value] for value in known.tolist()], np.uint8)


def read_mask(path: Path, encoding: Encoding) -> np.ndarray:
    """A mask as class indices, uint8 (H, W), void 255.

    Raises:
        UserError: if the file cannot be read, or holds a value that the encoding does not know.
    """
    raw, is_color = read_raw(path)
    if is_color != encoding.is_color:
        raw = color_to_grey(path, raw) if is_color else refuse_grey(path)
    known, classes = encoding.lookup
    place = np.minimum(np.searchsorted(known, raw), len(known) - 1)
    unknown = known[place] != raw
    if unknown.any():
        raise_unknown(path, Counter(raw[unknown].tolist()), encoding)
    return classes[place]


def read_raw(path: Path) -> tuple[np.ndarray, bool]:
    """What stands on disk, int32 (H, W): grey values or palette indices; or packed colours and True.

    Pillow reads masks because it keeps a palette's indices and 16-bit values; OpenCV turns the first into
    colours and cuts the second.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            if picture.format == "JPEG":
                raise UserError(f"{path}: a JPEG, whose compression changes labels; export the masks as PNG")
            if picture.mode in ("LA", "La"):
                picture = picture.getchannel(0)
            elif picture.mode == "RGBA":
                picture = picture.convert("RGB")
            elif picture.mode not in MODES:
                raise UserError(f"{path}: pixels of the form {picture.mode}; save masks as 8- or 16-bit PNG")
            raw = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable mask ({error}); replace the file") from None
    raw = raw.astype(np.int32)
    if raw.ndim == 3:
        return raw[..., 0] << 16 | raw[..., 1] << 8 | raw[..., 2], True
    return raw, False


def read_palette(path: Path, used) -> dict[int, tuple[int, int, int]]:
    """The colours of the palette indices in use; empty for a mask without a palette."""
    with Image.open(path) as picture:
        if picture.mode != "P":
            return {}
        flat = picture.getpalette("RGB") or []
    return {index: tuple(flat[3 * index : 3 * index + 3]) for index in used}


def color_to_grey(path: Path, raw: np.ndarray) -> np.ndarray:
    """Packed colours that are all grey, as grey values."""
    grey = raw & 255
    if (raw != (grey << 16 | grey << 8 | grey)).any():
        raise UserError(f"{path}: a colour mask where masks of class values are wanted; save them all in one form")
    return grey


def refuse_grey(path: Path) -> None:
    raise UserError(f"{path}: a mask of class values where colour masks are wanted; save them all in one form")


def raise_unknown(path: Path, found: Counter, encoding: Encoding) -> None:
    listing = ", ".join(f"{encoding.show(value)} ({count} px)" for value, count in found.most_common(5))
    known = ", ".join(encoding.show(value) for value in (*encoding.values, *encoding.void))
    remedy = "correct the mask, list the value in classes.json"
    if not encoding.is_color:
        remedy += f", or leave it out of every score with --void {found.most_common(1)[0][0]}"
    raise UserError(f"{path}: holds {listing}, which is no known class (known: {known}); {remedy}")


def unpack(color: int) -> tuple[int, int, int]:
    return (color >> 16, color >> 8 & 255, color & 255)


def find_classes_file(source: Path) -> Path | None:
    """The data set's classes.json, beside its folders or its CSV, if there is one."""
    path = (source if source.is_dir() else source.parent) / "classes.json"
    return path if path.exists() else None


def read_encoding(path: Path, is_color: bool, void: tuple[int, ...] = ()) -> Encoding:
    """The encoding that a classes.json states, for masks of values or of colours.

    The file: {"classes": [{"name": "sky", "value": 0, "color": [128, 128, 128]}, …], "void": [11]}.
    Masks of values need each class's value; where it has none, its colour's grey level if all colours are
    grey, else its position. Colour masks need its colour. A void entry is a value or a colour.

    Raises:
        UserError: naming the file and the entry that is missing or wrong.
    """
    stored = read_json(path)
    try:
        classes = stored["classes"]
        names = tuple(str(entry["name"]) for entry in classes)
        colors = tuple(color_triple(entry.get("color", default_color(i))) for i, entry in enumerate(classes))
        if is_color:
            values = tuple(pack(color_triple(entry["color"])) for entry in classes)
        else:
            grey = all("color" in entry and len(set(entry["color"])) == 1 for entry in classes)
            values = tuple(
                whole(entry.get("value", entry["color"][0] if grey else i)) for i, entry in enumerate(classes)
            )
        entries = stored.get("void", [])
        entries = entries if isinstance(entries, list) else [entries]
        void_values = tuple(void_value(entry, is_color) for entry in entries)
        void_values = tuple(value for value in void_values if value is not None)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        wanted = '{"classes": [{"name": "sky", "value": 0, "color": [128, 128, 128]}], "void": [11]}'
        raise UserError(f"{path}: {type(error).__name__} {error}; wanted the form {wanted}") from None
    void_values = tuple(dict.fromkeys((*void_values, *(gray_to(value, is_color) for value in void))))
    check_classes(path, names, values, void_values)
    return Encoding(names, values, colors, void_values, is_color, note=f"classes from {path}")


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
    """Whether a classes.json tells its classes by colour alone: some class has a true colour and no value."""
    classes = read_json(path).get("classes", [])
    return any("value" not in entry and len(set(entry.get("color", ()))) > 1 for entry in classes)


def whole(value) -> int:
    if type(value) is not int:
        raise ValueError(f"value {value!r} is not a whole number")
    return value


def void_value(entry, is_color: bool) -> int | None:
    """A void entry of classes.json as a value on disk; None for a colour where masks hold values."""
    if isinstance(entry, list):
        return pack(color_triple(entry)) if is_color else None
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
    order = [encoding.names.index(name) for name in names]
    values, colors = (tuple(listing[i] for i in order) for listing in (encoding.values, encoding.colors))
    return replace(encoding, names=names, values=values, colors=colors)


def infer_encoding(found: dict[int, int], is_color: bool, void: tuple[int, ...] = ()) -> Encoding:
    """The encoding of masks without a classes.json, from the values that all of them hold.

    Accepted: 0 and 255 (binary), 0…K−1 (class indices), up to 64 colours. All else is ambiguous.

    Args:
        found: value on disk → number of pixels, over the whole data set.
        is_color: whether the values are packed colours.
        void: values that the user named as void.

    Raises:
        UserError: for anything ambiguous, quoting the values and a classes.json to start from.
    """
    void = tuple(gray_to(value, is_color) for value in void)
    values = tuple(sorted(set(found) - set(void)))
    if len(values) < 2:
        show = ", ".join(str(unpack(value) if is_color else value) for value in values) or "void alone"
        raise UserError(f"every mask holds one value only ({show}): there is nothing to learn; check the export")
    if is_color:
        if len(values) > 64:
            raise UserError(
                f"the masks hold {len(values)} colours: they were saved as JPEG, resized or smoothed; export "
                "them as PNG without smoothing, or list the true colours in classes.json"
            )
        names = tuple("rgb_{}_{}_{}".format(*unpack(value)) for value in values)
        colors = tuple(unpack(value) for value in values)
        note = f"{len(values)} classes inferred from the masks' colours: {', '.join(names)}"
        return Encoding(names, values, colors, void, True, note)
    if values == (0, 255):
        note = "binary masks inferred: 0 is background, 255 is foreground"
        return Encoding(("background", "foreground"), values, (PALETTE[0], PALETTE[1]), void, False, note)
    if values == tuple(range(len(values))) and len(values) <= MAX_CLASSES:
        names = ("background", "foreground") if len(values) == 2 else tuple(f"class_{i}" for i in values)
        colors = tuple(default_color(i) for i in values)
        note = f"{len(values)} classes inferred from the masks' values 0…{values[-1]}: {', '.join(names)}"
        return Encoding(names, values, colors, void, False, note)
    raise UserError(ambiguous(values, found))


def ambiguous(values: tuple[int, ...], found: dict[int, int]) -> str:
    """Why these values cannot be taken for classes, and what to write."""
    total = sum(found.values())
    listing = ", ".join(f"{value} ({found[value] / total:.2%})" for value in values[:12])
    message = f"the masks hold {len(values)} values: {listing}{', …' if len(values) > 12 else ''}. "
    if len(values) > 32:
        return message + (
            "So many are the mark of masks saved as JPEG, resized or smoothed: export them as PNG without "
            "smoothing, 0 for background and 255 for foreground."
        )
    proposal = {"classes": [{"name": f"class_{value}", "value": value} for value in values]}
    if values[-1] == 255 and values[:-1] == tuple(range(len(values) - 1)):
        return message + (
            "Is 255 void (unlabelled) or a class? If void, add --void 255; if a class, write classes.json: "
            f"{json.dumps(proposal)}"
        )
    return message + (
        "They are neither 0 and 255 nor 0…K−1 without a gap. Name the classes in a classes.json beside the "
        f'masks\' folder (and move what is void to "void": [N]): {json.dumps(proposal)}'
    )
