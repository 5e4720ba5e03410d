"""A model that knows which images it has seen: from fit to abstention, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cellnet.augment.camera import blur
from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import DataError, WeightsError
from cellnet.evaluation import calibrate
from cellnet.hub import load
from cellnet.images import appearance
from cellnet.inference import adapt, fit_familiarity
from cellnet.inference.familiarity import cut_piece
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, create_model
from cellnet.models.probes import Attributes


@pytest.fixture(scope="module")
def cells() -> CellDataset:
    return load_dataset("synthetic", per_class=12, image_size=32, seed=2)


@pytest.fixture
def fitted(tiny_model: CellClassifier, cells: CellDataset) -> CellClassifier:
    train, _, _ = cells.split((0.6, 0.3, 0.1), seed=0)
    fit_familiarity(tiny_model, train)
    return tiny_model


def test_strange_images_are_far_and_left_to_a_person(fitted: CellClassifier, cells: CellDataset) -> None:
    _, val, _ = cells.split((0.6, 0.3, 0.1), seed=0)
    calibrate(fitted, val)
    assert set(fitted.thresholds) == {"probability", "distance"}
    fitted.thresholds["probability"] = 0.0
    home = fitted.predict(val)
    assert home.abstain.mean() <= 0.05
    strange = [torch.zeros(3, 32, 32, dtype=torch.uint8), 255 - cells.image(0)]
    away = fitted.predict(strange)
    assert away.abstain.all()
    assert away.ood.min() > home.ood.max()
    # The score is that of the probe on features and images.
    features = fitted.predict(val, features=True).features
    assert features is not None
    assert fitted.familiarity is not None
    images = torch.stack([fitted.preprocess(val.image(i)) for i in range(len(val))])
    np.testing.assert_allclose(fitted.familiarity(torch.from_numpy(features), images).numpy(), home.ood, rtol=1e-4)


def test_pieces_do_not_have_the_cell_in_their_middle() -> None:
    places = torch.arange(40 * 60).reshape(1, 40, 60).expand(3, -1, -1)
    generator = np.random.default_rng(0)
    sides = set()
    for _ in range(60):
        piece = cut_piece(places, generator)
        side = piece.shape[1]
        assert piece.shape == (3, side, side)
        top, left = divmod(int(piece[0, 0, 0]), 60)
        assert max(abs(top + side / 2 - 20), abs(left + side / 2 - 30)) >= 0.4 * side
        sides.add(side)
    assert min(sides) == 8
    assert 18 <= max(sides) <= 20
    for length in range(1, 12):
        tiny = torch.zeros(3, length, length, dtype=torch.uint8)
        assert all(cut_piece(tiny, generator).shape[1] <= max(1, length // 2) for _ in range(30))


def test_the_calmest_pieces_are_empty(cells: CellDataset) -> None:
    image = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)
    image[:, :, :20] = 200
    generator = np.random.default_rng(0)
    calm = [bool((cut_piece(image, generator) == 200).all()) for _ in range(60)]
    assert 30 < sum(calm) < 60


def test_empty_fields_are_told_from_small_cells_in_them() -> None:
    """Dots on a quiet field: by the means of its features the network cannot tell the field from the dots."""
    torch.manual_seed(0)
    field = torch.randint(190, 200, (60, 3, 32, 32), dtype=torch.uint8)
    dots = field.clone()
    dots[:, :, 14:18, 14:18] = torch.randint(60, 120, (60, 3, 1, 1), dtype=torch.uint8)
    cells = CellDataset(None, [0, 1] * 30, LabelSchema.from_names(["a", "b"]), images=dots)
    model = create_model("cnn", cells.labels, image_size=32).eval()
    fit_familiarity(model, cells)
    probe = model.familiarity
    assert probe is not None
    dotted, empty = (model.predict(list(images), features=True) for images in (dots, field))
    typical = np.quantile(dotted.ood, 0.99)
    assert (empty.ood > typical).mean() > 0.9
    by_distance = probe.distances(torch.from_numpy(empty.features)).numpy()
    assert (empty.ood >= by_distance - 1e-5).all()


def test_unseen_images_weigh_the_measures_against_each_other(tiny_model: CellClassifier, cells: CellDataset) -> None:
    train, val, _ = cells.split((0.5, 0.4, 0.1), seed=0)
    fit_familiarity(tiny_model, train, val)
    probe = tiny_model.familiarity
    assert probe is not None
    assert probe.weight is not None
    features = torch.from_numpy(tiny_model.predict(val, features=True).features)
    looks = appearance(torch.stack([tiny_model.preprocess(val.image(i)) for i in range(len(val))]))
    assert probe.pictures is not None
    assert probe.unit is not None
    distances = probe.distances(features)
    for measure in (
        features @ probe.weight + probe.bias,
        probe.pictures.distances(looks) * probe.unit[0] + probe.unit[1],
    ):
        torch.testing.assert_close(measure.mean(), distances.mean(), rtol=1e-3, atol=0)
        torch.testing.assert_close(torch.quantile(measure, 0.99), torch.quantile(distances, 0.99), rtol=1e-3, atol=0)
    fit_familiarity(tiny_model, train)
    assert tiny_model.familiarity is not None
    assert not torch.equal(tiny_model.familiarity.weight, probe.weight)


def test_a_picture_of_another_kind_is_strange_whatever_the_network_sees(
    fitted: CellClassifier, cells: CellDataset
) -> None:
    _, val, _ = cells.split((0.6, 0.3, 0.1), seed=0)
    familiarity = fitted.familiarity
    assert familiarity is not None
    seen = [val.image(i) for i in range(len(val))]
    spoiled = {
        "grey": [image.float().mean(0, keepdim=True).expand(3, -1, -1).byte() for image in seen],
        "dark": [image // 2 for image in seen],
        "out of focus": [blur(image, 3.0) for image in seen],
    }
    with torch.no_grad():
        familiarity.directions.zero_()
        familiarity.variances.fill_(1e12)  # the network has not noticed anything
        familiarity.weight, familiarity.bias = None, None
    limit = fitted.predict(seen).ood.max()
    for name, images in spoiled.items():
        assert (fitted.predict(images).ood > limit).mean() > 0.9, name


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_it_is_stored_with_the_weights(
    fitted: CellClassifier, cells: CellDataset, tmp_path: Path, storage: str
) -> None:
    fitted.thresholds = {"distance": 1.5}
    probe = Attributes(fitted.backbone.num_features, {"granularity": ("no", "yes")}, {"granularity": {"value": 0.9}})
    fitted.probes["attributes"] = probe
    probe.weight.copy_(torch.randn(probe.weight.shape, generator=torch.Generator().manual_seed(0)))
    loaded = load(fitted.save(tmp_path / "model", storage=storage))
    assert loaded.thresholds == {"distance": 1.5}
    assert loaded.attributes is not None
    assert loaded.attributes.accuracy == {"granularity": {"value": 0.9}}
    before, after = fitted.predict(cells), loaded.predict(cells)
    if storage == "int8":  # the network's own features are others then
        assert np.corrcoef(before.ood, after.ood)[0, 1] > 0.99
    else:
        np.testing.assert_allclose(after.ood, before.ood, rtol={"float32": 1e-5, "float16": 0.02}[storage])
    assert before[0].attributes.keys() == {"granularity"}
    assert before[0].description in ("no granules", "")
    if storage == "float32":
        assert [row.attributes for row in before] == [row.attributes for row in after]
    assert loaded.self_test().ok


def test_unreadable_images_keep_their_row(fitted: CellClassifier, cells: CellDataset, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    probe = Attributes(fitted.backbone.num_features, {"granularity": ("no", "yes")})
    fitted.probes["attributes"] = probe
    predictions = fitted.predict([cells.image(0), tmp_path / "bad.png", cells.image(1)])
    assert np.isnan(predictions.ood).tolist() == [False, True, False]
    assert [bool(row.attributes) for row in predictions] == [True, False, True]
    assert predictions[1].description == ""


def test_an_adapted_copy_has_other_features(fitted: CellClassifier, cells: CellDataset) -> None:
    fitted.thresholds = {"probability": 0.5, "distance": 1.5}
    adapted = adapt(fitted, cells)
    assert adapted.familiarity is None
    assert adapted.thresholds == {"probability": 0.5}
    assert fitted.familiarity is not None


def test_what_it_cannot_be_fitted_on(tiny_model: CellClassifier, cells: CellDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few to be familiar with"):
        fit_familiarity(tiny_model, cells.subset([0]))
    (tmp_path / "bad.png").write_bytes(b"no image")
    unreadable = CellDataset([tmp_path / "bad.png"], [0], cells.labels)
    with pytest.raises(DataError, match="None of the images could be read"):
        fit_familiarity(tiny_model, cells, unreadable)
    assert tiny_model.familiarity is None
    tiny_model.probes["other"] = torch.nn.Identity()
    with pytest.raises(AttributeError):
        tiny_model.save(tmp_path / "x")


def test_a_checkpoint_with_a_probe_that_nobody_knows(fitted: CellClassifier, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "model")
    text = (folder / "config.json").read_text().replace('"familiarity"', '"clairvoyance"')
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match="clairvoyance"):
        load(folder)


def test_few_features_have_few_directions(cells: CellDataset) -> None:
    model = create_model("cnn", image_size=32)
    fit_familiarity(model, cells, directions=1000)
    assert model.familiarity is not None
    assert len(model.familiarity.directions) == model.backbone.num_features
