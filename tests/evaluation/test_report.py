from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from cellnet.errors import ConfigError, DataError, UnknownNameError
from cellnet.evaluation import Estimate, Report
from cellnet.inference import Predictions
from cellnet.labels import PBC_LABELS, LabelSchema

HISTORY = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.1 / e, "val_accuracy": 1 - 0.5 / e} for e in (1, 2, 3)]


def predictions(n: int = 160, seed: int = 0, unreadable: tuple[int, ...] = (3, 50), sure: float = 3.0) -> Predictions:
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 7  # no platelet
    logits = rng.normal(0, 1, (n, 8))
    logits[np.arange(n), targets] += sure
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    errors: list[str | None] = [None] * n
    for row in unreadable:
        probabilities[row], errors[row] = np.nan, "cut off"
    abstain = ~(probabilities.max(1) > 0.5)
    files = [f"class/{i:03d}.jpg" for i in range(n)]
    return Predictions(files, PBC_LABELS, probabilities, errors, abstain=abstain, targets=targets)


@pytest.fixture
def report() -> Report:
    return Report.from_predictions(
        predictions(), title="Trial", dataset="PBC", part="test", notes=["No donor ids."], history=HISTORY
    )


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:The y_prob values")  # scikit-learn's own
def test_figures_equal_scikit_learns_on_the_readable_images(report: Report) -> None:
    preds = report.predictions
    known = preds.readable
    targets, called = preds.targets[known], preds.probabilities[known].argmax(1)
    present = range(7)
    expected = {
        "accuracy": sk.accuracy_score(targets, called),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, called),
        "macro_f1": sk.f1_score(targets, called, average="macro", labels=present),
        "weighted_f1": sk.f1_score(targets, called, average="weighted", labels=present),
        "macro_precision": sk.precision_score(targets, called, average="macro", labels=present),
        "macro_recall": sk.recall_score(targets, called, average="macro", labels=present),
        "weighted_precision": sk.precision_score(targets, called, average="weighted", labels=present),
        "weighted_recall": sk.recall_score(targets, called, average="weighted", labels=present),
        "kappa": sk.cohen_kappa_score(targets, called),
        "mcc": sk.matthews_corrcoef(targets, called),
        "nll": sk.log_loss(targets, preds.probabilities[known].astype(float), labels=range(8)),
        "coverage": 1 - preds.abstain[known].mean(),
        "accepted_accuracy": (targets == called)[~preds.abstain[known]].mean(),
        "top_2_accuracy": sk.top_k_accuracy_score(targets, preds.probabilities[known], k=2, labels=range(8)),
        "macro_roc_auc": np.mean([sk.roc_auc_score(targets == c, preds.probabilities[known, c]) for c in present]),
        "macro_average_precision": np.mean(
            [sk.average_precision_score(targets == c, preds.probabilities[known, c]) for c in present]
        ),
    }
    for name, value in expected.items():
        assert report.metrics[name].value == pytest.approx(value, abs=1e-6), name
    assert set(report.metrics) == {*expected, "ece", "classwise_ece", "brier", "aurc"}
    assert report.accuracy == report.metrics["accuracy"] == report.metrics["weighted_recall"]
    assert np.array_equal(report.confusion, sk.confusion_matrix(targets, called, labels=range(8)))
    assert report.confusion.dtype == np.int64
    for label, figure in enumerate(sk.f1_score(targets, called, average=None, labels=present)):
        assert report.per_class[PBC_LABELS.names[label]]["f1"].value == pytest.approx(figure, abs=1e-12)


def test_every_interval_holds_its_value(report: Report) -> None:
    estimates = [*report.metrics.values()]
    estimates += [e for f in report.per_class.values() for e in f.values() if isinstance(e, Estimate)]
    for estimate in estimates:
        assert math.isnan(estimate.value) or estimate.low <= estimate.value <= estimate.high
    assert all(e.low < e.high for e in report.metrics.values())


def test_unreadable_images_are_counted_and_listed_not_scored(report: Report) -> None:
    assert (report.n, report.unreadable) == (158, [3, 50])
    assert not {3, 50} & {*report.worst(1000), *report.least_certain(1000), *report.typical()}


