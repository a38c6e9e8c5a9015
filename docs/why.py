"""docs/why.md, its figures and every number in it, from the cells of a finished study.

python -m docs.why                               # from docs/why.json.gz
python -m docs.why STUDY/study.json              # takes over another study's cells first
python -m docs.why --again STUDY/study.json      # those of a replication
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from data_pipeline.command import UserError, run_command

HERE = Path(__file__).parent
KEPT, PAGE, IMAGES = HERE / "why.json.gz", HERE / "why.md", HERE / "images" / "why"
EARLIER = HERE / "why-small.json.gz"  # the smaller study, which was looked at first
AGAIN = HERE / "why-again.json.gz"  # a replication, on other seeds
COLORS = 200  # of a figure's palette, which keeps it small

INTRODUCTION = """\
# Why are a few hundred masks enough?

*{question}* ([Cross Validated, question 370726](https://stats.stackexchange.com/q/370726))

This page is made by `python -m docs.why` from the cells of a study that `python -m study` ran, kept in
`docs/why.json.gz`; a test makes it again and compares. [A chapter of the tutorial](tutorial.md) runs such studies, on
drawn scenes or on your own images.
"""

METHOD = """\
## What was compared

**S** is U-Net, trained on masks; **C** is the same U-Net, trained on the image's label alone (the mean of its pixels'
logits); **E** is the same network's encoder with global pooling and a dense layer, the usual classifier. S and C have
the same weights to train; all three see the same images in the same order, for as many steps, from the same first
weights, with cross-entropy. The image's label follows from its mask, so that all three can be asked for it: S answers
with the class that has most probability, summed over the pixels. Each seed is a world: its own colours, textures,
training and test images.

- An image has {size} × {size} pixels and one of {classes} classes (chance: {chance:.2f}), told by the texture of its
  target alone; {decoys} decoys have the classes' textures too and are none. {tests:,} images test. Where nothing else
  is said, {count} images train, for {steps} steps of 8, and the first level of the network has {width} channels (its
  width).
- The *ideal world*: fresh images in every step, for as many steps. What an arm reaches there is called what it can
  reach; A is the share of the way there from chance (of masks: from an empty one). Longer training might bring more.
- The secondary metric: of accuracy, the geometric mean of the right class's probability; of mIoU, mean Dice.
- k_eff: labelled pixels, discounted for being alike within an image. Bits: what labels say at most.
- Marker near, far: what tells the class stands in the target, or {far} pixels beside it.
- Backgrounds matched: each class has its own, in {matched:.0%} of the images, as in training; independent: they tell
  nothing; conflicting: they are another class's.
- Long: twice the steps. Selffer: once more, with the encoder that the same training ended with, all else drawn anew.
  Frozen, fine-tuned: with the encoder of a classifier that was trained on fresh images of a sibling world, with other
  textures, colours and images.
"""


@dataclass(frozen=True)
class Config:
    cells: Positional[Path | None] = None
    """A finished study's study.json; its cells replace those that are kept."""
    again: Path | None = None
    """A replication's."""


def main(config: Config) -> None:
    if config.cells:
        take_over(config.cells, KEPT)
    if config.again:
        take_over(config.again, AGAIN)
    if not KEPT.exists():
        raise UserError(f"{KEPT} is missing; first: python -m study run, then python -m docs.why STUDY/study.json")
    write()
    print(f"written from {KEPT.name}. Next: read {PAGE}")


def take_over(path: Path, kept: Path) -> None:
    """Keep a study's cells and environment; the same bytes from the same study."""
    if not path.exists():
        raise UserError(f"{path} is missing; python -m study report --out {path.parent} writes it")
    text = json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":"), sort_keys=True)
    kept.write_bytes(gzip.compress(text.encode(), mtime=0))


def write() -> None:
    """The page and its figures."""
    from study.figures import draw

    study, said, kept = read()
    for name in draw(study, said, IMAGES):
        (IMAGES / f"{name}.svg").unlink()
        smaller(IMAGES / f"{name}.png")
    PAGE.write_text(page(study, said, kept), encoding="utf-8")


def read(path: Path | None = None) -> tuple:
    """The study, its findings, and all that its file holds; of the one that is kept, unless another is named."""
    from study.findings import findings, study_from

    path = path or KEPT
    kept = json.loads(gzip.decompress(path.read_bytes()))
    study = study_from(kept, path)
    return study, findings(study), kept


