"""From the cells of a plan to what is said: verdicts with their guards, and the tables behind the figures.

Everything here is arithmetic on what the cells hold, so that the same cells give the same words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from data_pipeline.command import UserError
from data_pipeline.files import read_json
from engine.reporting.page import decimal

from .cells import result_of
from .effects import Worth, worth
from .hypotheses import LEAST_RANGE, SHIFT, Column, Hypothesis, attained
from .own import Own
from .plan import Plan, plan_from
from .verdicts import INCONCLUSIVE, LEVEL, NOT_SUPPORTED, SUPPORTED, Contrast, Verdict, decide, judge, pseudo_values

LEAST_LOCATED = 0.5  # of a user's masks that say where in the image their class is
FLIPS = 400
NOT_INFERENTIAL = "not inferential"  # the words of every finding where the plan has too few seeds
OPPOSITE = {SUPPORTED: NOT_SUPPORTED, NOT_SUPPORTED: SUPPORTED}
WAYS = ("", "long", "selffer", "frozen", "fine-tuned")


@dataclass(frozen=True)
class Study:
    """A plan, and each seed's results by the cells' names, in the plan's order."""

    plan: Plan
    results: list[dict[str, dict]]

    @property
    def num_classes(self) -> int:
        return self.plan.settings.knobs.num_classes

    @property
    def count(self) -> int:
        return self.plan.settings.count

    def has(self, *cells: str) -> bool:
        return all(cell in self.results[0] for cell in cells)

    def values(self, cell: str, measure: str = "accuracy", test: str = "independent") -> np.ndarray:
        """float (seeds,)."""
        return np.array([Column(cell, measure, test).read(one, self.num_classes) for one in self.results])


def load(folder: Path) -> Study:
    """The study of a folder.

    Raises:
        UserError: where the plan or a cell is missing.
    """
    path = Path(folder) / "plan.json"
    if not path.exists():
        raise UserError(f"{path} is missing; first: python -m study run --preset smoke --out {folder}")
    plan = plan_from(read_json(path), path)
    found = [{name: result_of(folder, spec) for name, spec in each.items()} for each in plan.cells().values()]
    missing = sum(result is None for each in found for result in each.values())
    if missing:
        raise UserError(
            f"{folder}: {missing} of {sum(map(len, found))} cells are missing, and a verdict needs them all; next: the "
            f"same python -m study run --preset {plan.preset} with which they were begun"
        )
    return Study(plan, found)


def study_from(kept: dict, path: Path) -> Study:
    """Read a study from study.json."""
    plan = plan_from(kept["plan"], path)
    return Study(plan, [kept["results"][str(seed)] for seed in plan.seeds])


@dataclass(frozen=True)
class Finding:
    """A hypothesis with its verdict; of one seed, value alone. reasons: why the verdict is not what its p says.

    second: the verdict's words on the secondary metric; second_value: the statistic's.
    """

    hypothesis: Hypothesis
    value: float | None
    words: str
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    second: str = ""
    second_value: float | None = None


def findings(study: Study) -> list[Finding]:
    """The verdict on each of the plan's hypotheses."""
    asked = study.plan.hypotheses
    numbers, second = (
        {one.name: one.numbers(study.results, study.num_classes, second) for one in asked} for second in (False, True)
    )
    if not study.plan.inferential:
        return [Finding(one, number(one.statistic(numbers[one.name])), NOT_INFERENTIAL) for one in asked]
    verdicts, others = judged(study, numbers), judged(study, second)
    return [
        Finding(one, None, INCONCLUSIVE, reasons=("one of its scores has no range to be measured in",))
        if one.name not in verdicts
        else finding(study, one, numbers[one.name], verdicts[one.name], others.get(one.name))
        for one in asked
    ]


