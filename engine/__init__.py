"""A run, from configuration to report.

    from engine import load_predictor
    predict = load_predictor("runs/first")
    mask = predict(image)  # (H, W, C) of any size, as the training images → class indices, uint8 (H, W)

The names below are loaded when they are asked for, so that ``--help`` answers at once.
"""

from data_pipeline.lazy_names import lazy_names

PUBLIC = {
    "MeanIoU": ".training.metrics",
    "PixelLoss": ".training.losses",
    "Predictor": ".predictor",
    "Run": ".run",
    "load_predictor": ".predictor",
}
__all__ = list(PUBLIC)
__getattr__ = lazy_names(__name__, PUBLIC)
