"""`cellnet.download.fetch`: the right bytes or one clear error, against a server that misbehaves."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cellnet.cards import RemoteFile
from cellnet.download import fetch, is_offline
from cellnet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tests.download.conftest import Server

BODY = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


def file_at(*urls: str, **fields: Any) -> RemoteFile:
    return RemoteFile("cells.zip", urls, **{"sha256": SHA256, **fields})


def names(folder: Path) -> list[str]:
    """What lies in a folder, but for the lock, which stays."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".cells.zip.lock")


def leave_part(folder: Path, body: bytes, url: str) -> None:
    """What an interrupted download leaves."""
    (folder / ".cells.zip.part").write_bytes(body)
    (folder / ".cells.zip.part.json").write_text(json.dumps({"url": url, "validator": '"1"'}))


@pytest.mark.parametrize("fields", [{}, {"sha256": "", "md5": MD5}, {"sha256": ""}, {"sha256": SHA256.upper()}])
def test_a_good_server(server: Server, tmp_path: Path, fields: dict[str, str]) -> None:
    file = file_at(server.serve("/cells.zip", BODY), **fields)
    path = fetch(file, tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "cells.zip"
    assert path.read_bytes() == BODY
    assert names(path.parent) == ["cells.zip"]
    assert server.requests[0].headers["Accept-Encoding"] == "identity"
    assert fetch(file, tmp_path / "a" / "b") == path
    assert server.ranges() == [None]


def test_a_file_that_is_there_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cells.zip").write_bytes(BODY)
    fetch(file_at(server.address), tmp_path)
    fetch(file_at(server.address, sha256="", md5=MD5), tmp_path)
    fetch(file_at(server.address, sha256=""), tmp_path)
    fetch(file_at(), tmp_path)
    assert server.requests == []
    assert names(tmp_path) == ["cells.zip"]


def test_a_damaged_file_is_replaced_by_the_right_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cells.zip").write_bytes(BODY[:-1] + b"x")
    fetch(file_at(server.serve("/cells.zip", BODY)), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY


def test_a_damaged_file_stays_where_there_is_no_other(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cells.zip").write_bytes(b"mine")
    for file in (file_at(), file_at(server.address + "/none")):
        with pytest.raises(DataError, match=f"the one in .* is another or damaged. Expected: SHA-256 {SHA256}"):
            fetch(file, tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == b"mine"


def test_a_broken_line_is_continued_where_it_broke(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.good(cut=100_000), server.good(cut=250_000), server.good())
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", "bytes=250000-"]
    assert [request.headers.get("If-Range") for request in server.requests] == [None, '"1"', '"1"']


def test_a_download_goes_on_in_the_next_process(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.good(cut=100_000), server.status(404), server.good())
    for sha256 in (SHA256, ""):
        (tmp_path / "cells.zip").unlink(missing_ok=True)
        with pytest.raises(DataError, match="404"):
            fetch(file_at(url, sha256=sha256), tmp_path)
        assert names(tmp_path) == [".cells.zip.part", ".cells.zip.part.json"]
        assert (tmp_path / ".cells.zip.part").read_bytes() == BODY[:100_000]
        fetch(file_at(url, sha256=sha256), tmp_path)
        assert (tmp_path / "cells.zip").read_bytes() == BODY
        assert names(tmp_path) == ["cells.zip"]
        server.serve("/cells.zip", BODY, server.good(cut=100_000), server.status(404), server.good())
    assert server.ranges() == [None, "bytes=100000-", "bytes=100000-"] * 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a way to kill a process at once")
def test_a_killed_process_leaves_what_the_next_one_needs(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.good(cut=200_000, stall=True), server.good())
    code = "import sys; from cellnet.cards import RemoteFile; from cellnet.download import fetch; "
    code += "fetch(RemoteFile('cells.zip', (sys.argv[1],)), sys.argv[2])"
    with subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)]) as process:
        part = tmp_path / ".cells.zip.part"
        end = time.perf_counter() + 30
        while not part.exists() or part.stat().st_size < 190_000:
            assert process.poll() is None
            assert time.perf_counter() < end
            time.sleep(0.01)
        process.kill()
    assert not (tmp_path / "cells.zip").exists()
    there = part.stat().st_size
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, f"bytes={there}-"]


