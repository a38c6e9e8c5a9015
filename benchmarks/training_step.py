"""How long one training step takes: ours, plain Keras and PyTorch, in turn in every round.

    python3.11 -m venv .venv/step && .venv/step/bin/pip install -r requirements.txt torch==2.13.0 -c constraints.txt
    .venv/step/bin/python benchmarks/training_step.py             # times and memory; 10 minutes
    .venv/step/bin/python benchmarks/training_step.py --profile   # where the time goes

Markdown goes to stdout. U-Net (width 32, batches of 8) and FC-DenseNet56 (batches of 4) at 128×128, 2 classes,
cross-entropy, Adam. "Plain Keras" has Keras's Conv2DTranspose and BatchNormalization in place of ours;
"no normalisation" shows what the convolutions alone take. PyTorch runs eagerly, channels last. Its networks stand
below, and must have as many trainable parameters. Memory is what a process of its own took at most while it trained,
beyond what its imports take; on a GPU, what its allocator gave out at most. On a GPU Keras compiles with XLA by
itself, and there is a row without.
"""

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # PyTorch wants some of it too
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.command import run_command
from engine.run import device
from engine.training.losses import PixelLoss
from models import build_model, dense_layers

CLASSES = 2
# Network → batch, height, width. The last is for --memory alone.
SHAPES = {"unet": (8, 128, 128), "fc_densenet56": (4, 128, 128), "fc_densenet103": (3, 360, 480)}
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
GPU = next((gpu.name.removeprefix("/device:") for gpu in tf.config.list_logical_devices("GPU")), None)


@dataclass(frozen=True)
class Config:
    rounds: int = 9
    """Steps of each, in turn."""
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    """float32, bfloat16, float16."""
    networks: tuple[str, ...] = ("unet", "fc_densenet56")
    """unet, fc_densenet56."""
    size: int | None = None
    """Pixels of a side, in place of 128."""
    profile: bool = False
    """Where the time goes, in place of the times."""
    memory: tuple[str, ...] = ()
    """NETWORK PRECISION CONTESTANT: MiB that these take, in place of the times."""


def main(config: Config) -> None:
    if config.size:
        SHAPES.update({name: (SHAPES[name][0], config.size, config.size) for name in config.networks})
    warnings.filterwarnings("ignore", message="Gradients do not exist")  # without normalisation
    if config.memory:
        print(peak(*config.memory))
        return
    print(f"{device()}; {len(os.sched_getaffinity(0))} cores; {config.rounds} rounds; seconds: median (least … most)\n")
    for network in config.networks:
        for precision in config.precisions:
            print(f"\n{network}, batch {'×'.join(map(str, SHAPES[network]))}, {precision}\n", flush=True)
            (profile if config.profile else compare)(network, precision, config.rounds)


def compare(network: str, precision: str, rounds: int) -> None:
    """Time each contestant's step in turn, and print a table of times, ratios and memory."""
    steps = {name: make(network, precision) for name, make in CONTESTANTS.items()}
    for step in steps.values():  # traced, and caches filled
        float(step())
        float(step())
    seconds = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            float(step())  # waits for it
            seconds[name].append(time.perf_counter() - started)
    print("| | one step | ours / this, median of the rounds | MiB |\n|---|---|---|---|")
    for name, taken in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["ours"], taken, strict=True))
        spread = f"{statistics.median(taken):.4f} ({min(taken):.4f} … {max(taken):.4f})"
        alone = [sys.executable, __file__, "--memory", network, precision, name]
        alone += ["--networks", network, "--size", str(SHAPES[network][1])]
        memory = int(subprocess.run(alone, capture_output=True, text=True, check=True).stdout)
        print(f"| {name} | {spread} | {ratio:.2f} | {memory:,} |", flush=True)


def peak(network: str, precision: str, contestant: str) -> int:
    """MiB that this process takes at most in three steps, beyond what it has taken before."""
    before = most_memory()
    step = CONTESTANTS[contestant](network, precision)
    for _ in range(3):
        float(step())
    return most_memory() - before


