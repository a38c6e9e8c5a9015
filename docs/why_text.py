"""The words of docs/why.md; what stands in braces is a number that ``docs.why`` takes from the cells."""

TITLE = """\
# Why are a few hundred masks enough?

*{question}* ([Cross Validated, question 370726](https://stats.stackexchange.com/q/370726))
"""

ANSWER = """\
## The answer

**In scenes drawn for this question, a mask does teach more than a label, but mostly while there are very few
images.** A U-Net trained on {count} masks names the class of a new image correctly in {masks_pc}; the usual
classifier, trained on the {count} labels, in {classifier_pc}. With {most} images the lead has shrunk from
{points_first} percentage points to {points_last}; nothing larger was trained, so "a few hundred" itself is
untested. **The number of parameters is not the reason:** the same U-Net, trained on the labels, reaches
{unet_labels_pc}. **Nor is the number of labelled pixels**, if you want the class: {count} pixels per image
({pixels16_pc}) do as well as whole masks. For accurate outlines, more pixels help. {place} Misleading backgrounds
hurt both. A pretrained encoder helped the classifier a little. Photographs have not been tested yet.

![Accuracy by the number of images, and by what the mask covers](images/why/answer.png)

*Share of new images whose class is named correctly (chance: {chance}), mean and 95% interval over {seeds} drawn
worlds (right: {right_seeds}). Left: the lead of masks shrinks as images are added. Right: {count} images whose
class stands in a small mark; what the mask covers decides how much it teaches.*
"""

UNPOINTED = """\
**What a mask covers matters most:** where a small mark decides the class, masks of that mark give {mark_pc}, masks of
the whole object around it only {object_pc}, less than labels alone ({mark_labels_pc})."""

POINTED = """\
**A mask must point at what decides the class:** where that is a small mark, a disc on it gives {p_mark}, at a random
place {p_random_place}, masks of the whole object {p_object}; labels alone give {p_label}{p_beside}."""

REASONS_HEAD = """\
## The reasons that were proposed

| reason, and whose | what was done | result: difference (95% interval) | is it a reason? | how far to trust it |
|---|---|---|---|---|"""

EXPLORED = "{seeds} worlds. Looked for in cells that had been trained for another scale: exploratory"
REASONS = {  # claim, what was done, trust (or: before and after the planned contrast)
    "parameters": (
        "Segmentation networks have fewer parameters (the asker). They have not: U-Net of 2015 has 31.0 million, "
        "ResNet-50 "
        "25.6 million",
        "The same U-Net ({weights_unet} million weights), trained on {count} masks or on their {count} labels; the "
        "usual "
        "classifier with {weights_least} and {weights_most} million weights",
        EXPLORED,
    ),
    "pixels": (
        "A mask holds a label for every pixel, so thousands of bits in place of one label (an answer)",
        "{count} random pixels of each mask labelled, in place of all {all_pixels}",
        EXPLORED + "; that {count} pixels suffice for the class was planned, on another scale",
    ),
    "place": (
        "The decision is local: a mask says where to look (an answer)",
        "The class stands in a mark of {mark_pixels} pixels. Masks of the mark, or of the object of {mask_pixels} "
        "pixels "
        "around or beside it",
        (
            EXPLORED + "; found where another hypothesis was being tested",
            "First difference: planned, {p_seeds} fresh worlds, everything fixed before it was trained, 300 steps; "
            "longer training was not tried. The others: exploratory, the last two with {steps} steps",
        ),
    ),
    "background": (
        "A classifier cannot know which of the things that go with a label is meant, such as the background",
        "In training each class has its own background in {tied} of the images; tested on such backgrounds and on "
        "those of "
        "another class. How much further accuracy falls than with masks",
        "First two differences: exploratory. The last was planned and asked again of fresh worlds; on the "
        "probability of "
        "the right "
        "class, in place of accuracy, it is not confirmed",
    ),
    "transfer": (
        "Small sets hide subtle features, so starting from another training helps, and more so a classifier",
        "Both start from an encoder that was trained on a sibling world, or from scratch",
        EXPLORED + "; the encoder came from drawn scenes, not from ImageNet",
    ),
}

UNTESTED = "| On photographs; with hundreds of images; with networks and encoders in use | – | – | **not tested** | – |"

