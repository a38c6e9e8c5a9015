"""The words of docs/why.md; what stands in braces is a number that ``docs.why`` takes from the cells."""

TITLE = """\
# Why are a few hundred masks enough?

*{question}* ([Cross Validated, question 370726](https://stats.stackexchange.com/q/370726))
"""

ANSWER = """\
## The answer

**The premise may be half right:** few images can be too few for masks as well ([others](#what-others-found)). The
narrower question here: do the same images teach more with masks than with labels, and why?

**In one kind of drawn scene they do**, and a little in three films. Asked for a drawn image's class, a U-Net trained
on {count} masks is right in {masks_ci}; its encoder with pooling, the usual classifier, on labels, in {classifier_ci}.

{place} **Not the weights:** in the first scenes the U-Net on labels reaches {unet_labels_pc}. **Few pixels may do**
({count} in each image: {pixels16_pc}); outlines need more.

**How sure?** What was asked, and how:

{claims}

- *Yes*: the interval lies above 0 and the mean is at least 0.05 (photographs: 0.03, and each film above 0); *no*: the
  whole interval lies below 0.05; else, or if two runs disagree, *open*; all before rounding. *Weakly*: adjusted for the
  {differences} differences in drawn scenes (Bonferroni), the interval holds 0.
- *Planned*: fixed before anything was trained, and asked of fresh worlds or films. *Exploratory*: computed afterwards,
  from trainings planned for another measure, namely how near a network comes to what it reaches with unlimited images.
  Of the seven hypotheses of that plan, {planned_words} ([all of them](why-method.md)).
- A *world* is one set of colours and textures with its own images, drawn by a program. Scenes were chosen so that
  labels
  left room for a lead; in easier ones there was none. Masks had {trials_masks} tuning trials, labels
  {trials_labels}; the
  best learning rates lie at an end of those tried. Both may favour masks.

**With 300 images:**

- Fine-tune a pretrained encoder. That is from others' papers.
- For a class: from scratch, one mask was worth about {worth8_round} labels of other images with 8 masks and
  {worth16_round} with {count}; with 256 images, the nearest to 300, asked only in other scenes, without decoys and
  with 8, it is open whether masks lead. Draw them of
  what decides the class: masks of another part can do worse than labels. `python -m study run --data DIR` compares both
  on your own images.
- For outlines, draw masks, or click on pixels of many more images.

Most of this was tested on {count} images; no more than 256 were trained on again and again{photographs_untested}
([more](#what-to-do-with-300-images)).

![Accuracy by the number of images, and by what the mask covers](images/why/answer.png)

*Share of new images whose class is named correctly. Full points: means over {seeds} worlds (right: {right_seeds}; the
difference of the first two was planned). Vertical bars: their 95% intervals. Dashed line: chance, {chance}, for
{classes} classes. Left, exploratory: the texture of an object decides the class, and patches like it lie beside;
{steps} steps. Right: a small spot decides it, of a colour that nothing else has; {right_steps} The tasks differ, so
compare within a panel.*
"""

UNPOINTED = """\
**Why is not settled.** Our guess is the place: a mask says which part is meant. Shown is only that
masks must lie there: if a small spot decides, masks of it give {mark_ci}, masks of the whole object
{object_ci}, less than labels with the same U-Net ({mark_labels_ci})."""

POINTED = """\
**Why is not settled.** Our guess is the place: a mask says which part is meant. Shown is only that misplaced masks
harm: where a spot decides, discs on it give {p_mark_ci}, discs elsewhere {p_random_place_ci}. Labels give
{p_label_classifier_ci}, with that U-Net {p_label_ci}."""

CLAIMS_HEAD = """\
| asked | difference (95% interval) | answer | how |
|---|---|---|---|"""

REASONS_HEAD = """\
## The reasons that were proposed

| reason, and whose | what was done | result: difference (95% interval) | is it a reason? | how far to trust it |
|---|---|---|---|---|"""