def test_an_absent_class_is_n_0_and_nan(report: Report) -> None:
    platelet = report.per_class["platelet"]
    assert platelet["n"] == 0
    assert all(math.isnan(platelet[key].value) for key in ("precision", "recall", "f1", "npv"))
    assert platelet["specificity"].value > 0.9


def test_areas_and_classwise_errors_stand_beside_each_class(report: Report) -> None:
    known = report.predictions.readable
    targets, probabilities = report.targets[known], report.predictions.probabilities[known]
    for label, name in enumerate(PBC_LABELS.names[:7]):
        figures = report.per_class[name]
        own = targets == label
        assert figures["roc_auc"].value == pytest.approx(sk.roc_auc_score(own, probabilities[:, label]), abs=1e-12)
        expected = sk.average_precision_score(own, probabilities[:, label])
        assert figures["average_precision"].value == pytest.approx(expected, abs=1e-12)
    present = [report.per_class[name]["ece"].value for name in PBC_LABELS.names[:7]]
    assert report.metrics["classwise_ece"].value == pytest.approx(np.mean(present))
    assert all(math.isnan(report.per_class["platelet"][key].value) for key in ("roc_auc", "average_precision", "ece"))


def test_the_confusion_matrix_along_the_lines_of_maturation(report: Report) -> None:
    confusion, names = report.matured()
    assert names[:2] == ["ig", "neutrophil"]
    for i, true in enumerate(names):
        for j, called in enumerate(names):
            assert confusion[i, j] == report.confusion[PBC_LABELS.index(true), PBC_LABELS.index(called)]
    assert [report.schema.names[label] for label in report.to_dict()["schema"]["maturation_order"]] == names


def test_predictive_values_at_a_stated_prevalence(report: Report) -> None:
    figures, share = report.per_class["ig"], report.per_class["ig"]["n"] / report.n
    here = report.predictive_values({"ig": share})["ig"]
    assert here["ppv"].value == pytest.approx(figures["precision"].value)
    assert here["npv"].value == pytest.approx(figures["npv"].value)
    rare = report.predictive_values({"immature granulocyte": 0.001, "platelet": 0.5})
    assert list(rare) == ["ig", "platelet"]
    assert rare["ig"]["ppv"].high < here["ppv"].low
    assert rare["ig"]["npv"].low > here["npv"].low
    assert math.isnan(rare["platelet"]["ppv"].value)
    with pytest.raises(ConfigError, match="prevalence of ig is 3, but it is a share"):
        report.predictive_values({"ig": 3})
    with pytest.raises(UnknownNameError, match="Did you mean 'ig'"):
        report.predictive_values({"igg": 0.1})


def grouped(groups: list[str] | None) -> Report:
    """Ten donors of forty images; with two of them the model fails often."""
    rng = np.random.default_rng(0)
    donors, targets = np.repeat(np.arange(10), 40), np.arange(400) % 8
    wrong = rng.random(400) < np.where(donors < 2, 0.4, 0.02)
    called = np.where(wrong, (targets + 1) % 8, targets)
    table = np.eye(8)[called] * 0.84 + 0.02
    return Report.from_predictions(
        Predictions([str(i) for i in range(400)], PBC_LABELS, table, targets=targets, groups=groups)
    )


def test_images_of_one_donor_are_taken_together() -> None:
    alone, together = grouped(None), grouped([f"donor {i // 40}" for i in range(400)])
    for name, figure in together.metrics.items():
        assert figure.value == pytest.approx(alone.metrics[name].value)
        if alone.metrics[name].value < 1:
            assert figure.high - figure.low > 1.3 * (alone.metrics[name].high - alone.metrics[name].low), name
    figures = together.per_class["ig"]
    for name in ("recall", "precision", "f1", "specificity", "npv", "roc_auc", "average_precision"):
        single = alone.per_class["ig"][name]
        assert figures[name].value == pytest.approx(single.value)
        assert figures[name].high - figures[name].low > single.high - single.low
    wide, narrow = (one.predictive_values({"ig": 0.1})["ig"]["ppv"] for one in (together, alone))
    assert wide.high - wide.low > narrow.high - narrow.low
    assert "images of one group (donor, slide, photograph) taken together" in together.to_dict()["intervals"]
    assert "images taken as independent" in alone.to_dict()["intervals"]


