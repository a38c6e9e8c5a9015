"""The study in words: a sentence for each verdict, and the composed answer to the question it began with."""

from .effects import Worth
from .findings import NOT_INFERENTIAL, Finding, Study, leads, signed, worth_of_masks
from .own import Own
from .verdicts import INCONCLUSIVE, NOT_SUPPORTED, SMALLEST, SUPPORTED

QUESTION = (
    "Why can a segmentation network be trained from scratch on a few hundred images, when for classification people "
    "reach for transfer learning even with thousands per class?"
)

ANSWERS = {
    "H6a": {
        SUPPORTED: "The premise holds, each task by its own measure: with {count} images a segmenter comes nearer to "
        "what it can reach than a classifier does.",
        NOT_SUPPORTED: "The premise does not hold, each task by its own measure: with {count} images a segmenter comes "
        "no nearer to what it can reach than a classifier does.",
        INCONCLUSIVE: "Whether with {count} images a segmenter comes nearer to what it can reach than a classifier "
        "does, each by its own measure, stays open.",
    },
    "H6b": {
        SUPPORTED: "It holds on the same decision too: asked for the class of the image, what learnt from masks comes "
        "nearer to what it can reach than what learnt from labels.",
        NOT_SUPPORTED: "On the same decision there is no such lead: asked for the class of the image, what learnt from "
        "masks comes no nearer to what it can reach than what learnt from labels.",
        INCONCLUSIVE: "Whether, asked for the class of the image, what learnt from masks comes nearer to what it can "
        "reach stays open.",
    },
    "H1": {
        SUPPORTED: "The same network came equally near to what it can reach with masks and with labels: a lead of "
        "U-Net over the classifier would be the network's, with its parameters.",
        NOT_SUPPORTED: "It is not the number of parameters alone: the same network, with the same first weights, "
        "did not come equally near to what it can reach with masks and with labels.",
        INCONCLUSIVE: "Whether the same network comes equally near to what it can reach with masks and with labels "
        "stays open.",
    },
    "H2": {
        SUPPORTED: "For the class of the image the many labelled pixels count: a few of them do not do what whole "
        "masks do.",
        NOT_SUPPORTED: "For the class of the image it is not the many labelled pixels: what whole masks add to a few "
        "is too little to matter.",
        INCONCLUSIVE: "Whether, for the class of the image, a few labelled pixels do what whole masks do stays open.",
    },
    "H3": {
        SUPPORTED: "The place counts: masks lose to labels where what tells the class lies away from the mask.",
        NOT_SUPPORTED: "The place was not seen to count: masks did not lose to labels where what tells the class lies "
        "away from the mask.",
        INCONCLUSIVE: "Whether masks lose to labels as what tells the class moves away from the mask stays open.",
    },
    "H4": {
        SUPPORTED: "Labels teach the background where it goes with the class, and masks do so less.",
        NOT_SUPPORTED: "Labels were not misled by backgrounds more than masks were, where they go with the class.",
        INCONCLUSIVE: "Whether masks protect from backgrounds that go with the class stays open.",
    },
    "H5": {
        SUPPORTED: "Transfer has more to give to the classifier: it takes away more of its error than of S's.",
        NOT_SUPPORTED: "Transfer takes away no more of the classifier's error than of the segmenter's.",
        INCONCLUSIVE: "Whether transfer takes away more of the classifier's error than of the segmenter's stays open.",
    },
    "pointing": {
        SUPPORTED: "What masks point at counts: a disc on the spot that decides the class teaches more than the same "
        "disc at a random place.",
        NOT_SUPPORTED: "What masks point at does not count: a disc at a random place teaches as much as one on the "
        "spot.",
        INCONCLUSIVE: "Whether it counts what masks point at stays open.",
    },
    "hundreds": {
        SUPPORTED: "With 256 images and 8 decoys masks still lead the usual classifier.",
        NOT_SUPPORTED: "With 256 images and 8 decoys masks lead the usual classifier by too little to matter.",
        INCONCLUSIVE: "Whether masks lead the usual classifier with 256 images and 8 decoys stays open.",
    },
    "difficulty": {
        SUPPORTED: "Decoys make the lead of masks larger.",
        NOT_SUPPORTED: "Decoys do not make the lead of masks larger by what would matter.",
        INCONCLUSIVE: "Whether decoys make the lead of masks larger stays open.",
    },
}

# Beside a verdict: accuracies of cells, on a test set.
BESIDE = {
    "H1": (("S", "S"), ("C", "C")),
    "H2": (("1 labelled pixel", "S 1 pixels"), ("16", "S 16 pixels"), ("all", "S")),
    "H3": (
        *(("S near", "S key near"), ("far", "S key far"), ("C near", "C key near"), ("far", "C key far")),
        *(("S with its masks on the marker near", "S on key near"), ("far", "S on key far")),
    ),
    "H4": (
        *(("C on backgrounds as in training", "C tied", "matched"), ("conflicting", "C tied", "conflicting")),
        *(("S as in training", "S tied", "matched"), ("conflicting", "S tied", "conflicting")),
    ),
    "H5": (("E", "E long"), ("fine-tuned", "E fine-tuned"), ("S", "S long"), ("fine-tuned", "S fine-tuned")),
}

