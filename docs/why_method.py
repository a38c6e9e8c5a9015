"""docs/why-method.md: plans and verdicts as they were fixed, guards, tuning, how the world was chosen, and machines."""

import gzip
import json

import numpy as np

from docs.why import AGAIN, CONTRASTS, EARLIER, HERE, contrast, filled, markdown, mean, of, read

BEGINNING = """\
# How the answer was made

This page belongs to [Why are a few hundred masks enough?](why.md). Both are made by `python -m docs.why` from the
cells that `python -m study` trained, kept in `docs/why*.json.gz`; a test makes them again and compares. Here the
networks have letters. A *cell* is one training with its scores, an *arm* a network with what it learns from; *tied* in
a cell's name says that it was trained where each class has its own background, *moved* beside a learning rate that the
network begins with another's encoder, and a *preset* is a named set of settings, hypotheses and seeds.


- **S** is the U-Net trained on masks, **C** the same U-Net trained on the image's class alone, **E** its encoder
  with global pooling, the usual classifier. S and C have the same weights to train; E has no decoder and another
  head, and begins with the same encoder weights.
- The *ideal world*: as many steps, in which no image comes twice ({fresh:,} images). **A** is the share of the way
  from chance (of mIoU: from an empty mask) to what the arm reaches there. The first plan judged by A. It is a poor
  scale where the ideal world is not converged: C ends it with a training loss of {c_loss:.2f} and accuracies of
  {c_least:.2f} to {c_most:.2f}, and comes further with {most} images; so does S in mIoU ({s_most:.3f} against
  {s_ideal:.3f}). The answer therefore uses plain accuracy.
- The secondary metric of accuracy is the geometric mean of the right class's probability; of mIoU, mean Dice.
"""

AS_PLANNED = """\
## What was planned, and how it came out

Settings, contrasts and margins were fixed before the cells were looked at (plan `{hash}`). *Supported*: p for is
below 0.05 and the effect at least 0.05 (of H1: nearer to 0 than that). *Not supported*: p against is below 0.05.
Both are adjusted for the number of hypotheses (Holm); intervals are not. Where a guard (below) finds its fault, the
verdict is inconclusive whatever p says. *Detectable*: the effect that so many worlds find with {power:.0%}
power, at the
strictest level that Holm may ask for. Effects of H6 and H1 are differences of A;
of H2, {enough} × (A of all pixels − A of {few}) − (A of {some} pixels − A of {few}); of H3 and H4, differences
of accuracy; of H5,
of the share of the error.

{claims}
"""

CORRECTIONS = """\
What these verdicts do not carry, and what the answer says instead:

- **H6a, H6b** are about one chosen world and {count} images. In A the lead of S over E is {a_leads}; in plain
  accuracy it is {lead128} with {most} images. More images: the planned contrast of difficulty (below).
- **H1** stayed open by two rules of the plan: a shift with twice the steps that was measured with {most} images,
  and A, whose ideal for C is too low, so that C's shares are too high and the difference too small. In accuracy S
  less C is {s_c}, with twice the steps {s_c_long}.
- **H2** depends on the metric. {count} pixels do as well as all for the image's class; for the outline they do not
  (all less {count}: {miou} mIoU).
- **H3** was not tested: its manipulation failed. S does not lead where the spot is in the object (S {s_near}, C
  {c_near}) and does not move with distance (S {s_far}); only C moves ({c_far}). By p alone, {h3_against}
  against, it would be {h3_alone}; one guard left it
  open: the shift with twice the steps, named beside its verdict, which was measured in scenes without a spot. What
  its cells do show, masks on the spot against masks of the object, is in the answer, as exploratory.
- **H4** is about C, a U-Net with mean pooling. The usual classifier falls no further than S: {e_s_fall}. Asked
  again of other worlds it was supported on accuracy and not on the secondary metric: it depends on the metric.
- **H5** divides errors by those of the doubled training, which for S is no better than the plain one ({s_long}). In
  accuracy fine-tuning adds {e_gain} for E and {s_gain} for S.
- The hypotheses H6, H2 and H4 had been looked at on the same seeds in the smaller study (below): on seeds 0 to 11
  they are not confirmatory, and they count again in this family of {family}.
- How many more seeds would have settled a verdict is not shown: on a scale that divides by a noisy ideal that
  number says more of the scale than of the question.
"""

