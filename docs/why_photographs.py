"""The part of docs/why.md on photographs: what was asked of them, what came out, and where drawn scenes disagree."""

from functools import lru_cache

import numpy as np

BEFORE = """\
## On photographs

With this design only in a small trial (below), not converged and not kept. [Results](results.md) has single runs: U-Net
on CamVid film by film and from ever fewer masks, and classifiers from scratch, frozen and fine-tuned beside masks of
the same images.
"""

PLANNED = """\
## On photographs

Planned, and not trained yet: `python -m study run --preset photographs`, plan `{hash}`. Nothing is read from its cells
before all are there. [Results](results.md) has single runs on photographs.
"""

SECTION = """\
## On photographs

{disagreement}{floor}

Frames of CamVid, three films of streets, were shrunk to {height} × {width} pixels and cut into 12 *tiles*. A film is
left out by turns; the networks learn from {count} frames of the other two ({tiles} tiles) and are asked about the tiles
of the third, each against tiles of the same place in the frame, since the place alone says much of what a tile holds.
Two things are asked: the class of a tile's middle pixel (a local decision, of {classes} classes), and which of the
classes the tile holds. "One pixel" and the classifier on that decision are told the same label; only one of them is
told where it is read. *Balanced accuracy* is the share of right answers in each class, averaged over the classes; since
a place has few of the {classes} classes, three as a rule, chance is {chance} and not 1 in {classes}. *Area under the
ROC curve*: how often a tile that holds a class is ranked above one that does not; chance is 0.5.

{primaries}

{arms}

*Yes*: the interval lies above 0, the mean is at least the margin that stands beside, and each film's own difference is
above 0; *no* and *open* as in the table of reasons. *Not testable* was no word of the plan: it was decided afterwards,
from the scores of all networks; by the plan both are open.
0.8 × (all − 1) − (16 − 1) lies above 0 if 16 pixels of a tile give less than 80% of what all
its pixels add to one: then the many pixels are a reason.
Intervals resample clips of {clip} frames and trainings ({trainings} of each arm and film) at
once, and not films: taken as three draws of many, their differences of masks minus labels would give {over_films}.
All scores are low: the networks are small and were trained briefly ({steps} steps of 8 tiles). And three films
of one country are not photographs in general: this says whether what drawn scenes show is seen elsewhere, no more. Not
run: 8 and 128 frames, twice the steps, pretrained encoders. Plan, tuning and machines:
[why-method.md](why-method.md#the-planned-contrast-photographs).
"""

AGREES = (
    "**{number} of {asked} questions is answered: {told}, for these films** ({over_films} if they are taken as three "
    "draws of many; an early trial saw no lead). Why masks lead is not."
)
DISAGREES = "**Where photographs disagree with drawn scenes:** {told}."
NONE_ANSWERED = "**No question is answered.**"
UNCONFIRMED = " Open here, and settled in drawn scenes by an exploratory difference: {told}."

FLOOR = (
    "**Not testable: what was asked about the middle pixel's class.** The score within a place separates no network "
    "from chance (balanced accuracy of the best {best}, chance {chance}), and 16 labelled pixels came out below one, "
    "so shares of a gain mean nothing there."
)
NOT_TESTABLE = "not testable"
QUESTIONS = {  # of each primary: in words; beside it what is nearest among drawn scenes
    "premise": (
        "which classes a tile holds: masks minus labels, the usual classifier",
        "the image's class, 32 images (not 32 frames of 12 tiles): masks minus labels, the usual classifier",
    ),
    "locality": (
        "class of the middle pixel: that one pixel labelled minus the same label told of the whole tile, the usual "
        "classifier",
        "a disc on the spot minus labels, the usual classifier",
    ),
    "pixels, class": (
        "class of the middle pixel: 0.8 × (all pixels − 1 pixel) − (16 pixels − 1 pixel)",
        "the image's class: all pixels minus 16",
    ),
    "pixels, outline": (
        "outline: 0.8 × (all pixels − 1 pixel) − (16 pixels − 1 pixel), mIoU",
        "outline: all pixels minus 16, mIoU",
    ),
}

