"""How fast the augmentation is: beside albumentations, in images per second, and beside what a GPU eats.

    python -m benchmarks.augmentation            # in an environment of its own, see README.md
    python -m benchmarks.augmentation --count    # in the project's environment: are the counts of part 3 right?

Tables go to stdout as Markdown, progress to stderr. OpenCV runs on one thread on both sides.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_pipeline.augment import augment, preset
from data_pipeline.command import run_command
from data_pipeline.encoding import VOID, read_encoding
from data_pipeline.files import read_image
from data_pipeline.importing.golfscape import Knobs, write_scenes
from data_pipeline.masks import read_mask

SCENES = 8  # golfscape images that are varied again and again
SIZE = 512  # pixels on each side
CROP = 256
TINY = 16  # so small that only the interpreter's share is left
WARM_UP = 2  # images before the clock starts

GEOMETRY = {"scale": 0, "shift": 0, "rotation": 0, "shear": 0, "elastic": 0, "symmetry": "none"}
COLOR = {"brightness": 0, "contrast": 0, "gamma": 0, "saturation": 0, "hue": 0, "blur": 0, "noise": 0}

# Multiply-adds are taken from the layers' shapes; what follows is assumed, not measured.
PEAK = {"T4": 65e12, "A10, V100": 125e12, "A100": 312e12}  # float16 on tensor cores, operations a second (data sheets)
UTILISATION = 0.3  # share of the peak that training sustains; generous for FC-DenseNet, whose layers are narrow
STEP = 3  # a training step in forward passes: one forward, two for the gradients
CORES = 16  # of the machine around the GPU


@dataclass(frozen=True)
class Config:
    rounds: int = 9
    """Paired rounds: in each, every contestant is timed once, in turn."""
    images: int = 32
    """Images in one round."""
    count: bool = False
    """Only compare the multiply-adds of part 3 with those of the Keras models (needs TensorFlow)."""


def main(config: Config) -> None:
    if config.count:
        check_counts()
        return
    versions = f"Python {platform.python_version()}, OpenCV {cv2.__version__}, NumPy {np.__version__}"
    print(f"{versions}, {os.cpu_count()} cores, {config.rounds} rounds of {config.images} images")
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder) / "golfscape", SCENES, knobs=Knobs(size=SIZE))
        data = Scenes(Path(folder) / "golfscape")
        compare(data, config)
        rate = measure_pipeline(data, config)
    compare_with_networks(rate)


class Scenes:
    """The scenes on disk and in memory, each an image uint8 (H, W, 3) RGB and a mask uint8 (H, W)."""

    def __init__(self, folder: Path):
        self.encoding = read_encoding(folder / "classes.json", is_color=False)
        images = sorted((folder / "images").iterdir())
        self.files = [(path, folder / "masks" / path.name) for path in images]
        self.decoded = [self.decode(i) for i in range(len(self.files))]

    def decode(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.files[i % SCENES]
        return read_image(image), read_mask(mask, self.encoding)

    def recall(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.decoded[i % SCENES]


# Part 1: albumentations


def compare(data: Scenes, config: Config) -> None:
    """Equal operations on both sides, and where the time goes."""
    standard = preset("standard", "d4")
    elastic = elastic_transforms()
    contestants = {
        "ours": ours(data, standard),
        "ours without elastic": ours(data, replace(standard, elastic=0)),
        "ours, geometry": ours(data, replace(standard, **COLOR)),
        "ours, colour": ours(data, replace(standard, **GEOMETRY)),
        "without elastic": theirs(data, [*rigid(), *color()]),
        "geometry": theirs(data, [*rigid(), elastic["ThinPlateSpline"]]),
        "colour": theirs(data, color()),
    }
    for name, transform in elastic.items():
        contestants[name] = theirs(data, [*rigid(), transform, *color()])
    times = paired_rounds(contestants, config)

    pairs = [
        ("all, elastic by ThinPlateSpline (nearest to ours)", "ours", "ThinPlateSpline"),
        ("all but elastic", "ours without elastic", "without elastic"),
        ("geometry alone, elastic by ThinPlateSpline", "ours, geometry", "geometry"),
        ("colour, blur and noise alone", "ours, colour", "colour"),
    ]
    pairs += [(f"all, elastic by {name}", "ours", name) for name in elastic if name != "ThinPlateSpline"]
    rows = []
    for title, mine, other in pairs:
        ratio = np.divide(times[other], times[mine])
        rows.append([title, spread(times[mine]), spread(times[other]), f"{np.median(ratio):.2f}"])
    header = ["operations", "ours", "albumentations", "albumentations / ours"]
    print_table(f"Milliseconds per {SIZE}×{SIZE} image and mask: median (least … most) of the rounds", header, rows)


def ours(data: Scenes, policy) -> Callable:
    return lambda i: augment(*data.recall(i), i, policy)


def theirs(data: Scenes, transforms: list) -> Callable:
    import albumentations as A

    pipeline = A.Compose(transforms, seed=0)

    def run(i):
        image, mask = data.recall(i)
        return pipeline(image=image, mask=mask)

    return run


def rigid() -> list:
    """Symmetry, scale, shift, rotation and shear of the preset "standard"."""
    import albumentations as A

    affine = A.Affine(
        scale=(1 / 1.25, 1.25),
        keep_ratio=True,
        balanced_scale=True,
        translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
        rotate=(-15, 15),
        shear={"x": (-5, 5), "y": (0, 0)},
        p=1,
        **SAMPLING,
    )
    return [A.D4(p=1), affine]


# One border mode serves image and mask: with reflection the mask is reflected too, so fill_mask is never used.
SAMPLING = {
    "interpolation": cv2.INTER_LINEAR,
    "mask_interpolation": cv2.INTER_NEAREST,
    "border_mode": cv2.BORDER_REFLECT_101,
    "fill_mask": VOID,
}


def elastic_transforms() -> dict:
    """Every elastic transform of albumentations, set to displacements of about 9 pixels (root mean square).

    ThinPlateSpline moves the nodes of a 3 × 3 grid and interpolates smoothly, as ours does: its displacements
    are as alike from pixel to pixel as ours (correlation 0.87 at 64 pixels, 0.56 at 128; ours 0.87 and 0.49).
    ElasticTransform smooths one draw per pixel and is rougher (0.4 and 0.1 at σ = 50 pixels; approximate
    cuts the smoothing to 17 pixels). GridDistortion moves whole grid lines and keeps the border in place.
    """
    import albumentations as A

    return {
        "ThinPlateSpline": A.ThinPlateSpline(scale_range=(0.145, 0.145), num_control_points=3, p=1, **SAMPLING),
        "ElasticTransform": A.ElasticTransform(alpha=2000, sigma=50, p=1, **SAMPLING),
        "ElasticTransform, same_dxdy": A.ElasticTransform(alpha=2000, sigma=50, same_dxdy=True, p=1, **SAMPLING),
        "ElasticTransform, approximate": A.ElasticTransform(alpha=700, sigma=50, approximate=True, p=1, **SAMPLING),
        "ElasticTransform, approximate, same_dxdy": A.ElasticTransform(
            alpha=700, sigma=50, approximate=True, same_dxdy=True, p=1, **SAMPLING
        ),
        "GridDistortion": A.GridDistortion(num_steps=2, distort_limit=0.15, p=1, **SAMPLING),
    }


def color() -> list:
    """Light, colour, blur and noise of the preset "standard"."""
    import albumentations as A

    return [
        A.RandomGamma(gamma_limit=(100 / 1.2, 120), p=1),
        A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.2, p=1),
        A.HueSaturationValue(hue_shift_limit=4, sat_shift_limit=20, val_shift_limit=0, p=1),  # hue in steps of 2°
        A.GaussianBlur(sigma_limit=(0.2, 1.0), p=0.2),
        A.GaussNoise(std_range=(0, 8 / 255), p=0.5),
    ]


# Part 2: the pipeline


def measure_pipeline(data: Scenes, config: Config) -> dict:
    """Images per second on one core; returns those of "standard" by (size, where the image comes from)."""
    policies = {
        (name, size): preset(name, "d4", crop=(size, size))
        for size in (CROP, SIZE)
        for name in ("light", "standard", "strong")
    }
    contestants = {"decoding": data.decode}
    for (name, size), policy in policies.items():
        contestants[name, size, "memory"] = sample(data.recall, policy)
        contestants[name, size, "disk"] = sample(data.decode, policy)
    times = {key: np.median(taken) for key, taken in paired_rounds(contestants, config).items()}

    rows = []
    for name, size in policies:
        memory, disk = times[name, size, "memory"], times[name, size, "disk"]
        rows.append([name, f"{size}×{size}", f"{memory:.1f}", f"{1000 / memory:.0f}", f"{1000 / disk:.0f}"])
    header = ["preset", "output", "ms per image", "images/s, decoded in memory", "images/s with decoding"]
    print_table(f"One core, from {SIZE}×{SIZE} images; median of the rounds", header, rows)
    print(f"\nDecoding the two PNG files takes {times['decoding']:.1f} ms.")

    measure_threads(data, policies["standard", CROP], config)
    return {
        (size, where): 1000 / times["standard", size, where] for size in (CROP, SIZE) for where in ("memory", "disk")
    }


def sample(load: Callable, policy) -> Callable[[int], np.ndarray]:
    """What a training sample costs: image, mask, and the mask looked up as weights."""
    weight_of = np.ones(VOID + 1, np.float32)

    def run(i):
        _, mask = augment(*load(i), i, policy)
        return weight_of[mask]

    return run


def measure_threads(data: Scenes, policy, config: Config) -> None:
    """Do more threads of one process, as tf.data uses them, give as many times the images?"""
    counts = [threads for threads in (1, 2, 4, 8, CORES) if threads <= os.cpu_count()]
    work = sample(data.recall, policy)
    rates = {threads: [] for threads in counts}
    for _ in tqdm(range(config.rounds), "threads"):
        for threads in counts:
            with ThreadPoolExecutor(threads) as pool:
                start = time.perf_counter()
                list(pool.map(work, range(threads * config.images)))
                rates[threads].append(threads * config.images / (time.perf_counter() - start))
    rows = []
    for threads in counts:
        gain = np.median(np.divide(rates[threads], rates[1]))
        rows.append([f"{threads}", f"{np.median(rates[threads]):.0f}", f"{gain:.2f}"])
    print_table(f"Threads, standard, {CROP}×{CROP}, decoded in memory", ["threads", "images/s", "times one"], rows)

    image, mask = data.recall(0)
    tiny = {"tiny": lambda i: augment(image[:TINY, :TINY], mask[:TINY, :TINY], i, replace(policy, crop=None))}
    overhead = np.median(paired_rounds(tiny, config)["tiny"])
    print(f"\nA {TINY}×{TINY} image takes {overhead:.2f} ms, nearly all in the interpreter, one thread at a time:")
    print(f"one process stays below {1000 / overhead:.0f} images/s, whatever the number of cores.")


# Part 3: the networks


def compare_with_networks(rate: dict) -> None:
    """Cores that keep a GPU fed: its images per second by arithmetic over ours by measurement."""
    rows = []
    for name, count in MULTIPLY_ADDS.items():
        for size in (CROP, SIZE):
            for device, peak in PEAK.items():
                eaten = peak * UTILISATION / (2 * count(size) * STEP)
                memory, disk = eaten / rate[size, "memory"], eaten / rate[size, "disk"]
                verdict = "yes" if disk <= CORES else "from memory" if memory <= CORES else "no"
                billions = f"{count(size) / 1e9:.1f}"
                row = [
                    name,
                    f"{size}×{size}",
                    billions,
                    device,
                    f"{eaten:.0f}",
                    f"{memory:.1f}",
                    f"{disk:.1f}",
                    verdict,
                ]
                rows.append(row)
    cores = ["cores, decoded in memory", "cores with decoding", f"{CORES} cores keep up"]
    header = ["network", "input", "10⁹ multiply-adds", "GPU", "images/s eaten", *cores]
    print_table(f"Training at {UTILISATION:.0%} of the peak (assumed, not measured), preset standard", header, rows)


def unet_multiply_adds(size: int, width: int = 32, depth: int = 4, num_classes: int = 2) -> int:
    """Of one forward pass: pixels · kernel area · channels in · channels out, over all convolutions."""
    total, channels = 0, 3
    for level in range(depth + 1):
        pixels, filters = (size >> level) ** 2, width << level
        total += 9 * pixels * (channels * filters + filters * filters)
        channels = filters
    for level in reversed(range(depth)):
        pixels, filters = (size >> level) ** 2, width << level
        total += pixels * channels * filters  # 2×2 transposed, stride 2: each output pixel sees one input pixel
        total += 9 * pixels * (2 * filters * filters + filters * filters)
        channels = filters
    return total + size**2 * channels * num_classes


def fc_densenet_multiply_adds(size: int, growth_rate: int, block_layers: tuple[int, ...], num_classes: int = 2) -> int:
    """Of one forward pass, as for the U-Net."""

    def dense_block(level, channels, num_layers):
        return sum(9 * (size >> level) ** 2 * (channels + i * growth_rate) * growth_rate for i in range(num_layers))

    poolings = len(block_layers) // 2
    channels, skips = 48, []
    total = 9 * size**2 * 3 * channels
    for level, num_layers in enumerate(block_layers[:poolings]):
        total += dense_block(level, channels, num_layers)
        channels += num_layers * growth_rate
        skips.append(channels)
        total += (size >> level) ** 2 * channels**2  # 1×1, before the pooling
    total += dense_block(poolings, channels, block_layers[poolings])
    for level in reversed(range(poolings)):
        new = block_layers[2 * poolings - level - 1] * growth_rate  # of the block before: its new maps alone
        total += 9 * (size >> level + 1) ** 2 * new**2  # 3×3 transposed, stride 2: each input pixel fills nine
        channels = new + skips.pop()
        total += dense_block(level, channels, block_layers[2 * poolings - level])
    return total + size**2 * (channels + block_layers[-1] * growth_rate) * num_classes


MULTIPLY_ADDS = {
    "unet": unet_multiply_adds,
    "fc_densenet56": lambda size: fc_densenet_multiply_adds(size, 12, (4,) * 11),
    "fc_densenet103": lambda size: fc_densenet_multiply_adds(size, 16, (4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4)),
}


def check_counts() -> None:
    """The formulas beside a sum over the layers of the Keras models."""
    import keras

    from models import build_model

    rows = []
    for name, count in MULTIPLY_ADDS.items():
        for size in (CROP, SIZE):
            total = 0
            for layer in build_model(name, num_classes=2, input_shape=(size, size, 3)).layers:
                if isinstance(layer, keras.layers.Conv2DTranspose):
                    total += layer.kernel.shape.num_elements() * np.prod(layer.input.shape[1:3])
                elif isinstance(layer, keras.layers.Conv2D):
                    total += layer.kernel.shape.num_elements() * np.prod(layer.output.shape[1:3])
            rows.append([name, f"{size}×{size}", f"{count(size):,}", f"{total:,}", f"{count(size) == total}"])
    print_table("Multiply-adds of a forward pass", ["network", "input", "formula", "Keras model", "equal"], rows)


# Clocks and tables


def paired_rounds(contestants: dict, config: Config) -> dict:
    """Milliseconds per image of each contestant in each round: name → list.

    All take their turn in every round, so what else the machine does in a round slows all alike.
    """
    times = {name: [] for name in contestants}
    for work in contestants.values():
        for i in range(WARM_UP):
            work(i)
    for number in tqdm(range(config.rounds), "rounds"):
        for name, work in contestants.items():
            start = time.perf_counter()
            for i in range(number * config.images, (number + 1) * config.images):
                work(i)
            times[name].append((time.perf_counter() - start) * 1000 / config.images)
    return times


def spread(times: list[float]) -> str:
    return f"{np.median(times):.1f} ({min(times):.1f} … {max(times):.1f})"


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or its import asks the network for a newer version
    run_command(main, Config, __doc__)