WHAT_TO_DO = """\
*Yes* and *no*: every difference says so. It says yes if its interval is above 0 and it is at least 0.05; no if its
whole interval is below 0.05. *Partly*: the differences disagree, or one of them settles neither. Intervals are not
adjusted for their number.

## What to do with 300 images

These follow from drawn scenes and from print; no photograph was tested here in this way.

- **Start from a pretrained encoder if you can**, for masks as for labels. In print it gains most where images are
  few (see below); here the classifier gained {gain_classifier}, the U-Net {gain_masks}.
- **If you want the class, click before you outline.** {count} labelled pixels per image did as well as whole masks;
  for the outline they reached mIoU {sixteen_miou}, whole masks {all_miou}.
- **Put masks on the evidence**, not on the object that contains it. Masks of the object around a decisive mark
  taught less than labels alone: {object_labels}. If you do not
  know where the evidence is, labels are the safer choice.
- **More images before more pixels.** Four pixels on each of {most} images ({few_of_many} labels) beat whole masks
  of {count} ({many_of_few} labels): {more_images}.
- **A mask pays if it takes you less time than the labels it replaces.** With {count} images one mask was worth
  {worth16} labels, with 8 images {worth8}. `python -m study run --data DIR` measures that on your own images.
"""

NOWHERE = """\
## Where masks did not lead

- **The mask is not on the evidence.** Where the class stood in a mark inside the object, masks of the object did
  worse than labels on the same U-Net: {object_labels}; with the mark {far} pixels beside the object
  {object_labels_far}. Of the mask's pixels {mask_away} lay more than 3 pixels from the mark.
- **There are enough images.** Masks less the usual classifier: {lead8} with 8 images, {lead16} with 16, {lead32}
  with 32, {lead64} with 64, {lead128} with 128.
- **The task is easy.** In a first trial the scenes held one large striped target and nothing like it beside: the
  U-Net on labels was near its ceiling from the smallest sets on, so there was nothing to lead. Such scenes were
  then made harder until the classifier had room to improve ([how](why-method.md#how-the-world-was-chosen)); the
  answer above is about scenes chosen in this way.
- **Photographs, in a small trial.** On tiles of CamVid frames, labelled with the classes that they hold, masks had
  no lead. Both networks were far from converged.

The two trials came before the study, with two seeds each. Their code and cells were not kept, so no numbers are given.
"""

PHOTOGRAPHS = """\
## On photographs

Not tested yet with this design. [Results](results.md) has single runs: U-Net on CamVid film by film and from ever fewer
masks, and classifiers from scratch, frozen and fine-tuned beside masks of the same images.
"""

COMPARED = """\
## How it was compared

All networks see the same images in the same order for the same {steps} steps of 8, with cross-entropy, from the
same first encoder weights. One U-Net learns from masks; the same U-Net learns from the image's class alone, which
it answers by the mean of its pixels' scores; the usual classifier is the U-Net's encoder with global pooling. The
image's class follows from its mask, so all three can be asked for it: the U-Net on masks answers with the class
that has most probability, summed over the pixels. That share of correct answers, on {tests} new images, is the
*accuracy* of this page.

```mermaid
flowchart LR
  images["{count} images"] --> unet_masks["U-Net<br>learns the masks"] --> sum["sum over pixels"]
  images --> unet_labels["the same U-Net<br>learns the class"] --> average["mean over pixels"]
  images --> classifier["its encoder<br>learns the class"] --> pooling["global pooling"]
  sum --> class["class of a new image"]
  average --> class
  pooling --> class
```

A scene has {size} × {size} pixels and one object of {classes} classes, told by its texture alone; {decoys} patches
with the classes' textures are decoys. A *world* (a seed) fixes the colours and textures and draws its own training
and test images; it repaints one kind of scene, so {seeds} worlds are not {seeds} data sets. Intervals are over
worlds. [Plans, verdicts as they were planned, guards, tuning and machines](why-method.md).

![Scenes of one world, one property changed in each row](images/why/samples.png)

*Each row shows the same scenes, except for what its name says.*
"""