SHORT = {
    "premise": "classes of a tile: masks minus labels",
    "locality": "class of the middle pixel: that pixel labelled minus the label told of the whole tile",
    "pixels, class": "the same class, 0.8 × (all pixels − 1) − (16 − 1)",
    "pixels, outline": "outline, likewise",
}
ABOUT = {
    "premise": "a lead of masks over labels",
    "locality": "the place",
    "pixels, class": "pixels for the class",
    "pixels, outline": "pixels for the outline",
}
UNITS = {"presence": " area under the ROC curve", "centre": " balanced accuracy", "miou": " mIoU"}
LEARNERS = ("masks", "classifier, presence")
NETWORKS = {
    "masks": "U-Net, all pixels of the masks",
    "16 pixels": "U-Net, 16 pixels of each tile",
    "1 pixel": "U-Net, the middle pixel alone",
    "U-Net, centre": "the same U-Net, the middle pixel's class as the tile's label",
    "classifier, centre": "the usual classifier, the middle pixel's class as the tile's label",
    "U-Net, presence": "the same U-Net, the classes that a tile holds",
    "classifier, presence": "the usual classifier, the classes that a tile holds",
}


UNTESTED = (
    "| On photographs (but for a small trial); with more than 256 images; with networks and encoders in use | – | – | "
    "**not tested** | – |"
)
TESTED = (
    "| On photographs: the same, of tiles of street scenes | Three films, one left out by turns; {count} frames | "
    "{found} | {verdict} | [Planned](#on-photographs), with margins of their own, for these three films alone; "
    "small networks. More images, and networks and encoders in use: not tested |"
)


METHOD = """\
## The planned contrast: photographs

Planned after the drawn scenes were known, and before any cell of its own was trained: arms, frames, steps, seeds
{first} to {last}, the four differences that are judged, and their margins, {margins}. Plan `{hash}`. Seed s leaves out
film s modulo {films} of CamVid's training part (as in the SegNet tutorial; {frames} frames). Its official validation
clip is left out: a hundred frames of seven seconds, seconds away from training frames, are one clip and not ten. Hidden
test frames are not used.

- **Tiles.** Frames of {height} × {width} pixels, {rows} × {columns} tiles of {size} × {size}. The design asked for
  tiles of 64: at that size a training took two minutes of a core, at {size} a quarter of it.
- **Classes.** Those that {prevalent:.0%} of each film's tiles hold, {classes} of 11; the others, and void, weigh
  nothing.
- **Scores** are made within a place. Class of the middle pixel: share of right answers, averaged over the classes that
  {least} tiles of a place have, then over the places. Classes of a tile: how often a tile that holds a class (on
  {present:.0%} of its pixels) outranks one of the same place that does not; a U-Net on masks ranks by the
  class's mean probability.
- **Intervals.** Clips of {clip} frames and trainings are drawn anew at once, {draws} times, in each film, n − 1 of n;
  the error is the deviation of these, and the quantile Student's with Satterthwaite's degrees of freedom. A
  slow test, `tests/test_photographs.py`, simulates studies without an effect, and with one of the margin.
- **Tuning.** Each network's learning rate on seed {pilot_seed}, another draw that leaves out the second film, in
  {pilot_steps} steps and with one arm of each network (masks; the classes that a tile holds); plan of the pilot
  `{pilot}`: {rule}. Chosen: {rates}. A network's other arms have the same rate.
- **Tried before.** A first pilot had the group normalisation of the drawn scenes. At this width it takes each tile's
  own mean away, and with it what tells sky from road: networks on masks stayed near chance. It was stopped, and the
  networks here have batch normalisation.

```bash
python -m study run --preset photographs --data CAMVID/train --void 11 --group-by '{pattern}' --size {size} --out OUT
python -m docs.why --contrast OUT
```

{state}
"""
COMMIT = "The commit is `10bd6a8` before it was put on top of what others had changed meanwhile."
PATTERN = r"^(\d{4}[A-Z0-9]+)"  # of the films' names


