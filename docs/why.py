"""docs/why.md and docs/why-method.md, their figures and every number in them, from the cells of finished studies.

python -m docs.why                               # from the cells that are kept beside it
python -m docs.why STUDY/study.json              # takes over another study's cells first
python -m docs.why --again STUDY/study.json      # those of a replication
python -m docs.why --contrast FOLDER             # those of a contrast's folder, as far as they are trained
"""

import gzip
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from data_pipeline.command import UserError, run_command

HERE = Path(__file__).parent
KEPT, PAGE, METHOD, IMAGES = HERE / "why.json.gz", HERE / "why.md", HERE / "why-method.md", HERE / "images" / "why"
EARLIER = HERE / "why-small.json.gz"  # the smaller study, which was looked at first
AGAIN = HERE / "why-again.json.gz"  # a replication, on other seeds
CONTRASTS = {name: HERE / f"why-{name}.json.gz" for name in ("pointing", "difficulty", "photographs")}
DIFFERENCES = 21  # of drawn scenes: what their intervals are adjusted for
COLORS = 200  # of a figure's palette, which keeps it small


@dataclass(frozen=True)
class Config:
    cells: Positional[Path | None] = None
    """A finished study's study.json; its cells replace those that are kept."""
    again: Path | None = None
    """A replication's."""
    contrast: Path | None = None
    """The folder of a contrast; of seeds that are trained whole the cells are kept, and others wait."""


def main(config: Config) -> None:
    if config.cells:
        take_over(config.cells, KEPT)
    if config.again:
        take_over(config.again, AGAIN)
    if config.contrast:
        take_over_contrast(config.contrast)
    if not KEPT.exists():
        raise UserError(f"{KEPT} is missing; first: python -m study run, then python -m docs.why STUDY/study.json")
    write()
    print(f"written from {KEPT.name}. Next: read {PAGE}")


def take_over(path: Path, kept: Path) -> None:
    """Keep a study's cells and environment; the same bytes from the same study."""
    if not path.exists():
        raise UserError(f"{path} is missing; python -m study report --out {path.parent} writes it")
    keep(json.loads(path.read_text(encoding="utf-8")), kept)


def take_over_contrast(folder: Path) -> None:
    """Keep the cells of the seeds that are trained whole, with the plan that was fixed before."""
    from data_pipeline.files import read_json
    from study.cells import result_of
    from study.plan import plan_from
    from study.report import sittings

    path = Path(folder) / "plan.json"
    if not path.exists():
        raise UserError(f"{path} is missing; python -m study plan writes it, with --preset pointing or difficulty")
    told = read_json(path)
    plan = plan_from(told, path)
    results = {
        str(seed): {name: result_of(folder, spec) for name, spec in each.items()} for seed, each in plan.cells().items()
    }
    whole = {seed: each for seed, each in results.items() if None not in each.values()}
    keep({"plan": told, "results": whole, "sittings": sittings(folder)}, CONTRASTS[plan.preset])


def keep(content: dict, path: Path) -> None:
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def write() -> None:
    """Both pages and their figures."""
    from docs.why_figures import draw

    study, said, kept = read()
    draw(study, said, contrast("pointing"), IMAGES)
    for path in IMAGES.glob("*.png"):
        smaller(path)
    for path, text in pages(study, said, kept).items():
        path.write_text(text, encoding="utf-8")


def pages(study, said, kept: dict) -> dict[Path, str]:
    from docs.why_method import method_page

    return {PAGE: page(study), METHOD: method_page(study, said, kept)}


def read(path: Path | None = None) -> tuple:
    """The study, its findings, and all that its file holds; of the one that is kept, unless another is named."""
    from study.findings import findings, study_from

    path = path or KEPT
    kept = json.loads(gzip.decompress(path.read_bytes()))
    study = study_from(kept, path)
    return study, findings(study), kept