def most_memory() -> int:
    """MiB: of the GPU, by whichever of the two allocators was used; without one, of the process."""
    if GPU:
        torch = sys.modules.get("torch")
        ours = tf.config.experimental.get_memory_info(GPU)["peak"]
        return max(ours, torch.cuda.max_memory_allocated() if torch else 0) // 2**20
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def profile(network: str, precision: str, rounds: int) -> None:
    """Milliseconds of a step in each kind of operation, summed over threads, by TensorFlow's own profiler."""
    spent = {}
    for name in ("ours", "plain Keras"):
        step = CONTESTANTS[name](network, precision)
        for _ in range(3):
            float(step())
        with tempfile.TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder)
            for _ in range(rounds):
                float(step())
            tf.profiler.experimental.stop()
            spent[name] = read_profile(next(Path(folder).rglob("*.xplane.pb")), rounds)
    kinds = sorted(set().union(*spent.values()), key=lambda kind: -max(times[kind] for times in spent.values()))
    print(f"| | {' | '.join(spent)} |\n|---|---|---|")
    print(f"| all | {' | '.join(f'{sum(times.values()):.0f}' for times in spent.values())} |")
    for kind in kinds[:14]:
        print(f"| {kind} | {' | '.join(f'{times[kind]:.0f}' for times in spent.values())} |", flush=True)


