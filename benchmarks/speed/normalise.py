"""Batches of bytes to normalised floats, images a second on one core.

    python benchmarks/speed/normalise.py

A batch of 32 images of 299 px in memory. The reference is the expression that most scripts have; ``a plain copy`` of as
many floats is the limit. cellnet's own models take bytes and do this inside.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from harness import interleave, rows, write

from cellnet.images import Preprocess

SIZE, BATCH, BATCHES = 299, 32, 4


def main(size: int = SIZE, rounds: int = 15) -> None:
    """Measure and write ``speed_normalise.csv``."""
    torch.set_num_threads(1)
    preprocess = Preprocess(size)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH, size, size, 3), dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)
    out = torch.empty(BATCH, size, size, 3).permute(0, 3, 1, 2)
    source = torch.empty_like(out)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))

    def batches(function: Callable[[], object]) -> Callable[[], int]:
        def run() -> int:
            for _ in range(BATCHES):
                function()
            return BATCHES * BATCH

        return run

    work = {
        "(images.float() / 255 - mean) / std": batches(lambda: (images.float() / 255 - mean) / std),
        "cellnet, into new memory": batches(lambda: preprocess.normalise(images)),
        "cellnet": batches(lambda: preprocess.normalise(images, out)),
        "a plain copy": batches(lambda: out.copy_(source)),
    }
    write("speed_normalise", rows(interleave(work, rounds), next(iter(work)), ("torch",)))


if __name__ == "__main__":
    main()
