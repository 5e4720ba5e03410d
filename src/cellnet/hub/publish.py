"""From a model or a checkpoint folder to a repository on the Hub."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cellnet._version import __version__
from cellnet.cards import WeightsCard
from cellnet.download import is_offline
from cellnet.errors import ConfigError, WeightsError
from cellnet.hub import config as config_file
from cellnet.hub.card import render_card
from cellnet.hub.checkpoint import GOLDEN, README, load, save
from cellnet.hub.config import CheckpointConfig
from cellnet.hub.index import Published
from cellnet.hub.record import check_report
from cellnet.hub.sharing import WEIGHTS, make_whole
from cellnet.hub.trouble import explained
from cellnet.models import CellClassifier

if TYPE_CHECKING:
    from cellnet.evaluation import Report


def push_to_hub(
    model: CellClassifier,
    repo: str,
    *,
    report: Report | None = None,
    private: bool | None = None,
    storage: str = "float16",
) -> str:
    """Publish a model on the Hub, its card written from a report: `publish` without a folder of your own.

    Args:
        model: The model; it is not changed.
        repo: ``"organisation/repository"``, or your user name in the organisation's place; made if need be.
        report: Figures for the card, from images that the model was not trained on; default: those of the
            model's own card.
        private: Whether only you see a new repository; default: as your account is set.
        storage: How the weights are stored, see `save`.

    Returns:
        The web address of the commit.

    Raises:
        DataError: The report judges training images.
        LabelError: The report is about other classes than the model's.
        CellnetError: As `save` and `publish`.
    """
    card = card_from_report(model, repo.rpartition("/")[2], report)
    with TemporaryDirectory() as folder:
        return publish(save(model, Path(folder) / "model", card=card, storage=storage), repo, private=private)[0]


def publish(folder: str | os.PathLike[str], repo: str, *, private: bool | None = None) -> tuple[str, Published]:
    """Upload a checkpoint folder in one commit; the README is written anew, for its new place.

    Tokens and mirrors are huggingface-hub's own settings: ``HF_TOKEN`` or ``hf auth login``, ``HF_ENDPOINT``.

    Args:
        folder: A folder that `save` wrote.
        repo: ``"organisation/repository"``, or your user name in the organisation's place; made if need be.
        private: Whether only you see a new repository; default: as your account is set. It changes nothing about a
            repository that is there.

    Returns:
        The web address of the commit, and the commit as an entry of the collection index.

    Raises:
        WeightsError: The folder is not a whole checkpoint, or the Hub does not take it.
        ConfigError: ``repo`` has no organisation, or ``CELLNET_OFFLINE`` is set.
    """
    if len([part for part in repo.split("/") if part]) != 2:
        raise ConfigError(f"{repo!r} does not say whose repository it is; give organisation/repository.")
    if is_offline():
        raise ConfigError("CELLNET_OFFLINE is set, so nothing is published; unset it.")
    path = Path(folder)
    model = load(path)
    if model.golden is None:
        raise WeightsError(f"{path} has no golden logits, by which others test their machine; load and save it again.")
    config = CheckpointConfig.read(path)
    card = render_card(config.card, model, source=f"hf://{repo}", storage=config.storage)
    with TemporaryDirectory() as temporary, explained(repo):
        whole = path
        if config.shared or config.probes:  # what lies beside the weights stays behind
            whole = Path(temporary)
            config = make_whole(path, whole)
        files: dict[str, Path | bytes] = {name: whole / name for name in (config_file.NAME, WEIGHTS)}
        files |= {GOLDEN: path / GOLDEN, README: card.encode()}
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(library_name="cellnet", library_version=__version__)
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=f"{config.card.name}, version {config.card.version}, by cellnet {__version__}",
        )
        digest = hashlib.sha256((whole / config_file.NAME).read_bytes()).hexdigest()
    return str(commit.commit_url), Published(repo, str(commit.oid), digest, config.sha256)


def card_from_report(model: CellClassifier, name: str, report: Report | None) -> WeightsCard:
    """The model's card under a new name, with a report's figures in the place of its own.

    Raises:
        DataError: The report judges training images.
        LabelError: The report is about other classes than the model's.
    """
    card = replace(model.weights_card or WeightsCard(name), name=name)
    if report is None:
        return card
    check_report(report, model.labels)
    part = f", part {report.part!r}" if report.part else ""
    where = f"The figures were measured on {report.n:,} images of {report.dataset or 'unnamed data'}{part}."
    scoring = report.scoring(version=card.version)
    return replace(
        card,
        metrics=scoring.metrics,
        num_test_images=report.n,
        limits=tuple(dict.fromkeys((where, *report.notes, *card.limits))),
        scorings=(*card.scorings, scoring),
    )
