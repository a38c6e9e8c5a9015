"""A table of bad and unusual data sets: each is read rightly, or refused with its file, its fault and its remedy.

Every row begins with twelve good pairs of 32×32 pixels (two classes, 0 and 1) and spoils them.
"""

import io
import json

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import make_folder, save, shapes
from PIL import Image

from data_pipeline.command import UserError
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import VOID
from data_pipeline.files import write_mask
from data_pipeline.loader import read_pair
from data_pipeline.source import Source

COUNT = 12
COLORS = np.array([(0, 0, 0), (255, 0, 0)], np.uint8)


def load(folder, void=(), mask_suffix="", group_by=None):
    """What train.py does before it trains: the masks by stem, and what was said."""
    data = open_dataset(Source(data=folder, void=void, mask_suffix=mask_suffix, group_by=group_by))
    loaded = {pair.stem: read_pair(pair, data.encoding) for pair in data.pairs}
    return loaded, " ".join(map(str, data.findings))


def mask_file(folder, index):
    return folder / f"masks/item{index:03d}.png"


def image_file(folder, index):
    return folder / f"images/item{index:03d}.png"


def masks_as(encode, suffix=".png", **options):
    """Every mask written anew by ``encode``: an array, or a picture of a mode of its own."""

    def spoil(folder):
        for index in range(COUNT):
            mask_file(folder, index).unlink()
            made = encode(shapes(index)[1])
            made = made if isinstance(made, Image.Image) else Image.fromarray(made)
            made.save(mask_file(folder, index).with_suffix(suffix), **options)

    return spoil


def one_mask(mask):
    return lambda folder: save(mask_file(folder, 3), mask(shapes(3)[1]))


def one_image(image):
    return lambda folder: save(image_file(folder, 3), image(shapes(3)[0]))


def images_as(write, suffix):
    """Every image written anew by write(path, image)."""

    def spoil(folder):
        for index in range(COUNT):
            image_file(folder, index).unlink()
            write(image_file(folder, index).with_suffix(suffix), shapes(index)[0])

    return spoil


def classes(text):
    def spoil(folder):
        (folder / "classes.json").write_text(text if isinstance(text, str) else json.dumps(text))

    return spoil


def both(*spoils):
    def spoil(folder):
        for one in spoils:
            one(folder)

    return spoil


def blurred(mask):
    """Black and white with soft edges, as smoothing makes them."""
    soft = Image.fromarray(mask * np.uint8(255)).resize((64, 64), Image.Resampling.BICUBIC).resize((32, 32))
    return np.where(mask > 0, np.maximum(soft, 130), np.minimum(soft, 120)).astype(np.uint8)


def instances(mask):
    """Objects numbered 1…n, with n from mask to mask."""
    rows = np.zeros_like(mask)
    for number in range(int(mask.nonzero()[0][0]) % 5 + 3):
        rows[number * 3 : number * 3 + 2] = number + 1
    return rows


def layers(folder, spoiled=None):
    """One file for each class: item003_square.png, item003_dot.png; and the images' masks taken away."""
    for index in range(COUNT):
        mask = shapes(index)[1]
        mask_file(folder, index).unlink()
        save(folder / f"masks/item{index:03d}_square.png", (mask == 1) * np.uint8(255))
        dot = np.zeros((32, 32), np.uint8)
        dot[np.argwhere(mask == 0)[0][0], np.argwhere(mask == 0)[0][1]] = 255
        save(folder / f"masks/item{index:03d}_dot.png", dot)
    if spoiled:
        spoiled(folder)


def rename_masks(form):
    def spoil(folder):
        for index in range(COUNT):
            mask_file(folder, index).rename(folder / "masks" / form.format(f"item{index:03d}"))

    return spoil