def smaller(path: Path) -> None:
    """The same PNG in few colours; what shows images keeps all of its."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    if path.stem != "samples":
        image = image.quantize(COLORS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def page(study, said, kept: dict) -> str:
    """The text of why.md."""
    from study.figures import figures
    from study.findings import false_verdicts
    from study.report import SENTENCE, sections
    from study.words import QUESTION

    shows = {name: (name, words) for name, (_, _, words) in figures(study, said).items()}
    parts = [INTRODUCTION.format(question=QUESTION)]
    for section in sections(study, said, false_verdicts(study), shows):
        tables = "\n\n".join(markdown(table) for table in section.tables)
        pictures = "\n\n".join(
            f"![{shows[plot.svg][1]}](images/why/{plot.svg}.png)\n\n{SENTENCE[plot.svg]}" for plot in section.plots
        )
        text = "\n".join(f"- {one}" for one in section.text)
        parts.append("\n\n".join(part for part in (f"## {section.title}", text, tables, pictures) if part))
        if section.title == "The answer":
            parts[-1] += "".join(f"\n- Asked again, on other seeds: {sentence}" for sentence in answered_again())
            parts.append(method(study))
    parts += [before(study, said), again(), how(study, kept)]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def method(study) -> str:
    """METHOD with the study's settings."""
    from study.hypotheses import FAR, RHO

    settings, knobs = study.plan.settings, study.plan.settings.knobs
    return METHOD.format(
        size=knobs.size,
        classes=study.num_classes,
        chance=1 / study.num_classes,
        decoys=knobs.decoys,
        tests=settings.tests,
        count=settings.count,
        steps=settings.steps,
        width=settings.width,
        far=round(FAR * knobs.size),
        matched=RHO + (1 - RHO) / study.num_classes,
    )


def markdown(table) -> str:
    """A table of the page as Markdown, its intervals in brackets, its notes below."""
    from engine.reporting.page import Cell, shown

    def text(value) -> str:
        if not isinstance(value, Cell):
            return shown(value)
        marked = shown(value.value, value.digits) + (f" ({value.range})" if value.interval else "")
        return marked + (f" [{1 + table.notes.index(value.note)}]" if value.note else "")

    rows = [table.head, ["---"] * len(table.head), *([text(value) for value in row] for row in table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, start=1)]
    return "\n".join([f"**{table.caption}**", "", *lines, *([""] if notes else []), *notes])


def before(study, said) -> str:
    """What the smaller study said, and how far its trainings differ from the same ones here."""
    from study.report import verdict_table

    small, small_said, kept = read(EARLIER)
    commits = ", ".join(dict.fromkeys(f"`{one['git_commit'][:7]}`" for one in kept["sittings"]))
    here = {one.hypothesis.name: one.words for one in said}
    changed = [
        f"{one.hypothesis.name} is {here[one.hypothesis.name]} here, and was {one.words} there"
        for one in small_said
        if here.get(one.hypothesis.name, one.words) != one.words
    ]
    return f"""\
## Before it

A smaller study (preset {small.plan.preset}, plan `{small.plan.hash[:12]}`) was looked at while the rest of this one was
still to be trained. Settings and seeds are the same: this one is no replication of it. What it said (cells:
`docs/{EARLIER.name}`; commit {commits}):

{markdown(verdict_table(small_said))}

{"; ".join(changed) or "No verdict is another here"}. The smaller study adjusts its p-values for {len(small_said)}
hypotheses, this one for {len(said)}; and some of its trainings were done again here, on another machine:

{markdown(repeated(small, study))}
"""


def repeated(small, study):
    """By the measures that verdicts are read from: how far trainings with the same settings and seed differ."""
    from engine.reporting.page import Table

    columns = dict.fromkeys(
        column
        for one in small.plan.hypotheses
        for column in one.columns
        if column.measure in ("accuracy", "miou") and study.has(column.cell)
    )
    rows = []
    for column in columns:
        pairs = [(new, old) for new, old in zip(study.results, small.results, strict=False)]
        told = [
            column.read(new, study.num_classes) - column.read(old, study.num_classes)
            for new, old in pairs
            if new[column.cell] != old[column.cell]
        ]
        if told:
            rows.append([*column, len(told), np.mean(told), np.std(told), np.abs(told).max()])
    head = ["training", "measure", "backgrounds", "seeds", "mean", "standard deviation", "largest"]
    return Table(head, rows, "Here, less there")


def answered_again() -> list[str]:
    """The replication's answer to what it was asked, in a sentence for each hypothesis."""
    if not AGAIN.exists():
        return []
    from study.words import answer

    study, said, _ = read(AGAIN)
    return answer(study, said)[: len(said)]


