"""The study's report: study.html, figures/, and study.json, which holds every cell and from which all else follows."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from data_pipeline.files import write_json
from data_pipeline.label_bits import class_bits, mask_bits
from engine.reporting.page import Cell, Plot, Section, Table, write_page

from . import findings as found
from .cells import TRAIN, Spec, draw, result_of
from .figures import ARM_WORDS
from .figures import draw as draw_figures
from .findings import Finding, Point, Study, findings, load
from .hypotheses import SHIFT
from .own import Own
from .photographs import Photographs
from .pilot import RATES
from .verdicts import LEVEL, POWER, SMALLEST
from .words import QUESTION, answer, at_least, headline, line, not_tested, settled_by

PAGE, DATA, SITTINGS = "study.html", "study.json", "sittings.jsonl"
SENTENCE = {
    "images": "Dotted: as many steps in which no image comes twice. That is no ceiling: see the notes.",
    "pixels": "The same images with ever fewer labelled pixels, half of them on the target. A single one is on it "
    "half the time; else it is background and names no class.",
    "parameters": "The same arms, narrower and wider.",
    "distance": "The class stands in a small spot: inside the object, or beside it.",
    "backgrounds": "Trained where background and class go together.",
    "transfer": "From scratch, from the arm's own encoder, and from that of a classifier of a sibling world.",
    "verdicts": "Points: the effect; lines: its 95% interval, not adjusted for the number of hypotheses.",
    "samples": "Each row the same scenes, but for what its name says.",
}

READ = (
    f"Supported: p for is below {LEVEL}, and the effect at least {SMALLEST} (of H1: nearer to 0 than that). Not "
    f"supported: p against is below {LEVEL}, so that an effect of {SMALLEST} is ruled out. Both p are adjusted for the "
    f"number of hypotheses (Holm). Detectable: the effect that so many seeds find with {POWER:.0%} power. The last "
    f"column: how many seeds would rule {SMALLEST} out with that power, were there no effect.",
    "The effects of H6 and H1 are differences of A, the share of the way from chance (or an empty mask) to the ideal "
    "world; of H2, 0.8 of the A that all pixels add to one, less what 16 add; of H3 and H4, differences of accuracy; "
    "of H5, of the share of the error.",
)


def write_report(folder: Path) -> list[str]:
    """Write all of it; what to print.

    Raises:
        UserError: where cells are missing.
    """
    folder = Path(folder)
    study = load(folder)
    if isinstance(study.plan.settings.knobs, Photographs):
        return write_films(folder, study)
    if study.plan.preset.endswith(" own"):
        return write_advice(folder, study)
    said, flips = findings(study), found.false_verdicts(study)
    write_json(folder / DATA, {**told(study, said, flips), "sittings": sittings(folder)})
    figures = draw_figures(study, said, folder / "figures")
    plan = study.plan
    facts = [
        f"preset {plan.preset}",
        f"plan {plan.hash[:12]}",
        f"{len(plan.seeds)} seed{'s' * (len(plan.seeds) != 1)}",
        f"{sum(map(len, study.results))} trainings",
        f"{study.count} images, {plan.settings.steps} steps of 8",
        f"{plan.settings.knobs.size} × {plan.settings.knobs.size} pixels, width {plan.settings.width}",
    ]
    write_page(
        folder / PAGE, QUESTION, headline(said), not plan.inferential, facts, sections(study, said, flips, figures)
    )
    settled = {one.hypothesis.name: settled_by(one) for one in said}
    lines = [text for one in said for text in (line(one), "     " + settled[one.hypothesis.name]) if text.strip()]
    return [*lines, f"plan {plan.hash[:12]}, {len(plan.seeds)} seeds. Next: open {folder / PAGE}"]


def write_advice(folder: Path, study: Study) -> list[str]:
    """The page of a user's own images; what to print."""
    from .advice import facts, headline_of, sections_of

    write_json(folder / DATA, {**told(study, [], None), "sittings": sittings(folder)})
    advice = headline_of(study)
    parts = sections_of(study, folder / "figures")
    write_page(folder / PAGE, "Is it worth drawing masks?", advice, not study.plan.inferential, facts(study), parts)
    return [advice, f"plan {study.plan.hash[:12]}. Next: open {folder / PAGE}"]


