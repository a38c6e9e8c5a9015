"""Keras networks, for segmentation and for its companion, classification: raw pixels in, logits out.

    from models import build_classifier, build_model
    model = build_model("unet", num_classes=2)
    classifier = build_classifier("mobilenet_v2", num_classes=10, weights="imagenet")

Importing this package registers its layers, so that ``keras.models.load_model`` needs no custom objects.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .backbones import MOBILENET_V2, RESNET50, Backbone
from .classifier import ENCODERS, build_classifier, train_from
from .fc_densenet import fc_densenet56, fc_densenet67, fc_densenet103
from .pretrained import freeze, halves, unet_mobilenet_v2, unet_resnet50
from .unet import NORMS, unet
from .unet_papers import unet_blog, unet_original

__all__ = ["ENCODERS", "MODELS", "Spec", "build_classifier", "build_model", "freeze", "halves", "train_from"]


@dataclass(frozen=True)
class Spec:
    """A network's builder and the sizes that it takes, in pixels.

    Along each axis an input of n pixels fits if n ≥ min_size and n ≡ remainder (mod multiple); the output
    has n − 2·margin pixels, the centre of the input. (A U-Net built with another depth than 4 has
    multiple = 2**depth.) A pretrained builder takes ``weights``: by default it downloads ImageNet's.
    """

    build: Callable
    multiple: int
    min_size: int
    margin: int = 0
    remainder: int = 0
    pretrained: Backbone | None = None  # its encoder, where that is one of keras.applications
    norms: dict[str, dict] = field(default_factory=dict)  # normalisations to choose from: name → builder's options

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The smallest input, (H, W) in pixels, whose output covers height × width."""

        def smallest(pixels):
            pixels = max(pixels + 2 * self.margin, self.min_size)
            return pixels + (self.remainder - pixels) % self.multiple

        return smallest(height), smallest(width)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of that input's output: at least height × width."""
        in_height, in_width = self.input_size(height, width)
        return in_height - 2 * self.margin, in_width - 2 * self.margin


UNET_NORMS = {name: {"norm": name} for name in NORMS}
TIRAMISU_NORMS = {"batch": {}, "batch_statistics": {"batch_statistics": True}}

MODELS = {
    "unet": Spec(unet, multiple=16, min_size=32, norms=UNET_NORMS),
    "unet_original": Spec(unet_original, multiple=16, remainder=12, min_size=188, margin=92),
    "unet_blog": Spec(unet_blog, multiple=16, min_size=32),
    "fc_densenet56": Spec(fc_densenet56, multiple=1, min_size=32, norms=TIRAMISU_NORMS),
    "fc_densenet67": Spec(fc_densenet67, multiple=1, min_size=32, norms=TIRAMISU_NORMS),
    "fc_densenet103": Spec(fc_densenet103, multiple=1, min_size=32, norms=TIRAMISU_NORMS),
    "unet_mobilenet_v2": Spec(unet_mobilenet_v2, multiple=32, min_size=32, pretrained=MOBILENET_V2),
    "unet_resnet50": Spec(unet_resnet50, multiple=32, min_size=32, pretrained=RESNET50),
}


def build_model(name, num_classes, input_shape=(None, None, 3), **options):
    """Build a network by name.

    Args:
        name: a key of MODELS.
        num_classes: channels of the output (two or more: softmax over them; 1: one sigmoid logit).
        input_shape: (H, W, C); None for a height or width that may vary.
        **options: the builder's own arguments, such as ``width``, ``dropout`` or ``weights``.

    Returns:
        keras.Model, raw pixels (B, H, W, C) → logits float32 (B, H − 2·margin, W − 2·margin, num_classes).

    Raises:
        ValueError: for an unknown name, fewer than one class, a fixed size that does not fit, or pretrained
            weights that cannot be had or do not fit.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; at least 1 is needed")
    spec = MODELS[name]
    multiple = 2 ** options["depth"] if "depth" in options else spec.multiple
    for axis, pixels in zip(("height", "width"), input_shape[:2], strict=True):
        if pixels is None:
            continue
        if pixels < spec.min_size or (pixels - spec.remainder) % multiple:
            below = pixels - (pixels - spec.remainder) % multiple
            nearest = sorted({max(below, spec.min_size), max(below + multiple, spec.min_size)})
            raise ValueError(
                f"{axis} {pixels} does not fit {name}: at least {spec.min_size} and ≡ {spec.remainder} "
                f"(mod {multiple}); use {' or '.join(map(str, nearest))}"
            )
    return spec.build(num_classes, input_shape, **options)
