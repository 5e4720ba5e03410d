"""A real HTTP server on this machine that behaves as it is told."""

from __future__ import annotations

import contextlib
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Request:
    """What a client asked for."""

    path: str
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the behaviour that is due for its path says."""

    told: Server
    body: bytes

    def do_GET(self) -> None:
        self.told.requests.append(Request(self.path, dict(self.headers.items())))
        self.body, behaviours = self.told.files.get(self.path, (b"", [Server.status(404)]))
        behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        behaviour(self)

    def answer(self, status: int, body: bytes, length: int | None = -1, **headers: Any) -> None:
        """Status, headers, body; another ``length`` may be announced than the true one, or None at all."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


Behaviour = Callable[[Handler], None]


class Server:
    """Files by path, and the behaviours of the first, second … request for each; the last one stays."""

    def __init__(self) -> None:
        self.address = ""
        self.requests: list[Request] = []
        self.files: dict[str, tuple[bytes, list[Behaviour]]] = {}
        self.closing = threading.Event()

    def serve(self, path: str, body: bytes, *behaviours: Behaviour) -> str:
        """Offer ``body``, like a good server if not told otherwise; returns its address."""
        self.files[path] = (body, list(behaviours) or [self.good()])
        return self.address + path

    def ranges(self) -> list[str | None]:
        """What each request asked for, in order; None: the whole file."""
        return [request.headers.get("Range") for request in self.requests]

    @staticmethod
    def good(tag: str | None = '"1"', cut: int | None = None, stall: bool = False, **headers: Any) -> Behaviour:
        """The file, or the rest that is asked for, under this ETag; up to byte ``cut`` and then nothing more."""

        def behave(handler: Handler) -> None:
            body = handler.body
            tags = {"ETag": tag} if tag else {}
            asked = handler.headers.get("Range") if handler.headers.get("If-Range", tag) == tag else None
            start = int(re.findall(r"^bytes=(\d+)-$", asked)[0]) if asked else 0
            if start >= len(body):
                handler.answer(416, b"", Content_Range=f"bytes */{len(body)}", **tags)
            elif asked:
                span = f"bytes {start}-{len(body) - 1}/{len(body)}"
                handler.answer(206, body[start:cut], len(body) - start, Content_Range=span, **tags, **headers)
            else:
                handler.answer(200, body[:cut], len(body), **tags, **headers)
            if stall:
                handler.wfile.flush()
                handler.told.closing.wait(20)

        return behave

    @staticmethod
    def without_ranges(cut: int | None = None) -> Behaviour:
        """The file, whatever is asked for."""
        return lambda handler: handler.answer(200, handler.body[:cut], len(handler.body))

    @staticmethod
    def status(code: int, **headers: Any) -> Behaviour:
        """That status."""
        return lambda handler: handler.answer(code, b"<html>Not what you want.</html>", **headers)

    @staticmethod
    def other(body: bytes, code: int = 200, length: int | None = -1, **headers: Any) -> Behaviour:
        """Other bytes than the file's."""
        return lambda handler: handler.answer(code, body, length, **headers)


@contextlib.contextmanager
def running(certificate: Path | None = None) -> Iterator[Server]:
    """A server that is up, over TLS if there is a file with certificate and key."""
    told = Server()
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), type("ToldHandler", (Handler,), {"told": told}))
    http_server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        http_server.socket = context.wrap_socket(http_server.socket, server_side=True)
    told.address = f"http{'s' if certificate else ''}://127.0.0.1:{http_server.server_address[1]}"
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.closing.set()
        http_server.shutdown()
        http_server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that is up, and tells what it was asked."""
    with running() as told:
        yield told


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, with its key, that nobody has signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([openssl, *words.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def secure_server(certificate: Path) -> Iterator[Server]:
    """`server`, over TLS with that certificate."""
    with running(certificate) as told:
        yield told


@pytest.fixture(autouse=True)
def quick_and_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy or offline switch of this machine, and hardly any waiting."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("CELLNET_OFFLINE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("cellnet.download.mirrors.FIRST_WAIT", 0.001)