def method() -> str:
    """The section of why-method.md; nothing before there is a plan."""
    import gzip
    import json

    from data_pipeline.files import read_json
    from docs.why import CONTRASTS, contrast, markdown
    from docs.why_method import sittings
    from study.films import DRAWS, PRIMARIES
    from study.photographs import CLIP, COLUMNS, PRESENT, PREVALENT, ROWS
    from study.pilot import SEEDS
    from study.plan import PILOTS, PLANS, plan_from
    from study.tiles import LEAST_OF_EACH

    path = PLANS / "photographs.json"
    if not path.exists():
        return ""
    plan, pilot = plan_from(read_json(path), path), read_json(PLANS / "photographs-pilot.json")
    settings, knobs = plan.settings, plan.settings.knobs
    kept = CONTRASTS["photographs"]
    found = json.loads(gzip.decompress(kept.read_bytes())) if kept.exists() else {"results": {}, "sittings": []}
    trained = sum(map(len, found["results"].values()))
    state = (
        markdown(sittings(found["sittings"], trained)) + "\n\n" + COMMIT
        if contrast("photographs")
        else f"Trained so far: {len(found['results'])} of {len(plan.seeds)} seeds. Nothing is read from them before "
        "all are there."
    )
    return METHOD.format(
        first=plan.seeds[0],
        last=plan.seeds[-1],
        margins=", ".join(f"{one.margin:g} ({one.name})" for one in PRIMARIES),
        hash=plan.hash[:12],
        films=knobs.films,
        frames="62, 101 and 204",
        height=ROWS * knobs.size,
        width=COLUMNS * knobs.size,
        rows=ROWS,
        columns=COLUMNS,
        size=knobs.size,
        prevalent=PREVALENT,
        classes=knobs.num_classes,
        least=LEAST_OF_EACH,
        present=PRESENT,
        clip=CLIP,
        draws=DRAWS,
        pilot_seed=SEEDS[-1],
        pilot_steps=read_json(PILOTS / "photographs.json")["settings"]["steps"],
        pilot=pilot["hash"][:12],
        rule=pilot["rule"],
        rates=", ".join(
            f"{'U-Net' if name == 'masks' else 'classifier'} {rate:g}" for name, rate in settings.rates.items()
        ),
        pattern=PATTERN,
        state=state,
    )


def found() -> tuple:
    """Return the study of photographs and its answers, if all of its seeds are trained; else None twice."""
    from docs.why import CONTRASTS, contrast

    photographs = contrast("photographs")
    return (photographs, answered(CONTRASTS["photographs"].read_bytes())) if photographs else (None, None)


@lru_cache(maxsize=1)
def answered(kept: bytes) -> dict:
    """Answer the primaries by what a file of kept cells holds."""
    from docs.why import contrast
    from study.films_report import answers

    return answers(contrast("photographs"))


def phrases() -> dict[str, str]:
    """Return what the page's other parts say of photographs, by the names in their braces."""
    from docs.why import told

    photographs, said = found()
    if not photographs:
        return {
            "photographs_untested": " and on photographs",
            "photographs_advice": "no photograph was tested here in this way",
            "photographs_led": "",
        }
    premise = said["premise"]
    return {
        "photographs_untested": "",
        "photographs_advice": "what of them was asked of photographs is [below](#on-photographs)",
        "photographs_led": ""
        if word(premise) == "yes"
        else f"- **Photographs.** Masks minus the usual classifier, which classes a tile holds: {told(premise)} in "
        f"area under the curve, {word(premise)}: no lead that is sure and large enough, in films that were left out "
        "([below](#on-photographs)).\n",
    }


def claims() -> list[tuple[str, ...]]:
    """Return the rows of the first screen's table: asked, difference, answer, how."""
    from docs.why import told
    from study.films_report import mean_scores
    from study.findings import signed
    from study.photographs import PRESENCE

    photographs, said = found()
    if not photographs:
        return []
    premise, scores = said["premise"], mean_scores(photographs)
    masks, labels = (f"{scores[name][PRESENCE].mean():.2f}" for name in LEARNERS)
    films = ", ".join(signed(value) for value in premise.films)
    how = f"planned, three films of streets ([more](#on-photographs)): {films}; interval over clips and trainings"
    asked = (
        "photographs: which classes a part of a frame holds, masks minus labels",
        f"{told(premise)} in area under the ROC curve ({masks} against {labels}; chance 0.50)",
        f"**{word(premise)}**, for these films",
        how,
    )
    words = words_of(photographs, said)
    rest: dict[str, list[str]] = {}
    for name, each in words.items():
        if name != "premise":
            rest.setdefault(each, []).append(ABOUT[name])
    others = [
        (f"photographs: {', '.join(names)}", "–", f"**{each}**", "planned, the same films")
        for each, names in rest.items()
    ]
    return [asked, *others]