WORLD = """\
## How the world was chosen

The world was made for the question, on seeds 90001 and 90002, which the study does not use. A first kind of scene,
with one large striped target and nothing like it beside, was too easy: labels alone brought the classifier to its
ceiling. Textures, decoys, the change of colours and the number of images were then altered (three decoys became
five, 32 images 16) until, in the ideal world, each arm came {least_range} above chance ({ranges}), and E stayed
well below that with the images at hand: where a classifier is at its ceiling nothing can lead it. These trials
showed every arm's scores, the lead of masks among them, and it is such worlds, not all, that the verdicts are
about.

## Tuning

The first study chose learning rates on the same two seeds, of {tried}: {rates}; S's pixels {weighed}. S had
{s_trials} trials, because both weightings of its classes were tried, C and E {other_trials} each. {ends}
"""

RUN = """\
## How it was run

```bash
python -m study pilot --out STUDY --jobs 2
python -m study run --preset {preset} --out STUDY --jobs {jobs}
python -m docs.why STUDY/study.json
```

Plan `{hash}`, seeds {first} to {last}, {trainings} trainings.

{sittings}

{packages}
A training repeats bit for bit on one machine, and on another it does not (see above): whole seeds were trained on one
kind of machine.

## What was not tested

{untested}
"""

CONTRAST = """\
## The planned contrast: {name}

Planned after the first study's cells were known, and before any of its own was trained: arms, seeds {first} to
{last}, accuracy, {judged}, and the margin, 0.05. Plan `{hash}`. Every arm was tuned on the seeds 90001 and 90002{tuned}
on as many learning rates as any other (plan of the pilot `{pilot}`, in `study/plans/`): {rule}. Chosen: {rates}.{more}

```bash
python -m study pilot --preset {name} --out {folder} --jobs {jobs}
python -m study run --preset {name} --out {folder} --jobs {jobs}
python -m docs.why --contrast {folder}
```

{state}
"""

JUDGED = {
    "pointing": "the difference that is judged (a disc on the spot less the same disc at a random place)",
    "difficulty": "the two differences that are judged (masks less the usual classifier with 256 images and 8 decoys; "
    "that lead with 64 images and 8 decoys, less the same without decoys)",
}
TUNED = {"pointing": "", "difficulty": ", in scenes with 3 decoys and with 64 images,"}
MORE = {
    "pointing": "",
    "difficulty": " The first draft had 3 decoys, 16 and 512 images too, and asked the first difference of 3 decoys. "
    "It was cut before any of its cells was trained, for want of time.",
}


def method_page(study, said, kept: dict) -> str:
    from docs import why_photographs

    parts = [
        beginning(study),
        as_planned(study, said),
        guards(study, said),
        planned("pointing"),
        planned("difficulty"),
        why_photographs.method(),
        world(study),
    ]
    parts += [information(study), before(study, said), again(), how(study, kept)]
    return filled("\n\n".join(part.strip("\n") for part in parts if part)) + "\n"


def beginning(study) -> str:
    from study.cells import BATCH

    settings, ideal = study.plan.settings, study.values("C ideal")
    return BEGINNING.format(
        fresh=settings.steps * BATCH,
        c_loss=np.mean([one["C ideal"]["loss"] for one in study.results]),
        c_least=ideal.min(),
        c_most=ideal.max(),
        s_most=study.values(f"S of {settings.counts[-1]}", "miou").mean(),
        s_ideal=study.values("S ideal", "miou").mean(),
        most=settings.counts[-1],
    )


