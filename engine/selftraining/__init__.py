"""Self-training: a network learns from images that nobody has labelled, by what an earlier network is sure of there.

Three trainings of equal length in one run's folder:
  - RUN/teacher, on the labelled images;
  - RUN/without, the teacher trained on by the same number of steps without the unlabelled images: what a gain is
    measured against;
  - RUN itself, the student: the teacher trained on by as many steps, half of each batch labelled, half pseudo-labelled.

Sources: pseudo-labels are Lee's (2013, "Pseudo-Label", section 2); a fixed threshold and strong augmentation for what
no person labelled are FixMatch's (Sohn et al. 2020, arXiv 2001.07685, section 2.2); halves of labelled and unlabelled
images in a batch are UniMatch's (Yang et al. 2023, arXiv 2208.09910, section 4.1). What differs: labels are made once,
not at every step, so that a run can be looked at and resumed; and the student begins with the teacher's weights, so
that student and comparison cost a training each.
"""