def contrast(name: str):
    """A contrast's study, where all of its seeds are trained; else None."""
    from study.findings import study_from

    path = CONTRASTS[name]
    if not path.exists():
        return None
    kept = json.loads(gzip.decompress(path.read_bytes()))
    return study_from(kept, path) if len(kept["results"]) == len(kept["plan"]["seeds"]) else None


def smaller(path: Path) -> None:
    """The same PNG in few colours; what shows images keeps all of its."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    if path.stem != "samples":
        image = image.quantize(COLORS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


# The page's numbers


@dataclass(frozen=True)
class Row:
    """A difference that speaks for or against a reason, signed so that above 0 the reason is right."""

    reason: str
    words: str
    each: np.ndarray  # float (seeds,)
    measure: str = "accuracy"
    about: str = ""  # in the table's verdict
    decides: bool = False  # whether it asks for the reason as it was put: why masks lead labels
    disputed: bool = False  # whether another run says otherwise, so that nothing is settled

    @property
    def effect(self):
        from study.effects import effect

        return effect(self.each)

    @property
    def word(self) -> str:
        from study.effects import UNSETTLED, YES

        word = "open" if self.disputed or self.effect.word == UNSETTLED else self.effect.word
        return word if word != YES or self.firm else f"{YES}, weakly"

    @property
    def firm(self) -> bool:
        """Whether the interval would lie above 0 if it were adjusted for all differences of the page (Bonferroni)."""
        from scipy.special import stdtrit

        from study.verdicts import LEVEL

        free = len(self.each) - 1
        wider = stdtrit(free, 1 - LEVEL / 2 / DIFFERENCES) / stdtrit(free, 1 - LEVEL / 2)
        return self.effect.value - wider * (self.effect.value - self.effect.low) > 0


def rows(study, pointing) -> list[Row]:
    """What the forest plot shows, reason by reason."""
    from docs import why_difficulty

    again = read(AGAIN)[0]

    def less(first: str, second: str, measure: str = "accuracy") -> np.ndarray:
        return study.values(first, measure) - study.values(second, measure)

    def lead(special: str = "", test: str = "independent") -> np.ndarray:
        return study.values(f"S{special}", test=test) - study.values(f"E{special}", test=test)

    made = [
        Row("parameters", "the same U-Net: labels minus masks", less("C", "S"), about="", decides=True),
        Row(
            "parameters", "classifier: few weights minus many", less("E width 4", "E width 16"), about="", decides=True
        ),
        Row(
            "pixels",
            "class of the image: all pixels minus 16",
            less("S", "S 16 pixels"),
            about="the class",
            decides=True,
        ),
        Row("pixels", "outline: all pixels minus 16", less("S", "S 16 pixels", "miou"), "mIoU", "the outline"),
        Row(
            "place",
            "mask of the spot minus mask of the object around it",
            less("S on key near", "S key near"),
            about="masks of the spot against masks of the object around it",
        ),
        Row(
            "place",
            "the same, the spot 8 pixels beside the object",
            less("S on key far", "S key far"),
            about="or beside it",
        ),
        Row(
            "background",
            "lead over the classifier: with such backgrounds minus without",
            lead(" tied", "conflicting") - lead(),
            about="the lead of masks over the usual classifier",
            decides=True,
        ),
        Row(
            "background",
            "extra fall of the usual classifier",
            fall(study, "E") - fall(study, "S"),
            about="the classifier's extra fall",
        ),
        Row(
            "background",
            "extra fall of the U-Net on labels",
            fall(study, "C") - fall(study, "S"),
            about="that of the U-Net on labels in the first worlds",
        ),
        Row(
            "background",
            f"the same, in {len(again.plan.seeds)} other worlds",
            fall(again, "C") - fall(again, "S"),
            about="that of the U-Net on labels in other worlds",
        ),
        Row("transfer", "gain of the usual classifier", gain(study, "E"), about="the classifier's gain"),
        Row(
            "transfer",
            "its gain minus that of the U-Net on masks",
            gain(study, "E") - gain(study, "S"),
            about="whether it gains more than the U-Net",
            decides=True,
        ),
    ]
    made[-2:-2] = why_difficulty.rows(contrast("difficulty"))
    return [*made[:4], *pointed(pointing), *made[4:]] if pointing else made


def pointed(pointing) -> list[Row]:
    """The planned difference, and beside it those to labels in the same worlds."""

    def less(other: str) -> np.ndarray:
        return pointing.values("mark") - pointing.values(other)

    same = "same worlds: disc on the spot minus labels, "
    return [
        Row(
            "place",
            "planned: disc on the spot minus disc at a random place",
            less("random place"),
            about="the disc on the spot against one at a random place",
        ),
        Row(
            "place",
            same + "the usual classifier",
            less("label, classifier"),
            about="the disc against labels with the usual classifier",
            decides=True,
        ),
        Row(
            "place",
            same + "the same U-Net",
            less("label"),
            about="the disc against labels with the same U-Net",
            decides=True,
            disputed=True,
        ),
    ]


def fall(study, arm: str) -> np.ndarray:
    """From backgrounds as in training to those of another class."""
    return study.values(f"{arm} tied", test="matched") - study.values(f"{arm} tied", test="conflicting")


def gain(study, arm: str, way: str = "fine-tuned", measure: str = "accuracy") -> np.ndarray:
    return study.values(f"{arm} {way}", measure) - study.values(arm, measure)


def told(effect) -> str:
    """+0.32 (0.25 to 0.38); of an end that rounds to 0, on which side it lies."""
    from engine.reporting.page import decimal
    from study.findings import signed

    def end(value: float) -> str:
        return decimal(value, 2) if round(value, 2) or not value else f"just {'above' if value > 0 else 'below'} 0"

    return f"{signed(effect.value)} ({end(effect.low)} to {end(effect.high)})"


def of(each: np.ndarray) -> str:
    """The same, of each seed's number."""
    from study.effects import effect

    return told(effect(each))


