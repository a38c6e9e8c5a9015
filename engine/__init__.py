"""A run, from configuration to report.

    from engine import load_predictor
    predict = load_predictor("runs/first")
    mask = predict(image)  # (H, W, C) of any size, as the training images → class indices, uint8 (H, W)

The names below are loaded when they are asked for, so that ``--help`` answers at once.
"""

from importlib import import_module

PUBLIC = {
    "MeanIoU": ".training.metrics",
    "PixelLoss": ".training.losses",
    "Predictor": ".predictor",
    "Run": ".run",
    "load_predictor": ".predictor",
}
__all__ = list(PUBLIC)


def __getattr__(name):
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(PUBLIC[name], __name__))[name]
