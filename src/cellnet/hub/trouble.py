"""What goes wrong between here and the Hub, in a sentence."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

from cellnet.errors import CellnetError, ConfigError, WeightsError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}

_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


class UnreachableError(WeightsError):
    """The Hub does not answer, or is not to be asked: what is in the cache may serve instead."""


@contextmanager
def explained(repo: str, revision: str = "main") -> Iterator[None]:
    """Turn whatever the Hub's client raises within the block into one of cellnet's errors.

    Raises:
        UnreachableError: The net, the Hub itself, or a switch that forbids to ask it.
        ConfigError: The cache cannot be written, or the disk is full.
        WeightsError: Anything else.
    """
    try:
        yield
    except CellnetError:
        raise
    except Exception as error:
        # Anything: the client has changed its HTTP library, and with it what it raises, more than once.
        raise _explain(list(_causes(error)), repo, revision) from error


def _explain(causes: list[BaseException], repo: str, revision: str) -> CellnetError:
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    codes = (getattr(getattr(error, "response", None), "status_code", None) for error in causes)
    status = next((code for code in codes if isinstance(code, int)), None)

    def has(kind: type[Exception]) -> bool:
        return any(isinstance(error, kind) for error in causes)

    for error in causes:
        if isinstance(error, OSError) and error.errno in _DISK:
            return ConfigError(
                f"Cannot write into the cache {constants.HF_HUB_CACHE}: {error.strerror}; free some space, or set "
                "HF_HOME to another folder."
            )
    if has(errors.OfflineModeIsEnabled):
        return UnreachableError(f"HF_HUB_OFFLINE is set, so {repo} is not asked for; unset it.")
    if has(errors.GatedRepoError):
        return WeightsError(f"{repo} is gated: ask for access at {hub}/{repo}, then {_LOG_IN}.")
    if has(errors.RevisionNotFoundError):
        return WeightsError(
            f"{repo} has no revision {revision!r}: it was moved, deleted or never there; see {hub}/{repo}/commits/main."
        )
    if status == 401:
        return WeightsError(f"{repo} is private, or does not exist: check the spelling, and {_LOG_IN}.")
    if status == 403:
        return WeightsError(f"{hub} forbids this with {repo}: {_LOG_IN}, with a token that has the right.")
    if status == 404:
        return WeightsError(f"There is no model {repo} at {hub}, or it is private: check the spelling.")
    if status in (408, 429) or (status or 0) >= 500:
        return UnreachableError(f"{hub} has trouble of its own (status {status}); try again later.")
    if has(json.JSONDecodeError):
        return UnreachableError(
            f"What answers for {hub} is not the Hub, but perhaps the log-in page of your network; open it in a browser."
        )
    if has(errors.HFValidationError):
        return WeightsError(
            f"{repo!r} is no name of a repository on the Hub ({_words(causes[0])}); check the spelling."
        )
    if status is not None or has(ValueError):
        return WeightsError(f"{hub} refuses what is asked of {repo} ({_words(causes[0])}).")
    return UnreachableError(
        f"The exchange with {hub} broke off ({_words(causes[-1])}); check the connection and try again, or set "
        "HF_ENDPOINT to a mirror."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from: the client wraps the answer of the Hub several times."""
    while error is not None:
        yield error
        error = error.__cause__


def _words(error: BaseException) -> str:
    """An error's text in one line, or its kind where it has none."""
    return shorten(str(error), 200, placeholder=" …").rstrip(".: ") or type(error).__name__
