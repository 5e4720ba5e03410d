"""A server on this machine that speaks as much of the Hub's API as loading and publishing need.

Files that git would keep in LFS are handed out as the Hub does it: by a redirect to another host, here another
name of this machine. What goes wrong is said by `FakeHub.fault`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"

Files = dict[str, bytes]


@dataclass
class Repo:
    """Commits, newest last, and what points to them."""

    access: str = "public"
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, ref: str = "main") -> str:
        """Add a commit and move a branch to it; returns its hash."""
        sha = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs[ref] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


@dataclass
class Request:
    """What the client asked for."""

    method: str
    path: str
    token: str
    to: str
    body: bytes


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".pt"))


def lfs(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}


class Handler(BaseHTTPRequestHandler):
    """Finds the answer by method and path; a fault comes before it."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.hub.requests.append(Request(self.command, path, token, self.headers["Host"].split(":")[0], body))
        for fault in self.hub.faults:
            if fault.times and re.fullmatch(fault.pattern, f"{self.command} {path}"):
                fault.times -= 1
                fault.behave(self)
                return
        for pattern, answer in ROUTES:
            match = re.fullmatch(pattern, f"{self.command} {path}")
            if match:
                answer(self, body, **match.groupdict())
                return
        self.error(404, "", f"no such route: {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 -- the names that http.server calls

    def answer(self, body: bytes, status: int = 200, length: int | None = None, **headers: Any) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def json(self, data: Any) -> None:
        self.answer(json.dumps(data).encode(), Content_Type="application/json")

    def error(self, status: int, code: str, message: str) -> None:
        self.answer(json.dumps({"error": message}).encode(), status, X_Error_Code=code, X_Error_Message=message)

    def open(self, name: str, revision: str) -> tuple[str, Files] | None:
        """Commit and files, or an answer as the Hub words it."""
        repo = self.hub.repos.get(name)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo is None or (repo.access == "private" and not known):
            if known:
                self.error(404, "RepoNotFound", "Repository not found")
            else:
                self.error(401, "RepoNotFound", "Repository not found")
            return None
        if repo.access == "gated" and not known:
            self.error(403, "GatedRepo", f"Access to model {name} is restricted")
            return None
        sha = repo.resolve(revision)
        if sha is None:
            self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return sha, repo.commits[sha]

    # Reading.

    def info(self, body: bytes, repo: str, revision: str | None = None) -> None:
        found = self.open(repo, revision or "main")
        if found:
            siblings = [
                {"rfilename": name, "size": len(content)} | ({"lfs": lfs(content)} if is_large(name) else {})
                for name, content in found[1].items()
            ]
            self.json({"id": repo, "sha": found[0], "siblings": siblings})

    def tree(self, body: bytes, repo: str, revision: str) -> None:
        found = self.open(repo, revision)
        if found:
            self.json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    | ({"lfs": lfs(content) | {"oid": lfs(content)["sha256"]}} if is_large(name) else {})
                    for name, content in found[1].items()
                ]
            )

    def resolve(self, body: bytes, repo: str, revision: str, name: str) -> None:
        found = self.open(repo, revision)
        if found is None:
            return
        sha, files = found
        if name not in files:
            self.error(404, "EntryNotFound", "Entry not found")
        elif is_large(name):
            digest = hashlib.sha256(files[name]).hexdigest()
            self.answer(
                b"",
                302,
                X_Repo_Commit=sha,
                X_Linked_Etag=f'"{digest}"',
                X_Linked_Size=len(files[name]),
                Location=f"http://localhost:{self.hub.port}/storage/{digest}",
            )
        else:
            self.content(files[name], X_Repo_Commit=sha, ETag=f'"{hashlib.sha1(files[name]).hexdigest()}"')

    def storage(self, body: bytes, digest: str) -> None:
        if digest not in self.hub.stored():
            self.error(404, "", "no such object")
        else:
            self.content(self.hub.stored()[digest])

    def content(self, content: bytes, **headers: Any) -> None:
        """A file, or the rest of it that is asked for."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(match[1]) if match else 0
        span = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.answer(content[start:], 206 if start else 200, **headers, **span)

    # Writing.

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.error(401, "", "Invalid username or password.")
        elif name in self.hub.repos:
            self.answer(json.dumps({"url": f"{self.hub.address}/{name}"}).encode(), 409)
        else:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.repos[name] = Repo("private" if private else "public")
            self.hub.repos[name].commit({".gitattributes": b""})
            self.json({"url": f"{self.hub.address}/{name}"})

    def validate(self, body: bytes) -> None:
        self.hub.front_matter = json.loads(body)["content"].split("---\n")[1]
        self.json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, repo: str) -> None:
        self.json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for file in json.loads(body)["files"]
                ]
            }
        )

    def batch(self, body: bytes, repo: str) -> None:
        objects = [
            {**wanted, "actions": {"upload": {"href": f"{self.hub.address}/storage/{wanted['oid']}"}}}
            for wanted in json.loads(body)["objects"]
        ]
        self.json({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, digest: str) -> None:
        assert hashlib.sha256(body).hexdigest() == digest
        self.hub.uploaded[digest] = body
        self.answer(b"")

    def commit(self, body: bytes, repo: str) -> None:
        files = dict(self.hub.repos[repo].commits[self.hub.repos[repo].refs["main"]])
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
        sha = self.hub.repos[repo].commit(files)
        self.json({"commitOid": sha, "commitUrl": f"{self.hub.address}/{repo}/commit/{sha}"})

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


REPO = r"(?P<repo>[^/]+/[^/]+)"
ROUTES: list[tuple[str, Callable[..., None]]] = [
    (f"GET /api/models/{REPO}", Handler.info),
    (f"GET /api/models/{REPO}/revision/(?P<revision>.+)", Handler.info),
    (f"GET /api/models/{REPO}/tree/(?P<revision>[^/]+)/?", Handler.tree),
    (f"(?:GET|HEAD) /{REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", Handler.resolve),
    ("(?:GET|HEAD) /storage/(?P<digest>.+)", Handler.storage),
    ("POST /api/repos/create", Handler.create),
    ("POST /api/validate-yaml", Handler.validate),
    (f"POST /api/models/{REPO}/preupload/main", Handler.preupload),
    (rf"POST /{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT /storage/(?P<digest>.+)", Handler.put),
    (f"POST /api/models/{REPO}/commit/main", Handler.commit),
]


@dataclass
class Fault:
    """What the server does instead, for requests "METHOD /path" that match, so many times."""

    pattern: str
    behave: Callable[[Handler], None]
    times: int


class FakeHub:
    """Repositories, the requests that came, and the faults to make."""

    def __init__(self) -> None:
        self.port = 0
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.uploaded: dict[str, bytes] = {}
        self.front_matter = ""
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, folder: Path, **others: bytes) -> str:
        """A repository with the files of a folder, and other files; returns its commit."""
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return self.repos.setdefault(name, Repo()).commit(files | others)

    def stored(self) -> dict[str, bytes]:
        """Large files by their hash."""
        return {
            hashlib.sha256(content).hexdigest(): content
            for repo in self.repos.values()
            for files in repo.commits.values()
            for name, content in files.items()
            if is_large(name)
        }

    def fault(self, pattern: str, behave: Callable[[Handler], None], times: int = 1000) -> None:
        """Make something go wrong; `faults.clear()` ends it."""
        self.faults.append(Fault(pattern, behave, times))

    def paths(self, method: str = "GET") -> list[str]:
        """What was asked for."""
        return [request.path for request in self.requests if request.method == method]


def status(code: int) -> Callable[[Handler], None]:
    """That status, and a page."""
    return lambda handler: handler.answer(b"<html>Something is wrong.</html>", code)


def page(handler: Handler) -> None:
    """A page of the firewall in place of what was asked for."""
    handler.answer(b"<html>Please log in to the hospital's network.</html>", Content_Type="text/html")


def stall(handler: Handler) -> None:
    """Nothing, for a long time."""
    handler.close_connection = True
    handler.hub.closing.wait(20)


def cut(handler: Handler) -> None:
    """Half of a large file, and the end of the connection; nothing more of it ever comes."""
    content = handler.hub.stored()[handler.path.rpartition("/")[2]]
    handler.close_connection = True
    if handler.headers.get("Range"):
        handler.answer(b"", 206, length=len(content))
    else:
        handler.answer(content[: len(content) // 2], length=len(content))


def alter(handler: Handler) -> None:
    """A large file with one bit turned."""
    content = bytearray(handler.hub.stored()[handler.path.rpartition("/")[2]])
    content[-1] ^= 1
    handler.answer(bytes(content))


@contextlib.contextmanager
def running() -> Iterator[FakeHub]:
    """A hub that is up."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