def words_of(photographs, said) -> dict[str, str]:
    """Return each primary's answer: that of its difference, or that its score separates nothing from chance."""
    from study.films import PRIMARIES
    from study.photographs import CENTRE

    score, low = {one.name: one.score for one in PRIMARIES}, bool(floor(photographs))
    return {name: NOT_TESTABLE if low and score[name] == CENTRE else word(one) for name, one in said.items()}


def row() -> str:
    """Return the last row of the table of reasons."""
    from docs.why import told
    from study.films import PRIMARIES

    photographs, said = found()
    if not photographs:
        return UNTESTED
    asked = {one.name: one.score for one in PRIMARIES}
    parts = "; ".join(f"{SHORT[name]}: {told(one)}{UNITS[asked[name]]}" for name, one in said.items())
    return TESTED.format(
        count=photographs.plan.settings.count, found=parts, verdict=verdict(words_of(photographs, said))
    )


def verdict(words: dict[str, str]) -> str:
    """Which answer says what, that of the premise first."""
    abouts: dict[str, list[str]] = {}
    for name, each in words.items():
        abouts.setdefault(each, []).append(ABOUT[name])
    said = "; ".join(f"*{each}* for {', '.join(names)}" for each, names in abouts.items())
    return said.replace("*", "**", 2)


def section(study, pointing) -> str:
    """The text; drawn scenes are ``study`` and ``pointing``."""
    from data_pipeline.files import read_json
    from docs import why
    from docs.why import markdown
    from study.effects import effect
    from study.photographs import CLIP, COLUMNS, ROWS
    from study.plan import PLANS

    photographs, said = found()
    if not photographs:
        path = PLANS / "photographs.json"
        return PLANNED.format(hash=read_json(path)["hash"][:12]) if path.exists() else BEFORE
    settings = photographs.plan.settings
    knobs = settings.knobs
    return SECTION.format(
        disagreement=disagreement(said, study, pointing),
        floor=" " + floor(photographs) if floor(photographs) else "",
        width=COLUMNS * knobs.size,
        height=ROWS * knobs.size,
        count=settings.count,
        classes=knobs.num_classes,
        over_films=why.told(effect(np.array(said["premise"].films))),
        tiles=settings.count * ROWS * COLUMNS,
        chance=f"{chance(photographs):.2f}",
        clip=CLIP,
        trainings=len(photographs.plan.seeds) // knobs.films,
        steps=settings.steps,
        primaries=markdown(primaries(photographs, said, study, pointing)),
        arms=markdown(arms(photographs)),
    )


def drawn(study, pointing) -> dict:
    """Return each primary's nearest difference of drawn scenes."""
    from study.effects import effect

    made = {
        "premise": study.values("S of 32") - study.values("E of 32"),
        "pixels, class": study.values("S") - study.values("S 16 pixels"),
        "pixels, outline": study.values("S", "miou") - study.values("S 16 pixels", "miou"),
    }
    if pointing:
        made["locality"] = pointing.values("mark") - pointing.values("label, classifier")
    return {name: effect(each) for name, each in made.items()}


def word(difference) -> str:
    from study.effects import UNSETTLED

    return difference.word.replace(UNSETTLED, "open")