def as_planned(study, said) -> str:
    from study.hypotheses import ENOUGH, FEW, SOME
    from study.verdicts import POWER

    claims = "\n".join(f"- {one.hypothesis.name}: {one.hypothesis.claim}." for one in said)
    planned = AS_PLANNED.format(
        hash=study.plan.hash[:12], claims=claims, power=POWER, enough=ENOUGH, few=FEW, some=SOME
    )
    return "\n\n".join([planned.strip(), markdown(verdicts(said)), corrections(study, said).strip()])


def verdicts(said):
    """The table of verdicts without the seeds that would settle them."""
    from dataclasses import replace

    from study.report import verdict_table

    table = verdict_table(said)
    return replace(table, head=table.head[:-1], rows=[row[:-1] for row in table.rows])


def corrections(study, said) -> str:
    from docs.why import fall, gain
    from study.findings import leads, signed

    v, h3 = study.values, next(each.verdict for each in said if each.hypothesis.name == "H3")
    return CORRECTIONS.format(
        count=study.count,
        most=study.plan.settings.counts[-1],
        a_leads=", ".join(f"{signed(value)} with {count}" for count, value in leads(study).items()),
        lead128=of(v("S of 128") - v("E of 128")),
        s_c=of(v("S") - v("C")),
        s_c_long=of(v("S long") - v("C long")),
        miou=of(v("S", "miou") - v("S 16 pixels", "miou")),
        h3_against=f"{h3.p_against_adjusted:.3f}",
        h3_alone=h3.words,
        s_near=mean(v("S key near")),
        s_far=mean(v("S key far")),
        c_near=mean(v("C key near")),
        c_far=mean(v("C key far")),
        e_s_fall=of(fall(study, "E") - fall(study, "S")),
        s_long=of(v("S long") - v("S")),
        e_gain=of(gain(study, "E")),
        s_gain=of(gain(study, "S")),
        family=len(said),
    )


def guards(study, said) -> str:
    from study.findings import FLIPS, false_verdicts
    from study.report import curve_notes, guard_notes, guard_tables

    notes = "\n".join(f"- {note}" for note in [*curve_notes(study), *guard_notes(study)])
    tables = guard_tables(study, said, false_verdicts(study))
    flips = (
        f"Sign-flips: each world's own number gets a sign at random, as if there were no effect, {FLIPS} times; "
        f"a false "
        "verdict is a hypothesis that is supported all the same."
    )
    return "\n\n".join(["## Guards", notes, *map(markdown, tables), flips])


def information(study) -> str:
    from study.report import ledger

    effective = (
        "k_eff is how many independent pixels k labelled ones are worth: k / (1 + (k − 1)ρ), with ρ the correlation of "
        "pixels' classes within an image."
    )
    return "\n\n".join(["## How many bits a label holds", *map(markdown, ledger(study)), effective])


def planned(name: str) -> str:
    """A contrast's plan, its pilot, and the verdicts once its seeds are trained."""
    from data_pipeline.files import read_json
    from study.plan import PILOTS, PLANS, PRESETS

    plan, pilot = read_json(PLANS / f"{name}.json"), read_json(PLANS / f"{name}-pilot.json")
    tuned = read_json(PILOTS / f"{name}.json")["settings"]
    seeds, kept = PRESETS[name].usual_seeds, json.loads(gzip.decompress(CONTRASTS[name].read_bytes()))
    return CONTRAST.format(
        name=name,
        folder=name.upper(),
        jobs=kept["sittings"][-1]["jobs"] if kept["sittings"] else 1,
        first=seeds[0],
        last=seeds[-1],
        hash=plan["hash"][:12],
        pilot=pilot["hash"][:12],
        judged=JUDGED[name],
        tuned=TUNED[name],
        more=MORE[name],
        rule=pilot["rule"],
        rates=", ".join(f"{arm} {rate:g}" for arm, rate in tuned["rates"].items()),
        state=state(name, kept),
    )