LITERATURE = """\
## What others found

A figure marked † could not be checked against its source here; the others were read in an abstract or in the
authors' own repository.

- He, Girshick, Dollár 2018, [Rethinking ImageNet Pre-training](https://arxiv.org/abs/1811.08883): on COCO
  (detection and instance segmentation) training from scratch is no worse than pretraining if it takes more steps,
  also with 10% of the images. With about 1,000 images it falls behind†. So few images are not enough there without
  pretraining.
- Raghu et al. 2019, [Transfusion](https://arxiv.org/abs/1902.07208): in medical imaging, which is classification,
  transfer gains little and small networks from scratch rival the large ones. So a few masks are not the only case.
- Yosinski et al. 2014, [How transferable are features](https://arxiv.org/abs/1411.1792): features from another
  training give a gain that remains after fine-tuning; also from the same task†. In our scenes a network's own
  encoder gave the classifier {selffer_classifier} and the U-Net {selffer_masks}.
- Shin et al. 2021, [PixelPick](https://arxiv.org/abs/2104.06394): on CamVid, with a pretrained ResNet-50, 20, 100
  or all pixels of an image labelled give 59.7, 65.1 and 67.8 mIoU. The pixels were chosen by the network, ours at
  random; the finding is the same: few pixels, most of the gain.
- Karimi et al. 2021, [Transfer learning in medical image segmentation](https://arxiv.org/abs/2006.00356):
  segmentation networks stay accurate with an encoder frozen at random values. So a segmenter's encoder has little
  to learn there.
- Yang et al. 2024, [UniMatch V2](https://arxiv.org/abs/2410.10777): with 92 masks of Pascal VOC, trained on these
  alone, a ResNet-101 from ImageNet reaches 45.1 mIoU and DINOv2-S 67.0; with 366 masks 64.8 and 81.8†. Where masks
  are few, pretraining wins for masks too: there the question's premise ends.
- CIFAR-10 is the asker's own example, 10 classes with 5,000 images each; networks are routinely trained on it from
  scratch†.
"""

ARMS = {
    "mark": "U-Net, a disc on the mark",
    "random place": "U-Net, the same disc at a random place",
    "object": "U-Net, masks of the object around the mark",
    "label": "the same U-Net, labels alone",
    "label, classifier": "the usual classifier, labels alone",
}

DETAILS = {  # title, text, picture
    "images": (
        "The number of images",
        "The lead of masks over the usual classifier: {lead16} with {count}, {lead128} with {most}.",
        "images",
    ),
    "parameters": (
        "Parameters",
        "Wider networks have more weights. Fewer of them do not help the classifier, and the narrowest U-Net on "
        "masks is ahead "
        "of the widest classifier.",
        "parameters",
    ),
    "pixels": (
        "Labelled pixels",
        "A single labelled pixel lies on the object by a coin; in half of the images it is background and names no "
        "class, so "
        "that row says little.",
        "pixels",
    ),
    "place": (
        "Place",
        "The class stands in a mark of {mark_pixels} pixels, inside the object or {far} pixels beside it. Masks, "
        "images and "
        "mark are otherwise the same.",
        "distance",
    ),
    "background": (
        "Background",
        "Trained where each class has its own background in {tied} of the images. Backgrounds are not what makes "
        "the lead: it "
        "is there without them, {lead16}, and with them, {lead_tied}.",
        "backgrounds",
    ),
    "transfer": (
        "Transfer",
        "*Its own encoder* (selffer): the same images once more, with the encoder that the first training ended "
        "with and all "
        "else drawn anew. *Frozen*, *fine-tuned*: with the encoder of a classifier of a sibling world. Twice the "
        "steps (long) "
        "did not help the U-Net, so differences are taken from the plain training.",
        "transfer",
    ),
}

CAPTIONS = {  # what a picture shows; a sentence below it
    "forest": (
        "Differences with their intervals, reason by reason",
        "*Right of 0: the reason is right. Grey: differences below 0.05, which would not matter. Points and lines: "
        "mean and 95% "
        "interval over worlds, in accuracy, or mIoU where it says so.*",
    ),
    "images": ("Accuracy over the number of training images", "*Dotted: as many steps in which no image comes twice.*"),
    "parameters": ("Accuracy over the width of the network", "*The same networks, narrower and wider.*"),
    "pixels": (
        "Accuracy and mIoU over the labelled pixels",
        "*U-Net on the same {count} images.*".replace("{count}", "16"),
    ),
    "distance": ("Accuracy with the mark in the object and beside it", "*What the masks cover, and labels alone.*"),
    "backgrounds": ("Accuracy on three kinds of backgrounds", "*Trained where background and class go together.*"),
    "transfer": ("Accuracy from scratch, frozen and fine-tuned", "*Where the encoder's first weights come from.*"),
}
