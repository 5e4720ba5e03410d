from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from cellnet.cards import DatasetCard, WeightsCard
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.evaluation import calibrate, evaluate
from cellnet.evaluation.evaluate import SMALL_GROUPS, SOME_GROUPS, TRAINING_PART, UPPER_BOUND
from cellnet.inference import fit_thresholds
from cellnet.inference.predictor import predict
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier

REVERSED = LabelSchema.from_names(
    ["platelet", "neutrophil", "monocyte", "lymphocyte", "ig", "erythroblast", "eosinophil", "basophil"]
)


def with_card(dataset: CellDataset, card: DatasetCard, **columns) -> CellDataset:
    images = np.stack([dataset.image(i).numpy() for i in range(len(dataset))])
    return CellDataset(None, dataset.targets, dataset.labels, images=images, card=card, **columns)


def test_the_report_scores_what_the_model_predicts(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    report = evaluate(tiny_model, synthetic, batch_size=7, title="Trial", settings={"seed": 3})
    expected = predict(tiny_model, synthetic)
    np.testing.assert_allclose(report.predictions.probabilities, expected.probabilities, atol=1e-6)
    assert report.accuracy.value == np.mean(expected.probabilities.argmax(1) == synthetic.targets)
    assert (report.title, report.n, report.part) == ("Trial", 48, None)
    assert report.settings["seed"] == 3
    assert np.array_equal(report.images(5), synthetic.image(5))
    assert tiny_model.temperature == 1.0
    assert tiny_model.thresholds == {}


def test_calibration_is_fitted_on_its_own_images_and_stored(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    _, val, test = synthetic.split((0.4, 0.3, 0.3))
    before = evaluate(tiny_model, test)
    logits = predict(tiny_model, val).logits
    report = evaluate(tiny_model, test, calibrate_on=val)
    assert tiny_model.temperature != 1.0
    assert tiny_model.thresholds == fit_thresholds(logits, val.targets, tiny_model.calibrator)
    expected = softmax(before.predictions.logits / tiny_model.temperature, 1)
    np.testing.assert_allclose(report.predictions.probabilities, expected, atol=1e-5)
    assert report.accuracy == before.accuracy
    assert report.settings["calibrated on"] == f"{len(val)} images, part val"
    assert report.settings["temperature"] == tiny_model.temperature


def test_calibrating_twice_changes_nothing_more(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    _, val, test = synthetic.split((0.4, 0.3, 0.3))
    evaluate(tiny_model, test, calibrate_on=val)
    first = (tiny_model.temperature, dict(tiny_model.thresholds))
    evaluate(tiny_model, test, calibrate_on=val)
    assert (tiny_model.temperature, tiny_model.thresholds) == first


def test_another_schema_is_refused_with_the_call_that_helps(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    other = synthetic.harmonise(REVERSED)
    with pytest.raises(LabelError, match=r"dataset\.harmonise\(model\.labels\)"):
        evaluate(tiny_model, other)
    train, test = synthetic.split((0.5, 0.5))
    with pytest.raises(LabelError, match="calibrate_on"):
        evaluate(tiny_model, test, calibrate_on=train.harmonise(REVERSED))
    assert evaluate(tiny_model, other.harmonise(tiny_model.labels)).accuracy == evaluate(tiny_model, synthetic).accuracy


def test_another_network_is_judged_by_its_predictions(synthetic: CellDataset) -> None:
    for judge in (evaluate, calibrate):
        with pytest.raises(ConfigError, match=r"a Sequential, but a CellClassifier.*cellnet evaluate --predictions"):
            judge(torch.nn.Sequential(), synthetic)


def test_the_test_part_may_not_calibrate(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    _, val, test = synthetic.split((0.4, 0.3, 0.3))
    with pytest.raises(ConfigError, match="test part"):
        evaluate(tiny_model, val, calibrate_on=test)
    assert tiny_model.temperature == 1.0


def test_shared_images_are_refused_and_named(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    _, val, test = synthetic.split((0.4, 0.3, 0.3))
    leaky = CellDataset(
        None,
        np.append(val.targets, test.targets[0]),
        val.labels,
        images=np.stack([*(val.image(i).numpy() for i in range(len(val))), test.image(0).numpy()]),
    )
    with pytest.raises(DataError, match=f"1 images of calibrate_on, e.g. {leaky.files[-1]}"):
        evaluate(tiny_model, test, calibrate_on=leaky)
    assert tiny_model.temperature == 1.0


def test_empty_sets_are_refused(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    with pytest.raises(DataError, match="dataset has no images"):
        evaluate(tiny_model, synthetic.subset([]))
    with pytest.raises(DataError, match="calibrate_on has no images"):
        evaluate(tiny_model, synthetic, calibrate_on=synthetic.subset([]))


def test_unreadable_files_are_counted_not_scored(tiny_model: CellClassifier, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(3):
        Image.fromarray(np.full((32, 32, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    files = [tmp_path / name for name in ("0.png", "broken.png", "1.png", "2.png")]
    report = evaluate(tiny_model, CellDataset(files, [0, 1, 2, 3], tiny_model.labels))
    assert (report.n, report.unreadable) == (3, [1])
    report.save(tmp_path / "out")
    assert "broken.png" in (tmp_path / "out" / "report.html").read_text()

    val = CellDataset([tmp_path / "broken.png"], [1], tiny_model.labels, part="val")
    with pytest.raises(DataError, match="to calibrate on could be read"):
        evaluate(tiny_model, CellDataset(files[:1], [0], tiny_model.labels), calibrate_on=val)


def test_the_report_says_what_its_figures_do_not(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    card = DatasetCard("pbc", "PBC", known_defects=("some copies", "no donor is known"))
    defects = ("Known of these data: no donor is known.", "Known of these data: some copies.")
    cells = with_card(synthetic, card)
    assert evaluate(tiny_model, cells).notes == defects  # another laboratory's images, for all we know
    assert evaluate(tiny_model, cells.subset(range(8), part="test")).notes == (UPPER_BOUND, *defects)
    assert evaluate(tiny_model, cells.subset(range(8), part="train")).notes == (TRAINING_PART, *defects)
    whole = np.arange(48) // 4
    # Photographs, or what an audit found: no donors, if none is known, and not for every image.
    photographs = with_card(synthetic, card, groups=whole, part="test")
    assert evaluate(tiny_model, photographs).notes == (SMALL_GROUPS, *defects)
    some = np.where(np.arange(48) < 8, whole, None)
    assert evaluate(tiny_model, with_card(synthetic, card, groups=some, part="test")).notes == (SOME_GROUPS, *defects)
    donors = with_card(synthetic, DatasetCard("ours", "Ours"), groups=whole, part="test")
    assert evaluate(tiny_model, donors).notes == ()
    some = np.where(np.arange(48) < 8, whole, np.nan)
    assert evaluate(tiny_model, donors.with_groups(some)).notes == (SOME_GROUPS,)
    drawn = with_card(synthetic, DatasetCard("drawn", "Drawn", known_defects=("not real",)), part="test")
    assert evaluate(tiny_model, drawn).notes == ("Known of these data: not real.",)
    tiny_model.weights_card = WeightsCard("tiny", training_data="pbc")
    report = evaluate(tiny_model, cells)
    assert report.notes == (UPPER_BOUND, *defects)
    assert (report.title, report.dataset) == ("Evaluation on PBC", "PBC")


def test_groups_of_the_data_set_widen_the_intervals(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    copies = synthetic.subset(np.repeat(np.arange(48), 3))
    alone, together = (
        evaluate(tiny_model, copies),
        evaluate(tiny_model, copies.with_groups(np.repeat(np.arange(48), 3))),
    )
    assert together.scored.units.grouped
    assert not evaluate(tiny_model, synthetic.with_groups(np.arange(48))).scored.units.grouped
    assert together.accuracy.value == alone.accuracy.value
    assert together.accuracy.high - together.accuracy.low > 1.3 * (alone.accuracy.high - alone.accuracy.low)


def test_the_report_says_what_was_judged_on_what(
    tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path
) -> None:
    tiny_model.weights_card = WeightsCard("tiny", version="3", training_data="pbc", training_data_hash="00ff")
    settings = evaluate(tiny_model, synthetic, settings={"split hash": "1234"}).settings
    assert settings["weights"] == "tiny, version 3"
    assert settings["trained on"] == "pbc (00ff)"
    assert settings["data set hash"] == synthetic.fingerprint()
    assert settings["split hash"] == "1234"
    missing = evaluate(
        tiny_model, CellDataset([tmp_path / "gone.png", *_written(synthetic, tmp_path)], [0, 0, 0], synthetic.labels)
    )
    assert missing.unreadable == [0]
    assert missing.settings["data set hash"].startswith("none")


def _written(cells: CellDataset, folder: Path) -> list[Path]:
    from torchvision.io import write_png

    for i in range(2):
        write_png(cells.image(i), str(folder / f"{i}.png"))
    return [folder / f"{i}.png" for i in range(2)]


def test_subgroups_are_given_or_those_that_the_data_set_offers(
    tiny_model: CellClassifier, synthetic: CellDataset
) -> None:
    class Stained(CellDataset):
        def subgroups(self):
            return {"stain": ["MGG", "Wright"] * (len(self) // 2)}

    images = np.stack([synthetic.image(i).numpy() for i in range(len(synthetic))])
    cells = Stained(None, synthetic.targets, synthetic.labels, images=images)
    offered = evaluate(tiny_model, cells).subgroups
    assert {value: figures["n"] for value, figures in offered["stain"].items()} == {"MGG": 24, "Wright": 24}
    assert evaluate(tiny_model, cells, subgroups={}).subgroups == {}
    assert evaluate(tiny_model, synthetic).subgroups == {}
    given = evaluate(tiny_model, cells, subgroups={"half": np.arange(48) // 24}).subgroups
    assert list(given) == ["half"]
    with pytest.raises(DataError, match="'half' has 2 values for 48 images"):
        evaluate(tiny_model, cells, subgroups={"half": ["a", "b"]})
