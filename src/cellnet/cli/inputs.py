"""From the words of the command line to data sets and their parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellnet.errors import ConfigError
from cellnet.registry import check_name

if TYPE_CHECKING:
    from cellnet.datasets import CellDataset
    from cellnet.models import CellClassifier


def open_dataset(name: str, root: Path | None, exclude: str | None, only: Path | None = None) -> CellDataset:
    """The data set that ``--dataset``, ``--root``, ``--exclude`` and ``--only`` name."""
    from cellnet.datasets import load_dataset, read_list, samples
    from cellnet.images import list_images

    left_out: list[str] = []
    if exclude == "samples":
        left_out = samples().files
    elif exclude is not None:
        left_out = [str(path) for path in list_images(Path(exclude))]
    images = load_dataset(name, root, exclude=left_out)
    return images if only is None else read_list(only, images)


def parse_split(words: str) -> tuple[float, ...]:
    """``0.7,0.1,0.2`` or ``70/10/20`` as shares of one."""
    try:
        numbers = [float(word) for word in words.replace("/", ",").split(",")]
    except ValueError:
        raise ConfigError(
            f"--split {words!r} is not a list of shares; type e.g. --split 0.7,0.1,0.2, "
            "`official`, or the name of a split's CSV file."
        ) from None
    total = sum(numbers)
    return tuple(number / total for number in numbers) if total > 1.5 else tuple(numbers)


def divide(dataset: CellDataset, split: str, seed: int) -> tuple[tuple[CellDataset, ...], str]:
    """The parts that ``--split`` and ``--split-seed`` name, and how they were made, in words."""
    from cellnet.datasets import read_split

    if split == "official":
        return dataset.official_split(), "official split"
    if split.endswith(".csv"):
        return read_split(split, dataset), f"split file {Path(split).name}"
    words = f"stratified by class, identical images together, split seed {seed}"
    return dataset.split(parse_split(split), seed=seed), words


def choose_part(
    dataset: CellDataset, part: str, split: str, seed: int
) -> tuple[CellDataset, dict[str, CellDataset], dict[str, str]]:
    """The part to judge, all parts by name where the data set is split, and how it was, for the report."""
    from cellnet.datasets import split_hash

    check_name("part", part, ["train", "val", "test", "all"])
    if part == "all":
        return dataset, {}, {}
    divided, words = divide(dataset, split, seed)
    parts = {p.part: p for p in divided if p.part}
    check_name("part of this split", part, list(parts))
    return parts[part], parts, {"split": words, "split hash": split_hash(*divided)}


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words as TOML values: numbers, true and false as such, anything else as a string."""
    import tomllib

    values: dict[str, Any] = {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"--set {word!r} is not KEY=VALUE; type e.g. --set weight_decay=0.05.")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = text
    return values


def load_branches(given: list[str], networks: Sequence[str]) -> list[CellClassifier]:
    """The trained models of ``--branch``, in the order of the networks that they shall be.

    Raises:
        ConfigError: They are not one of each.
    """
    from cellnet.hub import load_pretrained

    models = [load_pretrained(name) for name in given]
    names = [model.backbone.name for model in models]
    if sorted(names) != sorted(networks):
        raise ConfigError(
            f"--branch gives {', '.join(names)}; give one trained {networks[0]} and one {networks[1]}, each by a "
            "--branch of its own, or another --model."
        )
    return sorted(models, key=lambda model: networks.index(model.backbone.name))


def open_model(name: str, classes: str | None, tta: bool, device: str | None) -> CellClassifier:
    """The model of ``--model`` on ``--device``, restricted to ``--classes``, asked several times for ``--tta``."""
    from cellnet.hub import load_pretrained
    from cellnet.inference.predictor import best_device

    model = load_pretrained(name, device=best_device(device))
    if classes is not None:
        model = model.restrict(word.strip() for word in classes.split(","))
    model.tta = tta
    return model


def load_teacher(name: str | None) -> CellClassifier | None:
    """The model of ``--distill``."""
    from cellnet.hub import load_pretrained

    return None if name is None else load_pretrained(name)