def again() -> str:
    """What other seeds say of what had stayed open."""
    if not AGAIN.exists():
        return ""
    from study.findings import backgrounds
    from study.report import point_tables, verdict_table

    study, said, kept = read(AGAIN)
    seeds, names = study.plan.seeds, ",".join(study.plan.names)
    flags = f"--preset {study.plan.preset} --hypothesis {names} --seeds {seeds[0]}-{seeds[-1]}"
    tables = [verdict_table(said), *point_tables(backgrounds(study), "test set")]
    tables.append(sittings(kept["sittings"], sum(map(len, study.results))))
    shown = "\n\n".join(map(markdown, tables))
    return f"""\
## Asked again

What the two studies disagree on was asked once more, of worlds that neither had seen. The hypothesis, the seeds and
their number were fixed before any of them was trained (plan `{study.plan.hash[:12]}`).

```bash
python -m study run {flags} --out AGAIN --jobs 2
python -m docs.why --again AGAIN/study.json
```

{shown}
"""


def how(study, kept: dict) -> str:
    """Commands, commits, seeds, device and hours."""
    from study.hypotheses import LEAST_RANGE
    from study.pilot import RATES

    plan, sat = study.plan, kept["sittings"]
    packages = "".join(f"- {where}: {told}\n" for where, told in packages_of(sat).items())
    jobs = sat[-1]["jobs"]
    trainings = sum(map(len, study.results))
    tried = ", ".join(f"{rate:g}" for rate in RATES)
    weighed = "balanced by class" if plan.settings.balanced else "all alike"
    rates = ", ".join(f"{name} {rate:g}" for name, rate in plan.settings.rates.items())
    pilot = json.loads((HERE.parent / "study" / "pilots" / "small.json").read_text(encoding="utf-8"))
    ranges = ", ".join(f"{arm} {value:.2f}" for arm, value in pilot["ranges"].items())
    return f"""\
## How it was run

```bash
python -m study pilot --out STUDY --jobs 2
python -m study run --preset {plan.preset} --out STUDY --jobs {jobs}
python -m docs.why STUDY/study.json
```

Plan `{plan.hash[:12]}`. Settings, contrasts and margins were fixed before the smaller study's results were looked at;
the rest was trained after that. Seeds {plan.seeds[0]} to {plan.seeds[-1]}, {trainings} trainings.

The world was made for the question, on seeds 90001 and 90002, which the study does not use. Textures, decoys, the
change of colours and the number of images were altered (three decoys became five, 32 images 16) until, with fresh
images in every step, each arm came {LEAST_RANGE} above chance ({ranges}), and E stayed well below that with the images
at hand: where a classifier is at its ceiling nothing can lead it. These trials showed every arm's scores, the lead of
masks among them, and it is such worlds, not all, that the verdicts are about. On the same seeds the learning rates were
chosen, of {tried}: {rates}; S's pixels {weighed}.

{markdown(sittings(sat, trainings))}

{packages}
A training repeats bit for bit on one machine, and on another it does not (see above): whole seeds were trained on one
kind of machine.

Intervals are 95%, over seeds, and not adjusted for the number of hypotheses; p-values are adjusted (Holm).

Real photographs: [results](results.md) has U-Net on CamVid by sequence, from ever fewer masks, and the
transfer-learning classifier beside it.
"""


def packages_of(sat: list[dict]) -> dict[str, str]:
    """Machine → versions of the packages there."""
    found = {}
    for one in sat:
        versions = ", ".join(f"{name} {version}" for name, version in one["packages"].items() if version)
        found[f"{machine(one)}, Python {one['python']}"] = versions
    return found


def machine(one: dict) -> str:
    return one["processor"] if one["device"].startswith("CPU") else one["device"]


def sittings(sat: list[dict], needed: int):
    """What trained which seeds, for how long: a row for each kind of machine, in the order of the last sittings."""
    from engine.reporting.page import Table

    kinds = {}
    for one in sat:
        kinds.setdefault((machine(one), one["python"], one["jobs"], one["git_commit"][:7]), []).append(one)
    rows = []
    for (where, python, jobs, commit), each in kinds.items():
        seeds = sorted(set().union(*(one["seeds"] for one in each)))
        trained = sum(one["trainings"] for one in each)
        hours = f"{sum(one['jobs'] * one['seconds'] for one in each) / 3600:.1f}"
        rows.append([where, ranges_of(seeds), trained, len(each), jobs, hours, python, commit])
    twice = sum(row[2] for row in rows) - needed
    head = ["machine", "seeds", "trainings", "sittings", "processes of one thread", "process hours", "Python", "commit"]
    caption = "What trained" + (f"; {twice} trainings were done twice, and the later ones count" if twice else "")
    return Table(head, rows, caption)


def ranges_of(numbers: list[int]) -> str:
    """0, 1, 2, 4 → 0–2, 4."""
    runs = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first}–{last}" if last > first else str(first) for first, last in runs)


if __name__ == "__main__":
    run_command(main, Config, __doc__)