EXPLORED = "{seeds} worlds. Exploratory: computed afterwards from trainings planned for another measure"
REASONS = {  # claim, what was done, trust (or: before and after the planned contrast)
    "parameters": (
        "Segmentation networks have fewer parameters (the asker). They have not: U-Net of 2015 has 31.0 million, "
        "ResNet-50 25.6 million",
        "The same U-Net ({weights_unet} million weights), trained on {count} masks or on their {count} labels; the "
        "usual classifier, which has fewer ({weights_classifier} million) and is behind, with {weights_least} and "
        "{weights_most} million weights",
        EXPLORED + ", on which the verdict was {planned_parameters}",
    ),
    "pixels": (
        "A mask holds a label for every pixel, so thousands of bits in place of one label (an answer)",
        "{count} random pixels of each mask labelled, half of them on the object, in place of all {all_pixels}; mIoU "
        "is the overlap of predicted and true areas, from 0 to 1, averaged over the classes",
        EXPLORED + ", on which the verdict that pixels are the reason for the class was {planned_pixels}",
    ),
    "place": (
        "The decision is local: a mask says where to look (an answer)",
        "The class stands in a spot of {mark_pixels} pixels, inside an object of {mask_pixels} pixels or {far} pixels "
        "beside it. Masks cover the spot, a random place or the object",
        (
            EXPLORED + "; found where another hypothesis was being tested",
            "First difference: planned, {p_seeds} fresh worlds, everything fixed before it was trained, {p_steps} "
            "steps; longer training was not tried. The others: exploratory, the last two with {steps} steps; there "
            "masks of the spot led labels with the same U-Net, so the two runs disagree on that. A disc at a random "
            "place teaches something wrong: that it does worse shows that masks must lie on what decides, not that "
            "labels lack the place. A planned test of that failed in its manipulation "
            "([how](why-method.md#what-was-planned-and-how-it-came-out))",
        ),
    ),
    "background": (
        "A classifier cannot know which of the things that go with a label is meant, such as the background",
        "In training each class has its own background in {tied} of the images; tested on such backgrounds, and on "
        "those of another class. Lead: of masks over the usual classifier, tested on those of another class. Extra "
        "fall: how much further than with masks accuracy falls from the one test to the other",
        "First three differences: exploratory. The last was planned and asked again of fresh worlds; on the "
        "probability of the right class, in place of accuracy, it is not confirmed",
    ),
    "decoys": (
        "An image holds other things that look like its object (decoys). A mask says which of them is meant, a label "
        "does not (ours)",
        "Scenes without decoys and with 8, with 64 and with 256 images. Lead: accuracy of the U-Net on masks minus "
        "that of the usual classifier",
        "First difference: planned, {d_seeds} fresh worlds, everything fixed before it was trained. The "
        "other: exploratory, the same worlds",
    ),
    "transfer": (
        "Small sets hide subtle features, so pretraining helps, and more so a classifier",
        "Both start from an encoder that was trained on a sibling world (the same kind of scene with other textures, "
        "colours and images) and train on, or from scratch",
        EXPLORED + ", on which the verdict was {planned_transfer}; the encoder came from drawn scenes, not from "
        "ImageNet",
    ),
}

WHAT_TO_DO = """\
*Yes*, *no*, *open*, *weakly* as above, all before rounding. A no says that the reason adds less than 0.05, not that the
two are equal. The word in bold is the answer to the reason as it was put, why masks lead labels; where its differences
do not agree it is *open*. What else was seen stands after it.

## What to do with 300 images

These follow from drawn scenes and from the literature; {photographs_advice}.

- **Fine-tune a pretrained encoder if you can**, for masks as for labels. This advice is from the literature, where it
  gains most where images are few; not every figure could be checked ([below](#what-others-found)). Here, with an
  encoder from drawn scenes, fine-tuning minus scratch was {gain_classifier} for the classifier and {gain_masks} for the
  U-Net on masks. A frozen encoder lost against scratch: {frozen_classifier} and {frozen_masks}.
- **A mask pays if it takes you less time than the labels it replaces.** From scratch, with {count} images one mask was
  worth {worth16} labels, with 8 images {worth8}; in scenes with 8 decoys, with 64 images, {d_worth}. (That is the
  number of labels with which the usual classifier comes as far, read off its accuracy over the number of images.) With
  a pretrained encoder, which the classifier gained from here and the U-Net did not, a mask may be worth less.
  `python -m study run --data DIR` measures it
  on your own images.
- **If you want the class, click before you outline, but not too few.** 4 labelled pixels in each image, half of them on
  the object, give {pixels4_pc}, between labels with the same U-Net ({unet_labels_pc}) and with the usual classifier
  ({classifier_pc}); {count} pixels {pixels16_pc}, all pixels
  {masks_pc}: all minus {count} is {pixels_class}, so a gain of up to 0.05 by more of them is not excluded. For the
  outline {count} pixels reached mIoU {sixteen_miou}, whole masks {all_miou}.
- **Put masks on the evidence**, not on the object that contains it. Where a spot inside the object decided the class,
  masks of the object minus labels, both with the same U-Net, was {object_labels_planned}. If you do not know where the
  evidence is, labels did better in that task.
- **More images before more pixels, for the class.** Four pixels on each of {most} images ({few_of_many} labels) minus
  whole masks of {count} ({many_of_few} labels): {more_images}. For the outline they reached mIoU {four_miou}, whole
  masks of {count} {all_miou}. More images cost something too.
"""

