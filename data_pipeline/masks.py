"""Every mask file → class indices 0…C−1, void 255."""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .command import UserError
from .encoding import BINARY_TOLERANCE, UNKNOWN, VOID, Encoding, is_soft_binary, some_values, unknown_values
from .files import ARRAY_SUFFIX, load_array, open_picture, read_picture
from .mask_files import UNITED, base_of, class_of_file

MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "F", "RGB")  # Pillow's names of forms that keep labels whole
PHOTOMETRIC = 262  # TIFF's tag; 0: the lowest value is white
LOSSY = ("JPEG", "MPO", "WEBP")
NO_PICTURE = {"palette": {}, "lossy": False, "min_is_white": False, "hidden": False}  # all that Pillow cannot say


def read_mask(path: Path, encoding: Encoding) -> np.ndarray:
    """A mask as class indices, uint8 (H, W), void 255.

    Raises:
        UserError: if the file cannot be read, or holds a value that the encoding does not know.
    """
    raw, is_color = read_raw(path)
    if is_color != encoding.is_color:
        raw = color_to_grey(path, raw) if is_color else refuse_grey(path)
    return to_classes(path, raw, encoding)


def read_class_masks(paths: tuple[Path, ...], stem: str, encoding: Encoding) -> np.ndarray:
    """As ``read_mask``, from one binary file for each class, called ``stem_class``."""
    return to_classes(paths[0], merge_class_files(paths, stem, encoding.files), encoding)


def to_classes(path: Path, raw: np.ndarray, encoding: Encoding) -> np.ndarray:
    classes = encoding.classes_of(raw)
    unknown = classes == UNKNOWN
    if unknown.any():
        raise UserError(unknown_values(path, Counter(raw[unknown].tolist()), encoding, raw.size))
    return classes.astype(np.uint8)


def read_raw(path: Path) -> tuple[np.ndarray, bool]:
    """Read a mask as it is on disk, int32 (H, W): grey values or palette indices, and False; or packed colours and
    True.

    Pillow reads masks because it keeps a palette's indices and 16-bit values; OpenCV turns the first into
    colours and cuts the second. Where transparency differs from pixel to pixel, it says what is background: what no
    viewer shows is black, whatever colour lies beneath.
    """
    try:
        if path.suffix.lower() == ARRAY_SUFFIX:
            raw = read_mask_array(path)
        else:
            with open_picture(path) as picture:
                refuse_unlike_mask(path, picture)
                picture.load()
                raw = without_alpha(path, ImageOps.exif_transpose(picture))
    except UserError:
        raise
    except UnidentifiedImageError:
        raw = read_wide_tiff(path)
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UserError(f"{path}: not a readable mask ({type(error).__name__}: {error}); replace the file") from None
    if raw.dtype.kind == "f" and not (raw == np.trunc(raw)).all():
        raise UserError(f"{path}: holds fractions such as {raw[raw != np.trunc(raw)][0]}; save class numbers")
    if raw.dtype.kind in "fiu" and raw.size and np.abs(raw.astype(np.float64)).max() >= 2**31:
        raise UserError(f"{path}: holds values beyond 2³¹; save class numbers")
    raw = raw.astype(np.int32)
    if raw.ndim == 3:
        return raw[..., 0] << 16 | raw[..., 1] << 8 | raw[..., 2], True
    return raw, False


def without_alpha(path: Path, picture: Image.Image) -> np.ndarray:
    """The pixels of a mask, (H, W) or (H, W, 3); transparent ones are 0 where others are opaque."""
    if picture.mode not in ("LA", "La", "RGBA"):
        if picture.mode not in MODES:
            raise UserError(f"{path}: pixels of the form {picture.mode}; save masks as 8- or 16-bit PNG")
        return np.asarray(picture)
    pixels = np.asarray(picture.convert("RGBA"))
    color, opaque = pixels[..., :3], pixels[..., 3] >= 128
    if picture.mode != "RGBA":
        color = color[..., 0]
    if opaque.all() or not opaque.any():
        return color
    color = np.where(opaque if color.ndim == 2 else opaque[..., None], color, 0).astype(np.uint8)
    if not color.any():
        raise UserError(
            f"{path}: black on transparent, so that labels and background have one colour; save a mask without "
            "transparency"
        )
    return color


def read_mask_array(path: Path) -> np.ndarray:
    array = load_array(path)
    shape = "×".join(map(str, array.shape))
    array = array.squeeze()
    if array.dtype.kind not in "biuf":
        raise UserError(f"{path}: numbers of the type {array.dtype}; whole numbers wanted")
    if array.ndim != 2:
        raise UserError(f"{path}: an array of {shape}; height × width wanted, with a class number for each pixel")
    return array.astype(np.float64) if array.dtype.kind == "f" else array.astype(np.int64)