def mean(each: np.ndarray) -> str:
    return f"{each.mean():.2f}"


def percent(each: np.ndarray) -> str:
    return f"{each.mean():.0%}"


def percent_with_interval(each: np.ndarray) -> str:
    """87% (84 to 90)."""
    from study.effects import effect

    one = effect(each)
    return f"{one.value:.0%} ({100 * max(one.low, 0):.0f} to {100 * min(one.high, 1):.0f})"


# The page


def page(study) -> str:
    """The text of why.md."""
    from docs import why_photographs
    from docs import why_text as text

    pointing = contrast("pointing")
    numbers = numbers_of(study, pointing)
    place = text.POINTED if pointing else text.UNPOINTED
    numbers |= {"place": place.format(**numbers), "claims": claims(study, pointing)}
    parts = [
        text.TITLE.format(**numbers),
        text.ANSWER.format(**numbers),
        reasons(study, pointing),
        text.WHAT_TO_DO.format(**numbers),
        text.NOWHERE.format(**numbers),
        why_photographs.section(study, pointing),
        text.COMPARED.format(**numbers),
        text.LITERATURE.format(**numbers),
        details(study, pointing),
    ]
    return filled("\n\n".join(part.strip("\n") for part in parts)) + "\n"


def numbers_of(study, pointing) -> dict[str, str]:
    """Every number of the page's sentences."""
    from docs import why_difficulty, why_photographs
    from docs.why_text import NETWORKS, ORDER, PLANNED
    from study.cells import BATCH
    from study.effects import worth
    from study.findings import findings
    from study.hypotheses import FAR, RHO
    from study.pilot import RATES
    from study.words import QUESTION, labels_for

    settings, knobs, values = study.plan.settings, study.plan.settings.knobs, study.values
    labels = {
        n: values(cell) for n, cell in {8: "E of 8", 16: "E", 32: "E of 32", 64: "E of 64", 128: "E of 128"}.items()
    }
    near = mark_and_mask(study)
    numbers = {
        "question": QUESTION,
        "size": knobs.size,
        "classes": study.num_classes,
        "chance": f"{1 / study.num_classes:.2f}",
        "decoys": knobs.decoys,
        "tests": f"{settings.tests:,}",
        "count": settings.count,
        "steps": settings.steps,
        "seeds": len(study.plan.seeds),
        "right_seeds": "the same",
        "far": round(FAR * knobs.size),
        "tied": f"{RHO + (1 - RHO) / study.num_classes:.0%}",
        "all_pixels": f"{knobs.size**2:,}",
        "mask_pixels": f"{near['mask']:.0f}",
        "mark_pixels": f"{near['mark']:.0f}",
        "mask_away": f"{near['away']:.0%}",
        "few_of_many": f"{4 * settings.counts[-1]:,}",
        "many_of_few": f"{settings.count * knobs.size**2:,}",
        "weights_unet": f"{study.results[0]['S']['parameters'] / 1e6:.2f}",
        "weights_classifier": f"{study.results[0]['E']['parameters'] / 1e6:.2f}",
        "weights_least": f"{study.results[0]['E width 4']['parameters'] / 1e6:.2f}",
        "weights_most": f"{study.results[0]['E width 16']['parameters'] / 1e6:.2f}",
        "masks_pc": percent(values("S")),
        "masks_ci": percent_with_interval(values("S")),
        "classifier_ci": percent_with_interval(values("E")),
        "mark_ci": percent_with_interval(values("S on key near")),
        "object_ci": percent_with_interval(values("S key near")),
        "mark_labels_ci": percent_with_interval(values("C key near")),
        "pixels_class": of(values("S") - values("S 16 pixels")),
        "masks128_pc": percent(values("S of 128")),
        "classifier128_pc": percent(values("E of 128")),
        "fresh": f"{BATCH * settings.steps:,}",
        "ideal_labels": mean(values("C ideal")),
        "most_labels": mean(values(f"C of {settings.counts[-1]}")),
        "ideal_loss": f"{np.mean([each['C ideal']['loss'] for each in study.results]):.2f}",
        "lead_ideal": of(values("S ideal") - values("E ideal")),
        "at_an_end": listed([NETWORKS[arm] for arm in NETWORKS if settings.rates[arm] in (RATES[0], RATES[-1])]),
        "trials_masks": 2 * len(RATES),  # of both weightings of the classes
        "trials_labels": len(RATES),
        "planned_steps": "",
        "planned_tests": "",
        "order": "",
        "classifier_pc": percent(values("E")),
        "unet_labels_pc": percent(values("C")),
        "pixels4_pc": percent(values("S 4 pixels")),
        "pixels16_pc": percent(values("S 16 pixels")),
        "lead8": of(values("S of 8") - values("E of 8")),
        "lead16": of(values("S") - values("E")),
        "lead32": of(values("S of 32") - values("E of 32")),
        "lead64": of(values("S of 64") - values("E of 64")),
        "lead128": of(values("S of 128") - values("E of 128")),
        "lead_tied": of(values("S tied") - values("E tied")),
        "lead_conflicting": of(values("S tied", test="conflicting") - values("E tied", test="conflicting")),
        "fall_masks": mean(fall(study, "S")),
        "fall_classifier": mean(fall(study, "E")),
        "fall_labels": mean(fall(study, "C")),
        "narrow_wide": of(values("S width 4") - values("E width 16")),
        "most": settings.counts[-1],
        "more_images": of(values(f"S 4 pixels of {settings.counts[-1]}") - values("S")),
        "sixteen_miou": mean(values("S 16 pixels", "miou")),
        "all_miou": mean(values("S", "miou")),
        "four_miou": mean(values(f"S 4 pixels of {settings.counts[-1]}", "miou")),
        "gain_classifier": of(gain(study, "E")),
        "gain_masks": of(gain(study, "S")),
        "frozen_classifier": of(gain(study, "E", "frozen")),
        "frozen_masks": of(gain(study, "S", "frozen")),
        "selffer_classifier": of(gain(study, "E", "selffer")),
        "selffer_masks": of(gain(study, "S", "selffer")),
        "object_labels": of(values("S key near") - values("C key near")),
        "object_labels_far": of(values("S key far") - values("C key far")),
        "worth16": labels_for(worth(values("S"), labels, 16)),
        "worth8": labels_for(worth(values("S of 8"), labels, 8)),
        "worth16_round": f"{worth(values('S'), labels, 16).value:.0f}",
        "worth8_round": f"{worth(values('S of 8'), labels, 8).value:.0f}",
        "sixteen_share": f"{values('S 16 pixels', 'miou').mean() / values('S', 'miou').mean():.0%}",
        "differences": DIFFERENCES,
        "right_steps": f"{settings.steps} steps.",
        "object_labels_planned": of(values("S key near") - values("C key near")),
    }
    numbers |= {
        f"errors{n}": times_the_errors(values(cell), labels[n]) for n, cell in {16: "S", 128: "S of 128"}.items()
    }
    numbers |= why_difficulty.numbers(contrast("difficulty"))
    verdicts = {each.hypothesis.name: each.words for each in findings(study)}
    numbers |= {f"planned_{name}": verdicts[each] for name, each in PLANNED.items()}
    words = list(verdicts.values())
    numbers["planned_words"] = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words), reverse=True))
    numbers["claims"] = ""
    numbers |= why_photographs.phrases()
    if pointing:
        points = {name: percent_with_interval(pointing.values(name)) for name in pointing.results[0]}
        numbers |= {f"p_{name.replace(' ', '_').replace(',', '')}_ci": told for name, told in points.items()}
        planned = pointing.plan.settings
        numbers |= {
            "p_seeds": len(pointing.plan.seeds),
            "right_seeds": f"{len(pointing.plan.seeds)} others",
            "p_steps": planned.steps,
            "right_steps": f"{planned.steps} steps. Hollow: the earlier, exploratory run of {settings.steps} steps.",
            "object_labels_planned": of(pointing.values("object") - pointing.values("label")),
            "p_labels_difference": of(pointing.values("mark") - pointing.values("label")),
            "planned_steps": f" ({planned.steps} steps in the planned contrast of the discs)",
            "planned_tests": f" ({planned.tests} in that contrast)",
            "mark_800": mean(values("S on key near")),
            "mark_labels_800": mean(values("C key near")),
            "mark_labels_difference": of(values("S on key near") - values("C key near")),
        }
        numbers["order"] = ORDER.format(**numbers)
    return numbers


