"""The plan of a study: settings, seeds, hypotheses and cells, fixed before any is seen, with the hash of it all."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.files import read_json, write_json

from .cells import CODE, Spec, told
from .contrasts import POINTING, cells_of_own, cells_of_photographs, difficulty, learners, pointing
from .films import PRIMARIES
from .hypotheses import (
    ENOUGH,
    FIRST_EDITION,
    HYPOTHESES,
    LEAST_RANGE,
    LEFT,
    OFF_THE_FLOOR,
    SHIFT,
    Hypothesis,
    Settings,
    cells_of,
)
from .own import LEAST_GROUPS, TESTED, Own
from .photographs import Photographs
from .pilot import Cells, Pilot, grid_plan
from .scenes import Knobs
from .verdicts import LEVEL, SMALLEST

RULES = 1  # raised whenever the same cells may give other verdicts
PILOTS = Path(__file__).parent / "pilots"  # of the presets' own worlds
PLANS = Path(__file__).parent / "plans"  # written before their cells were trained


@dataclass(frozen=True)
class Preset:
    """The ingredients of a plan.

    base: settings that a pilot tunes, or that need none. wide: whether all cells are wanted, or the primaries'.
    pilot: name of the pilot that comes with the code. cells: settings, seed → cells by name. first: seed.
    grid: likewise the cells that are tuned, on a grid that grows until every arm's best lies inside; None: S, C and E.
    """

    base: Settings
    seeds: int
    names: tuple[str, ...] = tuple(one.name for one in FIRST_EDITION)
    wide: bool = False
    tuned: bool = True
    pilot: str = "small"
    cells: Callable[[Settings, int], dict[str, Spec]] = cells_of
    first: int = 0
    grid: Callable[[Settings, int], dict[str, Spec]] | None = None

    @property
    def usual_seeds(self) -> tuple[int, ...]:
        return tuple(range(self.first, self.first + self.seeds))


UNTUNED = dict.fromkeys(("S", "C", "E"), 0.003)
USUAL = Settings(Knobs(), UNTUNED, balanced=True)
LARGE = Settings(
    Knobs(size=128),
    UNTUNED,
    balanced=True,
    steps=2000,
    width=16,
    counts=(8, 32, 64, 128, 256, 512),
    widths=(4, 8, 32),
    pixels=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
STEPS = 300  # of the contrasts of single reasons
FIRST = ("H6a", "H6b", "H2", "H4")
OF_PEOPLE = replace(  # a user's own images, in place of the knobs; rates: of the drawn world's pilot
    USUAL,
    rates={"masks": 0.01, "labels": 0.001, "masks pretrained": 0.001, "labels pretrained": 0.001},
    steps=400,
    widths=(),
    pixels=(),
)
PRESETS = {
    "smoke": Preset(replace(USUAL, count=16, steps=30, width=4, tests=100), seeds=1, names=FIRST, tuned=False),
    "small": Preset(USUAL, seeds=12, names=FIRST),
    "medium": Preset(USUAL, seeds=12, wide=True),
    "full": Preset(LARGE, seeds=20, wide=True, pilot="full"),
    "pointing": Preset(
        replace(
            USUAL,
            knobs=Knobs(cue="key"),
            rates=dict.fromkeys(POINTING, 0.01),
            steps=STEPS,
            tests=400,
            counts=(),
            widths=(),
            pixels=(),
        ),
        seeds=24,
        names=("pointing",),
        wide=True,
        pilot="pointing",
        cells=pointing,
        first=36,
        grid=pointing,
    ),
    "difficulty": Preset(
        replace(
            USUAL,
            knobs=Knobs(decoys=3),
            rates={"masks": 0.01, "classifier": 0.003},
            count=64,
            steps=2 * STEPS,
            tests=400,
            counts=(),
            widths=(),
            pixels=(),
        ),
        seeds=6,
        names=("hundreds", "difficulty"),
        wide=True,
        pilot="difficulty",
        cells=difficulty,
        first=60,
        grid=learners,
    ),
    "photographs": Preset(  # the seeds are films by turns
        replace(
            USUAL,
            rates={"masks": 0.003, "classifier, presence": 0.001},
            count=32,
            steps=600,
            tests=0,
            counts=(),
            widths=(),
            pixels=(),
        ),
        seeds=6,
        names=(),
        wide=True,
        tuned=True,
        cells=cells_of_photographs,
    ),
    "smoke own": Preset(
        replace(OF_PEOPLE, steps=30, width=4), seeds=1, names=(), wide=True, tuned=False, cells=cells_of_own
    ),
    "small own": Preset(OF_PEOPLE, seeds=6, names=(), wide=True, cells=cells_of_own),
    "medium own": Preset(
        replace(OF_PEOPLE, steps=800, pixels=USUAL.pixels), seeds=12, names=(), wide=True, cells=cells_of_own
    ),
}


@dataclass(frozen=True)
class Plan:
    """names: of the hypotheses; wide: whether the cells of secondary analyses and guards are among them."""

    preset: str
    settings: Settings
    seeds: tuple[int, ...]
    names: tuple[str, ...]
    wide: bool

    @property
    def inferential(self) -> bool:
        knobs = self.settings.knobs
        tuned = PRESETS[self.preset].tuned
        return tuned and len(self.seeds) > 1 and not (isinstance(knobs, Own) and knobs.groups < LEAST_GROUPS)

    @property
    def overlap(self) -> float:
        """Test images over training images, where the seeds split a user's own; 0 where each draws its own."""
        return TESTED / (1 - TESTED) if isinstance(self.settings.knobs, Own) else 0.0

    @property
    def hypotheses(self) -> list[Hypothesis]:
        return [one for one in HYPOTHESES if one.name in self.names]

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(self.told(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def told(self) -> dict:
        """Say what is fixed: the settings, the contrasts by their columns, the margins, and every cell."""
        contrasts = {one.name: [list(column) for column in one.columns] for one in self.hypotheses}
        cells = {str(seed): {name: spec.id for name, spec in each.items()} for seed, each in self.cells().items()}
        margins = {"enough": ENOUGH, "left": LEFT, "off_the_floor": OFF_THE_FLOOR, "shift": SHIFT}
        margins |= {"least_range": LEAST_RANGE, "level": LEVEL, "smallest": SMALLEST}
        fixed = {"code": CODE, "rules": RULES, "margins": margins, "contrasts": contrasts}
        if isinstance(self.settings.knobs, Photographs):
            fixed["contrasts"] = {one.name: [one.score, one.margin, one.factors] for one in PRIMARIES}
        return {**fixed, **told(self), "cells": cells}

    def cells(self) -> dict[int, dict[str, Spec]]:
        needed, cells = set().union(*(one.cells for one in self.hypotheses)), PRESETS[self.preset].cells
        return {
            seed: {name: spec for name, spec in cells(self.settings, seed).items() if self.wide or name in needed}
            for seed in self.seeds
        }


def make_plan(
    folder: Path,
    preset: str,
    names: tuple[str, ...] = (),
    own: Own | Photographs | None = None,
    seeds: tuple[int, ...] | None = None,
    weights: str = "",
) -> Plan:
    """The folder's plan; a new one where it has none.

    Of a user's own images it is that of the preset "NAME own", whose seeds are the groups where there are few; of
    photographs cut into tiles that of NAME.

    Args:
        folder: of the study.
        preset: a key of PRESETS.
        names: of the hypotheses, a part of the preset's; (): all of them, and what is shown beside.
        own: a user's images, in place of scenes; of those alone, some hypotheses cannot be asked.
        seeds: others than the preset's, for a replication.
        weights: SHA-256 of a pretrained encoder's file that the folder holds.

    Raises:
        UserError: for a folder with another plan, an unknown hypothesis, a world that no pilot found fit.
    """
    if isinstance(own, Own):
        preset = f"{preset} own"
        seeds = tuple(range(own.groups)) if own.one_out else seeds
    if preset not in PRESETS:
        raise UserError(f"--preset {preset.removesuffix(' own')} has no study of your own images; small or medium has")
    chosen = PRESETS[preset]
    able = chosen.names
    unknown = [name for name in names if name not in able]
    if unknown:
        raise UserError(f"--hypothesis {','.join(unknown)}: {preset} has {', '.join(able) or 'none'}")
    if isinstance(own, Photographs):
        settings = rates_of_own(folder, replace(chosen.base, knobs=own), own)
    elif own:
        settings = replace(with_own(rates_of_own(folder, chosen.base, own), own), weights=weights)
    else:
        settings = settings_of_pilot(folder, preset) if chosen.tuned else chosen.base
    wanted = tuple(name for name in able if name in names or not names)
    plan = Plan(preset, settings, seeds or chosen.usual_seeds, wanted, chosen.wide and not names)
    path = Path(folder) / "plan.json"
    if path.exists():
        found = read_json(path)
        known = found.get("hash") if isinstance(found, dict) else None
        if known != plan.hash:
            raise UserError(
                f"{path} holds another plan ({str(known)[:12]}, not {plan.hash[:12]}): another preset, part, pilot, "
                "other seeds or another version. Name another folder with --out; cells copied into its cells/ are not "
                "trained again"
            )
        return plan
    write_json(path, {"hash": plan.hash, **plan.told()})
    return plan


def with_own(settings: Settings, own: Own) -> Settings:
    """Settings for a user's images: at most half of them where the hypotheses are put, and more and fewer beside."""
    able = [n for n in (8, 16, 32, 64, 128, 256, 512) if own.num_classes <= n <= own.pool]
    if not able or able[0] > own.pool // 2:
        raise UserError(
            f"each split leaves {own.pool} training images, as many of one class as of another; at least twice "
            f"{max(8, own.num_classes)} are wanted: more images of the rarest class, or more groups"
        )
    count = max(n for n in able if n <= min(own.pool // 2, 32))
    return replace(settings, knobs=own, count=count, counts=tuple(n for n in able if n != count))


def plan_from(found: dict, path: Path) -> Plan:
    """Read a plan from plan.json.

    Raises:
        UserError: where it is none, or another version's.
    """
    try:
        plan = Plan(
            found["preset"],
            settings_from(found["settings"]),
            tuple(found["seeds"]),
            tuple(found["names"]),
            found["wide"],
        )
        known = found["hash"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no plan ({error})") from None
    if known != plan.hash:
        raise UserError(f"{path} was changed, or made by another version; name another folder with --out")
    return plan


def write_pilot(folder: Path, pilot: Pilot) -> None:
    write_json(Path(folder) / "pilot.json", {"fit": pilot.fit, **asdict(pilot)})


def rates_of_own(folder: Path, base: Settings, own: Own | Photographs) -> Settings:
    """With the learning rates of the folder's own pilot, where it has one.

    Raises:
        UserError: where that was of other images.
    """
    path = Path(folder) / "pilot.json"
    if not path.exists():
        return base
    try:
        found = settings_from(read_json(path)["settings"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no pilot's file ({error}); remove it, or run the pilot again") from None
    if found.knobs != own:
        raise UserError(f"{path} tuned other images; remove it, or name another --out")
    return replace(base, rates=base.rates | found.rates)


def write_grid_plan(folder: Path, settings: Settings, cells: Cells, seeds: tuple[int, ...]) -> None:
    """Write what the pilot of a contrast will try, before it does."""
    write_json(Path(folder) / "pilot-plan.json", grid_plan(settings, cells, seeds))


def settings_of_pilot(folder: Path, preset: str) -> Settings:
    """Read the settings of the folder's own pilot, else of the one that comes with the preset's world.

    Raises:
        UserError: where there is none, or it was of another world or found it unfit.
    """
    own_pilot, shipped = Path(folder) / "pilot.json", PILOTS / f"{PRESETS[preset].pilot}.json"
    path = own_pilot if own_pilot.exists() else shipped
    if not path.exists():
        raise UserError(f"{preset} needs a pilot; first: python -m study pilot --preset {preset} --out {folder}")
    found = read_json(path)
    try:
        settings, fit, ranges = settings_from(found["settings"]), found["fit"], found["ranges"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no pilot's file ({error}); remove it, or run the pilot again") from None
    base = PRESETS[preset].base
    if replace(settings, rates=base.rates, balanced=base.balanced) != base:
        raise UserError(f"{path} tuned another world or other images than {preset}'s; remove it, or name another --out")
    if not fit:
        told = ", ".join(f"{arm} {value:.2f}" for arm, value in ranges.items())
        raise UserError(
            f"{path}: with fresh images the arms come {told} above chance, {LEAST_RANGE} is wanted of each; "
            "another world or more steps first"
        )
    return settings


def settings_from(found: dict) -> Settings:
    """Make settings of what JSON made of them."""
    kinds = {"films": Photographs, "fingerprint": Own}
    kind = next((kind for field, kind in kinds.items() if field in found["knobs"]), Knobs)
    knobs = kind(**tuples(found["knobs"]))
    return Settings(**tuples(found) | {"knobs": knobs})


def tuples(found: dict) -> dict:
    """With tuples for JSON's lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
