"""Images a second that an untrained model classifies: cellnet beside timm, torchvision and what runtimes are installed.

    python benchmarks/speed/inference.py [mobilenet_v2|inception_v3|xception|hybrid]

With one name, the table's other rows stay. One image at a time on one core, and 32 at a time on all cores. Every side
starts from the same bytes of the model's own size and normalises them. The reference is timm's network as it is, in
evaluation mode, without gradients; for the hybrid, both networks and the study's dense layers.
``cellnet: model(images)`` gives logits, ``cellnet: fused`` those of `cellnet.models.fuse`, ``cellnet: predict`` the
whole table of predictions by the fused model, as of many images. "memory kept" is a process that keeps its memory from
one batch to the next (``KEPT_MEMORY`` of the harness). ONNX Runtime and OpenVINO run timm's network too; where they
are not installed (pip install onnx onnxscript onnxruntime openvino) they are left out. ``products alone`` multiplies
fp32 matrices that are as much to compute as the reference's convolutions and dense layers, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from harness import KEEPS_MEMORY, KEPT_MEMORY, LIMIT, Work, elsewhere, interleave, known, machine, rows, write
from operations import flops, products
from torch import Tensor, nn

from cellnet.backbones.timm_backbone import STUDY_NETWORKS
from cellnet.images import IMAGENET_MEAN, IMAGENET_STD
from cellnet.labels import PBC_LABELS
from cellnet.models import create_model

CLASSES = len(PBC_LABELS)
MODELS: Mapping[str, int | None] = dict.fromkeys(("mobilenet_v2", "inception_v3", "xception", "hybrid"))
"""Model -> side of its images in pixels; its own where None."""

BATCHES, ROUNDS = (1, 32), 5
SECONDS = 1.0
"""That each side's part of a round takes at least."""

PACKAGES = ("torch", "torchvision", "timm")
NEEDED = {"ONNX Runtime": ("onnx", "onnxscript", "onnxruntime"), "OpenVINO": ("openvino",)}

KEPT = ("timm", "cellnet: fused")
"""What is also done in a process that keeps its memory."""

Run = Callable[[], Any]


class Plain(nn.Module):
    """What one writes around a network: bytes to normalised floats to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 B×3×S×S -> B×C."""
        return self.network((images.float() / 255 - self.mean) / self.std)


