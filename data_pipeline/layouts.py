"""The layouts of folders that are known, as a table: where images and masks lie, what they are called, who is where.

A row's folders are patterns of paths below the data set's folder. In braces: ``{images}`` and ``{masks}``, one of the
usual names; ``{split}``, a name such as train or val; ``{scene}``, any folders, the same on both sides; ``{class}``, a
folder of one class's masks. ``*`` is any part of a name, and "" the data set's folder itself. File names are patterns
without the ending, in which ``{}`` is what image and mask have in common; "a|b": the one that pairs most.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .command import UserError
from .files import IMAGE_SUFFIXES

IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "images_png", "image_2", "img_dir", "original", "originals", "frames", "photos",
)  # fmt: skip
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "masks_png", "semantic", "ann_dir", "gt",
    "ground truth", "ground_truth", "groundtruth", "ground-truth", "segmentations", "segmentation", "annots",
)  # fmt: skip
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "train_val": "train",
    "tr": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "ts": "test",
}
MASK_NAMES = (
    "{}_mask|{}_masks|{}_label|{}_labels|{}_seg|{}_segmentation|{}_gt|{}_groundtruth|{}_annotation|{}_anno|{}_L|"
    "{}-mask|{}.mask"
)
DEEPEST = 6  # folders below the data set's own that are looked into

VOC_CLASSES = tuple(
    enumerate(
        [
            "background",
            "aeroplane",
            "bicycle",
            "bird",
            "boat",
            "bottle",
            "bus",
            "car",
            "cat",
            "chair",
            "cow",
            "diningtable",
            "dog",
            "horse",
            "motorbike",
            "person",
            "pottedplant",
            "sheep",
            "sofa",
            "train",
            "tvmonitor",
        ]
    )
)
CITYSCAPES_CLASSES = (  # cityscapesscripts/helpers/labels.py: the 19 that are scored; all other ids are void
    (7, "road"), (8, "sidewalk"), (11, "building"), (12, "wall"), (13, "fence"), (17, "pole"), (19, "traffic light"),
    (20, "traffic sign"), (21, "vegetation"), (22, "terrain"), (23, "sky"), (24, "person"), (25, "rider"), (26, "car"),
    (27, "truck"), (28, "bus"), (31, "train"), (32, "motorcycle"), (33, "bicycle"),
)  # fmt: skip
CITYSCAPES_VOID = (-1, 0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)


@dataclass(frozen=True)
class Layout:
    """A convention: where images and masks lie, and how their names belong together."""

    name: str
    images: str  # folder
    masks: str  # folder
    image_name: str = "{}"
    mask_name: str = "{}"
    lists: str = ""  # folder of train.txt, val.txt, test.txt, which name the images of each part
    united: bool = False  # several masks of an image are objects of one class
    void: tuple[int, ...] = ()  # values that the convention says are unlabelled
    classes: tuple[tuple[int, str], ...] = ()  # value and name, where the convention says so…
    called: str = ""  # …if a mask's path holds this: labelme and CVAT write VOC's form with classes of their own

    @property
    def has_scenes(self) -> bool:
        """Return whether any folder may stand before those of images and masks: then nearer folders are looked into
        first."""
        return self.images.startswith("{scene}")

    def recognises(self, mask: Path) -> bool:
        """Return whether the convention's own classes are those of a mask."""
        return bool(self.classes) and bool(re.search(self.called, mask.as_posix()))

    @property
    def in_class_folders(self) -> bool:
        return "{class}" in self.masks

    @property
    def says_names(self) -> bool:
        """Return whether the names of files are part of the convention."""
        return self.mask_name != "{}" or self.image_name != "{}"