def read_profile(path: Path, rounds: int) -> Counter:
    """Kind of operation → ms in one step; what belongs to an up-convolution is told apart."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space, spent = xplane_pb2.XSpace(), Counter()
    space.ParseFromString(path.read_bytes())
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            node, _, kind = plane.event_metadata[event.metadata_id].name.partition(":")
            if kind and "/" in node:  # an operation of the graph
                kind = kind.removeprefix("_MklNative") + (" of upconv" if "upconv" in node else "")
                spent[kind] += event.duration_ps / 1e9 / rounds
    return spent


def batch(network: str):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*SHAPES[network], 3)).astype(np.uint8)
    return images, rng.integers(0, CLASSES, images.shape[:3]).astype(np.uint8)


# Keras


class PlainDense(dense_layers.BatchNormalization):
    """Keras's own batch normalisation, behind our layer's arguments."""

    def call(self, inputs, training=None):
        return keras.layers.BatchNormalization.call(self, tf.concat(inputs[0], -1), training=training)


class NoDense(dense_layers.BatchNormalization):
    def call(self, inputs, training=None):
        return tf.concat(inputs[0], -1)


# (module, name) → what stands there.
PLAIN = {
    ("models.fc_densenet", "BatchNormalization"): PlainDense,
    ("models.unet", "BatchNormalization"): keras.layers.BatchNormalization,
    ("models.unet", "Conv2DTranspose"): keras.layers.Conv2DTranspose,
}
BARE = {
    ("models.fc_densenet", "BatchNormalization"): NoDense,
    ("models.unet", "NORMS"): {"batch": lambda x, name: x},
}


def keras_step(network: str, precision: str, instead: dict | None = None, xla: bool | str = "auto"):
    """A function that trains on one batch, the step of model.fit without its pipeline, and gives the loss; float(loss)
    waits for it."""
    keras.config.set_dtype_policy(POLICIES[precision])
    instead = {(importlib.import_module(module), name): layer for (module, name), layer in (instead or {}).items()}
    ours = {where: getattr(*where) for where in instead}
    for where, layer in instead.items():
        setattr(*where, layer)
    model = build_model(network, CLASSES)
    for where, layer in ours.items():
        setattr(*where, layer)
    model.compile(keras.optimizers.Adam(1e-3), PixelLoss("ce"), jit_compile=xla)
    images, labels = batch(network)
    step = model.make_train_function() or model.train_function
    data = tf.data.Dataset.from_tensors((images, labels, np.ones(labels.shape, np.float32))).cache().repeat()
    batches = iter(data)

    def train():
        return step(batches)["loss"]

    train.traced = partial(tf.function(model.train_step).get_concrete_function, next(batches))
    return train


def graph_size(step) -> dict[str, int]:
    """Operations and casts in Keras's traced step, the optimizer's and those of functions that it calls included."""
    graph = step.traced().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {"operations": len(nodes), "casts": sum(node.op == "Cast" for node in nodes)}


# PyTorch


def torch_step(network: str, precision: str, compiled: bool = False):
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.backends.cudnn.benchmark = True  # the fastest algorithm, as TensorFlow looks for it
    where = "cuda" if GPU else "cpu"
    model = TORCH[network]().to(where, memory_format=torch.channels_last)
    trainable = sum(parameter.numel() for parameter in model.parameters())
    expected = sum(int(np.prod(v.shape)) for v in build_model(network, CLASSES).trainable_variables)
    assert trainable == expected, f"{network}: {trainable:,} in PyTorch, {expected:,} here"
    images, labels = batch(network)
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels.astype(np.int64))
    if compiled:
        model = torch.compile(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=bool(GPU))
    loss_of = torch.nn.CrossEntropyLoss()
    scaler = torch.amp.GradScaler(where, enabled=precision == "float16")
    mixed = torch.float16 if precision == "float16" else torch.bfloat16

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(where, mixed, enabled=precision != "float32"):
            logits = model(inputs.to(where).float() / 255)
        loss = loss_of(logits.float(), labels.to(where))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return step


def torch_unet():
    from torch import cat, nn

    def double(before, after):
        return nn.Sequential(
            *(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)),
            *(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)),
        )

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [32, 64, 128, 256, 512]
            self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *widths], widths, strict=False))
            self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
            self.join = nn.ModuleList(double(2 * w, w) for w in widths[-2::-1])
            self.last = nn.Conv2d(32, CLASSES, 1)

        def forward(self, x):
            skips = []
            for level in self.down:
                x = level(nn.functional.max_pool2d(x, 2) if skips else x)
                skips.append(x)
            for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
                x = join(cat([skip, up(x)], 1))
            return self.last(x)

    return UNet()


def torch_fc_densenet(growth: int, blocks: tuple[int, ...]):
    """blocks: layers of each, 2n + 1 numbers, alike on the way down and up."""
    from torch import cat, nn

    def layer(before, after, size):
        norm = nn.BatchNorm2d(before, eps=1e-4)
        return nn.Sequential(
            norm, nn.ReLU(inplace=True), nn.Conv2d(before, after, size, padding=size // 2), nn.Dropout(0.2)
        )

    class Block(nn.Module):
        def __init__(self, channels, count):
            super().__init__()
            self.layers = nn.ModuleList(layer(channels + growth * i, growth, 3) for i in range(count))

        def forward(self, x):
            new = []
            for one in self.layers:
                new.append(one(cat([x, *new], 1)))
            return new

    poolings = len(blocks) // 2
    down, bottleneck, up = blocks[:poolings], blocks[poolings], blocks[poolings + 1 :]
    wide = [48 + growth * sum(down[: i + 1]) for i in range(poolings)]  # after each block on the way down

    class FCDenseNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 48, 3, padding=1)
            self.down = nn.ModuleList(Block(w - growth * n, n) for w, n in zip(wide, down, strict=True))
            self.pool = nn.ModuleList(nn.Sequential(layer(w, w, 1), nn.MaxPool2d(2)) for w in wide)
            self.bottleneck = Block(wide[-1], bottleneck)
            new = [growth * n for n in (bottleneck, *up[:-1])]  # maps that each block hands up
            self.up = nn.ModuleList(nn.ConvTranspose2d(n, n, 3, 2) for n in new)
            self.join = nn.ModuleList(Block(w + n, m) for w, n, m in zip(wide[::-1], new, up, strict=True))
            self.last = nn.Conv2d(wide[0] + new[-1] + growth * up[-1], CLASSES, 1)

        def forward(self, x):
            x, skips = self.first(x), []
            for block, pool in zip(self.down, self.pool, strict=True):
                x = cat([x, *block(x)], 1)
                skips.append(x)
                x = pool(x)
            new = self.bottleneck(x)
            for up, join, skip in zip(self.up, self.join, skips[::-1], strict=True):
                x = cat([up(cat(new, 1))[:, :, : skip.shape[2], : skip.shape[3]], skip], 1)
                new = join(x)
            return self.last(cat([x, *new], 1))

    return FCDenseNet()


TORCH = {
    "unet": torch_unet,
    "fc_densenet56": partial(torch_fc_densenet, 12, (4,) * 11),
    "fc_densenet103": partial(torch_fc_densenet, 16, (4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4)),
}

CONTESTANTS = {
    "ours": keras_step,
    "plain Keras": partial(keras_step, instead=PLAIN),
    "no normalisation": partial(keras_step, instead=BARE),  # the convolutions alone
    "PyTorch": torch_step,
}
if GPU:
    CONTESTANTS["ours, without XLA"] = partial(keras_step, xla=False)


if __name__ == "__main__":
    run_command(main, Config, __doc__)