def test_groups_of_single_images_change_nothing() -> None:
    assert grouped([str(i) for i in range(400)]).to_dict() == grouped(None).to_dict()


def test_groups_survive_the_file(tmp_path: Path) -> None:
    report = grouped([f"donor {i // 40}" for i in range(400)])
    report.save(tmp_path)
    again = Report.from_predictions(Predictions.read_csv(tmp_path / "predictions.csv"))
    assert again.metrics["macro_f1"] == report.metrics["macro_f1"]
    assert "The intervals take the images of one group" in (tmp_path / "report.html").read_text()


def test_mistakes_come_worst_first(report: Report) -> None:
    preds = report.predictions
    worst = report.worst(1000)
    assert len(worst) == report.n - np.trace(report.confusion)
    assert all(preds.probabilities[i].argmax() != preds.targets[i] for i in worst)
    certainty = [preds.probabilities[i].max() for i in worst]
    assert certainty == sorted(certainty, reverse=True)
    assert report.worst(2) == worst[:2]
    typical = report.typical()
    assert [preds.targets[i] for i in typical] == sorted({preds.targets[i] for i in typical})
    assert preds.probabilities[report.least_certain(1)[0]].max() == np.nanmin(preds.probabilities.max(1))


def test_most_confused_counts_pairs(report: Report) -> None:
    true, label, count = report.most_confused(1)[0]
    assert report.confusion[PBC_LABELS.index(true), PBC_LABELS.index(label)] == count
    off_diagonal = report.confusion - np.diag(np.diag(report.confusion))
    assert count == off_diagonal.max()
    assert sum(c for *_, c in report.most_confused(100)) == off_diagonal.sum()


def test_mistakes_within_and_across_lineages(report: Report) -> None:
    within, across = report.lineage_errors() or (0, 0)
    granulocytes = [PBC_LABELS.index(n) for n in ("basophil", "eosinophil", "ig", "neutrophil")]
    block = report.confusion[np.ix_(granulocytes, granulocytes)]
    assert within == block.sum() - np.trace(block)
    assert within + across == report.n - np.trace(report.confusion)
    plain = Predictions(["a"], LabelSchema.from_names(["one", "two"]), [[1, 0]], targets=[0])
    assert Report.from_predictions(plain).lineage_errors() is None


def test_the_table_fits_100_columns_and_says_what_matters(report: Report) -> None:
    table = str(report)
    assert max(map(len, table.splitlines())) <= 100
    for words in ("Trial", "PBC · test part · 158 images, 2 more unreadable", "balanced accuracy", "No donor ids."):
        assert words in table
    assert str(report.accuracy) in table
    assert "platelet" in table
    assert "n/a" in table


def test_the_table_fits_with_many_images_and_long_names() -> None:
    schema = LabelSchema.from_names(["x" * 50, "y"])
    preds = Predictions(["f"] * 2, schema, [[1, 0], [0, 1]], targets=[0, 1])
    assert max(map(len, str(Report.from_predictions(preds)).splitlines())) <= 100