def disagreement(here, study, pointing) -> str:
    """Say what is the opposite of what drawn scenes gave, and what they settled and photographs do not."""
    from docs.why import told
    from study.effects import effect

    there, here_words = drawn(study, pointing), words_of(found()[0], here)
    words = {name: (here_words[name], word(there[name])) for name in here if name in there}
    against = [name for name, pair in words.items() if set(pair) == {"yes", "no"}]
    alike = [name for name, pair in words.items() if pair[0] == pair[1] != "open"]
    left_open = [name for name, pair in words.items() if pair[0] == "open" and pair[1] != "open"]
    said = [f"{SHORT[name]}: {told(here[name])}, *{words[name][0]}*; drawn: *{words[name][1]}*" for name in against]
    left = [f"{ABOUT[name]} (drawn: *{words[name][1]}*)" for name in left_open]
    first = (
        DISAGREES.format(told="; ".join(said))
        if said
        else NONE_ANSWERED
        if not alike
        else AGREES.format(
            number=len(alike),
            asked=len(here),
            told=", ".join(f"{ABOUT[name]}, *{words[name][0]}*" for name in alike),
            over_films=told(effect(np.array(here["premise"].films))),
        )
    )
    return first + (UNCONFIRMED.format(told="; ".join(left)) if left else "")


def primaries(photographs, said, study, pointing):
    """The planned differences, each film's own, and what drawn scenes say."""
    from docs import why
    from engine.reporting.page import Cell, Table
    from study.films import PRIMARIES
    from study.films_report import SCORE_WORDS
    from study.findings import signed

    there, rows, words = drawn(study, pointing), [], words_of(photographs, said)
    asked = {one.name: one for one in PRIMARIES}
    for name, one in said.items():
        beside = f"{QUESTIONS[name][1]}: {why.told(there[name])}, {word(there[name])}" if name in there else "–"
        films = ", ".join(signed(value) for value in one.films)
        score = f"{asked[name].margin:g} {SCORE_WORDS[asked[name].score]}"
        rows.append(
            [QUESTIONS[name][0], f"**{words[name]}**", Cell(one.value, (one.low, one.high)), films, score, beside]
        )
    head = ["asked", "answer", "difference (95%)", "film by film", "margin", "nearest in drawn scenes"]
    seeds = photographs.plan.seeds
    return Table(
        head, rows, f"Planned: {len(seeds)} trainings of each arm, {photographs.plan.settings.count} frames each"
    )


def chance(photographs) -> float:
    """Return the middle pixel's balanced accuracy of one answer at each place, the mean over places and films."""
    from study.films_report import by_film
    from study.photographs import CENTRE

    places = [film[0]["masks"][CENTRE]["places"] for film in by_film(photographs)]
    return float(np.mean([np.mean([1 / each.count(place) for place in set(each)]) for each in places]))


def commonest(photographs) -> float:
    """Return the mIoU of each film's most frequent class, predicted everywhere; the mean over the films."""
    from study.films_report import by_film

    made = []
    for film in by_film(photographs):
        pixels = np.array(film[0]["masks"]["pixels"]).sum(axis=(0, 2))  # (K,), of each true class
        made.append(pixels.max() / pixels.sum() / np.count_nonzero(pixels))
    return float(np.mean(made))


def floor(photographs) -> str:
    """Say that no arm tells the middle pixel's class, if that is so; else nothing."""
    from study.films_report import mean_scores
    from study.hypotheses import OFF_THE_FLOOR
    from study.photographs import CENTRE

    best = max(float(each[CENTRE].mean()) for each in mean_scores(photographs).values() if CENTRE in each)
    least = chance(photographs)
    return "" if best > least + OFF_THE_FLOOR else FLOOR.format(best=f"{best:.2f}", chance=f"{least:.2f}")


def arms(photographs):
    from engine.reporting.page import Table
    from study.films_report import HEADS, mean_scores

    made = mean_scores(photographs)
    rows = [
        [words, *(float(made[name][what].mean()) if what in made[name] else None for what in HEADS)]
        for name, words in NETWORKS.items()
    ]
    caption = (
        "Means over films and trainings: balanced accuracy, area under the ROC curve, mIoU. By chance: "
        f"{chance(photographs):.3f} and 0.500; mIoU of each film's most frequent class everywhere: "
        f"{commonest(photographs):.3f}"
    )
    return Table(["trained on", *HEADS.values()], rows, caption)
