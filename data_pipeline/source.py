"""The flags that say where a data set is and how it is read: every command shares them.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import os
import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path

from tyro.conf import UseAppendAction

from .command import UserError


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set on disk. Commands inherit these flags, and pass themselves to ``dataset.open_dataset``."""

    data: Path
    """Folder with images and masks, or a CSV (image,mask[,split][,group])."""
    mask_suffix: str = ""
    """What follows the image's name in a mask's name: _mask."""
    images: Path | None = None
    """Folder of the images, if it has no usual name. It may lie below the data set's folder, or anywhere."""
    masks: Path | None = None
    """Folder of the masks, likewise. Sub-folders that both have are paired with each other."""
    image_name: str = "{}"
    """Pattern of the images' names: image_{}. {} is what they have in common with their masks."""
    mask_name: str | None = None
    """Pattern of the masks' names: mask_{}."""
    one_class: bool = False
    """Everything above 0 is one class. For masks in which objects are numbered; several mask files of an image are
    united."""
    classes: str = ""
    """Names of the classes in the order of their values: background,road,car."""
    void: UseAppendAction[tuple[int, ...]] = ()
    """Mask value that never counts (unlabelled). It adds to those in classes.json, and may be given several times."""
    group_by: str | None = None
    """Keep images in one part of the split whose names match this with the same text. The word folder: keep those of
    one sub-folder together."""

    def with_folder(self) -> "Source":
        """Itself; where only the folders of images and masks were named, with the folder around both as data set.

        Raises:
            UserError: if nothing was named.
        """
        if self.data is not None:
            return self
        if self.images is None or self.masks is None:
            raise UserError("name the data set's folder, or --images FOLDER and --masks FOLDER")
        images, masks = self.images.resolve(), self.masks.resolve()
        return replace(self, data=Path(os.path.commonpath([images, masks])), images=images, masks=masks)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(name.strip() for name in self.classes.split(",") if name.strip())

    @property
    def root(self) -> Path:
        """The folder that the data set's paths are relative to."""
        return self.data if self.data.is_dir() else self.data.parent

    @property
    def title(self) -> str:
        """The data set's name."""
        return self.data.name if self.data.is_dir() else self.data.stem

    def flags(self) -> list[str]:
        """Return the flags that read a data set this way, as a shell takes them; the data set itself left out."""
        given = []
        for field in fields(Source):
            value = getattr(self, field.name)
            if field.name != "data" and value != field.default:
                if value is True:
                    given.append(f"--{field.name.replace('_', '-')}")
                    continue
                values = value if isinstance(value, tuple) else (value,)
                given += [f"--{field.name.replace('_', '-')}={shlex.quote(str(each))}" for each in values]
        return given