def truncate(path, share=0.5):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def bomb(path):
    """A PNG that says it has 60,000 × 60,000 pixels."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(stream, "png")
    data = bytearray(stream.getvalue())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(data))


def turned_photo(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    image_file(folder, 3).unlink()
    image = Image.fromarray(np.zeros((32, 20, 3), np.uint8))
    image.save(image_file(folder, 3).with_suffix(".jpg"), exif=exif)
    save(mask_file(folder, 3), np.zeros((32, 20), np.uint8))


def frames(path):
    first = Image.fromarray(np.zeros((32, 32), np.uint8))
    first.save(path, save_all=True, append_images=[Image.fromarray(np.full((32, 32), 9, np.uint8))])


GROUND = {"name": "ground", "color": [9, 9, 9]}


def turned_both(folder):
    for path in (image_file(folder, 3), mask_file(folder, 3)):
        picture = Image.open(path).transpose(Image.Transpose.ROTATE_180)
        picture.save(path, exif=exif(3))


def wide_masks(folder):
    for index in range(COUNT):
        mask_file(folder, index).unlink()
        tifffile.imwrite(mask_file(folder, index).with_suffix(".tif"), shapes(index)[1].astype(np.int64))


def crowded(mask):
    """Eighty class numbers of few pixels each, and a void of 255."""
    numbers = mask.copy()
    numbers[0, :] = np.arange(1, 33)
    numbers[1, :] = np.arange(33, 65)
    numbers[2, :4] = 255
    return numbers


def objects_in_colors(mask):
    rng = np.random.default_rng(int(mask.nonzero()[0][0]) * 32 + int(mask.nonzero()[1][0]))
    painted = np.zeros((32, 32, 3), np.uint8)
    for row in range(4):
        painted[row * 8 : row * 8 + 5] = rng.integers(40, 255, 3)
    return painted


def halves(folder):
    for index in range(0, COUNT, 2):
        save(mask_file(folder, index), shapes(index)[1] * np.uint8(255))


# name → (what spoils the folder, options of load, words of the note)
READ = {
    "index 0, 1": (lambda folder: None, {}, r"values 0…1"),
    "0 and 255": (masks_as(lambda m: m * np.uint8(255)), {}, "0 is background, 255 is foreground"),
    "0 and 255 as RGB": (masks_as(lambda m: np.repeat(m[..., None] * np.uint8(255), 3, 2)), {}, "binary masks"),
    "1 bit": (masks_as(lambda m: Image.fromarray(m * np.uint8(255)).convert("1")), {}, ""),
    "16 bit 0 and 65535": (masks_as(lambda m: m.astype(np.uint16) * 65535), {}, "65535 is foreground"),
    "16 bit indices": (masks_as(lambda m: m.astype(np.uint16)), {}, "0…1"),
    "32 bit TIFF": (masks_as(lambda m: m.astype(np.int32), ".tif"), {}, "0…1"),
    "whole floats": (masks_as(lambda m: m.astype(np.float32), ".tif"), {}, "0…1"),
    "grey with alpha": (masks_as(lambda m: Image.fromarray(m).convert("LA")), {}, "0…1"),
    "RGBA colours": (masks_as(lambda m: Image.fromarray(COLORS[m]).convert("RGBA")), {}, "2 classes inferred"),
    "RGB colours": (masks_as(lambda m: COLORS[m]), {}, "rgb_255_0_0"),
    "palette": (
        lambda f: [write_mask(mask_file(f, i), shapes(i)[1], [(9, 9, 9), (1, 2, 3)]) for i in range(COUNT)],
        {},
        "0…1",
    ),
    "GIF masks": (masks_as(lambda m: m * np.uint8(255), ".gif"), {}, ""),
    "BMP masks": (masks_as(lambda m: m * np.uint8(255), ".bmp"), {}, "binary masks"),
    "JPEG, black and white": (
        masks_as(lambda m: m * np.uint8(255), ".jpg", quality=90),
        {},
        r"soft edges inferred .*% of the pixels are neither 0 nor 255",
    ),
    "smoothed black and white": (masks_as(blurred), {}, "soft edges inferred"),
    "smoothed, with classes.json": (
        both(
            masks_as(blurred),
            classes({"classes": [{"name": "a", "value": 0}, {"name": "b", "value": 255}]}),
        ),
        {},
        r"count as the nearest known value \(within 127\)",
    ),
    "colours a little off": (
        both(
            masks_as(
                lambda m: (
                    (COLORS[m] + np.random.default_rng(0).integers(-7, 8, (*m.shape, 3)).clip(0))
                    .clip(0, 255)
                    .astype(np.uint8)
                )
            ),
            classes({"classes": [{"name": "a", "color": [0, 0, 0]}, {"name": "b", "color": [255, 0, 0]}]}),
        ),
        {},
        r"count as the nearest known value \(within 8\)",
    ),
    "void 9": (one_mask(lambda m: np.where(np.arange(32) < 4, 9, m).astype(np.uint8)), {"void": (9,)}, ""),
    "void by colour": (
        both(
            masks_as(lambda m: np.where((np.arange(32) < 4)[:, None], np.uint8([1, 2, 3]), COLORS[m])),
            classes(
                {
                    "classes": [{"name": "a", "color": [0, 0, 0]}, {"name": "b", "color": [255, 0, 0]}],
                    "void": [[1, 2, 3]],
                    "tolerance": 0,
                }
            ),
        ),
        {},
        "",
    ),
    "values with gaps, named": (
        both(
            masks_as(lambda m: m * np.uint8(7)),
            classes({"classes": [{"name": "a", "value": 0}, {"name": "b", "value": 7}]}),
        ),
        {},
        "classes from",
    ),
    "names end in _mask": (rename_masks("{}_mask.png"), {"mask_suffix": "_mask"}, ""),
    "an image without mask": (lambda f: mask_file(f, 3).unlink(), {}, "1 images have no mask and are left out"),
    "grey image among RGB": (one_image(lambda i: i[..., 0]), {}, "1 grey images"),
    "RGBA image": (one_image(lambda i: np.dstack([i, i[..., :1]])), {}, "1 images with transparency"),
    "CMYK image": (images_as(lambda p, i: Image.fromarray(i).convert("CMYK").save(p), ".jpg"), {}, ""),
    "palette image": (images_as(lambda p, i: Image.fromarray(i).quantize().save(p), ".png"), {}, ""),
    "16-bit RGB PNG": (
        images_as(lambda p, i: p.write_bytes(imagecodecs.png_encode(i.astype(np.uint16) * 200)), ".png"),
        {},
        "",
    ),
    "16-bit grey PNG": (images_as(lambda p, i: save(p, i[..., 0].astype(np.uint16) * 99), ".png"), {}, ""),
    "5-band 16-bit TIFF": (
        images_as(
            lambda p, i: tifffile.imwrite(
                p, np.dstack([i, i[..., :2]]).astype(np.uint16), photometric="minisblack", planarconfig="contig"
            ),
            ".tif",
        ),
        {},
        "",
    ),
    "channels-first TIFF": (
        images_as(
            lambda p, i: tifffile.imwrite(
                p,
                np.moveaxis(np.dstack([i, i]), 2, 0).astype(np.uint16),
                photometric="minisblack",
                planarconfig="separate",
            ),
            ".tif",
        ),
        {},
        "",
    ),
    "LZW TIFF": (images_as(lambda p, i: tifffile.imwrite(p, i, photometric="rgb", compression="lzw"), ".tif"), {}, ""),
    "float TIFF": (
        images_as(lambda p, i: tifffile.imwrite(p, i.astype(np.float64) / 99, photometric="rgb"), ".tif"),
        {},
        "",
    ),
    "a PNG called JPEG": (images_as(lambda p, i: Image.fromarray(i).save(p, "png"), ".jpg"), {}, ""),
    "upper-case suffix": (images_as(lambda p, i: Image.fromarray(i).save(p, "png"), ".PNG"), {}, ""),
    "hidden files": (lambda f: (f / "masks/._item003.png").write_bytes(b"mac"), {}, ""),
    "square photo turned by EXIF": (
        lambda f: (
            image_file(f, 3).unlink(),
            Image.fromarray(shapes(3)[0]).save(f / "images/item003.jpg", exif=exif(6)),
        ),
        {},
        "1 images are turned as their EXIF",
    ),
    "one file for each class": (layers, {}, r"one binary file for each class, by name: background, dot, square"),
    "a palette, with classes by colour": (
        both(
            lambda f: [write_mask(mask_file(f, i), shapes(i)[1], [(9, 9, 9), (1, 2, 3)]) for i in range(COUNT)],
            classes({"classes": [GROUND, {"name": "b", "color": [1, 2, 3]}, {"name": "none", "color": [7, 0, 0]}]}),
        ),
        {},
        "0 ground, 1 b",
    ),
    "void as a grey colour": (
        both(
            one_mask(lambda m: np.where(np.arange(32) < 4, 200, m).astype(np.uint8)),
            classes({"classes": [{"name": "a", "value": 0}, {"name": "b", "value": 1}], "void": [[200, 200, 200]]}),
        ),
        {},
        "",
    ),
    "64-bit TIFF masks": (wide_masks, {}, "0…1"),
    "image and mask both turned by EXIF": (turned_both, {}, "1 images are turned"),
}


def exif(orientation):
    made = Image.Exif()
    made[0x0112] = orientation
    return made


REFUSED = {
    "no mask folder": (
        lambda f: (f / "masks").rename(f / "nothing"),
        {},
        r"no images with masks here .*--images images --masks nothing \(12",
    ),
    "empty folder": (lambda f: [p.unlink() for p in (f / "images").iterdir()], {}, r"images: holds no image files"),
    "names that do not pair": (rename_masks("{}_mask.png"), {}, r"none of the 12 images .*add --mask-suffix=_mask"),
    "a mask without image": (lambda f: image_file(f, 3).unlink(), {}, r"no image of the same name: item003; rename"),
    "one stem twice": (
        lambda f: save(f / "images/item003.jpg", shapes(3)[0]),
        {},
        r"item003\.jpg, item003\.png share one",
    ),
    "a mask of another size": (
        one_mask(lambda m: m[:20]),
        {},
        r"item003\.png: 32×20 pixels, but its image .*32×32; export",
    ),
    "a mask of a photo turned by EXIF": (turned_photo, {}, r"item003\.png: 20×32 .* EXIF turns the image"),
    "a truncated image": (
        lambda f: truncate(image_file(f, 3)),
        {},
        r"images/item003\.png: not a readable picture .*replace",
    ),
    "a truncated JPEG": (
        lambda f: (
            image_file(f, 3).unlink(),
            save(f / "images/item003.jpg", np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)),
            truncate(f / "images/item003.jpg", 0.7),
        ),
        {},
        r"images/item003\.jpg: not a readable picture",
    ),
    "a truncated mask": (lambda f: truncate(mask_file(f, 3)), {}, r"masks/item003\.png: not a readable mask"),
    "an empty file": (lambda f: mask_file(f, 3).write_bytes(b""), {}, r"masks/item003\.png: not a readable mask"),
    "text called PNG": (
        lambda f: image_file(f, 3).write_text("hello"),
        {},
        r"images/item003\.png: not a readable picture",
    ),
    "a decompression bomb": (lambda f: bomb(image_file(f, 3)), {}, r"item003\.png: 60000×60000 pixels; at most"),
    "a bomb as mask": (lambda f: bomb(mask_file(f, 3)), {}, r"item003\.png: 60000×60000 pixels; at most"),
    "0, 1 and 255": (
        masks_as(lambda m: np.where(np.arange(32) < 4, 255, m).astype(np.uint8)),
        {},
        r"Is 255 void .*add --void 255",
    ),
    "values with gaps": (masks_as(lambda m: m * np.uint8(7)), {}, r'0 \(\d.*7 \(\d.*\{"name": "class_7", "value": 7\}'),
    "one value only": (masks_as(lambda m: m * np.uint8(0)), {}, r"one value only \(0\)"),
    "a stray value": (
        one_mask(lambda m: np.where(np.arange(32) < 1, 7, m).astype(np.uint8)),
        {},
        r"item003\.png: holds 7 \(32 px\)",
    ),
    "a label that classes.json lacks": (
        classes({"classes": [{"name": "a", "value": 0}, {"name": "b", "value": 2}]}),
        {},
        r"holds 1 \(\d+ px\), .*known: 0, 2",
    ),
    "numbered objects": (masks_as(instances), {}, r"they seem to number objects, not classes"),
    "JPEG indices": (
        masks_as(lambda m: m * np.uint8(3), ".jpg"),
        {},
        r"saved as JPEG \(or WebP\), which changes labels: export",
    ),
    "JPEG indices, named": (
        both(
            masks_as(lambda m: m * np.uint8(3), ".jpg", quality=100),
            classes({"classes": [{"name": "a", "value": 0}, {"name": "b", "value": 3}]}),
        ),
        {},
        r"changes labels that lie 3 apart; export the masks as PNG|is no known class",
    ),
    "photographs as masks": (
        masks_as(lambda m: np.random.default_rng(m.sum()).integers(0, 255, (32, 32, 3)).astype(np.uint8)),
        {},
        r"1024 colours.*Export them as PNG",
    ),
    "smoothed colours": (
        masks_as(
            lambda m: np.asarray(Image.fromarray(COLORS[m]).resize((50, 50)).resize((32, 32), Image.Resampling.BICUBIC))
        ),
        {},
        r'most of them rare.*Export them as PNG.*"color": \[0, 0, 0\].*"color": \[255, 0, 0\]',
    ),
    "a colour mask among values": (
        one_mask(lambda m: COLORS[m]),
        {},
        r"item003\.png: a mask of .* wanted; save them all in one form",
    ),
    "a palette of another order": (
        lambda f: [
            write_mask(mask_file(f, i), shapes(i)[1], [(0, 0, 0), (9, 9, 9)] if i != 3 else [(9, 9, 9), (0, 0, 0)])
            for i in range(COUNT)
        ],
        {},
        r"item003\.png: palette index 0 is \(9, 9, 9\), but \(0, 0, 0\) in most",
    ),
    "fractions": (masks_as(lambda m: m.astype(np.float32) / 2, ".tif"), {}, r"holds fractions such as 0\.5"),
    "a 16-bit image among 8-bit ones": (
        one_image(lambda i: i[..., 0].astype(np.uint16)),
        {},
        r"11 of 3 × uint8, 1 of 1 × uint16",
    ),
    "NaN in a float image": (
        images_as(
            lambda p, i: tifffile.imwrite(p, np.where(i > 190, np.nan, i).astype(np.float32), photometric="rgb"), ".tif"
        ),
        {},
        r"values are NaN or infinite; fill them",
    ),
    "complex numbers": (
        images_as(lambda p, i: tifffile.imwrite(p, i[..., 0].astype(np.complex64)), ".tif"),
        {},
        r"type complex64",
    ),
    "several pages": (
        images_as(lambda p, i: tifffile.imwrite(p, np.zeros((2, 3, 32, 32), np.uint8)), ".tif"),
        {},
        r"height, width, channels wanted",
    ),
    "an animation": (
        lambda f: (image_file(f, 3).unlink(), frames(f / "images/item003.gif")),
        {},
        r"item003\.gif: holds 2 frames",
    ),
    "classes.json is no JSON": (classes("{"), {}, r"classes\.json: not valid JSON"),
    "classes.json of another form": (classes("[1, 2]"), {}, r"classes\.json: .*wanted the form"),
    "two classes of one value": (
        classes({"classes": [{"name": "a", "value": 1}, {"name": "b", "value": 1}]}),
        {},
        r"two classes share the value 1",
    ),
    "class and void at once": (
        classes({"classes": [{"name": "a"}, {"name": "b"}], "void": [1]}),
        {},
        r"as a class and as void",
    ),
    "void that is no number": (
        classes({"classes": [{"name": "a"}, {"name": "b"}], "void": ["x"]}),
        {},
        r"not a whole number",
    ),
    "a class file of several values": (
        lambda f: layers(
            f, lambda f: save(f / "masks/item003_square.png", np.arange(32 * 32).reshape(32, 32).astype(np.uint8))
        ),
        {},
        r"item003_square\.png: holds the values 0, 1, 2",
    ),
    "numbered class files": (
        lambda f: (
            layers(f),
            [p.rename(p.with_name(p.name.replace("square", "1").replace("dot", "2"))) for p in (f / "masks").iterdir()],
        ),
        {},
        r"several numbered masks for an image",
    ),
    "group-by that matches nothing": (lambda f: None, {"group_by": "^(seq)"}, r"does not match 12 names: item000"),
    "group-by that is no expression": (lambda f: None, {"group_by": "("}, r"not a regular expression"),
    "a CSV with a column missing": (
        lambda f: (f / "pairs.csv").write_text("image,label\n"),
        {},
        r"columns are image, label",
    ),
    "a CSV that names what is not there": (
        lambda f: (f / "pairs.csv").write_text("image,mask\na.png,../../b.png\n"),
        {},
        r"line 2: .*a\.png does not exist",
    ),
    "a CSV that is no text": (lambda f: (f / "pairs.csv").write_bytes(b"\x89\x00\xffimage"), {}, r"not a readable CSV"),
    "several pages in a mask": (
        lambda f: [
            mask_file(f, i).unlink()
            or tifffile.imwrite(f / f"masks/item{i:03d}.tif", np.stack([shapes(i)[1]] * 2), photometric="minisblack")
            for i in range(COUNT)
        ],
        {},
        r"item000\.tif: holds 2 pages; save one mask of classes, or a file for each class",
    ),
    "16-bit colours": (
        lambda f: [
            mask_file(f, i).write_bytes(imagecodecs.png_encode(COLORS[shapes(i)[1]].astype(np.uint16) * 3))
            for i in range(COUNT)
        ],
        {},
        r"16 bits in each of several channels",
    ),
    "many class numbers and a void": (
        masks_as(crowded),
        {},
        r"If they are classes after all, name them: --classes .* 66 values .*or list each in a classes.json",
    ),
    "a colour close to a listed one": (
        both(
            masks_as(lambda m: np.array([(0, 0, 0), (0, 80, 100)], np.uint8)[m]),
            classes({"classes": [{"name": "a", "color": [0, 0, 0]}, {"name": "bus", "color": [0, 60, 100]}]}),
        ),
        {},
        r'holds \(0, 80, 100\).*"tolerance": 32',
    ),
    "JPEG colours that lie close": (
        both(
            masks_as(lambda m: np.array([(0, 0, 0), (40, 0, 0)], np.uint8)[m], ".jpg", quality=100),
            classes({"classes": [{"name": "a", "color": [0, 0, 0]}, {"name": "b", "color": [40, 0, 0]}]}),
        ),
        {},
        r"changes labels that lie 40 apart",
    ),
    "objects in colours of their own": (masks_as(objects_in_colors), {}, r"occur in one mask only"),
    "half 0 and 1, half 0 and 255": (halves, {}, r"some masks hold 0 and 1 \(item001.*others 0 and 255 \(item000"),
    "an unknown key": (
        classes({"classes": [{"name": "a", "id": 0}, {"name": "b", "id": 1}]}),
        {},
        r"the key 'id' is none of",
    ),
    "a value for one class alone": (
        classes({"classes": [{"name": "a", "value": 0}, {"name": "b"}]}),
        {},
        r"KeyError 'value'",
    ),
    "image and mask the same": (
        lambda f: (f / "pairs.csv").write_text("image,mask\nimages/item000.png,images/item000.png\n"),
        {},
        r"line 2: .*item000\.png is image and mask at once",
    ),
    "a row without mask": (
        lambda f: (f / "pairs.csv").write_text("image,mask\nimages/item000.png\n"),
        {},
        r"line 2: the mask is empty",
    ),
    "void of class files": (layers, {"void": (0,)}, r"--void: masks of one file for each class"),
    "class files that classes.json calls otherwise": (
        both(layers, classes({"classes": [{"name": "ground"}, {"name": "Square"}, {"name": "Dot"}]})),
        {},
        r"its classes are ground, Square, Dot, but the masks' names end in dot, square; call them alike",
    ),
    "a class that others cover": (
        lambda f: layers(
            f,
            lambda f: [
                save(f / f"masks/item{i:03d}_dot.png", (shapes(i)[1] == 1) * np.uint8(255)) for i in range(COUNT)
            ],
        ),
        {},
        r"not one pixel is left of dot",
    ),
    "an array of four axes": (
        images_as(
            lambda p, i: tifffile.imwrite(p, np.zeros((2, 4, 32, 32), np.uint16), photometric="minisblack"), ".tif"
        ),
        {},
        r"an array of 2×4×32×32",
    ),
}


def test_the_table_is_long_enough():
    assert len(READ) + len(REFUSED) >= 40


@pytest.mark.parametrize("name", READ)
def test_read_rightly(tmp_path, name):
    spoil, options, words = READ[name]
    make_folder(tmp_path, COUNT)
    spoil(tmp_path)
    loaded, printed = load(tmp_path, **options)
    assert words == "" or __import__("re").search(words, printed), printed
    for stem, (image, mask) in loaded.items():
        true = shapes(int(stem[4:7]))[1]
        if name == "one file for each class":
            mask = np.where(mask == 2, 1, 0)  # background, dot, square
        known = mask != VOID
        assert (mask[known] == true[known]).all() and known.mean() > 0.8, stem
        assert image.shape[:2] == true.shape and image.dtype in (np.uint8, np.uint16, np.float32)
    assert len(loaded) == COUNT - (name == "an image without mask")
    if name.startswith("void"):
        assert any((mask == VOID).any() for _, mask in loaded.values())


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_its_fault_and_remedy(tmp_path, name):
    spoil, options, words = REFUSED[name]
    make_folder(tmp_path, COUNT)
    spoil(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path, **options)
    assert len(str(caught.value)) < 4000