def write_films(folder: Path, study: Study) -> list[str]:
    """The page of photographs; what to print."""
    from .films_report import headline_of, sections_of

    write_json(folder / DATA, {**told(study, [], None), "sittings": sittings(folder)})
    plan, said = study.plan, headline_of(study)
    facts = [
        f"plan {plan.hash[:12]}",
        f"{sum(map(len, study.results))} trainings",
        f"{study.count} frames, {plan.settings.steps} steps of 8 tiles of {plan.settings.knobs.size} × "
        f"{plan.settings.knobs.size} pixels",
    ]
    write_page(folder / PAGE, "Masks or labels, on your photographs?", said, False, facts, sections_of(study))
    return [said, f"plan {plan.hash[:12]}. Next: open {folder / PAGE}"]


@contextmanager
def sitting(folder: Path, jobs: int, specs: list[Spec]) -> Iterator[None]:
    """Add to FOLDER/sittings.jsonl what trained how many of these cells, and for how long; also when interrupted."""
    from engine.run import environment  # imports TensorFlow

    started = time.monotonic()
    about = {name: value for name, value in environment().items() if name != "command"} | {"jobs": jobs}
    missing = {spec for spec in specs if result_of(folder, spec) is None}
    try:
        yield
    finally:
        trained = [spec.seed for spec in missing if result_of(folder, spec) is not None]
        done = {"seeds": sorted(set(trained)), "trainings": len(trained)}
        if trained:
            with open(Path(folder) / SITTINGS, "a", encoding="utf-8") as file:
                file.write(json.dumps({**about, **done, "seconds": round(time.monotonic() - started, 1)}) + "\n")


def sittings(folder: Path) -> list[dict]:
    """Read what ``sitting`` added; a killed one is missing."""
    path = Path(folder) / SITTINGS
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def told(study: Study, said: list[Finding], flips: float | None) -> dict:
    """Return what study.json holds beside what trained it."""
    return {
        "plan": {"hash": study.plan.hash, **study.plan.told()},
        "verdicts": {
            one.hypothesis.name: {
                "claim": one.hypothesis.claim,
                "value": one.value,
                "words": one.words,
                "reasons": one.reasons,
                "secondary": {"words": one.second, "value": one.second_value},
                "verdict": asdict(one.verdict) if one.verdict else None,
            }
            for one in said
        },
        "guards": {
            "false_verdicts_of_sign_flips": flips,
            "shift_with_twice_the_steps": {one.name: found.shifts(study, one.arms) for one in study.plan.hypotheses},
        },
        "results": dict(zip(map(str, study.plan.seeds), study.results, strict=True)),
    }


def sections(study: Study, said: list[Finding], flips: float | None, figures: dict) -> list[Section]:
    plots = {name: Plot(svg, words, SENTENCE[name]) for name, (svg, words) in figures.items()}

    def held(*names: str) -> list[Plot]:
        return [plots[name] for name in names if name in plots]

    claims = [f"{one.hypothesis.name}: {one.hypothesis.claim}." for one in said]
    made = [
        Section("The answer", answer(study, said)),
        Section(
            "Verdicts", [*claims, *(READ if study.plan.inferential else [])], [verdict_table(said)], held("verdicts")
        ),
        Section("Arms", [], arm_tables(study)),
        Section("Few images", curve_notes(study), [curve_table(study)] if study.has("S") else [], held("images")),
        Section("Label information", [], [*pixel_tables(study), *ledger(study)], held("pixels")),
        Section("Parameters", [], parameter_tables(study), held("parameters")),
        Section("Place", [], point_tables(found.keys(study), "marker"), held("distance")),
        Section("Background", [], point_tables(found.backgrounds(study), "test set"), held("backgrounds")),
        Section("Transfer", [], point_tables(found.transfers(study), "encoder"), held("transfer")),
        Section("Guards", guard_notes(study), guard_tables(study, said, flips)),
        Section("The scenes", [], [], held("samples")),
        Section("What was not tested", [f"{text[0].upper()}{text[1:]}." for text in not_tested(study)]),
    ]
    return [one for one in made if one.text or one.tables or one.plots]


