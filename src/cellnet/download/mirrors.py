"""The addresses of a file in turn, each several times."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from cellnet.cards import RemoteFile
from cellnet.download.hashes import TITLES
from cellnet.download.part import Part
from cellnet.download.progress import Show
from cellnet.download.transfer import TransferError, transfer

if TYPE_CHECKING:
    from requests import Session

ATTEMPTS = 4
"""Tries of one address in a row that bring nothing on."""

PROGRESS = 2**20
"""Bytes that a try must add for the count to start anew: a long download over a bad line goes on."""

FIRST_WAIT = 1.0
"""Seconds before the second try, half of it up or down by chance; doubled each time."""

LONGEST_WAIT = 120.0
"""Seconds, also where the server asks for more."""


def download(file: RemoteFile, part: Part, show: Show) -> None:
    """Fill ``part`` with the whole file, from the first address that gives it.

    Raises:
        TransferError: None does; the message says what happened at each.
        ConfigError: The disk has no room for it.
    """
    import requests

    failures = []
    with requests.Session() as session:
        for url in file.urls:
            try:
                _download_from(session, url, file, part, show)
            except TransferError as error:
                failures.append(f"{url} {error}")
            else:
                return
    raise TransferError("; ".join(failures))


def _download_from(session: Session, url: str, file: RemoteFile, part: Part, show: Show) -> None:
    tries, reached = 0, part.size
    while True:
        goes_on = part.size > 0
        try:
            transfer(session, url, file, part, show)
            if part.is_proven or not part.expected:
                return
            problem = f"gave a file whose {TITLES[part.algorithm]} is {part.hexdigest}"
            part.restart()
            # Two pieces that do not fit say nothing against the address itself.
            raise TransferError(problem, again=goes_on)
        except TransferError as error:
            if part.size >= reached + PROGRESS:
                tries, reached = 0, part.size
            tries += 1
            if not error.again or tries >= ATTEMPTS:
                raise
            wait = FIRST_WAIT * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311 -- no secret
            time.sleep(min(LONGEST_WAIT, max(wait, error.wait)))