NOWHERE = """\
## Where masks led less, or not

- **The mask is not on the evidence.** Where the class stood in a spot inside the object, masks of the object minus
  labels, both with the same U-Net, was {object_labels_planned} in the worlds of the planned contrast and
  {object_labels} in the first; with the spot {far} pixels beside the object {object_labels_far}. Of the mask's pixels
  {mask_away} lay more than 3 pixels from the decisive spot.
- **With more images the lead shrinks, in points.** Masks minus the usual classifier: {lead8} with 8 images, {lead16}
  with 16, {lead32} with 32, {lead64} with 64, {lead128} with 128, where they are right in {masks128_pc} and
  {classifier128_pc}. From 8 to 128 images masks led at every number. In errors the lead grows: the classifier makes
  {errors16} times as many as the U-Net on masks with {count} images, {errors128} times with 128. With {fresh} images,
  each seen once, the lead is {lead_ideal}. With 256 images, in {d_seeds} other worlds, it may be 0: {d_lead_0_256}
  without decoys ({d_masks_0_256_pc} against {d_classifier_0_256_pc}), {d_lead_8_256} with 8 (planned;
  {d_masks_8_256_pc} against {d_classifier_8_256_pc}), where masks were ahead in {d_ahead} of {d_seeds} worlds;
  the classifier's training loss
  still was up to {d_loss} there, so more steps might narrow the lead.
- **The task is easy.** In a first trial the scenes held one large striped target and nothing like it beside: the
  U-Net on labels was near its ceiling from the smallest sets on, so there was nothing to lead. Such scenes were then
  made harder until the classifier had room to improve ([how](why-method.md#how-the-world-was-chosen)); the answer
  above is about scenes chosen in this way. With 64 images, in {d_seeds} other worlds, masks minus the usual
  classifier was {d_lead_0_64} without decoys and {d_lead_8_64} with 8; that decoys make it larger was planned, and
  stayed open.
{photographs_led}\
- **Photographs, in an early trial.** On tiles of CamVid frames, labelled with the classes that they hold, masks had
  no lead. Both networks were far from converged; the planned contrast on the same films, with networks of another
  kind, says yes for these films ([below](#on-photographs)).

The two trials came before the study, with two seeds each. Their code and results were not kept, so no numbers are
given.
"""

COMPARED = """\
## How it was compared

All networks see the same images in the same order for the same {steps} steps of 8
images{planned_steps} ({d_steps} in that of decoys), with cross-entropy, from the same first encoder weights. One U-Net
learns from masks; the same U-Net learns from the image's class alone, which
it answers by the mean of its pixels' scores; the usual classifier is the U-Net's encoder with global pooling. The
image's class follows from its mask, so all three can be asked for it: the U-Net on masks answers with the class
that has most probability, summed over the pixels. That share of correct answers, on {tests} new
images{planned_tests}, is the
*accuracy* of this page. The learning rates were tuned on two other worlds. In the first study those of
{at_an_end} lie at an end of those tried, so others might do better; masks had {trials_masks}
tuning trials, labels {trials_labels} on each network, which may favour masks.
Images are flipped and turned by quarters; stronger augmentation, which U-Net's paper makes much of, was not tried, nor
were classifiers that pool by the maximum or by attention.

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
with the classes' textures are decoys. A world (a seed) fixes the colours and textures and draws its own training
and test images; it repaints one kind of scene, so {seeds} worlds are not {seeds} data sets. Intervals are over
worlds (Student's t, so that an end may lie above 1).
[Plans, verdicts as they were planned, guards, tuning and machines](why-method.md).

![Scenes of one world, one property changed in each row](images/why/samples.png)

*Each row shows the same scenes, except for what its name says. First row: the scenes of the study, whose masks stand
below. Background tied to class: each class has its own background in {tied} of the images (0.95, and a quarter of the
rest by chance). Sibling world: where the
encoder of the comparison of pretraining was trained.*
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
  random: there 20 pixels give 88% of what all give, here 16 give {sixteen_share}.
- Karimi et al. 2021, [Transfer learning in medical image segmentation](https://arxiv.org/abs/2006.00356):
  segmentation networks stay accurate with an encoder frozen at random values, so a segmenter's encoder has little
  to learn there. That was not tried here; an encoder frozen after a training on a sibling world cost the U-Net
  {frozen_masks}.
- Yang et al. 2024, [UniMatch V2](https://arxiv.org/abs/2410.10777): with 92 masks of Pascal VOC, trained on these
  alone, a ResNet-101 from ImageNet reaches 45.1 mIoU and DINOv2-S 67.0; with 366 masks 64.8 and 81.8†. So
  where masks are few, much depends on the pretraining, for masks too; both rows are pretrained, and from scratch no
  figure is given.
- CIFAR-10 is the asker's own example, 10 classes with 5,000 images each; networks are routinely trained on it from
  scratch†.
"""