def read_wide_tiff(path: Path) -> np.ndarray:
    """A TIFF of numbers that Pillow does not know, such as 64 bits."""
    try:
        pixels = read_picture(path).pixels
    except UserError:
        raise UserError(f"{path}: not a readable mask; replace the file") from None
    if pixels.shape[2] != 1:
        raise UserError(f"{path}: {pixels.shape[2]} channels; save one mask of classes, or a file for each class")
    return pixels[..., 0]


def refuse_unlike_mask(path: Path, picture: Image.Image) -> None:
    """Raise a UserError for several pages (thumbnails aside), and for 16 bits in channels, which Pillow cuts to 8."""
    if any(";16" in str(part[3]) for part in picture.tile) and picture.mode in ("RGB", "RGBA", "LA"):
        raise UserError(f"{path}: 16 bits in each of several channels; save masks as 8-bit colours, or as one channel")
    if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            pages = sum(not page.is_reduced for page in tiff.pages)
        if pages > 1:
            raise UserError(f"{path}: holds {pages} pages; save one mask of classes, or a file for each class")


def merge_class_files(paths: tuple[Path, ...], stem: str, files: tuple[str, ...]) -> np.ndarray:
    """One binary file for each class → int32 (H, W): 0 where none claims a pixel, i + 1 where ``files[i]`` does,
    VOID where two do.

    Raises:
        UserError: for a file that is not binary, of another size, or of a class that is not in ``files``.
    """
    merged = None
    for path in paths:
        value = files.index(class_among(path, stem, files)) + 1
        inside = read_binary(path)
        if merged is None:
            merged = np.zeros(inside.shape, np.int32)
        if inside.shape != merged.shape:
            sizes = " and ".join(f"{width}×{height}" for height, width in (inside.shape, merged.shape))
            raise UserError(f"{path}: the files of one image have {sizes} pixels; export them at one size")
        merged = np.where(inside, np.where((merged == 0) | (merged == value), value, VOID), merged)
    return merged


def class_among(path: Path, stem: str, files: tuple[str, ...]) -> str:
    """The class of a file: by its name, or its name without the number of an object."""
    if files == UNITED:
        return UNITED[0]
    name = class_of_file(path, stem)
    for known in (name, base_of(name)):
        if known in files:
            return known
    raise UserError(f"{path}: {name!r} is no known class (known: {', '.join(files)}); rename or remove it")


def read_binary(path: Path) -> np.ndarray:
    """A mask of one class, bool (H, W): 0 against any one value, or black against white with soft edges."""
    raw, is_color = read_raw(path)
    raw = color_to_grey(path, raw) if is_color else raw
    values, counts = np.unique(raw, return_counts=True)
    if len(values) == 1 or (len(values) == 2 and values[0] == 0):
        return raw != 0
    if not is_soft_binary(dict(zip(values.tolist(), counts.tolist(), strict=True)), least=2):
        raise UserError(
            f"{path}: holds the values {some_values(values)}; 0 and 255 wanted, as a file of one class; "
            "if each image has several masks of all classes, choose one with --mask-suffix"
        )
    return raw > BINARY_TOLERANCE


def form_of(path: Path, used) -> dict:
    """The form of a mask's file, by the names that ``Facts`` has for it.

    palette: the colours of the palette indices ``used``; empty without a palette. lossy: the format may have changed
    the labels: JPEG, or WebP, which does not say. min_is_white: a TIFF in which 0 is white: Pillow turns it round,
    others read what stands there. hidden: there are colours under transparent pixels.
    """
    try:
        with open_picture(path) as picture:
            flat = (picture.getpalette("RGB") or []) if picture.mode == "P" else None
            is_tiff = picture.format == "TIFF" and path.suffix.lower() in (".tif", ".tiff")
            return {
                "palette": {} if flat is None else {i: tuple(flat[3 * i : 3 * i + 3]) for i in used},
                "lossy": picture.format in LOSSY,
                "min_is_white": is_tiff and picture.tag_v2.get(PHOTOMETRIC) == 0,
                "hidden": picture.mode in ("LA", "RGBA") and hides_colors(picture),
            }
    except UnidentifiedImageError:  # a TIFF that Pillow does not know
        return NO_PICTURE


def hides_colors(picture: Image.Image) -> bool:
    pixels = np.asarray(picture.convert("RGBA"))
    opaque = pixels[..., 3] >= 128
    return bool(opaque.any() and pixels[~opaque][:, :3].any())


def color_to_grey(path: Path, raw: np.ndarray) -> np.ndarray:
    """Packed colours that are all grey, as grey values."""
    grey = raw & 255
    if (raw != (grey << 16 | grey << 8 | grey)).any():
        raise UserError(f"{path}: a colour mask where masks of class values are wanted; save them all in one form")
    return grey


def refuse_grey(path: Path) -> None:
    raise UserError(f"{path}: a mask of class values where colour masks are wanted; save them all in one form")