def judged(study: Study, numbers: dict[str, np.ndarray]) -> dict[str, Verdict]:
    """Verdicts by name, of the hypotheses whose statistic is a number."""
    asked = study.plan.hypotheses
    able = [one for one in asked if np.isfinite(pseudo_values(numbers[one.name], one.statistic)).all()]
    contrasts = [one.contrast(study.plan.overlap) for one in able]
    return {one.name: each for one, each in zip(contrasts, judge(contrasts, numbers), strict=True)}


def finding(study: Study, one: Hypothesis, numbers: np.ndarray, verdict: Verdict, other: Verdict | None) -> Finding:
    capped = [*no_place(study, one), *too_little_range(study, one), *too_few_steps(study, one)]
    unfit = one.unfit(numbers, verdict.words == SUPPORTED)
    capped += [unfit] if unfit else []
    second = other.words if other else ""
    words = INCONCLUSIVE if capped else verdict.words
    if second and second == OPPOSITE.get(words):
        capped.append(f"metric-dependent: {second} on the secondary metric")
    return Finding(
        one, verdict.estimate.value, words, verdict, tuple(capped), second, other.estimate.value if other else None
    )


def no_place(study: Study, one: Hypothesis) -> list[str]:
    """Return True for a user's own masks of one class each, which hold no more than the label: no lead is one of
    masks."""
    knobs = study.plan.settings.knobs
    if isinstance(knobs, Own) and knobs.located < LEAST_LOCATED:
        return [f"{1 - knobs.located:.0%} of the masks are of one class alone, and say no more than the image's label"]
    return []


def too_little_range(study: Study, one: Hypothesis) -> list[str]:
    """The arms that the ideal world does not bring far enough above their floor, where they are measured by it."""
    ranges = {}
    for ideal, floor in zip(one.columns, one.columns[1:], strict=False):  # a floor stands behind its ideal
        if ideal.cell.endswith(" ideal"):
            above = study.values(ideal.cell, ideal.measure) - study.values(floor.cell, floor.measure)
            ranges[ideal.cell] = float(above.mean())
    return [
        f"{cell}: {value:.2f} above its floor, {LEAST_RANGE} is wanted"
        for cell, value in ranges.items()
        if value < LEAST_RANGE
    ]


def too_few_steps(study: Study, one: Hypothesis) -> list[str]:
    """The numbers of images at which twice the steps move the hypothesis's arms apart."""
    arms = " less ".join(arm for arm, _ in one.arms)
    where = " in scenes without a marker" if any(" key " in cell for cell in one.cells) else ""
    return [
        f"twice the steps move {arms} by {signed(moved)} with {count} images{where}"
        for count, moved in shifts(study, one.arms).items()
        if abs(moved) > SHIFT
    ]


def signed(value: float, digits: int = 2) -> str:
    """A difference as people print it: +0.12, −0.07, and 0.00 without a sign."""
    text = decimal(value, digits)
    return text if text.startswith("−") or not float(text) else f"+{text}"


def shifts(study: Study, arms: tuple[tuple[str, str], ...]) -> dict[int, float]:
    """By how much twice the steps move one arm's measure, or the first's beside the second's; by training images."""
    moved, steps_of = {}, {study.count: ("", " long")}
    for most in study.plan.settings.counts[-1:]:
        steps_of[most] = (f" of {most}", f" long of {most}")
    for count, (plain, long) in steps_of.items():
        if arms and study.has(*(arm + steps for arm, _ in arms for steps in (plain, long))):
            each = [(study.values(arm + long, by) - study.values(arm + plain, by)).mean() for arm, by in arms]
            moved[count] = float(np.subtract.reduce(each))
    return moved


