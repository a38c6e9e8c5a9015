"""Files on disk → pairs → a split → batches. Knows files and arrays, knows no model.

    from data_pipeline.augment import augment, preset
    image, mask = augment(image, mask, seed, preset("light", "horizontal"))

The names below are loaded when they are asked for, so that ``--help`` answers at once. (``augment`` is also the name of
its module, so it is imported from there.)
"""

from .lazy_names import lazy_names

PUBLIC = {
    "VOID": ".encoding",
    "Policy": ".augment",
    "Source": ".source",
    "UserError": ".command",
    "open_dataset": ".dataset",
    "preset": ".augment",
    "read_image": ".files",
    "training_batches": ".batches",
    "validation_batches": ".batches",
}
__all__ = list(PUBLIC)
__getattr__ = lazy_names(__name__, PUBLIC)
