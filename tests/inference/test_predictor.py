from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, LabelError, WeightsError
from cellnet.images import decode
from cellnet.inference import energy_score, fit_thresholds, predict, predictor, softmax, torch_device
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, fuse


@pytest.fixture
def folder(tmp_path: Path, synthetic: CellDataset) -> Path:
    """Five PNG images of several sizes, one of them in a subfolder, and a damaged one."""
    root = tmp_path / "smears"
    (root / "sub").mkdir(parents=True)
    for i, name in enumerate(["a.png", "b.png", "d.png", "e.png", "sub/f.png"]):
        picture = Image.fromarray(synthetic.image(i * 8).permute(1, 2, 0).numpy())
        picture.resize((32 + 7 * i, 40)).save(root / name)
    (root / "c.png").write_bytes((root / "a.png").read_bytes()[:100])
    return root


def expected(model: CellClassifier, images: list[Tensor]) -> np.ndarray:
    """Logits the plain way: one image at a time."""
    with torch.no_grad():
        return torch.cat([model(model.preprocess(image)[None]) for image in images]).numpy()


def test_a_folder(tiny_model: CellClassifier, folder: Path) -> None:
    preds = predict(tiny_model, folder, batch_size=2)
    names = ["a.png", "b.png", "c.png", "d.png", "e.png", "sub/f.png"]
    assert preds.files == [str(folder / name) for name in names]
    good = [0, 1, 3, 4, 5]
    logits = expected(tiny_model, [decode(folder / names[i]) for i in good])
    np.testing.assert_allclose(preds.logits[good], logits, atol=1e-4)
    np.testing.assert_allclose(preds.probabilities[good], softmax(logits), atol=1e-5)
    np.testing.assert_allclose(preds.ood[good], energy_score(logits), atol=1e-4)
    assert preds.errors[2] is not None
    assert "c.png" in preds.errors[2]
    assert np.isnan(preds.probabilities[2]).all()
    assert np.isnan(preds.ood[2])
    assert preds.abstain.tolist() == [False, False, True, False, False, False]
    assert preds.targets is None
    assert preds.features is None
    assert preds.schema is tiny_model.labels


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_kind_of_input_gives_the_same(
    tiny_model: CellClassifier, synthetic: CellDataset, batch_size: int
) -> None:
    images = [synthetic.image(i) for i in range(7)]
    arrays = [image.permute(1, 2, 0).numpy() for image in images]
    logits = expected(tiny_model, images)
    for inputs in (
        images,
        torch.stack(images),
        arrays,
        np.stack(arrays),
        [Image.fromarray(array) for array in arrays],
        (image for image in images),
        [arrays[0], images[1], Image.fromarray(arrays[2]), torch.stack(images[3:])],
    ):
        preds = predict(tiny_model, inputs, batch_size=batch_size)
        np.testing.assert_allclose(preds.logits, logits, atol=1e-4)
        assert preds.files == [f"image_{i:04d}" for i in range(7)]


def test_one_image(tiny_model: CellClassifier, folder: Path) -> None:
    image = decode(folder / "a.png")
    logits = expected(tiny_model, [image])
    for inputs in (
        folder / "a.png",
        str(folder / "a.png"),
        (folder / "a.png").read_bytes(),
        Image.open(folder / "a.png"),
        image,
        image.numpy(),
    ):
        np.testing.assert_allclose(predict(tiny_model, inputs).logits, logits, atol=1e-4)


def test_a_lazily_opened_picture_many_times(tiny_model: CellClassifier, folder: Path) -> None:
    picture = Image.open(folder / "a.png")
    preds = predict(tiny_model, [picture] * 20)
    assert preds.errors == [None] * 20


def test_a_mixed_list_keeps_its_order_and_bad_rows(tiny_model: CellClassifier, folder: Path) -> None:
    (folder / "empty").mkdir()
    inputs = [
        folder / "gone.png",
        folder,
        np.zeros((4, 4, 3, 2, 2)),
        folder / "empty",
        str(folder / "a.png"),
        b"no",
    ]
    preds = predict(tiny_model, inputs)
    assert [Path(name).name for name in preds.files] == [
        "gone.png",
        *("a.png", "b.png", "c.png", "d.png", "e.png", "f.png"),
        "image_0007",
        "empty",
        "a.png",
        "image_0010",
    ]
    assert [i for i, error in enumerate(preds.errors) if error] == [0, 3, 7, 8, 10]


def test_nothing_readable_is_still_an_answer(tiny_model: CellClassifier, tmp_path: Path) -> None:
    preds = predict(tiny_model, [tmp_path / "gone.png"], features=True)
    assert preds.labels == [None]
    assert preds.probabilities.shape == (1, 8)
    assert preds.abstain.all()


def test_a_data_set_keeps_its_targets_and_ignores_its_transform(
    tiny_model: CellClassifier, synthetic: CellDataset
) -> None:
    def black(image: Tensor) -> Tensor:
        return torch.zeros_like(image)

    data = synthetic.with_transform(black)
    preds = predict(tiny_model, data)
    assert preds.targets is not None
    assert preds.targets.tolist() == list(synthetic.targets)
    assert preds.files == [str(file) for file in synthetic.files]
    np.testing.assert_allclose(
        preds.logits, expected(tiny_model, [synthetic.image(i) for i in range(len(synthetic))]), atol=1e-4
    )