NETWORKS = {"S": "the U-Net on masks", "C": "the U-Net on labels", "E": "the usual classifier"}
PLANNED = {"parameters": "H1", "pixels": "H2", "transfer": "H5"}  # the planned verdicts that the page names

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
        "Masks minus the usual classifier: {lead16} with {count} images, {lead128} with {most}. The last column has "
        "{fresh} images, each seen once. There the U-Net on labels "
        "reaches less than with "
        "{most} images that it sees again ({ideal_labels} against {most_labels}); this is not explained, except that "
        "it had not converged: its training loss still was {ideal_loss}.",
        "images",
    ),
    "decoys": (
        "Decoys, and hundreds of images",
        "Decoys are patches with the classes' textures beside the object. Masks minus the usual classifier with "
        "256 images, in {d_seeds} worlds of their own: {d_lead_8_256} with 8 decoys, {d_lead_0_256} without; with 64 "
        "images {d_lead_8_64} and {d_lead_0_64}. Everything trained for {d_steps} steps.",
        "decoys",
    ),
    "parameters": (
        "Parameters",
        "Wider networks have more weights. The narrowest classifier is clearly worse; wider than usual is no better. "
        "The "
        "narrowest U-Net on masks "
        "minus the widest classifier: {narrow_wide}. All of this is exploratory; the planned verdict, on another "
        "measure, was {planned_parameters}.",
        "parameters",
    ),
    "pixels": (
        "Labelled pixels",
        "Half of the labelled pixels are on the object. A single one is on it half the time; else it is background "
        "and names no class, so that row says little.",
        "pixels",
    ),
    "place": (
        "Place",
        "The class stands in a spot of {mark_pixels} pixels, inside the object or {far} pixels beside it. Masks, "
        "images and spot are otherwise the same.{order}",
        "distance",
    ),
    "background": (
        "Background",
        "Trained where each class has its own background in {tied} of the images. Such backgrounds do not make "
        "the lead of masks over the usual classifier. Trained without them it is {lead16}; trained with them "
        "{lead_tied} on independent backgrounds and {lead_conflicting} on conflicting ones. Conflicting backgrounds "
        "hurt all three. From matched to conflicting, accuracy falls by {fall_masks} for the U-Net on masks, by "
        "{fall_classifier} for the usual classifier, and further, by {fall_labels}, for the U-Net on labels.",
        "backgrounds",
    ),
    "transfer": (
        "Transfer",
        "*Own encoder*: the same images once more, with the encoder that the first training ended with and all else "
        "drawn anew (Yosinski et al. call it selffer). *Frozen*, *fine-tuned*: with the encoder of a classifier of a "
        "sibling world, kept as it is or trained on. Frozen minus scratch: {frozen_masks} for the U-Net on masks, "
        "{frozen_classifier} for the classifier. Twice the steps did not help the U-Net, so differences are taken from "
        "the plain training.",
        "transfer",
    ),
}

ORDER = """\
 The planned contrast trained for {p_steps} steps. In the earlier, exploratory run of {steps} steps masks of the spot
led labels with the same U-Net, {mark_800} against {mark_labels_800}, a difference of {mark_labels_difference}; in the
planned worlds they did not, {p_labels_difference}. The two runs disagree, so which of the two teaches more there is not
settled."""

HEADS = {  # of tables whose columns are named for the study's own report
    "arm": "network, trained on",
    "none seen twice": "{fresh}, each seen once",
    "long": "scratch, twice the steps",
    "selffer": "own encoder",
}

CAPTIONS = {  # what a picture shows; a sentence below it
    "forest": (
        "Differences with their intervals, reason by reason",
        "*Right of 0: for the reason. Grey: differences below 0.05, which would not matter. "
        "Points and lines: "
        "mean and 95% interval over worlds, in accuracy, or mIoU where it says so. Colours: the reasons. "
        "Photographs have a table of their own.*",
    ),
    "images": (
        "Accuracy over the number of training images",
        "*Dotted: {fresh} images, each seen once, in as many steps.*",
    ),
    "parameters": ("Accuracy over the width of the network", "*The same networks, narrower and wider.*"),
    "pixels": (
        "Accuracy and mIoU over the labelled pixels",
        "*U-Net on the same {count} images.*",
    ),
    "distance": ("Accuracy with the spot in the object and beside it", "*What the masks cover, and labels alone.*"),
    "decoys": (
        "Accuracy over the number of training images, without decoys and with 8",
        "*Points and bars: means over {d_seeds} worlds and their 95% intervals.*",
    ),
    "backgrounds": ("Accuracy on three kinds of backgrounds", "*Trained where background and class go together.*"),
    "transfer": ("Accuracy from scratch, frozen and fine-tuned", "*Where the encoder's first weights come from.*"),
}
