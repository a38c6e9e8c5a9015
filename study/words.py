"""What the study says in words: a sentence for each verdict, and the composed answer to the question it began with."""

from .findings import Finding, Study, curves, worth
from .verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED

QUESTION = (
    "Why can a segmentation network be trained from scratch on a few hundred images, when for classification people "
    "reach for transfer learning even with thousands per class?"
)

ANSWERS = {
    "H6a": {
        SUPPORTED: "The premise holds in these scenes, each task by its own measure: with so few images a segmenter "
        "comes nearer to what it can reach than a classifier does.",
        NOT_SUPPORTED: "The premise does not hold in these scenes, each task by its own measure: with so few images a "
        "segmenter comes no nearer to what it can reach than a classifier does.",
        INCONCLUSIVE: "Whether a segmenter comes nearer to what it can reach than a classifier does, each by its own "
        "measure, stays open.",
    },
    "H6b": {
        SUPPORTED: "It holds on the same decision too: asked for the class of the image, a network that learnt from "
        "masks is right more often than one that learnt from labels of as many images.",
        NOT_SUPPORTED: "On the same decision there is no such lead: asked for the class of the image, a network that "
        "learnt from masks is no better than one that learnt from labels of as many images.",
        INCONCLUSIVE: "Whether masks also teach the image's class better than labels of as many images stays open.",
    },
    "H1": {
        SUPPORTED: "It would be a matter of parameters: with as many of them, masks and labels taught equally well.",
        NOT_SUPPORTED: "It is not the number of parameters: the same network, with the same weights to begin with, "
        "learnt differently from masks and from labels.",
        INCONCLUSIVE: "Whether the same network learns equally well from masks and from labels stays open.",
    },
    "H2": {
        SUPPORTED: "The many labelled pixels count: a few of them in each image do not do what whole masks do.",
        NOT_SUPPORTED: "It is not the many labelled pixels: a few of them in each image do nearly what whole masks do.",
        INCONCLUSIVE: "Whether a few labelled pixels do what whole masks do stays open.",
    },
    "H3": {
        SUPPORTED: "The place counts: the lead of masks shrinks where what tells the class lies away from the mask.",
        NOT_SUPPORTED: "It is not that the mask points at what tells the class: the lead of masks is as large where "
        "that lies elsewhere.",
        INCONCLUSIVE: "Whether masks lead because they point at what tells the class stays open.",
    },
    "H4": {
        SUPPORTED: "Labels teach the background where it goes with the class, and masks do so less.",
        NOT_SUPPORTED: "Masks are no protection from backgrounds that go with the class: both kinds of training fall "
        "alike when the background changes.",
        INCONCLUSIVE: "Whether masks protect from backgrounds that go with the class stays open.",
    },
    "H5": {
        SUPPORTED: "Transfer takes away more of the classifier's error than of the segmenter's: it is where labels are "
        "few in what they say that a pretrained encoder helps.",
        NOT_SUPPORTED: "Transfer does not take away more of the classifier's error than of the segmenter's.",
        INCONCLUSIVE: "Whether transfer takes away more of the classifier's error stays open.",
    },
}

LEAST_P = 0.001  # that is told

NOT_TESTED = (
    "photographs: the scenes are drawn, small, with one target each, and their class stands in one cue",
    "ImageNet: the encoder that was transferred was trained in a sibling world of drawn scenes",
    "networks of the size that people use, and other networks than this U-Net and its encoder",
    "losses other than cross-entropy, augmentation beyond flips and turns of 90°, and stopping early",
    "what a mask costs to draw, beside a label",
)


def headline(said: list[Finding]) -> str:
    """The verdicts in a breath."""
    names = [(one.words, one.hypothesis.name) for one in said]
    verdicts = {words: [name for each, name in names if each == words] for words, _ in names}
    text = "; ".join(f"{words}: {', '.join(each)}" for words, each in verdicts.items())
    return text[0].upper() + text[1:]


def answer(study: Study, said: list[Finding]) -> list[str]:
    """The composed answer, in sentences."""
    sentences = []
    for one in said:
        if one.words in (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE):
            sentences.append(f"{ANSWERS[one.hypothesis.name][one.words]} ({effect(one)})")
    if not sentences:
        sentences.append("One seed answers nothing: this was to see the study work.")
    ratio = worth(study)
    if ratio and len(curves(study)["E"]) > 2:
        value, bound = ratio
        sentences.append(
            f"On the same decision, one mask was worth {'at least ' if bound else ''}{value:.1f} labels: that many "
            f"times {study.count} images with labels bring the encoder where {study.count} with masks bring U-Net."
        )
    return sentences


def effect(one: Finding) -> str:
    """The number behind a verdict: H6b +0.21, 95% +0.10 to +0.32."""
    if one.verdict is None:
        return one.hypothesis.name + ("" if one.value is None else f" {one.value:+.3f}")
    about = one.verdict.estimate
    return f"{one.hypothesis.name} {about.value:+.3f}, 95% {about.low:+.3f} to {about.high:+.3f}"


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
    """What an inconclusive verdict would take."""
    if one.words != INCONCLUSIVE or one.verdict is None:
        return ""
    needed = one.verdict.seeds_needed
    return f"detectable with {one.verdict.estimate.seeds} seeds: {one.verdict.detectable:.3f}; " + (
        f"{needed} seeds would settle {one.hypothesis.contrast.smallest}" if needed else "more than 1000 seeds needed"
    )
