"""How many images a second a model learns from: steps of cellnet's trainer in each precision and memory layout.

    python benchmarks/speed/training.py [mobilenet_v2|timm:resnet18|hybrid] [--device cpu] [--eager]

With one name, the table's other rows stay. Without ``--device``, on the GPU if there is one. ``--eager`` leaves out
what is compiled: the hybrid takes more than four minutes to compile on one core. "memory kept" is a CPU whose process
keeps its memory from step to step (``KEPT_MEMORY`` of the harness). ``products alone`` multiplies fp32 matrices that
are as much to compute as a step's convolutions and dense layers, three times the forward pass, and nothing else.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

import torch
from harness import KEEPS_MEMORY, KEPT_MEMORY, LIMIT, Work, elsewhere, interleave, known, machine, rows, write
from operations import products, training_flops

from cellnet.errors import ConfigError
from cellnet.models import create_model
from cellnet.training import TrainConfig
from cellnet.training.learner import Learner
from cellnet.training.objectives import Classification
from cellnet.training.processes import create_accelerator

SIZES = {"mobilenet_v2": 128, "timm:resnet18": 128, "hybrid": 96}
CPU_BATCH = {"mobilenet_v2": 16, "timm:resnet18": 16, "hybrid": 4}
MODES: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "channels_last": False},
    "fp32, channels-last": {"precision": "fp32"},
    "fp32, channels-last, compiled": {"precision": "fp32", "compile": True},
    "bf16": {"precision": "bf16", "channels_last": False},
    "bf16, channels-last": {"precision": "bf16"},
    "bf16, channels-last, compiled": {"precision": "bf16", "compile": True},
}
KEPT = {f"{mode}, memory kept": options for mode, options in MODES.items() if options["precision"] == "fp32"}
"""On a CPU, the same in a process that keeps its memory."""

PACKAGES = ("torch", "timm", "accelerate")


def steps(name: str, size: int, mode: Mapping[str, Any], device: str | None, batch: int, count: int) -> Work:
    """Some steps of training a new model on random images, which lie on the device."""
    config = TrainConfig(batch_size=batch, warmup_epochs=0, **mode)
    accelerator = create_accelerator(config, device)
    learner = Learner(create_model(name, image_size=size), config, accelerator, Classification(), steps=10**6)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8).to(accelerator.device)
    targets = torch.randint(0, 8, (batch,)).to(accelerator.device)

    def run() -> int:
        learner.train(freeze=None)
        for _ in range(count):
            learner.learn(images, targets, size)
            learner.update()
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return count * batch

    return run


def products_alone(name: str, size: int, batch: int) -> Work:
    """Matrix products that are as much to compute as one step, and nothing else."""
    run = products(batch * training_flops(create_model(name, image_size=size)))

    def work() -> int:
        run()
        return batch

    return work


def main(
    names: list[str],
    device: str | None = None,
    eager: bool = False,
    sizes: Mapping[str, int] = SIZES,
    batches: Mapping[str, int] = CPU_BATCH,
    rounds: int = 9,
) -> None:
    """Measure and write ``speed_training.csv``, or ``speed_training_gpu.csv``.

    Args:
        names: Of models.
        device: ``"cpu"``, or the GPU if there is one.
        eager: Leave out what is compiled.
        sizes: Sides of the images of each model, in pixels.
        batches: Images in a batch of each model on the CPU.
        rounds: Of measuring on the CPU.
    """
    on_gpu = device != "cpu" and torch.cuda.is_available()
    table_name = "speed_training" + ("_gpu" if on_gpu else "")
    place = torch.cuda.get_device_name() if on_gpu else machine(torch.get_num_threads())
    modes = MODES | (KEPT if KEEPS_MEMORY and not on_gpu else {})
    tables = {name: known(table_name, name) for name in SIZES}
    for name in names:
        batch, count = (256, 20) if on_gpu else (batches[name], 1)
        work, failed = dict[str, Work](), dict[str, str]()
        with elsewhere(KEPT_MEMORY) as keeping:
            for mode, options in modes.items():
                if eager and options.get("compile"):
                    failed[mode] = "left out by --eager"
                    continue
                given = (name, sizes[name], options, device, batch, count)
                try:
                    work[mode] = keeping(steps, *given) if mode in KEPT else steps(*given)
                except ConfigError as error:  # no compiler
                    failed[mode] = str(error)
            if not on_gpu:
                work[LIMIT] = products_alone(name, sizes[name], batch)
            measured = rows(interleave(work, 7 if on_gpu else rounds), "fp32", PACKAGES)
        about = {"model": name, "image_size": str(sizes[name]), "batch": str(batch)}
        where = {"machine": place, "load": f"{os.getloadavg()[0]:.1f}"}
        tables[name] = [about | row | where | {"not_measured_because": ""} for row in measured]
        nothing = dict.fromkeys(tables[name][0], "")
        tables[name] += [nothing | about | {"what": mode, "not_measured_because": failed[mode]} for mode in failed]
    write(table_name, [row for table in tables.values() for row in table])


def read_words() -> argparse.Namespace:
    """The words of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=list(SIZES))
    parser.add_argument("--device", help="cpu, or the GPU if there is one")
    parser.add_argument("--eager", action="store_true", help="leave out what is compiled")
    return parser.parse_args()


if __name__ == "__main__":
    words = read_words()
    main([words.model] if words.model else list(SIZES), words.device, words.eager)
