"""A checkpoint folder: config.json, model.safetensors, golden.safetensors and README.md; never a pickle."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cellnet.cards import WeightsCard
from cellnet.errors import CellnetError, ConfigError, WeightsError
from cellnet.hub import config as config_file
from cellnet.hub.card import render_card
from cellnet.hub.config import CheckpointConfig
from cellnet.hub.golden import Golden, make_golden
from cellnet.hub.sharing import PROBES, WEIGHTS, read_weights
from cellnet.hub.storage import EXACT, pack, unpack
from cellnet.inference import torch_device
from cellnet.models import CellClassifier, from_architecture
from cellnet.tensors import read_tensors, write_tensors

GOLDEN = "golden.safetensors"
README = "README.md"
_FILES = (config_file.NAME, WEIGHTS, GOLDEN, PROBES, README, "history*.csv", "train.toml")
"""All that a checkpoint folder holds; the last two stand in those that ship."""


def save(
    model: CellClassifier,
    folder: str | os.PathLike[str],
    *,
    card: WeightsCard | None = None,
    storage: str = "float16",
    overwrite: bool = False,
    golden_images: Tensor | None = None,
) -> Path:
    """Write a model as a checkpoint folder, whole or not at all.

    Args:
        model: The model; it is not changed.
        folder: The folder to make.
        card: Facts about the weights; default: the model's own card, or one with the folder's name.
        storage: ``"float32"``; ``"float16"``, half the size; or ``"int8"``, a quarter. They are widened when
            loaded, so that computing is always in float32.
        overwrite: Replace a checkpoint folder that stands there. Anything else, or one that holds more than a
            checkpoint, is never replaced.
        golden_images: A few images, uint8 N×3×H×W, whose logits are stored for `self_test`; default: two
            random ones.

    Returns:
        The folder.

    Raises:
        ConfigError: The folder holds something, or cannot be written; or the model is a fused one.
        WeightsError: A weight is not finite.
        UnknownNameError: An unknown storage.
        DataError: Golden images of another type or shape.
    """
    if model.fused:
        raise ConfigError("A fused model only predicts; save the model that it was made of.")
    final = Path(folder)
    name = final.resolve().name
    check_free(final, overwrite)
    packed = pack(model.state_dict(), storage)
    with new_folder(final) as temporary:
        config = CheckpointConfig(
            architecture=model.architecture,
            storage=storage,
            sha256=write_tensors(temporary / WEIGHTS, packed),
            calibrator=model.calibrator,
            thresholds={key: float(value) for key, value in model.thresholds.items()},
            risk_control=model.risk_control,
            sets=model.sets,
            nucleus_share=model.nucleus_share,
            card=_defined(card or model.weights_card or WeightsCard(name=name)),
        )
        config.write(temporary)
        # The golden logits are those of the weights as stored, which differ from the model's own; and to
        # read them back proves that the folder can be loaded.
        golden = make_golden(load(temporary), golden_images)
        digest = write_tensors(temporary / GOLDEN, {"images": golden.images, "logits": golden.logits})
        facts = {"sha256": digest, "tolerance": golden.tolerance, "libraries": golden.libraries}
        replace(config, golden=facts).write(temporary)
        text = render_card(config.card, model, source=f"./{name}", storage=storage)
        (temporary / README).write_text(text, encoding="utf-8")
    return final


def load(folder: str | os.PathLike[str], *, device: str | torch.device | None = None) -> CellClassifier:
    """Read a checkpoint folder.

    Args:
        folder: A folder that `save` wrote.
        device: Where to put the model; default: the CPU.

    Returns:
        The model in evaluation mode, with its calibration, thresholds, sets, card and golden logits.

    Raises:
        WeightsError: No such folder, or anything in it that is missing, damaged, foreign, or does not fit.
        ConfigError: A device that this machine does not have.
    """
    path = Path(folder)
    if not path.is_dir():
        raise WeightsError(f"There is no folder {path}; give the path of a checkpoint folder.")
    config = CheckpointConfig.read(path)
    state = unpack(read_weights(path, config))
    _check_probes(path, config, state)
    model = _build(path, config)
    _fill(path / WEIGHTS, model, state)
    _check_classes(path, config, len(model.labels))
    model.calibrator, model.thresholds = config.calibrator, config.thresholds
    model.risk_control, model.sets = config.risk_control, config.sets
    model.nucleus_share = config.nucleus_share
    model.weights_card = config.card
    model.golden = _read_golden(path, config, len(model.labels))
    return model.eval().to(torch_device(device or "cpu"))


def verify(folder: Path) -> CheckpointConfig:
    """Check that the files of a checkpoint folder are those of its config.json, without building the model.

    Raises:
        WeightsError: A file is missing, damaged or another one.
    """
    config = CheckpointConfig.read(folder)
    read_weights(folder, config)
    if config.golden:
        read_tensors(folder / GOLDEN, config.golden["sha256"])
    return config


def _defined(card: WeightsCard) -> WeightsCard:
    """The card without figures that are undefined (NaN), for which JSON has no word."""
    finite = {name: figure for name, figure in card.metrics.items() if all(map(math.isfinite, figure.values()))}
    return replace(card, metrics=finite)


def _build(folder: Path, config: CheckpointConfig) -> CellClassifier:
    try:
        # The random start of the weights is thrown away: it must not move the user's random numbers on.
        with torch.random.fork_rng(devices=[]):
            return from_architecture(config.architecture)
    except (CellnetError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise WeightsError(
            f"{folder / config_file.NAME} describes no model that this cellnet can build ({error}); "
            f"it was written by cellnet {config.cellnet}."
        ) from error


def _check_probes(folder: Path, config: CheckpointConfig, state: Mapping[str, Tensor]) -> None:
    """Refuse sizes of probes that no stored tensor has, before memory is asked for."""
    probes = config.architecture.get("probes", {})
    for name, options in probes.items() if isinstance(probes, dict) else ():
        sizes = {n for key, tensor in state.items() if key.startswith(f"{EXACT}{name}.") for n in tensor.shape}
        asked = options.items() if isinstance(options, dict) else ()
        for key, value in asked:
            if type(value) is int and value not in sizes:
                raise WeightsError(
                    f"{folder / config_file.NAME}: {key} of {name!r} is {value}, which no stored tensor has; get the "
                    "checkpoint folder again."
                )


def _check_classes(folder: Path, config: CheckpointConfig, num_classes: int) -> None:
    sets = None if config.sets is None else len(config.sets.limits)
    for what, number in (("calibrator", config.calibrator.num_classes), ("sets", sets)):
        if number not in (None, num_classes):
            raise WeightsError(
                f"{folder / config_file.NAME}: {what!r} is for {number} classes, but the model has {num_classes}; get "
                "the checkpoint folder again."
            )


def _fill(file: Path, model: CellClassifier, state: dict[str, Tensor]) -> None:
    """Put the weights into the model, every one of them and no other."""
    wanted = model.state_dict()
    for words, names in (
        ("lacks the weight", wanted.keys() - state.keys()),
        ("has the unknown weight", state.keys() - wanted.keys()),
    ):
        if names:
            raise WeightsError(
                f"{file} {words} {min(names)!r} ({len(names)} in all), so it does not belong to this "
                "config.json; get the whole checkpoint folder again."
            )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise WeightsError(
                f"In {file} the weight {name!r} has the shape {tuple(state[name].shape)}, but the model of "
                f"config.json, with {len(model.labels)} classes, needs {tuple(tensor.shape)}; "
                "get the whole checkpoint folder again."
            )
    model.load_state_dict(state)


def _read_golden(folder: Path, config: CheckpointConfig, num_classes: int) -> Golden | None:
    if not config.golden:
        return None
    tensors = read_tensors(folder / GOLDEN, config.golden["sha256"])
    images, logits = tensors.get("images"), tensors.get("logits")
    if images is None or logits is None or logits.shape != (len(images), num_classes):
        raise WeightsError(f"{folder / GOLDEN} does not fit the model; get the whole checkpoint folder again.")
    return Golden(images, logits, config.golden["tolerance"], dict(config.golden.get("libraries", {})))


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``final`` when the block ends well, and else disappears."""
    final = final.resolve()  # through a link, and whatever becomes of the working folder
    temporary, old = (final.with_name(f".{final.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if final.exists():
            final.rename(old)
        temporary.rename(final)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"Cannot write {final}: {reason}; free some space or choose another folder.") from error
    finally:
        if old.exists() and not final.exists():
            old.rename(final)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Refuse a folder that cannot become a checkpoint folder without a loss.

    Raises:
        ConfigError: It holds anything but a checkpoint, or one that is not to be replaced.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not config_file.is_own(folder):
        raise ConfigError(f"{folder} holds something that is not a checkpoint; choose another folder.")
    others = [file.name for file in folder.iterdir() if not any(map(file.match, _FILES))]
    if others:
        raise ConfigError(f"{folder} holds {min(others)}, which is not a checkpoint's; choose another folder.")
    if not overwrite:
        raise ConfigError(
            f"{folder} holds a checkpoint; choose another folder, or replace it by model.save(..., overwrite=True)."
        )