class Pair(nn.Module):
    """The study's hybrid, written down plainly."""

    def __init__(self) -> None:
        super().__init__()
        tags = (STUDY_NETWORKS["inception_v3"], STUDY_NETWORKS["xception"])
        self.networks = nn.ModuleList(timm.create_model(tag, num_classes=0) for tag in tags)
        self.dense = nn.ModuleList(nn.Sequential(nn.Linear(2048, 1024), nn.ReLU()) for _ in tags)
        self.fuse = nn.Sequential(nn.Linear(2048, 512), nn.ReLU(), nn.Linear(512, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """B×3×S×S -> B×C."""
        parts = [dense(network(images)) for network, dense in zip(self.networks, self.dense, strict=True)]
        return self.fuse(torch.cat(parts, dim=1))


def peers(name: str) -> dict[str, nn.Module]:
    """The plain networks; the first is the reference."""
    half = (0.5, 0.5, 0.5)
    if name == "hybrid":
        return {"timm": Plain(Pair(), half, half)}
    network = timm.create_model(STUDY_NETWORKS[name], num_classes=CLASSES)
    found: dict[str, nn.Module] = {"timm": Plain(network, *(network.default_cfg[key] for key in ("mean", "std")))}
    if name == "mobilenet_v2":
        other: nn.Module = torchvision.models.mobilenet_v2(num_classes=CLASSES)
        found["torchvision"] = Plain(other, IMAGENET_MEAN, IMAGENET_STD)
    if name == "inception_v3":
        other = torchvision.models.inception_v3(num_classes=CLASSES, init_weights=False)
        found["torchvision"] = Plain(other, half, half)
    return found


def on_onnx_runtime(module: nn.Module, images: Tensor, threads: int) -> Run:
    """The module in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "network.onnx")
        torch.onnx.export(module, (images,), file, input_names=["images"], dynamo=True)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {"images": images.numpy()}
    return lambda: session.run(None, given)


def on_openvino(module: nn.Module, images: Tensor, threads: int) -> Run:
    """The module in OpenVINO."""
    import openvino

    network = openvino.convert_model(module, example_input=images)
    compiled = openvino.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads})
    given = images.numpy()
    return lambda: compiled([given])


RUNTIMES: dict[str, Callable[[nn.Module, Tensor, int], Run]] = {
    "ONNX Runtime": on_onnx_runtime,
    "OpenVINO": on_openvino,
}


@lru_cache(maxsize=1)
def contestants(name: str, size: int, batch: int, threads: int, runtimes: tuple[str, ...]) -> dict[str, Run]:
    """Each side's way to classify one batch; the first is the reference."""
    model = create_model(name, image_size=size).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)

    def eager(module: nn.Module) -> Run:
        module.eval()
        return lambda: module(images)

    plain = peers(name)
    runs = {what: eager(module) for what, module in plain.items()}
    runs |= {what: RUNTIMES[what](plain["timm"].eval(), images, threads) for what in runtimes}
    fused = model.fuse()
    runs["cellnet: model(images)"] = eager(model)
    runs["cellnet: fused"] = eager(fused)
    runs["cellnet: predict"] = lambda: fused.predict(images, batch_size=batch)
    runs[LIMIT] = products(flops(runs["timm"]))
    return runs


def repeated(run: Run, batch: int, seconds: float) -> Work:
    """The work of a round: so many batches as the time is enough for."""

    @torch.inference_mode()
    def work() -> int:
        images, end = 0, time.perf_counter() + seconds
        while not images or time.perf_counter() < end:
            run()
            images += batch
        return images

    return work


def keeping_memory(what: str, name: str, size: int, batch: int, threads: int, seconds: float) -> Work:
    """The work of one side, in a process of its own."""
    torch.set_num_threads(threads)
    return repeated(contestants(name, size, batch, threads, ())[what], batch, seconds)


def main(
    models: Mapping[str, int | None] = MODELS,
    batches: tuple[int, ...] = BATCHES,
    rounds: int = ROUNDS,
    cores: int | None = None,
    seconds: float = SECONDS,
) -> None:
    """Measure and write ``speed_inference.csv``.

    Args:
        models: Model -> side of its images in pixels; its own where None.
        batches: Images at a time; 1 on one core, others on all cores.
        rounds: Of measuring.
        cores: So many instead of all.
        seconds: Of each side in a round, at least.
    """
    runtimes = tuple(name for name, packages in NEEDED.items() if all(map(find_spec, packages)))
    for name in NEEDED.keys() - set(runtimes):
        print(f"{name} is left out: pip install {' '.join(NEEDED[name])}")
    packages = (*PACKAGES, *(NEEDED[name][-1] for name in runtimes))
    tables = {name: [] if name in models else known("speed_inference", name) for name in MODELS}
    for name, batch in product(models, batches):
        size = models[name] or create_model(name).preprocess.image_size
        threads = 1 if batch == 1 else cores or os.cpu_count() or 1
        torch.set_num_threads(threads)
        runs = contestants(name, size, batch, threads, runtimes)
        work = {what: repeated(run, batch, seconds) for what, run in runs.items()}
        with elsewhere(KEPT_MEMORY) as keeping:
            if KEEPS_MEMORY:
                given = (name, size, batch, threads, seconds)
                work |= {f"{what}, memory kept": keeping(keeping_memory, what, *given) for what in KEPT}
            rates = interleave(work, rounds)
        where = {"model": name, "image_size": f"{size}", "batch": f"{batch}"}
        load = {"load": f"{os.getloadavg()[0]:.1f}", "machine": machine(threads)}
        tables[name] += [where | row | load for row in rows(rates, "timm", packages)]
    write("speed_inference", [row for table in tables.values() for row in table])


def read_words() -> argparse.Namespace:
    """The words of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=list(MODELS))
    return parser.parse_args()


if __name__ == "__main__":
    chosen = read_words().model
    main({chosen: MODELS[chosen]} if chosen else MODELS)
