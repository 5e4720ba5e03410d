"""Checkpoint folders on the Hub: only cellnet's own files, of bounded size, and only if their hashes are right."""

from __future__ import annotations

import contextlib
import hashlib
import re
import warnings
from dataclasses import replace
from pathlib import Path

from cellnet.download import is_offline
from cellnet.errors import WeightsError
from cellnet.hub import config as config_file
from cellnet.hub.checkpoint import GOLDEN, README, verify
from cellnet.hub.index import Published
from cellnet.hub.sharing import WEIGHTS
from cellnet.hub.trouble import UnreachableError, explained

MAX_BYTES = {config_file.NAME: 10**6, README: 10**6, GOLDEN: 10**8, WEIGHTS: 2**32}
"""The only files that are ever fetched, and the most bytes that each may have."""

_ADDRESS = re.compile(r"hf://([^/@\s]+/[^/@\s]+)(?:@(\S+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 10.0
"""Seconds to wait for the Hub's first answer."""


def parse_address(address: str) -> Published:
    """Repository and revision of ``"hf://organisation/repository@revision"``; the revision may be left out.

    Raises:
        WeightsError: It is written otherwise.

    Example:
        >>> parse_address("hf://me/hybrid-pbc@v1").revision
        'v1'
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise WeightsError(
            f"{address!r} is no address on the Hub; write hf://organisation/repository, and @revision behind it for "
            "a commit, tag or branch."
        )
    return Published(match[1], match[2] or "main")


def fetch(wanted: Published, *, weights: bool = True) -> tuple[Path, Published]:
    """The folder of a checkpoint in the cache of huggingface-hub, downloaded if need be.

    A commit that is in the cache is taken from there without a request. For a branch or tag the Hub is asked where
    it points to, and the cache serves if the Hub cannot be reached, with a warning. Tokens, mirrors and the
    place of the cache are huggingface-hub's own settings: ``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HOME``.

    Args:
        wanted: Repository, revision, and the hashes where they are known.
        weights: Everything; without, config.json alone.

    Returns:
        The folder, and where it came from: the same with the commit as its revision.

    Raises:
        WeightsError: It cannot be had, or is damaged, foreign or too large. What is wrong does not stay in the
            cache.
        ConfigError: The cache cannot be written, or the disk is full.
    """
    cached = _cached(wanted, weights)
    if cached is not None and _COMMIT.fullmatch(wanted.revision):
        return cached, wanted
    try:
        if is_offline():
            raise UnreachableError(f"CELLNET_OFFLINE is set, so {wanted.repo} is not asked for; unset it.")
        folder = _download(wanted, weights, cached)
    except UnreachableError as error:
        if cached is None:
            raise UnreachableError(f"{error} It is not in the cache {_cache()} either.") from error
        warnings.warn(f"{error} Taken from the cache: {wanted.repo}@{cached.name}.", stacklevel=2)
        folder = cached
    return folder, replace(wanted, revision=folder.name)


def _cached(wanted: Published, weights: bool) -> Path | None:
    """The folder in the cache, if it is whole and right."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with explained(wanted.repo, wanted.revision):
        try:
            folder = Path(
                snapshot_download(
                    wanted.repo,
                    revision=wanted.revision,
                    local_files_only=True,
                    allow_patterns=_names(weights),
                )
            )
        except LocalEntryNotFoundError:
            return None
    # Another process may be at work there: what is not there yet is no damage.
    if not all((folder / name).is_file() for name in _names(weights)):
        return None
    try:
        _check(folder, wanted, weights)
    except WeightsError:
        return None
    return folder


def _download(wanted: Published, weights: bool, cached: Path | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    with explained(wanted.repo, wanted.revision):
        info = HfApi().model_info(wanted.repo, revision=wanted.revision, files_metadata=True, timeout=_TIMEOUT)
        commit = str(info.sha)
        if cached is not None and cached.name == commit:
            return cached
        _check_sizes(wanted.repo, {file.rfilename: file.size for file in info.siblings or []})
        # The small file first: what is not a checkpoint, or not the right one, ends here.
        folder = Path(hf_hub_download(wanted.repo, config_file.NAME, revision=commit)).parent
        _check(folder, replace(wanted, revision=commit), weights=False)
        # By the revision's own name, which the cache then keeps for times without the Hub.
        folder = Path(snapshot_download(wanted.repo, revision=wanted.revision, allow_patterns=_names(weights)))
    if folder.name != commit:
        raise WeightsError(f"{wanted.repo} was changed while it was read; try again.")
    _check(folder, replace(wanted, revision=commit), weights)
    return folder


def _names(weights: bool) -> list[str]:
    return list(MAX_BYTES) if weights else [config_file.NAME]


def _check_sizes(repo: str, sizes: dict[str, int | None]) -> None:
    for name, limit in MAX_BYTES.items():
        if name not in sizes:
            raise WeightsError(f"{repo} holds no {name}, so it is not a cellnet checkpoint; give another repository.")
        size = sizes[name]
        if size is None or size > limit:
            raise WeightsError(
                f"{name} of {repo} has {'an unknown number of' if size is None else f'{size:,}'} bytes, but may have "
                f"{limit:,}; if you trust it, download the folder yourself and give its path."
            )


def _check(folder: Path, wanted: Published, weights: bool) -> None:
    """Raise, and clear the cache, if the files are not what the index and config.json say."""
    try:
        config = config_file.CheckpointConfig.read(folder)
        digest = hashlib.sha256((folder / config_file.NAME).read_bytes()).hexdigest()
        if wanted.config_sha256 not in ("", digest) or wanted.weights_sha256 not in ("", config.sha256):
            raise WeightsError("It is not what cellnet's index names (another SHA-256); do not use it.")
        if weights:
            verify(folder)
    except WeightsError as error:
        _forget(folder)
        raise WeightsError(f"{wanted} cannot be used, and is not kept in the cache: {error}") from error


def _forget(folder: Path) -> None:
    """Take a checkpoint out of the cache; the client would never fetch files again that it has."""
    for name in MAX_BYTES:
        path = folder / name
        # A cache that cannot be written keeps what is wrong; it is found out again each time.
        with contextlib.suppress(OSError):
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)