def test_save_writes_everything_and_the_same_twice(report: Report, tmp_path: Path) -> None:
    page = report.save(tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "report.html"
    assert {p.name for p in page.parent.iterdir()} == {
        "report.html", "metrics.json", "predictions.csv",
        "confusion.png", "per_class.png", "reliability.png", "risk_coverage.png", "curves.png",
    }  # fmt: skip
    before = {p.name: p.read_bytes() for p in page.parent.iterdir()}
    report.save(page.parent)
    assert before == {p.name: p.read_bytes() for p in page.parent.iterdir()}
    again = Report.from_predictions(Predictions.read_csv(page.parent / "predictions.csv"))
    assert again.accuracy == report.accuracy
    assert again.metrics["macro_f1"] == report.metrics["macro_f1"]


def test_plots_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    for name in ("curves.png", "embedding.png", "notes.txt"):
        (tmp_path / name).touch()
    Report.from_predictions(predictions()).save(tmp_path)
    left = {p.name for p in tmp_path.iterdir()}
    assert not left & {"curves.png", "embedding.png"}
    assert {"confusion.png", "notes.txt"} <= left


def test_metrics_json_is_the_tree_of_estimates(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path)
    tree = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert tree == json.loads(json.dumps(report.to_dict()))
    assert tree["metrics"]["macro_f1"] == report.metrics["macro_f1"].to_dict()
    assert tree["per_class"]["ig"]["recall"] == report.per_class["ig"]["recall"].to_dict()
    assert tree["per_class"]["platelet"]["recall"] == {"value": None, "low": None, "high": None}
    assert tree["per_class"]["ig"]["n"] == report.per_class["ig"]["n"]
    assert (tree["n"], tree["unreadable"], tree["part"]) == (158, 2, "test")
    assert tree["schema"]["hash"] == PBC_LABELS.hash
    assert tree["confusion"] == report.confusion.tolist()
    assert {"python", "cellnet", "torch", "numpy"} <= tree["versions"].keys()


def test_settings_of_any_kind_go_into_the_json() -> None:
    settings = {"config": {"lr": 1e-3, "betas": (0.9, 0.999), "out": Path("runs"), "limit": math.inf}, "seed": 0}
    report = Report.from_predictions(predictions(), settings=settings)
    assert report.to_dict()["settings"] == {
        "config": {"lr": 1e-3, "betas": [0.9, 0.999], "out": "runs", "limit": None},
        "seed": 0,
    }


def test_a_folder_that_cannot_be_written_is_one_sentence(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write"):
        report.save(tmp_path / "file")


def test_predictions_without_targets_are_refused() -> None:
    with pytest.raises(DataError, match="column 'target'"):
        Report.from_predictions(Predictions(["a"], PBC_LABELS, [[1 / 8] * 8]))


def test_no_row_is_refused() -> None:
    with pytest.raises(DataError, match="have no rows, so there is nothing to score"):
        Report.from_predictions(Predictions([], PBC_LABELS, []))


def test_a_schema_of_one_class() -> None:
    preds = Predictions(list("abc"), LabelSchema.from_names(["cell"]), [[1.0]] * 3, targets=[0] * 3)
    report = Report.from_predictions(preds)
    assert report.accuracy.value == report.metrics["macro_f1"].value == report.metrics["top_2_accuracy"].value == 1
    assert math.isnan(report.metrics["macro_roc_auc"].value)
    json.dumps(report.to_dict(), allow_nan=False)


def test_all_images_of_one_class_among_several() -> None:
    preds = Predictions(list("abcd"), LabelSchema.from_names("xyz"), np.eye(3)[[0, 0, 0, 1]], targets=[0] * 4)
    report = Report.from_predictions(preds)
    assert report.metrics["balanced_accuracy"].value == 0.75
    assert [figures["n"] for figures in report.per_class.values()] == [4, 0, 0]
    assert math.isnan(report.per_class["x"]["specificity"].value)
    assert math.isnan(report.metrics["macro_roc_auc"].value)
    assert str(report).count("n/a") >= 6


@pytest.mark.slow
def test_a_million_rows() -> None:
    n = 1_000_000
    rng = np.random.default_rng(0)
    targets, sure = rng.integers(0, 2, n), rng.beta(8, 1, n).astype(np.float32)
    right = np.where(np.arange(2) == targets[:, None], sure[:, None], 1 - sure[:, None])
    report = Report.from_predictions(Predictions([""] * n, LabelSchema.from_names("xy"), right, targets=targets))
    called = report.predictions.probabilities.argmax(1)
    assert report.metrics["macro_f1"].value == pytest.approx(sk.f1_score(targets, called, average="macro"), abs=1e-12)
    assert all(0 <= e.high - e.low < 0.005 for e in report.metrics.values())
    assert len(report.worst(20)) == 20


def test_nothing_readable_is_refused() -> None:
    preds = Predictions(["a"], PBC_LABELS, [[np.nan] * 8], errors=["broken"], targets=[0])
    with pytest.raises(DataError, match="None of the 1 images could be read"):
        Report.from_predictions(preds)


@pytest.mark.parametrize("right", [True, False])
def test_a_single_image(right: bool, tmp_path: Path) -> None:
    preds = Predictions(["a.jpg"], PBC_LABELS, [[0.65, *[0.05] * 7]], targets=[0 if right else 1])
    report = Report.from_predictions(preds)
    assert report.accuracy.value == right
    assert report.save(tmp_path).exists()
    assert str(report).splitlines()[1] == "1 image"
