"""The backbone on the how-to page runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import cellnet
from cellnet.backbones import BACKBONES, create_backbone

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "own-backbone.md"


def test_the_backbone_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(BACKBONES, "_entries", dict(BACKBONES._entries))  # forget the network after the test
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[-1], names)

    model = names["model"].eval()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    loaded = cellnet.load_pretrained(model.save(tmp_path / "saved", storage="float32"))
    assert type(loaded.backbone) is names["MyNet"]
    torch.testing.assert_close(loaded(images), model(images))
    assert create_backbone("my_net+cnn").num_features == 64 + 256

    save_file(model.backbone.state_dict(), tmp_path / "my_net.safetensors")
    started = cellnet.create_model("my_net", pretrained=True)
    assert torch.equal(started.backbone.layers[0].weight, model.backbone.layers[0].weight)