LAYOUTS = (
    Layout("Pascal VOC", "JPEGImages", "SegmentationClass(PNG|Raw)?", lists="ImageSets/Segmentation",
           void=(255,), classes=VOC_CLASSES, called=r"VOC20\d\d|/20\d\d_\d{6}\."),
    Layout("Cityscapes", "leftImg8bit/{split}/{scene}", "gtFine/{split}/{scene}", "{}_leftImg8bit",
           "{}_gtFine_labelIds", void=CITYSCAPES_VOID, classes=CITYSCAPES_CLASSES),
    Layout("India Driving Dataset", "leftImg8bit/{split}/{scene}", "gtFine/{split}/{scene}", "{}_leftImg8bit",
           "{}_gtFine_labelids|{}_gtFine_labellevel3Ids", void=(255,)),
    Layout("BDD100K", "images/10k/{split}", "labels/sem_seg/masks/{split}", void=(255,)),
    Layout("Mapillary Vistas", "{split}/images", "{split}/v[12].[02]/labels"),
    Layout("DRIVE", "{split}/images", "{split}/1st_manual", "{}_*", "{}_manual1"),
    Layout("ISIC", "*_{split}_(Input|Data)", "*_{split}(_Part1)?_GroundTruth", mask_name="{}_segmentation"),
    Layout("nnU-Net raw", "images{split}", "labels{split}", "{}_0000"),
    Layout("Supervisely", "{scene}/img", "{scene}/masks_machine"),
    Layout("Oxford Pets", "images", "annotations/trimaps"),
    Layout("images and masks", "{images}", "{masks}"),
    Layout("images and masks in train, val, test", "{split}/{images}", "{split}/{masks}"),
    Layout("images and masks, each in train, val, test", "{images}/{split}", "{masks}/{split}"),
    Layout("scenes in train, val, test", "{split}/{scene}/{images}", "{split}/{scene}/{masks}"),
    Layout("images and masks in the same sub-folders", "{images}/{scene}", "{masks}/{scene}"),
    Layout("a folder of masks for each class", "{images}", "{masks}/{class}"),
    Layout("a folder of masks for each class, in train, val, test", "{split}/{images}", "{split}/{masks}/{class}"),
    Layout("folders of Keras's generators", "{split}_(frames|images|imgs)/*", "{split}_(masks|labels)/*"),
    Layout("train and train_masks", "{split}(_images|_frames|_imgs)?", "{split}(_masks|_labels|_?annot)",
           mask_name="{}|" + MASK_NAMES),
    Layout("Data Science Bowl 2018", "{scene}/images", "{scene}/masks", mask_name="*", united=True),
    Layout("scenes of images and masks", "{scene}/{images}", "{scene}/{masks}"),
    Layout("image and mask side by side", "", "", mask_name=MASK_NAMES),
    Layout("image and mask side by side, in train, val, test", "{split}", "{split}", mask_name=MASK_NAMES),
    Layout("Cellpose", "{split}", "{split}", "{}_img", "{}_masks"),
    Layout("Cell Tracking Challenge", "{scene}", "{scene}_GT/SEG", "t{}", "man_seg{}"),
    Layout("DeepGlobe", "{split}", "{split}", "{}_sat", "{}_mask"),
    Layout("PH2", "{scene}/*_Dermoscopic_Image", "{scene}/*_lesion", mask_name="{}_lesion"),
    Layout("image and mask side by side, in folders", "{scene}", "{scene}", mask_name=MASK_NAMES),
)  # fmt: skip


ROWS = {layout.name: layout for layout in LAYOUTS}


@dataclass(frozen=True)
class Place:
    """A folder of images and the masks that belong to it."""

    images: str  # relative to the data set's folder
    masks: tuple[str, ...]  # one folder; or one for each class
    split: str | None = None
    scene: str | None = None


def image_counts(root: Path) -> dict[str, int]:
    """Folder, relative to the root → how many image files lie directly in it; hidden folders are passed over."""
    counts = {}
    for folder, below, names in os.walk(root, followlinks=True):
        relative = os.path.relpath(folder, root)
        depth = 0 if relative == "." else relative.count(os.sep) + 1
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")) and depth < DEEPEST)
        pictures = sum(Path(name).suffix.lower() in IMAGE_SUFFIXES and name[0] != "." for name in names)
        counts["" if relative == "." else Path(relative).as_posix()] = pictures
    return counts


def places_of(layout: Layout, counts: dict[str, int]) -> list[Place]:
    """Return the folders of a layout's images and masks; empty if this is another layout.

    Raises:
        UserError: for two folders of images, or of masks, of which one must be meant.
    """
    images, masks = folders_by_key(layout.images, counts), folders_by_key(layout.masks, counts)
    places = []
    for fields in images:
        if fields in masks:
            folder = only(images[fields], "images")[0]
            own = masks[fields] if layout.in_class_folders else only(masks[fields], "masks")
            split, scene = fields
            places.append(Place(folder, tuple(own), SPLIT_FOLDERS.get(split), scene))
    return places


def folders_by_key(pattern: str, counts: dict[str, int]) -> dict[tuple, list[str]]:
    """Split and scene → the folders with images that fit a pattern so."""
    folders = {}
    for folder, count in counts.items():
        fields = re.fullmatch(expression(pattern), folder, re.IGNORECASE) if count else None
        if fields:
            split, scene = (fields.groupdict().get(name) for name in ("split", "scene"))
            folders.setdefault((split and split.lower(), scene), []).append(folder)
    return folders


def only(folders: list[str], what: str) -> list[str]:
    if len(folders) > 1:
        raise UserError(
            f"the data set holds {' and '.join(folders)}: which of them are the {what}? Say --{what} {folders[0]}, or "
            "move the other away"
        )
    return folders


def expression(pattern: str) -> str:
    """A folder's pattern as a regular expression."""
    parts = {
        "{images}": alternatives(IMAGE_FOLDERS),
        "{masks}": alternatives(MASK_FOLDERS),
        "{split}": f"(?P<split>{alternatives(SPLIT_FOLDERS)})",
        "{scene}": r"(?P<scene>[^/]+(?:/[^/]+)*?)",
        "{class}": "[^/]+",
    }
    pattern = pattern.replace("*", "[^/]*")
    for placeholder, part in parts.items():
        pattern = pattern.replace(placeholder, part)
    return pattern


def alternatives(names) -> str:
    return f"(?:{'|'.join(re.escape(name) for name in names)})"


def common_part(pattern: str, stem: str) -> str | None:
    """Return what stands at {} in a file's name; None if the name does not fit the pattern."""
    before, _, after = pattern.partition("{}")
    fits = re.fullmatch(f"{starred(before)}(.+){starred(after)}", stem)
    return fits and fits.group(1)


def starred(text: str) -> str:
    return re.escape(text).replace(r"\*", "[^_]*")
