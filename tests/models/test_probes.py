"""Probes on features, against formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellnet.images import APPEARANCE, appearance
from cellnet.models.probes import PROBES, Attributes, Familiarity


def cloud(n: int = 400, d: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, n)
    values = rng.normal(size=(n, d)) * np.linspace(3, 0.5, d) + 4 * np.eye(3, d)[targets]
    return torch.from_numpy(values).float(), torch.from_numpy(targets)


@pytest.mark.parametrize("kept", [0, 2, 5, 6])
def test_the_distance_is_that_of_the_covariance_it_stands_for(kept: int) -> None:
    features, targets = cloud()
    familiarity = Familiarity(6, 3, kept).fit(features, targets)
    values, labels = features.double().numpy(), targets.numpy()
    means = np.stack([values[labels == label].mean(0) for label in range(3)])
    covariance = np.cov((values - means[labels]).T, bias=True) * len(values) / (len(values) - 3)
    lengths, axes = np.linalg.eigh(covariance)
    if kept < 6:
        lengths[: 6 - kept] = lengths[: 6 - kept].mean()  # those that are not kept vary alike
    inverse = np.linalg.inv(axes @ np.diag(lengths) @ axes.T)
    new = np.random.default_rng(1).normal(size=(20, 6)) * 5
    expected = np.sqrt(
        np.min([np.einsum("ni,ij,nj->n", new - mean, inverse, new - mean) for mean in means], axis=0) / 6
    )
    np.testing.assert_allclose(familiarity(torch.from_numpy(new)).numpy(), expected, rtol=1e-4)


def test_familiar_images_are_near_one_and_others_far() -> None:
    features, targets = cloud()
    familiarity = Familiarity(6, 3, 2).fit(features, targets)
    assert 0.6 < float(familiarity(features).median()) < 1.2
    assert float(familiarity(features + 20).min()) > 3


def test_a_class_without_images_draws_nothing_near() -> None:
    features, targets = cloud()
    three, four = Familiarity(6, 3, 2).fit(features, targets), Familiarity(6, 4, 2).fit(features, targets)
    assert bool(four.means.isfinite().all())
    torch.testing.assert_close(three(features), four(features))


def test_fewer_images_than_directions() -> None:
    features, targets = cloud(n=5)
    distances = Familiarity(6, 3, 6).fit(features, targets)(features)
    assert bool(distances.isfinite().all())


def test_a_linear_layer_speaks_in_the_unit_of_the_distance() -> None:
    features, targets = cloud()
    plain = Familiarity(6, 3, 2).fit(features, targets)
    both = Familiarity(6, 3, 2, pieces=True)
    both.load_state_dict(plain.state_dict(), strict=False)
    weight = torch.tensor([0.0, 0, 0, 0, 0, 40])
    scores = features @ weight + 7
    both.tell_from(weight, 7.0, features, scores)
    assert both.weight is not None
    linear = features @ both.weight + both.bias
    distances = plain(features)
    torch.testing.assert_close(linear.mean(), distances.mean())
    torch.testing.assert_close(torch.quantile(linear, 0.99), torch.quantile(distances, 0.99))
    torch.testing.assert_close(both(features), torch.maximum(linear, distances))


def test_pictures_speak_in_the_unit_of_the_distance_too() -> None:
    features, targets = cloud()
    looks, _ = cloud(d=len(APPEARANCE), seed=1)
    familiarity = Familiarity(6, 3, 2).fit(features, targets)
    distances = familiarity(features)
    familiarity.look_at(looks, targets, features, looks)
    assert familiarity.pictures is not None
    assert familiarity.unit is not None
    scaled = familiarity.pictures.distances(looks) * familiarity.unit[0] + familiarity.unit[1]
    torch.testing.assert_close(scaled.mean(), distances.mean())
    torch.testing.assert_close(torch.quantile(scaled, 0.99), torch.quantile(distances, 0.99))
    images = torch.randint(0, 256, (400, 3, 16, 16), dtype=torch.uint8)
    seen = familiarity.pictures.distances(appearance(images)) * familiarity.unit[0] + familiarity.unit[1]
    torch.testing.assert_close(familiarity(features, images), torch.maximum(distances, seen))
    torch.testing.assert_close(familiarity(features), distances)


def test_words_are_those_of_the_largest_logit() -> None:
    probe = Attributes(2, {"size": ("small", "big"), "colour": ("pink", "red", "blue")})
    probe.weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0.5]]))
    probe.bias.copy_(torch.tensor([0.0, 0, 0, 0, 3]))
    first, second = probe.words_for(torch.tensor([[3.0, 9.0], [-2.0, 0.0]]))
    assert first["size"][0] == "small"
    assert first["size"][1] == pytest.approx(1 / (1 + np.exp(-6)))
    assert first["colour"][0] == "pink"
    assert (second["size"][0], second["colour"][0]) == ("big", "blue")
    probabilities = probe(torch.tensor([[3.0, 9.0]]))
    assert float(probabilities["colour"].sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    "probe",
    [
        Familiarity(4, 3, 2),
        Familiarity(4, 3, 2, pieces=True),
        Familiarity(4, 3, 2, pieces=True, pictures=True),
        Attributes(4, {"size": ("a", "b")}, {"size": {"value": 0.9, "n": 10}}),
    ],
)
def test_a_probe_is_built_again_from_its_description(probe: Familiarity | Attributes) -> None:
    name = next(name for name, kind in PROBES.items() if isinstance(probe, kind))
    again = PROBES[name](**probe.architecture)
    assert again.architecture == probe.architecture
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in probe.state_dict().items()
    }
    assert list(probe.parameters()) == []  # nothing that a training would change