def times_the_errors(masks: np.ndarray, labels: np.ndarray) -> str:
    """How many errors the labels leave for each that the masks leave."""
    left = (1 - masks).mean()
    return f"{(1 - labels).mean() / left:.1f}" if left else "infinitely"


def listed(names: list[str]) -> str:
    """A, b and c."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part) or "none"


def mark_and_mask(study, count: int = 200) -> dict[str, float]:
    """Of scenes with the spot in the object: pixels of both, and the share of the mask more than 3 pixels from it."""
    from dataclasses import replace

    import cv2

    from study.cells import TRAIN
    from study.scenes import scene

    knobs, mask, mark, away = replace(study.plan.settings.knobs, cue="key"), [], [], []
    for i in range(count):
        drawn = scene(study.plan.seeds[0], TRAIN, i, knobs, label=i % study.num_classes)
        distance = cv2.distanceTransform((drawn.key == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        mask.append((drawn.mask > 0).sum())
        mark.append((drawn.key > 0).sum())
        away.append((distance[drawn.mask > 0] > 3).mean())
    return {"mask": np.mean(mask), "mark": np.mean(mark), "away": np.mean(away)}


def claims(study, pointing) -> str:
    """The table of the first screen: what was asked, the difference, the answer, and how it was asked."""
    from docs import why_difficulty, why_photographs
    from docs.why_text import CLAIMS_HEAD
    from study.effects import effect
    from study.findings import findings

    explored = f"exploratory, {len(study.plan.seeds)} worlds"
    again, difficulty = read(AGAIN)[0], contrast("difficulty")

    def line(asked: str, each: np.ndarray, how: str, word: str = "") -> tuple:
        return asked, told(effect(each)), f"**{word or Row('', '', each).word}**", how

    attained = next(each for each in findings(study) if each.hypothesis.name == "H6b")
    lines = [
        line(
            "masks minus labels, 16 images, the usual classifier",
            study.values("S") - study.values("E"),
            f"{explored}; a related measure, fixed before but asked of worlds that had been seen, was {attained.words}",
        ),
        line(
            "the same among 8 look-alikes (*decoys*), 256 images",
            why_difficulty.lead(difficulty, 8, 256),
            f"planned, {len(difficulty.plan.seeds)} worlds",
        ),
        line(
            "what decoys add to that lead, 64 images",
            why_difficulty.lead(difficulty, 8, 64) - why_difficulty.lead(difficulty, 0, 64),
            f"planned, {len(difficulty.plan.seeds)} worlds",
        ),
    ]
    if pointing:
        seeds, steps = len(pointing.plan.seeds), pointing.plan.settings.steps
        later = study.values("S on key near") - study.values("C key near")
        lines += [
            line(
                "place: discs of labels on the spot minus discs at random places, which teach something wrong",
                pointing.values("mark") - pointing.values("random place"),
                f"planned, {seeds} worlds",
            ),
            line(
                "place: discs on the spot minus image labels, the usual classifier",
                pointing.values("mark") - pointing.values("label, classifier"),
                f"exploratory, {seeds} worlds",
            ),
            (
                "the same, image labels with the same U-Net",
                f"{of(pointing.values('mark') - pointing.values('label'))} after {steps} steps; {of(later)} after "
                f"{study.plan.settings.steps}, in other worlds",
                "**open**",
                f"exploratory, {seeds} and {len(study.plan.seeds)} worlds: two runs disagree",
            ),
        ]
    lines += [
        line("weights: the same U-Net, labels minus masks", study.values("C") - study.values("S"), explored),
        line("pixels: all minus 16, for the class", study.values("S") - study.values("S 16 pixels"), explored),
        line(
            "pixels: all minus 16, for the outline (mIoU)",
            study.values("S", "miou") - study.values("S 16 pixels", "miou"),
            explored,
        ),
        line(
            "how much further a U-Net on labels falls for misleading backgrounds than one on masks",
            fall(again, "C") - fall(again, "S"),
            f"planned, {len(again.plan.seeds)} worlds; in the probability of the right class it is not confirmed",
        ),
        *why_photographs.claims(),
    ]
    return "\n".join([CLAIMS_HEAD.strip("\n"), *("| " + " | ".join(cells) + " |" for cells in lines)])


def reasons(study, pointing) -> str:
    """The table of the reasons, as the asker and the answerers put them."""
    from docs import why_photographs
    from docs.why_text import REASONS, REASONS_HEAD

    numbers = numbers_of(study, pointing)
    by_reason = {}
    for row in rows(study, pointing):
        by_reason.setdefault(row.reason, []).append(row)
    lines = [REASONS_HEAD.format(**numbers).strip("\n")]
    for name, (claim, done, trust) in REASONS.items():
        trust = trust[bool(pointing)] if isinstance(trust, tuple) else trust
        found = "; ".join(
            f"{row.words}: {told(row.effect)}{' mIoU' * (row.measure == 'mIoU')}" for row in by_reason[name]
        )
        cells = (claim, done, found, verdict_in_words(by_reason[name]), trust)
        lines.append("| " + " | ".join(cell.format(**numbers) for cell in cells) + " |")
    return "\n".join([*lines, why_photographs.row()])


def verdict(made: list[Row]) -> str:
    """The word of the differences that decide, or open where they do not agree."""
    words = {row.word for row in made if row.decides}
    return words.pop() if len(words) == 1 else "open"


def verdict_in_words(made: list[Row]) -> str:
    """The verdict, and what each difference says; of those that all decide and agree, the verdict alone."""
    word, abouts = verdict(made), {}
    for row in made:
        abouts.setdefault(row.word, []).append(row.about)
    if len(abouts) == 1:
        return f"**{word}**"
    first = sorted(abouts.items(), key=lambda each: each[0] != word)
    return f"**{word}**: " + "; ".join(f"*{each}* for {', '.join(names)}" for each, names in first)


def details(study, pointing) -> str:
    """The figures and tables behind each reason."""
    from docs import why_difficulty
    from docs.why_text import CAPTIONS, DETAILS
    from study import findings as found
    from study import report

    numbers = numbers_of(study, pointing)
    tables: dict[str, Callable[[], list]] = {
        "images": lambda: [report.curve_table(study)],
        "parameters": lambda: report.point_tables(found.widths(study), "channels of the first level"),
        "pixels": lambda: report.pixel_tables(study)[:1],
        "place": lambda: (
            ([arms(pointing)] if pointing else []) + report.point_tables(named(found.keys(study), numbers), "spot")
        ),
        "decoys": lambda: [why_difficulty.table(contrast("difficulty"))],
        "background": lambda: report.point_tables(found.backgrounds(study), "backgrounds of the test"),
        "transfer": lambda: report.point_tables(found.transfers(study), "start of the encoder"),
    }
    parts = [
        "## Details, reason by reason",
        f"![{CAPTIONS['forest'][0]}](images/why/forest.png)",
        CAPTIONS["forest"][1],
    ]
    for name, (title, text, picture) in DETAILS.items():
        made = [with_plain_heads(table, numbers) for table in tables[name]()]
        parts += [f"### {title}", text.format(**numbers).strip("\n"), *map(markdown, made)]
        parts += [f"![{CAPTIONS[picture][0]}](images/why/{picture}.png)", CAPTIONS[picture][1].format(**numbers)]
    return "\n\n".join(part for part in parts if part)


def with_plain_heads(table, numbers: dict):
    """The report's table with heads that need no glossary."""
    from dataclasses import replace

    from docs.why_text import HEADS

    return replace(table, head=[HEADS.get(head, head).format(**numbers) for head in table.head])


