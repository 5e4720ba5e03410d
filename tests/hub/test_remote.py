"""What can go wrong with a repository on the Hub: one sentence each, and nothing wrong stays in the cache."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from cellnet.errors import CellnetError, ConfigError, WeightsError
from cellnet.hub import load, load_pretrained, remote, self_test
from cellnet.hub.checkpoint import verify
from cellnet.hub.find import find

from .fake_hub import TOKEN, FakeHub, Handler, alter, cut, page, stall, status

ADDRESS = "hf://lab/tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture
def commit(hub: FakeHub, tiny_folder: Path) -> str:
    """A good repository; its commit."""
    return hub.add("lab/tiny", tiny_folder)


def refuses(words: str, address: str = ADDRESS, kind: type[CellnetError] = WeightsError) -> str:
    """Loading fails with these words, in a sentence or two, and no page of a server in it."""
    with pytest.raises(kind, match=words) as caught:
        load_pretrained(address)
    message = str(caught.value)
    assert "\n" not in message
    assert "<html>" not in message
    assert message.endswith(".")
    return message


def loads(address: str = ADDRESS) -> str:
    """What is loaded is whole and right, whatever earlier tries left in the cache; returns where it came from."""
    folder, source = find(address)
    verify(folder)
    return source


# What is right.


def test_by_address(hub: FakeHub, commit: str, tiny_folder: Path) -> None:
    here = load(tiny_folder)
    for address in (ADDRESS, f"{ADDRESS}@main", f"{ADDRESS}@{commit}"):
        model = load_pretrained(address)
        assert self_test(model).ok
        assert model.source == f"{ADDRESS}@{commit}"
        assert all(torch.equal(value, here.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_tag_and_a_branch_with_a_slash(hub: FakeHub, commit: str) -> None:
    hub.repos["lab/tiny"].refs |= {"v1": commit, "refs/pr/1": commit}
    assert loads(f"{ADDRESS}@v1") == f"{ADDRESS}@{commit}"
    assert loads(f"{ADDRESS}@refs/pr/1") == f"{ADDRESS}@{commit}"


def test_a_commit_in_the_cache_needs_no_request(hub: FakeHub, commit: str) -> None:
    loads(f"{ADDRESS}@{commit}")
    hub.requests.clear()
    loads(f"{ADDRESS}@{commit}")
    assert hub.requests == []


def test_a_branch_that_did_not_move_needs_one_request(hub: FakeHub, commit: str) -> None:
    loads()
    hub.requests.clear()
    assert loads() == f"{ADDRESS}@{commit}"
    assert [request.path for request in hub.requests] == ["/api/models/lab/tiny/revision/main"]


def test_only_the_four_files_are_fetched(hub: FakeHub, tiny_folder: Path, tmp_path: Path) -> None:
    evil = {name: pickle.dumps(0) for name in ("pytorch_model.bin", "modeling.py", "config.json.py", "sub/config.json")}
    hub.add("lab/tiny", tiny_folder, **evil)
    loads()
    fetched = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/**/*") if path.is_file()}
    assert fetched == {"config.json", "model.safetensors", "golden.safetensors", "README.md"}
    assert not any(name in path for name in evil for path in [*hub.paths(), *hub.paths("HEAD")])


def test_the_token_goes_to_the_hub_alone(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    loads()
    asked = {(request.to, request.token) for request in hub.requests}
    assert asked == {("127.0.0.1", TOKEN), ("localhost", "")}


# What is not there, or not for you.


def test_a_missing_repository(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses("private, or does not exist: check the spelling.*HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    refuses(f"There is no model lab/tiny at {hub.address}")


def test_a_private_repository(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["lab/tiny"].access = "private"
    refuses("private, or does not exist.*`hf auth login`")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refuses("private, or does not exist.*`hf auth login`")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    loads()


def test_a_gated_repository(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["lab/tiny"].access = "gated"
    refuses(f"lab/tiny is gated: ask for access at {hub.address}/lab/tiny")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    loads()


def test_a_forbidden_repository(hub: FakeHub, commit: str) -> None:
    hub.fault("GET /api/models/.*", status(403))
    refuses("forbids this with lab/tiny: log in")


def test_a_revision_that_does_not_exist(hub: FakeHub, commit: str) -> None:
    refuses("no revision 'v9': it was moved, deleted or never there", f"{ADDRESS}@v9")
    refuses(f"no revision '{'0' * 40}'", f"{ADDRESS}@{'0' * 40}")


def test_a_commit_that_was_deleted_still_comes_from_the_cache(hub: FakeHub, commit: str) -> None:
    loads()
    hub.repos["lab/tiny"].commits.clear()
    loads(f"{ADDRESS}@{commit}")


def test_a_branch_that_moved(hub: FakeHub, commit: str, tiny_folder: Path) -> None:
    loads()
    moved = hub.add("lab/tiny", tiny_folder, notes=b"new")
    assert moved != commit
    assert loads() == f"{ADDRESS}@{moved}"
    assert loads(f"{ADDRESS}@{commit}") == f"{ADDRESS}@{commit}"


def test_a_branch_that_moves_meanwhile(hub: FakeHub, commit: str, tiny_folder: Path) -> None:
    def move(handler: Handler) -> None:
        handler.resolve(b"", "lab/tiny", commit, "config.json")
        hub.add("lab/tiny", tiny_folder, notes=b"new")

    hub.fault("GET .*/config.json", move, times=1)
    refuses("changed while it was read; try again")
    loads()


@pytest.mark.parametrize("address", ["hf://tiny", "hf://lab/tiny/more", "hf://lab/tiny@", "hf:///tiny", "hf://a b/c"])
def test_an_address_that_is_none(hub: FakeHub, address: str) -> None:
    refuses("write hf://organisation/repository", address)
    assert hub.requests == []


def test_a_name_that_the_hub_does_not_allow(hub: FakeHub) -> None:
    refuses("'lab/-tiny-' is no name of a repository", "hf://lab/-tiny-")


# What is wrong in the repository.


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "golden.safetensors"])
def test_a_repository_that_lacks_a_file(hub: FakeHub, commit: str, tiny_folder: Path, name: str) -> None:
    del hub.repos["lab/tiny"].commits[commit][name]
    refuses(f"holds no {name}, so it is not a cellnet checkpoint")
    assert not any("resolve" in path for path in hub.paths())
    hub.add("lab/tiny", tiny_folder)
    loads()


def test_a_repository_of_another_library(hub: FakeHub, tiny_folder: Path) -> None:
    hub.add("lab/tiny", tiny_folder, **{"config.json": b'{"model_type": "bert"}'})
    refuses("no 'format' number, so cellnet did not write it")
    assert not any(WEIGHTS in path for path in hub.paths())


def test_a_malformed_checkpoint_is_not_kept(hub: FakeHub, tiny_folder: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    config["card"]["scorings"] = 5
    hub.add("lab/tiny", tiny_folder, **{"config.json": json.dumps(config).encode()})
    refuses("not kept in the cache: .*config.json holds a wrong value")
    assert not list((tmp_path / "cache").rglob("config.json"))


def test_a_checkpoint_of_a_newer_cellnet(hub: FakeHub, tiny_folder: Path) -> None:
    hub.add("lab/tiny", tiny_folder, **{"config.json": b'{"format": 99, "cellnet": "9.1"}'})
    refuses("written by cellnet 9.1.*pip install --upgrade")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"w": 0}), "a Python pickle, which cellnet never opens"),
        (b"PK\x03\x04 archive/data.pkl", "a PyTorch pickle"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"", "is empty"),
    ],
)
def test_weights_that_are_none(hub: FakeHub, tiny_folder: Path, content: bytes, words: str) -> None:
    hub.add("lab/tiny", tiny_folder, **{WEIGHTS: content})
    refuses(f"{ADDRESS}@.* cannot be used, and is not kept in the cache: .*{words}")
    hub.add("lab/tiny", tiny_folder)
    loads()


def test_a_file_larger_than_the_bound(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(hub.repos["lab/tiny"].commits[commit][WEIGHTS])
    monkeypatch.setitem(remote.MAX_BYTES, WEIGHTS, size - 1)
    refuses(f"{WEIGHTS} of lab/tiny has {size:,} bytes, but may have {size - 1:,}")
    assert not any("resolve" in path for path in [*hub.paths(), *hub.paths("HEAD")])
    monkeypatch.setitem(remote.MAX_BYTES, WEIGHTS, size)
    loads()


# What is wrong on the way.


@pytest.mark.parametrize("pattern", ["GET /api/.*", "HEAD .*", "(HEAD|GET) .*config.json", "GET /storage/.*"])
@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_hub_with_trouble_of_its_own(hub: FakeHub, commit: str, pattern: str, code: int) -> None:
    hub.fault(pattern, status(code))
    refuses(f"trouble of its own .status {code}.; try again later.*not in the cache")
    hub.faults.clear()
    loads()


def test_a_truncated_file(hub: FakeHub, commit: str) -> None:
    hub.fault("GET /storage/.*", cut)
    refuses("broke off .*check the connection")
    hub.faults.clear()
    loads()


def test_a_file_that_breaks_off_once_is_completed(hub: FakeHub, commit: str) -> None:
    hub.fault("GET /storage/.*", cut, times=1)
    loads()


def test_an_altered_file(hub: FakeHub, commit: str) -> None:
    hub.fault("GET /storage/.*", alter)
    refuses("not kept in the cache: .*another SHA-256")
    hub.faults.clear()
    loads()


def test_an_altered_config(hub: FakeHub, commit: str) -> None:
    def damage(handler: Handler) -> None:
        handler.content(b"{" * len(hub.repos["lab/tiny"].commits[commit]["config.json"]))

    hub.fault("GET .*/config.json", damage)
    refuses("not kept in the cache: .*not JSON")
    hub.faults.clear()
    loads()


def test_a_page_of_the_firewall(hub: FakeHub, commit: str) -> None:
    hub.fault("GET /api/.*", page)
    refuses("is not the Hub, but perhaps the log-in page of your network")
    hub.faults.clear()
    hub.fault("GET /storage/.*", page)
    refuses("broke off")
    hub.faults.clear()
    loads()


@pytest.mark.parametrize("pattern", ["GET /api/.*", "GET /storage/.*"])
def test_a_slow_hub(hub: FakeHub, commit: str, pattern: str) -> None:
    hub.fault(pattern, stall)
    refuses("broke off .*check the connection")
    hub.faults.clear()
    loads()


def test_no_hub_at_all(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = constants.ENDPOINT
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refuses("broke off .*refused.*HF_ENDPOINT")
    monkeypatch.setattr(constants, "ENDPOINT", good)
    loads()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.warns(UserWarning, match=f"broke off .*Taken from the cache: lab/tiny@{commit}"):
        assert loads() == f"{ADDRESS}@{commit}"


# Without the net, by order.


def test_offline(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for switch_on, words in (
        (lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True), "HF_HUB_OFFLINE is set"),
        (lambda: monkeypatch.setenv("CELLNET_OFFLINE", "1"), "CELLNET_OFFLINE is set"),
    ):
        with monkeypatch.context():
            switch_on()
            refuses(f"{words}.*not in the cache {constants.HF_HUB_CACHE}")
            refuses(f"{words}.*not in the cache", f"{ADDRESS}@{commit}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("CELLNET_OFFLINE", raising=False)
    assert hub.requests == []


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "CELLNET_OFFLINE"])
def test_offline_with_the_cache(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    loads()
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", switch == "HF_HUB_OFFLINE")
    if switch == "CELLNET_OFFLINE":
        monkeypatch.setenv(switch, "1")
    loads(f"{ADDRESS}@{commit}")
    with pytest.warns(UserWarning, match=f"{switch} is set.*Taken from the cache"):
        loads()
    assert hub.requests == []


# The cache.


def test_a_damaged_cache_heals(hub: FakeHub, commit: str, tmp_path: Path) -> None:
    loads()
    for name in (WEIGHTS, "golden.safetensors", "config.json"):
        blob = next((tmp_path / "cache").rglob(f"snapshots/*/{name}")).resolve()
        blob.write_bytes(blob.read_bytes()[:-9])
        loads(f"{ADDRESS}@{commit}")
        blob.write_bytes(b"x")
        loads()


def test_an_interrupted_download_is_completed(hub: FakeHub, commit: str, tmp_path: Path) -> None:
    loads()
    pointer = next((tmp_path / "cache").rglob("snapshots/*/golden.safetensors"))
    pointer.resolve().unlink()
    pointer.unlink()
    loads(f"{ADDRESS}@{commit}")


def test_a_cache_that_cannot_be_written(hub: FakeHub, commit: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    refuses("Cannot write into the cache .*set HF_HOME", kind=ConfigError)
    (tmp_path / "cache").unlink()
    loads()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk(hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", fail)
        refuses(f"Cannot write into the cache .*{os.strerror(code)}", kind=ConfigError)
    loads()


@pytest.mark.slow
def test_two_processes_at_once(hub: FakeHub, commit: str, tmp_path: Path) -> None:
    script = f"import cellnet; m = cellnet.load_pretrained({ADDRESS!r}); assert m.self_test(); print(m.source)"
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.communicate(timeout=300)[0].strip() == f"{ADDRESS}@{commit}"
        assert process.returncode == 0


def test_the_sentence_for_what_nobody_foresaw(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Callable[..., None]:
        raise RuntimeError

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    refuses("broke off .RuntimeError.; check the connection")