def verdict_table(said: list[Finding]) -> Table:
    rows = []
    for one in said:
        about = one.verdict.estimate if one.verdict else None
        effect = Cell(one.value, (about.low, about.high) if about else None, "; ".join(one.reasons))
        adjusted = at_least(one.verdict.p_for_adjusted).removeprefix("= ") if one.verdict else None
        against = at_least(one.verdict.p_against_adjusted).removeprefix("= ") if one.verdict else None
        detectable = one.verdict.detectable if one.verdict else None
        needed = one.verdict.seeds_needed if one.verdict else None
        rows.append([one.hypothesis.name, one.words, effect, adjusted, against, detectable, needed])
    head = [
        "hypothesis",
        "verdict",
        "effect, 95%",
        "p for",
        "p against",
        "detectable",
        f"seeds that tell none from {SMALLEST}",
    ]
    return Table(head, rows, "Primary contrasts")


def arm_tables(study: Study) -> list[Table]:
    """Every arm of a contrast on plain accuracy, by its name."""
    if study.has("S"):
        return []
    rows = [[name, cell(found.point(study.values(name)))] for name in study.results[0]]
    return [Table(["trained on", "accuracy"], rows, "Accuracy")]


def curve_table(study: Study) -> Table:
    table = found.curves(study)
    counts = sorted({count for curve in table.values() for count in curve if count})
    every = "all" if isinstance(study.plan.settings.knobs, Own) else "none seen twice"
    ideal = [0] if any(0 in curve for curve in table.values()) else []
    rows = [
        [ARM_WORDS[arm], *(cell(curve.get(count)) for count in [*counts, *ideal])]
        for arm, curve in table.items()
        if curve
    ]
    return Table(["arm", *map(str, counts), *[every] * len(ideal)], rows, "Accuracy by training images")


def curve_notes(study: Study) -> list[str]:
    """Notes on arms whose so-called ideal world does not bring them as far as fewer images do."""
    notes, every = [], "all images" if isinstance(study.plan.settings.knobs, Own) else "fresh ones in every step"
    for arm, curve in found.curves(study).items():
        words = ARM_WORDS[arm][0].upper() + ARM_WORDS[arm][1:]
        most = max((count for count in curve if count), key=lambda count: curve[count].mean, default=0)
        if 0 in curve and most and curve[most].mean > curve[0].mean + SMALLEST:
            notes.append(
                f"{words}: further with {most} images than with {every} ({curve[most].mean:.2f} against "
                f"{curve[0].mean:.2f}), so that is not the most that it can reach, and its shares of it (A) are too "
                "high; the lead of masks over it, measured in such shares, is too low."
            )
    return notes


def pixel_tables(study: Study) -> list[Table]:
    rows = [
        [str(row["pixels"] or "all"), row["images"], cell(row["accuracy"]), cell(row["miou"])]
        for row in found.pixel_rows(study)
    ]
    return (
        [Table(["labelled pixels", "images", "accuracy", "mIoU"], rows, "U-Net on masks, by what is labelled")]
        if rows
        else []
    )


