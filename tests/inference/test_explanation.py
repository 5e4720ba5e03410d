"""Maps of what spoke for a class: against a naive Grad-CAM, at the right pixels, and dependent on what was learned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cellnet.datasets import CellDataset, samples
from cellnet.errors import ConfigError, DataError, ImageError, LabelError, UnknownNameError
from cellnet.hub import load_pretrained
from cellnet.images import Preprocess
from cellnet.inference import Predictions, explain, similarity_to_untrained
from cellnet.inference.explanation import METHODS, class_activation, grad_cam
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, create_model


def naive_grad_cam(model: CellClassifier, image: Tensor, target: int) -> Tensor:
    """The paper's formula, over the maps of the pooling layer's input, by a full backward pass."""
    maps = model.backbone.feature_maps(model.normalise(image[None])).detach().requires_grad_(True)
    logits = model.head(maps.mean(dim=(2, 3)))
    (gradient,) = torch.autograd.grad(logits[0, target], maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return torch.relu((weights * maps).sum(1))[0]


@pytest.mark.parametrize("name", ["cnn", "mobilenet_v2", "unet", "cnn+cnn"])
def test_grad_cam_is_the_papers(name: str, synthetic: CellDataset) -> None:
    torch.manual_seed(1)
    model = create_model(name, image_size=32).eval()
    image = model.preprocess(synthetic.image(20))
    pairs = [
        (class_activation(model, image[None], target)[0], naive_grad_cam(model, image, target)) for target in range(8)
    ]
    seen = [(ours, theirs) for ours, theirs in pairs if theirs.max() > 0]
    assert len(seen) > 2
    for ours, theirs in seen:
        torch.testing.assert_close(ours / ours.max(), theirs / theirs.max(), rtol=1e-4, atol=1e-5)
    assert all(ours.max() == 0 for ours, theirs in pairs if theirs.max() == 0)


def test_grad_cam_goes_through_the_networks_own_pooling(synthetic: CellDataset) -> None:
    torch.manual_seed(1)
    model = create_model("timm:test_convnext", image_size=64).eval()  # has a norm after pooling
    image, net = model.preprocess(synthetic.image(20))[None], model.backbone.net
    for target in range(8):
        maps = net.forward_features(model.normalise(image)).detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model.head(net.forward_head(maps, pre_logits=True))[0, target], maps)
        expected = torch.relu((gradient.sum((2, 3), keepdim=True) * maps).sum(1))
        torch.testing.assert_close(class_activation(model, image, target), expected, rtol=1e-4, atol=1e-5)


def test_a_class_token_is_explained_by_occlusion_alone(synthetic: CellDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellnet.inference.explanation.GRID", 2)
    model = create_model("timm:vit_tiny_patch16_224", image_size=32).eval()
    with pytest.raises(ConfigError, match="take method='occlusion'"):
        explain(model, synthetic.image(0))
    assert explain(model, synthetic.image(0), method="occlusion")[0].heatmap.shape == (32, 32)


@pytest.mark.parametrize("name", ["cnn", "timm:mobilenetv3_small_050"])
@pytest.mark.parametrize("size", [48, 80])
def test_32_copies(name: str, size: int, synthetic: CellDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = create_model(name, image_size=size).eval(), []
    monkeypatch.setattr(
        "cellnet.inference.explanation.class_activation",
        lambda model, images, target: batches.append(len(images)) or class_activation(model, images, target),
    )
    grad_cam(model, model.preprocess(synthetic.image(0))[None], 0)
    assert batches == [1] + 8 * [4]


def test_moved_copies_show_more_places(synthetic: CellDataset) -> None:
    torch.manual_seed(1)
    model = create_model("mobilenet_v2", image_size=64).eval()
    image = model.preprocess(synthetic.image(20))[None]
    targets = [target for target in range(8) if class_activation(model, image, target).max() > 0]
    coarse = class_activation(model, image, targets[0])[0]
    fine = grad_cam(model, image, targets[0])
    assert coarse.shape == (2, 2)
    assert fine.shape == (64, 64)
    assert float(fine.min()) >= 0
    # On average over a place they say the same.
    assert float(fine.mean()) == pytest.approx(float(coarse.mean()), rel=0.5)


def test_the_map_of_a_turned_image_is_turned(synthetic: CellDataset) -> None:
    torch.manual_seed(1)
    model = create_model("mobilenet_v2", image_size=64).eval()
    image = model.preprocess(synthetic.image(20))[None]
    target = next(t for t in range(8) if class_activation(model, image, t).max() > 0)
    heat = grad_cam(model, image, target)
    for turns, mirrored in ((1, False), (2, False), (0, True), (3, True)):
        turned, expected = (torch.rot90(each.flip(-1) if mirrored else each, turns, (-2, -1)) for each in (image, heat))
        torch.testing.assert_close(grad_cam(model, turned, target), expected, rtol=1e-3, atol=1e-5)


class Darkness(nn.Module):
    """Calls an image dark (class 1) by how dark its upper left quarter is."""

    def forward(self, images: Tensor) -> Tensor:
        light = images[:, :, : images.shape[2] // 2, : images.shape[3] // 2].float().mean(dim=(1, 2, 3)) / 255
        return torch.stack((8 * light, 8 * (1 - light)), 1)


@pytest.fixture
def dark_corner() -> CellClassifier:
    model = create_model("cnn", LabelSchema.from_names(["light", "dark"]), image_size=32)
    model.forward = Darkness().forward  # type: ignore[method-assign]
    return model


def test_occlusion_shows_what_counts(dark_corner: CellClassifier) -> None:
    image = torch.full((3, 64, 64), 220, dtype=torch.uint8)
    image[:, 8:28, 8:28] = 10  # counts
    image[:, 40:60, 40:60] = 10  # does not
    [why] = explain(dark_corner, image, label="dark", method="occlusion")
    assert why.heatmap[18, 18] > 0.8
    assert why.heatmap[40:60, 40:60].max() == 0
    assert why.heatmap.max() <= 1
    [other] = explain(dark_corner, image, label="light", method="occlusion")
    assert other.heatmap.max() == 0  # covering it only speaks for light


@pytest.mark.parametrize(("crop", "shape"), [(0.5, (3, 64, 96)), (1.0, (3, 96, 64)), (2.0, (3, 64, 64))])
def test_the_map_lies_on_the_original_pixels(
    dark_corner: CellClassifier, crop: float, shape: tuple[int, int, int]
) -> None:
    dark_corner.preprocess = Preprocess(64, crop=crop)
    image = torch.full(shape, 220, dtype=torch.uint8)
    height, width = shape[1:]
    side = crop * min(height, width)
    # The middle of what the model looks at: a quarter of its square left of and above the centre, but in the image.
    y, x = (round(length / 2 - min(side, length) / 4) for length in (height, width))
    image[:, y - 4 : y + 4, x - 4 : x + 4] = 0
    [why] = explain(dark_corner, image, label="dark", method="occlusion")
    assert why.heatmap.shape == (height, width)
    rows, columns = np.nonzero(why.heatmap > 0.9)
    assert abs(rows.mean() - y) < 8
    assert abs(columns.mean() - x) < 8
    if crop == 0.5:  # what the crop leaves out says nothing
        assert why.heatmap[:15].max() == why.heatmap[:, :31].max() == 0


@pytest.mark.parametrize("method", METHODS)
def test_maps_depend_on_what_was_learned(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellnet.inference.explanation.GRID", 4)
    model, cells = load_pretrained("mobilenet_v2"), samples()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    similarity = similarity_to_untrained(model, [cells.image(i) for i in (6, 16, 31)], method=method)
    assert -1 <= similarity < 0.95
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_from_a_prediction_to_its_picture(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    for inputs in (synthetic, [synthetic.image(i) for i in range(3)]):
        predictions = tiny_model.predict(inputs)
        why = predictions[2].explain()
        assert torch.equal(why.image, synthetic.image(2))
        assert why.label == predictions[2].label
        assert why.probability == pytest.approx(predictions[2].probability, abs=1e-5)
    path = why.save(tmp_path / "new" / "why.png")
    assert Image.open(path).size[0] > 600
    with pytest.raises(ConfigError, match=r"ends in \.png, \.pdf or \.svg"):
        why.save(tmp_path / "why")
    assert predictions[0].explain(label="ig", method="occlusion").label == "ig"
    overlay = why.overlay()
    assert overlay.shape == (32, 32, 3)
    assert np.array_equal(why.overlay(0), why.image.permute(1, 2, 0).numpy())


def test_the_image_is_that_of_the_row_whatever_becomes_of_the_folder(
    tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path
) -> None:
    for i in range(2):
        Image.fromarray(synthetic.image(i).permute(1, 2, 0).numpy()).save(tmp_path / f"{i + 1}.png")
    predictions = tiny_model.predict(tmp_path)
    (tmp_path / "0.png").write_bytes(b"new")
    for row in (1, -1):
        assert torch.equal(predictions[row].explain().image, synthetic.image(1))
    with pytest.raises(IndexError):
        predictions[-3]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_switched_on_where_they_are_off(
    mode: Callable[[], AbstractContextManager[None]], synthetic: CellDataset
) -> None:
    model = create_model("cnn", image_size=32).eval()
    expected = model.predict(synthetic)[0].explain().heatmap
    with mode():
        given = model.predict(synthetic)[0].explain().heatmap
    assert np.array_equal(given, expected)


def test_the_model_is_left_as_it_was(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    tiny_model.train()
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    for method in METHODS:
        explain(tiny_model, synthetic.image(0), method=method)
    assert tiny_model.training
    assert all(torch.equal(before[key], value) for key, value in tiny_model.state_dict().items())
    assert all(parameter.grad is None for parameter in tiny_model.parameters())


def test_what_cannot_be_explained(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    image = synthetic.image(0)
    with pytest.raises(UnknownNameError, match="Did you mean 'grad-cam'"):
        explain(tiny_model, image, method="gradcam")
    with pytest.raises(LabelError, match="does not know 'blast'"):
        explain(tiny_model, image, label="blast")
    with pytest.raises(DataError, match="no image to explain"):
        explain(tiny_model, [])
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"bad\.png"):
        explain(tiny_model, tmp_path / "bad.png")
    with pytest.raises(DataError, match="not at hand any more"):
        tiny_model.predict(iter([image]))[0].explain()
    with pytest.raises(DataError, match=r"model.explain\(image\)"):
        Predictions(["a"], LabelSchema.from_names(["x"]), [[1.0]])[0].explain()
    with pytest.raises(ConfigError, match="form no map"):
        explain(create_model("timm:crossvit_9_240"), image)