def false_verdicts(study: Study, flips: int = FLIPS) -> float | None:
    """The share of sign-flips of the seeds' own numbers after which any hypothesis is supported.

    Under the truth of no effect a seed's number is as likely as its negative. Where equality is the claim, the flipped
    numbers lie about the smallest effect of interest.
    """
    asked = [one for one in study.plan.hypotheses if study.plan.inferential]
    pseudo = {one.name: pseudo_values(one.numbers(study.results, study.num_classes), one.statistic) for one in asked}
    able = [one for one in asked if np.isfinite(pseudo[one.name]).all()]
    if not able:
        return None
    rng, false = np.random.default_rng(0), 0
    family = [
        Contrast(one.name, lambda numbers: float(numbers.mean()), equal=one.equal, overlap=study.plan.overlap)
        for one in able
    ]
    for _ in range(flips):
        signs = rng.choice([-1, 1], len(study.results))
        flipped = {
            one.name: signs * (pseudo[one.name] - one.equal * pseudo[one.name].mean()) + one.equal * contrast.smallest
            for one, contrast in zip(able, family, strict=True)
        }
        false += any(words == SUPPORTED for *_, words in decide(family, flipped))
    return false / flips


# What the figures show


@dataclass(frozen=True)
class Point:
    """A mean over seeds with its 95% interval, None for one seed."""

    mean: float
    low: float | None
    high: float | None


