"""One request for a file: ask for what is missing, look at what comes, add it to the part."""

from __future__ import annotations

import re
import shutil
import ssl
import warnings
from http.client import responses
from itertools import chain
from typing import TYPE_CHECKING

from cellnet._version import __version__
from cellnet.cards import RemoteFile
from cellnet.download.part import Part
from cellnet.download.progress import Show
from cellnet.errors import ConfigError

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_TIMEOUT = 20.0
"""Seconds until a server that does not pick up counts as out of reach."""

READ_TIMEOUT = 60.0
"""Seconds without a byte until a server counts as stalled."""

CHUNK = 2**16
"""Bytes read at once: what is lost at most when the line breaks."""

MAX_UNKNOWN = 2**37
"""Bytes accepted of a file whose size nobody stated, so that an endless one ends before the disk is full."""


class TransferError(Exception):
    """Why an address did not give the file; says for itself whether and when to try again.

    Args:
        reason: What happened, to be read after the address.
        again: Whether it may go better the next time.
        wait: Seconds that the server asked to wait for.
    """

    def __init__(self, reason: str, *, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again = again
        self.wait = wait


def transfer(session: Session, url: str, file: RemoteFile, part: Part, show: Show) -> None:
    """Add to ``part`` what it lacks of the file at ``url``; the hash is not looked at.

    Raises:
        TransferError: It did not come, or not to its end; what came is in ``part``.
        ConfigError: The disk has no room for it.
    """
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    rest = part.headers(url)
    headers = {"Accept-Encoding": "identity", "User-Agent": f"cellnet/{__version__}", **rest}
    try:
        with session.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as response:
            total = _check_status(response, url, part, going_on=bool(rest))
            _receive(response, url, file, part, show, total)
    except (RequestException, HTTPError, ValueError) as error:  # the last, of a redirect that is no address
        raise _explain(error, part) from error


def _check_status(response: Response, url: str, part: Part, going_on: bool) -> int | None:
    """Let only a whole file pass, or the rest that was asked for; return the bytes of the whole if it tells them."""
    status = response.status_code
    if status == 200:
        return None
    if status == 206 and going_on:
        span = re.match(rf"bytes {part.size}-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
        before, now = part.validator(url), _validator(response)
        if span and not (before and now and before != now):
            return None if span[1] == "*" else int(span[1])
        part.restart()
        raise TransferError("answered with a piece that does not fit", again=True)
    if status == 416 and going_on:
        part.restart()
        raise TransferError("has fewer bytes than are already there", again=True)
    again = status in (408, 425, 429) or status >= 500
    raise TransferError(
        f"answered {status} {responses.get(status, '')}".rstrip(),
        again=again,
        wait=_retry_after(response) if again else 0.0,
    )


def _receive(response: Response, url: str, file: RemoteFile, part: Part, show: Show, total: int | None) -> None:
    # The bytes as they are on the line: some servers mark a .tar.gz as compressed text, to be unpacked on the way.
    chunks = response.raw.stream(CHUNK, decode_content=False)
    first = next(chunks, b"")
    if not first:
        raise TransferError("answered without a single byte", again=True)
    _refuse_page(response, file, first)
    if response.headers.get("Content-Encoding", "identity") != "identity" and not part.expected:
        raise TransferError("sends the file compressed, though it was asked not to")
    if response.status_code == 200:
        part.restart(url, _validator(response))
    if total is None and response.raw.length_remaining is not None:
        total = part.size + len(first) + response.raw.length_remaining
    free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - part.size > free:
        raise ConfigError(
            f"{file.name} needs {total - part.size:,} bytes, but {part.path.parent} has only {free:,}; "
            "free some space or choose another folder."
        )
    if total is None and not part.expected:
        total = file.size  # nothing else tells whether it came whole
    # Beside a hash, the size of a card is for orientation: only what is far beyond it is refused.
    limit = total if total is not None else 2 * file.size if file.size else MAX_UNKNOWN
    for chunk in chain([first], chunks):
        if part.size + len(chunk) > limit:
            part.restart()
            raise TransferError(f"sends more than {limit:,} bytes")
        part.append(chunk)
        show(part.size, total or file.size)
    if total is not None and part.size < total:  # some servers give the rest piece by piece
        raise TransferError(f"broke off after {part.size:,} of {total:,} bytes", again=True)
    if total is None and not part.expected and not response.raw.chunked:  # chunks have an end of their own
        warnings.warn(
            f"Neither {url} nor the card of {file.name} tells its length or hash, so that a part of it would pass for "
            "the whole; compare it with what its publisher says.",
            stacklevel=2,
        )


def _refuse_page(response: Response, file: RemoteFile, start: bytes) -> None:
    """A web page instead of the file: a log-in, a notice, the front page of a hotel's network."""
    if file.name.lower().endswith((".html", ".htm")):
        return
    is_page = response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml"))
    if is_page or re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)\b", start, re.IGNORECASE):
        text = start[:4096].decode("utf-8-sig", "replace")
        text = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", " ", text)
        words = " ".join(text.split()[:12])
        raise TransferError(f"answered with a web page instead of the file, which begins {words!r}")


def _validator(response: Response) -> str:
    """What tells this version of the file from others, fit for ``If-Range``: a weak tag is not."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _retry_after(response: Response) -> float:
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0.0


def _explain(error: Exception, part: Part) -> TransferError:
    """What requests and urllib3 report, in words for the reader."""
    from requests import exceptions
    from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

    root = _root(error)
    cause = getattr(root, "strerror", None) or str(root)
    if isinstance(root, ssl.SSLCertVerificationError):
        return TransferError(
            f"has a certificate that is not trusted here ({root.verify_message}); if your institution has "
            "certificates of its own, set REQUESTS_CA_BUNDLE=FILE"
        )
    if isinstance(error, exceptions.ProxyError):
        return TransferError(f"cannot be reached through the proxy ({cause}); check HTTPS_PROXY", again=True)
    if isinstance(error, exceptions.InvalidSchema):
        return TransferError("leads to an address that is not http or https")
    if isinstance(error, exceptions.TooManyRedirects | ValueError):
        return TransferError(f"leads nowhere ({cause})")
    if isinstance(error, exceptions.Timeout | Urllib3TimeoutError):
        return TransferError(f"did not answer in time ({part.size:,} bytes so far)", again=True)
    if isinstance(error, exceptions.ConnectionError):
        return TransferError(f"cannot be reached ({cause})", again=True)
    return TransferError(f"broke off after {part.size:,} bytes ({cause})", again=True)


def _root(error: BaseException) -> BaseException:
    """What is behind an error that has been wrapped several times."""
    for inner in (error.__cause__, getattr(error, "reason", None), *error.args[:1]):
        if isinstance(inner, BaseException):
            return _root(inner)
    return error