def ledger(study: Study) -> list[Table]:
    """Table of what labels say, in bits per image: an image's label, few pixels at most, a mask coded without loss, as
    PNG.

    Below: which of these orders the errors best.
    """
    cells = next(iter(study.plan.cells().values()))
    if isinstance(study.plan.settings.knobs, Own) or "S" not in cells:
        return []
    spec = cells["S"]
    images = draw(spec, TRAIN, spec.count, 0.0)
    size = study.plan.settings.knobs.size
    png = np.mean([8 * len(cv2.imencode(".png", mask)[1]) for mask in images.masks])
    rows = [["label of the image", class_bits(images.labels, study.num_classes)["uniform"], 1]]
    pixel = found.bits_of_pixel(study.num_classes)
    rows += [[f"{k} labelled pixel{'s' * (k > 1)}, at most", k * pixel, k] for k in study.plan.settings.pixels]
    coded = mask_bits(images.masks) / len(images.masks)
    rows += [["mask, coded by its neighbours", coded, size**2], ["mask, as PNG", float(png), size**2]]
    tables = [Table(["what is labelled", "bits per image", "labels per image"], rows, "Label information")]
    ordered = [[name, value] for name, value in found.collapse(study, coded).items()]
    caption = "How well one number orders the errors above (N images, k labelled pixels)"
    return [*tables, Table(["", "R² of a falling curve"], ordered, caption)] if ordered else tables


def parameter_tables(study: Study) -> list[Table]:
    """Accuracy by width, and whether fewer parameters bring E nearer to what it can reach."""
    each = found.attained_by_width(study)
    rows = [["A of E", *each.values()]]
    caption = "How near E comes to what it attains with fresh images in every step"
    return [
        *point_tables(found.widths(study), "width"),
        *([Table(["width", *map(str, each)], rows, caption)] if len(each) > 1 else []),
    ]


def point_tables(table: dict[tuple, Point], head: str) -> list[Table]:
    if not table:
        return []
    columns = list(dict.fromkeys(name for _, name in table))
    if len(columns) < 2:  # nothing to compare
        return []
    arms = list(dict.fromkeys(arm for arm, _ in table))
    rows = [[ARM_WORDS[arm], *(cell(table.get((arm, name))) for name in columns)] for arm in arms]
    return [Table([head, *(str(name) or "scratch" for name in columns)], rows, "Accuracy")]


def guard_tables(study: Study, said: list[Finding], flips: float | None) -> list[Table]:
    moved = {one.hypothesis: found.shifts(study, one.hypothesis.arms) for one in said}
    counts = sorted({count for each in moved.values() for count in each})
    rows = [[one.name, *(each.get(count) for count in counts)] for one, each in moved.items() if one.arms]
    second = [[one.hypothesis.name, one.words, one.second or "–", one.second_value] for one in said]
    parity = [[ARM_WORDS[row.pop("arm")], *row.values()] for row in found.parity(study)]
    head = ["arm", "steps", "rate", "parameters", "multiply-adds", "final loss"]
    images = ["hypothesis", *(f"{count} images" for count in counts)]
    tables = [
        Table(head, parity, "Parity"),
        Table(images, rows if counts else [], "By how much twice the steps move its first arm less its second"),
        Table(["hypothesis", "verdict", "on the secondary metric", "effect there"], second, "Metrics"),
        Table(["", "share"], [["sign-flips with a false verdict", flips]], "False verdicts"),
    ]
    return [table for table in tables if table.rows]


def guard_notes(study: Study) -> list[str]:
    """Notes on what the guards are, and what they did not look at."""
    settings, ends = study.plan.settings, (RATES[0], RATES[-1])
    at_an_end = ", ".join(arm for arm in "SCE" if study.has(arm) and settings.rates[arm] in ends)
    unguarded = ", ".join([*(one.name for one in study.plan.hypotheses if not one.arms), "the ideal worlds"])
    notes = [f"A shift of more than {SHIFT} leaves a verdict open. Not guarded so: {unguarded}."]
    if not any(found.shifts(study, one.arms) for one in study.plan.hypotheses):
        notes = ["Not run in this study: the same with twice the steps (medium runs it)."]
    if at_an_end:
        notes.append(
            f"The learning rate of {at_an_end} stands at an end of those that the pilot tried ("
            f"{', '.join(f'{rate:g}' for rate in RATES)}; S also with pixels weighed alike): another might do better."
        )
    return notes


def cell(point: Point | None) -> Cell | None:
    return point and Cell(point.mean, None if point.low is None else (point.low, point.high))