def point(values: np.ndarray) -> Point:
    n, mean = len(values), float(values.mean())
    if n < 2:
        return Point(mean, None, None)
    reach = float(stats.t.ppf(1 - LEVEL / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Point(mean, mean - reach, mean + reach)


def curves(study: Study) -> dict[str, dict[int, Point]]:
    """Return each arm's accuracy by training images; 0 for the ideal world."""
    settings = study.plan.settings
    cells = {count: f" of {count}" for count in settings.counts} | {settings.count: "", 0: " ideal"}
    return {
        arm: {
            count: point(study.values(arm + cells[count])) for count in sorted(cells) if study.has(arm + cells[count])
        }
        for arm in "SCE"
    }


def pixel_rows(study: Study) -> list[dict]:
    """Rows of S by labelled pixels and images: accuracy and mIoU; None for all pixels."""
    settings = study.plan.settings
    cells = [(settings.count, k, f"S {k} pixels") for k in settings.pixels] + [(settings.count, None, "S")]
    cells += [(least, 64, f"S 64 pixels of {least}") for least in settings.counts[:1]]
    cells += [(most, 4, f"S 4 pixels of {most}") for most in settings.counts[-1:]]
    cells += [(count, None, f"S of {count}") for count in settings.counts]
    return [
        {"images": count, "pixels": k, "accuracy": point(study.values(cell)), "miou": point(study.values(cell, "miou"))}
        for count, k, cell in cells
        if study.has(cell)
    ]


def collapse(study: Study, mask_bits: float) -> dict[str, float]:
    """Return how well one number orders S's errors over images and labelled pixels: R² of a falling curve through the
    points.

    Of N images with k labelled pixels: N; N·k; N·bits, what the labels say at most; N·k_eff, with k_eff = k/(1+(k−1)ρ)
    and ρ the correlation within an image of its pixels' classes, half of them the target's.

    Args:
        mask_bits: of a whole mask, coded without loss.
    """
    rows, every = pixel_rows(study), study.plan.settings.knobs.size**2
    if len({(row["images"], row["pixels"]) for row in rows}) < 5:
        return {}
    images = np.array([row["images"] for row in rows], float)
    pixels = np.array([row["pixels"] or every for row in rows], float)
    bits = np.minimum(pixels * bits_of_pixel(study.num_classes), mask_bits)
    between = (1 - 1 / study.num_classes) / 4
    within = between / (1 - 1 / 4 - 1 / (4 * study.num_classes))
    tried = {"N": images, "N·k": images * pixels, "N·bits": images * bits}
    tried["N·k_eff"] = images * pixels / (1 + (pixels - 1) * within)
    errors = np.array([1 - row["accuracy"].mean for row in rows])
    return {name: falling(np.log(x), errors) for name, x in tried.items()}


def bits_of_pixel(num_classes: int) -> float:
    """Return the most bits of one labelled pixel, where half of them lie on the target: that or background, then which
    class."""
    return 1 + np.log2(num_classes) / 2


def falling(x: np.ndarray, y: np.ndarray) -> float:
    """R² of the best curve that never rises."""
    from sklearn.isotonic import IsotonicRegression

    told = IsotonicRegression(increasing=False).fit_transform(x, y)
    return float(1 - ((y - told) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def table_of(study: Study, cells: Iterable[tuple], measure: str = "accuracy") -> dict[tuple, Point]:
    """(key…, cell) or (key…, cell, test) → key → point, of the cells that there are."""
    found = {}
    for *key, cell, test in cells:
        if study.has(cell):
            found[tuple(key)] = point(study.values(cell, measure, test))
    return found


def widths(study: Study) -> dict[tuple, Point]:
    """(arm, width) → accuracy."""
    settings = study.plan.settings
    cells = [(arm, settings.width, arm, "independent") for arm in "SCE"]
    cells += [(arm, width, f"{arm} width {width}", "independent") for arm in "SCE" for width in settings.widths]
    return table_of(study, sorted(cells))


def attained_by_width(study: Study) -> dict[int, float]:
    """A of E by width: whether fewer parameters help the classifier."""
    settings = study.plan.settings
    cells = {width: (f"E width {width}", f"E width {width} ideal") for width in settings.widths}
    cells |= {settings.width: ("E", "E ideal")}
    return {
        width: attained(study.values(plain), study.values(ideal), study.values(plain, "chance"))
        for width, (plain, ideal) in sorted(cells.items())
        if study.has(plain, ideal)
    }


def keys(study: Study) -> dict[tuple, Point]:
    """(arm, near or far) → accuracy."""
    cells = [(arm, name, f"{arm} key {name}", "independent") for arm in ("S", "S on", "C") for name in ("near", "far")]
    return table_of(study, cells)


def backgrounds(study: Study) -> dict[tuple, Point]:
    """(arm, test set) → accuracy, of what was trained where background and class go together."""
    return table_of(
        study, [(arm, t, f"{arm} tied", t) for arm in "SCE" for t in ("matched", "independent", "conflicting")]
    )


def transfers(study: Study) -> dict[tuple, Point]:
    """(arm, way) → accuracy."""
    return table_of(study, [(arm, way, f"{arm} {way}".strip(), "independent") for arm in "SE" for way in WAYS])


def leads(study: Study) -> dict[int, float]:
    """By training images: how much nearer S comes to what it attains than E does, on the image's class."""
    cells = {count: f" of {count}" for count in study.plan.settings.counts} | {study.count: ""}
    return {
        count: float(np.subtract(*(share(study, arm, arm + cells[count]) for arm in "SE")))
        for count in sorted(cells)
        if study.has(*(arm + cell for arm in "SE" for cell in (cells[count], " ideal")))
    }


def share(study: Study, arm: str, cell: str) -> float:
    """A of a cell's accuracy."""
    return attained(study.values(cell), study.values(f"{arm} ideal"), study.values(cell, "chance"))


def worth_of_masks(study: Study) -> Worth | None:
    """Return how many labels reach with E what the study's masks reach, for each mask."""
    cells = {count: f"E of {count}" for count in study.plan.settings.counts} | {study.count: "E"}
    return worth(
        study.values("S"), {n: study.values(cell) for n, cell in cells.items() if study.has(cell)}, study.count
    )


def parity(study: Study) -> list[dict]:
    """Table of what the arms share and what not: steps, rate, parameters, multiply-adds, the loss that training ended
    with."""
    settings = study.plan.settings
    return [
        {
            "arm": arm,
            "steps": settings.steps,
            "rate": settings.rates[arm],
            "parameters": study.results[0][arm]["parameters"],
            "multiply_adds": study.results[0][arm]["multiply_adds"],
            "loss": float(np.mean([one[arm]["loss"] for one in study.results])),
        }
        for arm in "SCE"
        if study.has(arm)
    ]


def number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