def test_a_data_set_of_other_classes_is_refused(tiny_model: CellClassifier) -> None:
    data = CellDataset(
        None,
        [0, 1],
        LabelSchema.from_names(["blast", "monocyte"]),
        images=torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
    )
    with pytest.raises(LabelError, match="harmonise"):
        predict(tiny_model, data)


def test_temperature_and_thresholds(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    plain = predict(tiny_model, synthetic)
    tiny_model.temperature = 3.0
    tiny_model.thresholds = fit_thresholds(plain.logits, plain.targets, tiny_model.calibrator)  # type: ignore[arg-type]
    hot = predict(tiny_model, synthetic)
    assert hot.logits.tolist() == plain.logits.tolist()
    np.testing.assert_allclose(hot.probabilities, softmax(plain.logits, 3.0))
    assert hot.labels == plain.labels
    assert hot.abstain.sum() > plain.abstain.sum()


def test_features(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    images = [synthetic.image(0), tmp_path / "gone.png", synthetic.image(1)]
    preds = predict(tiny_model, images, features=True)
    assert preds.features is not None
    assert preds.features.shape == (3, tiny_model.backbone.num_features)
    with torch.no_grad():
        wanted = tiny_model.features(torch.stack([tiny_model.preprocess(synthetic.image(i)) for i in (0, 1)]))
    np.testing.assert_allclose(preds.features[[0, 2]], wanted, atol=1e-4)
    assert np.isnan(preds.features[1]).all()
    np.testing.assert_allclose(preds.logits, predict(tiny_model, images).logits, atol=1e-5)


def test_the_model_is_left_as_it_was_found(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    tiny_model.train()
    tiny_model.backbone.eval()
    modes = [module.training for module in tiny_model.modules()]
    weights = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    first = predict(tiny_model, synthetic.subset(range(4)))
    assert [module.training for module in tiny_model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in tiny_model.state_dict().items())
    assert first.logits.tolist() == predict(tiny_model.eval(), synthetic.subset(range(4))).logits.tolist()
    tiny_model(synthetic.image(0)[None]).sum().backward()  # nothing of inference mode stays behind


def test_an_interrupt_leaves_no_threads_and_restores_the_model(
    tiny_model: CellClassifier, synthetic: CellDataset
) -> None:
    def interrupted() -> Iterator[Tensor]:
        for i in range(5):
            yield synthetic.image(i)
        raise KeyboardInterrupt

    tiny_model.train()
    with pytest.raises(KeyboardInterrupt):
        predict(tiny_model, interrupted(), batch_size=2)
    assert tiny_model.training
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cellnet-read")]


def test_a_stream_is_read_no_more_than_two_batches_ahead(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    given = done = 0
    ahead = []

    def stream() -> Iterator[Tensor]:
        nonlocal given
        for _ in range(40):
            given += 1
            ahead.append(given - done)
            yield synthetic.image(0)

    def count(*_: object) -> None:
        nonlocal done
        done += 4

    tiny_model.register_forward_hook(count)
    assert len(predict(tiny_model, stream(), batch_size=4)) == 40
    assert max(ahead) <= 8


def test_progress_goes_to_standard_error(
    tiny_model: CellClassifier, synthetic: CellDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(tiny_model, synthetic, progress=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("inputs", [[], (), iter(())])
def test_nothing(tiny_model: CellClassifier, inputs: object) -> None:
    with pytest.raises(DataError, match="nothing to predict"):
        predict(tiny_model, inputs)


def test_folders_and_paths_that_are_not_there(tiny_model: CellClassifier, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        predict(tiny_model, tmp_path / "gone")
    with pytest.raises(DataError, match="No image"):
        predict(tiny_model, tmp_path)


@pytest.mark.parametrize("inputs", [None, 5, {"a": 1}.values(), [None], [3.5]])
def test_other_things(tiny_model: CellClassifier, inputs: object) -> None:
    with pytest.raises(DataError, match="give a folder"):
        predict(tiny_model, inputs)


def test_bad_options(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        predict(tiny_model, synthetic, batch_size=0)
    with pytest.raises(ConfigError, match="'warp'"):
        predict(tiny_model, synthetic, device="warp")
    with pytest.raises(ConfigError, match="'cuda:99'"):
        torch_device("cuda:99")


def test_a_device_is_only_borrowed(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    one = predict(tiny_model, synthetic.subset([0]), device="cpu")
    assert next(tiny_model.parameters()).device == torch.device("cpu")
    assert one.errors == [None]


def test_a_diverged_model_is_refused(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    with torch.no_grad():
        next(tiny_model.head.parameters()).fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        predict(tiny_model, synthetic)


def test_many_images_are_seen_by_a_fused_copy(
    tiny_model: CellClassifier, synthetic: CellDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.stack([synthetic.image(i) for i in range(len(synthetic))])
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    found, copies = {}, []
    monkeypatch.setattr(predictor, "fuse", lambda model: copies.append(fuse(model)) or copies[-1])
    for least in (len(images), len(images) + 1):
        monkeypatch.setattr(predictor, "FUSED_FROM", least)
        found[least] = predict(tiny_model, images).logits
    assert [copy.fused for copy in copies] == [True]  # for the first alone
    fused, plain = found.values()
    np.testing.assert_allclose(fused, plain, atol=1e-4)
    assert not tiny_model.fused
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.state_dict().items())
    predict(copies[0], images)
    assert len(copies) == 1  # it is not made again of a copy