def state(name: str, kept: dict) -> str:
    """Verdicts, accuracies and what trained them."""
    from docs.why import arms
    from docs.why_difficulty import table
    from study.findings import findings

    study = contrast(name)
    if not study:
        done, seeds = len(kept["results"]), len(kept["plan"]["seeds"])
        return f"Trained so far: {done} of {seeds} seeds. Nothing is read from them before all are there."
    first, settings = read()[0], study.plan.settings
    notes = {
        "pointing": f"It trains for {settings.steps} steps. In the first study masks of the spot reached "
        f"{mean(first.values('S on key near'))} in {first.plan.settings.steps} steps, so the arms here are not at "
        "their ceilings, and their order may be another after longer training.",
        "difficulty": f"It trains for {settings.steps} steps; each network is scored on {settings.tests} new images.",
    }
    accuracies = markdown(arms(study) if name == "pointing" else table(study))
    trained = markdown(sittings(kept["sittings"], sum(map(len, study.results))))
    return "\n\n".join([notes[name], markdown(verdicts(findings(study))), accuracies, trained])


def world(study) -> str:
    from study.hypotheses import LEAST_RANGE
    from study.pilot import RATES
    from study.report import guard_notes

    settings = study.plan.settings
    pilot = json.loads((HERE.parent / "study" / "pilots" / "small.json").read_text(encoding="utf-8"))
    return WORLD.format(
        least_range=LEAST_RANGE,
        ranges=", ".join(f"{arm} {value:.2f}" for arm, value in pilot["ranges"].items()),
        tried=", ".join(f"{rate:g}" for rate in RATES),
        rates=", ".join(f"{name} {rate:g}" for name, rate in settings.rates.items()),
        weighed="balanced by class" if settings.balanced else "all alike",
        s_trials=2 * len(RATES),
        other_trials=len(RATES),
        ends=guard_notes(study)[-1],
    )


def before(study, said) -> str:
    """What the smaller study said, and how far its trainings differ from the same ones here."""
    small, small_said, kept = read(EARLIER)
    commits = ", ".join(dict.fromkeys(f"`{one['git_commit'][:7]}`" for one in kept["sittings"]))
    here = {one.hypothesis.name: one.words for one in said}
    changed = [
        f"{one.hypothesis.name} is {here[one.hypothesis.name]} here, and was {one.words} there"
        for one in small_said
        if here.get(one.hypothesis.name, one.words) != one.words
    ]
    return f"""\
## The smaller study before it

A smaller study (preset {small.plan.preset}, plan `{small.plan.hash[:12]}`) was looked at while the rest of this one was
still to be trained. Settings and seeds are the same: this one is no replication of it. What it said (cells:
`docs/{EARLIER.name}`; commit {commits}):

{markdown(verdicts(small_said))}

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


def again() -> str:
    """What other seeds say of what had stayed open."""
    if not AGAIN.exists():
        return ""
    from study.findings import backgrounds
    from study.report import point_tables

    study, said, kept = read(AGAIN)
    seeds, names = study.plan.seeds, ",".join(study.plan.names)
    flags = f"--preset {study.plan.preset} --hypothesis {names} --seeds {seeds[0]}-{seeds[-1]}"
    tables = [verdicts(said), *point_tables(backgrounds(study), "test set")]
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
    from study.words import not_tested

    plan, sat = study.plan, kept["sittings"]
    trainings = sum(map(len, study.results))
    return RUN.format(
        preset=plan.preset,
        jobs=sat[-1]["jobs"],
        hash=plan.hash[:12],
        first=plan.seeds[0],
        last=plan.seeds[-1],
        trainings=trainings,
        sittings=markdown(sittings(sat, trainings)),
        packages="".join(f"- {where}: {told}\n" for where, told in packages_of(sat).items()),
        untested="\n".join(f"- {text[0].upper()}{text[1:]}." for text in not_tested(study)),
    )


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
