"""Optimizers and learning rates by name."""

import keras
from keras.optimizers import schedules

from engine.config import TrainConfig

OPTIMIZERS = {
    "adam": lambda config, **shared: keras.optimizers.Adam(**shared),
    "adamw": lambda config, **shared: keras.optimizers.Adam(**shared),
    # ρ and ε as in Lasagne, with which the Tiramisu was trained; there ε stands inside the root, and here too.
    "rmsprop": lambda config, **shared: keras.optimizers.RMSprop(rho=0.9, epsilon=1e-6, **shared),
    "sgd": lambda config, **shared: keras.optimizers.SGD(momentum=config.momentum, **shared),
}

WEIGHT_DECAY = {"adamw": 0.01}  # by default; the other optimizers have none
DECAY_PER_PASS = 0.995  # Jégou et al. 2017, section 4.1


def learning_rate(config: TrainConfig, steps: int, steps_per_pass: int):
    """The learning rate as a function of the step: a number, or a Keras schedule.

    Args:
        config: learning_rate, schedule, warmup_steps.
        steps: of the whole training.
        steps_per_pass: in which every training image is seen once.
    """
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "exponential":
        return schedules.ExponentialDecay(config.learning_rate, steps_per_pass, DECAY_PER_PASS, staircase=True)
    if not config.warmup_steps:
        return schedules.CosineDecay(config.learning_rate, steps)
    return schedules.CosineDecay(
        0.0, steps - config.warmup_steps, warmup_target=config.learning_rate, warmup_steps=config.warmup_steps
    )


def decay_of(config: TrainConfig) -> float:
    """The weight decay of a configuration: its own, or its optimizer's default."""
    return WEIGHT_DECAY.get(config.optimizer, 0.0) if config.weight_decay is None else config.weight_decay


def make_optimizer(config: TrainConfig, rate, variables) -> keras.optimizers.Optimizer:
    """The optimizer for these trainable variables, built.

    Weight decay is decoupled (Loshchilov & Hutter 2019, arXiv 1711.05101) and spares what has one axis: biases, and
    the scales and offsets of normalisation. With ``config.ema`` it keeps a moving average of the variables
    (``swap_averages``).
    """
    shared = {"learning_rate": rate, "global_clipnorm": config.clip_norm, "weight_decay": decay_of(config) or None}
    if config.ema is not None:
        shared |= {"use_ema": True, "ema_momentum": config.ema}
    optimizer = OPTIMIZERS[config.optimizer](config, **shared)
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) <= 1])
    if keras.config.dtype_policy().name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


def swap_averages(optimizer, variables) -> None:
    """Exchange the variables and their moving averages, where the optimizer keeps any, bit for bit.

    (Keras's own callback adds and subtracts.)
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.use_ema:
        return
    for variable, average in zip(variables, optimizer._model_variables_moving_average, strict=True):
        kept = variable.numpy()
        variable.assign(average)
        average.assign(kept)
