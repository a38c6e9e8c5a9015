"""The plan of a study: settings and seeds, fixed before a cell of it is seen, with the hash that says so."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from data_pipeline.command import UserError
from data_pipeline.files import read_json, write_json

from .cells import CODE, Spec
from .hypotheses import Settings, cells_of
from .pilot import LEAST_RANGE, Pilot
from .scenes import Knobs

SMOKE = Settings(Knobs(), {"S": 0.003, "C": 0.003, "E": 0.003}, balanced=True, count=16, steps=30, width=4, tests=100)
SEEDS = {"smoke": 1, "small": 12}


@dataclass(frozen=True)
class Plan:
    preset: str
    settings: Settings
    seeds: tuple[int, ...]

    @property
    def inferential(self) -> bool:
        return len(self.seeds) > 1

    @property
    def hash(self) -> str:
        text = json.dumps({"code": CODE, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def cells(self) -> dict[int, dict[str, Spec]]:
        return {seed: cells_of(self.settings, seed) for seed in self.seeds}


def make_plan(folder: Path, preset: str) -> Plan:
    """The folder's plan; a new one where it has none. ``small`` takes its settings from the folder's pilot.

    Raises:
        UserError: for a folder with another plan, and for ``small`` without a pilot that found the world fit.
    """
    settings = SMOKE if preset == "smoke" else settings_of_pilot(folder)
    plan, path = Plan(preset, settings, tuple(range(SEEDS[preset]))), Path(folder) / "plan.json"
    if path.exists():
        found = read_json(path)
        known = found.get("hash") if isinstance(found, dict) else None
        if known != plan.hash:
            raise UserError(
                f"{path} holds another plan ({str(known)[:12]}, not {plan.hash[:12]}): another preset, pilot or "
                "version; name another folder with --out"
            )
        return plan
    write_json(path, {"hash": plan.hash, "code": CODE, **asdict(plan)})
    return plan


def write_pilot(folder: Path, pilot: Pilot) -> None:
    write_json(Path(folder) / "pilot.json", {"fit": pilot.fit, **asdict(pilot)})


def settings_of_pilot(folder: Path) -> Settings:
    path = Path(folder) / "pilot.json"
    if not path.exists():
        raise UserError(f"{path} is missing; first: python -m study pilot --out {folder}")
    found = read_json(path)
    if not found["fit"]:
        ranges = ", ".join(f"{arm} {value:.2f}" for arm, value in found["ranges"].items())
        raise UserError(
            f"{path}: with fresh images the arms come {ranges} above chance, {LEAST_RANGE} is wanted of each; "
            "another world or more steps first"
        )
    knobs = found["settings"]["knobs"]
    return replace(Settings(**found["settings"]), knobs=Knobs(**knobs | {"area": tuple(knobs["area"])}))