OF_SCENES = (
    "photographs: the scenes are drawn, small, with one target each, and their class stands in one cue",
    "ImageNet: the encoder that was transferred was trained in a sibling world of drawn scenes",
)
OF_OWN = (
    "other images than these: the seeds split one folder, so that they are no replicates of each other; the intervals "
    "are widened for that (Nadeau and Bengio 2003), roughly",
    "how far fresh images would lead: what can be reached is what all training images of a split give",
    "place, background and transfer, which need scenes that are made for it",
)
NOT_TESTED = (
    "networks of the size that people use, and other networks than this U-Net and its encoder",
    "losses other than cross-entropy, augmentation beyond flips and turns of 90°, and stopping early",
    "what a mask costs to draw, beside a label",
)


def not_tested(study: Study) -> list[str]:
    own = isinstance(study.plan.settings.knobs, Own)
    return [*(OF_OWN if own else OF_SCENES), *NOT_TESTED]


LEAST_P = 0.001  # that is told


def headline(said: list[Finding]) -> str:
    """The verdicts in a breath."""
    if all(one.words == NOT_INFERENTIAL for one in said):
        return "One seed answers nothing"
    names = [(one.words, one.hypothesis.name) for one in said]
    verdicts = {words: [name for each, name in names if each == words] for words, _ in names}
    text = "; ".join(f"{words}: {', '.join(each)}" for words, each in verdicts.items())
    return text[0].upper() + text[1:]


def answer(study: Study, said: list[Finding]) -> list[str]:
    """The composed answer, in sentences."""
    sentences = []
    for one in said:
        if one.words in ANSWERS[one.hypothesis.name]:
            told = [effect(one), *one.reasons]
            if one.second not in ("", one.words) and not any(one.second in reason for reason in one.reasons):
                told.append(f"on the secondary metric {one.second}, {signed(one.second_value)}")
            told += beside(study, one.hypothesis.name)
            sentence = ANSWERS[one.hypothesis.name][one.words].format(count=study.count)
            sentences.append(f"{sentence} ({'; '.join(told)})")
    if not sentences:
        return ["One seed answers nothing: this was to see the study work."]
    if study.has("S", "E"):
        right = " and ".join(f"{arm} in {study.values(arm).mean():.0%}" for arm in "SE")
        sentences.append(f"With {study.count} images, {right} of new images named the class rightly.")
    ahead = leads(study)
    if len(ahead) > 1:
        told = ", ".join(f"{signed(value)} with {count}" for count, value in ahead.items())
        sentences.append(f"The lead on the same decision by the number of images (H6b's measure): {told}.")
    if study.has("S", "E") and (ratio := worth_of_masks(study)):
        sentences.append(f"On the same decision, one image with a mask was worth {labels_for(ratio)} with a label.")
    return sentences


def labels_for(worth: Worth) -> str:
    """2.9 (2.0 to 3.9), with "at least" or "at most" where a bound is all that is known."""
    told = f"{worth.bound}{worth.value:.1f}"
    if worth.low is None or worth.low == worth.high:
        return told
    return f"{told} ({worth.low_bound}{worth.low:.1f} to {worth.high_bound}{worth.high:.1f})"


def beside(study: Study, name: str) -> list[str]:
    """The accuracies that a verdict is about, where the study has them all."""
    cells = BESIDE.get(name, ())
    if not cells or not study.has(*(cell for _, cell, *_ in cells)):
        return []
    told = (f"{what} {study.values(cell, 'accuracy', *test).mean():.2f}" for what, cell, *test in cells)
    return ["accuracy: " + ", ".join(told)]


def effect(one: Finding) -> str:
    """The number behind a verdict: H6b +0.21, 95% +0.10 to +0.32."""
    if one.verdict is None:
        return one.hypothesis.name + ("" if one.value is None else f" {signed(one.value, 3)}")
    about = one.verdict.estimate
    value, low, high = (signed(number, 3) for number in (about.value, about.low, about.high))
    return f"{one.hypothesis.name} {value}, 95% {low} to {high}"


def line(one: Finding) -> str:
    """A hypothesis on one line of the terminal."""
    told = effect(one)
    if one.verdict:
        told += f", adjusted p {at_least(one.verdict.p_for_adjusted)}"
    return f"{told}: {one.words}" + "".join(f" ({reason})" for reason in one.reasons) + f" - {one.hypothesis.claim}"


def at_least(p: float) -> str:
    """A p-value as people write it."""
    return f"= {p:.3f}" if p >= LEAST_P else f"< {LEAST_P}"


def settled_by(one: Finding) -> str:
    """Say what an inconclusive verdict would take."""
    if one.words != INCONCLUSIVE or one.verdict is None:
        return ""
    needed = one.verdict.seeds_needed
    return f"detectable with {one.verdict.estimate.seeds} seeds: {one.verdict.detectable:.3f}; " + (
        f"{needed} seeds would tell none from {SMALLEST}" if needed else "more than 1000 would tell none from it"
    )
