"""``cellnet pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.cli.inputs import open_dataset
from cellnet.errors import ConfigError


def pack(
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    only: options.Only = None,
    image_size: Annotated[
        int | None, typer.Option("--image-size", help="Side of the packed images, pixels; as they are if not given.")
    ] = None,
    crop: Annotated[
        float, typer.Option("--crop", help="Share of the shorter side that is kept, about the centre.")
    ] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a packed set in --out.")] = False,
    json: options.Json = False,
) -> None:
    """Make one array of a data set, which is read many times faster than its files.

    Example: `cellnet pack --dataset pbc --root data --image-size 128 --out packed/pbc128`
    """
    from cellnet.datasets.packed import PackedCells
    from cellnet.datasets.packing import pack as write
    from cellnet.images import Preprocess

    if image_size is None and crop != 1:
        raise ConfigError(f"--crop {crop:g} needs the size to bring the crop to; add e.g. --image-size 128.")
    preprocess = None if image_size is None else Preprocess(image_size, crop=crop)
    images = open_dataset(dataset, root, exclude, only)
    packed = PackedCells(write(images, out, preprocess, overwrite=overwrite, progress=not json), verify=False)
    height, width = packed.image(0).shape[1:]
    size = 3 * len(packed) * height * width
    if json:
        print_json(
            {
                "out": str(out),
                "images": len(packed),
                "width": width,
                "height": height,
                "bytes": size,
                "fingerprint": packed.fingerprint(),
            }
        )
        return
    print(f"{len(packed):,} images of {width}×{height} pixels, {size / 1e9:.2f} GB, in {out}")
    log.print(f"Use it with --dataset packed --root {out}")
