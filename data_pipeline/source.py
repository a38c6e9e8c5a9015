"""Where a data set is and how it is read: the flags that every command shares, in one place.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from tyro.conf import UseAppendAction


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set on disk. Commands inherit these flags, and pass themselves to ``data_set.open_dataset``."""

    data: Path
    """Folder with images and masks, or a CSV (image,mask[,split][,group])."""
    mask_suffix: str = ""
    """What a mask's name has after its image's name: _mask."""
    void: UseAppendAction[tuple[int, ...]] = ()
    """Mask value on disk that never counts (unlabelled), beside those in classes.json; may be given several times."""
    group_by: str | None = None
    """Regular expression: images whose names match it with the same text stay in one part of the split."""

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
                values = value if isinstance(value, tuple) else (value,)
                given += [f"--{field.name.replace('_', '-')}={shlex.quote(str(each))}" for each in values]
        return given