def named(table: dict[tuple, object], numbers: dict) -> dict[tuple, object]:
    """With words for near and far."""
    words = {"near": "in the object", "far": f"{numbers['far']} pixels beside it"}
    return {(arm, words[name]): point for (arm, name), point in table.items()}


def arms(pointing):
    """The planned contrast's arms."""
    from docs.why_text import ARMS
    from engine.reporting.page import Cell, Table
    from study.effects import effect

    made = [(words, effect(pointing.values(name))) for name, words in ARMS.items()]
    table = [[words, Cell(one.value, (one.low, one.high))] for words, one in made]
    seeds = pointing.plan.seeds
    return Table(["trained on", "accuracy"], table, f"Planned: worlds {seeds[0]} to {seeds[-1]}, 16 images each")


def filled(text: str) -> str:
    """Markdown whose paragraphs and list entries fill their lines; tables, code, headings and pictures stay."""
    lines, paragraph, code = [], [], False

    def close() -> None:
        for entry in paragraph:
            below = "  " if entry.startswith("- ") else ""
            lines.extend(
                textwrap.wrap(entry, 120, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)
            )
        paragraph.clear()

    for line in text.split("\n"):
        code ^= line.startswith("```")
        if code or not line.strip() or line.startswith(("```", "|", "!", "#")):
            close()
            lines.append(line)
        elif paragraph and not line.startswith("- "):
            paragraph[-1] += " " + line.strip()
        else:
            paragraph.append(line)
    close()
    return "\n".join(lines)


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


if __name__ == "__main__":
    run_command(main, Config, __doc__)
