"""How well ``check`` tells masks that are moved, flipped or swapped: faults planted in good pairs, in memory.

    python -m benchmarks.misfits                       # 300 golfscape scenes
    python -m benchmarks.misfits --data DIR --void 11  # good pairs of your own

All of the masks are spoiled at once, then one in ten. A data set that is good must not be accused of anything.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import tyro

from data_pipeline.checking import sketches
from data_pipeline.checking.misfits import misfits
from data_pipeline.dataset import open_dataset
from data_pipeline.encoding import VOID
from data_pipeline.importing.golfscape import write_scenes
from data_pipeline.loader import read_pair
from data_pipeline.pixel_range import measure_range
from data_pipeline.source import Source

SHARE = 10  # one mask in so many is spoiled


@dataclass(frozen=True)
class Config:
    data: Path | None = None
    """Good pairs: a folder or CSV. Default: golfscape scenes."""
    void: tuple[int, ...] = ()
    """Mask value that never counts."""
    scenes: int = 300
    """Golfscape scenes to draw."""
    seed: int = 0
    """Of the scenes, and of what is spoiled."""


def moved(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """The mask shifted, with void where nothing came."""
    out = np.full_like(mask, VOID)
    height, width = mask.shape
    out[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return out


SPOILS = {  # name → function of all masks and one's number to the mask in its place
    "moved by 8 px to the right": lambda masks, i: moved(masks[i], 0, 8),
    "moved by 6 px up and right": lambda masks, i: moved(masks[i], -6, 6),
    "moved by 4 px down": lambda masks, i: moved(masks[i], 4, 0),
    "mirrored": lambda masks, i: np.ascontiguousarray(masks[i][:, ::-1]),
    "upside down": lambda masks, i: np.ascontiguousarray(masks[i][::-1]),
}


def main(config: Config) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source = config.data or Path(temporary) / "golfscape"
        if not config.data:
            write_scenes(source, config.scenes, config.seed)
        data = open_dataset(Source(data=source, void=config.void)).inspection
        pairs = data.pairs()
        scale = measure_range(pairs, data.encoding)
        loaded = [read_pair(pair, data.encoding) for pair in pairs]
    rng = np.random.default_rng(config.seed)
    few = rng.choice(len(pairs), len(pairs) // SHARE, replace=False)
    other = rng.permutation(len(pairs))
    partner = dict(zip(few, np.roll(few, 1), strict=True))
    masks = [mask for _, mask in loaded]

    def suspicions(spoiled: list[np.ndarray]) -> tuple[set[str], set[str]]:
        """Kinds of findings, and the masks that they name."""
        by_stem = {pair.stem: (loaded[i][0], spoiled[i]) for i, pair in enumerate(pairs)}
        substitute = mock.patch.object(sketches, "read_pair", lambda pair, encoding: by_stem[pair.stem])
        with substitute, ThreadPoolExecutor(os.cpu_count()) as pool:
            drawn = list(pool.map(lambda pair: sketches.draw_sketch(pair, data.encoding, scale), pairs))
        findings = misfits(drawn)
        return {finding.kind for finding in findings}, {file for finding in findings for file in finding.files}

    print(f"{len(pairs)} pairs of {source.name}; single faults: {len(few)} of them\n")
    print("| fault | in all masks: reported as | in one of ten: found | good ones accused |\n|---|---|---|---|")
    kinds, accused = suspicions(masks)
    print(f"| none | {', '.join(kinds) or 'nothing'} | | {len(accused)} |")
    guilty = {str(pairs[i].mask) for i in few}
    numbers = range(len(masks))
    for name, all_spoiled, spoil in (
        *((name, [spoil(masks, i) for i in numbers], spoil) for name, spoil in SPOILS.items()),
        ("of another image", [masks[i] for i in other], lambda masks, i: masks[partner[i]]),
    ):
        everywhere, _ = suspicions(all_spoiled)
        _, named = suspicions([spoil(masks, i) if i in partner else masks[i] for i in numbers])
        reported = ", ".join(sorted(everywhere)) or "nothing"
        print(f"| {name} | {reported} | {len(named & guilty)} of {len(guilty)} | {len(named - guilty)} |")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