def test_a_part_that_is_whole_needs_no_request(server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, BODY, server.address)
    fetch(file_at(server.address), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.requests == []


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.without_ranges(cut=100_000), server.without_ranges())
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-"]


@pytest.mark.parametrize("tag", ['W/"1"', None])
def test_without_hash_and_validator_a_part_is_of_no_use(server: Server, tmp_path: Path, tag: str | None) -> None:
    url = server.serve("/cells.zip", BODY, server.good(tag, cut=100_000), server.good(tag))
    fetch(file_at(url, sha256=""), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, None]


def test_last_modified_is_a_validator_too(server: Server, tmp_path: Path) -> None:
    date = "Tue, 01 Jul 2025 10:00:00 GMT"
    url = server.serve("/cells.zip", BODY, server.good(None, cut=9, Last_Modified=date), server.without_ranges())
    fetch(file_at(url, sha256=""), tmp_path)
    assert server.requests[1].headers["If-Range"] == date


def test_a_file_that_changed_in_between_starts_anew(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", b"old" * 99_999, server.good('"old"', cut=100_000), server.status(404))
    with pytest.raises(DataError):
        fetch(file_at(url, sha256=""), tmp_path)
    server.serve("/cells.zip", BODY, server.good('"new"'))
    fetch(file_at(url, sha256=""), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY


def test_a_server_that_ignores_if_range_is_found_out(server: Server, tmp_path: Path) -> None:
    def rest_of_another(handler: Any) -> None:
        handler.answer(206, BODY[100_000:], ETag='"new"', Content_Range="bytes 100000-299999/300000")

    url = server.serve("/cells.zip", BODY, server.good('"old"', cut=100_000), rest_of_another, server.good('"new"'))
    fetch(file_at(url, sha256=""), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", None]


@pytest.mark.parametrize(
    "span", ["bytes 0-299999/300000", "bytes 100001-299999/300000", "bytes 1000001-2/3", "rubbish", ""]
)
def test_a_piece_from_elsewhere_is_refused(server: Server, tmp_path: Path, span: str) -> None:
    wrong = server.other(BODY[100_001:], 206, ETag='"1"', Content_Range=span)
    url = server.serve("/cells.zip", BODY, server.good(cut=100_000), wrong, server.good())
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", None]


def test_a_piece_that_nobody_asked_for_is_refused(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.other(BODY[:9], 206, Content_Range="bytes 0-8/300000"))
    with pytest.raises(DataError, match="answered 206 Partial Content"):
        fetch(file_at(url), tmp_path)
    assert names(tmp_path) == []


def test_a_part_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    """The server answers 416."""
    url = server.serve("/cells.zip", BODY)
    leave_part(tmp_path, BODY + b"more", url)
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == ["bytes=300004-", None]


def test_a_damaged_part_costs_one_more_request_and_no_mirror(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY)
    leave_part(tmp_path, b"x" * 100_000, url)
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == ["bytes=100000-", None]


@pytest.mark.parametrize("origin", [None, "", "[]", "{}", '{"url": "http://elsewhere/"}'])
def test_a_part_of_unknown_origin(server: Server, tmp_path: Path, origin: str | None) -> None:
    """Of use where a hash will tell, of none where not."""
    url = server.serve("/cells.zip", BODY)
    for sha256 in (SHA256, ""):
        (tmp_path / "cells.zip").unlink(missing_ok=True)
        (tmp_path / ".cells.zip.part").write_bytes(BODY[:10])
        if origin is not None:
            (tmp_path / ".cells.zip.part.json").write_text(origin)
        fetch(file_at(url, sha256=sha256), tmp_path)
        assert (tmp_path / "cells.zip").read_bytes() == BODY
        assert names(tmp_path) == ["cells.zip"]
    assert server.ranges() == ["bytes=10-", None]


def test_altered_bytes_never_get_the_name(server: Server, tmp_path: Path) -> None:
    altered = BODY[:-1] + bytes([BODY[-1] ^ 1])
    url = server.serve("/cells.zip", BODY, server.other(altered, ETag='"1"'))
    with pytest.raises(DataError) as caught:
        fetch(file_at(url, size=300_000), tmp_path)
    assert str(caught.value) == (
        f"cells.zip cannot be downloaded: {url} gave a file whose SHA-256 is {hashlib.sha256(altered).hexdigest()}. "
        f"Expected: 300,000 bytes, SHA-256 {SHA256}. Put the file cells.zip into {tmp_path}."
    )
    assert names(tmp_path) == []
    assert server.ranges() == [None]
    server.serve("/cells.zip", BODY)
    assert fetch(file_at(url), tmp_path).read_bytes() == BODY


def test_altered_bytes_are_asked_of_the_next_mirror(server: Server, tmp_path: Path) -> None:
    bad, good = server.serve("/bad", BODY[::-1]), server.serve("/good", BODY)
    fetch(file_at(bad, good, sha256="", md5=MD5), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert [request.path for request in server.requests] == ["/bad", "/good"]


def test_a_mirror_goes_on_where_another_broke(server: Server, tmp_path: Path) -> None:
    first = server.serve("/first", BODY, server.good('"a"', cut=100_000), server.status(404))
    second = server.serve("/second", BODY, server.good('"b"'))
    fetch(file_at(first, second), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", "bytes=100000-"]


def test_mirrors_without_hash_are_not_pieced_together(server: Server, tmp_path: Path) -> None:
    first = server.serve("/first", b"other" * 60_000, server.good('"a"', cut=100_000), server.status(404))
    second = server.serve("/second", BODY, server.good('"a"'))
    fetch(file_at(first, second, sha256=""), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", None]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_leads_to_the_next_mirror_at_once(server: Server, tmp_path: Path, code: int) -> None:
    closed, good = server.serve("/closed", BODY, server.status(code)), server.serve("/good", BODY)
    fetch(file_at(closed, good), tmp_path)
    assert [request.path for request in server.requests] == ["/closed", "/good"]
    assert (tmp_path / "cells.zip").read_bytes() == BODY


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(server: Server, tmp_path: Path, code: int) -> None:
    url = server.serve("/cells.zip", BODY, server.status(code), server.status(code), server.good())
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert len(server.requests) == 3


def test_the_error_names_every_address_and_what_to_do(server: Server, tmp_path: Path) -> None:
    first, second = server.serve("/a", BODY, server.status(500)), server.address + "/b"
    with pytest.raises(DataError) as caught:
        fetch(file_at(first, second, instructions="Register at the publisher's."), tmp_path)
    assert str(caught.value) == (
        f"cells.zip cannot be downloaded: {first} answered 500 Internal Server Error; "
        f"{second} answered 404 Not Found. Expected: SHA-256 {SHA256}. "
        f"Put the file cells.zip into {tmp_path}. Register at the publisher's."
    )
    assert len(server.requests) == 4 + 1
    assert names(tmp_path) == []


def test_the_server_says_how_long_to_wait(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("cellnet.download.mirrors.time.sleep", waits.append)
    monkeypatch.setattr("cellnet.download.mirrors.FIRST_WAIT", 1.0)
    busy = [server.status(503, Retry_After=words) for words in ("7", "86400", "soon")]
    fetch(file_at(server.serve("/cells.zip", BODY, *busy, server.good())), tmp_path)
    assert waits[:2] == [7.0, 120.0]
    assert 2.0 <= waits[2] <= 6.0  # the third back-off: 4 s, half of it up or down


def test_a_date_to_wait_for(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from email.utils import formatdate

    waits: list[float] = []
    monkeypatch.setattr("cellnet.download.mirrors.time.sleep", waits.append)
    busy = server.status(429, Retry_After=formatdate(time.time() + 60, usegmt=True))
    fetch(file_at(server.serve("/cells.zip", BODY, busy, server.good())), tmp_path)
    assert 50 < waits[0] <= 60


def test_tries_that_bring_it_on_do_not_count(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellnet.download.mirrors.PROGRESS", 20_000)
    cuts = [server.good(cut=cut) for cut in range(30_000, 300_000, 30_000)]
    fetch(file_at(server.serve("/cells.zip", BODY, *cuts, server.good())), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert len(server.requests) == 10


def test_a_server_that_gives_the_rest_piece_by_piece(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def piece(handler: Any) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        end = min(start + 30_000, 300_000)
        handler.answer(206, BODY[start:end], ETag='"1"', Content_Range=f"bytes {start}-{end - 1}/300000")

    monkeypatch.setattr("cellnet.download.mirrors.PROGRESS", 20_000)
    url = server.serve("/cells.zip", BODY, server.good(cut=30_000), piece)
    assert fetch(file_at(url, sha256=""), tmp_path).read_bytes() == BODY
    assert len(server.requests) == 10


def test_a_line_that_always_breaks_ends_in_an_error(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.without_ranges(cut=70_000))
    with pytest.raises(DataError, match="broke off after 70,000 "):
        fetch(file_at(url), tmp_path)
    assert len(server.requests) == 4
    assert not (tmp_path / "cells.zip").exists()


def test_a_line_that_breaks_under_an_old_urllib3(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes the break for the end."""
    careless = property(lambda response: False, lambda response, value: None)
    monkeypatch.setattr("urllib3.response.HTTPResponse.enforce_content_length", careless, raising=False)
    url = server.serve("/cells.zip", BODY, server.without_ranges(cut=100_000))
    with pytest.raises(DataError, match="broke off after 100,000 of 300,000 bytes"):
        fetch(file_at(url, sha256=""), tmp_path)
    server.serve("/cells.zip", BODY)
    assert fetch(file_at(url, sha256=""), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("cut", [0, 100_000])
def test_a_server_that_stalls_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr("cellnet.download.transfer.READ_TIMEOUT", 0.15)
    url = server.serve("/cells.zip", BODY, server.good(cut=cut, stall=True))
    start = time.perf_counter()
    with pytest.raises(DataError, match="did not answer in time"):
        fetch(file_at(url), tmp_path)
    assert time.perf_counter() - start < 5
    assert len(server.requests) == 4
    server.serve("/cells.zip", BODY, server.good(cut=cut + 9, stall=True), server.good())
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY


def test_nobody_listens(tmp_path: Path, server: Server) -> None:
    good = server.serve("/cells.zip", BODY)
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/x cannot be reached \(.+\)"):
        fetch(file_at("http://127.0.0.1:9/x"), tmp_path)
    fetch(file_at("http://127.0.0.1:9/x", good), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html><html><head><title>Please log in</title><style>p {}</style></head></html>", "text/html"),
        (b"\n <HTML><script>var a;</script><body><p>Please <b>log</b> in</p>", "application/octet-stream"),
        (b"Please log in", "text/html; charset=utf-8"),
        (b"\xef\xbb\xbf<!-- x --><!doctype HTML>Please log in", "application/xhtml+xml"),
    ],
)
def test_a_web_page_is_not_the_file(server: Server, tmp_path: Path, body: bytes, kind: str) -> None:
    url = server.serve("/cells.zip", BODY, server.other(body, Content_Type=kind))
    for sha256 in ("", SHA256):
        with pytest.raises(DataError, match="a web page instead of the file, which begins 'Please log in'"):
            fetch(file_at(url, sha256=sha256), tmp_path)
    assert names(tmp_path) == []
    assert len(server.requests) == 2


def test_a_web_page_does_not_cost_the_part(server: Server, tmp_path: Path) -> None:
    login = server.other(b"<html>Log in", Content_Type="text/html")
    url = server.serve("/cells.zip", BODY, server.good(cut=100_000), login, server.good())
    with pytest.raises(DataError, match="web page"):
        fetch(file_at(url), tmp_path)
    fetch(file_at(url), tmp_path)
    assert server.ranges() == [None, "bytes=100000-", "bytes=100000-"]


def test_a_web_page_that_is_wanted(server: Server, tmp_path: Path) -> None:
    url = server.serve("/x", b"<html></html>", server.good(Content_Type="text/html"))
    assert fetch(RemoteFile("notes.html", (url,)), tmp_path).read_bytes() == b"<html></html>"


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.serve("/there", BODY, server.good(cut=100_000), server.good())
    url = server.serve("/here", b"", server.status(302, Location="/there"))
    fetch(file_at(url), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None, None, "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd", "not http or https"),
        ("ftp://127.0.0.1/x", "not http or https"),
        ("/here", "leads nowhere"),
        ("http://", "leads nowhere"),
        ("http://[::1", "leads nowhere"),
    ],
)
def test_a_redirect_that_leads_astray(server: Server, tmp_path: Path, target: str, words: str) -> None:
    url = server.serve("/here", b"", server.status(302, Location=target))
    with pytest.raises(DataError, match=words):
        fetch(file_at(url, sha256=""), tmp_path)
    assert names(tmp_path) == []


def test_more_bytes_than_announced_are_not_read(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.other(BODY + b"more", length=len(BODY)))
    assert fetch(file_at(url, sha256=""), tmp_path).read_bytes() == BODY


def test_an_unannounced_flood_is_cut_off(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    def flood(handler: Any) -> None:
        handler.answer(200, b"", None)
        while len(sent) < 1_000:
            handler.wfile.write(bytes(2**16))
            sent.append(2**16)

    url = server.serve("/cells.zip", BODY, flood)
    with pytest.raises(DataError, match="sends more than 600,000 bytes"):
        fetch(file_at(url, size=300_000), tmp_path)
    monkeypatch.setattr("cellnet.download.transfer.MAX_UNKNOWN", 100_000)
    with pytest.raises(DataError, match="sends more than 100,000 bytes"):
        fetch(file_at(url, sha256=""), tmp_path)
    assert names(tmp_path) == []
    assert sum(sent) < 60_000_000


def test_a_file_of_no_announced_length(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.other(BODY, length=None))
    assert fetch(file_at(url, size=200_000), tmp_path).read_bytes() == BODY


def test_without_hash_and_announced_length_the_card_tells_it(server: Server, tmp_path: Path) -> None:
    cut = server.other(BODY[:100_000], length=None)
    url = server.serve("/cells.zip", BODY, cut)
    with pytest.raises(DataError, match="broke off after 100,000 of 300,000 bytes"):
        fetch(file_at(url, sha256="", size=300_000), tmp_path)
    assert "cells.zip" not in names(tmp_path)
    url = server.serve("/cells.zip", BODY, cut, server.other(BODY, length=None))
    assert fetch(file_at(url, sha256="", size=300_000), tmp_path).read_bytes() == BODY


def test_a_length_that_nobody_tells_is_warned_of(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.other(BODY, length=None))
    with pytest.warns(UserWarning, match=r"Neither .*/cells\.zip nor the card of cells\.zip tells its length or hash"):
        assert fetch(file_at(url, sha256=""), tmp_path).read_bytes() == BODY


def test_an_answer_in_chunks(server: Server, tmp_path: Path) -> None:
    def chunked(handler: Any, end: bytes = b"0\r\n\r\n") -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.answer(200, b"%x\r\n%b\r\n" % (len(BODY), BODY) + end, None, Transfer_Encoding="chunked")
        handler.close_connection = True

    url = server.serve("/cells.zip", BODY, lambda handler: chunked(handler, b""), chunked)
    assert fetch(file_at(url, sha256=""), tmp_path).read_bytes() == BODY
    assert len(server.requests) == 2


def test_an_empty_answer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="without a single byte"):
        fetch(file_at(server.serve("/cells.zip", b"", server.other(b"")), sha256=""), tmp_path)
    assert names(tmp_path) == []


def test_bytes_are_stored_as_they_are_on_the_line(server: Server, tmp_path: Path) -> None:
    """Some servers call a .tar.gz a compressed tar; the hash is that of the .tar.gz."""
    url = server.serve("/cells.zip", BODY, server.good(Content_Encoding="gzip"))
    with pytest.raises(DataError, match="sends the file compressed"):
        fetch(file_at(url, sha256=""), tmp_path)
    assert fetch(file_at(url), tmp_path).read_bytes() == BODY


def test_no_room(server: Server, tmp_path: Path) -> None:
    url = server.serve("/cells.zip", BODY, server.other(BODY, length=10**18))
    with pytest.raises(ConfigError, match=r"needs 1,000,000,000,000,000,000 bytes, but .* free some space"):
        fetch(file_at(url), tmp_path)
    assert names(tmp_path) == []


def test_a_file_that_cannot_be_read(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "cells.zip").write_bytes(BODY)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"Cannot read .*cells\.zip: Permission denied; check its permissions"):
        fetch(file_at(server.address), tmp_path)


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    url = server.serve("/cells.zip", BODY)
    with pytest.raises(ConfigError, match=r"Cannot write into .*choose another folder"):
        fetch(file_at(url), tmp_path / "file")
    (tmp_path / "cells.zip").mkdir()
    with pytest.raises(ConfigError, match="Cannot write into"):
        fetch(file_at(url), tmp_path)


def test_by_hand(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(file_at(instructions="It is at the publisher's."), tmp_path / "data")
    assert str(caught.value) == (
        f"cells.zip has to be fetched by hand. Expected: SHA-256 {SHA256}. "
        f"Put the file cells.zip into {tmp_path / 'data'}. It is at the publisher's."
    )
    assert not (tmp_path / "data").exists()


def test_offline(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.serve("/cells.zip", BODY)
    monkeypatch.setenv("CELLNET_OFFLINE", "1")
    assert is_offline()
    with pytest.raises(DataError, match=f"CELLNET_OFFLINE is set; it is at {url}. .* Put the file cells.zip into"):
        fetch(file_at(url), tmp_path)
    assert server.requests == []
    (tmp_path / "cells.zip").write_bytes(BODY)
    fetch(file_at(url), tmp_path)


@pytest.mark.parametrize(
    ("value", "offline"), [("", False), ("0", False), ("False", False), ("no", False), ("yes", True)]
)
def test_values_of_the_switch(monkeypatch: pytest.MonkeyPatch, value: str, offline: bool) -> None:
    monkeypatch.setenv("CELLNET_OFFLINE", value)
    assert is_offline() == offline


def test_many_threads_make_one_request(server: Server, tmp_path: Path) -> None:
    file = file_at(server.serve("/cells.zip", BODY))
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch(file, tmp_path), range(8)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert server.ranges() == [None]


def test_two_processes_make_one_request(server: Server, tmp_path: Path) -> None:
    def slow(handler: Any) -> None:
        time.sleep(0.5)
        server.good()(handler)

    url = server.serve("/cells.zip", BODY, slow)
    code = "import sys; from cellnet.cards import RemoteFile; from cellnet.download import fetch; "
    code += "fetch(RemoteFile('cells.zip', (sys.argv[1],)), sys.argv[2])"
    words = [sys.executable, "-c", code, url, str(tmp_path)]
    for process in [subprocess.Popen(words) for _ in range(2)]:
        assert process.wait(30) == 0
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert server.ranges() == [None]


def test_the_proxy_of_the_environment_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.serve("http://data.example/cells.zip", BODY)  # a proxy is asked for the whole address
    monkeypatch.setenv("HTTP_PROXY", server.address)
    fetch(file_at("http://data.example/cells.zip"), tmp_path)
    assert (tmp_path / "cells.zip").read_bytes() == BODY
    assert [request.path for request in server.requests] == ["http://data.example/cells.zip"]


def test_a_proxy_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"cannot be reached through the proxy \(.+\); check HTTPS_PROXY"):
        fetch(file_at("http://data.example/cells.zip"), tmp_path)


def test_certificates_are_checked(
    secure_server: Server, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_at(secure_server.serve("/cells.zip", BODY))
    with pytest.raises(DataError, match=r"not trusted here \(self.signed certificate\); .*set REQUESTS_CA_BUNDLE=FILE"):
        fetch(file, tmp_path)
    assert secure_server.requests == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert fetch(file, tmp_path).read_bytes() == BODY


def test_the_progress_bar(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(file_at(server.serve("/cells.zip", BODY)), tmp_path, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cells.zip" in captured.err
    assert "300.0/300.0 kB" in captured.err
